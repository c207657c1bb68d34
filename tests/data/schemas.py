"""Small generated files in the published form of every known source: the columns and quirks, none of the data."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

ROWS = 30
Table = tuple[str, list[list[object]]]


def _write(folder: Path, file: str, rows: list[list[object]], separator: str = ",") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(separator.join(str(v) for v in row) for row in rows) + "\n"
    (folder / file).write_text(text, encoding="utf-8")


def _csv(folder: Path, file: str, header: str, rows: list[list[object]]) -> None:
    _write(folder, file, [list(header.split(",")), *rows])


def _cells(text: str) -> list[object]:
    return list(text.split(","))


def retail_case_study(folder: Path, rng: random.Random) -> None:
    head = "transaction_id,cust_id,tran_date,prod_subcat_code,prod_cat_code,Qty,Rate,Tax,total_amt,Store_type"
    lines: list[list[object]] = [
        [80_000_000_000 + i, 270_000 + i % 7, f"{1 + i % 28:02d}-02-2014", 1 + i % 3, 1 + i % 2, 2, 100, 21, 221, "MBR"]
        for i in range(ROWS)
    ]
    _csv(folder, "Transactions.csv", head, lines)
    tree: list[list[object]] = [[c, f"Cat{c}", s, f"Sub{s}"] for c in (1, 2) for s in (1, 2, 3)]
    _csv(folder, "prod_cat_info.csv", "prod_cat_code,prod_cat,prod_sub_cat_code,prod_subcat", tree)
    people: list[list[object]] = [[270_000 + i, "02-01-1970", rng.choice("MF"), 1 + i % 3] for i in range(8)]
    _csv(folder, "Customer.csv", "customer_Id,DOB,Gender,city_code", people)


def _gift_shop(folder: Path, file: str, header: str) -> None:
    rows: list[list[object]] = [
        [
            489_434 + i // 3,
            "85048" if i % 2 else "DCGS0003",
            "CANDLE",
            12,
            f"{10 + i // 3}/12/2009 07:45",
            6.95,
            f"{13085 + i // 3 % 3}.0",
            "France",
        ]
        for i in range(ROWS)
    ]
    _csv(folder, file, header, rows)


def online_retail_ii(folder: Path, rng: random.Random) -> None:
    _gift_shop(
        folder,
        "online_retail_II.csv",
        "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country",
    )


def online_retail_i(folder: Path, rng: random.Random) -> None:
    _gift_shop(folder, "data.csv", "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country")


def dunnhumby(folder: Path, rng: random.Random) -> None:
    head = (
        "SHOP_WEEK,SHOP_DATE,SHOP_WEEKDAY,SHOP_HOUR,QUANTITY,SPEND,PROD_CODE,PROD_CODE_10,PROD_CODE_20,PROD_CODE_30,"
        "PROD_CODE_40,CUST_CODE,CUST_PRICE_SENSITIVITY,CUST_LIFESTAGE,BASKET_ID,BASKET_SIZE,BASKET_PRICE_SENSITIVITY,"
        "BASKET_TYPE,BASKET_DOMINANT_MISSION,STORE_CODE,STORE_FORMAT,STORE_REGION"
    )
    for week in (200607, 200608):
        rows: list[list[object]] = [
            _cells(
                f"{week},{20060410 + i % 7},{1 + i % 7},{8 + i % 13},1,3.44,PRD{i % 5},CL{i % 5},DEP{i % 4},"
                f"G{i % 3},D{i % 2},{f'CUST{i % 6}' if i % 4 else ''},LA,YF,{994_100_100_000_000 + 100 * week + i},"
                "L,UM,Full Shop,Mixed,STORE1,LS,E02"
            )
            for i in range(ROWS // 2)
        ]
        _csv(folder, f"transactions_{week}.csv", head, rows)
    _csv(folder, "time.csv", "shop_week,date_from,date_to", [[200607, 20060410, 20060416]])


def complete_journey(folder: Path, rng: random.Random) -> None:
    head = (
        "household_key,BASKET_ID,DAY,PRODUCT_ID,QUANTITY,SALES_VALUE,STORE_ID,RETAIL_DISC,TRANS_TIME,WEEK_NO,"
        "COUPON_DISC,COUPON_MATCH_DISC"
    )
    times = (1631, 5, 45, 959)
    rows: list[list[object]] = [
        [
            2375 + i % 5,
            26_984_851_472 + i,
            1 + i // 3,
            1_004_906 + i % 6,
            1,
            1.39,
            364,
            -0.6,
            times[i % 4],
            1,
            0,
            0,
        ]
        for i in range(ROWS)
    ]
    _csv(folder, "transaction_data.csv", head, rows)
    head = "PRODUCT_ID,MANUFACTURER,DEPARTMENT,BRAND,COMMODITY_DESC,SUB_COMMODITY_DESC,CURR_SIZE_OF_PRODUCT"
    goods: list[list[object]] = [
        [1_004_906 + i, 69, "PRODUCE", "Private", "FRUIT", f"APPLE {i}", "1 LB"] for i in range(6)
    ]
    _csv(folder, "product.csv", head, goods)
    head = (
        "AGE_DESC,MARITAL_STATUS_CODE,INCOME_DESC,HOMEOWNER_DESC,HH_COMP_DESC,HOUSEHOLD_SIZE_DESC,KID_CATEGORY_DESC,"
        "household_key"
    )
    people: list[list[object]] = [
        ["65+", "A", "35-49K", "Homeowner", "2 Adults", 2, "None", 2375 + i] for i in range(3)
    ]
    _csv(folder, "hh_demographic.csv", head, people)
    _csv(folder, "campaign_table.csv", "DESCRIPTION,household_key,CAMPAIGN", [["TypeA", 2375, 26]])
    _csv(folder, "coupon.csv", "COUPON_UPC,PRODUCT_ID,CAMPAIGN", [[10_000_085_364, 1_004_906, 9]])
    _csv(folder, "coupon_redempt.csv", "household_key,DAY,COUPON_UPC,CAMPAIGN", [[2375, 421, 10_000_085_364, 8]])


def ta_feng(folder: Path, rng: random.Random) -> None:
    head = "TRANSACTION_DT,CUSTOMER_ID,AGE_GROUP,PIN_CODE,PRODUCT_SUBCLASS,PRODUCT_ID,AMOUNT,ASSET,SALES_PRICE"
    rows: list[list[object]] = [
        [
            f"11/{1 + i % 28}/2000",
            f"0110490{i % 5}",
            "45-49",
            "115",
            110_411 + i % 3,
            4_710_199_010_372 + i % 6,
            2,
            24,
            30,
        ]
        for i in range(ROWS)
    ]
    _csv(folder, "ta_feng_all_months_merged.csv", head, rows)


def instacart(folder: Path, rng: random.Random) -> None:
    head = "order_id,user_id,eval_set,order_number,order_dow,order_hour_of_day,days_since_prior_order"
    sets = ("prior", "prior", "train", "test")
    orders: list[list[object]] = [
        [100 + 4 * u + n, 1 + u, s, n + 1, 2, "08", ""] for u in range(4) for n, s in enumerate(sets)
    ]
    _csv(folder, "orders.csv", head, orders)
    head = "order_id,product_id,add_to_cart_order,reordered"
    for split in ("prior", "train"):
        rows: list[list[object]] = [
            [o[0], 33_120 + i % 5, i + 1, i % 2] for o in orders if o[2] == split for i in range(3)
        ]
        _csv(folder, f"order_products__{split}.csv", head, rows)
    goods: list[list[object]] = [[33_120 + i, f"Organic Egg {i}", 86 + i % 2, 16] for i in range(5)]
    _csv(folder, "products.csv", "product_id,product_name,aisle_id,department_id", goods)
    _csv(folder, "aisles.csv", "aisle_id,aisle", [[86, "eggs"], [87, "milk"]])
    _csv(folder, "departments.csv", "department_id,department", [[16, "dairy eggs"]])


def hm(folder: Path, rng: random.Random) -> None:
    rows: list[list[object]] = [
        [f"2018-09-{1 + i % 28:02d}", f"{i % 5:064x}", f"0{663_713_001 + i % 6}", 0.0508, 2] for i in range(ROWS)
    ]
    _csv(folder, "transactions_train.csv", "t_dat,customer_id,article_id,price,sales_channel_id", rows)
    head = (
        "article_id,product_code,prod_name,product_type_no,product_type_name,product_group_name,graphical_appearance_no,"
        "graphical_appearance_name,colour_group_code,colour_group_name,perceived_colour_value_id,"
        "perceived_colour_value_name,perceived_colour_master_id,perceived_colour_master_name,department_no,"
        "department_name,index_code,index_name,index_group_no,index_group_name,section_no,section_name,"
        "garment_group_no,garment_group_name,detail_desc"
    )
    goods: list[list[object]] = [
        _cells(
            f"0{663_713_001 + i},0663713,Atlanta Push Body,283,Underwear body,Underwear,1010016,Solid,9,Black,4,Dark,5,"
            "Black,1338,Lingerie,B,Lingeries,1,Ladieswear,61,Womens Lingerie,1017,Under-,Lace body"
        )
        for i in range(6)
    ]
    _csv(folder, "articles.csv", head, goods)
    head = "customer_id,FN,Active,club_member_status,fashion_news_frequency,age,postal_code"
    people: list[list[object]] = [[f"{i:064x}", "", "", "ACTIVE", "NONE", 49, f"{i:064x}"] for i in range(5)]
    _csv(folder, "customers.csv", head, people)


def _ratings() -> list[list[object]]:
    return [[1 + i % 5, 1 + i % 7, 1 + i % 5, 978_300_760 + 60 * i] for i in range(ROWS)]


def movielens_100k(folder: Path, rng: random.Random) -> None:
    _write(folder, "u.data", _ratings(), "\t")
    films: list[list[object]] = [
        [i, f"Film {i} (1995)", "01-Jan-1995", "", "http://imdb", *(int(g == i) for g in range(19))]
        for i in range(1, 8)
    ]
    _write(folder, "u.item", films, "|")
    _write(folder, "u.user", [[i, 24, "M", "technician", "85711"] for i in range(1, 6)], "|")


def movielens_1m(folder: Path, rng: random.Random) -> None:
    _write(folder, "ratings.dat", _ratings(), "::")
    _write(folder, "movies.dat", [[i, f"Film: part {i} (1995)", "Drama|War"] for i in range(1, 8)], "::")
    _write(folder, "users.dat", [[i, "F", 1, 10, "48067"] for i in range(1, 6)], "::")


def movielens_20m(folder: Path, rng: random.Random) -> None:
    _csv(folder, "ratings.csv", "userId,movieId,rating,timestamp", _ratings())
    _csv(folder, "movies.csv", "movieId,title,genres", [[i, f"Film {i}", "Drama|War"] for i in range(1, 8)])
    _csv(folder, "tags.csv", "userId,movieId,tag,timestamp", [[1, 2, "funny", 978_300_760]])
    _csv(folder, "links.csv", "movieId,imdbId,tmdbId", [[1, "0114709", 862]])


def canonical(folder: Path, rng: random.Random) -> None:
    rows: list[list[object]] = [
        [f"c{i % 5}", f"p{i % 6}", f"2024-01-{1 + i % 28:02d}", 1, 9.5, "north"] for i in range(ROWS)
    ]
    head = "customer_id,product_id,timestamp,quantity,price,store_id"
    _csv(folder, "transactions-2023.csv", head, rows[:10])
    _csv(folder, "transactions-2024.csv", head, rows[10:])
    goods: list[list[object]] = [[f"p{i}", f"Milk {i}", "Food", "Dairy", "red"] for i in range(6)]
    _csv(folder, "products.csv", "product_id,name,category_1,category_2,colour", goods)
    _csv(folder, "customers.csv", "customer_id,group_1,group_2,age", [[f"c{i}", "North", "York", 40] for i in range(5)])
    _csv(folder, "stores.csv", "store_id,size", [["north", 3]])
    _csv(folder, "availability.csv", "store_id,product_id,from,to", [["north", "p0", "2024-01-01", ""]])


WRITERS: dict[str, Callable[[Path, random.Random], None]] = {
    w.__name__: w
    for w in (
        *(retail_case_study, online_retail_ii, online_retail_i, dunnhumby, complete_journey, ta_feng, instacart, hm),
        *(movielens_100k, movielens_1m, movielens_20m, canonical),
    )
}
"""Every publisher's form; ``ROWS`` sale lines each (instacart: 36)."""


def write(name: str, folder: Path, seed: int = 0) -> Path:
    """The files of one form in a folder."""
    WRITERS[name](folder, random.Random(seed))
    return folder
