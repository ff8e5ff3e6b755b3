"""What training_speed.py races: pairs, cases, and the batches that torch is given ready-made."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from _results import NO_BAR, Bar

WIDTH = 64


@dataclass(frozen=True)
class Pairs:
    """Training pairs."""

    users: np.ndarray  # int32 (pairs)
    items: np.ndarray  # int32 (pairs)
    num_users: int
    num_items: int


@dataclass(frozen=True)
class Case:
    """One race: how batches are made, what the towers are, who takes part."""

    name: str
    batch_size: int
    hidden: tuple[int, ...] = ()
    group_size: int = 1
    negatives: int = 0
    item_bias: bool = False
    optimizer: str = "adagrad"
    learning_rate: float = 0.05
    torch_forms: tuple[tuple[str, str], ...] = (("pairs", "adagrad"), ("distinct", "adagrad"), ("by hand", "adagrad"))
    bar: Bar = NO_BAR


CASES = (
    Case("pairs, ids only, 256", 256, bar=Bar(ratio=3, scaling=1.8)),
    Case("pairs, ids only, 1024", 1024, bar=Bar(ratio=2.5, share=0.65, scaling=1.8)),
    Case("pairs, ids only, 4096", 4096, bar=Bar(ratio=5, scaling=1.8)),
    Case(
        "pairs, hidden 128, 1024, Adam",
        1024,
        hidden=(128,),
        optimizer="adam",
        learning_rate=0.003,
        torch_forms=(("pairs", "adam"), ("by hand", "adam"), ("by hand", "lazy_adam")),
        bar=Bar(ratio=2, scaling=1.8),
    ),
    Case(
        "arranged by user, 4096 + 2048 drawn, item bias, Adam",
        4096,
        group_size=16,
        negatives=2048,
        item_bias=True,
        optimizer="adam",
        learning_rate=0.01,
        torch_forms=(("distinct", "adam"), ("by hand", "adam"), ("by hand", "lazy_adam")),
        bar=Bar(ratio=3, scaling=1.8),
    ),
)


class BatchMaker:
    """Batches as the core makes them: a share of the users' groups, distinct candidates, their log weights."""

    def __init__(self, case: Case, pairs: Pairs, *, seed: int = 1) -> None:
        self._case, self._num_items = case, pairs.num_items
        self._rng = np.random.default_rng(seed)
        order = np.lexsort((self._rng.random(len(pairs.users)), pairs.users))
        self._items, users = pairs.items[order], pairs.users[order]
        of_user = np.arange(len(users)) - np.searchsorted(users, users)
        begins = np.flatnonzero(of_user % case.group_size == 0)
        self._offsets = np.append(begins, len(users))
        self._owner = users[begins]
        self._groups_a_batch = min(len(begins), round(case.batch_size * len(begins) / len(users)))
        self._log_weight = self._log_weights(min(math.ceil(len(users) / case.batch_size), len(begins)))

    def _log_weights(self, batches: int) -> np.ndarray:
        """-log P of every item, P = 1 - (1 - 1 / batches)^n (1 - 1 / items)^negatives for an item of n positives."""
        counts = np.bincount(self._items, minlength=self._num_items)
        absent = (1 - 1 / batches) ** counts * (1 - 1 / self._num_items) ** self._case.negatives
        return -np.log(np.where(absent < 1, 1 - absent, 1.0))  # what cannot be there gets 0

    def make(self, count: int, *, as_pairs: bool = False) -> list[dict[str, np.ndarray]]:
        """Up to `count` batches of other groups each."""
        groups = self._rng.permutation(len(self._owner))
        count = min(count, len(groups) // self._groups_a_batch)
        parts = groups[: count * self._groups_a_batch].reshape(count, -1)
        return [self.batch(part, self._draw(), as_pairs=as_pairs) for part in parts]

    def _draw(self) -> np.ndarray:
        return self._rng.integers(0, self._num_items, self._case.negatives, dtype=np.int32)

    def batch(self, groups: np.ndarray, drawn: np.ndarray, *, as_pairs: bool) -> dict[str, np.ndarray]:
        """The batch of some groups and some drawn items.

        `as_pairs` gives one column a pair, without drawn ones; an item that is there m times then weighs 1 / m of what it does alone.
        """
        begins, ends = self._offsets[groups], self._offsets[groups + 1]
        rows = np.repeat(np.arange(len(groups)), ends - begins)
        items = self._items[np.concatenate([np.arange(begin, end) for begin, end in zip(begins, ends, strict=True)])]
        if as_pairs:
            candidates, columns = items, np.arange(len(items))
            log_weights = self._log_weight[items] - np.log(np.bincount(items, minlength=self._num_items)[items])
        else:
            candidates, columns = np.unique(np.concatenate([items, drawn]), return_inverse=True)
            columns, log_weights = columns[: len(items)], self._log_weight[candidates]
        return {
            "queries": self._owner[groups],
            "candidates": candidates,
            "log_weights": log_weights,
            "row_of_positive": rows,
            "columns": columns,
            "weights": np.full(len(items), 1 / len(items)),
        }


def arithmetic(case: Case, batch: dict[str, np.ndarray]) -> float:
    """Floating point operations of a step on distinct candidates, forward and backward, matrix products alone."""
    rows, columns = len(batch["queries"]), len(batch["candidates"])
    widths = [WIDTH, *case.hidden, WIDTH] if case.hidden else []
    layers = sum(before * after for before, after in itertools.pairwise(widths))
    return 6.0 * rows * columns * WIDTH + 6.0 * (rows + columns) * layers
