"""Planted faults: real-world damage to the transactions, counted by the reason code a data doctor should give it.

Every damaged row carries one fault, so that counts are exact. On top of it all dates are day-first in two shapes
(``05-03-2024``, ``05/03/2024``), large amounts have thousands separators, and the file comes in two pieces whose ends
overlap. Lines that were returned, and the returns themselves, keep their key columns: pairs stay pairs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from aisle.data.synthetic.shop import Shop
from aisle.types import Bools, Ints

STREAM = 4
REJECTED = {
    "QTY_ZERO": 0.0010,
    "QTY_TEXT": 0.0010,
    "AMT_NAN": 0.0010,
    "AMT_TEXT": 0.0010,
    "SIGN_MISMATCH": 0.0010,
    "DATE_INVALID": 0.0010,
    "DATE_MISSING": 0.0010,
    "DATE_FUTURE": 0.0010,
    "ID_MISSING": 0.0010,
    "TOO_FEW": 0.0010,
}
"""Faults that cost the row, and the share of rows that get each."""
REPAIRED = {"AMT_CURRENCY": 0.004, "INVISIBLE_CHAR": 0.002}
"""Faults that can be mended."""
COPIED = 0.004
"""Share of rows written twice (DUP_ROW) within a piece; as many again lie in both pieces."""
NAMELESS = 0.01
"""Share of orders without a customer (CUST_MISSING)."""
SLASHED = 0.3
"""Share of rows with slashes in the date (DATE_MIXED)."""
UNKNOWN = 0.01
"""Share of products, and of customers, that are missing from their files."""
BLANKS = (None, "NA", "null", "N/A")
ACTIONS = {
    **dict.fromkeys([*REJECTED, "DUP_ROW", "FOOTER", "REPEAT_HEADER"], "rejected"),
    **dict.fromkeys([*REPAIRED, "AMT_THOUSANDS", "AMT_PAREN", "DATE_MIXED"], "repaired"),
    **dict.fromkeys(["CUST_MISSING", "PROD_UNKNOWN", "CUST_UNKNOWN"], "kept"),
}
CUT_AT = 4
"""Fields left in a torn row."""


@dataclass
class Dirt:
    """Counts of what was planted so far, in rows of the transactions."""

    rows: Counter[str] = field(default_factory=Counter)
    written: int = 0

    def report(self) -> dict[str, Any]:
        """The content of ``dirt.json``: ``written = rejected + accepted``, and rows by reason code."""
        rejected = sum(n for code, n in self.rows.items() if ACTIONS[code] == "rejected")
        return {
            "rows_written": self.written,
            "rows_rejected": rejected,
            "rows_accepted": self.written - rejected,
            "date_order": "dmy",
            "codes": {code: {"rows": n, "action": ACTIONS[code]} for code, n in sorted(self.rows.items())},
        }


class DirtWriter:
    """Writes transactions as two damaged CSV pieces; ``write`` gives back the true rows that should survive."""

    def __init__(self, folder: Path, shop: Shop, lost_products: pl.Series) -> None:
        self.paths = (folder / "transactions-1.csv", folder / "transactions-2.csv")
        self.shop, self.lost_products = shop, lost_products
        self.dirt = Dirt()
        for path in self.paths:
            path.write_text("", encoding="utf-8")

    def write(self, clean: pl.DataFrame, lost_customers: pl.Series, block: int) -> pl.DataFrame:
        """Append a block; returns its clean rows less the rejected ones, with the customers that are still known."""
        rng = self.shop.stream(STREAM, block)
        fault = self._faults(clean, lost_customers, rng)
        lines = _damaged(clean, fault, rng, self.dirt)
        self._append(clean.columns, lines, np.flatnonzero(fault == ""), rng, block == 0)
        nameless = pl.Series(fault == "CUST_MISSING")
        kept = clean.with_columns(customer_id=pl.when(~nameless).then(pl.col("customer_id")))
        return kept.filter(pl.Series(~np.isin(fault, list(REJECTED))))

    def close(self, total: float) -> Dirt:
        """Write the footer with the total that the books show; gives the counts."""
        with self.paths[1].open("a", encoding="utf-8", newline="") as file:
            file.write(f"Total,,,,,{total:.2f},,,,,\n")
        self.dirt.rows["FOOTER"] += 1
        self.dirt.written += 1
        return self.dirt

    def _faults(self, clean: pl.DataFrame, lost_customers: pl.Series, rng: np.random.Generator) -> np.ndarray:
        """(rows,) reason code planted in each row, empty for none."""
        paired = clean.select(pl.len().over("order_id", "product_id") > 1).to_series().to_numpy()
        fault = np.full(clean.height, "", dtype="U16")
        fault[clean["product_id"].is_in(self.lost_products.implode()).to_numpy()] = "PROD_UNKNOWN"
        fault[clean["customer_id"].is_in(lost_customers.implode()).to_numpy() & (fault == "")] = "CUST_UNKNOWN"
        _nameless(clean, fault, paired, rng)
        free = rng.permutation(np.flatnonzero((fault == "") & ~paired))
        start = 0
        for code, share in {**REJECTED, **REPAIRED}.items():
            count = max(1, round(share * clean.height))
            fault[free[start : start + count]] = code
            start += count
        codes, counts = np.unique(fault[fault != ""], return_counts=True)
        self.dirt.rows.update(dict(zip(codes.tolist(), counts.tolist(), strict=True)))
        return fault

    def _append(self, columns: list[str], lines: list[str], whole: Ints, rng: np.random.Generator, first: bool) -> None:
        """Split in two pieces that overlap, with copies and a repeated header; only undamaged rows are copied."""
        half = int(len(lines) * 0.6)
        many = max(1, round(COPIED * len(lines)))
        twice = rng.choice(whole[whole < half], min(many, int((whole < half).sum())), replace=False)
        late = whole[(whole >= half * 0.9) & (whole < half)]
        both = np.sort(rng.choice(late, min(many, len(late)), replace=False))
        again = set(twice.tolist())
        header = ",".join(columns)
        one = [line for at, text in enumerate(lines[:half]) for line in ([text, text] if at in again else [text])]
        two = [lines[at] for at in both] + lines[half:]
        two.insert(len(two) // 2, header)
        self.dirt.rows.update({"DUP_ROW": len(twice) + len(both), "REPEAT_HEADER": 1})
        self.dirt.written += len(one) + len(two)
        for path, piece in zip(self.paths, (one, two), strict=True):
            with path.open("a", encoding="utf-8", newline="") as file:
                file.write("\n".join([header, *piece] if first else piece) + "\n")


def lost(shop: Shop, ids: pl.Series, key: int) -> pl.Series:
    """The ids that are missing from their file although they are in the transactions."""
    rng = shop.stream(STREAM, key, 1)
    return ids.gather(np.sort(rng.choice(len(ids), max(1, round(UNKNOWN * len(ids))), replace=False)))


def _nameless(clean: pl.DataFrame, fault: np.ndarray, paired: Bools, rng: np.random.Generator) -> None:
    """Mark all lines of some orders as CUST_MISSING, in place; orders with other faults or with returns are spared."""
    taken = pl.DataFrame({"order_id": clean["order_id"], "taken": (fault != "") | paired})
    orders = taken.group_by("order_id", maintain_order=True).agg(pl.col("taken").any()).filter(~pl.col("taken"))
    chosen = rng.choice(orders.height, max(1, round(NAMELESS * orders.height)), replace=False)
    picked = orders["order_id"].gather(np.sort(chosen))
    fault[clean["order_id"].is_in(picked.implode()).to_numpy()] = "CUST_MISSING"


def _damaged(clean: pl.DataFrame, fault: np.ndarray, rng: np.random.Generator, dirt: Dirt) -> list[str]:
    """The CSV lines of a block."""
    slash = rng.random(clean.height) < SLASHED
    blank = pl.Series(BLANKS, dtype=pl.String).gather(rng.integers(len(BLANKS), size=clean.height))
    amount, quantity = pl.col("amount"), pl.col("quantity")
    large, negative = amount.abs() >= 1000, amount < 0
    code = pl.col("fault")
    money = pl.format("{}.{}", (amount.abs() * 100).round().cast(pl.Int64) // 100, _cents(amount))
    grouped = pl.when(large).then(money.str.replace(r"(\d{3}\.\d\d)$", ",$1")).otherwise(money)
    frame = clean.with_columns(fault=pl.Series(fault), slash=slash, blank=blank)
    plain = ~code.is_in(["AMT_NAN", "AMT_TEXT", "SIGN_MISMATCH", "AMT_CURRENCY", "TOO_FEW"])
    counts = frame.select(
        AMT_THOUSANDS=(large & ~negative & plain & ~code.is_in(list(REJECTED))).sum(),
        AMT_PAREN=negative.sum(),
        DATE_MIXED=(pl.col("slash") & ~code.is_in(list(REJECTED))).sum(),
    ).row(0, named=True)
    dirt.rows.update(counts)
    stamp = pl.col("timestamp")
    dashes, slashes = stamp.dt.strftime("%d-%m-%Y %H:%M:%S"), stamp.dt.strftime("%d/%m/%Y %H:%M:%S")
    text = frame.with_columns(
        customer_id=pl.when(code == "CUST_MISSING").then("blank").otherwise("customer_id"),
        product_id=pl.when(code == "ID_MISSING")
        .then(pl.lit(None))
        .when(code == "INVISIBLE_CHAR")
        .then(pl.col("product_id") + "\u200b")
        .otherwise("product_id"),
        timestamp=pl.when(code == "DATE_INVALID")
        .then(pl.lit("31-02-2025 10:00:00"))
        .when(code == "DATE_MISSING")
        .then(pl.lit(None))
        .when(code == "DATE_FUTURE")
        .then(stamp.dt.strftime("%d-%m-2091 %H:%M:%S"))
        .when(pl.col("slash"))
        .then(slashes)
        .otherwise(dashes),
        quantity=pl.when(code == "QTY_ZERO")
        .then(pl.lit("0"))
        .when(code == "QTY_TEXT")
        .then(pl.lit("two"))
        .otherwise(quantity.cast(pl.String)),
        amount=pl.when(code == "AMT_NAN")
        .then(pl.lit("NaN"))
        .when(code == "AMT_TEXT")
        .then(pl.lit("1_2a"))
        .when(code == "SIGN_MISMATCH")
        .then("-" + money)
        .when(code == "AMT_CURRENCY")
        .then("€" + money)
        .when(negative)
        .then(pl.format("({})", money))
        .otherwise(grouped),
    ).drop("fault", "slash", "blank")
    lines = text.write_csv(include_header=False).splitlines()
    for at in np.flatnonzero(fault == "TOO_FEW"):
        lines[at] = ",".join(lines[at].split(",")[:CUT_AT])
    return lines


def _cents(amount: pl.Expr) -> pl.Expr:
    return ((amount.abs() * 100).round().cast(pl.Int64) % 100).cast(pl.String).str.zfill(2)
