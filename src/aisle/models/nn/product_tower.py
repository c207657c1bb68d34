"""Product vectors: id, every level of what is known, text and numbers, each behind a gate that starts id-heavy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aisle.models.nn.rows import Rows
from aisle.models.nn.towers import SparseLinear

SPREAD = 0.02
"""Standard deviation of the cells of a vector before anything is learned."""
ID_GATE, CONTENT_GATE = 1.0, 0.5
HIDDEN = 32


class ProductTower(nn.Module):
    """``v_i = g_id · id_i + Σ_l g_l · W_l x_il + g_text · W text_i + MLP(numbers_i)``.

    Products without an id of their own (``has_id`` 0: sold too rarely to learn one) are their content; products without
    any content (``has_content`` False) keep their id.
    """

    indptr: Tensor
    column: Tensor
    value: Tensor
    numbers_of: Tensor
    text_of: Tensor
    has_id: Tensor
    has_content: Tensor

    def __init__(self, dim: int, content: Rows, groups: list[int], numbers: Tensor, text: Tensor) -> None:
        """``content`` (I, F) with the block of each column in ``groups``; ``numbers`` (I, N); ``text`` (I, K)."""
        super().__init__()
        size = len(content)
        self.ids = nn.Embedding(size, dim)
        nn.init.normal_(self.ids.weight, std=SPREAD)
        self.id_gate = nn.Parameter(torch.tensor(ID_GATE))
        gates = [CONTENT_GATE] * (max(groups) + 1 if groups else 0)
        self.levels = SparseLinear(content.width, dim, groups=groups, gates=gates) if groups else None
        self.text = nn.Linear(text.shape[1], dim, bias=False) if text.shape[1] else None
        self.text_gate = nn.Parameter(torch.tensor(CONTENT_GATE))
        self.numbers = _bend(numbers.shape[1], dim) if numbers.shape[1] else None
        with torch.no_grad():
            if self.levels is not None:
                nn.init.normal_(self.levels.weight, std=SPREAD)
            if self.text is not None:
                nn.init.normal_(self.text.weight, std=SPREAD)
        for name, tensor in (("indptr", content.indptr), ("column", content.column), ("value", content.value)):
            self.register_buffer(name, tensor)
        self.register_buffer("numbers_of", numbers)
        self.register_buffer("text_of", text)
        self.register_buffer("has_id", torch.ones(size))
        told = (content.indptr.diff() > 0) | (text != 0).any(dim=1) | (numbers != 0).any(dim=1)
        self.register_buffer("has_content", told)

    @property
    def content(self) -> Rows:
        """(I, F)."""
        return Rows(self.indptr, self.column, self.value, 0 if self.levels is None else self.levels.width)

    def forward(self, products: Tensor, keep: Tensor | None = None) -> Tensor:
        """(M, D) vectors of some products (M,); where ``keep`` (M,) is 0 an id is hidden behind its content."""
        told = self.has_id[products]
        if keep is not None:
            told = torch.where(self.has_content[products], told * keep, told)
        out: Tensor = self.id_gate * told[:, None] * self.ids(products)
        if self.levels is not None:
            out = out + self.levels(self.content.take(products))
        if self.text is not None:
            out = out + self.text_gate * self.text(self.text_of[products])
        if self.numbers is not None:
            out = out + self.numbers(self.numbers_of[products])
        return out

    def everything(self) -> Tensor:
        """(I, D)."""
        out: Tensor = self(torch.arange(len(self.has_id), device=self.has_id.device))
        return out


def _bend(width: int, dim: int) -> nn.Module:
    last = nn.Linear(HIDDEN, dim, bias=False)
    nn.init.zeros_(last.weight)
    return nn.Sequential(nn.Linear(width, HIDDEN), nn.GELU(), last)
