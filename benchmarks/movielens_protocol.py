"""MovieLens as published recommenders split it: who liked which film, a fifth of it hidden.

``split("100k-random", seed)``: ratings of 4 and more, each cell kept in train with probability .8. ``split(
"100k-chronological")``: the same cells, the last fifth of each customer hidden. ``split("1m-random", seed)``: every
rating. A random split has no order of time, so its training data are one basket a customer, never timestamps.
Seen films are never listed; every film of the table is a candidate; a customer counts who has a hidden film.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import polars as pl
import scipy.sparse as sp

from aisle.data.dataset import Dataset
from aisle.data.schema import CleanTables
from aisle.types import Clock
from benchmarks.anchors import Split, data_folder

Genres: TypeAlias = Literal["flags", "text"]
TRAIN, TUNE = 0.8, 0.9
"""Shares of the cells that are kept: of all, and of the training cells while settings are tuned."""
INNER = 100
"""Added to the seed of a split for the one inside it."""
LIKED = 4
AGES = (18, 25, 35, 45, 50, 56)
"""First years of the age bands of MovieLens 1M."""
LOST = ("", "unknown", "unkonwn")
"""What the files write for a missing title, year or genre."""


@dataclass(frozen=True, eq=False)
class Films:
    """Customers, films and the cells of who liked what (customer_id, product_id and, where known, timestamp)."""

    lines: pl.DataFrame
    products: pl.DataFrame
    customers: pl.DataFrame


def split(name: str, seed: int = 0, *, clock: Clock = "time", genres: Genres = "flags") -> Split:
    """A split by name; ``seed`` is that of the random ones, ``clock`` how the chronological one tells its order."""
    if name == "100k-random":
        return random_split(films_100k(genres), seed)
    if name == "100k-chronological":
        return chronological_split(films_100k(genres), clock=clock)
    if name == "1m-random":
        return random_split(films_1m(genres), seed)
    raise SystemExit(f"no split {name!r}; known: 100k-random, 100k-chronological, 1m-random")


def random_split(films: Films, seed: int, share: float = TRAIN) -> Split:
    """Each cell, in the order of the file, stays with probability ``share``; one basket a customer, without order."""
    kept = np.random.default_rng(seed).random(films.lines.height) < share
    train = films.lines.filter(pl.Series(kept))
    unordered = train.select("customer_id", "product_id", sequence=pl.lit(0, dtype=pl.Int64), quantity=pl.lit(1.0))
    return _split(
        replace(films, lines=unordered),
        films.lines.filter(pl.Series(~kept)),
        lambda: random_split(replace(films, lines=train), seed + INNER, TUNE),
    )


def chronological_split(films: Films, share: float = TRAIN, clock: Clock = "time") -> Split:
    """The first ``share`` of each customer's cells, rounded down, are learned from.

    Films of one second, which are many, go by their number, as in the figures published elsewhere.
    ``clock="sequence"`` gives the order within each customer alone (one second = one basket), ``"time"`` the moments
    themselves.
    """
    lines = films.lines.sort("timestamp", pl.col("product_id").cast(pl.Int64))
    place = pl.int_range(pl.len()).over("customer_id")
    kept = lines.select((place < (pl.len().over("customer_id") * share).floor()).alias("kept"))["kept"]
    train = lines.filter(kept)
    when = {"time": pl.from_epoch("timestamp").cast(pl.Datetime("us")).alias("timestamp")}
    when["sequence"] = pl.col("timestamp").cast(pl.Int64).alias("sequence")
    ordered = train.select("customer_id", "product_id", when[clock], quantity=pl.lit(1.0))
    return _split(
        replace(films, lines=ordered),
        lines.filter(~kept),
        lambda: chronological_split(replace(films, lines=train), TUNE, clock),
    )


def films_100k(genres: Genres = "flags") -> Films:
    """MovieLens 100K: ratings of 4 and more."""
    folder = data_folder("movielens_100k")
    rated = pl.read_csv(folder / "interactions.csv").filter(pl.col("rating") >= LIKED)
    lines = rated.select(_id("user_id", "customer_id"), _id("item_id", "product_id"), "timestamp")
    items = pl.read_csv(folder / "items.csv", infer_schema_length=0, null_values=list(LOST))
    year = pl.col("release_year").cast(pl.Int64, strict=False)
    films = _films(items, "item_id", name=pl.col("movie_title"), year=year, genres=pl.col("class").str.split(" "))
    users = pl.read_csv(folder / "users.csv", infer_schema_length=0)
    age = pl.col("age").cast(pl.Int64).cut(list(AGES), left_closed=True).cast(pl.String)
    customers = users.select(_id("user_id", "customer_id"), "gender", "occupation", age=age)
    return Films(lines, _with_genres(films, genres), customers)


def films_1m(genres: Genres = "flags") -> Films:
    """MovieLens 1M: every rating counts, in the order of the file; the copy has neither ratings nor times."""
    folder = data_folder("movielens_1m")
    lines = pl.read_parquet(folder / "interactions_all.parquet").select(
        _id("user_id", "customer_id"), _id("movie_id", "product_id")
    )
    items = pl.read_csv(folder / "movies.csv", infer_schema_length=0)
    items = items.filter(pl.col("movie_id").is_in(lines["product_id"].unique().to_list()))
    films = _films(
        items,
        "movie_id",
        name=pl.col("title").str.replace(r"\s*\(\d{4}\)$", ""),
        year=pl.col("title").str.extract(r"\((\d{4})\)$").cast(pl.Int64),
        genres=pl.col("genres").str.split("|"),
    )
    users = pl.read_csv(folder / "users.csv", infer_schema_length=0)
    customers = users.select(_id("user_id", "customer_id"), "gender", "age", "occupation")
    return Films(lines, _with_genres(films, genres), customers)


def _films(items: pl.DataFrame, key: str, *, name: pl.Expr, year: pl.Expr, genres: pl.Expr) -> pl.DataFrame:
    """Films with title, year, decade and the list of their genres."""
    table = items.select(_id(key, "product_id"), name=name, year=year, genres=genres)
    decade = (pl.col("year") // 10 * 10).cast(pl.String)
    return table.select("product_id", "name", "genres", decade=decade, release_year=pl.col("year").cast(pl.Float64))


def _with_genres(films: pl.DataFrame, form: Genres) -> pl.DataFrame:
    """Genres as one text ``Action|Comedy``, or as one flag each."""
    if form == "text":
        return films.with_columns(pl.col("genres").list.join("|"))
    known = sorted(set(films["genres"].explode().drop_nulls().to_list()) - set(LOST))
    flags = [pl.col("genres").list.contains(genre).fill_null(value=False).alias(f"genre {genre}") for genre in known]
    return films.with_columns(flags).drop("genres")


def _split(train: Films, hidden: pl.DataFrame, inner: Callable[[], Split]) -> Split:
    data = Dataset.of(CleanTables(transactions=train.lines, products=train.products, customers=train.customers))
    rows = data.customers.vocab.codes(hidden["customer_id"])
    columns = data.products.vocab.codes(hidden["product_id"])
    wanted = sp.csr_array((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=data.shape)
    wanted.sort_indices()
    return Split(data, wanted, np.flatnonzero(np.diff(wanted.indptr)).astype(np.int32), inner=inner)


def _id(column: str, name: str) -> pl.Expr:
    return pl.col(column).cast(pl.String).alias(name)
