"""What a model of pairs is to predict: the column of targets, checked for its loss, and what becomes of scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from twotower.errors import DataError, count_of, first_five
from twotower.models._options import check_number
from twotower.models._pair_lesson import Link

Array = np.ndarray

# Losses whose scores become values of the target.
OF_VALUES = ("mse", "huber", "ordinal", "logistic")
# More distinct values than this are no levels.
_MOST_LEVELS = 50


@dataclass(frozen=True, eq=False)
class Targets:
    """What is learned from.

    Attributes
    ----------
    values : float32 (pairs,) or None
        None where every positive is worth the same.
    link : Link
    offset : float
        What every score begins at.
    """

    values: Array | None
    link: Link
    offset: float = 0.0


def check_range(rating_range: Any) -> tuple[float, float] | None:
    """Read the option `rating_range`."""
    if rating_range is None:
        return None
    if not isinstance(rating_range, (tuple, list)) or len(rating_range) != 2:
        raise TypeError(
            f"fit: rating_range is {rating_range!r}, but must be the lowest and the highest rating, such as (1, 5)"
        )
    low, high = (check_number("fit", f"rating_range[{place}]", value) for place, value in enumerate(rating_range))
    if low >= high:
        raise ValueError(f"fit: rating_range is {rating_range!r}, but the lowest must be below the highest")
    return low, high


def read_targets(
    values: Array | None, column: str | None, loss: str, rating_range: tuple[float, float] | None
) -> Targets:
    """Check targets for a loss.

    Parameters
    ----------
    values : float32 (pairs,) or None
        Finite.
    column : str or None
        Its name; None without targets.
    loss : str
        Public name.
    rating_range : (low, high), optional

    Raises
    ------
    DataError
        All values are the same; one lies outside the range; they are nothing that the loss can learn from.
    """
    if values is None or column is None:
        return Targets(None, Link())
    place = f"fit: column {column!r}"
    if (values == values[0]).all():
        raise DataError(
            f"{place} is {values[0]:g} in every row, but must differ to be predicted; pass target=None to learn from the "
            "pairs alone"
        )
    if rating_range is not None:
        low, high = rating_range
        _refuse(
            values,
            (values < low) | (values > high),
            place,
            f"outside rating_range {low:g} to {high:g}",
            "correct these rows or widen the range",
        )
    else:
        low, high = float(values.min()), float(values.max())
    if loss in ("mse", "huber"):
        return Targets(values, Link(low, high), float(values.mean(dtype=np.float64)))
    if loss == "ordinal":
        return _levels(values, place)
    if loss == "logistic":
        outside = (values < 0) | (values > 1)
        _refuse(
            values,
            outside,
            place,
            'outside 0 to 1, which loss="logistic" predicts',
            'divide by the highest, or pass loss="mse"',
        )
        return Targets(values, Link(levels=(0.0, 1.0), cuts=(0.0,)))
    _refuse(values, values < 0, place, f"negative, but loss={loss!r} needs gains of at least 0", "add a constant")
    return Targets(values, Link())


def _levels(values: Array, place: str) -> Targets:
    """Cuts where the shares of the ratings put them, so that a score of 0 is the average."""
    levels, of_pair, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(levels) > _MOST_LEVELS:
        raise DataError(
            f'{place} has {len(levels)} distinct values, but loss="ordinal" takes at most {_MOST_LEVELS}; round it, or '
            'pass loss="mse"'
        )
    below = np.cumsum(counts)[:-1] / len(values)
    cuts = np.log(below) - np.log1p(-below)
    link = Link(cuts=tuple(cuts.tolist()), levels=tuple(levels.astype(np.float64).tolist()))
    return Targets(of_pair.astype(np.float32), link)


def _refuse(values: Array, bad: Array, place: str, how: str, cure: str) -> None:
    rows = np.flatnonzero(bad)
    if rows.size:
        found = [float(value) for value in values[rows[:5]]]
        raise DataError(
            f"{place} is {how}, in {count_of(rows.size, 'row')} (first values: {first_five(found)}); {cure}"
        )
