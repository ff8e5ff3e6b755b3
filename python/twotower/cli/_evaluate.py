"""`twotower evaluate`, and the table of figures that `train` and `demo` print too."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

import twotower as tt
from twotower import frames
from twotower.cli._commands import Commands, add_command, add_threads, open_model
from twotower.cli._cutting import add_split_options, cut
from twotower.cli._data import read_data
from twotower.cli._text import rows_of, say, table
from twotower.errors import DataError
from twotower.vocabulary import Vocabulary

METRICS = ("recall@10", "ndcg@10", "hit_rate@10", "coverage@10")
_CURE = "measure with the --split, --test and --random-state that it was trained with"


def add_evaluate(commands: Commands) -> None:
    parser = add_command(
        commands,
        "evaluate",
        _evaluate,
        summary="measure a model beside popularity on interactions that it has not seen",
        about=(
            "With the --split, --test and --random-state of 'twotower train', the test part is the one that\n"
            "the model was not fitted on. --all measures on every row of --data, for a file that was held out\n"
            "by other means. What a user had in the fit is left out of the lists."
        ),
        examples="""
            twotower train --data ml-100k.zip --output movies.twotower --test 0.2
            twotower evaluate movies.twotower --data ml-100k.zip --test 0.2 --metrics recall@20 ndcg@20 coverage@20
            twotower evaluate movies.twotower --data next-week.csv --all
        """,
    )
    parser.add_argument("model", metavar="MODEL", help="a file that 'twotower train' wrote")
    help_data = "what to measure on: a MovieLens folder or zip, or a table with the model's columns (CSV, TSV, Parquet)"
    parser.add_argument("--data", metavar="PATH", required=True, help=help_data)
    parser.add_argument(
        "--time-col", metavar="NAME", help="column of times (default: timestamp, time, datetime or date)"
    )
    add_split_options(parser, valid=False)
    parser.add_argument("--all", action="store_true", help="every row is for the test")
    names = "recall, capped_recall, micro_recall, precision, ndcg, hit_rate, mrr, map, coverage or novelty"
    help_metrics = f"{names}, each with @K (default: {' '.join(METRICS)})"
    parser.add_argument("--metrics", nargs="+", default=METRICS, metavar="NAME@K", help=help_metrics)
    add_threads(parser)


def _evaluate(args: argparse.Namespace) -> None:
    model = open_model(args)
    data = read_data(args.data, columns={"user": model.user_col, "item": model.item_col, "time": args.time_col})
    if args.all:
        rest, test, words = None, data.ratings, "all for the test"
    else:
        test_amount = args.test or (1 if args.split == "leave_last" else 0.2)
        rest, _, test, words = cut(
            "evaluate", data, kind=args.split, test=test_amount, valid=None, random_state=args.random_state
        )
    say(f"{data.name}: {len(data.ratings):,} rows; {words}")
    pairs = _Pairs(model)
    leaked = int(np.count_nonzero(pairs.are_fitted(test)))
    if leaked == len(test):
        raise DataError(
            f"evaluate: the model was fitted on all {leaked:,} test rows of {data.name}; train with --test, or {_CURE}"
        )
    if leaked:
        say(
            f"twotower: warning: the model was fitted on {leaked:,} of the {len(test):,} test rows "
            f"({leaked / len(test):.0%}), which cannot come back in its lists; {_CURE}"
        )
    # Popularity learns from the rows that the model learned from. Where they are elsewhere: from the pairs it has seen.
    fitted = np.flatnonzero(pairs.are_fitted(rest)) if rest is not None else np.array([], dtype=np.int64)
    train = frames.take(frames.table(rest, "--data"), fitted).to_native() if len(fitted) else model.history_
    print(compare(model, train, test, args.metrics))


class _Pairs:
    """The (user, item) pairs that a model was fitted on, as numbers."""

    def __init__(self, model: Any) -> None:
        self._user_col, self._item_col = model.user_col, model.item_col
        self._users = Vocabulary.fit(model.user_ids_, "users")
        self._items = Vocabulary.fit(model.item_ids_, "items")
        self._fitted = self._numbers(model.history_)

    def are_fitted(self, native: Any) -> np.ndarray:
        """Tell of each row of a table whether its pair was there in `fit`, bool (n,)."""
        return np.asarray(np.isin(self._numbers(native), self._fitted))

    def _numbers(self, native: Any) -> np.ndarray:
        """Number the pairs of a table, int64 (n,): -1 where the model does not know the user or the item."""
        rows = frames.table(native, "--data")
        users = self._users.encode(frames.column(rows, self._user_col, "--data")).astype(np.int64)
        items = self._items.encode(frames.column(rows, self._item_col, "--data")).astype(np.int64)
        return np.where((users >= 0) & (items >= 0), users * self._items.size + items, -1)


def popularity_like(model: Any, interactions: Any) -> Any:
    """Fit the baseline on the same columns, with the same idea of a positive."""
    columns = {"user_col": model.user_col, "item_col": model.item_col}
    if model.rating_col in frames.table(interactions, "train").columns:
        columns["rating_col"] = model.rating_col
    options = {"min_rating": model.min_rating} if "rating_col" in columns else {}
    return tt.Popularity(**columns, **options, n_jobs=model.n_jobs).fit(interactions)


def compare(model: Any, train: Any, test: Any, metrics: Sequence[str]) -> str:
    """Measure popularity and the model on the same users.

    Returns
    -------
    str
        A table, one row a model, and a line that says over whom the means are taken.
    """
    baseline = popularity_like(model, train)
    models = {"Popularity": baseline, type(model).__name__: model}
    columns = rows_of(tt.evaluate(models, test, metrics, n_jobs=model.n_jobs))
    users, _, unknown = (columns.pop(name)[0] for name in ("users", "users_without_test_items", "unknown_users"))
    notes = [f"means over {users:,} test users, of {len(model.item_ids_):,} items"]
    notes += [f"{unknown:,} test users have nothing in the training part and are left out"] if unknown else []
    return f"{table(columns)}\n({'; '.join(notes)})"
