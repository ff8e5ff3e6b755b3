"""What having the package costs: seconds of `import twotower`, bytes of the wheel and of the installed files.

What is measured
    - import     `python -c "import twotower"` in a fresh process, less the same process with nothing to import; the files are in the
                 disk's cache. In turns with `import implicit`, `import torch` and others, those that are installed.
    - wheel      the file named by --wheel, or the newest in dist/ or wheelhouse/. Without one, the installed files are packed as a
                 wheel packs them (zip, deflate), and the figure is called an estimate.
    - installed  files of the package, without byte code, its libraries (oneTBB) included; what it needs beside it (numpy, narwhals,
                 tqdm, safetensors) is not counted.

    A wheel for everybody has one core for each level of x86-64 (v2, v3, v4); a source install has one. The table says how many.

How to run
    python benchmarks/footprint.py                        half a minute
    python benchmarks/footprint.py --wheel dist/twotower-0.1.0-cp311-cp311-manylinux_2_28_x86_64.whl
    python benchmarks/footprint.py --quick
"""

from __future__ import annotations

import functools
import importlib.util
import io
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import _common as common
import twotower as tt
from _results import Bar, Result

PEERS = ("implicit", "torch", "faiss", "lightfm", "tensorflow")
NOTHING = "(nothing)"
PACKAGE = Path(tt.__file__).parent
REPOSITORY = Path(__file__).resolve().parents[1]
IMPORT_BAR, WHEEL_BAR = Bar(value=0.3), Bar(value=15)


# --- import -----------------------------------------------------------------------------------------------------------


def import_times(repeats: int) -> dict[str, common.Timing]:
    """Seconds of a process that imports one module and ends."""
    names = ["twotower", *(name for name in PEERS if importlib.util.find_spec(name) is not None)]
    statements = {NOTHING: "pass"} | {name: f"import {name}" for name in names}
    return common.interleave(
        {name: functools.partial(_run, statement) for name, statement in statements.items()}, repeats=repeats
    )


def _run(statement: str) -> None:
    subprocess.run([sys.executable, "-c", statement], check=True)


def import_table(timings: dict[str, common.Timing]) -> common.Table:
    nothing = timings[NOTHING].median
    table = common.Table(
        f"Import, s, in a fresh process; without the {nothing:.3f} s of a process that imports nothing",
        ["module", "median", "best", "spread", "of twotower's"],
    )
    mine = timings["twotower"].median - nothing
    for name, timing in timings.items():
        if name == NOTHING:
            continue
        seconds = timing.median - nothing
        table.add(
            name, f"{seconds:.3f}", f"{timing.best - nothing:.3f}", f"{timing.spread:.0%}", f"{seconds / mine:.1f}"
        )
    return table


# --- size -------------------------------------------------------------------------------------------------------------


def installed_files() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]


def wheel(named: Path | None) -> tuple[str, int]:
    """The wheel in words, and its bytes."""
    if named is not None:
        return named.name, named.stat().st_size
    built = [path for folder in ("dist", "wheelhouse") for path in (REPOSITORY / folder).glob("twotower-*.whl")]
    if built:
        newest = max(built, key=lambda path: path.stat().st_mtime)
        return newest.name, newest.stat().st_size
    return "estimate: the installed files, packed", packed_size(installed_files())


def packed_size(files: Iterable[Path]) -> int:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as folder:
        for path in files:
            folder.write(path, path.relative_to(PACKAGE.parent))
    return len(archive.getvalue())


def levels() -> list[str]:
    """The cores that are installed, such as v4."""
    return sorted(path.name.split(".")[0].removeprefix("_core_") for path in PACKAGE.glob("_core/_core_v*.so"))


def size_table(what: str, wheel_bytes: int) -> common.Table:
    files = installed_files()
    table = common.Table(f"Size, MB; cores: {', '.join(levels())}", ["", "MB", "files"])
    table.add(f"wheel ({what})", f"{wheel_bytes / 1e6:.2f}", "1")
    table.add("installed", f"{_bytes(files) / 1e6:.2f}", len(files))
    compiled = [path for path in files if ".so" in path.suffixes or ".so." in path.name]
    for path in sorted(compiled, key=lambda path: -path.stat().st_size):
        table.add(f"  {path.relative_to(PACKAGE)}", f"{path.stat().st_size / 1e6:.2f}", "1")
    python = [path for path in files if path.suffix in (".py", ".pyi")]
    table.add("  Python", f"{_bytes(python) / 1e6:.2f}", len(python))
    return table


def _bytes(files: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in files)


# --- the program ------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = common.argument_parser(__doc__)
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="default: the newest in dist/ or wheelhouse/")
    parser.add_argument("--repeats", type=int, default=7, help="rounds that count (default %(default)s)")
    options = parser.parse_args()
    if options.quick:
        options.repeats = 1
    report = common.Report("Footprint", options.markdown, options.json)
    report.machine(common.machine(["implicit", "torch"]))
    timings = import_times(options.repeats)
    report.table(import_table(timings))
    what, wheel_bytes = wheel(options.wheel)
    report.table(size_table(what, wheel_bytes))

    nothing = timings[NOTHING].median
    peers = {name: timing.median - nothing for name, timing in timings.items() if name not in (NOTHING, "twotower")}
    fastest = min(peers, key=lambda name: peers[name], default=None)
    report.result(
        Result(
            "import time",
            "s",
            timings["twotower"].median - nothing,
            peer=None if fastest is None else peers[fastest],
            peer_name=fastest or "",
            less_is_better=True,
            spread=timings["twotower"].spread,
            bar=IMPORT_BAR,
            note="" if peers else f"not installed: {', '.join(PEERS)}",
        )
    )
    report.result(
        Result(
            "wheel size",
            "MB",
            wheel_bytes / 1e6,
            less_is_better=True,
            bar=WHEEL_BAR,
            note=f"{what}; cores {', '.join(levels())}",
        )
    )


if __name__ == "__main__":
    main()
