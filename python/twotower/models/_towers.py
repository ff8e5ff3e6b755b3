"""From sides and options to the core's towers: tables, inputs, sequences, layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from twotower._core import core
from twotower.models._inputs import InputPlan, Tables, Widths
from twotower.models._sides import Side, Sides


@dataclass(frozen=True)
class Architecture:
    """The options that decide what a model is made of, checked and with nothing left to choose."""

    dim: int
    hidden: tuple[int, ...]
    activation: str
    layer_norm: bool
    dropout: float
    normalize: bool
    item_bias: bool
    temperature: float
    seed: int
    cross_layers: int = 0
    cross_rank: int | None = None
    cross: str = "stacked"
    residual: bool = False

    @property
    def concatenates(self) -> bool:
        """Whether inputs lie side by side under layers, or are summed."""
        return bool(self.hidden or self.cross_layers)

    @property
    def inputs(self) -> InputPlan:
        return InputPlan(self.dim, self.concatenates)

    def widths(self, sides: Sides) -> Widths:
        """Settle the length of every input's vector; see `InputPlan`."""
        return self.inputs.widths(sides)

    # --- the core's model ---------------------------------------------------------------------------------------------

    def build(self, sides: Sides) -> core.TwoTower:
        """Make the core's model with its first parameters."""
        tables, streams = Tables(), count()
        towers = [
            self.inputs.tower(side, sides, tables, streams, lambda width: self._layers(width, streams))
            for side in (sides.users, sides.items)
        ]
        return core.TwoTower(
            query=towers[0],
            item=towers[1],
            tables=tables.specs,
            temperature=self.temperature,
            item_bias=self.item_bias,
            bias_rows=sides.items.id_rows,
            deviation=0.01,
            seed=self.seed,
        )

    # --- the first cross layers -----------------------------------------------------------------------------------------

    def first_crosses(self, arena: np.ndarray, sides: Sides) -> list[np.ndarray]:
        """Take the matrix W (width, width) of each tower's first cross layer out of a model's arena, the user's first."""
        begins = (0, self._arena_of(sides.users, sides))
        found = []
        for begin, side in zip(begins, (sides.users, sides.items), strict=True):
            width = sum(width for _, _, width in self.inputs.layout(side, sides))
            numbers = arena[begin + self.inputs.arena_of_inputs(side, sides) :]
            found.append(cross_matrix(numbers, width, self.cross_rank or 0))
        return found

    def _arena_of(self, side: Side, sides: Sides) -> int:
        """How many numbers of the arena a tower takes: as the core says of one beside which there is nothing else."""
        tables, streams = Tables(), count()
        tower = self.inputs.tower(side, sides, tables, streams, lambda width: self._layers(width, streams))
        nothing = core.Input.embedding(0, tables.add("nothing", 1, self.dim, ""), self.dim)
        model = core.TwoTower(
            query=tower,
            item=core.Tower(inputs=[nothing], concatenate=False, width=self.dim, layers=[]),
            tables=[(name, 1, width) for name, _, width in tables.specs],
            temperature=1.0,
            item_bias=False,
            bias_rows=0,
            deviation=0.01,
            seed=0,
        )
        return int(model.parameters()["arena"].size)

    # --- layers -------------------------------------------------------------------------------------------------------

    def _layers(self, width: int, streams: Iterator[int]) -> list[core.Layer]:
        """Without layers the inputs are summed; otherwise cross and hidden layers, one after or beside the other, end in a Dense."""
        layers: list[core.Layer] = []
        if not self.hidden and self.dropout > 0:
            layers.append(core.Layer.dropout(width, 1 - self.dropout, next(streams)))
        cross = [core.Layer.cross(width, self.cross_layers, self.cross_rank or 0)] if self.cross_layers else []
        deep, end = hidden_layers(
            width,
            self.hidden,
            streams,
            activation=self.activation,
            layer_norm=self.layer_norm,
            dropout=self.dropout,
            residual=self.residual,
        )
        if cross and self.cross == "parallel":
            layers.append(core.Layer.parallel(width, cross, deep))
            end += width
        else:
            layers += cross + deep
        if self.concatenates:
            layers.append(core.Layer.dense(end, self.dim))
        if self.normalize:
            layers.append(core.Layer.l2_normalize(self.dim))
        return layers


def hidden_layers(
    width: int,
    hidden: Sequence[int],
    streams: Iterator[int],
    *,
    activation: str,
    layer_norm: bool = False,
    dropout: float = 0.0,
    residual: bool = False,
) -> tuple[list[core.Layer], int]:
    """Make hidden layers, each Dense, LayerNorm, activation, Dropout, on an input of a width; and the width behind them."""
    layers: list[core.Layer] = []
    for number, next_width in enumerate(hidden):
        block = [core.Layer.dense(width, next_width)]
        if layer_norm:
            block.append(core.Layer.layer_norm(next_width))
        block.append(core.Layer.relu(next_width) if activation == "relu" else core.Layer.gelu(next_width))
        if dropout > 0:
            block.append(core.Layer.dropout(next_width, 1 - dropout, next(streams)))
        layers += [core.Layer.residual(width, block)] if residual and number and width == next_width else block
        width = next_width
    return layers, width


def cross_matrix(numbers: np.ndarray, width: int, rank: int) -> np.ndarray:
    """The matrix W, float64 (width, width), of a cross layer whose parameters begin here: itself, or its two factors."""
    if not rank:
        return numbers[: width * width].reshape(width, width).astype(np.float64)
    left, right = numbers[: 2 * width * rank].astype(np.float64).reshape(2, width * rank)
    found: np.ndarray = left.reshape(width, rank) @ right.reshape(rank, width)
    return found
