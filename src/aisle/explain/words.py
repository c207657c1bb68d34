"""The words of reasons: one table from reason code to template, so that another language is one more table."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, TypeAlias

Words: TypeAlias = Mapping[str, str]
"""template key -> template. A key is a reason code, then ``.unit`` or ``.kind`` where the arguments have one, then
``.1`` where the number is one. ``months`` holds the twelve names, separated by spaces."""

ENGLISH: Words = {
    "BUY_AGAIN.day": "You buy this every ~{every} days",
    "BUY_AGAIN.day.1": "You buy this nearly every day",
    "BUY_AGAIN.week": "You buy this every ~{every} weeks",
    "BUY_AGAIN.week.1": "You buy this about once a week",
    "BUY_AGAIN.month": "You buy this every ~{every} months",
    "BUY_AGAIN.month.1": "You buy this about once a month",
    "BUY_AGAIN.visit": "You buy this every ~{every} visits",
    "BUY_AGAIN.visit.1": "You buy this on nearly every visit",
    "BOUGHT_BEFORE.date": "You last bought this on {day} {month} {year}",
    "BOUGHT_BEFORE.date.1": "You bought this on {day} {month} {year}",
    "BOUGHT_BEFORE.visit": "You last bought this {ago} visits ago",
    "BOUGHT_BEFORE.visit.1": "You bought this on your last visit",
    "BOUGHT_WITH": "Often bought with {product}",
    "CATEGORY": "You often buy from {category}",
    "POPULAR_IN.group": "Popular in {group}",
    "POPULAR_IN.segment": "Popular with customers like you",
    "POPULAR_IN.attribute": "Popular with customers like you",
    "POPULAR": "Popular now",
    "PICKED": "Picked for you",
    "months": "January February March April May June July August September October November December",
}

REASON_CODES = ("BUY_AGAIN", "BOUGHT_BEFORE", "BOUGHT_WITH", "CATEGORY", "POPULAR_IN", "POPULAR", "PICKED")
"""Every reason code, strongest evidence first."""


def phrase(code: str, args: Mapping[str, Any], words: Words = ENGLISH) -> str:
    """The sentence for one reason: ``phrase("BOUGHT_WITH", {"product": "Tea"})`` gives ``Often bought with Tea``.

    ``args`` are the reason arguments as stored beside the code, so that old lists can be put into other words later.
    """
    key, values = code, dict(args)
    one = False
    if code == "BUY_AGAIN":
        key, one = f"{code}.{args['unit']}", args["every"] == 1
    elif code == "BOUGHT_BEFORE" and "ago" in args:
        key, one = f"{code}.visit", args["ago"] == 1
    elif code == "BOUGHT_BEFORE":
        on = date.fromisoformat(args["on"])
        key, one = f"{code}.date", args["times"] == 1
        values |= {"day": on.day, "month": words["months"].split()[on.month - 1], "year": on.year}
    elif code == "POPULAR_IN":
        key = f"{code}.{args['kind']}"
    return words[f"{key}.1" if one else key].format(**values)
