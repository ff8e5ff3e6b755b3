"""Points in time, against Python's own calendar."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower import frames, persistence
from twotower.errors import DataError, SchemaError
from twotower.features import EncodedCodes, EncodedNumbers, EncodedVectors, FeatureEncoder
from twotower.features._times import seconds_of
from twotower.schema import Field, Timestamp

KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
}
ALL_PARTS = ("year", "month", "weekday", "day", "hour", "dayofyear")
EPOCH = dt.datetime(1970, 1, 1)


def table(values: Any, make: Callable[[dict[str, Any]], Any] = pd.DataFrame) -> Any:
    return frames.table(make({"t": values}), "t")


def seconds(values: Any, unit: str = "auto") -> list[int]:
    found, missing, _ = seconds_of(table(values).get_column("t"), "x", unit)
    assert missing is None
    return found.tolist()


def codes_only(*parts: str, **options: Any) -> Timestamp:
    return Timestamp("t", parts=parts, cyclic=False, normalize=False, **options)


# --- reading ----------------------------------------------------------------------------------------------------------

MOMENT = dt.datetime(2000, 12, 31, 22, 12, 40)
MOMENT_S = 978_300_760


@pytest.mark.parametrize(
    "values",
    [
        [MOMENT],
        pd.Series([MOMENT]).astype("datetime64[s]"),
        pd.Series([MOMENT]).astype("datetime64[ns]"),
        pd.Series([MOMENT]).dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"),
        pd.Series([MOMENT.replace(tzinfo=ZoneInfo("UTC")).astimezone(ZoneInfo("America/New_York"))], dtype=object),
        [MOMENT_S],
        [float(MOMENT_S) + 0.75],
        [MOMENT_S * 10**3 + 999],
        [MOMENT_S * 10**6],
        [MOMENT_S * 10**9],
        np.array([MOMENT_S], dtype=np.uint32),
        np.array([MOMENT_S * 10**9], dtype=np.uint64),
    ],
)
def test_one_moment_in_every_dtype(values: Any) -> None:
    assert seconds(values) == [MOMENT_S]


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_dates_and_missing_times(make: Callable[[dict[str, Any]], Any]) -> None:
    for values in ([dt.date(1970, 1, 3), None], [dt.datetime(1970, 1, 3), None], [172_800, None], [172_800.0, None]):
        found, missing, _ = seconds_of(table(values, make).get_column("t"), "x", "s")
        assert found[0] == 172_800
        assert missing is not None
        assert missing.tolist() == [False, True]


def test_times_before_1970_are_rounded_down() -> None:
    assert seconds([dt.datetime(1969, 12, 31, 23, 59, 59, 1)]) == [-1]
    assert seconds([-1500], "ms") == [-2]
    assert seconds([-1.5], "s") == [-2]


def test_mixed_zones_are_one_time_line() -> None:
    noon = dt.datetime(2020, 6, 1, 12)
    values = [noon.replace(tzinfo=ZoneInfo(zone)) for zone in ("UTC", "Asia/Tokyo", "America/New_York")]
    found = seconds(pd.Series(values, dtype=object))
    assert [second - found[0] for second in found] == [0, -9 * 3600, 4 * 3600]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_numbers_of_a_named_unit(unit: str) -> None:
    scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    assert seconds([7 * scale, 0], unit) == [7, 0]


@pytest.mark.parametrize("values", [[2**62, -(2**62)], [1e300, -1e300], np.array([2**62, -(2**62)], "datetime64[s]")])
def test_times_far_out_of_range_are_the_ends_of_the_calendar(values: Any) -> None:
    ends = [dt.datetime(9999, 12, 31, 23, 59, 59), dt.datetime(1, 1, 1)]
    assert seconds(values, "s") == [int((end - EPOCH).total_seconds()) for end in ends]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["2020-01-01"],
            "fit: users: column 't' holds string values (String), but must hold dates, datetimes or numbers; convert it "
            "first, for example with pandas.to_datetime or polars' str.to_datetime",
        ),
        (
            pd.Series([dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)], dtype=object),
            "fit: users: column 't' holds object values (Object), but must hold dates, datetimes or numbers; give all "
            "times a zone or none, and one type",
        ),
    ],
)
def test_what_is_no_time(values: Any, message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        FeatureEncoder.fit(table(values), [Timestamp("t")], "fit: users")
    assert str(caught.value) == message


def test_an_infinite_time() -> None:
    with pytest.raises(DataError) as caught:
        FeatureEncoder.fit(table([1e9, np.inf]), [Timestamp("t")], "fit: users")
    assert str(caught.value) == (
        "fit: users: column 't' is infinite in 1 row (first: 1); make these values finite or missing"
    )


# --- parts ------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)), min_size=1, max_size=20))
def test_parts_are_those_of_the_calendar(moments: list[dt.datetime]) -> None:
    frame = frames.table(pl.DataFrame({"t": pl.Series(moments, dtype=pl.Datetime("us"))}), "t")
    encoder = FeatureEncoder.fit(frame, [codes_only(*ALL_PARTS)], "t")
    found = [part.codes.tolist() for part in encoder.transform(frame, "t")]  # type: ignore[union-attr]
    years = sorted({moment.year for moment in moments})
    assert found == [
        [years.index(moment.year) + 1 for moment in moments],
        [moment.month for moment in moments],
        [moment.weekday() + 1 for moment in moments],
        [moment.day for moment in moments],
        [moment.hour + 1 for moment in moments],
        [moment.timetuple().tm_yday for moment in moments],
    ]
    assert [part.size for part in encoder.parts] == [len(years) + 1, 13, 8, 32, 25, 367]


def test_years_that_fit_never_saw_are_the_nearest_before_or_the_first() -> None:
    encoder = FeatureEncoder.fit(table([dt.date(1990, 1, 1), dt.date(2000, 1, 1)]), [codes_only("year")], "t")
    new = [dt.date(1, 1, 1), dt.date(1999, 1, 1), dt.date(2000, 1, 1), dt.date(2500, 1, 1), None]
    found = encoder.transform(table(new), "t")[0]
    assert isinstance(found, EncodedCodes)
    assert found.codes.tolist() == [1, 1, 2, 2, 0]


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_all_at_once(make: Callable[[dict[str, Any]], Any]) -> None:
    moments = [dt.datetime(2000, 1, 3, 6), dt.datetime(2000, 7, 1, 18), None]
    frame = table(moments, make)
    encoder = FeatureEncoder.fit(frame, [Timestamp("t", parts=("hour", "weekday"), buckets=2, width=4)], "t")
    assert [(part.name, part.kind, part.size, part.width) for part in encoder.parts] == [
        ("t.hour", "codes", 25, 4),
        ("t.weekday", "codes", 8, 4),
        ("t.cycle", "vectors", 8, 4),
        ("t.bucket", "codes", 3, 4),
        ("t.scaled", "numbers", 1, 4),
    ]
    hour, weekday, cycle, bucket, scaled = encoder.transform(frame, "t")
    assert hour.codes.tolist() == [7, 19, 0]  # type: ignore[union-attr]
    assert weekday.codes.tolist() == [1, 6, 0]  # type: ignore[union-attr]
    assert bucket.codes.tolist() == [1, 2, 0]  # type: ignore[union-attr]
    assert isinstance(scaled, EncodedNumbers)
    assert isinstance(cycle, EncodedVectors)
    assert scaled.values[:2].tolist() == [-1, 1]
    assert np.isnan(scaled.values[2])
    # 6 o'clock is a quarter of the day, Monday the start of the week, January of the year, 3 January its third day
    angle = 2 * 2 * np.pi / 366
    np.testing.assert_allclose(cycle.values[0], [1, 0, 0, 1, 0, 1, np.sin(angle), np.cos(angle)], atol=1e-6)
    np.testing.assert_allclose((cycle.values[1].reshape(4, 2) ** 2).sum(axis=1), 1, rtol=1e-6)
    assert np.isnan(cycle.values[2]).all()
    assert encoder.fields("context", {"t.hour": 4, "t.cycle": 4}) == [
        Field("Timestamp", "context", "t.hour", 24, 1 / 3, "2000-01-03 to 2000-07-01", 4, 400),
        Field("Timestamp", "context", "t.weekday", 7, 1 / 3),
        Field(
            "Timestamp",
            "context",
            "t.cycle",
            None,
            1 / 3,
            "sine and cosine of hour, weekday, month, day of the year",
            4,
            160,
        ),
        Field("Timestamp", "context", "t.bucket", 2, 1 / 3),
        Field("Timestamp", "context", "t.scaled", None, 1 / 3),
    ]


def test_midnight_is_near_the_minute_before() -> None:
    moments = [dt.datetime(2000, 1, 1, 23, 59), dt.datetime(2000, 1, 1, 0, 0), dt.datetime(2000, 1, 1, 12, 0)]
    found = FeatureEncoder.fit(table(moments), [Timestamp("t")], "t").transform(table(moments), "t")[0].values[:, :2]  # type: ignore[union-attr]
    assert np.linalg.norm(found[0] - found[1]) < 0.01
    assert np.linalg.norm(found[0] - found[2]) > 1.99


def test_nothing_is_extrapolated() -> None:
    encoder = FeatureEncoder.fit(
        table([0, 100], pd.DataFrame), [Timestamp("t", cyclic=False, unit="s", buckets=4)], "t"
    )
    bucket, scaled = encoder.transform(table([-(10**11), 0, 100, 10**11]), "t")
    assert bucket.codes.tolist() == [1, 1, 2, 2]  # type: ignore[union-attr]
    assert scaled.values.tolist() == [-1, -1, 1, 1]  # type: ignore[union-attr]


def test_only_one_time_or_none() -> None:
    encoder = FeatureEncoder.fit(table([5, 5]), [Timestamp("t", parts=("year",), buckets=3, cyclic=False)], "t")
    year, bucket, scaled = encoder.transform(table([5, 9, None]), "t")
    assert (year.codes.tolist(), bucket.codes.tolist()) == ([1, 1, 0], [1, 1, 0])  # type: ignore[union-attr]
    assert scaled.values.tolist()[:2] == [0, 0]  # type: ignore[union-attr]
    assert encoder.fields("items")[0].note == "always 1970-01-01"
    empty = FeatureEncoder.fit(table([None, None]), [Timestamp("t", parts=("year",), buckets=3)], "t")
    assert empty.fields("items")[0].note == "no value in any row"
    year, _, bucket, _ = empty.transform(table([dt.date(2000, 1, 1), None]), "t")
    assert (year.codes.tolist(), bucket.codes.tolist()) == ([0, 0], [1, 0])  # type: ignore[union-attr]


def test_the_unit_that_fit_found_is_kept() -> None:
    encoder = FeatureEncoder.fit(table([MOMENT_S * 1000]), [codes_only("hour")], "t")
    assert encoder.transform(table([7_200_000]), "t")[0].codes.tolist() == [3]  # type: ignore[union-attr]
    # datetimes after numbers, and numbers after datetimes
    assert encoder.transform(table([dt.datetime(2000, 1, 1, 5)]), "t")[0].codes.tolist() == [6]  # type: ignore[union-attr]
    from_dates = FeatureEncoder.fit(table([MOMENT]), [codes_only("hour")], "t")
    assert from_dates.transform(table([MOMENT_S]), "t")[0].codes.tolist() == [23]  # type: ignore[union-attr]


def test_times_that_became_text() -> None:
    encoder = FeatureEncoder.fit(table([MOMENT_S]), [Timestamp("t")], "fit: users")
    with pytest.raises(SchemaError) as caught:
        encoder.transform(table(["2020-01-01"]), "recommend: users")
    assert str(caught.value) == (
        "recommend: users: column 't' holds String values, but held Int64 in fit; convert it to Int64"
    )


def test_nothing_known_but_the_time() -> None:
    column = Timestamp("t", parts=("hour",), buckets=2)
    encoder = FeatureEncoder.fit(table([MOMENT, EPOCH]), [column], "t")
    for told, wanted in zip(
        encoder.at(MOMENT_S + 0.5, 2), encoder.transform(table([MOMENT, MOMENT]), "t"), strict=True
    ):
        for name, value in vars(wanted).items():
            np.testing.assert_array_equal(getattr(told, name), value)
    for told, wanted in zip(encoder.at(float("nan")), encoder.transform(table([None]), "t"), strict=True):
        for name, value in vars(wanted).items():
            np.testing.assert_array_equal(getattr(told, name), value)


def test_state_there_and_back() -> None:
    frame = table([MOMENT, EPOCH, None])
    encoder = FeatureEncoder.fit(frame, [Timestamp("t", parts=ALL_PARTS, buckets=2)], "t")
    again = FeatureEncoder.from_state(*encoder.state())
    assert again.parts == encoder.parts
    assert again.fields("users") == encoder.fields("users")
    for old, new in zip(encoder.transform(frame, "t"), again.transform(frame, "t"), strict=True):
        for name, value in vars(old).items():
            np.testing.assert_array_equal(getattr(new, name), value)
    assert persistence.FORMAT  # the state is what `persistence.write` takes: JSON and arrays
