"""iALS against loops over customers, its own objective, and a world of two halves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.errors import UsageError
from aisle.models import ials
from aisle.models.base import Embeds
from aisle.models.ials import IALS, gram
from tests.contract.worlds import CUSTOMERS, PRODUCTS
from tests.oracle.loops import Array, check, data, everyone, few, naive_counts, naive_presence, seeds
from tests.world.clusters import HALF, everyone_of, other_half, two_clusters


def naive_side(x: Array, others: Array, model: IALS, number: int) -> Array:
    """The vector of each row by its normal equations, pair by pair over all columns."""
    out = np.zeros((len(x), model.dim))
    for row in np.flatnonzero(x.any(axis=1)):
        left = model.regularization * (x[row].sum() + model.alpha0 * number) ** model.nu * np.eye(model.dim)
        right = np.zeros(model.dim)
        for column in range(x.shape[1]):
            outer = np.outer(others[column], others[column])
            left += (model.alpha0 + x[row, column]) * outer
            right += x[row, column] * others[column]
        out[row] = np.linalg.solve(left, right)
    return out


def naive_start(x: Array, dim: int, seed: int) -> Array:
    """Where product vectors begin, by dense matrices and a singular value decomposition."""
    chance = np.random.default_rng(seed).normal(size=(x.shape[1], dim))
    even = x.sum(axis=0) ** -0.25
    links = x * even / np.sqrt(x.sum(axis=1))[:, None]
    left, strength, right = np.linalg.svd(links.T @ links @ links.T @ links @ chance, full_matrices=False)
    vectors: Array = (
        even[:, None] * left @ np.diag(strength / np.sqrt(strength**2 + 1e-6 * strength.max() ** 2)) @ right
    )
    length = float(np.sqrt((vectors**2).sum(axis=1).mean()))
    start: Array = vectors * (0.5 / length) + 0.01 / np.sqrt(dim) * chance
    return start


def objective(x: Array, customers: Array, products: Array, model: IALS) -> float:
    """What a fit makes small, over all pairs."""
    some, sold = x.any(axis=1), x.any(axis=0)
    found = customers @ products.T
    loss = (x * (1 - found) ** 2).sum() + model.alpha0 * (found**2).sum()
    of_customer = (x.sum(axis=1) + model.alpha0 * sold.sum()) ** model.nu
    of_product = (x.sum(axis=0) + model.alpha0 * some.sum()) ** model.nu
    size = (of_customer * (customers**2).sum(axis=1)).sum() + (of_product * (products**2).sum(axis=1)).sum()
    return float(loss + model.regularization * size)


@few
@given(
    seed=seeds,
    dim=st.sampled_from([1, 5, 50]),
    alpha0=st.sampled_from([0.0, 0.3]),
    nu=st.sampled_from([0.0, 0.5, 1.0]),
    half_life=st.sampled_from([None, 60.0]),
)
def test_ials_by_loops(seed: int, dim: int, alpha0: float, nu: float, half_life: float | None) -> None:
    dataset = data(seed)
    x = naive_presence(dataset, half_life)
    sold, some = x.any(axis=0), x.any(axis=1)
    model = IALS(
        dim=dim, alpha0=alpha0, nu=nu, sweeps=2, half_life_days=half_life, own_weight=0.3, regularization=0.1, seed=5
    ).fit(dataset)
    products = np.zeros((PRODUCTS, dim))
    products[sold] = naive_start(x[some][:, sold], dim, seed=5)
    for _ in range(2):
        customers = naive_side(x, products, model, int(sold.sum()))
        products = naive_side(x.T, customers, model, int(some.sum()))
    found = model.product_vectors()
    np.testing.assert_allclose(found @ found.T, products @ products.T, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.T @ found, np.diag(model.spread_), atol=1e-5 * model.spread_.max())
    customers = naive_side(x, found.astype(np.float64), model, int(sold.sum()))
    np.testing.assert_allclose(model.customer_vectors(everyone(dataset))[:, 0], customers, rtol=1e-3, atol=1e-4)
    customers = naive_side(x, products, model, int(sold.sum()))
    expected = customers @ products.T + 0.3 * naive_counts(dataset, half_life)
    check(model.score(everyone(dataset)), expected, dataset, rtol=1e-3)


@pytest.mark.parametrize("half_life", [None, 60.0])
@pytest.mark.parametrize("nu", [0.0, 1.0])
def test_the_objective_falls_every_sweep(half_life: float | None, nu: float) -> None:
    dataset = data()
    x = naive_presence(dataset, half_life)
    values = []
    for sweeps in range(1, 9):
        model = IALS(dim=8, sweeps=sweeps, nu=nu, half_life_days=half_life).fit(dataset)
        customers = model.customer_vectors(everyone(dataset))[:, 0].astype(np.float64)
        values.append(objective(x, customers, model.product_vectors().astype(np.float64), model))
    assert (np.diff(values) < 0).all()
    assert values[-1] < 0.9 * x.sum(), "the answer zero costs the sum of x"


def test_no_vector_near_the_answer_is_better() -> None:
    dataset = data()
    x = naive_presence(dataset)
    model = IALS(dim=4, half_life_days=None, regularization=0.05).fit(dataset)
    products = model.product_vectors().astype(np.float64)
    customers = model.customer_vectors(everyone(dataset))[:, 0].astype(np.float64)
    least = objective(x, customers, products, model)
    random = np.random.default_rng(0)
    for _ in range(20):
        other = customers + random.normal(0, 0.01, customers.shape) * (x.sum(axis=1) > 0)[:, None]
        assert objective(x, other, products, model) > least


def test_a_vector_does_not_depend_on_the_batch_to_the_bit() -> None:
    model = IALS(dim=8).fit(data())
    whole = model.customer_vectors(everyone(data()))
    for row in range(0, CUSTOMERS, 7):
        alone = model.customer_vectors(data().batch(np.array([row], dtype=np.int32)))
        np.testing.assert_array_equal(alone[0], whole[row])


def test_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = IALS(dim=4, sweeps=2).fit(data()).product_vectors()
    monkeypatch.setattr(ials, "TILE", 40)
    np.testing.assert_allclose(IALS(dim=4, sweeps=2).fit(data()).product_vectors(), whole, rtol=1e-4, atol=1e-6)


def test_scores_hold_the_vectors_and_own_counts() -> None:
    model = IALS(half_life_days=30, own_weight=0.5).fit(data())
    assert isinstance(model, Embeds)
    batch = everyone(data())
    taste = np.einsum("btd,id->bi", model.customer_vectors(batch), model.product_vectors())
    check(model.score(batch), taste + 0.5 * naive_counts(data(), 30), data())


def test_the_gram_matrix_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(31, 4)).astype(np.float32)
    monkeypatch.setattr(ials, "BLOCK_CELLS", 20)
    np.testing.assert_allclose(gram(vectors), vectors.T.astype(np.float64) @ vectors, rtol=1e-6)


def test_two_directions_tell_the_halves_of_the_shop_apart() -> None:
    dataset = two_clusters()
    batch = everyone_of(dataset)
    model = IALS(dim=2, half_life_days=None, own_weight=0).fit(dataset)
    fresh = np.where(batch.history.toarray() > 0, -np.inf, model.score(batch))
    assert not other_half(fresh.argmax(axis=1), batch).any()
    vectors = model.product_vectors() / np.linalg.norm(model.product_vectors(), axis=1, keepdims=True)
    cosine = vectors @ vectors.T
    assert cosine[:HALF, :HALF].min() > 0.9
    assert cosine[HALF:, HALF:].min() > 0.9
    assert np.abs(cosine[:HALF, HALF:]).max() < 0.2


@pytest.mark.parametrize(
    "settings",
    [{"dim": 0}, {"sweeps": 0}, {"alpha0": -1.0}, {"regularization": 0.0}, {"nu": 2.0}, {"half_life_days": 0.0}],
)
def test_ials_refuses_nonsense(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(settings))):
        IALS(**settings)


def test_threads_move_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr("aisle.kernels.workers.usual_threads", lambda many=threads: many)
        monkeypatch.setattr(ials, "TILE", 64)
        found.append(IALS(dim=6, sweeps=2).fit(data()).products_.tobytes())
    assert len(set(found)) == 1
