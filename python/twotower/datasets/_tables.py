"""Build the tables of a data set as frames of the kind that was asked for."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Lists(list[list[str]]):
    """A column of lists of texts, told from one of texts also where it is empty."""


#: A column: numbers, numbers with gaps (masked), texts, or lists of texts.
Column = NDArray[Any] | list[str] | Lists

#: Frame libraries, in the order in which they are looked for.
KINDS = ("pandas", "polars", "pyarrow")


def resolve_kind(function: str, kind: str | None) -> str:
    """Return the frame library to use: the one named, or the first of `KINDS` that is installed.

    Raises
    ------
    ValueError
        `kind` is not one of `KINDS`.
    ImportError
        The library, or every one of them, is not installed.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"{function}: kind is {kind!r}, but must be one of 'pandas', 'polars', 'pyarrow', or None")
    for library in KINDS if kind is None else (kind,):
        if importlib.util.find_spec(library) is not None:
            return library
    wanted = "pandas, polars or pyarrow" if kind is None else kind
    raise ImportError(f"{function}: {wanted} is not installed; run pip install {kind or KINDS[0]}")


def build(kind: str, columns: Mapping[str, Column]) -> Any:
    """Return a DataFrame (pandas, polars) or a Table (pyarrow).

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    columns : mapping of str to column
        NumPy arrays keep their dtype and, where the library allows it, their memory; masked int64 arrays become
        nullable integers (``Int64`` in pandas); lists of str become text; `Lists` become list columns (of objects in
        pandas).
    """
    library = importlib.import_module(kind)
    make = {"pandas": _pandas_column, "polars": _polars_column, "pyarrow": _arrow_column}[kind]
    made = {name: make(library, column) for name, column in columns.items()}
    if kind == "pandas":
        return library.DataFrame(made, copy=False)
    return library.DataFrame(made) if kind == "polars" else library.table(made)


def describe(title: str, kind: str, tables: Mapping[str, Any]) -> str:
    """Return a few lines of text: each table with its number of rows and its columns."""
    lines = [f"{title} ({kind})"]
    for name, table in tables.items():
        if table is not None:
            names = table.column_names if kind == "pyarrow" else table.columns
            lines.append(f"  {name:<8}{len(table):>10} rows  {', '.join(names)}")
    return "\n".join(lines)


def _pandas_column(pandas: Any, column: Column) -> Any:
    if isinstance(column, np.ma.MaskedArray):
        return pandas.arrays.IntegerArray(column.data, np.ma.getmaskarray(column))
    if isinstance(column, np.ndarray):
        return column
    return pandas.Series(column, dtype=object if isinstance(column, Lists) else str)


def _polars_column(polars: Any, column: Column) -> Any:
    if isinstance(column, np.ma.MaskedArray):
        return polars.Series(column.tolist(), dtype=polars.Int64)
    if isinstance(column, np.ndarray):
        return polars.Series(column)
    return polars.Series(column, dtype=polars.List(polars.String) if isinstance(column, Lists) else polars.String)


def _arrow_column(pyarrow: Any, column: Column) -> Any:
    if isinstance(column, np.ma.MaskedArray):
        return pyarrow.array(column.data, mask=np.ma.getmaskarray(column))
    if isinstance(column, np.ndarray):
        return pyarrow.array(column)
    return pyarrow.array(
        column, type=pyarrow.list_(pyarrow.string()) if isinstance(column, Lists) else pyarrow.string()
    )
