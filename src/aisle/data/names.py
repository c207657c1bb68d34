"""Column names as people write them: one comparison for ``CustomerID``, ``customer_id`` and ``Customer ID``."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence


def plain(name: str) -> str:
    """The name without case, accents, spaces and punctuation: ``Customer ID`` gives ``customerid``."""
    bare = unicodedata.normalize("NFKD", name.casefold())
    return "".join(letter for letter in bare if letter.isalnum())


def tokens(name: str) -> list[str]:
    """The words of a name in lower case: ``prod_subcatCode2`` gives ``prod, subcat, code, 2``."""
    spaced = re.sub(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    spaced = re.sub(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", " ", spaced)
    return [plain(word) for word in re.split(r"[\W_]+", spaced) if plain(word)]


class Columns:
    """The columns of one file, found by exact name first and by ``plain`` name second."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)
        self._plain = {plain(name): name for name in reversed(self.names)}

    def find(self, name: str) -> str | None:
        """The column as the file spells it, or None."""
        return name if name in self.names else self._plain.get(plain(name))

    def all(self, names: Iterable[str]) -> tuple[str, ...] | None:
        """The columns as the file spells them, or None when one is missing."""
        found = tuple(self.find(name) for name in names)
        kept = tuple(name for name in found if name is not None)
        return kept if len(kept) == len(found) else None


def did_you_mean(word: str, allowed: Sequence[str]) -> str:
    """`` Did you mean "…"?`` for the nearest allowed word, or nothing."""
    near = difflib.get_close_matches(plain(word), [plain(a) for a in allowed], n=1, cutoff=0.6)
    match = next((a for a in allowed if near and plain(a) == near[0]), None)
    return f' Did you mean "{match}"?' if match else ""
