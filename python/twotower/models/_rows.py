"""Encoded columns row by row: put some in the place of others, keep them in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import numpy as np

from twotower.features import Encoded, EncodedBags, EncodedCodes, EncodedNumbers, EncodedVectors, Part, stacked

Array = np.ndarray


def put(columns: Sequence[Encoded], others: Sequence[Encoded], rows: Array, total: int) -> list[Encoded]:
    """Row i of `others` at row rows[i]; rows from the end of `columns` to `total` must all be among them."""
    found: list[Encoded] = []
    for column, other in zip(columns, others, strict=True):
        size = length(column)
        source = np.arange(total)
        source[rows] = size + np.arange(len(rows))
        both: Encoded = stacked([column, other])
        found.append(both.take(source))
    return found


def resized(column: Encoded, part: Part) -> Encoded:
    """The same codes out of a vocabulary that has grown."""
    if isinstance(column, (EncodedCodes, EncodedBags)):
        return replace(column, vocabulary_size=part.size)
    return column


def length(column: Encoded) -> int:
    if isinstance(column, EncodedCodes):
        return len(column.codes)
    return len(column.offsets) - 1 if isinstance(column, EncodedBags) else len(column.values)


def distinct(columns: Sequence[Encoded], rows: int) -> tuple[Array, Array]:
    """Find the rows that differ.

    Parameters
    ----------
    columns : sequence of Encoded (n rows)
    rows : int
        n.

    Returns
    -------
    first, of_row : int64 (m,), int64 (n,)
        Positions of different rows, and which of them each row is. Where a column has lists every row is one of its own: to
        compare them would cost more than it saves.
    """
    found = np.zeros(rows, dtype=np.int64)
    for column in columns:
        if isinstance(column, EncodedBags):
            return np.arange(rows), np.arange(rows)
        values = column.codes if isinstance(column, EncodedCodes) else column.values
        # As bits, so that a missing number is like another.
        codes = np.unique(values.view(np.int32), axis=0, return_inverse=True)[1].reshape(-1)
        found = np.unique(found * (int(codes.max(initial=0)) + 1) + codes, return_inverse=True)[1]
    first = np.unique(found, return_index=True)[1]
    return first, found


def arrays(column: Encoded) -> dict[str, Array]:
    """The arrays of a column by name."""
    values = {field.name: getattr(column, field.name) for field in fields(column)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def from_arrays(part: Part, found: Mapping[str, Array]) -> Encoded:
    """Undo `arrays`."""
    if part.kind == "codes":
        return EncodedCodes(found["codes"], part.size)
    if part.kind in ("bags", "tokens"):
        return EncodedBags(found["offsets"], found["codes"], part.size, found.get("weights"))
    return EncodedNumbers(found["values"]) if part.kind == "numbers" else EncodedVectors(found["values"])
