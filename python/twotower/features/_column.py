"""What the encoders of all kinds of columns have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from twotower import frames
from twotower.errors import DataError, SchemaError, count_of, first_five
from twotower.features._encoded import Encoded, Part
from twotower.ids import Array

if TYPE_CHECKING:
    from typing_extensions import Self

    from twotower.features._text import TextEncoder
    from twotower.vocabulary import Vocabulary

    Table: TypeAlias = Vocabulary | TextEncoder

__all__ = ["ColumnEncoder", "Seen", "Shared", "as_float32", "finite"]

# What the columns of one table name share: a Vocabulary, or a TextEncoder for texts.
Shared: TypeAlias = "Mapping[str, Table]"


@dataclass(frozen=True)
class Seen:
    """What `fit` saw of a column.

    Parameters
    ----------
    kind : str
        As `frames.kind_of` names it.
    dtype : str
    missing : float, 0 to 1
        Share of the rows without a value.
    """

    kind: str
    dtype: str
    missing: float

    @classmethod
    def of(cls, series: frames.Series, missing: float) -> Seen:
        """Describe a column; `missing` is the number of its rows without a value."""
        return cls(frames.kind_of(series), label_of(series), missing / max(len(series), 1))


class ColumnEncoder(ABC):
    """Base of the encoders: one a column, learned from a table, unchanged afterwards.

    Attributes
    ----------
    column : Column
    seen : Seen
    """

    # Kinds of values, as `frames.kind_of` names them, that this encoder reads.
    ACCEPTS: ClassVar[frozenset[str]]

    column: Any
    seen: Seen

    @classmethod
    @abstractmethod
    def fit(cls, frame: frames.Frame, column: Any, what: str, shared: Shared) -> Self:
        """Learn from a table; `shared` has the tables that columns share by name."""

    @property
    @abstractmethod
    def parts(self) -> tuple[Part, ...]:
        """What the column becomes."""

    @property
    def notes(self) -> Sequence[str]:
        """A remark for the schema on each of `parts`."""
        return [""] * len(self.parts)

    def encode(self, frame: frames.Frame, what: str) -> list[Encoded]:
        """Encode a table; one array for each of `parts`.

        Raises
        ------
        SchemaError
            The column is not there, or of another type than in `fit`.
        DataError
            Values that cannot be used.
        """
        series = frames.column(frame, self.column.column, what)
        if series.null_count() == len(series):  # whatever its dtype
            return [part.nothing(len(series)) for part in self.parts]
        kind, place = frames.kind_of(series), f"{what}: column {self.column.column!r}"
        if kind == "empty":
            return [part.nothing(len(series)) for part in self.parts]
        if kind not in self.accepts and self.seen.kind in self.accepts:
            raise drifted(place, label_of(series), self.seen.dtype)
        return self.encode_series(series, frame, place)

    @property
    def accepts(self) -> frozenset[str]:
        """`ACCEPTS`, or what the column's options leave of it."""
        return self.ACCEPTS

    @abstractmethod
    def encode_series(self, series: frames.Series, frame: frames.Frame, place: str) -> list[Encoded]:
        """Encode a column of a kind that is accepted; `frame` is where further columns come from."""

    def grown(self, frame: frames.Frame, what: str, shared: Shared) -> Self:
        """Learn the new values of a table; statistics stay."""
        return self

    @abstractmethod
    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """What was learned, as plain JSON and arrays."""

    @classmethod
    @abstractmethod
    def from_state(cls, column: Any, seen: Seen, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        """Undo `state`."""


def label_of(series: frames.Series) -> str:
    """Name a dtype, or what a column of Python objects holds."""
    name = str(series.dtype)
    return frames.kind_of(series) if name in ("Object", "Unknown") else name


def drifted(place: str, found: str, fitted: str) -> SchemaError:
    """Word that a column holds something else than in `fit`."""
    return SchemaError(f"{place} holds {found} values, but held {fitted} in fit; convert it to {fitted}")


def finite(values: Array, place: str) -> Array:
    """Refuse infinite numbers; gives the values back."""
    bad = np.flatnonzero(np.isinf(values))
    if bad.size:
        raise DataError(
            f"{place} is infinite in {count_of(bad.size, 'row')} (first: {first_five(bad.tolist())}); "
            "make these values finite or missing"
        )
    return values


def as_float32(values: Array, place: str) -> Array:
    """Convert finite numbers and NaN, refusing what becomes infinite."""
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    bad = np.flatnonzero(np.isinf(found))
    if bad.size:
        raise DataError(
            f"{place} is too large for float32 in {count_of(bad.size, 'row')} (first: {first_five(bad.tolist())}); "
            "divide the column by a power of ten"
        )
    return found
