"""`twotower recommend` and `twotower similar`."""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twotower.cli._commands import Commands, add_command, add_threads, check_target, open_model
from twotower.cli._data import add_title_options, ids_of_words, titles_at
from twotower.cli._text import rows_of, table


def add_recommend(commands: Commands) -> None:
    parser = add_command(
        commands,
        "recommend",
        _recommend,
        summary="print the best items for users",
        about="Titles are shown where --data has them; nothing else is taken from there.",
        examples="""
            twotower recommend movies.twotower --user 1 -k 5
            twotower recommend movies.twotower --user 1 2 3 --data ml-100k.zip --exclude 50 181
            twotower recommend movies.twotower --everyone --output lists.csv
        """,
    )
    parser.add_argument("model", metavar="MODEL", help="a file that 'twotower train' wrote")
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", nargs="+", metavar="ID", help="whom to serve, in this order")
    who.add_argument("--everyone", action="store_true", help="all users of the model")
    parser.add_argument("-k", type=int, default=10, metavar="K", help="items a user (default: 10)")
    parser.add_argument("--exclude", nargs="+", default=[], metavar="ID", help="items that must not appear")
    parser.add_argument("--include-seen", action="store_true", help="also items that the user had in the fit")
    parser.add_argument(
        "--on-unknown",
        choices=("raise", "popular"),
        default="raise",
        help="users that the model does not know: an error, or the most popular items (default: raise)",
    )
    parser.add_argument("--output", metavar="FILE", help="write a CSV file instead of printing")
    add_title_options(parser)
    add_threads(parser)


def _recommend(args: argparse.Namespace) -> None:
    target = None if args.output is None else check_target("--output", args.output)
    model = open_model(args)
    cure = "pass --on-unknown popular to get the most popular items" if args.on_unknown == "raise" else None
    users = None if args.everyone else ids_of_words(args.user, model.user_ids_, "recommend: user", cure)
    lists = model.recommend(
        users,
        k=args.k,
        filter_seen=not args.include_seen,
        exclude=ids_of_words(args.exclude, model.item_ids_, "recommend: item", None) or None,
        on_unknown=args.on_unknown,
    )
    columns = with_titles(rows_of(lists), model.item_col, titles_at(args.data, model.item_col, args.title_col))
    # The rank in front of the item reads better than behind its title.
    columns = {model.user_col: columns.pop(model.user_col), "rank": columns.pop("rank"), **columns}
    if target is None:
        print(table(columns))
    else:
        write_csv(target, columns)
        print(f"{target}: {len(columns['rank']):,} rows")


def add_similar(commands: Commands) -> None:
    parser = add_command(
        commands,
        "similar",
        _similar,
        summary="print the items that are most like given ones",
        about="The score is the cosine of the items' vectors.",
        examples="""
            twotower similar movies.twotower --item 50 -k 5
            twotower similar movies.twotower --item 50 181 --data ml-100k.zip
        """,
    )
    parser.add_argument("model", metavar="MODEL", help="a file that 'twotower train' wrote")
    parser.add_argument("--item", nargs="+", required=True, metavar="ID", help="items whose neighbors to print")
    parser.add_argument("-k", type=int, default=10, metavar="K", help="neighbors an item (default: 10)")
    add_title_options(parser)
    add_threads(parser)


def _similar(args: argparse.Namespace) -> None:
    model = open_model(args)
    items = ids_of_words(args.item, model.item_ids_, "similar: item", "ask for one of them")
    columns = rows_of(model.similar_items(items, k=args.k))
    columns = with_titles(columns, f"similar_{model.item_col}", titles_at(args.data, model.item_col, args.title_col))
    print(table({model.item_col: columns.pop(model.item_col), "rank": columns.pop("rank"), **columns}))


def with_titles(columns: Mapping[str, list[Any]], item_col: str, titles: Mapping[object, str]) -> dict[str, list[Any]]:
    """Add a column of titles after the items, if there are titles."""
    if not titles:
        return dict(columns)
    title = {"title": [titles.get(item) for item in columns[item_col]]}
    names = list(columns)
    place = names.index(item_col) + 1
    return {
        **{name: columns[name] for name in names[:place]},
        **title,
        **{name: columns[name] for name in names[place:]},
    }


def write_csv(path: Path, columns: Mapping[str, Sequence[object]]) -> None:
    """Write columns to a file that appears under its name when it is whole."""
    part = path.with_name(f"{path.name}.part-{os.getpid()}")
    try:
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
