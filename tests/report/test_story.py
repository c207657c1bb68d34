"""Words, figures, pictures and the terminal summary."""

from __future__ import annotations

import io
import math
import re
from datetime import date
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console, RenderableType

from aisle.models import MODELS
from aisle.report import plots, story, wording
from aisle.report.console import data_table, run_summary
from tests.report import examples


def told(renderable: RenderableType, width: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(renderable)
    return out.getvalue()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1_234_567, "1,234,567"),
        (-0.0123, "−0.012"),
        (-0.0001, "0.000"),
        (math.nan, "–"),
        (None, "–"),
        (True, "–"),
        ("12", "–"),
        (math.inf, "–"),
    ],
)
def test_numbers_are_written_for_people(value: Any, shown: str) -> None:
    assert wording.number(value) == shown


def test_a_difference_carries_its_sign() -> None:
    assert wording.interval({"mean": 0.01, "low": -0.002, "high": 0.0}, 3, sign=True) == "+0.010 (−0.002 to 0.000)"
    assert wording.interval({"mean": 0.5, "low": None}) == "0.500"
    assert wording.percent(0.0001) == "under 0.1 %"


def test_dates_are_written_out() -> None:
    assert wording.day("2011-11-09") == "9 November 2011"
    assert wording.day("2011-11-09 00:00") == "9 November 2011"
    assert wording.day("2011-11-09 14:30") == "2011-11-09 14:30"
    assert wording.day("basket -3") == "basket -3"


def test_every_model_of_the_registry_has_a_readable_name() -> None:
    assert set(MODELS) <= set(wording.MODEL_NAMES)
    assert wording.readable("item_knn beat ease; my_own lost") == "Similar products (item kNN) beat " + (
        "Product regression (EASE); my_own lost"
    )


def test_what_hides_or_turns_text_is_made_visible() -> None:
    assert (
        wording.visible("a\u202eb\u2066c\u200d\x1b[31m\nd\ud800") == "a⟨U+202E⟩b⟨U+2066⟩c⟨U+200D⟩⟨U+001B⟩[31m d⟨U+D800⟩"
    )
    assert wording.visible("Käse 乳酪 🧀") == "Käse 乳酪 🧀"
    assert len(wording.pasteable("x" * 900)) == 200


def verdict(**changes: Any) -> dict[str, Any]:
    base = examples.certificate()
    return base | {"verdict": base["verdict"] | changes}


def test_a_lead_that_may_be_chance_is_no_win() -> None:
    lift = {"metric": "ndcg@10", "mean": 0.004, "low": -0.001, "high": 0.009}
    found = story.tell(verdict(ship="personal_frequency", champion="ease", lift=lift))
    assert found.tone == "simple"
    assert found.headline.startswith("Use “Own favourites”: no learned model")
    assert "may be chance" in found.details[0]
    assert "better than" not in story.tell(verdict(lift=lift)).headline
    worse = lift | {"mean": -0.02, "low": -0.03, "high": -0.01}
    assert "the simple rule was better" in story.tell(verdict(ship="personal_frequency", lift=worse)).details[0]


def test_the_gain_is_relative_to_the_best_simple_rule() -> None:
    lift = {"metric": "ndcg@10", "mean": 0.2168 / 2, "low": 0.1, "high": 0.12}
    assert "50 % better than “Own favourites”" in story.tell(verdict(lift=lift)).headline


def test_the_picture_orders_models_and_marks_floor_and_rival() -> None:
    certificate = examples.certificate()
    bars = story.bars(certificate)
    assert [b.name for b in bars][:2] == ["hybrid_factorization", "ease"]
    assert [b.name for b in bars if b.rival] == ["personal_frequency"]
    svg = ElementTree.fromstring(plots.forest(bars, 0.0021, "NDCG@10"))
    dots = [float(node.attrib["cx"]) for node in svg.iter("circle")]
    assert dots == sorted(dots, reverse=True)
    floor = next(n for n in svg.iter("line") if n.attrib["class"] == "floor")
    scale = (dots[0] - dots[-1]) / (bars[0].mean - bars[-1].mean)
    assert float(floor.attrib["x1"]) == pytest.approx(dots[-1] - scale * (bars[-1].mean - 0.0021), abs=0.05)
    spans = [n for n in svg.iter("line") if n.attrib.get("stroke-width") == "3"]
    assert float(spans[0].attrib["x2"]) - float(spans[0].attrib["x1"]) == pytest.approx(scale * 0.012, abs=0.05)


def test_bars_of_sales_stand_to_scale() -> None:
    days = [date(2011, 1, 3), date(2011, 1, 10), date(2011, 1, 17)]
    svg = ElementTree.fromstring(plots.periods(days, [10.0, 20.0, 5.0], "Lines", cut=date(2011, 1, 17)))
    heights = [float(n.attrib["height"]) for n in svg.iter("rect")]
    assert heights[0] / heights[1] == pytest.approx(0.5)
    assert heights[2] / heights[1] == pytest.approx(0.25)
    assert sum(n.attrib["class"] == "cut" for n in svg.iter("line")) == 1


def test_the_axis_is_labelled_with_round_numbers() -> None:
    assert plots.nice_ticks(0.26, 6) == pytest.approx([0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3])
    assert plots.nice_ticks(9, 3) == pytest.approx([0, 5, 10])
    assert plots.compact(1_234_567) == "1.23M"


def test_the_terminal_tells_the_same_on_one_screen() -> None:
    shown = told(run_summary(examples.certificate(), "out/report.html"), 110)
    for wanted in (
        "956,781 sales rows read = 931,240 accepted",
        "412,310 dates",
        "12 % better",
        "Random lists",
        "0.0021",
    ):
        assert wanted in shown
    assert "out/report.html" in shown
    assert len(shown.splitlines()) <= 30


def test_the_terminal_shows_markup_and_controls_as_text() -> None:
    certificate = examples.certificate()
    certificate["models"] = {"[red]x[/red]\x1b[2J": examples.MODELS["ease"]}
    shown = told(run_summary(certificate, "[bold]out/report.html"), 160)
    assert "[red]x[/red]⟨U+001B⟩[2J" in shown
    assert "[bold]out/report.html" in shown
    assert "\x1b" not in shown


def test_the_doctor_is_summed_up_in_a_table() -> None:
    shown = told(data_table(examples.DATA))
    assert shown.index("QTY_BAD") < shown.index("DUP_ROW") < shown.index("DATE_ORDER")
    assert "keep_duplicates = true" in shown
    first, *rest = examples.DATA["findings"]
    more = {"findings": [*rest, first | {"code": "BIG", "severity": "warning", "rows": 99_999}]}
    text = told(data_table(more))
    assert text.index("QTY_BAD") < text.index("BIG") < text.index("DUP_ROW") < text.index("NOT_PRODUCT")
    many = examples.DATA | {"findings": examples.DATA["findings"] * 5}
    assert "and 8 more" in told(data_table(many))
    assert "Nothing wrong" in told(data_table({"rows_read": 3, "rows_accepted": 3, "rows_rejected": 0}))


def test_an_empty_certificate_is_no_crash() -> None:
    assert "No verdict" in told(run_summary({}))


def test_models_that_should_not_pass_unnoticed_are_named_once_for_each_flag() -> None:
    assert story.cautions(examples.certificate()) == []
    assert story.cautions(examples.flagged()) == [
        "Similar products (item kNN) and Two tower: each loses to “Recent bestsellers”: "
        "showing everybody what sells scores higher.",
        "Two tower calls itself personal but gives everybody the same list.",
    ]


def test_the_terminal_warns_of_them() -> None:
    shown = told(run_summary(examples.flagged()), 140)
    assert "⚠ Two tower calls itself personal but gives everybody the same list." in shown
    assert "each loses to “Recent bestsellers”" in shown
    assert re.search(r"^ *Two tower ⚠", shown, flags=re.MULTILINE)
    assert shown.count("⚠") == 4
    assert "⚠" not in told(run_summary(examples.certificate()), 140)


@pytest.mark.parametrize(
    ("search", "shown"),
    [
        ({"kind": "exact"}, ""),
        ({}, ""),
        ({"kind": "exact", "why": "a GPU searches exactly"}, "Exact search: a GPU searches exactly."),
        (
            {"kind": "approximate", "recall": 0.99731, "asked": 0.99, "effort": 3, "cells": 4000},
            "Approximate search: the index finds 99.73 % of the exact lists, at least 99.00 % were asked for.",
        ),
    ],
)
def test_how_lists_were_searched_is_told_where_an_index_was_asked_for(search: dict[str, Any], shown: str) -> None:
    certificate = {**examples.certificate(), "lists": {"rows": 10, "search": search}}
    assert story.searched(certificate) == shown
    assert shown in " ".join(told(run_summary(certificate), 200).split())
