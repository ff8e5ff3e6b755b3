"""Lists of items for queries, as rows of a catalogue: what an index is told to leave out or to keep to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

__all__ = ["Filters", "Lists", "lists_of_pairs", "union"]


@dataclass(frozen=True, eq=False)
class Lists:
    """Lists of items for queries; queries may share a list.

    Parameters
    ----------
    of_query : int32 ndarray (n,)
        Which list; negative: none.
    offsets : int64 ndarray (lists + 1,)
    items : int32 ndarray
        Item rows, ascending within a list.
    """

    of_query: np.ndarray
    offsets: np.ndarray
    items: np.ndarray

    def take(self, positions: np.ndarray) -> Lists:
        """Pick queries by position."""
        return replace(self, of_query=self.of_query[positions])

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Every (query, item) as two arrays, int64 and int32, query after query."""
        having = np.flatnonzero(self.of_query >= 0)
        lists = self.of_query[having]
        counts = self.offsets[lists + 1] - self.offsets[lists]
        # Position j of the result lies j - (what came before its query) behind the start of the query's list.
        before = np.repeat(np.cumsum(counts) - counts, counts)
        places = np.repeat(self.offsets[lists], counts) + np.arange(len(before)) - before
        return np.repeat(having, counts), self.items[places]

    def arguments(self, name: str) -> dict[str, np.ndarray]:
        """Make the three arguments of `ItemIndex.top_k` that begin with `name`."""
        return {f"{name}_of_query": self.of_query, f"{name}_offsets": self.offsets, f"{name}_items": self.items}


@dataclass(frozen=True, eq=False)
class Filters:
    """Which items may be in whose list; without a part it leaves nothing out.

    Parameters
    ----------
    allowed : uint8 ndarray (items,), optional
        For everyone: 0 where an item must not appear. Removed items are among these.
    allow : Lists, optional
        For each query: nothing else appears; a query of list -1 may have everything.
    deny : Lists, optional
        For each query: none of them appears.
    """

    allowed: np.ndarray | None = None
    allow: Lists | None = None
    deny: Lists | None = None

    def take(self, positions: np.ndarray) -> Filters:
        """Pick queries by position."""
        return Filters(
            self.allowed,
            None if self.allow is None else self.allow.take(positions),
            None if self.deny is None else self.deny.take(positions),
        )

    def denying(self, more: Lists | None, num_items: int) -> Filters:
        """Leave out these too; `more` is about the same queries."""
        if more is None:
            return self
        return replace(self, deny=more if self.deny is None else union(self.deny, more, num_items))

    def arguments(self) -> dict[str, Any]:
        """Make the arguments of `ItemIndex.top_k`."""
        arguments: dict[str, Any] = {} if self.allowed is None else {"allowed": self.allowed}
        for name, lists in (("allowed", self.allow), ("denied", self.deny)):
            if lists is not None:
                arguments |= lists.arguments(name)
        return arguments


def lists_of_pairs(queries: np.ndarray, items: np.ndarray, num_queries: int, num_items: int) -> Lists:
    """Make a list a query of pairs in any order; a pair may come again. Cost: a sort of the pairs."""
    # Sorted, not hashed as numpy.unique does it: ten times as fast for millions of pairs.
    keys = np.sort(queries.astype(np.int64) * max(num_items, 1) + items)
    keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])[: len(keys)]]
    owners, rows = np.divmod(keys, max(num_items, 1))
    offsets = np.searchsorted(owners, np.arange(num_queries + 1)).astype(np.int64)
    return Lists(np.arange(num_queries, dtype=np.int32), offsets, rows.astype(np.int32))


def union(one: Lists, other: Lists, num_items: int) -> Lists:
    """For each query the items of both its lists."""
    queries, items = (np.concatenate(parts) for parts in zip(one.pairs(), other.pairs(), strict=True))
    return lists_of_pairs(queries, items, len(one.of_query), num_items)
