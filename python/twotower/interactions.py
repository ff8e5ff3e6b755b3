"""A table of interactions as checked arrays: who, what, how much.

Everything a later part takes for granted is checked here, with the column and the first rows in the message: ids are
there, ratings and weights are finite, every user and item is in its table where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from twotower import frames
from twotower.errors import DataError, SchemaError, count_of, first_five
from twotower.ids import Array, IdColumn
from twotower.schema import Side
from twotower.vocabulary import Vocabulary

__all__ = ["Encoded", "align", "catalogue_vocabulary", "check_learnable", "encode_interactions"]

Rows = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Interactions as arrays, in the order of the table.

    Parameters
    ----------
    users, items : Vocabulary
        Ids and their rows; with a table of the side, every id in it.
    user_rows, item_rows : int32 ndarray (n,)
        -1 only with `on_unknown="mark"`.
    weights : float32 ndarray (n,) or None
        At least 0 and finite. 0 is "seen, but not liked": no positive example. None when all are 1.
    times : integer or float64 ndarray (n,) or None
        Sorts like the time column, where one was named.
    ratings : float32 ndarray (n,) or None
        Values of the rating column, where one was named; finite.
    """

    users: Vocabulary
    items: Vocabulary
    user_rows: Rows
    item_rows: Rows
    weights: npt.NDArray[np.float32] | None = None
    times: Array | None = None
    ratings: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.user_rows)

    def take(self, positions: Array) -> Encoded:
        """Pick rows by position (integers in range, any order, repeats allowed) or by a mask."""
        optional = (None if a is None else a[positions] for a in (self.weights, self.times, self.ratings))
        return Encoded(self.users, self.items, self.user_rows[positions], self.item_rows[positions], *optional)


def encode_interactions(
    frame: Any,
    *,
    user_col: str,
    item_col: str,
    rating_col: str | None = None,
    min_rating: float | None = None,
    weight_col: str | None = None,
    time_col: str | None = None,
    users: Vocabulary | None = None,
    items: Vocabulary | None = None,
    on_unknown: Literal["raise", "mark"] = "raise",
    what: str = "fit",
) -> Encoded:
    """Check a table of interactions and turn it into arrays.

    Parameters
    ----------
    frame : table
        One row an interaction; the same pair may come again. At least one row. Not changed.
    user_col, item_col : str
        Columns of the ids.
    rating_col : str, optional
        Column of numbers. Without `min_rating` it is only checked: every row is a positive example.
    min_rating : float, optional
        Rows with a lower rating get the weight 0: seen, but not a positive example.
    weight_col : str, optional
        Column of weights, 0 or more.
    time_col : str, optional
        Column of numbers, dates or datetimes.
    users, items : Vocabulary, optional
        The ids that may occur. None learns them from the column.
    on_unknown : {"raise", "mark"}
        Whether an id outside `users` or `items` is an error or gets the row -1 (for validation and test data).
    what : str
        The caller's name, for messages.

    Returns
    -------
    Encoded

    Raises
    ------
    SchemaError
        A column is missing or has the wrong dtype, or `min_rating` comes without `rating_col`.
    DataError
        No rows; a missing id; a missing or infinite rating or weight, a negative weight; an id outside the vocabulary.

    Notes
    -----
    Cost: a few passes over the columns; for text ids one hash table of the distinct ids.
    """
    if min_rating is not None and rating_col is None:
        raise SchemaError(f"{what}: min_rating is {min_rating}, but rating_col is None; pass rating_col= too")
    if min_rating is not None and not np.isfinite(min_rating):
        raise SchemaError(f"{what}: min_rating is {min_rating}, but must be finite; leave it out to take every row")
    place = f"{what}: interactions"
    table = frames.table(frame, place)
    user_series, item_series = (frames.column(table, name, place) for name in (user_col, item_col))
    if len(table) == 0:
        raise DataError(f"{what}: interactions has no rows, but must have at least 1; check the filter that made it")
    ids = [_ids(series, name, what) for series, name in ((user_series, user_col), (item_series, item_col))]
    ratings = None if rating_col is None else _finite(frames.column(table, rating_col, place), rating_col, what)
    weights = _weights(table, ratings, min_rating, weight_col, what)
    times = None
    if time_col is not None:
        times = frames.times(frames.column(table, time_col, place), f"{what}: column {time_col!r}")
    learned = (
        Vocabulary.fit(ids[0], f"{what}: column {user_col!r}") if users is None else users,
        Vocabulary.fit(ids[1], f"{what}: column {item_col!r}") if items is None else items,
    )
    rows = [vocabulary.encode(column) for vocabulary, column in zip(learned, ids, strict=True)]
    if on_unknown == "raise":
        for side, name, vocabulary, column, found in zip(
            ("users", "items"), (user_col, item_col), learned, ids, rows, strict=True
        ):
            if (found < 0).any():
                raise DataError(_outside(side, name, vocabulary, column, found, what))
    kept = None if ratings is None else _float32(ratings, str(rating_col), what, "divide the ratings by a power of ten")
    return Encoded(learned[0], learned[1], rows[0], rows[1], weights, times, kept)


def catalogue_vocabulary(frame: Any, id_col: str, *, side: Side, what: str = "fit") -> Vocabulary:
    """Take the ids of a table of users or items.

    Parameters
    ----------
    frame : table
        One row a user or item. Not changed.
    id_col : str
    side : {"users", "items"}
    what : str
        The caller's name, for messages.

    Returns
    -------
    Vocabulary
        Of every row, whether or not it occurs in the interactions.

    Raises
    ------
    SchemaError
        The column is not there.
    DataError
        No rows, a missing id, an id in several rows.
    """
    table = frames.table(frame, f"{what}: {side}")
    series = frames.column(table, id_col, f"{what}: {side}")
    if len(table) == 0:
        raise DataError(f"{what}: {side} has no rows, but must have at least 1; leave it out to learn without features")
    ids = _ids(series, id_col, what, side)
    vocabulary = Vocabulary.fit(ids, f"{what}: column {id_col!r} of {side}")
    if vocabulary.size < len(ids):
        rows = vocabulary.encode(ids)
        repeated = np.flatnonzero(np.bincount(rows) > 1)
        raise DataError(
            f"{what}: column {id_col!r} of {side} has {count_of(repeated.size, 'id')} in more than one row "
            f"(first: {first_five(vocabulary.decode(repeated[:5]).tolist())}); keep one row an id"
        )
    return vocabulary


def align(frame: Any, id_col: str, vocabulary: Vocabulary, *, side: Side, what: str = "fit") -> frames.Frame:
    """Arrange a table of users or items by the rows of a vocabulary.

    Parameters
    ----------
    frame : table
        Every id of the vocabulary in one row; further rows are left out.
    id_col : str
    vocabulary : Vocabulary (m ids)
    side : {"users", "items"}
    what : str
        The caller's name, for messages.

    Returns
    -------
    narwhals.DataFrame (m rows)
        Row i belongs to the vocabulary's row i.

    Raises
    ------
    DataError
        An id of the vocabulary is not in the table.
    """
    table = frames.table(frame, f"{what}: {side}")
    rows = vocabulary.encode(frames.column(table, id_col, f"{what}: {side}"), f"{what}: column {id_col!r} of {side}")
    position = np.full(vocabulary.size, -1, dtype=np.int64)
    known = np.flatnonzero(rows >= 0)
    position[rows[known]] = known
    gone = np.flatnonzero(position < 0)
    if gone.size:
        raise DataError(
            f"{what}: {count_of(gone.size, 'id')} {'has' if gone.size == 1 else 'have'} no row in the table {side} "
            f"(first: {first_five(vocabulary.decode(gone[:5]).tolist())}); add their rows"
        )
    return frames.take(table, position)


def check_learnable(encoded: Encoded, what: str = "fit") -> None:
    """Refuse interactions that hold nothing to compare.

    Parameters
    ----------
    encoded : Encoded
    what : str
        The caller's name, for messages.

    Raises
    ------
    DataError
        Fewer than two users or two items with a positive example, or no positive example.

    Notes
    -----
    For models that learn by telling an item from others. Counting and averaging need no second item.
    """
    liked = slice(None) if encoded.weights is None else encoded.weights > 0
    users, items = encoded.user_rows[liked], encoded.item_rows[liked]
    if users.size == 0:
        raise DataError(
            f"{what}: no interaction is a positive example, but at least 2 must be; "
            "lower min_rating or check the weights"
        )
    for side, rows in (("user", users), ("item", items)):
        if (rows == rows[0]).all():
            raise DataError(
                f"{what}: all positive examples are of one {side}, but there must be at least 2 {side}s to tell apart; "
                "add interactions, or use Popularity"
            )


def _ids(series: frames.Series, name: str, what: str, table: str = "interactions") -> IdColumn:
    place = f"{what}: column {name!r} of {table}"
    ids = frames.ids(series, place)
    gone = ids.missing_rows()
    if gone.size:
        raise DataError(
            f"{place} has no id in {count_of(gone.size, 'row')} (first: {first_five(gone.tolist())}); "
            "drop these rows or give them an id"
        )
    return ids


def _weights(
    table: frames.Frame, ratings: Array | None, min_rating: float | None, weight_col: str | None, what: str
) -> npt.NDArray[np.float32] | None:
    place = f"{what}: interactions"
    weights: npt.NDArray[np.float32] | None = None
    if weight_col is not None:
        values = _finite(frames.column(table, weight_col, place), weight_col, what)
        _refuse(values < 0, "negative", weight_col, what, "a weight is 0 or more, and 0 means seen but not liked")
        weights = _float32(values, weight_col, what, "divide the weights by their mean")
    if ratings is not None and min_rating is not None:
        liked = (ratings >= min_rating).astype(np.float32)
        weights = liked if weights is None else weights * liked
    return weights


def _float32(values: npt.NDArray[np.float64], name: str, what: str, cure: str) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    _refuse(np.isinf(found), "too large for float32", name, what, cure)
    return found


def _finite(series: frames.Series, name: str, what: str) -> npt.NDArray[np.float64]:
    values = frames.numbers(series, f"{what}: column {name!r}")
    _refuse(~np.isfinite(values), "missing or infinite", name, what, "drop these rows or fill them in")
    return values


def _refuse(bad: npt.NDArray[np.bool_], how: str, name: str, what: str, cure: str) -> None:
    rows = np.flatnonzero(bad)
    if rows.size:
        raise DataError(
            f"{what}: column {name!r} is {how} in {count_of(rows.size, 'row')} "
            f"(first: {first_five(rows.tolist())}); {cure}"
        )


def _outside(side: str, name: str, vocabulary: Vocabulary, column: IdColumn, rows: Rows, what: str) -> str:
    bad = np.flatnonzero(rows < 0)
    names = list(dict.fromkeys(column.take(bad).tolist()))
    text = (
        f"{what}: {count_of(len(names), 'id')} of column {name!r} {'is' if len(names) == 1 else 'are'} "
        f"in the interactions but not in {side} (first: {first_five(names)})"
    )
    if vocabulary.dtype.label != column.dtype.label:
        text += f"; the ids in {side} are {vocabulary.dtype.label}, those in the interactions {column.dtype.label}"
    return f"{text}; add their rows to {side}, or drop these interactions"
