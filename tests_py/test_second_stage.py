"""Scores of two stages: one scale for all candidates, and the order of a list."""

from __future__ import annotations

import numpy as np

from twotower.models._cross_fit import Candidates
from twotower.models._second_stage import Scale, best_of


def test_scores_are_scaled_to_mean_0_and_deviation_1() -> None:
    scale = Scale.of(np.array([1, 3, 5, 7], dtype=np.float32))
    assert (scale.mean, scale.deviation) == (4, np.sqrt(5))
    np.testing.assert_allclose(scale(np.array([4, 9], dtype=np.float32)), [0, np.sqrt(5)], rtol=1e-6)
    # Scores that are all the same are only shifted.
    assert Scale.of(np.ones(3, dtype=np.float32)).deviation == 1


def test_equal_scores_are_ranked_by_the_smaller_row_and_empty_places_last() -> None:
    rows = np.array([[7, 2, 5, -1]], dtype=np.int32)
    found = Candidates(np.array([0]), rows, np.zeros((1, 4), dtype=np.float32))
    best, scores = best_of(found, np.array([[1, 1, 3, 9]], dtype=np.float32), 4)
    assert best.tolist() == [[5, 2, 7, -1]]
    assert scores.tolist() == [[3, 1, 1, -np.inf]]
