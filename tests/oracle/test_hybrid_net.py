"""The hybrid's score by plain loops over purchases and the network's parameters: every term, shape and similarity."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any, get_args

import numpy as np
import pytest
import torch

from aisle.data.dataset import Dataset
from aisle.models.hybrid_factorization import HybridFactorization
from aisle.models.nn.hybrid_net import Scorer
from aisle.models.nn.similarity import Similarity
from aisle.types import DAY, UNKNOWN, Floats
from tests.contract.worlds import CUSTOMERS, PRODUCTS
from tests.oracle.loops import Array, baskets, data

HALF_LIVES = (7.0, 30.0, 90.0, 365.0, math.inf)
SHAPES: dict[str, dict[str, Any]] = {
    "one taste": {},
    "three tastes": {"tastes": 3},
    "attention": {"tastes": 3, "attention": True},
    "identity": {"identity": True, "customer_tower": "mlp", "product_tower": "relu"},
    "short histories": {"max_history": 3, "customer_tower": "normalized_linear"},
}


@cache
def shaken(shape: str, similarity: Similarity) -> HybridFactorization:
    """A model whose every parameter says something: none is 0 or 1 as at the start."""
    settings = {"dim": 5, "epochs": 0, "similarity": similarity} | SHAPES[shape]
    model = HybridFactorization(**settings).fit(data())
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(0.4 * torch.randn(parameter.shape, generator=generator))
        for tower in model.network.each_taste():
            if hasattr(tower, "ids"):
                tower.ids.weight[0] = 0.0  # whom nobody knows
        model.network.heat.fill_(0.3)
        model.network.own_shift.fill_(-1.5)
        model.network.boost.fill_(0.4)
    model._settle()
    return model


class Loops:
    """The formulas of the module, one customer and one product at a time."""

    def __init__(self, model: HybridFactorization, dataset: Dataset) -> None:
        self.model, self.net, self.dataset = model, model.network, dataset
        self.p = {name: value.double().numpy() for name, value in model.network.state_dict().items()}
        lines = [
            (int(product), int(time))
            for product, time, quantity, void in zip(
                dataset.all_events.product,
                dataset.all_events.time,
                dataset.all_events.quantity,
                dataset.all_events.void_at,
                strict=True,
            )
            if time < dataset.as_of and quantity > 0 and void >= dataset.as_of
        ]
        self.sales = np.bincount([product for product, _ in lines], minlength=PRODUCTS)
        window = model.target_days_ * DAY
        spans = [np.zeros(PRODUCTS), np.zeros(PRODUCTS), self.sales]
        for place, reach in enumerate((window, 4 * window)):
            for product, time in lines:
                spans[place][product] += time >= dataset.as_of - reach
        self.shares = [np.log((sold + 0.5) / (sold.max() + 0.5)) for sold in spans]
        self.content = model._look.content(dataset).dense().double().numpy()
        self.vectors = np.stack([self.product(code) for code in range(PRODUCTS)])
        self.baskets = baskets(dataset)

    def first(self, where: str, x: Array) -> Array:
        gates, groups, weight = (self.p[f"{where}.first.{part}"] for part in ("gates", "groups", "weight"))
        return np.asarray(sum(gates[int(groups[f])] * x[f] * weight[f] for f in range(len(x))))

    def body(self, tower: Any, x: Array) -> Array:
        with torch.no_grad():  # bodies have an oracle of their own
            return np.asarray(tower.double().finish(torch.from_numpy(x)[None])[0].numpy())

    def product(self, code: int) -> Array:
        x = self.first("product", self.content[code])
        if self.sales[code]:
            x = x + self.p["id_gate"] * self.p["ids.weight"][code]
        return self.body(deepcopy(self.net.product), x)

    def counts(self, customer: int) -> dict[int, Array]:
        """Own product -> decayed counts of baskets at each half-life; the products bought most and latest alone."""
        found: dict[int, Array] = {}
        for _, products in self.baskets.get(customer, []):
            for product, time in products.items():
                age = (self.dataset.as_of - time) / DAY
                found[product] = found.get(product, np.zeros(5)) + [0.5 ** (age / half) for half in HALF_LIVES]
        best = sorted(found, key=lambda product: (-np.float32(found[product][3]), product))
        return {product: found[product] for product in sorted(best[: self.model.max_history])}

    def customer(self, kind: str, taste: int, code: int, content: Array, own: dict[int, Array]) -> Array:
        name = f"{kind}.{taste}"
        few = _softplus(self.p[f"{name}.faint"])
        bag, mass = np.zeros(self.model.dim), 0.0
        for product, count in own.items():
            weight = sum(_softplus(self.p[f"{name}.weigh"][t]) * math.log1p(count[t]) for t in range(5))
            weight *= (1 + self.sales[product]) ** -self.p[f"{name}.temper"]
            bag, mass = bag + weight * self.vectors[product], mass + weight
        x = self.p[f"{name}.turn.weight"] @ bag + few * self.first(f"{name}.tower", content)
        x = x / (mass + few)
        if self.model.identity and code >= 0:
            x = x + self.p[f"{name}.ids.weight"][code + 1]
        return self.body(deepcopy(getattr(self.net, kind)[taste].tower), x)

    def alike(self, u: Array, v: Array) -> float:
        if self.model.similarity == "euclidean":
            return -math.sqrt(sum((a - b) ** 2 for a, b in zip(u, v, strict=True)))
        dot = sum(a * b for a, b in zip(u, v, strict=True))
        return float(dot if self.model.similarity == "dot" else dot / math.sqrt((u @ u) * (v @ v)))

    def row(self, code: int, content: Array) -> Array:
        """(I,) the scores of one customer."""
        own = self.counts(code) if code >= 0 else {}
        tastes = [self.customer("tastes", t, code, content, own) for t in range(self.model.tastes)]
        looks = [self.customer("attention", t, code, content, own) for t in range(len(self.net.attention))]
        out = np.zeros(PRODUCTS)
        for i in range(PRODUCTS):
            met = self.vectors[i] * (1 + self.sales[i]) ** self.p["lift"]
            likes = [self.alike(u, met) for u in tastes]
            if looks:
                share = np.exp([self.alike(u, met) for u in looks])
                like = float(share @ likes / share.sum())
            else:
                like = max(likes)
            out[i] = math.exp(self.p["heat"]) * like
            out[i] += sum(self.p["prior"][s] * self.shares[s][i] for s in range(3))
            out[i] += self.content[i] @ self.p["product_bias.weight"][:, 0]
            out[i] += content @ self.p["customer_bias.weight"][:, 0]
            if i in own:
                base = sum(_softplus(self.p["repeat"][t]) * math.log1p(own[i][t]) for t in range(5))
                loyal = self.p["loyal.weight"][0] @ tastes[0] + self.p["repeatable.weight"][0] @ self.vectors[i]
                out[i] += (
                    base * math.exp(self.p["own_heat"] + self.p["boost"] + min(max(loyal, -3.0), 3.0))
                    + self.p["own_shift"]
                )
        return out

    def score(self, codes: list[int]) -> Array:
        batch = self.dataset.batch(np.array(codes, dtype=np.int32))
        content = self.model._look.ask(batch, 0, 500).content.dense().double().numpy()
        return np.stack([self.row(code, content[row]) for row, code in enumerate(codes)])


def _softplus(x: Any) -> float:
    return math.log1p(math.exp(float(x)))


ASKED = [3, 17, UNKNOWN, 44, 3, 58]


@pytest.mark.parametrize("similarity", get_args(Similarity))
@pytest.mark.parametrize("shape", SHAPES)
def test_the_score_is_the_formula(shape: str, similarity: Similarity) -> None:
    model = shaken(shape, similarity)
    scores = model.score(data().batch(np.array(ASKED, dtype=np.int32)))
    expected = Loops(model, data()).score(ASKED)
    assert expected.std(axis=1).min() > 0.1
    assert np.abs(np.diff(expected[[0, 1, 2, 3]], axis=0)).max(axis=1).min() > 0.1, "customers differ"
    np.testing.assert_allclose(scores, expected, rtol=2e-4, atol=2e-4)


def test_the_world_asks_for_every_term() -> None:
    loops = Loops(shaken("one taste", "dot"), data())
    assert (loops.sales == 0).any() or len(set(loops.sales)) > 10
    assert max(len(loops.counts(code)) for code in ASKED) > 3, "short histories are cut"
    assert len({len(loops.counts(code)) for code in ASKED if code >= 0}) > 2


@pytest.mark.parametrize("similarity", get_args(Similarity))
@pytest.mark.parametrize("shape", SHAPES)
def test_pairs_score_as_the_whole_catalogue_does(shape: str, similarity: Similarity) -> None:
    model, random = shaken(shape, similarity), np.random.default_rng(0)
    batch = data().batch(np.arange(-1, CUSTOMERS, dtype=np.int32))
    rows, codes = random.integers(len(batch), size=3_000), random.integers(PRODUCTS, size=3_000).astype(np.int32)
    whole = model.score(batch)
    np.testing.assert_allclose(model.score_pairs(batch, rows, codes), whole[rows, codes], rtol=1e-4, atol=1e-3)
    some = torch.tensor([7, 0, 39, 7])
    scorer = model._scorer(batch)
    wide = scorer.pairs(torch.arange(len(batch))[:, None], some[None])
    np.testing.assert_allclose(wide.detach().numpy(), whole[:, some], rtol=1e-4, atol=1e-3)
    part = scorer.base(slice(5, 9)).detach().numpy()
    np.testing.assert_allclose(part, scorer.base().detach().numpy()[:, 5:9], rtol=1e-4, atol=1e-3)
    assert model.score_pairs(batch, rows[:0], codes[:0]).shape == (0,)


@pytest.mark.parametrize("shape", ["one taste", "identity", "three tastes"])
def test_vectors_and_biases_rebuild_the_score_of_what_is_not_owned(shape: str) -> None:
    model = shaken(shape, "dot")
    batch = data().batch(np.arange(-1, CUSTOMERS, dtype=np.int32))
    tastes, products = model.customer_vectors(batch), model.product_vectors()
    assert (tastes.shape, products.shape) == ((len(batch), model.tastes, 5), (PRODUCTS, 5))
    rebuilt = np.einsum("btd,id->bti", tastes, products).max(axis=1)
    rebuilt = rebuilt + model.product_biases() + model.customer_biases(batch)[:, None]
    foreign = batch.history.toarray() == 0
    np.testing.assert_allclose(model.score(batch)[foreign], rebuilt[foreign], rtol=1e-4, atol=1e-4)
    assert not np.allclose(model.score(batch)[~foreign], rebuilt[~foreign], atol=0.1)


def test_hidden_ids_leave_the_content() -> None:
    model = shaken("identity", "dot")
    net, batch = model.network, data().batch(np.arange(6, dtype=np.int32))
    ask, shares = model._look.ask(batch, 0, 500), torch.from_numpy(model.shares_)[None]
    nobody = replace(ask, ids=torch.zeros_like(ask.ids))
    keep = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])
    with torch.no_grad():
        known, unknown, some = (
            Scorer(net, *at).all()
            for at in (
                (ask, model._vectors, shares, torch.ones(6)),
                (nobody, model._vectors, shares, torch.ones(6)),
                (ask, model._vectors, shares, keep),
            )
        )
        assert ((known - unknown).abs().amax(dim=1) > 1e-3).all()
        torch.testing.assert_close(some, torch.where(keep[:, None] > 0, known, unknown))
        hidden = net.product_vectors(torch.zeros(PRODUCTS))
        torch.testing.assert_close(hidden, net.product(net.content))
        assert ((hidden - model._vectors).abs().amax(dim=1) > 1e-3).any()


def test_what_was_handed_out_is_the_callers() -> None:
    model = shaken("one taste", "dot")
    batch = data().batch(np.arange(4, dtype=np.int32))
    before = model.score(batch).copy()
    handed: list[Floats] = [model.product_vectors(), model.customer_vectors(batch), model.product_biases()]
    handed += [model.customer_biases(batch), model.score(batch)]
    for array in [*handed, *(value for name, value in model.state()[0].items() if name.startswith("net__"))]:
        array[...] = 9
    np.testing.assert_array_equal(model.score(batch), before)
