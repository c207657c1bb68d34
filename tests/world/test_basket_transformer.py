"""The basket transformer in worlds whose answer is known, and what its settings promise."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tests.contract.worlds import CUSTOMERS, world

from aisle.data.dataset import Dataset
from aisle.data.schema import CleanTables
from aisle.errors import UsageError
from aisle.models.base import Biased, Embeds, LearnsInEpochs
from aisle.models.basket_transformer import BasketTransformer
from aisle.models.nn import text
from aisle.models.nn.basket_tasks import step_size
from aisle.models.nn.journeys import usual_length
from aisle.models.nn.train import Epoch
from aisle.types import DAY, Floats

CYCLE = 12
QUICK: dict[str, Any] = {"dim": 16, "epochs": 2, "refit": False}


def sequences(rows: list[list[int]], attributes: dict[str, list[str]] | None = None, **products: list[str]) -> Dataset:
    """One product a basket, in order; the last lies at 0 and is what is asked for."""
    lines = pl.DataFrame(
        {
            "customer_id": [f"c{u:04}" for u, row in enumerate(rows) for _ in row],
            "product_id": [f"p{i:03}" for row in rows for i in row],
            "sequence": [place - len(row) + 1 for row in rows for place in range(len(row))],
            "quantity": 1.0,
        }
    )
    people = {"customer_id": [f"c{u:04}" for u in range(len(rows))], **(attributes or {})}
    count = max(max(row) for row in rows if row) + 1
    goods = {"product_id": [f"p{i:03}" for i in range(count)], **products}
    tables = CleanTables(transactions=lines, customers=pl.DataFrame(people), products=pl.DataFrame(goods))
    return Dataset.of(tables).before(0)


def best(scores: Floats) -> list[int]:
    return [int(place) for place in scores.argmax(axis=1)]


def test_it_learns_what_follows_what() -> None:
    """The next product is the one after the last but one: neither counts nor the last product alone can tell."""
    random = np.random.default_rng(0)
    rows = []
    for _ in range(300):
        row = random.integers(0, CYCLE, 2).tolist()
        for _ in range(int(random.integers(3, 9))):
            row.append((row[-2] + 1) % CYCLE)
        rows.append(row)
    data = sequences(rows)
    settings: dict[str, Any] = {"repeat": False, "content": False, "dropout": 0.0, "dim": 32, "learning_rate": 0.01}
    model = BasketTransformer(**settings, epochs=8, refit=False).fit(data)
    found = best(model.score(data.batch(np.arange(300, dtype=np.int32))))
    assert np.mean([f == row[-1] for f, row in zip(found, rows, strict=True)]) > 0.9
    curve = model.training_["validation"]
    assert curve[model.epochs_] == max(curve)


def test_attributes_answer_for_customers_without_purchases() -> None:
    random = np.random.default_rng(1)
    kinds = random.integers(0, 2, 200)
    rows = [(6 * kind + random.integers(0, 6, 4)).tolist() for kind in kinds]
    rows[0], rows[1] = [int(kinds[0]) * 6], [int(kinds[1]) * 6]  # nothing before the question
    data = sequences(rows, {"gender": ["FM"[kind] for kind in kinds]})
    model = BasketTransformer(dim=16, epochs=8, learning_rate=0.02, dropout=0.0).fit(data)
    scores = model.score(data.batch(np.arange(2, dtype=np.int32)))
    assert [place // 6 for place in best(scores)] == kinds[:2].tolist()


def test_content_speaks_for_products_that_hardly_sold() -> None:
    """Customers stay in one category; a product sold once is reached by customers of its category."""
    random = np.random.default_rng(2)
    rows = [(10 * (u % 2) + random.integers(0, 9, 5)).tolist() for u in range(200)]
    rows[0][0], rows[1][0] = 9, 19
    data = sequences(rows, category_1=["one"] * 10 + ["two"] * 10)
    model = BasketTransformer(dim=16, epochs=15, learning_rate=0.01, dropout=0.0, repeat=False).fit(data)
    assert model.network.tower.has_id.tolist() == [1.0] * 9 + [0.0] + [1.0] * 9 + [0.0]
    scores = model.score(data.batch(np.arange(2, 200, dtype=np.int32)))
    nearer = scores[:, 9] > scores[:, 19]
    assert np.mean(nearer == (np.arange(2, 200) % 2 == 0)) > 0.95


@cache
def data() -> Dataset:
    return world()


@cache
def fitted() -> BasketTransformer:
    return BasketTransformer(**QUICK).fit(data())


def everyone(dataset: Dataset) -> Floats:
    return fitted().score(dataset.batch(np.arange(CUSTOMERS, dtype=np.int32)))


def test_it_keeps_its_protocols() -> None:
    for protocol in (Embeds, Biased, LearnsInEpochs):
        assert isinstance(fitted(), protocol)
    batch = data().batch(np.arange(5, dtype=np.int32))
    taste = fitted().customer_vectors(batch)[:, 0] @ fitted().product_vectors().T
    expected = taste + fitted().product_biases() + fitted().customer_biases(batch)[:, None]
    scores, own = fitted().score(batch), batch.history.toarray() > 0
    np.testing.assert_allclose(scores[~own], expected[~own], rtol=1e-4, atol=1e-5)
    assert not np.allclose(scores[own], expected[own])


def test_what_lies_beyond_the_tokens_still_counts_as_one_s_own() -> None:
    model = BasketTransformer(**QUICK | {"length": 2, "epochs": 0}).fit(data())
    batch = data().batch(np.arange(CUSTOMERS, dtype=np.int32))
    own = batch.history.toarray() > 0
    scores = model.score(batch)
    assert all(scores[row, own[row]].min() > scores[row, ~own[row]].max() for row in np.flatnonzero(~batch.empty))


def test_no_epoch_that_helps_leaves_the_start() -> None:
    model = BasketTransformer(**QUICK | {"learning_rate": 5.0, "epochs": 1}).fit(data())
    assert model.epochs_ == 0
    batch = data().batch(np.arange(CUSTOMERS, dtype=np.int32))
    start = BasketTransformer(**QUICK | {"epochs": 0}).fit(data())
    np.testing.assert_array_equal(model.score(batch), start.score(batch))


def test_a_stopped_fit_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    settings = QUICK | {"refit": True}

    class Stop(Exception):
        pass

    def stop(epoch: Epoch) -> None:
        raise Stop

    with pytest.raises(Stop):
        BasketTransformer(**settings).fit(data(), checkpoint=tmp_path, watch=stop)
    told: list[int] = []
    model = BasketTransformer(**settings).fit(
        data(), checkpoint=tmp_path, watch=lambda epoch: told.append(epoch.number)
    )
    assert told[0] == 2
    whole = BasketTransformer(**settings).fit(data())
    arrays, other = model.state()[0], whole.state()[0]
    assert all(arrays[name].tobytes() == other[name].tobytes() for name in other)


def test_going_on_with_the_same_data_for_no_epochs_changes_nothing() -> None:
    model = BasketTransformer(**QUICK).fit(data())
    model.fit_partial(data(), epochs=0)
    scores = model.score(data().batch(np.arange(CUSTOMERS, dtype=np.int32)))
    np.testing.assert_allclose(scores, everyone(data()), rtol=1e-3, atol=1e-3)


def test_going_on_meets_new_products_and_values() -> None:
    rows = [[i % 8, (i + 1) % 8, (i + 2) % 8, (i + 3) % 8] for i in range(60)]
    small = sequences(rows, category_1=["a", "b"] * 4)
    model = BasketTransformer(dim=16, epochs=2, text="none").fit(small)
    ids = model.network.tower.ids.weight.detach().clone()
    larger = sequences([*rows, [8, 9, 8, 9, 8], [9, 8, 9, 8, 9]], category_1=["a", "b"] * 4 + ["c", "a"])
    model.fit_partial(larger, epochs=0)
    after = model.network.tower.ids.weight
    torch.testing.assert_close(after[:8], ids)
    assert len(after) == 10
    assert model.score(larger.batch(np.arange(3, dtype=np.int32))).shape == (3, 10)
    model.fit_partial(larger, epochs=1)
    assert model.epochs_ == len(model.training_["loss"]) or model.training_["epochs"] == model.epochs_


def test_going_on_epoch_by_epoch_learns_as_much_as_at_once() -> None:
    rows = [[i % 8, (i + 1) % 8, (i + 2) % 8, (i + 3) % 8] for i in range(60)]

    def losses(*epochs: int) -> list[float]:
        model = BasketTransformer(dim=16, epochs=1, dropout=0.0, refit=False).fit(sequences(rows))
        for count in epochs:
            model.fit_partial(sequences(rows), epochs=count)
        found: list[float] = model.training_["loss"]
        return found[1:]

    apart, once = losses(1, 1, 1, 1, 1, 1), losses(6)
    assert once[-1] < once[0] - 0.1
    assert apart[-1] < apart[0] - 0.7 * (once[0] - once[-1])  # the moments of Adam alone start anew


@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax", "gbce"])
def test_losses_train(loss: str) -> None:
    model = BasketTransformer(**QUICK | {"loss": loss, "n_negatives": 16}).fit(data())
    assert np.isfinite(model.training_["loss"]).all()
    assert model.training_["loss"][-1] < model.training_["loss"][0]


def test_bfloat16_is_near_float32() -> None:
    one, other = (BasketTransformer(**QUICK, precision=p).fit(data()) for p in ("float32", "bfloat16"))
    assert one.training_["loss"] != other.training_["loss"]
    np.testing.assert_allclose(one.training_["loss"], other.training_["loss"], rtol=0.02)


def test_an_encoder_of_one_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(text.ENCODERS, "lengths", lambda texts: np.array([[len(t), 1.0] for t in texts]))
    model = BasketTransformer(**QUICK | {"epochs": 0}, text="lengths").fit(data())
    assert model.network.tower.text_of.shape[1] == 2


def test_texts_that_share_stems_are_near() -> None:
    names = pl.Series(["red wine glass", "wine glasses red", "blue bicycle bell", "bicycle bells", None, "tea"])
    found = text.text_vectors(names, np.array([True] * 5 + [False]), "ngrams", 0)
    assert found[0] @ found[1] > 0.5 > found[0] @ found[2]
    assert found[2] @ found[3] > 0.5
    assert (found[4] == 0).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: NOT CHECKED there")
def test_a_gpu_learns_and_a_cpu_reads_it() -> None:
    model = BasketTransformer(**QUICK, device="cuda").fit(data())
    batch = data().batch(np.arange(CUSTOMERS, dtype=np.int32))
    arrays, values = model.state()
    back = BasketTransformer(**model.params() | {"device": "cpu"}).restore(arrays, values)
    np.testing.assert_allclose(back.score(batch), model.score(batch), rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without a GPU is asked")
def test_without_a_gpu_what_one_has_learnt_is_read_and_nothing_is_learnt() -> None:
    model = BasketTransformer(**QUICK).fit(data())
    batch = data().batch(np.arange(CUSTOMERS, dtype=np.int32))
    back = BasketTransformer(**model.params() | {"device": "cuda"})
    np.testing.assert_array_equal(back.restore(*model.state()).score(batch), model.score(batch))
    with pytest.raises(UsageError, match="no GPU"):
        back.fit(data())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"loss": "wmrb"}, "sampled_softmax"),
        ({"dim": 15}, "heads"),
        ({"dropout": 1.0}, "0 <= dropout < 1"),
        ({"length": 0}, "above 0"),
        ({"layers": -1}, "layers is -1; it must be 0 or more"),
        ({"average": -0.5}, "average is -0.5; it must be 0 or more"),
        ({"target_days": 0}, "target_days"),
        ({"text": "nonsense"}, "ngrams"),
        ({"precision": "float16"}, "bfloat16"),
        ({"device": "tpu"}, "cuda"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        BasketTransformer(**wrong)


def test_without_taste_customers_who_bought_the_same_are_alike_still() -> None:
    model = BasketTransformer(**QUICK | {"epochs": 0}).fit(data())
    batch = data().batch(np.arange(CUSTOMERS, dtype=np.int32))
    vectors = model.customer_vectors(batch)[:, 0]
    assert (vectors[~batch.empty] != 0).any(axis=1).all()
    assert np.abs(vectors @ model.product_vectors().T).max() < 1e-5, "and no score moves"


@pytest.mark.parametrize("days", [0, 3])
def test_next_to_nothing_bought_yet(days: int) -> None:
    start = data().before(int(data().all_events.time.min()) + days * DAY)
    model = BasketTransformer(**QUICK).fit(start)
    scores = model.score(data().batch(np.arange(CUSTOMERS, dtype=np.int32)))
    assert np.isfinite(scores).all()
    model.fit_partial(start)
    assert np.isfinite(model.score(data().batch(np.arange(5, dtype=np.int32)))).all()


@pytest.mark.parametrize(
    ("baskets", "length"),
    [([], 50), ([0, 0], 50), ([3, 70], 70), ([60] * 9 + [900], 60), ([60] * 8 + [900, 901], 200), ([0] * 9 + [80], 80)],
)
def test_length_holds_nine_in_ten_journeys(baskets: list[int], length: int) -> None:
    assert usual_length(np.array(baskets, dtype=np.int64)) == length


def test_length_is_chosen_at_fit_and_stays() -> None:
    rows = [[int(place) % 7 for place in range(80)] for _ in range(20)]
    model = BasketTransformer(**QUICK | {"epochs": 0}).fit(sequences(rows))
    assert model.length_ == 79  # the last basket of a row is not known yet
    model.fit_partial(sequences([[1, 2, 3]] * 20), epochs=0)
    assert model.length_ == 79
    again = BasketTransformer(**QUICK | {"epochs": 0}).restore(*model.state())
    assert again.length_ == 79
    assert BasketTransformer(**QUICK | {"epochs": 0}, length=5).fit(sequences(rows)).length_ == 5


@pytest.mark.parametrize(("pieces", "size"), [(100, 16), (512, 32), (1_000, 32), (10_000, 50), (100_000, 128)])
def test_an_epoch_has_enough_steps(pieces: int, size: int) -> None:
    assert step_size(pieces, 128) == size
    assert step_size(pieces, 8) == 8
