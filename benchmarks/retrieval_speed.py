"""Exact top-K of a catalogue, queries per second: this package against faiss, implicit, torch, usearch and numpy.

What is measured
    Lists of the K items of the largest dot product for every query; float32, in memory.

    - 26,744 items of 64, 20,000 queries, K = 10 and 100; also with 100 seen items a query left out;
    - 1,000,000 items of 64, 1,024 queries, K = 10 and 100, and queries one at a time; of 128, K = 100;
    - with --huge, in the place of all these: 10,000,000 items of 64, 1,024 queries, K = 10; time and memory to make the index.

    Vectors are "Gaussian" (lengths times a lognormal of 0.3), "unit" (length 1), or "tower", made up in the shape in which trained
    towers come out: a spectrum that falls as rank^-0.75, a direction that all share, lengths by a power law (Pareto, 3).

    Our index has two modes with the same lists to the bit, which is checked: fp32, and int8 (a screen in bytes with a proven bound,
    then fp32). "Usual" is the one that it chooses by itself. Peers: faiss IndexFlatIP by default and with
    distance_compute_blas_threshold = 0 (its matrix product also for few queries), IndexFlatIPPanorama, implicit.cpu.topk.topk,
    torch mm + topk, usearch exact, numpy matrix product + argpartition. With seen items, faiss and usearch are asked for K + 100
    and drop them (their own filters are the same for all queries), implicit gets them as filter_query_items, torch and numpy put
    minus infinity there. Scores must be equal to rounding, and items may differ only where scores tie to rounding.

How to run
    python benchmarks/retrieval_speed.py                     about 4 minutes on two cores
    python benchmarks/retrieval_speed.py --only 26,744       cases whose title has this in it
    python benchmarks/retrieval_speed.py --quick             small shapes, seconds
    python benchmarks/retrieval_speed.py --huge              10 million items: 13 GB of memory

    The peers are optional: pip install faiss-cpu implicit usearch threadpoolctl torch

How to read
    Contestants take turns; a figure is the median of the rounds after one round of warm-up. Before it, an eighth of the queries is
    the trial: a peer that takes more than twice as long as the best one there cannot win and gets no further rounds. "FMA" is the
    share of the rate of the machine's widest FMA loop that 2 queries items d flops in that time are; one at a time, "read" is
    the share of its read bandwidth.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

import _common as common
import _retrieval_peers as sides
from _results import Bar, Result
from _retrieval_peers import SEEN, Case, Lists, Search
from _roofs import Roofs, share
from twotower._core import core

TRIAL = 8  # the part of the queries that shows which peers cannot win


@dataclass(frozen=True)
class Race:
    """What is asked of a catalogue, and the bars: of what a user gets, of the fp32 path, of the best mode."""

    k: int
    seen: bool = False
    one_at_a_time: bool = False
    usual: Bar | None = None
    fp32: Bar | None = None
    best: Bar | None = None


@dataclass
class Catalogue:
    """Items, and what is asked of them."""

    rows: int
    width: int
    queries: int
    kind: str
    races: list[Race]

    def title(self, race: Race) -> str:
        kind = "" if self.kind == "Gaussian" else f", {self.kind}"
        count = "one query at a time" if race.one_at_a_time else f"{self.queries:,} queries"
        seen = f", {SEEN} seen left out" if race.seen else ""
        return f"top-K {self.rows:,} x {self.width}{kind}, {count}, K = {race.k}{seen}"


def catalogues(options: argparse.Namespace) -> list[Catalogue]:
    both = 1.8
    if options.huge:
        return [Catalogue(200_000 if options.quick else 10_000_000, 64, 1_024, "Gaussian", [Race(10)])]
    small = [
        Race(10, usual=Bar(ratio=1.5, scaling=both)),
        Race(100, usual=Bar(ratio=2, share=0.65, scaling=both)),
        Race(10, seen=True, usual=Bar(ratio=0.9, scaling=both)),
        Race(100, seen=True, usual=Bar(ratio=0.9, scaling=both)),
    ]
    large = [Race(k, fp32=Bar(share=0.85, scaling=both), best=Bar(ratio=2, scaling=both)) for k in (10, 100)]
    single = Race(10, one_at_a_time=True, usual=Bar(ratio=3, scaling=both))
    other = [Race(10, best=Bar(ratio=2, scaling=both))]
    if options.quick:
        return [Catalogue(5_003, 64, 501, "Gaussian", small), Catalogue(60_013, 64, 64, "tower", [*large[:1], single])]
    return [
        Catalogue(26_744, 64, 20_000, "Gaussian", small),
        Catalogue(26_744, 64, 20_000, "tower", [Race(10, usual=Bar(ratio=1.5, scaling=both))]),
        Catalogue(1_000_000, 64, 1_024, "Gaussian", [*large, single]),
        Catalogue(1_000_000, 64, 512, "tower", other),
        Catalogue(1_000_000, 64, 512, "unit", other),
        Catalogue(1_000_000, 128, 512, "Gaussian", [Race(100, best=Bar(ratio=2, scaling=both))]),
    ]


def vectors(rows: int, width: int, kind: str, seed: int) -> np.ndarray:
    """Items or queries, float32 (rows, width); both sides of a tower share their directions."""
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((rows, width), dtype=np.float32)
    if kind == "Gaussian":
        drawn *= rng.lognormal(0, 0.3, (rows, 1)).astype(np.float32)
        return drawn
    if kind == "tower":
        drawn *= np.arange(1, width + 1, dtype=np.float32) ** -0.75
        drawn[:, 0] += 1
        drawn = drawn @ np.linalg.qr(np.random.default_rng(0).standard_normal((width, width)))[0].astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    if kind == "tower":
        drawn *= np.minimum(rng.pareto(3, (rows, 1)) + 1, 10).astype(np.float32)
    return drawn


def seen_items(queries: int, items: int, seed: int) -> np.ndarray:
    """SEEN distinct items a query, ascending: one out of each of SEEN equal parts of the catalogue."""
    rng = np.random.default_rng(seed)
    part = items // SEEN
    return (np.arange(SEEN) * part + rng.integers(0, part, (queries, SEEN))).astype(np.int32)


# --- the race ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finish:
    """A contestant's times, one alone where it lost in the trial, and the places where its lists tie with ours."""

    timing: common.Timing
    ties: int


class Runner:
    """Races of one catalogue: our modes with all threads and with one, and the peers."""

    def __init__(self, catalogue: Catalogue, threads: int, repeats: int, roofs: Roofs, report: common.Report) -> None:
        self._catalogue, self._threads, self._repeats = catalogue, threads, repeats
        self._roofs, self._report = roofs, report
        self._items = vectors(catalogue.rows, catalogue.width, catalogue.kind, 1)
        self._queries = vectors(catalogue.queries, catalogue.width, catalogue.kind, 2)
        self._indexes, self._usual, missing = sides.our_indexes(self._items, threads)
        self._peers = sides.peers(self._items, threads)
        made = "; ".join(
            f"{name} {one.seconds:.2f} s, {one.index.memory_bytes / 1e6:.0f} MB, peak {one.peak_bytes / 1e6:.0f} MB more than before"
            for name, one in self._indexes.items()
        )
        report.note(
            f"Index of {catalogue.rows:,} x {catalogue.width}, {catalogue.kind}: {made}. Usual: {self._usual}. "
            + " ".join(f"Left out: {line}." for line in missing)
        )

    def _ours(self, race: Race) -> Iterator[tuple[str, Search]]:
        for mode, one in self._indexes.items():
            for count in dict.fromkeys((self._threads, 1)):
                yield _our_name(mode, count), sides.ours(one.index, count)
            if race.seen:
                without = sides.ours(one.index, self._threads)
                yield (
                    f"twotower {mode}, nothing left out",
                    lambda case, search=without: search(replace(case, seen=None)),
                )

    def run(self, race: Race) -> None:
        catalogue = self._catalogue
        title = catalogue.title(race)
        queries = self._queries[:32] if race.one_at_a_time else self._queries
        seen = seen_items(len(queries), catalogue.rows, 3) if race.seen else None
        case = Case(self._items, queries, race.k, seen, race.one_at_a_time)
        racers = {**dict(self._ours(race)), **self._peers}
        if race.one_at_a_time:
            racers = {name: sides.one_by_one(search) for name, search in racers.items()}

        finishes = self._finishes(case, racers, self._peers, title)
        self._table(case, finishes, title)
        best_peer = min(self._peers, key=lambda name: finishes[name].timing.median)
        for label, mode, bar in self._asked(race, finishes):
            mine = finishes[_our_name(mode, self._threads)].timing
            peer = f"twotower {mode}, nothing left out" if race.seen else best_peer
            self._report.result(
                Result(
                    work=title + label,
                    unit="queries/s",
                    ours=len(queries) / mine.median,
                    peer=len(queries) / finishes[peer].timing.median,
                    peer_name="the same, nothing left out" if race.seen else peer,
                    spread=mine.spread,
                    share=self._share(case, mine, self._threads, mode),
                    roof=self._roof(case),
                    scaling=finishes[_our_name(mode, 1)].timing.median / mine.median if self._threads > 1 else None,
                    bar=bar,
                )
            )

    def _finishes(
        self, case: Case, racers: dict[str, Search], peers: dict[str, Search], title: str
    ) -> dict[str, Finish]:
        part = max(1, len(case.queries) // TRIAL)
        trial = replace(case, queries=case.queries[:part], seen=None if case.seen is None else case.seen[:part])
        warm, ties = self._checked(trial, racers, peers, title)
        lost = common.losers(warm, peers)
        left = {name: search for name, search in racers.items() if name not in lost}
        _, more = self._checked(case, left, peers, title)
        rounds = {name: functools.partial(search, case) for name, search in left.items()}
        timings = common.interleave(rounds, repeats=self._repeats, warm_up=0)
        timings |= {name: common.Timing((warm[name] * len(case.queries) / part,)) for name in lost}
        return {name: Finish(timings[name], (ties | more)[name]) for name in racers}

    @staticmethod
    def _checked(
        case: Case, racers: dict[str, Search], peers: dict[str, Search], title: str
    ) -> tuple[dict[str, float], dict[str, int]]:
        """One round: seconds, and how many places of the lists tie."""
        seconds, ties = {}, {}
        reference: Lists | None = None
        for name, search in racers.items():
            start = time.perf_counter()
            lists = search(case)
            seconds[name] = time.perf_counter() - start
            ties[name] = 0
            if name in peers and reference is not None:
                ties[name] = sides.differences(lists, reference, case, f"{title}: {name}")
            elif reference is not None and not name.endswith("nothing left out"):
                sides.check_same_bits(lists, reference, f"{title}: {name}")
            reference = lists if reference is None else reference
        return seconds, ties

    def _asked(self, race: Race, finishes: dict[str, Finish]) -> Iterator[tuple[str, str, Bar]]:
        """What to report: a label, the mode, its bar."""
        fastest = min(self._indexes, key=lambda mode: finishes[_our_name(mode, self._threads)].timing.median)
        if race.usual is not None:
            yield f" ({self._usual}, as chosen)", self._usual, race.usual
        if race.fp32 is not None:
            yield " (fp32 path)", "fp32", race.fp32
        if race.best is not None:
            yield f" (best mode: {fastest})", fastest, race.best

    @staticmethod
    def _roof(case: Case) -> str:
        return "read" if case.one_at_a_time else "FMA"

    def _share(self, case: Case, timing: common.Timing, threads: int, mode: str) -> float | None:
        if not case.one_at_a_time:
            return share(case.flops, timing.median, self._roofs.fma(threads))
        scanned = case.items.size * (1 if mode == "int8" else 4)
        return share(scanned * len(case.queries), timing.median, self._roofs.read(threads, scanned))

    def _table(self, case: Case, finishes: dict[str, Finish], title: str) -> None:
        columns = [
            "contestant",
            "threads",
            "queries/s median",
            "best",
            "spread",
            self._roof(case),
            "ours / it",
            "other items (ties)",
        ]
        table = common.Table(title, columns)
        mine = finishes[_our_name(self._usual, self._threads)].timing.median
        for name, finish in finishes.items():
            timing = finish.timing
            mode = next((mode for mode in self._indexes if name.startswith(f"twotower {mode}")), "")
            threads = 1 if name in {_our_name(mode, 1) for mode in self._indexes} else self._threads
            table.add(
                name + (" (trial)" if len(timing.seconds) == 1 else ""),
                threads,
                common.thousands(len(case.queries) / timing.median),
                common.thousands(len(case.queries) / timing.best),
                f"{timing.spread:.0%}",
                common.percent(self._share(case, timing, threads, mode)),
                f"{timing.median / mine:.2f}",
                finish.ties,
            )
        self._report.table(table)


def _our_name(mode: str, threads: int) -> str:
    return f"twotower {mode}, {threads} thread{'s' if threads > 1 else ''}"


# --- ten millions -----------------------------------------------------------------------------------------------------


def huge(catalogue: Catalogue, threads: int, repeats: int, roofs: Roofs, report: common.Report) -> None:
    """Our modes and the best of faiss one after another, since all of them at once would need 20 GB."""
    race = catalogue.races[0]
    title = catalogue.title(race)
    items = vectors(catalogue.rows, catalogue.width, catalogue.kind, 1)
    case = Case(items, vectors(catalogue.queries, catalogue.width, catalogue.kind, 2), race.k)
    reference: Lists | None = None
    for name, search, made_s, index_bytes, peak_bytes in _huge_contestants(items, threads):
        lists = search(case)
        if reference is None:
            reference = lists
        elif name.startswith("twotower"):
            sides.check_same_bits(lists, reference, f"{title}: {name}")
        else:
            sides.differences(lists, reference, case, f"{title}: {name}")
        timing = common.interleave({name: functools.partial(search, case)}, repeats=repeats, warm_up=0)[name]
        rate, part = len(case.queries) / timing.median, share(case.flops, timing.median, roofs.fma(threads))
        index = (
            f"index made in {made_s:.1f} s, {index_bytes / 1e9:.2f} GB, peak {peak_bytes / 1e9:.2f} GB more than before; "
            f"process {common.resident('VmHWM') / 1e9:.1f} GB"
        )
        report.note(f"{title}: {name} {common.thousands(rate)} queries/s, {common.percent(part)} of FMA; {index}")
        if name.startswith("twotower"):
            work = f"{title} ({name.removeprefix('twotower ')})"
            report.result(Result(work, "queries/s", rate, spread=timing.spread, share=part, roof="FMA", note=index))


def _huge_contestants(items: np.ndarray, threads: int) -> Iterator[tuple[str, Search, float, int, int]]:
    """Name, search, seconds and bytes of the index, bytes of the peak while it was made; each is gone before the next."""
    for name, make in sides.our_modes().items():
        try:
            one = make(items, threads)
        except (ValueError, RuntimeError) as error:
            print(f"Left out: twotower {name}: {error}")
            continue
        yield f"twotower {name}", sides.ours(one.index, threads), one.seconds, one.index.memory_bytes, one.peak_bytes
        del one
    if sides.faiss is not None:
        before, start = common.reset_peak(), time.perf_counter()
        flat = sides.faiss.IndexFlatIP(items.shape[1])
        flat.add(items)
        made = time.perf_counter() - start
        yield (
            "faiss, blas_threshold 0",
            sides.faiss_search(flat, threads, 0),
            made,
            items.nbytes,
            common.resident("VmHWM") - before,
        )


def main() -> None:
    parser = common.argument_parser(__doc__)
    parser.add_argument("--huge", action="store_true", help="ten million items, in the place of the other cases")
    parser.add_argument(
        "--threads", type=int, default=core.available_threads(), metavar="N", help="of the race (default: all)"
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count (default %(default)s)")
    parser.add_argument("--only", default="", help="run the cases whose title has this in it, such as 1,000,000")
    options = parser.parse_args()
    if options.quick:
        options.repeats = 2

    report = common.Report("Retrieval speed", options.markdown, options.json)
    report.machine(common.machine(["faiss-cpu", "implicit", "torch", "usearch", "scipy"]))
    if sides.not_installed():
        report.note(f"Not installed, so not in the race: {', '.join(sides.not_installed())}; see --help.")
    roofs = Roofs.measure(sorted({1, options.threads}), ["sgemm", "fma", "vnni", "read"], quick=options.quick)
    report.table(roofs.table())
    for catalogue in catalogues(options):
        catalogue.races = [race for race in catalogue.races if options.only in catalogue.title(race)]
        if options.huge:
            huge(catalogue, options.threads, options.repeats, roofs, report)
        elif catalogue.races:
            runner = Runner(catalogue, options.threads, options.repeats, roofs, report)
            for race in catalogue.races:
                runner.run(race)


if __name__ == "__main__":
    main()
