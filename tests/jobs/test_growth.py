"""A source that grows by files: what is kept takes them in, and says and gives what reading everything does."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from aisle import files
from aisle.config import RunConfig
from aisle.data import stored, woven
from aisle.jobs import cache as room
from aisle.jobs import growth
from aisle.jobs.cache import ingest
from aisle.jobs.demo import demo
from tests.jobs.test_cache import same


@pytest.fixture
def reasons(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Says why all was read."""
    caplog.set_level("INFO", logger="aisle.jobs.growth")
    return caplog


HEAD = "order_id,customer_id,product_id,timestamp,quantity,amount,store_id"


@dataclass
class Shop:
    """A retailer of some habits, drawn by a seed, whose files are written one by one."""

    seed: int
    number: int = 0
    day: int = 20
    sold: list[tuple[int, str, str, float]] = field(default_factory=list)
    written: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = self.rng = random.Random(self.seed)
        self.ordered, self.named, self.facts = rng.random() < 0.6, rng.random() < 0.5, rng.random() < 0.5
        self.anonymous = [""] * 2 if self.ordered and rng.random() < 0.5 else []
        self.customers, self.products = rng.choice([3, 8, 30]), rng.choice([3, 8, 30])
        self.returns, self.late, self.copies = rng.choice([0.1, 0.4]), rng.choice([0.0, 0.3]), rng.choice([0.0, 0.1])
        self.head = HEAD + (",name,cat,tier" if self.facts else "")
        self.tables = {name: rng.random() < 0.5 for name in ("products", "customers", "availability")}

    @property
    def config(self) -> RunConfig:
        columns = {name: name for name in HEAD.split(",")}
        if self.facts:
            columns |= {"name": "name", "category_1": "cat", "customer.tier": "tier"}
        data: dict[str, Any] = {"transactions": {"files": ["sales-*.csv"], "columns": columns}}
        keys = {"products": ["product_id", "category_1"], "customers": ["customer_id"]}
        keys["availability"] = ["store_id", "product_id"]
        for name in (name for name, there in self.tables.items() if there):
            data[name] = {"files": [f"{name}.csv"], "columns": {key: key for key in keys[name]}}
        return RunConfig(data=data)

    def write_tables(self, folder: Path) -> None:
        rows = {
            "products": ["product_id,category_1,size", *(f"p{i},k{i % 3},{i * 1.5}" for i in (0, *range(0, 40, 2)))],
            "customers": ["customer_id,age", *(f"c{i},{20 + i}" for i in range(0, 40, 2))],
            "availability": ["store_id,product_id", *(f"s{i % 3},p{i}" for i in range(20))],
        }
        for name in (name for name, there in self.tables.items() if there):
            (folder / f"{name}.csv").write_text("\n".join(rows[name]) + "\n")

    def write_file(self, folder: Path) -> None:
        """Some orders, mostly later than those before; names of files are no order of time."""
        rng, place = self.rng, len(list(folder.glob("sales-*")))
        lines = [line for _ in range(rng.choice([3, 8])) for line in self.order()]
        if self.written and rng.random() < 0.2:
            lines += rng.sample(self.written, min(3, len(self.written)))
        self.written, self.day = self.written + lines, self.day + 5
        number = 50 + place if rng.random() < 0.8 else 49 - place
        (folder / f"sales-{number}.csv").write_text("\n".join([self.head, *lines]) + "\n")

    def order(self) -> list[str]:
        rng, found = self.rng, list[str]()
        self.number += 1
        buyer = rng.choice([*(f"c{i}" for i in range(self.customers)), *self.anonymous])
        day = max(0, self.day - rng.randint(0, 40)) if rng.random() < self.late else self.day
        when = f"2024-{1 + day // 28:02}-{1 + day % 28:02} {rng.choice([9, 12]):02}:00:00"
        for _ in range(rng.randint(1, 3)):
            order, who, product = self.number, buyer, f"p{rng.randrange(self.products)}"
            quantity = rng.choice([1, 1, 2, 0.5])
            if self.sold and rng.random() < self.returns:
                named, who, product, quantity = rng.choice(self.sold)
                order, quantity = named if self.named else order, -quantity
                who = f"c{rng.randrange(self.customers)}" if rng.random() < 0.1 else who
            else:
                self.sold.append((order, who, product, quantity))
            ids, store = f"{order if self.ordered else ''},{who},{product}", f"s{rng.randrange(4)}"
            line = f"{ids},{when},{quantity},{quantity * 1.1:.2f},{store}"
            if self.facts:
                line += f",{product}{rng.choice(['', '', '', ' new'])},k{rng.randrange(2)},t{rng.randrange(2)}"
            found += [line] * (2 if rng.random() < self.copies else 1)
        return found


def mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few lines there are, they are kept mapped."""
    for module in (room, growth):
        monkeypatch.setattr(module, "MAPPED", 1)


@pytest.mark.parametrize("block", [None, 1, 7])
def test_grown_by_files_it_is_as_if_read_at_once(
    block: int | None, tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders go on, come late or twice, are returned, by others too; most visits need not read all."""
    grown = visits = 0
    if block is not None:
        mapped(monkeypatch)
        monkeypatch.setattr(woven, "BLOCK", block)
        monkeypatch.setattr(files, "ROWS", 5)
    for seed in range(24):
        shop, folder = Shop(seed), tmp_path / f"{seed}" / "shop"
        folder.mkdir(parents=True)
        shop.write_tables(folder)
        for step in range(4):
            for _ in range(shop.rng.choice([1, 1, 2])):
                shop.write_file(folder)
            reads.clear()
            found = ingest(folder, shop.config, folder=folder.with_name("kept"))
            grown, visits = grown + (not reads), visits + (step > 0)
            assert same(found, ingest(folder, shop.config)), (seed, step, not reads)
            assert (block is None) == (not list(folder.with_name("kept").glob("*/*/dataset/lines/*.npy")))
    assert grown > visits // 2


def write(folder: Path, number: int, lines: list[str]) -> None:
    (folder / f"transactions-{number}.csv").write_text("\n".join([HEAD, *lines]) + "\n")


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


def test_a_whole_retailer_grows(tmp_path: Path, reads: list[Path], reasons: pytest.LogCaptureFixture) -> None:
    shop = tmp_path / "shop"
    demo(shop, customers=80, products=60, seed=4)
    sales = sorted(shop.glob("transactions*.csv"))
    head, *lines = [line for file in sales for line in file.read_text().splitlines()]
    for file in sales:
        file.unlink()
    lines = [line for line in lines if line != head]
    edges = [0, len(lines) * 8 // 10, len(lines) * 9 // 10, len(lines)]
    for number, (start, stop) in enumerate(pairwise(edges), 1):
        reads.clear()
        (shop / f"transactions-{number}.csv").write_text("\n".join([head, *lines[start:stop]]) + "\n")
        found = ingest(shop, RunConfig(), folder=tmp_path / "kept")
        assert bool(reads) == (number == 1), reasons.text
        assert same(found, ingest(shop, RunConfig()))


def test_who_opts_out_on_a_line_is_forgotten_in_all(tmp_path: Path, reads: list[Path]) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    columns = {name: name for name in HEAD.split(",")} | {"customer.no_profile": "out"}
    config = RunConfig(data={"transactions": {"files": ["transactions-*.csv"], "columns": columns}})
    (shop / "transactions-1.csv").write_text(f"{HEAD},out\n" + "".join(f"{line},\n" for line in plain(range(10))))
    ingest(shop, config, folder=tmp_path / "kept")
    (shop / "transactions-2.csv").write_text(
        f"{HEAD},out\n" + "".join(f"{line},yes\n" for line in plain(range(10, 12)))
    )
    reads.clear()
    found = ingest(shop, config, folder=tmp_path / "kept")
    assert reads
    assert found.dataset.flag("no_profile").all()
    assert same(found, ingest(shop, config))


def test_altered_arrays_and_standings_of_other_code_are_left(
    shop: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (array,) = shop.with_name("kept").glob("*/*/dataset/lines.parquet")
    assert grown(shop, reads, 2, plain(range(10, 12)))
    assert not array.exists()
    mapped(monkeypatch)
    assert grown(shop, reads, 3, plain(range(12, 14)))
    (array,) = shop.with_name("kept").glob("*/*/dataset/lines/product.npy")
    array.write_bytes(array.read_bytes()[:-1] + b"\x01")
    assert not grown(shop, reads, 4, plain(range(14, 16)))
    (told,) = (path for path in shop.with_name("kept").glob("*/*/standing/*.json"))
    told.write_text(told.read_text().replace('"ordered"', '"sorted"'))
    assert not grown(shop, reads, 5, plain(range(16, 18)))
    monkeypatch.setattr(room, "_code", lambda: "another")
    assert not grown(shop, reads, 6, plain(range(18, 20)))


def test_only_anonymous_lines_may_come(shop: Path, reads: list[Path]) -> None:
    assert grown(shop, reads, 2, [line.replace(",1,2.0", ",-1,-2.0") for line in plain(range(10, 12))])
    assert grown(shop, reads, 3, [line.replace("ann", "") for line in plain(range(12, 14))])


@pytest.fixture
def grown_once(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kept source of two files whose lines are mapped."""
    mapped(monkeypatch)
    write(shop, 2, plain(range(10, 12)))
    ingest(shop, RunConfig(), folder=shop.with_name("kept"))
    return shop


def left(shop: Path) -> list[str]:
    """What lies hidden in the folder of the kept source."""
    return [path.name for path in shop.with_name("kept").glob("*/.*")]


def test_lines_are_written_once_and_are_those_of_a_first_read(
    grown_once: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    save = stored._save

    def noted(folder: Path, columns: Any) -> None:
        written.append(folder)
        save(folder, columns)

    monkeypatch.setattr(stored, "_save", noted)
    write(grown_once, 3, plain(range(12, 14), who="amy"))
    ingest(grown_once, RunConfig(), folder=grown_once.with_name("kept"))
    assert "lines" not in [folder.name for folder in written]
    assert not left(grown_once)
    (folder,) = grown_once.with_name("kept").glob("*/*/dataset/lines")
    found = {file.name: file.read_bytes() for file in folder.iterdir()}
    ingest(grown_once, RunConfig(), folder=grown_once.with_name("anew"))
    (folder,) = grown_once.with_name("anew").glob("*/*/dataset/lines")
    assert found == {file.name: file.read_bytes() for file in folder.iterdir()}


def test_on_a_full_disk_lines_stay_in_memory(
    grown_once: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(folder: Path, *_: Any) -> None:
        folder.mkdir()
        raise OSError(28, "No space left on device")

    kept: list[list[str]] = []
    keep = room._keep

    def looked(*given: Any) -> bool:
        kept.append(left(grown_once))
        return keep(*given)

    monkeypatch.setattr("aisle.data.grow.write_lines", full)
    monkeypatch.setattr(room, "_keep", looked)
    assert grown(grown_once, reads, 3, plain(range(12, 14)))
    assert "lines stay in memory: [Errno 28] No space left" in caplog.text
    assert kept == [[]], "what was written is gone at once"
    assert "not kept" not in caplog.text
    reads.clear()
    ingest(grown_once, RunConfig(), folder=grown_once.with_name("kept"))
    assert not reads


@pytest.mark.parametrize("killed", [False, True])
def test_lines_that_are_not_kept_are_gone(
    killed: bool,
    grown_once: Path,
    reads: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also those of a command that was stopped or killed."""
    write(grown_once, 3, plain(range(12, 14)))
    with monkeypatch.context() as patch:
        patch.setattr("aisle.data.doctor.history.silent_weeks", stop)
        with pytest.raises(KeyboardInterrupt):
            ingest(grown_once, RunConfig(), folder=grown_once.with_name("kept"))
    assert not left(grown_once)
    if killed:
        (mine,) = grown_once.with_name("kept").iterdir()
        (mine / growth.WRITTEN).mkdir()
        (mine / growth.WRITTEN / "time.npy").touch()
    with monkeypatch.context() as patch:
        patch.setattr("aisle.data.doctor.pieces.Pieces.untouched", lambda pieces: False)
        assert grown(grown_once, reads, 3, plain(range(12, 14)))
    assert not left(grown_once)
    assert grown(grown_once, reads, 3, plain(range(12, 14)))
    assert "lines stay in memory" not in caplog.text


def stop(*_: Any) -> None:
    raise KeyboardInterrupt


def test_damage_that_no_write_has_done_is_found_before_it_is_copied(
    grown_once: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that lost a bit: the file has the state that it had."""
    (array,) = grown_once.with_name("kept").glob("*/*/dataset/lines/product.npy")
    monkeypatch.setattr(room, "state", lambda path: (1,))
    ingest(grown_once, RunConfig(), folder=grown_once.with_name("kept"))
    array.write_bytes(array.read_bytes()[:-1] + b"\x01")
    assert not grown(grown_once, reads, 3, plain(range(12, 14)))


def test_texts_that_cannot_be_kept_are_no_reason_to_stop(
    shop: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_parquet = files.write_parquet

    def full(path: Path, *given: Any, **named: Any) -> None:
        if path.name == "texts.parquet" and path.parent.name[0] != ".":  # those that were read once more
            raise OSError(28, "No space left on device")
        write_parquet(path, *given, **named)

    monkeypatch.setattr("aisle.data.doctor.pieces.write_parquet", full)
    assert grown(shop, reads, 2, plain(range(9, 11)))
    assert "texts of transactions-2.csv: [Errno 28] No space left" in caplog.text
