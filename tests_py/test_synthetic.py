"""Synthetic ratings: the promised shapes, the same bytes for a seed, and a truth that really is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from twotower.datasets import Synthetic, synthetic
from twotower.datasets._titles import GENRES


@pytest.fixture(scope="module")
def data() -> Synthetic:
    return synthetic(kind="pandas")


# --- tables -----------------------------------------------------------------------------------------------------------


def test_the_default_set(data: Synthetic) -> None:
    assert repr(data) == (
        "Synthetic (pandas)\n"
        "  ratings      60000 rows  user_id, item_id, rating, timestamp\n"
        "  users         2000 rows  user_id, gender, age, occupation\n"
        "  items         1000 rows  item_id, title, year, genres"
    )
    assert repr(data.truth) == "Truth(2000 users, 1000 items, 24 factors, 64 periods)"
    assert data.ratings.dtypes.astype(str).tolist() == ["int64", "int64", "float64", "int64"]
    assert data.users.user_id.tolist() == list(range(1, 2001))
    assert data.items.item_id.tolist() == list(range(1, 1001))
    assert data.ratings.user_id.is_monotonic_increasing
    assert data.ratings.groupby("user_id").timestamp.is_monotonic_increasing.all()
    assert not data.ratings.duplicated(["user_id", "item_id"]).any()
    assert set(data.ratings.rating) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert data.ratings.rating.mean() == pytest.approx(3.7, abs=0.2)
    assert set(data.users.gender) == {"F", "M"}
    assert data.users.age.between(15, 80).all()
    assert data.users.occupation.nunique() == 15
    assert data.items.title.is_unique
    assert data.items.year.between(1925, 2022).all()
    assert {genre for genres in data.items.genres for genre in genres} <= set(GENRES)
    assert data.items.genres.map(len).between(1, 3).all()
    assert all(len(set(genres)) == len(genres) for genres in data.items.genres)


def test_a_long_tail_of_items_and_users(data: Synthetic) -> None:
    of_item = data.ratings.item_id.value_counts()
    assert of_item.head(100).sum() > 0.3 * len(data.ratings)  # a tenth of the items, nearly four in ten of the rows
    of_user = data.ratings.user_id.value_counts()
    assert of_user.min() >= 5
    assert of_user.max() > 5 * of_user.median()


def test_popularity_moves_and_items_appear(data: Synthetic) -> None:
    newest = data.ratings.timestamp.quantile(0.8)
    counts = [half.item_id.value_counts() for _, half in data.ratings.groupby(data.ratings.timestamp > newest)]
    old, new = (count.reindex(data.items.item_id, fill_value=0) for count in counts)
    assert set(new.nlargest(50).index) - set(old.nlargest(50).index)
    first = data.ratings.groupby("item_id").timestamp.min()
    assert (first > data.ratings.timestamp.quantile(0.5)).sum() > 50


@pytest.mark.parametrize("kind", ["polars", "pyarrow"])
def test_every_kind_of_frame_has_the_same_rows(kind: str) -> None:
    one, two = synthetic(30, 20, 200, kind="pandas"), synthetic(30, 20, 200, kind=kind)
    assert isinstance(two.ratings, pl.DataFrame if kind == "polars" else pa.Table)
    for name in ("ratings", "users", "items"):
        frame = getattr(two, name)
        other = pl.from_arrow(frame) if kind == "pyarrow" else frame
        assert other.to_dicts() == getattr(one, name).to_dict("records")
    lists = one.truth.best_lists(5, seen=one.ratings)
    assert np.array_equal(two.truth.best_lists(5, seen=two.ratings), lists)


@pytest.mark.parametrize(
    ("users", "items", "interactions"),
    [(1, 1, 0), (1, 1, 1), (1, 2, 1), (7, 1, 7), (3, 2, 3), (1, 13, 7), (5, 7, 20), (13, 101, 663), (2, 3000, 11)],
)
@pytest.mark.parametrize("seed", [0, 5])
def test_small_and_full_sizes(users: int, items: int, interactions: int, seed: int) -> None:
    data = synthetic(users, items, interactions, random_state=seed, kind="pandas")
    assert [len(table) for table in (data.ratings, data.users, data.items)] == [interactions, users, items]
    assert not data.ratings.duplicated(["user_id", "item_id"]).any()
    assert data.ratings.groupby("user_id").timestamp.is_monotonic_increasing.all()
    assert data.ratings.user_id.value_counts().max() <= (items + 1) // 2 or interactions == 0


# --- seeds ------------------------------------------------------------------------------------------------------------


def contents(data: Synthetic) -> list[Any]:
    return [getattr(data, name).to_dict("list") for name in ("ratings", "users", "items")]


def test_one_seed_gives_one_set(data: Synthetic) -> None:
    again = synthetic(kind="pandas")
    assert contents(again) == contents(data)
    assert again.truth.scores().tobytes() == data.truth.scores().tobytes()
    assert contents(synthetic(random_state=1, kind="pandas")) != contents(data)


def test_these_rows_stay_from_release_to_release() -> None:
    data = synthetic(50, 40, 500, random_state=3, kind="polars")
    assert data.ratings.head(3).rows() == [(1, 29, 4.0, 1604524503), (1, 33, 5.0, 1604524587), (1, 10, 4.0, 1604524613)]
    assert data.ratings.sum().row(0) == (12026, 9901, 1647.0, 808196521891)
    assert data.items.row(0) == (1, "The Amber Battalion", 2018, ["War", "Horror", "Drama"])
    assert data.users.row(0) == (1, "M", 23, "musician")


def test_more_interactions_leave_users_and_items_as_they_are() -> None:
    few, many = synthetic(30, 20, 100, kind="pandas"), synthetic(30, 20, 200, kind="pandas")
    assert contents(few)[1:] == contents(many)[1:]
    assert np.array_equal(few.truth.user_factors, many.truth.user_factors)


# --- the truth --------------------------------------------------------------------------------------------------------


def test_scores_are_factors_and_popularity(data: Synthetic) -> None:
    truth = data.truth
    assert truth.scores().shape == (2000, 1000)
    time_s = truth.start_s + 3 * truth.period_s + 5
    scores = truth.scores([4, 2], timestamp=time_s)
    assert scores[1, 7] == pytest.approx(truth.user_factors[1] @ truth.item_factors[7] + truth.log_popularity[3, 7])
    not_out = np.isinf(truth.log_popularity[3])
    assert not_out.sum() > 100
    assert np.array_equal(np.isinf(scores[0]), not_out)
    assert np.array_equal(truth.scores([1], timestamp=0), truth.scores([1], timestamp=truth.start_s))
    assert np.array_equal(truth.scores([1], timestamp=2**40), truth.scores([1]))
    with pytest.raises(ValueError, match="synthetic") as caught:
        truth.scores([1, 2001])
    assert str(caught.value) == "synthetic: user 2001 is unknown, but users must be from 1 to 2000"


def test_best_lists_against_a_plain_sort() -> None:
    data = synthetic(20, 30, 250, random_state=2, kind="pandas")
    time_s = int(data.ratings.timestamp.median())
    scores = data.truth.scores(timestamp=time_s)
    lists = data.truth.best_lists(30, timestamp=time_s, seen=data.ratings)
    for user, row in enumerate(lists, 1):
        seen = set(data.ratings.item_id[data.ratings.user_id == user])
        left = [item for item in range(1, 31) if item not in seen and np.isfinite(scores[user - 1, item - 1])]
        left.sort(key=lambda item: (-scores[user - 1, item - 1], item))
        assert row.tolist() == left + [-1] * (30 - len(left))
    assert np.array_equal(data.truth.best_lists(4, users=[7, 3]), data.truth.best_lists(4)[[6, 2]])
    assert data.truth.best_lists(50).shape == (20, 50)
    with pytest.raises(ValueError, match="best_lists: k is 0, but must be at least 1"):
        data.truth.best_lists(0)


def recall(lists: NDArray[np.int64], test: pd.DataFrame) -> float:
    relevant = test.groupby("user_id").item_id.agg(set)
    return float(np.mean([len(wanted & set(lists[user - 1])) / len(wanted) for user, wanted in relevant.items()]))


def test_nothing_beats_the_truth_and_taste_matters(data: Synthetic) -> None:
    ordered = data.ratings.sort_values("timestamp", kind="stable")
    train, test = ordered.iloc[:48_000], ordered.iloc[48_000:]
    test = test[test.user_id.isin(train.user_id)]
    time_s = int(test.timestamp.median())
    best = recall(data.truth.best_lists(10, timestamp=time_s, seen=train), test)
    popular = train.item_id.value_counts().reindex(data.items.item_id, fill_value=0).to_numpy()
    scores = np.tile(popular.astype(float), (2000, 1))
    scores[train.user_id - 1, train.item_id - 1] = -np.inf
    popularity = recall(np.argsort(-scores, axis=1, kind="stable")[:, :10] + 1, test)
    strangers = data.truth.best_lists(10, users=1 + (np.arange(2000) + 1) % 2000, timestamp=time_s)
    assert best > 2.5 * popularity > 0
    assert best > 2.5 * recall(strangers, test)


def test_features_tell_a_part_of_taste(data: Synthetic) -> None:
    factors = data.truth.user_factors
    told = pd.get_dummies(data.users.drop(columns="user_id"), columns=["gender", "occupation"]).to_numpy(float)
    told = np.column_stack([told, np.ones(len(told))])
    fitted = told @ np.linalg.lstsq(told, factors, rcond=None)[0]
    explained = 1 - (factors - fitted).var(axis=0) / factors.var(axis=0)
    assert 0.2 < explained[: len(GENRES)].mean() < 0.7
    assert explained[len(GENRES) :].max() < 0.05


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_users": 0}, "num_users is 0, but must be a whole number of at least 1"),
        ({"num_items": -3}, "num_items is -3, but must be a whole number of at least 1"),
        ({"num_items": 2.5}, "num_items is 2.5, but must be a whole number of at least 1"),
        ({"num_users": True}, "num_users is True, but must be a whole number of at least 1"),
        ({"num_interactions": -1}, "num_interactions is -1, but must be a whole number of at least 0"),
        ({"random_state": -1}, "random_state is -1, but must be a whole number of at least 0"),
        ({"random_state": None}, "random_state is None, but must be a whole number of at least 0"),
        (
            {"num_users": 3, "num_items": 5, "num_interactions": 10},
            "num_interactions is 10, but must be at most 9, half of all pairs; "
            "ask for fewer, or for more users or items",
        ),
        ({"kind": "R"}, "kind is 'R', but must be one of 'pandas', 'polars', 'pyarrow', or None"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="synthetic") as caught:
        synthetic(**options)
    assert str(caught.value) == f"synthetic: {message}"
