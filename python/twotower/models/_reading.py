"""The first step of every `fit`: the interactions, with the tables of users and items where there are any, as arrays and lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower import frames
from twotower._core import core
from twotower.features import seconds_of
from twotower.interactions import Encoded, align, catalogue_vocabulary, encode_interactions
from twotower.models._catalogue import Catalogue
from twotower.models._histories import check_weights, sessions_of

if TYPE_CHECKING:
    from twotower.models._recommend import Recommender
    from twotower.schema import History


@dataclass(frozen=True, eq=False)
class Reading:
    """What `fit` was given, checked.

    Attributes
    ----------
    table : narwhals.DataFrame
        The interactions as they came.
    pairs : Encoded
        The interactions in the order of the table, or of time, and the ids of both sides.
    lists : core.Interactions
        The same as lists: the positives of each user, and everything seen.
    order : int64 (rows,) or None
        Which row of the table each pair is, where they were put in the order of time.
    users, items : narwhals.DataFrame or None
        The tables of the sides, arranged by the rows of `pairs`.
    frame_kind : "pandas", "polars" or "pyarrow"
    catalogue : Catalogue or None
        The plain columns of the table of items, where there was one.
    """

    table: frames.Frame
    pairs: Encoded
    lists: core.Interactions
    order: np.ndarray | None
    users: frames.Frame | None
    items: frames.Frame | None
    frame_kind: str
    catalogue: Catalogue | None

    @property
    def remembered(self) -> dict[str, Any]:
        """The arguments of `Recommender._remember`."""
        return {
            "users": self.pairs.users,
            "items": self.pairs.items,
            "seen_offsets": self.lists.seen_offsets,
            "seen_items": self.lists.seen_items,
            "item_counts": self.lists.item_counts,
            "frame_kind": self.frame_kind,
            "catalogue": self.catalogue,
        }


def read(
    model: Any,
    interactions: Any,
    users: Any,
    items: Any,
    *,
    history: History | None = None,
) -> Reading:
    """Read the tables that `fit` was given, by the model's options.

    Parameters
    ----------
    model : Recommender
    interactions, users, items : table
        `users` and `items` may be None.
    history : History, optional
        What will be made of the pairs: they are put in the order of the model's time column, where it has one (equal times
        stay as they are), cut into sessions, and weighted by their ratings where it asks for that.
    """
    # Once: a lazy frame is collected here.
    table = frames.table(interactions, "fit: interactions")
    options = column_options(model)
    pairs = encode_interactions(
        table,
        **options,
        time_col=getattr(model, "time_col", None),
        users=None if users is None else catalogue_vocabulary(users, model.user_col, side="users"),
        items=None if items is None else catalogue_vocabulary(items, model.item_col, side="items"),
    )
    weighted = check_weights(history, pairs.ratings, options["rating_col"], "fit")
    order = None if history is None or pairs.times is None else np.argsort(pairs.times, kind="stable")
    if order is not None:
        pairs = pairs.take(order)
    sessions = None
    if order is not None and history is not None and history.session_gap is not None and not history.in_order:
        series = frames.column(table, model.time_col, "fit: interactions")
        seconds, _, _ = seconds_of(series, f"fit: column {model.time_col!r}", "auto")
        sessions = sessions_of(pairs.user_rows, seconds[order], history.session_gap)
    lists = core.Interactions(
        pairs.user_rows,
        pairs.item_rows,
        pairs.weights,
        pairs.users.size,
        pairs.items.size,
        pairs.ratings if weighted else None,
        sessions,
    )
    users = None if users is None else align(users, model.user_col, pairs.users, side="users")
    items = None if items is None else align(items, model.item_col, pairs.items, side="items")
    catalogue = None if items is None else Catalogue.read(items, model.item_col, "fit: items")
    return Reading(table, pairs, lists, order, users, items, frames.frame_kind(table), catalogue)


def column_options(model: Recommender) -> dict[str, Any]:
    """The options that say how rows are read; None where a model has not got one. A target is read as a rating."""
    names = ("user_col", "item_col", "rating_col", "min_rating", "weight_col")
    options = {name: getattr(model, name, None) for name in names}
    target = getattr(model, "target", None)
    return options if target is None else options | {"rating_col": target}
