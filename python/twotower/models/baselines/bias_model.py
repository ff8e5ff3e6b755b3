"""Ratings by a mean, a bias of the user and a bias of the item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower._core import core
from twotower.item_lists import Filters
from twotower.models._asked import Asked, Given
from twotower.models._estimator import State
from twotower.models._options import check_number, named_options
from twotower.models._recommend import Recommender
from twotower.models.baselines._ratings import read_ratings

if TYPE_CHECKING:
    from typing_extensions import Self


class BiasModel(Recommender, kind="bias"):
    """Predict ratings by the mean, how the user rates and how the item is rated; the least that a rating model must beat.

    Parameters
    ----------
    user_col, item_col : str
        Columns of the interactions that hold the ids.
    rating_col : str
        Column of ratings.
    user_shrink, item_shrink : float, at least 0
        Ratings at the mean that each user and each item is given beside their own: biases of few ratings stay small.
    n_jobs : int
        Threads; -1 is every CPU this process may use. Results are the same bytes for any number.
    verbose : int
        Not used; here so that models can be exchanged.

    Attributes
    ----------
    user_ids_, item_ids_ : Series of the kind that `fit` was given
        The users and the items the model knows.
    history_ : DataFrame of the kind that `fit` was given
        The (user, item) pairs that were seen, each once.

    Notes
    -----
    rating = mean + bias of the user + bias of the item: ridge regression, exact (Koren 2010, section 2.1). Every user has the
    same list, but for what the user has seen. Who has no rating has bias 0.


    Examples
    --------
    >>> import pandas as pd, twotower as tt
    >>> ratings = pd.DataFrame({"user_id": [1, 1, 2], "item_id": ["a", "b", "a"], "rating": [5.0, 3.0, 4.0]})
    >>> model = tt.BiasModel(user_shrink=0, item_shrink=0, n_jobs=1).fit(ratings)
    >>> model.predict(pd.DataFrame({"user_id": [2], "item_id": ["b"]})).round(3).tolist()
    [2.0]
    """

    @named_options
    def __init__(
        self,
        *,
        user_col: str = "user_id",
        item_col: str = "item_id",
        rating_col: str = "rating",
        user_shrink: float = 5.0,
        item_shrink: float = 3.0,
        n_jobs: int = -1,
        verbose: int = 1,
    ) -> None:
        self.user_col = user_col
        self.item_col = item_col
        self.rating_col = rating_col
        self.user_shrink = user_shrink
        self.item_shrink = item_shrink
        self.n_jobs = n_jobs
        self.verbose = verbose

    @named_options
    def fit(self, interactions: Any, users: Any = None, items: Any = None, *, eval_set: Any = None) -> Self:
        """Find the biases.

        Parameters
        ----------
        interactions : DataFrame
            pandas, polars or pyarrow; one row an interaction, in any order.
        users, items : DataFrame, optional
            Tables with the user or the item column, a row each: what they have beyond the interactions becomes known.
            Other columns of `items` are kept for `where` of `recommend`; those of `users` are not looked at.
        eval_set : DataFrame, optional
            Not used; here so that models can be exchanged.

        Returns
        -------
        self

        Raises
        ------
        SchemaError, DataError
            A column is missing or comes twice; there is no row; an id is missing, or not in the table of its side; a
            rating is not a finite number; all ratings are equal.
        ValueError, TypeError
            An option is out of range or of the wrong kind.
        """
        self._check_columns("fit")
        user_shrink = check_number("fit", "user_shrink", self.user_shrink, minimum=0)
        item_shrink = check_number("fit", "item_shrink", self.item_shrink, minimum=0)
        reading, ratings = read_ratings(self, interactions, users, items)
        mean, of_user, of_item = core.fit_biases(
            ratings, user_shrink=user_shrink, item_shrink=item_shrink, num_threads=self._num_threads("fit")
        )
        self._set(mean + of_user.astype(np.float64), of_item)
        self._remember(**reading.remembered)
        return self

    def _set(self, of_user: np.ndarray, of_item: np.ndarray) -> None:
        # The score is a dot product: (1, the user's mean rating) . (the item's bias, 1).
        self._user_vectors = np.ones((len(of_user), 2), dtype=np.float32)
        self._user_vectors[:, 1] = of_user
        self._item_vectors = np.ones((len(of_item), 2), dtype=np.float32)
        self._item_vectors[:, 0] = of_item

    @property
    def _predicts(self) -> str:
        return self.rating_col

    def _top_k(
        self, asked: Asked, k: int, *, filter_seen: bool, filters: Filters, num_threads: int
    ) -> tuple[np.ndarray, np.ndarray]:
        if "items" not in self._cache:
            self._cache["items"] = core.ItemIndex(self._item_vectors, num_threads=num_threads)
        arguments = self._filter_arguments(asked, filters, filter_seen=filter_seen)
        rows, scores = self._cache["items"].top_k(
            self._user_vectors[asked.rows], k, num_threads=num_threads, **arguments
        )
        return rows, scores

    def _score_pairs(
        self, user_rows: np.ndarray, item_rows: np.ndarray, *, num_threads: int, moments: Given | None = None
    ) -> np.ndarray:
        return core.score_pairs(self._user_vectors, self._item_vectors, user_rows, item_rows, num_threads=num_threads)

    def _state(self) -> State:
        return {}, {"users": self._user_vectors[:, 1].copy(), "items": self._item_vectors[:, 0].copy()}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self._set(arrays["users"], arrays["items"])
