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

from twotower import frames, persistence
from twotower.errors import DataError, SchemaError
from twotower.features import EncodedBags, EncodedCodes, EncodedNumbers, FeatureEncoder
from twotower.schema import Categories, Category, Field, Numeric

KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
}
COLUMNS = [Category("job"), Numeric("age"), Categories("tags")]
PEOPLE = {
    "job": ["nurse", None, "cook", "nurse"],
    "age": [20.0, 40.0, None, 30.0],
    "tags": [["b", "a"], [], None, ["a"]],
}


def table(data: dict[str, Any], make: Callable[[dict[str, Any]], Any] = pd.DataFrame) -> Any:
    return frames.table(make(data), "t")


def one(column: Any, values: Any, new: Any = None) -> Any:
    frame = table({"x": values})
    encoder = FeatureEncoder.fit(frame, [column], "fit: users")
    return encoder.transform(frame if new is None else table({"x": new}), "recommend: users")[0]


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_columns_become_arrays(make: Callable[[dict[str, Any]], Any]) -> None:
    frame = table(PEOPLE, make)
    encoder = FeatureEncoder.fit(frame, COLUMNS, "fit: users")
    job, age, tags = encoder.transform(frame, "fit: users")
    assert isinstance(job, EncodedCodes)
    assert job.codes.dtype == np.int32
    assert job.codes.tolist() == [2, 0, 1, 2]
    assert job.vocabulary_size == 3
    assert isinstance(age, EncodedNumbers)
    assert age.values.dtype == np.float32
    # mean 30, deviation sqrt((100 + 100 + 0) / 3)
    np.testing.assert_allclose(age.values, np.array([-10, 10, np.nan, 0]) / np.sqrt(200 / 3), rtol=1e-6)
    assert isinstance(tags, EncodedBags)
    assert tags.offsets.dtype == np.int64
    assert tags.codes.dtype == np.int32
    assert tags.offsets.tolist() == [0, 2, 3, 4, 5]
    assert tags.codes.tolist() == [2, 1, 0, 0, 1]
    assert tags.vocabulary_size == 3
    assert all(a.flags.c_contiguous for a in (job.codes, age.values, tags.offsets, tags.codes))


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_rows_that_fit_never_saw(make: Callable[[dict[str, Any]], Any]) -> None:
    encoder = FeatureEncoder.fit(table(PEOPLE), COLUMNS, "fit: users")
    job, age, tags = encoder.transform(
        table({"tags": [["new"], ["new", "b"]], "job": ["pilot", "cook"], "age": [None, 30.0]}, make),
        "recommend: users",
    )
    assert job.codes.tolist() == [0, 1]  # type: ignore[union-attr]
    assert np.isnan(age.values[0])
    assert age.values[1] == 0
    assert tags.offsets.tolist() == [0, 1, 2]
    assert tags.codes.tolist() == [0, 2]


def test_no_columns_and_no_rows() -> None:
    assert FeatureEncoder.fit(table(PEOPLE), [], "t").transform(table(PEOPLE), "t") == []
    encoder = FeatureEncoder.fit(table(PEOPLE), COLUMNS, "t")
    job, age, tags = encoder.transform(frames.take(table(PEOPLE), np.array([], dtype=int)), "t")
    assert len(job.codes) == len(age.values) == len(tags.codes) == 0  # type: ignore[union-attr]
    assert tags.offsets.tolist() == [0]  # type: ignore[union-attr]


# --- categories -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ([5, 3, 5], [2, 1, 2]),
        ([True, False, None], [2, 1, 0]),
        ([1.0, 2.0, None], [1, 2, 0]),
        (pd.Series(["b", None, "a"], dtype="category"), [2, 0, 1]),
        ([None, None], [0, 0]),
    ],
)
def test_category_of_any_dtype(values: Any, codes: list[int]) -> None:
    assert one(Category("x"), values).codes.tolist() == codes


def test_rare_values_are_unknown() -> None:
    column = Category("x", min_count=2)
    frame = table({"x": ["a", "b", "a", "c"]})
    encoder = FeatureEncoder.fit(frame, [column], "t")
    found = encoder.transform(frame, "t")[0]
    assert isinstance(found, EncodedCodes)
    assert found.codes.tolist() == [1, 0, 1, 0]
    assert found.vocabulary_size == 2
    assert encoder.fields("users")[0].note == "2 values in fewer than 2 rows taken as unknown"
    bags = one(Categories("x", min_count=2), [["a", "b"], ["a"], ["c"]])
    assert bags.codes.tolist() == [1, 1, 0]
    assert bags.offsets.tolist() == [0, 1, 2, 3]


def test_text_is_split_where_told() -> None:
    bags = one(Categories("x", separator="|"), ["Drama|War", "War", ""], ["War|Drama|New", "New"])
    assert bags.offsets.tolist() == [0, 2, 3]
    assert bags.codes.tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("column", "values", "error", "message"),
    [
        (
            Category("x"),
            [["a"]],
            SchemaError,
            "fit: users: column 'x' holds lists (Object), but Category needs one value a row; use Categories for lists",
        ),
        (
            Category("x"),
            pd.to_datetime(["2020-01-01"]).astype("datetime64[ns]"),
            SchemaError,
            "fit: users: column 'x' holds datetimes (Datetime(time_unit='ns', time_zone=None)), but "
            "Category needs one value "
            "a row; turn them into text or numbers",
        ),
        (
            Category("x"),
            [1.0, np.inf],
            DataError,
            "fit: users: column 'x' is infinite in 1 row (first: 1); make these values finite or missing",
        ),
        (
            Numeric("x"),
            ["a"],
            SchemaError,
            "fit: users: column 'x' holds text (String), but must hold numbers; convert it first",
        ),
        (
            Numeric("x"),
            [0.0, np.inf, -np.inf],
            DataError,
            "fit: users: column 'x' is infinite in 2 rows (first: 1, 2); make these values finite or missing",
        ),
        (
            Categories("x"),
            ["a|b"],
            SchemaError,
            "fit: users: column 'x' holds text (String), but must hold lists; pass separator= to split text",
        ),
        (
            Categories("y"),
            [["a"]],
            SchemaError,
            "fit: users has no column 'y'; its columns are 'x'; name the right one, or add it",
        ),
    ],
)
def test_values_that_do_not_fit_their_kind(column: Any, values: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        one(column, values)
    assert str(caught.value) == message


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [[7.0, 7.0], [7.0], [1e308, 1e308], [0.1, 0.1, 0.1]])
def test_one_value_becomes_zero(values: list[float]) -> None:
    assert one(Numeric("x"), values).values.tolist() == [0.0] * len(values)


def test_only_missing_numbers_stay_missing() -> None:
    assert np.isnan(one(Numeric("x"), [np.nan, np.nan]).values).all()


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


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(allow_infinity=False), min_size=1, max_size=8))
def test_scaled_numbers_are_finite_or_missing(values: list[float]) -> None:
    found = one(Numeric("x"), pd.Series(values, dtype=float)).values
    np.testing.assert_array_equal(np.isnan(found), np.isnan(values))
    assert not np.isinf(found).any()


# --- state and fields -------------------------------------------------------------------------------------------------


def test_state_there_and_back(tmp_path: Any) -> None:
    encoder = FeatureEncoder.fit(table(PEOPLE), COLUMNS, "t")
    meta, arrays = encoder.state()
    persistence.write(tmp_path / "one", "x", meta, arrays)
    persistence.write(tmp_path / "two", "x", *FeatureEncoder.fit(table(PEOPLE), COLUMNS, "t").state())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    again = FeatureEncoder.from_state(*persistence.read(tmp_path / "one")[1:])
    assert again.columns == encoder.columns
    assert again.fields("users") == encoder.fields("users")
    for old, new in zip(encoder.transform(table(PEOPLE), "t"), again.transform(table(PEOPLE), "t"), strict=True):
        for name, value in vars(old).items():
            np.testing.assert_array_equal(value, getattr(new, name))


@pytest.mark.parametrize("damage", ["ids", "scale", "column", "kind"])
def test_state_that_does_not_fit_together(damage: str) -> None:
    meta, arrays = FeatureEncoder.fit(table(PEOPLE), COLUMNS, "t").state()
    if damage == "ids":
        del arrays["0.ends"]
    elif damage == "scale":
        del arrays["1.scale"]
    elif damage == "column":
        del meta["columns"][0]["column"]
    else:
        meta["columns"][0]["column"]["kind"] = "Timestamp"
    with pytest.raises(DataError, match=r"do not fit together .*; save the model again$"):
        FeatureEncoder.from_state(meta, arrays)


def test_fields() -> None:
    encoder = FeatureEncoder.fit(table(PEOPLE), [*COLUMNS, Numeric("age", scale="none")], "t")
    assert encoder.fields("users") == [
        Field("Category", "users", "job", 2, 0.25),
        Field("Numeric", "users", "age", None, 0.25, "20 to 40"),
        Field("Categories", "users", "tags", 2, 0.5),
        Field("Numeric", "users", "age", None, 0.25, "20 to 40, not scaled"),
    ]
    constant = FeatureEncoder.fit(table({"x": [7, 7]}), [Numeric("x")], "t")
    assert constant.fields("items")[0].note == "always 7, becomes 0"
