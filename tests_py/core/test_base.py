"""What every binding has in common: which arrays pass, how refusals are worded, which exception means what."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest

from twotower._core import core


def refuses(error, sentence):
    return pytest.raises(error, match=f"^{re.escape(sentence)}$")


def pairs(users, items=None, weights=None):
    return core.Interactions(users, np.zeros(3, np.int32) if items is None else items, weights, 4, 4)


def misaligned(values: np.ndarray) -> np.ndarray:
    """The same values, one byte off where their type may lie."""
    memory = np.zeros(values.nbytes + 1, np.uint8)[1:]
    view = memory.view(values.dtype)
    view[:] = values
    return view


def test_available_threads_is_at_least_one_and_within_the_affinity():
    assert 1 <= core.available_threads() <= len(os.sched_getaffinity(0))


def test_module_tells_its_level_and_whether_it_asserts():
    assert core.isa in ("v2", "v3", "v4")
    assert core.__name__.endswith(core.isa)
    assert isinstance(core.assertions, bool)


@pytest.mark.parametrize(
    ("users", "found"),
    [
        (np.zeros(3, np.int64), "a C-contiguous int64 array of shape (3,)"),
        (np.zeros(3, np.float32), "a C-contiguous float32 array of shape (3,)"),
        (np.zeros(3, ">i4"), "a C-contiguous >i4 array of shape (3,)"),
        (np.zeros((3, 1), np.int32), "a C-contiguous int32 array of shape (3, 1)"),
        (np.zeros((), np.int32), "a C-contiguous int32 array of shape ()"),
        (np.zeros(6, np.int32)[::2], "a strided int32 array of shape (3,)"),
        (misaligned(np.zeros(3, np.int32)), "an unaligned int32 array of shape (3,)"),
        (np.array(["a", "b", "c"]), "a C-contiguous <U1 array of shape (3,)"),
        ([0, 1, 2], "a list"),
        (range(3), "a range"),
        (None, "a NoneType"),
        (7, "a int"),
    ],
)
def test_anything_but_the_wanted_array_is_refused_by_name(users, found):
    sentence = f"Interactions: user_rows is {found}, but must be a C-contiguous int32 array of 1 dimension"
    with refuses(TypeError, sentence):
        pairs(users)


def test_optional_array_may_be_none_but_nothing_else():
    rows = np.zeros(3, np.int32)
    assert pairs(rows).num_positives == 3
    sentence = "Interactions: weights is a C-contiguous float64 array of shape (3,), but must be a C-contiguous float32 array of 1 dimension"
    with refuses(TypeError, sentence):
        pairs(rows, weights=np.ones(3))


def test_matrices_are_refused_by_name_too():
    with refuses(
        TypeError,
        "ItemIndex: items is a strided float32 array of shape (4, 3), but must be a C-contiguous float32 array of 2 dimensions",
    ):
        core.ItemIndex(np.zeros((3, 4), np.float32).T)


def test_read_only_and_empty_arrays_pass():
    rows = np.arange(3, dtype=np.int32)
    rows.flags.writeable = False
    assert pairs(rows).num_positives == 3
    none = np.empty(0, np.int32)
    assert pairs(none, none, np.empty(0, np.float32)).num_positives == 0


def test_value_errors_and_index_errors_carry_the_sentence_of_the_core():
    rows = np.arange(3, dtype=np.int32)
    with refuses(ValueError, "Interactions: size of item_rows is 2, but must equal size of query_rows, which is 3"):
        pairs(rows, np.zeros(2, np.int32))
    with refuses(IndexError, "Interactions: item_rows[1] is 4, but must be in [0, 4)"):
        pairs(rows, np.array([0, 4, 0], np.int32))


@pytest.mark.parametrize("num_threads", [0, -2])
def test_number_of_threads_is_checked(num_threads):
    with refuses(ValueError, f"Threads: num_threads is {num_threads}, but must be at least 1"):
        core.ItemIndex(np.zeros((1, 1), np.float32), num_threads=num_threads)
