"""Dates: every shape, the proof of the order, and refusal where there is none."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.data.doctor.dates import EXACT, MISSING, SHAPES, Order, days, parse_dates
from aisle.data.doctor.order import Evidence, apply, prove
from aisle.data.schema import Mapping
from aisle.errors import DataError
from tests.data.shop import check_identity, codes, sale, visit

NOW = datetime(2024, 6, 1)
WRITTEN = {"dmy": "{d}{s}{m}{s}{y}", "mdy": "{m}{s}{d}{s}{y}"}


def write(day: date, order: str, separator: str, *, padded: bool) -> str:
    form = "02d" if padded else "d"
    return WRITTEN[order].format(d=format(day.day, form), m=format(day.month, form), y=day.year, s=separator)


def evidence(texts: list[str], file: list[int] | None = None) -> Evidence:
    parsed = parse_dates(pl.Series(texts), "timestamp")
    return Evidence(np.array(file or [0] * len(texts)), parsed.shape, parsed.ticks)


def read(texts: list[str], given: Order | None = None) -> list[datetime]:
    seen = evidence(texts)
    time, exists = apply(seen, prove(seen, given, NOW).orders)
    assert exists.all()
    return pl.Series(time).cast(pl.Datetime("us")).to_list()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2014-02-08", datetime(2014, 2, 8)),
        ("2014-2-8", datetime(2014, 2, 8)),
        ("2014/02/08", datetime(2014, 2, 8)),
        ("20140208", datetime(2014, 2, 8)),
        ("2014-02-08 13:05", datetime(2014, 2, 8, 13, 5)),
        ("2014-02-08T13:05:09", datetime(2014, 2, 8, 13, 5, 9)),
        ("2014-02-08 13:05:09.25", datetime(2014, 2, 8, 13, 5, 9, 250_000)),
        ("2014-02-08 01:05 PM", datetime(2014, 2, 8, 13, 5)),
        ("2014-02-08 12:05 am", datetime(2014, 2, 8, 0, 5)),
        ("2014-02-08T13:05:09Z", datetime(2014, 2, 8, 13, 5, 9)),
        ("2014-02-08T01:30:00+05:30", datetime(2014, 2, 7, 20, 0)),
        ("2014-02-08 01:30:00-0800", datetime(2014, 2, 8, 9, 30)),
        ("8 Feb 2014", datetime(2014, 2, 8)),
        ("08-FEB-14", datetime(2014, 2, 8)),
        ("February 8, 2014", datetime(2014, 2, 8)),
        ("Sat, 8 February 2014", datetime(2014, 2, 8)),
        ("41678", datetime(2014, 2, 8)),
        ("41678.5", datetime(2014, 2, 8, 12)),
        ("1391817600", datetime(2014, 2, 8)),
        ("1391817600000", datetime(2014, 2, 8)),
        ("  2014-02-08\u00a0", datetime(2014, 2, 8)),
    ],
)
def test_shapes_that_need_no_order(text: str, expected: datetime) -> None:
    parsed = parse_dates(pl.Series([text, "2014-02-28"]), "timestamp")
    assert parsed.shape.tolist() == [EXACT, EXACT]
    assert pl.Series(parsed.ticks).cast(pl.Datetime("us"))[0] == expected


@pytest.mark.parametrize(
    "text",
    ["2014-13-01", "2014-02-30", "31-02-2014", "1/2", "2014-02-08 25:00", "5 Foo 2014", "12345678", "abc", "1-2/2014"],
)
def test_what_is_no_date_is_said_to_be_none(text: str) -> None:
    parsed = parse_dates(pl.Series([text, "2014-02-28"]), "timestamp")
    assert parsed.shape[0] == MISSING
    assert [issue.code for issue in parsed.issues if issue.rows[0]] == ["DATE_INVALID"]


def test_a_two_digit_year_never_becomes_the_year_28() -> None:
    assert read(["28-02-14", "27-02-14"]) == [datetime(2014, 2, 28), datetime(2014, 2, 27)]


@given(st.lists(st.dates(date(1900, 1, 1), date(2100, 12, 31)), min_size=1, max_size=20))
def test_day_numbers_are_those_of_the_calendar(some: list[date]) -> None:
    got, exists = days(*(np.array([getattr(d, part) for d in some]) for part in ("year", "month", "day")))
    assert exists.all()
    assert got.tolist() == [(d - date(1970, 1, 1)).days for d in some]


@given(
    some=st.lists(st.dates(date(2011, 1, 1), date(2023, 12, 31)), min_size=1, max_size=30),
    proof=st.dates(date(2011, 1, 1), date(2023, 12, 31)).filter(lambda d: d.day > 12),
    order=st.sampled_from(["dmy", "mdy"]),
    separator=st.sampled_from("-/. "),
    padded=st.booleans(),
)
def test_one_day_above_twelve_proves_the_order_of_all(
    some: list[date], proof: date, order: str, separator: str, padded: bool
) -> None:
    dates = [*some, proof]
    texts = [write(d, order, separator, padded=padded) for d in dates]
    assert read(texts) == [datetime(d.year, d.month, d.day) for d in dates]


@pytest.mark.parametrize("order", ["dmy", "mdy"])
def test_the_sorting_of_the_file_proves_the_order(order: str) -> None:
    dates = [date(2013, m, d) for m in range(1, 13) for d in (1, 4, 9, 11)]
    assert read([write(d, order, "/", padded=False) for d in dates]) == [
        datetime(d.year, d.month, d.day) for d in dates
    ]


def test_dates_after_today_prove_the_order() -> None:
    assert read(["2/11/2024", "3/12/2024", "5/10/2024"], None)[0] == datetime(2024, 2, 11)


def test_silence_is_refused_and_an_order_given_is_used() -> None:
    texts = ["01/02/2013", "07/05/2013", "03/04/2013"]
    with pytest.raises(DataError, match=r"^DATE_AMBIGUOUS.*--date-order"):
        read(texts)
    assert read(texts, "mdy")[0] == datetime(2013, 1, 2)
    assert read(texts, "dmy")[0] == datetime(2013, 2, 1)


def test_equal_numbers_need_no_proof() -> None:
    assert read(["05/05/2013", "07/07/2013"])[0] == datetime(2013, 5, 5)


def test_a_file_of_two_orders_is_refused() -> None:
    with pytest.raises(DataError, match=r"^DATE_AMBIGUOUS.*mix"):
        read(["13/01/2013"] * 5 + ["01/13/2013"] * 5)


def test_an_order_that_hardly_any_date_obeys_is_refused() -> None:
    with pytest.raises(DataError, match=r"^DATE_ORDER"):
        read(["25/12/2013", "26/12/2013", "01/02/2013"], "mdy")


def test_each_file_has_its_own_order() -> None:
    texts = ["25/12/2013", "01/02/2013", "12/25/2013", "01/02/2013"]
    seen = evidence(texts, [0, 0, 1, 1])
    time, _ = apply(seen, prove(seen, None, NOW).orders)
    assert pl.Series(time).cast(pl.Datetime("us")).to_list()[1::2] == [datetime(2013, 2, 1), datetime(2013, 1, 2)]


def test_a_silent_file_follows_its_siblings() -> None:
    seen = evidence(["25/12/2013", "01/02/2014"], [0, 1])
    time, _ = apply(seen, prove(seen, None, NOW).orders)
    assert pl.Series(time).cast(pl.Datetime("us"))[1] == datetime(2014, 2, 1)


def test_returns_before_their_sale_disprove_an_order(tmp_path: Path) -> None:
    rows = []
    for i in range(2, 10):  # month-first, 1/12/2012 would be January and lie before i/11/2012
        rows.append(sale(f"o{i}", f"c{i}", "p", f"{i}/11/2012", 1, amount=5))
        rows.append(sale(f"o{i}", f"c{i}", "p", "1/12/2012", -1, amount=-5))
    rows.append(sale("o99", "c99", "p", "2013-12-31", 1, amount=5))
    tables = visit(tmp_path, rows)
    assert tables.report.date_order == "dmy"
    assert "8 returns before their sale" in tables.report.date_proof
    assert tables.transactions["timestamp"][0] == datetime(2012, 11, 2)
    assert "DATE_MIXED" in codes(tables)
    check_identity(tables)


def test_a_rare_contradiction_is_rejected_not_believed(tmp_path: Path) -> None:
    rows = [sale(f"o{i}", "c", "p", f"{13 + i % 15}.03.2013") for i in range(60)]
    rows.append(sale("bad", "c", "p", "03.25.2013"))
    tables = visit(tmp_path, rows)
    assert codes(tables)["DATE_INVALID"] == 1
    assert tables.rejects["line"].to_list() == [62]
    assert tables.rejects["raw"].to_list() == ["bad,c,p,03.25.2013,1"]
    check_identity(tables)


def test_one_stray_date_does_not_refuse_the_file(tmp_path: Path) -> None:
    rows = [sale(f"o{i}", "c", "p", f"2013-03-{1 + i % 28:02d}") for i in range(200)]
    tables = visit(tmp_path, [*rows, sale("odd", "c", "p", "02/03/2013")])
    assert tables.rejects["code"].to_list() == ["DATE_AMBIGUOUS"]
    assert tables.transactions.height == 200
    check_identity(tables)


def test_the_publishers_order_needs_no_proof(tmp_path: Path) -> None:
    rows = [sale("1", "c", "p", "01/02/2013"), sale("2", "c", "p", "03/04/2013")]
    tables = visit(tmp_path, rows, options=Mapping("x", (), date_order="mdy"))
    assert tables.transactions["timestamp"].to_list() == [datetime(2013, 1, 2), datetime(2013, 3, 4)]


def test_tomorrow_is_the_future_and_1979_is_empty(tmp_path: Path) -> None:
    late = (datetime.now() + timedelta(days=3)).strftime("%Y-%m-%d")
    tables = visit(
        tmp_path, [sale(1, "c", "p", "2020-01-01"), sale(2, "c", "p", late), sale(3, "c", "p", "1970-01-01")]
    )
    assert tables.rejects["code"].to_list() == ["DATE_FUTURE", "DATE_TOO_OLD"]
    check_identity(tables)


def test_shape_numbers_are_apart_from_the_reserved_ones() -> None:
    assert min(SHAPES) > EXACT > MISSING
