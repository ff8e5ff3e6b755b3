"""The evaluation bindings against plain Python, one query and one metric at a time."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower._core import core


def refuses(error, sentence):
    return pytest.raises(error, match=f"^{re.escape(sentence)}$")


NAMES = [
    "hits",
    "hit_rate",
    "recall",
    "capped_recall",
    "precision",
    "ndcg",
    "mrr",
    "map",
]


def metric(name, ranked, relevant, count, k):
    hit_ranks = [rank for rank, row in enumerate(ranked[:k], start=1) if row in relevant]
    if name == "hits":
        return len(hit_ranks)
    if name == "hit_rate":
        return float(bool(hit_ranks))
    if name == "recall":
        return len(hit_ranks) / count
    if name == "capped_recall":
        return len(hit_ranks) / min(k, count)
    if name == "precision":
        return len(hit_ranks) / k
    if name == "ndcg":
        return sum(1 / math.log2(r + 1) for r in hit_ranks) / sum(
            1 / math.log2(r + 1) for r in range(1, min(k, count) + 1)
        )
    if name == "mrr":
        return 1 / hit_ranks[0] if hit_ranks else 0.0
    return sum(found / rank for found, rank in enumerate(hit_ranks, start=1)) / min(k, count)


def run(ranked, relevant, names, cutoffs, extra=None, num_threads=-1):
    """`relevant`: one set a query; `extra`: relevant items of each query that are not listed."""
    offsets = np.cumsum([0, *map(len, relevant)]).astype(np.int64)
    items = np.array([row for rows in relevant for row in sorted(rows)], np.int32)
    counts = np.diff(offsets) + (0 if extra is None else np.array(extra, np.int64))
    return core.ranking_metrics(
        np.array(ranked, np.int32),
        offsets,
        items,
        counts,
        names,
        cutoffs,
        num_threads=num_threads,
    )


@st.composite
def cases(draw):
    length, catalogue = draw(st.integers(1, 12)), 20
    rows = st.integers(0, catalogue - 1)
    ranked, relevant, extra = [], [], []
    for _ in range(draw(st.integers(0, 6))):
        shown = draw(st.lists(rows, max_size=length, unique=True))
        ranked.append(shown + [-1] * (length - len(shown)))
        relevant.append(draw(st.sets(rows)))
        extra.append(draw(st.integers(0 if relevant[-1] else 1, 3)))
    return np.array(ranked, np.int32).reshape(-1, length), relevant, extra


@settings(max_examples=100, deadline=None)
@given(case=cases())
def test_ranking_metrics_agree_with_their_definitions(case):
    ranked, relevant, extra = case
    length = ranked.shape[1]
    pairs = [(name, k) for name in NAMES for k in range(1, length + 1)]
    values = run(ranked, relevant, [name for name, _ in pairs], [k for _, k in pairs], extra)
    assert values.dtype == np.float64
    assert values.shape == (len(pairs), len(ranked))
    expected = [
        [
            metric(name, list(row), rel, len(rel) + more, k)
            for row, rel, more in zip(ranked, relevant, extra, strict=True)
        ]
        for name, k in pairs
    ]
    np.testing.assert_allclose(values, np.array(expected).reshape(values.shape), rtol=1e-13, atol=0)


def test_ranking_metrics_on_paper():
    # Hits at ranks 1 and 3 of two relevant items: DCG = 1 + 1 / log2(4) = 1.5, ideal 1 + 1 / log2(3) = 1.63093, ratio 0.91972.
    # Average precision: (1 / 1 + 2 / 3) / 2 = 0.83333.
    values = run([[7, 0, 2]], [{2, 7}], NAMES, [3] * 8)
    np.testing.assert_allclose(values[:, 0], [2, 1, 1, 1, 2 / 3, 0.91972, 1, 0.83333], rtol=1e-5)


def test_same_bytes_alone_in_a_batch_and_with_any_number_of_threads():
    random = np.random.default_rng(0)
    ranked = np.argsort(random.random((1003, 50)), axis=1)[:, :10]
    relevant = [set(random.choice(50, random.integers(1, 9), replace=False).tolist()) for _ in range(1003)]
    cutoffs = [10, 1, 5, 10, 7, 10, 10, 3]
    one = run(ranked, relevant, NAMES, cutoffs, num_threads=1)
    for threads in (2, 7):
        assert run(ranked, relevant, NAMES, cutoffs, num_threads=threads).tobytes() == one.tobytes()
    for q in (0, 255, 256, 1002):
        assert run(ranked[q : q + 1], relevant[q : q + 1], NAMES, cutoffs).tobytes() == one[:, q].tobytes()


def test_no_queries_and_no_metrics():
    assert run(np.zeros((0, 5)), [], ["ndcg"], [5]).shape == (1, 0)
    assert run([[1, 2]], [{1}], [], []).shape == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"names": ["recoll"]},
            'ranking_metrics: metrics[0] is "recoll", but must be one of hits, hit_rate, recall, capped_recall, precision, ndcg, mrr, map',
        ),
        ({"cutoffs": [0]}, "ranking_metrics: cutoffs[0] is 0, but must be at least 1"),
        (
            {"cutoffs": [4]},
            "ranking_metrics: cutoffs[0] is 4, but must be at most 3, the length of the lists; rank more items",
        ),
        (
            {"cutoffs": [1, 2]},
            "ranking_metrics: the number of cutoffs is 2, but must equal the number of metrics, which is 1",
        ),
        (
            {"relevant": [{1}, set()]},
            "ranking_metrics: query 1 has no relevant items, so it has no metrics; leave it out",
        ),
        (
            {"ranked": [[1, 2, 3], [4, -5, 6]]},
            "ranking_metrics: ranked[1, 1] is -5, but must be an item row, or -1 at the end of a list",
        ),
        (
            {"ranked": [[1, 2, 3], [4, -1, 6]]},
            "ranking_metrics: ranked[1, 2] is 6 and follows -1, but -1 must end a list",
        ),
        (
            {"ranked": [[1, 2, 1], [4, 5, 6]]},
            "ranking_metrics: ranked holds a relevant item of query 0 twice, but items must not repeat",
        ),
        (
            {"extra": [-1, 0]},
            "ranking_metrics: relevant_counts[0] is 0, but must be at least 1, the number of relevant items listed",
        ),
        ({"num_threads": -2}, "Threads: num_threads is -2, but must be at least 1"),
    ],
)
def test_ranking_metrics_name_mistakes(arguments, sentence):
    defaults = {
        "ranked": [[1, 2, 3], [4, 5, 6]],
        "relevant": [{1}, {6}],
        "names": ["ndcg"],
        "cutoffs": [3],
    }
    with refuses(ValueError, sentence):
        run(**{**defaults, **arguments})


def test_ranking_metrics_refuse_other_arrays_by_name():
    offsets, items, counts = np.array([0, 1]), np.array([1], np.int32), np.array([1])
    with refuses(
        TypeError,
        (
            "ranking_metrics: ranked is a C-contiguous float64 array of shape (1, 2), but must be a C-contiguous int32 array of 2 dimensions"
        ),
    ):
        core.ranking_metrics(np.ones((1, 2)), offsets, items, counts, ["ndcg"], [1])


def test_catalogue_metrics_on_paper():
    # Positives 8, 4, 2, 2, 0 of 16: 1, 2, 3, 3 bits, and 4 for the last, taken as 1 of 16.
    counts = np.array([8, 4, 2, 2, 0], np.float64)
    ranked = np.array([[0, 1], [0, 4], [2, -1]], np.int32)
    values = core.catalogue_metrics(ranked, counts, ["coverage", "coverage", "novelty", "novelty"], [1, 2, 1, 2])
    np.testing.assert_allclose(values, [2 / 5, 4 / 5, (1 + 1 + 3) / 3, (1 + 1 + 3 + 2 + 4) / 5], rtol=1e-14)


def test_catalogue_metrics_with_nothing_shown():
    for ranked in (np.zeros((0, 2), np.int32), np.full((3, 2), -1, np.int32)):
        coverage, novelty = core.catalogue_metrics(ranked, np.ones(4), ["coverage", "novelty"], [2, 1])
        assert coverage == 0
    assert math.isnan(novelty)


@pytest.mark.parametrize(
    ("ranked", "counts", "name", "error", "sentence"),
    [
        (
            [[0, 3]],
            [1, 1, 1],
            "coverage",
            IndexError,
            "catalogue_metrics: ranked[0][1] is 3, but must be in [0, 3)",
        ),
        (
            [[0, 1]],
            [1, -2.5],
            "coverage",
            ValueError,
            "catalogue_metrics: item_counts[1] is -2.5, but must be a finite number, at least 0",
        ),
        (
            [[0, 1]],
            [0, 0],
            "novelty",
            ValueError,
            "catalogue_metrics: item_counts add up to 0, but novelty needs at least one positive",
        ),
        (
            [[0, 1]],
            [1, 1],
            "serendipity",
            ValueError,
            'catalogue_metrics: metrics[0] is "serendipity", but must be one of coverage, novelty',
        ),
    ],
)
def test_catalogue_metrics_name_mistakes(ranked, counts, name, error, sentence):
    with refuses(error, sentence):
        core.catalogue_metrics(np.array(ranked, np.int32), np.array(counts, np.float64), [name], [2])
