"""The ``[data]`` section of aisle.toml and a ``Mapping``, both ways.

::

    [data]
    date_order = "dmy"

    [data.transactions]
    files = ["sales*.csv"]
    columns = { customer_id = "card", product_id = ["group", "article"], timestamp = "date" }

    [[data.transactions.joins]]
    files = ["orders.csv"]
    on = ["order_id=id"]
    take = ["card", "date"]
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, cast

from aisle.data.names import did_you_mean
from aisle.data.schema import KINDS, PART, Join, Mapping, TableMapping, TableName
from aisle.errors import UsageError

TABLES: tuple[TableName, ...] = ("transactions", "products", "customers", "stores", "availability")
OPTIONS = tuple(f.name for f in fields(Mapping) if f.name != "tables")
TABLE_KEYS = tuple(f.name for f in fields(TableMapping) if f.name != "table")
JOIN_KEYS = tuple(f.name for f in fields(Join))
ORDERS = ("dmy", "mdy", "ymd")
TIME_FROM = re.compile(r"|s|ms|ymd|\d{4}-\d{2}-\d{2}")
_LEVEL = {"products": "category_", "customers": "group_"}


def from_toml(section: dict[str, Any]) -> Mapping:
    """The mapping that a ``[data]`` section pins; without tables it only sets options.

    Raises:
        UsageError: An unknown key (with the nearest allowed one), a wrong type, or a column that is not canonical.

    """
    _known("[data]", section, (*OPTIONS, *TABLES))
    tables = tuple(_table(name, section[name]) for name in TABLES if name in section)
    if tables and tables[0].table != "transactions":
        raise UsageError("[data] pins tables but not [data.transactions]; add its files and columns.")
    order = section.get("date_order")
    if order is not None and order not in ORDERS:
        raise UsageError(f'[data] date_order = "{order}" is none of {", ".join(ORDERS)}.')
    pattern = _optional(section, "product_pattern")
    if pattern is not None:
        try:
            re.compile(pattern)
        except re.error as error:
            raise UsageError(f'[data] product_pattern = "{pattern}" is no regular expression: {error}.') from error
    numeric = section.get("numeric_ids", False)
    if not isinstance(numeric, bool):
        raise UsageError(f"[data] numeric_ids = {numeric!r} must be true or false.")
    return Mapping(
        name=_optional(section, "name") or ("pinned" if tables else ""),
        tables=tables,
        numeric_ids=numeric,
        date_order=order,
        product_pattern=pattern,
        cancel_prefix=_optional(section, "cancel_prefix"),
        note=_optional(section, "note") or "",
    )


def to_toml(mapping: Mapping) -> dict[str, Any]:
    """The ``[data]`` section that pins a mapping; defaults are left out. ``from_toml`` gives the mapping back."""
    plainly = Mapping(name="", tables=())
    section: dict[str, Any] = {n: getattr(mapping, n) for n in OPTIONS if getattr(mapping, n) != getattr(plainly, n)}
    for table in mapping.tables:
        entry: dict[str, Any] = {
            "files": list(table.files),
            "columns": {n: p[0] if len(p) == 1 else list(p) for n, p in table.columns.items()},
        }
        if table.attributes != "rest":
            entry["attributes"] = list(table.attributes)
        for name in ("ignore", "header"):
            if getattr(table, name):
                entry[name] = list(getattr(table, name))
        for name in ("separator", "time_from"):
            if getattr(table, name):
                entry[name] = getattr(table, name)
        if table.joins:
            entry["joins"] = [{n: list(getattr(join, n)) for n in JOIN_KEYS} for join in table.joins]
        section[table.table] = entry
    return section


def _table(name: TableName, entry: object) -> TableMapping:
    where = f"[data.{name}]"
    if not isinstance(entry, dict):
        raise UsageError(f"{where} must be a table with files and columns, found {entry!r}.")
    _known(where, entry, TABLE_KEYS)
    if not entry.get("files") or not entry.get("columns"):
        raise UsageError(f'{where} needs files = ["…"] and columns = {{ canonical = "source column", … }}.')
    columns = entry["columns"]
    if not isinstance(columns, dict):
        raise UsageError(f"{where} columns must be a table, found {columns!r}.")
    _canonical(where, name, columns)
    attributes = entry.get("attributes", "rest")
    time_from = _optional(entry, "time_from") or ""
    if not TIME_FROM.fullmatch(time_from):
        raise UsageError(f'{where} time_from = "{time_from}" is none of s, ms, ymd or a date like 2024-01-31.')
    joins = entry.get("joins", [])
    if not isinstance(joins, list):
        raise UsageError(f"{where} joins must be written as [[data.{name}.joins]].")
    return TableMapping(
        table=name,
        files=_strings(where, "files", entry["files"]),
        columns={str(k): _strings(where, str(k), v) for k, v in columns.items()},
        attributes="rest" if attributes == "rest" else _strings(where, "attributes", attributes),
        ignore=_strings(where, "ignore", entry.get("ignore", [])),
        joins=tuple(_join(name, join) for join in joins),
        header=_strings(where, "header", entry.get("header", [])),
        separator=_optional(entry, "separator") or "",
        time_from=time_from,
    )


def _join(table: TableName, entry: object) -> Join:
    where = f"[[data.{table}.joins]]"
    if not isinstance(entry, dict):
        raise UsageError(f"{where} must be a table with {', '.join(JOIN_KEYS)}.")
    _known(where, entry, JOIN_KEYS)
    missing = [key for key in JOIN_KEYS if not entry.get(key)]
    if missing:
        raise UsageError(f"{where} lacks {', '.join(missing)}; it needs {', '.join(JOIN_KEYS)}.")
    return Join(*(_strings(where, key, entry[key]) for key in JOIN_KEYS))


def _canonical(where: str, table: TableName, columns: dict[str, object]) -> None:
    """Every key must be a canonical column of the table, a level, or a fact that a sale line may carry."""
    level = r"(category|group)_[1-9]" if table == "transactions" else rf"{_LEVEL.get(table, '-')}[1-9]"
    facts = ("name", "brand", PART) if table == "transactions" else ()
    free = r"(product|customer)\..+" if table == "transactions" else "-"
    allowed = (*KINDS[table], *facts)
    for name in columns:
        if name not in allowed and not re.fullmatch(f"{level}|{free}", name):
            levels = f", {_LEVEL[table]}1 … {_LEVEL[table]}9" if table in _LEVEL else ""
            raise UsageError(
                f'{where} columns: "{name}" is no canonical name.{did_you_mean(name, allowed)} '
                f"Allowed: {', '.join(allowed)}{levels}. Other columns are attributes and keep their names."
            )
    need = {"products": ("product_id",), "customers": ("customer_id",), "stores": ("store_id",)}.get(
        table, ("store_id", "product_id") if table == "availability" else ("product_id",)
    )
    missing = [name for name in need if name not in columns]
    if table == "transactions" and not {"timestamp", "sequence"} & set(columns):
        missing.append("timestamp (or sequence)")
    if missing:
        raise UsageError(f"{where} columns lack {', '.join(missing)}.")


def _known(where: str, entry: dict[str, Any], allowed: tuple[str, ...]) -> None:
    for key in entry:
        if key not in allowed:
            raise UsageError(
                f'{where} has an unknown key "{key}".{did_you_mean(key, allowed)} Allowed: {", ".join(allowed)}.'
            )


def _optional(entry: dict[str, Any], key: str) -> str | None:
    value = entry.get(key)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{key} = {value!r} must be text in quotes.")
    return value


def _strings(where: str, key: str, value: object) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(v, str) for v in values):
        raise UsageError(f'{where} {key} = {value!r} must be text or a list of texts, for example ["a", "b"].')
    return tuple(cast("list[str]", values))
