"""One visit of a source to the doctor: read, type, judge, net, and report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from aisle.data.doctor import history
from aisle.data.doctor.attributes import AttributeTyper
from aisle.data.doctor.codes import Issue
from aisle.data.doctor.dates import EXACT, Order
from aisle.data.doctor.leaks import after_the_fact
from aisle.data.doctor.ledger import Ledger, raw_text
from aisle.data.doctor.lines import LineTyper, out_of_time
from aisle.data.doctor.order import Evidence, apply, prove, unclear_rows
from aisle.data.doctor.pieces import Pieces
from aisle.data.doctor.standing import Back, Standing, rows_by_issue, stands
from aisle.data.doctor.tables import KEYS, TableCleaner, Told, clean_spans, complete, facts, settled, told_on
from aisle.data.doctor.whole import WHERE, Check, checks, joined_up, only, survivors
from aisle.data.mapping import load_joins, shown
from aisle.data.read import read_blocks
from aisle.data.returns import Returns
from aisle.data.schema import PART, CleanTables, DataReport, Mapping, TableMapping, TableName, TextBlock
from aisle.errors import DataError

Progress = Callable[[int, int], None]


@dataclass
class Visit:
    """The state of one run over a source."""

    source: Path
    mapping: Mapping
    files: dict[TableName, list[Path]]
    given: Order | None
    at: datetime | None
    progress: Progress | None
    now: datetime
    kept: Pieces | None = None
    ledger: Ledger = field(default_factory=Ledger)
    numbers: dict[Path, range] = field(default_factory=dict)
    """File numbers of each file of transactions."""
    fetched: set[int] = field(default_factory=set)
    """Files that were read once more."""
    done: int = 0
    date_order: str = "sequence"
    date_proof: str = ""
    returned: Back = field(default_factory=Back)
    """Returns among the lines read; ``met``: with a sale."""
    standing: Standing | None = None
    """For further lines; None where they cannot be judged alone."""

    @property
    def order(self) -> Order | None:
        """The order of day and month where it is known: the caller's word, else the publisher's."""
        return self.given or self.mapping.date_order

    def run(self) -> CleanTables:
        """All tables of the source, cleaned."""
        lines = self._lines()
        tables = {name: self._table(name) for name in KEYS if name in self.files}
        clock = "timestamp" if "timestamp" in lines.columns else "sequence"
        lines = self._global_checks(lines, tables, clock)
        lines, products = self._completed(lines, tables, "products", clock)
        lines, customers = self._completed(lines, tables, "customers", clock)
        lines = lines.with_columns(self._net(lines, clock))
        idle = None
        if "customer_id" in lines.columns:
            idle = customers.height - lines["customer_id"].drop_nulls().n_unique()
        self._history(lines, idle)
        products = self._without_leaks(products, lines, "product_id", clock)
        customers = self._without_leaks(customers, lines, "customer_id", clock)
        availability = self._availability() if "availability" in self.files else None
        rejects = self.ledger.rejects(self._fetch)
        if self.kept:
            self._keep_texts(self.kept)
        return CleanTables(
            transactions=lines,
            products=products,
            customers=customers,
            stores=tables.get("stores"),
            availability=availability,
            rejects=rejects,
            report=self._report(),
            standing=self.standing if stands(self.ledger) else None,
        )

    def _blocks(self, table: TableMapping) -> Iterator[tuple[int, TextBlock]]:
        """(file number, block) of all files of a table; a sheet counts as a file of its own."""
        for path in self.files[table.table]:
            yield from self._blocks_of(path, table, self.ledger)

    def _blocks_of(self, path: Path, table: TableMapping, ledger: Ledger) -> Iterator[tuple[int, TextBlock]]:
        numbers: dict[str, int] = {}
        size, seen = path.stat().st_size, 0
        for block in _read(path, table):
            if block.file not in numbers:
                numbers[block.file] = ledger.open(table.table, path, block.file)
            ledger.take_block(numbers[block.file], block)
            yield numbers[block.file], block
            seen = min(seen + int(block.frame.estimated_size()), size)
            self._tick(self.done + seen)
        if not numbers:
            ledger.open(table.table, path, path.name)
        self._finished(path)

    def _finished(self, path: Path) -> None:
        self.done += path.stat().st_size
        self._tick(self.done)

    def _tick(self, done: int) -> None:
        if self.progress is not None:
            self.progress(done, sum(path.stat().st_size for paths in self.files.values() for path in paths))

    def _mapped(self, name: TableName) -> TableMapping:
        return next(t for t in self.mapping.tables if t.table == name)

    def _lines(self) -> pl.DataFrame:
        """All sale lines, typed, with their times resolved."""
        joined = load_joins(self._mapped("transactions"), self.source)
        pieces = [piece for path in self.files["transactions"] if (piece := self._piece(path, joined)) is not None]
        if not pieces:
            raise DataError(
                f"NO_ROWS: {', '.join(p.name for p in self.files['transactions'])} holds no readable block of rows."
            )
        lines = joined_up(pieces)
        if "customer_id" not in lines.columns:
            lines = lines.with_columns(customer_id=pl.lit(None, dtype=pl.Categorical))
        return self._with_times(lines) if "ticks" in lines.columns else lines

    def _piece(self, path: Path, joined: tuple[pl.DataFrame, ...]) -> pl.DataFrame | None:
        """The lines of one file, kept or read, under its numbers in the ledger; None where it has no block."""
        held = self.kept.get(path, self.mapping, self.now) if self.kept else None
        if held is None:
            held = self._typed(path, joined)
        else:
            self._finished(path)
        lines, found = held
        first = self.ledger.absorb(found)
        self.numbers[path] = range(first, len(self.ledger.files))
        if first and lines.width:
            lines = lines.with_columns(pl.col("_file") + first)
        return lines if lines.width else None

    def _typed(self, path: Path, joined: tuple[pl.DataFrame, ...]) -> tuple[pl.DataFrame, Ledger]:
        """All lines of a file, typed, without a column where there is no block, and what was found in it."""
        table, ledger = self._mapped("transactions"), Ledger()
        typer = LineTyper(table, self.mapping, joined, ledger, self.now)
        pieces: list[pl.DataFrame] = []
        checked: set[int] = set()
        for number, block in self._blocks_of(path, table, ledger):
            if number not in checked:
                typer.check_columns(block.frame.columns, block.file)
                checked.add(number)
            pieces.append(typer.type_block(number, block))
        lines = pl.concat(pieces, how="vertical", rechunk=False) if pieces else pl.DataFrame()
        if self.kept and pieces:
            self.kept.put(path, self.mapping, self.now, lines, ledger)
        return lines, ledger

    def _with_times(self, lines: pl.DataFrame) -> pl.DataFrame:
        """``ticks`` and ``shape`` become ``timestamp``, once the order of day and month is proven."""
        seen = self._evidence(lines)
        proof = prove(seen, self.order, self.now)
        self.date_order, self.date_proof = proof.name, proof.text
        packed = seen.shape > EXACT
        if not packed.any():
            return lines.with_columns(pl.col("ticks").cast(pl.Datetime("us")).alias("timestamp")).drop("ticks", "shape")
        shapes, counts = np.unique(seen.shape, return_counts=True)
        if len(shapes) > 1:
            self.ledger.note("DATE_MIXED", int(counts.sum() - counts.max()), column="timestamp", example=proof.text)
        if self.given is not None:
            self.ledger.note("DATE_ASSUMED", int(packed.sum()), column="timestamp", example=proof.text)
        time, exists = apply(seen, proof.orders)
        tomorrow = int(np.datetime64(self.now, "us").astype(np.int64)) + 86_400_000_000
        unclear = unclear_rows(seen, proof)
        issues = [
            Issue("DATE_AMBIGUOUS", unclear, "timestamp"),
            Issue("DATE_INVALID", ~exists, "timestamp"),
            *out_of_time(time, packed & exists, tomorrow),
        ]
        keep = self.ledger.judge_late(lines, issues)
        lines = lines.drop("ticks", "shape").with_columns(pl.Series("timestamp", time).cast(pl.Datetime("us")))
        return lines if keep.all() else lines.filter(pl.Series(keep))

    def _evidence(self, lines: pl.DataFrame) -> Evidence:
        shape = lines["shape"].to_numpy()
        quantity, key = None, None
        if (shape > EXACT).any() and bool((lines["quantity"] < 0).any()):
            who = "order_id" if "order_id" in lines.columns else "customer_id"
            quantity = lines["quantity"].to_numpy()
            if who in lines.columns:
                pair = lines.select(
                    pl.when(pl.col(who).is_not_null()).then(
                        pl.col(who).to_physical().cast(pl.Int64) * 2**31 + pl.col("product_id").to_physical()
                    )
                )
                key = pair.to_series().fill_null(-1).to_numpy()
        return Evidence(lines["_file"].to_numpy(), shape, lines["ticks"].to_numpy(), quantity, key)

    def _table(self, name: TableName) -> pl.DataFrame:
        table = self._mapped(name)
        cleaner = TableCleaner(table, load_joins(table, self.source), self.ledger, self.order, self.now)
        numeric = name == "customers" and self.mapping.numeric_ids
        return cleaner.clean(self._blocks(table), numeric_ids=numeric)

    def _global_checks(self, lines: pl.DataFrame, tables: dict[TableName, pl.DataFrame], clock: str) -> pl.DataFrame:
        """Lines that pass the checks that need all of them, without the columns that only those look at."""
        typed = tuple(lines.columns)
        self._note_returns(self._returns(lines, clock))
        blank = {key: lines[key].null_count() if key in typed else lines.height for key in ("order_id", "customer_id")}
        before, known = rows_by_issue(self.ledger), len(self.ledger.late)
        keep = survivors(lines, self._checks(tables), self.ledger.judge_late)
        plain = clock == "timestamp" and self.date_order == "iso" and self.at is None and PART not in typed
        if plain and blank["order_id"] in (0, len(keep)) and blank["customer_id"] < len(keep):
            self.standing = Standing(
                columns=typed,
                ordered=blank["order_id"] == 0,
                read=self.returned,
                counts=rows_by_issue(self.ledger, before),
                late=self.ledger.all_late(known),
            )
        return only(lines.drop("_hash", "_policy", *WHERE, PART, strict=False), keep)

    def _completed(
        self, lines: pl.DataFrame, tables: dict[TableName, pl.DataFrame], name: TableName, clock: str
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """(lines without facts about the entity, the entity's table with them)."""
        if KEYS[name] not in lines.columns:
            return lines.drop(facts(lines, name)), self._table_with({}, None, None, tables, name)
        known = lines
        if self.at is not None and clock == "timestamp":
            known = lines.filter(pl.col("timestamp") < self.at)
        told = told_on(known, name, clock)
        used = ids = lines[KEYS[name]].unique().drop_nulls()
        if known is not lines:
            ids = known[KEYS[name]].unique().drop_nulls()
        if self.standing is not None:
            self.standing.told[name] = told
        return lines.drop(facts(lines, name)), self._table_with(told, ids, used, tables, name)

    def _table_with(
        self,
        told: Told,
        ids: pl.Series | None,
        used: pl.Series | None,
        tables: dict[TableName, pl.DataFrame],
        name: TableName,
    ) -> pl.DataFrame:
        """A table of entities with what the lines say of those with these ``ids``, and all ids that are ``used``."""
        said = None if ids is None else settled(told, ids, name, self.ledger)
        rows = pl.DataFrame({"_file": [0], "_line": [0]}).clear()
        if said is not None:
            zero = {"_file": pl.Int16, "_line": pl.Int64}
            rows = said.select(pl.repeat(0, pl.len(), dtype=kind).alias(name) for name, kind in zero.items())
        typer = AttributeTyper(rows, Ledger([("products", self.source, "")], [0], [0]), self.order, self.now)
        return complete(tables.get(name), said, used, name, typer)

    def _returns(self, lines: pl.DataFrame, clock: str) -> Returns | None:
        return Returns(lines, clock) if bool((lines["quantity"] < 0).any()) else None

    def _note_returns(self, found: Returns | None) -> None:
        if found is not None:
            met = int(found.with_sale(by_order=found.by_order).sum())
            self.returned = Back(int(found.back.sum()), found.named, met)
        self.ledger.note("RETURN", self.returned.returns, column="quantity")

    def _net(self, lines: pl.DataFrame, clock: str) -> pl.Series:
        found = self._returns(lines, clock)
        if found is None:
            return pl.Series("void_at", [None], dtype=lines.schema[clock]).new_from_index(0, lines.height)
        netted = found.net(by_order=found.by_order)
        alone = int(netted.unmatched.sum())
        if self.standing is not None:
            self.standing = replace(self.standing, kept=Back(int(found.back.sum()), found.named, alone))
        self.ledger.note("RETURN_UNMATCHED", alone, column="quantity")
        return netted.void_at

    def _checks(self, tables: dict[TableName, pl.DataFrame]) -> tuple[Check, ...]:
        """The checks that need all lines."""
        composite = len(self._mapped("transactions").columns["product_id"]) > 1
        return checks(tables.get("products"), tables.get("customers"), composite=composite)

    def _history(self, lines: pl.DataFrame, idle: int | None) -> None:
        """``idle``: customers without lines; None where nobody has a name."""
        weeks, example = history.silent_weeks(lines)
        self.ledger.note("GAP", weeks, column="timestamp", example=example)
        broken, example = history.first_time_break(lines)
        self.ledger.note("FIRST_TIME_BREAK", broken, column="product_id", example=example)
        if idle is not None:
            self.ledger.note("NEVER_BOUGHT", idle, column="customer_id")

    def _without_leaks(self, table: pl.DataFrame, lines: pl.DataFrame, key: str, clock: str) -> pl.DataFrame:
        leaks = after_the_fact(table, lines, key, clock)
        for column, total in leaks.items():
            self.ledger.note("ATTRIBUTE_AFTER_FACT", table.height, column=column, example=f"{column} follows {total}")
        return table.drop(leaks)

    def _availability(self) -> pl.DataFrame:
        """What can be bought where; rows without store or product are rejected."""
        table = self._mapped("availability")
        return clean_spans(table, self._blocks(table), self.ledger, self.order, self.now)

    def _keep_texts(self, kept: Pieces) -> None:
        """What had to be read once more for the rejects is kept too."""
        for path, numbers in self.numbers.items():
            if self.fetched & set(numbers):
                mine = {n - numbers.start: held for n, held in self.ledger.texts.items() if n in numbers}
                kept.put_texts(path, self.mapping, mine)

    def _fetch(self, number: int, lines: pl.Series) -> pl.DataFrame:
        """(line, raw) of some lines of a file, read once more."""
        self.fetched.add(number)
        table, path, name = self.ledger.files[number]
        found: list[pl.DataFrame] = [pl.DataFrame(schema={"_line": pl.Int64, "raw": pl.String})]
        for block in _read(path, self._mapped(table)):
            if block.file == name:
                line = block.line.cast(pl.Int64)
                mask = line.is_in(lines.implode())
                found.append(pl.DataFrame({"_line": line.filter(mask), "raw": raw_text(block.frame.filter(mask))}))
            if sum(map(len, found)) == len(lines):
                break
        return pl.concat(found)

    def _report(self) -> DataReport:
        tallies = self.ledger.tallies
        double = sum(t.rows for (code, _), t in tallies.items() if code in ("DUP_ROW", "DUP_FILE"))
        return DataReport(
            files=self.ledger.file_counts(),
            findings=self.ledger.findings(),
            date_order=self.date_order,
            date_proof=self.date_proof,
            returns=self.returned.returns,
            returns_matched=self.returned.met,
            duplicates=double,
            mapping=shown(self.mapping),
            preset=self.mapping.name,
        )


def _read(path: Path, table: TableMapping) -> Iterator[TextBlock]:
    """The blocks of a file; the mapping's key columns help the reader to find the header line."""
    keys = ("customer_id", "product_id", "timestamp", "sequence", "quantity", "store_id")
    borrowed = {column for join in table.joins for column in join.take}
    required = frozenset(part for key in keys for part in table.columns.get(key, ())) - borrowed
    return read_blocks(path, required=required, header=table.header, separator=table.separator)


def clean(
    source: Path,
    mapping: Mapping,
    files: dict[TableName, list[Path]],
    *,
    date_order: Order | None = None,
    at: datetime | None = None,
    progress: Progress | None = None,
    kept: Pieces | None = None,
    today: date | None = None,
) -> CleanTables:
    """The clean tables of a source, with every rejected row and its reason.

    Args:
        source: Folder or file, for joins and messages.
        mapping: Which column is which.
        files: The files of each table.
        date_order: Order of day and month where the data cannot prove it.
        at: Facts about products and customers that stand on sale lines are taken from before this moment.
        progress: Called with (bytes done, bytes in all).
        kept: Files of transactions whose lines are kept are not read again, and the others' are kept.
        today: The day (UTC) from which dates lie in the future, by more than the time zones of the world; None = now.

    Raises:
        DataError: A file cannot be used as a whole; the text starts with a reason code and says how to go on.

    """
    if "transactions" not in files or not files["transactions"]:
        raise DataError(
            f"{source} has no transactions table; name it transactions.csv or map it in [data.transactions]."
        )
    now = end_of(today or datetime.now(UTC).date())
    return Visit(source, mapping, files, date_order, at, progress, now, kept).run()


def end_of(day: date) -> datetime:
    """The moment up to which a visit of that day judges dates: its end, so that an answer holds for all of it."""
    return datetime.combine(day, time()) + timedelta(days=1)
