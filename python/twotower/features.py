"""Columns as arrays: ids and categories as row numbers, lists as ragged codes, quantities as scaled float32.

A `FeatureEncoder` learns vocabularies and statistics from the table of one side, once per user or item, and turns any
table with these columns into what `core.FeatureTable` takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from twotower import frames, persistence
from twotower.errors import DataError, SchemaError, count_of, first_five
from twotower.ids import Array, IdColumn
from twotower.schema import Category, Column, Field, Numeric, Side, column_from_meta, column_to_meta
from twotower.vocabulary import Rows, Vocabulary

__all__ = ["Encoded", "EncodedBags", "EncodedCodes", "EncodedNumbers", "FeatureEncoder", "Vocabulary"]


@dataclass(frozen=True, eq=False)
class EncodedCodes:
    """One code a row.

    Parameters
    ----------
    codes : int32 ndarray (n,)
        0 for missing or unknown, else 1 to vocabulary_size - 1.
    vocabulary_size : int
    """

    codes: Rows
    vocabulary_size: int


@dataclass(frozen=True, eq=False)
class EncodedBags:
    """Any number of codes a row, at least one.

    Parameters
    ----------
    offsets : int64 ndarray (n + 1,)
        Row i has codes[offsets[i]:offsets[i + 1]].
    codes : int32 ndarray (offsets[n],)
        A row without a known value has the code 0 alone.
    vocabulary_size : int
    """

    offsets: npt.NDArray[np.int64]
    codes: Rows
    vocabulary_size: int


@dataclass(frozen=True, eq=False)
class EncodedNumbers:
    """One number a row.

    Parameters
    ----------
    values : float32 ndarray (n,)
        Scaled; NaN where missing, otherwise finite.
    """

    values: npt.NDArray[np.float32]


Encoded: TypeAlias = EncodedCodes | EncodedBags | EncodedNumbers


@dataclass(frozen=True)
class _Learned:
    """What `fit` keeps of one column: a vocabulary, or the mean and deviation of a quantity."""

    vocabulary: Vocabulary | None = None
    mean: float = 0.0
    deviation: float = 1.0
    missing: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class FeatureEncoder:
    """The feature columns of one side, learned from its table.

    Made by `fit` or `from_state`; does not change afterwards.

    Examples
    --------
    >>> import pandas as pd
    >>> people = frames.table(pd.DataFrame({"age": [20.0, 40.0, None], "job": ["cook", None, "nurse"]}), "people")
    >>> encoder = FeatureEncoder.fit(people, [Numeric("age"), Category("job")], "people")
    >>> age, job = encoder.transform(people, "people")
    >>> age.values.tolist(), job.codes.tolist(), job.vocabulary_size
    ([-1.0, 1.0, nan], [1, 0, 2], 3)
    """

    columns: tuple[Column, ...] = ()
    _learned: tuple[_Learned, ...] = field(default=(), repr=False)

    @classmethod
    def fit(cls, frame: frames.Frame, columns: Sequence[Column], what: str) -> FeatureEncoder:
        """Learn vocabularies and statistics.

        Parameters
        ----------
        frame : narwhals.DataFrame (n rows)
            One row a user or item, at least one.
        columns : sequence of Category, Categories or Numeric
        what : str
            Start of a message, such as "fit: users".

        Raises
        ------
        SchemaError
            A column is not there, or its dtype does not fit its kind.
        DataError
            An infinite value.

        Notes
        -----
        The deviation is that of the rows with a value, divided by their number (not one less). A column of one value,
        or without any, is only shifted: its mean becomes zero.
        """
        return cls(tuple(columns), tuple(_learn(frame, c, what) for c in columns))

    def transform(self, frame: frames.Frame, what: str) -> list[Encoded]:
        """Encode a table, also of rows that `fit` never saw.

        Parameters
        ----------
        frame : narwhals.DataFrame (n rows)
        what : str
            Start of a message.

        Returns
        -------
        list of EncodedCodes, EncodedBags or EncodedNumbers
            In the order of `columns`.

        Raises
        ------
        SchemaError
            A column is not there, or its dtype does not fit its kind.
        DataError
            An infinite value, or one too large for float32 after scaling.
        """
        return [_apply(frame, c, k, what) for c, k in zip(self.columns, self._learned, strict=True)]

    def fields(self, side: Side) -> list[Field]:
        """Lines for `schema.Schema`, in the order of `columns`."""
        return [
            Field(c.kind, side, c.column, k.vocabulary.size if k.vocabulary else None, k.missing, k.note)
            for c, k in zip(self.columns, self._learned, strict=True)
        ]

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Plain JSON and arrays, for `persistence.write`."""
        parts: list[dict[str, Any]] = []
        arrays: dict[str, Array] = {}
        for number, (column, learned) in enumerate(zip(self.columns, self._learned, strict=True)):
            part = {"column": column_to_meta(column), "missing": learned.missing, "note": learned.note}
            if learned.vocabulary is None:
                arrays[f"{number}.scale"] = np.array([learned.mean, learned.deviation])
            else:
                part["ids"], found = learned.vocabulary.state()
                arrays |= persistence.prefix(str(number), found)
            parts.append(part)
        return {"columns": parts}, arrays

    @classmethod
    def from_state(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> FeatureEncoder:
        """Undo `state`; DataError where the parts do not fit together."""
        columns: list[Column] = []
        learned: list[_Learned] = []
        try:
            for number, part in enumerate(meta["columns"]):
                own = persistence.unprefix(str(number), arrays)
                known = {"missing": part["missing"], "note": part["note"]}
                if "ids" in part:
                    learned.append(_Learned(Vocabulary.from_state(part["ids"], own), **known))
                else:
                    mean, deviation = own["scale"].tolist()
                    learned.append(_Learned(None, mean, deviation, **known))
                columns.append(column_from_meta(part["column"]))
        except (KeyError, TypeError, ValueError, SchemaError) as error:
            raise DataError(
                f"load: the features in the file do not fit together ({error!r}); save the model again"
            ) from error
        return cls(tuple(columns), tuple(learned))


def _learn(frame: frames.Frame, column: Column, what: str) -> _Learned:
    series = frames.column(frame, column.column, what)
    place = f"{what}: column {column.column!r}"
    if isinstance(column, Numeric):
        return _learn_numbers(_finite(frames.numbers(series, place), place), column)
    if isinstance(column, Category):
        values = _category_ids(series, place)
        missing = values.missing_rows().size
    else:
        offsets, values = frames.lists(series, place, column.separator)
        missing = int((np.diff(offsets) == 0).sum())
    vocabulary = Vocabulary.fit(values, place, missing="skip")
    note = ""
    if column.min_count > 1:
        rows = vocabulary.encode(values)
        counts = np.bincount(rows[rows >= 0], minlength=vocabulary.size)
        rare = int((counts < column.min_count).sum())
        vocabulary = Vocabulary(vocabulary.ids.take(counts >= column.min_count))
        note = f"{count_of(rare, 'value')} in fewer than {column.min_count} rows taken as unknown" if rare else ""
    return _Learned(vocabulary, missing=missing / max(len(series), 1), note=note)


def _apply(frame: frames.Frame, column: Column, learned: _Learned, what: str) -> Encoded:
    series = frames.column(frame, column.column, what)
    place = f"{what}: column {column.column!r}"
    if isinstance(column, Numeric):
        return EncodedNumbers(_scaled(_finite(frames.numbers(series, place), place), learned, place))
    assert learned.vocabulary is not None
    size = learned.vocabulary.size + 1
    if isinstance(column, Category):
        return EncodedCodes(learned.vocabulary.encode(_category_ids(series, place)) + np.int32(1), size)
    offsets, values = frames.lists(series, place, column.separator)
    return _bags(offsets, learned.vocabulary.encode(values) + np.int32(1), size)


def _category_ids(series: frames.Series, place: str) -> IdColumn:
    kind = frames.kind_of(series)
    if kind in ("list", "struct", "date", "datetime", "duration", "time"):
        cure = "use Categories for lists" if kind == "list" else "turn them into text or numbers"
        raise SchemaError(f"{place} holds {kind}s ({series.dtype}), but Category needs one value a row; {cure}")
    found = frames.ids(series, place)
    if found.rows is None and found.values.dtype.kind == "f":
        _finite(found.values, place)
    return found


def _bags(offsets: npt.NDArray[np.int64], codes: Rows, size: int) -> EncodedBags:
    """Drop unknown codes; a row left without any gets the code 0."""
    counts = np.diff(offsets)
    known = np.bincount(np.repeat(np.arange(len(counts)), counts)[codes > 0], minlength=len(counts)).astype(np.int64)
    bounds = np.concatenate([[0], np.cumsum(np.maximum(known, 1))]).astype(np.int64)
    filled = np.zeros(bounds[-1], dtype=np.int32)
    filled[np.repeat(known > 0, np.maximum(known, 1))] = codes[codes > 0]
    return EncodedBags(bounds, filled, size)


def _finite(values: Array, place: str) -> Array:
    bad = np.flatnonzero(np.isinf(values))
    if bad.size:
        raise DataError(
            f"{place} is infinite in {count_of(bad.size, 'row')} (first: {first_five(bad.tolist())}); "
            "make these values finite or missing"
        )
    return values


def _learn_numbers(values: Array, column: Numeric) -> _Learned:
    present = values[~np.isnan(values)]
    missing = 1.0 - present.size / max(values.size, 1)
    if present.size == 0:
        return _Learned(missing=missing, note="no value in any row")
    low, high = float(present.min()), float(present.max())
    note = f"{low:.6g} to {high:.6g}"
    if column.scale == "none":
        return _Learned(missing=missing, note=f"{note}, not scaled")
    if low == high:
        return _Learned(None, low, 1.0, missing, f"always {low:.6g}, becomes 0")
    # A power of two takes huge and tiny values to about 1 without changing a digit; their squares stay finite.
    power = int(np.frexp(max(abs(low), abs(high)))[1])
    near = np.ldexp(present, -power)
    mean, deviation = np.ldexp(near.mean(), power), np.ldexp(near.std(), power)
    return _Learned(None, float(mean), float(deviation) or 1.0, missing, note)


def _scaled(values: Array, learned: _Learned, place: str) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        scaled = ((values - learned.mean) / learned.deviation).astype(np.float32)
    bad = np.flatnonzero(np.isinf(scaled))
    if bad.size:
        raise DataError(
            f"{place} is too large for float32 in {count_of(bad.size, 'row')} (first: {first_five(bad.tolist())}); "
            "divide the column by a power of ten"
        )
    return scaled
