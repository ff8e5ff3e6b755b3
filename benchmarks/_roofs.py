"""The machine's limits, measured in the same run as the contestants by roofs.cpp, which the system's compiler makes when it is asked.

Without a C++ compiler, or on another CPU than x86-64, every roof but numpy's sgemm is None, and shares of it are "-".
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import _common as common

NAMES = ("fma", "vnni", "read", "triad", "rows")
_SOURCE = Path(__file__).with_name("roofs.cpp")
_UNITS = {"flop/s": (1e9, "GFLOP/s"), "op/s": (1e9, "Gop/s"), "B/s": (1e9, "GB/s"), "rows/s": (1e6, "M rows/s")}


@dataclass(frozen=True)
class Roof:
    """One figure: of what, with how many threads, over how many bytes of memory (0 where there are none)."""

    roof: str
    threads: int
    bytes: int
    value: float
    unit: str


class Roofs:
    """Limits for numbers of threads."""

    def __init__(self, found: Sequence[Roof]) -> None:
        self._found = found

    @staticmethod
    def measure(
        threads: Sequence[int], only: Sequence[str] = ("fma",), *, megabytes: int = 256, quick: bool = False
    ) -> Roofs:
        """Run the loops: a quarter of a second each, and as much memory as is asked for.

        Parameters
        ----------
        threads : sequence of int
            Numbers of threads.
        only : sequence of str
            Of NAMES, and "sgemm", which is numpy's.
        megabytes : int
            All memory that reads, triad and rows may take; larger sizes are left out.
        quick : bool
            A smaller matrix product.
        """
        names = [name for name in NAMES if name in only]
        found = [sgemm(count, quick=quick) for count in threads if "sgemm" in only]
        program = _compiled() if names else None
        if program is not None:
            arguments = [str(megabytes), ",".join(map(str, threads)), *names]
            lines = subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout
            found += [Roof(**json.loads(line)) for line in lines.splitlines()]
        return Roofs(found)

    def fma(self, threads: int) -> float | None:
        """flop/s of float32 multiplications and additions with the widest registers."""
        return self._best("fma", threads)

    def vnni(self, threads: int) -> float | None:
        """op/s of sums of products of bytes."""
        return self._best("vnni", threads)

    def read(self, threads: int, num_bytes: float) -> float | None:
        """Bytes a second, read from memory of this size; of the largest that was measured, if that is smaller."""
        found = [one for one in self._found if one.roof == "read" and one.threads == threads]
        if not found:
            return None
        return min(found, key=lambda one: (one.bytes < num_bytes, abs(one.bytes - num_bytes))).value

    def _best(self, kind: str, threads: int) -> float | None:
        return max(
            (one.value for one in self._found if one.roof.startswith(kind) and one.threads == threads), default=None
        )

    def table(self) -> common.Table:
        """All of them, a column a number of threads."""
        threads = sorted({one.threads for one in self._found})
        title = "Roofs" if self._found else "Roofs: none, since there is no C++ compiler for roofs.cpp"
        table = common.Table(title, ["roof", "unit", *(f"{count} thread(s)" for count in threads)])
        for roof, num_bytes, unit in dict.fromkeys((one.roof, one.bytes, one.unit) for one in self._found):
            scale, name = _UNITS[unit]
            of = {one.threads: one.value / scale for one in self._found if (one.roof, one.bytes) == (roof, num_bytes)}
            size = f", {_size(num_bytes)}" if num_bytes else ""
            table.add(roof + size, name, *(f"{of[count]:.0f}" if count in of else "-" for count in threads))
        return table


def share(work: float, seconds: float, roof: float | None) -> float | None:
    """Of a roof, that doing so much in so many seconds is."""
    return None if roof is None else work / seconds / roof


def sgemm(threads: int, *, quick: bool) -> Roof:
    """Multiply matrices of 4096^3 in numpy, float32: what a peer that calls BLAS can reach."""
    size = 1024 if quick else 4096
    a, b = (np.random.default_rng(seed).random((size, size), dtype=np.float32) for seed in range(2))
    out = np.empty((size, size), dtype=np.float32)
    with common.blas_threads(threads):
        timing = common.interleave({"sgemm": lambda: np.matmul(a, b, out=out)}, repeats=3)["sgemm"]
    return Roof("sgemm of numpy", threads, 0, 2.0 * size**3 / timing.best, "flop/s")


def _compiled() -> Path | None:
    """The program, compiled anew when its source has changed; None without a compiler."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", ""), "c++", "g++", "clang++"))), None)
    if compiler is None or platform.machine() not in ("x86_64", "AMD64"):
        return None
    folder = Path(__file__).resolve().parents[1] / "build" / "roofs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a tree that may only be read
        folder = Path(tempfile.mkdtemp())
    program = folder / f"roofs-{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]}"
    if not program.exists():
        flags = ["-std=c++20", "-O3", "-ffp-contract=fast", "-pthread"]
        made = subprocess.run([compiler, *flags, "-o", program, _SOURCE], check=False, capture_output=True)
        if made.returncode != 0:
            return None
    return program


def _size(num_bytes: int) -> str:
    for unit, name in ((2**30, "GB"), (2**20, "MB"), (2**10, "KB")):
        if num_bytes >= unit:
            return f"{num_bytes / unit:.0f} {name}"
    return f"{num_bytes} B"
