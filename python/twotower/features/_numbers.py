"""Quantities: scaled, or cut into buckets at their quantiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from twotower import frames
from twotower.features._column import ColumnEncoder, Seen, Shared, as_float32, finite
from twotower.features._encoded import Encoded, EncodedCodes, EncodedNumbers, Part
from twotower.ids import Array
from twotower.schema import Numeric

__all__ = ["NumberEncoder", "bucket_codes", "bucket_edges", "center_and_spread"]


@dataclass(frozen=True, eq=False)
class NumberEncoder(ColumnEncoder):
    """A column of quantities.

    Parameters
    ----------
    column : Numeric
    seen : Seen
    note : str
        Their range.
    mean, deviation : float
        What is taken off, and divided by.
    edges : float64 ndarray (buckets - 1,), optional
        Where the buckets begin, ascending, but for the first.
    """

    ACCEPTS = frozenset({"integer", "float", "boolean", "decimal"})

    column: Numeric
    seen: Seen
    note: str = ""
    mean: float = 0.0
    deviation: float = 1.0
    edges: npt.NDArray[np.float64] | None = None

    @classmethod
    def fit(cls, frame: frames.Frame, column: Numeric, what: str, shared: Shared) -> NumberEncoder:
        """Learn scale or buckets from a table."""
        place = f"{what}: column {column.column!r}"
        series = frames.column(frame, column.column, what)
        values = finite(frames.numbers(series, place), place)
        present = values[~np.isnan(values)]
        seen = Seen.of(series, values.size - present.size)
        if present.size == 0:
            edges = None if column.buckets is None else np.empty(0)
            return cls(column, seen, "no value in any row", edges=edges)
        low, high = float(present.min()), float(present.max())
        note = f"{low:.6g} to {high:.6g}"
        if column.buckets is not None:
            return cls(column, seen, note, edges=bucket_edges(present, column.buckets))
        if column.scale == "none":
            return cls(column, seen, f"{note}, not scaled")
        if low == high:
            return cls(column, seen, f"always {low:.6g}, becomes 0", float(_logged(present, column)[0]), 1.0)
        if column.scale == "log":
            note = f"{note}, logarithm"
        return cls(column, seen, note, *center_and_spread(_logged(present, column)))

    @property
    def parts(self) -> tuple[Part, ...]:
        """One."""
        name, width = self.column.column, self.column.width
        if self.edges is None:
            return (Part(name, self.column, "numbers", 1, width=width),)
        return (Part(name, self.column, "codes", len(self.edges) + 2, width=width),)

    @property
    def notes(self) -> list[str]:
        """The range that `fit` saw."""
        return [self.note]

    def encode_series(self, series: frames.Series, frame: frames.Frame, place: str) -> list[Encoded]:
        """Scale, or find the bucket."""
        values = finite(frames.numbers(series, place), place)
        if self.edges is not None:
            return [EncodedCodes(bucket_codes(values, self.edges, np.isnan(values)), len(self.edges) + 2)]
        scaled = _logged(values, self.column)
        scaled -= self.mean
        with np.errstate(over="ignore"):
            scaled /= self.deviation
        return [EncodedNumbers(as_float32(scaled, place))]

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The scale, or the edges."""
        if self.edges is not None:
            return {"note": self.note}, {"edges": self.edges}
        return {"note": self.note}, {"scale": np.array([self.mean, self.deviation])}

    @classmethod
    def from_state(
        cls, column: Numeric, seen: Seen, meta: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> NumberEncoder:
        """Undo `state`."""
        if column.buckets is not None:
            return cls(column, seen, meta["note"], edges=arrays["edges"])
        mean, deviation = arrays["scale"].tolist()
        return cls(column, seen, meta["note"], mean, deviation)


def _logged(values: Array, column: Numeric) -> Array:
    """A copy of the values, or their logarithms with the sign kept."""
    return np.copysign(np.log1p(np.abs(values)), values) if column.scale == "log" else values.copy()


def center_and_spread(present: Array) -> tuple[float, float]:
    """Mean and standard deviation (divided by n) of finite numbers, also of huge and tiny ones; 1 in place of 0."""
    # A power of two takes them to about 1 without changing a digit; their squares stay finite.
    power = int(np.frexp(np.abs(present).max())[1])
    near = np.ldexp(present, -power)
    mean, deviation = np.ldexp(near.mean(), power), np.ldexp(near.std(), power)
    return float(mean), float(deviation) or 1.0


def bucket_edges(present: Array, buckets: int) -> Array:
    """Where buckets of about equal size begin.

    Parameters
    ----------
    present : ndarray (n,)
        Numbers of any dtype, at least one, none missing.
    buckets : int, at least 1

    Returns
    -------
    ndarray (at most buckets - 1,)
        Ascending values of `present`, each the least of its bucket; the first bucket has no edge. Quantiles that fall on
        one value give one edge, and no bucket is empty. With as few different values as buckets each has its own.
    """
    ordered = np.sort(present)
    starts = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    distinct = ordered[starts] if starts.sum() <= buckets else None
    edges = ordered[np.arange(1, buckets) * len(ordered) // buckets] if distinct is None else distinct[1:]
    return np.unique(edges[edges > ordered[0]])


def bucket_codes(values: Array, edges: Array, missing: Array) -> npt.NDArray[np.int32]:
    """Number of each value's bucket from 1; 0 where `missing`. Values beyond the edges fall into the first or the last."""
    codes = np.searchsorted(edges, values, side="right").astype(np.int32)
    codes += 1
    codes[missing] = 0
    return codes
