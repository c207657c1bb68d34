"""The verdict of a certificate in plain sentences, the same on the page and in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aisle.report.wording import SIMPLE, day, mean_of, metric_name, model_name, number, percent

HEADLINE = "ndcg@10"


@dataclass(frozen=True)
class Story:
    """What to ship and why."""

    headline: str
    """One plain sentence."""
    details: tuple[str, ...]
    """More sentences: the figures, the personal signal, the floor."""
    tone: Literal["better", "simple"]


@dataclass(frozen=True)
class Bar:
    """One model of the picture."""

    name: str
    label: str
    mean: float
    low: float
    high: float
    kind: Literal["ship", "simple", "learned"]
    rival: bool = False
    """The best simple rule: what a learned model must beat."""


def headline_metric(certificate: Mapping[str, Any]) -> str:
    """The metric of the verdict, NDCG@10 unless the certificate names another."""
    lift = part(part(certificate, "verdict"), "lift")
    return str(lift.get("metric") or HEADLINE)


def part(certificate: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A section of a certificate; empty where it is missing or no mapping."""
    found = certificate.get(key)
    return found if isinstance(found, Mapping) else {}


def is_simple(name: str, model: Mapping[str, Any]) -> bool:
    """Whether a model is one of the simple rules."""
    return bool(model.get("simple", name in SIMPLE))


def bars(certificate: Mapping[str, Any]) -> list[Bar]:
    """The models with a headline figure, best first; an interval that is missing has no width."""
    metric, verdict = headline_metric(certificate), part(certificate, "verdict")
    ship, rival = verdict.get("ship"), verdict.get("best_baseline")
    found = []
    for name, model in part(certificate, "models").items():
        if not isinstance(model, Mapping) or math.isnan(mean := mean_of(model.get(metric))):
            continue
        span = model[metric] if isinstance(model[metric], Mapping) else {}
        low, high = (mean if math.isnan(v := mean_of(span.get(key))) else v for key in ("low", "high"))
        kind: Literal["ship", "simple", "learned"] = "simple" if is_simple(name, model) else "learned"
        found.append(Bar(name, model_name(name), mean, low, high, "ship" if name == ship else kind, name == rival))
    return sorted(found, key=lambda bar: (-bar.mean, bar.name))


def floor_of(certificate: Mapping[str, Any]) -> float:
    """What random lists score on the headline metric; NaN where it is not given."""
    return mean_of(part(certificate, "floor").get(headline_metric(certificate)))


def tell(certificate: Mapping[str, Any]) -> Story:
    """The verdict in words."""
    verdict, models = part(certificate, "verdict"), part(certificate, "models")
    if not verdict.get("ship"):
        return Story("No verdict: no model was measured.", (), "simple")
    ship, best = str(verdict["ship"]), str(verdict.get("best_baseline") or verdict["ship"])
    lift, metric = part(verdict, "lift"), headline_metric(certificate)
    won = ship != best and mean_of(lift.get("low")) > 0
    base = mean_of(part(models, best).get(metric))
    if won:
        gain = mean_of(lift) / base if base > 0 else math.nan
        better = f"{gain:.0%} better than" if 0.005 <= gain < 10 else "better than"
        headline = f"Use {model_name(ship)}: its lists are {better} “{model_name(best)}”, the best simple rule."
    elif is_simple(ship, part(models, ship)):
        headline = f"Use “{model_name(ship)}”: no learned model was better than this simple rule beyond doubt."
    else:
        headline = f"Use {model_name(ship)}."
    details = [*_difference(verdict, metric, best), *_signal(verdict), *_floor(certificate, ship)]
    return Story(headline.replace("%", " %"), tuple(details), "better" if won else "simple")


def _difference(verdict: Mapping[str, Any], metric: str, best: str) -> list[str]:
    lift = part(verdict, "lift")
    if math.isnan(mean_of(lift)):
        return []
    if verdict.get("champion") == best:
        return [f"On the windows used for choosing no learned model did better than “{model_name(best)}”."]
    low, high = mean_of(lift.get("low")), mean_of(lift.get("high"))
    meaning = "so the difference is real" if low > 0 else "so the simple rule was better" if high < 0 else ""
    meaning = meaning or "which includes zero: it may be chance"
    champion = verdict.get("champion")
    who = f"of {model_name(str(champion))}" if champion else "of the best learned model"
    span = f"{number(low, 4, True)} to {number(high, 4, True)}"
    return [
        f"{metric_name(metric)} {who} less that of “{model_name(best)}”: {number(mean_of(lift), 4, True)} "
        f"(95 % interval {span}), {meaning}."
    ]


def _signal(verdict: Mapping[str, Any]) -> list[str]:
    signal = verdict.get("personal_signal")
    if signal is True:
        return ["Customers differ in taste and the data show it: lists made for the person beat one list for all."]
    if signal is False:
        return [
            "No personal signal in these data: lists made for the person did no better than one list for everybody. "
            "Personal lists are not worth their cost here."
        ]
    return []


def _floor(certificate: Mapping[str, Any], ship: str) -> list[str]:
    metric, floor = headline_metric(certificate), floor_of(certificate)
    score = mean_of(part(part(certificate, "models"), ship).get(metric))
    if not floor > 0 or math.isnan(score):
        return []
    times = score / floor
    if times < 1.1:
        return [f"Random lists would score {number(floor)}; with {number(score)} this choice is hardly above chance."]
    shown = number(times, 1) if times < 20 else number(round(times))
    return [f"Random lists would score {number(floor, 4)}; this choice scores {number(score)}, {shown} times as much."]


def flags(model: Mapping[str, Any]) -> list[str]:
    """What should not pass unnoticed about a model, with the readable name of the rule it loses to."""
    rival = str(part(model, "difference_to_popularity").get("model"))
    said = [str(flag) for flag in model.get("flags") or ()]
    return [f.replace(f"loses to {rival}:", f"loses to “{model_name(rival)}”:").replace("_", " ") for f in said]


def is_suspect(name: str, model: Mapping[str, Any]) -> bool:
    """Whether flags tell against a model: one list for everybody is what bestsellers are for, and random is a floor."""
    by_design = is_simple(name, model) and not model.get("personal", False)
    return bool(model.get("flags")) and not by_design and not model.get("reference", name == "random")


def cautions(certificate: Mapping[str, Any]) -> list[str]:
    """A sentence on each flag of the models that it tells against, with all models that bear it."""
    bearers: dict[str, list[str]] = {}
    for name, model in part(certificate, "models").items():
        if isinstance(model, Mapping) and is_suspect(name, model):
            for flag in flags(model):
                bearers.setdefault(flag, []).append(model_name(name))
    return [
        f"{names[0]} {flag}." if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}: each {flag}."
        for flag, names in bearers.items()
    ]


def searched(certificate: Mapping[str, Any]) -> str:
    """One sentence on how lists were searched, where an index was asked for; else empty."""
    search = part(part(certificate, "lists"), "search")
    if search.get("kind") == "approximate":
        found, asked = (percent(search.get(key), 2) for key in ("recall", "asked"))
        return f"Approximate search: the index finds {found} of the exact lists, at least {asked} were asked for."
    return f"Exact search: {search['why']}." if search.get("why") else ""


def how_measured(certificate: Mapping[str, Any]) -> str:
    """One sentence on the test; empty where the protocol is not given."""
    protocol = part(certificate, "protocol")
    if not protocol:
        return ""
    scored, days, cut = (protocol.get(key) for key in ("customers_scored", "horizon_days", "cut"))
    unit = "basket" if str(cut).startswith("basket") else "day"
    ahead = f"{number(days)} {unit}{'' if days == 1 else 's'}" if days is not None else "time"
    when = f" after {day(cut)}" if cut is not None and unit == "day" else ""
    who = f"{number(scored)} customers" if scored is not None else "customers"
    if scored is not None and protocol.get("customers_in_window", scored) > scored:
        who = f"{number(scored)} of {number(protocol['customers_in_window'])} customers, drawn at random,"
    return f"Every model had to foretell what {who} bought in the {ahead}{when}, knowing only what came before."
