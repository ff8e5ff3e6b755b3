"""The index that is open to anyone: against a product of NumPy, whatever the ids, the filters and the form of the vectors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import twotower as tt
from conformance import exactly
from twotower.errors import DataError, SchemaError, UnknownIdError

SIZE, WIDTH = 37, 5


def whole(seed: int, *shape: int) -> np.ndarray:
    """Small whole numbers: products of them are exact, and many are equal."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float32)


VECTORS, QUERIES = whole(0, SIZE, WIDTH), whole(1, 6, WIDTH)


def expected(query: np.ndarray, k: int, allowed: set[int], vectors: np.ndarray = VECTORS) -> list[tuple[int, float]]:
    scores = vectors @ query
    ranked = sorted(allowed, key=lambda row: (-scores[row], row))[:k]
    return [(row, float(scores[row])) for row in ranked]


def found(ids: np.ndarray, scores: np.ndarray) -> list[list[tuple[Any, float]]]:
    """Lists without their padding."""
    return [
        [(one, score) for one, score in zip(row, values, strict=True) if score != -np.inf]
        for row, values in zip(ids.tolist(), scores.tolist(), strict=True)
    ]


@pytest.fixture(scope="module")
def index() -> tt.ItemIndex:
    return tt.ItemIndex(VECTORS)


@pytest.mark.parametrize("k", [1, 3, SIZE - 1, SIZE, SIZE + 4])
def test_it_finds_the_largest_products(index: tt.ItemIndex, k: int) -> None:
    ids, scores = index.search(QUERIES, k)
    assert (ids.shape, scores.shape) == ((6, k), (6, k))
    assert (ids.dtype, scores.dtype) == (np.int64, np.float32)
    assert found(ids, scores) == [expected(query, k, set(range(SIZE))) for query in QUERIES]
    assert ((ids == -1) == np.isneginf(scores)).all()


def test_one_vector_gives_one_list(index: tt.ItemIndex) -> None:
    ids, scores = index.search(QUERIES, 4)
    one, its_scores = index.search(QUERIES[2].tolist(), 4)
    assert (one.shape, its_scores.shape) == ((4,), (4,))
    assert one.tolist() == ids[2].tolist()
    assert its_scores.tolist() == scores[2].tolist()
    assert index.search(QUERIES[:0], 3)[0].shape == (0, 3)


def test_what_it_says_of_itself(index: tt.ItemIndex) -> None:
    assert (len(index), index.width, repr(index)) == (SIZE, WIDTH, "<ItemIndex of 37 vectors of width 5, int64 ids>")
    assert index.memory_bytes >= SIZE * WIDTH * 4
    assert isinstance(index.screened, bool)
    assert index.ids.tolist() == list(range(SIZE))


FORMS: dict[str, Any] = {
    "float64": VECTORS.astype(np.float64),
    "float16": VECTORS.astype(np.float16),
    "int8": VECTORS.astype(np.int8),
    "columns first": np.asfortranarray(VECTORS),
    "every second": np.repeat(VECTORS, 2, axis=0)[::2],
    "lists": VECTORS.tolist(),
    "arrays": list(VECTORS),
    "objects": pd.Series(list(VECTORS)).to_numpy(),
    "pandas": pd.Series(VECTORS.tolist()),
    "polars lists": pl.Series(VECTORS.tolist()),
    "polars arrays": pl.Series(VECTORS.tolist(), dtype=pl.Array(pl.Float32, WIDTH)),
    "arrow": pa.FixedSizeListArray.from_arrays(pa.array(VECTORS.reshape(-1)), WIDTH),
}


@pytest.mark.parametrize("form", FORMS)
def test_vectors_in_any_form(index: tt.ItemIndex, form: str) -> None:
    ids, scores = tt.ItemIndex(FORMS[form]).search(FORMS[form], 3)
    right_ids, right_scores = index.search(VECTORS, 3)
    np.testing.assert_array_equal(ids, right_ids)
    np.testing.assert_array_equal(scores, right_scores)


# Ids, the dtype of what is found, the padding.
IDS: dict[str, tuple[Any, str, Any]] = {
    "int32": (np.arange(SIZE, dtype=np.int32)[::-1] - 5, "int32", -1),
    "uint8": (np.arange(SIZE, dtype=np.uint8) * 3, "uint8", 255),
    "float32": (np.arange(SIZE, dtype=np.float32) / 2, "float32", np.nan),
    "text": ([f"i{row * 7 % SIZE}" for row in range(SIZE)], "object", None),
    "polars": (pl.Series([f"i{row}" for row in range(SIZE)]), "object", None),
    "category": (pd.Series([f"i{SIZE - row}" for row in range(SIZE)], dtype="category"), "object", None),
    "days": (np.datetime64("2020-01-01") + np.arange(SIZE)[::-1], "datetime64[D]", np.datetime64("NaT")),
    "tuples": ([(row, "x") for row in range(SIZE)], "object", None),
}


@pytest.mark.parametrize("name", IDS)
def test_ids_come_back_as_they_were(index: tt.ItemIndex, name: str) -> None:
    ids, dtype, padding = IDS[name]
    named = tt.ItemIndex(VECTORS, ids)
    got, scores = named.search(QUERIES, SIZE + 2)
    rows, right_scores = index.search(QUERIES, SIZE + 2)
    np.testing.assert_array_equal(scores, right_scores)
    assert got.dtype == np.dtype(dtype)
    assert got[:, :SIZE].tolist() == named.ids[rows[:, :SIZE]].tolist()
    np.testing.assert_array_equal(got[:, SIZE:], np.full((6, 2), padding, dtype=got.dtype))
    picked = list(ids)[:4]
    only, _ = named.search(QUERIES, 9, items=picked)
    assert {one for row in only[:, :4].tolist() for one in row} == set(named.ids[:4].tolist())
    assert named.remove(picked).search(QUERIES, SIZE)[0][:, : SIZE - 4].tolist() == [
        [one for one in row if one not in named_of(picked)] for row in got[:, :SIZE].tolist()
    ]


def named_of(picked: list[Any]) -> list[Any]:
    return [one.item() if isinstance(one, np.generic) else one for one in picked]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_filters_growth_and_removal_together(data: st.DataObject) -> None:
    """Against the same done with sets."""
    vectors, grown = whole(2, 20, WIDTH), tt.ItemIndex(whole(2, 20, WIDTH)[:12])
    alive = set(range(12))
    for _ in range(data.draw(st.integers(0, 4))):
        if data.draw(st.booleans()):
            gone = data.draw(st.sets(st.sampled_from(sorted(alive)), max_size=5)) if alive else set()
            grown.remove(sorted(gone))
            alive -= gone
        else:
            drawn = data.draw(st.lists(st.integers(0, 19), max_size=5, unique=True))
            more = [one for one in drawn if one not in alive]
            grown.add(vectors[more], more)
            alive |= set(more)
    assert len(grown) == len(alive)
    assert set(grown.ids.tolist()) == alive
    # Ties go by the order in which the items came.
    order = {one: place for place, one in enumerate(grown._ids.ids.tolist())}
    anything = st.lists(st.integers(-2, 22), max_size=8)
    exclude = data.draw(st.none() | anything | st.lists(st.none() | anything, min_size=3, max_size=3))
    some = st.lists(st.sampled_from(sorted(alive)), max_size=8) if alive else st.just([])
    items = data.draw(st.none() | some | st.lists(st.none() | some, min_size=3, max_size=3))

    def of(lists: Any, query: int, nothing: set[int]) -> set[int]:
        if lists is not None and any(one is None or isinstance(one, list) for one in lists):
            lists = lists[query]
        return nothing if lists is None else set(lists)

    # A list of nothing but None says nothing about anyone.
    exclude, items = (
        None if lists and not any(one is not None for one in lists) else lists for lists in (exclude, items)
    )
    got = found(*grown.search(QUERIES[:3], 7, exclude=exclude, items=items))
    for number, query in enumerate(QUERIES[:3]):
        allowed = (alive & of(items, number, alive)) - of(exclude, number, set())
        scores = vectors @ query
        right = sorted(allowed, key=lambda one: (-scores[one], order[one]))[:7]
        assert got[number] == [(one, float(scores[one])) for one in right]


@pytest.mark.parametrize(
    "form",
    [
        [[1, 2, 40], [], [3]],
        [{1, 2}, None, np.array([3])],
        ([1, 2], (), [3]),
        (np.array([0, 2, 2, 3]), np.array([1, 2, 3])),
        pl.Series([[1, 2], [], [3]]),
        pa.array([[1, 2], None, [3]]),
        pd.Series([[1, 2], [], [3]], index=[4, 4, 4]),
    ],
    ids=["lists", "sets", "tuples", "offsets", "polars", "arrow", "pandas"],
)
def test_a_list_a_query_in_any_form(index: tt.ItemIndex, form: Any) -> None:
    got = found(*index.search(QUERIES[:3], SIZE, exclude=form))
    for number, left_out in enumerate(({1, 2}, set(), {3})):
        assert got[number] == expected(QUERIES[number], SIZE, set(range(SIZE)) - left_out)


def test_a_matrix_is_a_list_a_query(index: tt.ItemIndex) -> None:
    got, _ = index.search(QUERIES[:2], 9, items=np.array([[3, 1], [2, 2]]))
    assert [sorted(set(row)) for row in got.tolist()] == [[-1, 1, 3], [-1, 2]]


def test_a_removed_item_may_come_back_with_another_vector() -> None:
    index = tt.ItemIndex(VECTORS[:4], list("abcd")).remove(["b", "b"])
    index.add([VECTORS[7], VECTORS[8]], ["x", "b"])
    assert index.ids.tolist() == list("abcdx")
    right = np.stack([VECTORS[0], VECTORS[8], VECTORS[2], VECTORS[3], VECTORS[7]])
    np.testing.assert_array_equal(index.search(QUERIES, 5)[1], tt.ItemIndex(right).search(QUERIES, 5)[1])


def test_row_numbers_go_on() -> None:
    index = tt.ItemIndex(VECTORS[:30]).remove([3]).add(VECTORS[30:])
    assert len(index) == SIZE - 1
    got = found(*index.search(QUERIES, SIZE))
    assert got == [expected(query, SIZE, set(range(SIZE)) - {3}) for query in QUERIES]


def test_the_same_bits_for_any_number_of_threads_and_from_many_at_once() -> None:
    vectors = np.random.default_rng(3).standard_normal((500, 16), dtype=np.float32)
    indexes = [tt.ItemIndex(vectors, n_jobs=n_jobs) for n_jobs in (1, 2, 7)]
    right = indexes[0].search(vectors, 10, n_jobs=1)
    for index, n_jobs in zip(indexes, (2, 7, -1), strict=True):
        for one, other in zip(index.search(vectors, 10, n_jobs=n_jobs), right, strict=True):
            np.testing.assert_array_equal(one, other)
    with ThreadPoolExecutor(4) as pool:
        for ids, scores in pool.map(
            lambda start: indexes[1].search(vectors[start : start + 50], 10), range(0, 500, 50)
        ):
            place = np.flatnonzero((right[1] == scores[0]).all(axis=1))[0]
            np.testing.assert_array_equal(ids, right[0][place : place + 50])


def test_a_screen_changes_no_bit() -> None:
    vectors = np.random.default_rng(4).standard_normal((3000, 32), dtype=np.float32)
    plain = tt.ItemIndex(vectors, screen=False)
    try:
        screened = tt.ItemIndex(vectors, screen=True)
    except ValueError:
        pytest.skip("this CPU has not the means")
    assert (plain.screened, screened.screened) == (False, True)
    for one, other in zip(plain.search(vectors[:40], 20), screened.search(vectors[:40], 20), strict=True):
        np.testing.assert_array_equal(one, other)


BAD_VECTORS: list[tuple[Any, type[Exception], str]] = [
    (VECTORS[0], ValueError, "have 1 dimensions, but must have 2 (one vector a row); reshape them"),
    (VECTORS[None], ValueError, "have 3 dimensions, but must have 2 (one vector a row); reshape them"),
    (
        VECTORS * np.where(np.arange(SIZE) == 3, np.nan, 1)[:, None],
        DataError,
        "are not finite as float32 in 1 row of those looked at (first: 3); drop these rows or mend the numbers",
    ),
    (
        np.full((2, 2), 1e300),
        DataError,
        "are not finite as float32 in 2 rows of those looked at (first: 0, 1); drop these rows or mend the numbers",
    ),
    ([["a", "b"]], TypeError, "have dtype <U1, but must be real numbers; convert them to float32"),
    (np.ones((2, 2)) * 1j, TypeError, "have dtype complex128, but must be real numbers; convert them to float32"),
    (
        pd.DataFrame({"a": [1.0]}),
        TypeError,
        "are a table, but must be a matrix or a column of vectors; pass one column, or to_numpy()",
    ),
]


@pytest.mark.parametrize(("vectors", "error", "sentence"), BAD_VECTORS)
def test_vectors_that_cannot_be_searched_are_refused(
    index: tt.ItemIndex, vectors: Any, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=exactly(f"ItemIndex: vectors {sentence}")):
        tt.ItemIndex(vectors)
    with pytest.raises(error, match=exactly(f"add: vectors {sentence}")):
        index.add(vectors)
    if np.ndim(vectors) != 1:
        with pytest.raises(error, match=r"^search: queries "):
            index.search(vectors, 3)


def test_vectors_of_several_lengths_and_none_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^ItemIndex: vectors are no matrix \(.*\); give vectors of one length$"):
        tt.ItemIndex([[1.0, 2.0], [1.0]])
    for shape in ((0, 3), (3, 0)):
        sentence = f"ItemIndex: vectors have shape {shape}, but must have one row and one column at least"
        with pytest.raises(DataError, match=exactly(sentence)):
            tt.ItemIndex(np.empty(shape, dtype=np.float32))


@pytest.mark.parametrize(
    ("ids", "error", "sentence"),
    [
        ([1, 2], ValueError, "ItemIndex: ids are 2, but must be 3: one for each vector"),
        (
            [7, 5, 7],
            DataError,
            "ItemIndex: ids: 1 id comes more than once (first: 7); give each vector an id of its own",
        ),
        (
            ["a", None, "b"],
            DataError,
            "ItemIndex: ids has no id in 1 row (first: 1); drop these rows or give them an id",
        ),
    ],
)
def test_ids_that_name_nothing_are_refused(ids: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=exactly(sentence)):
        tt.ItemIndex(VECTORS[:3], ids)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (
            lambda index: index.search(VECTORS[:, :3], 2),
            ValueError,
            "search: queries have width 3, but must have 5, as the vectors in the index",
        ),
        (lambda index: index.search(QUERIES, 0), ValueError, "search: k is 0, but must be at least 1"),
        (lambda index: index.search(QUERIES, N=3), TypeError, "search: there is no option 'N'; here it is called 'k'"),
        (
            lambda index: index.search(QUERIES, 3, items=[1, 99, 98]),
            UnknownIdError,
            "search: items: 2 of 3 ids are unknown (first: 99, 98); leave them out, or add them",
        ),
        (
            lambda index: index.search(QUERIES, 3, exclude=[[1]]),
            ValueError,
            "search: exclude has 1 list, but must have 6: one for each query",
        ),
        (
            lambda index: index.search(QUERIES[:2], 3, exclude=[[1], 2]),
            TypeError,
            "search: exclude: 2 is among lists, but must be a list of ids or None; wrap it in [ ]",
        ),
        (
            lambda index: index.search(QUERIES[:2], 3, exclude=(np.array([0, 1, 3]), np.array([1, 2]))),
            ValueError,
            "search: exclude: offsets must be 3 integers that rise from 0 to 2, the number of ids",
        ),
        (
            lambda index: index.add(VECTORS[:2], [50, 3]),
            DataError,
            "add: ids: 1 id is in the index already (first: 3); remove them first, or leave them out",
        ),
        (
            lambda index: index.add(VECTORS[:2], ["a", "b"]),
            SchemaError,
            "add: ids holds string ids, but the fitted ids are int64; convert them to int64",
        ),
        (
            lambda index: index.add(VECTORS[:2, :2]),
            ValueError,
            "add: vectors have width 2, but must have 5, as those in the index",
        ),
        (
            lambda index: index.remove([5, 77]),
            UnknownIdError,
            "remove: ids: 1 of 2 ids is unknown (first: 77); leave them out",
        ),
        (
            lambda index: tt.ItemIndex(VECTORS, n_jobs=0),
            ValueError,
            "ItemIndex: n_jobs is 0, but must be -1 (every CPU this process may use) or an integer of at least 1",
        ),
    ],
)
def test_what_a_call_gets_wrong_is_named(index: tt.ItemIndex, call: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=exactly(sentence)):
        call(index)
    assert len(index) == SIZE


def test_new_vectors_need_ids_where_the_others_have_them() -> None:
    index = tt.ItemIndex(VECTORS[:2], ["a", "b"])
    sentence = "add: ids is None, but the index was made with ids; give one for each vector"
    with pytest.raises(ValueError, match=exactly(sentence)):
        index.add(VECTORS[2:4])
    assert index.add(VECTORS[:0]) is index
    nothing, scores = index.remove(["a", "b"]).search(QUERIES, 2)
    assert nothing.tolist() == [[None, None]] * 6
    assert np.isneginf(scores).all()
