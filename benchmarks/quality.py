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

    The linear models are written out here in numpy, apart from the package: EASE (Steck 2019, "Embarrassingly shallow
    autoencoders for sparse data", equation 8), and for catalogues too large for its matrix inverse RP3beta (Paudel et al. 2016,
    "Updatable, accurate, diverse, and scalable recommendations for interactive applications"). The metrics
    are written here a second time too: popularity is measured both ways, and a difference ends the program.

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

import _common as common
import numpy as np

import twotower as tt

pd = common.optional_module("pandas")
sparse = common.optional_module("scipy.sparse")

LARGEST_EASE = 20_000  # items; the inverse of a matrix of that size takes 6 GB and minutes
QUEUE = 1024  # users a pass


# --- the protocols ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """One column: a metric of the package, and whether the training items stay out of the lists."""

    label: str
    metric: str
    filter_seen: bool = True


@dataclass(frozen=True)
class Split:
    """What one run fits and measures."""

    train: Any
    test: Any
    options: dict[str, Any] = field(default_factory=dict)
    users: Any = None
    items: Any = None


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
        published=[("TFRS basic retrieval tutorial, published", ("-", "-", ".2325")), ("its best deep tower, published", ("-", "-", ".30"))],
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


# --- the second opinion: metrics and linear models in numpy -----------------------------------------------------------


class Reference:
    """The protocol on dense rows of scores, apart from the package."""

    def __init__(self, split: Split) -> None:
        train, test = split.train, split.test
        self._users, user_rows = np.unique(train["user_id"].to_numpy(), return_inverse=True)
        self._items, item_rows = np.unique(train["item_id"].to_numpy(), return_inverse=True)
        shape = len(self._users), len(self._items)
        positive = np.ones(len(train), dtype=bool)
        if "min_rating" in split.options:
            positive = (train[split.options["rating_col"]] >= split.options["min_rating"]).to_numpy()
        self.seen = _rows_of(user_rows, item_rows, shape[0])
        self.positives = _rows_of(user_rows[positive], item_rows[positive], shape[0])
        self.shape = shape

        pairs = test[["user_id", "item_id"]].drop_duplicates()
        pairs = pairs[pairs["user_id"].isin(self._users)]
        test_users = np.searchsorted(self._users, pairs["user_id"].to_numpy())
        places = np.minimum(np.searchsorted(self._items, pairs["item_id"].to_numpy()), shape[1] - 1)
        known = self._items[places] == pairs["item_id"].to_numpy()
        self._count = np.bincount(test_users, minlength=shape[0])
        self._relevant = _rows_of(test_users[known], places[known], shape[0])
        self._measured = np.flatnonzero(self._count)

    def dense(self, lists: Sequence[np.ndarray], users: np.ndarray | slice = slice(None)) -> np.ndarray:
        """float32 (users, items): 1 where the list of the user has the item."""
        chosen = np.arange(self.shape[0])[users]
        matrix = np.zeros((len(chosen), self.shape[1]), dtype=np.float32)
        for row, user in enumerate(chosen):
            matrix[row, lists[user]] = 1
        return matrix

    def measure(self, scores_of: Callable[[np.ndarray], np.ndarray], measures: Sequence[Measure]) -> list[float]:
        """The figures of a model that gives fresh scores float (users, items) for users (rows)."""
        sums = np.zeros(len(measures))
        divisors = np.zeros(len(measures))
        for begin in range(0, len(self._measured), QUEUE):
            users = self._measured[begin : begin + QUEUE]
            scores = scores_of(users)
            relevant = self.dense(self._relevant, users) > 0
            # Lists with seen items first, since leaving them out changes the scores.
            for filter_seen in (False, True):
                chosen = [place for place, measure in enumerate(measures) if measure.filter_seen == filter_seen]
                if not chosen:
                    continue
                if filter_seen:
                    scores[self.dense(self.seen, users) > 0] = -np.inf
                depth = max(_parse(measures[place].metric)[1] for place in chosen)
                hits = np.take_along_axis(relevant, _best(scores, depth), axis=1)
                for place in chosen:
                    total, divisor = _figure(measures[place].metric, hits, self._count[users])
                    sums[place] += total
                    divisors[place] += divisor
        return list(sums / divisors)


def _rows_of(rows: np.ndarray, values: np.ndarray, count: int) -> list[np.ndarray]:
    order = np.argsort(rows, kind="stable")
    return np.split(values[order], np.searchsorted(rows[order], np.arange(1, count)))


def _best(scores: np.ndarray, depth: int) -> np.ndarray:
    """Columns of the largest values, equal ones by the smaller column; in large catalogues ties at the end are left to chance."""
    if scores.shape[1] <= LARGEST_EASE:
        return np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    columns = np.sort(np.argpartition(-scores, depth, axis=1)[:, :depth], axis=1)
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def _parse(metric: str) -> tuple[str, int]:
    name, _, cutoff = metric.partition("@")
    return name, int(cutoff)


def _figure(metric: str, hits: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Sum over users and what to divide all sums by."""
    name, cutoff = _parse(metric)
    hits = hits[:, :cutoff]
    if name == "micro_recall":
        return float(hits.sum()), float(counts.sum())
    if name == "recall":
        return float((hits.sum(axis=1) / counts).sum()), float(len(counts))
    if name == "ndcg":
        gains = 1 / np.log2(np.arange(cutoff) + 2)
        ideal = np.cumsum(gains)[np.minimum(counts, cutoff) - 1]
        return float((hits @ gains / ideal).sum()), float(len(counts))
    raise ValueError(f"_figure: metric is {metric!r}, but must be micro_recall, recall or ndcg")


def popularity(reference: Reference) -> Callable[[np.ndarray], np.ndarray]:
    counts = np.bincount(np.concatenate(reference.positives), minlength=reference.shape[1]).astype(np.float64)
    return lambda users: np.tile(counts, (len(users), 1))


def ease(reference: Reference, penalty: float) -> Callable[[np.ndarray], np.ndarray]:
    """scores = X B, B = I - P / diag(P), P = (X^T X + penalty I)^-1."""
    gram = np.zeros((reference.shape[1], reference.shape[1]))
    for begin in range(0, reference.shape[0], QUEUE):
        block = reference.dense(reference.positives, slice(begin, begin + QUEUE))
        gram += block.T @ block
    gram[np.diag_indices_from(gram)] += penalty
    inverse = np.linalg.inv(gram)
    weights = (-inverse / np.diag(inverse)).astype(np.float32)
    np.fill_diagonal(weights, 0)
    return lambda users: reference.dense(reference.positives, users) @ weights


def rp3beta(reference: Reference, beta: float = 0.6, neighbors: int = 200) -> Callable[[np.ndarray], np.ndarray]:
    """scores = X W, W = Q^T P less its diagonal, P and Q^T steps of a random walk, columns divided by popularity^beta."""
    sizes = [len(items) for items in reference.positives]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    columns = np.concatenate(reference.positives)
    x = sparse.csr_matrix((np.ones(len(columns), dtype=np.float32), columns, offsets), shape=reference.shape)
    from_user = sparse.diags(1 / np.maximum(np.diff(offsets), 1).astype(np.float32)) @ x
    counts = np.maximum(np.bincount(columns, minlength=reference.shape[1]), 1).astype(np.float32)
    from_item = (sparse.diags(1 / counts) @ x.T).tocsr()
    parts = []
    for begin in range(0, reference.shape[1], QUEUE):
        block = (from_item[begin : begin + QUEUE] @ from_user).toarray() / counts**beta
        rows = np.arange(len(block))
        block[rows, begin + rows] = 0
        smallest = np.partition(block, -neighbors, axis=1)[:, -neighbors][:, None]
        block[block < smallest] = 0
        parts.append(sparse.csr_matrix(block))
    weights = sparse.vstack(parts).tocsr()
    return lambda users: (x[users] @ weights).toarray()


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
            raise SystemExit(f"{case.title}: popularity has {row.figures[-1]} by evaluate, but {again} by the metrics of this program")
        row = rows.setdefault(f"EASE, lambda {case.ease_penalty:g} (numpy)", Row())
        scores_of = timed(row, lambda: ease(reference, case.ease_penalty))
    elif sparse is not None:
        row = rows.setdefault("RP3beta, beta .6 (scipy)", Row())
        scores_of = timed(row, lambda: rp3beta(reference))
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
    parser.add_argument("--data", type=Path, default=common.DATA, help="folder of the archives (default: ../shared/data)")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=["ml-100k", "m1", "ml-1m"], metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--part", choices=["test", "valid"], default="test", help="what to measure on (default %(default)s)")
    parser.add_argument("--set", dest="settings", type=setting, action="append", default=[], metavar="NAME=VALUE", help="an option of TwoTower other than its default")
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
            report.note(f"{case.title}: skipped, since {' or '.join(case.archives)} is not in {options.data}; name the folder with --data.")
            continue
        report.table(run(case, case.read(archives[0]), options))


if __name__ == "__main__":
    main()
