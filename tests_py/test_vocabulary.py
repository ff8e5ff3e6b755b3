from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.errors import DataError, SchemaError, UnknownIdError
from twotower.vocabulary import Vocabulary

D = decimal.Decimal
SIZES = [0, 1, 2, 3, 7, 8, 9, 101, 65_535, 65_536, 65_537]


# --- fit --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        ([3, 1, 3, -2], [-2, 1, 3]),
        ([2**64 - 1, 0], [0, 2**64 - 1]),
        ([2**63 - 1, -(2**63)], [-(2**63), 2**63 - 1]),
        ([0.5, -0.0, 0.0], [0.0, 0.5]),
        ([True, False, True], [False, True]),
        ([True, True], [True]),
        (["b", "a", "B", "ä", ""], ["", "B", "a", "b", "ä"]),
        ([b"b", b"a"], [b"a", b"b"]),
        ([D("1.5"), D("1.50"), D("-1")], [D("-1"), D("1.5")]),
        ([dt.date(2020, 1, 2), dt.date(1900, 1, 1)], [dt.date(1900, 1, 1), dt.date(2020, 1, 2)]),
        ([(2, "a"), (1, "b")], [(1, "b"), (2, "a")]),
        (["b", 1, "a", "b"], ["b", 1, "a"]),
        ([frozenset([2]), frozenset([1])], [frozenset([2]), frozenset([1])]),
        ([], []),
    ],
)
def test_ids_ascend_where_they_can_be_compared_and_else_keep_their_order(values: list[Any], ids: list[Any]) -> None:
    vocabulary = Vocabulary.fit(values)
    assert vocabulary.ids.tolist() == ids
    assert vocabulary.size == len(vocabulary) == len(ids)
    assert vocabulary.decode(vocabulary.encode(values)).tolist() == values


def test_categories_that_no_row_has_are_no_ids() -> None:
    native = pd.Series(pd.Categorical(["b", 1, "b"], categories=["unused", 1, "b"]))
    assert Vocabulary.fit(native).ids.tolist() == ["b", 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["a", None, "b", None],
            "fit: column 'u' has no id in 2 rows (first: 1, 3); drop these rows or give them an id",
        ),
        ([1.0, np.nan], "fit: column 'u' has no id in 1 row (first: 1); drop these rows or give them an id"),
        (
            [1.0, np.inf, -np.inf],
            "fit: column 'u' is infinite in 2 rows (first: 1, 2); drop these rows or give them an id",
        ),
    ],
)
def test_missing_and_infinite_ids(values: list[Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        Vocabulary.fit(values, "fit: column 'u'")
    assert str(caught.value) == message


def test_missing_ids_can_be_skipped() -> None:
    assert Vocabulary.fit(["a", None], missing="skip").ids.tolist() == ["a"]
    assert Vocabulary.fit([None, None], missing="skip").size == 0


def test_repr() -> None:
    assert repr(Vocabulary.fit(range(7))) == "<Vocabulary of 7 int64 ids: 0, 1, 2, 3, 4>"
    assert repr(Vocabulary.fit(["a"])) == "<Vocabulary of 1 string id: 'a'>"


# --- encode -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", [1, 3, 10**9])
def test_whole_numbers_dense_and_sparse(size: int, step: int) -> None:
    ids = (np.arange(size) - size // 2) * step
    shuffled = np.random.default_rng(size).permutation(np.concatenate([ids, ids]))
    vocabulary = Vocabulary.fit(shuffled)
    np.testing.assert_array_equal(vocabulary.ids.values, ids)
    np.testing.assert_array_equal(vocabulary.encode(ids), np.arange(size))
    np.testing.assert_array_equal(vocabulary.encode(shuffled), np.searchsorted(ids, shuffled))
    missed = np.setdiff1d(np.concatenate([ids - 1, ids + 1, [2**63 - 1, -(2**63)]]), ids)
    assert (vocabulary.encode(missed) == -1).all()


@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "uint64"])
def test_the_whole_range_of_a_dtype(name: str) -> None:
    info = np.iinfo(name)
    ids = np.array([info.min, info.max, 0, 1], dtype=name)
    vocabulary = Vocabulary.fit(ids)
    assert vocabulary.ids.tolist() == sorted({info.min, info.max, 0, 1})
    assert vocabulary.decode(vocabulary.encode(ids)).tolist() == ids.tolist()
    assert vocabulary.ids.values.dtype == name


def test_all_of_int8() -> None:
    ids = np.arange(-128, 128).astype(np.int8)
    vocabulary = Vocabulary.fit(ids)
    np.testing.assert_array_equal(vocabulary.encode(np.arange(-130, 130)), [-1, -1, *range(256), -1, -1])


@pytest.mark.parametrize(
    ("fitted", "asked", "rows"),
    [
        (np.array([1, 2], np.int32), [2, 1, 3], [1, 0, -1]),
        (np.array([1, 2], np.int32), np.array([2**32 + 1, 1]), [-1, 0]),
        (np.array([1, 2], np.int64), np.array([2, 2**63 + 1], np.uint64), [1, -1]),
        (np.array([2**64 - 1, 1], np.uint64), [-1, 1, 2**64 - 1], [-1, 0, 1]),
        (np.array([2**64 - 1, 1], np.uint64), np.array([-1, 1]), [-1, 0]),
        ([1, 2], [1.0, 1.5, 2.0, np.inf, None], [0, -1, 1, -1, -1]),
        ([1.0, 2.5], [1, 2, np.int8(1)], [0, -1, 0]),
        ([1.0, 2.5], [2.5, np.float32(2.5), -0.0], [1, 1, -1]),
        ([2.0**53], [2**53 + 1, 2**53], [-1, 0]),
        ([1, 2], [np.int16(2), 1], [1, 0]),
        ([1, 2], ["1", 2], [-1, 1]),
        ([1, 2], ["1", "2"], [-1, -1]),
        ([1, 2], [True, False], [-1, -1]),
        ([True, False], [1, 0], [-1, -1]),
        (["1", "2"], [1, 2], [-1, -1]),
        (["1", "2"], [b"1"], [-1]),
        (["a", "b"], np.array(["b", "c"]), [1, -1]),
        (["a", "b"], pd.Series(["b", "a"], dtype="category"), [1, 0]),
        (pd.Series([5, 7], dtype="category"), [7, 5, 6], [1, 0, -1]),
        (pl.Series(["b", "a"], dtype=pl.Enum(["b", "a"])), ["a", "b", "z"], [0, 1, -1]),
        ([D("1.5"), D("2")], [2, D("1.50"), 1.5], [1, 0, 0]),
        (["a", 1], ["a", 1, "b"], [0, 1, -1]),
        ([dt.date(2020, 1, 1)], [dt.date(2020, 1, 1), dt.date(2020, 1, 2)], [0, -1]),
        ([dt.date(2020, 1, 1)], [dt.datetime(2020, 1, 1)], [-1]),
        ([dt.datetime(2020, 1, 1)], np.array(["2020-01-01"], dtype="datetime64[ns]"), [0]),
        (np.array(["2020-01-01"], dtype="datetime64[s]"), [dt.datetime(2020, 1, 1, 0, 0, 0, 1)], [-1]),
        ([dt.datetime(2020, 1, 1)], [dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)], [-1]),
        ([1, 2], [], []),
        ([1, 2], [None, None], [-1, -1]),
        ([], [1, 2], [-1, -1]),
    ],
)
def test_ids_of_another_dtype(fitted: Any, asked: Any, rows: list[int]) -> None:
    found = Vocabulary.fit(fitted).encode(asked)
    assert found.tolist() == rows
    assert found.dtype == np.int32


def test_the_same_instant_in_another_zone() -> None:
    stamps = pd.Series(pd.to_datetime(["2020-01-01 12:00", "2020-06-01 12:00"])).dt.tz_localize("UTC")
    vocabulary = Vocabulary.fit(stamps)
    assert vocabulary.encode(stamps.dt.tz_convert("America/New_York")).tolist() == [0, 1]
    assert vocabulary.encode([stamps[1].to_pydatetime()]).tolist() == [1]


def test_encoding_does_not_change_what_it_was_given() -> None:
    ids = np.array([3, 1, 2])
    asked = np.array([3, 9])
    vocabulary = Vocabulary.fit(ids)
    vocabulary.encode(asked)
    assert ids.tolist() == [3, 1, 2]
    assert asked.tolist() == [3, 9]


# --- unknown ids ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fitted", "asked", "message"),
    [
        ([1, 2], [1, 9], "recommend: users: 1 of 2 ids is unknown (first: 9); pass known ones"),
        (
            [1, 2],
            ["1", "2", "1"],
            "recommend: users: 3 of 3 ids are unknown (first: '1', '2'); the fitted ids are int64, these are string; "
            "pass known ones",
        ),
        (
            [1, 2],
            np.array([5, 6, 7, 8, 9, 10], np.int16),
            "recommend: users: 6 of 6 ids are unknown (first: 5, 6, 7, 8, 9); pass known ones",
        ),
        (
            ["a"],
            [1],
            "recommend: users: 1 of 1 id is unknown (first: 1); the fitted ids are string, these are "
            "int64; pass known ones",
        ),
        (["a"], [None, "a"], "recommend: users: 1 of 2 ids is unknown (first: None); pass known ones"),
    ],
)
def test_unknown_ids(fitted: Any, asked: Any, message: str) -> None:
    with pytest.raises(UnknownIdError) as caught:
        Vocabulary.fit(fitted).encode_known(asked, "recommend: users", "pass known ones")
    assert str(caught.value) == message


def test_known_ids() -> None:
    assert Vocabulary.fit(["b", "a"]).encode_known(["a", "b"], "x", "y").tolist() == [0, 1]


# --- decode and state -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "place", "value"), [([0, 2], 1, 2), ([-1], 0, -1)])
def test_rows_out_of_range(rows: list[int], place: int, value: int) -> None:
    with pytest.raises(IndexError) as caught:
        Vocabulary.fit(["a", "b"]).decode(rows)
    assert str(caught.value) == f"decode: rows[{place}] is {value}, but must be 0 or more and below 2"


def test_decoding_no_rows() -> None:
    assert Vocabulary.fit(["a", "b"]).decode([]).tolist() == []


_SCALARS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.decimals(allow_nan=False, allow_infinity=False, places=2),
    st.dates(),
    st.datetimes(),
    st.uuids(),
    st.tuples(st.integers(0, 3), st.text(max_size=2)),
    st.frozensets(st.integers(0, 3)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_SCALARS, max_size=12), st.lists(_SCALARS, max_size=4))
def test_a_dict_would_say_the_same(values: list[Any], others: list[Any]) -> None:
    vocabulary = Vocabulary.fit(values)
    again = Vocabulary.from_state(*vocabulary.state())
    assert again.ids.tolist() == vocabulary.ids.tolist()
    assert [type(v) for v in again.ids.tolist()] == [type(v) for v in vocabulary.ids.tolist()]
    assert again.dtype == vocabulary.dtype
    place = {v: i for i, v in enumerate(vocabulary.ids.tolist())}
    assert sorted(place.values()) == list(range(len(set(values))))
    for some in (values, others, values + others):
        assert again.encode(some).tolist() == vocabulary.encode(some).tolist() == [place.get(v, -1) for v in some]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-40, 40) | st.integers(-(2**63), 2**63 - 1), max_size=40), st.randoms())
def test_the_order_of_the_rows_does_not_matter(values: list[int], random: Any) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    assert Vocabulary.fit(values).ids.tolist() == Vocabulary.fit(shuffled).ids.tolist() == sorted(set(values))


# --- growth -----------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([st.integers(-40, 40), st.integers(-(2**63), 2**63 - 1), st.text(max_size=2), st.dates()]).flatmap(
        lambda kind: st.tuples(*(st.lists(kind, max_size=12) for _ in range(4)))
    )
)
def test_extended_ids_keep_their_rows(lists: tuple[list[Any], ...]) -> None:
    first, second, third, asked = lists
    vocabulary = Vocabulary.fit(first)
    known = vocabulary.ids.tolist()
    for further in (second, third):
        vocabulary = vocabulary.extended(further)
        known += sorted(set(further) - set(known))
        assert vocabulary.ids.tolist() == known
    place = {value: row for row, value in enumerate(known)}
    for some in (asked, first + second + third):
        assert vocabulary.encode(some).tolist() == [place.get(value, -1) for value in some]
    again = Vocabulary.from_state(*vocabulary.state())
    assert again.encode(known + asked).tolist() == vocabulary.encode(known + asked).tolist()
    assert vocabulary.decode(range(vocabulary.size)).tolist() == known


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", [1, 3, 10**9])
def test_extended_whole_numbers_dense_and_sparse(size: int, step: int) -> None:
    ids = np.random.default_rng(size).permutation((np.arange(2 * size + 1) - size) * step)
    vocabulary = Vocabulary.fit(ids[:size]).extended(ids[size:])
    wanted = np.concatenate([np.sort(ids[:size]), np.sort(ids[size:])])
    np.testing.assert_array_equal(vocabulary.ids.values, wanted)
    np.testing.assert_array_equal(vocabulary.encode(wanted), np.arange(len(wanted)))
    missed = np.setdiff1d(np.concatenate([ids - 1, ids + 1, [2**63 - 1]]), ids)
    assert (vocabulary.encode(missed) == -1).all()


@pytest.mark.parametrize(
    ("fitted", "further", "ids", "label"),
    [
        (np.array([5], np.int8), [3, 5], [5, 3], "int8"),
        (np.array([5], np.int8), [300], [5, 300], "int64"),
        (np.array([5], np.int64), np.array([2**63 - 1], np.uint64), [5, 2**63 - 1], "int64"),
        (np.array([5], np.uint32), [-1], [5, -1], "int64"),
        (np.array([5], np.int64), [7.0], [5, 7], "int64"),
        (np.array([0.5]), [7], [0.5, 7.0], "float64"),
        (np.array([0.5], np.float32), [0.1], [0.5, 0.1], "float64"),
        (["b"], ["a", "c", "b"], ["b", "a", "c"], "string"),
        (["b", 1], ["a", 2], ["b", 1, "a", 2], "mixed objects"),
        ([], [2, 1], [1, 2], "int64"),
        ([2, 1], [], [1, 2], "int64"),
        ([2, 1], [2], [1, 2], "int64"),
        ([True], [False], [True, False], "bool"),
        ([dt.date(2020, 1, 2)], [dt.date(2020, 1, 1)], [dt.date(2020, 1, 2), dt.date(2020, 1, 1)], "date"),
        ([D("1.5")], [D("0.5")], [D("1.5"), D("0.5")], "decimal"),
    ],
)
def test_extended_dtypes(fitted: Any, further: Any, ids: list[Any], label: str) -> None:
    found = Vocabulary.fit(fitted).extended(further)
    assert found.ids.tolist() == ids
    assert found.dtype.label == label
    assert found.encode(further).tolist() == [ids.index(v) for v in list(further)]


def test_times_of_a_finer_unit() -> None:
    coarse = Vocabulary.fit(np.array(["2020-01-01"], dtype="datetime64[s]"))
    found = coarse.extended(np.array(["2019-01-01T00:00:00.5"], dtype="datetime64[ms]"))
    assert found.dtype.label == "datetime[ms]"
    assert found.encode(np.array(["2020-01-01", "2019-01-01T00:00:00.500"], dtype="datetime64[ns]")).tolist() == [0, 1]


def test_an_enum_has_its_new_levels() -> None:
    found = Vocabulary.fit(pl.Series(["b", "a"], dtype=pl.Enum(["b", "a", "z"]))).extended(["c", "z"])
    assert found.dtype.levels == ("b", "a", "z", "c")
    assert found.ids.tolist() == ["a", "b", "c", "z"]


@pytest.mark.parametrize(
    ("fitted", "further", "error", "message"),
    [
        (
            [1, 2],
            ["3"],
            SchemaError,
            "add_items: ids holds string ids, but the fitted ids are int64; convert them to int64",
        ),
        (
            [1, 2],
            [2.5],
            SchemaError,
            "add_items: ids holds float64 ids that int64, the type of the fitted ids, cannot hold; convert them to int64",
        ),
        (
            [-1],
            np.array([2**64 - 1], np.uint64),
            SchemaError,
            "add_items: ids holds uint64 ids that int64, the type of the fitted ids, cannot hold; convert them to int64",
        ),
        (
            [1],
            [2, None],
            DataError,
            "add_items: ids has no id in 1 row (first: 1); drop these rows or give them an id",
        ),
    ],
)
def test_ids_that_cannot_be_added(fitted: Any, further: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        Vocabulary.fit(fitted).extended(further, "add_items: ids")
    assert str(caught.value) == message


def test_missing_ids_can_be_skipped_in_growth_too() -> None:
    assert Vocabulary.fit([1]).extended([None, 2], missing="skip").ids.tolist() == [1, 2]
