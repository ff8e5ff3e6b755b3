"""Whom lists are asked for: what travels from `recommend` through a model's hooks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from twotower.ids import IdColumn
from twotower.item_lists import Filters
from twotower.vocabulary import Vocabulary

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Asked", "Given", "Question"]


class Given(Protocol):
    """What a model read of a frame of users, one entry a row: features, histories, contexts. `_read_users` makes it."""

    @property
    def seen(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Offsets int64 (n + 1,) and item rows int32, ascending within a list: what the rows' own histories name.

        None where the frame brought no histories.
        """

    def take(self, positions: np.ndarray) -> Self:
        """Pick rows by position (integers in range, any order, repeats allowed)."""


@dataclass(frozen=True, eq=False)
class Asked:
    """Users to be served, in the caller's order; a user asked twice is there twice.

    Parameters
    ----------
    ids : IdColumn (n)
    rows : int32 ndarray (n,)
        The model's rows of them; -1: the model does not know this user.
    given : Given, optional
        What `_read_users` made of the frame that the users came in, entry i for user i.
    """

    ids: IdColumn
    rows: np.ndarray
    given: Given | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def known(cls, vocabulary: Vocabulary, rows: np.ndarray) -> Asked:
        """Users by their rows, int32 (n,), and nothing given."""
        return cls(vocabulary.decode(rows), rows)

    def take(self, positions: np.ndarray) -> Asked:
        """Pick users by position (integers in range)."""
        given = None if self.given is None else self.given.take(positions)
        return Asked(self.ids.take(positions), self.rows[positions], given)


@dataclass(frozen=True, eq=False)
class Question:
    """One call of `recommend`, read and checked.

    Parameters
    ----------
    asked : Asked (n)
    k : int, from 1 to the number of items
    filter_seen : bool
    filters : Filters
        About the same n users.
    on_unknown : str
        Who serves users of row -1: "features" means the model, anything else the popularity list.
    num_threads : int
    """

    asked: Asked
    k: int
    filter_seen: bool
    filters: Filters
    on_unknown: str
    num_threads: int

    def __len__(self) -> int:
        return len(self.asked)

    def take(self, positions: np.ndarray) -> Question:
        """Pick users by position (integers in range)."""
        return replace(self, asked=self.asked.take(positions), filters=self.filters.take(positions))

    def part(self, start: int, stop: int) -> Question:
        """Pick the users from `start` to before `stop`, or to the last one."""
        return self if start <= 0 and stop >= len(self) else self.take(np.arange(start, min(stop, len(self))))
