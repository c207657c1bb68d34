"""Every error this package raises on purpose.

AisleError                 exit code 1
├── UsageError             2   a wrong option, path or setting
├── DataError              3   the input tables break a rule we state in the docs
├── NotFittedError         1   a model was asked to score before ``fit``
├── BundleError            3   a saved bundle is missing, damaged or from a newer format
└── ResourceError          4   the job does not fit into memory, disk or time

Each also inherits the builtin a caller would expect, so ``except ValueError`` keeps working.
"""

from __future__ import annotations


class AisleError(Exception):
    """Base of every error of ours; the message says what was found, what is allowed and the fix."""

    exit_code = 1


class UsageError(AisleError, ValueError):
    """A wrong option, path or setting."""

    exit_code = 2


class DataError(AisleError, ValueError):
    """The input breaks a stated rule; the message names file, line, column and fix where known."""

    exit_code = 3


class NotFittedError(AisleError, RuntimeError):
    """A model was asked to score before ``fit``."""


class BundleError(AisleError, ValueError):
    """A saved bundle is missing, damaged or from a newer format."""

    exit_code = 3


class ResourceError(AisleError, MemoryError):
    """The job does not fit; the message gives the estimate, the limit and a way out."""

    exit_code = 4
