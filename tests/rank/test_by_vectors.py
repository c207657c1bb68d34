"""Lists found by vectors, or by few cells, are those of dense scores."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from aisle.bundle import Recommender
from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.models import create
from aisle.models.base import Dotted, Model
from aisle.rank.lists import Lists
from aisle.rank.rules import Rules
from aisle.types import Floats, Repeats
from tests.contract.worlds import CUSTOMERS, world

MODELS: dict[str, dict[str, Any]] = {
    "ials": {"dim": 8, "own_weight": 0.5},
    "basket_transformer": {"dim": 16, "epochs": 2},
}
NO_REPEATS: dict[str, Any] = {"dim": 16, "epochs": 1, "repeat": False}


@cache
def data() -> Dataset:
    return world()


@cache
def prepared(name: str) -> Recommender:
    model = create(name.split()[0], **MODELS.get(name, NO_REPEATS)).fit(data())
    return Recommender.prepare(model, data(), cold_by_model=True)


def both(
    recommender: Recommender, k: int, repeats: Repeats, only: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> tuple[Lists, Lists]:
    """Lists by vectors, and by dense scores."""
    batch = data().batch(np.arange(CUSTOMERS, dtype=np.int32))
    codes = None if only is None else np.array(only, dtype=np.int32)
    rules = recommender.rules(repeats=repeats, only=codes, list_gone=True)

    def refused(model: Model, batch: Batch) -> Floats:
        raise AssertionError("something dense was scored")

    with monkeypatch.context() as patch:
        patch.setattr(type(recommender.model), "score", refused)
        found = recommender.lists(batch, k, rules)
    with monkeypatch.context() as patch:
        patch.setattr(Recommender, "_search", lambda self, rules, k: None)
        expected = recommender.lists(batch, k, rules)
    return found, expected


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("k", "repeats", "only"), [(5, "mixed", None), (40, "new", None), (4, "mixed", [3, 7, 9, 20])])
def test_lists_are_those_of_dense_scores(
    name: str, k: int, repeats: Repeats, only: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, expected = both(prepared(name), k, repeats, only, monkeypatch)
    np.testing.assert_array_equal(found.filled, expected.filled)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-4)
    moved = found.codes != expected.codes  # only where two scores are one but for rounding
    scores = np.where(np.isneginf(expected.scores), -1e9, expected.scores)
    near = np.abs(np.diff(scores, axis=1)) <= 1e-4 * np.abs(scores[:, 1:]) + 1e-5
    beside = np.zeros(moved.shape, bool)
    beside[:, 1:] |= near
    beside[:, :-1] |= near
    assert not (moved & ~beside).any()
    assert moved.mean() < 0.05


@pytest.mark.parametrize("name", [*MODELS, "basket_transformer without repeats"])
@pytest.mark.parametrize("repeats", ["mixed", "new"])
def test_blocks_without_named_pairs_or_anybody(name: str, repeats: Repeats) -> None:
    blank = np.flatnonzero(np.diff(data().indptr) == 0)[:1].astype(np.int32)
    recommender = prepared(name)
    rules = recommender.rules(repeats=repeats)
    for customers in (blank, np.array([-1], np.int32), np.zeros(0, np.int32), np.arange(3, dtype=np.int32)):
        found = recommender.lists(data().batch(customers), 3, rules)
        assert found.codes.shape == (len(customers), 3)
        assert (found.codes >= 0).all()


@pytest.mark.parametrize("name", ["item_knn", "personal_frequency", "popularity", "repeat_hazard"])
@pytest.mark.parametrize(("k", "repeats", "only"), [(5, "mixed", None), (40, "new", None), (4, "mixed", [3, 7, 9, 20])])
@pytest.mark.parametrize("cold_by_model", [False, True])
def test_lists_of_few_cells_are_those_of_dense_scores(
    name: str, k: int, repeats: Repeats, only: list[int] | None, cold_by_model: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    recommender = Recommender.prepare(create(name).fit(data()), data(), cold_by_model=cold_by_model)
    batch = data().batch(np.arange(-1, CUSTOMERS, dtype=np.int32))
    codes = None if only is None else np.array(only, dtype=np.int32)
    rules = recommender.rules(repeats=repeats, only=codes, list_gone=True)
    monkeypatch.setattr("aisle.kernels.few.SHARE", 1.0)
    with monkeypatch.context() as patch:
        patch.setattr("aisle.models.base.Few.dense", None)
        found = recommender.lists(batch, k, rules)
    monkeypatch.setattr(Rules, "by_product", False)
    expected = recommender.lists(batch, k, rules)
    np.testing.assert_array_equal(found.codes, expected.codes)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.filled, expected.filled)


def test_models_without_vectors_and_rules_of_families_take_the_dense_road() -> None:
    recommender = prepared("ials")
    assert isinstance(recommender.model, Dotted)
    assert recommender._search(recommender.rules(repeats="only"), 3) is None
    rules = recommender.rules()
    assert recommender._search(rules, 3) is recommender._search(rules, 4)
    assert recommender.block_size_for(rules) > recommender.block_size
    assert recommender.block_size_for(recommender.rules(repeats="only")) == recommender.block_size
    other = Recommender.prepare(create("ease").fit(data()), data())
    assert other._search(other.rules(), 3) is None
