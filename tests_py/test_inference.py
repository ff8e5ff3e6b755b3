"""The kinds that are guessed for real tables, column by column. A person wrote down what is right."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import twotower as tt
from twotower import frames, schema
from twotower.schema import Categories, Category, Numeric, Text, Timestamp

LIBRARIES = {"pandas": pd.DataFrame, "polars": pl.DataFrame}


def guess(table: Any, id_col: str) -> tuple[list[Any], dict[str, str]]:
    columns, left_out = schema.infer(frames.table(table, "t"), id_col)
    return columns, {column.column: column.reason for column in left_out}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["ml-100k", "ml-1m", "ml-latest-small"])
def test_movielens(shared_data: Any, name: str, library: Any) -> None:
    archive = {"ml-1m": "ml-1m-rebuilt"}.get(name, name)
    data = tt.datasets.movielens(name, path=shared_data / f"{archive}.zip", kind=library)
    assert guess(data.items, "item_id") == ([Text("title"), Numeric("year"), Categories("genres")], {})
    if data.users is not None:
        people = [Category("gender"), Numeric("age"), Category("occupation"), Category("zip_code")]
        columns, left_out = guess(data.users, "user_id")
        assert sorted(map(str, columns)) == sorted(map(str, people))
        assert left_out == {}
    columns, _ = guess(data.ratings, "user_id")
    assert columns == [Category("item_id"), Numeric("rating"), Timestamp("timestamp")]


def rows_of(path: Any, member: str) -> list[list[str]]:
    """Fields of a tab-separated file, its head first."""
    with zipfile.ZipFile(path) as archive:
        lines = archive.read(member).decode().split("\n")
    head, *rows = (line.split("\t") for line in lines if line)
    if len(head) == 9:  # books: semicolons became tabs, in the middle of "&amp;" and of titles
        rows = [book(row) for row in rows]
    return [head, *rows]


def book(row: list[str]) -> list[str]:
    """The year is the first number after title and author; three links stand at the end."""
    own, middle, links = row[:2], row[2:-4], row[-4:-1]
    year = next(place for place in range(2, len(middle)) if middle[place].isdigit())
    return [*own, ";".join(middle[: year - 1]), middle[year - 1], middle[year], ";".join(middle[year + 1 :]), *links]


def read(path: Any, member: str, library: str, numbers: dict[str, Callable[[str], Any]]) -> Any:
    """A table of text with some columns of numbers, as read_csv of either library makes it; empty fields are missing."""
    head, *rows = rows_of(path, member)
    columns = {name: [row[place] or None for row in rows] for place, name in enumerate(head)}
    for name, number in numbers.items():
        columns[name] = [None if value is None else number(value) for value in columns[name]]
    return LIBRARIES[library](columns)


@pytest.mark.parametrize("library", LIBRARIES)
def test_anime(shared_data: Any, library: str) -> None:
    numbers = {"anime_ids": int, "rating": float, "members": int}
    items = read(shared_data / "caserec-anime.zip", "anime/anime_info.dat", library, numbers)
    assert guess(items, "anime_ids") == (
        [
            Text("name"),
            Categories("genre", separator=","),
            Category("type"),
            Category("episodes"),  # "Unknown" stands among the numbers
            Numeric("rating"),
            Numeric("members"),
        ],
        {},
    )


@pytest.mark.parametrize("library", LIBRARIES)
def test_book_crossing(shared_data: Any, library: str) -> None:
    path = shared_data / "caserec-bx.zip"
    items = read(path, "book_crossing/items_info.dat", library, {"Book_ID": int, "Year-Of-Publication": int})
    reason = "{} values in 17384 rows: names a row, does not describe it"
    columns, left_out = guess(items, "Book_ID")
    assert columns == [
        Text("Book-Title"),
        Category("Book-Author"),
        Numeric("Year-Of-Publication"),
        Category("Publisher"),
    ]
    links = dict.fromkeys(("Image-URL-S", "Image-URL-M", "Image-URL-L"), reason.format(17378))
    assert left_out == {"ISBN": reason.format(17384), **links}
    users = read(path, "book_crossing/users_info.dat", library, {"User-ID": int, "Age": int})
    assert guess(users, "User-ID") == ([Categories("Location", separator=","), Numeric("Age")], {})


@pytest.mark.parametrize("library", LIBRARIES)
def test_steam(shared_data: Any, library: str) -> None:
    path = shared_data / "caserec-steam.zip"
    items = read(path, "steam/item_info.dat", library, {"Game_ID": int})
    assert guess(items, "Game_ID") == ([Text("Game Name")], {})
    users = read(path, "steam/user_info.dat", library, {"New_ID": int, "Real_ID": int})
    assert guess(users, "New_ID") == (
        [],
        {"Real_ID": "12393 values in 12393 rows: names a row, does not describe it"},
    )


def test_a_wrong_guess_is_overridden_in_one_word(shared_data: Any) -> None:
    items = read(shared_data / "caserec-steam.zip", "steam/item_info.dat", "pandas", {"Game_ID": int})
    items["made"] = np.arange(len(items)) % 40 + 1980
    table = frames.table(items, "items")
    assert schema.resolve(None, table, "Game_ID", side="items").columns == (Text("Game Name"), Numeric("made"))
    assert schema.resolve([Category("made")], table, "Game_ID", side="items").columns == (Category("made"),)
