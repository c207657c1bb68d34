"""Approximate search by the command line, on a small retailer and with the thresholds lowered to it."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from aisle.bundle import load
from aisle.cli import main
from aisle.engine import Local
from aisle.engine.base import Answers, let_go
from aisle.errors import ResourceError, UsageError
from aisle.jobs.demo import demo
from aisle.jobs.lists import Policy, write_lists
from aisle.kernels import approximate
from aisle.rank import search
from aisle.rank.rules import Plan

needs_faiss = pytest.mark.skipif(
    importlib.util.find_spec("faiss") is None, reason="faiss is not installed: pip install 'aisle[ann]'"
)
AUTO = ("--search", "auto", "--least-recall", "0.9")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search") / "shop"
    demo(folder, customers=400, products=300, days=300, seed=3)
    return folder


@pytest.fixture(scope="module")
def model(shop: Path) -> Path:
    from aisle.jobs.train import train

    train(shop, shop.parent / "model", "ials", settings={"dim": 16, "sweeps": 4})
    return shop.parent / "model"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few products and customers are many, and looking into all cells is cheap."""
    monkeypatch.setattr(search, "LARGE", 50)
    monkeypatch.setattr(search, "MANY", 100)
    monkeypatch.setattr(approximate, "DEARER", {True: 1, False: 1})


def aisle(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["aisle", *map(str, arguments)])
        main()


def listed(monkeypatch: pytest.MonkeyPatch, model: Path, out: Path, *more: str) -> pl.DataFrame:
    aisle(monkeypatch, "recommend", model, "--out", out, "--quiet", *more)
    return pl.read_parquet(out)


@needs_faiss
@pytest.mark.usefixtures("small")
def test_a_run_says_what_recall_its_lists_have(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    aisle(monkeypatch, "run", shop, "--out", out, "--budget", "quick", "--models", "popularity,ials", "--quiet", *AUTO)
    told = json.loads((out / "certificate.json").read_text())["lists"]["search"]
    assert told["kind"] == "approximate"
    assert told["asked"] == 0.9 <= told["recall"] <= 1
    assert 1 < told["effort"] < told["cells"]
    shown = f"the index finds {100 * told['recall']:.2f} % of the exact lists"
    assert shown in " ".join(capsys.readouterr().out.split())
    assert shown in (out / "report.html").read_text(encoding="utf-8")
    lists = pl.read_parquet(out / "recommendations.parquet")
    again = listed(monkeypatch, out / "model", tmp_path / "again.parquet", *AUTO)
    assert again.equals(lists)  # the index is built anew, and is the same
    exact = listed(monkeypatch, out / "model", tmp_path / "exact.parquet")
    assert exact.height == lists.height
    same = lists.join(exact, on=["customer_id", "product_id"])
    assert same.height >= 0.9 * exact.height


@needs_faiss
@pytest.mark.usefixtures("small")
def test_a_refused_index_leaves_exact_lists_and_is_told(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(approximate, "DEARER", {True: 64, False: 64})  # one cell a customer at most
    found = listed(monkeypatch, model, tmp_path / "auto.parquet", *AUTO)
    assert "exact search instead of approximate: the index was refused" in caplog.text
    assert found.equals(listed(monkeypatch, model, tmp_path / "exact.parquet"))
    recommender = load(model).searching("auto", least_recall=0.9)
    told = recommender.search_told(recommender.rules(), 10)
    assert told["kind"] == "exact"
    assert told["refused"]["effort"] == 1
    assert told["refused"]["recall"] < 0.9


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("changed", "why", "warned"),
    [
        ({(search, "LARGE"): 300_000}, "up to 300,000 are searched exactly", False),
        ({(search, "MANY"): 10_000}, "400 customers are searched exactly before an index is built", False),
        ({(search, "chosen_device"): lambda targets: "cuda"}, "a GPU searches exactly", False),
        ({(approximate, "index_bytes"): lambda targets: 1 << 40}, "an index takes 1,048,576 MB", True),
        ({(approximate, "installed"): lambda: False}, "pip install 'aisle[ann]'", True),
        ({(search, "FEW"): 1_000, (approximate, "installed"): lambda: True}, "too few to measure recall", True),
    ],
)
def test_auto_says_why_it_searches_exactly(
    model: Path,
    changed: dict[tuple[Any, str], Any],
    why: str,
    warned: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for (module, name), value in changed.items():
        monkeypatch.setattr(module, name, value)
    recommender = load(model).searching("auto")
    told = recommender.search_told(recommender.rules(), 10)
    assert told["kind"] == "exact"
    assert why in told["why"]
    assert ("exact search instead of approximate" in caplog.text) == warned


def test_exact_is_the_default_and_other_rules_need_every_score(model: Path) -> None:
    recommender = load(model)
    assert recommender.search_told(recommender.rules(), 10) == {"kind": "exact"}
    told = recommender.searching("auto").search_told(recommender.rules(repeats="only"), 10)
    assert told["kind"] == "exact"
    assert "every score" in told["why"]


@needs_faiss
@pytest.mark.usefixtures("small")
def test_an_index_is_measured_for_each_length_and_repeat_policy(model: Path) -> None:
    recommender = load(model).searching("auto", least_recall=0.9)
    short, again = (recommender._search(recommender.rules(), k) for k in (5, 5))
    assert short is again
    assert recommender._search(recommender.rules(), 40) is not short
    assert recommender._search(recommender.rules(repeats="new"), 5) is not short


class Elsewhere(Local):
    """Work that finds nothing of the caller's at hand, on a machine with faiss or without."""

    def __init__(self, faiss: bool) -> None:
        super().__init__()
        self.faiss, self.told = faiss, dict[str, Any]()

    def answers(self, task: str, parts: Mapping[int, str], shared: str) -> Answers:
        self.told = json.loads(shared)
        let_go()
        with pytest.MonkeyPatch.context() as patch:
            if not self.faiss:
                patch.setattr(approximate, "installed", lambda: False)
            yield from super().answers(task, parts, shared)


@needs_faiss
@pytest.mark.usefixtures("small")
def test_workers_search_as_the_certificate_says_or_not_at_all(model: Path, tmp_path: Path) -> None:
    recommender = load(model).searching("auto", least_recall=0.9)
    given = (recommender, model, recommender.dataset.customers.vocab.ids, Policy(), tmp_path)
    told = recommender.search_told(recommender.rules(), 10)
    with pytest.raises(ResourceError, match=r'faiss is not installed.*"approximate".*the same faiss on every machine'):
        write_lists(*given, engine=Elsewhere(faiss=False))
    with_faiss = Elsewhere(faiss=True)
    write_lists(*given, engine=with_faiss)
    assert told["kind"] == "approximate"
    assert with_faiss.told["search"] == told


@pytest.mark.usefixtures("small")
def test_recommend_takes_the_memory_that_its_messages_advise(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    listed(monkeypatch, model, tmp_path / "lists.parquet", *AUTO, "--memory", "20KB")
    assert "0 MB are left; give more --memory" in caplog.text


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("level", ["product", "category_1"])
def test_workers_build_nothing_where_the_caller_searches_exactly(
    level: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recommender = load(model).searching("auto", least_recall=0.9)
    if level == "product":
        monkeypatch.setattr(search, "MANY", 1_000)
        recommender.search_told(recommender.rules(), 10)
    monkeypatch.setattr(search, "MANY", 100)  # a worker that was asked would build an index
    monkeypatch.setattr(approximate, "tuned", lambda *rest, **more: pytest.fail("a worker measured an index"))
    elsewhere, ids = Elsewhere(faiss=True), recommender.dataset.customers.vocab.ids
    first, *_ = write_lists(recommender, model, ids, Policy(level=level), tmp_path, engine=elsewhere)
    assert Plan(**elsewhere.told["plan"]) == Plan()
    assert elsewhere.told["search"] == {"kind": "exact"}
    found = first.read_bytes()
    (again,) = write_lists(load(model), model, ids, Policy(level=level), tmp_path / "exact", engine=Local())
    assert again.read_bytes() == found


@pytest.mark.parametrize(("kind", "least"), [("fast", 0.9), ("auto", 0.0), ("auto", 1.5), ("auto", True)])
def test_what_is_no_search_or_recall_is_refused(model: Path, kind: Any, least: float) -> None:
    with pytest.raises(UsageError, match=r"search is 'fast'; allowed: exact, auto|least_recall is"):
        load(model).searching(kind, least_recall=least)
