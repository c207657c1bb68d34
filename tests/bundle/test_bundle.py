"""Bundles: the same lists after a round trip, and whatever was touched is refused by name."""

import json
import pickle  # noqa: TID251  (to prove that it is refused)
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from aisle.bundle import Recommender, load, save
from aisle.errors import BundleError
from aisle.files import sha256
from aisle.models import create
from tests.contract.worlds import world

K = 8


def recommender(name: str = "item_knn") -> Recommender:
    data = world()
    return Recommender.prepare(create(name).fit(data), data)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    save(recommender(), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", ["personal_frequency", "item_knn", "ease", "tifu_knn", "group_popularity"])
def test_a_bundle_answers_like_the_recommender_it_was_made_from(name: str, tmp_path: Path) -> None:
    made = recommender(name)
    save(made, tmp_path / "model")
    opened = load(tmp_path / "model")
    everyone = np.arange(-1, made.dataset.shape[0], dtype=np.int32)
    for repeats in ("mixed", "new", "only"):
        one, two = (r.frame(r.dataset.batch(everyone), K, r.rules(repeats=repeats)) for r in (made, opened))
        assert one.equals(two)


def test_the_same_recommender_gives_the_same_bytes(tmp_path: Path) -> None:
    for place in ("a", "b"):
        save(recommender(), tmp_path / place)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) > 20
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_opted_out_and_anonymous_shoppers_leave_no_history_in_a_bundle(bundle: Path) -> None:
    opened = load(bundle)
    assert (opened.dataset.all_events.customer >= 0).all()
    out = np.flatnonzero(opened.dataset.flag("no_profile"))
    assert not np.isin(opened.dataset.all_events.customer, out).any()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def replace_by_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weights": 1}))  # what an attacker would do; it must never be opened


def link(path: Path) -> None:
    target = path.with_name("elsewhere")
    path.rename(target.parent.parent / "elsewhere")
    path.symlink_to(target.parent.parent / "elsewhere")


@pytest.mark.parametrize("harm", [flip, cut, replace_by_pickle, link, Path.unlink])
def test_any_harm_to_any_file_is_refused_by_name(harm: Callable[[Path], None], bundle: Path) -> None:
    names = [p.relative_to(bundle) for p in bundle.rglob("*") if p.is_file() and p.name != "manifest.json"]
    for name in names:
        content = (bundle / name).read_bytes()
        harm(bundle / name)
        with pytest.raises(BundleError, match=name.name):
            load(bundle)
        (bundle / name).unlink(missing_ok=True)
        (bundle.parent / name.parent / "elsewhere").unlink(missing_ok=True)
        (bundle / name).write_bytes(content)
    load(bundle)


def test_an_extra_file_and_a_newer_format_are_refused(bundle: Path) -> None:
    extra = bundle / "products" / "extra.bin"
    extra.write_bytes(b"x")
    with pytest.raises(BundleError, match=r"extra\.bin"):
        load(bundle)
    extra.unlink()
    manifest = bundle / "products" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    with pytest.raises(BundleError, match=r"99.*upgrade"):
        load(bundle)


def test_a_header_bomb_is_refused_before_it_is_parsed(bundle: Path) -> None:
    weights = bundle / "products" / "weights.safetensors"
    weights.write_bytes(struct.pack("<Q", 63 << 20) + b"{" * 1000)
    manifest = bundle / "products" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["files"]["weights.safetensors"] = sha256(weights)
    manifest.write_text(json.dumps(content))
    with pytest.raises(BundleError, match="header"):
        load(bundle)


def forge(bundle: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    """Change the weights and mend the manifest, as a careful forger would."""
    weights = bundle / "products" / "weights.safetensors"
    arrays = load_file(weights)
    change(arrays)
    save_file(arrays, weights)
    manifest = bundle / "products" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["files"]["weights.safetensors"] = sha256(weights)
    manifest.write_text(json.dumps(content))


def test_weights_of_other_products_are_refused(bundle: Path) -> None:
    def shrink(arrays: dict[str, np.ndarray]) -> None:
        arrays["similar_.shape"] = arrays["similar_.shape"] - 1

    forge(bundle, shrink)
    with pytest.raises(BundleError, match="does not fit"):
        load(bundle)


def test_weights_with_nan_are_refused(bundle: Path) -> None:
    def spoil(arrays: dict[str, np.ndarray]) -> None:
        arrays["similar_.data"][0] = np.nan

    forge(bundle, spoil)
    with pytest.raises(BundleError, match="NaN"):
        load(bundle)
