"""From sides and options to the core's towers: tables, inputs, sequences, layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from twotower._core import core
from twotower.models._inputs import InputPlan, Tables, Widths
from twotower.models._sides import Sides


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
