"""The personal classics against the same number by another road: loops over the purchases of a small world."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from aisle.data.dataset import Dataset
from aisle.errors import ResourceError
from aisle.features import links, pairs
from aisle.models import ease as ease_file
from aisle.models.ease import EASE, ridge_weights
from aisle.models.item_knn import ItemKNN
from aisle.models.personal_frequency import PersonalFrequency
from aisle.models.tifu_knn import TIFUKNN, basket_weights, nearest
from tests.contract.worlds import CUSTOMERS, PRODUCTS
from tests.oracle.loops import (
    Array,
    baskets,
    check,
    data,
    empty_rows,
    everyone,
    few,
    naive_counts,
    naive_popularity,
    naive_presence,
    seeds,
)

# ---------------------------------------------------------------------------------------------- features.pairs


@few
@given(seed=seeds, half_life=st.sampled_from([None, 3.0, 40.0, 1000.0]))
def test_decayed_counts_and_presence_are_loops(seed: int, half_life: float | None) -> None:
    dataset = data(seed)
    counts = pairs.decayed_counts(everyone(dataset), half_life)
    np.testing.assert_allclose(counts.toarray(), naive_counts(dataset, half_life), rtol=1e-5)
    presence = pairs.decayed_presence(everyone(dataset), half_life)
    np.testing.assert_allclose(presence.toarray(), naive_presence(dataset, half_life), rtol=1e-5)


def test_a_basket_one_half_life_old_counts_half() -> None:
    weights = pairs.decay(np.array([0.0, 7.0, 14.0]), 7.0)
    np.testing.assert_allclose(weights, [1.0, 0.5, 0.25])


def test_places_count_the_baskets_of_each_customer_from_the_oldest() -> None:
    batch = everyone(data())
    place, number = pairs.basket_places(batch)
    found = baskets(data())
    assert number.tolist() == [len(found.get(u, [])) for u in range(CUSTOMERS)]
    for line in range(0, len(place), 7):
        codes = [code for code, _ in found[int(batch.row[line])]]
        assert codes[place[line]] == batch.lines.basket[line]


# ---------------------------------------------------------------------------------------------- personal frequency


@few
@given(seed=seeds)
def test_personal_frequency_is_own_counts_then_popularity(seed: int) -> None:
    dataset = data(seed)
    popularity = naive_popularity(dataset)
    expected = naive_counts(dataset) + 0.5 * popularity / (popularity.max() + 1)
    check(PersonalFrequency().fit(dataset).score(everyone(dataset)), expected, dataset)


@few
@given(seed=seeds, half_life=st.sampled_from([5.0, 30.0, 200.0]))
def test_decayed_personal_frequency_keeps_own_products_above_the_tail(seed: int, half_life: float) -> None:
    dataset = data(seed)
    popularity = naive_popularity(dataset)
    own = naive_counts(dataset, half_life)
    expected = np.where(naive_counts(dataset) > 0, 1 + own, 0.5 * popularity / (popularity.max() + 1))
    check(PersonalFrequency(half_life_days=half_life).fit(dataset).score(everyone(dataset)), expected, dataset)


# ---------------------------------------------------------------------------------------------- item kNN


@few
@given(
    seed=seeds,
    k=st.sampled_from([1, 4, 100]),
    shrink=st.sampled_from([0.0, 3.0]),
    half_life=st.sampled_from([None, 50.0]),
    own=st.sampled_from([0.0, 2.0]),
)
def test_item_knn_by_brute_force(seed: int, k: int, shrink: float, half_life: float | None, own: float) -> None:
    dataset = data(seed)
    x = naive_presence(dataset)
    similar = np.zeros((PRODUCTS, PRODUCTS))
    for i in range(PRODUCTS):
        row = []
        for j in range(PRODUCTS):
            both = float((x[:, i] * x[:, j]).sum())
            if i != j and both > 0:
                size = float(np.sqrt(x[:, i].sum())) * float(np.sqrt(x[:, j].sum()))
                row.append((np.float32(both / (size + shrink)), -j))
        for value, minus_j in sorted(row, reverse=True)[:k]:
            similar[i, -minus_j] = value
    model = ItemKNN(neighbours=k, shrink=shrink, half_life_days=half_life, own_weight=own).fit(dataset)
    assert np.diff(model.similar_.indptr).max() <= k
    if k == 100 or shrink:  # else exact ties may round to either side here and there
        np.testing.assert_allclose(np.sort(model.similar_.toarray()), np.sort(similar), rtol=1e-5)
    kept = model.similar_.toarray()
    expected = naive_presence(dataset, half_life) @ kept + own * naive_counts(dataset, half_life)
    check(model.score(everyone(dataset)), expected, dataset)
    if k == 100:
        np.testing.assert_allclose(kept, similar, rtol=1e-5)


def test_neighbours_do_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ItemKNN(neighbours=5).fit(data()).similar_
    monkeypatch.setattr(links, "BLOCK_CELLS", 3 * PRODUCTS)
    blocked = ItemKNN(neighbours=5).fit(data()).similar_
    np.testing.assert_array_equal(whole.toarray(), blocked.toarray())


# ---------------------------------------------------------------------------------------------- EASE


@few
@given(seed=seeds, l2=st.floats(0.5, 1000), half_life=st.sampled_from([None, 60.0]))
def test_every_column_of_ease_is_a_ridge_regression_on_the_others(
    seed: int, l2: float, half_life: float | None
) -> None:
    dataset = data(seed)
    x = naive_presence(dataset, half_life)
    model = EASE(l2=l2, half_life_days=half_life, own_weight=0).fit(dataset)
    weights = np.zeros((PRODUCTS, PRODUCTS))
    weights[np.ix_(model.codes_, model.codes_)] = model.weights_
    for j in range(PRODUCTS):
        rest = [i for i in range(PRODUCTS) if i != j]
        normal = x[:, rest].T @ x[:, rest] + l2 * np.eye(len(rest))
        np.testing.assert_allclose(weights[rest, j], np.linalg.solve(normal, x[:, rest].T @ x[:, j]), atol=2e-5)
    assert (np.diag(weights) == 0).all(), "no product recommends itself"
    check(model.score(everyone(dataset)), x @ weights, dataset)


def test_ease_adds_own_frequency_by_its_weight() -> None:
    dataset = data()
    plain = EASE(own_weight=0, half_life_days=80).fit(dataset).score(everyone(dataset))
    own = EASE(own_weight=0.25, half_life_days=80).fit(dataset).score(everyone(dataset))
    check(own, plain + 0.25 * naive_counts(dataset, 80), dataset)


def test_item_knn_knows_nothing_of_products_nobody_bought() -> None:
    events = data().all_events
    gap = replace(data(), all_events=events.take(events.product != 3))
    similar = ItemKNN(neighbours=100, shrink=0).fit(gap).similar_.toarray()
    whole = ItemKNN(neighbours=100, shrink=0).fit(data()).similar_.toarray()
    assert whole[3].any()
    whole[3], whole[:, 3] = 0, 0
    np.testing.assert_array_equal(similar, whole)


def test_ease_leaves_out_products_nobody_bought() -> None:
    dataset = data()
    unsold = 3
    events = dataset.all_events
    gap = replace(dataset, all_events=events.take(events.product != unsold))
    model = EASE(own_weight=0).fit(gap)
    assert unsold not in model.codes_
    assert len(model.codes_) == PRODUCTS - 1
    assert (model.score(everyone(gap))[~empty_rows(gap), unsold] == 0).all()


def test_ease_refuses_what_does_not_fit_and_says_what_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ease_file, "MAX_PRODUCTS", 10)
    with pytest.raises(ResourceError, match=r"40 bought products.*10 allowed.*item_knn"):
        EASE().fit(data())


def test_ridge_weights_of_two_products_by_hand() -> None:
    # x = [[1, 1], [1, 0], [0, 1], [1, 1]], l2 = 1: column 1 on column 0 is 2 / (3 + 1)
    weights = ridge_weights(np.array([[3.0, 2.0], [2.0, 3.0]]), 1.0)
    np.testing.assert_allclose(weights, [[0, 0.5], [0.5, 0]], rtol=1e-6)
    # an asymmetric pair: 5 buyers of 0, 2 of 1, 2 of both, l2 = 1: B[0, 1] = 2 / 6, B[1, 0] = 2 / 3
    weights = ridge_weights(np.array([[5.0, 2.0], [2.0, 2.0]]), 1.0)
    np.testing.assert_allclose(weights, [[0, 2 / 6], [2 / 3, 0]], rtol=1e-6)


def test_ease_holds_one_double_and_one_single_matrix_at_its_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 700
    monkeypatch.setattr(pairs, "BLOCK_CELLS", 20 * n)
    x = sp.csr_array(np.random.default_rng(0).random((900, n)) < 0.1).astype(np.float32)
    tracemalloc.start()
    weights = ridge_weights(pairs.cooccurrence(x), 10.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * n * n, f"{peak / n / n:.1f} bytes a cell"
    dense = x.toarray().astype(np.float64)
    inverse = np.linalg.inv(dense.T @ dense + 10 * np.eye(n))
    np.testing.assert_allclose(weights, -inverse / np.diag(inverse) + np.eye(n), atol=1e-6)


# ---------------------------------------------------------------------------------------------- TIFU-KNN


def naive_tifu_vectors(dataset: Dataset, m: int, r_b: float, r_g: float) -> Array:
    """v_u by the definition: split into groups, decay inside by the index of the basket, average, decay the groups."""
    out = np.zeros((CUSTOMERS, PRODUCTS))
    for who, rows in baskets(dataset).items():
        if who < 0:
            continue
        n = len(rows)
        if n < m:
            groups = [[t] for t in range(n)]
        else:
            size, longer = n // m, round((n / m - n // m) * m)
            sizes = [size] * (m - longer) + [size + 1] * longer
            ends = np.cumsum(sizes)
            groups = [list(range(end - length, end)) for end, length in zip(ends, sizes, strict=True)]
        for g, members in enumerate(groups):
            for t in members:
                for product in rows[t][1]:
                    out[who, product] += r_g ** (m - 1 - g) / len(groups) * r_b ** (n - 1 - t) / len(members)
    return out


@few
@given(
    seed=seeds,
    m=st.sampled_from([1, 2, 3, 7, 20]),
    r_b=st.sampled_from([0.5, 0.9, 1.0]),
    r_g=st.sampled_from([0.4, 0.7]),
    k=st.sampled_from([1, 5, 300]),
)
def test_tifu_knn_by_loops(seed: int, m: int, r_b: float, r_g: float, k: int) -> None:
    dataset = data(seed)
    vectors = naive_tifu_vectors(dataset, m, r_b, r_g)
    some = ~empty_rows(dataset)
    known = vectors[some]
    model = TIFUKNN(neighbours=k, alpha=0.6, within_decay=r_b, group_decay=r_g, groups=m).fit(dataset)
    np.testing.assert_allclose(model.vectors_.toarray(), known, rtol=1e-5, atol=1e-8)
    stored = model.vectors_
    chosen = nearest(stored, stored.T.tocsr(), np.asarray(stored.multiply(stored).sum(axis=1)), k).toarray() > 0
    expected = np.zeros((CUSTOMERS, PRODUCTS))
    for row, who in enumerate(np.flatnonzero(some)):
        distance = ((known - vectors[who]) ** 2).sum(axis=1)
        closest = np.sort(distance)[:k]  # which of equally near ones is taken is left to rounding
        np.testing.assert_allclose(np.sort(distance[chosen[row]]), closest, rtol=1e-5, atol=1e-9)
        expected[who] = 0.6 * vectors[who] + 0.4 * known[chosen[row]].mean(axis=0)
    check(model.score(everyone(dataset)), expected, dataset)


def test_group_sizes_by_hand() -> None:
    # 5 baskets in 3 groups: 1, 2, 2; no decay inside, group decay 1/2: (1/4)/3, then (1/2)/3/2 twice, then 1/3/2 twice
    weights = basket_weights(np.arange(5), np.full(5, 5), 3, 1.0, 0.5)
    np.testing.assert_allclose(weights, np.array([1 / 4, 1 / 4, 1 / 4, 1 / 2, 1 / 2]) / 3)
    # 2 baskets in 3 groups: one a group, exponents 2 and 1, divided by 2; within decay 0.9 by the basket index
    weights = basket_weights(np.arange(2), np.full(2, 2), 3, 0.9, 0.5)
    np.testing.assert_allclose(weights, [0.9 * 0.25 / 2, 0.5 / 2])


def test_tifu_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from aisle.models import tifu_knn

    model = TIFUKNN(neighbours=5).fit(data())
    whole = model.score(everyone(data()))
    monkeypatch.setattr(tifu_knn, "BLOCK_CELLS", 7 * CUSTOMERS)
    np.testing.assert_array_equal(model.score(everyone(data())), whole)
