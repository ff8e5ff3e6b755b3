"""What is kept from a retriever, and vectors of two fits in one set of axes."""

from __future__ import annotations

import numpy as np

from twotower.models._cross_fit import groups_of, held_out, rotation


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
