"""Amazon Beauty in the preparation of BERT4Rec, leave-one-out, ranked in full.

Source: Sun et al., "BERT4Rec" (CIKM 2019), file ``beauty.txt``; figures of Klenitskiy and Vasilev, "Turning Dross Into
Gold Loss" (RecSys 2023), antklen/sasrec-bert4rec-recsys23. Not comparable with the Beauty of S3-Rec.

The last item of each customer is asked from all before it, every item of the catalogue is ranked. Seen items are
masked, as there (``filter_seen: True``); SASRec+ has the shape and the loss of its ``SASRec.yaml``. Inside, to tune on:
the second last item, learned from what lies before.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from aisle.data.dataset import Dataset
from aisle.jobs.bench.protocols.read import dataset, file, leave_one_out, ordered, sasrec
from aisle.jobs.bench.split import Beat, Match, Protocol, Published, Split

MARK = "antklen/sasrec-bert4rec-recsys23"
ROWS = tuple(
    Published(label, {"recall@10": hit, "ndcg@10": ndcg}, MARK)
    for label, hit, ndcg in (
        ("SASRec, BCE", 0.0246, 0.0126),
        ("BERT4Rec", 0.0338, 0.0187),
        ("SASRec+ CE", 0.0533, 0.0327),
    )
)


def load(folder: Path) -> Dataset:
    """All lines, one item a basket."""
    return dataset(ordered(pl.read_parquet(file(folder, "beauty_bert4rec", "beauty.parquet")), "item_id"))


def split(data: Dataset, part: str) -> Split:
    """The last item of everybody."""
    return leave_one_out(data)


BEAUTY = Protocol(
    name="beauty_bert4rec",
    title="Amazon Beauty, leave-one-out (BERT4Rec files)",
    load=load,
    split=split,
    metrics=("recall@10", "ndcg@10"),
    tuned_on="ndcg@10",
    published=ROWS,
    settings={
        "basket_transformer": sasrec(dim=64, layers=2, heads=1, length=50, dropout=0.1, loss="softmax", patience=10)
    },
    matches=(Match(label="SASRec+ CE", recipe="basket_transformer:published", figures=ROWS[2].figures, within=0.03),),
    beats=(
        Beat(label="R@10", recipe="S", metric="recall@10", least=0.056),
        Beat(label="N@10", recipe="S", metric="ndcg@10", least=0.034),
    ),
    recipes=("popularity", "item_knn", "sequence_knn", "S"),
)
