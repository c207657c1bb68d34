"""A fit of hours that is stopped goes on after its last whole epoch, to the same figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aisle.files import Receipts
from aisle.jobs.bench.fits import SPENT, learned
from aisle.models import create
from aisle.models.nn import train
from tests.evaluate.shops import random_shop

SETTINGS: dict[str, Any] = {"epochs": 4, "patience": 4, "dim": 8, "layers": 1, "heads": 1}


def test_a_stopped_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = random_shop(0, customers=60)
    whole, before = learned(create("basket_transformer", **SETTINGS), shop, tmp_path / "whole")
    assert before == 0
    epoch, done = train._epoch, 0

    def counted(*given: Any) -> float:
        nonlocal done
        done += 1
        if done == 3:
            raise KeyboardInterrupt
        return epoch(*given)

    monkeypatch.setattr(train, "_epoch", counted)
    with pytest.raises(KeyboardInterrupt):
        learned(create("basket_transformer", **SETTINGS), shop, tmp_path / "part")
    spent = Receipts(tmp_path / "part").get(SPENT)
    assert spent is not None
    assert spent["epoch"] == 2
    done = 10
    again, before = learned(create("basket_transformer", **SETTINGS), shop, tmp_path / "part")
    assert before == spent["cpu"] > 0
    batch = shop.batch(np.arange(60, dtype=np.int32))
    assert np.array_equal(again.score(batch), whole.score(batch))
    untouched, before = learned(create("item_knn"), shop, tmp_path / "other")
    assert (untouched.name, before) == ("item_knn", 0.0)
    assert not (tmp_path / "other").exists()
