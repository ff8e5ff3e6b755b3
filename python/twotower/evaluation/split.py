"""Cut a table of interactions into a part to learn from and parts to judge by."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from twotower import frames
from twotower.errors import DataError, count_of, first_five

FrameT = TypeVar("FrameT")


def time(
    interactions: FrameT, *, valid: float = 0.0, test: float = 0.2, time_col: str = "timestamp"
) -> tuple[FrameT, ...]:
    """Keep the newest interactions apart, as a service would meet them: learn from the past, judge by what came next.

    Parameters
    ----------
    interactions : DataFrame
        One row an interaction; pandas, polars (a lazy frame is collected) or pyarrow. Not changed.
    valid : float, at least 0
        Share of the rows for the validation part, which lies between the other two in time. 0: no such part.
    test : float, above 0
        Share of the rows for the test part, the newest. `valid` and `test` together are below 1.
    time_col : str
        Column of numbers, dates or datetimes, none of them missing.

    Returns
    -------
    train, test : DataFrame
        ``round(test * n)`` of the n rows are in the test part. Of the kind given, with the rows in the order given.
        With `valid` above 0: train, valid, test.

    Raises
    ------
    TypeError
        `interactions` is no table.
    SchemaError
        `time_col` is missing, or holds neither numbers nor times.
    DataError
        A time is missing or infinite.
    ValueError
        The shares are out of their range.

    Notes
    -----
    Rows of equal time are taken in the order given (a stable sort), so a border may run between them. Users and items
    may well be in the test part only. Cost: one sort, n log n.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"item_id": [1, 2, 3, 4, 5], "timestamp": [50, 10, 40, 20, 30]})
    >>> train, test = time(frame, test=0.4)
    >>> train.item_id.tolist(), test.item_id.tolist()
    ([2, 4, 5], [1, 3])
    """
    shares = _check_shares("split.time", valid, test)
    frame = frames.table(interactions, "split.time: interactions")
    order = np.argsort(_times("split.time", frame, time_col), kind="stable")
    return _cut(frame, order, shares)


def random(interactions: FrameT, *, valid: float = 0.0, test: float = 0.2, random_state: int = 0) -> tuple[FrameT, ...]:
    """Keep interactions apart at random, whoever's they are and whenever they were.

    Parameters
    ----------
    interactions : DataFrame
        One row an interaction; pandas, polars (a lazy frame is collected) or pyarrow. Not changed.
    valid, test : float
        Shares of the rows, as in `time`.
    random_state : int, at least 0
        Seed. The same seed and number of rows give the same rows.

    Returns
    -------
    train, test : DataFrame
        ``round(test * n)`` of the n rows are in the test part. Of the kind given, with the rows in the order given.
        With `valid` above 0: train, valid, test.

    Raises
    ------
    ValueError
        The shares or the seed are out of their range.

    Notes
    -----
    For protocols that ask for it: a model learns here from what happened after the rows that it is judged by, which no
    service can. `time` has no such leak.

    Examples
    --------
    >>> import pandas as pd
    >>> train, test = random(pd.DataFrame({"item_id": range(10)}), test=0.3)
    >>> len(train), len(test)
    (7, 3)
    """
    shares = _check_shares("split.random", valid, test)
    if isinstance(random_state, bool) or not isinstance(random_state, (int, np.integer)) or random_state < 0:
        raise ValueError(f"split.random: random_state is {random_state!r}, but must be a whole number of at least 0")
    frame = frames.table(interactions, "split.random: interactions")
    # The order of uniform numbers: NumPy keeps their stream from release to release, unlike that of its shuffles.
    order = np.argsort(np.random.Generator(np.random.PCG64(random_state)).random(len(frame)), kind="stable")
    return _cut(frame, order, shares)


def leave_last(
    interactions: FrameT, n: int = 1, *, valid: int = 0, user_col: str = "user_id", time_col: str = "timestamp"
) -> tuple[FrameT, ...]:
    """Keep the newest interactions of every user apart.

    Parameters
    ----------
    interactions : DataFrame
        One row an interaction; pandas, polars (a lazy frame is collected) or pyarrow. Not changed.
    n : int, at least 1
        Rows of each user for the test part, the newest.
    valid : int, at least 0
        Rows of each user for the validation part, those before. 0: no such part.
    user_col : str
        Column of user ids, none of them missing.
    time_col : str
        Column of numbers, dates or datetimes, none of them missing.

    Returns
    -------
    train, test : DataFrame
        Of the kind given, with the rows in the order given. A user with ``n + valid`` rows or fewer is in the training
        part alone: of such a user nothing would be left to learn from. With `valid` above 0: train, valid, test.

    Raises
    ------
    SchemaError
        A column is missing, or `time_col` holds neither numbers nor times.
    DataError
        A time is missing or infinite, or a user is missing.
    ValueError
        `n` or `valid` is out of its range.

    Warnings
    --------
    The test rows of one user may be older than training rows of another. A model then knows which items were about to
    become popular, and its figures come out better than it would do in service. Compare them with published figures of
    the same protocol only; `time` is the split without that leak.

    Notes
    -----
    Of rows of equal time the later one in the order given counts as the newer (a stable sort). Many logs have a great
    many such rows, so the test part would depend on the sorting algorithm otherwise. Cost: one sort, n log n.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"user_id": [1, 1, 2, 1], "item_id": [7, 8, 7, 9], "timestamp": [30, 10, 20, 20]})
    >>> train, valid, test = leave_last(frame, valid=1)
    >>> train.item_id.tolist(), valid.item_id.tolist(), test.item_id.tolist()
    ([8, 7], [9], [7])
    """
    for name, value, least in (("n", n, 1), ("valid", valid, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"split.leave_last: {name} is {value!r}, but must be a whole number of at least {least}")
    frame = frames.table(interactions, "split.leave_last: interactions")
    times = _times("split.leave_last", frame, time_col)
    users = _codes("split.leave_last", frame, user_col)
    order = np.lexsort((times, users))
    counts = np.bincount(users)
    # How many rows of the same user are newer, 0 for the newest.
    newer = np.empty(len(users), np.int64)
    newer[order] = np.cumsum(counts)[users[order]] - 1 - np.arange(len(users))
    is_cut = counts[users] > n + valid
    is_test = is_cut & (newer < n)
    is_valid = is_cut & ~is_test & (newer < n + valid)
    parts = [~is_test & ~is_valid, *([is_valid] if valid else []), is_test]
    return tuple(frames.take(frame, np.flatnonzero(part)).to_native() for part in parts)


def _check_shares(function: str, valid: float, test: float) -> tuple[float, float]:
    for name, share in (("valid", valid), ("test", test)):
        if isinstance(share, bool) or not isinstance(share, (int, float, np.number)):
            raise TypeError(f"{function}: {name} is {share!r}, but must be a number, the share of the rows")
        lower = "at least" if name == "valid" else "above"
        if not (0 <= share < 1) or (name == "test" and share == 0):
            raise ValueError(
                f"{function}: {name} is {share}, but must be {lower} 0 and below 1, a share of the rows; "
                "split.leave_last takes a number of rows of each user"
            )
    if valid + test >= 1:
        raise ValueError(f"{function}: valid and test are {valid} and {test}, but must be below 1 together")
    return valid, test


def _cut(frame: frames.Frame, order: NDArray[np.int64], shares: tuple[float, float]) -> tuple[FrameT, ...]:
    """Give the last rows of `order` to the test part, those before to the validation part if it is asked for."""
    num_valid, num_test = (round(share * len(order)) for share in shares)
    borders = [max(0, len(order) - num_valid - num_test), len(order) - num_test]
    train, valid, test = (np.sort(part) for part in np.split(order, borders))
    return tuple(
        frames.take(frame, part).to_native() for part in ((train, valid, test) if shares[0] else (train, test))
    )


def _times(function: str, frame: frames.Frame, name: str) -> NDArray[Any]:
    """Return a column of times as numbers that sort like them, with nothing missing."""
    return frames.times(frames.column(frame, name, f"{function}: interactions"), f"{function}: column {name!r}")


def _codes(function: str, frame: frames.Frame, name: str) -> NDArray[np.integer[Any]]:
    """Return a column of ids as numbers from 0 that are equal where the ids are."""
    ids = frames.ids(frames.column(frame, name, f"{function}: interactions"), f"{function}: column {name!r}")
    missing = ids.missing_rows()
    if missing.size:
        raise DataError(
            f"{function}: column {name!r} is missing in {count_of(missing.size, 'row')} "
            f"(first: {first_five(missing)}); drop these rows or fill them in"
        )
    return np.unique(ids.values, return_inverse=True)[1].reshape(-1) if ids.rows is None else ids.rows
