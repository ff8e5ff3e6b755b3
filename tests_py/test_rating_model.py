"""The model of explicit ratings: the kit of dot products, ratings that can be learned, what history adds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import twotower as tt
from conformance import DotProductConformance, exactly, interactions
from twotower.errors import DataError, SchemaError
from twotower.models import RatingModel, load

QUICK: dict[str, Any] = {"dim": 8, "epochs": 30, "batch_size": 128, "dropout": 0.1, "weight_decay": 0.1, "verbose": 0}


def with_ratings(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(rating=table.item_id % 5 + 1.0)


def biased(seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ratings 3 + user + item + noise, cut off at 1 and 5."""
    rng = np.random.default_rng(seed)
    pairs = pd.DataFrame(
        {"user_id": rng.integers(0, 50, 2_000), "item_id": rng.integers(0, 60, 2_000)}
    ).drop_duplicates()
    users, items = rng.normal(0, 0.7, 50), rng.normal(0, 0.7, 60)
    rating = 3 + users[pairs.user_id] + items[pairs.item_id] + rng.normal(0, 0.3, len(pairs))
    pairs["rating"] = np.clip(rating, 1, 5)
    return pairs.iloc[:1000], pairs.iloc[1000:]


TRAIN, TEST = biased()


def rmse(predicted: Any, true: Any) -> float:
    return float(np.sqrt(np.mean((predicted - np.asarray(true)) ** 2)))


def test_it_learns_who_is_kind_and_what_is_good() -> None:
    model = RatingModel(**QUICK).fit(TRAIN)
    found = rmse(model.predict(TEST, on_unknown="nan"), TEST.rating)
    assert found < 0.45 < 0.5 * TEST.rating.std()
    table = tt.evaluate(model, TEST, ["rmse", "mae", "mse"])
    assert table.rmse[0] == pytest.approx(found)


def test_its_vectors_multiply_to_the_score() -> None:
    model = RatingModel(**QUICK | {"epochs": 5}).fit(TRAIN)
    assert model.user_embeddings().shape == (50, 10)
    products = (model.user_embeddings([3] * 5) * model.item_embeddings([1, 2, 3, 4, 5])).sum(axis=1)
    pairs = pd.DataFrame({"user_id": 3, "item_id": [1, 2, 3, 4, 5]})
    np.testing.assert_allclose(
        np.clip(products, TRAIN.rating.min(), TRAIN.rating.max()), model.predict(pairs), rtol=1e-5
    )


def test_what_a_user_rated_says_something() -> None:
    # Users rate 8 items of their taste 5 and 3 others 1; nothing but what they rated tells the taste of somebody unknown.
    rng = np.random.default_rng(0)
    rows = []
    for user in range(150):
        own, other = 20 * (user % 2), 20 * (1 - user % 2)
        rows += [(user, own + item, 5.0) for item in rng.choice(20, 8, replace=False)]
        rows += [(user, other + item, 1.0) for item in rng.choice(20, 3, replace=False)]
    ratings = pd.DataFrame(rows, columns=["user_id", "item_id", "rating"])
    alike = [tt.Id("user_id", dropout=1.0)]
    options = QUICK | {"dropout": 0.0, "weight_decay": 0.0, "epochs": 15, "group_size": 2}
    model = RatingModel(user_features=alike, **options).fit(ratings)
    newcomers = pd.DataFrame({"user_id": [998, 999], "history": [[0, 1, 2, 3, 4], [20, 21, 22, 23, 24]]})
    first = model.recommend(newcomers, k=10, on_unknown="features").groupby("user_id").item_id
    assert (first.max()[998] < 20, first.min()[999] >= 20) == (True, True)
    assert "table.history.item_id" in model._parameters
    assert RatingModel(implicit_history=False, **QUICK | {"epochs": 1}).fit(ratings)._histories is None


def test_a_file_predicts_the_same(tmp_path: Any) -> None:
    model = RatingModel(**QUICK | {"epochs": 2}).fit(TRAIN)
    model.save(tmp_path / "ratings.tt")
    np.testing.assert_array_equal(load(tmp_path / "ratings.tt").predict(TEST), model.predict(TEST))


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(DataError, match=r"^fit: column 'rating' is 2 in every row, but must differ"):
        RatingModel().fit(TRAIN.assign(rating=2))
    with pytest.raises(SchemaError, match="rating"):
        RatingModel().fit(TRAIN[["user_id", "item_id"]])
    with pytest.raises(TypeError, match=exactly("fit: target is None, but must be the name of a column")):
        RatingModel(target=None).fit(TRAIN)  # type: ignore[arg-type]
    sentence = "fit: user_features has a History, but this model has one of its own; leave it out, or use Ranker"
    with pytest.raises(SchemaError, match=exactly(sentence)):
        RatingModel(user_features=[tt.History()]).fit(TRAIN)
    with pytest.raises(DataError, match=r"^fit: eval_set has no row whose user and item are in the interactions"):
        RatingModel(**QUICK).fit(TRAIN, eval_set=TEST.assign(user_id=999))


def test_the_schema_tells_the_history() -> None:
    model = RatingModel(**QUICK | {"epochs": 1}).fit(TRAIN)
    (line,) = [field for field in model.schema_.fields if field.kind == "History"]
    assert line.note == "mean of the newest 2000 items, with vectors of their own"


def test_the_kit_of_lists_holds_for_ratings() -> None:
    kit = DotProductConformance()
    model = RatingModel(**QUICK | {"epochs": 2}).fit(with_ratings(interactions()))
    kit.test_one_table_ranked_from_one(model)
    kit.test_a_list_is_the_same_alone_and_in_a_batch(model)
    kit.test_users_come_in_the_order_asked_and_as_often(model)
    kit.test_nobody_asked_gives_an_empty_table(model, interactions())
    kit.test_copies_work_on_their_own(model)
    kit.test_removed_items_are_like_nothing(model)
