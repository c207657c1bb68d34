"""What ships, and whether knowing the customer helps: two questions, each asked once on the last window.

Everything is picked on the rolling windows; the last window only confirms. So each interval is that of one planned
comparison and needs no correction for having looked at many models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from aisle.errors import UsageError
from aisle.evaluate.compare import Interval, paired
from aisle.evaluate.protocol import HEADLINE, Scores
from aisle.evaluate.tune import REFERENCE, Selection
from aisle.models import model_class

SAME = Interval(0.0, 0.0, 0.0)
"""A model against itself."""


@dataclass(frozen=True)
class Verdict:
    """The answer and its evidence."""

    ship: str
    """Registry name of the model to ship."""
    champion: str
    """Best of all models on the rolling windows."""
    best_baseline: str
    """Best simple model on the rolling windows."""
    lift: Interval
    """Champion less best simple model, last window, NDCG@10."""
    personal_signal: bool
    """Knowing the customer's own purchases demonstrably helps."""
    best_personal: str | None
    best_impersonal: str | None
    signal: Interval | None
    """Best personal less best non-personal model, last window; None where one of them is missing."""
    reason: str
    """One or two plain sentences."""

    def to_json(self) -> dict[str, Any]:
        """The ``verdict`` object of the certificate."""
        return {
            "ship": self.ship,
            "best_baseline": self.best_baseline,
            "lift": {"metric": HEADLINE, **self.lift.to_json()},
            "personal_signal": self.personal_signal,
            "reason": self.reason,
            "champion": self.champion,
            "personal": {
                "best_personal": self.best_personal,
                "best_non_personal": self.best_impersonal,
                "difference": None if self.signal is None else {"metric": HEADLINE, **self.signal.to_json()},
            },
        }


def decide(selection: Selection, scores: dict[str, Scores], seed: int = 0) -> Verdict:
    """The verdict from the trials on the rolling windows and the scores on the last one.

    Models without scores (they could not be fitted) are out. Raises UsageError where no simple model is left.
    """
    names = [n for n in selection.best if n not in REFERENCE and n in scores]
    champion = selection.pick(names)
    simple = selection.pick([n for n in names if model_class(n).simple])
    if champion is None or simple is None:
        raise UsageError(f"no simple model among {', '.join(names) or 'none'}; add popularity or personal_frequency")
    if all(np.isnan(selection.best[n].mean) for n in names):
        reason = (
            "No rolling window had a customer with an earlier purchase, so nothing could be chosen or tested and "
            f"{simple}, a simple model, ships. Shorten the horizon or bring more history."
        )
        return Verdict(simple, simple, simple, SAME, False, None, None, None, reason)
    personal = selection.pick([n for n in names if model_class(n).personal])
    impersonal = selection.pick([n for n in names if not model_class(n).personal])
    lift = SAME if champion == simple else difference(scores, champion, simple, seed)
    signal = difference(scores, personal, impersonal, seed) if personal and impersonal else None
    ship = champion if lift.above_zero else simple
    found = signal is not None and signal.above_zero
    reason = f"{_shipping(champion, simple, lift)} {_personal(personal, impersonal, signal)}"
    return Verdict(ship, champion, simple, lift, found, personal, impersonal, signal, reason)


def difference(scores: dict[str, Scores], first: str, second: str, seed: int = 0, metric: str = HEADLINE) -> Interval:
    """Mean of first less second over the same customers of the last window, with its interval."""
    return paired(scores[first].values[metric], scores[second].values[metric], seed=seed)


def _shipping(champion: str, simple: str, lift: Interval) -> str:
    if champion == simple:
        return f"On the rolling windows no model did better than {simple}, a simple one, so {simple} ships."
    if lift.above_zero:
        return (
            f"{champion} was best on the rolling windows and beats {simple}, the best simple model, on the last window "
            f"by {lift.mean:.4f} NDCG@10 (95 % interval {lift.low:.4f} to {lift.high:.4f}), so {champion} ships."
        )
    return (
        f"{champion} was best on the rolling windows, but on the last window its lead over {simple}, the best simple "
        f"model, is not proven ({_words(lift)}), so {simple} ships."
    )


def _personal(personal: str | None, impersonal: str | None, signal: Interval | None) -> str:
    if signal is None:
        missing = "personal" if personal is None else "non-personal"
        return f"Whether knowing the customer helps was not tested: there was no {missing} model."
    if signal.above_zero:
        return f"Knowing the customer helps: {personal} beats {impersonal} ({_words(signal)})."
    return f"No personal signal was found: {personal} against {impersonal} gives {_words(signal)}."


def _words(found: Interval) -> str:
    interval = found.to_json()
    if interval["low"] is None:
        return "too few customers to say"
    return f"{found.mean:+.4f} NDCG@10, 95 % interval {found.low:+.4f} to {found.high:+.4f}"
