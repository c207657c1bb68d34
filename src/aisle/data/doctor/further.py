"""A visit of a source that has grown: lines of further files are judged beside the kept ones that they touch.

What comes of it is what a visit of everything would say and give. Where lines judged before would be judged otherwise,
or a rule hangs on the share of something among all lines, ``WholeNeeded`` is raised and everything is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from aisle.data.build import Assortment, build_entities
from aisle.data.dataset import Dataset
from aisle.data.doctor.codes import Issue
from aisle.data.doctor.dates import EXACT
from aisle.data.doctor.leaks import suspects
from aisle.data.doctor.ledger import Ledger
from aisle.data.doctor.pieces import Pick, Piece, Pieces
from aisle.data.doctor.standing import Back, Standing, crowded, rows_by_issue, stands
from aisle.data.doctor.tables import KEYS, Told, both_told, facts, told_on
from aisle.data.doctor.touch import Touch, named
from aisle.data.doctor.visit import Visit
from aisle.data.doctor.whole import WHERE, joined_up, survivors
from aisle.data.entities import Entities
from aisle.data.grow import grown, history_of, interwoven, lines_of, undone
from aisle.data.mapping import load_joins
from aisle.data.returns import Returns
from aisle.data.schema import CleanTables, TableName
from aisle.types import UNKNOWN, Bools, Codes, Ints

SHARED = ("DUP_ID_CONFLICT", "ORDER_ID_REUSED")
"""Which of the two it is hangs on the share of such order ids."""


class WholeNeeded(Exception):
    """Further lines cannot be judged alone; the text says why."""


@dataclass(frozen=True, eq=False)
class Grown:
    """What came of a source and its further lines."""

    dataset: Dataset
    tables: CleanTables
    """Whole, but for the transactions, which are used up."""
    with_lines: dict[TableName, int]
    """How many products and customers have lines."""
    written: Path | None
    """Where the lines of the Dataset lie, for ``stored.save_dataset``; None = in memory."""


@dataclass(frozen=True, eq=False)
class Matched:
    """Further lines after returns have met their sales."""

    lines: pl.DataFrame
    """Further lines, and all of the customers ``anew``."""
    anew: Codes
    back: Back
    """Returns among all lines that are kept."""


@dataclass(kw_only=True)
class Further(Visit):
    """A visit where all files but some are known.

    Raises WholeNeeded, and BundleError or FileNotFoundError where what is kept of them is damaged.
    """

    kept: Pieces
    before: Standing
    """Of the files that are known."""
    data: Dataset
    """What they came to; returns among further lines are noted there."""
    folder: Path | None = None
    """Where all lines are written; None keeps them in memory."""
    known: frozenset[Path]
    pieces: list[tuple[Piece, int]] = field(default_factory=list)
    """Their lines, and the first of their numbers in the ledger."""
    is_new: Bools = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """(F,) whether a file number is that of a further file."""

    def grow(self) -> Grown:
        """Judge, match, build."""
        if self.data.flag("no_profile").any():
            raise WholeNeeded("customers have opted out")
        lines = self._further_lines()
        self.before = replace(self.before, late=self._renumbered(self.before.late))
        tables = {name: self._table(name) for name in KEYS if name in self.files}
        near, lines, standing = self._judged(self._near(lines), lines, tables)
        matched = self._matched(near, lines)
        return self._built(matched, lines, tables, replace(standing, kept=matched.back))

    def _further_lines(self) -> pl.DataFrame:
        """Lines of further files, typed; what was found in the others is in the ledger."""
        joined = load_joins(self._mapped("transactions"), self.source)
        found = []
        for path in self.files["transactions"]:
            if path not in self.known:
                found.append(self._piece(path, joined))
                continue
            piece = self.kept.piece(path, self.mapping, self.now)
            if piece is None:
                raise WholeNeeded(f"{path.name} is not kept")
            first = self.ledger.absorb(piece.ledger())
            self.numbers[path] = range(first, len(self.ledger.files))
            self.pieces.append((piece, first))
            self._finished(path)
        numbers = self._numbers()
        self.is_new = np.ones(len(self.ledger.files), dtype=bool)
        self.is_new[numbers] = False
        if any(self.before.told.values()) and self.is_new[: numbers.max()].any():
            raise WholeNeeded("facts on lines of a file before others")
        lines = joined_up([one for one in found if one is not None] or [pl.DataFrame()])
        if "shape" not in lines.columns or (lines["shape"] > EXACT).any():
            raise WholeNeeded("dates have no order of their own")
        lines = self._with_times(lines)
        if tuple(lines.columns) != self.before.columns:
            raise WholeNeeded("columns are others")
        blank = lines["order_id"].null_count() if "order_id" in lines.columns else lines.height
        if not lines.height or blank != (0 if self.before.ordered else lines.height):
            raise WholeNeeded("order ids are missing, or there as never before")
        return lines

    def _numbers(self) -> Ints:
        """The numbers that files have by now which had 0, 1, 2 … at the visit before."""
        return np.concatenate([np.asarray(self.numbers[piece.path], dtype=np.int16) for piece, _ in self.pieces])

    def _renumbered(self, late: pl.DataFrame) -> pl.DataFrame:
        return late.with_columns(_file=pl.lit(pl.Series(self._numbers())).gather(pl.col("_file")))

    def _new(self, lines: pl.DataFrame) -> pl.Series:
        """(E,) whether a line is of a further file."""
        return pl.Series(self.is_new[lines["_file"].to_numpy()])

    def _near(self, lines: pl.DataFrame) -> pl.DataFrame:
        """The lines before that these touch."""
        pieces = [piece for piece, _ in self.pieces]
        return self._kept_lines(Touch.of(lines, pieces, ordered=self.before.ordered).of_file)

    def _kept_lines(self, pick: Callable[[Piece], Pick]) -> pl.DataFrame:
        """The lines before that are picked of each file."""
        found = [piece.some(pick(piece)).with_columns(pl.col("_file") + first) for piece, first in self.pieces]
        return self._with_times(joined_up(found))

    def _judged(
        self, near: pl.DataFrame, lines: pl.DataFrame, tables: dict[TableName, pl.DataFrame]
    ) -> tuple[pl.DataFrame, pl.DataFrame, Standing]:
        """(lines before that stay, further ones that stay, what all checks came to)."""
        both = _in_order(near, lines)
        self.returned = self._more_returns(self.before.read, near, both, _met)
        self.ledger.note("RETURN", self.returned.returns, column="quantity")
        earlier, known, wanted = rows_by_issue(self.ledger), len(self.ledger.late), self._checks(tables)
        self.ledger.say_again(self.before.counts, self.before.late)
        alone = self.ledger.beside()
        survivors(near, wanted, alone.judge_late)
        beside = _Beside(self.ledger, self.ledger.beside(), self._new)
        keep = survivors(both, wanted, beside.judge)
        if rows_by_issue(alone) != rows_by_issue(beside.old) or not alone.all_late().equals(beside.old.all_late()):
            raise WholeNeeded("lines before would be judged otherwise")
        standing = replace(
            self.before,
            read=self.returned,
            counts=rows_by_issue(self.ledger, earlier),
            late=self.ledger.all_late(known),
        )
        if crowded(self.ledger):
            raise WholeNeeded("more lines of a kind than are listed")
        return self._without_rejected(near), both.filter(pl.Series(keep) & self._new(both)), standing

    def _without_rejected(self, lines: pl.DataFrame) -> pl.DataFrame:
        return lines.join(self.before.rejected, on=WHERE, how="anti", maintain_order="left")

    def _more_returns(
        self, before: Back, near: pl.DataFrame, both: pl.DataFrame, met: Callable[[Returns, bool], int]
    ) -> Back:
        """Returns among all lines: those before, and what the further ones (the rest of ``both``) add."""
        ours, theirs = (self._returns(lines, "timestamp") for lines in (both, near))
        if ours is None:
            return before
        named = before.named + ours.named - (theirs.named if theirs else 0)
        returns = before.returns + int((ours.back & self._new(both).to_numpy()).sum())
        more = Back(returns, named)
        if before.returns and before.by_order != more.by_order:
            raise WholeNeeded("returns name their sales, or no longer")
        return replace(more, met=before.met + met(ours, more.by_order) - (met(theirs, more.by_order) if theirs else 0))

    def _matched(self, near: pl.DataFrame, lines: pl.DataFrame) -> Matched:
        """Returns meet their sales; customers whose baskets or earlier sales change are to be built anew.

        ``near`` are lines before, and ``lines`` further ones, that are kept.
        """
        both = _in_order(near, lines)
        new, back = self._new(both), self._more_returns(self.before.kept, near, both, _alone)
        void = self._undone(both, back)
        moved = void.filter(~new).ne_missing(self._undone(near, back))
        unclear = undone(self.data, near.with_columns(void.filter(~new).alias("void_at")), moved)
        who = [unclear, interwoven(self.data, lines, by_day=not self.before.ordered)]
        if self.before.ordered:
            for some, others in ((near, lines), (lines, near)):
                who.append(some.filter(pl.col("order_id").is_in(others["order_id"].implode()))["customer_id"])
        ids = pl.concat([one.cast(pl.String) for one in who]).unique()
        apart = lines.with_columns(void.filter(new).alias("void_at")).filter(~_of(ids, lines))
        known = self.data.customers.vocab.codes(ids.drop_nulls())
        anew = np.append(known[known >= 0], np.full(ids.null_count(), UNKNOWN, dtype=np.int32))
        return Matched(pl.concat([self._whole(ids, lines, back), apart]), anew, back)

    def _whole(self, ids: pl.Series, lines: pl.DataFrame, back: Back) -> pl.DataFrame:
        """All lines, further ones among them, of some customers (null = anonymous), with ``void_at``."""
        if not len(ids):
            return lines.clear().with_columns(void_at=pl.lit(None, dtype=lines.schema["timestamp"]))
        whole = _in_order(self._lines_of(ids), lines.filter(_of(ids, lines)))
        if back.by_order:  # others may have brought back what these bought
            orders = whole["order_id"].unique().drop_nulls().cast(pl.String)
            others = self._without_rejected(self._kept_lines(lambda piece: named(piece, "order_id", orders)))
            others = others.filter(~_of(ids, others))
            whole = _in_order(whole, others, lines.filter(~_of(ids, lines)))
        return whole.with_columns(self._undone(whole, back).alias("void_at")).filter(_of(ids, whole))

    def _undone(self, lines: pl.DataFrame, back: Back) -> pl.Series:
        """When each line (E,) was undone by a return."""
        return Returns(lines, "timestamp").net(by_order=back.by_order).void_at

    def _lines_of(self, ids: pl.Series) -> pl.DataFrame:
        """All lines before of some customers (null = anonymous) that were kept."""

        def pick(piece: Piece) -> Pick:
            mine = named(piece, "customer_id", ids.drop_nulls())
            if not ids.null_count():
                return mine
            return lambda lines: mine(lines) | lines["customer_id"].is_null().to_numpy()

        return self._without_rejected(self._kept_lines(pick))

    def _built(
        self, matched: Matched, new: pl.DataFrame, tables: dict[TableName, pl.DataFrame], standing: Standing
    ) -> Grown:
        """The Dataset, and what is said of it; ``new`` are the further lines that are kept."""
        told, lines = dict[TableName, Told](), matched.lines
        done, used = dict[TableName, pl.DataFrame](), dict[TableName, pl.Series]()
        for name, before in self._ids_on_lines().items():
            key = KEYS[name]
            told[name] = both_told(self.before.told[name], told_on(new, name, "timestamp"))
            used[name] = pl.concat([before, new[key].unique().drop_nulls().cast(pl.String)]).unique()
            done[name] = self._table_with(told[name], used[name], used[name], tables, name)
            lines = lines.drop(facts(lines, name))
        entities = _entities(done, used)
        if entities[0].flags.get("no_profile", np.zeros(1, dtype=bool)).any():
            raise WholeNeeded("customers opt out")
        self.ledger.note("RETURN_UNMATCHED", standing.kept.met, column="quantity")
        lines = lines.drop("_hash", "_policy", *WHERE)
        dataset, written = grown(self.data, lines, matched.anew, entities, self.folder)
        self._history(history_of(dataset), done["customers"].height - len(used["customers"]))
        plain = done
        if any(suspects(table) for table in done.values()):
            shown = lines_of(dataset)
            plain = {name: self._without_leaks(done[name], shown, KEYS[name], "timestamp") for name in done}
        if any(plain[name].width < done[name].width for name in done):
            customers, products = _entities(plain, used)
            dataset = replace(dataset, customers=customers, products=products)
        if "availability" in self.files:
            spans = Assortment.of(self._availability(), dataset.stores, dataset.products.vocab)
            dataset = replace(dataset, assortment=spans)
        rejects = self.ledger.rejects(self._fetch)
        self._keep_texts(self.kept)
        self.standing = replace(standing, told=told) if stands(self.ledger) else None
        clean = CleanTables(
            pl.DataFrame(), plain["products"], plain["customers"], rejects=rejects, report=self._report()
        )
        with_lines = {name: len(ids) for name, ids in used.items()}
        return Grown(dataset, replace(clean, standing=self.standing), with_lines, written)

    def _ids_on_lines(self) -> dict[TableName, pl.Series]:
        """Ids of products and customers that have lines before."""
        events, found = self.data.all_events, dict[TableName, pl.Series]()
        for name, vocab, codes in (
            ("products", self.data.products.vocab, events.product),
            ("customers", self.data.customers.vocab, events.customer),
        ):
            there = np.zeros(len(vocab) + 1, dtype=bool)  # the last for -1
            there[codes] = True
            found[name] = vocab.ids.filter(pl.Series(there[:-1]))  # type: ignore[index]
        return found


def _of(ids: pl.Series, lines: pl.DataFrame) -> pl.Series:
    """(E,) whether a line is of one of these customers (null = anonymous)."""
    return lines["customer_id"].cast(pl.String).is_in(ids.implode(), nulls_equal=True)


def _in_order(*lines: pl.DataFrame) -> pl.DataFrame:
    """All lines in the order of their files."""
    return pl.concat(lines).sort("_file", maintain_order=True)


def _entities(tables: dict[TableName, pl.DataFrame], used: dict[TableName, pl.Series]) -> tuple[Entities, Entities]:
    """(customers, products)."""
    customers = build_entities(tables["customers"], "customer_id", "group_", used["customers"])
    return customers, build_entities(tables["products"], "product_id", "category_", used["products"])


def _met(found: Returns, by_order: bool) -> int:
    return int(found.with_sale(by_order=by_order).sum())


def _alone(found: Returns, by_order: bool) -> int:
    return int(found.net(by_order=by_order).unmatched.sum())


@dataclass(frozen=True, eq=False)
class _Beside:
    """Judges lines before, which must come out as they did, and further ones apart."""

    ledger: Ledger
    old: Ledger
    is_new: Callable[[pl.DataFrame], pl.Series]

    def judge(self, where: pl.DataFrame, issues: Sequence[Issue]) -> Bools:
        """See ``whole.Judge``."""
        new = self.is_new(where).to_numpy()
        keep = np.ones(len(new), dtype=bool)
        for side, ledger in ((~new, self.old), (new, self.ledger)):
            mine = [Issue(issue.code, issue.rows[side], issue.column) for issue in issues]
            keep[side] = ledger.judge_late(where.filter(pl.Series(side)), mine)
        if any(issue.code in SHARED and issue.rows[new].any() for issue in issues):
            raise WholeNeeded("an order id stands for several customers or days")
        return keep
