"""Matrices of few values a row, as a model keeps them: arrays for copies and files, the core's rows to work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from twotower._core import core
from twotower.interactions import Encoded
from twotower.persistence import prefix, unprefix

__all__ = ["Sparse", "positives"]


@dataclass(frozen=True, eq=False)
class Sparse:
    """A matrix.

    Parameters
    ----------
    offsets : int64 ndarray (rows + 1,)
        Row i has the values offsets[i] to offsets[i + 1].
    columns : int32 ndarray
    values : float32 ndarray
    num_columns : int
    """

    offsets: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    num_columns: int

    @classmethod
    def of(cls, rows: core.SparseRows) -> Sparse:
        """Take over the core's rows."""
        made = cls(rows.offsets, rows.columns, rows.values, rows.num_columns)
        made.__dict__["rows"] = rows
        return made

    @cached_property
    def rows(self) -> core.SparseRows:
        """The core's rows."""
        return core.SparseRows(self.offsets, self.columns, self.values, self.num_columns)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the core's rows, which are made again from the arrays."""
        return {name: value for name, value in self.__dict__.items() if name != "rows"}

    def state(self, name: str) -> dict[str, np.ndarray]:
        """Arrays for a file, their names beginning with `name`."""
        width = np.array([self.num_columns], dtype=np.int64)
        parts = {"offsets": self.offsets, "columns": self.columns, "values": self.values, "width": width}
        return prefix(name, parts)

    @classmethod
    def from_state(cls, name: str, arrays: Mapping[str, np.ndarray]) -> Sparse:
        """Undo `state`."""
        parts = unprefix(name, arrays)
        made = cls(parts["offsets"], parts["columns"], parts["values"], int(parts["width"][0]))
        assert made.rows.num_columns == made.num_columns  # the core checks the arrays
        return made


def positives(pairs: Encoded, factors: np.ndarray | None = None) -> core.SparseRows:
    """Make a row a user of the positive examples, (users, items), in the order of the table.

    Parameters
    ----------
    pairs : Encoded (n)
    factors : float32 (n,), optional
        What the weights are multiplied by.
    """
    weights = pairs.weights
    kept = np.arange(len(pairs)) if weights is None else np.flatnonzero(weights > 0)
    if factors is not None:
        weights = factors if weights is None else weights * factors
    return core.SparseRows.of_pairs(
        pairs.user_rows[kept],
        pairs.item_rows[kept],
        None if weights is None else weights[kept].astype(np.float32),
        pairs.users.size,
        pairs.items.size,
    )
