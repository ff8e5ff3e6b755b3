"""The peer of history_speed.py: two towers whose query is a history, in plain torch; losses are those of _torch_two_tower.py.

The query's encoder is written several ways, all of the same value:

- `padded`    the mean as it is usually written: gather (histories, length, width), mask, sum, divide
- `bag`       the mean by torch's embedding_bag
- `modules`   the transformer as it is usually written: nn.TransformerEncoder with a causal mask
- `sdpa`      the transformer by hand: one product for queries, keys and values, scaled_dot_product_attention(is_causal=True)
- `compiled`  the same through torch.compile
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from _torch_two_tower import LOSSES, Batch

gelu = functools.partial(functional.gelu, approximate="tanh")


@dataclass(frozen=True)
class HistoryBatch(Batch):
    """What one step reads, its queries being histories.

    Shapes: histories (sequences, length), filled up with item 0; lengths (sequences). `reads` (rows): which row of the encoder's
    output, flattened, belongs to a row of the batch, the learned vector for an empty history being that of length 0; None where
    rows are read as they come.
    """

    histories: Tensor
    lengths: Tensor
    reads: Tensor | None


def make_batch(arrays: Mapping[str, np.ndarray]) -> HistoryBatch:
    """A HistoryBatch of numpy arrays with the names of its fields; `reads` may be left out."""
    kinds = {"log_weights": torch.float32, "weights": torch.float32}
    fields = {name: torch.from_numpy(values).to(kinds.get(name, torch.int64)) for name, values in arrays.items()}
    return HistoryBatch(**{"reads": None, **fields})


class Parameters:
    """Takes values from an arena of the core, one after the other."""

    def __init__(self, arena: np.ndarray) -> None:
        self._left = torch.from_numpy(arena)

    def into(self, target: Tensor) -> None:
        values, self._left = self._left.split([target.numel(), len(self._left) - target.numel()])
        target.copy_(values.view(target.shape))

    def matrix(self, rows: int, width: int) -> Tensor:
        taken = torch.empty(rows, width)
        self.into(taken)
        return taken

    def into_linear(self, linear: nn.Linear) -> None:
        linear.weight.copy_(self.matrix(linear.in_features, linear.out_features).T)
        self.into(linear.bias)

    def into_norm(self, norm: nn.LayerNorm) -> None:
        self.into(norm.weight)
        self.into(norm.bias)

    def into_queries_keys_values(self, weight: Tensor, bias: Tensor) -> None:
        """The core keeps the weights of queries apart from those of keys and values."""
        for place, size in ((0, 1), (1, 2)):
            width = weight.shape[1]
            rows = slice(place * width, (place + size) * width)
            weight[rows] = self.matrix(width, size * width).T
            self.into(bias[rows])

    def end(self) -> None:
        if len(self._left):
            raise ValueError(f"Parameters: {len(self._left)} values of the arena were not taken")


class Mean(nn.Module):
    """The mean of a history's items, or a learned vector; in the forms `padded` and `bag`."""

    def __init__(self, table: nn.Embedding, form: str) -> None:
        super().__init__()
        self.table, self.form = table, form
        self.empty = nn.Parameter(torch.zeros(table.embedding_dim))

    def load(self, arena: np.ndarray) -> None:
        parameters = Parameters(arena)
        parameters.into(self.empty)
        parameters.end()

    def forward(self, batch: HistoryBatch) -> Tensor:
        there = torch.arange(batch.histories.shape[1]) < batch.lengths[:, None]
        if self.form == "padded":
            mean = (self.table(batch.histories) * there[:, :, None]).sum(1) / batch.lengths.clamp(min=1)[:, None]
        else:
            offsets = batch.lengths.cumsum(0) - batch.lengths
            mean = functional.embedding_bag(
                batch.histories[there], self.table.weight, offsets, mode="mean", sparse=self.table.sparse
            )
        return torch.where(batch.lengths[:, None] > 0, mean, self.empty)


class Block(nn.Module):
    """One pre-norm block of the form `sdpa`."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.output, self.up, self.down = (nn.Linear(width, width) for _ in range(3))

    def load(self, parameters: Parameters) -> None:
        parameters.into_norm(self.norms[0])
        parameters.into_queries_keys_values(self.queries_keys_values.weight, self.queries_keys_values.bias)
        parameters.into_linear(self.output)
        parameters.into_norm(self.norms[1])
        parameters.into_linear(self.up)
        parameters.into_linear(self.down)

    def forward(self, x: Tensor) -> Tensor:
        sequences, length, width = x.shape
        joined = self.queries_keys_values(self.norms[0](x))
        q, k, v = joined.view(sequences, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        attended = attended.transpose(1, 2).reshape(sequences, length, width)
        x = x + functional.dropout(self.output(attended), self.dropout)
        return x + functional.dropout(self.down(gelu(self.up(self.norms[1](x)))), self.dropout)


class Transformer(nn.Module):
    """Rows of every prefix of every history, in the forms `modules`, `sdpa` and `compiled`."""

    def __init__(
        self, table: nn.Embedding, form: str, *, heads: int, blocks: int, max_length: int, dropout: float
    ) -> None:
        super().__init__()
        width = table.embedding_dim
        self.table, self.form, self.dropout = table, form, dropout
        self.positions = nn.Parameter(torch.zeros(max_length, width))
        self.empty = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width)
        if form == "modules":
            layer = nn.TransformerEncoderLayer(
                width, heads, width, dropout, activation=gelu, batch_first=True, norm_first=True
            )
            self.blocks = nn.TransformerEncoder(layer, blocks, enable_nested_tensor=False)
            for block in self.blocks.layers:
                block.self_attn.dropout, block.dropout.p = 0.0, 0.0  # torch drops in more places than the others do
        else:
            self.blocks = nn.Sequential(*[Block(width, heads, dropout) for _ in range(blocks)])
        # Beside the module's own children: a compiled function is no module with other parameters.
        self.rows = torch.compile(self._rows) if form == "compiled" else self._rows

    def load(self, arena: np.ndarray) -> None:
        parameters = Parameters(arena)
        with torch.no_grad():
            parameters.into(self.positions)
            parameters.into(self.empty)
            for block in self.blocks.layers if self.form == "modules" else self.blocks:
                if self.form == "modules":
                    self._load_module(block, parameters)
                else:
                    block.load(parameters)
            parameters.into_norm(self.norm)
        parameters.end()

    @staticmethod
    def _load_module(layer: nn.TransformerEncoderLayer, parameters: Parameters) -> None:
        parameters.into_norm(layer.norm1)
        parameters.into_queries_keys_values(layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias)
        parameters.into_linear(layer.self_attn.out_proj)
        parameters.into_norm(layer.norm2)
        parameters.into_linear(layer.linear1)
        parameters.into_linear(layer.linear2)

    def _rows(self, elements: Tensor) -> Tensor:
        length = elements.shape[1]
        x = functional.dropout(elements + self.positions[:length], self.dropout)
        if self.form == "modules":
            x = self.blocks(x, nn.Transformer.generate_square_subsequent_mask(length), is_causal=True)
        else:
            x = self.blocks(x)
        return self.norm(x)

    def forward(self, batch: HistoryBatch) -> Tensor:
        rows = self.rows(self.table(batch.histories))
        if batch.reads is None:
            return rows.reshape(-1, rows.shape[-1])
        first = self.empty.expand(len(rows), 1, -1)
        return torch.cat([first, rows], 1).reshape(-1, rows.shape[-1])[batch.reads]


class TwoTower(nn.Module):
    """A history's vector plus a shared one against items' embeddings, both of length 1; score = dot product / temperature."""

    def __init__(self, num_items: int, width: int, encoder: Mapping[str, object], *, temperature: float, sparse: bool):
        super().__init__()
        self.inverse_temperature = 1 / temperature
        self.item = nn.Embedding(num_items, width, sparse=sparse)
        self.shared = nn.Parameter(torch.zeros(width))
        made = dict(encoder)
        self.encoder = (Mean if made.pop("kind") == "mean" else Transformer)(self.item, **made)  # type: ignore[arg-type]

    def load(self, parameters: Mapping[str, np.ndarray]) -> None:
        """Take the values of core.TwoTower.parameters()."""
        with torch.no_grad():
            self.item.weight.copy_(torch.from_numpy(parameters["table.item"]))
            self.shared.copy_(torch.from_numpy(parameters["table.shared"][0]))
            self.encoder.load(parameters["arena"])

    def forward(self, batch: HistoryBatch) -> tuple[Tensor, Tensor, None]:
        u = functional.normalize(self.encoder(batch) + self.shared, eps=1e-6)
        return u, functional.normalize(self.item(batch.candidates), eps=1e-6), None


class Trainer:
    """Steps of one form of the loss with one optimizer, epsilon as ours."""

    def __init__(self, model: TwoTower, loss: str, optimizer: str, learning_rate: float) -> None:
        self.model, self._loss = model, LOSSES[loss]
        table = model.item.weight
        others = [p for p in model.parameters() if p is not table]
        self._optimizers: Sequence[torch.optim.Optimizer]
        if optimizer == "adam":
            self._optimizers = [torch.optim.Adam([table, *others], lr=learning_rate, fused=True)]
        else:  # torch's Adam for sparse gradients refuses dense ones
            self._optimizers = [
                torch.optim.SparseAdam([table], lr=learning_rate),
                torch.optim.Adam(others, lr=learning_rate, fused=True),
            ]

    def step(self, batch: HistoryBatch) -> float:
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss = self._loss(self.model, batch)
        loss.backward()
        for optimizer in self._optimizers:
            optimizer.step()
        return loss.item()
