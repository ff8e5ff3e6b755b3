"""One side of the model: whose ids have vectors of their own, and their features, encoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from twotower import schema
from twotower._core import core
from twotower.features import Encoded, EncodedBags, EncodedCodes, EncodedNumbers, FeatureEncoder
from twotower.frames import Frame
from twotower.models import _rows
from twotower.models._estimator import State
from twotower.persistence import prefix, unprefix

Array = np.ndarray
SideName = Literal["user", "item", "context"]
PLURAL: dict[str, schema.Side] = {"user": "users", "item": "items", "context": "context"}
# Of the ids, where a side has something else to go by and nothing was asked for.
ID_DROPOUT = 0.1


@dataclass(frozen=True, eq=False)
class Side:
    """One side of the model; the context of the interactions is a side without ids.

    Attributes
    ----------
    name : {"user", "item", "context"}
    rows : int
        Entities; of the context: interactions.
    id : schema.Id or None
    codes : int32 (rows,)
        What an entity's id is to the model: 0 unknown, otherwise a row of the table of ids. Empty in the context.
    id_rows : int
        Rows of that table.
    encoder : FeatureEncoder
        What the table of the side taught; encodes further rows.
    encoded : list of Encoded
        The parts of `encoder`, one row an entity; None where they are of no more use (of the context, after training).
    history : schema.History or None
        Only of users.
    left_out : tuple of schema.LeftOut
    """

    name: SideName
    rows: int
    id: schema.Id | None
    codes: Array
    id_rows: int
    encoder: FeatureEncoder
    encoded: Sequence[Encoded]
    history: schema.History | None = None
    left_out: tuple[schema.LeftOut, ...] = ()

    @classmethod
    def build(
        cls, name: SideName, resolved: schema.Resolved, encoder: FeatureEncoder, encoded: Sequence[Encoded], rows: int
    ) -> Side:
        """Make a side whose ids have no vectors of their own yet; see `with_ids`."""
        nobody = np.zeros(0 if name == "context" else rows, dtype=np.int32)
        own = None if name == "context" else resolved.id
        return cls(name, rows, own, nobody, 1, encoder, encoded, resolved.history, resolved.left_out)

    def with_ids(self, positives: Array) -> Side:
        """Give vectors of their own to the ids that have enough positives, (rows,), in training; who has one keeps it."""
        assert self.id is not None
        if self.id.dropout == 1:
            return self
        known = (positives >= self.id.min_count) | (self.codes > 0)
        codes = np.where(known, np.arange(1, self.rows + 1), 0).astype(np.int32)
        return replace(self, codes=codes, id_rows=self.rows + 1)

    @property
    def plural(self) -> schema.Side:
        return PLURAL[self.name]

    @property
    def unknown_share(self) -> float:
        """Share of the ids that training takes for unknown."""
        assert self.id is not None
        if self.id.dropout is not None:
            return 0.0 if self.id.dropout == 1 else float(self.id.dropout)
        return ID_DROPOUT if self.tells_strangers else 0.0

    @property
    def tells_strangers(self) -> bool:
        """Whether there is anything but the id to go by."""
        return bool(self.encoder.parts) or self.history is not None

    @property
    def first_column(self) -> int:
        """Column of the core's table at which the features begin: behind the id's, where there is one."""
        return 0 if self.name == "context" else 1

    # --- the core's tables --------------------------------------------------------------------------------------------

    def feature_table(self) -> core.FeatureTable:
        """Build the core's table of all rows."""
        return self.table_of(self.encoded, self.rows, self.codes)

    def table_of(self, encoded: Sequence[Encoded], rows: int, codes: Array | None = None) -> core.FeatureTable:
        """Build the core's table of some rows; without `codes` nobody among them is known by id."""
        table = core.FeatureTable(rows)
        if self.name != "context":
            table.add_codes(np.zeros(rows, dtype=np.int32) if codes is None else codes, self.id_rows)
        for column in encoded:
            if isinstance(column, EncodedCodes):
                table.add_codes(column.codes, column.vocabulary_size)
            elif isinstance(column, EncodedBags):
                table.add_bags(column.offsets, column.codes, column.weights, column.vocabulary_size)
            elif isinstance(column, EncodedNumbers):
                table.add_numbers(column.values)
            else:
                table.add_vectors(column.values)
        return table

    def missing(self, rows: int) -> list[Encoded]:
        """Rows of which nothing is known."""
        return [part.nothing(rows) for part in self.encoder.parts]

    def without(self, column: str, encoded: Sequence[Encoded], rows: int, order: Array | None) -> list[Encoded]:
        """Take a column out of `rows` encoded rows: its values change places by `order`, (rows,), or are missing for all."""
        return [
            values if part.column.column != column else part.nothing(rows) if order is None else values.take(order)
            for part, values in zip(self.encoder.parts, encoded, strict=True)
        ]

    def token_tables(self) -> list[core.FeatureTable]:
        """One table a text that is read in order: its tokens, each in its own row."""
        tables = []
        for part in self.encoder.parts:
            if part.kind == "tokens":
                tables.append(core.FeatureTable(part.size))
                tables[-1].add_codes(np.arange(part.size, dtype=np.int32), part.size)
        return tables

    @property
    def nbytes(self) -> int:
        """Memory of the encoded rows."""
        return self.codes.nbytes + sum(array.nbytes for c in self.encoded for array in _rows.arrays(c).values())

    # --- growth -------------------------------------------------------------------------------------------------------

    def encode(self, frame: Frame, where: str) -> list[Encoded]:
        """Encode further rows of the table, "recommend: users" for instance; a column that is not there is an error."""
        return self.encoder.transform(frame, where)

    def grown(self, encoder: FeatureEncoder, encoded: Sequence[Encoded], rows: Array, total: int) -> Side:
        """Take what is known of further rows, and of old ones anew; new ids have no vectors of their own.

        Parameters
        ----------
        encoder : FeatureEncoder
            The same, or grown.
        encoded : sequence of Encoded (m rows)
        rows : int (m,)
            Which rows they are; all from `self.rows` on must be among them where the side has features.
        total : int
            Rows from now on.
        """
        old = [_rows.resized(column, part) for column, part in zip(self.encoded, encoder.parts, strict=True)]
        codes = np.concatenate([self.codes, np.zeros(total - self.rows, dtype=np.int32)])
        return replace(self, rows=total, codes=codes, encoder=encoder, encoded=_rows.put(old, encoded, rows, total))

    def take(self, rows: Array) -> Side:
        """Pick rows; one may be there several times."""
        encoded = [column.take(rows) for column in self.encoded]
        return replace(self, rows=len(rows), codes=self.codes[rows], encoded=encoded)

    # --- one file -----------------------------------------------------------------------------------------------------

    def state(self) -> State:
        """Plain JSON and arrays."""
        meta, encoder_arrays = self.encoder.state()
        arrays = prefix("encoder", encoder_arrays) | {"codes": self.codes}
        for number, column in enumerate(self.encoded):
            arrays |= prefix(str(number), _rows.arrays(column))
        return {
            "rows": self.rows,
            "id": None if self.id is None else schema.column_to_meta(self.id),
            "id_rows": self.id_rows,
            "encoder": meta,
            "history": None if self.history is None else schema.column_to_meta(self.history),
            "left_out": [[left.column, left.reason] for left in self.left_out],
        }, arrays

    @classmethod
    def from_state(cls, name: SideName, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> Side:
        """Undo `state`."""
        encoder = FeatureEncoder.from_state(meta["encoder"], unprefix("encoder", arrays))
        encoded = [
            _rows.from_arrays(part, unprefix(str(number), arrays))
            for number, part in enumerate(encoder.parts)
            if meta["rows"] or name != "context"
        ]
        return cls(
            name,
            meta["rows"],
            None if meta["id"] is None else schema.column_from_meta(meta["id"]),
            arrays["codes"],
            meta["id_rows"],
            encoder,
            encoded,
            None if meta["history"] is None else schema.column_from_meta(meta["history"]),
            tuple(schema.LeftOut(*left) for left in meta["left_out"]),
        )


@dataclass(frozen=True, eq=False)
class Sides:
    """All that the towers read: users, items, and the context of an interaction where it has features."""

    users: Side
    items: Side
    contexts: Side | None = None

    def __iter__(self) -> Any:
        return iter([side for side in (self.users, self.items, self.contexts) if side is not None])

    @property
    def history(self) -> schema.History | None:
        return self.users.history

    def without_training_rows(self) -> Sides:
        """Drop the contexts of the interactions; how they are encoded stays."""
        if self.contexts is None:
            return self
        return replace(self, contexts=replace(self.contexts, rows=0, encoded=()))
