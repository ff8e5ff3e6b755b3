"""The sequence model: the kit, an order that can be learned, bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import twotower as tt
from conformance import DotProductConformance, exactly, interactions
from twotower.errors import SchemaError


class TestTransformerRecommender(DotProductConformance):
    needs_two = True
    serves_unknown = True
    times_better_than_random = 1.0

    def make(self, **options: Any) -> tt.TransformerRecommender:
        return tt.TransformerRecommender(**({"dim": 8, "max_length": 8, "epochs": 2, "verbose": 0} | options))


def test_it_learns_what_follows() -> None:
    """Everyone walks a circle of 20 items; the next step is the one after the last."""
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 20, 200)
    table = pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(200), 8),
            "item_id": (starts[:, None] + np.arange(8)).ravel() % 20,
            "time": np.tile(np.arange(8), 200),
        }
    )
    model = tt.TransformerRecommender(
        time_col="time", dim=16, max_length=8, epochs=30, dropout=0.0, learning_rate=0.01, verbose=0
    ).fit(table.sample(frac=1, random_state=0))
    first = model.recommend(k=1)
    wanted = (starts + 8) % 20
    assert (first.item_id.to_numpy() == wanted[first.user_id.to_numpy()]).mean() > 0.9


def test_a_stranger_with_a_history_is_served() -> None:
    model = tt.TransformerRecommender(dim=8, epochs=1, verbose=0).fit(interactions())
    asked = pd.DataFrame({"user_id": [999], "history": [[100, 101]]})
    assert len(model.recommend(asked, k=3, on_unknown="features")) == 3


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"blocks": 0}, ValueError, "fit: blocks is 0, but must be at least 1"),
        ({"max_length": 2.5}, TypeError, "fit: max_length is 2.5, but must be an integer of at least 1"),
        ({"dropout": 1.0}, ValueError, "fit: dropout is 1, but must be a finite number at least 0 and at most 0.99"),
    ],
    ids=str,
)
def test_options_out_of_range_are_named(options: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=exactly(sentence)):
        tt.TransformerRecommender(**options).fit(interactions())


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(SchemaError, match="has 3 heads, but dim is 8, which they must divide"):
        tt.TransformerRecommender(dim=8, heads=3).fit(interactions())
