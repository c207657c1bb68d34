"""SLIM against scikit-learn's elastic net, its optimality conditions, and small problems by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import ElasticNet

from aisle.errors import UsageError
from aisle.models import slim
from aisle.models.slim import SLIM, descend
from tests.contract.worlds import CUSTOMERS, PRODUCTS
from tests.oracle.loops import check, data, everyone, few, naive_counts, naive_presence, seeds
from tests.world.clusters import everyone_of, other_half, two_clusters

TO_THE_END: dict[str, Any] = {"sweeps": 5000, "tolerance": 1e-9}


@few
@given(
    seed=seeds,
    l1=st.sampled_from([0.02, 0.5, 2.0]),
    l2=st.sampled_from([0.5, 20.0]),
    half_life=st.sampled_from([None, 60.0]),
)
def test_every_column_of_slim_is_an_elastic_net(seed: int, l1: float, l2: float, half_life: float | None) -> None:
    dataset = data(seed)
    x = naive_presence(dataset, half_life)
    model = SLIM(
        l1=l1,
        l2=l2,
        half_life_days=half_life,
        neighbours=PRODUCTS,
        own_weight=0.4,
        **TO_THE_END,
    ).fit(dataset)
    weights = model.weights_.toarray()
    assert (np.diag(weights) == 0).all(), "no product recommends itself"
    for j in range(PRODUCTS):
        others = x.copy()
        others[:, j] = 0
        net = ElasticNet(
            alpha=(l1 + l2) / CUSTOMERS,
            l1_ratio=l1 / (l1 + l2),
            positive=True,
            fit_intercept=False,
            tol=1e-10,
            max_iter=50_000,
        )
        np.testing.assert_allclose(weights[:, j], net.fit(others, x[:, j]).coef_, atol=2e-5)
    check(model.score(everyone(dataset)), x @ weights + 0.4 * naive_counts(dataset, half_life), dataset)


@few
@given(seed=seeds, k=st.sampled_from([1, 3, 10]), l1=st.sampled_from([0.0, 0.3]))
def test_few_neighbours_solve_the_problem_of_the_nearest_alone(seed: int, k: int, l1: float) -> None:
    """No weight inside the chosen few can be improved: gradient 0 where it is positive, not negative where it is 0."""
    dataset = data(seed)
    x = naive_presence(dataset)
    weights = SLIM(l1=l1, l2=1.0, half_life_days=None, neighbours=k, **TO_THE_END).fit(dataset).weights_.toarray()
    size = np.sqrt(x.sum(axis=0))
    cosine = x.T @ x / np.maximum(size[:, None] * size, 1)
    np.fill_diagonal(cosine, 0)
    for j in range(PRODUCTS):
        order = np.lexsort((np.arange(PRODUCTS), -cosine[j].astype(np.float32)))
        border = cosine[j, order[k - 1]]
        used = np.flatnonzero(weights[:, j])
        assert len(used) <= k
        assert (cosine[j, used] >= border - 1e-6).all()
        slope = x.T @ (x @ weights[:, j] - x[:, j]) + weights[:, j] + l1
        np.testing.assert_allclose(slope[used], 0, atol=1e-4)
        sure = cosine[j] > border + 1e-6  # of equally near ones at the border either may be taken
        assert (slope[sure] >= -1e-4).all()


def test_one_neighbour_by_hand() -> None:
    # ½·4 w² - 3 w + ½·2 w² + 1·w is least at w = (3 - 1) / (4 + 2)
    np.testing.assert_allclose(descend(np.array([[[4.0]]]), np.array([[3.0]]), 1.0, 2.0, 9, 0.0), [[1 / 3]])
    # and with l1 = 3 there is nothing left of it
    assert descend(np.array([[[4.0]]]), np.array([[3.0]]), 3.0, 2.0, 9, 0.0).tolist() == [[0.0]]


@pytest.mark.parametrize("live", [0.0, 0.5, 1.0])
def test_no_problem_ends_earlier_or_later_for_those_beside_it(monkeypatch: pytest.MonkeyPatch, live: float) -> None:
    settings: dict[str, Any] = {"neighbours": 6, "tolerance": 1e-2}  # problems end after different numbers of rounds
    whole = SLIM(**settings).fit(data()).weights_.toarray()
    monkeypatch.setattr(slim, "LIVE", live)
    monkeypatch.setattr(slim, "BLOCK_CELLS", 3 * 6 * 6)
    np.testing.assert_array_equal(SLIM(**settings).fit(data()).weights_.toarray(), whole)
    monkeypatch.setattr(slim, "BLOCK_CELLS", 1)
    np.testing.assert_array_equal(SLIM(**settings).fit(data()).weights_.toarray(), whole)
    assert (SLIM(**{**settings, "tolerance": 1e-3}).fit(data()).weights_.toarray() != whole).any()


def test_larger_l1_keeps_fewer_weights() -> None:
    kept = [SLIM(l1=l1).fit(data()).weights_.nnz for l1 in (0.0, 0.3, 1.0, 1000.0)]
    assert kept[0] > kept[1] > kept[2] > kept[3] == 0


def test_weights_stay_in_their_half_of_the_shop() -> None:
    dataset = two_clusters()
    batch = everyone_of(dataset)
    scores = SLIM(l1=0.1, half_life_days=None, own_weight=0).fit(dataset).score(batch)
    fresh = np.where(batch.history.toarray() > 0, -np.inf, scores)
    assert not other_half(fresh.argmax(axis=1), batch).any()


@pytest.mark.parametrize(
    "settings",
    [{"l1": -1.0}, {"l2": -1.0}, {"neighbours": 0}, {"sweeps": 0}, {"tolerance": -1.0}, {"half_life_days": 0.0}],
)
def test_slim_refuses_nonsense(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(settings))):
        SLIM(**settings)
