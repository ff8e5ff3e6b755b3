"""Quantities: scale, logarithm, buckets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower import frames
from twotower.errors import DataError, SchemaError
from twotower.features import EncodedCodes, EncodedNumbers, FeatureEncoder
from twotower.features._numbers import bucket_codes, bucket_edges
from twotower.schema import Field, Numeric

KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
}


def table(values: Any, make: Callable[[dict[str, Any]], Any] = pd.DataFrame) -> Any:
    return frames.table(make({"x": values}), "t")


def one(column: Any, values: Any, new: Any = None) -> Any:
    encoder = FeatureEncoder.fit(table(values), [column], "fit: users")
    return encoder.transform(table(values if new is None else new), "recommend: users")[0]


@pytest.mark.parametrize("values", [[7.0, 7.0], [7.0], [1e308, 1e308], [0.1, 0.1, 0.1]])
@pytest.mark.parametrize("scale", ["standard", "log"])
def test_one_value_becomes_zero(values: list[float], scale: Any) -> None:
    assert one(Numeric("x", scale=scale), values).values.tolist() == [0.0] * len(values)


def test_only_missing_numbers_stay_missing() -> None:
    assert np.isnan(one(Numeric("x"), [np.nan, np.nan]).values).all()
    assert one(Numeric("x", buckets=3), [np.nan, np.nan], [1.0, np.nan]).codes.tolist() == [1, 0]


def test_unscaled_numbers() -> None:
    assert one(Numeric("x", scale="none"), [1, 2, None]).values.tolist()[:2] == [1, 2]


def test_numbers_beyond_float32() -> None:
    with pytest.raises(DataError) as caught:
        one(Numeric("x", scale="none"), [1.0, 1e300])
    assert str(caught.value) == (
        "recommend: users: column 'x' is too large for float32 in 1 row (first: 1); divide the column by a power of ten"
    )


@pytest.mark.parametrize("factor", [1e-300, 1e-30, 1.0, 1e30, 1e300])
def test_the_unit_of_a_quantity_does_not_matter(factor: float) -> None:
    found = one(Numeric("x"), [factor, 2 * factor, 6 * factor]).values
    np.testing.assert_allclose(found, np.array([-2, -1, 3]) / np.sqrt(14 / 3), rtol=1e-6)


def test_logarithm() -> None:
    # log(1 + x) of 0, e - 1 and e^2 - 1 is 0, 1, 2: mean 1, deviation sqrt(2 / 3); the sign is kept
    values = [0.0, np.e - 1, np.e**2 - 1]
    found = one(Numeric("x", scale="log"), values, [*values, 1 - np.e, None]).values
    np.testing.assert_allclose(found[:4], np.array([-1, 0, 1, -2]) / np.sqrt(2 / 3), rtol=1e-6, atol=1e-7)
    assert np.isnan(found[4])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(allow_infinity=False), min_size=1, max_size=8), st.sampled_from(["standard", "log"]))
def test_scaled_numbers_are_finite_or_missing(values: list[float], scale: Any) -> None:
    found = one(Numeric("x", scale=scale), pd.Series(values, dtype=float)).values
    np.testing.assert_array_equal(np.isnan(found), np.isnan(values))
    assert not np.isinf(found).any()


# --- buckets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_buckets(make: Callable[[dict[str, Any]], Any]) -> None:
    frame = table([10, 20, None, 30, 40, 50, 60], make)
    encoder = FeatureEncoder.fit(frame, [Numeric("x", buckets=3)], "t")
    # two values each: 10 20 | 30 40 | 50 60
    found = encoder.transform(frame, "t")[0]
    assert isinstance(found, EncodedCodes)
    assert found.codes.tolist() == [1, 1, 0, 2, 2, 3, 3]
    assert found.vocabulary_size == 4
    beyond = encoder.transform(table([-1e300, 29.5, 1e300], make), "t")[0]
    assert isinstance(beyond, EncodedCodes)
    assert beyond.codes.tolist() == [1, 1, 3]
    assert encoder.fields("users") == [Field("Numeric", "users", "x", 3, 1 / 7, "10 to 60")]


@pytest.mark.parametrize(
    ("values", "buckets", "edges"),
    [
        ([1, 18, 25, 35, 45, 50, 56] * 3, 7, [18, 25, 35, 45, 50, 56]),
        ([1, 18, 25, 25, 25, 25, 56], 7, [18, 25, 56]),
        ([5, 5, 5, 5, 5, 6], 2, [6]),
        ([5, 5, 5, 5, 5, 6, 7], 2, []),
        ([5], 4, []),
        ([3, 1, 2, 4], 2, [3]),
        ([3, 1, 2, 4], 1, []),
    ],
)
def test_edges(values: list[int], buckets: int, edges: list[int]) -> None:
    assert bucket_edges(np.array(values), buckets).tolist() == edges


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-30, 30), min_size=1, max_size=60), st.integers(1, 12))
def test_no_bucket_is_empty_and_codes_ascend(values: list[int], buckets: int) -> None:
    array = np.array(values, dtype=np.int64)
    edges = bucket_edges(array, buckets)
    codes = bucket_codes(array, edges, np.zeros(len(array), dtype=bool))
    assert len(edges) < buckets or len(edges) == 0
    assert sorted(set(codes.tolist())) == list(range(1, len(edges) + 2))
    assert (np.diff(codes[np.argsort(array, kind="stable")]) >= 0).all()
    if len(set(values)) <= buckets:
        assert len(edges) + 1 == len(set(values))


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (["a"], SchemaError, "fit: users: column 'x' holds text (String), but must hold numbers; convert it first"),
        (
            [0.0, np.inf, -np.inf],
            DataError,
            "fit: users: column 'x' is infinite in 2 rows (first: 1, 2); make these values finite or missing",
        ),
    ],
)
def test_values_that_are_no_numbers(values: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        one(Numeric("x"), values)
    assert str(caught.value) == message


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("column", [Numeric("x"), Numeric("x", buckets=2)])
def test_numbers_that_became_text(make: Callable[[dict[str, Any]], Any], column: Any) -> None:
    encoder = FeatureEncoder.fit(table([1, 2], make), [column], "fit: users")
    with pytest.raises(SchemaError) as caught:
        encoder.transform(table(["1", "2"], make), "recommend: users")
    assert str(caught.value) == (
        "recommend: users: column 'x' holds String values, but held Int64 in fit; convert it to Int64"
    )
    assert isinstance(encoder.transform(table([1.5, None], make), "t")[0], EncodedNumbers | EncodedCodes)
