"""Base of the models of ids alone: positives against drawn items, for a dot product or a network in its place."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, ClassVar

from twotower.models._choices import usual_batch
from twotower.models._options import check_choice, check_count
from twotower.models._pair_lesson import PairPlan, training_options
from twotower.models._pair_model import PairModel
from twotower.models._pair_towers import PairArchitecture
from twotower.models._reading import Reading
from twotower.models._sides import Sides
from twotower.models._targets import Targets, read_targets

_LOSSES = ("logistic", "bpr", "softmax")
_GROUP = 16  # positives of a user that share a place in the batch


class OfIds(PairModel):
    """Base of the models of ids alone: positives against drawn negatives, L2 of the vectors of each pair."""

    user_features: Any = ()
    item_features: Any = ()

    rating_col: str | None
    loss: str
    dim: int
    dropout: float
    negatives: int
    epochs: int
    batch_size: int | None
    learning_rate: float
    eval_metric: str | None
    # Of the networks; a dot product has none.
    hidden: Sequence[int] = ()
    _least_hidden: ClassVar[int] = 0

    def _check_options(self) -> None:
        super()._check_options()
        check_choice("fit", "loss", self.loss, _LOSSES)
        check_count("fit", "negatives", self.negatives)
        if len(self.hidden) < self._least_hidden:
            raise ValueError(
                f"fit: hidden is {self.hidden!r}, but must have a layer at least, since without one this is a product of "
                "vectors; pass hidden=(64, 32), or use MatrixFactorization"
            )

    def _make(self, seed: int, offset: float) -> PairArchitecture:
        """What is built."""
        raise NotImplementedError

    @property
    def _measured_by(self) -> str:
        assert self.eval_metric is not None
        return self.eval_metric

    def _plan(self, reading: Reading, sides: Sides) -> PairPlan:
        return self._settle(reading, read_targets(None, None, self.loss, None), self.loss, self.negatives)

    def _settle(self, reading: Reading, targets: Targets, loss: str, negatives: int) -> PairPlan:
        seed = secrets.randbits(48) if self.random_state is None else int(self.random_state)
        batch = self.batch_size or usual_batch(reading.lists.num_positives)
        return PairPlan(
            self._make(seed, targets.offset),
            loss,
            targets.values,
            link=targets.link,
            negatives=negatives,
            epochs=self.epochs,
            batch_size=batch,
            group_size=_GROUP,
            learning_rate=float(self.learning_rate),
            eval_metric=self._measured_by,
            **training_options(self),
            chosen={"batch_size": batch, "random_state": seed},
        )
