"""Cost of the doctor on a large CSV beside the least that any job must do: a bare Polars read, join and group-by.

Both run in a process of their own over the same generated file (sales with returns, repeats and a few bad cells). The
bar is six times the CPU seconds of the bare job (three is aimed at) and a peak below 3 GB at 10 million rows.

    python -m benchmarks.check_speed [ROWS]
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.common import record

BLOCK = 500_000
START = np.datetime64("2023-01-01T00:00:00", "us")
BAD_CELLS = {"quantity": "two", "price": "n/a?", "timestamp": "31-02-2023", "customer_id": "2.7E+05"}


def generate(folder: Path, rows: int, seed: int = 7) -> None:
    """Write ``transactions.csv`` (about 75 bytes a row) and ``products.csv``; one row in 2,000 is spoiled."""
    rng = np.random.default_rng(seed)
    n_products, n_customers = 20_000, max(rows // 40, 100)
    ids = np.arange(n_products)
    pl.DataFrame({"product_id": ids + 100_000, "category_1": ids % 20, "category_2": ids % 400}).with_columns(
        pl.col("product_id").cast(pl.String), pl.format("department {}", "category_1").alias("category_1")
    ).write_csv(folder / "products.csv")
    with (folder / "transactions.csv").open("wb") as file:
        for first in range(0, rows, BLOCK):
            block = _sales(rng, first, min(BLOCK, rows - first), rows, n_products, n_customers)
            block.write_csv(file, include_header=first == 0)


def _sales(
    rng: np.random.Generator, first: int, size: int, rows: int, n_products: int, n_customers: int
) -> pl.DataFrame:
    order = (first + np.arange(size)) // 4
    when = START + (order * (700 * 86_400 * 4 // rows) * 1_000_000).astype("timedelta64[us]")
    # a customer and a moment belong to an order, so both follow from its number
    customer = (order * 2_654_435_761 % 2**32) % n_customers
    product = np.minimum(rng.zipf(1.2, size) * 7919 % n_products, n_products - 1)
    price = (product % 97 + 1) * 1.25
    quantity = rng.integers(1, 4, size) * np.where(rng.random(size) < 0.01, -1, 1)
    frame = pl.DataFrame(
        {
            "order_id": order + 10_000_000,
            "customer_id": customer + 200_000,
            "product_id": product + 100_000,
            "timestamp": pl.Series(when).dt.strftime("%Y-%m-%d %H:%M:%S"),
            "quantity": quantity,
            "price": price,
            "amount": (quantity * price).round(2),
            "store_id": order % 50,
        }
    ).cast(pl.String)
    spoilt = pl.int_range(pl.len()) % 2_000 == 1_999
    column = list(BAD_CELLS)[first // BLOCK % len(BAD_CELLS)]
    return frame.with_columns(pl.when(spoilt).then(pl.lit(BAD_CELLS[column])).otherwise(column).alias(column))


def bare(folder: Path) -> dict[str, Any]:
    """Read, join and group with Polars, bad cells as nulls, in one go."""
    types: dict[str, pl.DataType] = {name: pl.Float64() for name in ("quantity", "price", "amount")}
    types["timestamp"] = pl.Datetime("us")
    lines = pl.read_csv(folder / "transactions.csv", schema_overrides=types, ignore_errors=True)
    products = pl.read_csv(folder / "products.csv")
    joined = lines.join(products, on="product_id", how="left")
    by_customer = joined.group_by("customer_id").agg(pl.len(), pl.col("amount").sum(), pl.col("timestamp").max())
    by_product = joined.group_by("product_id", "category_1").agg(pl.len(), pl.col("amount").sum())
    return {"rows": joined.height, "customers": by_customer.height, "products": by_product.height}


def doctor(folder: Path) -> dict[str, Any]:
    """Everything that ``aisle check`` does."""
    from aisle.jobs.check import check

    tables = check(folder)
    report = tables.report
    assert report.total("accepted") + report.total("rejected") == report.total("read")
    return {"rows": report.total("read"), "accepted": report.total("accepted"), "rejects": tables.rejects.height}


def measured(job: str, folder: Path) -> dict[str, Any]:
    """Run one job in a fresh process; CPU seconds, wall seconds and peak memory are its own."""
    command = [sys.executable, "-m", "benchmarks.check_speed", "--job", job, str(folder)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return result


def run_job(job: str, folder: Path) -> None:
    """The body of the fresh process: imports are paid before the clock starts."""
    import aisle.jobs.check  # noqa: F401

    wall, cpu = time.perf_counter(), time.process_time()
    figures = {"bare": bare, "doctor": doctor}[job](folder)
    figures |= {
        "cpu_s": round(time.process_time() - cpu, 2),
        "wall_s": round(time.perf_counter() - wall, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(figures))


def main() -> None:
    """Generate, run both, compare, write ``results/check_speed.json``."""
    if sys.argv[1:2] == ["--job"]:
        run_job(sys.argv[2], Path(sys.argv[3]))
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory(prefix="aisle-check-speed-") as name:
        folder = Path(name)
        generate(folder, rows)
        megabytes = round((folder / "transactions.csv").stat().st_size / 1e6)
        results = {job: measured(job, folder) for job in ("bare", "doctor")}
    ratio = results["doctor"]["cpu_s"] / max(results["bare"]["cpu_s"], 0.01)
    figures = {"rows": rows, "file_mb": megabytes, **results, "cpu_ratio": round(ratio, 2)}
    record("check_speed", figures, f"python -m benchmarks.check_speed {rows}")


if __name__ == "__main__":
    main()
