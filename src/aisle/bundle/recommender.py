"""Recommender: a fitted model with all that turns its scores into lists with words."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import polars as pl

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.errors import UsageError
from aisle.explain.reasons import Evidence
from aisle.kernels.topk import NOTHING
from aisle.models.base import Dotted, Model
from aisle.progress import Tick
from aisle.rank.fallback import Fallback
from aisle.rank.families import Families
from aisle.rank.lists import Lists, Places, block_rows, rank_pairs, recommend_block
from aisle.rank.rules import Plan, Rules, gone
from aisle.types import Bools, Codes, Ints, Repeats, Searching, Variants

if TYPE_CHECKING:
    from aisle.rank.search import Search

RECOMMENDATIONS = pl.Schema(
    {
        "customer_id": pl.String,
        "rank": pl.Int32,
        "product_id": pl.String,
        "score": pl.Float32,
        "probability": pl.Float32,
        "reason": pl.String,
        "reason_code": pl.String,
        "reason_args": pl.String,
        "source": pl.String,
    }
)
"""Columns of ``recommendations.parquet``; ``reason_args`` is JSON, ``probability`` is null until calibrated."""


ROWS_BY_VECTORS = 2_048
"""Customers a block where lists are found by vectors: enough for eight threads."""


@dataclass(frozen=True, eq=False)
class Recommender:
    """Answers for every customer as of ``dataset.as_of``; made by ``prepare``, stored by ``save``."""

    model: Model
    dataset: Dataset
    fallback: Fallback
    evidence: Evidence
    on_sale: Bools
    """(I,) products known and not gone from sale at ``dataset.as_of``."""
    memory_bytes: int = 1 << 30
    cold_by_model: bool = False
    """Customers without purchases are asked of the model, where it can tell them apart by what else is known of them;
    otherwise they get the fallback chain. For models that the certificate shows to be better there."""
    plan: Plan = field(default_factory=Plan)
    """How the best products are searched where the model's scores are inner products."""
    prepared: dict[Hashable, Search] = field(default_factory=dict, init=False, repr=False)
    """The latest products that could be listed, ready for all blocks of all calls that list the same."""

    @classmethod
    def prepare(
        cls,
        model: Model,
        dataset: Dataset,
        *,
        seed: int = 0,
        memory_bytes: int = 1 << 30,
        cold_by_model: bool = False,
        tick: Tick = lambda done, total: None,
    ) -> Recommender:
        """Wrap a model fitted on ``dataset``: learns the fallback chain and the evidence for reasons.

        ``tick`` counts products.
        """
        on_sale = dataset.known & ~gone(dataset)
        fallback, evidence = Fallback.fit(dataset, seed), Evidence.fit(dataset, tick)
        return cls(model, dataset, fallback, evidence, on_sale, memory_bytes, cold_by_model)

    def rules(
        self,
        *,
        repeats: Repeats = "mixed",
        only: Codes | None = None,
        list_gone: bool = False,
        variants: Variants = "one",
    ) -> Rules:
        """The rules of a call; ``only`` (N,) product codes limits what is listed.

        Raises UsageError for an unknown repeat or variant policy.
        """
        for name, value, kind in (("repeats", repeats, Repeats), ("variants", variants, Variants)):
            if value not in get_args(kind):
                raise UsageError(f"{name} is {value!r}; allowed: {', '.join(get_args(kind))}")
        listed = self.dataset.known.copy() if list_gone else self.on_sale.copy()
        if only is not None:
            allowed = np.zeros(len(listed), dtype=bool)
            allowed[only[only >= 0]] = True
            listed &= allowed
        return Rules(listed=listed, repeats=repeats, families=self.families if variants == "one" else None)

    @cached_property
    def families(self) -> Families | None:
        """Variants of which a list holds one."""
        return Families.of(self.dataset)

    def lists(self, batch: Batch, k: int, rules: Rules) -> Lists:
        """Lists of one block of customers, as codes."""
        return recommend_block(
            self.model,
            self.dataset,
            self.fallback,
            batch,
            rules,
            k,
            cold_by_model=self.cold_by_model,
            search=self._search(rules, k),
        )

    def _search(self, rules: Rules, k: int) -> Search | None:
        """Where lists are made by vectors; an index is measured for lists of this length and these rules."""
        if not self._by_vectors(rules) or not isinstance(self.model, Dotted):
            return None
        from aisle.rank.search import search_of  # imports torch, which most models do without

        key = (rules.listed.tobytes(), *((rules.repeats, k) if self.plan.kind == "auto" else ()))
        found = self.prepared.get(key)
        if found is None:
            found = search_of(self.model, self.dataset, rules, k, self.plan, memory_bytes=self.memory_bytes)
            self.prepared.clear()
            self.prepared[key] = found
        return found

    def _by_vectors(self, rules: Rules) -> bool:
        """For models whose scores are inner products; not where rules speak of more than single products."""
        return rules.by_product and self.dataset.assortment is None and isinstance(self.model, Dotted)

    def search_told(self, rules: Rules, k: int) -> dict[str, Any]:
        """How the lists of these rules and length are searched, as the certificate says it; prepares it where needed.

        ``kind`` is exact or approximate; ``why`` says what kept an index that was wanted from being used; ``recall``,
        ``asked``, ``effort`` and ``cells`` are what was measured of one.
        """
        found = self._search(rules, k) if self.plan.kind == "auto" else None
        if found is not None:
            return dict(found.told)
        wanted = self.plan.kind == "auto"
        return {"kind": "exact"} | ({"why": "lists of this model or by these rules need every score"} if wanted else {})

    def places(self, batch: Batch, pairs: tuple[Ints, Codes], rules: Rules) -> Places:
        """Where pairs of a row of the block (P,) and a product code (P,) stand in lists without end."""
        return rank_pairs(
            self.model, self.dataset, self.fallback, batch, rules, pairs, cold_by_model=self.cold_by_model
        )

    def frame(self, batch: Batch, k: int, rules: Rules, names: pl.Series | None = None) -> pl.DataFrame:
        """Lists of one block as rows of ``RECOMMENDATIONS``; ``names`` (B,) are ids to print instead."""
        lists = self.lists(batch, k, rules)
        row, place = np.nonzero(lists.codes != NOTHING)
        fallback_source = np.array(lists.choice.sources(), dtype=object)[row]
        source = np.where(lists.filled[row, place], fallback_source, self.model.name)
        kinds = np.full(lists.codes.shape, self.model.name, dtype=object)
        kinds[row, place] = source
        group = np.array(lists.choice.names(), dtype=object)
        reasons = self.evidence.explain(batch, lists.codes, kinds, group, self.dataset.products)
        ids = self.dataset.customers.vocab.names(batch.customers) if names is None else names
        return pl.DataFrame(
            {
                "customer_id": ids.gather(row),
                "rank": place + 1,
                "product_id": self.dataset.products.vocab.names(lists.codes[row, place]),
                "score": lists.scores[row, place],
                "probability": pl.Series([None] * len(row), dtype=pl.Float32),
                "reason": reasons.text[row, place].tolist(),
                "reason_code": reasons.code[row, place].tolist(),
                "reason_args": [json.dumps(args, ensure_ascii=False) for args in reasons.args[row, place]],
                "source": source.tolist(),
            },
            schema=RECOMMENDATIONS,
            strict=False,
        )

    @property
    def block_size(self) -> int:
        """Customers a block, from the memory budget."""
        return block_rows(self.dataset.shape[1], self.memory_bytes)

    def block_size_for(self, rules: Rules) -> int:
        """Customers a block where lists are made by these rules: more where nothing dense is scored."""
        return max(self.block_size, ROWS_BY_VECTORS) if self._by_vectors(rules) else self.block_size

    def limited(self, memory_bytes: int) -> Recommender:
        """The same recommender with another memory budget for its blocks."""
        return replace(self, memory_bytes=memory_bytes)

    def searching(self, search: Searching, *, least_recall: float = 0.99, customers: int | None = None) -> Recommender:
        """The same recommender with another way to search; ``customers`` will be asked for, None = all.

        ``auto`` takes an index, built by the first call, where many products may be listed, many customers are asked
        for and it finds ``least_recall`` of the exact lists; else the search is exact, and ``search_told`` says why.
        Raises UsageError for another search, and for a recall that is not above 0 and up to 1.
        """
        return replace(self, plan=Plan(kind=search, least_recall=least_recall, customers=customers))
