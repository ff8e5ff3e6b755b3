"""What the table of items says of each item, as one vector of words and values an item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from twotower import frames, schema
from twotower._core import core
from twotower.errors import SchemaError
from twotower.features import EncodedBags, EncodedCodes, FeatureEncoder
from twotower.models._options import nearest
from twotower.schema import Categories, Category, Column, Text
from twotower.schema.infer import kind_of_named

__all__ = ["item_words"]


def item_words(
    table: frames.Frame, item_col: str, features: Sequence[str | Column] | None, *, num_threads: int
) -> core.SparseRows:
    """Make a unit vector an item, (items, words), by TF-IDF.

    Parameters
    ----------
    table : narwhals.DataFrame (items rows)
    item_col : str
        Passed over.
    features : sequence of str, Text, Categories or Category, or None
        None takes what `schema.infer` finds of these kinds.

    Raises
    ------
    SchemaError
        There is no such column, or none that can be used.

    Notes
    -----
    Every column is brought to length 1 before the whole row is: a long text counts no more than a list of genres.
    """
    columns = _columns(table, item_col, features)
    encoder = FeatureEncoder.fit(table, columns, "fit: items")
    owners, words, values, width = [], [], [], 0
    for encoded in encoder.transform(table, "fit: items"):
        assert isinstance(encoded, (EncodedCodes, EncodedBags))
        offsets, codes, weights = _weighted(encoded, num_threads)
        known = codes > 0  # code 0: nothing known stands there
        owners.append(np.repeat(np.arange(len(table), dtype=np.int32), np.diff(offsets))[known])
        words.append((codes[known] + width).astype(np.int32))
        values.append(weights[known])
        width += encoded.vocabulary_size
    parts = [np.concatenate(part) for part in (owners, words, values)]
    found = core.SparseRows.of_pairs(parts[0], parts[1], parts[2], len(table), width)
    return found.unit_rows()


def _columns(table: frames.Frame, item_col: str, features: Sequence[str | Column] | None) -> list[Column]:
    guessed = {column.column: column for column in schema.infer(table, item_col)[0]}
    if features is None:
        columns: list[Column] = [c for c in guessed.values() if isinstance(c, (Text, Categories, Category))]
        if not columns:
            raise SchemaError(
                "fit: items has no column of words, lists of values or categories, which ContentBased compares; "
                "name some with features=, or join a table of them"
            )
    else:
        columns = [_named(table, guessed, column) if isinstance(column, str) else column for column in features]
    return [replace(column, encoding="tfidf") if isinstance(column, Text) else column for column in columns]


def _named(table: frames.Frame, guessed: dict[str, Column], name: str) -> Column:
    if name not in table.columns:
        near = nearest(name, table.columns)
        cure = f"its columns are {', '.join(map(repr, table.columns))}" if near is None else f"did you mean {near!r}?"
        raise SchemaError(f"fit: items has no column {name!r}, which features names; {cure}")
    found = guessed.get(name) or kind_of_named(frames.column(table, name, "fit: items"), name, "items")
    return found if isinstance(found, (Text, Categories)) else Category(name)


def _weighted(encoded: EncodedCodes | EncodedBags, num_threads: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make offsets, codes and TF-IDF of a column."""
    if isinstance(encoded, EncodedCodes):
        offsets, codes = np.arange(len(encoded.codes) + 1, dtype=np.int64), encoded.codes
    elif encoded.weights is not None:
        # Of a text they are TF-IDF already; of a column with weights of its own they are the caller's word.
        given = core.SparseRows(encoded.offsets, encoded.codes, encoded.weights, encoded.vocabulary_size)
        return encoded.offsets, encoded.codes, given.unit_rows().values
    else:
        offsets, codes = encoded.offsets, encoded.codes
    documents = core.document_counts(offsets, codes, encoded.vocabulary_size)
    idf = np.log(float(len(offsets)) / (1.0 + documents)) + 1.0
    return core.tf_idf(offsets, codes, idf, num_threads=num_threads)
