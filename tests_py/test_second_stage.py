"""The order of a list of candidates."""

from __future__ import annotations

import numpy as np

from twotower.models._cross_fit import Candidates
from twotower.models._second_stage import best_of


def test_equal_scores_are_ranked_by_the_smaller_row_and_empty_places_last() -> None:
    rows = np.array([[7, 2, 5, -1]], dtype=np.int32)
    found = Candidates(np.array([0]), rows, np.zeros((1, 4), dtype=np.float32))
    best, scores = best_of(found, np.array([[1, 1, 3, 9]], dtype=np.float32), 4)
    assert best.tolist() == [[5, 2, 7, -1]]
    assert scores.tolist() == [[3, 1, 1, -np.inf]]
