"""A frame with columns of every kind becomes arrays: seconds per kind, seconds in all, peak memory against the frame.

What is measured
    Made-up rows, once as a pandas and once as a polars frame: ids (whole numbers and text), a category (text, 1,000 values),
    lists of tags (0 to 4 of 200), text to be split (1 to 3 of 18 genres, "a|b"), a number with 5 % missing (standardised), a number in 32 quantile
    buckets, a time in seconds (hour, weekday, cyclic, 32 buckets), titles of 5 to 8 words (of 100,000, few of them frequent),
    titles with runs of 3 to 5 characters hashed as well, vectors of 16 floats.

    "fit" learns vocabularies and statistics of the frame (what TwoTower.fit does first), "transform" encodes it. "all" does both
    for every column at once and keeps the result, without the line with runs of characters, whose result alone is ten times
    its column.

    "frame" is what the library says of the frame's size (pandas: memory_usage(deep=True); polars: estimated_size). "peak" is the
    largest resident memory of the process while it encodes, less that before, with the frame already there: "result" is the
    part of it that is left at the end, the arrays. The bar: frame and peak together stay under three times the frame.

How to run
    python benchmarks/encoding.py                        a million rows, about 2 minutes on two cores
    python benchmarks/encoding.py --rows 200000 --libraries polars
    python benchmarks/encoding.py --quick                20,000 rows, seconds
    python benchmarks/encoding.py --markdown out.md      keep it

How to read
    Frames are made by one process and read from a file by another, whose memory is fresh: it encodes all columns first, then
    kind by kind. Seconds are wall time of one run, with the core's default number of threads. Peaks are those that Linux
    keeps (VmHWM, reset before each run), so nothing between two samples is lost.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import _common as common
from twotower import frames
from twotower.features import FeatureEncoder
from twotower.schema import Categories, Category, Numeric, Text, Timestamp, Vector
from twotower.vocabulary import Vocabulary

LIBRARIES = ("pandas", "polars")
MIB = 2**20
NOT_IN_ALL = "text, words and characters"


@dataclass(frozen=True)
class Measured:
    """One run: seconds, and bytes of resident memory above those before."""

    name: str
    fit: float
    transform: float
    peak: int
    result: int


# --- the frame --------------------------------------------------------------------------------------------------------


def columns(rows: int) -> dict[str, Any]:
    """Lists and arrays, one of each a column; the frames of all libraries hold the same values."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(["".join(rng.choice(letters, n)) for n in rng.integers(2, 11, 100_000)], dtype=object)
    frequency = 1 / (np.arange(len(words)) + 10.0)
    frequency /= frequency.sum()
    tags = np.array([f"tag {n}" for n in range(200)], dtype=object)
    titles = ragged(words[rng.choice(len(words), 8 * rows, p=frequency)], rng.integers(5, 9, rows))
    tag_lists = ragged(tags[rng.integers(0, len(tags), 4 * rows)], rng.integers(0, 5, rows))
    genres = np.array([f"Genre {n}" for n in range(18)], dtype=object)
    genre_lists = ragged(genres[rng.integers(0, len(genres), 3 * rows)], rng.integers(1, 4, rows))
    price = rng.lognormal(3, 1, rows)
    price[rng.random(rows) < 0.05] = np.nan
    return {
        "user_id": rng.integers(0, max(rows // 5, 1), rows),
        "item_id": [f"item-{n:07d}" for n in rng.integers(0, max(rows // 10, 1), rows)],
        "category": words[rng.integers(0, 1000, rows)].tolist(),
        "tags": tag_lists,
        "genres": ["|".join(values) for values in genre_lists],
        "price": price,
        "votes": rng.integers(0, 10_000, rows),
        "timestamp": rng.integers(1_000_000_000, 1_700_000_000, rows),
        "title": [" ".join(title).title() for title in titles],
        "vector": rng.standard_normal((rows, 16), dtype=np.float32),
    }


def ragged(values: np.ndarray, counts: np.ndarray) -> list[list[Any]]:
    ends = np.cumsum(counts).tolist()
    plain = values[: ends[-1]].tolist()
    return [plain[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def make_frame(library: str, rows: int) -> Any:
    made = columns(rows)
    if library == "pandas":
        # Each row owns its vector, as rows that were read from a file do; views of one matrix would hide the matrix.
        made["vector"] = [row.copy() for row in made["vector"]]
    return importlib.import_module(library).DataFrame(made)


def size_of(native: Any) -> int:
    """Bytes of the frame, as its library counts them."""
    if hasattr(native, "estimated_size"):
        return int(native.estimated_size())
    return int(native.memory_usage(deep=True).sum())


# --- one library, in a process of its own -----------------------------------------------------------------------------


def measure(name: str, fit: Callable[[], Any], transform: Callable[[Any], Any]) -> Measured:
    before = common.reset_peak()
    start = time.perf_counter()
    learned = fit()
    middle = time.perf_counter()
    kept = transform(learned)
    end = time.perf_counter()
    peak, after = common.resident("VmHWM"), common.resident("VmRSS")
    del kept
    return Measured(name, middle - start, end - middle, peak - before, after - before)


def kinds() -> dict[str, list[Any]]:
    """The columns of each line of the table."""
    time_column = Timestamp("timestamp", parts=("hour", "weekday"), cyclic=True, buckets=32)
    return {
        "category": [Category("category")],
        "lists": [Categories("tags")],
        "text to be split": [Categories("genres", separator="|")],
        "number": [Numeric("price")],
        "number in buckets": [Numeric("votes", buckets=32)],
        "time": [time_column],
        "text, words": [Text("title")],
        NOT_IN_ALL: [Text("title", chars=(3, 5), buckets=100_000)],
        "text, TF-IDF": [Text("title", encoding="tfidf")],
        "vectors": [Vector("vector")],
    }


def run_library(native: Any) -> dict[str, Any]:
    """Encode a frame; what is printed as JSON for the process that asked."""
    frame = frames.table(native, "encoding")

    def ids(names: tuple[str, ...]) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        return (
            lambda: [Vocabulary.fit(frame.get_column(name)) for name in names],
            lambda learned: [v.encode(frame.get_column(name)) for v, name in zip(learned, names, strict=True)],
        )

    def features(wanted: list[Any]) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        return (
            lambda: FeatureEncoder.fit(frame, wanted, "encoding"),
            lambda encoder: (encoder, encoder.transform(frame, "encoding")),
        )

    in_all = [c for name, wanted in kinds().items() if name not in (NOT_IN_ALL, "text, TF-IDF") for c in wanted]
    (fit_ids, encode_ids), (fit_features, encode_features) = ids(("user_id", "item_id")), features(in_all)
    measured = [
        measure(
            "all",
            lambda: (fit_ids(), fit_features()),
            lambda learned: (encode_ids(learned[0]), encode_features(learned[1])),
        )
    ]
    measured += [measure(f"ids, {label}", *ids((n,))) for label, n in (("numbers", "user_id"), ("text", "item_id"))]
    measured += [measure(name, *features(wanted)) for name, wanted in kinds().items()]
    return {"size": size_of(native), "measured": [asdict(m) for m in measured]}


# --- all libraries ----------------------------------------------------------------------------------------------------


def table_of(library: str, rows: int) -> common.Table:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--file", f"{folder}/frame", "--rows", str(rows), "--libraries", library]
        subprocess.run([*command, "--step", "make"], check=True)
        done = subprocess.run([*command, "--step", "encode"], check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    size, measured = found["size"], [Measured(**m) for m in found["measured"]]
    table = common.Table(
        f"{library}, {rows:,} rows, frame {size / MIB:,.0f} MiB",
        ("kind", "fit s", "transform s", "both s", "peak MiB", "result MiB"),
    )
    for m in [*measured[1:], measured[0]]:
        both = f"{m.fit + m.transform:.2f}"
        table.add(m.name, f"{m.fit:.2f}", f"{m.transform:.2f}", both, f"{m.peak / MIB:,.0f}", f"{m.result / MIB:,.0f}")
    share = (size + measured[0].peak) / size
    table.notes.append(f"All at once: frame and peak are {share:.2f} times the frame (bar: under 3).")
    return table


def main() -> None:
    parser = common.argument_parser(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="default %(default)s")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--step", choices=("make", "encode"), help=argparse.SUPPRESS)  # this process's part
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rows = 20_000 if options.quick else options.rows
    if options.step == "make":
        options.file.write_bytes(pickle.dumps(make_frame(options.libraries[0], rows), protocol=5))
        return
    if options.step == "encode":
        with options.file.open("rb") as file:
            native = pickle.load(file)
        print(json.dumps(run_library(native)))
        return
    report = common.Report("Encoding", options.markdown)
    report.machine(common.machine(["pandas", "polars", "pyarrow", "narwhals"]))
    for library in options.libraries:
        if common.optional_module(library) is None:
            report.note(f"Not installed, so not measured: {library}.")
        else:
            report.table(table_of(library, rows))


if __name__ == "__main__":
    main()
