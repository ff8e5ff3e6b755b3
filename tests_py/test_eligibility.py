"""Frames of users that bring something of their own, and lists of items for single users, beyond what the kit asks of all."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from conformance import exactly, interactions, lists, rows
from factors import Factors
from twotower import frames
from twotower.errors import SchemaError
from twotower.models import Popularity
from twotower.models._asked import Asked


class Histories:
    """Item rows a user; for users without any the user's own row, -1 where there is none."""

    def __init__(self, offsets: np.ndarray, items: np.ndarray) -> None:
        self.seen = (offsets, items)

    def take(self, positions: np.ndarray) -> Histories:
        offsets, items = self.seen
        parts = [items[offsets[position] : offsets[position + 1]] for position in positions]
        return Histories(np.cumsum([0, *map(len, parts)]), np.concatenate([np.empty(0, dtype=np.int32), *parts]))


class ByHistory(Factors, kind="test by history"):
    """A user who brings a history is the sum of its items; an unknown one who brings none is the sum of all items."""

    _serves_unknown = True

    def _read_users(self, frame: frames.Frame, rows: np.ndarray, where: str) -> Histories | None:
        if "history" not in frame.columns:
            return None
        offsets, items = frames.lists(frames.column(frame, "history", where), where)
        found = self._items.encode(items)
        owners = np.repeat(np.arange(len(rows)), np.diff(offsets))[found >= 0]
        found = found[found >= 0]
        order = np.lexsort((found, owners))
        counts = np.bincount(owners, minlength=len(rows))
        return Histories(np.concatenate([[0], np.cumsum(counts)]), found[order])

    def _user_vectors(self, asked: Asked, *, num_threads: int) -> np.ndarray:
        vectors = np.array(self._user_vectors_[asked.rows])
        vectors[asked.rows < 0] = self._item_vectors_.sum(axis=0)
        if asked.given is not None:
            offsets, items = asked.given.seen  # type: ignore[misc]
            for user, (start, end) in enumerate(itertools.pairwise(offsets)):
                if end > start:
                    vectors[user] = self._item_vectors_[items[start:end]].sum(axis=0)
        return vectors


@pytest.fixture(scope="module")
def model() -> ByHistory:
    return ByHistory().fit(interactions())


def scores_of(model: ByHistory, history: list[int]) -> dict[int, float]:
    vectors = model.item_embeddings().astype(np.float64)
    user = vectors[[item - 100 for item in history]].sum(axis=0) if history else vectors.sum(axis=0)
    return dict(enumerate(vectors @ user, start=100))


STRANGERS = {"user_id": [-1, 30, -2, -1, 20], "history": [[101, 104], [107], [], [101, 104, 999], None]}


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
@pytest.mark.parametrize("size", [1, 2, 8192])
def test_a_history_that_is_brought_counts_and_is_left_out(
    model: ByHistory, make: Any, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twotower.models._recommend.USERS_A_PASS", size)
    table = model.recommend(make(STRANGERS), k=11, on_unknown="features")
    found = lists(table)
    expected = scores_of(model, [101, 104])
    assert {item for item, _ in found[-1]} == set(range(100, 111)) - {101, 104}
    assert all(score == pytest.approx(expected[item], abs=1e-5) for item, score in found[-1])
    # The same stranger twice is served twice, alike.
    of_minus_one = [row[1:] for row in rows(table) if row[0] == -1]
    assert of_minus_one[:9] == of_minus_one[9:]
    assert len(found[-2]) == 11
    # A known user's stored history is left out beside what the frame brings.
    stored = {item for user, item in rows(model.history_) if user == 30}
    assert {item for item, _ in found[30]} == set(range(100, 111)) - stored - {107}
    assert found[20] == lists(model.recommend([20], k=11))[20]
    everything = lists(model.recommend(make(STRANGERS), k=11, on_unknown="features", filter_seen=False))
    assert all(len(ranked) in (11, 22) for ranked in everything.values())
    assert set(everything[30]) >= set(found[30])


def test_a_history_is_left_out_of_every_kind_of_list(model: ByHistory) -> None:
    frame = pd.DataFrame(STRANGERS)
    popular = lists(model.recommend(frame, k=11, on_unknown="popular"))
    assert {item for item, _ in popular[-1]} == set(range(100, 111)) - {101, 104}
    with pytest.warns(UserWarning, match=r"users: 3 of 5 ids are unknown \(first: -1, -2\); they get no list$"):
        warned = model.recommend(frame, k=11, on_unknown="warn")
    known = model.recommend(frame.iloc[[1, 4]], k=11)
    pd.testing.assert_frame_equal(warned, known)


def test_a_history_and_lists_of_users_go_together(model: ByHistory) -> None:
    allow = pd.DataFrame({"user_id": [-1, -1, -1, 30, 5], "item_id": [101, 102, 103, 110, 104]})
    deny = pd.DataFrame({"user_id": [-1, 30], "item_id": [103, 109]})
    found = lists(model.recommend(pd.DataFrame(STRANGERS), k=11, items=allow, on_unknown="features"))
    assert {user: {item for item, _ in ranked} for user, ranked in found.items()} == {-1: {102, 103}, 30: {110}}
    found = lists(model.recommend(pd.DataFrame(STRANGERS), k=11, exclude=deny, on_unknown="features"))
    assert {item for item, _ in found[-1]} == set(range(100, 111)) - {101, 103, 104}
    found = lists(model.recommend(pd.DataFrame(STRANGERS), k=11, items=allow, exclude=deny, on_unknown="features"))
    assert {user: {item for item, _ in ranked} for user, ranked in found.items()} == {-1: {102}, 30: {110}}


def test_plain_ids_are_strangers_of_whom_nothing_is_known(model: ByHistory) -> None:
    found = lists(model.recommend([-7, 30], k=11, on_unknown="features"))
    expected = scores_of(model, [])
    assert all(score == pytest.approx(expected[item], abs=1e-5) for item, score in found[-7])
    assert found[30] == lists(model.recommend([30], k=11))[30]
    assert model.recommend([], on_unknown="features").empty


def test_the_cure_names_features_where_there_are_some(model: ByHistory) -> None:
    sentence = "recommend: users: 1 of 1 id is unknown (first: 5); leave them out, or pass on_unknown='warn', 'popular' or 'features'"
    with pytest.raises(Exception, match=exactly(sentence)):
        model.recommend([5])


@pytest.mark.parametrize("dtype", ["str", "category", "datetime64[s]", "Int64", "float32"])
def test_lists_of_users_with_ids_of_any_type(dtype: str) -> None:
    frame = interactions().assign(user_id=lambda table: table.user_id.astype(dtype))
    model = Popularity().fit(frame)
    first, second = model.user_ids_[0], model.user_ids_[1]
    pairs = pd.DataFrame({"user_id": [second, second, first], "item_id": [101, 104, 110]})
    table = model.recommend([second, first], k=5, items=pairs, filter_seen=False)
    assert table.user_id.tolist() == [second, second, first]
    assert set(table.item_id) == {101, 104, 110}


def test_users_without_an_id_have_no_list_of_their_own() -> None:
    model = Popularity().fit(interactions())
    asked = pl.Series([10, None, 999])
    pairs = pl.DataFrame({"user_id": [10, 999], "item_id": [101, 102]})
    options = {"users": asked, "k": 11, "on_unknown": "popular", "filter_seen": False}
    assert model.recommend(**options, items=pairs).item_id.tolist() == [101, 102]
    assert model.recommend(**options, exclude=pairs).item_id.tolist().count(101) == 2


def test_removing_and_masking_add_up() -> None:
    model = Popularity().fit(interactions()).remove_items([100])
    table = model.recommend(
        [10, 20], k=11, items=[101, 102, 103, 104], exclude=[104], where=np.arange(11) != 3, filter_seen=False
    )
    assert set(table.item_id) == {101, 102}


def test_a_frame_of_users_is_no_condition() -> None:
    model = Popularity().fit(interactions())
    with pytest.raises(TypeError, match=r"^recommend: where is a DataFrame, but must be a condition such as "):
        model.recommend(where=interactions())
    with pytest.raises(SchemaError, match=r"^recommend: items has no column 'item_id'; its columns are 'film'; "):
        model.recommend(items=pd.DataFrame({"film": [1]}))


def test_many_users_cost_no_python_each() -> None:
    random = np.random.default_rng(0)
    count = 100_000
    train = pd.DataFrame(
        {"user_id": random.integers(0, count, 2 * count), "item_id": random.integers(0, 500, 2 * count)}
    )
    model = Popularity(n_jobs=1).fit(train)
    pairs = pd.DataFrame(
        {"user_id": random.integers(0, 2 * count, 3 * count), "item_id": random.integers(0, 500, 3 * count)}
    )
    denied = pairs.iloc[::3]
    asked = pd.DataFrame({"user_id": np.arange(0, 2 * count, 2)})
    calls = 0

    def call(*_: Any) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(call)
    try:
        item_rows, _ = model.recommend(asked, k=5, items=pairs, exclude=denied, on_unknown="popular", as_arrays=True)
    finally:
        sys.setprofile(None)
    assert calls < count / 2
    for position in range(0, count, 9973):
        own = [set(table.item_id[table.user_id == 2 * position]) for table in (pairs, denied, train)]
        listed = {model.item_ids_[row] for row in item_rows[position] if row >= 0}
        left = own[0] - own[1] - own[2]
        assert listed <= left
        assert len(listed) == min(5, len(left))
