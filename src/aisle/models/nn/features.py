"""Content as sparse network input: one column a category, a tag, a number or a word, in named blocks.

The *form* of the features is frozen at fit: a level that is new, renamed or longer than it was gives blanks, never an
error and never somebody else's embedding.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
import torch

from aisle.data.entities import Features, Level
from aisle.data.tags import pieces, split, tagged
from aisle.models.nn.rows import Rows
from aisle.types import Floats, Ints

CLIP = 5.0
"""Standard deviations beyond which a number says no more."""
NUMBERS, WORDS = "[numbers]", "[words]"
"""Blocks beside the levels; no attribute is called so."""
MIN_CARRIERS, MAX_SHARE, MAX_WORDS = 3, 0.5, 2_000
"""A word counts if at least so many products and at most this share of them carry it; the most common are kept."""
WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True)
class Form:
    """What the features looked like at fit."""

    levels: dict[str, list[str]]
    """name -> values in the order of their codes."""
    numbers: dict[str, list[float]]
    """name -> mean and standard deviation of the known values."""
    words: list[str]

    @classmethod
    def of(cls, features: Features, numbers: dict[str, Floats], names: pl.Series | None = None) -> Form:
        """Freeze levels, numbers and the words of names; columns without any difference are left out."""
        form: dict[str, list[float]] = {}
        for name, values in numbers.items():
            known = values[np.isfinite(values)].astype(np.float64)
            if len(known) and known.std() > 0:
                form[name] = [float(known.mean()), float(known.std())]
        levels = {level.name: level.vocab.ids.to_list() for level in features.levels if len(level.vocab) > 1}
        return cls(levels, form, _words(names))

    def grown(self, other: Form) -> Form:
        """What this form has, then what only the other has; known numbers keep their scale, so weights their sense."""
        levels = {
            **self.levels,
            **{name: _union(self.levels.get(name, []), other.levels[name]) for name in other.levels},
        }
        return Form(levels, {**self.numbers, **other.numbers, **self.numbers}, _union(self.words, other.words))

    @classmethod
    def load(cls, value: dict[str, Any]) -> Form:
        """Undo ``save``."""
        return cls(**value)

    def save(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @property
    def blocks(self) -> dict[str, list[str]]:
        """Block -> names of its columns, in the order of the columns: each level, the numbers, the words."""
        found = {name: sorted(set(pieces(values))) for name, values in self.levels.items()}
        if self.numbers:
            found[NUMBERS] = [*self.numbers, *(f"{name} missing" for name in self.numbers)]
        if self.words:
            found[WORDS] = self.words
        return found

    @property
    def columns(self) -> list[str]:
        """(F,) unique names of all columns."""
        return [f"{block}: {column}" for block, columns in self.blocks.items() for column in columns]

    @property
    def groups(self) -> list[int]:
        """(F,) place of the block of each column."""
        return [place for place, columns in enumerate(self.blocks.values()) for _ in columns]

    def rows(self, features: Features, numbers: dict[str, Floats], size: int, names: pl.Series | None = None) -> Rows:
        """N = ``size`` rows. Categories weigh 1, tags and words of a row share the length 1, numbers are standardised.

        The cells of the numbers are all there, 0 or not: first the values (0 where missing), then the flags.
        """
        found = {level.name: level for level in features.levels}
        blocks, parts, start = self.blocks, [], 0
        for name, columns in blocks.items():
            if name in self.levels:
                part = self._level(name, columns, found.get(name), size)
            elif name == NUMBERS:
                part = self._numbers(numbers, size)
            else:
                part = self._names(names, size)
            parts.append((part[0], part[1] + start, part[2]))
            start += len(columns)
        return _stack(parts, size, start)

    def _level(self, name: str, columns: list[str], level: Level | None, size: int) -> Cells:
        """Cells of one level; values that the fit did not see are blank, wherever the codes have moved."""
        values = self.levels[name]
        place = {column: at for at, column in enumerate(columns)}
        tags = tagged(values)
        held = [[place[piece] for piece in split(value, tags)] for value in values]
        sizes = np.array([len(one) for one in held], dtype=np.int64)
        codes = np.full(size, -1, dtype=np.int64) if level is None else _moved(level, values)
        row = np.flatnonzero(codes >= 0)
        return _spread(row, codes[row], sizes, np.concatenate([np.array(one, dtype=np.int64) for one in held]))

    def _numbers(self, numbers: dict[str, Floats], size: int) -> Cells:
        out = np.zeros((size, 2 * len(self.numbers)), dtype=np.float32)
        for column, (name, (mean, scale)) in enumerate(self.numbers.items()):
            values = numbers.get(name, np.full(size, np.nan, dtype=np.float32)).astype(np.float64)
            known = np.isfinite(values)
            out[:, column] = np.clip((np.where(known, values, mean) - mean) / scale, -CLIP, CLIP)
            out[:, len(self.numbers) + column] = ~known
        row, column_of = np.indices(out.shape, dtype=np.int64)
        return row.ravel(), column_of.ravel(), out.ravel()

    def _names(self, names: pl.Series | None, size: int) -> Cells:
        place = {word: at for at, word in enumerate(self.words)}
        texts = [None] * size if names is None else names.to_list()
        said = [sorted({place[w] for w in _tokens(text) if w in place}) for text in texts]
        sizes = np.array([len(words) for words in said], dtype=np.int64)
        flat = np.array([word for words in said for word in words], dtype=np.int64)
        every = np.arange(size)
        return _spread(every, every, sizes, flat)


Cells = tuple[Ints, Ints, Floats]
"""Row, column and value of each cell."""


def _spread(row: Ints, kind: Ints, sizes: Ints, columns: Ints) -> Cells:
    """Cells of rows whose kind k has the columns ``columns[start of k …]``, ``sizes[k]`` of them, of joint length 1."""
    starts = np.concatenate(([0], np.cumsum(sizes)))[:-1] if len(sizes) else sizes
    mine = sizes[kind]
    ends = np.cumsum(mine)
    place = np.repeat(starts[kind] - ends + mine, mine) + np.arange(int(mine.sum()))
    value = np.repeat(1.0 / np.sqrt(np.maximum(mine, 1)), mine)
    return np.repeat(row, mine), columns[place], value.astype(np.float32)


def _stack(parts: list[Cells], size: int, width: int) -> Rows:
    """Rows of all cells, in the order of the columns."""
    row, column, value = (
        np.concatenate([part[place] for part in parts]) if parts else np.zeros(0, dtype=np.int64) for place in range(3)
    )
    order = np.argsort(row, kind="stable")
    indptr = np.concatenate(([0], np.cumsum(np.bincount(row, minlength=size))))
    return Rows(
        torch.from_numpy(indptr.astype(np.int64)),
        torch.from_numpy(column[order].astype(np.int64)),
        torch.from_numpy(value[order].astype(np.float32)),
        width,
    )


def _union(first: list[str], second: list[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))


def _moved(level: Level, values: list[str]) -> Ints:
    """(N,) place of each row's value in ``values``; -1 where it is not among them."""
    now = level.vocab.ids.to_list()
    place = {value: at for at, value in enumerate(values)}
    table = np.array([*(place.get(value, -1) for value in now), -1], dtype=np.int64)
    return table[np.where((level.codes >= 0) & (level.codes < len(now)), level.codes, len(now))]


def _tokens(text: str | None) -> set[str]:
    return set(WORD.findall(text.lower())) if text else set()


def _words(names: pl.Series | None) -> list[str]:
    """Words that tell products apart, most common first."""
    if names is None:
        return []
    texts = [text for text in names.to_list() if text]
    count = Counter(word for text in texts for word in _tokens(text))
    fit = [(-n, word) for word, n in count.items() if MIN_CARRIERS <= n <= MAX_SHARE * len(texts)]
    return [word for _, word in sorted(fit)[:MAX_WORDS]]
