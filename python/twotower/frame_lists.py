"""How columns of lists are taken apart: by their library where it can, else by what CPython does in C for a whole column.

A million rows of Python lists cost no Python statement each; text to be split costs one for each of its distinct values.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, cast

import narwhals as nw
import numpy as np
import numpy.typing as npt

from twotower import frame_ids, ids
from twotower.errors import DataError, SchemaError, count_of, first_five
from twotower.ids import Array, IdColumn, IdType

__all__ = ["added", "elements", "matrix", "split"]

Counts = npt.NDArray[np.int64]

# Vectors turned into floats at a time: the helper arrays of a block stay small beside the column.
_BLOCK = 4096


def elements(series: Any, what: str) -> tuple[Counts, IdColumn]:
    """Take a column of lists apart.

    Parameters
    ----------
    series : narwhals.Series
        Lists of plain values, in the library's own dtype or as Python lists, tuples, sets and arrays.
    what : str
        Start of a message that names the column.

    Returns
    -------
    counts : int64 ndarray (n,)
        Length of every list, 0 for a missing one.
    elements : IdColumn
        In the order of the lists (sets: sorted); missing elements are marked.

    Raises
    ------
    SchemaError
        Something else among the lists, or elements without a hash.
    """
    native = frame_ids.flatten(series.to_native())
    if native is not None:
        return native[0], _read(native[1], what)
    rows = _rows(series.to_list(), what)
    counts = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    kinds = set(map(type, rows))
    if kinds == {np.ndarray} and all(row.ndim == 1 and row.dtype.kind in "biuf" for row in rows):
        return counts, ids.from_numpy(np.concatenate(rows), what)
    lists: Any = rows if np.ndarray not in kinds else (_plain_list(row) for row in rows)
    return counts, ids.from_objects(list(chain.from_iterable(lists)), what)


def added(frame: Any, name: str, lists: list[list[str]]) -> Any:
    """Give a table a column of lists of text; the native table of its kind.

    Parameters
    ----------
    frame : narwhals.DataFrame (n rows)
    name : str
        Not there yet.
    lists : list of list of str (n)
    """
    native = frame.to_native()
    if frame.implementation is nw.Implementation.PANDAS:
        column = nw.new_series(name, lists, backend="pandas").to_native()
        return native.assign(**{name: column.set_axis(native.index)})
    series = nw.new_series(name, lists, nw.List(nw.String), backend=frame.implementation)
    return frame.with_columns(series).to_native()


def split(column: IdColumn, separator: str) -> tuple[Counts, IdColumn]:
    """Split text into parts.

    Parameters
    ----------
    column : IdColumn (n)
        Of text, so with `rows`.
    separator : str
        Spaces around the parts and empty parts are dropped.

    Returns
    -------
    counts : int64 ndarray (n,)
        Parts of every text, 0 for a missing one.
    elements : IdColumn
        The parts in order.
    """
    if column.rows is None:  # nothing but missing values
        return np.zeros(len(column), dtype=np.int64), IdColumn(ids.objects([]), IdType("string"), np.empty(0, np.int32))
    place: dict[str, int] = {}
    lengths = np.zeros(len(column.values) + 1, dtype=np.int64)  # the last one is that of missing texts, code -1

    def codes() -> Iterator[int]:
        for number, text in enumerate(column.values):
            count = 0
            for part in str(text).split(separator):
                stripped = part.strip()
                if stripped:
                    count += 1
                    yield place.setdefault(stripped, len(place))
            lengths[number] = count

    flat = np.fromiter(codes(), dtype=np.int32)
    starts = np.concatenate([[0], np.cumsum(lengths[:-1])])
    counts = lengths[column.rows]
    first = np.cumsum(counts) - counts
    picked = np.repeat(starts[column.rows] - first, counts) + np.arange(counts.sum())
    return counts, IdColumn(ids.objects(list(place)), IdType("string"), rows=flat[picked])


def matrix(series: Any, what: str) -> npt.NDArray[np.float32]:
    """Read a column of float vectors of one length.

    Parameters
    ----------
    series : narwhals.Series
        Lists or arrays of numbers, in the library's own dtype or as Python lists, tuples and arrays.
    what : str
        Start of a message that names the column.

    Returns
    -------
    float32 ndarray (n, width)
        NaN in the whole row where the vector is missing or NaN alone. Width 0 where all are missing.

    Raises
    ------
    SchemaError
        Vectors of something else than numbers.
    DataError
        An empty vector; vectors of several lengths; NaN beside numbers; a number that is infinite as float32.
    """
    native = frame_ids.flatten(series.to_native())
    if native is not None:
        counts, gone = native[0], np.asarray(series.is_null().to_numpy(), dtype=np.bool_)
        width = _width(counts, gone, what)
        numbers = _read(native[1], what)
        _check_numbers(numbers.dtype, what, empty=width == 0)
        values = np.full((len(counts), width), np.nan, dtype=np.float32)
        if width:
            flat = numbers.values
            for start, stop, rows in _blocks(~gone):
                with np.errstate(over="ignore"):
                    block = flat[start * width : stop * width].astype(np.float32)
                if numbers.missing is not None:
                    block[numbers.missing[start * width : stop * width]] = np.nan
                values[rows] = block.reshape(-1, width)
    else:
        values, gone = _matrix_of_objects(_rows(series.to_list(), what, missing=None), what)
    _check_whole(values, gone, what)
    return values


def _matrix_of_objects(rows: Sequence[Any], what: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    gone = np.zeros(len(rows), dtype=np.bool_)
    if type(None) in set(map(type, rows)):
        gone = np.fromiter((row is None for row in rows), dtype=np.bool_, count=len(rows))
    present = rows if not gone.any() else [row for row in rows if row is not None]
    counts = np.zeros(len(rows), dtype=np.int64)
    counts[~gone] = np.fromiter(map(len, present), dtype=np.int64, count=len(present))
    width = _width(counts, gone, what)
    values = np.full((len(rows), width), np.nan, dtype=np.float32)
    for start, stop, places in _blocks(~gone):
        block = _block(present[start:stop])
        if block.dtype.kind == "O":  # None among the numbers, or numbers of several kinds
            _check_numbers(ids.from_objects([v for row in present[start:stop] for v in row], what).dtype, what)
        elif block.dtype.kind not in "biuf":
            _check_numbers(ids.from_numpy(block.reshape(-1), what).dtype, what)
        if block.ndim != 2:
            raise SchemaError(f"{what} holds lists of lists, but must hold lists of numbers; flatten them")
        with np.errstate(over="ignore"):
            values[places] = block.astype(np.float64 if block.dtype.kind == "O" else block.dtype).astype(np.float32)
    return values, gone


def _block(rows: Sequence[Any]) -> Array:
    if set(map(type, rows)) == {np.ndarray} and set(map(np.ndim, rows)) == {1}:
        return np.concatenate(rows).reshape(len(rows), -1)  # five times as fast as an array of arrays
    return np.array(rows)


def _blocks(present: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int, Array]]:
    """Cut the present rows into blocks: from which to which of them, and where they stand in the column."""
    places = np.flatnonzero(present)
    for start in range(0, len(places), _BLOCK):
        stop = min(start + _BLOCK, len(places))
        yield start, stop, places[start:stop]


def _width(counts: Counts, gone: npt.NDArray[np.bool_], what: str) -> int:
    if gone.all():
        return 0
    usual = int(np.bincount(counts[~gone]).argmax())
    if usual == 0 or ((counts == 0) & ~gone).any():
        bad = np.flatnonzero((counts == 0) & ~gone)
        raise DataError(
            f"{what} has no numbers in the vector of {count_of(bad.size, 'row')} (first: {first_five(bad.tolist())}); "
            "make these vectors missing (None)"
        )
    bad = np.flatnonzero((counts != usual) & ~gone)
    if bad.size:
        lengths = first_five(counts[bad].tolist())
        raise DataError(
            f"{what} has vectors of {lengths} numbers in {count_of(bad.size, 'row')} (first: {first_five(bad.tolist())}), "
            f"but most have {usual}; make them one length or missing (None)"
        )
    return usual


def _check_numbers(dtype: IdType, what: str, *, empty: bool = False) -> None:
    if not empty and dtype.kind not in ("integer", "float", "boolean", "decimal"):
        raise SchemaError(
            f"{what} holds lists of {dtype.label}, but must hold lists of numbers; use Categories for words"
        )


def _check_whole(values: npt.NDArray[np.float32], gone: npt.NDArray[np.bool_], what: str) -> None:
    """Refuse vectors with NaN or infinity in some places."""
    if values.shape[1] == 0:
        return
    # A sum is finite only where all its numbers are, unless it overflows; so nearly every block is one pass.
    for start in range(0, len(values), 64 * _BLOCK):
        block = values[start : start + 64 * _BLOCK]
        with np.errstate(over="ignore", invalid="ignore"):
            odd = start + np.flatnonzero(~np.isfinite(block.sum(axis=1)) & ~gone[start : start + 64 * _BLOCK])
        infinite = odd[np.isinf(values[odd]).any(axis=1)]
        if infinite.size:
            raise DataError(
                f"{what} is infinite as float32 in the vector of {count_of(infinite.size, 'row')} "
                f"(first: {first_five(infinite.tolist())}); make these vectors finite or missing (None)"
            )
        nan = np.isnan(values[odd])
        partly = odd[nan.any(axis=1) & ~nan.all(axis=1)]
        if partly.size:
            raise DataError(
                f"{what} has NaN among the numbers of the vector in {count_of(partly.size, 'row')} "
                f"(first: {first_five(partly.tolist())}); fill them in, or make the whole vectors missing (None)"
            )


def _read(native: Any, what: str) -> IdColumn:
    if type(native).__module__.startswith("pyarrow") and not hasattr(native, "chunks"):
        native = importlib.import_module("pyarrow").chunked_array([native])
    return frame_ids.read(nw.from_native(native, series_only=True), what)


# --- Python objects ---------------------------------------------------------------------------------------------------

_EMPTY: tuple[Any, ...] = ()


def _rows(values: list[Any], what: str, missing: Any = _EMPTY) -> list[Any]:
    """Lists, tuples and arrays as they are, sets as sorted lists, missing values as `missing`."""
    kinds = set(map(type, values))
    if kinds <= {list, tuple, np.ndarray}:
        return values
    return [value if type(value) in (list, tuple, np.ndarray) else _row(value, what, missing) for value in values]


def _row(value: Any, what: str, missing: Any) -> Any:
    if value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and value != value):
        return missing
    if isinstance(value, (set, frozenset)):
        # The order of a set of words differs from run to run, and sums of floats with it.
        return sorted(value, key=lambda v: (type(v).__name__, v))
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, (list, tuple)):
        raise SchemaError(f"{what} holds {type(value).__name__} {value!r} among lists; make every value a list")
    return list(value)


def _plain_list(row: Any) -> list[Any]:
    return cast("list[Any]", row.tolist()) if isinstance(row, np.ndarray) else list(row)
