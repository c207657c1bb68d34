"""MovieLens-1M, leave-one-out, ranked in full.

Source: the order file of SASRec (Kang and McAuley, ICDM 2018), shared by BERT4Rec and gSASRec (Petrov and Macdonald,
RecSys 2023, asash/gSASRec-pytorch): 6,040 customers, 3,416 films. The last film is asked from all before it, the one
held for validation among them. gSASRec has the shape and the loss of its ``config_ml1m.py``, in bfloat16 and
cut to 60 epochs, about two hours of one processor core. Seen films are masked, as
in gSASRec (``filter_rated=True``) and in antklen/sasrec-bert4rec-recsys23 (``filter_seen: True``). Inside, to tune on:
the second last film.

Films carry title, year, decade, all genres, and a tree of the first genre and the whole list; customers gender, age
band and occupation, the first two as groups.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from aisle.data.dataset import Dataset
from aisle.jobs.bench.protocols.read import dataset, file, leave_one_out, ordered, sasrec
from aisle.jobs.bench.split import Beat, Match, Protocol, Published, Split

FOLDER = "movielens_1m"
GSASREC: dict[str, Any] = {"dim": 256, "layers": 3, "heads": 1, "length": 200, "dropout": 0.1, "loss": "gbce"}
GSASREC |= {"negatives": "uniform", "n_negatives": 256, "precision": "bfloat16", "epochs": 60}


def load(folder: Path) -> Dataset:
    """All lines, one film a basket, with films and customers as known."""
    lines = ordered(pl.read_parquet(file(folder, FOLDER, "interactions_sequential_loo.parquet")), "movie_id")
    films = lines.select(pl.col("product_id").unique().sort()).join(
        _films(folder), on="product_id", how="left", maintain_order="left"
    )
    return dataset(lines, films, _customers(folder).join(lines, on="customer_id", how="semi"))


def split(data: Dataset, part: str) -> Split:
    """The last film of everybody."""
    return leave_one_out(data)


def _films(folder: Path) -> pl.DataFrame:
    items = pl.read_csv(file(folder, FOLDER, "movies.csv"), infer_schema_length=0)
    year = pl.col("title").str.extract(r"\((\d{4})\)$").cast(pl.Int64)
    return items.select(
        product_id="movie_id",
        name=pl.col("title").str.replace(r"\s*\(\d{4}\)$", ""),
        genres="genres",
        category_1=pl.col("genres").str.split("|").list.first(),
        category_2="genres",
        decade=(year // 10 * 10).cast(pl.String),
        release_year=year.cast(pl.Float64),
    )


def _customers(folder: Path) -> pl.DataFrame:
    users = pl.read_csv(file(folder, FOLDER, "users.csv"), infer_schema_length=0)
    return users.select("gender", "age", "occupation", customer_id="user_id", group_1="gender", group_2="age")


def _row(label: str, hit: float, ndcg: float, mark: str) -> Published:
    return Published(label, {"recall@10": hit, "ndcg@10": ndcg}, mark)


ROWS = (
    _row("SASRec, BCE", 0.2500, 0.1341, "antklen/sasrec-bert4rec-recsys23"),
    _row("BERT4Rec", 0.2843, 0.1537, "antklen/sasrec-bert4rec-recsys23"),
    _row("gSASRec", 0.3003, 0.1726, "asash/gSASRec-pytorch"),
    _row("eSASRec", 0.3133, 0.1772, "blondered/transformer_benchmark"),
    _row("FuXi-a", 0.3164, 0.1813, "blondered/transformer_benchmark"),
    _row("SASRec+ 3000", 0.3159, 0.1857, "antklen/sasrec-bert4rec-recsys23"),
)

MOVIELENS = Protocol(
    name="movielens_1m",
    title="MovieLens-1M, leave-one-out",
    load=load,
    split=split,
    metrics=("recall@10", "ndcg@10"),
    tuned_on="ndcg@10",
    published=ROWS,
    settings={"basket_transformer": sasrec(**GSASREC)},
    matches=(Match(label="gSASRec", recipe="basket_transformer:published", figures=ROWS[2].figures, within=0.03),),
    beats=(
        Beat(label="SASRec+, R@10", recipe="S", metric="recall@10", least=0.3159),
        Beat(label="SASRec+, N@10", recipe="S", metric="ndcg@10", least=0.1857),
        Beat(label="aim, R@10", recipe="S", metric="recall@10", least=0.325),
        Beat(label="aim, N@10", recipe="S", metric="ndcg@10", least=0.190),
    ),
    recipes=("popularity", "item_knn", "sequence_knn", "ease", "S"),
)
