"""How much each feature matters to a fitted model: what its metric loses without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from twotower import frames
from twotower.models._histories import Histories
from twotower.models._learned import Towered
from twotower.models._options import check_choice, check_count, named_options
from twotower.models._sides import Side, Sides

Array = np.ndarray


class Measure(Protocol):
    """What a model is measured by."""

    @property
    def label(self) -> str:
        """Name of the metric."""

    @property
    def rising(self) -> bool:
        """Whether more of it is better."""

    def score(self, fitted: Any, stored: Histories | None, num_threads: int) -> float:
        """The metric of these towers with these histories."""


# A side's name, a feature's, and the sides and histories that have it taken from them.
Change = tuple[str, str, Callable[[np.random.Generator], tuple[Sides, Histories | None]]]


class Weighing(Towered):
    """Base of models whose features can be weighed; a subclass gives `_measure`."""

    def _measure(self, test: Any, where: str) -> Measure:
        """Read the interactions to measure on."""
        raise NotImplementedError

    @named_options
    def feature_importance(
        self, test: Any = None, *, method: str = "permutation", repeats: int = 3, random_state: int = 0
    ) -> Any:
        """Weigh the features by what the model loses without each.

        Parameters
        ----------
        test : DataFrame
            Interactions that `fit` has not seen; rows of users or items that the model does not know are left out. Not needed
            for "cross".
        method : {"permutation", "ablation", "cross"}
            "permutation": the feature's values change places among the users, or the items; "ablation": they are missing for
            all; "cross", for models with cross layers: how much of each feature the first of them multiplies with each other.
        repeats : int, at least 1
            Permutations a feature, whose mean is taken.
        random_state : int
            Seed of the permutations.

        Returns
        -------
        DataFrame of the kind that `fit` was given
            `side`, `feature` and `importance`, float64, the largest first: by how much the error grows, or the metric of lists
            falls. About 0 or below: the model does as well without. With "cross" a row and a column a feature, in the order of
            the model: `feature`, and one float64 column for each, the norm of their block of the layer's matrix.

        Raises
        ------
        NotFittedError, SchemaError, DataError
            Before `fit`; `test` lacks a column, or has no row that can be measured.
        ValueError, TypeError
            An option is out of range; "cross" of a model without cross layers.

        Notes
        -----
        Breiman 2001, "Random forests", section 10; Wang et al. 2021, "DCN V2", section 5.5. The model is not fitted again: features
        that say the same share their importance. A feature of the context is not weighed. Cost: `repeats` passes over the test
        and both tables for each feature.
        """
        self._check_fitted("feature_importance")
        check_choice("feature_importance", "method", method, ("permutation", "ablation", "cross"))
        repeats = check_count("feature_importance", "repeats", repeats)
        check_count("feature_importance", "random_state", random_state, minimum=0)
        if method == "cross":
            return self._cross_importance()
        if test is None:
            raise TypeError(
                f"feature_importance: test is None, but method={method!r} measures the model on it; give interactions that "
                "fit has not seen"
            )
        num_threads = self._num_threads("feature_importance")
        measure, fitted = self._measure(test, "feature_importance"), self._fitted_towers()
        sign = 1 if measure.rising else -1
        whole = measure.score(fitted, self._histories, num_threads)
        random = np.random.default_rng(random_state)
        found = []
        for side, feature, change in self._changes(method):
            lost = []
            for _ in range(repeats if method == "permutation" else 1):
                sides, histories = change(random)
                lost.append(sign * (whole - measure.score(fitted.with_sides(sides), histories, num_threads)))
            found.append((side, feature, float(np.mean(lost))))
        found.sort(key=lambda row: -row[2])
        sides_, features, importance = zip(*found, strict=True)
        return self._build(
            {
                "side": frames.ids(list(sides_), "feature_importance"),
                "feature": frames.ids(list(features), "feature_importance"),
                "importance": np.array(importance, dtype=np.float64),
            }
        )

    def _cross_importance(self) -> Any:
        """The blocks of the first cross layer's matrix."""
        raise ValueError(
            f"feature_importance: method is 'cross', but this {type(self).__name__} has no cross layers over both sides; "
            'use Ranker(interaction="dcn"), or method="permutation"'
        )

    # --- features taken away ------------------------------------------------------------------------------------------

    def _changes(self, method: str) -> Iterator[Change]:
        for side in (self._sides.users, self._sides.items):
            assert side.id is not None
            if side.id.dropout != 1:
                yield side.name, side.id.column, self._without(side, None, method)
            for column in dict.fromkeys(part.column.column for part in side.encoder.parts):
                yield side.name, column, self._without(side, column, method)
        if self._sides.history is not None and self._histories is not None:
            yield "user", self._sides.history.column, self._without_history(method)

    def _without(
        self, side: Side, column: str | None, method: str
    ) -> Callable[[np.random.Generator], tuple[Sides, Histories | None]]:
        """Take a column from a side; None: the ids' own vectors."""

        def change(random: np.random.Generator) -> tuple[Sides, Histories | None]:
            order = random.permutation(side.rows) if method == "permutation" else None
            if column is None:
                codes = np.zeros_like(side.codes) if order is None else side.codes[order]
                changed = replace(side, codes=codes)
            else:
                pairs = zip(side.encoder.parts, side.encoded, strict=True)
                encoded = [
                    values
                    if part.column.column != column
                    else part.nothing(side.rows)
                    if order is None
                    else values.take(order)
                    for part, values in pairs
                ]
                changed = replace(side, encoded=encoded)
            both = {"users": changed} if side.name == "user" else {"items": changed}
            return replace(self._sides, **both), self._histories

        return change

    def _without_history(self, method: str) -> Callable[[np.random.Generator], tuple[Sides, Histories | None]]:
        stored = self._histories
        assert stored is not None

        def change(random: np.random.Generator) -> tuple[Sides, Histories | None]:
            if method == "ablation":
                return self._sides, Histories.empty(len(stored))
            return self._sides, stored.take(random.permutation(len(stored)))

        return change
