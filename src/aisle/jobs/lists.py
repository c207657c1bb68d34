"""Lists for customers by their ids; for many of them by parts, which any engine does: ids in, a file of lists out."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from aisle.bundle import RECOMMENDATIONS, Recommender, load
from aisle.engine import Engine, Local, Receipt
from aisle.engine.base import at_hand, let_go
from aisle.errors import ResourceError
from aisle.files import Receipts, fingerprint, read_parquet, sha256, write_parquet
from aisle.jobs.levels import PRODUCT, Cut, customer_lists
from aisle.progress import Tick
from aisle.rank.rules import Plan, Rules
from aisle.types import Codes, Repeats, Variants
from aisle.version import VERSION

CUSTOMERS_A_PART = 50_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Policy:
    """What lists hold."""

    k: int = 10
    level: str = PRODUCT
    """``product``, a level of the product tree, or ``leaf``."""
    repeats: Repeats = "mixed"
    variants: Variants = "one"
    list_gone: bool = False
    only: Codes | None = None
    """(N,) products: nothing else is listed; None = no such limit."""

    def rules(self, recommender: Recommender) -> Rules:
        """The rules for one recommender; raises UsageError for a policy or a level that it does not have."""
        if self.level != PRODUCT:
            Cut.of(recommender.dataset, self.level)
        return recommender.rules(repeats=self.repeats, only=self.only, list_gone=self.list_gone, variants=self.variants)


def lists_at(
    recommender: Recommender, ids: pl.Series, level: str, k: int, rules: Rules, tick: Tick = lambda done, total: None
) -> pl.DataFrame:
    """Lists of products, or of categories of a level, for ids of the caller's own."""
    if level == PRODUCT:
        return lists_for(recommender, ids, k, rules, tick)
    return customer_lists(recommender, ids, level, k, rules)


def lists_for(
    recommender: Recommender, ids: pl.Series, k: int, rules: Rules, tick: Tick = lambda done, total: None
) -> pl.DataFrame:
    """Lists for ids of the caller's own, in their order, unknown ones included; repeated ids are answered once."""
    ids = ids.cast(pl.String).unique(maintain_order=True)
    codes = recommender.dataset.customers.vocab.codes(ids)
    size = recommender.block_size_for(rules)
    frames = [pl.DataFrame(schema=RECOMMENDATIONS)] if not len(codes) else []
    for at in range(0, len(codes), size):
        batch = recommender.dataset.batch(codes[at : at + size])
        frames.append(recommender.frame(batch, k, rules, ids.slice(at, size)))
        tick(at + len(batch), len(codes))
    return pl.concat(frames)


def write_lists(
    recommender: Recommender,
    bundle: Path,
    ids: pl.Series,
    policy: Policy,
    folder: Path,
    *,
    engine: Engine | None = None,
    tick: Tick = lambda done, total: None,
) -> list[Path]:
    """Lists of many customers as Parquet parts in ``folder``, at least one; parts that are there and whole stay.

    ``recommender`` is what ``bundle`` holds, which workers open for themselves: the lists never come together here.
    How they are searched is decided here; ``tick`` counts customers. Raises UsageError as ``Policy.rules`` does,
    ResourceError for a worker that would search otherwise.
    """
    bundle, folder = bundle.resolve(), folder.resolve()
    shared = _shared(recommender, bundle, policy, folder)
    ids = ids.cast(pl.String).unique(maintain_order=True).rename("customer_id")
    parts = []
    for number in range(max(1, -(-len(ids) // CUSTOMERS_A_PART))):
        asked, lists = (folder / f"{what}-{number:05d}.parquet" for what in ("ids", "part"))
        write_parquet(asked, ids.slice(number * CUSTOMERS_A_PART, CUSTOMERS_A_PART).to_frame())
        parts.append({"ids": str(asked), "sha256": sha256(asked), "lists": str(lists)})
    done = 0

    def count_parts(ended: int, _: int) -> None:
        nonlocal done
        done = min(ended * CUSTOMERS_A_PART, len(ids))
        tick(done, len(ids))

    let_go()
    at_hand(shared["content"], lambda: _Opened(recommender, lambda more, _: tick(done + more, len(ids))))
    try:
        receipts = Receipts(folder / "receipts")
        (engine or Local()).map(make_lists, parts, shared, receipts=receipts, tick=count_parts)
    finally:
        let_go()
    return [Path(part["lists"]) for part in parts]


def _shared(recommender: Recommender, bundle: Path, policy: Policy, folder: Path) -> dict[str, Any]:
    """What all parts hang on, as JSON; ``content`` says what is in the files that it names."""
    only = None
    if policy.only is not None:
        only = folder / "only.parquet"
        write_parquet(only, pl.DataFrame({"code": policy.only}))
    rules = policy.rules(recommender)
    told = recommender.search_told(rules, policy.k) if policy.level == PRODUCT else {"kind": "exact"}
    exact = told["kind"] == "exact"  # whatever the reason: workers build and measure nothing
    plan, search = (asdict(Plan()), {"kind": "exact"}) if exact else (asdict(recommender.plan), told)
    files = [bundle / part / "manifest.json" for part in ("products", "customers")] + ([only] if only else [])
    return {
        "bundle": str(bundle),
        "content": fingerprint([VERSION, recommender.memory_bytes, plan, search, *map(sha256, files)]),
        "memory_bytes": recommender.memory_bytes,
        "plan": plan,
        "search": search,
        "only": str(only) if only else None,
        "policy": {name: getattr(policy, name) for name in ("k", "level", "repeats", "variants", "list_gone")},
    }


def make_lists(part: dict[str, Any], shared: dict[str, Any]) -> Receipt:
    """One part, by whichever worker: the lists of the ids in one file, written to another."""
    opened = at_hand(shared["content"], lambda: _opened_by(shared))
    only = None if shared["only"] is None else read_parquet(Path(shared["only"]))["code"].to_numpy()
    policy = Policy(**shared["policy"], only=only)
    ids, path = read_parquet(Path(part["ids"]))["customer_id"], Path(part["lists"])
    rules = policy.rules(opened.recommender)
    _check_search(opened.recommender, rules, policy.k, shared["search"])
    frame = lists_at(opened.recommender, ids, policy.level, policy.k, rules, opened.tick)
    with TemporaryDirectory(dir=path.parent) as own:  # a worker given up for lost may be at the same part
        write_parquet(Path(own) / path.name, frame)
        os.replace(Path(own) / path.name, path)
    return {"rows": frame.height, "files": {str(path): sha256(path)}}


def _check_search(recommender: Recommender, rules: Rules, k: int, meant: dict[str, Any]) -> None:
    """Raise ResourceError where an index is meant and this worker's is another one, or none."""
    if meant["kind"] == "exact" or (own := recommender.search_told(rules, k)) == meant:
        return
    raise ResourceError(
        f"a worker would search otherwise than the certificate says: {json.dumps(own)} instead of {json.dumps(meant)}; "
        "install the same faiss on every machine and take machines with the same kind of CPU, or give --search exact"
    )


@dataclass(frozen=True, eq=False)
class _Opened:
    """A bundle that this process has open, and who wants to know how it goes here."""

    recommender: Recommender
    tick: Tick = lambda done, total: None


def _opened_by(shared: dict[str, Any]) -> _Opened:
    recommender = load(shared["bundle"]).limited(shared["memory_bytes"])
    return _Opened(replace(recommender, plan=Plan(**shared["plan"])))
