"""The basket transformer against loops: masks, losses, and where it starts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from aisle.models.basket_transformer import BasketTransformer
from aisle.models.nn import losses
from aisle.models.nn.basket_net import BasketNet, Pairs, Shape, build
from aisle.models.nn.basket_tasks import Lessons, Options, Rules, Step, loss_of
from aisle.models.nn.full_softmax import How, Listed, full_softmax
from aisle.models.nn.histories import HALF_LIVES
from aisle.models.nn.journeys import FACTS
from aisle.models.nn.product_tower import ProductTower
from aisle.models.nn.rows import Rows
from aisle.models.nn.sampling import Sampler
from aisle.models.nn.shelf import SPANS, price_places, what_sells
from aisle.models.nn.tokens import Stretch, Tokens
from aisle.models.personal_frequency import PersonalFrequency
from aisle.types import DAY, NEVER
from tests.contract.worlds import CUSTOMERS, PRODUCTS
from tests.oracle.test_journeys import data, everybody, journeys

NOBODY = Rows(torch.zeros(CUSTOMERS + 1, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0), 0)


# --- the network ------------------------------------------------------------------------------------------------------


def network(times: bool = True, seed: int = 0, dim: int = 16) -> BasketNet:
    """An awake network whose every weight says something."""
    none = torch.zeros(PRODUCTS, 0)
    content = Rows(torch.zeros(PRODUCTS + 1, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0), 0)
    net = build(Shape(dim, 2, 2, 12, 0.0, True, times), content, ([], []), none, none, seed)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=random))
        net.awake.fill_(1.0)
    return net.eval()


def some_tokens(rows: list[int], length: int = 12) -> Tokens:
    stretch = Stretch.ends(journeys(), length).take(np.array(rows))
    return Tokens.of(journeys(), stretch, NOBODY.take(torch.tensor(rows)))


def long_rows() -> list[int]:
    return [int(row) for row in np.flatnonzero(journeys().baskets >= 5)[:4]]


def test_no_token_depends_on_a_later_basket() -> None:
    net, tokens = network(), some_tokens(long_rows())
    vectors = torch.randn(len(tokens.product), 16, requires_grad=True)
    states = net.encode(tokens, vectors)
    for place in range(1, 4):
        (reach,) = torch.autograd.grad(states[:, place].square().sum(), vectors, retain_graph=True)
        token = tokens.bag % tokens.width
        moved = reach.abs().sum(dim=1) > 0
        assert not moved[token > place].any()
        assert moved[(token > 0) & (token <= place)].all()
    late = (tokens.bag % tokens.width) >= 3
    changed = torch.where(late[:, None], torch.randn_like(vectors), vectors.detach())
    other = net.encode(tokens, changed)
    torch.testing.assert_close(other[:, :3], states[:, :3], rtol=0, atol=0)
    assert (other[:, 3] != states[:, 3]).any()


def test_a_later_date_changes_no_earlier_state() -> None:
    net, tokens = network(), some_tokens(long_rows())
    vectors = torch.randn(len(tokens.product), 16)
    assert tokens.when is not None
    when = tokens.when.clone()
    when[:, 4:] += 50
    states, moved = net.encode(tokens, vectors), net.encode(replace(tokens, when=when), vectors)
    torch.testing.assert_close(moved[:, :4], states[:, :4], rtol=0, atol=0)
    assert not torch.equal(moved[:, 4], states[:, 4]), "time counts"


def test_neighbours_and_padding_do_not_matter() -> None:
    net, rows = network(), long_rows()
    vectors = torch.randn(PRODUCTS, 16)
    together = some_tokens(rows)
    states = net.encode(together, vectors[together.product])
    for place, row in enumerate(rows):
        alone = some_tokens([row])
        mine = net.encode(alone, vectors[alone.product])[0]
        torch.testing.assert_close(mine, states[place, : alone.width], rtol=1e-5, atol=1e-5)


def test_a_basket_is_a_set() -> None:
    tokens = some_tokens(long_rows())
    order = torch.randperm(len(tokens.product))
    mixed = replace(tokens, product=tokens.product[order], bag=tokens.bag[order], share=tokens.share[order])
    net, vectors = network(), torch.randn(PRODUCTS, 16)
    one, other = (net.encode(t, vectors[t.product]) for t in (tokens, mixed))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_a_basket_is_the_sum_of_its_products_over_the_root_of_their_number() -> None:
    tokens, j = some_tokens(long_rows()), journeys()
    vectors = torch.randn(PRODUCTS, 16)
    found = torch.zeros(len(tokens.size) * tokens.width, 16)
    found = found.index_add(0, tokens.bag, vectors[tokens.product] * tokens.share[:, None])
    for place, row in enumerate(long_rows()):
        for step, basket in enumerate(range(int(j.indptr[row]), int(j.indptr[row + 1]))):
            codes = torch.from_numpy(j.product[j.start[basket] : j.start[basket + 1]].astype(np.int64))
            token = found[place * tokens.width + 1 + step]
            torch.testing.assert_close(token, vectors[codes].sum(dim=0) / len(codes) ** 0.5)
    net, first = network(), tokens.bag == tokens.bag.min()
    heavier = replace(tokens, share=torch.where(first, 3 * tokens.share, tokens.share))
    one, other = (net.encode(t, vectors[t.product]) for t in (tokens, heavier))
    assert not torch.allclose(one, other)


def test_a_prefix_stands_for_no_history_only_where_there_is_none() -> None:
    found = Lessons.of(journeys(), NOBODY, 3, 20 * DAY, 3, Options(repeat=False, seed=0))
    step = found.step(np.arange(len(found)))
    prefixes = (step.at % step.tokens.width == 0).sum()
    assert len(found) > int((journeys().baskets > 0).sum()), "some journeys are cut"
    assert int(prefixes) == int((journeys().baskets > 0).sum())
    assert len(step.at) == len(journeys().time)


def tower(content: bool = True) -> ProductTower:
    torch.manual_seed(0)
    columns = (
        Rows(torch.arange(4), torch.tensor([0, 1, 1]), torch.ones(3), 2)
        if content
        else Rows(torch.zeros(4, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0), 0)
    )
    return ProductTower(8, columns, [0, 1] if content else [], torch.randn(3, 2 * content), torch.randn(3, 5 * content))


def test_the_tower_is_a_gated_sum_of_its_parts() -> None:
    net = tower()
    torch.nn.init.normal_(net.numbers[2].weight)  # type: ignore[index]
    assert net.levels is not None
    assert net.levels.gates is not None
    assert net.text is not None
    assert net.numbers is not None
    assert net.id_gate.item() > net.levels.gates.max().item(), "id-heavy"
    every = torch.arange(3)
    expected = net.id_gate * net.ids.weight
    expected = (
        expected + net.levels.gates[torch.tensor([0, 1, 1])][:, None] * net.levels.weight[torch.tensor([0, 1, 1])]
    )
    expected = expected + net.text_gate * net.text_of @ net.text.weight.T + net.numbers(net.numbers_of)
    torch.testing.assert_close(net(every), expected)
    torch.testing.assert_close(net(every[1:]), expected[1:])


def test_hidden_and_missing_ids_leave_the_content() -> None:
    net = tower()
    every = torch.arange(3)
    bare = net(every, torch.zeros(3))
    net.has_id[1] = 0.0
    full = net(every)
    torch.testing.assert_close(full[1], bare[1])
    assert not torch.allclose(full[0], bare[0])
    alone = tower(content=False)
    torch.testing.assert_close(alone(every, torch.zeros(3)), alone(every))  # nothing else would speak


# --- losses -----------------------------------------------------------------------------------------------------------


def lessons(repeat: bool = True) -> Lessons:
    return Lessons.of(journeys(), NOBODY, 12, 20 * DAY, 3, Options(repeat=repeat, seed=0))


def sold() -> Tensor:
    return torch.from_numpy(what_sells(data(), 20 * DAY, 2))


def rules(loss: losses.Loss, count: int = PRODUCTS) -> Rules:
    return Rules(loss=loss, sampler=Sampler("uniform", count, torch.ones(PRODUCTS)), id_dropout=0.0)


def naive_loss(net: BasketNet, step: Step) -> Tensor:
    """Every score of every moment in a dense matrix, by the formulas of the network's docstring."""
    vectors, table = net.tower.everything(), sold()
    h = net.ask(net.encode(step.tokens, vectors[step.tokens.product]).flatten(0, 1)[step.at], step.calendar)
    scores = h @ vectors.T + torch.einsum("csi,s->ci", table, net.sells)[step.cut]
    row, product = step.row[step.mine], step.product[step.mine]
    known = (step.facts - net.fact_mean) / net.fact_scale
    repeat = 1 + step.facts[:, :5] @ net.counts + vectors[product] @ net.like + net.facts(known)[:, 0]
    mine = net.alpha * scores[row, product] + 2 * torch.sigmoid(net.gate(h[row]))[:, 0] * repeat
    scores = scores.index_put((row, product), mine + net.shift(h[row])[:, 0])
    each = torch.log_softmax(scores, dim=1)[step.row, step.product]
    return -(each * step.weight).sum()


@pytest.mark.parametrize("repeat", [True, False])
@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax"])
def test_the_loss_is_that_of_dense_scores(loss: losses.Loss, repeat: bool) -> None:
    """With every product drawn the sampled softmax is the full one."""
    net, step = network(), lessons(repeat).step(np.arange(0, 40, 3))
    assert bool(len(step.mine)) == repeat
    assert float(step.weight.sum()) == pytest.approx(1.0)
    found = loss_of(net, step, sold(), rules(loss), torch.Generator().manual_seed(0))
    expected = naive_loss(net, step)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    names = ["tower.ids.weight", "blocks.0.qkv.weight", "sells"]
    names += ["alpha", "gate.weight", "facts.0.weight", "counts"] if repeat else []
    some = [dict(net.named_parameters())[name] for name in names]
    for one, other in zip(torch.autograd.grad(found, some), torch.autograd.grad(expected, some), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("cells", [1, 3 * PRODUCTS, 10_000_000])
def test_blocks_of_the_full_softmax_change_neither_value_nor_gradient(cells: int) -> None:
    step = lessons().step(np.arange(6))
    h, vectors = torch.randn(len(step.at), 8, requires_grad=True), torch.randn(PRODUCTS, 8, requires_grad=True)
    prior, listed = torch.randn(3, PRODUCTS, requires_grad=True), torch.randn(len(step.row), requires_grad=True)
    found = full_softmax(h, vectors, prior, step.cut, listed, Listed(step.row, step.product, step.weight), How(cells))
    scores = (h @ vectors.T + prior[step.cut]).index_put((step.row, step.product), listed)
    expected = -(torch.log_softmax(scores, dim=1)[step.row, step.product] * step.weight).sum()
    torch.testing.assert_close(found, expected)
    inputs = (h, vectors, prior, listed)
    for one, other in zip(torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_gradients_in_bfloat16_are_those_in_full_but_for_rounding() -> None:
    step = lessons().step(np.arange(6))
    h, vectors = torch.randn(len(step.at), 8, requires_grad=True), torch.randn(PRODUCTS, 8, requires_grad=True)
    prior, listed = torch.randn(3, PRODUCTS, requires_grad=True), torch.randn(len(step.row), requires_grad=True)
    inputs, pairs = (h, vectors, prior, listed), Listed(step.row, step.product, step.weight)
    exact, rough = (full_softmax(h, vectors, prior, step.cut, listed, pairs, How(bfloat16=b)) for b in (False, True))
    assert exact.item() == rough.item()
    grads = torch.autograd.grad(exact, inputs), torch.autograd.grad(rough, inputs)
    assert not torch.equal(grads[0][1], grads[1][1])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=0.02 * float(one.abs().max()))


def test_gbce_meets_own_products_with_the_score_they_have() -> None:
    net, step = network(), lessons().step(np.arange(10))
    found = loss_of(net, step, sold(), rules("gbce"), torch.Generator().manual_seed(0))
    with torch.no_grad():
        net.shift.bias.add_(5.0)
    higher = loss_of(net, step, sold(), rules("gbce"), torch.Generator().manual_seed(0))
    assert higher.item() != found.item()
    assert math.isfinite(found.item())


def test_early_moments_teach_nothing_about_repeats() -> None:
    """Where own products are not known, what an earlier basket holds is no answer."""
    found = lessons()
    sizes = np.diff(journeys().start)
    early = np.repeat(found.told < 0, sizes)
    assert (found.worth[early & journeys().again()] == 0).all()
    assert (found.worth[~early] > 0).all()
    assert (found.told >= 0).sum() > 100


def test_batches_hold_every_piece_once_and_pieces_of_like_length() -> None:
    found = lessons().batches(7, torch.Generator().manual_seed(1))
    assert sorted(torch.cat(found).tolist()) == list(range(len(lessons())))
    spread = [np.ptp(lessons().stretch.size[batch.numpy()]) for batch in found]
    assert np.mean(spread) < np.ptp(lessons().stretch.size) / 3


# --- where it starts --------------------------------------------------------------------------------------------------


def test_untrained_it_is_personal_frequency_then_popularity() -> None:
    model = BasketTransformer(epochs=0).fit(data())
    assert model.repeat_
    counts, sells = model.start_["counts"], model.start_["sells"]
    half = HALF_LIVES["time"][counts]
    scores = model.score(everybody())
    own_part = PersonalFrequency(half_life_days=None if math.isinf(half) else half).fit(data()).score(everybody())
    for row in np.flatnonzero(~everybody().empty):
        mine = np.flatnonzero(everybody().history[[row]].toarray()[0])
        others = np.setdiff1d(np.arange(PRODUCTS), mine)
        assert scores[row, mine].min() > scores[row, others].max()
        by_count = own_part[row, mine][np.argsort(-scores[row, mine], kind="stable")]
        assert (np.diff(by_count) <= 1e-5).all()
        np.testing.assert_allclose(scores[row, others], model.sold_[0, sells, others], atol=1e-6)


def test_the_repeat_head_moves_only_own_products() -> None:
    net = network()
    h, vectors = torch.randn(2, 16), torch.randn(PRODUCTS, 16)
    pairs = Pairs(torch.tensor([0, 1, 1]), torch.tensor([3, 3, 5]), torch.rand(3, len(FACTS)), torch.randn(3))
    whole = net.again(h, vectors, pairs)
    part = net.again(h, vectors, Pairs(*(part[1:] for part in pairs)))
    torch.testing.assert_close(whole[1:], part)


def test_price_places_rank_within_the_leaf() -> None:
    products = data().products
    price = products.numbers["price"].copy()
    price[3] = np.nan
    found, leaf = price_places(price, products), products.tree[-1].codes
    assert np.isnan(found[3])
    for code in range(PRODUCTS):
        if code != 3:
            rivals = price[(leaf == leaf[code]) & np.isfinite(price)]
            assert found[code] == pytest.approx(((rivals < price[code]).sum() + 0.5) / len(rivals))


def test_what_sells_knows_no_later_sale() -> None:
    events = data().all_events
    kept = replace(data(), all_events=replace(events, void_at=np.full(len(events), NEVER)))  # returns would come late
    table = what_sells(kept, 30 * DAY, 4)
    assert table.shape == (5, SPANS, PRODUCTS)
    assert (table[4] == 0).all(), "earlier moments are told nothing"
    for step in range(4):
        earlier = kept.before(kept.as_of - 30 * DAY * step)
        np.testing.assert_array_equal(table[step], what_sells(earlier, 30 * DAY, 1)[0])


def test_no_lesson_is_told_what_sold_after_it_was_asked() -> None:
    horizon, cuts = 20 * DAY, 4
    found = Lessons.of(journeys(), NOBODY, 12, horizon, cuts, Options(repeat=False, seed=0))
    known = found.cut < cuts - 1
    assert known.any()
    assert not known.all()
    assert (journeys().at - found.cut * horizon <= found.moments.time)[known].all()
    assert (journeys().at - (cuts - 2) * horizon > found.moments.time)[~known].all()
