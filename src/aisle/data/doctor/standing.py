"""What the checks of all lines came to: with it, further lines are judged without looking at all again.

Kept beside the Dataset that came of the same visit; ``further.py`` uses it.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from aisle.data.doctor.codes import RULES
from aisle.data.doctor.ledger import LATE, LISTED_PER_CODE, Ledger
from aisle.data.doctor.tables import Told
from aisle.data.returns import names_sales
from aisle.data.schema import TableName
from aisle.files import Receipts, read_parquet, write_parquet

Counts = dict[tuple[str, str], int]
"""(code, column) -> rows."""
FACTS = "standing"
"""Key of the receipt."""


@dataclass(frozen=True)
class Back:
    """Returns among some lines."""

    returns: int = 0
    named: int = 0
    """Those that share order id and product with a sale."""
    met: int = 0
    """Those with a sale, or (of the lines that were kept) those without one."""

    @property
    def by_order(self) -> bool:
        """Whether the source's returns name their sales."""
        return names_sales(self.named, self.returns)


@dataclass(frozen=True, eq=False)
class Standing:
    """The outcome for all lines of a source so far."""

    columns: tuple[str, ...]
    """Of the typed lines."""
    ordered: bool
    """Whether lines have order ids: all or none have."""
    read: Back
    """Returns among the lines read; ``met``: with a sale."""
    counts: Counts
    """Rows by what the checks of all lines found."""
    kept: Back = field(default_factory=Back)
    """Returns among the lines kept; ``met``: without a sale."""
    late: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=LATE))
    """Lines by what those checks found, where they are listed."""
    told: dict[TableName, Told] = field(default_factory=dict)
    """Facts about products and customers that stand on lines."""

    @property
    def rejected(self) -> pl.DataFrame:
        """(_file, _line) of lines that the checks of all lines have rejected."""
        return self.late.filter(pl.col("action") == "rejected").select("_file", "_line")


def rows_by_issue(ledger: Ledger, before: Counts | None = None) -> Counts:
    """Rows of all tallies of a ledger, less those of ``before``."""
    rows = {issue: tally.rows - (before or {}).get(issue, 0) for issue, tally in ledger.tallies.items()}
    return {issue: count for issue, count in rows.items() if count}


def stands(ledger: Ledger) -> bool:
    """Whether further lines can be judged alone by what was found.

    Not where order ids are used again, which is a matter of their share, and where something lay in the future, which
    it does not for ever.
    """
    unsure = any(code in ("ORDER_ID_REUSED", "DATE_FUTURE") for code, _ in ledger.tallies)
    return not unsure and not crowded(ledger)


def crowded(ledger: Ledger) -> bool:
    """Whether more rows of one kind were found than are listed: which of them are then hangs on the order of files."""
    return any(
        tally.rows > LISTED_PER_CODE and RULES[code].action != "rejected" and RULES[code].listed
        for (code, _), tally in ledger.tallies.items()
    )


def save_standing(standing: Standing, folder: Path, facts: dict[str, Any]) -> None:
    """Write it, with further facts, into a folder that is there."""
    told = {"columns": standing.columns, "ordered": standing.ordered}
    told |= {"read": asdict(standing.read), "kept": asdict(standing.kept)}
    told |= {"counts": [[*issue, rows] for issue, rows in standing.counts.items()]}
    names = [(name, column) for name, held in standing.told.items() for column in held]
    for name, column in names:
        write_parquet(folder / _file_of(name, column), standing.told[name][column])
    write_parquet(folder / "late.parquet", standing.late)
    Receipts(folder).put(FACTS, {"standing": told, "told": names, "facts": facts})


def standing_of(folder: Path) -> dict[str, Any] | None:
    """The further facts that ``save_standing`` was given; None where nothing is there."""
    stored = Receipts(folder).get(FACTS)
    return None if stored is None else stored["facts"]


def open_standing(folder: Path) -> Standing:
    """Undo ``save_standing`` of the same code.

    Raises BundleError or FileNotFoundError where it is not whole.
    """
    stored = Receipts(folder).get(FACTS)
    if stored is None:
        raise FileNotFoundError(f"{folder} holds no standing")
    plain = stored["standing"]
    told: dict[TableName, Told] = {"products": {}, "customers": {}}
    for name, column in stored["told"]:
        told[name][column] = read_parquet(folder / _file_of(name, column))
    plain |= {"columns": tuple(plain["columns"]), "read": Back(**plain["read"]), "kept": Back(**plain["kept"])}
    plain["counts"] = {(code, column): rows for code, column, rows in plain["counts"]}
    return Standing(**plain, late=read_parquet(folder / "late.parquet"), told=told)


def _file_of(name: str, column: str) -> str:
    return f"told-{name}-{re.sub('[^a-z0-9_]', lambda c: f'%{ord(c[0]):x}', column)}.parquet"
