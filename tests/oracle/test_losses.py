"""Every ranking loss against loops in plain Python on sizes that differ on every axis, and its slope by differences."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch import Tensor

from aisle.errors import UsageError
from aisle.models.nn import losses, regression
from aisle.types import Bools, Doubles, Ints

SAMPLED = ("sampled_softmax", "wmrb", "balanced_wmrb", "bpr", "warp", "gbce")
LOSSES = ("softmax", *SAMPLED)


@dataclass(frozen=True)
class Case:
    """A batch of B = 3 rows, I = 11 products, Z = 5 negatives and P = 6 targets, unless a test says otherwise."""

    scores: Doubles
    drawn: Ints
    row: Ints
    column: Ints
    weight: Doubles
    share: Doubles
    log_q: Doubles | None = None

    @property
    def hit(self) -> Bools:
        known = set(zip(self.row.tolist(), self.column.tolist(), strict=True))
        everyone = range(len(self.scores))
        return np.array([[(row, column) in known for column in self.drawn.tolist()] for row in everyone])


def case(seed: int = 0, uneven: bool = False) -> Case:
    """Two drawn products, 9 and 2, are targets of some rows; row 1 has one target, row 2 has three."""
    random = np.random.default_rng(seed)
    return Case(
        scores=random.normal(0, 2, (3, 11)),
        drawn=np.array([9, 1, 2, 7, 3]),
        row=np.array([0, 0, 1, 2, 2, 2]),
        column=np.array([4, 9, 2, 0, 9, 10]),
        weight=np.array([0.1, 0.2, 0.3, 0.15, 0.05, 0.2]),
        share=np.array([0.3, 0.9, 1.0, 0.25, 0.1, 0.6]),
        log_q=np.log([0.9, 0.15, 0.5, 0.25, 0.03]) if uneven else None,
    )


def any_case(seed: int, b: int, i: int, z: int, density: float) -> Case:
    """Any sizes, at least one target."""
    random = np.random.default_rng(seed)
    bought = random.random((b, i)) < density
    bought[random.integers(b), random.integers(i)] = True
    row, column = np.nonzero(bought)
    return Case(
        scores=random.normal(0, 1.5, (b, i)),
        drawn=random.permutation(i)[:z],
        row=row,
        column=column,
        weight=random.dirichlet(np.ones(len(row))),
        share=random.uniform(0.05, 1, len(row)),
        log_q=np.log(random.uniform(0.01, 1, min(z, i))) if seed % 2 else None,
    )


def ours(loss: str, batch: Case, scores: Tensor | None = None) -> Tensor:
    """Our loss, as a function of the scores (B, I)."""
    scores = torch.from_numpy(batch.scores) if scores is None else scores
    row, column = torch.from_numpy(batch.row), torch.from_numpy(batch.column)
    weight = torch.from_numpy(batch.weight).to(scores.dtype)
    if loss == "softmax":
        return losses.softmax(scores, row, column, weight)
    sample = losses.Sample(
        positive=scores[row, column],
        row=row,
        weight=weight,
        negative=scores[:, torch.from_numpy(batch.drawn)],
        hit=torch.from_numpy(batch.hit),
        size=scores.shape[1],
        log_q=None if batch.log_q is None else torch.from_numpy(batch.log_q).to(scores.dtype),
        share=torch.from_numpy(batch.share).to(scores.dtype),
    )
    return losses.SAMPLED[loss](sample)


def by_hand(loss: str, batch: Case) -> float:
    """The sum over targets of weight times the formula, one target and one negative at a time."""
    size = batch.scores.shape[1]
    draws = len(batch.drawn)
    chance = [draws / size] * draws if batch.log_q is None else np.exp(batch.log_q).tolist()
    total = 0.0
    for row, column, weight, share in zip(batch.row, batch.column, batch.weight, batch.share, strict=True):
        s = batch.scores[row]
        mine = [c for r, c in zip(batch.row, batch.column, strict=True) if r == row]
        rivals = [(j, q) for j, q in zip(batch.drawn, chance, strict=True) if j not in mine]
        if loss == "softmax":
            each = math.log(sum(math.exp(x) for x in s)) - s[column]
        elif loss == "sampled_softmax":
            mass = sum(math.exp(s[j]) for j in mine) + sum(math.exp(s[j]) / q for j, q in rivals)
            each = math.log(mass) - s[column]
        elif loss in ("wmrb", "balanced_wmrb"):
            hinges = sum(max(0.0, 1 - s[column] + s[j]) / q for j, q in rivals)
            rank = size * hinges / sum(1 / q for _, q in rivals) if rivals else 0.0
            each = math.log(1 + rank * (share if loss == "balanced_wmrb" else 1.0))
        elif loss == "bpr":
            logs = [-math.log(1 / (1 + math.exp(-(s[column] - s[j])))) for j, _ in rivals]
            each = sum(logs) / len(logs) if logs else 0.0
        elif loss == "warp":
            each = 0.0
            for tries, (j, _) in enumerate(rivals, start=1):
                if 1 - s[column] + s[j] > 0:
                    rank = (size - 1) // tries
                    each = sum(1 / k for k in range(1, rank + 1)) * (1 - s[column] + s[j])
                    break
        else:
            alpha = draws / size
            beta = alpha * (0.75 * (1 - 1 / alpha) + 1 / alpha)
            sigmoid = {j: 1 / (1 + math.exp(-s[j])) for j in (column, *(j for j, _ in rivals))}
            each = -beta * math.log(sigmoid[column]) - sum(math.log(1 - sigmoid[j]) for j, _ in rivals)
            each /= len(rivals) + 1
        total += weight * each
    return float(total)


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_is_the_formula(loss: str, uneven: bool) -> None:
    for seed in range(5):
        batch = case(seed, uneven)
        assert_allclose(float(ours(loss, batch)), by_hand(loss, batch), rtol=1e-10)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    b=st.integers(1, 5),
    i=st.integers(1, 13),
    z=st.integers(1, 13),
    density=st.sampled_from([0.0, 0.2, 0.6, 1.0]),
)
def test_the_loss_is_the_formula_at_any_size(seed: int, b: int, i: int, z: int, density: float) -> None:
    batch = any_case(seed, b, i, z, density)
    for loss in LOSSES:
        assert_allclose(float(ours(loss, batch)), by_hand(loss, batch), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_is_the_slope(loss: str, uneven: bool) -> None:
    batch = case(uneven=uneven)
    scores = torch.from_numpy(batch.scores).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: ours(loss, batch, s), (scores,))


def test_drawing_everything_is_the_full_softmax() -> None:
    batch = replace(case(1), drawn=np.random.default_rng(0).permutation(11))
    assert_allclose(float(ours("sampled_softmax", batch)), float(ours("softmax", batch)), rtol=1e-12)
    certain = replace(batch, log_q=np.zeros(11))
    assert_allclose(float(ours("sampled_softmax", certain)), float(ours("softmax", batch)), rtol=1e-12)


@pytest.mark.parametrize("loss", ["sampled_softmax", "wmrb", "balanced_wmrb"])
def test_equal_expectations_are_the_uniform_draw_and_may_differ_by_row(loss: str) -> None:
    uniform, equal = case(), replace(case(), log_q=np.full(5, math.log(5 / 11)))
    assert_allclose(float(ours(loss, equal)), float(ours(loss, uniform)), rtol=1e-12)
    shared = case(uneven=True)
    assert shared.log_q is not None
    assert_allclose(float(ours(loss, replace(shared, log_q=np.tile(shared.log_q, (3, 1))))), by_hand(loss, shared))


@pytest.mark.parametrize("loss", ["bpr", "warp", "gbce"])
def test_where_the_draw_is_the_loss_its_expectation_is_not_undone(loss: str) -> None:
    assert float(ours(loss, case(uneven=True))) == float(ours(loss, case()))


def test_a_rare_product_weighs_more_when_it_is_drawn() -> None:
    batch = replace(case(), row=np.array([0]), column=np.array([4]), weight=np.ones(1), share=np.ones(1))
    rare = replace(batch, log_q=np.log([0.5, 0.5, 0.5, 0.5, 0.05]))
    for loss in ("sampled_softmax", "wmrb"):
        slopes = []
        for each in (batch, rare):
            scores = torch.zeros(3, 11, dtype=torch.float64, requires_grad=True)
            ours(loss, each, scores).backward()  # type: ignore[no-untyped-call]
            assert scores.grad is not None
            slopes.append(float(scores.grad[0, 3] / scores.grad[0, 7]))
        assert_allclose(slopes, [1, 10])


@pytest.mark.parametrize("loss", SAMPLED)
def test_a_true_purchase_is_no_negative(loss: str) -> None:
    batch = case()
    scores = torch.from_numpy(batch.scores).requires_grad_()
    ours(loss, batch, scores).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert float(scores.grad[1, 2]) < 0  # drawn and bought by row 1: only its pull as a target is left
    assert float(scores.grad[1, [9, 1, 7, 3]].sum()) > 0
    assert (scores.grad[:, [5, 6, 8]] == 0).all()  # neither drawn nor bought


def test_warp_takes_the_draws_in_their_order() -> None:
    scores = np.zeros((3, 11))
    scores[1, [9, 1, 7, 3]] = [-5.0, -5.0, 0.5, 9.0]
    only = replace(case(), scores=scores, row=np.array([1]), column=np.array([2]), weight=np.ones(1), share=np.ones(1))
    # 9 and 1 are far below, 2 is the target itself, 7 is the third that counts: rank ⌊10 / 3⌋ = 3, hinge 1.5
    assert_allclose(float(ours("warp", only)), (1 + 1 / 2 + 1 / 3) * 1.5)
    first = replace(only, drawn=np.array([3, 7, 9, 1, 2]))
    assert_allclose(float(ours("warp", first)), sum(1 / k for k in range(1, 11)) * 10.0)
    scores[1, [7, 3]] = -5.0
    assert float(ours("warp", only)) == 0.0


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3])
@pytest.mark.parametrize("loss", LOSSES)
def test_values_and_slopes_are_finite_at_the_edges(loss: str, scale: float) -> None:
    plain = case()
    first = replace(
        plain, row=np.array([0]), column=np.array([0]), weight=np.ones(1), share=np.ones(1), scores=plain.scores[:1]
    )
    batches = {
        "far": plain,
        "uneven": case(uneven=True),
        "all masked": replace(plain, drawn=np.array([0, 9, 10])),  # row 2 bought them all, row 1 none
        "a row without targets": replace(plain, row=np.array([0, 0, 0, 2, 2, 2]), column=np.array([4, 9, 2, 0, 9, 10])),
        "one cell": replace(first, scores=first.scores[:, :1], drawn=np.array([0])),
        "two cells": replace(first, scores=first.scores[:, :2], drawn=np.array([1])),
    }
    for name, batch in batches.items():
        for sign in (1, -1):
            scores = torch.from_numpy(batch.scores * scale * sign).to(torch.float32).requires_grad_()
            value = ours(loss, batch, scores)
            value.backward()  # type: ignore[no-untyped-call]
            assert value.dtype == torch.float32
            assert torch.isfinite(value), name
            assert scores.grad is not None
            assert torch.isfinite(scores.grad).all(), name


@pytest.mark.parametrize("loss", SAMPLED)
def test_a_row_without_targets_and_negatives_costs_nothing(loss: str) -> None:
    positive = torch.tensor([0.5, -0.5], requires_grad=True)
    negative, hit = torch.zeros(3, 4), torch.zeros(3, 4, dtype=torch.bool)
    negative[1], hit[1, :3] = -torch.inf, True  # nothing of the draw was for sale, and the mask says so in part
    negative.requires_grad_()
    row, weight, share = torch.tensor([0, 2]), torch.full((2,), 0.5), torch.ones(2)
    value = losses.SAMPLED[loss](losses.Sample(positive, row, weight, negative, hit, 9, share=share))
    value.backward()  # type: ignore[no-untyped-call]
    assert negative.grad is not None
    assert torch.isfinite(value)
    assert (negative.grad[1] == 0).all()
    assert torch.isfinite(negative.grad).all()


def test_a_product_that_is_not_for_sale_has_no_part_in_the_softmax() -> None:
    batch = case()
    scores = torch.from_numpy(batch.scores).clone()
    scores[:, 5] = -torch.inf
    less = replace(batch, scores=np.delete(batch.scores, 5, axis=1), column=np.array([4, 8, 2, 0, 8, 9]))
    assert_allclose(float(ours("softmax", batch, scores)), float(ours("softmax", less)), rtol=1e-12)


def test_what_was_returned_belongs_below_a_rival() -> None:
    disliked = torch.tensor([0.3, -1.2, 2.0, 0.0], dtype=torch.float64, requires_grad=True)
    rival = torch.tensor([1.1, 0.4, -0.7, 0.0], dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    pairs = zip(disliked.tolist(), rival.tolist(), weight.tolist(), strict=True)
    expected = sum(-w * math.log(1 / (1 + math.exp(-(r - d)))) for d, r, w in pairs)
    value = losses.dislike(disliked, rival, weight)
    assert_allclose(float(value.detach()), expected, rtol=1e-12)
    assert torch.autograd.gradcheck(lambda d, r: losses.dislike(d, r, weight), (disliked, rival))
    value.backward()  # type: ignore[no-untyped-call]
    assert disliked.grad is not None
    assert rival.grad is not None
    assert (disliked.grad > 0).all()
    assert (rival.grad < 0).all()
    far = torch.tensor([1e3, -1e3], requires_grad=True)
    losses.dislike(far, -far, torch.ones(2)).backward()  # type: ignore[no-untyped-call]
    assert far.grad is not None
    assert torch.isfinite(far.grad).all()


def test_balanced_wmrb_says_what_it_lacks() -> None:
    scores = torch.zeros(1, 2)
    nothing = torch.zeros(1, dtype=torch.int64)
    sample = losses.Sample(scores[0, :1], nothing, torch.ones(1), scores[:, 1:], torch.zeros(1, 1).bool(), 2)
    with pytest.raises(UsageError, match="share"):
        losses.SAMPLED["balanced_wmrb"](sample)


def test_the_names_are_those_of_the_tables() -> None:
    assert get_args(losses.Loss) == ("auto", "softmax", *losses.SAMPLED, *regression.REGRESSION)
    assert tuple(losses.SAMPLED) == SAMPLED
