"""Ten products a customer from a fitted model: those of ``Recommender``, with its rules, and with reasons in words.

item-kNN scores every product of every customer, so its limit is memory: each score is written and read once. iALS has
vectors, so its limit is a product of matrices. Others list from their own models of the same kind, with no rules but
that bought products may be listed; RecTools gives a table with ids.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from aisle.jobs.bench.speed import rivals
from aisle.jobs.bench.speed.fit import IMPORTS
from aisle.jobs.bench.speed.pieces import MODELS, read_matrix
from aisle.jobs.bench.speed.rivals import K
from aisle.jobs.bench.speed.task import Json, Pair, Place, Side, Task, Work

ASKED = 20_000
"""Customers at most: as many as tell the rate."""
BYTES_A_SCORE = 2 * 4


def ours(name: str, place: Place, asked: int | None = ASKED, words: bool = False) -> Work:
    """Lists of ``asked`` customers at most, None = everybody, as codes or as the table of a run."""
    from aisle.bundle.store import load

    recommender = load(place.path(f"model {name}"))
    data, rules = recommender.dataset, recommender.rules()
    customers = np.arange(data.shape[0], dtype=np.int32)[:asked]
    size = recommender.block_size_for(rules)
    starts = range(0, len(customers), size)

    def codes() -> int:
        return sum(len(recommender.lists(data.batch(customers[at : at + size]), K, rules).codes) for at in starts)

    def table() -> int:
        blocks = (recommender.frame(data.batch(customers[at : at + size]), K, rules) for at in starts)
        return sum(frame["customer_id"].n_unique() for frame in blocks)

    return Work(table if words else codes, lambda found: _told(name, found, data.shape[1]))


def _implicit(name: str, place: Place) -> Work:
    bought = read_matrix(place)
    empty = rivals.implicit_model(name, MODELS[name], place.size.threads)
    model = type(empty).load(str(place.path(f"implicit {name}.npz")))
    model.num_threads = place.size.threads
    customers = np.arange(bought.shape[0])[:ASKED]
    rows = bought[customers]

    def run() -> Any:
        return model.recommend(customers, rows, N=K, filter_already_liked_items=False)

    return Work(run, lambda found: _told(name, len(found[0]), bought.shape[1]))


def _rectools(name: str, place: Place) -> Work:
    bought = read_matrix(place)
    data = rivals.rectools_dataset(bought)
    model = rivals.rectools_model(name, MODELS[name], place.size.threads).fit(data)
    customers = data.user_id_map.external_ids[:ASKED]
    return Work(
        lambda: model.recommend(customers, data, k=K, filter_viewed=False),
        lambda found: _told(name, len(customers), bought.shape[1]),
    )


def _told(name: str, customers: int, products: int) -> Json:
    scores = customers * products
    work = {"gigabytes": scores * BYTES_A_SCORE / 1e9}
    if name == "ials":
        work = {"gflop": 2.0 * scores * MODELS[name]["dim"] / 1e9}
    return {"customers": customers, **work}


def _sides(name: str) -> tuple[Side, ...]:
    pieces, imports = (f"model {name}",), (*IMPORTS[name], "aisle.bundle.store", "aisle.rank.by_vectors")
    known = ("matrix", f"implicit {name}.npz")
    return (
        Side(name=name, ready=partial(ours, name), pieces=pieces, imports=imports),
        Side(name=f"implicit {name}", ready=partial(_implicit, name), pieces=known, rival="implicit"),
        Side(name=f"RecTools {name}", ready=partial(_rectools, name), pieces=("matrix",), rival="rectools"),
        Side(name=f"{name}, in words", ready=partial(ours, name, words=True), pieces=pieces, imports=imports),
    )


TASK = Task(
    name="lists",
    title="Lists of ten",
    about=f"At most {ASKED:,} customers of the retailer asked; *in words*: the table of a run, with ids and reasons.",
    sides=_sides("item_knn") + _sides("ials"),
    pairs=(
        Pair(ours="item_knn", theirs="implicit item_knn"),
        Pair(ours="item_knn", theirs="memory read", limit="gigabytes"),
        Pair(ours="item_knn, in words", theirs="RecTools item_knn"),
        Pair(ours="item_knn, in words", theirs="item_knn"),
        Pair(ours="ials", theirs="implicit ials"),
        Pair(ours="ials", theirs="bfloat16 product", limit="gflop"),
        Pair(ours="ials, in words", theirs="RecTools ials"),
        Pair(ours="ials, in words", theirs="ials"),
    ),
)
