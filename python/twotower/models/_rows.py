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
