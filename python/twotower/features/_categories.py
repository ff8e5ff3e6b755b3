"""One value a row, or lists of them: codes of a vocabulary, which columns may share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from twotower import frames
from twotower.errors import DataError, SchemaError, count_of, first_five
from twotower.features._column import ColumnEncoder, Seen, Shared, drifted, finite
from twotower.features._encoded import Encoded, EncodedBags, EncodedCodes, Part, offsets_of
from twotower.ids import Array, IdColumn
from twotower.schema import Categories, Category
from twotower.vocabulary import Rows, Vocabulary

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["BagEncoder", "CategoryEncoder", "values_of", "vocabulary_of"]

Offsets: TypeAlias = npt.NDArray[np.int64]

_SINGLE = frozenset({"integer", "float", "boolean", "string", "categorical", "decimal", "bytes", "object"})


@dataclass(frozen=True, eq=False)
class _ValueEncoder(ColumnEncoder):
    """What a column of single values and one of lists share: a vocabulary, and a note on what is too rare."""

    column: Category | Categories
    seen: Seen
    vocabulary: Vocabulary
    note: str = ""

    @property
    def notes(self) -> list[str]:
        """How many values are too rare."""
        return [self.note]

    def grown(self, frame: frames.Frame, what: str, shared: Shared) -> Self:
        """Learn the new values of a table."""
        return replace(self, vocabulary=_grown(self.vocabulary, self.column, frame, what, shared))

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The vocabulary."""
        ids, arrays = self.vocabulary.state()
        return {"ids": ids, "note": self.note}, arrays

    @classmethod
    def from_state(
        cls, column: Category | Categories, seen: Seen, meta: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> Self:
        """Undo `state`."""
        return cls(column, seen, Vocabulary.from_state(meta["ids"], arrays), meta["note"])


@dataclass(frozen=True, eq=False)
class CategoryEncoder(_ValueEncoder):
    """A column with one value a row.

    Parameters
    ----------
    column : Category
    seen : Seen
    vocabulary : Vocabulary
        Its values; row i has code i + 1.
    note : str
    """

    ACCEPTS = _SINGLE

    column: Category

    @classmethod
    def fit(cls, frame: frames.Frame, column: Category, what: str, shared: Shared) -> CategoryEncoder:
        """Learn the values of a table, or take those of a shared vocabulary."""
        _, values = values_of(frame, column, what)
        vocabulary, note = _vocabulary_for(column, values, what, shared)
        seen = Seen.of(frames.column(frame, column.column, what), values.missing_rows().size)
        return cls(column, seen, vocabulary, note)

    @property
    def parts(self) -> tuple[Part, ...]:
        """One."""
        column = self.column
        size = self.vocabulary.size + 1
        return (Part(column.column, column, "codes", size, table=column.table, width=column.width),)

    def encode_series(self, series: frames.Series, frame: frames.Frame, place: str) -> list[Encoded]:
        """Find the codes."""
        values = _single(series, place)
        if self.vocabulary.is_of_another_type(values):
            raise drifted(place, values.dtype.label, self.vocabulary.dtype.label)
        return [EncodedCodes(self.vocabulary.encode(values) + np.int32(1), self.vocabulary.size + 1)]


@dataclass(frozen=True, eq=False)
class BagEncoder(_ValueEncoder):
    """A column of lists, or of text to be split.

    Parameters
    ----------
    column : Categories
    seen : Seen
    vocabulary : Vocabulary
        The values in the lists; row i has code i + 1.
    note : str
    """

    ACCEPTS = frozenset({"list"})

    column: Categories

    @classmethod
    def fit(cls, frame: frames.Frame, column: Categories, what: str, shared: Shared) -> BagEncoder:
        """Learn the values of a table, or take those of a shared vocabulary."""
        offsets, values = values_of(frame, column, what)
        assert offsets is not None
        vocabulary, note = _vocabulary_for(column, values, what, shared)
        if column.weights is not None:
            _weights(frame, column, offsets, values, what)
        seen = Seen.of(frames.column(frame, column.column, what), int((np.diff(offsets) == 0).sum()))
        return cls(column, seen, vocabulary, note)

    @property
    def parts(self) -> tuple[Part, ...]:
        """One."""
        column = self.column
        size, options = self.vocabulary.size + 1, {"table": column.table, "width": column.width}
        return (Part(column.column, column, "bags", size, pooling=column.pooling, **options),)  # type: ignore[arg-type]

    @property
    def accepts(self) -> frozenset[str]:
        """Text where it is to be split, else lists."""
        return frozenset({"string", "categorical"}) if self.column.separator else self.ACCEPTS

    def encode_series(self, series: frames.Series, frame: frames.Frame, place: str) -> list[Encoded]:
        """Find the codes."""
        what = place.rpartition(": column ")[0]
        offsets, values = values_of(frame, self.column, what)
        if self.vocabulary.is_of_another_type(values):
            found, fitted = values.dtype.label, self.vocabulary.dtype.label
            raise drifted(place, f"lists of {found}", f"lists of {fitted}")
        weights = None
        if self.column.weights is not None:
            weights = _weights(frame, self.column, offsets, values, what)
        codes = self.vocabulary.encode(values) + np.int32(1)
        return [known_bags(offsets, codes, self.vocabulary.size + 1, weights)]


def values_of(frame: frames.Frame, column: Category | Categories, what: str) -> tuple[Any, IdColumn]:
    """Read a column's values: where each row's list begins (None for a Category), and the values.

    With weights missing values inside lists are marked, else left out.
    """
    series = frames.column(frame, column.column, what)
    place = f"{what}: column {column.column!r}"
    if isinstance(column, Category):
        return None, _single(series, place)
    return frames.lists(series, place, column.separator, keep_missing=column.weights is not None)


def vocabulary_of(values: Sequence[IdColumn], places: Sequence[str], min_count: int) -> tuple[Vocabulary, int]:
    """Learn the values of one or several columns.

    Parameters
    ----------
    values : sequence of IdColumn
    places : sequence of str
        Start of a message for each.
    min_count : int
        Values that occur fewer times in all of them are left out.

    Returns
    -------
    vocabulary : Vocabulary
    rare : int
        Values that were left out.
    """
    vocabulary = Vocabulary.fit(values[0], places[0], missing="skip")
    for further, place in zip(values[1:], places[1:], strict=True):
        vocabulary = vocabulary.extended(further, place, missing="skip")
    if min_count == 1:
        return vocabulary, 0
    counts = np.zeros(vocabulary.size, dtype=np.int64)
    for column in values:
        rows = vocabulary.encode(column)
        counts += np.bincount(rows[rows >= 0], minlength=vocabulary.size)
    kept = counts >= min_count
    return Vocabulary(vocabulary.ids.take(kept)), int((~kept).sum())


def _vocabulary_for(
    column: Category | Categories, values: IdColumn, what: str, shared: Shared
) -> tuple[Vocabulary, str]:
    if column.table is not None:
        known = shared[column.table]
        assert isinstance(known, Vocabulary)
        return known, ""
    vocabulary, rare = vocabulary_of([values], [f"{what}: column {column.column!r}"], column.min_count)
    note = f"{count_of(rare, 'value')} in fewer than {column.min_count} rows taken as unknown" if rare else ""
    return vocabulary, note


def _grown(
    vocabulary: Vocabulary, column: Category | Categories, frame: frames.Frame, what: str, shared: Shared
) -> Vocabulary:
    if column.table is not None:
        known = shared[column.table]
        assert isinstance(known, Vocabulary)
        return known
    series = frames.column(frame, column.column, what)
    if series.null_count() == len(series):
        return vocabulary
    place = f"{what}: column {column.column!r}"
    found, _ = vocabulary_of([values_of(frame, column, what)[1]], [place], column.min_count)
    return vocabulary.extended(found.ids, place)


def _single(series: frames.Series, place: str) -> IdColumn:
    kind = frames.kind_of(series)
    if kind in ("list", "struct", "date", "datetime", "duration", "time"):
        cures = {"list": "use Categories for lists", "date": "use Timestamp", "datetime": "use Timestamp"}
        cure = cures.get(kind, "turn them into text or numbers")
        raise SchemaError(f"{place} holds {kind}s ({series.dtype}), but Category needs one value a row; {cure}")
    found = frames.ids(series, place)
    if found.rows is None and found.values.dtype.kind == "f":
        finite(found.values, place)
    return found


def _weights(
    frame: frames.Frame, column: Categories, offsets: Offsets, values: IdColumn, what: str
) -> npt.NDArray[np.float32]:
    """Read the weights beside a column of lists, one an element."""
    assert column.weights is not None
    place = f"{what}: column {column.weights!r}"
    own, numbers = frames.lists(frames.column(frame, column.weights, what), place, keep_missing=True)
    bad = np.flatnonzero(np.diff(own) != np.diff(offsets))
    if bad.size:
        raise DataError(
            f"{place} has lists of other lengths than {column.column!r} in {count_of(bad.size, 'row')} "
            f"(first: {first_five(bad.tolist())}); give every value a weight"
        )
    if len(numbers) and numbers.dtype.kind not in ("integer", "float", "boolean"):
        raise SchemaError(f"{place} holds lists of {numbers.dtype.label}, but must hold lists of numbers; convert them")
    found = np.zeros(len(numbers), dtype=np.float32)
    if len(numbers):
        found = numbers.values.astype(np.float32)
        wrong = ~np.isfinite(found) | (found < 0)
        wrong[numbers.missing_rows()] = True
        wrong[values.missing_rows()] = False
        row_of = np.repeat(np.arange(len(own) - 1), np.diff(own))
        rows = np.unique(row_of[wrong])
        if rows.size:
            raise DataError(
                f"{place} is missing, negative or infinite in {count_of(rows.size, 'row')} "
                f"(first: {first_five(rows.tolist())}); a weight is a finite number of at least 0"
            )
    return found


def known_bags(offsets: Offsets, codes: Rows, size: int, weights: npt.NDArray[np.float32] | None = None) -> EncodedBags:
    """Drop unknown codes and those of no weight; a row left without any gets the code 0."""
    used = codes > 0 if weights is None else (codes > 0) & (weights > 0)
    before = np.concatenate([[0], np.cumsum(used)])
    known = np.diff(before[offsets])
    bounds = offsets_of(np.maximum(known, 1))
    places = np.repeat(known > 0, np.maximum(known, 1))
    filled = np.zeros(bounds[-1], dtype=np.int32)
    filled[places] = codes[used]
    if weights is None:
        return EncodedBags(bounds, filled, size)
    ones = np.ones(bounds[-1], dtype=np.float32)
    ones[places] = weights[used]
    return EncodedBags(bounds, filled, size, ones)
