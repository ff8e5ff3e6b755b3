"""Ids of every dtype go into a vocabulary and come out as they were; other libraries' frames get the nearest dtype."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower import frame_ids, frames
from twotower.errors import SchemaError
from twotower.vocabulary import Vocabulary

D = decimal.Decimal
NUMBERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"]


def there_and_back(native: Any) -> Any:
    """Through a vocabulary and its saved form, into a frame of the same library."""
    frame = frames.table(native, "t")
    column = frames.column(frame, "x", "t")
    vocabulary = Vocabulary.from_state(*Vocabulary.fit(column).state())
    rows = vocabulary.encode(column)
    assert rows.dtype == np.int32
    assert (rows >= 0).all()
    return frames.build(native, {"x": vocabulary.decode(rows)})


def assert_same(native: Any) -> None:
    back = there_and_back(native)
    if isinstance(native, pd.DataFrame):
        pd.testing.assert_frame_equal(back, native.reset_index(drop=True), check_categorical=False)
    elif isinstance(native, pl.DataFrame):
        assert back.schema == native.schema
        assert back["x"].to_list() == native["x"].to_list()
    else:
        assert back.schema == native.schema
        assert back.to_pylist() == native.to_pylist()


# --- whole columns ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NUMBERS, "bool"])
def test_numbers_keep_their_dtype(name: str) -> None:
    values = np.array([1, 0, 1, 100 if name != "bool" else 1]).astype(name)
    for native in (pd.DataFrame({"x": values}), pl.DataFrame({"x": values}), pa.table({"x": values})):
        assert_same(native)
    if name == "uint64":
        assert_same(pl.DataFrame({"x": np.array([2**64 - 1, 2**63], dtype=np.uint64)}))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([3, 1, 3], "Int64"),
        ([3, 1], "UInt8"),
        ([1.5, 2.0], "Float32"),
        ([True, False], "boolean"),
        (["b", "a", "b"], "string"),
        (["b", "a"], None),
        (["b", "a"], object),
        ([3, 1], object),
        ([True, False], object),
        ([dt.date(2020, 1, 2), dt.date(1900, 1, 1)], object),
        ([D("1.20"), D("-3")], object),
        ([3, "a", (1, 2)], object),
        ([b"a", b"\x00"], object),
        (["b", "a", "b"], "category"),
        ([3, 1, 3], "category"),
        ([3, 1], pd.ArrowDtype(pa.int16())),
        (["b", "a"], pd.ArrowDtype(pa.string())),
        ([True, False], pd.ArrowDtype(pa.bool_())),
        ([D("1.20"), D("-3.00")], pd.ArrowDtype(pa.decimal128(5, 2))),
    ],
)
def test_pandas(values: list[Any], dtype: Any) -> None:
    assert_same(pd.DataFrame({"x": pd.Series(values, dtype=dtype, index=range(7, 7 + len(values)))}))


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "America/New_York", "UTC+02:00"])
def test_pandas_datetimes(zone: str | None) -> None:
    stamps = pd.Series(pd.to_datetime(["2020-01-02 03:04:05.123456789", "1960-06-01 00:00:00.000000001"]))
    assert_same(pd.DataFrame({"x": stamps.dt.tz_localize("UTC").dt.tz_convert(zone)}))


def test_pandas_categories_out_of_order_and_unused() -> None:
    native = pd.DataFrame({"x": pd.Categorical(["b", "a", "b"], categories=["z", "b", "a"], ordered=True)})
    vocabulary = Vocabulary.fit(native["x"])
    assert vocabulary.ids.tolist() == ["a", "b"]
    back = there_and_back(native)
    assert back["x"].tolist() == ["b", "a", "b"]
    assert back["x"].cat.categories.tolist() == ["a", "b"]
    assert not back["x"].cat.ordered


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["b", "a", "b"], pl.String),
        (["b", "a", "b"], pl.Categorical),
        (["b", "a"], pl.Enum(["z", "b", "a"])),
        ([dt.date(2020, 1, 2), dt.date(1900, 1, 1)], pl.Date),
        ([dt.datetime(2020, 1, 2, 3, 4, 5, 6)], pl.Datetime("us")),
        ([dt.datetime(2020, 1, 2, 3, 4, 5)], pl.Datetime("ms")),
        ([D("1.20"), D("-3.00")], pl.Decimal(12, 2)),
        ([b"a", b"\x00"], pl.Binary),
        ([3, "a", (1, 2)], pl.Object),
    ],
)
def test_polars(values: list[Any], dtype: Any) -> None:
    assert_same(pl.DataFrame({"x": pl.Series(values, dtype=dtype)}))


def test_polars_zones() -> None:
    stamps = pl.Series([dt.datetime(2020, 1, 2), dt.datetime(1960, 6, 1)]).dt.replace_time_zone("UTC")
    assert_same(pl.DataFrame({"x": stamps.dt.convert_time_zone("America/New_York")}))


@pytest.mark.parametrize(
    "array",
    [
        pa.array(["b", "a"], type=pa.large_string()),
        pa.array(["b", "a", "b"]).dictionary_encode(),
        pa.array([7, 5], type=pa.int16()).dictionary_encode(),
        pa.array([dt.date(2020, 1, 2)]),
        pa.array([1, 2], type=pa.timestamp("s", tz="America/New_York")),
        pa.array([1, 2], type=pa.timestamp("ns", tz="+02:00")),
        pa.array([1, 2], type=pa.timestamp("ms")),
        pa.array([D("1.20")], type=pa.decimal128(10, 2)),
        pa.array([b"a"], type=pa.large_binary()),
        pa.array([b"a", b"\x00"]),
    ],
    ids=lambda a: str(a.type),
)
def test_pyarrow(array: Any) -> None:
    assert_same(pa.table({"x": array}))


def test_pyarrow_dictionaries_of_several_chunks() -> None:
    chunks = [pa.array(["b", "a"]).dictionary_encode(), pa.array(["c", "b", None]).dictionary_encode()]
    found = frames.ids(pa.chunked_array(chunks), "x")
    assert found.tolist() == ["b", "a", "c", "b", None]


@pytest.mark.parametrize("kind", ["string", "category", "object"])
def test_empty_columns(kind: str) -> None:
    for native in (
        pd.DataFrame({"x": pd.Series([], dtype=kind)}),
        pl.DataFrame({"x": pl.Series([], dtype={"string": pl.String, "category": pl.Categorical}.get(kind, pl.Int8))}),
        pa.table({"x": pa.array([], type=pa.string())}),
        pa.table({"x": pa.chunked_array([], type=pa.dictionary(pa.int32(), pa.string()))}),
    ):
        assert len(frames.ids(frames.table(native, "t").get_column("x"), "x")) == 0
        assert Vocabulary.fit(frames.table(native, "t").get_column("x")).size == 0


# --- missing values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "native",
    [
        pd.Series([1, None, 3], dtype="Int64"),
        pd.Series([False, None, True], dtype="boolean"),
        pd.Series(["a", None, "b"]),
        pd.Series(["a", None, "b"], dtype="string"),
        pd.Series(["a", None, "b"], dtype="category"),
        pd.Series([1.0, None, 2.0]),
        pd.Series([dt.date(2020, 1, 1), None, dt.date(2020, 1, 2)]),
        pd.Series(pd.to_datetime(["2020-01-01", None, "2020-01-02"])).dt.tz_localize("America/New_York"),
        pl.Series([1, None, 3]),
        pl.Series([False, None, True]),
        pl.Series(["a", None, "b"]),
        pl.Series(["a", None, "b"], dtype=pl.Categorical),
        pl.Series([1.0, None, float("nan")])[:2].append(pl.Series([2.0])),
        pl.Series([dt.date(2020, 1, 1), None, dt.date(2020, 1, 2)]),
        pl.Series([dt.datetime(2020, 1, 1), None, dt.datetime(2020, 1, 2)]).dt.replace_time_zone("UTC"),
        pa.array([1, None, 3]),
        pa.array(["a", None, "b"]),
        pa.array(["a", None, "b"]).dictionary_encode(),
        pa.array([dt.datetime(2020, 1, 1), None, dt.datetime(2020, 1, 2)]),
    ],
    ids=lambda s: f"{type(s).__module__.split('.')[0]}-{getattr(s, 'dtype', getattr(s, 'type', ''))}",
)
def test_missing_ids_are_marked(native: Any) -> None:
    found = frames.ids(native, "x")
    assert found.missing_rows().tolist() == [1]
    vocabulary = Vocabulary.fit(found, missing="skip")
    assert vocabulary.size == 2
    rows = vocabulary.encode(native)
    assert rows.tolist() == [0, -1, 1]
    assert found.tolist()[1] is None


def test_large_whole_numbers_beside_missing_ones_lose_no_digit() -> None:
    for native in (
        pd.Series([2**60 + 1, None], dtype="Int64"),
        pl.Series([2**60 + 1, None]),
        pa.array([2**60 + 1, None]),
    ):
        assert frames.ids(native, "x").tolist() == [2**60 + 1, None]


def test_missing_ids_on_the_way_out() -> None:
    words = frames.ids(["a", None], "x")
    assert frames.build("polars", {"x": words})["x"].to_list() == ["a", None]
    assert frames.build("pyarrow", {"x": words})["x"].to_pylist() == ["a", None]
    assert frames.build("pandas", {"x": words})["x"].tolist() == ["a", None]


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("native", "shown"),
    [
        (pl.Series([[1]]), "List(Int64)"),
        (pl.Series([dt.timedelta(1)]), "Duration(time_unit='us')"),
        (pl.Series([dt.time(1)]), "Time"),
        (pd.Series(pd.period_range("2020", periods=1, freq="D")), "period[D]"),
    ],
)
def test_dtypes_that_cannot_be_ids(native: Any, shown: str) -> None:
    with pytest.raises(SchemaError) as caught:
        frames.ids(native, "fit: column 'x'")
    assert str(caught.value) == (
        f"fit: column 'x': ids have dtype {shown}, but must be numbers, text, dates or hashable "
        f"objects; turn them into text"
    )


# --- lists ------------------------------------------------------------------------------------------------------------


_LISTS = [[], [3, 1], None, [None, 3], [], [2]]


@pytest.mark.parametrize(
    "native",
    [
        pl.Series(_LISTS),
        pl.Series([[9], *_LISTS])[1:],
        pl.concat([pl.Series(_LISTS[:2]), pl.Series(_LISTS[2:])], rechunk=False),
        pa.array(_LISTS),
        pa.array([[9], *_LISTS])[1:],
        pa.chunked_array([_LISTS[:2], _LISTS[2:]], type=pa.list_(pa.int8())),
        pa.array(_LISTS, type=pa.large_list(pa.int64())),
    ],
)
def test_lists_are_flattened_by_their_library(native: Any) -> None:
    flattened = frame_ids.flatten(native)
    assert flattened is not None
    assert flattened[0].tolist() == [0, 2, 0, 2, 0, 1]
    assert frames.ids(flattened[1], "x").tolist() == [3, 1, None, 3, 2]
    table = pl.DataFrame({"x": native}) if isinstance(native, pl.Series) else pa.table({"x": native})
    offsets, elements = frames.lists(frames.table(table, "t").get_column("x"), "x")
    assert offsets.tolist() == [0, 0, 2, 2, 3, 3, 4]
    assert elements.tolist() == [3, 1, 3, 2]


@pytest.mark.parametrize("native", [pd.Series([[1]]), pl.Series([1]), pa.array([1]), pl.Series(["List"])])
def test_other_columns_are_not_flattened(native: Any) -> None:
    assert frame_ids.flatten(native) is None


@pytest.mark.parametrize(
    "native", [pl.Series([[], None], dtype=pl.List(pl.String)), pa.array([[], None], pa.list_(pa.string()))]
)
def test_only_empty_lists(native: Any) -> None:
    flattened = frame_ids.flatten(native)
    assert flattened is not None
    assert flattened[0].tolist() == [0, 0]
    assert len(flattened[1]) == 0


# --- from one library into another ------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=6),
        st.lists(st.integers(2**63, 2**64 - 1), min_size=1, max_size=6),
        st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6),
        st.lists(st.booleans(), min_size=1, max_size=6),
        st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), min_size=1, max_size=6),
        st.lists(st.binary(max_size=4), min_size=1, max_size=6),
        st.lists(st.dates(dt.date(1700, 1, 1), dt.date(2200, 1, 1)), min_size=1, max_size=6),
        st.lists(st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)), min_size=1, max_size=6),
    ),
    st.sampled_from(["pandas", "polars", "pyarrow"]),
    st.sampled_from(["pandas", "polars", "pyarrow"]),
)
def test_every_value_survives_every_way(values: list[Any], source: str, target: str) -> None:
    native = frames.build(source, {"x": frames.ids(values, "x")})
    column = frames.table(native, "t").get_column("x")
    vocabulary = Vocabulary.from_state(*Vocabulary.fit(column).state())
    assert vocabulary.ids.tolist() == sorted(set(values))
    rows = vocabulary.encode(column)
    assert vocabulary.decode(rows).tolist() == values
    out = frames.build(target, {"x": vocabulary.decode(rows)})
    assert frames.ids(frames.table(out, "t").get_column("x"), "x").tolist() == values
    assert_same(native)
