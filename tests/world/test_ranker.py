"""Shops whose next purchases follow from the features alone: no single source can know them, the ranker must."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.worlds import tables, world
from tests.world.hybrid_shops import Line, shop

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.data.split import Window, truth
from aisle.errors import UsageError
from aisle.features.ranking import Facts
from aisle.models import course, create, stack
from aisle.models.base import Model
from aisle.models.boosting import Table
from aisle.models.candidates import ENOUGH, SLACK, Pairs, Pool, Thinned
from aisle.models.course import HUGE, LEFT_OUT, chosen, costly, sources_at, without
from aisle.models.nn.windows import Question
from aisle.models.ranker import Ranker, joined, places
from aisle.types import DAY, NEVER, Bools, Floats

SIMPLE = {"popularity": {}, "personal_frequency": {"half_life_days": 28.0}, "item_knn": {}}
PERIODS = (14, 21, 35, 49)
DAYS = 224
WEEK = 7 * DAY


def everyone(data: Dataset) -> Batch:
    return data.batch(np.arange(data.shape[0], dtype=np.int32))


def recall(model: Model, data: Dataset, days: int, k: int) -> float:
    """Mean share of what is bought in the days after ``as_of`` that is among the k best."""
    wanted = truth(data, Window(data.as_of, data.as_of + days * DAY))
    scores = model.score(everyone(data))
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    hits = np.take_along_axis(wanted.bought.toarray(), best, axis=1).sum(axis=1)
    return float((hits / np.maximum(wanted.bought.sum(axis=1), 1))[wanted.warm].mean())


@cache
def rhythmic() -> Dataset:
    """Every customer buys five products, each at a fixed period of its own: who knows the gaps knows what is due."""
    random = np.random.default_rng(0)
    lines: list[Line] = []
    for who in range(120):
        for product in random.choice(30, 5, replace=False):
            period = int(random.choice(PERIODS))
            start = int(random.integers(period))
            lines += [(f"c{who:03}", f"a-{product:02}", day, 1.0, None) for day in range(start, DAYS, period)]
    data = shop(lines)
    return data.before(data.end - WEEK)


@cache
def by_rhythm() -> Ranker:
    return Ranker(sources=SIMPLE, target_days=7, windows=6).fit(rhythmic())


def test_where_only_the_rhythm_counts_the_ranker_beats_every_source() -> None:
    ranked = recall(by_rhythm(), rhythmic(), 7, 2)
    alone = {name: recall(create(name, **s).fit(rhythmic()), rhythmic(), 7, 2) for name, s in SIMPLE.items()}
    assert ranked > 0.85
    assert ranked > max(alone.values()) + 0.25, alone


def test_the_gains_name_the_rhythm() -> None:
    gains = by_rhythm().gains_
    assert sum(gains.values()) == pytest.approx(1, abs=1e-3)
    assert list(gains.values()) == sorted(gains.values(), reverse=True)
    rhythm = {name: gain for name, gain in gains.items() if name in ("own_overdue", "own_due", "own_days", "own_gap")}
    assert sum(rhythm.values()) > 0.4, gains


def test_candidate_recall_is_that_of_plain_sets() -> None:
    data = rhythmic()
    past = data.before(data.as_of - WEEK)
    model = Ranker(sources=SIMPLE, candidates=3, target_days=7, windows=1).fit(data)
    pool = Pool.at(past, SIMPLE, 3)
    batch = everyone(past)
    lists = {name: held.score(batch) for name, held in pool.held.items()}
    wanted = truth(data, Window(past.as_of, data.as_of))
    rows = np.flatnonzero(wanted.warm)
    found = {name: {int(u): set(np.lexsort((pool.tie_rank, -s[u]))[:3]) for u in rows} for name, s in lists.items()}
    own = {int(u): set(batch.history.indices[batch.history.indptr[u] : batch.history.indptr[u + 1]]) for u in rows}
    bought = {int(u): set(np.flatnonzero(wanted.bought[[u]].toarray()[0])) for u in rows}
    for name, proposed in {**found, "own": own}.items():
        expected = np.mean([len(bought[u] & proposed[u]) / len(bought[u]) for u in bought])
        assert model.recall_["by_source"][name] == pytest.approx(expected, abs=1e-5)
    assert model.recall_["overall"] >= max(model.recall_["by_source"].values())
    assert model.recall_["customers"] == len(rows)
    assert model.recall_["alone"]["own"] <= model.recall_["by_source"]["own"]


@cache
def launches() -> Dataset:
    """Each week a new product in each of two categories: one customer in ten buys it at once, all others next week."""
    lines: list[Line] = []
    for week in range(16):
        for who in range(80):
            kind, early = "ab"[who % 2], who % 20 < 2
            if early or week:
                lines.append((f"c{who:02}", f"{kind}-{week if early else week - 1:02}", 7 * week, 1.0, None))
    data = shop(lines, more=("a-99", "b-99"))
    return data.before(data.end - DAY)


def test_a_new_product_comes_first_where_newcomers_sell() -> None:
    data = launches()
    sources: dict[str, dict[str, object]] = {"recent_popularity": {}, "item_knn": {}, "tree_shares": {}}
    model = Ranker(sources=sources, target_days=7, windows=6).fit(data)
    scores = model.score(everyone(data))
    ids = data.products.vocab.ids.to_list()
    late = [who for who in range(80) if who % 20 >= 2]
    right = [ids.index(f"{'ab'[who % 2]}-14") for who in late]
    assert np.mean(scores[late].argmax(axis=1) == right) > 0.95
    assert recall(create("item_knn").fit(data), data, 7, 1) < 0.5


def test_a_product_without_a_sale_can_be_proposed() -> None:
    data = launches()
    model = Ranker(sources={"tree_shares": {}}, candidates=20, target_days=7).fit(data)
    cold = data.products.vocab.ids.to_list().index("a-99")
    scores = model.score(everyone(data))
    assert np.isfinite(scores[::2, cold]).all()
    assert not np.isnan(scores).any()


def test_costly_sources_see_nothing_after_the_earliest_window(monkeypatch: pytest.MonkeyPatch) -> None:
    data = world()
    moments: list[int] = []
    ease = type(create("ease"))
    fit = ease.fit

    def spied(self: Model, given: Dataset) -> Model:
        moments.append(given.as_of)
        return fit(self, given)

    monkeypatch.setattr(ease, "fit", spied)
    model = Ranker(sources={"ease": {}, "popularity": {}}, target_days=28, windows=3, trees=5)
    model.fit(data)
    assert moments == [data.as_of - step * 28 * DAY for step in (1, 2, 3, 0)], "few products: anew for each window"
    moments.clear()
    monkeypatch.setattr("aisle.models.course.MANY_PRODUCTS", 0)
    model.fit(data)
    assert moments == [data.as_of - 3 * 28 * DAY, data.as_of]


def test_of_a_huge_shop_only_sources_that_scale_are_asked() -> None:
    usual = sources_at(100_000, HUGE, again=True, levels=True)
    huge = sources_at(100_000, HUGE + 1, again=True, levels=True)
    assert set(usual) - set(huge) == set(LEFT_OUT)
    assert {"popularity", "personal_frequency", "item_knn", "repeat_hazard", "content_knn"} <= set(huge)
    assert "repeat_hazard" in costly(100_000, HUGE + 1)
    assert "repeat_hazard" not in costly(100_000, HUGE)


@pytest.mark.parametrize("name", ["ranker", "stack"])
@pytest.mark.parametrize("clock", ["time", "sequence"])
def test_what_a_fit_takes_of_its_members_is_known_before(
    name: str, clock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = world() if clock == "time" else in_order()
    made: Counter[str] = Counter()

    def spied(member: str, **settings: object) -> Model:
        made[member] += 1
        return create("popularity") if name == "stack" else create(member, **settings)

    monkeypatch.setattr("aisle.models.holding.create", spied)
    monkeypatch.setattr(stack, "_learn", lambda names, _: (dict.fromkeys(names, 1.0), {}))
    create(name, target_days=None).fit(data)
    sold = int((data.popularity > 0).sum())
    said = type(create(name)).past_fits(data.shape[0], sold, len(data.purchases), data.clock)
    assert set(made) <= set(said)
    assert {member: count - 1 for member, count in made.items()} == {member: said[member].times for member in made}


def test_threads_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Ranker(sources=SIMPLE, target_days=28, threads=1).fit(world())
    two = Ranker(sources=SIMPLE, target_days=28, threads=2).fit(world())
    assert [text.split("\nparameters")[0] for text in one.boosters_] == [
        text.split("\nparameters")[0] for text in two.boosters_
    ]
    batch = everyone(world())
    whole = one.score(batch)
    monkeypatch.setattr("aisle.models.candidates.CELLS", 600)
    np.testing.assert_array_equal(one.score(batch), whole)


@pytest.mark.parametrize("objective", ["lambdarank", "both"])
def test_other_objectives_find_the_rhythm_too(objective: str) -> None:
    model = Ranker(sources=SIMPLE, target_days=7, windows=6, objective=objective).fit(rhythmic())  # type: ignore[arg-type]
    assert len(model.boosters_) == (2 if objective == "both" else 1)
    assert recall(model, rhythmic(), 7, 2) > 0.8


def test_thinning_keeps_all_that_was_bought_and_the_order() -> None:
    thin = Ranker(sources=SIMPLE, target_days=7, windows=6, max_rows=2_000).fit(rhythmic())
    assert recall(thin, rhythmic(), 7, 2) > 0.75


def test_of_many_purchases_a_sample_teaches_and_everybody_is_ranked(monkeypatch: pytest.MonkeyPatch) -> None:
    few = Ranker(sources=SIMPLE, target_days=7, windows=6, max_lines=len(rhythmic().purchases) // 2).fit(rhythmic())
    assert recall(few, rhythmic(), 7, 2) > 0.7, "most of whom it has never seen"
    whole = by_rhythm().pool_.facts.columns["log_share"]
    assert not np.array_equal(few.pool_.facts.columns["log_share"], whole)
    held: list[Table] = []
    monkeypatch.setattr(Ranker, "_grow", lambda self, tables: held.extend(tables))
    Ranker(sources=SIMPLE, target_days=7, windows=6, max_lines=len(rhythmic().purchases) // 5).fit(rhythmic())
    judges = np.mean(np.concatenate([table.judge for table in held]))
    assert 0.02 < judges < 0.25, "who judges has nothing to do with who was drawn"
    monkeypatch.undo()
    again = Ranker(sources=SIMPLE, target_days=7, windows=6, max_lines=10**9).fit(rhythmic())
    assert again.boosters_ == by_rhythm().boosters_


@cache
def uneven() -> Dataset:
    """The first customers own one product each, the last ones forty."""
    lines: list[Line] = []
    for who in range(120):
        for product in range(1 if who < 60 else 40):
            lines += [(f"c{who:03}", f"a-{(who + product) % 60:02}", day, 1.0, None) for day in range(product, 140, 42)]
    return shop(lines)


@pytest.mark.parametrize("cells", [12_000_000, 1_000])
def test_the_table_never_passes_its_limit(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aisle.models.candidates.CELLS", cells)
    held: list[Table] = []
    monkeypatch.setattr(Ranker, "_grow", lambda self, tables: held.extend(tables))
    settings: dict[str, Any] = {"sources": {"popularity": {}}, "candidates": 5, "target_days": 7, "windows": 2}
    for limit in (1_000, 2_000, 100_000):
        held.clear()
        Ranker(**settings, max_rows=limit).fit(uneven())
        rows = [len(table.bought) for table in held]
        assert max(rows) <= limit // 2
        assert limit == 100_000 or min(rows) == limit // 2, "nor is it smaller than it could be"
        assert all(table.bought.any() and not table.bought.all() for table in held)


@given(seed=st.integers(0, 1_000), limit=st.integers(1, 80), parts=st.integers(1, 6))
def test_what_stays_follows_from_the_draws_and_not_from_the_blocks(seed: int, limit: int, parts: int) -> None:
    random = np.random.default_rng(seed)
    bought, draws, code = random.random(90) < 0.3, random.random(90), np.arange(90, dtype=np.int32)
    blank = np.zeros((90, 0), dtype=np.float32)
    pairs = Pairs(np.zeros(90, dtype=np.int64), code, (), blank > 0, blank, blank)
    thinned = Thinned(limit)
    for part in np.array_split(random.permutation(90), parts):
        thinned.add(slice(0, 1), pairs.take(part), bought[part], draws[part])
        assert sum(len(held) for _, held, _, _ in thinned._blocks) <= SLACK * limit, "nor does it hold more for long"
    stays = np.concatenate([some.code for _, some, _ in thinned.blocks()])
    right = sorted(np.flatnonzero(bought), key=lambda place: draws[place])[: max(limit // 2, 1)]
    wrong = sorted(np.flatnonzero(~bought), key=lambda place: draws[place])[: limit - len(right)]
    assert sorted(stays) == sorted([*right, *wrong])
    for _, some, true in thinned.blocks():
        np.testing.assert_array_equal(true, bought[some.code])


def test_without_anything_to_learn_from_the_sources_vote() -> None:
    data = world()
    early = data.before(int(data.all_events.time.min()) + 3 * DAY)
    model = Ranker(sources=SIMPLE).fit(early)
    assert model.boosters_ == []
    scores = model.score(everyone(early))
    assert np.isfinite(scores[~everyone(early).empty]).any(axis=1).all()


def test_sources_follow_the_data() -> None:
    names = chosen(rhythmic())
    assert {"popularity", "personal_frequency", "item_knn", "ease", "repeat_hazard"} <= set(names)
    assert "hybrid_factorization" not in names, "too small for a network"


def test_joined_tells_windows_apart() -> None:
    values: Floats = np.zeros((3, 1), dtype=np.float32)
    flags = np.array([True, False, False])
    part = Table(values, flags, np.array([4, 4, 9]), flags)
    np.testing.assert_array_equal(joined([part, part]).question, [0, 0, 1, 2, 2, 3])


def test_places_share_ties() -> None:
    row = np.array([1, 0, 0, 0, 1])
    np.testing.assert_array_equal(places(row, np.array([1.0, 5.0, 7.0, 5.0, 3.0])), [1, 1.5, 0, 1.5, 0])


def test_facts_and_members_survive_as_plain_arrays() -> None:
    arrays, values = by_rhythm().state()
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    back = Ranker(**by_rhythm().params()).restore(arrays, json.loads(json.dumps(values)))
    batch = everyone(rhythmic())
    np.testing.assert_array_equal(back.score(batch), by_rhythm().score(batch))
    assert isinstance(back.pool_.facts, Facts)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sources": {"nonsense": {}}}, "sources names 'nonsense'"),
        ({"sources": {"ranker": {}}}, "sources names 'ranker'"),
        ({"sources": {"ease": 3}}, "give its settings"),
        ({"objective": "bpr"}, "objective is 'bpr'"),
        ({"candidates": 0}, "candidates is 0"),
        ({"leaves": 1}, "leaves and learning_rate"),
        ({"target_days": 0}, "target_days is 0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Ranker(**settings)  # type: ignore[arg-type]


def test_folds_show_the_others_of_the_window_and_never_ones_own_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    data = in_order()
    seen: list[Dataset] = []
    at = Pool.at.__func__  # type: ignore[attr-defined]
    asked = Ranker.ask

    def spied_pool(cls: type[Pool], known: Dataset, *rest: object) -> Pool:
        seen.append(known)
        return at(cls, known, *rest)  # type: ignore[no-any-return]

    def spied_ask(self: Ranker, pool: Pool, past: Dataset, question: Question, *rest: object) -> Table:
        lines = seen[-1].purchases
        late = lines.customer[lines.time >= question.cut]
        assert not np.isin(question.customers, late).any(), "one's own answers"
        assert len(np.unique(late)) > 0, "what others bought"
        assert past.as_of == question.cut
        return asked(self, pool, past, question, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Pool, "at", classmethod(spied_pool))
    monkeypatch.setattr(Ranker, "ask", spied_ask)
    Ranker(sources=SIMPLE, windows=2, folds=3, trees=5).fit(data)
    assert len(seen) == 2 * 3 + 1


def test_folds_show_no_return_and_no_first_sale_of_those_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    data = in_order()
    cut, events = data.as_of - 1, data.all_events
    mine = events.customer == events.customer[np.flatnonzero((events.time == cut) & (events.customer >= 0))[0]]
    late, before = mine & (events.time >= cut), np.flatnonzero(mine & (events.time < cut) & (events.quantity > 0))
    brought_back = events.void_at.copy()
    brought_back[before] = cut
    other = replace(events, void_at=brought_back).take(~late)
    first = np.full(data.shape[1], NEVER)
    np.minimum.at(first, other.product[other.quantity > 0], other.time[other.quantity > 0])
    new = int(events.product[late][0])
    shown = events.take(~((events.product == new) & ~late))  # sold to nobody before
    shown_first = np.where(np.arange(data.shape[1]) == new, cut, data.first_sale)
    known = without(
        replace(data, all_events=shown, first_sale=shown_first), mine[~((events.product == new) & ~late)], cut
    )
    assert known.first_sale[new] == NEVER
    again = without(replace(data, all_events=other, first_sale=first), mine[~late], cut)
    plain = replace(data, all_events=replace(events, void_at=np.where(mine, NEVER, events.void_at)).take(~late))
    for moment in (cut, cut + 1):
        found, wanted = again.before(moment).purchases, plain.before(moment).purchases
        np.testing.assert_array_equal(found.product, wanted.product)
        np.testing.assert_array_equal(found.void_at, wanted.void_at)
    calls: list[int] = []

    def spied(whole: Dataset, lines: Bools, moment: int) -> Dataset:
        calls.append(moment)
        return without(whole, lines, moment)

    monkeypatch.setattr(course, "without", spied)
    Ranker(sources={"popularity": {}}, windows=1, folds=2, trees=2).fit(data)
    assert calls == [cut, cut]


def test_folds_without_anybody_are_passed_over() -> None:
    data = in_order()
    few = np.isin(data.all_events.customer, np.flatnonzero(np.diff(data.indptr))[:3])
    data = replace(data, all_events=data.all_events.take(few))
    model = Ranker(sources={"popularity": {}}, windows=1, folds=8, trees=2).fit(data)
    assert np.isfinite(model.score(everyone(data))).any()


def test_folds_need_baskets_without_times() -> None:
    with pytest.raises(UsageError, match="folds is 2"):
        Ranker(sources=SIMPLE, folds=2).fit(world())


def in_order() -> Dataset:
    """The contract's world with places of baskets instead of times."""
    source = tables()
    lines = source.transactions.with_columns(
        sequence=source.transactions["timestamp"].rank("dense").cast(int), void_at=None
    )
    lines = lines.drop("timestamp").with_columns(lines["void_at"].cast(int))
    return Dataset.of(replace(source, transactions=lines)).before(0)


def test_pieces_are_not_small_for_sources_that_score_few_products(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, batch = by_rhythm().pool_, everyone(rhythmic())

    def steps(cells: int, held: dict[str, Model]) -> set[int]:
        monkeypatch.setattr("aisle.models.candidates.CELLS", cells * batch.n_products)
        pieces = [rows for rows, _ in replace(pool, held=held).parts(batch)]
        assert [row for rows in pieces for row in range(rows.start, rows.stop)] == list(range(len(batch)))
        return {rows.stop - rows.start for rows in pieces[:-1]}

    few = {name: pool.held["item_knn"] for name in "abcde"}
    dense = {"f": create("content_knn"), "g": create("tree_shares")}
    assert steps(24, few | dense) == {8}, "two dense sources and the company in baskets, whatever else there is"
    assert steps(24, dense) == {8}
    assert steps(24, few) == {24}
    assert steps(6 * ENOUGH, few) == {ENOUGH}, "and never more than enough by that"
    assert steps(1, dense) == {1}
