"""The canonical tables: what a mapping produces from a source and the doctor hands to ``Dataset``.

::

    source files ──read──▶ TextBlock (source columns) ──mapping──▶ canonical columns ──doctor──▶ CleanTables

Every canonical name of the house stands here once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import polars as pl

if TYPE_CHECKING:
    from aisle.data.doctor.standing import Standing

TableName: TypeAlias = Literal["transactions", "products", "customers", "stores", "availability"]
Kind: TypeAlias = Literal["id", "text", "number", "time", "integer", "flag"]

TRANSACTIONS: dict[str, Kind] = {
    "customer_id": "id",
    "product_id": "id",
    "timestamp": "time",
    "sequence": "integer",
    "quantity": "number",
    "price": "number",
    "tax": "number",
    "amount": "number",
    "order_id": "id",
    "store_id": "id",
    "channel": "id",
    "discount": "number",
    "promotion": "text",
}
"""Columns of a sale line. Required: product, one of timestamp and sequence; no quantity column means 1 each."""

PRODUCTS: dict[str, Kind] = {
    "product_id": "id",
    "name": "text",
    "brand": "text",
    "price": "number",
    "cost": "number",
    "in_stock": "flag",
    "variant_of": "id",
    "valid_from": "time",
}
"""Columns of a product beside ``category_1 … category_n`` (top to leaf) and free attributes."""

CUSTOMERS: dict[str, Kind] = {"customer_id": "id", "valid_from": "time", "no_profile": "flag"}
"""Columns of a customer beside ``group_1 … group_n`` (top to leaf) and free attributes."""

STORES: dict[str, Kind] = {"store_id": "id"}
AVAILABILITY: dict[str, Kind] = {"store_id": "id", "product_id": "id", "from": "time", "to": "time"}
KINDS: dict[TableName, dict[str, Kind]] = {
    "transactions": TRANSACTIONS,
    "products": PRODUCTS,
    "customers": CUSTOMERS,
    "stores": STORES,
    "availability": AVAILABILITY,
}

PATH = " > "
"""Joins the levels of a tree: every level is keyed by its full path, since names repeat under different parents."""
KEY = "/"
"""Joins the parts of a composite id, for example category code/sub-category code."""

PART = "_part"
"""Optional column of transactions: the sheet or export a line stands in. Rows equal but for it are one sale seen
twice (two exports that overlap), not two sales."""
LINE_FACTS = ("name", "brand", "category_n", "product.<attribute>", "group_n", "customer.<attribute>")
"""What transactions may say about their product (the first four) or their customer (the last two) on each line, in
sources without product or customer files. The newest non-empty value before the moment of use holds."""

Severity: TypeAlias = Literal["info", "warning", "error"]
Action: TypeAlias = Literal["kept", "repaired", "rejected", "refused"]


@dataclass(frozen=True)
class Finding:
    """One thing the doctor saw: what, how many, an example, what was done, and how to undo it."""

    code: str
    """Upper-case reason code, for example ``DUP_ROW``."""
    rows: int
    severity: Severity
    action: Action
    what: str
    """One plain sentence."""
    example: str = ""
    undo: str = ""
    """The option or setting that reverses the action; empty when nothing was changed."""
    file: str = ""
    column: str = ""


@dataclass(frozen=True)
class FileCount:
    """The row identity of one file: ``accepted + rejected == read``, always."""

    file: str
    table: TableName
    read: int
    accepted: int
    rejected: int


REJECTS = pl.Schema(
    {
        "file": pl.String,
        "line": pl.Int64,
        "column": pl.String,
        "code": pl.String,
        "action": pl.String,
        "raw": pl.String,
    }
)
"""Schema of ``rejects.parquet``: every rejected, repaired or flagged row; ``line`` counts from 1 with the header;
``raw`` holds at most 200 characters of the row as it stood in the file."""


@dataclass(frozen=True)
class DataReport:
    """What the doctor found over all files."""

    files: tuple[FileCount, ...] = ()
    findings: tuple[Finding, ...] = ()
    date_order: str = "none"
    """``dmy``, ``mdy``, ``ymd``, ``iso`` (native or ISO times) or ``sequence``."""
    date_proof: str = ""
    """The evidence for it in words."""
    returns: int = 0
    """Transaction lines with negative quantity among the rows read, duplicates included."""
    returns_matched: int = 0
    """Those with a matching sale, duplicates included."""
    duplicates: int = 0
    """Transaction lines set aside as exact duplicates."""
    mapping: dict[str, dict[str, str]] = field(default_factory=dict)
    """``{table: {canonical column: source column(s)}}`` as used, to be shown."""
    preset: str = ""

    def total(self, what: Literal["read", "accepted", "rejected"], table: TableName = "transactions") -> int:
        """Rows of one table summed over its files."""
        return sum(getattr(f, what) for f in self.files if f.table == table)


@dataclass(frozen=True)
class CleanTables:
    """Canonical tables after the doctor; ids are text (String or Categorical), never null where required.

    ``transactions``: customer_id (null = anonymous), product_id, timestamp Datetime("us", no zone, meaning UTC) *or*
    sequence Int64, quantity Float64 (negative = a return), amount Float64 (line total with the sign of quantity, null
    = unknown), order_id, store_id, channel (each null = unknown), discount, promotion when given, and ``void_at``
    Datetime("us") (or Int64): for a sale, the moment from which returns have undone it whole, else null.

    ``products``: product_id unique, ``category_1..n`` as full paths, the columns of ``PRODUCTS`` that were given,
    attributes as String, Float64, Boolean or Datetime. ``customers``: customer_id unique, ``group_1..n`` as full
    paths, likewise. Ids that occur only in transactions are appended with nulls.
    """

    transactions: pl.DataFrame
    products: pl.DataFrame
    customers: pl.DataFrame
    stores: pl.DataFrame | None = None
    availability: pl.DataFrame | None = None
    rejects: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REJECTS))
    report: DataReport = field(default_factory=DataReport)
    standing: Standing | None = None
    """From which further lines can be judged; None where they cannot be judged alone."""


@dataclass(frozen=True)
class TextBlock:
    """Up to some hundred thousand rows of one file under their source column names.

    From text files every column is String exactly as written (null = empty field), from Excel as the cell shows without
    formats (ISO dates, plain numbers); from Parquet and SQL the columns keep their types. ``line`` (rows,) holds the
    1-based line (or row) number in the file, header included; a row of several lines counts by its first.
    ``rejects`` are rows the reader itself could not place into columns; they count as read and rejected.
    """

    file: str
    frame: pl.DataFrame
    line: pl.Series
    rejects: pl.DataFrame
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Join:
    """Columns that a table borrows from another file, by key; rows are never added, dropped or reordered."""

    files: tuple[str, ...]
    """Glob patterns, as in ``TableMapping``; the pieces are stacked. Their keys must be unique."""
    on: tuple[str, ...]
    """Key columns; ``"order_id=id"`` where the names differ (this table's name first)."""
    take: tuple[str, ...]
    """Columns borrowed, under their own names; null where the key is not found."""


@dataclass(frozen=True)
class TableMapping:
    """How one canonical table is found in a source. Column names match without regard to case, spaces and ``_``."""

    table: TableName
    files: tuple[str, ...]
    """Glob patterns relative to the source folder, tried without regard to case; all matches are read."""
    columns: dict[str, tuple[str, ...]]
    """canonical name -> source column; several are joined with ``KEY`` (ids) or a space (date + hour).

    Transactions may also carry ``LINE_FACTS`` about their product or customer."""
    attributes: tuple[str, ...] | Literal["rest"] = "rest"
    """Source columns kept as attributes; ``"rest"`` keeps all that are not mapped (never of transactions)."""
    ignore: tuple[str, ...] = ()
    """Source columns left unread on purpose."""
    joins: tuple[Join, ...] = ()
    """Columns borrowed from other files before anything else."""
    header: tuple[str, ...] = ()
    """Column names of files that have no header line; empty = the first line names the columns."""
    separator: str = ""
    """Column separator of text files, of any length (``::``); empty = the reader finds it."""
    time_from: str = ""
    """What a number in a time column counts: ``s`` or ``ms`` since 1970, ``ymd`` (20240131), or an ISO date: days
    since then (that date = day 0). Empty = the times speak for themselves."""


@dataclass(frozen=True)
class Mapping:
    """A whole source: a preset, an inference, or the user's pinned ``[data]`` section."""

    name: str
    tables: tuple[TableMapping, ...]
    numeric_ids: bool = False
    """The publisher's customer ids are numbers: other text in them is rejected as CUST_BAD."""
    date_order: Literal["dmy", "mdy", "ymd"] | None = None
    """Known order; None = prove it."""
    product_pattern: str | None = None
    """Regular expression that real product ids match; others (postage, fees, samples) are set aside as NOT_PRODUCT."""
    cancel_prefix: str | None = None
    """Order ids with this prefix are cancellations of an order whose id may differ."""
    note: str = ""
    """One line for the reader: publisher, form, and what is not covered."""
