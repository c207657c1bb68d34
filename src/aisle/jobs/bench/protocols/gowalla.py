"""Gowalla check-ins, the random 80/20 split of NGCF and LightGCN.

Source: He, Deng, Wang, Li, Zhang, Wang, "LightGCN" (SIGIR 2020); the same files as in reczoo/BARS. No order and no
features: one basket a customer. Training items are masked, every item may be listed, the ideal of NDCG is cut at 20.
Inside, to tune on: a random tenth of each customer's training items (at least one where there are two).

The published test items are no random draw: they hold 25 % of the check-ins of places with 200 and more, 20.6 % of all
others, and the share of one place varies 27 times as much as chance allows among the former. Training items come
sorted, so nothing inside tells how they were drawn: the inner split favours models that push popular places down
further than the test does. Published rows have no validation at all; they were picked on the test items.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp

from aisle.data.dataset import Dataset
from aisle.jobs.bench.protocols.read import dataset, file, text, without
from aisle.jobs.bench.split import Beat, Match, Protocol, Published, Split
from aisle.types import Codes

NAMES = ("recall@20", "ndcg@20")
SHARE, SEED = 0.1, 0


@dataclass(frozen=True, eq=False)
class CheckIns:
    """Training data, and the cells of the test file."""

    data: Dataset
    customers: Codes
    products: Codes


def load(folder: Path) -> CheckIns:
    """Both files; items of the test file alone are part of the catalogue."""
    train, test = (
        pl.read_parquet(file(folder, "gowalla_lightgcn", f"{part}.parquet")).select(
            text("user_id", "customer_id"), text("item_id", "product_id")
        )
        for part in ("train", "test")
    )
    products = pl.concat([train, test]).select(pl.col("product_id").unique().sort())
    data = dataset(train.with_columns(sequence=pl.lit(0, dtype=pl.Int64), quantity=pl.lit(1.0)), products)
    codes = data.customers.vocab.codes(test["customer_id"]), data.products.vocab.codes(test["product_id"])
    return CheckIns(data, codes[0][codes[0] >= 0], codes[1][codes[0] >= 0])


def split(found: CheckIns, part: str) -> Split:
    """The test file; a tenth of the training file inside."""
    return _split(found.data, found.customers, found.products, inside=True)


def _split(data: Dataset, customers: Codes, products: Codes, inside: bool = False) -> Split:
    ones = np.ones(len(customers), dtype=np.float32)
    wanted = sp.csr_array((ones, (customers, products)), shape=data.shape).sign()
    wanted.sort_indices()
    who = np.flatnonzero(np.diff(wanted.indptr)).astype(np.int32)
    return Split(data, wanted, who, inner=(lambda: _inner(data)) if inside else None)


def _inner(data: Dataset) -> Split:
    """A random tenth of each customer's lines, rounded up, of those who have two and more."""
    events = data.all_events
    draw = np.random.default_rng(SEED).random(len(events))
    order = np.lexsort((draw, events.customer))
    sizes = np.bincount(events.customer, minlength=data.shape[0])
    starts = np.cumsum(sizes) - sizes
    place = np.empty(len(events), dtype=np.int64)
    place[order] = np.arange(len(events)) - starts[events.customer[order]]
    many = np.where(sizes > 1, np.ceil(SHARE * sizes), 0)
    hidden = place < many[events.customer]
    return _split(without(data, hidden), events.customer[hidden], events.product[hidden])


def _row(label: str, recall: float, ndcg: float, mark: str = "BARS leaderboard (reczoo/BARS)") -> Published:
    return Published(label, {"recall@20": recall, "ndcg@20": ndcg}, mark)


ROWS = (
    _row("ItemCF", 0.1570, 0.1214),
    _row("SLIM", 0.1699, 0.1382),
    _row("EASE", 0.1765, 0.1467),
    _row("LightGCN", 0.1820, 0.1547),
    _row("GF-CF", 0.1849, 0.1518),
    _row("UltraGCN", 0.1862, 0.1580),
    _row("SimpleX", 0.1872, 0.1557),
    _row("BSPM-EM", 0.1920, 0.1597, "as quoted by others"),
    _row("NESCL", 0.1917, 0.1617, "as quoted by others"),
)

GOWALLA = Protocol(
    name="gowalla",
    title="Gowalla, random 80/20 (LightGCN split)",
    load=load,
    split=split,
    metrics=NAMES,
    tuned_on="ndcg@20",
    published=ROWS,
    settings={"graph_filter": {"factors": 256, "low_pass": 0.3, "sharpen": 0.0, "half_life_days": None}},
    matches=(
        Match(
            label="GF-CF",
            recipe="graph_filter:published",
            figures={"recall@20": 0.1850, "ndcg@20": 0.1518},
            within=0.005,
        ),
    ),
    beats=(
        Beat(label="SimpleX, R@20", recipe="S", metric="recall@20", least=0.1872),
        Beat(label="SimpleX, N@20", recipe="S", metric="ndcg@20", least=0.1557),
        Beat(label="aim, R@20", recipe="S", metric="recall@20", least=0.192),
        Beat(label="aim, N@20", recipe="S", metric="ndcg@20", least=0.160),
    ),
    recipes=("popularity", "graph_filter:published", "graph_filter", "item_knn", "rp3beta", "ials", "S"),
)
