"""Exact top-k of inner products against a full sort of the definition, and what must not change the answer."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aisle.errors import UsageError
from aisle.kernels import inner, targets, tiles
from aisle.kernels.inner import Targets, top_inner
from aisle.kernels.targets import Pairs
from aisle.kernels.topk import NOTHING, top_k
from aisle.types import Bools, Codes, Floats, Ints, Sparse

DEVICES = [None, "cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
"""Who chooses the candidates: the processor by its own way, or a torch device, with one code for every device."""


def by_definition(
    queries: Floats, vectors: Floats, bias: Floats | None, k: int, tie_rank: Codes, out: Bools
) -> tuple[Codes, Floats]:
    """Every score in float64, rounded, then sorted in full."""
    scores = np.einsum("nd,id->ni", queries.astype(np.float64), vectors.astype(np.float64))
    scores = (scores if bias is None else scores + bias).astype(np.float32)
    scores[out] = -np.inf
    return top_k(scores, k, tie_rank)


def same(found: tuple[Codes, Floats], expected: tuple[Codes, Floats]) -> None:
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def normal(random: np.random.Generator, rows: int, dim: int) -> Floats:
    return random.normal(size=(rows, dim)).astype(np.float32)


def some_barred(random: np.random.Generator, shape: tuple[int, int], share: float) -> Sparse:
    return sp.csr_array((random.random(shape) < share).astype(np.float32))


@pytest.mark.parametrize("n_products", [1, 9, 256, 300, 5_000, 70_000])
@pytest.mark.parametrize("kind", ["plain", "biased", "whole numbers", "all below zero", "far apart", "all alike"])
@pytest.mark.parametrize("device", DEVICES)
def test_lists_are_those_of_a_full_sort(n_products: int, kind: str, device: str | None) -> None:
    random = np.random.default_rng(n_products)
    n_customers, dim = (300, 24) if n_products < 10_000 else (20, 12)
    queries = normal(random, n_customers, dim)
    vectors = normal(random, n_products, dim)
    bias = None
    if kind == "biased":
        bias = random.normal(-50.0, 20.0, size=n_products).astype(np.float32)
    elif kind == "whole numbers":  # ties everywhere
        queries, vectors = np.round(queries), np.round(vectors)
    elif kind == "all below zero":
        queries, vectors = np.abs(queries), -np.abs(vectors)
    elif kind == "far apart":
        queries *= 1e6
        vectors *= random.lognormal(0.0, 3.0, size=(n_products, 1)).astype(np.float32)
    elif kind == "all alike":
        vectors[:] = vectors[0]
    tie_rank = random.permutation(n_products).astype(np.int32)
    allowed = random.random(n_products) < 0.8
    barred = some_barred(random, (n_customers, n_products), 0.05)
    targets = Targets.of(vectors, tie_rank, bias=bias, allowed=allowed)
    codes, scores = top_inner(queries, targets, 10, barred=barred, device=device)
    out = (barred.toarray() > 0) | ~allowed
    expected = by_definition(queries, vectors, bias, 10, tie_rank, out)
    same((codes, scores), expected)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_products=st.integers(1, 700),
    n_customers=st.integers(0, 40),
    dim=st.integers(1, 9),
    k=st.integers(1, 40),
    coarse=st.booleans(),
    device=st.sampled_from([None, "cpu"]),
)
def test_any_shape(
    seed: int, n_products: int, n_customers: int, dim: int, k: int, coarse: bool, device: str | None
) -> None:
    random = np.random.default_rng(seed)
    queries = normal(random, n_customers, dim)
    vectors = normal(random, n_products, dim)
    if coarse:
        queries, vectors = np.round(queries), np.round(vectors)
    tie_rank = random.permutation(n_products).astype(np.int32)
    barred = some_barred(random, (n_customers, n_products), 0.3)
    codes, scores = top_inner(queries, Targets.of(vectors, tie_rank), k, barred=barred, device=device)
    expected = by_definition(queries, vectors, None, k, tie_rank, barred.toarray() > 0)
    same((codes, scores), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_neither_blocks_nor_threads_move_a_byte(device: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    queries = normal(random, 500, 32)
    vectors = normal(random, 3_000, 32)
    targets = Targets.of(vectors, random.permutation(3_000).astype(np.int32))
    codes, scores = top_inner(queries, targets, 7)
    for rows, slab, tile, threads in ((1, 256, 512, 1), (33, 512, 1_024, 2), (500, 2_048, 65_536, 3)):
        for name, value in (("ROWS", rows), ("SLAB", slab), ("TILE", tile)):
            monkeypatch.setattr(inner, name, value)
        for name, value in (("ROWS", rows), ("TILE", tile)):
            monkeypatch.setattr(tiles, name, value)
        again = top_inner(queries, targets, 7, threads=threads, device=device)
        assert (again[0].tobytes(), again[1].tobytes()) == (codes.tobytes(), scores.tobytes())


@pytest.mark.parametrize("device", DEVICES)
def test_what_rounding_hides_is_found(device: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products whose order lies below what bfloat16 can tell: the bound fails, and more are looked at."""
    random = np.random.default_rng(1)
    base = random.normal(size=32).astype(np.float32)
    vectors = (base + 1e-5 * random.normal(size=(2_000, 32))).astype(np.float32)
    tie_rank = random.permutation(2_000).astype(np.int32)
    asked: list[int] = []
    best_of = Targets.best_of

    def told(products: Targets, queries: Floats, place: Ints, barred: Pairs, k: int) -> tuple[Ints, Floats]:
        asked.append(place.shape[1])
        return best_of(products, queries, place, barred, k)

    monkeypatch.setattr(Targets, "best_of", told)
    codes, scores = top_inner(base[None], Targets.of(vectors, tie_rank), 5, device=device)
    expected = by_definition(base[None], vectors, None, 5, tie_rank, np.zeros((1, 2_000), bool))
    same((codes, scores), expected)
    assert max(asked) >= 2_000


def test_a_score_that_rounding_turns_below_zero_is_not_lost() -> None:
    """Narrow scores below zero are not sorted at first: nothing may be proven by them."""
    best = np.array([1.0038] * 16 + [-16.0, -0.03125], np.float32)  # 0.03, but -0.03 when each part is rounded
    second, others = np.zeros(18, np.float32), np.full((300, 18), -5.0 / 18, np.float32)
    second[0] = 0.01
    vectors = np.vstack((others, second, best)).astype(np.float32)
    codes, _ = top_inner(np.ones((1, 18), np.float32), Targets.of(vectors, np.arange(302, dtype=np.int32)), 1)
    assert codes.tolist() == [[301]]


def test_nothing_to_list() -> None:
    vectors, tie_rank = np.ones((4, 3), np.float32), np.arange(4, dtype=np.int32)
    none = Targets.of(vectors, tie_rank, allowed=np.zeros(4, bool))
    codes, scores = top_inner(np.ones((2, 3), np.float32), none, 3)
    assert (codes == NOTHING).all()
    assert np.isneginf(scores).all()
    barred = sp.csr_array(np.ones((1, 4), np.float32))
    codes, _ = top_inner(np.ones((1, 3), np.float32), Targets.of(vectors, tie_rank), 6, barred=barred)
    assert (codes == NOTHING).all()


@pytest.mark.parametrize("n_customers", [1, 2, 5, 200])
@pytest.mark.parametrize("kind", DEVICES)
def test_the_bound_holds_for_every_pair(n_customers: int, kind: str | None) -> None:
    random = np.random.default_rng(3)
    queries = (random.normal(size=(n_customers, 40)) * random.lognormal(0, 2, size=(n_customers, 1))).astype(np.float32)
    vectors = normal(random, 1_000, 40)
    bias = random.normal(-8.0, 3.0, size=1_000).astype(np.float32)
    targets = Targets.of(vectors, np.arange(1_000, dtype=np.int32), bias=bias)
    device = None if kind is None else torch.device(kind)
    block = inner._Block.of(queries, targets, None, inner._room(targets), device)
    with tiles.wide_sums():
        products = targets.narrow if device is None else targets.narrow_on(device)
        narrow = torch.mm(products, block.narrow)[:1_000].T.double().cpu().numpy()  # as the machine rounds it
    exact = (queries.astype(np.float64) @ vectors.astype(np.float64).T + bias) * block.scale[:, None]
    allowed = block.slack[:, None] + np.abs(narrow) * inner.ROUNDED
    assert (np.abs(exact - narrow) <= allowed).all()
    assert (np.abs(exact - narrow) / allowed).max() > 0.2  # the bound is no empty promise


@pytest.mark.parametrize(("of_products", "of_customers"), [(1e-19, 1e-20), (1e-30, 1e-8), (1e18, 1e18), (1e-25, 1e30)])
@pytest.mark.parametrize("device", DEVICES)
def test_neither_the_tiny_nor_the_huge_gets_lost(of_products: float, of_customers: float, device: str | None) -> None:
    random = np.random.default_rng(8)
    queries = (random.normal(size=(64, 32)) * of_customers).astype(np.float32)
    vectors = (random.normal(size=(3_000, 32)) * of_products).astype(np.float32)
    tie_rank = random.permutation(3_000).astype(np.int32)
    codes, scores = top_inner(queries, Targets.of(vectors, tie_rank), 6, device=device)
    expected = by_definition(queries, vectors, None, 6, tie_rank, np.zeros((64, 3_000), bool))
    same((codes, scores), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_processors_without_bfloat16_find_the_same(device: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    queries = normal(random, 70, 20)
    vectors = normal(random, 4_000, 20)
    tie_rank = random.permutation(4_000).astype(np.int32)
    found = []
    for able in (True, False):
        monkeypatch.setattr(targets, "multiplies_bfloat16", lambda able=able: able)
        products = Targets.of(vectors, tie_rank)
        assert (products.narrow.dtype == torch.bfloat16) == able
        found.append(top_inner(queries, products, 9, device=device))
    same(*found)


@pytest.mark.parametrize("device", DEVICES)
def test_many_who_know_nothing_are_answered(device: str | None) -> None:
    vectors = np.random.default_rng(0).normal(size=(5_000, 8)).astype(np.float32)
    codes, scores = top_inner(
        np.zeros((300, 8), np.float32), Targets.of(vectors, np.arange(5_000, dtype=np.int32)), 4, device=device
    )
    assert (codes == np.arange(4)).all()
    assert (scores == 0).all()


def test_a_failing_worker_is_heard_and_the_next_call_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    queries, vectors = (random.normal(size=(rows, 4)).astype(np.float32) for rows in (2_000, 300))
    targets = Targets.of(vectors, np.arange(300, dtype=np.int32))
    with monkeypatch.context() as patch:
        patch.setattr(inner, "_top_keys", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            top_inner(queries, targets, 3, threads=1)
    assert (top_inner(queries, targets, 3, threads=1)[0] >= 0).all()


def test_threads_of_others_keep_their_number() -> None:
    before = torch.get_num_threads()
    vectors = np.ones((300, 4), np.float32)
    top_inner(np.ones((600, 4), np.float32), Targets.of(vectors, np.arange(300, dtype=np.int32)), 3, threads=3)
    seen = list[int]()
    worker = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    worker.start()
    worker.join()
    assert (torch.get_num_threads(), seen) == (before, [before])


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_or_does_not_fit_is_refused(wrong: float) -> None:
    vectors, tie_rank = np.ones((4, 3), np.float32), np.arange(4, dtype=np.int32)
    targets = Targets.of(vectors, tie_rank)
    with pytest.raises(UsageError, match="customer vectors"):
        top_inner(np.full((1, 3), wrong, np.float32), targets, 2)
    with pytest.raises(UsageError, match="product biases"):
        Targets.of(vectors, tie_rank, bias=np.full(4, wrong, np.float32))
    with pytest.raises(UsageError, match="do not fit"):
        top_inner(np.ones((1, 2), np.float32), targets, 2)
    with pytest.raises(UsageError, match="do not fit"):
        top_inner(np.ones((2, 3), np.float32), targets, 2, barred=sp.csr_array(np.ones((1, 4), np.float32)))


def test_a_gpu_is_taken_where_products_and_blocks_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    products = Targets.of(np.ones((70_000, 4), np.float32), np.arange(70_000, dtype=np.int32))
    assert (tiles.chosen_device(products) is None) == (not torch.cuda.is_available())
    blocks = tiles.WORKERS * tiles.ROWS * tiles.TILE * 4
    free = [0]
    monkeypatch.setattr(tiles, "device_kind", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[0], 1 << 40))
    for held in (False, True):  # products that lie there already take no more room
        if held:
            products.elsewhere["cuda:0"] = products.narrow
        need = blocks + (0 if held else 2 * products.narrow.numel())
        for free[0], chosen in ((need, None), (need + 1, torch.device("cuda", 0))):
            assert tiles.chosen_device(products) == chosen
