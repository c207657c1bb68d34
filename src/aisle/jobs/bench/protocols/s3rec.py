"""Amazon Beauty and Sports in the preparation of S3-Rec, with item attributes, leave-one-out, ranked in full.

Source: Zhou et al., "S3-Rec" (CIKM 2020), RUCAIBox/CIKM2020-S3Rec: 5-core, the last item of each customer is asked.
Seen items are masked: that code sets the scores of a customer's training items to 0 before ranking, and the figures of
blondered/transformer_benchmark come from a library that leaves out viewed items. All items are ranked. Products carry
the attribute ids of the files as tags (``attributes`` "1|2|3") and as the words of their name, which is the only text
there is. SASRec+SS learns from ids alone by sampled softmax; in the shape of blondered's ``loo/s3_vanilla.yaml`` (256
dimensions, one block, 256 negatives) ours overfits within a few epochs (attempts.json; our negatives are shared by a
batch, which may be why), so it has the shape of our own defaults. Inside, to tune on: the second last item.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from aisle.data.dataset import Dataset
from aisle.jobs.bench.protocols.read import dataset, file, leave_one_out, ordered, sasrec
from aisle.jobs.bench.split import Beat, Match, Protocol, Published, Split

SAMPLED: dict[str, Any] = {"loss": "sampled_softmax", "negatives": "mixed", "n_negatives": 1_024, "average": 1.0}
S3REC, BLONDERED = "S3-Rec, its own table", "blondered/transformer_benchmark"


def load(name: str, folder: Path) -> Dataset:
    """All lines, one item a basket, and the attributes of the items."""
    lines = ordered(pl.read_parquet(file(folder, "amazon_s3rec", f"{name}.parquet")), "item_id")
    held = json.loads(file(folder, "amazon_s3rec", f"{name}_item2attributes.json").read_text(encoding="utf-8"))
    attributes = pl.DataFrame(
        {
            "product_id": list(held),
            "attributes": ["|".join(map(str, values)) for values in held.values()],
            "name": [" ".join(f"attribute{value}" for value in values) for values in held.values()],
        },
        schema={"product_id": pl.String, "attributes": pl.String, "name": pl.String},
    )
    products = lines.select(pl.col("product_id").unique().sort())
    return dataset(lines, products.join(attributes, on="product_id", how="left", maintain_order="left"))


def split(data: Dataset, part: str) -> Split:
    """The last item of everybody."""
    return leave_one_out(data)


def _rows(*rows: tuple[str, float, float, str]) -> tuple[Published, ...]:
    return tuple(Published(label, {"recall@10": hit, "ndcg@10": ndcg}, mark) for label, hit, ndcg, mark in rows)


def _protocol(name: str, title: str, stem: str, published: tuple[Published, ...]) -> Protocol:
    best = next(row for row in published if row.label == "SASRec+SS").figures
    return Protocol(
        name=name,
        title=title,
        load=partial(load, stem),
        split=split,
        metrics=("recall@10", "ndcg@10"),
        tuned_on="ndcg@10",
        published=published,
        settings={"basket_transformer": sasrec(dim=64, layers=2, heads=2, length=50, dropout=0.5, **SAMPLED)},
        matches=(Match(label="SASRec+SS", recipe="basket_transformer:published", figures=best, within=0.03),),
        beats=(
            Beat(
                label="5 % above SASRec+SS, R@10",
                recipe="C",
                metric="recall@10",
                beyond=round(1.05 * best["recall@10"], 5),
            ),
            Beat(
                label="5 % above SASRec+SS, N@10", recipe="C", metric="ndcg@10", beyond=round(1.05 * best["ndcg@10"], 5)
            ),
            Beat(
                label="5 % above our item-kNN, R@10", recipe="C", metric="recall@10", rival="best item-kNN", factor=1.05
            ),
            Beat(
                label="5 % above our item-kNN, N@10", recipe="C", metric="ndcg@10", rival="best item-kNN", factor=1.05
            ),
        ),
        recipes=("popularity", "item_knn", "sequence_knn", "C"),
    )


BEAUTY = _protocol(
    "s3rec_beauty",
    "Amazon Beauty, leave-one-out (S3-Rec files)",
    "Beauty",
    _rows(
        ("PopRec", 0.0152, 0.0068, S3REC),
        ("SASRec", 0.0605, 0.0318, S3REC),
        ("S3-Rec", 0.0647, 0.0327, S3REC),
        ("TIGER", 0.0648, 0.0384, BLONDERED),
        ("FuXi-a", 0.0809, 0.0451, BLONDERED),
        ("eSASRec", 0.0928, 0.0523, BLONDERED),
        ("SASRec+SS", 0.0921, 0.0531, BLONDERED),
    ),
)
SPORTS = _protocol(
    "s3rec_sports",
    "Amazon Sports, leave-one-out (S3-Rec files)",
    "Sports_and_Outdoors",
    _rows(
        ("PopRec", 0.0094, 0.0053, S3REC),
        ("SASRec", 0.0350, 0.0192, S3REC),
        ("S3-Rec", 0.0385, 0.0204, S3REC),
        ("TIGER", 0.0400, 0.0225, BLONDERED),
        ("HSTU", 0.0437, 0.0243, BLONDERED),
        ("eSASRec", 0.0560, 0.0323, BLONDERED),
        ("SASRec+SS", 0.0569, 0.0314, BLONDERED),
    ),
)
