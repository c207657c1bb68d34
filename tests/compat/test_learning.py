"""It learns what was planted, for known and new users; calls cost the same however many there were."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from torch import Tensor

from aisle.compat.tensorrec import TensorRec, loss_graphs, prediction_graphs, representation_graphs
from aisle.compat.tensorrec.eval import eval_random_ranks_on_dataset, fit_and_eval, recall_at_k
from aisle.compat.tensorrec.net import Net, Side
from tests.compat.worlds import blocks

K = 15
"""Items of one kind."""


def learnt(loss: Any, **more: Any) -> tuple[TensorRec, float, float]:
    """A fitted model, its recall on hidden cells, and the recall of a random order."""
    train, test, users, items = blocks()
    options: dict[str, Any] = {"epochs": 40, "learning_rate": 0.05, "alpha": 0.01, **more}
    model = TensorRec(
        n_components=8, user_repr_graph=representation_graphs.NormalizedLinearRepresentationGraph(), loss_graph=loss
    )
    model.fit(train, users, items, **options)
    found = float(np.mean(recall_at_k(model.predict_rank(users, items), test, k=K)))
    return model, found, eval_random_ranks_on_dataset(test, recall_k=K)[0]


@pytest.mark.parametrize("batch", [None, 50])
def test_wmrb_finds_the_planted_kinds(batch: int | None) -> None:
    _, found, random = learnt(loss_graphs.WMRBLossGraph(), n_sampled_items=20, user_batch_size=batch)
    assert random == pytest.approx(0.25, abs=0.06)
    assert found > 0.9 > 3 * random


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (loss_graphs.BalancedWMRBLossGraph(), {"n_sampled_items": 20}),
        (loss_graphs.RMSEDenseLossGraph(), {}),
        (loss_graphs.SeparationDenseLossGraph(), {}),
    ],
)
def test_so_do_the_other_losses_that_see_what_is_missing(loss: Any, options: dict[str, Any]) -> None:
    _, found, random = learnt(loss, **options)
    assert found > 0.9 > 3 * random


@pytest.mark.parametrize("loss", [loss_graphs.RMSELossGraph(), loss_graphs.SeparationLossGraph()])
def test_losses_of_stored_cells_learn_from_both_signs(loss: Any) -> None:
    train, test, users, items = blocks()
    random = np.random.default_rng(1)
    kind = np.arange(120)[:, None] % 4 == np.arange(60) % 4
    disliked = ~kind & (random.random(kind.shape) < 0.2)
    signed = sp.csr_matrix(train.toarray() - disliked)
    model = TensorRec(n_components=8, loss_graph=loss)
    model.fit(signed, users, items, epochs=100, learning_rate=0.05)
    assert np.mean(recall_at_k(model.predict_rank(users, items), test, k=K)) > 0.9


def test_new_users_with_a_group_and_no_history() -> None:
    model, *_ = learnt(loss_graphs.WMRBLossGraph(), n_sampled_items=20)
    groups = sp.csr_matrix(np.eye(4, dtype=np.float32))
    newcomers = sp.hstack([sp.csr_matrix((4, 120)), groups], format="csr")
    ranks = model.predict_rank(newcomers, sp.identity(60, format="csr"))
    for kind in range(4):
        assert (np.flatnonzero(ranks[kind] <= K) % 4 == kind).mean() > 0.9
    nobody = sp.csr_matrix((1, 124))
    assert np.isfinite(model.predict(nobody, sp.identity(60, format="csr"))).all()


def test_a_few_thousand_calls_cost_no_memory_and_no_time() -> None:
    model, *_ = learnt(loss_graphs.WMRBLossGraph(), n_sampled_items=20, epochs=1)
    _, _, users, items = blocks()
    rows = [users[row] for row in range(20)]

    def calls(count: int) -> float:
        start = time.process_time()
        for number in range(count):
            model.predict(rows[number % 20], items)
        return time.process_time() - start

    calls(500)
    first = calls(200)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    calls(2_500)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < (1_000 if sys.platform != "darwin" else 1_000_000), "KiB of peak memory for 2,500 calls"
    assert min(calls(200) for _ in range(3)) < 3 * first


@pytest.mark.parametrize(
    ("loss", "prediction", "tastes"),
    [
        (loss_graphs.RMSEDenseLossGraph(), prediction_graphs.DotProductPredictionGraph(), 1),
        (loss_graphs.SeparationDenseLossGraph(), prediction_graphs.CosineSimilarityPredictionGraph(), 1),
        (loss_graphs.RMSEDenseLossGraph(), prediction_graphs.DotProductPredictionGraph(), 2),
        (loss_graphs.WMRBLossGraph(), prediction_graphs.DotProductPredictionGraph(), 1),
        (loss_graphs.WMRBLossGraph(), prediction_graphs.EuclideanSimilarityPredictionGraph(), 1),
        (loss_graphs.RMSELossGraph(), prediction_graphs.DotProductPredictionGraph(), 1),
    ],
)
def test_no_loss_makes_all_users_and_items_dense(
    loss: Any, prediction: Any, tastes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, sizes, match = 2_500, [0], Net.match

    def watched(net: Net, users: Side, items: Side) -> Tensor:
        found = match(net, users, items)
        sizes.append(found.numel())
        return found

    monkeypatch.setattr(Net, "match", watched)
    random = np.random.default_rng(0)
    cells = random.integers(0, size, (2, 60_000))
    interactions = sp.coo_matrix((np.ones(60_000, dtype=np.float32), cells), shape=(size, size))
    users, items = (sp.csr_matrix(np.eye(30)[random.integers(0, 30, size)]) for _ in range(2))
    count = 40 if loss.is_sample_based else None
    model = TensorRec(n_components=4, n_tastes=tastes, loss_graph=loss, prediction_graph=prediction)
    fit_and_eval(model, users, items, interactions, interactions, {"epochs": 1, "n_sampled_items": count})
    assert max(sizes) <= 1 << 20 < size * size
