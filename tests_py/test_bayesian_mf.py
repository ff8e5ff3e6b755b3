"""BayesianMF: the kit, and ratings of two factors that it must find."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from conformance import DotProductConformance, exactly
from rated import with_ratings
from twotower.models import BayesianMF, BiasModel


class RatedFactors(BayesianMF, kind="test rated factors"):
    def fit(self, interactions: Any, *tables: Any, **named: Any) -> Any:
        return super().fit(with_ratings(interactions, self.item_col), *tables, **named)


class TestBayesianMF(DotProductConformance):
    times_better_than_random = 1.2

    def make(self, **options: Any) -> BayesianMF:
        return RatedFactors(**{"dim": 3, "burn_in": 5, "samples": 10} | options)

    # The class lives in the tests, which a fresh process does not import.
    test_a_file_opens_in_a_fresh_process = None


def test_it_predicts_better_than_biases() -> None:
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(100 * 60)[:3000], 60)
    left, right = rng.normal(size=(100, 2)), rng.normal(size=(60, 2))
    ratings = 3 + (left[users] * right[items]).sum(axis=1) + 0.3 * rng.normal(size=len(users))
    frame = pd.DataFrame({"user_id": users, "item_id": items, "rating": ratings})
    train, test = frame[:2500], frame[2500:]
    errors = [
        np.sqrt(np.mean((model.fit(train).predict(test) - test.rating) ** 2))
        for model in (BiasModel(), BayesianMF(dim=4, burn_in=10, samples=20))
    ]
    assert errors[1] < 0.5 < errors[0]


@pytest.mark.parametrize("option", ["dim", "samples"])
def test_options_are_checked_in_fit(option: str) -> None:
    with pytest.raises(ValueError, match=exactly(f"fit: {option} is 0, but must be at least 1")):
        BayesianMF(**{option: 0}).fit(pd.DataFrame({"user_id": [1], "item_id": [1], "rating": [1.0]}))
