"""``aisle bench speed`` by the command line, at sizes of seconds: real processes, stopping, going on, mistakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aisle.cli import app
from aisle.errors import AisleError

SMALL = ("--rows", "2000", "--products", "200", "--threads", "1")


def start(place: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a terminal starts it."""
    env = {**os.environ, "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, "-m", "aisle", "bench", "speed", *SMALL, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        cwd=place,
        start_new_session=True,
    )


def test_a_task_from_the_command_line_and_once_more(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "speed.md"
    page.write_text("# Page\n<!-- speed -->\n<!-- /speed -->\n", encoding="utf-8")
    with start(tmp_path, "--only", "ingest", "--turns", "1") as command:
        out, said = command.communicate(timeout=600)
    assert command.returncode == 0, said[-2_000:]
    assert "ingest: first read, turn 1 of 1 (1 of 5)  done in" in said
    assert "(5 of 5, about " in said
    assert "ingest written to benchmarks/results/speed.json: 5 measured now, 0 before" in out
    found = json.loads((tmp_path / "benchmarks/results/speed.json").read_text())["tasks"]["ingest"]
    figures = {one["side"]: one for one in found["figures"]}
    lines = {name: one["facts"]["rows"] for name, one in figures.items()}
    assert lines == {
        "first read": 2_000,
        "bare Polars": 2_000,
        "first read, kept": 2_000,
        "read again": 2_000,
        "1 % new lines": 2_020,
    }
    accepted = {one["facts"]["accepted"] for name, one in figures.items() if name.startswith(("first", "read"))}
    assert len(accepted) == 1
    assert all(one["cpu_seconds"] > 0 and one["peak_mb"] > one["base_mb"] > 0 for one in figures.values())
    assert found["machine"]["threads"] == "1"
    assert "| ingest | first read | bare Polars | " in page.read_text(encoding="utf-8")
    assert not (tmp_path / ".bench" / "speed" / "data").exists()
    again = CliRunner().invoke(app, ["bench", "speed", *SMALL, "--only", "ingest", "--turns", "1", *places(tmp_path)])
    assert again.exit_code == 0, again.exception
    assert "0 measured now, 5 before" in again.output


def places(folder: Path) -> tuple[str, ...]:
    """Options that keep everything in a folder."""
    files = {"--results": "benchmarks/results/speed.json", "--page": "docs/speed.md", "--cache": ".bench/speed"}
    return tuple(word for option, name in files.items() for word in (option, str(folder / name)))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_command_leaves_its_parts_and_no_process(tmp_path: Path, how: signal.Signals) -> None:
    with start(tmp_path, "--only", "limits", "--turns", "90") as command:
        assert command.stderr is not None
        for line in command.stderr:
            if "(2 of 270" in line:  # the first is kept, and the second is done
                break
        # Ctrl-C goes to all processes of a terminal; a kill to the command alone
        (os.killpg if how == signal.SIGINT else os.kill)(command.pid, how)
        said = command.stderr.read()
    if how == signal.SIGINT:
        assert command.returncode == 130
        assert "stopped; run the same command again to go on from here" in said
        assert "Traceback" not in said
    assert gone(command.pid)
    assert len(list((tmp_path / ".bench/speed/parts").glob("*.json"))) >= 1
    assert not (tmp_path / "benchmarks").exists()


def gone(group: int) -> bool:
    """Whether no process of a group is left after a while."""
    for _ in range(600):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "ingets"), "no task 'ingets'"),
        (("--rows", "10"), "--rows 10 are too few"),
        (("--table", "--results", "none.json"), "measure first"),
        (("--table", "--page", "none.md"), "none.md cannot be read"),
    ],
)
def test_mistakes_are_said(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "speed.md").write_text("<!-- speed --><!-- /speed -->", encoding="utf-8")
    found = CliRunner().invoke(app, ["bench", "speed", *arguments])
    assert isinstance(found.exception, AisleError)
    assert said in str(found.exception)
