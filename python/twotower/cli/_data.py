"""What `--data` names: a MovieLens set, or any tables of interactions, users and items."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
from collections.abc import Sequence
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


@dataclass(frozen=True)
class Data:
    """Tables and what their columns are called; `rating_col`, `time_col` and `title_col` are None where there is none."""

    name: str
    ratings: Any
    users: Any
    items: Any
    user_col: str
    item_col: str
    rating_col: str | None
    time_col: str | None
    titles: dict[object, str] = field(repr=False)

    def titles_of(self, ids: Sequence[object]) -> list[str | None]:
        """Return the title of each item, None where there is none."""
        return [self.titles.get(item) for item in ids]


def add_data_options(parser: argparse.ArgumentParser, *, required: bool, what: str) -> None:
    """Give a command `--data` and the options that say how to read it."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data", metavar="PATH", required=required, help=f"{what}: a MovieLens folder or zip, or a CSV, TSV or Parquet file"
    )
    group.add_argument("--users", metavar="FILE", help="table of users, with the user column (CSV, TSV, Parquet)")
    group.add_argument("--items", metavar="FILE", help="table of items, with the item column (CSV, TSV, Parquet)")
    for name, text in (("user", "user ids"), ("item", "item ids"), ("rating", "ratings"), ("time", "times")):
        group.add_argument(f"--{name}-col", metavar="NAME", help=f"column of {text} (default: {_listed(name)})")
    group.add_argument("--title-col", metavar="NAME", help=f"column of --items to show (default: {_listed('title')})")


def read_data(args: argparse.Namespace) -> Data:
    """Read what the data options name.

    Raises
    ------
    DataError, SchemaError
        A file is missing or cannot be read; a column is missing.
    ImportError
        No library that reads such a file is installed.
    """
    path = Path(args.data).expanduser()
    if path.is_file() and path.name.lower().endswith(_ENDINGS):
        name, ratings, users, items = path.name, read_table(path, "--data"), None, None
    else:
        name, ratings, users, items = _read_movielens(path)
    users = read_table(args.users, "--users") if args.users else users
    items = read_table(args.items, "--items") if args.items else items
    table = frames.table(ratings, "--data")
    item_col = _chosen(table, args.item_col, "item")
    user_col = _chosen(table, args.user_col, "user")
    for side, column, what in ((users, user_col, "--users"), (items, item_col, "--items")):
        if side is not None:
            frames.column(frames.table(side, what), column, what)
    return Data(
        name,
        ratings,
        users,
        items,
        user_col,
        item_col,
        _chosen(table, args.rating_col, "rating", optional=True),
        _chosen(table, args.time_col, "time", optional=True),
        read_titles(items, item_col, args.title_col),
    )


def read_title_options(args: argparse.Namespace, item_col: str) -> dict[object, str]:
    """Read the titles of items from `--items`, else `--data`; none where neither was given."""
    if args.items:
        return read_titles(read_table(args.items, "--items"), args.item_col or item_col, args.title_col)
    return read_data(args).titles if args.data else {}


def read_titles(items: Any, item_col: str, title_col: str | None) -> dict[object, str]:
    """Map item ids to titles, with the year where the table has one; empty where there is no title."""
    if items is None:
        return {}
    table = frames.table(items, "--items")
    title = _chosen(table, title_col, "title", optional=True, what="--items")
    if title is None:
        return {}
    ids = frames.column(table, item_col, "--items").to_list()
    titles = table.get_column(title).to_list()
    years: list[Any] = table.get_column("year").to_list() if "year" in table.columns else [None] * len(ids)
    return {
        item: f"{text} ({int(year)})" if _is_year(year) else str(text)
        for item, text, year in zip(ids, titles, years, strict=True)
        if isinstance(text, str)
    }


def _is_year(value: object) -> bool:
    return isinstance(value, (int, float)) and not math.isnan(value)


def read_table(path: str | Path, option: str) -> Any:
    """Read a CSV, TSV or Parquet file with the first library that is installed and can: pandas, polars, pyarrow."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"{option}: there is no file {str(path)!r}; correct the path")
    name = path.name.lower()
    if not name.endswith(_ENDINGS):
        raise DataError(f"{option}: {str(path)!r} is none of {', '.join(_ENDINGS)}; convert it, or give it its ending")
    is_parquet = name.endswith(_PARQUET_ENDINGS)
    library = _reader(option, is_parquet)
    try:
        if is_parquet:
            return library.read_table(path) if library.__name__ == "pyarrow.parquet" else library.read_parquet(path)
        separator = _TEXT_ENDINGS[Path(name.removesuffix(".gz")).suffix]
        if library.__name__ == "pyarrow.csv":
            return library.read_csv(path, parse_options=library.ParseOptions(delimiter=separator))
        return library.read_csv(path, **{"sep" if library.__name__ == "pandas" else "separator": separator})
    except Exception as error:  # noqa: BLE001 - every library has exceptions of its own for a malformed file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{option}: {str(path)!r} cannot be read ({reason}); correct the file") from error


def ids_of_words(words: Sequence[str], known: Any, what: str) -> list[object]:
    """Turn words of a command line into ids of the dtype that the model knows.

    Parameters
    ----------
    words : strings
    known : Series
        `user_ids_` or `item_ids_` of the model.
    what : str
        Start of a message, such as "recommend: user".

    Raises
    ------
    UnknownIdError
        A word is not written like these ids.
    """
    ids = frames.ids(known, what)
    kind, label = ids.dtype.kind, ids.dtype.label
    if kind == "string":
        return list(words)
    if kind == "integer":
        return [_whole_number(word, what, label, ids.tolist) for word in words]
    by_text = {str(value): value for value in ids.tolist()}
    for word in words:
        if word not in by_text:
            some = ", ".join(list(by_text)[:5])
            raise UnknownIdError(f"{what} {word!r} is unknown; the ids are {label}, such as {some}; write one of them")
    return [by_text[word] for word in words]


def _whole_number(word: str, what: str, label: str, known: Any) -> int:
    try:
        return int(word)
    except ValueError:
        raise UnknownIdError(
            f"{what} {word!r} is not a whole number, but the ids of this model are {label}, "
            f"such as {first_five(known()[:5])}; write one of them"
        ) from None


def _read_movielens(path: Path) -> tuple[str, Any, Any, Any]:
    from twotower.datasets import movielens

    data = movielens(path=path)
    return data.name, data.ratings, data.users, data.items


def _chosen(table: frames.Frame, name: str | None, role: str, *, optional: bool = False, what: str = "--data") -> Any:
    """Return the column named by an option, else the first usual name that the table has, else None if that may be."""
    if name is not None:
        frames.column(table, name, what)
        return name
    for usual in _USUAL[role]:
        if usual in table.columns:
            return usual
    if optional:
        return None
    raise SchemaError(
        f"{what} has no column of {role} ids that is called {_listed(role)}; its columns are "
        f"{', '.join(map(repr, table.columns))}; name it with --{role}-col"
    )


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
