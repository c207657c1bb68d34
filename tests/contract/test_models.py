"""What every model of the registry promises, whoever wrote it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load, save

import aisle.data.dataset
from aisle.data.dataset import Dataset
from aisle.data.entities import Entities
from aisle.data.events import Batch
from aisle.errors import NotFittedError, UsageError
from aisle.kernels.topk import top_k
from aisle.models import MODELS, create, model_class
from aisle.models.base import Dotted, Model, ScoresFew
from aisle.models.scored import Scored
from aisle.types import DAY, UNKNOWN, Floats
from tests.contract.worlds import CUSTOMERS, CUT, PRODUCTS, other_future, shuffled, tables, world

NAMES = [name for name, place in MODELS.items() if find_spec(place.split(":")[0])]
EARLIER = CUT - 120 * DAY
EXACT = set(NAMES) - {"hybrid_factorization", "content_knn", "basket_transformer", "graph_filter", "ials"}
"""Models without dense matrix products over the batch, whose rounding may depend on its size."""

every_model = pytest.mark.parametrize("name", NAMES)


@cache
def data() -> Dataset:
    return world()


@cache
def fitted(name: str) -> Model:
    return create(name).fit(data())


def everyone(dataset: Dataset) -> Batch:
    return dataset.batch(np.arange(CUSTOMERS, dtype=np.int32))


def same(name: str, one: Floats, other: Floats) -> None:
    if name in EXACT:
        np.testing.assert_array_equal(one, other)
    else:
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def same_state(one: Model, other: Model) -> None:
    (arrays, values), (arrays_2, values_2) = one.state(), other.state()
    assert values == values_2
    assert arrays.keys() == arrays_2.keys()
    for key, array in arrays.items():
        assert array.tobytes() == arrays_2[key].tobytes(), key


@every_model
def test_registered_under_its_own_name(name: str) -> None:
    assert model_class(name).name == name


@every_model
def test_space_holds_settings_and_its_values_are_accepted(name: str) -> None:
    cls = model_class(name)
    assert set(cls.space) <= set(cls.settings())
    for setting, values in cls.space.items():
        assert getattr(create(name), setting) == values[0], "the default is the best guess"
        for value in values:
            assert getattr(create(name, **{setting: value}), setting) == value


@every_model
def test_unknown_setting_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="has no setting"):
        create(name, nonsense=1)


@every_model
def test_params_rebuild_the_model(name: str) -> None:
    model = create(name)
    again = type(model)(**model.params())
    assert again.params() == model.params()
    assert json.loads(json.dumps(model.params())) == model.params()


@every_model
def test_asking_before_fit_is_an_error(name: str) -> None:
    with pytest.raises(NotFittedError, match="fit"):
        create(name).score(everyone(data()))


@every_model
def test_replace_forgets(name: str) -> None:
    with pytest.raises(NotFittedError):
        replace(fitted(name)).score(everyone(data()))


@every_model
def test_scores_are_a_float32_matrix_without_nan(name: str) -> None:
    batch = everyone(data())
    scores = fitted(name).score(batch)
    assert scores.shape == (CUSTOMERS, PRODUCTS)
    assert scores.dtype == np.float32
    assert not np.isnan(scores).any()
    assert not np.isposinf(scores).any()
    dumb = batch.empty if fitted(name).needs_history else np.zeros(CUSTOMERS, dtype=bool)
    assert batch.empty.any(), "the world must hold a customer without history"
    np.testing.assert_array_equal(np.isneginf(scores).all(axis=1), dumb)


@every_model
def test_fit_returns_the_model_and_leaves_the_settings(name: str) -> None:
    model = create(name)
    before = model.params()
    assert model.fit(data()) is model
    assert model.params() == before


@every_model
def test_two_fits_are_equal_to_the_byte(name: str) -> None:
    same_state(fitted(name), create(name).fit(world()))


@every_model
def test_customers_may_be_gone_through_in_any_blocks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, other = fitted(name), world()
    monkeypatch.setattr(aisle.data.dataset, "BATCH_LINES", 37)
    assert len(list(other.batches())) > 9
    same_state(create(name).fit(other), usual)


@every_model
def test_refit_forgets(name: str) -> None:
    model = create(name).fit(data().before(EARLIER))
    same_state(model.fit(data()), fitted(name))


@every_model
def test_score_changes_nothing(name: str) -> None:
    model = create(name).fit(data())
    first = model.score(everyone(data())).copy()
    scores = model.score(everyone(data()))
    np.testing.assert_array_equal(first, scores)
    scores[:] = 7  # what was handed out is the caller's
    np.testing.assert_array_equal(model.score(everyone(data())), first)
    same_state(model, fitted(name))


@every_model
def test_neighbours_in_the_batch_do_not_matter(name: str) -> None:
    whole = fitted(name).score(everyone(data()))
    rows = np.random.default_rng(3).permutation(CUSTOMERS)[:23].astype(np.int32)
    same(name, fitted(name).score(data().batch(rows)), whole[rows])
    for row in rows[:5]:
        same(name, fitted(name).score(data().batch(row[None]))[0], whole[row])
    with_strangers = np.concatenate((np.full(3, UNKNOWN, dtype=np.int32), rows))
    same(name, fitted(name).score(data().batch(with_strangers))[3:], whole[rows])


@every_model
def test_vectors_tell_the_same_scores(name: str) -> None:
    model, batch = fitted(name), everyone(data())
    if not isinstance(model, Dotted):
        pytest.skip("its scores are no inner products")
    vectors, bias = model.dot_targets()
    dots = model.dots(batch)
    scores = dots.queries @ vectors.T + bias
    scores[dots.row, dots.code] = dots.score
    asked = ~batch.empty if model.needs_history else np.ones(len(batch), dtype=bool)
    np.testing.assert_allclose(scores[asked], model.score(batch)[asked], rtol=1e-4, atol=1e-5)
    assert len(set(zip(dots.row.tolist(), dots.code.tolist(), strict=True))) == len(dots.row)


@every_model
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_best_are_those_of_the_scores(name: str, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever road the size of the cells takes."""
    monkeypatch.setattr("aisle.kernels.few.SHARE", share)
    monkeypatch.setattr("aisle.kernels.few.LEAST_ROWS", 0)
    batch, random = everyone(data()), np.random.default_rng(0)
    scores, listed = fitted(name).score(batch), random.random(PRODUCTS) < 0.8
    for limit, barred in ((None, None), (listed, batch.history), (None, batch.history)):
        dense = scores.copy()
        if limit is not None:
            dense[:, ~limit] = -np.inf
        if barred is not None:
            dense[barred.nonzero()] = -np.inf
        wanted = top_k(dense, 7, data().tie_rank)
        codes, values = Scored.of(fitted(name), batch).best(7, data().tie_rank, listed=limit, barred=barred)
        np.testing.assert_array_equal(codes, wanted[0])
        np.testing.assert_array_equal(values, wanted[1])


@every_model
@pytest.mark.parametrize("cells", [0, 1_000])
def test_single_scores_are_those_of_all(name: str, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aisle.models.scored.SORTED", cells)
    random = np.random.default_rng(0)
    row, code = random.integers(0, CUSTOMERS, 300), random.integers(0, PRODUCTS, 300).astype(np.int32)
    found = Scored.of(fitted(name), everyone(data())).at(row, code)
    np.testing.assert_array_equal(found, fitted(name).score(everyone(data()))[row, code])


def test_models_of_what_goes_together_score_few_products_of_their_own() -> None:
    few = {name for name in NAMES if isinstance(create(name), ScoresFew)}
    assert few >= {
        "popularity",
        "personal_frequency",
        "item_knn",
        "sequence_knn",
        "rp3beta",
        "slim",
        "tifu_knn",
        "up_cf",
    }
    assert few >= {"repeat_hazard", "bought_together", "recent_popularity", "seasonal_popularity"}
    for name in sorted(few):
        told = fitted(name).few(everyone(data()))  # type: ignore[attr-defined]
        rows = np.repeat(np.arange(CUSTOMERS), np.diff(told.cells.indptr))
        assert len(np.unique(rows * PRODUCTS + told.cells.indices)) == told.cells.nnz, "no cell twice"
        assert told.cells.dtype == told.rest.dtype == np.float32


@every_model
def test_an_empty_batch_gives_no_rows(name: str) -> None:
    assert fitted(name).score(data().batch(np.zeros(0, dtype=np.int32))).shape == (0, PRODUCTS)


@every_model
def test_saved_state_scores_the_same(name: str) -> None:
    model = fitted(name)
    arrays, values = model.state()
    stored = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
    back = type(model)(**model.params()).restore(load(save(stored)), json.loads(json.dumps(values)))
    np.testing.assert_array_equal(back.score(everyone(data())), model.score(everyone(data())))
    same_state(back, model)


@every_model
def test_newcomers_without_and_with_history_get_scores(name: str) -> None:
    known = everyone(data())
    nobody = np.full(CUSTOMERS, UNKNOWN, dtype=np.int32)
    blank = fitted(name).score(data().batch(nobody))
    assert blank.shape == (CUSTOMERS, PRODUCTS)
    assert not np.isnan(blank).any()
    assert (blank == blank[0]).all(), "nothing tells them apart"
    stranger = replace(known, customers=nobody, features=data().customers.take(nobody))
    scores = fitted(name).score(stranger)
    assert not np.isnan(scores).any()
    some = ~known.empty
    assert np.isfinite(scores[some]).any(axis=1).all()
    if fitted(name).personal:
        assert (scores[some] != scores[some][0]).any(), "the history must count without the identity"


@every_model
def test_the_order_of_the_rows_of_the_source_does_not_matter(name: str) -> None:
    other = Dataset.of(shuffled(tables())).before(CUT)
    scores = create(name).fit(other).score(everyone(other))
    assert by_id(other, scores) == by_id(data(), fitted(name).score(everyone(data())))


@every_model
def test_no_leak_the_future_cannot_change_a_score(name: str) -> None:
    other = Dataset.of(other_future(tables(), CUT)).before(CUT)
    assert not np.array_equal(other.all_events.product, data().all_events.product), "another future"
    np.testing.assert_array_equal(other.purchases.product, data().purchases.product)
    model = create(name).fit(other)
    same_state(model, fitted(name))
    np.testing.assert_array_equal(model.score(everyone(other)), fitted(name).score(everyone(data())))


@every_model
def test_no_leak_a_source_that_ends_at_the_cut_gives_the_same(name: str) -> None:
    cut_off = data().until(CUT)
    model = create(name).fit(cut_off)
    np.testing.assert_array_equal(model.score(everyone(cut_off)), fitted(name).score(everyone(data())))


@every_model
def test_an_earlier_question_gets_another_answer_or_none_is_learnt(name: str) -> None:
    """The contract tests would pass for a constant: learning must show."""
    earlier = create(name).fit(data().before(EARLIER)).score(everyone(data()))
    changed = (earlier != fitted(name).score(everyone(data()))).any()
    assert changed != (name == "random")


@every_model
def test_history_is_what_counts(name: str) -> None:
    """Two customers with the same purchases and attributes get the same row from a personal model."""
    if not fitted(name).personal or name not in EXACT:
        pytest.skip("scores something else than history")
    row = np.flatnonzero(~everyone(data()).empty)[:1].astype(np.int32)
    one = data().batch(row)
    other = replace(one, customers=np.array([UNKNOWN], dtype=np.int32))
    np.testing.assert_array_equal(fitted(name).score(one), fitted(name).score(other))


@every_model
def test_a_source_of_baskets_in_order_fits_too(name: str) -> None:
    source = tables()
    lines = source.transactions.with_columns(
        sequence=source.transactions["timestamp"].rank("dense").cast(int), void_at=None
    )
    lines = lines.drop("timestamp").with_columns(lines["void_at"].cast(int))
    dataset = Dataset.of(replace(source, transactions=lines)).before(0)
    scores = create(name).fit(dataset).score(everyone(dataset))
    assert scores.shape == (CUSTOMERS, PRODUCTS)
    assert not np.isnan(scores).any()


@pytest.mark.parametrize("name", sorted(EXACT))
def test_nothing_bought_yet(name: str) -> None:
    start = data().before(int(data().all_events.time.min()))
    scores = create(name).fit(start).score(everyone(start))
    assert scores.shape == (CUSTOMERS, PRODUCTS)
    assert not np.isnan(scores).any()


def by_id(dataset: Dataset, scores: Floats) -> dict[tuple[str, str], float]:
    customers, products = _ids(dataset.customers), _ids(dataset.products)
    return {(c, p): float(scores[u, i]) for u, c in enumerate(customers) for i, p in enumerate(products)}


def _ids(entities: Entities) -> list[str]:
    return entities.vocab.ids.to_list()


def test_the_world_is_not_trivial() -> None:
    dataset = data()
    lines = dataset.lines
    assert (lines.quantity < 0).any()
    assert (lines.customer < 0).any()
    assert len(dataset.purchases) < (lines.quantity > 0).sum(), "some purchases are undone"
    assert dataset.flag("no_profile").any()
    later: npt.NDArray[Any] = dataset.all_events.time >= dataset.as_of
    assert later.any()
    assert all(a <= b for a, b in pairwise(dataset.purchases.customer.tolist()))
