"""Read the MovieLens data sets in the formats they are published in."""

from __future__ import annotations

import difflib
import os
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twotower.datasets import _ratings, _tables
from twotower.datasets._sources import Folder, Source, open_source
from twotower.errors import DataError


@dataclass(frozen=True)
class _Format:
    """How one family of sets is written."""

    separator: str
    encoding: str
    ratings: str
    items: str
    users: str | None = None
    tags: str | None = None
    links: str | None = None
    header: str | None = None


_FORMATS = {
    "ml-100k": _Format("\t", "latin-1", "u.data", "u.item", users="u.user"),
    "ml-1m": _Format("::", "latin-1", "ratings.dat", "movies.dat", users="users.dat"),
    "ml-10m": _Format("::", "utf-8", "ratings.dat", "movies.dat", tags="tags.dat"),
    "csv": _Format(
        ",",
        "utf-8",
        "ratings.csv",
        "movies.csv",
        tags="tags.csv",
        links="links.csv",
        header="userId,movieId,rating,timestamp",
    ),
}
_FORMAT_OF = {
    "ml-100k": "ml-100k",
    "ml-1m": "ml-1m",
    "ml-10m": "ml-10m",
    "ml-20m": "csv",
    "ml-25m": "csv",
    "ml-32m": "csv",
    "ml-latest": "csv",
    "ml-latest-small": "csv",
}
_DESCRIPTION = {"ml-100k": "ml-100k", "ml-1m": "ml-1m", "ml-10m": "ml-10m", "csv": "a set of ml-20m or later"}
_DEFAULT_NAME = {"ml-100k": "ml-100k", "ml-1m": "ml-1m", "ml-10m": "ml-10m", "csv": "ml-latest"}

#: Names of the sets, as `movielens` takes them.
NAMES = tuple(_FORMAT_OF)

# The codes that the README of ml-1m documents.
_OCCUPATIONS_1M = (
    "other",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
)
_GENRES_100K = (
    "unknown|Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|Drama|Fantasy|Film-Noir|Horror|Musical|"
    "Mystery|Romance|Sci-Fi|Thriller|War|Western"
)
_NO_GENRES = "(no genres listed)"

# "Heat (1995)", "Black Mirror (2011- )", "Death Note (2006-2007)" with either dash, "A Film (1995) (V)".
_YEAR = re.compile(r"\s*\((\d{4})(?:\s*[-\u2013]\s*(?:\d{4})?)?\s*\)(\s*\([A-Z]+\))?\s*$")


@dataclass(frozen=True, eq=False, repr=False)
class MovieLens:
    """One MovieLens set as tables; `users`, `tags` and `links` are None where the set has none.

    Attributes
    ----------
    name : str
        Name of the set, for instance ``"ml-1m"``.
    kind : str
        Frame library of the tables: ``"pandas"``, ``"polars"`` or ``"pyarrow"``.
    ratings : DataFrame
        user_id (int64), item_id (int64), rating (float64, 0.5 to 5), timestamp (int64, seconds since 1970 UTC), in the
        order of the file.
    users : DataFrame or None
        user_id (int64), gender (``"F"`` or ``"M"``), age (int64, years; in ml-1m the lower end of a range: 18 is 18 to
        24, then 25, 35, 45, 50 and 56, and 1 is under 18), occupation (text), zip_code (text). ml-100k and ml-1m only.
    items : DataFrame
        item_id (int64), title (text, without the year; articles stay at the end: ``"Net, The"``), year (integer,
        missing where the title has none; the first one of a range), genres (list of text, empty where none is listed).
    tags : DataFrame or None
        user_id (int64), item_id (int64), tag (text), timestamp (int64). From ml-10m on.
    links : DataFrame or None
        item_id (int64), imdb_id (text, with its leading zeros), tmdb_id (integer or missing). From ml-20m on.
    """

    name: str
    kind: str
    ratings: Any
    users: Any
    items: Any
    tags: Any = None
    links: Any = None

    def __repr__(self) -> str:
        names = ("ratings", "users", "items", "tags", "links")
        return _tables.describe(f"MovieLens {self.name}", self.kind, {name: getattr(self, name) for name in names})


def movielens(
    name: str | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    kind: str | None = None,
    progress: bool = True,
) -> MovieLens:
    """Read a MovieLens set from a folder or zip archive, or download it.

    Parameters
    ----------
    name : str, optional
        One of ``"ml-100k"``, ``"ml-1m"``, ``"ml-10m"``, ``"ml-20m"``, ``"ml-25m"``, ``"ml-32m"``, ``"ml-latest"`` and
        ``"ml-latest-small"``. Without it, `path` tells: by its files, and by the name of the folder they lie in.
    path : str or path, optional
        A folder that holds the files, itself or in a sub-folder, or a zip archive of them. Without it, the archive is
        downloaded from files.grouplens.org into a cache (the folder named by the environment variable
        ``TWOTOWER_DATA``, otherwise ``~/.cache/twotower`` or what takes its place on the platform), once.
    kind : {"pandas", "polars", "pyarrow"}, optional
        Library of the tables. Default: the first of these three that is installed.
    progress : bool
        Show a bar while downloading.

    Returns
    -------
    MovieLens
        With the tables `ratings`, `users`, `items`, `tags` and `links`.

    Raises
    ------
    ValueError
        `name` or `kind` is unknown, or both `name` and `path` are None.
    DataError
        (a ValueError) `path` is missing, damaged, holds no such set or a malformed line; the download failed.
    ImportError
        The frame library is not installed.

    Notes
    -----
    A download that breaks is taken up again where it stopped, now or by the next call, and is checked against the
    published md5. The sets have terms of their own (research use; see the README in each archive).
    Cost: ml-1m in about half a second, ml-25m in about ten, most of it unpacking; 32 bytes a rating.

    Examples
    --------
    >>> data = movielens("ml-100k", path="ml-100k.zip")  # doctest: +SKIP
    >>> data  # doctest: +SKIP
    MovieLens ml-100k (pandas)
      ratings     100000 rows  user_id, item_id, rating, timestamp
      users          943 rows  user_id, gender, age, occupation, zip_code
      items         1682 rows  item_id, title, year, genres
    """
    if name is not None and name not in _FORMAT_OF:
        near = difflib.get_close_matches(str(name), NAMES, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"movielens: name is {name!r}, but must be one of {', '.join(NAMES)}{hint}")
    if name is None and path is None:
        raise ValueError(
            "movielens: name and path are None, but one must be given; movielens('ml-100k') downloads a set"
        )
    kind = _tables.resolve_kind("movielens", kind)
    if path is None:
        from twotower.datasets import _download  # pulls in http and ssl

        place = _download.fetch(f"{name}.zip", progress=progress)
    else:
        place = Path(path).expanduser()
    with open_source(place) as source:
        name, folder = _find(name, source)
        try:
            return _read(name, kind, folder)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise DataError(f"movielens: {place} is damaged ({error}); delete it and get it again") from error


def _find(name: str | None, source: Source) -> tuple[str, Folder]:
    """Choose the folder of `source` that holds the set, and name the set."""
    found = [(folder, family) for folder in source.folders if (family := _family(folder)) is not None]
    if not found:
        raise DataError(
            f"movielens: {source.path} holds no MovieLens files; looked for u.data (ml-100k), ratings.dat (ml-1m, "
            "ml-10m) and ratings.csv (ml-20m and later), there and in its sub-folders"
        )
    names = [_known(folder.name, family) for folder, family in found]
    if name is not None:
        fitting = [i for i, (_, family) in enumerate(found) if family == _FORMAT_OF[name] and names[i] in (None, name)]
        if not fitting:
            there = [_known(folder.name, family) or _DESCRIPTION[family] for folder, family in found]
            raise DataError(
                f"movielens: name is {name!r}, but {source.path} holds {' and '.join(there)}; "
                "correct it, or leave name out"
            )
        fitting = [i for i in fitting if names[i] == name] or fitting
    else:
        fitting = list(range(len(found)))
    if len(fitting) > 1:
        inner = ", ".join(sorted(found[i][0].name for i in fitting))
        raise DataError(f"movielens: {source.path} holds several sets ({inner}); give the name or the folder of one")
    folder, family = found[fitting[0]]
    return name or names[fitting[0]] or _known(source.path.stem, family) or _DEFAULT_NAME[family], folder


def _family(folder: Folder) -> str | None:
    """Return the key of `_FORMATS` that the files of a folder belong to, None if they are no MovieLens set."""
    if "ratings.dat" in folder.files:
        return "ml-1m" if "users.dat" in folder.files else "ml-10m"
    return "ml-100k" if "u.data" in folder.files else "csv" if "ratings.csv" in folder.files else None


def _known(text: str, family: str) -> str | None:
    """Return the set of a family that a folder or file name speaks of, None if of no such set."""
    fitting = [name for name in NAMES if name in text.lower() and _FORMAT_OF[name] == family]
    return max(fitting, key=len, default=None)


def _read(name: str, kind: str, folder: Folder) -> MovieLens:
    form = _FORMATS[_FORMAT_OF[name]]
    missing = [file for file in (form.items, form.users) if file is not None and file not in folder.files]
    if missing:
        raise DataError(
            f"movielens: {folder.path} holds {form.ratings} but not {' and '.join(missing)}, which {name} has too; "
            "take the whole set"
        )
    with folder.open(form.ratings) as stream:
        columns = _ratings.parse(stream, form.ratings, form.separator, header=form.header)
    ratings = _tables.build(kind, dict(zip(("user_id", "item_id", "rating", "timestamp"), columns, strict=True)))
    del columns
    return MovieLens(
        name,
        kind,
        ratings,
        None if form.users is None else _tables.build(kind, _read_users(folder, form)),
        _tables.build(kind, _read_items(folder, form)),
        None if form.tags not in folder.files else _tables.build(kind, _read_tags(folder, form)),
        None if form.links not in folder.files else _tables.build(kind, _read_links(folder, form)),
    )


def _rows(
    folder: Folder, file: str, form: _Format, fields: int, parse: Callable[[list[str]], tuple[Any, ...]], wanted: str
) -> list[tuple[Any, ...]]:
    """Return the columns of a text file: `parse` of each line's `fields` fields, transposed."""
    separator = "|" if form.users == "u.user" else form.separator
    rows = []
    for number, row in folder.lines(file, form.encoding, separator, fields):
        try:
            if len(row) != fields:
                raise ValueError
            rows.append(parse(row))
        except (ValueError, IndexError):
            raise DataError(
                f"movielens: {file}, line {number} is {separator.join(row)[:80]!r}, but must be {wanted}; "
                "correct it, or take the original file"
            ) from None
    return list(zip(*rows, strict=True))


def _read_users(folder: Folder, form: _Format) -> dict[str, _tables.Column]:
    """u.user has id, age, gender, occupation, zip code; users.dat id, gender, age, code of the occupation, zip code."""
    assert form.users is not None
    if form.users == "u.user":
        wanted = "user id|age|gender|occupation|zip code"
        columns = _rows(folder, form.users, form, 5, lambda f: (int(f[0]), f[2], int(f[1]), f[3], f[4]), wanted)
    else:
        wanted = "user id::gender::age::occupation (0 to 20)::zip code"
        columns = _rows(
            folder, form.users, form, 5, lambda f: (int(f[0]), f[1], int(f[2]), _occupation(f[3]), f[4]), wanted
        )
    users, genders, ages, occupations, zips = columns or [()] * 5
    return {
        "user_id": np.array(users, np.int64),
        "gender": list(genders),
        "age": np.array(ages, np.int64),
        "occupation": list(occupations),
        "zip_code": list(zips),
    }


def _occupation(code: str) -> str:
    if not code.isdigit():
        raise ValueError
    return _OCCUPATIONS_1M[int(code)]


def _read_items(folder: Folder, form: _Format) -> dict[str, _tables.Column]:
    """u.item has one flag for each genre, after five other fields; the later files have the names, with | between."""
    if form.items == "u.item":
        names = _genres_of_100k(folder, form)
        wanted = f"5 fields and {len(names)} genre flags (0 or 1) with | between"

        def parse(row: list[str]) -> tuple[Any, ...]:
            if not {*row[5:]} <= {"0", "1"}:
                raise ValueError
            return (
                int(row[0]),
                *_title_and_year(row[1]),
                [genre for genre, flag in zip(names, row[5:], strict=True) if flag == "1"],
            )

        columns = _rows(folder, form.items, form, 5 + len(names), parse, wanted)
    else:
        wanted = f"item id{form.separator}title{form.separator}genres"
        columns = _rows(
            folder, form.items, form, 3, lambda f: (int(f[0]), *_title_and_year(f[1]), _genre_list(f[2])), wanted
        )
    items, titles, years, genres = columns or [()] * 4
    return {
        "item_id": np.array(items, np.int64),
        "title": list(titles),
        "year": _integers_with_gaps(years),
        "genres": _tables.Lists(genres),
    }


def _genres_of_100k(folder: Folder, form: _Format) -> list[str]:
    """Return the genres in the order of their flags; copies of the set often leave u.genre out."""
    if "u.genre" not in folder.files:
        return _GENRES_100K.split("|")
    flags, names = _rows(folder, "u.genre", form, 2, lambda f: (int(f[1]), f[0]), "genre|number of its flag") or [
        (),
        (),
    ]
    return [name for _, name in sorted(zip(flags, names, strict=True))]


def _title_and_year(title: str) -> tuple[str, int | None]:
    title = title.strip()
    found = _YEAR.search(title)
    if found is None or not found.start():
        return title, None
    return title[: found.start()] + (found.group(2) or ""), int(found.group(1))


def _genre_list(text: str) -> list[str]:
    return [] if text in ("", _NO_GENRES) else text.split("|")


def _read_tags(folder: Folder, form: _Format) -> dict[str, _tables.Column]:
    assert form.tags is not None
    wanted = form.separator.join(("user id", "item id", "tag", "timestamp"))
    columns = _rows(folder, form.tags, form, 4, lambda f: (int(f[0]), int(f[1]), f[2], int(f[3])), wanted)
    users, items, tags, timestamps = columns or [()] * 4
    return {
        "user_id": np.array(users, np.int64),
        "item_id": np.array(items, np.int64),
        "tag": list(tags),
        "timestamp": np.array(timestamps, np.int64),
    }


def _read_links(folder: Folder, form: _Format) -> dict[str, _tables.Column]:
    assert form.links is not None
    wanted = "item id,imdb id,tmdb id or nothing"
    columns = _rows(folder, form.links, form, 3, lambda f: (int(f[0]), f[1], int(f[2]) if f[2] else None), wanted)
    items, imdb, tmdb = columns or [()] * 3
    return {"item_id": np.array(items, np.int64), "imdb_id": list(imdb), "tmdb_id": _integers_with_gaps(tmdb)}


def _integers_with_gaps(values: tuple[int | None, ...]) -> Any:
    mask = np.array([value is None for value in values], dtype=bool)
    return np.ma.MaskedArray(np.array([value or 0 for value in values], np.int64), mask)
