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


def multiplies_bfloat16() -> bool:
    """Whether the processor multiplies matrices of bfloat16 by instructions made for it. Imports torch."""
    import torch

    able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(able.get(name)) for name in ("amx_bf16", "avx512_bf16", "sve_bf16", "bf16"))
