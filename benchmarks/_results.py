"""One line of the table that `run.py` ends with: the work, our figure, the best peer, the share of a roof, and the bar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Bar:
    """What a result is held against; parts that are None are not asked for.

    Parameters
    ----------
    ratio : float
        Ours over the best peer's, at least, larger meaning better whatever the unit.
    share : float
        Of the roof, at least, 0 to 1.
    scaling : float
        Our rate with all threads over that with one, at least.
    value : float
        Of our own figure: at least, or at most where less is better.
    """

    ratio: float | None = None
    share: float | None = None
    scaling: float | None = None
    value: float | None = None

    def in_words(self, unit: str, *, less_is_better: bool) -> str:
        parts = [
            "" if self.ratio is None else f"{self.ratio:g}x",
            "" if self.share is None else f"{self.share:.0%} of roof",
            "" if self.value is None else f"{'<=' if less_is_better else '>='} {self.value:g} {unit}",
            "" if self.scaling is None else f"threads {self.scaling:g}x",
        ]
        return ", ".join(filter(None, parts)) or "-"


NO_BAR = Bar()


@dataclass(frozen=True)
class Result:
    """What came out for one piece of work; None is "not measured here", and `note` says why.

    Parameters
    ----------
    work, unit : str
        Such as "top-K, 1M x 64, K = 10" and "queries/s".
    ours, peer : float
        Medians in that unit. The peer is the best one, `peer_name`.
    less_is_better : bool
        For seconds and megabytes.
    spread : float
        Of our repeats, largest less smallest, as a share of the median.
    share, roof : float, str
        Of a measured limit, 0 to 1, and which one: "FMA", "read".
    scaling : float
        Our rate with all threads over that with one.
    """

    work: str
    unit: str
    ours: float | None
    peer: float | None = None
    peer_name: str = ""
    less_is_better: bool = False
    spread: float | None = None
    share: float | None = None
    roof: str = ""
    scaling: float | None = None
    bar: Bar = NO_BAR
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's, larger meaning better."""
        if self.ours is None or self.peer is None:
            return None
        return self.peer / self.ours if self.less_is_better else self.ours / self.peer

    @property
    def met(self) -> bool | None:
        """Whether every part of the bar is met; None where there is none, or where a part was not measured and none is missed."""
        value = None
        if self.ours is not None and self.bar.value is not None:
            value = self.ours <= self.bar.value if self.less_is_better else self.ours >= self.bar.value
        parts = {
            "ratio": _reaches(self.ratio, self.bar.ratio),
            "share": _reaches(self.share, self.bar.share),
            "scaling": _reaches(self.scaling, self.bar.scaling),
            "value": value,
        }
        asked = [parts[name] for name, bar in asdict(self.bar).items() if bar is not None]
        if False in asked:
            return False
        return None if not asked or None in asked else True

    def record(self) -> dict[str, Any]:
        """For a JSON line: the fields, and what follows from them."""
        return {"kind": "result", **asdict(self), "ratio": self.ratio, "met": self.met}

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> Result:
        fields = {name: value for name, value in record.items() if name not in ("kind", "ratio", "met")}
        return Result(**{**fields, "bar": Bar(**fields["bar"])})


def _reaches(figure: float | None, bar: float | None) -> bool | None:
    return None if figure is None or bar is None else figure >= bar
