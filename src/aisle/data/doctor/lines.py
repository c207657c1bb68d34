"""One block of sale lines: text to compact typed columns, each value checked where its text is still at hand."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from aisle.data.doctor.amounts import check_amounts
from aisle.data.doctor.codes import Issue
from aisle.data.doctor.dates import EXACT, MISSING, Parsed, parse_dates
from aisle.data.doctor.ids import parse_ids, parse_text
from aisle.data.doctor.ledger import Ledger
from aisle.data.doctor.numbers import parse_numbers
from aisle.data.mapping import apply
from aisle.data.names import Columns, plain
from aisle.data.schema import PART, Mapping, TableMapping, TextBlock
from aisle.errors import DataError
from aisle.types import DAY, Bools, Ints

OLDEST = int(np.datetime64("1980-01-01", "us").astype(np.int64))
TOTAL_WORD = r"(?i)^\W*(?:grand\s+|sub[- ]?)?(?:totals?|sum|summe|gesamt|insgesamt|somme|count|rows|records)\b"
REQUIRED = ("customer_id", "product_id", "timestamp", "sequence", "quantity")
NUMBERS = ("price", "tax", "amount", "discount")
TEXTS = ("store_id", "channel", "promotion")


class LineTyper:
    """Types the blocks of the transactions table."""

    def __init__(
        self, table: TableMapping, mapping: Mapping, joined: tuple[pl.DataFrame, ...], ledger: Ledger, now: datetime
    ) -> None:
        self.table, self.mapping, self.joined, self.ledger = table, mapping, joined, ledger
        self.tomorrow = int(np.datetime64(now, "us").astype(np.int64)) + DAY
        self.keys = set(table.columns)

    def check_columns(self, columns: list[str], file: str) -> None:
        """Refuse a file that lacks a required column of the mapping; note optional ones.

        Raises:
            DataError: ``MISSING_COLUMN``, naming the file, the column and what is there.

        """
        have = Columns([*columns, *(c for join in self.table.joins for c in join.take)])
        for name, parts in self.table.columns.items():
            if have.all(parts) is not None:
                continue
            wanted = " + ".join(parts)
            if name in REQUIRED:
                raise DataError(
                    f"MISSING_COLUMN: {file} has no column {wanted}, needed for {name}. Its columns: "
                    f"{', '.join(columns[:40])}. Correct the file, or map the column in [data.transactions]."
                )
            if name != "amount":
                self.ledger.note("COLUMN_ABSENT", 1, column=name, example=f"{file}: {wanted}")

    def type_block(self, number: int, block: TextBlock) -> pl.DataFrame:
        """The accepted rows (N,), typed, with ``_file``, ``_line``, ``_hash``, ``_policy``; dates: ticks and shape."""
        text = apply(self.table, block.frame, self.joined)
        columns: dict[str, pl.Series] = {}
        issues = [*self._strays(block.frame, text)]
        issues += self._ids(text, columns)
        issues += self._times(text, columns)
        issues += self._numbers(text, columns)
        for name in text.columns:
            if name in TEXTS or (name not in columns and name not in ("timestamp", "sequence")):
                columns[name] = parse_text(text[name])
        policy, amount_issues = check_amounts(columns, self.mapping.product_pattern)
        keep = self.ledger.judge(number, block.frame, block.line, issues + amount_issues)
        self.ledger.remember(number, block.frame, block.line, keep & (policy > 0))
        for name in ("price", "tax"):
            columns.pop(name, None)
        frame = pl.DataFrame(
            {
                "_file": pl.Series(np.full(text.height, number, dtype=np.int16)),
                "_line": block.line.cast(pl.Int64),
                "_hash": self._hash(block.frame, text),
                "_policy": pl.Series(policy),
                **columns,
            }
        )
        return frame if keep.all() else frame.filter(pl.Series(keep))

    def _strays(self, frame: pl.DataFrame, text: pl.DataFrame) -> list[Issue]:
        """Header and total lines among the rows."""
        source = [c for c in frame.columns if frame.schema[c] == pl.String][:3]
        if len(source) < 2:
            return []
        header = frame.select(pl.all_horizontal(pl.col(c).eq_missing(pl.lit(c)) for c in source)).to_series()
        issues = [Issue("REPEAT_HEADER", header.to_numpy())] if header.any() else []
        keys = [c for c in ("customer_id", "product_id", "timestamp", "sequence") if c in text.columns]
        bare = text.select(
            pl.sum_horizontal(pl.col(c).cast(pl.String).fill_null("").str.len_chars() == 0 for c in keys) >= 2
        ).to_series()
        rows = np.flatnonzero(bare.to_numpy() | self._total_words(frame, source))
        if len(rows):
            head = frame[rows].select(pl.coalesce(pl.col(c).replace("", None) for c in source)).to_series()
            footer = np.zeros(frame.height, dtype=bool)
            footer[rows[head.str.contains(TOTAL_WORD).fill_null(False).to_numpy()]] = True
            if footer.any():
                issues.append(Issue("FOOTER", footer))
        return issues

    def _total_words(self, frame: pl.DataFrame, source: list[str]) -> Bools:
        """Rows whose first cell is a total word; only the last rows of a block are looked at."""
        found = np.zeros(frame.height, dtype=bool)
        tail = frame[source[0]].tail(3).str.contains(TOTAL_WORD).fill_null(False).to_numpy()
        found[len(found) - len(tail) :] = tail
        return found

    def _ids(self, text: pl.DataFrame, columns: dict[str, pl.Series]) -> list[Issue]:
        issues: list[Issue] = []
        for name in ("product_id", "customer_id", "order_id"):
            if name not in text.columns:
                continue
            numeric = name == "customer_id" and self.mapping.numeric_ids
            columns[name], found = parse_ids(text[name], name, numeric=numeric)
            issues += found
        blamed = np.zeros(text.height, dtype=bool)
        for issue in issues:
            blamed |= issue.rows if issue.code not in ("ID_FLOAT", "INVISIBLE_CHAR") else False
        missing = columns["product_id"].is_null().to_numpy() & ~blamed
        issues.append(Issue("ID_MISSING", missing, "product_id"))
        if "customer_id" in columns:
            anonymous = columns["customer_id"].is_null().to_numpy() & ~blamed
            if anonymous.any():
                ordered = columns["order_id"].is_not_null().to_numpy() if "order_id" in columns else ~anonymous
                issues.append(Issue("CUST_MISSING_NO_ORDER", anonymous & ~ordered, "customer_id"))
                issues.append(Issue("CUST_MISSING", anonymous & ordered, "customer_id"))
        return issues

    def _times(self, text: pl.DataFrame, columns: dict[str, pl.Series]) -> list[Issue]:
        if "timestamp" not in text.columns:
            values = text["sequence"].cast(pl.Float64, strict=False)
            whole = values.is_not_null() & (values == values.floor()) & values.is_finite()
            columns["sequence"] = values.set(~whole.fill_null(False), None).cast(pl.Int64)
            return [Issue("SEQ_MISSING", columns["sequence"].is_null().to_numpy(), "sequence")]
        parsed = parse_dates(text["timestamp"], "timestamp")
        columns["ticks"] = pl.Series(parsed.ticks)
        columns["shape"] = pl.Series(parsed.shape, dtype=pl.UInt8)
        return (
            parsed.issues
            + missing_dates(parsed, "timestamp")
            + out_of_time(parsed.ticks, parsed.shape == EXACT, self.tomorrow)
        )

    def _numbers(self, text: pl.DataFrame, columns: dict[str, pl.Series]) -> list[Issue]:
        issues: list[Issue] = []
        if "quantity" in text.columns:
            columns["quantity"], found = parse_numbers(text["quantity"], "QTY", "quantity")
            issues += found
            blamed = np.zeros(text.height, dtype=bool)
            for issue in found:
                blamed |= issue.rows
            missing = columns["quantity"].is_null().to_numpy() & ~blamed
            issues.append(Issue("QTY_MISSING", missing, "quantity"))
        else:
            columns["quantity"] = pl.Series(np.ones(text.height))
        for name in NUMBERS:
            if name in text.columns:
                columns[name], found = parse_numbers(text[name], "AMT", name)
                issues += found
        return issues

    def _hash(self, frame: pl.DataFrame, text: pl.DataFrame) -> pl.Series:
        """(N,) a number equal for rows equal in every column but their part and what the mapping ignores."""
        used = {plain(c) for parts in self.table.columns.values() for c in parts}
        used |= {plain(c) for c in self.table.ignore}
        rest = sorted((c for c in frame.columns if plain(c) not in used), key=plain)
        whole = text.drop(PART, strict=False)
        if rest:
            whole = whole.hstack([frame[c].alias(f"\0{i}") for i, c in enumerate(rest)])
        return whole.hash_rows()


def missing_dates(parsed: Parsed, column: str) -> list[Issue]:
    """Rows without a date that no other issue explains."""
    missing = parsed.shape == MISSING
    for issue in parsed.issues:
        missing = missing & ~issue.rows
    return [Issue("DATE_MISSING", missing, column)] if missing.any() else []


def out_of_time(time: Ints, known: Bools, tomorrow: int) -> list[Issue]:
    """Rows before 1980 or after today."""
    issues = []
    if (known & (time >= tomorrow)).any():
        issues.append(Issue("DATE_FUTURE", known & (time >= tomorrow), "timestamp"))
    if (known & (time < OLDEST)).any():
        issues.append(Issue("DATE_TOO_OLD", known & (time < OLDEST), "timestamp"))
    return issues
