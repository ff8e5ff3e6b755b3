"""Exact top-K over anyone's vectors, with ids, filters, growth and removal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from twotower import frame_lists, frames
from twotower._core import core
from twotower.errors import DataError, UnknownIdError, count_of, first_five
from twotower.id_lookup import joined
from twotower.ids import Array, IdColumn, objects
from twotower.item_lists import Filters, Lists, lists_of_pairs
from twotower.models._options import check_count, check_n_jobs, named_options
from twotower.vocabulary import Vocabulary

__all__ = ["ItemIndex"]

# Rows looked at together for numbers that are not finite.
_BLOCK = 1 << 14


class ItemIndex:
    """Exact search for the items of the largest dot product, over any float32 matrix.

    Parameters
    ----------
    vectors : float32 ndarray (n, width)
        n and width at least 1, all finite. Copied into the index, whose copy alone is searched. An array of another dtype
        or layout, a list of vectors, and a column of vectors (pandas, polars, Arrow) are converted once before, which
        takes n x width x 4 bytes until the index is built.
    ids : column, ndarray (n,) or list, optional
        Of any dtype that an id column can have, each once, none missing. None: row numbers from 0, int64.
    screen : bool, optional
        Whether a coarse int8 copy picks whom to score, which changes time and memory and no bit of a result. None: where it
        pays. True where the CPU has not the means is an error.
    n_jobs : int
        Threads that build the index; -1 is every CPU this process may use.

    Raises
    ------
    TypeError, ValueError, DataError, SchemaError
        Vectors that are no matrix of finite numbers; ids that are missing, doubled, or not as many.

    Notes
    -----
    Any number of threads may search at once; `add` only while nobody does. For cosines give vectors of length 1.

    Examples
    --------
    >>> import numpy as np, twotower as tt
    >>> index = tt.ItemIndex(np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32), ids=["a", "b", "c"])
    >>> ids, scores = index.search([[2.0, 1.0], [0.0, 3.0]], k=2)
    >>> ids.tolist(), scores.tolist()
    ([['c', 'a'], ['b', 'c']], [[3.0, 2.0], [3.0, 3.0]])
    >>> index.search([2.0, 1.0], k=2, exclude=["c"])[0].tolist()
    ['a', 'b']
    >>> index.add([[5.0, 5.0]], ids=["d"]).remove(["a"]).search([1.0, 0.0], k=4)[0].tolist()
    ['d', 'c', 'b', None]
    """

    def __init__(self, vectors: Any, ids: Any = None, *, screen: bool | None = None, n_jobs: int = -1) -> None:
        num_threads = check_n_jobs("ItemIndex", n_jobs)
        matrix = _matrix("ItemIndex: vectors", vectors)
        if len(matrix) == 0 or matrix.shape[1] == 0:
            raise DataError(
                f"ItemIndex: vectors have shape {matrix.shape}, but must have one row and one column at least"
            )
        self._ids = _vocabulary("ItemIndex: ids", range(len(matrix)) if ids is None else ids, len(matrix))
        self._numbered = ids is None
        # Replaced and never written to: a search that is under way keeps the one that it began with.
        self._removed: np.ndarray | None = None
        self._core = core.ItemIndex(matrix, num_threads=num_threads, screen=screen)

    def __len__(self) -> int:
        return int(self._core.rows) - (0 if self._removed is None else int(np.count_nonzero(self._removed)))

    def __repr__(self) -> str:
        return f"<ItemIndex of {count_of(len(self), 'vector')} of width {self.width}, {self._ids.dtype.label} ids>"

    @property
    def width(self) -> int:
        """Numbers a vector."""
        return int(self._core.width)

    @property
    def memory_bytes(self) -> int:
        """Memory of the vectors in the index, without the ids."""
        return int(self._core.memory_bytes)

    @property
    def screened(self) -> bool:
        """Whether a coarse int8 copy picks whom to score."""
        return self._core.screened

    @property
    def ids(self) -> Array:
        """The ids that can be found, (len,), in the order in which they came; a copy."""
        values = np.array(self._ids.ids.values)
        return values if self._removed is None else values[~self._removed]

    @named_options
    def search(
        self, queries: Any, k: int, *, exclude: Any = None, items: Any = None, n_jobs: int = -1
    ) -> tuple[Array, np.ndarray]:
        """Find the k items of the largest dot product for each query.

        Parameters
        ----------
        queries : float32 ndarray (n, width) or (width,)
            All finite; whatever `ItemIndex` takes as vectors, and one vector alone.
        k : int, at least 1
        exclude : ids, or a list of ids a query, optional
            What must not be found: the same for all, or n lists (a list of lists, sets or arrays, of which None excludes
            nothing; a matrix; a column of lists; or a tuple of two arrays, offsets int64 (n + 1,) and ids, where query i has
            ids[offsets[i]:offsets[i + 1]]). Ids that are not there are fine.
        items : ids, or a list of ids a query, optional
            What alone may be found, given as `exclude` is; None in place of a list allows everything.
        n_jobs : int
            Threads; -1 is every CPU this process may use.

        Returns
        -------
        ids : ndarray (n, k), or (k,) for one vector
            Best first, equal scores in the order in which the items came; in the dtype of the ids given, text and other
            objects as object arrays. Where fewer than k are left the rest is padded: -1 (the largest number for unsigned
            ids), NaN, NaT, or None for text and other objects.
        scores : float32 ndarray, of the same shape
            Padded with -inf, which tells padding from an item whatever its id.

        Raises
        ------
        UnknownIdError
            An id of `items` is not there, or was removed.
        TypeError, ValueError, DataError
            Queries of another width or with numbers that are not finite; not as many lists as queries; `k` below 1.

        Notes
        -----
        Exact: the scores are float32 dot products whose bits depend neither on the number of threads nor on the other
        queries. Cost: n x len x width multiplications; for a query with a list of its own in `items` the list's length
        instead of len.
        """
        k, num_threads = check_count("search", "k", k), check_n_jobs("search", n_jobs)
        matrix = _matrix("search: queries", queries, one=True)
        single = matrix.ndim == 1
        matrix = matrix[None] if single else matrix
        if matrix.shape[1] != self.width and len(matrix):
            raise ValueError(
                f"search: queries have width {matrix.shape[1]}, but must have {self.width}, as the vectors in the index"
            )
        if len(matrix) == 0:
            matrix = np.empty((0, self.width), dtype=np.float32)
        filters = self._filters(exclude, items, len(matrix))
        rows, scores = self._core.top_k(matrix, k, num_threads=num_threads, **filters.arguments())
        found = self._ids_of(rows)
        return (found[0], scores[0]) if single else (found, scores)

    @named_options
    def add(self, vectors: Any, ids: Any = None, *, n_jobs: int = -1) -> ItemIndex:
        """Put further vectors into the index.

        Parameters
        ----------
        vectors : float32 ndarray (m, width)
            As `ItemIndex` takes them.
        ids : column, ndarray (m,) or list
            New ones, or such as were removed, each once. None goes on with row numbers, where the index was made with them.
        n_jobs : int
            Threads; -1 is every CPU this process may use.

        Returns
        -------
        self

        Raises
        ------
        DataError, SchemaError
            An id is there already, is missing or comes twice, or is of another type than those of the index.
        TypeError, ValueError
            Vectors of another width, no matrix of finite numbers, or not as many as ids.

        Notes
        -----
        Nothing is changed where an exception is raised. Cost: the new vectors, and the ids of all.
        """
        num_threads = check_n_jobs("add", n_jobs)
        matrix = _matrix("add: vectors", vectors)
        if len(matrix) == 0:
            return self
        if matrix.shape[1] != self.width:
            raise ValueError(
                f"add: vectors have width {matrix.shape[1]}, but must have {self.width}, as those in the index"
            )
        if ids is None and not self._numbered:
            raise ValueError("add: ids is None, but the index was made with ids; give one for each vector")
        rows = int(self._core.rows)
        new = _vocabulary("add: ids", range(rows, rows + len(matrix)) if ids is None else ids, len(matrix))
        places = self._ids.encode(new.ids)
        there = places >= 0 if self._removed is None else (places >= 0) & ~self._removed[places]
        if there.any():
            some = new.ids.take(np.flatnonzero(there))
            raise DataError(
                f"add: ids: {count_of(len(some), 'id')} {'is' if len(some) == 1 else 'are'} in the index already "
                f"(first: {first_five(some.tolist())}); remove them first, or leave them out"
            )
        back, fresh = np.flatnonzero(places >= 0), np.flatnonzero(places < 0)
        # The ids first, for they may be of a type that cannot be joined.
        grown = Vocabulary(joined(self._ids.ids, new.ids.take(fresh), "add: ids")) if fresh.size else self._ids
        if back.size:
            self._core.replace(places[back], matrix[back], num_threads=num_threads)
        if fresh.size:
            self._core.append(matrix if not back.size else matrix[fresh], num_threads=num_threads)
        if self._removed is not None:
            removed = np.concatenate([self._removed, np.zeros(fresh.size, dtype=np.bool_)])
            removed[places[back]] = False
            self._removed = removed if removed.any() else None
        self._ids, self._numbered = grown, self._numbered and ids is None
        return self

    def remove(self, ids: Any) -> ItemIndex:
        """Take items out: they are not found any more.

        Parameters
        ----------
        ids : column, ndarray (m,) or list
            Ids that are there; one given twice is removed once.

        Returns
        -------
        self

        Raises
        ------
        UnknownIdError
            An id is not there, or was removed before; nothing is removed then.

        Notes
        -----
        Their places stay taken, a mask leaves them out; `add` uses the place again when the id comes back.
        """
        rows = self._rows_of("remove: ids", frames.ids(ids, "remove: ids"), "leave them out")
        if rows.size:
            removed = np.zeros(self._core.rows, dtype=np.bool_) if self._removed is None else self._removed.copy()
            removed[rows] = True
            self._removed = removed
        return self

    # --- ids and filters ----------------------------------------------------------------------------------------------

    def _rows_of(self, what: str, ids: IdColumn, cure: str) -> np.ndarray:
        """Find the rows, int32, of ids that must be there."""
        rows = self._ids.encode(ids, what)
        if self._removed is not None:
            rows[(rows >= 0) & self._removed[rows]] = -1
        if (rows < 0).any():
            raise UnknownIdError(f"{self._ids.unknown_text(ids, rows, what)}; {cure}")
        return rows

    def _filters(self, exclude: Any, items: Any, num_queries: int) -> Filters:
        size = int(self._core.rows)
        masks = [] if self._removed is None else [~self._removed]
        lists: dict[str, Lists | None] = {"items": None, "exclude": None}
        for name, given in (("items", items), ("exclude", exclude)):
            if given is None:
                continue
            what = f"search: {name}"
            asked = _lists_a_query(what, given, num_queries, tuples_are_ids=self._ids.dtype.kind == "object")
            ids = frames.ids(given, what) if asked is None else asked[1]
            known = name == "exclude"
            rows = self._ids.encode(ids, what) if known else self._rows_of(what, ids, "leave them out, or add them")
            if asked is None:
                named = np.zeros(size, dtype=np.bool_)
                named[rows[rows >= 0]] = True
                masks.append(~named if known else named)
                continue
            counts = asked[0]
            owners = np.repeat(np.arange(num_queries), np.maximum(counts, 0))[rows >= 0]
            found = lists_of_pairs(owners, rows[rows >= 0], num_queries, size)
            none = np.where(counts < 0, -1, found.of_query).astype(np.int32)
            lists[name] = Lists(none, found.offsets, found.items)
        mask = np.logical_and.reduce(masks).astype(np.uint8) if masks else None
        return Filters(mask, lists["items"], lists["exclude"])

    def _ids_of(self, rows: np.ndarray) -> Array:
        values = self._ids.ids.values
        if values.dtype.kind == "b":  # which has no third value
            values = objects(values.tolist())
        found: Array = values[rows]
        gone = rows < 0
        if gone.any():
            found[gone] = (
                _PADDING.get(values.dtype.kind, -1) if values.dtype.kind != "u" else np.iinfo(values.dtype).max
            )
        return found


_PADDING: dict[str, Any] = {"f": np.nan, "M": np.datetime64("NaT"), "O": None}


def _vocabulary(what: str, ids: Any, count: int) -> Vocabulary:
    """Number ids in the order given; they must be `count`, each there once."""
    column = frames.ids(ids, what)
    if len(column) != count:
        raise ValueError(f"{what} are {len(column)}, but must be {count}: one for each vector")
    known = Vocabulary.fit(column, what)  # refuses missing ones
    if known.size < count:
        places = known.encode(column)
        twice = np.flatnonzero(np.bincount(places, minlength=known.size) > 1)
        raise DataError(
            f"{what}: {count_of(twice.size, 'id')} {'comes' if twice.size == 1 else 'come'} more than once "
            f"(first: {first_five(known.decode(twice[:5]).tolist())}); give each vector an id of its own"
        )
    values = column.values if column.rows is None else column.values[column.rows]
    return Vocabulary(IdColumn(np.array(values), column.dtype))


def _lists_a_query(
    what: str, given: Any, num_queries: int, *, tuples_are_ids: bool
) -> tuple[np.ndarray, IdColumn] | None:
    """Read lists of ids, one a query: the count of each (-1: no list) and all ids; None where it is one list for all."""
    nested = (list, set, frozenset, np.ndarray) if tuples_are_ids else (list, tuple, set, frozenset, np.ndarray)
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], np.ndarray):
        offsets, ids = np.asarray(given[0]), frames.ids(given[1], what)
        right = offsets.ndim == 1 and offsets.dtype.kind in "iu" and len(offsets) == num_queries + 1
        if not right or offsets[0] != 0 or offsets[-1] != len(ids) or (np.diff(offsets.astype(np.int64)) < 0).any():
            raise ValueError(
                f"{what}: offsets must be {num_queries + 1} integers that rise from 0 to {len(ids)}, the number of ids"
            )
        return np.diff(offsets.astype(np.int64)), ids
    if isinstance(given, np.ndarray) and given.ndim == 2:
        counts, ids = np.full(len(given), given.shape[1], dtype=np.int64), frames.ids(given.reshape(-1), what)
    elif isinstance(given, (list, tuple)) or (isinstance(given, np.ndarray) and given.dtype.kind == "O"):
        if not any(isinstance(one, nested) for one in given):
            return None
        odd = next((one for one in given if one is not None and not isinstance(one, nested)), None)
        if odd is not None:
            raise TypeError(f"{what}: {odd!r} is among lists, but must be a list of ids or None; wrap it in [ ]")
        counts = np.array([-1 if one is None else len(one) for one in given], dtype=np.int64)
        ids = frames.ids([one for part in given if part is not None for one in part], what)
    else:
        column = None if frames.is_table(given) else frames.as_series(given)
        if column is None or frames.kind_of(column) != "list":
            return None
        offsets, ids = frames.lists(column, what)
        counts = np.diff(offsets)
    if len(counts) != num_queries:
        raise ValueError(f"{what} has {count_of(len(counts), 'list')}, but must have {num_queries}: one for each query")
    return counts, ids


def _matrix(what: str, values: Any, *, one: bool = False) -> np.ndarray:
    """Read finite vectors as float32, C-contiguous; `one` lets a single vector pass, (width,)."""
    if frames.is_table(values):
        raise TypeError(
            f"{what} are a table, but must be a matrix or a column of vectors; pass one column, or to_numpy()"
        )
    column = frames.as_series(values)
    if column is not None and frames.kind_of(column) == "list":
        matrix = frame_lists.matrix(column, what)
    else:
        matrix = _array(what, values)
    if matrix.ndim != 2 and not (one and matrix.ndim == 1):
        wanted = "2 (one vector a row) or 1 (one vector)" if one else "2 (one vector a row)"
        raise ValueError(f"{what} have {matrix.ndim} dimensions, but must have {wanted}; reshape them")
    with np.errstate(over="ignore"):
        matrix = np.ascontiguousarray(matrix, dtype=np.float32)
    _check_finite(what, matrix if matrix.ndim == 2 else matrix[None])
    return matrix


def _array(what: str, values: Any) -> Array:
    try:
        array = np.asarray(values)
    except ValueError as error:  # vectors of several lengths
        raise ValueError(f"{what} are no matrix ({error}); give vectors of one length") from error
    if array.dtype.kind == "O" and array.ndim == 1 and all(isinstance(row, (np.ndarray, Sequence)) for row in array):
        return _array(what, array.tolist())
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{what} have dtype {array.dtype}, but must be real numbers; convert them to float32")
    return array


def _check_finite(what: str, matrix: np.ndarray) -> None:
    for start in range(0, len(matrix), _BLOCK):
        block = matrix[start : start + _BLOCK]
        # A sum is finite only where all its numbers are, unless it overflows: nearly every block is one pass.
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(block.sum()):
                continue
        bad = start + np.flatnonzero(~np.isfinite(block).all(axis=1))
        if bad.size:
            raise DataError(
                f"{what} are not finite as float32 in {count_of(bad.size, 'row')} of those looked at "
                f"(first: {first_five(bad.tolist())}); drop these rows or mend the numbers"
            )
