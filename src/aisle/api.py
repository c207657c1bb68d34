"""The Python face: read, fit, ask, evaluate, save, load. The caller's own ids and frames everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl

from aisle.bundle import Recommender, load, save
from aisle.config import DateOrder, RunConfig
from aisle.data.dataset import Dataset
from aisle.data.frames import as_polars, like
from aisle.data.schema import CleanTables
from aisle.errors import UsageError
from aisle.features.copurchase import Limits, Measure
from aisle.jobs.assess import Assessment
from aisle.jobs.cache import ingest
from aisle.jobs.check import check as _check
from aisle.jobs.due import due as _due
from aisle.jobs.ingest import build_dataset, clean_frames
from aisle.jobs.levels import PRODUCT, SHRINKAGE, group_lists
from aisle.jobs.lists import lists_at
from aisle.jobs.newcomers import NewLists, recommend_newcomers
from aisle.jobs.ranks import ranks_for
from aisle.jobs.run import RunResult
from aisle.jobs.run import run as _run
from aisle.jobs.similar import similar as _similar
from aisle.jobs.similar import similar_customers as _similar_customers
from aisle.jobs.together import together
from aisle.jobs.train import fit as _fit
from aisle.jobs.vectors import customer_frame, product_frame
from aisle.models import create
from aisle.progress import Progress
from aisle.types import Codes, Repeats, Variants

__all__ = [
    "check",
    "due",
    "evaluate",
    "fit",
    "load",
    "ranks",
    "read",
    "recommend",
    "recommend_groups",
    "recommend_new",
    "rules",
    "run",
    "save",
    "similar",
    "similar_customers",
    "vectors",
]


def check(source: str | Path, *, out: str | Path | None = None, **settings: Any) -> CleanTables:
    """Clean tables, rejects and findings of a source; see ``aisle check``."""
    return _check(source, out=Path(out) if out is not None else None, config=RunConfig(**settings))


def read(
    source: Any, *, products: Any = None, customers: Any = None, cache: str | Path | None = None, **settings: Any
) -> Dataset:
    """A Dataset of a folder, file, database URL, or of transactions given as a pandas, Polars or Arrow frame.

    Frames use the canonical column names (``customer_id, product_id, timestamp, quantity, …``). ``settings`` are those
    of ``RunConfig`` (``at``, ``date_order``, ``no_profile``, …). ``cache`` is a folder that keeps what was read of
    files, so that the same data are there at once the next time. Raises DataError for data that cannot be trusted.
    """
    config = RunConfig(**settings)
    if isinstance(source, str | Path):
        return ingest(source, config, folder=None if cache is None else Path(cache)).dataset
    frames = {"transactions": source, "products": products, "customers": customers}
    given = {name: as_polars(frame) for name, frame in frames.items() if frame is not None}
    return build_dataset(clean_frames(given, config), config)


def fit(
    data: Dataset,
    model: str = "personal_frequency",
    *,
    checkpoint: str | Path | None = None,
    cold_by_model: bool = False,
    **settings: Any,
) -> Recommender:
    """A recommender around one model of the line-up, fitted on everything the Dataset shows.

    ``checkpoint``, for models that learn in epochs or are fitted by parts, is a folder that keeps the training, or its
    parts: the same call goes on where a stopped one was. ``cold_by_model`` asks the model for customers without
    purchases too, where it can tell them apart, in place of what sells in their group: worth it where ``evaluate``
    found it to be (``found.cold_by_model``).
    Raises UsageError for an unknown model or setting, with those that are known.
    """
    folder = None if checkpoint is None else Path(checkpoint)
    fitted = _fit(create(model, **settings), data, checkpoint=folder)
    return Recommender.prepare(fitted, data, cold_by_model=cold_by_model)


def recommend(
    recommender: Recommender,
    customer_ids: Any = None,
    *,
    k: int = 10,
    repeats: Repeats = "mixed",
    only_products: Sequence[str] | None = None,
    variants: Variants = "one",
    level: str = PRODUCT,
) -> Any:
    """Lists as in ``recommendations.parquet``, k rows a customer; ids may be a list, a series or None = everybody.

    A list holds the best variant of each product alone, or all of them (``variants="all"``). With a ``level`` of the
    product tree (``category_1`` …, ``leaf``) the lists are of categories: ``customer_id, rank, category, share,
    products``. A pandas series or frame column in gives a pandas frame back, an Arrow array an Arrow table, all else
    Polars.
    """
    _check_k(k)
    dataset = recommender.dataset
    ids = dataset.customers.vocab.ids if customer_ids is None else pl.Series(_ids(customer_ids), dtype=pl.String)
    rules = recommender.rules(repeats=repeats, only=_only(recommender, only_products), variants=variants)
    return like(lists_at(recommender, ids, level, k, rules), customer_ids)


def recommend_groups(  # noqa: PLR0913  (options by name, those of the command line)
    recommender: Recommender,
    by: str,
    customer_ids: Any = None,
    *,
    k: int = 10,
    level: str = PRODUCT,
    repeats: Repeats = "mixed",
    only_products: Sequence[str] | None = None,
    variants: Variants = "one",
    shrinkage: float = SHRINKAGE,
) -> Any:
    """One list a group of customers, of products or of categories; ids limit whose lists count, None = everybody.

    ``by`` is a level of the customer tree (``group_1`` …), ``store``, ``channel``, ``segment``, an attribute, or
    ``all``. Gives ``group, members, rank``, then ``product_id, share`` or ``category, share, products``. What is added
    up are the lists of the members, with one variant of each product in a list or all of them, as in ``recommend``.
    Groups with few members are shrunk towards their sisters: ``shrinkage`` members with purchases weigh as much as
    those.
    """
    _check_k(k)
    vocab = recommender.dataset.customers.vocab
    ids = vocab.ids if customer_ids is None else pl.Series(_ids(customer_ids), dtype=pl.String)
    rules = recommender.rules(repeats=repeats, only=_only(recommender, only_products), variants=variants)
    frame = group_lists(recommender, vocab.codes(ids), by, level, k, rules, shrinkage=shrinkage)
    return like(frame, customer_ids)


def recommend_new(
    recommender: Recommender,
    transactions: Any = None,
    customers: Any = None,
    *,
    k: int = 10,
    repeats: Repeats = "mixed",
    only_products: Any = None,
    variants: Variants = "one",
    date_order: DateOrder | None = None,
) -> NewLists:
    """Lists for people who are not in the data, from their purchases, their attributes, or both; nothing is refitted.

    Frames use the canonical column names; ``customer_id`` is the caller's own and means nobody in the data. Purchases
    without a time are one basket, bought just now. ``unused`` of the result names everything of the frames that played
    no part, such as products the model does not know. The kind of frame follows the first one given.
    """
    if transactions is None and customers is None:
        raise UsageError("give transactions, customers, or both, as frames")
    _check_k(k)
    given = transactions if transactions is not None else customers
    bought, people = (None if frame is None else as_polars(frame) for frame in (transactions, customers))
    rules = recommender.rules(repeats=repeats, only=_only(recommender, only_products), variants=variants)
    found = recommend_newcomers(recommender, bought, people, k, rules, RunConfig(date_order=date_order))
    return NewLists(like(found.lists, given), like(found.unused, given))


def ranks(
    recommender: Recommender,
    customer_ids: Any,
    product_ids: Any,
    *,
    repeats: Repeats = "mixed",
    only_products: Any = None,
    variants: Variants = "one",
) -> Any:
    """The place of each (customer, product) pair in the customer's list, were it to hold every candidate.

    Takes two columns of equal length; gives ``customer_id, product_id, rank, candidates``, one row a pair in the order
    given. ``rank`` is 1 for the best and null for a product that is unknown or must not be listed; ``candidates`` is
    how long the list would be.
    """
    customer, product = (_ids(ids, blanks="refuse") for ids in (customer_ids, product_ids))
    if len(customer) != len(product):
        raise UsageError(f"{len(customer)} customers and {len(product)} products are no pairs; give one of each a pair")
    rules = recommender.rules(repeats=repeats, only=_only(recommender, only_products), variants=variants)
    customers, products = (pl.Series(ids, dtype=pl.String) for ids in (customer, product))
    return like(ranks_for(recommender, customers, products, rules), customer_ids)


def similar(recommender: Recommender, product_ids: Any, *, k: int = 10) -> Any:
    """Products alike, the query itself left out: by the vectors of a model that has them, else by who bought them.

    Gives ``product_id, rank, similar_id, score``, the score being a cosine above 0. The frame kind follows
    ``product_ids``.
    """
    return like(_similar(recommender, _ids(product_ids), k=k), product_ids)


def similar_customers(recommender: Recommender, customer_ids: Any, *, k: int = 10) -> Any:
    """Customers alike, the query itself left out: by the vectors of a model that has them, else by what they bought.

    Gives ``customer_id, rank, similar_id, score``, the score being a cosine above 0. Customers who opted out of
    profiling neither are listed nor get rows. The frame kind follows ``customer_ids``.
    """
    return like(_similar_customers(recommender, _ids(customer_ids), k=k), customer_ids)


def rules(
    recommender: Recommender,
    product_ids: Any = None,
    *,
    k: int | None = 10,
    by: Measure = "lift",
    min_support: int = 2,
    min_confidence: float = 0.0,
    min_lift: float = 0.0,
) -> Any:
    """What is bought together: association rules from each product to the k best others by ``by``, None = all products.

    Gives ``product_id, rank, with_id, baskets, support, confidence, lift, leverage``: of all baskets, anonymous ones
    included, ``baskets`` hold both, at least ``min_support``. ``by`` is lift, confidence, leverage, cosine or support;
    k None keeps every rule. The frame kind follows ``product_ids``.
    """
    limits = Limits(min_support=min_support, min_confidence=min_confidence, min_lift=min_lift)
    ids = None if product_ids is None else _ids(product_ids)
    return like(together(recommender, ids, k=k, by=by, limits=limits), product_ids)


def due(recommender: Recommender, customer_ids: Any, *, k: int = 10) -> Any:
    """Own products that come round again: when each is expected, and the chance that it is bought in the next window.

    Gives ``customer_id, rank, product_id, chance, window_days, times, last_date, usual_gap, due_date, due_in``, the k
    of the largest chance first; ``due_in`` days below 0 are overdue. Reckoned by ``repeat_hazard``: by the model itself
    where it is one, else by one fitted for the question. Customers who opted out of profiling get no rows. The frame
    kind follows ``customer_ids``.
    """
    return like(_due(recommender, _ids(customer_ids), k=k), customer_ids)


def vectors(recommender: Recommender, *, product_ids: Any = None, customer_ids: Any = None) -> Any:
    """What a model that embeds has learnt of products or customers: a frame with a fixed-size list column ``vector``.

    Products: ``product_id, bias, vector``. Customers: ``customer_id, taste, bias, vector``, a row for each taste; null
    for those who opted out of profiling. The inner product of two vectors, the largest over tastes, plus both biases
    is the score of what the customer has not bought, where the model's similarity is the inner product. Raises
    UsageError for a model without vectors.
    """
    if (product_ids is None) == (customer_ids is None):
        raise UsageError("give either product_ids or customer_ids")
    if product_ids is not None:
        return like(product_frame(recommender, _ids(product_ids)), product_ids)
    return like(customer_frame(recommender, _ids(customer_ids)), customer_ids)


def evaluate(data: Dataset, models: Sequence[str] = (), **settings: Any) -> Assessment:
    """Measure models on rolling windows and a last window never used for tuning; see ``aisle run``."""
    from aisle.jobs.assess import assess_dataset

    return assess_dataset(data, RunConfig(models=tuple(models), **settings))


def run(source: str | Path, out: str | Path, **settings: Any) -> RunResult:
    """The main job: what ``aisle run`` does."""
    return _run(source, Path(out), RunConfig(**settings), Progress())


def _check_k(k: int) -> None:
    if k < 1:
        raise UsageError(f"k is {k}; give a whole number of at least 1")


def _only(recommender: Recommender, only_products: Any) -> Codes | None:
    """Codes of the products that alone may be listed; raises UsageError when none of them is known."""
    if only_products is None:
        return None
    codes = recommender.dataset.products.vocab.codes(_ids(only_products))
    if not (codes >= 0).any():
        raise UsageError(f"none of the {len(codes)} ids in only_products is a known product")
    return codes


def _ids(values: Any, *, blanks: Literal["skip", "refuse"] = "skip") -> list[str]:
    """Ids as text: 17850 and 17850.0 (what pandas makes of ids with gaps) are "17850"; blanks are left out."""
    if isinstance(values, str):
        raise UsageError(f"give a list of ids, not the text {values!r}: [{values!r}]")
    if hasattr(values, "columns"):
        raise UsageError(f"give one column of ids, not a whole {type(values).__name__}")
    tolist = getattr(values, "to_list", None) or getattr(values, "to_pylist", None) or getattr(values, "tolist", None)
    listed = list(tolist() if tolist else values)
    some = [value for value in listed if value is not None and value == value]  # NaN is a blank too
    if blanks == "refuse" and len(some) < len(listed):
        raise UsageError(f"{len(listed) - len(some)} of {len(listed)} ids are blank; give every pair both ids")
    return [str(int(value) if isinstance(value, float) and value.is_integer() else value) for value in some]
