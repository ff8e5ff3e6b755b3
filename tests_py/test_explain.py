"""explain: parts of a score, exact where towers sum, leave one out elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import twotower as tt
from conformance import exactly
from twotower.errors import NotFittedError, UnknownIdError
from twotower.models import _contexts


@pytest.fixture(scope="module")
def data() -> Any:
    return tt.datasets.synthetic(num_users=200, num_items=90, num_interactions=5000, random_state=1, kind="pandas")


def fitted(data: Any, **options: Any) -> tt.TwoTower:
    model = tt.TwoTower(**({"dim": 8, "epochs": 2, "verbose": 0, "n_jobs": 1} | options))
    return model.fit(data.ratings, users=data.users, items=data.items)


def score_of(model: tt.TwoTower, user: int, item: int) -> float:
    return float(model.predict(pd.DataFrame({"user_id": [user], "item_id": [item]}))[0])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"similarity": "dot"},
        {"item_bias": False},
        {"user_features": [], "item_features": []},
        {"user_features": ["gender", tt.History(max_length=6)]},
        {"user_features": [tt.History(encoder="gru", max_length=6)], "dropout": 0.1},
        {"context_features": [tt.Timestamp("timestamp", parts=("hour",), buckets=4)]},
        {"item_features": [tt.Text("title", encoding="gru"), tt.Categories("genres")]},
    ],
    ids=["plain", "dot", "no-bias", "ids", "history", "gru", "context", "text-in-order"],
)  # fmt: skip
def test_where_towers_sum_the_parts_sum_to_the_score(
    data: Any, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_contexts, "now", lambda: 1.6e9)
    model = fitted(data, **options)
    for user, item in ((1, 2), (7, 30)):
        table = model.explain(user, item)
        assert list(table.columns) == ["side", "feature", "value", "contribution", "method"]
        towers = table[table.side != "history"]
        assert set(towers.method) == {"exact"}
        assert towers.contribution.sum() == pytest.approx(score_of(model, user, item), abs=1e-4)
        # Each product of two parts is shared equally.
        bias = towers[towers.feature == "bias"].contribution.sum()
        query = towers[towers.side.isin(["user", "context"])].contribution.sum()
        assert 2 * query == pytest.approx(towers.contribution.sum() - bias, abs=1e-4)


def test_every_part_has_a_line_with_what_it_holds(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_contexts, "now", lambda: 1_614_823_200.0)  # 2021-03-04 02:00
    model = fitted(
        data,
        user_features=[tt.Category("gender"), tt.Numeric("age", buckets=3), tt.History(max_length=3)],
        item_features=[tt.Text("title", min_count=1), tt.Categories("genres"), tt.Numeric("year")],
        context_features=[tt.Timestamp("timestamp", parts=("hour", "year"), cyclic=True, buckets=4)],
    )
    user, item = data.users.iloc[0], data.items.iloc[4]
    table = model.explain(int(user.user_id), int(item.item_id))
    told = {(side, feature): value for side, feature, value in zip(table.side, table.feature, table.value, strict=True)}
    assert list(told)[:10] == [
        ("user", "user_id"), ("user", "gender"), ("user", "age"), ("context", "timestamp.hour"), ("context", "timestamp.year"),
        ("context", "timestamp.cycle"), ("context", "timestamp.bucket"), ("context", "timestamp.scaled"), ("user", "history"),
        ("item", "item_id"),
    ]  # fmt: skip
    assert told["user", "gender"] == user.gender
    assert told["user", "age"].startswith(("below", "from"))
    assert told["user", "history"] == "3 items"
    assert told["context", "timestamp.hour"] == "2"
    assert told["context", "timestamp.cycle"] == "8 numbers"
    assert told["item", "year"] == str(item.year)
    assert told["item", "genres"] == ", ".join(item.genres)
    assert told["item", "title"].split(", ")[0] in item.title.lower()
    assert told["item", "bias"] == ""
    history = table[table.side == "history"]
    assert len(history) == 3
    newest = data.ratings[data.ratings.user_id == user.user_id].item_id.tolist()
    assert history.value.astype(int).tolist() == newest[::-1][:3]
    assert set(history.method) == {"leave one out"}


def test_an_item_of_the_history_is_what_the_score_loses_without_it(data: Any) -> None:
    model = fitted(data, user_features=[tt.Id("user_id", dropout=1.0), tt.History(max_length=4)], item_features=[])
    frame = data.users.head(1)[["user_id"]]
    table = model.explain(int(frame.user_id[0]), 5)
    items = [int(value) for value in table[table.side == "history"].value][::-1]
    whole = score_of(model, int(frame.user_id[0]), 5)
    for place, item in enumerate(items):
        without = items[:place] + items[place + 1 :]
        lists = model.recommend(frame.assign(history=[without]), k=90, filter_seen=False)
        loss = whole - float(lists[lists.item_id == 5].score.iloc[0])
        told = table[(table.side == "history") & (table.value == str(item))].contribution.iloc[0]
        assert told == pytest.approx(loss, abs=1e-5)


@pytest.mark.parametrize("options", [{"hidden": (12,)}, {"cross_layers": 1}], ids=str)
def test_with_layers_it_says_leave_one_out(data: Any, options: dict[str, Any]) -> None:
    table = fitted(data, **options).explain(1, 2)
    assert set(table[table.feature != "bias"].method) == {"leave one out"}
    assert table[table.feature == "bias"].method.tolist() == ["exact"]
    assert np.isfinite(table.contribution).all()


def test_frames_come_back_as_they_went_in(data: Any) -> None:
    model = tt.TwoTower(dim=8, epochs=1, verbose=0).fit(pl.from_pandas(data.ratings), items=data.items)
    table = model.explain(1, 2)
    assert isinstance(table, pl.DataFrame)
    assert table.schema["contribution"] == pl.Float64


def test_added_rows_can_be_explained(data: Any) -> None:
    model = fitted(data, user_features=["gender", tt.History()])
    model.add_items(data.items.head(1).assign(item_id=900))
    model.add_users(pd.DataFrame({"user_id": [901], "gender": [None], "history": [[]]}))
    table = model.explain(901, 900)
    assert table.value.tolist()[:3] == ["unknown", "missing", "0 items"]
    assert "history" not in set(table.side)
    assert table.contribution.sum() == pytest.approx(score_of(model, 901, 900), abs=1e-4)


def test_unknown_ids_are_named(data: Any) -> None:
    model = fitted(data)
    with pytest.raises(
        UnknownIdError,
        match=exactly("explain: user: 1 of 1 id is unknown (first: 999); leave them out, or fit with these users"),
    ):
        model.explain(999, 1)
    with pytest.raises(UnknownIdError, match=r"^explain: item: 1 of 1 id is unknown \(first: 'x'\)"):
        model.explain(1, "x")
    with pytest.raises(NotFittedError):
        tt.TwoTower().explain(1, 1)
