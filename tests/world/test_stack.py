"""A stack gives weight to members that know something the best one does not, and none to the others."""

from __future__ import annotations

import json
import math
from functools import cache

import numpy as np
import pytest
from tests.contract.worlds import world
from tests.world.hybrid_shops import Line, shop
from tests.world.test_ranker import WEEK, everyone, recall, rhythmic

from aisle.data.dataset import Dataset
from aisle.errors import UsageError
from aisle.models import create, holding
from aisle.models.stack import Lists, Stack


@cache
def halves() -> Dataset:
    """In every basket one of three own products, and the product of the week, which everybody buys."""
    random = np.random.default_rng(0)
    lines: list[Line] = []
    for who in range(60):
        own = random.choice(20, 3, replace=False)
        for week in range(20):
            lines.append((f"c{who:02}", f"o-{own[week % 3]:02}", 7 * week + who % 7, 1.0, None))
            lines.append((f"c{who:02}", f"w-{week // 4:02}", 7 * week + who % 7, 1.0, None))
    data = shop(lines)
    return data.before(data.end - WEEK)


@cache
def stacked() -> Stack:
    members = {"personal_frequency": {}, "recent_popularity": {"window_days": 14}}
    return Stack(members=members, target_days=7, windows=3).fit(halves())


def test_two_halves_of_the_answer_are_joined() -> None:
    assert min(stacked().weights_.values()) > 0
    judged = stacked().judged_
    assert judged["stack"] > max(value for name, value in judged.items() if name != "stack") + 0.02
    alone = [recall(create(name, **s).fit(halves()), halves(), 7, 4) for name, s in stacked().members.items()]
    assert recall(stacked(), halves(), 7, 4) > max(alone) + 0.05


def test_a_member_that_adds_nothing_gets_no_weight_and_is_not_held() -> None:
    members = {"personal_frequency": {"half_life_days": 28.0}, "seasonal_popularity": {}}
    model = Stack(members=members, target_days=28).fit(rhythmic())
    assert model.weights_["seasonal_popularity"] == 0
    assert list(model.held_) == ["personal_frequency"]


def test_one_member_alone_keeps_its_order() -> None:
    model = Stack(members={"item_knn": {}}, depth=20, target_days=28).fit(world())
    alone = create("item_knn").fit(world())
    batch = everyone(world())
    ours, theirs = model.score(batch), alone.score(batch)
    for row in np.flatnonzero(~batch.empty):
        order = np.lexsort((world().tie_rank, -theirs[row]))
        order = order[np.isfinite(theirs[row][order])][:20]
        np.testing.assert_array_equal(np.argsort(-ours[row], kind="stable")[: len(order)], order)
        assert np.isfinite(ours[row]).sum() == len(order)


def test_ndcg_of_lists_by_hand() -> None:
    heights = np.array([[1.0, 0.0], [0.5, 1.0], [0.0, 0.5], [1.0, 0.0]])
    lists = Lists(np.array([0, 0, 0, 1]), heights, np.array([0.0, 1.0, 0.0, 0.0]), np.array([1.0, 0.0, 1.0]))
    assert lists.ndcg(np.array([1.0, 0.0])) == pytest.approx((1 / math.log2(3)) / 2)
    assert lists.ndcg(np.array([0.0, 1.0])) == pytest.approx(0.5)


def test_members_survive_their_state() -> None:
    data = halves()
    members: holding.Settings = {"item_knn": {"neighbours": 5}, "ease": {}, "popularity": {}}
    held = holding.fit_members(members, data)
    arrays, values = holding.state_of(held)
    assert {key.split(":")[0] for key in arrays} == set(members)
    back = holding.restored(arrays, json.loads(json.dumps(values)))
    for name, model in back.items():
        np.testing.assert_array_equal(model.score(everyone(data)), held[name].score(everyone(data)))


def test_a_part_of_a_batch_is_that_batch() -> None:
    data = world()
    whole, rows = everyone(data), slice(11, 23)
    piece, again = holding.part(whole, rows), data.batch(np.arange(11, 23, dtype=np.int32))
    np.testing.assert_array_equal(piece.lines.product, again.lines.product)
    np.testing.assert_array_equal(piece.indptr, again.indptr)
    np.testing.assert_array_equal(piece.features.levels[0].codes, again.features.levels[0].codes)


def test_blocks_cover_all_rows_within_the_limit() -> None:
    found = holding.blocks(10, 7, 2, 50)
    assert [row for part in found for row in range(part.start, part.stop)] == list(range(10))
    assert max(part.stop - part.start for part in found) * 7 * 2 <= 50


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"members": {"stack": {}}}, "members names 'stack'"), ({"depth": 0}, "depth is 0"), ({"target_days": 0}, "is 0")],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Stack(**settings)  # type: ignore[arg-type]
