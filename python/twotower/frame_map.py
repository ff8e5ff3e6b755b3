"""A function over the values of a column, a list or one value; the same kind of thing out.

No library is imported before one of its own columns is at hand.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import narwhals as nw
import numpy as np

from twotower import frames
from twotower.errors import SchemaError

__all__ = ["mapped"]


def mapped(
    values: Any,
    function: Callable[[Any], Any],
    made: Literal["text", "integer", "lists"],
    what: str,
    takes: Literal["text", "numbers"] = "text",
) -> Any:
    """Apply a function to every value that is not missing.

    Parameters
    ----------
    values : column of any library, ndarray (n,), list, tuple or one value
        Not changed.
    function : callable
        Called once for each distinct value; gives None for "missing".
    made : {"text", "integer", "lists"}
        What it gives.
    what : str
        Start of a message, such as "year_from_title".
    takes : {"text", "numbers"}

    Returns
    -------
    column of the same library, with the same name and index; else an object ndarray, a list, or one value
        None, or what the library has for it, where the value is missing.

    Raises
    ------
    SchemaError
        The values are of another type.
    """
    if values is None or isinstance(values, (str, int, float, np.integer, np.floating)):
        missing = values is None or values != values
        if not missing and isinstance(values, str) != (takes == "text"):
            raise SchemaError(f"{what} got {values!r}, but must get {takes}")
        return None if missing else function(values)
    column = frames.ids(values, what)
    fits = ("string",) if takes == "text" else ("integer", "float")
    if column.dtype.kind not in fits and column.missing_rows().size < len(column):
        raise SchemaError(f"{what} got {column.dtype.label} values, but must get {takes}; convert them")
    rows, distinct = column.rows, column.values
    if rows is None:
        distinct, rows = np.unique(distinct, return_inverse=True)
        rows[column.missing_rows()] = -1
    # The last entry answers -1, a missing value.
    results = [*map(function, distinct.tolist()), None]
    return _like(values, [results[row] for row in rows.tolist()], made)


def _like(native: Any, values: Sequence[Any], made: str) -> Any:
    if isinstance(native, nw.Series):
        return nw.from_native(_like(native.to_native(), values, made), series_only=True)
    library = type(native).__module__.partition(".")[0]
    if library == "pandas":
        pandas = importlib.import_module("pandas")
        dtype = {"integer": "Int64", "lists": object}.get(made)
        index = getattr(native, "index", None)
        return pandas.Series(values, index=index, name=getattr(native, "name", None), dtype=dtype)
    if library == "polars":
        polars = importlib.import_module("polars")
        dtype = {"integer": polars.Int64, "lists": polars.List(polars.String)}.get(made, polars.String)
        return polars.Series(native.name, values, dtype=dtype)
    if library == "pyarrow":
        pyarrow = importlib.import_module("pyarrow")
        dtype = {"integer": pyarrow.int64(), "lists": pyarrow.list_(pyarrow.string())}.get(made, pyarrow.string())
        return pyarrow.array(values, type=dtype)
    return np.fromiter(values, dtype=object, count=len(values)) if isinstance(native, np.ndarray) else list(values)
