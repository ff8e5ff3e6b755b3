"""What is shown of work that lasts: a bar for a person, for `fit` also a line an epoch for a log."""

from __future__ import annotations

import sys
import time
import warnings
from types import TracebackType
from typing import Any


def _has_reader() -> bool:
    """Whether somebody watches: a terminal, or a notebook."""
    if sys.stderr.isatty():
        return True
    get_ipython = sys.modules["IPython"].get_ipython if "IPython" in sys.modules else None
    return get_ipython is not None and type(get_ipython()).__name__ == "ZMQInteractiveShell"


def _new_bar(**options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm says that a notebook without ipywidgets has a plainer bar
        from tqdm.auto import tqdm
    return tqdm(leave=True, mininterval=0.2, **options)


class Bar:
    """A bar over work of a known amount, for a person, from the first second on that it lasts.

    Parameters
    ----------
    title : str
    total : int
    unit : str
        What is counted.
    verbose : int
        1: shown where somebody watches. Otherwise never: a log has no use for it.
    """

    def __init__(self, title: str, *, total: int, unit: str, verbose: int) -> None:
        shown = verbose == 1 and _has_reader()
        self._bar = _new_bar(desc=title, total=total, unit=unit, delay=1.0) if shown else None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, count: int) -> None:
        """Note that so much more is done."""
        if self._bar is not None:
            self._bar.update(count)


class Progress:
    """Counts examples of a training run and says how it goes.

    Parameters
    ----------
    title : str
        First words of the bar or of each line.
    total_steps, total_epochs : int
    verbose : int
        0: nothing. 1: a bar where somebody watches, else a line an epoch. 2: a line an epoch always.
    """

    def __init__(self, title: str, *, total_steps: int, total_epochs: int, verbose: int) -> None:
        self._title, self._total_epochs = title, total_epochs
        self._lines = verbose >= 2 or (verbose == 1 and not _has_reader())
        self._bar: Any = None
        if verbose == 1 and not self._lines:
            self._bar = _new_bar(desc=title, total=total_steps, unit="step")
        self._notes: dict[str, str] = {}
        self._examples, self._loss, self._started = 0, 0.0, time.perf_counter()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def say(self, sentence: str) -> None:
        """Write a sentence of its own, above the bar."""
        if self._bar is not None:
            self._bar.write(sentence, file=sys.stderr)
        elif self._lines:
            print(sentence, file=sys.stderr, flush=True)

    def add(self, steps: int, examples: int, loss: float) -> None:
        self._examples += examples
        self._loss = loss
        if self._bar is not None:
            self._bar.set_postfix(self._figures() | self._notes, refresh=False)
            self._bar.update(steps)

    def end_epoch(self, epoch: int, loss: float, notes: dict[str, str]) -> None:
        """Note the mean loss of an epoch (from 1) and what validation gave."""
        self._notes, self._loss = notes, loss
        if self._lines:
            figures = "  ".join(f"{name} {value}" for name, value in (self._figures() | notes).items())
            print(f"{self._title}: epoch {epoch}/{self._total_epochs}  {figures}", file=sys.stderr, flush=True)

    def _figures(self) -> dict[str, str]:
        seconds = max(time.perf_counter() - self._started, 1e-9)
        return {"loss": f"{self._loss:.4f}", "examples/s": f"{self._examples / seconds:,.0f}"}
