"""Tiny files in the layout of the real data sets, small enough to count by hand."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

TAFENG = {  # customer -> baskets, the last one the future
    1: [[1, 2], [1], [1, 3]],
    2: [[2], [2, 4], [2]],
    3: [[5], [1], [5, 6]],
    4: [[1, 2], [3], [1]],
    5: [[1], [1, 4], [1, 7]],
    6: [[8], [8, 2], [2, 8, 9]],
}
PARTS = {0: {5: "test", 6: "test", 4: "val"}, 1: {1: "test", 2: "test", 3: "val"}, 2: {4: "test", 5: "test", 1: "val"}}


def tafeng(folder: Path) -> None:
    """Six customers, three folds of two test customers each."""
    lines = [
        {"user_id": user, "order_number": n + 1, "item_id": item, "split": "future" if n == len(b) - 1 else "history"}
        for user, b in TAFENG.items()
        for n, basket in enumerate(b)
        for item in basket
    ]
    folds = [
        {"fold": fold, "part": parts.get(user, "train"), "user_id": user}
        for fold, parts in PARTS.items()
        for user in TAFENG
    ]
    _write(folder / "tafeng_nbr", baskets=pl.DataFrame(lines), folds=pl.DataFrame(folds))


def gowalla(folder: Path) -> None:
    """Three users; item 9 is in the test file alone."""
    train = {"user_id": [0] * 4 + [1] * 3 + [2], "item_id": [1, 2, 3, 4, 1, 2, 5, 6]}
    test = {"user_id": [0, 0, 1], "item_id": [5, 9, 3]}
    _write(folder / "gowalla_lightgcn", train=pl.DataFrame(train), test=pl.DataFrame(test))


def sequence(users: int, items: int, seed: int = 0) -> pl.DataFrame:
    """Users with three to six different items in order."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(1, users + 1):
        bought = rng.choice(items, rng.integers(3, 7), replace=False) + 1
        rows += [{"user_id": user, "item_id": int(item), "position": place} for place, item in enumerate(bought)]
    return pl.DataFrame(rows)


def amazon(folder: Path) -> None:
    """Both preparations of Amazon reviews."""
    lines = sequence(12, 10)
    _write(folder / "beauty_bert4rec", beauty=lines)
    _write(folder / "amazon_s3rec", Beauty=lines, Sports_and_Outdoors=lines)
    held = {str(item): [item % 3, 7] for item in range(1, 11)}
    for name in ("Beauty", "Sports_and_Outdoors"):
        (folder / "amazon_s3rec" / f"{name}_item2attributes.json").write_text(json.dumps(held), encoding="utf-8")


def movielens(folder: Path) -> None:
    """Twenty customers, forty films."""
    lines = sequence(20, 40, 1).rename({"item_id": "movie_id"})
    _write(folder / "movielens_1m", interactions_sequential_loo=lines)
    genres = ("Comedy", "Comedy|Drama", "Action")
    films = {
        "movie_id": list(range(1, 42)),
        "title": [f"Film {n} ({1950 + n})" for n in range(1, 42)],
        "genres": [genres[n % 3] for n in range(1, 42)],
    }
    pl.DataFrame(films).write_csv(folder / "movielens_1m" / "movies.csv")
    users = {
        "user_id": list(range(1, 22)),
        "gender": ["F" if n % 2 else "M" for n in range(1, 22)],
        "age": [(18, 25, 35)[n % 3] for n in range(1, 22)],
        "occupation": [n % 4 for n in range(1, 22)],
        "zipcode": ["00000"] * 21,
    }
    pl.DataFrame(users).write_csv(folder / "movielens_1m" / "users.csv")


def online_retail(folder: Path) -> pl.DataFrame:
    """A gift shop with 200 days; customers come every few weeks. The lines are given back."""
    rng = np.random.default_rng(2)
    rows = []
    for invoice in range(500):
        customer = int(rng.integers(25))
        day = int(rng.integers(200))
        for product in sorted(set(rng.integers(0, 30, 3).tolist())):
            rows.append(
                {
                    "sheet": "2009-2010",
                    "invoice": str(489_000 + invoice),
                    "stock_code": str(85_000 + product),
                    "description": f"THING {product}",
                    "quantity": 1 + int(rng.integers(3)),
                    "invoice_ts": datetime(2010, 1, 1, 10) + timedelta(days=day),
                    "unit_price": 1.5 + product,
                    "customer_id": 13_000 + customer if customer else None,
                    "country": "United Kingdom" if customer % 2 else "France",
                    "dup_of_other_sheet": False,
                }
            )
    lines = pl.DataFrame(rows).with_columns(pl.col("quantity", "customer_id").cast(pl.Int32))
    _write(folder / "online_retail_ii", transactions=lines)
    return lines


def sort_of_real(folder: Path) -> pl.DataFrame:
    """A grocer with 30 products in a tree of four levels and 40 customers in two segments. The lines are given back."""
    rng = np.random.default_rng(3)
    rows = []
    for basket in range(800):
        customer, day = int(rng.integers(41)), int(rng.integers(150))
        for product in sorted(set(rng.integers(0, 30, 3).tolist())):
            rows.append(
                {
                    "basket_id": 994_100_000_000 + basket,
                    "customer_id": f"CUST{customer:010d}" if customer < 40 else None,
                    "date": datetime(2006, 4, 10) + timedelta(days=day),
                    "hour": 9 + day % 8,
                    "shop_week": 200_608,
                    "weekday": 1 + day % 7,
                    "product_id": f"PRD09{product:05d}",
                    "quantity": 1,
                    "spend": 2.5,
                    "basket_size": "S",
                    "basket_price_sensitivity": "UM",
                    "basket_type": "Top Up",
                    "basket_mission": "Fresh",
                    "store_id": "STORE00001",
                }
            )
    lines = pl.DataFrame(rows).with_columns(pl.col("date").cast(pl.Date), pl.col("quantity").cast(pl.Int16))
    place = folder / "dunnhumby_sort_of_real"
    stores = pl.DataFrame({"store_id": ["STORE00001"], "store_format": ["LS"], "store_region": ["E02"]})
    _write(place, transactions=lines, stores=stores)
    products = {
        "product_id": [f"PRD09{n:05d}" for n in range(30)],
        "level1_class": [f"CL{n % 10:05d}" for n in range(30)],
        "level2_department": [f"DEP{n % 10 // 2:05d}" for n in range(30)],
        "level3_group": [f"G{n % 10 // 4:05d}" for n in range(30)],
        "level4_division": ["D00001"] * 30,
    }
    pl.DataFrame(products).write_csv(place / "products.csv")
    customers = {
        "customer_id": [f"CUST{n:010d}" for n in range(40)],
        "seg_1": [("CT", "BG")[n % 2] for n in range(40)],
        "seg_2": [("DI", "AT")[n % 2] for n in range(40)],
    }
    pl.DataFrame(customers).write_csv(place / "customers.csv")
    return lines


def everything(folder: Path) -> Path:
    """All data sets."""
    for write in (tafeng, gowalla, amazon, movielens, online_retail, sort_of_real):
        write(folder)
    return folder


def _write(folder: Path, **frames: pl.DataFrame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet")
