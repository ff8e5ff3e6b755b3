"""What every recommender can do, whatever its model: lists for users, scores of pairs, what it was fitted on."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from twotower import frames
from twotower.features import Vocabulary
from twotower.ids import IdColumn, IdType, comparable
from twotower.models._estimator import Estimator, State
from twotower.models._options import (
    check_choice,
    check_column_name,
    check_count,
    check_flag,
    check_n_jobs,
    check_number,
    named_options,
)
from twotower.persistence import prefix, unprefix

# Users a pass: enough to keep every thread busy, few enough that vectors and scores of a pass stay small beside the
# lists.
USERS_A_PASS = 8192


class Recommender(Estimator):
    """Base of every model that ranks items for users.

    A subclass has the options `user_col`, `item_col` and `n_jobs` (and `rating_col`, `min_rating` where it reads
    ratings), and gives

    - `fit(interactions, users=None, items=None, ...)`, which ends with `self._remember(...)`, sets what it learned and
      returns `self`;
    - `_top_k(user_rows, k, ...)` and `_score_pairs(user_rows, item_rows, ...)`, whose scores are the same bits;
    - `_state()` and `_restore(meta, arrays)` for its own learned parts; ids, seen pairs, counts and options are kept
      here.

    Attributes
    ----------
    user_ids_, item_ids_ : Series of the kind that `fit` was given
        The users and the items the model knows, in the order of its rows.
    history_ : DataFrame of the kind that `fit` was given
        The (user, item) pairs that were seen, each once; what `filter_seen` leaves out.
    """

    user_col: str
    item_col: str
    n_jobs: int

    _users: Vocabulary
    _items: Vocabulary
    _seen: tuple[np.ndarray, np.ndarray]
    _item_counts: np.ndarray
    _frame_kind: str

    # --- hooks --------------------------------------------------------------------------------------------------------

    def _top_k(
        self, user_rows: np.ndarray, k: int, *, filter_seen: bool, allowed: np.ndarray | None, num_threads: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rank items for some users.

        Parameters
        ----------
        user_rows : int32 (n,)
            Rows of known users, at most `USERS_A_PASS`.
        k : int, from 1 to the number of items
        filter_seen : bool
            Leave out what `self._seen` (offsets int64 (users + 1), items int32, sorted) has for the user.
        allowed : uint8 (items,) or None
            0 where an item must not appear.

        Returns
        -------
        rows, scores : int32 (n, k), float32 (n, k)
            Best first, equal scores by the smaller row; row -1 and score -inf where fewer than k items are left.
        """
        raise NotImplementedError

    def _score_pairs(self, user_rows: np.ndarray, item_rows: np.ndarray, *, num_threads: int) -> np.ndarray:
        """Scores float32 (n,) of pairs of known rows, int32 (n,) each; the bits that `_top_k` gives."""
        raise NotImplementedError

    def _remember(
        self,
        *,
        users: Vocabulary,
        items: Vocabulary,
        seen_offsets: np.ndarray,
        seen_items: np.ndarray,
        item_counts: np.ndarray,
        frame_kind: str,
    ) -> None:
        """Keep what every recommender keeps of `fit`; call it last, when nothing can fail any more.

        Parameters
        ----------
        users, items : Vocabulary
            Ids to rows.
        seen_offsets, seen_items : int64 (users + 1,), int32
            Rows of the items that a user has seen, sorted, each once.
        item_counts : float64 (items,)
            Positive interactions an item has; the popularity list is their order.
        frame_kind : "pandas", "polars" or "pyarrow"
            What lists come back as.
        """
        self._users, self._items = users, items
        self._seen = (seen_offsets, seen_items)
        self._item_counts = item_counts
        self._frame_kind = frame_kind
        self._cache = {}

    def __sklearn_is_fitted__(self) -> bool:
        return "_users" in self.__dict__

    # --- lists --------------------------------------------------------------------------------------------------------

    @named_options
    def recommend(
        self,
        users: Any = None,
        k: int = 10,
        *,
        filter_seen: bool = True,
        items: Any = None,
        exclude: Any = None,
        on_unknown: str = "raise",
        as_arrays: bool = False,
    ) -> Any:
        """Rank items for users.

        Parameters
        ----------
        users : one id, ids, a frame with the user column, or None
            Whom to serve, in this order; a user given twice is served twice. None is everyone in `user_ids_`.
        k : int, at least 1
            Items a user.
        filter_seen : bool
            Leave out what the user has in the interactions of `fit` (in any row, of whatever weight or rating).
        items : one id, ids, a frame with the item column, or None
            Allow list: nothing else appears. None allows every item.
        exclude : one id, ids, a frame with the item column, or None
            Deny list: none of them appears. Ids that the model does not know are fine here: they cannot appear anyway.
        on_unknown : {"raise", "warn", "popular"}
            Users that the model does not know: an error, one warning and no rows, or the items with the most
            interactions (under `items` and `exclude`), whose scores are those counts.
        as_arrays : bool
            Give rows of `item_ids_` and scores instead of a table.

        Returns
        -------
        DataFrame of the kind that `fit` was given
            `user_col`, `item_col` (ids in the dtypes of `fit`), `score` float32 (falling), `rank` int32 (from 1). A
            user for whom fewer than k items are left has fewer rows, down to none.
        rows, scores : int32 (n, k), float32 (n, k)
            With `as_arrays`: one line a user that is served; padded with row -1 and score -inf.

        Raises
        ------
        NotFittedError
            Before `fit`.
        UnknownIdError
            A user is unknown and `on_unknown` is "raise"; an item of `items` is unknown.
        ValueError, TypeError
            An option is out of range or of the wrong kind, or has another name here.

        Notes
        -----
        The lists are exact. Equal scores are ranked by the smaller row of `item_ids_`. A user's list does not depend on
        who else is asked for, nor on the number of threads. Cost: users x items x width multiplications; memory beside
        the result for 8192 users at a time.
        """
        self._check_fitted("recommend")
        k = check_count("recommend", "k", k)
        filter_seen = check_flag("recommend", "filter_seen", filter_seen)
        as_arrays = check_flag("recommend", "as_arrays", as_arrays)
        if on_unknown == "features":
            raise ValueError(
                "recommend: on_unknown is 'features', but users that were not there in fit are not served from "
                "features yet; pass 'popular', or fit with these users"
            )
        check_choice("recommend", "on_unknown", on_unknown, ("raise", "warn", "popular"))
        allowed = self._allowed(items, exclude)
        ids, user_rows = self._asked(users, on_unknown)
        width, num_threads = min(k, self._items.size), self._num_threads("recommend")
        rows, scores = self._ranked(user_rows, width, filter_seen=filter_seen, allowed=allowed, num_threads=num_threads)
        if as_arrays:
            padding = ((0, 0), (0, k - rows.shape[1]))
            return np.pad(rows, padding, constant_values=-1), np.pad(scores, padding, constant_values=-np.inf)
        return self._table((self.user_col, ids), (self.item_col, self._items), rows, scores)

    @named_options
    def predict(self, pairs: Any, *, on_unknown: str = "raise") -> np.ndarray:
        """Score given pairs of a user and an item.

        Parameters
        ----------
        pairs : DataFrame
            With `user_col` and `item_col`; other columns are not looked at.
        on_unknown : {"raise", "nan"}
            Pairs whose user or item the model does not know: an error, or NaN.

        Returns
        -------
        float32 (rows of `pairs`,)
            Larger is better; the bits that `recommend` gives for the pair. Seen pairs have scores too.

        Raises
        ------
        NotFittedError, SchemaError, UnknownIdError
            Before `fit`; a column is missing; an id is unknown and `on_unknown` is "raise".
        """
        self._check_fitted("predict")
        check_choice("predict", "on_unknown", on_unknown, ("raise", "nan"))
        table = frames.table(pairs, "predict: pairs")
        sides = []
        for column, vocabulary in ((self.user_col, self._users), (self.item_col, self._items)):
            what, ids = f"predict: column {column!r} of pairs", frames.column(table, column, "predict: pairs")
            if on_unknown == "raise":
                sides.append(vocabulary.encode_known(ids, what, "leave these pairs out, or pass on_unknown='nan'"))
            else:
                sides.append(vocabulary.encode(ids, what))
        user_rows, item_rows = sides
        known = np.flatnonzero((user_rows >= 0) & (item_rows >= 0))
        scores = np.full(len(user_rows), np.nan, dtype=np.float32)
        scores[known] = self._score_pairs(user_rows[known], item_rows[known], num_threads=self._num_threads("predict"))
        return scores

    # --- what was fitted ----------------------------------------------------------------------------------------------

    @property
    def user_ids_(self) -> Any:
        return self._all_ids("user_ids_", "user")

    @property
    def item_ids_(self) -> Any:
        return self._all_ids("item_ids_", "item")

    @property
    def history_(self) -> Any:
        self._check_fitted("history_")
        offsets, items = self._seen
        users = np.repeat(np.arange(self._users.size, dtype=np.int32), np.diff(offsets))
        return self._build({self.user_col: self._users.decode(users), self.item_col: self._items.decode(items)})

    def _all_ids(self, where: str, side: str) -> Any:
        self._check_fitted(where)
        column, vocabulary = (self.user_col, self._users) if side == "user" else (self.item_col, self._items)
        return self._build({column: vocabulary.decode(np.arange(vocabulary.size, dtype=np.int32))})[column]

    def _build(self, columns: Mapping[str, Any]) -> Any:
        try:
            return frames.build(self._frame_kind, columns)
        except ModuleNotFoundError as error:
            raise ImportError(
                f"{type(self).__name__}: the model was fitted on a {self._frame_kind} table, but {error.name} is not "
                f"installed here; install it (pip install {error.name}), or call recommend with as_arrays=True"
            ) from error

    # --- options ------------------------------------------------------------------------------------------------------

    def _check_columns(self, where: str) -> None:
        """Check the options that every `fit` checks first."""
        for option, column in (("user_col", self.user_col), ("item_col", self.item_col)):
            check_column_name(where, option, column)
            if column in ("score", "rank"):
                raise ValueError(
                    f"{where}: {option} is {column!r}, but that is a column of the lists; rename it in the table"
                )
        if self.user_col == self.item_col:
            raise ValueError(f"{where}: user_col and item_col are both {self.user_col!r}, but must be two columns")
        for option in ("rating_col", "weight_col", "time_col"):
            check_column_name(where, option, getattr(self, option, None), optional=True)
        min_rating = getattr(self, "min_rating", None)
        if min_rating is not None:
            check_number(where, "min_rating", min_rating)
        self._num_threads(where)

    def _num_threads(self, where: str) -> int:
        return check_n_jobs(where, self.n_jobs)

    # --- ids to rows --------------------------------------------------------------------------------------------------

    def _given(self, where: str, name: str, values: Any, side: str) -> IdColumn:
        """Read what a caller gave: one id, a list, an array, a Series, or a table with the column of that side."""
        what = f"{where}: {name}"
        if frames.is_table(values):
            table = frames.table(values, what)
            if name in ("items", "exclude") and self.user_col in table.columns:
                raise ValueError(
                    f"{what} has the column {self.user_col!r} too, but lists per user are not there yet; "
                    "call recommend for each user, or give one list for all"
                )
            values = frames.column(table, self.user_col if side == "user" else self.item_col, what)
        elif isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
            values = [values]
        return frames.ids(values, what)

    def _known_rows(self, where: str, name: str, values: Any, side: str) -> np.ndarray:
        """Find the rows, int32, of ids that must all be known; None is everything."""
        vocabulary = self._users if side == "user" else self._items
        if values is None:
            return np.arange(vocabulary.size, dtype=np.int32)
        ids = self._given(where, name, values, side)
        return vocabulary.encode_known(ids, f"{where}: {name}", f"leave them out, or fit with these {side}s")

    def _asked(self, users: Any, on_unknown: str) -> tuple[IdColumn, np.ndarray]:
        """Give ids and rows of whom a caller wants lists for; row -1 is to be served the popularity list."""
        if users is None:
            return self._users.ids, np.arange(self._users.size, dtype=np.int32)
        ids = self._given("recommend", "users", users, "user")
        what = "recommend: users"
        if on_unknown == "raise":
            rows = self._users.encode_known(ids, what, "leave them out, or pass on_unknown='warn' or 'popular'")
            return self._users.decode(rows), rows
        rows = self._users.encode(ids, what)
        known = rows >= 0
        if on_unknown == "popular" and not known.all():
            return _as_fitted(ids, self._users.dtype), rows
        if not known.all():
            # The caller's line: above are this function, recommend and its check of names.
            warnings.warn(f"{self._users.unknown_text(ids, rows, what)}; they get no list", stacklevel=4)
        return self._users.decode(rows[known]), rows[known]

    def _allowed(self, items: Any, exclude: Any) -> np.ndarray | None:
        """Allow and deny list as uint8 (items,), or None where every item may appear."""
        if items is None and exclude is None:
            return None
        allowed = np.full(self._items.size, items is None, dtype=np.uint8)
        if items is not None:
            allowed[self._known_rows("recommend", "items", items, "item")] = 1
        if exclude is not None:
            denied = self._items.encode(self._given("recommend", "exclude", exclude, "item"), "recommend: exclude")
            allowed[denied[denied >= 0]] = 0
        return allowed

    # --- lists --------------------------------------------------------------------------------------------------------

    def _ranked(
        self, user_rows: np.ndarray, k: int, *, filter_seen: bool, allowed: np.ndarray | None, num_threads: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """`_top_k` for any number of users, and the popularity list for those of row -1."""
        rows = np.full((len(user_rows), k), -1, dtype=np.int32)
        scores = np.full((len(user_rows), k), -np.inf, dtype=np.float32)
        known = np.flatnonzero(user_rows >= 0)
        for start in range(0, len(known), USERS_A_PASS):
            part = known[start : start + USERS_A_PASS]
            rows[part], scores[part] = self._top_k(
                user_rows[part], k, filter_seen=filter_seen, allowed=allowed, num_threads=num_threads
            )
        if len(known) < len(user_rows):
            popular = np.argsort(-self._item_counts, kind="stable")
            if allowed is not None:
                popular = popular[allowed[popular] != 0]
            popular = popular[:k]
            rows[user_rows < 0, : len(popular)] = popular
            scores[user_rows < 0, : len(popular)] = self._item_counts[popular]
        return rows, scores

    def _table(
        self, asked: tuple[str, IdColumn], listed: tuple[str, Vocabulary], rows: np.ndarray, scores: np.ndarray
    ) -> Any:
        """Make one table of the lists, without what only fills them up."""
        (asked_col, ids), (listed_col, vocabulary) = asked, listed
        there = rows >= 0
        ranks = np.broadcast_to(np.arange(1, rows.shape[1] + 1, dtype=np.int32), rows.shape)
        columns = {
            asked_col: ids.take(np.repeat(np.arange(len(ids)), np.count_nonzero(there, axis=1))),
            listed_col: vocabulary.decode(rows[there]),
            "score": scores[there],
            "rank": ranks[there],
        }
        return self._build(columns)

    # --- one file -----------------------------------------------------------------------------------------------------

    def _shared_state(self) -> State:
        meta: dict[str, Any] = {"frame": self._frame_kind}
        arrays = {"seen_offsets": self._seen[0], "seen_items": self._seen[1], "item_counts": self._item_counts}
        for name, vocabulary in (("users", self._users), ("items", self._items)):
            meta[name], vocabulary_arrays = vocabulary.state()
            arrays.update(prefix(name, vocabulary_arrays))
        return meta, arrays

    def _restore_shared(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self._remember(
            users=Vocabulary.from_state(meta["users"], unprefix("users", arrays)),
            items=Vocabulary.from_state(meta["items"], unprefix("items", arrays)),
            seen_offsets=arrays["seen_offsets"],
            seen_items=arrays["seen_items"],
            item_counts=arrays["item_counts"],
            frame_kind=meta["frame"],
        )


def _as_fitted(ids: IdColumn, fitted: IdType) -> IdColumn:
    """Bring ids that were not there in `fit` to its dtype, where that can hold them."""
    if ids.dtype.kind != fitted.kind or fitted.levels:
        return ids
    # As distinct values and rows: what a categorical column is made of.
    asked = Vocabulary.fit(ids, missing="skip")
    ids = replace(asked.ids, rows=asked.encode(ids))
    if ids.values.dtype == object:
        return replace(ids, dtype=fitted)
    wanted = f"datetime64[{fitted.name}]" if fitted.kind == "datetime" else fitted.name or ids.values.dtype
    values, same = comparable(ids.values, np.dtype(wanted))
    return ids if same is not None and not same.all() else replace(ids, values=values, dtype=fitted)
