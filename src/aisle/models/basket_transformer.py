"""BasketTransformer: journeys of baskets by causal attention, with a repeat head that starts as personal frequency.

A customer is a prefix token (attributes and groups) and one token a basket, the sum of its products' vectors over √n;
each token foretells the basket to come. With the state h at the moment of the question::

    explore(i) = ⟨h, v_i⟩ + Σ_m a_m · log share_m(i)                  v_i = g·id_i + Σ_l g_l·W_l x_il + W text_i + MLP
    score(i)   = explore(i)                                           never bought by the customer
    score(i)   = α · explore(i) + gate(h) · repeat(i) + shift(h)      own products, where people buy again
    repeat(i)  = 1 + Σ_t r_t · log(1 + c_t(i)) + ⟨w, v_i⟩ + MLP(rhythm, share, age … of i)

Untrained it ranks own products by decayed frequency, then what sells (GP-TopFreq: Li et al., TOIS 2023); the latest
window decides whether, and how long, learning helps. Trained by a multi-positive softmax at every basket (SASRec: Kang
& McAuley, ICDM 2018, with the cross-entropy of Klenitskiy & Vasilev, RecSys 2023, or logQ-corrected samples), gated
blocks (LiGR, 2025) and an attention bias of time and distance (FuXi-b, 2025). One product a basket, no repeats and no
content is SASRec with cross-entropy. Cost of an epoch: about ``6 · baskets · (12 · layers · dim² + Z · dim)`` flops, Z
drawn rivals, or all products under the full softmax.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.errors import UsageError
from aisle.features.pairs import everyone
from aisle.models.base import Array, Dots, Model
from aisle.models.nn import windows
from aisle.models.nn.basket_ask import ROWS, Judges, Request, start, together, told
from aisle.models.nn.basket_carry import carry_over
from aisle.models.nn.basket_net import BasketNet, Shape, build
from aisle.models.nn.basket_tasks import Lessons, Options, Rules, loss_of, step_size
from aisle.models.nn.checkpoint import Checkpoint
from aisle.models.nn.journeys import Comers, Journeys, usual_length
from aisle.models.nn.look import signature
from aisle.models.nn.losses import Loss
from aisle.models.nn.rows import Rows
from aisle.models.nn.sampling import Negatives, Sampler
from aisle.models.nn.shelf import Shelf, what_sells
from aisle.models.nn.text import ENCODERS, text_vectors
from aisle.models.nn.train import Rate, Schedule, Trained, Watch, later, train
from aisle.types import Floats

LOSSES = ("auto", "softmax", "sampled_softmax", "gbce")
VALIDATE, JUDGED_CELLS = 8_000, 200_000_000
"""At most this many customers of the latest window decide when to stop, and so many scores of theirs (but 1,000)."""
CUTS = 24
"""Earlier moments at which what sells is known."""
BLIND_EPOCHS = 10
"""Where the data hold a single window, so that nothing can say when to stop."""
SPEEDS = {"bias": 5.0, "facts": 5.0, "gate": 3.0, "shift": 3.0}
"""Parts with few numbers that have far to go: the table of distances, and the repeat head."""
Device: TypeAlias = Literal["auto", "cpu", "cuda"]
Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]
FAINT = 1e-6
"""Length of customers' vectors where there is no taste."""
CONTENT = ("indptr", "column", "value")


@dataclass(kw_only=True, eq=False)
class BasketTransformer(Model):
    """Sequence model of baskets that never does worse than it started: personal frequency, then what sells."""

    name: ClassVar[str] = "basket_transformer"
    needs_history: ClassVar[bool] = False
    space: ClassVar[dict[str, tuple[Any, ...]]] = {"dim": (64, 128, 256), "dropout": (0.3, 0.1, 0.5)}

    dim: int = 64
    """Width of the vectors."""
    layers: int = 2
    heads: int = 2
    length: int | None = None
    """Latest baskets that are tokens, None = as many as nine in ten customers have, 50 to 200; older ones
    still count for the repeat head."""
    dropout: float = 0.3
    gated: bool = True
    """Residual branches scaled by what comes in."""
    repeat: bool = True
    """Score own products by their own head, where people buy again."""
    content: bool = True
    """Look at levels, tags, texts and numbers of products and at attributes of customers, not only at ids."""
    text: str = "ngrams"
    """``ngrams``, ``none``, or the name of an encoder in ``nn.text.ENCODERS``."""
    rare: int = 2
    """Products sold less often have no id of their own, where the shop knows anything else of products."""
    id_dropout: float = 0.1
    """Share of ids hidden at each step."""
    loss: Loss = "auto"
    """``softmax`` weighs all products, the others ``n_negatives`` drawn ones; ``auto`` picks by catalogue size."""
    full_softmax: int = 5_000
    """Products up to which ``auto`` weighs all of them."""
    negatives: Negatives = "mixed"
    n_negatives: int = 1_024
    epochs: int = 40
    """At most this many; the latest window decides. 0 leaves the untrained score."""
    patience: int = 4
    batch: int = 128
    """Journeys a step."""
    learning_rate: float = 0.001
    rate: Rate = "constant"
    """Course of the learning rate."""
    warm_up: float = 0.0
    weight_decay: float = 0.001
    """Share of a weight that an epoch takes away."""
    average: float = 1.0
    """Epochs over which weights are averaged, with exponential forgetting; 0 = none."""
    target_days: int | None = None
    """Length of the window that decides when to stop; None = from the usual gap between baskets."""
    refit: bool = True
    """Learn again from everything, as long as was best without the latest window."""
    device: Device = "auto"
    """``auto`` is the first GPU where there is one."""
    precision: Precision = "auto"
    """``auto`` is bfloat16 on a GPU, float32 on a CPU."""
    seed: int = 0

    shelf_: dict[str, Any] = field(init=False, repr=False)
    """What products and customers looked like at fit."""
    length_: int = field(init=False, repr=False)
    """Latest baskets that are tokens."""
    repeat_: bool = field(init=False, repr=False)
    """Whether people buy again, so that own products have a head of their own."""

    def __post_init__(self) -> None:
        choices: dict[str, tuple[str, ...]] = {"loss": LOSSES, "negatives": get_args(Negatives)}
        choices |= {"rate": get_args(Rate), "device": get_args(Device), "precision": get_args(Precision)}
        choices |= {"text": ("ngrams", "none", *ENCODERS)}
        for setting, allowed in choices.items():
            if getattr(self, setting) not in allowed:
                raise UsageError(f"{setting} is {getattr(self, setting)!r}; allowed: {', '.join(allowed)}")
        for setting in ("dropout", "id_dropout", "weight_decay", "warm_up"):
            if not 0 <= getattr(self, setting) < 1:
                raise UsageError(f"{setting} is {getattr(self, setting)}; allowed: 0 <= {setting} < 1")
        for setting in ("dim", "heads", "learning_rate", "n_negatives", "patience", "batch"):
            if not getattr(self, setting) > 0:
                raise UsageError(f"{setting} is {getattr(self, setting)}; it must be above 0")
        for setting in ("layers", "rare", "epochs", "full_softmax", "average"):
            if getattr(self, setting) < 0:
                raise UsageError(f"{setting} is {getattr(self, setting)}; it must be 0 or more")
        for setting in ("length", "target_days"):
            if getattr(self, setting) is not None and getattr(self, setting) <= 0:
                raise UsageError(f"{setting} is {getattr(self, setting)}; it must be above 0, or none")
        if self.dim % self.heads:
            raise UsageError(f"dim {self.dim} does not split into {self.heads} heads; make it a multiple of heads")

    def fit(self, data: Dataset, *, checkpoint: Path | None = None, watch: Watch | None = None) -> Self:
        """Learn from all baskets before ``data.as_of``; forgets any earlier fit.

        With ``checkpoint``, a folder, a fit that was stopped goes on where it was when it is called again.
        """
        ticks = self._see(data)
        facts = {"settings": self.params(), "data": signature(data)} if checkpoint else {}
        first, final = (Checkpoint(Path(checkpoint) / n, facts) if checkpoint else None for n in ("choose", "final"))
        self.epochs_, self.training_, self.start_ = 0, {}, {}
        number = int(np.clip(JUDGED_CELLS // max(data.shape[1], 1), 1_000, VALIDATE))
        asked = windows.questions(data, ticks, 1, number, self.seed, "even")
        trained = Trained(min(self.epochs, BLIND_EPOCHS))
        if asked:
            past = data.before(asked[0].cut)
            net, sold = self._fresh(past, ticks)
            judges = self._judges(past, asked[0], ticks)
            self.start_ = judges.settle(net)
            trained = self._learn(
                net, self._lessons(past, ticks, sold), sold, self._plan(self.epochs), judges, first, watch
            )
        again = self.refit or not asked
        if again or not trained.epochs:
            net, sold = self._fresh(data, ticks)
            if self.start_:
                start(net, self.start_)
        more = Trained(0)
        if again and trained.epochs:
            watch = later(watch, len(trained.losses))
            plan = self._plan(trained.epochs)
            more = self._learn(net, self._lessons(data, ticks, sold), sold, plan, None, final, watch)
        if trained.curve or more.losses:
            self.training_ = trained.to_json() if trained.curve else more.to_json()
            self.epochs_ = trained.epochs
        self._settle(net)
        return self

    def fit_partial(self, data: Dataset, *, epochs: int = 1, watch: Watch | None = None) -> Self:
        """Go on learning, for so many epochs, from other or more data: new customers, products and values may appear.

        What was learnt of products, categories and numbers is carried over by name. The first call is a fit.
        """
        if not hasattr(self, "shelf_"):
            return self.fit(data, watch=watch)
        old, shelf, fixed = self._net, self._shelf, (self.repeat_, self.length_)
        ticks = self._see(data, shelf)
        self.repeat_, self.length_ = fixed
        net, sold = self._fresh(data, ticks)
        carry_over(old, net, shelf.labels, self._shelf.labels)
        plan = replace(self._plan(epochs), average=0.0)  # a mean of few steps would lag behind what they learn
        trained = self._learn(net, self._lessons(data, ticks, sold), sold, plan, None, None, watch)
        self.epochs_ += trained.epochs
        losses = [*self.training_.get("loss", []), *trained.losses]
        self.training_ = {**self.training_, "loss": losses, "epochs": self.epochs_}
        self._settle(net)
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I): see the module; customers without purchases are answered from their attributes and what sells."""
        self.check_fitted()
        sold = self._sold.to(self._net.device)
        with torch.no_grad():
            found = [(one.rows, one.scores(self._net, self._vectors, sold)) for one in self._requests(batch)]
        return together(found, len(batch))

    def dot_targets(self) -> tuple[Floats, Floats]:
        """(I, D) vectors of products, and (I,) what sells."""
        return self.product_vectors(), self.product_biases()

    def dots(self, batch: Batch) -> Dots:
        """States of customers; own products have scores of their own, where people buy again."""
        self.check_fitted()
        return told(self._requests(batch), len(batch), self._net, self._vectors, self._sold)

    def product_vectors(self) -> Floats:
        """(I, D) vectors of products: the inner product with a customer's is the part of the score that is taste."""
        self.check_fitted()
        return self._vectors.cpu().numpy().copy()

    def customer_vectors(self, batch: Batch) -> Floats:
        """(B, 1, D) states of the customers of a batch.

        Where learning did not help, the score holds no taste: they are then the sums of what was bought, too short to
        move a score, so that customers who bought the same are alike all the same.
        """
        self.check_fitted()
        if not bool(self._net.awake):
            return np.asarray(FAINT * (batch.history.sign() @ self.product_vectors()), dtype=np.float32)[:, None]
        with torch.no_grad():
            found = [(request.rows, request.states(self._net, self._vectors)) for request in self._requests(batch)]
        return together(found, len(batch))[:, None]

    def product_biases(self) -> Floats:
        """(I,) the part of the score that is the same for everybody: what sells."""
        self.check_fitted()
        with torch.no_grad():
            return self._net.prior(self._sold.to(self._net.device))[0].cpu().numpy()

    def customer_biases(self, batch: Batch) -> Floats:
        """(B,) zeros: nothing in the score of products never bought is the customer's alone."""
        self.check_fitted()
        return np.zeros(len(batch), dtype=np.float32)

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """What was learnt; the network's arrays are named ``net__…``."""
        arrays, values = super().state()
        net = {f"net__{k.replace('.', '__')}": v.cpu().numpy().copy() for k, v in self._net.state_dict().items()}
        return arrays | net, values

    def restore(self, arrays: dict[str, Array], values: dict[str, Any]) -> Self:
        """Rebuild the network from the sizes and fill it."""
        super().restore({k: v for k, v in arrays.items() if not k.startswith("net__")}, values)
        self._shelf = Shelf.load(self.shelf_)
        content = {n: torch.from_numpy(arrays[f"net__tower__{n}"].copy()) for n in CONTENT}
        rows = Rows(**content, width=len(self._shelf.levels.groups))
        numbers, text = (torch.from_numpy(arrays[f"net__tower__{n}_of"].copy()) for n in ("numbers", "text"))
        net = self._build(rows, numbers, text)
        names = {f"net__{k.replace('.', '__')}": k for k in net.state_dict()}
        net.load_state_dict({names[k]: torch.from_numpy(v.copy()) for k, v in arrays.items() if k in names})
        self._settle(net)
        return self

    @property
    def network(self) -> BasketNet:
        """The fitted network."""
        self.check_fitted()
        return self._net

    def _see(self, data: Dataset, before: Shelf | None = None) -> int:
        """Remember what the shop looks like today; clock ticks of a window."""
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UsageError("device is 'cuda', but there is no GPU that torch can use; set it to 'auto' or 'cpu'")
        ticks = windows.window_ticks(data, self.target_days)
        self._shelf = Shelf.of(data, self.content, before)
        self.shelf_ = self._shelf.save()
        self.clock_, self.target_days_ = data.clock, ticks / data.unit
        self.repeat_ = self.repeat and windows.bought_again(data)
        journeys = Journeys.of(everyone(data))
        self.length_ = self.length or usual_length(journeys.baskets)
        comers, _ = Comers.of(journeys)
        self.buyers_, self.twice_ = comers.buyers, comers.twice
        self.sold_ = what_sells(data, ticks, 1)
        return ticks

    def _fresh(self, data: Dataset, ticks: int) -> tuple[BasketNet, Tensor]:
        """An untrained network for this data, and (C, 4, I) what sold before each of its moments."""
        shelf, sold = self._shelf, np.bincount(data.purchases.product, minlength=data.shape[1])
        rows, numbers = shelf.content(data), torch.from_numpy(shelf.dense(data))
        names = data.products.names if self.content else None
        text = torch.from_numpy(text_vectors(names, sold > 0, self.text, self.seed))
        net = self._build(rows, numbers, text)
        least = torch.where(net.tower.has_content, max(self.rare, 1), 1)
        net.tower.has_id.copy_(torch.from_numpy(sold) >= least)
        net.to(self._device)
        return net, torch.from_numpy(what_sells(data, ticks, CUTS))

    def _build(self, rows: Rows, numbers: Tensor, text: Tensor) -> BasketNet:
        times = self.clock_ == "time"
        shape = Shape(self.dim, self.layers, self.heads, self.length_, self.dropout, self.gated, times)
        groups = self._shelf.levels.groups, self._shelf.customers.groups
        return build(shape, rows, groups, numbers, text, self.seed)

    def _lessons(self, data: Dataset, ticks: int, sold: Tensor) -> Lessons:
        batch = everyone(data)
        people = self._shelf.people(batch.features, len(batch))
        options = Options(repeat=self.repeat_, seed=self.seed)
        return Lessons.of(Journeys.of(batch), people, self.length_, ticks, len(sold), options)

    def _judges(self, past: Dataset, question: windows.Question, ticks: int) -> Judges:
        batch = past.batch(question.customers)
        sold = torch.from_numpy(what_sells(past, ticks, 1))
        comers = Comers.of(Journeys.of(everyone(past)))[0] if self.repeat_ else None
        owned = None if self.repeat_ else batch.history
        return Judges(self._requests(batch, comers), question.bought, owned, sold)

    def _requests(self, batch: Batch, comers: Comers | None = None) -> list[Request]:
        """A batch in blocks of rows of like length."""
        if comers is None and self.repeat_:
            comers = Comers(self.buyers_, self.twice_)
        people = self._shelf.people(batch.features, len(batch))
        order = np.argsort(np.diff(batch.indptr), kind="stable")
        blocks = np.split(order, range(ROWS, len(order), ROWS))
        return [Request.of(batch, rows, people, self.length_, comers) for rows in blocks]

    def _settle(self, net: BasketNet) -> None:
        """Product vectors are the same for everybody: compute them once."""
        self._net = net.to(self._device).eval()
        self._sold = torch.from_numpy(self.sold_)
        with torch.no_grad():
            self._vectors = net.tower.everything()

    @property
    def _device(self) -> torch.device:
        there = torch.cuda.is_available()  # what a GPU has learnt a CPU can read
        return torch.device("cuda" if there and self.device != "cpu" else "cpu")

    def _rules(self, sold: Tensor) -> Rules:
        """How answers become a loss, given (C, 4, I) what sells."""
        auto: Loss = "softmax" if sold.shape[2] <= self.full_softmax else "sampled_softmax"
        return Rules(
            loss=auto if self.loss == "auto" else self.loss,
            sampler=Sampler(self.negatives, self.n_negatives, torch.exp(sold[0, 2])),
            id_dropout=self.id_dropout,
            bfloat16=self.precision == "bfloat16" or (self.precision == "auto" and self._device.type == "cuda"),
        )

    def _plan(self, epochs: int) -> Schedule:
        """How so many epochs go."""
        return Schedule(
            epochs=epochs,
            batch_size=self.batch,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=self.patience,
            speeds=SPEEDS,
            seed=self.seed + self.epochs_,  # going on meets other draws
            rate=self.rate,
            warm_up=self.warm_up,
            average=self.average,
            course=self.epochs or None,
        )

    def _learn(
        self,
        net: BasketNet,
        lessons: Lessons,
        sold: Tensor,
        plan: Schedule,
        judges: Judges | None,
        checkpoint: Checkpoint | None,
        watch: Watch | None,
    ) -> Trained:
        """Learn from all lessons; with ``judges`` they say how long."""
        if not len(lessons):
            return Trained(0)
        rules = self._rules(sold)
        if not bool(net.awake):
            for part, values in zip((net.fact_mean, net.fact_scale), lessons.fact_scales, strict=True):
                part.copy_(values)
        here = sold.to(net.device)

        def step(rows: Tensor, generator: torch.Generator) -> Tensor:
            net.awake.fill_(1.0)
            return loss_of(net, lessons.step(rows.numpy()), here, rules, generator)

        plan = replace(plan, batch_size=step_size(len(lessons), self.batch))
        validate = (lambda: judges.ndcg(net)) if judges else None
        size, batches = len(lessons), lessons.batches
        return train(net, size, step, plan, validate, batches=batches, checkpoint=checkpoint, watch=watch)
