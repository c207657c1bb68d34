"""Known sources, one file each. ``PRESETS`` is tried in order; the first whose files and columns are there wins."""

from __future__ import annotations

from aisle.data.presets import (
    canonical,
    online_retail,
    retail_case_study,
)
from aisle.data.presets.base import Preset

PRESETS: tuple[Preset, ...] = (
    *canonical.FORMS,
    *retail_case_study.FORMS,
    *online_retail.FORMS,
)
"""Every form of every known source; the narrowest signatures come first."""

__all__ = ["PRESETS", "Preset"]
