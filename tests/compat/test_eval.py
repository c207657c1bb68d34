"""Metrics against plain loops, with none, one and many users, and numbers that overflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from aisle.compat.tensorrec import TensorRec
from aisle.compat.tensorrec import eval as evaluation
from aisle.errors import DataError
from tests.compat.worlds import noise

FUNCTIONS = {
    "precision": evaluation.precision_at_k,
    "recall": evaluation.recall_at_k,
    "ndcg": evaluation.ndcg_at_k,
}


def by_loops(kind: str, ranks: Any, test: Any, k: int, preserve_rows: bool) -> list[float]:
    found = []
    for row_ranks, row in zip(np.asarray(ranks), test.toarray(), strict=True):
        wanted = [(int(r), float(v)) for r, v in zip(row_ranks, row, strict=True) if v > 0]
        if not wanted:
            found += [0.0] * preserve_rows
            continue
        hits = [(r, v) for r, v in wanted if r <= k]
        if kind == "precision":
            found.append(len(hits) / k)
        elif kind == "recall":
            found.append(len(hits) / len(wanted))
        else:
            gained = sum((2**v - 1) / np.log2(r + 1) for r, v in hits)
            best = sorted((v for _, v in wanted), reverse=True)[:k]
            found.append(gained / sum((2**v - 1) / np.log2(place + 2) for place, v in enumerate(best)))
    return found


def ranks_of(users: int, items: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((users, items)).argsort(axis=1).argsort(axis=1).astype(np.int32) + 1


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("users", [0, 1, 2, 30])
@pytest.mark.parametrize("preserve_rows", [False, True])
@pytest.mark.parametrize("k", [1, 4, 10, 50])
def test_a_metric_is_what_its_loop_says(kind: str, users: int, preserve_rows: bool, k: int) -> None:
    test, _, _ = noise(max(users, 1), 12)
    test = sp.csr_matrix(test)[:users]
    if users > 2:
        test = sp.csr_matrix(test.toarray() * (np.arange(users) % 3 > 0)[:, None])  # some users without positives
    ranks = ranks_of(users, 12)
    found = FUNCTIONS[kind](ranks, test, k=k, preserve_rows=preserve_rows)
    assert found == pytest.approx(by_loops(kind, ranks, test, k, preserve_rows))
    sparse_ranks = sp.csr_matrix(np.where(test.toarray() > 0, ranks, 0))
    assert FUNCTIONS[kind](sparse_ranks, test, k=k, preserve_rows=preserve_rows) == pytest.approx(found)


def test_f1_and_nothing_found() -> None:
    test = sp.coo_matrix(np.array([[1.0, 0, 0], [0, 0, 2.0]]))
    ranks = np.array([[1, 2, 3], [1, 2, 3]])
    precision, recall = 0.5, 0.5
    assert evaluation.f1_score_at_k(ranks, test, k=1) == pytest.approx(2 * precision * recall / (precision + recall))
    assert evaluation.f1_score_at_k(ranks[:, ::-1], sp.coo_matrix(np.array([[1.0, 0, 0], [1.0, 0, 0]])), k=1) == 0.0
    assert evaluation.f1_score_at_k(ranks, sp.csr_matrix((2, 3))) == 0.0


def test_large_interactions_do_not_overflow() -> None:
    test = sp.csr_matrix(np.array([[3000.0, 2999.0, 0.0]]))
    found = evaluation.ndcg_at_k(np.array([[2, 1, 3]]), test)
    wanted = (1 / np.log2(3) + 0.5) / (1 + 0.5 / np.log2(3))
    assert found == pytest.approx([wanted])


def test_ranks_of_another_shape_are_refused() -> None:
    with pytest.raises(DataError, match="same shape"):
        evaluation.recall_at_k(np.ones((2, 3)), sp.csr_matrix((2, 4)))
    with pytest.raises(DataError, match="ranks start at 1"):
        evaluation.recall_at_k(np.zeros((1, 2)), sp.csr_matrix([[1.0, 0.0]]))


def test_fit_and_eval_is_fit_and_the_metrics() -> None:
    interactions, users, items = noise(15, 10)
    train = interactions
    test, _, _ = noise(15, 10, seed=1)
    options: dict[str, Any] = {"epochs": 2, "learning_rate": 0.05}
    found = evaluation.fit_and_eval(TensorRec(n_components=3), users, items, train, test, options, 4, 3, 2)
    model = TensorRec(n_components=3)
    model.fit(train, users, items, **options)
    ranks = model.predict_rank(users, items)
    wanted = [
        float(np.mean(function(ranks, part, k=k)))
        for part in (test, train)
        for function, k in (
            (evaluation.recall_at_k, 4),
            (evaluation.precision_at_k, 3),
            (evaluation.ndcg_at_k, 2),
        )
    ]
    assert found == pytest.approx(wanted)


def test_random_ranks_are_the_floor_and_repeat_with_numpys_seed() -> None:
    interactions = sp.random(400, 50, density=0.1, random_state=np.random.default_rng(0))
    np.random.seed(3)
    first = evaluation.eval_random_ranks_on_dataset(interactions, recall_k=10, precision_k=10, ndcg_k=10)
    np.random.seed(3)
    assert evaluation.eval_random_ranks_on_dataset(interactions, 10, 10, 10) == first
    assert first[0] == pytest.approx(0.2, abs=0.02)
    assert first[1] == pytest.approx(0.1, abs=0.01)


def test_the_grid_prints_each_setting(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "GRID", (2, 4))
    interactions, users, items = noise()
    evaluation.grid_check_model_on_dataset(interactions, interactions, users, items)
    assert [line.split(" (")[0] for line in capsys.readouterr().out.splitlines()] == ["2 2", "2 4", "4 2", "4 4"]
