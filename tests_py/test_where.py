"""Conditions over the columns of the items: against plain Python row by row, and every refusal's sentence."""

from __future__ import annotations

import datetime as dt
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
from twotower.errors import SchemaError
from twotower.models._catalogue import Catalogue
from twotower.models._where import mask_of

ITEMS: dict[str, list[Any]] = {
    "item_id": [1, 2, 3, 4, 5, 6],
    "year": [1989, 1990, None, 2001, 1994, 1994],
    "price": [1.5, None, 0.0, -2.0, 10.25, 3.0],
    "title": ["Heat", "Love Story", None, "The Love Bug", "heat", ""],
    "genres": [["Drama", "Crime"], ["Drama"], [], ["Children's"], None, ["Crime", "Comedy", "Drama"]],
    "adult": [True, False, None, False, True, False],
    "added": [dt.datetime(2020, 1, 31, 12), dt.datetime(2019, 12, 31, 23, 59), None, dt.datetime(2020, 2, 1),
              dt.datetime(1969, 7, 20), dt.datetime(2021, 1, 1)],
    "release day": [dt.date(2020, 1, 31), dt.date(1989, 1, 1), dt.date(1990, 1, 1), None, dt.date(1994, 5, 5),
                    dt.date(1994, 5, 6)],
    "nothing": [None] * 6,
    "studio": ["B", "A", "B", None, "C", "A"],
}  # fmt: skip


def frame_of(kind: str) -> Any:
    if kind == "pyarrow":
        return pa.table(ITEMS)
    if kind == "polars":
        return pl.DataFrame(ITEMS)
    return pd.DataFrame(ITEMS).astype({"studio": "category"})


def catalogue_of(native: Any) -> tuple[Catalogue, Any]:
    table = frames.table(native, "items")
    ids = frames.ids(frames.column(table, "item_id", "items"), "items")
    return Catalogue.read(table, "item_id", "fit: items"), ids


def matches(text: str, native: Any = None) -> list[int]:
    """Numbers of the items that a condition leaves, 1 to 6."""
    catalogue, ids = catalogue_of(frame_of("pandas") if native is None else native)
    mask = mask_of(text, catalogue, ("item_id", ids), "recommend: where")
    assert mask.dtype == np.bool_
    assert mask.shape == (6,)
    return (np.flatnonzero(mask) + 1).tolist()


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("year >= 1990", [2, 4, 5, 6]),
        ("year != 1994", [1, 2, 4]),
        ("not year != 1994", [3, 5, 6]),
        ("1990 <= year < 2000", [2, 5, 6]),
        ("year == 1994 and price > 5", [5]),
        ("year == 1989 or price <= 0", [1, 3, 4]),
        ("year in (1989, 2001)", [1, 4]),
        ("year in [1989.0, None, 'x']", [1]),
        ("year not in {1989, 2001}", [2, 5, 6]),
        ("year is None", [3]),
        ("year == None or price is None", [2, 3]),
        ("year is not None and price != None", [1, 4, 5, 6]),
        ("'Drama' in genres", [1, 2, 6]),
        ("genres contains 'Drama'", [1, 2, 6]),
        ("not genres contains 'Drama' and year > 1", [4, 5]),
        ("'Drama' not in genres", [3, 4, 5]),
        ('genres contains "Children\'s"', [4]),
        ("'drama' in genres", []),
        ("genres is None", [3, 5]),
        ("'Love' in title", [2, 4]),
        ("'Love' not in title", [1, 5, 6]),
        ("title == 'Heat'", [1]),
        ("title < 'a'", [1, 2, 4, 6]),
        ("title >= 'The'", [4, 5]),
        ("title in ('Heat', 'heat')", [1, 5]),
        ("title == ''", [6]),
        ("'(' in title or 'contains' == title", []),
        ("adult", [1, 5]),
        ("not adult", [2, 3, 4, 6]),
        ("adult == False", [2, 4, 6]),
        ("adult and price > 2", [5]),
        ("adult is None", [3]),
        ("added >= '2020-01-31'", [1, 4, 6]),
        ("'2020-01-01' <= added < '2020-02'", [1]),
        ("added < '1970'", [5]),
        ("added == '2019-12-31 23:59:00'", [2]),
        ("added == '2019-12-31T23:59:00+00:00'", [2]),
        ("added in ('2020-02-01', '2021-01-01')", [4, 6]),
        ("`release day` == '2020-01-31'", [1]),
        ("`release day` < '1994-05-06' and `release day` > '1989-06-01'", [3, 5]),
        ("added > `release day`", [1, 2, 6]),
        ("price * 2 + 1 == 4", [1]),
        ("price / 0 > 1", [1, 5, 6]),
        ("year // 10 * 10 == 1990", [2, 5, 6]),
        ("year % 2 == 1 or -price > 1", [1, 4]),
        ("price ** 2 > 100", [5]),
        ("year - 1990 < price", [1, 5]),
        ("studio == 'A'", [2, 6]),
        ("studio != 'A'", [1, 3, 5]),
        ("studio < title", [1, 2, 5]),
        ("item_id > 4", [5, 6]),
        ("item_id == 3 or item_id == 3.0", [3]),
        ("nothing == 3", []),
        ("nothing is None", [1, 2, 3, 4, 5, 6]),
        ("nothing", []),
        ("3 not in nothing", [1, 2, 3, 4, 5, 6]),
        ("True", [1, 2, 3, 4, 5, 6]),
        ("1 < 2 < 2", []),
        ("'a' in 'cat'", [1, 2, 3, 4, 5, 6]),
        ("year < 10 ** 400", [1, 2, 4, 5, 6]),
        (f"year < {10**400}", [1, 2, 4, 5, 6]),
        ("(year > 1990) == adult", [2, 5]),
    ],
)  # fmt: skip
def test_conditions(kind: str, text: str, expected: list[int]) -> None:
    assert matches(text, frame_of(kind)) == expected


def test_times_with_a_zone_are_compared_in_utc() -> None:
    added = pd.Series(pd.to_datetime(ITEMS["added"])).dt.tz_localize("Europe/Paris")
    # 12:00 in Paris is 11:00 in UTC.
    assert matches("added == '2020-01-31 11:00:00'", pd.DataFrame(ITEMS).assign(added=added)) == [1]
    assert matches("added == '2020-01-31T12:00:00+01:00'", pd.DataFrame(ITEMS).assign(added=added)) == [1]


def test_columns_of_other_dtypes() -> None:
    native = pd.DataFrame(
        {
            "item_id": range(6),
            "small": np.array([1, 2, 3, 4, 5, 127], dtype=np.int8),
            "large": np.array([2**53, 2**53 + 1, 0, 0, 0, 0]),
            "level": pd.Categorical([3, 1, 2, 3, 1, 2]),
            "masked": pd.array([1, None, 3, None, 5, 6], dtype="Int64"),
            "numbers": [[1, 2], [2], [], [3], [1], [4]],
        }
    )
    assert matches("small < 300", native) == [1, 2, 3, 4, 5, 6]
    assert matches("small >= 128", native) == []
    assert matches(f"large == {2**53 + 1}", native) == [2]
    assert matches("level >= 2", native) == [1, 3, 4, 6]
    assert matches("level + masked == 6", native) == [5]
    assert matches("masked >= 3", native) == [3, 5, 6]
    assert matches("1 in numbers", native) == [1, 5]


_LEAVES = {
    "year > 1990": lambda row: row["year"] is not None and row["year"] > 1990,
    "1990 <= year <= 1994": lambda row: row["year"] is not None and 1990 <= row["year"] <= 1994,
    "price != 3": lambda row: row["price"] is not None and row["price"] != 3,
    "price + year > 1991": lambda row: None not in (row["price"], row["year"]) and row["price"] + row["year"] > 1991,
    "'Drama' in genres": lambda row: "Drama" in (row["genres"] or []),
    "genres contains 'Crime'": lambda row: "Crime" in (row["genres"] or []),
    "'e' in title": lambda row: row["title"] is not None and "e" in row["title"],
    "title not in ('heat', '')": lambda row: row["title"] is not None and row["title"] not in ("heat", ""),
    "adult": lambda row: bool(row["adult"]),
    "price is None": lambda row: row["price"] is None,
    "`release day` >= '1990-01-01'": lambda row: (
        row["release day"] is not None and row["release day"] >= dt.date(1990, 1, 1)
    ),
}


@st.composite
def conditions(draw: Any, depth: int = 3) -> tuple[str, Any]:
    if depth == 0 or draw(st.booleans()):
        text = draw(st.sampled_from(sorted(_LEAVES)))
        return text, _LEAVES[text]
    kind = draw(st.sampled_from(["and", "or", "not"]))
    text, one = draw(conditions(depth - 1))
    if kind == "not":
        return f"not ({text})", lambda row: not one(row)
    other_text, other = draw(conditions(depth - 1))
    together = f"({text}) {kind} ({other_text})"
    return together, (lambda row: one(row) and other(row)) if kind == "and" else (lambda row: one(row) or other(row))


@settings(max_examples=60, deadline=None)
@given(conditions())
def test_whole_conditions_agree_with_plain_python(condition: tuple[str, Any]) -> None:
    text, function = condition
    rows = [{name: values[i] for name, values in ITEMS.items()} for i in range(6)]
    assert matches(text, frame_of("polars")) == [i + 1 for i, row in enumerate(rows) if function(row)]


_KNOWN = "a condition has columns, constants, comparisons, and, or, not, in, is None and arithmetic"


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ("yeer > 1", SchemaError, "there is no column 'yeer' among the items; did you mean 'year'?"),
        (
            "zebra > 1",
            SchemaError,
            "there is no column 'zebra' among the items; the columns are 'year', 'price', 'title', 'genres', 'adult', "
            "'added', 'release day', 'nothing', 'studio', 'item_id'",
        ),
        ("title.lower() == 'heat'", ValueError, f"title.lower() is a call, which is not accepted; {_KNOWN}"),
        ("title.size > 3", ValueError, f"title.size is an attribute, which is not accepted; {_KNOWN}"),
        ("genres[0] == 'Drama'", ValueError, f"genres[0] is a subscript, which is not accepted; {_KNOWN}"),
        ("lambda: 1", ValueError, f"lambda: 1 is a function, which is not accepted; {_KNOWN}"),
        ("1 if adult else 2", ValueError, f"1 if adult else 2 is an if, which is not accepted; {_KNOWN}"),
        ("f'{year}' == 'x'", ValueError, f"f'{{year}}' is a formatted text, which is not accepted; {_KNOWN}"),
        ("[x for x in genres]", ValueError, f"[x for x in genres] is something else, which is not accepted; {_KNOWN}"),
        ("title == b'x'", ValueError, f"b'x' is something else, which is not accepted; {_KNOWN}"),
        (
            "(year > 1) & (price > 1)",
            ValueError,
            "(year > 1) & (price > 1) has &, | or ~, which are not accepted; write and instead",
        ),
        ("~adult", ValueError, "~adult has &, | or ~, which are not accepted; write not instead"),
        (
            "year",
            SchemaError,
            "year is a number, but must be true or false; compare it, as in year >= 1990",
        ),
        (
            "year > 1990 and title",
            SchemaError,
            "title is text, but must be true or false; compare it, as in year >= 1990",
        ),
        (
            "year > '1990'",
            SchemaError,
            "year is a number and '1990' is text, which cannot be compared; write numbers without quotes and text with "
            "them",
        ),
        (
            "genres == 'Drama'",
            SchemaError,
            "genres is a list and 'Drama' is text, which cannot be compared; write 'Drama' in genres to look into lists",
        ),
        (
            "added > 3",
            SchemaError,
            "added is a time and 3 is a number, which cannot be compared; write times as text, such as '1999-12-31'",
        ),
        ("year == (1, 2)", SchemaError, "year is a number and (1, 2) is a list of constants, which cannot be compared; write in"),
        ("added > 'yesterday'", ValueError, "'yesterday' is no time; write it as in '1999-12-31' or '1999-12-31 23:59:00'"),
        ("added > title", SchemaError, "title is text and stands beside a time; convert the column"),
        ("3 in genres", SchemaError, "3 is a number, but the lists of genres hold text"),
        (
            "year in price",
            SchemaError,
            "year is a number and price is a number, but in needs a constant in a column of lists, a column in a list of "
            "constants, or text in text",
        ),
        ("year in (price, 2)", ValueError, "price stands in a list, where only constants are accepted; use or"),
        ("title + 'x' == 'Heatx'", SchemaError, "title is text, but arithmetic needs numbers"),
        ("year is 3", ValueError, "is and is not are for None only; write == or !="),
        ("year < None", ValueError, "year is compared with None by size; write is None or is not None"),
        ("`release day`.year == 3", ValueError, f"`release day`.year is an attribute, which is not accepted; {_KNOWN}"),
        ("year << 3", ValueError, "<< is not accepted; write it as in year >= 1990 and 'Drama' in genres"),
    ],
)  # fmt: skip
def test_what_is_refused_says_why(text: str, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=exactly(f"recommend: where: {sentence}")):
        matches(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("year >=", "invalid syntax"),
        ("year = 1990", "= where == is meant"),
        ("", "invalid syntax"),
        ("import os", "invalid syntax"),
        ("year > 1; year", "invalid syntax"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, why: str) -> None:
    sentence = f"recommend: where is {text!r}, which is no condition ({why}); write it as in year >= 1990 and 'Drama' in genres"
    with pytest.raises(ValueError, match=exactly(sentence)):
        matches(text)


@pytest.mark.parametrize("text", ["(" * 300 + "adult" + ")" * 300, "not " * 2000 + "adult", "- " * 4000 + "1 > 0"])
def test_nesting_without_end_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^recommend: where is "):
        matches(text)


def test_a_text_without_end_is_refused() -> None:
    sentence = "recommend: where has 18005 characters, but must have at most 10000; give a mask instead"
    with pytest.raises(ValueError, match=exactly(sentence)):
        matches("adult" + " or adult" * 2000)


def test_what_is_not_kept_is_named() -> None:
    native = pd.DataFrame(ITEMS).assign(vector=list(np.ones((6, 3))), mixed=[1, "a", 2, 3, 4, 5])
    sentence = "recommend: where: column 'vector' of the items holds vectors, which are not kept; give where as a mask over item_ids_"
    with pytest.raises(SchemaError, match=exactly(sentence)):
        matches("vector is None", native)
    with pytest.raises(SchemaError, match="column 'mixed' of the items holds mixed objects, which are not kept"):
        matches("mixed == 1", native)


def test_without_a_table_of_items_only_the_ids_are_there() -> None:
    ids = frames.ids([5, 6, 7], "ids")
    assert mask_of("item_id > 5", Catalogue.empty(3), ("item_id", ids), "recommend: where").tolist() == [
        False,
        True,
        True,
    ]
    sentence = (
        "recommend: where: there is no column 'year', since the model was fitted without a table of items that has "
        "columns; pass items= to fit, or give where as a mask over item_ids_"
    )
    with pytest.raises(SchemaError, match=exactly(sentence)):
        mask_of("year > 3", Catalogue.empty(3), ("item_id", ids), "recommend: where")
