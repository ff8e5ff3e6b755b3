"""The plain columns of the table of items, kept with a model so that `where=` can look at them.

Numbers, booleans, times, text and lists of these; text as distinct values and row numbers, so that a million rows of
twenty genres cost twenty objects. What cannot be compared (vectors, structs, mixed objects) and long text are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from twotower import frames
from twotower.errors import DataError, SchemaError
from twotower.ids import Array, IdColumn, IdType, objects
from twotower.persistence import ids_from_state, ids_to_state, prefix, unprefix

__all__ = ["KIND_WORDS", "Catalogue", "Column", "kind_word"]

# Text of more bytes a row than this on average is a description: left out, it could cost more than the model.
_LONG_TEXT = 1024

KIND_WORDS = {
    "number": "numbers", "boolean": "booleans", "time": "times", "text": "text", "list": "lists",
    "struct": "structs", "duration": "durations", "bytes": "bytes", "object": "mixed objects", "vector": "vectors",
    "long text": "long text", "empty": "nothing",
}  # fmt: skip
_KINDS = {
    "integer": "number", "float": "number", "boolean": "boolean", "string": "text", "date": "time", "datetime": "time",
}  # fmt: skip


def kind_word(kind: str) -> str:
    return KIND_WORDS.get(kind, kind)


@dataclass(frozen=True, eq=False)
class Column:
    """One column.

    Parameters
    ----------
    values : IdColumn
        An entry a row; of a list column, an entry an element.
    offsets : int64 ndarray (n + 1,), optional
        Of a list column: row i has the elements offsets[i] to offsets[i + 1]. A missing list is an empty one.
    """

    values: IdColumn
    offsets: Array | None = None

    def __len__(self) -> int:
        return len(self.values) if self.offsets is None else len(self.offsets) - 1

    @property
    def kind(self) -> str:
        """One of number, boolean, time, text, list; empty where every entry is missing and no dtype says more."""
        if self.offsets is not None:
            return "list"
        return "empty" if self.values.dtype.kind == "object" else _KINDS[self.values.dtype.kind]

    @property
    def words(self) -> str:
        """What it holds, for messages: columns of the same words can be joined."""
        if self.offsets is not None:
            return f"lists of {_words(self.values)}" if len(self.values) else "lists"
        return "nothing" if self.kind == "empty" else _words(self.values)

    @property
    def missing(self) -> Array:
        """Bool (n,): no value, or an empty list."""
        return np.diff(self.offsets) == 0 if self.offsets is not None else _mask(self.values)

    @classmethod
    def nothing(cls, size: int) -> Column:
        """A column of missing entries."""
        return cls(IdColumn(objects([]), IdType("object"), rows=np.full(size, -1, dtype=np.int32)))

    def take(self, rows: Array) -> Column:
        """Pick rows."""
        if self.offsets is None:
            return Column(self.values.take(rows))
        counts = np.diff(self.offsets)[rows]
        ends = np.cumsum(counts)
        places = np.repeat(self.offsets[rows] - (ends - counts), counts) + np.arange(int(ends[-1]) if len(ends) else 0)
        return Column(self.values.take(places), np.concatenate([[0], ends]).astype(np.int64))

    def joined(self, other: Column) -> Column:
        """Put the other column behind; both of one kind, or one of them empty."""
        if self.kind == "empty" or other.kind == "empty":
            return _joined_with_nothing(self, other)
        values = _joined(self.values, other.values)
        if self.offsets is None or other.offsets is None:
            return Column(values)
        return Column(values, np.concatenate([self.offsets, self.offsets[-1] + other.offsets[1:]]))


class Catalogue:
    """The plain columns of the items, row by row as the model has them.

    Parameters
    ----------
    size : int
        Items.
    columns : mapping of name to Column
    left_out : mapping of name to str
        What other columns hold, in a word.
    """

    def __init__(self, size: int, columns: Mapping[str, Column], left_out: Mapping[str, str]) -> None:
        self.size, self.columns, self.left_out = size, dict(columns), dict(left_out)

    @classmethod
    def empty(cls, size: int) -> Catalogue:
        """No columns, where there was no table."""
        return cls(size, {}, {})

    @classmethod
    def read(cls, table: frames.Frame, id_col: str, what: str) -> Catalogue:
        """Read a table whose rows are in the order of the model's.

        Parameters
        ----------
        table : narwhals.DataFrame (items rows)
        id_col : str
            Left out: the model has the ids.
        what : str
            Start of messages, such as "fit: items".

        Notes
        -----
        Never fails on what a column holds: what is no plain column is left out. Numbers and times keep their dtype.
        """
        columns, left_out = {}, {}
        for name in table.columns:
            if name == id_col:
                continue
            found = _read_column(frames.column(table, name, what), f"{what}: column {name!r}")
            if isinstance(found, Column):
                columns[name] = found
            else:
                left_out[name] = found
        return cls(len(table), columns, left_out)

    def extended(self, table: frames.Frame | None, count: int, where: str, id_col: str) -> Catalogue:
        """Add items at the end.

        Parameters
        ----------
        table : narwhals.DataFrame (count rows) or None
            Columns that it lacks are missing for the new items; columns that are new are missing for the old ones.
        count : int
            New items.
        where : str
            Start of messages, such as "add_items: items".
        id_col : str

        Raises
        ------
        SchemaError
            A column holds another kind of values than before.
        """
        if count == 0:
            return self
        new = Catalogue.empty(count) if table is None else Catalogue.read(table, id_col, where)
        drifted = [name for name in new.left_out if name in self.columns]
        for name, column in new.columns.items():
            old = self.columns.get(name)
            if old is not None and not _fit_together(old, column):
                drifted.append(name)
        if drifted:
            name = drifted[0]
            holds = new.columns[name].words if name in new.columns else kind_word(new.left_out[name])
            raise SchemaError(
                f"{where}: column {name!r} holds {holds}, but held {self.columns[name].words} before; convert it"
            )
        left_out = new.left_out | self.left_out
        columns = {}
        for name in [*self.columns, *new.columns]:
            if name not in left_out:
                before = self.columns.get(name) or Column.nothing(self.size)
                columns[name] = before.joined(new.columns.get(name) or Column.nothing(count))
        return Catalogue(self.size + count, columns, left_out)

    def replaced(self, rows: Array, table: frames.Frame, where: str, id_col: str) -> Catalogue:
        """Give the items of `rows`, int (n,), the values of a table of n rows; else as `extended`."""
        longer = self.extended(table, len(rows), where, id_col)
        order = np.arange(self.size)
        order[rows] = self.size + np.arange(len(rows))
        return Catalogue(self.size, {name: c.take(order) for name, c in longer.columns.items()}, longer.left_out)

    # --- one file -----------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Plain JSON and arrays, for `persistence.write`."""
        described = []
        arrays: dict[str, Array] = {}
        for number, (name, column) in enumerate(self.columns.items()):
            values = column.values
            meta, parts = ids_to_state(replace(values, rows=None, missing=None))
            extra = {"rows": values.rows, "missing": values.missing, "offsets": column.offsets}
            parts |= {key: array for key, array in extra.items() if array is not None}
            described.append({"name": name, "values": meta})
            arrays |= prefix(str(number), parts)
        return {"columns": described, "left_out": self.left_out}, arrays

    @classmethod
    def from_state(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array], size: int) -> Catalogue:
        """Undo `state`; DataError where the parts do not fit together."""
        columns = {}
        for number, described in enumerate(meta.get("columns", [])):
            parts = unprefix(str(number), arrays)
            values = ids_from_state(described["values"], parts)
            values = replace(values, rows=parts.get("rows"), missing=parts.get("missing"))
            column = Column(values, parts.get("offsets"))
            if len(column) != size:
                raise DataError(
                    f"load: column {described['name']!r} of the items has {len(column)} entries in the file, "
                    f"but must have {size}; save the model again"
                )
            columns[described["name"]] = column
        return cls(size, columns, meta.get("left_out", {}))


def _read_column(series: frames.Series, what: str) -> Column | str:
    """Read a column, or say in a word what it holds that is not kept."""
    kind = frames.kind_of(series)
    try:
        if kind == "list":
            return _read_lists(series, what)
        if kind == "empty":
            return Column.nothing(len(series))
        if kind == "decimal":
            return Column(frames.ids(frames.numbers(series, what), what))
        if kind not in (*_KINDS, "categorical"):
            return kind
        values = frames.ids(series, what)
    except (SchemaError, DataError):
        return "object"
    if values.dtype.kind not in _KINDS:
        return "object"
    return "long text" if _is_long(values, len(series)) else Column(_plain(values))


def _read_lists(series: frames.Series, what: str) -> Column | str:
    # Vectors are known by their dtype or by the first of them: a million of them must not become Python floats.
    if _is_vector(series):
        return "vector"
    native = series.to_native()
    if "null" in str(getattr(native, "type", getattr(native, "dtype", ""))).lower():
        # A dtype for lists that are all empty.
        return Column(IdColumn(objects([]), IdType("object")), np.zeros(len(series) + 1, dtype=np.int64))
    offsets, values = frames.lists(series, what)
    if len(values) and values.dtype.kind not in _KINDS:
        return "object"
    return "long text" if _is_long(values, len(series)) else Column(_plain(values), offsets)


def _is_vector(series: frames.Series) -> bool:
    inner = getattr(series.dtype, "inner", None)
    if inner is not None:
        return bool(inner.is_float())
    lists = (value for value in series.to_list() if isinstance(value, (list, tuple, np.ndarray)) and len(value))
    return any(isinstance(value[0], (float, np.floating)) for value in islice(lists, 1))


def _fit_together(old: Column, new: Column) -> bool:
    if "empty" in (old.kind, new.kind) or old.words == new.words:
        return True
    return old.kind == new.kind == "list" and "lists" in (old.words, new.words)


def _words(values: IdColumn) -> str:
    words = kind_word(_KINDS[values.dtype.kind])
    return f"{words} with a zone" if values.dtype.zone else words


def _is_long(values: IdColumn, rows: int) -> bool:
    return values.dtype.kind == "string" and sum(map(len, values.values)) > _LONG_TEXT * max(rows, 1)


def _plain(values: IdColumn) -> IdColumn:
    """Without what only matters for giving a column back."""
    dtype = IdType(values.dtype.kind, values.dtype.name, values.dtype.zone)
    rows = None if values.rows is None else values.rows.astype(np.int32, copy=False)
    return replace(values, dtype=dtype, rows=rows)


def _joined(one: IdColumn, other: IdColumn) -> IdColumn:
    if not len(one) or not len(other):
        return one if len(one) else other
    if one.dtype.kind == "string" or other.dtype.kind == "string":
        return _joined_texts(one, other)
    a, b = (values.values[values.rows] if values.rows is not None else values.values for values in (one, other))
    missing = np.concatenate([_mask(one), _mask(other)])
    values = np.concatenate([a, b])
    if values.dtype.kind == "M":
        unit = np.datetime_data(values.dtype)[0]
        dtype = IdType("date") if unit == "D" else IdType("datetime", unit, one.dtype.zone or other.dtype.zone)
    else:
        kinds = {"b": "boolean", "f": "float"}
        dtype = IdType(kinds.get(values.dtype.kind, "integer"), values.dtype.name if values.dtype.kind != "b" else "")  # type: ignore[arg-type]
    return IdColumn(values, dtype, missing=missing if missing.any() else None)


def _joined_texts(one: IdColumn, other: IdColumn) -> IdColumn:
    place = {value: row for row, value in enumerate(one.values.tolist())}
    new = [place.setdefault(value, len(place)) for value in other.values.tolist()]
    rows = [np.arange(len(v.values), dtype=np.int32) if v.rows is None else v.rows for v in (one, other)]
    # The last entry answers -1, a missing row.
    rows[1] = np.array([*new, -1], dtype=np.int32)[rows[1]]
    return IdColumn(objects(list(place)), one.dtype, rows=np.concatenate(rows))


def _joined_with_nothing(one: Column, other: Column) -> Column:
    """Join where a column holds nothing: it takes the other's kind."""
    if one.kind == other.kind == "empty":
        return Column.nothing(len(one) + len(other))
    there, gone_first = (other, True) if one.kind == "empty" else (one, False)
    gone = len(one) if gone_first else len(other)
    if there.offsets is not None:
        padding = np.full(gone, 0 if gone_first else there.offsets[-1])
        parts = (padding, there.offsets) if gone_first else (there.offsets, padding)
        return Column(there.values, np.concatenate(parts))
    if there.values.rows is not None:
        nothing = np.full(gone, -1, dtype=np.int32)
        rows: Sequence[Array] = (nothing, there.values.rows) if gone_first else (there.values.rows, nothing)
        return Column(replace(there.values, rows=np.concatenate(rows)))
    zeros, mask = np.zeros(gone, dtype=there.values.values.dtype), np.ones(gone, dtype=np.bool_)
    values: Sequence[Array] = (zeros, there.values.values) if gone_first else (there.values.values, zeros)
    masks: Sequence[Array] = (mask, _mask(there.values)) if gone_first else (_mask(there.values), mask)
    return Column(replace(there.values, values=np.concatenate(values), missing=np.concatenate(masks)))


def _mask(values: IdColumn) -> Array:
    found = np.zeros(len(values), dtype=np.bool_)
    found[values.missing_rows()] = True
    return found
