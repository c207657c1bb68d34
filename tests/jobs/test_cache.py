"""What was read is kept by content: taken again only where nothing has changed, and then to the last bit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from aisle.config import RunConfig
from aisle.data.dataset import Dataset
from aisle.errors import UsageError
from aisle.files import sha256
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


def test_many_lines_are_mapped_not_read(
    shop: Path, tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ingest(shop, RunConfig())
    monkeypatch.setattr(room, "MAPPED", 100)
    first, second = (ingest(shop, RunConfig(), folder=tmp_path / "kept") for _ in range(2))
    assert len(reads) == 2
    for found in (first, second):
        assert isinstance(found.dataset.all_events.time.base, np.memmap)
        assert same(found, plain)
    assert not isinstance(plain.dataset.all_events.time.base, np.memmap)


def test_a_mapped_array_that_was_altered_is_read_again(
    shop: Path, tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAPPED", 100)
    first = ingest(shop, RunConfig(), folder=tmp_path / "kept")
    (file,) = (tmp_path / "kept").rglob("lines/product.npy")
    whole = file.read_bytes()
    file.unlink()  # the first look has it mapped
    file.write_bytes(whole[:-4] + bytes([whole[-4] ^ 1]) + whole[-3:])
    assert same(ingest(shop, RunConfig(), folder=tmp_path / "kept"), first)
    assert len(reads) == 2


def test_arrays_are_looked_through_once_after_each_write(
    shop: Path, tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a copy too: then it is trusted as the original is."""
    looked: list[str] = []

    def look(path: Path) -> str:
        looked.append(path.name)
        return sha256(path)

    monkeypatch.setattr(room, "MAPPED", 100)
    monkeypatch.setattr(room, "sha256", look)
    first = ingest(shop, RunConfig(), folder=tmp_path / "kept")
    assert looked.count("time.npy") == 1
    assert same(ingest(shop, RunConfig(), folder=tmp_path / "kept"), first)
    assert looked.count("time.npy") == 1
    shutil.copytree(tmp_path / "kept", tmp_path / "copy")
    for _ in range(2):
        assert same(ingest(shop, RunConfig(), folder=tmp_path / "copy"), first)
        assert looked.count("time.npy") == 2
    assert len(reads) == 1


def test_a_damaged_entry_stays_unused_where_none_takes_its_place(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAPPED", 100)
    ingest(shop, RunConfig(), folder=tmp_path / "kept")
    (file,) = (tmp_path / "kept").rglob("lines/product.npy")
    content = file.read_bytes()
    file.unlink()  # the first look has it mapped
    file.write_bytes(content[:-4] + bytes([content[-4] ^ 1]) + content[-3:])
    monkeypatch.setattr(room, "save_dataset", _full)
    assert same(ingest(shop, RunConfig(), folder=tmp_path / "kept"), ingest(shop, RunConfig()))


def _full(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


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


def test_an_entry_holds_for_its_day(tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    source, day = tmp_path / "sales.csv", date(2031, 3, 4)
    rows = ["customer_id,product_id,timestamp,quantity"]
    rows += [f"c{i % 7},p{i % 5},2024-01-{i % 28 + 1:02d},1" for i in range(200)]
    source.write_text("\n".join([*rows, "c1,p1,2031-03-06 08:00,1"]))
    for today, rejected, read in ((day, 1, 1), (day, 1, 1), (day + timedelta(days=1), 0, 2)):
        monkeypatch.setattr(room, "_today", lambda today=today: today)
        found = ingest(source, RunConfig(), folder=tmp_path / "kept")
        assert found.report.total("rejected") == rejected, "the day after tomorrow is the future"
        assert len(reads) == read


def test_joined_files_count_where_the_source_is_one_file(tmp_path: Path, reads: list[Path]) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    lines = ["order_id,product_id,quantity", *(f"o{i % 40},p{i % 5},1" for i in range(200))]
    (folder / "lines.csv").write_text("\n".join(lines))
    data = {
        "transactions": {
            "files": ["lines.csv"],
            "columns": {"customer_id": "who", "product_id": "product_id", "timestamp": "day", "quantity": "quantity"},
            "joins": [{"files": ["orders.csv"], "on": ["order_id"], "take": ["who", "day"]}],
        }
    }
    ends = []
    for month in ("01", "06"):
        orders = ["order_id,who,day", *(f"o{i},c{i % 9},2024-{month}-{i % 28 + 1:02d}" for i in range(40))]
        (folder / "orders.csv").write_text("\n".join(orders))
        found = ingest(folder / "lines.csv", RunConfig(data=data), folder=tmp_path / "kept")
        ends.append(found.dataset.moment(found.dataset.end)[:7])
    assert ends == ["2024-01", "2024-06"]


def test_a_folder_that_cannot_be_written_keeps_nothing(shop: Path, tmp_path: Path, reads: list[Path]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file; give a folder, or off"):
        ingest(shop, RunConfig(), folder=tmp_path / "file")
    found = ingest(shop, RunConfig(), folder=tmp_path / "file" / "below")
    assert same(found, ingest(shop, RunConfig()))
    assert len(reads) == 2


def test_a_full_disk_is_no_reason_to_stop(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "save_dataset", _full)
    monkeypatch.setattr("aisle.data.doctor.pieces.write_parquet", _full)
    found = ingest(shop, RunConfig(), folder=tmp_path / "kept")
    assert "No space left" in caplog.text
    monkeypatch.undo()
    assert same(found, ingest(shop, RunConfig(), folder=tmp_path / "kept"))


def test_two_commands_may_share_a_folder(shop: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from aisle.jobs.cache import ingest; from aisle.config import RunConfig\n"
        "for at in sys.argv[3:]: ingest(Path(sys.argv[1]), RunConfig(at=at), folder=Path(sys.argv[2]))"
    )
    days = ["2024-11-01", "2024-12-01", "2024-11-01", "2024-12-01"]
    command = [sys.executable, "-c", code, str(shop), str(tmp_path / "kept")]
    running = [subprocess.Popen([*command, *order], stderr=subprocess.PIPE) for order in (days, days[::-1])]
    assert [(one.communicate()[1], one.returncode) for one in running] == [(b"", 0), (b"", 0)]


def test_a_file_that_changes_while_it_is_read_is_not_kept(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = clean_source

    def disturbed(*given: Any, **named: Any) -> Any:
        found = clean(*given, **named)
        with (shop / "transactions-1.csv").open("a") as file:
            file.write("\n")
        return found

    monkeypatch.setattr(room, "clean_source", disturbed)
    ingest(shop, RunConfig(), folder=tmp_path / "kept")
    assert [entry.name for entry in (tmp_path / "kept").glob("*/*/")] == [room.LINES]


def test_off_is_no_folder(tmp_path: Path) -> None:
    assert place_of(None) is None
    assert place_of(None, tmp_path) == tmp_path
    assert place_of("off", tmp_path) is None
    assert place_of("there", tmp_path) == Path("there")


def test_today_is_a_day_of_utc() -> None:
    assert room._today() == datetime.now(UTC).date()
