"""Measure models in time, prove or disprove that one is better, write the certificate.

The public door has a function of the same name. Whatever is imported first, ``aisle.evaluate(dataset)`` works: the
package answers a call with that function.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *args: Any, **settings: Any) -> Any:
        return import_module("aisle.api").evaluate(*args, **settings)


sys.modules[__name__].__class__ = _Callable
