"""Reading exactly: what is written comes back, rows add up, both roads agree, wherever the pieces are cut."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, event, example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from aisle.data.read import columns_of, read_blocks
from aisle.data.read import text as text_module
from aisle.data.read.careful import careful
from aisle.data.read.dialect import Dialect
from aisle.data.read.fast import fast
from aisle.data.schema import TextBlock
from aisle.errors import DataError

COLUMNS = ("one", "two", "three", "four")
DIALECT = Dialect(",", COLUMNS, COLUMNS)
QUICK = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
cell = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
messy = st.text(st.sampled_from(list('ab,"\n\r é;\x0c\u2028')), max_size=6)
table = st.lists(st.lists(cell | messy, min_size=4, max_size=4), max_size=12)


def all_of(blocks: list[TextBlock]) -> tuple[list[tuple[str | None, ...]], list[int], list[tuple[int, str, str]]]:
    """Rows, their lines, and (line, code, raw) of the rejects."""
    rejects = [row for b in blocks for row in b.rejects.select("line", "code", "raw").rows()]
    return [row for b in blocks for row in b.frame.rows()], [n for b in blocks for n in b.line], rejects


def in_pieces(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Let the reader see the file in pieces of this size."""
    for name in ("CHUNK", "SMALL"):
        monkeypatch.setattr(text_module, name, size)


@given(rows=table, eol=st.sampled_from(["\n", "\r\n"]), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
@example(rows=[["a", "", '"', ","], ["x\r\ny", "\n", '""', " "]], eol="\r\n", quoting=csv.QUOTE_ALL)
@QUICK
def test_any_text_comes_back_with_its_line(rows: list[list[str]], eol: str, quoting: int, tmp_path: Path) -> None:
    rows = [row for row in rows if any(c.strip() for c in row) and tuple(row) != COLUMNS]
    if quoting == csv.QUOTE_MINIMAL:  # csv forgets to quote a lone CR
        rows = [[c.replace("\r", "") for c in row] for row in rows]
    out = io.StringIO()
    writer = csv.writer(out, quoting=quoting, lineterminator=eol)  # type: ignore[arg-type]
    writer.writerow(COLUMNS)
    expected_lines = []
    for row in rows:
        written = out.getvalue()
        expected_lines.append(1 + written.count("\n") + written.count("\r") - written.count("\r\n"))
        writer.writerow(row)
    path = tmp_path / "t.csv"
    path.write_bytes(out.getvalue().encode())
    assume(not rows or not text_module._FOOTER.match(rows[-1][0] or rows[-1][1] or rows[-1][2] or rows[-1][3]))
    blocks = list(read_blocks(path, required=frozenset(COLUMNS)))
    got, lines, rejects = all_of(blocks)
    assert not rejects
    assert got == [tuple(c or None for c in row) for row in rows]
    assert lines == expected_lines


@given(piece=st.lists(messy, max_size=40).map(lambda parts: ",".join(parts).encode() + b"\n"))
@example(piece=b'1,"a""b",3,4\n,"","\n",\n')
@example(piece=b"1,2,3,4\r\n,,,\r\none,two,three,four\n")
@example(piece=b'1,2,3,"x\n1,2,3,4\n')
@example(piece=b"\xef\xbb\xbf1,2,3,4\n")
@QUICK
def test_where_the_fast_reader_answers_it_agrees_with_the_careful_one(piece: bytes) -> None:
    quick = fast(piece, 7, DIALECT)
    if quick is None:
        return
    slow = careful(piece[: quick.used], 7, DIALECT, last=False, patient=False)
    assert not slow.rejects
    assert_frame_equal(quick.frame, slow.frame)
    assert quick.line.to_list() == slow.line.to_list()
    assert (quick.used, quick.lines) == (slow.used, slow.lines)


@given(data=st.binary(max_size=300) | st.lists(messy, max_size=40).map(lambda parts: ",".join(parts).encode()))
@example(data=b"a,b\rc,d\n1,2\n")
@example(data=b'"a,b,c,d\n1,2,3,4\n')
@example(data=b"\xa0\x1c")
@example(data=b"\xff")
@example(data=b'"\r"\x00\n')
@QUICK
def test_no_bytes_crash_the_reader_and_small_blocks_change_nothing(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"one,two,three,four\n" + data)
    try:
        whole = all_of(list(read_blocks(path)))
    except DataError as error:
        event(str(error).split(":")[0])
        return
    assert all_of(list(read_blocks(path, rows=1))) == whole
    with pytest.MonkeyPatch.context() as patch:
        in_pieces(patch, 16)
        assert all_of(list(read_blocks(path, rows=2))) == whole


@given(data=st.binary(max_size=200))
@QUICK
def test_a_file_of_any_bytes_is_read_or_refused_in_our_words(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    try:
        blocks = list(read_blocks(path))
    except DataError as error:
        event(str(error).split(":")[0])
        return
    assert all(block.frame.height == len(block.line) for block in blocks)


def spoilt(rows: int) -> tuple[list[str], dict[int, str]]:
    """Good lines with damage strewn in, and the code of each damaged line."""
    lines = [f'{i},c{i},"shop {i}, main",{i / 4}' for i in range(2, rows + 2)]
    damage = {5: "TOO_FEW", 17: "TOO_MANY", 100: "QUOTE", 101: "QUOTE", 900: "NUL", 1500: "REPEAT_HEADER"}
    bad = {
        "TOO_FEW": "1,2",
        "TOO_MANY": "1,2,3,4,5",
        "QUOTE": '1,2,"x,4',
        "NUL": "1,\0,3,4",
        "REPEAT_HEADER": "one,two,three,four",
    }
    for number, code in damage.items():
        lines[number - 2] = bad[code]
    return lines, damage


@pytest.mark.parametrize("size", [1 << 8, 1 << 10, 1 << 14, 1 << 24])
@pytest.mark.parametrize("eol", ["\n", "\r\n", "\r"])
def test_damage_costs_its_own_lines_only(size: int, eol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_pieces(monkeypatch, size)
    lines, damage = spoilt(2000)
    path = tmp_path / "t.csv"
    path.write_bytes(eol.join([",".join(COLUMNS), *lines, ""]).encode())
    rows, numbers, rejects = all_of(list(read_blocks(path, rows=300)))
    assert {line: code for line, code, _ in rejects} == damage
    assert [raw for _, _, raw in rejects] == [lines[n - 2] for n in damage]
    assert numbers == [n for n in range(2, 2002) if n not in damage]
    assert rows == [(str(n), f"c{n}", f"shop {n}, main", str(n / 4)) for n in numbers]


def test_most_of_a_damaged_file_is_still_read_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow: list[int] = []

    def counting(piece: bytes, *args: object, **options: object) -> object:
        slow.append(len(piece))
        return careful(piece, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(text_module, "careful", counting)
    lines, damage = spoilt(20_000)
    path = tmp_path / "t.csv"
    path.write_text("\n".join([",".join(COLUMNS), *lines]) + "\n")
    rejected = [b.rejects.height for b in read_blocks(path)]
    assert sum(rejected) == len(damage)
    assert sum(slow) < 0.15 * path.stat().st_size


def write(tmp_path: Path, data: bytes, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def many(row: Callable[[int], bytes]) -> bytes:
    """A table whose rows fill several pieces."""
    return b"id,name,n\n" + b"".join(row(i) + b"\n" for i in range(20_000))


def test_a_code_page_that_shows_only_late_is_found(tmp_path: Path) -> None:
    path = write(tmp_path, many(lambda i: b"%d,%s,1" % (i, b"Caf\xe9" if i > 15_000 else b"Cafe")))
    blocks = list(read_blocks(path, rows=4000))
    rows, _, rejects = all_of(blocks)
    assert not rejects
    assert rows[-1] == ("19999", "Café", "1")
    assert [f.code for b in blocks for f in b.findings].count("ENC_FALLBACK") == 1


def test_one_damaged_row_does_not_make_a_utf8_file_a_code_page(tmp_path: Path) -> None:
    path = write(tmp_path, many(lambda i: b"%d,%s,1" % (i, b"Caf\xe9" if i == 15_000 else "Café".encode())))
    rows, _, rejects = all_of(list(read_blocks(path)))
    assert rejects == [(15_002, "ENC_ROW", "15000,Caf\ufffd,1")]
    assert rows[0][1] == "Café"


def test_half_a_letter_is_damage_not_a_capital(tmp_path: Path) -> None:
    path = write(tmp_path, b"id,name\n1,Caf\xc3\n2,Tea\n")
    assert [(line, code) for line, code, _ in all_of(list(read_blocks(path)))[2]] == [(2, "ENC_ROW")]


def test_a_line_too_long_to_hold_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "MAX_ROW", 1 << 17)
    in_pieces(monkeypatch, 1 << 15)
    path = write(tmp_path, b"id,name\n1,a\n2," + b"x" * (1 << 20) + b"\n3,c\n")
    rows, numbers, rejects = all_of(list(read_blocks(path)))
    assert rows == [("1", "a"), ("3", "c")]
    assert numbers == [2, 4]
    assert rejects == [(3, "FIELD_TOO_LONG", ("2," + "x" * 200)[:200])]


def test_an_unclosed_quote_must_not_swallow_the_rows_up_to_the_next_quote(tmp_path: Path) -> None:
    good = "".join(f"{i},name,{i}\n" for i in range(3, 5000))
    path = write(tmp_path, f'id,name,n\n1,a,"2\n{good}5000,b,5"\n5001,"c",6\n'.encode())
    rows, _, rejects = all_of(list(read_blocks(path)))
    assert [(line, code) for line, code, _ in rejects] == [(2, "QUOTE")]
    assert len(rows) == 4999
    assert rows[-2:] == [("5000", "b", '5"'), ("5001", "c", "6")]


def test_text_after_a_closing_quote_has_two_readings_so_it_is_rejected(tmp_path: Path) -> None:
    path = write(tmp_path, b'id,name\n1,"a"b\n2,c\n')
    rows, _, rejects = all_of(list(read_blocks(path)))
    assert rows == [("2", "c")]
    assert rejects == [(2, "QUOTE", '1,"a"b')]


def test_one_column_and_blank_lines(tmp_path: Path) -> None:
    blocks = list(read_blocks(write(tmp_path, b'name\nMilk\n\n""\n  \nTea, green\n', "names.csv")))
    rows, numbers, rejects = all_of(blocks)
    assert rows == [("Milk",), (None,)]
    assert numbers == [2, 4]
    assert [(line, code) for line, code, _ in rejects] == [(6, "TOO_MANY")]
    assert {f.code: f.rows for b in blocks for f in b.findings}["BLANK"] == 2


def test_a_half_number_of_blocks_and_rows_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, many(lambda i: b"%d,a,1" % i))
    heights = [b.frame.height for b in read_blocks(path, rows=700)]
    assert max(heights) <= 700
    assert sum(heights) == 20_000


def test_lines_count_up_in_every_block(tmp_path: Path) -> None:
    path = write(tmp_path, many(lambda i: b'%d,"a\nb",1' % i))
    blocks = list(read_blocks(path, rows=999))
    assert pl.concat([b.line for b in blocks]).to_list() == list(range(2, 40_002, 2))


@pytest.mark.parametrize("size", [16, 33, 64, 1000])
def test_fields_over_several_lines_survive_any_cut(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_pieces(monkeypatch, size)
    body = b"".join(b'%d,5" wide,"first line\nsecond, line %d"\n' % (i, i) for i in range(100))
    rows, numbers, rejects = all_of(list(read_blocks(write(tmp_path, b"id,name,n\n" + body))))
    assert not rejects
    assert rows == [(str(i), '5" wide', f"first line\nsecond, line {i}") for i in range(100)]
    assert numbers == list(range(2, 202, 2))


def test_a_quoted_field_of_many_lines_and_over_a_megabyte_counts_as_unclosed(tmp_path: Path) -> None:
    body = b'1,"a\n' + (b"w" * 1000 + b"\n") * 1100 + b'end",3\n4,b,5\n'
    path = write(tmp_path, b"id,name,n\n" + body)
    rows, _, rejects = all_of(list(read_blocks(path, required=frozenset({"id", "n"}))))
    assert rejects[0][:2] == (2, "QUOTE")
    assert rows == [("4", "b", "5")]


def test_two_encodings_in_one_small_file_are_utf8_and_damage(tmp_path: Path) -> None:
    path = write(tmp_path, b"id,name\n1,Caf\xe9\n2,Caf\xc3\xa9\n")
    rows, _, rejects = all_of(list(read_blocks(path)))
    assert rows == [("2", "Café")]
    assert rejects == [(2, "ENC_ROW", "1,Caf\ufffd")]


def test_a_torn_tail_is_seen_before_the_first_block(tmp_path: Path) -> None:
    path = write(tmp_path, many(lambda i: b"%d,a,1" % i) + b"\0" * 64)
    with pytest.raises(DataError, match=r"TORN_TAIL: t\.csv"):
        next(read_blocks(path, rows=10))


@pytest.mark.parametrize(
    ("name", "data", "columns"),
    [
        ("t.csv", b"id;price;n\n1;2,5;3\n1;2,5;3\n1;2,5;3\n1;2,5\n", ["id", "price", "n"]),
        ("t.csv", b"a,b,c\n1,2,3,4\n", ["a", "b", "c"]),
        ("t.tsv", b"a,b,c\td,e,f\n1,2,3\t4,5,6\n", ["a,b,c", "d,e,f"]),
        ("t.csv", b"name\nTea, green\nMilk\nTea, black\nSoap\nSalt\n", ["name"]),
        ("t.csv", b'Report; all shops\n\nid,"a, b",n\n1,2,4\n1,2;3,4\n1,2,4\n', ["id", "a, b", "n"]),
        ("t.csv", b'"first\nname",n\na,1\nb,2\n', ["first name", "n"]),
        ("t.csv", "\ufeffid,n\na,1\n".encode("utf-16"), ["id", "n"]),
    ],
)
def test_the_shape_of_a_table_is_found(name: str, data: bytes, columns: list[str], tmp_path: Path) -> None:
    path = write(tmp_path, data, name)
    assert columns_of(path) == columns
    rows, _, rejects = all_of(list(read_blocks(path)))
    assert len(rows) + len(rejects) >= 1


@pytest.mark.parametrize(
    "data", [b'[{"id": 1}]', b"%PDF-1.7", b"PAR1\0\0", b"SQLite format 3\0", b"\xff\xfe\0\0a\0\0\0"]
)
def test_other_kinds_of_files_under_a_text_name_are_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(NOT_CSV|ENC_UNKNOWN): t\.csv"):
        columns_of(write(tmp_path, data))


def test_half_a_character_at_the_end_of_utf16_is_a_torn_tail(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xff\xfe" + "id,n\na,1\n".encode("utf-16-le")[:-1])
    with pytest.raises(DataError, match="TORN_TAIL"):
        list(read_blocks(path))


def test_half_a_pair_in_utf16_costs_one_row(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffid,n\na,1\nb\ud800,2\n".encode("utf-16-le", "surrogatepass"))
    rows, _, rejects = all_of(list(read_blocks(path)))
    assert rows == [("a", "1")]
    assert [(line, code) for line, code, _ in rejects] == [(3, "ENC_ROW")]


@pytest.mark.parametrize("eol", [b"\n", b"\r\n"])
@pytest.mark.parametrize("every", [11, 997])
def test_odd_lines_among_plain_ones_cost_no_others(every: int, eol: bytes, tmp_path: Path) -> None:
    odd = [b"", b"1,2", b"1,2,3,4,5", b"  ", b",", b"one,two,three,four,"]
    lines = [odd[i // every % len(odd)] if i % every == 7 else b"%d,b,,d" % i for i in range(5000)]
    body = b"".join(line + eol for line in lines)
    path = write(tmp_path, b"one,two,three,four" + eol + body)
    blocks = list(read_blocks(path, rows=1234))
    slow = careful(body, 2, DIALECT, last=True, patient=False)
    rows, numbers, rejects = all_of(blocks)
    assert rows == slow.frame.rows()
    assert numbers == slow.line.to_list()
    assert rejects == [(r.line, r.code, r.raw) for r in slow.rejects]
    blank = sum(f.rows for b in blocks for f in b.findings if f.code == "BLANK")
    assert blank == slow.counts["BLANK"] > 0
    assert len(rows) + len(rejects) + blank == 5000
