"""The second stage of a pipeline: a model of this package, or anything with `predict`, behind one pair of verbs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from twotower import frames
from twotower.errors import DataError, SchemaError, count_of, first_five
from twotower.models._cross_fit import Candidates, Examples, Fold, rotation, score_vectors
from twotower.models._dot_product import DotProductRecommender
from twotower.models._pair_lesson import PairExtras
from twotower.models._pair_model import PairModel
from twotower.models._reading import Reading
from twotower.models._recommend import Recommender

Array = np.ndarray


# --- a model of pairs of this package ---------------------------------------------------------------------------------


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


def fit_pairs(
    ranker: PairModel,
    retriever: Recommender,
    folds: list[Fold],
    examples: Examples,
    table: frames.Frame,
    users: Any,
    items: Any,
) -> Scale:
    """Fit a model of pairs inside the candidate sets, with the retriever's scores and vectors beside its own columns.

    Returns
    -------
    Scale
        Of the scores that it reads.
    """
    found = np.concatenate([fold.candidates.scores[fold.candidates.rows >= 0] for fold in folds])
    scale = Scale.of(found)
    given = _given(retriever, folds, scale)
    vectors = _turned_vectors(retriever, folds)
    pools = (*examples.pools, None)

    def extras(reading: Reading) -> PairExtras:
        _check_same_ids(retriever, reading)
        return PairExtras(pools, *given, *vectors)

    part = frames.take(table, examples.rows).to_native()
    ranker._fit(part, _table_of(retriever, "user", users), _table_of(retriever, "item", items), None, extras)
    if vectors[0] is not None:
        # From here on those of the final retriever.
        own = _own_vectors(retriever)
        ranker._sides = PairExtras(user_vectors=own[0], item_vectors=own[1]).added_to(ranker._sides)
        ranker._cache.pop("fitted")
        ranker._encoded_items = ranker._fitted().item_vectors(ranker._num_threads("fit"))
    return scale


def reads_scores(ranker: PairModel) -> bool:
    """Whether the fitted model reads the retriever's score with each pair."""
    return "given" in ranker._architecture.meeting


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


# --- anything with predict --------------------------------------------------------------------------------------------


class FrameRanker:
    """Something with `fit(X, y)` and `predict(X)`, or `predict(X)` alone, over frames of candidates.

    Parameters
    ----------
    ranker : object
    retriever : Recommender
        The final one.
    users, items : narwhals.DataFrame or None
        Tables whose columns go with the candidates.
    """

    def __init__(
        self, ranker: Any, retriever: Recommender, users: frames.Frame | None, items: frames.Frame | None
    ) -> None:
        self.ranker, self.retriever = ranker, retriever
        self.sides = []
        for side, table, column, vocabulary in (
            ("users", users, retriever.user_col, retriever._users),
            ("items", items, retriever.item_col, retriever._items),
        ):
            rows = None
            if table is not None:
                rows = np.empty(vocabulary.size, dtype=np.int64)
                rows[vocabulary.encode(frames.ids(frames.column(table, column, f"fit: {side}"), side))] = np.arange(
                    len(table)
                )
                taken = [name for name in table.columns if name in ("retriever_score", "retriever_rank")]
                if taken:
                    raise SchemaError(
                        f"fit: {side} has the column {taken[0]!r}, but that is a column of the candidates; rename it"
                    )
            self.sides.append((table, rows, column, vocabulary))

    @property
    def features(self) -> list[tuple[str, str, int]]:
        """Side and column of what goes with the candidates, and how many rows the side has."""
        found = []
        for side, (table, _, column, vocabulary) in zip(("user", "item"), self.sides, strict=True):
            others = [] if table is None else [name for name in table.columns if name != column]
            found += [(side, name, vocabulary.size) for name in (column, *others)]
        return found

    def frame(
        self,
        user_rows: Array,
        item_rows: Array,
        scores: Array,
        ranks: Array,
        moved: Mapping[tuple[str, str], Array] = {},
    ) -> Any:
        """One row a candidate: ids, the columns of the tables, `retriever_score` and `retriever_rank`.

        `moved` has an order of a side's rows for each column whose values have changed places.
        """
        columns: dict[str, Any] = {}
        sides = [*zip(("user", "item"), self.sides, (user_rows, item_rows), strict=True)]
        for side, (_, _, column, vocabulary), rows in sides:
            columns[column] = vocabulary.decode(_moved(rows, moved.get((side, column))))
        for side, (table, places, column, _), rows in sides:
            if table is None or places is None:
                continue
            for name in table.columns:
                if name != column:
                    picked = places[_moved(rows, moved.get((side, name)))]
                    values = frames.take(table.get_column(name), picked)
                    columns[name if name not in columns else f"item_{name}"] = values
        columns["retriever_score"] = scores.astype(np.float32)
        columns["retriever_rank"] = ranks.astype(np.int32)
        return frames.build(self.retriever._frame_kind, columns)

    def fit(self, folds: list[Fold], examples: Examples, positives: Array, negatives: int, seed: int) -> None:
        """Fit on every positive among the candidates and some others of the same user.

        Parameters
        ----------
        folds : list of Fold
        examples : Examples
        positives : int64 (m,)
            Keys `user row * items + item row` of the positives among the candidates.
        negatives : int
            Of a user, for each positive.
        seed : int
        """
        if not hasattr(self.ranker, "fit"):
            return
        num_items, parts = self.retriever._items.size, []
        for number, fold in enumerate(folds):
            places, items, scores, ranks = fold.candidates.pairs()
            users = fold.candidates.users[places]
            hit = np.isin(users.astype(np.int64) * num_items + items, positives)
            # Of each user's negatives those with the smallest of random numbers.
            chance = np.random.Generator(np.random.PCG64([seed, 2, number])).random(len(items))
            chance[hit] = -1
            order = np.lexsort((chance, places))
            starts = np.searchsorted(places[order], np.arange(len(fold.candidates.users)))
            hits = np.bincount(places, weights=hit, minlength=len(fold.candidates.users))
            turn = np.arange(len(order)) - starts[places[order]]
            wanted = np.sort(order[turn < ((1 + negatives) * hits)[places[order]]])
            parts.append((users[wanted], items[wanted], scores[wanted], ranks[wanted], hit[wanted]))
        users, items, scores, ranks, hit = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(users, kind="stable")
        x = self.frame(users[order], items[order], scores[order], ranks[order])
        sizes = np.unique(users, return_counts=True)[1]
        more: dict[str, Any] = {}
        accepted = inspect.signature(self.ranker.fit).parameters
        if "group" in accepted:  # LightGBM's and XGBoost's rankers: rows of one user after the other
            more["group"] = sizes
        elif "group_id" in accepted:  # CatBoost's
            more["group_id"] = np.repeat(np.arange(len(sizes)), sizes)
        self.ranker.fit(x, hit[order].astype(np.int64), **more)

    def score(
        self,
        user_rows: Array,
        item_rows: Array,
        scores: Array,
        ranks: Array,
        where: str,
        moved: Mapping[tuple[str, str], Array] = {},
    ) -> Array:
        """Scores float32 (n,) of candidates; see `frame`.

        Raises
        ------
        ValueError
            The ranker gave something else than a finite number for each row.
        """
        if not len(user_rows):
            return np.empty(0, dtype=np.float32)
        x, name = self.frame(user_rows, item_rows, scores, ranks, moved), type(self.ranker).__name__
        # Of a classifier the chance of its last class, which is the positive one: labels would put nothing in order.
        given = self.ranker.predict_proba(x) if hasattr(self.ranker, "predict_proba") else self.ranker.predict(x)
        found = np.asarray(given)
        if hasattr(self.ranker, "predict_proba") and found.ndim == 2:
            found = found[:, -1]
        if found.shape != (len(user_rows),):
            raise ValueError(
                f"{where}: the ranker {name} gave predictions of shape {found.shape} for {len(user_rows)} candidates, but "
                f"must give one number a row, shape {(len(user_rows),)}; check its predict"
            )
        found = found.astype(np.float32)
        bad = np.flatnonzero(~np.isfinite(found))
        if bad.size:
            raise ValueError(
                f"{where}: the ranker {name} gave no finite number for {count_of(bad.size, 'candidate')} (first rows: "
                f"{first_five(bad.tolist())}); fill in missing values before its predict"
            )
        return found


def _moved(rows: Array, order: Array | None) -> Array:
    return rows if order is None else order[rows]


def best_of(candidates: Candidates, scores: Array, k: int) -> tuple[Array, Array]:
    """The k best of the candidates by other scores (n, width), -inf where there is none; equal ones by the smaller row."""
    filled = np.where(candidates.rows >= 0, scores, -np.inf).astype(np.float32)
    order = np.lexsort((candidates.rows, -filled), axis=1)[:, :k]
    best = np.take_along_axis(filled, order, axis=1)
    return np.where(np.isneginf(best), -1, np.take_along_axis(candidates.rows, order, axis=1)).astype(np.int32), best
