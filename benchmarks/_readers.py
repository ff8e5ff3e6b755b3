"""Readers of the archives that the package itself does not read: anime, Book-Crossing, Steam, Beauty; as pandas frames.

The archives lie in ../shared/data, or in the folder that `$TWOTOWER_SHARED_DATA` or a program's `--data` names.
"""

from __future__ import annotations

import html
import io
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _common as common
import twotower as tt

pd = common.optional_module("pandas")

MOVIELENS_1M = ("ml-1m.zip", "ml-1m-rebuilt.zip")


@dataclass(frozen=True)
class Tables:
    """A data set: who took what, and what is known of both; the ids are `user_id` and `item_id`."""

    interactions: Any
    users: Any = None
    items: Any = None


def data_folder() -> Path:
    """Where archives are looked for when no option says otherwise."""
    return Path(os.environ.get("TWOTOWER_SHARED_DATA", common.DATA))


def archive(folder: Path, *names: str) -> Path:
    """The first of these archives that is in the folder; ends the program where none is.

    Raises
    ------
    SystemExit
        With the names, the folder and the cure. Also where pandas is not installed.
    """
    if pd is None:
        raise SystemExit("This program needs pandas; install it with: pip install pandas")
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        raise SystemExit(
            f"{' or '.join(names)} is not in {folder}; name the folder that holds it with --data or TWOTOWER_SHARED_DATA"
        )
    return found[0]


def movielens_1m(folder: Path) -> Tables:
    """MovieLens 1M; `genres` are lists."""
    data = tt.datasets.movielens("ml-1m", path=archive(folder, *MOVIELENS_1M), kind="pandas")
    return Tables(data.ratings, data.users, data.items)


def anime(folder: Path) -> Tables:
    """MyAnimeList sample of Case Recommender: 520,609 pairs without ratings or times, 5,000 x 7,390.

    The items have `name`, `genre` ("Action, Drama"; missing for 3), `type`, `episodes`, and the site's `rating` and `members`.
    The last two are made of interactions, those with hidden items included: no feature for a test of unseen items.
    """
    path = archive(folder, "caserec-anime.zip")
    pairs = _tabbed(path, "anime/anime_history.dat")[["User_ID", "Anime_ID"]]
    pairs.columns = ["user_id", "item_id"]
    items = _tabbed(path, "anime/anime_info.dat").rename(columns={"anime_ids": "item_id"})
    return Tables(pairs, None, items.assign(name=items["name"].map(html.unescape)))


def book_crossing(folder: Path) -> Tables:
    """Book-Crossing sample of Case Recommender: 272,678 pairs, 2,946 x 17,384; `rating` from 1 to 10 where there is one.

    The users have `location` ("minneapolis, minnesota, usa") and `age` (1 to 239, as found); the books `isbn`, `title`, `author`,
    `year` (0 where unknown) and `publisher`.
    """
    path = archive(folder, "caserec-bx.zip")
    pairs = _tabbed(path, "book_crossing/book_history.dat")[["user", "item"]]
    pairs = pairs.merge(_tabbed(path, "book_crossing/book_ratings.dat"), how="left", on=["user", "item"])
    pairs.columns = ["user_id", "item_id", "rating"]
    users = _tabbed(path, "book_crossing/users_info.dat")
    users.columns = ["user_id", "location", "age"]
    lines = _text(path, "book_crossing/items_info.dat").splitlines()[1:]
    items = pd.DataFrame(map(_book, lines), columns=["item_id", "isbn", "title", "author", "year", "publisher"])
    return Tables(pairs, users, items)


def _book(line: str) -> tuple[int, str, str, str, int, str]:
    """Fields of a book. Semicolons became tabs in this file, in the middle of "&amp;" and of titles."""
    fields = re.sub(r"&(#?\w+)\t", r"&\1;", line).split("\t")
    year = next(place for place in range(4, len(fields)) if re.fullmatch(r"\d{4}|0", fields[place]))
    title = ";".join(fields[2 : year - 1])
    return (
        int(fields[0]),
        fields[1],
        html.unescape(title),
        html.unescape(fields[year - 1]),
        int(fields[year]),
        html.unescape(fields[year + 1]),
    )


def steam(folder: Path) -> Tables:
    """Steam sample of Case Recommender: 128,804 pairs, 12,393 x 5,155; `hours` of play where there are any; games have `name`."""
    path = archive(folder, "caserec-steam.zip")
    key = ["User_ID", "Game_ID"]
    pairs = _tabbed(path, "steam/game_purchase.dat")[key].drop_duplicates()
    hours = _tabbed(path, "steam/game_play.dat").groupby(key, as_index=False)["Hours"].sum()
    pairs = pairs.merge(hours, how="left", on=key)
    pairs.columns = ["user_id", "item_id", "hours"]
    items = _tabbed(path, "steam/item_info.dat")
    items.columns = ["item_id", "name"]
    return Tables(pairs, None, items)


def beauty(folder: Path) -> Tables:
    """Amazon Beauty, 5-core, as S3-Rec prepared it: 198,502 pairs, 22,363 x 12,101; `timestamp` is the place in the sequence, from 0."""
    lines = _text(archive(folder, "seq-beauty.zip"), "Beauty.txt").splitlines()
    sequences = [[int(word) for word in line.split()] for line in lines if line.strip()]
    pairs = pd.DataFrame(
        [(user, item, place) for user, *items in sequences for place, item in enumerate(items)],
        columns=["user_id", "item_id", "timestamp"],
    )
    return Tables(pairs)


def _text(path: Path, member: str) -> str:
    with zipfile.ZipFile(path) as folder:
        return folder.read(member).decode("utf-8")


def _tabbed(path: Path, member: str) -> Any:
    # No quoting: a lone quotation mark in a name would swallow lines.
    return pd.read_csv(io.StringIO(_text(path, member)), sep="\t", index_col=False, quoting=3)
