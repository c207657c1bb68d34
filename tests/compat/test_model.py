"""The model: shapes of everything, one score in training and prediction, gradients, and what a second fit does."""

from __future__ import annotations

import copy
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor, nn

from aisle.compat.tensorrec import TensorRec
from aisle.compat.tensorrec import loss_graphs as losses
from aisle.compat.tensorrec import prediction_graphs as predictions
from aisle.compat.tensorrec import representation_graphs as towers
from aisle.compat.tensorrec.fitting import batches
from aisle.compat.tensorrec.recommendation_graphs import rank_predictions
from aisle.compat.tensorrec.step import Step
from tests.compat.worlds import Layers, noise

TOWERS: dict[str, Any] = {
    "linear": towers.LinearRepresentationGraph(),
    "normalized": towers.NormalizedLinearRepresentationGraph(),
    "pass_through": towers.FeaturePassThroughRepresentationGraph(),
    "weighted": towers.WeightedFeaturePassThroughRepresentationGraph(),
    "relu": towers.ReLURepresentationGraph(),
    "relu 5": towers.ReLURepresentationGraph(relu_size=5),
    "layers": Layers(),
}
LOSSES: dict[str, Any] = {
    "rmse": losses.RMSELossGraph(),
    "rmse dense": losses.RMSEDenseLossGraph(),
    "separation": losses.SeparationLossGraph(),
    "separation dense": losses.SeparationDenseLossGraph(),
    "wmrb": losses.WMRBLossGraph(),
    "balanced wmrb": losses.BalancedWMRBLossGraph(),
}
PREDICTIONS: dict[str, Any] = {
    "dot": predictions.DotProductPredictionGraph(),
    "cosine": predictions.CosineSimilarityPredictionGraph(),
    "euclidean": predictions.EuclideanSimilarityPredictionGraph(),
}
TASTES: dict[str, Any] = {
    "one": {},
    "three": {"n_tastes": 3},
    "attention": {"n_tastes": 2, "attention_graph": towers.LinearRepresentationGraph()},
}
WIDTH = 6


def make(tower: str = "linear", loss: str = "wmrb", prediction: str = "dot", tastes: str = "one", **more: Any) -> Any:
    options = {
        "n_components": WIDTH,
        "user_repr_graph": TOWERS[tower],
        "item_repr_graph": TOWERS[tower],
        "prediction_graph": PREDICTIONS[prediction],
        "loss_graph": LOSSES[loss],
        **TASTES[tastes],
    }
    return TensorRec(**{**options, **more})


def fit(model: TensorRec, data: Any, **more: Any) -> TensorRec:
    sampled = {"n_sampled_items": 5} if model.loss_graph_factory.is_sample_based else {}
    model.fit(*data, **{"epochs": 2, "learning_rate": 0.01, **sampled, **more})
    return model


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("tastes", TASTES)
def test_every_combination_fits_and_predicts(tower: str, loss: str, prediction: str, tastes: str) -> None:
    data = noise()
    model = fit(make(tower, loss, prediction, tastes), data, user_batch_size=5)
    _, users, items = data
    scores, ranks = model.predict(users, items), model.predict_rank(users, items)
    assert scores.shape == ranks.shape == (12, 9)
    assert [str(found.dtype) for found in (scores, ranks)] == ["float32", "int32"]
    assert np.isfinite(scores).all()
    assert_array_equal(np.sort(ranks, axis=1), np.broadcast_to(np.arange(1, 10), (12, 9)))
    assert_array_equal(np.argsort(-scores, axis=1, kind="stable").argsort(axis=1) + 1, ranks)
    n_tastes = model.n_tastes
    wanted = (12, WIDTH) if n_tastes == 1 else (n_tastes, 12, WIDTH)
    assert model.predict_user_representation(users).shape == wanted
    assert model.predict_item_representation(items).shape == (9, WIDTH)
    assert model.predict_user_bias(users).shape == (12,)
    assert model.predict_item_bias(items).shape == (9,)
    if tastes == "attention":
        assert model.predict_user_attention_representation(users).shape == wanted


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("tastes", TASTES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_every_parameter_receives_gradient(tower: str, loss: str, tastes: str, prediction: str) -> None:
    data = noise(40, 30)
    model = fit(make(tower, loss, prediction, tastes), data, epochs=0)
    net = model._net
    assert net is not None
    batch = batches(*data, None)[0]
    step = Step(net, batch, 5 if "wmrb" in loss else None, False, np.random.default_rng(0))
    model.loss_graph_factory.batch_loss(step).backward()  # type: ignore[no-untyped-call]
    without = [name for name, p in net.named_parameters() if p.grad is None or not (p.grad != 0).any()]
    # A user's own bias lifts positives and negatives alike: no ranking loss can see it.
    assert without == [] or ("wmrb" in loss and without == ["user_bias.weight"])
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("tastes", TASTES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("cheap", [True, False])
def test_training_sees_the_score_that_predicts(
    tastes: str, prediction: str, cheap: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisle.compat.tensorrec.step.BLOCKS_WORTH", 64 if cheap else 0)
    monkeypatch.setattr("aisle.compat.tensorrec.step.BLOCK_CELLS", 25)
    monkeypatch.setattr("aisle.compat.tensorrec.net.PAIR_NUMBERS", 200)
    interactions, users, items = data = noise()
    model = fit(make(prediction=prediction, tastes=tastes), data, epochs=3)
    assert model._net is not None
    step = Step(model._net, batches(*data, None)[0], 4, False, np.random.default_rng(0))
    scores = model.predict(users, items)
    stored = sp.csr_matrix(interactions).tocoo()
    near = 1e-4 if prediction == "euclidean" else 1e-5
    assert_allclose(step.tf_prediction_serial.detach(), scores[stored.row, stored.col], rtol=near, atol=near)
    assert step.drawn is not None
    assert step.tf_sample_predictions is not None
    assert step.tf_sample_hits is not None
    drawn = step.drawn.numpy()
    assert_allclose(
        step.tf_sample_predictions.detach(), np.take_along_axis(scores, drawn, axis=1), rtol=near, atol=near
    )
    positive = interactions.toarray() > 0
    assert_array_equal(step.tf_sample_hits, np.take_along_axis(positive, drawn, axis=1))
    assert (np.sort(drawn, axis=1)[:, 1:] > np.sort(drawn, axis=1)[:, :-1]).all(), "drawn twice"
    total, squares = (float(x.detach()) for x in step.totals())
    assert total == pytest.approx(scores.sum(dtype=float), rel=1e-4, abs=1e-3)
    assert squares == pytest.approx((scores.astype(float) ** 2).sum(), rel=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_of_a_step_is_the_loss_of_dense_tensors(loss: str) -> None:
    data = noise()
    model = fit(make(loss=loss), data, epochs=1)
    assert model._net is not None
    graph = model.loss_graph_factory
    count = 4 if graph.is_sample_based else None
    step = Step(model._net, batches(*data, None)[0], count, False, np.random.default_rng(0))
    names = [*losses.ALWAYS, *losses.DENSE, *(losses.SAMPLES if graph.is_sample_based else ())]
    by_hand = graph.connect_loss_graph(**{name: getattr(step, name) for name in names})
    assert graph.batch_loss(step).detach() == pytest.approx(float(by_hand.detach()), rel=1e-5)


def test_a_second_fit_goes_on_and_two_short_fits_are_a_long_one() -> None:
    _, users, items = data = noise()
    long = fit(make(), data, epochs=4).predict(users, items)
    model = fit(make(), data, epochs=2)
    half = model.predict(users, items)
    fit(model, data, epochs=1)
    model.fit_partial(*data, learning_rate=0.01, n_sampled_items=5)
    assert not np.array_equal(model.predict(users, items), half)
    assert_array_equal(model.predict(users, items), long)


def test_same_script_same_result_and_another_seed_another() -> None:
    _, users, items = data = noise()
    first = fit(make("layers"), data).predict(users, items)
    np.random.seed(7)
    state = torch.get_rng_state()
    assert_array_equal(fit(make("layers"), data).predict(users, items), first)
    assert_array_equal(torch.get_rng_state(), state)
    assert np.random.randint(2**31) == np.random.RandomState(7).randint(2**31)
    assert not np.array_equal(fit(make("layers", seed=1), data).predict(users, items), first)


def test_lists_are_ready_batches() -> None:
    interactions, users, items = noise()
    cut = sp.csr_matrix(interactions)
    whole = fit(make(), (interactions, users, items), user_batch_size=5)
    lists = [cut[:5], cut[5:10], cut[10:]], [users[:5], users[5:10], users[10:]]
    for item_features in (items, [items], [items, items, items]):
        model = fit(make(), (*lists, item_features))
        assert_array_equal(model.predict(users, items), whole.predict(users, items))
    assert_array_equal(whole.predict(lists[1], items), whole.predict(users, items))


@pytest.mark.parametrize("kind", [sp.coo_matrix, sp.csc_matrix, sp.lil_matrix, sp.csr_array, sp.dok_matrix])
def test_every_sparse_format_gives_the_same_model(kind: Any) -> None:
    data = noise()
    _, users, items = data
    wanted = fit(make(), data).predict(users, items)
    model = fit(make(), tuple(kind(part) for part in data))
    assert_array_equal(model.predict(kind(users), kind(items)), wanted)


def test_inputs_are_left_as_they_were() -> None:
    double: Any = sp.coo_matrix((np.ones(3), np.array([[0, 0, 1], [1, 1, 2]])), shape=(4, 5))  # one cell stored twice
    unsorted: Any = sp.csr_matrix((np.ones(2), np.array([3, 0]), np.array([0, 2, 2, 2, 2])), shape=(4, 5))
    features = sp.identity(4, format="csr"), sp.identity(5, format="csr")
    for interactions in (double, unsorted):
        before = interactions.copy()
        fit(make(), (interactions, *features))
        assert_array_equal(interactions.data, before.data)
        assert (interactions != before).nnz == 0
    assert_array_equal(unsorted.indices, [3, 0])


def test_similar_items_hold_the_item_itself_and_go_down() -> None:
    _, users, items = data = noise()
    for prediction in PREDICTIONS:
        model = fit(make(prediction=prediction), data)
        vectors = model.predict_item_representation(items)
        graph = PREDICTIONS[prediction]
        wanted = graph.connect_dense_prediction_graph(
            tf_user_representation=torch.tensor(vectors[[4, 2]]), tf_item_representation=torch.tensor(vectors)
        )
        found = model.predict_similar_items(items, item_ids=[4, 2], n_similar=3)
        for row, scores in zip(found, wanted.numpy(), strict=True):
            assert [i for i, _ in row] == np.argsort(-scores, kind="stable")[:3].tolist()
            assert_allclose([s for _, s in row], np.sort(scores)[::-1][:3], rtol=1e-5)
        if prediction != "dot":
            assert [row[0][0] for row in found] == [4, 2]
    assert [len(row) for row in model.predict_similar_items(items, np.array([1]), 50)] == [9]
    assert model.predict_similar_items(items, [], 3) == []
    assert users.shape == (12, WIDTH)


def test_a_copy_lives_a_life_of_its_own() -> None:
    _, users, items = data = noise()
    model = fit(make("layers"), data)
    kept = copy.deepcopy(model)
    before = model.predict(users, items)
    fit(model, data)
    assert_array_equal(kept.predict(users, items), before)
    fit(kept, data)
    assert_array_equal(kept.predict(users, items), model.predict(users, items))


def test_a_row_of_a_sparse_array_is_a_user() -> None:
    _, users, items = data = noise()
    model = fit(make(), data)
    assert_array_equal(model.predict(sp.csr_array(users)[2], items), model.predict(users[2], items))


def test_ties_go_to_the_lower_column() -> None:
    assert rank_predictions(torch.tensor([[1.0, 2.0, 1.0, 2.0, -1.0]])).tolist() == [[3, 1, 4, 2, 5]]


def test_blocks_of_users_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _, users, items = data = noise()
    model = fit(make(tastes="three"), data)

    def answers() -> Any:
        similar = model.predict_similar_items(items, range(9), 4)
        return model.predict(users, items), model.predict_rank(users, items), similar

    wanted = answers()
    monkeypatch.setattr("aisle.compat.tensorrec.tensorrec.BLOCK_CELLS", 20)
    found = answers()
    assert_allclose(found[0], wanted[0], rtol=1e-5, atol=1e-6)
    assert_array_equal(found[1], wanted[1])
    assert [[i for i, _ in row] for row in found[2]] == [[i for i, _ in row] for row in wanted[2]]


def test_no_users_no_rows() -> None:
    _, users, items = data = noise()
    model = fit(make(), data)
    assert model.predict(users[:0], items).shape == (0, 9)
    assert model.predict_rank(users[:0], items).shape == (0, 9)
    assert model.predict(users[:1], items).shape == (1, 9)


def test_alpha_pulls_weights_to_zero_however_many_batches() -> None:
    interactions, users, items = noise(60, 20)
    sizes = {}
    for size in (None, 60, 6):
        for alpha in (0.0, 1.0):
            model = fit(make(), (interactions, users, items), user_batch_size=size, alpha=alpha, epochs=20)
            vectors = model.predict_item_representation(items)
            sizes[size, alpha] = float(np.abs(vectors).mean())
    assert sizes[None, 1.0] < 0.7 * sizes[None, 0.0]
    assert sizes[None, 1.0] == sizes[60, 1.0]
    assert sizes[6, 1.0] < 0.7 * sizes[6, 0.0]


def test_many_threads_may_ask_one_model() -> None:
    _, users, items = data = noise(50, 40)
    model = fit(make("relu", tastes="attention"), data)
    alone = [model.predict(users[row], items) for row in range(50)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            together = list(pool.map(lambda row: model.predict(users[row], items), range(50)))
            for one, other in zip(alone, together, strict=True):
                assert_array_equal(one, other)


# --- own graphs -------------------------------------------------------------------------------------------------------


class Shifted(towers.AbstractRepresentationGraph):
    def connect_representation_graph(
        self, tf_features: Any, n_components: int, n_features: int, node_name_ending: str
    ) -> Any:
        linear = self.keep("linear", lambda: towers.SparseLinear(n_features, n_components))
        shift = self.keep("shift", lambda: nn.Parameter(torch.zeros(n_components)))
        return torch.tanh(linear(tf_features)) + shift, [linear.weight]


class Doubled(towers.LinearRepresentationGraph):
    def connect_representation_graph(self, *args: Any, **kwargs: Any) -> Any:
        vectors, weights = super().connect_representation_graph(*args, **kwargs)
        return 2 * vectors, weights


class Scaled(predictions.AbstractPredictionGraph):
    def connect_dense_prediction_graph(self, tf_user_representation: Tensor, tf_item_representation: Tensor) -> Tensor:
        return 3 * tf_user_representation @ tf_item_representation.T

    def connect_serial_prediction_graph(
        self, tf_user_representation: Tensor, tf_item_representation: Tensor, tf_x_user: Tensor, tf_x_item: Tensor
    ) -> Tensor:
        return 3 * (tf_user_representation[tf_x_user] * tf_item_representation[tf_x_item]).sum(dim=1)


class Everything(losses.AbstractLossGraph):
    """Takes all that a loss may get, and looks at it."""

    is_dense = True
    is_sample_based = True
    is_sampled_with_replacement = True
    seen: dict[str, Any]

    def connect_loss_graph(self, **kwargs: Any) -> Tensor:  # type: ignore[override]
        type(self).seen = kwargs
        scores: Tensor = kwargs["tf_prediction_serial"]
        return -scores


class Few(losses.AbstractLossGraph):
    def connect_loss_graph(self, tf_prediction_serial: Tensor, tf_interactions_serial: Tensor) -> Tensor:  # type: ignore[override]
        return (tf_prediction_serial - tf_interactions_serial).abs()


class Greedy(losses.AbstractLossGraph):
    def connect_loss_graph(self, tf_prediction: Tensor) -> Tensor:  # type: ignore[override]
        return tf_prediction.sum()


class Halved(losses.RMSEDenseLossGraph):
    def connect_loss_graph(self, tf_interactions: Tensor, tf_prediction: Tensor, **kwargs: Any) -> Tensor:  # type: ignore[override]
        return super().connect_loss_graph(tf_interactions, tf_prediction) / 2


class Louder(losses.WMRBLossGraph):
    def weighted_margin_rank_batch(  # type: ignore[override]
        self, tf_prediction_serial: Tensor, tf_interactions: Tensor, tf_sample_predictions: Tensor, tf_n_items: int
    ) -> Tensor:
        return (1 - tf_prediction_serial[:, None].mean() + tf_sample_predictions).mean()


def test_own_towers_learn_and_one_recipe_serves_many_towers() -> None:
    data = noise()
    recipe = Shifted()
    model = fit(make(user_repr_graph=recipe, item_repr_graph=recipe, n_tastes=2, attention_graph=recipe), data)
    assert model._net is not None
    names = [name for name, _ in model._net.named_parameters() if name.endswith("linear.weight")]
    assert len(names) == 5
    pulled = model._net.pulled()
    assert sum(id(p) in pulled for p in model._net.parameters()) == 5 + 2, "five matrices, two biases, no shift"
    assert recipe._home is None
    assert not np.allclose(*model.predict_user_representation(data[1]))


def test_a_heir_may_change_what_its_parent_made() -> None:
    _, users, items = data = noise()
    one = fit(make(), data, epochs=0)
    two = fit(make(user_repr_graph=Doubled()), data, epochs=0)
    assert_allclose(two.predict(users, items), 2 * one.predict(users, items), rtol=1e-6)


def test_own_scores() -> None:
    _, users, items = data = noise()
    one, three = fit(make(), data, epochs=0), fit(make(prediction_graph=Scaled()), data, epochs=0)
    assert_allclose(three.predict(users, items), 3 * one.predict(users, items), rtol=1e-5)
    fit(three, data)


def test_own_losses_get_what_they_ask_for() -> None:
    interactions, users, items = data = noise()
    model = fit(make(loss_graph=Everything()), data, epochs=1, n_sampled_items=50)
    seen = Everything.seen
    assert set(seen) == {*losses.ALWAYS, *losses.DENSE, *losses.SAMPLES}
    assert_array_equal(seen["tf_interactions"].to_dense(), interactions.toarray())
    assert (seen["tf_n_users"], seen["tf_n_items"], seen["tf_n_sampled_items"]) == (12, 9, 50)
    assert seen["tf_prediction"].shape == seen["tf_rankings"].shape == (12, 9)
    assert seen["tf_sample_predictions"].shape == seen["tf_sample_hits"].shape == (12, 50)
    before = model.predict(users, items)[interactions.toarray() != 0].mean()
    fit(model, data, n_sampled_items=1)
    assert model.predict(users, items)[interactions.toarray() != 0].mean() > before
    fit(make(loss_graph=Few()), data)
    fit(make(loss_graph=Louder()), data)
    with pytest.raises(ValueError, match="is_dense = True"):
        fit(make(loss_graph=Greedy()), data)
    assert model._net is not None
    step = Step(model._net, batches(*data, None)[0], None, False, np.random.default_rng(0))
    half, whole = (float(loss.batch_loss(step).detach()) for loss in (Halved(), losses.RMSEDenseLossGraph()))
    assert half == pytest.approx(whole / 2, rel=1e-5)


@pytest.mark.parametrize("graph", [losses.WMRBLossGraph(), Few(), Louder()])
def test_a_batch_weighs_as_much_as_it_holds(graph: Any) -> None:
    interactions, users, items = noise(13, 9)
    parts = batches(interactions, users, items, 5)
    held = [int((sp.csr_matrix(interactions)[at : at + 5].data > 0).sum()) for at in (0, 5, 10)]
    assert [part.share for part in parts] == pytest.approx([3 * n / sum(held) for n in held])
    model = fit(make(loss_graph=graph), (interactions, users, items), epochs=0)
    assert model._net is not None
    found = []
    for share in (1.0, 0.5):
        batch = replace(parts[0], share=share)
        step = Step(model._net, batch, 4 if graph.is_sample_based else None, False, np.random.default_rng(0))
        found.append(float(graph.batch_loss(step).detach()))
    assert found[1] == pytest.approx(found[0] / 2)


def test_layers_may_draw_and_normalise_and_are_still_in_prediction() -> None:
    class Deep(towers.AbstractKerasRepresentationGraph):
        def create_layers(self, n_features: int, n_components: int) -> list[nn.Module]:
            return [nn.BatchNorm1d(n_features), nn.Dropout(0.5), nn.LazyLinear(n_components)]

    _, users, items = data = noise()
    model = fit(make(user_repr_graph=Deep()), data)
    assert_array_equal(model.predict(users, items), model.predict(users, items))
    assert_allclose(model.predict(users[3], items), model.predict(users, items)[3:4], rtol=1e-5)


def test_wide_layers_read_stored_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    _, users, items = data = noise()
    narrow = [fit(make("layers", biased=False), data, epochs=epochs).predict(users, items) for epochs in (0, 2)]
    monkeypatch.setattr("aisle.compat.tensorrec.representation_graphs.DENSE_CELLS", 0)
    for epochs, wanted, near in ((0, narrow[0], 1e-6), (2, narrow[1], 1e-3)):
        model = fit(make("layers", biased=False), data, epochs=epochs)
        assert_allclose(model.predict(users, items), wanted, atol=near)


def test_verbose_says_what_happens(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        fit(make(), noise(), verbose=True, user_batch_size=6)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in lines] == [f"epoch {e} batch {b}" for e in (0, 1) for b in (0, 1)]
    assert all("loss" in line and "L2" in line for line in lines)
