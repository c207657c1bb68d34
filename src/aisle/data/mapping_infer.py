"""A mapping guessed from column names (synonyms in several languages) and from content, to be shown and pinned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from aisle.data.names import plain, tokens
from aisle.data.schema import Join, Mapping, TableMapping, TableName
from aisle.data.sources import SAMPLE_ROWS, Source, relative
from aisle.data.synonyms import CLOCK, level_rank, rank, time_rank
from aisle.errors import DataError

Found = tuple[Mapping, dict[TableName, list[Path]]]
_LINE = ("quantity", "price", "tax", "amount", "store_id", "channel", "discount", "promotion")
_PRODUCT = ("name", "brand", "price", "cost", "in_stock", "variant_of", "valid_from")
_DATE_TEXT = r"^\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/. ]([A-Za-z]{3}|\d{1,2})[-/. ]\d{2,4})(\D|$)"
KEY_ROWS = 100_000
_SHOWN = 12
"""Files and columns listed in an error, so that it fits on one screen."""


@dataclass(eq=False)
class Guess:
    """What one file may be."""

    path: Path
    file: str
    reader: Source

    @cached_property
    def columns(self) -> list[str]:
        """Source column names."""
        return self.reader.columns_of(self.path)

    @cached_property
    def sample(self) -> pl.DataFrame:
        """The first rows."""
        return self.reader.sample_of(self.path, SAMPLE_ROWS)

    def best(self, canonical: str, without: Sequence[str] = ()) -> str | None:
        """The column whose name fits best."""
        fits = [
            (r, i, c) for i, c in enumerate(self.columns) if c not in without and (r := rank(canonical, c)) is not None
        ]
        return min(fits)[2] if fits else None

    @cached_property
    def customer(self) -> str | None:
        """Customer id column."""
        return self.best("customer_id") or self._bare_id(("customer", "client", "user", "member", "kunde", "household"))

    @cached_property
    def product(self) -> str | None:
        """Product id column."""
        return self.best("product_id") or self._bare_id(("product", "item", "article", "catalog", "sku", "artikel"))

    @cached_property
    def order(self) -> str | None:
        """Order id column."""
        return self.best("order_id") or self._bare_id(("order", "invoice", "basket"))

    @cached_property
    def times(self) -> tuple[str, ...]:
        """The column(s) of the sale's moment: by name, else the only column that holds dates; empty if none."""
        named = [(r, i, c) for i, c in enumerate(self.columns) if (r := time_rank(c)) is not None]
        for _, _, column in sorted(named):
            kind = self.time_kind(column)
            if kind == "":
                continue
            clock = next((c for c in self.columns if plain(c) in CLOCK and c != column), None)
            return (column, clock) if clock and kind == "day" and self.is_clock(clock) else (column,)
        dated = [c for c in self.columns if self.time_kind(c) in ("day", "moment") and not self._attribute_time(c)]
        return (dated[0],) if len(dated) == 1 else ()

    def time_kind(self, column: str) -> str:
        """``moment`` or ``day`` for times; ``s``, ``ms``, ``ymd`` for numbers that count so; ``""`` for no time."""
        values = self.sample[column].drop_nulls()
        if values.dtype.is_temporal():
            return "" if values.dtype == pl.Time else "day" if values.dtype == pl.Date else "moment"
        text = values.cast(pl.String).str.strip_chars()
        text = text.filter(text != "")
        if not len(text):
            return ""
        if float(text.str.contains(_DATE_TEXT).sum()) > 0.8 * len(text):
            return "moment" if text.str.contains(r"\d:\d\d").any() else "day"
        number = text.str.replace(r"\.0*$", "")
        for kind, pattern in (
            ("ymd", r"^(19|20)\d\d(0[1-9]|1[0-2])[0-3]\d$"),
            ("s", r"^\d{9,10}$"),
            ("ms", r"^\d{12,13}$"),
        ):
            if number.str.contains(pattern).all():
                return kind
        return ""

    def is_clock(self, column: str) -> bool:
        """Whether a column holds hours, HHMM numbers or clock times."""
        text = self.sample[column].drop_nulls().cast(pl.String)
        return bool(text.str.contains(r"^\d{1,4}$|^\d{1,2}:\d\d").all())

    @cached_property
    def sequence(self) -> str | None:
        """An integer that orders the baskets of a customer."""
        named = self.best("sequence") or next((c for c in self.columns if plain(c) in ("day", "week", "tag")), None)
        if named is None:
            return None
        text = self.sample[named].drop_nulls().cast(pl.String)
        return named if text.str.contains(r"^\d{1,7}$").all() else None

    def is_key(self, column: str) -> bool:
        """Whether the column is (all but) unique in the first ``KEY_ROWS`` rows."""
        values = self.reader.sample_of(self.path, KEY_ROWS)[column].drop_nulls()
        return values.n_unique() >= 0.98 * len(values)

    def levels(self, prefix: str, used: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """``category_n`` or ``group_n`` from top to leaf; of a code and a name of one level the name is taken."""
        ranked = [(r, c) for c in self.columns if c not in used and (r := level_rank(prefix, c)) is not None]
        if any(r[0] == 0 for r, _ in ranked):
            ranked = [(r, c) for r, c in ranked if r[0] == 0]
        places: dict[int, tuple[int, str]] = {}
        for (_, place, is_code), column in ranked:
            if place not in places or is_code < places[place][0]:
                places[place] = (is_code, column)
        order = [places[p][1] for p in sorted(places)]
        sizes = [self.sample[c].n_unique() for c in order]
        if len(order) > 1 and ranked[0][0][0] == 0 and sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1]:
            order.reverse()  # numbered from the leaf upwards
        return {f"{prefix}{n}": (c,) for n, c in enumerate(order, start=1)}

    def plainly(self, names: Sequence[str], used: list[str]) -> dict[str, tuple[str, ...]]:
        """The best column of each canonical name, none twice."""
        out: dict[str, tuple[str, ...]] = {}
        for name in names:
            column = self.best(name, used)
            if column is not None:
                out[name] = (column,)
                used.append(column)
        return out

    def _bare_id(self, stems: tuple[str, ...]) -> str | None:
        """A column called just ``id`` in a file named after the thing."""
        own = any(stem in plain(Path(self.file).stem) for stem in stems)
        return next((c for c in self.columns if plain(c) in ("id", "code", "key")), None) if own else None

    def _attribute_time(self, column: str) -> bool:
        return bool({"birth", "dob", "valid", "signup", "registration"} & set(tokens(column)))


def infer(root: Path, files: list[Path], reader: Source) -> Found:
    """The mapping of a source of unknown form and the files of each table.

    Raises:
        DataError: Customer, product and time are not found together; the message lists what is there and how to pin.

    """
    guesses = [Guess(path, relative(path, root), reader) for path in files]
    guesses = [g for g in guesses if g.columns]
    lines = [g for g in guesses if g.customer and g.product and (g.times or g.sequence)]
    lines = [g for g in lines if not g.is_key(g.product or "") or not g.is_key(g.customer or "")] or lines
    joins: tuple[Join, ...] = ()
    header: Guess | None = None
    if lines:
        first = max(lines, key=lambda g: (_richness(g), g.path.stat().st_size, g.file))
    else:
        pair = _lines_and_orders(guesses)
        if pair is None:
            raise DataError(_screen(guesses))
        first, header = pair
    pieces = [g for g in guesses if {*map(plain, g.columns)} == {*map(plain, first.columns)}]
    rest = [g for g in guesses if g not in pieces and g is not header]
    products = _entity(rest, "product")
    customers = _entity([g for g in rest if g is not products], "customer")
    table = _transactions(first, header, products is None, customers is None, joins)
    tables = [_with_files(table, [g.file for g in pieces])]
    chosen: dict[TableName, list[Path]] = {"transactions": [g.path for g in pieces]}
    for name, guess in (
        ("products", products),
        ("customers", customers),
        ("stores", _stores(rest, products, customers)),
    ):
        if guess is not None:
            tables.append(_entity_table(name, guess))
            chosen[tables[-1].table] = [guess.path]
    note = "Inferred from column names; look it over and pin it in aisle.toml."
    return Mapping(name="inferred", tables=tuple(tables), note=note), chosen


def _richness(guess: Guess) -> int:
    return sum(guess.best(name) is not None for name in (*_LINE, "order_id")) + bool(guess.times)


def _with_files(table: TableMapping, files: list[str]) -> TableMapping:
    return TableMapping(
        table.table, tuple(files), table.columns, table.attributes, joins=table.joins, time_from=table.time_from
    )


def _lines_and_orders(guesses: list[Guess]) -> tuple[Guess, Guess] | None:
    """A file of order lines without customer, and the file of their orders with customer and time."""
    lines = [g for g in guesses if g.product and g.order and not g.is_key(g.order)]
    orders = [g for g in guesses if g.order and g.customer and (g.times or g.sequence) and g.is_key(g.order)]
    pairs = [(a, b) for a in lines for b in orders if a is not b]
    return max(pairs, key=lambda p: (_richness(p[0]), p[0].path.stat().st_size)) if pairs else None


def _transactions(
    lines: Guess, orders: Guess | None, facts_of_product: bool, facts_of_customer: bool, joins: tuple[Join, ...]
) -> TableMapping:
    """The sale lines, with columns borrowed from their orders where lines do not name the customer."""
    who = orders or lines
    customer, product = who.customer or "", lines.product or ""
    used = [customer, product]
    columns: dict[str, tuple[str, ...]] = {"customer_id": (customer,), "product_id": (product,)}
    time_from = ""
    if who.times:
        columns["timestamp"] = who.times
        kind = who.time_kind(who.times[0])
        time_from = kind if kind in ("s", "ms", "ymd") else ""
        used += who.times
    elif who.sequence:
        columns["sequence"] = (who.sequence,)
        used.append(who.sequence)
    columns |= lines.plainly((*_LINE, "order_id"), used)
    if orders is not None:
        columns["order_id"] = (lines.order or "",)
        key = lines.order if plain(lines.order or "") == plain(orders.order or "") else f"{lines.order}={orders.order}"
        more = orders.plainly([n for n in (*_LINE, "store_id") if n not in columns and n != "amount"], [*used])
        columns |= more
        moment = columns.get("timestamp") or columns.get("sequence") or ()
        take = tuple(dict.fromkeys([customer, *moment, *(parts[0] for parts in more.values())]))
        joins = (Join((orders.file,), (key or "",), take),)
    if facts_of_product:
        columns |= lines.plainly(("name", "brand"), used)
        columns |= lines.levels("category_", used)
    if facts_of_customer:
        taken = [*used, *(c for parts in columns.values() for c in parts)]
        columns |= lines.levels("group_", taken)
    return TableMapping("transactions", (lines.file,), columns, joins=joins, time_from=time_from)


def _entity(guesses: list[Guess], what: str) -> Guess | None:
    """The file with one row a product (or customer): the id is unique in it and the other id absent."""
    other = {"product": "customer", "customer": "product"}[what]
    fits = [g for g in guesses if getattr(g, what) and not (getattr(g, other) and other == "customer")]
    fits = [g for g in fits if not (what == "customer" and g.best("product_id"))]
    fits = [g for g in fits if g.is_key(getattr(g, what)) and len(g.columns) > 1]
    return max(fits, key=lambda g: (what in plain(g.file), len(g.columns), g.file), default=None)


def _stores(guesses: list[Guess], *taken: Guess | None) -> Guess | None:
    fits = [g for g in guesses if g not in taken and g.best("store_id") and not g.customer and not g.product]
    return max(fits, key=lambda g: len(g.columns), default=None)


def _entity_table(name: str, guess: Guess) -> TableMapping:
    if name == "stores":
        return TableMapping("stores", (guess.file,), {"store_id": (guess.best("store_id") or "",)})
    if name == "products":
        key = guess.product or ""
        used = [key]
        columns = {"product_id": (key,)} | guess.plainly(_PRODUCT, used) | guess.levels("category_", used)
        return TableMapping("products", (guess.file,), columns)
    key = guess.customer or ""
    used = [key]
    columns = {"customer_id": (key,)} | guess.plainly(("valid_from", "no_profile"), used) | guess.levels("group_", used)
    return TableMapping("customers", (guess.file,), columns)


def _screen(guesses: list[Guess]) -> str:
    """What was found, what is needed and what to paste, on one screen."""
    need = {"customer": "customer_id", "product": "product_id", "times": "timestamp"}
    rows = []
    for g in guesses[:_SHOWN]:
        has = [need[n] for n in need if getattr(g, n)]
        names = ", ".join(g.columns[:_SHOWN]) + (", …" if len(g.columns) > _SHOWN else "")
        rows.append(f"  {g.file}: {names}" + (f"   (looks like {', '.join(has)})" if has else ""))
    more = f"\n  and {len(guesses) - _SHOWN} more files" if len(guesses) > _SHOWN else ""
    nearest = max(guesses, key=lambda g: bool(g.customer) + bool(g.product) + bool(g.times), default=None)
    file = nearest.file if nearest else "sales.csv"
    guess = {
        "customer_id": (nearest.customer if nearest else None) or "?",
        "product_id": (nearest.product if nearest else None) or "?",
        "timestamp": (nearest.times[0] if nearest and nearest.times else "?"),
    }
    absent = [name for name, column in guess.items() if column == "?"]
    pairs = ", ".join(f'{name} = "{column}"' for name, column in guess.items())
    return (
        f"No file holds customer, product and time together; not found: {', '.join(absent) or 'a file with all three'}."
        f"\nFound:\n" + "\n".join(rows) + more + "\nNeeded: one row a sale line with a customer, a product and a date"
        " (or an integer sequence of baskets).\nIf the columns are there under other names, put this into aisle.toml,"
        f' naming the columns for each "?":\n\n[data.transactions]\nfiles = ["{file}"]\ncolumns = {{ {pairs} }}\n'
    )
