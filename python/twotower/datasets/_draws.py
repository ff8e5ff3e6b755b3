"""Draw items without replacement from softmax(taste + popularity), for millions of draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK_CELLS = 1 << 21
_ROUNDS = 24

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Items by kind: those of one kind please a user alike and differ in popularity only.

    Attributes
    ----------
    kind_factors : float64 (num_kinds, width)
    kind_of_item : int64 (num_items,)
    births : int64 (num_items,)
        Period in which the item comes out; 0 for one item at least of each kind.
    log_popularity : float64 (num_periods, num_items)
        Minus infinity before the item is out.
    """

    kind_factors: Floats
    kind_of_item: Rows
    births: Rows
    log_popularity: Floats


def draw_items(
    catalogue: Catalogue, user_factors: Floats, user_rows: Rows, periods: Rows, random: np.random.Generator
) -> Rows:
    """Draw one item for each interaction.

    Parameters
    ----------
    catalogue : Catalogue
        In every period more items are out than any user has interactions.
    user_factors : float64 (num_users, width)
    user_rows : int64 (n,)
        User of each interaction, ascending.
    periods : int64 (n,)
        Its period, ascending within a user.
    random : Generator
        Uniform numbers are drawn, as many as needed.

    Returns
    -------
    int64 (n,)
        Item rows. Each is a draw from the softmax of ``user_factors @ item_factors + log_popularity`` over the items
        that the user has not drawn before.

    Notes
    -----
    An item is drawn in two steps, its kind and then itself, so that the cost does not grow with the catalogue. One that
    the user has had already is drawn again. That is exact, also when all interactions of a user are tried at once: a
    value that turns up earlier in the user's order stays there or moves to the front, so whatever made a later draw be
    rejected is among the earlier ones in the end. Draws still colliding after 24 rounds (users who have had most of
    what they like) are made one by one over the whole catalogue.
    """
    items = np.empty(len(user_rows), np.int64)
    table = _Table(catalogue)
    users_in_block = max(1, _BLOCK_CELLS // (4 * len(catalogue.kind_factors)))
    for first in range(0, len(user_factors), users_in_block):
        low, high = np.searchsorted(user_rows, [first, first + users_in_block])
        block = slice(int(low), int(high))
        tastes = np.exp(user_factors[first : first + users_in_block] @ catalogue.kind_factors.T)
        items[block] = _draw_block(table, tastes, user_rows[block] - first, periods[block], random)
    return items


class _Table:
    """Popularity in the form that draws need: running sums over items sorted by kind, in every period."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.kind_of_item = catalogue.kind_of_item
        # The last item of each kind is out from the start: rounding up beyond it cannot give one that is not out.
        self.by_kind = np.lexsort((-catalogue.births, catalogue.kind_of_item))
        self.place = np.argsort(self.by_kind)
        self.bounds = np.searchsorted(catalogue.kind_of_item[self.by_kind], np.arange(len(catalogue.kind_factors) + 1))
        self.weights = np.exp(catalogue.log_popularity[:, self.by_kind])  # (num_periods, num_items)
        sums = np.concatenate([np.zeros((len(self.weights), 1)), np.cumsum(self.weights, axis=1)], axis=1)
        # Period p has its sums between p and p + 1: one sorted array, so that one search serves draws of all periods.
        self.sums = sums / sums[:, -1:] + np.arange(len(sums))[:, None]
        self.mass = np.diff(sums[:, self.bounds], axis=1)  # (num_periods, num_kinds)

    def draw(self, kinds: Rows, periods: Rows, random: np.random.Generator) -> Rows:
        """Draw an item row of each kind by its popularity in each period."""
        low, high = self.sums[periods, self.bounds[kinds]], self.sums[periods, self.bounds[kinds + 1]]
        width = self.sums.shape[1]
        found = np.searchsorted(self.sums.ravel(), low + random.random(len(kinds)) * (high - low), side="right")
        places = np.clip(found - 1 - periods * width, self.bounds[kinds], self.bounds[kinds + 1] - 1)
        items: Rows = self.by_kind[places]
        return items


def _draw_block(table: _Table, tastes: Floats, users: Rows, periods: Rows, random: np.random.Generator) -> Rows:
    """Draw for some users; `tastes` (num_users, num_kinds) is exp(affinity)."""
    num_items = len(table.kind_of_item)
    # Interactions of one user in one period share their probabilities.
    starts = np.ones(len(users), bool)
    starts[1:] = (users[1:] != users[:-1]) | (periods[1:] != periods[:-1])
    session = np.cumsum(starts) - 1
    sums = np.cumsum(tastes[users[starts]] * table.mass[periods[starts]], axis=1)
    num_kinds = sums.shape[1]
    steps = (sums / sums[:, -1:] + np.arange(len(sums))[:, None]).ravel()

    items = np.empty(len(users), np.int64)
    looked_at = redo = np.arange(len(users))
    for _ in range(_ROUNDS):
        found = np.searchsorted(steps, session[redo] + random.random(len(redo)), side="right")
        kinds = np.clip(found - session[redo] * num_kinds, 0, num_kinds - 1)
        items[redo] = table.draw(kinds, periods[redo], random)
        pair = users[looked_at] * num_items + items[looked_at]
        order = np.argsort(pair, kind="stable")  # equal pairs stay in the user's order: the first one keeps its item
        redo = np.sort(looked_at[order[1:][pair[order[1:]] == pair[order[:-1]]]])
        if not len(redo):
            return items
        unsettled = np.zeros(len(tastes), bool)
        unsettled[users[redo]] = True
        looked_at = looked_at[unsettled[users[looked_at]]]
    for user in np.unique(users[redo]):
        _settle(table, tastes[user], items, periods, range(*np.searchsorted(users, [user, user + 1])), random)
    return items


def _settle(table: _Table, taste: Floats, items: Rows, periods: Rows, rows: range, random: np.random.Generator) -> None:
    """Redraw, in order, whatever one user has had before, from what is left of the catalogue."""
    left = taste[table.kind_of_item[table.by_kind]]
    for row in rows:
        if not left[table.place[items[row]]]:
            sums = np.cumsum(table.weights[periods[row]] * left)
            point = min(random.random() * sums[-1], np.nextafter(sums[-1], 0))
            items[row] = table.by_kind[np.searchsorted(sums, point, side="right")]
        left[table.place[items[row]]] = 0
