"""Settings: strict names and kinds with a hint, sizes and moments, options over the file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from aisle.config import RunConfig, load_config
from aisle.errors import UsageError


def toml(folder: Path, text: str) -> Path:
    path = folder / "aisle.toml"
    path.write_text(text)
    return path


def test_options_lie_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    path = toml(tmp_path, '[run]\nk = 5\nseed = 3\nmodels = ["ease"]\n[data]\nname = "hm"\n')
    found = load_config(path, seed=7, memory=None)
    assert (found.k, found.seed, found.memory, found.models) == (5, 7, "4GB", ("ease",))
    assert found.data == {"name": "hm"}
    assert load_config(None) == RunConfig()
    assert load_config(toml(tmp_path, "")) == RunConfig()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[run]\nhorizn = 3\n", "did you mean 'horizon'"),
        ("[rnu]\nk = 3\n", "did you mean 'run'"),
        ("k = 3\n", "unknown section"),
        ("run = 3\n", r"written \[run\]"),
        ("[run]\ndata = 3\n", "unknown key 'data'"),
        ("[run\n", "not valid TOML"),
        ("[run]\nk = '5'\n", "whole number"),
        ("[run]\nk = true\n", "whole number"),
        ("[run]\nk = 0\n", "at least 1"),
        ("[run]\nk = 1001\n", "at most 1000"),
        ("[run]\nseed = -1\n", "at least 0"),
        ('[run]\nsearch = "fast"\n', "allowed: exact, auto"),
        ("[run]\nleast_recall = 0\n", "above 0 and up to 1"),
        ("[run]\nleast_recall = 1.01\n", "above 0 and up to 1"),
        ("[run]\nleast_recall = true\n", "above 0 and up to 1"),
        ("[run]\nleast_recall = '0.9'\n", "above 0 and up to 1"),
        ("[run]\nseed = 4294967296\n", r"2\^32"),
        ("[run]\nhorizon = 1.5\n", "whole number"),
        ("[run]\nmemory = 4\n", "in quotes"),
        ("[run]\nno_profile = ['a']\n", "in quotes"),
        ("[run]\nlist_gone = 'no'\n", "true, false"),
        ("[run]\nmodels = 'ease'\n", "list of names"),
        ("[run]\nmodels = [1]\n", "list of names"),
        ("[run]\nrepeats = 'never'\n", "mixed, new, only"),
        ("[run]\nbudget = 'huge'\n", "quick, standard, full"),
        ("[run]\ndate_order = 'ydm'\n", "dmy, mdy, ymd"),
    ],
)
def test_what_is_wrong_is_told_with_what_is_allowed(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=told):
        load_config(toml(tmp_path, text))


def test_a_missing_or_unreadable_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no configuration file .*none\.toml"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe[run]")
    with pytest.raises(UsageError, match="not valid TOML"):
        load_config(tmp_path / "x.toml")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MB", 512 << 20),
        ("4GB", 4 << 30),
        ("4g", 4 << 30),
        (" 1.5 GiB ", 3 << 29),
        ("1tb", 1 << 40),
        ("2048", 2048),
        ("3k", 3072),
    ],
)
def test_memory_sizes(text: str, size: int) -> None:
    assert RunConfig(memory=text).memory_bytes == size


@pytest.mark.parametrize("text", ["lots", "", "-4GB", "0GB", "4 G B", "4EB", "GB", "1e9"])
def test_other_memory_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="512MB"):
        RunConfig(memory=text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2011-11-09", datetime(2011, 11, 10)),
        ("20111109", datetime(2011, 11, 10)),
        ("2011-12-31", datetime(2012, 1, 1)),
        ("2011-11-09T18:00", datetime(2011, 11, 9, 18)),
        ("2011-11-09 00:00", datetime(2011, 11, 9)),
        ("2011-11-09T18:00+02:00", datetime(2011, 11, 9, 16)),
        ("2011-11-09T18:00Z", datetime(2011, 11, 9, 18)),
    ],
)
def test_a_bare_date_is_the_end_of_its_day_and_zones_become_utc(text: str, moment: datetime) -> None:
    assert RunConfig(at=text).at_moment == moment


@pytest.mark.parametrize("text", ["09/11/2011", "yesterday", "", "2011-13-01", "9999-12-31"])
def test_other_moments_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="ISO date"):
        RunConfig(at=text)


def test_dates_of_toml_are_read(tmp_path: Path) -> None:
    cases: dict[str, Any] = {
        "2011-11-09": datetime(2011, 11, 10),
        "2011-11-09T18:00:00": datetime(2011, 11, 9, 18),
        "2011-11-09T18:00:00+02:00": datetime(2011, 11, 9, 16),
        '"2011-11-09"': datetime(2011, 11, 10),
    }
    for text, moment in cases.items():
        assert load_config(toml(tmp_path, f"[run]\nat = {text}\n")).at_moment == moment


def test_no_moment_means_the_end_of_the_data() -> None:
    assert RunConfig().at_moment is None
