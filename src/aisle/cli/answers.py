"""Commands that ask a bundle: explain, recommend, similar, together, due."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from aisle.cli.options import AddressOption, EngineOption, MemoryOption, WorkersOption
from aisle.cli.screen import progress, show_frame


def explain(
    bundle: Annotated[Path, typer.Argument(help="The model/ folder of a run.")],
    customer: Annotated[str, typer.Argument(help="A customer id.")],
    k: Annotated[int, typer.Option("-k", help="Products to list.")] = 10,
) -> None:
    """Show what a customer bought, what would be listed, and why.

    Example:

      aisle explain results/model 17850
    """
    from aisle.bundle import load
    from aisle.jobs.explain import explain as explain_job

    history, listed = explain_job(load(bundle), customer, k=k)
    show_frame(f"Bought by {customer}", history)
    show_frame("Listed", listed)


def recommend(
    bundle: Annotated[Path, typer.Argument(help="The model/ folder of a run.")],
    out: Annotated[Path, typer.Option("--out", help="A .parquet or .csv file.")] = Path("recommendations.parquet"),
    customers: Annotated[Path | None, typer.Option(help="File of customer ids. [everybody]")] = None,
    k: Annotated[int, typer.Option("-k", help="Products a customer.")] = 10,
    repeats: Annotated[str, typer.Option(help="mixed, new or only.")] = "mixed",
    only_products: Annotated[Path | None, typer.Option(help="File of product ids: nothing else is listed.")] = None,
    variants: Annotated[str, typer.Option(help="one or all variants of a product in a list.")] = "one",
    level: Annotated[str, typer.Option(help="product, category_1 …, or leaf: what is listed.")] = "product",
    by: Annotated[str | None, typer.Option(help="One list a group: group_1 …, store, segment, an attribute.")] = None,
    shrinkage: Annotated[float, typer.Option(help="Members that weigh as much as the sister groups, with --by.")] = 5.0,
    search: Annotated[str, typer.Option(help="exact, or auto: an index above 300,000 products.")] = "exact",
    least_recall: Annotated[float, typer.Option(help="Share of the exact lists an index must find.")] = 0.99,
    memory: MemoryOption = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Open the bundle of a run and write lists: of products or categories, for customers or for groups of them.

    Examples:

      aisle recommend results/model --customers ids.txt -k 5 --out lists.parquet

      aisle recommend results/model --level category_1 --by group_2 --out regions.csv

      aisle recommend results/model --search auto --least-recall 0.995

      aisle recommend results/model --workers 4
    """
    from aisle.config import load_config
    from aisle.engine import open_engine
    from aisle.jobs.recommend import Wanted
    from aisle.jobs.recommend import recommend as recommend_job

    given: Any = {"k": k, "repeats": repeats, "variants": variants, "search": search, "least_recall": least_recall}
    rules = load_config(None, **given, memory=memory, engine=engine, workers=workers, address=address)
    policy: Any = {name: getattr(rules, name) for name in given}
    policy |= {"level": level, "by": by, "shrinkage": shrinkage, "memory_bytes": rules.memory_bytes // 4}
    wanted = Wanted(customers=customers, only_products=only_products, **policy)
    with open_engine(rules) as opened:
        rows = recommend_job(bundle, out, wanted, progress(quiet), opened)
    typer.echo(f"{rows:,} rows written to {out}")


def similar(
    bundle: Annotated[Path, typer.Argument(help="The model/ folder of a run.")],
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Product ids; customer ids with --customers.")],
    customers: Annotated[bool, typer.Option("--customers", help="Customers alike, not products.")] = False,
    k: Annotated[int, typer.Option("-k", help="How many, for each id.")] = 10,
) -> None:
    """Products or customers alike: by the vectors of the model where it has them, else by who bought what.

    Examples:

      aisle similar results/model 85123A

      aisle similar results/model 17850 13047 --customers -k 5
    """
    from aisle.bundle import load
    from aisle.jobs.similar import similar as similar_job
    from aisle.jobs.similar import similar_customers

    found = (similar_customers if customers else similar_job)(load(bundle), ids, k=k)
    show_frame(f"Similar to {', '.join(ids)}", found)
    for lost in [one for one in ids if one not in set(found[found.columns[0]])]:
        why = "opted out of profiling, or nothing to compare" if customers else "bought by too few, or nothing on sale"
        typer.echo(f"{lost}: nothing similar ({why})", err=True)


def together(
    bundle: Annotated[Path, typer.Argument(help="The model/ folder of a run.")],
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Product ids. [all]")] = None,
    k: Annotated[int, typer.Option("-k", help="How many, for each id.")] = 10,
    by: Annotated[str, typer.Option(help="lift, confidence, leverage, cosine or support.")] = "lift",
    min_support: Annotated[int, typer.Option("--min-support", help="Baskets with both products, at least.")] = 2,
) -> None:
    """Products bought together: association rules over all baskets.

    Examples:

      aisle together results/model 85123A

      aisle together results/model -k 3 --by confidence --min-support 20
    """
    from aisle.api import rules
    from aisle.bundle import load

    found = rules(load(bundle), ids or None, k=k, by=by, min_support=min_support)  # type: ignore[arg-type]
    wide = ["product_id", "with_id", "baskets", "confidence", "lift", by]  # as much as a screen is wide enough for
    seen = found.select(name for name in dict.fromkeys(wide) if name in found.columns)
    show_frame(f"Bought together with {', '.join(ids) if ids else 'each product'}", seen)
    for lost in [one for one in ids or [] if one not in set(found["product_id"])]:
        typer.echo(f"{lost}: no rules (in fewer than {min_support} baskets with any other product on sale)", err=True)


def due(
    bundle: Annotated[Path, typer.Argument(help="The model/ folder of a run.")],
    customers: Annotated[list[str], typer.Argument(metavar="CUSTOMER...", help="Customer ids.")],
    k: Annotated[int, typer.Option("-k", help="Products a customer.")] = 10,
) -> None:
    """What customers run out of: own products with the date they are expected and the chance in the next window.

    Example:

      aisle due results/model 17850 13047 -k 5
    """
    from aisle.bundle import load
    from aisle.jobs.due import due as due_job

    found = due_job(load(bundle), customers, k=k)
    dated = ("last_date", "due_date") if found["due_date"].null_count() < len(found) else ("due_in",)
    show_frame(f"Due for {', '.join(customers)}", found.select("customer_id", "product_id", "chance", "times", *dated))
    for lost in [one for one in customers if one not in set(found["customer_id"])]:
        typer.echo(f"{lost}: nothing due (opted out of profiling, or no own product on sale)", err=True)
