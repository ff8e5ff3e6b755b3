"""What all commands share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import twotower as tt
from twotower.errors import DataError

Commands = Any  # argparse has no public name for what add_subparsers returns


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], None],
    *,
    summary: str,
    about: str = "",
    examples: str,
) -> argparse.ArgumentParser:
    """Add a command with its help; its words are handed to `run`.

    Parameters
    ----------
    summary : str
        One line for the list of commands.
    about : str
        What else `--help` says.
    examples : str
        Command lines, one a line.
    """
    lines = "\n".join(f"  {line.strip()}" for line in examples.strip().splitlines())
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        description=f"{summary[0].upper()}{summary[1:]}." + (f"\n\n{about}" if about else ""),
        epilog=f"examples:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, summary=summary)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads", type=int, default=-1, metavar="N", help="threads; results do not depend on it (default: every CPU)"
    )


def open_model(args: argparse.Namespace) -> Any:
    """Load the model of a command and give it the threads that were asked for."""
    return tt.load(args.model).set_params(n_jobs=args.threads)


def check_target(option: str, path: str | Path) -> Path:
    """Return the path of a file to write, before any work is done for it.

    Raises
    ------
    DataError
        Its folder is missing or read-only, or it is a folder itself.
    """
    target = Path(path).expanduser()
    folder = target.parent
    if target.is_dir():
        raise DataError(f"{option}: {str(path)!r} is a folder; name a file in it")
    if not folder.is_dir():
        raise DataError(f"{option}: there is no folder {str(folder)!r}; make it first, or write elsewhere")
    if not os.access(folder, os.W_OK):
        raise DataError(f"{option}: the folder {str(folder)!r} is read-only; write elsewhere")
    return target
