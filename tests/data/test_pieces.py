"""Lines kept by file: a visit that takes them says and gives, to the last bit, what one that reads them does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from aisle.data.doctor import clean, visit
from aisle.data.doctor import ledger as ledgers
from aisle.data.doctor.pieces import Pieces
from aisle.data.mapping import resolve
from aisle.data.schema import CleanTables, Mapping
from aisle.errors import DataError
from aisle.files import sha256
from aisle.jobs.demo import demo
from tests.data.corpus import CASES, Case

TABLES = ("transactions", "products", "customers", "stores", "availability", "rejects")


def pieces(source: Path, folder: Path, code: str = "") -> Pieces:
    return Pieces(folder, {path: sha256(path) for path in source.iterdir() if path.is_file()}, code)


def told(tables: CleanTables | DataError) -> object:
    """All that a visit gives, so that two can be compared."""
    if isinstance(tables, DataError):
        return str(tables)
    frames = {name: getattr(tables, name) for name in TABLES}
    plain = {
        n: f if f is None else (f.with_columns(pl.col(pl.Categorical).cast(pl.String)), f.schema)
        for n, f in frames.items()
    }
    shown = {n: f if f is None else (f[0].rows(), dict(f[1])) for n, f in plain.items()}
    return shown, tables.report


def see(source: Path, kept: Pieces | None = None) -> object:
    mapping, files = resolve(source)
    return told(clean(source, mapping, files, kept=kept))


@pytest.fixture(scope="module")
def retail(tmp_path_factory: pytest.TempPathFactory) -> Mapping:
    folder = tmp_path_factory.mktemp("good")
    next(case for case in CASES if case.id == "e01").write(folder)
    return resolve(folder)[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_bad_file_is_judged_alike(case: Case, retail: Mapping, tmp_path: Path) -> None:
    path = case.write(tmp_path / "source")
    names = {"transactions": path.name, "customers": "Customer.csv", "products": "prod_cat_info.csv"}
    files = {table: [tmp_path / "source" / name] for table, name in names.items()}

    def visit_with(kept: Pieces | None) -> object:
        try:
            return told(clean(tmp_path / "source", retail, files, kept=kept))  # type: ignore[arg-type]
        except DataError as error:
            return told(error)

    plain = visit_with(None)
    assert visit_with(pieces(tmp_path / "source", tmp_path / "kept")) == plain
    again = pieces(tmp_path / "source", tmp_path / "kept")
    assert visit_with(again) == plain


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A dirty retailer whose lines stand in three files, copies of orders among them."""
    folder = tmp_path / "shop"
    demo(folder, customers=80, products=60, dirt=True)
    lines = (folder / "transactions-2.csv").read_text().splitlines(keepends=True)
    half = len(lines) // 2
    (folder / "transactions-2.csv").write_text("".join(lines[:half]))
    (folder / "transactions-3.csv").write_text("".join([lines[0], *lines[half - 40 :]]))
    return folder


def test_a_source_that_grows_reads_only_what_is_new(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = see(shop)
    late = shop / "transactions-3.csv"
    text = late.read_bytes()
    late.unlink()
    see(shop, pieces(shop, tmp_path / "kept"))
    late.write_bytes(text)
    read = visit._read
    seen: list[str] = []

    def counted(path: Path, *rest: object) -> object:
        seen.append(path.name)
        return read(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(visit, "_read", counted)
    grown = pieces(shop, tmp_path / "kept")
    assert see(shop, grown) == whole
    assert "transactions-1.csv" not in seen
    assert seen.count("transactions-3.csv") >= 1
    assert len(grown.used) == 3
    seen.clear()
    assert see(shop, pieces(shop, tmp_path / "kept")) == whole
    assert not [name for name in seen if name.startswith("transactions")], "raw texts are kept too"


def test_lists_that_are_cut_are_cut_alike(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = see(shop)
    monkeypatch.setattr(ledgers, "LISTED_PER_CODE", 7)
    plain = see(shop)
    assert plain != everything, "nothing is cut: the test says nothing"
    assert see(shop, pieces(shop, tmp_path / "kept")) == plain
    assert see(shop, pieces(shop, tmp_path / "kept")) == plain


def test_other_code_settings_or_bytes_read_again(shop: Path, tmp_path: Path) -> None:
    mapping, files = resolve(shop)
    path, today, tomorrow = files["transactions"][0], datetime.now(UTC), datetime.now(UTC) + timedelta(days=1)
    clean(shop, mapping, files, kept=pieces(shop, tmp_path / "kept"))
    kept = pieces(shop, tmp_path / "kept")
    assert kept.get(path, mapping, today) is not None
    assert kept.get(path, mapping, tomorrow) is not None, "dates without order are judged later, anew each time"
    assert pieces(shop, tmp_path / "kept", "new code").get(path, mapping, today) is None
    with path.open("a") as file:
        file.write("\n")
    assert pieces(shop, tmp_path / "kept").get(path, mapping, today) is None


def test_a_date_in_the_future_holds_for_a_day(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    rows = [f"c{i % 7},p{i % 5},2024-01-{i % 28 + 1:02d},1" for i in range(50)]
    late = f"c1,p1,{datetime.now(UTC).year + 2}-01-01,1"
    (source / "transactions.csv").write_text("\n".join(["customer_id,product_id,timestamp,quantity", *rows, late]))
    mapping, files = resolve(source)
    clean(source, mapping, files, kept=pieces(source, tmp_path / "kept"))
    kept = pieces(source, tmp_path / "kept")
    midnight = datetime.now(UTC) + timedelta(days=1)  # the end of the day is what a visit calls now
    assert kept.get(files["transactions"][0], mapping, midnight) is not None
    assert kept.get(files["transactions"][0], mapping, datetime(2026, 1, 1)) is None


def test_what_is_torn_is_read_again_and_what_is_not_asked_for_goes(shop: Path, tmp_path: Path) -> None:
    whole = see(shop, pieces(shop, tmp_path / "kept"))
    victim = next((tmp_path / "kept").glob("*/lines.parquet"))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 255
    victim.write_bytes(content)
    assert see(shop, pieces(shop, tmp_path / "kept")) == whole
    (shop / "transactions-3.csv").unlink()
    kept = pieces(shop, tmp_path / "kept")
    see(shop, kept)
    kept.forget_others()
    assert len(list((tmp_path / "kept").iterdir())) == 2
