"""report.html: the figures are there, nothing is fetched, no text from files acts, equal input gives equal bytes."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pytest

from aisle.data.schema import REJECTS
from aisle.report import SampleCustomer, write_report
from aisle.report.page import render
from tests.report import examples

NO_SALES = pl.DataFrame(schema={"period": pl.Date, "lines": pl.UInt32, "amount": pl.Float64, "customers": pl.UInt32})
VOID = {"meta", "br", "link", "img", "hr", "input"}


def page(certificate: dict[str, Any], **changes: Any) -> str:
    parts: dict[str, Any] = {"sales": examples.sales(), "samples": examples.samples(), "rejects": examples.rejects()}
    return render(certificate, **(parts | changes))


class Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that elements close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def test_the_figures_that_matter_are_on_the_page() -> None:
    text = Reader(page(examples.certificate())).text
    for wanted in (
        "Use Hybrid factorization: its lists are 12 % better than “Own favourites”, the best simple rule.",
        "+0.0263 (95 % interval +0.0212 to +0.0314)",
        "Of 956,781 sales rows read, 931,240 were accepted and 25,541 set aside.",
        "412,310 dates have a first number above 12",
        "21,351, of which 19,870 were matched",
        "0.243 0.237 to 0.249",  # the table
        "0.243 (0.237–0.249)",  # the picture
        "random 0.0021",
        "keep_duplicates = true",
        "You buy this every ~5 weeks",
        "Popular in Bath",
        "10 October 2011",
        "l2 = 500",
        "57,262 rows for 5,728 customers",
        "recent, frequent, high spend",
        "New-to-customer recall@10",
    ):
        assert wanted in text


def test_where_the_simple_rule_wins_the_page_says_so() -> None:
    text = Reader(page(examples.simple_wins())).text
    assert "no learned model was better than this simple rule beyond doubt" in text
    assert "No personal signal" in text
    assert "it may be chance" in text
    assert "hardly above chance" in text
    assert "a learned model wins" not in text


def test_models_that_should_not_pass_unnoticed_are_named_under_the_verdict() -> None:
    html = page(examples.flagged())
    verdict = Reader(html[html.index('<section id="verdict"') : html.index("</section>") + 10]).text
    assert "Look out ⚠ Similar products (item kNN) and Two tower: each loses to “Recent bestsellers”" in verdict
    assert "Two tower calls itself personal but gives everybody the same list." in verdict
    text = Reader(html).text
    assert "Two tower ⚠calls itself personal but gives everybody the same list, loses to “Recent bestsellers”" in text
    assert "Bestsellers ⚠" not in text
    assert "Look out" not in page(examples.certificate())


def test_nothing_is_fetched_from_anywhere() -> None:
    html = page(examples.certificate())
    tags = Reader(html).tags
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & {tag for tag, _ in tags}
    for _, attributes in tags:
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"https?:|url\(|@import|//", html)


def test_links_lead_to_sections_and_tables_can_be_read_aloud() -> None:
    reader = Reader(page(examples.certificate()))
    ids = [a["id"] for _, a in reader.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"] for tag, a in reader.tags if tag == "a"} <= {f"#{i}" for i in ids}
    count = {tag: sum(t == tag for t, _ in reader.tags) for tag in ("table", "caption")}
    assert count["table"] == count["caption"] >= 8
    assert all(a.get("scope") in ("col", "row") for tag, a in reader.tags if tag == "th")
    assert all(a.get("aria-label") and a.get("role") == "img" for tag, a in reader.tags if tag == "svg")


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202egnp.exe\x00\u200b"


def hostile(value: Any) -> Any:
    """The certificate with hostile text in place of every text that a file may have supplied."""
    if isinstance(value, dict):
        return {k if k in KEPT or "@" in k else f"{k}{HOSTILE}": hostile(v) for k, v in value.items()}
    if isinstance(value, list):
        return [hostile(v) for v in value]
    return value + HOSTILE if isinstance(value, str) else value


KEPT = {
    *("data", "protocol", "floor", "models", "verdict", "by_segment", "cold", "lists", "findings", "files", "mapping"),
    *("rows", "rows_read", "rows_accepted", "rows_rejected", "mean", "low", "high", "code", "what", "example", "undo"),
    *("file", "table", "read", "accepted", "rejected", "settings", "flags", "seconds", "peak_mb", "severity", "action"),
    *("ship", "best_baseline", "lift", "reason", "customers", "k", "as_of", "column", "date_order", "date_proof"),
    *("returns", "returns_matched", "duplicates", "difference_to_best_simple", "champion", "preset", "windows", "cut"),
}


def test_hostile_names_are_shown_and_never_act() -> None:
    certificate = hostile(examples.certificate())
    certificate["verdict"]["lift"] = examples.certificate()["verdict"]["lift"]
    sample = SampleCustomer(label=HOSTILE, history=[(HOSTILE, HOSTILE, 2)], list=[(1, HOSTILE, HOSTILE, HOSTILE)])
    rejects = pl.DataFrame([(HOSTILE, 2, HOSTILE, HOSTILE, HOSTILE, HOSTILE)], schema=REJECTS, orient="row")
    html = page(certificate, samples=[sample], rejects=rejects)
    reader = Reader(html)
    assert not {"script", "img"} & {tag for tag, _ in reader.tags}
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert not any(mark in html for mark in "\u202e\x00\u200b")
    assert reader.text.count("<script>alert(1)</script>") > 30
    assert "⟨U+202E⟩gnp.exe⟨U+0000⟩⟨U+200B⟩" in reader.text


def test_a_name_that_a_spreadsheet_would_run_is_quoted() -> None:
    sample = SampleCustomer(label="A", history=[], list=[(1, '=HYPERLINK("x")', "Often bought with @SUM", "ease")])
    text = Reader(page(examples.certificate(), samples=[sample])).text
    assert "'=HYPERLINK" in text


def test_figures_with_a_minus_keep_it() -> None:
    assert "'−" not in page(examples.certificate())


@pytest.mark.parametrize("missing", ["data", "protocol", "floor", "models", "verdict", "by_segment", "cold", "lists"])
def test_a_missing_part_leaves_its_section_out(missing: str) -> None:
    certificate = examples.certificate()
    del certificate[missing]
    assert "How to read this" in Reader(page(certificate)).text


def test_bare_and_broken_certificates_still_make_a_page() -> None:
    assert "No verdict" in Reader(page({}, sales=NO_SALES, samples=[], rejects=examples.rejects().clear())).text
    models = {"ease": {"ndcg@10": {"mean": float("nan"), "low": None}}, "popularity": {"ndcg@10": 0.1}}
    bare = {
        "data": {"rows_read": 0, "rows_accepted": 0, "rows_rejected": 0},
        "models": models,
        "verdict": {"ship": "ease"},
    }
    text = Reader(page(bare, sales=NO_SALES, samples=[])).text
    assert "Use Product regression (EASE)." in text
    assert "nan" not in text.lower().replace("finance", "")


def test_equal_input_gives_equal_bytes_and_no_dates(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_report(
            tmp_path / name,
            examples.certificate(),
            sales=examples.sales(),
            samples=examples.samples(),
            rejects=examples.rejects(),
        )
    names = {"report.html", "certificate.svg", "certificate.png"}
    assert {path.name for path in (tmp_path / "one").iterdir()} == names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    svg = ElementTree.fromstring((tmp_path / "one" / "certificate.svg").read_text(encoding="utf-8"))
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    png = (tmp_path / "one" / "certificate.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert b"tEXt" not in png.replace(b"tEXtdpi", b"")
