"""Two stages: a retriever finds some hundred candidates, a ranker that learned inside such lists puts the best on top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower import frames
from twotower.errors import DataError, SchemaError, UnknownIdError
from twotower.interactions import Encoded, encode_interactions
from twotower.item_lists import Filters
from twotower.models._asked import Asked, Given, GivenToEach, askers
from twotower.models._columns import history_of
from twotower.models._cross_fit import (
    WAYS,
    Candidates,
    Examples,
    Fold,
    cross_fit,
    examples_of,
    groups_of,
    held_out,
)
from twotower.models._estimator import State, fresh
from twotower.models._options import (
    check_choice,
    check_column_name,
    check_count,
    check_number,
    named_options,
)
from twotower.models._pair_model import PairModel
from twotower.models._reading import column_options
from twotower.models._recommend import Recommender
from twotower.models._second_stage import FrameRanker, Scale, best_of, fit_pairs, reads_scores
from twotower.models._stage_importance import WeighingStages
from twotower.models.ranker import Ranker

if TYPE_CHECKING:
    from typing_extensions import Self

Array = np.ndarray


class TwoStage(WeighingStages, kind="two_stage"):
    """Retrieve candidates with one model and rank them with another, which is trained inside the first one's candidates.

    A ranker that learned to tell films people saw from films drawn at random is of little help among the 500 that a
    retriever already found likely. So a part of the interactions is kept from a copy of the retriever; that copy's
    candidates for the users of this part are lists like those that will be served, with positives that the retriever has
    not memorized, and the ranker learns to find them there. At the end the retriever is fitted on everything.

    Parameters
    ----------
    retriever : recommender of this package
        Fitted in place. Its options say how the tables are read.
    ranker : Ranker, another recommender, or any object with `predict`
        A `Ranker` learns inside the candidates: its negatives are drawn from the user's own, and beside its own columns it
        reads the retriever's score and (where there are some) the retriever's vectors of user and item, which stay as
        they are. An object with `fit(X, y)` and `predict(X)` (scikit-learn, LightGBM, CatBoost), or with `predict(X)` alone,
        is given frames of candidates (see Notes). Any other recommender is fitted on all interactions, as by itself, and
        scores the candidates.
    candidates : int
        Items a user that the retriever gives to the ranker; no list is longer.
    cross_fit : {"time", "last", "random"}, optional
        What is kept from the retriever's copy: the newest rows of all, the newest of each user, or any. None takes "time"
        where there is a `time_col`, else "random".
    holdout : float in (0, 1)
        Share of the rows kept back, of all or of each user.
    folds : int
        Users are dealt to so many groups, and a copy of the retriever is fitted without the held-out rows of each: more
        copies, each nearer to the final one. `fit` takes the time of `folds` + 1 retrievers.
    time_col : str, optional
        Column of times. None takes the retriever's.
    negatives : int
        Candidates a positive that an object with `fit(X, y)` is given as negatives; a `Ranker` has an option of its own.
    random_state : int
        Seed of "random", of the groups and of those negatives.
    n_jobs : int
        Threads; -1 is every CPU this process may use. Results do not depend on it.
    verbose : int
        0: no bar in `recommend`. Retriever and ranker have their own.

    Attributes
    ----------
    user_ids_, item_ids_, history_
        Those of the retriever.
    holdout_recall_ : float
        Share of the held-out positives that were among their user's candidates: what the second stage learned from, and
        about the most that it can find.

    Notes
    -----
    With "time" the copy meets what a service meets: later rows, and only those of users it knows. The other two have more
    examples, but their copies know which items are about to become popular.

    A copy with a context is asked at the moment of a person's first held-out row; the vectors of users that it gives are of no
    moment, whatever the hour of `fit` and of `recommend`.

    Vectors of the copies are turned into the axes of the final retriever's (orthogonal Procrustes), which leaves their
    products as they are. Scores are shifted and scaled to mean 0 and deviation 1 over the candidates. A retriever without
    vectors gives a `Ranker` its order only, by the candidates that it lets through.

    The frame of an object with `predict` has a row a candidate: the columns of ids, those of `users` and of `items`,
    `retriever_score` and `retriever_rank` (from 1; in `predict` of this class the place that the score would have among the
    candidates). `y` is 1 for a held-out positive. Where its `fit` has `group` or `group_id` it is told whose rows these are.
    Of a classifier the chance of the last class is taken. Such an object is kept in memory, but not in a file.

    `recommend` ranks the best `candidates` under the same filters; a user's frame may bring what the retriever makes
    something of. Metrics of `tt.evaluate` divide by all relevant items; those with `|candidates` do not, see there.

    Examples
    --------
    >>> import twotower as tt
    >>> data = tt.datasets.synthetic(num_users=200, num_items=80, num_interactions=4000)
    >>> retriever = tt.TwoTower(epochs=2, random_state=0, verbose=0)
    >>> ranker = tt.Ranker(loss="bpr", epochs=2, random_state=0, verbose=0)
    >>> two = tt.TwoStage(retriever=retriever, ranker=ranker, candidates=20).fit(data.ratings)
    >>> two.recommend([1], k=3)["rank"].tolist()
    [1, 2, 3]
    """

    @named_options
    def __init__(
        self,
        *,
        retriever: Any,
        ranker: Any,
        candidates: int = 500,
        cross_fit: str | None = None,
        holdout: float = 0.2,
        folds: int = 1,
        time_col: str | None = None,
        negatives: int = 20,
        random_state: int = 0,
        n_jobs: int = -1,
        verbose: int = 1,
    ) -> None:
        self.retriever = retriever
        self.ranker = ranker
        self.candidates = candidates
        self.cross_fit = cross_fit
        self.holdout = holdout
        self.folds = folds
        self.time_col = time_col
        self.negatives = negatives
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    # --- what is the retriever's --------------------------------------------------------------------------------------

    def _of_retriever(self, option: str) -> Any:
        return getattr(self.retriever, option, None)

    @property
    def user_col(self) -> str:  # type: ignore[override]
        """The retriever's."""
        return self.retriever.user_col  # type: ignore[no-any-return]

    @property
    def item_col(self) -> str:  # type: ignore[override]
        """The retriever's."""
        return self.retriever.item_col  # type: ignore[no-any-return]

    @property
    def rating_col(self) -> str | None:
        """The retriever's."""
        return self._of_retriever("rating_col")  # type: ignore[no-any-return]

    @property
    def min_rating(self) -> float | None:
        """The retriever's."""
        return self._of_retriever("min_rating")  # type: ignore[no-any-return]

    @property
    def weight_col(self) -> str | None:
        """The retriever's."""
        return self._of_retriever("weight_col")  # type: ignore[no-any-return]

    # --- what belongs to the moment, of either stage --------------------------------------------------------------------

    @property
    def _has_context(self) -> bool:
        return any(stage._has_context for stage in (self.retriever, self.ranker) if isinstance(stage, Recommender))

    @property
    def _time_column(self) -> str | None:
        own: str | None = self.time_col or self._of_retriever("time_col")
        return own

    def _read_users(self, frame: frames.Frame, rows: Array, where: str) -> Given | None:
        return GivenToEach.to_each(
            self.retriever._read_users(frame, rows, where), self._moments_of_ranker(frame, where)
        )

    def _read_moments(self, frame: frames.Frame, where: str) -> Given | None:
        return GivenToEach.to_each(self.retriever._read_moments(frame, where), self._moments_of_ranker(frame, where))

    def _moments_of_ranker(self, frame: frames.Frame, where: str) -> Given | None:
        return self.ranker._read_moments(frame, where) if isinstance(self.ranker, Recommender) else None

    # --- fit ----------------------------------------------------------------------------------------------------------

    @named_options
    def fit(self, interactions: Any, users: Any = None, items: Any = None, *, eval_set: Any = None) -> Self:
        """Fit the retriever, and the ranker inside the candidates of copies of it.

        Parameters
        ----------
        interactions : DataFrame
            As the retriever takes them; the ranker's columns too.
        users, items : DataFrame, optional
            For both stages.
        eval_set : DataFrame, optional
            For the retriever and its copies.

        Returns
        -------
        self

        Raises
        ------
        SchemaError, DataError
            What the stages raise; no held-out positive is among the candidates; there is nothing to hold out.
        ValueError, TypeError
            An option is out of range or of the wrong kind; a stage is none.

        Notes
        -----
        Where this fails the retriever is as it was before.
        """
        self._check_options()
        table = frames.table(interactions, "fit: interactions")
        tables = {"users": users, "items": items}
        with_exam = tables if eval_set is None else tables | {"eval_set": eval_set}
        retriever = fresh(self.retriever).fit(interactions, **with_exam)
        scale, recall, by_frame = Scale(), float("nan"), None
        if isinstance(self.ranker, Ranker) or not isinstance(self.ranker, Recommender):
            pairs, folds, examples = self._cross_fitted(retriever, table, with_exam)
            recall = examples.recall
            if isinstance(self.ranker, Ranker):
                scale = fit_pairs(self.ranker, retriever, folds, examples, table, users, items)
            else:
                by_frame = self._fit_by_frame(retriever, pairs, folds, examples, tables)
        else:
            self.ranker.fit(interactions, **tables)  # type: ignore[attr-defined]

        # Nothing can fail from here on. The retriever that the caller holds takes over what the new one learned.
        vars(self.retriever).update(vars(retriever))
        self._join(scale, recall, by_frame)
        return self

    def _check_options(self) -> None:
        _check_stages("fit", self.retriever, self.ranker)
        check_count("fit", "candidates", self.candidates)
        if self.cross_fit is not None:
            check_choice("fit", "cross_fit", self.cross_fit, WAYS)
        check_number("fit", "holdout", self.holdout, above=0, maximum=0.99)
        check_count("fit", "folds", self.folds)
        check_column_name("fit", "time_col", self.time_col, optional=True)
        check_count("fit", "negatives", self.negatives)
        check_count("fit", "random_state", self.random_state, minimum=0)
        self._num_threads("fit")
        if self.cross_fit in ("time", "last") and self._time_column is None:
            raise ValueError(
                f'fit: cross_fit is {self.cross_fit!r}, but there is no column of times; pass time_col="timestamp", or '
                'cross_fit="random"'
            )
        if isinstance(self.ranker, Ranker):
            if self.ranker.interaction == "fm":
                raise ValueError(
                    "fit: the ranker has interaction 'fm', which has no place for the retriever's score; use 'dcn', 'concat' "
                    "or 'product'"
                )
            if history_of(self.ranker.user_features) is not None:
                raise ValueError(
                    "fit: the ranker has a History among user_features, but sees the held-out rows alone here; give it to the "
                    "retriever, whose vectors the ranker reads"
                )

    def _cross_fitted(
        self, retriever: Recommender, table: frames.Frame, tables: dict[str, Any]
    ) -> tuple[Encoded, list[Fold], Examples]:
        pairs = encode_interactions(
            table, **column_options(retriever), users=retriever._users, items=retriever._items, what="fit"
        )
        way = self.cross_fit or ("random" if self._time_column is None else "time")
        times = None
        if self._time_column is not None:
            series = frames.column(table, self._time_column, "fit: interactions")
            times = frames.times(series, f"fit: column {self._time_column!r}")
        held = held_out(way, self.holdout, pairs.user_rows, times, self.random_state)
        folds = list(
            cross_fit(
                self.retriever,
                retriever,
                table,
                tables,
                held,
                pairs.user_rows,
                times,
                groups_of(retriever._users.size, self.folds, self.random_state),
                self.candidates,
                self._num_threads("fit"),
            )
        )
        if not any(len(fold.candidates.users) for fold in folds):
            raise DataError(
                f"fit: cross_fit={way!r} with holdout={self.holdout:g} leaves no user with rows on both sides, so there is "
                'nothing to learn the second stage from; pass another holdout, or cross_fit="random"'
            )
        folds = [fold for fold in folds if len(fold.candidates.users)]
        positive = np.ones(len(pairs.user_rows), dtype=np.bool_) if pairs.weights is None else pairs.weights > 0
        examples = examples_of(
            folds,
            held,
            positive,
            pairs.user_rows,
            pairs.item_rows,
            (retriever._users.size, retriever._items.size),
            graded=isinstance(self.ranker, Ranker) and self.ranker.target is not None,
        )
        return pairs, folds, examples

    def _fit_by_frame(
        self,
        retriever: Recommender,
        pairs: Encoded,
        folds: list[Fold],
        examples: Examples,
        tables: Mapping[str, Any],
    ) -> FrameRanker:
        sides = [
            None if table is None else frames.table(table, f"fit: {side}")
            for side, table in ((side, tables[side]) for side in ("users", "items"))
        ]
        made = FrameRanker(self.ranker, retriever, *sides)
        keys = pairs.user_rows[examples.rows].astype(np.int64) * retriever._items.size + pairs.item_rows[examples.rows]
        made.fit(folds, examples, keys, self.negatives, self.random_state)
        return made

    @classmethod
    def of(cls, retriever: Recommender, ranker: Any, *, candidates: int = 500, n_jobs: int = -1) -> TwoStage:
        """Put two fitted models together, as they are.

        Parameters
        ----------
        retriever : recommender of this package
            Fitted.
        ranker : recommender of this package, or any object with `predict`
            Fitted on the same users and items, or more. An object with `predict` is given ids and the retriever's score and
            rank.
        candidates, n_jobs : int
            See the class.

        Returns
        -------
        TwoStage
            Fitted.

        Raises
        ------
        UnknownIdError
            The ranker does not know a user or an item of the retriever.
        NotFittedError, TypeError
            A model is not fitted, or none.
        """
        made = cls(retriever=retriever, ranker=ranker, candidates=candidates, n_jobs=n_jobs)
        _check_stages("TwoStage.of", retriever, ranker)
        check_count("TwoStage.of", "candidates", candidates)
        for stage in (retriever, ranker):
            if isinstance(stage, Recommender):
                stage._check_fitted("TwoStage.of")
        made._join(Scale(), float("nan"), None)
        if isinstance(ranker, Recommender):
            made._stage_rows("TwoStage.of")
        return made

    def _join(self, scale: Scale, recall: float, by_frame: FrameRanker | None) -> None:
        retriever: Recommender = self.retriever
        self._scale, self.holdout_recall_ = scale, recall
        self._follow_retriever()
        if not isinstance(self.ranker, Recommender):
            self._by_frame = by_frame or FrameRanker(self.ranker, retriever, None, None)

    def _follow_retriever(self) -> None:
        retriever: Recommender = self.retriever
        self._remember(
            users=retriever._users,
            items=retriever._items,
            seen_offsets=retriever._seen[0],
            seen_items=retriever._seen[1],
            item_counts=retriever._item_counts,
            frame_kind=retriever._frame_kind,
            catalogue=retriever._catalogue,
        )
        self._available = retriever._available

    def _stage_rows(self, where: str) -> tuple[Array, Array]:
        """The ranker's rows of the users and of the items."""
        ranker = self.ranker
        kept = self._cache.get("stage rows")
        if kept is not None and kept[0] is ranker._users and kept[1] is ranker._items:
            return kept[2], kept[3]
        found = []
        for side, own, other in (("users", self._users, ranker._users), ("items", self._items, ranker._items)):
            rows = other.encode(own.ids)
            if (rows < 0).any():
                raise UnknownIdError(
                    f"{where}: {other.unknown_text(own.ids, rows, f'{side} of the retriever, asked of the ranker')}; fit both "
                    "stages on the same interactions and tables"
                )
            found.append(rows.astype(np.int32))
        self._cache["stage rows"] = (ranker._users, ranker._items, *found)
        return found[0], found[1]

    # --- lists --------------------------------------------------------------------------------------------------------

    def _retrieved(
        self, asked: Asked, width: int, *, filter_seen: bool, filters: Filters, num_threads: int
    ) -> Candidates:
        if self.retriever._items is not self._items or self.retriever._users is not self._users:
            raise DataError(
                f"recommend: the retriever was fitted again or has grown since; fit this {type(self).__name__} again"
            )
        own = replace(asked, given=GivenToEach.part_of(asked.given, 0))
        rows, scores = self.retriever._top_k(
            own, width, filter_seen=filter_seen, filters=filters, num_threads=num_threads
        )
        return Candidates(asked.rows, rows, scores)

    def _top_k(
        self, asked: Asked, k: int, *, filter_seen: bool, filters: Filters, num_threads: int
    ) -> tuple[Array, Array]:
        width = min(self.candidates, self._items.size)
        if k > width:
            raise ValueError(
                f"recommend: k is {k}, but the ranker is given {self.candidates} candidates a user; ask for at most that many, "
                f"or make the TwoStage with candidates={k}"
            )
        found = self._retrieved(asked, width, filter_seen=filter_seen, filters=filters, num_threads=num_threads)
        return self._ranked_candidates(asked, found, k, num_threads)

    def _among(
        self, asked: Asked, k: int, *, filter_seen: bool, filters: Filters, num_threads: int
    ) -> tuple[Array, Array]:
        """The candidates, int32 (n, candidates), and the k best of them, int32 (n, k), for metrics."""
        width = min(self.candidates, self._items.size)
        rows, best = np.full((len(asked), width), -1, dtype=np.int32), np.full((len(asked), k), -1, dtype=np.int32)
        known = np.flatnonzero(asked.rows >= 0)
        served = asked.take(known)
        found = self._retrieved(
            served, width, filter_seen=filter_seen, filters=filters.take(known), num_threads=num_threads
        )
        rows[known] = found.rows
        best[known, : min(k, width)] = self._ranked_candidates(served, found, min(k, width), num_threads)[0]
        return rows, best

    def _ranked_candidates(self, asked: Asked, found: Candidates, k: int, num_threads: int) -> tuple[Array, Array]:
        """The k best of candidates by the second stage."""
        places, items, scores, ranks = found.pairs()
        moments = GivenToEach.part_of(asked.given, 1)
        at = None if moments is None else moments.take(places)
        raw = np.full(found.rows.shape, -np.inf, dtype=np.float32)
        raw[found.rows >= 0] = self._second((found.users[places], items), scores, ranks, at, "recommend", num_threads)
        rows, best = best_of(found, raw, k)
        return rows, self._linked(best)

    def _second(
        self,
        pairs: tuple[Array, Array],
        scores: Array,
        ranks: Array,
        moments: Given | None,
        where: str,
        num_threads: int,
    ) -> Array:
        """The second stage's scores, float32 (n,), of pairs (rows of users, of items) with the retriever's scores and ranks."""
        if not isinstance(self.ranker, Recommender):
            return self._by_frame.score(*pairs, scores, ranks, where)
        users, items = self._stage_rows(where)
        rows = (users[pairs[0]], items[pairs[1]])
        if not isinstance(self.ranker, PairModel):
            return self.ranker._score_pairs(*rows, num_threads=num_threads, moments=moments)
        given = self._scale(scores) if reads_scores(self.ranker) else None
        return self.ranker._raw_scores(*rows, num_threads=num_threads, moments=moments, given=given)

    def _linked(self, scores: Array) -> Array:
        return self.ranker._link(scores) if isinstance(self.ranker, PairModel) else scores

    def _score_pairs(
        self, user_rows: Array, item_rows: Array, *, num_threads: int, moments: Given | None = None
    ) -> Array:
        at = [GivenToEach.part_of(moments, place) for place in (0, 1)]
        scores = self.retriever._score_pairs(user_rows, item_rows, num_threads=num_threads, moments=at[0])
        ranks = np.zeros(len(user_rows), dtype=np.int64)
        if not isinstance(self.ranker, Recommender):
            # The place that each would have among the user's candidates.
            first, of_pair = askers(user_rows, moments)
            asked = Asked.known(self._users, user_rows[first], None if moments is None else moments.take(first))
            width = min(self.candidates, self._items.size)
            found = self._retrieved(
                asked, width, filter_seen=True, filters=Filters(allowed=self._available), num_threads=num_threads
            )
            for place in range(len(first)):
                of_user = of_pair == place
                better = found.scores[place] > scores[of_user, None]
                equal = (found.scores[place] == scores[of_user, None]) & (found.rows[place] < item_rows[of_user, None])
                ranks[of_user] = np.count_nonzero(better | (equal & (found.rows[place] >= 0)), axis=1) + 1
        return self._linked(self._second((user_rows, item_rows), scores, ranks, at[1], "predict", num_threads))

    # --- one file -----------------------------------------------------------------------------------------------------

    def _shared_state(self) -> State:
        # The retriever's file has it all.
        return {}, {} if self._available is None else {"available": self._available}

    def _restore_shared(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self._follow_retriever()
        self._available = arrays.get("available")

    def _state(self) -> State:
        recall = self.holdout_recall_
        return {"scale": [self._scale.mean, self._scale.deviation], "recall": None if np.isnan(recall) else recall}, {}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self._scale = Scale(*meta["scale"])
        self.holdout_recall_ = float("nan") if meta["recall"] is None else float(meta["recall"])

    def save(self, path: Any) -> None:
        """Write both stages to one file; see `Estimator.save`.

        Raises
        ------
        DataError
            The ranker is no model of this package, and a file of ours holds no code.
        """
        if not isinstance(self.ranker, Recommender):
            raise DataError(
                f"save: the ranker is a {type(self.ranker).__name__}, which a file of this package cannot hold; save "
                "two.retriever, keep the ranker by its own means, and put both together with TwoStage.of"
            )
        super().save(path)


def _check_stages(where: str, retriever: Any, ranker: Any) -> None:
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
