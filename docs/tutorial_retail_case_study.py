"""A well-known "90 %" done again: the Kaggle retail case study, its tutorial, and an honest answer.

    AISLE_DATA=path/to/data python docs/tutorial_retail_case_study.py

``AISLE_DATA`` is a folder that holds ``retail_case_study/`` with the three files of Kaggle's "Retail Case Study Data"
(Customer.csv, Transactions.csv, prod_cat_info.csv). Read it from top to bottom; it takes some ten seconds.

A much-read tutorial trains a deep hybrid recommender on these files and reports a recall at 80 of 90 %. We redo its
evaluation with a *random* ranker and with *what sells*, find where the 90 % comes from, and then ask the question a
shop would ask: can the past of a customer foretell their future better than a list of what sells?
"""

import os
from pathlib import Path

import numpy as np
import polars as pl

import aisle

folder = Path(os.environ.get("AISLE_DATA", "")) / "retail_case_study"
if not os.environ.get("AISLE_DATA") or not folder.is_dir():
    print("SKIPPED: AISLE_DATA does not point at a folder with retail_case_study/; nothing was run.")
    raise SystemExit(0)


def headline(text):
    print(f"\n{text}\n{'-' * len(text)}")


# ---------------------------------------------------------------------------------------------------------------------
# 1. What is in the files
#
# The doctor reads them first. Two things in its report decide everything later. The dates stand in two shapes,
# 28-02-2014 and 9/2/2014. A parser that guesses reads the second month first: 9,124 rows, four in ten, silently land
# in the wrong month. The doctor proves the order instead. And one line in ten is a return.
# ---------------------------------------------------------------------------------------------------------------------
headline("1. What is in the files")
tables = aisle.check(folder)
report = tables.report
print(
    f"{report.total('read'):,} rows read = {report.total('accepted'):,} accepted + {report.total('rejected')} rejected"
)
print(f"order of day and month: {report.date_order}, because {report.date_proof}")
print(f"{report.returns:,} lines are returns")
for finding in report.findings:
    print(f"  {finding.code:18} {finding.rows:>7,} rows {finding.action:9} {finding.what}")

# ---------------------------------------------------------------------------------------------------------------------
# 2. The tutorial's table
#
# Its items are "materials": category, sub-category and store type, 92 of them. Its customers are the active ones,
# those with a line in the last 364 days. It then goes wrong four times before any model is trained.
# ---------------------------------------------------------------------------------------------------------------------
headline("2. The tutorial's table")
lines = pl.read_csv(folder / "Transactions.csv").with_columns(
    day=pl.col("tran_date").str.replace_all("/", "-").str.strptime(pl.Date, "%d-%m-%Y")
)
catalogue = pl.read_csv(folder / "prod_cat_info.csv")

# First, ids. A sub-category code means something only inside its category, and a transaction id is no key of a line.
codes = catalogue["prod_sub_cat_code"].n_unique()
print(f"{catalogue.height} products share {codes} sub-category codes; code 4 is", end=" ")
print(
    ", ".join(
        catalogue.filter(pl.col("prod_sub_cat_code") == 4).select(
            pl.concat_str("prod_cat", "prod_subcat", separator=" / ")
        )["prod_cat"]
    )
)
print(
    f"{lines.height:,} lines share {lines['transaction_id'].n_unique():,} transaction ids: a return repeats its sale's"
)

# Second, the tutorial joins the product names on the category code alone, so that every line comes once for each
# sub-category of its category. Quantities swell with it.
active = lines.filter(pl.col("day") > lines["day"].max() - pl.duration(days=364))["cust_id"].unique()
theirs = lines.filter(pl.col("cust_id").is_in(active.implode()))
merged = theirs.join(catalogue.select("prod_cat_code", "prod_subcat"), on="prod_cat_code")
print(f"{theirs.height:,} of the {lines.height:,} lines belong to {len(active):,} active customers;", end=" ")
print(f"the join makes {merged.height:,} of them")

# Third, "active" and all customer features (RFMV quartiles, clusters) are computed from the whole period, the hidden
# part included. Here that does no harm, since there is little to leak (part 4 shows it). Elsewhere it would.

# Fourth, and this is the one: net quantity per customer and material, scaled to 0 … 1 column by column with MinMax.
# In a column where somebody's net is negative (a return without its sale), the minimum is negative. So 0, "never
# bought", is scaled to something above 0. And above 0 is what the tutorial calls a positive.
merged = merged.with_columns(material=pl.format("{}/{}/{}", "prod_cat_code", "prod_subcat_code", "Store_type"))


def as_matrix(frame):
    """Customers × materials (3,899, 92) of the column ``value``, 0 where there is none."""
    wide = frame.pivot(on="material", index="cust_id", values="value", sort_columns=True).sort("cust_id").fill_null(0)
    return wide.drop("cust_id").to_numpy().astype(float)


by_cell = merged.group_by("cust_id", "material")
net = as_matrix(by_cell.agg(value=pl.col("Qty").sum()))
bought = as_matrix(by_cell.agg(value=(pl.col("Qty") > 0).any().cast(pl.Int8))) > 0
low, high = net.min(axis=0), net.max(axis=0)
positive = (net - low) / (high - low) > 0
invented = positive & ~bought
print(f"{(low < 0).sum()} of {net.shape[1]} columns have a negative minimum")
print(f"{bought.sum():,} cells were really bought, {bought.sum(axis=1).mean():.1f} a customer")
print(f"{positive.sum():,} cells count as positive, {positive.sum(axis=1).mean():.1f} a customer;", end=" ")
print(f"{invented.sum():,} of them ({invented.sum() / positive.sum():.1%}) were never bought")

# ---------------------------------------------------------------------------------------------------------------------
# 3. Where the 90 % comes from
#
# A fifth of the positive cells is hidden at random and a ranking is asked to find them among the first 80 of 92.
# Chance alone finds 80 / 92 = 87 %. And as 50 columns are positive for nearly everybody, "what is positive most often"
# finds almost all. Recall at 80 can tell nobody from nobody.
# ---------------------------------------------------------------------------------------------------------------------
headline("3. Where the 90 % comes from")


def recall(places, wanted, k):
    """Mean over customers of the share of their wanted cells (N, I) at a place below k."""
    some = wanted.any(axis=1)
    return float(((wanted & (places < k)).sum(axis=1)[some] / wanted.sum(axis=1)[some]).mean())


figures = {}
for seed in range(3):
    rng = np.random.default_rng(seed)
    hidden = positive & (rng.random(positive.shape) < 0.2)
    rankers = {"random": rng.random(positive.shape).argsort(axis=1).argsort(axis=1)}
    for name, cells in (("most positive", positive), ("what sells", bought)):
        column_sums = (cells & ~hidden).sum(axis=0)
        rankers[name] = np.broadcast_to((-column_sums).argsort(kind="stable").argsort(), positive.shape)
    for name, places in rankers.items():
        for k in (10, 80):
            figures.setdefault((name, "positive", k), []).append(recall(places, hidden, k))
            figures.setdefault((name, "bought", k), []).append(recall(places, hidden & bought, k))
mean = {key: sum(values) / len(values) for key, values in figures.items()}
print("recall, mean of three random splits            @10     @80")
for cells in ("positive", "bought"):
    for name in rankers:
        row = "".join(f"{mean[name, cells, k]:8.3f}" for k in (10, 80))
        print(f"hidden cells that are {cells:9} {name:13}{row}")
print("the tutorial prints 0.90 at 80: the level of chance, far below one list of the most positive columns for all")

# Measured outside this library on such splits, the tutorial's own network reaches .887 at 80, against .869 by chance
# and .992 by the most positive columns; on cells really bought .105 at 10, against .102 by chance. It cannot do
# better: its item features are the category alone, and it normalises them, so that all materials of a category share
# one vector.

# ---------------------------------------------------------------------------------------------------------------------
# 4. The honest question
#
# Cut the data at a moment; learn from what lies before, ask for what comes after; rank the full catalogue; show the
# expected score of a random list beside every figure; and let a model win only if the interval of its lead over the
# best simple rule lies above zero, on a window that no tuning has seen. That is one call. We ask it twice: about the
# 23 products, and about the tutorial's 92 materials.
# ---------------------------------------------------------------------------------------------------------------------
headline("4. The honest question")
shop = aisle.read(folder)
materials = aisle.read(
    tables.transactions.drop("void_at").with_columns(
        product_id=pl.concat_str("product_id", "channel", separator="/"),
    )
)


def show(name, certificate):
    protocol, floor, verdict = (certificate[part] for part in ("protocol", "floor", "verdict"))
    print(f"\n{name}: {protocol['customers_scored']:,} customers, {protocol['candidates']} candidates,", end=" ")
    print(f"{protocol['horizon_days']} days from {protocol['cut']} ({protocol['horizon_reason']})")
    print(f"  {'random list, expected':22}{floor['ndcg@10']:.3f}            recall@10 {floor['recall@10']:.3f}")
    for model, scores in sorted(certificate["models"].items(), key=lambda item: -item[1]["ndcg@10"]["mean"]):
        ndcg = scores["ndcg@10"]
        print(f"  {model:22}{ndcg['mean']:.3f} ({ndcg['low']:.3f}-{ndcg['high']:.3f})", end="")
        print(f"  recall@10 {scores['recall@10']['mean']:.3f}")
    print(f"  ships {verdict['ship']}; personal signal: {verdict['personal_signal']}")
    print(f"  {verdict['reason']}")


by_product = aisle.evaluate(shop, budget="quick")
by_material = aisle.evaluate(materials, budget="quick")
show("23 products", by_product.certificate)
show("92 materials", by_material.certificate)

# Over the products nothing beats chance by much: they all sell alike. Over the materials the popularity list does beat
# chance, for a dull reason: one store type, e-Shop, holds two fifths of all sales. Nothing personal is left to learn,
# whichever model looks: the same call with budget="standard", which adds tuning and the deep hybrid, ships the same
# kind of list and finds no signal either. The data are probably invented, and the honest answer is what sells.

# How would a leak have looked? Let a "model" count a customer's own purchases over the whole period, the window to
# foretell included, as the tutorial's features do.
window = by_material.certificate["protocol"]["last_window"]
cut = int(np.datetime64(window["cut"], "us").astype(np.int64))
before, whole = materials.before(cut).counts.toarray(), materials.counts.toarray()
truth = (whole - before > 0) & (before.sum(axis=1, keepdims=True) > 0)
popular = materials.before(cut).popularity
for name, counts in (("own purchases before the cut", before), ("own purchases, leaking", whole)):
    places = (-(counts + popular / (popular.max() + 1))).argsort(axis=1, kind="stable").argsort(axis=1)
    print(f"\n{name:30} recall@10 {recall(places, truth, 10):.3f}", end="")
print("\na figure like the second one means a leak, not a good model")

# ---------------------------------------------------------------------------------------------------------------------
# 5. What to ship
#
# The model of the verdict, refitted on everything, with a reason on every row. `aisle run` writes the same for every
# customer, with the certificate and a report.
# ---------------------------------------------------------------------------------------------------------------------
headline("5. What to ship")
best = aisle.fit(shop, by_product.ship, **by_product.settings)
lists = aisle.recommend(best, ["270351", "somebody new"], k=3)
with pl.Config(tbl_hide_dataframe_shape=True, fmt_str_lengths=60, tbl_width_chars=120):
    print(lists.select("customer_id", "rank", "product_id", "reason"))
