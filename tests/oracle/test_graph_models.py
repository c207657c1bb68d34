"""RP3beta and the graph filter against loops and dense algebra, and in worlds where the answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from aisle.errors import UsageError
from aisle.features import links
from aisle.models import graph_filter
from aisle.models.graph_filter import GraphFilter, largest_singular_value, right_vectors
from aisle.models.rp3beta import RP3beta, two_steps
from tests.contract.worlds import PRODUCTS
from tests.oracle.loops import Array, check, data, everyone, few, naive_counts, naive_presence, seeds
from tests.world.clusters import everyone_of, other_half, two_clusters

PLAIN: dict[str, Any] = {"half_life_days": None, "own_weight": 0.0}

# ---------------------------------------------------------------------------------------------- RP3beta


def naive_walk(x: Array, alpha: float, beta: float, k: int) -> Array:
    """W by its definition, cell by cell."""
    of_customer, of_product = x.sum(axis=1), x.sum(axis=0)
    walk = np.zeros((PRODUCTS, PRODUCTS))
    for i in range(PRODUCTS):
        row = []
        for j in range(PRODUCTS):
            steps = sum(
                (1 / of_product[i]) ** alpha * (1 / of_customer[u]) ** alpha for u in np.flatnonzero(x[:, i] * x[:, j])
            )
            if i != j and steps > 0:
                row.append((np.float32(steps / of_product[j] ** beta), -j))
        for value, minus_j in sorted(row, reverse=True)[:k]:
            walk[i, -minus_j] = value
    walk /= walk.sum() / (walk.sum(axis=1) > 0).sum()
    return walk


@few
@given(
    seed=seeds,
    alpha=st.sampled_from([0.4, 1.0, 1.3]),
    beta=st.sampled_from([0.0, 0.5]),
    k=st.sampled_from([5, 100]),
    half_life=st.sampled_from([None, 50.0]),
    own=st.sampled_from([0.0, 2.0]),
)
def test_rp3beta_by_brute_force(
    seed: int, alpha: float, beta: float, k: int, half_life: float | None, own: float
) -> None:
    dataset = data(seed)
    walk = naive_walk(naive_presence(dataset), alpha, beta, k)
    model = RP3beta(alpha=alpha, beta=beta, neighbours=k, half_life_days=half_life, own_weight=own).fit(dataset)
    kept = model.walk_.toarray()
    np.testing.assert_allclose(np.sort(kept), np.sort(walk), rtol=2e-5)  # exact ties may round to either side
    expected = naive_presence(dataset, half_life) @ kept + own * naive_counts(dataset, half_life)
    check(model.score(everyone(dataset)), expected, dataset)
    if k == 100:
        np.testing.assert_allclose(kept, walk, rtol=2e-5)


def test_the_walk_by_hand() -> None:
    # customers {0, 1}, {0, 1, 2}, {2}: from 0 one goes to either customer, then on: to 1 by 1/2·1/2 + 1/2·1/3 = 5/12,
    # to 2 by 1/2·1/3 = 1/6; from 2 to 0 and 1 by 1/2·1/3 each
    x = sp.csr_array(np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1]], dtype=np.float32))
    walk = np.array([[0, 5 / 12, 1 / 6], [5 / 12, 0, 1 / 6], [1 / 6, 1 / 6, 0]])
    rows = two_steps(x, 1.0, 0.0, 10).whole()
    np.testing.assert_allclose(rows.toarray(), walk, rtol=1e-6)
    np.testing.assert_allclose(RP3beta().learn(rows).walk_.toarray(), walk / (walk.sum() / 3), rtol=1e-6)


def test_walks_do_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = RP3beta(neighbours=5).fit(data()).walk_
    monkeypatch.setattr(links, "BLOCK_CELLS", 3 * PRODUCTS)
    np.testing.assert_array_equal(whole.toarray(), RP3beta(neighbours=5).fit(data()).walk_.toarray())


def test_beta_takes_weight_from_the_bestseller() -> None:
    dataset = data()
    best = int(np.argmax(dataset.popularity))
    share = [
        float(walk[:, [best]].sum() / walk.sum())
        for walk in (RP3beta(beta=beta, neighbours=PRODUCTS).fit(dataset).walk_ for beta in (0.0, 0.4, 0.8))
    ]
    assert share[0] > share[1] > share[2]


# ---------------------------------------------------------------------------------------------- graph filter


def dense_filter(x: Array, k: int, power: float = 0.5) -> tuple[Array, Array]:
    """G and the low-pass operator on row vectors (I, I), by dense algebra; products nobody bought get zeros."""
    of_customer, of_product = x.sum(axis=1, keepdims=True), x.sum(axis=0)
    some = of_product > 0
    n = np.divide(x, of_customer**power * np.sqrt(of_product), out=np.zeros(x.shape), where=x > 0)
    n /= np.linalg.norm(n, 2)
    values, vectors = np.linalg.eigh(n.T @ n)
    keep = [at for at in np.argsort(-values)[:k] if values[at] > 1e-9]
    v, root = vectors[:, keep], np.sqrt(of_product)
    low = np.divide(v @ v.T, root[:, None], out=np.zeros((PRODUCTS, PRODUCTS)), where=some[:, None]) * root
    return n.T @ n, low


@few
@given(
    seed=seeds,
    factors=st.sampled_from([1, 7, 256]),
    low_pass=st.sampled_from([0.0, 0.3]),
    sharpen=st.sampled_from([0.0, 0.7, 2.5]),
    order=st.sampled_from([1, 2, 4]),
    half_life=st.sampled_from([None, 60.0]),
    power=st.sampled_from([0.5, 0.2]),
)
def test_graph_filter_by_dense_algebra(
    seed: int, factors: int, low_pass: float, sharpen: float, order: int, half_life: float | None, power: float
) -> None:
    dataset = data(seed)
    g, low = dense_filter(naive_presence(dataset), factors, power)
    s = naive_presence(dataset, half_life) @ (g + low_pass * low)

    def slope(now: Array) -> Array:
        return -now @ g

    t = sharpen
    if order == 1:
        s = s + t * slope(s)
    elif order == 2:  # the midpoint rule
        s = s + t * slope(s + t / 2 * slope(s))
    else:
        k1 = slope(s)
        k2 = slope(s + t / 2 * k1)
        k3 = slope(s + t / 2 * k2)
        k4 = slope(s + t * k3)
        s = s + t / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    expected = s + 0.2 * naive_counts(dataset, half_life)
    shape = {"factors": factors, "low_pass": low_pass, "sharpen": sharpen, "order": order, "customer_power": power}
    model = GraphFilter(**shape, half_life_days=half_life, own_weight=0.2)  # type: ignore[arg-type]
    check(model.fit(dataset).score(everyone(dataset)), expected, dataset)


def test_the_graph_of_products_answers_as_the_graph_of_customers(monkeypatch: pytest.MonkeyPatch) -> None:
    model = GraphFilter(sharpen=1.0, **PLAIN).fit(data())
    assert not model.squared_
    whole = model.score(everyone(data()))
    monkeypatch.setattr(graph_filter, "FULLER", 100)
    other = GraphFilter(sharpen=1.0, **PLAIN).fit(data())
    assert other.squared_
    assert other.graph_.shape == (PRODUCTS, PRODUCTS)
    np.testing.assert_allclose(other.score(everyone(data())), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(90, 70), (70, 90)])
@pytest.mark.parametrize("small", [0, 500])
def test_vectors_are_those_of_a_dense_decomposition(
    shape: tuple[int, int], small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    x = sp.csr_array(random.random(shape) * (random.random(shape) < 0.2)).astype(np.float32)
    exact = np.linalg.svd(x.toarray().astype(np.float64))[2][:6].T
    monkeypatch.setattr(graph_filter, "SMALL", small)
    found = right_vectors(x, 6, 0)
    np.testing.assert_allclose(found @ found.T, exact @ exact.T, atol=1e-5)
    assert found.tobytes() == right_vectors(x, 6, 0).tobytes()
    assert largest_singular_value(x, 0) == pytest.approx(np.linalg.norm(x.toarray(), 2), rel=1e-6)


@pytest.mark.parametrize("small", [0, 500])
def test_no_more_vectors_than_the_rank(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it any direction would do, and noise would be let through."""
    monkeypatch.setattr(graph_filter, "SMALL", small)
    random = np.random.default_rng(0)
    x = sp.csr_array(random.random((40, 3)) @ random.random((3, 30))).astype(np.float32)
    assert right_vectors(x, 8, 0).shape == (30, 3)
    assert right_vectors(x, 2, 0).shape == (30, 2)


@pytest.mark.parametrize("power", [0, 1])
def test_whole_powers_are_powers(power: int) -> None:
    dataset = data(1)
    whole, real = (GraphFilter(customer_power=p, **PLAIN).fit(dataset) for p in (power, float(power)))
    batch = everyone(dataset)
    assert whole.score(batch).tobytes() == real.score(batch).tobytes()


def test_filters_do_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    model = GraphFilter(sharpen=1.0).fit(data())
    whole = model.score(everyone(data()))
    monkeypatch.setattr(graph_filter, "BLOCK_CELLS", 700)
    np.testing.assert_allclose(model.score(everyone(data())), whole, rtol=1e-4, atol=1e-5)


def test_no_low_pass_decomposes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np.linalg, "eigh", lambda *_, **__: pytest.fail("decomposed"))
    assert GraphFilter(low_pass=0.0).fit(data()).vectors_.shape[1] == 0


def test_full_sharpening_takes_away_what_everybody_has() -> None:
    """The strongest direction of G has the value 1: an Euler step of time 1 removes it whole."""
    dataset = data()
    g, _ = dense_filter(naive_presence(dataset), 1)
    root = np.sqrt(naive_presence(dataset).sum(axis=0))
    np.testing.assert_allclose(g @ root, root)
    scores = GraphFilter(low_pass=0.0, sharpen=1.0, order=1, **PLAIN).fit(dataset).score(everyone(dataset))
    some = ~everyone(dataset).empty
    np.testing.assert_allclose(scores[some] @ root, 0, atol=1e-4)


# ---------------------------------------------------------------------------------------------- both


@pytest.mark.parametrize("model", [RP3beta(**PLAIN), GraphFilter(factors=2, **PLAIN), GraphFilter(sharpen=1, **PLAIN)])
def test_nobody_is_sent_to_the_other_half_of_the_shop(model: RP3beta | GraphFilter) -> None:
    dataset = two_clusters()
    batch = everyone_of(dataset)
    scores = model.fit(dataset).score(batch)
    fresh = np.where(batch.history.toarray() > 0, -np.inf, scores)
    assert not other_half(fresh.argmax(axis=1), batch).any()


@pytest.mark.parametrize(
    "settings",
    [{"alpha": 0.0}, {"beta": -1.0}, {"neighbours": 0}, {"half_life_days": 0.0}, {"own_weight": -1.0}],
)
def test_rp3beta_refuses_nonsense(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(settings))):
        RP3beta(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"factors": 0},
        {"low_pass": -1.0},
        {"sharpen": -1.0},
        {"sharpen": 9.0},
        {"order": 5},
        {"own_weight": -1.0},
        {"customer_power": 2.0},
    ],
)
def test_graph_filter_refuses_nonsense(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(settings))):
        GraphFilter(**settings)
