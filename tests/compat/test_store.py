"""Models on disk: exact in a fresh process, no training data, no pickle, and damage is found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_array_equal
from torch import Tensor

from aisle.compat.tensorrec import TensorRec, loss_graphs, representation_graphs, store
from aisle.errors import BundleError, UsageError
from tests.compat.worlds import Layers, noise

INTERACTIONS, USERS, ITEMS = DATA = noise()
OPTIONS: dict[str, Any] = {"epochs": 2, "learning_rate": 0.01, "n_sampled_items": 4}

FRESH = """
import sys
import numpy as np
import scipy.sparse as sp
from aisle.compat import tensorrec
from tests.compat.worlds import Layers

folder, data = sys.argv[1:]
interactions, users, items = (sp.load_npz(f"{data}/{name}.npz") for name in ("interactions", "users", "items"))
model = tensorrec.TensorRec.load_model(folder)
scores = model.predict(users, items)
model.fit_partial(interactions, users, items, epochs=2, learning_rate=0.01, n_sampled_items=4)
np.savez(f"{data}/answer.npz", scores=scores, later=model.predict(users, items))
"""


class Margin(loss_graphs.AbstractLossGraph):
    def __init__(self, width: float) -> None:
        self.width = width

    def connect_loss_graph(self, tf_prediction_serial: Tensor, tf_interactions_serial: Tensor) -> Tensor:  # type: ignore[override]
        return torch.relu(self.width - tf_prediction_serial * tf_interactions_serial)


def deep(**more: Any) -> TensorRec:
    model = TensorRec(
        n_components=5,
        n_tastes=2,
        user_repr_graph=Layers(),
        item_repr_graph=representation_graphs.ReLURepresentationGraph(relu_size=7),
        attention_graph=representation_graphs.LinearRepresentationGraph(),
        loss_graph=loss_graphs.WMRBLossGraph(),
        **more,
    )
    model.fit(*DATA, **OPTIONS)
    return model


def test_a_fresh_process_predicts_and_goes_on_exactly(tmp_path: Path) -> None:
    model = deep(seed=3)
    model.save_model(tmp_path / "a" / "model")
    for name, matrix in zip(("interactions", "users", "items"), DATA, strict=True):
        sp.save_npz(tmp_path / f"{name}.npz", matrix)
    command = [sys.executable, "-c", FRESH, str(tmp_path / "a" / "model"), str(tmp_path)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    answer = np.load(tmp_path / "answer.npz")
    assert_array_equal(answer["scores"], model.predict(USERS, ITEMS))
    model.fit(*DATA, **OPTIONS)
    assert_array_equal(answer["later"], model.predict(USERS, ITEMS))


def test_saving_changes_nothing_and_leaves_other_files_alone(tmp_path: Path) -> None:
    (tmp_path / "encoder.txt").write_text("mine")
    model = deep()
    before = model.predict(USERS, ITEMS)
    model.save_model(str(tmp_path))
    first = {path.name for path in tmp_path.iterdir()}
    assert_array_equal(model.predict(USERS, ITEMS), before)
    model.fit(*DATA, **OPTIONS)
    model.save_model(str(tmp_path))
    second = {path.name for path in tmp_path.iterdir()}
    assert len(first) == len(second) == 3
    assert len(first & second) == 2, "the old numbers are gone, the manifest and the encoder are there"
    assert_array_equal(TensorRec.load_model(str(tmp_path)).predict(USERS, ITEMS), model.predict(USERS, ITEMS))


def test_the_size_does_not_depend_on_the_training_data(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    sizes = []
    for name, count in (("small", 10), ("large", 20_000)):
        shape = (400, 300)
        cells = random.integers(0, shape[0], count), random.integers(0, shape[1], count)
        interactions = sp.coo_matrix((np.ones(count), cells), shape=shape)
        users, items = (sp.csr_matrix(np.eye(4, dtype=np.float32)[random.integers(0, 4, n)]) for n in shape)
        model = TensorRec(n_components=3)
        model.fit(interactions, users, items, epochs=1)
        model.save_model(tmp_path / name)
        sizes.append(sum(path.stat().st_size for path in (tmp_path / name).iterdir()))
    assert max(sizes) - min(sizes) < 64
    assert max(sizes) < 10_000


def test_no_pickle_is_written_or_read(tmp_path: Path) -> None:
    deep().save_model(tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]
    source = Path(store.__file__).read_text(encoding="utf-8")
    assert "torch.load" not in source
    assert "import pickle" not in source


def test_own_classes_come_back_with_their_attributes_or_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = TensorRec(n_components=3, loss_graph=Margin(2.5))
    model.fit(*DATA, epochs=1)
    model.save_model(tmp_path)
    found = TensorRec.load_model(tmp_path)
    assert isinstance(found.loss_graph_factory, Margin)
    assert found.loss_graph_factory.width == 2.5
    monkeypatch.setattr(store, "_heirs", lambda base: [])
    names = ["user_repr_graph", "item_repr_graph", "prediction_graph", "loss_graph"]
    graphs = {name: getattr(model, f"{name}_factory") for name in names}
    with pytest.raises(BundleError, match=r"loss_graph=Margin\(…\)"):
        TensorRec.load_model(tmp_path, **{**graphs, "loss_graph": None})
    found = TensorRec.load_model(tmp_path, **graphs)
    assert_array_equal(found.predict(USERS, ITEMS), model.predict(USERS, ITEMS))


def test_attributes_that_json_cannot_hold_must_be_given(tmp_path: Path) -> None:
    graph = Margin(1.0)
    graph.table = np.ones(3)  # type: ignore[attr-defined]
    model = TensorRec(n_components=3, loss_graph=graph)
    model.fit(*DATA, epochs=1)
    model.save_model(tmp_path)
    with pytest.raises(BundleError, match="attributes that JSON cannot hold"):
        TensorRec.load_model(tmp_path)
    assert TensorRec.load_model(tmp_path, loss_graph=graph).loss_graph_factory is graph


def test_damage_is_found(tmp_path: Path) -> None:
    deep().save_model(tmp_path)
    manifest = tmp_path / store.MANIFEST
    numbers = next(tmp_path.glob("*.safetensors"))
    whole, text = numbers.read_bytes(), manifest.read_text()
    for damage, words in (
        (lambda: numbers.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1])), "was altered"),
        (lambda: numbers.unlink(), "cannot be read"),
        (lambda: manifest.write_text("{"), "cannot be read"),
        (lambda: manifest.write_text(json.dumps({**json.loads(text), "format": 9})), "upgrade aisle"),
        (lambda: manifest.write_text(text.replace('"n_components": 5', '"n_components": 6')), "do not fit"),
        (lambda: manifest.unlink(), f"has no {store.MANIFEST}"),
    ):
        damage()
        with pytest.raises(BundleError, match=words):
            TensorRec.load_model(tmp_path)
        numbers.write_bytes(whole)
        manifest.write_text(text)
    TensorRec.load_model(tmp_path)


def test_a_model_of_tensorrec_itself_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "tensorrec.pkl").write_bytes(b"")
    with pytest.raises(BundleError, match="fit the model again"):
        TensorRec.load_model(tmp_path)
    with pytest.raises(UsageError, match="is no graph"):
        TensorRec.load_model(tmp_path, loss=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="give a folder"):
        deep().save_model(tmp_path / "file")
