"""Planted faults: real-world damage to the transactions, counted by the reason code a data doctor should give it.

A damaged row carries one fault, so that counts are exact (only an unknown product may meet an unknown customer). All
dates are day-first in two shapes (``05-03-2024``, ``05/03/2024``), large amounts have thousands separators, and the
file comes in two pieces that share some orders. Returned lines and returns keep their keys: pairs stay pairs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from aisle.data.synthetic.shop import Shop
from aisle.types import Bools, Ints

STREAM = 4
REJECTED = {
    "QTY_ZERO": 0.0010,
    "QTY_TEXT": 0.0010,
    "AMT_NAN": 0.0010,
    "AMT_TEXT": 0.0010,
    "SIGN_MISMATCH": 0.0010,
    "DATE_INVALID": 0.0010,
    "DATE_MISSING": 0.0010,
    "DATE_FUTURE": 0.0010,
    "ID_MISSING": 0.0010,
    "TOO_FEW": 0.0010,
}
"""Faults that cost the row, and the share of rows that get each."""
REPAIRED = {"AMT_CURRENCY": 0.004, "INVISIBLE_CHAR": 0.002}
"""Faults that can be mended."""
COPIED = 0.004
"""Share of rows written twice within a piece (DUP_ROW)."""
OVERLAP = 0.2
"""Share of the plain orders late in the first piece that stand in the second one too (DUP_FILE)."""
FIRST_PIECE = 0.6
THOUSAND = 1000
"""Amounts from here on are written with a separator."""
NAMELESS = 0.01
"""Share of orders without a customer (CUST_MISSING)."""
SLASHED = 0.3
"""Share of rows with slashes in the date (DATE_MIXED)."""
UNKNOWN = 0.01
"""Share of products, and of customers, that are missing from their files."""
BLANKS = (None, "null", "N/A")
"""Ways to say that there is no customer. Not "NA", which may be somebody's id."""
ACTIONS = {
    **dict.fromkeys([*REJECTED, "DUP_ROW", "DUP_FILE", "FOOTER", "REPEAT_HEADER"], "rejected"),
    **dict.fromkeys([*REPAIRED, "AMT_THOUSANDS", "AMT_PAREN", "DATE_MIXED"], "repaired"),
    **dict.fromkeys(["CUST_MISSING", "PROD_UNKNOWN", "CUST_UNKNOWN"], "kept"),
}
CUT_AT = 4
"""Fields left in a torn row."""


@dataclass
class Dirt:
    """Counts of what was planted so far, in rows of the transactions."""

    rows: Counter[str] = field(default_factory=Counter)
    written: int = 0

    def report(self) -> dict[str, Any]:
        """The content of ``dirt.json``: ``written = rejected + accepted``, and rows by reason code."""
        rejected = sum(n for code, n in self.rows.items() if ACTIONS[code] == "rejected")
        return {
            "rows_written": self.written,
            "rows_rejected": rejected,
            "rows_accepted": self.written - rejected,
            "date_order": "dmy",
            "codes": {code: {"rows": n, "action": ACTIONS[code]} for code, n in sorted(self.rows.items())},
        }


class DirtWriter:
    """Writes transactions as two damaged CSV pieces; ``write`` gives back the true rows that should survive."""

    def __init__(self, folder: Path, shop: Shop, lost_products: pl.Series) -> None:
        self.paths = (folder / "transactions-1.csv", folder / "transactions-2.csv")
        self.shop, self.lost_products = shop, lost_products
        self.dirt = Dirt()
        for path in self.paths:
            path.write_text("", encoding="utf-8")

    def write(self, clean: pl.DataFrame, lost_customers: pl.Series, block: int) -> pl.DataFrame:
        """Append a block; returns its clean rows less the rejected ones, with the customers that are still known."""
        rng = self.shop.stream(STREAM, block)
        fault = self._faults(clean, lost_customers, rng)
        slashed = (rng.random(clean.height) < SLASHED) & ~np.isin(fault, list(REJECTED))
        lines = _damaged(clean, fault, slashed, rng, self.dirt)
        plain = (fault == "") & ~slashed & clean["amount"].is_between(0, THOUSAND, closed="left").to_numpy()
        self._append(clean, lines, plain, rng, block == 0)
        nameless = pl.Series(fault == "CUST_MISSING")
        kept = clean.with_columns(customer_id=pl.when(~nameless).then(pl.col("customer_id")))
        return kept.filter(pl.Series(~np.isin(fault, list(REJECTED))))

    def close(self, total: float) -> Dirt:
        """Write the footer with the total that the books show; gives the counts."""
        with self.paths[1].open("a", encoding="utf-8", newline="") as file:
            file.write(f"Total,,,,,{total:.2f},,,,,\n")
        self.dirt.rows["FOOTER"] += 1
        self.dirt.written += 1
        return self.dirt

    def _faults(self, clean: pl.DataFrame, lost_customers: pl.Series, rng: np.random.Generator) -> np.ndarray:
        """(rows,) reason code planted in each row, empty for none."""
        paired = clean.select(pl.len().over("order_id", "product_id") > 1).to_series().to_numpy()
        fault = np.full(clean.height, "", dtype="U16")
        fault[clean["product_id"].is_in(self.lost_products.implode()).to_numpy()] = "PROD_UNKNOWN"
        unlisted = clean["customer_id"].is_in(lost_customers.implode()).to_numpy()
        fault[unlisted & (fault == "")] = "CUST_UNKNOWN"
        _nameless(clean, fault, paired, rng)
        free = rng.permutation(np.flatnonzero((fault == "") & ~paired))
        start = 0
        for code, share in {**REJECTED, **REPAIRED}.items():
            count = _share(share, clean.height)
            fault[free[start : start + count]] = code
            start += count
        codes, counts = np.unique(fault[fault != ""], return_counts=True)
        self.dirt.rows.update(dict(zip(codes.tolist(), counts.tolist(), strict=True)))
        self.dirt.rows["CUST_UNKNOWN"] += int((unlisted & (fault == "PROD_UNKNOWN")).sum())  # the one double fault
        return fault

    def _append(
        self, clean: pl.DataFrame, lines: list[str], plain: Bools, rng: np.random.Generator, first: bool
    ) -> None:
        """Write two pieces that share some orders, with lines written twice and a repeated header.

        Only plain lines are copied, so that no other count depends on which copy a doctor keeps.
        """
        half = int(len(lines) * FIRST_PIECE)
        both = _whole_orders(clean["order_id"], plain, half, rng)
        free = np.setdiff1d(np.flatnonzero(plain[:half]), both)
        again = set(rng.choice(free, min(_share(COPIED, len(lines)), len(free)), replace=False).tolist())
        header = ",".join(clean.columns)
        one = [line for at, text in enumerate(lines[:half]) for line in ([text, text] if at in again else [text])]
        two = [lines[at] for at in both] + lines[half:]
        two.insert(len(two) // 2, header)
        self.dirt.rows.update({"DUP_ROW": len(again), "DUP_FILE": len(both), "REPEAT_HEADER": 1})
        self.dirt.written += len(one) + len(two)
        for path, piece in zip(self.paths, (one, two), strict=True):
            text = [header, *piece] if first else piece
            with path.open("a", encoding="utf-8", newline="") as file:
                file.writelines(f"{line}\n" for line in text)


def lost(shop: Shop, ids: pl.Series, key: int) -> pl.Series:
    """The ids that are missing from their file although they are in the transactions."""
    rng = shop.stream(STREAM, key, 1)
    return ids.gather(np.sort(rng.choice(len(ids), _share(UNKNOWN, len(ids)), replace=False)))


def _share(share: float, rows: int) -> int:
    """How many rows a share is: at least one where there is any."""
    return min(rows, max(1, round(share * rows)))


def _whole_orders(orders: pl.Series, plain: Bools, half: int, rng: np.random.Generator) -> Ints:
    """Rows of some late orders of the first piece all of whose lines are plain and lie in it."""
    frame = pl.DataFrame({"order": orders, "plain": plain, "row": np.arange(len(orders))})
    whole = frame.group_by("order", maintain_order=True).agg(pl.col("plain").all(), pl.col("row"))
    ends = pl.col("row").list
    whole = whole.filter(pl.col("plain") & (ends.min() >= 0.8 * half) & (ends.max() < half))
    chosen = np.sort(rng.choice(whole.height, _share(OVERLAP, whole.height), replace=False))
    return whole["row"].gather(chosen).explode().sort().to_numpy().astype(np.int64)


def _nameless(clean: pl.DataFrame, fault: np.ndarray, paired: Bools, rng: np.random.Generator) -> None:
    """Mark all lines of some orders as CUST_MISSING, in place; orders with other faults or with returns are spared."""
    taken = pl.DataFrame({"order_id": clean["order_id"], "taken": (fault != "") | paired})
    orders = taken.group_by("order_id", maintain_order=True).agg(pl.col("taken").any()).filter(~pl.col("taken"))
    chosen = rng.choice(orders.height, _share(NAMELESS, orders.height), replace=False)
    picked = orders["order_id"].gather(np.sort(chosen))
    fault[clean["order_id"].is_in(picked.implode()).to_numpy()] = "CUST_MISSING"


def _damaged(clean: pl.DataFrame, fault: np.ndarray, slashed: Bools, rng: np.random.Generator, dirt: Dirt) -> list[str]:
    """The CSV lines of a block."""
    blank = pl.Series(BLANKS, dtype=pl.String).gather(rng.integers(len(BLANKS), size=clean.height))
    amount, quantity = pl.col("amount"), pl.col("quantity")
    code, negative = pl.col("fault"), amount < 0
    large = (amount >= THOUSAND) & ~code.is_in([*REJECTED, "AMT_CURRENCY"])
    money = pl.format("{}.{}", (amount.abs() * 100).round().cast(pl.Int64) // 100, _cents(amount))
    grouped = pl.when(large).then(money.str.replace(r"(\d{3}\.\d\d)$", ",$1")).otherwise(money)
    frame = clean.with_columns(fault=pl.Series(fault), slash=slashed, blank=blank)
    counts = frame.select(AMT_THOUSANDS=large.sum(), AMT_PAREN=negative.sum(), DATE_MIXED=pl.col("slash").sum())
    dirt.rows.update(counts.row(0, named=True))
    stamp = pl.col("timestamp")
    dashes, slashes = stamp.dt.strftime("%d-%m-%Y %H:%M:%S"), stamp.dt.strftime("%d/%m/%Y %H:%M:%S")
    text = frame.with_columns(
        customer_id=pl.when(code == "CUST_MISSING").then("blank").otherwise("customer_id"),
        product_id=pl.when(code == "ID_MISSING")
        .then(pl.lit(None))
        .when(code == "INVISIBLE_CHAR")
        .then(pl.col("product_id") + "\u200b")
        .otherwise("product_id"),
        timestamp=pl.when(code == "DATE_INVALID")
        .then(pl.lit("31-02-2025 10:00:00"))
        .when(code == "DATE_MISSING")
        .then(pl.lit(None))
        .when(code == "DATE_FUTURE")
        .then(stamp.dt.strftime("15-03-2091 %H:%M:%S"))
        .when(pl.col("slash"))
        .then(slashes)
        .otherwise(dashes),
        quantity=pl.when(code == "QTY_ZERO")
        .then(pl.lit("0"))
        .when(code == "QTY_TEXT")
        .then(pl.lit("two"))
        .otherwise(quantity.cast(pl.String)),
        amount=pl.when(code == "AMT_NAN")
        .then(pl.lit("NaN"))
        .when(code == "AMT_TEXT")
        .then(pl.lit("1_2a"))
        .when(code == "SIGN_MISMATCH")
        .then("-" + money)
        .when(code == "AMT_CURRENCY")
        .then("€" + money)
        .when(negative)
        .then(pl.format("({})", money))
        .otherwise(grouped),
    ).drop("fault", "slash", "blank")
    lines = text.write_csv(include_header=False).splitlines()
    for at in np.flatnonzero(fault == "TOO_FEW"):
        lines[at] = ",".join(lines[at].split(",")[:CUT_AT])
    return lines


def _cents(amount: pl.Expr) -> pl.Expr:
    return ((amount.abs() * 100).round().cast(pl.Int64) % 100).cast(pl.String).str.zfill(2)
