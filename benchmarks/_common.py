"""What the benchmark programs share: fair timing, the machine in words, tables, data.

Import this module before torch and faiss: waiting OpenMP threads spin by default, which on a busy machine costs the waiting
library and its neighbors several times the work itself, so it asks for sleeping ones (`OMP_WAIT_POLICY=PASSIVE`), unless the
variable is set already.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import datetime
import gc
import importlib
import importlib.metadata
import importlib.util
import io
import json
import os
import platform
import statistics
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from _results import Result

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

OLD_CORE_TYPES = {"Prescott", "Barcelona", "Nehalem", "Haswell"}  # OpenBLAS's
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


# --- options ----------------------------------------------------------------------------------------------------------


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every program has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="small shapes and few repeats: does it run, do results agree"
    )
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the tables to FILE as Markdown too")
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write the machine and the results to FILE, a line each"
    )
    return parser


def optional_module(name: str) -> Any | None:
    """The module, or None where its package is not installed."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        return None
    return importlib.import_module(name)


# --- timing -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timing:
    """Seconds of the repeats of one contestant."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def spread(self) -> float:
        """Largest less smallest, as a share of the median."""
        return (max(self.seconds) - self.best) / self.median


def interleave(contestants: Mapping[str, Callable[[], object]], *, repeats: int, warm_up: int = 1) -> dict[str, Timing]:
    """Time contestants in turns, so that what disturbs the machine disturbs all of them.

    Parameters
    ----------
    contestants : dict of name to function
        What one repeat runs.
    repeats, warm_up : int
        Rounds that count and rounds before them that do not. Every other round runs in reverse order.

    Returns
    -------
    dict of name to Timing
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for round_number in range(warm_up + repeats):
        order = list(contestants) if round_number % 2 == 0 else list(contestants)[::-1]
        for name in order:
            start = time.perf_counter()
            contestants[name]()
            elapsed = time.perf_counter() - start
            if round_number >= warm_up:
                seconds[name].append(elapsed)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def losers(first: Mapping[str, float], peers: Iterable[str], *, factor: float = 2.0) -> set[str]:
    """Peers that took so many times as long as the best of them in the first round.

    They cannot be the best, so they need no further rounds; `first` is seconds for the same work.
    """
    best = min((first[name] for name in peers), default=0.0)
    return {name for name in peers if first[name] > factor * best}


def percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


@contextlib.contextmanager
def blas_threads(threads: int) -> Iterator[None]:
    """Limit the BLAS libraries of numpy and others, where threadpoolctl is installed."""
    threadpoolctl = optional_module("threadpoolctl")
    if threadpoolctl is None:
        yield
        return
    with threadpoolctl.threadpool_limits(threads, user_api="blas"):
        yield


# --- the machine ------------------------------------------------------------------------------------------------------


def machine(packages: Iterable[str] = ()) -> list[tuple[str, str]]:
    """What a reader must know to compare: CPU, cores, ISA module, versions, BLAS, load, date. Call it after all imports."""
    from twotower._core import core

    versions = []
    for package in ("twotower", "numpy", *packages):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return [
        ("CPU", cpu_name()),
        ("cores", f"{core.available_threads()} for this process, {os.cpu_count()} in all; load average {load}"),
        ("core", f"ISA module {core.isa}" + (", with assertions" if core.assertions else "")),
        ("versions", ", ".join([f"Python {platform.python_version()}", *versions])),
        *(("BLAS", line) for line in _blas()),
        ("OMP_WAIT_POLICY", os.environ.get("OMP_WAIT_POLICY", "not set")),
        ("date", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
    ]


def cpu_name() -> str:
    with contextlib.suppress(OSError):
        fields = [line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line]
        found = {name.strip(): value.strip() for name, value in reversed(fields)}
        names = [found[name] for name in ("vendor_id", "model name") if name in found]
        if names:
            return f"{', '.join(names)} (family {found.get('cpu family', '?')}, model {found.get('model', '?')})"
    return platform.processor() or platform.machine()


def _blas() -> list[str]:
    threadpoolctl = optional_module("threadpoolctl")
    if threadpoolctl is None:
        return ["unknown, since threadpoolctl is not installed"]
    lines = []
    for library in threadpoolctl.threadpool_info():
        if library["user_api"] == "blas":
            core_type, best = library.get("architecture", "unknown"), blas_core_type()
            is_old = library["internal_api"] == "openblas" and best and core_type in OLD_CORE_TYPES - {best}
            advice = f"; old for this CPU: set OPENBLAS_CORETYPE={best}" if is_old else ""
            owner = Path(library["filepath"]).parent.name.removesuffix(".libs")
            lines.append(f"{library['internal_api']} {library['version']} of {owner}, core type {core_type}{advice}")
    return sorted(lines) or ["none that threadpoolctl knows"]


def blas_core_type() -> str | None:
    """What OPENBLAS_CORETYPE should be: an old OpenBLAS takes a CPU that it does not know for one of 2007.

    Measured on a Zen 5: numpy's product has 240 % of the rate with SkylakeX that it has with Haswell.
    """
    flags: set[str] = set()
    with contextlib.suppress(OSError):
        line = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
        flags = set(line.split())
    return "SkylakeX" if "avx512bw" in flags else "Haswell" if "avx2" in flags else None


# --- memory -----------------------------------------------------------------------------------------------------------


def resident(field: str) -> int:
    """Bytes: VmRSS, what the process holds now, or VmHWM, the most it held."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def reset_peak() -> int:
    """Let VmHWM start again from here; the bytes that the process holds now."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before must not serve what comes unseen
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


# --- tables -----------------------------------------------------------------------------------------------------------


@dataclass
class Table:
    """A titled table whose cells are words."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        if len(cells) != len(self.columns):
            raise ValueError(f"Table.add: {len(cells)} cells were given, but there are {len(self.columns)} columns")
        self.rows.append([str(cell) for cell in cells])

    def text(self) -> str:
        """Aligned by spaces: the first column to the left, the others to the right."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        aligned = [_line(cells, widths) for cells in lines]
        rule = "-" * max(len(line) for line in aligned)
        return "\n".join([self.title, aligned[0], rule, *aligned[1:], *self.notes])

    def markdown(self) -> str:
        marks = [":--", *["--:"] * (len(self.columns) - 1)]
        lines = [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
            for cells in (self.columns, marks, *self.rows)
        ]
        return "\n\n".join([f"**{self.title}**", "\n".join(lines), *self.notes])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.rjust(width) if place else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()


class Report:
    """Prints tables as they are finished, keeps them for a Markdown file, and the results for one of JSON lines."""

    def __init__(self, title: str, path: Path | None, json_path: Path | None = None) -> None:
        self._path, self._json_path = path, json_path
        self._parts = [f"# {title}"]
        self._records: list[str] = []
        print(title, end="\n\n", flush=True)

    def machine(self, facts: Sequence[tuple[str, str]]) -> None:
        width = max(len(name) for name, _ in facts)
        print("\n".join(f"{name.ljust(width)}  {value}" for name, value in facts), end="\n\n", flush=True)
        self._keep("\n".join(f"- {name}: {value}" for name, value in facts))
        self._record({"kind": "machine", "facts": [list(fact) for fact in facts]})

    def table(self, table: Table) -> None:
        print(table.text(), end="\n\n", flush=True)
        self._keep(table.markdown())

    def note(self, text: str) -> None:
        print(text, end="\n\n", flush=True)
        self._keep(text)

    def result(self, result: Result) -> None:
        """Keep a line of the table that run.py ends with."""
        self._record(result.record())

    def _keep(self, part: str) -> None:
        # Written each time: a run that is cut short leaves what it had.
        self._parts.append(part)
        if self._path is not None:
            self._path.write_text("\n\n".join(self._parts) + "\n", encoding="utf-8")

    def _record(self, record: Mapping[str, Any]) -> None:
        self._records.append(json.dumps(record))
        if self._json_path is not None:
            self._json_path.write_text("\n".join(self._records) + "\n", encoding="utf-8")


def thousands(value: float) -> str:
    """Write a figure as 83.1k or 1.25M: three digits are all that a timing is worth."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}" if value / unit < 1000 else f"{value / unit:.0f}{name}"
    return f"{value:.3g}"


# --- data -------------------------------------------------------------------------------------------------------------


def adjacency(archive: Path, member: str) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a text file inside a zip whose lines are a user and the user's items, separated by spaces.

    Returns
    -------
    users, items : int64 (pairs,)
    """
    with zipfile.ZipFile(archive) as folder, io.TextIOWrapper(folder.open(member), encoding="ascii") as lines:
        rows = [np.array(line.split(), dtype=np.int64) for line in lines if line.strip()]
    users = np.repeat([row[0] for row in rows], [len(row) - 1 for row in rows])
    return users, np.concatenate([row[1:] for row in rows])


def made_up_pairs(num_users: int, num_items: int, num_pairs: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random pairs in the shape of MovieLens-20M: users alike, item of rank r (from 0) with probability ~ 1 / (r + 10).

    Returns
    -------
    user_rows, item_rows : int32 (num_pairs,)
    """
    rng = np.random.default_rng(seed)
    cumulated = np.cumsum(1 / (np.arange(num_items) + 10.0))
    users = rng.integers(0, num_users, num_pairs, dtype=np.int32)
    ranks = np.searchsorted(cumulated, rng.random(num_pairs) * cumulated[-1])
    # Rank and row must not go together: popular items side by side would flatter every cache.
    row_of_rank = rng.permutation(num_items).astype(np.int32)
    return users, row_of_rank[ranks]
