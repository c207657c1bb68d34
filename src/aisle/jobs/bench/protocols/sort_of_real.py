"""Let's Get Sort-of-Real (dunnhumby), the last four weeks of the file: partly simulated, for volume and both trees.

Source: dunnhumby source files, the sample of 5,000 customers; read as ``aisle run`` reads it (lines without a loyalty
card are anonymous baskets). The rules are those of ``temporal.py``.
"""

from __future__ import annotations

from pathlib import Path

from aisle.data.dataset import Dataset
from aisle.jobs.bench.protocols.read import shop
from aisle.jobs.bench.protocols.temporal import last_days
from aisle.jobs.bench.split import Beat, Match, Protocol, Split

DAYS = 28


def load(folder: Path) -> Dataset:
    """The shop as of the end of the file."""
    return shop(folder, "dunnhumby_sort_of_real")


def split(data: Dataset, part: str) -> Split:
    """The last four weeks."""
    return last_days(data, DAYS)


SORT_OF_REAL = Protocol(
    name="sort_of_real",
    title="Sort-of-Real, last four weeks",
    load=load,
    split=split,
    metrics=("ndcg@10", "recall@10", "recall@20", "new ndcg@10"),
    tuned_on="ndcg@10",
    matches=(Match(label="decayed frequency", recipe="personal_frequency", figures={"recall@20": 0.28}, within=0.03),),
    beats=(Beat(label="3 % above the best classic", recipe="C", metric="ndcg@10", rival="best classic", factor=1.03),),
    recipes=(
        *("popularity", "recent_popularity", "personal_frequency", "item_knn", "tifu_knn", "up_cf"),
        *("sequence_knn", "rp3beta", "graph_filter", "slim", "ials", "tree_shares"),
        *("repeat_hazard", "ease", "C"),
    ),
)
