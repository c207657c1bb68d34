from __future__ import annotations

import pytest

from aisle.models import MODELS
from tests.evaluate import toys


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy models stand in the registry while a test of this folder runs."""
    for name, where in toys.TOYS.items():
        monkeypatch.setitem(MODELS, name, where)
    toys.FITS.clear()
