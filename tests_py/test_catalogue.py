"""The columns of the items that a model keeps: read, grown, changed, saved; what is left out; type drift."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance import exactly
from twotower import frames
from twotower.errors import DataError, SchemaError
from twotower.models._catalogue import Catalogue, Column

ITEMS: dict[str, list[Any]] = {
    "item_id": [1, 2, 3, 4],
    "year": [1989, None, 2001, 1994],
    "count": [1, 2, 3, 4],
    "title": ["Heat", "Love Story", None, "Heat"],
    "genres": [["Drama", "Crime"], [], None, ["Drama"]],
    "sizes": [[1, 2], [3], [], [1]],
    "adult": [True, None, False, True],
    "added": [dt.datetime(2020, 1, 31, 12), None, dt.datetime(2020, 2, 1), dt.datetime(1969, 7, 20)],
    "nothing": [None] * 4,
}


def read(native: Any, what: str = "fit: items") -> Catalogue:
    return Catalogue.read(frames.table(native, what), "item_id", what)


def content(catalogue: Catalogue) -> dict[str, list[Any]]:
    """Every column as plain values, a row each."""
    return {name: plain(column) for name, column in catalogue.columns.items()}


def plain(column: Column) -> list[Any]:
    values = column.values.tolist()
    if column.offsets is None:
        return values
    ends = column.offsets.tolist()
    return [values[start:end] for start, end in itertools.pairwise(ends)]


def expected(rows: list[int]) -> dict[str, list[Any]]:
    return {
        name: [(values[row] or []) if name in ("genres", "sizes") else values[row] for row in rows]
        for name, values in ITEMS.items()
        if name != "item_id"
    }


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_plain_columns_are_kept(make: Any) -> None:
    catalogue = read(make(ITEMS))
    assert catalogue.size == 4
    assert content(catalogue) == expected([0, 1, 2, 3])
    kinds = {name: column.kind for name, column in catalogue.columns.items()}
    assert kinds == {
        "year": "number", "count": "number", "title": "text", "genres": "list", "sizes": "list", "adult": "boolean",
        "added": "time", "nothing": "empty",
    }  # fmt: skip
    assert catalogue.columns["genres"].missing.tolist() == [False, True, True, False]
    assert catalogue.columns["title"].missing.tolist() == [False, False, True, False]


def test_what_cannot_be_compared_is_left_out_and_breaks_nothing() -> None:
    native = pd.DataFrame(
        {
            "item_id": [1, 2],
            "vector": list(np.ones((2, 3), dtype=np.float32)),
            "numbers": [[0.5, 1.5], None],
            "mixed": [1, "a"],
            "nested": [[["a"]], [["b"]]],
            "struct": [{"a": 1}, {"a": 2}],
            "took": pd.to_timedelta([1, 2], unit="s"),
            "raw": [b"a", b"b"],
            "story": ["x" * 3000, "y" * 3000],
            "year": [1, 2],
        }
    )
    catalogue = read(native)
    assert list(catalogue.columns) == ["year"]
    assert catalogue.left_out == {
        "vector": "vector", "numbers": "vector", "mixed": "object", "nested": "object", "struct": "struct",
        "took": "duration", "raw": "bytes", "story": "long text",
    }  # fmt: skip
    vectors = pl.DataFrame({"item_id": [1], "v": [[0.5]], "w": pl.Series([[0.5, 1.0]], dtype=pl.Array(pl.Float32, 2))})
    assert read(vectors).left_out == read(vectors.to_arrow()).left_out == {"v": "vector", "w": "vector"}


def test_a_million_rows_of_few_words_are_few_objects() -> None:
    column = read(pd.DataFrame({"item_id": range(100_000), "genre": ["Drama", "Crime"] * 50_000})).columns["genre"]
    assert len(column.values.values) == 2
    assert column.values.rows is not None
    assert column.values.rows.dtype == np.int32


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
@settings(max_examples=25, deadline=None)
@given(first=st.lists(st.integers(0, 3), max_size=5), second=st.lists(st.integers(0, 3), min_size=1, max_size=5))
def test_grown_it_is_what_one_table_would_have_been(make: Any, first: list[int], second: list[int]) -> None:
    pick = lambda rows: make({name: [values[row] for row in rows] for name, values in ITEMS.items()})  # noqa: E731
    # Columns without any value have no dtype in some libraries: they take that of the rows to come.
    grown = read(pick([0, *first])).extended(
        frames.table(pick(second), "items"), len(second), "add_items: items", "item_id"
    )
    assert grown.size == 1 + len(first) + len(second)
    assert content(grown) == expected([0, *first, *second])


def test_columns_that_come_and_go_are_missing_where_they_were_not() -> None:
    old = read(pd.DataFrame({"item_id": [1, 2], "year": [1, 2], "genres": [["a"], ["b"]], "adult": [True, False]}))
    new = frames.table(pd.DataFrame({"item_id": [3], "year": [2.5], "title": ["x"]}), "items")
    assert content(old.extended(new, 1, "add_items: items", "item_id")) == {
        "year": [1, 2, 2.5],
        "genres": [["a"], ["b"], []],
        "adult": [True, False, None],
        "title": [None, None, "x"],
    }
    assert content(old.extended(None, 2, "add_items: items", "item_id"))["year"] == [1, 2, None, None]
    assert old.extended(None, 0, "add_items: items", "item_id") is old
    fresh = Catalogue.empty(2).extended(new, 1, "add_items: items", "item_id")
    assert content(fresh) == {"year": [None, None, 2.5], "title": [None, None, "x"]}


@pytest.mark.parametrize(
    ("column", "before", "after", "sentence"),
    [
        ("year", [1, 2], ["1", "2"], "column 'year' holds text, but held numbers before; convert it"),
        ("title", ["a", "b"], [["a"], ["b"]], "column 'title' holds lists of text, but held text before; convert it"),
        ("genres", [["a"], ["b"]], [[1], [2]], "column 'genres' holds lists of numbers, but held lists of text before; convert it"),
        ("year", [1, 2], [{"a": 1}, {"a": 2}], "column 'year' holds structs, but held numbers before; convert it"),
        (
            "added",
            pd.to_datetime(["2020-01-01", "2020-01-02"]),
            pd.to_datetime(["2020-01-01", "2020-01-02"]).tz_localize("UTC"),
            "column 'added' holds times with a zone, but held times before; convert it",
        ),
    ],
)  # fmt: skip
def test_a_column_of_another_kind_is_named(column: str, before: Any, after: Any, sentence: str) -> None:
    old = read(pd.DataFrame({"item_id": [1, 2], column: before}))
    new = frames.table(pd.DataFrame({"item_id": [3, 4], column: after}), "items")
    with pytest.raises(SchemaError, match=exactly(f"add_items: items: {sentence}")):
        old.extended(new, 2, "add_items: items", "item_id")


def test_rows_may_get_other_values() -> None:
    table = frames.table(pd.DataFrame({name: values[2:] for name, values in ITEMS.items()}), "items")
    changed = read(pl.DataFrame(ITEMS)).replaced(np.array([1, 0]), table, "partial_fit: items", "item_id")
    assert content(changed) == expected([3, 2, 2, 3])


def test_a_file_gives_it_back() -> None:
    catalogue = read(pl.DataFrame(ITEMS).with_columns(added=pl.col("added").dt.replace_time_zone("Europe/Paris")))
    grown = catalogue.extended(None, 1, "add_items: items", "item_id")
    for kept in (catalogue, grown, Catalogue.empty(3)):
        meta, arrays = kept.state()
        again = Catalogue.from_state(meta, arrays, kept.size)
        assert content(again) == content(kept)
        assert {n: c.kind for n, c in again.columns.items()} == {n: c.kind for n, c in kept.columns.items()}
        assert again.left_out == kept.left_out
    meta, arrays = catalogue.state()
    sentence = "load: column 'year' of the items has 4 entries in the file, but must have 5; save the model again"
    with pytest.raises(DataError, match=exactly(sentence)):
        Catalogue.from_state(meta, arrays, 5)
    assert Catalogue.from_state({}, {}, 7).columns == {}
