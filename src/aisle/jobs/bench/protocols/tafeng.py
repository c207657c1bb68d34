"""Ta-Feng grocery, next basket, as split for "A Next Basket Recommendation Reality Check".

Source: Li, Jullien, Ariannezhad, de Rijke (ACM TOIS 2023), the preparation with 13,858 customers and 11,997 products
and the user splits published with liming-7/Mask-Swap-NNBR. Folds 3 and 4 repeat 0 and 1, so there are three
partitions; a test customer of several folds counts as one customer in the intervals.

* Asked: the test customers of a fold (2,772), from their history; truth is their future basket; every product may be
  listed, those bought before too.
* Learned from: training and validation customers with their future baskets. Other customers are no neighbours: their
  histories are inputs, so they count for what sells, without a name. The published rows learned from training
  customers' histories alone (``plain``).
* The ideal of NDCG runs over everything in the future basket, without a cut at k, as the authors compute it.
* Inside, to tune on: the validation customers of the fold, learned from training customers.

The last basket of every customer lies at 0: the future basket of whoever may be learned from, the newest of the history
of all others; the question is asked after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp

from aisle.data.dataset import Dataset
from aisle.jobs.bench.protocols.read import anonymous, dataset, file, text
from aisle.jobs.bench.split import Beat, Match, Protocol, Published, Settings, Split
from aisle.types import Bools

NAMES = ("recall@10", "ndcg@10", "recall@20", "ndcg@20")


@dataclass(frozen=True, eq=False)
class Baskets:
    """The two files of the preparation."""

    lines: pl.DataFrame
    """customer_id, product_id, sequence, quantity, future."""
    folds: pl.DataFrame
    """fold, part, customer_id."""


def load(folder: Path) -> Baskets:
    """Baskets and folds."""
    lines = pl.read_parquet(file(folder, "tafeng_nbr", "baskets.parquet")).select(
        text("user_id", "customer_id"),
        text("item_id", "product_id"),
        sequence=pl.col("order_number").cast(pl.Int64),
        quantity=pl.lit(1.0),
        future=pl.col("split") == "future",
    )
    folds = pl.read_parquet(file(folder, "tafeng_nbr", "folds.parquet"))
    return Baskets(lines, folds.select("fold", "part", text("user_id", "customer_id")))


def split(baskets: Baskets, part: str) -> Split:
    """The test customers of a fold; its validation customers inside."""
    fold = baskets.folds.filter(pl.col("fold") == int(part))
    return _split(baskets, fold, "test", ("train", "val"), inside=True)


def _split(baskets: Baskets, fold: pl.DataFrame, asked: str, taught: tuple[str, ...], inside: bool = False) -> Split:
    teachers = fold.filter(pl.col("part").is_in(taught))["customer_id"]
    learned = ~pl.col("future") | pl.col("customer_id").is_in(teachers.implode())
    products = baskets.lines.select(pl.col("product_id").unique().sort())
    customers = baskets.lines.select(pl.col("customer_id").unique().sort())
    data = dataset(baskets.lines.filter(learned).drop("future"), products, customers)
    before = dataset(baskets.lines.filter(~pl.col("future")).drop("future"), products, customers)
    who = _members(data, fold, (asked,))
    future = baskets.lines.filter(pl.col("future"))
    cells = (data.customers.vocab.codes(future["customer_id"]), data.products.vocab.codes(future["product_id"]))
    wanted = sp.csr_array((np.ones(len(cells[0]), dtype=np.float32), cells), shape=data.shape)
    wanted.sort_indices()
    return Split(
        data=anonymous(data, ~_members(data, fold, taught)),
        wanted=wanted,
        customers=np.flatnonzero(who & (np.diff(wanted.indptr) > 0)).astype(np.int32),
        repeats=True,
        inner=(lambda: _split(baskets, fold, "val", ("train",))) if inside else None,
        asked=data,
        plain=anonymous(before, ~_members(data, fold, ("train",))),
        ideal_all=True,
    )


def _members(data: Dataset, fold: pl.DataFrame, parts: tuple[str, ...]) -> Bools:
    """(U,) True for customers of these parts of a fold."""
    codes = data.customers.vocab.codes(fold.filter(pl.col("part").is_in(parts))["customer_id"])
    found = np.zeros(data.shape[0], dtype=bool)
    found[codes[codes >= 0]] = True
    return found


def _row(label: str, *figures: float) -> Published:
    return Published(label, dict(zip(NAMES, figures, strict=True)), "measured on this preparation, three partitions")


ROWS = (
    _row("G-TopFreq", 0.0834, 0.0867, 0.1115, 0.0963),
    _row("P-TopFreq", 0.1106, 0.0998, 0.1416, 0.1132),
    _row("GP-TopFreq", 0.1374, 0.1177, 0.1858, 0.1372),
    _row("TIFU-KNN", 0.1257, 0.1020, 0.1825, 0.1237),
    _row("UP-CF@10", 0.1229, 0.1057, 0.1667, 0.1231),
    _row("LightGBM over 23 features", 0.1757, 0.1551, 0.2249, 0.1753),
)

UNION: dict[str, Settings] = {
    name: {} for name in ("popularity", "personal_frequency", "tifu_knn", "up_cf", "item_knn")
}
"""Sources of the plain union: those behind the published LightGBM row, with their defaults."""

TAFENG = Protocol(
    name="tafeng",
    title="Ta-Feng, next basket (Reality Check, three partitions)",
    load=load,
    split=split,
    parts=("0", "1", "2"),
    metrics=(*NAMES, "new recall@10", "hit@10"),
    tuned_on="ndcg@10",
    published=ROWS,
    settings={
        "popularity": {},
        "personal_frequency": {"half_life_days": None},
        "tifu_knn": {"neighbours": 300, "alpha": 0.7, "within_decay": 0.9, "group_decay": 0.7, "groups": 7},
        "ranker": {"sources": UNION, "learning_rate": 0.1},
    },
    matches=(
        Match(label="G-TopFreq", recipe="popularity:published", figures=ROWS[0].figures, within=0.005),
        Match(label="GP-TopFreq", recipe="personal_frequency:published", figures=ROWS[2].figures, within=0.005),
        Match(label="TIFU-KNN", recipe="tifu_knn:published", figures=ROWS[3].figures, within=0.005),
    ),
    beats=(
        Beat(label="LightGBM union, R@10", recipe="C", metric="recall@10", beyond=0.1757),
        Beat(label="LightGBM union, N@10", recipe="C", metric="ndcg@10", beyond=0.1551),
        Beat(label="LightGBM union, R@20", recipe="C", metric="recall@20", beyond=0.2249),
        Beat(label="aim, R@10", recipe="C", metric="recall@10", least=0.186),
        Beat(label="aim, N@10", recipe="C", metric="ndcg@10", least=0.166),
        Beat(label="aim, R@20", recipe="C", metric="recall@20", least=0.234),
        Beat(label="own plain union, beyond chance", recipe="C", metric="ndcg@10", rival="ranker:plain"),
        Beat(label="best classic, beyond chance", recipe="C", metric="ndcg@10", rival="best classic"),
    ),
    recipes=(
        *("popularity:published", "personal_frequency:published", "tifu_knn:published"),
        *("personal_frequency", "tifu_knn", "up_cf", "item_knn", "sequence_knn", "ranker:plain", "C"),
    ),
)
