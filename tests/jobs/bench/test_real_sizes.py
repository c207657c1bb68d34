"""The real data under the protocols hold what their publishers say; quick: nothing is fitted."""

from __future__ import annotations

from pathlib import Path

import pytest

from aisle.jobs.bench.protocols import protocol

pytestmark = pytest.mark.data


@pytest.mark.parametrize(
    ("name", "asked", "products", "lines"),
    [
        ("gowalla", 29_858, 40_981, 810_128),
        ("beauty_bert4rec", 40_226, 54_542, 353_962 - 40_226),
        ("s3rec_beauty", 22_363, 12_101, 198_502 - 22_363),
        ("s3rec_sports", 35_598, 18_357, 296_337 - 35_598),
        ("movielens_1m", 6_040, 3_416, 999_611 - 6_040),
    ],
)
def test_sizes(name: str, asked: int, products: int, lines: int, real_data: Path) -> None:
    now = protocol(name)
    sizes = now.split(now.load(real_data), "all").sizes()
    assert (sizes["asked"], sizes["products"], sizes["lines"]) == (asked, products, lines)
    assert sizes["candidates"] == products


def test_gowalla_truth(real_data: Path) -> None:
    now = protocol("gowalla")
    split = now.split(now.load(real_data), "all")
    assert split.sizes()["wanted"] == 217_242
    assert split.data.counts.multiply(split.wanted).nnz == 0  # train and test do not overlap


def test_tafeng_partitions(real_data: Path) -> None:
    now = protocol("tafeng")
    data = now.load(real_data)
    for part in now.parts:
        split = now.split(data, part)
        assert split.sizes()["asked"] == 2_772
        assert split.plain is not None
        assert len(split.plain.purchases) == 480_611
        assert split.inner is not None
        assert split.inner().sizes()["asked"] == 1_109
