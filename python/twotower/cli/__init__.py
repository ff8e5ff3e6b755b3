"""The command `twotower`: demo, train, evaluate, recommend, similar, download, info."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence

from twotower.cli import _about, _demo, _evaluate, _lists, _train
from twotower.errors import TwoTowerError

__all__ = ["main"]

# What a shell reports for a program that was ended by SIGINT or SIGPIPE: 128 + the number of the signal.
_INTERRUPTED, _NO_READER = 130, 141
_EXPECTED = (TwoTowerError, ValueError, ImportError, OSError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : strings, optional
        The words after the program's name. Default: those of this process.

    Returns
    -------
    int
        0: done. 1: the data, the model or a file is at fault; one sentence on standard error says how, and ``--debug`` adds
        the traceback. 2: the words are no command. 130: interrupted. 141: whoever read the output has gone.

    Examples
    --------
    >>> main(["recommend", "nowhere.twotower", "--user", "1"])
    1
    """
    is_debug = False
    try:
        _allow_any_text()
        args = _parser().parse_args(argv)
        is_debug = args.debug
        with _warnings_in_one_line():
            args.run(args)
        sys.stdout.flush()
        return 0
    except SystemExit as stop:  # argparse leaves this way after --help, --version and a usage error
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt as stop:
        _report(str(stop) or "interrupted", is_debug)
        return _INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return _NO_READER
    except _EXPECTED as error:
        _report(f"error: {_sentence(error)}", is_debug)
        return 1
    except MemoryError:
        _report("error: the memory is used up; take a smaller part of the data, or a smaller --dim", is_debug)
        return 1
    except Exception as error:  # the last resort, so that nobody meets a traceback
        _report(
            f"error: {type(error).__name__}: {_sentence(error)}; this is a defect, please report what --debug prints",
            is_debug,
        )
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="twotower",
        description="Two-tower recommenders: fit on ratings, recommend, evaluate.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_about.Version)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, help="what to do; COMMAND --help explains it")
    _demo.add_demo(commands)
    _train.add_train(commands)
    _evaluate.add_evaluate(commands)
    _lists.add_recommend(commands)
    _lists.add_similar(commands)
    _about.add_download(commands)
    _about.add_info(commands)
    summaries = {name: command.get_default("summary") for name, command in commands.choices.items()}
    parser.epilog = (
        "commands:\n" + "".join(f"  {name:<9}  {summary}\n" for name, summary in summaries.items()) + "\nexamples:\n"
        "  twotower demo\n"
        "  twotower train --data ml-100k.zip --output movies.twotower\n"
        "  twotower recommend movies.twotower --user 1 --data ml-100k.zip"
    )
    return parser


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Write warnings as messages of the command, without the line of source that caused them."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,
        line: object = None,
    ) -> None:
        print(f"twotower: warning: {' '.join(str(message).split())}", file=sys.stderr, flush=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _allow_any_text() -> None:
    """Let a stream that cannot write some letter of a title write a question mark instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and not (stream.encoding or "").lower().startswith("utf"):
            reconfigure(errors="replace")


def _report(text: str, is_debug: bool) -> None:
    if is_debug:
        traceback.print_exc()
    print(f"twotower: {text}", file=sys.stderr, flush=True)


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _drop_output() -> None:
    """Send what is still buffered nowhere, so that closing standard output at exit does not fail once more."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
