"""The hash of a content tells apart whatever is not the same, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from aisle.jobs.bench.mark import content
from aisle.jobs.bench.protocols import protocol
from aisle.jobs.bench.split import Split
from tests.jobs.bench import stand_ins

CODES = np.arange(6, dtype=np.int32)
CSR = sp.csr_array(np.eye(3, dtype=np.float32))
DIFFERENT: list[Any] = [
    *(None, True, 1, 1.0, "1", "", [], ["1", "2"], ["12"], [["1"], "2"], {"a": 1}, {"a": 2}, {"b": 1}),
    *(CODES, CODES[::-1], CODES.astype(np.int64), CODES.reshape(2, 3), CODES[:0], np.zeros((0, 2), dtype=np.int32)),
    *(CSR, CSR * 2, CSR[[1, 0, 2]], CSR[:2], pl.Series(["a", None]), pl.Series(["a", ""]), pl.Series(["a"])),
]


def test_what_differs_has_another_hash() -> None:
    for one, other in combinations(DIFFERENT, 2):
        assert content(one) != content(other), (one, other)


def test_what_is_equal_has_the_same_hash() -> None:
    assert content(CODES[::-1]) == content(CODES[::-1].copy())
    assert content([CSR, pl.Series("x", ["a"])]) == content([CSR.copy(), pl.Series("y", ["a"])])


def test_what_has_no_content_is_refused() -> None:
    for wrong in (object(), np.array([object()]), [{1}]):
        with pytest.raises(TypeError, match="no content of a"):
            content(wrong)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    now = protocol("online_retail_30")
    return now.split(now.load(stand_ins.everything(tmp_path_factory.mktemp("data"))), "all")


@pytest.mark.parametrize("name", ["product", "time", "quantity", "amount"])
def test_a_split_follows_the_lines_that_are_learned_from(name: str, split: Split) -> None:
    events = split.data.all_events
    column = getattr(events, name).copy()
    column[[0, -1]] = column[[-1, 0]] + 1
    other = replace(split, data=replace(split.data, all_events=replace(events, **{name: column})))
    assert other.mark != split.mark


def test_a_split_follows_who_is_asked_for_what(split: Split) -> None:
    assert split.candidates is not None
    others = [
        replace(split, customers=split.customers[1:]),
        replace(split, wanted=split.wanted[:, ::-1].tocsr()),
        replace(split, candidates=~split.candidates),
        replace(split, candidates=None),
        replace(split, asked=split.data),
        replace(split, plain=split.data),
        replace(split, data=split.data.before(split.data.as_of - 1)),
        replace(split, data=replace(split.data, products=replace(split.data.products, names=None, tree=()))),
        replace(split, repeats=not split.repeats),
        replace(split, ideal_all=True),
    ]
    marks = {split.mark, *(one.mark for one in others)}
    assert len(marks) == len(others) + 1


def test_every_protocol_reads_the_same_content_twice(tmp_path: Path) -> None:
    folder = stand_ins.everything(tmp_path)
    for name in ("tafeng", "s3rec_beauty", "cold_products_movielens"):
        now = protocol(name)
        first, second = (now.split(now.load(folder), now.parts[0]) for _ in range(2))
        assert first.mark == second.mark
        assert first.inner is not None
        assert second.inner is not None
        assert first.mark != first.inner().mark == second.inner().mark
