"""The core's objects of one model of pairs: what it gives for users, for items and for pairs of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from twotower._core import core
from twotower.item_lists import Filters, Lists
from twotower.models._asked import pair_passes
from twotower.models._fitted import FittedTowers
from twotower.models._given import UsersGiven
from twotower.models._histories import Histories
from twotower.models._pair_towers import PairArchitecture
from twotower.models._recommend import USERS_A_PASS

Array = np.ndarray


class FittedPairs(FittedTowers):
    """Towers with parameters that meet in a head, and the tables of all entities.

    Vectors of users and items carry their bias in the last column, so that scores need nothing else.
    """

    architecture: PairArchitecture
    model: core.PairScorer

    @property
    def user_width(self) -> int:
        return self.model.user_vector_width

    def _encode_users(self, data: core.SideData, rows: Array, **given: Any) -> Array:
        return self.model.user_vectors(data, rows, **given)

    # --- a bare dot product as an index has it ------------------------------------------------------------------------

    def queries(self, users: Array) -> Array:
        """Vectors of users whose dot product with `indexed` is the score: u, bias and offset, 1."""
        biases = users[:, -1:] + np.float32(self.architecture.offset)
        return np.concatenate([users[:, :-1], biases, np.ones_like(biases)], axis=1)

    @staticmethod
    def indexed(items: Array) -> Array:
        """Vectors of items for `queries`: v, 1, bias."""
        return np.concatenate([items[:, :-1], np.ones_like(items[:, -1:]), items[:, -1:]], axis=1)

    # --- pairs --------------------------------------------------------------------------------------------------------

    @property
    def scores_by_head(self) -> bool:
        """Whether scores are what `model` makes of pairs, to the bit, and no product of `queries` and `indexed`."""
        return not self.architecture.is_dot

    def score(
        self, users: Array, items: Array, user_rows: Array, item_rows: Array, given: Array | None, num_threads: int
    ) -> Array:
        """Scores float32 (n,) of pairs of rows of `users` and `items`; `given` float32 (n,) where the head reads it."""
        if self.scores_by_head:
            return self.model.score(users, items, user_rows, item_rows, given=given, num_threads=num_threads)
        return core.score_pairs(self.queries(users), self.indexed(items), user_rows, item_rows, num_threads=num_threads)


def scored_pairs(
    fitted: FittedPairs,
    items: Array,
    pairs: tuple[Array, Array],
    num_threads: int,
    *,
    stored: Histories | None = None,
    moments: UsersGiven | None = None,
    given: Array | None = None,
) -> Array:
    """Score pairs of known users and items.

    Parameters
    ----------
    fitted : FittedPairs
    items : float32 (items, width)
        Vectors of all items.
    pairs : int32 (n,), int32 (n,)
        Rows of users and items.
    num_threads : int
    stored : Histories, optional
        Of all known users.
    moments : UsersGiven (n), optional
        The context of each pair; None is now.
    given : float32 (n,), optional
        Where the head reads a number with each pair.

    Returns
    -------
    float32 (n,)
        Before the link.
    """
    user_rows, item_rows = pairs
    scores = np.empty(len(user_rows), dtype=np.float32)
    for first, some, of_pair in pair_passes(user_rows, moments, USERS_A_PASS):
        at = None if moments is None else moments.take(first)
        users = fitted.user_vectors(user_rows[first], num_threads, given=at, stored=stored)
        numbers = None if given is None else given[some]
        scores[some] = fitted.score(users, items, of_pair, item_rows[some], numbers, num_threads)
    return scores


def ranked_pairs(
    fitted: FittedPairs, users: Array, items: Array, k: int, seen: Lists | None, filters: Filters, num_threads: int
) -> tuple[Array, Array]:
    """Rank the whole catalogue for some users through the head.

    Parameters
    ----------
    fitted : FittedPairs
    users, items : float32 (n, width), (items, width)
    k : int, from 1 to the number of items
    seen : Lists, optional
        About the same n users.
    filters : Filters
    num_threads : int

    Returns
    -------
    rows, scores : int32 (n, k), float32 (n, k)
        As `Recommender._top_k`.
    """
    left_out = filters.arguments() if seen is None else seen.arguments("seen") | filters.arguments()
    rows, scores = core.rank_all(fitted.model, users, items, k, num_threads=num_threads, **left_out)
    return rows, scores
