"""Where the hybrid's learning starts, by dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from aisle.data.dataset import Dataset
from aisle.features.pairs import decayed_presence
from aisle.models.hybrid_factorization import HybridFactorization
from aisle.models.nn.rows import Rows
from aisle.models.nn.start import Tastes, explained
from aisle.models.nn.towers import SparseLinear
from aisle.types import Sparse
from tests.contract.worlds import CUSTOMERS, PRODUCTS
from tests.oracle.loops import Array, data


def purchases() -> Sparse:
    random = np.random.default_rng(0)
    cells = random.random((30, 4)) @ random.random((4, 12)) * (random.random((30, 12)) < 0.6)
    cells[:, 7] = 0
    return sp.csr_array(cells.astype(np.float32))


def ridge_of(x: Array, target: Array) -> Array:
    """A ridge regression of the target on x, with the penalty 5 and no intercept."""
    return np.asarray(np.linalg.solve(x.T @ x + 5.0 * np.eye(x.shape[1]), x.T @ target))


@pytest.mark.parametrize("ridge", [0.03, 0.3])
def test_vectors_are_those_of_a_ridge_regression_cut_to_its_directions(ridge: float) -> None:
    x = purchases()
    sold, bought = (np.asarray(x.sum(axis=axis)).ravel().astype(np.float64) for axis in (0, 1))
    weighed = x.toarray() * np.maximum(bought, 1e-9)[:, None] ** -0.25 * np.maximum(sold, 1e-9)[None] ** -0.25
    _, singular, right = np.linalg.svd(weighed, full_matrices=False)
    share = (singular / singular[0])[:5] ** 2
    expected = right[:5].T * np.sqrt(share / (share + ridge))
    expected[sold == 0] = 0
    expected /= np.average(np.linalg.norm(expected, axis=1), weights=sold)
    vectors = Tastes.of(x, 5, 0).vectors(ridge, 8)
    assert vectors.shape == (12, 8)
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=2e-3)
    assert (vectors[7] == 0).all()
    assert np.average(np.linalg.norm(vectors, axis=1), weights=sold) == pytest.approx(1.0, rel=1e-4)


def test_no_purchases_no_vectors() -> None:
    nothing = sp.csr_array(np.zeros((5, 6), dtype=np.float32))
    assert (Tastes.of(nothing, 4, 0).vectors(0.1, 4) == 0).all()


def test_content_explains_as_a_ridge_regression_on_rows_with_evidence() -> None:
    random = np.random.default_rng(1)
    x = random.random((40, 6)) * (random.random((40, 6)) < 0.5)
    vectors = random.normal(size=(40, 3))
    vectors[::4] = 0
    found = explained(Rows.of(sp.csr_array(x)), torch.from_numpy(vectors.astype(np.float32)))
    some = np.abs(vectors).sum(axis=1) > 0
    np.testing.assert_allclose(found.numpy(), ridge_of(x[some], vectors[some]), atol=2e-3)
    assert explained(Rows.of(sp.csr_array(x)), torch.zeros(40, 3)).abs().sum() == 0


@pytest.mark.parametrize("half_life", [None, 30.0, 80.0])
def test_the_untrained_network_holds_them(half_life: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = {"half_life": half_life, "ridge": 0.3, "lift": 0.2, "prior": 0.5, "heat": 1.5, "own_heat": -0.5}
    monkeypatch.setattr("aisle.models.hybrid_factorization.START", plan)
    monkeypatch.setattr(HybridFactorization, "_choose", lambda *_: None)
    model = HybridFactorization(dim=6, epochs=0, tastes=2).fit(data())
    net, dataset = model.network, data()
    batch = dataset.batch(np.arange(CUSTOMERS, dtype=np.int32)[np.diff(dataset.counts.indptr) > 0])
    vectors = Tastes.of(decayed_presence(batch, half_life), 6, 0).vectors(0.3, 6)
    sold = sold_of(dataset)
    np.testing.assert_allclose(model._vectors[sold], vectors[sold], atol=1e-5)
    content = model._look.content(dataset).dense().double().numpy()
    first = net.product.first
    assert isinstance(first, SparseLinear)
    kept = first.weight.detach().numpy() * 0.3
    wanted = ridge_of(content[sold], vectors[sold].astype(np.float64))
    assert np.corrcoef(kept.ravel(), wanted.ravel())[0, 1] > 0.95, "beside a little chance"
    own = batch.history.sign()
    mean = own @ vectors.astype(np.float64) / np.diff(own.indptr)[:, None]
    known = model._look.ask(batch, 0, 500).content.dense().double().numpy()
    apart = ridge_of(known, mean - mean.mean(axis=0))
    for taste in net.each_taste():
        layer = taste.tower.first
        assert isinstance(layer, SparseLinear)
        np.testing.assert_allclose(layer.weight.detach() * 0.3, apart, atol=5e-3)
        weigh = [0.5 if place == {None: 4, 30.0: 1, 80.0: 2}[half_life] else -4.0 for place in range(5)]
        np.testing.assert_allclose(taste.weigh.detach(), weigh)
    assert float(net.lift.detach()) == pytest.approx(0.2)
    assert float(net.heat.detach()) == pytest.approx(1.5)
    assert float(net.own_heat.detach()) == pytest.approx(-0.5)
    np.testing.assert_allclose(net.prior.detach(), [0.025, 0.025, 0.1])
    turns = [taste.turn.weight.detach() for taste in net.each_taste()]
    assert torch.equal(turns[0], torch.eye(6))
    assert not torch.allclose(turns[0], turns[1], atol=0.1), "tastes that start alike stay alike"


def sold_of(dataset: Dataset) -> np.ndarray:
    return np.bincount(dataset.purchases.product, minlength=PRODUCTS) > 0
