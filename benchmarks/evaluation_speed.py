"""Full evaluation of all users: this package against RecTools and LensKit.

What is measured
    MovieLens 1M, a random fifth of the rows held out, every user with test rows, all items ranked, the user's training items left
    out; recall and NDCG at 10 and 100. The vectors are those of a `tt.TwoTower` after one epoch; everybody has the same.

    - lists    metrics of ready lists of 100 items, one a user. Ours reads them as arrays of item rows (`core.ranking_metrics`), the
               truth prepared beforehand; RecTools as a table (`calc_metrics`), which it joins with the test table each time;
               LensKit as its own collections (`RunAnalysis`), which are made beforehand and are free.
    - whole    from the vectors to the figures: `tt.evaluate(model, test)`; RecTools `VectorModel.recommend` (implicit's top-k with 2
               threads) and `calc_metrics`; LensKit a scorer component, `batch.recommend` and `RunAnalysis`.

    Figures are compared before anything is timed: those of the same lists must be equal to 1e-6, those of the whole to 1e-4 (scores
    that tie to rounding may change places). LensKit's recall divides by min(k, relevant items), which is called `capped_recall`
    here; ours is asked for that one against LensKit. LensKit's NDCG is told to use log2(rank + 1).

How to run
    python -m venv rectools && rectools/bin/pip install rectools
    python -m venv lenskit && lenskit/bin/pip install torch==2.13.0 lenskit
    TWOTOWER_RECTOOLS_PYTHON=rectools/bin/python TWOTOWER_LENSKIT_PYTHON=lenskit/bin/python python benchmarks/evaluation_speed.py
    python benchmarks/evaluation_speed.py --quick      made-up data

    Each peer runs in an interpreter of its own, since they ask for older versions of pandas; one that is not named is looked for
    in this interpreter, and skipped by name where it is not installed.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import _common as common
import _readers as readers
import twotower as tt
from _results import Bar, Result
from twotower._core import core

DEPTH = 100
CUTOFFS = (10, 100)
METRICS = {
    "rectools": [f"{name}@{k}" for k in CUTOFFS for name in ("recall", "ndcg")],
    "lenskit": [f"{name}@{k}" for k in CUTOFFS for name in ("capped_recall", "ndcg")],
}
TITLES = {"rectools": "RecTools", "lenskit": "LensKit"}
BAR = Bar(ratio=10)
PATIENCE_S = 4  # a peer's job that takes longer runs once


# --- our side ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """A fitted model and what it is measured on.

    Attributes
    ----------
    measured : ids (n,)
        Users with test rows that the model knows.
    lists : int32 (n, DEPTH)
        Rows of `item_ids_`.
    offsets, relevant, counts : int64 (n + 1,), int32, int64 (n,)
        Their relevant items as rows, sorted.
    """

    model: Any
    train: Any
    test: Any
    measured: np.ndarray
    lists: np.ndarray
    offsets: np.ndarray
    relevant: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, ratings: Any) -> Work:
        train, test = tt.split.random(ratings, test=0.2, random_state=0)
        # Items and users that only the test has would be counted in ways that differ between libraries.
        test = test[test["item_id"].isin(train["item_id"].unique()) & test["user_id"].isin(train["user_id"].unique())]
        model = tt.TwoTower(epochs=1, random_state=0, verbose=0).fit(train)
        measured = np.unique(test["user_id"].to_numpy())
        lists, _ = model.recommend(measured.tolist(), k=DEPTH, as_arrays=True)
        items = model.item_ids_.to_numpy()
        order = np.argsort(items)
        rows = order[np.searchsorted(items, test["item_id"].to_numpy(), sorter=order)]
        owners = np.searchsorted(measured, test["user_id"].to_numpy())
        by_user = np.lexsort((rows, owners))
        counts = np.bincount(owners, minlength=len(measured))
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return cls(model, train, test, measured, lists, offsets, rows[by_user].astype(np.int32), counts)

    @property
    def jobs(self) -> dict[str, Callable[[list[str]], dict[str, float]]]:
        return {"lists": self.of_lists, "whole": self.whole}

    def of_lists(self, metrics: list[str]) -> dict[str, float]:
        names, cutoffs = zip(
            *((name, int(k)) for name, _, k in (metric.partition("@") for metric in metrics)), strict=True
        )
        values = core.ranking_metrics(self.lists, self.offsets, self.relevant, self.counts, names, cutoffs)
        return dict(zip(metrics, values.mean(axis=1).tolist(), strict=True))

    def whole(self, metrics: list[str]) -> dict[str, float]:
        table = tt.evaluate(self.model, self.test, metrics)
        return {metric: float(table[metric].iloc[0]) for metric in metrics}

    def write(self, path: Path, *, jobs: int) -> None:
        """What a peer's process reads."""
        users, items = self.model.user_ids_.to_numpy(), self.model.item_ids_.to_numpy()
        by_user, by_item = np.argsort(users), np.argsort(items)
        np.savez(
            path,
            users=users[by_user],
            items=items[by_item],
            user_vectors=self.model.user_embeddings()[by_user],
            item_vectors=self.model.item_embeddings()[by_item],
            measured=self.measured,
            lists=items[self.lists],
            threads=core.available_threads(),
            lenskit_jobs=jobs,
            **{
                f"{part}_{side}s": table[f"{side}_id"].to_numpy()
                for part, table in (("train", self.train), ("test", self.test))
                for side in ("user", "item")
            },
        )


# --- the peers --------------------------------------------------------------------------------------------------------


class Peer:
    """A process of another interpreter that does a job when it is asked."""

    def __init__(self, name: str, interpreter: str, path: Path) -> None:
        program = Path(__file__).with_name("_evaluation_peers.py")
        self._process = subprocess.Popen(
            [interpreter, str(program), name, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.versions = ", ".join(self._answer()["versions"])

    def ask(self, job: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{job}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args!r} ended with {self._process.wait()}; see above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def interpreter_of(name: str, given: str | None) -> str | None:
    """The interpreter that has the peer: the one named by option or environment, or this one where it is installed."""
    named = given or os.environ.get(f"TWOTOWER_{name.upper()}_PYTHON")
    if named:
        return named
    return sys.executable if importlib.util.find_spec(name) is not None else None


# --- the race ---------------------------------------------------------------------------------------------------------


def check_equal(job: str, name: str, mine: dict[str, float], theirs: dict[str, float]) -> None:
    tolerance = 1e-6 if job == "lists" else 1e-4
    for metric, figure in mine.items():
        if not abs(figure - theirs[metric]) <= tolerance:
            raise SystemExit(f"{job}: {metric} is {figure:.7f} here and {theirs[metric]:.7f} by {TITLES[name]}")


Found = dict[str, tuple[common.Timing, common.Timing]]  # by job, ours and the peer's


def race(name: str, peer: Peer, work: Work, repeats: int, report: common.Report) -> Found:
    """Tell seconds and figures of both."""
    metrics = METRICS[name]
    table = common.Table(
        f"{TITLES[name]} ({peer.versions})",
        ["", "twotower, ms", "spread", f"{TITLES[name]}, ms", "spread", "ours / it", *metrics],
    )
    found = {}
    for job, mine in work.jobs.items():
        figures = mine(metrics)
        first = peer.ask(job)
        check_equal(job, name, figures, first["figures"])
        # Both have run once now, which is the warm-up.
        asked: list[float] = [first["seconds"]]
        contestants: dict[str, Callable[[], object]] = {"twotower": functools.partial(mine, metrics)}
        if first["seconds"] < PATIENCE_S:
            asked = []
            contestants["peer"] = functools.partial(_ask, peer, job, asked)
        mine_timing = common.interleave(contestants, repeats=repeats, warm_up=0)["twotower"]
        theirs = common.Timing(tuple(asked))
        found[job] = mine_timing, theirs
        table.add(
            job,
            f"{mine_timing.median * 1e3:.3g}",
            f"{mine_timing.spread:.0%}",
            f"{theirs.median * 1e3:.4g}",
            f"{theirs.spread:.0%}",
            f"{theirs.median / mine_timing.median:.0f}",
            *(f"{figures[metric]:.4f}" for metric in metrics),
        )
    report.table(table)
    return found


def _ask(peer: Peer, job: str, seconds: list[float]) -> None:
    seconds.append(peer.ask(job)["seconds"])


def results(found: dict[str, Found], alone: dict[str, common.Timing], title: str, note: str) -> list[Result]:
    """A line a job against the faster of the peers, or without one."""
    lines = []
    for job, what in (("whole", "full evaluation"), ("lists", "metrics of ready lists")):
        line = Result(f"{what}, {title}", "s", None, less_is_better=True, bar=BAR, note=note)
        if found:
            fastest = min(found, key=lambda name: found[name][job][1].median)
            mine, theirs = found[fastest][job]
            line = replace(line, peer=theirs.median, peer_name=TITLES[fastest])
        else:
            mine = alone[job]
        lines.append(replace(line, ours=mine.median, spread=mine.spread))
    return lines


def main() -> None:
    parser = common.argument_parser(__doc__)
    parser.add_argument(
        "--data", type=Path, default=readers.data_folder(), help="folder of ml-1m.zip or ml-1m-rebuilt.zip"
    )
    for name, title in TITLES.items():
        parser.add_argument(f"--{name}", metavar="PYTHON", help=f"interpreter that has {title}")
    parser.add_argument("--lenskit-jobs", type=int, default=1, help="processes of LensKit (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds that count (default %(default)s)")
    options = parser.parse_args()
    report = common.Report("Evaluation speed", options.markdown, options.json)
    report.machine(common.machine(["pandas"]))
    title, ratings = read(options)
    work = Work.of(ratings)
    report.note(
        f"{title}: {len(work.train):,} training rows, {len(work.test):,} test rows, {len(work.measured):,} users."
    )

    found, missing = {}, []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "work.npz"
        work.write(path, jobs=options.lenskit_jobs)
        for name, peer_title in TITLES.items():
            interpreter = interpreter_of(name, getattr(options, name))
            if interpreter is None:
                missing.append(peer_title)
                continue
            peer = Peer(name, interpreter, path)
            found[name] = race(name, peer, work, options.repeats, report)
            peer.close()
    skipped = f"not installed: {', '.join(missing)}" if missing else ""
    if skipped:
        report.note(f"{skipped[0].upper()}{skipped[1:]}; see --help.")
    alone = {job: functools.partial(run, METRICS["rectools"]) for job, run in work.jobs.items()} if not found else {}
    for line in results(found, common.interleave(alone, repeats=options.repeats), title, skipped):
        report.result(line)


def read(options: argparse.Namespace) -> tuple[str, Any]:
    if options.quick:
        options.repeats = 1
        return "made-up data", tt.datasets.synthetic(num_users=100, num_items=300, num_interactions=8_000).ratings
    return "ml-1m", readers.movielens_1m(options.data).interactions


if __name__ == "__main__":
    main()
