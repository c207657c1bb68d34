"""The main job by the command line, on a small generated retailer."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

ENV = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "COLUMNS": "200"}
QUICK = ("--budget", "quick", "--models", "random,popularity,recent_popularity,personal_frequency,item_knn", "--quiet")


def aisle(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "aisle", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENV, check=False, timeout=300)
    assert done.returncode == code, done.stderr[-2000:] + done.stdout[-500:]
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "shop"
    aisle("demo", folder, "--customers", "150", "--products", "80", "--dirt", "--quiet")
    return folder


@pytest.fixture(scope="module")
def result(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("result") / "out"
    aisle("run", shop, "--out", out, *QUICK)
    return out


def test_every_customer_gets_k_rows_with_a_reason(shop: Path, result: Path) -> None:
    lists = pl.read_parquet(result / "recommendations.parquet")
    assert lists.columns == [
        *("customer_id", "rank", "product_id", "score", "probability"),
        *("reason", "reason_code", "reason_args", "source"),
    ]
    per_customer = lists.group_by("customer_id").agg(pl.len(), pl.col("product_id").n_unique().alias("different"))
    assert (per_customer["len"] == 10).all()
    assert (per_customer["different"] == 10).all()
    assert lists["reason"].null_count() == 0
    assert (lists["reason"].str.len_chars() > 0).all()
    listed = set(pl.read_parquet(result / "customers.parquet")["customer_id"])
    given = set(pl.read_csv(shop / "customers.csv", infer_schema=False)["customer_id"].drop_nulls())
    assert given <= listed
    assert set(lists["customer_id"]) == listed
    assert pl.read_csv(result / "recommendations.csv").height == lists.height
    assert pl.read_csv(result / "recommendations_wide.csv").height == len(listed)


def test_the_certificate_accounts_for_every_row_and_gives_a_verdict(result: Path) -> None:
    certificate = json.loads((result / "certificate.json").read_text())
    data = certificate["data"]
    assert data["rows_read"] == data["rows_accepted"] + data["rows_rejected"] > 0
    for counted in data["files"]:
        assert counted["read"] == counted["accepted"] + counted["rejected"]
    assert {"data", "protocol", "floor", "models", "verdict"} <= set(certificate)
    assert {"ship", "best_baseline", "lift", "personal_signal", "reason"} <= set(certificate["verdict"])
    assert certificate["verdict"]["ship"] in certificate["models"]
    assert 0 < certificate["floor"]["ndcg@10"] < 1
    assert {"mean", "low", "high"} <= set(certificate["models"]["popularity"]["ndcg@10"])
    rejects = pl.read_parquet(result / "rejects.parquet")
    assert rejects.columns == ["file", "line", "column", "code", "action", "raw"]
    assert rejects.filter(pl.col("action") == "rejected").height >= data["rows_rejected"]


def test_the_bundle_answers_with_the_same_lists(result: Path, tmp_path: Path) -> None:
    aisle("recommend", result / "model", "--out", tmp_path / "again.parquet", "--quiet")
    again = pl.read_parquet(tmp_path / "again.parquet")
    assert again.equals(pl.read_parquet(result / "recommendations.parquet"))


def test_no_file_of_a_run_can_execute(result: Path) -> None:
    kinds = {path.suffix for path in result.rglob("*") if path.is_file()}
    assert kinds <= {".parquet", ".csv", ".json", ".html", ".svg", ".safetensors", ".png", ".lock"}


def test_an_altered_bundle_is_refused(result: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "model"
    shutil.copytree(result / "model", copy)
    weights = copy / "products" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    done = aisle("recommend", copy, "--out", tmp_path / "x.parquet", code=3)
    assert "weights.safetensors" in done.stderr
    assert not (tmp_path / "x.parquet").exists()


def test_a_killed_run_goes_on_to_the_same_result(shop: Path, result: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "aisle", "run", str(shop), "--out", str(out), *QUICK]
    cells = out / ".work" / "cells"
    with subprocess.Popen(command, env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while process.poll() is None and len(list(cells.glob("*.json"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert not (out / "certificate.json").exists(), "killed too late to test anything"
    kept = {path.name: path.stat().st_mtime_ns for path in cells.glob("*.json")}
    assert len(kept) >= 3
    aisle("run", shop, "--out", out, *QUICK)
    assert (out / "recommendations.csv").read_bytes() == (result / "recommendations.csv").read_bytes()
    assert not (out / ".work").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("run", "no-such-folder"), 2, "no-such-folder"),
        (("run", ".", "--memory", "lots"), 2, "4GB"),
        (("run", ".", "--repeats", "never"), 2, "mixed, new, only"),
        (("run", ".", "--nonsense"), 2, "--nonsense"),
        (("recommend", "no-such-bundle"), 3, "no-such-bundle"),
    ],
)
def test_bad_usage_is_told_on_one_screen(arguments: tuple[str, ...], code: int, text: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aisle", *arguments], capture_output=True, text=True, env=ENV, cwd=tmp_path, check=False
    )
    assert done.returncode == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) < 30
    assert not list(tmp_path.iterdir()), "a refused command must leave nothing behind"


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = "import sys, aisle.cli; print([m for m in ('torch', 'polars', 'sklearn', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert "aisle run exports/" in aisle("run", "--help").stdout


def test_check_prints_the_data_section_and_writes_clean_tables(shop: Path, result: Path, tmp_path: Path) -> None:
    done = aisle("check", shop, "--json", "--out", tmp_path / "clean", "--quiet")
    told = json.loads(done.stdout)
    assert told == json.loads((result / "certificate.json").read_text())["data"]
    lines = pl.read_parquet(tmp_path / "clean" / "transactions.parquet")
    assert lines.height == told["rows_accepted"]
    again = json.loads(aisle("check", tmp_path / "clean", "--json", "--quiet").stdout)
    assert again["rows_accepted"] == again["rows_read"] == lines.height, "clean tables must be clean"
    assert "rejected" in aisle("check", shop, "--quiet").stdout


def test_evaluate_explain_and_similar_answer(shop: Path, result: Path, tmp_path: Path) -> None:
    names = "random,popularity,personal_frequency"
    done = aisle("evaluate", shop, "--models", names, "--budget", "quick", "--out", tmp_path / "c.json", "--quiet")
    assert "NDCG@10" in done.stdout
    assert "report.html" not in done.stdout, "there is none"
    certificate = json.loads((tmp_path / "c.json").read_text())
    assert set(certificate["models"]) == set(names.split(","))
    lists = pl.read_parquet(result / "recommendations.parquet")
    customer, product = str(lists["customer_id"][0]), str(lists["product_id"][0])
    assert product in aisle("explain", result / "model", customer).stdout
    assert "Similar to" in aisle("similar", result / "model", product, "-k", "3").stdout
    assert "not a known customer" in aisle("explain", result / "model", "nobody", code=2).stderr


def test_training_takes_settings_and_goes_on_where_it_was_stopped(shop: Path, tmp_path: Path) -> None:
    command = ("train", shop, "--model", "hybrid_factorization", "--set", "dim=8", "--set", "epochs=2")
    kept = ("--checkpoint", tmp_path / "training")
    aisle(*command, *kept, "--out", tmp_path / "one", "--quiet")
    assert list((tmp_path / "training").rglob("*.safetensors"))
    done = aisle(*command, *kept, "--out", tmp_path / "two")
    assert "Fitting hybrid_factorization" in done.stderr
    assert "Preparing reasons and fallbacks" in done.stderr
    aisle(*command, "--out", tmp_path / "three", "--quiet")
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.safetensors"))
    assert files
    for other in ("two", "three"):
        for path in files:
            assert (tmp_path / "one" / path).read_bytes() == (tmp_path / other / path).read_bytes(), (other, path)
    refused = aisle(*command[:4], "--set", "dims=8", "--out", tmp_path / "four", code=2).stderr
    assert "did you mean 'dim'?" in refused
    refused = aisle("train", shop, "--model", "ease", *kept, "--out", tmp_path / "four", code=2).stderr
    assert "models that do: hybrid_factorization" in refused
    assert not (tmp_path / "four").exists()


def test_links_between_products_are_learned_by_workers_to_the_same_bundle(shop: Path, tmp_path: Path) -> None:
    command = ("train", shop, "--model", "slim", "--quiet")
    shared = ("--workers", "2", "--checkpoint", tmp_path / "strips")
    aisle(*command, "--out", tmp_path / "one")
    for out in ("two", "again"):
        aisle(*command, *shared, "--out", tmp_path / out)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.safetensors"))
    assert files
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes(), path
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "again" / path).read_bytes(), path
    assert list((tmp_path / "strips").glob("*/strip-*.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "workers"), [("hybrid_factorization", 1), ("basket_transformer", 1), ("basket_transformer", 2)]
)
def test_training_killed_anywhere_ends_with_the_same_weights(
    model: str, workers: int, shop: Path, tmp_path: Path
) -> None:
    """Killed after each of its first checkpoints, by a signal that no program can catch."""
    settings = ("--set", "dim=8", "--set", "epochs=3", "--workers", str(workers), "--quiet")
    command = ("train", shop, "--model", model, *settings)
    aisle(*command, "--out", tmp_path / "whole")
    kept, seen = tmp_path / "kept", 0
    killed = [
        sys.executable,
        "-m",
        "aisle",
        *map(str, command),
        "--checkpoint",
        str(kept),
        "--out",
        str(tmp_path / "x"),
    ]
    for _ in range(2):
        with subprocess.Popen(killed, env=ENV, stderr=subprocess.DEVNULL) as process:
            before = seen
            while seen == before:
                assert process.poll() is None, "it ended before it was killed"
                time.sleep(0.01)
                with suppress(FileNotFoundError):  # folders come and go while it is at work
                    found = [path.stat().st_mtime_ns for path in kept.rglob("training.safetensors")]
                    seen = max(found, default=before)
            process.kill()
        assert process.returncode == -signal.SIGKILL
    aisle(*command, "--checkpoint", kept, "--out", tmp_path / "rest")
    weights = "products/weights.safetensors"
    assert (tmp_path / "rest" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    assert not (tmp_path / "x").exists()


def test_similar_customers_answer_and_those_who_opted_out_do_not(shop: Path, result: Path) -> None:
    people = pl.read_parquet(result / "customers.parquet").sort("frequency", descending=True, nulls_last=True)
    one, two = people["customer_id"].head(2).to_list()
    done = aisle("similar", result / "model", one, two, "--customers", "-k", "3")
    rows = [re.findall(r"[\w.+-]+", line) for line in done.stdout.splitlines() if line.startswith("│")]
    assert [row[:2] for row in rows] == [[who, place] for who in (one, two) for place in "123"]
    assert all(who != other for who, _, other, _ in rows)
    given = pl.read_csv(shop / "customers.csv", infer_schema=False)
    out = given.filter(pl.col("no_profile").str.to_lowercase().is_in(["true", "yes", "1"]))["customer_id"]
    known = [who for who in out if who in set(people["customer_id"])]
    assert known, "the shop must hold somebody who opted out"
    assert known[0] in aisle("similar", result / "model", known[0], "--customers").stderr
    assert not set(known) & {other for _, _, other, _ in rows}
    assert "not a known customer" in aisle("similar", result / "model", "nobody", "--customers", code=2).stderr
    assert "not a known product" in aisle("similar", result / "model", one, code=2).stderr


def test_the_python_face(shop: Path, tmp_path: Path) -> None:
    import aisle as library

    data = library.read(shop)
    best = library.fit(data, "item_knn")
    ids = data.customers.vocab.ids[:3].to_list()
    lists = library.recommend(best, ids, k=4)
    assert lists["customer_id"].unique(maintain_order=True).to_list() == ids
    assert lists.height == 12
    stranger = library.recommend(best, ["nobody we know"], k=4)
    assert stranger["source"].unique().to_list() == ["popularity"]
    product = str(lists["product_id"][0])
    near = library.similar(best, [product], k=3)
    assert product not in near["similar_id"].to_list()
    places = library.ranks(best, lists["customer_id"], lists["product_id"])
    assert places["rank"].to_list() == lists["rank"].to_list()
    alike = library.similar_customers(best, ids, k=3)
    assert (alike["customer_id"] != alike["similar_id"]).all()
    basket = lists.head(2).select(pl.lit("passer-by").alias("customer_id"), "product_id")
    new = library.recommend_new(best, basket, k=4)
    assert (new.lists.height, new.unused.height) == (4, 0)
    library.save(best, tmp_path / "bundle")
    assert library.recommend(library.load(tmp_path / "bundle"), ids, k=4).equals(lists)
