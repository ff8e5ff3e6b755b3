"""The retrieval bindings against NumPy: lists, filters, bytes, and the wording of every refusal."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower._core import core


def refuses(error, sentence):
    return pytest.raises(error, match=f"^{re.escape(sentence)}$")


def vectors(rows: int, width: int, seed: int) -> np.ndarray:
    """Whole numbers of -3 to 3: float32 sums of them are exact, so NumPy's order of summation does not matter; many are equal."""
    return np.random.default_rng(seed).integers(-3, 4, (rows, width)).astype(np.float32)


def numpy_top_k(items, queries, k, seen=None, allowed=None, listed=None):
    scores = queries @ items.T
    rows = np.full((len(queries), k), -1, np.int32)
    best = np.full((len(queries), k), -np.inf, np.float32)
    for q, of_query in enumerate(scores):
        left = np.ones(len(items), bool) if allowed is None else np.array(allowed, bool)
        if seen is not None:
            left[seen[q]] = False
        if listed is not None and listed[q] is not None:
            left &= np.isin(np.arange(len(items)), listed[q])
        order = np.argsort(-of_query, kind="stable")
        order = order[left[order]][:k]
        rows[q, : len(order)] = order
        best[q, : len(order)] = of_query[order]
    return rows, best


def ragged(lists):
    offsets = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    return offsets, np.array([row for rows in lists for row in rows], np.int32)


@pytest.fixture(scope="module")
def catalogue():
    items = vectors(500, 8, 0)
    return items, core.ItemIndex(items)


@pytest.mark.parametrize("n", [1, 2, 47, 48, 49, 97, 1000])
@pytest.mark.parametrize("width", [1, 3, 16, 64, 65])
def test_top_k_agrees_with_numpy(n, width):
    items, queries = vectors(n, width, 1), vectors(100, width, 2)
    packed = core.ItemIndex(items, num_threads=1)
    assert (packed.rows, packed.width) == (n, width)
    assert packed.memory_bytes >= items.nbytes
    for count in (0, 1, 7, 8, 9, 100):
        for k in (1, 2, 10, n, n + 5):
            rows, scores = packed.top_k(queries[:count], k)
            assert (rows.dtype, scores.dtype, rows.shape, scores.shape) == (
                np.int32,
                np.float32,
                (count, k),
                (count, k),
            )
            expected = numpy_top_k(items, queries[:count], k)
            np.testing.assert_array_equal(rows, expected[0])
            np.testing.assert_array_equal(scores, expected[1])


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    n=st.integers(1, 120),
    width=st.integers(1, 9),
    count=st.integers(1, 12),
    k=st.integers(1, 130),
)
def test_top_k_is_exact_under_any_filter(data, n, width, count, k):
    items, queries = vectors(n, width, 3), vectors(count, width, 4)
    rows = st.integers(0, n - 1)
    lists = [sorted(data.draw(st.sets(rows))) for _ in range(data.draw(st.integers(1, 4)))]
    of_query = data.draw(st.lists(st.integers(-1, len(lists) - 1), min_size=count, max_size=count))
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    offsets, seen_items = ragged(lists)
    got = core.ItemIndex(items).top_k(
        queries,
        k,
        seen_of_query=np.array(of_query, np.int32),
        seen_offsets=offsets,
        seen_items=seen_items,
        allowed=allowed,
    )
    expected = numpy_top_k(items, queries, k, [lists[i] if i >= 0 else [] for i in of_query], allowed)
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[1], expected[1])


def of_lists(name, lists):
    """Arguments for a list a query, None for no list; the lists lie in an order of their own."""
    there = [query for query, rows in enumerate(lists) if rows is not None][::-1]
    of_query = np.full(len(lists), -1, np.int32)
    of_query[there] = np.arange(len(there))
    offsets, items = ragged([sorted(lists[query]) for query in there])
    return {f"{name}_of_query": of_query, f"{name}_offsets": offsets, f"{name}_items": items}


@settings(max_examples=100, deadline=None)
@given(
    data=st.data(),
    n=st.integers(1, 120),
    count=st.integers(1, 12),
    k=st.integers(1, 130),
    threads=st.sampled_from([1, 2, 7]),
)
def test_top_k_is_exact_under_lists_of_each_query(data, n, count, k, threads):
    items, queries = vectors(n, 5, 8), vectors(count, 5, 9)
    lists = st.lists(st.none() | st.sets(st.integers(0, n - 1)), min_size=count, max_size=count)
    listed, denied, seen = data.draw(lists), data.draw(lists), data.draw(lists)
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    arguments = of_lists("allowed", listed) | of_lists("denied", denied) | of_lists("seen", seen)
    got = core.ItemIndex(items).top_k(queries, k, allowed=allowed, num_threads=threads, **arguments)
    gone = [sorted((a or set()) | (b or set())) for a, b in zip(denied, seen, strict=True)]
    expected = numpy_top_k(
        items, queries, k, gone, allowed, [rows if rows is None else sorted(rows) for rows in listed]
    )
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[1], expected[1])


@pytest.mark.parametrize("width", [1, 16, 33, 64])
def test_lists_of_each_query_give_the_bits_of_score_pairs(width):
    random = np.random.default_rng(7)
    items, queries = (
        random.standard_normal((5000, width), np.float32),
        random.standard_normal((50, width), np.float32),
    )
    # Crowded and thin lists, over many panels.
    lists = [np.unique(random.integers(0, 5000 if q % 2 else 200, 3 + 5 * q)) for q in range(50)]
    arguments = of_lists("allowed", lists)
    rows, scores = core.ItemIndex(items).top_k(queries, 300, num_threads=1, **arguments)
    for threads in (2, 7):
        again = core.ItemIndex(items).top_k(queries, 300, num_threads=threads, **arguments)
        assert again[0].tobytes() == rows.tobytes()
        assert again[1].tobytes() == scores.tobytes()
    for q, listed in enumerate(lists):
        found = rows[q][rows[q] >= 0]
        assert sorted(found) == list(listed)
        pairs = core.score_pairs(queries, items, np.full(len(found), q, np.int32), found)
        assert pairs.tobytes() == scores[q, : len(found)].tobytes()


@settings(max_examples=40, deadline=None)
@given(first=st.integers(0, 100), steps=st.lists(st.integers(0, 100), max_size=5), data=st.data())
def test_a_grown_index_is_a_fresh_one(first, steps, data):
    items, queries = vectors(first + sum(steps), 7, 10), vectors(9, 7, 11)
    packed = core.ItemIndex(items[:first])
    for end in np.cumsum([first, *steps])[1:]:
        packed.append(items[packed.rows : end], num_threads=2)
    assert packed.rows == len(items)
    if len(items):
        rows = np.array(data.draw(st.lists(st.integers(0, len(items) - 1), max_size=5)), np.int32)
        others = vectors(len(rows), 7, 12)
        packed.replace(rows, others)
        for row, vector in zip(rows, others, strict=True):
            items[row] = vector
    got, expected = packed.top_k(queries, 20), core.ItemIndex(items).top_k(queries, 20)
    assert got[0].tobytes() == expected[0].tobytes()
    assert got[1].tobytes() == expected[1].tobytes()


def test_growing_names_mistakes_and_changes_nothing():
    items = vectors(60, 3, 13)
    packed = core.ItemIndex(items)
    bad = np.ones((2, 3), np.float32)
    bad[1, 2] = np.nan
    with refuses(ValueError, "ItemIndex.append: items[1, 2] is nan, but must be a finite number"):
        packed.append(bad)
    with refuses(
        ValueError,
        "ItemIndex.append: the width of items is 2, but must equal the width of the packed items, which is 3",
    ):
        packed.append(np.ones((1, 2), np.float32))
    with refuses(
        TypeError,
        "ItemIndex.append: items is a C-contiguous float64 array of shape (1, 3), but must be a C-contiguous float32 array "
        "of 2 dimensions",
    ):
        packed.append(np.ones((1, 3)))
    with refuses(IndexError, "ItemIndex.replace: rows[0] is 60, but must be in [0, 60)"):
        packed.replace(np.array([60], np.int32), np.ones((1, 3), np.float32))
    with refuses(
        ValueError, "ItemIndex.replace: the size of rows is 1, but must equal the number of items, which is 2"
    ):
        packed.replace(np.array([6], np.int32), np.ones((2, 3), np.float32))
    with refuses(ValueError, "ItemIndex.replace: items[1, 2] is nan, but must be a finite number"):
        packed.replace(np.array([6, 7], np.int32), bad)
    expected = core.ItemIndex(items).top_k(items, 60)
    assert packed.top_k(items, 60)[1].tobytes() == expected[1].tobytes()


def screened_index(items, **options):
    """An index with a screen, skipped by name where the CPU or the module in use has none."""
    try:
        return core.ItemIndex(items, screen=True, **options)
    except ValueError as refusal:
        pytest.skip(str(refusal))


def same_bytes(one, other):
    return one[0].tobytes() == other[0].tobytes() and one[1].tobytes() == other[1].tobytes()


def test_a_screen_is_chosen_by_size_and_refused_by_name():
    assert not core.ItemIndex(np.ones((100, 3), np.float32)).screened
    assert not core.ItemIndex(np.ones((200_000, 3), np.float32), screen=False).screened
    large = core.ItemIndex(np.ones((200_000, 3), np.float32))
    try:
        core.ItemIndex(np.ones((4, 3), np.float32), screen=True)
    except ValueError as refusal:
        assert not large.screened
        assert str(refusal) == (  # noqa: PT017
            "ItemIndex: screen is True, but this CPU or the module in use has no 8-bit products of 512 bits (AVX-512 with VNNI); "
            "give None or False"
        )
        return
    assert large.screened
    assert large.memory_bytes >= 200_000 * (3 * 4 + 4)
    with refuses(ValueError, "ItemIndex: items width is 40000, but must be at most 32768 with screen=True"):
        core.ItemIndex(np.ones((1, 40_000), np.float32), screen=True)


@pytest.mark.parametrize("skew", [0.0, 2.0])
@pytest.mark.parametrize("width", [1, 3, 16, 65])
def test_a_screened_index_gives_the_bytes_of_one_without(width, skew):
    random = np.random.default_rng(14)
    items = random.standard_normal((20_011, width), np.float32)
    items *= np.exp(skew * random.standard_normal((len(items), 1))).astype(np.float32)
    queries = random.standard_normal((70, width), np.float32)
    screened, packed = screened_index(items), core.ItemIndex(items, screen=False)
    assert (screened.rows, screened.width, screened.screened, packed.screened) == (20_011, width, True, False)
    lists = [np.unique(random.integers(0, len(items), 500)) if q % 3 else None for q in range(70)]
    filters = of_lists("seen", lists) | {"allowed": random.random(len(items)) < 0.7}
    for k in (1, 20, 2000):
        for arguments in ({}, filters, filters | of_lists("allowed", lists[::-1])):
            expected = packed.top_k(queries, k, **arguments)
            for threads in (1, 2, 7):
                assert same_bytes(screened.top_k(queries, k, num_threads=threads, **arguments), expected)
        alone = screened.top_k(queries[7:8], k)
        assert same_bytes(alone, packed.top_k(queries[7:8], k))


def test_a_screened_index_grows_and_changes_as_one_without():
    items, queries = vectors(3000, 7, 15), vectors(40, 7, 16)
    screened, packed = screened_index(items[:2000]), core.ItemIndex(items, screen=False)
    screened.append(items[2000:])
    assert same_bytes(screened.top_k(queries, 30), packed.top_k(queries, 30))
    rows, others = np.array([5, 2999, 5], np.int32), vectors(3, 7, 17)
    for index in (screened, packed):
        index.replace(rows, others)
    assert same_bytes(screened.top_k(queries, 30), packed.top_k(queries, 30))
    with refuses(IndexError, "ItemIndex.replace: rows[0] is 3000, but must be in [0, 3000)"):
        screened.replace(np.array([3000], np.int32), others[:1])


def test_allowed_may_be_bool_or_uint8(catalogue):
    items, packed = catalogue
    allowed = np.zeros(500, bool)
    allowed[[3, 499]] = True
    expected = numpy_top_k(items, items[:5], 4, allowed=allowed)
    for mask in (allowed, allowed.astype(np.uint8), 7 * allowed.astype(np.uint8)):
        rows, scores = packed.top_k(items[:5], 4, allowed=mask)
        np.testing.assert_array_equal(rows, expected[0])
        np.testing.assert_array_equal(scores, expected[1])
    assert (rows[:, 2:] == -1).all()
    assert np.isneginf(scores[:, 2:]).all()


def test_same_bytes_alone_in_a_batch_and_with_any_number_of_threads():
    random = np.random.default_rng(5)
    items, queries = (
        random.standard_normal((20_011, 16), np.float32),
        random.standard_normal((600, 16), np.float32),
    )
    packed = [core.ItemIndex(items, num_threads=threads) for threads in (1, 2, 7)]
    rows, scores = packed[0].top_k(queries, 20, num_threads=1)
    for threads in (2, 7):
        again = packed[1].top_k(queries, 20, num_threads=threads)
        assert again[0].tobytes() == rows.tobytes()
        assert again[1].tobytes() == scores.tobytes()
    for q in (0, 255, 256, 599):
        alone = packed[2].top_k(queries[q : q + 1], 20, num_threads=2)
        assert alone[0].tobytes() == rows[q].tobytes()
        assert alone[1].tobytes() == scores[q].tobytes()
    np.testing.assert_allclose(scores, np.sort(queries @ items.T)[:, :-21:-1], rtol=1e-4)


def test_score_pairs_gives_the_bits_of_top_k():
    random = np.random.default_rng(6)
    items, queries = (
        random.standard_normal((300, 33), np.float32),
        random.standard_normal((20, 33), np.float32),
    )
    rows, scores = core.ItemIndex(items).top_k(queries, 7)
    query_rows = np.repeat(np.arange(20, dtype=np.int32), 7)
    for threads in (1, 2, 7, -1):
        pairs = core.score_pairs(queries, items, query_rows, rows.ravel(), num_threads=threads)
        assert pairs.dtype == np.float32
    assert pairs.tobytes() == scores.tobytes()
    assert core.score_pairs(queries, items, query_rows[:0], query_rows[:0]).shape == (0,)


def test_several_python_threads_at_once(catalogue):
    items, packed = catalogue
    expected = packed.top_k(items, 10)
    wrong = []

    def ask():
        for _ in range(5):
            rows, scores = packed.top_k(items, 10, num_threads=2)
            if rows.tobytes() != expected[0].tobytes() or scores.tobytes() != expected[1].tobytes():
                wrong.append(rows)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert not wrong


def test_an_empty_catalogue_gives_empty_lists():
    rows, scores = core.ItemIndex(np.zeros((0, 4), np.float32)).top_k(np.ones((2, 4), np.float32), 3)
    assert (rows == -1).all()
    assert np.isneginf(scores).all()


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"k": 0}, ValueError, "top_k: k is 0, but must be at least 1"),
        ({"k": -3}, ValueError, "top_k: k is -3, but must be at least 1"),
        (
            {"num_threads": 0},
            ValueError,
            "Threads: num_threads is 0, but must be at least 1",
        ),
        (
            {"queries": np.ones((2, 3), np.float32)},
            ValueError,
            "top_k: the width of queries is 3, but must equal the width of the items, which is 8",
        ),
        (
            {"queries": np.full((2, 8), np.nan, np.float32)},
            ValueError,
            "top_k: queries[0, 0] is nan, but must be a finite number",
        ),
        (
            {"queries": np.ones((2, 8))},
            TypeError,
            "top_k: queries is a C-contiguous float64 array of shape (2, 8), but must be a C-contiguous float32 array of 2 dimensions",
        ),
        (
            {"queries": np.ones((2, 16), np.float32)[:, ::2]},
            TypeError,
            "top_k: queries is a strided float32 array of shape (2, 8), but must be a C-contiguous float32 array of 2 dimensions",
        ),
        (
            {"queries": [[1.0]]},
            TypeError,
            "top_k: queries is a list, but must be a C-contiguous float32 array of 2 dimensions",
        ),
        (
            {"allowed": np.ones(499, bool)},
            ValueError,
            "top_k: the size of allowed is 499, but must equal the number of items, which is 500",
        ),
        (
            {"allowed": np.ones(500, np.int64)},
            TypeError,
            "top_k: allowed is a C-contiguous int64 array of shape (500,), but must be a C-contiguous uint8 array of 1 dimension",
        ),
        (
            {"seen_items": np.zeros(1, np.int32)},
            ValueError,
            "top_k: seen_of_query, seen_offsets and seen_items belong together; give all three or none",
        ),
        (
            {"denied_items": np.zeros(1, np.int32)},
            ValueError,
            "top_k: denied_of_query, denied_offsets and denied_items belong together; give all three or none",
        ),
        (
            {"allowed_of_query": np.zeros(2, np.int32)},
            ValueError,
            "top_k: allowed_of_query, allowed_offsets and allowed_items belong together; give all three or none",
        ),
        (
            {"allowed": ([0, 3], [0, 2], [3, 4])},
            ValueError,
            "top_k: allowed_of_query[1] is 3, but must be below 1, the number of lists; give a negative number where there is "
            "no list",
        ),
        (
            {"denied": ([0, 0], [0, 2], [4, 500])},
            IndexError,
            "top_k: denied_items[1] is 500, but must be in [0, 500)",
        ),
        (
            {"seen": ([1, 1], [0, 2], [3, 4])},
            ValueError,
            "top_k: seen_of_query[0] is 1, but must be below 1, the number of lists; give a negative number where there is no list",
        ),
        (
            {"seen": ([0, 0], [0, 2], [4, 3])},
            ValueError,
            "top_k: seen_items[1] is 3, but must not be below seen_items[0], which is 4; sort each list",
        ),
        (
            {"seen": ([0, 0], [0, 2], [4, 500])},
            IndexError,
            "top_k: seen_items[1] is 500, but must be in [0, 500)",
        ),
    ],
)
def test_top_k_names_mistakes(catalogue, changes, error, sentence):
    arguments = {"queries": np.ones((2, 8), np.float32), "k": 3, **changes}
    for name in ("seen", "denied", "allowed"):
        if isinstance(arguments.get(name), tuple):
            of_query, offsets, items = arguments.pop(name)
            arguments[f"{name}_of_query"] = np.array(of_query, np.int32)
            arguments[f"{name}_offsets"] = np.array(offsets, np.int64)
            arguments[f"{name}_items"] = np.array(items, np.int32)
    with refuses(error, sentence):
        catalogue[1].top_k(**arguments)


def test_filters_are_keyword_only(catalogue):
    with pytest.raises(TypeError):
        catalogue[1].top_k(np.ones((1, 8), np.float32), 1, None)


def test_packed_items_and_score_pairs_name_mistakes():
    items = np.ones((5, 3), np.float32)
    items[4, 1] = np.inf
    with refuses(ValueError, "ItemIndex: items[4, 1] is inf, but must be a finite number"):
        core.ItemIndex(items)
    rows = np.array([0, 4], np.int32)
    with refuses(
        ValueError,
        (
            "score_pairs: scores[0] (queries[4] with items[0]) is inf, but must be a finite number; look for one of these in both vectors"
        ),
    ):
        core.score_pairs(items, items, rows[::-1].copy(), rows[:1] * 0 + np.array([0, 0], np.int32))
    with refuses(IndexError, "score_pairs: item_rows[1] is 5, but must be in [0, 5)"):
        core.score_pairs(items, items, rows, rows + 1)
