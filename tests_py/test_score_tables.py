"""The best of a table of scores: the first of a stable sort, whatever is equal and whatever is left out."""

from __future__ import annotations

import numpy as np
import pytest

from twotower.item_lists import Filters, Lists, lists_of_pairs
from twotower.models._score_tables import top_k_of_table

USERS, ITEMS = 40, 23


def scores(kinds: int) -> np.ndarray:
    """Scores of so many values, so that most are equal to others."""
    return np.random.default_rng(kinds).integers(0, kinds, (USERS, ITEMS)).astype(np.float32)


def some_lists(seed: int, length: int) -> Lists:
    """Random lists, some of them empty."""
    rng = np.random.default_rng(seed)
    return lists_of_pairs(rng.integers(0, USERS, USERS * length), rng.integers(0, ITEMS, USERS * length), USERS, ITEMS)


def test_equal_scores_by_the_smaller_row_and_what_is_left_out_on_paper() -> None:
    table = np.array([[1, 3, 3, 2, 3], [0, 0, 0, 0, 0]], dtype=np.float32)
    seen = lists_of_pairs(np.array([0, 1, 1, 1, 1]), np.array([1, 0, 1, 2, 4]), 2, 5)
    rows, best = top_k_of_table(table, 2, seen, Filters())
    assert rows.tolist() == [[2, 4], [3, -1]]
    assert best.tolist() == [[3, 3], [0, -np.inf]]
    assert (rows.dtype, best.dtype) == (np.int32, np.float32)


@pytest.mark.parametrize("k", [1, 2, 7, ITEMS - 1, ITEMS])
@pytest.mark.parametrize("kinds", [1, 3, 10_000])
@pytest.mark.parametrize("filtered", [False, True])
def test_it_is_the_beginning_of_a_stable_sort(k: int, kinds: int, filtered: bool) -> None:
    table, seen, filters = scores(kinds), None, Filters()
    masked = table.copy()
    if filtered:
        allow = some_lists(2, 12)
        allow.of_query[::3] = -1
        seen, filters = some_lists(1, 9), Filters((np.arange(ITEMS) % 5 > 0).astype(np.uint8), allow, some_lists(3, 2))
        for user in range(USERS):
            for item in range(ITEMS):
                denied = [lists.items[slice(*lists.offsets[user : user + 2])] for lists in (seen, filters.deny)]
                only = allow.items[slice(*allow.offsets[user : user + 2])] if allow.of_query[user] >= 0 else [item]
                if item % 5 == 0 or item in denied[0] or item in denied[1] or item not in only:
                    masked[user, item] = -np.inf
    order = np.argsort(-masked, axis=1, kind="stable")[:, :k]
    rows, best = top_k_of_table(table, k, seen, filters)
    np.testing.assert_array_equal(best, np.take_along_axis(masked, order, axis=1))
    np.testing.assert_array_equal(rows, np.where(np.isneginf(best), -1, order))
    if filtered and k > 2:
        assert (rows == -1).any()  # fewer than k are left for somebody


def test_nobody_gets_nothing() -> None:
    rows, best = top_k_of_table(np.empty((0, 4), dtype=np.float32), 2, None, Filters())
    assert rows.shape == best.shape == (0, 2)
