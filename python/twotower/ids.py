"""Ids of one column as NumPy arrays, whatever table or list they came from.

Knows no frame library. Integers, floats, booleans, dates and datetimes are arrays with one entry a row and no Python
object per row. Text and everything else are distinct values and row numbers into them, so that a million rows of ten
thousand words cost ten thousand objects.
"""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from twotower.errors import SchemaError

__all__ = ["Array", "IdColumn", "IdType", "Kind", "comparable", "from_numpy", "from_objects", "objects"]

Kind: TypeAlias = Literal["integer", "float", "boolean", "string", "bytes", "date", "datetime", "decimal", "object"]
Array: TypeAlias = npt.NDArray[Any]
Rows: TypeAlias = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class IdType:
    """What a column of ids is made of, and how it is to come out again.

    Parameters
    ----------
    kind : str
        Family; ids of one family are compared by value, integers and floats with each other.
    name : str
        NumPy name of the dtype for numbers (`int32`), unit for datetimes (`us`), precision and scale for decimals
        (`10,2`), empty otherwise.
    zone : str
        Time zone of datetimes, empty for naive ones.
    wrapper : {"", "category", "enum"}
        Categorical columns: pandas category, polars Categorical and Arrow dictionaries are `category`.
    flavor : {"", "masked", "arrow", "object", "large"}
        Which of several dtypes of one library: pandas nullable, pandas Arrow-backed, pandas object, Arrow large
        strings. Passed over where the ids go out in another library's frame.
    levels : tuple of str
        All categories of a polars Enum, which is another dtype without them.
    """

    kind: Kind
    name: str = ""
    zone: str = ""
    wrapper: Literal["", "category", "enum"] = ""
    flavor: Literal["", "masked", "arrow", "object", "large"] = ""
    levels: tuple[str, ...] = field(default=(), repr=False)

    @property
    def label(self) -> str:
        """The type in words for messages: `int64`, `string`, `datetime[us, UTC]`."""
        if self.kind in ("integer", "float"):
            return self.name
        if self.kind == "datetime":
            return f"datetime[{self.name}{', ' + self.zone if self.zone else ''}]"
        return {"boolean": "bool", "object": "mixed objects"}.get(self.kind, self.kind)


@dataclass(frozen=True, eq=False)
class IdColumn:
    """A column of ids.

    Parameters
    ----------
    values : ndarray (m,)
        Without `rows`: one id a row, so m = n. With `rows`: distinct values. Numbers and booleans in their own dtype,
        dates as datetime64[D], datetimes as datetime64 in UTC (naive ones as they are), everything else as objects.
    dtype : IdType
    rows : integer ndarray (n,), optional
        Entry i is the position in `values`, or -1 where the id is missing.
    missing : bool ndarray (n,), optional
        Only without `rows`; None when nothing is missing. Masked entries of `values` mean nothing.

    Examples
    --------
    >>> from_objects(["b", "a", "b"]).rows
    array([0, 1, 0], dtype=int32)
    """

    values: Array
    dtype: IdType
    rows: Rows | None = None
    missing: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.values) if self.rows is None else len(self.rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if self.missing_rows().size:
            return objects(self.tolist())
        array = self.values if self.rows is None else self.values[self.rows]
        return array if dtype is None else array.astype(dtype)

    def missing_rows(self) -> npt.NDArray[np.int64]:
        """Positions of the missing ids, ascending, int64."""
        if self.rows is not None:
            return np.flatnonzero(np.less(self.rows, 0))
        return np.empty(0, dtype=np.int64) if self.missing is None else np.flatnonzero(self.missing)

    def take(self, positions: Rows | npt.NDArray[np.bool_]) -> IdColumn:
        """Pick entries by position (integers in range) or by a mask; a copy of the picked part."""
        if self.rows is not None:
            return replace(self, rows=self.rows[positions])
        mask = None if self.missing is None else self.missing[positions]
        return replace(self, values=self.values[positions], missing=mask)

    def tolist(self) -> list[Any]:
        """Plain Python values, None where missing; datetimes carry their zone."""
        values = _python_values(self.values, self.dtype)
        if self.rows is not None:
            return [None if row < 0 else values[row] for row in self.rows.tolist()]
        for position in self.missing_rows():
            values[position] = None
        return values


def objects(values: Sequence[object]) -> Array:
    """Make a one-dimensional object array, also of sequences, which `numpy.array` would unfold."""
    return np.fromiter(values, dtype=object, count=len(values))


def from_numpy(array: Array, what: str) -> IdColumn:
    """Read ids from a NumPy array.

    Parameters
    ----------
    array : ndarray (n,)
        Any dtype but complex numbers, durations and records. NaN and NaT are missing ids.
    what : str
        Start of a message, such as "recommend: users".

    Raises
    ------
    SchemaError
        More than one dimension, or a dtype that cannot be an id.
    """
    if array.ndim != 1:
        raise SchemaError(f"{what}: ids have {array.ndim} dimensions, but must have 1; pass array.ravel()")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    kind = array.dtype.kind
    if kind in "iu":
        return IdColumn(array, IdType("integer", array.dtype.name))
    if kind == "f":
        if array.dtype.itemsize > 8:
            array = array.astype(np.float64)
        return IdColumn(array, IdType("float", array.dtype.name), missing=_mask(np.isnan(array)))
    if kind == "b":
        return IdColumn(array, IdType("boolean"))
    if kind == "M":
        unit = np.datetime_data(array.dtype)[0]
        # Weeks, months and the like are dates; hours and minutes have no counterpart in a table, seconds do.
        unit = {"Y": "D", "M": "D", "W": "D", "D": "D", "h": "s", "m": "s", "generic": "s"}.get(unit, unit)
        array = array.astype(f"datetime64[{unit}]")
        dtype = IdType("date") if unit == "D" else IdType("datetime", unit)
        return IdColumn(array, dtype, missing=_mask(np.isnat(array)))
    if kind in "OUST":
        return from_objects(array.tolist(), what)
    raise SchemaError(f"{what}: ids have dtype {array.dtype}, but must be numbers, text or dates; convert them")


def from_objects(values: Sequence[Any], what: str = "ids") -> IdColumn:
    """Read ids from Python objects, telling the kind from the values.

    Parameters
    ----------
    values : sequence (n,)
        Hashable objects; None, NaN, NaT and pandas.NA are missing.
    what : str
        Start of a message.

    Returns
    -------
    IdColumn
        Of kind `object` where the values are of several families (`[1, "a"]`); whole and broken numbers together are
        floats as long as no digit is lost.

    Raises
    ------
    SchemaError
        A value is not hashable (a list, a dict).
    """
    types = set(map(type, values))
    if not types <= _NEVER_MISSING:
        mask = np.fromiter(map(_is_missing, values), dtype=np.bool_, count=len(values))
        if mask.any():
            present = from_objects([v for v, gone in zip(values, mask.tolist(), strict=True) if not gone], what)
            return _spread(present, mask)
    for kind, accepts in _FAMILIES:
        if types and all(issubclass(t, accepts) and not issubclass(t, _NOT_AMONG.get(kind, ())) for t in types):
            found = _native(kind, values)
            if found is not None:
                return found
    return _hashed(values, types, what)


def comparable(query: Array, dtype: np.dtype[Any]) -> tuple[Array, npt.NDArray[np.bool_] | None]:
    """Bring numbers or datetimes to another dtype and say which of them kept their value.

    Parameters
    ----------
    query : ndarray (n,)
        Integers, floats, booleans or datetime64.
    dtype : numpy.dtype
        Of the same family.

    Returns
    -------
    converted : ndarray (n,) of `dtype`
    same : bool ndarray (n,), or None for "all of them"
        Entries that are not `same` mean nothing in `converted`.
    """
    if query.dtype == dtype:
        return query, None
    # NumPy calls int64 to float64, and any unit of time to a finer one, safe; neither is.
    if np.can_cast(query.dtype, dtype, "safe") and query.dtype.kind == dtype.kind != "M":
        return query.astype(dtype), None
    with np.errstate(all="ignore"):
        if query.dtype.kind in "iu" and dtype.kind in "iu":
            # Bounds in the query's own dtype: int64 against uint64 would otherwise be compared as floats.
            low = max(np.iinfo(dtype).min, np.iinfo(query.dtype).min)
            high = min(np.iinfo(dtype).max, np.iinfo(query.dtype).max)
            kind = query.dtype.type
            return query.astype(dtype), (query >= kind(low)) & (query <= kind(high))
        if query.dtype.kind == "f" and dtype.kind in "iu":
            info = np.iinfo(dtype)
            wide = query.astype(np.float64)
            same = (np.floor(wide) == wide) & (wide >= float(info.min)) & (wide < float(info.max // 2 + 1) * 2.0)
            return np.where(same, wide, 0.0).astype(dtype), same
        converted = query.astype(dtype)
        if query.dtype.kind in "iu":
            back, same_back = comparable(converted, query.dtype)
            assert same_back is not None
            return converted, same_back & (back == query)
        return converted, converted.astype(query.dtype) == query


_FAMILIES: tuple[tuple[Kind, Any], ...] = (
    ("boolean", (bool, np.bool_)),
    ("integer", (int, np.integer)),
    ("float", (float, int, np.floating, np.integer)),
    ("string", str),
    ("datetime", (dt.datetime, np.datetime64)),
    ("date", dt.date),
)
# Subclasses that are another family all the same.
_NOT_AMONG: dict[Kind, Any] = {"integer": (bool, np.bool_), "float": (bool, np.bool_), "date": dt.datetime}
_NEVER_MISSING = {bool, int, str, bytes, np.bool_, np.str_, np.bytes_, dt.date, dt.datetime, tuple, list}
_NEVER_MISSING |= {np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64}


def _native(kind: Kind, values: Sequence[Any]) -> IdColumn | None:
    """Make an array of one family, or None where it cannot hold all values."""
    if kind == "boolean":
        return IdColumn(np.array(values, dtype=np.bool_), IdType("boolean"))
    if kind == "integer":
        # Through plain integers: NumPy turns a list of mixed widths into floats, and before version 2 wraps -1 to uint64.
        plain = [int(v) for v in values]
        low, high = min(plain), max(plain)
        name = "int64" if low >= -(2**63) and high < 2**63 else "uint64" if low >= 0 and high < 2**64 else None
        return None if name is None else IdColumn(np.array(plain, dtype=name), IdType("integer", name))
    if kind == "float":
        # Integers beyond 2**53 lose digits as floats: such a mixture stays as it is.
        lossless = all(abs(int(v)) <= 2**53 for v in values if isinstance(v, (int, np.integer)))
        return IdColumn(np.array(values, dtype=np.float64), IdType("float", "float64")) if lossless else None
    if kind == "string":
        rows, distinct = _factorize(values)
        return IdColumn(objects([str(v) for v in distinct]), IdType("string"), rows=rows)
    if kind == "date":
        return IdColumn(np.array(values, dtype="datetime64[D]"), IdType("date"))
    return _datetimes(values)


def _datetimes(values: Sequence[Any]) -> IdColumn | None:
    zones = {_zone(v) for v in values}
    if len(zones) > 1 and "" in zones:
        return None  # naive and aware ones cannot be compared
    zone = zones.pop() if len(zones) == 1 else "UTC"
    if all(type(v) is dt.datetime for v in values):
        plain = [v.astimezone(dt.timezone.utc).replace(tzinfo=None) if zone else v for v in values]
        return IdColumn(np.array(plain, dtype="datetime64[us]"), IdType("datetime", "us", zone))
    # pandas.Timestamp holds nanoseconds and knows how to hand them over, in UTC.
    array = np.array([v.to_datetime64() if hasattr(v, "to_datetime64") else _utc64(v) for v in values])
    column = from_numpy(array, "ids")
    return replace(column, dtype=replace(column.dtype, zone=zone)) if zone else column


def _utc64(value: Any) -> np.datetime64:
    if isinstance(value, np.datetime64):
        return value
    return np.datetime64(value.astimezone(dt.timezone.utc).replace(tzinfo=None) if value.tzinfo else value, "us")


def _zone(value: Any) -> str:
    zone = getattr(value, "tzinfo", None)
    if zone is None:
        return ""
    return getattr(zone, "key", None) or getattr(zone, "zone", None) or "UTC"


def _zone_info(name: str) -> dt.tzinfo | None:
    if name[:1] in ("+", "-"):
        return dt.datetime.strptime(name, "%z").tzinfo
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError):  # a machine without a time zone database
        return dt.timezone.utc


def _hashed(values: Sequence[Any], types: set[type], what: str) -> IdColumn:
    try:
        rows, distinct = _factorize(values)
    except TypeError:
        names = ", ".join(sorted({t.__name__ for t in types if t.__hash__ is None})) or "unhashable objects"
        raise SchemaError(
            f"{what}: ids of type {names} have no hash and cannot be told apart; turn them into text or tuples"
        ) from None
    kind: Kind = "object"
    if types and all(issubclass(t, bytes) for t in types):
        kind, distinct = "bytes", [bytes(v) for v in distinct]
    elif types and all(issubclass(t, decimal.Decimal) for t in types):
        kind = "decimal"
    return IdColumn(objects(distinct), IdType(kind), rows=rows)


def _factorize(values: Sequence[Any]) -> tuple[npt.NDArray[np.int32], list[Any]]:
    distinct = list(dict.fromkeys(values))
    place = dict(zip(distinct, range(len(distinct)), strict=True))
    return np.fromiter(map(place.__getitem__, values), dtype=np.int32, count=len(values)), distinct


def _spread(present: IdColumn, mask: npt.NDArray[np.bool_]) -> IdColumn:
    """Put missing entries between the present ones."""
    if present.rows is not None:
        rows = np.full(len(mask), -1, dtype=np.int32)
        rows[~mask] = present.rows
        return replace(present, rows=rows)
    values = np.zeros(len(mask), dtype=present.values.dtype)
    values[~mask] = present.values
    return replace(present, values=values, missing=mask)


def _mask(missing: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_] | None:
    return missing if missing.any() else None


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, (float, np.floating)):
        return bool(value != value)
    if isinstance(value, decimal.Decimal):
        return value.is_nan()
    if isinstance(value, np.datetime64):
        return bool(np.isnat(value))
    return type(value).__name__ in ("NAType", "NaTType")


def _python_values(values: Array, dtype: IdType) -> list[Any]:
    if dtype.kind != "datetime":
        return cast("list[Any]", values.tolist())
    return list(_datetime_objects(values, dtype))


def _datetime_objects(values: Array, dtype: IdType) -> Iterator[Any]:
    zone = _zone_info(dtype.zone)
    micro = values.astype("datetime64[us]")
    for exact, value in zip(values, micro.tolist(), strict=True):
        if not isinstance(value, dt.datetime) or (dtype.name == "ns" and np.datetime64(value, "us") != exact):
            yield exact  # outside Python's years or finer than microseconds
        else:
            yield value.replace(tzinfo=dt.timezone.utc).astimezone(zone) if zone else value
