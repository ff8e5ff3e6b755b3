"""The first of two stages: whose users, items and columns a pipeline has, and who finds its candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from twotower import frames
from twotower.errors import DataError
from twotower.item_lists import Filters
from twotower.models._asked import Asked, Given, GivenToEach
from twotower.models._cross_fit import Candidates
from twotower.models._estimator import State
from twotower.models._recommend import Recommender

Array = np.ndarray


class Retrieving(Recommender):
    """Base of a pipeline over a retriever, which it has as an option and whose rows are its own."""

    retriever: Any
    ranker: Any
    time_col: str | None

    def _of_retriever(self, option: str) -> Any:
        return getattr(self.retriever, option, None)

    @property
    def user_col(self) -> str:  # type: ignore[override]
        """The retriever's."""
        return self.retriever.user_col  # type: ignore[no-any-return]

    @property
    def item_col(self) -> str:  # type: ignore[override]
        """The retriever's."""
        return self.retriever.item_col  # type: ignore[no-any-return]

    @property
    def rating_col(self) -> str | None:
        """The retriever's."""
        return self._of_retriever("rating_col")  # type: ignore[no-any-return]

    @property
    def min_rating(self) -> float | None:
        """The retriever's."""
        return self._of_retriever("min_rating")  # type: ignore[no-any-return]

    @property
    def weight_col(self) -> str | None:
        """The retriever's."""
        return self._of_retriever("weight_col")  # type: ignore[no-any-return]

    # --- what belongs to the moment, of either stage --------------------------------------------------------------------

    @property
    def _has_context(self) -> bool:
        return any(stage._has_context for stage in (self.retriever, self.ranker) if isinstance(stage, Recommender))

    @property
    def _time_column(self) -> str | None:
        own: str | None = self.time_col or self._of_retriever("time_col")
        return own

    def _read_users(self, frame: frames.Frame, rows: Array, where: str) -> Given | None:
        own = self.retriever._read_users(frame, rows, where)
        return GivenToEach.to_each(own, self._moments_of_ranker(frame, where))

    def _read_moments(self, frame: frames.Frame, where: str) -> Given | None:
        return GivenToEach.to_each(self.retriever._read_moments(frame, where), self._moments_of_ranker(frame, where))

    def _moments_of_ranker(self, frame: frames.Frame, where: str) -> Given | None:
        return self.ranker._read_moments(frame, where) if isinstance(self.ranker, Recommender) else None

    def _asked_first(self, asked: Asked) -> Asked:
        """What the retriever is asked."""
        return replace(asked, given=GivenToEach.part_of(asked.given, 0))

    # --- the retriever's rows -------------------------------------------------------------------------------------------

    def _follow_retriever(self) -> None:
        """Take over what the retriever remembers of its `fit`."""
        retriever: Recommender = self.retriever
        self._remember(
            users=retriever._users,
            items=retriever._items,
            seen_offsets=retriever._seen[0],
            seen_items=retriever._seen[1],
            item_counts=retriever._item_counts,
            frame_kind=retriever._frame_kind,
            catalogue=retriever._catalogue,
        )
        self._available = retriever._available

    def _check_retriever(self) -> None:
        """Refuse to go on with rows that are not the retriever's any more."""
        if self.retriever._items is not self._items or self.retriever._users is not self._users:
            raise DataError(
                f"recommend: the retriever was fitted again or has grown since; fit this {type(self).__name__} again"
            )

    def _retrieved(
        self, asked: Asked, width: int, *, filter_seen: bool, filters: Filters, num_threads: int
    ) -> Candidates:
        """The retriever's `width` best; arguments as of `_top_k`."""
        self._check_retriever()
        rows, scores = self.retriever._top_k(
            self._asked_first(asked), width, filter_seen=filter_seen, filters=filters, num_threads=num_threads
        )
        return Candidates(asked.rows, rows, scores)

    # --- one file -----------------------------------------------------------------------------------------------------

    def _shared_state(self) -> State:
        # The retriever's file has it all.
        return {}, {} if self._available is None else {"available": self._available}

    def _restore_shared(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self._follow_retriever()
        self._available = arrays.get("available")
