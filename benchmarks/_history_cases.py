"""What history_speed.py races: lists, cases, and the batches that torch is given ready-made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import _common as common
from _results import NO_BAR, Bar

WIDTH, LENGTH = 64, 50


@dataclass(frozen=True)
class Case:
    """One race: the encoder, how batches are made, who takes part."""

    name: str
    kind: str  # of encoder
    batch_size: int  # examples
    negatives: int
    torch_forms: tuple[tuple[str, str, str], ...]  # encoder, loss, optimizer
    dropout: float = 0.0
    blocks: int = 2
    length: int = LENGTH
    learning_rate: float = 0.001
    bar: Bar = NO_BAR

    def arithmetic(self, columns: float) -> float:
        """Floating point operations of a step, forward and backward, matrix products alone."""
        positions = 0 if self.kind == "mean" else self.batch_size
        return 6.0 * self.batch_size * columns * WIDTH + 3.0 * positions * self.blocks * (
            12 * WIDTH**2 + 2 * WIDTH * self.length
        )


MEAN_FORMS = (
    ("padded", "distinct", "adam"),
    ("bag", "distinct", "adam"),
    ("bag", "by hand", "adam"),
    ("bag", "by hand", "lazy_adam"),
)
TRANSFORMER_FORMS = (
    ("modules", "distinct", "adam"),
    ("sdpa", "distinct", "adam"),
    ("sdpa", "by hand", "adam"),
    ("compiled", "by hand", "adam"),
)
CASES = (
    Case("mean of 50, 1024", "mean", 1024, 0, MEAN_FORMS, bar=Bar(ratio=3, scaling=1.8)),
    Case(
        "transformer, 128 windows of 50",
        "transformer",
        128 * LENGTH,
        512,
        TRANSFORMER_FORMS,
        bar=Bar(ratio=1.5, scaling=1.8),
    ),
    Case(
        "transformer, 128 windows of 50, dropout 0.2", "transformer", 128 * LENGTH, 512, TRANSFORMER_FORMS, dropout=0.2
    ),
)


@dataclass(frozen=True)
class Lists:
    """Everybody's items, oldest first."""

    offsets: np.ndarray  # int64 (people + 1)
    items: np.ndarray  # int32
    num_items: int

    @property
    def people(self) -> int:
        return len(self.offsets) - 1

    @property
    def owners(self) -> np.ndarray:
        return np.repeat(np.arange(self.people, dtype=np.int32), np.diff(self.offsets))


def made_up_lists(people: int, length: int, num_items: int) -> Lists:
    _, items = common.made_up_pairs(people, num_items, people * length)
    return Lists(np.arange(people + 1, dtype=np.int64) * length, items, num_items)


def full_batches(case: Case, lists: Lists, count: int) -> list[dict[str, np.ndarray]]:
    """Batches of full windows, with the weights that the core gives candidates."""
    rng = np.random.default_rng(1)
    sequences = case.batch_size if case.kind == "mean" else case.batch_size // case.length
    batches_an_epoch = max(1, round(len(lists.items) / case.batch_size))
    appearances = np.bincount(lists.items, minlength=lists.num_items)
    absent = (1 - 1 / batches_an_epoch) ** appearances * (1 - 1 / lists.num_items) ** case.negatives
    log_weight = -np.log(np.where(absent < 1, 1 - absent, 1.0))
    longest = np.diff(lists.offsets).min()
    made = []
    for _ in range(count):
        people = rng.integers(0, lists.people, sequences)
        begin = lists.offsets[people] + rng.integers(0, longest - case.length, sequences)
        windows = lists.items[begin[:, None] + np.arange(case.length + 1)]
        targets = windows[:, -1] if case.kind == "mean" else windows[:, 1:].reshape(-1)
        drawn = rng.integers(0, lists.num_items, case.negatives)
        candidates, columns = np.unique(np.concatenate([targets, drawn]), return_inverse=True)
        made.append(
            {
                "queries": np.arange(len(targets)),
                "candidates": candidates,
                "log_weights": log_weight[candidates],
                "row_of_positive": np.arange(len(targets)),
                "columns": columns[: len(targets)],
                "weights": np.full(len(targets), 1 / len(targets)),
                "histories": windows[:, :-1],
                "lengths": np.full(sequences, case.length),
            }
        )
    return made


def whole_batch(case: Case, lists: Lists) -> dict[str, np.ndarray]:
    """All items of all lists, each with what lies before it, and nothing drawn."""
    begins = np.repeat(lists.offsets[:-1], np.diff(lists.offsets))
    before = np.arange(len(lists.items)) - begins
    if case.kind == "mean":  # a history an item
        histories = np.zeros((len(lists.items), case.length), np.int64)
        for row, (begin, length) in enumerate(zip(begins, before, strict=True)):
            histories[row, :length] = lists.items[begin : begin + length]
        more = {"histories": histories, "lengths": before}
    else:  # a history a list; row `length` of its output, the first being that of an empty one
        histories = np.zeros((lists.people, case.length), np.int64)
        for row, (begin, end) in enumerate(zip(lists.offsets, lists.offsets[1:], strict=False)):
            histories[row, : end - begin] = lists.items[begin:end]
        more = {
            "histories": histories,
            "lengths": np.diff(lists.offsets),
            "reads": lists.owners * (case.length + 1) + before,
        }
    candidates, columns = np.unique(lists.items, return_inverse=True)
    rows = np.arange(len(lists.items))
    return {
        "queries": rows,
        "candidates": candidates,
        "log_weights": np.zeros(len(candidates)),
        "row_of_positive": rows,
        "columns": columns,
        "weights": np.full(len(rows), 1 / len(rows)),
        **more,
    }
