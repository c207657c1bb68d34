"""HybridFactorization on Online Retail II: the next three months, full ranking, repeats allowed.

Protocol: clean lines only (customer known, quantity and price above 0, stock code starts with five digits, no sheet
overlap); train before 2011-08-10, test 2011-08-10 to 2011-11-09; products with five or more train buyers, customers
with a purchase in train; truth = distinct products bought in the test months; NDCG@10 with the ideal over
min(10, |truth|), mean over customers with truth. "New" counts only products the customer never bought before.

    AISLE_DATA=… python benchmarks/hybrid_online_retail.py [--name setting=value …] [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from aisle.data.dataset import Dataset, sparse_sum
from aisle.data.schema import CleanTables
from aisle.data.split import Window, truth
from aisle.models.hybrid_factorization import HybridFactorization

CUT, END = datetime(2011, 8, 10), datetime(2011, 11, 10)
RESULT = Path(__file__).parent / "results" / "hybrid_online_retail.json"
PUBLISHED = {
    "own_counts": [0.3710, 0.0414],
    "popularity": [0.1152, 0.0414],
    "random": [0.0096, 0.0061],
    "ease": [0.2776, 0.0907],
    "tensorrec_40_epochs": [0.2507, 0.0731],
}
"""NDCG@10 and NDCG@10 of new products, measured elsewhere under the same protocol."""


def clean_tables(folder: Path) -> CleanTables:
    """The clean lines under the protocol above; product price and customer country are the only content."""
    lines = pl.read_parquet(folder / "online_retail_ii" / "transactions.parquet").filter(
        ~pl.col("dup_of_other_sheet"),
        pl.col("customer_id").is_not_null(),
        pl.col("quantity") > 0,
        pl.col("unit_price") > 0,
        pl.col("stock_code").str.contains(r"^\d{5}"),
    )
    train = lines.filter(pl.col("invoice_ts") < CUT)
    buyers = train.group_by("stock_code").agg(pl.col("customer_id").n_unique().alias("n")).filter(pl.col("n") >= 5)
    lines = lines.filter(pl.col("stock_code").is_in(buyers["stock_code"].to_list()))
    lines = lines.filter(pl.col("customer_id").is_in(train["customer_id"].unique().to_list()))
    transactions = lines.select(
        pl.col("customer_id").cast(pl.Int64).cast(pl.String),
        pl.col("stock_code").alias("product_id"),
        pl.col("invoice_ts").cast(pl.Datetime("us")).alias("timestamp"),
        pl.col("quantity").cast(pl.Float64),
        (pl.col("quantity") * pl.col("unit_price")).alias("amount"),
        pl.col("invoice").alias("order_id"),
    )
    seen = lines.filter(pl.col("invoice_ts") < CUT)
    products = seen.group_by(pl.col("stock_code").alias("product_id")).agg(pl.col("unit_price").median().alias("price"))
    products = products.with_columns(pl.col("price").log1p())
    who = pl.col("customer_id").cast(pl.Int64).cast(pl.String)
    customers = seen.group_by(who).agg(pl.col("country").first())
    return CleanTables(transactions=transactions, products=products, customers=customers)


def ndcg(scores: np.ndarray, bought: Any, hide: Any = None) -> np.ndarray:
    """(B,) NDCG@10 of dense scores; ``hide`` marks pairs that are neither listed nor counted; NaN without truth."""
    real = bought.toarray() > 0
    if hide is not None:
        owned = hide.toarray() > 0
        real &= ~owned
        scores = np.where(owned, -np.inf, scores)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    hits = np.take_along_axis(real, best, axis=1)
    discount = 1 / np.log2(np.arange(10) + 2)
    n_true = real.sum(axis=1)
    ideal = np.concatenate(([np.nan], np.cumsum(discount)))[np.minimum(n_true, 10)]
    return np.asarray((hits * discount).sum(axis=1) / ideal)


def main() -> None:
    """Fit, measure, print and (with ``--write``) keep the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("settings", nargs="*", help="setting=value of HybridFactorization")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    settings = {key: json.loads(value) for key, value in (pair.split("=", 1) for pair in args.settings)}
    data = Dataset.of(clean_tables(Path(os.environ["AISLE_DATA"])))
    cut, end = (int(moment.replace(tzinfo=UTC).timestamp() * 1_000_000) for moment in (CUT, END))
    answer = truth(data, Window(cut, end))
    past = data.before(cut)
    who = np.flatnonzero(answer.warm).astype(np.int32)
    started, wall = time.process_time(), time.perf_counter()
    model = HybridFactorization(**settings).fit(past)
    seconds, wall = time.process_time() - started, time.perf_counter() - wall
    popular = past.popularity / (past.popularity.max() + 1)
    buyers = np.bincount(past.counts.indices, minlength=past.shape[1]) / past.shape[0]
    lists: dict[str, list[np.ndarray]] = {}
    for some in np.array_split(who, 8):
        batch, bought = past.batch(some), answer.bought[some]
        ones = np.ones(len(batch.lines), dtype=np.float32)
        rivals = {
            "popularity": np.broadcast_to(popular, batch.shape),
            "own_counts": batch.history.toarray() + popular,
            "popularity by buyers": np.broadcast_to(buyers, batch.shape),
            "own lines, then buyers": sparse_sum(batch.row, batch.lines.product, ones, batch.shape).toarray()
            + buyers / 2,
            "hybrid_factorization": model.score(batch),
        }
        for name, scores in rivals.items():
            lists.setdefault(name, []).append(ndcg(scores, bought))
            lists.setdefault(f"{name} new", []).append(ndcg(scores, bought, batch.history))
    mean = {name: round(float(np.nanmean(np.concatenate(parts))), 4) for name, parts in lists.items()}
    result = {
        "command": "python " + " ".join(["benchmarks/hybrid_online_retail.py", *args.settings]),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
        ).stdout.strip(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "customers": len(who),
        "products": int(past.shape[1]),
        "fit_cpu_seconds": round(seconds, 1),
        "fit_wall_seconds": round(wall, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "epochs": model.epochs_,
        "target_days": round(model.target_days_, 1),
        "validation_curve": [round(value, 4) for value in model.curve_],
        "ndcg@10": {name: value for name, value in mean.items() if not name.endswith("new")},
        "ndcg@10 new to the customer": {n.removesuffix(" new"): v for n, v in mean.items() if n.endswith(" new")},
        "published, measured elsewhere: ndcg@10, of new": PUBLISHED,
    }
    json.dump(result, sys.stdout, indent=1)
    if args.write:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
