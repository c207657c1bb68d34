"""Every option of the hybrid does what it says, in small worlds where that shows."""

from __future__ import annotations

from functools import cache
from itertools import count
from typing import Any, get_args

import numpy as np
import pytest
import torch
from tests.world.hybrid_shops import baskets, new_alone, pairs, returning
from tests.world.test_hybrid import COLD, ONE_WINDOW, blocks, everyone, habits, share_of_own_block
from torch import nn

from aisle.data.dataset import Dataset
from aisle.errors import UsageError
from aisle.models.hybrid_factorization import HybridFactorization
from aisle.models.nn import start
from aisle.models.nn.look import Look
from aisle.models.nn.losses import SAMPLED
from aisle.models.nn.regression import REGRESSION
from aisle.models.nn.sampling import Negatives
from aisle.models.nn.similarity import Similarity
from aisle.models.nn.towers import TOWERS


@cache
def world() -> Dataset:
    return blocks()


@pytest.fixture
def ignorant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known at the start: what is right afterwards was learnt."""
    monkeypatch.setattr(start.Tastes, "vectors", lambda self, ridge, dim: np.zeros((len(self.sold), dim), np.float32))


@pytest.fixture
def rising(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every epoch is judged better than the one before: all of them are kept."""
    better = count()
    monkeypatch.setattr("aisle.models.hybrid_factorization.boosted", lambda *_: float(next(better)))


def learnt(**settings: Any) -> HybridFactorization:
    plain = {"dim": 12, "epochs": 10, "learning_rate": 0.02, "n_negatives": 32, "target_days": ONE_WINDOW}
    return HybridFactorization(**plain | settings).fit(world())


def content_alone(model: HybridFactorization) -> float:
    """Share of their own block in what newcomers and cold products get: chance is a quarter."""
    scores = model.score(world().batch(everyone(world())))
    assert np.isfinite(scores).all()
    old = share_of_own_block(world(), scores, "old", "cold", COLD)
    return min(old, share_of_own_block(world(), scores, "new", "warm", 10))


def without_gradient(model: HybridFactorization) -> set[str]:
    """Parameters that the last batch did not move."""
    named = model.network.named_parameters()
    return {name for name, p in named if p.grad is None or not float(p.grad.abs().sum()) > 0}


@pytest.mark.usefixtures("ignorant")
@pytest.mark.parametrize("loss", ["softmax", *SAMPLED, "rmse_dense", "separation_dense"])
def test_every_loss_finds_the_blocks(loss: Any) -> None:
    model = learnt(loss=loss, customer_tower="linear", identity=True, seed=1)
    assert without_gradient(model) <= {"customer_bias.weight"}  # the same for all products: it moves no rank
    assert content_alone(model) > 0.8


@pytest.mark.usefixtures("ignorant")
@pytest.mark.parametrize("similarity", get_args(Similarity))
@pytest.mark.parametrize("loss", ["softmax", "wmrb", "rmse_dense"])
def test_every_similarity_serves_every_kind_of_loss(loss: Any, similarity: Similarity) -> None:
    model = learnt(loss=loss, similarity=similarity)
    blind = {"customer_bias.weight"} | ({"lift"} if similarity == "cosine" else set())  # a cosine knows no length
    assert without_gradient(model) <= blind
    found = content_alone(model)
    assert found > 0.8 or (loss, similarity) == ("rmse_dense", "euclidean")  # no distance is 0 or 1 alone


SIDES = [(f"{side}_tower", tower, "dot") for side in ("product", "customer") for tower in TOWERS]
SIDES += [("product_tower", "normalized_linear", "euclidean"), ("product_tower", "relu", "cosine")]
SIDES += [("customer_tower", "mlp", "euclidean"), ("customer_tower", "weighted_pass_through", "cosine")]


@pytest.mark.usefixtures("ignorant")
@pytest.mark.parametrize(("side", "tower", "similarity"), SIDES)
def test_every_tower_finds_the_blocks_on_either_side(side: str, tower: str, similarity: Similarity) -> None:
    look = Look.of(world(), identity=False)
    width = len((look.products if side == "product_tower" else look.customers).groups)
    dim = width if tower.endswith("pass_through") else 12
    model = learnt(**{side: tower, "similarity": similarity, "dim": dim})
    unmoved = without_gradient(model) - {"customer_bias.weight", "lift"}
    assert not unmoved
    assert content_alone(model) > 0.8


@pytest.mark.usefixtures("ignorant")
@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("loss", ["softmax", "bpr", "rmse_dense"])
def test_several_tastes_find_the_blocks(loss: Any, attention: bool) -> None:
    model = learnt(loss=loss, tastes=3, attention=attention)
    unmoved = without_gradient(model) - {"customer_bias.weight"}
    assert not unmoved or (not attention and len({name.split(".")[1] for name in unmoved}) < 3)  # never the best taste
    assert content_alone(model) > 0.8


@pytest.mark.usefixtures("ignorant")
@pytest.mark.parametrize("negatives", get_args(Negatives))
@pytest.mark.parametrize("loss", ["sampled_softmax", "bpr", "warp"])
def test_every_way_to_draw_negatives_finds_the_blocks(loss: Any, negatives: Negatives) -> None:
    assert content_alone(learnt(loss=loss, negatives=negatives, n_negatives=24)) > 0.8


@pytest.mark.parametrize("loss", REGRESSION)
def test_losses_over_values_run_with_what_came_back(loss: Any) -> None:
    data = returning(explicit=False)
    model = HybridFactorization(loss=loss, dim=6, epochs=8, learning_rate=0.01, dislike=1.0, target_days=80).fit(data)
    assert np.isfinite(model.score(data.batch(everyone(data)))).all()
    assert model.training_["loss"][-1] < 0.99 * model.training_["loss"][0]


class Mine(nn.Module):
    """A body with layers that chance and the mode of the network change."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.grids = nn.Linear(dim, dim)
        self.ids = nn.Linear(dim, dim)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.as_tensor(self.ids(self.drop(torch.tanh(self.grids(x)))))


def test_a_module_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOWERS, "mine", lambda dim: (dim, Mine(dim)))
    data = habits()
    settings: dict[str, Any] = {"dim": 8, "epochs": 3, "product_tower": "mine", "customer_tower": "mine"}
    made = []
    for seed in range(2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        made.append(HybridFactorization(**settings).fit(data))
        assert torch.equal(before, torch.get_rng_state()), "chance within the module is ours"
    batch = data.batch(everyone(data))
    assert made[0].score(batch).tobytes() == made[1].score(batch).tobytes()
    copy = HybridFactorization(**made[0].params()).restore(*made[0].state())
    assert copy.score(batch).tobytes() == made[0].score(batch).tobytes()
    before = made[0].network.get_parameter("product.body.grids.weight").detach().clone()
    made[0].fit_partial(data, epochs=0)
    assert torch.equal(before, made[0].network.get_parameter("product.body.grids.weight"))
    assert made[0].score(batch).tobytes() == made[1].score(batch).tobytes()
    params = made[0].params()
    monkeypatch.delitem(TOWERS, "mine")
    with pytest.raises(UsageError, match=r"product_tower is 'mine'; allowed: linear"):
        HybridFactorization(**params)


def lead(data: Dataset, **settings: Any) -> float:
    """By how much a's products lie above b's for people without a past."""
    model = HybridFactorization(dim=6, epochs=4, learning_rate=0.02, target_days=20, **settings).fit(data)
    scores = model.score(data.batch(np.array([-1], dtype=np.int32)))[0]
    first = np.array([name[0] == "a" for name in data.products.vocab.ids])
    return float(scores[first].mean() - scores[~first].mean())


@pytest.mark.usefixtures("rising")
@pytest.mark.parametrize("weighing", ["quantity", "amount"])
def test_what_weighs_more_counts_more(weighing: Any) -> None:
    data = pairs(lambda product, _: 40.0 if product[0] == "a" else 1.0)
    assert lead(data, weighing=weighing) > lead(data) + 0.3
    swapped = pairs(lambda product, _: 40.0 if product[0] == "b" else 1.0)
    assert lead(swapped, weighing=weighing) < lead(swapped) - 0.3


@pytest.mark.usefixtures("rising")
def test_later_windows_count_more() -> None:
    data = pairs(lambda product, day: float((day >= 80) == (product[0] == "a") or day % 5 == 0))
    assert lead(data, weighing="recency") > lead(data) + 0.05
    swapped = pairs(lambda product, day: float((day >= 80) == (product[0] == "b") or day % 5 == 0))
    assert lead(swapped, weighing="recency") < lead(swapped) - 0.05


@pytest.mark.usefixtures("rising")
@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("loss", ["softmax", "bpr", "rmse_dense"])
def test_what_comes_back_sinks_where_dislikes_count(loss: Any, explicit: bool) -> None:
    data = returning(explicit=explicit)
    row = data.customers.vocab.codes(["anew"])
    peers = data.products.vocab.codes([f"a-{n}" for n in range(8)])
    ahead = []
    for dislike in (0.0, 2.0):
        model = HybridFactorization(dim=6, epochs=4, learning_rate=0.02, loss=loss, dislike=dislike, target_days=20)
        scores = model.fit(data).score(data.batch(row))[0, peers]
        ahead.append(float(scores[0] - scores[1:].mean()))
    clear = 0.03 if loss == "rmse_dense" else 0.1
    assert ahead[0] > -clear
    assert ahead[1] < ahead[0] - clear
    assert scores[0] < scores[1:].min()


@pytest.mark.parametrize("size", [3, 7])
@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax", "rmse_dense"])
def test_without_order_the_rest_of_a_basket_is_foretold_and_own_products_come_last(loss: Any, size: int) -> None:
    data = baskets(size)
    model = HybridFactorization(dim=8, epochs=6, loss=loss, learning_rate=0.01).fit(data)
    assert len(model.training_["loss"]) >= 1
    batch = data.batch(everyone(data))
    scores, own = model.score(batch), batch.history.toarray() > 0
    assert (np.where(own, scores, -np.inf).max(axis=1) < np.where(own, np.inf, scores).min(axis=1)).all()
    best = np.argsort(-scores, axis=1)[:, :5]
    products, people = data.products.vocab.ids.to_list(), data.customers.vocab.ids.to_list()
    assert np.mean([[products[i][0] == people[u][0] for i in row] for u, row in enumerate(best)]) > 0.85


def test_where_nobody_buys_twice_own_products_come_last() -> None:
    data = new_alone()
    batch = data.batch(everyone(data))
    scores, own = HybridFactorization(dim=6, epochs=2).fit(data).score(batch), batch.history.toarray() > 0
    assert (np.where(own, scores, -np.inf).max(axis=1) < np.where(own, np.inf, scores).min(axis=1)).all()
