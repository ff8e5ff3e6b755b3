"""`twotower train` and `twotower evaluate`."""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import twotower as tt
from twotower import frames
from twotower.cli._commands import Commands, add_command, add_threads, check_target, open_model
from twotower.cli._cutting import add_split_options, cut
from twotower.cli._data import Data, add_data_options, read_data
from twotower.cli._text import rows_of, say, table
from twotower.errors import DataError

METRICS = ("recall@10", "ndcg@10", "hit_rate@10", "coverage@10")
# Options of `train` that go to the model as they are; None leaves the choice to it.
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
    group = parser.add_argument_group("model (without these: chosen from the data)")
    group.add_argument("--dim", type=int, metavar="N", help="width of the vectors")
    group.add_argument("--epochs", type=int, metavar="N", help="passes over the data")
    group.add_argument("--batch-size", type=int, metavar="N", help="positives a step")
    group.add_argument("--temperature", type=float, metavar="T", help="of the softmax")
    group.add_argument("--learning-rate", type=float, metavar="R", help="of the first step")
    group.add_argument("--min-rating", type=float, metavar="R", help="rows rated below are seen, but not learned as liked")
    group.add_argument(
        "--features",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="use the columns of the tables of users and items (default: yes)",
    )
    add_threads(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _train(args: argparse.Namespace) -> None:
    target = check_target("--output", args.output)
    data = read_data(args)
    train, valid, test, words = cut(
        "train", data, kind=args.split, test=args.test, valid=args.valid, random_state=args.random_state
    )
    say(f"{data.name}: {len(data.ratings):,} rows; {words}")
    model = tt.TwoTower(
        **column_options(data, args.min_rating),
        **{name: getattr(args, name) for name in _MODEL_OPTIONS if getattr(args, name) is not None},
        random_state=args.random_state,
        n_jobs=args.threads,
        verbose=0 if args.quiet else 1,
    )
    started = time.perf_counter()
    model.fit(train, **features_of(data, args.features), eval_set=valid)
    seconds = time.perf_counter() - started
    model.save(target)
    if test is not None:
        print(compare(data, model, train, test, METRICS))
    print(
        f"{target}: {len(model.user_ids_):,} users, {len(model.item_ids_):,} items, "
        f"{target.stat().st_size / 1e6:.1f} MB, fitted in {seconds:.1f} s"
    )


def add_evaluate(commands: Commands) -> None:
    parser = add_command(
        commands,
        "evaluate",
        _evaluate,
        summary="measure a model beside popularity on interactions that it has not seen",
        about=(
            "With the --split, --test and --random-state of 'twotower train', the test part is the one that\n"
            "the model was not fitted on. --all measures on every row of --data, a file that was held out\n"
            "by other means. What a user had in the fit is left out of the lists."
        ),
        examples="""
            twotower train --data ml-100k.zip --output m.twotower --test 0.2 && twotower evaluate m.twotower --data ml-100k.zip
            twotower evaluate m.twotower --data ml-100k.zip --split random --test 0.1 --metrics recall@20 ndcg@20
            twotower evaluate m.twotower --data next-week.csv --all
        """,
    )
    parser.add_argument("model", metavar="MODEL", help="a file that 'twotower train' wrote")
    add_data_options(parser, required=True, what="what to measure on")
    add_split_options(parser, valid=False)
    parser.add_argument("--all", action="store_true", help="every row is for the test")
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=METRICS,
        metavar="NAME@K",
        help=f"recall, capped_recall, precision, ndcg, hit_rate, mrr, map, coverage, novelty (default: {' '.join(METRICS)})",
    )
    add_threads(parser)


def _evaluate(args: argparse.Namespace) -> None:
    model = open_model(args)
    # The model says what the columns are called where no option does.
    args.user_col, args.item_col = args.user_col or model.user_col, args.item_col or model.item_col
    data = read_data(args)
    if args.all:
        train, test, words = model.history_, data.ratings, "every row is for the test"
    else:
        share = args.test or (1 if args.split == "leave_last" else 0.2)
        train, _, test, words = cut(
            "evaluate", data, kind=args.split, test=share, valid=None, random_state=args.random_state
        )
    say(f"{data.name}: {len(data.ratings):,} rows; {words}")
    _look_for_leaks(model, test, data)
    print(compare(data, model, train, test, args.metrics))


def column_options(data: Data, min_rating: float | None) -> dict[str, Any]:
    """Return the options of a model that name columns."""
    names = {"user_col": data.user_col, "item_col": data.item_col}
    return names if min_rating is None or data.rating_col is None else {**names, "rating_col": data.rating_col}


def features_of(data: Data, wanted: bool) -> dict[str, Any]:
    """Return the tables of users and items as `fit` takes them."""
    return {"users": data.users, "items": data.items} if wanted else {}


def popularity_like(model: Any, interactions: Any) -> Any:
    """Fit the baseline on the same columns, with the same idea of a positive."""
    has_ratings = model.rating_col in frames.table(interactions, "train").columns
    ratings = {"rating_col": model.rating_col, "min_rating": model.min_rating} if has_ratings else {}
    columns = {"user_col": model.user_col, "item_col": model.item_col}
    return tt.Popularity(**columns, **ratings, n_jobs=model.n_jobs).fit(interactions)


def compare(data: Data, model: Any, train: Any, test: Any, metrics: Any) -> str:
    """Measure popularity and the model; the table and a line that says what was measured."""
    models = {"Popularity": popularity_like(model, train), type(model).__name__: model}
    columns = rows_of(tt.evaluate(models, test, metrics, n_jobs=model.n_jobs))
    counts = {name: columns.pop(name)[0] for name in ("users", "users_without_test_items", "unknown_users")}
    unknown = counts["unknown_users"]
    notes = [f"means over {counts['users']:,} test users, of {len(model.item_ids_):,} items"]
    notes += [f"{unknown:,} test users are not in the model and left out"] if unknown else []
    return f"{table(columns)}\n({'; '.join(notes)})"


def _look_for_leaks(model: Any, test: Any, data: Data) -> None:
    """Say how many of the test pairs the model was fitted on: they cannot come back in its lists."""
    from twotower.features import Vocabulary

    users, items = Vocabulary.fit(model.user_ids_, "users"), Vocabulary.fit(model.item_ids_, "items")

    def pairs(native: Any) -> np.ndarray:
        rows = frames.table(native, "--data")
        user_rows = users.encode(frames.column(rows, model.user_col, "--data")).astype(np.int64)
        item_rows = items.encode(frames.column(rows, model.item_col, "--data")).astype(np.int64)
        known = (user_rows >= 0) & (item_rows >= 0)
        return np.asarray(user_rows[known] * items.size + item_rows[known])

    tested = pairs(test)
    leaked = int(np.isin(tested, pairs(model.history_)).sum())
    if not leaked:
        return
    cure = "measure with the --split, --test and --random-state that it was trained with"
    if leaked == len(test):
        raise DataError(f"evaluate: the model was fitted on all {leaked:,} test rows of {data.name}; train with --test, or {cure}")
    say(
        f"twotower: warning: the model was fitted on {leaked:,} of the {len(test):,} test rows ({leaked / len(test):.0%}), "
        f"which cannot come back in its lists; {cure}"
    )
