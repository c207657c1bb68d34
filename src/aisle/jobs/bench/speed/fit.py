"""Learning: item-kNN and iALS beside the same models of implicit and RecTools, on the same purchases.

Everybody has as many neighbours, dimensions and sweeps. Ours begins at the Dataset; theirs at the matrix of who bought
what, or what RecTools makes of it. implicit solves iALS by three steps of conjugate gradients, ours exactly.
"""

from __future__ import annotations

from functools import partial

from aisle.jobs.bench.speed import rivals
from aisle.jobs.bench.speed.pieces import MODELS, dataset, read_matrix, unfitted
from aisle.jobs.bench.speed.task import Json, Pair, Place, Side, Task, Work

IMPORTS = {name: ("aisle.jobs.cache", f"aisle.models.{name}") for name in MODELS}


def ours(name: str, place: Place) -> Work:
    """A fit of one of our models to the retailer."""
    data = dataset(place)
    pairs, shape = data.counts.nnz, data.shape
    return Work(lambda: unfitted(name).fit(data), lambda found: _told(name, pairs, shape))


def _implicit(name: str, place: Place) -> Work:
    bought = read_matrix(place)
    model = rivals.implicit_model(name, MODELS[name], place.size.threads)
    return Work(lambda: model.fit(bought, show_progress=False), lambda found: _told(name, bought.nnz, bought.shape))


def _rectools(name: str, place: Place) -> Work:
    bought = read_matrix(place)
    data = rivals.rectools_dataset(bought)
    model = rivals.rectools_model(name, MODELS[name], place.size.threads)
    return Work(lambda: model.fit(data), lambda found: _told(name, bought.nnz, bought.shape))


def _told(name: str, pairs: int, shape: tuple[int, int]) -> Json:
    """Sizes; of iALS the operations of the sums and of the solutions too."""
    said: Json = {"customers": shape[0], "pairs": pairs}
    if name != "ials":
        return said
    dim, sweeps = MODELS[name]["dim"], MODELS[name]["sweeps"]
    return said | {"gflop": sweeps * (4 * pairs * dim**2 + 2 / 3 * sum(shape) * dim**3) / 1e9}


def _sides(name: str) -> tuple[Side, ...]:
    return (
        Side(name=name, ready=partial(ours, name), pieces=("kept",), imports=IMPORTS[name]),
        Side(name=f"implicit {name}", ready=partial(_implicit, name), pieces=("matrix",), rival="implicit"),
        Side(name=f"RecTools {name}", ready=partial(_rectools, name), pieces=("matrix",), rival="rectools"),
    )


TASK = Task(
    name="fit",
    title="Learning",
    about="item-kNN with 200 neighbours, iALS with 64 dimensions and 8 sweeps, on the purchases of the retailer.",
    sides=_sides("item_knn") + _sides("ials"),
    pairs=(
        Pair(ours="item_knn", theirs="implicit item_knn"),
        Pair(ours="item_knn", theirs="RecTools item_knn"),
        Pair(ours="ials", theirs="implicit ials"),
        Pair(ours="ials", theirs="RecTools ials"),
        Pair(ours="ials", theirs="float32 product", limit="gflop"),
    ),
)
