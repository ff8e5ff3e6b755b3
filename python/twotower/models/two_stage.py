"""Two stages: a retriever finds some hundred candidates, a ranker that learned inside such lists puts the best on top."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower import frames
from twotower.errors import DataError
from twotower.interactions import Encoded
from twotower.item_lists import Filters
from twotower.models._asked import Asked, Given, GivenToEach, askers
from twotower.models._cross_fit import WAYS, Examples, Fold, cross_fitted
from twotower.models._estimator import State, fresh
from twotower.models._frame_ranker import FrameRanker
from twotower.models._options import check_choice, check_column_name, check_count, check_number, named_options
from twotower.models._pair_model import PairModel
from twotower.models._pair_stage import PairStage, Scale, check_learns_inside, fit_pairs
from twotower.models._recommend import Recommender
from twotower.models._second_stage import ModelStage, SecondStage, check_stages
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
    holdout_ndcg_ : (float, float) or None
        NDCG@10 of the retriever's order and of the ranker's among the candidates of users that the ranker did not learn from.
        None where there was no `Ranker` to learn, or too few users.

    Notes
    -----
    With "time" the copy meets what a service meets: later rows, and only those of users it knows. Where most rows are of new
    users these are few, and the ranker learns little. The other two have more examples, but their copies know which items are
    about to become popular; "random" also learns to find what stood between known rows, not what comes after them.

    A `Ranker` adds what it learns to the retriever's score. A tenth of the users with held-out positives (of few users more, of
    very few none) is kept from it to measure its epochs by: the best one is kept, and `ranker.learning_curve_` shows them.
    Where even that one is no better than the retriever's order, `fit` warns, and what the ranker learned is thrown away, so that
    lists are the retriever's; only a ranker under a retriever without vectors, whose score it cannot read, stays as it is.

    A copy with a context is asked at the moment of a person's first held-out row, a `Ranker` with one is measured at the moment of
    each; the vectors of users that a retriever gives are of no moment, whatever the hour of `fit` and of `recommend`.

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
        scale, recall, ndcg, by_frame = Scale(), float("nan"), None, None
        if isinstance(self.ranker, Ranker) or not isinstance(self.ranker, Recommender):
            pairs, folds, examples = self._cross_fitted(retriever, table, with_exam)
            recall = examples.recall
            if isinstance(self.ranker, Ranker):
                scale, ndcg = fit_pairs(
                    self.ranker, retriever, pairs, folds, examples, table, users, items, self.random_state
                )
            else:
                by_frame = FrameRanker(self.ranker, retriever, users, items)
                by_frame.fit(pairs, folds, examples, self.negatives, self.random_state)
        else:
            self.ranker.fit(interactions, **tables)  # type: ignore[attr-defined]

        # Nothing can fail from here on. The retriever that the caller holds takes over what the new one learned.
        vars(self.retriever).update(vars(retriever))
        self._join(scale, recall, ndcg, by_frame)
        if ndcg is not None and ndcg[1] <= ndcg[0]:
            reads = "given" in self.ranker._architecture.meeting
            # The caller's line: above are this function and its check of names.
            warnings.warn(
                f"fit: the ranker's order is no better than the retriever's own: ndcg@10 {ndcg[1]:.4f} against {ndcg[0]:.4f} among "
                f"the candidates of users it did not learn from{'; the retriever is followed' if reads else ''}; give it a smaller "
                "network, a larger holdout or more folds, or use the retriever alone",
                stacklevel=3,
            )
        return self

    def _check_options(self) -> None:
        check_stages("fit", self.retriever, self.ranker)
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
            check_learns_inside(self.ranker)

    def _cross_fitted(
        self, retriever: Recommender, table: frames.Frame, tables: dict[str, Any]
    ) -> tuple[Encoded, list[Fold], Examples]:
        return cross_fitted(
            self.retriever,
            retriever,
            table,
            tables,
            way=self.cross_fit,
            time_col=self._time_column,
            holdout=self.holdout,
            folds=self.folds,
            candidates=self.candidates,
            graded=isinstance(self.ranker, Ranker) and self.ranker.target is not None,
            seed=self.random_state,
            num_threads=self._num_threads("fit"),
        )

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
        check_stages("TwoStage.of", retriever, ranker)
        check_count("TwoStage.of", "candidates", candidates)
        for stage in (retriever, ranker):
            if isinstance(stage, Recommender):
                stage._check_fitted("TwoStage.of")
        made._join(Scale(), float("nan"), None, None)
        if isinstance(ranker, Recommender):
            made._second_stage("TwoStage.of")
        return made

    def _join(
        self, scale: Scale, recall: float, ndcg: tuple[float, float] | None, by_frame: FrameRanker | None
    ) -> None:
        self._scale, self.holdout_recall_, self.holdout_ndcg_ = scale, recall, ndcg
        self._follow_retriever()
        if not isinstance(self.ranker, Recommender):
            self._by_frame = by_frame or FrameRanker(self.ranker, self.retriever)

    def _second_stage(self, where: str) -> SecondStage:
        ranker = self.ranker
        if not isinstance(ranker, Recommender):
            return self._by_frame
        kept: ModelStage | None = self._cache.get("second stage")
        if kept is None or not kept.is_of(ranker):
            if isinstance(ranker, PairModel):
                kept = PairStage(ranker, self._users, self._items, where, self._scale)
            else:
                kept = ModelStage(ranker, self._users, self._items, where)
            self._cache["second stage"] = kept
        return kept

    # --- lists --------------------------------------------------------------------------------------------------------

    def _top_k(
        self, asked: Asked, k: int, *, filter_seen: bool, filters: Filters, num_threads: int
    ) -> tuple[Array, Array]:
        width = min(self.candidates, self._items.size)
        if k > width:
            raise ValueError(
                f"recommend: k is {k}, but the ranker is given {self.candidates} candidates a user; ask for at most that many, "
                f"or make the TwoStage with candidates={k}"
            )
        self._check_retriever()
        second = self._second_stage("recommend")
        if isinstance(second, PairStage) and second.follows(self.retriever):
            left_out = self.retriever._filter_arguments(asked, filters, filter_seen=filter_seen)
            return second.search(self.retriever, asked, width, k, left_out, num_threads)
        found = self._retrieved(asked, width, filter_seen=filter_seen, filters=filters, num_threads=num_threads)
        return second.ranked(found, k, num_threads, GivenToEach.part_of(asked.given, 1))

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
        second, depth = self._second_stage("recommend"), min(k, width)
        best[known, :depth] = second.ranked(found, depth, num_threads, GivenToEach.part_of(served.given, 1))[0]
        return rows, best

    def _score_pairs(
        self, user_rows: Array, item_rows: Array, *, num_threads: int, moments: Given | None = None
    ) -> Array:
        second = self._second_stage("predict")
        first_at, second_at = (GivenToEach.part_of(moments, place) for place in (0, 1))
        scores = self.retriever._score_pairs(user_rows, item_rows, num_threads=num_threads, moments=first_at)
        ranks = np.zeros(len(user_rows), dtype=np.int64)
        if second.reads_ranks:
            # The place that each would have among the user's candidates.
            first, of_pair = askers(user_rows, moments)
            given, width = None if moments is None else moments.take(first), min(self.candidates, self._items.size)
            asked, filters = Asked.known(self._users, user_rows[first], given), Filters(allowed=self._available)
            found = self._retrieved(asked, width, filter_seen=True, filters=filters, num_threads=num_threads)
            ranks = found.ranks_of(of_pair, item_rows, scores)
        return second.linked(second.score(user_rows, item_rows, scores, ranks, "predict", num_threads, second_at))

    # --- one file -----------------------------------------------------------------------------------------------------

    def _state(self) -> State:
        recall = None if np.isnan(self.holdout_recall_) else self.holdout_recall_
        return {"scale": [self._scale.mean, self._scale.deviation], "recall": recall, "ndcg": self.holdout_ndcg_}, {}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self._scale = Scale(*meta["scale"])
        self.holdout_recall_ = float("nan") if meta["recall"] is None else float(meta["recall"])
        self.holdout_ndcg_ = None if meta["ndcg"] is None else tuple(meta["ndcg"])

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
