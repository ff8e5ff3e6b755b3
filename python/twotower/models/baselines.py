"""Models to compare with: what everyone gets without any learning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower._core import core
from twotower.item_lists import Filters
from twotower.models._asked import Asked
from twotower.models._estimator import State
from twotower.models._options import named_options
from twotower.models._reading import read
from twotower.models._recommend import Recommender

if TYPE_CHECKING:
    from typing_extensions import Self


class Popularity(Recommender, kind="popularity"):
    """Rank items by how many positive interactions they have; the least that a model must beat.

    Parameters
    ----------
    user_col, item_col : str
        Columns of the interactions that hold the ids.
    rating_col : str, optional
        Column of ratings; looked at only with `min_rating`.
    min_rating : float, optional
        Rows rated below do not count; they are seen all the same.
    weight_col : str, optional
        Column of weights, at least 0, that are summed; without it every row counts 1.
    n_jobs : int
        Threads of `recommend`; -1 is every CPU this process may use.
    verbose : int
        1: a bar while `recommend` serves many, where somebody watches. Otherwise nothing is shown.

    Attributes
    ----------
    user_ids_, item_ids_ : Series of the kind that `fit` was given
        The users and the items the model knows.
    history_ : DataFrame of the kind that `fit` was given
        The (user, item) pairs that were seen, each once.

    Notes
    -----
    The score is the sum of the weights of the item's positive rows, kept as float32; equal scores are ranked by the
    smaller row of `item_ids_`. Every user has the same list, but for what the user has seen.

    Examples
    --------
    >>> import pandas as pd, twotower as tt
    >>> ratings = pd.DataFrame({"user_id": [1, 1, 2, 3], "item_id": ["a", "b", "a", "c"]})
    >>> tt.Popularity(n_jobs=1).fit(ratings).recommend([2, 3], k=2)
       user_id item_id  score  rank
    0        2       b    1.0     1
    1        2       c    1.0     2
    2        3       a    2.0     1
    3        3       b    1.0     2
    """

    @named_options
    def __init__(
        self,
        *,
        user_col: str = "user_id",
        item_col: str = "item_id",
        rating_col: str | None = None,
        min_rating: float | None = None,
        weight_col: str | None = None,
        n_jobs: int = -1,
        verbose: int = 1,
    ) -> None:
        self.user_col = user_col
        self.item_col = item_col
        self.rating_col = rating_col
        self.min_rating = min_rating
        self.weight_col = weight_col
        self.n_jobs = n_jobs
        self.verbose = verbose

    @named_options
    def fit(self, interactions: Any, users: Any = None, items: Any = None, *, eval_set: Any = None) -> Self:
        """Count.

        Parameters
        ----------
        interactions : DataFrame
            pandas, polars or pyarrow; one row an interaction, in any order. A pair that comes twice counts twice.
        users, items : DataFrame, optional
            Tables with the user or the item column, a row each: what they have beyond the interactions becomes known,
            with count 0. Other columns of `items` are kept for `where` of `recommend`; those of `users` are not looked
            at.
        eval_set : DataFrame, optional
            Not used; here so that models can be exchanged.

        Returns
        -------
        self

        Raises
        ------
        SchemaError, DataError
            A column is missing or comes twice; there is no row; an id is missing, or not in the table of its side; a
            weight or a rating is not a finite number, or a weight is negative.
        ValueError, TypeError
            An option is out of range or of the wrong kind.
        """
        self._check_columns("fit")
        reading = read(self, interactions, users, items)
        pairs = reading.pairs
        counts = np.bincount(pairs.item_rows, weights=pairs.weights, minlength=pairs.items.size)
        self._counts = counts.astype(np.float32)
        self._remember(**reading.remembered)
        return self

    def _top_k(
        self, asked: Asked, k: int, *, filter_seen: bool, filters: Filters, num_threads: int
    ) -> tuple[np.ndarray, np.ndarray]:
        if "counts" not in self._cache:
            self._cache["counts"] = core.ItemIndex(self._counts[:, None], num_threads=num_threads)
        ones = np.ones((len(asked), 1), dtype=np.float32)
        arguments = self._filter_arguments(asked, filters, filter_seen=filter_seen)
        rows, scores = self._cache["counts"].top_k(ones, k, num_threads=num_threads, **arguments)
        return rows, scores

    def _score_pairs(self, user_rows: np.ndarray, item_rows: np.ndarray, *, num_threads: int) -> np.ndarray:
        scores: np.ndarray = self._counts[item_rows]
        return scores

    def _state(self) -> State:
        return {}, {"counts": self._counts}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self._counts = arrays["counts"]
