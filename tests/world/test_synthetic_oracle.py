"""The oracle is right: its closed form agrees with what its shop does, on the whole and under a magnifying glass."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aisle.data.synthetic import Shop, oracle, planted
from aisle.data.synthetic.catalogue import make_catalogue
from aisle.data.synthetic.chances import block_chances
from aisle.data.synthetic.people import make_people
from aisle.data.synthetic.shop import HORIZONS
from aisle.data.synthetic.shopping import shop_block
from aisle.jobs.demo import demo

KINDS = ("staple", "with staple", "favourite", "with favourite")


def test_closed_form_and_simulation_agree_for_four_thousand_alike() -> None:
    """Customers with one staple and one favourite, both with a strong complement; every term of the law matters."""
    shop = Shop(customers=4000, products=60, days=90, seed=2)
    made = make_catalogue(shop)
    always = (made.launch < 0) & (made.gone > shop.days)
    safe = np.flatnonzero((made.complement >= 0) & always & always[made.complement])
    staple, favourite = (int(code) for code in safe[:2])
    catalogue = replace(made, chance=np.where(made.chance > 0, 0.7, 0.0))
    people = make_people(catalogue, 0)
    size, slots = len(people), people.staples.shape
    staples = np.full(slots, -1, dtype=np.int32)
    staples[:, 0] = staple
    favourites = np.full_like(people.favourites, favourite)
    favourites[:, 3:] = staple  # so that the staple is picked too
    alike = replace(
        people,
        staples=staples,
        favourites=favourites,
        cycle=np.full(slots, 14.0),
        begin=np.zeros(slots, dtype=np.int64),
        stop=np.full(slots, shop.days + 1),
        rate=np.full(size, 0.25),
        picks=np.full(size, 2.0),
        arrival=np.zeros(size, dtype=np.int64),
        leave=np.full(size, shop.days + 1),
    )
    lines, buys = shop_block(catalogue, alike, 0)
    chances = block_chances(catalogue, alike, buys)
    watched = [staple, int(made.complement[staple]), favourite, int(made.complement[favourite])]
    day = lines.second // 86_400
    for horizon in HORIZONS:
        listed = chances.filter(pl.col("horizon_days") == horizon)
        for product in watched:
            chance = listed.filter(pl.col("product_id") == catalogue.ids[product])["probability"].to_numpy()
            assert len(chance) == size
            inside = (day >= shop.days - horizon) & (lines.product == product) & (lines.quantity > 0)
            bought = len(np.unique(lines.row[inside]))
            spread = float(np.sqrt((chance * (1 - chance)).sum()))
            assert abs(bought - float(chance.sum())) < 3.5 * spread + 1, (horizon, product)


@pytest.mark.parametrize("signal", [True, False])
def test_the_oracle_is_calibrated(signal: bool, tmp_path: Path) -> None:
    """Of all pairs that the oracle gives 20 %, one in five is bought; also among staples and what these pull along."""
    for seed in (11, 12):
        demo(tmp_path / f"{seed}", customers=2500, products=300, days=200, seed=seed, signal=signal)
    for horizon in (7, 30):
        pairs = pl.concat([_pairs(tmp_path / f"{seed}", horizon, f"{seed}") for seed in (11, 12)])
        kinds = ("plain", *KINDS) if signal else ("plain",)
        assert set(pairs["kind"].unique()) == set(kinds)
        for kind in kinds:
            for low, high in ((0.0, 0.03), (0.03, 0.1), (0.1, 0.3), (0.3, 1.0), (0.0, 1.0)):
                part = pairs.filter(
                    (pl.col("kind") == kind) & (pl.col("probability") >= low) & (pl.col("probability") < high)
                )
                miss = part.group_by("customer_id").agg((pl.col("bought") - pl.col("probability")).sum().alias("miss"))
                spread = float(
                    np.sqrt((miss["miss"].to_numpy() ** 2).sum())
                )  # customers are independent, lines are not
                assert abs(float(miss["miss"].sum())) < 4 * spread + 3, (horizon, kind, low)


def _pairs(folder: Path, horizon: int, label: str) -> pl.DataFrame:
    """Listed pairs with ``probability``, ``kind``, and whether they were bought in the window."""
    lines = pl.read_csv(folder / "transactions.csv", try_parse_dates=True)
    window = next(w for w in planted(folder)["windows"] if w["horizon_days"] == horizon)
    inside = (pl.col("timestamp") >= datetime.fromisoformat(window["cut"])) & (pl.col("quantity") > 0)
    bought = lines.filter(inside).select("customer_id", "product_id").unique().with_columns(bought=1.0)
    products = pl.read_parquet(folder / "truth" / "products.parquet").select("product_id", "complement_id")
    pairs = oracle(folder, horizon).join(bought, on=["customer_id", "product_id"], how="left")
    for kind, own in _liked(folder).items():
        pulled = own.join(products.drop_nulls(), on="product_id").select("customer_id", product_id="complement_id")
        for name, table in ((kind, own), (f"with {kind}", pulled)):
            table = table.select("customer_id", "product_id").unique().with_columns(pl.lit(True).alias(name))
            pairs = pairs.join(table, on=["customer_id", "product_id"], how="left")
    kinds = pl.coalesce(pl.when(pl.col(kind)).then(pl.lit(kind)) for kind in KINDS)
    return pairs.select(
        (pl.lit(label) + pl.col("customer_id")).alias("customer_id"),
        "probability",
        pl.col("bought").fill_null(0.0),
        kind=kinds.fill_null("plain"),
    )


def _liked(folder: Path) -> dict[str, pl.DataFrame]:
    """Staples and favourites as ``customer_id, product_id``."""
    catalogue = make_catalogue(Shop(**planted(folder)["settings"]))
    people = make_people(catalogue, 0)
    row = np.repeat(np.arange(len(people)), people.favourites.shape[1])
    found = {
        "customer_id": people.ids.gather(row),
        "product_id": catalogue.ids.gather(people.favourites.ravel()),
    }
    staples = pl.read_parquet(folder / "truth" / "staples.parquet")
    return {"staple": staples, "favourite": pl.DataFrame(found)}
