"""Where torch computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch


def device_kind() -> Literal["cuda", "cpu"]:
    """The kind of device that torch takes where it may choose. Imports torch."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on a device; a GPU takes it from pinned memory, so that nobody waits for what it computes now."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
