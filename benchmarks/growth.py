"""How cost grows: time and memory of training with the number of interactions, time of a query with the number of items.

What is measured
    - training   seconds per training example of `tt.TwoTower(...).fit(frame)`, from a frame of ids to a model that can recommend, one
                 epoch (d = 32, 4096 positives a batch arranged by user, 512 drawn items), for 1 to 50 million interactions; and
                 the peak memory of the process (getrusage) less what it held before `fit`, in bytes a pair; the frame itself
                 has 16 (two int64). Each size runs in a process of its own. "flat" is within 20 % of the smallest size.
    - queries    seconds per query of `core.ItemIndex.top_k`, K = 10, d = 64, of 10 thousand to 10 million random items; many queries at
                 once, and one at a time (the mean of several calls); and the bytes of the index an item.

    The interactions are a random Kronecker product of a real matrix, that of MovieLens 1M (1,000,209 pairs), as MLPerf grew
    MovieLens-20M (Belletti et al. 2019, "Scalable realistic recommendation datasets through fractal expansions"). There are g
    copies of the users and 7 of the items; the pair (u, i) of user copy p becomes ((u, p), (i, q)), where q is drawn with a
    probability of (p, q) that falls as 1 / rank over an order of the 7 which is drawn for each p. So the number of pairs is
    exactly g times that of MovieLens 1M, users keep their numbers of pairs, popularity stays skewed, and the catalogue has
    25,942 items at every size: what grows is the number of people and what they did.

How to run
    python benchmarks/growth.py                              about two minutes on two cores, at most 7 GB
    python benchmarks/growth.py --quick                      made-up base, small sizes, seconds
    python benchmarks/growth.py --plot docs/growth.png       draw it too (matplotlib)
    python benchmarks/growth.py --only queries --no-largest  the first half, or without 10 million items
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import _common as common
import _readers as readers
import twotower as tt
from _results import Bar, Result
from twotower._core import core

ITEM_COPIES = 7
FIT = {"dim": 32, "negatives": 512, "batch_size": 4096, "group_size": 16, "epochs": 1, "random_state": 0, "verbose": 0}
PAIR_BYTES = 16
FLAT = 1.2

QUERY_WIDTH, K = 64, 10


# --- generated interactions -------------------------------------------------------------------------------------------


def base_pairs(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Rows of users and of items of the real matrix, int32 (pairs,)."""
    if options.quick:
        return common.made_up_pairs(300, 200, 20_000)
    ratings = readers.movielens_1m(options.data).interactions
    users, items = (
        np.unique(ratings[column], return_inverse=True)[1].astype(np.int32) for column in ("user_id", "item_id")
    )
    return users, items


def expand(users: np.ndarray, items: np.ndarray, user_copies: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ids of the Kronecker product, int64 (user_copies * pairs,), in no order of users or of items."""
    rng = np.random.default_rng(seed)
    num_users, num_items, count = int(users.max()) + 1, int(items.max()) + 1, len(users)
    shares = 1 / np.arange(1, ITEM_COPIES + 1)
    bounds = np.cumsum(shares / shares.sum())[:-1].astype(np.float32)
    all_users, all_items = (np.empty(user_copies * count, dtype=np.int64) for _ in range(2))
    for copy in range(user_copies):
        # Strided, so that copies lie in turns as people do in a log, not one copy behind the other.
        part = slice(copy, None, user_copies)
        drawn = rng.permutation(ITEM_COPIES)[np.searchsorted(bounds, rng.random(count, dtype=np.float32))]
        all_users[part] = users + copy * num_users
        all_items[part] = items + drawn * num_items
    return all_users, all_items


# --- training, one size a process -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fitted:
    """What one process found."""

    pairs: int
    users: int
    items: int
    seconds: float
    cpu: float
    before: int
    peak: int

    @property
    def nanoseconds(self) -> float:
        return self.seconds / self.pairs * 1e9

    @property
    def bytes_a_pair(self) -> float:
        return (self.peak - self.before) / self.pairs


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fit_one(base: Path, user_copies: int) -> Fitted:
    """Grow the pairs, fit, and tell; for a fresh process, whose peak is that of this size."""
    pd = common.optional_module("pandas")
    with np.load(base) as file:
        users, items = expand(file["users"], file["items"], user_copies)
    frame = pd.DataFrame({"user_id": users, "item_id": items}, copy=False)
    del users, items
    before = peak_bytes()
    model = tt.TwoTower(**FIT)
    start, cpu = time.perf_counter(), time.process_time()
    model.fit(frame)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return Fitted(len(frame), len(model.user_ids_), len(model.item_ids_), seconds, cpu, before, peak_bytes())


def fit_in_process(base: Path, user_copies: int) -> Fitted:
    command = [sys.executable, __file__, "--fit", str(base), str(user_copies)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if finished.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {finished.returncode}; see above")
    return Fitted(**json.loads(finished.stdout))


def training(options: argparse.Namespace, folder: Path) -> list[Fitted]:
    users, items = base_pairs(options)
    base = folder / "base.npz"
    np.savez(base, users=users, items=items)
    fit_in_process(base, 1)  # the first process of all also reads the libraries from the disk
    return [fit_in_process(base, copies) for copies in options.copies]


def training_table(found: Sequence[Fitted]) -> common.Table:
    table = common.Table(
        "Training: one fit, one epoch",
        [
            "pairs",
            "users",
            "items",
            "s",
            "ns an example",
            "of the smallest",
            "CPU ns",
            "peak, MB",
            "beyond the frame, bytes a pair",
        ],
    )
    for one in found:
        table.add(
            f"{one.pairs:,}",
            f"{one.users:,}",
            f"{one.items:,}",
            f"{one.seconds:.2f}",
            f"{one.nanoseconds:.0f}",
            f"{one.nanoseconds / found[0].nanoseconds:.2f}",
            f"{one.cpu / one.pairs * 1e9:.0f}",
            f"{one.peak / 1e6:.0f}",
            f"{one.bytes_a_pair:.0f}",
        )
    table.notes.append(
        f"Bytes a pair hold what does not grow with pairs too: between the last two sizes each pair costs {marginal_bytes(found):.0f}."
    )
    return table


def marginal_bytes(found: Sequence[Fitted]) -> float:
    """Bytes beyond the frame for each further pair, between the two largest sizes (users' vectors included)."""
    small, large = found[-2:]
    return ((large.peak - large.before) - (small.peak - small.before)) / (large.pairs - small.pairs)


# --- queries ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Searched:
    """What one catalogue took."""

    items: int
    build: float
    a_query: float  # seconds, many at once
    alone: float  # seconds, one at a time
    index_bytes: int


def item_vectors(count: int) -> np.ndarray:
    """Random rows of lognormal lengths, float32 (count, QUERY_WIDTH); beyond 100,000 those again with their columns turned."""
    rng = np.random.default_rng(1)
    block = rng.standard_normal((min(count, 100_000), QUERY_WIDTH), dtype=np.float32)
    block *= rng.lognormal(0, 0.3, (len(block), 1)).astype(np.float32)
    vectors = np.empty((count, QUERY_WIDTH), dtype=np.float32)
    for turn, begin in enumerate(range(0, count, len(block))):
        part = vectors[begin : begin + len(block)]
        part[:] = np.roll(block, turn // 2, axis=1)[: len(part)] * (1 if turn % 2 == 0 else -1)
    return vectors


def search(count: int, repeats: int) -> Searched:
    vectors = item_vectors(count)
    start = time.perf_counter()
    index = core.ItemIndex(vectors)
    build = time.perf_counter() - start
    del vectors
    # About as much work for each catalogue, and never so few that a query is not one of many.
    num_queries = int(np.clip(2**28 // count, 256, 8192))
    queries = np.random.default_rng(2).standard_normal((num_queries, QUERY_WIDTH), dtype=np.float32)
    single = [np.ascontiguousarray(query[None]) for query in queries[: int(np.clip(2**25 // count, 8, 256))]]
    timings = common.interleave(
        {"all": lambda: index.top_k(queries, K), "alone": lambda: [index.top_k(query, K) for query in single]},
        repeats=repeats,
    )
    return Searched(
        count, build, timings["all"].median / len(queries), timings["alone"].median / len(single), index.memory_bytes
    )


def search_table(found: Sequence[Searched]) -> common.Table:
    table = common.Table(
        f"Queries: K = {K}, d = {QUERY_WIDTH}",
        [
            "items",
            "build, s",
            "us a query",
            "ns a thousand items",
            "one at a time, us",
            "ns a thousand items",
            "index, MB",
            "bytes an item",
        ],
    )
    for one in found:
        table.add(
            f"{one.items:,}",
            f"{one.build:.3f}",
            f"{one.a_query * 1e6:.4g}",
            f"{one.a_query / one.items * 1e12:.0f}",
            f"{one.alone * 1e6:.4g}",
            f"{one.alone / one.items * 1e12:.0f}",
            f"{one.index_bytes / 1e6:.1f}",
            f"{one.index_bytes / one.items:.0f}",
        )
    return table


# --- the picture ------------------------------------------------------------------------------------------------------


def draw(path: Path, fitted: Sequence[Fitted], searched: Sequence[Searched]) -> None:
    matplotlib = common.optional_module("matplotlib")
    if matplotlib is None:
        raise SystemExit("--plot needs matplotlib; install it with: pip install matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(11, 3), constrained_layout=True)
    pairs = np.array([one.pairs for one in fitted])
    _axes(left, "training time", "interactions", "ns an example")
    left.semilogx(pairs, [one.nanoseconds for one in fitted], "o-")
    left.set_ylim(0, 1.4 * max(one.nanoseconds for one in fitted))
    left.axhline(FLAT * fitted[0].nanoseconds, color="gray", linestyle=":", linewidth=1)
    left.annotate("+20 %", (pairs[-1], FLAT * fitted[0].nanoseconds), ha="right", va="bottom", color="gray", fontsize=8)

    _axes(middle, "peak memory", "interactions", "GB")
    middle.loglog(pairs, [one.peak / 1e9 for one in fitted], "o-", label="process")
    middle.loglog(pairs, pairs * PAIR_BYTES / 1e9, color="gray", linestyle=":", label="the frame's two columns")
    middle.legend(frameon=False, fontsize=8)

    items = np.array([one.items for one in searched])
    _axes(right, f"exact top-{K}, d = {QUERY_WIDTH}", "items", "ms a query")
    right.loglog(items, [one.alone * 1e3 for one in searched], "s-", label="one at a time")
    right.loglog(items, [one.a_query * 1e3 for one in searched], "o-", label="many at once")
    right.loglog(items, items * searched[-1].a_query * 1e3 / items[-1], color="gray", linestyle=":", label="linear")
    right.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def _axes(axes: Any, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)


# --- the program ------------------------------------------------------------------------------------------------------


def results(fitted: Sequence[Fitted], searched: Sequence[Searched]) -> list[Result]:
    lines = []
    if fitted:
        worst = max(one.nanoseconds for one in fitted) / fitted[0].nanoseconds
        sizes = f"{_millions(fitted[0].pairs)} to {_millions(fitted[-1].pairs)} interactions"
        lines += [
            Result(
                f"time per training example, {sizes}: largest over smallest size",
                "ratio",
                worst,
                less_is_better=True,
                bar=Bar(value=FLAT),
            ),
            Result(
                f"peak memory of fit beyond the frame, {_millions(fitted[-1].pairs)}",
                "bytes a pair",
                fitted[-1].bytes_a_pair,
                less_is_better=True,
            ),
        ]
    if searched:
        first, last = searched[0], searched[-1]
        sizes = f"{first.items:,} to {last.items:,} items"
        for what, seconds in (("", "a_query"), (", one at a time", "alone")):
            growth = getattr(last, seconds) / getattr(first, seconds) / (last.items / first.items)
            lines.append(
                Result(
                    f"time per query and item{what}, {sizes}: last over first",
                    "ratio",
                    growth,
                    less_is_better=True,
                    bar=Bar(value=FLAT),
                )
            )
    return lines


def _millions(count: int) -> str:
    return f"{count / 1e6:.0f}M" if count >= 1e6 else f"{count:,}"


def main() -> None:
    if sys.argv[1:2] == ["--fit"]:
        print(json.dumps(fit_one(Path(sys.argv[2]), int(sys.argv[3])).__dict__))
        return
    parser = common.argument_parser(__doc__)
    parser.add_argument(
        "--data", type=Path, default=readers.data_folder(), help="folder of ml-1m.zip or ml-1m-rebuilt.zip"
    )
    parser.add_argument(
        "--copies", type=int, nargs="+", default=[1, 3, 10, 50], metavar="G", help="of the users (default 1 3 10 50)"
    )
    parser.add_argument("--only", choices=["training", "queries"])
    parser.add_argument("--no-largest", dest="largest", action="store_false", help="leave the largest size of each out")
    parser.add_argument("--repeats", type=int, default=3, help="of the queries (default %(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the growth (png or svg)")
    options = parser.parse_args()
    sizes = [10_000, 100_000, 1_000_000, 3_000_000, 10_000_000]
    if options.quick:
        options.copies, options.repeats, sizes = [1, 2, 4], 1, [1_000, 10_000, 50_000]
    if not options.largest:
        options.copies, sizes = options.copies[:-1], sizes[:-1]

    report = common.Report("Growth", options.markdown, options.json)
    report.machine(common.machine(["pandas"]))
    fitted: list[Fitted] = []
    searched: list[Searched] = []
    if options.only != "queries":
        with tempfile.TemporaryDirectory() as folder:
            fitted = training(options, Path(folder))
        report.table(training_table(fitted))
    if options.only != "training":
        searched = [search(count, options.repeats) for count in sizes]
        report.table(search_table(searched))
    for line in results(fitted, searched):
        report.result(line)
    if options.plot is not None and fitted and searched:
        draw(options.plot, fitted, searched)


if __name__ == "__main__":
    main()
