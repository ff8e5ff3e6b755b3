"""Recommenders whose score is a sum over what a user has of some features, of what each feature says for an item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from twotower._core import core
from twotower.item_lists import Filters
from twotower.models._asked import Asked, Given
from twotower.models._estimator import State
from twotower.models._recommend import Recommender
from twotower.models.baselines._sparse import Sparse

__all__ = ["ProfileRecommender", "Profiles"]


@dataclass(frozen=True, eq=False)
class Profiles:
    """Who has what, and what it says.

    Parameters
    ----------
    users : Sparse (users, features)
        What each user has of each feature.
    postings : Sparse or float32 ndarray (features, items)
        What each feature says for each item.
    """

    users: Sparse
    postings: Sparse | np.ndarray

    @property
    def _postings(self) -> core.SparseRows | np.ndarray:
        return self.postings.rows if isinstance(self.postings, Sparse) else self.postings

    def top_k(
        self, user_rows: np.ndarray, k: int, filters: dict[str, Any], num_threads: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rank items for users; see `Recommender._top_k`."""
        return core.top_k_of_profiles(self.users.rows, self._postings, user_rows, k, num_threads=num_threads, **filters)

    def score_pairs(self, user_rows: np.ndarray, item_rows: np.ndarray, num_threads: int) -> np.ndarray:
        """Score pairs; see `Recommender._score_pairs`."""
        return core.score_profile_pairs(self.users.rows, self._postings, user_rows, item_rows, num_threads=num_threads)

    def state(self) -> dict[str, np.ndarray]:
        """Arrays for a file."""
        items = self.postings.state("postings") if isinstance(self.postings, Sparse) else {"weights": self.postings}
        return self.users.state("profiles") | items

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray]) -> Profiles:
        """Undo `state`."""
        postings = arrays["weights"] if "weights" in arrays else Sparse.from_state("postings", arrays)
        return cls(Sparse.from_state("profiles", arrays), postings)


class ProfileRecommender(Recommender):
    """Base of models that have a profile of every user; `fit` sets `self._profiles` and ends with `self._remember(...)`."""

    _profiles: Profiles

    def _top_k(
        self, asked: Asked, k: int, *, filter_seen: bool, filters: Filters, num_threads: int
    ) -> tuple[np.ndarray, np.ndarray]:
        arguments = self._filter_arguments(asked, filters, filter_seen=filter_seen)
        return self._profiles.top_k(asked.rows, k, arguments, num_threads)

    def _score_pairs(
        self, user_rows: np.ndarray, item_rows: np.ndarray, *, num_threads: int, moments: Given | None = None
    ) -> np.ndarray:
        return self._profiles.score_pairs(user_rows, item_rows, num_threads)

    def _state(self) -> State:
        return {}, self._profiles.state()

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self._profiles = Profiles.from_state(arrays)
