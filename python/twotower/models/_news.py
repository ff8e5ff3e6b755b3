"""What `partial_fit` is given: the model's rows and columns grown by it, and the lesson that it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower import frames
from twotower._core import core
from twotower.errors import DataError
from twotower.features import grown_shared
from twotower.interactions import Encoded, catalogue_vocabulary, encode_interactions
from twotower.item_lists import lists_of_pairs
from twotower.models._catalogue import Catalogue
from twotower.models._columns import known_tables
from twotower.models._fitted import Fitted
from twotower.models._histories import Histories, check_weights, cut_into_groups, read_lists
from twotower.models._inputs import id_table
from twotower.models._lesson import Lesson
from twotower.models._reading import column_options
from twotower.models._sides import PLURAL, Side, Sides
from twotower.vocabulary import Vocabulary

if TYPE_CHECKING:
    from twotower.models.two_tower import TwoTower

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class News:
    """Further interactions with the model's rows after them.

    Attributes
    ----------
    users, items : Vocabulary
        With the new ids at the end.
    pairs : Encoded
        In the order of time where the model has a history and a time column.
    lists : core.Interactions
        The same as lists.
    sides : Sides
        All entities, and the contexts of the positives.
    catalogue : Catalogue
        Of the old items, with the new values of those that have a row in the table of items.
    new_items : narwhals.DataFrame or None
        Rows of the new items, in their order.
    before, stored : Histories or None
        Of all users, without and with the new positives.
    in_time : bool
        Whether histories go by what came before, or are all that a user has.
    group_size : int
    """

    users: Vocabulary
    items: Vocabulary
    pairs: Encoded
    lists: core.Interactions
    sides: Sides
    catalogue: Catalogue
    new_items: frames.Frame | None
    before: Histories | None
    stored: Histories | None
    in_time: bool
    group_size: int

    @classmethod
    def read(cls, model: TwoTower, interactions: Any, users: Any, items: Any) -> News:
        """Read the tables by the model's options; nothing of the model is changed."""
        table = frames.table(interactions, "partial_fit: interactions")
        sides, history = model._sides, model._sides.history
        people = _Table.read(users, sides.users, model._users, model.user_col, table)
        things = _Table.read(items, sides.items, model._items, model.item_col, table)
        pairs = encode_interactions(
            table,
            **column_options(model),
            time_col=model.time_col,
            users=people.vocabulary,
            items=things.vocabulary,
            what="partial_fit",
        )
        weighted = check_weights(history, pairs.ratings, model.rating_col, "partial_fit")
        order = np.arange(len(pairs))
        if history is not None and pairs.times is not None:
            order = np.argsort(pairs.times, kind="stable")
        pairs = pairs.take(order)
        sizes = (people.vocabulary.size, things.vocabulary.size)
        ratings = pairs.ratings if weighted else None
        lists = core.Interactions(pairs.user_rows, pairs.item_rows, pairs.weights, *sizes, ratings)
        if not lists.num_positives:
            raise DataError(
                "partial_fit: no interaction is a positive example, but at least 1 must be; "
                "lower min_rating or check the weights"
            )
        grown = _grown_sides(sides, people, things, table, order[_liked(pairs)])
        counts = padded(model._item_counts, sizes[1]) + lists.item_counts
        users_side = grown.users.with_ids(padded(model._user_counts, sizes[0]) + lists.user_counts)
        grown = replace(grown, users=users_side, items=grown.items.with_ids(counts))
        catalogue, new_items = _grown_catalogue(model, things)
        before, stored = _histories(model, people, lists)
        in_order = history is not None and history.in_order
        return cls(
            people.vocabulary, things.vocabulary, pairs, lists, grown, catalogue, new_items, before, stored,
            in_time=not model._histories_given and (pairs.times is not None or in_order),
            group_size=model.group_size_,  # type: ignore[attr-defined]
        )  # fmt: skip

    @property
    def positives(self) -> int:
        return int(self.lists.num_positives)

    @property
    def user_counts(self) -> Array:
        return self.lists.user_counts

    @property
    def item_counts(self) -> Array:
        return self.lists.item_counts

    def seen(self, old: tuple[Array, Array]) -> tuple[Array, Array]:
        """The seen lists with the new pairs."""
        users = np.repeat(np.arange(len(old[0]) - 1), np.diff(old[0]))
        pairs = (np.concatenate([users, self.pairs.user_rows]), np.concatenate([old[1], self.pairs.item_rows]))
        lists = lists_of_pairs(*pairs, self.users.size, self.items.size)
        return lists.offsets, lists.items

    def lesson(self, fitted: Fitted, user_balance: float, optimizer_state: Mapping[str, Array] | None) -> Lesson:
        """What is to be learned: the new positives, each knowing what its user had before; other items stay as they are."""
        pairs = self.pairs.take(_liked(self.pairs))
        trainable = np.zeros(self.items.size, dtype=np.uint8)
        trainable[pairs.item_rows] = 1
        contexts = None if self.sides.contexts is None else self.sides.contexts.feature_table()
        history = self.sides.history
        rows, num_users, entities, lists = pairs.user_rows, self.users.size, None, None
        example_weights = pairs.weights
        if history is not None and self.before is not None and self.in_time:
            weights = pairs.ratings if history.weight_by is not None else None
            # Each group of positives is a user of its own to the trainer, whose list ends where the group begins.
            rows, owners, lists = cut_into_groups(
                self.before, rows, pairs.item_rows, weights, self.group_size, history.max_length
            )
            num_users, entities = len(owners), self.sides.users.take(owners).feature_table()
            if user_balance:
                of_group = np.bincount(rows, minlength=num_users)[rows]
                balance = (self.user_counts[pairs.user_rows] / of_group) ** -user_balance
                example_weights = (balance if pairs.weights is None else balance * pairs.weights).astype(np.float32)
        elif history is not None:
            lists = self.stored
        return Lesson(
            core.Interactions(rows, pairs.item_rows, example_weights, num_users, self.items.size),
            fitted.user_data(entities, contexts),
            fitted.item_data(),
            "none" if lists is None else "others",
            1 if history is None else history.max_length,
            lists,
            trainable,
            optimizer_state,
        )


@dataclass(frozen=True, eq=False)
class _Table:
    """A table of users or items, and the ids of the side with those that are new.

    Attributes
    ----------
    frame : narwhals.DataFrame or None
    vocabulary : Vocabulary
    rows : int32 (rows of `frame`,)
    where : str
        Start of messages.
    """

    frame: frames.Frame | None
    vocabulary: Vocabulary
    rows: Array
    where: str

    @classmethod
    def read(cls, table: Any, side: Side, ids: Vocabulary, id_col: str, interactions: frames.Frame) -> _Table:
        where = f"partial_fit: {side.plural}"
        nobody = np.empty(0, dtype=np.int32)
        if table is None and side.encoder.parts:
            return cls(None, ids, nobody, where)
        if table is None:
            found = frames.column(interactions, id_col, "partial_fit: interactions")
            return cls(None, ids.extended(found, f"partial_fit: column {id_col!r}"), nobody, where)
        frame = frames.table(table, where)
        of_table = catalogue_vocabulary(frame, id_col, side=side.plural, what="partial_fit").ids
        longer = ids.extended(of_table, f"partial_fit: column {id_col!r} of {side.plural}")
        return cls(frame, longer, longer.encode(frames.column(frame, id_col, where)), where)


def side_with(side: Side, table: frames.Frame, ids: Vocabulary, id_col: str, where: str) -> tuple[Side, Array]:
    """A side with the rows of a table, encoded as they are; and which rows of `ids` they are, int32."""
    rows = ids.encode(frames.column(table, id_col, where))
    encoded = side.encode(table, where) if side.encoder.parts else []
    return side.grown(side.encoder, encoded, rows, ids.size), rows


def new_positions(rows: Array, size: int) -> Array:
    """Where in a table the rows from `size` on are, in their order."""
    new = np.flatnonzero(rows >= size)
    return new[np.argsort(rows[new], kind="stable")]


def padded(counts: Array, size: int) -> Array:
    """Counts of further entities, all 0, behind these."""
    return np.concatenate([counts, np.zeros(size - len(counts), dtype=counts.dtype)])


def with_new_ids(parameters: Mapping[str, Array], old: Sides, new: Sides) -> dict[str, Array]:
    """Begin the embedding of an id that is known from now on at that of the unknown, as rows do that the core adds."""
    changed = dict(parameters)
    for before, after in ((old.users, new.users), (old.items, new.items)):
        codes = np.flatnonzero((before.codes == 0) & (after.codes[: before.rows] > 0)) + 1
        names = [f"table.{id_table(before)}", *(["table.item_bias"] if before.name == "item" else [])]
        for name in names:
            if name in changed:
                table = changed[name].copy()
                table[codes[codes < len(table)]] = table[0]
                changed[name] = table
    return changed


def _liked(pairs: Encoded) -> Array:
    return np.arange(len(pairs)) if pairs.weights is None else np.flatnonzero(pairs.weights > 0)


def _grown_sides(sides: Sides, people: _Table, things: _Table, table: frames.Frame, context_rows: Array) -> Sides:
    """Take new rows and new values of all sides; codes of old values stay."""
    given: list[tuple[Side, frames.Frame, str, Array, int]] = []
    for side, news in ((sides.users, people), (sides.items, things)):
        if news.frame is not None and side.encoder.parts:
            given.append((side, news.frame, news.where, news.rows, news.vocabulary.size))
    if sides.contexts is not None:
        given.append((sides.contexts, table, "partial_fit: interactions", context_rows, len(table)))
    shared: dict[str, Any] = {}
    for side in sides:
        for name, values in side.encoder.shared.items():
            if name not in shared or values.size > shared[name].size:
                shared[name] = values
    ids = known_tables((sides.users.id, people.vocabulary), (sides.items.id, things.vocabulary))
    shared = grown_shared(shared, [(side.encoder, frame, where) for side, frame, where, _, _ in given], ids)
    grown: dict[str, Side] = {}
    for side, frame, where, rows, total in given:
        encoder = side.encoder.grown(frame, where, shared)
        encoded = encoder.transform(frame, where)
        if side.name == "context":
            taken = [column.take(rows) for column in encoded]
            grown["contexts"] = replace(side, rows=len(rows), encoder=encoder, encoded=taken)
        else:
            grown[PLURAL[side.name]] = side.grown(encoder, encoded, rows, total)
    for side, news in ((sides.users, people), (sides.items, things)):
        if not side.encoder.parts:
            grown[side.plural] = side.grown(side.encoder, [], np.empty(0, dtype=np.int64), news.vocabulary.size)
    return replace(sides, **grown)


def _grown_catalogue(model: TwoTower, things: _Table) -> tuple[Catalogue, frames.Frame | None]:
    catalogue, size = model._catalogue, model._items.size
    if things.frame is None:
        return catalogue, None
    old = np.flatnonzero(things.rows < size)
    if old.size:
        catalogue = catalogue.replaced(things.rows[old], frames.take(things.frame, old), things.where, model.item_col)
    new_items = frames.take(things.frame, new_positions(things.rows, size))
    catalogue.extended(new_items, things.vocabulary.size - size, things.where, model.item_col)  # raises here or never
    return catalogue, new_items


def _histories(model: TwoTower, people: _Table, lists: core.Interactions) -> tuple[Histories | None, Histories | None]:
    """Of all users, without and with the new positives; lists of a column stay, unless the table of users has others."""
    history, kept = model._sides.history, model._histories
    if history is None or kept is None:
        return None, None
    before = kept.appended(Histories.empty(people.vocabulary.size - len(kept)))
    if not model._histories_given:
        new = Histories(lists.positive_offsets, lists.positive_items, lists.positive_history_weights)
        return before, before.extended(new).newest(history.max_length)
    if people.frame is not None and history.column in people.frame.columns:
        # The caller's line: above are News.read, partial_fit and its check of names.
        found, there = read_lists(people.frame, history, model._items, people.where, stacklevel=6)
        rows = np.flatnonzero(there)
        before = before.replaced(people.rows[rows], found.take(rows).newest(history.max_length))
    return before, before
