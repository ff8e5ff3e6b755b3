"""How ids come out of a column of each library, and how they go back in the dtype they had.

Reading takes a narwhals series and uses the library behind it where that is much faster; writing makes native columns.
No library is imported before one of its own columns is at hand.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from twotower import ids
from twotower.errors import SchemaError
from twotower.ids import Array, IdColumn, IdType

__all__ = ["flatten", "is_plain", "read", "write"]

Codes = tuple[npt.NDArray[np.int32], IdColumn]


def read(series: Any, what: str) -> IdColumn:
    """Read the ids of one column.

    Parameters
    ----------
    series : narwhals.Series
    what : str
        Start of a message.

    Raises
    ------
    SchemaError
        A dtype that cannot be an id.
    """
    dtype = series.dtype
    name = type(dtype).__name__
    native = series.to_native()
    flavor = _flavor(native)
    if str(getattr(native, "dtype", "")) == "object":
        return _with(ids.from_objects(series.to_list(), what), flavor="object")
    if dtype.is_integer() and name not in ("Int128", "UInt128"):
        return _numeric(series, IdType("integer", name.lower(), flavor=flavor), 0)
    if dtype.is_float():
        found = _numeric(series, IdType("float", name.lower(), flavor=flavor), 0.0)
        nan = np.isnan(found.values)
        return replace(found, missing=nan if found.missing is None else found.missing | nan) if nan.any() else found
    if name == "Boolean":
        return _numeric(series, IdType("boolean", flavor=flavor), False)
    if name == "String":
        rows, values = _words(native, what)
        return IdColumn(values.values, IdType("string", flavor=flavor), rows=rows)
    if name in ("Categorical", "Enum"):
        rows, values = _categories(native, what)
        wrapper: Literal["category", "enum"] = "enum" if name == "Enum" and flavor == "" else "category"
        levels = tuple(native.dtype.categories) if wrapper == "enum" else ()
        return replace(values, dtype=replace(values.dtype, wrapper=wrapper, levels=levels), rows=rows)
    if name in ("Date", "Datetime") or _is_aware_pandas(native):
        return _dates(series, flavor)
    if name in ("Decimal", "Binary", "Object", "Int128", "UInt128"):
        found = _with(ids.from_objects(series.to_list(), what), flavor=flavor)
        scale = _decimal_name(_native_type(native)) if name == "Decimal" else ""
        return replace(found, dtype=replace(found.dtype, name=scale)) if found.dtype.kind == "decimal" else found
    if str(getattr(native, "type", "")) in ("large_binary", "date64[ms]"):  # Arrow types that narwhals has no name for
        return _with(ids.from_objects(native.to_pylist(), what), flavor=flavor)
    shown = str(getattr(native, "dtype", dtype)) if name == "Unknown" else str(dtype)
    raise SchemaError(
        f"{what}: ids have dtype {shown}, but must be numbers, text, dates or hashable objects; turn them into text"
    )


def write(column: IdColumn, library: str) -> Any:
    """Make a native column of ids.

    Parameters
    ----------
    column : IdColumn
        Distinct values are converted once and then picked by row.
    library : {"pandas", "polars", "pyarrow"}
        Anything else gets a NumPy array.

    Returns
    -------
    pandas.Series, polars.Series, pyarrow.Array or ndarray
        Plain numbers are an ndarray in any case: each library takes it as it is.
    """
    writers = {"pandas": _to_pandas, "polars": _to_polars, "pyarrow": _to_arrow}
    if library not in writers:
        return np.asarray(column)
    if column.missing is not None or (column.rows is not None and column.missing_rows().size):
        column = _separate_missing(column)
    if is_plain(column, library):
        return column.values.copy() if column.rows is None else column.values[column.rows]
    return writers[library](column)


def is_plain(column: IdColumn, library: str) -> bool:
    """Tell whether a NumPy array of the values becomes a column of the right dtype in this library."""
    dtype = column.dtype
    if column.values.dtype.kind not in "iufb" or dtype.wrapper:
        return False
    return not dtype.flavor if library == "pandas" else dtype.name != "float16"


_ARROW_LISTS = ("list", "large_list", "fixed_size_list")


def flatten(native: Any) -> tuple[npt.NDArray[np.int64], Any] | None:
    """Take a column of lists apart without a Python object per list, where its library can.

    Parameters
    ----------
    native : series or array of any library

    Returns
    -------
    counts : int64 ndarray (n,)
        Length of every list, 0 for a missing one.
    elements : native series or array
        All elements in order.
        None instead of both for columns of Python lists, and for libraries without lists.
    """
    library = type(native).__module__.partition(".")[0]
    if library == "polars" and str(native.dtype).startswith("Array"):
        native = native.arr.to_list()
    if library == "polars" and str(native.dtype).startswith("List"):
        lengths = native.list.len().fill_null(0)
        # explode() makes a null of an empty list; where none is, nothing needs to be copied.
        filled = native if len(lengths) and lengths.min() > 0 else native.filter(lengths > 0)
        return lengths.to_numpy().astype(np.int64), filled.explode()
    if library == "pandas" and str(getattr(native.dtype, "pyarrow_dtype", "")).startswith(_ARROW_LISTS):
        library, native = "pyarrow", importlib.import_module("pyarrow").array(native)
    if library == "pyarrow" and str(native.type).startswith(_ARROW_LISTS):
        pyarrow, compute = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.compute")
        if str(native.type).startswith("fixed_size_list"):
            native = native.cast(pyarrow.list_(native.type.value_type))
        lengths = compute.fill_null(compute.list_value_length(native), 0)
        return lengths.to_numpy().astype(np.int64), compute.list_flatten(native)
    return None


# --- reading ----------------------------------------------------------------------------------------------------------


def _flavor(native: Any) -> Literal["", "masked", "arrow", "object", "large"]:
    dtype = getattr(native, "dtype", None)
    if type(native).__module__.startswith("pandas"):
        if hasattr(dtype, "pyarrow_dtype"):
            return "arrow"
        if str(dtype) == "object":
            return "object"
        # pandas.NA in the dtype's own right; the `str` dtype of pandas 3 has NaN and needs no word.
        masked = type(getattr(dtype, "na_value", None)).__name__ == "NAType"
        return "masked" if masked else ""
    return "large" if str(getattr(native, "type", "")).startswith("large_") else ""


def _native_type(native: Any) -> Any:
    dtype = getattr(native, "dtype", getattr(native, "type", None))
    return getattr(dtype, "pyarrow_dtype", dtype)


def _decimal_name(dtype: Any) -> str:
    return f"{dtype.precision or 38},{dtype.scale}"  # no precision is all there is


def _with(column: IdColumn, flavor: Any) -> IdColumn:
    return replace(column, dtype=replace(column.dtype, flavor=flavor))


def _numeric(series: Any, dtype: IdType, filler: Any) -> IdColumn:
    if series.null_count() == 0:
        values = series.to_numpy()
        mask = None
    else:
        mask = np.asarray(series.is_null().to_numpy(), dtype=np.bool_)
        values = series.fill_null(filler).to_numpy()
    wanted = "bool" if dtype.kind == "boolean" else dtype.name
    return IdColumn(np.ascontiguousarray(values, dtype=wanted), dtype, missing=mask)


def _dates(series: Any, flavor: Any) -> IdColumn:
    if type(series.dtype).__name__ == "Date":
        found = _numpy_or_objects(series.to_numpy())
        return _with(found if found.dtype.kind == "date" else replace(found, dtype=IdType("date")), flavor)
    native = series.to_native()
    if _is_aware_pandas(native):
        zone = _zone_name(str(native.dtype.tz))
        array = native.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
    else:
        zone = _zone_name(series.dtype.time_zone or "")
        array = (series.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zone else series).to_numpy()
    found = _numpy_or_objects(array)
    return replace(found, dtype=IdType("datetime", np.datetime_data(found.values.dtype)[0], zone, flavor=flavor))


def _is_aware_pandas(native: Any) -> bool:
    # narwhals has no name for zones beyond letters and slashes, such as America/New_York.
    return getattr(getattr(native, "dtype", None), "tz", None) is not None


def _zone_name(zone: str) -> str:
    """Write fixed offsets as Arrow does: pandas says `UTC+02:00` for `+02:00`."""
    return zone[3:] if zone.startswith(("UTC+", "UTC-")) else zone


def _numpy_or_objects(array: Array) -> IdColumn:
    found = ids.from_numpy(array, "ids")
    if found.rows is not None:  # nothing but missing values, as objects
        empty = np.zeros(len(array), dtype="datetime64[D]")
        return IdColumn(empty, IdType("date"), missing=np.ones(len(array), dtype=np.bool_))
    return found


def _words(native: Any, what: str) -> Codes:
    """Distinct words in order of appearance, and each row's place among them."""
    library = type(native).__module__.partition(".")[0]
    if library == "pandas":
        codes, distinct = importlib.import_module("pandas").factorize(native)
        return codes.astype(np.int32), ids.from_objects(list(distinct), what)
    if library == "polars":
        distinct = native.drop_nulls().unique(maintain_order=True)
        if len(distinct) == 0:
            return np.full(len(native), -1, dtype=np.int32), ids.from_objects([])
        polars = importlib.import_module("polars")
        places = polars.Series(np.arange(len(distinct), dtype=np.int32))
        codes = native.replace_strict(distinct, places, default=None, return_dtype=polars.Int32)
        return codes.fill_null(-1).to_numpy(), ids.from_objects(distinct.to_list(), what)
    if library == "pyarrow":
        return _categories(native.dictionary_encode(), what)
    found = ids.from_objects(native.to_list() if hasattr(native, "to_list") else list(native), what)
    assert found.rows is not None
    return found.rows.astype(np.int32), found


def _categories(native: Any, what: str) -> Codes:
    library = type(native).__module__.partition(".")[0]
    if library == "pandas" and hasattr(native, "cat"):
        return _flat(native.cat.codes.to_numpy(), ids.from_numpy(np.asarray(native.cat.categories), what))
    if library == "polars":
        return _words(native.cast(importlib.import_module("polars").String), what)
    pyarrow = importlib.import_module("pyarrow")
    if library == "pandas":  # Arrow dictionaries inside pandas
        native = pyarrow.chunked_array([pyarrow.array(native)])
    native = native.unify_dictionaries()
    if native.num_chunks == 0:
        return np.empty(0, dtype=np.int32), ids.from_objects([])
    codes = np.concatenate([chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in native.chunks])
    distinct = native.chunk(0).dictionary
    if pyarrow.types.is_integer(distinct.type) and distinct.null_count == 0:
        return _flat(codes, ids.from_numpy(distinct.to_numpy(zero_copy_only=False), what))
    return _flat(codes, ids.from_objects(distinct.to_pylist(), what))


def _flat(codes: Array, distinct: IdColumn) -> Codes:
    """Two steps of row numbers as one; a missing distinct value makes its rows missing."""
    places = np.arange(len(distinct), dtype=np.int32) if distinct.rows is None else distinct.rows.astype(np.int32)
    places[distinct.missing_rows()] = -1
    # The last entry answers code -1, a missing row.
    return np.append(places, np.int32(-1))[codes], replace(distinct, rows=None, missing=None)


# --- writing ----------------------------------------------------------------------------------------------------------


def _rows(column: IdColumn) -> Array:
    return np.arange(len(column.values)) if column.rows is None else column.rows


def _separate_missing(column: IdColumn) -> IdColumn:
    """Objects with None where an id is missing: rare on the way out, so plainly done."""
    values = column.tolist()
    return IdColumn(
        ids.objects(values), IdType(column.dtype.kind, column.dtype.name, column.dtype.zone, flavor="object")
    )


def _to_pandas(column: IdColumn) -> Any:
    pandas = importlib.import_module("pandas")
    dtype, values, rows = column.dtype, column.values, _rows(column)
    if dtype.wrapper:
        plain = replace(column, rows=None, dtype=replace(dtype, wrapper="", levels=(), flavor=""))
        return pandas.Series(pandas.Categorical.from_codes(rows, categories=pandas.Index(_to_pandas(plain))))
    if dtype.flavor == "arrow":
        arrow = _to_arrow(column)
        return pandas.Series(pandas.array(arrow, dtype=pandas.ArrowDtype(arrow.type)))
    if dtype.flavor == "object" or dtype.kind in ("date", "decimal", "bytes", "object"):
        distinct = ids.objects(replace(column, rows=None).tolist())
        return pandas.Series(distinct[rows], dtype=object)
    if dtype.kind == "datetime":
        distinct = pandas.Series(values)
        distinct = distinct.dt.tz_localize("UTC").dt.tz_convert(dtype.zone) if dtype.zone else distinct
        return pandas.Series(distinct.array.take(rows))
    if dtype.kind == "string":
        # Without a dtype pandas decides, as it did for the caller's own text: `str` from version 3 on, object before.
        distinct = pandas.Series(values.tolist(), dtype="string" if dtype.flavor == "masked" else None)
        # Of the array: Series.take allows for missing rows, and is ten times as slow.
        return pandas.Series(distinct.array.take(rows))
    flat = values if column.rows is None else values[rows]
    if dtype.flavor == "masked":
        return pandas.Series(flat, dtype="boolean" if dtype.kind == "boolean" else _MASKED.get(dtype.name))
    return pandas.Series(flat)


_MASKED = {
    f"{k.lower()}{w}": f"{k}{w}" for k in ("Int", "UInt", "Float") for w in (8, 16, 32, 64) if (k, w) != ("Float", 8)
}


def _to_polars(column: IdColumn) -> Any:
    polars = importlib.import_module("polars")
    dtype, values = column.dtype, column.values
    if dtype.kind == "string":
        words: Any = polars.String
        if dtype.wrapper:
            words = polars.Enum(list(dtype.levels)) if dtype.wrapper == "enum" else polars.Categorical
        distinct = polars.Series(values.tolist(), dtype=polars.String).cast(words)
    elif dtype.kind == "decimal":
        precision, scale = (int(n) for n in dtype.name.split(",")) if dtype.name else (38, None)
        distinct = polars.Series(values.tolist(), dtype=polars.Decimal(precision, scale) if dtype.name else None)
    elif dtype.kind == "bytes":
        distinct = polars.Series(values.tolist(), dtype=polars.Binary)
    elif dtype.kind == "object":
        distinct = polars.Series(values.tolist(), dtype=polars.Object)
    elif dtype.kind == "datetime":
        # polars has no seconds.
        distinct = polars.Series(values.astype("datetime64[ms]") if dtype.name == "s" else values)
        if dtype.zone:
            # polars knows no fixed offsets: the same instants in UTC.
            zone = "UTC" if dtype.zone[0] in "+-" else dtype.zone
            distinct = distinct.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    else:
        distinct = polars.Series(values.astype(np.float32) if dtype.name == "float16" else values)
    return distinct if column.rows is None else distinct.gather(column.rows)


def _to_arrow(column: IdColumn) -> Any:
    pyarrow = importlib.import_module("pyarrow")
    dtype, values = column.dtype, column.values
    if dtype.kind == "string":
        large = dtype.flavor == "large"
        distinct = pyarrow.array(values.tolist(), type=pyarrow.large_string() if large else pyarrow.string())
    elif dtype.kind == "decimal" and dtype.name:
        precision, scale = (int(n) for n in dtype.name.split(","))
        make = pyarrow.decimal128 if precision <= 38 else pyarrow.decimal256
        distinct = pyarrow.array(values.tolist(), type=make(precision, scale))
    elif dtype.kind == "bytes":
        distinct = pyarrow.array(
            values.tolist(), type=pyarrow.large_binary() if dtype.flavor == "large" else pyarrow.binary()
        )
    elif dtype.kind == "datetime":
        naive = pyarrow.array(values)
        distinct = naive.cast(pyarrow.timestamp(dtype.name, tz=dtype.zone or None))
    elif dtype.kind in ("decimal", "object"):
        distinct = _arrow_objects(pyarrow, values.tolist())
    else:
        distinct = pyarrow.array(values)
    rows = _rows(column)
    if dtype.wrapper:
        return pyarrow.DictionaryArray.from_arrays(pyarrow.array(rows, type=pyarrow.int32()), distinct)
    return distinct if column.rows is None else distinct.take(pyarrow.array(rows))


def _arrow_objects(pyarrow: Any, values: list[Any]) -> Any:
    try:
        return pyarrow.array(values)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, pyarrow.ArrowNotImplementedError) as error:
        raise SchemaError(
            f"an Arrow column cannot hold these ids of mixed Python types ({error}); turn the ids into text before fit"
        ) from None
