"""Splits: every row in one part, the newest apart, nothing from later in what came before."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotower.datasets import movielens
from twotower.errors import DataError, SchemaError
from twotower.evaluation import split

KINDS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
}


def column(frame: Any, name: str) -> list[Any]:
    return frame[name].to_pylist() if isinstance(frame, pa.Table) else frame[name].to_list()


def log(times: list[Any], users: list[Any] | None = None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "row": np.arange(len(times)),
            "user_id": pd.Series([0] * len(times) if users is None else users, dtype=None if times else "int64"),
            "timestamp": pd.Series(times, dtype=None if times else "int64"),
        }
    )


def rows(parts: tuple[Any, ...]) -> list[list[int]]:
    return [column(part, "row") for part in parts]


# --- what every split promises ----------------------------------------------------------------------------------------

SPLITS: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "time": lambda frame: split.time(frame, valid=0.2, test=0.3),
    "random": lambda frame: split.random(frame, valid=0.2, test=0.3),
    "leave_last": lambda frame: split.leave_last(frame, 2, valid=1),
}


@pytest.mark.parametrize("name", SPLITS)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=30))
def test_every_row_is_in_one_part_and_in_order(name: str, events: list[tuple[int, int]]) -> None:
    frame = log([time for _, time in events], [user for user, _ in events])
    parts = rows(SPLITS[name](frame))
    assert len(parts) == 3
    assert sorted(parts[0] + parts[1] + parts[2]) == list(range(len(events)))
    assert all(part == sorted(part) for part in parts)


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 13])
def test_the_kind_and_the_columns_stay(name: str, kind: str, count: int) -> None:
    frame = log([7 * row % 5 for row in range(count)], [row % 3 for row in range(count)])
    frame["word"] = pd.Series([f"w{row}" for row in range(count)], dtype=str)
    given_frame = KINDS[kind](frame)
    parts = SPLITS[name](given_frame)
    for part in parts:
        assert type(part) is type(given_frame)
        if kind == "pandas":
            assert part.dtypes.equals(frame.dtypes)
            assert part.index.tolist() == part.row.tolist()
        else:
            assert part.schema == given_frame.schema
        assert column(part, "word") == [f"w{row}" for row in column(part, "row")]
    assert rows(parts) == rows(SPLITS[name](frame))


@pytest.mark.parametrize("name", SPLITS)
def test_the_frame_given_is_not_changed(name: str) -> None:
    frame = log([3, 1, 2] * 5, [1, 2, 3] * 5)
    frame.index = pd.Index([4] * 15)  # labels may repeat
    before = frame.copy()
    assert sum(len(part) for part in SPLITS[name](frame)) == 15
    pd.testing.assert_frame_equal(frame, before)


# --- time -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 9), max_size=40), st.sampled_from([0.0, 0.1, 0.25]), st.sampled_from([0.1, 0.2, 0.5]))
def test_nothing_is_learned_from_the_future(times: list[int], valid: float, test: float) -> None:
    parts = split.time(log(times), valid=valid, test=test)
    assert len(parts) == (3 if valid else 2)
    assert len(parts[-1]) == round(test * len(times))
    assert valid == 0 or len(parts[1]) == round(valid * len(times))
    stamped = [list(zip(part.timestamp, part.row, strict=True)) for part in parts]
    for earlier, later in itertools.pairwise(stamped):
        assert not earlier or not later or max(earlier) < min(later)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_times_are_cut_in_the_order_given(kind: str) -> None:
    frame = KINDS[kind](log([5, 5, 5, 5, 5, 4]))
    assert rows(split.time(frame, valid=0.34, test=0.34)) == [[0, 5], [1, 2], [3, 4]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "convert",
    [
        lambda days: [float(day) for day in days],
        lambda days: pd.array(days, dtype="Int64"),
        lambda days: pd.to_datetime(days, unit="D"),
        lambda days: pd.to_datetime(days, unit="D").tz_localize("America/New_York"),
        lambda days: np.array(days, dtype="uint8"),
    ],
    ids=["float", "nullable", "datetime", "zone", "uint8"],
)
def test_times_of_any_kind(kind: str, convert: Callable[[list[int]], Any]) -> None:
    frame = log([0, 0, 0, 0, 0])
    frame["timestamp"] = convert([50, 10, 40, 20, 30])
    assert rows(split.time(KINDS[kind](frame), test=0.4)) == [[1, 3, 4], [0, 2]]


def test_dates_and_another_column_name() -> None:
    days = [datetime.date(2024, 1, day) for day in (3, 1, 2)]
    frame = pl.DataFrame({"row": [0, 1, 2], "day": days})
    assert rows(split.time(frame.to_pandas().assign(day=days), test=0.34, time_col="day")) == [[1, 2], [0]]
    assert rows(split.time(frame, test=0.34, time_col="day")) == [[1, 2], [0]]
    assert rows(split.time(frame.to_arrow(), test=0.34, time_col="day")) == [[1, 2], [0]]


def test_ml_1m_by_time(shared_data: Any) -> None:
    ratings = movielens("ml-1m", shared_data / "ml-1m-rebuilt.zip", kind="pandas").ratings
    train, valid, test = split.time(ratings, valid=0.1, test=0.1)
    assert (len(train), len(valid), len(test)) == (800_167, 100_021, 100_021)
    assert train.timestamp.max() == 975_768_738
    assert test.timestamp.min() >= valid.timestamp.max() >= valid.timestamp.min() >= train.timestamp.max()
    known = train.user_id.value_counts()
    known = set(known.index[known >= 5])
    positives = [part[(part.rating >= 4) & part.user_id.isin(known)] for part in (valid, test)]
    assert [(part.user_id.nunique(), len(part)) for part in positives] == [(490, 12_528), (986, 43_349)]


# --- leave_last -------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 4)), max_size=40),
    st.integers(1, 3),
    st.integers(0, 2),
)
def test_leave_last_against_a_loop(events: list[tuple[str, int]], n: int, valid: int) -> None:
    frame = log([time for _, time in events], [user for user, _ in events])
    parts = rows(split.leave_last(frame, n, valid=valid))
    expected: list[list[int]] = [[], [], []]
    for user in "abcd":
        mine = sorted((time, row) for row, (who, time) in enumerate(events) if who == user)
        mine_rows = [row for _, row in mine]
        if len(mine_rows) <= n + valid:
            expected[0] += mine_rows
            continue
        expected[0] += mine_rows[: -n - valid]
        expected[1] += mine_rows[-n - valid : -n]
        expected[2] += mine_rows[-n:]
    assert parts == [sorted(part) for part in (expected if valid else [expected[0], expected[2]])]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "users", [["a", "b", "a", "a"], [1.5, 2.5, 1.5, 1.5], [True, False, True, True], [2**40, 7, 2**40, 2**40]]
)
def test_users_of_any_kind(kind: str, users: list[Any]) -> None:
    frame = KINDS[kind](log([9, 1, 9, 3], users).rename(columns={"user_id": "who", "timestamp": "when"}))
    assert rows(split.leave_last(frame, user_col="who", time_col="when")) == [[0, 1, 3], [2]]


# --- random -----------------------------------------------------------------------------------------------------------


def test_random_depends_on_the_seed_and_the_size_only() -> None:
    one, two = log(list(range(101))), log([0] * 101, ["u"] * 101)
    assert rows(split.random(one)) == rows(split.random(two))
    assert rows(split.random(one, random_state=1)) != rows(split.random(one))
    assert rows(split.random(one, test=0.05))[1] == [26, 27, 77, 94, 97]
    train, valid, test = split.random(one, valid=0.1, test=0.2)
    assert (len(train), len(valid), len(test)) == (71, 10, 20)


def test_random_is_even() -> None:
    frame = log([0] * 50)
    counts = np.zeros(50)
    for seed in range(400):
        counts[rows(split.random(frame, test=0.2, random_state=seed))[1]] += 1
    assert np.abs(counts - 80).max() < 4.5 * 8  # binomial(400, .2): mean 80, deviation 8


# --- bad input, each with its sentence --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["time", "random"])
@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"test": 0.0}, "test is 0.0, but must be above 0 and below 1, a share of the rows; "),
        ({"test": 1}, "test is 1, but must be above 0 and below 1, a share of the rows; "),
        ({"test": float("nan")}, "test is nan, but must be above 0 and below 1, a share of the rows; "),
        ({"valid": -0.1}, "valid is -0.1, but must be at least 0 and below 1, a share of the rows; "),
    ],
)
def test_shares_out_of_range(name: str, shares: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match="split") as caught:
        getattr(split, name)(log([1, 2]), **shares)
    assert str(caught.value) == f"split.{name}: {message}split.leave_last takes a number of rows of each user"


@pytest.mark.parametrize("name", ["time", "random"])
def test_shares_that_leave_nothing(name: str) -> None:
    with pytest.raises(ValueError, match="split") as caught:
        getattr(split, name)(log([1, 2]), valid=0.5, test=0.5)
    assert str(caught.value) == f"split.{name}: valid and test are 0.5 and 0.5, but must be below 1 together"


def test_shares_that_are_no_numbers() -> None:
    with pytest.raises(TypeError, match="split") as caught:
        split.time(log([1]), test="10%")  # type: ignore[arg-type]
    assert str(caught.value) == "split.time: test is '10%', but must be a number, the share of the rows"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n is 0, but must be a whole number of at least 1"),
        ({"n": 0.2}, "n is 0.2, but must be a whole number of at least 1"),
        ({"valid": -1}, "valid is -1, but must be a whole number of at least 0"),
    ],
)
def test_leave_last_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="split") as caught:
        split.leave_last(log([1]), **options)
    assert str(caught.value) == f"split.leave_last: {message}"


def test_random_seed() -> None:
    with pytest.raises(ValueError, match="split") as caught:
        split.random(log([1]), random_state=-1)
    assert str(caught.value) == "split.random: random_state is -1, but must be a whole number of at least 0"


@pytest.mark.parametrize("kind", KINDS)
def test_missing_times(kind: str) -> None:
    cure = "drop these rows or fill them in"
    gaps = [1.0, None, 3.0, None, None, None, None, None]
    for times, sentence in [
        (gaps, f"is missing or infinite in 6 rows (first: 1, 3, 4, 5, 6); {cure}"),
        (pd.to_datetime(gaps, unit="D"), f"is missing or infinite in 6 rows (first: 1, 3, 4, 5, 6); {cure}"),
        (pd.array([None, *[1] * 7], dtype="Int64"), f"is missing or infinite in 1 row (first: 0); {cure}"),
    ]:
        frame = log([0] * 8)
        frame["timestamp"] = times
        for function in (split.time, split.leave_last):
            with pytest.raises(DataError) as caught:
                function(KINDS[kind](frame))
            assert str(caught.value) == f"split.{function.__name__}: column 'timestamp' {sentence}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("users", [["a", None, "b"], [1.0, None, 2.0]])
def test_missing_users(kind: str, users: list[Any]) -> None:
    with pytest.raises(DataError) as caught:
        split.leave_last(KINDS[kind](log([1, 2, 3], users)))
    assert str(caught.value) == (
        "split.leave_last: column 'user_id' is missing in 1 row (first: 1); drop these rows or fill them in"
    )


def test_nan_users_in_polars() -> None:
    with pytest.raises(DataError, match="column 'user_id' is missing in 1 row"):
        split.leave_last(pl.DataFrame({"user_id": [1.0, float("nan")], "timestamp": [1, 2]}))


@pytest.mark.parametrize("kind", KINDS)
def test_times_that_are_words(kind: str) -> None:
    with pytest.raises(SchemaError) as caught:
        split.time(KINDS[kind](log(["9:00", "10:00"])))
    assert str(caught.value) == (
        "split.time: column 'timestamp' holds text (String), but must hold numbers, dates or datetimes; "
        "convert it first"
    )


def test_missing_columns_and_wrong_tables() -> None:
    with pytest.raises(SchemaError) as caught:
        split.time(pd.DataFrame({"time": [1]}))
    assert str(caught.value) == (
        "split.time: interactions has no column 'timestamp'; its columns are 'time'; did you mean 'time'?"
    )
    with pytest.raises(SchemaError) as caught:
        split.leave_last(pl.DataFrame({"who": [1], "timestamp": [1]}))
    assert str(caught.value) == (
        "split.leave_last: interactions has no column 'user_id'; its columns are 'who', 'timestamp'; "
        "name the right one, or add it"
    )
    for function in (split.time, split.leave_last, split.random):
        with pytest.raises(TypeError) as wrong:
            function([1, 2, 3])
        assert str(wrong.value) == (
            f"split.{function.__name__}: interactions is a list, but must be a pandas, polars or pyarrow table; "
            "make one, for example with pandas.DataFrame(...)"
        )


def test_a_lazy_frame_is_collected() -> None:
    train, test = split.time(pl.LazyFrame({"row": [0, 1], "timestamp": [2, 1]}), test=0.5)
    assert isinstance(train, pl.DataFrame)
    assert rows((train, test)) == [[1], [0]]
