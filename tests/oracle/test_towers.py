"""Sparse rows against SciPy, and every tower against plain NumPy on the densified rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch import Tensor, nn

from aisle.errors import UsageError
from aisle.models.nn import rows as rows_module
from aisle.models.nn import towers
from aisle.types import Doubles

N, WIDTH, DIM = 5, 7, 3
GROUPS, GATES = [0, 0, 1, 2, 1, 0, 2], [1.0, 0.4, 2.5]
PASSING = ("pass_through", "weighted_pass_through")


def matrix(seed: int = 0, n: int = N, width: int = WIDTH, density: float = 0.5) -> Doubles:
    """Row 1 is empty; some values are negative."""
    random = np.random.default_rng(seed)
    dense = random.normal(0, 1, (n, width)) * (random.random((n, width)) < density)
    dense[1:2] = 0.0
    return dense


def rows(dense: Doubles) -> rows_module.Rows:
    return rows_module.Rows.of(sp.csr_array(dense))


def tower(name: str, gated: bool = False) -> towers.Tower:
    """A seeded tower in float64, with nothing left at 0 or 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        dim = WIDTH if name in PASSING else DIM
        net = towers.Tower(name, WIDTH, dim, groups=GROUPS if gated else (), gates=GATES if gated else ()).double()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return net


def weights(net: nn.Module) -> list[Doubles]:
    return [parameter.detach().numpy() for parameter in net.parameters()]


def gelu(x: Doubles) -> Doubles:
    return np.array([[v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in row] for row in x])


def by_hand(name: str, x: Doubles, net: towers.Tower) -> Doubles:
    """``x`` is what the first layer gives."""
    body = weights(net.body)
    if name == "normalized_linear":
        lengths = np.sqrt((x**2).sum(axis=1, keepdims=True))
        return np.asarray(x / np.where(lengths > 0, lengths, 1.0))
    if name == "relu":
        bias, out = body
        return np.asarray(np.maximum(x + bias, 0) @ out.T)
    if name == "mlp":
        bias, middle, middle_bias, out, out_bias = body
        hidden = gelu(x + bias)
        return np.asarray((hidden + gelu(hidden @ middle.T + middle_bias)) @ out.T + out_bias)
    if name == "residual":
        gate, bend, bias, out, out_bias = body
        x = x + gate * (gelu(x @ bend.T + bias) @ out.T + out_bias)
        return np.asarray(x / (np.sqrt((x**2).sum(axis=1, keepdims=True)) + 0.1))
    return np.asarray(x * body[0]) if name == "weighted_pass_through" else x


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(0, 6),
    width=st.integers(1, 8),
    form=st.sampled_from([sp.csr_array, sp.coo_array, sp.csc_matrix]),
)
def test_rows_are_those_of_the_matrix(seed: int, n: int, width: int, form: Callable[[Doubles], object]) -> None:
    random = np.random.default_rng(seed)
    dense = matrix(seed, n, width).astype(np.float32).astype(float)
    ours = rows_module.Rows.of(form(dense))
    assert (ours.indptr.dtype, ours.column.dtype, ours.value.dtype) == (torch.int64, torch.int64, torch.float32)
    assert len(ours) == n
    assert_allclose(ours.dense().numpy(), dense)
    assert ours.row.tolist() == np.nonzero(dense)[0].tolist()
    pick = random.integers(0, n, 4) if n else np.zeros(0, dtype=np.int64)
    taken = ours.take(torch.from_numpy(pick))
    assert_allclose(taken.dense().numpy(), dense[pick])
    joined = rows_module.Rows.join([ours, taken, ours])
    assert len(joined) == 2 * n + len(pick)
    assert_allclose(joined.dense().numpy(), np.concatenate([dense, dense[pick], dense]))
    assert_allclose(ours.with_values(ours.value * 2).dense().numpy(), 2 * dense)


def test_rows_share_nothing_with_the_matrix_and_add_up_cells_that_come_twice() -> None:
    source = sp.csr_array((np.array([1.0, 2.0, 4.0], np.float32), np.array([1, 1, 0]), np.array([0, 2, 3])), (2, 3))
    ours = rows_module.Rows.of(source)
    assert ours.dense().tolist() == [[0, 3, 0], [4, 0, 0]]
    layer = towers.SparseLinear(3, 2)
    assert_allclose(layer(ours).detach().numpy(), (ours.dense() @ layer.weight).detach().numpy(), rtol=1e-6)
    ours.value.mul_(0)
    assert source.data.tolist() == [1, 2, 4]


def test_dense_rows_carry_the_gradient_of_their_values() -> None:
    ours = rows(matrix())
    value = ours.value.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: ours.with_values(v).dense(), (value,))


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_the_first_layer_is_a_gated_sum_of_weight_rows(gated: bool, bias: bool) -> None:
    dense = matrix(1)
    groups, gates = (GROUPS, GATES) if gated else ((), ())
    layer = towers.SparseLinear(WIDTH, DIM, groups=groups, gates=gates, bias=bias).double()
    expected = np.zeros((N, DIM))
    offset = [0.5, -1.0, 2.0] if bias else [0.0, 0.0, 0.0]
    if bias:
        assert layer.bias is not None
        layer.bias.data = torch.tensor(offset, dtype=torch.float64)
    for n in range(N):
        for f in range(WIDTH):
            gate = GATES[GROUPS[f]] if gated else 1.0
            expected[n] += gate * float(np.float32(dense[n, f])) * layer.weight.detach().numpy()[f]
        expected[n] += offset
    assert_allclose(layer(rows(dense)).detach().numpy(), expected, rtol=1e-6, atol=1e-12)
    assert [name for name, _ in layer.named_parameters()] == ["weight"] + ["gates"] * gated + ["bias"] * bias


def test_the_first_layer_has_gradients_that_are_slopes() -> None:
    layer = towers.SparseLinear(WIDTH, DIM, groups=GROUPS, gates=GATES, bias=True).double()
    ours = rows(matrix(2))
    assert layer.gates is not None
    assert layer.bias is not None

    def forward(weight: Tensor, gates: Tensor, bias: Tensor) -> Tensor:
        state = {"weight": weight, "gates": gates, "bias": bias}
        out: Tensor = torch.func.functional_call(layer, state, (ours,))
        return out

    assert torch.autograd.gradcheck(forward, (layer.weight, layer.gates, layer.bias))


def test_weight_rows_start_with_length_one_in_all_directions() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weight = towers.SparseLinear(4_000, 3).weight.detach().numpy()
    assert_allclose(np.linalg.norm(weight, axis=1), 1.0, rtol=1e-5)
    assert np.abs(weight.mean(axis=0)).max() < 0.05
    assert_allclose(weight.T @ weight / 4_000, np.eye(3) / 3, atol=0.03)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("name", towers.TOWERS)
def test_the_tower_is_the_formula(name: str, gated: bool) -> None:
    net = tower(name, gated)
    dense = matrix(3).astype(np.float32).astype(float)
    x = dense
    if name not in PASSING:
        first = weights(net.first)
        x = (dense * first[1][GROUPS] if gated else dense) @ first[0]
    assert_allclose(net(rows(dense)).detach().numpy(), by_hand(name, x, net), rtol=1e-6, atol=1e-9)
    added = np.random.default_rng(0).normal(0, 1, x.shape)
    assert_allclose(net.finish(torch.from_numpy(x + added)).detach().numpy(), by_hand(name, x + added, net), rtol=1e-6)


@pytest.mark.parametrize("name", towers.TOWERS)
def test_every_parameter_learns_and_edges_are_finite(name: str) -> None:
    net = tower(name, gated=name not in PASSING).float()
    ours = rows(matrix(4, 12, density=0.9))
    if name != "pass_through":
        signs = torch.from_numpy(np.random.default_rng(5).normal(0, 1, (12, net(ours).shape[1]))).float()
        (net(ours) * signs).sum().backward()
    for label, parameter in net.named_parameters():
        assert parameter.grad is not None, label
        assert (parameter.grad != 0).any(), label
    assert bool(list(net.parameters())) == (name != "pass_through")
    for edge in (ours.take(torch.tensor([1, 1])), ours.with_values(ours.value * 1e3), ours.take(ours.column[:0])):
        net.zero_grad()
        out = net(edge)
        assert out.shape == (len(edge), WIDTH if name in PASSING else DIM)
        assert torch.isfinite(out).all()
        if out.requires_grad:
            out.sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_the_weighted_tower_starts_as_the_plain_one_and_leaves_it() -> None:
    plain, weighted = (towers.Tower(name, WIDTH, WIDTH) for name in PASSING)
    ours = rows(matrix(6))
    assert torch.equal(plain(ours), weighted(ours))
    optimizer = torch.optim.SGD(weighted.parameters(), lr=0.1)
    weighted(ours).square().sum().backward()
    optimizer.step()
    assert not torch.equal(plain(ours), weighted(ours))


def test_a_module_of_ones_own_is_a_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(nn.Module):
        def __init__(self, dim: int) -> None:
            super().__init__()
            self.turn = nn.Linear(2 * dim, dim)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = torch.sin(self.turn(x))
            return out

    monkeypatch.setitem(towers.TOWERS, "mine", lambda dim: (2 * dim, Mine(dim)))
    net = towers.Tower("mine", WIDTH, DIM, groups=GROUPS, gates=GATES)
    ours = rows(matrix(7))
    out = net(ours)
    turn, bias = weights(net.body)
    assert_allclose(out.detach().numpy(), np.sin(net.first(ours).detach().numpy() @ turn.T + bias), rtol=1e-5)
    out.sum().backward()
    assert all(p.grad is not None and (p.grad != 0).any() for p in net.parameters())


def test_a_tower_comes_back_from_its_state() -> None:
    net = tower("mlp", gated=True)
    again = towers.Tower("mlp", WIDTH, DIM, groups=GROUPS, gates=GATES).double()
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(rows(matrix())), net(rows(matrix())))


def test_mistakes_are_named() -> None:
    with pytest.raises(UsageError, match="unknown tower 'liner'; known: linear, normalized_linear"):
        towers.Tower("liner", WIDTH, DIM)
    with pytest.raises(UsageError, match="set dim to 7"):
        towers.Tower("pass_through", WIDTH, DIM)
    with pytest.raises(UsageError, match="groups of 7 columns"):
        towers.SparseLinear(WIDTH, DIM, groups=[0, 1], gates=[1.0, 1.0])
    with pytest.raises(UsageError, match="groups of 7 columns"):
        towers.SparseLinear(WIDTH, DIM, groups=GROUPS, gates=[1.0, 1.0])
    with pytest.raises(UsageError, match="groups of 7 columns"):
        towers.SparseLinear(WIDTH, DIM, groups=GROUPS)
    for layer in (towers.SparseLinear(WIDTH + 1, DIM), towers.Dense(WIDTH + 1, WIDTH + 1)):
        with pytest.raises(UsageError, match="7 feature columns; this layer was made for 8"):
            layer(rows(matrix()))
