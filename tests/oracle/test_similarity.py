"""Similarities and taste rules against loops, for pairs and for whole catalogues."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from aisle.models.nn import similarity
from aisle.models.nn.similarity import Similarity
from aisle.types import Doubles

KINDS: tuple[Similarity, ...] = get_args(Similarity)
T, B, N_PRODUCTS, D = 2, 3, 5, 4


def by_hand(kind: str, u: Doubles, v: Doubles) -> float:
    dot = sum(a * b for a, b in zip(u, v, strict=True))
    if kind == "dot":
        return float(dot)
    if kind == "euclidean":
        return -math.sqrt(max(sum((a - b) ** 2 for a, b in zip(u, v, strict=True)), 1e-16))
    lengths = math.sqrt(sum(a * a for a in u)) * math.sqrt(sum(b * b for b in v))
    return float(dot / lengths) if lengths else 0.0


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 6), st.integers(1, 5)),
)
def test_every_cell_is_the_formula(seed: int, sizes: tuple[int, int, int, int]) -> None:
    t, b, i, d = sizes
    random = np.random.default_rng(seed)
    customers, products = random.normal(0, 2, (t, b, d)), random.normal(0, 2, (i, d))
    customers[0, 0] = 0.0
    u, v = torch.from_numpy(customers), torch.from_numpy(products)
    for kind in KINDS:
        expected = [[[by_hand(kind, one, two) for two in products] for one in some] for some in customers]
        assert_allclose(similarity.all_pairs(kind, u, v).numpy(), expected, rtol=1e-9, atol=1e-9)
        assert_allclose(similarity.all_pairs(kind, u[0], v).numpy(), expected[0], rtol=1e-9, atol=1e-9)
        assert_allclose(similarity.pairs(kind, u[:, :, None], v).numpy(), expected, rtol=1e-9, atol=1e-9)


def test_known_numbers() -> None:
    u, v = torch.tensor([3.0, 4.0]), torch.tensor([[6.0, 8.0], [0.0, 0.0], [-4.0, 3.0]])
    assert similarity.all_pairs("dot", u, v).tolist() == [50.0, 0.0, 0.0]
    assert_allclose(similarity.all_pairs("cosine", u, v).tolist(), [1.0, 0.0, 0.0], atol=1e-7)
    assert_allclose(similarity.all_pairs("euclidean", u, v).tolist(), [-5.0, -5.0, -math.sqrt(50)], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_slopes(kind: Similarity) -> None:
    random = np.random.default_rng(0)
    u = torch.from_numpy(random.normal(0, 1, (T, B, D))).requires_grad_()
    v = torch.from_numpy(random.normal(0, 1, (N_PRODUCTS, D))).requires_grad_()
    row, column = torch.tensor([0, 2, 2, 1]), torch.tensor([4, 0, 3, 3])
    assert torch.autograd.gradcheck(lambda u, v: similarity.all_pairs(kind, u, v), (u, v))
    assert torch.autograd.gradcheck(lambda u, v: similarity.pairs(kind, u[:, row], v[column]), (u, v))


@pytest.mark.parametrize("scale", [1e-20, 1e-6, 1.0, 1e3])
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_slopes_are_finite_and_bounded_at_the_edges(kind: Similarity, scale: float) -> None:
    base = torch.tensor([[0.0, 0.0, 0.0], [1.0, -2.0, 0.5], [1.0, -2.0, 0.5], [2.0, -4.0, 1.0]])
    for both in (False, True):
        u, v = (base * scale).requires_grad_(), (base[:3] * scale).requires_grad_()  # equal points, zeros, parallels
        scores = similarity.all_pairs(kind, u, v) if both else similarity.pairs(kind, u[:, None], v)
        assert torch.isfinite(scores).all()
        scores.sum().backward()  # type: ignore[no-untyped-call]
        for grad in (u.grad, v.grad):
            assert grad is not None
            assert torch.isfinite(grad).all()
            assert float(grad.abs().max()) <= 20 * max(scale, 1 / max(scale, 1e-9), 1.0)
        if kind == "cosine":
            assert (scores[0] == 0).all()
            assert (scores[:, 0] == 0).all()


def test_where_points_meet_the_distance_is_tiny_and_flat() -> None:
    u = torch.tensor([[0.25, -0.5]], dtype=torch.float64, requires_grad=True)
    for scores in (similarity.pairs("euclidean", u, u.detach()), similarity.all_pairs("euclidean", u, u.detach())):
        assert_allclose(scores.detach().numpy(), -1e-8, rtol=1e-6)
        (grad,) = torch.autograd.grad(scores.sum(), u)
        assert (grad == 0).all()


def test_the_best_taste_wins_and_alone_learns() -> None:
    scores = np.random.default_rng(1).normal(0, 1, (T, B, N_PRODUCTS))
    x = torch.from_numpy(scores).requires_grad_()
    best = similarity.best_taste(x)
    expected = [[max(scores[t][b][i] for t in range(T)) for i in range(N_PRODUCTS)] for b in range(B)]
    assert_allclose(best.detach().numpy(), expected)
    best.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert_allclose(x.grad.numpy(), scores == scores.max(axis=0))
    assert torch.autograd.gradcheck(similarity.best_taste, (x,))
    tie = torch.zeros(2, 1, requires_grad=True)
    similarity.best_taste(tie).sum().backward()  # type: ignore[no-untyped-call]
    assert tie.grad is not None
    assert tie.grad[:, 0].tolist() == [0.5, 0.5]


def test_attention_weighs_the_tastes_of_each_product() -> None:
    random = np.random.default_rng(2)
    scores, attention = random.normal(0, 1, (T + 1, B, N_PRODUCTS)), random.normal(0, 2, (T + 1, B, N_PRODUCTS))
    expected = np.zeros((B, N_PRODUCTS))
    for b in range(B):
        for i in range(N_PRODUCTS):
            masses = [math.exp(attention[t, b, i]) for t in range(T + 1)]
            expected[b, i] = sum(m / sum(masses) * scores[t, b, i] for t, m in enumerate(masses))
    x, a = torch.from_numpy(scores).requires_grad_(), torch.from_numpy(attention).requires_grad_()
    assert_allclose(similarity.attended(x, a).detach().numpy(), expected)
    assert torch.autograd.gradcheck(similarity.attended, (x, a))
    loud = (a.detach() * 1e3).to(torch.float32).requires_grad_()
    similarity.attended(x.detach().float() * 1e3, loud).sum().backward()  # type: ignore[no-untyped-call]
    assert loud.grad is not None
    assert torch.isfinite(loud.grad).all()
