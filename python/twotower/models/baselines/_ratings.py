"""Ratings as models of ratings take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twotower._core import core
from twotower.errors import DataError
from twotower.models._options import check_column_name
from twotower.models._reading import Reading, read

if TYPE_CHECKING:
    from twotower.models._recommend import Recommender

__all__ = ["read_ratings"]


def read_ratings(model: Recommender, interactions: Any, users: Any, items: Any) -> tuple[Reading, core.SparseRows]:
    """Read the tables that `fit` was given, and the ratings as a row a user, (users, items).

    Raises
    ------
    DataError
        There are several ratings, and all are equal.
    """
    rating_col = check_column_name("fit", "rating_col", getattr(model, "rating_col", None))
    reading = read(model, interactions, users, items)
    pairs = reading.pairs
    assert pairs.ratings is not None
    if len(pairs) > 1 and (pairs.ratings == pairs.ratings[0]).all():
        raise DataError(
            f"fit: column {rating_col!r} is {pairs.ratings[0]:g} in every row, but a model of ratings needs at least two "
            "different ones; name another rating_col, or use a model of positives such as Popularity or ImplicitALS"
        )
    found = core.SparseRows.of_pairs(
        pairs.user_rows, pairs.item_rows, pairs.ratings, pairs.users.size, pairs.items.size
    )
    return reading, found
