"""From sides and options to the core's towers: tables, inputs, sequences, layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from twotower._core import core
from twotower.errors import SchemaError
from twotower.features import Part, default_width
from twotower.models._sides import Side, Sides
from twotower.schema import History

# A number becomes a vector along one line, which the first layer can turn as it likes: no need for many columns.
NUMBER_WIDTH = 8
Widths = dict[tuple[str, str], int]


@dataclass
class _Tables:
    """The tables of embeddings, by name; columns of one `table` share one."""

    specs: list[tuple[str, int, int]] = field(default_factory=list)

    def add(self, name: str, rows: int, width: int, column: str) -> int:
        for number, (known, known_rows, known_width) in enumerate(self.specs):
            if known == name:
                if width != known_width:
                    raise SchemaError(
                        f"fit: column {column!r} has width {width} in the table {name.removeprefix('shared.')!r}, but a column "
                        f"before it has {known_width}; give all columns of a table the same width"
                    )
                self.specs[number] = (name, max(rows, known_rows), width)
                return number
        self.specs.append((name, rows, width))
        return len(self.specs) - 1


def id_table(side: Side) -> str:
    """Name of the table of a side's ids."""
    assert side.id is not None
    return f"{side.name}_id" if side.id.table is None else f"shared.{side.id.table}"


def part_table(side: Side, part: Part) -> str:
    """Name of the table of a part's values."""
    return f"{side.name}.{part.name}" if part.table is None else f"shared.{part.table}"


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

    # --- widths -------------------------------------------------------------------------------------------------------

    def widths(self, sides: Sides) -> Widths:
        """Settle the length of every input's vector, by side and part; ids and histories have the part "".

        Raises
        ------
        SchemaError
            A column asks for a width that cannot be.
        """
        found: Widths = {}
        shared: dict[str, int] = {}
        for side in sides:
            if side.id is not None:
                found[side.name, ""] = self._asked(side.id.column, side.id.width, self.dim)
            for part in side.encoder.parts:
                width = self._part_width(side, part, sides.history)
                if part.table is not None and part.width is None:
                    width = shared.setdefault(part.table, width)
                found[side.name, part.name] = width
        if sides.history is not None:
            self._check_history(sides.history, found)
        return found

    def _part_width(self, side: Side, part: Part, history: History | None) -> int:
        column = part.column.column
        if part.kind == "vectors" and not part.project:
            if not self.concatenates and part.size != self.dim:
                raise SchemaError(
                    f"fit: column {column!r} holds vectors of {part.size} numbers, but without project=True they must have "
                    f"{self.dim} (dim), since columns are summed without hidden layers; leave project out, or pass hidden=(128,)"
                )
            return part.size
        if part.table is not None or (side.name == "item" and history is not None and history.features):
            usual = self.dim  # so that a history can read the same tables, and tables of one name fit
        elif part.kind == "numbers":
            usual = min(NUMBER_WIDTH, self.dim)
        elif part.kind == "vectors":
            usual = min(part.size, self.dim)
        else:
            usual = default_width(part.size, self.dim)
        return self._asked(column, part.width, usual)

    def _asked(self, column: str, width: int | None, usual: int) -> int:
        if self.concatenates:
            return width or usual
        if width not in (None, self.dim):
            raise SchemaError(
                f"fit: column {column!r} has width {width}, but must have {self.dim} (dim), since columns are summed without "
                "hidden layers; leave width out or pass hidden=(128,)"
            )
        return self.dim

    def _check_history(self, history: History, widths: Widths) -> None:
        if history.width not in (None, self.dim):
            raise SchemaError(
                f"fit: {history!r} has width {history.width}, but must have {self.dim} (dim), since it shares the items' "
                "vectors; leave width out or change dim"
            )
        if history.encoder == "transformer" and self.dim % history.heads:
            raise SchemaError(
                f"fit: {history!r} has {history.heads} heads, but dim is {self.dim}, which they must divide; "
                "change heads or dim"
            )

    # --- the core's model ---------------------------------------------------------------------------------------------

    def build(self, sides: Sides) -> core.TwoTower:
        """Make the core's model with its first parameters."""
        widths = self.widths(sides)
        tables, streams = _Tables(), count()
        towers = [self._tower(side, sides, widths, tables, streams) for side in (sides.users, sides.items)]
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

    def _tower(self, side: Side, sides: Sides, widths: Widths, tables: _Tables, streams: Iterator[int]) -> core.Tower:
        is_query = side.name == "user"
        inputs, total = self._inputs(side, widths, tables)
        if is_query and sides.contexts is not None:
            more, width = self._inputs(sides.contexts, widths, tables)
            inputs, total = inputs + more, total + width
        sequences = []
        for number, part in enumerate(side.encoder.parts, start=side.first_column):
            if part.kind == "tokens":
                width = widths[side.name, part.name]
                table = tables.add(part_table(side, part), part.size, width, part.column.column)
                tokens = [core.Input.embedding(0, table, width)]
                sequences.append(core.SequenceInput(number, tokens, core.SequenceEncoder.gru(width)))
                total += width
        if is_query and sides.history is not None:
            sequences.append(self._history(sides, widths, tables, streams))
            total += self.dim
        joined = total if self.concatenates else self.dim
        return core.Tower(
            inputs=inputs,
            sequences=sequences,
            concatenate=self.concatenates,
            width=joined,
            layers=self._layers(joined, streams),
        )

    def _inputs(self, side: Side, widths: Widths, tables: _Tables) -> tuple[list[core.Input], int]:
        """One input a part that is no sequence, the id first, and their width side by side."""
        made, total = [], 0
        if side.id is not None:
            width = widths[side.name, ""]
            table = tables.add(id_table(side), side.id_rows, width, side.id.column)
            made.append(core.Input.embedding(0, table, width, unknown_share=side.unknown_share))
            total = width
        for number, part in enumerate(side.encoder.parts, start=side.first_column):
            if part.kind == "tokens":
                if side.name == "context":
                    raise SchemaError(
                        f"fit: column {part.column.column!r} of the context is read in order, which only texts of users and "
                        'items are; use encoding="mean"'
                    )
                continue
            width = widths[side.name, part.name]
            made.append(_input(side, part, number, width, tables))
            total += width
        return made, total

    def _history(self, sides: Sides, widths: Widths, tables: _Tables, streams: Iterator[int]) -> core.SequenceInput:
        """The history shares the item side's tables; features of another width than `dim` and texts read in order are left out."""
        history, items = sides.history, sides.items
        assert history is not None
        assert items.id is not None
        elements = []
        if items.id.dropout != 1 and widths["item", ""] == self.dim:
            table = tables.add(id_table(items), items.id_rows, self.dim, items.id.column)
            elements.append(core.Input.embedding(0, table, self.dim))
        for number, part in enumerate(items.encoder.parts if history.features else (), start=1):
            if part.kind != "tokens" and widths["item", part.name] == self.dim:
                elements.append(_input(items, part, number, self.dim, tables))
        if not elements:
            raise SchemaError(
                f"fit: {history!r} has nothing to read: items have neither ids nor features of width {self.dim} (dim); "
                "leave the widths out, or give items features"
            )
        return core.SequenceInput(None, elements, self._encoder(history, streams))

    def _encoder(self, history: History, streams: Iterator[int]) -> core.SequenceEncoder:
        if history.encoder in ("mean", "decay"):
            decay = 0.5 ** (1 / history.half_life) if history.encoder == "decay" else 1.0
            return core.SequenceEncoder.mean(self.dim, decay, "unit" if history.normalize else "mean")
        if history.encoder == "attention":
            return core.SequenceEncoder.attention(self.dim, history.max_length)
        if history.encoder == "gru":
            return core.SequenceEncoder.gru(self.dim)
        stream = next(streams)
        for _ in range(4 * history.blocks):  # a transformer draws in several places
            next(streams)
        return core.SequenceEncoder.transformer(
            self.dim, history.heads, history.blocks, history.max_length, 1 - history.dropout, stream
        )

    # --- layers -------------------------------------------------------------------------------------------------------

    def _layers(self, width: int, streams: Iterator[int]) -> list[core.Layer]:
        """Without layers the inputs are summed; otherwise cross and hidden layers, one after or beside the other, end in a Dense."""
        layers: list[core.Layer] = []
        if not self.hidden and self.dropout > 0:
            layers.append(core.Layer.dropout(width, 1 - self.dropout, next(streams)))
        cross = [core.Layer.cross(width, self.cross_layers, self.cross_rank or 0)] if self.cross_layers else []
        deep, end = self._deep(width, streams)
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

    def _deep(self, width: int, streams: Iterator[int]) -> tuple[list[core.Layer], int]:
        """The hidden layers, each Dense, LayerNorm, activation, Dropout, and the width behind them."""
        layers: list[core.Layer] = []
        for number, next_width in enumerate(self.hidden):
            block = [core.Layer.dense(width, next_width)]
            if self.layer_norm:
                block.append(core.Layer.layer_norm(next_width))
            block.append(core.Layer.relu(next_width) if self.activation == "relu" else core.Layer.gelu(next_width))
            if self.dropout > 0:
                block.append(core.Layer.dropout(next_width, 1 - self.dropout, next(streams)))
            layers += [core.Layer.residual(width, block)] if self.residual and number and width == next_width else block
            width = next_width
        return layers, width


def _input(side: Side, part: Part, number: int, width: int, tables: _Tables) -> core.Input:
    context = side.name == "context"
    if part.kind == "numbers":
        return core.Input.numeric(number, width, context=context)
    if part.kind == "vectors":
        if part.project:
            return core.Input.projection(number, part.size, width, context=context)
        return core.Input.given(number, width, context=context)
    table = tables.add(part_table(side, part), part.size, width, part.column.column)
    if part.kind == "bags":
        return core.Input.bag(number, table, width, part.pooling or "mean", context=context)
    return core.Input.embedding(number, table, width, context=context)
