"""BiasModel: the kit, and a rating done on paper."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

import twotower as tt
from conformance import RecommenderConformance, exactly
from rated import with_ratings
from twotower.errors import DataError
from twotower.models import BiasModel

RATINGS = pd.DataFrame({"user_id": [1, 1, 2], "item_id": ["a", "b", "a"], "rating": [5.0, 3.0, 4.0]})


class RatedBias(BiasModel, kind="test rated bias"):
    def fit(self, interactions: Any, *tables: Any, **named: Any) -> Any:
        return super().fit(with_ratings(interactions, self.item_col), *tables, **named)


class TestBiasModel(RecommenderConformance):
    def make(self, **options: Any) -> BiasModel:
        return RatedBias(**options)

    # The class lives in the tests, which a fresh process does not import.
    test_a_file_opens_in_a_fresh_process = None


def test_one_rating_is_the_mean_and_two_biases() -> None:
    # Mean 4; without shrinkage the three ratings are met exactly: user 2 is 1 below user 1, b is 2 below a.
    model = BiasModel(user_shrink=0, item_shrink=0).fit(RATINGS)
    pairs = pd.DataFrame({"user_id": [1, 1, 2, 2], "item_id": ["a", "b", "a", "b"]})
    assert model.predict(pairs).tolist() == pytest.approx([5, 3, 4, 2], abs=1e-4)


def test_who_has_no_rating_has_no_bias() -> None:
    users = pd.DataFrame({"user_id": [1, 2, 3]})
    items = pd.DataFrame({"item_id": ["a", "b", "z"]})
    model = BiasModel().fit(RATINGS, users=users, items=items)
    assert model.predict(pd.DataFrame({"user_id": [3], "item_id": ["z"]})).tolist() == [4]


def test_what_cannot_be_learned_is_refused() -> None:
    sentence = (
        "fit: column 'rating' is 3 in every row, but a model of ratings needs at least two different ones; name another "
        "rating_col, or use a model of positives such as Popularity or ImplicitALS"
    )
    with pytest.raises(DataError, match=exactly(sentence)):
        BiasModel().fit(RATINGS.assign(rating=3))
    with pytest.raises(TypeError, match=exactly("fit: rating_col is None, but must be the name of a column")):
        BiasModel(rating_col=None).fit(RATINGS)


def test_it_is_measured_as_a_model_of_ratings() -> None:
    table = pd.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [1, 2, 1, 3], "rating": [1.0, 2.0, 4.0, 5.0]})
    for model in (tt.BiasModel(), tt.BayesianMF(dim=2, burn_in=1, samples=2, verbose=0)):
        model.fit(table)
        errors = model.predict(table) - table["rating"]
        measured = tt.evaluate(model, table, metrics=["rmse", "mae"])
        assert measured["rmse"][0] == pytest.approx(float((errors**2).mean()) ** 0.5, rel=1e-6)
        assert measured["mae"][0] == pytest.approx(float(errors.abs().mean()), rel=1e-6)
