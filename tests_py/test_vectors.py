"""Columns of float vectors, from every library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from twotower import frames
from twotower.errors import DataError, SchemaError
from twotower.features import EncodedVectors, FeatureEncoder
from twotower.schema import Field, Vector

VALUES: list[Any] = [[1.0, -2.0, 0.5], None, [3.0, 4.0, 1e-3]]


def table(column: Any) -> Any:
    if isinstance(column, pl.Series):
        return frames.table(pl.DataFrame({"v": column}), "t")
    if isinstance(column, (pa.Array, pa.ChunkedArray)):
        return frames.table(pa.table({"v": column}), "t")
    return frames.table(pd.DataFrame({"v": column}), "t")


def encoded(column: Any, new: Any = None, **options: Any) -> np.ndarray:
    encoder = FeatureEncoder.fit(table(column), [Vector("v", **options)], "fit: items")
    found = encoder.transform(table(column if new is None else new), "add_items: items")[0]
    assert isinstance(found, EncodedVectors)
    assert found.values.dtype == np.float32
    assert found.values.flags.c_contiguous
    return found.values


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(VALUES, dtype=object),
        pd.Series([None if v is None else np.array(v) for v in VALUES], dtype=object),
        pd.Series([None if v is None else np.array(v, dtype=np.float32) for v in VALUES], dtype=object),
        pd.Series([None if v is None else tuple(v) for v in VALUES], dtype=object),
        pd.Series([VALUES[0], float("nan"), VALUES[2]], dtype=object),
        pd.Series([VALUES[0], [np.nan] * 3, VALUES[2]], dtype=object),
        pd.Series(pd.array(VALUES, dtype=pd.ArrowDtype(pa.list_(pa.float64())))),
        pl.Series(VALUES, dtype=pl.List(pl.Float64)),
        pl.Series(VALUES, dtype=pl.List(pl.Float32)),
        pl.Series(VALUES, dtype=pl.Array(pl.Float64, 3)),
        pl.Series([[9.0, 9.0, 9.0], *VALUES], dtype=pl.List(pl.Float64))[1:],
        pa.array(VALUES),
        pa.array(VALUES, type=pa.large_list(pa.float32())),
        pa.array(VALUES, type=pa.list_(pa.float64(), 3)),
        pa.chunked_array([VALUES[:1], VALUES[1:]], type=pa.list_(pa.float64())),
    ],
)
def test_vectors_of_every_library(column: Any) -> None:
    found = encoded(column)
    np.testing.assert_allclose(found[[0, 2]], np.array([VALUES[0], VALUES[2]]), rtol=1e-6)
    assert np.isnan(found[1]).all()


def test_whole_numbers_are_numbers() -> None:
    assert encoded(pd.Series([[1, 2], [3, 4]])).tolist() == [[1, 2], [3, 4]]
    assert encoded(pl.Series([[1, 2], [3, 4]])).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("size", [1, 2, 4095, 4096, 4097, 10_007])
def test_sizes_around_a_block(size: int) -> None:
    values = np.random.default_rng(size).normal(size=(size, 5)).astype(np.float32)
    column: list[Any] = list(values)
    missing = np.arange(size) % 7 == 3
    for row in np.flatnonzero(missing):
        column[row] = None
    wanted = np.where(missing[:, None], np.float32(np.nan), values)
    np.testing.assert_array_equal(encoded(pd.Series(column, dtype=object)), wanted)
    lists = [None if row is None else row.tolist() for row in column]
    np.testing.assert_array_equal(encoded(pl.Series(lists, dtype=pl.List(pl.Float32))), wanted)


def test_part_and_field() -> None:
    encoder = FeatureEncoder.fit(table(pd.Series(VALUES)), [Vector("v", project=False)], "t")
    (part,) = encoder.parts
    assert (part.name, part.kind, part.size, part.project) == ("v", "vectors", 3, False)
    assert encoder.fields("items", {"v": 3}) == [Field("Vector", "items", "v", None, 1 / 3, "3 numbers each", 3, 12)]
    projected = FeatureEncoder.fit(table(pd.Series(VALUES)), [Vector("v", width=8)], "t")
    assert projected.fields("items", {"v": 8})[0].memory == 4 * (3 * 8 + 2 * 8)
    assert FeatureEncoder.from_state(*projected.state()).parts == projected.parts


def test_a_frame_in_which_all_vectors_are_missing() -> None:
    for new in (pd.Series([None, None], dtype=object), pd.Series([np.nan, np.nan])):
        assert np.isnan(encoded(pd.Series(VALUES), new)).all()
    assert encoded(pd.Series(VALUES), pd.Series([None, None], dtype=object)).shape == (2, 3)


# --- bad input --------------------------------------------------------------------------------------------------------

LIBRARIES: dict[str, Callable[[list[Any]], Any]] = {
    "pandas": lambda v: pd.Series(v, dtype=object),
    "polars": lambda v: pl.Series(v, strict=False),
    "pyarrow": pa.array,
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (
            [[1.0, 2.0], [1.0], [2.0, 3.0], [1.0, 2.0, 3.0]],
            DataError,
            "has vectors of 1, 3 numbers in 2 rows (first: 1, 3), but most have 2; make them one length or missing (None)",
        ),
        (
            [[1.0, 2.0], [1.0, float("nan")], [float("nan"), 1.0]],
            DataError,
            "has NaN among the numbers of the vector in 2 rows (first: 1, 2); fill them in, or make the whole vectors "
            "missing (None)",
        ),
        (
            [[1.0, 2.0], [1.0, None]],
            DataError,
            "has NaN among the numbers of the vector in 1 row (first: 1); fill them in, or make the whole vectors "
            "missing (None)",
        ),
        (
            [[1.0, 2.0], [1.0, float("inf")]],
            DataError,
            "is infinite as float32 in the vector of 1 row (first: 1); make these vectors finite or missing (None)",
        ),
        (
            [[1.0, 2.0], [1.0, 1e300]],
            DataError,
            "is infinite as float32 in the vector of 1 row (first: 1); make these vectors finite or missing (None)",
        ),
        (
            [[1.0, 2.0], []],
            DataError,
            "has no numbers in the vector of 1 row (first: 1); make these vectors missing (None)",
        ),
        (
            [[], []],
            DataError,
            "has no numbers in the vector of 2 rows (first: 0, 1); make these vectors missing (None)",
        ),
        (
            [["1.0", "2.0"]],
            SchemaError,
            "holds lists of string, but must hold lists of numbers; use Categories for words",
        ),
    ],
)
def test_vectors_that_are_none(library: str, values: list[Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        encoded(LIBRARIES[library](values))
    assert str(caught.value) == f"fit: items: column 'v' {message}"


def test_lists_of_lists() -> None:
    with pytest.raises(SchemaError) as caught:
        encoded(pd.Series([[[1.0], [2.0]]]))
    assert str(caught.value) == (
        "fit: items: column 'v' holds lists of lists, but must hold lists of numbers; flatten them"
    )


def test_other_columns() -> None:
    with pytest.raises(SchemaError) as caught:
        encoded(pd.Series([1.0]))
    assert str(caught.value) == (
        "fit: items: column 'v' holds float values (Float64), but must hold lists of numbers; use Numeric"
    )
    with pytest.raises(DataError) as missing:
        encoded(pd.Series([None, None], dtype=object))
    assert str(missing.value) == (
        "fit: items: column 'v' has no vector in any row, so that its length is unknown; leave the column out"
    )


def test_another_length_or_type_than_in_fit() -> None:
    with pytest.raises(DataError) as caught:
        encoded(pd.Series(VALUES), pd.Series([[1.0, 2.0]]))
    assert str(caught.value) == (
        "add_items: items: column 'v' has vectors of 2 numbers, but had 3 in fit; make them as in fit"
    )
    with pytest.raises(SchemaError) as drift:
        encoded(pd.Series(VALUES), pd.Series(["[1, 2, 3]"]))
    assert str(drift.value) == (
        "add_items: items: column 'v' holds String values, but held list in fit; convert it to list"
    )
