"""What columns become: arrays that the core takes, and what each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from twotower.ids import Array
from twotower.schema import Column, Field, Side
from twotower.vocabulary import Rows

__all__ = [
    "Encoded",
    "EncodedBags",
    "EncodedCodes",
    "EncodedNumbers",
    "EncodedVectors",
    "Part",
    "default_width",
    "stacked",
]

Positions: TypeAlias = "npt.NDArray[np.integer[Any]]"


@dataclass(frozen=True, eq=False)
class EncodedCodes:
    """One code a row.

    Parameters
    ----------
    codes : int32 ndarray (n,)
        0 for missing or unknown, else 1 to vocabulary_size - 1.
    vocabulary_size : int
    """

    codes: Rows
    vocabulary_size: int

    def take(self, positions: Positions) -> EncodedCodes:
        """Pick rows by position (in range, any order, repeats allowed)."""
        return replace(self, codes=self.codes[positions])


@dataclass(frozen=True, eq=False)
class EncodedBags:
    """Any number of codes a row, at least one.

    Parameters
    ----------
    offsets : int64 ndarray (n + 1,)
        Row i has codes[offsets[i]:offsets[i + 1]].
    codes : int32 ndarray (offsets[n],)
        A row without a known value has the code 0 alone.
    vocabulary_size : int
    weights : float32 ndarray (offsets[n],), optional
        At least 0 and finite; None when all are 1.
    """

    offsets: npt.NDArray[np.int64]
    codes: Rows
    vocabulary_size: int
    weights: npt.NDArray[np.float32] | None = None

    def take(self, positions: Positions) -> EncodedBags:
        """Pick rows by position (in range, any order, repeats allowed)."""
        counts = np.diff(self.offsets)[positions]
        offsets = offsets_of(counts)
        picked = np.repeat(self.offsets[:-1][positions] - offsets[:-1], counts) + np.arange(offsets[-1])
        weights = None if self.weights is None else self.weights[picked]
        return EncodedBags(offsets, self.codes[picked], self.vocabulary_size, weights)


@dataclass(frozen=True, eq=False)
class EncodedNumbers:
    """One number a row.

    Parameters
    ----------
    values : float32 ndarray (n,)
        Scaled; NaN where missing, otherwise finite.
    """

    values: npt.NDArray[np.float32]

    def take(self, positions: Positions) -> EncodedNumbers:
        """Pick rows by position (in range, any order, repeats allowed)."""
        return EncodedNumbers(self.values[positions])


@dataclass(frozen=True, eq=False)
class EncodedVectors:
    """One vector a row.

    Parameters
    ----------
    values : float32 ndarray (n, width)
        NaN in the whole row where missing, otherwise finite.
    """

    values: npt.NDArray[np.float32]

    def take(self, positions: Positions) -> EncodedVectors:
        """Pick rows by position (in range, any order, repeats allowed)."""
        return EncodedVectors(self.values[positions])


Encoded: TypeAlias = EncodedCodes | EncodedBags | EncodedNumbers | EncodedVectors


@dataclass(frozen=True)
class Part:
    """One of the arrays that a column becomes; most columns become one.

    Parameters
    ----------
    name : str
        Unique within a side: the column, or the column and what was made of it, as in "timestamp.hour".
    column : Category, Categories, Numeric, Timestamp, Text or Vector
    kind : {"codes", "bags", "numbers", "vectors", "tokens"}
        What the core is to make of it. "tokens" are bags whose order counts.
    size : int
        Size of the vocabulary with code 0, width of the vectors, or 1 for numbers.
    table : str, optional
        Name of the table of vectors, where it is shared with other parts.
    width : int, optional
        Length of the vector that was asked for.
    pooling : {"mean", "sum", "sqrt"}, optional
        Of bags.
    project : bool
        False for vectors that are taken as they are.
    """

    name: str
    column: Column
    kind: Literal["codes", "bags", "numbers", "vectors", "tokens"]
    size: int
    table: str | None = None
    width: int | None = None
    pooling: Literal["mean", "sum", "sqrt"] | None = None
    project: bool = True

    def parameters(self, width: int) -> int:
        """Count the learned numbers that turn this part into vectors of a width."""
        if self.kind == "numbers":
            return 3 * width  # slope, intercept, missing
        if self.kind == "vectors":
            return (self.size + 2) * width if self.project else width
        return self.size * width

    def nothing(self, rows: int) -> Encoded:
        """Encode rows in which the column is missing."""
        if self.kind == "codes":
            return EncodedCodes(np.zeros(rows, dtype=np.int32), self.size)
        if self.kind == "numbers":
            return EncodedNumbers(np.full(rows, np.nan, dtype=np.float32))
        if self.kind == "vectors":
            return EncodedVectors(np.full((rows, self.size), np.nan, dtype=np.float32))
        return EncodedBags(np.arange(rows + 1, dtype=np.int64), np.zeros(rows, dtype=np.int32), self.size)

    def field(self, side: Side, missing: float, note: str, width: int | None) -> Field:
        """Make the line of a schema."""
        values = None if self.kind in ("numbers", "vectors") else self.size - 1
        if self.kind == "vectors":
            note = note or f"{self.size} numbers each"
        if self.table:
            note = f"{note}; shares {self.table!r}" if note else f"shares {self.table!r}"
        memory = None if width is None else 4 * self.parameters(width)
        return Field(self.column.kind, side, self.name, values, missing, note, width, memory)


def offsets_of(counts: Array) -> npt.NDArray[np.int64]:
    """Where each of n rows begins, and the end: int64 (n + 1,)."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def stacked(parts: Sequence[Any]) -> Any:
    """Put encoded rows of one part one below the other.

    Parameters
    ----------
    parts : sequence of EncodedCodes, EncodedBags, EncodedNumbers or EncodedVectors
        All of one class, at least one. Vocabularies may only have grown from one to the next.

    Returns
    -------
    Encoded
        With the vocabulary size of the last.
    """
    last = parts[-1]
    if isinstance(last, (EncodedNumbers, EncodedVectors)):
        return type(last)(np.concatenate([part.values for part in parts]))
    codes = np.concatenate([part.codes for part in parts])
    if isinstance(last, EncodedCodes):
        return EncodedCodes(codes, last.vocabulary_size)
    weights = None
    if any(part.weights is not None for part in parts):
        ones = (np.ones(len(p.codes), dtype=np.float32) if p.weights is None else p.weights for p in parts)
        weights = np.concatenate(list(ones))
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    return EncodedBags(offsets_of(counts), codes, last.vocabulary_size, weights)


def default_width(cardinality: int, dim: int) -> int:
    """Choose the length of the learned vectors of a column, where columns are joined side by side.

    Parameters
    ----------
    cardinality : int
        Different values.
    dim : int
        The most there can be.

    Returns
    -------
    int
        1.6 * cardinality ** 0.56 (the rule of fastai's tabular models), up to a multiple of 4; at least 4, at most
        `dim`.

    Examples
    --------
    >>> [default_width(n, 64) for n in (2, 21, 300, 10_000)]
    [4, 12, 40, 64]
    """
    return min(dim, max(4, -(-int(np.ceil(1.6 * max(cardinality, 1) ** 0.56)) // 4) * 4))
