"""Lists for people the model was not fitted on: from what they bought, from what is known of them, or both.

Nothing is learnt again: their purchases and attributes become a Batch, as for anybody else. Each is asked about as of
the recommender's moment, or the end of the day of their own last line where that is later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from aisle.bundle import RECOMMENDATIONS, Recommender
from aisle.config import RunConfig
from aisle.data.build import build_events
from aisle.data.dataset import Dataset
from aisle.data.doctor.attributes import FALSE, TRUE
from aisle.data.doctor.ids import parse_ids, parse_text
from aisle.data.doctor.whole import HOLES, MOST_HOLES
from aisle.data.entities import Entities, Level
from aisle.data.hierarchy import levels
from aisle.data.schema import CUSTOMERS, PATH
from aisle.data.vocab import Vocab
from aisle.errors import UsageError
from aisle.jobs.ingest import clean_frames
from aisle.rank.rules import Rules
from aisle.types import DAY, UNKNOWN, Bools, Floats, Times

UNUSED = pl.Schema(
    {"customer_id": pl.String, "column": pl.String, "value": pl.String, "rows": pl.UInt32, "why": pl.String}
)
"""What of the given frames played no part, and why; ``customer_id`` is null where that concerns a whole column."""


@dataclass(frozen=True, eq=False)
class NewLists:
    """Lists of newcomers, and what of the given frames could not be used for them."""

    lists: Any
    """A frame with the columns of ``recommendations.parquet``."""
    unused: Any
    """A frame ``customer_id, column, value, rows, why``; empty where everything was used."""


def recommend_newcomers(
    recommender: Recommender,
    transactions: pl.DataFrame | None,
    customers: pl.DataFrame | None,
    k: int,
    rules: Rules,
    config: RunConfig,
) -> NewLists:
    """Lists for everybody named in either frame, ids being the caller's own even where the model knows the same id.

    Raises UsageError for a missing column, DataError for lines the doctor refuses.
    """
    frames = {"transactions": transactions, "customers": customers}
    given = {name: _with_ids(name, frame) for name, frame in frames.items() if frame is not None}
    vocab = Vocab.of(pl.concat([frame["customer_id"] for frame in given.values()]))
    unused: list[pl.DataFrame] = []
    people = _people(recommender.dataset, vocab, given.get("customers"), unused)
    lines = pl.DataFrame()
    if "transactions" in given and given["transactions"].height:
        lines = _lines(recommender.dataset, given["transactions"], config, unused)
    visitors = _visitors(recommender.dataset, people, lines)
    frame = _lists(recommender, visitors, k, rules)
    return NewLists(frame, pl.concat([pl.DataFrame(schema=UNUSED), *unused]))


def _with_ids(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with its customer ids as text, as the doctor reads them; rows without one go."""
    if "customer_id" not in frame.columns:
        raise UsageError(f"{name} has no column customer_id; it has {', '.join(frame.columns)}")
    ids = parse_ids(frame["customer_id"], "customer_id")[0].cast(pl.String)
    if ids.null_count():
        raise UsageError(f"{ids.null_count()} rows of {name} have no usable customer_id; give each row one")
    return frame.with_columns(ids.alias("customer_id"))


def _lines(dataset: Dataset, given: pl.DataFrame, config: RunConfig, unused: list[pl.DataFrame]) -> pl.DataFrame:
    """Clean lines of products that the model knows; the others go to ``unused``."""
    clock = "timestamp" if dataset.clock == "time" else "sequence"
    other = "sequence" if dataset.clock == "time" else "timestamp"
    if clock not in given.columns:
        if other in given.columns:
            raise UsageError(f"this model orders baskets by {clock}, the transactions by {other}; give {clock}")
        now = pl.lit(dataset.as_of - 1).cast(pl.Datetime("us")) if dataset.clock == "time" else pl.lit(1)
        given = given.with_columns(now.alias(clock))  # one basket, bought just now
    given = _without_holes(given.drop(other, strict=False), unused)
    tables = clean_frames({"transactions": given}, config)
    rejected = tables.rejects.filter(pl.col("action") == "rejected")
    what = {finding.code: finding.what for finding in tables.report.findings}
    names = given["customer_id"].gather(rejected["line"].clip(1, given.height) - 1)
    why = rejected["code"].replace_strict(what, default=rejected["code"], return_dtype=pl.String)
    unused.append(_unused(names, rejected["column"], rejected["raw"], why))
    lines = tables.transactions.with_columns(pl.col("customer_id", "product_id").cast(pl.String))
    known = pl.Series(dataset.products.vocab.codes(lines["product_id"]) != UNKNOWN)
    for column, vocab in (("store_id", dataset.stores), ("channel", dataset.channels)):
        if column in lines.columns:
            odd = lines.filter(pl.Series(vocab.codes(lines[column]) == UNKNOWN) & lines[column].is_not_null())
            unused.append(_unused(odd["customer_id"], column, odd[column], "the model does not know this value"))
    strange = lines.filter(~known)
    unknown = "the model does not know this product"
    unused.append(_unused(strange["customer_id"], "product_id", strange["product_id"], unknown))
    return lines.filter(known)


def _without_holes(given: pl.DataFrame, unused: list[pl.DataFrame]) -> pl.DataFrame:
    """The lines without order ids where few lack one: the doctor would reject those, which in a small frame is much."""
    if "order_id" not in given.columns:
        return given
    holes = parse_ids(given["order_id"], "order_id")[0].null_count()
    if not 0 < holes <= max(HOLES * given.height, MOST_HOLES):
        return given
    why = f"{holes} lines have none: a basket is what a customer bought on a day"
    unused.append(_unused(None, pl.Series(["order_id"]), None, why).with_columns(rows=pl.lit(given.height, pl.UInt32)))
    return given.drop("order_id")


def _people(dataset: Dataset, vocab: Vocab, given: pl.DataFrame | None, unused: list[pl.DataFrame]) -> Entities:
    """The newcomers (N) as customers of the dataset: its levels and numbers, blank where nothing is told."""
    table = pl.DataFrame({"customer_id": vocab.ids})
    if given is not None:
        again = given.filter(~given["customer_id"].is_first_distinct())
        unused.append(_unused(again["customer_id"], "customer_id", again["customer_id"], "an id that came before"))
        given = given.unique("customer_id", keep="first", maintain_order=True)
        table = table.join(_with_paths(given), on="customer_id", how="left", maintain_order="left")
    old = dataset.customers
    tree, categories = (tuple(_level(one, table, unused) for one in some) for some in (old.tree, old.categories))
    numbers = {name: _number(name, table, unused) for name in old.numbers}
    read = {*CUSTOMERS, "name", *numbers, *(level.name for level in old.features.levels)}
    strange = [c for c in table.columns if c not in read]
    whole = _unused(None, pl.Series(strange, dtype=pl.String), None, "the model was fitted without this column")
    filled = pl.Series("rows", [table.height - table[c].null_count() for c in strange], dtype=pl.UInt32)
    unused.append(whole.with_columns(filled))
    flags = {"no_profile": _opted_out(table["no_profile"])} if "no_profile" in table.columns else {}
    return Entities(vocab, tree, categories, numbers, flags)


def _with_paths(given: pl.DataFrame) -> pl.DataFrame:
    """The frame with each group under the one above it, unless it is written as a full path already."""
    names = levels(given.columns, "group_")
    given = given.with_columns(parse_text(given[name]).cast(pl.String) for name in names)
    for upper, lower in pairwise(names):
        below = pl.col(upper) + PATH
        whole = pl.col(upper).is_null() | pl.col(lower).str.starts_with(below)
        given = given.with_columns(pl.when(whole).then(pl.col(lower)).otherwise(below + pl.col(lower)).alias(lower))
    return given


def _level(old: Level, table: pl.DataFrame, unused: list[pl.DataFrame]) -> Level:
    """A level of the newcomers (N) in the codes that the model was fitted with."""
    if old.name not in table.columns:
        return Level(old.name, old.vocab, np.full(table.height, UNKNOWN, dtype=np.int32))
    text = parse_text(table[old.name]).cast(pl.String)
    if set(old.vocab.ids) <= {"true", "false"}:  # a flag: any word for yes and no
        text = _flag(text).cast(pl.String).fill_null(text)
    codes = old.vocab.codes(text)
    strange = (text.is_not_null() & pl.Series(codes == UNKNOWN)).arg_true()
    why = "the model does not know this value"
    unused.append(_unused(table["customer_id"].gather(strange), old.name, text.gather(strange), why))
    return Level(old.name, old.vocab, codes)


def _opted_out(given: pl.Series) -> Bools:
    """(N,) the flag ``no_profile``; raises UsageError for a word that says neither yes nor no."""
    text = parse_text(given).cast(pl.String)
    flag = _flag(text)
    strange = text.filter(flag.is_null() & text.is_not_null())
    if len(strange):
        raise UsageError(f"no_profile is {strange[0]!r}; give true or false")
    return flag.fill_null(value=False).to_numpy()


def _flag(text: pl.Series) -> pl.Series:
    """(N,) Boolean of words for yes and no, null for all else."""
    word = text.str.to_lowercase()
    yes, no = word.is_in([*TRUE, "1"]).fill_null(value=False), word.is_in([*FALSE, "0"]).fill_null(value=False)
    return yes.set(~yes & ~no, None)


def _number(name: str, table: pl.DataFrame, unused: list[pl.DataFrame]) -> Floats:
    """(N,) a numeric attribute of the newcomers, NaN where unknown; times are days since 1970."""
    if name not in table.columns:
        return np.full(table.height, np.nan, dtype=np.float32)
    given = table[name]
    if given.dtype.is_temporal():
        days = given.cast(pl.Datetime("us")).cast(pl.Int64) / DAY
        return days.cast(pl.Float32).fill_null(np.nan).to_numpy()
    given = given.fill_nan(None) if given.dtype.is_float() else given
    values = given.cast(pl.Float32, strict=False)
    values = values.set((values.is_infinite() | values.is_nan()).fill_null(value=False), None)
    strange = (values.is_null() & given.is_not_null()).arg_true()
    why = "the model knows this column as numbers or dates"
    unused.append(_unused(table["customer_id"].gather(strange), name, given.gather(strange), why))
    return values.fill_null(np.nan).to_numpy()


def _visitors(dataset: Dataset, people: Entities, lines: pl.DataFrame) -> Dataset:
    """The newcomers and their lines as a dataset of their own, in the codes of ``dataset``."""
    events = dataset.all_events.take(slice(0, 0))
    if lines.height:
        events = build_events(lines, dataset.clock, people, dataset.products, dataset.stores, dataset.channels)
    return replace(dataset, all_events=events, customers=people)


def _moments(visitors: Dataset) -> Times:
    """(N,) the moment each newcomer is asked about."""
    if visitors.clock == "sequence":
        return np.ones(len(visitors.customers), dtype=np.int64)  # just after the last basket, which is 0
    moments = np.full(len(visitors.customers), visitors.as_of, dtype=np.int64)
    named = visitors.all_events.customer >= 0
    ends = (visitors.all_events.time[named] // DAY + 1) * DAY
    np.maximum.at(moments, visitors.all_events.customer[named], np.where(ends > visitors.as_of, ends, visitors.as_of))
    return moments


def _lists(recommender: Recommender, visitors: Dataset, k: int, rules: Rules) -> pl.DataFrame:
    """Lists of everybody in ``visitors``, in the order of their ids, a block of one moment at a time."""
    moments, vocab, size = _moments(visitors), visitors.customers.vocab, recommender.block_size
    frames = [pl.DataFrame(schema=RECOMMENDATIONS)]
    for moment in np.unique(moments).tolist():
        then, asked = visitors.before(moment), np.flatnonzero(moments == moment).astype(np.int32)
        for at in range(0, len(asked), size):
            rows = asked[at : at + size]
            batch = then.batch(np.where(visitors.flag("no_profile")[rows], np.int32(UNKNOWN), rows))
            batch = replace(batch, customers=np.full(len(rows), UNKNOWN, dtype=np.int32))  # nobody the model knows
            frames.append(recommender.frame(batch, k, rules, vocab.names(rows)))
    frame = pl.concat(frames)
    order = np.argsort(vocab.codes(frame["customer_id"]), kind="stable")
    return frame[order]


def _unused(
    who: pl.Series | None, column: str | pl.Series, value: pl.Series | None, why: str | pl.Series
) -> pl.DataFrame:
    """Rows of ``UNUSED``, equal ones counted; what is given as one text holds for all."""
    size = max(len(part) for part in (who, column, value, why) if isinstance(part, pl.Series))
    columns = {"customer_id": who, "column": column, "value": value, "why": why}
    parts = [
        part.cast(pl.String).alias(name) if isinstance(part, pl.Series) else pl.Series(name, [part] * size, pl.String)
        for name, part in columns.items()
    ]
    counted = pl.DataFrame(parts).group_by(list(columns), maintain_order=True).agg(pl.len().alias("rows"))
    return counted.select(pl.col(name).cast(kind) for name, kind in UNUSED.items())
