"""Reasons against loops over the purchases, and promises that hold for any list."""

from __future__ import annotations

import json
import statistics
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.data.schema import CleanTables
from aisle.errors import BundleError, UsageError
from aisle.explain.copurchase import co_purchases
from aisle.explain.reasons import Evidence, Reasons
from aisle.explain.words import ENGLISH, REASON_CODES, phrase
from aisle.types import DAY, Codes
from tests.contract.worlds import world


def shop(
    lines: list[tuple[str, str, int]], categories: dict[str, str] | None = None, *, clock: str = "time", at: int = 400
) -> Dataset:
    """A shop from (customer, product, day) lines, one basket a customer and day, seen after day ``at``."""
    start = datetime(2011, 1, 1)
    column: dict[str, Any] = {"timestamp": [start + timedelta(days=d, hours=9) for _, _, d in lines]}
    if clock == "sequence":
        column = {"sequence": [d for _, _, d in lines]}
    ids = sorted({p for _, p, _ in lines} | set(categories or {}))
    products: dict[str, Any] = {"product_id": ids, "name": [f"Name of {p}" for p in ids]}
    if categories:
        products["category_1"] = ["Shop"] * len(ids)
        products["category_2"] = [None if p not in categories else f"Shop > {categories[p]}" for p in ids]
    transactions = pl.DataFrame(
        {"customer_id": [c for c, _, _ in lines], "product_id": [p for _, p, _ in lines]} | column
    ).with_columns(quantity=pl.lit(1.0), amount=pl.lit(2.0))
    customers = pl.DataFrame({"customer_id": sorted({c for c, _, _ in lines} | {"nobody"})})
    data = Dataset.of(CleanTables(transactions=transactions, products=pl.DataFrame(products), customers=customers))
    moment = int((start - datetime(1970, 1, 1)) / timedelta(microseconds=1)) + at * DAY
    return data.before(moment) if clock == "time" else data


def why(
    data: Dataset, customer: str, product: str, source: str = "model", group: str = ""
) -> tuple[str, dict[str, Any], str]:
    codes = data.products.vocab.codes([product]).reshape(1, 1)
    batch = data.batch(data.customers.vocab.codes([customer]))
    found = Evidence.fit(data).explain(batch, codes, [[source]], [group], data.products)
    return found.code[0, 0], found.args[0, 0], found.text[0, 0]


def every(days: int, times: int = 4, customer: str = "c", product: str = "tea", first: int = 0) -> list[Any]:
    return [(customer, product, first + days * i) for i in range(times)]


@pytest.mark.parametrize(
    ("days", "at", "text"),
    [
        (1, 5, "You buy this nearly every day"),
        (3, 12, "You buy this every ~3 days"),
        (7, 30, "You buy this about once a week"),
        (35, 120, "You buy this every ~5 weeks"),
        (91, 300, "You buy this every ~3 months"),
    ],
)
def test_a_regular_purchase_is_said_with_its_interval(days: int, at: int, text: str) -> None:
    code, args, words = why(shop(every(days), at=at), "c", "tea")
    assert (code, words, args["times"]) == ("BUY_AGAIN", text, 4)


def test_a_habit_long_over_is_only_a_purchase_of_the_past() -> None:
    assert why(shop(every(7), at=21 + 20), "c", "tea")[0] == "BUY_AGAIN"
    assert why(shop(every(7), at=21 + 30), "c", "tea")[0] == "BOUGHT_BEFORE"


def test_uneven_gaps_are_no_interval() -> None:
    assert why(shop([("c", "tea", d) for d in (0, 1, 60, 61)], at=70), "c", "tea")[0] == "BOUGHT_BEFORE"


def test_two_baskets_of_one_day_are_one_purchase_of_the_rhythm() -> None:
    lines = [*every(30, 2), *every(30, 2)]
    assert why(shop(lines, at=40), "c", "tea")[0] == "BOUGHT_BEFORE"


def test_a_single_purchase_is_dated() -> None:
    data = shop([("c", "tea", 61), ("d", "tea", 1)], at=100)
    assert why(data, "c", "tea") == (
        "BOUGHT_BEFORE",
        {"on": "2011-03-03", "times": 1},
        "You bought this on 3 March 2011",
    )


def test_the_date_is_the_last_one() -> None:
    data = shop([("c", "tea", 61), ("c", "tea", 2), ("d", "tea", 99)], at=100)
    assert why(data, "c", "tea")[2] == "You last bought this on 3 March 2011"


def test_under_a_sequence_clock_visits_are_counted() -> None:
    lines = [("c", "tea", n) for n in (1, 4, 7, 10)] + [("c", "milk", n) for n in (2, 5)] + [("c", "jam", 10)]
    lines += [("c", "bread", n) for n in (3, 6, 8, 9)]
    data = shop(lines, clock="sequence")
    assert why(data, "c", "tea")[2] == "You buy this every ~3 visits"
    assert why(data, "c", "milk")[2] == "You last bought this 6 visits ago"
    assert why(data, "c", "jam")[2] == "You bought this on your last visit"


def test_the_strongest_companion_of_the_own_history_is_named() -> None:
    lines = [("a", "x", 1), ("a", "y", 1), ("b", "x", 1), ("b", "y", 1), ("b", "z", 1), ("d", "z", 2), ("d", "x", 2)]
    lines += [("c", "y", 3), ("c", "z", 3)] + [(f"o{i}", "other", 4) for i in range(6)]
    code, args, text = why(shop(lines), "c", "x")
    assert (code, args["product_id"]) == ("BOUGHT_WITH", "y")  # y before z: equal cosine and popularity, smaller id
    assert text == "Often bought with Name of y"


def test_one_shared_customer_is_chance() -> None:
    lines = [("a", "x", 1), ("a", "y", 1), ("c", "y", 3)] + [(f"o{i}", "other", 4) for i in range(6)]
    assert why(shop(lines), "c", "x")[0] == "PICKED"


def test_what_everybody_buys_is_not_a_companion() -> None:
    lines = [(f"o{i}", "bag", 4) for i in range(8)] + [("o0", "x", 1), ("o1", "x", 1)]
    assert why(shop(lines), "o5", "x")[0] != "BOUGHT_WITH"  # both of x bought a bag, but so did all others


def test_a_category_bought_often_is_named_by_its_leaf() -> None:
    lines = [("c", f"milk{i}", i) for i in range(3)] + [("o", "cheese", 1)] + [("o", f"nail{i}", 1) for i in range(4)]
    tree = {"milk0": "Dairy", "milk1": "Dairy", "milk2": "Dairy", "cheese": "Dairy"}
    assert why(shop(lines, tree), "c", "cheese")[1:] == (
        {"category": "Dairy", "path": "Shop > Dairy"},
        "You often buy from Dairy",
    )
    assert why(shop(lines[1:], tree), "c", "cheese")[0] != "CATEGORY"  # twice is not often


def test_often_is_a_share_of_the_own_baskets() -> None:
    tree = {"milk0": "Dairy", "milk1": "Dairy", "milk2": "Dairy", "cheese": "Dairy"}
    lines = [("c", f"milk{i}", i) for i in range(3)] + [("o", "cheese", 1)] + [("o", f"nail{i}", 1) for i in range(4)]
    assert why(shop(lines + [("c", "nail0", 9 + i) for i in range(12)], tree), "c", "cheese")[0] == "CATEGORY"
    assert why(shop(lines + [("c", "nail0", 9 + i) for i in range(13)], tree), "c", "cheese")[0] != "CATEGORY"


def test_a_category_of_nearly_everything_is_no_reason() -> None:
    tree = {f"milk{i}": "Dairy" for i in range(4)}
    lines = [("c", f"milk{i}", i) for i in range(3)] + [("o", "milk3", 1)]
    assert why(shop(lines, tree), "c", "milk3")[0] == "PICKED"


def test_each_place_has_its_own_source() -> None:
    data = shop([("c", f"p{i}", 1) for i in range(10)])
    batch = data.batch(data.customers.vocab.codes(["nobody"]))
    codes = np.array([[9, 9]], dtype=np.int32)
    found = Evidence.fit(data).explain(batch, codes, [["ease", "group"]], ["Bath"], data.products)
    assert found.code.tolist() == [["PICKED", "POPULAR_IN"]]


def test_the_source_of_a_list_for_a_newcomer_is_told() -> None:
    data = shop([("c", f"p{i}", 1) for i in range(10)])
    assert why(data, "nobody", "p3", "group", "Bath")[::2] == ("POPULAR_IN", "Popular in Bath")
    assert why(data, "nobody", "p3", "attribute", "gender F")[2] == "Popular with customers like you"
    assert why(data, "nobody", "p3", "popularity")[::2] == ("POPULAR", "Popular now")
    assert why(data, "nobody", "p3", "recent_popularity", "Bath")[0] == "POPULAR"


def test_only_best_sellers_of_a_model_are_called_popular() -> None:
    lines = [(f"o{i}", "hit", 300 + i) for i in range(9)] + [("o1", f"rare{i}", 1) for i in range(9)]
    data = shop(lines)
    assert why(data, "nobody", "hit")[0] == "POPULAR"
    assert why(data, "nobody", "rare8")[0] == "PICKED"


# ---- the same by loops -------------------------------------------------------------------------------------------


def loop_cosines(data: Dataset) -> dict[tuple[int, int], float]:
    buyers: dict[int, set[int]] = {}
    for who, what in zip(data.purchases.customer.tolist(), data.purchases.product.tolist(), strict=True):
        if who >= 0:
            buyers.setdefault(what, set()).add(who)
    found, everybody = {}, len(set().union(*buyers.values()))
    for i, mine in buyers.items():
        for j, theirs in buyers.items():
            both = len(mine & theirs)
            if i != j and both >= 2 and both * everybody > len(mine) * len(theirs):
                found[i, j] = both / (len(mine) * len(theirs)) ** 0.5
    return found


def loop_reason(
    data: Dataset, customer: int, product: int, cosines: dict[tuple[int, int], float]
) -> tuple[str, dict[str, Any]]:
    """Code and telling arguments for a list of a model, by looking at one line after the other."""
    lines = data.purchases.take((data.purchases.customer == customer) & (customer >= 0))
    days = sorted({t // DAY for t, p in zip(lines.time.tolist(), lines.product.tolist(), strict=True) if p == product})
    if days:
        gaps = [b - a for a, b in pairwise(days)]
        gap = statistics.median(gaps) if gaps else 0
        even = len(days) >= 3 and statistics.fmean(abs(g - gap) for g in gaps) <= 0.5 * gap
        if even and data.as_of / DAY - days[-1] <= 3 * gap:
            return "BUY_AGAIN", {"times": len(days), "gap": gap}
        on = datetime.fromtimestamp(days[-1] * 86_400, UTC).date().isoformat()
        return "BOUGHT_BEFORE", {"on": on, "times": len(days)}
    ranked = [
        (-cosines[product, h], data.tie_rank[h], h) for h in set(lines.product.tolist()) if (product, h) in cosines
    ]
    if ranked:
        return "BOUGHT_WITH", {"product_id": data.products.vocab.ids[min(ranked)[2]]}
    for level in reversed(data.products.tree):
        mine = level.codes[product]
        if (level.codes == mine).mean() > 0.5:
            continue
        inside = {
            b for b, p in zip(lines.basket.tolist(), lines.product.tolist(), strict=True) if level.codes[p] == mine
        }
        if mine >= 0 and len(inside) >= 3 and len(inside) >= 0.2 * len(set(lines.basket.tolist())):
            return "CATEGORY", {"path": level.vocab.ids[int(mine)]}
    return "", {}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_reason_is_the_one_found_by_loops(seed: int) -> None:
    data = world(seed)
    customers = np.append(np.arange(data.shape[0]), -1).astype(np.int32)
    batch = data.batch(customers)
    codes = np.tile(np.arange(data.shape[1], dtype=np.int32), (len(customers), 1))
    found = Evidence.fit(data).explain(batch, codes, np.full(codes.shape, "ease"), [""] * len(batch), data.products)
    cosines, seen = loop_cosines(data), set()
    for b, customer in enumerate(customers.tolist()):
        for product in range(data.shape[1]):
            code, args = loop_reason(data, customer, product, cosines)
            seen.add(code)
            if code:
                got = {key: found.args[b, product].get(key) for key in args if key != "gap"}
                assert (found.code[b, product], got) == (code, {k: v for k, v in args.items() if k != "gap"})
            else:
                assert found.code[b, product] in ("POPULAR", "PICKED")
            if "gap" in args:
                length = {"day": 1, "week": 7, "month": 30.4375}[found.args[b, product]["unit"]]
                assert found.args[b, product]["every"] == max(round(args["gap"] / length), 1)
    assert {"BUY_AGAIN", "BOUGHT_BEFORE", "BOUGHT_WITH"} <= seen


def test_neighbours_are_the_strongest_by_loops_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    data = world(3)
    cosines = loop_cosines(data)
    near, strength = co_purchases(data.counts, data.tie_rank, 4, 2)
    for i in range(data.shape[1]):
        ranked = sorted((-c, data.tie_rank[j], j) for (a, j), c in cosines.items() if a == i)[:4]
        assert near[i, : len(ranked)].tolist() == [j for _, _, j in ranked]
        assert (near[i, len(ranked) :] == -1).all()
        np.testing.assert_allclose(strength[i, : len(ranked)], [-c for c, _, _ in ranked], rtol=1e-6)
    monkeypatch.setattr("aisle.features.copurchase.MAX_WORK", 50)
    told: list[tuple[int, int]] = []
    again, _ = co_purchases(data.counts, data.tie_rank, 4, 2, lambda done, total: told.append((done, total)))
    np.testing.assert_array_equal(again, near)
    assert len(told) > 3
    assert told == sorted(told)
    assert told[-1][0] < told[-1][1] == data.shape[1]


# ---- promises ----------------------------------------------------------------------------------------------------


def random_lists(data: Dataset, k: int = 6) -> tuple[Batch, Codes]:
    rng = np.random.default_rng(0)
    batch = data.batch(np.append(np.arange(data.shape[0]), -1).astype(np.int32))
    codes = rng.integers(-1, data.shape[1], (len(batch), k)).astype(np.int32)
    return batch, codes


def explain(data: Dataset, batch: Batch, codes: Codes) -> Reasons:
    kinds = np.array(["model", "segment", "group", "attribute", "popularity", "ease"])
    source = kinds[np.arange(codes.size).reshape(codes.shape) % len(kinds)].astype(object)
    return Evidence.fit(data).explain(batch, codes, source, [f"g{b % 3}" for b in range(len(batch))], data.products)


def test_every_listed_product_has_a_reason_in_json_and_words() -> None:
    data = world(0)
    batch, codes = random_lists(data)
    found = explain(data, batch, codes)
    listed = codes >= 0
    assert set(found.code[listed]) <= set(REASON_CODES)
    assert not any(found.code[~listed])
    assert not any(found.text[~listed])
    for code, args, text in zip(found.code[listed], found.args[listed], found.text[listed], strict=True):
        back = json.loads(json.dumps(args))
        assert phrase(code, back) == text != ""
        assert "{" not in text


def test_a_customer_is_answered_alike_alone_and_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    data = world(1)
    batch, codes = random_lists(data)
    together = explain(data, batch, codes)
    monkeypatch.setattr("aisle.explain.copurchase.MAX_CELLS", 90)
    monkeypatch.setattr("aisle.explain.copurchase.ROWS_AT_ONCE", 2)
    assert (explain(data, batch, codes).text == together.text).all()
    for b in range(0, len(batch), 12):  # the pattern of sources repeats after each row
        alone = explain(data, data.batch(batch.customers[b : b + 1]), codes[b : b + 1])
        same = [alone.code[0, i] == together.code[b, i] for i in range(codes.shape[1])]
        assert all(same)


def test_the_future_gives_no_reason() -> None:
    data = shop([("c", "tea", 10), ("c", "milk", 1)], at=5)
    assert why(data, "c", "tea")[0] not in ("BUY_AGAIN", "BOUGHT_BEFORE")


def test_evidence_survives_saving() -> None:
    evidence = Evidence.fit(world(0))
    arrays, values = evidence.state()
    again = Evidence.restore(arrays, json.loads(json.dumps(values)))
    for name, array in arrays.items():
        np.testing.assert_array_equal(getattr(again, name), array)
    del arrays["popular"]
    with pytest.raises(BundleError, match="popular"):
        Evidence.restore(arrays, values)


def test_shapes_that_do_not_fit_are_named() -> None:
    data = world(0)
    batch = data.batch(np.array([0, 1], dtype=np.int32))
    codes = np.zeros((2, 3), dtype=np.int32)
    with pytest.raises(UsageError, match="one a place"):
        Evidence.fit(data).explain(batch, codes, [["a", "b"]] * 2, ["", ""], data.products)
    with pytest.raises(UsageError, match="2 customers, 2 lists and 1"):
        Evidence.fit(data).explain(batch, codes, [["a"]] * 2, [""], data.products)


def test_names_with_braces_are_names() -> None:
    assert phrase("BOUGHT_WITH", {"product": "{0} {x}"}) == "Often bought with {0} {x}"


def test_another_language_is_another_table() -> None:
    german = dict(ENGLISH) | {"BOUGHT_BEFORE.date.1": "Gekauft am {day}. {month} {year}", "months": "Januar " * 12}
    assert phrase("BOUGHT_BEFORE", {"on": "2011-01-03", "times": 1}, german) == "Gekauft am 3. Januar 2011"
