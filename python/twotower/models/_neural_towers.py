"""Towers and heads of the networks over ids: the first layer of a network is computed once a side, not once a pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from twotower._core import core
from twotower.models._pair_towers import PairArchitecture
from twotower.models._towers import hidden_layers


@dataclass(frozen=True)
class SumArchitecture(PairArchitecture):
    """A network over the user's and the item's vectors side by side, whose first layer is cut in two.

    W [u, v] + b is a sum of a half that knows the user alone and a half that knows the item alone: each is computed once a user
    and once an item, at the end of its tower, and a pair costs their sum.
    """

    def tower_layers(self, width: int, streams: Iterator[int]) -> list[core.Layer]:
        return [*super().tower_layers(width, streams), core.Layer.dense(width, self.hidden[0])]

    def tower_width(self, width: int) -> int:
        return self.hidden[0]

    def deep(self, streams: Iterator[int]) -> tuple[list[core.Layer], int]:
        """The hidden layers from the sum on, and the width behind them."""
        width = self.hidden[0]
        layers = [getattr(core.Layer, self.activation)(width)]
        if self.hidden_dropout > 0:
            layers.append(core.Layer.dropout(width, 1 - self.hidden_dropout, next(streams)))
        more, end = hidden_layers(
            width,
            self.hidden[1:],
            streams,
            activation=self.activation,
            layer_norm=self.layer_norm,
            dropout=self.hidden_dropout,
        )
        return layers + more, end

    def head(self, user_width: int, item_width: int, streams: Iterator[int]) -> list[core.Layer]:
        layers, end = self.deep(streams)
        return [*layers, core.Layer.dense(end, 1)]


@dataclass(frozen=True)
class NeuMFArchitecture(SumArchitecture):
    """Vectors of two halves: the first `factors` columns are multiplied, the others pass a network, and both are added.

    The paper weighs each product before it adds them. Such weights say nothing that the vectors cannot say, and undo what shrinks
    these: small vectors under large weights are as long as one likes.

    Attributes
    ----------
    factors : int
        Width of the half that is multiplied; `dim` is that of both.
    """

    factors: int = 0

    @property
    def split(self) -> int:
        return self.factors

    def tower_layers(self, width: int, streams: Iterator[int]) -> list[core.Layer]:
        rest = width - self.factors
        multiplied = [core.Layer.slice(width, 0, self.factors)]
        network = [core.Layer.slice(width, self.factors, rest), core.Layer.dense(rest, self.hidden[0])]
        return [
            *PairArchitecture.tower_layers(self, width, streams),
            core.Layer.parallel(width, multiplied, network),
        ]

    def tower_width(self, width: int) -> int:
        return self.factors + self.hidden[0]

    def head(self, user_width: int, item_width: int, streams: Iterator[int]) -> list[core.Layer]:
        width, (layers, end) = self.meeting_width(user_width, item_width), self.deep(streams)
        product = [core.Layer.slice(width, 0, 1)]
        network = [core.Layer.slice(width, 1, self.hidden[0]), *layers, core.Layer.dense(end, 1)]
        return [core.Layer.parallel(width, product, network), core.Layer.row_sum(2)]
