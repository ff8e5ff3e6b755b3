"""A small model of dot products, for tests of what every such model can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from twotower import frames
from twotower._core import core
from twotower.interactions import encode_interactions
from twotower.models import _dot_product
from twotower.models._asked import Asked
from twotower.models._dot_product import DotProductRecommender
from twotower.models._options import named_options


class Factors(DotProductRecommender, kind="test factors"):
    """Leading singular vectors of the matrix of seen pairs, and a small bias of the count in the last column."""

    @named_options
    def __init__(
        self, *, user_col: str = "user_id", item_col: str = "item_id", dim: int = 3, n_jobs: int = -1, verbose: int = 1
    ) -> None:
        self.user_col = user_col
        self.item_col = item_col
        self.dim = dim
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, interactions: Any) -> Factors:
        self._check_columns("fit")
        pairs = encode_interactions(interactions, user_col=self.user_col, item_col=self.item_col)
        lists = core.Interactions(pairs.user_rows, pairs.item_rows, None, pairs.users.size, pairs.items.size)
        matrix = np.zeros((pairs.users.size, pairs.items.size))
        matrix[pairs.user_rows, pairs.item_rows] = 1
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        kept = slice(0, self.dim)
        self._user_vectors_ = np.ones((len(left), len(values[kept]) + 1), dtype=np.float32)
        self._user_vectors_[:, :-1] = left[:, kept] * values[kept]
        self._item_vectors_ = np.empty((matrix.shape[1], len(values[kept]) + 1), dtype=np.float32)
        self._item_vectors_[:, :-1] = right[kept].T
        self._item_vectors_[:, -1] = 0.01 * lists.item_counts
        self._remember(
            users=pairs.users,
            items=pairs.items,
            seen_offsets=lists.seen_offsets,
            seen_items=lists.seen_items,
            item_counts=lists.item_counts,
            frame_kind=frames.frame_kind(interactions),
        )
        return self

    def _user_vectors(self, asked: Asked, *, num_threads: int) -> np.ndarray:
        assert asked.rows.dtype == np.int32
        assert len(asked) <= _dot_product.USERS_A_PASS
        vectors: np.ndarray = self._user_vectors_[asked.rows]
        return vectors

    @property
    def _similarity_width(self) -> int:
        return int(self._item_vectors_.shape[1]) - 1

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {"users": self._user_vectors_, "items": self._item_vectors_}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self._user_vectors_, self._item_vectors_ = arrays["users"], arrays["items"]
