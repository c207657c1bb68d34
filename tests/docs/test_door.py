"""``aisle.evaluate`` is both a function of the public door and a package; calls work whatever came first."""

import subprocess
import sys

import pytest

FIRST = {
    "the door": "from aisle import evaluate",
    "a function that imports the package": "import aisle; aisle.read",
    "the package": "import aisle.evaluate.metrics",
    "a job": "from aisle.jobs.run import run",
}


@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST.keys())
def test_the_function_can_be_called_whatever_was_imported_first(first: str) -> None:
    code = f"{first}\nimport aisle\nassert callable(aisle.evaluate)\naisle.evaluate(None, budget='no such budget')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "UsageError: budget is 'no such budget'" in done.stderr


def test_the_modules_of_the_package_stay_reachable() -> None:
    code = "import aisle.evaluate.tune as t, aisle; aisle.fit; assert aisle.evaluate.tune is t"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_door_imports_nothing_heavy() -> None:
    code = "import sys, aisle; assert not {'torch', 'polars', 'numpy', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
