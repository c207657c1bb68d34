"""The data doctor: text tables in, clean tables out; nothing is changed or dropped in silence.

``clean`` is the entry. Values are checked block by block (``lines``, ``tables``), what needs the whole source after
(``order``, ``duplicates``, ``references``, ``history``, ``leaks``); ``codes`` lists every reason, ``ledger`` counts.
"""

from __future__ import annotations

from aisle.data.doctor.visit import clean

__all__ = ["clean"]
