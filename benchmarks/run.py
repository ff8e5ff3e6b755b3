"""Every program that measures speed, one after the other, and one table at the end: ours, the best peer, roofs, bars.

What is measured
    Each program says what it measures and how: its own --help. Here they are run as processes of their own with their standard
    options (or --quick), and what they keep by --json becomes the table. The roofs of the machine are measured first.

How to run
    python benchmarks/run.py                       under 15 minutes on two cores
    python benchmarks/run.py --quick               small shapes, about a minute: does all run, do results agree
    python benchmarks/run.py --only retrieval_speed growth
    python benchmarks/run.py --json results.json --markdown results.md

    A program whose file is missing, and a peer that is not installed, is skipped by name. The programs are run with the
    OPENBLAS_CORETYPE that suits the CPU, so that peers have the better kernels also where their OpenBLAS does not know it.

How to read
    "best peer" is the fastest of all that took part and "ratio" is ours over it, larger meaning better. "roof" is the share of a
    limit that was measured in the same run. "threads" is our rate with all threads over that with one. Figures of --quick mean
    nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import _common as common
from _results import Result
from _roofs import NAMES, Roofs
from twotower._core import core

PROGRAMS = (
    "retrieval_speed",
    "training_speed",
    "history_speed",
    "time_to_quality",
    "evaluation_speed",
    "growth",
    "footprint",
)
PEERS = ("faiss-cpu", "implicit", "torch", "usearch", "scipy", "rectools", "lenskit", "tensorflow-recommenders")
FOLDER = Path(__file__).resolve().parent
PATIENCE_S = 600  # for a program


def records(program: str, *, quick: bool) -> list[dict[str, Any]] | None:
    """Run a program, which prints as it goes, and give its JSON lines; None if it failed."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "results.jsonl"
        command = [sys.executable, str(FOLDER / f"{program}.py"), "--json", str(kept), *(["--quick"] if quick else [])]
        try:
            status = subprocess.run(command, check=False, timeout=PATIENCE_S, env=environment()).returncode
        except subprocess.TimeoutExpired:
            status = 1
        if status != 0:
            return None
        return [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []


def environment() -> dict[str, str]:
    core_type = common.blas_core_type()
    return {**os.environ, **({"OPENBLAS_CORETYPE": core_type} if core_type else {})}


def machine(found: Mapping[str, list[dict[str, Any]]]) -> list[tuple[str, str]]:
    """What holds for all programs; the BLAS libraries are those that they loaded."""
    blas = {
        tuple(fact)
        for lines in found.values()
        for line in lines
        if line["kind"] == "machine"
        for fact in line["facts"]
        if fact[0] == "BLAS"
    }
    facts = common.machine(PEERS)
    return [fact for fact in facts[:-1] if fact[0] != "BLAS"] + sorted(blas) + facts[-1:]


def line(result: Result, *, quick: bool) -> list[str]:
    """The cells of a result; small shapes are not judged."""
    ours = "-" if result.ours is None else common.thousands(result.ours)
    peer = "-" if result.peer is None else f"{common.thousands(result.peer)} {result.peer_name}"
    met = "-" if quick else {True: "met", False: "NOT MET", None: "-"}[result.met]
    return [
        result.work,
        f"{ours} {result.unit}",
        common.percent(result.spread),
        peer,
        "-" if result.ratio is None else f"{result.ratio:.2f}",
        "-" if result.share is None else f"{result.share:.0%} {result.roof}",
        "-" if result.scaling is None else f"{result.scaling:.2f}",
        result.bar.in_words(result.unit, less_is_better=result.less_is_better),
        met + (f" ({result.note})" if result.note else ""),
    ]


def main() -> None:
    parser = common.argument_parser(__doc__)
    parser.add_argument("--only", nargs="+", default=PROGRAMS, choices=PROGRAMS, metavar="PROGRAM", help="of all")
    options = parser.parse_args()

    begin = time.perf_counter()
    found: dict[str, list[dict[str, Any]]] = {}
    skipped, failed = [], []
    roofs = Roofs.measure(
        sorted({1, core.available_threads()}), NAMES, megabytes=128 if options.quick else 2048, quick=options.quick
    )
    for program in options.only:
        if not (FOLDER / f"{program}.py").exists():
            skipped.append(program)
            continue
        start = time.perf_counter()
        kept = records(program, quick=options.quick)
        print(f"[{program}: {time.perf_counter() - start:.0f} s]", end="\n\n", flush=True)
        if kept is None:
            failed.append(program)
        else:
            found[program] = kept

    report = common.Report("All programs", options.markdown, options.json)
    report.machine(machine(found))
    report.table(roofs.table())
    threads = core.available_threads()
    columns = ["work", "ours, median", "spread", "best peer", "ratio", "roof", f"{threads} threads / 1", "bar", "met?"]
    table = common.Table(
        f"Ours against the best peer, {threads} threads" + (", small shapes" if options.quick else ""), columns
    )
    for record in (record for lines in found.values() for record in lines if record["kind"] == "result"):
        result = Result.from_record(record)
        table.add(*line(result, quick=options.quick))
        report.result(result)
    if skipped:
        table.notes.append(f"Not there, so skipped: {', '.join(skipped)}.")
    if failed:
        table.notes.append(f"FAILED, see above: {', '.join(failed)}.")
    table.notes.append(f"{(time.perf_counter() - begin) / 60:.1f} minutes in all.")
    report.table(table)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
