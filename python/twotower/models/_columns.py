"""From tables to sides: which columns take part, encoded, and what they are called in the schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from twotower import frames, schema
from twotower.features import FeatureEncoder, shared_vocabularies
from twotower.models._contexts import resolve_contexts
from twotower.models._histories import Histories, newest_positives, read_lists
from twotower.models._inputs import Widths
from twotower.models._reading import Reading, column_options
from twotower.models._sides import Side, SideName, Sides
from twotower.vocabulary import Vocabulary


def history_of(features: Any) -> schema.History | None:
    """The `History` among the features of users, before anything is read."""
    listed = features if isinstance(features, Sequence) else ()
    return next((feature for feature in listed if isinstance(feature, schema.History)), None)


def read_sides(model: Any, reading: Reading) -> Sides:
    """Resolve and encode the features of users, items and the context."""
    users = schema.resolve(model.user_features, reading.users, model.user_col, side="users")
    items = schema.resolve(model.item_features, reading.items, model.item_col, side="items")
    options = column_options(model)
    reserved = [options[name] for name in ("item_col", "rating_col", "weight_col")]
    context = resolve_contexts(model.context_features, reading.table, model.user_col, reserved)
    wanted: list[tuple[SideName, schema.Resolved, frames.Frame | None, int]] = [
        ("user", users, reading.users, reading.pairs.users.size),
        ("item", items, reading.items, reading.pairs.items.size),
    ]
    if context is not None:
        wanted.append(("context", context, reading.table, len(reading.table)))
    places = {"user": "fit: users", "item": "fit: items", "context": "fit: interactions"}
    shared = shared_vocabularies(
        [(frame, resolved.columns, places[name]) for name, resolved, frame, _ in wanted if frame is not None],
        known_tables((users.id, reading.pairs.users), (items.id, reading.pairs.items)),
    )
    sides = []
    for name, resolved, frame, rows in wanted:
        encoder, encoded = FeatureEncoder(), []
        if frame is not None:
            encoder = FeatureEncoder.fit(frame, resolved.columns, places[name], shared)
            encoded = encoder.transform(frame, places[name])
        if name == "context" and reading.order is not None:
            encoded = [column.take(reading.order) for column in encoded]
        sides.append(Side.build(name, resolved, encoder, encoded, rows))
    lists = reading.lists
    positives = np.bincount(lists.positive_items, minlength=lists.num_items)
    return Sides(sides[0].with_ids(lists.user_counts), sides[1].with_ids(positives), *sides[2:])


def known_tables(*ids: tuple[schema.Id | None, Vocabulary]) -> dict[str, Vocabulary]:
    """The ids of the sides, where other columns share their vectors by the name of a table."""
    return {own.table: vocabulary for own, vocabulary in ids if own is not None and own.table is not None}


@dataclass(frozen=True, eq=False)
class Past:
    """What users had before, for training and for later.

    Attributes
    ----------
    mode : {"none", "others", "before", "sessions", "windows"}
        See `core.Trainer`.
    stored : Histories or None
        What a known user's history is from now on.
    lists : Histories or None
        Lists that a column gave, in place of the positives.
    """

    mode: str = "none"
    stored: Histories | None = None
    lists: Histories | None = None


def read_histories(reading: Reading, history: schema.History | None) -> Past:
    """Make the histories of `fit`: from the column of lists where `users` has it, else from the interactions."""
    if history is None:
        return Past()
    if reading.users is not None and history.column in reading.users.columns:
        # The caller's line: above are read_histories, fit and its check of names.
        lists, _ = read_lists(reading.users, history, reading.pairs.items, "fit: users", stacklevel=5)
        kept = lists.newest(history.max_length)
        return Past("others", kept, kept)
    if history.in_order:
        mode = "windows"
    elif reading.order is None:
        mode = "others"
    else:
        mode = "before" if history.session_gap is None else "sessions"
    return Past(mode, newest_positives(reading.lists, history.max_length))


def fields_of(side: Side, widths: Widths, *, own_history: bool = False) -> Iterator[schema.Field]:
    """The lines of a side in the schema; `own_history`: it shares no vectors with the items."""
    if side.id is not None:
        width = widths[side.name, ""]
        without = int(np.count_nonzero(side.codes == 0))
        note = f"{without} share the vector of the unknown" if without else ""
        memory = 4 * side.id_rows * width
        yield schema.Field("Id", side.plural, side.id.column, side.rows, 0.0, note, width, memory)
    named = {part.name: widths[side.name, part.name] for part in side.encoder.parts}
    yield from side.encoder.fields(side.plural, named)
    if side.history is not None:
        width = widths["item", ""]
        whose = "with vectors of their own" if own_history else "whose vectors it shares"
        note = f"{side.history.encoder} of the newest {side.history.max_length} items, {whose}"
        yield schema.Field("History", side.plural, side.history.column, None, None, note, width, None)
    for left in side.left_out:
        yield schema.Field("left out", side.plural, left.column, note=left.reason)
