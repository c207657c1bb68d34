"""UP-CF by loops over baskets, by hand, and its one subtlety: whoever asks counts once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.errors import UsageError
from aisle.models import up_cf
from aisle.models.up_cf import UPCF, fingerprints, recent_shares, twins
from aisle.types import UNKNOWN
from tests.contract.worlds import CUSTOMERS, PRODUCTS
from tests.oracle.loops import Array, baskets, check, data, everyone, few, seeds
from tests.oracle.shops import asked, shop


def naive(
    held: dict[int, list[set[int]]], r: int, q: float, a: float, k: int | None, shrink: float, products: int
) -> Array:
    """score_u(i) with every customer of the training, themselves among them, as a neighbour once."""
    out = np.zeros((max(held) + 1, products))
    shares = {}
    for who, rows in held.items():
        shares[who] = np.zeros(products)
        for basket in rows[-r:]:
            for product in basket:
                shares[who][product] += 1 / min(r, len(rows))
    for u in held:
        mine = set().union(*held[u])
        near = []
        for v in held:
            other = set().union(*held[v])
            if v != u:
                near.append((len(mine & other) / (len(mine) ** a * len(other) ** (1 - a) + shrink), -v))
        out[u] = shares[u]
        for similar, minus_v in sorted(near, reverse=True)[:k]:
            out[u] += similar**q * shares[-minus_v]
    return out


@few
@given(
    seed=seeds,
    r=st.sampled_from([1, 3, 10, 100]),
    q=st.sampled_from([1.0, 10.0]),
    a=st.sampled_from([0.0, 0.3, 0.75, 1.0]),
    shrink=st.sampled_from([0.0, 2.0]),
)
def test_up_cf_by_loops(seed: int, r: int, q: float, a: float, shrink: float) -> None:
    dataset = data(seed)
    held = {who: [set(inside) for _, inside in rows] for who, rows in baskets(dataset).items() if who >= 0}
    expected = np.zeros((CUSTOMERS, PRODUCTS))
    found = naive(held, r, q, a, None, shrink, PRODUCTS)
    expected[: len(found)] = found
    model = UPCF(recency=r, locality=q, asymmetry=a, shrink=shrink).fit(dataset)
    check(model.score(everyone(dataset)), expected, dataset)


HAND = {"a": ["xy", "x"], "b": ["xz", "z"], "c": ["w"]}


def test_three_customers_by_hand() -> None:
    dataset = shop(HAND)
    scores = UPCF(recency=1, locality=2.0, asymmetry=0.5).fit(dataset).score(asked(dataset, "abc"))
    w, x, y, z = range(4)
    assert scores[0, x] == 1.0  # the last basket of a alone speaks
    assert scores[0, z] == pytest.approx((1 / 2) ** 2)  # one product of two and two is shared
    assert scores[0, y] == scores[0, w] == 0
    np.testing.assert_array_equal(scores[2], [1, 0, 0, 0])


def test_a_customer_counts_once_whether_known_to_the_training_or_not() -> None:
    whole, without = shop(HAND), shop({key: rows for key, rows in HAND.items() if key != "a"}, like=HAND)
    who = asked(whole, "abc")
    for model in (UPCF(), UPCF(neighbours=2), UPCF(recency=1)):
        known = replace(model).fit(whole).score(who)[0]
        stranger = replace(model).fit(without).score(who)[0]
        np.testing.assert_array_equal(known, stranger)


def test_two_customers_alike_count_twice() -> None:
    two = shop({"a": ["x"], "b": ["x"], "c": ["y"]})
    np.testing.assert_array_equal(UPCF().fit(two).score(asked(two, "ab")), [[2, 0], [2, 0]])


def test_a_history_that_went_on_is_a_neighbour_of_its_former_self() -> None:
    then, now = shop({"a": ["x"]}, like={"a": ["x", "y"]}), shop({"a": ["x", "y"]})
    scores = UPCF(locality=1.0, asymmetry=1.0).fit(then).score(asked(now, "a"))
    np.testing.assert_allclose(scores, [[0.5 + 0.5, 0.5]])


def test_the_closest_alone_are_heard() -> None:
    dataset = data(2)
    held = {who: [set(inside) for _, inside in rows] for who, rows in baskets(dataset).items() if who >= 0}
    model = UPCF(neighbours=1, asymmetry=0.3).fit(dataset)
    scores, batch = model.score(everyone(dataset)), everyone(dataset)
    own = recent_shares(batch, 10).toarray()
    for u, v_best in ((u, best(held, u, 0.3)) for u in held):
        candidates = [own[u] + similar**10 * own[v] for v, similar in v_best]
        assert any(np.allclose(scores[u], one, rtol=1e-4, atol=1e-6) for one in candidates)


def best(held: dict[int, list[set[int]]], u: int, a: float) -> list[tuple[int, float]]:
    """The customers most similar to u; which of equal ones is taken is left to rounding."""
    mine, found = set().union(*held[u]), []
    for v in held:
        other = set().union(*held[v])
        if v != u:
            found.append((v, len(mine & other) / (len(mine) ** a * len(other) ** (1 - a))))
    top = max(similar for _, similar in found)
    return [(v, similar) for v, similar in found if similar > top - 1e-9]


def test_fingerprints_tell_rows_apart_and_twins_are_the_first() -> None:
    batch = everyone(data())
    sets, recent = batch.history.sign(), recent_shares(batch, 2)
    marks = fingerprints(sets, recent)
    rows = {(tuple(s), tuple(r)) for s, r in zip(sets.toarray(), recent.toarray(), strict=True)}
    assert len(set(marks.tolist())) == len(rows)
    doubled = np.repeat(np.arange(CUSTOMERS), 2)
    found = twins(sets, recent, sets[doubled], recent[doubled])
    some = ~batch.empty
    np.testing.assert_array_equal(found[some], 2 * np.arange(CUSTOMERS)[some])
    assert (twins(sets, recent, sets[:0], recent[:0]) == UNKNOWN).all()


def test_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    model = UPCF(neighbours=5).fit(data())
    whole = model.score(everyone(data()))
    monkeypatch.setattr(up_cf, "BLOCK_CELLS", 7 * CUSTOMERS)
    np.testing.assert_array_equal(model.score(everyone(data())), whole)


@pytest.mark.parametrize(
    "wrong", [{"recency": 0}, {"neighbours": 0}, {"asymmetry": 1.2}, {"locality": 0.0}, {"shrink": -1.0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        UPCF(**wrong)  # type: ignore[arg-type]
