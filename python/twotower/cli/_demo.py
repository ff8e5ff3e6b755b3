"""`twotower demo`: the main job once, from ratings to lists, with its figures beside those of popularity."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import twotower as tt
from twotower import frames
from twotower.cli._commands import Commands, add_command, add_threads
from twotower.cli._cutting import cut
from twotower.cli._data import Data, add_data_options, read_data, read_titles
from twotower.cli._lists import with_titles, write_csv
from twotower.cli._text import clip, rows_of, say, table
from twotower.cli._training import METRICS, column_options, compare, popularity_like
from twotower.errors import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A user's newest ratings for the test, and those before them for the validation.
_TEST_ROWS, _VALID_ROWS = 5, 2
_LISTED = 5
_TITLE_WIDTH = 48


def add_demo(commands: Commands) -> None:
    parser = add_command(
        commands,
        "demo",
        _demo,
        summary="fit, measure, recommend and draw, on a MovieLens set or on made-up ratings",
        about="Takes under a minute on two CPUs with ml-100k or without --data; larger sets take longer.",
        examples="""
            twotower demo
            twotower demo --data ml-100k.zip --output movies
        """,
    )
    parser.add_argument("--output", default="demo-output", metavar="DIR", help="folder for the files (default: demo-output)")
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the data (default: chosen from the data)")
    parser.add_argument("--random-state", type=int, default=0, metavar="SEED", help="seed (default: 0)")
    add_threads(parser)
    add_data_options(parser, required=False, what="what to learn from, instead of made-up ratings")


@dataclass(frozen=True)
class _Parts:
    """The ratings of the demo, cut."""

    train: Any
    valid: Any
    test: Any


def _demo(args: argparse.Namespace) -> None:
    from matplotlib.figure import Figure  # before the work, not after it

    folder = _make_folder(args.output)
    data = read_data(args) if args.data else _made_up(args.random_state)
    parts = _cut(data, args.random_state)
    model = _fit(args, data, parts)
    print(compare(data, model, parts.train, parts.test, METRICS), flush=True)
    _show_users(data, model, parts)
    _show_neighbors(data, model, parts)
    _write_files(folder, data, model, parts, Figure(figsize=(11, 4.2), layout="constrained"))


def _make_folder(name: str) -> Path:
    folder = Path(name).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"demo: the folder {name!r} cannot be made ({error.strerror}); name another with --output"
        ) from error
    return folder


def _made_up(random_state: int) -> Data:
    data = tt.datasets.synthetic(random_state=random_state)
    titles = read_titles(data.items, "item_id", "title")
    return Data(
        "made-up ratings", data.ratings, data.users, data.items, "user_id", "item_id", "rating", "timestamp", titles
    )


def _cut(data: Data, random_state: int) -> _Parts:
    counts = {name: len(rows) for name, rows in (("users", data.users), ("items", data.items)) if rows is not None}
    tables = "".join(f", a table of {number:,} {name}" for name, number in counts.items())
    _head("Data")
    print(f"{data.name}: {len(data.ratings):,} ratings{tables}")
    if data.time_col:
        train, valid, test, _ = cut(
            "demo", data, kind="leave_last", test=_TEST_ROWS, valid=_VALID_ROWS, random_state=random_state
        )
        print(
            f"Each user's {_TEST_ROWS} newest ratings are the test, the {_VALID_ROWS} before them choose the best epoch, and the\n"
            f"model learns from the rest: {len(train):,} / {len(valid):,} / {len(test):,} rows. Nobody is judged by what is older\n"
            "than what was learned of him or her. Other people's later ratings are learned from, though,\n"
            "which flatters all the figures below; 'twotower train --split time --test 0.2' has no such leak."
        )
    else:
        train, valid, test, _ = cut("demo", data, kind="random", test=0.1, valid=0.05, random_state=random_state)
        print(
            "There are no times, so the test is a tenth of the rows, drawn at random, and a twentieth chooses\n"
            f"the best epoch: {len(train):,} / {len(valid):,} / {len(test):,} rows. A service, which has to look ahead, would see lower figures."
        )
    if not len(test) or not len(valid):
        raise DataError(
            f"demo: no user of {data.name} has more than {_TEST_ROWS + _VALID_ROWS} ratings, so there is nothing to test on; "
            "use 'twotower train'"
        )
    return _Parts(train, valid, test)


def _fit(args: argparse.Namespace, data: Data, parts: _Parts) -> Any:
    _head("Training")
    options = {} if args.epochs is None else {"epochs": args.epochs}
    model = tt.TwoTower(**column_options(data, None), **options, random_state=args.random_state, n_jobs=args.threads)
    say("fitting a two-tower model with the features of both tables ...")
    started = time.perf_counter()
    model.fit(parts.train, users=data.users, items=data.items, eval_set=parts.valid)
    seconds = time.perf_counter() - started
    curve = rows_of(model.learning_curve_)
    print(f"{len(curve['epoch'])} epochs in {seconds:.1f} s; kept epoch {model.best_epoch_}, the best on the validation part")
    _head("Metrics on the test part")
    return model


def _show_users(data: Data, model: Any, parts: _Parts) -> None:
    _head("Lists for three users")
    print(f"(* among the {'newest ratings' if data.time_col else 'ratings'} that were kept for the test)")
    users = frames.ids(model.user_ids_, "users").tolist()
    held_out = _items_of_users(data, parts.test, users)
    learned = _items_of_users(data, parts.train, users)
    for row in _three(learned, held_out):
        liked = _best_rated(data, parts.train, learned[row])
        found = rows_of(model.recommend([users[row]], k=_LISTED))
        hits = set(_values(parts.test, data.item_col, held_out[row]))
        items = found[data.item_col]
        print(f"\nuser {users[row]}, {len(learned[row])} ratings learned from; liked {'; '.join(_title(data, item) for item in liked)}")
        marks = ["*" if item in hits else "" for item in items]
        print(_indent(table({"rank": found["rank"], "": marks, **_named(data, items), "score": found["score"]})))


def _show_neighbors(data: Data, model: Any, parts: _Parts) -> None:
    rows = frames.ids(frames.column(frames.table(parts.train, "train"), data.item_col, "train"), "train")
    vocabulary = frames.ids(model.item_ids_, "items").tolist()
    counts = np.bincount(_encode(model.item_ids_, rows), minlength=len(vocabulary))
    item = vocabulary[int(np.argmax(counts))]
    _head(f"Most like {_title(data, item)}, which has the most ratings")
    found = rows_of(model.similar_items([item], k=_LISTED))
    items = found[f"similar_{data.item_col}"]
    print(_indent(table({"rank": found["rank"], **_named(data, items), "cosine": found["score"]})))


def _write_files(folder: Path, data: Data, model: Any, parts: _Parts, figure: Figure) -> None:
    left, right = figure.subplots(1, 2)
    tt.plotting.learning_curve(model, ax=left)
    baseline = popularity_like(model, parts.train)
    tt.plotting.recall_curves({"TwoTower": model, "Popularity": baseline}, parts.test, ax=right)
    figure.savefig(folder / "curves.png", dpi=150)

    lists = with_titles(rows_of(model.recommend(k=10)), data.item_col, data.titles)
    write_csv(folder / "recommendations.csv", lists)
    model.save(folder / "model.twotower")
    _head("Files")
    user = lists[data.user_col][0]
    for name, text in (
        ("curves.png", "the learning curve, and recall@k for k from 1 to 100"),
        ("recommendations.csv", f"10 items for each of {len(model.user_ids_):,} users"),
        ("model.twotower", f"the model; twotower recommend {folder / 'model.twotower'} --user {user}"),
    ):
        print(f"{folder / name!s:<{len(str(folder)) + 21}}  {text}")


# --- ids, titles, users -----------------------------------------------------------------------------------------------


def _encode(known: Any, ids: Any) -> np.ndarray:
    from twotower.features import Vocabulary

    return Vocabulary.fit(known, "ids").encode(ids)


def _items_of_users(data: Data, part: Any, users: Sequence[object]) -> list[np.ndarray]:
    """Return the positions in a table of each user's rows."""
    column = frames.column(frames.table(part, "ratings"), data.user_col, "ratings")
    rows = _encode(users, column)
    order = np.argsort(rows, kind="stable")
    # In front of the first border are the rows of users that the model does not know.
    return np.split(order, np.searchsorted(rows[order], np.arange(len(users) + 1)))[1:-1]


def _three(learned: Sequence[np.ndarray], held_out: Sequence[np.ndarray]) -> list[int]:
    """Choose users of the test: with few, a middling number and many rows to learn from."""
    counts = np.array([len(rows) for rows in learned])
    tested = np.flatnonzero([len(rows) > 0 for rows in held_out])
    tested = tested[np.argsort(counts[tested], kind="stable")]
    places = {int(share * (len(tested) - 1)) for share in (0.25, 0.5, 0.75)}
    return [int(tested[place]) for place in sorted(places)]


def _values(part: Any, column: str, rows: np.ndarray) -> list[Any]:
    return frames.take(frames.column(frames.table(part, "ratings"), column, "ratings"), rows).to_list()


def _best_rated(data: Data, part: Any, rows: np.ndarray) -> list[Any]:
    """Return three items that a user rated highest, the newest of equals."""
    items = _values(part, data.item_col, rows)
    ratings = _values(part, data.rating_col, rows) if data.rating_col else [0] * len(items)
    times = _values(part, data.time_col, rows) if data.time_col else [0] * len(items)
    order = sorted(range(len(items)), key=lambda place: (ratings[place], times[place]), reverse=True)
    return [items[place] for place in order[:3]]


def _title(data: Data, item: object) -> str:
    return clip(data.titles.get(item, f"item {item}"), _TITLE_WIDTH)


def _named(data: Data, items: Sequence[object]) -> dict[str, Sequence[object]]:
    titles = {"title": [clip(data.titles.get(item, ""), _TITLE_WIDTH) for item in items]} if data.titles else {}
    return {data.item_col: items, **titles}


def _head(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
