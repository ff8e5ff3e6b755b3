"""`twotower download`, `twotower info` and `twotower --version`."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import twotower as tt
from twotower.cli._commands import Commands, add_command


class Version(argparse.Action):
    """Print the version and leave."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help="print the version")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(f"twotower {tt.__version__}")
        parser.exit()


def add_download(commands: Commands) -> None:
    from twotower.datasets.movielens import NAMES

    parser = add_command(
        commands,
        "download",
        _download,
        summary="fetch a MovieLens set",
        about="From files.grouplens.org, checked against the published md5; a download that breaks is resumed.\n"
        "The sets have terms of their own: see the README in each archive.",
        examples="""
            twotower download ml-100k
            twotower download ml-latest-small --to data
        """,
    )
    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--to", metavar="DIR", help="folder to put it in (default: the cache, $TWOTOWER_DATA)")


def _download(args: argparse.Namespace) -> None:
    from twotower.datasets import _download as download
    from twotower.datasets.movielens import NAMES, movielens
    from twotower.models._options import nearest

    if args.name not in NAMES:
        near = nearest(args.name, NAMES)
        cure = "" if near is None else f"; did you mean {near!r}?"
        raise ValueError(f"download: name is {args.name!r}, but must be one of {', '.join(NAMES)}{cure}")
    path = download.fetch(f"{args.name}.zip", Path(args.to).expanduser() if args.to else None)
    print(movielens(args.name, path))
    print(path)


def add_info(commands: Commands) -> None:
    parser = add_command(
        commands,
        "info",
        _info,
        summary="print what this installation runs on, or what a model file holds",
        examples="""
            twotower info
            twotower info movies.twotower
        """,
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="a file that 'twotower train' wrote")


def _info(args: argparse.Namespace) -> None:
    print(_lines(_model_facts(args.model) if args.model else _machine_facts()))


def _machine_facts() -> dict[str, str]:
    cpu = tt.cpu_info()
    return {
        "twotower": tt.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cpu": f"{cpu['name']}, x86-64-v{cpu['level']}{', AVX512-VNNI' if cpu['vnni'] else ''}",
        "core": f"compiled for x86-64-{cpu['isa']} (TWOTOWER_ISA forces another)",
        "threads": f"{cpu['threads']}, the CPUs that this process may use",
    }


def _model_facts(path: str) -> dict[str, str]:
    model = tt.load(path)
    users, items = len(model.user_ids_), len(model.item_ids_)
    facts = {
        "file": path,
        "size": f"{Path(path).stat().st_size / 1e6:.1f} MB",
        "model": repr(model),
        "users": f"{users:,}",
        "items": f"{items:,}",
        "interactions": f"{len(model.history_):,} seen pairs",
    }
    options = {name: value for name, value in model.get_params().items() if name not in ("n_jobs", "verbose")}
    facts["options"] = "\n".join(f"{name} = {value!r}{_chosen(model, name, value)}" for name, value in options.items())
    schema = getattr(model, "schema_", None)
    if schema is not None:
        facts["schema"] = repr(schema)
    return facts


def _chosen(model: Any, name: str, value: object) -> str:
    """Word what `fit` took where an option left it the choice."""
    taken = getattr(model, f"{name}_", None) if value is None else None
    if taken is None:
        return ""
    return f": {taken:.4g} chosen" if isinstance(taken, float) else f": {taken} chosen"


def _lines(facts: dict[str, str]) -> str:
    """Set names in one column and what they have, which may be several lines, in the next."""
    width = max(map(len, facts)) + 2
    return "\n".join(f"{name:<{width}}" + value.replace("\n", "\n" + " " * width) for name, value in facts.items())
