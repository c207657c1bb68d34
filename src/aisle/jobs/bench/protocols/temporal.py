"""The last days of a shop, as ``aisle run`` reads it: what the two shops with dates share.

Learned from everything before the cut; asked are customers with a purchase before it and one after it; products known
at the cut may be listed, bought ones too; truth are distinct products of positive net quantity (the metric contract);
the ideal of NDCG is cut at k. Inside, to tune on: the window of equal length before the cut.
"""

from __future__ import annotations

from dataclasses import replace

from aisle.data.dataset import Dataset
from aisle.data.split import Window
from aisle.jobs.bench.split import Split, window_split


def last_days(data: Dataset, days: int) -> Split:
    """The last days of the file."""
    length = days * data.unit
    cut = data.end - length
    inside, outside = Window(cut - length, cut), Window(cut, data.end)
    outer = replace(window_split(data, outside, repeats=True), days=days)
    return replace(outer, inner=lambda: replace(window_split(data, inside, repeats=True), days=days))
