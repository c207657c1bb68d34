"""Published figures on real data: the proof that definition, counting and tie rule are the literature's.

Needs the environment variable AISLE_DATA. The figures come from the files named in ``benchmarks/results``.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from benchmarks import classics_online_retail as retail
from benchmarks import classics_tafeng as tafeng
from benchmarks import online_retail_protocol

from aisle.data.dataset import Dataset
from aisle.models.base import Model
from aisle.models.ease import EASE
from aisle.models.personal_frequency import PersonalFrequency
from aisle.models.popularity import Popularity
from aisle.models.tifu_knn import TIFUKNN
from aisle.types import Codes

pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.skipif("AISLE_DATA" not in os.environ, reason="AISLE_DATA does not point at the real data sets"),
]


def test_tafeng_own_frequency_then_popularity_on_all_customers() -> None:
    data = tafeng.dataset()
    assert (len(data.purchases), data.shape) == (480_611, (13_858, 11_997))
    found = tafeng.measure(PersonalFrequency(), data, data, np.arange(data.shape[0], dtype=np.int32))
    assert found["recall@10"] == pytest.approx(0.1350, abs=0.0001)
    assert found["ndcg@10"] == pytest.approx(0.1163, abs=0.0001)
    assert found["recall@20"] == pytest.approx(0.1832, abs=0.0001)


def test_tafeng_tifu_knn_is_the_published_mean_of_three_partitions() -> None:
    data = tafeng.dataset()
    found = [tafeng.measure(TIFUKNN(), *_split(data, fold)) for fold in (0, 1, 2)]
    assert np.mean([f["recall@10"] for f in found]) == pytest.approx(0.1257, abs=0.0004)
    assert np.mean([f["ndcg@10"] for f in found]) == pytest.approx(0.1020, abs=0.0004)


@pytest.mark.parametrize(
    ("model", "ndcg", "recall", "within"),
    [
        (EASE(l2=300, half_life_days=None, own_weight=0), 0.2776, 0.1108, 0.0002),
        (PersonalFrequency(), 0.3710, 0.1589, 0.008),  # the reference counts lines, we count baskets
        (Popularity(), 0.1152, 0.0375, 0.002),  # the reference ranks by buyers, we by baskets
    ],
)
def test_online_retail_temporal(model: Model, ndcg: float, recall: float, within: float) -> None:
    data = online_retail_protocol.dataset()
    assert data.counts.nnz == 376_918
    found = retail.measure(model, data)
    assert found["customers"] == 2_049
    assert found["ndcg@10"] == pytest.approx(ndcg, abs=within)
    assert found["recall@10"] == pytest.approx(recall, abs=within)


def _split(data: Dataset, fold: int) -> tuple[Dataset, Dataset, Codes]:
    learn, test = tafeng.partition(data, fold)
    return learn, data, test
