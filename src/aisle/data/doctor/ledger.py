"""The ledger: rows read, accepted and rejected per file, findings, and every listed row with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from aisle.data.doctor.codes import RULES, Issue, shown
from aisle.data.schema import REJECTS, FileCount, Finding, TableName, TextBlock
from aisle.types import Bools

RAW_LENGTH = 200
LISTED_PER_CODE = 100_000
"""Kept and repaired rows listed for each code; rejected rows are always listed, all of them."""

NOTHING = np.zeros(0, dtype=bool)
SHOWN = {code: shown(code) for code in RULES}
LATE = pl.Schema({"_file": pl.Int16, "_line": pl.Int64, "column": pl.String, "code": pl.String, "action": pl.String})


@dataclass
class Tally:
    """Rows of one finding so far."""

    rows: int = 0
    example: str = ""
    files: set[str] = field(default_factory=set)
    severity: str = ""
    what: str = ""


@dataclass(frozen=True, eq=False)
class Listed:
    """Rows for the rejects table, in its columns."""

    rows: pl.DataFrame
    issue: tuple[str, str] | None = None
    """(code, column) of rows that are listed up to ``LISTED_PER_CODE``; None where all are."""


@dataclass
class Ledger:
    """Collects what the checks find; ``finish`` proves that accepted + rejected = read for every file."""

    files: list[tuple[TableName, Path, str]] = field(default_factory=list)
    """(table, path, shown name) by file number."""
    read: list[int] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    foreign: dict[tuple[str, str, str], Finding] = field(default_factory=dict)
    listed: list[Listed] = field(default_factory=list)
    late: list[pl.DataFrame] = field(default_factory=list)
    texts: dict[int, list[pl.DataFrame]] = field(default_factory=dict)
    """(line, raw) of rows that may yet be rejected, by file number."""

    def open(self, table: TableName, path: Path, name: str) -> int:
        """The number of a file that is about to be read."""
        self.files.append((table, path, name))
        self.read.append(0)
        self.rejected.append(0)
        return len(self.files) - 1

    def take_block(self, number: int, block: TextBlock) -> None:
        """Count a block's rows and take over what the reader found and could not place."""
        lost = block.rejects.filter(pl.col("action") == "rejected").height if block.rejects.height else 0
        self.read[number] += block.frame.height + lost
        self.rejected[number] += lost
        if block.rejects.height:
            self.listed.append(Listed(block.rejects.select(list(REJECTS)).cast(REJECTS)))
        told = {finding.code for finding in block.findings}
        for code, column, raw in block.rejects.select("code", "column", "raw").iter_rows():
            if code not in told:
                issue = Issue(code if code in RULES else "TOO_FEW", NOTHING, column or "")
                self._count(issue, 1, raw or "", self.files[number][2])
        for finding in block.findings:
            key = (finding.code, finding.column, finding.file or self.files[number][2])
            known = self.foreign.get(key)
            rows = finding.rows + known.rows if known is not None else finding.rows
            self.foreign[key] = replace(finding, file=key[2], rows=rows)

    def absorb(self, other: Ledger) -> int:
        """Add what another ledger found in further files, as if it had been found here; gives their first number."""
        first = len(self.files)
        before = {issue: tally.rows for issue, tally in self.tallies.items()}
        for one in other.listed:
            room = one.rows.height
            if one.issue is not None:
                room = max(LISTED_PER_CODE - before.get(one.issue, 0), 0)
                before[one.issue] = before.get(one.issue, 0) + one.rows.height
            self.listed.append(Listed(one.rows.head(room), one.issue))
        for issue, tally in other.tallies.items():
            mine = self.tallies.setdefault(issue, Tally())
            mine.rows += tally.rows
            mine.example, mine.what = mine.example or tally.example, mine.what or tally.what
            mine.files |= tally.files
        for key, finding in other.foreign.items():
            known = self.foreign.get(key)
            self.foreign[key] = finding if known is None else replace(finding, rows=finding.rows + known.rows)
        self.files += other.files
        self.read += other.read
        self.rejected += other.rejected
        self.late += [late.with_columns(pl.col("_file") + first) for late in other.late]
        self.texts |= {first + number: held for number, held in other.texts.items()}
        return first

    def note(self, code: str, rows: int, *, column: str = "", example: str = "", what: str = "") -> None:
        """A finding that is counted without listing rows; nothing when ``rows`` is 0."""
        if rows <= 0:
            return
        tally = self.tallies.setdefault((code, column), Tally())
        tally.rows += rows
        tally.example = tally.example or example
        tally.what = tally.what or what

    def judge(self, number: int, frame: pl.DataFrame, line: pl.Series, issues: Iterable[Issue]) -> Bools:
        """(N,) rows to keep. The first rejecting issue of a row gives its reason; ``frame`` is the text as written."""
        return self._judge(frame.height, list(issues), lambda issue, rows: self._list(number, frame, line, issue, rows))

    def remember(self, number: int, frame: pl.DataFrame, line: pl.Series, rows: Bools) -> None:
        """Keep the text of rows that are likely to be judged late, which saves reading the file again."""
        held = self.texts.setdefault(number, [])
        if rows.any() and sum(map(len, held)) < LISTED_PER_CODE:
            mask = pl.Series(rows)
            held.append(pl.DataFrame({"_line": line.filter(mask).cast(pl.Int64), "raw": raw_text(frame.filter(mask))}))

    def judge_late(self, lines: pl.DataFrame, issues: Iterable[Issue]) -> Bools:
        """The same for typed lines, whose text is looked up again at the end by ``_file`` and ``_line``."""

        def found(issue: Issue, rows: Bools) -> None:
            rule = RULES[issue.code]
            if not rule.listed and rule.action != "rejected":
                self._count(issue, int(rows.sum()))
                return
            picked = lines.select("_file", "_line").filter(pl.Series(rows))
            self._count(issue, picked.height)
            if rule.action == "rejected":
                for number, count in picked.group_by("_file").len().iter_rows():
                    self.rejected[number] += count
            self._add_late(issue, picked if rule.action == "rejected" else picked.head(self._room(issue, len(picked))))

        return self._judge(lines.height, list(issues), found)

    def say_again(self, counts: dict[tuple[str, str], int], late: pl.DataFrame) -> None:
        """Take over what an earlier visit judged late, by its count of each (code, column) and its list (``LATE``)."""
        for (code, column), rows in counts.items():
            self._count(Issue(code, NOTHING, column), rows)
        for number, count in late.filter(pl.col("action") == "rejected").group_by("_file").len().iter_rows():
            self.rejected[number] += count
        if late.height:
            self.late.append(late)

    def beside(self) -> Ledger:
        """An empty ledger of the same files."""
        nothing = [0] * len(self.files)
        return Ledger(list(self.files), list(nothing), list(nothing))

    def all_late(self, since: int = 0) -> pl.DataFrame:
        """What was judged late (``LATE``), but for the first so many pieces of ``late``."""
        return pl.concat(self.late[since:]) if self.late[since:] else pl.DataFrame(schema=LATE)

    def _judge(self, height: int, issues: list[Issue], found: Callable[[Issue, Bools], None]) -> Bools:
        keep = np.ones(height, dtype=bool)
        for issue in issues:
            if RULES[issue.code].action == "rejected":
                rows = issue.rows & keep
                if rows.any():
                    keep &= ~rows
                    found(issue, rows)
        for issue in issues:
            if RULES[issue.code].action != "rejected":
                rows = issue.rows & keep
                if rows.any():
                    found(issue, rows)
        return keep

    def _list(self, number: int, frame: pl.DataFrame, line: pl.Series, issue: Issue, rows: Bools) -> None:
        rule, mask, name = RULES[issue.code], pl.Series(rows), self.files[number][2]
        count = int(rows.sum())
        first = frame.filter(mask).head(1)
        self._count(issue, count, raw_text(first)[0] if first.width else "", name)
        if rule.action == "rejected":
            self.rejected[number] += count
        elif not rule.listed:
            return
        room = count if rule.action == "rejected" else self._room(issue, count)
        picked = frame.filter(mask).head(room)
        columns = {"file": name, "line": line.filter(mask).head(room).cast(pl.Int64), "column": issue.column}
        columns |= {"code": shown(issue.code), "action": rule.action, "raw": raw_text(picked)}
        capped = None if rule.action == "rejected" else (issue.code, issue.column)
        self.listed.append(Listed(pl.DataFrame(columns, schema=REJECTS), capped))

    def _room(self, issue: Issue, count: int) -> int:
        before = self.tallies[issue.code, issue.column].rows - count
        return max(LISTED_PER_CODE - before, 0)

    def _count(self, issue: Issue, count: int, example: str = "", file: str = "") -> None:
        tally = self.tallies.setdefault((issue.code, issue.column), Tally())
        tally.rows += count
        tally.example = tally.example or example
        if file:
            tally.files.add(file)

    def _add_late(self, issue: Issue, picked: pl.DataFrame) -> None:
        action = RULES[issue.code].action
        labels = {"column": pl.lit(issue.column), "code": pl.lit(issue.code), "action": pl.lit(action)}
        self.late.append(picked.with_columns(**labels).cast(LATE))

    def file_counts(self) -> tuple[FileCount, ...]:
        """The row identity of every file; ``accepted`` is what was read and not rejected."""
        return tuple(
            FileCount(name, table, read, read - rejected, rejected)
            for (table, _, name), read, rejected in zip(self.files, self.read, self.rejected, strict=True)
        )

    def findings(self) -> tuple[Finding, ...]:
        """All findings: rejections first, then by number of rows."""
        own = [
            Finding(
                code=shown(code),
                rows=tally.rows,
                severity=RULES[code].severity,
                action=RULES[code].action,
                what=tally.what or RULES[code].what,
                example=tally.example[:RAW_LENGTH],
                undo=RULES[code].undo,
                file=next(iter(tally.files)) if len(tally.files) == 1 else "",
                column=column,
            )
            for (code, column), tally in self.tallies.items()
        ]
        order = {"refused": 0, "rejected": 1, "repaired": 2, "kept": 3}
        return tuple(sorted([*self.foreign.values(), *own], key=lambda f: (order[f.action], -f.rows, f.code, f.column)))

    def rejects(self, fetch: Callable[[int, pl.Series], pl.DataFrame]) -> pl.DataFrame:
        """Every listed row by file and line. ``fetch`` gives (line, raw) of lines of a file for the late ones."""
        frames = [one.rows for one in self.listed]
        late = self.all_late()
        for number in late["_file"].unique().sort().to_list():
            mine = late.filter(pl.col("_file") == number)
            texts = pl.concat(self.texts.get(number) or [pl.DataFrame(schema={"_line": pl.Int64, "raw": pl.String})])
            wanted = mine.join(texts, on="_line", how="anti")["_line"].unique().sort()
            if len(wanted):
                found = fetch(number, wanted)
                self.texts.setdefault(number, []).append(found)
                texts = pl.concat([texts, found])
            mine = mine.join(texts.unique("_line"), on="_line", how="left", maintain_order="left")
            mine = mine.with_columns(pl.lit(self.files[number][2]).alias("file"), pl.col("raw").fill_null(""))
            self._examples(mine)
            mine = mine.rename({"_line": "line"}).with_columns(pl.col("code").replace(SHOWN))
            frames.append(mine.select(list(REJECTS)))
        if not frames:
            return pl.DataFrame(schema=REJECTS)
        return pl.concat(frames).sort("file", "line", "code", maintain_order=True)

    def _examples(self, late: pl.DataFrame) -> None:
        for code, column, raw in late.unique(["code", "column"], keep="first").select("code", "column", "raw").rows():
            tally = self.tallies[code, column]
            tally.example = tally.example or raw


def raw_text(frame: pl.DataFrame) -> pl.Series:
    """(N,) the row as it stood in the file, joined with commas, cut to 200 characters."""
    columns = [pl.col(c).cast(pl.String, strict=False).fill_null("") for c in frame.columns]
    return frame.select(pl.concat_str(columns, separator=",").str.slice(0, RAW_LENGTH).alias("raw"))["raw"]
