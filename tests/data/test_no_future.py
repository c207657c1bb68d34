"""Whatever happens at or after the moment, nothing that models, rules or fallbacks see before it may change."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisle.config import RunConfig
from aisle.data.dataset import Dataset
from aisle.data.events import Events
from aisle.data.schema import CleanTables, DataReport, FileCount
from aisle.errors import DataError, UsageError
from aisle.features.customers import Segments, rfmv
from aisle.jobs.ingest import build_dataset
from aisle.rank.fallback import Fallback
from aisle.rank.lists import local_products
from aisle.rank.rules import gone
from tests.contract.worlds import CUT, other_future, tables, world
from tests.data.shops import Line, lines_of_shops, moment, shop, tables_of

many = settings(max_examples=60, deadline=None)


def view(data: Dataset) -> dict[str, Any]:
    """All that may be seen of a Dataset as of its moment; basket codes are internal and left out."""
    everyone = data.batch(np.arange(data.shape[0], dtype=np.int32))
    out: dict[str, Any] = {
        "shape": data.shape,
        "indptr": data.indptr,
        "counts": data.counts.toarray(),
        "popularity": data.popularity,
        "tie_rank": data.tie_rank,
        "known": data.known,
        "gone": gone(data),
        "rfmv": rfmv(everyone),
        "ages": everyone.age_days,
        "history": everyone.history.toarray(),
        "local": local_products(data, everyone),
    }
    for kind, events in (("purchases", data.purchases), ("batch", everyone.lines), ("lines", data.lines)):
        out |= {f"{kind}.{f.name}": getattr(events, f.name) for f in fields(Events) if f.name != "basket"}
    segments = Segments.fit(data)
    if segments is not None:
        out |= {name: getattr(segments, name) for name in ("centers", "mean", "scale", "names")}
        out["segments"] = segments.predict(everyone)
    fallback = Fallback.fit(data)
    arrays, values = fallback.state()
    choice = fallback.choose(everyone, np.zeros(len(everyone), dtype=bool))
    return out | arrays | values | {"choice": choice.scores(), "sources": choice.sources(), "names": choice.names()}


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


@pytest.mark.parametrize("seed", range(4))
def test_another_future_of_a_whole_shop_changes_no_view(seed: int) -> None:
    other = Dataset.of(other_future(tables(), CUT, seed)).before(CUT)
    found = view(world())
    assert "segments" in found, "the world must be large enough for segments"
    same(view(other), found)


def test_the_view_itself_sees_the_past() -> None:
    """The test above would pass on a view that sees nothing."""
    source = tables()
    last = source.transactions.filter(pl.col("timestamp") < pl.lit(CUT).cast(pl.Datetime("us")))["timestamp"].max()
    less = CleanTables(
        transactions=source.transactions.filter(pl.col("timestamp") != last),
        customers=source.customers,
        products=source.products,
    )
    with pytest.raises(AssertionError):
        same(view(Dataset.of(less).before(CUT)), view(world()))


@given(past=lines_of_shops(hours=48), futures=st.tuples(lines_of_shops(), lines_of_shops()))
@many
def test_two_futures_of_one_past_look_alike(past: list[Line], futures: tuple[list[Line], list[Line]]) -> None:
    catalogue = {
        "products": pl.DataFrame({"product_id": [f"p{i}" for i in range(4)]}),
        "customers": pl.DataFrame({"customer_id": [f"c{i}" for i in range(4)]}),
    }
    stores = [Line(None, "p0", 0, store="s0", channel="web"), Line(None, "p0", 0, store="s1")]
    views = []
    for future in futures:
        later = [
            Line(x.customer, x.product, 49 + x.hour, x.quantity, x.amount, x.order and f"later {x.order}", x.store)
            for x in future
        ]
        end = [Line(None, "p0", 24 * 9)]  # the data goes on after the moment in both
        views.append(view(shop([*stores, *past, *later, *end], **catalogue).before(moment(49))))
    same(*views)


# -- --at is the same as files that stop there


def stopped(source: CleanTables, at: int) -> CleanTables:
    cut = pl.lit(at).cast(pl.Datetime("us"))
    lines = source.transactions.filter(pl.col("timestamp") < cut)
    lines = lines.with_columns(void_at=pl.when(pl.col("void_at") < cut).then("void_at"))
    return CleanTables(transactions=lines, customers=source.customers, products=source.products)


def at_text(at: int) -> str:
    return str(pl.Series([at]).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S").item())


def test_at_gives_what_files_that_stop_there_give() -> None:
    source = tables()
    found = build_dataset(source, RunConfig(at=at_text(CUT)))
    expected = Dataset.of(stopped(source, CUT)).until(CUT)
    same(view(found), view(expected))
    assert found.products.vocab.ids.equals(expected.products.vocab.ids)
    assert (found.all_events.void_at == expected.all_events.void_at).all()


def test_at_forgets_products_that_only_later_lines_name_but_keeps_customers() -> None:
    lines = [Line("a", "old", 1), Line("b", "new", 30), Line("b", "listed", 31), Line("a", "old", 32)]
    products = pl.DataFrame({"product_id": ["listed", "new", "never"], "brand": ["B", None, None]})
    given = tables_of(lines, products=products, customers=pl.DataFrame({"customer_id": ["a", "b"]}))
    found = build_dataset(given, RunConfig(at=at_text(moment(24))))
    assert found.products.vocab.ids.to_list() == ["listed", "never", "old"]
    assert found.customers.vocab.ids.to_list() == ["a", "b"]
    assert found.known.all()
    counted = DataReport(files=(FileCount("t.csv", "transactions", 4, 4, 0),))
    alone = CleanTables(
        transactions=given.transactions, products=given.products, customers=given.customers, report=counted
    )
    assert build_dataset(alone, RunConfig(at=at_text(moment(24)))).products.vocab.ids.len() == 3


def test_at_before_the_first_line_and_a_shop_without_lines_are_refused() -> None:
    given = tables_of([Line("a", "x", 30)])
    with pytest.raises(UsageError, match=r"before the first line \(2022-01-09"):
        build_dataset(given, RunConfig(at="2000-01-01"))
    with pytest.raises(DataError, match="no transaction line"):
        build_dataset(tables_of([]), RunConfig())
    with pytest.raises(UsageError, match="sequence"):
        build_dataset(tables_of([Line("a", "x", 3)], sequence=True), RunConfig(at="2000-01-01"))
