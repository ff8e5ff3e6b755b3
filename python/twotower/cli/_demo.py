"""`twotower demo`: the main job once, from ratings to lists, with its figures beside those of popularity."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import twotower as tt
from twotower import frames
from twotower.cli._commands import Commands, add_command, add_threads, check_target
from twotower.cli._cutting import cut
from twotower.cli._data import Data, add_data_options, read_data, read_titles
from twotower.cli._evaluate import METRICS, compare, popularity_like
from twotower.cli._lists import with_titles, write_csv
from twotower.cli._text import clip, rows_of, table
from twotower.cli._train import column_options
from twotower.errors import DataError
from twotower.vocabulary import Vocabulary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Ratings of a demo, unless others are asked for: all of ml-1m, those of some users of the larger sets.
_MOST_RATINGS = 1_200_000
# A user's newest ratings for the test, and those before them for the validation.
_TEST_ROWS, _VALID_ROWS = 5, 2
_PATIENCE = 3
_LISTED = 5
_TITLE_WIDTH = 48


def add_demo(commands: Commands) -> None:
    parser = add_command(
        commands,
        "demo",
        _demo,
        summary="fit, measure, recommend and draw, on MovieLens or made-up data",
        about="Takes some seconds, up to a minute with a large set, of which it takes some users only.",
        examples="""
            twotower demo
            twotower demo --data ml-100k.zip --output movies
        """,
    )
    output = "folder for a picture, lists and the model (default: demo-output)"
    parser.add_argument("--output", default="demo-output", metavar="DIR", help=output)
    ratings = f"take about so many ratings, those of users drawn at random; 0 takes all (default: {_MOST_RATINGS})"
    parser.add_argument("--ratings", type=int, default=_MOST_RATINGS, metavar="N", help=ratings)
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the data (default: chosen from the data)")
    parser.add_argument("--random-state", type=int, default=0, metavar="SEED", help="seed (default: 0)")
    add_threads(parser)
    add_data_options(parser, required=False, what="what to learn from, instead of made-up data")


@dataclass(frozen=True)
class _Parts:
    """The ratings of the demo, cut."""

    train: Any
    valid: Any
    test: Any


def _demo(args: argparse.Namespace) -> None:
    figure = _new_figure()  # what may be missing is missed before the work, not after it
    folder = _make_folder(args.output)
    names = {"user": args.user_col, "item": args.item_col, "rating": args.rating_col, "time": args.time_col}
    if args.data:
        data = read_data(args.data, users=args.users, items=args.items, columns=names)
    else:
        data = _made_up(args.random_state)
    data = _show_data(data, args.ratings, args.random_state)
    parts = _cut(data, args.random_state)
    model = _fit(args, data, parts)
    _head("Metrics on the test part")
    print(compare(model, parts.train, parts.test, METRICS))
    _show_users(data, model, parts)
    _show_neighbors(data, model, parts)
    _write_files(folder, data, model, parts, figure, args.data)


def _new_figure() -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("demo: matplotlib is not installed; run pip install 'twotower[plot]'") from error
    return Figure(figsize=(11, 4.2), layout="constrained")


def _make_folder(name: str) -> Path:
    folder = Path(name).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--output: the folder {name!r} cannot be made ({error.strerror}); name another one") from error
    check_target("--output", folder / "model.twotower")
    return folder


def _made_up(random_state: int) -> Data:
    data = tt.datasets.synthetic(random_state=random_state)
    titles = read_titles(data.items, "item_id", "title")
    columns = ("user_id", "item_id", "rating", "timestamp")
    return Data("made-up data", data.ratings, data.users, data.items, *columns, titles)


# --- steps ------------------------------------------------------------------------------------------------------------


def _show_data(data: Data, most: int, random_state: int) -> Data:
    """Say what there is, and of a large set take some users, so that the demo stays short."""
    _head("Data")
    counts = {name: len(rows) for name, rows in (("users", data.users), ("items", data.items)) if rows is not None}
    tables = "".join(f", a table of {number:,} {name}" for name, number in counts.items())
    total = len(data.ratings)
    print(f"{data.name}: {total:,} ratings{tables}", flush=True)
    if not 0 < most < total:
        return data
    ratings = frames.table(data.ratings, "ratings")
    users = frames.column(ratings, data.user_col, "ratings")
    known = Vocabulary.fit(users, f"demo: {data.user_col!r} of ratings")
    chosen = np.random.Generator(np.random.PCG64(random_state)).random(known.size) < most / total
    ratings = frames.take(ratings, np.flatnonzero(chosen[known.encode(users)]))
    print(
        f"To be short: those of {chosen.sum():,} of its {known.size:,} users, drawn at random, {len(ratings):,} ratings"
    )
    return replace(data, ratings=ratings.to_native(), users=_those(data, known.decode(np.flatnonzero(chosen))))


def _those(data: Data, users: Any) -> Any:
    """Return the rows of some users in the table of users: the others would be learned as people without ratings."""
    if data.users is None:
        return None
    everyone = frames.table(data.users, "users")
    rows = Vocabulary.fit(users, "users").encode(frames.column(everyone, data.user_col, "users"))
    return frames.take(everyone, np.flatnonzero(rows >= 0)).to_native()


def _cut(data: Data, random_state: int) -> _Parts:
    by_time = data.time_col is not None
    kind, for_test, for_valid = ("leave_last", _TEST_ROWS, _VALID_ROWS) if by_time else ("random", 0.1, 0.05)
    train, valid, test, _ = cut("demo", data, kind=kind, test=for_test, valid=for_valid, random_state=random_state)
    if not len(test) or not len(valid):
        raise DataError(
            f"demo: no user of {data.name} has more than {_TEST_ROWS + _VALID_ROWS} ratings, which leaves nothing to "
            "test on; use 'twotower train'"
        )
    rows = f"Rows: {len(train):,} to learn from, {len(valid):,} to choose by, {len(test):,} to test on."
    if by_time:
        print(
            f"Of each user, the newest {_TEST_ROWS} ratings are the test and the {_VALID_ROWS} before them choose the best\n"
            f"epoch; the model learns from the others. {rows}\n"
            "So nobody is judged by what is older than what was learned of that person. Other people's\n"
            "later ratings are learned from, though, which flatters every figure below a little;\n"
            "'twotower train --split time --test 0.2' looks at nobody's future."
        )
    else:
        print(
            f"There are no times, so the parts are drawn at random. {rows}\n"
            "A service has to look ahead and would see lower figures."
        )
    return _Parts(train, valid, test)


def _fit(args: argparse.Namespace, data: Data, parts: _Parts) -> Any:
    _head("Training")
    options = {} if args.epochs is None else {"epochs": args.epochs}
    options.update(patience=_PATIENCE, random_state=args.random_state, n_jobs=args.threads)
    model = tt.TwoTower(**column_options(data), **options)
    started = time.perf_counter()
    model.fit(parts.train, users=data.users, items=data.items, eval_set=parts.valid)
    seconds = time.perf_counter() - started
    epochs = len(rows_of(model.learning_curve_)["epoch"])
    print(f"{epochs} epochs in {seconds:.1f} s; epoch {model.best_epoch_}, the best on the validation part, is kept")
    return model


def _show_users(data: Data, model: Any, parts: _Parts) -> None:
    _head("Lists for three users")
    print(f"(* is one of the {'newest ratings' if data.time_col else 'ratings'} that were kept for the test)")
    users = frames.ids(model.user_ids_, "users").tolist()
    held_out = _rows_by_user(data, model, parts.test)
    learned = _rows_by_user(data, model, parts.train)
    for row in _three(learned, held_out):
        liked = [_title(data, item) for item in _best_rated(data, parts.train, learned[row])]
        found = rows_of(model.recommend([users[row]], k=_LISTED))
        items = found[data.item_col]
        kept = set(_values(parts.test, data.item_col, held_out[row]))
        marks = ["*" if item in kept else "" for item in items]
        print(f"\nuser {users[row]}, {len(learned[row])} ratings learned from\n  liked {'; '.join(liked)}")
        print(_indent(table({"rank": found["rank"], "": marks, **_named(data, items), "score": found["score"]})))


def _show_neighbors(data: Data, model: Any, parts: _Parts) -> None:
    column = frames.column(frames.table(parts.train, "train"), data.item_col, "train")
    rows = Vocabulary.fit(model.item_ids_, "items").encode(column)
    item = frames.ids(model.item_ids_, "items").tolist()[int(np.argmax(np.bincount(rows)))]
    _head(f"Most like {_title(data, item)}, which has the most ratings")
    found = rows_of(model.similar_items([item], k=_LISTED))
    similar = found[f"similar_{data.item_col}"]
    print(_indent(table({"rank": found["rank"], **_named(data, similar), "cosine": found["score"]})))


def _write_files(folder: Path, data: Data, model: Any, parts: _Parts, figure: Figure, path: str | None) -> None:
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.06})
    tt.plotting.learning_curve(model, ax=left)
    models = {"TwoTower": model, "Popularity": popularity_like(model, parts.train)}
    tt.plotting.recall_curves(models, parts.test, ax=right)
    figure.savefig(folder / "curves.png", dpi=150)
    lists = rows_of(model.recommend(k=10))
    write_csv(folder / "recommendations.csv", with_titles(lists, data.item_col, data.titles))
    model.save(folder / "model.twotower")

    _head("Files")
    titles = f" --data {path}" if path else ""
    command = f"twotower recommend {folder / 'model.twotower'} --user {lists[data.user_col][0]}{titles}"
    texts = {
        "curves.png": "the learning curve, and recall@k for k from 1 to 100",
        "recommendations.csv": f"10 items for each of {len(model.user_ids_):,} users",
        "model.twotower": "the model",
    }
    width = max(len(str(folder / name)) for name in texts)
    for name, text in texts.items():
        print(f"{folder / name!s:<{width}}  {text}")
    print(f"\nnext: {command}")


# --- users and titles -------------------------------------------------------------------------------------------------


def _rows_by_user(data: Data, model: Any, part: Any) -> list[np.ndarray]:
    """Return the positions of each user's rows in a table, in the order of the model's users."""
    users = Vocabulary.fit(model.user_ids_, "users")
    rows = users.encode(frames.column(frames.table(part, "ratings"), data.user_col, "ratings"))
    order = np.argsort(rows, kind="stable")
    # In front of the first border are the rows of users that the model does not know.
    return np.split(order, np.searchsorted(rows[order], np.arange(users.size + 1)))[1:-1]


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


# --- layout -----------------------------------------------------------------------------------------------------------


def _head(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
