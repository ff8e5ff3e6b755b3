"""Recommenders made of a `core.PairScorer`: two towers whose vectors meet in a head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from twotower import frames
from twotower._core import core
from twotower.interactions import check_learnable
from twotower.item_lists import Filters, Lists
from twotower.models._asked import Asked, Given
from twotower.models._candidates import RankingCandidates
from twotower.models._columns import Past, history_of, read_histories, read_sides
from twotower.models._dot_product import DotProductRecommender
from twotower.models._estimator import State
from twotower.models._given import UsersGiven
from twotower.models._importance import GIVEN_SCORE, Weighing
from twotower.models._inputs import Entry
from twotower.models._options import check_count, check_number, named_options
from twotower.models._pair_fitted import FittedPairs, ranked_pairs, scored_pairs
from twotower.models._pair_lesson import Link, PairExam, PairExtras, PairPlan, pair_trainer, read_pair_exam, teach_pairs
from twotower.models._pair_towers import PairArchitecture
from twotower.models._reading import Reading, read
from twotower.models._sides import Sides
from twotower.schema import History

if TYPE_CHECKING:
    from typing_extensions import Self

Array = np.ndarray


class PairModel(RankingCandidates, Weighing):
    """Base of every model made of a `core.PairScorer`.

    A subclass

    - has the options `user_col`, `item_col`, `random_state`, `n_jobs` and `verbose`, and of `rating_col`, `min_rating`,
      `weight_col`, `time_col`, `user_features`, `item_features` and `context_features` those that it offers (a model of ids
      alone sets the class attributes `user_features = ()` and `item_features = ()`);
    - checks its own options in `_check_options`, after those of the base;
    - says in `_plan(reading, sides)` what is built and how it is trained: a `PairPlan` with a `PairArchitecture`. Where the
      model needs another head or other layers in its towers it overrides `head`, `tower_layers` and `tower_width` in a
      subclass of `PairArchitecture`, and names that as `_architecture_type`;
    - where `predict` gives ratings: says of which column in `_predicts`.

    It gets `fit` on frames with users, items, every kind of column, histories and contexts, a bar, early stopping on
    `eval_set`, Ctrl-C; `predict`, `recommend`, `rank`, `feature_importance`, files; `schema_`, `learning_curve_`,
    `best_epoch_`, and everything in `PairPlan.chosen` as an attribute.
    """

    user_features: Any = None
    item_features: Any = None
    context_features: Any = None
    random_state: int | None
    verbose: int

    _architecture_type: ClassVar[type[PairArchitecture]] = PairArchitecture
    _fitted_type: ClassVar[type[FittedPairs]] = FittedPairs
    _architecture: PairArchitecture
    _link: Link
    _metric: str
    _chosen: dict[str, Any]
    _encoded_items: Array

    # --- what a subclass gives ----------------------------------------------------------------------------------------

    def _check_options(self) -> None:
        """Refuse options out of range, by name; what a model has not got is passed over."""
        self._check_columns("fit")
        for option in ("dim", "epochs", "batch_size", "group_size", "patience"):
            if getattr(self, option, None) is not None:
                check_count("fit", option, getattr(self, option))
        for option in ("negatives", "random_state"):
            if getattr(self, option, None) is not None:
                check_count("fit", option, getattr(self, option), minimum=0)
        for option in ("dropout", "hidden_dropout"):
            if getattr(self, option, None) is not None:
                check_number("fit", option, getattr(self, option), minimum=0, maximum=0.99)
        for option in ("weight_decay", "shrink", "bias_shrink"):
            if getattr(self, option, None) is not None:
                check_number("fit", option, getattr(self, option), minimum=0)
        if getattr(self, "learning_rate", None) is not None:
            check_number("fit", "learning_rate", self.learning_rate, above=0)  # type: ignore[attr-defined]
        check_count("fit", "verbose", self.verbose, minimum=0)
        check_hidden(getattr(self, "hidden", ()))

    def _plan(self, reading: Reading, sides: Sides) -> PairPlan:
        """Settle what is built and how it is trained; raises where the targets do not fit."""
        raise NotImplementedError

    def _history(self) -> History | None:
        """The history of users, where there is one: that among their features."""
        return history_of(self.user_features)

    # --- fit ----------------------------------------------------------------------------------------------------------

    @named_options
    def fit(self, interactions: Any, users: Any = None, items: Any = None, *, eval_set: Any = None) -> Self:
        """Learn from interactions.

        Parameters
        ----------
        interactions : DataFrame
            pandas, polars or pyarrow; one row an interaction, in any order (that of time for histories without `time_col`).
        users, items : DataFrame, optional
            One row a user or an item, with the id column and features; every id of the interactions must be there, further
            ones become known too. Without a table a side has its ids alone.
        eval_set : DataFrame, optional
            Interactions to validate on after each epoch; the best epoch's model is kept. The context is that of each row, for a
            metric of lists that of a user's first one.

        Returns
        -------
        self

        Raises
        ------
        SchemaError, DataError
            A table lacks a column, has it twice or with a dtype that does not fit; has no rows, missing ids, repeated ids,
            ids without a row; targets, ratings or weights that are not finite, or out of range; nothing to learn from.
        NumericalError
            The loss is no finite number. The model is as it was before.
        ValueError, TypeError
            An option is out of range or of the wrong kind.

        Notes
        -----
        Ctrl-C ends the training, keeps what was learned (of the best epoch with an `eval_set`) and raises
        KeyboardInterrupt; the model is fitted then.
        """
        return self._fit(interactions, users, items, eval_set)

    def _fit(
        self,
        interactions: Any,
        users: Any,
        items: Any,
        eval_set: Any,
        extras: Callable[[Reading], PairExtras] | None = None,
    ) -> Self:
        """`fit`, with what a pipeline gives beside the tables once the rows of ids are known."""
        self._check_options()
        history = self._history()
        reading = read(self, interactions, users, items, history=history)
        check_learnable(reading.pairs)
        sides = read_sides(self, reading)
        if history is not None:
            sides = replace(sides, users=replace(sides.users, history=history))
        past = read_histories(reading, sides.history)
        more = PairExtras() if extras is None else extras(reading)
        sides = more.added_to(sides)
        plan = more.read_by(self._plan(reading, sides))
        fitted = self._fitted_type.build(plan.architecture, sides)
        ids, seen = (reading.pairs.users, reading.pairs.items), (reading.lists.seen_offsets, reading.lists.seen_items)
        exam: PairExam | None = None if more.exam is None else more.exam.read_by(sides)
        if eval_set is not None:
            table = frames.table(eval_set, "fit: eval_set")
            exam = read_pair_exam(self, plan.eval_metric, plan.link, table, ids, sides, seen, "fit: eval_set")
        trainer = self._trainer(fitted, plan, reading, past, more)
        outcome = teach_pairs(self, fitted, plan, reading, past, exam, trainer)
        fitted.model.set_parameters(outcome.parameters)
        fitted = fitted.with_sides(sides.without_training_rows())
        item_vectors = fitted.item_vectors(self._num_threads("fit"))

        # Nothing can fail from here on: a fit that fails leaves the model as it was.
        self._set_learned(fitted, outcome, past.stored, given=past.lists is not None)
        self._link, self._metric, self._chosen = plan.link, plan.eval_metric, dict(plan.chosen)
        self._set_chosen()
        self._remember(**reading.remembered)
        self._cache["fitted"] = fitted
        self._encoded_items = item_vectors
        if outcome.interrupted:
            raise KeyboardInterrupt
        return self

    def _trainer(self, fitted: FittedPairs, plan: PairPlan, reading: Reading, past: Past, extras: PairExtras) -> Any:
        """What takes the steps of training."""
        return pair_trainer(fitted, plan, reading, past, extras)

    def _set_chosen(self) -> None:
        for name, value in self._chosen.items():
            setattr(self, f"{name}_", value)

    def _build_fitted(self) -> FittedPairs:
        return self._fitted_type.build(self._architecture, self._sides)

    def _fitted(self) -> FittedPairs:
        fitted = self._fitted_towers()
        assert isinstance(fitted, FittedPairs)
        return fitted

    # --- hooks of Recommender -----------------------------------------------------------------------------------------

    def _asked_vectors(self, asked: Asked, num_threads: int) -> Array:
        """The core's vectors of users, biases in the last column."""
        given = asked.given if isinstance(asked.given, UsersGiven) else None
        return self._fitted().user_vectors(asked.rows, num_threads, given=given, stored=self._histories)

    def _search(self, asked: Asked, num_threads: int) -> tuple[core.ItemIndex, Array]:
        """What `_top_k` searches by what, where the score is a dot product; see `DotProductRecommender`."""
        fitted = self._fitted()
        if "index" not in self._cache:
            self._cache["index"] = core.ItemIndex(fitted.indexed(self._encoded_items), num_threads=num_threads)
        return self._cache["index"], fitted.queries(self._asked_vectors(asked, num_threads))

    def _top_k(
        self, asked: Asked, k: int, *, filter_seen: bool, filters: Filters, num_threads: int
    ) -> tuple[Array, Array]:
        self._check_not_given("recommend")
        fitted = self._fitted()
        if fitted.architecture.is_dot:
            index, queries = self._search(asked, num_threads)
            arguments = self._filter_arguments(asked, filters, filter_seen=filter_seen)
            rows, scores = index.top_k(queries, k, num_threads=num_threads, **arguments)
        else:
            vectors = self._asked_vectors(asked, num_threads)
            seen = Lists(asked.rows, *self._seen) if filter_seen else None
            rows, scores = ranked_pairs(fitted, vectors, self._encoded_items, k, seen, filters, num_threads)
        return rows, self._link(scores)

    def _score_pairs(
        self, user_rows: Array, item_rows: Array, *, num_threads: int, moments: Given | None = None
    ) -> Array:
        return self._link(self._raw_scores(user_rows, item_rows, num_threads=num_threads, moments=moments))

    def _raw_scores(
        self,
        user_rows: Array,
        item_rows: Array,
        *,
        num_threads: int,
        moments: Given | None = None,
        given: Array | None = None,
    ) -> Array:
        """Scores before the link, float32 (n,); `given` float32 (n,) where the head reads a number with each pair."""
        if given is None:
            self._check_not_given("predict")
        return scored_pairs(
            self._fitted(),
            self._encoded_items,
            (user_rows, item_rows),
            num_threads,
            stored=self._histories,
            moments=moments if isinstance(moments, UsersGiven) else None,
            given=given,
        )

    def _check_not_given(self, where: str) -> None:
        if "given" in self._architecture.meeting:
            raise ValueError(
                f"{where}: this {type(self).__name__} was fitted inside a pipeline and reads the retriever's score with each "
                "pair; ask the pipeline"
            )

    # --- features -----------------------------------------------------------------------------------------------------

    def _measure(self, test: frames.Frame, where: str) -> PairExam:
        self._check_not_given(where)
        ids = (self._users, self._items)
        return read_pair_exam(
            self, self._metric, self._link, test, ids, self._sides, self._seen, f"{where}: test", self._available
        )

    def _first_crosses(self) -> list[tuple[list[Entry], Array]]:
        made = self._architecture
        if not (made.cross_layers and made.concatenates and set(made.meeting) <= {"vectors", "given"}):
            return super()._first_crosses()
        sides = (self._sides.users, self._sides.items)
        entries = [entry for side in sides for entry in made.inputs.layout(side, self._sides)]
        if "given" in made.meeting:
            entries.append((*GIVEN_SCORE, 1))
        return [(entries, made.first_cross(self._parameters["arena"], sum(width for _, _, width in entries)))]

    # --- one file -----------------------------------------------------------------------------------------------------

    def _state(self) -> State:
        meta, arrays = self._learned_state()
        meta["architecture"] = asdict(self._architecture)
        meta["link"] = asdict(self._link)
        meta["metric"] = self._metric
        meta["chosen"] = self._chosen
        return meta, arrays

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self._architecture = self._architecture_type(**_tuples(meta["architecture"]))
        self._link, self._metric = Link(**_tuples(meta["link"])), str(meta["metric"])
        self._restore_learned(meta, arrays)
        self._chosen = dict(meta["chosen"])
        self._set_chosen()
        self._encoded_items = self._fitted().item_vectors(self._num_threads("load"))


class DotPairModel(PairModel, DotProductRecommender):
    """A `PairModel` whose score is a dot product and biases: it has vectors and neighbors too.

    The vectors of `user_embeddings` and `item_embeddings` end in two columns of biases.
    """

    @property
    def _item_vectors_(self) -> Array:  # type: ignore[override]
        if "indexed" not in self._cache:
            self._cache["indexed"] = self._fitted().indexed(self._encoded_items)
        vectors: Array = self._cache["indexed"]
        return vectors

    def _user_vectors(self, asked: Asked, *, num_threads: int) -> Array:
        return self._fitted().queries(self._asked_vectors(asked, num_threads))

    @property
    def _similarity_width(self) -> int:
        return self._architecture.dim

    @property
    def _gives_products(self) -> bool:
        return self._architecture.is_dot and self._link == Link()


def check_hidden(hidden: Any) -> None:
    """Refuse what is no tuple of widths."""
    if isinstance(hidden, (str, bytes)) or not isinstance(hidden, (tuple, list)):
        raise TypeError(f"fit: hidden is {hidden!r}, but must be a tuple of widths, such as (64, 32), or ()")
    for number, width in enumerate(hidden):
        check_count("fit", f"hidden[{number}]", width)


def _tuples(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in meta.items()}
