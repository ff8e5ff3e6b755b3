"""What everyone gets without any learning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower import frames
from twotower._core import core
from twotower.errors import DataError, SchemaError, count_of
from twotower.features import seconds_of
from twotower.item_lists import Filters
from twotower.models._asked import Asked, Given
from twotower.models._estimator import State
from twotower.models._options import check_choice, check_column_name, check_number, named_options
from twotower.models._reading import Reading, read
from twotower.models._recommend import Recommender
from twotower.models.baselines._popular import item_scores, lists_by_value
from twotower.models.baselines._profiles import Profiles

if TYPE_CHECKING:
    from typing_extensions import Self


class Popularity(Recommender, kind="popularity"):
    """Rank items by how many positive interactions they have; the least that a model must beat.

    Parameters
    ----------
    method : {"count", "mean_rating", "weighted_rating"}
        What makes an item popular: its interactions, its mean rating, or that drawn to the mean of all ratings the fewer
        ratings there are.
    by : str, optional
        Column of the table of items, of lists or single values, such as "genres": the score of an item is multiplied by
        the share that its values have among the positives of the user.
    period : float, optional
        Only interactions of so many newest days count; needs `time_col`.
    min_votes : float, at least 0, optional
        Of "weighted_rating": ratings at the mean of all that each item is given beside its own. None takes the mean
        number of ratings of the items that have any.
    user_col, item_col : str
        Columns of the interactions that hold the ids.
    rating_col : str, optional
        Column of ratings; looked at only with `min_rating` and by methods of ratings.
    min_rating : float, optional
        Rows rated below do not count; they are seen all the same.
    weight_col : str, optional
        Column of weights, at least 0, that are summed; without it every row counts 1.
    time_col : str, optional
        Column of times; looked at only with `period`.
    n_jobs : int
        Threads of `recommend`; -1 is every CPU this process may use.
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
    "count": the score is the sum v of the weights of the item's positive rows, kept as float32. "mean_rating": their mean
    rating R; without any it is the smallest rating there is. "weighted_rating": v / (v + m) R + m / (v + m) C, C the mean
    of all ratings and m `min_votes`, the formula of the Internet Movie Database's list of 250. Equal scores are ranked by
    the smaller row of `item_ids_`. Every user has the same list, but for what the user has seen and unless there is `by`:
    then a positive spreads its weight evenly over its values, and who has none gets what all users together would get.

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
        method: str = "count",
        by: str | None = None,
        period: float | None = None,
        min_votes: float | None = None,
        user_col: str = "user_id",
        item_col: str = "item_id",
        rating_col: str | None = None,
        min_rating: float | None = None,
        weight_col: str | None = None,
        time_col: str | None = None,
        n_jobs: int = -1,
        verbose: int = 1,
    ) -> None:
        self.method = method
        self.by = by
        self.period = period
        self.min_votes = min_votes
        self.user_col = user_col
        self.item_col = item_col
        self.rating_col = rating_col
        self.min_rating = min_rating
        self.weight_col = weight_col
        self.time_col = time_col
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
            weight or a rating is not a finite number, or a weight is negative; there are no ratings, times or columns
            that an option asks for.
        ValueError, TypeError
            An option is out of range or of the wrong kind.
        """
        self._check_columns("fit")
        check_choice("fit", "method", self.method, ("count", "mean_rating", "weighted_rating"))
        check_column_name("fit", "by", self.by, optional=True)
        if self.min_votes is not None:
            check_number("fit", "min_votes", self.min_votes, minimum=0)
        reading = read(self, interactions, users, items)
        pairs = reading.pairs
        counted = pairs if self.period is None else pairs.take(self._newest(reading))
        scores = item_scores(counted, self.method, self.min_votes)
        lists = None if self.by is None else lists_by_value(reading, self.by, scores, self._num_threads("fit"))
        self._scores, self._lists = scores, lists
        self._remember(**reading.remembered)
        return self

    def _newest(self, reading: Reading) -> np.ndarray:
        """Positions of the interactions of the newest `period` days."""
        days = check_number("fit", "period", self.period, above=0)
        if self.time_col is None:
            raise SchemaError(f"fit: period is {days:g} days, but time_col is None; pass time_col= too")
        place = f"fit: column {self.time_col!r}"
        seconds, missing, _ = seconds_of(frames.column(reading.table, self.time_col, place), place, "auto")
        if missing is not None and missing.any():
            raise DataError(f"{place} has no time in {count_of(int(missing.sum()), 'row')}; drop these rows")
        return np.flatnonzero(seconds > seconds.max() - days * 86400)

    def _top_k(
        self, asked: Asked, k: int, *, filter_seen: bool, filters: Filters, num_threads: int
    ) -> tuple[np.ndarray, np.ndarray]:
        arguments = self._filter_arguments(asked, filters, filter_seen=filter_seen)
        if self._lists is not None:
            return self._lists.top_k(asked.rows, k, arguments, num_threads)
        if "scores" not in self._cache:
            self._cache["scores"] = core.ItemIndex(self._scores[:, None], num_threads=num_threads)
        ones = np.ones((len(asked), 1), dtype=np.float32)
        rows, scores = self._cache["scores"].top_k(ones, k, num_threads=num_threads, **arguments)
        return rows, scores

    def _score_pairs(
        self, user_rows: np.ndarray, item_rows: np.ndarray, *, num_threads: int, moments: Given | None = None
    ) -> np.ndarray:
        if self._lists is not None:
            return self._lists.score_pairs(user_rows, item_rows, num_threads)
        scores: np.ndarray = self._scores[item_rows]
        return scores

    def _state(self) -> State:
        return {}, {"counts": self._scores} | ({} if self._lists is None else self._lists.state())

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self._scores = arrays["counts"]
        self._lists = None if self.by is None else Profiles.from_state(arrays)
