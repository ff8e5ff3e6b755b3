"""What a frame of users brings beside their ids: features of people who were never seen, histories, contexts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from twotower import frames
from twotower._core import core
from twotower.features import Encoded
from twotower.models import _rows
from twotower.models._contexts import encode_given
from twotower.models._histories import Histories, read_lists
from twotower.models._sides import Side, Sides

if TYPE_CHECKING:
    from twotower.vocabulary import Vocabulary

Array = np.ndarray


class Strangers:
    """People whom the model does not know, with the features that a frame has of them; read when they are first needed."""

    def __init__(self, frame: frames.Frame, positions: Array, side: Side, where: str) -> None:
        self._frame, self._positions, self._side, self._where = frame, positions, side, where
        self._table: core.FeatureTable | None = None

    def table(self) -> core.FeatureTable:
        """The core's table, one row a stranger.

        Raises
        ------
        SchemaError, DataError
            A feature's column is not in the frame, or not of the dtype that it had in `fit`.
        """
        if self._table is None:
            encoded = []
            if self._side.encoder.parts:
                encoded = self._side.encode(frames.take(self._frame, self._positions), self._where)
            self._table = self._side.table_of(encoded, len(self._positions))
        return self._table


@dataclass(frozen=True, eq=False)
class Moments:
    """Contexts that a frame brought, encoded, a row each."""

    side: Side
    encoded: Sequence[Encoded]
    rows: int

    @cached_property
    def table(self) -> core.FeatureTable:
        """The core's table of them."""
        return self.side.table_of(self.encoded, self.rows)


@dataclass(frozen=True, eq=False)
class UsersGiven:
    """What was told of users, one entry a row of the frame; see `models/_asked.py`.

    Attributes
    ----------
    strangers : Strangers or None
    stranger_rows : int32 (n,)
        Row among the strangers; -1 for known users.
    lists : Histories or None
        Of all rows of the frame.
    list_rows : int32 (n,)
        Row among `lists`; -1 where the frame has none.
    contexts : Moments or None
    context_rows : int32 (n,)
        Row of `contexts`.
    """

    stranger_rows: Array
    list_rows: Array
    context_rows: Array
    strangers: Strangers | None = None
    lists: Histories | None = None
    contexts: Moments | None = None

    def without(self, column: str, order: Array | None) -> UsersGiven:
        """Take a column of the context away; see `Side.without`."""
        assert self.contexts is not None
        # A row each again: those of one moment need not have the same moment any more.
        side, rows = self.contexts.side, len(self.context_rows)
        encoded = side.without(
            column, [values.take(self.context_rows) for values in self.contexts.encoded], rows, order
        )
        return replace(
            self, contexts=Moments(side, encoded, rows), context_rows=np.arange(rows, dtype=self.context_rows.dtype)
        )

    def take(self, positions: Array) -> UsersGiven:
        """Pick rows by position."""
        return replace(
            self,
            stranger_rows=self.stranger_rows[positions],
            list_rows=self.list_rows[positions],
            context_rows=self.context_rows[positions],
        )

    @property
    def seen(self) -> tuple[Array, Array] | None:
        """Items that the rows' own histories name, ascending."""
        return None if self.lists is None else self.lists.take(self.list_rows).seen()

    @property
    def moments(self) -> Array | None:
        """Which of the contexts each row has."""
        return None if self.contexts is None else self.context_rows


def read_users(
    frame: frames.Frame, rows: Array, sides: Sides, items: Vocabulary, where: str, *, stacklevel: int
) -> UsersGiven | None:
    """Read a frame of users.

    Parameters
    ----------
    frame : narwhals.DataFrame (n rows)
    rows : int32 (n,)
        The model's rows, -1 for people it does not know.
    sides : Sides
    items : Vocabulary
    where : str
        Start of messages.
    stacklevel : int
        Whose line a warning shows: 1 is this function's.

    Returns
    -------
    UsersGiven or None
        None where the frame has nothing of use.
    """
    everyone = np.arange(len(rows), dtype=np.int32)
    nobody = np.full(len(rows), -1, dtype=np.int32)
    unknown = np.flatnonzero(rows < 0)
    given = UsersGiven(nobody, nobody, everyone)
    if unknown.size:
        stranger_rows = nobody.copy()
        stranger_rows[unknown] = np.arange(len(unknown))
        given = replace(given, strangers=Strangers(frame, unknown, sides.users, where), stranger_rows=stranger_rows)
    history = sides.history
    if history is not None and history.column in frame.columns:
        lists, there = read_lists(frame, history, items, where, stacklevel=stacklevel + 1)
        given = replace(given, lists=lists, list_rows=np.where(there, everyone, -1).astype(np.int32))
    contexts = read_contexts(frame, sides, where)
    if contexts is not None:
        given = replace(given, contexts=contexts)
    return None if given.strangers is None and given.lists is None and given.contexts is None else given


def read_contexts(frame: frames.Frame, sides: Sides, where: str) -> Moments | None:
    """Read the columns of the context that a frame has, a row each."""
    if sides.contexts is None:
        return None
    encoded = encode_given(sides.contexts, frame, where)
    return None if encoded is None else Moments(sides.contexts, encoded, len(frame))


def read_moments(frame: frames.Frame, sides: Sides, where: str) -> UsersGiven | None:
    """Read the context alone; rows of the same moment share it, so that a user need not be encoded for each."""
    contexts = read_contexts(frame, sides, where)
    if contexts is None:
        return None
    first, of_row = _rows.distinct(contexts.encoded, contexts.rows)
    different = replace(contexts, encoded=[column.take(first) for column in contexts.encoded], rows=len(first))
    nobody = np.full(len(frame), -1, dtype=np.int32)
    return UsersGiven(nobody, nobody, of_row.astype(np.int32), contexts=different)


def no_moment(sides: Sides, count: int) -> UsersGiven | None:
    """A context of which nothing is known, not even the time, for each of some users."""
    if sides.contexts is None:
        return None
    nobody = np.full(count, -1, dtype=np.int32)
    missing = Moments(sides.contexts, sides.contexts.missing(1), 1)
    return UsersGiven(nobody, nobody, np.zeros(count, dtype=np.int32), contexts=missing)
