"""What is kept from a retriever, and ranks among its candidates."""

from __future__ import annotations

import numpy as np
import pytest

import twotower as tt
from twotower.models._asked import Asked
from twotower.models._cross_fit import Candidates, groups_of, held_out, retrieve


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


@pytest.mark.parametrize("width", [1, 2, 7, 8, 30])
@pytest.mark.parametrize("kinds", [1, 4, 10_000])
def test_ranks_among_candidates_are_those_of_a_count(width: int, kinds: int) -> None:
    rng, users, items = np.random.default_rng(width * kinds), 25, 60
    rows = np.full((users, width), -1, dtype=np.int32)
    scores = np.full((users, width), -np.inf, dtype=np.float32)
    for user in range(users):  # lists of any length, also none, that fall; rows of equal scores in any order
        chosen = rng.choice(items, size=rng.integers(0, width + 1), replace=False)
        own = (rng.integers(0, kinds, len(chosen)) - kinds // 2).astype(np.float32)
        order = np.argsort(-own, kind="stable")
        rows[user, : len(chosen)], scores[user, : len(chosen)] = chosen[order], own[order]
    found = Candidates(np.arange(users, dtype=np.int32), rows, scores)
    places, asked = rng.integers(0, users, 500), rng.integers(0, items, 500).astype(np.int32)
    of_pairs = (rng.integers(0, kinds, 500) - kinds // 2).astype(np.float32)
    wanted = [
        1
        + sum(s > score or (s == score and 0 <= row < item) for row, s in zip(rows[place], scores[place], strict=True))
        for place, item, score in zip(places, asked, of_pairs, strict=True)
    ]
    assert found.ranks_of(places, asked, of_pairs).tolist() == wanted


def test_a_candidate_has_its_own_rank() -> None:
    data = tt.datasets.synthetic(num_users=30, num_items=20, num_interactions=300)
    popular = tt.Popularity().fit(data.ratings)
    everybody = np.arange(popular._users.size, dtype=np.int32)
    found = Candidates(everybody, *retrieve(popular, Asked.known(popular._users, everybody), 9, 1))
    places, items, scores, ranks = found.pairs()
    np.testing.assert_array_equal(found.ranks_of(places, items, scores), ranks)


def test_users_are_dealt_to_folds_evenly() -> None:
    groups = groups_of(10, 3, seed=0)
    assert sorted(np.bincount(groups).tolist()) == [3, 3, 4]
    np.testing.assert_array_equal(groups, groups_of(10, 3, seed=0))
