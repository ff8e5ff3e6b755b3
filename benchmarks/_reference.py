"""The second opinion of quality.py: protocol, metrics and linear models in numpy, apart from the package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import _common as common

sparse = common.optional_module("scipy.sparse")
sparse_linalg = common.optional_module("scipy.sparse.linalg")

LARGEST_EASE = 20_000  # items; the inverse of a matrix of that size takes 6 GB and minutes
QUEUE = 1024  # users a pass


@dataclass(frozen=True)
class Measure:
    """One column: a metric of the package, and whether the training items stay out of the lists."""

    label: str
    metric: str
    filter_seen: bool = True


@dataclass(frozen=True)
class Split:
    """What one run fits and measures."""

    train: Any
    test: Any
    options: dict[str, Any] = field(default_factory=dict)
    users: Any = None
    items: Any = None


class Reference:
    """The protocol on dense rows of scores, apart from the package."""

    def __init__(self, split: Split) -> None:
        train, test = split.train, split.test
        self._users, user_rows = np.unique(train["user_id"].to_numpy(), return_inverse=True)
        self._items, item_rows = np.unique(train["item_id"].to_numpy(), return_inverse=True)
        shape = len(self._users), len(self._items)
        positive = np.ones(len(train), dtype=bool)
        if "min_rating" in split.options:
            positive = (train[split.options["rating_col"]] >= split.options["min_rating"]).to_numpy()
        self.seen = _rows_of(user_rows, item_rows, shape[0])
        self.positives = _rows_of(user_rows[positive], item_rows[positive], shape[0])
        self.shape = shape

        pairs = test[["user_id", "item_id"]].drop_duplicates()
        pairs = pairs[pairs["user_id"].isin(self._users)]
        test_users = np.searchsorted(self._users, pairs["user_id"].to_numpy())
        places = np.minimum(np.searchsorted(self._items, pairs["item_id"].to_numpy()), shape[1] - 1)
        known = self._items[places] == pairs["item_id"].to_numpy()
        self._count = np.bincount(test_users, minlength=shape[0])
        self._relevant = _rows_of(test_users[known], places[known], shape[0])
        self._measured = np.flatnonzero(self._count)

    def dense(self, lists: Sequence[np.ndarray], users: np.ndarray | slice = slice(None)) -> np.ndarray:
        """float32 (users, items): 1 where the list of the user has the item."""
        chosen = np.arange(self.shape[0])[users]
        matrix = np.zeros((len(chosen), self.shape[1]), dtype=np.float32)
        for row, user in enumerate(chosen):
            matrix[row, lists[user]] = 1
        return matrix

    def measure(self, scores_of: Callable[[np.ndarray], np.ndarray], measures: Sequence[Measure]) -> list[float]:
        """The figures of a model that gives fresh scores float (users, items) for users (rows)."""
        sums = np.zeros(len(measures))
        divisors = np.zeros(len(measures))
        for begin in range(0, len(self._measured), QUEUE):
            users = self._measured[begin : begin + QUEUE]
            scores = scores_of(users)
            relevant = self.dense(self._relevant, users) > 0
            # Lists with seen items first, since leaving them out changes the scores.
            for filter_seen in (False, True):
                chosen = [place for place, measure in enumerate(measures) if measure.filter_seen == filter_seen]
                if not chosen:
                    continue
                if filter_seen:
                    scores[self.dense(self.seen, users) > 0] = -np.inf
                depth = max(_parse(measures[place].metric)[1] for place in chosen)
                hits = np.take_along_axis(relevant, _best(scores, depth), axis=1)
                for place in chosen:
                    total, divisor = _figure(measures[place].metric, hits, self._count[users])
                    sums[place] += total
                    divisors[place] += divisor
        return list(sums / divisors)


def _rows_of(rows: np.ndarray, values: np.ndarray, count: int) -> list[np.ndarray]:
    order = np.argsort(rows, kind="stable")
    return np.split(values[order], np.searchsorted(rows[order], np.arange(1, count)))


def _best(scores: np.ndarray, depth: int) -> np.ndarray:
    """Columns of the largest values, equal ones by the smaller column; in large catalogues ties at the end are left to chance."""
    if scores.shape[1] <= LARGEST_EASE:
        return np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    columns = np.sort(np.argpartition(-scores, depth, axis=1)[:, :depth], axis=1)
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def _parse(metric: str) -> tuple[str, int]:
    name, _, cutoff = metric.partition("@")
    return name, int(cutoff)


def _figure(metric: str, hits: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Sum over users and what to divide all sums by."""
    name, cutoff = _parse(metric)
    hits = hits[:, :cutoff]
    if name == "micro_recall":
        return float(hits.sum()), float(counts.sum())
    if name == "recall":
        return float((hits.sum(axis=1) / counts).sum()), float(len(counts))
    if name == "ndcg":
        gains = 1 / np.log2(np.arange(cutoff) + 2)
        ideal = np.cumsum(gains)[np.minimum(counts, cutoff) - 1]
        return float((hits @ gains / ideal).sum()), float(len(counts))
    raise ValueError(f"_figure: metric is {metric!r}, but must be micro_recall, recall or ndcg")


def popularity(reference: Reference) -> Callable[[np.ndarray], np.ndarray]:
    counts = np.bincount(np.concatenate(reference.positives), minlength=reference.shape[1]).astype(np.float64)
    return lambda users: np.tile(counts, (len(users), 1))


def ease(reference: Reference, penalty: float) -> Callable[[np.ndarray], np.ndarray]:
    """Closed form: scores = X B, B = I - P / diag(P), P = (X^T X + penalty I)^-1."""
    gram = np.zeros((reference.shape[1], reference.shape[1]))
    for begin in range(0, reference.shape[0], QUEUE):
        block = reference.dense(reference.positives, slice(begin, begin + QUEUE))
        gram += block.T @ block
    gram[np.diag_indices_from(gram)] += penalty
    inverse = np.linalg.inv(gram)
    weights = (-inverse / np.diag(inverse)).astype(np.float32)
    np.fill_diagonal(weights, 0)
    return lambda users: reference.dense(reference.positives, users) @ weights


def low_pass(reference: Reference, rank: int = 256, share: float = 0.3) -> Callable[[np.ndarray], np.ndarray]:
    """Low-pass filter on the graph of users and items: X (S^T S + share D^-1/2 V V^T D^1/2), S = E^-1/2 X D^-1/2.

    D and E are the degrees of items and users, V the first `rank` right singular vectors of S.
    """
    sizes = np.array([len(items) for items in reference.positives])
    columns = np.concatenate(reference.positives)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    x = sparse.csr_matrix((np.ones(len(columns), dtype=np.float32), columns, offsets), shape=reference.shape)
    x.sum_duplicates()
    of_user, of_item = (np.sqrt(np.maximum(np.asarray(x.sum(axis=axis)).ravel(), 1)) for axis in (1, 0))
    scaled = (sparse.diags(1 / of_user) @ x @ sparse.diags(1 / of_item)).tocsr().astype(np.float32)
    start = np.random.default_rng(0).standard_normal(min(scaled.shape)).astype(np.float32)
    v = sparse_linalg.svds(scaled, k=rank, v0=start)[2].T  # (items, rank)
    into, back = v / of_item[:, None], v.T * of_item * share

    def scores_of(users: np.ndarray) -> np.ndarray:
        return (x[users] @ scaled.T @ scaled).toarray() + (x[users] @ into) @ back

    return scores_of
