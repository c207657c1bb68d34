"""``aisle recommend``: open a bundle, write lists of products or categories, for customers or groups of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from aisle.bundle import RECOMMENDATIONS, Recommender, load
from aisle.data.dataset import Dataset
from aisle.errors import UsageError
from aisle.files import atomic, write_parquet
from aisle.jobs.ingest import read_ids
from aisle.jobs.levels import PRODUCT, SHRINKAGE, customer_lists, group_lists
from aisle.jobs.output import escape_formulas
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


def recommend(bundle: Path, out: Path, wanted: Wanted | None = None, progress: Progress | None = None) -> int:
    """Write lists of a bundle to ``out`` (.parquet or .csv); returns the rows written.

    Ids that the bundle does not know get the popularity list under their own id. Raises UsageError for a wrong suffix,
    level or grouping.
    """
    wanted, progress = wanted or Wanted(), progress or Progress()
    if out.suffix not in (".parquet", ".csv"):
        raise UsageError(f"--out is {out}; it must end in .parquet or .csv")
    recommender = load(bundle)
    vocab = recommender.dataset.customers.vocab
    ids = vocab.ids if wanted.customers is None else read_ids(wanted.customers)
    only = only_codes(recommender.dataset, wanted.only_products)
    rules = recommender.rules(repeats=wanted.repeats, only=only, variants=wanted.variants)
    recommender = recommender.searching(wanted.search, least_recall=wanted.least_recall, customers=len(ids))
    if wanted.by is None and wanted.level == PRODUCT:
        search_prepared(recommender, rules, wanted.k, progress)
    with progress.step("Writing lists") as tick:
        if wanted.by is None:
            frame = lists_at(recommender, ids, wanted.level, wanted.k, rules)
        else:
            codes, level, k = vocab.codes(ids), wanted.level, wanted.k
            frame = group_lists(recommender, codes, wanted.by, level, k, rules, shrinkage=wanted.shrinkage)
        tick(1, 1)
    if out.suffix == ".parquet":
        write_parquet(out, frame)
    else:
        with atomic(out) as temporary:
            escape_formulas(frame).write_csv(temporary)
    return frame.height


def search_prepared(recommender: Recommender, rules: Rules, k: int, progress: Progress) -> dict[str, Any]:
    """How lists of k will be searched (``lists.search`` of the certificate); an index that was asked for is built."""
    if recommender.plan.kind == "exact":
        return recommender.search_told(rules, k)
    with progress.step("Preparing the search"):
        return recommender.search_told(rules, k)


def lists_at(recommender: Recommender, ids: pl.Series, level: str, k: int, rules: Rules) -> pl.DataFrame:
    """Lists of products, or of categories of a level, for ids of the caller's own."""
    if level == PRODUCT:
        return lists_for(recommender, ids, k, rules)
    return customer_lists(recommender, ids, level, k, rules)


def lists_for(recommender: Recommender, ids: pl.Series, k: int, rules: Rules) -> pl.DataFrame:
    """Lists for ids of the caller's own, in their order, unknown ones included; repeated ids are answered once."""
    ids = ids.cast(pl.String).unique(maintain_order=True)
    codes = recommender.dataset.customers.vocab.codes(ids)
    size = recommender.block_size_for(rules)
    frames = [
        recommender.frame(recommender.dataset.batch(codes[at : at + size]), k, rules, ids.slice(at, size))
        for at in range(0, len(codes), size)
    ]
    return pl.concat(frames) if frames else pl.DataFrame(schema=RECOMMENDATIONS)


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
