"""Every side of ``aisle bench speed`` does its work, at a size of a second; others where they are installed."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from aisle.jobs.bench.speed.child import measure
from aisle.jobs.bench.speed.pieces import PIECES, missing
from aisle.jobs.bench.speed.task import TASKS, Json, Place, Side, Size, task

SIZE = Size(rows=2_000, products=200, threads=1)
SIDES = [(name, side.name) for name in TASKS for side in task(name).sides]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("speed"), SIZE)


def done(place: Place, side: Side) -> Json:
    for piece in missing(place, side.pieces):
        PIECES[piece][1](place)
    assert missing(place, side.pieces) == ()
    return measure(side, place)


@pytest.mark.parametrize(("name", "side"), SIDES)
def test_a_side_does_its_work(name: str, side: str, place: Place) -> None:
    now = task(name)
    one = now.side(side)
    if one.rival:
        pytest.importorskip(one.rival, exc_type=ImportError)
    with warnings.catch_warnings():
        if one.rival:  # what others warn of is theirs
            warnings.simplefilter("ignore")
        found = done(place, one)
    assert found["cpu_seconds"] >= 0
    assert found["peak_mb"] > 0
    amounts = {pair.limit for pair in now.pairs if pair.ours == side and pair.limit}
    assert amounts <= set(found["facts"])
    facts = found["facts"]
    if name in ("fit", "lists", "topk") or side.startswith(("fit", "lists")):
        assert facts["customers"] == SIZE.customers
    if name == "ingest":
        assert facts["rows"] == (2_020 if side == "1 % new lines" else 2_000)
    if name == "topk":
        assert facts["places_as_ours"] > 0.999
        assert facts["gflop"] == 2 * 40 * 50_000 * 128 / 1e9


def test_the_models_are_measured_on_the_same_purchases(place: Place) -> None:
    from aisle.jobs.bench.speed.pieces import dataset, read_matrix

    done(place, task("fit").sides[0])
    for piece in missing(place, ("matrix",)):
        PIECES[piece][1](place)
    bought = read_matrix(place)
    counts = dataset(place).counts
    assert bought.shape == counts.shape
    assert (bought.data == 1).all()
    assert np.array_equal(bought.indptr, counts.indptr)
    assert np.array_equal(bought.indices, counts.indices)


def test_one_percent_of_new_lines_can_be_measured_again_after_a_kill(place: Place) -> None:
    """A killed measurement leaves the new file behind; the next one begins as the first did."""
    side = task("ingest").side("1 % new lines")
    first = done(place, side)
    side.ready(place)  # never run, never told
    assert (place.path("grown") / "shop" / "transactions-2.csv").exists()
    assert done(place, side)["facts"] == first["facts"]
    assert not (place.path("grown") / "shop" / "transactions-2.csv").exists()


def test_pieces_lie_in_the_folder_of_their_size(place: Place) -> None:
    assert place.folder.name == "2000-200"
    assert {path.parent for path in Path(place.folder).iterdir()} == {place.folder}
