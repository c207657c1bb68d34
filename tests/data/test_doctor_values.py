"""Numbers and ids as people write them."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.data.doctor.codes import RULES
from aisle.data.doctor.ids import parse_ids, parse_text
from aisle.data.doctor.numbers import MISSING, parse_numbers


def number(text: str, *beside: str) -> tuple[float | None, set[str]]:
    values, issues = parse_numbers(pl.Series([text, *beside]), "AMT", "amount")
    return values[0], {issue.code for issue in issues if issue.rows[0]}


@pytest.mark.parametrize(
    ("text", "value", "codes"),
    [
        ("12.5", 12.5, set()),
        ("+12.5", 12.5, set()),
        ("1e3", 1000.0, set()),
        (" 12.5 ", 12.5, set()),
        ("1,234.50", 1234.5, {"AMT_THOUSANDS"}),
        ("1,234", 1234.0, {"AMT_THOUSANDS"}),
        ("12,34,567.5", 1234567.5, {"AMT_THOUSANDS"}),
        ("1 234.5", 1234.5, {"AMT_THOUSANDS"}),
        ("1'234", 1234.0, {"AMT_THOUSANDS"}),
        ("12,5", 12.5, {"DECIMAL_COMMA"}),
        ("1.234,5", 1234.5, {"DECIMAL_COMMA", "AMT_THOUSANDS"}),
        ("$12.5", 12.5, {"AMT_CURRENCY"}),
        ("12.5 EUR", 12.5, {"AMT_CURRENCY"}),
        ("-€1,234.5", -1234.5, {"AMT_CURRENCY", "AMT_THOUSANDS"}),
        ("(12.5)", -12.5, {"AMT_PAREN"}),
        ("($12.5)", -12.5, {"AMT_PAREN", "AMT_CURRENCY"}),
        ("12.5-", -12.5, {"AMT_PAREN"}),
        ("\u221212.5", -12.5, set()),
        ("4\u00a0265.3", 4265.3, {"INVISIBLE_CHAR"}),
        ("nan", None, {"AMT_NAN"}),
        ("-inf", None, {"AMT_INF"}),
        ("1e13", 1e13, {"AMT_RANGE"}),
        ("0x10", None, {"AMT_TEXT"}),
        ("1_000", None, {"AMT_TEXT"}),
        ("12.5.1", None, {"AMT_TEXT"}),
        ("12%", None, {"AMT_TEXT"}),
        ("1,23,4", None, {"AMT_TEXT"}),
        ("\u0661\u0662", None, {"NON_ASCII_DIGIT"}),
        ("", None, set()),
        ("NULL", None, set()),
    ],
)
def test_numbers(text: str, value: float | None, codes: set[str]) -> None:
    assert number(text) == (value, codes)


def test_a_decimal_comma_beside_it_decides_what_a_dot_means() -> None:
    assert number("1.234")[0] == 1.234
    assert number("1.234", "12,5")[0] == 1234.0
    assert number("785,925", "12,5") == (785.925, {"DECIMAL_COMMA"})


def bare(text: str) -> str:
    return "".join(c for c in text if not c.isspace() and c not in "\u200b\u200c\u200d\u2060\ufeff\u00ad").lower()


@given(st.lists(st.text(max_size=12) | st.floats().map(str) | st.none(), min_size=1, max_size=8))
def test_every_number_is_finite_or_explained(texts: list[str | None]) -> None:
    values, issues = parse_numbers(pl.Series(texts, dtype=pl.String), "QTY", "quantity")
    assert all(issue.code in RULES for issue in issues)
    for row, (value, text) in enumerate(zip(values.to_list(), texts, strict=True)):
        blamed = {i.code for i in issues if i.rows[row] and RULES[i.code].action == "rejected"}
        if blamed:
            continue
        assert value is None or math.isfinite(value)
        if value is None and text is not None:
            assert bare(text) in MISSING


@given(st.floats(-1e11, 1e11, allow_subnormal=False), st.sampled_from(["{:.2f}", "{:,.2f}", "({:.2f})", "$ {:.2f}"]))
def test_what_is_written_is_read(value: float, form: str) -> None:
    if form.startswith("("):
        value = abs(value)
    got, _ = number(form.format(value))
    expected = round(value, 2) * (-1 if form.startswith("(") else 1)
    assert got == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize(
    ("text", "value", "codes"),
    [
        ("00123", "00123", set()),
        ("A-1/b_2", "A-1/b_2", set()),
        ("BANK CHARGES", "BANK CHARGES", set()),
        ("123.0", "123", {"ID_FLOAT"}),
        ("1.5", "1.5", set()),
        ("2.7E+05", None, {"ID_SCIENTIFIC"}),
        ("15056E3", "15056E3", set()),
        ("27\u200b03", "2703", {"INVISIBLE_CHAR"}),
        (" 2703 ", "2703", set()),
        ("\u0662703", None, {"NON_ASCII_DIGIT"}),
        ("NA", "NA", set()),
        ("None", None, set()),
        ("", None, set()),
        ("98765432109876543210", "98765432109876543210", set()),
    ],
)
def test_ids(text: str, value: str | None, codes: set[str]) -> None:
    values, issues = parse_ids(pl.Series([text]), "product_id")
    assert (values.cast(pl.String)[0], {i.code for i in issues}) == (value, codes)


def test_numeric_ids_refuse_other_text() -> None:
    values, issues = parse_ids(pl.Series(["12", "NA", "1; DROP", "", "13.0"]), "customer_id", numeric=True)
    assert values.cast(pl.String).to_list() == ["12", None, None, None, "13"]
    assert [i.rows.tolist() for i in issues if i.code == "CUST_BAD"] == [[False, True, True, False, False]]


def test_typed_floats_become_whole_ids_or_are_refused() -> None:
    values, issues = parse_ids(pl.Series([13085.0, None, float("nan"), 2.0**54]), "customer_id")
    assert values.cast(pl.String).to_list() == ["13085", None, None, None]
    assert [(i.code, i.rows.tolist()) for i in issues] == [("ID_DIGITS_LOST", [False, False, False, True])]


def test_labels_keep_hostile_text_as_it_is() -> None:
    hostile = ["=1+1", "<script>", "\u202eRBM", "MBR\r\nERROR", " x ", "null"]
    assert parse_text(pl.Series("channel", hostile)).cast(pl.String).to_list() == [*hostile[:4], "x", None]


def test_a_leading_zero_proves_a_decimal_comma() -> None:
    values, _ = parse_numbers(pl.Series(["0,750", "0,500", "1,250"]), "QTY", "quantity")
    assert values.to_list() == [0.75, 0.5, 1.25]
