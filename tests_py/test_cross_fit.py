"""What is kept from a retriever, and vectors of two fits in one set of axes."""

from __future__ import annotations

import numpy as np

import twotower as tt
from twotower.models._cross_fit import groups_of, held_out, rotation, score_vectors


def test_what_is_held_out_is_the_newest_the_newest_of_each_or_a_share() -> None:
    users = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    times = np.array([1, 2, 3, 4, 11, 12, 13, 14])
    assert held_out("time", 0.25, users, times, 0).nonzero()[0].tolist() == [6, 7]
    assert held_out("last", 0.25, users, times, 0).nonzero()[0].tolist() == [3, 7]
    assert held_out("last", 0.25, users, -times, 0).nonzero()[0].tolist() == [0, 4]
    many = np.zeros(10_000, dtype=int)
    share = held_out("random", 0.25, many, None, 0)
    assert 0.23 < share.mean() < 0.27
    np.testing.assert_array_equal(share, held_out("random", 0.25, many, None, 0))


def test_vectors_of_another_fit_are_turned_back() -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0].astype(np.float32)
    np.testing.assert_allclose(vectors @ turn @ rotation(vectors @ turn, vectors), vectors, atol=1e-5)


def test_users_are_dealt_to_folds_evenly() -> None:
    groups = groups_of(10, 3, seed=0)
    assert sorted(np.bincount(groups).tolist()) == [3, 3, 4]
    np.testing.assert_array_equal(groups, groups_of(10, 3, seed=0))


def test_scores_that_are_dot_products_give_vectors() -> None:
    data = tt.datasets.synthetic(num_users=30, num_items=20, num_interactions=300)
    for model in (tt.Popularity(), tt.Popularity(method="mean_rating", rating_col="rating")):
        model.fit(data.ratings)
        vectors = score_vectors(model, np.arange(model._users.size, dtype=np.int32), 1)
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
    assert score_vectors(tt.ItemKNN().fit(data.ratings), np.arange(3, dtype=np.int32), 1) is None
