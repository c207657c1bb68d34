"""What a list is worth: one pure function a metric, one value a customer.

``hits`` (N, K) says which places of the lists hold a product the customer really bought, ``wanted`` (N,) how many
products that is in all. A customer who bought nothing has no value (NaN), never 0. Discounted gain follows Järvelin
and Kekäläinen (TOIS 2002) with binary gains and the ideal list over min(K, wanted) places.
"""

from __future__ import annotations

import numpy as np

from aisle.types import Bools, Codes, Doubles, Floats, Ints, Sparse


def hit_matrix(lists: Codes, truth: Sparse) -> Bools:
    """(N, K) True where the listed product is stored in the customer's row of ``truth`` (N, I); -1 never hits."""
    return np.asarray(listed_values(lists, truth) > 0)


def listed_values(lists: Codes, values: Sparse) -> Doubles:
    """(N, K) the value each listed product has in the customer's row of ``values`` (N, I), 0 where none is stored.

    The columns of each row must be sorted and unique.
    """
    rows, width = values.shape
    keys = np.repeat(np.arange(rows, dtype=np.int64), np.diff(values.indptr)) * width + values.indices
    asked = np.arange(rows, dtype=np.int64)[:, None] * width + lists
    place = np.searchsorted(keys, asked)
    place = np.minimum(place, max(len(keys) - 1, 0))
    found = (keys[place] == asked) & (lists >= 0) if len(keys) else np.zeros(lists.shape, dtype=bool)
    out = np.zeros(lists.shape)
    out[found] = values.data[place[found]]
    return out


def discounts(k: int) -> Doubles:
    """(k,) weight of each place: 1 / log2(place + 1)."""
    return np.asarray(1.0 / np.log2(np.arange(2, k + 2)))


def ideal_gain(wanted: Ints, k: int) -> Doubles:
    """(N,) discounted gain of the best possible list of k places, NaN where nothing is wanted."""
    best = np.concatenate(([np.nan], np.cumsum(discounts(k))))
    return np.asarray(best[np.minimum(wanted, k)])


def ndcg(hits: Bools, wanted: Ints) -> Doubles:
    """(N,) discounted gain over that of the best possible list."""
    k = hits.shape[1]
    return np.asarray(hits @ discounts(k) / ideal_gain(wanted, k))


def recall(hits: Bools, wanted: Ints) -> Doubles:
    """(N,) share of the bought products that were listed."""
    return np.asarray(hits.sum(axis=1) / _some(wanted))


def precision(hits: Bools, wanted: Ints) -> Doubles:
    """(N,) share of the K places that held a bought product; empty places count as wrong."""
    return np.where(wanted > 0, hits.sum(axis=1) / max(hits.shape[1], 1), np.nan)


def average_precision(hits: Bools, wanted: Ints) -> Doubles:
    """(N,) precision at each hit, summed, over min(K, wanted); its mean is MAP@K."""
    k = hits.shape[1]
    at_place = np.cumsum(hits, axis=1) / np.arange(1, k + 1)
    return np.asarray((at_place * hits).sum(axis=1) / np.minimum(_some(wanted), k))


def reciprocal_rank(hits: Bools, wanted: Ints) -> Doubles:
    """(N,) 1 / place of the first hit, 0 without a hit; its mean is MRR@K."""
    first = hits.argmax(axis=1) + 1
    return np.where(wanted > 0, np.where(hits.any(axis=1), 1.0 / first, 0.0), np.nan)


def hit_rate(hits: Bools, wanted: Ints) -> Doubles:
    """(N,) 1 where at least one listed product was bought."""
    return np.where(wanted > 0, hits.any(axis=1).astype(float), np.nan)


def part_recall(hits: Bools, in_part: Bools, wanted_in_part: Ints) -> Doubles:
    """(N,) recall of one part of the truth; ``in_part`` (N, K) says which listed products belong to the part.

    With the part "bought before" this is repeat recall, with its complement explore recall; NaN where the customer
    bought nothing of the part.
    """
    return np.asarray((hits & in_part).sum(axis=1) / _some(wanted_in_part))


def revenue_share(listed: Doubles, total: Doubles) -> Doubles:
    """(N,) net revenue of the listed products (N, K) over that of the customer's window; NaN where that is not > 0."""
    return np.asarray(listed.sum(axis=1) / np.where(total > 0, total, np.nan))


def exposure(lists: Codes, n_products: int) -> Ints:
    """(I,) number of lists that hold each product."""
    return np.bincount(lists[lists >= 0], minlength=n_products)


def coverage(shown: Ints) -> float:
    """Share of the candidates on at least one list; ``shown`` (C,) is their exposure. NaN without candidates."""
    return float((shown > 0).mean()) if len(shown) else float("nan")


def gini(shown: Ints) -> float:
    """Gini coefficient of exposure (C,): 0 = every candidate shown alike, near 1 = a few get everything."""
    total, size = int(shown.sum()), len(shown)
    if not total:
        return float("nan")
    ranks = 2 * np.arange(1, size + 1) - size - 1
    return float((ranks * np.sort(shown)).sum() / (size * total))


def surprise(popularity: Floats) -> Doubles:
    """(I,) bits of self-information, -log2 of the share of sales; one sale is added to each product."""
    counts = popularity.astype(np.float64) + 1.0
    return np.asarray(-np.log2(counts / counts.sum()))


def novelty(lists: Codes, bits: Doubles) -> float:
    """Mean self-information of the listed products (Zhou et al., PNAS 2010); NaN without any."""
    listed = lists[lists >= 0]
    return float(bits[listed].mean()) if len(listed) else float("nan")


def _some(counts: Ints) -> Doubles:
    """(N,) counts with 0 turned into NaN, so that a mean over nothing is no value."""
    return np.where(counts > 0, counts, np.nan).astype(np.float64)
