"""Quality of the lists on public data: the two-tower with its defaults, popularity and a strong linear model in one table.

What is measured
    Full ranking over the whole catalogue, one figure a user, averaged over the users with test items (micro recall: over test
    rows). Equal scores are ranked by the smaller item row. The two-tower runs with the defaults of the package, `random_state` =
    the seed; a figure is the mean over the seeds, with the largest less the smallest in brackets.

    - ml-100k   TFRS tutorial protocol: random 80,000 / 20,000 rows (a split a seed), every rating a positive; share of test rows
                within the first k, once without the user's training items in the list, once with them
    - m1        Movielens1M_m1, the LCFN split: recall@20 and ndcg@20, training items left out
    - gowalla   the LightGCN split: the same figures
    - ml-1m     by global time: 80 % training, 10 % validation, 10 % test rows; ratings from 4 are positives; users with at
                least 5 training rows, whose training rows of any rating are left out; with and without features

    The linear models are written out here in numpy and scipy, apart from the package: EASE (Steck 2019, "Embarrassingly shallow
    autoencoders for sparse data", equation 8), and for catalogues too large for its matrix inverse GF-CF (Shen et al. 2021, "How
    powerful is graph convolution for recommendation?") with that paper's rank and share. Their penalties are fixed, not
    chosen here. The metrics are written a second time too: popularity is measured both ways, and a difference ends the program
    (not for Gowalla, where ties at the end of a list are left to chance).

How to run
    python benchmarks/quality.py                          ml-100k, m1 and ml-1m, 3 seeds
    python benchmarks/quality.py --cases gowalla          long
    python benchmarks/quality.py --quick                  ml-100k, one seed
    python benchmarks/quality.py --part valid             choose settings here, never on test
    python benchmarks/quality.py --cases m1 --set dim=128 --set temperature=0.2

    The archives are read from ../shared/data, or the folder named by --data: ml-100k.zip and ml-1m-rebuilt.zip (or ml-1m.zip) as
    GroupLens publishes them, reczoo-movielens1m_m1.zip, gowalla-lightgcn.zip. A case whose archive is not there is skipped.
"""

from __future__ import annotations

import argparse
import ast
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import _common as common
import twotower as tt
from _reference import LARGEST_EASE, Measure, Reference, Split, ease, low_pass, popularity, sparse

pd = common.optional_module("pandas")

# --- the protocols ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A protocol: where its data is, how it is cut for a seed, what is reported, what others report."""

    title: str
    archives: Sequence[str]
    read: Callable[[Path], Any]
    split: Callable[[Any, int, str], Split]
    measures: Sequence[Measure]
    ease_penalty: float
    split_by_seed: bool = False
    published: Sequence[tuple[str, Sequence[str]]] = ()
    aim: str = ""


def _read_movielens(name: str) -> Callable[[Path], Any]:
    return lambda archive: tt.datasets.movielens(name, path=archive, kind="pandas")


def _read_adjacency(folder: str) -> Callable[[Path], Any]:
    def read(archive: Path) -> tuple[Any, Any]:
        parts = (common.adjacency(archive, f"{folder}/{part}.txt") for part in ("train", "test"))
        train, test = (pd.DataFrame({"user_id": users, "item_id": items}) for users, items in parts)
        return train, test

    return read


def _valid_of(train: Any, part: str, test: Any) -> tuple[Any, Any]:
    """Training and measured rows: for validation a random tenth of the training rows, and the test rows are not looked at."""
    return tt.split.random(train, test=0.1, random_state=7) if part == "valid" else (train, test)


def _split_100k(data: Any, seed: int, part: str) -> Split:
    order = np.random.default_rng(seed).permutation(len(data.ratings))
    train, test = data.ratings.iloc[order[:80_000]], data.ratings.iloc[order[80_000:]]
    return Split(*_valid_of(train, part, test))


def _split_given(data: Any, seed: int, part: str) -> Split:
    train, test = data
    return Split(*_valid_of(train, part, test))


def _split_by_time(data: Any, seed: int, part: str) -> Split:
    train, valid, test = tt.split.time(data.ratings, valid=0.1, test=0.1)
    rows = train["user_id"].value_counts()
    measured = valid if part == "valid" else test
    measured = measured[measured["user_id"].isin(rows.index[rows >= 5]) & (measured["rating"] >= 4)]
    return Split(train, measured, {"rating_col": "rating", "min_rating": 4}, data.users, data.items)


RECALL_NDCG_20 = (Measure("recall@20", "recall@20"), Measure("ndcg@20", "ndcg@20"))
CASES = {
    "ml-100k": Case(
        "ml-100k, random 80,000 / 20,000 rows",
        ("ml-100k.zip",),
        _read_movielens("ml-100k"),
        _split_100k,
        (
            Measure("top-10, masked", "micro_recall@10"),
            Measure("top-100, masked", "micro_recall@100"),
            Measure("top-100, not masked", "micro_recall@100", filter_seen=False),
        ),
        ease_penalty=200,
        split_by_seed=True,
        published=[
            ("TFRS basic retrieval tutorial, published", ("-", "-", ".2325")),
            ("its best deep tower, published", ("-", "-", ".30")),
        ],
        aim="top-10 .174 and top-100 .633 masked, top-100 .41 not masked",
    ),
    "m1": Case(
        "Movielens1M_m1",
        ("reczoo-movielens1m_m1.zip",),
        _read_adjacency("Movielens1M_m1"),
        _split_given,
        RECALL_NDCG_20,
        ease_penalty=500,
        published=[
            ("LightGCN, published", (".2576", ".2427")),
            ("UltraGCN, published", (".2787", ".2642")),
            ("SimpleX d 128, published", (".2802", ".2669")),
        ],
        aim="recall@20 .2797 and ndcg@20 .2674",
    ),
    "gowalla": Case(
        "Gowalla, LightGCN split",
        ("gowalla-lightgcn.zip",),
        _read_adjacency("gowalla"),
        _split_given,
        RECALL_NDCG_20,
        ease_penalty=500,
        published=[
            ("YouTubeNet, published by SimpleX", (".1754", ".1473")),
            ("LightGCN, published", (".1830", ".1554")),
            ("UltraGCN, published", (".1862", ".1580")),
            ("SimpleX, published", (".1872", ".1557")),
        ],
        aim="recall@20 .1849 and ndcg@20 .1563 with ids only",
    ),
    "ml-1m": Case(
        "ml-1m by global time, ratings from 4",
        ("ml-1m.zip", "ml-1m-rebuilt.zip"),
        _read_movielens("ml-1m"),
        _split_by_time,
        (Measure("recall@10", "recall@10"), Measure("ndcg@10", "ndcg@10")),
        ease_penalty=500,
        aim="recall@10 .095; a plain count over returning users has .082",
    ),
}


# --- a table ----------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """Figures of one model, one list a seed, and what fitting took."""

    figures: list[list[float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def cells(self) -> list[str]:
        columns = [_mean_and_spread(values) for values in zip(*self.figures, strict=True)]
        return [*columns, f"{np.mean(self.seconds):.1f}", f"{np.mean(self.cpu_seconds):.1f}"]


def _mean_and_spread(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.4f}".removeprefix("0")
    return mean if len(values) == 1 else f"{mean} ({max(values) - min(values):.4f})".replace("(0.", "(.")


def timed(row: Row, fit: Callable[[], Any]) -> Any:
    wall, cpu = time.perf_counter(), time.process_time()
    model = fit()
    row.seconds.append(time.perf_counter() - wall)
    row.cpu_seconds.append(time.process_time() - cpu)
    return model


def measure(model: Any, split: Split, measures: Sequence[Measure]) -> list[float]:
    figures = {}
    for filter_seen in {measure.filter_seen for measure in measures}:
        names = [measure.metric for measure in measures if measure.filter_seen == filter_seen]
        table = tt.evaluate(model, split.test, names, filter_seen=filter_seen)
        figures.update({(name, filter_seen): float(table[name].iloc[0]) for name in names})
    return [figures[measure.metric, measure.filter_seen] for measure in measures]


def references(case: Case, split: Split, rows: dict[str, Row]) -> None:
    reference = Reference(split)
    row = rows.setdefault("popularity", Row())
    model = timed(row, lambda: tt.Popularity(**split.options).fit(split.train))
    row.figures.append(measure(model, split, case.measures))
    if reference.shape[1] <= LARGEST_EASE:
        again = reference.measure(popularity(reference), case.measures)
        if not np.allclose(row.figures[-1], again, rtol=0, atol=1e-9):
            raise SystemExit(
                f"{case.title}: popularity has {row.figures[-1]} by evaluate, but {again} by the metrics of this program"
            )
        row = rows.setdefault(f"EASE, lambda {case.ease_penalty:g} (numpy)", Row())
        scores_of = timed(row, lambda: ease(reference, case.ease_penalty))
    elif sparse is not None:
        row = rows.setdefault("GF-CF, rank 256 (scipy)", Row())
        scores_of = timed(row, lambda: low_pass(reference))
    else:
        return
    row.figures.append(reference.measure(scores_of, case.measures))


def variants(split: Split) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the two-tower is given beside the interactions."""
    yield "TwoTower, ids only", {}
    if split.items is not None:
        yield "TwoTower, with features", {"users": split.users, "items": split.items}


def run(case: Case, data: Any, options: argparse.Namespace) -> common.Table:
    rows: dict[str, Row] = {}
    for place, seed in enumerate(options.seeds):
        split = case.split(data, seed, options.part)
        if place == 0 or case.split_by_seed:
            references(case, split, rows)
        for name, tables in variants(split):
            row = rows.setdefault(name, Row())
            model = tt.TwoTower(random_state=seed, verbose=options.verbose, **split.options, **options.settings)
            timed(row, lambda model=model, tables=tables, split=split: model.fit(split.train, **tables))
            row.figures.append(measure(model, split, case.measures))
    table = common.Table(
        f"{case.title}: {len(split.train):,} training and {len(split.test):,} {options.part} rows, seeds {options.seeds}",
        ["model", *(measure.label for measure in case.measures), "fit, s", "CPU s"],
    )
    for name, row in rows.items():
        table.add(name, *row.cells())
    if options.part == "test":
        for name, figures in case.published:
            table.add(name, *figures, "-", "-")
        if case.aim:
            table.notes.append(f"aim: {case.aim}")
    return table


# --- the program ------------------------------------------------------------------------------------------------------


def setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=value")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def main() -> None:
    parser = common.argument_parser(__doc__)
    parser.add_argument(
        "--data", type=Path, default=common.DATA, help="folder of the archives (default: ../shared/data)"
    )
    parser.add_argument(
        "--cases",
        nargs="+",
        choices=list(CASES),
        default=["ml-100k", "m1", "ml-1m"],
        metavar="CASE",
        help=", ".join(CASES),
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED")
    parser.add_argument(
        "--part", choices=["test", "valid"], default="test", help="what to measure on (default %(default)s)"
    )
    parser.add_argument(
        "--set",
        dest="settings",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of TwoTower other than its default",
    )
    parser.add_argument("--verbose", type=int, default=0, help="of TwoTower")
    options = parser.parse_args()
    options.settings = dict(options.settings)
    if options.quick:
        options.cases, options.seeds = ["ml-100k"], [0]

    report = common.Report("Quality", options.markdown)
    if pd is None:
        raise SystemExit("This program needs pandas; install it with: pip install pandas")
    report.machine(common.machine(["pandas", "scipy"]))
    settings = ", ".join(f"{name}={value!r}" for name, value in options.settings.items())
    report.note(f"TwoTower with {settings}." if settings else "TwoTower with its defaults.")
    for name in options.cases:
        case = CASES[name]
        archives = [options.data / archive for archive in case.archives if (options.data / archive).exists()]
        if not archives:
            report.note(
                f"{case.title}: skipped, since {' or '.join(case.archives)} is not in {options.data}; name the folder with --data."
            )
            continue
        report.table(run(case, case.read(archives[0]), options))


if __name__ == "__main__":
    main()
