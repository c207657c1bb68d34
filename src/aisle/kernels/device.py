"""Where torch computes."""

from __future__ import annotations

from typing import Literal


def device_kind() -> Literal["cuda", "cpu"]:
    """The kind of device that torch takes where it may choose. Imports torch."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
