"""Lists of categories, and lists for groups of customers: the lists of ``recommend``, added up along both trees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from aisle.bundle import Recommender
from aisle.data.dataset import Dataset
from aisle.data.nodes import ROOT, Nodes
from aisle.errors import UsageError
from aisle.features.groups import ALL, customer_groups, resolve
from aisle.rank.mass import DEPTH, GroupMasses, Masses, best_cells, place_masses, summed
from aisle.rank.rules import Rules
from aisle.types import UNKNOWN, Codes, Ints

PRODUCT = "product"
LEAF = "leaf"
EXAMPLES = 3
"""Products named beside a category, at most."""
SHRINKAGE = 5.0
"""Members with purchases that weigh as much as the sister groups."""
GROUP_ROWS = 256
"""Groups written at once."""


@dataclass(frozen=True, eq=False)
class Cut:
    """The catalogue cut at one level: C categories, each product in one of them."""

    name: str
    place: Codes
    """(I,) category of each product; the last one, C - 1, holds those without any."""
    names: pl.Series
    """(C,) full paths; null for the last."""
    tie_rank: Codes
    """(C,) who comes first where masses tie: by sales, then by name."""

    @classmethod
    def of(cls, dataset: Dataset, level: str) -> Cut:
        """Cut at a level of the product tree, or at ``leaf``: the deepest known category of each product.

        A product whose branch ends above the level stays in the category where it ends. Raises UsageError for a level
        that the products do not have.
        """
        tree = dataset.products.tree
        known = [one.name for one in tree]
        if level not in (*known, LEAF) or not tree:
            told = ", ".join((PRODUCT, *known, LEAF)) if tree else f"{PRODUCT}; the products have no category_1"
            raise UsageError(f"no level {level!r}; this data has {told}")
        deep = tree if level == LEAF else tree[: known.index(level) + 1]
        nodes = Nodes.of(deep, dataset.shape[1])
        names = pl.concat([*(one.vocab.ids for one in deep), pl.Series([None], dtype=pl.String)])
        place = np.where(nodes.place == ROOT, len(nodes), nodes.place).astype(np.int32) - 1
        sales = np.bincount(place, weights=dataset.popularity, minlength=len(names))
        order = np.lexsort((np.arange(len(names)), -sales))
        tie_rank = np.empty(len(order), dtype=np.int32)
        tie_rank[order] = np.arange(len(order))
        return cls(level, place, names, tie_rank)


def customer_lists(recommender: Recommender, ids: pl.Series, level: str, k: int, rules: Rules) -> pl.DataFrame:
    """Lists of categories for ids of the caller's own: ``customer_id, rank, category, share, products``."""
    cut = Cut.of(recommender.dataset, level)
    ids = ids.cast(pl.String).unique(maintain_order=True).rename("customer_id")
    codes = recommender.dataset.customers.vocab.codes(ids)
    frames = [
        _frame(masses, ids.slice(at, masses.shape[0]).to_frame(), cut, k, recommender.dataset)
        for at, masses in _blocks(recommender, codes, rules)
    ]
    if frames:
        return pl.concat(frames)
    empty = sp.csr_array((0, recommender.dataset.shape[1]), dtype=np.float64)
    return _frame(empty, ids.slice(0, 0).to_frame(), cut, k, recommender.dataset)


def group_lists(
    recommender: Recommender,
    customers: Codes,
    by: str,
    level: str,
    k: int,
    rules: Rules,
    *,
    shrinkage: float = SHRINKAGE,
) -> pl.DataFrame:
    """One list a group of these customers (N,): ``group, members, rank``, then ``category, share, products``, or
    ``product_id, share`` where the level is ``product``.

    Raises UsageError for a grouping or a level that the data does not have.
    """
    if not shrinkage >= 0:
        raise UsageError(f"shrinkage is {shrinkage}; give a number of at least 0")
    dataset = recommender.dataset
    cut = None if level == PRODUCT else Cut.of(dataset, level)
    masses, names, nodes = group_masses(recommender, customers, by, rules, shrinkage=shrinkage)
    nodes = nodes[masses.size[nodes] > 0]
    frames = []
    for at in range(0, max(len(nodes), 1), GROUP_ROWS):
        rows = nodes[at : at + GROUP_ROWS]
        members = pl.Series(masses.size[rows]).cast(pl.Int64)
        heads = pl.DataFrame({"group": names.gather(rows), "members": members})
        frames.append(_frame(masses.rows(rows), heads, cut, k, dataset))
    return pl.concat(frames)


def group_masses(
    recommender: Recommender, customers: Codes, by: str, rules: Rules, *, shrinkage: float = SHRINKAGE
) -> tuple[GroupMasses, pl.Series, Ints]:
    """Masses of all groups along the way to ``by``, names of the nodes (N,), and the nodes of the grouping itself.

    Customers are taken group by group, so that what stands in memory is one block of lists, and for each group no
    more cells than it lists products.
    """
    dataset = recommender.dataset
    by = resolve(by, dataset)
    parent, names, place, asked = _tree(recommender, by)
    customers = np.unique(customers[customers >= 0])
    node = place[customers]
    node[dataset.flag("no_profile")[customers]] = ROOT  # whoever opted out counts for everybody, not for a group
    order = np.argsort(node, kind="stable")
    customers, node = customers[order], node[order]
    shape = (len(parent), dataset.shape[1])
    parts = [sp.csr_array(shape, dtype=np.float64)]
    for at, masses in _blocks(recommender, customers, rules):
        rows = np.arange(masses.shape[0])
        mine = node[at : at + len(rows)]
        into = sp.csr_array((np.ones(len(rows)), (mine, rows)), shape=(shape[0], len(rows)))
        parts.append(sp.csr_array(into @ masses))
    cells = [part.tocoo() for part in parts]
    row, column = (np.concatenate([cell.coords[axis] for cell in cells]) for axis in (0, 1))
    sums = sp.csr_array((np.concatenate([cell.data for cell in cells]), (row, column)), shape=shape)
    seen = node[np.diff(dataset.indptr)[customers] > 0]
    members, evidence = (np.bincount(nodes, minlength=len(parent)).astype(np.int64) for nodes in (node, seen))
    return GroupMasses(parent, sums, members, evidence, shrinkage), names, asked


def _tree(recommender: Recommender, by: str) -> tuple[Codes, pl.Series, Codes, Ints]:
    """Parents (N,) and names (N,) of the nodes, node of every customer (U,), and the nodes of the grouping."""
    dataset = recommender.dataset
    everybody = pl.Series([ALL], dtype=pl.String)
    levels = [level.name for level in dataset.customers.tree]
    if by in levels:
        deep = dataset.customers.tree[: levels.index(by) + 1]
        nodes = Nodes.of(deep, dataset.shape[0])
        names = pl.concat([everybody, *(level.vocab.ids for level in deep)])
        asked = nodes.level(len(deep))
        return nodes.parent, names, nodes.place, np.arange(asked.start, asked.stop)
    names = pl.concat([everybody, _names(recommender, by)])
    segments = recommender.fallback.segments
    place = np.full(dataset.shape[0], ROOT, dtype=np.int32)
    for at in range(0, len(place) if by != ALL else 0, recommender.block_size):
        batch = dataset.batch(np.arange(at, min(at + recommender.block_size, len(place)), dtype=np.int32))
        code = customer_groups(by, batch, segments)
        place[at : at + len(batch)] = np.where((code >= 0) & (code < len(names) - 1), code + 1, ROOT)
    parent = np.full(len(names), ROOT, dtype=np.int32)
    parent[ROOT] = UNKNOWN
    return parent, names, place, np.arange(1, len(names)) if by != ALL else np.array([ROOT])


def _names(recommender: Recommender, by: str) -> pl.Series:
    """Names of the groups of a grouping that is no level of the tree."""
    dataset, segments = recommender.dataset, recommender.fallback.segments
    found = {level.name: level.vocab.ids for level in dataset.customers.categories}
    found |= {"store": dataset.stores.ids, "channel": dataset.channels.ids, ALL: pl.Series([], dtype=pl.String)}
    found["segment"] = pl.Series(segments.names if segments else [], dtype=pl.String)
    return found[by].cast(pl.String)


def _blocks(recommender: Recommender, customers: Codes, rules: Rules) -> Iterator[tuple[int, Masses]]:
    """Where each block of customers starts, and its masses (B, I)."""
    size = recommender.block_size
    for at in range(0, len(customers), size):
        batch = recommender.dataset.batch(customers[at : at + size])
        yield at, place_masses(recommender.lists(batch, DEPTH, rules).codes, batch.n_products)


def _frame(masses: Masses, heads: pl.DataFrame, cut: Cut | None, k: int, dataset: Dataset) -> pl.DataFrame:
    """The k heaviest products (no cut) or categories of each row, beside the columns of ``heads`` (R rows)."""
    if cut is None:
        row, place, code, share = best_cells(masses, dataset.tie_rank, k)
        what: dict[str, pl.Series] = {"product_id": dataset.products.vocab.names(code)}
    else:
        heavy = summed(masses, cut.place, len(cut.names))
        heavy.data[heavy.indices == len(cut.names) - 1] = 0.0  # what has no category is no category
        row, place, code, share = best_cells(heavy, cut.tie_rank, k)
        what = {"category": cut.names.gather(code)}
    columns = {"rank": pl.Series(place + 1, dtype=pl.Int32), **what, "share": pl.Series(share, dtype=pl.Float64)}
    if cut is not None:
        columns["products"] = _examples(masses, cut, (row, code), dataset)
    return heads[row].hstack([values.alias(name) for name, values in columns.items()])


def _examples(masses: Masses, cut: Cut, cells: tuple[Ints, Codes], dataset: Dataset) -> pl.Series:
    """(M,) JSON lists of the heaviest products of each (row, category), best first."""
    size = len(cut.names)
    row = np.repeat(np.arange(masses.shape[0]), np.diff(masses.indptr))
    key = row.astype(np.int64) * size + cut.place[masses.indices]
    order = np.lexsort((dataset.tie_rank[masses.indices], -masses.data, key))
    key, code = key[order], masses.indices[order].astype(np.int32)
    ids = dataset.products.vocab.names(code).to_list()
    asked = cells[0].astype(np.int64) * size + cells[1]
    start, stop = np.searchsorted(key, asked), np.searchsorted(key, asked, side="right")
    texts = [
        json.dumps(ids[low : min(high, low + EXAMPLES)], ensure_ascii=False)
        for low, high in zip(start.tolist(), stop.tolist(), strict=True)
    ]
    return pl.Series(texts, dtype=pl.String)
