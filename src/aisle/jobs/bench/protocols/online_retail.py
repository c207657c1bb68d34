"""Online Retail II (UCI): the last 30 and the last 90 days of the file.

Source: Chen, Online Retail II, UCI Machine Learning Repository 2019; read as ``aisle run`` reads it (both sheets once,
cancellations matched to sales, invoices without a customer as anonymous baskets). The rules are those of
``temporal.py``. ``new …`` are the same figures without the products a customer bought before.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from aisle.data.dataset import Dataset
from aisle.jobs.bench.protocols.read import shop
from aisle.jobs.bench.protocols.temporal import last_days
from aisle.jobs.bench.split import Beat, Protocol, Split


def load(folder: Path) -> Dataset:
    """The shop as of the end of the file."""
    return shop(folder, "online_retail_ii")


def split(days: int, data: Dataset, part: str) -> Split:
    """The last days of the file."""
    return last_days(data, days)


def _protocol(days: int) -> Protocol:
    return Protocol(
        name=f"online_retail_{days}",
        title=f"Online Retail II, last {days} days",
        load=load,
        split=partial(split, days),
        metrics=("ndcg@10", "recall@10", "recall@20", "new ndcg@10", "new recall@10"),
        tuned_on="ndcg@10",
        beats=(
            Beat(label="10 % above the best classic", recipe="C", metric="ndcg@10", rival="best classic", factor=1.1),
            Beat(label="new products: 40 % above EASE", recipe="C", metric="new ndcg@10", rival="ease", factor=1.4),
            Beat(
                label="new products: 40 % above EASE tuned for them",
                recipe="C",
                metric="new ndcg@10",
                rival="ease:new",
                factor=1.4,
            ),
        ),
        recipes=(
            *("popularity", "recent_popularity", "personal_frequency", "item_knn", "tifu_knn", "up_cf"),
            *("sequence_knn", "rp3beta", "graph_filter", "slim", "ials", "tree_shares"),
            *("repeat_hazard", "ease", "ease:new", "C"),
        ),
    )


MONTH, QUARTER = _protocol(30), _protocol(90)
