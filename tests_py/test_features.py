from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from twotower import frames, persistence
from twotower.errors import DataError, SchemaError
from twotower.features import (
    EncodedBags,
    EncodedCodes,
    EncodedNumbers,
    EncodedVectors,
    FeatureEncoder,
    Part,
    default_width,
    stacked,
)
from twotower.schema import Categories, Category, Field, Numeric, Timestamp, Vector

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
            "a row; use Timestamp",
        ),
        (
            Category("x"),
            [1.0, np.inf],
            DataError,
            "fit: users: column 'x' is infinite in 1 row (first: 1); make these values finite or missing",
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
        meta["columns"][0]["column"]["kind"] = "Date"
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


# --- parts and rows ---------------------------------------------------------------------------------------------------

EVERY = {
    "job": ["nurse", None, "cook", "nurse"],
    "age": [20.0, 40.0, None, 30.0],
    "tags": [["b", "a"], [], None, ["a"]],
    "strength": [[2.0, 1.0], [], None, [3.0]],
    "born": [1_000_000_000, None, 5, 7],
    "shape": [[1.0, 2.0], [3.0, 4.0], None, [5.0, 6.0]],
}
KINDS_OF_COLUMNS = [
    Category("job", width=4),
    Numeric("age", buckets=2),
    Categories("tags", weights="strength", pooling="sum"),
    Timestamp("born", parts=("hour",), unit="s"),
    Vector("shape"),
]


def all_kinds(make: Callable[[dict[str, Any]], Any] = pd.DataFrame) -> tuple[FeatureEncoder, list[Any]]:
    frame = table(EVERY, make)
    encoder = FeatureEncoder.fit(frame, KINDS_OF_COLUMNS, "t")
    return encoder, encoder.transform(frame, "t")


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_a_column_becomes_one_part_or_several(make: Callable[[dict[str, Any]], Any]) -> None:
    encoder, encoded = all_kinds(make)
    job, age, tags, born, shape = KINDS_OF_COLUMNS
    assert encoder.parts == (
        Part("job", job, "codes", 3, width=4),
        Part("age", age, "codes", 3),
        Part("tags", tags, "bags", 3, pooling="sum"),
        Part("born.hour", born, "codes", 25),
        Part("born.cycle", born, "vectors", 8),
        Part("born.scaled", born, "numbers", 1),
        Part("shape", shape, "vectors", 2),
    )
    classes = (EncodedCodes, EncodedCodes, EncodedBags, EncodedCodes, EncodedVectors, EncodedNumbers, EncodedVectors)
    assert tuple(map(type, encoded)) == classes
    for part, arrays in zip(encoder.parts, encoded, strict=True):
        assert part.size == getattr(arrays, "vocabulary_size", part.size)
    assert encoded[2].codes.tolist() == [2, 1, 0, 0, 1]
    assert encoded[2].weights.tolist() == [2, 1, 1, 1, 3]


def same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value, getattr(other, name))


@pytest.mark.parametrize("rows", [[], [0], [3, 1, 1, 2], [0, 0]])
def test_rows_are_taken_and_stacked(rows: list[int]) -> None:
    encoder, encoded = all_kinds()
    positions = np.array(rows, dtype=np.int64)
    frame = table({name: [values[row] for row in rows] for name, values in EVERY.items()})
    again = encoder.transform(frame, "t") if rows else [part.take(positions) for part in encoded]
    for part, wanted in zip(encoded, again, strict=True):
        taken = part.take(positions)
        same(taken, wanted)
        both = stacked([taken, part])
        same(both.take(np.arange(len(rows))), taken)
        same(both.take(np.arange(len(rows), len(rows) + 4)), part)


def test_bags_with_and_without_weights_are_stacked() -> None:
    plain = EncodedBags(np.array([0, 1]), np.array([1], dtype=np.int32), 2)
    weighted = EncodedBags(np.array([0, 1]), np.array([2], dtype=np.int32), 3, np.array([0.5], dtype=np.float32))
    found = stacked([plain, weighted])
    assert (found.codes.tolist(), found.vocabulary_size, found.weights.tolist()) == ([1, 2], 3, [1, 0.5])


def test_nothing_known() -> None:
    encoder, encoded = all_kinds()
    nothing = encoder.at(float("nan"), 2)
    for part, known in zip(nothing, encoded, strict=True):
        assert type(part) is type(known)
    assert nothing[2].codes.tolist() == [0, 0]  # type: ignore[union-attr]
    assert encoder.at(0.0)[3].codes.tolist() == [1]  # type: ignore[union-attr]


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_a_column_that_is_missing_everywhere_may_have_any_dtype(make: Callable[[dict[str, Any]], Any]) -> None:
    encoder, _ = all_kinds()
    gone = table({name: [None, None] for name in EVERY}, make)
    empty = table({name: [np.nan, np.nan] for name in EVERY})
    for frame in (gone, empty):
        for found, wanted in zip(encoder.transform(frame, "t"), encoder.at(float("nan"), 2), strict=True):
            same(found, wanted)


def test_a_column_that_is_not_there_and_one_that_is_new() -> None:
    encoder, _ = all_kinds()
    renamed = table({"Tags" if name == "tags" else name: values for name, values in EVERY.items()})
    with pytest.raises(SchemaError) as caught:
        encoder.transform(renamed, "recommend: users")
    assert str(caught.value) == (
        "recommend: users has no column 'tags'; its columns are 'job', 'age', 'Tags', 'strength', 'born', 'shape'; "
        "did you mean 'Tags'?"
    )
    further = table({"color": ["red"] * 4, **EVERY})
    for found, wanted in zip(encoder.transform(further, "t"), all_kinds()[1], strict=True):
        same(found, wanted)


def test_memory_follows_the_width() -> None:
    encoder, _ = all_kinds()
    fields = encoder.fields("users", {part.name: 8 for part in encoder.parts})
    # float32: rows of the table, or slope, intercept and missing, or matrix, intercept and missing
    assert [(f.column, f.memory) for f in fields] == [
        ("job", 4 * 3 * 8),
        ("age", 4 * 3 * 8),
        ("tags", 4 * 3 * 8),
        ("born.hour", 4 * 25 * 8),
        ("born.cycle", 4 * 10 * 8),
        ("born.scaled", 4 * 3 * 8),
        ("shape", 4 * 4 * 8),
    ]


@pytest.mark.parametrize(("cardinality", "width"), [(0, 4), (1, 4), (2, 4), (7, 8), (100, 24), (10**6, 64)])
def test_default_width(cardinality: int, width: int) -> None:
    assert default_width(cardinality, 64) == width
    assert default_width(cardinality, 3) == 3
