"""A learned model that gives everybody the same list, or loses to what sells, cannot be overlooked."""

from __future__ import annotations

from pathlib import Path

import pytest

from aisle.evaluate.assess import assess
from aisle.evaluate.certificate import certify
from aisle.evaluate.tune import Budget
from aisle.models import MODELS
from aisle.report import write_report
from aisle.report.console import run_summary
from tests.evaluate import toys
from tests.evaluate.shops import random_shop
from tests.report import examples
from tests.report.test_page import Reader
from tests.report.test_story import told

SAME = "Stuck and Backward: each calls itself personal but gives everybody the same list."


def test_it_reaches_the_page_and_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, where in toys.TOYS.items():
        monkeypatch.setitem(MODELS, name, where)
    names = ["random", "popularity", "stuck", "backward", "own", "item_knn"]
    found = assess(random_shop(6, customers=120), names, horizon=20, budget=Budget(settings=1))
    certificate = certify(found).to_json()
    write_report(tmp_path, certificate, sales=examples.sales(), samples=[], rejects=examples.rejects())
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    verdict = Reader(html[html.index('<section id="verdict"') : html.index("</section>") + 10]).text
    shown = " ".join(told(run_summary(certificate), 200).split())
    for text in (verdict, shown):
        assert SAME in text
        assert "Backward" in text.split("loses to “Bestsellers”")[0]
        assert "Own" in text.split("loses to “Bestsellers”")[0]
    for name in ("Stuck", "Backward", "Own"):
        assert f"{name} ⚠" in shown
        assert f"{name} ⚠" in Reader(html).text
    assert "Bestsellers ⚠" not in shown
    assert "Random lists ⚠" not in shown
    assert "How it learned" in html  # both toys leave curves
