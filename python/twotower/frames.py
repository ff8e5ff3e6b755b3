"""Any table in, the same kind of table out: the only module that knows a frame library.

Works through narwhals on pandas, polars (eager and lazy) and pyarrow tables. Where a library does a thing much faster
itself (finding the distinct words of a column), its own call is used, here and nowhere else.
"""

from __future__ import annotations

import datetime as dt
import difflib
import importlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, cast

import narwhals as nw
import narwhals.dependencies
import numpy as np
import numpy.typing as npt

from twotower import frame_ids, frame_lists, frame_texts
from twotower import ids as _ids
from twotower.errors import DataError, SchemaError, count_of, first_five
from twotower.frame_lists import added as with_lists
from twotower.frame_texts import Texts
from twotower.frame_texts import join as join_texts
from twotower.ids import Array, IdColumn

__all__ = [
    "Frame",
    "Series",
    "Texts",
    "as_series",
    "build",
    "column",
    "frame_kind",
    "ids",
    "is_plain",
    "is_table",
    "join_texts",
    "kind_of",
    "lists",
    "numbers",
    "table",
    "take",
    "texts",
    "times",
    "with_lists",
]

Frame: TypeAlias = "nw.DataFrame[Any]"
Series: TypeAlias = "nw.Series[Any]"
FrameOrSeries = TypeVar("FrameOrSeries", "nw.DataFrame[Any]", "nw.Series[Any]")

_NO_TABLES = (list, tuple, range, str, bytes, int, np.ndarray, np.generic)


def is_table(value: object) -> bool:
    """Tell whether `table` would take this value (a frame of a known library, not a series, list or array)."""
    if isinstance(value, _NO_TABLES):  # one query at a time asks this often, and narwhals takes its time
        return False
    known = nw.dependencies
    return known.is_into_dataframe(value) or known.is_polars_lazyframe(value) or isinstance(value, nw.LazyFrame)


def table(native: Any, what: str) -> Frame:
    """Take a table of any supported library.

    Parameters
    ----------
    native : pandas.DataFrame, polars.DataFrame, polars.LazyFrame, pyarrow.Table or narwhals frame
        Not changed. A lazy frame is collected.
    what : str
        Start of a message, such as "fit: interactions".

    Returns
    -------
    narwhals.DataFrame
        A view, no copy.

    Raises
    ------
    TypeError
        Something else, such as a list or an array.
    SchemaError
        Two columns of one name, or a column name in several levels.
    """
    # Before narwhals sees them: what it says about doubled names differs between libraries.
    names: Any = ()
    if nw.dependencies.is_into_dataframe(native):
        names = getattr(native, "column_names", None) or native.columns
    if getattr(names, "nlevels", 1) > 1:
        raise SchemaError(f"{what} has column names of several levels, but must have one; flatten frame.columns first")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SchemaError(f"{what} has the column {twice[0]!r} more than once; rename or drop one of them")
    frame: Any = nw.from_native(native, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    if not isinstance(frame, nw.DataFrame):
        raise TypeError(
            f"{what} is a {type(native).__name__}, but must be a pandas, polars or pyarrow table; "
            "make one, for example with pandas.DataFrame(...)"
        )
    return frame


def frame_kind(native: Any) -> str:
    """Name the library of a table: `pandas`, `polars`, `pyarrow`. `build` takes this name in place of a table."""
    namespace = table(native, "frame_kind: the table").__native_namespace__()
    return str(namespace.__name__)


def column(frame: Frame, name: str, what: str) -> Series:
    """Take one column by name.

    Parameters
    ----------
    frame : narwhals.DataFrame
    name : str
    what : str
        Start of a message, such as "fit: interactions".

    Raises
    ------
    SchemaError
        No such column; the message lists those that there are and the one that is spelt most alike.
    """
    names = list(frame.columns)
    if name in names:
        return frame.get_column(name)
    plain = {_plain(n): n for n in reversed(names)}
    alike = difflib.get_close_matches(_plain(name), plain, n=1)
    listed = ", ".join(map(repr, names[:20])) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    cure = f"did you mean {plain[alike[0]]!r}?" if alike else "name the right one, or add it"
    raise SchemaError(f"{what} has no column {name!r}; its columns are {listed or 'none'}; {cure}")


def kind_of(series: Series) -> str:
    """Name the kind of values in a column.

    Returns
    -------
    str
        One of integer, float, boolean, string, categorical, date, datetime, duration, time, decimal, bytes, list,
        struct, object, empty. Columns of Python objects are judged by their values (`list` by the first); `empty` holds
        nothing but missing values and has no dtype that says more.
    """
    name = type(series.dtype).__name__
    if series.dtype.is_integer():
        return "integer"
    if series.dtype.is_float():
        return "float"
    if getattr(getattr(series.to_native(), "dtype", None), "tz", None) is not None:
        return "datetime"  # narwhals has no name for zones such as America/New_York
    if name in ("Object", "Unknown", "Int128", "UInt128"):
        return _kind_of_objects(series.to_list())
    if name == "String" and series.null_count() == len(series) and _is_object_dtype(series):
        return "empty"
    return _KINDS.get(name, "object")


_KINDS = {
    "Boolean": "boolean", "String": "string", "Categorical": "categorical", "Enum": "categorical", "Date": "date",
    "Datetime": "datetime", "Duration": "duration", "Time": "time", "Decimal": "decimal", "Binary": "bytes",
    "List": "list", "Array": "list", "Struct": "struct",
}  # fmt: skip


def ids(values: Any, what: str) -> IdColumn:
    """Read ids out of a column, an array or a list.

    Parameters
    ----------
    values : narwhals, pandas, polars or pyarrow series, ndarray (n,), list, tuple, range, or any iterable of ids
        Not changed; integers are not copied where the library lends its memory.
    what : str
        Start of a message, such as "recommend: users".

    Returns
    -------
    IdColumn
        Missing values are marked, not refused.

    Raises
    ------
    SchemaError
        A dtype that cannot be an id (lists, structs, durations, times of day).
    TypeError
        A single value, a string or a table in place of a column.
    """
    if isinstance(values, IdColumn):
        return values
    if isinstance(values, np.ndarray):
        return _ids.from_numpy(values, what)
    if isinstance(values, (list, tuple)):
        return _ids.from_objects(values, what)
    if isinstance(values, (str, bytes, dict)) or not isinstance(values, Iterable) or is_table(values):
        raise TypeError(f"{what}: ids are a {type(values).__name__}, but must be a column or a list; wrap it in [ ]")
    if isinstance(values, range):
        return _ids.from_numpy(np.arange(values.start, values.stop, values.step, dtype=np.int64), what)
    series = values if isinstance(values, nw.Series) else as_series(values)
    if series is None:
        return _ids.from_objects(list(values), what)
    return frame_ids.read(series, what)


def as_series(values: Any) -> Series | None:
    """Take a column of any library as a series; None for what is none (an array, a list)."""
    if isinstance(values, _NO_TABLES):
        return None
    library = type(values).__module__.partition(".")[0]
    if library == "pandas" and not hasattr(values, "to_frame"):
        values = importlib.import_module("pandas").Series(values)  # an extension array, such as what unique() gives
    elif library == "pandas" and hasattr(values, "to_series"):
        values = values.to_series()  # an index
    elif library == "pyarrow" and not hasattr(values, "chunks"):
        values = importlib.import_module("pyarrow").chunked_array([values])
    found: Any = nw.from_native(values, series_only=True, pass_through=True)
    return found if isinstance(found, nw.Series) else None


def numbers(series: Series, what: str) -> npt.NDArray[np.float64]:
    """Read a column of numbers.

    Parameters
    ----------
    series : narwhals.Series
        Integers, floats, booleans or decimals, also as Python objects.
    what : str
        Start of a message that names the column, such as "fit: column 'age' of users".

    Returns
    -------
    float64 ndarray (n,)
        NaN where a value is missing; a fresh array. Integers beyond 2**53 are rounded.

    Raises
    ------
    SchemaError
        Text, dates, lists and the like.
    """
    kind = kind_of(series)
    if kind in ("integer", "float", "boolean") and not _is_object_dtype(series):
        if series.null_count() == 0:
            return np.array(series.to_numpy(), dtype=np.float64)
        filled = series.fill_null(False if kind == "boolean" else 0).to_numpy().astype(np.float64)
        filled[series.is_null().to_numpy().astype(np.bool_)] = np.nan
        return cast("npt.NDArray[np.float64]", filled)
    if kind in ("integer", "float", "boolean", "decimal", "empty"):
        values = ids(series, what).tolist()
        return np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)
    raise SchemaError(
        f"{what} holds {_KIND_WORDS.get(kind, kind)} ({series.dtype}), but must hold numbers; convert it first"
    )


_KIND_WORDS = {
    "string": "text", "categorical": "categories", "date": "dates", "datetime": "times", "duration": "durations",
    "time": "times of day", "bytes": "bytes", "list": "lists", "struct": "structs", "object": "mixed objects",
}  # fmt: skip


def times(series: Series, what: str) -> Array:
    """Read a column of times as numbers that sort like it.

    Parameters
    ----------
    series : narwhals.Series
        Integers, floats, dates or datetimes.
    what : str
        Start of a message that names the column, such as "split.time: column 'timestamp'".

    Returns
    -------
    integer or float64 ndarray (n,)
        Integers as they are; dates in days and datetimes in their own unit since 1970, int64, UTC where there is a
        zone.

    Raises
    ------
    SchemaError
        Text and the like.
    DataError
        A time is missing or infinite.
    """
    kind = kind_of(series)
    if kind not in ("integer", "float", "date", "datetime"):
        raise SchemaError(
            f"{what} holds {_KIND_WORDS.get(kind, kind)} ({series.dtype}), but must hold numbers, dates or datetimes; "
            "convert it first"
        )
    found = ids(series, what)
    bad = found.missing_rows()
    if not bad.size and found.dtype.kind == "float":
        bad = np.flatnonzero(~np.isfinite(found.values))
    if bad.size:
        raise DataError(
            f"{what} is missing or infinite in {count_of(bad.size, 'row')} (first: {first_five(bad.tolist())}); "
            "drop these rows or fill them in"
        )
    return found.values.view(np.int64) if found.values.dtype.kind == "M" else found.values


def lists(
    series: Series, what: str, separator: str | None = None, *, keep_missing: bool = False
) -> tuple[npt.NDArray[np.int64], IdColumn]:
    """Take a column of lists apart.

    Parameters
    ----------
    series : narwhals.Series
        Lists, tuples, sets or arrays of plain values; with `separator`, text such as "Comedy|Drama".
    what : str
        Start of a message that names the column.
    separator : str, optional
        Splits text; spaces around the parts and empty parts are dropped.
    keep_missing : bool
        Mark missing elements, so that a second column of lists can be held beside this one.

    Returns
    -------
    offsets : int64 ndarray (n + 1,)
        List i is elements[offsets[i]:offsets[i + 1]]; a missing list is empty.
    elements : IdColumn
        In the order of the lists (sets: sorted); missing elements are left out, or marked.

    Raises
    ------
    SchemaError
        The column holds no lists, or lists of lists.
    """
    kind = kind_of(series)
    if kind not in (("string", "categorical", "empty") if separator else ("list", "empty")):
        wanted = f"text to be split at {separator!r}" if separator else "lists"
        cure = (
            "; pass separator= to split text"
            if kind in ("string", "categorical")
            else "; use Category for single values"
        )
        raise SchemaError(f"{what} holds {_KIND_WORDS.get(kind, kind)} ({series.dtype}), but must hold {wanted}{cure}")
    if separator:
        counts, elements = frame_lists.split(ids(series, what), separator)
    elif kind == "empty":
        counts, elements = np.zeros(len(series), dtype=np.int64), _ids.from_objects([])
    else:
        counts, elements = frame_lists.elements(series, what)
    gone = elements.missing_rows()
    if gone.size and not keep_missing:
        row_of = np.repeat(np.arange(len(counts)), counts)
        counts = counts - np.bincount(row_of[gone], minlength=len(counts))
        keep = np.ones(len(elements), dtype=np.bool_)
        keep[gone] = False
        elements = elements.take(keep)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), elements


def texts(series: Series, what: str) -> Texts:
    """Read a column of texts as one buffer.

    Parameters
    ----------
    series : narwhals.Series
        Text in any dtype, bytes (taken as UTF-8), categories of text, or nothing but missing values.
    what : str
        Start of a message that names the column, such as "fit: column 'title' of items".

    Returns
    -------
    Texts

    Raises
    ------
    SchemaError
        Anything else, also among text.
    """
    found = frame_texts.read(series, what)
    if found is None:
        kind = kind_of(series)
        words = "numbers" if kind in ("integer", "float", "boolean", "decimal") else _KIND_WORDS.get(kind, kind)
        cure = "use Categories, or join their words" if kind == "list" else "use another kind, or make it text"
        raise SchemaError(f"{what} holds {words} ({series.dtype}), but must hold text; {cure}")
    return found


def take(frame: FrameOrSeries, rows: Array) -> FrameOrSeries:
    """Pick rows by position.

    Parameters
    ----------
    frame : narwhals.DataFrame or narwhals.Series
    rows : integer ndarray (m,)
        In range, any order, repeats allowed. A pandas frame keeps the index labels of the rows.
    """
    return frame[np.asarray(rows, dtype=np.int64)]


def build(like: Any, columns: Mapping[str, Array | IdColumn | Series]) -> Any:
    """Make a table.

    Parameters
    ----------
    like : table or str
        A table of the wanted library, or the library's name as `frame_kind` gives it.
    columns : mapping of name to ndarray, IdColumn or narwhals.Series
        All of one length. Ids come out in the dtype they came in with (see `Vocabulary.decode`). Arrays become the
        table's own: no one else may write to them.

    Returns
    -------
    native table
        In pandas with a fresh RangeIndex.

    Examples
    --------
    >>> build("pandas", {"user": ids(["a", "b"], ""), "rank": np.array([1, 2])})["user"].tolist()
    ['a', 'b']
    """
    kind = like if isinstance(like, str) else frame_kind(like)
    data: dict[str, Any] = {}
    for name, values in columns.items():
        if isinstance(values, IdColumn):
            data[name] = frame_ids.write(values, kind)
        else:
            data[name] = values.to_native() if isinstance(values, nw.Series) else values
    if kind == "pandas":
        # Labels of a picked series must not rearrange it beside fresh columns.
        data = {name: v.reset_index(drop=True) if hasattr(v, "reset_index") else v for name, v in data.items()}
    if kind == "pandas":
        # Everything here is fresh: pandas need not copy, nor look for an index that all columns share.
        pandas = importlib.import_module("pandas")
        index = pandas.RangeIndex(len(next(iter(data.values())))) if data else None
        return pandas.DataFrame(data, index=index, copy=False)
    if kind == "polars":
        return importlib.import_module(kind).DataFrame(data)
    if kind == "pyarrow":
        return importlib.import_module(kind).table(data)
    return nw.from_dict(data, backend=cast("Any", kind)).to_native()


def is_plain(like: str, column: IdColumn) -> bool:
    """Tell whether `build` makes the same column of the NumPy array of the ids, in the library of this name."""
    return frame_ids.is_plain(column, like)


def _plain(name: object) -> str:
    """Strip a column name of case and punctuation, so that `userId` and `user_id` are near."""
    return re.sub("[^a-z0-9]", "", str(name).lower())


def _is_object_dtype(series: Series) -> bool:
    return str(getattr(series.to_native(), "dtype", "")) in ("object", "Object")


def _kind_of_objects(values: Sequence[Any]) -> str:
    # Lists first: they are not hashable, and telling the kind of everything else needs hashing.
    for value in values:
        if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
            return "list"
        if isinstance(value, dict):
            return "struct"
        if value is not None and value == value:
            break
    try:
        found = _ids.from_objects(values)
    except SchemaError:
        return "object"
    if len(found) == found.missing_rows().size:
        return "empty"
    if found.dtype.kind == "object" and all(isinstance(v, dt.timedelta) for v in found.values):
        return "duration"
    return found.dtype.kind
