"""The peer of training_speed.py: the same two towers, loss and optimizers in plain torch.

The loss is written three ways, all of the same value:

- `pairs`     as it is usually written: B x B scores, accidental hits masked, `cross_entropy`; one column a pair of the batch
- `distinct`  one column a distinct item, by autograd
- `by hand`   the same in one forward pass in place that also makes the gradients: the fastest way we know in torch
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

FORMS = ("pairs", "distinct", "by hand")

# Said once by torch's own optimizers for sparse gradients; nothing here can change it.
warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly disabled")


@dataclass(frozen=True)
class Batch:
    """What one step reads.

    Shapes: queries (rows); candidates, log_weights (columns); row_of_positive, columns, weights (positives). In the form `pairs`
    there is a column a row, and the positives are the diagonal.
    """

    queries: Tensor
    candidates: Tensor
    log_weights: Tensor
    row_of_positive: Tensor
    columns: Tensor
    weights: Tensor


class TwoTower(nn.Module):
    """Id embeddings, hidden layers with ReLU between them, rows of length 1; score = dot product / temperature + item bias."""

    def __init__(
        self,
        num_users: int,
        num_items: int,
        width: int,
        hidden: Sequence[int],
        *,
        temperature: float,
        item_bias: bool,
        sparse: bool,
    ) -> None:
        super().__init__()
        self.inverse_temperature = 1 / temperature
        self.user = nn.Embedding(num_users, width, sparse=sparse)
        self.item = nn.Embedding(num_items, width, sparse=sparse)
        self.item_bias = nn.Embedding(num_items, 1, sparse=sparse) if item_bias else None
        self.user_layers, self.item_layers = (_layers(width, hidden) for _ in range(2))

    def load(self, parameters: Mapping[str, np.ndarray]) -> None:
        """Take the values of core.TwoTower.parameters()."""
        tables = {"user": self.user, "item": self.item, "item_bias": self.item_bias}
        with torch.no_grad():
            for name, table in tables.items():
                if table is not None:
                    table.weight.copy_(torch.from_numpy(parameters[f"table.{name}"]))
            arena, begin = torch.from_numpy(parameters["arena"]), 0
            for layer in (*self.user_layers, *self.item_layers):
                if isinstance(layer, nn.Linear):
                    size = layer.weight.numel()
                    layer.weight.copy_(arena[begin : begin + size].view(layer.in_features, layer.out_features).T)
                    layer.bias.copy_(arena[begin + size : begin + size + layer.out_features])
                    begin += size + layer.out_features

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Vectors (rows, width) and (columns, width), bias (columns) or None."""
        u = functional.normalize(self.user_layers(self.user(batch.queries)), eps=1e-6)
        v = functional.normalize(self.item_layers(self.item(batch.candidates)), eps=1e-6)
        return u, v, None if self.item_bias is None else self.item_bias(batch.candidates).squeeze(1)


def _layers(width: int, hidden: Sequence[int]) -> nn.Sequential:
    if not hidden:
        return nn.Sequential()
    widths = [width, *hidden, width]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def pairs_loss(model: TwoTower, batch: Batch) -> Tensor:
    u, v, bias = model(batch)
    scores = (u * model.inverse_temperature) @ v.T
    if bias is not None:
        scores = scores + bias
    scores = scores + batch.log_weights
    scores.diagonal().sub_(batch.log_weights)  # the row's own positive has weight 1
    hits = batch.candidates[:, None] == batch.candidates[None, :]
    hits.fill_diagonal_(False)
    return functional.cross_entropy(scores.masked_fill_(hits, -torch.inf), torch.arange(len(scores)))


def distinct_loss(model: TwoTower, batch: Batch) -> Tensor:
    u, v, bias = model(batch)
    scores = (u * model.inverse_temperature) @ v.T
    if bias is not None:
        scores = scores + bias
    places = (batch.row_of_positive, batch.columns)
    positive = scores[places]
    scores = (scores + batch.log_weights).index_put(places, positive)  # the row's own positives have weight 1
    return (batch.weights * (scores.logsumexp(1)[batch.row_of_positive] - positive)).sum()


class _LossByHand(torch.autograd.Function):
    """The loss of `distinct_loss` of vectors; the gradients are made in the forward pass, over the matrix of the scores."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, v: Tensor, bias: Tensor | None, batch: Batch, inverse_temperature: float
    ) -> Tensor:
        scaled = u * inverse_temperature
        scores = scaled @ v.T
        if bias is not None:
            scores += bias
        places = batch.row_of_positive * scores.shape[1] + batch.columns
        flat = scores.view(-1)
        positive = flat[places]
        scores += batch.log_weights
        flat[places] = positive
        highest = scores.amax(1)
        scores.sub_(highest[:, None]).exp_()
        sums = scores.sum(1)
        scores *= (torch.zeros(len(u)).index_add_(0, batch.row_of_positive, batch.weights) / sums)[:, None]
        flat.index_add_(0, places, -batch.weights)
        ctx.save_for_backward(
            (scores @ v) * inverse_temperature, scores.T @ scaled, *([] if bias is None else [scores.sum(0)])
        )
        return (batch.weights * ((sums.log() + highest)[batch.row_of_positive] - positive)).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        du, dv, *dbias = ctx.saved_tensors  # times the loss's own gradient, which is 1
        return du, dv, dbias[0] if dbias else None, None, None


def loss_by_hand(model: TwoTower, batch: Batch) -> Tensor:
    u, v, bias = model(batch)
    return _LossByHand.apply(u, v, bias, batch, model.inverse_temperature)


LOSSES = {"pairs": pairs_loss, "distinct": distinct_loss, "by hand": loss_by_hand}


class Trainer:
    """Steps of one form of the loss with one optimizer."""

    def __init__(self, model: TwoTower, form: str, optimizer: str, learning_rate: float) -> None:
        self.model = model
        self._loss = LOSSES[form]
        # epsilon as ours; torch's Adam for sparse gradients refuses dense ones.
        tables = [table.weight for table in (model.user, model.item, model.item_bias) if table is not None]
        layers = [*model.user_layers.parameters(), *model.item_layers.parameters()]
        if optimizer == "adagrad":
            self._optimizers: list[torch.optim.Optimizer] = [
                torch.optim.Adagrad([*tables, *layers], lr=learning_rate, eps=1e-8)
            ]
        elif optimizer == "adam":
            self._optimizers = [torch.optim.Adam([*tables, *layers], lr=learning_rate, fused=True)]
        else:
            self._optimizers = [torch.optim.SparseAdam(tables, lr=learning_rate)]
            self._optimizers += [torch.optim.Adam(layers, lr=learning_rate, fused=True)] if layers else []

    def step(self, batch: Batch) -> float:
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss = self._loss(self.model, batch)
        loss.backward()
        for optimizer in self._optimizers:
            optimizer.step()
        return loss.item()


def make_batch(arrays: Mapping[str, np.ndarray]) -> Batch:
    """A Batch of numpy arrays with the names of its fields."""
    kinds = {"log_weights": torch.float32, "weights": torch.float32}
    return Batch(**{name: torch.from_numpy(values).to(kinds.get(name, torch.int64)) for name, values in arrays.items()})
