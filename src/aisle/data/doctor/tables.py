"""Products and customers: unique ids, typed columns, trees by full path, and facts that stand on sale lines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from aisle.data.doctor.attributes import AttributeTyper
from aisle.data.doctor.codes import Issue
from aisle.data.doctor.dates import Order
from aisle.data.doctor.ids import parse_ids
from aisle.data.doctor.ledger import Ledger
from aisle.data.hierarchy import check_parents, full_paths, levels
from aisle.data.mapping import apply
from aisle.data.schema import KINDS, TableMapping, TableName, TextBlock

KEYS: dict[TableName, str] = {"products": "product_id", "customers": "customer_id", "stores": "store_id"}
PREFIX: dict[TableName, str] = {"products": "category_", "customers": "group_", "stores": "group_"}
FACT = {"products": "product.", "customers": "customer."}
PARENTS = ("variant_of", "parent_id")
Numbered = tuple[int, TextBlock]
Told: TypeAlias = dict[str, pl.DataFrame]
"""Fact on the lines -> (id, fact, moment), each pair of id and fact once, as text, in order of appearance."""


class TableCleaner:
    """Cleans one table of products, customers or stores."""

    def __init__(
        self, table: TableMapping, joined: tuple[pl.DataFrame, ...], ledger: Ledger, given: Order | None, now: datetime
    ) -> None:
        self.table, self.joined, self.ledger, self.given, self.now = table, joined, ledger, given, now

    def clean(self, blocks: Iterator[Numbered], *, numeric_ids: bool = False) -> pl.DataFrame:
        """The table with its key unique, every column typed, and what was found in the ledger."""
        key = KEYS[self.table.table]
        pieces = [self._keyed(number, block, key, numeric_ids) for number, block in blocks]
        if not pieces:
            return pl.DataFrame(schema={key: pl.String})
        whole = pl.concat(pieces, how="diagonal_relaxed")
        again = ~whole[key].is_first_distinct()
        keep = self.ledger.judge_late(whole, [Issue("DUP_ID", again.to_numpy(), key)])
        whole = whole.filter(pl.Series(keep))
        return self._parents(self._paths(self._typed(whole, key)), key).drop("_file", "_line")

    def _keyed(self, number: int, block: TextBlock, key: str, numeric: bool) -> pl.DataFrame:
        text = apply(self.table, block.frame, self.joined)
        ids, issues = parse_ids(text[key], key, numeric=numeric)
        blamed = np.zeros(text.height, dtype=bool)
        for issue in issues:
            blamed |= issue.rows
        header = (text[key].cast(pl.String) == self.table.columns[key][-1]).fill_null(False).to_numpy()
        issues = [Issue("REPEAT_HEADER", header), *issues, Issue("ID_MISSING", ids.is_null().to_numpy() & ~blamed, key)]
        keep = self.ledger.judge(number, block.frame, block.line, issues)
        where = _where(number, block)
        return text.with_columns(ids.cast(pl.String).alias(key)).hstack(where).filter(pl.Series(keep))

    def _typed(self, whole: pl.DataFrame, key: str) -> pl.DataFrame:
        typer = AttributeTyper(whole.select("_file", "_line"), self.ledger, self.given, self.now)
        kinds = KINDS[self.table.table]
        trees = levels(whole.columns, PREFIX[self.table.table])
        columns = []
        for name in whole.columns:
            if name in (key, "_file", "_line"):
                columns.append(whole[name])
                continue
            column = typer.typed(whole[name], "text" if name in trees else kinds.get(name))
            if column is None:
                continue
            columns.append(column.alias(name))
            blank = column.null_count()
            if blank > 0:
                self.ledger.note("ATTRIBUTE_BLANK", blank, column=name)
        return pl.DataFrame(columns)

    def _paths(self, table: pl.DataFrame) -> pl.DataFrame:
        table, broken = full_paths(table, PREFIX[self.table.table])
        self.ledger.judge_late(table, [Issue("LEVEL_GAP", broken, PREFIX[self.table.table] + "n")])
        return table

    def _parents(self, table: pl.DataFrame, key: str) -> pl.DataFrame:
        for parent in PARENTS:
            if parent in table.columns:
                table, orphan, cyclic = check_parents(table, key, parent)
                issues = [Issue("ORPHAN_PARENT", orphan, parent), Issue("CYCLE", cyclic, parent)]
                self.ledger.judge_late(table, issues)
        return table


def _where(number: int, block: TextBlock) -> list[pl.Series]:
    """File number and line of each row, for the ledger."""
    file = pl.Series("_file", np.full(block.frame.height, number, dtype=np.int16))
    return [file, block.line.cast(pl.Int64).alias("_line")]


def facts(lines: pl.DataFrame, name: TableName) -> dict[str, str]:
    """Columns of the lines that speak of their product or customer: line column -> column of the table."""
    plain = [c for c in lines.columns if name == "products" and c in ("name", "brand")]
    plain += levels(lines.columns, PREFIX[name])
    dotted = {c: c.removeprefix(FACT[name]) for c in lines.columns if c.startswith(FACT[name])}
    return {c: c for c in plain} | dotted


def told_on(lines: pl.DataFrame, name: TableName, clock: str) -> Told:
    """What the lines say of their products or customers; empty where they say nothing.

    Names are only shown, so their newest moment is kept. All else may become a feature: the oldest moment is, since a
    newer value may have been written after a cut that models are judged at.
    """
    key, told = KEYS[name], {}
    for column in facts(lines, name):
        pairs = lines.select(key, clock, column).drop_nulls([key, column])
        pairs = pairs.group_by(key, column, maintain_order=True).agg(pl.max(clock) if _shown(column) else pl.min(clock))
        told[column] = pairs.with_columns(pl.col(key, column).cast(pl.String))
    return told


def both_told(before: Told, later: Told) -> Told:
    """What lines and later ones say together."""
    told = {}
    for column, pairs in before.items():
        key, _, clock = pairs.columns
        every = pl.concat([pairs, later[column]]).group_by(key, column, maintain_order=True)
        told[column] = every.agg(pl.max(clock) if _shown(column) else pl.min(clock))
    return told


def settled(told: Told, ids: pl.Series, name: TableName, ledger: Ledger) -> pl.DataFrame | None:
    """One row for each id with its facts: the newest name, the oldest of all else; None without facts."""
    if not told:
        return None
    key = KEYS[name]
    table = ids.cast(pl.String).sort().to_frame(key)
    for column, pairs in told.items():
        clock = pairs.columns[-1]
        several = pairs.group_by(key).len().filter(pl.col("len") > 1).height
        if _shown(column):
            ledger.note("PROD_CONFLICT", several, column=column, example=_several(pairs, key))
        keep: Literal["first", "last"] = "last" if _shown(column) else "first"
        taken = pairs.sort(clock, maintain_order=True).unique(key, keep=keep, maintain_order=True)
        table = table.join(taken.drop(clock), on=key, how="left", maintain_order="left")
    return table.rename(facts(table, name))


def _shown(column: str) -> bool:
    return column == "name"


def _several(pairs: pl.DataFrame, key: str) -> str:
    first = pairs.filter(pairs[key].is_duplicated()).head(1)
    if not first.height:
        return ""
    names = pairs.filter(pl.col(key) == first[key][0])["name"].cast(pl.String).to_list()
    return f"{first[key].cast(pl.String)[0]}: {' | '.join(names[:3])}"


def complete(
    table: pl.DataFrame | None,
    told: pl.DataFrame | None,
    used: pl.Series | None,
    name: TableName,
    typer: AttributeTyper,
) -> pl.DataFrame:
    """The table with facts from the lines filled in and ids ``used`` only there appended with nulls."""
    key = KEYS[name]
    if told is not None:
        labels = {"name", "brand", *levels(told.columns, PREFIX[name])}
        columns = [told[key]]
        for column in told.columns[1:]:
            typed = typer.typed(told[column], "text" if column in labels else KINDS[name].get(column))
            columns += [typed.alias(column)] if typed is not None else []
        told, _ = full_paths(pl.DataFrame(columns), PREFIX[name])
    if table is None:
        table = told if told is not None else pl.DataFrame(schema={key: pl.String})
    elif told is not None:
        table = _filled(table, told, key)
    if used is None:
        return table
    missing = used.cast(pl.String).to_frame(key).join(table.select(key), on=key, how="anti").sort(key)
    return pl.concat([table, missing], how="diagonal") if missing.height else table


def _filled(table: pl.DataFrame, told: pl.DataFrame, key: str) -> pl.DataFrame:
    """The table's own values win; a column with another type on the lines is left out."""
    new = [c for c in told.columns if c != key and (c not in table.columns or told.schema[c] == table.schema[c])]
    joined = table.join(
        told.select(key, *(pl.col(c).alias(f"\0{c}") for c in new)),
        on=key,
        how="full",
        coalesce=True,
        maintain_order="left_right",
    )
    filled = [pl.coalesce(c, f"\0{c}").alias(c) if c in table.columns else pl.col(f"\0{c}").alias(c) for c in new]
    return joined.with_columns(filled).drop(f"\0{c}" for c in new)


def clean_spans(
    table: TableMapping, blocks: Iterator[Numbered], ledger: Ledger, given: Order | None, now: datetime
) -> pl.DataFrame:
    """The availability table: store_id, product_id and, where given, from and to; rows without an id are rejected."""
    pieces = []
    for number, block in blocks:
        text = apply(table, block.frame)
        issues = []
        for key in ("store_id", "product_id"):
            ids, found = parse_ids(text[key], key)
            issues += [*found, Issue("ID_MISSING", ids.is_null().to_numpy(), key)]
            text = text.with_columns(ids.cast(pl.String).alias(key))
        keep = pl.Series(ledger.judge(number, block.frame, block.line, issues))
        where = _where(number, block)
        pieces.append(text.hstack(where).filter(keep))
    empty = pl.DataFrame(schema={"store_id": pl.String, "product_id": pl.String})
    whole = pl.concat(pieces, how="diagonal_relaxed") if pieces else empty
    out = whole.select("store_id", "product_id")
    for name in ("from", "to"):
        none = pl.Series(name, [None], dtype=pl.Datetime("us")).new_from_index(0, whole.height)
        typed = None
        if name in whole.columns:
            typed = AttributeTyper(whole.select("_file", "_line"), ledger, given, now).typed(whole[name], "time")
        out = out.with_columns((none if typed is None else typed).alias(name))
    return out
