"""Every public name of TensorRec 0.26.2 is there, with its parameters and defaults."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import aisle.errors
from aisle.compat import tensorrec

FIT = (
    "interactions, user_features, item_features, epochs={}, learning_rate=0.1, alpha=1e-05, verbose=False, "
    "user_batch_size=None, n_sampled_items=None"
)
PREDICTIONS = "tf_user_representation, tf_item_representation"
REPRESENT = "tf_features, n_components, n_features, node_name_ending"
WMRB = "tf_prediction_serial, tf_interactions, tf_sample_predictions, tf_n_items, tf_n_sampled_items"
RANKS = "predicted_ranks, test_interactions, k=10, preserve_rows=False"
TABLE = {
    "tensorrec": {
        "TensorRec": "n_components=100, n_tastes=1, user_repr_graph=LinearRepresentationGraph, "
        "item_repr_graph=LinearRepresentationGraph, attention_graph=None, "
        "prediction_graph=DotProductPredictionGraph, loss_graph=RMSELossGraph, biased=True",
        "TensorRec.fit": FIT.format(100),
        "TensorRec.fit_partial": FIT.format(1),
        "TensorRec.predict": "user_features, item_features",
        "TensorRec.predict_similar_items": "item_features, item_ids, n_similar",
        "TensorRec.predict_rank": "user_features, item_features",
        "TensorRec.predict_user_representation": "user_features",
        "TensorRec.predict_user_attention_representation": "user_features",
        "TensorRec.predict_item_representation": "item_features",
        "TensorRec.predict_user_bias": "user_features",
        "TensorRec.predict_item_bias": "item_features",
        "TensorRec.save_model": "directory_path",
        "TensorRec.load_model": "directory_path",
    },
    "eval": {
        "precision_at_k": RANKS,
        "recall_at_k": RANKS,
        "ndcg_at_k": RANKS,
        "f1_score_at_k": RANKS,
        "fit_and_eval": "model, user_features, item_features, train_interactions, test_interactions, fit_kwargs, "
        "recall_k=30, precision_k=5, ndcg_k=30",
        "grid_check_model_on_dataset": "train_interactions, test_interactions, user_features, item_features",
        "eval_random_ranks_on_dataset": "interactions, recall_k=30, precision_k=5, ndcg_k=30",
    },
    "util": {
        "sample_items": "n_items, n_users, n_sampled_items, replace",
        "calculate_batched_alpha": "num_batches, alpha",
        "datasets_from_raw_input": "raw_input",
        "generate_dummy_data": "num_users=15000, num_items=30000, interaction_density=0.00045, num_user_features=200, "
        "num_item_features=200, n_features_per_user=20, n_features_per_item=20, pos_int_ratio=0.5, "
        "return_datasets=False",
        "generate_dummy_data_with_indicator": "num_users=15000, num_items=30000, interaction_density=0.00045, "
        "pos_int_ratio=0.5",
        "append_to_string_at_point": "string, value, point",
        "simple_tf_print": "tensor, places=100",
        "lazyval": "get",
    },
    "input_utils": {
        "create_tensorrec_iterator": "name",
        "create_tensorrec_dataset_from_sparse_matrix": "sparse_matrix",
        "write_tfrecord_from_sparse_matrix": "tfrecord_path, sparse_matrix",
        "get_dimensions_from_tensorrec_dataset": "dataset",
        "write_tfrecord_from_tensorrec_dataset": "tfrecord_path, dataset",
        "create_tensorrec_dataset_from_tfrecord": "tfrecord_path",
    },
    "session_management": {"get_session": "", "set_session": "session"},
    "errors": {
        name: "**kwargs"
        for name in (
            "TensorRecException",
            "ModelNotBiasedException",
            "ModelNotFitException",
            "ModelWithoutAttentionException",
            "BatchNonSparseInputException",
            "TfVersionException",
        )
    },
    "loss_graphs": {
        "AbstractLossGraph.connect_loss_graph": "tf_prediction_serial, tf_interactions_serial, tf_interactions, "
        "tf_n_users, tf_n_items, tf_prediction, tf_rankings, tf_sample_predictions, tf_n_sampled_items",
        "RMSELossGraph.connect_loss_graph": "tf_prediction_serial, tf_interactions_serial, **kwargs",
        "RMSEDenseLossGraph.connect_loss_graph": "tf_interactions, tf_prediction, **kwargs",
        "SeparationLossGraph.connect_loss_graph": "tf_prediction_serial, tf_interactions_serial, **kwargs",
        "SeparationDenseLossGraph.connect_loss_graph": "tf_prediction, tf_interactions, **kwargs",
        "WMRBLossGraph.connect_loss_graph": f"{WMRB}, **kwargs",
        "WMRBLossGraph.weighted_margin_rank_batch": f"{WMRB}, tf_sample_hits=None",
        "BalancedWMRBLossGraph.connect_loss_graph": f"{WMRB}, **kwargs",
        "BalancedWMRBLossGraph.weighted_margin_rank_batch": f"{WMRB}, tf_sample_hits=None",
    },
    "prediction_graphs": {
        f"{name}.{method}": arguments
        for name in (
            "AbstractPredictionGraph",
            "DotProductPredictionGraph",
            "CosineSimilarityPredictionGraph",
            "EuclideanSimilarityPredictionGraph",
        )
        for method, arguments in (
            ("connect_dense_prediction_graph", PREDICTIONS),
            ("connect_serial_prediction_graph", f"{PREDICTIONS}, tf_x_user, tf_x_item"),
        )
    },
    "representation_graphs": {
        **{
            f"{name}.connect_representation_graph": REPRESENT
            for name in (
                "AbstractRepresentationGraph",
                "LinearRepresentationGraph",
                "NormalizedLinearRepresentationGraph",
                "FeaturePassThroughRepresentationGraph",
                "WeightedFeaturePassThroughRepresentationGraph",
                "ReLURepresentationGraph",
                "AbstractKerasRepresentationGraph",
            )
        },
        "ReLURepresentationGraph": "relu_size=None",
        "AbstractKerasRepresentationGraph.create_layers": "n_features, n_components",
    },
    "recommendation_graphs": {
        "project_biases": "tf_features, n_features",
        "split_sparse_tensor_indices": "tf_sparse_tensor, n_dimensions",
        "bias_prediction_dense": "tf_prediction, tf_projected_user_biases, tf_projected_item_biases",
        "bias_prediction_serial": "tf_prediction_serial, tf_projected_user_biases, tf_projected_item_biases, "
        "tf_x_user, tf_x_item",
        "densify_sampled_item_predictions": "tf_sample_predictions_serial, tf_n_sampled_items, tf_n_users",
        "rank_predictions": "tf_prediction",
        "collapse_mixture_of_tastes": "tastes_predictions, tastes_attentions",
        "relative_cosine": "tf_tensor_1, tf_tensor_2",
        "predict_similar_items": "prediction_graph_factory, tf_item_representation, tf_similar_items_ids",
    },
}
"""Module -> name -> parameters; a default that is an object stands as the name of its class."""
ADDED = {"TensorRec": "seed=0", "TensorRec.load_model": "**graphs"}
"""What this library adds behind TensorRec's own parameters."""


def signature(function: Any) -> str:
    parts = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in ("self", "cls"):
            continue
        text = f"**{name}" if parameter.kind is parameter.VAR_KEYWORD else name
        if parameter.default is not parameter.empty:
            value = parameter.default
            plain = isinstance(value, (int, float, str, type(None)))
            text += f"={value!r}" if plain else f"={type(value).__name__}"
        parts.append(text)
    return ", ".join(parts)


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in TABLE.items() for n in names])
def test_a_name_has_the_parameters_and_defaults_of_tensorrec(module: str, name: str) -> None:
    found: Any = importlib.import_module(f"aisle.compat.tensorrec.{module}")
    assert getattr(tensorrec, module) is found
    for part in name.split("."):
        found = getattr(found, part)
    wanted = ", ".join(filter(None, (TABLE[module][name], ADDED.get(name) if module == "tensorrec" else None)))
    assert signature(found) == wanted
    assert inspect.getdoc(found)


def test_flags_of_the_losses() -> None:
    for name, dense, sampled in (
        ("AbstractLossGraph", False, False),
        ("RMSELossGraph", False, False),
        ("RMSEDenseLossGraph", True, False),
        ("SeparationLossGraph", False, False),
        ("SeparationDenseLossGraph", True, False),
        ("WMRBLossGraph", False, True),
        ("BalancedWMRBLossGraph", False, True),
    ):
        loss = getattr(tensorrec.loss_graphs, name)
        assert (loss.is_dense, loss.is_sample_based, loss.is_sampled_with_replacement) == (dense, sampled, False)


def test_heirs_are_who_they_were() -> None:
    graphs = tensorrec.representation_graphs
    assert issubclass(graphs.NormalizedLinearRepresentationGraph, graphs.LinearRepresentationGraph)
    assert issubclass(
        graphs.WeightedFeaturePassThroughRepresentationGraph, graphs.FeaturePassThroughRepresentationGraph
    )
    assert issubclass(tensorrec.loss_graphs.BalancedWMRBLossGraph, tensorrec.loss_graphs.WMRBLossGraph)
    assert tensorrec.prediction_graphs.EuclideanSimilarityPredictionGraph.epsilon == 1e-16


def test_errors_are_theirs_and_ours() -> None:
    for name in TABLE["errors"]:
        error = getattr(tensorrec.errors, name)
        assert issubclass(error, tensorrec.errors.TensorRecException)
        assert issubclass(error, aisle.errors.AisleError)
    found = tensorrec.errors.ModelNotFitException(method="predict")
    assert "predict()" in str(found)
    assert found.message == str(found)
    assert found.kwargs == {"method": "predict"}
    assert isinstance(found, aisle.errors.NotFittedError)


def test_the_page_lists_every_name() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tensorrec.md").read_text(encoding="utf-8")
    names = {name for names in TABLE.values() for name in names}
    methods = {name.split(".")[1] for name in names if name.startswith("TensorRec.")}
    wanted = {name.split(".")[0] for name in names} | methods
    assert sorted(name for name in wanted if f"`{name}" not in page and f".{name}`" not in page) == []


def test_nothing_heavy_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, aisle.compat; assert not {'torch', 'aisle.compat.tensorrec'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
