"""What a model of towers keeps of its training, and the core's objects made of that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from twotower import frames, schema
from twotower.models._columns import fields_of
from twotower.models._dot_product import DotProductRecommender
from twotower.models._estimator import State
from twotower.models._fitted import Fitted, FittedTowers
from twotower.models._given import UsersGiven, no_moment, read_moments, read_users
from twotower.models._histories import Histories
from twotower.models._recommend import Recommender
from twotower.models._sides import Side, Sides
from twotower.models._training import Outcome
from twotower.persistence import prefix, unprefix

Array = np.ndarray


class Towered(Recommender):
    """Base of every model whose towers read tables: what it keeps, its schema, whom it can serve.

    A subclass makes the core's objects in `_build_fitted`.
    """

    _architecture: Any
    _sides: Sides
    _parameters: dict[str, Array]
    _histories: Histories | None
    _histories_given: bool
    _curve: dict[str, list[float]]

    def _build_fitted(self) -> FittedTowers:
        """Make the core's objects, with first parameters, from what is kept."""
        raise NotImplementedError

    def _set_learned(self, fitted: FittedTowers, outcome: Outcome, stored: Histories | None, *, given: bool) -> None:
        """Keep what a training left; `given` tells histories of a column from those of the interactions."""
        self._architecture, self._sides = fitted.architecture, fitted.sides
        self._parameters = outcome.parameters
        self._histories, self._histories_given = stored, given
        self.best_epoch_ = outcome.best_epoch
        self._curve = outcome.curve

    def _fitted_towers(self) -> FittedTowers:
        """The core's objects, made again where a copy or a file left them out."""
        if "fitted" not in self._cache:
            fitted = self._build_fitted()
            fitted.model.set_parameters(self._parameters)
            self._cache["fitted"] = fitted
        fitted_again: FittedTowers = self._cache["fitted"]
        return fitted_again

    # --- what was learned ---------------------------------------------------------------------------------------------

    @property
    def schema_(self) -> schema.Schema:
        """What became of each column of `users`, `items` and the context; prints as a table."""
        self._check_fitted("schema_")
        plan = self._architecture.inputs
        widths, own = plan.widths(self._sides), plan.own_history
        return schema.Schema(tuple(field for side in self._sides for field in fields_of(side, widths, own_history=own)))

    @property
    def learning_curve_(self) -> Any:
        """One row an epoch: `epoch`, the mean `loss`, and the validation metric where there was an `eval_set`."""
        self._check_fitted("learning_curve_")
        columns = {
            name: np.array(values, dtype=np.int64 if name == "epoch" else np.float64)
            for name, values in self._curve.items()
        }
        return self._build(columns)

    # --- hooks --------------------------------------------------------------------------------------------------------

    @property
    def _serves_unknown(self) -> bool:
        users = self._sides.users
        return users.tells_strangers or users.unknown_share > 0

    def _read_users(self, frame: frames.Frame, rows: Array, where: str) -> UsersGiven | None:
        # The caller's line: above are _read_asked, recommend and its check of names.
        return read_users(frame, rows, self._sides, self._items, where, stacklevel=6)

    @property
    def _has_context(self) -> bool:
        return self._sides.contexts is not None

    def _no_moment(self, count: int) -> UsersGiven | None:
        return no_moment(self._sides, count)

    def _read_moments(self, frame: frames.Frame, where: str) -> UsersGiven | None:
        return read_moments(frame, self._sides, where)

    # --- one file -----------------------------------------------------------------------------------------------------

    def _learned_state(self) -> State:
        """Everything but the architecture and a model's own options."""
        meta: dict[str, Any] = {
            "best_epoch": self.best_epoch_,
            "curve": self._curve,
            "histories": {"there": self._histories is not None, "given": self._histories_given},
            "sides": [side.name for side in self._sides],
        }
        arrays = prefix("parameters", self._parameters)
        if self._histories is not None:
            arrays |= prefix("histories", self._histories.arrays())
        for side in self._sides:
            meta[side.name], side_arrays = side.state()
            arrays |= prefix(side.name, side_arrays)
        return meta, arrays

    def _restore_learned(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        """Undo `_learned_state`."""
        self._sides = Sides(*(Side.from_state(name, meta[name], unprefix(name, arrays)) for name in meta["sides"]))
        self._parameters = unprefix("parameters", arrays)
        self._histories_given = meta["histories"]["given"]
        kept = unprefix("histories", arrays)
        self._histories = Histories.from_arrays(kept) if meta["histories"]["there"] else None
        self.best_epoch_, self._curve = meta["best_epoch"], meta["curve"]


class Learned(Towered, DotProductRecommender):
    """Base of the parts of the two-tower model: `fit`, growth, explanation."""

    _optimizer_state: Mapping[str, Array] | None
    _user_counts: Array

    def _set_learned(self, fitted: FittedTowers, outcome: Outcome, stored: Histories | None, *, given: bool) -> None:
        super()._set_learned(fitted, outcome, stored, given=given)
        self._optimizer_state = outcome.optimizer_state

    def _build_fitted(self) -> Fitted:
        return Fitted.build(self._architecture, self._sides)

    def _fitted(self) -> Fitted:
        fitted = self._fitted_towers()
        assert isinstance(fitted, Fitted)
        return fitted
