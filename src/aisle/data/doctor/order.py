"""The order of day and month, proven by evidence or refused; never guessed.

For each file and shape a first or second number above 12 settles the order. What stays open is read in every order;
the readings must differ in how many dates lie after today or after the last settled day, in how many returns
precede their sale, or in how often the file's own sorting breaks. One reading must be (all but) free of such
contradictions and every other one full of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from aisle.data.doctor.dates import EXACT, SHAPES, Order, first_second, resolve, valid
from aisle.data.doctor.report import count
from aisle.errors import DataError
from aisle.types import DAY, Bools, Ints

NOISE = 0.05
"""Share of rows that may contradict the rest of their file's shape before the file counts as mixed."""
FEW = 0.01
"""Share of rows in unproven shapes up to which they are rejected instead of refusing the source."""
ORDERS: tuple[Order, ...] = ("dmy", "mdy", "ymd")
WORDS = {"dmy": "day-first", "mdy": "month-first", "ymd": "year-first"}
TESTS = ("dates after today", "dates after the last day", "returns before their sale", "breaks of the file's order")
Group = tuple[int, int]
"""(file number, shape)."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Columns (N,) of the lines that the proof needs."""

    file: np.ndarray
    shape: np.ndarray
    ticks: Ints
    quantity: np.ndarray | None = None
    key: np.ndarray | None = None
    """One number for each order (or customer) and product, so that returns meet their sales; -1 = none."""


@dataclass(frozen=True)
class Proof:
    """The order of every ordered group and why."""

    orders: dict[Group, Order]
    text: str
    unclear: tuple[Group, ...] = ()
    """Groups too small to refuse a file for, whose order nothing proves: their rows are rejected."""

    @property
    def name(self) -> str:
        """``dmy``, ``mdy``, ``ymd``, several joined with a plus, or ``iso`` where no date needs an order."""
        return "+".join(sorted(set(self.orders.values()))) or "iso"


def prove(seen: Evidence, given: Order | None, now: datetime) -> Proof:
    """Find the order of every file and shape.

    Raises:
        DataError: ``DATE_AMBIGUOUS`` when the evidence is silent or contradicts itself and no order was given.

    """
    orders: dict[Group, Order] = {}
    words: list[str] = []
    open_groups: list[Group] = []
    packed = seen.shape > EXACT
    groups = sorted({(int(f), int(s)) for f, s in _pairs(seen.file[packed], seen.shape[packed])})
    for group in groups:
        ticks = seen.ticks[(seen.file == group[0]) & (seen.shape == group[1])]
        if given is not None:
            orders[group] = _checked(group, ticks, given)
            words.append(f"{_name(group, given)} is {WORDS[given]} as asked")
            continue
        settled = _by_parts(group, ticks)
        if settled is None:
            open_groups.append(group)
        else:
            orders[group] = settled[0]
            words.append(settled[1])
    unclear: tuple[Group, ...] = ()
    if open_groups:
        try:
            order, sentence = _by_readings(seen, orders, open_groups, now)
            orders |= dict.fromkeys(open_groups, order)
            words.append(sentence)
        except DataError:
            unclear = tuple(open_groups)
            if _rows_of(seen, unclear).sum() > FEW * len(seen.shape):
                raise
    text = "; ".join(dict.fromkeys(words)) or "every date is year-first or typed: no order to prove"
    return Proof(orders, text, unclear)


def unclear_rows(seen: Evidence, proof: Proof) -> Bools:
    """(N,) rows whose date could not be told."""
    return _rows_of(seen, proof.unclear)


def apply(seen: Evidence, orders: dict[Group, Order]) -> tuple[Ints, Bools]:
    """(N,) microseconds of all dates, and True where the date exists in its group's order (False without one)."""
    exists = seen.shape <= EXACT
    time = np.where(exists, seen.ticks, 0)
    for (file, shape), order in orders.items():
        rows = np.flatnonzero((seen.file == file) & (seen.shape == shape))
        time[rows], exists[rows] = resolve(seen.ticks[rows], order, SHAPES[shape][1])
    return time, exists


def _by_parts(group: Group, ticks: Ints) -> tuple[Order, str] | None:
    """The order that numbers above 12 prove; None when all fit several orders."""
    width = SHAPES[group[1]][1]
    candidates = ORDERS if width == 2 else ORDERS[:2]
    fits = np.stack([valid(ticks, order, width) for order in candidates])
    alone = fits & (fits.sum(axis=0) == 1)
    proof = alone.sum(axis=1)
    best = int(proof.argmax())
    others = int(proof.sum() - proof[best])
    if others > NOISE * proof.sum():
        raise DataError(
            f"DATE_AMBIGUOUS: {_name(group, candidates[best])} dates mix orders: {count(int(proof[best]))} fit only "
            f"{WORDS[candidates[best]]}, {count(others)} only another order. Split the file by origin, or state one "
            "with --date-order (the others become rejects)."
        )
    if proof[best] == 0:
        first, second = first_second(ticks)
        # 05-05 reads the same either way; with a two-digit year the year may still hide in front
        return (
            ("dmy", f"{_name(group, 'dmy')} reads alike in every order")
            if width == 4 and (first == second).all()
            else None
        )
    place = "first" if candidates[best] == "dmy" else "second"
    reason = (
        f"{count(int(proof[best]))} dates have a {place} number above 12"
        if width == 4
        else f"{count(int(proof[best]))} dates fit no other order"
    )
    return candidates[
        best
    ], f"{_name(group, candidates[best])} ({count(len(ticks))} rows) is {WORDS[candidates[best]]}: {reason}"


def _checked(group: Group, ticks: Ints, given: Order) -> Order:
    width = SHAPES[group[1]][1]
    order: Order = "dmy" if given == "ymd" and width == 4 else given
    share = float(valid(ticks, order, width).mean())
    if share < 0.5:
        raise DataError(
            f"DATE_ORDER: with --date-order {given} only {share:.0%} of the {_name(group, order)} dates exist. "
            "Leave the option out to let the order be proven from the data."
        )
    return order


def _by_readings(seen: Evidence, orders: dict[Group, Order], pending: list[Group], now: datetime) -> tuple[Order, str]:
    """The order under which the open groups contradict nothing, and the sentence that proves it."""
    candidates = ORDERS if all(SHAPES[s][1] == 2 for _, s in pending) else ORDERS[:2]
    is_open = _rows_of(seen, pending)
    faults: dict[Order, list[int]] = {}
    for order in candidates:
        time, exists = apply(seen, orders | dict.fromkeys(pending, order))
        counts = _contradictions(seen, time, is_open, now)
        counts[0] += int((~exists & is_open).sum())
        faults[order] = counts
    _count_sorting_only_if_sorted(faults)
    best = min(candidates, key=lambda o: sum(faults[o]))
    rivals = [o for o in candidates if o != best]
    enough = max(1.0, 0.001 * float(is_open.sum()))
    rows, shown = count(int(is_open.sum())), ", ".join(sorted({_name(g, best) for g in pending}))
    if all(sum(faults[o]) >= max(enough, 20 * sum(faults[best])) for o in rivals):
        worst = rivals[0]
        against = ", ".join(f"{count(n)} {test}" for n, test in zip(faults[worst], TESTS, strict=True) if n)
        own = "/".join(count(n) for n, m in zip(faults[best], faults[worst], strict=True) if m)
        return (
            best,
            f"{shown} ({rows} rows) is {WORDS[best]}: "
            f"read {WORDS[worst]} there would be {against}; {WORDS[best]} {own}",
        )
    adopted = {orders[g] for g in orders if g[1] in {s for _, s in pending}}
    if len(adopted) == 1 and {s for _, s in pending} <= {s for _, s in orders}:
        order = adopted.pop()
        return order, f"{shown} ({rows} rows) is {WORDS[order]} like the same shape in the other files"
    raise DataError(
        f"DATE_AMBIGUOUS: {rows} dates such as {_sample(seen, is_open)} can be read day-first or month-first, and "
        "nothing in the data tells which (no number above 12, no returns, no sorting). Nothing was guessed: say "
        "--date-order dmy, mdy or ymd."
    )


def _contradictions(seen: Evidence, time: Ints, is_open: Bools, now: datetime) -> list[int]:
    """Counts for each of TESTS when the open rows have these times."""
    tomorrow = int(np.datetime64(now, "us").astype(np.int64)) + DAY
    future = is_open & (time >= tomorrow)
    settled = (seen.shape >= EXACT) & ~is_open
    late = np.zeros(len(time), dtype=bool)
    if settled.any():
        late = is_open & ~future & (time >= time[settled].max() // DAY * DAY + DAY)
    early = _early_returns(seen, time, is_open)
    return [int(future.sum()), int(late.sum()), early, _breaks(seen, time)]


def _early_returns(seen: Evidence, time: Ints, is_open: Bools) -> int:
    """Returns whose every sale lies after them, where an open date is involved."""
    if seen.quantity is None or seen.key is None or not (seen.quantity < 0).any():
        return 0
    lines = pl.DataFrame({"key": seen.key, "time": time, "open": is_open, "back": seen.quantity < 0})
    lines = lines.filter(pl.Series((seen.key >= 0) & (seen.shape >= EXACT)))
    back = lines.filter("back")
    sales = lines.filter(~pl.col("back")).join(back.select("key").unique(), on="key", how="semi")
    first = sales.group_by("key").agg(pl.col("time").min().alias("first"), pl.col("open").any().alias("moved"))
    met = back.join(first, on="key", how="inner")
    return met.filter((pl.col("time") < pl.col("first")) & (pl.col("open") | pl.col("moved"))).height


def _breaks(seen: Evidence, time: Ints) -> int:
    """Steps against the direction in which the files run."""
    total = 0
    known = seen.shape >= EXACT
    for file in np.unique(seen.file):
        steps = np.diff(time[(seen.file == file) & known])
        up, down = int((steps > 0).sum()), int((steps < 0).sum())
        total += min(up, down)
    return total


def _rows_of(seen: Evidence, groups: Sequence[Group]) -> Bools:
    """(N,) rows of these groups."""
    rows = np.zeros(len(seen.file), dtype=bool)
    for file, shape in groups:
        rows |= (seen.file == file) & (seen.shape == shape)
    return rows


def _count_sorting_only_if_sorted(faults: dict[Order, list[int]]) -> None:
    """Sorting is evidence only where one reading is sorted and another has at least five breaks more."""
    fewest, most = min(f[3] for f in faults.values()), max(f[3] for f in faults.values())
    if most < 5 or fewest * 20 > most:
        for values in faults.values():
            values[3] = 0


def _pairs(file: np.ndarray, shape: np.ndarray) -> list[tuple[int, int]]:
    frame = pl.DataFrame({"file": file, "shape": shape})
    return [(int(f), int(s)) for f, s in frame.unique().iter_rows()]


def _name(group: Group, order: Order) -> str:
    separator, width = SHAPES[group[1]]
    return separator.join({"d": "d", "m": "m", "y": "y" * width}[letter] for letter in order)


def _sample(seen: Evidence, is_open: Bools) -> str:
    row = int(np.flatnonzero(is_open)[0])
    first, second = first_second(seen.ticks[row : row + 1])
    separator = SHAPES[int(seen.shape[row])][0]
    return f"{int(first[0]):02d}{separator}{int(second[0]):02d}{separator}…"
