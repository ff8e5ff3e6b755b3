"""The bindings of the data: lists of interactions against plain Python, columns of features, and the wording of refusals."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower._core import core

USERS, ITEMS = 6, 5


def refuses(error, sentence):
    return pytest.raises(error, match=f"^{re.escape(sentence)}$")


def interactions(pairs, weights=None, num_users=USERS, num_items=ITEMS):
    users = np.array([user for user, _ in pairs], np.int32)
    items = np.array([item for _, item in pairs], np.int32)
    return core.Interactions(
        users, items, None if weights is None else np.array(weights, np.float32), num_users, num_items
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, USERS - 1), st.integers(0, ITEMS - 1), st.sampled_from([0.0, 0.5, 1.0, 3.0])),
        max_size=30,
    )
)
def test_lists_and_counts_agree_with_plain_python(rows):
    made = interactions([row[:2] for row in rows], [row[2] for row in rows])
    seen = [sorted({item for user, item, _ in rows if user == wanted}) for wanted in range(USERS)]
    positives = [(user, item) for user, item, weight in rows if weight > 0]
    assert (made.num_users, made.num_items, made.num_positives) == (USERS, ITEMS, len(positives))
    assert made.seen_offsets.tolist() == np.cumsum([0, *map(len, seen)]).tolist()
    assert made.seen_items.tolist() == [item for items in seen for item in items]
    assert made.item_counts.tolist() == [sum(item == wanted for _, item in positives) for wanted in range(ITEMS)]
    assert made.user_counts.tolist() == [sum(user == wanted for user, _ in positives) for wanted in range(USERS)]


def test_arrays_have_the_promised_dtypes_and_are_copies():
    made = interactions([(0, 1), (3, 2)])
    assert made.seen_offsets.dtype == np.int64
    assert made.seen_items.dtype == np.int32
    assert made.item_counts.dtype == np.float64
    assert made.user_counts.dtype == np.int64
    made.seen_items[:] = 4
    assert made.seen_items.tolist() == [1, 2]


def test_interactions_do_not_follow_later_changes_of_the_arrays():
    users, items = np.array([0, 1], np.int32), np.array([2, 3], np.int32)
    made = core.Interactions(users, items, None, USERS, ITEMS)
    items[:] = 0
    assert made.seen_items.tolist() == [2, 3]


def test_interactions_arguments_have_names():
    rows = np.zeros(1, np.int32)
    made = core.Interactions(user_rows=rows, item_rows=rows, weights=None, num_users=1, num_items=2)
    assert made.item_counts.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"num_users": 0}, ValueError, "Interactions: num_queries is 0, but must be at least 1"),
        ({"num_items": -1}, ValueError, "Interactions: num_items is -1, but must be at least 1"),
        (
            {"weights": [1.0]},
            ValueError,
            "Interactions: size of weights is 1, but must equal size of query_rows, which is 2",
        ),
        ({"weights": [1.0, -2.0]}, ValueError, "Interactions: weights[1] is -2, but must not be negative"),
        ({"weights": [np.nan, 1.0]}, ValueError, "Interactions: weights[0] is nan, but must be a finite number"),
        ({"num_users": 3}, IndexError, "Interactions: query_rows[1] is 3, but must be in [0, 3)"),
        ({"num_items": 2}, IndexError, "Interactions: item_rows[1] is 2, but must be in [0, 2)"),
    ],
)
def test_interactions_refuse_what_does_not_fit(arguments, error, sentence):
    with refuses(error, sentence):
        interactions([(0, 1), (3, 2)], **arguments)


def test_feature_table_numbers_its_columns():
    table = core.FeatureTable(2)
    assert (table.rows, table.columns) == (2, 0)
    assert table.add_codes(np.array([0, 2], np.int32), 3) == 0
    offsets, codes = np.array([0, 2, 2], np.int64), np.array([1, 0], np.int32)
    assert table.add_bags(offsets, codes, None, 2) == 1
    assert table.add_bags(offsets, codes, np.array([1, 0.5], np.float32), vocabulary=2) == 2
    assert table.add_numbers(np.array([np.nan, 1], np.float32)) == 3
    assert table.columns == 4


OFFSETS, CODES = np.array([0, 1, 1], np.int64), np.array([0], np.int32)


@pytest.mark.parametrize(
    ("add", "error", "sentence"),
    [
        (
            lambda t: t.add_codes(np.zeros(3, np.int32), 1),
            ValueError,
            "FeatureTable: size of codes is 3, but must equal rows, which is 2",
        ),
        (
            lambda t: t.add_codes(np.array([0, -1], np.int32), 1),
            IndexError,
            "FeatureTable: codes[1] is -1, but must be in [0, 1)",
        ),
        (
            lambda t: t.add_codes(np.zeros(2), 1),
            TypeError,
            "FeatureTable: codes is a C-contiguous float64 array of shape (2,), but must be a C-contiguous int32 array of 1 dimension",
        ),
        (
            lambda t: t.add_bags(OFFSETS.astype(np.int32), CODES, None, 1),
            TypeError,
            "FeatureTable: offsets is a C-contiguous int32 array of shape (3,), but must be a C-contiguous int64 array of 1 dimension",
        ),
        (
            lambda t: t.add_bags(OFFSETS[:2], CODES, None, 1),
            ValueError,
            "FeatureTable: size of offsets is 2, but must equal rows + 1, which is 3",
        ),
        (
            lambda t: t.add_bags(OFFSETS[::-1].copy(), CODES, None, 1),
            ValueError,
            "FeatureTable: offsets runs from 1 to 0, but must run from 0 to 1",
        ),
        (
            lambda t: t.add_bags(OFFSETS, CODES, np.array([-1], np.float32), 1),
            ValueError,
            "FeatureTable: weights[0] is -1, but must not be negative",
        ),
        (
            lambda t: t.add_numbers(np.array([0, np.inf], np.float32)),
            ValueError,
            "FeatureTable: values[1] is inf, but must be a finite number or nan, which means missing",
        ),
    ],
)
def test_feature_table_refuses_what_does_not_fit_and_stays_as_it_was(add, error, sentence):
    table = core.FeatureTable(2)
    with refuses(error, sentence):
        add(table)
    assert table.columns == 0


def test_feature_table_needs_a_row():
    with refuses(ValueError, "FeatureTable: rows is 0, but must be at least 1"):
        core.FeatureTable(0)


def test_positives_keep_the_order_of_the_pairs_and_their_weight_in_a_history():
    users, items = np.array([1, 0, 1, 1], np.int32), np.array([4, 2, 0, 3], np.int32)
    weights, history = np.array([1, 1, 0, 2], np.float32), np.array([5, 4, 3, 2], np.float32)
    made = core.Interactions(users, items, weights, 2, ITEMS, history)
    assert made.positive_offsets.tolist() == [0, 1, 3]
    assert made.positive_items.tolist() == [2, 4, 3]  # the pair of weight 0 is no positive
    assert made.positive_history_weights.tolist() == [4, 5, 2]
    assert core.Interactions(users, items, weights, 2, ITEMS).positive_history_weights is None
    with refuses(ValueError, "Interactions: history_weights[1] is -4, but must not be negative"):
        core.Interactions(users, items, weights, 2, ITEMS, history * np.array([1, -1, 1, 1], np.float32))


def test_vectors_take_a_matrix_of_finite_rows_or_missing_ones():
    table = core.FeatureTable(3)
    assert table.add_vectors(np.array([[1, 2], [np.nan, 3], [4, np.nan]], np.float32)) == 0
    with refuses(ValueError, "FeatureTable: rows of values is 2, but must equal rows, which is 3"):
        table.add_vectors(np.zeros((2, 2), np.float32))
    with refuses(ValueError, "FeatureTable: columns of values is 0, but must be at least 1"):
        table.add_vectors(np.zeros((3, 0), np.float32))
    with pytest.raises(ValueError, match=r"^FeatureTable: values\[3\] is inf, but must be a finite number or nan"):
        table.add_vectors(np.array([[1, 2], [3, np.inf], [4, 5]], np.float32))
