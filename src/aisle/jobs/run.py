"""``aisle run``: the main job, from raw files to lists, certificate, report and bundle.

Work in progress lies in ``OUT/.work``; a run that was killed finds there what is finished and does the rest. The
results appear in OUT file by file at the end, each whole, ``certificate.json`` last.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aisle.bundle import Recommender, load, save
from aisle.config import RunConfig
from aisle.data.dataset import Dataset
from aisle.data.schema import CleanTables
from aisle.errors import BundleError, UsageError
from aisle.files import Receipts, fingerprint, write_json, write_parquet
from aisle.jobs.assess import Assessment, assess_dataset
from aisle.jobs.check import data_summary
from aisle.jobs.ingest import build_dataset, clean_source, existing, load_tables, read_ids, save_tables
from aisle.jobs.output import customers_frame, publish_lists, write_parts
from aisle.jobs.samples import sales_by_period, sample_customers
from aisle.models import create
from aisle.progress import Progress
from aisle.report import write_report
from aisle.types import Codes
from aisle.version import VERSION


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a run found and where it wrote it."""

    out: Path
    certificate: dict[str, Any]
    recommender: Recommender


def run(source: str | Path, out: Path, config: RunConfig | None = None, progress: Progress | None = None) -> RunResult:
    """Clean, assess, refit on everything up to ``at``, list, publish; see the module text."""
    config, progress = config or RunConfig(), progress or Progress()
    work = _work_folder(source, out, config)
    tables = _tables(source, work, config, progress)
    dataset = build_dataset(tables, config)
    assessment = assess_dataset(
        dataset, config, store=Receipts(work / "cells"), progress=progress, report=tables.report
    )
    recommender = _recommender(dataset, assessment, work, config, progress)
    rules = recommender.rules(
        repeats=config.repeats, only=_product_codes(recommender, config), list_gone=config.list_gone
    )
    customers = _customer_codes(recommender, config)
    with progress.step(f"Writing lists for {len(customers):,} customers") as tick:
        parts = write_parts(recommender, customers, config.k, rules, work / "lists", tick)
    certificate = assessment.certificate
    certificate["data"] = data_summary(tables)
    with progress.step("Publishing"):
        rows = publish_lists(parts, out, config.k)
        certificate["lists"] = _lists_summary(recommender, customers, rows, config, rules.listed)
        write_parquet(out / "customers.parquet", customers_frame(recommender, parts))
        write_parquet(out / "rejects.parquet", tables.rejects)
        write_report(
            out,
            certificate,
            sales=sales_by_period(dataset),
            samples=sample_customers(recommender, config.k, rules),
            rejects=tables.rejects,
        )
        shutil.rmtree(out / "model", ignore_errors=True)
        (work / "model").rename(out / "model")
        write_json(out / "certificate.json", certificate)
    shutil.rmtree(work)
    return RunResult(out, certificate, recommender)


def _work_folder(source: str | Path, out: Path, config: RunConfig) -> Path:
    """``OUT/.work``, emptied unless it belongs to the same version, settings and input files."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; give a folder")
    files: list[Any] = []
    if "://" not in str(source):
        path = existing(source)
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        files = [
            (str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in found if f.is_file() and out not in f.parents
        ]
    key = fingerprint({"version": VERSION, "config": config.to_dict(), "files": files, "source": str(source)})
    work = out / ".work"
    if not (work / key).exists() or "://" in str(source):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        (work / key).touch()
    return work


def _tables(source: str | Path, work: Path, config: RunConfig, progress: Progress) -> CleanTables:
    report = work / "tables" / "report.json"
    if report.exists():
        try:
            return load_tables(report.parent, json.loads(report.read_text(encoding="utf-8")))
        except (BundleError, ValueError):
            shutil.rmtree(report.parent)
    tables = clean_source(source, config, progress)
    save_tables(tables, report.parent)
    return tables


def _recommender(
    dataset: Dataset, assessment: Assessment, work: Path, config: RunConfig, progress: Progress
) -> Recommender:
    """The shipped model refitted on everything before ``as_of``, read back from its bundle: both answer alike."""
    if not (work / "model").exists():
        with progress.step(f"Fitting {assessment.ship} on everything"):
            model = create(assessment.ship, **assessment.settings).fit(dataset)
            save(Recommender.prepare(model, dataset, seed=config.seed), work / "model")
    return load(work / "model").limited(config.memory_bytes // 4)


def _product_codes(recommender: Recommender, config: RunConfig) -> Codes | None:
    if config.only_products is None:
        return None
    ids = read_ids(Path(config.only_products))
    codes = recommender.dataset.products.vocab.codes(ids)
    if not (codes >= 0).any():
        raise UsageError(f"none of the {len(ids)} ids in {config.only_products} is a known product")
    return codes


def _customer_codes(recommender: Recommender, config: RunConfig) -> Codes:
    vocab = recommender.dataset.customers.vocab
    if config.only_customers is None:
        return np.arange(len(vocab), dtype=np.int32)
    codes = np.unique(vocab.codes(read_ids(Path(config.only_customers))))
    if not (codes >= 0).any():
        raise UsageError(f"no id in {config.only_customers} is a known customer; ids look like {vocab.ids[0]!r}")
    return codes[codes >= 0].astype(np.int32)


def _lists_summary(
    recommender: Recommender, customers: Codes, rows: int, config: RunConfig, listed: np.ndarray[Any, Any]
) -> dict[str, Any]:
    """What was written, and why a list may be shorter than k."""
    return {
        "as_of": recommender.dataset.moment(recommender.dataset.as_of),
        "customers": len(customers),
        "k": config.k,
        "rows": rows,
        "missing": len(customers) * config.k - rows,
        "listed_products": int(listed.sum()),
        "gone_products": int((recommender.dataset.known & ~recommender.on_sale).sum()),
        "repeats": config.repeats,
    }
