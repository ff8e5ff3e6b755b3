"""A model of pairs as second stage: one scale for all scores, and vectors of two fits in one set of axes."""

from __future__ import annotations

import numpy as np

import twotower as tt
from twotower.models._pair_stage import Scale, rotation, score_vectors


def test_scores_are_scaled_to_mean_0_and_deviation_1() -> None:
    scale = Scale.of(np.array([1, 3, 5, 7], dtype=np.float32))
    assert (scale.mean, scale.deviation) == (4, np.sqrt(5))
    np.testing.assert_allclose(scale(np.array([4, 9], dtype=np.float32)), [0, np.sqrt(5)], rtol=1e-6)
    # Scores that are all the same are only shifted.
    assert Scale.of(np.ones(3, dtype=np.float32)).deviation == 1


def test_vectors_of_another_fit_are_turned_back() -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0].astype(np.float32)
    np.testing.assert_allclose(vectors @ turn @ rotation(vectors @ turn, vectors), vectors, atol=1e-5)


def test_scores_that_are_dot_products_give_vectors() -> None:
    data = tt.datasets.synthetic(num_users=30, num_items=20, num_interactions=300)
    for model in (tt.Popularity(), tt.Popularity(method="mean_rating", rating_col="rating")):
        model.fit(data.ratings)
        vectors = score_vectors(model)
        assert vectors is not None
        users = {user: row for row, user in enumerate(model.user_ids_)}
        items = {item: row for row, item in enumerate(model.item_ids_)}
        pairs = data.ratings.head(50)
        scores = [
            vectors[0][users[u]] @ vectors[1][items[i]] for u, i in zip(pairs.user_id, pairs.item_id, strict=True)
        ]
        assert scores == model.predict(pairs).tolist()


def test_scores_of_no_vectors_are_left_out() -> None:
    data = tt.datasets.synthetic(num_users=30, num_items=20, num_interactions=300)
    assert score_vectors(tt.ItemKNN().fit(data.ratings)) is None
