"""Codes of vocabularies: type drift, weights, growth, tables that columns share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower import frames
from twotower.errors import DataError, SchemaError
from twotower.features import FeatureEncoder, Vocabulary, grown_shared, shared_vocabularies
from twotower.schema import Categories, Category, Text

KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
}


def table(data: dict[str, Any], make: Callable[[dict[str, Any]], Any] = pd.DataFrame) -> Any:
    return frames.table(make(data), "t")


def fit(column: Any, make: Callable[[dict[str, Any]], Any] = pd.DataFrame, **data: Any) -> FeatureEncoder:
    return FeatureEncoder.fit(table(data, make), [column], "fit: items")


def bags(encoder: FeatureEncoder, make: Callable[[dict[str, Any]], Any] = pd.DataFrame, **data: Any) -> Any:
    return encoder.transform(table(data, make), "recommend: users")[0]


def as_lists(found: Any) -> list[list[int]]:
    return [found.codes[a:b].tolist() for a, b in zip(found.offsets, found.offsets[1:], strict=False)]


# --- type drift -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(
    ("fitted", "later", "message"),
    [
        ([1, 2], ["1", "2"], "holds string values, but held int64 in fit; convert it to int64"),
        (["1", "2"], [1, 2], "holds int64 values, but held string in fit; convert it to string"),
        ([True, False], [1, 0], "holds int64 values, but held bool in fit; convert it to bool"),
        (["a"], [b"a"], "holds bytes values, but held string in fit; convert it to string"),
    ],
)
def test_values_of_another_type_than_in_fit(
    make: Callable[[dict[str, Any]], Any], fitted: list[Any], later: list[Any], message: str
) -> None:
    encoder = fit(Category("x"), make, x=fitted)
    with pytest.raises(SchemaError) as caught:
        bags(encoder, make, x=later)
    assert str(caught.value) == f"recommend: users: column 'x' {message}"
    # lists of them, too
    encoder = fit(Categories("x"), make, x=[fitted])
    with pytest.raises(SchemaError) as caught:
        bags(encoder, make, x=[later])
    of_lists = message.replace("holds ", "holds lists of ").replace("held ", "held lists of ")
    assert str(caught.value) == f"recommend: users: column 'x' {of_lists.replace('to ', 'to lists of ')}"


@pytest.mark.parametrize(
    ("fitted", "later", "codes"),
    [
        ([1, 2], [2.0, 1.5, None], [2, 0, 0]),
        ([1, 2], np.array([1, 3], dtype=np.uint8), [1, 0]),
        (["a", "b"], pd.Series(["b", None], dtype="category"), [2, 0]),
        (["a", 1], ["a", 2], [1, 0]),
        ([1, 2], [2, "a"], [2, 0]),
        ([None, None], ["a", None], [0, 0]),
        (["a"], [""], [0]),
        (["a", ""], [""], [1]),
    ],
)
def test_types_that_can_be_compared(fitted: Any, later: Any, codes: list[int]) -> None:
    assert bags(fit(Category("x"), x=fitted), x=later).codes.tolist() == codes


@pytest.mark.parametrize(
    ("column", "fitted", "later", "found", "held"),
    [
        (Categories("x"), [["a"]], ["a"], "String", "list"),
        (Categories("x", separator="|"), ["a|b"], [["a"]], "list", "String"),
        (Category("x"), ["a"], [["a"]], "list", "String"),
    ],
)
def test_lists_that_became_single_values(column: Any, fitted: Any, later: Any, found: str, held: str) -> None:
    # the dtype's name, where it says more than that these are Python objects; pandas before 3 has text as such
    fitted, later = (pd.Series(v, dtype="str" if isinstance(v[0], str) else object) for v in (fitted, later))
    encoder = fit(column, x=fitted)
    with pytest.raises(SchemaError) as caught:
        bags(encoder, x=later)
    assert str(caught.value) == (
        f"recommend: users: column 'x' holds {found} values, but held {held} in fit; convert it to {held}"
    )


def test_a_text_of_ten_megabytes_is_a_value_like_any_other() -> None:
    long = "x" * 10_000_000
    assert bags(fit(Category("x"), x=[long, "y"]), x=["y", long]).codes.tolist() == [2, 1]
    assert as_lists(bags(fit(Categories("x", separator="|"), x=[f"{long}|y"]), x=[f"y|{long}"])) == [[2, 1]]


# --- weights ----------------------------------------------------------------------------------------------------------

WEIGHTED = Categories("tags", weights="w", min_count=1)


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_weights_go_with_their_values(make: Callable[[dict[str, Any]], Any]) -> None:
    encoder = fit(WEIGHTED, make, tags=[["b", "a"], ["a"]], w=[[1.0, 2.0], [3.0]])
    found = bags(
        encoder,
        make,
        tags=[["a", "new", "b"], ["a", None, "b"], ["new"], [], None, ["a", "b"]],
        w=[[0.5, 9.0, 0.25], [1.0, None, 3.0], [1.0], [], None, [0.0, 4.0]],
    )
    # unknown values, missing ones and those of no weight are left out; a row with nothing is code 0
    assert as_lists(found) == [[1, 2], [1, 2], [0], [0], [0], [2]]
    assert found.weights.tolist() == [0.5, 0.25, 1, 3, 1, 1, 1, 4]
    assert found.weights.dtype == np.float32


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(
    ("tags", "weights", "error", "message"),
    [
        (
            [["a", "b"], ["a"]],
            [[1.0], [1.0]],
            DataError,
            "has lists of other lengths than 'tags' in 1 row (first: 0); give every value a weight",
        ),
        (
            [["a", "b"], ["a"], ["b"]],
            [[1.0, -1.0], [1.0], [float("nan")]],
            DataError,
            "is missing, negative or infinite in 2 rows (first: 0, 2); a weight is a finite number of at least 0",
        ),
        ([["a"]], [["1"]], SchemaError, "holds lists of string, but must hold lists of numbers; convert them"),
    ],
)
def test_weights_that_cannot_be(
    make: Callable[[dict[str, Any]], Any], tags: Any, weights: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        fit(WEIGHTED, make, tags=tags, w=weights)
    assert str(caught.value) == f"fit: items: column 'w' {message}"


def test_weights_that_are_not_there() -> None:
    with pytest.raises(SchemaError) as caught:
        fit(WEIGHTED, tags=[["a"]])
    assert str(caught.value) == ("fit: items has no column 'w'; its columns are 'tags'; name the right one, or add it")


# --- growth -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_new_values_come_after_the_known_ones(make: Callable[[dict[str, Any]], Any]) -> None:
    old = table({"c": ["m", "z"], "g": [["k"], ["x", "k"]]}, make)
    new = table({"c": ["a", "z", None, "b"], "g": [["a"], ["x"], None, []]}, make)
    encoder = FeatureEncoder.fit(old, [Category("c"), Categories("g")], "fit: items")
    grown = encoder.grown(new, "add_items: items")
    assert grown.transform(old, "t")[0].codes.tolist() == encoder.transform(old, "t")[0].codes.tolist()  # type: ignore[union-attr]
    assert grown.transform(new, "t")[0].codes.tolist() == [3, 2, 0, 4]  # type: ignore[union-attr]
    assert as_lists(grown.transform(new, "t")[1]) == [[3], [2], [0], [0]]
    assert [part.size for part in grown.parts] == [5, 4]
    assert [part.size for part in encoder.parts] == [3, 3]
    again = FeatureEncoder.from_state(*grown.state())
    assert again.transform(new, "t")[0].codes.tolist() == [3, 2, 0, 4]  # type: ignore[union-attr]


def test_rare_new_values_stay_unknown() -> None:
    encoder = fit(Category("c", min_count=2), c=["a", "a", "b"]).grown(table({"c": ["z", "y", "z"]}), "t")
    assert bags(encoder, c=["a", "b", "y", "z"]).codes.tolist() == [1, 0, 0, 2]


def test_growth_by_a_column_that_is_missing_everywhere() -> None:
    encoder = fit(Category("c"), c=["a"])
    assert encoder.grown(table({"c": [np.nan]}), "t").parts == encoder.parts


def test_growth_by_values_of_another_type() -> None:
    with pytest.raises(SchemaError) as caught:
        fit(Category("c"), c=["a"]).grown(table({"c": [1]}), "add_items: items")
    assert str(caught.value) == (
        "add_items: items: column 'c' holds int64 ids, but the fitted ids are string; convert them to string"
    )


# --- shared tables ----------------------------------------------------------------------------------------------------

PEOPLE = {"home": ["Oslo", "Rome"], "visited": [["Bern", "Oslo"], []]}
PLACES = {"city": ["Rome", "Kiev"]}
OF_PEOPLE = [Category("home", table="city"), Categories("visited", table="city")]
OF_PLACES = [Category("city", table="city")]


def test_columns_of_both_sides_share_their_codes() -> None:
    people, places = table(PEOPLE), table(PLACES)
    shared = shared_vocabularies([(people, OF_PEOPLE, "fit: users"), (places, OF_PLACES, "fit: items")])
    assert {name: vocabulary.ids.tolist() for name, vocabulary in shared.items()} == {
        "city": ["Oslo", "Rome", "Bern", "Kiev"]
    }
    users = FeatureEncoder.fit(people, OF_PEOPLE, "fit: users", shared)
    items = FeatureEncoder.fit(places, OF_PLACES, "fit: items", shared)
    assert [(part.table, part.size) for part in (*users.parts, *items.parts)] == [("city", 5)] * 3
    assert users.transform(people, "t")[0].codes.tolist() == [1, 2]  # type: ignore[union-attr]
    assert as_lists(users.transform(people, "t")[1]) == [[3, 1], [0]]
    assert items.transform(places, "t")[0].codes.tolist() == [2, 4]  # type: ignore[union-attr]
    assert items.fields("items")[0].note == "shares 'city'"
    # growth on one side is known on the other
    more = table({"city": ["Lima", "Kiev"]})
    grown = grown_shared(shared, [(items, more, "add_items: items")])
    for encoder in (users.grown(people, "t", grown), FeatureEncoder.from_state(*items.grown(more, "t", grown).state())):
        assert encoder.shared["city"].ids.tolist() == ["Oslo", "Rome", "Bern", "Kiev", "Lima"]
    alone = items.grown(more, "t")
    assert alone.transform(more, "t")[0].codes.tolist() == [5, 4]  # type: ignore[union-attr]


def test_a_table_of_one_side_alone() -> None:
    encoder = FeatureEncoder.fit(table(PEOPLE), OF_PEOPLE, "t")
    assert encoder.shared["city"].ids.tolist() == ["Oslo", "Rome", "Bern"]


def test_the_ids_of_a_side_can_be_shared() -> None:
    ids = Vocabulary.fit([10, 20, 30])
    columns = [Category("favorite", table="item")]
    people = table({"favorite": [20, 99, 10]})
    shared = shared_vocabularies([(people, columns, "fit: users")], {"item": ids})
    encoder = FeatureEncoder.fit(people, columns, "fit: users", shared)
    assert encoder.transform(people, "t")[0].codes.tolist() == [2, 0, 1]  # type: ignore[union-attr]
    extended = ids.extended([40])
    grown = encoder.grown(people, "t", grown_shared(shared, [(encoder, people, "t")], {"item": extended}))
    assert grown.parts[0].size == 5


def test_counts_are_those_of_all_columns() -> None:
    columns = [Category("home", table="city", min_count=2), Categories("visited", table="city")]
    shared = shared_vocabularies([(table(PEOPLE), columns, "t")])
    assert shared["city"].ids.tolist() == ["Oslo"]


@pytest.mark.parametrize(
    ("columns", "data", "message"),
    [
        (
            [Category("a", table="x"), Text("b", table="x")],
            {"a": ["p"], "b": ["q"]},
            "fit: table 'x' is shared by Category('a', table='x') and Text('b', table='x'), but text shares only with "
            "text; give one of them another table",
        ),
        (
            [Category("a", table="x"), Category("b", table="x")],
            {"a": ["p"], "b": [1]},
            "fit: users: column 'b' holds int64 ids, but the fitted ids are string; convert them to string",
        ),
    ],
)
def test_columns_that_cannot_share(columns: Any, data: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        shared_vocabularies([(table(data), columns, "fit: users")])
    assert str(caught.value) == message


# --- a naive reading of lists -----------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.none() | st.lists(st.none() | st.sampled_from("abcdefg"), max_size=4), min_size=1, max_size=8),
    st.sampled_from(sorted(KINDS)),
)
def test_lists_as_a_person_would_read_them(lists: list[Any], kind: str) -> None:
    if not any(v is not None for row in lists for v in row or []):
        return
    known = sorted({v for row in lists for v in row or [] if v is not None and v < "e"})
    native = {
        "pandas": lambda: pd.DataFrame({"x": pd.Series(lists, dtype=object)}),
        "polars": lambda: pl.DataFrame({"x": pl.Series(lists, dtype=pl.List(pl.String))}),
        "pyarrow": lambda: pa.table({"x": pa.array(lists, type=pa.list_(pa.string()))}),
    }[kind]()
    encoder = FeatureEncoder.fit(table({"x": [["a", "b", "c", "d"]]}), [Categories("x")], "t")
    found = encoder.transform(frames.table(native, "t"), "t")[0]
    wanted = [["abcd".index(v) + 1 for v in row or [] if v in known] or [0] for row in lists]
    assert as_lists(found) == wanted


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.none() | st.text(alphabet="ab| ", max_size=6), min_size=1, max_size=8), st.sampled_from(sorted(KINDS))
)
def test_text_as_a_person_would_split_it(texts: list[Any], kind: str) -> None:
    native = {
        "pandas": lambda: pd.DataFrame({"x": pd.Series(texts, dtype=object)}),
        "polars": lambda: pl.DataFrame({"x": pl.Series(texts, dtype=pl.String)}),
        "pyarrow": lambda: pa.table({"x": pa.array(texts, type=pa.string())}),
    }[kind]()
    encoder = FeatureEncoder.fit(table({"x": ["a|b|a b"]}), [Categories("x", separator="|")], "t")
    codes = {"a": 1, "a b": 2, "b": 3}
    parts = [[part.strip() for part in (text or "").split("|")] for text in texts]
    wanted = [[codes[part] for part in row if part in codes] or [0] for row in parts]
    assert as_lists(encoder.transform(frames.table(native, "t"), "t")[0]) == wanted
