"""What a two-tower model keeps of its training, and the core's objects made of that."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from twotower.models._dot_product import DotProductRecommender
from twotower.models._fitted import Fitted
from twotower.models._histories import Histories
from twotower.models._sides import Sides
from twotower.models._towers import Architecture
from twotower.models._training import Outcome

Array = np.ndarray


class Learned(DotProductRecommender):
    """Base of the parts of the two-tower model: `fit`, growth, explanation."""

    _architecture: Architecture
    _sides: Sides
    _parameters: dict[str, Array]
    _histories: Histories | None
    _histories_given: bool
    _optimizer_state: Mapping[str, Array] | None
    _user_counts: Array

    def _set_learned(self, fitted: Fitted, outcome: Outcome, stored: Histories | None, *, given: bool) -> None:
        """Keep what a training left; `given` tells histories of a column from those of the interactions."""
        self._architecture, self._sides = fitted.architecture, fitted.sides
        self._parameters = outcome.parameters
        self._histories, self._histories_given = stored, given
        self._optimizer_state = outcome.optimizer_state
        self.best_epoch_ = outcome.best_epoch
        self._curve = outcome.curve

    def _fitted(self) -> Fitted:
        """The core's objects, made again where a copy or a file left them out."""
        if "fitted" not in self._cache:
            fitted = Fitted.build(self._architecture, self._sides)
            fitted.model.set_parameters(self._parameters)
            self._cache["fitted"] = fitted
        fitted_again: Fitted = self._cache["fitted"]
        return fitted_again
