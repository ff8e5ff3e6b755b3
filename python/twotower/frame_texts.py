"""How a column of texts becomes one buffer of UTF-8: by its library where it can, else with what CPython does in C.

No library is imported before one of its own columns is at hand.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from twotower.errors import SchemaError

__all__ = ["Texts", "join", "read"]

# Texts joined at a time: what is joined stands in memory twice for a moment, and a single emoji makes CPython use four
# bytes for every character of what it is joined with.
_BLOCK = 1 << 16


class Texts(NamedTuple):
    """A column of texts.

    Parameters
    ----------
    buffer : uint8 ndarray (bytes,)
        All texts in UTF-8, one after the other. Ill-formed bytes are possible; the core takes them for U+FFFD.
    offsets : int64 ndarray (n + 1,)
        Text i is buffer[offsets[i]:offsets[i + 1]].
    missing : bool ndarray (n,) or None
        A missing text is empty in the buffer. None: nothing is missing.
    """

    buffer: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    missing: npt.NDArray[np.bool_] | None


def read(series: Any, what: str) -> Texts | None:
    """Read a column of texts.

    Parameters
    ----------
    series : narwhals.Series
    what : str
        Start of a message.

    Returns
    -------
    Texts or None
        None where the column holds something else.

    Raises
    ------
    SchemaError
        Text mixed with other values.
    """
    native = series.to_native()
    library = type(native).__module__.partition(".")[0]
    if library == "pyarrow":
        return _from_arrow(native)
    if library == "polars":
        return _from_polars(native, what)
    if library == "pandas":
        return _from_pandas(native, what)
    return _from_objects(series.to_list(), what)


def join(parts: Sequence[Texts]) -> Texts:
    """Put columns below each other.

    Parameters
    ----------
    parts : sequence of Texts

    Returns
    -------
    Texts
        The rows of the first, then those of the second, and so on.
    """
    bounds = np.cumsum([0, *(part.offsets[-1] for part in parts)])
    offsets = [np.zeros(1, np.int64), *(part.offsets[1:] + start for part, start in zip(parts, bounds, strict=False))]
    missing = None
    if any(part.missing is not None for part in parts):
        missing = np.concatenate(
            [np.zeros(len(p.offsets) - 1, np.bool_) if p.missing is None else p.missing for p in parts]
        )
    return Texts(np.concatenate([np.empty(0, np.uint8), *(p.buffer for p in parts)]), np.concatenate(offsets), missing)


def _from_polars(native: Any, what: str) -> Texts | None:
    polars = importlib.import_module("polars")
    dtype = type(native.dtype).__name__
    if dtype in ("Object", "Binary"):
        return _from_objects(native.to_list(), what)
    if dtype == "Null" or dtype in ("Categorical", "Enum"):
        native = native.cast(polars.String)
    elif dtype != "String":
        return None
    offsets = _offsets(native.str.len_bytes().fill_null(0).to_numpy())
    missing = native.is_null().to_numpy() if native.null_count() else None
    buffer = np.empty(offsets[-1], dtype=np.uint8)
    for start in range(0, len(native), _BLOCK):
        # As bytes: str() of a text with one wide character would take four bytes for each of its characters.
        block = native[start : start + _BLOCK].str.join("").cast(polars.Binary).item()
        begin = offsets[start]
        buffer[begin : begin + len(block)] = np.frombuffer(block, dtype=np.uint8)
    return Texts(buffer, offsets, missing)


def _from_pandas(native: Any, what: str) -> Texts | None:
    if hasattr(native, "cat"):
        levels = native.cat.categories
        if len(levels) and levels.dtype.kind in "biufcmM":
            return None
        return _from_objects(native.astype(object).tolist(), what)
    if hasattr(native.dtype, "pyarrow_dtype") or getattr(native.dtype, "storage", None) == "pyarrow":
        return _from_arrow(importlib.import_module("pyarrow").array(native.array))
    if str(native.dtype) == "object" or getattr(native.dtype, "storage", None) == "python":
        return _from_objects(native.tolist(), what)
    return None


def _from_arrow(native: Any) -> Texts | None:
    pyarrow = importlib.import_module("pyarrow")
    compute = importlib.import_module("pyarrow.compute")
    dtype = native.type
    if str(dtype).startswith("dictionary"):
        dtype = dtype.value_type
        native = native.cast(dtype)
    if str(dtype) not in (
        "string", "large_string", "string_view", "binary", "large_binary", "binary_view", "null",
    ):  # fmt: skip
        return None
    # Binary: for text the cast is a matter of names, and bytes are not refused for being no UTF-8.
    wide = native.cast(pyarrow.large_binary())
    missing = wide.is_null().to_numpy(zero_copy_only=False) if wide.null_count else None
    if missing is not None:
        wide = compute.fill_null(wide, b"")  # Arrow allows a missing text to have bytes
    chunks = [chunk for chunk in getattr(wide, "chunks", [wide]) if len(chunk)]
    parts = [_arrow_part(chunk) for chunk in chunks]
    if len(parts) == 1:
        return Texts(*parts[0], missing)
    found = join([Texts(*part, None) for part in parts])
    return Texts(found.buffer, found.offsets, missing)


def _arrow_part(chunk: Any) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    _, bounds, data = chunk.buffers()
    offsets = np.frombuffer(bounds, dtype=np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
    first, last = offsets[0], offsets[-1]
    if first == last:
        return np.empty(0, dtype=np.uint8), offsets - first
    return np.frombuffer(data, dtype=np.uint8)[first:last], offsets - first if first else offsets


def _from_objects(values: list[Any], what: str) -> Texts | None:
    missing = None
    kinds = set(map(type, values))
    if kinds != {str}:
        if not all(issubclass(kind, (str, bytes)) for kind in kinds):
            gone = [value is None or _is_missing(value) for value in values]
            if any(gone):
                missing = np.array(gone)
                values = ["" if none else value for value, none in zip(values, gone, strict=True)]
        others = [row for row, value in enumerate(values) if not isinstance(value, (str, bytes))]
        if len(others) == len(values) - (0 if missing is None else missing.sum()) and others:
            return None
        if others:
            odd = values[others[0]]
            raise SchemaError(
                f"{what} holds {type(odd).__name__} {odd!r} in row {others[0]} among text; make every value text"
            )
    whole, lengths = bytearray(), np.zeros(len(values), dtype=np.int64)
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        part, lengths[start : start + len(block)] = _encoded(block)
        whole += part
    return Texts(np.frombuffer(whole, dtype=np.uint8), _offsets(lengths), missing)


def _is_missing(value: Any) -> bool:
    return type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)


def _encoded(block: list[Any]) -> tuple[bytes, npt.NDArray[np.int64]]:
    try:
        whole = "".join(block)
    except TypeError:  # bytes among them
        whole = None
    if whole is not None and whole.isascii():
        return whole.encode(), np.fromiter(map(len, block), dtype=np.int64, count=len(block))
    # A lone surrogate has no UTF-8; passed on, it is ill-formed like other bytes.
    rows = [bytes(v) if isinstance(v, bytes) else str.encode(v, "utf-8", "surrogatepass") for v in block]
    return b"".join(rows), np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))


def _offsets(lengths: Any) -> npt.NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
