"""Metrics among candidates: on paper, and what has none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import twotower as tt
from conformance import exactly
from twotower.models.two_stage import TwoStage

TRAIN = pd.DataFrame(
    [(user, item) for item, count in zip("abcdef", (9, 8, 7, 6, 5, 4), strict=True) for user in range(count)]
    + [(20, "f")],
    columns=["user_id", "item_id"],
)


class Backwards:
    """Puts the candidates upside down."""

    def predict(self, x: pd.DataFrame) -> np.ndarray:
        return x["retriever_rank"].to_numpy()


def test_figures_among_candidates_on_paper() -> None:
    popular = tt.Popularity().fit(TRAIN)
    two = TwoStage.of(popular, Backwards(), candidates=3)
    # User 20 gets c, b, a; a and e are relevant: rank 3 of the candidates, and lost. User 8 has seen a: d, c, b; only f.
    test = pd.DataFrame([(20, "a"), (20, "e"), (8, "f")], columns=["user_id", "item_id"])
    metrics = ["ndcg@3", "ndcg@3|candidates", "recall@3|candidates", "mrr@2|candidates"]
    table = tt.evaluate([two, popular], test, metrics)
    assert list(table.columns[1:6]) == [*metrics, "recall@candidates"]
    gain = 1 / np.log2(4)
    # All relevant items: the best list of user 20 has two of them, user 8 has nothing.
    assert table["ndcg@3"][0] == pytest.approx(gain / (1 + 1 / np.log2(3)) / 2)
    # Among the candidates: one relevant item of one user.
    assert table["ndcg@3|candidates"][0] == pytest.approx(gain)
    assert table["recall@3|candidates"][0] == 1
    assert table["mrr@2|candidates"][0] == 0
    assert table["recall@candidates"][0] == pytest.approx((1 / 2 + 0) / 2)
    # A model of one stage has no candidates.
    assert table[["ndcg@3|candidates", "recall@candidates"]].iloc[1].isna().all()
    assert np.isfinite(table["ndcg@3"][1])


def test_more_places_than_candidates_are_empty() -> None:
    two = TwoStage.of(tt.Popularity().fit(TRAIN), Backwards(), candidates=3)
    test = pd.DataFrame([(20, "a")], columns=["user_id", "item_id"])
    assert tt.evaluate(two, test, "recall@50|candidates")["recall@50|candidates"][0] == 1
    assert tt.evaluate(two, test, "recall@candidates")["recall@candidates"][0] == 1


def test_a_metric_that_is_not_there_among_candidates_is_named() -> None:
    sentence = (
        "evaluate: metric 'coverage@10|candidates' is not there among candidates, where it must be one of recall, capped_recall, "
        "precision, ndcg, hit_rate, mrr, map, micro_recall, as in 'ndcg@10|candidates'"
    )
    with pytest.raises(ValueError, match=exactly(sentence)):
        tt.evaluate(tt.Popularity().fit(TRAIN), TRAIN, "coverage@10|candidates")
