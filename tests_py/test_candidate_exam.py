"""What a second stage is measured by while it learns: whom it is measured on, the figure, and what comes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import twotower as tt
from twotower import frames
from twotower.models._candidate_exam import CandidateExam, users_to_measure
from twotower.models._cross_fit import Candidates, Fold

QUICK: dict[str, Any] = {"dim": 8, "batch_size": 64, "random_state": 0, "verbose": 0}


@pytest.mark.parametrize(
    ("there", "measured"), [(0, 0), (119, 0), (120, 30), (300, 75), (500, 100), (3_000, 300), (40_000, 1_000)]
)
def test_a_tenth_of_the_users_is_measured_more_of_few_and_none_of_a_handful(there: int, measured: int) -> None:
    users = np.arange(there, dtype=np.int32) * 3
    chosen = users_to_measure(users, 0)
    assert len(chosen) == measured
    assert (np.diff(chosen) > 0).all()
    assert np.isin(chosen, users).all()
    np.testing.assert_array_equal(users_to_measure(users, 0), chosen)


def test_the_figure_of_the_retriever_is_that_of_its_order() -> None:
    first = Candidates(
        np.array([2, 7], dtype=np.int32),
        np.array([[4, 0, 3], [1, 2, -1]], dtype=np.int32),
        np.array([[3, 2, 1], [5, 4, -np.inf]], dtype=np.float32),
    )
    second = Candidates(
        np.array([5], dtype=np.int32), np.array([[0, 1, 2]], dtype=np.int32), np.array([[9, 8, 7]], dtype=np.float32)
    )
    rows = np.zeros(1, dtype=np.int32)
    folds = [Fold(None, rows, rows, part) for part in (first, second)]  # type: ignore[arg-type]
    # Positives: items 0 and 3 of user 2, item 2 of user 5, and one of a user who is not measured.
    keys = np.array([2 * 10 + 0, 2 * 10 + 3, 5 * 10 + 2, 7 * 10 + 1])
    exam, scores = CandidateExam.of(folds, np.array([2, 5], dtype=np.int32), keys, 10)
    np.testing.assert_array_equal(exam.offsets, [0, 3, 6])
    np.testing.assert_array_equal(exam.items, [4, 0, 3, 0, 1, 2])
    np.testing.assert_array_equal(scores, [3, 2, 1, 9, 8, 7])
    # User 2: (1 / log2 3 + 1 / log2 4) / (1 + 1 / log2 3); user 5: 1 / log2 4.
    expected = ((1 / np.log2(3) + 0.5) / (1 + 1 / np.log2(3)) + 0.5) / 2
    assert exam.retriever_score(1) == pytest.approx(expected, abs=1e-6)
    # One by one, at the moments of rows 7, 4 and 5: items 3 and 0 of user 2 and item 2 of user 5.
    table = frames.table(pd.DataFrame({"hour": np.arange(10)}), "test")
    given = replace(exam, given=scores.astype(np.float32))
    apart = given.by_moment(table, np.array([7, 4, 5]), np.array([2, 2, 5]), np.array([3, 0, 2]))
    np.testing.assert_array_equal(apart.users, [2, 2, 5])
    np.testing.assert_array_equal(apart.offsets, [0, 3, 6, 9])
    np.testing.assert_array_equal(apart.items, [4, 0, 3, 4, 0, 3, 0, 1, 2])
    np.testing.assert_array_equal(apart.given, [3, 2, 1, 3, 2, 1, 9, 8, 7])
    assert apart.asked is not None
    assert apart.asked["hour"].to_list() == [7, 4, 5]
    assert apart.text == "the candidates of 2 users"
    assert apart.retriever_score(1) == pytest.approx((0.5 + 1 / np.log2(3) + 0.5) / 3, abs=1e-6)


def late(users: int = 240, items: int = 40) -> pd.DataFrame:
    """Users of one of two halves of the items, in the order of time; what comes late is one of the last six of a half."""
    rng, rows = np.random.default_rng(0), []
    for user in range(users):
        half, own = (user % 2) * (items // 2), np.arange(items // 2)
        end = rng.choice(own[-6:], 2, replace=False)
        early = rng.choice(np.setdiff1d(own, end), 7, replace=False)
        rows += [(user, half + item, place) for place, item in enumerate([*early, *end])]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


def stages(**ranker: Any) -> tt.TwoStage:
    return tt.TwoStage(
        retriever=tt.TwoTower(**QUICK, epochs=4),
        ranker=tt.Ranker(**{"loss": "bpr", "hidden": (8,), "epochs": 8, **QUICK, **ranker}),
        candidates=30,
        cross_fit="last",
        time_col="timestamp",
    )


def test_epochs_are_measured_and_the_best_is_kept(tmp_path: Any) -> None:
    two = stages().fit(late())
    curve = two.ranker.learning_curve_
    figures = curve["ndcg@10|candidates"]
    assert two.ranker.best_epoch_ == curve["epoch"][figures.argmax()]
    retriever, both = two.holdout_ndcg_
    assert both == figures.max()
    assert both > retriever
    # A quarter of 240 users is measured, and is not learned from.
    assert len(two.ranker.history_.user_id.unique()) == 180
    two.save(tmp_path / "two.tt")
    assert tt.load(tmp_path / "two.tt").holdout_ndcg_ == two.holdout_ndcg_


def test_a_ranker_that_spoils_the_order_is_not_followed() -> None:
    # Without time there is nothing that the retriever does not know.
    two = stages(learning_rate=30.0, epochs=1).set_params(cross_fit="random")
    with pytest.warns(
        UserWarning,
        match=r"^fit: the ranker's order is no better than the retriever's own: ndcg@10 0\.\d{4} against 0\.\d{4} among the "
        r"candidates of users it did not learn from; the retriever is followed; give it a smaller network, a larger holdout "
        r"or more folds, or use the retriever alone$",
    ):
        two.fit(late())
    users = list(range(20))
    assert two.recommend(users, k=9).item_id.tolist() == two.retriever.recommend(users, k=9).item_id.tolist()
    assert two.holdout_ndcg_[1] < two.holdout_ndcg_[0]


def test_a_ranker_that_cannot_read_the_score_stays() -> None:
    two = stages(learning_rate=30.0, epochs=1).set_params(cross_fit="random", retriever=tt.ItemKNN())
    with pytest.warns(UserWarning, match=r"users it did not learn from; give it a smaller network"):
        two.fit(late())
    assert any(values.any() for values in two.ranker._parameters.values())


def test_few_users_are_all_learned_from() -> None:
    two = stages().fit(late(users=60))
    assert two.holdout_ndcg_ is None
    assert list(two.ranker.learning_curve_.columns) == ["epoch", "loss"]
    assert two.ranker.best_epoch_ == 8
