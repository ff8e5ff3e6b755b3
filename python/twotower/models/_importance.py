"""How much each feature matters to a fitted model: what its metric loses without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from twotower import frames
from twotower.models._given import UsersGiven
from twotower.models._histories import Histories
from twotower.models._inputs import Entry
from twotower.models._learned import Towered
from twotower.models._options import check_choice, check_count, named_options
from twotower.models._sides import Side, Sides

if TYPE_CHECKING:
    from typing_extensions import Self

Array = np.ndarray

# Side and name of the number that a model of a pipeline reads with each pair.
GIVEN_SCORE = ("retriever", "retriever_score")


class Measure(Protocol):
    """What a model is measured by."""

    @property
    def label(self) -> str:
        """Name of the metric."""

    @property
    def rising(self) -> bool:
        """Whether more of it is better."""

    @property
    def moments(self) -> UsersGiven | None:
        """The contexts in which it is measured; None: now, or none at all."""

    def at(self, moments: UsersGiven) -> Self:
        """The same in other contexts."""

    def score(self, fitted: Any, stored: Histories | None, num_threads: int) -> float:
        """The metric of these towers with these histories."""


# What is there without a feature: sides, histories, and what they are measured by.
State = tuple[Sides, Histories | None, Measure]
# A side's name, a feature's, and how it is taken away.
Change = tuple[str, str, Callable[[np.random.Generator], State]]


class Weighing(Towered):
    """Base of models whose features can be weighed; a subclass gives `_measure` and, with cross layers, `_first_crosses`."""

    def _measure(self, test: frames.Frame, where: str) -> Measure:
        """Read the interactions to measure on."""
        raise NotImplementedError

    def _first_crosses(self) -> list[tuple[list[Entry], Array]]:
        """What lies side by side before the first cross layer, and its matrix W (width, width); for each of the model's."""
        raise ValueError(
            f"feature_importance: method is 'cross', but this {type(self).__name__} has no cross layers over both sides; "
            'use Ranker(interaction="dcn"), or method="permutation"'
        )

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
            "permutation": the feature's values change places among the users, or the items, or the rows of `test` where it is of
            the context; "ablation": they are missing for all; "cross", for models with cross layers: how much of each feature the
            first of them multiplies with each other.
        repeats : int, at least 1
            Permutations a feature, whose mean is taken.
        random_state : int
            Seed of the permutations.

        Returns
        -------
        DataFrame of the kind that `fit` was given
            `side`, `feature` and `importance`, float64, the largest first: how much the model's `eval_metric` on `test` gets worse
            without the feature, whether that is an error that grows or a metric of lists that falls. About 0 or below: the model
            does as well without.

            With "cross" a row and a column a feature, in the order of the model: `side`, `feature`, and one float64 column for
            each, the norm of their block of the layer's matrix: what of the row's feature the column's is multiplied with. A
            feature that another side has under the same name is called `name (side)`. A `TwoTower` has such a layer in each tower:
            features of different towers do not meet in one, and have NaN.

        Raises
        ------
        NotFittedError, SchemaError, DataError
            Before `fit`; `test` lacks a column, or has no row that can be measured.
        ValueError, TypeError
            An option is out of range; `test` is missing; "cross" of a model without cross layers.

        Notes
        -----
        Breiman 2001, "Random forests", section 10; Wang et al. 2021, "DCN V2", section 5.5. The model is not fitted again: features
        that say the same share their importance. A feature of the context is weighed where `test` has its column. Cost: `repeats`
        passes over the test and both tables for each feature.
        """
        self._check_fitted("feature_importance")
        repeats = check_weighing(test, method, repeats, random_state)
        if method == "cross":
            return self._cross_importance()
        table = frames.table(test, "feature_importance: test")
        return self._weighed(self._measure(table, "feature_importance"), table.columns, method, repeats, random_state)

    def _weighed(
        self,
        measure: Measure,
        columns: Sequence[str],
        method: str,
        repeats: int,
        random_state: int,
        more: Sequence[Change] = (),
    ) -> Any:
        """Measure without each feature, and without what `more` takes away; `columns` are those of the test."""
        num_threads, fitted = self._num_threads("feature_importance"), self._fitted_towers()

        def score(state: State) -> float:
            sides, histories, changed = state
            return changed.score(fitted.with_sides(sides), histories, num_threads)

        def without(change: Callable[[np.random.Generator], State]) -> Callable[[np.random.Generator], float]:
            return lambda random: score(change(random))

        changes = [*self._changes(measure, columns, method), *more]
        whole = measure.score(fitted, self._histories, num_threads)
        named = [(side, feature, without(change)) for side, feature, change in changes]
        times = repeats if method == "permutation" else 1
        return self._build(importance_of(named, whole, times, random_state, rising=measure.rising))

    # --- features taken away ------------------------------------------------------------------------------------------

    def _changes(self, measure: Measure, columns: Sequence[str], method: str) -> Iterator[Change]:
        for side in (self._sides.users, self._sides.items):
            assert side.id is not None
            if side.id.dropout != 1:
                yield side.name, side.id.column, self._without(side, None, measure, method)
            for column in _columns_of(side):
                yield side.name, column, self._without(side, column, measure, method)
        if self._sides.history is not None and self._histories is not None:
            yield "user", self._sides.history.column, self._without_history(measure, method)
        if self._sides.contexts is not None and measure.moments is not None:
            for column in _columns_of(self._sides.contexts):
                if column in columns:
                    yield "context", column, self._without_context(column, measure, method)

    def _without(
        self, side: Side, column: str | None, measure: Measure, method: str
    ) -> Callable[[np.random.Generator], State]:
        """Take a column from a side; None: the ids' own vectors."""

        def change(random: np.random.Generator) -> State:
            order = random.permutation(side.rows) if method == "permutation" else None
            if column is None:
                codes = np.zeros_like(side.codes) if order is None else side.codes[order]
                changed = replace(side, codes=codes)
            else:
                changed = replace(side, encoded=side.without(column, side.encoded, side.rows, order))
            both = {"users": changed} if side.name == "user" else {"items": changed}
            return replace(self._sides, **both), self._histories, measure

        return change

    def _without_history(self, measure: Measure, method: str) -> Callable[[np.random.Generator], State]:
        stored = self._histories
        assert stored is not None

        def change(random: np.random.Generator) -> State:
            if method == "ablation":
                return self._sides, Histories.empty(len(stored)), measure
            return self._sides, stored.take(random.permutation(len(stored))), measure

        return change

    def _without_context(self, column: str, measure: Measure, method: str) -> Callable[[np.random.Generator], State]:
        moments = measure.moments
        assert moments is not None

        def change(random: np.random.Generator) -> State:
            order = random.permutation(len(moments.context_rows)) if method == "permutation" else None
            return self._sides, self._histories, measure.at(moments.without(column, order))

        return change

    # --- what the cross layers multiply -------------------------------------------------------------------------------

    def _cross_importance(self) -> Any:
        layers = self._first_crosses()
        entries = [entry for of_layer, _ in layers for entry in of_layer]
        norms, end = np.full((len(entries), len(entries)), np.nan), 0
        for of_layer, matrix in layers:
            begin, end = end, end + len(of_layer)
            edges = np.concatenate([[0], np.cumsum([width for _, _, width in of_layer])])[:-1]
            squares = np.add.reduceat(np.add.reduceat(np.square(matrix), edges, axis=0), edges, axis=1)
            norms[begin:end, begin:end] = np.sqrt(squares)
        # Names of one frame's columns must differ, and those of two sides need not.
        count = Counter(name for _, name, _ in entries)
        taken = {name for name in count if count[name] > 1} | {"side", "feature"}
        names = [f"{name} ({side})" if name in taken else name for side, name, _ in entries]
        columns: dict[str, Any] = {
            "side": frames.ids([side for side, _, _ in entries], "feature_importance"),
            "feature": frames.ids(names, "feature_importance"),
        }
        return self._build(columns | {name: norms[:, place].copy() for place, name in enumerate(names)})


def importance_of(
    changes: Sequence[tuple[str, str, Callable[[np.random.Generator], float]]],
    whole: float,
    repeats: int,
    random_state: int,
    *,
    rising: bool,
) -> dict[str, Any]:
    """Make the columns of the table, the largest importance first.

    Parameters
    ----------
    changes : sequence of (side, feature, score)
        The metric without the feature.
    whole : float
        The metric with everything.
    repeats : int
        How often each is measured.
    random_state : int
    rising : bool
        Whether more of the metric is better.
    """
    random, sign, found = np.random.default_rng(random_state), 1 if rising else -1, []
    for side, feature, score in changes:
        lost = [sign * (whole - score(random)) for _ in range(repeats)]
        found.append((side, feature, float(np.mean(lost))))
    found.sort(key=lambda row: -row[2])
    sides, features, importance = zip(*found, strict=True)
    return {
        "side": frames.ids(list(sides), "feature_importance"),
        "feature": frames.ids(list(features), "feature_importance"),
        "importance": np.array(importance, dtype=np.float64),
    }


def check_weighing(test: Any, method: str, repeats: int, random_state: int) -> int:
    """Check the options of `feature_importance`; `repeats` as an int."""
    check_choice("feature_importance", "method", method, ("permutation", "ablation", "cross"))
    repeats = check_count("feature_importance", "repeats", repeats)
    check_count("feature_importance", "random_state", random_state, minimum=0)
    if test is None and method != "cross":
        raise TypeError(
            f"feature_importance: test is None, but method={method!r} measures the model on it; give interactions that "
            "fit has not seen"
        )
    return repeats


def _columns_of(side: Side) -> dict[str, None]:
    """The columns of a side, each once, in order."""
    return dict.fromkeys(part.column.column for part in side.encoder.parts)
