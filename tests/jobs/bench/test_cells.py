"""Cells: only what is missing runs, a killed one leaves nothing but its trials, comparisons survive a lost cache."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from aisle.data.dataset import Dataset
from aisle.errors import UsageError
from aisle.evaluate.compare import intervals
from aisle.evaluate.tune import Budget
from aisle.files import Receipts, write_json
from aisle.jobs.bench import fits as fits_module
from aisle.jobs.bench import recipes, run, search
from aisle.jobs.bench.cells import Cell, cells_of, read_json
from aisle.jobs.bench.machine import origin
from aisle.jobs.bench.measure import answers
from aisle.jobs.bench.protocols import protocol
from aisle.jobs.bench.recipes import choose
from aisle.jobs.bench.run import Order, bench_accuracy, data_folder
from aisle.jobs.line_up import LineUp
from aisle.models import MODELS, create
from tests.jobs.bench import stand_ins

FEW = Budget(settings=3, cpu_seconds=30, customers=1_000)


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Order:
    monkeypatch.setenv("AISLE_DATA", str(stand_ins.everything(tmp_path / "data")))
    return Order(only=("tafeng",), results=tmp_path / "results", cache=tmp_path / "cache", budget=FEW)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the models that were made to be fitted, in the search or for the test."""
    made: list[str] = []

    def counted(name: str, **settings: Any) -> Any:
        made.append(name)
        return create(name, **settings)

    for module in (fits_module, search):
        monkeypatch.setattr(module, "create", counted)
    return made


def test_a_cell_says_what_was_found_and_how(order: Order) -> None:
    done = bench_accuracy(replace(order, models=("personal_frequency",)))
    (cell,) = done.written
    found = read_json(order.results / "tafeng" / "personal_frequency-s0.json")
    assert (cell.recipe, found["models"]) == ("personal_frequency", ["personal_frequency"])
    assert list(found["parts"]) == ["0", "1", "2"]
    part = found["parts"]["0"]
    assert len(part["trials"]) == 3
    best = max(part["trials"], key=lambda trial: trial["ndcg@10"])
    assert part["settings"] == create("personal_frequency", **best["settings"]).params()  # defaults among them
    assert part["sizes"]["asked"] == 2
    assert part["inner"]["asked"] == 1
    assert found["rows"] == 6
    assert found["customers"] == 5  # customer 5 is a test customer of two folds
    figures = [found["parts"][one]["figures"]["recall@10"] for one in found["parts"]]
    assert found["figures"]["recall@10"]["mean"] == pytest.approx(np.mean(figures), abs=1e-5)
    assert {"cpu_seconds", "peak_mb", "machine", "commit", "command", "budget", "tuned_on"} <= set(found)
    assert "NaN" not in json.dumps(found)


def test_the_search_looks_at_the_inner_split_alone(order: Order) -> None:
    bench_accuracy(replace(order, models=("personal_frequency",)))
    part = read_json(order.results / "tafeng" / "personal_frequency-s0.json")["parts"]["0"]
    now = protocol("tafeng")
    split = now.split(now.load(data_folder()), "0")
    assert split.inner is not None
    inner = split.inner()
    for trial in part["trials"]:
        model = create("personal_frequency", **trial["settings"]).fit(inner.data)
        assert trial["ndcg@10"] == pytest.approx(answers(model, inner, ["ndcg@10"])["ndcg@10"].mean(), abs=1e-6)


def test_the_form_of_a_recipe_says_what_is_learned_from_and_tuned_on(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[int] = []

    def watched(name: str, **settings: Any) -> Any:
        model = create(name, **settings)

        def fit(data: Dataset) -> Any:
            learned.append(len(data.purchases))
            return type(model).fit(model, data)

        monkeypatch.setattr(model, "fit", fit)
        return model

    monkeypatch.setattr(fits_module, "create", watched)
    bench_accuracy(replace(order, models=("popularity:published", "popularity:plain")))
    now = protocol("tafeng")
    split = now.split(now.load(data_folder()), "0")
    assert split.plain is not None
    assert (learned[0], learned[3]) == (len(split.plain.purchases), len(split.data.purchases))
    bench_accuracy(replace(order, only=("online_retail_30",), models=("personal_frequency:new",)))
    found = read_json(order.results / "online_retail_30" / "personal_frequency-new-s0.json")
    assert found["tuned_on"] == "new ndcg@10"
    assert all("new ndcg@10" in trial for trial in found["parts"]["all"]["trials"])


def test_only_what_is_missing_runs(order: Order, fits: list[str]) -> None:
    both = replace(order, models=("popularity:published", "personal_frequency:published"))
    assert len(bench_accuracy(replace(both, models=both.models[:1])).written) == 1
    assert [cell.recipe for cell in bench_accuracy(both).written] == ["personal_frequency:published"]
    fits.clear()
    assert bench_accuracy(both).written == ()
    assert fits == []
    assert len(bench_accuracy(replace(both, force=True)).written) == 2
    assert len(fits) == 6


def test_the_same_fit_is_measured_once(order: Order, fits: list[str]) -> None:
    """S picks what a single model found: its figures are there. --force looks nothing up."""
    one = replace(order, only=("sort_of_real",), without=tuple(n for n in MODELS if n not in ("popularity", "ease")))
    bench_accuracy(replace(one, models=("ease", "popularity")))
    fits.clear()
    bench_accuracy(replace(one, models=("S",)))
    assert fits == []
    found = read_json(Cell("sort_of_real", "S", 0).path(order.results))
    same = read_json(Cell("sort_of_real", found["models"][0], 0).path(order.results))
    assert (found["figures"], found["cpu_seconds"]) == (same["figures"], same["cpu_seconds"])
    bench_accuracy(replace(one, models=("ease",), force=True))
    assert fits == ["ease"]


def test_a_kept_fit_says_what_it_was_measured_with(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    one = replace(order, only=("gowalla",), models=("popularity",))
    (cell,) = bench_accuracy(one).written
    before = cell.read(order.results)
    assert before is not None
    assert before["parts"]["all"]["machine"]["threads"] == os.environ.get("OMP_NUM_THREADS", "all")
    shutil.rmtree(order.cache / "parts")
    cell.path(order.results).unlink()
    monkeypatch.setattr(fits_module, "origin", lambda: {"commit": "other", "machine": {"cpu": "another"}})
    bench_accuracy(one)
    after = cell.read(order.results)
    assert after is not None
    assert [after[name] for name in ("commit", "machine", "cpu_seconds")] == [
        before[name] for name in ("commit", "machine", "cpu_seconds")
    ]


def test_a_torn_file_of_a_fit_or_of_values_is_written_again(order: Order, fits: list[str]) -> None:
    one = replace(order, only=("gowalla",), models=("popularity",))
    (cell,) = bench_accuracy(one).written
    before = cell.read(order.results)
    assert before is not None
    for torn, again in (("fits", ["popularity"]), ("values", [])):
        for path in (order.cache / torn).rglob("*.parquet"):
            path.write_bytes(path.read_bytes()[:100])
        if torn == "fits":
            shutil.rmtree(order.cache / "parts")
        cell.path(order.results).unlink()
        fits.clear()
        done = bench_accuracy(one)
        assert (done.failed, fits) == ({}, again)
        after = cell.read(order.results)
        assert after is not None
        assert after["figures"] == before["figures"]


def test_a_model_that_learns_in_epochs_is_fitted_anew_on_another_kind_of_device(
    order: Order, fits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fits_module, "device_kind", lambda: "cuda")
    assert fits_module.device("popularity", {}) == "cpu"
    assert fits_module.device("hybrid_factorization", {}) == "cuda"
    assert fits_module.device("stack", {"members": {"ease": {}}}) == "cpu"
    assert fits_module.device("stack", {"members": {"ease": {}, "basket_transformer": {}}}) == "cuda"
    one = replace(order, only=("gowalla",), models=("popularity",))
    bench_accuracy(one)
    shutil.rmtree(order.cache / "parts")
    shutil.rmtree(order.results)
    fits.clear()
    monkeypatch.setattr(fits_module, "device", lambda model, settings: "cuda")
    bench_accuracy(one)
    assert fits == ["popularity"]


def test_a_cell_measured_with_less_is_kept_and_named(shop: Order) -> None:
    one = replace(shop, models=("C", "popularity"), without=("item_knn",), budget=replace(FEW, cpu_seconds=0.5))
    bench_accuracy(one)
    single, joined = one.cells()[1], one.cells()[0]
    assert one.kept() == {}
    assert replace(one, budget=replace(FEW, settings=2, cpu_seconds=0.4), without=("item_knn", "ease")).kept() == {}
    said = "3 settings / 0.5 s / 1,000 customers"
    assert replace(one, budget=replace(one.budget, settings=4)).kept() == {single: said, joined: said}
    assert replace(one, budget=replace(one.budget, cpu_seconds=1.0)).kept() == {single: said, joined: said}
    more = replace(one, budget=replace(one.budget, customers=1_001))
    assert more.kept() == {single: said, joined: said}
    assert replace(one, without=()).kept() == {joined: f"{said}, without item_knn"}
    assert more.missing() == ()
    assert replace(more, force=True).kept() == {}
    assert replace(more, models=("ease",)).kept() == {}  # not there


def test_fixed_settings_are_no_smaller_budget(order: Order) -> None:
    one = replace(order, models=("popularity:published",))
    bench_accuracy(one)
    assert replace(one, budget=replace(FEW, settings=99)).kept() == {}


def test_a_cell_without_a_figure_of_the_protocol_is_missing(order: Order) -> None:
    one = replace(order, models=("popularity:published",))
    bench_accuracy(one)
    path = order.results / "tafeng" / "popularity-published-s0.json"
    found = read_json(path)
    del found["figures"]["recall@20"]
    write_json(path, found)
    assert len(bench_accuracy(one).written) == 1
    assert "recall@20" in read_json(path)["figures"]


def test_a_killed_cell_leaves_its_trials_and_parts_alone(
    order: Order, fits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = replace(order, models=("personal_frequency",))
    whole = bench_accuracy(replace(one, results=order.results / "whole", cache=order.cache / "whole"))
    fresh = len(fits)
    fits.clear()

    def stop(*arguments: Any, **settings: Any) -> Any:
        if len(fits) == 6:  # in the second part, after two of its trials
            raise KeyboardInterrupt
        fits.append("")
        return create(*arguments, **settings)

    for module in (fits_module, search):
        monkeypatch.setattr(module, "create", stop)
    with pytest.raises(KeyboardInterrupt):
        bench_accuracy(one)
    assert not list(order.results.glob("tafeng/*"))

    def counted(name: str, **settings: Any) -> Any:
        fits.append(name)
        return create(name, **settings)

    for module in (fits_module, search):
        monkeypatch.setattr(module, "create", counted)
    bench_accuracy(one)
    assert len(fits) == fresh  # nothing was done twice
    (cell,) = whole.written
    again, first = (json.loads(cell.path(place).read_text()) for place in (order.results, order.results / "whole"))
    assert again["figures"] == first["figures"]
    assert [p["settings"] for p in again["parts"].values()] == [p["settings"] for p in first["parts"].values()]


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Callable[[Order], None]:
    """Runs an order that is killed after its first part."""
    part = run._Bench._part

    def first(self: Any, cell: Cell, name: str, *arguments: Any) -> Any:
        if name != "0":
            raise KeyboardInterrupt
        return part(self, cell, name, *arguments)

    def start(order: Order) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(run._Bench, "_part", first)
            with pytest.raises(KeyboardInterrupt):
                bench_accuracy(order)

    return start


def test_a_finished_part_goes_with_its_own_values(order: Order, stopped: Callable[[Order], None]) -> None:
    one = replace(order, models=("personal_frequency",))
    (cell,) = bench_accuracy(replace(one, results=order.results / "whole", cache=order.cache / "whole")).written
    stopped(one)
    values = cell.values(order.cache, ("0",))
    assert values is not None
    other = {name: column + 1 for name, column in values.columns.items()}
    cell.keep(order.cache, "0", values.customer, other)  # as a search with another budget leaves them
    bench_accuracy(one)
    again, first = (read_json(cell.path(place)) for place in (order.results, order.results / "whole"))
    assert again["figures"] == first["figures"]


def test_a_finished_part_of_another_line_up_does_not_count(
    order: Order, stopped: Callable[[Order], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "line_up", lambda data, config: LineUp(("popularity", "personal_frequency"), {}))
    one = replace(order, models=("S",))
    stopped(replace(one, without=("personal_frequency",)))
    bench_accuracy(one)
    parts = read_json(order.results / "tafeng" / "S-s0.json")["parts"]
    assert [part["left_out"] for part in parts.values()] == [{}, {}, {}]


def test_a_finished_part_outlives_a_commit_that_touches_none_of_its_code(
    order: Order, stopped: Callable[[Order], None], fits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = replace(order, models=("popularity:published",))
    stopped(one)
    fits.clear()
    here = origin()
    other: dict[str, Any] = {"commit": "other", "machine": here["machine"] | {"cpu": "another"}}
    monkeypatch.setattr(fits_module, "origin", lambda: other)
    bench_accuracy(one)
    assert len(fits) == 2  # the second and the third part
    found = read_json(one.cells()[0].path(order.results))
    first, *rest = ({name: part[name] for name in here} for part in found["parts"].values())
    assert (first, rest) == (here, [other, other])  # each says what it was measured with
    assert (found["commit"], found["machine"]) == (f"{here['commit']}, other", here["machine"])


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Changes the source of a module, as far as hashes of code go."""
    real = search._spec

    def start(module: str) -> None:
        def edited(name: str) -> Any:
            spec = real(name)
            if name == module:
                assert spec is not None
                assert spec.origin is not None
                changed = tmp_path / "changed.py"
                changed.write_text(Path(spec.origin).read_text(encoding="utf-8") + "# edited", encoding="utf-8")
                spec.origin = str(changed)
            return spec

        monkeypatch.setattr(search, "_spec", edited)

    return start


@pytest.mark.parametrize(
    ("module", "again"),
    [
        ("aisle.models.popularity", True),
        ("aisle.models.base", True),
        ("aisle.models", False),
        ("aisle.models.nn.train", False),  # what type checkers alone import
        ("aisle.jobs.bench.protocols.tafeng", True),
        ("aisle.jobs.bench.measure", True),
        ("aisle.evaluate.tune", True),
        ("aisle.models.ease", False),
        ("aisle.jobs.bench.protocols.gowalla", False),
        ("aisle.jobs.bench.table", False),
    ],
)
def test_a_finished_part_follows_the_code_it_comes_from(
    module: str,
    again: bool,
    order: Order,
    stopped: Callable[[Order], None],
    fits: list[str],
    edit: Callable[[str], None],
) -> None:
    one = replace(order, models=("popularity:published",))
    stopped(one)
    fits.clear()
    edit(module)
    bench_accuracy(one)
    assert len(fits) == (3 if again else 2)


@pytest.mark.parametrize(
    ("module", "again"),
    [
        ("aisle.jobs.bench.protocols.gowalla", True),
        ("aisle.jobs.bench.split", True),
        ("aisle.evaluate.metrics", True),
        ("aisle.evaluate.tune", False),
        ("aisle.jobs.bench.protocols.tafeng", False),
    ],
)
def test_trials_follow_the_code_of_the_protocol_and_of_the_measure(
    module: str, again: bool, order: Order, fits: list[str], edit: Callable[[str], None]
) -> None:
    one = replace(order, only=("gowalla",), models=("ease",))
    bench_accuracy(one)
    assert len(fits) == 4
    fits.clear()
    edit(module)
    bench_accuracy(replace(one, force=True))
    assert len(fits) == (4 if again else 1)  # the fit itself is made anyway


@pytest.mark.parametrize("file", ["baskets", "folds"])
def test_trials_parts_and_fits_follow_the_content_of_the_data(
    file: str, order: Order, fits: list[str], tmp_path: Path
) -> None:
    """Two customers with as many lines, and as many wanted, swap their baskets, or their places in the folds."""
    one = replace(order, models=("personal_frequency",))
    (cell,) = bench_accuracy(one).written
    before, fresh = read_json(cell.path(order.results)), len(fits)
    path = tmp_path / "data" / "tafeng_nbr" / f"{file}.parquet"
    swapped = pl.read_parquet(path).with_columns(pl.col("user_id").replace({1: 5, 5: 1}))
    swapped.sort("user_id", maintain_order=True).write_parquet(path)
    cell.path(order.results).unlink()
    fits.clear()
    bench_accuracy(one)
    after = read_json(cell.path(order.results))
    for name in ("sizes", "inner"):
        assert [part[name] for part in after["parts"].values()] == [part[name] for part in before["parts"].values()]
    assert len(fits) == fresh


def test_trials_are_run_again_when_the_code_of_the_model_changes(
    order: Order, fits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = replace(order, models=("personal_frequency",))
    bench_accuracy(one)
    fresh = len(fits)
    fits.clear()
    bench_accuracy(replace(one, force=True))
    assert len(fits) == 3  # trials are kept: each part is fitted once
    fits.clear()
    monkeypatch.setattr(search, "code_of", lambda name: "other")
    bench_accuracy(replace(one, force=True))
    assert len(fits) == fresh > 3


def test_the_hash_of_a_model_covers_what_it_is_made_from() -> None:
    codes = [search.code_of(name) for name in ("popularity", "item_knn", "hybrid_factorization")]
    assert len(set(codes)) == 3
    assert search.code_of("recent_popularity") == codes[0]  # one file


def test_the_hash_of_a_model_covers_modules_that_are_imported_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    read, asked = search._spec, []

    def watched(name: str) -> Any:
        asked.append(name)
        return read(name)

    monkeypatch.setattr(search, "_spec", watched)
    search.code_of("stack")
    assert "aisle.models.holding" in asked  # ``from aisle.models import holding``


def test_trials_of_a_model_that_chooses_among_all_follow_the_code_of_all(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def code(name: str) -> str:
        asked.append(name)
        return "code"

    monkeypatch.setattr(search, "code_of", code)
    now = protocol("tafeng")
    split = now.split(now.load(data_folder()), "0")
    store = Receipts(order.cache)
    one = search.Search(split=split, metric="ndcg@10", budget=FEW, seed=0, store=store, about=["here"])
    one._trial("stack", {"members": {"popularity": {}}})
    assert asked == ["stack", "popularity"]
    asked.clear()
    one._trial("stack", {})
    assert asked == ["stack", *(name for name in MODELS if name != "stack")]
    asked.clear()
    one._trial("stack", {"members": {"ranker": {"sources": {"ease": {}}}, "popularity": {}}})
    assert asked == ["stack", "ranker", "ease", "popularity"]  # members of members


# --- comparisons ------------------------------------------------------------------------------------------------------


@pytest.fixture
def shop(order: Order, monkeypatch: pytest.MonkeyPatch) -> Order:
    """Online Retail with a short line-up."""
    names = ("popularity", "personal_frequency", "item_knn")
    monkeypatch.setattr(recipes, "line_up", lambda data, config: LineUp(names, {"slim": "too dear"}))
    return replace(order, only=("online_retail_30",), budget=replace(FEW, settings=2))


def test_single_and_champion_come_from_the_inner_split(shop: Order) -> None:
    bench_accuracy(replace(shop, models=("S", "popularity", "personal_frequency", "item_knn")))
    found = read_json(shop.results / "online_retail_30" / "S-s0.json")
    (part,) = found["parts"].values()
    best = max(part["trials"], key=lambda trial: trial["ndcg@10"])
    assert (part["model"], part["settings"]) == (best["model"], create(best["model"], **best["settings"]).params())
    assert {trial["model"] for trial in part["trials"]} == {"popularity", "personal_frequency", "item_knn"}
    assert part["left_out"] == {"slim": "too dear"}
    alone = read_json(shop.results / "online_retail_30" / f"{part['model']}-s0.json")
    assert alone["figures"] == found["figures"]


def test_versus_pairs_the_customers_of_two_cells(shop: Order) -> None:
    bench_accuracy(replace(shop, models=("C", "popularity", "personal_frequency", "ease:new")))
    found = {one["label"]: one for one in read_json(shop.results / "online_retail_30" / "versus.json")}
    assert list(found) == ["10 % above the best classic", "new products: 40 % above EASE tuned for them"]
    cells = {cell.recipe: (cell, one) for cell, one in cells_of(shop.results, "online_retail_30").items()}
    bar = found["10 % above the best classic"]
    assert bar["rival"] == max(set(cells) - {"C"}, key=lambda name: cells[name][1]["figures"]["ndcg@10"]["mean"])
    first, second = (cells[name][0].values(shop.cache, ("all",)) for name in ("C", bar["rival"]))
    assert first is not None
    assert second is not None
    gap = intervals(first.columns["ndcg@10"] - 1.1 * second.columns["ndcg@10"])[0]
    assert bar["difference"] == gap.to_json()
    assert bar["met"] == gap.above_zero
    assert bar["recomputed"] == []


def test_values_that_are_lost_are_worked_out_again(shop: Order, fits: list[str]) -> None:
    both = replace(shop, models=("C", "personal_frequency"))
    bench_accuracy(both)
    path = shop.results / "online_retail_30" / "versus.json"
    before = read_json(path)
    shutil.rmtree(shop.cache)
    fits.clear()
    bench_accuracy(both)
    assert (read_json(path), fits) == (before, [])  # the same cells: what is known of them holds
    again = [one | {"recomputed": ["C", "personal_frequency"]} for one in before]
    path.unlink()
    bench_accuracy(both)
    assert fits == ["personal_frequency"]  # C picked it, too: one fit serves both
    assert read_json(path) == again
    path.unlink()
    shutil.rmtree(shop.cache / "values")
    fits.clear()
    bench_accuracy(both)
    assert (read_json(path), fits) == (again, [])  # looked up; not those of the cells all the same


def test_code_that_gives_other_figures_than_the_cell_is_no_ground_to_compare(shop: Order) -> None:
    both = replace(shop, models=("C", "personal_frequency"))
    bench_accuracy(both)
    cell = Cell("online_retail_30", "personal_frequency", 0)
    found = cell.read(shop.results)
    assert found is not None
    found["figures"]["ndcg@10"]["mean"] *= 1.1
    cell.write(shop.results, found)
    shutil.rmtree(shop.cache / "values")
    done = bench_accuracy(both)
    (why,) = done.failed.values()
    assert why.startswith("the recorded settings of online_retail_30 personal_frequency seed 0 give other figures")
    assert "--force" in why
    assert not bench_accuracy(replace(both, force=True)).failed


def test_a_model_that_cannot_be_fitted_does_not_stop_the_others(order: Order) -> None:
    done = bench_accuracy(replace(order, models=("up_cf:published", "popularity:published")))
    assert [cell.recipe for cell in done.written] == ["popularity:published"]
    (why,) = done.failed.values()
    assert why.startswith("tafeng names no published settings of up_cf; it names popularity, ")


# --- small parts ------------------------------------------------------------------------------------------------------


def test_seeds_that_change_nothing_are_not_run(order: Order) -> None:
    cells = replace(order, models=("popularity:published", "hybrid_factorization"), seeds=(0, 1)).cells()
    assert [(cell.recipe, cell.seed) for cell in cells] == [
        ("popularity:published", 0),
        ("hybrid_factorization", 0),
        ("hybrid_factorization", 1),
    ]
    assert [cell.seed for cell in replace(order, models=("popularity:published",), seeds=(1, 2)).cells()] == [0]
    with pytest.raises(UsageError, match="seeds"):
        replace(order, seeds=())


def test_fixed_settings_are_drawn_with_the_seed_of_the_cell(order: Order) -> None:
    now = protocol("tafeng")
    split = now.split(now.load(data_folder()), "0")
    store = Receipts(order.cache)
    one = search.Search(split=split, metric="ndcg@10", budget=FEW, seed=3, store=store, about=["here"])
    assert choose(now, "ranker:plain", split, one, lambda share: None).settings["seed"] == 3
    assert "seed" not in choose(now, "popularity:plain", split, one, lambda share: None).settings


def test_models_left_out_are_models(order: Order) -> None:
    with pytest.raises(UsageError, match="no model named 'transformer'; known: "):
        replace(order, without=("transformer",))
