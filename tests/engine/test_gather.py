"""A ranker fitted by parts is that of one process, whoever does the parts, and no part is done twice."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from aisle.data.dataset import Dataset
from aisle.data.stored import save_dataset
from aisle.engine import Engine, Local, Receipt, gather, parts
from aisle.engine.base import Answers, let_go
from aisle.engine.parts import fit_by_parts
from aisle.errors import UsageError
from aisle.jobs.train import Crew, Follow, fit
from aisle.models import create
from aisle.models.base import Model
from aisle.models.ranker import Ranker
from tests.engine.test_learn import equal, retail
from tests.world.test_ranker import in_order

SOURCES: dict[str, dict[str, Any]] = {"popularity": {}, "item_knn": {}, "hybrid_factorization": {"epochs": 1, "dim": 4}}
"""Two are fitted for every window, one once."""
SMALL: dict[str, Any] = {"sources": SOURCES, "windows": 3, "trees": 10, "min_rows": 5}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "ASKED_A_PART", 20)


def parted(data: Dataset, engine: Engine, checkpoint: Path | None = None, **settings: Any) -> Model:
    model = create("ranker", **{**SMALL, **settings})
    fit_by_parts(model, data, engine, checkpoint=checkpoint)
    return model


def test_where_nothing_is_thinned_it_is_the_ranker_of_one_process(engine: Engine) -> None:
    assert equal(parted(retail(), engine), create("ranker", **SMALL).fit(retail()))


def test_folds_are_sides_too() -> None:
    whole: dict[str, Any] = {"sources": {"popularity": {}, "item_knn": {}}, "windows": 2, "folds": 3}
    model = parted(in_order(), Local(), **whole)
    assert equal(model, create("ranker", **{**SMALL, **whole}).fit(in_order()))


def test_of_many_purchases_the_drawn_ones_alone_are_laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    save = save_dataset

    def spied(data: Dataset, folder: Path) -> None:
        saved.append(len(data.purchases))
        save(data, folder)

    monkeypatch.setattr(parts, "save_dataset", spied)
    most = len(retail().purchases) // 2
    model = parted(retail(), Local(), max_lines=most)
    assert equal(model, create("ranker", **{**SMALL, "max_lines": most}).fit(retail()))
    assert 0 < saved[0] < 0.7 * len(retail().purchases)


def test_without_a_past_the_sources_alone_are_fitted() -> None:
    data = retail().before(int(retail().purchases.time.min()) + 1)
    assert equal(parted(data, Local()), create("ranker", **SMALL).fit(data))


def test_thinned_tables_keep_their_size_and_differ_by_the_draw_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[str, list[int]] = {"parts": [], "one": []}
    grow = type(create("ranker"))._grow  # type: ignore[attr-defined]
    ways: dict[str, Callable[[], Model]] = {
        "parts": lambda: parted(retail(), Local(), max_rows=900),
        "one": lambda: create("ranker", **{**SMALL, "max_rows": 900}).fit(retail()),
    }
    for name, fitted in ways.items():

        def spied(self: Model, tables: list[Any], name: str = name) -> None:
            sizes[name] += [sum(len(t.bought) for t in tables), sum(int(t.bought.sum()) for t in tables)]
            grow(self, tables)

        monkeypatch.setattr(type(create("ranker")), "_grow", spied)
        fitted()
    assert sizes["one"][0] == 900
    assert sizes["parts"][0] == pytest.approx(900, abs=12), "each part rounds its share down"
    assert sizes["parts"][1] == pytest.approx(sizes["one"][1], rel=0.15)


def test_what_a_stopped_fit_has_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    task, stop = gather.ask_part, 2

    def ask_part(part: dict[str, Any], shared: dict[str, Any]) -> Receipt:
        if sum("rows" in one for one in done) == stop:
            raise KeyboardInterrupt
        done.append(part)
        return task(part, shared)

    fit_one = gather.fit_part

    def fit_part(part: dict[str, str], shared: dict[str, Any]) -> Receipt:
        done.append(part)
        return fit_one(part, shared)

    for name, spied in (("ask_part", ask_part), ("fit_part", fit_part)):
        spied.__module__, spied.__qualname__ = gather.__name__, name
        monkeypatch.setattr(gather, name, spied)
    with pytest.raises(KeyboardInterrupt):
        parted(retail(), Local(), tmp_path)
    stop, before = -1, len(done)
    assert before > 2
    assert not list(tmp_path.glob("**/*work*")), "no copy of the data stays"
    model = parted(retail(), Local(), tmp_path)
    assert len(done) > before
    assert len({str(part) for part in done}) == len(done), "a part was done again"
    assert equal(model, create("ranker", **SMALL).fit(retail()))
    whole = len(done)
    (damaged,) = tmp_path.glob("*/now-item_knn.safetensors")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert equal(parted(retail(), Local(), tmp_path), model)
    assert done[whole:] == [{"moment": "now", "member": "item_knn"}], "and what is damaged, alone, is"


def test_other_data_and_other_settings_find_nothing_done(tmp_path: Path) -> None:
    parted(retail(), Local(), tmp_path)
    earlier = retail().before(retail().as_of - 40 * retail().unit)
    assert equal(parted(earlier, Local(), tmp_path), create("ranker", **SMALL).fit(earlier))
    other = parted(retail(), Local(), tmp_path, candidates=7)
    assert equal(other, create("ranker", **{**SMALL, "candidates": 7}).fit(retail()))


def test_the_order_of_the_sources_is_part_of_a_fit(tmp_path: Path) -> None:
    """It is that of the columns of the table."""
    other = dict(reversed(SOURCES.items()))
    assert equal(parted(retail(), Local(), tmp_path), create("ranker", **SMALL).fit(retail()))
    wanted = create("ranker", **{**SMALL, "sources": other}).fit(retail())
    assert equal(parted(retail(), Local(), tmp_path, sources=other), wanted)


def test_the_same_fit_twice_in_one_folder_is_one_fit_or_says_so(tmp_path: Path) -> None:
    class Between(Local):
        """Before the last stage somebody else does all of the same fit, there too."""

        def answers(self, task: str, parts: Mapping[int, str], shared: str) -> Answers:
            if task.endswith("ask_part") and parts:
                parted(retail(), Local(), tmp_path)
                let_go()
            yield from super().answers(task, parts, shared)

    with pytest.raises(UsageError, match=r"another command fits in .* too"):
        parted(retail(), Between(), tmp_path)
    assert equal(parted(retail(), Between(), tmp_path), create("ranker", **SMALL).fit(retail()))


def test_what_a_killed_command_left_of_the_data_goes_after_a_day(tmp_path: Path) -> None:
    for name, days in ((".work-old", 2), ("..work-old.tmp", 2), (".work-new", 0)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - days * 86_400,) * 2)
    parted(retail(), Local(), tmp_path)
    assert {path.name for path in tmp_path.iterdir() if "work" in path.name} == {".work-new"}


def test_another_fit_in_the_same_folder_does_not_get_in_between(tmp_path: Path) -> None:
    class Between(Local):
        """Before the last stage somebody else fits with other settings, there too."""

        def answers(self, task: str, parts: Mapping[int, str], shared: str) -> Answers:
            if task.endswith("ask_part"):
                parted(retail(), Local(), tmp_path, sources=SOURCES | {"item_knn": {"neighbours": 1}})
            yield from super().answers(task, parts, shared)

    assert equal(parted(retail(), Between(), tmp_path), create("ranker", **SMALL).fit(retail()))


def test_every_part_draws_for_itself_and_dear_sources_are_fitted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[int] = []
    ask = Ranker.ask

    def spied(self: Ranker, *rest: Any) -> Any:
        states.append(rest[4].bit_generator.state["state"]["state"])
        return ask(self, *rest)

    monkeypatch.setattr(Ranker, "ask", spied)
    parted(retail(), Local(), tmp_path)
    assert len(set(states)) == len(states) > 6
    fits = {path.name.removesuffix(".safetensors") for path in tmp_path.glob("*/*.safetensors")}
    dear = {name for name in fits if name.endswith("hybrid_factorization")}
    assert dear == {"oldest-hybrid_factorization", "now-hybrid_factorization"}
    assert {name for name in fits if name.endswith("item_knn")} == {f"{at}-item_knn" for at in ("now", 0, 1, 2)}


def test_a_crew_fits_by_parts_and_tells_how_many_are_done(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    model = fit(
        create("ranker", **SMALL),
        retail(),
        crew=Crew(Local(), 1, tmp_path / "place"),
        tick=lambda done, total: told.append((done, total)),
    )
    assert equal(model, create("ranker", **SMALL).fit(retail()))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len({total for _, total in told}) == 1
    assert told[-1][0] == told[-1][1] - 1, "the trees are left"
    assert not (tmp_path / "place").exists()


def test_models_that_fall_into_no_parts_are_refused() -> None:
    with pytest.raises(UsageError, match="the fit of ease does not fall into parts"):
        fit_by_parts(create("ease"), retail(), Local())
    with pytest.raises(UsageError, match="ranker does not learn in epochs"):
        Follow(tensorboard=Path("curves"), workers=2).check(create("ranker"))
    Follow(workers=2, checkpoint=Path("kept")).check(create("ranker"))
