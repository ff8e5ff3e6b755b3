"""The first step of every `fit`: the interactions, with the tables of users and items where there are any, as arrays and lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twotower import frames
from twotower._core import core
from twotower.interactions import Encoded, catalogue_vocabulary, encode_interactions

if TYPE_CHECKING:
    from twotower.models._recommend import Recommender


@dataclass(frozen=True, eq=False)
class Reading:
    """What `fit` was given, checked.

    Attributes
    ----------
    pairs : Encoded
        The interactions in the order of the table, and the ids of both sides.
    lists : core.Interactions
        The same as lists: the positives of each user, and everything seen.
    frame_kind : "pandas", "polars" or "pyarrow"
    """

    pairs: Encoded
    lists: core.Interactions
    frame_kind: str

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
        }


def read(model: Recommender, interactions: Any, users: Any, items: Any) -> Reading:
    """Read the tables that `fit` was given, by the model's options."""
    # Once: a lazy frame is collected here.
    table = frames.table(interactions, "fit: interactions")
    pairs = encode_interactions(
        table,
        **column_options(model),
        time_col=getattr(model, "time_col", None),
        users=None if users is None else catalogue_vocabulary(users, model.user_col, side="users"),
        items=None if items is None else catalogue_vocabulary(items, model.item_col, side="items"),
    )
    lists = core.Interactions(pairs.user_rows, pairs.item_rows, pairs.weights, pairs.users.size, pairs.items.size)
    return Reading(pairs, lists, frames.frame_kind(table))


def column_options(model: Recommender) -> dict[str, Any]:
    """The options that say how rows are read; None where a model has not got one."""
    names = ("user_col", "item_col", "rating_col", "min_rating", "weight_col")
    return {name: getattr(model, name, None) for name in names}
