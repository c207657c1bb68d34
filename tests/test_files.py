"""Files are whole or absent, and what was altered is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from aisle import files
from aisle.errors import BundleError
from aisle.files import (
    Receipts,
    atomic,
    atomic_dir,
    fingerprint,
    parquet_parts,
    read_arrays,
    read_parquet,
    write_arrays,
    write_json,
    write_parquet,
    write_text,
)


class Stop(Exception):
    """What a killed job looks like from inside."""


def write_half(path: Path) -> None:
    path.write_text("half")
    raise Stop


def frame() -> pl.DataFrame:
    rows = range(200)
    return pl.DataFrame(
        {
            "customer_id": pl.Series([f"c{i % 17}" for i in rows], dtype=pl.Categorical),
            "text": [None if i % 7 == 0 else f"t{i}" for i in rows],
            "number": [i / 7 for i in rows],
            "whole": pl.Series(rows, dtype=pl.Int32),
            "time": pl.Series(rows).cast(pl.Datetime("us")),
            "flag": [i % 3 == 0 for i in rows],
        }
    )


def test_a_failing_block_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.txt"
    write_text(path, "old")
    with pytest.raises(Stop), atomic(path) as temporary:
        write_half(temporary)
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["x.txt"]
    write_text(path, "new")
    assert path.read_text() == "new"


def test_a_failing_block_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with atomic_dir(path) as temporary:
        (temporary / "a").write_text("old")
    with pytest.raises(Stop), atomic_dir(path) as temporary:
        write_half(temporary / "b")
    assert [p.name for p in path.iterdir()] == ["a"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    with atomic_dir(path) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "c").write_text("new")
    assert [p.name for p in path.iterdir()] == ["sub"], "nothing of the old folder stays"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_folder_swap_killed_half_way_is_undone_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    with atomic_dir(path) as temporary:
        (temporary / "a").write_text("old")
    rename = os.replace

    def killed(source: Path, target: Path) -> None:
        if Path(target) == path:
            raise Stop
        rename(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(Stop), atomic_dir(path) as temporary:
        (temporary / "b").write_text("new")
    monkeypatch.undo()
    with pytest.raises(Stop), atomic_dir(path):
        raise Stop
    assert (path / "a").read_text() == "old"


@pytest.mark.parametrize("folder", [False, True])
def test_contents_reach_the_disk_before_the_name_and_the_name_before_the_end(
    folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    rename = os.replace

    def record(source: Path, target: Path) -> None:
        done.append(f"name {Path(target).name}")
        rename(source, target)

    sync = files.sync

    def record_sync(path: Path) -> None:
        done.append(f"sync {path.name}")
        sync(path)

    monkeypatch.setattr(files, "sync", record_sync)
    monkeypatch.setattr(os, "replace", record)
    if folder:
        with atomic_dir(tmp_path / "x") as temporary:
            (temporary / "a").write_text("a")
        assert done == ["sync a", "sync .x.tmp", "name x", f"sync {tmp_path.name}"]
    else:
        write_text(tmp_path / "x", "a")
        assert done == ["sync .x.tmp", "name x", f"sync {tmp_path.name}"]


def in_parts(path: Path) -> pl.DataFrame:
    """A file read row group by row group."""
    return pl.concat(parquet_parts(path))


@pytest.mark.parametrize("rows", [7, 1 << 20])
def test_parquet_comes_back_as_it_was(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ROWS", rows)
    for number, given in enumerate([frame(), frame().head(0), pl.DataFrame()]):
        path = tmp_path / "year=2024" / f"{number}.parquet"  # a folder that looks like a partition
        write_parquet(path, given)
        for found in (read_parquet(path), *([in_parts(path)] if given.height else [])):
            assert found.schema == given.schema
            assert found.equals(given)


def test_numbers_that_rise_take_a_part_of_the_room(tmp_path: Path) -> None:
    rng, size = np.random.default_rng(0), dict[bool, int]()
    given = pl.DataFrame({"line": np.arange(2, 100_002), "tick": rng.integers(-5, 5, 100_000) * 10**9})
    for rising in (False, True):
        path = tmp_path / f"{rising}.parquet"
        write_parquet(path, given, quick=True, rising=["line"] if rising else [])
        assert read_parquet(path).equals(given)
        assert in_parts(path).equals(given)
        size[rising] = path.stat().st_size
    assert size[True] < size[False] / 2


@pytest.mark.parametrize("read", [read_parquet, in_parts])
def test_no_flipped_byte_of_a_parquet_file_goes_unseen(
    read: Callable[[Path], pl.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.parquet"
    monkeypatch.setattr(files, "ROWS", 1 << 20 if read is read_parquet else frame().height // 2)
    write_parquet(path, frame())
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    footer = len(whole) - int.from_bytes(whole[-8:-4], "little") - 8
    places = [*rng.integers(0, footer, 100), *rng.integers(footer, len(whole), 200)]
    refused = 0
    for place in map(int, places):
        harmed = bytearray(whole)
        harmed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(harmed)
        try:
            found = read(path)
        except BundleError:
            refused += 1
        else:
            assert found.schema == frame().schema
            assert found.equals(frame()), f"byte {place} was altered and another frame came back"
        for name in frame().columns:
            try:
                column = read_parquet(path, [name])
            except BundleError:
                continue
            assert column.equals(frame().select(name)), f"byte {place} was altered and another {name} came back"
    assert refused > 200
    for length in (0, 4, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(BundleError, match=r"x\.parquet"):
            read(path)
    with pytest.raises(BundleError, match="none"):
        read(tmp_path / "none.parquet")


def test_a_row_group_that_is_not_there_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A footer that lists one less, as a flipped bit of it may."""
    monkeypatch.setattr(files, "ROWS", 50)
    write_parquet(tmp_path / "x.parquet", frame())
    file = pq.ParquetFile(tmp_path / "x.parquet", page_checksum_verification=True)
    shown = SimpleNamespace(
        num_row_groups=3, metadata=file.metadata, schema_arrow=file.schema_arrow, read_row_group=file.read_row_group
    )
    monkeypatch.setattr("aisle.files.pq.ParquetFile", lambda path, **_: shown)
    with pytest.raises(
        BundleError, match=r"x\.parquet was altered after it was written; restore it or write it again$"
    ):
        in_parts(tmp_path / "x.parquet")


def test_parquet_of_others_is_not_taken_for_ours(tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "x.parquet")
    with pytest.raises(BundleError, match=rf"^{tmp_path / 'x.parquet'} was altered after it was written; [^;]*$"):
        read_parquet(tmp_path / "x.parquet")


def test_receipts_come_back_by_key_and_torn_ones_count_as_none(tmp_path: Path) -> None:
    store = Receipts(tmp_path / "cells")
    key = {"model": "ease", "settings": {"l2": 0.5}, "window": (1, 2)}
    assert store.get(key) is None
    store.put(key, {"ndcg": 0.25, "list": (1, 2)})
    assert Receipts(tmp_path / "cells").get(key) == {"ndcg": 0.25, "list": [1, 2]}
    assert store.get({**key, "model": "knn"}) is None
    (path,) = (tmp_path / "cells").iterdir()
    whole = path.read_text()
    for torn in ("", whole[: len(whole) // 2], "[]", "{}", "7", whole.replace("0.25", "0.26"), '{"value": {}}'):
        path.write_text(torn)
        assert store.get(key) is None, torn
    path.write_bytes(b"\xff\xfe")
    assert store.get(key) is None
    store.put(key, {"ndcg": 0.5})
    assert store.get(key) == {"ndcg": 0.5}


def test_json_holds_no_nan_and_keeps_the_order(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"b": 1, "a": "ü"})
    assert (tmp_path / "x.json").read_text() == '{\n  "b": 1,\n  "a": "ü"\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert json.loads((tmp_path / "x.json").read_text())["b"] == 1


def test_fingerprints_do_not_depend_on_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_arrays_come_back_to_the_bit_with_their_value_or_not_at_all(tmp_path: Path) -> None:
    path, arrays = (
        tmp_path / "arrays.safetensors",
        {"b": np.arange(6.0).reshape(2, 3).T, "a:x.y": np.zeros((0, 2), "i8")},
    )
    write_arrays(path, arrays, {"names": ["b"], "none": None, "loss": float("nan")})
    found, value = read_arrays(path)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert (value["names"], value["none"], value["loss"] != value["loss"]) == (["b"], None, True)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    path.write_bytes(path.read_bytes()[:-1])
    for lost in (path, tmp_path / "missing.safetensors"):
        with pytest.raises(BundleError, match="cannot be read"):
            read_arrays(lost)


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a worker is given up for lost, and is not."""
    path, sync = tmp_path / "arrays.safetensors", files.sync

    def in_between(written: Path) -> None:
        monkeypatch.setattr(files, "sync", sync)
        write_arrays(path, {"a": np.ones(3)})
        sync(written)

    monkeypatch.setattr(files, "sync", in_between)
    write_arrays(path, {"a": np.zeros(3)})
    assert read_arrays(path)[0]["a"].sum() == 0, "the last one to end"
