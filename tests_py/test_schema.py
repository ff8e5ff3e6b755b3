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
    History,
    Id,
    LeftOut,
    Numeric,
    Resolved,
    Schema,
    Text,
    Timestamp,
    Vector,
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
        Numeric("n", scale="log"),
        Numeric("n", buckets=7, width=4),
        Id("u", width=8, min_count=3, dropout=1.0, table="ids"),
        Category("c", table="places"),
        Categories("g", weights="w", table="places"),
        Timestamp("t"),
        Timestamp("t", parts=["hour", "year"], cyclic=False, buckets=32, normalize=False, unit="ms"),
        Text("t"),
        Text("t", encoding="gru", words=[1, 2], chars=(3, 5), buckets=100, lowercase=False, accents="keep", table="w"),
        Vector("v"),
        Vector("v", project=False),
        History(),
        History("seen", encoder="transformer", heads=2, blocks=3, dropout=0.1, max_length=20, features=False, width=16),
        History(encoder="decay", half_life=3, weight_by="rating", normalize=False),
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
        (
            lambda: Numeric("n", scale="robust"),
            'Numeric(\'n\'): scale is \'robust\', but must be "standard", "log" or "none"',
        ),
        (lambda: Numeric("n", buckets=0), "Numeric('n'): buckets is 0, but must be a whole number of at least 1"),
        (lambda: Id("u", dropout=1.5), "Id('u'): dropout is 1.5, but must be a number from 0 to 1"),
        (lambda: Id("u", table=""), "Id('u'): table is '', but must be a name or None"),
        (lambda: Categories("g", weights=3), "Categories('g'): weights is 3, but must be a name or None"),
        (
            lambda: Categories("g", separator=3),
            "Categories('g'): separator is 3, but must be text or None; leave it out for lists",
        ),
        (
            lambda: Timestamp("t", parts=("minute",)),
            "Timestamp('t'): parts is ('minute',), but must be some of year, month, weekday, day, hour, dayofyear, each "
            "once; write them as a tuple",
        ),
        (
            lambda: Timestamp("t", parts="hour"),
            "Timestamp('t'): parts is 'hour', but must be some of year, month, weekday, day, hour, dayofyear, each once; "
            "write them as a tuple",
        ),
        (
            lambda: Timestamp("t", parts=("hour", "hour")),
            "Timestamp('t'): parts is ('hour', 'hour'), but must be some of year, month, weekday, day, hour, dayofyear, "
            "each once; write them as a tuple",
        ),
        (
            lambda: Timestamp("t", cyclic=False, normalize=False),
            "Timestamp('t'): parts, cyclic, buckets and normalize are all off, but one must be on; leave the column out "
            "instead",
        ),
        (lambda: Timestamp("t", cyclic=1), "Timestamp('t'): cyclic is 1, but must be True or False"),
        (
            lambda: Timestamp("t", unit="h"),
            'Timestamp(\'t\'): unit is \'h\', but must be "auto", "s", "ms", "us" or "ns"',
        ),
        (
            lambda: Text("t", encoding="lstm"),
            'Text(\'t\'): encoding is \'lstm\', but must be "mean", "sum", "sqrt", "gru" or "tfidf"',
        ),
        (
            lambda: Text("t", words=(2, 1)),
            "Text('t'): words is (2, 1), but must be a pair (shortest, longest) from 1 to 8, such as (1, 2), or None",
        ),
        (
            lambda: Text("t", chars=3),
            "Text('t'): chars is 3, but must be a pair (shortest, longest) from 1 to 16, such as (1, 2), or None",
        ),
        (
            lambda: Text("t", words=None),
            "Text('t'): words and chars are both None, but one must be a pair; leave words out",
        ),
        (
            lambda: Text("t", max_tokens=None),
            "Text('t'): max_tokens is None, but must be a whole number of at least 1",
        ),
        (lambda: Text("t", accents="fold"), "Text('t'): accents is 'fold', but must be \"strip\" or \"keep\""),
        (
            lambda: Vector("v", project=False, width=8),
            "Vector('v'): width is 8, but without project the vectors keep their length; leave width out",
        ),
        (
            lambda: History(encoder="lstm"),
            'History(\'history\'): encoder is \'lstm\', but must be "mean", "decay", "attention", "gru" or '
            '"transformer"',
        ),
        (lambda: History(half_life=0), "History('history'): half_life is 0, but must be a finite number above 0"),
        (
            lambda: History(first_session=0),
            "History('history'): first_session is 0, but must be a finite number above 0",
        ),
        (
            lambda: History(session_gap=0),
            "History('history'): session_gap is 0, but must be a finite number above 0 or None",
        ),
        (lambda: History(dropout=1.0), "History('history'): dropout is 1.0, but must be a number from 0 to below 1"),
        (
            lambda: History(max_length=None),
            "History('history'): max_length is None, but must be a whole number of at least 1",
        ),
        (
            lambda: History(weight_by="price"),
            "History('history'): weight_by is 'price', but must be \"rating\" or None",
        ),
        (
            lambda: History(encoder="gru", weight_by="rating"),
            'History(\'history\'): weight_by is "rating", but encoder "gru" has no weights; use "mean", "decay" or '
            '"attention"',
        ),
    ],
)
def test_options_that_a_kind_does_not_have(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        make()
    assert str(caught.value) == message


def test_a_column_is_shown_as_it_was_written() -> None:
    assert repr(Numeric("age")) == "Numeric('age')"
    assert repr(Timestamp("t", parts=["hour"], buckets=8)) == "Timestamp('t', parts=('hour',), buckets=8)"
    assert repr(History()) == "History('history')"


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
        "added": [dt.datetime(2000, 1, 1, i % 24) for i in range(n)],
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
        Text("title"),
        Numeric("year"),
        Categories("genres"),
        Timestamp("added"),
        Numeric("budget"),
        Vector("vector"),
        Category("note"),
        Category("is_new"),
        Numeric("stock"),
    ]
    assert left_out == [
        LeftOut("released", "one value in every row"),
        LeftOut("imdb_id", "400 values in 400 rows: names a row, does not describe it"),
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
        ("shape", [[0.5, 1.0], None, [2.5, 3.0]], Vector("shape")),
        (
            "shape",
            [[0.5, 1.0], [2.5]],
            LeftOut("shape", "lists of float64 of several lengths; a Vector has one length"),
        ),
        (
            "days",
            [[dt.date(2020, 1, 1)]],
            LeftOut("days", "lists of date are not used; turn them into text or numbers"),
        ),
        ("born", [dt.date(2020, 1, 1), None], Timestamp("born")),
        ("timestamp", [978_300_760 + i for i in range(40)], Timestamp("timestamp")),
        ("created_at", [978_300_760_000 + i for i in range(40)], Timestamp("created_at")),
        ("time", list(range(40)), Numeric("time")),
        ("genres", ["Action|Drama", "Drama", "Action"], Categories("genres", separator="|")),
        ("genres", ["Action|Drama", "Action|Drama", "War"] * 5, Categories("genres", separator="|")),
        ("tags", ["a; b", "b", "a", "c; b", "a; c"], Categories("tags", separator=";")),
        ("place", ["Oslo, Norway", "Bergen, Norway"] * 3, Category("place")),
        ("author", [f"Last{i}, First{i % 20}" for i in range(40)] * 2, Category("author")),
        ("mood", ["dark, slow", "dark, funny", "slow", "funny, slow", "dark"] * 2, Categories("mood", separator=",")),
        (
            "url",
            [f"a b {i}" for i in range(30)],
            LeftOut("url", "30 values in 30 rows: names a row, does not describe it"),
        ),
        ("plot", [f"a man and a dog {i // 2}" for i in range(30)], Category("plot")),
        ("plot", [f"a man and a dog {i % 25}" for i in range(30)], Text("plot")),
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
    assert found.columns == (Text("title"), Category("imdb_id"))


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
            "fit: user_features holds 3, but must hold Category, Categories, Numeric, Timestamp, Text, Vector or names of "
            "columns",
        ),
        (
            [Id("age")],
            SchemaError,
            "fit: user_features holds Id('age'), but the ids of users are in 'user_id'; use Id('user_id')",
        ),
        (
            [Numeric("user_id")],
            SchemaError,
            "fit: user_features holds Numeric('user_id'), but the ids of users are in 'user_id'; use Id('user_id')",
        ),
        (
            [History(), History("seen")],
            SchemaError,
            "fit: user_features has more than one History; keep one of them",
        ),
    ],
)
def test_features_that_cannot_be(users: Any, features: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        resolve(features, users, "user_id", side="users")
    assert str(caught.value) == message


def test_items_have_no_history(users: Any) -> None:
    with pytest.raises(SchemaError) as caught:
        resolve([History()], users, "user_id", side="items")
    assert str(caught.value) == (
        "fit: item_features holds History('history'), but only users have one; move it to user_features"
    )


def test_features_without_a_table() -> None:
    with pytest.raises(SchemaError) as caught:
        resolve([Category("gender")], None, "user_id", side="users")
    assert str(caught.value) == "fit: user_features names 'gender', but fit got no users table; pass users="


def test_a_named_column_of_times() -> None:
    items = frames.table(pd.DataFrame(films()), "items")
    assert resolve(["added", "released"], items, "item_id", side="items").columns == (
        Timestamp("added"),
        Timestamp("released"),
    )


def test_a_named_column_of_no_kind() -> None:
    frame = frames.table(pd.DataFrame({"id": [1, 2], "span": [dt.timedelta(1), dt.timedelta(2)]}), "t")
    with pytest.raises(SchemaError) as caught:
        resolve(["span"], frame, "id", side="items")
    assert str(caught.value) == (
        "fit: column 'span' of items cannot be a feature: durations are not used; turn them into numbers; leave it out or "
        "convert it"
    )


def test_the_options_of_the_ids_and_the_history(users: Any) -> None:
    own, history = Id("user_id", dropout=0.1), History(max_length=20)
    found = resolve([history, own, "gender"], users, "user_id", side="users")
    assert (found.id, found.history) == (own, history)
    assert found.columns == (Category("gender"),)
    # without a table, too
    assert resolve([history, own], None, "user_id", side="users") == Resolved(own, (), (), history)


def test_a_column_of_histories_or_of_weights_is_no_feature() -> None:
    native = {"id": [1, 2], "seen": [[1], [2]], "tags": [["a"], ["b"]], "strength": [[1.0], [2.0]]}
    table = frames.table(pd.DataFrame(native), "t")
    found = resolve([History("seen"), Categories("tags", weights="strength")], table, "id", side="users")
    assert found.left_out == ()


@pytest.fixture
def pairs() -> Any:
    columns = {
        "user_id": [1, 2],
        "item_id": [1, 2],
        "rating": [1, 5],
        "weight": [1, 1],
        "when": [1, 2],
        "shop": ["a", "b"],
    }
    return frames.table(pd.DataFrame(columns), "interactions")


RESERVED = ("item_id", "rating", "weight", None)


def test_context(pairs: Any) -> None:
    found = resolve([Timestamp("when"), "shop"], pairs, "user_id", side="context", reserved=RESERVED)
    assert found == Resolved(Id("user_id"), (Timestamp("when"), Category("shop")))
    assert resolve(None, pairs, "user_id", side="context", reserved=RESERVED).columns == ()


@pytest.mark.parametrize("feature", ["user_id", "item_id", Numeric("rating"), Numeric("weight"), Id("shop")])
def test_what_cannot_be_context(pairs: Any, feature: Any) -> None:
    with pytest.raises(SchemaError) as caught:
        resolve([feature], pairs, "user_id", side="context", reserved=RESERVED)
    assert str(caught.value) == (
        f"fit: context_features holds {feature!r}, but ids, ratings and weights are not known when lists are asked for; "
        "leave it out"
    )


def test_context_that_is_not_there(pairs: Any) -> None:
    with pytest.raises(SchemaError) as caught:
        resolve([Timestamp("timestamp")], pairs, "user_id", side="context", reserved=RESERVED)
    assert str(caught.value) == (
        "fit: interactions has no column 'timestamp'; its columns are 'user_id', 'item_id', 'rating', 'weight', 'when', "
        "'shop'; name the right one, or add it"
    )


# --- showing ----------------------------------------------------------------------------------------------------------


def test_the_table_is_plain_and_aligned() -> None:
    schema = Schema(
        (
            Field("Id", "users", "user_id", 943, 0.0, width=64, memory=241_664),
            Field("Numeric", "users", "age", None, 0.00001, "7 to 73", 64, 768),
            Field("Category", "items", "color", 12, 1.0, "", 8, 5_000_000),
            Field("left out", "items", "title", note="too many values"),
            Field("Timestamp", "context", "timestamp.hour", 24, 0.0, "", 64, 1536),
        )
    )
    assert repr(schema) == "\n".join(
        [
            "side     column          kind       values  missing  width   memory  note",
            "users    user_id         Id            943       0%     64  236 KiB",
            "users    age             Numeric         -     0.1%     64    768 B  7 to 73",
            "items    color           Category       12     100%      8  4.8 MiB",
            "items    title           left out        -        -      -        -  too many values",
            "context  timestamp.hour  Timestamp      24       0%     64  1.5 KiB",
        ]
    )
    assert [f.column for f in schema.users] == ["user_id", "age"]
    assert [f.column for f in schema.items] == ["color", "title"]
    assert [f.column for f in schema.context] == ["timestamp.hour"]


def test_an_empty_schema_is_a_head() -> None:
    assert repr(Schema(())) == "side  column  kind  values  missing  width  memory  note"
