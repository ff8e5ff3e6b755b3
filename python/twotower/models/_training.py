"""The training loop: epochs, validation, the best state, interruption. The steps themselves are the core's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twotower._core import core
from twotower.item_lists import Lists
from twotower.models._progress import Progress

# Steps are asked for in runs of about this long, so that the bar moves and Ctrl-C is heard.
SECONDS_A_RUN = 0.2
# Validation looks at no more users than this, so that it never costs more than the epoch before it.
USERS_TO_VALIDATE = 20_000


@dataclass(frozen=True)
class Validation:
    """Relevant items of the users to validate on, and how to score them.

    Attributes
    ----------
    users : int32 (n,)
        Rows of the users.
    offsets, items : int64 (n + 1,), int32
        Their relevant items, sorted, each once.
    counts : int64 (n,)
        Relevant items of each, those that the model does not know included.
    metric : str
        A per-user metric of the core.
    cutoff : int
    label : str
        Its public name, such as "ndcg@10".
    available : int
        Users that could have been validated on; more than `users` where those are a sample.
    seen : (int64 (users + 1,), int32)
        What is left out of the lists.
    allowed : uint8 (items,) or None
        0 where an item is in no list.
    """

    users: np.ndarray
    offsets: np.ndarray
    items: np.ndarray
    counts: np.ndarray
    metric: str
    cutoff: int
    label: str
    available: int
    seen: tuple[np.ndarray, np.ndarray]
    allowed: np.ndarray | None = None

    @classmethod
    def read(
        cls,
        user_rows: np.ndarray,
        item_rows: np.ndarray,
        *,
        sizes: tuple[int, int],
        metric: str,
        label: str,
        cutoff: int,
        seen: tuple[np.ndarray, np.ndarray],
        allowed: np.ndarray | None = None,
        most: int = USERS_TO_VALIDATE,
    ) -> Validation:
        """Group pairs by user; `item_rows` has -1 for items that the model does not know, which count but cannot be hit.

        Beyond `most` users, or `USERS_TO_VALIDATE`, an evenly spaced part of them is taken, always the same.
        """
        num_users, num_items = sizes
        # One more item stands for the unknown ones, so that they count (once a user); it is cut off again below.
        pairs = np.unique(user_rows.astype(np.int64) * (num_items + 1) + np.where(item_rows < 0, num_items, item_rows))
        owners, items = pairs // (num_items + 1), pairs % (num_items + 1)
        counts = np.bincount(owners, minlength=num_users)
        relevant = np.flatnonzero(counts)
        chosen = (
            relevant[np.linspace(0, len(relevant) - 1, min(len(relevant), most, USERS_TO_VALIDATE)).astype(np.int64)]
            if len(relevant)
            else relevant
        )
        kept = np.isin(owners, chosen) & (items < num_items)
        listed = np.bincount(owners[kept], minlength=num_users)[chosen]
        return cls(
            users=chosen.astype(np.int32),
            offsets=np.concatenate([[0], np.cumsum(listed)]).astype(np.int64),
            items=items[kept].astype(np.int32),
            counts=counts[chosen].astype(np.int64),
            metric=metric,
            cutoff=cutoff,
            label=label,
            available=len(relevant),
            seen=seen,
            allowed=allowed,
        )

    @property
    def sample_text(self) -> str:
        whole = len(self.users) == self.available
        return f"{self.available:,} users" if whole else f"a sample of {len(self.users):,} of {self.available:,} users"

    def score(
        self, user_vectors: Callable[[np.ndarray], np.ndarray], item_vectors: np.ndarray, num_threads: int
    ) -> float:
        """Mean of the metric over the users; `user_vectors` is asked for some of them by their places in `users`."""
        packed = core.ItemIndex(item_vectors, num_threads=num_threads)

        def ranked(places: np.ndarray, seen: Lists) -> np.ndarray:
            rows: np.ndarray = packed.top_k(
                user_vectors(places),
                min(self.cutoff, packed.rows),
                num_threads=num_threads,
                allowed=self.allowed,
                **seen.arguments("seen"),
            )[0]
            return rows

        return self.score_lists(ranked, num_threads)

    def score_lists(self, ranked: Callable[[np.ndarray, Lists], np.ndarray], num_threads: int) -> float:
        """Mean of the metric over the users.

        Parameters
        ----------
        ranked : function
            Given places in `users` and what is left out for each: item rows int32, at most `cutoff` a user, best first.
        num_threads : int
        """
        values = []
        for start in range(0, len(self.users), 8192):
            part = slice(start, start + 8192)
            users = self.users[part]
            rows = ranked(np.arange(start, start + len(users)), Lists(users, *self.seen))
            offsets = self.offsets[start : start + len(users) + 1]
            values.append(
                core.ranking_metrics(
                    rows,
                    offsets - offsets[0],
                    self.items[offsets[0] : offsets[-1]],
                    self.counts[part],
                    [self.metric],
                    [self.cutoff],
                    num_threads=num_threads,
                )[0]
            )
        return float(np.concatenate(values).mean())


@dataclass
class Outcome:
    """What a run of training left behind."""

    parameters: dict[str, np.ndarray]
    best_epoch: int
    curve: dict[str, list[float]] = field(default_factory=dict)
    interrupted: bool = False
    optimizer_state: dict[str, np.ndarray] = field(default_factory=dict)


def train(
    trainer: Any,
    model: Any,
    *,
    label: str | None,
    score: Callable[[], float],
    patience: int | None,
    progress: Progress,
    num_threads: int,
    rising: bool = True,
) -> Outcome:
    """Run all epochs, or fewer where validation stops it or a person does.

    Parameters
    ----------
    trainer, model : core.Trainer, core.TwoTower, or core.PairTrainer, core.PairScorer
    label : str or None
        Name of the validation metric; None without a validation.
    score : function
        The validation metric of the model as it stands; called after each epoch when there is a validation.
    rising : bool
        Whether more of it is better.
    patience : int or None
        Stop after so many epochs without a better figure; None never stops.

    Returns
    -------
    Outcome
        With the parameters of the best epoch where there is a validation, else of the last; after Ctrl-C those of the best
        epoch or, without a validation, of the last finished step.
    """
    names = ["epoch", "loss", *([label] if label else [])]
    outcome = Outcome(parameters={}, best_epoch=0, curve={name: [] for name in names})
    best = -np.inf
    try:
        for epoch in range(1, trainer.total_steps // trainer.steps_per_epoch + 1):
            loss = _run_epoch(trainer, progress, num_threads)
            notes = {}
            outcome.curve["epoch"].append(epoch)
            outcome.curve["loss"].append(loss)
            if label is not None:
                trainer.finish(num_threads)
                figure = score()
                outcome.curve[label].append(figure)
                notes = {label: f"{figure:.4f}"}
                if (figure if rising else -figure) > best:
                    best = figure if rising else -figure
                    outcome.best_epoch, outcome.parameters = epoch, model.parameters()
            progress.end_epoch(epoch, loss, notes)
            if label is not None and patience is not None and epoch - outcome.best_epoch >= patience:
                progress.say(
                    f"stopped early: {label} has not {'risen' if rising else 'fallen'} for {patience} epochs; "
                    f"the best was epoch {outcome.best_epoch}"
                )
                break
    except KeyboardInterrupt:
        outcome.interrupted = True
    trainer.finish(num_threads)
    if not outcome.parameters:
        outcome.parameters, outcome.best_epoch = model.parameters(), len(outcome.curve["epoch"])
    return outcome


def _run_epoch(trainer: Any, progress: Progress, num_threads: int) -> float:
    """Run the steps that the current epoch has left; mean loss."""
    left = trainer.steps_per_epoch - trainer.step % trainer.steps_per_epoch
    total, done, count = 0.0, 0, 1
    while done < left:
        started = time.perf_counter()
        steps, examples, loss = trainer.run_steps(min(count, left - done), num_threads)
        seconds = max(time.perf_counter() - started, 1e-6)
        count = max(1, int(steps * SECONDS_A_RUN / seconds))
        total += steps * loss
        done += steps
        progress.add(steps, examples, total / done)
    # How many steps a run has depends on the clock, and the last bits of a mean of means on that: they are not kept.
    return float(np.float32(total / done))
