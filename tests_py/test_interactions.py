from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from twotower.errors import DataError, SchemaError
from twotower.interactions import align, catalogue_vocabulary, check_learnable, encode_interactions
from twotower.vocabulary import Vocabulary

KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
}
RATINGS = {
    "user_id": [7, 5, 7, 9],
    "item_id": ["b", "a", "c", "a"],
    "rating": [5, 1, 4, 3],
    "weight": [0.5, 2.0, 1.0, 0.0],
    "timestamp": [30, 10, 20, 40],
}


@pytest.fixture(params=list(KINDS))
def make(request: pytest.FixtureRequest) -> Callable[[dict[str, Any]], Any]:
    return KINDS[request.param]


def encode(data: Any, **options: Any) -> Any:
    return encode_interactions(data, **{"user_col": "user_id", "item_col": "item_id", **options})


def test_ids_become_rows(make: Callable[[dict[str, Any]], Any]) -> None:
    found = encode(make(RATINGS))
    assert len(found) == 4
    assert found.users.ids.tolist() == [5, 7, 9]
    assert found.items.ids.tolist() == ["a", "b", "c"]
    assert found.user_rows.tolist() == [1, 0, 1, 2]
    assert found.item_rows.tolist() == [1, 0, 2, 0]
    assert found.user_rows.dtype == found.item_rows.dtype == np.int32
    assert found.weights is None
    assert found.times is None


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({"rating_col": "rating"}, None),
        ({"rating_col": "rating", "min_rating": 4}, [1, 0, 1, 0]),
        ({"weight_col": "weight"}, [0.5, 2, 1, 0]),
        ({"rating_col": "rating", "min_rating": 3.5, "weight_col": "weight"}, [0.5, 0, 1, 0]),
    ],
)
def test_weights(make: Callable[[dict[str, Any]], Any], options: dict[str, Any], weights: list[float] | None) -> None:
    found = encode(make(RATINGS), **options).weights
    assert (found is None) == (weights is None)
    if weights is not None:
        assert found.dtype == np.float32
        assert found.tolist() == weights


def test_times(make: Callable[[dict[str, Any]], Any]) -> None:
    assert encode(make(RATINGS), time_col="timestamp").times.tolist() == [30, 10, 20, 40]
    stamped = {**RATINGS, "timestamp": [dt.datetime(1970, 1, 1, 0, 0, s) for s in (3, 1, 2, 4)]}
    assert encode(make(stamped), time_col="timestamp").times.argsort().tolist() == [1, 2, 0, 3]


def test_ratings_are_kept(make: Callable[[dict[str, Any]], Any]) -> None:
    found = encode(make(RATINGS), rating_col="rating", min_rating=4).ratings
    assert found.tolist() == [5, 1, 4, 3]
    assert found.dtype == np.float32
    assert encode(make(RATINGS)).ratings is None


def test_ratings_beyond_float32() -> None:
    with pytest.raises(DataError) as caught:
        encode(pd.DataFrame({**RATINGS, "rating": [1.0, 1e300, 2.0, 3.0]}), rating_col="rating")
    assert str(caught.value) == (
        "fit: column 'rating' is too large for float32 in 1 row (first: 1); divide the ratings by a power of ten"
    )


def test_rows_are_taken(make: Callable[[dict[str, Any]], Any]) -> None:
    found = encode(make(RATINGS), rating_col="rating", weight_col="weight", time_col="timestamp")
    order = np.argsort(found.times, kind="stable")
    taken = found.take(order)
    assert taken.users is found.users
    assert (taken.user_rows.tolist(), taken.item_rows.tolist()) == ([0, 1, 1, 2], [0, 2, 1, 0])
    assert (taken.weights.tolist(), taken.times.tolist(), taken.ratings.tolist()) == (
        [2, 1, 0.5, 0],
        [10, 20, 30, 40],
        [1, 4, 5, 3],
    )
    assert len(encode(make(RATINGS)).take(found.ratings > 3)) == 2


def test_the_table_is_not_changed() -> None:
    frame = pd.DataFrame(RATINGS)
    encode(frame, rating_col="rating", min_rating=4, weight_col="weight", time_col="timestamp")
    pd.testing.assert_frame_equal(frame, pd.DataFrame(RATINGS))


def test_with_vocabularies(make: Callable[[dict[str, Any]], Any]) -> None:
    users, items = Vocabulary.fit(np.array([5, 6, 7, 9], np.int8)), Vocabulary.fit(["c", "b", "a"])
    found = encode(make(RATINGS), users=users, items=items)
    assert found.users is users
    assert found.user_rows.tolist() == [2, 0, 2, 3]
    marked = encode(make(RATINGS), users=Vocabulary.fit([7]), items=Vocabulary.fit(["a"]), on_unknown="mark")
    assert marked.user_rows.tolist() == [0, -1, 0, -1]
    assert marked.item_rows.tolist() == [-1, 0, -1, 0]
    empty = encode(make(RATINGS), users=Vocabulary.fit([]), on_unknown="mark")
    assert empty.user_rows.tolist() == [-1] * 4


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (
            {"user_id": ...},
            {},
            SchemaError,
            "fit: interactions has no column 'user_id'; its columns are 'item_id', 'rating', "
            "'weight', 'timestamp'; name the right one, or add it",
        ),
        (
            {},
            {"user_col": "userId"},
            SchemaError,
            "fit: interactions has no column 'userId'; its columns are 'user_id', "
            "'item_id', 'rating', 'weight', 'timestamp'; did you mean 'user_id'?",
        ),
        (
            {},
            {"rating_col": "stars"},
            SchemaError,
            "fit: interactions has no column 'stars'; its columns are 'user_id', "
            "'item_id', 'rating', 'weight', 'timestamp'; name the right one, or add it",
        ),
        ({}, {"min_rating": 4}, SchemaError, "fit: min_rating is 4, but rating_col is None; pass rating_col= too"),
        (
            {},
            {"rating_col": "rating", "min_rating": float("nan")},
            SchemaError,
            "fit: min_rating is nan, but must be finite; leave it out to take every row",
        ),
        (
            {"user_id": [7, None, 7, None]},
            {},
            DataError,
            "fit: column 'user_id' of interactions has no id in 2 rows "
            "(first: 1, 3); drop these rows or give them an id",
        ),
        (
            {"item_id": ["a", "b", "c", None]},
            {},
            DataError,
            "fit: column 'item_id' of interactions has no id in 1 row (first: 3); drop these rows or give them an id",
        ),
        (
            {"user_id": [1.0, 2.0, np.inf, 1.0]},
            {},
            DataError,
            "fit: column 'user_id' is infinite in 1 row (first: 2); drop these rows or give them an id",
        ),
        ({"user_id": [[1], [2], [1], [3]]}, {}, SchemaError, None),
        (
            {"rating": [1.0, None, np.inf, 2.0]},
            {"rating_col": "rating"},
            DataError,
            "fit: column 'rating' is missing or infinite in 2 rows (first: 1, 2); drop these rows or fill them in",
        ),
        (
            {"weight": [1.0, np.inf, 1.0, 2.0]},
            {"weight_col": "weight"},
            DataError,
            "fit: column 'weight' is missing or infinite in 1 row (first: 1); drop these rows or fill them in",
        ),
        (
            {"weight": [1.0, -0.5, 1.0, -2.0]},
            {"weight_col": "weight"},
            DataError,
            "fit: column 'weight' is negative in 2 rows "
            "(first: 1, 3); a weight is 0 or more, and 0 means seen but not liked",
        ),
        (
            {"weight": [1.0, 1e39, 1.0, 1.0]},
            {"weight_col": "weight"},
            DataError,
            "fit: column 'weight' is too large for float32 in 1 row (first: 1); divide the weights by their mean",
        ),
        (
            {"rating": ["5", "4", "3", "2"]},
            {"rating_col": "rating"},
            SchemaError,
            "fit: column 'rating' holds text (String), but must hold numbers; convert it first",
        ),
        (
            {"timestamp": [1.0, None, 2.0, 3.0]},
            {"time_col": "timestamp"},
            DataError,
            "fit: column 'timestamp' is missing or infinite in 1 row (first: 1); drop these rows or fill them in",
        ),
    ],
)
def test_bad_columns(
    make: Callable[[dict[str, Any]], Any],
    change: dict[str, Any],
    options: dict[str, Any],
    error: type[Exception],
    message: str | None,
) -> None:
    data = {name: values for name, values in {**RATINGS, **change}.items() if values is not ...}
    with pytest.raises(error) as caught:
        encode(make(data), **options)
    if message is not None:
        assert str(caught.value) == message
    else:
        assert str(caught.value).startswith("fit: column 'user_id' of interactions: ids ")


def test_no_rows(make: Callable[[dict[str, Any]], Any]) -> None:
    with pytest.raises(DataError) as caught:
        encode(make({"user_id": [], "item_id": []}))
    assert str(caught.value) == (
        "fit: interactions has no rows, but must have at least 1; check the filter that made it"
    )


def test_ids_that_are_not_in_their_table(make: Callable[[dict[str, Any]], Any]) -> None:
    with pytest.raises(DataError) as caught:
        encode(make(RATINGS), users=Vocabulary.fit([5, 6]))
    assert str(caught.value) == (
        "fit: 2 ids of column 'user_id' are in the interactions but not in users (first: 7, 9); "
        "add their rows to users, or drop these interactions"
    )
    with pytest.raises(DataError) as caught:
        encode(make(RATINGS), items=Vocabulary.fit(["a", "b"]), what="fit: eval_set")
    assert str(caught.value) == (
        "fit: eval_set: 1 id of column 'item_id' is in the interactions but not in items (first: 'c'); "
        "add their rows to items, or drop these interactions"
    )
    with pytest.raises(DataError) as caught:
        encode(make(RATINGS), users=Vocabulary.fit(["5", "7", "9"]))
    assert str(caught.value) == (
        "fit: 3 ids of column 'user_id' are in the interactions but not in users (first: 7, 5, 9); "
        "the ids in users are "
        "string, those in the interactions int64; add their rows to users, or drop these interactions"
    )


# --- tables of users and items ----------------------------------------------------------------------------------------


def test_catalogue(make: Callable[[dict[str, Any]], Any]) -> None:
    users = make({"user_id": [9, 5, 7, 6], "age": [90, 50, 70, 60]})
    vocabulary = catalogue_vocabulary(users, "user_id", side="users")
    assert vocabulary.ids.tolist() == [5, 6, 7, 9]
    aligned = align(users, "user_id", vocabulary, side="users")
    assert aligned.get_column("age").to_list() == [50, 60, 70, 90]
    fewer = align(users, "user_id", Vocabulary.fit([9, 6]), side="users")
    assert fewer.get_column("age").to_list() == [60, 90]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (
            [1, 2, 1, 3, 2, 1],
            "fit: column 'user_id' of users has 2 ids in more than one row (first: 1, 2); keep one row an id",
        ),
        (["a", "a"], "fit: column 'user_id' of users has 1 id in more than one row (first: 'a'); keep one row an id"),
        (
            ["a", None],
            "fit: column 'user_id' of users has no id in 1 row (first: 1); drop these rows or give them an id",
        ),
        ([], "fit: users has no rows, but must have at least 1; leave it out to learn without features"),
    ],
)
def test_bad_catalogues(make: Callable[[dict[str, Any]], Any], ids: list[Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        catalogue_vocabulary(make({"user_id": ids}), "user_id", side="users")
    assert str(caught.value) == message


def test_a_catalogue_without_the_column(make: Callable[[dict[str, Any]], Any]) -> None:
    with pytest.raises(SchemaError) as caught:
        catalogue_vocabulary(make({"movieId": [1]}), "movie_id", side="items")
    assert str(caught.value) == (
        "fit: items has no column 'movie_id'; its columns are 'movieId'; did you mean 'movieId'?"
    )


def test_align_needs_every_id() -> None:
    with pytest.raises(DataError) as caught:
        align(pd.DataFrame({"user_id": [1, 2]}), "user_id", Vocabulary.fit([1, 2, 3, 4]), side="users", what="load")
    assert str(caught.value) == "load: 2 ids have no row in the table users (first: 3, 4); add their rows"


# --- what can be learned ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            {"user_id": [7, 7, 7, 7]},
            {},
            "fit: all positive examples are of one user, but there must be at least 2 users to tell apart; "
            "add interactions, or use Popularity",
        ),
        (
            {"item_id": ["a"] * 4},
            {},
            "fit: all positive examples are of one item, but there must be at least 2 items to tell apart; "
            "add interactions, or use Popularity",
        ),
        (
            {},
            {"rating_col": "rating", "min_rating": 5},
            "fit: all positive examples are of one user, but there must be at least 2 users to tell apart; "
            "add interactions, or use Popularity",
        ),
        (
            {},
            {"rating_col": "rating", "min_rating": 6},
            "fit: no interaction is a positive example, but at least 2 must be; lower min_rating or check the weights",
        ),
    ],
)
def test_nothing_to_compare(change: dict[str, Any], options: dict[str, Any], message: str) -> None:
    encoded = encode(pd.DataFrame({**RATINGS, **change}), **options)
    with pytest.raises(DataError) as caught:
        check_learnable(encoded)
    assert str(caught.value) == message


def test_enough_to_compare() -> None:
    check_learnable(encode(pd.DataFrame(RATINGS)))
