"""HybridFactorization: two towers over ids and content, learned from history, with a repeat head.

A question is (what a customer bought before t, what is known about the customer); the answer is what they bought in
the days after t. With product vectors ``v_i``, customer vector ``u``, both of length 1 or less, and decayed basket
counts ``c_t(i)`` of the customer's own products at several half-lives::

    score(i) = ⟨u, v_i⟩ / τ  +  Σ_m a_m · log share_m(i)  +  Σ_t w_t · log(1 + c_t(i)) · loyal(u) · repeatable(i)
               taste            what sells (1 and 4 windows, ever)    what I buy again (own products only)

    v_i = unit(g_id · id_i + Σ_l g_l · level_l(i) + g_n · numbers_i)         gates start id-heavy
    h   = Σ_j w_j v_j / (Σ_j w_j + c),  w_j = Σ_t b_t · log(1 + c_t(j))      the history, faint while it is short
    u   = unit-ish(M h + groups, attributes and RFMV (+ id) + small residual MLP)

The towers are heirs of the hybrid of Kula (LightFM, 2015) and of TensorRec, with the customer's identity replaced by
the history; dropping ids at random so that content learns to stand in is DropoutNet (Volkovs et al., NeurIPS 2017).
Windows of the training data give the questions; the latest decides when to stop, then all of them are learned.
Cost: an epoch is about ``6 · questions · I · dim`` flops with the full softmax; memory is ``batch · I`` floats.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.errors import UsageError
from aisle.features.customers import RFMV, rfmv
from aisle.models.base import Array, Model
from aisle.models.nn import losses
from aisle.models.nn.features import Form
from aisle.models.nn.histories import HALF_LIVES, Histories
from aisle.models.nn.hybrid_net import HybridNet, Inputs, Sizes, all_scores, log_shares, pair_scores, tensors
from aisle.models.nn.losses import SAMPLED, Loss, Sample
from aisle.models.nn.sampling import is_pair, keep_mask, uniform_negatives
from aisle.models.nn.start import level_means, taste_vectors
from aisle.models.nn.train import Schedule, Trained, train
from aisle.models.nn.windows import Question, questions, sales_before, spread, window_ticks
from aisle.types import Bools, Doubles, Floats, Ints, Sparse

LOSSES = ("auto", "softmax", "sampled_softmax", "wmrb", "bpr", "warp")
"""Losses that compare products of one customer: this score has no level of its own that others could fit."""
BATCH = 256
STEPS = 40
"""Steps an epoch at least, down to batches of 32."""
SPEEDS = {"ids": 0.1, "turn": 0.1, "bend": 0.1, "customer_content.numbers": 0.1}
"""What starts well, or can tell customers apart, learns slower than the learning rate."""
WINDOWS = 8
MIN_SALES = 5
"""Products sold less often are known by their content alone."""
VALIDATE = 1_000
"""At most this many customers of the latest window decide when to stop."""
FORGET = 0.1
"""Share of training questions asked as if the customer were new, so that attributes learn to answer alone."""
IDENTITY_DROPOUT = 0.5
BLIND_EPOCHS = 10
"""Epochs where the data hold a single window, so that nothing can say when to stop."""
PREFIX = "purchases: "
"""Marks the customer numbers that come from purchases."""


@dataclass(kw_only=True, eq=False)
class HybridFactorization(Model):
    """Deep hybrid of taste, what sells and what one buys again; answers newcomers and new products from content."""

    name: ClassVar[str] = "hybrid_factorization"
    needs_history: ClassVar[bool] = False
    space: ClassVar[dict[str, tuple[Any, ...]]] = {"learning_rate": (0.0005, 0.002), "dim": (64, 32, 128)}

    dim: int = 64
    """Width of the vectors."""
    loss: Loss = "auto"
    """``softmax`` weighs all products, the others ``n_negatives`` drawn ones; ``auto`` picks by catalogue size."""
    epochs: int = 30
    """At most this many; the last training window decides. 0 leaves the untrained score."""
    learning_rate: float = 0.0005
    weight_decay: float = 0.05
    id_dropout: float = 0.1
    """Share of ids hidden at each step, so that content learns to speak for products (and groups for customers)."""
    n_negatives: int = 512
    target_days: int | None = None
    """Length of the windows to foretell, in days (baskets); None = from the usual gap between baskets."""
    max_history: int = 500
    """Own products that are looked at, for each customer."""
    max_questions: int = 16_000
    """At most this many (customer, window) pairs are learned from."""
    identity: bool = False
    """Also give each customer an embedding of their own."""
    patience: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise UsageError(f"loss is {self.loss!r}; allowed: {', '.join(LOSSES)}")
        if not 0 <= self.id_dropout < 1:
            raise UsageError(f"id_dropout is {self.id_dropout}; allowed: 0 <= id_dropout < 1")
        for setting in ("dim", "learning_rate", "n_negatives", "max_history", "max_questions", "patience"):
            if getattr(self, setting) <= 0:
                raise UsageError(f"{setting} is {getattr(self, setting)}; it must be above 0")
        if self.epochs < 0 or self.weight_decay < 0 or (self.target_days or 1) <= 0:
            raise UsageError("epochs and weight_decay must be 0 or more, target_days above 0 (or none)")

    def fit(self, data: Dataset) -> Self:
        """Learn from the windows before ``data.as_of``; forgets any earlier fit."""
        ticks = window_ticks(data, self.target_days)
        asked = questions(data, ticks, WINDOWS, max(self.max_questions // WINDOWS, 1), self.seed)
        self._freeze(data)
        self.shares_ = log_shares(sales_before(data, data.as_of, ticks))
        self._start(data)
        self.target_days_, self.epochs_, self.curve_ = ticks / data.unit, 0, []
        if asked and self.epochs:
            tasks = Tasks.of(self, data, asked)
            self.epochs_ = min(self.epochs, BLIND_EPOCHS)
            if len(asked) > 1:
                self._start(data.before(asked[0].window.cut))
                trained = self._learn(tasks, tasks.older, self.epochs, stop=True)
                self.epochs_, self.curve_ = trained.epochs, trained.curve
                self._start(data)
            self._learn(tasks, np.arange(len(tasks.inputs)), self.epochs_, stop=False)
        self._settle()
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I): see the module; products never sold are scored from their content."""
        self.check_fitted()
        ask, net = tensors(self.inputs(batch, 0)), self._net
        with torch.no_grad():
            customers = net.customer_vectors(self._vectors, ask, torch.ones(len(batch)))
            scores = all_scores(net, self._vectors, customers, torch.from_numpy(self.shares_)[None], ask)
        return scores.numpy()

    def product_vectors(self) -> Floats:
        """(I, D) unit vectors: the inner product says how alike two products are in taste."""
        self.check_fitted()
        return self._vectors.numpy().copy()

    def customer_vectors(self, batch: Batch) -> Floats:
        """(B, 1, D) vectors of the customers, as long as the taste counts: ``⟨u, v_i⟩ / τ`` is an inner product."""
        self.check_fitted()
        with torch.no_grad():
            ask = tensors(self.inputs(batch, 0))
            customers = self._net.customer_vectors(self._vectors, ask, torch.ones(len(batch)))
            return (self._net.scale() * customers)[:, None].numpy()

    def product_biases(self) -> Floats:
        """(I,) the what-sells prior: the part of the score that is the same for everybody."""
        self.check_fitted()
        with torch.no_grad():
            return self._net.sells(torch.from_numpy(self.shares_)[None])[0].numpy()

    def customer_biases(self, batch: Batch) -> Floats:
        """(B,) zeros: no part of the score is the same for all products."""
        self.check_fitted()
        return np.zeros(len(batch), dtype=np.float32)

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """What was learnt; the network's arrays are named ``net__…``."""
        arrays, values = super().state()
        net = {f"net__{k.replace('.', '__')}": v.numpy().copy() for k, v in self._net.state_dict().items()}
        return arrays | net, values

    def restore(self, arrays: dict[str, Array], values: dict[str, Any]) -> Self:
        """Rebuild the network from the sizes and fill it."""
        super().restore({k: v for k, v in arrays.items() if not k.startswith("net__")}, values)
        self._net = self.build(self._sizes())
        names = {f"net__{k.replace('.', '__')}": k for k in self._net.state_dict()}
        self._net.load_state_dict({names[k]: torch.from_numpy(v.copy()) for k, v in arrays.items() if k in names})
        self._settle()
        return self

    @property
    def network(self) -> HybridNet:
        """The fitted network."""
        self.check_fitted()
        return self._net

    def build(self, sizes: Sizes) -> HybridNet:
        """An untrained network; the only place where one is made."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return HybridNet(sizes)

    def _sizes(self) -> Sizes:
        products, customers = Form.load(self.product_form_), Form.load(self.customer_form_)
        return Sizes(
            products=self.shares_.shape[1],
            customers=self.customers_,
            dim=self.dim,
            half_lives=len(HALF_LIVES["time"]),
            product_levels=tuple(products.levels.values()),
            product_numbers=2 * len(products.numbers),
            customer_levels=tuple(customers.levels.values()),
            customer_numbers=2 * len(customers.numbers),
            spans=self.shares_.shape[0],
        )

    def _freeze(self, data: Dataset) -> None:
        """Remember what the features look like today, over whom and what purchases so far have shown."""
        everyone = data.batch(np.arange(data.shape[0], dtype=np.int32))
        people = {name: values[~everyone.empty] for name, values in purchase_numbers(everyone).items()}
        goods = {name: values[data.popularity > 0] for name, values in data.products.numbers.items()}
        self.customer_form_ = Form.of(everyone.features, people).save()
        self.product_form_ = Form.of(data.products.features, goods).save()
        self.customers_ = data.shape[0] if self.identity else 0

    def _start(self, data: Dataset) -> None:
        """A fresh network that holds the products' content and starts from who bought what together.

        Content starts as the mean vector of what carries it, so that new products and new customers have a say at once.
        """
        net = self._net = self.build(self._sizes())
        product_form, customer_form = Form.load(self.product_form_), Form.load(self.customer_form_)
        n_customers, n_products = data.shape
        features = data.products.features
        levels = product_form.codes(features, n_products)
        net.product_levels.copy_(torch.from_numpy(levels))
        net.product_numbers.copy_(torch.from_numpy(product_form.values(features.numbers, n_products)))
        sold = np.bincount(data.purchases.product, minlength=n_products) >= MIN_SALES
        net.has_id.copy_(torch.from_numpy(sold.astype(np.float32)))
        customers, products = taste_vectors(data.counts, self.dim, self.seed)
        groups = customer_form.codes(data.customers.features, n_customers)
        with torch.no_grad():
            known = torch.from_numpy(np.abs(products).sum(axis=1) > 0)
            net.ids.weight[known] = torch.from_numpy(products)[known]
        net.product_content.start(
            [level_means(products, c, n) for c, n in zip(levels.T, net.sizes.product_levels, strict=True)]
        )
        some = np.abs(customers).sum(axis=1) > 0
        customers[some] -= customers[some].mean(axis=0) if some.any() else 0.0  # what sets a group apart
        net.customer_content.start(
            [level_means(customers, c, n) for c, n in zip(groups.T, net.sizes.customer_levels, strict=True)]
        )

    def _settle(self) -> None:
        """Product vectors are the same for everybody: compute them once."""
        self._net.eval()
        with torch.no_grad():
            self._vectors = self._net.product_vectors(torch.ones(self.shares_.shape[1]))

    def inputs(self, batch: Batch, cut: int) -> Inputs:
        """The questions of a batch; ``cut`` says which row of the what-sells table goes with it."""
        form = Form.load(self.customer_form_)
        known = (batch.customers >= 0) & (batch.customers < self.customers_)
        return Inputs(
            histories=Histories.of(batch, self.max_history),
            customers=np.where(known, batch.customers.astype(np.int64) + 1, 0),
            levels=form.codes(batch.features, len(batch)),
            numbers=form.values(purchase_numbers(batch), len(batch)),
            cut=np.full(len(batch), cut, dtype=np.int64),
        )

    def _learn(self, tasks: Tasks, rows: Ints, epochs: int, stop: bool) -> Trained:
        """Learn from some questions; with ``stop`` the latest window says how long."""
        schedule = Schedule(
            epochs=epochs,
            batch_size=int(np.clip(len(rows) // STEPS, 32, BATCH)),
            speeds=SPEEDS,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=self.patience,
            seed=self.seed,
        )
        pick = torch.from_numpy(rows)
        judge = (lambda: judged(self._net, tasks)) if stop else None
        return train(self._net, len(rows), lambda some, g: self._step(tasks, pick[some], g), schedule, judge)

    def _step(self, tasks: Tasks, rows: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of some questions, some of them asked as if by newcomers."""
        net, size = self._net, len(rows)
        ask = tensors(tasks.some(rows.numpy(), torch.rand(size, generator=generator).numpy() < FORGET))
        vectors = net.product_vectors(keep_mask(tasks.n_products, self.id_dropout, generator))
        customers = net.customer_vectors(vectors, ask, keep_mask(size, IDENTITY_DROPOUT, generator))
        row, column, weight = (torch.from_numpy(part) for part in spread(tasks.bought[rows.numpy()]))
        weight = weight / size
        loss = self.loss
        if loss == "auto":
            loss = "softmax" if tasks.n_products <= losses.FULL_SOFTMAX else "sampled_softmax"
        if loss == "softmax":
            scores = all_scores(net, vectors, customers, tasks.shares, ask)
            return losses.softmax(scores.masked_fill(tasks.absent[ask["cut"]], -torch.inf), row, column, weight)
        drawn = uniform_negatives(torch.arange(tasks.n_products), self.n_negatives, generator)[None]  # (1, Z)
        everyone = torch.arange(size)[:, None]  # (B, 1)
        positive = pair_scores(net, (vectors, customers), tasks.shares, ask, row, column)
        negative = pair_scores(net, (vectors, customers), tasks.shares, ask, everyone, drawn)
        hit = is_pair(everyone, drawn, row * tasks.n_products + column, tasks.n_products)
        hit = hit | tasks.absent[ask["cut"][:, None], drawn]
        return SAMPLED[loss](Sample(positive, row, weight, negative, hit, tasks.n_products))


@dataclass(frozen=True, eq=False)
class Tasks:
    """All N questions of a fit with their answers."""

    inputs: Inputs
    bought: Sparse
    """(N, I) stored where bought in the window."""
    shares: Tensor
    """(C, S, I) what sold before each cut."""
    absent: Tensor
    """(C, I) not yet sold at the cut: neither a target nor a rival."""
    rfmv_columns: Ints
    """Columns of the customer numbers that come from purchases, then the places of their flags."""
    latest: Ints
    """Questions of the latest window, the judges."""

    @classmethod
    def of(cls, model: HybridFactorization, data: Dataset, asked: list[Question]) -> Tasks:
        """Every question as it would have been asked at its cut: ``data.before(cut)`` gives the inputs."""
        parts = [model.inputs(data.before(q.window.cut).batch(q.customers), c) for c, q in enumerate(asked)]
        sold = np.stack([q.sold for q in asked])
        names = list(Form.load(model.customer_form_).numbers)
        own = np.array([place for place, name in enumerate(names) if name.startswith(PREFIX)], dtype=np.int64)
        judges = np.arange(len(asked[0].customers))
        if len(judges) > VALIDATE:
            judges = np.sort(np.random.default_rng(model.seed).choice(judges, VALIDATE, replace=False))
        return cls(
            inputs=Inputs.join(parts),
            bought=sp.csr_array(sp.vstack([q.bought for q in asked], format="csr")),
            shares=torch.from_numpy(log_shares(sold)),
            absent=torch.from_numpy(sold[:, -1] == 0),
            rfmv_columns=np.concatenate((own, own + len(names))),
            latest=judges,
        )

    @property
    def n_products(self) -> int:
        """I."""
        return self.absent.shape[1]

    @property
    def older(self) -> Ints:
        """Questions of all windows but the latest."""
        return np.flatnonzero(self.inputs.cut > 0)

    def some(self, rows: Ints, forget: Bools) -> Inputs:
        """Some questions; those under the mask ``forget`` (B,) without any trace of purchases."""
        inputs = self.inputs.take(rows)
        numbers, half = inputs.numbers, len(self.rfmv_columns) // 2
        numbers[np.ix_(forget, self.rfmv_columns[:half])] = 0.0
        numbers[np.ix_(forget, self.rfmv_columns[half:])] = 1.0
        return replace(inputs, histories=inputs.histories.blank(forget), numbers=numbers)


def judged(net: HybridNet, tasks: Tasks) -> float:
    """NDCG@10 on the latest window plus NDCG@10 of products new to the customer.

    Repeats decide the first alone; without the second, learning would stop before taste has settled.
    """
    every: list[Doubles] = []
    fresh: list[Doubles] = []
    with torch.no_grad():
        vectors = net.product_vectors(torch.ones(tasks.n_products))
        for rows in np.split(tasks.latest, range(BATCH, len(tasks.latest), BATCH)):
            ask = tensors(tasks.inputs.take(rows))
            customers = net.customer_vectors(vectors, ask, torch.ones(len(rows)))
            scores = all_scores(net, vectors, customers, tasks.shares, ask)
            scores = scores.masked_fill(tasks.absent[ask["cut"]], -torch.inf)
            real = tasks.bought[rows].toarray() > 0
            every.append(ndcg_at_10(scores, real))
            own = ask["row"].numpy(), ask["product"].numpy()
            scores[own] = -torch.inf
            real[own] = False
            fresh.append(ndcg_at_10(scores, real))
    new = np.concatenate(fresh)
    return float(np.concatenate(every).mean() + (new.mean() if len(new) else 0.0))


def ndcg_at_10(scores: Tensor, real: Bools) -> Doubles:
    """(N,) NDCG@10 of the rows of ``scores`` (B, I) with at least one product in ``real`` (B, I)."""
    best = torch.topk(scores, min(10, scores.shape[1]), dim=1).indices.numpy()
    discount = 1.0 / np.log2(np.arange(best.shape[1]) + 2.0)
    n_true = real.sum(axis=1)
    some = n_true > 0
    gain = (np.take_along_axis(real, best, axis=1) * discount).sum(axis=1)[some]
    return np.asarray(gain / np.cumsum(discount)[np.minimum(n_true[some], len(discount)) - 1])


def purchase_numbers(batch: Batch) -> dict[str, Floats]:
    """Customer attributes that are numbers, and the logarithms of RFMV, each (B,)."""
    values = np.log1p(np.maximum(rfmv(batch), 0))
    return batch.features.numbers | {PREFIX + name: values[:, column] for column, name in enumerate(RFMV)}
