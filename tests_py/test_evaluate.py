"""Metrics on lists that are known, with the arithmetic in comments."""

from __future__ import annotations

import math
import sys
import zipfile
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from conformance import exactly, two_tastes
from twotower.datasets import movielens
from twotower.errors import DataError, NotFittedError, SchemaError, UnknownIdError
from twotower.evaluation.evaluate import evaluate
from twotower.item_lists import Filters
from twotower.models import Popularity
from twotower.models._asked import Asked

TRAIN = pd.DataFrame({"user_id": [1, 2, 3, 4], "item_id": ["a", "b", "c", "d"]})
# What the model thinks of items a, b, c, d, for users 1 to 4: the lists are
#   1: b c d (a seen)    2: d c a (b seen)    3: a b d (c seen)    4: a b c (d seen)
SCORES = np.array([[9, 8, 7, 6], [1, 5, 2, 3], [9, 8, 7, 6], [9, 8, 7, 6]], dtype=np.float32)
TEST = pd.DataFrame({"user_id": [1, 1, 2, 2, 3, 9], "item_id": ["c", "d", "a", "zebra", "b", "a"]})


class Known(Popularity, kind="test known"):
    """A model that has the scores it was given."""

    scores = SCORES

    def _top_k(
        self, asked: Asked, k: int, *, filter_seen: bool, filters: Filters, num_threads: int
    ) -> tuple[np.ndarray, np.ndarray]:
        scores = self.scores[asked.rows].copy()
        offsets, items = self._seen
        if filters.allowed is not None:
            scores[:, filters.allowed == 0] = -np.inf
        for line, user in enumerate(asked.rows):
            if filter_seen:
                scores[line, items[offsets[user] : offsets[user + 1]]] = -np.inf
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int32)
        scores = np.take_along_axis(scores, rows, axis=1)
        return np.where(np.isneginf(scores), np.int32(-1), rows), scores


@pytest.fixture
def known() -> Known:
    return Known().fit(TRAIN)


def one(table: pd.DataFrame) -> dict[str, Any]:
    (row,) = table.to_dict("records")
    return dict(row)


GAIN = [1 / math.log2(rank + 1) for rank in (1, 2, 3)]


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        # Users 1, 2, 3 are known and have test items; n = 2, 2 (zebra counts), 1. Hits among the first two: 1 of (c, d)
        # at rank 2; none of (a) at rank 3; b at rank 2.
        ("recall@2", (1 / 2 + 0 + 1) / 3),
        ("recall@3", (2 / 2 + 1 / 2 + 1) / 3),
        ("capped_recall@1", 0),
        ("capped_recall@2", (1 / 2 + 0 + 1 / 1) / 3),
        ("precision@2", (1 / 2 + 0 + 1 / 2) / 3),
        ("precision@5", (2 / 5 + 1 / 5 + 1 / 5) / 3),
        ("hit_rate@2", (1 + 0 + 1) / 3),
        ("mrr@3", (1 / 2 + 1 / 3 + 1 / 2) / 3),
        ("ndcg@3", ((GAIN[1] + GAIN[2]) / (GAIN[0] + GAIN[1]) + GAIN[2] / (GAIN[0] + GAIN[1]) + GAIN[1]) / 3),
        # User 1: hits at ranks 2, 3 with precisions 1/2, 2/3 over min(3, 2); user 2: 1/3 over 2; user 3: 1/2 over 1.
        ("map@3", ((1 / 2 + 2 / 3) / 2 + (1 / 3) / 2 + 1 / 2) / 3),
        # Hits 1, 0, 1 of 5 pairs.
        ("micro_recall@2", 2 / 5),
        ("micro_recall@3", 4 / 5),
        # First places: b, d, a of four items.
        ("coverage@1", 3 / 4),
        # Each of four items has one of four positives.
        ("novelty@2", 2.0),
    ],
)
def test_metrics_done_on_paper(known: Known, metric: str, expected: float) -> None:
    row = one(evaluate(known, TEST, metric))
    assert row.pop(metric) == pytest.approx(expected, rel=1e-12)
    # User 4 is known and has no test row, user 9 is not known.
    assert row == {"model": "Known", "users": 3, "users_without_test_items": 1, "unknown_users": 1}


def test_unmasked_lists_start_with_what_was_seen(known: Known) -> None:
    # 1: a b c d, 2: b d c a, 3: a b c d. c at rank 3, d at 4; a at 4; b at 2.
    row = one(evaluate(known, TEST, ["recall@3", "hit_rate@2"], filter_seen=False))
    assert row["recall@3"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert row["hit_rate@2"] == pytest.approx(1 / 3)


def test_pairs_seen_in_training_stay_in_the_truth(known: Known) -> None:
    # (1, a) was seen: masked, it cannot be hit and still counts in n.
    test = pd.DataFrame({"user_id": [1, 1], "item_id": ["a", "b"]})
    assert one(evaluate(known, test, "recall@4"))["recall@4"] == 1 / 2
    assert one(evaluate(known, test, "recall@4", filter_seen=False))["recall@4"] == 1


def test_removed_items_are_not_in_the_lists_and_stay_in_the_truth() -> None:
    known = Known().fit(TRAIN).remove_items("c")
    # 1: b d, of c d; 2: d a, of a zebra; 3: a b d, of b.
    assert one(evaluate(known, TEST, "recall@2"))["recall@2"] == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    popular = evaluate(known, TEST, "recall@4", on_unknown="popular", filter_seen=False)
    assert one(popular)["recall@4"] == pytest.approx((1 / 2 + 1 / 2 + 1 + 1) / 4)


def test_ids_without_an_order_have_rows_of_their_own_in_each_table() -> None:
    # Text and numbers cannot be compared: rows follow the first appearance, "b", 7, "a" in fit and "a", "b" in the test.
    train = pd.DataFrame({"user_id": [1, 2, 2, 3, 3], "item_id": ["b", 7, "a", 7, "a"]})
    test = pd.DataFrame({"user_id": [1, 1, 3], "item_id": ["a", "b", "b"]})
    row = one(evaluate(Popularity().fit(train), test, ["recall@2", "recall@3"], filter_seen=False))
    # Everyone's list is 7, a, b: user 1 finds a of (a, b), then both; user 3 finds b at rank 3.
    assert (row["recall@2"], row["recall@3"]) == ((1 / 2 + 0) / 2, 1)


def test_a_pair_counts_once(known: Known) -> None:
    twice = pd.concat([TEST, TEST.sample(frac=1, random_state=0)])
    pd.testing.assert_frame_equal(
        evaluate(known, twice, ["recall@2", "micro_recall@3"]), evaluate(known, TEST, ["recall@2", "micro_recall@3"])
    )


def test_one_row_a_model_in_order(known: Known) -> None:
    table = evaluate([Popularity().fit(TRAIN), known, Known().fit(TRAIN)], TEST)
    assert list(table.columns) == [
        "model",
        "recall@10",
        "ndcg@10",
        "users",
        "users_without_test_items",
        "unknown_users",
    ]
    assert table.model.tolist() == ["Popularity", "Known", "Known 2"]
    assert table["recall@10"].dtype == np.float64
    assert table.users.dtype == np.int64
    assert table.iloc[1, 1:].tolist() == table.iloc[2, 1:].tolist()
    named = evaluate({"mine": known}, TEST)
    assert named.model.tolist() == ["mine"]


def test_all_models_are_measured_on_the_users_that_all_of_them_know(known: Known) -> None:
    other = Popularity().fit(pd.DataFrame({"user_id": [1, 3, 9], "item_id": ["a", "c", "b"]}))
    table = evaluate([known, other], TEST, "recall@3")
    # Users 1 and 3 are known to both; 2 and 9 to one of them each; 4 is known to one and has no test rows.
    assert table.users.tolist() == [2, 2]
    assert table.unknown_users.tolist() == [2, 2]
    assert table.users_without_test_items.tolist() == [0, 0]
    assert table["recall@3"].iloc[0] == 1
    # The other one knows a, b, c; user 1 saw a and gets b, c: c of (c, d). User 3 saw c and gets a, b: b of (b).
    assert table["recall@3"].iloc[1] == pytest.approx((1 / 2 + 1) / 2)


def test_unknown_users_may_have_the_popularity_list(known: Known) -> None:
    # User 9 gets a, b, c, d by equal counts: a at rank 1.
    row = one(evaluate(known, TEST, "recall@1", on_unknown="popular"))
    assert row == {"model": "Known", "recall@1": 1 / 4, "users": 4, "users_without_test_items": 1, "unknown_users": 1}


def test_unknown_users_may_be_an_error(known: Known) -> None:
    with pytest.raises(UnknownIdError) as caught:
        evaluate(known, TEST, on_unknown="raise")
    assert str(caught.value) == (
        "evaluate: users of test: 1 of 4 ids is unknown (first: 9); "
        "leave them out, or pass on_unknown='skip' or 'popular'"
    )


def test_ratings_decide_what_is_relevant_where_the_models_say_so() -> None:
    train = TRAIN.assign(stars=[5, 5, 5, 1])
    test = pd.DataFrame({"user_id": [1, 1, 2], "item_id": ["b", "c", "a"], "stars": [4, 3, 1]})
    model = Popularity(rating_col="stars", min_rating=4).fit(train)
    # (1, b) is left: the list of 1 is b, c, d. Users 2, 3, 4 have no relevant row.
    expected = {
        "model": "Popularity",
        "precision@1": 1.0,
        "users": 1,
        "users_without_test_items": 3,
        "unknown_users": 0,
    }
    assert one(evaluate(model, test, "precision@1")) == expected
    # Without the column every row is relevant.
    assert one(evaluate(model, test.drop(columns="stars"), "precision@1"))["users"] == 2


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_the_kind_of_the_test_table_comes_back(known: Known, make: Any) -> None:
    test = make(TEST.to_dict("list"))
    table = evaluate(known, test, ["recall@2"])
    assert type(table) is type(test)
    found = nw.from_native(table, eager_only=True)
    assert found.columns == ["model", "recall@2", "users", "users_without_test_items", "unknown_users"]
    assert found["recall@2"].to_list() == [pytest.approx(1 / 2)]


# --- functions as metrics ---------------------------------------------------------------------------------------------


def test_a_function_is_averaged_under_its_name(known: Known) -> None:
    def first_is_right(ranked: np.ndarray, relevant: list[np.ndarray]) -> list[float]:
        assert ranked.dtype == np.int32
        assert ranked.shape == (3, 3)
        # a, b, c, d are rows 0 to 3; zebra is not known to the model.
        assert [items.tolist() for items in relevant] == [[2, 3], [0], [1]]
        return [float(best in items) for best, items in zip(ranked[:, 1], relevant, strict=True)]

    row = one(evaluate(known, TEST, ["recall@3", first_is_right]))
    # Second places c, c, b.
    assert row["first_is_right"] == pytest.approx(2 / 3)
    assert row["recall@3"] == pytest.approx((1 + 1 / 2 + 1) / 3)


def test_a_function_alone_sees_ten_places(known: Known) -> None:
    def width(ranked: np.ndarray, relevant: list[np.ndarray]) -> np.ndarray:
        return np.full(len(relevant), ranked.shape[1])

    assert one(evaluate(known, TEST, width))["width"] == 10


def test_a_function_must_give_one_number_a_user(known: Known) -> None:
    def total(ranked: np.ndarray, relevant: list[np.ndarray]) -> float:
        return 1.0

    sentence = "evaluate: the function 'total' gave values of shape (), but must give one number a user, shape (3,)"
    with pytest.raises(ValueError, match=exactly(sentence)):
        evaluate(known, TEST, total)


# --- sameness ---------------------------------------------------------------------------------------------------------

EVERYTHING = [
    "recall@5",
    "capped_recall@7",
    "precision@3",
    "ndcg@20",
    "hit_rate@1",
    "mrr@10",
    "map@10",
    "micro_recall@50",
    "coverage@5",
    "novelty@9",
]


def test_numbers_do_not_depend_on_threads_or_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = two_tastes()
    model = Popularity().fit(train)
    expected = evaluate(model, test, EVERYTHING, n_jobs=1)
    pd.testing.assert_frame_equal(evaluate(model, test, EVERYTHING, n_jobs=3), expected, check_exact=True)
    monkeypatch.setattr(sys.modules[evaluate.__module__], "_USERS_A_PASS", 7)
    pd.testing.assert_frame_equal(evaluate(model, test, EVERYTHING, n_jobs=2), expected, check_exact=True)


def test_the_order_of_the_test_rows_does_not_matter() -> None:
    train, test = two_tastes()
    model = Popularity().fit(train)
    shuffled = test.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(
        evaluate(model, shuffled, EVERYTHING), evaluate(model, test, EVERYTHING), check_exact=False, rtol=1e-12
    )


def test_bounds_and_order_of_the_metrics() -> None:
    train, test = two_tastes()
    row = one(
        evaluate(
            Popularity().fit(train),
            test,
            [f"{name}@{k}" for name in ("recall", "hit_rate", "ndcg", "mrr") for k in (1, 5, 60)],
        )
    )
    assert all(0 <= row[f"{name}@{k}"] <= 1 for name in ("recall", "hit_rate", "ndcg", "mrr") for k in (1, 5, 60))
    assert all(row[f"{name}@1"] <= row[f"{name}@5"] <= row[f"{name}@60"] for name in ("recall", "hit_rate", "mrr"))
    # Every unseen item is in the list, so every test item is found.
    assert row["recall@60"] == row["hit_rate@60"] == 1


# --- published figures ------------------------------------------------------------------------------------------------


def adjacency(path: Any, name: str) -> pd.DataFrame:
    """Read lines of a user and its items."""
    lines = [line.split() for line in zipfile.ZipFile(path).read(name).splitlines()]
    users = np.repeat([int(line[0]) for line in lines], [len(line) - 1 for line in lines])
    return pd.DataFrame({"user_id": users, "item_id": [int(item) for line in lines for item in line[1:]]})


@pytest.mark.parametrize(
    ("archive", "folder", "expected"),
    [
        ("reczoo-movielens1m_m1.zip", "Movielens1M_m1", {"recall@20": 0.1161, "ndcg@20": 0.1176}),
        (
            "gowalla-lightgcn.zip",
            "gowalla",
            {"recall@20": 0.0416, "ndcg@20": 0.0317, "precision@20": 0.0139, "hit_rate@20": 0.2038},
        ),
    ],
)
def test_popularity_has_its_known_figures(
    shared_data: Any, archive: str, folder: str, expected: dict[str, float]
) -> None:
    path = shared_data / archive
    model = Popularity().fit(adjacency(path, f"{folder}/train.txt"))
    row = one(evaluate(model, adjacency(path, f"{folder}/test.txt"), list(expected)))
    assert {metric: round(row[metric], 4) for metric in expected} == expected


@pytest.mark.parametrize(("min_rating", "expected"), [(4, (0.0476, 0.0533)), (None, (0.0442, 0.0482))])
def test_popularity_on_returning_users(
    shared_data: Any, min_rating: float | None, expected: tuple[float, float]
) -> None:
    """ml-1m by global time, users with at least 5 training rows; counts of the positives and of all training rows."""
    ratings = movielens("ml-1m", path=shared_data / "ml-1m-rebuilt.zip").ratings
    ratings = ratings.sort_values("timestamp", kind="stable")
    train, valid, test = ratings.iloc[:800_167], ratings.iloc[800_167:900_188], ratings.iloc[900_188:]
    rows_of = train.user_id.value_counts()
    model = Popularity(rating_col="rating", min_rating=min_rating).fit(train)
    for part, users, recall in zip((valid, test), (490, 986), expected, strict=True):
        liked = part[part.user_id.isin(rows_of.index[rows_of >= 5]) & (part.rating >= 4)]
        row = one(evaluate(model, liked, "recall@10"))
        assert (row["users"], round(row["recall@10"], 4)) == (users, recall)


# --- bad input --------------------------------------------------------------------------------------------------------

NAMES = "recall, capped_recall, precision, ndcg, hit_rate, mrr, map, micro_recall, coverage, novelty, rmse, mae, mse"


@pytest.mark.parametrize(
    ("metrics", "error", "sentence"),
    [
        (
            "ndgc@10",
            ValueError,
            f"evaluate: metric 'ndgc@10' is unknown, but must be one of {NAMES}, as in 'recall@10'; "
            "did you mean 'ndcg@10'?",
        ),
        (
            "HR@5",
            ValueError,
            f"evaluate: metric 'HR@5' is unknown, but must be one of {NAMES}, as in 'recall@10'; "
            "did you mean 'hit_rate@5'?",
        ),
        ("xyz", ValueError, f"evaluate: metric 'xyz' is unknown, but must be one of {NAMES}, as in 'recall@10'"),
        ("ndcg", ValueError, "evaluate: metric 'ndcg' needs a cut-off of at least 1; write 'ndcg@10'"),
        (["recall@0"], ValueError, "evaluate: metric 'recall@0' needs a cut-off of at least 1; write 'recall@10'"),
        (["recall@x"], ValueError, "evaluate: metric 'recall@x' needs a cut-off of at least 1; write 'recall@10'"),
        ([], ValueError, "evaluate: metrics is empty, but must have at least one, such as 'recall@10'"),
        ([10], TypeError, "evaluate: metric 10 is a int, but must be a name such as 'recall@10' or a function"),
        (10, TypeError, "evaluate: metrics is 10, but must be names such as 'recall@10', or functions"),
    ],
)
def test_metrics_that_do_not_exist_are_answered_with_the_nearest(
    known: Known, metrics: Any, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error) as caught:
        evaluate(known, TEST, metrics)
    assert str(caught.value) == sentence


def test_a_metric_named_twice_is_one_column(known: Known) -> None:
    assert list(evaluate(known, TEST, ["recall@2", "recall@02"]).columns[1:-3]) == ["recall@2"]


def test_models_that_do_not_go_together_are_refused(known: Known) -> None:
    other = Popularity(user_col="person").fit(TRAIN.rename(columns={"user_id": "person"}))
    sentence = (
        "evaluate: user_col is 'user_id' in Known and 'person' in Popularity, but must be the same in all models; "
        "fit them on tables with the same columns"
    )
    with pytest.raises(ValueError, match=exactly(sentence)):
        evaluate([known, other], TEST)
    other = Popularity(rating_col="stars", min_rating=4).fit(TRAIN.assign(stars=5))
    sentence = (
        "evaluate: rating_col is None in a and 'stars' in b, but must be the same in all models, "
        "since it tells which test rows are relevant; "
        "fit them with the same"
    )
    with pytest.raises(ValueError, match=exactly(sentence)):
        evaluate({"a": known, "b": other}, TEST)


def test_bad_models_and_tables_are_refused(known: Known) -> None:
    with pytest.raises(ValueError, match=exactly("evaluate: models is empty, but must have at least one fitted model")):
        evaluate([], TEST)
    with pytest.raises(TypeError, match=exactly("evaluate: 'str' is a str, but must be a recommender of this package")):
        evaluate([known, "popular"], TEST)  # type: ignore[list-item]
    with pytest.raises(
        NotFittedError, match=r"^evaluate: this Popularity is not fitted yet; call fit\(interactions\) first$"
    ):
        evaluate([known, Popularity()], TEST)
    with pytest.raises(SchemaError, match="item_id"):
        evaluate(known, TEST[["user_id"]])
    with pytest.raises(TypeError, match="test"):
        evaluate(known, TEST.to_numpy())
    with pytest.raises(DataError, match=r"^evaluate: test has no relevant rows; "):
        evaluate(known, TEST.head(0))
    with pytest.raises(DataError, match=r"^evaluate: none of the 1 test users was there in fit \(first: 9\); "):
        evaluate(known, TEST.tail(1))
    with pytest.raises(
        ValueError, match=exactly("evaluate: on_unknown is 'warn', but must be one of 'skip', 'popular', 'raise'")
    ):
        evaluate(known, TEST, on_unknown="warn")


# --- ratings ----------------------------------------------------------------------------------------------------------


class Rating(Known, kind="test rating"):
    """Predicts that the rating is what `Known` thinks."""

    @property
    def _predicts(self) -> str:
        return "stars"

    def _score_pairs(
        self, user_rows: np.ndarray, item_rows: np.ndarray, *, num_threads: int, moments: Any = None
    ) -> np.ndarray:
        found: np.ndarray = self.scores[user_rows, item_rows]
        return found


# User 1: c is 7 and predicted 7, d is 5 and predicted 6. User 2: a is 4 and predicted 1. Nobody knows zebra and 9.
STARS = TEST.assign(stars=[7.0, 5.0, 4.0, 3.0, 8.0, 1.0])


def test_errors_of_ratings_are_over_all_rows_that_are_known() -> None:
    # Errors 0, 1, -3, and b of user 3: 8 - 8 = 0.
    row = one(evaluate(Rating().fit(TRAIN), STARS, ["mae", "mse", "rmse"]))
    assert (row["mae"], row["mse"], row["rmse"]) == (1.0, 2.5, math.sqrt(2.5))
    assert (row["ratings"], row["unknown_ratings"], row["users"]) == (4, 2, 3)


def test_both_kinds_of_metrics_share_a_table() -> None:
    table = evaluate([Rating().fit(TRAIN), Popularity().fit(TRAIN)], STARS, ["rmse", "ndcg@2"])
    assert list(table.columns[:3]) == ["model", "rmse", "ndcg@2"]
    assert np.isnan(table.rmse[1])
    assert (
        table["ndcg@2"].tolist()
        == evaluate([Rating().fit(TRAIN), Popularity().fit(TRAIN)], STARS, "ndcg@2")["ndcg@2"].tolist()
    )


def test_what_is_wrong_with_ratings_is_named() -> None:
    model = Rating().fit(TRAIN)
    sentence = (
        "evaluate: 'rmse' is of predicted ratings, but Popularity only ranks; give a model of ratings, such as RatingModel or "
        "Ranker(target=\"rating\"), or metrics such as 'ndcg@10'"
    )
    with pytest.raises(ValueError, match=exactly(sentence)):
        evaluate(Popularity().fit(TRAIN), STARS, "rmse")
    with pytest.raises(
        ValueError, match=exactly("evaluate: metric 'rmse@5' has a cut-off, but is of single ratings; write 'rmse'")
    ):
        evaluate(model, STARS, "rmse@5")
    with pytest.raises(ValueError, match=r"did you mean 'mae'\?$"):
        evaluate(model, STARS, "mean_absolute_error")
    with pytest.raises(SchemaError, match="stars"):
        evaluate(model, TEST, "rmse")
    sentence = "evaluate: column 'stars' of test is missing or infinite in 1 row (first: 2); drop these rows"
    with pytest.raises(DataError, match=exactly(sentence)):
        evaluate(model, STARS.assign(stars=[1, 2, None, 3, 4, 5]), "mse")
    with pytest.raises(UnknownIdError, match=r"column 'user_id' of test: 1 of 6 ids is unknown"):
        evaluate(model, STARS, "mae", on_unknown="raise")
    sentence = (
        "evaluate: none of the 1 row of test has a user and an item that the models know; test on users and items of the training "
        "part"
    )
    with pytest.raises(DataError, match=exactly(sentence)):
        evaluate(model, STARS.tail(1), "mae")
