"""ItemKNN: the kit, and likenesses done on paper."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from conformance import RecommenderConformance, exactly, interactions
from twotower.models import ItemKNN


class TestItemKNN(RecommenderConformance):
    beats_popularity = True

    def make(self, **options: Any) -> ItemKNN:
        return ItemKNN(**options)


# a and b share users 1 and 2; c is met with b by user 3.
MET = pd.DataFrame({"user_id": [1, 1, 2, 2, 3, 3, 4], "item_id": list("ababbca")})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # 2 / sqrt(3 * 3) and none.
        ({}, {"b": 2 / 3, "c": 0}),
        ({"shrink": 1.0}, {"b": 2 / 4, "c": 0}),
        # Both 2, either 4.
        ({"similarity": "jaccard"}, {"b": 2 / 4, "c": 0}),
    ],
)
def test_the_score_is_the_sum_of_likenesses(options: dict[str, Any], expected: dict[str, float]) -> None:
    table = ItemKNN(**options).fit(MET).recommend([4], k=5)
    assert dict(zip(table.item_id, table.score, strict=True)) == pytest.approx(expected)


def test_only_the_nearest_neighbors_count() -> None:
    model = ItemKNN(neighbors=1).fit(MET)
    # Of b the nearest is a, so user 3 has a by b alone and user 4 has b.
    assert model.recommend([3], k=1).item_id.tolist() == ["a"]
    assert model.predict(pd.DataFrame({"user_id": [1], "item_id": ["c"]})).tolist() == [0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"neighbors": 0}, "fit: neighbors is 0, but must be at least 1"),
        ({"shrink": -1}, "fit: shrink is -1, but must be a finite number at least 0"),
        (
            {"similarity": "cosin"},
            "fit: similarity is 'cosin', but must be one of 'cosine', 'jaccard', 'tfidf'; did you mean 'cosine'?",
        ),
    ],
)
def test_options_are_checked_in_fit(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=exactly(sentence)):
        ItemKNN(**options).fit(interactions())
