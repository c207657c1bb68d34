"""``aisle recommend``: open a bundle, write lists of products or categories, for customers or groups of them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aisle.bundle import Recommender, load
from aisle.data.dataset import Dataset
from aisle.engine import Engine, Local
from aisle.errors import UsageError
from aisle.files import write_parquet
from aisle.jobs.ingest import read_ids
from aisle.jobs.levels import PRODUCT, SHRINKAGE, group_lists
from aisle.jobs.lists import Policy, write_lists
from aisle.jobs.output import join_lists
from aisle.progress import Progress
from aisle.rank.rules import Rules
from aisle.types import Codes, Repeats, Searching, Variants


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which lists, of what, for whom."""

    customers: Path | None = None
    """A file of customer ids; None = everybody."""
    k: int = 10
    repeats: Repeats = "mixed"
    only_products: Path | None = None
    """A file of product ids: nothing else is listed."""
    variants: Variants = "one"
    level: str = PRODUCT
    """``product``, a level of the product tree, or ``leaf``."""
    by: str | None = None
    """A grouping of customers: one list a group instead of one a customer."""
    shrinkage: float = SHRINKAGE
    """Members with purchases that weigh as much as the sister groups."""
    search: Searching = "exact"
    """``auto`` takes an index of at least ``least_recall`` where very many products may be listed."""
    least_recall: float = 0.99
    memory_bytes: int = 1 << 30
    """For a block of customers, or an index: a quarter of ``--memory``."""


def recommend(
    bundle: Path,
    out: Path,
    wanted: Wanted | None = None,
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> int:
    """Write lists of a bundle to ``out`` (.parquet or .csv); returns the rows written.

    Lists of customers are made by parts, by ``engine`` where one is given; parts that are done lie beside ``out`` until
    all are, and the same call goes on from there. Ids that the bundle does not know get the popularity list under
    their own id. Raises UsageError for a wrong suffix, level or grouping.
    """
    wanted, progress = wanted or Wanted(), progress or Progress()
    if out.suffix not in (".parquet", ".csv"):
        raise UsageError(f"--out is {out}; it must end in .parquet or .csv")
    if wanted.by is not None and not (engine is None or (isinstance(engine, Local) and engine.workers == 1)):
        raise UsageError(f"lists by {wanted.by} are added up in one process; leave out --by, or --engine and --workers")
    recommender = load(bundle).limited(wanted.memory_bytes)
    vocab = recommender.dataset.customers.vocab
    ids = vocab.ids if wanted.customers is None else read_ids(wanted.customers)
    only = only_codes(recommender.dataset, wanted.only_products)
    recommender = recommender.searching(wanted.search, least_recall=wanted.least_recall, customers=len(ids))
    policy = Policy(k=wanted.k, level=wanted.level, repeats=wanted.repeats, variants=wanted.variants, only=only)
    rules = policy.rules(recommender)
    if wanted.by is None and wanted.level == PRODUCT:
        search_prepared(recommender, rules, wanted.k, progress)
    work = out.with_name(f".{out.name}.parts")
    with progress.step("Writing lists") as tick:
        if wanted.by is None:
            parts = write_lists(recommender, bundle, ids, policy, work, engine=engine, tick=tick)
        else:
            codes, level, k = vocab.codes(ids), wanted.level, wanted.k
            frame = group_lists(recommender, codes, wanted.by, level, k, rules, shrinkage=wanted.shrinkage)
            parts = [work / "part-00000.parquet"]
            write_parquet(parts[0], frame)
        rows = join_lists(parts, out)
    shutil.rmtree(work)
    return rows


def search_prepared(recommender: Recommender, rules: Rules, k: int, progress: Progress) -> dict[str, Any]:
    """How lists of k will be searched (``lists.search`` of the certificate); an index that was asked for is built."""
    if recommender.plan.kind == "exact":
        return recommender.search_told(rules, k)
    with progress.step("Preparing the search"):
        return recommender.search_told(rules, k)


def only_codes(dataset: Dataset, path: Path | None) -> Codes | None:
    """Codes of the product ids in a file; raises UsageError when none of them is known."""
    if path is None:
        return None
    ids = read_ids(path)
    codes = dataset.products.vocab.codes(ids)
    if not np.any(codes >= 0):
        example = dataset.products.vocab.ids[0] if len(dataset.products) else "none"
        raise UsageError(f"none of the {len(ids)} ids in {path} is a known product; ids look like {example!r}")
    return codes
