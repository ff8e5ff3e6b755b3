"""MultiTask: the kit for each task alone, both at once, bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import twotower as tt
from conformance import DotProductConformance, exactly, interactions, two_tastes
from twotower.errors import DataError, SchemaError


class TestRetrievalAlone(DotProductConformance):
    needs_two = True
    beats_popularity = True

    def make(self, **options: Any) -> tt.MultiTask:
        return tt.MultiTask(**({"target": None, "rating_weight": 0.0, "epochs": 3, "verbose": 0} | options))


def both_tasks() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two tastes whose items are rated by their number; the test has the same users."""
    return tuple(part.assign(rating=1.0 + part.item_id % 5) for part in two_tastes())  # type: ignore[return-value]


@pytest.fixture(scope="module")
def joint() -> tt.MultiTask:
    return tt.MultiTask(dim=16, epochs=40, temperature=0.2, verbose=0).fit(both_tasks()[0])


def rmse(model: Any, table: pd.DataFrame) -> float:
    return float(np.sqrt(np.mean((model.predict(table) - table.rating) ** 2)))


def test_both_tasks_are_learned(joint: tt.MultiTask) -> None:
    train, test = both_tasks()
    table = tt.evaluate([tt.Popularity().fit(train), joint], test, ["recall@10"])
    assert table["recall@10"][1] > table["recall@10"][0]
    assert rmse(joint, test) < 0.6 * test.rating.std()
    predicted = joint.predict(test)
    assert predicted.min() >= 1
    assert predicted.max() <= 5


def test_lists_are_ranked_by_the_vectors(joint: tt.MultiTask) -> None:
    lists = joint.recommend([0, 1], k=4)
    vectors = joint.user_embeddings(lists.user_id) * joint.item_embeddings(lists.item_id)
    np.testing.assert_allclose(vectors.sum(axis=1), lists.score, rtol=1e-5)


def test_without_retrieval_lists_are_ranked_by_the_predicted_rating() -> None:
    train, test = both_tasks()
    model = tt.MultiTask(retrieval_weight=0, dim=16, epochs=40, verbose=0).fit(train)
    assert rmse(model, test) < 0.6 * test.rating.std()
    lists = model.recommend([0, 1, 2], k=5)
    np.testing.assert_array_equal(model.predict(lists), lists.score)


def test_a_file_gives_both_tasks_again(joint: tt.MultiTask, tmp_path: Any) -> None:
    joint.save(tmp_path / "model")
    again = tt.load(tmp_path / "model")
    test = both_tasks()[1]
    np.testing.assert_array_equal(again.predict(test), joint.predict(test))
    pd.testing.assert_frame_equal(again.recommend([3, 4], k=5), joint.recommend([3, 4], k=5))


@pytest.mark.parametrize("threads", [2, 7])
def test_the_same_bytes_for_any_number_of_threads(threads: int, tmp_path: Any) -> None:
    train, _ = both_tasks()
    for count in (1, threads):
        tt.MultiTask(dim=8, epochs=2, n_jobs=count, verbose=0).fit(train).save(tmp_path / str(count))
    assert (tmp_path / "1").read_bytes() == (tmp_path / str(threads)).read_bytes()


@pytest.mark.parametrize("metric", ["ndcg@10", "rmse"])
def test_either_task_may_be_validated(metric: str) -> None:
    train, test = both_tasks()
    model = tt.MultiTask(dim=8, epochs=5, eval_metric=metric, verbose=0).fit(train, eval_set=test)
    figures = model.learning_curve_[metric]
    best = figures.idxmax() if metric == "ndcg@10" else figures.idxmin()
    assert model.best_epoch_ == model.learning_curve_["epoch"][best]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"retrieval_weight": 0, "rating_weight": 0},
            "fit: retrieval_weight and rating_weight are both 0, so that there is nothing to learn; give one of them a weight",
        ),
        (
            {"target": None},
            'fit: rating_weight is 0.5, but target is None, and ratings are a column; pass target="rating", or rating_weight=0',
        ),
        ({"rating_weight": -1}, "fit: rating_weight is -1, but must be a finite number at least 0"),
        ({"temperature": 0}, "fit: temperature is 0, but must be a finite number above 0"),
    ],
    ids=str,
)
def test_options_out_of_range_are_named(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=exactly(sentence)):
        tt.MultiTask(**options).fit(both_tasks()[0])


def test_what_the_table_lacks_is_named() -> None:
    with pytest.raises(SchemaError, match="'rating'"):
        tt.MultiTask().fit(interactions())
    with pytest.raises(DataError, match="is 3 in every row, but must differ to be predicted"):
        tt.MultiTask().fit(interactions().assign(rating=3.0))
