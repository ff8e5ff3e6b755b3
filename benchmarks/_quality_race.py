"""What time_to_quality.py races on: the pairs of a case, the bar, the settings, and the measure.

The measure is the protocol of quality.py: all items ranked, training items left out, recall@20 = hits / test items of the user,
averaged over the users with test items. The lists come from `core.ItemIndex` for every contestant, since all of them score by a
dot product; the metric is written out in numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import _common as common
from _training_cases import Pairs
from twotower._core import core

CUTOFF = 20
VALID_SHARE = 0.1  # of the training pairs, at random, for the choice of settings


@dataclass(frozen=True)
class Recipe:
    """Options of the two-tower, by the names of `tt.TwoTower`; Adam, the learning rate linear to 2 % at the last step."""

    dim: int
    temperature: float
    group_size: int
    negatives: int
    user_balance: float
    epochs: int
    logq: float = 1.0
    batch_size: int = 4096
    learning_rate: float = 0.01


@dataclass(frozen=True)
class Als:
    """Options of implicit's AlternatingLeastSquares."""

    factors: int
    regularization: float
    alpha: float
    iterations: int


@dataclass(frozen=True)
class Case:
    """A data set with a bar, and settings; how they were chosen is told in time_to_quality.py."""

    title: str
    archive: str
    folder: str
    bar: float
    seeds: int
    recipe: Recipe
    als: Als


@dataclass(frozen=True)
class Problem:
    """Pairs to train on and pairs to find.

    Attributes
    ----------
    pairs : Pairs
        Training pairs by user.
    seen : (int64 (users + 1,), int32 (pairs,))
        The same as a list a user.
    users : int32 (n,)
        Measured users.
    relevant : int64 (m,), sorted
        place of the user * items + item, for each pair to find.
    counts : int64 (n,)
        How many each measured user has.
    """

    pairs: Pairs
    seen: tuple[np.ndarray, np.ndarray]
    users: np.ndarray
    relevant: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> Problem:
        num_users, num_items = (int(max(ids.max() for ids in side)) + 1 for side in zip(train, test, strict=True))
        order = np.lexsort((train[1], train[0]))
        users, items = (ids[order].astype(np.int32) for ids in train)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=num_users))])
        measured, places = np.unique(test[0], return_inverse=True)
        relevant = np.unique(places * num_items + test[1])
        return cls(
            pairs=Pairs(users, items, num_users, num_items),
            seen=(offsets, items),
            users=measured.astype(np.int32),
            relevant=relevant,
            counts=np.bincount(relevant // num_items),
        )

    @classmethod
    def read(cls, case: Case, folder: Path, part: str) -> Problem:
        """Train and test of the case; for `valid` a random tenth of train is to be found, and test is not looked at."""
        train, test = (
            common.adjacency(folder / case.archive, f"{case.folder}/{name}.txt") for name in ("train", "test")
        )
        if part == "valid":
            found = np.random.default_rng(7).random(len(train[0])) < VALID_SHARE
            (users, items), test = train, (train[0][found], train[1][found])
            train = users[~found], items[~found]
        return cls.of(train, test)

    def recall(self, user_vectors: np.ndarray, item_vectors: np.ndarray) -> float:
        """Recall@20 of float32 vectors of the measured users (n, width) and of all items (items, width)."""
        rows, _ = core.ItemIndex(np.ascontiguousarray(item_vectors)).top_k(
            np.ascontiguousarray(user_vectors),
            CUTOFF,
            seen_of_query=self.users,
            seen_offsets=self.seen[0],
            seen_items=self.seen[1],
        )
        keys = np.arange(len(rows))[:, None] * self.pairs.num_items + rows
        places = np.minimum(np.searchsorted(self.relevant, keys), len(self.relevant) - 1)
        hits = (self.relevant[places] == keys) & (rows >= 0)
        return float(np.mean(hits.sum(axis=1) / self.counts))


@dataclass(frozen=True)
class Curve:
    """Recall of a contestant at the end of each epoch, and the seconds of training until then.

    `unpaid` are the seconds of making batches until then that are not in `seconds`.
    """

    seconds: list[float]
    recall: list[float]
    unpaid: list[float]

    def reaches(self, bar: float) -> int | None:
        """The number of epochs after which the figure is first at the bar."""
        return next((epoch for epoch, figure in enumerate(self.recall, start=1) if figure >= bar), None)

    def seconds_to(self, bar: float) -> float | None:
        epochs = self.reaches(bar)
        return None if epochs is None else self.seconds[epochs - 1]


CASES = {
    "m1": Case(
        "Movielens1M_m1",
        "reczoo-movielens1m_m1.zip",
        "Movielens1M_m1",
        bar=0.2777,
        seeds=3,
        recipe=Recipe(dim=128, temperature=0.2, group_size=16, negatives=0, user_balance=0.3, epochs=10),
        als=Als(128, 70, 6, 15),
    ),
    "gowalla": Case(
        "Gowalla, ids only",
        "gowalla-lightgcn.zip",
        "gowalla",
        bar=0.1754,
        seeds=1,
        recipe=Recipe(dim=64, temperature=0.13, group_size=8, negatives=0, user_balance=0.0, epochs=8),
        als=Als(256, 50, 32, 6),
    ),
}
