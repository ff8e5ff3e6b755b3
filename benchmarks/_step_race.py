"""The race of training_speed.py and history_speed.py: contestants that can do steps of training, timed in turns."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import _common as common
from _results import Bar, Result
from _roofs import Roofs, share

INSTALL = "torch is not installed, so ours runs alone; install it with: pip install torch==2.13.0"


@dataclass(frozen=True)
class Rules:
    """How to race, and where to tell."""

    report: common.Report
    roofs: Roofs
    repeats: int
    seconds: float  # of one repeat of one contestant


@dataclass
class Contestant:
    """Something that can do steps with a number of threads, and how many examples a step has."""

    name: str
    run: Callable[[int], object]
    examples_a_step: float
    threads: int
    is_ours: bool
    extra_s: float = 0.0  # a step's share of what is done once an epoch
    steps: int = 1  # a repeat

    def calibrate(self, seconds: float) -> None:
        self.run(2)
        self.steps = max(1, round(2 * seconds / _seconds(functools.partial(self.run, 2))))

    def repeat(self) -> None:
        self.run(self.steps)

    def rate(self, seconds: float) -> float:
        """Examples a second, from the seconds of one repeat."""
        return self.examples_a_step / (seconds / self.steps + self.extra_s)

    def __str__(self) -> str:
        return f"{self.name}, {self.threads} thread{'s' if self.threads > 1 else ''}"


def our_contestants(trainer: Any, name: str, examples: int, threads_list: Sequence[int]) -> list[Contestant]:
    """The same core trainer with each number of threads; the first step of an epoch arranges it, for which all steps pay."""
    steps = trainer.steps_per_epoch
    found = []
    for threads in threads_list:
        run = functools.partial(_run_steps, trainer, threads)
        first, second = (_seconds(functools.partial(run, 1)) for _ in range(2))
        arranging = max(0.0, first - second) if not found else found[0].extra_s * steps
        found.append(Contestant(name, run, examples / steps, threads, True, extra_s=arranging / steps))
    return found


def _run_steps(trainer: Any, threads: int, count: int) -> None:
    trainer.run_steps(count, threads)


def torch_contestants(
    trainer: Any, name: str, pool: Sequence[Any], examples: float, threads_list: Sequence[int]
) -> list[Contestant]:
    """A torch trainer on batches made beforehand, with each number of threads: more are not always faster."""
    import torch

    place = 0

    def run(threads: int, count: int) -> None:
        nonlocal place
        torch.set_num_threads(threads)
        for _ in range(count):
            trainer.step(pool[place])
            place = (place + 1) % len(pool)

    return [Contestant(name, functools.partial(run, threads), examples, threads, False) for threads in threads_list]


def race(title: str, batch: str, racers: Sequence[Contestant], work: float, bar: Bar, rules: Rules) -> None:
    """Time all, print the table of the case and keep its result.

    Parameters
    ----------
    title, batch : str
        The case, and what is in a batch.
    racers : sequence of Contestant
        Ours among them with the largest number of threads, which is held against the best of all peers.
    work : float
        Floating point operations of a step.
    bar : Bar
        Of ours.
    rules : Rules
    """
    for racer in racers:
        racer.calibrate(rules.seconds)
    by_name = {str(racer): racer for racer in racers}
    peers = [name for name, racer in by_name.items() if not racer.is_ours]
    first = {name: _seconds(racer.repeat) for name, racer in by_name.items()}
    lost = common.losers({name: 1 / racer.rate(first[name]) for name, racer in by_name.items()}, peers)
    rounds = {name: racer.repeat for name, racer in by_name.items() if name not in lost}
    timings = common.interleave(rounds, repeats=rules.repeats, warm_up=0)
    timings |= {name: common.Timing((first[name],)) for name in lost}
    rates = {name: racer.rate(timings[name].median) for name, racer in by_name.items()}

    ours = [name for name, racer in by_name.items() if racer.is_ours]
    mine = max(ours, key=lambda name: by_name[name].threads)
    shares = {
        name: share(work, racer.examples_a_step / rates[name], rules.roofs.fma(racer.threads))
        for name, racer in by_name.items()
    }
    table = common.Table(
        f"{title}: {batch}, {work / 1e9:.2f} GFLOP a step",
        ["contestant", "examples/s median", "best", "spread", "FMA", "ours / it"],
    )
    for name, racer in by_name.items():
        table.add(
            name + (" (one round)" if name in lost else ""),
            common.thousands(rates[name]),
            common.thousands(racer.rate(timings[name].best)),
            f"{timings[name].spread:.0%}",
            common.percent(shares[name]),
            f"{rates[mine] / rates[name]:.2f}",
        )
    rules.report.table(table)
    best = max(peers, key=lambda name: rates[name], default=None)
    alone = min(ours, key=lambda name: by_name[name].threads)
    rules.report.result(
        Result(
            title,
            "examples/s",
            rates[mine],
            peer=rates[best] if best else None,
            peer_name=best or "",
            spread=timings[mine].spread,
            share=shares[mine],
            roof="FMA",
            scaling=rates[mine] / rates[alone] if alone != mine else None,
            bar=bar,
            note="" if best else "torch is not installed",
        )
    )


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
