"""What a random list is expected to score: exact formulas, so that every figure can stand beside its floor.

The list holds L = min(k, C) of C candidates, every ordered choice alike. Of the ``wanted`` products of a customer
only ``reachable`` ones are candidates: products first sold after the cut are missed by anybody. The number of hits is
hypergeometric; a place holds a hit with probability m / C, two places with m (m - 1) / (C (C - 1)).
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln
from scipy.stats import binom

from aisle.evaluate.metrics import discounts, ideal_gain
from aisle.types import Doubles, Ints


def expected_ndcg(wanted: Ints, reachable: Ints, candidates: int, k: int) -> Doubles:
    """(N,) expected NDCG@k."""
    gain = discounts(_length(candidates, k)).sum()
    return np.asarray(_share(reachable, candidates) * gain / ideal_gain(wanted, k))


def expected_recall(wanted: Ints, reachable: Ints, candidates: int, k: int) -> Doubles:
    """(N,) expected recall@k; also that of any part of the truth, from the sizes of that part."""
    some = np.where(wanted > 0, wanted, np.nan)
    return np.asarray(_length(candidates, k) * _share(reachable, candidates) / some)


def expected_precision(wanted: Ints, reachable: Ints, candidates: int, k: int) -> Doubles:
    """(N,) expected precision@k."""
    value = _length(candidates, k) * _share(reachable, candidates) / max(k, 1)
    return np.where(wanted > 0, value, np.nan)


def expected_average_precision(wanted: Ints, reachable: Ints, candidates: int, k: int) -> Doubles:
    """(N,) expected average precision@k: a hit at place j sees (j - 1) (m - 1) / (C - 1) hits before it."""
    place = np.arange(1, _length(candidates, k) + 1)
    before = (reachable - 1) / max(candidates - 1, 1)
    total = (1.0 / place).sum() + before * ((place - 1) / place).sum()
    some = np.where(wanted > 0, np.minimum(wanted, k), np.nan)
    return np.asarray(_share(reachable, candidates) * total / some)


def expected_reciprocal_rank(wanted: Ints, reachable: Ints, candidates: int, k: int) -> Doubles:
    """(N,) expected reciprocal rank@k, summed over the places of the first hit."""
    sizes, back = np.unique(reachable, return_inverse=True)
    value = np.zeros(len(sizes))
    missed = np.ones(len(sizes))  # chance of no hit before the place
    for place in range(1, _length(candidates, k) + 1):
        left = candidates - place + 1
        first = missed * np.minimum(sizes / left, 1.0)
        value += first / place
        missed -= first
    return np.where(wanted > 0, value[back], np.nan)


def expected_hit_rate(wanted: Ints, reachable: Ints, candidates: int, k: int) -> Doubles:
    """(N,) chance of at least one hit: 1 - choose(C - m, L) / choose(C, L)."""
    length, others = _length(candidates, k), candidates - reachable
    enough = others >= length
    safe = np.where(enough, others, length)
    log_miss = _log_choose(safe, length) - _log_choose(np.asarray(candidates), length)
    return np.where(wanted > 0, 1.0 - np.where(enough, np.exp(log_miss), 0.0), np.nan)


def expected_coverage(lists: int, candidates: int, k: int) -> float:
    """Expected share of the candidates on at least one of ``lists`` random lists."""
    return float(1.0 - (1.0 - _length(candidates, k) / candidates) ** lists) if candidates else float("nan")


def expected_gini(lists: int, candidates: int, k: int) -> float:
    """Expected Gini coefficient of exposure of random lists.

    The exposures of two products differ by a sum over lists of +1, 0 or -1: a symmetric walk of M steps with M
    binomial, whose mean distance is E|S_M| = M choose(M - 1, ⌊(M - 1) / 2⌋) / 2^(M - 1).
    """
    length = _length(candidates, k)
    if not lists or not length:
        return float("nan")
    if candidates == 1:
        return 0.0
    differ = 2 * length / candidates * (candidates - length) / (candidates - 1)
    spread = 12 * np.sqrt(lists * differ * (1 - differ)) + 30
    low, high = max(1, int(lists * differ - spread)), min(lists, int(lists * differ + spread))
    steps = np.arange(low, high + 1)
    distance = np.exp(np.log(steps) + _log_choose(steps - 1, (steps - 1) // 2) - (steps - 1) * np.log(2.0))
    mean_distance = float((binom.pmf(steps, lists, differ) * distance).sum())
    return mean_distance * (candidates - 1) / (2 * lists * length)


def _length(candidates: int, k: int) -> int:
    return min(k, candidates)


def _share(reachable: Ints, candidates: int) -> Doubles:
    return reachable / max(candidates, 1)


def _log_choose(n: Ints, k: Ints | int) -> Doubles:
    return np.asarray(gammaln(n + 1.0) - gammaln(np.asarray(k) + 1.0) - gammaln(n - k + 1.0))
