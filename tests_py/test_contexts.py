"""Context: columns of the interactions on the side of the user, in training, as given, and now."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import twotower as tt
from conformance import exactly
from twotower.errors import SchemaError
from twotower.features import EncodedBags, EncodedCodes, EncodedNumbers, EncodedVectors
from twotower.models import _contexts, _dot_product, _pair_fitted, _rows
from twotower.models._asked import GivenToEach, askers
from twotower.models._contexts import first_rows
from twotower.models._fitted import FittedTowers
from twotower.models._given import UsersGiven

NIGHT, NOON = dt.datetime(2021, 3, 4, 2, tzinfo=dt.timezone.utc), dt.datetime(2021, 3, 4, 13, tzinfo=dt.timezone.utc)


def by_hour(kind: str = "seconds", people: int = 100) -> pd.DataFrame:
    """Make interactions in which items 0 to 9 are chosen at night and 10 to 19 at noon, by everyone alike."""
    rng, rows = np.random.default_rng(0), 12 * people
    users, night = np.repeat(np.arange(people), 12), rng.random(rows) < 0.5
    items = rng.integers(0, 10, rows) + np.where(night, 0, 10)
    days = rng.integers(18_600, 18_700, rows) * 86_400
    seconds = days + np.where(night, 2, 13) * 3600 + rng.integers(0, 3600, rows)
    times = seconds if kind == "seconds" else pd.to_datetime(seconds, unit="s", utc=kind == "aware")
    place = np.where(night, "home", "work")
    table = pd.DataFrame({"user_id": users, "item_id": items, "timestamp": times, "place": place})
    return table.drop_duplicates(["user_id", "item_id"])


def made(*features: Any, **options: Any) -> tt.TwoTower:
    settings: dict[str, Any] = {"dim": 8, "epochs": 12, "verbose": 0, "learning_rate": 0.02, "time_col": "timestamp"}
    return tt.TwoTower(context_features=list(features), **(settings | options))


def share_at_night(lists: Any) -> float:
    return float(np.mean(np.asarray(lists["item_id"]) < 10))


@pytest.fixture(scope="module")
def model() -> tt.TwoTower:
    return made(tt.Timestamp("timestamp", parts=("hour",)), tt.Category("place")).fit(by_hour())


def test_lists_follow_the_hour_that_is_given(model: tt.TwoTower) -> None:
    asked = {"user_id": [1, 2, 3]}
    at = {"night": NIGHT, "noon": NOON}
    lists = {
        name: model.recommend(pd.DataFrame(asked | {"timestamp": int(time.timestamp())}), k=5, filter_seen=False)
        for name, time in at.items()
    }
    assert share_at_night(lists["night"]) > 0.9
    assert share_at_night(lists["noon"]) < 0.1
    frame = pl.DataFrame(asked | {"timestamp": [NIGHT] * 3})
    assert share_at_night(model.recommend(frame, k=5, filter_seen=False)) > 0.9


def test_without_a_frame_it_is_now(model: tt.TwoTower, monkeypatch: pytest.MonkeyPatch) -> None:
    for time, wanted in ((NIGHT, 1.0), (NOON, 0.0)):
        monkeypatch.setattr(_contexts, "now", lambda time=time: time.timestamp())
        for users in (None, [1, 2], pd.DataFrame({"user_id": [1, 2]})):
            lists = model.recommend(users, k=5, filter_seen=False)
            assert abs(share_at_night(lists) - wanted) < 0.1


def test_a_column_that_the_frame_lacks_is_missing_or_now(model: tt.TwoTower, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_contexts, "now", NOON.timestamp)
    alone = model.recommend(pd.DataFrame({"user_id": [1], "timestamp": [int(NOON.timestamp())]}), k=5)
    assert alone.equals(model.recommend([1], k=5))
    place = model.recommend(pd.DataFrame({"user_id": [1], "place": ["work"]}), k=5)
    both = model.recommend(pd.DataFrame({"user_id": [1], "place": ["work"], "timestamp": [NOON]}), k=5)
    assert place.equals(both)
    assert place.score.tolist() != alone.score.tolist()
    gone = pd.DataFrame({"user_id": [1], "timestamp": [None], "place": [None]})
    assert model.recommend(gone, k=5).score.tolist() != alone.score.tolist()


@pytest.mark.parametrize("kind", ["naive", "aware"])
def test_any_kind_of_time_is_the_same_time(model: tt.TwoTower, kind: str) -> None:
    other = made(tt.Timestamp("timestamp", parts=("hour",)), tt.Category("place")).fit(by_hour(kind))
    frame = pd.DataFrame({"user_id": [1, 2], "timestamp": [NIGHT, NOON], "place": ["home", None]})
    assert other.recommend(frame, k=5).equals(model.recommend(frame, k=5))


def test_the_schema_has_a_line_for_each_part(model: tt.TwoTower) -> None:
    lines = {field.column: field for field in model.schema_.context}
    assert set(lines) == {"timestamp.hour", "timestamp.cycle", "timestamp.scaled", "place"}
    assert lines["timestamp.hour"].width == 8
    assert lines["place"].memory == 4 * 3 * 8


def test_the_file_knows_the_context(model: tt.TwoTower, tmp_path: Any) -> None:
    model.save(tmp_path / "model")
    loaded = tt.load(tmp_path / "model")
    frame = pd.DataFrame({"user_id": [1, 2], "timestamp": [NIGHT, NOON], "place": ["home", None]})
    assert loaded.recommend(frame, k=5).equals(model.recommend(frame, k=5))
    assert loaded.group_size_ == 1


def test_validation_takes_the_moment_of_the_first_row() -> None:
    table = by_hour()
    held_out = table.drop_duplicates("user_id", keep="last")
    train = table.drop(held_out.index)
    model = made(tt.Timestamp("timestamp"), epochs=8, eval_metric="recall@4", patience=None).fit(
        train, eval_set=held_out
    )
    # Of some nine unseen items half fit the hour.
    assert model.learning_curve_["recall@4"].max() > 0.75
    without = made(tt.Timestamp("timestamp"), epochs=8, eval_metric="recall@4", patience=None, time_col=None)
    assert without.fit(train, eval_set=held_out.drop(columns="timestamp")).learning_curve_["recall@4"].max() < 0.65


def test_evaluate_takes_the_moment_of_the_first_row() -> None:
    table = by_hour()
    held_out = table.drop_duplicates("user_id", keep="last")
    model = made(tt.Timestamp("timestamp"), epochs=8).fit(table.drop(held_out.index))
    assert tt.evaluate(model, held_out, "recall@4")["recall@4"][0] > 0.75


def test_first_rows_are_the_earliest() -> None:
    users = np.array([2, 0, 2, -1, 0, 2])
    times = np.array([5, 9, 1, 0, 9, 1])
    found = first_rows(users, times)
    assert [part.tolist() for part in found] == [[0, 2], [1, 2]]
    assert [part.tolist() for part in first_rows(users, None)] == [[0, 2], [1, 0]]


@pytest.mark.parametrize("options", [{"hidden": (16,)}, {"user_features": [tt.History(encoder="mean")]}], ids=str)
def test_context_goes_with_layers_and_histories(options: dict[str, Any], tmp_path: Any) -> None:
    files = []
    for n_jobs in (1, 2, 7):
        model = made(tt.Timestamp("timestamp", parts=("hour",)), epochs=2, n_jobs=n_jobs, **options).fit(by_hour())
        model.save(tmp_path / "model")
        files.append((tmp_path / "model").read_bytes())
    assert files[1:] == files[:1] * 2
    frame = pd.DataFrame({"user_id": [1], "timestamp": [NIGHT]})
    assert len(model.recommend(frame, k=5)) == 5


# --- pairs at moments of their own ------------------------------------------------------------------------------------

QUICK: dict[str, Any] = {"dim": 8, "epochs": 4, "batch_size": 128, "learning_rate": 0.01, "verbose": 0}
CONTEXT: dict[str, Any] = {
    "context_features": [tt.Timestamp("timestamp", parts=("hour",)), tt.Category("place")],
    "time_col": "timestamp",
}


def rated_by_hour() -> pd.DataFrame:
    """Make ratings that are 4.5 by night and 1.5 by noon for items 0 to 9, and the other way round for the others."""
    rng = np.random.default_rng(1)
    table = by_hour().sample(frac=1, random_state=0)
    items = rng.integers(0, 20, len(table))
    right = (table.place.to_numpy() == "home") == (items < 10)
    ratings = np.where(right, 4.5, 1.5) + rng.normal(0, 0.1, len(table))
    return table.assign(item_id=items, rating=ratings).drop_duplicates(["user_id", "item_id"])


def two_tower() -> Any:
    return tt.TwoTower(**CONTEXT, **QUICK)


def ranker(**options: Any) -> Any:
    return tt.Ranker(hidden=(16,), **CONTEXT, **QUICK, **options)


def fitted(name: str) -> Any:
    """Make a model whose scores depend on the moment."""
    made: dict[str, Any] = {
        "TwoTower": two_tower,
        "Ranker": lambda: ranker(loss="bpr"),
        "Ranker of ratings": lambda: ranker(target="rating"),
        "Ranker, dot": lambda: ranker(target="rating", interaction="dot"),
        "TwoStage": lambda: tt.TwoStage(retriever=two_tower(), ranker=ranker(loss="bpr"), candidates=20),
        "TwoStage, context of the ranker": lambda: tt.TwoStage(
            retriever=tt.TwoTower(**QUICK), ranker=ranker(loss="bpr"), candidates=20, time_col="timestamp"
        ),
        "TwoStage of two rankers": lambda: tt.TwoStage(
            retriever=two_tower(), ranker=ranker(target="rating", interaction="dot"), candidates=20
        ),
        "Hybrid": lambda: tt.Hybrid([tt.Popularity(), two_tower(), ranker(loss="bpr")]),
    }
    return made[name]().fit(rated_by_hour())


NAMES = [
    "TwoTower", "Ranker", "Ranker of ratings", "Ranker, dot", "TwoStage", "TwoStage, context of the ranker",
    "TwoStage of two rankers", "Hybrid",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_predict_gives_the_bits_of_recommend_at_each_moment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_contexts, "now", NOON.timestamp)
    monkeypatch.setattr(_pair_fitted, "USERS_A_PASS", 5)
    monkeypatch.setattr(_dot_product, "USERS_A_PASS", 5)
    model = fitted(name)
    moments = {
        "night": {"timestamp": int(NIGHT.timestamp()), "place": "home"},
        "noon": {"timestamp": int(NOON.timestamp()), "place": "work"},
        "somewhere": {"timestamp": int(NIGHT.timestamp()), "place": None},
    }
    asked = pd.DataFrame({"user_id": np.arange(12)})
    lists = pd.concat(
        [
            model.recommend(asked.assign(**columns), k=20, filter_seen=False).assign(**columns)
            for columns in moments.values()
        ]
    )
    pairs = lists.sample(frac=1, random_state=0)
    np.testing.assert_array_equal(model.predict(pairs), pairs.score)
    for kind in (pl.from_pandas, pa.Table.from_pandas):
        np.testing.assert_array_equal(model.predict(kind(pairs)), pairs.score)
    # The moment matters, so that this says something.
    assert (lists.score.to_numpy()[:240] != model.predict(lists[:240].assign(**moments["noon"]))).any()
    # What is not in the frame is as it is for recommend.
    alone = model.recommend(asked, k=20, filter_seen=False)
    np.testing.assert_array_equal(model.predict(alone), alone.score)
    place = model.recommend(asked.assign(place="home"), k=20, filter_seen=False).assign(place="home")
    np.testing.assert_array_equal(model.predict(place), place.score)


def test_pairs_that_are_left_out_keep_the_moments_of_the_others() -> None:
    model = fitted("Ranker of ratings")
    times = [int(NIGHT.timestamp()), int(NOON.timestamp())]
    pairs = pd.DataFrame(
        {"user_id": [1, 999, 1, 2], "item_id": [3, 3, 77, 3], "timestamp": [*times, *times[::-1]], "place": "home"}
    )
    known = pairs.iloc[[0, 3]]
    np.testing.assert_array_equal(model.predict(pairs, on_unknown="nan")[[0, 3]], model.predict(known))
    with pytest.warns(UserWarning, match=r"^rank: 2 pairs of candidates"):
        table = model.rank(pairs, on_unknown="warn")
    assert table.user_id.tolist() == [1, 2]
    np.testing.assert_array_equal(table.score, model.predict(known))


def test_candidates_are_ranked_at_their_moments() -> None:
    model = fitted("Ranker of ratings")
    candidates = pd.DataFrame({"user_id": np.repeat([1, 2], 20), "item_id": np.tile(np.arange(20), 2)})
    moments = {1: (NIGHT, "home"), 2: (NOON, "work")}
    times, places = zip(*candidates.user_id.map(moments), strict=True)
    best = model.rank(candidates.assign(timestamp=list(times), place=list(places)), k=10)
    assert (best[best.user_id == 1].item_id < 10).mean() >= 0.9
    assert (best[best.user_id == 2].item_id >= 10).mean() >= 0.9


def test_a_user_is_encoded_once_for_each_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted("Ranker of ratings")
    counts = []
    inner = FittedTowers.user_vectors

    def counted(self: Any, rows: Any, *args: Any, **options: Any) -> Any:
        counts.append(len(rows))
        return inner(self, rows, *args, **options)

    monkeypatch.setattr(FittedTowers, "user_vectors", counted)
    pairs = pd.DataFrame({"user_id": np.repeat([1, 2], 40), "item_id": np.tile(np.arange(20), 4)})
    model.predict(pairs.assign(timestamp=int(NOON.timestamp()), place=np.tile(["home", "work"], 40)))
    model.predict(pairs)
    assert counts == [4, 2]


@pytest.mark.parametrize("interaction", ["dcn", "dot"])
def test_ratings_are_measured_at_the_moments_of_their_rows(interaction: str) -> None:
    table = rated_by_hour()
    train, valid, test = table.iloc[:600], table.iloc[600:700], table.iloc[700:]
    model = ranker(target="rating", interaction=interaction).set_params(epochs=15).fit(train, eval_set=valid)
    found = tt.evaluate(model, test, "rmse")["rmse"][0]
    assert found < 0.4
    assert found == pytest.approx(float(np.sqrt(np.mean((model.predict(test) - test.rating) ** 2))), abs=1e-6)
    # Now is one moment for all of them.
    assert tt.evaluate(model, test.drop(columns=["timestamp", "place"]), "rmse")["rmse"][0] > 1
    # The validation of fit is that of evaluate.
    best = model.learning_curve_["rmse"][model.best_epoch_ - 1]
    assert best == pytest.approx(tt.evaluate(model, valid, "rmse")["rmse"][0], abs=1e-6)


def test_a_blend_and_two_stages_are_evaluated_at_the_moments_of_their_users() -> None:
    table = by_hour()
    held_out = table.drop_duplicates("user_id", keep="last")
    context = made(tt.Timestamp("timestamp"), epochs=8)
    blend = tt.Hybrid([context, tt.Popularity()], weights=[0.9, 0.1]).fit(table.drop(held_out.index))
    two = tt.TwoStage.of(context, tt.Popularity().fit(table.drop(held_out.index)), candidates=4)
    found = tt.evaluate([context, blend, two], held_out, "recall@4")["recall@4"]
    assert found.min() > 0.7
    # Weights are found at these moments: no blend is worse there than the best of its models.
    blend.fit_weights(held_out, metric="recall@4")
    assert tt.evaluate(blend, held_out, "recall@4")["recall@4"][0] >= found[0]
    assert blend.weights_[0] > 0.5


@pytest.mark.parametrize("retrieves_by_hour", [True, False])
def test_two_stages_learn_at_the_moments_of_the_rows_whatever_the_hour_of_fit(
    retrieves_by_hour: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, files = by_hour(people=200), []
    for moment in (NIGHT, NOON):
        monkeypatch.setattr(_contexts, "now", moment.timestamp)
        two = tt.TwoStage(
            retriever=made(tt.Timestamp("timestamp"), epochs=8) if retrieves_by_hour else tt.TwoTower(**QUICK),
            ranker=ranker(loss="bpr").set_params(epochs=30, learning_rate=0.03),
            candidates=5 if retrieves_by_hour else 15,
            cross_fit="last",
            time_col="timestamp",
            holdout=0.1,  # of twelve rows or fewer one, so that its moment is that of the candidates
        )
        two.fit(table)
        two.save(tmp_path / "two")
        files.append((tmp_path / "two").read_bytes())
    assert files[0] == files[1]
    if retrieves_by_hour:
        # Of some nine unseen items half fit the hour.
        assert two.holdout_recall_ > 0.75
    else:
        # What the ranker was measured by was asked at the moments too, of which the retriever knows nothing.
        assert two.holdout_ndcg_ is not None
        assert two.holdout_ndcg_[1] > 1.3 * two.holdout_ndcg_[0]


def test_askers_are_users_at_moments() -> None:
    nobody = np.full(5, -1, dtype=np.int32)

    class Table:
        """Contexts that nobody looks at."""

    at: Any = UsersGiven(nobody, nobody, np.array([0, 1, 0, 0, 1], dtype=np.int32), contexts=Table())  # type: ignore[arg-type]
    users = np.array([7, 7, 3, 7, 3], dtype=np.int32)
    assert [part.tolist() for part in askers(users, None)] == [[2, 0], [1, 1, 0, 1, 0]]
    assert [part.tolist() for part in askers(users, at)] == [[2, 4, 0, 1], [2, 3, 0, 2, 1]]
    other: Any = UsersGiven(nobody, nobody, np.array([0, 0, 0, 1, 0], dtype=np.int32), contexts=Table())  # type: ignore[arg-type]
    both = GivenToEach.to_each(at, None, other)
    assert both is not None
    assert both.moments is not None
    assert both.moments.tolist() == [0, 2, 0, 1, 2]
    assert both.take(np.array([3, 0])).moments.tolist() == [1, 0]  # type: ignore[union-attr]
    assert GivenToEach.to_each(None, None) is None
    assert GivenToEach.to_each(None, UsersGiven(nobody, nobody, nobody)).moments is None  # type: ignore[union-attr]


def test_rows_are_told_apart_by_their_bits() -> None:
    nan = np.nan
    columns = [
        EncodedCodes(np.array([1, 1, 2, 1, 1], dtype=np.int32), 3),
        EncodedNumbers(np.array([nan, 0.5, nan, nan, 0.5], dtype=np.float32)),
        EncodedVectors(np.array([[1, 2], [1, 2], [1, 2], [1, 2], [1, 3]], dtype=np.float32)),
    ]
    first, of_row = _rows.distinct(columns, 5)
    assert len(first) == 4
    assert of_row[0] == of_row[3]
    np.testing.assert_array_equal(first[of_row], [0, 1, 2, 0, 4])
    bags = EncodedBags(np.arange(6), np.ones(5, dtype=np.int32), 3)
    assert [part.tolist() for part in _rows.distinct([*columns, bags], 5)] == [[0, 1, 2, 3, 4]] * 2
    assert [part.tolist() for part in _rows.distinct([column.take(np.arange(0)) for column in columns], 0)] == [[], []]


# --- bad input --------------------------------------------------------------------------------------------------------


def test_pairs_of_another_type_of_context_are_named() -> None:
    model = fitted("Ranker of ratings")
    pairs = pd.DataFrame({"user_id": [1], "item_id": [1], "rating": [3.0], "timestamp": ["2021-03-04"]})
    for call, place in (
        (model.predict, "predict: pairs"),
        (model.rank, "rank: candidates"),
        (lambda frame: tt.evaluate(model, frame, "rmse"), "evaluate: test"),
    ):
        with pytest.raises(
            SchemaError,
            match=rf"^{place}: column 'timestamp' holds .* values, but held Int64 in fit; convert it to Int64$",
        ):
            call(pairs)


def test_a_context_of_another_type_is_named(model: tt.TwoTower) -> None:
    frame = pd.DataFrame({"user_id": [1], "timestamp": ["2021-03-04"]})
    with pytest.raises(
        SchemaError,
        match=r"^recommend: users: column 'timestamp' holds .* values, but held Int64 in fit; convert it to Int64$",
    ):
        model.recommend(frame)


@pytest.mark.parametrize(
    ("features", "options", "sentence"),
    [
        (
            [tt.Category("item_id")],
            {},
            "fit: context_features holds Category('item_id'), but ids, ratings and weights are not known when lists are "
            "asked for; leave it out",
        ),
        (
            ["day"],
            {},
            "fit: interactions has no column 'day'; its columns are 'user_id', 'item_id', 'timestamp', 'place'; name the right "
            "one, or add it",
        ),
        (
            ["place"],
            {"group_size": 16},
            "fit: group_size is 16, but must be 1 with context_features, where every positive has a row of its own; "
            "leave group_size out",
        ),
        (
            [tt.Text("place", encoding="gru", min_count=1)],
            {},
            "fit: column 'place' of the context is read in order, which only texts of users and items are; "
            'use encoding="mean"',
        ),
    ],
)  # fmt: skip
def test_what_a_context_cannot_be(features: list[Any], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises((SchemaError, ValueError), match=exactly(sentence)):
        made(*features, **options).fit(by_hour())


def test_times_far_out_of_range_are_the_last_known(model: tt.TwoTower) -> None:
    frame = pd.DataFrame({"user_id": [1, 2], "timestamp": [-(10**18), 10**18], "place": ["home", "home"]})
    scores = model.recommend(frame, k=5).score
    assert np.isfinite(scores).all()
