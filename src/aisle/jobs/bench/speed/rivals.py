"""The libraries that are measured beside ours where they are installed, and how their models are made like ours."""

from __future__ import annotations

from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

RIVALS = {"implicit": "implicit", "faiss": "faiss-cpu", "rectools": "rectools"}
"""Module -> what to install."""
K = 10


def implicit_model(name: str, settings: dict[str, Any], threads: int) -> Any:
    """A model of implicit with the settings of one of ours, not fitted.

    implicit asks for matrix libraries of one thread: it has threads of its own.
    """
    threadpool_limits(1, user_api="blas")
    if name == "item_knn":
        from implicit.nearest_neighbours import CosineRecommender

        return CosineRecommender(K=settings["neighbours"], num_threads=threads)
    from implicit.cpu.als import AlternatingLeastSquares

    return AlternatingLeastSquares(
        factors=settings["dim"], iterations=settings["sweeps"], num_threads=threads, random_state=0
    )


def rectools_model(name: str, settings: dict[str, Any], threads: int) -> Any:
    """The same models as RecTools wraps them."""
    from rectools.models import ImplicitALSWrapperModel, ImplicitItemKNNWrapperModel

    kind = ImplicitItemKNNWrapperModel if name == "item_knn" else ImplicitALSWrapperModel
    return kind(implicit_model(name, settings, threads))


def rectools_dataset(bought: Any) -> Any:
    """Who bought what, (U, I), as RecTools wants it."""
    import pandas as pd
    from rectools import Columns
    from rectools.dataset import Dataset

    table = bought.tocoo()
    when = np.datetime64("2024-01-01", "ns")
    columns = {Columns.User: table.row, Columns.Item: table.col, Columns.Weight: table.data}
    return Dataset.construct(pd.DataFrame(columns).assign(**{Columns.Datetime: when}))
