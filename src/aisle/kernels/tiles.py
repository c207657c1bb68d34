"""The candidates of a block of customers on a torch device, tile by tile: what a GPU does of the exact top-k.

Scores are sorted as they are, by maxima of groups of products and then inside the best groups. The same lines run on
the processor, which is how they are tested where there is no GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from aisle.kernels.device import device_kind
from aisle.kernels.targets import GROUP, Pairs, Targets
from aisle.types import Doubles, Ints

ROWS = 2_048
"""Customers a block: a launch costs as much as thousands of their scores."""
TILE = 2**16
"""Products whose scores are held at once."""
WORKERS = 4
"""Blocks under way: while the device multiplies one, the processor orders others."""
STEPS = 4.0
"""A step of a float32 sum may lose so many times more than on a processor: tensor cores cut off, and align first."""


def chosen_device(targets: Targets) -> torch.device | None:
    """The GPU, where there is one with room for the products and for the blocks under way; else None."""
    if device_kind() != "cuda":
        return None
    device = torch.device("cuda", torch.cuda.current_device())
    scores = min(len(targets.narrow), TILE) * ROWS
    need = WORKERS * scores * 4  # bfloat16 scores, their maxima, and what topk sorts
    if str(device) not in targets.elsewhere:
        need += targets.narrow.numel() * 2
    return device if torch.cuda.mem_get_info(device)[0] > need else None


def candidates(targets: Targets, narrow: Tensor, barred: Pairs, taken: int) -> tuple[Ints, Doubles]:
    """(M, C) rows of ``targets``, the best ``taken`` by narrow score; (M,) a narrow score that no other lies above.

    ``narrow`` (D', M) are the customers, on the device that works. -inf = nothing else may be listed.
    """
    products, device = targets.narrow_on(narrow.device), narrow.device
    best_place = torch.zeros(narrow.shape[1], 0, dtype=torch.int64, device=device)
    best = torch.zeros(narrow.shape[1], 0, dtype=products.dtype, device=device)
    customers = narrow.T.contiguous()
    for at in range(0, len(products), TILE):
        scores = customers @ products[at : at + TILE].T  # (M, T)
        low, high = np.searchsorted(barred[0], (at, at + scores.shape[1]))
        row, column = (torch.from_numpy(part[low:high]).to(device) for part in barred)
        scores[column, row - at] = -torch.inf
        scores[:, max(len(targets) - at, 0) :] = -torch.inf  # what fills the last group is no product
        place, score = _highest(scores, taken)
        best_place, best = torch.cat((best_place, place + at), dim=1), torch.cat((best, score), dim=1)
        if taken < best.shape[1]:
            best, order = best.topk(taken, dim=1)
            best_place = best_place.gather(1, order)
    return best_place.cpu().numpy(), best.amin(dim=1).double().cpu().numpy()


def _highest(scores: Tensor, taken: int) -> tuple[Tensor, Tensor]:
    """Columns (M, C) and scores (M, C) of the highest ``taken`` of each row of scores (M, T).

    Of the best c products each lies in one of the best c groups, by the maxima of the groups.
    """
    groups = scores.view(len(scores), -1, GROUP)
    if taken >= groups.shape[1]:
        place = torch.arange(scores.shape[1], device=scores.device).expand(scores.shape)
        inside = scores
    else:
        chosen = groups.amax(dim=2).topk(taken, dim=1, sorted=False).indices
        place = (chosen[:, :, None] * GROUP + torch.arange(GROUP, device=scores.device)).flatten(1)
        inside = scores.gather(1, place)
    if taken >= inside.shape[1]:
        return place, inside
    score, order = inside.topk(taken, dim=1, sorted=False)
    return place.gather(1, order), score


@contextmanager
def wide_sums() -> Iterator[None]:
    """Sums of bfloat16 products are kept in float32 meanwhile, as the error bound supposes; torch may else shorten."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_bf16_reduced_precision_reduction
    matmul.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        matmul.allow_bf16_reduced_precision_reduction = before
