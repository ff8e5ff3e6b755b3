"""The split options, which `train` and `evaluate` share so that one can repeat the cut of the other."""

from __future__ import annotations

import argparse
from typing import Any

from twotower.cli._data import Data
from twotower.evaluation import split

_KINDS = ("time", "random", "leave_last")


def add_split_options(parser: argparse.ArgumentParser, *, valid: bool) -> None:
    """Give a command `--split`, `--test`, `--random-state` and, where it is asked for, `--valid`."""
    group = parser.add_argument_group("split")
    kinds = (
        "the newest rows, random rows, or the newest rows of each user (default: time; random where there are no times)"
    )
    amount = "a share of the rows or, with leave_last, a number of rows of each user"
    group.add_argument("--split", choices=_KINDS, help=kinds)
    group.add_argument("--test", type=float, metavar="X", help=f"how much is for the test: {amount}")
    if valid:
        help_valid = "how much is for the validation, which chooses the best epoch and ends the training; like --test"
        group.add_argument("--valid", type=float, metavar="X", help=help_valid)
    group.add_argument("--random-state", type=int, default=0, metavar="SEED", help="seed (default: 0)")


def cut(
    command: str, data: Data, *, kind: str | None, test: float | None, valid: float | None, random_state: int
) -> tuple[Any, Any, Any, str]:
    """Cut the ratings of a data set.

    Parameters
    ----------
    kind : {"time", "random", "leave_last"} or None
        None is by time, or at random where there are no times.
    test, valid : float or None
        Share of the rows, or with "leave_last" rows of each user; 0 and None are no such part. The test part is the same
        with and without a validation part.

    Returns
    -------
    train, valid, test : DataFrame
        `valid` and `test` are None where none was asked for.
    words : str
        The cut in words, for a message.

    Raises
    ------
    ValueError
        An amount is out of its range; the split needs times and there are none.
    """
    amounts = {name: amount for name, amount in (("test", test), ("validation", valid)) if amount}
    if not amounts:
        return data.ratings, None, None, "all for training"
    kind = kind or ("time" if data.time_col else "random")
    if kind != "random" and data.time_col is None:
        raise ValueError(
            f"{command}: --split {kind} needs a column of times, but {data.name} has none; name it with --time-col, "
            "or pass --split random"
        )
    for name, amount in amounts.items():
        _check(command, "--test" if name == "test" else "--valid", amount, kind)
    # What is cut off first is what `split` calls test: without a test part, that is the validation.
    first, second = [*amounts.values(), 0.0][:2]
    if kind == "leave_last":
        columns = {"user_col": data.user_col, "time_col": str(data.time_col)}
        parts = split.leave_last(data.ratings, int(first), valid=int(second), **columns)
    elif kind == "time":
        parts = split.time(data.ratings, valid=second, test=first, time_col=str(data.time_col))
    else:
        parts = split.random(data.ratings, valid=second, test=first, random_state=random_state)
    cut_off = dict(zip(amounts, reversed(parts), strict=False))
    words = "; ".join(f"{name}: {_words(kind, amount)}" for name, amount in amounts.items())
    others = " of the others" if len(amounts) > 1 else ""
    return parts[0], cut_off.get("validation"), cut_off.get("test"), words + others


def _check(command: str, option: str, amount: float, kind: str) -> None:
    if kind == "leave_last" and not (amount >= 1 and float(amount).is_integer()):
        wanted = "a whole number of at least 1 with --split leave_last, the rows of each user"
    elif kind != "leave_last" and not 0 < amount < 1:
        wanted = f"above 0 and below 1 with --split {kind}, a share of the rows"
    else:
        return
    raise ValueError(f"{command}: {option} is {amount:g}, but must be {wanted}")


def _words(kind: str, amount: float) -> str:
    if kind == "leave_last":
        return "each user's newest row" if amount == 1 else f"each user's {amount:.0f} newest rows"
    return f"{100 * amount:g} % of the rows, {'the newest' if kind == 'time' else 'drawn at random'}"
