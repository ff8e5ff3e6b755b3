"""Whom lists and scores are asked for: what travels from `recommend` and `predict` through a model's hooks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from twotower.ids import IdColumn
from twotower.item_lists import Filters
from twotower.vocabulary import Vocabulary

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Asked", "Given", "GivenToEach", "Question", "askers", "pair_passes"]


class Given(Protocol):
    """What a model read of a frame of users, one entry a row: features, histories, contexts. `_read_users` makes it."""

    @property
    def seen(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Offsets int64 (n + 1,) and item rows int32, ascending within a list: what the rows' own histories name.

        None where the frame brought no histories.
        """

    @property
    def moments(self) -> np.ndarray | None:
        """Integers (n,), the same where two entries are of the same moment; None where the frame brought no context."""

    def take(self, positions: np.ndarray) -> Self:
        """Pick rows by position (integers in range, any order, repeats allowed)."""


@dataclass(frozen=True, eq=False)
class GivenToEach:
    """What each of several models read of one frame, for a model that is made of them; make it with `to_each`.

    Parameters
    ----------
    parts : tuple of Given or None
        One a model, None where it made nothing of the frame. The first one's rows are those of the whole.
    """

    parts: tuple[Given | None, ...]

    @classmethod
    def to_each(cls, *parts: Given | None) -> GivenToEach | None:
        """Put together; None where nobody made anything of the frame."""
        return None if all(part is None for part in parts) else cls(parts)

    @staticmethod
    def part_of(given: Given | None, place: int) -> Given | None:
        """What the model at a place is given."""
        return given.parts[place] if isinstance(given, GivenToEach) else None

    @property
    def seen(self) -> tuple[np.ndarray, np.ndarray] | None:
        first = self.parts[0]
        return None if first is None else first.seen

    @property
    def moments(self) -> np.ndarray | None:
        known = [part.moments for part in self.parts if part is not None and part.moments is not None]
        if not known:
            return None
        found = known[0]
        for other in known[1:]:
            found = np.unique(_pairs_of(found, other), return_inverse=True)[1]
        return found

    def take(self, positions: np.ndarray) -> GivenToEach:
        return GivenToEach(tuple(None if part is None else part.take(positions) for part in self.parts))


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
    def known(cls, vocabulary: Vocabulary, rows: np.ndarray, given: Given | None = None) -> Asked:
        """Users by their rows, int32 (n,)."""
        return cls(vocabulary.decode(rows), rows, given)

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


# --- pairs ------------------------------------------------------------------------------------------------------------


def askers(user_rows: np.ndarray, moments: Given | None) -> tuple[np.ndarray, np.ndarray]:
    """Tell apart who asks for pairs: each user once or, where pairs have moments of their own, once for each of them.

    Parameters
    ----------
    user_rows : int32 (n,)
    moments : Given (n), optional

    Returns
    -------
    first, of_pair : int64 (m,), int64 (n,)
        A pair of each who asks, users ascending; which of these asks for a pair.
    """
    keys = None if moments is None else moments.moments
    _, first, of_pair = np.unique(
        user_rows if keys is None else _pairs_of(user_rows, keys), return_index=True, return_inverse=True
    )
    return first, of_pair


def pair_passes(
    user_rows: np.ndarray, moments: Given | None, most: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Cut pairs so that no more than `most` users have to be encoded at a time.

    Yields
    ------
    first, pairs, of_pair : int64 (m,), int64 (p,), int32 (p,)
        A pair of each who asks; the pairs of these; who of the m asks for each of those.
    """
    first, of_pair = askers(user_rows, moments)
    by_asker = np.argsort(of_pair, kind="stable")
    starts = np.arange(0, len(first), most)
    ends = np.searchsorted(of_pair, starts + most, sorter=by_asker)
    done = 0
    for start, end in zip(starts, ends, strict=True):
        pairs = by_asker[done:end]
        yield first[start : start + most], pairs, (of_pair[pairs] - start).astype(np.int32)
        done = end


def _pairs_of(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A number, int64 (n,), for each pair of numbers from 0 on, the same for the same pair."""
    found: np.ndarray = one.astype(np.int64) * (int(other.max(initial=0)) + 1) + other
    return found
