"""What a tower reads: from sides to the core's tables, inputs and sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from twotower._core import core
from twotower.errors import SchemaError
from twotower.features import Part, default_width
from twotower.models._sides import Side, Sides
from twotower.schema import History

# A number becomes a vector along one line, which the first layer can turn as it likes: no need for many columns.
NUMBER_WIDTH = 8
Widths = dict[tuple[str, str], int]
Entry = tuple[str, str, int]  # side, name, width


@dataclass
class Tables:
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
class InputPlan:
    """How the columns of the sides become the inputs of towers.

    Attributes
    ----------
    dim : int
        Width of ids and histories; of everything where inputs are summed.
    concatenates : bool
        Whether inputs lie side by side, or are summed.
    even : bool
        Every input has `dim` columns, whatever its column asks for.
    own_history : bool
        The history reads a table of its own and is the sum over the root of its length, as in SVD++; otherwise it shares the
        item side's tables.
    prefix : str
        Of the names of all tables, which keeps them apart from those of other towers.
    cure : str
        The option that puts inputs side by side, for messages.
    """

    dim: int
    concatenates: bool
    even: bool = False
    own_history: bool = False
    prefix: str = ""
    cure: str = "hidden=(128,)"

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
        if self.even:
            return self.dim
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
        if self.even:
            return self.dim
        if self.concatenates:
            return width or usual
        if width not in (None, self.dim):
            raise SchemaError(
                f"fit: column {column!r} has width {width}, but must have {self.dim} (dim), since columns are "
                f"summed{self._reason}; leave width out or pass {self.cure}"
            )
        return self.dim

    @property
    def _reason(self) -> str:
        return " without hidden layers" if self.cure.startswith("hidden") else ""

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

    # --- one tower ----------------------------------------------------------------------------------------------------

    def tower(
        self,
        side: Side,
        sides: Sides,
        tables: Tables,
        streams: Iterator[int],
        layers: Callable[[int], list[core.Layer]],
    ) -> core.Tower:
        """Make the tower of a side; `layers` says what stands on inputs of a width, and is asked last."""
        widths = self.widths(sides)
        is_query = side.name == "user"
        inputs, total = self._inputs(side, widths, tables)
        if is_query and sides.contexts is not None:
            more, width = self._inputs(sides.contexts, widths, tables)
            inputs, total = inputs + more, total + width
        sequences = []
        for number, part in enumerate(side.encoder.parts, start=side.first_column):
            if part.kind == "tokens":
                width = widths[side.name, part.name]
                table = tables.add(self._name(part_table(side, part)), part.size, width, part.column.column)
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
            layers=layers(joined),
        )

    def linear(self, side: Side, sides: Sides, tables: Tables) -> core.Tower:
        """Make the tower that adds up a number for each input but those read in order; `dim` is 1."""
        widths = self.widths(sides)
        inputs, _ = self._inputs(side, widths, tables)
        if side.name == "user" and sides.contexts is not None:
            inputs += self._inputs(sides.contexts, widths, tables)[0]
        return core.Tower(inputs=inputs, concatenate=False, width=self.dim, layers=[])

    def layout(self, side: Side, sides: Sides) -> list[Entry]:
        """Side, name and width of what lies side by side in a tower's vector."""
        widths = self.widths(sides)
        assert side.id is not None

        def entries(of: Side, *, tokens: bool) -> list[Entry]:
            parts = [part for part in of.encoder.parts if (part.kind == "tokens") == tokens]
            return [(of.name, part.name, widths[of.name, part.name]) for part in parts]

        found = [(str(side.name), side.id.column, widths[side.name, ""]), *entries(side, tokens=False)]
        if side.name == "user" and sides.contexts is not None:
            found += entries(sides.contexts, tokens=False)
        found += entries(side, tokens=True)
        if side.name == "user" and sides.history is not None:
            found.append((side.name, sides.history.column, self.dim))
        return found

    def arena_of_inputs(self, side: Side, sides: Sides) -> int:
        """How many numbers of the arena the inputs of a tower take; its layers begin behind them."""
        widths = self.widths(sides)
        reading = [side, sides.contexts] if side.name == "user" and sides.contexts is not None else [side]
        return sum(
            part.parameters(widths[own.name, part.name])
            for own in reading
            for part in own.encoder.parts
            if part.kind in ("numbers", "vectors")
        )

    def _inputs(self, side: Side, widths: Widths, tables: Tables) -> tuple[list[core.Input], int]:
        """One input a part that is no sequence, the id first, and their width side by side."""
        made, total = [], 0
        if side.id is not None:
            width = widths[side.name, ""]
            table = tables.add(self._name(id_table(side)), side.id_rows, width, side.id.column)
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
            made.append(self._input(side, part, number, width, tables))
            total += width
        return made, total

    def _history(self, sides: Sides, widths: Widths, tables: Tables, streams: Iterator[int]) -> core.SequenceInput:
        """The history shares the item side's tables; features of another width than `dim` and texts read in order are left out."""
        history, items = sides.history, sides.items
        assert history is not None
        assert items.id is not None
        elements = []
        if items.id.dropout != 1 and widths["item", ""] == self.dim:
            name = self._name(id_table(items), of_history=True)
            table = tables.add(name, items.id_rows, self.dim, items.id.column)
            elements.append(core.Input.embedding(0, table, self.dim))
        for number, part in enumerate(items.encoder.parts if history.features else (), start=1):
            if part.kind != "tokens" and widths["item", part.name] == self.dim:
                elements.append(self._input(items, part, number, self.dim, tables, of_history=True))
        if not elements:
            raise SchemaError(
                f"fit: {history!r} has nothing to read: items have neither ids nor features of width {self.dim} (dim); "
                "leave the widths out, or give items features"
            )
        return core.SequenceInput(None, elements, self._encoder(history, streams))

    def _encoder(self, history: History, streams: Iterator[int]) -> core.SequenceEncoder:
        if history.encoder in ("mean", "decay"):
            decay = 0.5 ** (1 / history.half_life) if history.encoder == "decay" else 1.0
            length = "root" if self.own_history else "unit" if history.normalize else "mean"
            return core.SequenceEncoder.mean(self.dim, decay, length)
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

    def _input(
        self, side: Side, part: Part, number: int, width: int, tables: Tables, *, of_history: bool = False
    ) -> core.Input:
        context = side.name == "context"
        if part.kind == "numbers":
            return core.Input.numeric(number, width, context=context)
        if part.kind == "vectors":
            if part.project or self.even:
                return core.Input.projection(number, part.size, width, context=context)
            return core.Input.given(number, width, context=context)
        name = self._name(part_table(side, part), of_history=of_history)
        table = tables.add(name, part.size, width, part.column.column)
        if part.kind == "bags":
            return core.Input.bag(number, table, width, part.pooling or "mean", context=context)
        return core.Input.embedding(number, table, width, context=context)

    def _name(self, table: str, *, of_history: bool = False) -> str:
        """Name of a table, apart from those of other towers."""
        own = "history." if of_history and self.own_history else ""
        return f"{self.prefix}{own}{table}"
