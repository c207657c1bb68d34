"""A source that grows by files: what is kept takes them in, and says and gives what reading everything does."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from aisle.config import RunConfig
from aisle.jobs import cache as room
from aisle.jobs.cache import ingest
from aisle.jobs.demo import demo
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


@pytest.fixture
def reasons(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Says why all was read."""
    caplog.set_level("INFO", logger="aisle.jobs.growth")
    return caplog


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


def plain(numbers: range, **more: str) -> list[str]:
    """One line an order, nothing wrong with any."""
    return [
        f"{n},{more.get('who', 'ann')},ale,{more.get('when', f'2024-01-{1 + n:02} 10:00:00')},1,2.0,n" for n in numbers
    ]


def grown(shop: Path, reads: list[Path], number: int, lines: list[str]) -> bool:
    """Whether a further file is taken in without reading all; what comes of it is the same."""
    write(shop, number, lines)
    reads.clear()
    found = ingest(shop, RunConfig(), folder=shop.with_name("kept"))
    alone = not reads
    assert same(found, ingest(shop, RunConfig()))
    return alone


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Ten days of one customer, kept in ``kept``."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "products.csv").write_text("product_id,category_1\nale,drinks\n")
    write(folder, 1, plain(range(10)))
    ingest(folder, RunConfig(), folder=tmp_path / "kept")
    return folder


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (plain(range(10, 12)), ""),
        (plain(range(9, 12), who="bob"), "an order id stands for several customers"),
        (plain(range(10, 12), when="13/02/2024 10:00"), "dates have no order of their own"),
        ([line.replace("11,ann", ",ann") for line in plain(range(10, 12))], "order ids are missing"),
    ],
)
def test_what_hangs_on_all_lines_reads_them(
    lines: list[str], reason: str, shop: Path, reads: list[Path], reasons: pytest.LogCaptureFixture
) -> None:
    assert grown(shop, reads, 2, lines) == (not reason)
    assert reason in reasons.text


def test_other_files_read_all(shop: Path, reads: list[Path]) -> None:
    (shop / "products.csv").write_text("product_id,category_1\nale,brews\n")
    assert not grown(shop, reads, 2, plain(range(10, 12)))
    assert grown(shop, reads, 3, plain(range(12, 14)))
    (shop / "transactions-1.csv").unlink()
    assert not grown(shop, reads, 4, plain(range(14, 16)))


def test_settings_read_all(shop: Path, tmp_path: Path, reads: list[Path]) -> None:
    write(shop, 2, plain(range(10, 12)))
    for config in (RunConfig(at="2024-01-08"), RunConfig(date_order="dmy")):
        reads.clear()
        assert same(ingest(shop, config, folder=tmp_path / "kept"), ingest(shop, config))
        assert reads


def test_damaged_lines_are_read_again(shop: Path, reads: list[Path]) -> None:
    (piece,) = shop.with_name("kept").glob("*/lines/*/lines.parquet")
    piece.write_bytes(piece.read_bytes()[:-100])
    assert not grown(shop, reads, 2, plain(range(10, 12)))


def test_facts_on_lines_and_all_tables_grow(
    tmp_path: Path, reads: list[Path], reasons: pytest.LogCaptureFixture
) -> None:
    """A whole retailer, its sales cut in three; names stand on its lines too."""
    shop = tmp_path / "shop"
    demo(shop, customers=80, products=60, seed=4)
    sales = sorted(shop.glob("transactions*.csv"))
    head, *lines = [line for file in sales for line in file.read_text().splitlines()]
    for file in sales:
        file.unlink()
    product = head.split(",").index("product_id")
    names = [f"{line},{line.split(',')[product].strip()} by name" for line in lines if line != head]
    names = [line + "?" if n % 700 == 0 else line for n, line in enumerate(names)]
    edges = [0, len(names) * 8 // 10, len(names) * 9 // 10, len(names)]
    for number, (start, stop) in enumerate(pairwise(edges), 1):
        reads.clear()
        (shop / f"transactions-{number}.csv").write_text("\n".join([f"{head},name", *names[start:stop]]) + "\n")
        found = ingest(shop, RunConfig(), folder=tmp_path / "kept")
        assert bool(reads) == (number == 1), reasons.text
        assert same(found, ingest(shop, RunConfig()))
