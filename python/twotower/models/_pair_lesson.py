"""What a model of pairs is trained on, and one run of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from twotower import frames
from twotower._core import core
from twotower.errors import DataError
from twotower.evaluation._metrics import RATING
from twotower.features import EncodedVectors
from twotower.interactions import encode_interactions
from twotower.item_lists import Filters
from twotower.models._columns import Past
from twotower.models._given import UsersGiven, read_moments
from twotower.models._histories import Histories
from twotower.models._importance import Measure
from twotower.models._lesson import Exam, read_exam
from twotower.models._pair_fitted import FittedPairs, ranked_pairs, scored_pairs
from twotower.models._pair_towers import PairArchitecture
from twotower.models._progress import Progress
from twotower.models._reading import Reading, column_options
from twotower.models._sides import Side, Sides
from twotower.models._training import Outcome, train
from twotower.schema import Vector
from twotower.vocabulary import Vocabulary

Array = np.ndarray
_FINAL_SHARE = 0.02  # of the peak learning rate, at the last step


@dataclass(frozen=True)
class Link:
    """What a score becomes at the very end; never falls where scores rise, so that lists keep their order.

    Attributes
    ----------
    low, high : float, optional
        Ratings are cut off below and above.
    cuts : tuple of float
        Ordinal: scores between the levels, ascending.
    levels : tuple of float
        Ordinal: the ratings, one more than cuts; a score becomes the rating that is expected of it.
    """

    low: float | None = None
    high: float | None = None
    cuts: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()

    def __call__(self, scores: Array) -> Array:
        """Map float32 scores of any shape; minus infinity, which marks places that are not filled, stays."""
        found = scores
        if self.levels:
            # The expected level: the lowest, and each step times the chance to be above its cut.
            steps, total = np.diff(self.levels), np.full(scores.shape, self.levels[0], dtype=np.float64)
            for cut, step in zip(self.cuts, steps, strict=True):
                total += step / (1 + np.exp(np.minimum(cut - scores.astype(np.float64), 700.0)))
            found = total.astype(np.float32)
        if self.low is not None or self.high is not None:
            found = np.clip(found, self.low, self.high)
        empty = np.isneginf(scores)
        return np.where(empty, scores, found) if empty.any() else found


@dataclass(frozen=True, eq=False)
class PairPlan:
    """Everything that is settled once the tables are read.

    Attributes
    ----------
    architecture : PairArchitecture
    loss : {"squared", "huber", "logistic", "ordinal", "bpr", "softmax", "lambda"}
    targets : float32 (pairs,) or None
        What each pair of the reading is worth; None: 1. Negatives are worth 0.
    negatives : int
        Drawn for each positive.
    epochs, batch_size, group_size : int
        See `TwoTower`.
    learning_rate : float
    link : Link
    delta : float
        Of "huber".
    cutoff : int
        Of "lambda".
    eval_metric : str
        "rmse", "mae" or "mse", or a metric of lists.
    patience : int or None
    optimizer, schedule, warmup, weight_decay, user_balance
        See `TwoTower`.
    shrink, bias_shrink : float
        L2 of the towers' vectors and biases, for each pair.
    chosen : dict
        What was used where an option was None; set as attributes with a `_` at the end.
    """

    architecture: PairArchitecture
    loss: str
    targets: Array | None
    negatives: int
    epochs: int
    batch_size: int
    group_size: int
    learning_rate: float
    link: Link = Link()
    delta: float = 1.0
    cutoff: int = 10
    eval_metric: str = "ndcg@10"
    patience: int | None = 5
    optimizer: str = "adam"
    schedule: str = "linear"
    warmup: float = 0.0
    weight_decay: float = 0.0
    user_balance: float = 0.0
    shrink: float = 0.0
    bias_shrink: float = 0.0
    chosen: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PairExtras:
    """What a pipeline gives beside the tables.

    Attributes
    ----------
    pools : (int64 (users + 1,), int32, None), optional
        Items that a user's negatives are drawn from; None: all.
    given_users, given_items : float32 (users, width), (items, width), optional
        Vectors whose dot product is a number that comes with each pair, and is read by the head.
    user_vectors, item_vectors : float32 (users, width), (items, width), optional
        One more column of vectors a side.
    exam : SidedExam, optional
        What to validate on, where there is no `eval_set`.
    """

    pools: tuple[Array, Array, None] | None = None
    given_users: Array | None = None
    given_items: Array | None = None
    user_vectors: Array | None = None
    item_vectors: Array | None = None
    exam: SidedExam | None = None

    def added_to(self, sides: Sides) -> Sides:
        """The sides with the columns of vectors."""
        return replace(
            sides,
            users=_with_vectors(sides.users, self.user_vectors),
            items=_with_vectors(sides.items, self.item_vectors),
        )

    def read_by(self, plan: PairPlan) -> PairPlan:
        """The plan whose head reads the numbers that come with the pairs, where there are some."""
        meeting = plan.architecture.meeting
        if self.given_users is None or "given" in meeting:
            return plan
        return replace(plan, architecture=replace(plan.architecture, meeting=(*meeting, "given")))


# Column of the vectors that a pipeline gives.
GIVEN_VECTOR = Vector("retriever's vector")


def _with_vectors(side: Side, vectors: Array | None) -> Side:
    """One more column, or other values in it where it is there already."""
    if vectors is None:
        return side
    encoder, encoded = side.encoder, [*side.encoded]
    if GIVEN_VECTOR in encoder.columns:
        encoded[-1] = EncodedVectors(vectors)
    else:
        encoder = encoder.with_vectors(GIVEN_VECTOR, vectors.shape[1])
        encoded.append(EncodedVectors(vectors))
    return replace(side, encoder=encoder, encoded=encoded)


def training_options(model: Any) -> dict[str, Any]:
    """The options of a plan that a model has under the same name."""
    names = ("patience", "optimizer", "schedule", "warmup", "weight_decay", "user_balance", "shrink", "bias_shrink")
    return {name: getattr(model, name) for name in names if hasattr(model, name)}


# --- validation ---------------------------------------------------------------------------------------------------------


class PairExam(Measure, Protocol):
    """What to validate on."""

    @property
    def text(self) -> str:
        """What is validated on, for the line before training."""


class SidedExam(Protocol):
    """What becomes an exam once it is known how the model reads a moment."""

    def read_by(self, sides: Sides) -> PairExam:
        """The exam of a model with these sides."""


@dataclass(frozen=True, eq=False)
class RatingExam:
    """Pairs whose ratings are to be predicted, each at its own moment where that is known."""

    users: Array
    items: Array
    ratings: Array
    label: str
    link: Link
    moments: UsersGiven | None = None
    rising: bool = False

    @property
    def text(self) -> str:
        return f"{len(self.ratings):,} ratings"

    def at(self, moments: UsersGiven) -> RatingExam:
        return replace(self, moments=moments)

    def score(self, fitted: FittedPairs, stored: Histories | None, num_threads: int) -> float:
        items, pairs = fitted.item_vectors(num_threads), (self.users, self.items)
        scores = scored_pairs(fitted, items, pairs, num_threads, stored=stored, moments=self.moments)
        return RATING[self.label](self.link(scores), self.ratings)


@dataclass(frozen=True, eq=False)
class ListExam:
    """Users whose lists are to be measured."""

    exam: Exam
    rising: bool = True

    @property
    def label(self) -> str:
        return self.exam.label

    @property
    def text(self) -> str:
        return self.exam.validation.sample_text

    @property
    def moments(self) -> UsersGiven | None:
        return self.exam.moments

    def at(self, moments: UsersGiven) -> ListExam:
        return replace(self, exam=self.exam.at(moments))

    def score(self, fitted: FittedPairs, stored: Histories | None, num_threads: int) -> float:
        validation, moments = self.exam.validation, self.exam.moments
        items = fitted.item_vectors(num_threads)

        def vectors(places: Array) -> Array:
            given = None if moments is None else moments.take(places)
            return fitted.user_vectors(validation.users[places], num_threads, given=given, stored=stored)

        if fitted.architecture.is_dot:
            return validation.score(lambda places: fitted.queries(vectors(places)), fitted.indexed(items), num_threads)
        k, filters = min(validation.cutoff, len(items)), Filters(allowed=validation.allowed)
        return validation.score_lists(
            lambda places, seen: ranked_pairs(fitted, vectors(places), items, k, seen, filters, num_threads)[0],
            num_threads,
        )


def read_pair_exam(
    model: Any,
    metric: str,
    link: Link,
    table: frames.Frame,
    ids: tuple[Vocabulary, Vocabulary],
    sides: Sides,
    seen: tuple[Array, Array],
    what: str,
    allowed: Array | None = None,
) -> PairExam:
    """Read interactions to measure on; users and items that the model does not know are passed over.

    Raises
    ------
    DataError
        Nothing is left.
    """
    users, items = ids
    if metric not in RATING:
        return ListExam(read_exam(model, metric, table, users, items, sides, seen, what, allowed))
    pairs = encode_interactions(
        table,
        **column_options(model),
        users=users,
        items=items,
        on_unknown="mark",
        what=what,
    )
    known = (pairs.user_rows >= 0) & (pairs.item_rows >= 0)
    if not known.any():
        raise DataError(f"{what} has no row whose user and item are in the interactions of fit; split by rows")
    assert pairs.ratings is not None
    moments = read_moments(table, sides, what)
    at = None if moments is None else moments.take(np.flatnonzero(known))
    return RatingExam(pairs.user_rows[known], pairs.item_rows[known], pairs.ratings[known], metric, link, at)


# --- training -----------------------------------------------------------------------------------------------------------


def pair_trainer(
    fitted: FittedPairs, plan: PairPlan, reading: Reading, past: Past, extras: PairExtras
) -> core.PairTrainer:
    """Make what takes the steps."""
    sides, history = fitted.sides, fitted.sides.history
    contexts = None if sides.contexts is None else sides.contexts.feature_table()
    return core.PairTrainer(
        fitted.model,
        fitted.user_data(contexts=contexts),
        fitted.item_data(),
        reading.lists,
        batch_size=plan.batch_size,
        group_size=plan.group_size,
        user_balance=plan.user_balance,
        negatives=plan.negatives,
        loss=plan.loss,
        delta=plan.delta,
        cutoff=plan.cutoff,
        cuts=plan.link.cuts if plan.loss == "ordinal" else (),
        optimizer=plan.optimizer,
        weight_decay=plan.weight_decay,
        schedule=plan.schedule,
        learning_rate=plan.learning_rate,
        warmup_share=plan.warmup,
        final_share=_FINAL_SHARE,
        epochs=plan.epochs,
        shrink=plan.shrink,
        bias_shrink=plan.bias_shrink,
        seed=plan.architecture.seed,
        history=past.mode,
        max_length=1 if history is None else history.max_length,
        first_session_weight=1.0 if history is None else history.first_session,
        targets=plan.targets,
        pools=extras.pools,
        lists=None if past.lists is None else past.lists.core,
        given_users=extras.given_users,
        given_items=extras.given_items,
    )


def teach_pairs(
    model: Any,
    fitted: FittedPairs,
    plan: PairPlan,
    reading: Reading,
    past: Past,
    exam: PairExam | None,
    trainer: Any,
) -> Outcome:
    """Train `fitted.model`, and say how it goes."""
    num_threads = model._num_threads("fit")
    title = type(model).__name__
    with Progress(title, total_steps=trainer.total_steps, total_epochs=plan.epochs, verbose=model.verbose) as progress:
        text = fitted.describe(title, reading.lists, past.stored)
        progress.say(text if exam is None else f"{text}; validating on {exam.text}")
        return train(
            trainer,
            fitted.model,
            label=None if exam is None else exam.label,
            score=lambda: 0.0 if exam is None else exam.score(fitted, past.stored, num_threads),
            patience=plan.patience,
            progress=progress,
            num_threads=num_threads,
            rising=exam is None or exam.rising,
        )
