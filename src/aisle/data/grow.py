"""A Dataset and further lines: the same, to the last bit, as one built of all lines."""

from __future__ import annotations

import logging
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import polars as pl

from aisle.data.build import build_events
from aisle.data.dataset import Dataset
from aisle.data.entities import Entities
from aisle.data.events import Events
from aisle.data.stored import write_lines
from aisle.data.vocab import Vocab
from aisle.data.woven import Woven
from aisle.types import DAY, NEVER, UNKNOWN, Codes

log = logging.getLogger(__name__)


def interwoven(data: Dataset, lines: pl.DataFrame, *, by_day: bool) -> pl.Series:
    """Ids of customers (null = anonymous) with lines of ``lines`` that do not come after all that are known of them.

    ``by_day``: after the last day of those, since the lines of a day are a basket where orders have no id.
    """
    unit = DAY if by_day else 1
    first = lines.group_by("customer_id").agg(pl.col("timestamp").min().cast(pl.Int64).alias("first"))
    events, last = data.all_events, np.full(len(data.customers) + 1, np.iinfo(np.int64).min)
    ends = np.flatnonzero(np.append(events.customer[1:] != events.customer[:-1], True)[: len(events)])
    last[events.customer[ends]] = events.time[ends] // unit
    code = data.customers.vocab.codes(first["customer_id"])
    known = (code >= 0) | first["customer_id"].is_null().to_numpy()
    return first["customer_id"].filter(pl.Series(known & (last[code] >= first["first"].to_numpy() // unit)))


def undone(data: Dataset, lines: pl.DataFrame, moved: pl.Series) -> pl.Series:
    """Set ``void_at`` of some lines of a Dataset, in place; ids of customers with a line that is not found.

    Only those that ``moved`` (E,) have another moment than in ``data``; of each, all lines of its customer and product
    are here. Not found are lines of customers unknown (null), and alike ones of two baskets of one moment.
    """
    if not moved.any():
        return lines["customer_id"].clear()
    events, lost = data.all_events, [UNKNOWN]
    coded = _coded(data, lines).with_columns(moved.alias("moved"))
    alike = coded.join(coded.filter("moved").select(ALIKE).unique(), on=ALIKE, how="semi")
    alike = alike.group_by(*ALIKE).agg(pl.col("void_at").sort())
    for customer, product, time, quantity, amount, store, channel, voids in alike.sort("customer").iter_rows():
        if customer < 0:
            continue
        start, stop = np.searchsorted(events.customer, np.asarray([customer, customer + 1], dtype=np.int32))
        found = start + np.flatnonzero((events.product[start:stop] == product) & (events.time[start:stop] == time))
        found = found[
            (events.quantity[found] == quantity) & (np.nan_to_num(events.amount[found], nan=np.inf) == amount)
        ]
        found = found[(events.store[found] == store) & (events.channel[found] == channel)]
        if len(found) == len(voids) and len(np.unique(events.basket[found])) == 1:
            events.void_at[found] = voids
        else:
            lost.append(customer)
    odd = moved & coded["customer"].is_in(lost)
    return lines["customer_id"].filter(odd)


ALIKE = ("customer", "product", "time", "quantity", "amount", "store", "channel")
"""Lines of a basket that have these in common are told apart by ``void_at`` alone, and lie in its order."""


def _coded(data: Dataset, lines: pl.DataFrame) -> pl.DataFrame:
    """Lines (E,) by the codes and in the types of events; an unknown amount is infinite, since NaN equals nothing."""
    vocabularies = {"customer": data.customers.vocab, "product": data.products.vocab}
    columns = {name: vocab.codes(lines[f"{name}_id"]) for name, vocab in vocabularies.items()}
    nothing = np.full(lines.height, UNKNOWN, dtype=np.int32)
    unpriced = pl.Series([None], dtype=pl.Float32).new_from_index(0, lines.height)
    amount = lines["amount"] if "amount" in lines.columns else unpriced
    return pl.DataFrame(
        columns
        | {
            "time": lines["timestamp"].cast(pl.Int64),
            "quantity": lines["quantity"].cast(pl.Float32),
            "amount": amount.cast(pl.Float32).fill_null(np.inf).fill_nan(np.inf),
            "store": data.stores.codes(lines["store_id"]) if "store_id" in lines.columns else nothing,
            "channel": data.channels.codes(lines["channel"]) if "channel" in lines.columns else nothing,
            "void_at": lines["void_at"].cast(pl.Int64).fill_null(NEVER),
        }
    )


def grown(
    data: Dataset, lines: pl.DataFrame, anew: Codes, entities: tuple[Entities, Entities], folder: Path | None
) -> tuple[Dataset, Path | None]:
    """The Dataset of all lines, made of that of the lines before, and ``lines`` (emptied on the way).

    All lines of the customers ``anew`` (codes of ``data``, -1 = anonymous) are in ``lines``; the lines there of all
    others come after those in ``data`` (``interwoven``). ``entities``: all customers and products, sorted by id. What
    is sold where (``assortment``) is left to the caller. With a ``folder``, columns are written there and mapped; it is
    given back where that could be done.
    """
    customers, products = entities
    stores, channels = (
        _with_more(vocab, lines, name) for name, vocab in (("store_id", data.stores), ("channel", data.channels))
    )
    later = build_events(lines, data.clock, customers, products, stores, channels)
    vocabularies = {"customer": customers.vocab, "product": products.vocab, "store": stores, "channel": channels}
    before = {"customer": data.customers.vocab, "product": data.products.vocab}
    before |= {"store": data.stores, "channel": data.channels}
    places = {name: _places(before[name], vocab) for name, vocab in vocabularies.items()}
    woven = Woven(data.all_events, anew, places, later, len(customers))
    events = None if folder is None else _written(woven, folder)
    if events is None:
        folder = None
        events = Events(**{field.name: np.concatenate(list(woven.column(field.name))) for field in fields(Events)})
    return Dataset.holding(events, entities, stores, channels, data.clock, None), folder


def _written(woven: Woven, folder: Path) -> Events | None:
    """All lines, mapped; None where the disk is full, and then nothing is left there."""
    try:
        return write_lines(folder, woven.column, len(woven))
    except OSError as error:
        log.warning("lines stay in memory: %s", error)
        shutil.rmtree(folder, ignore_errors=True)
        return None


def history_of(data: Dataset) -> pl.DataFrame:
    """All lines as checks of the history want them, nothing copied: timestamp, quantity, and codes as product_id."""
    events = data.all_events
    return pl.DataFrame(
        {
            "product_id": pl.Series(events.product),
            "timestamp": pl.Series(events.time).cast(pl.Datetime("us")),
            "quantity": pl.Series(events.quantity),
        }
    )


def lines_of(data: Dataset) -> pl.DataFrame:
    """All lines under the names and ids of clean ones: customer_id, product_id, timestamp, quantity, amount."""
    return history_of(data).with_columns(
        _spelt(data.customers.vocab, data.all_events.customer).alias("customer_id"),
        _spelt(data.products.vocab, data.all_events.product).alias("product_id"),
        pl.Series("amount", data.all_events.amount).fill_nan(None),
    )


def _spelt(vocab: Vocab, codes: Codes) -> pl.Series:
    index = pl.Series(codes.view(np.uint32))  # as an index is wanted: others are copied
    if (codes < 0).any():
        index = index.set(pl.Series(codes < 0), None)
    return vocab.ids.cast(pl.Enum(vocab.ids)).gather(index)


def _with_more(vocab: Vocab, lines: pl.DataFrame, column: str) -> Vocab:
    if column not in lines.columns:
        return vocab
    return Vocab.of(pl.concat([vocab.ids, lines[column].unique().drop_nulls().cast(pl.String)]).unique().sort())


def _places(before: Vocab, now: Vocab) -> Codes | None:
    """(N + 1,) new codes of old ones, the last for -1; None where they are the same."""
    if now.ids.equals(before.ids):
        return None
    codes = now.codes(before.ids)
    return None if (codes == np.arange(len(codes))).all() else np.append(codes, np.int32(-1))
