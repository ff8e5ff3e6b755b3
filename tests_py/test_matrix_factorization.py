"""Matrix factorization: the kit, tastes that can be learned, bad input."""

from __future__ import annotations

from typing import Any

import pytest

import twotower as tt
from conformance import DotProductConformance, exactly, interactions, two_tastes


class TestMatrixFactorization(DotProductConformance):
    needs_two = True

    def make(self, **options: Any) -> tt.MatrixFactorization:
        quick = {"dim": 8, "epochs": 12, "learning_rate": 0.02, "shrink": 0.03, "verbose": 0}
        return tt.MatrixFactorization(**(quick | options))


@pytest.mark.parametrize("loss", ["logistic", "bpr", "softmax"])
def test_it_finds_the_two_tastes(loss: str) -> None:
    train, test = two_tastes()
    model = tt.MatrixFactorization(loss=loss, epochs=40, learning_rate=0.02, shrink=0.03, dropout=0.3, verbose=0)
    lists = model.fit(train).recommend(k=5)
    own_taste = (lists.item_id >= 30) == (lists.user_id % 2 == 1)
    assert own_taste.mean() > 0.7
    table = tt.evaluate([tt.Popularity().fit(train), model], test, ["recall@10"])
    assert table["recall@10"][1] > 1.1 * table["recall@10"][0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"loss": "bce"}, "fit: loss is 'bce', but must be one of 'logistic', 'bpr', 'softmax'"),
        ({"shrink": -1}, "fit: shrink is -1, but must be a finite number at least 0"),
    ],
    ids=str,
)
def test_options_out_of_range_are_named(options: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=exactly(sentence)):
        tt.MatrixFactorization(**options).fit(interactions())
