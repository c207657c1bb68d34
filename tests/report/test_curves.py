"""How it learned: the curves stand to scale, broken figures do no harm, the sentence says what the picture shows."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest

from aisle.report import curves
from aisle.report.page import render
from tests.report import examples
from tests.report.test_page import HOSTILE, Reader, page


def learned(training: Any) -> list[curves.Learning]:
    return curves.learnings({"models": {"mine": {"ndcg@10": 0.1, "training": training}}})


def test_the_page_shows_how_each_model_learned() -> None:
    reader = Reader(page(examples.certificate()))
    assert "How it learned" in reader.text
    assert (
        "It went through the training data 12 times. Foretelling a later period, which it had not learned from, it was "
        "best after epoch 9 (from 0.281 at the start to 0.331): so many are used, since more did not help."
    ) in reader.text
    assert {"href": "#learning"} in [attributes for tag, attributes in reader.tags if tag == "a"]
    labels = [str(a["aria-label"]) for tag, a in reader.tags if tag == "svg"]
    wanted = (
        "Hybrid factorization by epoch: Training loss (lower is better) 5.913 to 4.697; "
        "Check on a later period (higher is better) 0.281 to 0.330; used: 9 epochs"
    )
    assert labels.count(wanted) == 2  # one for screens, one for phones


def test_models_without_epochs_have_no_section() -> None:
    assert "How it learned" not in page(examples.simple_wins())
    certificate = examples.certificate()
    certificate["models"] = {"ease": examples.MODELS["ease"]}
    assert "How it learned" not in page(certificate)
    assert len(curves.learnings(examples.certificate())) == 1


def circles(picture: str) -> list[tuple[float, float, float]]:
    found = ElementTree.fromstring(picture).iter("circle")
    return [(float(c.attrib["cx"]), float(c.attrib["cy"]), float(c.attrib["r"])) for c in found]


def test_curves_stand_to_scale_and_the_kept_epoch_is_marked() -> None:
    wide, narrow = learned({"loss": [4.0, 2.0, 1.0], "validation": [0.1, 0.2, 0.4, 0.3], "epochs": 2})[0].pictures
    for picture in (wide, narrow):
        dots = circles(picture)
        loss, check = dots[:3], dots[3:]
        assert [r for *_, r in dots] == [2, 5, 2, 2, 2, 5, 2]
        assert loss[0][1] - loss[1][1] == pytest.approx(2 * (loss[1][1] - loss[2][1]), abs=0.05)
        assert check[0][1] - check[2][1] == pytest.approx(3 * (check[0][1] - check[1][1]), abs=0.05)
        assert loss[0][1] < loss[1][1] < loss[2][1]  # down the page is less
        assert check[2][1] < check[3][1] < check[1][1] < check[0][1]
        for curve in (loss, check):
            steps = [b[0] - a[0] for a, b in pairwise(curve)]
            assert steps == pytest.approx([steps[0]] * len(steps), abs=0.05)
        svg = ElementTree.fromstring(picture)
        marks = [float(line.attrib["x1"]) for line in svg.iter("line") if line.attrib["class"] == "cut"]
        assert marks == [loss[1][0], check[2][0]]
        width, height = (float(n) for n in svg.attrib["viewBox"].split()[2:])
        assert all(0 < x < width and 0 < y < height for x, y, _ in dots)
        for words in svg.iter("text"):
            assert 0 < float(words.attrib["x"]) < width
    assert circles(wide)[3][0] > 380 > circles(wide)[2][0]  # beside each other
    assert circles(narrow)[5][1] > circles(narrow)[2][1]  # below each other


@pytest.mark.parametrize(
    ("epochs", "kept", "validation", "said"),
    [
        (5, 0, [0.3, 0.2, 0.2, 0.2, 0.2, 0.2], "never better than at its start"),
        (2, 2, [0.1, 0.2, 0.3], "twice. .* best after the last epoch .* more might help"),
        (3, 1, [0.1, 0.3, 0.2, 0.2], "best after epoch 1 .*more did not help"),
        (1, 1, [], "once. Nothing was held back"),
        (3, None, [0.1, 0.2], "Nothing was held back"),
        (3, 2, [math.nan, 0.1, 0.2, 0.1], "best after epoch 2: so many"),
    ],
)
def test_the_sentence(epochs: int, kept: int | None, validation: list[float], said: str) -> None:
    found = curves.say(epochs, kept, validation)
    assert re.search(said, found)


def test_figures_that_are_missing_break_the_line() -> None:
    (one,) = learned({"loss": [3.0, 2.5, None, 2.0, 1.9], "validation": [None] * 6, "epochs": 4})
    lines = [line.attrib["points"] for line in ElementTree.fromstring(one.pictures[0]).iter("polyline")]
    assert [len(points.split(", ")) for points in lines] == [2, 2]
    assert len(circles(one.pictures[0])) == 4


@pytest.mark.parametrize(
    "training",
    [None, {}, [], "x", {"loss": None}, {"loss": []}, {"loss": [None], "validation": ["a", True], "epochs": "b"}, 3],
)
def test_what_is_no_curve_is_left_out(training: Any) -> None:
    assert learned(training) == []


@pytest.mark.parametrize("kept", [None, -1, 99, True, "2", 1.0])
def test_a_kept_epoch_that_cannot_be_is_not_marked(kept: Any) -> None:
    (one,) = learned({"loss": [2.0, 1.0], "validation": [0.1, 0.1, 0.1], "epochs": kept})
    assert "cut" not in one.pictures[0]


@pytest.mark.parametrize("loss", [[0.0], [0.5] * 3, [-1.0, -2.0], [1e-9, 2e-9], [1e12, 1.0], list(range(500))])
def test_any_figures_make_a_picture(loss: list[float]) -> None:
    (one,) = learned({"loss": loss, "validation": [], "epochs": len(loss)})
    for picture in one.pictures:
        assert "nan" not in picture
        assert len([t for t in ElementTree.fromstring(picture).iter("text")]) < 24


def test_axes_are_labelled_with_round_numbers() -> None:
    assert curves.ticks_between(4.7, 5.91) == pytest.approx([4.5, 5, 5.5, 6])
    assert curves.ticks_between(-0.2, 0.1) == pytest.approx([-0.2, -0.1, 0, 0.1])
    assert curves.epoch_ticks(1) == [0, 1]
    assert curves.epoch_ticks(12) == [0, 2, 4, 6, 8, 10, 12]
    assert curves.epoch_ticks(500) == [0, 100, 200, 300, 400, 500]


def test_names_of_models_do_not_act() -> None:
    certificate = examples.certificate()
    certificate["models"] = {HOSTILE: examples.MODELS["hybrid_factorization"]}
    html = render(certificate, sales=examples.sales(), samples=[], rejects=examples.rejects())
    assert not {"script", "img"} & {tag for tag, _ in Reader(html).tags}
