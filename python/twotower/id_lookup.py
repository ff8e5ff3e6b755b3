"""How ids are looked up among others: a table over a dense range of numbers, else a sorted search; and two sets as one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from twotower.errors import SchemaError
from twotower.ids import Array, IdColumn, IdType, comparable, objects

__all__ = ["Lookup", "Rows", "family_of", "flat", "joined", "sorted_distinct"]

Rows: TypeAlias = npt.NDArray[np.int32]

# Rows looked up at a time: the helper arrays of a block stay in the cache.
BLOCK = 1 << 16


def family_of(dtype: IdType) -> str:
    """Name the group of types whose ids are compared by value."""
    if dtype.kind == "datetime":
        return "aware datetime" if dtype.zone else "datetime"
    return "number" if dtype.kind in ("integer", "float") else dtype.kind


def flat(values: Array) -> Array:
    """Booleans as small integers, so that they can be searched like numbers."""
    return values.view(np.uint8) if values.dtype.kind == "b" else values


def _range(values: Array) -> int:
    return int(values[-1]) - int(values[0]) + 1


def _is_dense(span: int, count: int) -> bool:
    # A table costs 4 bytes a number in the range; at 16 to an id it is no larger than the ids' own memory times 8.
    return span <= 16 * count + 4096


def sorted_distinct(values: Array) -> Array:
    """Distinct numbers or times, ascending; without sorting where whole numbers lie densely."""
    if values.dtype.kind in "iu" and len(values):
        low, high = int(values.min()), int(values.max())
        if _is_dense(high - low + 1, len(values)):
            present = np.zeros(high - low + 1, dtype=np.bool_)
            for start in range(0, len(values), BLOCK):
                present[_offsets(values[start : start + BLOCK], low)] = True
            found = np.flatnonzero(present)
            base = np.uint64(low) if values.dtype.kind == "u" else np.int64(low)
            return (found.astype(base.dtype) + base).astype(values.dtype)
    return np.unique(values)


def _offsets(values: Array, low: int) -> Array:
    """Give values - low as array positions, without overflow for a dense range above low."""
    wide = values.astype(np.uint64 if values.dtype.kind == "u" else np.int64, copy=False)
    return (wide - wide.dtype.type(low)).astype(np.int64, copy=False)


class Lookup:
    """Rows of distinct numbers or times: a table over their range where that is dense, else a sorted search.

    Parameters
    ----------
    values : ndarray (m,)
        At least one; in any order.
    """

    def __init__(self, values: Array) -> None:
        self.values, self.order = values, None
        if not bool((values[1:] > values[:-1]).all()):  # ids that were added later
            self.order = np.argsort(values, kind="stable").astype(np.int32)
            self.values = values[self.order]
        self.table: Rows | None = None
        if values.dtype.kind in "iu" and _is_dense(_range(self.values), len(values)):
            # -1 for the numbers in between that are no ids
            self.table = np.full(_range(self.values), -1, dtype=np.int32)
            self.table[_offsets(values, int(self.values[0]))] = np.arange(len(values), dtype=np.int32)

    def find(self, query: Array) -> Rows:
        """Rows of a query of the same dtype, -1 for unknown."""
        values = self.values
        if self.table is not None:
            inside = (query >= values[0]) & (query <= values[-1])
            rows = self.table[_offsets(np.where(inside, query, values[0]), int(values[0]))]
            rows[~inside] = -1
            return rows
        places = np.searchsorted(values, query).astype(np.int32)
        places[places == len(values)] = 0
        rows = places if self.order is None else self.order[places]
        rows[values[places] != query] = -1
        return rows


def joined(old: IdColumn, new: IdColumn, what: str) -> IdColumn:
    """Put new ids after old ones, in a dtype that holds both.

    Parameters
    ----------
    old, new : IdColumn
        Distinct, without `rows` and without missing ids.
    what : str
        Start of a message.

    Raises
    ------
    SchemaError
        No dtype holds both.
    """
    mine, theirs = old.dtype, new.dtype
    if family_of(mine) != family_of(theirs) and mine.kind != "object":
        raise SchemaError(
            f"{what} holds {theirs.label} ids, but the fitted ids are {mine.label}; convert them to {mine.label}"
        )
    if old.values.dtype.kind == "O":
        levels = mine.levels and (*mine.levels, *(v for v in new.tolist() if v not in mine.levels))
        return IdColumn(objects([*old.values.tolist(), *new.tolist()]), replace(mine, levels=tuple(levels)))
    values, same = comparable(new.values, old.values.dtype)
    if same is None or same.all():
        return IdColumn(np.concatenate([old.values, values]), mine)
    wider: Any = (np.promote_types(old.values.dtype, new.values.dtype), np.dtype(np.int64), np.dtype(np.uint64))
    for dtype in wider:
        if dtype.kind == old.values.dtype.kind or {dtype.kind, old.values.dtype.kind} == {"i", "u"}:
            kept, (values, fits) = comparable(old.values, dtype), comparable(new.values, dtype)
            if (kept[1] is None or kept[1].all()) and (fits is None or fits.all()):
                name = np.datetime_data(dtype)[0] if dtype.kind == "M" else dtype.name
                return IdColumn(np.concatenate([kept[0], values]), replace(mine, name=name))
    raise SchemaError(
        f"{what} holds {theirs.label} ids that {mine.label}, the type of the fitted ids, cannot hold; "
        f"convert them to {mine.label}"
    )
