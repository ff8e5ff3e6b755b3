"""What the features of a second stage are worth: what the lists lose without each, the candidates staying the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from twotower import frames
from twotower.evaluation._metrics import PER_USER, parse
from twotower.item_lists import Filters, Lists
from twotower.models._asked import Asked, Given, GivenToEach
from twotower.models._cross_fit import Candidates
from twotower.models._first_stage import Retrieving
from twotower.models._frame_ranker import FrameRanker
from twotower.models._given import UsersGiven
from twotower.models._histories import Histories
from twotower.models._importance import GIVEN_SCORE, Change, Weighing, check_weighing, importance_of
from twotower.models._lesson import read_validation
from twotower.models._options import named_options
from twotower.models._pair_fitted import FittedPairs, scored_pairs
from twotower.models._pair_model import PairModel
from twotower.models._pair_stage import PairStage, Scale
from twotower.models._recommend import Recommender
from twotower.models._second_stage import SecondStage, best_of
from twotower.models._training import Validation

Array = np.ndarray
# Places in the frame of the candidates' users, their items, the retriever's scores and ranks -> scores.
Scoring = Callable[[Array, Array, Array, Array], Array]


@dataclass(frozen=True, eq=False)
class StageExam:
    """Users whose candidates are found, to be put in order.

    Attributes
    ----------
    validation : Validation (n users)
    found : Candidates (n)
    """

    validation: Validation
    found: Candidates

    def score(self, scoring: Scoring, num_threads: int) -> float:
        """The metric of the lists that these scores make of the candidates."""
        k = min(self.validation.cutoff, self.found.rows.shape[1])

        def ranked(places: Array, seen: Lists) -> Array:
            part = self.found.take(places)
            of_part, items, scores, ranks = part.pairs()
            raw = np.full(part.rows.shape, -np.inf, dtype=np.float32)
            raw[part.rows >= 0] = scoring(places[of_part], items, scores, ranks)
            return best_of(part, raw, k)[0]

        return self.validation.score_lists(ranked, num_threads)

    def with_scores(self, order: Array | None) -> StageExam:
        """The retriever's scores change places among all candidates, or are their mean for all."""
        there = self.found.rows >= 0
        scores, values = self.found.scores.copy(), self.found.scores[there]
        scores[there] = values.mean(dtype=np.float64) if order is None else values[order]
        return replace(self, found=replace(self.found, scores=scores))

    @property
    def candidates(self) -> int:
        """How many there are in all."""
        return int(np.count_nonzero(self.found.rows >= 0))


@dataclass(frozen=True, eq=False)
class PairStageExam:
    """What a model of pairs makes of the candidates.

    Attributes
    ----------
    exam : StageExam (n users)
    stage_rows : int32 (users,), int32 (items,)
        The model's rows of the retriever's.
    scale : Scale or None
        Of the retriever's scores, where the model reads them.
    moments : UsersGiven (n) or None
    """

    exam: StageExam
    stage_rows: tuple[Array, Array]
    scale: Scale | None
    moments: UsersGiven | None
    rising: bool = True

    @property
    def label(self) -> str:
        return self.exam.validation.label

    def at(self, moments: UsersGiven) -> PairStageExam:
        return replace(self, moments=moments)

    def score(self, fitted: FittedPairs, stored: Histories | None, num_threads: int) -> float:
        vectors, (users, items) = fitted.item_vectors(num_threads), self.stage_rows

        def scoring(places: Array, item_rows: Array, scores: Array, ranks: Array) -> Array:
            return scored_pairs(
                fitted,
                vectors,
                (users[self.exam.validation.users[places]], items[item_rows]),
                num_threads,
                stored=stored,
                moments=None if self.moments is None else self.moments.take(places),
                given=None if self.scale is None else self.scale(scores),
            )

        return self.exam.score(scoring, num_threads)


class WeighingStages(Retrieving):
    """`feature_importance` of two stages."""

    candidates: int

    def _second_stage(self, where: str) -> SecondStage:
        raise NotImplementedError

    @named_options
    def feature_importance(
        self, test: Any = None, *, method: str = "permutation", repeats: int = 3, random_state: int = 0
    ) -> Any:
        """Weigh the features of the second stage by what the lists lose without each.

        Parameters
        ----------
        test : DataFrame
            Interactions that `fit` has not seen; users that the model does not know are left out. Not needed for "cross".
        method : {"permutation", "ablation", "cross"}
            As in `Ranker.feature_importance`. Of an object with `predict` the columns of its frames change places; it has
            "permutation" alone.
        repeats : int, at least 1
            Permutations a feature, whose mean is taken.
        random_state : int
            Seed of the permutations.

        Returns
        -------
        DataFrame of the kind that `fit` was given
            As `Ranker.feature_importance`: by how much the metric of the lists falls, which is the ranker's `eval_metric` where
            that is one of lists, else ndcg@10. On the side "retriever" is the score that the first stage gives with each
            candidate (and, of an object with `predict`, the rank); the vectors that it gives are among the features of users and
            of items, as "retriever's vector".

        Raises
        ------
        NotFittedError, SchemaError, DataError
            Before `fit`; `test` lacks a column, or has no user that can be measured.
        ValueError, TypeError
            An option is out of range; `test` is missing; the ranker has no features of its own inside the candidates.

        Notes
        -----
        The candidates stay as they are, found once with what `test` says of the moment: what the first stage's features are worth
        its own `feature_importance` says. Cost: `repeats` rankings of the candidates of all test users for each feature.
        """
        self._check_fitted("feature_importance")
        repeats = check_weighing(test, method, repeats, random_state)
        ranker = self.ranker
        if isinstance(ranker, Recommender) and not isinstance(ranker, PairModel):
            cure = (
                "which scores candidates as it scores everything; ask it by two.ranker.feature_importance(test)"
                if isinstance(ranker, Weighing)
                else "which has no features to weigh; use a Ranker"
            )
            raise TypeError(f"feature_importance: the ranker is a {type(ranker).__name__}, {cure}")
        if method == "cross" and isinstance(ranker, PairModel):
            return ranker._cross_importance()
        if method != "permutation" and not isinstance(ranker, PairModel):
            raise ValueError(
                f"feature_importance: method is {method!r}, but the ranker is a {type(ranker).__name__}, of which is known what it "
                'is given and not what it makes of missing values; pass method="permutation"'
            )
        table = frames.table(test, "feature_importance: test")
        exam, moments = self._stage_exam(table)
        second = self._second_stage("feature_importance")
        if isinstance(second, FrameRanker):
            return self._weighed_frames(second, exam, repeats, random_state)
        assert isinstance(second, PairStage)
        measure = PairStageExam(
            exam,
            (second.user_rows, second.item_rows),
            second.scale if second.reads_scores else None,
            moments if isinstance(moments, UsersGiven) else None,
        )
        more = [self._without_score(ranker, measure, method)] if second.reads_scores else []
        return ranker._weighed(measure, table.columns, method, repeats, random_state, more)

    def _stage_exam(self, table: frames.Frame) -> tuple[StageExam, Given | None]:
        """Whom to measure and their candidates, and what the ranker reads of their moments."""
        what, num_threads = "feature_importance: test", self._num_threads("feature_importance")
        metric = self.ranker._metric if isinstance(self.ranker, PairModel) else "ndcg@10"
        if parse(metric)[0].name not in PER_USER:
            metric = "ndcg@10"
        validation, first = read_validation(
            self, metric, table, self._users, self._items, self._seen, what, self._time_column, self._available
        )
        given = self._read_moments(frames.take(table, first), what)
        asked = Asked.known(self._users, validation.users, given)
        width = min(self.candidates, self._items.size)
        filters = Filters(allowed=self._available)
        found = self._retrieved(asked, width, filter_seen=True, filters=filters, num_threads=num_threads)
        return StageExam(validation, found), GivenToEach.part_of(given, 1)

    @staticmethod
    def _without_score(ranker: PairModel, measure: PairStageExam, method: str) -> Change:
        def change(random: np.random.Generator) -> Any:
            order = random.permutation(measure.exam.candidates) if method == "permutation" else None
            return ranker._sides, ranker._histories, replace(measure, exam=measure.exam.with_scores(order))

        return (*GIVEN_SCORE, change)

    def _weighed_frames(self, made: FrameRanker, exam: StageExam, repeats: int, random_state: int) -> Any:
        """The columns of the frames that an object with `predict` is given."""
        num_threads = self._num_threads("feature_importance")

        def score(exam: StageExam, rank_order: Array | None = None, **moved: Any) -> float:
            def scoring(places: Array, items: Array, scores: Array, ranks: Array) -> Array:
                users = exam.validation.users[places]
                shown = ranks if rank_order is None else rank_order[places, ranks - 1]
                return made.score(users, items, scores, shown, "feature_importance", num_threads, **moved)

            return exam.score(scoring, num_threads)

        def without(side: str, name: str, rows: int) -> Callable[[np.random.Generator], float]:
            return lambda random: score(exam, moved={(side, name): random.permutation(rows)})

        def without_scores(random: np.random.Generator) -> float:
            return score(exam.with_scores(random.permutation(exam.candidates)))

        def without_ranks(random: np.random.Generator) -> float:
            there = exam.found.rows >= 0
            ranks = np.broadcast_to(np.arange(1, there.shape[1] + 1), there.shape).copy()
            ranks[there] = random.permutation(ranks[there])
            return score(exam, ranks)

        changes = [(side, name, without(side, name, rows)) for side, name, rows in made.features]
        changes += [(*GIVEN_SCORE, without_scores), (GIVEN_SCORE[0], "retriever_rank", without_ranks)]
        return self._build(importance_of(changes, score(exam), repeats, random_state, rising=True))
