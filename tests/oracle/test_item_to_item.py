"""ItemKNN within baskets and with other powers and decays, and SequenceKNN: by loops and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.data.dataset import Dataset
from aisle.errors import UsageError
from aisle.features import links, pairs
from aisle.models import create
from aisle.models.item_knn import ItemKNN
from aisle.models.sequence_knn import SequenceKNN
from aisle.types import Doubles
from tests.contract.worlds import CUSTOMERS, PRODUCTS
from tests.oracle.loops import Array, baskets, check, data, everyone, few, seeds
from tests.oracle.shops import NOBODY, asked, shop


def naive_history(dataset: Dataset, place_decay: float) -> tuple[Array, Array]:
    """(latest purchase, all baskets) of each product, a factor for every later basket."""
    latest, counts = np.zeros((2, CUSTOMERS, PRODUCTS))
    for who, rows in baskets(dataset).items():
        for place, (_, inside) in enumerate(rows):
            for product in inside if who >= 0 else ():
                latest[who, product] = place_decay ** (len(rows) - 1 - place)
                counts[who, product] += place_decay ** (len(rows) - 1 - place)
    return latest, counts


def divided(shared: Array, sizes: Array, a: float, b: float, shrink: float) -> Array:
    bottom = sizes[:, None] ** a * sizes[None, :] ** b + shrink
    out = np.divide(shared, bottom, out=np.zeros_like(shared), where=bottom > 0)
    np.fill_diagonal(out, 0)
    return out


@few
@given(
    seed=seeds,
    within=st.sampled_from(["customer", "basket"]),
    a=st.sampled_from([0.0, 0.3, 0.5]),
    b=st.sampled_from([0.2, 0.5]),
    place_decay=st.sampled_from([0.5, 0.8, 1.0]),
    own=st.sampled_from([0.0, 2.0]),
)
def test_item_knn_by_loops(seed: int, within: str, a: float, b: float, place_decay: float, own: float) -> None:
    dataset = data(seed)
    sets = []
    for who, rows in baskets(dataset).items():
        found = [set(inside) for _, inside in rows]
        if within == "basket":
            sets += found
        elif who >= 0:
            sets.append(set().union(*found))
    x = np.array([[product in one for product in range(PRODUCTS)] for one in sets], dtype=float)
    settings = {"within": within, "source_power": a, "target_power": b, "place_decay": place_decay, "own_weight": own}
    model = create("item_knn", neighbours=100, shrink=3.0, **settings).fit(dataset)
    latest, counts = naive_history(dataset, place_decay)
    expected = latest @ divided(x.T @ x, x.sum(axis=0), a, b, 3.0) + own * counts
    check(model.score(everyone(dataset)), expected, dataset)


def test_what_lies_in_one_basket_by_hand_those_of_strangers_too() -> None:
    dataset = shop({"a": ["xy", "z"], "b": ["x"], NOBODY: ["xz", "yz"]})
    model = ItemKNN(within="basket", shrink=0.0, own_weight=0.0, half_life_days=None).fit(dataset)
    x, y, z = range(3)
    near = model.similar_.toarray()  # baskets: xy, z, x, xz, yz
    assert near[x, y] == pytest.approx(1 / np.sqrt(3 * 2))
    assert near[x, z] == pytest.approx(1 / np.sqrt(3 * 3))
    assert near[y, z] == pytest.approx(1 / np.sqrt(2 * 3))
    customers = ItemKNN(shrink=0.0, own_weight=0.0).fit(dataset).similar_.toarray()
    assert customers[x, y] == pytest.approx(1 / np.sqrt(2))


def naive_sequence(dataset: Dataset, model: SequenceKNN) -> tuple[Array, Array]:
    shared, sizes = np.zeros((PRODUCTS, PRODUCTS)), np.zeros(PRODUCTS)
    for who, rows in baskets(dataset).items():
        kept = [set(inside) for _, inside in rows][-model.latest :] if who >= 0 else []
        for t, one in enumerate(kept):
            for i in one:
                sizes[i] += 1
            for s, other in enumerate(kept):
                if abs(s - t) > model.reach:
                    continue
                weight = model.gap_decay ** (abs(s - t) - 1) if s != t else model.together
                for i in one:
                    for j in other:
                        shared[i, j] += weight * (model.backward if s < t else 1.0)
    return shared, sizes


@few
@given(
    seed=seeds,
    gap_decay=st.sampled_from([0.5, 1.0]),
    backward=st.sampled_from([0.0, 0.3, 1.0]),
    together=st.sampled_from([0.0, 2.0]),
    reach=st.sampled_from([1, 3, 50]),
    latest=st.sampled_from([1, 4, 50]),
    own=st.sampled_from([0.0, 2.0]),
)
def test_sequence_knn_by_loops(
    seed: int, gap_decay: float, backward: float, together: float, reach: int, latest: int, own: float
) -> None:
    dataset = data(seed)
    model = SequenceKNN(
        gap_decay=gap_decay, backward=backward, together=together, reach=reach, latest=latest, own_weight=own
    )
    shared, sizes = naive_sequence(dataset, model)
    near = divided(shared, sizes, model.source_power, model.target_power, model.shrink)
    latest_, counts = naive_history(dataset, model.place_decay)
    check(model.fit(dataset).score(everyone(dataset)), latest_ @ near + own * counts, dataset)


def test_what_follows_by_hand() -> None:
    dataset = shop({"a": ["x", "y", "z"], "b": ["x", "y"], "c": ["x"]})
    model = SequenceKNN(
        shrink=0.0, source_power=1.0, target_power=0.0, gap_decay=0.5, backward=0.25, place_decay=0.5, own_weight=0.0
    ).fit(dataset)
    x, y, z = range(3)
    near = model.similar_.toarray()
    np.testing.assert_allclose(near[x], [0, 2 / 3, 0.5 / 3])  # two of three go on with y; z lies two baskets on
    np.testing.assert_allclose(near[y], [2 * 0.25 / 2, 0, 1 / 2])
    np.testing.assert_allclose(near[z], [0.25 * 0.5, 0.25, 0], rtol=1e-6)
    scores = model.score(asked(dataset, "bc"))
    np.testing.assert_allclose(scores[1], near[x])
    np.testing.assert_allclose(scores[0], 0.5 * near[x] + near[y])


def test_the_order_of_baskets_is_learnt_in_a_shop_of_chains() -> None:
    rng = np.random.default_rng(0)
    chain = "abcdefghij"
    held = {}
    for who in range(60):  # everybody walks along the chain from somewhere
        start = int(rng.integers(0, 5))
        held[f"c{who:02}"] = list(chain[start : start + 5])
    dataset = shop(held)
    batch = dataset.batch(np.arange(60, dtype=np.int32))
    last = np.array([chain.index(rows[-1]) for rows in held.values()])
    scores = SequenceKNN(own_weight=0.0, shrink=0.0).fit(dataset).score(batch)
    scores[batch.history.nonzero()] = -np.inf
    some = last < 8  # nobody went on to the last letter
    np.testing.assert_array_equal(scores.argmax(axis=1)[some], last[some] + 1)


def test_blocks_do_not_change_the_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [m.fit(data()).similar_.toarray() for m in (SequenceKNN(neighbours=5), ItemKNN(within="basket"))]
    monkeypatch.setattr(links, "BLOCK_CELLS", 3 * PRODUCTS)
    blocked = [m.fit(data()).similar_.toarray() for m in (SequenceKNN(neighbours=5), ItemKNN(within="basket"))]
    for one, other in zip(whole, blocked, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("sequence_knn", {key: -1.0}) for key in ("shrink", "backward", "together", "own_weight")),
        *(("sequence_knn", {key: 0}) for key in ("neighbours", "reach", "latest")),
        *(("sequence_knn", {key: 1.1}) for key in ("place_decay", "gap_decay", "source_power", "target_power")),
        *(("item_knn", {key: 1.1}) for key in ("place_decay", "source_power", "target_power")),
        ("item_knn", {"within": "shop"}),
        ("item_knn", {"place_decay": 0.0}),
    ],
)
def test_settings_out_of_range_are_refused(name: str, wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        create(name, **wrong)


@few
@given(work=st.lists(st.integers(1, 20), max_size=30))
def test_blocks_of_work_hold_every_row_once_and_pass_the_limit_by_less_than_a_row(work: list[int]) -> None:
    found = pairs.blocks_of_work(np.array(work, dtype=np.float64), 12)
    assert [row for start, stop in found for row in range(start, stop)] == list(range(len(work)))
    assert all(sum(work[start : stop - 1]) < 12 for start, stop in found)


def test_few_products_of_many_baskets_are_worked_on_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    wide: list[int] = []
    whole = pairs.blocks_of_work

    def spied(work: Doubles, limit: int) -> list[tuple[int, int]]:
        wide.append(len(found := whole(work, limit)))
        return found

    monkeypatch.setattr(links, "blocks_of_work", spied)
    monkeypatch.setattr(links, "BLOCK_CELLS", PRODUCTS**2)  # all products at once, were it not for the baskets between
    SequenceKNN(neighbours=5).fit(data())
    ItemKNN(within="basket").fit(data())
    assert wide[0] > wide[1] == 1
