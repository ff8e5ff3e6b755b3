"""Given candidates put in order: the second stage by itself."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from twotower import frames
from twotower.errors import DataError, count_of, first_five
from twotower.models._asked import Given
from twotower.models._options import check_choice, check_count, named_options
from twotower.models._recommend import Recommender

Array = np.ndarray


class RankingCandidates(Recommender):
    """Base of models whose business it is to put candidates in order; needs nothing but `_score_pairs`."""

    @named_options
    def rank(self, candidates: Any, k: int | None = None, *, on_unknown: str = "raise") -> Any:
        """Put given candidates in order: the second stage by itself.

        Parameters
        ----------
        candidates : DataFrame
            With `user_col` and `item_col`, a row a candidate, each pair once, and the columns of the context where the model
            has some, as in `predict`. Other columns are not looked at.
        k : int, at least 1, optional
            Candidates a user to keep; None keeps all.
        on_unknown : {"raise", "warn"}
            Pairs whose user or item the model does not know, or whose item was removed: an error, or left out with one
            warning.

        Returns
        -------
        DataFrame of the kind that `fit` was given
            `user_col`, `item_col`, `score` float32 (falling within a user), `rank` int32 (from 1); users in the order in which
            they first appear. Equal scores are ranked by the smaller row of `item_ids_`. What a user has seen is not left
            out.

        Raises
        ------
        NotFittedError, SchemaError, UnknownIdError
            Before `fit`; a column is missing or, of the context, of another dtype than in `fit`; an id is unknown and
            `on_unknown` is "raise".
        DataError
            There is no candidate, or a pair comes twice.
        """
        self._check_fitted("rank")
        check_choice("rank", "on_unknown", on_unknown, ("raise", "warn"))
        k = None if k is None else check_count("rank", "k", k)
        user_rows, item_rows, moments = self._read_candidates(candidates, on_unknown)
        scores = self._score_pairs(user_rows, item_rows, num_threads=self._num_threads("rank"), moments=moments)
        # Users by their first appearance.
        users, first, of_pair = np.unique(user_rows, return_index=True, return_inverse=True)
        turn = np.empty(len(users), dtype=np.int64)
        turn[np.argsort(first)] = np.arange(len(users))
        order = np.lexsort((item_rows, -scores, turn[of_pair]))
        turns = turn[of_pair][order]
        ranks = np.arange(len(order)) - np.searchsorted(turns, turns) + 1
        kept = order if k is None else order[ranks <= k]
        columns = {
            self.user_col: self._users.decode(user_rows[kept]),
            self.item_col: self._items.decode(item_rows[kept]),
            "score": scores[kept],
            "rank": (ranks if k is None else ranks[ranks <= k]).astype(np.int32),
        }
        return self._build(columns)

    def _read_candidates(self, candidates: Any, on_unknown: str) -> tuple[Array, Array, Given | None]:
        """Rows of the pairs that are known, each once, and when they are asked for."""
        table = frames.table(candidates, "rank: candidates")
        cure = "leave these pairs out, or pass on_unknown='warn'" if on_unknown == "raise" else None
        user_rows, item_rows = self._pair_rows(table, "rank", "candidates", cure)
        if not len(user_rows):
            raise DataError("rank: candidates has no rows, but must have at least 1; give a row a user and item")
        known = (user_rows >= 0) & (item_rows >= 0)
        if not known.all():
            # The caller's line: above are this function, rank and its check of names.
            warnings.warn(
                f"rank: {count_of(int(np.count_nonzero(~known)), 'pair')} of candidates "
                "has a user or an item that the model does not know; left out",
                stacklevel=4,
            )
        user_rows, item_rows = user_rows[known], item_rows[known]
        keys = user_rows.astype(np.int64) * self._items.size + item_rows
        again = np.flatnonzero(np.bincount(np.unique(keys, return_inverse=True)[1], minlength=1) > 1)
        if again.size:
            pairs = np.unique(keys)[again[:5]]
            named = zip(
                self._users.decode((pairs // self._items.size).astype(np.int32)).tolist(),
                self._items.decode((pairs % self._items.size).astype(np.int32)).tolist(),
                strict=True,
            )
            raise DataError(
                f"rank: {count_of(again.size, 'pair')} of candidates {'is' if again.size == 1 else 'are'} in more than one "
                f"row (first: {first_five(list(named))}); keep one row a pair"
            )
        moments = self._read_moments(table, "rank: candidates")
        return user_rows, item_rows, None if moments is None else moments.take(np.flatnonzero(known))
