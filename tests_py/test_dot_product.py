"""The base of dot-product models, on a singular value decomposition with a bias: the kit, passes, directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from conformance import DotProductConformance, interactions, rows, two_tastes
from factors import Factors
from twotower import frames
from twotower.models import _dot_product, _recommend


class TestFactors(DotProductConformance):
    times_better_than_random = 2.0
    beats_popularity = True

    def make(self, **options: Any) -> Factors:
        return Factors(**options)

    # The class lives in the tests, which a fresh process does not import.
    test_a_file_opens_in_a_fresh_process = None
    takes_tables = False
    test_tables_of_users_and_items_widen_who_is_known = None
    test_an_item_that_its_table_does_not_have_is_named = None


@pytest.fixture
def model() -> Factors:
    return Factors().fit(interactions())


def test_scores_are_the_product_of_the_vectors(model: Factors) -> None:
    expected = model.user_embeddings().astype(float) @ model.item_embeddings().astype(float).T
    table = model.recommend(k=11, filter_seen=False)
    found = table.pivot(index="user_id", columns="item_id", values="score").to_numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_neighbors_do_not_look_at_the_bias(model: Factors) -> None:
    vectors = model.item_embeddings().astype(float)[:, :-1]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = vectors @ vectors.T
    for item, other, score, _ in rows(model.similar_items(list(model.item_ids_), k=20)):
        assert score == pytest.approx(cosine[item - 100, other - 100], abs=1e-6)


def test_a_zero_vector_is_like_nothing_and_can_be_asked(model: Factors) -> None:
    model._item_vectors_[4] = 0
    table = model.similar_items([104, 100], k=20)
    assert (table.score[table.item_id == 104] == 0).all()
    assert len(table) == 20
    # Equal scores: the smaller rows first.
    assert table.similar_item_id[table.item_id == 104].tolist() == [100, 101, 102, 103, 105, 106, 107, 108, 109, 110]


@pytest.mark.parametrize("size", [1, 3, 7])
def test_passes_do_not_change_anything(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    train, test = two_tastes()
    model = Factors().fit(train)
    asked = [5, 3, 79, 3, 0, 999, 41, 998]
    calls = {
        "all": lambda: model.recommend(k=4),
        "some": lambda: model.recommend(asked, k=4, on_unknown="popular"),
        "pairs": lambda: pd.Series(model.predict(test.iloc[::-1])),
        "unknown pairs": lambda: pd.Series(model.predict(test.assign(user_id=test.user_id * 2), on_unknown="nan")),
        "items": lambda: model.similar_items(list(range(0, 60, 7)), k=3),
        "users": lambda: model.similar_users(list(range(0, 80, 7)), k=3),
        "vectors": lambda: pd.DataFrame(model.user_embeddings()),
    }
    expected = {name: call() for name, call in calls.items()}
    model._cache.clear()
    monkeypatch.setattr(_recommend, "USERS_A_PASS", size)
    monkeypatch.setattr(_dot_product, "USERS_A_PASS", size)
    for name, call in calls.items():
        assert call().equals(expected[name]), name


def test_what_is_built_is_built_once_and_left_out_of_copies(model: Factors) -> None:
    assert model._cache == {}
    model.recommend(k=1)
    packed = dict(model._cache)
    model.recommend(k=2)
    assert model._cache == packed
    assert model.__getstate__()["_cache"] == {}
    model.fit(interactions())
    assert model._cache == {}


def filled(model: Factors) -> Factors:
    """Let everything that is kept be made."""
    model.recommend([10], k=1)
    model.similar_items([100], k=1)
    model.similar_users([10], k=1)
    return model


def grow(model: Factors, new: list[int], vectors: np.ndarray) -> None:
    model._append_items(model._items.extended(frames.ids(new, "ids")), None, "add_items: items")
    model._append_item_vectors(vectors, num_threads=1)


@pytest.mark.parametrize("made", [False, True])
def test_items_are_added_and_changed_in_place(model: Factors, *, made: bool) -> None:
    vectors = np.array(model._item_vectors_)
    more = np.concatenate([2 * vectors[:3], -vectors[:2]])
    if made:
        filled(model)
    packed = dict(model._cache)
    grow(model, [500, 501, 502], more[:3])
    grow(model, [403, 404], more[3:])
    model._replace_item_vectors(np.array([4, 12], dtype=np.int32), 3 * vectors[:2], num_threads=1)
    for name, kept in packed.items():
        if name.startswith("packed"):
            assert model._cache[name] is kept
    expected = np.concatenate([vectors, more])
    expected[[4, 12]] = 3 * vectors[:2]
    np.testing.assert_array_equal(model.item_embeddings(), expected)
    assert list(model.item_ids_) == [*range(100, 111), 500, 501, 502, 403, 404]
    calls = (
        lambda: model.recommend(k=20),
        lambda: model.similar_items([100, 104, 501, 404], k=20),
        lambda: model.recommend([10, 999], k=20, on_unknown="popular", filter_seen=False),
    )
    found = [rows(call()) for call in calls]
    model._cache.clear()
    assert found == [rows(call()) for call in calls]
    assert [score for user, _, score, _ in found[2] if user == 999][-5:] == [0.0] * 5


def test_what_was_seen_grows(model: Factors) -> None:
    before = rows(model.history_)
    model._append_users(model._users.extended(frames.ids([5, 80], "ids")))
    assert rows(model.history_) == before
    assert len(model.user_ids_) == 9
    counts = np.zeros(11)
    counts[3] = 2
    popular = model.recommend([999], k=1, on_unknown="popular")
    model._append_seen(np.array([8, 7, 8]), np.array([3, 10, 1]), counts)
    assert rows(model.history_)[-3:] == [(5, 110), (80, 101), (80, 103)]
    assert sorted(rows(model.history_)[:-3]) == sorted(before)
    again = model.recommend([999], k=20, on_unknown="popular")
    assert dict(zip(again.item_id, again.score, strict=True))[103] == model._item_counts[3]
    assert popular.score[0] <= again.score[0]


def test_removed_items_come_back(model: Factors) -> None:
    expected = rows(model.recommend(k=20))
    model.remove_items([103, 105, 106])
    model._bring_back(np.array([3, 6], dtype=np.int32))
    assert set(model.recommend(k=20, filter_seen=False).item_id) == set(range(100, 111)) - {105}
    grow(model, [500], model._item_vectors_[:1])
    assert 500 in set(model.recommend(k=20).item_id)
    model = Factors().fit(interactions()).remove_items([103])
    model._bring_back(np.array([3], dtype=np.int32))
    assert model._available is None
    assert rows(model.recommend(k=20)) == expected


def test_the_neighbors_of_users_follow_their_vectors(model: Factors) -> None:
    filled(model)
    model._user_vectors_ = model._user_vectors_[::-1].copy()
    model._forget_users()
    fresh = Factors().fit(interactions())
    fresh._user_vectors_ = model._user_vectors_
    assert rows(model.similar_users([10, 30], k=9)) == rows(fresh.similar_users([10, 30], k=9))
