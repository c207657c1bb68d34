"""Shared fixtures: where the real data sets lie."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: a busy machine is no fault of the code. Derandomised: a red check can be repeated.
settings.register_profile("check", deadline=None, derandomize=True)
settings.load_profile("check")


@pytest.fixture
def real_data() -> Path:
    folder = os.environ.get("AISLE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("AISLE_DATA does not point at the real data sets: NOT CHECKED on real data")
    return Path(folder)
