"""Points in time: calendar fields, cycles, spans between quantiles, and the time itself as a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from twotower import frames
from twotower.errors import SchemaError
from twotower.features._column import ColumnEncoder, Seen, Shared, finite
from twotower.features._encoded import Encoded, EncodedCodes, EncodedNumbers, EncodedVectors, Part
from twotower.features._numbers import bucket_codes, bucket_edges, center_and_spread
from twotower.ids import Array
from twotower.schema import Timestamp

__all__ = ["TimeEncoder", "seconds_of"]

Seconds = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# The years 1 to 9999, as Python's datetime has them.
_FIRST, _LAST = -62_135_596_800, 253_402_300_799
_DAY = 86_400
# Rows whose calendar is worked out at a time: the helper arrays stay in the cache.
_BLOCK = 1 << 15
# Codes of the parts that do not depend on the data, without code 0.
_FIELDS = {"month": 12, "weekday": 7, "day": 31, "hour": 24, "dayofyear": 366}
_CYCLE_WIDTH = 8


@dataclass(frozen=True, eq=False)
class TimeEncoder(ColumnEncoder):
    """A column of times.

    Parameters
    ----------
    column : Timestamp
    seen : Seen
    unit : str
        Of numbers: "s", "ms", "us", "ns"; "auto" where `fit` saw datetimes.
    note : str
        The first and the last day.
    years : int64 ndarray
        Those that `fit` saw, ascending.
    edges : int64 ndarray, seconds
        Where the spans begin, but for the first.
    bounds : (int, int), seconds
        The first and the last time.
    mean, deviation : float, seconds
        Of the time after the first.
    """

    ACCEPTS = frozenset({"integer", "float", "date", "datetime"})

    column: Timestamp
    seen: Seen
    unit: str
    note: str
    years: npt.NDArray[np.int64]
    edges: Seconds
    bounds: tuple[int, int] = (0, 0)
    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def fit(cls, frame: frames.Frame, column: Timestamp, what: str, shared: Shared) -> TimeEncoder:
        """Learn years, spans and scale from a table."""
        place = f"{what}: column {column.column!r}"
        series = frames.column(frame, column.column, what)
        seconds, missing, unit = seconds_of(series, place, column.unit)
        present = seconds if missing is None else seconds[~missing]
        seen = Seen.of(series, len(seconds) - len(present))
        if not len(present):
            none = np.empty(0, dtype=np.int64)
            return cls(column, seen, unit, "no value in any row", none, none)
        first, last = int(present.min()), int(present.max())
        years = np.unique(np.concatenate([_year(_days(block)) for block in _blocks(present)]))
        edges = bucket_edges(present, column.buckets or 1)
        mean, deviation = center_and_spread((present - first).astype(np.float64)) if last > first else (0.0, 1.0)
        note = f"{_day(first)} to {_day(last)}" if _day(first) != _day(last) else f"always {_day(first)}"
        return cls(column, seen, unit, note, years, edges, (first, last), mean, deviation)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The calendar parts asked for, then cycle, bucket and scaled where they are on."""
        column, width = self.column, self.column.width
        made = []
        for part in column.parts:
            size = len(self.years) + 1 if part == "year" else _FIELDS[part] + 1
            made.append(Part(f"{column.column}.{part}", column, "codes", size, width=width))
        if column.cyclic:
            made.append(Part(f"{column.column}.cycle", column, "vectors", _CYCLE_WIDTH, width=width))
        if column.buckets is not None:
            made.append(Part(f"{column.column}.bucket", column, "codes", len(self.edges) + 2, width=width))
        if column.normalize:
            made.append(Part(f"{column.column}.scaled", column, "numbers", 1, width=width))
        return tuple(made)

    @property
    def notes(self) -> list[str]:
        """The days that `fit` saw, on the first part."""
        cycle = "sine and cosine of hour, weekday, month, day of the year"
        notes = [cycle if part.kind == "vectors" else "" for part in self.parts]
        notes[0] = f"{self.note}; {notes[0]}" if notes[0] else self.note
        return notes

    def encode_series(self, series: frames.Series, frame: frames.Frame, place: str) -> list[Encoded]:
        """Encode datetimes, dates or numbers."""
        seconds, missing, _ = seconds_of(series, place, self.unit)
        return self.encode_seconds(seconds, missing)

    def encode_seconds(self, seconds: Seconds, missing: Mask | None) -> list[Encoded]:
        """Encode times that are seconds since 1970, int64 (n,) in the years 1 to 9999, and which of them are missing."""
        gone = np.zeros(len(seconds), dtype=np.bool_) if missing is None else missing
        made: list[Encoded] = []
        codes = {part: np.empty(len(seconds), dtype=np.int32) for part in self.column.parts}
        cycle = np.empty((len(seconds), _CYCLE_WIDTH if self.column.cyclic else 0), dtype=np.float32)
        start = 0
        for block in _blocks(seconds):
            stop = start + len(block)
            calendar = _Calendar(block)
            for part, out in codes.items():
                out[start:stop] = self._years(calendar) if part == "year" else getattr(calendar, part) + 1
            if self.column.cyclic:
                calendar.write_cycle(cycle[start:stop])
            start = stop
        for found, described in zip(codes.values(), self.parts, strict=False):
            found[gone] = 0
            made.append(EncodedCodes(found, described.size))
        if self.column.cyclic:
            cycle[gone] = np.nan
            made.append(EncodedVectors(cycle))
        if self.column.buckets is not None:
            made.append(EncodedCodes(bucket_codes(seconds, self.edges, gone), len(self.edges) + 2))
        if self.column.normalize:
            scaled = (np.clip(seconds, *self.bounds) - self.bounds[0]).astype(np.float64)
            scaled -= self.mean
            scaled /= self.deviation
            scaled[gone] = np.nan
            made.append(EncodedNumbers(scaled.astype(np.float32)))
        return made

    def _years(self, calendar: _Calendar) -> Array:
        """Code of the last known year that is not later; of the first, where all are."""
        found = np.searchsorted(self.years, calendar.year, side="right")
        codes: Array = np.clip(found, min(1, len(self.years)), len(self.years))
        return codes

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Years, spans and scale."""
        return {"unit": self.unit, "note": self.note, "bounds": list(self.bounds)}, {
            "years": self.years,
            "edges": self.edges,
            "scale": np.array([self.mean, self.deviation]),
        }

    @classmethod
    def from_state(
        cls, column: Timestamp, seen: Seen, meta: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> TimeEncoder:
        """Undo `state`."""
        first, last = meta["bounds"]
        mean, deviation = arrays["scale"].tolist()
        learned = (arrays["years"], arrays["edges"], (first, last), mean, deviation)
        return cls(column, seen, meta["unit"], meta["note"], *learned)


class _Calendar:
    """Calendar fields of a block of times, each worked out when it is asked for."""

    def __init__(self, seconds: Seconds) -> None:
        self.days = _days(seconds)
        self.second = seconds - self.days * _DAY  # of the day

    @property
    def hour(self) -> Array:
        hour: Array = self.second // 3600
        return hour

    @property
    def weekday(self) -> Array:
        """0 is Monday; 1970 began on a Thursday."""
        weekday: Array = (self.days + 3) % 7
        return weekday

    @property
    def year(self) -> Array:
        return _year(self.days)

    @property
    def month(self) -> Array:
        return self._months() % 12

    @property
    def day(self) -> Array:
        """0 is the first of the month."""
        return self.days - _first_days(self._months(), "M")

    @property
    def dayofyear(self) -> Array:
        """0 is the first of January."""
        return self.days - _first_days(self.year - 1970, "Y")

    def write_cycle(self, out: Array) -> None:
        """Write sines and cosines of time of day, weekday, month and day of the year, float32 (n, 8)."""
        # The time of day by the minute: 1440 sines and a look-up take a fifth of the time of a sine each.
        fields = ((self.second // 60, 1440), (self.weekday, 7), (self.month, 12), (self.dayofyear, 366))
        for place, (field, period) in enumerate(fields):
            angle = np.arange(period) * (2 * np.pi / period)
            waves = np.stack([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)
            out[:, 2 * place : 2 * place + 2] = waves[field]

    def _months(self) -> Array:
        return self.days.view("datetime64[D]").astype("datetime64[M]").view(np.int64)


def seconds_of(series: frames.Series, place: str, unit: str) -> tuple[Seconds, Mask | None, str]:
    """Read a column of times as seconds since 1970.

    Parameters
    ----------
    series : narwhals.Series (n)
        Datetimes of any unit and zone, dates, or numbers.
    place : str
        Start of a message.
    unit : {"auto", "s", "ms", "us", "ns"}
        Of numbers.

    Returns
    -------
    seconds : int64 ndarray (n,)
        Rounded down, in UTC where there is a zone; times outside the years 1 to 9999 become the first or the last of
        them. Missing entries mean nothing.
    missing : bool ndarray (n,), or None for "none"
    unit : str
        What numbers were taken for; `unit` itself for datetimes.

    Raises
    ------
    SchemaError
        Text and the like; times with and without a zone in one column.
    DataError
        An infinite number.
    """
    kind = frames.kind_of(series)
    if kind == "empty":
        return np.zeros(len(series), dtype=np.int64), np.ones(len(series), dtype=np.bool_), unit
    if kind not in TimeEncoder.ACCEPTS:
        cure = "convert it first, for example with pandas.to_datetime or polars' str.to_datetime"
        if kind == "object":
            cure = "give all times a zone or none, and one type"
        raise SchemaError(
            f"{place} holds {kind} values ({series.dtype}), but must hold dates, datetimes or numbers; {cure}"
        )
    found = frames.ids(series, place)
    values, missing = found.values, found.missing
    if values.dtype.kind == "M":
        found_unit = np.datetime_data(values.dtype)[0]
        counts = values.view(np.int64)
        if found_unit == "D":
            return _bounded(np.clip(counts, _FIRST // _DAY, _LAST // _DAY) * _DAY, missing), missing, unit
        seconds = counts // _PER_SECOND[found_unit]
        return _bounded(seconds, missing), missing, unit
    present = values if missing is None else values[~missing]
    finite(present, place)
    unit = unit_of(present) if unit == "auto" else unit
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            wide = np.clip(np.floor(values.astype(np.float64) / _PER_SECOND[unit]), _FIRST, _LAST)
        return np.where(np.isnan(wide), 0, wide).astype(np.int64), missing, unit
    wide = np.minimum(values, np.iinfo(np.int64).max) if values.dtype == np.uint64 else values
    return _bounded(wide.astype(np.int64) // _PER_SECOND[unit], missing), missing, unit


def unit_of(present: Array) -> str:
    """Judge the unit of numbers by the median of their absolute values.

    Examples
    --------
    >>> [unit_of(np.array([978_300_760 * scale])) for scale in (1, 10**3, 10**6, 10**9)]
    ['s', 'ms', 'us', 'ns']
    """
    size = float(np.median(np.abs(present.astype(np.float64)))) if len(present) else 0.0
    return "s" if size < 1e11 else "ms" if size < 1e14 else "us" if size < 1e17 else "ns"


def _bounded(seconds: Seconds, missing: Mask | None) -> Seconds:
    if missing is not None:
        seconds[missing] = 0
    return np.clip(seconds, _FIRST, _LAST)


def _blocks(seconds: Seconds) -> Iterator[Seconds]:
    for start in range(0, len(seconds), _BLOCK):
        yield seconds[start : start + _BLOCK]


def _days(seconds: Seconds) -> Array:
    return seconds // _DAY


def _year(days: Array) -> Array:
    return days.view("datetime64[D]").astype("datetime64[Y]").view(np.int64) + 1970


def _first_days(numbers: Array, unit: str) -> Array:
    """Day since 1970 on which a month or year begins that is so many after January 1970."""
    return numbers.view(f"datetime64[{unit}]").astype("datetime64[D]").view(np.int64)


def _day(seconds: int) -> str:
    return str(np.datetime64(seconds, "s").astype("datetime64[D]"))
