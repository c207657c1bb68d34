"""The oracles can tell right from nearly right: each deliberate slip in a formula makes a check of its file fail.

A slip is a replacement in a copy of the module; the copy takes the module's place in the test file.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from aisle.models.nn import losses, regression, rows, sampling, similarity, towers
from tests.oracle import test_losses, test_regression, test_sampling, test_similarity, test_towers

SLIPS: dict[ModuleType, list[tuple[str, str]]] = {
    losses: [
        ("(total[row] - scores[row, column])", "(total[row] + scores[row, column])"),
        ("torch.logsumexp(scores, dim=1)", "torch.logsumexp(scores, dim=0)"),
        ("- scores[row, column]) * weight).sum()", "- scores[row, column]) * weight).mean()"),
        ("negative.shape[1] / sample.size)", "sample.size / negative.shape[1])"),
        ("if sample.log_q is None else sample.log_q\n", "\n"),
        ("(negative - log_q)", "(negative + log_q)"),
        ("(negative - log_q).masked_fill(sample.hit, -torch.inf)", "(negative - log_q)"),
        ("mass = mass.index_add(0, row, torch.exp(sample.positive - top[row]))", "mass = mass + 1e-9"),
        ("+ top[row] - sample.positive)", "+ top[row])"),
        ("(torch.log(mass[row])", "(mass[row]"),
        ("torch.log(mass[row])", "torch.log(mass)[row]"),
        ("torch.log1p(_margin_rank(sample)) * sample.weight", "_margin_rank(sample) * sample.weight"),
        ("torch.log1p(_margin_rank(sample) * sample.share)", "torch.log1p(_margin_rank(sample)) * sample.share"),
        ("F.softplus(_behind(sample)).masked_fill(sample.hit[sample.row], 0.0)", "F.softplus(_behind(sample))"),
        ("each.sum(dim=1) / sample.left.clamp(min=1)[sample.row]", "each.mean(dim=1)"),
        ("F.relu(1.0 + _behind(sample)).masked_fill(sample.hit[sample.row], 0.0)", "F.relu(1.0 + _behind(sample))"),
        ("first = (margin.detach() > 0).to(torch.uint8).argmax", "first = margin.detach().argmax"),
        ("torch.div(sample.size - 1, tries", "torch.div(sample.size, tries"),
        ("+ 1.0) + EULER", "+ 1.0)"),
        ("(harmonic * margin", "(rank * margin"),
        ("CALIBRATION = 0.75", "CALIBRATION = 0.5"),
        ("beta * F.softplus(-sample.positive)", "F.softplus(-sample.positive)"),
        ("F.softplus(sample.negative).masked_fill(sample.hit, 0.0)", "F.softplus(sample.negative)"),
        ("F.softplus(disliked - rival)", "F.softplus(rival - disliked)"),
        ("F.softplus(disliked - rival) * weight).sum()", "F.softplus(disliked - rival) * weight).mean()"),
        ("(-log_q).expand_as", "(0 * log_q).expand_as"),
        ("torch.softmax(inverse, dim=1).masked_fill(out, 0.0)", "torch.softmax(inverse, dim=1)"),
        ("sample.hit | sample.negative.isneginf()", "sample.hit"),
        (".sort(dim=1, descending=True)", ".sort(dim=1)"),
        ("weight = mean.gather(1, order)", "weight = mean"),
        ("(weight, weight * behind)", "(weight, behind)"),
        ("sample.positive + 1.0", "sample.positive"),
        ("mass[sample.row, prefix] * reach", "mass[sample.row, -1] * reach"),
        (" - sums[sample.row, prefix])", ")"),
        ("return sample.size * (", "return ("),
        ("torch.float64) * span", "torch.float64)"),
        ("clamp(0.0, span - 0.5)", "clamp(0.0, span - 1.0)"),
        (".clamp(0.0, span - 0.5)", ""),
    ],
    similarity: [
        ("return -_root((customers", "return _root((customers"),
        ('if kind == "cosine":\n        customers, products = unit(customers), unit(products)\n    return', "return"),
        ("products = unit(customers), unit(products)\n    dot", "products = unit(customers), products\n    dot"),
        (" + products.square().sum(dim=-1)", ""),
        ("lengths - 2.0 * dot", "lengths - dot"),
        ("return -_root(lengths", "return _root(lengths"),
        ("scores.amax(dim=0)", "scores.amax(dim=-1)"),
        ("torch.softmax(attention, dim=0)", "torch.softmax(attention, dim=-1)"),
        ("torch.softmax(attention, dim=0)", "torch.sigmoid(attention)"),
        ("torch.where(squared > 1e-24, squared, 1.0).sqrt()", "squared.sqrt()"),
        ("squared.clamp(min=TINY).sqrt()", "squared.clamp(min=TINY)"),
        ("squared.clamp(min=TINY).sqrt()", "squared.sqrt()"),
    ],
    regression: [
        ("error).sum() / weight.sum().clamp(min=1.0)", "error).sum()"),
        ("error).sum() / weight.sum().clamp(min=1.0)", "error).sum() / weight.sum()"),
        ("cells.score.double()).square()", "cells.score.double()).abs()"),
        ("missing = squares - score.square().sum()", "missing = squares"),
        ("(missing + (weight * error).sum())", "(missing + error.sum())"),
        ("_moments(cells, cells.value > 0), _moments", "_moments(cells, cells.value >= 0), _moments"),
        ("_moments(cells, cells.value <= 0))\n", "_moments(cells, cells.value < 0))\n"),
        ("first = total - score.sum() + first", "first = total + first"),
        ("second = squares - score.square().sum() + second", "second = squares + second"),
        ("mass + cells.count - len(score)", "mass + cells.count"),
        ("((u.T @ u) * (v.T @ v)).sum()", "((u.T @ u) @ (v.T @ v)).sum()"),
        ("a, torch.ones_like(a)), dim=1)", "torch.ones_like(a), a), dim=1)"),
        ("range(0, size, block)", "range(0, size, block + 1)"),
        ("checkpoint(sums, part, use_reentrant=False, preserve_rng_state=False)", "sums(part)"),
        ("weight * (len(weight) / weight.sum()) if len(weight) else weight", "weight"),
        ("_weights(cells) * some, cells", "_weights(cells), cells"),
        ("q / n - (s / n).square()", "q / (n - 1) - (s / n).square()"),
        ("(above - below)", "(below - above)"),
        (".clamp(min=FLAT).sqrt()", ".sqrt()"),
        ("FLAT = 1e-6", "FLAT = 1e-16"),
        ("torch.erfc(z / 2.0**0.5)", "torch.erfc(z)"),
        ("if float(positive[0]) <= 0 or float(negative[0]) <= 0:", "if False:"),
        ("squared.clamp(min=TINY).sqrt()", "squared.sqrt()"),
        ("_weights(cells) * some, cells.score.double()", "_weights(cells).float() * some, cells.score.float()"),
    ],
    towers: [
        ("nn.Parameter(unit(torch.randn(width, out)))", "nn.Parameter(torch.randn(width, out))"),
        ("value * self.gates[self.groups[rows.column]]", "value"),
        ("value * self.gates[self.groups[rows.column]]", "value + self.gates[self.groups[rows.column]]"),
        (", per_sample_weights=value", ""),
        ("out if self.bias is None else out + self.bias", "out"),
        ("return x + self.bias", "return x"),
        ("self.weight = nn.Parameter(torch.ones(width))", "self.weight = torch.ones(width)"),
        ("x + self.part(x)", "self.part(x)"),
        ("nn.ReLU()", "nn.GELU()"),
        ("nn.Sequential(Bias(hidden), nn.GELU(), middle", "nn.Sequential(Bias(hidden), nn.ReLU(), middle"),
        ('"linear": lambda dim: (dim, nn.Identity())', '"linear": lambda dim: (dim, Unit())'),
        ("groups=groups, gates=gates) if first", "gates=()) if first"),
        ("return self.finish(self.first(rows))", "out: Tensor = self.first(rows)\n        return out"),
    ],
    rows: [
        ("self.indptr.diff(), output", "self.indptr.diff().flip(0), output"),
        ("self.indptr[rows] - _starts(sizes)[:-1]", "self.indptr[rows]"),
        ("self.value[cells], self.width", "self.value[: len(cells)], self.width"),
        ("accumulate=True", "accumulate=False"),
        ("return replace(self, value=value)", "return self"),
        ("(sizes.new_zeros(1), sizes.cumsum(0))", "(sizes.new_zeros(1), sizes)"),
    ],
    sampling: [
        ("torch.full((len(drawn),), len(drawn) / len(everyone)).log()", "torch.zeros(len(drawn))"),
        ("FLATTEN = 0.75", "FLATTEN = 1.0"),
        ('self.kind != "in_batch" and self.count >=', "self.count < 0 and self.count >="),
        ("self.count - self.count // 2", "self.count // 2"),
        ("(1.0 - chance) ** draws", "1.0 - chance"),
        ("missed * (1.0 - even / len(everyone))", "missed"),
        ("drawn = torch.unique(drawn)", "drawn = drawn"),
        ("drawn = drawn[torch.randperm(len(drawn), generator=generator)]", "drawn = drawn"),
        ("(1.0 - missed[drawn]).log()", "(1.0 - missed[: len(drawn)]).log()"),
        ("return drawn, self._sales, len(drawn)", "return drawn, self._flat, len(drawn)"),
        ("return drawn, self._sales, len(drawn)", "return drawn, self._sales, count"),
        ("self._flat, count", "self._sales, count"),
        ("torch.where(some, sold, sold[some].min() if bool(some.any()) else 1.0)", "sold"),
        ("if bool(some.any()) else 1.0", ""),
        ("torch.randperm(len(candidates), generator=generator)", "torch.arange(len(candidates))"),
        ("torch.where(known[place] == key, place, -1)", "place"),
    ],
}
HOMES: dict[ModuleType, tuple[ModuleType, str]] = {
    losses: (test_losses, "losses"),
    similarity: (test_similarity, "similarity"),
    regression: (test_regression, "regression"),
    towers: (test_towers, "towers"),
    rows: (test_towers, "rows_module"),
    sampling: (test_sampling, "sampling"),
}


def checks(home: ModuleType) -> Iterator[Callable[[], Any]]:
    """The tests of a file as plain calls, quick ones first; those that need a fixture are left out."""
    tests = [test for name, test in vars(home).items() if name.startswith("test_")]
    for test in sorted(tests, key=lambda test: hasattr(test, "hypothesis")):
        calls: list[dict[str, Any]] = [{}]
        for mark in getattr(test, "pytestmark", []):
            name, values = mark.args
            calls = [call | {name: value} for call in calls for value in values]
        if hasattr(test, "hypothesis") or set(inspect.signature(test).parameters) == set(calls[0]):
            yield from (functools.partial(test, **call) for call in calls)


def copy_of(module: ModuleType, old: str, new: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module with one replacement, imported from ``folder``."""
    assert module.__file__ is not None
    source = Path(module.__file__).read_text(encoding="utf-8")
    assert source.count(old) >= 1, f"{old!r} is no longer in {module.__name__}: update the table"
    path = folder / "copy_with_a_slip.py"
    path.write_text(source.replace(old, new), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, copy)
    spec.loader.exec_module(copy)
    return copy


def is_noticed(home: ModuleType) -> bool:
    for check in checks(home):
        try:
            check()
        except Exception:  # whatever a slip leads to, an error is noticed
            return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("module", SLIPS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_slip_is_noticed(module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, name = HOMES[module]
    unnoticed = []
    for place, (old, new) in enumerate([("", ""), *SLIPS[module]]):
        folder = tmp_path / str(place)
        folder.mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(home, name, copy_of(module, old, new, folder, patch))
            if not is_noticed(home):
                unnoticed.append((old, new))
    assert unnoticed == [("", "")], "a faithful copy passes, and nothing else does"
