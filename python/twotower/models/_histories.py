"""What users had before: the lists behind a `History` column, from the interactions or from a column of lists."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from twotower import frames
from twotower.errors import DataError, SchemaError, count_of, first_five
from twotower.schema import History
from twotower.vocabulary import Vocabulary

Array = np.ndarray
CoreLists = tuple[Array, Array, Array | None]


@dataclass(frozen=True, eq=False)
class Histories:
    """One list of item rows a user, oldest first.

    Attributes
    ----------
    offsets : int64 (n + 1,)
    items : int32
    weights : float32 or None
        As `items`; None where every item counts the same.
    """

    offsets: Array
    items: Array
    weights: Array | None = None

    @classmethod
    def empty(cls, rows: int) -> Histories:
        return cls(np.zeros(rows + 1, dtype=np.int64), np.empty(0, dtype=np.int32))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def core(self) -> CoreLists:
        """The form in which the core takes them."""
        return self.offsets, self.items, self.weights

    @property
    def nbytes(self) -> int:
        return self.offsets.nbytes + self.items.nbytes + (0 if self.weights is None else self.weights.nbytes)

    def take(self, rows: Array) -> Histories:
        """Pick lists by row (in range, repeats allowed); a negative row is an empty list."""
        rows = np.asarray(rows, dtype=np.int64)
        there = np.maximum(rows, 0)
        counts = np.where(rows < 0, 0, self.offsets[there + 1] - self.offsets[there]) if len(self) else 0 * rows
        return self._places(self.offsets[there] if len(self) else 0 * rows, counts)

    def newest(self, length: int) -> Histories:
        """Keep at most the last `length` items of each."""
        counts = np.minimum(np.diff(self.offsets), length)
        return self._places(self.offsets[1:] - counts, counts)

    def appended(self, other: Histories) -> Histories:
        """Rows of `other` below these."""
        offsets = np.concatenate([self.offsets, self.offsets[-1] + other.offsets[1:]])
        return Histories(offsets, np.concatenate([self.items, other.items]), _joined([self, other]))

    def extended(self, other: Histories) -> Histories:
        """Lists of `other` at the ends of these, row by row; both have as many."""
        return self.appended(other).paired(len(self))

    def paired(self, half: int) -> Histories:
        """Join list i and list half + i."""
        order = np.stack([np.arange(half), np.arange(half, 2 * half)], axis=1).ravel()
        turned = self.take(order)
        return Histories(np.ascontiguousarray(turned.offsets[::2]), turned.items, turned.weights)

    def replaced(self, rows: Array, other: Histories) -> Histories:
        """List i of `other` in place of list rows[i]."""
        source = np.arange(len(self), dtype=np.int64)
        source[rows] = len(self) + np.arange(len(rows))
        return self.appended(other).take(source)

    def seen(self) -> tuple[Array, Array]:
        """Each list's items ascending, each once: offsets int64 and items int32."""
        width = int(self.items.max(initial=0)) + 1
        owners = np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.offsets))
        owners, items = np.divmod(np.unique(owners * width + self.items), width)
        offsets = np.searchsorted(owners, np.arange(len(self) + 1)).astype(np.int64)
        return offsets, items.astype(np.int32)

    def _places(self, starts: Array, counts: Array) -> Histories:
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        places = np.repeat(starts - offsets[:-1], counts) + np.arange(offsets[-1])
        return Histories(offsets, self.items[places], None if self.weights is None else self.weights[places])

    # --- one file -----------------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, Array]:
        found = {"offsets": self.offsets, "items": self.items}
        return found if self.weights is None else found | {"weights": self.weights}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Histories:
        return cls(arrays["offsets"], arrays["items"], arrays.get("weights"))


def _joined(parts: list[Histories]) -> Array | None:
    if all(part.weights is None for part in parts):
        return None
    return np.concatenate(
        [np.ones(len(part.items), dtype=np.float32) if part.weights is None else part.weights for part in parts]
    )


def check_weights(column: History | None, ratings: Array | None, rating_col: str | None, where: str) -> bool:
    """Whether histories are weighted by ratings, and whether these can be weights.

    Raises
    ------
    SchemaError
        The model has no rating column.
    DataError
        A rating is negative.
    """
    if column is None or column.weight_by is None:
        return False
    if rating_col is None:
        raise SchemaError(
            f'{where}: {column!r} weights items by their ratings, but rating_col is None; pass rating_col="rating"'
        )
    negative = np.flatnonzero(ratings < 0) if ratings is not None else np.empty(0, dtype=np.int64)
    if negative.size:
        raise DataError(
            f"{where}: column {rating_col!r} is negative in {count_of(negative.size, 'row')} "
            f"(first: {first_five(negative.tolist())}), but {column!r} weights items by it; shift the ratings, drop these "
            "rows, or leave weight_by out"
        )
    return True


def read_lists(
    frame: frames.Frame, column: History, items: Vocabulary, where: str, *, stacklevel: int
) -> tuple[Histories, Array]:
    """Read a column of lists of item ids.

    Parameters
    ----------
    frame : narwhals.DataFrame (n rows)
        With the column.
    column : History
    items : Vocabulary
        Unknown ids are dropped, with one warning.
    where : str
        Start of a message, such as "recommend: users".
    stacklevel : int
        Whose line the warning shows: 1 is this function's.

    Returns
    -------
    lists : Histories (n)
    given : bool (n,)
        Whether the row has a list, perhaps an empty one; False where it is missing.
    """
    series = frames.column(frame, column.column, where)
    place = f"{where}: column {column.column!r}"
    if frames.kind_of(series) == "empty":
        return Histories.empty(len(series)), np.zeros(len(series), dtype=np.bool_)
    offsets, ids = frames.lists(series, place)
    rows = items.encode(ids, place)
    if (rows < 0).any():
        text = items.unknown_text(ids, rows, place)
        warnings.warn(f"{text}; they are left out of the histories", stacklevel=stacklevel)
    kept = np.concatenate([[0], np.cumsum(rows >= 0)])[offsets].astype(np.int64)
    return Histories(kept, rows[rows >= 0]), ~np.asarray(series.is_null().to_numpy(), dtype=np.bool_)


def sessions_of(users: Array, seconds: Array, hours: float) -> Array:
    """Number the sessions of pairs that are in the order of time, int32; within a user the numbers do not fall."""
    order = np.argsort(users, kind="stable")
    begins = np.ones(len(users), dtype=np.bool_)
    begins[1:] = (np.diff(users[order]) != 0) | (np.diff(seconds[order]) > hours * 3600)
    numbers = np.empty(len(users), dtype=np.int32)
    numbers[order] = np.cumsum(begins) - 1
    return numbers


def newest_positives(lists: Any, length: int) -> Histories:
    """Each user's newest positives, of `core.Interactions` whose pairs came in the order of time."""
    whole = Histories(lists.positive_offsets, lists.positive_items, lists.positive_history_weights)
    return whole.newest(length)


def cut_into_groups(
    before: Histories, users: Array, items: Array, weights: Array | None, size: int, length: int
) -> tuple[Array, Array, Histories]:
    """Say for each new pair what its user had before it, so that nothing later is looked at.

    Parameters
    ----------
    before : Histories (users)
        What each user had before all of the pairs.
    users, items : int32 (pairs,)
        In the order of time.
    weights : float32 (pairs,) or None
    size : int
        So many pairs of one user that follow each other share a history: what came before the first of them.
    length : int
        Items a history keeps, the newest.

    Returns
    -------
    group_of_pair : int32 (pairs,)
    user_of_group : int32 (groups,)
    histories : Histories (groups)
    """
    order = np.argsort(users, kind="stable")
    owners = users[order]
    counts = np.bincount(owners, minlength=len(before)).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)])
    place = np.arange(len(owners)) - starts[owners]
    first = place % size == 0
    group = np.cumsum(first) - 1
    group_of_pair = np.empty(len(owners), dtype=np.int32)
    group_of_pair[order] = group
    # All that a user ever had, old and new; a group reads a window of it that ends where the group begins.
    new = Histories(starts.astype(np.int64), items[order], None if weights is None else weights[order])
    whole = before.extended(new)
    owner_of_group, place_of_group = owners[first], place[first]
    end = whole.offsets[owner_of_group] + np.diff(before.offsets)[owner_of_group] + place_of_group
    taken = np.minimum(end - whole.offsets[owner_of_group], length)
    return group_of_pair, owner_of_group.astype(np.int32), whole._places(end - taken, taken)
