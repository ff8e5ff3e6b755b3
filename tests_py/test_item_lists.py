"""Lists of items as rows: sets of pairs, unions, the arguments of the core."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.item_lists import Filters, Lists, lists_of_pairs, union

NUM_ITEMS = 6
SETS = st.lists(st.none() | st.sets(st.integers(0, NUM_ITEMS - 1)), min_size=1, max_size=6)


def lists_of(sets: list[set[int] | None]) -> Lists:
    """Lists in an order of their own: the last query has the first list."""
    there = [number for number, items in enumerate(sets) if items is not None]
    of_query = np.full(len(sets), -1, dtype=np.int32)
    of_query[there] = np.arange(len(there))[::-1]
    ordered = [sorted(sets[number] or ()) for number in reversed(there)]
    offsets = np.cumsum([0, *map(len, ordered)]).astype(np.int64)
    return Lists(of_query, offsets, np.array([item for items in ordered for item in items], dtype=np.int32))


def sets_of(lists: Lists) -> list[set[int] | None]:
    return [
        None if number < 0 else set(lists.items[lists.offsets[number] : lists.offsets[number + 1]].tolist())
        for number in lists.of_query
    ]


@settings(deadline=None)
@given(SETS, st.data())
def test_lists_are_pairs(sets: list[set[int] | None], data: st.DataObject) -> None:
    lists = lists_of(sets)
    assert sets_of(lists) == sets
    queries, items = lists.pairs()
    assert list(zip(queries.tolist(), items.tolist(), strict=True)) == [
        (query, item) for query, chosen in enumerate(sets) for item in sorted(chosen or ())
    ]
    again = lists_of_pairs(queries[::-1], items[::-1], len(sets), NUM_ITEMS)
    assert sets_of(again) == [chosen or set() for chosen in sets]
    assert (again.of_query.dtype, again.offsets.dtype, again.items.dtype) == (np.int32, np.int64, np.int32)
    positions = data.draw(st.lists(st.integers(0, len(sets) - 1)))
    assert sets_of(lists.take(np.array(positions, dtype=np.int64))) == [sets[position] for position in positions]


@settings(deadline=None)
@given(SETS, st.data())
def test_a_union_has_the_items_of_both(one: list[set[int] | None], data: st.DataObject) -> None:
    other = data.draw(st.lists(SETS.map(lambda sets: sets[0]), min_size=len(one), max_size=len(one)))
    both = [(a or set()) | (b or set()) for a, b in zip(one, other, strict=True)]
    assert sets_of(union(lists_of(one), lists_of(other), NUM_ITEMS)) == both
    assert sets_of(Filters(deny=lists_of(one)).denying(lists_of(other), NUM_ITEMS).deny) == both  # type: ignore[arg-type]
    assert Filters().denying(None, NUM_ITEMS).deny is None


def test_filters_are_arguments_of_the_core() -> None:
    assert Filters().arguments() == {}
    lists, mask = lists_of([{1}, None]), np.ones(NUM_ITEMS, dtype=np.uint8)
    filters = Filters(mask, allow=lists, deny=lists).take(np.array([1, 1]))
    assert set(filters.arguments()) == {
        "allowed", "allowed_of_query", "allowed_offsets", "allowed_items", "denied_of_query", "denied_offsets",
        "denied_items",
    }  # fmt: skip
    assert filters.arguments()["allowed_of_query"].tolist() == [-1, -1]
    assert filters.arguments()["allowed"] is mask
