"""EASE: the kit, and the formula in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance import RecommenderConformance, exactly, interactions
from twotower.errors import DataError
from twotower.models import EASE


class TestEASE(RecommenderConformance):
    beats_popularity = True

    def make(self, **options: Any) -> EASE:
        return EASE(**{"regularization": 5.0} | options)


def test_scores_are_those_of_the_formula() -> None:
    train = interactions()
    model = EASE(regularization=3).fit(train)
    met = np.zeros((7, 11))
    met[train.user_id // 10 - 1, train.item_id - 100] = 1
    inverse = np.linalg.inv(met.T @ met + 3 * np.eye(11))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    table = model.recommend(k=11, filter_seen=False).pivot(index="user_id", columns="item_id", values="score")
    np.testing.assert_allclose(table.to_numpy(), met @ weights, atol=1e-6)


def test_a_catalogue_that_is_too_large_is_refused_with_the_cure() -> None:
    sentence = (
        "fit: there are 11 items, but EASE takes at most max_items=10 (its model of these takes 0.0 GiB to fit); keep the "
        "items with the most interactions, raise max_items, or use ItemKNN or ImplicitALS"
    )
    with pytest.raises(DataError, match=exactly(sentence)):
        EASE(max_items=10).fit(interactions())
    with pytest.raises(ValueError, match=exactly("fit: regularization is 0, but must be a finite number above 0")):
        EASE(regularization=0).fit(interactions())
