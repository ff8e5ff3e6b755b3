"""A model that grows: add_items, add_users, remove_items, partial_fit."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import twotower as tt
from conformance import exactly
from twotower.errors import DataError, NotFittedError, NumericalError, SchemaError
from twotower.models import _lesson

HISTORY = tt.History(max_length=20)


@pytest.fixture(scope="module")
def data() -> Any:
    return tt.datasets.synthetic(num_users=300, num_items=120, num_interactions=8000, random_state=1, kind="pandas")


def quick(**options: Any) -> tt.TwoTower:
    return tt.TwoTower(**({"dim": 8, "epochs": 3, "verbose": 0, "n_jobs": 1, "time_col": "timestamp"} | options))


@pytest.fixture(scope="module")
def base(data: Any) -> tt.TwoTower:
    """Fitted without the users and items of numbers that 10 divides."""
    users, items = data.users[data.users.user_id % 10 != 0], data.items[data.items.item_id % 10 != 0]
    known = data.ratings[data.ratings.user_id.isin(users.user_id) & data.ratings.item_id.isin(items.item_id)]
    return quick(user_features=["gender", "age", HISTORY]).fit(known, users=users, items=items)


@pytest.fixture
def model(base: tt.TwoTower) -> tt.TwoTower:
    return copy.deepcopy(base)


@pytest.fixture(scope="module")
def new_items(data: Any) -> pd.DataFrame:
    return data.items[data.items.item_id % 10 == 0]


@pytest.fixture(scope="module")
def new_users(data: Any) -> pd.DataFrame:
    return data.users[data.users.user_id % 10 == 0]


def state_of(model: tt.TwoTower, folder: Any) -> bytes:
    model.save(folder / "state")
    return bytes((folder / "state").read_bytes())


# --- items ------------------------------------------------------------------------------------------------------------


def test_new_items_are_in_lists_at_once(model: tt.TwoTower, new_items: pd.DataFrame) -> None:
    before = model.recommend([1, 2], k=108)
    asked = model.similar_items([1], k=5)
    assert model.add_items(new_items) is model
    assert model.item_ids_.tolist()[-12:] == new_items.item_id.tolist()
    own = model.recommend([1, 2], k=12, items=new_items.item_id.tolist())
    assert set(own.item_id) == set(new_items.item_id)
    # Among the old ones nothing has changed, and the index that was there has grown to what a new one would be.
    both = model.recommend([1, 2], k=120)
    old = both[~both.item_id.isin(new_items.item_id)].drop(columns="rank").reset_index(drop=True)
    pd.testing.assert_frame_equal(old, before.drop(columns="rank"))
    model._cache = {}
    assert model.recommend([1, 2], k=120).equals(both)
    assert len(model.similar_items([1], k=5)) == len(asked)
    assert len(model.similar_items([10], k=5)) == 5


def test_the_order_of_the_table_does_not_matter(base: tt.TwoTower, new_items: pd.DataFrame) -> None:
    one, two = copy.deepcopy(base).add_items(new_items), copy.deepcopy(base).add_items(new_items.iloc[::-1])
    assert one.recommend(k=10).equals(two.recommend(k=10))
    three = copy.deepcopy(base)
    for start in range(0, len(new_items), 5):
        three.add_items(pl.from_pandas(new_items.iloc[start : start + 5]))
    assert one.recommend(k=10).equals(three.recommend(k=10))


def test_features_place_a_new_item(base: tt.TwoTower, data: Any) -> None:
    twin = data.items[data.items.item_id == 11].assign(item_id=999)
    model = copy.deepcopy(base).add_items(twin)
    vectors = model.item_embeddings()[:, :8]
    near = vectors @ vectors[-1]
    rows = model.item_ids_.tolist()
    assert near[rows.index(11)] > np.median(near)


def test_what_is_added_is_in_the_file(
    model: tt.TwoTower, new_items: pd.DataFrame, new_users: pd.DataFrame, tmp_path: Any
) -> None:
    model.add_items(new_items).add_users(new_users.assign(history=[[1, 2]] * len(new_users)))
    model.remove_items([10])
    model.save(tmp_path / "model")
    loaded = tt.load(tmp_path / "model")
    assert loaded.recommend(k=7).equals(model.recommend(k=7))
    assert 10 not in set(loaded.recommend(k=120).item_id)
    frame = pd.DataFrame({"user_id": [-5], "gender": ["F"], "age": [30], "history": [[10, 20, 30]]})
    assert loaded.recommend(frame, on_unknown="features").equals(model.recommend(frame, on_unknown="features"))


def test_a_removed_item_comes_back_with_its_new_features(model: tt.TwoTower, data: Any) -> None:
    item = data.items[data.items.item_id == 7]
    before = model.item_embeddings([7])
    model.recommend([1])
    model.remove_items([7])
    assert 7 not in set(model.recommend(k=108).item_id)
    model.add_items(item)
    assert np.array_equal(model.item_embeddings([7]), before)
    assert 7 in set(model.recommend(k=108).item_id)
    model.remove_items([7])
    model.add_items(item.assign(year=1950))
    assert not np.array_equal(model.item_embeddings([7]), before)
    assert len(model.item_ids_) == 108
    lists = model.recommend([1, 2], k=108)
    model._cache = {}
    assert model.recommend([1, 2], k=108).equals(lists)
    assert model.recommend([1], k=5, where="year < 1951").item_id.tolist() in ([7], [])


def test_where_knows_the_new_items(model: tt.TwoTower, new_items: pd.DataFrame) -> None:
    model.add_items(new_items.assign(year=2050))
    assert set(model.recommend([1], k=50, where="year == 2050").item_id) == set(new_items.item_id)


# --- users ------------------------------------------------------------------------------------------------------------


def test_new_users_are_served_like_strangers(model: tt.TwoTower, new_users: pd.DataFrame) -> None:
    frame = new_users.assign(history=[[1, 2, 3]] * (len(new_users) - 1) + [None])
    strangers = model.recommend(frame, k=10, on_unknown="features")
    assert model.add_users(frame) is model
    known = model.recommend(frame.user_id.tolist(), k=10)
    assert known.equals(strangers)
    assert model.history_.user_id.isin(new_users.user_id).sum() == 3 * (len(new_users) - 1)
    assert len(model.similar_users([int(new_users.user_id.iloc[0])], k=3)) == 3
    assert model.user_ids_.tolist()[-len(new_users) :] == new_users.user_id.tolist()


# --- partial_fit ------------------------------------------------------------------------------------------------------


def ids_of(model: tt.TwoTower, side: str) -> dict[Any, bytes]:
    ids = model.user_ids_ if side == "user" else model.item_ids_
    codes = getattr(model._sides, f"{side}s").codes
    table = model._parameters[f"table.{side}_id"]
    return {name: table[code].tobytes() for name, code in zip(ids.tolist(), codes, strict=True) if code}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"hidden": (12,), "optimizer": "adagrad"},
        {"user_features": ["gender", tt.History(encoder="mean")]},
        {"user_features": [tt.History(encoder="decay")], "time_col": None, "weight_decay": 0.01},
        {"user_features": [tt.History(encoder="gru")]},
        {"context_features": [tt.Timestamp("timestamp")], "item_bias": False},
        {"user_features": [tt.History(weight_by="rating")], "rating_col": "rating", "user_balance": 0.5},
    ],
    ids=["plain", "layers", "before", "others", "gru", "context", "weights"],
)  # fmt: skip
def test_ids_outside_the_new_rows_keep_their_bits(data: Any, options: dict[str, Any]) -> None:
    old, new = data.ratings.iloc[:7000], data.ratings.iloc[7000:]
    new = new[(new.user_id % 3 == 0) & (new.item_id % 4 == 0)]
    model = quick(**options).fit(old, users=data.users, items=data.items)
    before = {side: ids_of(model, side) for side in ("user", "item")}
    bias = model._parameters.get("table.item_bias")
    rows = model._sides.items.codes[~model.item_ids_.isin(new.item_id).to_numpy()]
    model.partial_fit(new, epochs=2)
    for side in ("user", "item"):
        after = ids_of(model, side)
        moved = {name for name in before[side] if after[name] != before[side][name]}
        assert moved == set(new[f"{side}_id"]) & set(before[side])
        assert set(after) == set(before[side]) | set(new[f"{side}_id"])
    if bias is not None:
        assert np.array_equal(model._parameters["table.item_bias"][rows[rows > 0]], bias[rows[rows > 0]])


@pytest.mark.parametrize("options", [{}, {"user_features": ["gender", "age", HISTORY]}], ids=["plain", "history"])
def test_it_approaches_the_full_refit(options: dict[str, Any]) -> None:
    data = tt.datasets.synthetic(num_users=600, num_items=200, num_interactions=30_000, random_state=1, kind="pandas")
    train, test = tt.split.time(data.ratings, test=0.1)
    old, new = tt.split.time(train, test=0.25)
    test = test[test.user_id.isin(old.user_id)]
    tables = {"users": data.users, "items": data.items}
    refit = quick(dim=32, epochs=15, **options).fit(train, **tables)
    model = quick(dim=32, epochs=15, **options).fit(old, **tables)
    figures = [tt.evaluate(model, test, "ndcg@10")["ndcg@10"][0]]
    model.partial_fit(new)
    figures += [tt.evaluate(m, test, "ndcg@10")["ndcg@10"][0] for m in (model, refit)]
    # The new rows are the latest: what is closed of the gap is at least three quarters of it.
    assert figures[1] > figures[0] + 0.75 * (figures[2] - figures[0]), figures
    assert figures[2] > figures[0] + 0.02, figures


def test_everything_new_at_once(model: tt.TwoTower, data: Any, tmp_path: Any) -> None:
    users = pd.DataFrame({"user_id": [1000, 1001], "gender": ["X", "F"], "age": [20.0, None], "occupation": "pilot"})
    items = pd.DataFrame({"item_id": [500, 501, 7], "title": ["a new one", "b", "c"], "year": [2024, 2025, 1990],
                          "genres": [["Brandnew", "Drama"], [], ["Drama"]]})  # fmt: skip
    rows = [(1000, 500), (1000, 501), (1001, 500), (1001, 7), (1, 500), (2, 501), (1, 3)]
    new = pd.DataFrame(rows, columns=["user_id", "item_id"]).assign(timestamp=data.ratings.timestamp.max() + 5)
    sizes = {field.column: field.values for field in model.schema_.fields}
    old_counts = len(model.history_)
    model.partial_fit(new, users=users, items=items, epochs=2)
    grown = {field.column: field.values for field in model.schema_.fields}
    assert grown["gender"] == sizes["gender"] + 1
    assert grown["genres"] == sizes["genres"] + 1
    assert (len(model.user_ids_), len(model.item_ids_)) == (272, 110)
    added = len(new.merge(model.history_, on=["user_id", "item_id"]))
    assert added == len(new)
    assert old_counts < len(model.history_) <= old_counts + len(new)
    lists = model.recommend([1000, 1001, 1], k=110)
    assert not set(zip(lists.user_id, lists.item_id, strict=True)) & set(rows)
    assert model.recommend([5], k=3, where="'Brandnew' in genres").item_id.tolist() == [500]
    assert model.explain(1000, 501).side.tolist().count("history") == 2
    model.save(tmp_path / "model")
    assert tt.load(tmp_path / "model").recommend(k=5).equals(model.recommend(k=5))


def test_an_added_item_gets_its_own_vector_when_it_is_first_liked(
    model: tt.TwoTower, data: Any, new_items: Any
) -> None:
    model.add_items(new_items)
    assert (model._sides.items.codes[-12:] == 0).all()
    new = data.ratings[(data.ratings.item_id == 20) & (data.ratings.user_id % 10 != 0)]
    model.partial_fit(new, epochs=1)
    codes = dict(zip(model.item_ids_.tolist(), model._sides.items.codes.tolist(), strict=True))
    assert codes[20] == model.item_ids_.tolist().index(20) + 1
    assert codes[30] == 0
    model.partial_fit(data.ratings[(data.ratings.item_id == 30) & (data.ratings.user_id % 10 != 0)], epochs=1)
    table = model._parameters["table.item_id"]
    assert not np.array_equal(table[model._sides.items.codes[-10]], table[0])


def test_min_count_counts_old_and_new(data: Any) -> None:
    counts = data.ratings.iloc[:4000].item_id.value_counts()
    rare = int(counts[counts == 2].index[0]) if (counts == 2).any() else int(counts.index[-1])
    limit = int(counts[rare]) + 1
    model = quick(item_features=[tt.Id("item_id", min_count=limit)]).fit(data.ratings.iloc[:4000], items=data.items)
    row = model.item_ids_.tolist().index(rare)
    assert model._sides.items.codes[row] == 0
    more = pd.DataFrame({"user_id": [1], "item_id": [rare], "timestamp": [data.ratings.timestamp.max() + 1]})
    model.partial_fit(more, epochs=1)
    assert model._sides.items.codes[row] == row + 1


def test_histories_grow_in_time(model: tt.TwoTower, data: Any) -> None:
    last = data.ratings.timestamp.max()
    new = pd.DataFrame({"user_id": [1, 1, 1], "item_id": [3, 1, 2], "timestamp": [last + 3, last + 1, last + 2]})
    model.partial_fit(new, epochs=1)
    row = model.user_ids_.tolist().index(1)
    kept = model._histories.take(np.array([row])).items
    assert model.item_ids_.to_numpy()[kept][-3:].tolist() == [1, 2, 3]
    assert len(kept) <= HISTORY.max_length


def test_a_low_rating_is_seen_but_not_learned(data: Any) -> None:
    model = quick(rating_col="rating", min_rating=4).fit(data.ratings.iloc[:6000])
    before = ids_of(model, "item")
    new = data.ratings.iloc[6000:].assign(rating=1.0)
    new = new[new.user_id.isin(model.user_ids_) & new.item_id.isin(model.item_ids_)]
    new.iloc[0, new.columns.get_loc("rating")] = 5.0
    seen = len(model.history_)
    model.partial_fit(new, epochs=1)
    after = ids_of(model, "item")
    assert {name for name in before if before[name] != after[name]} == {new.item_id.iloc[0]}
    assert len(model.history_) > seen


@pytest.mark.parametrize("n_jobs", [2, 7])
def test_the_same_bytes_for_any_number_of_threads(base: tt.TwoTower, data: Any, tmp_path: Any, n_jobs: int) -> None:
    new = data.ratings[(data.ratings.user_id % 10 != 0) & (data.ratings.item_id % 10 != 0)].tail(500)
    files = []
    for jobs in (1, n_jobs):
        model = copy.deepcopy(base).set_params(n_jobs=jobs)
        model.partial_fit(new, epochs=2)
        files.append(state_of(model, tmp_path))
    assert files[0] == files[1]


def test_a_loaded_model_goes_on_without_the_optimizers_state(base: tt.TwoTower, data: Any, tmp_path: Any) -> None:
    base.save(tmp_path / "model")
    loaded = tt.load(tmp_path / "model").set_params(n_jobs=1, verbose=0)
    assert base._optimizer_state
    assert not loaded._optimizer_state
    new = data.ratings[(data.ratings.user_id % 10 != 0) & (data.ratings.item_id % 10 != 0)].tail(500)
    loaded.partial_fit(new, epochs=1)
    assert loaded.learning_curve_["epoch"].tolist() == [1]
    assert loaded._optimizer_state


def test_validation_works_as_in_fit(model: tt.TwoTower, data: Any) -> None:
    new = data.ratings[(data.ratings.user_id % 10 != 0) & (data.ratings.item_id % 10 != 0)]
    model.set_params(patience=None)
    model.partial_fit(new.tail(1000), eval_set=new.tail(200), epochs=2)
    assert list(model.learning_curve_.columns) == ["epoch", "loss", "ndcg@10"]


# --- bad input --------------------------------------------------------------------------------------------------------


def test_adding_an_item_that_is_there(model: tt.TwoTower, data: Any, tmp_path: Any) -> None:
    before = state_of(model, tmp_path)
    sentence = (
        "add_items: 108 items are there already (first: 1, 2, 3, 4, 5); leave them out, or pass them to partial_fit with "
        "their new features"
    )
    with pytest.raises(DataError, match=exactly(sentence)):
        model.add_items(data.items)
    assert state_of(model, tmp_path) == before


def test_adding_a_user_who_is_there(model: tt.TwoTower, data: Any) -> None:
    sentence = "add_users: 1 user is there already (first: 1); leave them out, or pass them to partial_fit with their new features"
    with pytest.raises(DataError, match=exactly(sentence)):
        model.add_users(data.users[data.users.user_id.isin([1, 10])])


def test_adding_the_same_item_twice_in_one_table(model: tt.TwoTower, new_items: pd.DataFrame) -> None:
    sentence = "add_items: column 'item_id' of items has 1 id in more than one row (first: 10); keep one row an id"
    with pytest.raises(DataError, match=exactly(sentence)):
        model.add_items(pd.concat([new_items, new_items.head(1)]))


def test_a_missing_column_is_named(model: tt.TwoTower, new_items: pd.DataFrame, new_users: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match=r"^add_items: items has no column 'genres'; its columns are 'item_id', "):
        model.add_items(new_items.drop(columns="genres"))
    with pytest.raises(
        SchemaError, match=r"^add_users: users has no column 'age'; its columns are 'user_id', 'gender', "
    ):
        model.add_users(new_users.drop(columns="age"))
    with pytest.raises(
        SchemaError, match=r"^recommend: users has no column 'age'; its columns are 'user_id', 'gender', "
    ):
        model.recommend(new_users.drop(columns="age"), on_unknown="features")


def test_another_type_is_named(
    model: tt.TwoTower, new_items: pd.DataFrame, new_users: pd.DataFrame, tmp_path: Any
) -> None:
    before = state_of(model, tmp_path)
    with pytest.raises(
        SchemaError,
        match=r"^add_items: items: column 'year' holds String values, but held Int64 in fit; convert it to Int64$",
    ):
        model.add_items(new_items.assign(year=new_items.year.astype(str)))
    with pytest.raises(
        SchemaError, match=r"^recommend: users: column 'age' holds String values, but held Int64 in fit"
    ):
        model.recommend(new_users.assign(age=new_users.age.astype(str)), on_unknown="features")
    with pytest.raises(SchemaError, match=r"^add_items: column 'item_id' "):
        model.add_items(new_items.assign(item_id=new_items.item_id.astype(str)))
    assert state_of(model, tmp_path) == before


def test_a_model_without_features_cannot_place_what_is_new(data: Any) -> None:
    model = quick().fit(data.ratings)
    sentence = (
        "add_items: the model was fitted without features of items, so that all new items would be the same to it; "
        "pass items= to fit, or use partial_fit with their interactions"
    )
    with pytest.raises(ValueError, match=exactly(sentence)):
        model.add_items(data.items)
    sentence = (
        "add_users: the model was fitted without features or a history of users, so that all new users would be the same to "
        "it; pass users= to fit, or use partial_fit with their interactions"
    )
    with pytest.raises(ValueError, match=exactly(sentence)):
        model.add_users(data.users)
    # Its ids can grow all the same.
    new = pd.DataFrame({"user_id": [900, 900], "item_id": [901, 1], "timestamp": [1, 2]})
    model.partial_fit(new, epochs=1)
    assert len(model.recommend([900], k=120)) == 119


@pytest.mark.parametrize("method", ["add_items", "add_users", "partial_fit"])
def test_before_fit(data: Any, method: str) -> None:
    with pytest.raises(
        NotFittedError, match=exactly(f"{method}: this TwoTower is not fitted yet; call fit(interactions) first")
    ):
        getattr(tt.TwoTower(), method)(data.items)


def test_new_ids_need_their_features(model: tt.TwoTower, data: Any, tmp_path: Any) -> None:
    before = state_of(model, tmp_path)
    new = pd.DataFrame({"user_id": [1, 4000], "item_id": [1, 2], "timestamp": [1, 2]})
    sentence = (
        "partial_fit: 1 id of column 'user_id' is in the interactions but not in users (first: 4000); add their rows to users, "
        "or drop these interactions"
    )
    with pytest.raises(DataError, match=exactly(sentence)):
        model.partial_fit(new)
    with pytest.raises(DataError, match="no interaction is a positive example, but at least 1 must be"):
        copy.deepcopy(model).set_params(weight_col="w").partial_fit(new.assign(user_id=1, w=0.0))
    assert state_of(model, tmp_path) == before


def test_a_partial_fit_that_fails_leaves_the_model_as_it_was(
    model: tt.TwoTower, data: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, lists = state_of(model, tmp_path), model.recommend(k=5)

    def fail(*_: Any, **__: Any) -> None:
        raise NumericalError("Trainer: the loss is nan")

    monkeypatch.setattr(_lesson, "train", fail)
    users = pd.DataFrame({"user_id": [1000], "gender": ["X"], "age": [20.0], "occupation": ["pilot"]})
    with pytest.raises(NumericalError):
        model.partial_fit(pd.DataFrame({"user_id": [1000], "item_id": [1], "timestamp": [1]}), users=users)
    assert state_of(model, tmp_path) == before
    assert model.recommend(k=5).equals(lists)


@pytest.mark.parametrize("epochs", [0, 1.5, "3"])
def test_epochs_out_of_range(model: tt.TwoTower, data: Any, epochs: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^partial_fit: epochs is .*, but must be"):
        model.partial_fit(data.ratings, epochs=epochs)
