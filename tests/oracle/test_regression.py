"""Losses on values against densified matrices, and the sums over all cells against the whole (B, I)."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch import Tensor

from aisle.errors import UsageError
from aisle.models.nn import regression
from aisle.types import Bools, Doubles

B, N_PRODUCTS, D = 4, 7, 3
LOSSES = ("rmse", "rmse_dense", "separation", "separation_dense")


def shop(seed: int, b: int = B, i: int = N_PRODUCTS, density: float = 0.4) -> tuple[Doubles, Bools, Doubles, Doubles]:
    """Scores, what is stored, values (0 and below among them) and weights, each (B, I)."""
    random = np.random.default_rng(seed)
    scores, stored = random.normal(0.3, 1.5, (b, i)), random.random((b, i)) < density
    return scores, stored, random.integers(-2, 5, (b, i)).astype(float), random.uniform(0.2, 2, (b, i))


def ours(loss: str, scores: Tensor, stored: Bools, values: Doubles, weights: Doubles) -> Tensor:
    row, column = np.nonzero(stored)
    cells = regression.Cells(
        score=scores[row, column],
        value=torch.from_numpy(values[row, column]),
        weight=torch.from_numpy(weights[row, column]),
        count=scores.numel(),
        total=scores.double().sum(),
        squares=scores.double().square().sum(),
    )
    return regression.REGRESSION[loss](cells)


def by_hand(loss: str, scores: Doubles, stored: Bools, values: Doubles, weights: Doubles) -> float:
    """Cell by cell; a missing cell weighs as much as the mean stored one, and is read as 0."""
    dense = loss.endswith("_dense")
    mean = weights[stored].mean() if stored.any() else 1.0
    positive: list[tuple[float, float]] = []
    negative: list[tuple[float, float]] = []
    errors: list[tuple[float, float]] = []
    for cell in np.ndindex(*scores.shape):
        if not stored[cell] and not dense:
            continue
        value, weight = (values[cell], float(weights[cell] / mean)) if stored[cell] else (0.0, 1.0)
        errors.append((weight, float(value - scores[cell]) ** 2))
        (positive if value > 0 else negative).append((weight, float(scores[cell])))
    if loss.startswith("rmse"):
        return math.sqrt(max(sum(w * e for w, e in errors) / (sum(w for w, _ in errors) or 1), 1e-16))
    if not positive or not negative:
        return 0.0
    moments = []
    for side in (positive, negative):
        total = sum(w for w, _ in side)
        middle = sum(w * s for w, s in side) / total
        moments.append((middle, sum(w * (s - middle) ** 2 for w, s in side) / total))
    (above, spread), (below, other) = moments
    return 1 - statistics.NormalDist().cdf((above - below) / math.sqrt(max(spread + other, 1e-6)))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    b=st.integers(1, 5),
    i=st.integers(1, 8),
    density=st.sampled_from([0.0, 0.15, 0.5, 1.0]),
    equal=st.booleans(),
)
def test_the_loss_is_the_formula(seed: int, b: int, i: int, density: float, equal: bool) -> None:
    scores, stored, values, weights = shop(seed, b, i, density)
    weights = np.full_like(weights, 0.3) if equal else weights
    for loss in LOSSES:
        value = float(ours(loss, torch.from_numpy(scores), stored, values, weights))
        assert_allclose(value, by_hand(loss, scores, stored, values, weights), rtol=1e-7, atol=1e-9)


def test_equal_weights_are_the_plain_definitions_on_matrices() -> None:
    scores, stored, values, _ = shop(3)
    full = np.where(stored, values, 0.0)
    bought = stored & (values > 0)
    for weights in (np.ones_like(scores), np.full_like(scores, 0.01)):
        got = {loss: float(ours(loss, torch.from_numpy(scores), stored, values, weights)) for loss in LOSSES}
        assert_allclose(got["rmse"], np.sqrt(np.mean((values - scores)[stored] ** 2)), rtol=1e-12)
        assert_allclose(got["rmse_dense"], np.sqrt(np.mean((full - scores) ** 2)), rtol=1e-12)
        for loss, rest in (("separation", stored & ~bought), ("separation_dense", ~bought)):
            distance = scores[bought].mean() - scores[rest].mean()
            deviation = math.sqrt(scores[bought].var() + scores[rest].var())
            assert_allclose(got[loss], 1 - statistics.NormalDist().cdf(distance / deviation), rtol=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_slopes(loss: str) -> None:
    scores, stored, values, weights = shop(5)
    x = torch.from_numpy(scores).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ours(loss, x, stored, values, weights), (x,))


def test_separation_falls_as_positives_rise() -> None:
    scores, stored, values, weights = shop(5)
    risen = scores + 2.0 * (stored & (values > 0))
    for loss in ("separation", "separation_dense"):
        before, after = (float(ours(loss, torch.from_numpy(s), stored, values, weights)) for s in (scores, risen))
        assert 0 < after < before < 1


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3])
@pytest.mark.parametrize("loss", LOSSES)
def test_values_and_slopes_are_finite_at_the_edges(loss: str, scale: float) -> None:
    scores, stored, values, weights = shop(7)
    first = np.zeros_like(stored)
    first[0, 0] = True
    edges = {
        "plain": (scores * scale, stored, values),
        "equal scores": (np.full_like(scores, scale), stored, values),
        "a perfect fit": (values * stored * scale, stored, values * scale),
        "all stored": (scores * scale, np.ones_like(stored), values),
        "nothing stored": (scores * scale, np.zeros_like(stored), values),
        "one stored cell": (scores * scale, first, np.ones_like(values)),
        "all positive": (scores * scale, np.ones_like(stored), np.ones_like(values)),
        "none positive": (scores * scale, stored, -np.ones_like(values)),
    }
    for name, (s, some, what) in edges.items():
        x = torch.from_numpy(s).to(torch.float32).requires_grad_()
        value = ours(loss, x, some, what, weights)
        value.backward()  # type: ignore[no-untyped-call]
        assert value.dtype == torch.float32
        assert x.grad is not None
        assert torch.isfinite(value), name
        assert torch.isfinite(x.grad).all(), name
        assert float(x.grad.abs().max()) < 1e3, name


def test_one_cell_is_enough() -> None:
    yes = np.ones((1, 1), dtype=bool)
    for loss, expected in (("rmse", 2.5), ("rmse_dense", 2.5), ("separation", 0.0), ("separation_dense", 0.0)):
        one = torch.full((1, 1), 0.5, dtype=torch.float64)
        assert_allclose(float(ours(loss, one, yes, np.full((1, 1), 3.0), np.ones((1, 1)))), expected)


def test_a_common_offset_does_not_drown_the_spread() -> None:
    scores, stored, values, weights = shop(9)
    far = torch.from_numpy(scores + 2e3).to(torch.float32)
    for loss in ("separation", "separation_dense"):
        value = float(ours(loss, far, stored, values, weights))
        assert_allclose(value, by_hand(loss, far.double().numpy(), stored, values, weights), rtol=1e-5)


def test_inner_products_are_summed_without_a_matrix() -> None:
    random = np.random.default_rng(0)
    parts = [torch.from_numpy(random.normal(0.2, 1, size)) for size in ((B, D), (N_PRODUCTS, D), B, N_PRODUCTS)]
    u, v, a, c = (part.numpy() for part in parts)
    matrix = u @ v.T + a[:, None] + c[None]
    total, squares = regression.dot_totals(*parts)
    assert_allclose(float(total), matrix.sum(), rtol=1e-12)
    assert_allclose(float(squares), (matrix**2).sum(), rtol=1e-12)
    tracked = [part.requires_grad_() for part in parts]
    assert torch.autograd.gradcheck(regression.dot_totals, tracked)


@pytest.mark.parametrize("block", [1, 3, 7, 100])
def test_blocks_add_up_to_the_matrix(block: int) -> None:
    random = np.random.default_rng(1)
    u = torch.from_numpy(random.normal(0, 1, (B, D))).requires_grad_()
    v = torch.from_numpy(random.normal(0, 1, (N_PRODUCTS, D))).requires_grad_()
    asked: list[slice] = []

    def score_block(part: slice) -> Tensor:
        asked.append(part)
        return torch.tanh(u @ v[part].T)

    total, squares = regression.block_totals(score_block, N_PRODUCTS, block)
    covered = [product for part in asked for product in range(N_PRODUCTS)[part]]
    assert covered == list(range(N_PRODUCTS))
    whole = torch.tanh(u @ v.T)
    assert_allclose(float(total.detach()), float(whole.detach().sum()), rtol=1e-12)
    assert_allclose(float(squares.detach()), float(whole.detach().square().sum()), rtol=1e-12)
    grads = torch.autograd.grad(total + 0.3 * squares, (u, v))
    expected = torch.autograd.grad(whole.sum() + 0.3 * whole.square().sum(), (u, v))
    for grad, wish in zip(grads, expected, strict=True):
        assert_allclose(grad.numpy(), wish.numpy(), rtol=1e-10)


def test_blocks_keep_no_scores_for_the_gradient() -> None:
    u, v = torch.randn(50, 2, requires_grad=True), torch.randn(400, 2, requires_grad=True)
    kept: list[int] = []

    def keep(x: Tensor) -> Tensor:
        kept.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        regression.block_totals(lambda part: torch.tanh(u @ v[part].T), 400, 40)
    assert sum(kept) < 50 * 400


def test_a_dense_loss_says_what_it_lacks() -> None:
    one = torch.ones(1)
    for loss in ("rmse_dense", "separation_dense"):
        with pytest.raises(UsageError, match="total, squares and count"):
            regression.REGRESSION[loss](regression.Cells(one, one, one))
