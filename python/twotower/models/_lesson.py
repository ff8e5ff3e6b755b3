"""What a model is trained on, and one run of training: `fit` and `partial_fit` differ only here in what they give."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower import frames
from twotower._core import core
from twotower.errors import DataError
from twotower.evaluation._metrics import PER_USER, parse
from twotower.interactions import encode_interactions
from twotower.models._contexts import first_rows
from twotower.models._fitted import Fitted
from twotower.models._given import UsersGiven, read_moments
from twotower.models._histories import Histories
from twotower.models._progress import Progress
from twotower.models._reading import column_options
from twotower.models._sides import Sides
from twotower.models._training import USERS_TO_VALIDATE, Outcome, Validation, train

if TYPE_CHECKING:
    from twotower.models.two_tower import TwoTower
    from twotower.vocabulary import Vocabulary

Array = np.ndarray
_FINAL_SHARE = 0.02  # of the peak learning rate, at the last step


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is learned from.

    Attributes
    ----------
    pairs : core.Interactions
    users : core.SideData
        A row for each user of `pairs`; contexts by the number of the pair.
    items : core.SideData
    mode : {"none", "others", "before", "sessions", "windows"}
        What a row knows of its user's past.
    max_length : int
    lists : Histories or None
        One a user, in place of the positives.
    trainable_items : uint8 (items,) or None
        0: the item's embeddings stay.
    optimizer_state : dict or None
        Of the training before this one.
    first_session_weight : float
        With "sessions".
    """

    pairs: core.Interactions
    users: core.SideData
    items: core.SideData
    mode: str = "none"
    max_length: int = 1
    lists: Histories | None = None
    trainable_items: Array | None = None
    optimizer_state: Mapping[str, Array] | None = None
    first_session_weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Exam:
    """Users to validate on, with the contexts in which they are asked."""

    validation: Validation
    moments: UsersGiven | None
    rising: bool = True

    @property
    def label(self) -> str:
        """Name of the metric."""
        return self.validation.label

    def at(self, moments: UsersGiven) -> Exam:
        """The same users in other contexts."""
        return replace(self, moments=moments)

    def score(self, fitted: Fitted, stored: Histories | None, num_threads: int) -> float:
        """The metric of the towers as they stand."""

        def user_vectors(places: Array) -> Array:
            given = None if self.moments is None else self.moments.take(places)
            rows = self.validation.users[places]
            return fitted.user_vectors(rows, num_threads, given=given, stored=stored)

        return self.validation.score(user_vectors, fitted.item_vectors(num_threads), num_threads)

    def popularity(self, item_counts: Array, num_threads: int) -> float:
        """The metric of the popularity list."""
        return self.validation.score(_ones, item_counts.astype(np.float32)[:, None], num_threads)


def read_exam(
    model: Any,
    metric_name: str,
    table: frames.Frame,
    users: Vocabulary,
    items: Vocabulary,
    sides: Sides,
    seen: tuple[Array, Array],
    what: str,
    allowed: Array | None = None,
) -> Exam:
    """Read the interactions to validate on, each user at the moment of the first row; see `read_validation`."""
    time_col = None if sides.contexts is None else model.time_col
    validation, first = read_validation(model, metric_name, table, users, items, seen, what, time_col, allowed)
    if sides.contexts is None:
        return Exam(validation, None)
    return Exam(validation, read_moments(frames.take(table, first), sides, what))


def read_validation(
    model: Any,
    metric_name: str,
    table: frames.Frame,
    users: Vocabulary,
    items: Vocabulary,
    seen: tuple[Array, Array],
    what: str,
    time_col: str | None,
    allowed: Array | None = None,
    most: int = USERS_TO_VALIDATE,
) -> tuple[Validation, Array]:
    """Read whom to measure lists on; users and items that the model does not know are passed over.

    Parameters
    ----------
    model : Recommender
        Whose options say how rows are read.
    metric_name : str
    table : narwhals.DataFrame
    users, items : Vocabulary
    seen : (int64 (users + 1,), int32)
    what : str
        Start of messages, such as "fit: eval_set".
    time_col : str or None
        Where the table has it, it tells which row of a user is the first.
    allowed : uint8 (items,), optional
        0 where an item was removed.
    most : int
        Users; beyond it an evenly spaced part of them is taken.

    Returns
    -------
    validation : Validation
    first : int64 (its users,)
        Position of each user's first row.

    Raises
    ------
    DataError
        Nobody is left.
    """
    held_out = encode_interactions(
        table,
        **column_options(model),
        time_col=time_col if time_col in table.columns else None,
        users=users,
        items=items,
        on_unknown="mark",
        what=what,
    )
    counted = held_out.user_rows >= 0
    if held_out.weights is not None:
        counted &= held_out.weights > 0
    metric = parse(metric_name)[0]
    validation = Validation.read(
        held_out.user_rows[counted],
        held_out.item_rows[counted],
        sizes=(users.size, items.size),
        metric=PER_USER[metric.name],
        label=metric.label,
        cutoff=metric.cutoff,
        seen=seen,
        allowed=allowed,
        most=most,
    )
    if not len(validation.users):
        raise DataError(
            f"{what} has no relevant row of a user that is in the interactions; split so that users are in both parts"
        )
    asked, positions = first_rows(np.where(counted, held_out.user_rows, -1), held_out.times)
    return validation, positions[np.searchsorted(asked, validation.users)]


def teach(
    model: TwoTower,
    fitted: Fitted,
    lesson: Lesson,
    chosen: Mapping[str, Any],
    exam: Exam | None,
    stored: Histories | None,
    item_counts: Array,
    where: str,
) -> Outcome:
    """Train `fitted.model`, say how it goes, and warn where it loses to popularity."""
    num_threads = model._num_threads(where)
    trainer = core.Trainer(
        fitted.model,
        lesson.users,
        lesson.items,
        lesson.pairs,
        batch_size=chosen["batch_size"],
        group_size=chosen["group_size"],
        logq_strength=model.logq,
        user_balance=model.user_balance,
        negatives=chosen["negatives"],
        popularity_share=model.popular_negatives,
        optimizer=chosen.get("optimizer", model.optimizer),
        weight_decay=model.weight_decay,
        schedule=model.schedule,
        learning_rate=chosen["learning_rate"],
        warmup_share=model.warmup,
        final_share=_FINAL_SHARE,
        epochs=chosen["epochs"],
        seed=chosen["random_state"],
        history=lesson.mode,
        max_length=lesson.max_length,
        first_session_weight=lesson.first_session_weight,
        lists=None if lesson.lists is None else lesson.lists.core,
        trainable_items=lesson.trainable_items,
    )
    if lesson.optimizer_state is not None:
        trainer.set_optimizer_state(lesson.optimizer_state)
    popular = None if exam is None else exam.popularity(item_counts, num_threads)
    with Progress(
        "TwoTower", total_steps=trainer.total_steps, total_epochs=chosen["epochs"], verbose=model.verbose
    ) as progress:
        text = fitted.describe("TwoTower", lesson.pairs, stored)
        if exam is not None:
            text += (
                f"; validating on {exam.validation.sample_text}, popularity has {exam.validation.label} {popular:.4f}"
            )
        progress.say(text)
        outcome = train(
            trainer,
            fitted.model,
            label=None if exam is None else exam.validation.label,
            score=lambda: 0.0 if exam is None else exam.score(fitted, stored, num_threads),
            patience=model.patience,
            progress=progress,
            num_threads=num_threads,
        )
    outcome.optimizer_state = trainer.optimizer_state()
    if exam is not None and popular is not None and not outcome.interrupted:
        best = max(outcome.curve[exam.validation.label])
        if best < popular:
            warnings.warn(
                f"{where}: the best {exam.validation.label} on eval_set is {best:.4f}, below {popular:.4f} of the popularity list; "
                "try more epochs, another temperature, or fewer features, or use Popularity",
                stacklevel=4,
            )
    return outcome


def _ones(places: Array) -> Array:
    return np.ones((len(places), 1), dtype=np.float32)
