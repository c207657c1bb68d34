"""``aisle bench accuracy`` by the command line, on stand-ins of the data sets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aisle.cli import app
from aisle.errors import AisleError
from tests.jobs.bench import stand_ins


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_ins.everything(tmp_path_factory.mktemp("data"))


def bench(place: Path, data: Path | str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "AISLE_DATA": str(data), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "aisle", "bench", "accuracy", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=place, check=False, timeout=120)
    assert done.returncode == code, done.stderr[-2000:] + done.stdout[-500:]
    assert "Traceback" not in done.stderr
    return done


def test_a_cell_from_the_command_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "accuracy.md"
    page.write_text("# Page\n<!-- accuracy -->\n<!-- /accuracy -->\n", encoding="utf-8")
    cells = ("--only", "gowalla", "--models", "popularity")
    done = bench(tmp_path, folder, *cells)
    assert "gowalla popularity seed 0 (1 of 1)  done in" in done.stderr
    assert "1 cells written to benchmarks/results/accuracy, 1 asked for" in done.stdout
    cell = json.loads((tmp_path / "benchmarks/results/accuracy/gowalla/popularity-s0.json").read_text())
    assert cell["figures"]["recall@20"]["mean"] == 1.0
    assert "| `popularity` | 1.0000 | " in page.read_text(encoding="utf-8")
    assert "AISLE_DATA is not set" in bench(tmp_path, "", *cells, "--force", code=2).stderr


def asked(*arguments: str) -> str:
    """What the command says in this process."""
    found = CliRunner().invoke(app, ["bench", "accuracy", *arguments], env={"COLUMNS": "200"})
    assert found.exit_code == 0, found.exception
    return found.output


def test_the_list_and_the_table_need_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AISLE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("<!-- accuracy -->\n<!-- /accuracy -->\n", encoding="utf-8")
    assert "tables written" in asked("--table", "--page", str(page))
    cell = tmp_path / "benchmarks/results/accuracy/gowalla/popularity-s0.json"
    assert "measured" not in asked("--only", "gowalla", "--list")
    cell.parent.mkdir(parents=True)
    cell.write_text('{"figures": {"recall@20": {}, "ndcg@20": {}}}', encoding="utf-8")
    assert asked("--only", "gowalla", "--list").count("measured") == 1


def test_cells_that_are_kept_though_more_is_asked_for_are_told_in_a_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AISLE_DATA", str(folder))
    monkeypatch.chdir(tmp_path)
    cells = ("--only", "gowalla,s3rec_beauty", "--models", "popularity", "--quiet")
    small = ("--trials", "8", "--budget-seconds", "300", "--customers", "2500")
    assert "kept" not in asked(*cells, *small)
    assert "kept" not in asked(*cells, *small)
    said = "measured with 8 settings / 300 s / 2,500 customers"
    assert f"kept: 2 cells {said}; --force to measure again\n0 cells written" in asked(*cells)
    assert asked(*cells, "--list").count(said) == 2
    assert "2 cells written" in asked(*cells, "--force")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "golawa"), "no protocol 'golawa'"),
        (("--models", "els"), "no recipe 'els'"),
        (("--seeds", "a"), "write for example 0,1,2"),
        (("--only", "gowalla", "--models", "ease:published", "--quiet"), "1 cells could not be measured"),
    ],
)
def test_mistakes_are_said(
    arguments: tuple[str, ...], said: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AISLE_DATA", str(folder))
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(app, ["bench", "accuracy", *arguments])
    assert isinstance(found.exception, AisleError)
    assert said in str(found.exception)
