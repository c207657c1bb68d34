"""Every loss against plain NumPy on sizes that differ on every axis, and its gradient against differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from aisle.models.nn import losses, sampling

B, N_PRODUCTS, Z = 3, 11, 5
ROW = [0, 0, 1, 2, 2, 2]
COLUMN = [4, 9, 2, 0, 9, 10]
WEIGHT = [0.1, 0.2, 0.3, 0.15, 0.05, 0.2]


def case(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Scores (B, I), drawn products (Z,), row, column, weight (P,); two drawn products are targets of some rows."""
    scores = torch.from_numpy(np.random.default_rng(seed).normal(0, 2, (B, N_PRODUCTS)))
    drawn = torch.tensor([9, 1, 2, 7, 3])
    return scores, drawn, torch.tensor(ROW), torch.tensor(COLUMN), torch.tensor(WEIGHT, dtype=torch.float64)


def sampled(loss: str, scores: Tensor) -> Tensor:
    _, drawn, row, column, weight = case()
    hit = sampling.is_pair(torch.arange(B)[:, None], drawn[None], row * N_PRODUCTS + column, N_PRODUCTS)
    return losses.SAMPLED[loss](losses.Sample(scores[row, column], row, weight, scores[:, drawn], hit, N_PRODUCTS))


def softmax(scores: Tensor) -> Tensor:
    _, _, row, column, weight = case()
    return losses.softmax(scores, row, column, weight)


def by_hand(loss: str, scores: np.ndarray) -> float:
    drawn, total = [9, 1, 2, 7, 3], 0.0
    for row, column, weight in zip(ROW, COLUMN, WEIGHT, strict=True):
        mine = [c for r, c in zip(ROW, COLUMN, strict=True) if r == row]
        rivals = [j for j in drawn if j not in mine]
        s = scores[row]
        if loss == "softmax":
            each = np.log(np.exp(s).sum()) - s[column]
        elif loss == "sampled_softmax":
            mass = sum(np.exp(s[j]) for j in mine) + sum(np.exp(s[j]) * N_PRODUCTS / Z for j in rivals)
            each = np.log(mass) - s[column]
        elif loss == "wmrb":
            each = np.log(1 + N_PRODUCTS / len(rivals) * sum(max(0.0, 1 - s[column] + s[j]) for j in rivals))
        else:
            each = np.mean([-np.log(1 / (1 + np.exp(-(s[column] - s[j])))) for j in rivals])
        total += weight * each
    return float(total)


LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": softmax,
    "sampled_softmax": lambda s: sampled("sampled_softmax", s),
    "wmrb": lambda s: sampled("wmrb", s),
    "bpr": lambda s: sampled("bpr", s),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_is_the_formula(loss: str) -> None:
    scores = case()[0]
    assert_allclose(float(LOSSES[loss](scores)), by_hand(loss, scores.numpy()), rtol=1e-10)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_is_the_slope(loss: str) -> None:
    scores = case()[0].requires_grad_()
    assert torch.autograd.gradcheck(LOSSES[loss], (scores,))


def test_sampling_everything_is_the_full_softmax() -> None:
    scores, _, row, column, weight = case(1)
    everyone, drawn = torch.arange(B)[:, None], torch.arange(N_PRODUCTS)
    hit = sampling.is_pair(everyone, drawn[None], row * N_PRODUCTS + column, N_PRODUCTS)
    some = losses.sampled_softmax(losses.Sample(scores[row, column], row, weight, scores, hit, N_PRODUCTS))
    assert_allclose(float(some), float(losses.softmax(scores, row, column, weight)), rtol=1e-12)


@pytest.mark.parametrize("loss", ["sampled_softmax", "wmrb", "bpr"])
def test_a_true_purchase_is_no_negative(loss: str) -> None:
    scores = case()[0]
    before = float(LOSSES[loss](scores))
    louder = scores.clone()
    louder[1, 9] += 1.0  # a drawn product that row 1 did not buy
    assert float(LOSSES[loss](louder)) > before
    scores = scores.requires_grad_()
    LOSSES[loss](scores).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert float(scores.grad[1, 2]) < 0  # drawn and bought by row 1: only its pull as a target is left


def test_scores_far_out_do_not_overflow() -> None:
    scores = case()[0] * 1e3
    for loss in LOSSES.values():
        assert np.isfinite(float(loss(scores)))


def test_negatives_are_uniform_distinct_and_of_the_candidates() -> None:
    generator = torch.Generator().manual_seed(0)
    candidates = torch.tensor([2, 3, 5, 8, 13])
    counts = np.zeros(14)
    for _ in range(4_000):
        drawn = sampling.uniform_negatives(candidates, 2, generator).numpy()
        assert len(set(drawn)) == 2
        counts[drawn] += 1
    assert counts.sum() == counts[candidates.numpy()].sum()
    assert_allclose(counts[candidates.numpy()], 1_600, rtol=0.08)
    assert len(sampling.uniform_negatives(candidates, 9, generator)) == 5


def test_pairs_are_found_where_they_are() -> None:
    known = torch.tensor([0 * N_PRODUCTS + 4, 1 * N_PRODUCTS + 2, 2 * N_PRODUCTS + 0])
    row, column = torch.meshgrid(torch.arange(B), torch.arange(N_PRODUCTS), indexing="ij")
    place = sampling.find_pair(row, column, known, N_PRODUCTS).numpy()
    expected = np.full((B, N_PRODUCTS), -1)
    expected[0, 4], expected[1, 2], expected[2, 0] = 0, 1, 2
    assert (place == expected).all()
    assert (sampling.find_pair(row, column, known[:0], N_PRODUCTS) == -1).all()
