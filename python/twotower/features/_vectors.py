"""Vectors from elsewhere, as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from twotower import frame_lists, frames
from twotower.errors import DataError, SchemaError
from twotower.features._column import ColumnEncoder, Seen, Shared
from twotower.features._encoded import Encoded, EncodedVectors, Part
from twotower.ids import Array
from twotower.schema import Vector

__all__ = ["VectorEncoder"]


@dataclass(frozen=True, eq=False)
class VectorEncoder(ColumnEncoder):
    """A column of float vectors.

    Parameters
    ----------
    column : Vector
    seen : Seen
    width : int
        Length of each.
    """

    ACCEPTS = frozenset({"list"})

    column: Vector
    seen: Seen
    width: int

    @classmethod
    def fit(cls, frame: frames.Frame, column: Vector, what: str, shared: Shared) -> VectorEncoder:
        """Learn the length."""
        place = f"{what}: column {column.column!r}"
        series = frames.column(frame, column.column, what)
        kind = frames.kind_of(series)
        if kind not in ("list", "empty"):
            raise SchemaError(
                f"{place} holds {kind} values ({series.dtype}), but must hold lists of numbers; use Numeric"
            )
        values = np.empty((0, 0)) if kind == "empty" else frame_lists.matrix(series, place)
        if values.shape[1] == 0:
            raise DataError(f"{place} has no vector in any row, so that its length is unknown; leave the column out")
        return cls(column, Seen.of(series, int(np.isnan(values[:, 0]).sum())), values.shape[1])

    @property
    def parts(self) -> tuple[Part, ...]:
        """One."""
        column = self.column
        return (Part(column.column, column, "vectors", self.width, width=column.width, project=column.project),)

    def encode_series(self, series: frames.Series, frame: frames.Frame, place: str) -> list[Encoded]:
        """Read vectors of the length that `fit` saw."""
        values = frame_lists.matrix(series, place)
        if values.shape[1] not in (0, self.width):
            raise DataError(
                f"{place} has vectors of {values.shape[1]} numbers, but had {self.width} in fit; make them as in fit"
            )
        if values.shape[1] == 0:
            return [self.parts[0].nothing(len(values))]
        return [EncodedVectors(values)]

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The length."""
        return {"width": self.width}, {}

    @classmethod
    def from_state(
        cls, column: Vector, seen: Seen, meta: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> VectorEncoder:
        """Undo `state`."""
        return cls(column, seen, int(meta["width"]))
