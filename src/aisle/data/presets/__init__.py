"""Known sources, one file each. ``PRESETS`` is tried in order; the first whose files and columns are there wins."""

from __future__ import annotations

from aisle.data.presets import (
    canonical,
    complete_journey,
    dunnhumby,
    hm,
    instacart,
    movielens,
    online_retail,
    retail_case_study,
    ta_feng,
)
from aisle.data.presets.base import Preset

PRESETS: tuple[Preset, ...] = (
    *canonical.FORMS,
    *retail_case_study.FORMS,
    *online_retail.FORMS,
    *dunnhumby.FORMS,
    *complete_journey.FORMS,
    *ta_feng.FORMS,
    *instacart.FORMS,
    *hm.FORMS,
    *movielens.FORMS,
)
"""Every form of every known source, in the order they are tried."""

__all__ = ["PRESETS", "Preset"]
