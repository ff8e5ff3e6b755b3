"""The ids of one column and their rows, both ways.

Whole numbers are looked up in a table where their range is dense, else by a sorted search, as floats, dates and
datetimes are; words and other objects by hashing their distinct values. No Python object per row anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from twotower import frames, persistence
from twotower.errors import DataError, UnknownIdError, count_of, first_five
from twotower.id_lookup import BLOCK, Lookup, Rows, family_of, flat, joined, sorted_distinct
from twotower.ids import Array, IdColumn, IdType, comparable, objects

__all__ = ["Rows", "Vocabulary"]


class Vocabulary:
    """The ids of one column, each with a row.

    Rows ascend with the ids where these can be compared, and follow the first appearance otherwise; those of ids that
    came later (`extended`) follow the rows that were there. Made by `fit`, `extended` or `from_state`; does not change
    afterwards.

    Examples
    --------
    >>> words = Vocabulary.fit(["pear", "apple", "pear"])
    >>> words.size, words.encode(["apple", "plum", "pear"]).tolist(), words.decode([1, 1]).tolist()
    (2, [0, -1, 1], ['pear', 'pear'])
    """

    def __init__(self, column: IdColumn) -> None:
        self._values = column.values
        self._dtype = column.dtype
        self._lookup: Lookup | None = None
        self._places: dict[Any, int] | None = None

    @classmethod
    def fit(cls, values: Any, what: str = "ids", *, missing: str = "raise") -> Vocabulary:
        """Learn the distinct ids of a column.

        Parameters
        ----------
        values : column, ndarray (n,) or list
            Anything `frames.ids` takes.
        what : str
            Start of a message, such as "fit: column 'user_id' of interactions".
        missing : {"raise", "skip"}
            What to do about missing ids.

        Raises
        ------
        DataError
            Missing ids, or an infinite one.
        SchemaError
            A dtype that cannot be an id.

        Notes
        -----
        Cost: for whole numbers of a dense range one pass without sorting, else a sort of the distinct values.
        """
        column = frames.ids(values, what)
        gone = column.missing_rows()
        if gone.size and missing == "raise":
            raise DataError(_missing_ids(what, gone))
        return cls(_distinct(column, what))

    def extended(self, values: Any, what: str = "ids", *, missing: str = "raise") -> Vocabulary:
        """Learn further ids; the rows of the old ones stay.

        Parameters
        ----------
        values : column, ndarray (n,) or list
            Anything `frames.ids` takes; ids that are known already are passed over.
        what : str
            Start of a message, such as "add_items: column 'item_id'".
        missing : {"raise", "skip"}
            What to do about missing ids.

        Returns
        -------
        Vocabulary
            With the new ids after the old ones, in the order in which `fit` would put them. Numbers keep the fitted
            dtype where it holds the new ones, else take a wider one.

        Raises
        ------
        SchemaError
            Ids that cannot be told apart by the same rules, such as text beside numbers.
        DataError
            Missing or infinite ids.

        Examples
        --------
        >>> words = Vocabulary.fit(["pear", "apple"]).extended(["zucchini", "pear", "fig"])
        >>> words.encode(["apple", "pear", "fig", "zucchini"]).tolist()
        [0, 1, 2, 3]
        """
        column = frames.ids(values, what)
        found = Vocabulary.fit(column, what, missing=missing)
        if self.size == 0 or found.size == 0:
            return self if self.size else found
        new = found.ids.take(self.encode(found.ids, what) < 0)
        return self if len(new) == 0 else Vocabulary(joined(self.ids, new, what))

    def is_of_another_type(self, values: IdColumn) -> bool:
        """Tell whether none of these ids can be known, for they are of another type than all of the fitted ones."""
        mine, theirs = family_of(self._dtype), family_of(values.dtype)
        some = self.size > 0 and values.missing_rows().size < len(values)
        return some and mine != theirs and "object" not in (mine, theirs) and {mine, theirs} != {"number", "decimal"}

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def dtype(self) -> IdType:
        """What the ids are made of."""
        return self._dtype

    @property
    def ids(self) -> IdColumn:
        """All ids in the order of their rows."""
        return IdColumn(self._values, self._dtype)

    def __repr__(self) -> str:
        first = self.decode(range(min(5, self.size))).tolist()
        return f"<Vocabulary of {count_of(self.size, self._dtype.label + ' id')}: {first_five(first)}>"

    def encode(self, values: Any, what: str = "ids") -> Rows:
        """Find the rows of ids.

        Parameters
        ----------
        values : column, ndarray (n,) or list
            Of any dtype. Whole numbers are compared by value whatever their width, also with floats that are whole;
            datetimes by the instant they name; categoricals as what they stand for. Nothing else is converted: `"1"` is
            not `1`.
        what : str
            Start of a message.

        Returns
        -------
        int32 ndarray (n,)
            -1 where the id is unknown or missing.
        """
        column = frames.ids(values, what)
        rows = self._find(column)
        if column.rows is not None:
            return np.append(rows, np.int32(-1))[column.rows]
        if column.missing is not None:
            rows[column.missing] = -1
        return rows

    def encode_known(self, values: Any, what: str, cure: str) -> Rows:
        """Find the rows of ids that must all be there.

        Parameters
        ----------
        values : column, ndarray (n,) or list
        what : str
            Start of a message, such as "recommend: users".
        cure : str
            Its end, such as 'pass on_unknown="warn"'.

        Returns
        -------
        int32 ndarray (n,)

        Raises
        ------
        UnknownIdError
            Some ids are not in the vocabulary.
        """
        column = frames.ids(values, what)
        rows = self.encode(column, what)
        if (rows < 0).any():
            raise UnknownIdError(f"{self.unknown_text(column, rows, what)}; {cure}")
        return rows

    def unknown_text(self, values: Any, rows: Rows, what: str) -> str:
        """Word which ids are unknown, without a cure.

        Parameters
        ----------
        values : column, ndarray (n,) or list
            The ids that were asked for.
        rows : int32 ndarray (n,)
            What `encode` made of them.
        what : str
            Start of the message.

        Returns
        -------
        str
            Such as "recommend: users: 2 of 3 ids are unknown (first: 'a', 'b'); the fitted ids are int64, these are
            string", where the last part stands only when it explains something.
        """
        column = frames.ids(values, what)
        unknown = np.flatnonzero(rows < 0)
        names = list(dict.fromkeys(column.take(unknown).tolist()))
        text = f"{what}: {unknown.size} of {count_of(len(column), 'id')} {'is' if unknown.size == 1 else 'are'} unknown"
        text += f" (first: {first_five(names)})"
        if family_of(column.dtype) != family_of(self._dtype):
            text += f"; the fitted ids are {self._dtype.label}, these are {column.dtype.label}"
        return text

    def decode(self, rows: Any) -> IdColumn:
        """Give the ids of rows.

        Parameters
        ----------
        rows : integer ndarray (n,) or list
            In range; repeats allowed.

        Returns
        -------
        IdColumn
            For `frames.build`, which makes it a column of the fitted dtype: int32 stays int32, pandas category stays
            category (with the fitted ids as categories), a polars Enum keeps all its categories. Where the library has
            no such dtype the nearest is taken. `numpy.asarray` and `tolist` work too.

        Raises
        ------
        IndexError
            A row outside 0 to size - 1.
        """
        array = np.asarray(rows)
        if array.size == 0:
            array = array.astype(np.int32)
        bad = np.flatnonzero((array < 0) | (array >= self.size))
        if bad.size:
            raise IndexError(f"decode: rows[{bad[0]}] is {array[bad[0]]}, but must be 0 or more and below {self.size}")
        return IdColumn(self._values, self._dtype, rows=array)

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Plain JSON and arrays, for `persistence.write`."""
        return persistence.ids_to_state(self.ids)

    @classmethod
    def from_state(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> Vocabulary:
        """Undo `state`; DataError where the parts do not fit together."""
        return cls(persistence.ids_from_state(meta, arrays))

    def _find(self, column: IdColumn) -> Rows:
        """Rows of the column's `values`, -1 for unknown."""
        mine, theirs = self._dtype, column.dtype
        if self.size == 0 or len(column.values) == 0:
            return np.full(len(column.values), -1, dtype=np.int32)
        if (
            "object" in (mine.kind, theirs.kind)
            or "decimal" in (mine.kind, theirs.kind)
            or mine.kind in ("string", "bytes")
        ):
            if family_of(mine) != family_of(theirs) and mine.kind in ("string", "bytes") and theirs.kind != "object":
                return np.full(len(column.values), -1, dtype=np.int32)
            return self._find_objects(column)
        if family_of(mine) != family_of(theirs):
            return np.full(len(column.values), -1, dtype=np.int32)
        out = np.empty(len(column.values), dtype=np.int32)
        if self._lookup is None:
            self._lookup = Lookup(flat(self._values))
        query, dtype = flat(column.values), self._lookup.values.dtype
        for start in range(0, len(query), BLOCK):
            block, same = comparable(query[start : start + BLOCK], dtype)
            rows = self._lookup.find(block)
            if same is not None:
                rows[~same] = -1
            out[start : start + BLOCK] = rows
        return out

    def _find_objects(self, column: IdColumn) -> Rows:
        if self._places is None:
            self._places = {value: row for row, value in enumerate(self.ids.tolist())}
        values = replace(column, rows=None, missing=None).tolist()
        get = self._places.get
        return np.fromiter((get(v, -1) for v in values), dtype=np.int32, count=len(values))


def _missing_ids(what: str, rows: Array) -> str:
    return (
        f"{what} has no id in {count_of(rows.size, 'row')} (first: {first_five(rows.tolist())}); "
        "drop these rows or give them an id"
    )


def _distinct(column: IdColumn, what: str) -> IdColumn:
    """Take the distinct values, in the order of their rows."""
    values = column.values
    if column.rows is not None:
        used = np.zeros(len(values), dtype=np.bool_)
        used[column.rows[column.rows >= 0]] = True
        values = values[used] if not used.all() else values
    elif column.missing is not None:
        values = values[~column.missing]
    if values.dtype.kind == "f":
        bad = np.flatnonzero(np.isinf(column.values))
        if bad.size:
            raise DataError(
                f"{what} is infinite in {count_of(bad.size, 'row')} (first: {first_five(bad.tolist())}); "
                "drop these rows or give them an id"
            )
        values = values + values.dtype.type(0)  # -0.0 is 0.0
    if values.dtype.kind != "O":
        return IdColumn(sorted_distinct(values), column.dtype)
    if column.rows is None:
        return IdColumn(values, column.dtype)
    return IdColumn(objects(_ordered(values.tolist(), column)), column.dtype)


def _ordered(values: list[Any], column: IdColumn) -> list[Any]:
    # Sets compare as subsets, which orders nothing.
    if not any(isinstance(v, frozenset) for v in values):
        try:
            return sorted(set(values))
        except TypeError:
            pass
    # In the order in which the rows bring them; categories may be listed in another.
    assert column.rows is not None
    codes, first = np.unique(column.rows[column.rows >= 0], return_index=True)
    return list(dict.fromkeys(column.values[codes[np.argsort(first, kind="stable")]].tolist()))
