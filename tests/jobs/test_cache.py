"""What was read is kept by content: taken again only where nothing has changed, and then to the last bit."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from aisle.config import RunConfig
from aisle.data.dataset import Dataset
from aisle.jobs import cache as room
from aisle.jobs.bench.mark import content
from aisle.jobs.cache import Ingested, ingest, place_of
from aisle.jobs.demo import demo
from aisle.jobs.ingest import clean_source


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    demo(folder, customers=60, products=50, dirt=True)
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The sources that were read, not taken from the cache."""
    found: list[Path] = []
    clean = clean_source

    def counted(source: Any, *rest: Any) -> Any:
        found.append(source)
        return clean(source, *rest)

    monkeypatch.setattr(room, "clean_source", counted)
    return found


def same(one: Ingested, other: Ingested) -> bool:
    assert one.report == other.report
    assert one.data == other.data
    assert one.rejects.equals(other.rejects)
    assert one.rejects.schema == other.rejects.schema
    return content(parts(one.dataset)) == content(parts(other.dataset))


def parts(data: Dataset) -> list[Any]:
    entities = [data.customers, data.products]
    plain = [data.clock, data.as_of, data.end, data.currency, data.stores.ids, data.channels.ids, data.first_sale]
    named = [[e.vocab.ids, e.tree, e.categories, e.numbers, e.flags, e.names, e.valid_from] for e in entities]
    return [data.all_events, plain, [[_plain(part) for part in one] for one in named], data.assortment]


def _plain(part: Any) -> Any:
    """Levels hold a vocabulary, which has no content of its own."""
    if isinstance(part, tuple):
        return [[level.name, level.vocab.ids, level.codes] for level in part]
    return part


def test_the_second_look_reads_nothing_and_sees_the_same(shop: Path, tmp_path: Path, reads: list[Path]) -> None:
    plain = ingest(shop, RunConfig())
    first = ingest(shop, RunConfig(), folder=tmp_path / "kept")
    assert len(reads) == 2
    second = ingest(shop, RunConfig(), folder=tmp_path / "kept")
    assert len(reads) == 2
    assert same(plain, first)
    assert same(first, second)
    assert len(second.dataset.all_events) > 500


def test_what_is_read_back_can_be_written_to(shop: Path, tmp_path: Path) -> None:
    ingest(shop, RunConfig(), folder=tmp_path)
    events = ingest(shop, RunConfig(), folder=tmp_path).dataset.all_events
    assert events.quantity.flags.writeable, "torch warns of arrays that are not"


@pytest.mark.parametrize(
    "settings",
    [{"at": "2024-12-01"}, {"date_order": "dmy"}, {"data": {"date_order": "dmy"}}, {"no_profile": "out.txt"}],
)
def test_settings_that_change_the_reading_read_again(
    settings: dict[str, Any], shop: Path, tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    customer = pl.read_csv(shop / "transactions-1.csv", infer_schema=False)["customer_id"].drop_nulls()[0]
    Path("out.txt").write_text(customer)
    ingest(shop, RunConfig(), folder=tmp_path / "kept")
    other = ingest(shop, RunConfig(**settings), folder=tmp_path / "kept")
    assert len(reads) == 2
    assert same(other, ingest(shop, RunConfig(**settings)))
    ingest(shop, RunConfig(k=3, seed=5, budget="full", **settings), folder=tmp_path / "kept")
    assert len(reads) == 3, "other settings do not matter"
    if "no_profile" in settings:
        Path("out.txt").write_text("somebody else")
        ingest(shop, RunConfig(**settings), folder=tmp_path / "kept")
        assert len(reads) == 4, "the content of the file counts"


def test_only_the_content_of_files_counts(shop: Path, tmp_path: Path, reads: list[Path]) -> None:
    lines = shop / "transactions-1.csv"
    ingest(shop, RunConfig(), folder=tmp_path / "kept")
    text = lines.read_text()
    lines.unlink()
    lines.write_text(text)
    ingest(shop, RunConfig(), folder=tmp_path / "kept")
    assert len(reads) == 1
    state = lines.stat()
    lines.write_text(text[:-3] + ("1" if text[-3] != "1" else "2") + text[-2:])
    os.utime(lines, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert lines.stat().st_size == state.st_size
    ingest(shop, RunConfig(), folder=tmp_path / "kept")
    assert len(reads) == 2, "a change that hides its time"
    (shop / "products.csv").rename(shop / "products-new.csv")
    ingest(shop, RunConfig(), folder=tmp_path / "kept")
    assert len(reads) == 3


def test_a_source_has_one_entry(shop: Path, tmp_path: Path) -> None:
    for at in ("2024-11-01", "2024-12-01"):
        ingest(shop, RunConfig(at=at), folder=tmp_path / "kept")
    (mine,) = (tmp_path / "kept").iterdir()
    assert len([entry for entry in mine.iterdir() if entry.is_dir() and entry.name != room.LINES]) == 1
    assert len(list((mine / room.LINES).iterdir())) == 2, "the lines of both files serve every entry"


@pytest.mark.parametrize(
    "file", ["dataset/lines.parquet", "rejects.parquet", "dataset/customers.parquet", "dataset/dataset.json"]
)
def test_an_entry_that_is_torn_or_altered_is_read_again(
    file: str, shop: Path, tmp_path: Path, reads: list[Path]
) -> None:
    first = ingest(shop, RunConfig(), folder=tmp_path / "kept")
    (path,) = (tmp_path / "kept").glob(f"*/*/{file}")
    bytes_ = bytearray(path.read_bytes())
    bytes_[len(bytes_) // 2] ^= 1
    path.write_bytes(bytes_)
    assert same(first, ingest(shop, RunConfig(), folder=tmp_path / "kept"))
    assert len(reads) == 2
    path.unlink()
    assert same(first, ingest(shop, RunConfig(), folder=tmp_path / "kept"))
    assert len(reads) == 3


def test_dates_that_lay_in_the_future_are_judged_anew_on_another_day(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "sales.csv"
    rows = ["customer_id,product_id,timestamp,quantity"]
    rows += [f"c{i % 7},p{i % 5},2024-01-{i % 28 + 1:02d},1" for i in range(200)]
    source.write_text("\n".join(rows))
    ingest(source, RunConfig(), folder=tmp_path / "kept")
    monkeypatch.setattr(room, "_today", lambda: "2031-01-01")
    ingest(source, RunConfig(), folder=tmp_path / "kept")
    assert len(reads) == 1, "nothing depends on the day"
    monkeypatch.undo()
    source.write_text("\n".join([*rows, f"c1,p1,{date.today().year + 3}-01-01,1"]))
    assert ingest(source, RunConfig(), folder=tmp_path / "kept").report.total("rejected") == 1
    monkeypatch.setattr(room, "_today", lambda: "2031-01-01")
    told = room._load(next((tmp_path / "kept").glob("*/*/")))
    assert told is None


def test_a_file_that_changes_while_it_is_read_is_not_kept(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = clean_source

    def disturbed(*given: Any) -> Any:
        found = clean(*given)
        with (shop / "transactions-1.csv").open("a") as file:
            file.write("\n")
        return found

    monkeypatch.setattr(room, "clean_source", disturbed)
    ingest(shop, RunConfig(), folder=tmp_path / "kept")
    assert not list((tmp_path / "kept").glob("*/*/"))


def test_off_is_no_folder(tmp_path: Path) -> None:
    assert place_of(None) is None
    assert place_of(None, tmp_path) == tmp_path
    assert place_of("off", tmp_path) is None
    assert place_of("there", tmp_path) == Path("there")


def test_today_is_a_day_of_utc() -> None:
    assert room._today() == datetime.now(UTC).date().isoformat()
