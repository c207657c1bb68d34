"""Excel workbooks: every sheet as text.

A sheet has a type a cell, not a column; read as typed columns, ids beside codes with letters would lose digits. As text
whole numbers stay whole, dates become ISO, and the doctor treats them like any text file. Error cells are empty.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import fastexcel
import polars as pl

from aisle.data.read.bytes import INFLATE_FLOOR, INFLATE_RATIO
from aisle.data.read.dialect import HEADER_WITHIN, check_names, check_width, looks_like_data, tidy_names
from aisle.data.schema import REJECTS, Finding, TextBlock
from aisle.errors import DataError, UsageError


def workbook_columns(path: Path) -> tuple[str, ...]:
    """Column names of the first sheet that holds a table."""
    return tuple(next(read_workbook(path, rows=1)).frame.columns)


def read_workbook(path: Path, *, rows: int, required: frozenset[str] = frozenset()) -> Iterator[TextBlock]:
    """Blocks of all sheets with the required columns, named ``book.xlsx#Sheet``; ``line`` is the row of the sheet.

    Empty sheets are passed over, and so are sheets of another table where one sheet fits. Raises DataError:
    NOT_EXCEL, INFLATE_LIMIT, EMPTY, and those of the header where no sheet fits.
    """
    book = _open(path)
    refused: list[tuple[str, DataError]] = []
    held: TextBlock | None = None
    for sheet in book.sheet_names:
        cells = _cells(book, path, sheet)
        if cells.is_empty():
            continue
        try:
            blocks = _blocks(f"{path.name}#{sheet}", cells, rows, required)
        except DataError as error:
            refused.append((sheet, error))
            continue
        for block in blocks:
            if held is not None:
                yield held
            held = block
    if held is None and refused:
        raise refused[0][1]
    if held is None:
        raise DataError(f"EMPTY: {path.name} has no cells; a sheet begins with its column names; export it again")
    yield replace(held, findings=(*held.findings, *_skipped(path.name, refused)))


def _skipped(file: str, refused: Sequence[tuple[str, DataError]]) -> list[Finding]:
    if not refused:
        return []
    names = ", ".join(sheet for sheet, _ in refused)
    what = f"sheets of {file} that are not this table are passed over: {names}"
    return [Finding("SHEET_SKIPPED", 0, "warning", "kept", what, example=str(refused[0][1])[:200], file=file)]


def _open(path: Path) -> fastexcel.ExcelReader:
    if not path.exists():
        raise UsageError(f"there is no file {path}")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as parts:
            size = sum(part.file_size for part in parts.infolist())
        limit = max(INFLATE_FLOOR, INFLATE_RATIO * path.stat().st_size)
        if size > limit:
            raise DataError(
                f"INFLATE_LIMIT: {path.name} inflates to {size >> 20} MB; at most {limit >> 20} MB are read; export it "
                "as CSV if it is genuine"
            )
    try:
        return fastexcel.read_excel(path)
    except (fastexcel.FastExcelError, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    what = str(error).splitlines()[0][:200]
    return DataError(
        f"NOT_EXCEL: {path.name} cannot be read as a workbook ({what}); it may be damaged; export it again"
    )


def _cells(book: fastexcel.ExcelReader, path: Path, sheet: str) -> pl.DataFrame:
    """All cells as text, row 1 first; empty cells are null."""
    try:
        frame = book.load_sheet(sheet, header_row=None, skip_rows=0, dtypes="string").to_polars()
    except (fastexcel.FastExcelError, OSError) as error:
        raise _unreadable(path, error) from error
    frame = frame.with_columns(pl.when(pl.all() != "").then(pl.all()))
    return frame.select(s for s in frame if s.null_count() < len(s))


def _blocks(name: str, cells: pl.DataFrame, rows: int, required: frozenset[str]) -> list[TextBlock]:
    check_width(name, cells.width)
    start = [["" if v is None else v for v in row] for row in cells.head(HEADER_WITHIN).iter_rows()]
    number = _header(start, required)
    columns = tidy_names(start[number], required)
    if not required <= set(columns) and looks_like_data(start[number]):
        raise DataError(f"NO_HEADER: {name} row {number + 1} looks like data; put a row with the column names first")
    check_names(name, columns, required, line=number + 1)
    frame = cells[number + 1 :].rename(dict(zip(cells.columns, columns, strict=True)))
    lines = pl.Series("line", range(number + 2, cells.height + 1), dtype=pl.Int64)
    filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    frame, lines = frame.filter(filled), lines.filter(filled)
    findings = _findings(name, start, number, columns)
    return [
        TextBlock(
            name, frame[at : at + rows], lines[at : at + rows], pl.DataFrame(schema=REJECTS), () if at else findings
        )
        for at in range(0, max(frame.height, 1), rows)
    ]


def _header(start: Sequence[Sequence[str]], required: frozenset[str]) -> int:
    """The row with the required names, else the first one that is filled by more than half."""
    for number, row in enumerate(start):
        if required and required <= set(tidy_names(row, required)):
            return number
    return next((n for n, row in enumerate(start) if sum(map(bool, row)) * 2 > len(row)), 0)


def _findings(name: str, start: Sequence[Sequence[str]], number: int, columns: Sequence[str]) -> tuple[Finding, ...]:
    found = []
    if any(any(row) for row in start[:number]):
        what = f"{name} has {number} rows before the column names; passed over"
        found.append(Finding("PREAMBLE", number, "warning", "repaired", what, file=name))
    odd = [raw for raw, column in zip(start[number], columns, strict=True) if raw != column]
    if odd:
        what = f"{name} has column names with stray spaces, other case, or none; read without them"
        found.append(Finding("HEADER_NORM", len(odd), "warning", "repaired", what, example=odd[0], file=name))
    return tuple(found)
