"""The best of a finished table of scores: of models that add up others, where nothing is left to compute."""

from __future__ import annotations

import numpy as np

from twotower.item_lists import Filters, Lists

Array = np.ndarray


def top_k_of_table(table: Array, k: int, seen: Lists | None, filters: Filters) -> tuple[Array, Array]:
    """The k best of every line of a table, without a sort of the line.

    NumPy, and not the core: that ranks scores where it makes them, and would be handed numbers only to compare them.

    Parameters
    ----------
    table : float32 (n, items)
        No NaN. Masked in place: minus infinity where an item must not appear.
    k : int, from 1 to the number of items
    seen : Lists, optional
        About the same n users.
    filters : Filters

    Returns
    -------
    rows, scores : int32 (n, k), float32 (n, k)
        As `Recommender._top_k`.
    """
    _mask(table, seen, filters)
    rows = _best_rows(table, k)
    best = np.take_along_axis(table, rows, axis=1)
    order = np.argsort(-best, axis=1, kind="stable")  # rows ascend, so equal scores stay in their order
    best = np.take_along_axis(best, order, axis=1)
    return np.where(np.isneginf(best), -1, np.take_along_axis(rows, order, axis=1)), best


def _best_rows(table: Array, k: int) -> Array:
    """Rows of the k best of every line, int32 (n, k), ascending; of equal scores the smaller rows."""
    width = table.shape[1]
    if k == width:
        return np.broadcast_to(np.arange(width, dtype=np.int32), table.shape)
    bound = np.partition(table, width - k, axis=1)[:, width - k, None]
    # Everything above the k-th best score, and of what equals it the first ones. A partition of positions would take any of
    # those.
    kept, equal = table > bound, table == bound
    room = k - np.count_nonzero(kept, axis=1, keepdims=True)
    kept |= equal & (np.cumsum(equal, axis=1, dtype=np.int32) <= room)
    return np.nonzero(kept)[1].reshape(len(table), k).astype(np.int32)


def _mask(table: Array, seen: Lists | None, filters: Filters) -> None:
    """Minus infinity, in place, where an item must not appear."""
    if filters.allowed is not None:
        table[:, filters.allowed == 0] = -np.inf
    for denied in (seen, filters.deny):
        if denied is not None:
            table[denied.pairs()] = -np.inf
    if filters.allow is not None:
        kept = np.zeros(table.shape, dtype=np.bool_)
        kept[filters.allow.pairs()] = True
        kept[filters.allow.of_query < 0] = True
        table[~kept] = -np.inf
