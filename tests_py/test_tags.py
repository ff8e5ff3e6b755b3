"""Tags of people as a column of items, on a table that is counted by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import twotower as tt
from conformance import exactly
from twotower.errors import SchemaError
from twotower.features import with_tags

KINDS: dict[str, Any] = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}
ITEMS = {"item_id": [5, 3, 9]}
# Item 3: "noir" by two people (one of them twice), "slow" by one, "fast" by one. Item 5: "slow". Item 4 is not there.
TAGS = {
    "user_id": [1, 1, 2, 2, 1, 3, 3, 1],
    "item_id": [3, 3, 3, 3, 3, 5, 4, 5],
    "tag": ["Noir", "noir", " noir ", "slow", "fast", "Slow", "noir", None],
}


def lists(table: Any) -> list[list[str]]:
    column = table["tags"]
    return [list(value) for value in (column.to_pylist() if hasattr(column, "to_pylist") else column.to_list())]


@pytest.mark.parametrize("kind", KINDS)
def test_the_most_given_tags_come_first(kind: str) -> None:
    make = KINDS[kind]
    table = with_tags(make(ITEMS), make(TAGS))
    assert type(table) is type(make(ITEMS))
    assert lists(table) == [["slow"], ["noir", "fast", "slow"], []]
    assert lists(with_tags(make(ITEMS), make(TAGS), min_users=2)) == [[], ["noir"], []]
    assert lists(with_tags(make(ITEMS), make(TAGS), max_tags=2)) == [["slow"], ["noir", "fast"], []]


def test_without_people_rows_are_counted() -> None:
    table = with_tags(pd.DataFrame(ITEMS, index=[7, 7, 8]), pd.DataFrame(TAGS).drop(columns="user_id"), min_users=3)
    assert lists(table) == [[], ["noir"], []]
    assert table.index.tolist() == [7, 7, 8]


def test_no_tags_are_empty_lists() -> None:
    assert lists(with_tags(pd.DataFrame(ITEMS), pd.DataFrame(TAGS).head(0))) == [[], [], []]


def test_a_model_takes_them_as_categories() -> None:
    data = tt.datasets.synthetic(num_users=30, num_items=20, num_interactions=300)
    items = pd.DataFrame({"item_id": data.ratings.item_id.unique()})
    tags = pd.DataFrame({"user_id": 1, "item_id": items.item_id, "tag": items.item_id.map(lambda i: "ab"[i % 2])})
    model = tt.TwoTower(epochs=1, verbose=0).fit(data.ratings, items=with_tags(items, tags))
    assert [(field.column, field.kind) for field in model.schema_.fields if field.column == "tags"] == [
        ("tags", "Categories")
    ]


def test_what_does_not_fit_is_named() -> None:
    items, tags = pd.DataFrame(ITEMS), pd.DataFrame(TAGS)
    with pytest.raises(ValueError, match=exactly("with_tags: min_users is 0, but must be at least 1")):
        with_tags(items, tags, min_users=0)
    sentence = "with_tags: items has a column 'tags' already; pass column= to name the new one"
    with pytest.raises(SchemaError, match=exactly(sentence)):
        with_tags(items.assign(tags="a"), tags)
    sentence = "with_tags: column 'tag' of tags has 8 values that are no text (first: 1); turn them into text"
    with pytest.raises(SchemaError, match=exactly(sentence)):
        with_tags(items, tags.assign(tag=1))
    with pytest.raises(SchemaError, match="tag"):
        with_tags(items, tags.drop(columns="tag"))
