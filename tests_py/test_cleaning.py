"""The helpers of `tt.features`, on every kind of column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import twotower as tt
from twotower.errors import SchemaError

TITLES = ["Toy Story (1995)", "Nothing", None, "Death Note (2006-2007)", "Film (2001) (V)", "(1984)", "1984 (1956)"]
YEARS = [1995, None, None, 2006, 2001, None, 1956]
COLUMNS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "numpy": lambda values: np.array(values, dtype=object),
    "pandas": lambda values: pd.Series(values, index=range(5, 5 + len(values)), name="x"),
    "pandas object": lambda values: pd.Series(values, dtype=object, name="x"),
    "polars": lambda values: pl.Series("x", values),
    "pyarrow": pa.array,
    "pyarrow chunked": lambda values: pa.chunked_array([values[:1], values[1:]], type=pa.array(values).type),
    "narwhals": lambda values: nw.from_native(pl.Series("x", values), series_only=True),
}


def plain(found: Any) -> list[Any]:
    values = (
        found.to_pylist()
        if hasattr(found, "to_pylist")
        else found.to_list()
        if hasattr(found, "to_list")
        else list(found)
    )
    return [None if not isinstance(v, (list, np.ndarray)) and pd.isna(v) else v for v in values]


@pytest.mark.parametrize("kind", COLUMNS)
def test_every_kind_of_column(kind: str) -> None:
    titles = COLUMNS[kind](TITLES)
    years = tt.features.year_from_title(titles)
    assert plain(years) == YEARS
    assert plain(tt.features.title_without_year(titles)) == [
        "Toy Story", "Nothing", None, "Death Note", "Film (V)", "(1984)", "1984",
    ]  # fmt: skip
    assert plain(tt.features.split_list(COLUMNS[kind](["a| b|", "", None]))) == [["a", "b"], [], None]
    assert plain(tt.features.clean_text(COLUMNS[kind](["Amélie!", None]))) == ["Amelie", None]
    assert plain(tt.features.age_bucket(COLUMNS[kind]([17, 18, None]))) == ["under 18", "18-24", None]
    if kind.startswith("pandas"):
        pd.testing.assert_index_equal(years.index, titles.index)
        assert (years.name, str(years.dtype)) == ("x", "Int64")
    if kind == "polars":
        assert (years.name, years.dtype) == ("x", pl.Int64)


def test_one_value() -> None:
    assert tt.features.year_from_title("Toy Story (1995)") == 1995
    assert tt.features.year_from_title(None) is None
    assert tt.features.title_without_year("Toy Story (1995) ") == "Toy Story"
    assert tt.features.split_list("a;b", ";") == ["a", "b"]
    assert tt.features.age_bucket(np.float32(30.5)) == "25-34"
    assert tt.features.age_bucket(float("nan")) is None


def test_columns_without_a_value() -> None:
    for empty in (pd.Series([], dtype=str), pl.Series([], dtype=pl.String), pa.array([], type=pa.string()), []):
        assert len(tt.features.year_from_title(empty)) == 0
    assert plain(tt.features.year_from_title(pd.Series([None, None]))) == [None, None]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("", ""),
        (" \t\n", ""),
        ("Łódź ÅÄÖ ñ ç ø ß", "Łodz AAO n c ø ß"),
        ("ﬁne ½", "fine 1 2"),
        ("snake_case & kebab-case", "snake case kebab case"),
        ("日本語 한국어", "日本語 한국어"),
        ("हिन्दी", "हिन्दी"),
        ("emoji 🎬!", "emoji"),
        ("x" * 100_000, "x" * 100_000),
    ],
)
def test_clean_text(text: str, clean: str) -> None:
    assert tt.features.clean_text(text) == clean
    assert tt.features.clean_text(tt.features.clean_text(text)) == clean


def test_lowercase() -> None:
    assert tt.features.clean_text("STRASSE Straße", lowercase=True) == "strasse strasse"


def test_groups_of_other_edges() -> None:
    assert tt.features.age_bucket([-5, 0.5, 0.75, 3], edges=(0, 0.5, 1)) == ["under 0", "0.5 to 1", "0.5 to 1", "1+"]
    assert tt.features.age_bucket([5, 50], edges=[30]) == ["under 30", "30+"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: tt.features.year_from_title([1995]), SchemaError, "year_from_title got int64 values, but must get text; convert them"),
        (lambda: tt.features.year_from_title(1995), SchemaError, "year_from_title got 1995, but must get text"),
        (lambda: tt.features.age_bucket(["x"]), SchemaError, "age_bucket got string values, but must get numbers; convert them"),
        (lambda: tt.features.age_bucket("x"), SchemaError, "age_bucket got 'x', but must get numbers"),
        (lambda: tt.features.split_list("a", ""), ValueError, "split_list: separator is empty, but must be text, such as '|'"),
        (
            lambda: tt.features.age_bucket([1], edges=(5, 3)),
            ValueError,
            "age_bucket: edges are (5, 3), but must be ascending numbers, such as (18, 25, 35)",
        ),
        (
            lambda: tt.features.age_bucket([1], edges=()),
            ValueError,
            "age_bucket: edges are (), but must be ascending numbers, such as (18, 25, 35)",
        ),
    ],
)  # fmt: skip
def test_what_the_helpers_refuse(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
