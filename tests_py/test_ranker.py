"""Rankers: the kit, ratings and orders that can be learned, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import twotower as tt
from conformance import RecommenderConformance, exactly
from twotower.errors import DataError, SchemaError, UnknownIdError
from twotower.models import Ranker, load


class TestRanker(RecommenderConformance):
    beats_popularity = False
    needs_two = True

    def make(self, **options: Any) -> Ranker:
        return Ranker(**({"dim": 8, "hidden": (8,), "epochs": 3, "verbose": 0} | options))


class TestRankerOfDotProducts(TestRanker):
    def make(self, **options: Any) -> Ranker:
        return super().make(**({"interaction": "dot", "loss": "bpr"} | options))


# --- ratings ----------------------------------------------------------------------------------------------------------


def rated(num: int = 4_000, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Ratings 1 to 5 that features tell: 3, +1 where the kind of the user is that of the item, else -1, and the item's own."""
    rng = np.random.default_rng(seed)
    users = pd.DataFrame(
        {"user_id": np.arange(60), "kind": np.where(np.arange(60) % 2, "a", "b"), "noise": rng.integers(0, 3, 60)}
    )
    items = pd.DataFrame(
        {"item_id": np.arange(40), "genre": np.where(np.arange(40) % 2, "a", "b"), "own": np.arange(40) % 3 - 1}
    )
    pairs = pd.DataFrame({"user_id": rng.integers(0, 60, num), "item_id": rng.integers(0, 40, num)}).drop_duplicates()
    same = (pairs.user_id % 2 == pairs.item_id % 2).to_numpy()
    pairs["rating"] = 3.0 + np.where(same, 1, -1) + (pairs.item_id % 3 - 1).to_numpy()
    return pairs, users, items


RATED, USERS, ITEMS = rated()
TRAIN, TEST = RATED.iloc[:1500], RATED.iloc[1500:]
QUICK: dict[str, Any] = {
    "dim": 8,
    "hidden": (16,),
    "epochs": 15,
    "batch_size": 128,
    "learning_rate": 0.01,
    "verbose": 0,
}


def rmse(predicted: Any, true: Any) -> float:
    return float(np.sqrt(np.mean((predicted - np.asarray(true)) ** 2)))


@pytest.mark.parametrize("interaction", ["dcn", "concat", "product", "dot", "fm"])
def test_every_interaction_learns_what_features_tell(interaction: str) -> None:
    model = Ranker(target="rating", interaction=interaction, **QUICK).fit(TRAIN, users=USERS, items=ITEMS)
    assert rmse(model.predict(TEST), TEST.rating) < 0.4 < 0.8 * TEST.rating.std()
    assert model.loss_ == "mse"


@pytest.mark.parametrize("loss", ["mse", "huber", "ordinal"])
def test_losses_of_ratings_predict_in_the_range(loss: str) -> None:
    model = Ranker(target="rating", loss=loss, **QUICK).fit(TRAIN, users=USERS, items=ITEMS)
    predicted = model.predict(TEST)
    assert rmse(predicted, TEST.rating) < 0.5
    assert predicted.min() >= 1
    assert predicted.max() <= 5
    # Lists have the ratings that predict gives.
    listed = model.recommend([0, 1], k=40, filter_seen=False)
    np.testing.assert_array_equal(listed.score, model.predict(listed))


def test_an_ordinal_score_is_the_expected_level() -> None:
    from twotower.models._pair_lesson import Link

    # Levels 1, 2, 4 with cuts 0 and log 3: at 0 P(>1) = 1/2, P(>2) = 1/4, so 1 + 1/2 + 2/4 = 2.
    link = Link(cuts=(0.0, float(np.log(3))), levels=(1.0, 2.0, 4.0))
    found = link(np.array([0.0, -1e30, 1e30, -np.inf], dtype=np.float32))
    np.testing.assert_allclose(found, [2, 1, 4, -np.inf], rtol=1e-6)


def test_predictions_are_cut_off_where_asked() -> None:
    model = Ranker(target="rating", rating_range=(1, 10), **QUICK).fit(TRAIN, users=USERS, items=ITEMS)
    assert model._link.high == 10
    narrow = Ranker(target="rating", **QUICK).fit(TRAIN[TRAIN.rating.between(2, 4)], users=USERS, items=ITEMS)
    assert (narrow.predict(TEST).min(), narrow.predict(TEST).max()) == (2, 4)


@pytest.mark.parametrize("loss", ["logistic", "bpr", "softmax", "lambda"])
def test_losses_of_order_put_the_liked_first(loss: str) -> None:
    liked = TRAIN[TRAIN.rating >= 4]
    model = Ranker(loss=loss, **QUICK).fit(liked, users=USERS, items=ITEMS)
    table = tt.evaluate(
        [model, tt.Popularity().fit(liked, users=USERS, items=ITEMS)], TEST[TEST.rating >= 4], "ndcg@10"
    )
    assert table["ndcg@10"][0] > 1.2 * table["ndcg@10"][1]


@pytest.mark.parametrize("loss", ["bpr", "softmax", "lambda"])
def test_losses_of_order_take_ratings_too(loss: str) -> None:
    model = Ranker(target="rating", loss=loss, **QUICK).fit(TRAIN, users=USERS, items=ITEMS)
    ranked = model.rank(TEST).merge(TEST, on=["user_id", "item_id"])
    first, last = (ranked.groupby("user_id").rating.agg(how).mean() for how in ("first", "last"))
    assert first > last + 2


def test_an_evaluation_has_both_kinds_of_metrics() -> None:
    ranker = Ranker(target="rating", **QUICK).fit(TRAIN, users=USERS, items=ITEMS)
    table = tt.evaluate([ranker, tt.Popularity().fit(TRAIN)], TEST, ["rmse", "ndcg@5", "mae", "mse"])
    assert list(table.columns[1:5]) == ["rmse", "ndcg@5", "mae", "mse"]
    assert table.rmse[0] == pytest.approx(rmse(ranker.predict(TEST), TEST.rating))
    assert table.mse[0] == pytest.approx(table.rmse[0] ** 2)
    assert np.isnan(table.rmse[1])
    assert table.ratings.tolist() == [len(TEST)] * 2


def test_validation_is_by_what_is_predicted() -> None:
    model = Ranker(target="rating", patience=2, **QUICK | {"epochs": 6}).fit(
        TRAIN, users=USERS, items=ITEMS, eval_set=TEST
    )
    curve = model.learning_curve_
    assert list(curve.columns) == ["epoch", "loss", "rmse"]
    assert model.best_epoch_ == curve.epoch[curve.rmse.idxmin()]
    assert rmse(model.predict(TEST), TEST.rating) == pytest.approx(curve.rmse.min())
    ranker = Ranker(loss="bpr", **QUICK | {"epochs": 2}).fit(TRAIN, users=USERS, items=ITEMS, eval_set=TEST)
    assert ranker.learning_curve_.columns[-1] == "ndcg@10"
    measured = tt.evaluate(ranker, TEST, "ndcg@10")["ndcg@10"][0]
    assert measured == pytest.approx(ranker.learning_curve_["ndcg@10"].max())


# --- candidates -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    return Ranker(target="rating", **QUICK | {"epochs": 3}).fit(TRAIN, users=USERS, items=ITEMS)


def test_candidates_are_put_in_order_user_by_user(ranker: Ranker) -> None:
    candidates = pd.DataFrame({"user_id": [7, 3, 7, 3, 7], "item_id": [1, 2, 30, 4, 5], "why": list("abcde")})
    table = ranker.rank(candidates)
    assert list(table.columns) == ["user_id", "item_id", "score", "rank"]
    assert table.user_id.tolist() == [7, 7, 7, 3, 3]
    assert table["rank"].tolist() == [1, 2, 3, 1, 2]
    np.testing.assert_array_equal(table.score, ranker.predict(table))
    assert all(block.is_monotonic_decreasing for _, block in table.groupby("user_id").score)
    pd.testing.assert_frame_equal(ranker.rank(candidates, k=2), table[table["rank"] <= 2].reset_index(drop=True))


def test_what_is_wrong_with_candidates_is_named(ranker: Ranker) -> None:
    pairs = pd.DataFrame({"user_id": [3, 999, 3], "item_id": [1, 2, 2]})
    sentence = (
        "rank: column 'user_id' of candidates: 1 of 3 ids is unknown (first: 999); leave these pairs out, or pass "
        "on_unknown='warn'"
    )
    with pytest.raises(UnknownIdError, match=exactly(sentence)):
        ranker.rank(pairs)
    with pytest.warns(
        UserWarning, match=r"^rank: 1 pair of candidates has a user or an item that the model does not know"
    ):
        assert ranker.rank(pairs, on_unknown="warn").user_id.tolist() == [3, 3]
    sentence = "rank: candidates has no rows, but must have at least 1; give a row a user and item"
    with pytest.raises(DataError, match=exactly(sentence)):
        ranker.rank(pairs.head(0))
    sentence = "rank: 1 pair of candidates is in more than one row (first: (3, 1)); keep one row a pair"
    with pytest.raises(DataError, match=exactly(sentence)):
        ranker.rank(pd.concat([pairs.head(1)] * 2))
    with pytest.raises(ValueError, match=exactly("rank: k is 0, but must be at least 1")):
        ranker.rank(pairs, k=0)
    with pytest.raises(SchemaError, match="item_id"):
        ranker.rank(pairs[["user_id"]])


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "ratings", "error", "sentence"),
    [
        (
            {},
            TRAIN.assign(rating=4.0),
            DataError,
            "fit: column 'rating' is 4 in every row, but must differ to be predicted; pass target=None to learn from the pairs "
            "alone",
        ),
        (
            {"rating_range": (1, 4)},
            pd.DataFrame({"user_id": [0, 1, 2], "item_id": [0, 1, 2], "rating": [1.0, 5.0, 4.5]}),
            DataError,
            "fit: column 'rating' is outside rating_range 1 to 4, in 2 rows (first values: 5.0, 4.5); correct these rows or "
            "widen the range",
        ),
        (
            {"loss": "logistic"},
            pd.DataFrame({"user_id": [0, 1], "item_id": [0, 1], "rating": [1.0, 5.0]}),
            DataError,
            "fit: column 'rating' is outside 0 to 1, which loss=\"logistic\" predicts, in 1 row (first values: 5.0); divide by "
            'the highest, or pass loss="mse"',
        ),
        (
            {"loss": "lambda"},
            pd.DataFrame({"user_id": [0, 1], "item_id": [0, 1], "rating": [1.0, -5.0]}),
            DataError,
            "fit: column 'rating' is negative, but loss='lambda' needs gains of at least 0, in 1 row (first values: -5.0); add a "
            "constant",
        ),
        (
            {"loss": "ordinal"},
            TRAIN.assign(rating=np.arange(len(TRAIN)) / 7),
            DataError,
            f"fit: column 'rating' has {len(TRAIN)} distinct values, but loss=\"ordinal\" takes at most 50; round it, or pass "
            'loss="mse"',
        ),
        (
            {},
            TRAIN.assign(rating=np.where(np.arange(len(TRAIN)) == 3, np.nan, TRAIN.rating)),
            DataError,
            "fit: column 'rating' is missing or infinite in 1 row (first: 3); drop these rows or fill them in",
        ),
        (
            {"rating_range": 5},
            TRAIN,
            TypeError,
            "fit: rating_range is 5, but must be the lowest and the highest rating, such as (1, 5)",
        ),
        (
            {"rating_range": (5, 1)},
            TRAIN,
            ValueError,
            "fit: rating_range is (5, 1), but the lowest must be below the highest",
        ),
        (
            {"min_rating": 4},
            TRAIN,
            ValueError,
            "fit: min_rating is 4, but the target is 'rating', which is predicted for every row; leave one of them out",
        ),
        (
            {"loss": "bpr", "group_size": 1},
            TRAIN,
            ValueError,
            "fit: loss is 'bpr', but a list has one row where group_size is 1 and negatives is 0; pass negatives=4",
        ),
        ({"loss": "msr"}, TRAIN, ValueError, None),
        ({"interaction": "dnc"}, TRAIN, ValueError, None),
        ({"hidden": 64}, TRAIN, TypeError, "fit: hidden is 64, but must be a tuple of widths, such as (64, 32), or ()"),
    ],
)
def test_what_cannot_be_learned_from_is_named(
    options: dict[str, Any], ratings: Any, error: Any, sentence: str | None
) -> None:
    with pytest.raises(error, match="did you mean" if sentence is None else exactly(sentence)):
        Ranker(target="rating", **QUICK | options).fit(ratings)


def test_a_missing_target_is_named() -> None:
    with pytest.raises(SchemaError, match=r"rating"):
        Ranker(target="rating", **QUICK).fit(TRAIN.drop(columns="rating"))
    sentence = (
        "fit: loss is 'mse', but target is None, and it predicts a column; pass target=\"rating\", or a loss that learns from "
        'pairs alone, such as loss="bpr"'
    )
    with pytest.raises(ValueError, match=exactly(sentence)):
        Ranker(loss="mse").fit(TRAIN)
    sentence = "fit: negatives is 0, but target is None, and positives alone teach nothing; leave negatives out, or pass target="
    with pytest.raises(ValueError, match=exactly(sentence)):
        Ranker(negatives=0).fit(TRAIN)


# --- every kind of input, files, threads ------------------------------------------------------------------------------


def test_contexts_and_histories_enter(tmp_path: Any) -> None:
    rows = TRAIN.assign(timestamp=np.arange(len(TRAIN)) * 3600 * 7)
    model = Ranker(
        loss="bpr",
        time_col="timestamp",
        user_features=["kind", tt.History()],
        context_features=[tt.Timestamp("timestamp", parts=("hour",))],
        **QUICK | {"epochs": 2},
    ).fit(rows, users=USERS, items=ITEMS)
    assert model.group_size_ == 1
    assert {field.kind for field in model.schema_.fields} >= {"History", "Timestamp"}
    asked = pd.DataFrame({"user_id": [3, 999], "kind": ["a", "b"], "timestamp": [0, 0], "history": [[1, 2], [3]]})
    table = model.recommend(asked, k=3, on_unknown="features")
    assert table.user_id.tolist() == [3] * 3 + [999] * 3
    path = tmp_path / "ranker.tt"
    model.save(path)
    again = load(path)
    pd.testing.assert_frame_equal(again.recommend(asked, k=3, on_unknown="features"), table)
    assert again._metric == "ndcg@10"


def test_threads_do_not_change_a_bit() -> None:
    tables = [
        Ranker(target="rating", n_jobs=n, **QUICK | {"epochs": 2}).fit(TRAIN, users=USERS, items=ITEMS).recommend(k=5)
        for n in (1, 2, 7)
    ]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    pd.testing.assert_frame_equal(tables[0], tables[2])


def test_a_random_seed_is_drawn_and_told() -> None:
    model = Ranker(loss="bpr", **QUICK | {"epochs": 1, "random_state": None}).fit(TRAIN)
    again = Ranker(loss="bpr", **QUICK | {"epochs": 1, "random_state": model.random_state_}).fit(TRAIN)
    pd.testing.assert_frame_equal(model.recommend(k=3), again.recommend(k=3))


def test_ctrl_c_keeps_what_was_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    from twotower.models import _training

    run_epoch, epochs = _training._run_epoch, iter([True, True, False])

    def interrupted(*arguments: Any) -> float:
        if not next(epochs):
            raise KeyboardInterrupt
        return run_epoch(*arguments)

    monkeypatch.setattr(_training, "_run_epoch", interrupted)
    model = Ranker(target="rating", **QUICK)
    with pytest.raises(KeyboardInterrupt):
        model.fit(TRAIN, users=USERS, items=ITEMS)
    assert model.best_epoch_ == 2
    assert len(model.learning_curve_) == 2
    assert np.isfinite(model.predict(TEST)).all()
