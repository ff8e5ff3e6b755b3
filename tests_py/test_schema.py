from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from twotower import frames
from twotower.errors import SchemaError
from twotower.schema import (
    Categories,
    Category,
    Field,
    Id,
    LeftOut,
    Numeric,
    Resolved,
    Schema,
    column_from_meta,
    column_to_meta,
    infer,
    resolve,
)

KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
}


# --- the kinds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column",
    [
        Id("u"),
        Category("c"),
        Category("c", width=8, min_count=2),
        Categories("g", pooling="sqrt", separator="|"),
        Numeric("n", scale="none"),
    ],
)
def test_columns_through_json(column: Any) -> None:
    assert column_from_meta(json.loads(json.dumps(column_to_meta(column)))) == column
    assert column.kind == type(column).__name__
    assert hash(column) is not None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Category("c", width=0), "Category('c'): width is 0, but must be a whole number of at least 1"),
        (lambda: Category("c", width=2.5), "Category('c'): width is 2.5, but must be a whole number of at least 1"),
        (
            lambda: Category("c", min_count=True),
            "Category('c'): min_count is True, but must be a whole number of at least 1",
        ),
        (
            lambda: Categories("g", min_count=0),
            "Categories('g'): min_count is 0, but must be a whole number of at least 1",
        ),
        (
            lambda: Categories("g", pooling="max"),
            'Categories(\'g\'): pooling is \'max\', but must be "mean", "sum" or "sqrt"',
        ),
        (
            lambda: Categories("g", separator=""),
            "Categories('g'): separator is empty, but must be text or None; leave it out for lists",
        ),
        (lambda: Numeric("n", scale="robust"), "Numeric('n'): scale is 'robust', but must be \"standard\" or \"none\""),
    ],
)
def test_options_that_a_kind_does_not_have(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        make()
    assert str(caught.value) == message


def test_options_are_named() -> None:
    with pytest.raises(TypeError):
        Category("c", 8)  # type: ignore[misc]


# --- inference --------------------------------------------------------------------------------------------------------


def people(n: int = 400) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "user_id": list(range(n)),
        "gender": rng.choice(["F", "M"], n).tolist(),
        "age": rng.choice([1, 18, 25, 35, 45, 50, 56], n).tolist(),
        "occupation": rng.integers(0, 21, n).tolist(),
        "zip": [f"{i % (n * 4 // 5):05d}" for i in range(n)],
    }


def films(n: int = 400) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {
        "item_id": list(range(n)),
        "title": [f"Film {i} (1995)" for i in range(n)],
        "year": [1922 + i % 79 if i % 50 else None for i in range(n)],
        "genres": [["Drama", "War"][: 1 + i % 2] for i in range(n)],
        "released": [dt.date(1990, 1, 1)] * n,
        "added": [dt.datetime(2000, 1, 1, 5)] * n,
        "budget": rng.random(n).tolist(),
        "imdb_id": list(range(70_000, 70_000 + n)),
        "vector": [[0.5, 1.5]] * n,
        "shelf": [7] * n,
        "note": [None] * (n - 1) + ["x"],
        "is_new": rng.choice([True, False], n).tolist(),
        "stock": rng.permutation(n).tolist(),
    }


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_inference_on_people_and_films(make: Callable[[dict[str, Any]], Any]) -> None:
    columns, left_out = infer(frames.table(make(people()), "users"), "user_id")
    assert columns == [Category("gender"), Numeric("age"), Category("occupation"), Category("zip")]
    assert left_out == []
    columns, left_out = infer(frames.table(make(films()), "items"), "item_id")
    assert columns == [
        Numeric("year"),
        Categories("genres"),
        Numeric("budget"),
        Category("note"),
        Category("is_new"),
        Numeric("stock"),
    ]
    assert left_out == [
        LeftOut("title", "400 values in 400 rows: names a row, does not describe it"),
        LeftOut("released", "dates are not used by this version"),
        LeftOut("added", "times are not used by this version"),
        LeftOut("imdb_id", "400 values in 400 rows: names a row, does not describe it"),
        LeftOut("vector", "lists of float64 are not used by this version"),
        LeftOut("shelf", "one value in every row"),
    ]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("flag", [0, 1] * 20, Category("flag")),
        ("level", list(range(32)) * 2, Category("level")),
        ("level", list(range(33)) * 2, Numeric("level")),
        ("level", list(range(20)) * 1, Numeric("level")),
        ("year", [1990, 1991] * 20, Numeric("year")),
        ("birthYear", [1990, 1991] * 20, Numeric("birthYear")),
        ("zipCode", list(range(100)) * 2, Category("zipCode")),
        ("genre_id", [1.0, 2.0, None] * 10, Category("genre_id")),
        ("genre_id", [1.5, 2.0, None] * 10, Numeric("genre_id")),
        ("word", [f"w{i}" for i in range(20)], Category("word")),
        (
            "word",
            [f"w{i}" for i in range(21)],
            LeftOut("word", "21 values in 21 rows: names a row, does not describe it"),
        ),
        ("word", [f"w{i}" for i in range(90)] + ["w0"] * 10, Category("word")),
        ("gone", [None, None], LeftOut("gone", "every value is missing")),
        ("tags", [[], []], LeftOut("tags", "every list is empty")),
        ("deep", [[[1]], [[2]]], LeftOut("deep", "lists of lists or of objects are not used")),
        ("codes", [[1, 2], [3]], Categories("codes")),
        ("pair", [{"a": 1}, {"a": 2}], LeftOut("pair", "structs are not used; take their fields out")),
        ("mix", [1, "a"], LeftOut("mix", "values of several types; make them one type")),
        ("span", [dt.timedelta(1), dt.timedelta(2)], LeftOut("span", "durations are not used; turn them into numbers")),
    ],
)
def test_inference_of_one_column(name: str, values: list[Any], expected: Any) -> None:
    frame = frames.table(pd.DataFrame({"id": range(len(values)), name: values}), "t")
    columns, left_out = infer(frame, "id")
    assert [*columns, *left_out] == [expected]


def test_inference_of_categoricals() -> None:
    native = pl.DataFrame({"id": [1, 2], "c": pl.Series(["a", "b"], dtype=pl.Categorical)})
    assert infer(frames.table(native, "t"), "id")[0] == [Category("c")]


# --- resolving --------------------------------------------------------------------------------------------------------


@pytest.fixture
def users() -> Any:
    return frames.table(pd.DataFrame(people()), "users")


def test_nothing_said_takes_all_that_is_of_use(users: Any) -> None:
    found = resolve(None, users, "user_id", side="users")
    assert found.id == Id("user_id")
    assert [c.column for c in found.columns] == ["gender", "age", "occupation", "zip"]
    assert resolve(None, None, "user_id", side="users") == Resolved(Id("user_id"))


def test_columns_and_names_are_taken_in_their_order(users: Any) -> None:
    found = resolve([Numeric("age", scale="none"), "gender", Id("user_id")], users, "user_id", side="users")
    assert found.columns == (Numeric("age", scale="none"), Category("gender"))
    assert found.left_out == (LeftOut("occupation", "not in user_features"), LeftOut("zip", "not in user_features"))
    assert resolve([], users, "user_id", side="users").columns == ()
    assert resolve(("user_id",), users, "user_id", side="users").columns == ()


def test_a_name_is_taken_however_many_values_it_has() -> None:
    items = frames.table(pd.DataFrame(films()), "items")
    found = resolve(["title", "imdb_id"], items, "item_id", side="items")
    assert found.columns == (Category("title"), Category("imdb_id"))


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        (
            [Category("Gender")],
            SchemaError,
            "fit: users has no column 'Gender'; its columns are 'user_id', 'gender', 'age', 'occupation', 'zip'; "
            "did you mean 'gender'?",
        ),
        (["age", Numeric("age")], SchemaError, "fit: user_features names 'age' more than once; keep one of them"),
        (
            "gender",
            TypeError,
            "fit: user_features is 'gender', but must be a list of columns; write ['gender']",
        ),
        (
            [3],
            TypeError,
            "fit: user_features holds 3, but must hold Category, Categories, Numeric or names of columns",
        ),
        (
            [Id("age")],
            SchemaError,
            "fit: user_features holds Id(column='age'), but the ids of users are in 'user_id'; use Id('user_id')",
        ),
        (
            [Numeric("user_id")],
            SchemaError,
            "fit: user_features holds Numeric(column='user_id', scale='standard'), but the ids of "
            "users are in 'user_id'; "
            "use Id('user_id')",
        ),
    ],
)
def test_features_that_cannot_be(users: Any, features: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        resolve(features, users, "user_id", side="users")
    assert str(caught.value) == message


def test_features_without_a_table() -> None:
    with pytest.raises(SchemaError) as caught:
        resolve([Category("gender")], None, "user_id", side="users")
    assert str(caught.value) == "fit: user_features names 'gender', but fit got no users table; pass users="


def test_a_named_column_of_times() -> None:
    items = frames.table(pd.DataFrame(films()), "items")
    with pytest.raises(SchemaError) as caught:
        resolve(["added"], items, "item_id", side="items")
    assert str(caught.value) == (
        "fit: column 'added' of items cannot be a feature: times are not used by this version; leave "
        "it out or convert it"
    )


# --- showing ----------------------------------------------------------------------------------------------------------


def test_the_table_is_plain_and_aligned() -> None:
    schema = Schema(
        (
            Field("Id", "users", "user_id", 943, 0.0),
            Field("Numeric", "users", "age", None, 0.00001, "7 to 73"),
            Field("Category", "items", "color", 12, 1.0),
            Field("left out", "items", "title", note="too many values"),
        )
    )
    assert repr(schema) == "\n".join(
        [
            "side   column   kind      values  missing  note",
            "users  user_id  Id           943       0%",
            "users  age      Numeric        -     0.1%  7 to 73",
            "items  color    Category      12     100%",
            "items  title    left out       -        -  too many values",
        ]
    )
    assert [f.column for f in schema.users] == ["user_id", "age"]
    assert [f.column for f in schema.items] == ["color", "title"]
    assert Schema.from_meta(json.loads(json.dumps(schema.to_meta()))) == schema


def test_an_empty_schema_is_a_head() -> None:
    assert repr(Schema(())) == "side  column  kind  values  missing  note"
