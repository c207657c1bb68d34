"""Write a synthetic retailer with its planted truth."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from aisle.data.synthetic import dirt as mud
from aisle.data.synthetic.catalogue import Catalogue, make_catalogue
from aisle.data.synthetic.chances import block_chances
from aisle.data.synthetic.export import CSV_LINES, TableWriter, expected_lines, transaction_table
from aisle.data.synthetic.people import customer_table, make_people, store_table
from aisle.data.synthetic.shop import BLOCK, ORACLE_CUSTOMERS, Shop
from aisle.data.synthetic.shopping import shop_block
from aisle.data.synthetic.truth import FOLDER, customer_truth, product_truth, staple_truth, truth_json
from aisle.errors import UsageError
from aisle.files import atomic_dir, write_json, write_parquet
from aisle.progress import Progress, Tick

OURS = {FOLDER, "products.csv", "stores.csv"} | {
    f"{name}.{suffix}"
    for name in ("transactions", "transactions-1", "transactions-2", "customers")
    for suffix in ("csv", "parquet")
}


@dataclass(frozen=True, kw_only=True)
class DemoSummary:
    """What was written."""

    folder: Path
    files: tuple[Path, ...]
    """The retailer's files; the planted truth lies in ``folder / "truth"``."""
    customers: int
    products: int
    lines: int
    """Sale and return lines, copies planted by ``dirt`` included."""
    returns: int
    orders: int


def demo(
    out: Path,
    *,
    customers: int = 2_000,
    products: int = 500,
    days: int = 540,
    seed: int = 0,
    dirt: bool = False,
    signal: bool = True,
    progress: Progress | None = None,
) -> DemoSummary:
    """Write a synthetic retailer into folder ``out``; the same settings give the same bytes.

    ``dirt`` damages the transactions in ways that ``truth/dirt.json`` counts; ``signal=False`` makes a shop in which
    nobody's past says anything about their future. Raises UsageError for impossible sizes, and where ``out`` holds
    files that are not a synthetic retailer's.
    """
    shop = Shop(customers=customers, products=products, days=days, seed=seed, signal=signal)
    _check_free(out)
    with (progress or Progress()).step("writing the retailer") as tick, atomic_dir(out) as folder:
        (folder / FOLDER).mkdir()
        counts = _write(folder, make_catalogue(shop), dirt, tick)
        write_json(folder / FOLDER / "truth.json", truth_json(shop, counts))
    files = tuple(sorted(path for path in out.iterdir() if path.is_file()))
    return DemoSummary(folder=out, files=files, customers=customers, products=products, **counts)


def _check_free(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is a file; give a folder for the synthetic retailer")
    found = {path.name for path in out.iterdir()}
    if found and (found - OURS or not (out / FOLDER / "truth.json").exists()):
        raise UsageError(f"{out} holds other files ({sorted(found)[0]}); give a new or empty folder")


def _write(folder: Path, catalogue: Catalogue, dirty: bool, tick: Tick) -> dict[str, int]:
    """All files but truth.json; counts of lines, returns and orders."""
    shop = catalogue.shop
    suffix = "csv" if dirty or expected_lines(shop) <= CSV_LINES else "parquet"
    stores = store_table(shop)
    lost_products = mud.lost(shop, catalogue.ids, shop.blocks)
    table = catalogue.table()
    if dirty:
        table = table.filter(~pl.col("product_id").is_in(lost_products.implode()))
    table.write_csv(folder / "products.csv")
    stores.write_csv(folder / "stores.csv")
    write_parquet(folder / FOLDER / "products.parquet", product_truth(catalogue))
    with ExitStack() as stack:
        names = ("oracle", "customers", "staples")
        writers = {name: stack.enter_context(TableWriter(folder / FOLDER / f"{name}.parquet")) for name in names}
        people = stack.enter_context(TableWriter(folder / f"customers.{suffix}"))
        sales_path = folder / FOLDER / "clean.parquet" if dirty else folder / f"transactions.{suffix}"
        sales = stack.enter_context(TableWriter(sales_path))
        mess = mud.DirtWriter(folder, shop, lost_products) if dirty else None
        job = _Blocks(catalogue, stores, writers, people, sales, mess)
        for block in range(shop.blocks):
            job.write(block)
            tick(block + 1, shop.blocks)
    if mess is not None:
        found = mess.close(job.total)
        write_json(folder / FOLDER / "dirt.json", found.report())
        job.counts["lines"] = found.written
    return job.counts


class _Blocks:
    """Writes one block of customers after the other; holds one block at a time."""

    def __init__(
        self,
        catalogue: Catalogue,
        stores: pl.DataFrame,
        truth: dict[str, TableWriter],
        people: TableWriter,
        sales: TableWriter,
        mess: mud.DirtWriter | None,
    ) -> None:
        self.catalogue, self.stores, self.truth = catalogue, stores, truth
        self.people, self.sales, self.mess = people, sales, mess
        self.counts = {"lines": 0, "returns": 0, "orders": 0}
        self.total = 0.0

    def write(self, block: int) -> None:
        """Draw the customers of a block, let them shop, and write both what they bought and what they might have."""
        catalogue, shop = self.catalogue, self.catalogue.shop
        people = make_people(catalogue, block)
        lines, buys = shop_block(catalogue, people, block)
        table = transaction_table(catalogue, people, lines, self.stores["store_id"])
        profile = customer_table(catalogue, people, self.stores)
        if self.mess is not None:
            gone = mud.lost(shop, people.ids, block)
            self.total += float(table["amount"].sum())
            table = self.mess.write(table, gone, block)
            profile = profile.filter(~pl.col("customer_id").is_in(gone.implode()))
        self.sales.write(table)
        self.people.write(profile)
        self.truth["customers"].write(customer_truth(shop, people))
        self.truth["staples"].write(staple_truth(catalogue, people))
        if block * BLOCK < ORACLE_CUSTOMERS:
            self.truth["oracle"].write(block_chances(catalogue, people, buys))
        self.counts["lines"] += len(lines)
        self.counts["returns"] += int((lines.quantity < 0).sum())
        self.counts["orders"] += int((np.diff(np.sort(lines.order), prepend=-1) > 0).sum())
