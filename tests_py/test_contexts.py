"""Context: columns of the interactions on the side of the user, in training, as given, and now."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import twotower as tt
from conformance import exactly
from twotower.errors import SchemaError
from twotower.models import _contexts
from twotower.models._contexts import first_rows

NIGHT, NOON = dt.datetime(2021, 3, 4, 2, tzinfo=dt.timezone.utc), dt.datetime(2021, 3, 4, 13, tzinfo=dt.timezone.utc)


def by_hour(kind: str = "seconds") -> pd.DataFrame:
    """Make interactions in which items 0 to 9 are chosen at night and 10 to 19 at noon, by everyone alike."""
    rng = np.random.default_rng(0)
    users, night = np.repeat(np.arange(100), 12), rng.random(1200) < 0.5
    items = rng.integers(0, 10, 1200) + np.where(night, 0, 10)
    days = rng.integers(18_600, 18_700, 1200) * 86_400
    seconds = days + np.where(night, 2, 13) * 3600 + rng.integers(0, 3600, 1200)
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


# --- bad input --------------------------------------------------------------------------------------------------------


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
