"""The split options, which `train` and `evaluate` share so that one can repeat the cut of the other."""

from __future__ import annotations

import argparse
from typing import Any

from twotower.cli._data import Data
from twotower.evaluation import split

KINDS = ("time", "random", "leave_last")


def add_split_options(parser: argparse.ArgumentParser, *, valid: bool) -> None:
    group = parser.add_argument_group("split")
    group.add_argument(
        "--split",
        choices=KINDS,
        help="the newest rows, random rows, or the newest rows of each user (default: time; random where there are no times)",
    )
    group.add_argument(
        "--test",
        type=float,
        metavar="X",
        help="how much is for the test: a share of the rows or, with leave_last, a number of rows of each user",
    )
    if valid:
        group.add_argument(
            "--valid", type=float, metavar="X", help="how much is for the validation (early stopping), measured like --test"
        )
    group.add_argument("--random-state", type=int, default=0, metavar="SEED", help="seed (default: 0)")


def cut(
    command: str, data: Data, *, kind: str | None, test: float | None, valid: float | None, random_state: int
) -> tuple[Any, Any, Any, str]:
    """Cut the ratings of a data set.

    Returns
    -------
    train, valid, test : DataFrame
        `valid` and `test` are None where none was asked for.
    words : str
        The cut in words, a sentence without its period.

    Raises
    ------
    ValueError
        An amount is out of its range; the split needs times and there are none.
    """
    if not test and not valid:
        return data.ratings, None, None, "every row is for training"
    kind = kind or ("time" if data.time_col else "random")
    if kind != "random" and data.time_col is None:
        raise ValueError(
            f"{command}: --split {kind} needs a column of times, but {data.name} has none; name it with --time-col, "
            "or pass --split random"
        )
    # The first amount is what `split` calls test: without a test part, the validation part takes its place.
    amounts = [amount for amount in (test, valid) if amount]
    if kind == "leave_last":
        n = [_rows(command, amount, option) for amount, option in zip(amounts, ("--test" if test else "--valid", "--valid"))]
        parts = split.leave_last(
            data.ratings, n[0], valid=n[1] if len(n) > 1 else 0, user_col=data.user_col, time_col=data.time_col or ""
        )
        words = [f"each user's {'' if amount == 1 else f'{amount} '}newest row{'' if amount == 1 else 's'}" for amount in n]
    else:
        options: dict[str, Any] = {"time_col": data.time_col} if kind == "time" else {"random_state": random_state}
        cutter = split.time if kind == "time" else split.random
        parts = cutter(data.ratings, test=amounts[0], valid=amounts[1] if len(amounts) > 1 else 0.0, **options)
        words = [f"{amount:.4g} of the rows, {'the newest' if kind == 'time' else 'drawn at random'}" for amount in amounts]
    if len(amounts) == 2:
        return parts[0], parts[1], parts[2], f"test: {words[0]}; validation: {words[1]} of the others"
    return (parts[0], None, parts[1], f"test: {words[0]}") if test else (parts[0], parts[1], None, f"validation: {words[0]}")


def _rows(command: str, amount: float, option: str) -> int:
    if amount != int(amount) or amount < 1:
        raise ValueError(
            f"{command}: {option} is {amount:g}, but with --split leave_last it must be a whole number of at least 1, "
            "the rows of each user"
        )
    return int(amount)
