"""What a customer's purchases say about the customer: RFMV values and segments, as of a moment.

Recency, frequency and monetary value are the classic trio of direct marketing; variety is the number of distinct
products. Segments are k-means clusters (scikit-learn) of the standardised logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from aisle.data.dataset import Dataset
from aisle.data.events import Batch, unique_pairs
from aisle.types import UNKNOWN, Codes, Doubles, Floats

RFMV = ("recency_days", "frequency", "monetary", "variety")
SAMPLE = 50_000
MIN_CUSTOMERS = 50
"""Fewer customers with purchases than this are not segmented."""


def rfmv(batch: Batch) -> Floats:
    """(B, 4) days since the last purchase, baskets, amount, distinct products; NaN for customers without purchases.

    Amounts are those of purchases not undone by a return; unknown amounts count as 0. Under a sequence clock recency
    counts baskets.
    """
    size = len(batch)
    last_age = np.full(size, np.nan)
    last_age[~batch.empty] = batch.age_days[batch.indptr[1:][~batch.empty] - 1]
    values = np.stack(
        (
            last_age,
            np.bincount(unique_pairs(batch.row, batch.lines.basket)[0], minlength=size),
            np.bincount(batch.row, weights=np.nan_to_num(batch.lines.amount), minlength=size),
            np.diff(batch.history.indptr),
        ),
        axis=1,
    )
    values[batch.empty] = np.nan
    return values.astype(np.float32)


def usual_gap(data: Dataset) -> float:
    """Median time in clock ticks from a customer's basket to the next one on a later day; 0 where nobody came back.

    Of very many customers only some are asked, see ``some_customers``.
    """
    batch = some_customers(data)
    day = batch.lines.time // data.unit
    same = (batch.row[1:] == batch.row[:-1]) & (day[1:] > day[:-1])
    return float(np.median((day[1:] - day[:-1])[same])) * data.unit if same.any() else 0.0


def some_customers(data: Dataset) -> Batch:
    """At most ``SAMPLE`` customers with purchases, evenly spread over all: more rows cost no more memory."""
    some = np.flatnonzero(np.diff(data.indptr) > 0).astype(np.int32)
    return data.batch(some[:: -(-len(some) // SAMPLE)] if len(some) else some)


@dataclass(frozen=True, eq=False)
class Segments:
    """Clusters of customers by RFMV, best customers (highest monetary value) first."""

    centers: Doubles
    """(S, 4) in standardised logarithms."""
    mean: Doubles
    scale: Doubles
    names: tuple[str, ...]

    @classmethod
    def fit(cls, data: Dataset, count: int = 5, seed: int = 0) -> Segments | None:
        """Segments of the customers with purchases at ``data.as_of``; None where there are too few of them."""
        values: Floats = data.ask(rfmv)
        values = values[~np.isnan(values[:, 0])]
        logs = np.log1p(np.maximum(values, 0)).astype(np.float64)
        if len(logs) < MIN_CUSTOMERS or len(np.unique(logs, axis=0)) < count:
            return None
        mean, scale = logs.mean(axis=0), np.maximum(logs.std(axis=0), 1e-9)
        with threadpool_limits(limits=1):  # threads would add up in an order of their own
            found = KMeans(n_clusters=count, n_init=4, random_state=seed).fit((logs - mean) / scale)
        centers = found.cluster_centers_[np.argsort(-found.cluster_centers_[:, 2], kind="stable")]
        return cls(centers, mean, scale, _names(centers))

    def predict(self, batch: Batch) -> Codes:
        """(B,) segment of each customer, -1 for those without purchases."""
        values = rfmv(batch)
        some = ~np.isnan(values[:, 0])
        logs = (np.log1p(np.maximum(values[some], 0)) - self.mean) / self.scale
        codes = np.full(len(batch), UNKNOWN, dtype=np.int32)
        codes[some] = ((logs[:, None, :] - self.centers) ** 2).sum(axis=2).argmin(axis=1)
        return codes


def _names(centers: Doubles) -> tuple[str, ...]:
    """A readable name for each cluster from its recency, frequency and spend; numbered where two would be alike."""
    names: list[str] = []
    for recency, frequency, monetary, _ in centers:
        words = ("recent" if recency < 0 else "lapsed", "frequent" if frequency > 0 else "occasional")
        spend = "high spend" if monetary > 0.5 else "low spend" if monetary < -0.5 else "middle spend"
        name = f"{words[0]}, {words[1]}, {spend}"
        names.append(name if name not in names else f"{name} ({sum(n.startswith(name) for n in names) + 1})")
    return tuple(names)
