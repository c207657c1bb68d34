"""HybridFactorization: two towers over ids and content, learned from history, with a repeat head.

A question is (what a customer bought before t, what is known about the customer); the answer is what they bought in
the days after t. With product vectors ``v_i``, a customer vector ``u`` and decayed basket counts ``c_t(i)`` of the
customer's own products at several half-lives::

    score(i) = ⟨u, n_i^λ v_i⟩ / τ  +  Σ_m a_m · log share_m(i) + b·x_i  +  Σ_t r_t · log(1 + c_t(i)) · loyal · again
               taste                  what sells (1 and 4 windows, ever)   what I buy again (own products only)

    v_i = body(g_id · id_i + Σ_l g_l · W_l x_i)             x_i: categories, tags, numbers, words; gates start id-heavy
    u   = body((M Σ_j w_j v_j + c Σ_l g_l · W_l y_u) / (Σ_j w_j + c) (+ id))         y_u: groups, attributes, RFMV
    w_j = n_j^-μ · Σ_t b_t · log(1 + c_t(j))                j: own products; n_j: how often j sold

``loyal · again`` is ``exp(own_heat + boost + loyal·u + repeatable·v_i)``; what is known of a customer counts as c
purchases. Similarity, number of tastes and both bodies may be changed (``nn/towers``). Both towers are heirs of LightFM
(Kula, 2015) and of TensorRec, with identity replaced by history; ids are dropped at random so that content learns to
stand in (DropoutNet: Volkovs et al., NeurIPS 2017). Learning starts from a ridge regression cut to D dimensions
(``nn/start``); the latest window shapes that start and decides when to stop, then all windows are learned. Cost: an
epoch takes about ``6 · questions · I · dim`` flops with the full softmax, and ``batch · I`` floats of memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Self, get_args

import numpy as np
import torch

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.errors import BundleError, UsageError
from aisle.features.pairs import decayed_presence
from aisle.models.base import Array, Model
from aisle.models.nn import losses, windows
from aisle.models.nn.carry import carry_over
from aisle.models.nn.checkpoint import Checkpoint
from aisle.models.nn.histories import HALF_LIVES
from aisle.models.nn.hybrid_net import CONTENT_PARTS, Ask, HybridNet, Scorer, Shape, Sizes, log_shares
from aisle.models.nn.judges import boosted, clearly_better, fit_heats, judgement
from aisle.models.nn.look import Look, signature
from aisle.models.nn.losses import SAMPLED, Loss
from aisle.models.nn.regression import REGRESSION
from aisle.models.nn.rows import Rows
from aisle.models.nn.sampling import Negatives, Sampler
from aisle.models.nn.similarity import Similarity
from aisle.models.nn.start import AGES, OTHERS, START, Start, Tastes
from aisle.models.nn.tasks import VALIDATE, Rules, Tasks, loss_of
from aisle.models.nn.towers import TOWERS
from aisle.models.nn.train import Rate, Schedule, Trained, Watch, later, train
from aisle.models.nn.windows import Question, Weighing, some_before
from aisle.types import Codes, Doubles, Floats, Ints

LOSSES = ("auto", "softmax", *SAMPLED, *REGRESSION)
BATCH = 256
STEPS = 40
"""Steps an epoch at least, down to batches of 32."""
SLOW = {"turn": 0.1, "tower.body": 0.1, "tower.first": 0.1}
"""Parts of the customer towers that start well, or can tell customers apart: their share of the learning rate."""
WINDOWS = 8
BLIND_EPOCHS = 10  # where the data hold a single window, so that nothing can say when to stop
OWN_LAST = -50.0  # added to own products where nobody buys anything twice


@dataclass(kw_only=True, eq=False)
class HybridFactorization(Model):
    """Deep hybrid of taste, what sells and what one buys again; answers newcomers and new products from content."""

    name: ClassVar[str] = "hybrid_factorization"
    needs_history: ClassVar[bool] = False
    space: ClassVar[dict[str, tuple[Any, ...]]] = {"learning_rate": (0.0005, 0.002), "dim": (64, 32, 128)}

    dim: int = 64
    """Width of the vectors."""
    product_tower: str = "linear"
    customer_tower: str = "residual"
    """Bodies of ``nn.towers.TOWERS``; one's own are entered there by name."""
    similarity: Similarity = "dot"
    tastes: int = 1
    """Vectors a customer; the best one counts, or, with ``attention``, each product attends to its own."""
    attention: bool = False
    loss: Loss = "auto"
    """``softmax`` weighs all products, sampled losses ``n_negatives`` drawn ones; ``auto`` picks by catalogue size."""
    negatives: Negatives = "mixed"
    n_negatives: int = 512
    weighing: Weighing = "even"
    """What makes an answer weigh more."""
    explore: float = 1.0
    """Weight of a second loss over products that are new to the customer."""
    dislike: float = 0.1
    """Weight of products brought back, which should score below others."""
    epochs: int = 30
    """At most this many; the last training window decides. 0 leaves the untrained score."""
    patience: int = 3
    learning_rate: float = 0.0005
    rate: Rate = "constant"
    """Course of the learning rate."""
    warm_up: float = 0.0
    weight_decay: float = 0.001
    """Share of a weight that an epoch takes away."""
    id_dropout: float = 0.1
    """Share of ids hidden at each step, so that content learns to speak for products (and groups for customers)."""
    target_days: int | None = None
    """Length of the windows to foretell, in days (baskets); None = from the usual gap between baskets."""
    max_history: int = 500
    """Own products that are looked at, for each customer."""
    max_questions: int = 16_000
    """At most this many (customer, window) pairs are learned from."""
    identity: bool = False
    """Also give each customer an embedding of their own."""
    seed: int = 0

    look_: dict[str, Any] = field(init=False, repr=False)
    """What the features looked like at fit."""

    def __post_init__(self) -> None:
        choices: dict[str, tuple[str, ...]] = {"loss": LOSSES, "product_tower": tuple(TOWERS)}
        choices |= {"customer_tower": tuple(TOWERS), "similarity": get_args(Similarity)}
        choices |= {"negatives": get_args(Negatives), "weighing": get_args(Weighing), "rate": get_args(Rate)}
        for setting, allowed in choices.items():
            if getattr(self, setting) not in allowed:
                raise UsageError(f"{setting} is {getattr(self, setting)!r}; allowed: {', '.join(allowed)}")
        for setting in ("id_dropout", "weight_decay", "warm_up"):
            if not 0 <= getattr(self, setting) < 1:
                raise UsageError(f"{setting} is {getattr(self, setting)}; allowed: 0 <= {setting} < 1")
        for setting in ("dim", "tastes", "learning_rate", "n_negatives", "max_history", "max_questions", "patience"):
            if not getattr(self, setting) > 0:
                raise UsageError(f"{setting} is {getattr(self, setting)}; it must be above 0")
        some = all(getattr(self, setting) >= 0 for setting in ("epochs", "explore", "dislike"))
        if not some or (self.target_days is not None and self.target_days <= 0):
            raise UsageError("epochs, explore and dislike must be 0 or more, target_days above 0 (or none)")
        if self.attention and self.tastes < 2:
            raise UsageError("attention chooses among tastes: set tastes to 2 or more, or attention to False")

    def fit(self, data: Dataset, *, checkpoint: Path | None = None, watch: Watch | None = None) -> Self:
        """Learn from the windows before ``data.as_of``; forgets any earlier fit.

        With ``checkpoint``, a folder, a fit that was stopped goes on where it was when it is called again.
        """
        ticks = self._see(data)
        facts = {"settings": self.params(), "data": signature(data)} if checkpoint else {}
        first, final = (Checkpoint(Path(checkpoint) / n, facts) if checkpoint else None for n in ("choose", "final"))
        self.start_ = dict(START)
        self.epochs_, self.training_ = 0, {}
        asked, ordered = self._asked(data, ticks)
        past, cut, tasks = data, data.as_of, None
        if ordered:
            tasks, cut = self._tasks(data, asked), asked[0].cut
        else:
            past, judge = windows.hold_out(data, VALIDATE, self.seed)
            rest = windows.unordered(past, self.max_questions, self.seed, self.weighing)
            asked = [judge, *rest] if judge and rest else []
            tasks = self._tasks(past, asked, hidden=True)
        trained = Trained(min(self.epochs, BLIND_EPOCHS))
        if tasks is not None and len(asked) > 1:
            self._choose(past, cut, tasks)
            self._start(past, cut, tasks)
            trained = self._learn(tasks, tasks.learners, self.epochs, True, first, watch)
        boost = float(self._net.boost) if trained.curve else 0.0
        if not ordered:
            asked = windows.unordered(data, self.max_questions, self.seed, self.weighing)
            tasks = self._tasks(data, asked, hidden=True)
        self._start(data, data.as_of, tasks)
        if tasks is not None and trained.epochs + len(trained.losses):
            rows = np.arange(len(tasks))
            watch = later(watch, len(trained.losses))
            again = self._learn(tasks, rows, trained.epochs, False, final, watch)
            self.training_ = trained.to_json() if trained.curve else again.to_json()
            self.epochs_ = trained.epochs
        self._net.boost.fill_(boost)
        self._settle()
        return self

    def fit_partial(self, data: Dataset, *, epochs: int = 1, watch: Watch | None = None) -> Self:
        """Go on learning, for so many epochs, from other or more data: new customers, products and values may appear.

        What was learnt of products, categories and words is carried over by name; new products start from the
        customers who bought them, and from their content. The first call is a fit.
        """
        if not hasattr(self, "look_"):
            return self.fit(data, watch=watch)
        old, labels = self._net, self._look.labels
        ticks = self._see(data, self._look)
        asked, ordered = self._asked(data, ticks)
        asked = asked if ordered else windows.unordered(data, self.max_questions, self.seed, self.weighing)
        tasks = self._tasks(data, asked, hidden=not ordered)
        net = self._fresh(data, data.as_of, tasks)
        if not ordered:  # such data cannot tell whether people buy things again
            net.own_shift.copy_(old.own_shift)
        net.boost.copy_(old.boost)
        carry_over(old, net, labels, self._look.labels, some_before(data, data.as_of).history)
        if tasks is not None:
            trained = self._learn(tasks, np.arange(len(tasks)), epochs, False, None, watch)
            losses_ = [*self.training_.get("loss", []), *trained.losses]
            self.epochs_ += trained.epochs
            self.training_ = {**self.training_, "loss": losses_, "epochs": self.epochs_}
        self._settle()
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I): see the module; products never sold are scored from their content."""
        self.check_fitted()
        with torch.no_grad():
            return self._scorer(batch).all().numpy()

    def score_pairs(self, batch: Batch, rows: Ints, codes: Codes) -> Floats:
        """(P,) scores of some pairs: row of the batch and product."""
        self.check_fitted()
        with torch.no_grad():
            pairs = (torch.from_numpy(np.asarray(part, dtype=np.int64)) for part in (rows, codes))
            return self._scorer(batch).pairs(*pairs).numpy()

    def product_vectors(self) -> Floats:
        """(I, D) vectors of products as they meet customers: the inner product is the score of taste."""
        self.check_fitted()
        with torch.no_grad():
            return self._net.lifted(self._vectors).numpy()

    def customer_vectors(self, batch: Batch) -> Floats:
        """(B, T, D) vectors of the customers of a batch, one a taste, as long as taste counts in the score."""
        self.check_fitted()
        with torch.no_grad():
            return (self._net.scale() * self._scorer(batch).parts["customers"]).permute(1, 0, 2).numpy().copy()

    def product_biases(self) -> Floats:
        """(I,) the part of the score that is the same for everybody: what sells, and the bias of the content."""
        self.check_fitted()
        with torch.no_grad():
            return self._net.sells(torch.from_numpy(self.shares_)[None])[0].numpy()

    def customer_biases(self, batch: Batch) -> Floats:
        """(B,) the part of the score that is the same for all products."""
        self.check_fitted()
        with torch.no_grad():
            return self._scorer(batch).parts["bias"].numpy()

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """What was learnt; the network's arrays are named ``net__…``."""
        arrays, values = super().state()
        net = {f"net__{k.replace('.', '__')}": v.numpy().copy() for k, v in self._net.state_dict().items()}
        return arrays | net, values

    def restore(self, arrays: dict[str, Array], values: dict[str, Any]) -> Self:
        """Rebuild the network from the sizes and fill it."""
        if "look_" not in values:
            raise BundleError(
                "this hybrid was saved by an earlier version of aisle, which built it otherwise; train again"
            )
        super().restore({k: v for k, v in arrays.items() if not k.startswith("net__")}, values)
        self._look = Look.load(self.look_)
        indptr, column, value = (torch.from_numpy(arrays[f"net__content_{n}"].copy()) for n in CONTENT_PARTS)
        self._net = self.build(self._sizes(), Rows(indptr, column, value, len(self._look.products.groups)))
        names = {f"net__{k.replace('.', '__')}": k for k in self._net.state_dict()}
        self._net.load_state_dict({names[k]: torch.from_numpy(v.copy()) for k, v in arrays.items() if k in names})
        self._settle()
        return self

    @property
    def network(self) -> HybridNet:
        """The fitted network."""
        self.check_fitted()
        return self._net

    def build(self, sizes: Sizes, content: Rows) -> HybridNet:
        """An untrained network; the only place where one is made."""
        shape = Shape(self.product_tower, self.customer_tower, self.similarity, self.tastes, self.attention)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return HybridNet(sizes, shape, content)

    def _asked(self, data: Dataset, ticks: int) -> tuple[list[Question], bool]:
        """Windows to learn from, and whether they are of use."""
        limit = max(self.max_questions // WINDOWS, 1)
        asked = windows.questions(data, ticks, WINDOWS, limit, self.seed, self.weighing)
        return asked, windows.come_back(data, asked)

    def _sizes(self) -> Sizes:
        return Sizes(
            products=self.shares_.shape[1],
            customers=len(self._look.customer_ids),
            dim=self.dim,
            half_lives=len(HALF_LIVES["time"]),
            product_groups=tuple(self._look.products.groups),
            customer_groups=tuple(self._look.customers.groups),
        )

    def _see(self, data: Dataset, before: Look | None = None) -> int:
        """Remember what features and sales look like today; clock ticks of a window."""
        ticks = windows.window_ticks(data, self.target_days)
        self._look = Look.of(data, self.identity, before)
        self.look_ = self._look.save()
        self.target_days_ = ticks / data.unit
        self.shares_ = log_shares(windows.sales_before(data, data.as_of, ticks))
        return ticks

    def _tasks(self, data: Dataset, asked: list[Question], *, hidden: bool = False) -> Tasks | None:
        def build(customers: Codes, cut: int, place: int) -> Ask:
            return self._look.ask(windows.batch_before(data, customers, cut), place, self.max_history)

        return Tasks.of(asked, build, hidden, self._look.flags, self.seed) if asked else None

    def _scorer(self, batch: Batch) -> Scorer:
        shares = torch.from_numpy(self.shares_)[None]
        return Scorer(
            self._net, self._look.ask(batch, 0, self.max_history), self._vectors, shares, torch.ones(len(batch))
        )

    def _choose(self, past: Dataset, cut: int, tasks: Tasks) -> None:
        """The settings of the start that the judges clearly like best, and how hot its scores should be."""
        net, batch, seen = self._fresh(past, cut, tasks), some_before(past, cut), dict[float | None, Tastes]()
        if not net.starts:
            return

        def worth(start: Start) -> Doubles:
            age = start["half_life"]
            if age not in seen:
                seen[age] = Tastes.of(decayed_presence(batch, age), self.dim, self.seed)
            net.place(torch.from_numpy(seen[age].vectors(start["ridge"] or 0.0, self.dim)))
            net.set_out(start, HALF_LIVES[past.clock])
            return judgement(net, tasks)

        value = worth(self.start_)
        ages = AGES[past.clock] if not tasks.hidden else ()
        for name, others in {"half_life": ages, **OTHERS}.items():
            for other in others:
                trial = self.start_ | {name: other}
                found = worth(trial)
                if clearly_better(found, value, tasks.new_only):
                    self.start_, value = trial, found
        self._start(past, cut, tasks)
        self.start_.update(fit_heats(self._net, tasks))

    def _start(self, data: Dataset, cut: int, tasks: Tasks | None) -> None:
        """A fresh network that starts from who bought what together.

        Content starts as far as it explains that, and ids as the rest, so that new products and new customers have a
        say at once.
        """
        net, batch = self._fresh(data, cut, tasks), some_before(data, cut)
        tastes = Tastes.of(decayed_presence(batch, self.start_["half_life"]), self.dim, self.seed)
        vectors = tastes.vectors(self.start_["ridge"] or 0.0, self.dim)
        net.explain(torch.from_numpy(vectors))
        net.place(torch.from_numpy(vectors))
        size = np.maximum(np.diff(batch.history.indptr), 1)[:, None]
        mean = torch.from_numpy(np.asarray(batch.history.sign() @ vectors / size, dtype=np.float32))
        net.tell_apart(self._look.ask(batch, 0, self.max_history).content, mean)
        net.set_out(self.start_, HALF_LIVES[data.clock])

    def _fresh(self, data: Dataset, cut: int, tasks: Tasks | None) -> HybridNet:
        """An untrained network with all it must know of the data and does not learn."""
        net = self._net = self.build(self._sizes(), self._look.content(data)).eval()
        sold = windows.sales_before(data, cut, 1)[-1]
        net.sold.copy_(torch.from_numpy(np.log1p(sold).astype(np.float32)))
        net.has_id.copy_(torch.from_numpy((sold > 0).astype(np.float32)))
        once = tasks is not None and tasks.new_only and not (tasks.hidden and windows.bought_again(data))
        net.own_shift.fill_(OWN_LAST if once else 0.0)
        return net

    def _settle(self) -> None:
        """Product vectors are the same for everybody: compute them once."""
        self._net.eval()
        with torch.no_grad():
            self._vectors = self._net.product_vectors(torch.ones(self.shares_.shape[1]))

    def _learn(
        self, tasks: Tasks, rows: Ints, epochs: int, stop: bool, checkpoint: Checkpoint | None, watch: Watch | None
    ) -> Trained:
        """Learn from some questions; with ``stop`` those of the latest window say how long."""
        slow = {f"tastes.{t}.{part}": speed for t, (part, speed) in product(range(self.tastes), SLOW.items())}
        schedule = Schedule(
            epochs=epochs,
            batch_size=int(np.clip(len(rows) // STEPS, 32, BATCH)),
            speeds={"ids": 0.1} | slow,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=self.patience,
            seed=self.seed + self.epochs_,  # going on meets other draws
            rate=self.rate,
            warm_up=self.warm_up,
            course=self.epochs or None,
        )
        small: Loss = "softmax" if tasks.n_products <= losses.FULL_SOFTMAX else "sampled_softmax"
        rules = Rules(
            loss=small if self.loss == "auto" else self.loss,
            sampler=Sampler(self.negatives, self.n_negatives, torch.expm1(self._net.sold)),
            explore=self.explore,
            dislike=self.dislike,
            id_dropout=self.id_dropout,
        )
        return train(
            self._net,
            len(rows),
            lambda some, generator: loss_of(self._net, tasks, rows[some.numpy()], rules, generator),
            schedule,
            (lambda: boosted(self._net, tasks)) if stop else None,
            checkpoint=checkpoint,
            watch=watch,
        )
