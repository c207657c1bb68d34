"""Stand-ins for TensorFlow sessions: scripts may get, set, enter and close one, and nothing depends on it.

A model here holds its own weights, so there is no global state to share, reset or save.
"""

from __future__ import annotations

from typing import Any, Self

from aisle.errors import UsageError


class Session:
    """Holds nothing; whatever only TensorFlow could do raises UsageError."""

    def close(self) -> None:
        """Nothing to free: a model's memory goes with the model."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        raise UsageError(
            f"Session.{name} needs TensorFlow, which is not used here; call the model's methods instead, "
            "for example predict() or predict_user_representation()"
        )


class _Current:
    session: Any = None


def get_session() -> Any:
    """What ``set_session`` was given last, else an empty stand-in."""
    if _Current.session is None:
        _Current.session = Session()
    return _Current.session


def set_session(session: Any) -> None:
    """Keep ``session`` for ``get_session``; None forgets it. No model looks at it."""
    _Current.session = session
