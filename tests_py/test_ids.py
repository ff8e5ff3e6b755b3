from __future__ import annotations

import datetime as dt
import decimal
import uuid
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower import ids
from twotower.errors import SchemaError

Berlin = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("values", "label"),
    [
        ([], "mixed objects"),
        ([3, -1], "int64"),
        ([2**63, 1], "uint64"),
        ([2**64, 1], "mixed objects"),
        ([-1, 2**63], "mixed objects"),
        ([np.int8(1), np.uint64(2**63)], "uint64"),
        ([1.5, 2], "float64"),
        ([1.5, 2**53 + 1], "mixed objects"),
        ([True, False], "bool"),
        ([True, 2], "mixed objects"),
        (["a", "ü"], "string"),
        (["a", 1], "mixed objects"),
        ([b"a"], "bytes"),
        ([decimal.Decimal("1.5")], "decimal"),
        ([dt.date(2020, 1, 2)], "date"),
        ([dt.datetime(2020, 1, 2)], "datetime[us]"),
        ([dt.datetime(2020, 1, 2, tzinfo=Berlin)], "datetime[us, Europe/Berlin]"),
        (
            [dt.datetime(2020, 1, 2, tzinfo=Berlin), dt.datetime(2020, 1, 2, tzinfo=dt.timezone.utc)],
            "datetime[us, UTC]",
        ),
        ([dt.datetime(2020, 1, 2, tzinfo=Berlin), dt.datetime(2020, 1, 2)], "mixed objects"),
        ([np.datetime64("2020-01-02T00:00:00.000000001")], "datetime[ns]"),
        ([(1, 2), (3, 4)], "mixed objects"),
        ([uuid.UUID(int=1)], "mixed objects"),
    ],
)
def test_objects_tell_their_type_and_come_back(values: list[Any], label: str) -> None:
    for some in (values, [None, *values, None]):
        column = ids.from_objects(some)
        assert column.dtype.label == label
        assert len(column) == len(some)
        if label != "datetime[ns]":  # finer than Python's datetimes
            assert column.tolist() == some
        assert column.missing_rows().tolist() == [i for i, v in enumerate(some) if v is None]


@pytest.mark.parametrize("gone", [None, float("nan"), np.float32("nan"), np.datetime64("NaT"), decimal.Decimal("NaN")])
def test_every_way_to_say_missing(gone: object) -> None:
    assert ids.from_objects(["a", gone]).missing_rows().tolist() == [1]
    assert ids.from_objects([7, gone]).tolist() == [7, None]


def test_only_missing_values() -> None:
    column = ids.from_objects([None, None])
    assert len(column) == 2
    assert column.missing_rows().tolist() == [0, 1]


@pytest.mark.parametrize("name", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_arrays_of_whole_numbers_are_not_copied(name: str) -> None:
    array = np.array([np.iinfo(name).max, 0, np.iinfo(name).min], dtype=name)
    column = ids.from_numpy(array, "x")
    assert np.shares_memory(column.values, array)
    assert column.dtype.label == name


@pytest.mark.parametrize(
    ("array", "label", "missing"),
    [
        (np.array([1.0, np.nan], dtype=np.float32), "float32", [1]),
        (np.array([1.0, 2.0], dtype=np.longdouble), "float64", []),
        (np.array([1, 2], dtype=">i4"), "int32", []),
        (np.array(["a", "b"]), "string", []),
        (np.array([b"a"]), "bytes", []),
        (np.array(["2020-01-01", "NaT"], dtype="datetime64[D]"), "date", [1]),
        (np.array(["2020"], dtype="datetime64[Y]"), "date", []),
        (np.array(["2020-01-01T05"], dtype="datetime64[h]"), "datetime[s]", []),
        (np.array([1, None], dtype=object), "int64", [1]),
    ],
)
def test_arrays(array: np.ndarray, label: str, missing: list[int]) -> None:
    column = ids.from_numpy(array, "x")
    assert column.dtype.label == label
    assert column.missing_rows().tolist() == missing


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 2)), "x: ids have 2 dimensions, but must have 1; pass array.ravel()"),
        (np.zeros(2, dtype=complex), "x: ids have dtype complex128, but must be numbers, text or dates; convert them"),
        (
            np.array([[1], [2, 3]], dtype=object),
            "x: ids of type list have no hash and cannot be told apart; turn them into text or tuples",
        ),
    ],
)
def test_arrays_that_cannot_be_ids(array: np.ndarray, message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        ids.from_numpy(array, "x")
    assert str(caught.value) == message


def test_take_and_array() -> None:
    words = ids.from_objects(["b", "a", "b", None])
    assert words.values.tolist() == ["b", "a"]
    assert words.take(np.array([3, 1])).tolist() == [None, "a"]
    assert words.take(np.array([True, False, True, False])).tolist() == ["b", "b"]
    assert np.asarray(words).tolist() == ["b", "a", "b", None]
    assert np.asarray(ids.from_objects([1, 2])).dtype == np.int64
    assert np.asarray(ids.from_objects([1, None])).tolist() == [1, None]


def test_fixed_offsets_and_unknown_zones_still_word_themselves() -> None:
    array = np.array(["2020-01-01T12:00:00"], dtype="datetime64[s]")
    fixed = ids.IdColumn(array, ids.IdType("datetime", "s", "+02:00")).tolist()[0]
    assert fixed.isoformat() == "2020-01-01T14:00:00+02:00"
    unknown = ids.IdColumn(array, ids.IdType("datetime", "s", "Mars/Olympus")).tolist()[0]
    assert unknown.isoformat() == "2020-01-01T12:00:00+00:00"


_WIDTHS = st.sampled_from(["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
_WHOLE = st.integers(-(2**63), 2**64 - 1)
_EDGES = st.sampled_from(
    [0, 1, -1, 127, 128, 255, 256, 2**24 + 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), -(2**31)]
)


@settings(max_examples=150, deadline=None)
@given(_WIDTHS, _WIDTHS | st.sampled_from(["float16", "float32", "float64"]), st.lists(_WHOLE | _EDGES, max_size=8))
def test_comparable_keeps_exactly_the_numbers_that_fit(source: str, target: str, numbers: list[int]) -> None:
    bounds = np.iinfo(source)
    query = np.array([n for n in numbers if bounds.min <= n <= bounds.max], dtype=source)
    converted, same = ids.comparable(query, np.dtype(target))
    assert converted.dtype == target
    for i, number in enumerate(query.tolist()):
        if same is None or same[i]:
            assert int(converted[i]) == number
        elif np.dtype(target).kind == "f":
            with np.errstate(over="ignore"):
                near = np.dtype(target).type(number)
            assert not np.isfinite(near) or int(near) != number
        else:
            assert not np.iinfo(target).min <= number <= np.iinfo(target).max


@settings(max_examples=100, deadline=None)
@given(_WIDTHS, st.lists(st.floats() | _EDGES.map(float), max_size=8))
def test_comparable_takes_whole_floats_only(target: str, numbers: list[float]) -> None:
    query = np.array(numbers, dtype=np.float64)
    converted, same = ids.comparable(query, np.dtype(target))
    assert same is not None
    for i, number in enumerate(numbers):
        fits = (
            np.isfinite(number)
            and number == int(number)
            and np.iinfo(target).min <= int(number) <= np.iinfo(target).max
        )
        assert same[i] == fits
        if fits:
            assert int(converted[i]) == int(number)


def test_comparable_times() -> None:
    query = np.array(["2020-01-01T00:00:00.5", "2020-01-01T00:00:01"], dtype="datetime64[ms]")
    _, same = ids.comparable(query, np.dtype("datetime64[s]"))
    assert same is not None
    assert same.tolist() == [False, True]
    far = np.array(["5000-01-01", "2020-01-01"], dtype="datetime64[s]")
    converted, same = ids.comparable(far, np.dtype("datetime64[ns]"))
    assert same is not None
    assert same.tolist() == [False, True]
    assert converted[1] == far[1]
