"""Columns of the interaction on the query side: as they were in training, as they are given, or now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from twotower import frames, schema
from twotower.features import Encoded
from twotower.models._sides import Side
from twotower.schema import Resolved

Array = np.ndarray


def now() -> float:
    """Seconds since 1970 UTC, of the minute that began last: what a Timestamp is where nobody gives one."""
    return time.time() // 60 * 60


def resolve_contexts(
    features: Sequence[Any] | None, table: frames.Frame, user_col: str, reserved: Sequence[str | None]
) -> Resolved | None:
    """Decide which columns of the interactions take part; None where none does."""
    resolved = schema.resolve(features, table, user_col, side="context", reserved=reserved)
    return resolved if resolved.columns else None


def encode_given(side: Side, table: frames.Frame, where: str) -> list[Encoded] | None:
    """Encode the context of whom lists are asked for, a row each.

    Returns
    -------
    list of Encoded, or None
        What the table brings; where it lacks a column a Timestamp is now and everything else is missing. None where it
        brings nothing.

    Raises
    ------
    SchemaError
        A column has not the dtype that it had in `fit`.
    """
    if not any(column.column in table.columns for column in side.encoder.columns):
        return None
    seconds = now()
    return [
        part
        for encoder in side.encoder.apart()
        for part in (
            encoder.transform(table, where)
            if encoder.columns[0].column in table.columns
            else encoder.at(seconds, len(table))
        )
    ]


def encode_now(side: Side) -> list[Encoded]:
    """One row: every Timestamp is now, everything else is missing."""
    return side.encoder.at(now(), 1)


def first_rows(users: Array, times: Array | None) -> tuple[Array, Array]:
    """The position of each user's first row: the earliest where there are times, of equal ones the first in the table.

    Parameters
    ----------
    users : int (rows,)
        Negative ones are passed over.
    times : (rows,) or None

    Returns
    -------
    users, positions : int (m,)
        Users ascending.
    """
    order = np.arange(len(users)) if times is None else np.argsort(times, kind="stable")
    order = order[users[order] >= 0]
    found, first = np.unique(users[order], return_index=True)
    return found, order[first]
