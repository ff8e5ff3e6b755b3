"""Candidate sets whose retriever has not seen the positives in them: what a second stage learns from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from twotower import frames
from twotower.errors import DataError
from twotower.interactions import Encoded, encode_interactions
from twotower.item_lists import Filters
from twotower.models._asked import Asked, Given
from twotower.models._contexts import first_rows
from twotower.models._estimator import fresh
from twotower.models._reading import column_options
from twotower.models._recommend import Recommender, users_a_pass

Array = np.ndarray

WAYS = ("time", "last", "random")


# --- what is kept from the retrievers ---------------------------------------------------------------------------------


def held_out(way: str, share: float, users: Array, times: Array | None, seed: int) -> Array:
    """Choose the rows that a retriever must not see.

    Parameters
    ----------
    way : {"time", "last", "random"}
        The newest rows of all; the newest of each user; any.
    share : float in (0, 1)
        Of the rows, or of each user's.
    users : int (rows,)
    times : (rows,) or None
        Only "random" does without. Equal times are taken in the order given.
    seed : int

    Returns
    -------
    bool (rows,)
    """
    count = len(users)
    if way == "random":
        found: Array = np.random.Generator(np.random.PCG64(seed)).random(count) < share
        return found
    assert times is not None
    held = np.zeros(count, dtype=np.bool_)
    if way == "time":
        held[np.argsort(times, kind="stable")[count - round(share * count) :]] = True
        return held
    order = np.lexsort((times, users))
    sizes = np.bincount(users)
    places = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    held[order] = places >= np.round((1 - share) * np.repeat(sizes, sizes))
    return held


def groups_of(num_users: int, folds: int, seed: int) -> Array:
    """Deal users to folds, int (users,), as evenly as can be."""
    return np.random.Generator(np.random.PCG64([seed, 1])).permutation(num_users) % folds


# --- candidates -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Candidates:
    """The best items of a retriever for some users, best first.

    Attributes
    ----------
    users : int32 (n,)
    rows : int32 (n, width)
        -1 behind the end of a list.
    scores : float32 (n, width)
        The retriever's; -inf behind the end.
    """

    users: Array
    rows: Array
    scores: Array

    def take(self, positions: Array) -> Candidates:
        """Pick users by position."""
        return Candidates(self.users[positions], self.rows[positions], self.scores[positions])

    def pairs(self) -> tuple[Array, Array, Array, Array]:
        """Every candidate: place of its user, item, score, rank from 1."""
        places, ranks = np.nonzero(self.rows >= 0)
        return places, self.rows[places, ranks], self.scores[places, ranks], ranks + 1

    def ranks_of(self, places: Array, items: Array, scores: Array) -> Array:
        """The rank from 1, int64 (m,), that each of m pairs would have among the candidates of its user.

        Parameters
        ----------
        places : int (m,)
            Of the pairs' users in `users`.
        items : int32 (m,)
        scores : float32 (m,)
            The retriever's.
        """
        width = self.rows.shape[1]
        # A retriever may cut ratings off at the end of their range: equal ones then come in any order of rows.
        order = np.lexsort((self.rows, -self.scores), axis=1)
        own_rows, own_scores = (np.take_along_axis(values, order, axis=1) for values in (self.rows, self.scores))
        ahead = np.zeros(len(items), dtype=np.int64)
        # What stands before a pair is the beginning of a list, whose length all pairs search at once, bit by bit.
        for step in 2 ** np.arange(width.bit_length())[::-1]:
            reached = ahead + step
            last = np.minimum(reached, width) - 1
            last_rows, last_scores = own_rows[places, last], own_scores[places, last]
            before = (last_scores > scores) | ((last_scores == scores) & (last_rows < items) & (last_rows >= 0))
            ahead = np.where(before & (reached <= width), reached, ahead)
        return ahead + 1


def retrieve(retriever: Recommender, asked: Asked, width: int, num_threads: int) -> tuple[Array, Array]:
    """The `width` best unseen items of a retriever, rows and scores (n, width)."""
    return retriever._ranked(
        asked,
        min(width, retriever._items.size),
        filter_seen=True,
        filters=Filters(allowed=retriever._available),
        on_unknown="raise",
        num_threads=num_threads,
    )


@dataclass(frozen=True, eq=False)
class Fold:
    """What one cross-fitted retriever gives, in the rows of the final one.

    Attributes
    ----------
    retriever : Recommender
        Fitted without the held-out rows of the fold's users.
    own_users : int32 (n,)
        Its rows of the users of `candidates`.
    own_items : int32 (items,)
        Its rows of the final one's items, -1 where it does not know one.
    candidates : Candidates
        For users that it knows and that have a held-out row.
    given : Given (n) or None
        What the retriever reads of the moments at which these are asked: those of their first held-out rows.
    """

    retriever: Recommender
    own_users: Array
    own_items: Array
    candidates: Candidates
    given: Given | None = None


def cross_fit(
    retriever: Recommender,
    final: Recommender,
    table: frames.Frame,
    tables: dict[str, Any],
    held: Array,
    user_rows: Array,
    times: Array | None,
    groups: Array,
    width: int,
    num_threads: int,
) -> Iterator[Fold]:
    """Fit a retriever a group of users without the rows that are held out of these, and ask it for their candidates.

    Parameters
    ----------
    retriever : Recommender
        Whose copies are fitted.
    final : Recommender
        Fitted on all rows.
    table : narwhals.DataFrame
        The interactions.
    tables : dict
        Further arguments of `fit`.
    held : bool (rows,)
    user_rows : int32 (rows,)
        The final retriever's row of the user of each row.
    times : (rows,) or None
    groups : int (users,)
    width : int
        Candidates a user.
    num_threads : int
    """
    for group in range(int(groups.max()) + 1):
        kept_from = held & (groups[user_rows] == group)
        if not kept_from.any() or kept_from.all():
            continue
        fitted = fresh(retriever)
        fitted.fit(frames.take(table, np.flatnonzero(~kept_from)).to_native(), **tables)
        users = np.unique(user_rows[kept_from])
        own_users = fitted._users.encode(final._users.decode(users))
        # Somebody of whom the retriever has seen nothing would get what it has for strangers.
        there = own_users >= 0
        there[there] = np.diff(fitted._seen[0])[own_users[there]] > 0
        users, own_users = users[there].astype(np.int32), own_users[there].astype(np.int32)
        # At any other moment than theirs a retriever with a context would find what nobody asked for.
        everyone, positions = first_rows(np.where(kept_from, user_rows, -1), times)
        first = positions[np.searchsorted(everyone, users)]
        given = fitted._read_moments(frames.take(table, first), "fit: interactions") if fitted._has_context else None
        asked = Asked.known(fitted._users, own_users, given)
        to_final = final._items.encode(fitted._items.ids)
        rows = np.full((len(users), min(width, fitted._items.size)), -1, dtype=np.int32)
        scores = np.full(rows.shape, -np.inf, dtype=np.float32)
        step = users_a_pass(width)
        for start in range(0, len(users), step):
            part = slice(start, start + step)
            some = asked.take(np.arange(len(users))[part])
            found, scores[part] = retrieve(fitted, some, width, num_threads)
            rows[part] = np.where(found >= 0, to_final[np.maximum(found, 0)], -1)
        own_items = fitted._items.encode(final._items.ids).astype(np.int32)
        yield Fold(fitted, own_users, own_items, Candidates(users, rows, scores), given)


# --- what to learn from -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Examples:
    """Held-out pairs that are among the candidates of their users.

    Attributes
    ----------
    rows : int64 (n,)
        Of the table of interactions: positives, and with `graded` everything that is held out.
    pools : (int64 (users + 1,), int32)
        The candidates of each user that are no positives; none of users without candidates.
    recall : float
        Share of the held-out positives of these users that are among the candidates.
    """

    rows: Array
    pools: tuple[Array, Array]
    recall: float


def examples_of(
    folds: list[Fold],
    held: Array,
    positive: Array,
    user_rows: Array,
    item_rows: Array,
    sizes: tuple[int, int],
    *,
    graded: bool = False,
) -> Examples:
    """Find the held-out rows that a second stage will meet, and what stands beside them.

    Raises
    ------
    DataError
        No held-out positive is among the candidates.
    """
    num_users, num_items = sizes
    keys = [np.empty(0, dtype=np.int64)]
    users = [np.empty(0, dtype=np.int32)]
    for fold in folds:
        places, items, _, _ = fold.candidates.pairs()
        users.append(fold.candidates.users)
        keys.append(fold.candidates.users[places].astype(np.int64) * num_items + items)
    there = np.sort(np.concatenate(keys))
    of_rows = user_rows.astype(np.int64) * num_items + item_rows
    served = np.isin(user_rows, np.concatenate(users)) & held
    among = served & np.isin(of_rows, there)
    hits = among & positive
    if not hits.any():
        raise DataError(
            f"fit: none of the {int(np.count_nonzero(held & positive))} held-out positives is among the candidates of its "
            "user, so there is nothing to learn the second stage from; pass more candidates, a larger holdout, or another "
            "cross_fit"
        )
    negatives = there[~np.isin(there, of_rows[hits])]
    owners, items = np.divmod(negatives, num_items)
    offsets = np.searchsorted(owners, np.arange(num_users + 1)).astype(np.int64)
    recall = float(np.count_nonzero(hits) / np.count_nonzero(served & positive))
    return Examples(np.flatnonzero(among if graded else hits), (offsets, items.astype(np.int32)), recall)


def cross_fitted(
    copied: Recommender,
    final: Recommender,
    table: frames.Frame,
    tables: dict[str, Any],
    *,
    way: str | None,
    time_col: str | None,
    holdout: float,
    folds: int,
    candidates: int,
    graded: bool,
    seed: int,
    num_threads: int,
) -> tuple[Encoded, list[Fold], Examples]:
    """Hold rows out, fit copies of a retriever without them, and find the held-out positives among their candidates.

    Parameters
    ----------
    copied : Recommender
        Whose copies are fitted.
    final : Recommender
        Fitted on all rows.
    table : narwhals.DataFrame
        The interactions.
    tables : dict
        Further arguments of `fit`.
    way, holdout, folds, candidates, seed
        Options of `TwoStage`; of no way "time" where there is a `time_col`, else "random".
    time_col : str or None
    graded : bool
        See `Examples`.
    num_threads : int

    Returns
    -------
    Encoded, list of Fold, Examples
        The interactions in the rows of `final`, and what to learn from.

    Raises
    ------
    DataError
        There is nothing to hold out, or no held-out positive is among the candidates.
    """
    pairs = encode_interactions(table, **column_options(final), users=final._users, items=final._items, what="fit")
    way = way or ("random" if time_col is None else "time")
    times = None
    if time_col is not None:
        times = frames.times(frames.column(table, time_col, "fit: interactions"), f"fit: column {time_col!r}")
    held = held_out(way, holdout, pairs.user_rows, times, seed)
    groups = groups_of(final._users.size, folds, seed)
    fitted = cross_fit(copied, final, table, tables, held, pairs.user_rows, times, groups, candidates, num_threads)
    found = [fold for fold in fitted if len(fold.candidates.users)]
    if not found:
        raise DataError(
            f"fit: cross_fit={way!r} with holdout={holdout:g} leaves no user with rows on both sides, so there is "
            'nothing to learn the second stage from; pass another holdout, or cross_fit="random"'
        )
    positive = np.ones(len(pairs.user_rows), dtype=np.bool_) if pairs.weights is None else pairs.weights > 0
    sizes = (final._users.size, final._items.size)
    examples = examples_of(found, held, positive, pairs.user_rows, pairs.item_rows, sizes, graded=graded)
    return pairs, found, examples
