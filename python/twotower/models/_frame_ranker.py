"""Anything with `predict` as second stage: frames of candidates for it to learn from and to score."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from twotower import frames
from twotower.errors import SchemaError, count_of, first_five
from twotower.interactions import Encoded
from twotower.models._asked import Given
from twotower.models._cross_fit import Examples, Fold
from twotower.models._recommend import Recommender
from twotower.models._second_stage import SecondStage

Array = np.ndarray


class FrameRanker(SecondStage):
    """Something with `fit(X, y)` and `predict(X)`, or `predict(X)` alone, over frames of candidates.

    Parameters
    ----------
    ranker : object
    retriever : Recommender
        The final one.
    users, items : DataFrame or None
        Tables whose columns go with the candidates.
    """

    reads_ranks: ClassVar[bool] = True

    def __init__(self, ranker: Any, retriever: Recommender, users: Any = None, items: Any = None) -> None:
        self.ranker, self.retriever = ranker, retriever
        self.sides = []
        for side, given, column, vocabulary in (
            ("users", users, retriever.user_col, retriever._users),
            ("items", items, retriever.item_col, retriever._items),
        ):
            table = rows = None
            if given is not None:
                table = frames.table(given, f"fit: {side}")
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

    def fit(self, pairs: Encoded, folds: list[Fold], examples: Examples, negatives: int, seed: int) -> None:
        """Fit on every positive among the candidates and some others of the same user.

        Parameters
        ----------
        pairs : Encoded
            The interactions that `examples` has rows of.
        folds : list of Fold
        examples : Examples
        negatives : int
            Of a user, for each positive.
        seed : int
        """
        if not hasattr(self.ranker, "fit"):
            return
        num_items, parts = self.retriever._items.size, []
        positives = pairs.user_rows[examples.rows].astype(np.int64) * num_items + pairs.item_rows[examples.rows]
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
        num_threads: int,
        moments: Given | None = None,
        moved: Mapping[tuple[str, str], Array] = {},
    ) -> Array:
        """Scores float32 (n,) of candidates; see `SecondStage`, and `frame`.

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
