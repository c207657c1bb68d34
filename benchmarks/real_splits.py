"""Every real data set with a signal, each under its usual split: what comes last is foretold from what came before.

Shops with dates are cut at a moment (repeats allowed, products known at the cut are listed, customers who bought
before it count). Data in order lose each customer's last basket or product, data without order their published test
part; what never repeats in the data is never listed again. The catalogue is always ranked whole; where customers times
products pass ``MAX_CELLS``, some customers are drawn.

Complete Journey has two files of purchases. The baskets of ReCaNet miss what lies between a household's first and last
visits, so nothing can be foretold from them; the sample of lines of 2017 is thin but even, so it is used, with a
quarter asked since a household has some eight lines a quarter. The retail case study is left out: it has no signal.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import polars as pl
import scipy.sparse as sp

import aisle
from aisle.data.dataset import Dataset
from aisle.data.schema import CleanTables
from aisle.data.split import Window, truth
from aisle.types import DAY, Codes
from benchmarks import classics_tafeng, movielens_protocol, online_retail_protocol
from benchmarks.anchors import Split, data_folder

MAX_CELLS = 300_000_000
"""Customers scored times products."""
NOBODY = pl.DataFrame(schema={"customer_id": pl.String})
NOTHING = pl.DataFrame(schema={"product_id": pl.String})


def temporal(folder: str, days: int) -> Split:
    """The last days of a shop, read as ``aisle run`` reads it."""
    data = aisle.read(data_folder(folder))
    return _window(data, data.end - days * DAY, data.end, repeats=True)


def online_retail_ii() -> Split:
    """Three months, by the protocol of the anchor."""
    return online_retail_protocol.split()


def tafeng() -> Split:
    """The future basket of everybody, from the history."""
    return _window(classics_tafeng.dataset(), 0, 1, repeats=True)


def movielens_100k() -> Split:
    """Ratings of 4 and more, the last fifth of each customer, with their dates."""
    return movielens_protocol.split("100k-chronological")


def movielens_1m() -> Split:
    """The last film of each customer, in the order file of SASRec and BERT4Rec, with films and customers as known."""
    lines = pl.read_parquet(data_folder("movielens_1m") / "interactions_sequential_loo.parquet")
    films = movielens_protocol.films_1m()
    ids = lines.select(_text("movie_id", "product_id")).unique()
    return leave_one_out(_ordered(lines, "movie_id"), films.products.join(ids, on="product_id"), films.customers)


def amazon_s3rec(name: str) -> Split:
    """The last product of each customer; the attributes of a product stand in one text, since it has several."""
    folder = data_folder("amazon_s3rec")
    lines = pl.read_parquet(folder / f"{name}.parquet")
    held = json.loads((folder / f"{name}_item2attributes.json").read_text(encoding="utf-8"))
    products = pl.DataFrame({"product_id": list(held), "attributes": ["|".join(map(str, v)) for v in held.values()]})
    return leave_one_out(_ordered(lines, "item_id"), products, NOBODY)


def beauty_bert4rec() -> Split:
    """The last product of each customer, of BERT4Rec's preparation."""
    lines = pl.read_parquet(data_folder("beauty_bert4rec") / "beauty.parquet")
    return leave_one_out(_ordered(lines, "item_id"), NOTHING, NOBODY)


def gowalla() -> Split:
    """The published test part; without order, so one basket a customer."""
    folder = data_folder("gowalla_lightgcn")
    train, test = (
        pl.read_parquet(folder / f"{part}.parquet").select(
            _text("user_id", "customer_id"), _text("item_id", "product_id")
        )
        for part in ("train", "test")
    )
    products = pl.concat([train, test]).select(pl.col("product_id").unique().sort())
    lines = train.with_columns(sequence=pl.lit(0, dtype=pl.Int64), quantity=pl.lit(1.0))
    return _hidden(lines, test, products, train.select(pl.col("customer_id").unique().sort()))


def leave_one_out(lines: pl.DataFrame, products: pl.DataFrame, customers: pl.DataFrame) -> Split:
    """Each customer's last line is hidden; lines are (customer_id, product_id, sequence)."""
    last = pl.col("sequence") == pl.col("sequence").max().over("customer_id")
    held = lines.select(last.alias("last"))["last"]
    named = pl.concat([products, lines.select(pl.col("product_id").unique())], how="diagonal").unique(
        "product_id", keep="first", maintain_order=True
    )
    people = customers if customers.height else lines.select(pl.col("customer_id").unique().sort())
    return _hidden(lines.filter(~held), lines.filter(held), named, people)


SPLITS: dict[str, Callable[[], Split]] = {
    "online_retail_ii": online_retail_ii,
    "dunnhumby_sort_of_real": lambda: temporal("dunnhumby_sort_of_real", 28),
    "complete_journey_sample": lambda: temporal("complete_journey_sample", 91),
    "tafeng_nbr": tafeng,
    "movielens_100k": movielens_100k,
    "movielens_1m": movielens_1m,
    "gowalla_lightgcn": gowalla,
    "beauty_bert4rec": beauty_bert4rec,
    "amazon_s3rec_beauty": lambda: amazon_s3rec("Beauty"),
    "amazon_s3rec_sports": lambda: amazon_s3rec("Sports_and_Outdoors"),
}


def _window(data: Dataset, cut: int, end: int, *, repeats: bool) -> Split:
    answer = truth(data, Window(cut, end))
    known = answer.known
    who = np.flatnonzero(answer.warm & (answer.bought @ known.astype(np.float32) > 0))
    return Split(data.before(cut), answer.bought, _some(who, int(known.sum())), repeats=repeats, candidates=known)


def _hidden(lines: pl.DataFrame, hidden: pl.DataFrame, products: pl.DataFrame, customers: pl.DataFrame) -> Split:
    data = Dataset.of(CleanTables(transactions=lines, products=products, customers=customers))
    rows = data.customers.vocab.codes(hidden["customer_id"])
    columns = data.products.vocab.codes(hidden["product_id"])
    wanted = sp.csr_array((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=data.shape)
    wanted.sort_indices()
    return Split(data, wanted, _some(np.flatnonzero(np.diff(wanted.indptr)), data.shape[1]))


def _some(customers: np.ndarray, products: int) -> Codes:
    """All customers, or as many as may be scored."""
    limit = max(MAX_CELLS // products, 1)
    if len(customers) > limit:
        customers = np.sort(np.random.default_rng(0).choice(customers, limit, replace=False))
    return customers.astype(np.int32)


def _ordered(lines: pl.DataFrame, product: str) -> pl.DataFrame:
    """Lines by place: each product is a basket of its own."""
    return lines.select(
        _text("user_id", "customer_id"),
        _text(product, "product_id"),
        sequence=pl.col("position").cast(pl.Int64),
        quantity=pl.lit(1.0),
    )


def _text(column: str, name: str) -> pl.Expr:
    return pl.col(column).cast(pl.String).alias(name)


def described(name: str, asked: Split) -> dict[str, object]:
    """What a split holds, in figures."""
    candidates = asked.candidates if asked.candidates is not None else np.ones(asked.data.shape[1], dtype=bool)
    everyone = int((np.diff(asked.wanted.indptr) > 0).sum())
    return {
        "data": name,
        "clock": asked.data.clock,
        "lines": len(asked.data.purchases),
        "customers": int((np.diff(asked.data.indptr) > 0).sum()),
        "products": asked.data.shape[1],
        "candidates": int(candidates.sum()),
        "customers_scored": len(asked.customers),
        "customers_with_truth": everyone,
        "repeats": asked.repeats,
    }
