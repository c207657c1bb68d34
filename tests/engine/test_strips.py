"""What products say of each other, learned by strips, is what one process learns, whoever has the strips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from aisle.data.dataset import Dataset
from aisle.data.stored import save_dataset
from aisle.engine import Engine, Local, Receipt, parts, strips
from aisle.engine.parts import fit_by_parts
from aisle.errors import BundleError, UsageError
from aisle.files import remove, sha256
from aisle.jobs.train import Follow
from aisle.models import MODELS, create, model_class
from aisle.models import strips as catalogue
from aisle.models.base import Model
from aisle.models.strips import InStrips
from aisle.types import Sparse
from tests.contract.worlds import CUT, PRODUCTS, tables
from tests.engine.test_learn import equal
from tests.oracle.loops import data
from tests.oracle.shops import shop

NAMES = [name for name in MODELS if issubclass(model_class(name), InStrips)]
SIZE = 3
OTHER: dict[str, dict[str, Any]] = {
    "item_knn": {"within": "basket", "source_power": 0.3},
    "rp3beta": {"alpha": 0.6},
    "slim": {"neighbours": 4, "tolerance": 1e-2},
    "sequence_knn": {"gap_decay": 0.5, "neighbours": 4},
    "bought_together": {"measure": "lift", "min_support": 1},
}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "STRIP", SIZE)


def in_strips(name: str, shop: Dataset, engine: Engine, checkpoint: Path | None = None, **settings: Any) -> Model:
    model = create(name, **settings)
    fit_by_parts(model, shop, engine, checkpoint=checkpoint)
    return model


def matrices(model: Model) -> list[Sparse]:
    """What a model learned."""
    return [value for name, value in vars(model).items() if name.endswith("_")]


def test_these_learn_by_strips() -> None:
    assert set(NAMES) == set(OTHER)


@pytest.mark.parametrize("name", NAMES)
def test_the_width_of_the_strips_changes_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for settings in ({}, OTHER[name]):
        whole = create(name, **settings).fit(data())
        for width in (1, SIZE, 11, PRODUCTS - 1):
            monkeypatch.setattr(catalogue, "STRIP", width)
            assert equal(create(name, **settings).fit(data()), whole)
        monkeypatch.undo()


def with_shelf_warmers() -> Dataset:
    """The shop with products in its catalogue that nobody ever bought: first, scattered, last, and whole strips."""
    plain = tables()
    unbought = [*(f"a{i}" for i in range(2 * SIZE + 1)), "p05x", "p17x", "p17y", *(f"z{i}" for i in range(SIZE + 1))]
    products = pl.concat([plain.products, pl.DataFrame({"product_id": unbought})], how="diagonal")
    return Dataset.of(replace(plain, products=products.sort("product_id"))).before(CUT)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [SIZE, 500])
def test_products_that_nobody_bought_shift_the_others_and_change_nothing(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, shop = data(), with_shelf_warmers()
    monkeypatch.setattr(catalogue, "STRIP", width)
    places = shop.products.vocab.codes(plain.products.vocab.ids)
    assert (np.diff(places) > 1).any()
    assert places[0] > 2 * SIZE
    for settings in ({}, OTHER[name]):
        (few,) = matrices(create(name, **settings).fit(plain))
        (all_,) = matrices(create(name, **settings).fit(shop))
        wanted = np.zeros(all_.shape, dtype=np.float32)
        wanted[np.ix_(places, places)] = few.toarray()
        np.testing.assert_array_equal(all_.toarray(), wanted)


def test_a_large_catalogue_of_few_links_is_learned_in_strips_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """So wide that the best are found from cells instead of rows, but in strips of few products."""
    wide = shop({f"c{i}": [chr(0x4E00 + i % 80) + chr(0x5E00 + i % 77)] for i in range(400)})
    whole = create("item_knn").fit(wide)
    for width in (10, 20):
        monkeypatch.setattr(catalogue, "STRIP", width)
        assert equal(create("item_knn").fit(wide), whole)
    (links,) = matrices(whole)
    assert 0 < links.nnz < 0.2 * wide.shape[1] ** 2


@pytest.mark.parametrize("name", NAMES)
def test_whoever_has_the_strips_learns_the_same(name: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = create(name, **OTHER[name]).fit(data())
    monkeypatch.setattr(catalogue, "STRIP", PRODUCTS // 2)
    assert equal(in_strips(name, data(), engine, **OTHER[name]), whole)


@pytest.mark.parametrize("name", NAMES)
def test_of_nothing_bought_nothing_is_learned(name: str) -> None:
    empty = data().before(int(data().purchases.time.min()))
    assert len(empty.purchases) == 0
    assert equal(in_strips(name, empty, Local()), create(name).fit(empty))


def test_strips_that_are_done_are_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrow: None) -> None:
    done, laid_out, stop = list[int](), list[str](), 2
    task, links = strips.strip_part, model_class("item_knn").links  # type: ignore[attr-defined]

    def strip_part(part: dict[str, Any], shared: dict[str, Any]) -> Receipt:
        if len(done) == stop:
            raise KeyboardInterrupt
        done.append(part["products"][0])
        return task(part, shared)

    def counted(self: InStrips, shop: Dataset) -> Any:
        laid_out.append(self.name)
        return links(self, shop)

    strip_part.__module__ = strips.__name__
    strip_part.__qualname__ = "strip_part"
    monkeypatch.setattr(strips, "strip_part", strip_part)
    monkeypatch.setattr(model_class("item_knn"), "links", counted)
    with pytest.raises(KeyboardInterrupt):
        in_strips("item_knn", data(), Local(), tmp_path)
    assert done == [0, SIZE]
    assert not list(tmp_path.glob("**/*work*")), "no copy of the data stays"
    stop = -1
    model = in_strips("item_knn", data(), Local(), tmp_path)
    assert done == list(range(0, PRODUCTS, SIZE)), "each once, over both calls"
    assert laid_out == ["item_knn"] * 2, "lines are laid out once a worker, not once a strip"
    (damaged,) = tmp_path.glob(f"*/strip-{SIZE}-{2 * SIZE}.safetensors")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert equal(in_strips("item_knn", data(), Local(), tmp_path), model)
    assert done[len(range(0, PRODUCTS, SIZE)) :] == [SIZE], "and what is damaged, alone, is"
    other = in_strips("item_knn", data(), Local(), tmp_path, shrink=0.0)
    assert equal(other, create("item_knn", shrink=0.0).fit(data()))


def test_what_a_kill_left_of_the_lines_is_not_taken_for_them(tmp_path: Path) -> None:
    whole = create("item_knn").fit(data())
    assert equal(in_strips("item_knn", data(), Local(), tmp_path), whole)
    (folder,) = tmp_path.iterdir()
    (folder / ".work" / "data").mkdir(parents=True)
    (folder / ".work" / "data" / "half").write_text("of a file")
    for strip in folder.glob("strip-*"):
        strip.unlink()
    assert equal(in_strips("item_knn", data(), Local(), tmp_path), whole)
    assert not list(tmp_path.glob("**/*work*"))


@pytest.mark.parametrize("moment", ["before it is compared", "while it is compared"])
def test_lines_that_another_command_takes_away_are_laid_down_again(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, (hashed, taken) = create("item_knn").fit(data()), (sha256, list[Path]())
    in_strips("item_knn", data(), Local(), tmp_path)
    (folder,) = tmp_path.iterdir()
    save_dataset(data(), folder / ".work" / "data")  # another command is at work

    def took(path: Path) -> str:
        if path.is_relative_to(folder) and not taken:
            found = "" if moment == "before it is compared" else hashed(path)
            taken.append(path)
            remove(folder / ".work")
            return found or hashed(path)
        return hashed(path)

    monkeypatch.setattr(parts, "sha256", took)
    assert equal(in_strips("item_knn", data(), Local(), tmp_path), whole)
    assert taken
    assert not list(tmp_path.glob("**/*work*"))


def test_lines_that_are_taken_away_time_and_again_end_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_settled", lambda *_: False)
    with pytest.raises(UsageError, match=r"another command fits in .* too; give each a folder of its own"):
        in_strips("item_knn", data(), Local(), tmp_path)
    assert not list(tmp_path.glob("**/*work-*"))


def test_lines_that_lose_a_file_before_they_are_opened_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(folder: str) -> Dataset:
        remove(Path(folder).parent)
        raise BundleError(f"{folder} holds no whole Dataset")

    monkeypatch.setattr(strips, "open_shared", torn)
    with pytest.raises(UsageError, match="another command fits in"):
        in_strips("item_knn", data(), Local(), tmp_path)


def test_what_cannot_be_tidied_up_does_not_undo_a_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(folder: Path) -> None:
        raise OSError(39, "Directory not empty", str(folder))

    monkeypatch.setattr(parts, "remove", busy)
    assert equal(in_strips("item_knn", data(), Local(), tmp_path), create("item_knn").fit(data()))


@pytest.mark.parametrize("name", NAMES)
def test_a_catalogue_of_nothing_is_one_empty_strip(name: str) -> None:
    plain = tables()
    nothing = Dataset.of(replace(plain, products=plain.products.head(0), transactions=plain.transactions.head(0)))
    (links,) = matrices(create(name).fit(nothing))
    assert links.shape == (0, 0)


def test_they_take_workers_and_a_folder_but_no_curves(tmp_path: Path) -> None:
    Follow(workers=2, checkpoint=tmp_path).check(create("slim"))
    with pytest.raises(UsageError, match="slim does not learn in epochs"):
        Follow(tensorboard=tmp_path).check(create("slim"))
