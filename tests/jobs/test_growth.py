"""A source that grows by files: what is kept takes them in, and says and gives what reading everything does."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from aisle.config import RunConfig
from aisle.jobs import cache as room
from aisle.jobs.cache import ingest
from aisle.jobs.ingest import clean_source
from tests.jobs.test_cache import same


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The sources that were read whole."""
    found: list[Path] = []
    clean = clean_source

    def counted(source: Any, *rest: Any, **named: Any) -> Any:
        found.append(source)
        return clean(source, *rest, **named)

    monkeypatch.setattr(room, "clean_source", counted)
    return found


HEAD = "order_id,customer_id,product_id,timestamp,quantity,amount,store_id"


def order(number: int, rng: random.Random, *, named: bool) -> list[str]:
    """Lines of an order: its customer and moment hang on its number alone; some are returns, copies or bad."""
    own, found = random.Random(number), []
    who = own.choice(["ann", "bob", "cem", "dee", "eva", *([""] if named else [])])
    day, hour = divmod(number, 2)
    when = f"2024-{1 + day // 28:02}-{1 + day % 28:02} {9 + 6 * hour:02}:00:00"
    for _ in range(rng.randint(1, 4)):
        product, store = rng.choice(["ale", "bun", "cod", "dip", "egg", "ale", "bun", ""]), rng.choice(["n", "s", ""])
        quantity = rng.choice([1, 1, 2, 3, -1, -2])
        amount = rng.choice(["", f"{quantity * 1.5}", f"{quantity * 1.5}"])
        found += [f"{number if named else ''},{who},{product},{when},{quantity},{amount},{store}"] * rng.choice(
            [1, 1, 1, 2]
        )
    return found


def write(folder: Path, number: int, lines: list[str]) -> None:
    (folder / f"transactions-{number}.csv").write_text("\n".join([HEAD, *lines]) + "\n")


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_grown_by_files_it_is_as_if_read_at_once(seed: int, named: bool, tmp_path: Path, reads: list[Path]) -> None:
    """Further files hold later orders, and some that came late, go on, or stand in a file before."""
    rng, shop = random.Random(seed), tmp_path / "shop"
    shop.mkdir()
    (shop / "products.csv").write_text("product_id,category_1,size\nale,drinks,3\nale,food,3\nbun,food,4\nfig,food,5\n")
    missing = set(rng.sample(range(80), 4))
    lines = [line for number in range(80) if number not in missing for line in order(number, rng, named=named)]
    write(shop, 5 if rng.random() < 0.5 else 1, lines)
    ingest(shop, RunConfig(), folder=tmp_path / "kept")
    grown = 0
    for number in (2, 3):
        fresh = [line for at in range(10) for line in order(60 + 10 * number + at, rng, named=named)]
        if rng.random() < 0.5:
            fresh += order(missing.pop(), rng, named=named)
        if rng.random() < 0.5:
            fresh += rng.sample(lines, 2)
        if rng.random() < 0.5:
            fresh += order(rng.randrange(80), rng, named=named)
        if rng.random() < 0.3:
            fresh += [line for line in lines if line.startswith("7")]
        write(shop, number, fresh)
        lines += fresh
        reads.clear()
        found = ingest(shop, RunConfig(), folder=tmp_path / "kept")
        grown += not reads
        assert same(found, ingest(shop, RunConfig()))
        assert same(ingest(shop, RunConfig(), folder=tmp_path / "kept"), found)
    assert grown or seed
