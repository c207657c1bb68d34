"""What is refused says what to do instead; the small helpers do what they did."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import nn

from aisle.compat.tensorrec import (
    TensorRec,
    errors,
    input_utils,
    loss_graphs,
    recommendation_graphs,
    representation_graphs,
    session_management,
    util,
)
from aisle.errors import AisleError, DataError, UsageError
from tests.compat.worlds import noise

WMRB = loss_graphs.WMRBLossGraph()
DATA = noise()
INTERACTIONS, USERS, ITEMS = DATA


class NoLayers(representation_graphs.AbstractKerasRepresentationGraph):
    def create_layers(self, n_features: int, n_components: int) -> list[nn.Module]:
        return ["Dense(10)"]  # type: ignore[list-item]


class WrongWidth(representation_graphs.AbstractKerasRepresentationGraph):
    def create_layers(self, n_features: int, n_components: int) -> list[nn.Module]:
        return [nn.Linear(n_features, n_components + 1)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_components": 0}, "n_components is 0"),
        ({"n_components": None}, "n_components is None"),
        ({"n_tastes": 0}, "n_tastes is 0"),
        ({"user_repr_graph": None}, "AbstractRepresentationGraph"),
        ({"item_repr_graph": WMRB}, "item_repr_graph"),
        ({"prediction_graph": WMRB}, "AbstractPredictionGraph"),
        ({"loss_graph": loss_graphs.WMRBLossGraph}, "object of a class that inherits AbstractLossGraph"),
        ({"n_tastes": 2, "attention_graph": WMRB}, "attention_graph"),
        ({"attention_graph": representation_graphs.LinearRepresentationGraph()}, "n_tastes of 2"),
    ],
)
def test_wrong_options_are_value_errors_that_name_the_fix(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        TensorRec(**options)
    assert isinstance(error.value, AisleError)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"interactions": INTERACTIONS.toarray()}, r"scipy.sparse.csr_matrix\(array\)"),
        ({"user_features": "users.tfrecord"}, "load_npz"),
        ({"user_features": object()}, "tf.data.Dataset"),
        ({"interactions": []}, "empty list"),
        ({"interactions": INTERACTIONS.T}, "9 x 12"),
        ({"interactions": [INTERACTIONS, INTERACTIONS]}, "2 batches of interactions, 1 of user_features"),
        ({"item_features": [ITEMS, ITEMS]}, "2 batches of item_features"),
        ({"user_features": sp.csr_matrix(USERS.toarray() * np.nan)}, "NaN"),
        ({"interactions": sp.csr_matrix(INTERACTIONS)[:3], "user_batch_size": 2}, "3 rows"),
        ({"user_batch_size": 0}, "user_batch_size is 0"),
        ({"n_sampled_items": None}, "n_sampled_items is None"),
        ({"n_sampled_items": 0}, "n_sampled_items is 0"),
        ({"epochs": -1}, "epochs"),
        ({"learning_rate": 0}, "learning_rate"),
    ],
)
def test_wrong_inputs_of_fit(changes: dict[str, Any], words: str) -> None:
    data = {"interactions": INTERACTIONS, "user_features": USERS, "item_features": ITEMS, "n_sampled_items": 2}
    with pytest.raises(ValueError, match=words) as error:
        TensorRec(loss_graph=WMRB).fit(**{**data, **changes})
    assert isinstance(error.value, AisleError)


@pytest.mark.parametrize("user_batch_size", [None, 3])
def test_nobody_teaches_nothing(user_batch_size: int | None) -> None:
    interactions, users, items = noise()
    with pytest.raises(DataError, match="nobody"):
        TensorRec().fit(interactions.tocsr()[:0], users[:0], items, user_batch_size=user_batch_size)


def test_batches_need_sparse_matrices() -> None:
    for interactions, users in ((INTERACTIONS.toarray(), USERS), (INTERACTIONS, [USERS])):
        with pytest.raises(errors.BatchNonSparseInputException):
            TensorRec().fit(interactions, users, ITEMS, user_batch_size=2)


def test_before_the_first_fit() -> None:
    model = TensorRec()
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("predict", (USERS, ITEMS)),
        ("predict_rank", (USERS, ITEMS)),
        ("predict_similar_items", (ITEMS, [1], 2)),
        ("predict_user_representation", (USERS,)),
        ("predict_item_representation", (ITEMS,)),
        ("predict_user_attention_representation", (USERS,)),
        ("predict_user_bias", (USERS,)),
        ("predict_item_bias", (ITEMS,)),
        ("save_model", ("/nowhere",)),
    ]
    for name, arguments in calls:
        with pytest.raises(errors.ModelNotFitException, match=rf"{name}\(\)"):
            getattr(model, name)(*arguments)


def test_what_a_model_has_not() -> None:
    model = TensorRec(n_components=3, biased=False)
    model.fit(*DATA, epochs=1)
    with pytest.raises(errors.ModelNotBiasedException, match="user biases"):
        model.predict_user_bias(USERS)
    with pytest.raises(errors.ModelNotBiasedException, match="item biases"):
        model.predict_item_bias(ITEMS)
    with pytest.raises(errors.ModelWithoutAttentionException):
        model.predict_user_attention_representation(USERS)
    with pytest.raises(UsageError, match="0 to 8"):
        model.predict_similar_items(ITEMS, [9], 1)


def test_the_number_of_columns_is_fixed_by_the_first_fit() -> None:
    model = TensorRec(n_components=3)
    model.fit(*DATA, epochs=1)
    wider = sp.hstack([USERS, USERS], format="csr")
    with pytest.raises(DataError, match="user_features have 12 columns, the model was fitted with 6"):
        model.predict(wider, ITEMS)
    with pytest.raises(DataError, match="item_features have 5 columns"):
        model.fit(INTERACTIONS, USERS, ITEMS[:, :5], epochs=1)


def test_towers_of_the_wrong_size() -> None:
    graphs = representation_graphs
    for graph, words in (
        (graphs.FeaturePassThroughRepresentationGraph(), "6 columns"),
        (graphs.WeightedFeaturePassThroughRepresentationGraph(), "6 columns"),
        (NoLayers(), "nn.LazyLinear"),
        (WrongWidth(), r"\(2, 4\)"),
    ):
        with pytest.raises(ValueError, match=words):
            TensorRec(n_components=4, user_repr_graph=graph).fit(*DATA, epochs=1)
    with pytest.raises(UsageError, match="relu_size is 0"):
        graphs.ReLURepresentationGraph(relu_size=0)


def test_a_loss_that_runs_away_is_stopped() -> None:
    huge: Any = sp.csr_matrix(INTERACTIONS.toarray() * np.float32(1e30))
    model = TensorRec(n_components=3)
    with pytest.raises(UsageError, match="smaller learning_rate"):
        model.fit(huge, sp.csr_matrix(USERS * np.float32(1e30)), ITEMS, epochs=3, learning_rate=1e9)


def test_an_option_without_effect_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    TensorRec(n_components=3).fit(*DATA, epochs=1, n_sampled_items=3)
    assert "n_sampled_items has no effect" in caplog.text


def test_more_items_than_there_are_are_all_of_them() -> None:
    every, more = (TensorRec(n_components=3, loss_graph=WMRB) for _ in range(2))
    every.fit(*DATA, epochs=1, n_sampled_items=DATA[0].shape[1])
    more.fit(*DATA, epochs=1, n_sampled_items=1_000)
    np.testing.assert_array_equal(more.predict(*DATA[1:]), every.predict(*DATA[1:]))


def test_nothing_liked_is_nothing_learnt() -> None:
    blank: Any = sp.csr_matrix((12, 9))
    for nothing in (blank, sp.csr_matrix(-abs(INTERACTIONS.toarray()))):
        model = TensorRec(n_components=3, loss_graph=WMRB)
        model.fit(nothing, USERS, ITEMS, epochs=2, n_sampled_items=3)
        assert np.isfinite(model.predict(USERS, ITEMS)).all()
    for loss in (loss_graphs.RMSELossGraph, loss_graphs.SeparationLossGraph, loss_graphs.SeparationDenseLossGraph):
        TensorRec(n_components=3, loss_graph=loss()).fit(sp.csr_matrix((12, 9)), USERS, ITEMS, epochs=2)


# --- helpers ----------------------------------------------------------------------------------------------------------


def test_sessions_hold_nothing() -> None:
    session_management.set_session(None)
    session = session_management.get_session()
    assert session_management.get_session() is session
    with session:
        session.close()
    with pytest.raises(UsageError, match=r"Session\.run needs TensorFlow"):
        session.run("node")
    mine = object()
    session_management.set_session(mine)
    assert session_management.get_session() is mine
    session_management.set_session(None)


def test_datasets_are_matrices_and_tfrecords_are_refused() -> None:
    dataset = input_utils.create_tensorrec_dataset_from_sparse_matrix(INTERACTIONS)
    assert input_utils.get_dimensions_from_tensorrec_dataset(dataset) == (12, 9)
    assert (abs(dataset - INTERACTIONS) > 0).nnz == 0
    TensorRec(n_components=3).fit(dataset, USERS, ITEMS, epochs=1)
    for refused in (
        lambda: input_utils.create_tensorrec_iterator("users"),
        lambda: input_utils.write_tfrecord_from_sparse_matrix("a.tfrecord", INTERACTIONS),
        lambda: input_utils.write_tfrecord_from_tensorrec_dataset("a.tfrecord", dataset),
        lambda: input_utils.create_tensorrec_dataset_from_tfrecord("a.tfrecord"),
    ):
        with pytest.raises(UsageError, match=r"scipy\.sparse"):
            refused()  # type: ignore[no-untyped-call]
    assert [m.shape for m in util.datasets_from_raw_input([INTERACTIONS, ITEMS])] == [(12, 9), (9, 6)]


@pytest.mark.parametrize("replace", [False, True])
def test_samples_are_pairs_uniform_and_repeat_with_numpys_seed(replace: bool) -> None:
    np.random.seed(0)
    found = util.sample_items(n_items=20, n_users=4_000, n_sampled_items=5, replace=replace)
    np.random.seed(0)
    assert (util.sample_items(20, 4_000, 5, replace) == found).all()
    assert found.shape == (20_000, 2)
    assert (found[:, 0] == np.repeat(np.arange(4_000), 5)).all()
    counts = np.bincount(found[:, 1], minlength=20)
    assert counts == pytest.approx(np.full(20, 1_000), rel=0.15)
    drawn = np.sort(found[:, 1].reshape(4_000, 5), axis=1)
    assert (drawn[:, 1:] == drawn[:, :-1]).any() == replace
    if not replace:
        with pytest.raises(UsageError, match="replace=True"):
            util.sample_items(3, 1, 4, replace=False)


def test_a_pair_of_items_is_as_likely_as_any_other_over_many_draws() -> None:
    random = np.random.default_rng(0)
    for size in (6, 7):
        together = np.zeros((size, size))
        for _ in range(6_000):
            for row in util.ring_sample(size, 2, 3, False, random):
                together[np.ix_(row, row)] += 1
        off = together[~np.eye(size, dtype=bool)]
        assert off == pytest.approx(np.full(size * (size - 1), off.mean()), rel=0.06)
    assert sorted(util.ring_sample(12, 1, 12, False, random)[0]) == list(range(12))
    assert util.ring_sample(1, 3, 1, False, random).tolist() == [[0], [0], [0]]


def test_small_helpers(capsys: pytest.CaptureFixture[str]) -> None:
    assert util.calculate_batched_alpha(1, 0.5) == 0.5
    assert util.calculate_batched_alpha(4, 0.5) == pytest.approx(0.5 / (math.e * math.log(4)))
    with pytest.raises(ValueError, match="num_batches"):
        util.calculate_batched_alpha(0, 0.5)
    assert util.append_to_string_at_point("ab", 7, 4) == "ab  7"
    assert util.append_to_string_at_point("abcde", 7, 4) == "abcde7"
    tensor = torch.ones(2, 3)
    assert util.simple_tf_print(tensor, places=2) is tensor
    assert "[1.0, 1.0] [2, 3]" in capsys.readouterr().out


def test_lazy_values_are_computed_once_and_read_only() -> None:
    class Thing:
        calls = 0

        @util.lazyval
        def answer(self) -> int:
            self.calls += 1
            return 42

    thing = Thing()
    assert (thing.answer, thing.answer, thing.calls) == (42, 42, 1)
    with pytest.raises(AttributeError, match="read-only"):
        thing.answer = 3
    del thing.answer
    assert (thing.answer, thing.calls) == (42, 2)
    assert isinstance(Thing.answer, util.lazyval)


def test_dummy_data() -> None:
    np.random.seed(1)
    interactions, users, items = util.generate_dummy_data(100, 80, 0.05, 30, 20, 3, 4, pos_int_ratio=0.5)
    assert (interactions.shape, users.shape, items.shape) == ((100, 80), (100, 30), (80, 20))
    assert (users.nnz, items.nnz) == (300, 320)
    values = sp.csr_matrix(interactions).data
    assert (values > 0).any()
    assert (values < 0).any()
    only, *_ = util.generate_dummy_data(100, 80, 0.05, 30, 20, pos_int_ratio=1.0, return_datasets=True)
    assert (only.data > 0).all()
    with pytest.raises(ValueError, match="pos_int_ratio"):
        util.generate_dummy_data(pos_int_ratio=0.0)
    interactions, users, items = util.generate_dummy_data_with_indicator(50, 40, 0.1)
    assert (interactions.shape, users.shape, items.shape) == ((50, 40), (50, 60), (40, 48))
    assert set(interactions.tocsr().data) == {1.0, -1.0}
    assert (users.tocsr().diagonal() == 1).all()
    TensorRec(n_components=2).fit(interactions, users, items, epochs=1)


def test_steps_between_vectors_and_ranks() -> None:
    features = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 1.0]])
    for given in (features, features.to_sparse(), representation_graphs.rows_of(features)):
        weights, projected = recommendation_graphs.project_biases(given, 3)
        assert weights.shape == (3, 1)
        assert projected.tolist() == [0.0, 0.0]
    rows, columns = recommendation_graphs.split_sparse_tensor_indices(features.to_sparse(), 2)
    assert (rows.tolist(), columns.tolist()) == ([0, 0, 1], [0, 2, 2])
    dense = recommendation_graphs.bias_prediction_dense(torch.zeros(2, 3), torch.tensor([1.0, 2]), torch.arange(3.0))
    assert dense.tolist() == [[1, 2, 3], [2, 3, 4]]
    serial = recommendation_graphs.bias_prediction_serial(
        torch.zeros(2), torch.tensor([1.0, 2]), torch.arange(3.0), torch.tensor([0, 1]), torch.tensor([2, 0])
    )
    assert serial.tolist() == [3, 2]
    assert recommendation_graphs.densify_sampled_item_predictions(torch.arange(6), 3, 2).tolist() == [
        [0, 1, 2],
        [3, 4, 5],
    ]
    tastes = [torch.tensor([[1.0, 5.0]]), torch.tensor([[2.0, 3.0]])]
    assert recommendation_graphs.collapse_mixture_of_tastes(tastes, None).tolist() == [[2.0, 5.0]]
    even = [torch.zeros(1, 2), torch.zeros(1, 2)]
    assert recommendation_graphs.collapse_mixture_of_tastes(tastes, even).tolist() == [[1.5, 4.0]]
    cosine = recommendation_graphs.relative_cosine(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
    assert cosine.flatten().tolist() == pytest.approx([0.6, 0.0])
