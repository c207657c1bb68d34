"""Learning goes on from more or other data: what was learnt stays, by name, and what is new finds its place."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from tests.world.hybrid_shops import Line, baskets, shop
from tests.world.test_hybrid import everyone, habits

from aisle.data.dataset import Dataset
from aisle.models import hybrid_factorization
from aisle.models.hybrid_factorization import HybridFactorization
from aisle.models.nn import start
from aisle.models.nn.train import Schedule, Trained, train

SETTINGS: dict[str, Any] = {"dim": 8, "epochs": 3, "learning_rate": 0.01, "identity": True}


@pytest.fixture(autouse=True)
def rising(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every epoch is judged better than the one before: all of them are kept."""
    better = count()
    monkeypatch.setattr("aisle.models.hybrid_factorization.boosted", lambda *_: float(next(better)))


def lines_of(kinds: str, people: int, goods: int, days: range, seed: int = 0, prefix: str = "") -> list[Line]:
    """People of a kind buy its products, two at a time."""
    random = np.random.default_rng(seed)
    return [
        (f"{kind}{prefix}{person:02}", f"{kind}-{prefix}{product}", int(day), 1.0, None)
        for kind in kinds
        for person in range(people)
        for day in np.sort(random.choice(days, 8, replace=False))
        for product in random.choice(goods, 2, replace=False)
    ]


def names_of(kinds: str, words: str) -> dict[str, str]:
    return {f"{kind}-{n}": f"{words}{kind} {kind * 3}" for kind in kinds for n in range(12)}


def early() -> Dataset:
    return shop(lines_of("bdf", 25, 10, range(100)), names=names_of("bdf", "good"))


def late(extra: tuple[str, ...] = ()) -> Dataset:
    """More of the same, new customers and products whose ids sort in between, a new kind, new words."""
    lines = lines_of("bdf", 25, 10, range(100)) + lines_of("bdf", 25, 10, range(100, 140), 1)
    lines += lines_of("acf", 10, 4, range(60, 140), 2, prefix="new")
    return shop(lines, names=names_of("abcdf", "fine"), more=extra)


def by_id(model: HybridFactorization, data: Dataset) -> dict[str, np.ndarray]:
    return dict(zip(data.products.vocab.ids.to_list(), model._vectors.numpy().copy(), strict=True))


def state(model: HybridFactorization) -> dict[str, bytes]:
    return {key: array.tobytes() for key, array in model.state()[0].items()}


def test_the_first_call_is_a_fit() -> None:
    one, other = HybridFactorization(**SETTINGS), HybridFactorization(**SETTINGS)
    assert state(one.fit_partial(early())) == state(other.fit(early()))
    assert one.training_["loss"] == other.training_["loss"]


@pytest.mark.parametrize("make", [early, habits, lambda: baskets(6)])
@pytest.mark.parametrize("settings", [{}, {"tastes": 2, "attention": True, "product_tower": "relu"}])
def test_nothing_is_lost_on_the_way(make: Any, settings: dict[str, Any]) -> None:
    data = make()
    model = HybridFactorization(**SETTINGS | settings).fit(data)
    before = state(model)
    model.network.boost.fill_(1.0)  # as judges set it, where there are any
    before["net__boost"] = np.float32(1.0).tobytes()
    epochs = model.epochs_
    assert state(model.fit_partial(data, epochs=0)) == before
    assert model.epochs_ == epochs
    model.fit_partial(data, epochs=2)
    assert model.epochs_ == epochs + 2
    assert state(model) != before


def test_it_goes_on_and_does_not_start_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start.Tastes, "vectors", lambda self, ridge, dim: np.zeros((len(self.sold), dim), np.float32))
    data = early()
    fresh = HybridFactorization(**SETTINGS | {"epochs": 1}).fit(data).training_["loss"]
    model = HybridFactorization(**SETTINGS | {"epochs": 6}).fit(data)
    fitted = list(model.training_["loss"])
    for _ in range(3):
        model.fit_partial(data)
    losses = model.training_["loss"]
    assert losses[:6] == fitted
    assert len(losses) == 9
    assert model.training_["epochs"] == model.epochs_ == 9
    assert max(losses[6:]) < fresh[0] - 0.5 * (fresh[0] - fitted[-1])
    assert losses[-1] < losses[5]


def test_each_call_meets_other_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def spy(net: Any, size: int, step: Any, schedule: Schedule, *rest: Any, **more: Any) -> Trained:
        seeds.append(schedule.seed)
        return train(net, size, step, schedule, *rest, **more)

    monkeypatch.setattr(hybrid_factorization, "train", spy)
    model = HybridFactorization(**SETTINGS).fit(early())
    for _ in range(2):
        model.fit_partial(early())
    assert len(set(seeds[-3:])) == 3


def test_what_was_learnt_is_carried_by_name_though_codes_shift() -> None:
    model = HybridFactorization(**SETTINGS).fit(early())
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    labels = model._look.labels
    model.fit_partial(late(), epochs=0)
    now, places = model.network.state_dict(), model._look.labels
    assert "product columns" in labels
    assert {"category_1: a", "category_1: c", "[words]: fineb"} <= set(places["product columns"])
    assert {"category_1: a", "[words]: fineb"} & set(labels["product columns"]) == set()
    tables = {
        "ids.weight": "products",
        "product.first.weight": "product columns",
        "product.first.gates": "product blocks",
        "product_bias.weight": "product columns",
        "customer_bias.weight": "customer columns",
        "tastes.0.tower.first.weight": "customer columns",
        "tastes.0.tower.first.gates": "customer blocks",
        "tastes.0.ids.weight": "customers",
    }
    shifted = 0
    for name, value in before.items():
        kind = tables.get(name)
        if kind is None:
            if name in dict(model.network.named_parameters()):
                assert torch.equal(now[name], value), name
            continue
        both = [label for label in labels[kind] if label in places[kind]]
        assert len(both) > 1 or kind == "product blocks"
        here, there = ([order[kind].index(label) for label in both] for order in (places, labels))
        shifted += here != there
        assert torch.equal(now[name][here], value[there]), name
    assert shifted > 4, "codes must shift for this to say anything"


def test_new_products_start_among_what_their_buyers_buy() -> None:
    """Their content says nothing: only the buyers do."""
    buyers = shop(lines_of("bdf", 25, 10, range(100)) + [(f"d{p:02}", "a-hot", 50 + p, 1.0, None) for p in range(25)])
    other = HybridFactorization(**SETTINGS).fit(plain(early())).fit_partial(plain(buyers), epochs=0)
    vectors = by_id(other, buyers)
    means = {k: np.mean([vectors[f"{k}-{n}"] for n in range(10)], axis=0) for k in "bdf"}
    hot = vectors["a-hot"]
    cosine = {k: float(hot @ mean / np.linalg.norm(hot) / np.linalg.norm(mean)) for k, mean in means.items()}
    assert cosine["d"] > 0.8 > 0.5 > max(cosine["b"], cosine["f"])
    size = np.mean([np.linalg.norm(vector) for name, vector in vectors.items() if name != "a-hot"])
    assert np.linalg.norm(hot) == pytest.approx(size, rel=0.01)


def test_buyers_say_more_of_a_new_product_than_its_category() -> None:
    data = shop(lines_of("bdf", 25, 10, range(100)) + [(f"d{p:02}", "b-hot", 50 + p, 1.0, None) for p in range(25)])
    model = HybridFactorization(**SETTINGS | {"epochs": 0}).fit(shop(lines_of("bdf", 25, 10, range(100))))
    vectors = by_id(model.fit_partial(data, epochs=0), data)
    means = {k: np.mean([vectors[f"{k}-{n}"] for n in range(10)], axis=0) for k in "bdf"}
    hot = vectors["b-hot"]
    cosine = {k: float(hot @ mean / np.linalg.norm(hot) / np.linalg.norm(mean)) for k, mean in means.items()}
    assert cosine["d"] > 0.95
    assert cosine["b"] < 0.4


def test_new_products_of_new_customers_start_from_their_content() -> None:
    data = late(extra=("f-unsold",))
    model = HybridFactorization(**SETTINGS).fit(early()).fit_partial(data, epochs=0)
    vectors = by_id(model, data)
    means = {k: np.mean([vectors[f"{k}-{n}"] for n in range(10)], axis=0) for k in "bdf"}
    for name in ("f-new0", "f-new3", "f-unsold"):
        assert vectors[name] @ means["f"] > 0.3 * np.linalg.norm(vectors[name]) * np.linalg.norm(means["f"]) > 0
    content = model.network.product.first(model.network.content).detach().numpy()
    place = data.products.vocab.ids.to_list().index("f-new0")
    np.testing.assert_allclose(vectors["f-new0"], content[place], rtol=1e-5)


def plain(data: Dataset) -> Dataset:
    """The same without any content of products."""
    return replace(data, products=replace(data.products, tree=(), names=None))


def test_a_product_that_was_listed_unsold_starts_from_its_buyers_too() -> None:
    lines = lines_of("bdf", 25, 10, range(100))
    listed = shop(lines, more=("b-later",))
    sold = shop(lines + [(f"b{p:02}", "b-later", 60 + p, 1.0, None) for p in range(25)])
    model = HybridFactorization(**SETTINGS).fit(listed)
    unsold = by_id(model, listed)["b-later"]
    assert np.linalg.norm(unsold) > 0, "its content speaks"
    model.fit_partial(listed, epochs=0)
    np.testing.assert_array_equal(by_id(model, listed)["b-later"], unsold)
    model.fit_partial(sold, epochs=0)
    vectors = by_id(model, sold)
    later, peers = vectors["b-later"], np.mean([vectors[f"b-{n}"] for n in range(10)], axis=0)
    assert later @ peers / np.linalg.norm(later) / np.linalg.norm(peers) > 0.8
    assert np.linalg.norm(later) > 0.5 * np.mean([np.linalg.norm(vector) for vector in vectors.values()])


def test_new_data_alone_do_not_wipe_out_what_they_do_not_speak_of() -> None:
    first = habits()
    model = HybridFactorization(**SETTINGS).fit(first)
    batch = first.batch(everyone(first))
    own = batch.history.toarray() > 2
    before = by_id(model, first)
    events = first.all_events
    few = first.all_events.take(events.time >= first.end - 3 * first.unit)
    news = replace(first, all_events=few)
    assert len(np.unique(few.product)) < 60
    model.fit_partial(news, epochs=0)
    for name, vector in by_id(model, news).items():
        np.testing.assert_array_equal(vector, before[name])
    model.fit_partial(news, epochs=2)
    scores = model.score(batch)
    assert np.isfinite(scores).all()
    assert scores[own].mean() > scores[~own].mean() + 1, "people still buy things again"


def test_without_order_own_products_stay_last() -> None:
    data, more = baskets(6), baskets(7)
    model = HybridFactorization(**SETTINGS).fit(data).fit_partial(more, epochs=2)
    batch = more.batch(everyone(more))
    scores, own = model.score(batch), batch.history.toarray() > 0
    assert (np.where(own, scores, -np.inf).max(axis=1) < np.where(own, np.inf, scores).min(axis=1)).all()


def test_learning_goes_on_to_the_new_kind() -> None:
    data = late()
    model = HybridFactorization(**SETTINGS).fit(early()).fit_partial(data, epochs=8)
    people, goods = data.customers.vocab.ids.to_list(), data.products.vocab.ids.to_list()
    best = np.argsort(-model.score(data.batch(everyone(data))), axis=1)[:, :4]
    right = np.array([[goods[code][0] == person[0] for code in row] for person, row in zip(people, best, strict=True)])
    for kind in "abcdf":
        mine = [person[0] == kind for person in people]
        assert not any(mine) or right[mine].mean() > 0.8


def test_saved_in_between_it_goes_on_alike() -> None:
    model = HybridFactorization(**SETTINGS).fit(early())
    copy = HybridFactorization(**model.params()).restore(*model.state())
    assert state(copy.fit_partial(late(), epochs=2)) == state(model.fit_partial(late(), epochs=2))


def test_a_single_line_changes_nothing_that_was_learnt() -> None:
    data = early()
    model = HybridFactorization(**SETTINGS | {"identity": False}).fit(data)
    newcomers = data.batch(np.arange(data.shape[0], dtype=np.int32))
    newcomers = replace(newcomers, indptr=np.zeros_like(newcomers.indptr), lines=newcomers.lines.take(slice(0, 0)))
    parts = [model.customer_vectors(newcomers)[:, 0], model._vectors.numpy().copy()]
    looked = model._look
    tiny = shop([("b00", "b-0", 1, 1.0, None)], more=tuple(f"{kind}-{n}" for kind in "bdf" for n in range(10)))
    model.fit_partial(tiny, epochs=3)
    assert looked.products.columns == model._look.products.columns, "also what one line cannot tell apart"
    assert looked.customers.columns == model._look.customers.columns
    assert looked.customers.numbers == model._look.customers.numbers, "the scale of numbers stays"
    np.testing.assert_array_equal(model.customer_vectors(newcomers)[:, 0], parts[0])
    assert np.isfinite(model.score(tiny.batch(everyone(tiny)))).all()
    names = dict(zip(tiny.products.vocab.ids.to_list(), model._vectors.numpy(), strict=True))
    assert set(names) == set(data.products.vocab.ids.to_list())


def test_less_content_than_before_is_no_accident() -> None:
    model = HybridFactorization(**SETTINGS).fit(early())
    bare = plain(early())
    bare = replace(bare, customers=replace(bare.customers, tree=()))
    scores = model.fit_partial(bare, epochs=1).score(bare.batch(everyone(bare)))
    assert np.isfinite(scores).all()
    other = HybridFactorization(**SETTINGS).fit(bare.before(int(bare.all_events.time.min()) + 1))
    assert np.isfinite(other.fit_partial(early(), epochs=1).score(early().batch(everyone(early())))).all()


def test_names_of_what_is_not_sold_yet_are_not_seen() -> None:
    lines = lines_of("bdf", 25, 10, range(100))
    future: list[Line] = [(f"b{p:02}", f"b-future{p}", 110, 1.0, None) for p in range(10)]
    made = []
    for word in ("plain", "secret"):
        names = names_of("bdf", "good") | {f"b-future{p}": f"good {word}" for p in range(10)}
        data = shop(lines + future, names=names)
        cut = data.before(data.end - 5 * data.unit)
        model = HybridFactorization(**SETTINGS).fit(cut)
        made.append(model.score(cut.batch(everyone(cut))).tobytes())
        assert word not in model._look.products.words
        assert "bbb" in model._look.products.words
        assert model.fit_partial(data, epochs=0)._look.products.words.count(word) == 1
    assert made[0] == made[1]
