"""Every reason code of the doctor: what it means, what is done about it, and how to undo that.

One table, so that a reader of ``rejects.parquet`` finds each code here once.
"""

from __future__ import annotations

from dataclasses import dataclass

from aisle.data.schema import Action, Severity
from aisle.types import Bools


@dataclass(frozen=True)
class Rule:
    """What follows from a code."""

    action: Action
    severity: Severity
    what: str
    """One plain sentence, shown with the number of rows before it."""
    undo: str = ""
    listed: bool = True
    """Whether each row goes to ``rejects.parquet``; habits of a whole column are counted only."""
    shown: str = ""
    """The code that users see, where two rules share one."""


@dataclass(frozen=True, eq=False)
class Issue:
    """Rows (N,) of a frame that a check found, and the column to blame."""

    code: str
    rows: Bools
    column: str = ""


def shown(code: str) -> str:
    """The code that users see."""
    return RULES[code].shown or code


FIX = "correct the rows in the source and run again"


def _reject(what: str, undo: str = FIX) -> Rule:
    return Rule("rejected", "warning", what, undo)


def _repair(what: str, undo: str = "", *, listed: bool = True) -> Rule:
    return Rule("repaired", "warning", what, undo, listed)


def _note(what: str) -> Rule:
    return Rule("kept", "info", what, listed=False)


def _flag(what: str, undo: str = "", *, listed: bool = True) -> Rule:
    return Rule("kept", "warning", what, undo, listed)


RULES: dict[str, Rule] = {
    # found by the reader
    "ENC_ROW": _reject("a row holds bytes that are no text in the file's encoding"),
    "NUL": _reject("a row holds a zero byte"),
    "QUOTE": _reject("a quote is not closed"),
    "TOO_FEW": _reject("a row has fewer fields than the header"),
    "TOO_MANY": _reject("a row has more fields than the header"),
    "TRUNCATED": _reject("the last row breaks off"),
    "FIELD_TOO_LONG": _reject("a field is longer than any real value"),
    # structure
    "REPEAT_HEADER": _reject("the header line stands again among the rows"),
    "FOOTER": _reject("a total line stands among the rows"),
    "COLUMN_ABSENT": _flag("an optional column of the mapping is not in the file", listed=False),
    # ids
    "ID_MISSING": _reject("a required id is empty"),
    "ID_SCIENTIFIC": _reject("an id is in scientific notation, so its digits are lost", "export ids as text"),
    "ID_DIGITS_LOST": _reject("an id was stored as a float too large to be exact", "export ids as text"),
    "ID_FLOAT": _repair("ids ended in .0 and were read as whole numbers", "export ids as text"),
    "INVISIBLE_CHAR": _repair("invisible characters were removed"),
    "NON_ASCII_DIGIT": _reject("digits of another script stand in an id or number"),
    "CUST_MISSING": Rule("kept", "info", "lines without a customer are kept as anonymous baskets", listed=False),
    "CUST_MISSING_NO_ORDER": Rule(
        "rejected",
        "warning",
        "lines have neither customer nor order id, so they belong to no basket",
        FIX,
        shown="CUST_MISSING",
    ),
    "CUST_BAD": _reject("a customer id is not a number", "set numeric_ids = false in [data]"),
    "CUST_UNKNOWN": _flag("lines name a customer who is not in the customers table; kept"),
    "PROD_UNKNOWN": _flag("lines name a product that is not in the products table; kept, since such files lag behind"),
    "PAIR_UNKNOWN": _reject("the inner code exists only under other parents, so the product is not known"),
    "NOT_PRODUCT": _reject("lines are postage, fees or samples, not products", "change product_pattern in [data]"),
    # dates
    "DATE_MISSING": _reject("a date is empty"),
    "DATE_INVALID": _reject("a date does not exist or cannot be read"),
    "DATE_AMBIGUOUS": _reject("a few dates stand in another shape whose order nothing proves", "say --date-order"),
    "DATE_FUTURE": _reject("a date lies after today"),
    "DATE_TOO_OLD": _reject("a date lies before 1980, the mark of an empty field"),
    "DATE_YY": _repair("two-digit years were read as 1970 to 2069", "export four-digit years", listed=False),
    "DATE_SERIAL": _repair("Excel day numbers were read as dates", "export dates as text", listed=False),
    "DATE_UNIX": _repair("seconds since 1970 were read as times", listed=False),
    "DATE_MIXED": _repair("dates stand in more than one shape; each was read in its proven order", listed=False),
    "DATE_TZ": _note("times with an offset were turned into UTC"),
    "DATE_NAME": _note("dates carry the name of the month"),
    "DATE_ASSUMED": _flag("the order of day and month was given, not proven", "drop --date-order", listed=False),
    "SEQ_MISSING": _reject("a sequence number is empty or not whole"),
    # numbers
    "QTY_ZERO": _reject("a quantity is zero"),
    "QTY_MISSING": _reject("a quantity is empty"),
    "QTY_FRACTION": _note("quantities are fractions (weighed goods)"),
    "DECIMAL_COMMA": _repair("numbers with a decimal comma were read", listed=False),
    "SIGN_MISMATCH": _reject("quantity and amount differ in sign"),
    "TOTAL_MISMATCH": _flag("amounts differ from quantity times price (plus tax); the amount given is used"),
    "AMOUNT_DERIVED": _repair("amounts were computed as quantity times price (plus tax)", listed=False),
    "PRICE_NOT_POSITIVE": _reject("a price is not above zero and the line is no return: an adjustment"),
    "RETURN": _note("lines with a negative quantity are returns"),
    "RETURN_UNMATCHED": _note("returns have no earlier sale that covers them; they lower the money only"),
    # duplicates
    "DUP_ROW": _reject("the same line of one order stands twice", "give each line its own order or line id"),
    "DUP_KEPT": _flag("equal lines without an order id to tell whether they are one; kept"),
    "DUP_FILE": _reject("whole orders stand in two files or sheets; the first copy is kept", "pass one of the files"),
    "DUP_ID_CONFLICT": _reject("one order id stands on several customers or days, and nothing tells which is right"),
    "ORDER_ID_REUSED": _flag("order ids come again for other customers or days; kept", listed=False),
    # products and customers
    "DUP_ID": _reject("an id stands twice in its table; the first row is kept"),
    "PROD_CONFLICT": _repair("products carry several names; the most recent is used", listed=False),
    "ATTRIBUTE_BLANK": _note("an attribute is empty"),
    "ATTRIBUTE_BAD": _repair("a value does not fit its column and was blanked"),
    "ATTRIBUTE_DATE_AMBIGUOUS": _flag("day and month of an attribute cannot be told apart; set aside", listed=False),
    "ATTRIBUTE_AFTER_FACT": _flag(
        "an attribute looks computed from the purchases themselves and would leak; set aside",
        "rename it to keep_<name>",
        listed=False,
    ),
    "DOB_BAD": _repair("an impossible date of birth was blanked"),
    "NEVER_BOUGHT": _note("customers have no line in transactions; kept"),
    "LEVEL_GAP": _flag("a level of the tree is empty above a filled one; the branch is cut there", listed=False),
    "ORPHAN_PARENT": _repair("a parent id is not in the table and was blanked"),
    "CYCLE": _repair("a row is its own ancestor; the parent was blanked"),
    # history
    "GAP": _note("weeks without a single line lie between the first and the last"),
    "FIRST_TIME_BREAK": _flag("the share of products never sold before jumps; is the data stitched?", listed=False),
}

for _prefix, _noun in (("AMT", "an amount or price"), ("QTY", "a quantity"), ("NUM", "a number")):
    RULES |= {
        f"{_prefix}_NAN": _reject(f"{_noun} is not a number (NaN)"),
        f"{_prefix}_INF": _reject(f"{_noun} is infinite"),
        f"{_prefix}_RANGE": _reject(f"{_noun} is beyond 1e12"),
        f"{_prefix}_TEXT": _reject(f"{_noun} is text"),
        f"{_prefix}_THOUSANDS": _repair(f"{_noun} had thousands separators"),
        f"{_prefix}_CURRENCY": _repair(f"{_noun} had a currency sign"),
        f"{_prefix}_PAREN": _repair(f"{_noun} in brackets or with a trailing minus was read as negative"),
    }
