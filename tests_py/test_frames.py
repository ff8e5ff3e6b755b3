from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from twotower import frames
from twotower.errors import DataError, SchemaError

KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
}
D = decimal.Decimal


@pytest.fixture(params=list(KINDS))
def make(request: pytest.FixtureRequest) -> Callable[[dict[str, Any]], Any]:
    return KINDS[request.param]


def series(make: Callable[[dict[str, Any]], Any], values: Any) -> Any:
    return frames.column(frames.table(make({"x": values}), "t"), "x", "t")


# --- tables -----------------------------------------------------------------------------------------------------------


def test_any_table_is_taken_and_names_its_library(make: Callable[[dict[str, Any]], Any]) -> None:
    native = make({"a": [1, 2], "b": ["x", "y"]})
    frame = frames.table(native, "t")
    assert frame.to_native() is native
    assert frames.table(frame, "t").to_native() is native
    assert make is KINDS[frames.frame_kind(native)]
    assert frames.is_table(native)
    assert frames.is_table(frame)


def test_a_lazy_frame_is_collected() -> None:
    assert frames.table(pl.LazyFrame({"a": [1]}), "t").columns == ["a"]
    assert frames.is_table(pl.LazyFrame({"a": [1]}))
    assert frames.frame_kind(pl.LazyFrame({"a": [1]})) == "polars"


@pytest.mark.parametrize(
    "native",
    [pd.DataFrame([[1, 2]], columns=["a", "a"]), pa.table([[1], [2]], names=["a", "a"])],
    ids=["pandas", "pyarrow"],
)
def test_a_doubled_column_is_named(native: Any) -> None:
    assert frames.is_table(native)
    with pytest.raises(SchemaError) as caught:
        frames.table(native, "fit: interactions")
    assert str(caught.value) == "fit: interactions has the column 'a' more than once; rename or drop one of them"


def test_column_names_of_several_levels() -> None:
    native = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")]))
    with pytest.raises(SchemaError) as caught:
        frames.table(native, "fit: users")
    assert str(caught.value) == (
        "fit: users has column names of several levels, but must have one; flatten frame.columns first"
    )


@pytest.mark.parametrize("value", [[1], {"a": [1]}, np.zeros((2, 2)), None, "a", 3, pd.Series([1]), pl.Series([1])])
def test_what_is_no_table(value: Any) -> None:
    assert not frames.is_table(value)
    with pytest.raises(TypeError) as caught:
        frames.table(value, "fit: interactions")
    assert str(caught.value) == (
        f"fit: interactions is a {type(value).__name__}, but must be a pandas, polars or pyarrow table; "
        "make one, for example with pandas.DataFrame(...)"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "user_id",
            "fit: users has no column 'user_id'; its columns are 'UserID', 'age'; did you mean 'UserID'?",
        ),
        ("zip", "fit: users has no column 'zip'; its columns are 'UserID', 'age'; name the right one, or add it"),
    ],
)
def test_a_column_that_is_not_there(make: Callable[[dict[str, Any]], Any], name: str, message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        frames.column(frames.table(make({"UserID": [1], "age": [2]}), "t"), name, "fit: users")
    assert str(caught.value) == message


def test_many_columns_are_not_all_listed() -> None:
    with pytest.raises(SchemaError) as caught:
        frames.column(frames.table(pd.DataFrame({f"c{i}": [0] for i in range(30)}), "t"), "zzz", "t")
    assert str(caught.value).endswith("'c19' and 10 more; name the right one, or add it")


# --- kinds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "integer"),
        ([1.5, None], "float"),
        ([True, False], "boolean"),
        (["a", None], "string"),
        ([dt.date(2020, 1, 1), None], "date"),
        ([dt.datetime(2020, 1, 1), None], "datetime"),
        ([dt.timedelta(1), None], "duration"),
        ([D("1.5"), None], "decimal"),
        ([b"a", None], "bytes"),
        ([["a"], None, []], "list"),
    ],
)
def test_kinds(make: Callable[[dict[str, Any]], Any], values: list[Any], kind: str) -> None:
    assert frames.kind_of(series(make, values)) == kind


@pytest.mark.parametrize(
    ("native", "kind"),
    [
        (pd.Series(["a"], dtype="category"), "categorical"),
        (pd.Series([1, None], dtype="Int8"), "integer"),
        (pd.Series([True, None], dtype="boolean"), "boolean"),
        (pd.Series(["a", None], dtype="string"), "string"),
        (pd.Series([1, None], dtype=object), "integer"),
        (pd.Series([True, None], dtype=object), "boolean"),
        (pd.Series([1, "a"], dtype=object), "object"),
        (pd.Series([None, None], dtype=object), "empty"),
        (pd.Series([None, ("a",)], dtype=object), "list"),
        (pd.Series([np.zeros(2)], dtype=object), "list"),
        (pd.Series([{"a": 1}], dtype=object), "struct"),
        (pd.Series(["2020"], dtype="datetime64[ns]").dt.tz_localize("America/New_York"), "datetime"),
        (pl.Series(["a"], dtype=pl.Categorical), "categorical"),
        (pl.Series(["a"], dtype=pl.Enum(["a"])), "categorical"),
        (pl.Series([[1.0, 2.0]], dtype=pl.Array(pl.Float64, 2)), "list"),
        (pl.Series([{"a": 1}]), "struct"),
        (pl.Series([dt.time(1)]), "time"),
    ],
)
def test_kinds_of_one_library(native: Any, kind: str) -> None:
    frame = pd.DataFrame({"x": native}) if isinstance(native, pd.Series) else pl.DataFrame({"x": native})
    assert frames.kind_of(frames.table(frame, "t").get_column("x")) == kind


# --- ids --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        [3, 1],
        (3, 1),
        range(3, 0, -2),
        np.array([3, 1]),
        pd.Series([3, 1]),
        pd.Index([3, 1]),
        pd.array([3, 1], dtype="Int64"),
        pl.Series([3, 1]),
        pa.array([3, 1]),
        pa.chunked_array([[3], [1]]),
        {3: "a", 1: "b"}.keys(),
        (n for n in (3, 1)),
    ],
    ids=lambda v: f"{type(v).__module__}.{type(v).__name__}",
)
def test_ids_of_any_column_or_list(values: Any) -> None:
    found = frames.ids(values, "x")
    assert found.tolist() == [3, 1]
    assert found.dtype.label == "int64"
    assert frames.ids(found, "x") is found


@pytest.mark.parametrize("value", ["abc", b"a", 3, None, 1.5, pd.DataFrame({"a": [1]}), {"a": 1}])
def test_what_is_no_column_of_ids(value: Any) -> None:
    with pytest.raises(TypeError) as caught:
        frames.ids(value, "recommend: users")
    assert str(caught.value) == (
        f"recommend: users: ids are a {type(value).__name__}, but must be a column or a list; wrap it in [ ]"
    )


# --- numbers, times, lists --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values", [[1, None, 3], [1.5, None, np.inf], [True, None, False], [D("1.5"), None, D("-2.0")], [None, None, 2.0]]
)
def test_numbers(make: Callable[[dict[str, Any]], Any], values: list[Any]) -> None:
    found = frames.numbers(series(make, values), "x")
    expected = [np.nan if v is None else float(v) for v in values]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "native",
    [
        pd.Series([1, None, 3], dtype="Int64"),
        pd.Series([1, None, 3], dtype="Float32"),
        pd.Series([1, None, 3], dtype=object),
        pd.Series([1, None, 3], dtype=pd.ArrowDtype(pa.uint8())),
    ],
    ids=lambda s: str(s.dtype),
)
def test_numbers_of_pandas(native: Any) -> None:
    found = frames.numbers(frames.table(pd.DataFrame({"x": native}), "t").get_column("x"), "x")
    np.testing.assert_array_equal(found, [1, np.nan, 3])


def test_numbers_are_a_copy() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0]})
    frames.numbers(frames.table(frame, "t").get_column("x"), "x")[0] = 9
    assert frame["x"].tolist() == [1.0, 2.0]


def test_text_is_no_number(make: Callable[[dict[str, Any]], Any]) -> None:
    column = series(make, ["1", "2"])
    with pytest.raises(SchemaError) as caught:
        frames.numbers(column, "fit: column 'age' of users")
    assert str(caught.value) == (
        f"fit: column 'age' of users holds text ({column.dtype}), but must hold numbers; convert it first"
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3, 1], [3, 1]),
        ([0.5, -1.0], [0.5, -1.0]),
        ([dt.date(1970, 1, 2), dt.date(1969, 12, 31)], [1, -1]),
    ],
)
def test_times(make: Callable[[dict[str, Any]], Any], values: list[Any], expected: list[float]) -> None:
    assert frames.times(series(make, values), "x").tolist() == expected


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "America/New_York"])
def test_datetimes_sort_as_instants(make: Callable[[dict[str, Any]], Any], zone: str | None) -> None:
    stamps = pd.Series(pd.to_datetime(["2020-10-26 03:00", "2020-10-26 02:00", "1960-01-01 00:00"])).dt.tz_localize(
        zone
    )
    values = stamps if make is pd.DataFrame else pa.array(stamps)
    if make is pl.DataFrame:
        values = pl.Series(pa.array(stamps))
    found = frames.times(series(make, values), "x")
    assert found.dtype == np.int64
    assert found.argsort().tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    "values", [[1, None, 2, None], [1.0, np.inf, 2.0, np.nan], [dt.datetime(2020, 1, 1), None] * 2]
)
def test_a_missing_time(make: Callable[[dict[str, Any]], Any], values: list[Any]) -> None:
    with pytest.raises(DataError) as caught:
        frames.times(series(make, values), "split.time: column 'timestamp'")
    assert str(caught.value).startswith("split.time: column 'timestamp' is missing or infinite in ")
    assert str(caught.value).endswith("drop these rows or fill them in")


def test_text_is_no_time() -> None:
    column = series(pl.DataFrame, ["2020-01-01"])
    with pytest.raises(SchemaError) as caught:
        frames.times(column, "x")
    assert str(caught.value) == "x holds text (String), but must hold numbers, dates or datetimes; convert it first"


def test_lists(make: Callable[[dict[str, Any]], Any]) -> None:
    offsets, elements = frames.lists(series(make, [["b", "a"], None, [], ["a", None]]), "x")
    assert offsets.tolist() == [0, 2, 2, 2, 3]
    assert offsets.dtype == np.int64
    assert elements.tolist() == ["b", "a", "a"]


def test_text_is_split(make: Callable[[dict[str, Any]], Any]) -> None:
    offsets, elements = frames.lists(series(make, ["Comedy|Drama", None, "", " War ||"]), "x", separator="|")
    assert offsets.tolist() == [0, 2, 2, 2, 3]
    assert elements.tolist() == ["Comedy", "Drama", "War"]


def test_lists_of_every_python_sort() -> None:
    values = pd.Series([("b", "a"), {"b", "a"}, np.array(["c", "d"]), None, float("nan")], dtype=object)
    offsets, elements = frames.lists(frames.table(pd.DataFrame({"x": values}), "t").get_column("x"), "x")
    assert offsets.tolist() == [0, 2, 4, 6, 6, 6]
    assert elements.tolist() == ["b", "a", "a", "b", "c", "d"]


def test_no_lists() -> None:
    with pytest.raises(SchemaError) as caught:
        frames.lists(series(pl.DataFrame, ["a|b"]), "x")
    assert str(caught.value) == "x holds text (String), but must hold lists; pass separator= to split text"
    with pytest.raises(SchemaError) as caught:
        frames.lists(series(pl.DataFrame, [1]), "x")
    assert str(caught.value) == "x holds integer (Int64), but must hold lists; use Category for single values"
    with pytest.raises(SchemaError) as caught:
        frames.lists(series(pl.DataFrame, [["a"]]), "x", separator="|")
    assert str(caught.value) == (
        "x holds lists (List(String)), but must hold text to be split at '|'; use Category for single values"
    )
    mixed = pd.DataFrame({"x": pd.Series([["a"], "b"], dtype=object)})
    with pytest.raises(SchemaError) as caught:
        frames.lists(frames.table(mixed, "t").get_column("x"), "x")
    assert str(caught.value) == "x holds str 'b' among lists; make every value a list"


# --- taking and building ----------------------------------------------------------------------------------------------


def test_take(make: Callable[[dict[str, Any]], Any]) -> None:
    frame = frames.table(make({"x": [10, 20, 30]}), "t")
    for rows in ([2, 0, 2], [], [1]):
        taken = frames.take(frame, np.array(rows))
        assert type(taken.to_native()) is type(frame.to_native())
        assert taken.get_column("x").to_list() == [(r + 1) * 10 for r in rows]
        assert frames.take(frame.get_column("x"), np.array(rows)).to_list() == [(r + 1) * 10 for r in rows]


def test_take_keeps_the_labels_of_pandas() -> None:
    frame = frames.table(pd.DataFrame({"x": [10, 20, 30]}, index=["a", "b", "b"]), "t")
    assert frames.take(frame, np.array([2, 0])).to_native().index.tolist() == ["b", "a"]


@pytest.mark.parametrize("named", [False, True])
def test_build(make: Callable[[dict[str, Any]], Any], named: bool) -> None:
    like = make({"a": [1]})
    words = frames.ids(["a", "b", "a"], "x")
    columns: dict[str, Any] = {"word": words, "score": np.array([1, 2, 3], dtype=np.float32)}
    columns["old"] = frames.take(series(make, [1, 2, 3]), np.array([2, 1, 0]))
    native = frames.build(frames.frame_kind(like) if named else like, columns)
    assert type(native) is type(like)
    frame = frames.table(native, "t")
    assert frame.columns == ["word", "score", "old"]
    assert frame.get_column("word").to_list() == ["a", "b", "a"]
    assert frame.get_column("old").to_list() == [3, 2, 1]
    assert str(frame.schema["score"]) == "Float32"


def test_build_an_empty_table(make: Callable[[dict[str, Any]], Any]) -> None:
    words = frames.ids(["a", "b"], "x").take(np.array([], dtype=np.int64))
    native = frames.build(make({"a": [1]}), {"word": words, "score": np.empty(0, dtype=np.float32)})
    frame = frames.table(native, "t")
    assert len(frame) == 0
    assert str(frame.schema["word"]) in ("String", "Object")
