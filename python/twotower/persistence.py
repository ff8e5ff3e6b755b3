"""One file a model: a JSON description and arrays, without pickle, whole or not at all.

The file is a safetensors file, readable by any safetensors reader, whose metadata has the single key `twotower`. The
same content gives the same bytes. Loading runs no code from the file and checks a digest of everything in it.
"""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from twotower import files
from twotower import ids as _ids
from twotower.errors import DataError
from twotower.ids import Array, IdColumn, IdType

__all__ = ["FORMAT", "ids_from_state", "ids_to_state", "prefix", "read", "unprefix", "write"]

# Raised by one when an older twotower could not read, or would misread, what this one writes.
FORMAT = 2
_KEY = "twotower"


def write(path: str | os.PathLike[str], kind: str, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write a file, whole or not at all.

    Parameters
    ----------
    path : path
        An existing file is replaced at the end in one step; until then it stays as it is.
    kind : str
        What the file holds, such as the name of a model's class.
    meta : mapping
        Anything JSON can hold, with text as keys and finite numbers.
    arrays : mapping of name to ndarray
        Booleans, integers and floats of any shape.

    Raises
    ------
    DataError
        The place cannot be written (no such folder, read-only, full disk, a folder of this name).
    TypeError, ValueError
        `meta` or an array is of a type that has no place in the file.

    Notes
    -----
    Cost: the size of the arrays twice in memory while writing.
    """
    from safetensors.numpy import save

    tensors = {name: _portable(name, array) for name, array in arrays.items()}
    head: dict[str, Any] = {"format": FORMAT, "kind": kind, "meta": dict(meta)}
    head["digest"] = _digest(head, tensors)
    data = save(tensors, {_KEY: _json(head)})
    with files.whole(path, "save") as file:
        file.write(data)


def read(path: str | os.PathLike[str]) -> tuple[str, dict[str, Any], dict[str, Array]]:
    """Read a file that `write` made.

    Parameters
    ----------
    path : path

    Returns
    -------
    kind : str
    meta : dict
    arrays : dict of name to ndarray
        Fresh and writable.

    Raises
    ------
    DataError
        No file, not one of ours, damaged anywhere, or written by a newer twotower.
    """
    from safetensors import SafetensorError, safe_open

    name = os.fspath(path)
    if not os.path.isfile(name):
        found = "is a folder" if os.path.isdir(name) else "is not there"
        raise DataError(f"load: {name!r} {found}; name a file that save() wrote")
    try:
        with safe_open(name, framework="numpy") as file:
            head = _head(name, file.metadata())
            # safetensors knows more dtypes than NumPy (bfloat16): none of ours, and an error of another kind each.
            arrays = {key: file.get_tensor(key) for key in sorted(file.keys())}
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"load: cannot read {name!r}: {error.strerror or error}; {files.cure(error)}") from error
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise _damaged(name, f"is no whole twotower file ({error})") from error
    digest = head.pop("digest", None)
    if digest != _digest(head, arrays):
        raise _damaged(name, "is damaged (its content does not match its digest)")
    return head["kind"], head["meta"], arrays


def prefix(name: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Put a part's arrays under its name, as in `users.values`."""
    return {f"{name}.{key}": array for key, array in arrays.items()}


def unprefix(name: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Undo `prefix`: the arrays under a name, without it."""
    return {key[len(name) + 1 :]: array for key, array in arrays.items() if key.startswith(f"{name}.")}


def ids_to_state(column: IdColumn) -> tuple[dict[str, Any], dict[str, Array]]:
    """Write ids as JSON and arrays.

    Parameters
    ----------
    column : IdColumn
        Without `rows` and without missing ids, such as `Vocabulary.ids`.

    Returns
    -------
    meta : dict
    arrays : dict
        `values` for numbers, dates (days) and datetimes (their unit); otherwise `bytes` uint8 and `ends` int64, the
        texts one after the other and where each ends.

    Raises
    ------
    DataError
        Objects of a type that has no plain form; text, numbers, dates, Decimals, UUIDs, bytes and tuples of them have
        one.
    """
    meta = asdict(column.dtype)
    meta["levels"] = list(column.dtype.levels)
    kind, values = column.dtype.kind, column.values
    if kind in ("integer", "float", "boolean"):
        return meta, {"values": values}
    if kind in ("date", "datetime"):
        return meta, {"values": values.astype(np.int64)}
    if kind == "string":
        texts = [v.encode("utf-8", "surrogatepass") for v in values]
    elif kind == "bytes":
        texts = list(values)
    else:
        texts = [json.dumps(_plain(v), ensure_ascii=True, separators=(",", ":")).encode() for v in values]
    ends = np.cumsum(np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)), dtype=np.int64)
    return meta, {"bytes": np.frombuffer(b"".join(texts), dtype=np.uint8), "ends": ends}


def ids_from_state(meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> IdColumn:
    """Undo `ids_to_state`.

    Raises
    ------
    DataError
        The parts do not fit together.
    """
    try:
        dtype = IdType(**{**meta, "levels": tuple(meta["levels"])})
        if dtype.kind in ("integer", "float", "boolean"):
            return IdColumn(arrays["values"].astype("bool" if dtype.kind == "boolean" else dtype.name), dtype)
        if dtype.kind in ("date", "datetime"):
            unit = "D" if dtype.kind == "date" else dtype.name
            return IdColumn(arrays["values"].astype(f"datetime64[{unit}]"), dtype)
        data, ends = arrays["bytes"].tobytes(), arrays["ends"].tolist()
        parts = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        if dtype.kind == "string":
            return IdColumn(_ids.objects([p.decode("utf-8", "surrogatepass") for p in parts]), dtype)
        if dtype.kind == "bytes":
            return IdColumn(_ids.objects(parts), dtype)
        return IdColumn(_ids.objects([_unplain(json.loads(p)) for p in parts]), dtype)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise DataError(f"load: the ids in the file do not fit together ({error!r}); save the model again") from error


# --- the file ---------------------------------------------------------------------------------------------------------


def _portable(name: str, array: Array) -> Array:
    """Contiguous and little-endian, as safetensors takes it for granted."""
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(
            f"save: array {name!r} has dtype {array.dtype}, but must be bool, an integer or a float of up to 64 bits"
        )
    # ascontiguousarray would make an array without dimensions one-dimensional.
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def _digest(head: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    """Make a short digest of the description and of every array with its name, dtype and shape."""
    total = hashlib.blake2b(_json({k: head[k] for k in ("format", "kind", "meta")}).encode(), digest_size=16)
    for name in sorted(arrays):
        array = arrays[name]
        total.update(_json([name, array.dtype.str, list(array.shape)]).encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def _head(name: str, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    if not metadata or _KEY not in metadata:
        raise DataError(f"load: {name!r} is a safetensors file, but not of twotower; name a file that save() wrote")
    head = json.loads(metadata[_KEY])
    if not isinstance(head, dict) or not isinstance(head.get("format"), int):
        raise ValueError("its description has no format number")
    if head["format"] > FORMAT:
        raise DataError(
            f"load: {name!r} was written by a newer twotower "
            f"(file format {head['format']}, this one reads up to {FORMAT}); upgrade twotower"
        )
    if not isinstance(head.get("kind"), str) or not isinstance(head.get("meta"), dict):
        raise ValueError("its description is incomplete")
    return head


def _damaged(name: str, what: str) -> DataError:
    return DataError(f"load: {name!r} {what}; copy it again from its source, or save the model again")


# --- ids that are Python objects --------------------------------------------------------------------------------------

_PLAIN: dict[type, tuple[str, Callable[[Any], Any]]] = {
    bool: ("bool", bool),
    int: ("int", str),
    float: ("float", float.hex),
    str: ("str", str),
    bytes: ("bytes", bytes.hex),
    decimal.Decimal: ("decimal", str),
    uuid.UUID: ("uuid", str),
    dt.date: ("date", dt.date.isoformat),
    dt.datetime: ("datetime", dt.datetime.isoformat),
}
_BACK: dict[str, Callable[[Any], Any]] = {
    "bool": bool,
    "int": int,
    "float": float.fromhex,
    "str": str,
    "bytes": bytes.fromhex,
    "decimal": decimal.Decimal,
    "uuid": uuid.UUID,
    "date": dt.date.fromisoformat,
    "datetime": dt.datetime.fromisoformat,
    "tuple": lambda parts: tuple(map(_unplain, parts)),
    "frozenset": lambda parts: frozenset(map(_unplain, parts)),
    "none": lambda _: None,
}


def _plain(value: Any) -> list[Any]:
    if value is None:
        return ["none", 0]
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) is tuple:
        return ["tuple", [_plain(v) for v in value]]
    if type(value) is frozenset:
        return ["frozenset", sorted((_plain(v) for v in value), key=_json)]
    if type(value) not in _PLAIN:
        raise DataError(
            f"save: ids of type {type(value).__name__} have no plain form ({value!r}); turn them into text before fit"
        )
    tag, write_out = _PLAIN[type(value)]
    return [tag, write_out(value)]


def _unplain(parts: Any) -> Any:
    tag, text = parts
    return _BACK[tag](text)
