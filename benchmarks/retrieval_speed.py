"""Exact top-K of a catalogue, queries per second: this package against faiss, implicit, torch and numpy.

What is measured
    Lists of the K items of the largest dot product for every query; random vectors (Gaussian, lengths times a lognormal of 0.3),
    float32, in memory, d = 64.

    - small    26,744 items, 20,000 queries, K = 10 and 100; also with 100 seen items a query left out;
    - large    1,000,000 items, 1,024 queries, K = 10 and 100; left out with --no-large.

    Peers: faiss IndexFlatIP by default and with distance_compute_blas_threshold = 0 (its matrix product also for few queries),
    implicit.cpu.topk.topk, torch mm + topk, numpy matrix product + argpartition. With seen items, faiss asks for K + 100 and drops
    them (its own filters are the same for all queries), implicit gets them as filter_query_items, torch and numpy put minus
    infinity there. Every contestant's lists are compared with ours: scores must be equal to rounding, and items may differ
    only where scores tie to rounding.

How to run
    python benchmarks/retrieval_speed.py                     about 4 minutes on two cores
    python benchmarks/retrieval_speed.py --no-large          about 2 minutes
    python benchmarks/retrieval_speed.py --quick             small shapes, seconds
    python benchmarks/retrieval_speed.py --markdown out.md   keep it

    The peers are optional: pip install faiss-cpu implicit threadpoolctl, and
    pip install torch==2.13.0

How to read
    Contestants take turns; a figure is the median of the rounds after one round of warm-up. "limit" is the share of numpy's sgemm
    rate (4096^3, same run, same threads) that 2 queries items d flops in that time are: sgemm stands for the FMA limit
    of the machine, which is a little higher.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import _common as common
from twotower._core import core

torch = common.optional_module("torch")
faiss = common.optional_module("faiss")
implicit_topk = common.optional_module("implicit.cpu.topk")
sparse = common.optional_module("scipy.sparse")

WIDTH, SEEN = 64, 100
SCORES_AT_ONCE = 2**27  # of torch and numpy: half a gigabyte
# What takes longer than this for one repeat is no contender; it gets one round.
PATIENCE_S = 20.0

Lists = tuple[np.ndarray, np.ndarray]  # items (queries, K), scores (queries, K)


@dataclass(frozen=True)
class Case:
    """A catalogue, queries, and what each query has seen: SEEN ascending items a query, or nothing."""

    items: np.ndarray  # float32 (n, d)
    queries: np.ndarray  # float32 (q, d)
    k: int
    seen: np.ndarray | None  # int32 (q, SEEN)

    @property
    def name(self) -> str:
        seen = f", {SEEN} seen left out" if self.seen is not None else ""
        return (
            f"{len(self.items):,} items, d = {self.items.shape[1]}, {len(self.queries):,} queries, K = {self.k}{seen}"
        )

    @property
    def flops(self) -> float:
        return 2.0 * len(self.items) * self.queries.size


def vectors(rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((rows, WIDTH), dtype=np.float32)
    return directions * rng.lognormal(0, 0.3, (rows, 1)).astype(np.float32)


def seen_items(queries: int, items: int, seed: int) -> np.ndarray:
    """SEEN distinct items a query, ascending: one out of each of SEEN equal parts of the catalogue."""
    rng = np.random.default_rng(seed)
    part = items // SEEN
    return (np.arange(SEEN) * part + rng.integers(0, part, (queries, SEEN))).astype(np.int32)


# --- contestants ------------------------------------------------------------------------------------------------------


def ours(case: Case, threads: int) -> Callable[[], Lists]:
    packed = core.ItemIndex(case.items, threads)
    filters = {}
    if case.seen is not None:
        count = len(case.queries)
        filters = {
            "seen_of_query": np.arange(count, dtype=np.int32),
            "seen_offsets": np.arange(count + 1, dtype=np.int64) * SEEN,
            "seen_items": case.seen.ravel(),
        }
    return lambda: packed.top_k(case.queries, case.k, **filters, num_threads=threads)


def faiss_flat(case: Case, threads: int, blas_threshold: int | None) -> Callable[[], Lists]:
    index = faiss.IndexFlatIP(WIDTH)
    index.add(case.items)
    default = faiss.cvar.distance_compute_blas_threshold

    def search() -> Lists:
        faiss.omp_set_num_threads(threads)
        faiss.cvar.distance_compute_blas_threshold = default if blas_threshold is None else blas_threshold
        scores, rows = index.search(case.queries, case.k + (0 if case.seen is None else SEEN))
        faiss.cvar.distance_compute_blas_threshold = default
        return (rows, scores) if case.seen is None else _without_seen(rows, scores, case)

    return search


def _without_seen(rows: np.ndarray, scores: np.ndarray, case: Case) -> Lists:
    """The first K of each list that the query has not seen."""
    count = len(rows)
    query = np.arange(count, dtype=np.int64)[:, None] * len(case.items)
    keys = (query + case.seen).ravel()  # ascending, since each query's items are
    found = query + rows
    places = np.minimum(np.searchsorted(keys, found), len(keys) - 1)
    is_new = keys[places] != found
    kept = is_new & (np.cumsum(is_new, axis=1) <= case.k)
    return rows[kept].reshape(count, case.k), scores[kept].reshape(count, case.k)


def implicit_flat(case: Case, threads: int) -> Callable[[], Lists]:
    filters = {}
    if case.seen is not None:
        count = len(case.queries)
        ones, offsets = np.ones(case.seen.size, dtype=np.float32), np.arange(count + 1) * SEEN
        filters["filter_query_items"] = sparse.csr_matrix(
            (ones, case.seen.ravel(), offsets), shape=(count, len(case.items))
        )

    def search() -> Lists:
        with common.blas_threads(1):  # it has threads of its own; its manual asks for this
            return implicit_topk.topk(case.items, case.queries, case.k, num_threads=threads, **filters)

    return search


def _blocks(case: Case) -> list[slice]:
    step = max(1, SCORES_AT_ONCE // len(case.items))
    return [slice(begin, min(begin + step, len(case.queries))) for begin in range(0, len(case.queries), step)]


def torch_flat(case: Case, threads: int) -> Callable[[], Lists]:
    items, queries = torch.from_numpy(case.items), torch.from_numpy(case.queries)
    seen = None if case.seen is None else torch.from_numpy(case.seen.astype(np.int64))

    def search() -> Lists:
        torch.set_num_threads(threads)
        parts = []
        for block in _blocks(case):
            scores = queries[block] @ items.T
            if seen is not None:
                scores.scatter_(1, seen[block], -torch.inf)
            parts.append(torch.topk(scores, case.k))
        return torch.cat([part.indices for part in parts]).numpy(), torch.cat([part.values for part in parts]).numpy()

    return search


def numpy_flat(case: Case, threads: int) -> Callable[[], Lists]:
    def search() -> Lists:
        parts = []
        with common.blas_threads(threads):
            for block in _blocks(case):
                scores = case.queries[block] @ case.items.T
                if case.seen is not None:
                    np.put_along_axis(scores, case.seen[block], -np.inf, axis=1)
                rows = np.argpartition(scores, -case.k, axis=1)[:, -case.k :]
                values = np.take_along_axis(scores, rows, axis=1)
                order = np.argsort(-values, axis=1)
                parts.append((np.take_along_axis(rows, order, axis=1), np.take_along_axis(values, order, axis=1)))
        return np.concatenate([rows for rows, _ in parts]), np.concatenate([values for _, values in parts])

    return search


def contestants(case: Case, threads: int) -> dict[str, Callable[[], Lists]]:
    found = {"twotower": ours(case, threads)}
    if faiss is not None:
        found["faiss IndexFlatIP"] = faiss_flat(case, threads, None)
        found["faiss, blas_threshold 0"] = faiss_flat(case, threads, 0)
    if implicit_topk is not None:
        found["implicit topk"] = implicit_flat(case, threads)
    if torch is not None:
        found["torch mm + topk"] = torch_flat(case, threads)
    found["numpy argpartition"] = numpy_flat(case, threads)
    return found


# --- do all give the same? --------------------------------------------------------------------------------------------


def differences(lists: Lists, reference: Lists, case: Case) -> int:
    """Places where another item stands because scores tie to rounding; a wrong list ends the program."""
    (rows, scores), (right_rows, right_scores) = lists, reference
    # The bound of a dot product's rounding error, for both sides: sum of |products| at most |u| |v|.
    lengths = np.linalg.norm(case.queries, axis=1, keepdims=True) * np.linalg.norm(case.items, axis=1).max()
    slack = 2 * WIDTH * np.finfo(np.float32).eps * lengths
    if rows.shape != right_rows.shape or not (np.abs(scores - right_scores) <= slack).all():
        raise SystemExit(f"{case.name}: scores differ by more than rounding")
    own = np.einsum("qd,qkd->qk", case.queries[:64], case.items[rows[:64]])
    if not (np.abs(own - scores[:64]) <= slack[:64]).all():
        raise SystemExit(f"{case.name}: scores do not belong to the items beside them")
    if case.seen is not None:
        keys = np.arange(len(rows), dtype=np.int64)[:, None] * len(case.items)
        if np.isin(keys + rows, keys + case.seen).any():
            raise SystemExit(f"{case.name}: a seen item came back")
    return int(np.count_nonzero(rows != right_rows))


# --- the race ---------------------------------------------------------------------------------------------------------


def race(case: Case, threads_list: list[int], repeats: int, limits: dict[int, float]) -> common.Table:
    table = common.Table(
        case.name,
        ["contestant", "threads", "queries/s median", "best", "spread", "limit", "ours / it", "other items (ties)"],
    )
    for threads in threads_list:
        racers = contestants(case, threads)
        reference = racers["twotower"]()
        ties, slow = {}, {}
        for name, search in racers.items():  # the round of warm-up
            start = time.perf_counter()
            lists = search()
            elapsed = time.perf_counter() - start
            ties[name] = differences(lists, reference, case)
            if elapsed > PATIENCE_S:
                slow[name] = common.Timing((elapsed,))
        contenders = {name: search for name, search in racers.items() if name not in slow}
        timings = common.interleave(contenders, repeats=repeats, warm_up=0) | slow
        mine = timings["twotower"].median
        for name in racers:
            timing = timings[name]
            table.add(
                name + (" (one round)" if name in slow else ""),
                threads,
                common.thousands(len(case.queries) / timing.median),
                common.thousands(len(case.queries) / timing.best),
                f"{timing.spread:.0%}",
                common.percent(case.flops / timing.median / (limits[threads] * 1e9)),
                f"{timing.median / mine:.2f}",
                ties[name],
            )
    return table


def cases(options: argparse.Namespace) -> list[Case]:
    shapes = [(26_744, 20_000, (10, 100))]
    if options.large:
        shapes.append((1_000_000, 1_024, (10, 100)))
    if options.quick:
        shapes = [(5_003, 501, (10, 100))]
    found = []
    for rows, count, ks in shapes:
        items, queries = vectors(rows, 1), vectors(count, 2)
        seen = seen_items(count, rows, 3)
        small = rows < 100_000
        found += [Case(items, queries, k, None) for k in ks] + [Case(items, queries, k, seen) for k in ks if small]
    return found


def main() -> None:
    parser = common.argument_parser(__doc__)
    parser.add_argument(
        "--no-large", dest="large", action="store_false", help="leave the catalogue of a million items out"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[core.available_threads()], metavar="N")
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count (default %(default)s)")
    parser.add_argument("--only", default="", help="run the cases whose title has this in it, such as 1,000,000")
    options = parser.parse_args()
    if options.quick:
        options.repeats = 2

    report = common.Report("Retrieval speed", options.markdown)
    report.machine(common.machine(["faiss-cpu", "implicit", "torch", "scipy"]))
    missing = [
        name for name, module in (("faiss-cpu", faiss), ("implicit", implicit_topk), ("torch", torch)) if module is None
    ]
    if missing:
        report.note(f"Not installed, so not in the race: {', '.join(missing)}; see --help.")
    limits = common.sgemm_limits(options.threads, quick=options.quick)
    report.note(common.limits_in_words(limits))
    for case in cases(options):
        if options.only not in case.name:
            continue
        report.table(race(case, options.threads, options.repeats, limits))


if __name__ == "__main__":
    main()
