"""The second of two stages: what puts a retriever's candidates in order."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from twotower.errors import SchemaError, UnknownIdError
from twotower.models._asked import Given
from twotower.models._cross_fit import Candidates
from twotower.models._recommend import Recommender
from twotower.vocabulary import Vocabulary

Array = np.ndarray


class SecondStage:
    """Scores for candidates; base of what they may come from."""

    # Whether `score` looks at ranks.
    reads_ranks: ClassVar[bool] = False

    def score(
        self,
        user_rows: Array,
        item_rows: Array,
        scores: Array,
        ranks: Array,
        where: str,
        num_threads: int,
        moments: Given | None = None,
    ) -> Array:
        """Scores float32 (n,) of candidates, before `linked`.

        Parameters
        ----------
        user_rows, item_rows : int32 (n,)
            The retriever's.
        scores, ranks : float32 (n,), int (n,)
            The retriever's; ranks from 1.
        where : str
            Start of messages.
        num_threads : int
        moments : Given (n), optional
            What `ranker._read_moments` read.
        """
        raise NotImplementedError

    def linked(self, scores: Array) -> Array:
        """What scores become at the very end; never falls where they rise, and minus infinity stays."""
        return scores

    def ranked(self, found: Candidates, k: int, num_threads: int, moments: Given | None = None) -> tuple[Array, Array]:
        """The k best of candidates; `moments` of their users; rows and scores as `Recommender._top_k`."""
        places, items, scores, ranks = found.pairs()
        at = None if moments is None else moments.take(places)
        raw = np.full(found.rows.shape, -np.inf, dtype=np.float32)
        raw[found.rows >= 0] = self.score(found.users[places], items, scores, ranks, "recommend", num_threads, at)
        rows, best = best_of(found, raw, k)
        return rows, self.linked(best)


class ModelStage(SecondStage):
    """A recommender of this package, asked by its own rows.

    Parameters
    ----------
    ranker : Recommender
        Fitted.
    users, items : Vocabulary
        The retriever's.
    where : str
        Start of messages.
    """

    def __init__(self, ranker: Any, users: Vocabulary, items: Vocabulary, where: str) -> None:
        self.ranker = ranker
        self._known = (ranker._users, ranker._items)
        found = []
        for side, own, other in (("users", users, ranker._users), ("items", items, ranker._items)):
            rows = other.encode(own.ids)
            if (rows < 0).any():
                raise UnknownIdError(
                    f"{where}: {other.unknown_text(own.ids, rows, f'{side} of the retriever, asked of the ranker')}; fit both "
                    "stages on the same interactions and tables"
                )
            found.append(rows.astype(np.int32))
        self.user_rows, self.item_rows = found

    def is_of(self, ranker: Any) -> bool:
        """Whether this is the ranker, and it was not fitted again and has not grown since."""
        return ranker is self.ranker and ranker._users is self._known[0] and ranker._items is self._known[1]

    def score(
        self,
        user_rows: Array,
        item_rows: Array,
        scores: Array,
        ranks: Array,
        where: str,
        num_threads: int,
        moments: Given | None = None,
    ) -> Array:
        found: Array = self.ranker._score_pairs(
            self.user_rows[user_rows], self.item_rows[item_rows], num_threads=num_threads, moments=moments
        )
        return found


def best_of(candidates: Candidates, scores: Array, k: int) -> tuple[Array, Array]:
    """The k best of the candidates by other scores (n, width), -inf where there is none; equal ones by the smaller row."""
    filled = np.where(candidates.rows >= 0, scores, -np.inf).astype(np.float32)
    order = np.lexsort((candidates.rows, -filled), axis=1)[:, :k]
    best = np.take_along_axis(filled, order, axis=1)
    return np.where(np.isneginf(best), -1, np.take_along_axis(candidates.rows, order, axis=1)).astype(np.int32), best


def check_stages(where: str, retriever: Any, ranker: Any) -> None:
    """Refuse what cannot be two stages, whatever they learn."""
    if not isinstance(retriever, Recommender):
        raise TypeError(
            f"{where}: retriever is a {type(retriever).__name__}, but must be a recommender of this package, such as "
            "TwoTower()"
        )
    if isinstance(ranker, type) or not (isinstance(ranker, Recommender) or hasattr(ranker, "predict")):
        name = ranker.__name__ if isinstance(ranker, type) else type(ranker).__name__
        raise TypeError(
            f"{where}: ranker is {'the class' if isinstance(ranker, type) else 'a'} {name}, but must be a model with predict, "
            "such as Ranker()"
        )
    if ranker is retriever:
        raise ValueError(f"{where}: retriever and ranker are one model, but must be two; make another one")
    if isinstance(ranker, Recommender):
        for option in ("user_col", "item_col"):
            mine, theirs = getattr(retriever, option), getattr(ranker, option)
            if mine != theirs:
                raise SchemaError(
                    f"{where}: {option} is {mine!r} in the retriever and {theirs!r} in the ranker, but must be the same"
                )
