"""The peers of ranking_speed.py: NeuMF and a DCN-v2 ranker in plain torch, by autograd, with Adam over whole tables."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class NeuMF(nn.Module):
    """Dot product of `factors` columns, and a network over [m_u, n_i], and biases: as `tt.NeuMF` has it."""

    def __init__(self, users: int, items: int, factors: int, width: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(users, factors + width), nn.Embedding(items, factors + width)
        self.user_bias, self.item_bias = nn.Embedding(users, 1), nn.Embedding(items, 1)
        self.factors = factors
        self.network = nn.Sequential(_network(2 * width, hidden), nn.Linear(hidden[-1], 1))

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        u, v = self.user(users), self.item(items)
        product = (u[:, : self.factors] * v[:, : self.factors]).sum(dim=1, keepdim=True)
        deep = self.network(torch.cat([u[:, self.factors :], v[:, self.factors :]], dim=1))
        return (product + deep + self.user_bias(users) + self.item_bias(items))[:, 0]


class Dcn(nn.Module):
    """Cross layers over [u, v], then hidden layers, and biases."""

    def __init__(self, users: int, items: int, width: int, crosses: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(users, width), nn.Embedding(items, width)
        self.user_bias, self.item_bias = nn.Embedding(users, 1), nn.Embedding(items, 1)
        self.crosses = nn.ModuleList(nn.Linear(2 * width, 2 * width) for _ in range(crosses))
        self.network = nn.Sequential(_network(2 * width, hidden), nn.Linear(hidden[-1], 1))

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        x = torch.cat([self.user(users), self.item(items)], dim=1)
        y = x
        for cross in self.crosses:
            y = x * cross(y) + y
        score = self.network(y) + self.user_bias(users) + self.item_bias(items)
        return score[:, 0]


class Trainer:
    """One step: forward, binary cross-entropy, backward, Adam."""

    def __init__(self, model: nn.Module, *, learning_rate: float, compiled: bool) -> None:
        self.optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
        self.model = torch.compile(model) if compiled else model

    def step(self, batch: tuple[Tensor, Tensor, Tensor]) -> None:
        users, items, targets = batch
        self.optimizer.zero_grad(set_to_none=True)
        functional.binary_cross_entropy_with_logits(self.model(users, items), targets).backward()
        self.optimizer.step()


def _network(width: int, hidden: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for out in hidden:
        layers += [nn.Linear(width, out), nn.ReLU()]
        width = out
    return nn.Sequential(*layers)
