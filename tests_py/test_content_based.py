"""ContentBased: the kit with a table of items of our own, and cosines done on paper."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import pandas as pd
import pytest

from conformance import RecommenderConformance, exactly, interactions
from twotower.errors import SchemaError
from twotower.models import ContentBased


def _genres(items: list[Any]) -> list[list[str]]:
    numbers = [item if isinstance(item, int) else 0 for item in items]
    return [["early" if number % 100 < 30 else "late", f"of {number % 3}"] for number in numbers]


class Described(ContentBased, kind="test described"):
    """Gives every item two genres where a test gives none."""

    def fit(self, interactions: Any, users: Any = None, items: Any = None, **named: Any) -> Any:
        try:
            table = nw.from_native(interactions if items is None else items, eager_only=True)
            if len(table) == 0:
                raise ValueError
            if "genres" not in table.columns:
                if items is None:
                    table = table.select(self.item_col).unique(maintain_order=True).sort(self.item_col)
                values = _genres(table[self.item_col].to_list())
                genres = nw.new_series("genres", values, backend=table.implementation)
                items = table.with_columns(genres).to_native()
        except Exception:  # whatever it is, the model must say so
            items = pd.DataFrame({"item_id": [1], "genres": [["none"]]}) if items is None else items
        return super().fit(interactions, users, items, **named)


FILMS = pd.DataFrame(
    {
        "item_id": [1, 2, 3, 4],
        "genres": [["war"], ["war"], ["love"], ["love", "war"]],
        "title": ["A B", "C D", "E F", "G H"],
    }
)
SEEN = pd.DataFrame({"user_id": [7, 8], "item_id": [1, 3], "rating": [5, 3]})


class TestContentBased(RecommenderConformance):
    def make(self, **options: Any) -> ContentBased:
        return Described(**options)

    # The class lives in the tests, which a fresh process does not import.
    test_a_file_opens_in_a_fresh_process = None


def test_the_score_is_the_cosine() -> None:
    table = ContentBased(features=["genres"]).fit(SEEN, items=FILMS).recommend([7], k=4, filter_seen=False)
    found = dict(zip(table.item_id, table.score, strict=True))
    # war in 3 films of 4, love in 2: idf ln(5 / 4) + 1 = 1.223 and ln(5 / 3) + 1 = 1.511.
    assert found == pytest.approx({1: 1, 2: 1, 4: 1.2231 / (1.2231**2 + 1.5108**2) ** 0.5, 3: 0}, abs=1e-4)


def test_what_it_needs_is_named() -> None:
    sentence = (
        "fit: items is None, but ContentBased needs the table of items, whose words it compares; pass items=, or use "
        "ItemKNN, which needs none"
    )
    with pytest.raises(SchemaError, match=exactly(sentence)):
        ContentBased().fit(interactions())
    with pytest.raises(
        SchemaError, match=exactly("fit: items has no column 'genre', which features names; did you mean 'genres'?")
    ):
        ContentBased(features=["genre"]).fit(SEEN, items=FILMS)
    sentence = (
        "fit: items has no column of words, lists of values or categories, which ContentBased compares; name some with "
        "features=, or join a table of them"
    )
    with pytest.raises(SchemaError, match=exactly(sentence)):
        ContentBased().fit(SEEN, items=FILMS[["item_id"]].assign(price=[1.5, 2.5, 3.5, 4.5]))
    sentence = "fit: features is 'genres', but must be a list of at least one column of items, or None for all"
    with pytest.raises(TypeError, match=exactly(sentence)):
        ContentBased(features="genres").fit(SEEN, items=FILMS)
