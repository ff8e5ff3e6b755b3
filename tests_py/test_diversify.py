"""Diverse lists: on paper, with models, with caps, in every kind of table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from conformance import KINDS, exactly, interactions, rows
from factors import Factors
from twotower.errors import SchemaError
from twotower.models import Popularity, diversify

LISTS = {"user_id": [1, 1, 1, 2], "item_id": list("abca"), "score": [4.0, 3.0, 2.0, 1.0], "rank": [1, 2, 3, 1]}
VECTORS = (list("abc"), np.array([[2, 0], [1, 0], [0, 1]], dtype=np.float32))
ITEMS = pd.DataFrame({"item_id": list("abc"), "genres": [["x"], ["x", "y"], ["y"]]})


@pytest.mark.parametrize("kind", KINDS)
def test_less_of_the_same_in_every_kind_of_table(kind: str) -> None:
    table = diversify(KINDS[kind](LISTS), VECTORS, k=2, trade_off=0.5)
    assert rows(table) == [(1, "a", 4.0, 1), (1, "c", 2.0, 2), (2, "a", 1.0, 1)]


def test_by_score_alone_it_is_a_cut() -> None:
    model = Factors().fit(interactions())
    table = diversify(model.recommend(k=9), model, k=3, trade_off=1)
    pd.testing.assert_frame_equal(table, model.recommend(k=3))


def test_caps_count_values_of_the_items() -> None:
    table = diversify(pd.DataFrame(LISTS), k=3, max_per={"genres": 1}, items=ITEMS)
    assert table.item_id.tolist() == ["a", "c", "a"]
    frame = pd.DataFrame({"user_id": [1, 2, 3], "item_id": list("abc")})
    model = Popularity().fit(frame, items=ITEMS)
    found = diversify(model.recommend(k=3, filter_seen=False), model, k=3, max_per={"genres": 1})
    assert found.item_id.tolist() == ["a", "c"] * 3


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"k": 0}, ValueError, "diversify: k is 0, but must be at least 1"),
        (
            {"trade_off": 2},
            ValueError,
            "diversify: trade_off is 2, but must be a finite number at least 0 and at most 1",
        ),
        ({"max_per": {"genres": 0}}, ValueError, "diversify: max_per['genres'] is 0, but must be at least 1"),
        (
            {"max_per": {"genres": 1}},
            SchemaError,
            "diversify: max_per names 1 column, but there is no table of items; pass items=, or a model that was fitted "
            "with one",
        ),
        (
            {"max_per": {"genre": 1}, "items": ITEMS},
            SchemaError,
            "diversify: max_per is 'genre', but items has no column of that name with lists or single values; did you "
            "mean 'genres'?",
        ),
        (
            {"vectors_or_model": 3},
            TypeError,
            "diversify: vectors_or_model is a int, but must be a fitted model, (ids, vectors) or None",
        ),
    ],
)
def test_what_means_nothing_is_refused(options: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=exactly(sentence)):
        diversify(pd.DataFrame(LISTS), **options)
