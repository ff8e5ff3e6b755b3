"""How popular items are, and with whom."""

from __future__ import annotations

import numpy as np

from twotower._core import core
from twotower.errors import SchemaError
from twotower.interactions import Encoded
from twotower.models._reading import Reading
from twotower.models._values import values_of
from twotower.models.baselines._profiles import Profiles
from twotower.models.baselines._sparse import Sparse, positives

__all__ = ["item_scores", "lists_by_value"]


def item_scores(pairs: Encoded, method: str, min_votes: float | None) -> np.ndarray:
    """Score every item by its interactions.

    Parameters
    ----------
    pairs : Encoded
        Those that count.
    method : {"count", "mean_rating", "weighted_rating"}
    min_votes : float or None
        See `Popularity`.

    Returns
    -------
    float32 (items,)
    """
    size = pairs.items.size
    votes = np.bincount(pairs.item_rows, weights=pairs.weights, minlength=size)
    if method == "count":
        return votes.astype(np.float32)
    if pairs.ratings is None:
        raise SchemaError(f"fit: method is {method!r}, but rating_col is None; pass rating_col= too")
    weights = np.ones(len(pairs)) if pairs.weights is None else pairs.weights.astype(np.float64)
    sums = np.bincount(pairs.item_rows, weights=weights * pairs.ratings, minlength=size)
    total = votes.sum()
    if total == 0:
        raise SchemaError(
            f"fit: method is {method!r}, but no rating counts; lower min_rating or check the weights and the period"
        )
    if method == "mean_rating":
        lowest = np.full(size, float(pairs.ratings.min()))
        np.divide(sums, votes, out=lowest, where=votes > 0)
        return lowest.astype(np.float32)
    drawn = float(votes[votes > 0].mean()) if min_votes is None else min_votes
    mean = sums.sum() / total
    found = np.full(size, mean)
    np.divide(sums + drawn * mean, votes + drawn, out=found, where=votes + drawn > 0)
    return found.astype(np.float32)


def lists_by_value(reading: Reading, column: str, scores: np.ndarray, num_threads: int) -> Profiles:
    """Make profiles of users over the values of a column of the items, and what each value says for each item.

    Parameters
    ----------
    reading : Reading
    column : str
        Of the table of items: lists, text, numbers or categories.
    scores : float32 (items,)
    """
    offsets, codes, values = values_of(reading.catalogue, column, "fit: by")
    lengths = np.diff(offsets)
    spread = np.repeat(1 / np.maximum(lengths, 1), lengths).astype(np.float32)
    evenly = core.SparseRows(offsets, codes, spread, values)
    taste = positives(reading.pairs).times(evenly, num_threads=num_threads)
    profiles = _shares(taste)
    items = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    says = core.SparseRows.of_pairs(codes, items, scores[items], values, len(lengths))
    return Profiles(Sparse.of(profiles), Sparse.of(says))


def _shares(taste: core.SparseRows) -> core.SparseRows:
    """Divide every row by its sum; a row without values becomes what all rows together are."""
    offsets, columns, values = taste.offsets, taste.columns, taste.values.astype(np.float64)
    lengths = np.diff(offsets)
    users = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    shares = values / np.bincount(users, weights=values, minlength=len(lengths))[users]
    everyone = np.bincount(columns, weights=values, minlength=taste.num_columns)
    there = np.flatnonzero(everyone).astype(np.int32)
    nobody = np.flatnonzero(lengths == 0).astype(np.int32)
    return core.SparseRows.of_pairs(
        np.concatenate([users, np.repeat(nobody, len(there))]),
        np.concatenate([columns, np.tile(there, len(nobody))]),
        np.concatenate([shares, np.tile(everyone[there] / max(everyone.sum(), 1), len(nobody))]).astype(np.float32),
        len(lengths),
        taste.num_columns,
    )
