"""90 bad (and 27 good) transaction files: one base file, and one thing changed in each.

The base is two good rows of the retail case study beside its product and customer files. ``kept`` lists the rows that
must survive as (transaction id, customer id or None, ISO date, amount); None = the file is refused. Verdicts: A accept,
R repair and warn, Q quarantine rows, X refuse the file.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HEADER = "transaction_id,cust_id,tran_date,prod_subcat_code,prod_cat_code,Qty,Rate,Tax,total_amt,Store_type"
ROW1 = "80712190438,270351,28-02-2014,1,1,5,772,405.3,4265.3,e-Shop"
ROW2 = "29258453508,270384,27-02-2014,5,3,2,100,21,221,TeleShop"
PRODUCTS = (
    "prod_cat_code,prod_cat,prod_sub_cat_code,prod_subcat\n"
    "1,Clothing,4,Mens\n1,Clothing,1,Women\n3,Electronics,5,Computers\n5,Books,12,Academic\n"
    "6,Home and kitchen,12,Tools\n5,Books,7,Fiction\n"
)
CUSTOMERS = "customer_Id,DOB,Gender,city_code\n270351,26-09-1981,M,5\n270384,11-05-1973,F,8\n268408,02-01-1970,M,4\n"

Kept = tuple[str, str | None, str, float | None]
K1: Kept = ("80712190438", "270351", "2014-02-28", 4265.3)
K2: Kept = ("29258453508", "270384", "2014-02-27", 221.0)
BOTH = (K1, K2)


@dataclass(frozen=True)
class Case:
    """One file of the corpus."""

    id: str
    family: str
    verdict: str
    code: str
    build: Callable[[], bytes]
    kept: tuple[Kept, ...] | None
    filename: str = "Transactions.csv"
    rows: int | None = None
    """Data rows read (accepted + rejected); None = not counted (refused files)."""

    def write(self, folder: Path) -> Path:
        """Write the case with its product and customer files into a folder; returns the transaction file."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "prod_cat_info.csv").write_text(PRODUCTS)
        (folder / "Customer.csv").write_text(CUSTOMERS)
        path = folder / self.filename
        path.write_bytes(self.build())
        return path


def lines(*rows: str, header: str = HEADER, eol: str = "\n") -> bytes:
    """A file of these rows under the header."""
    return (eol.join((header, *rows)) + eol).encode()


def swap(row: str, **changes: str) -> str:
    """A row with some of its cells changed, by column name."""
    cells = dict(zip(HEADER.split(","), row.split(","), strict=True))
    return ",".join((cells | changes).values())


NEW = "11111111111,268408,26-02-2014,1,1,1,100,10.5,110.5,MBR"
KN: Kept = ("11111111111", "268408", "2014-02-26", 110.5)


def with_row(row: str) -> Callable[[], bytes]:
    """Builder of the base file with a third row."""
    return lambda: lines(ROW1, ROW2, row)


def changed(**cells: str) -> Callable[[], bytes]:
    """Builder of the base file with a third row that differs from a good one in some cells."""
    return with_row(swap(NEW, **cells))


def raw(content: bytes) -> Callable[[], bytes]:
    """Builder of fixed bytes."""
    return lambda: content


def case(
    id: str, verdict: str, code: str, build: Callable[[], bytes], kept: tuple[Kept, ...] | None, **more: object
) -> Case:
    """A case of the family its id begins with."""
    family = {"e": "encoding", "s": "structure", "d": "dates", "i": "ids", "a": "amounts", "h": "hostile"}[id[0]]
    return Case(id, family, verdict, code, build, kept, **more)  # type: ignore[arg-type]


BASE = lines(ROW1, ROW2)
SEMICOLON = BASE.replace(b",", b";")
COMMA_DECIMALS = SEMICOLON.replace(b"405.3;4265.3", b"405,3;4265,3")


def _dates(first: str, second: str, third: str | None = None) -> Callable[[], bytes]:
    rows = [swap(ROW1, tran_date=first), swap(ROW2, tran_date=second)]
    return lambda: lines(*rows, *([swap(NEW, tran_date=third)] if third else []))


def _mixed_dates() -> bytes:
    # Day-first by proof: read month-first, 4/3/2014 would lie after the last day and the return before its sale.
    sale = swap(NEW, tran_date="2/1/2014")
    back = swap(NEW, tran_date="4/2/2014", Qty="-1", Rate="-100", total_amt="-110.5")
    return lines(ROW1, ROW2, back, sale)


def _gzip_bomb() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = packer.compress(HEADER.encode() + b"\n")
    body = b"".join(packer.compress(b"1" * (1 << 20)) for _ in range(200))
    return head + body + packer.flush()


def _huge_field() -> bytes:
    return lines(ROW1, ROW2, swap(NEW, Store_type="x" * (8 << 20)))


CASES: tuple[Case, ...] = (
    case("e01", "A", "", raw(BASE), BOTH, rows=2),
    case("e02", "A", "", raw(b"\xef\xbb\xbf" + BASE), BOTH, rows=2),
    case("e03", "R", "ENC_UTF16", raw(b"\xff\xfe" + BASE.decode().encode("utf-16-le")), BOTH, rows=2),
    case("e04", "X", "ENC_UNKNOWN", raw(BASE.decode().encode("utf-16-le")), None),
    case("e05", "R", "ENC_FALLBACK", raw(BASE.replace(b"e-Shop", b"Caf\xe9")), BOTH, rows=2),
    case(
        "e06",
        "Q",
        "ENC_ROW",
        raw(lines(ROW1, ROW2) + NEW.encode().replace(b"MBR", b"M\xff\xfeR") + b"\n"),
        BOTH,
        rows=3,
    ),
    case("e07", "Q", "NUL", raw(lines(ROW1, ROW2) + NEW.encode().replace(b"MBR", b"M\x00R") + b"\n"), BOTH, rows=3),
    case("e08", "X", "TORN_TAIL", raw(BASE + b"\x00" * 512), None),
    case("e09", "R", "INVISIBLE_CHAR", changed(cust_id="268\u200b408"), (*BOTH, KN), rows=3),
    case("e10", "R", "INVISIBLE_CHAR", changed(Rate="\u00a0100"), (*BOTH, KN), rows=3),
    case("e11", "Q", "NON_ASCII_DIGIT", changed(Qty="\u0661"), BOTH, rows=3),
    case("s01", "R", "DELIM_SNIFFED", raw(SEMICOLON), BOTH, rows=2),
    case("s02", "R", "DELIM_SNIFFED", raw(BASE.replace(b",", b"\t")), BOTH, rows=2),
    case("s03", "R", "DELIM_SNIFFED", raw(BASE.replace(b",", b"|")), BOTH, rows=2),
    case("s04", "R", "DECIMAL_COMMA", raw(COMMA_DECIMALS), BOTH, rows=2),
    case("s05", "A", "", raw(lines(ROW1, ROW2, eol="\n")), BOTH, rows=2),
    case("s06", "R", "CR", raw(lines(ROW1, ROW2, eol="\r")), BOTH, rows=2),
    case("s07", "A", "", raw(f"{HEADER}\r\n{ROW1}\n{ROW2}\r\n".encode()), BOTH, rows=2),
    case("s08", "A", "", raw(BASE.rstrip(b"\n")), BOTH, rows=2),
    case("s09", "A", "", raw(BASE.replace(b"e-Shop", b'"e-\nShop"')), BOTH, rows=2),
    case("s10", "A", "", raw(BASE.replace(b"e-Shop", b'"e,Shop"')), BOTH, rows=2),
    case("s11", "Q", "QUOTE", raw(lines(ROW1, ROW2.replace("TeleShop", '"TeleShop'), NEW)), (K1, KN), rows=3),
    case("s12", "A", "", raw(BASE.replace(b"e-Shop", b'5" Shop')), BOTH, rows=2),
    case("s13", "Q", "TOO_FEW", raw(lines(ROW1, NEW.rsplit(",", 2)[0], ROW2)), BOTH, rows=3),
    case("s14", "Q", "TOO_MANY", raw(lines(ROW1, NEW + ",extra", ROW2)), BOTH, rows=3),
    case("s15", "A", "", raw(lines(ROW1, "", ROW2, "")), BOTH, rows=2),
    case("s16", "Q", "REPEAT_HEADER", raw(lines(ROW1, HEADER, ROW2)), BOTH, rows=3),
    case("s17", "X", "NO_HEADER", raw(f"{ROW1}\n{ROW2}\n".encode()), None),
    case("s18", "X", "DUP_COLUMN", raw(lines(ROW1, ROW2, header=HEADER.replace("Tax", "Rate"))), None),
    case(
        "s19",
        "A",
        "",
        raw(b"\n".join(b",".join(reversed(line.split(b","))) for line in BASE.splitlines()) + b"\n"),
        BOTH,
        rows=2,
    ),
    case("s20", "X", "MISSING_COLUMN", raw(lines(ROW1, ROW2, header=HEADER.replace("cust_id", "who"))), None),
    case(
        "s20b",
        "R",
        "AMOUNT_DERIVED",
        raw(
            b"\n".join(b",".join(c for i, c in enumerate(line.split(b",")) if i != 8) for line in BASE.splitlines())
            + b"\n"
        ),
        BOTH,
        rows=2,
    ),
    case(
        "s21", "R", "HEADER_NORM", raw(lines(ROW1, ROW2, header=HEADER.replace("cust_id", " CUST_ID "))), BOTH, rows=2
    ),
    case("s22", "R", "PREAMBLE", raw(b"Sales export\nwritten 2014-03-01\n\n" + BASE), BOTH, rows=2),
    case("s23", "Q", "FOOTER", raw(lines(ROW1, ROW2, "Total,,,,,,,,4486.3,")), BOTH, rows=3),
    case("s24", "Q", "TRUNCATED", raw(lines(ROW1, ROW2) + NEW[:30].encode()), BOTH, rows=3),
    case("s25", "X", "EMPTY", raw(b""), None),
    case("s26", "A", "", raw(HEADER.encode() + b"\n"), (), rows=0),
    case("s27", "X", "NOT_CSV", raw(b"<!DOCTYPE html><html><body>Error 500</body></html>\n"), None),
    case("s28", "X", "NOT_CSV", raw(b"PK\x03\x04" + bytes(range(256)) * 4), None),
    case(
        "d01",
        "R",
        "DATE_MIXED",
        _mixed_dates,
        (
            *BOTH,
            ("11111111111", "268408", "2014-02-04", -110.5),
            ("11111111111", "268408", "2014-01-02", 110.5),
        ),
        rows=4,
    ),
    case("d02", "A", "", _dates("2014-02-28", "2014-02-27"), BOTH, rows=2),
    case("d03", "X", "DATE_AMBIGUOUS", _dates("03/04/2014", "05/06/2014"), None),
    case("d04", "Q", "DATE_INVALID", changed(tran_date="31-02-2014"), BOTH, rows=3),
    case("d05", "R", "DATE_YY", _dates("28-02-14", "27-02-14"), BOTH, rows=2),
    case("d06", "R", "DATE_SERIAL", _dates("41698", "41697"), BOTH, rows=2),
    case("d07", "Q", "DATE_FUTURE", changed(tran_date="28-02-2099"), BOTH, rows=3),
    case("d08", "Q", "DATE_TOO_OLD", changed(tran_date="01-01-1900"), BOTH, rows=3),
    case("d09", "Q", "DATE_MISSING", changed(tran_date=""), BOTH, rows=3),
    case("d10", "A", "", _dates("2014-02-28T00:30:00+00:00", "2014-02-27T01:00:00+01:00"), BOTH, rows=2),
    case("d11", "A", "", _dates("28 Feb 2014", "27 Feb 2014"), BOTH, rows=2),
    case("i01", "Q", "DUP_ROW", with_row(ROW1), BOTH, rows=3),
    case(
        "i02",
        "A",
        "",
        with_row(swap(ROW1, Qty="-5", Rate="-772", total_amt="-4265.3")),
        (*BOTH, ("80712190438", "270351", "2014-02-28", -4265.3)),
        rows=3,
    ),
    case("i03", "Q", "DUP_ID_CONFLICT", with_row(swap(ROW1, cust_id="268408")), (K2,), rows=3),
    case("i04", "Q", "ID_SCIENTIFIC", changed(cust_id="2.68E+05"), BOTH, rows=3),
    case("i05", "A", "", changed(transaction_id="00111111111"), (*BOTH, ("00111111111", *KN[1:])), rows=3),
    case("i06", "R", "ID_FLOAT", changed(cust_id="268408.0"), (*BOTH, KN), rows=3),
    case("i07", "A", "CUST_MISSING", changed(cust_id=""), (*BOTH, (KN[0], None, *KN[2:])), rows=3),
    case("i07b", "Q", "CUST_MISSING", changed(cust_id="", transaction_id=""), BOTH, rows=3),
    case("i08", "R", "CUST_UNKNOWN", changed(cust_id="999999"), (*BOTH, (KN[0], "999999", *KN[2:])), rows=3),
    case("i09", "R", "PROD_UNKNOWN", changed(prod_cat_code="77", prod_subcat_code="99"), (*BOTH, KN), rows=3),
    case("i10", "Q", "PAIR_UNKNOWN", changed(prod_cat_code="1", prod_subcat_code="12"), BOTH, rows=3),
    case("i11", "A", "CUST_MISSING", changed(cust_id="NULL"), (*BOTH, (KN[0], None, *KN[2:])), rows=3),
    case("i12", "Q", "CUST_BAD", changed(cust_id="unknown person"), BOTH, rows=3),
    case(
        "i13",
        "A",
        "",
        changed(transaction_id="99999999999999999999"),
        (*BOTH, ("99999999999999999999", *KN[1:])),
        rows=3,
    ),
    case("i14", "Q", "ID_MISSING", changed(prod_cat_code="", prod_subcat_code=""), BOTH, rows=3),
    case(
        "a01",
        "A",
        "",
        changed(Qty="-1", Rate="-100", total_amt="-110.5"),
        (*BOTH, (*KN[:3], -110.5)),
        rows=3,
    ),
    case("a02", "Q", "QTY_ZERO", changed(Qty="0"), BOTH, rows=3),
    case("a03", "Q", "AMT_NAN", changed(total_amt="nan"), BOTH, rows=3),
    case("a04", "Q", "AMT_INF", changed(total_amt="inf"), BOTH, rows=3),
    case("a05", "Q", "AMT_RANGE", changed(total_amt="1e308"), BOTH, rows=3),
    case(
        "a06",
        "R",
        "AMT_THOUSANDS",
        raw(lines(ROW1, ROW2, swap(NEW, Rate='"1,000"', Tax="105", total_amt='"1,105.00"'))),
        (*BOTH, (*KN[:3], 1105.0)),
        rows=3,
    ),
    case("a07", "R", "AMT_CURRENCY", changed(total_amt="£110.5"), (*BOTH, KN), rows=3),
    case(
        "a08",
        "R",
        "AMT_PAREN",
        changed(Qty="-1", Rate="-100", total_amt="(110.5)"),
        (*BOTH, (*KN[:3], -110.5)),
        rows=3,
    ),
    case("a09", "Q", "SIGN_MISMATCH", changed(total_amt="-110.5"), BOTH, rows=3),
    case("a10", "R", "TOTAL_MISMATCH", changed(total_amt="190.5"), (*BOTH, (*KN[:3], 190.5)), rows=3),
    case("a11", "Q", "QTY_TEXT", changed(Qty="two"), BOTH, rows=3),
    case("a12", "A", "", changed(Qty="0.5", Tax="5.25", total_amt="55.25"), (*BOTH, (*KN[:3], 55.25)), rows=3),
    case("a13", "Q", "QTY_TEXT", changed(Qty="0x1"), BOTH, rows=3),
    case("a14", "Q", "AMT_TEXT", changed(total_amt="1_10.5"), BOTH, rows=3),
    case("h01", "A", "", changed(Store_type="=1+1"), (*BOTH, KN), rows=3),
    case("h02", "A", "", changed(Store_type="@SUM(1)|cmd"), (*BOTH, KN), rows=3),
    case("h03", "A", "", changed(Store_type="<script>alert(1)</script>"), (*BOTH, KN), rows=3),
    case("h04", "Q", "CUST_BAD", changed(cust_id="1; DROP TABLE customers"), BOTH, rows=3),
    case("h05", "Q", "CUST_BAD", changed(cust_id="../../etc/passwd"), BOTH, rows=3),
    case(
        "h06", "A", "", raw(lines(ROW1, ROW2, swap(NEW, Store_type='"MBR\nINFO fake log line"'))), (*BOTH, KN), rows=3
    ),
    case("h07", "Q", "FIELD_TOO_LONG", _huge_field, BOTH, rows=3),
    case("h08", "X", "TOO_MANY_COLUMNS", raw(",".join(f"c{i}" for i in range(100_000)).encode() + b"\n"), None),
    case("h09", "X", "INFLATE_LIMIT", _gzip_bomb, None, filename="Transactions.csv.gz"),
    case("h10", "A", "", lambda: gzip.compress(BASE, mtime=0), BOTH, filename="Transactions.csv.gz", rows=2),
    case(
        "h11",
        "X",
        "GZ_TORN",
        lambda: gzip.compress(lines(*[ROW1] * 2000), mtime=0)[:-40],
        None,
        filename="Transactions.csv.gz",
    ),
    case("h12", "A", "", changed(Store_type="\u202eRBM"), (*BOTH, KN), rows=3),
)
