"""What `--data` names: a MovieLens set, or any tables of interactions, users and items."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twotower import frames
from twotower.errors import DataError, SchemaError, UnknownIdError, first_five

# What columns are often called, the likeliest first; an option names another.
_USUAL = {
    "user": ("user_id", "userId", "user", "customer_id"),
    "item": ("item_id", "itemId", "movieId", "movie_id", "item", "product_id"),
    "rating": ("rating", "ratings", "stars"),
    "time": ("timestamp", "time", "datetime", "date"),
    "title": ("title", "name"),
}
_TEXT_ENDINGS = {".csv": ",", ".tsv": "\t"}
_PARQUET_ENDINGS = (".parquet", ".pq")
_ENDINGS = (*_TEXT_ENDINGS, *(f"{ending}.gz" for ending in _TEXT_ENDINGS), *_PARQUET_ENDINGS)
_FORMS = "a MovieLens folder or zip, or a CSV, TSV or Parquet file"


@dataclass(frozen=True)
class Data:
    """Tables and what their columns are called.

    `users` and `items` are None where there is no such table, `rating_col` and `time_col` where there is no such column.
    """

    name: str
    ratings: Any
    users: Any
    items: Any
    user_col: str
    item_col: str
    rating_col: str | None
    time_col: str | None
    titles: Mapping[object, str] = field(repr=False)


def add_data_options(parser: argparse.ArgumentParser, *, required: bool, what: str) -> None:
    """Give a command `--data` and the options that say how to read it."""
    group = parser.add_argument_group("data")
    group.add_argument("--data", metavar="PATH", required=required, help=f"{what}: {_FORMS}")
    group.add_argument("--users", metavar="FILE", help="table of users, with the user column (CSV, TSV, Parquet)")
    group.add_argument("--items", metavar="FILE", help="table of items, with the item column (CSV, TSV, Parquet)")
    for name, text in (("user", "user ids"), ("item", "item ids"), ("rating", "ratings"), ("time", "times")):
        group.add_argument(f"--{name}-col", metavar="NAME", help=f"column of {text} (default: {_listed(name)})")


def add_title_options(parser: argparse.ArgumentParser) -> None:
    """Give a command that prints items `--data`, from which it takes their titles."""
    help_data = "where titles are: a MovieLens folder or zip, or a table with the item column (CSV, TSV, Parquet)"
    parser.add_argument("--data", metavar="PATH", help=help_data)
    parser.add_argument("--title-col", metavar="NAME", help=f"column of titles (default: {_listed('title')})")


def read_data(
    path: str, *, users: str | None = None, items: str | None = None, columns: Mapping[str, str | None] | None = None
) -> Data:
    """Read interactions, and the tables that go with them.

    Parameters
    ----------
    path : str
        A MovieLens folder or zip, or a table.
    users, items : str, optional
        Further tables; they take the place of those of a MovieLens set.
    columns : mapping, optional
        Names of the columns for "user", "item", "rating", "time"; without a name, the usual ones are looked for.

    Raises
    ------
    DataError, SchemaError
        A file is missing or cannot be read; a column is missing.
    ImportError
        No library that reads such a file is installed.
    """
    names = columns or {}
    name, ratings, user_table, item_table = _read_any(path)
    user_table = read_table(users, "--users") if users else user_table
    item_table = read_table(items, "--items") if items else item_table
    table = frames.table(ratings, "--data")
    user_col, item_col = (_chosen(table, names.get(side), side) for side in ("user", "item"))
    for side_table, column, what in ((user_table, user_col, "--users"), (item_table, item_col, "--items")):
        if side_table is not None:
            frames.column(frames.table(side_table, what), column, what)
    rating_col, time_col = (_chosen(table, names.get(role), role, optional=True) for role in ("rating", "time"))
    titles = read_titles(ratings if item_table is None else item_table, item_col, None)
    return Data(name, ratings, user_table, item_table, user_col, item_col, rating_col, time_col, titles)


def titles_at(path: str | None, item_col: str, title_col: str | None) -> Mapping[object, str]:
    """Read titles from what `--data` names; none without it."""
    if path is None:
        return {}
    _, ratings, _, items = _read_any(path)
    if items is not None:  # a MovieLens set, whose item column has a name of its own
        return read_titles(items, "item_id", title_col)
    return read_titles(ratings, item_col, title_col)


def read_titles(native: Any, item_col: str, title_col: str | None) -> dict[object, str]:
    """Map item ids to titles, with the year where the table has one; empty where there is no title."""
    table = frames.table(native, "--data")
    title = _chosen(table, title_col, "title", optional=True)
    if title is None:
        return {}
    ids = frames.column(table, item_col, "--data").to_list()
    titles = table.get_column(title).to_list()
    years: list[Any] = table.get_column("year").to_list() if "year" in table.columns else [None] * len(ids)
    return {
        item: f"{text} ({int(year)})" if _is_year(year) else text
        for item, text, year in zip(ids, titles, years, strict=True)
        if isinstance(text, str)
    }


def read_table(path: str, option: str) -> Any:
    """Read a CSV, TSV or Parquet file with the first library that is installed and can: pandas, polars, pyarrow."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"{option}: there is no file {path!r}; correct the path")
    name = file.name.lower()
    if not name.endswith(_ENDINGS):
        raise DataError(f"{option}: {path!r} ends in none of {', '.join(_ENDINGS)}; convert it, or give it its ending")
    is_parquet = name.endswith(_PARQUET_ENDINGS)
    library = _reader(option, is_parquet)
    try:
        if is_parquet:
            return library.read_table(file) if library.__name__ == "pyarrow.parquet" else library.read_parquet(file)
        separator = _TEXT_ENDINGS[Path(name.removesuffix(".gz")).suffix]
        if library.__name__ == "pyarrow.csv":
            return library.read_csv(file, parse_options=library.ParseOptions(delimiter=separator))
        return library.read_csv(file, **{"sep" if library.__name__ == "pandas" else "separator": separator})
    except Exception as error:  # every library has exceptions of its own for a malformed file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{option}: {path!r} cannot be read ({reason}); correct the file") from error


def ids_of_words(words: Sequence[str], known: Any, what: str, cure: str | None) -> list[object]:
    """Turn words of a command line into ids of the dtype that the model knows.

    Parameters
    ----------
    words : strings
    known : Series
        `user_ids_` or `item_ids_` of the model.
    what : str
        Start of a message, such as "recommend: user".
    cure : str or None
        End of the message about an id that is not among `known`; None lets whole numbers and texts pass.

    Raises
    ------
    UnknownIdError
        A word is not written like these ids, or is none of them.
    """
    column = frames.ids(known, what)
    ids, label = column.tolist(), column.dtype.label
    if column.dtype.kind == "string":
        found: list[object] = list(words)
    elif column.dtype.kind == "integer":
        found = [_whole_number(word, what, label, ids) for word in words]
    else:
        by_text = {str(value): value for value in ids}
        # A word that is no id stays a word, and so is refused below: there is no way to tell what it was to be.
        found, cure = [by_text.get(word, word) for word in words], cure or "write one of them"
    if cure is not None:
        there = set(ids)
        for value in found:
            if value not in there:
                asked = first_five([value])
                raise UnknownIdError(
                    f"{what} {asked} is not in the model, whose ids are {label} ({_some(ids)}); {cure}"
                )
    return found


def _whole_number(word: str, what: str, label: str, known: Sequence[object]) -> int:
    try:
        return int(word)
    except ValueError:
        raise UnknownIdError(
            f"{what} {word!r} is not a whole number, but the ids of this model are {label} "
            f"({_some(known)}); write one of them"
        ) from None


def _some(ids: Sequence[object]) -> str:
    return first_five(ids) + (", ..." if len(ids) > 5 else "")


def _read_any(path: str) -> tuple[str, Any, Any, Any]:
    """Return the name, the interactions, and the tables of users and items, None where there are none."""
    place = Path(path).expanduser()
    if not place.exists():
        raise DataError(
            f"--data: there is no file or folder {path!r}; correct the path, "
            "or get a set with 'twotower download ml-latest-small'"
        )
    if place.is_file() and not place.name.lower().endswith(".zip"):
        return place.name, read_table(path, "--data"), None, None
    from twotower.datasets import movielens

    data = movielens(path=place)
    return data.name, data.ratings, data.users, data.items


def _chosen(table: frames.Frame, name: str | None, role: str, *, optional: bool = False) -> Any:
    """Return the column named by an option, else the first usual name that the table has, else None if that may be."""
    if name is not None:
        frames.column(table, name, "--data")
        return name
    for usual in _USUAL[role]:
        if usual in table.columns:
            return usual
    if optional:
        return None
    raise SchemaError(
        f"--data has no column of {role} ids: its columns are {', '.join(map(repr, table.columns))}, "
        f"but must have {_listed(role)}; name another with --{role}-col"
    )


def _is_year(value: object) -> bool:
    return isinstance(value, (int, float)) and not math.isnan(value)


def _reader(option: str, is_parquet: bool) -> Any:
    """Return the first installed module that reads the format; pandas needs pyarrow or fastparquet for Parquet."""

    def has(module: str) -> bool:
        return importlib.util.find_spec(module) is not None

    if has("pandas") and (not is_parquet or has("pyarrow") or has("fastparquet")):
        return importlib.import_module("pandas")
    if has("polars"):
        return importlib.import_module("polars")
    if has("pyarrow"):
        return importlib.import_module("pyarrow.parquet" if is_parquet else "pyarrow.csv")
    form, cure = ("Parquet", "pyarrow") if is_parquet else ("CSV", "pandas")
    raise ImportError(f"{option}: nothing that reads {form} files is installed; run pip install {cure}")


def _listed(role: str) -> str:
    *others, last = _USUAL[role]
    return f"{', '.join(others)} or {last}"
