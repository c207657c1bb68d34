"""Gradient-boosted trees (LightGBM) over a table of candidates: the same bytes for the same table, kept as text.

Ke et al., "LightGBM: A Highly Efficient Gradient Boosting Decision Tree", NeurIPS 2017; Burges, "From RankNet to
LambdaRank to LambdaMART", 2010. Rows are built one after another (``force_row_wise``) and sums are taken in a fixed
order (``deterministic``), so that the number of threads changes the time and not the trees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import lightgbm as lgb
import numpy as np

from aisle.types import Bools, Doubles, Floats, Ints

PATIENCE = 30
"""Trees without a gain on the judges' rows before learning stops."""
MAX_LEAF_SHARE = 200
"""A leaf needs at most one of so many rows, so that small tables can be split."""


@dataclass(frozen=True, eq=False)
class Table:
    """Candidates of many questions; rows of a question lie together."""

    values: Floats
    """(N, F)"""
    bought: Bools
    """(N,)"""
    question: Ints
    """(N,) rising number of the (window, customer) the row belongs to."""
    judge: Bools
    """(N,) rows that decide when to stop."""


@dataclass(frozen=True)
class Trees:
    """How trees are grown."""

    objective: Literal["binary", "lambdarank"]
    learning_rate: float
    leaves: int
    trees: int
    min_rows: int
    threads: int
    seed: int

    def settings(self, rows: int) -> dict[str, Any]:
        """LightGBM's parameters for a table of so many rows."""
        measure = {"binary": "binary_logloss", "lambdarank": "ndcg"}[self.objective]
        return {
            "objective": self.objective,
            "metric": measure,
            "eval_at": [10],
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": max(1, min(self.min_rows, rows // MAX_LEAF_SHARE)),
            "feature_fraction": 0.7,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "lambda_l2": 1.0,
            "max_bin": 255,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": self.threads,
            "seed": self.seed,
            "verbosity": -1,
        }


def grow(table: Table, trees: Trees) -> str:
    """The trees, as text, that tell bought candidates from others; stops when the judges see no more gain."""
    learn, judge = ~table.judge, table.judge
    settings = trees.settings(int(learn.sum()))
    judged = bool(table.bought[judge].any()) and not bool(table.bought[judge].all())
    sets: list[Any] = []
    calls: list[Callable[..., Any]] = []
    train = _dataset(table, learn, settings)
    if judged:
        sets = [_dataset(table, judge, settings, train)]
        calls = [lgb.early_stopping(PATIENCE, first_metric_only=True, verbose=False)]
    booster = lgb.train(settings, train, num_boost_round=trees.trees, valid_sets=sets, callbacks=calls)
    return str(booster.model_to_string(num_iteration=booster.best_iteration if judged else -1))


def predict(text: str, values: Floats, threads: int) -> Doubles:
    """(N,) raw scores of a table (N, F); each row alone."""
    if not len(values):
        return np.zeros(0)
    found = _booster(text).predict(values, raw_score=True, num_threads=threads)
    return np.asarray(found, dtype=np.float64)


def gains(text: str) -> Doubles:
    """(F,) share of each feature in what all splits gained."""
    found = _booster(text).feature_importance("gain").astype(np.float64)
    return np.asarray(found / max(float(found.sum()), 1e-12))


@lru_cache(maxsize=4)
def _booster(text: str) -> Any:
    """The trees of a text: reading them takes longer than asking them about a small block."""
    return lgb.Booster(model_str=text)


def _dataset(table: Table, rows: Bools, settings: dict[str, Any], like: Any = None) -> Any:
    group = np.unique(table.question[rows], return_counts=True)[1]
    return lgb.Dataset(
        table.values[rows],
        label=table.bought[rows].astype(np.float32),
        group=group if settings["objective"] == "lambdarank" else None,
        reference=like,
        params=settings,
        free_raw_data=True,
    )
