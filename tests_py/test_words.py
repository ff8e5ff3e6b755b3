"""Text columns among the others: parts, growth, shared tokens, text that is hard to take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from twotower import frames
from twotower.errors import SchemaError
from twotower.features import EncodedBags, FeatureEncoder, Part, grown_shared, shared_vocabularies
from twotower.schema import Category, Text

KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
}
TITLES = ["The Cat", "a CÁT sat", "Dog", None, ""]


def table(data: dict[str, Any], make: Callable[[dict[str, Any]], Any] = pd.DataFrame) -> Any:
    return frames.table(make(data), "t")


def lists(found: Any) -> list[list[int]]:
    return [found.codes[a:b].tolist() for a, b in zip(found.offsets, found.offsets[1:], strict=False)]


def words(encoder: FeatureEncoder, texts: list[Any]) -> list[list[str]]:
    """What the codes of texts stand for."""
    (column,) = encoder._encoders
    tokens = ["", *column.encoder.tokens()]  # type: ignore[attr-defined]
    return [[tokens[code] for code in row] for row in lists(encoder.transform(table({"title": texts}), "t")[0])]


def fit(column: Text, texts: list[Any], make: Callable[[dict[str, Any]], Any] = pd.DataFrame) -> FeatureEncoder:
    return FeatureEncoder.fit(table({"title": texts}, make), [column], "fit: items")


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_texts_are_bags_of_their_words(make: Callable[[dict[str, Any]], Any]) -> None:
    column = Text("title", min_count=1, width=4)
    encoder = fit(column, TITLES, make)
    assert words(encoder, ["the cat", "cat unknown", None, ""]) == [["the", "cat"], ["cat"], [""], [""]]
    assert encoder.parts == (Part("title", column, "bags", 6, width=4, pooling="mean"),)
    assert encoder.fields("items")[0].missing == 0.2
    assert encoder.fields("items")[0].values == 5


@pytest.mark.parametrize(
    ("encoding", "kind", "pooling"),
    [("mean", "bags", "mean"), ("sum", "bags", "sum"), ("sqrt", "bags", "sqrt"), ("tfidf", "bags", "sum"), ("gru", "tokens", None)],
)  # fmt: skip
def test_parts_of_the_encodings(encoding: Any, kind: str, pooling: Any) -> None:
    encoder = fit(Text("title", encoding=encoding, min_count=1), TITLES)
    assert [(part.kind, part.pooling) for part in encoder.parts] == [(kind, pooling)]
    found = encoder.transform(table({"title": TITLES}), "t")[0]
    assert isinstance(found, EncodedBags)
    assert (found.weights is not None) == (encoding == "tfidf")
    assert (np.diff(found.offsets) >= 1).all()
    again = FeatureEncoder.from_state(*encoder.state()).transform(table({"title": TITLES}), "t")[0]
    for name, value in vars(found).items():
        np.testing.assert_array_equal(getattr(again, name), value)


def test_the_order_of_words_is_kept_for_the_recurrent_unit() -> None:
    encoder = fit(Text("title", encoding="gru", min_count=1, max_length=3), ["b a", "a c"])
    assert words(encoder, ["c what a b b", None]) == [["c", "", "a"], [""]]


def test_new_words_come_after_the_known_ones() -> None:
    encoder = fit(Text("title", min_count=1), ["zebra yak"])
    grown = encoder.grown(table({"title": ["ant yak"]}), "add_items: items")
    assert (encoder.parts[0].size, grown.parts[0].size) == (3, 4)
    old = encoder.transform(table({"title": ["zebra yak"]}), "t")[0]
    new = grown.transform(table({"title": ["zebra yak"]}), "t")[0]
    assert lists(old) == lists(new)
    assert words(grown, ["ant"]) == [["ant"]]


def test_texts_of_both_sides_share_their_words() -> None:
    searches, films = table({"query": ["red fox", "old fox"]}), table({"title": ["The Red Sea", "Sea"]})
    ask, name = Text("query", table="words", min_count=2), Text("title", table="words", min_count=2, encoding="sqrt")
    shared = shared_vocabularies([(searches, [ask], "fit: users"), (films, [name], "fit: items")])
    users = FeatureEncoder.fit(searches, [ask], "fit: users", shared)
    items = FeatureEncoder.fit(films, [name], "fit: items", shared)
    # each of red, fox and sea stands in two rows of both tables together
    assert (users.parts[0].size, items.parts[0].size) == (4, 4)
    red = lists(users.transform(table({"query": ["red"]}), "t")[0])
    assert red == lists(items.transform(table({"title": ["red"]}), "t")[0])
    more = table({"title": ["wolf", "wolf"]})
    grown = grown_shared(shared, [(items, more, "add_items: items")])
    assert users.grown(searches, "t", grown).parts[0].size == 5
    assert items.grown(more, "t").parts[0].size == 5


def test_text_does_not_share_with_ids() -> None:
    people = table({"home": ["Oslo"], "bio": ["from Oslo"]})
    columns = [Text("bio", table="x")]
    known = shared_vocabularies([(people, [Category("home", table="x")], "t")])
    with pytest.raises(SchemaError) as caught:
        shared_vocabularies([(people, columns, "t")], known)
    assert str(caught.value) == (
        "fit: table 'x' is shared by Text('bio', table='x') and the ids of a side, but text shares only with text; "
        "give one of them another table"
    )


# --- hard to take -----------------------------------------------------------------------------------------------------


def test_what_is_no_text() -> None:
    with pytest.raises(SchemaError) as caught:
        fit(Text("title"), [1, 2])
    assert str(caught.value) == (
        "fit: items: column 'title' holds numbers (Int64), but must hold text; use another kind, or make it text"
    )
    with pytest.raises(SchemaError) as drift:
        fit(Text("title"), ["a"]).transform(table({"title": [1]}), "recommend: users")
    assert str(drift.value) == (
        "recommend: users: column 'title' holds Int64 values, but held String in fit; convert it to String"
    )


def test_ten_megabytes_in_one_row() -> None:
    long = "cat " * 2_500_000
    encoder = fit(Text("title", min_count=1), [long, "dog"])
    assert encoder.parts[0].size == 3
    found = encoder.transform(table({"title": [long, "dog"]}), "t")[0]
    assert np.diff(found.offsets).tolist() == [2_500_000, 1]  # type: ignore[union-attr]


def test_bytes_that_are_no_utf_8() -> None:
    # what cannot be decoded separates words, like U+FFFD, its replacement
    encoder = fit(Text("title", min_count=1), [b"cat\xff\xfedog", b"cat"])
    assert words(encoder, [b"cat", b"dog\xc3"]) == [["cat"], ["dog"]]
    assert words(fit(Text("title", min_count=1), pd.Series(["cat\ud800dog"], dtype=object)), ["cat dog"]) == [
        ["cat", "dog"]
    ]
