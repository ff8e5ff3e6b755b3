"""A model of pairs as second stage: one scale for all scores, both stages in one call, vectors of two fits in one set of axes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

import twotower as tt
from twotower.models._pair_stage import PairStage, Scale, rotation, score_vectors
from twotower.models.two_stage import TwoStage

QUICK: dict[str, Any] = {"dim": 8, "epochs": 2, "batch_size": 64, "random_state": 0, "verbose": 0}
USERS, ITEMS = 40, 30


def test_scores_are_scaled_to_mean_0_and_deviation_1() -> None:
    scale = Scale.of(np.array([1, 3, 5, 7], dtype=np.float32))
    assert (scale.mean, scale.deviation) == (4, np.sqrt(5))
    np.testing.assert_allclose(scale(np.array([4, 9], dtype=np.float32)), [0, np.sqrt(5)], rtol=1e-6)
    # Scores that are all the same are only shifted.
    assert Scale.of(np.ones(3, dtype=np.float32)).deviation == 1


# --- both stages in one call ------------------------------------------------------------------------------------------


def rated(seed: int = 0) -> pd.DataFrame:
    """Users with 3 to 27 of the items each, and ratings."""
    rng = np.random.default_rng(seed)
    pairs = [(user, item) for user in range(USERS) for item in rng.choice(ITEMS, 3 + 8 * (user % 4), replace=False)]
    return pd.DataFrame(pairs, columns=["user_id", "item_id"]).assign(rating=rng.integers(1, 6, len(pairs)))


def table_of_items() -> pd.DataFrame:
    return pd.DataFrame({"item_id": np.arange(ITEMS), "year": 1990 + np.arange(ITEMS) % 7})


def fitted_inside(retriever: Any, **options: Any) -> TwoStage:
    ranker = tt.Ranker(hidden=(8,), **QUICK, **({"loss": "bpr"} | options))
    return TwoStage(retriever=retriever, ranker=ranker, candidates=12, folds=2).fit(rated(), items=table_of_items())


def put_together(retriever: Any, ranker: Any) -> TwoStage:
    """Two fitted models; the ranker has the users and items in another order, and more of them."""
    table, items = rated(), table_of_items()
    more = pd.DataFrame({"user_id": [900, 901], "item_id": [800, 801], "rating": [3, 4]})
    known = pd.concat([items[::-1], pd.DataFrame({"item_id": [800, 801], "year": [1990, 1991]})])
    ranker.fit(pd.concat([more, table[::-1]]), items=known)
    return TwoStage.of(retriever.fit(table, items=items), ranker, candidates=12)


AT_ONCE: dict[str, Any] = {
    "fitted inside": lambda: fitted_inside(tt.TwoTower(**QUICK)),
    "dcn on a product": lambda: fitted_inside(tt.MatrixFactorization(**QUICK), interaction="dcn"),
    "ratings": lambda: fitted_inside(tt.TwoTower(**QUICK), loss="mse", target="rating"),
    "implicit ALS": lambda: fitted_inside(tt.ImplicitALS(dim=8)),
    "other rows": lambda: put_together(tt.TwoTower(**QUICK), tt.Ranker(loss="bpr", hidden=(8,), **QUICK)),
    "NeuMF": lambda: put_together(tt.TwoTower(**QUICK), tt.NeuMF(**QUICK | {"factors": 4, "hidden": (8,)})),
    "two tasks": lambda: put_together(
        tt.MultiTask(target="rating", **QUICK), tt.MultiTask(target="rating", hidden=(8,), **QUICK)
    ),
}
# A head that is a product of its own, ratings cut off at the end of their range, scores of no product.
ONE_BY_ONE: dict[str, Any] = {
    "a product on top": lambda: put_together(tt.TwoTower(**QUICK), tt.MatrixFactorization(**QUICK)),
    "cut off": lambda: put_together(
        tt.RatingModel(target="rating", **QUICK), tt.Ranker(loss="bpr", hidden=(8,), **QUICK)
    ),
    "neighbors": lambda: put_together(tt.ItemKNN(), tt.Ranker(loss="bpr", hidden=(8,), **QUICK)),
}
_BOTH = pd.DataFrame({"user_id": np.repeat(np.arange(USERS), 4), "item_id": np.arange(USERS * 4) * 7 % ITEMS})
QUESTIONS: list[dict[str, Any]] = [
    {},
    {"k": 1, "users": [3, 1, 3]},
    {"k": 12},
    {"k": 12, "filter_seen": False},
    {"k": 12, "items": list(range(8)), "filter_seen": False},
    {"items": [2, 5, 7, 11]},
    {"items": _BOTH},
    {"exclude": list(range(0, ITEMS, 3))},
    {"exclude": _BOTH, "where": "year >= 1992"},
    {"items": _BOTH, "exclude": [4, 9], "where": np.arange(ITEMS) % 4 > 0},
    {"users": [5, 777, 6], "on_unknown": "popular"},
    {"users": [5, 777, 6], "on_unknown": "warn"},
    {"users": []},
]


@pytest.mark.parametrize("name", AT_ONCE)
def test_one_call_gives_the_bits_of_one_stage_after_the_other(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    two, search, calls = AT_ONCE[name](), PairStage.search, []
    monkeypatch.setattr(PairStage, "search", lambda *given: calls.append(1) or search(*given))
    answers = [answer(two, question) for question in QUESTIONS]
    assert len(calls) == len(QUESTIONS) - 1  # nobody needs no call
    monkeypatch.setattr(PairStage, "follows", lambda *_: False)
    short = False
    for question, (rows, scores) in zip(QUESTIONS, answers, strict=True):
        wanted = answer(two, question)
        np.testing.assert_array_equal(rows, wanted[0], err_msg=str(question))
        assert scores.tobytes() == wanted[1].tobytes(), question
        short |= bool((rows == -1).any())
    assert short  # somebody had fewer than k left
    assert len(calls) == len(QUESTIONS) - 1


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_other_pairs_of_stages_are_asked_one_by_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PairStage, "search", None)
    two = ONE_BY_ONE[name]()
    lists = two.recommend([1, 2], k=4)
    np.testing.assert_array_equal(two.predict(lists), lists.score)


def test_a_ranker_that_was_fitted_again_is_asked_anew() -> None:
    two = put_together(tt.TwoTower(**QUICK), tt.Ranker(loss="bpr", hidden=(8,), **QUICK))
    before = two.recommend([1, 2], k=4)
    two.ranker.fit(rated(seed=1), items=table_of_items())
    again = TwoStage.of(two.retriever, two.ranker, candidates=12)
    pd.testing.assert_frame_equal(two.recommend([1, 2], k=4), again.recommend([1, 2], k=4))
    assert not two.recommend([1, 2], k=4).equals(before)


def answer(two: TwoStage, question: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows, scores = two.recommend(**{"k": 5} | question, as_arrays=True)
    return rows, scores


# --- vectors ----------------------------------------------------------------------------------------------------------


def test_vectors_of_another_fit_are_turned_back() -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0].astype(np.float32)
    np.testing.assert_allclose(vectors @ turn @ rotation(vectors @ turn, vectors), vectors, atol=1e-5)


def test_scores_that_are_dot_products_give_vectors() -> None:
    data = tt.datasets.synthetic(num_users=30, num_items=20, num_interactions=300)
    for model in (tt.Popularity(), tt.Popularity(method="mean_rating", rating_col="rating")):
        model.fit(data.ratings)
        vectors = score_vectors(model, np.arange(model._users.size, dtype=np.int32), 1)
        assert vectors is not None
        users = {user: row for row, user in enumerate(model.user_ids_)}
        items = {item: row for row, item in enumerate(model.item_ids_)}
        pairs = data.ratings.head(50)
        scores = [
            vectors[0][users[u]] @ vectors[1][items[i]] for u, i in zip(pairs.user_id, pairs.item_id, strict=True)
        ]
        assert scores == model.predict(pairs).tolist()


def test_scores_of_no_vectors_are_left_out() -> None:
    data = tt.datasets.synthetic(num_users=30, num_items=20, num_interactions=300)
    assert score_vectors(tt.ItemKNN().fit(data.ratings), np.arange(3, dtype=np.int32), 1) is None


def test_what_a_ranker_learns_is_added_to_the_retriever_s_score() -> None:
    ranker, pairs = tt.Ranker(loss="bpr", hidden=(8,), **QUICK), rated()[["user_id", "item_id"]]
    two = TwoStage(retriever=tt.TwoTower(**QUICK), ranker=ranker, candidates=12).fit(rated())
    silent = {name: np.zeros_like(values) for name, values in ranker._parameters.items()}
    ranker._fitted().model.set_parameters(silent)
    ranker._encoded_items = ranker._fitted().item_vectors(1)
    np.testing.assert_allclose(two.predict(pairs), two._scale(two.retriever.predict(pairs)), rtol=1e-5, atol=1e-5)
