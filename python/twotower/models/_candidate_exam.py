"""What a second stage is measured by while it learns: lists of candidates of users that it does not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from twotower._core import core
from twotower.frames import Frame, take
from twotower.models._cross_fit import Candidates, Fold
from twotower.models._given import UsersGiven, read_moments
from twotower.models._histories import Histories
from twotower.models._pair_fitted import FittedPairs
from twotower.models._sides import Sides

Array = np.ndarray

_CUTOFF = 10
# Of the users with something to be found a tenth; of few users more, since a handful cannot tell a better epoch from luck.
_SHARE, _MOST = 0.1, 1000
_LARGEST_SHARE, _WANTED, _LEAST = 0.25, 100, 30
_MOST_MOMENTS = 5000


def users_to_measure(users: Array, seed: int) -> Array:
    """Choose some of the users, sorted; none where a quarter of them is less than 30.

    Parameters
    ----------
    users : int32 (n,)
        With a held-out positive among their candidates, each once.
    seed : int
    """
    count = int(min(max(_SHARE * len(users), _WANTED), _MOST, _LARGEST_SHARE * len(users)))
    count = count if count >= _LEAST else 0
    chosen: Array = np.sort(np.random.Generator(np.random.PCG64([seed, 3])).permutation(users)[:count])
    return chosen


@dataclass(frozen=True, eq=False)
class CandidateExam:
    """NDCG@10 of held-out positives among the candidates of some users.

    Attributes
    ----------
    users : int32 (n,)
    offsets, items : int64 (n + 1,), int32
        The candidates of each.
    given : float32 or None
        The number that comes with each candidate, where the model reads one.
    relevant_offsets, relevant_items : int64 (n + 1,), int32
        The positives among them, sorted.
    asked : narwhals.DataFrame (n rows) or None
        The interactions at whose moments they are asked; see `by_moment`.
    moments : UsersGiven (n) or None
        What the model reads of these; None: now, or nothing at all.
    """

    users: Array
    offsets: Array
    items: Array
    given: Array | None
    relevant_offsets: Array
    relevant_items: Array
    asked: Frame | None = None
    moments: UsersGiven | None = None
    label: str = f"ndcg@{_CUTOFF}|candidates"
    rising: bool = True

    @classmethod
    def of(cls, folds: Sequence[Fold], users: Array, keys: Array, num_items: int) -> tuple[CandidateExam, Array]:
        """Gather the candidates of some users.

        Parameters
        ----------
        folds : list of Fold
        users : int32 (n,)
        keys : int64, sorted
            `user row * items + item row` of the positives among the candidates.
        num_items : int

        Returns
        -------
        CandidateExam
            Nothing is given yet.
        float32
            The retriever's score of each candidate.
        """
        found = []
        for fold in folds:
            chosen = np.isin(fold.candidates.users, users)
            part = Candidates(
                fold.candidates.users[chosen], fold.candidates.rows[chosen], fold.candidates.scores[chosen]
            )
            places, items, scores, _ = part.pairs()
            found.append((part.users[places], items, scores))
        owners, items, scores = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.argsort(owners, kind="stable")
        owners, items, scores = owners[order], items[order], scores[order]
        relevant = keys[np.isin(keys // num_items, users)]
        edges = np.append(users, users[-1] + 1)
        return (
            cls(
                users.astype(np.int32),
                np.searchsorted(owners, edges).astype(np.int64),
                items.astype(np.int32),
                None,
                np.searchsorted(relevant // num_items, edges).astype(np.int64),
                (relevant % num_items).astype(np.int32),
            ),
            scores,
        )

    @property
    def text(self) -> str:
        return f"the candidates of {len(np.unique(self.users)):,} users"

    def by_moment(self, table: Frame, rows: Array, user_rows: Array, item_rows: Array) -> CandidateExam:
        """Ask once for each positive, when it was: at one moment alone a model that knows of moments cannot find them all.

        Parameters
        ----------
        table : narwhals.DataFrame
            The interactions.
        rows : int64 (m,)
            The positives among them; of more than some thousand an evenly spaced part is taken.
        user_rows, item_rows : int32 (m,)
            Of these; users of this exam, items among their candidates.
        """
        some = np.linspace(0, len(rows) - 1, min(len(rows), _MOST_MOMENTS)).astype(np.int64)
        places = np.searchsorted(self.users, user_rows[some])
        lengths = np.diff(self.offsets)[places]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        picked = np.repeat(self.offsets[places] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return replace(
            self,
            users=self.users[places],
            offsets=offsets,
            items=self.items[picked],
            given=None if self.given is None else self.given[picked],
            relevant_offsets=np.arange(len(some) + 1, dtype=np.int64),
            relevant_items=item_rows[some].astype(np.int32),
            asked=take(table, rows[some]),
        )

    def at(self, moments: UsersGiven) -> CandidateExam:
        return replace(self, moments=moments)

    def read_by(self, sides: Sides) -> CandidateExam:
        """The exam of a model with these sides, which reads the moments in its own way."""
        moments = None if self.asked is None else read_moments(self.asked, sides, "fit: interactions")
        return self if moments is None else self.at(moments)

    def score(self, fitted: FittedPairs, stored: Histories | None, num_threads: int) -> float:
        rows, _ = core.rank(
            fitted.model,
            fitted.user_vectors(self.users, num_threads, given=self.moments, stored=stored),
            fitted.item_vectors(num_threads),
            self.offsets,
            self.items,
            _CUTOFF,
            self.given,
            num_threads,
        )
        return self._figure(rows, num_threads)

    def retriever_score(self, num_threads: int) -> float:
        """The metric of the candidates in the order in which the retriever had them."""
        places = self.offsets[:-1, None] + np.arange(_CUTOFF)
        there = places < self.offsets[1:, None]
        rows = np.where(there, self.items[np.minimum(places, len(self.items) - 1)], -1).astype(np.int32)
        return self._figure(rows, num_threads)

    def _figure(self, rows: Array, num_threads: int) -> float:
        counts = np.diff(self.relevant_offsets)
        figures = core.ranking_metrics(
            rows,
            self.relevant_offsets,
            self.relevant_items,
            counts,
            ["ndcg"],
            [_CUTOFF],
            num_threads=num_threads,
        )
        return float(np.mean(figures[0]))
