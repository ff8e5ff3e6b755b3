"""From sides and options to the core's pair scorer: two towers, how their vectors meet, the head on top."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from twotower._core import core
from twotower.models._inputs import InputPlan, Tables, Widths
from twotower.models._sides import Sides
from twotower.models._towers import cross_matrix, hidden_layers

MEETINGS = ("vectors", "product", "dot", "given", "sum")


@dataclass(frozen=True)
class PairArchitecture:
    """The options that decide what a pair scorer is made of, checked and with nothing left to choose.

    A model with another head or other layers in its towers overrides `head`, `tower_layers` and `tower_width` in a subclass
    (with further fields, of kinds that JSON has), and names that in `PairModel._architecture_type`.

    Attributes
    ----------
    dim : int
        Width of ids and histories; of a tower's vector where inputs are summed.
    seed : int
    meeting : tuple of {"vectors", "product", "dot", "given", "sum"}
        What the head reads of a pair with the vectors u and v, in this order: u and v, u * v, <u, v>, a number that comes with
        the pair, u + v.
    concatenates : bool
        Whether the inputs of a tower lie side by side, or are summed.
    even, own_history : bool
        See `InputPlan`.
    biases : bool
        A number for each id and each value of a feature is added to the score.
    dropout : float
        Share of both towers' vectors that training drops.
    hidden, activation, layer_norm, hidden_dropout, cross_layers, cross_rank
        The head: cross layers over what meets, then hidden layers, then a Dense to the score.
    fields : bool
        In place of cross layers: the pooled products of all inputs, of `dim` columns each, beside the hidden layers.
    offset : float
        Added to every score.
    deviation : float
        Of the first values of the tables.
    cure : str
        See `InputPlan`.
    """

    dim: int
    seed: int
    meeting: tuple[str, ...] = ("dot",)
    concatenates: bool = False
    even: bool = False
    own_history: bool = False
    biases: bool = True
    dropout: float = 0.0
    hidden: tuple[int, ...] = ()
    activation: str = "relu"
    layer_norm: bool = False
    hidden_dropout: float = 0.0
    cross_layers: int = 0
    cross_rank: int | None = None
    fields: bool = False
    offset: float = 0.0
    deviation: float = 0.01
    cure: str = 'interaction="dcn"'

    # --- what a model may change --------------------------------------------------------------------------------------

    @property
    def split(self) -> int:
        """Where a meeting's product ends and its sum begins; 0: both are of the whole vectors."""
        return 0

    def more_tables(self, sides: Sides) -> list[tuple[str, int, int]]:
        """Tables that no tower reads, behind the others: name, rows, width."""
        return []

    def tower_layers(self, width: int, streams: Iterator[int]) -> list[core.Layer]:
        """Layers of a tower on inputs of a width; `streams` numbers what is drawn."""
        return [core.Layer.dropout(width, 1 - self.dropout, next(streams))] if self.dropout > 0 else []

    def tower_width(self, width: int) -> int:
        """Width behind `tower_layers`."""
        return width

    def head(self, user_width: int, item_width: int, streams: Iterator[int]) -> list[core.Layer]:
        """Layers from what meets to one number; none where that is one already.

        Parameters
        ----------
        user_width, item_width : int
            Of the towers' vectors.
        streams : iterator of int
            Numbers what is drawn.
        """
        width = self.meeting_width(user_width, item_width)
        if self.meeting == ("dot",) and not self.hidden:
            return []
        layers = [core.Layer.cross(width, self.cross_layers, self.cross_rank or 0)] if self.cross_layers else []
        deep, end = hidden_layers(
            width,
            self.hidden,
            streams,
            activation=self.activation,
            layer_norm=self.layer_norm,
            dropout=self.hidden_dropout,
        )
        if self.fields:
            products = [core.Layer.factorization_machine(width // self.dim, self.dim)]
            layers += [core.Layer.parallel(width, products, deep)] if deep else products
            end = self.dim + (end if deep else 0)
        else:
            layers += deep
        return [*layers, core.Layer.dense(end, 1)]

    def _whole_head(self, user_width: int, item_width: int, streams: Iterator[int]) -> list[core.Layer]:
        """The head, and what is given added to what it says: it learns what to change of a retriever's order."""
        head = self.head(user_width, item_width, streams)
        if "given" not in self.meeting:
            return head
        width = self.meeting_width(user_width, item_width)
        place = width - 1 - (user_width - self.split if "sum" in self.meeting else 0)
        given = [core.Layer.slice(width, place, 1)]
        return [core.Layer.parallel(width, given, head), core.Layer.row_sum(2)]

    # --- the core's model ---------------------------------------------------------------------------------------------

    @property
    def inputs(self) -> InputPlan:
        return InputPlan(self.dim, self.concatenates, self.even, self.own_history, cure=self.cure)

    def widths(self, sides: Sides) -> Widths:
        """Settle the length of every input's vector; see `InputPlan`."""
        return self.inputs.widths(sides)

    @property
    def is_dot(self) -> bool:
        """Whether the score is a dot product and biases, which an index can search."""
        return self.meeting == ("dot",) and not self.hidden

    def meeting_width(self, user_width: int, item_width: int) -> int:
        """Width of what the head reads."""
        widths = {
            "vectors": user_width + item_width,
            "product": self.split or user_width,
            "dot": 1,
            "given": 1,
            "sum": user_width - self.split,
        }
        return sum(widths[part] for part in self.meeting)

    def first_cross(self, arena: np.ndarray, width: int) -> np.ndarray:
        """Take the matrix W (width, width) of the first cross layer out of a model's arena, of which the head is the end."""
        rank = self.cross_rank or 0
        count, end = self.cross_layers * ((2 * rank if rank else width) * width + width), width
        for hidden in self.hidden:
            count, end = count + end * hidden + hidden + (2 * hidden if self.layer_norm else 0), hidden
        return cross_matrix(arena[arena.size - (count + end + 1) :], width, rank)

    def build(self, sides: Sides) -> core.PairScorer:
        """Make the core's model with its first parameters."""
        tables, streams = Tables(), count()
        plan, linear = self.inputs, InputPlan(1, concatenates=False, even=True, prefix="bias.")
        towers, widths, biases = [], [], []
        for side in (sides.users, sides.items):
            towers.append(plan.tower(side, sides, tables, streams, lambda width: self.tower_layers(width, streams)))
            joined = sum(width for _, _, width in plan.layout(side, sides)) if self.concatenates else self.dim
            widths.append(self.tower_width(joined))
            biases.append(linear.linear(side, sides, tables) if self.biases else None)
        return core.PairScorer(
            user=towers[0],
            item=towers[1],
            user_bias=biases[0],
            item_bias=biases[1],
            vectors="vectors" in self.meeting,
            product="product" in self.meeting,
            dot="dot" in self.meeting,
            given="given" in self.meeting,
            sum="sum" in self.meeting,
            split=self.split,
            head=self._whole_head(widths[0], widths[1], streams),
            tables=[*tables.specs, *self.more_tables(sides)],
            offset=self.offset,
            deviation=self.deviation,
            seed=self.seed,
        )
