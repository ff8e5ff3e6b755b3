"""Networks over ids: the kit, tastes and ratings that can be learned, the cut first layer, bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import twotower as tt
from conformance import RecommenderConformance, exactly, interactions, two_tastes
from twotower.errors import DataError

QUICK: dict[str, Any] = {"dim": 8, "epochs": 12, "learning_rate": 0.02, "shrink": 0.03, "verbose": 0}


class TestNeuMF(RecommenderConformance):
    needs_two = True

    def make(self, **options: Any) -> tt.NeuMF:
        return tt.NeuMF(**(QUICK | {"factors": 4, "hidden": (8, 4)} | options))


class TestDeepNCF(RecommenderConformance):
    needs_two = True

    def make(self, **options: Any) -> tt.DeepNCF:
        return tt.DeepNCF(**(QUICK | {"hidden": (8,), "loss": "bpr"} | options))


class TestCFNN(RecommenderConformance):
    needs_two = True

    def make(self, **options: Any) -> tt.CFNN:
        return tt.CFNN(**(QUICK | {"hidden": (8, 4)} | options))


# --- does it learn ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["logistic", "bpr", "softmax"])
@pytest.mark.parametrize("kind", [tt.NeuMF, tt.DeepNCF], ids=lambda kind: kind.__name__)
def test_it_finds_the_two_tastes(kind: Any, loss: str) -> None:
    train, test = two_tastes()
    model = kind(loss=loss, epochs=40, learning_rate=0.02, shrink=0.01, dropout=0.3, verbose=0).fit(train)
    lists = model.recommend(k=5)
    own_taste = (lists.item_id >= 30) == (lists.user_id % 2 == 1)
    assert own_taste.mean() > 0.7
    table = tt.evaluate([tt.Popularity().fit(train), model], test, ["recall@10"])
    assert table["recall@10"][1] > 1.1 * table["recall@10"][0]


def rated() -> pd.DataFrame:
    """Ratings 1 to 5: 3, +1 where user and item are of one kind, else -1, and what the item's number adds."""
    rng = np.random.default_rng(0)
    pairs = pd.DataFrame({"user_id": rng.integers(0, 60, 2500), "item_id": rng.integers(0, 40, 2500)}).drop_duplicates()
    same = (pairs.user_id % 2 == pairs.item_id % 2).to_numpy()
    return pairs.assign(rating=3.0 + np.where(same, 1, -1) + (pairs.item_id % 3 - 1).to_numpy())


def test_a_cfnn_with_ratings_predicts_them_in_their_range() -> None:
    table = rated()
    train, test = table.iloc[:1200], table.iloc[1200:]
    model = tt.CFNN(rating_col="rating", dropout=0, epochs=60, batch_size=128, learning_rate=0.01, verbose=0).fit(train)
    predicted = model.predict(test)
    assert predicted.min() >= 1
    assert predicted.max() <= 5
    assert np.sqrt(np.mean((predicted - test.rating) ** 2)) < 0.6 * test.rating.std()
    wide = tt.CFNN(rating_col="rating", rating_range=(0, 6), epochs=1, verbose=0).fit(train)
    assert wide.predict(test).max() <= 6


def test_a_cfnn_with_min_rating_ranks_positives() -> None:
    table = rated()
    model = tt.CFNN(rating_col="rating", min_rating=4, epochs=30, batch_size=128, learning_rate=0.01, verbose=0).fit(
        table
    )
    scores = model.predict(table)
    assert scores[table.rating >= 4].mean() > scores[table.rating < 4].mean()
    assert "rmse" not in tt.evaluate(model, table, ["recall@5"]).columns


def test_validation_keeps_the_best_epoch() -> None:
    train, test = two_tastes()
    model = tt.NeuMF(epochs=6, verbose=0).fit(train, eval_set=test)
    curve = model.learning_curve_
    assert list(curve.columns) == ["epoch", "loss", "ndcg@10"]
    assert model.best_epoch_ == curve["epoch"][curve["ndcg@10"].idxmax()]


def test_features_are_not_looked_at() -> None:
    data = tt.datasets.synthetic(num_users=60, num_items=40, num_interactions=800, random_state=0, kind="pandas")
    with_tables = tt.NeuMF(**QUICK).fit(data.ratings, users=data.users, items=data.items)
    used = {field.column for field in with_tables.schema_.fields if field.width is not None}
    assert used == {"user_id", "item_id"}


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "error", "sentence"),
    [
        (
            tt.NeuMF(hidden=()),
            ValueError,
            "fit: hidden is (), but must have a layer at least, since without one this is a product of vectors; "
            "pass hidden=(64, 32), or use MatrixFactorization",
        ),
        (tt.NeuMF(factors=0), ValueError, "fit: factors is 0, but must be at least 1"),
        (tt.NeuMF(hidden=(8, 0)), ValueError, "fit: hidden[1] is 0, but must be at least 1"),
        (tt.NeuMF(negatives=0), ValueError, "fit: negatives is 0, but must be at least 1"),
        (tt.DeepNCF(activation="tanh"), ValueError, "fit: activation is 'tanh', but must be one of 'relu', 'gelu'"),
        (
            tt.CFNN(rating_range=(1, 5)),
            ValueError,
            "fit: rating_range is (1, 5), but no ratings are predicted; pass rating_col= without min_rating, or leave "
            "rating_range out",
        ),
    ],
    ids=str,
)
def test_options_out_of_range_are_named(model: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=exactly(sentence)):
        model.fit(interactions())


def test_ratings_outside_their_range_and_a_constant_are_named() -> None:
    table = rated()
    with pytest.raises(DataError, match="outside rating_range 2 to 4"):
        tt.CFNN(rating_col="rating", rating_range=(2, 4)).fit(table)
    with pytest.raises(DataError, match="is 3 in every row, but must differ to be predicted"):
        tt.CFNN(rating_col="rating").fit(table.assign(rating=3.0))
