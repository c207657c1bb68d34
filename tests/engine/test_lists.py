"""Lists by parts: the same bytes whoever makes them and however often the work was killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from aisle.bundle import Recommender, load, save
from aisle.config import RunConfig
from aisle.engine import Engine, Local, base
from aisle.engine.base import Answers, let_go
from aisle.errors import UsageError
from aisle.files import read_parquet, write_parquet
from aisle.jobs import lists
from aisle.jobs.levels import customer_lists
from aisle.jobs.lists import Policy, write_lists
from aisle.jobs.output import join_lists
from aisle.jobs.recommend import Wanted, recommend
from aisle.models import create
from tests.contract.worlds import world

SIZE = 17
"""Customers a part."""
QUICK: dict[str, dict[str, Any]] = {
    "personal_frequency": {},
    "ials": {"dim": 4, "sweeps": 2},
    "basket_transformer": {"dim": 8, "epochs": 1},
}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "CUSTOMERS_A_PART", SIZE)


@cache
def made(name: str = "personal_frequency") -> Recommender:
    data = world()
    return Recommender.prepare(create(name, **QUICK[name]).fit(data), data)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    save(made(), tmp_path / "model")
    return tmp_path / "model"


def plain(recommender: Recommender, ids: list[str], policy: Policy, folder: Path) -> list[bytes]:
    """The parts as one loop over parts and blocks writes them."""
    rules, found = policy.rules(recommender), []
    for start in range(0, len(ids), SIZE):
        mine = pl.Series(ids[start : start + SIZE])
        codes = recommender.dataset.customers.vocab.codes(mine)
        frame = recommender.frame(recommender.dataset.batch(codes), policy.k, rules, mine)
        if policy.level != "product":
            frame = customer_lists(recommender, mine, policy.level, policy.k, rules)
        write_parquet(folder / "plain.parquet", frame)
        found.append((folder / "plain.parquet").read_bytes())
    return found


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        (
            "personal_frequency",
            Policy(k=3, repeats="new", variants="all", list_gone=True, only=np.arange(25, dtype=np.int32)),
        ),
        ("personal_frequency", Policy(k=2, level="category_2")),
        ("ials", Policy(variants="all")),
        ("basket_transformer", Policy()),
    ],
)
def test_every_engine_writes_the_same_bytes(name: str, policy: Policy, engine: Engine, tmp_path: Path) -> None:
    save(made(name), tmp_path / "model")
    recommender, work = load(tmp_path / "model"), tmp_path / "work"
    everybody = recommender.dataset.customers.vocab.ids
    ids = pl.Series(["stranger", *everybody.reverse(), "stranger", *everybody[:3]])
    paths = write_lists(recommender, tmp_path / "model", ids, policy, work, engine=engine)
    want = plain(recommender, ids.unique(maintain_order=True).to_list(), policy, tmp_path)
    assert [path.read_bytes() for path in paths] == want
    assert len(paths) == 4
    assert {path.name for path in work.iterdir() if path.is_dir()} == {"receipts"}, "nothing else is left"


def test_this_process_opens_nothing_and_tells_how_far_it_is(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "load", lambda path: pytest.fail("opened the bundle that is open"))
    monkeypatch.setattr(Recommender, "block_size_for", lambda self, rules: 10)
    told: list[int] = []
    ids = made().dataset.customers.vocab.ids
    write_lists(made(), bundle, ids, Policy(), bundle.parent / "work", tick=lambda done, _: told.append(done))
    assert told == [0, 10, 17, 17, 27, 34, 34, 44, 51, 51, 60, 60]
    assert not base._at_hand, "nothing stays open"


class Elsewhere(Local):
    """Work in this process that finds nothing of the caller's at hand, like a worker."""

    def answers(self, task: str, parts: Mapping[int, str], shared: str) -> Answers:
        let_go()
        yield from super().answers(task, parts, shared)


def test_workers_open_the_bundle_that_is_meant_once(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def opening(path: str) -> Recommender:
        opened.append(path)
        return load(path)

    monkeypatch.setattr(lists, "load", opening)
    ids, work = made().dataset.customers.vocab.ids, bundle.parent / "work"
    save(made("ials"), bundle.parent / "other")
    for name, path in (("personal_frequency", bundle), ("ials", bundle.parent / "other")):
        parts = write_lists(made(name), path, ids, Policy(), work, engine=Elsewhere())
        assert opened.pop() == str(path)
        assert opened == []
        assert name in read_parquet(parts[0])["source"]


def test_parts_belong_to_ids_policy_and_bundle(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    by = lists.lists_at

    def counted(recommender: Recommender, ids: pl.Series, *rest: Any) -> pl.DataFrame:
        asked.append(ids[0])
        return by(recommender, ids, *rest)

    monkeypatch.setattr(lists, "lists_at", counted)
    ids, work = made().dataset.customers.vocab.ids.to_list(), bundle.parent / "work"
    firsts = ids[::SIZE]

    def again(ids: list[str], policy: Policy, recommender: Recommender = made()) -> list[str]:  # noqa: B008
        asked.clear()
        write_lists(recommender, bundle, pl.Series(ids), policy, work)
        return list(asked)

    assert again(ids, Policy()) == firsts
    assert again(ids, Policy()) == []
    assert again([*ids[:-1], "stranger"], Policy()) == firsts[3:], "the part with other ids alone"
    assert again(ids, Policy(k=9)) == firsts
    for size in (5, 6):
        assert again(ids, Policy(k=9, only=np.arange(size, dtype=np.int32))) == firsts
    assert again(ids, Policy(k=9), made().limited(1 << 20)) == firsts
    shutil.rmtree(bundle)
    save(made("ials"), bundle)
    assert again(ids, Policy(k=9), made("ials")) == firsts
    assert again(ids, Policy(k=9), made("ials")) == []
    paths = sorted(work.glob("part-*.parquet"))
    before = [path.read_bytes() for path in paths]
    paths[1].write_bytes(before[1][:-10])
    paths[2].unlink()
    assert again(ids, Policy(k=9), made("ials")) == firsts[1:3]
    assert [path.read_bytes() for path in paths] == before


# --- aisle recommend --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["product", "category_1"])
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_recommend_joins_the_parts(
    suffix: str, level: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = ["stranger", *made().dataset.customers.vocab.ids.reverse()]
    (tmp_path / "ids.txt").write_text("\n".join([*ids, "stranger"]))
    out, wanted = tmp_path / f"lists{suffix}", Wanted(customers=tmp_path / "ids.txt", k=4, level=level)
    rows = recommend(bundle, out, wanted)
    frame = lists.lists_at(load(bundle), pl.Series(ids), level, 4, load(bundle).rules())
    found = read_parquet(out) if suffix == ".parquet" else pl.read_csv(out, schema=frame.schema)
    assert found.equals(frame)
    assert rows == frame.height
    assert {path.name for path in tmp_path.iterdir()} == {"ids.txt", "model", out.name}, "parts are gone"
    monkeypatch.setattr(lists, "CUSTOMERS_A_PART", 1000)
    recommend(bundle, tmp_path / f"one{suffix}", wanted)
    if suffix == ".parquet":
        write_parquet(tmp_path / "plain.parquet", frame)
        assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "plain.parquet").read_bytes()
    else:
        assert (tmp_path / "one.csv").read_bytes() == out.read_bytes()


def test_recommend_leaves_nothing_behind_where_it_refuses_or_nobody_is_asked_for(bundle: Path, tmp_path: Path) -> None:
    for wrong in (Wanted(level="category_9"), Wanted(by="planet"), Wanted(repeats="never")):  # type: ignore[arg-type]
        with pytest.raises(UsageError):
            recommend(bundle, tmp_path / "out" / "lists.csv", wrong)
    with pytest.raises(UsageError, match="added up in one process"):
        recommend(bundle, tmp_path / "out" / "lists.csv", Wanted(by="group_1"), engine=Local(2))
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
    (tmp_path / "ids.txt").write_text("")
    for level in ("product", "category_1"):
        wanted = Wanted(customers=tmp_path / "ids.txt", level=level)
        assert recommend(bundle, tmp_path / "none.parquet", wanted) == 0
        assert read_parquet(tmp_path / "none.parquet").columns[:2] == ["customer_id", "rank"]
        assert recommend(bundle, tmp_path / "none.csv", wanted) == 0
        assert (tmp_path / "none.csv").read_text().startswith("customer_id,rank,")


def test_joined_parts_are_checked(bundle: Path, tmp_path: Path) -> None:
    paths = write_lists(made(), bundle, made().dataset.customers.vocab.ids, Policy(), tmp_path / "work")
    join_lists(paths, tmp_path / "all.parquet")
    assert read_parquet(tmp_path / "all.parquet").equals(pl.concat([read_parquet(path) for path in paths]))
    torn = (tmp_path / "all.parquet").read_bytes()
    (tmp_path / "all.parquet").write_bytes(torn[: len(torn) // 2] + b"\0" + torn[len(torn) // 2 + 1 :])
    with pytest.raises(Exception, match=r"all\.parquet"):
        read_parquet(tmp_path / "all.parquet")


# --- whole commands, killed -------------------------------------------------------------------------------------------

COMMAND = f"""
import os, signal, sys
from aisle.files import Receipts
from aisle.jobs import lists
lists.CUSTOMERS_A_PART = {SIZE}
kill_after, put, stored = int(os.environ["KILL_AFTER"]), Receipts.put, []
def mortal(self, key, value):
    put(self, key, value)
    if self.folder.name == "receipts":
        stored.append(key)
        if len(stored) == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
Receipts.put = mortal
from aisle.cli import main
main()
"""


def command(*arguments: str | Path, kill_after: int = 0) -> None:
    """The command line, killed by SIGKILL after so many parts of lists."""
    environment = {**os.environ, "KILL_AFTER": str(kill_after), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-c", COMMAND, *map(str, arguments), "--quiet"]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == (-signal.SIGKILL if kill_after else 0), done.stderr


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_a_killed_recommend_goes_on_to_the_same_bytes(workers: tuple[str, ...], bundle: Path, tmp_path: Path) -> None:
    recommend(bundle, tmp_path / "want.parquet")
    out, work = tmp_path / "lists.parquet", tmp_path / ".lists.parquet.parts"
    command("recommend", bundle, "--out", out, *workers, kill_after=2)
    assert not out.exists()
    kept = {path.name: path.stat().st_mtime_ns for path in work.glob("receipts/*.json")}
    assert len(kept) == 2
    command("recommend", bundle, "--out", out, kill_after=1)
    assert kept.items() <= {path.name: path.stat().st_mtime_ns for path in work.glob("receipts/*.json")}.items()
    command("recommend", bundle, "--out", out, *workers)
    assert out.read_bytes() == (tmp_path / "want.parquet").read_bytes()
    assert not work.exists()


def test_a_run_killed_under_one_engine_is_finished_by_another(tmp_path: Path) -> None:
    command("demo", tmp_path / "shop", "--customers", "60", "--products", "50")
    run = ("run", tmp_path / "shop", "--budget", "quick", "--models", "popularity,personal_frequency", "--out")
    command(*run, tmp_path / "want")
    command(*run, tmp_path / "out", kill_after=2)
    lists_before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out/.work/lists").glob("part-*.parquet")}
    assert len(lists_before) == 2
    command(*run, tmp_path / "out", "--workers", "2", kill_after=1)
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out/.work/lists").glob("part-*.parquet")}
    assert lists_before.items() < after.items(), "the folder of a run does not hang on who does the work"
    command(*run, tmp_path / "out", "--engine", "local")
    for name in ("recommendations.parquet", "recommendations.csv", "recommendations_wide.csv", "customers.parquet"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "want" / name).read_bytes(), name


def test_who_does_the_work_is_no_part_of_the_outcome() -> None:
    assert RunConfig(engine="ray", workers=3, address="10.0.0.1:6379").to_dict() == RunConfig().to_dict()
    assert not {"engine", "workers", "address"} & set(RunConfig().to_dict())
    with pytest.raises(UsageError, match="needs engine 'ray'"):
        RunConfig(address="10.0.0.1:6379")
    for wrong in ({"engine": "spark"}, {"workers": 0}, {"workers": True}, {"engine": "ray", "address": 3}):
        with pytest.raises(UsageError):
            RunConfig(**wrong)
