"""``aisle run``: the main job, from raw files to lists, certificate, report and bundle.

Work in progress lies in ``OUT/.work``; a run that was killed finds there what is finished and does the rest. The
results appear in OUT file by file at the end, each whole, ``certificate.json`` last.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aisle.bundle import Recommender, load, save
from aisle.config import RunConfig
from aisle.data.dataset import Dataset
from aisle.engine import Engine, open_engine
from aisle.errors import BundleError, UsageError
from aisle.files import fingerprint, write_json, write_parquet
from aisle.jobs.assess import Assessment, assess_dataset
from aisle.jobs.cache import ingest
from aisle.jobs.ingest import check_out, existing, read_ids
from aisle.jobs.line_up import Size, seconds
from aisle.jobs.lists import Policy, write_lists
from aisle.jobs.output import customers_frame, publish_lists
from aisle.jobs.recommend import only_codes, search_prepared
from aisle.jobs.samples import sales_by_period, sample_customers
from aisle.jobs.train import PREPARING, Crew, fit, ticking
from aisle.models import create, model_class
from aisle.models.base import LearnsInEpochs, Model
from aisle.progress import Progress, Tick
from aisle.report import write_report
from aisle.types import Codes
from aisle.version import VERSION

LONG = 300.0
"""CPU seconds foretold for a fit, beyond which its strips are kept though nobody shares them."""
ID_FILES = ("only_products", "only_customers", "no_profile")
"""Settings that name files of ids."""


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a run found and where it wrote it."""

    out: Path
    certificate: dict[str, Any]
    recommender: Recommender


def run(
    source: str | Path,
    out: Path,
    config: RunConfig | None = None,
    progress: Progress | None = None,
    *,
    cache: Path | None = None,
) -> RunResult:
    """Clean, assess, refit on everything up to ``at``, list, publish; see the module text.

    ``cache`` is a folder that keeps what was read for later runs (``jobs/cache.py``); None = for this one alone.
    """
    config, progress = config or RunConfig(), progress or Progress()
    with open_engine(config) as engine:
        return _run(source, out, config, progress, cache, engine)


def _run(
    source: str | Path, out: Path, config: RunConfig, progress: Progress, cache: Path | None, engine: Engine
) -> RunResult:
    work = _work_folder(source, out, config)
    found = ingest(source, config, progress, cache or work / "data")
    _only_for(found.data, work)
    dataset = found.dataset
    only = only_codes(dataset, Path(config.only_products) if config.only_products else None)
    customers = _customer_codes(dataset, config)
    cells, told = work / "cells", found.report
    assessment = assess_dataset(dataset, config, kept=cells, engine=engine, progress=progress, report=told)
    recommender = _recommender(dataset, assessment, work, config, progress, engine)
    recommender = recommender.searching(config.search, least_recall=config.least_recall, customers=len(customers))
    policy = Policy(k=config.k, repeats=config.repeats, variants=config.variants, list_gone=config.list_gone, only=only)
    rules = policy.rules(recommender)
    search = search_prepared(recommender, rules, config.k, progress)
    with progress.step(f"Writing lists for {len(customers):,} customers") as tick:
        ids, model = recommender.dataset.customers.vocab.names(customers), work / "model"
        parts = write_lists(recommender, model, ids, policy, work / "lists", engine=engine, tick=tick)
    certificate = assessment.certificate
    certificate["data"] = found.data
    with progress.step("Publishing"):
        (out / "certificate.json").unlink(missing_ok=True)  # of an earlier run: it would speak for the new files
        rows = publish_lists(parts, out, config.k)
        certificate["lists"] = _lists_summary(recommender, customers, rows, config, rules.listed)
        certificate["lists"]["search"] = search
        write_parquet(out / "customers.parquet", customers_frame(recommender, parts))
        write_parquet(out / "rejects.parquet", found.rejects)
        write_report(
            out,
            certificate,
            sales=sales_by_period(dataset),
            samples=sample_customers(recommender, config.k, rules),
            rejects=found.rejects,
        )
        shutil.rmtree(out / "model", ignore_errors=True)
        (work / "model").rename(out / "model")
        write_json(out / "certificate.json", certificate)
    shutil.rmtree(work)
    return RunResult(out, certificate, recommender)


def _work_folder(source: str | Path, out: Path, config: RunConfig) -> Path:
    """``OUT/.work``, emptied unless it belongs to the same version, settings and input files.

    Whatever is wrong with settings, paths and id files is told before anything is written.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; give a folder")
    if (out / "model").exists() and not (out / "model" / "products" / "manifest.json").exists():
        raise UsageError(f"{out / 'model'} is no model of ours and would be replaced; give another --out")
    check_out(source, out)
    for name in config.models:
        model_class(name)
    ids = {o: read_ids(Path(p)).to_list() for o in ID_FILES if (p := getattr(config, o)) is not None}
    files: list[Any] = []
    if "://" not in str(source):
        path, mine = existing(source).resolve(), out.resolve()
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        found = [f for f in found if f.is_file() and mine not in f.parents]
        found = [f for f in found if not any(part.startswith(".") for part in f.relative_to(path).parts)]
        files = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in found]
    known = {"version": VERSION, "config": config.to_dict(), "ids": ids, "files": files, "source": str(source)}
    key = fingerprint(known)
    work = out / ".work"
    if not (work / key).exists() or "://" in str(source):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        (work / key).touch()
    return work


def _only_for(data: dict[str, Any], work: Path) -> None:
    """Forget cells, model and lists of other data: files may be read otherwise on another day."""
    mark = work / f"data-{fingerprint(data)}"
    if not mark.exists():
        for stale in ("cells", "training", "model", "lists"):
            shutil.rmtree(work / stale, ignore_errors=True)
        for other in work.glob("data-*"):
            other.unlink()
        mark.touch()


def _recommender(
    dataset: Dataset, assessment: Assessment, work: Path, config: RunConfig, progress: Progress, engine: Engine
) -> Recommender:
    """The shipped model refitted on everything before ``as_of``, read back from its bundle: both answer alike.

    A bundle that a killed run left is kept only if it holds this very model.
    """
    wanted, by_model = create(assessment.ship, **assessment.settings), assessment.cold_by_model
    try:
        kept = load(work / "model")
        if (kept.model.name, kept.model.params(), kept.cold_by_model) == (wanted.name, wanted.params(), by_model):
            return kept.limited(config.memory_bytes // 4)
    except BundleError:  # not there yet, or torn
        pass
    for stale in ("model", "lists"):
        shutil.rmtree(work / stale, ignore_errors=True)
    with progress.step(f"Fitting {assessment.ship} on everything") as tick:
        _fit(wanted, dataset, work / "training", config, engine, tick)
    with progress.step(PREPARING) as tick:
        made = Recommender.prepare(wanted, dataset, seed=config.seed, cold_by_model=by_model, tick=tick)
        save(made, work / "model")
    return load(work / "model").limited(config.memory_bytes // 4)


def _fit(model: Model, dataset: Dataset, folder: Path, config: RunConfig, engine: Engine, tick: Tick) -> None:
    """Fit in place; what learns in epochs, or by parts, goes on in ``folder`` after a kill, and is learned by workers.

    What learns in epochs by those of a cluster alone: where it has no room for so many, and on one machine, whose cores
    are all in use anyway, by this process.
    """
    if _parted(model, dataset, config):
        kept = folder / "parts"
        fit(model, dataset, checkpoint=kept, crew=Crew(engine, config.workers or 1), tick=tick)
        return
    if not isinstance(model, LearnsInEpochs):
        model.fit(dataset)
        return
    crew = _crew(model, config, engine)
    kept = folder / fingerprint([model.name, model.params(), crew and [crew.size, config.engine]])
    watches = [ticking(tick, int(model.params().get("epochs", 0)))]
    try:
        fit(model, dataset, checkpoint=kept, watches=watches, crew=crew)
    except BundleError:  # torn, or of another device: it is made again
        shutil.rmtree(kept, ignore_errors=True)
        fit(model, dataset, checkpoint=kept, watches=watches, crew=crew)


def _parted(model: Model, dataset: Dataset, config: RunConfig) -> bool:
    """Whether a fit goes by parts: a ranker's always; strips, for which all lines are copied, where it is worth it."""
    if model.by_parts != "strips":
        return model.by_parts is not None
    return config.several or seconds(model.name, Size.of(dataset, 0)) > LONG


def _crew(model: Model, config: RunConfig, engine: Engine) -> Crew | None:
    """The workers of a cluster that learn a model together; None where there is none, or no room for them."""
    size = config.workers or 1
    if config.engine != "ray" or size == 1:
        return None
    try:
        engine.check_together(size, model.params().get("device", "cpu") != "cpu")
    except UsageError:
        return None
    return Crew(engine, size)


def _customer_codes(dataset: Dataset, config: RunConfig) -> Codes:
    vocab = dataset.customers.vocab
    if config.only_customers is None:
        return np.arange(len(vocab), dtype=np.int32)
    codes = np.unique(vocab.codes(read_ids(Path(config.only_customers))))
    if not (codes >= 0).any():
        example = vocab.ids[0] if len(vocab) else "none"
        raise UsageError(f"no id in {config.only_customers} is a known customer; ids look like {example!r}")
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
        "variants": config.variants,
        "opted_out": int(recommender.dataset.flag("no_profile").sum()),
    }
