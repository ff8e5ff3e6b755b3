"""The base of dot-product models, on a singular value decomposition with a bias: the kit, passes, directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from conformance import DotProductConformance, interactions, rows, two_tastes
from twotower import frames
from twotower._core import core
from twotower.interactions import encode_interactions
from twotower.models import _dot_product, _recommend
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

    def _user_vectors(self, user_rows: np.ndarray, *, num_threads: int) -> np.ndarray:
        assert user_rows.dtype == np.int32
        assert len(user_rows) <= _dot_product.USERS_A_PASS
        vectors: np.ndarray = self._user_vectors_[user_rows]
        return vectors

    @property
    def _similarity_width(self) -> int:
        return int(self._item_vectors_.shape[1]) - 1

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {"users": self._user_vectors_, "items": self._item_vectors_}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self._user_vectors_, self._item_vectors_ = arrays["users"], arrays["items"]


class TestFactors(DotProductConformance):
    times_better_than_random = 2.0
    beats_popularity = True

    def make(self, **options: Any) -> Factors:
        return Factors(**options)

    # The class lives in this file, which a fresh process does not import.
    test_a_file_opens_in_a_fresh_process = None
    # It takes interactions alone.
    test_tables_of_users_and_items_widen_who_is_known = None
    test_an_item_that_its_table_does_not_have_is_named = None


@pytest.fixture
def model() -> Factors:
    return Factors().fit(interactions())


def test_scores_are_the_product_of_the_vectors(model: Factors) -> None:
    expected = model.user_embeddings().astype(float) @ model.item_embeddings().astype(float).T
    table = model.recommend(k=11, filter_seen=False)
    found = table.pivot(index="user_id", columns="item_id", values="score").to_numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_neighbors_do_not_look_at_the_bias(model: Factors) -> None:
    vectors = model.item_embeddings().astype(float)[:, :-1]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = vectors @ vectors.T
    for item, other, score, _ in rows(model.similar_items(list(model.item_ids_), k=20)):
        assert score == pytest.approx(cosine[item - 100, other - 100], abs=1e-6)


def test_a_zero_vector_is_like_nothing_and_can_be_asked(model: Factors) -> None:
    model._item_vectors_[4] = 0
    table = model.similar_items([104, 100], k=20)
    assert (table.score[table.item_id == 104] == 0).all()
    assert len(table) == 20
    # Equal scores: the smaller rows first.
    assert table.similar_item_id[table.item_id == 104].tolist() == [100, 101, 102, 103, 105, 106, 107, 108, 109, 110]


@pytest.mark.parametrize("size", [1, 3, 7])
def test_passes_do_not_change_anything(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    train, test = two_tastes()
    model = Factors().fit(train)
    asked = [5, 3, 79, 3, 0, 999, 41, 998]
    calls = {
        "all": lambda: model.recommend(k=4),
        "some": lambda: model.recommend(asked, k=4, on_unknown="popular"),
        "pairs": lambda: pd.Series(model.predict(test.iloc[::-1])),
        "unknown pairs": lambda: pd.Series(model.predict(test.assign(user_id=test.user_id * 2), on_unknown="nan")),
        "items": lambda: model.similar_items(list(range(0, 60, 7)), k=3),
        "users": lambda: model.similar_users(list(range(0, 80, 7)), k=3),
        "vectors": lambda: pd.DataFrame(model.user_embeddings()),
    }
    expected = {name: call() for name, call in calls.items()}
    model._cache.clear()
    monkeypatch.setattr(_recommend, "USERS_A_PASS", size)
    monkeypatch.setattr(_dot_product, "USERS_A_PASS", size)
    for name, call in calls.items():
        assert call().equals(expected[name]), name


def test_what_is_built_is_built_once_and_left_out_of_copies(model: Factors) -> None:
    assert model._cache == {}
    model.recommend(k=1)
    packed = dict(model._cache)
    model.recommend(k=2)
    assert model._cache == packed
    assert model.__getstate__()["_cache"] == {}
    model.fit(interactions())
    assert model._cache == {}
