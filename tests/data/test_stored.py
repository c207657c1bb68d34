"""A Dataset in a folder is the Dataset, to the last bit."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from aisle.data.build import Assortment
from aisle.data.dataset import Dataset
from aisle.data.entities import Entities
from aisle.data.events import Events
from aisle.data.stored import open_dataset, save_dataset
from aisle.errors import BundleError
from tests.contract.worlds import CUT, world
from tests.world.hybrid_shops import shop


def same_entities(one: Entities, other: Entities) -> None:
    assert one.vocab.ids.equals(other.vocab.ids)
    for mine, theirs in zip(one.features.levels, other.features.levels, strict=True):
        assert mine.name == theirs.name
        assert mine.vocab.ids.equals(theirs.vocab.ids)
        np.testing.assert_array_equal(mine.codes, theirs.codes, strict=True)
    for kind in ("numbers", "flags"):
        mine, theirs = getattr(one, kind), getattr(other, kind)
        assert list(mine) == list(theirs)
        for name, values in mine.items():
            np.testing.assert_array_equal(values, theirs[name], strict=True)
    if one.names is None or other.names is None:
        assert one.names is other.names
    else:
        assert one.names.equals(other.names, null_equal=True)
    np.testing.assert_array_equal(one.valid_from, other.valid_from)


def same(one: Dataset, other: Dataset) -> None:
    for field in fields(Events):
        mine, theirs = getattr(one.all_events, field.name), getattr(other.all_events, field.name)
        np.testing.assert_array_equal(mine, theirs, strict=True)
    same_entities(one.customers, other.customers)
    same_entities(one.products, other.products)
    for name in ("clock", "as_of", "end", "currency"):
        assert getattr(one, name) == getattr(other, name)
    for name in ("stores", "channels"):
        assert getattr(one, name).ids.equals(getattr(other, name).ids)
    for name in ("first_sale", "popularity", "tie_rank", "known", "indptr"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)


@pytest.mark.parametrize("packed", [False, True])
def test_everything_is_kept_also_what_lies_in_the_future(packed: bool, tmp_path: Path) -> None:
    data = replace(world(), currency="EUR")
    n_stores, n_products = len(data.stores), data.shape[1]
    spans = Assortment(
        np.array([0, 1], dtype=np.int32),
        np.array([2, 3], dtype=np.int32),
        np.array([5, 6]),
        np.array([7, 8]),
        (n_stores, n_products),
    )
    for each in (data, replace(data, assortment=spans), data.before(CUT - 10**12)):
        save_dataset(each, tmp_path / "data", packed=packed)  # in place of the one before
        found = open_dataset(tmp_path / "data")
        same(each, found)
        assert (found.assortment is None) == (each.assortment is None)
        if each.assortment is not None and found.assortment is not None:
            assert found.assortment.shape == each.assortment.shape
            for name in ("store", "product", "start", "stop"):
                np.testing.assert_array_equal(getattr(found.assortment, name), getattr(each.assortment, name))
    assert len(open_dataset(tmp_path / "data").before(data.end).lines) > len(found.lines)


def test_lines_are_mapped_and_what_is_written_to_them_stays_here(tmp_path: Path) -> None:
    data = world()
    save_dataset(data, tmp_path / "data")
    found = open_dataset(tmp_path / "data")
    assert isinstance(found.all_events.product.base, np.memmap)
    found.all_events.product[:] = 0
    same(data, open_dataset(tmp_path / "data"))


def test_packed_lines_are_a_part_of_the_size_and_damage_is_found(tmp_path: Path) -> None:
    data = world()
    for packed in (False, True):
        save_dataset(data, tmp_path / str(packed), packed=packed)
    size = {name: sum(f.stat().st_size for f in (tmp_path / name).rglob("*.*")) for name in ("False", "True")}
    assert size["True"] < size["False"]
    assert open_dataset(tmp_path / "True").all_events.quantity.flags.writeable, "torch warns of arrays that are not"
    lines = tmp_path / "True" / "lines.parquet"
    content = bytearray(lines.read_bytes())
    content[len(content) // 2] ^= 1
    lines.write_bytes(content)
    with pytest.raises(BundleError, match=r"lines\.parquet"):
        open_dataset(tmp_path / "True")


@pytest.mark.parametrize("packed", [False, True])
def test_a_shop_without_lines(packed: bool, tmp_path: Path) -> None:
    data = shop([("x", "a-1", 1, 1.0, None)])
    empty = replace(data, all_events=data.all_events.take(slice(0, 0)))
    save_dataset(empty, tmp_path / "data", packed=packed)
    same(empty, open_dataset(tmp_path / "data"))


def test_damage_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with pytest.raises(BundleError, match="holds no whole Dataset"):
        open_dataset(folder)
    save_dataset(world(), folder)
    text = (folder / "dataset.json").read_text()
    (folder / "dataset.json").write_text(text.replace('"format": 1', '"format": 2'))
    with pytest.raises(BundleError, match="has format 2, this version reads 1"):
        open_dataset(folder)
    (folder / "dataset.json").write_text(text)
    lines = folder / "lines" / "time.npy"
    lines.write_bytes(lines.read_bytes()[:-8])
    with pytest.raises(BundleError, match="holds no whole Dataset"):
        open_dataset(folder)
