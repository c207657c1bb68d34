"""Parts of a transformer over baskets: causal attention with a learned bias of time and distance, gated blocks.

Pre-norm blocks with SwiGLU (Shazeer, "GLU Variants Improve Transformer", 2020) and, with ``gated``, residual branches
scaled by ``sigmoid(W x)`` (LiGR: Borisyuk et al., "From Features to Transformers", 2025). The attention bias follows
FuXi-b (2025): a power law of the time between two baskets, and a table of their distance.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FAR = 256
"""Baskets further apart than this are equally far."""
MONTH = 30.0


class AttentionBias(nn.Module):
    """(B or 1, H, T, T) what is added to attention logits: -inf for the future, else a function of how long ago.

    ``distance[h, i - j] - power_h · log(1 + (t_i - t_j) / τ_h)``; the power starts at 0, the table between 0
    (the first head: all of the past counts alike) and ``-log(1 + i - j)`` (the last one).
    """

    def __init__(self, heads: int, length: int) -> None:
        super().__init__()
        far = torch.log1p(torch.arange(float(min(length + 1, FAR))))
        self.distance = nn.Parameter(-torch.linspace(0.0, 1.0, heads)[:, None] * far)
        self.power = nn.Parameter(torch.zeros(heads))
        self.log_scale = nn.Parameter(torch.linspace(1.0, 2.0, heads) * torch.log(torch.tensor(MONTH)) / 1.5)

    def forward(self, size: int, when: Tensor | None) -> Tensor:
        """``size`` T tokens; ``when`` (B, T) days of each token, None where places are no dates."""
        place = torch.arange(size, device=self.distance.device)
        ago = place[:, None] - place
        bias = self.distance[:, ago.clamp(0, self.distance.shape[1] - 1)][None]
        if when is not None:
            days = (when[:, None, :, None] - when[:, None, None, :]).clamp(min=0.0)
            scale = torch.exp(-self.log_scale)[None, :, None, None]
            bias = bias - self.power[None, :, None, None] * torch.log1p(days * scale)
        return bias.masked_fill(ago < 0, -torch.inf)


class Block(nn.Module):
    """Attention over the past, then a gated layer, each added to what came in."""

    def __init__(self, dim: int, heads: int, dropout: float, gated: bool) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.first, self.second = nn.RMSNorm(dim), nn.RMSNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.up = nn.Linear(dim, 4 * dim, bias=False)
        self.down = nn.Linear(2 * dim, dim, bias=False)
        self.gates = nn.ModuleList([nn.Linear(dim, dim), nn.Linear(dim, dim)] if gated else [])
        for layer in (self.out, self.down):
            nn.init.normal_(layer.weight, std=0.02)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, T, D) from the same; ``bias`` as ``AttentionBias`` gives it."""
        x = x + self._gate(0, x) * self._drop(self.out(self._attend(self.first(x), bias)))
        half, gate = self.up(self.second(x)).chunk(2, dim=-1)
        return x + self._gate(1, x) * self._drop(self.down(F.silu(gate) * half))

    def _attend(self, x: Tensor, bias: Tensor) -> Tensor:
        size, length, dim = x.shape
        q, k, v = self.qkv(x).view(size, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        mask = bias.to(q.dtype).expand(size, -1, -1, -1)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=self.rate if self.training else 0.0)
        return mixed.transpose(1, 2).reshape(size, length, dim)

    def _gate(self, place: int, x: Tensor) -> Tensor | float:
        return torch.sigmoid(self.gates[place](x)) * 2.0 if len(self.gates) else 1.0

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.rate, self.training)
