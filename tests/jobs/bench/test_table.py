"""The tables say what the cells say, and verdicts follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aisle.errors import UsageError
from aisle.files import write_json
from aisle.jobs.bench.cells import cells_of, read_json
from aisle.jobs.bench.protocols import PROTOCOLS, protocol
from aisle.jobs.bench.table import START, STOP, renewed, tables, verdicts, write_page

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "benchmarks" / "results" / "accuracy"


def cell(recipe: str, seed: int, figures: dict[str, tuple[float, float, float]]) -> dict[str, Any]:
    values = {n: dict(zip(("mean", "low", "high"), v, strict=True)) for n, v in figures.items()}
    part = {"trials": [], "sizes": {"products": 10, "candidates": 9, "lines": 99}}
    return {
        "recipe": recipe,
        "seed": seed,
        "models": ["ease"],
        "figures": values,
        "customers": 7,
        "tuned_on": "ndcg@20",
        "parts": {"all": part},
        "cpu_seconds": 1.0,
        "search_cpu_seconds": 2.0,
        "peak_mb": 900.0,
        "machine": {"cpu": "a chip", "threads": "1"},
        "budget": {"settings": 3, "cpu_seconds": 9.0, "customers": 2_500},
        "commit": "abc",
    }


def test_a_bar_is_met_from_the_figures_alone(tmp_path: Path) -> None:
    def said(recall: tuple[float, float, float]) -> list[str]:
        write_json(
            tmp_path / "gowalla" / "S-s0.json", cell("S", 0, {"recall@20": recall, "ndcg@20": (0.1, 0.09, 0.11)})
        )
        return [one.said for one in verdicts(protocol("gowalla"), tmp_path)]

    assert said((0.1872, 0.18, 0.19))[1] == "met"
    assert said((0.1871, 0.18, 0.19))[1].startswith("**not met** (\N{MINUS SIGN}0.1%")
    assert said((0.2, 0.19, 0.21))[2] == "**not met** (\N{MINUS SIGN}35.8%)"
    assert said((0.2, 0.19, 0.21))[0] == "not run (`graph_filter:published`)"


def test_a_match_is_relative(tmp_path: Path) -> None:
    def said(recall: float) -> str:
        figures = {"recall@20": (recall, 0.0, 1.0), "ndcg@20": (0.1518, 0.0, 1.0)}
        write_json(tmp_path / "gowalla" / "graph_filter-published-s0.json", cell("graph_filter:published", 0, figures))
        return verdicts(protocol("gowalla"), tmp_path)[0].said

    assert said(0.1850) == "matches (largest difference 0.0%)"
    assert said(0.1842).startswith("matches")
    assert said(0.1830).startswith("**below**")
    assert said(0.1870).startswith("above")


def test_beyond_chance_asks_the_whole_interval(tmp_path: Path) -> None:
    figures = {name: (0.2, 0.1, 0.3) for name in ("recall@10", "ndcg@10", "recall@20")}
    write_json(tmp_path / "tafeng" / "C-s0.json", cell("C", 0, figures))
    said = {one.bar: one.said for one in verdicts(protocol("tafeng"), tmp_path)}
    assert said["beat: LightGBM union, R@10"] == "**not met**: above, but not beyond chance"
    assert said["beat: LightGBM union, R@20"].startswith("**not met** (")
    assert said["beat: aim, R@10"] == "met"
    assert said["beat: best classic, beyond chance"] == "not compared (`best classic` not run)"


def test_a_bar_over_the_best_of_a_kind_is_met_once_all_were_run(tmp_path: Path) -> None:
    now = protocol("sort_of_real")
    rivals = [name for name in now.recipes if name != "C"]

    def put(recipe: str, mean: float) -> None:
        figures = {name: (mean, mean - 0.01, mean + 0.01) for name in now.metrics}
        write_json(tmp_path / now.name / f"{recipe}-s0.json", cell(recipe, 0, figures))

    def said() -> str:
        return next(one.said for one in verdicts(now, tmp_path) if one.bar.startswith("beat"))

    def compared(rival: str, low: float | None = 0.01) -> None:
        entry = {"label": now.beats[0].label, "recipe": "C", "rival": rival, "metric": "ndcg@10", "factor": 1.03}
        entry |= {"ours": 0.3, "theirs": 0.2, "seeds": {"C": [0], rival: [0]}}
        entry |= {"difference": {"mean": 0.02, "low": low, "high": low and 0.03}, "met": low is not None}
        write_json(tmp_path / now.name / "versus.json", [entry])

    put("C", 0.3)
    assert said() == "not compared (`best classic` not run)"
    put("popularity", 0.2)
    assert said() == "not compared with `popularity` yet"
    compared("popularity")
    assert said() == f"met so far; not run: {', '.join(f'`{name}`' for name in rivals if name != 'popularity')}"
    for name in rivals:
        put(name, 0.2 if name == "popularity" else 0.1)
    assert said() == "met"
    compared("popularity", low=None)
    assert said() == "too few customers to say"
    put("ease", 0.25)  # a stronger rival than that of the comparison
    assert said() == "not compared with `ease` yet"


def test_what_was_left_out_is_told_with_the_reason(tmp_path: Path) -> None:
    found = cell("S", 0, {"recall@20": (0.1, 0.0, 0.2), "ndcg@20": (0.1, 0.0, 0.2)})
    why = {"slim": "left out on request", "ials": "too dear", "ease": "left out on request"}
    found["parts"]["all"]["left_out"] = why
    write_json(tmp_path / "gowalla" / "S-s0.json", found)
    text = tables(tmp_path)
    assert "| `S` = ease, 3 models left out | 0.1000" in text
    assert "- Not tried by `S`: slim, ease (left out on request); ials (too dear).\n" in text


def test_each_budget_is_told_with_the_rows_that_had_it(tmp_path: Path) -> None:
    figures = {"recall@20": (0.1, 0.0, 0.2), "ndcg@20": (0.1, 0.0, 0.2)}
    larger = {"settings": 1, "cpu_seconds": 90.0, "customers": 50_000}
    for name, budget in (("S", larger), ("ease", None), ("slim", None), ("ease:published", larger)):
        found = cell(name, 0, figures)
        found["budget"] = budget or found["budget"]
        found["parts"]["all"]["trials"] = [] if name.endswith("published") else [{"ndcg@20": 0.1}]
        write_json(tmp_path / "gowalla" / f"{name.replace(':', '-')}-s0.json", found)
    text = tables(tmp_path)
    assert "- Asked: 7 customers. Learned from 99 lines; may be listed: 9 of 10 products.\n" in text
    given = "CPU s a model, judged by at most"
    assert f"- Search for `S`: at most 1 setting and 90 {given} 50,000 customers.\n" in text
    assert f"- Search for `ease`, `slim`: at most 3 settings and 9 {given} 2,500 customers.\n" in text
    assert text.count("- Search for") == 2  # fixed settings cost none
    assert "| `slim` | 0.1000 (0.0000 to 0.2000) | 0.1000 (0.0000 to 0.2000) | 1 trial on ndcg@20 |" in text
    assert "- Ran on a chip, 1 thread; commit abc." in text


def test_sizes_are_those_of_a_row_that_learned_from_everything(tmp_path: Path) -> None:
    figures = {"recall@20": (0.1, 0.0, 0.2), "ndcg@20": (0.1, 0.0, 0.2)}
    lines = {"ease:published": 225_141, "graph_filter:published": 99, "slim": 99, "slim:published": 225_141}
    for name, count in lines.items():
        found = cell(name, 0, figures)
        found["parts"]["all"]["sizes"]["lines"] = count
        write_json(tmp_path / "gowalla" / f"{name.replace(':', '-')}-s0.json", found)
    text = tables(tmp_path)
    assert (
        "Learned from 99 lines; may be listed: 9 of 10 products.\n- `ease:published`, `slim:published` learned" in text
    )
    assert "- `ease:published`, `slim:published` learned from 225,141 lines.\n" in text
    assert text.count("learned from") == 1


def test_networks_that_were_stopped_by_the_latest_window_are_named(tmp_path: Path) -> None:
    for name, settings in (("basket_transformer:published", {"refit": False}), ("ease:published", {"l2": 1.0})):
        found = cell(name, 0, {"recall@20": (0.1, 0.0, 0.2), "ndcg@20": (0.1, 0.0, 0.2)})
        found["parts"]["all"]["settings"] = settings
        write_json(tmp_path / "gowalla" / f"{name.replace(':', '-')}-s0.json", found)
    said = "- `basket_transformer:published` took the latest window to stop by, and learned from the lines before it.\n"
    assert said in tables(tmp_path)


def test_the_table_names_all_that_the_parts_of_a_cell_ran_on(tmp_path: Path) -> None:
    found = cell("S", 0, {"recall@20": (0.1, 0.0, 0.2), "ndcg@20": (0.1, 0.0, 0.2)})
    for name, commit, threads in (("all", "abc", "1"), ("more", "def", "4")):
        origin = {"commit": commit, "machine": {"cpu": "a chip", "threads": threads}}
        found["parts"][name] = found["parts"]["all"] | origin
    found["commit"] = "abc, def"
    write_json(tmp_path / "gowalla" / "S-s0.json", found)
    assert "- Ran on a chip, 1 thread; a chip, 4 threads; commits abc, def." in tables(tmp_path)


@pytest.mark.parametrize(
    ("low", "high", "met", "said"),
    [
        (0.001, 0.02, True, "met: above"),
        (-0.05, 0.02, True, "met: level (\N{MINUS SIGN}25.0% to +10.0% of the rival)"),
        (-0.05, 0.0, True, "met: level (\N{MINUS SIGN}25.0% to 0.0% of the rival)"),
        (-0.05, -0.01, False, "**not met**"),
    ],
)
def test_level_is_told_with_the_width_of_the_difference(
    low: float, high: float, met: bool, said: str, tmp_path: Path
) -> None:
    now = protocol("cold_products_sort_of_real")
    for recipe, mean in (("S", 0.21), ("tree_shares:plain", 0.2)):
        found = cell(recipe, 0, {name: (mean, 0.1, 0.3) for name in now.metrics})
        write_json(tmp_path / now.name / f"{recipe.replace(':', '-')}-s0.json", found)
    entry: dict[str, Any] = {"label": now.beats[0].label, "recipe": "S", "rival": "tree_shares:plain"}
    entry |= {
        "metric": "ndcg@10",
        "factor": 1.0,
        "ours": 0.21,
        "theirs": 0.2,
        "seeds": {"S": [0], "tree_shares:plain": [0]},
    }
    entry |= {"difference": {"mean": 0.01, "low": low, "high": high}, "met": met}
    write_json(tmp_path / now.name / "versus.json", [entry])
    assert [one.said for one in verdicts(now, tmp_path)] == [said]


def test_seeds_are_averaged(tmp_path: Path) -> None:
    for seed, mean in ((0, 0.18), (1, 0.20)):
        figures = {"recall@20": (mean, mean - 0.01, mean + 0.01), "ndcg@20": (0.2, 0.1, 0.3)}
        write_json(tmp_path / "gowalla" / f"S-s{seed}.json", cell("S", seed, figures))
    assert "0.1900 (0.1800 to 0.2000)" in verdicts(protocol("gowalla"), tmp_path)[1].got
    text = tables(tmp_path)
    assert "| `S` = ease, seed 1 | 0.2000 (0.1900 to 0.2100)" in text


def test_attempts_and_published_rows_are_shown(tmp_path: Path) -> None:
    tried = [{"what": "more factors", "figure": "R@20 .186", "why": "the tail is noise"}]
    write_json(tmp_path / "gowalla" / "attempts.json", tried)
    text = tables(tmp_path)
    assert "- more factors: R@20 .186. the tail is noise" in text
    assert "| LightGCN (published: BARS leaderboard (reczoo/BARS)) | 0.1820 | 0.1547 |" in text
    assert text.count("Not measured yet") == len(PROTOCOLS)


def test_only_what_lies_between_the_markers_is_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"above\n{START}\nstale figures\n{STOP}\nbelow\n", encoding="utf-8")
    write_page(page, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"above\n{START}\n| protocol")
    assert text.endswith(f"{STOP}\nbelow\n")
    assert "stale" not in text
    with pytest.raises(UsageError, match="no <!-- accuracy"):
        renewed("nothing", tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        write_page(tmp_path / "none.md", tmp_path)


# --- what is committed ------------------------------------------------------------------------------------------------


def test_the_page_holds_what_the_cells_say() -> None:
    text = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    assert renewed(text, RESULTS) == text, "run: aisle bench accuracy --table"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_comparisons_are_those_of_the_cells(name: str) -> None:
    path = RESULTS / name / "versus.json"
    cells = {(c.recipe, c.seed): one["figures"] for c, one in cells_of(RESULTS, name).items()}
    for one in read_json(path) if path.exists() else []:
        for recipe, said in ((one["recipe"], one["ours"]), (one["rival"], one["theirs"])):
            means = [cells[recipe, seed][one["metric"]]["mean"] for seed in one["seeds"][recipe]]
            assert said == pytest.approx(sum(means) / len(means), abs=2e-6), "run: aisle bench accuracy"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_page_names_the_protocol(name: str) -> None:
    text = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    assert f"`{name}`" in text or f"`{'_'.join(name.split('_')[:2])}_…`" in text
