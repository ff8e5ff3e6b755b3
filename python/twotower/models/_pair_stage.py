"""A model of pairs as second stage: it learns inside the candidates, and reads the retriever's score and vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from twotower import frames
from twotower._core import core
from twotower.errors import DataError, count_of
from twotower.interactions import Encoded
from twotower.models._asked import Asked, Given, GivenToEach
from twotower.models._candidate_exam import CandidateExam, users_to_measure
from twotower.models._columns import history_of
from twotower.models._cross_fit import Examples, Fold
from twotower.models._dot_product import DotProductRecommender
from twotower.models._pair_lesson import PairExtras
from twotower.models._pair_model import PairModel
from twotower.models._reading import Reading
from twotower.models._recommend import Recommender
from twotower.models._second_stage import ModelStage
from twotower.models.baselines import Popularity
from twotower.models.ranker import Ranker
from twotower.vocabulary import Vocabulary

Array = np.ndarray


@dataclass(frozen=True)
class Scale:
    """A retriever's scores of candidates, shifted and divided to mean 0 and deviation 1 for the second stage."""

    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def of(cls, scores: Array) -> Scale:
        mean, deviation = float(np.mean(scores, dtype=np.float64)), float(np.std(scores, dtype=np.float64))
        return cls(mean, deviation if deviation > 0 else 1.0)

    def __call__(self, scores: Array) -> Array:
        return ((scores - np.float32(self.mean)) / np.float32(self.deviation)).astype(np.float32)


class PairStage(ModelStage):
    """A model of pairs, which may read the retriever's score with each.

    Parameters
    ----------
    ranker, users, items, where
        See `ModelStage`.
    scale : Scale
        Of the scores that it reads.
    """

    def __init__(self, ranker: PairModel, users: Vocabulary, items: Vocabulary, where: str, scale: Scale) -> None:
        super().__init__(ranker, users, items, where)
        self.scale = scale
        # The ranker's item vectors in the retriever's order, and the ones that they were taken from.
        self._taken: tuple[Array, Array] | None = None

    @property
    def reads_scores(self) -> bool:
        """Whether the retriever's score is read with each pair."""
        return "given" in self.ranker._architecture.meeting

    def score(
        self,
        user_rows: Array,
        item_rows: Array,
        scores: Array,
        ranks: Array,
        where: str,
        num_threads: int,
        moments: Given | None = None,
    ) -> Array:
        rows = self.user_rows[user_rows], self.item_rows[item_rows]
        given = self.scale(scores) if self.reads_scores else None
        found: Array = self.ranker._raw_scores(*rows, num_threads=num_threads, moments=moments, given=given)
        return found

    def linked(self, scores: Array) -> Array:
        found: Array = self.ranker._link(scores)
        return found

    # --- both stages at once --------------------------------------------------------------------------------------------

    def follows(self, retriever: Recommender) -> bool:
        """Whether the core can go from this retriever's index to the ranker's head by itself, and gives the same bits."""
        products = isinstance(retriever, DotProductRecommender) and retriever._gives_products
        return products and self.ranker._fitted().scores_by_head

    def search(
        self,
        retriever: DotProductRecommender,
        asked: Asked,
        candidates: int,
        k: int,
        left_out: Mapping[str, Any],
        num_threads: int,
    ) -> tuple[Array, Array]:
        """The k best of a retriever's candidates, as `ranked` gives them, in one call of the core.

        Parameters
        ----------
        retriever : DotProductRecommender
            One that this stage `follows`.
        asked : Asked (n)
            Known users, with what is given to each stage.
        candidates, k : int
        left_out : dict
            The filters of `ItemIndex.top_k`.
        num_threads : int
        """
        first, second = (GivenToEach.part_of(asked.given, place) for place in (0, 1))
        index, queries = retriever._search(replace(asked, given=first), num_threads)
        users = Asked.known(self.ranker._users, self.user_rows[asked.rows], second)
        rows, scores = core.retrieve_and_rank(
            index,
            queries,
            candidates,
            self.ranker._fitted().model,
            self.ranker._asked_vectors(users, num_threads),
            self._item_vectors(),
            k,
            self.scale.mean,
            self.scale.deviation,
            num_threads=num_threads,
            **left_out,
        )
        return rows, self.linked(scores)

    def _item_vectors(self) -> Array:
        """The ranker's, float32 (items of the retriever, width)."""
        own: Array = self.ranker._encoded_items
        if self._taken is None or self._taken[0] is not own:
            # A ranker that was fitted here has the retriever's rows.
            in_order = np.array_equal(self.item_rows, np.arange(len(own)))
            self._taken = (own, own if in_order else own[self.item_rows])
        return self._taken[1]


# --- fit --------------------------------------------------------------------------------------------------------------


def check_learns_inside(ranker: Ranker) -> None:
    """Refuse a ranker that could not read what `fit_pairs` gives it."""
    if ranker.interaction == "fm":
        raise ValueError(
            "fit: the ranker has interaction 'fm', which has no place for the retriever's score; use 'dcn', 'concat' "
            "or 'product'"
        )
    if history_of(ranker.user_features) is not None:
        raise ValueError(
            "fit: the ranker has a History among user_features, but sees the held-out rows alone here; give it to the "
            "retriever, whose vectors the ranker reads"
        )


def fit_pairs(
    ranker: PairModel,
    retriever: Recommender,
    pairs: Encoded,
    folds: list[Fold],
    examples: Examples,
    table: frames.Frame,
    users: Any,
    items: Any,
    seed: int,
) -> tuple[Scale, tuple[float, float] | None]:
    """Fit a model of pairs inside the candidate sets, with the retriever's scores and vectors beside its own columns.

    Parameters
    ----------
    ranker : PairModel
    retriever : Recommender
        Fitted on all interactions.
    pairs : Encoded
        The interactions that `examples` has rows of.
    folds : list of Fold
    examples : Examples
    table, users, items
        The tables that `fit` was given.
    seed : int
        Of the choice of users that are measured instead of learned from.

    Returns
    -------
    Scale
        Of the scores that it reads.
    (float, float) or None
        NDCG@10 among the candidates of users that it did not learn from, in the retriever's order and in its own. Where the
        second is not above the first, what it learned is thrown away if that leaves the retriever's score.
    """
    found = np.concatenate([fold.candidates.scores[fold.candidates.rows >= 0] for fold in folds])
    scale = Scale.of(found)
    given = _given(retriever, folds, scale)
    vectors = _turned_vectors(retriever, folds)
    pools = (*examples.pools, None)
    exam, learned = _exam(pairs, folds, examples, scale, seed, reads_scores=given[0] is not None)
    if exam is not None and getattr(ranker, "context_features", None):
        asked = examples.rows[np.isin(examples.rows, learned, invert=True)]
        asked = asked if pairs.weights is None else asked[pairs.weights[asked] > 0]
        exam = exam.by_moment(table, asked, pairs.user_rows[asked], pairs.item_rows[asked])

    def extras(reading: Reading) -> PairExtras:
        _check_same_ids(retriever, reading)
        return PairExtras(pools, *given, *vectors, exam=exam)

    part = frames.take(table, learned).to_native()
    ranker._fit(part, _table_of(retriever, "user", users), _table_of(retriever, "item", items), None, extras)
    num_threads = ranker._num_threads("fit")
    figures = None
    if exam is not None:
        figures = (exam.retriever_score(num_threads), ranker._curve[exam.label][ranker.best_epoch_ - 1])
        if exam.given is not None and figures[1] <= figures[0]:
            ranker._parameters = {name: np.zeros_like(values) for name, values in ranker._parameters.items()}
    if vectors[0] is not None:
        # From here on those of the final retriever.
        own = _own_vectors(retriever)
        ranker._sides = PairExtras(user_vectors=own[0], item_vectors=own[1]).added_to(ranker._sides)
    ranker._cache.pop("fitted")
    ranker._encoded_items = ranker._fitted().item_vectors(num_threads)
    return scale, figures


def _exam(
    pairs: Encoded,
    folds: list[Fold],
    examples: Examples,
    scale: Scale,
    seed: int,
    *,
    reads_scores: bool,
) -> tuple[CandidateExam | None, Array]:
    """What the epochs are measured by, if users can be spared for it, and the rows of the table that are learned from."""
    owners = pairs.user_rows[examples.rows]
    hits = examples.rows if pairs.weights is None else examples.rows[pairs.weights[examples.rows] > 0]
    measured = users_to_measure(np.unique(pairs.user_rows[hits]), seed)
    if not measured.size:
        return None, examples.rows
    num_items = pairs.items.size
    keys = np.unique(pairs.user_rows[hits].astype(np.int64) * num_items + pairs.item_rows[hits])
    exam, scores = CandidateExam.of(folds, measured, keys, num_items)
    exam = replace(exam, given=scale(scores) if reads_scores else None)
    return exam, examples.rows[~np.isin(owners, measured)]


def _table_of(retriever: Recommender, side: str, table: Any) -> Any:
    """The table of a side, or one of the retriever's ids, so that both stages have the same rows."""
    if table is not None:
        return table
    column, vocabulary = (
        (retriever.user_col, retriever._users) if side == "user" else (retriever.item_col, retriever._items)
    )
    return frames.build(retriever._frame_kind, {column: vocabulary.ids})


def _check_same_ids(retriever: Recommender, reading: Reading) -> None:
    for side, own, other in (
        ("users", retriever._users, reading.pairs.users),
        ("items", retriever._items, reading.pairs.items),
    ):
        if own.size != other.size or not np.array_equal(other.encode(own.ids), np.arange(own.size)):
            raise DataError(
                f"fit: the ranker reads {count_of(other.size, side[:-1])}, but the retriever has {own.size} or in another "
                "order; give both the same user_col and item_col"
            )


def _given(retriever: Recommender, folds: list[Fold], scale: Scale) -> tuple[Array | None, Array | None]:
    """Vectors whose dot product is the scaled score of the fold that a user belongs to: a block of columns a fold."""
    num_threads = retriever._num_threads("fit")
    known = [score_vectors(fold.retriever, fold.own_users, num_threads, fold.given) for fold in folds]
    if any(vectors is None for vectors in known):
        return None, None
    num_users, num_items = retriever._users.size, retriever._items.size
    user_blocks, item_blocks = [np.ones((num_users, 1))], [np.full((num_items, 1), -scale.mean / scale.deviation)]
    for fold, vectors in zip(folds, known, strict=True):
        assert vectors is not None
        of_users, of_items = vectors
        users = np.zeros((num_users, of_users.shape[1]))
        users[fold.candidates.users] = of_users / scale.deviation
        items = np.zeros((num_items, of_items.shape[1]))
        items[fold.own_items >= 0] = of_items[fold.own_items[fold.own_items >= 0]]
        user_blocks.append(users)
        item_blocks.append(items)
    return np.concatenate(user_blocks, axis=1, dtype=np.float32), np.concatenate(item_blocks, axis=1, dtype=np.float32)


def _own_vectors(retriever: Recommender) -> tuple[Array, Array]:
    """Vectors of users and items without biases; of users at no moment, since they are kept for all."""
    assert isinstance(retriever, DotProductRecommender)
    width, count = retriever._similarity_width, retriever._users.size
    everyone, given = np.arange(count, dtype=np.int32), retriever._no_moment(count)
    users = retriever._all_user_vectors(everyone, retriever._num_threads("fit"), given)
    return tuple(np.ascontiguousarray(vectors[:, :width]) for vectors in (users, retriever._item_vectors_))  # type: ignore[return-value]


def _turned_vectors(retriever: Recommender, folds: list[Fold]) -> tuple[Array | None, Array | None]:
    """Vectors of the folds' retrievers in the axes of the final one: of each user its fold's, of an item their mean."""
    if not isinstance(retriever, DotProductRecommender):
        return None, None
    users, items = _own_vectors(retriever)
    users, total, count = users.copy(), np.zeros_like(items), np.zeros((len(items), 1), dtype=np.float32)
    for fold in folds:
        own_users, own_items = _own_vectors(fold.retriever)
        known = np.flatnonzero(fold.own_items >= 0)
        turn = rotation(own_items[fold.own_items[known]], items[known])
        users[fold.candidates.users] = own_users[fold.own_users] @ turn
        total[known] += own_items[fold.own_items[known]] @ turn
        count[known] += 1
    return users, np.where(count > 0, total / np.maximum(count, 1), items)


# --- vectors of retrievers ----------------------------------------------------------------------------------------------------------


def score_vectors(
    retriever: Recommender, user_rows: Array, num_threads: int, given: Given | None = None
) -> tuple[Array, Array] | None:
    """Vectors of users, int32 (n,), and of all items, whose dot products are the scores; None where there are none."""
    if isinstance(retriever, DotProductRecommender):
        return retriever._all_user_vectors(user_rows, num_threads, given), retriever._item_vectors_
    if isinstance(retriever, Popularity) and retriever.by is None:
        return np.ones((len(user_rows), 1), dtype=np.float32), retriever._scores[:, None]
    return None


def rotation(source: Array, target: Array) -> Array:
    """The orthogonal matrix, float32 (width, width), that turns `source` (n, width) into `target` as nearly as can be.

    Two fits of one model have vectors of the same dot products in other axes. Schoenemann 1966, "A generalized solution of
    the orthogonal Procrustes problem".
    """
    left, _, right = np.linalg.svd(source.astype(np.float64).T @ target.astype(np.float64))
    turn: Array = (left @ right).astype(np.float32)
    return turn
