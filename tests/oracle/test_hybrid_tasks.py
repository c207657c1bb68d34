"""What the hybrid learns from, by another road: losses over a batch of questions from dense scores and plain loops."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from aisle.data.events import Batch
from aisle.models.hybrid_factorization import HybridFactorization
from aisle.models.nn import judges, losses, tasks
from aisle.models.nn.hybrid_net import Ask, Scorer, log_shares
from aisle.models.nn.losses import SAMPLED, Sample
from aisle.models.nn.sampling import Negatives, Sampler
from aisle.models.nn.similarity import Similarity
from aisle.models.nn.tasks import Rules, Targets, Tasks, loss_of, totals
from aisle.models.nn.windows import questions, unordered
from aisle.types import Bools, Ints
from tests.contract.worlds import PRODUCTS
from tests.oracle.loops import Array, data

ROWS = np.array([0, 11, 18, 47, 60, 80, 81, 103, 114, 140])


@cache
def made(hidden: bool = False, **settings: Any) -> tuple[HybridFactorization, Tasks]:
    """A shaken model and its questions."""
    model = HybridFactorization(dim=5, epochs=0, target_days=25, **settings).fit(data())
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        model.network.own_shift.fill_(-2.0)
    model._settle()
    ticks = 25 * data().unit
    asked = unordered(data(), 200, 0, "even") if hidden else questions(data(), ticks, 8, 200, 0, model.weighing)
    found = model._tasks(data(), asked, hidden=hidden)
    assert found is not None
    return model, found


@pytest.fixture(autouse=True)
def nothing_left_to_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "FORGET", 0.0)
    monkeypatch.setattr(tasks, "IDENTITY_DROPOUT", 0.0)


def rules(loss: str = "softmax", **changes: Any) -> Rules:
    sampler = Sampler(changes.pop("negatives", "uniform"), changes.pop("count", PRODUCTS), torch.arange(PRODUCTS) + 1.0)
    plain = Rules(loss=loss, sampler=sampler, explore=1.0, dislike=0.0, id_dropout=0.0)  # type: ignore[arg-type]
    return replace(plain, **changes)


def cost(model: HybridFactorization, found: Tasks, how: Rules, rows: Ints = ROWS) -> float:
    return float(loss_of(model.network, found, rows, how, torch.Generator().manual_seed(0)).detach())


def scorer_of(model: HybridFactorization, found: Tasks) -> Scorer:
    vectors = model.network.product_vectors(torch.ones(PRODUCTS))
    return Scorer(model.network, found.ask(ROWS), vectors, found.shares, torch.ones(len(ROWS)))


def dense(model: HybridFactorization, found: Tasks) -> tuple[Array, Array, Array]:
    """Scores, what is not sold yet, and what is owned, each (B, I), by product for each customer's own question."""
    scores, gone, own = (np.zeros((len(ROWS), PRODUCTS)) for _ in range(3))
    for at, row in enumerate(ROWS):
        place = int(found.window[row])
        question = found.asked[place]
        customer = question.customers[[row - int((found.window < place).sum())]]
        batch = data().before(question.cut).batch(customer)
        asked = replace_shares(model, log_shares(question.sold))
        scores[at] = asked.score(batch)[0]
        gone[at], own[at] = question.sold[-1] == 0, batch.history.toarray()[0] > 0
    return scores, gone, own


def replace_shares(model: HybridFactorization, shares: Any) -> HybridFactorization:
    """The model as it stood when so much had been sold."""
    other = HybridFactorization(**model.params())
    other.__dict__.update({**vars(model), "shares_": shares})
    return other


@pytest.mark.parametrize("settings", [{}, {"similarity": "euclidean", "tastes": 3, "attention": True}, {"tastes": 2}])
def test_the_score_in_training_is_the_score_in_answers(settings: dict[str, Any]) -> None:
    model, found = made(**settings)
    assert len(set(found.window[ROWS])) > 3, "several cuts"
    np.testing.assert_allclose(scorer_of(model, found).all().detach(), dense(model, found)[0], rtol=1e-4, atol=1e-4)


def test_learning_does_without_the_boost_of_lists() -> None:
    model, found = made()
    net = model.network
    before = net.boost.clone()
    net.boost.fill_(0.0)
    plain = scorer_of(model, found).parts["own"].detach()
    net.boost.fill_(1.5)
    louder = scorer_of(model, found).parts["own"].detach()
    torch.testing.assert_close(louder - net.own_shift, (plain - net.own_shift) * np.exp(1.5), rtol=1e-4, atol=1e-4)
    net.train()
    torch.testing.assert_close(scorer_of(model, found).parts["own"].detach(), plain)
    net.eval().boost.copy_(before)


@pytest.mark.parametrize("new_only", [False, True])
@pytest.mark.parametrize("similarity", get_args(Similarity))
@pytest.mark.parametrize("tastes", [1, 3])
def test_sums_over_all_cells_are_those_of_the_dense_scores(
    similarity: Similarity, tastes: int, new_only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "COLUMNS", 7)
    model, found = made(similarity=similarity, tastes=tastes)
    absent = found.absent.clone()
    absent[1:, 3], absent[3:, 11] = True, True
    scorer = scorer_of(model, found)
    cells = ~absent[scorer.ask.cut]
    if new_only:
        cells = cells & ~torch.zeros(cells.numel(), dtype=torch.bool).index_fill(0, scorer.ask.own, True).view_as(cells)
    scores = scorer.all().double()[cells]
    count, total, squares = totals(scorer, absent, scorer.ask.history if new_only else None)
    assert count == int(cells.sum())
    torch.testing.assert_close((total, squares), (scores.sum(), scores.square().sum()), rtol=1e-5, atol=1e-3)
    ours, dense_ones = (_slopes(model, x.sum() + y) for x, y in ((total, squares), (scores, scores.square().sum())))
    for one, other in zip(ours, dense_ones, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-2)


def _slopes(model: HybridFactorization, value: Tensor) -> list[Tensor]:
    parameters = list(model.network.parameters())
    slopes = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if s is None else s for s, p in zip(slopes, parameters, strict=True)]  # type: ignore[redundant-expr]


@pytest.mark.parametrize("loss", ["rmse_dense", "separation_dense"])
def test_dense_losses_never_hold_all_cells(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Tensor:
        raise AssertionError("(B, I) was built")

    model, found = made()
    expected = cost(model, found, rules(loss, dislike=0.5))
    monkeypatch.setattr(Scorer, "all", refuse)
    monkeypatch.setattr(Scorer, "base", refuse)
    assert cost(model, found, rules(loss, dislike=0.5)) == expected


@pytest.mark.parametrize("new_only", [False, True])
@pytest.mark.parametrize("dislike", [0.0, 0.7])
def test_dense_values_are_one_minus_one_and_nothing(dislike: float, new_only: bool) -> None:
    model, found = made()
    found = replace(found, new_only=new_only)
    scores, gone, own = dense(model, found)
    bought, back = found.bought[ROWS].toarray() > 0, found.returned[ROWS].toarray() > 0
    assert back.any(), "some products came back"
    weight = targets(found)[0] * 1.0 + back * (dislike / len(ROWS))
    stored = bought | (back if dislike else bought)
    cells = (gone == 0) & ((own == 0) | (not new_only))
    stored &= cells
    weight = np.where(stored, weight * stored.sum() / (weight * stored).sum(), cells)
    error = weight * (scores - 1.0 * (bought & stored) + 1.0 * (back & stored)) ** 2
    expected = np.sqrt(error[cells].sum() / cells.sum())
    assert cost(model, found, rules("rmse_dense", dislike=dislike)) == pytest.approx(expected, rel=1e-4)
    sparse = np.sqrt(error[stored].sum() / stored.sum())
    assert cost(model, found, rules("rmse", dislike=dislike)) == pytest.approx(sparse, rel=1e-4)


def targets(found: Tasks) -> tuple[Array, Bools]:
    """(B, I) weights of the answers: √n a row of n answers, all together 1; and which are new to the customer."""
    bought = found.bought[ROWS].toarray().astype(np.float64)
    share = bought / bought.sum(axis=1, keepdims=True) * np.sqrt((bought > 0).sum(axis=1, keepdims=True))
    share *= found.worth[ROWS][:, None]
    own = np.zeros(bought.shape, dtype=bool)
    history = found.ask(ROWS).history
    own[history.row, history.column] = True
    return share / share.sum(), ~own


@pytest.mark.parametrize("weighing", ["even", "quantity", "amount", "recency"])
@pytest.mark.parametrize("explore", [0.0, 0.4])
def test_the_softmax_is_the_formula(weighing: str, explore: float) -> None:
    model, found = made(weighing=weighing)
    scores, gone, own = dense(model, found)
    weight, fresh = targets(found)
    later = torch.from_numpy(weight.sum(axis=0) == 0) & (torch.arange(PRODUCTS) % 3 == 0)
    assert later.any()
    found, gone = replace(found, absent=found.absent | later), np.maximum(gone, later.numpy())
    assert ((weight > 0) & ~fresh).any()
    assert len(set(found.worth[ROWS])) == (len(set(found.window[ROWS])) if weighing == "recency" else 1)
    every, blind = np.where(gone > 0, -np.inf, scores), np.where((gone > 0) | (own > 0), -np.inf, scores)
    parts = [
        float((w * (np.log(np.exp(s).sum(axis=1, keepdims=True)) - scores)).sum())
        for w, s in ((weight, every), (weight * fresh, blind))
    ]
    how = rules(explore=explore)
    assert cost(model, found, how) == pytest.approx(parts[0] + explore * parts[1], rel=1e-4)
    assert cost(model, replace(found, new_only=True), how) == pytest.approx(parts[1], rel=1e-4)
    sampled = rules("sampled_softmax", explore=explore)  # of all products: the full one
    assert cost(model, found, sampled) == pytest.approx(parts[0] + explore * parts[1], rel=1e-4)
    assert cost(model, replace(found, new_only=True), sampled) == pytest.approx(parts[1], rel=1e-4)


@pytest.mark.parametrize("negatives", get_args(Negatives))
def test_no_target_is_a_negative_nor_what_is_not_sold(negatives: Negatives, monkeypatch: pytest.MonkeyPatch) -> None:
    model, found = made()
    found = replace(found, absent=found.absent | (torch.arange(PRODUCTS) == 13))
    seen: list[Sample] = []

    def spy(sample: Sample) -> Tensor:
        seen.append(sample)
        return losses.bpr(sample)

    monkeypatch.setitem(SAMPLED, "bpr", spy)
    cost(model, found, rules("bpr", negatives=negatives, count=12, explore=0.5))
    cost(model, replace(found, new_only=True), rules("bpr", negatives=negatives, count=12))
    scores = scorer_of(model, found).all().detach().numpy()
    bought, own = found.bought[ROWS].toarray() > 0, ~targets(found)[1]
    gone = found.absent[found.window[ROWS]].numpy()
    for sample, blind in zip(seen, (False, True, True), strict=True):
        negative = sample.negative.detach().numpy()
        drawn = np.abs(negative[:, :, None] - scores[:, None]).max(axis=0).argmin(axis=1)
        np.testing.assert_allclose(negative, scores[:, drawn], rtol=1e-3, atol=1e-3)
        hidden = bought | gone | own if blind else bought | gone
        np.testing.assert_array_equal(sample.hit.numpy(), hidden[:, drawn])
        asked = bought & ~own if blind else bought
        row, column = asked.nonzero()
        np.testing.assert_array_equal(sample.row, row)
        np.testing.assert_allclose(sample.positive.detach(), scores[row, column], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(sample.weight, targets(found)[0][row, column], rtol=1e-5)
        demand = found.bought.toarray().sum(axis=0)
        assert sample.share is not None
        np.testing.assert_allclose(sample.share, demand[demand > 0].mean() / demand[column], rtol=1e-4)
        assert sample.size == PRODUCTS


def test_what_came_back_is_held_against_a_rival_drawn_from_all() -> None:
    model, found = made()
    scorer = scorer_of(model, found)
    answers = Targets.of(found.bought[ROWS], found.returned[ROWS], found.worth[ROWS])
    row, column = found.returned[ROWS].nonzero()
    scores = scorer.all().detach().numpy().astype(np.float64)
    own = ~targets(found)[1]
    assert own[row, column].any()
    assert not own[row, column].all()
    rival = torch.randint(PRODUCTS, (len(row),), generator=torch.Generator().manual_seed(4)).numpy()
    assert own[row, rival].any()
    scores = scores + 2.0 * own  # without the shift of own products, on both sides
    ahead = scores[row, column] - scores[row, rival]
    ours = tasks._dislike(scorer, answers, torch.Generator().manual_seed(4))
    assert float(ours.detach()) == pytest.approx(np.log1p(np.exp(ahead)).sum() / len(ROWS), rel=1e-4)
    plain, bitter = (cost(model, found, rules(dislike=d)) for d in (0.0, 2.0))
    assert bitter > plain


def test_nobody_forgets_half() -> None:
    """Asked as if new, a customer looks like one without purchases, to the last number."""
    model, found = made()
    ask = found.ask(ROWS)
    who = torch.arange(len(ROWS)) % 2 == 0
    seen = found.forget(ask, who)
    lines = data().batch(np.array([0], dtype=np.int32)).lines.take(slice(0, 0))
    customers = np.concatenate([q.customers for q in found.asked])[ROWS]
    features, at = data().customers.take(customers), data().as_of
    nobody = Batch(customers, np.zeros(len(ROWS) + 1, dtype=np.int64), lines, features, at, PRODUCTS)
    blank = model._look.ask(nobody, 0, 500)
    assert not torch.equal(blank.content.dense()[who], ask.content.dense()[who])
    torch.testing.assert_close(seen.content.dense()[who], blank.content.dense()[who], rtol=0, atol=0)
    torch.testing.assert_close(seen.content.dense()[~who], ask.content.dense()[~who], rtol=0, atol=0)
    sizes = seen.history.indptr.diff()
    assert (sizes[who] == 0).all()
    assert torch.equal(sizes[~who], ask.history.indptr.diff()[~who])
    assert torch.equal(seen.history.column, ask.history.column[~who[ask.history.row]])
    assert torch.equal(seen.counts, ask.counts[~who[ask.history.row]])


@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_a_hidden_answer_is_not_in_the_history_and_the_rest_is(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, found = made(hidden=True)
    rows = np.arange(40)
    seen: list[tuple[Ask, Targets]] = []
    rank = tasks._rank

    def spy(scorer: Scorer, answers: Targets, *rest: Any) -> Tensor:
        seen.append((scorer.ask, answers))
        return rank(scorer, answers, *rest)

    monkeypatch.setattr(tasks, "_rank", spy)
    for seed in range(2):
        loss_of(model.network, found, rows, rules(loss), torch.Generator().manual_seed(seed))
    keys = [answers.row * PRODUCTS + answers.column for _, answers in seen]
    assert not torch.equal(*keys), "hidden anew at each step"
    whole = found.bought[rows].nonzero()
    for (ask, _), key in zip(seen, keys, strict=True):
        assert not set(key.tolist()) & set(ask.own.tolist())
        assert set(key.tolist()) | set(ask.own.tolist()) == set((whole[0] * PRODUCTS + whole[1]).tolist())
        assert 0.3 < len(key) / len(whole[0]) < 0.7


@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax", "rmse_dense"])
def test_what_a_customer_asked_as_if_new_had_bought_is_no_rival(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is bought twice the seen half says nothing of the other, forgotten or not."""
    monkeypatch.setattr(tasks, "FORGET", 1.1)
    model, found = made(hidden=True)
    rows = np.arange(40)
    first = cost(model, found, rules(loss), rows)
    hidden = torch.rand(len(found.ask(rows).counts), generator=torch.Generator().manual_seed(0)) < tasks.HIDE
    ask = found.ask(rows)
    seen, own = np.zeros((len(rows), PRODUCTS), dtype=bool), ask.history.row * PRODUCTS + ask.history.column
    seen.ravel()[own[~hidden]] = True
    vectors = model.network.product_vectors(torch.ones(PRODUCTS))
    blank = found.forget(ask, torch.ones(len(rows), dtype=torch.bool))
    scores = Scorer(model.network, blank, vectors, found.shares, torch.ones(len(rows))).all().detach().double().numpy()
    weight = np.where(seen, 0.0, found.bought[rows].toarray())
    weight *= np.sqrt((weight > 0).sum(axis=1, keepdims=True)) / np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    weight /= weight.sum()
    cells = ~seen & ~found.absent[0].numpy()
    if loss == "rmse_dense":
        stored = weight > 0
        error = np.where(stored, weight * stored.sum(), 1.0) * (scores - stored) ** 2
        assert first == pytest.approx(np.sqrt(error[cells].sum() / cells.sum()), rel=1e-4)
    else:
        total = np.log(np.exp(np.where(cells, scores, -np.inf)).sum(axis=1, keepdims=True))
        assert first == pytest.approx(float((weight * (total - scores)).sum()), rel=1e-4)


@pytest.mark.parametrize("loss", ["softmax", *SAMPLED, "rmse", "rmse_dense", "separation", "separation_dense"])
@pytest.mark.parametrize("dislike", [0.0, 0.5])
def test_a_batch_without_answers_costs_nothing_and_moves_nothing_far(
    loss: str, dislike: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "HIDE", 0.0)
    model, found = made(hidden=True)
    model.network.zero_grad()
    how = rules(loss, dislike=dislike, negatives="in_batch", count=8)
    value = loss_of(model.network, found, ROWS[:3], how, torch.Generator().manual_seed(0))
    assert torch.isfinite(value)
    value.backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.network.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name
    model.network.zero_grad()


def test_questions_made_anew_are_those_that_were_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model, kept = made()
    monkeypatch.setattr(tasks, "KEEP", 0)
    monkeypatch.setattr(tasks, "BLOCK", 16)
    lazy = model._tasks(data(), kept.asked)
    assert lazy is not None
    assert lazy.kept is None
    assert kept.kept is not None
    assert lazy.new_only == kept.new_only
    rows = np.random.default_rng(0).permutation(len(kept))[:50]
    one, other = kept.ask(rows), lazy.ask(rows)
    for a, b in zip(_tensors(one), _tensors(other), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def _tensors(ask: Ask) -> list[Tensor]:
    history, content = ask.history, ask.content
    return [history.indptr, history.column, ask.counts, content.indptr, content.column, content.value, ask.ids, ask.cut]


def test_the_judgement_is_ndcg_over_what_was_sold_with_and_without_own_products() -> None:
    model, found = made()
    found = replace(found, absent=found.absent | (torch.arange(PRODUCTS) % 5 == 0))
    ours = judges.judgement(model.network, found)
    question = found.asked[0]
    batch = data().before(question.cut).batch(question.customers)
    scores = replace_shares(model, log_shares(question.sold)).score(batch).astype(np.float64)
    scores[:, found.absent[0].numpy()] = -np.inf
    real, own = question.bought.toarray() > 0, batch.history.toarray() > 0
    for part, blind in enumerate((False, True)):
        for row in range(len(real)):
            asked = real[row] & ~own[row] if blind else real[row]
            ranked = np.argsort(-np.where(own[row] & blind, -np.inf, scores[row]), kind="stable")[:10]
            gain = sum(asked[product] / np.log2(place + 2) for place, product in enumerate(ranked))
            best = sum(1 / np.log2(place + 2) for place in range(min(int(asked.sum()), 10)))
            assert ours[part, row] == pytest.approx(gain / best if best else np.nan, abs=1e-6, nan_ok=True)
    means = [float(np.nanmean(values)) for values in ours]
    sitting, boost = judges.Sitting.of(model.network, found), float(model.network.boost)
    assert sitting.worth(boost, False) == pytest.approx(((means[0] + 0.05) * (means[1] + 0.05)) ** 0.5)
    assert sitting.worth(boost, True) == pytest.approx(means[1])
    model.network.boost.fill_(boost + 1)
    other = judges.judgement(model.network, found)
    model.network.boost.fill_(boost)
    np.testing.assert_allclose(sitting.judgement(boost + 1), other, atol=1e-6)
