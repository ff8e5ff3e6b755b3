"""`twotower train`."""

from __future__ import annotations

import argparse
import time
from typing import Any

import twotower as tt
from twotower.cli._commands import Commands, add_command, add_threads, check_target
from twotower.cli._cutting import add_split_options, cut
from twotower.cli._data import Data, add_data_options, read_data
from twotower.cli._evaluate import METRICS, compare
from twotower.cli._text import say
from twotower.errors import SchemaError

# Options that go to the model as they are; None leaves the choice to it.
_MODEL_OPTIONS = ("dim", "epochs", "batch_size", "temperature", "learning_rate", "min_rating")


def add_train(commands: Commands) -> None:
    parser = add_command(
        commands,
        "train",
        _train,
        summary="fit a two-tower model and write it to a file",
        about=(
            "With --test, the model learns from the rest only, and its figures on the test part are\n"
            "printed beside those of popularity. Leave --test out to learn from everything."
        ),
        examples="""
            twotower train --data ml-100k.zip --output movies.twotower
            twotower train --data ml-1m.zip --output movies.twotower --test 0.2 --valid 0.1 --min-rating 4
            twotower train --data clicks.parquet --items products.csv --user-col customer --output shop.twotower
        """,
    )
    parser.add_argument("--output", metavar="FILE", required=True, help="the file to write")
    add_data_options(parser, required=True, what="what to learn from")
    add_split_options(parser, valid=True)
    group = parser.add_argument_group("model (what is left out is chosen from the data)")
    group.add_argument("--dim", type=int, metavar="N", help="width of the vectors")
    group.add_argument("--epochs", type=int, metavar="N", help="passes over the data")
    group.add_argument("--batch-size", type=int, metavar="N", help="positives a step")
    group.add_argument("--temperature", type=float, metavar="T", help="what scores are divided by")
    group.add_argument("--learning-rate", type=float, metavar="R", help="of the first step")
    group.add_argument(
        "--min-rating", type=float, metavar="R", help="rows rated below are seen, but not learned as liked"
    )
    group.add_argument(
        "--features",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="learn from the columns of the tables of users and items, or from ids alone (default: columns)",
    )
    add_threads(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _train(args: argparse.Namespace) -> None:
    target = check_target("--output", args.output)
    names = {"user": args.user_col, "item": args.item_col, "rating": args.rating_col, "time": args.time_col}
    data = read_data(args.data, users=args.users, items=args.items, columns=names)
    train, valid, test, words = cut(
        "train", data, kind=args.split, test=args.test, valid=args.valid, random_state=args.random_state
    )
    if not args.quiet:
        say(f"{data.name}: {len(data.ratings):,} rows; {words}")
    model = tt.TwoTower(
        **column_options(data, args.min_rating),
        **{name: getattr(args, name) for name in _MODEL_OPTIONS if getattr(args, name) is not None},
        random_state=args.random_state,
        n_jobs=args.threads,
        verbose=0 if args.quiet else 1,
    )
    tables = {"users": data.users, "items": data.items} if args.features else {}
    started = time.perf_counter()
    try:
        model.fit(train, **tables, eval_set=valid)
    except KeyboardInterrupt:
        if not model.__sklearn_is_fitted__():
            raise
        # Not under the name that was given: a better model may be there.
        rescued = target.with_name(f"{target.name}.interrupted")
        model.save(rescued)
        raise KeyboardInterrupt(f"interrupted; the model as it stood is in {rescued}") from None
    seconds = time.perf_counter() - started
    model.save(target)
    if test is not None:
        print(compare(model, train, test, METRICS))
    print(
        f"{target}: {len(model.user_ids_):,} users, {len(model.item_ids_):,} items, "
        f"{target.stat().st_size / 1e6:.1f} MB, fitted in {seconds:.1f} s"
    )


def column_options(data: Data, min_rating: float | None = None) -> dict[str, Any]:
    """Return the options of a model that name columns."""
    names = {"user_col": data.user_col, "item_col": data.item_col}
    if min_rating is None:
        return names
    if data.rating_col is None:
        raise SchemaError(
            f"train: --min-rating needs a column of ratings, but {data.name} has none; name it with --rating-col"
        )
    return {**names, "rating_col": data.rating_col}
