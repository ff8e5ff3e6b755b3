"""All feature columns of a side, learned from its table, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twotower import frames, persistence
from twotower.errors import DataError, SchemaError
from twotower.features._categories import BagEncoder, CategoryEncoder, values_of, vocabulary_of
from twotower.features._column import ColumnEncoder, Seen, Shared
from twotower.features._encoded import Encoded, Part
from twotower.features._numbers import NumberEncoder
from twotower.features._text import TextEncoder
from twotower.features._times import TimeEncoder
from twotower.features._vectors import VectorEncoder
from twotower.features._words import WordEncoder, texts_of
from twotower.ids import Array
from twotower.schema import (
    Categories,
    Category,
    Column,
    Field,
    Numeric,
    Side,
    Text,
    Timestamp,
    Vector,
    column_from_meta,
    column_to_meta,
)
from twotower.vocabulary import Vocabulary

__all__ = ["FeatureEncoder", "grown_shared", "shared_vocabularies"]


@dataclass(frozen=True)
class FeatureEncoder:
    """The feature columns of one side, learned from its table.

    Made by `fit`, `grown` or `from_state`; does not change afterwards.

    Examples
    --------
    >>> import pandas as pd
    >>> people = frames.table(pd.DataFrame({"age": [20.0, 40.0, None], "job": ["cook", None, "nurse"]}), "people")
    >>> encoder = FeatureEncoder.fit(people, [Numeric("age"), Category("job")], "people")
    >>> age, job = encoder.transform(people, "people")
    >>> age.values.tolist(), job.codes.tolist(), job.vocabulary_size
    ([-1.0, 1.0, nan], [1, 0, 2], 3)
    """

    columns: tuple[Column, ...] = ()
    _encoders: tuple[ColumnEncoder, ...] = field(default=(), repr=False)

    @classmethod
    def fit(
        cls, frame: frames.Frame, columns: Sequence[Column], what: str, shared: Shared | None = None
    ) -> FeatureEncoder:
        """Learn vocabularies and statistics.

        Parameters
        ----------
        frame : narwhals.DataFrame (n rows)
            One row a user or item, at least one.
        columns : sequence of Category, Categories, Numeric, Timestamp, Text or Vector
        what : str
            Start of a message, such as "fit: users".
        shared : mapping of table name to Vocabulary or TextEncoder, optional
            For columns with a `table`, as `shared_vocabularies` makes it of all sides. None learns them from this table
            alone.

        Raises
        ------
        SchemaError
            A column is not there, or its dtype does not fit its kind.
        DataError
            An infinite value, vectors of several lengths or with NaN, lists and weights of different lengths.

        Notes
        -----
        The deviation is that of the rows with a value, divided by their number (not one less). A column of one value,
        or without any, is only shifted: its mean becomes zero.
        """
        if shared is None:
            shared = shared_vocabularies([(frame, columns, what)])
        return cls(tuple(columns), tuple(_ENCODERS[type(c)].fit(frame, c, what, shared) for c in columns))

    def with_vectors(self, column: Vector, width: int) -> FeatureEncoder:
        """Add a column of vectors that no table holds."""
        encoder = VectorEncoder(column, Seen("list", "float32", 0.0), width)
        return FeatureEncoder((*self.columns, column), (*self._encoders, encoder))

    @property
    def parts(self) -> tuple[Part, ...]:
        """What `transform` gives, in its order: most columns become one array, a Timestamp several."""
        return tuple(part for encoder in self._encoders for part in encoder.parts)

    @property
    def encoders(self) -> tuple[ColumnEncoder, ...]:
        """What was learned of each of `columns`."""
        return self._encoders

    @property
    def shared(self) -> dict[str, Any]:
        """The Vocabulary or TextEncoder of every table that columns share by name."""
        found: dict[str, Any] = {}
        for encoder in self._encoders:
            if isinstance(encoder, WordEncoder) and encoder.column.table is not None:
                found[encoder.column.table] = encoder.encoder
            elif isinstance(encoder, (CategoryEncoder, BagEncoder)) and encoder.column.table is not None:
                found[encoder.column.table] = encoder.vocabulary
        return found

    def transform(self, frame: frames.Frame, what: str) -> list[Encoded]:
        """Encode a table, also of rows that `fit` never saw.

        Parameters
        ----------
        frame : narwhals.DataFrame (n rows)
            Further columns are passed over. A column that is missing in every row may have any dtype.
        what : str
            Start of a message.

        Returns
        -------
        list of EncodedCodes, EncodedBags, EncodedNumbers or EncodedVectors
            In the order of `parts`.

        Raises
        ------
        SchemaError
            A column is not there, or of another type than in `fit`.
        DataError
            An infinite value, or one too large for float32 after scaling; vectors of another length or with NaN; lists
            and weights of different lengths.
        """
        return [encoded for encoder in self._encoders for encoded in encoder.encode(frame, what)]

    def at(self, seconds: float, rows: int = 1) -> list[Encoded]:
        """Encode rows of which nothing is known but the time.

        Parameters
        ----------
        seconds : float
            Since 1970 in UTC; what every Timestamp column holds. NaN: that is missing too.
        rows : int

        Returns
        -------
        list of Encoded
            In the order of `parts`; every other column is missing.
        """
        made: list[Encoded] = []
        for encoder in self._encoders:
            if isinstance(encoder, TimeEncoder) and not np.isnan(seconds):
                made += encoder.encode_seconds(np.full(rows, int(seconds // 1), dtype=np.int64), None)
            else:
                made += [part.nothing(rows) for part in encoder.parts]
        return made

    def apart(self) -> list[FeatureEncoder]:
        """Give an encoder for each of `columns`."""
        return [FeatureEncoder((c,), (e,)) for c, e in zip(self.columns, self._encoders, strict=True)]

    def grown(self, frame: frames.Frame, what: str, shared: Shared | None = None) -> FeatureEncoder:
        """Learn the values of a table that are new; what is known keeps its codes, and statistics stay.

        Parameters
        ----------
        frame : narwhals.DataFrame
            With all columns.
        what : str
            Start of a message.
        shared : mapping of table name to Vocabulary or TextEncoder, optional
            As `grown_shared` makes it of all sides. None grows them by this table alone.

        Returns
        -------
        FeatureEncoder
            New values have the codes after the known ones; those in fewer than `min_count` rows of this table stay
            unknown.
        """
        if shared is None:
            shared = grown_shared(self.shared, [(self, frame, what)])
        return FeatureEncoder(self.columns, tuple(e.grown(frame, what, shared) for e in self._encoders))

    def fields(self, side: Side, widths: Mapping[str, int] | None = None) -> list[Field]:
        """Lines for `schema.Schema`, in the order of `parts`.

        Parameters
        ----------
        side : {"users", "items", "context"}
        widths : mapping of part name to int, optional
            Length of the vector that a part becomes; with it the line says how much memory its parameters take.
        """
        known = widths or {}
        return [
            part.field(side, encoder.seen.missing, note, known.get(part.name))
            for encoder in self._encoders
            for part, note in zip(encoder.parts, encoder.notes, strict=True)
        ]

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Plain JSON and arrays, for `persistence.write`."""
        parts: list[dict[str, Any]] = []
        arrays: dict[str, Array] = {}
        for number, encoder in enumerate(self._encoders):
            learned, found = encoder.state()
            seen = {"kind": encoder.seen.kind, "dtype": encoder.seen.dtype, "missing": encoder.seen.missing}
            parts.append({"column": column_to_meta(encoder.column), "seen": seen, "learned": learned})
            arrays |= persistence.prefix(str(number), found)
        return {"columns": parts}, arrays

    @classmethod
    def from_state(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> FeatureEncoder:
        """Undo `state`; DataError where the parts do not fit together."""
        encoders: list[ColumnEncoder] = []
        try:
            for number, part in enumerate(meta["columns"]):
                own = persistence.unprefix(str(number), arrays)
                column, seen = column_from_meta(part["column"]), Seen(**part["seen"])
                encoders.append(_ENCODERS[type(column)].from_state(column, seen, part["learned"], own))
        except (KeyError, TypeError, ValueError, SchemaError) as error:
            raise DataError(
                f"load: the features in the file do not fit together ({error!r}); save the model again"
            ) from error
        return cls(tuple(encoder.column for encoder in encoders), tuple(encoders))


def shared_vocabularies(
    sides: Sequence[tuple[frames.Frame, Sequence[Column], str]], known: Shared | None = None
) -> dict[str, Any]:
    """Learn what columns share by the name of their table, over all sides.

    Parameters
    ----------
    sides : sequence of (frame, columns, what)
        As `FeatureEncoder.fit` takes them.
    known : mapping of table name to Vocabulary, optional
        Tables that are settled: the ids of a side, where its `Id` has a table.

    Returns
    -------
    dict of table name to Vocabulary or TextEncoder
        Those of `known` among them. Values count over all columns; where columns differ in `min_count` the largest is
        taken.

    Raises
    ------
    SchemaError
        Text shares with something else, or columns of different types with each other.
    """
    tables: dict[str, list[tuple[frames.Frame, Any, str]]] = {}
    for frame, columns, what in sides:
        for column in columns:
            table = getattr(column, "table", None)
            if table is not None:
                tables.setdefault(table, []).append((frame, column, what))
    found: dict[str, Any] = dict(known or {})
    for table, users in tables.items():
        columns = [column for _, column, _ in users]
        is_text = [isinstance(column, Text) for column in columns]
        if any(is_text) != all(is_text) or (all(is_text) and isinstance(found.get(table), Vocabulary)):
            other = columns[is_text.index(not is_text[0])] if any(is_text) != all(is_text) else "the ids of a side"
            raise SchemaError(
                f"fit: table {table!r} is shared by {columns[0]!r} and {other}, but text shares only with text; "
                "give one of them another table"
            )
        if table in found:
            continue
        found[table] = _learn_text(users) if all(is_text) else _learn_values(users)
    return found


def grown_shared(
    shared: Shared, sides: Sequence[tuple[FeatureEncoder, frames.Frame, str]], known: Shared | None = None
) -> dict[str, Any]:
    """Extend what columns share by the new values of all sides; what is known keeps its codes.

    Parameters
    ----------
    shared : mapping of table name to Vocabulary or TextEncoder
        As they were.
    sides : sequence of (encoder, frame, what)
        The tables with new values.
    known : mapping of table name to Vocabulary, optional
        Tables that are settled, already extended.
    """
    found: dict[str, Any] = {**shared, **(known or {})}
    for encoder, frame, what in sides:
        for column in encoder.columns:
            table: str | None = getattr(column, "table", None)
            if table is None or table in (known or {}):
                continue
            place = f"{what}: column {column.column!r}"
            if isinstance(column, Text):
                found[table] = found[table].grown(*frames.texts(frames.column(frame, column.column, what), place))
            elif isinstance(column, (Category, Categories)):
                found[table] = found[table].extended(values_of(frame, column, what)[1], place, missing="skip")
    return found


def _learn_values(users: Sequence[tuple[frames.Frame, Any, str]]) -> Vocabulary:
    values = [values_of(frame, column, what)[1] for frame, column, what in users]
    places = [f"{what}: column {column.column!r}" for _, column, what in users]
    return vocabulary_of(values, places, max(column.min_count for _, column, _ in users))[0]


def _learn_text(users: Sequence[tuple[frames.Frame, Any, str]]) -> TextEncoder:
    return TextEncoder.fit(*frames.join_texts([texts_of(*user) for user in users]), users[0][1])


_ENCODERS: dict[type, type[ColumnEncoder]] = {
    Category: CategoryEncoder,
    Categories: BagEncoder,
    Numeric: NumberEncoder,
    Timestamp: TimeEncoder,
    Text: WordEncoder,
    Vector: VectorEncoder,
}
