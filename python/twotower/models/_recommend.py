"""What every recommender can do, whatever its model: lists for users, scores of pairs, what it was fitted on."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from twotower import frame_parquet, frames
from twotower._core import core
from twotower.ids import Array, IdColumn
from twotower.item_lists import Filters, Lists
from twotower.models import _eligibility
from twotower.models._asked import Asked, Given, Question
from twotower.models._listing import Listing
from twotower.models._options import (
    NotOffered,
    check_choice,
    check_column_name,
    check_count,
    check_flag,
    check_n_jobs,
    check_number,
    named_options,
)
from twotower.models._progress import Bar
from twotower.models._remembered import Remembering, as_fitted

# Users a pass: enough to keep every thread busy, few enough that vectors and scores of a pass stay small beside the
# lists.
USERS_A_PASS = 8192
# Places in the lists of a pass: long lists have fewer users.
_PLACES_A_PASS = 1 << 22


class Recommender(Remembering):
    """Base of every model that ranks items for users.

    A subclass has the options `user_col`, `item_col`, `n_jobs` and `verbose` (and `rating_col`, `min_rating` where it reads
    ratings), and gives

    - `fit(interactions, users=None, items=None, ...)`, which ends with `self._remember(...)`, sets what it learned and
      returns `self`;
    - `_top_k(asked, k, ...)` and `_score_pairs(user_rows, item_rows, ...)`, whose scores are the same bits;
    - `_state()` and `_restore(meta, arrays)` for its own learned parts; ids, seen pairs, counts, the items' columns,
      removed items and options are kept here;
    - where it can serve users that were not there in `fit`: `_serves_unknown` and `_read_users(frame, rows, ...)`;
    - where its scores are ratings: `_predicts`, the name of the column;
    - where its scores depend on columns of the interaction: `_has_context`, `_read_moments(frame, ...)`, and `moments` of
      `_score_pairs`.

    Attributes
    ----------
    user_ids_, item_ids_ : Series of the kind that `fit` was given
        The users and the items the model knows, in the order of its rows; removed items keep their places.
    history_ : DataFrame of the kind that `fit` was given
        The (user, item) pairs that were seen, each once; what `filter_seen` leaves out.
    """

    # --- hooks --------------------------------------------------------------------------------------------------------

    @property
    def _serves_unknown(self) -> bool:
        """Whether `_top_k` takes users of row -1: those that were not there in `fit`."""
        return False

    @property
    def _predicts(self) -> str | None:
        """The column whose values `predict` predicts; None where scores only rank."""
        return None

    def _read_users(self, frame: frames.Frame, rows: np.ndarray, where: str) -> Given | None:
        """Read what a frame of users brings beside their ids.

        Parameters
        ----------
        frame : narwhals.DataFrame (n rows)
            As the caller gave it.
        rows : int32 (n,)
            The model's rows of the users, -1 for unknown ones.
        where : str
            Start of messages, such as "recommend: users".

        Returns
        -------
        Given or None
            Entry i is about row i of the frame; None where the model makes nothing of a frame.
        """
        return None

    @property
    def _has_context(self) -> bool:
        """Whether scores depend on columns of the interaction."""
        return False

    def _no_moment(self, count: int) -> Given | None:
        """Nothing known of the moment, for some users; None where a model has no context."""
        return None

    def _read_moments(self, frame: frames.Frame, where: str) -> Given | None:
        """Read the moments of interactions, one entry a row; None where the model or the frame has no context."""
        return None

    def _top_k(
        self, asked: Asked, k: int, *, filter_seen: bool, filters: Filters, num_threads: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rank items for some users.

        Parameters
        ----------
        asked : Asked (n)
            At most `USERS_A_PASS` users, known ones only unless the model says that it serves others.
        k : int, from 1 to the number of items
        filter_seen : bool
            Leave out what `self._seen` has for the user (see `_filter_arguments`).
        filters : Filters
            What else is left out; about the same n users.

        Returns
        -------
        rows, scores : int32 (n, k), float32 (n, k)
            Best first, equal scores by the smaller row; row -1 and score -inf where fewer than k items are left.
        """
        raise NotImplementedError

    def _score_pairs(
        self, user_rows: np.ndarray, item_rows: np.ndarray, *, num_threads: int, moments: Given | None = None
    ) -> np.ndarray:
        """Scores float32 (n,) of pairs of known rows, int32 (n,) each; the bits that `_top_k` gives.

        `moments` is what `_read_moments` read, an entry a pair, and None for a model without context.
        """
        raise NotImplementedError

    def _filter_arguments(self, asked: Asked, filters: Filters, *, filter_seen: bool) -> dict[str, Any]:
        """Make the arguments of `ItemIndex.top_k` that leave items out."""
        seen = Lists(asked.rows, *self._seen).arguments("seen") if filter_seen else {}
        return seen | filters.arguments()

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
        where: Any = None,
        on_unknown: str = "raise",
        as_arrays: bool = False,
        chunk_size: int | None = None,
        to: str | os.PathLike[str] | None = None,
    ) -> Any:
        """Rank items for users.

        Parameters
        ----------
        users : one id, ids, a frame with the user column, or None
            Whom to serve, in this order; a user given twice is served twice. None is everyone in `user_ids_`. What else
            a frame brings (features, a `history` list, columns of the context) is used by models that know what to make
            of it.
        k : int, at least 1
            Items a user.
        filter_seen : bool
            Leave out what the user has in the interactions of `fit` (in any row, of whatever weight or rating), and in
            the history that a frame of users brings.
        items : one id, ids, a frame with the item column, or None
            Allow list: nothing else appears. None allows every item. A frame with the user column too is an allow list
            a user: one who has no row in it gets nothing. Its users who are not asked for are passed over.
        exclude : one id, ids, a frame with the item column, or None
            Deny list: none of them appears; a frame with the user column too is a deny list a user. Ids that the model
            does not know are fine here: they cannot appear anyway.
        where : str or booleans (items,), optional
            Which items may appear, for all: a condition over the columns of the table of items that `fit` was given, as
            in `"year >= 1990 and 'Drama' in genres"` (see Notes), or True and False for each of `item_ids_`.
        on_unknown : {"raise", "warn", "popular", "features"}
            Users that the model does not know: an error; one warning and no rows; the items with the most interactions
            (under the same filters), whose scores are those counts; or the model's own lists by what the frame says of
            them, where it has features or a history to go by.
        as_arrays : bool
            Give rows of `item_ids_` and scores instead of a table.
        chunk_size : int, at least 1, optional
            Users a table: give an iterator over tables, each made when it is asked for, which one after the other are the
            whole table. There is one at least, be it empty.
        to : str or path, optional
            Name of a Parquet file, ending in .parquet: write the lists there as they are made, `chunk_size` users a row
            group (about a million rows if None). The file takes its name, and the place of an older one, when it is whole.
            Needs pyarrow.

        Returns
        -------
        DataFrame of the kind that `fit` was given
            `user_col`, `item_col` (ids in the dtypes of `fit`), `score` float32 (falling), `rank` int32 (from 1). A
            user for whom fewer than k items are left has fewer rows, down to none.
        rows, scores : int32 (n, k), float32 (n, k)
            With `as_arrays`: one line a user that is served; padded with row -1 and score -inf.
        iterator of DataFrame
            With `chunk_size`.
        to : str or path
            With `to`, as it was given: `pandas.read_parquet` and its like read the table that would have come without,
            in dtypes as near as a file of that library's own would keep them.

        Raises
        ------
        NotFittedError
            Before `fit`.
        UnknownIdError
            A user is unknown and `on_unknown` is "raise"; an item of `items` is unknown or was removed.
        SchemaError, DataError
            `where` names a column that the items do not have, or compares what cannot be compared; a frame has no ids
            in some rows, or the users of a frame of pairs are of another type than those asked for.
        ValueError, TypeError
            An option is out of range or of the wrong kind, or has another name here.
        ImportError
            `to` is given, but pyarrow is not installed.
        DataError
            `to` cannot be written.

        Notes
        -----
        The lists are exact under all filters together. Equal scores are ranked by the smaller row of `item_ids_`. A
        user's list does not depend on who else is asked for, nor on the number of threads. Cost: users x items x width
        multiplications, for users with an allow list of their own the list's length instead of all items. Memory beside
        the result (of a chunk): the lists of 8192 users (fewer where k is above 512, so at most 64 MB), and where ids are
        not plain numbers, 4 bytes a row for each of the two columns. A call of more than 8192 users that lasts shows a bar
        where somebody watches (`verbose=0`: never).

        Conditions have columns by name (`` `in quotes like these` `` where a name is no single word), numbers, text in
        quotes, `True`, `False`, `None`; comparisons, also chained (`1980 <= year < 1990`); `and`, `or`, `not`;
        arithmetic (`+ - * / // % **`); `in` and `not in` for a constant in a column of lists (`'Drama' in genres`, or
        `genres contains 'Drama'`), a value among constants (`year in (1994, 1995)`) and a piece of text (`'Love' in
        title`, upper and lower case told apart); `is None`. Times are compared with text such as `'1999-12-31'`, in
        UTC. A comparison with a missing value is false, whichever it is, and its `not` is true.
        """
        self._check_fitted("recommend")
        k = check_count("recommend", "k", k)
        filter_seen = check_flag("recommend", "filter_seen", filter_seen)
        as_arrays = check_flag("recommend", "as_arrays", as_arrays)
        chunk_size = None if chunk_size is None else check_count("recommend", "chunk_size", chunk_size)
        _check_form(as_arrays=as_arrays, chunk_size=chunk_size, to=to)
        self._check_on_unknown(on_unknown)
        asked = self._read_asked(users, on_unknown)
        filters = _eligibility.read(self, asked, items=items, exclude=exclude, where=where)
        if filter_seen and asked.given is not None and asked.given.seen is not None:
            own = Lists(np.arange(len(asked), dtype=np.int32), *asked.given.seen)
            filters = filters.denying(own, self._items.size)
        width, num_threads = min(k, self._items.size), self._num_threads("recommend")
        question = Question(asked, width, filter_seen, filters, on_unknown, num_threads)
        if as_arrays:
            rows, scores = self._arrays(question)
            padding = ((0, 0), (0, k - width))
            return np.pad(rows, padding, constant_values=-1), np.pad(scores, padding, constant_values=-np.inf)
        if to is not None:
            self._write(question, to, chunk_size)
            return to
        tables = self._tables(question, max(len(question), 1) if chunk_size is None else chunk_size)
        return tables if chunk_size is not None else next(tables)

    @named_options
    def predict(self, pairs: Any, *, on_unknown: str = "raise") -> np.ndarray:
        """Score given pairs of a user and an item.

        Parameters
        ----------
        pairs : DataFrame
            With `user_col` and `item_col`, and the columns of the context where a model has some: each row is scored at its own
            moment. What the frame lacks of these is as in `recommend`: a Timestamp is now, everything else missing. Other
            columns are not looked at.
        on_unknown : {"raise", "nan"}
            Pairs whose user or item the model does not know, or whose item was removed: an error, or NaN.

        Returns
        -------
        float32 (rows of `pairs`,)
            Larger is better; the bits that `recommend` gives for the pair at that moment. Seen pairs have scores too.

        Raises
        ------
        NotFittedError, SchemaError, UnknownIdError
            Before `fit`; a column is missing or, of the context, of another dtype than in `fit`; an id is unknown and
            `on_unknown` is "raise".
        """
        self._check_fitted("predict")
        check_choice("predict", "on_unknown", on_unknown, ("raise", "nan"))
        table = frames.table(pairs, "predict: pairs")
        cure = "leave these pairs out, or pass on_unknown='nan'" if on_unknown == "raise" else None
        user_rows, item_rows = self._pair_rows(table, "predict", "pairs", cure)
        known = np.flatnonzero((user_rows >= 0) & (item_rows >= 0))
        scores = np.full(len(user_rows), np.nan, dtype=np.float32)
        moments = self._read_moments(table, "predict: pairs")
        scores[known] = self._score_pairs(
            user_rows[known],
            item_rows[known],
            num_threads=self._num_threads("predict"),
            moments=None if moments is None else moments.take(known),
        )
        return scores

    # Of models that look at features; see `_importance.py`.
    feature_importance: Any = NotOffered(
        "learns from the interactions alone and has no features to weigh; use a TwoTower or a Ranker"
    )

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

    @property
    def _time_column(self) -> str | None:
        """The column of times of the interactions, where the model was told of one."""
        return getattr(self, "time_col", None)

    # --- whom to serve ------------------------------------------------------------------------------------------------

    def _check_on_unknown(self, on_unknown: str) -> None:
        check_choice("recommend", "on_unknown", on_unknown, ("raise", "warn", "popular", "features"))
        if on_unknown == "features" and not self._serves_unknown:
            raise ValueError(
                f"recommend: on_unknown is 'features', but this {type(self).__name__} has no features of users to go "
                "by; pass 'popular', or fit with these users"
            )

    def _read_asked(self, users: Any, on_unknown: str) -> Asked:
        """Read whom a caller wants lists for."""
        if users is None:
            return Asked.known(self._users, np.arange(self._users.size, dtype=np.int32))
        what = "recommend: users"
        table = frames.table(users, what) if frames.is_table(users) else None
        ids = self._given("recommend", "users", users if table is None else table, "user")
        rows = self._users.encode(ids, what)
        known = rows >= 0
        if on_unknown == "raise" and not known.all():
            others = "'warn', 'popular' or 'features'" if self._serves_unknown else "'warn' or 'popular'"
            self._users.encode_known(ids, what, f"leave them out, or pass on_unknown={others}")
        given = None if table is None else self._read_users(table, rows, what)
        if known.all():
            return Asked(self._users.decode(rows), rows, given)
        if on_unknown != "warn":
            return Asked(as_fitted(ids, self._users.dtype), rows, given)
        # The caller's line: above are this function, recommend and its check of names.
        warnings.warn(f"{self._users.unknown_text(ids, rows, what)}; they get no list", stacklevel=4)
        served = np.flatnonzero(known)
        return Asked(self._users.decode(rows[served]), rows[served], None if given is None else given.take(served))

    # --- lists --------------------------------------------------------------------------------------------------------

    def _ranked(
        self, asked: Asked, k: int, *, filter_seen: bool, filters: Filters, on_unknown: str, num_threads: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """`_top_k` for any number of users; users of row -1 get the popularity list, unless it is for the model."""
        return self._arrays(Question(asked, k, filter_seen, filters, on_unknown, num_threads))

    def _arrays(self, question: Question) -> tuple[np.ndarray, np.ndarray]:
        rows = np.empty((len(question), question.k), dtype=np.int32)
        scores = np.empty((len(question), question.k), dtype=np.float32)
        with self._bar(question) as bar:
            for first, of_pass, scores_of_pass in self._passes(question, bar):
                part = slice(first, first + len(of_pass))
                rows[part], scores[part] = of_pass, scores_of_pass
        return rows, scores

    def _columns(self, question: Question, frame_kind: str, bar: Bar) -> dict[str, Array | IdColumn]:
        """Make the columns of a table of the lists, for a library."""
        listing = self._listing(question, question.k, frame_kind)
        for first, rows, scores in self._passes(question, bar):
            listing.add(first, rows, scores)
        return listing.columns()

    def _listing(self, question: Question, width: int, frame_kind: str) -> Listing:
        return Listing((self.user_col, question.asked.ids), (self.item_col, self._items), width, frame_kind)

    def _tables(self, question: Question, chunk_size: int) -> Iterator[Any]:
        with self._bar(question) as bar:
            for start in range(0, max(len(question), 1), chunk_size):
                part = question.part(start, start + chunk_size)
                yield self._build(self._columns(part, self._frame_kind, bar))

    def _write(self, question: Question, path: Any, chunk_size: int | None) -> None:
        if chunk_size is None:  # whole passes, about a million rows
            a_pass = users_a_pass(question.k)
            chunk_size = a_pass * max(1, 2**20 // (a_pass * question.k))
        kind, one = self._frame_kind, np.zeros((min(1, len(question)), 1))
        sample = self._listing(question.part(0, 1), 1, kind)
        sample.add(0, one.astype(np.int32), one.astype(np.float32))
        with (
            frame_parquet.writing(path, "recommend: to", kind, sample.columns()) as file,
            self._bar(question) as bar,
        ):
            for start in range(0, max(len(question), 1), chunk_size):
                file.write(self._columns(question.part(start, start + chunk_size), "pyarrow", bar))

    def _passes(self, question: Question, bar: Bar) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Give the first user of each pass, and the lists of its users."""
        step = users_a_pass(question.k)
        for start in range(0, len(question), step):
            rows, scores = self._pass(question.part(start, start + step))
            yield start, rows, scores
            bar.add(len(rows))

    def _pass(self, question: Question) -> tuple[np.ndarray, np.ndarray]:
        known = question.asked.rows >= 0
        if question.on_unknown == "features" or known.all():
            return self._by_model(question)
        rows = np.empty((len(question), question.k), dtype=np.int32)
        scores = np.empty((len(question), question.k), dtype=np.float32)
        for served, serve in ((np.flatnonzero(known), self._by_model), (np.flatnonzero(~known), self._by_popularity)):
            if served.size:
                rows[served], scores[served] = serve(question.take(served))
        return rows, scores

    def _by_model(self, question: Question) -> tuple[np.ndarray, np.ndarray]:
        return self._top_k(
            question.asked,
            question.k,
            filter_seen=question.filter_seen,
            filters=question.filters,
            num_threads=question.num_threads,
        )

    def _by_popularity(self, question: Question) -> tuple[np.ndarray, np.ndarray]:
        """Rank by the number of interactions; scores are the counts."""
        if "popular" not in self._cache:
            counts = self._item_counts.astype(np.float32)[:, None]
            self._cache["popular"] = core.ItemIndex(counts, num_threads=question.num_threads)
        filters, count, k = question.filters, len(question), question.k
        # Without filters of their own all have the same list.
        different = 1 if filters.allow is None and filters.deny is None else count
        rows, scores = self._cache["popular"].top_k(
            np.ones((different, 1), dtype=np.float32), k, num_threads=question.num_threads, **filters.arguments()
        )
        return np.broadcast_to(rows, (count, k)), np.broadcast_to(scores, (count, k))

    def _bar(self, question: Question) -> Bar:
        # What is done in one pass is done before a bar could be looked at.
        lasts = len(question) > users_a_pass(question.k)
        return Bar("recommend", total=len(question), unit="user", verbose=self.verbose if lasts else 0)


def users_a_pass(k: int) -> int:
    """How many users are served at a time, whose lists have k places."""
    return max(1, min(USERS_A_PASS, _PLACES_A_PASS // max(k, 1)))


def _check_form(*, as_arrays: bool, chunk_size: int | None, to: Any) -> None:
    """Check how the lists are to be given back."""
    if as_arrays and not (chunk_size is None and to is None):
        other = "chunk_size" if to is None else "to"
        raise ValueError(
            f"recommend: as_arrays is True and {other} is given, but arrays come in one piece; leave one of them out"
        )
    if to is not None and not (isinstance(to, (str, os.PathLike)) and str(to).endswith(".parquet")):
        error = ValueError if isinstance(to, (str, os.PathLike)) else TypeError
        raise error(f"recommend: to is {to!r}, but must be the path of a Parquet file, such as 'lists.parquet'")
