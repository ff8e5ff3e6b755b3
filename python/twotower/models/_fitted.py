"""The core's objects of one model: towers with parameters, and the tables that they read."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower._core import core
from twotower.models._contexts import encode_now
from twotower.models._given import UsersGiven
from twotower.models._histories import Histories
from twotower.models._sides import Sides
from twotower.models._towers import Architecture

if TYPE_CHECKING:
    from typing_extensions import Self

Array = np.ndarray


class FittedTowers:
    """Towers with parameters, and the tables of all entities; base of what differs in how the towers' vectors meet.

    Parameters
    ----------
    architecture
        Whose `build(sides)` makes the core's model.
    sides : Sides
    model : core.TwoTower or core.PairScorer
    """

    def __init__(self, architecture: Any, sides: Sides, model: Any) -> None:
        self.architecture, self.sides, self.model = architecture, sides, model
        self._user_tokens, self._item_tokens = sides.users.token_tables(), sides.items.token_tables()

    @classmethod
    def build(cls, architecture: Any, sides: Sides) -> Self:
        return cls(architecture, sides, architecture.build(sides))

    def with_sides(self, sides: Sides) -> Self:
        """The same towers over other rows; what has not changed is kept."""
        other = type(self)(self.architecture, sides, self.model)
        for name, old, new in (("users", self.sides.users, sides.users), ("items", self.sides.items, sides.items)):
            if old is new and name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        return other

    # --- tables -------------------------------------------------------------------------------------------------------

    @cached_property
    def users(self) -> core.FeatureTable:
        return self.sides.users.feature_table()

    @cached_property
    def items(self) -> core.FeatureTable:
        return self.sides.items.feature_table()

    @cached_property
    def _nobody(self) -> core.FeatureTable:
        """A person of whom nothing is known."""
        return self.sides.users.table_of(self.sides.users.missing(1), 1)

    def user_data(
        self, entities: core.FeatureTable | None = None, contexts: core.FeatureTable | None = None
    ) -> core.SideData:
        """The query tower's tables; texts in order come before the history, as in the tower."""
        elements = [*self._user_tokens, *([self.items] if self.sides.history is not None else [])]
        return core.SideData(self.users if entities is None else entities, contexts=contexts, elements=elements)

    def item_data(self) -> core.SideData:
        return core.SideData(self.items, elements=self._item_tokens)

    def now(self) -> core.FeatureTable | None:
        """The context of this moment, one row; None where the model has none."""
        contexts = self.sides.contexts
        return None if contexts is None else contexts.table_of(encode_now(contexts), 1)

    # --- what a subclass gives ----------------------------------------------------------------------------------------

    @property
    def user_width(self) -> int:
        """Columns of the vectors of users."""
        raise NotImplementedError

    def _encode_users(self, data: core.SideData, rows: Array, **given: Any) -> Array:
        """The core's vectors of users; `given` are `contexts`, `history` and `num_threads`."""
        raise NotImplementedError

    # --- vectors ------------------------------------------------------------------------------------------------------

    def item_vectors(self, num_threads: int, rows: Array | None = None) -> Array:
        """Vectors of items, float32 (n, width)."""
        wanted = np.arange(self.items.rows, dtype=np.int32) if rows is None else rows
        vectors: Array = self.model.item_vectors(self.item_data(), wanted, num_threads=num_threads)
        return vectors

    def user_vectors(
        self, rows: Array, num_threads: int, *, given: UsersGiven | None = None, stored: Histories | None = None
    ) -> Array:
        """Vectors of users, float32 (n, width).

        Parameters
        ----------
        rows : int32 (n,)
            -1: a stranger, who is described by `given` or not at all.
        num_threads : int
        given : UsersGiven, optional
            Its histories and contexts go before those that the model has.
        stored : Histories, optional
            Of all known users; None where the model has no history.
        """
        vectors = np.empty((len(rows), self.user_width), dtype=np.float32)
        for strangers in (False, True):
            positions = np.flatnonzero((rows < 0) == strangers)
            if positions.size:
                part = None if given is None else given.take(positions)
                vectors[positions] = self._vectors(rows[positions], strangers, part, stored, num_threads)
        return vectors

    def _vectors(
        self, rows: Array, strangers: bool, given: UsersGiven | None, stored: Histories | None, num_threads: int
    ) -> Array:
        entities, entity_rows = self.users, rows
        if strangers and given is not None and given.strangers is not None:
            entities, entity_rows = given.strangers.table(), given.stranger_rows
        elif strangers:
            entities, entity_rows = self._nobody, np.zeros(len(rows), dtype=np.int32)
        contexts, context_rows = self.now(), np.zeros(len(rows), dtype=np.int32)
        if given is not None and given.contexts is not None:
            contexts, context_rows = given.contexts.table, given.context_rows
        column = self.sides.history
        lists = None if stored is None or column is None else _histories_of(rows, given, stored, column.max_length)
        return self._encode_users(
            self.user_data(entities, contexts),
            entity_rows,
            contexts=None if contexts is None else context_rows,
            history=None if lists is None else lists.core,
            num_threads=num_threads,
        )

    # --- sizes --------------------------------------------------------------------------------------------------------

    def describe(self, title: str, pairs: core.Interactions, stored: Histories | None) -> str:
        """One sentence before training starts: sizes, and what they cost."""
        numbers = sum(array.size for array in self.model.parameters().values())
        rows = sum(side.nbytes for side in self.sides) + (0 if stored is None else stored.nbytes)
        return (
            f"{title}: {pairs.num_users:,} users, {pairs.num_items:,} items, {pairs.num_positives:,} positives; "
            f"{numbers:,} parameters, about {mebibytes(numbers * 12)} with Adam's state, and {mebibytes(2 * rows)} of encoded rows"
        )


class Fitted(FittedTowers):
    """Two towers that meet in a dot product."""

    architecture: Architecture
    model: core.TwoTower

    @property
    def user_width(self) -> int:
        return self.model.vector_width

    def _encode_users(self, data: core.SideData, rows: Array, **given: Any) -> Array:
        return self.model.query_vectors(data, rows, **given)


def mebibytes(count: int) -> str:
    return f"{max(count // 2**20, 1):,} MiB"


def _histories_of(rows: Array, given: UsersGiven | None, stored: Histories, length: int) -> Histories:
    """The list of each: the given one, else the stored one, else none."""
    if given is None or given.lists is None:
        return stored.take(rows)
    # One of the two is empty in every row.
    kept = stored.take(np.where(given.list_rows >= 0, -1, rows))
    return kept.extended(given.lists.take(given.list_rows).newest(length))
