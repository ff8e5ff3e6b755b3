"""From columns and options to the core's towers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from twotower import interactions, schema
from twotower._core import core
from twotower.errors import SchemaError
from twotower.features import Encoded, EncodedBags, EncodedCodes, EncodedNumbers, FeatureEncoder, Vocabulary
from twotower.models._estimator import State
from twotower.persistence import prefix, unprefix

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Side:
    """One side of the model: its entities' features, encoded once, in the order of its vocabulary.

    Attributes
    ----------
    name : {"user", "item"}
    rows : int
        Entities.
    encoder : FeatureEncoder
        What the table of the side taught; encodes further rows.
    encoded : list of Encoded
        The columns of `encoder`, one row an entity.
    fields : tuple of schema.Field
        Lines of the schema, the id and the columns left out included.
    """

    name: Literal["user", "item"]
    rows: int
    encoder: FeatureEncoder
    encoded: list[Encoded]
    fields: tuple[schema.Field, ...]

    @classmethod
    def read(
        cls, name: Literal["user", "item"], table: Any, features: Sequence[Any] | None, id_col: str, ids: Vocabulary
    ) -> Side:
        """Resolve and encode the features of a side; `table` may be None."""
        plural: schema.Side = "users" if name == "user" else "items"
        frame = None if table is None else interactions.align(table, id_col, ids, side=plural)
        resolved = schema.resolve(features, frame, id_col, side=plural)
        where = f"fit: {plural}"
        encoder = FeatureEncoder() if frame is None else FeatureEncoder.fit(frame, resolved.columns, where)
        encoded = [] if frame is None else encoder.transform(frame, where)
        fields = (
            schema.Field("Id", plural, id_col, ids.size, 0.0),
            *encoder.fields(plural),
            *(schema.Field("left out", plural, left.column, note=left.reason) for left in resolved.left_out),
        )
        return cls(name, ids.size, encoder, encoded, fields)

    def feature_table(self) -> core.FeatureTable:
        """Build the core's table: column 0 is the entity's own row, the features follow."""
        table = core.FeatureTable(self.rows)
        table.add_codes(np.arange(self.rows, dtype=np.int32), self.rows)
        for column in self.encoded:
            if isinstance(column, EncodedCodes):
                table.add_codes(column.codes, column.vocabulary_size)
            elif isinstance(column, EncodedBags):
                table.add_bags(column.offsets, column.codes, None, column.vocabulary_size)
            else:
                table.add_numbers(column.values)
        return table

    def inputs(self, tables: list[tuple[str, int, int]], dim: int, *, one_width: bool) -> tuple[list[core.Input], int]:
        """Describe one input a column, and their width side by side; appends the embeddings they need to `tables`.

        Raises
        ------
        SchemaError
            A column asks for a width of its own where all are summed (`one_width`).
        """
        tables.append((f"{self.name}_id", self.rows, dim))
        made, total = [core.Input.embedding(0, len(tables) - 1, dim)], dim
        for number, (column, encoded) in enumerate(zip(self.encoder.columns, self.encoded, strict=True), start=1):
            width = dim if isinstance(column, schema.Numeric) else (column.width or dim)
            if one_width and width != dim:
                raise SchemaError(
                    f"fit: column {column.column!r} has width {width}, but must have {dim} (dim), since columns are summed without "
                    "hidden layers; leave width out or pass hidden=(128,)"
                )
            total += width
            if isinstance(encoded, EncodedNumbers):
                made.append(core.Input.numeric(number, width))
                continue
            tables.append((f"{self.name}.{column.column}", encoded.vocabulary_size, width))
            if isinstance(encoded, EncodedBags):
                assert isinstance(column, schema.Categories)
                made.append(core.Input.bag(number, len(tables) - 1, width, column.pooling))
            else:
                made.append(core.Input.embedding(number, len(tables) - 1, width))
        return made, total

    # --- one file -----------------------------------------------------------------------------------------------------

    def state(self) -> State:
        """Plain JSON and arrays."""
        meta, encoder_arrays = self.encoder.state()
        arrays = prefix("encoder", encoder_arrays)
        for number, column in enumerate(self.encoded):
            if isinstance(column, EncodedNumbers):
                arrays[f"{number}.values"] = column.values
                continue
            arrays[f"{number}.codes"] = column.codes
            if isinstance(column, EncodedBags):
                arrays[f"{number}.offsets"] = column.offsets
        sizes = [getattr(column, "vocabulary_size", None) for column in self.encoded]
        return {
            "rows": self.rows,
            "encoder": meta,
            "sizes": sizes,
            "fields": schema.Schema(self.fields).to_meta(),
        }, arrays

    @classmethod
    def from_state(cls, name: Literal["user", "item"], meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> Side:
        """Undo `state`."""
        encoded: list[Encoded] = []
        for number, size in enumerate(meta["sizes"]):
            if size is None:
                encoded.append(EncodedNumbers(arrays[f"{number}.values"]))
            elif f"{number}.offsets" in arrays:
                encoded.append(EncodedBags(arrays[f"{number}.offsets"], arrays[f"{number}.codes"], size))
            else:
                encoded.append(EncodedCodes(arrays[f"{number}.codes"], size))
        encoder = FeatureEncoder.from_state(meta["encoder"], unprefix("encoder", arrays))
        return cls(name, meta["rows"], encoder, encoded, schema.Schema.from_meta(meta["fields"]).fields)


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

    def build(self, users: Side, items: Side) -> core.TwoTower:
        """Make the core's model with its first parameters."""
        tables: list[tuple[str, int, int]] = []
        towers = []
        for number, side in enumerate((users, items)):
            inputs, width = side.inputs(tables, self.dim, one_width=not self.hidden)
            layers = self._layers(width, first_stream=number * (len(self.hidden) + 1))
            joined = width if self.hidden else self.dim
            towers.append(core.Tower(inputs=inputs, concatenate=bool(self.hidden), width=joined, layers=layers))
        return core.TwoTower(
            query=towers[0],
            item=towers[1],
            tables=tables,
            temperature=self.temperature,
            item_bias=self.item_bias,
            num_items=items.rows,
            deviation=0.01,
            seed=self.seed,
        )

    def _layers(self, width: int, *, first_stream: int) -> list[core.Layer]:
        """Without hidden layers the inputs are summed; with them each is Dense, LayerNorm, activation, Dropout, and a Dense ends all.

        Dropout streams are numbered through both towers, from `first_stream` on here.
        """
        layers: list[core.Layer] = []
        for number, next_width in enumerate(self.hidden):
            layers.append(core.Layer.dense(width, next_width))
            if self.layer_norm:
                layers.append(core.Layer.layer_norm(next_width))
            layers.append(core.Layer.relu(next_width) if self.activation == "relu" else core.Layer.gelu(next_width))
            if self.dropout > 0:
                layers.append(core.Layer.dropout(next_width, 1 - self.dropout, first_stream + number))
            width = next_width
        if self.hidden:
            layers.append(core.Layer.dense(width, self.dim))
        elif self.dropout > 0:
            layers.append(core.Layer.dropout(self.dim, 1 - self.dropout, first_stream))
        if self.normalize:
            layers.append(core.Layer.l2_normalize(self.dim))
        return layers
