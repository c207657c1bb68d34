"""Names and figures as people read them, and text from files made harmless and visible."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from typing import Any

MODEL_NAMES = {
    "random": "Random lists",
    "popularity": "Bestsellers",
    "recent_popularity": "Recent bestsellers",
    "seasonal_popularity": "Seasonal bestsellers",
    "group_popularity": "Bestsellers of the group",
    "tree_shares": "Shares along both trees",
    "personal_frequency": "Own favourites",
    "item_knn": "Similar products (item kNN)",
    "ease": "Product regression (EASE)",
    "rp3beta": "Random walks (RP3beta)",
    "graph_filter": "Graph filter (GF-CF, BSPM)",
    "slim": "Sparse product regression (SLIM)",
    "ials": "Matrix factorization (iALS)",
    "tifu_knn": "Similar baskets (TIFU-KNN)",
    "repeat_hazard": "Due again (repeat hazard)",
    "hybrid_factorization": "Hybrid factorization",
    "basket_transformer": "Basket transformer",
    "bought_together": "Bought together",
    "content_knn": "Alike by content",
    "fallback_chain": "What sells in the nearest group",
    "ranker": "Ranker (all models, boosted trees)",
    "sequence_knn": "Bought next (sequence kNN)",
    "stack": "Stack (weighted models)",
    "up_cf": "Recent baskets of similar customers (UP-CF)",
}
SIMPLE = {"popularity", "recent_popularity", "seasonal_popularity", "group_popularity", "personal_frequency", "random"}
"""Registry names taken for simple rules where the certificate does not say."""
METRIC_NAMES = {
    "ndcg": "NDCG",
    "recall": "Recall",
    "precision": "Precision",
    "map": "MAP",
    "mrr": "MRR",
    "hit": "Hit rate",
    "repeat_recall": "Repeat recall",
    "explore_recall": "New-to-customer recall",
    "fresh_recall": "New-product recall",
    "revenue": "Revenue found",
    "revenue_share": "Revenue share",
    "coverage": "Catalogue coverage",
    "gini": "Concentration (Gini)",
    "novelty": "Novelty (bits)",
}
SOURCES = {
    "popularity": "bestsellers",
    "segment": "bestsellers of the segment",
    "group": "bestsellers of the group",
    "attribute": "bestsellers of similar customers",
}
DATE_ORDERS = {
    "dmy": "day, month, year (dmy)",
    "mdy": "month, day, year (mdy)",
    "ymd": "year, month, day (ymd)",
    "iso": "dates beyond doubt (ISO or native)",
    "sequence": "an order without dates",
    "none": "none",
}
MINUS = "\N{MINUS SIGN}"
NOTHING = "–"
MAX_TEXT = 200


def model_name(name: str) -> str:
    """A readable name for a registry name: ``item_knn`` gives ``Similar products (item kNN)``."""
    return MODEL_NAMES.get(name) or _title(name)


def _title(name: str) -> str:
    spaced = name.replace("_", " ")
    return spaced[:1].upper() + spaced[1:]


def source_name(source: str) -> str:
    """Where a place of a list came from, in words."""
    return SOURCES.get(source) or model_name(source)


def date_order(order: Any) -> str:
    """``dmy`` in words."""
    return DATE_ORDERS.get(str(order), str(order))


def readable(text: str) -> str:
    """A sentence with the registry names of models replaced by readable ones."""
    return re.sub(r"\b[a-z]+_[a-z_]+\b|\bease\b", lambda found: MODEL_NAMES.get(found[0], found[0]), text)


def metric_name(metric: str) -> str:
    """``recall@10`` gives ``Recall@10``."""
    stem, at, k = metric.partition("@")
    return (METRIC_NAMES.get(stem) or _title(stem)) + at + k


def number(value: Any, digits: int = 3, sign: bool = False) -> str:
    """A figure with a true minus sign; a dash for None, NaN and what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return NOTHING
    if isinstance(value, int) and not sign:
        return f"{value:,}".replace("-", MINUS)
    shown = f"{value:+,.{digits}f}" if sign else f"{value:,.{digits}f}"
    if shown.strip("+-0.,") == "":
        shown = shown.lstrip("+-")  # a rounded nothing has no sign
    return shown.replace("-", MINUS)


def percent(value: Any, digits: int = 1) -> str:
    """A share as a percentage."""
    if isinstance(value, int | float) and 0 < value * 100 < 10**-digits:
        return f"under {10**-digits:g} %"
    shown = number(value * 100, digits) if isinstance(value, int | float) else NOTHING
    return f"{shown} %" if shown != NOTHING else NOTHING


def interval(value: Any, digits: int = 3, sign: bool = False) -> str:
    """``{mean, low, high}`` as ``0.243 (0.236 to 0.250)``; a plain number stays one."""
    if not isinstance(value, Mapping):
        return number(value, digits, sign)
    mean = number(value.get("mean"), digits, sign)
    low, high = (number(value.get(key), digits, sign) for key in ("low", "high"))
    return mean if NOTHING in (low, high) else f"{mean} ({low} to {high})"


def mean_of(value: Any) -> float:
    """The mean of ``{mean, low, high}`` or of a plain number; NaN for anything else."""
    if isinstance(value, Mapping):
        value = value.get("mean")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value)


def day(value: Any) -> str:
    """An ISO date or moment as ``9 November 2011``; other text as it is."""
    text = str(value)
    try:
        found = date.fromisoformat(text[:10])
    except ValueError:
        return text
    if len(text) > 10 and text[10:].strip("T :0Z+."):
        return text
    return f"{found.day} {found:%B} {found.year}"


def seconds(value: Any) -> str:
    """A time span a person can judge."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return NOTHING
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def visible(text: object) -> str:
    """Text from files made safe to look at: controls and marks that reorder or hide text become ``⟨U+202E⟩``.

    HTML is escaped later, by the template.
    """
    return "".join(_shown(char) for char in str(text))


def _shown(char: str) -> str:
    if char in "\n\t\r":
        return " "
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return f"⟨U+{ord(char):04X}⟩"
    return char


def pasteable(text: object) -> str:
    """A name from the files, at most 200 characters; what a spreadsheet would take for a formula gets an apostrophe."""
    raw = str(text)
    raw = raw if len(raw) <= MAX_TEXT else raw[: MAX_TEXT - 1] + "…"
    return f"'{raw}" if raw.lstrip()[:1] in ("=", "+", "-", "@") else raw
