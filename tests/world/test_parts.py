"""The parts of a two-tower model find planted tastes, whatever loss, tower, similarity or sampler is put in."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from aisle.models.nn import losses, regression, similarity
from aisle.models.nn.rows import Rows
from aisle.models.nn.sampling import Negatives, Sampler, is_pair
from aisle.models.nn.similarity import Similarity
from aisle.models.nn.towers import TOWERS, Tower

N_CUSTOMERS, N_PRODUCTS, BLOCKS, DIM, STEPS = 60, 24, 3, 6, 150
BLOCK_OF_CUSTOMER, BLOCK_OF_PRODUCT = np.arange(N_CUSTOMERS) % BLOCKS, np.arange(N_PRODUCTS) % BLOCKS
ALIKE = torch.from_numpy(BLOCK_OF_CUSTOMER[:, None] == BLOCK_OF_PRODUCT[None])


def purchases() -> tuple[Tensor, Tensor]:
    """Row and product (P,), by row: each customer bought about half of the products of one block, nothing else."""
    random = np.random.default_rng(0)
    row, column = np.nonzero(ALIKE.numpy() & (random.random(ALIKE.shape) < 0.5))
    return torch.from_numpy(row), torch.from_numpy(column)


class Net(nn.Module):
    """Two towers over ids, product biases, one scale."""

    def __init__(self, tower: str, kind: Similarity) -> None:
        super().__init__()
        passing = TOWERS[tower](DIM)[0] == 0
        self.customers = Tower("linear", N_CUSTOMERS, DIM)
        self.products = Tower(tower, DIM if passing else N_PRODUCTS, DIM)
        self.bias, self.scale, self.kind = nn.Parameter(torch.zeros(N_PRODUCTS)), nn.Parameter(torch.ones(())), kind
        content = np.eye(BLOCKS)[BLOCK_OF_PRODUCT].repeat(DIM // BLOCKS, axis=1)
        self.known = Rows.of(sp.csr_array(content if passing else np.eye(N_PRODUCTS)))
        self.everyone = Rows.of(sp.eye_array(N_CUSTOMERS, format="csr"))

    def forward(self) -> Tensor:
        """(B, I)."""
        scores = similarity.all_pairs(self.kind, self.customers(self.everyone), self.products(self.known))
        return self.scale * scores + self.bias


def objective(loss: str, scores: Tensor, sampler: Sampler, generator: torch.Generator) -> Tensor:
    """The loss of all purchases on scores (B, I); some of them stand for the batch of in-batch negatives."""
    row, column = purchases()
    weight = torch.full((len(row),), 1 / len(row))
    if loss in regression.REGRESSION:
        sums = scores.sum(), scores.square().sum()
        cells = regression.Cells(scores[row, column], torch.ones(len(row)), weight, scores.numel(), *sums)
        return regression.REGRESSION[loss](cells)
    if loss == "softmax":
        return losses.softmax(scores, row, column, weight)
    some = torch.randperm(len(row), generator=generator)[:20]
    drawn, log_q = sampler.draw(column[some], generator)
    hit = is_pair(torch.arange(N_CUSTOMERS)[:, None], drawn[None], row * N_PRODUCTS + column, N_PRODUCTS)
    share = 1 / torch.bincount(column)[column]
    sample = losses.Sample(scores[row, column], row, weight, scores[:, drawn], hit, N_PRODUCTS, log_q, share)
    return losses.SAMPLED[loss](sample)


def share_of_own_block(
    loss: str, tower: str = "linear", kind: Similarity = "dot", negatives: Negatives = "uniform"
) -> float:
    """Share of a customer's own block among their first 8 products after learning; a third by chance."""
    generator = torch.Generator().manual_seed(0)
    sampler = Sampler(negatives, 8, torch.bincount(purchases()[1], minlength=N_PRODUCTS).float())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Net(tower, kind)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(STEPS):
        optimizer.zero_grad()
        objective(loss, net(), sampler, generator).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    best = net().topk(N_PRODUCTS // BLOCKS, dim=1).indices
    return float(ALIKE.gather(1, best).double().mean())


@pytest.mark.parametrize("loss", ["softmax", *losses.SAMPLED, "rmse_dense", "separation_dense"])
def test_every_ranking_loss_finds_the_blocks(loss: str) -> None:
    assert share_of_own_block(loss) > 0.75


@pytest.mark.parametrize("kind", get_args(Similarity))
@pytest.mark.parametrize("tower", TOWERS)
def test_every_tower_and_similarity_finds_the_blocks(tower: str, kind: Similarity) -> None:
    assert share_of_own_block("softmax", tower, kind) > 0.75


@pytest.mark.parametrize("negatives", get_args(Negatives))
@pytest.mark.parametrize("loss", losses.SAMPLED)
def test_every_sampler_serves_every_loss(loss: str, negatives: Negatives) -> None:
    assert share_of_own_block(loss, negatives=negatives) > 0.75
