"""Lists as the columns of a table, filled a pass at a time: no Python object a row, and little beside what is given back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from twotower import frames
from twotower.ids import Array, IdColumn
from twotower.vocabulary import Vocabulary

__all__ = ["Listing"]


class Listing:
    """The lists of some owners as one table.

    Parameters
    ----------
    owners : str and IdColumn (n)
        Name and ids of those who have a list each.
    listed : str and Vocabulary
        Name and ids of what is in the lists.
    width : int
        Places a list, at most.
    frame_kind : str
        Library that the table will be of: ids that it takes as plain numbers are filled in as such, others as rows of the
        distinct ids, 4 bytes each, until it makes its own column of them.

    Notes
    -----
    Arrays of n x width places are asked for at once; those that no list fills are never touched, so they take no memory.
    """

    def __init__(
        self, owners: tuple[str, IdColumn], listed: tuple[str, Vocabulary], width: int, frame_kind: str
    ) -> None:
        (self._owner_col, self._owner_ids), (self._listed_col, vocabulary) = owners, listed
        self._listed_ids = vocabulary.ids
        plain = not self._owner_ids.missing_rows().size and frames.is_plain(frame_kind, self._owner_ids)
        self._owners = np.asarray(self._owner_ids) if plain else _codes(self._owner_ids)
        self._distinct = self._listed_ids.values if frames.is_plain(frame_kind, self._listed_ids) else None
        self._are_plain = (plain, self._distinct is not None)
        dtypes = (
            self._owners.dtype,
            np.int32 if self._distinct is None else self._distinct.dtype,
            np.float32,
            np.int32,
        )
        self._columns: list[Array] = [np.empty(len(self._owners) * width, dtype=dtype) for dtype in dtypes]
        self._filled = 0

    def add(self, first: int, rows: np.ndarray, scores: np.ndarray) -> None:
        """Put in the lists of the owners `first`, `first` + 1 and so on.

        Parameters
        ----------
        first : int
        rows, scores : int32 (m, width), float32 (m, width)
            Best first; row -1 in the places behind the end of a list.
        """
        # A list has its gaps at the end, so most passes are seen to have none by one column.
        there = None if rows.size == 0 or (rows[:, -1] >= 0).all() else rows >= 0
        start = self._filled
        self._filled += rows.size if there is None else int(np.count_nonzero(there))
        parts = (
            self._owners[first : first + len(rows), None],
            rows if self._distinct is None else self._distinct[rows],
            scores,
            np.arange(1, rows.shape[1] + 1, dtype=np.int32),
        )
        for column, part in zip(self._columns, parts, strict=True):
            places = column[start : self._filled]
            if there is None:
                places.reshape(rows.shape)[:] = part
            else:
                places[:] = np.broadcast_to(part, rows.shape)[there]

    def columns(self) -> dict[str, Array | IdColumn]:
        """Give the columns for `frames.build`: owner, listed, `score` float32, `rank` int32 (from 1)."""
        owners, listed, scores, ranks = (column[: self._filled] for column in self._columns)
        return {
            self._owner_col: owners if self._are_plain[0] else replace(self._owner_ids, rows=owners, missing=None),
            self._listed_col: listed if self._are_plain[1] else replace(self._listed_ids, rows=listed),
            "score": scores,
            "rank": ranks,
        }


def _codes(ids: IdColumn) -> np.ndarray:
    """Position of each id among `ids.values`, -1 where it is missing."""
    if ids.rows is not None:
        return ids.rows
    codes = np.arange(len(ids), dtype=np.int32)
    codes[ids.missing_rows()] = -1
    return codes
