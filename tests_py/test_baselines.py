"""Popularity: the kit, and counts done on paper."""

from __future__ import annotations

import sys
from typing import Any

import pandas as pd
import polars as pl
import pytest

from conformance import RecommenderConformance, exactly, interactions, rows
from twotower.errors import DataError, SchemaError
from twotower.models import Popularity, load


class TestPopularity(RecommenderConformance):
    def make(self, **options: Any) -> Popularity:
        return Popularity(**options)


RATINGS = pd.DataFrame(
    {
        "user_id": [1, 1, 1, 2, 2, 3, 3],
        "item_id": ["a", "b", "c", "a", "b", "a", "d"],
        "rating": [5, 4, 1, 2, 5, 5, 5],
        "weight": [1.0, 0.5, 3.0, 1.0, 0.25, 1.0, 2.5],
    }
)


def scores(model: Popularity) -> dict[str, float]:
    table = model.recommend([1], k=10, filter_seen=False)
    return dict(zip(table.item_id, table.score, strict=True))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # Rows of an item; c and d tie, and the smaller row is first.
        ({}, {"a": 3, "b": 2, "c": 1, "d": 1}),
        # Without min_rating a rating does not change what a row counts.
        ({"rating_col": "rating"}, {"a": 3, "b": 2, "c": 1, "d": 1}),
        # Rows below 4 do not count: one of a, and c altogether.
        ({"rating_col": "rating", "min_rating": 4}, {"a": 2, "b": 2, "d": 1, "c": 0}),
        # a 1 + 1 + 1, b 0.5 + 0.25, c 3, d 2.5.
        ({"weight_col": "weight"}, {"a": 3, "c": 3, "d": 2.5, "b": 0.75}),
        # Both: a 1 + 1, b 0.5 + 0.25, c none, d 2.5.
        ({"weight_col": "weight", "rating_col": "rating", "min_rating": 4}, {"d": 2.5, "a": 2, "b": 0.75, "c": 0}),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else None,
)
def test_the_score_is_the_weighted_count(options: dict[str, Any], expected: dict[str, float]) -> None:
    found = scores(Popularity(**options).fit(RATINGS))
    assert found == expected
    assert list(found) == list(expected)


def test_a_pair_that_comes_twice_counts_twice() -> None:
    assert scores(Popularity().fit(pd.concat([RATINGS, RATINGS.tail(1)])))["d"] == 2


def test_rows_that_do_not_count_are_seen_all_the_same() -> None:
    model = Popularity(rating_col="rating", min_rating=4).fit(RATINGS)
    assert model.recommend([1], k=10).item_id.tolist() == ["d"]
    assert rows(model.history_) == sorted(rows(RATINGS[["user_id", "item_id"]]))


def test_everyone_gets_the_same_list_but_for_what_they_have_seen() -> None:
    table = Popularity().fit(RATINGS).recommend(k=2)
    assert table.groupby("user_id").item_id.apply(list).to_dict() == {1: ["d"], 2: ["c", "d"], 3: ["b", "c"]}


def test_tables_of_users_and_items_are_accepted_and_widen_who_is_known() -> None:
    users = pd.DataFrame({"user_id": [3, 2, 1, 9], "age": [30, 40, 50, 60]})
    items = pd.DataFrame({"item_id": ["e", "d", "c", "b", "a"], "price": [1.0, 2.0, 3.0, 4.0, 5.0]})
    model = Popularity().fit(RATINGS, users=users, items=items)
    assert model.recommend([9], k=10).item_id.tolist() == ["a", "b", "c", "d", "e"]
    assert scores(model)["e"] == 0


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"rating_col": 3}, TypeError, "fit: rating_col is 3, but must be the name of a column or None"),
        ({"weight_col": ""}, TypeError, "fit: weight_col is '', but must be the name of a column or None"),
        (
            {"min_rating": 4},
            SchemaError,
            "fit: min_rating is 4, but rating_col is None; pass rating_col= too",
        ),
        ({"rating_col": "rating", "min_rating": "4"}, TypeError, "fit: min_rating is '4', but must be a finite number"),
        ({"item_col": "user_id"}, ValueError, "fit: user_col and item_col are both 'user_id', but must be two columns"),
    ],
)
def test_options_are_checked_in_fit(options: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error) as caught:
        Popularity(**options).fit(RATINGS)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
def test_weights_that_mean_nothing_are_refused(bad: float) -> None:
    with pytest.raises(DataError, match="weight"):
        Popularity(weight_col="weight").fit(RATINGS.assign(weight=[1, 1, bad, 1, 1, 1, 1]))


def test_a_rating_column_that_is_missing_is_named() -> None:
    with pytest.raises(SchemaError, match="stars"):
        Popularity(rating_col="stars", min_rating=4).fit(RATINGS)


def test_a_large_count_is_exact() -> None:
    many = pd.DataFrame({"user_id": [0] * 70000 + [1] * 70001, "item_id": [0] * 70000 + [1] * 70001})
    assert Popularity().fit(many).recommend([0], filter_seen=False).score.tolist() == [70001, 70000]


def test_a_library_that_is_not_here_is_named(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Popularity().fit(pl.from_pandas(RATINGS)).save(tmp_path / "model")
    model = load(tmp_path / "model")
    monkeypatch.setitem(sys.modules, "polars", None)
    sentence = (
        "Popularity: the model was fitted on a polars table, but polars is not installed here; "
        "install it (pip install polars), or call recommend with as_arrays=True"
    )
    with pytest.raises(ImportError, match=exactly(sentence)):
        model.recommend()
    assert model.recommend([1], k=1, as_arrays=True)[0].tolist() == [[3]]


def test_no_user_has_a_vector_of_its_own() -> None:
    """What a count cannot answer is not there, rather than there and wrong."""
    model = Popularity().fit(interactions())
    assert not hasattr(model, "similar_items")
    assert not hasattr(model, "user_embeddings")


FILMS = pd.DataFrame({"item_id": list("abcd"), "genres": [["x"], ["x", "y"], ["y"], ["z"]]})


def test_ratings_may_make_an_item_popular() -> None:
    # a (5 + 2 + 5) / 3, b (4 + 5) / 2, c 1, d 5; the mean of all is 27 / 7.
    found = scores(Popularity(method="mean_rating", rating_col="rating").fit(RATINGS))
    assert found == pytest.approx({"d": 5, "b": 4.5, "a": 4, "c": 1})
    found = scores(Popularity(method="weighted_rating", min_votes=1, rating_col="rating").fit(RATINGS))
    mean = 27 / 7
    assert found == pytest.approx({"d": (5 + mean) / 2, "b": (9 + mean) / 3, "a": (12 + mean) / 4, "c": (1 + mean) / 2})


def test_only_the_newest_days_may_count() -> None:
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta([0, 1, 2, 3, 4, 5, 6], unit="D")
    model = Popularity(period=3, time_col="time").fit(RATINGS.assign(time=days))
    assert scores(model) == {"a": 1, "b": 1, "d": 1, "c": 0}
    with pytest.raises(SchemaError, match=exactly("fit: period is 3 days, but time_col is None; pass time_col= too")):
        Popularity(period=3).fit(RATINGS)


def test_the_genres_of_a_user_may_count(tmp_path: Any) -> None:
    model = Popularity(by="genres").fit(RATINGS, items=FILMS, users=pd.DataFrame({"user_id": [1, 2, 3, 4]}))
    # User 3 met a (x) and d (z): half and half. Counts are 3, 2, 1, 1.
    found = dict(rows(model.recommend([3], k=4, filter_seen=False)[["item_id", "score"]]))
    assert found == {"a": 1.5, "b": 1.0, "d": 0.5, "c": 0.0}
    # User 4 met nothing: x has 1.5 + 1.5 + 1, y 0.5 + 0.5 + 1, z 1 of 7.
    found = dict(rows(model.recommend([4], k=4)[["item_id", "score"]]))
    assert found == pytest.approx({"a": 3 * 4 / 7, "b": 2 * 6 / 7, "c": 2 / 7, "d": 1 / 7})
    model.save(tmp_path / "model")
    pd.testing.assert_frame_equal(load(tmp_path / "model").recommend(k=3), model.recommend(k=3))
    sentence = (
        "fit: by is 'genre', but items has no column of that name with lists or single values; did you mean 'genres'?"
    )
    with pytest.raises(SchemaError, match=exactly(sentence)):
        Popularity(by="genre").fit(RATINGS, items=FILMS)
    with pytest.raises(
        SchemaError, match=exactly("fit: by is 'genres', but there is no table of items with columns; pass items=")
    ):
        Popularity(by="genres").fit(RATINGS)
