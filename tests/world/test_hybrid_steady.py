"""Equal fits give equal bytes, whatever is kept or stopped in between; memory is bounded, threads do not meet."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.world.hybrid_shops import Line, baskets, new_alone, shop
from tests.world.test_hybrid import everyone, habits

from aisle.data.dataset import Dataset
from aisle.errors import BundleError
from aisle.models.hybrid_factorization import HybridFactorization
from aisle.models.nn import tasks
from aisle.models.nn.start import START
from aisle.models.nn.tasks import Rules, Tasks, loss_of
from aisle.models.nn.train import Epoch


@pytest.fixture(autouse=True)
def rising(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every epoch is judged better than the one before: all of them are kept."""
    better = count()
    monkeypatch.setattr("aisle.models.hybrid_factorization.boosted", lambda *_: float(next(better)))


def left(model: HybridFactorization) -> dict[str, Any]:
    """What a fit leaves, but how it was judged."""
    arrays, values = model.state()
    plain = {key: value for key, value in values.items() if key != "training_"}
    return plain | {key: array.tobytes() for key, array in arrays.items()} | {"loss": values["training_"].get("loss")}


WORLDS: dict[str, Callable[[], Dataset]] = {
    "habits": habits,
    "one basket": lambda: baskets(6),
    "new alone": new_alone,
}


@pytest.mark.parametrize("name", WORLDS)
def test_questions_made_anew_give_the_same_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = WORLDS[name]()
    fits = []
    for keep in (tasks.KEEP, 0):
        monkeypatch.setattr(tasks, "KEEP", keep)
        fits.append(left(HybridFactorization(dim=6, epochs=2).fit(data)))
    assert fits[0] == fits[1]


@pytest.mark.parametrize("name", WORLDS)
def test_who_judges_does_not_teach_until_the_end(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Tasks, set[int]]] = []

    def spy(net: Any, found: Tasks, rows: Any, *rest: Any) -> Any:
        seen.append((found, set(found.window[rows].tolist())))
        return loss_of(net, found, rows, *rest)

    monkeypatch.setattr("aisle.models.hybrid_factorization.loss_of", spy)
    HybridFactorization(dim=6, epochs=2).fit(WORLDS[name]())
    half = len(seen) // 3
    first, last = (set().union(*(windows for _, windows in part)) for part in (seen[:half], seen[-half:]))
    assert 0 not in first
    assert first
    assert 0 in last


def test_no_fit_warms_the_start_of_the_next() -> None:
    for make in WORLDS.values():
        HybridFactorization(dim=6, epochs=0).fit(make())
        assert set(START) == {"half_life", "ridge", "lift", "prior"}


def step_peak(people: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Bytes that one step needs at its peak, questions made anew."""
    monkeypatch.setattr(tasks, "KEEP", 0)
    random = np.random.default_rng(0)
    lines: list[Line] = [
        (f"x{person:05}", f"a-{random.integers(50):02}", 15 * step + int(random.integers(15)), 1.0, None)
        for person in range(people)
        for step in range(8)
    ]
    data = shop(lines)
    seen: list[tuple[Any, ...]] = []

    def spy(*at: Any) -> Any:
        seen.append(at)
        return loss_of(*at)

    with monkeypatch.context() as patch:
        patch.setattr("aisle.models.hybrid_factorization.loss_of", spy)
        model = HybridFactorization(dim=6, epochs=1, target_days=15, max_questions=10**6)
        model.fit(data)
    net, found, _, how, generator = seen[-1]
    assert isinstance(found, Tasks)
    assert isinstance(how, Rules)
    loss_of(net, found, np.arange(64), how, generator)
    tracemalloc.start()
    loss_of(net, found, np.arange(64) * (len(found) // 64), how, generator)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_a_step_needs_no_more_memory_for_more_customers(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = (step_peak(people, monkeypatch) for people in (200, 2_000))
    assert many < 1.3 * few


def test_thousands_of_answers_leave_nothing_behind_and_threads_do_not_meet() -> None:
    data = habits()
    model = HybridFactorization(dim=8, epochs=1).fit(data)
    batches = [data.batch(np.array([code], dtype=np.int32)) for code in range(64)]
    alone = [model.score(batch).tobytes() for batch in batches]
    tracemalloc.start()
    for call in range(2_000):
        model.score(data.batch(np.array([call % 7], dtype=np.int32)))
        if call == 200:
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
    gc.collect()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 100_000, "less than one answer's arrays in eighteen hundred"
    assert peak - before < 2_000_000
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda batch: model.score(batch).tobytes(), batches * 6))
    assert together == alone * 6


@pytest.mark.parametrize("settings", [{}, {"loss": "sampled_softmax"}, {"tastes": 2, "attention": True}])
def test_equal_seeds_give_equal_bytes_and_a_second_fit_forgets(settings: dict[str, Any]) -> None:
    data = habits()
    plain: dict[str, Any] = {"dim": 6, "epochs": 2, "n_negatives": 20} | settings
    one, two = HybridFactorization(**plain).fit(data), HybridFactorization(**plain)
    two.fit(habits(1)).fit_partial(data)
    other = HybridFactorization(**plain | {"seed": 1}).fit(data)
    assert one.epochs_ == 2
    assert left(two.fit(data)) == left(one)
    assert left(other)["net__ids__weight"] != left(one)["net__ids__weight"]


def test_a_customer_who_bought_everything_is_no_accident() -> None:
    data = habits()
    events = data.all_events
    greedy = replace(events, customer=np.where(events.customer < 20, np.int32(0), events.customer).astype(np.int32))
    order = np.lexsort((greedy.time, greedy.customer))
    full = replace(data, all_events=greedy.take(order))
    assert len(np.unique(full.batch(np.array([0], dtype=np.int32)).lines.product)) == 60
    for loss in ("softmax", "wmrb", "sampled_softmax"):
        model = HybridFactorization(dim=6, epochs=2, loss=loss).fit(full)
        scores = model.score(full.batch(everyone(full)))
        assert np.isfinite(scores).all()


class Stopped(Exception):
    pass


def stop_at(number: int) -> Callable[[Epoch], None]:
    """Raises when so many epochs were told of."""
    told = count(1)

    def watch(_: Epoch) -> None:
        if next(told) == number:
            raise Stopped

    return watch


@pytest.mark.parametrize("name", WORLDS)
def test_a_fit_that_was_stopped_goes_on_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    data = WORLDS[name]()
    settings: dict[str, Any] = {"dim": 6, "epochs": 3, "loss": "sampled_softmax", "n_negatives": 20}
    whole = left(HybridFactorization(**settings).fit(data))
    for number in (1, 3, 5):  # two trainings of three epochs each
        folder = tmp_path / f"{number}"
        for again in (number, 1):  # stopped twice
            with pytest.raises(Stopped):
                HybridFactorization(**settings).fit(data, checkpoint=folder, watch=stop_at(again))
        told: list[Epoch] = []
        model = HybridFactorization(**settings).fit(data, checkpoint=folder, watch=told.append)
        assert left(model) == whole
        assert len(told) == 6 - number - 1
    assert left(HybridFactorization(**settings).fit(data, checkpoint=folder)) == whole


def test_a_checkpoint_of_other_data_or_settings_is_refused(tmp_path: Path) -> None:
    data = habits()
    with pytest.raises(Stopped):
        HybridFactorization(dim=6, epochs=3).fit(data, checkpoint=tmp_path, watch=stop_at(1))
    late = data.all_events.time >= data.end - 3 * data.unit  # inside the window that judges: the starts are equal
    product = data.all_events.product.copy()
    product[late] = product[late][::-1]
    assert (product != data.all_events.product).any()
    others = [replace(data, all_events=replace(data.all_events, product=product)), data.before(data.end - data.unit)]
    for other in others:
        with pytest.raises(BundleError, match="another training"):
            HybridFactorization(dim=6, epochs=3).fit(other, checkpoint=tmp_path)
    for changed in ({"loss": "bpr"}, {"explore": 0.5}, {"id_dropout": 0.3}, {"learning_rate": 0.1}, {"dim": 7}):
        with pytest.raises(BundleError, match="delete this one") as told:
            HybridFactorization(**{"dim": 6, "epochs": 3, **changed}).fit(data, checkpoint=tmp_path)  # type: ignore[arg-type]
        assert next(iter(changed)) in str(told.value)


def test_other_data_are_told_from_the_same_start(tmp_path: Path) -> None:
    """What answers weigh moves no starting weight: the data themselves are compared."""
    data = habits()
    plain: dict[str, Any] = {"dim": 6, "epochs": 3, "weighing": "quantity"}
    with pytest.raises(Stopped):
        HybridFactorization(**plain).fit(data, checkpoint=tmp_path, watch=stop_at(1))
    more = data.all_events.quantity * (1 + data.all_events.product % 3).astype(np.float32)
    other = replace(data, all_events=replace(data.all_events, quantity=more))
    with pytest.raises(BundleError, match="another training"):
        HybridFactorization(**plain).fit(other, checkpoint=tmp_path)
