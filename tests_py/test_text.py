"""Texts as codes: what is learned, what becomes of a text, TF-IDF against scikit-learn, growth, sharing, saving."""

from __future__ import annotations

import copy
import pickle
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower import datasets, frames, persistence
from twotower.errors import SchemaError
from twotower.features._text import TextBags, TextEncoder
from twotower.schema import Text

TITLES = ["The Matrix", "The Matrix Reloaded", None, "", "Amélie", "AMELIE the second"]


def texts(values: list[Any]) -> frames.Texts:
    return frames.texts(nw.from_native(pd.Series(values, dtype=object), series_only=True), "t")


def fitted(values: list[Any] = TITLES, **options: Any) -> TextEncoder:
    return TextEncoder.fit(*texts(values), Text("title", **options))


def lists(found: TextBags) -> list[list[int]]:
    return [found.codes[a:b].tolist() for a, b in pairwise(found.offsets)]


def test_tokens_of_several_rows_get_codes_by_frequency() -> None:
    encoder = fitted()
    assert encoder.tokens() == ["the", "amelie", "matrix"]
    assert encoder.size == 4
    assert encoder.missing_share == pytest.approx(1 / 6)
    assert encoder.note == "2 tokens in fewer than 2 rows taken as unknown"
    assert fitted(min_count=1).note == ""
    assert fitted(max_tokens=1).note == "2 tokens in fewer than 2 rows and 2 tokens beyond max_tokens taken as unknown"
    assert fitted(buckets=7).note == "hashed into 7 buckets"


@pytest.mark.parametrize("encoding", ["mean", "sum", "sqrt"])
def test_pooled_texts_keep_known_tokens_in_order(encoding: str) -> None:
    found = fitted(encoding=encoding).transform(*texts([*TITLES, "matrix the MATRIX", "nobody knows"]))
    assert lists(found) == [[1, 3], [1, 3], [0], [0], [2], [2, 1], [3, 1, 3], [0]]
    assert found.weights is None
    assert (found.offsets.dtype, found.codes.dtype) == (np.int64, np.int32)


def test_a_gru_reads_unknown_tokens_too_and_not_for_ever() -> None:
    encoder = fitted(encoding="gru", max_length=3)
    assert lists(encoder.transform(*texts(["Who is the Matrix", "the one", None, ""]))) == [[0, 0, 1], [1, 0], [0], [0]]


def test_hashed_texts_need_nothing_learned() -> None:
    encoder = fitted(buckets=50, chars=(3, 4))
    assert encoder.size == 51
    assert encoder.tokens() == []
    found = encoder.transform(*texts(["never seen", None]))
    assert found.codes.max() <= 50
    assert lists(found)[1] == [0]
    assert (found.codes[:-1] > 0).all()
    same = TextEncoder.fit(*texts(["x"]), Text("other", buckets=50, chars=(3, 4)))
    assert lists(same.transform(*texts(["never seen", None]))) == lists(found)


def test_words_and_characters_are_told_apart() -> None:
    encoder = fitted(["cat", "a cat"], chars=(3, 3))
    assert encoder.tokens() == ["#<ca", "#at>", "#cat", "cat"]


def test_case_and_accents_can_be_kept() -> None:
    options: dict[str, Any] = {"lowercase": False, "accents": "keep", "min_count": 1}
    assert fitted(["Été ETE"], **options).tokens() == ["ETE", "Été"]
    assert fitted(["Été ETE"], **{**options, "accents": "strip"}).tokens() == ["ETE", "Ete"]
    assert fitted(["Été ÉTÉ"], **{**options, "lowercase": True}).tokens() == ["été"]


# --- TF-IDF -----------------------------------------------------------------------------------------------------------


def test_tf_idf_on_paper() -> None:
    # 3 rows; "a" in 2 of them, "b" in 1: idf ln(4/3) + 1 = 1.287682 and ln(4/2) + 1 = 1.693147.
    encoder = fitted(["a a b", "a", None], encoding="tfidf", min_count=1)
    found = encoder.transform(*texts(["b a a", "b", "c", None]))
    assert lists(found) == [[1, 2], [2], [0], [0]]
    a, b = 2 * 1.2876820724517808, 1.6931471805599454
    np.testing.assert_allclose(found.weights, [a / np.hypot(a, b), b / np.hypot(a, b), 1, 1, 1], rtol=1e-6)


@pytest.mark.parametrize("words", [(1, 1), (1, 2)])
def test_tf_idf_agrees_with_scikit_learn_on_film_titles(shared_data: Any, words: tuple[int, int]) -> None:
    vectorizer = pytest.importorskip("sklearn.feature_extraction.text").TfidfVectorizer
    data = datasets.movielens("ml-1m", path=Path(shared_data / "ml-1m-rebuilt.zip"))
    titles = [title for title in data.items.title.astype(object) if title.isascii()]
    reference = vectorizer(token_pattern=r"[A-Za-z0-9]+", ngram_range=words, min_df=2, dtype=np.float64)
    expected = reference.fit_transform(titles)
    encoder = fitted(titles, encoding="tfidf", words=words)
    tokens = encoder.tokens()
    assert sorted(tokens) == sorted(reference.vocabulary_)
    found = encoder.transform(*texts(titles))
    assert len(titles) > 3000
    compared = 0
    for row, (begin, end) in enumerate(pairwise(found.offsets)):
        codes, weights = found.codes[begin:end], found.weights[begin:end]
        mine = {tokens[code - 1]: weight for code, weight in zip(codes, weights, strict=True) if code > 0}
        theirs = {token: expected[row, reference.vocabulary_[token]] for token in mine}
        assert len(mine) == expected[row].nnz
        assert mine == pytest.approx(theirs, abs=1e-6)
        compared += len(mine)
    assert compared == expected.nnz


def test_hashed_tf_idf_counts_the_rows_of_each_bucket() -> None:
    values = ["a b", "a", "a a c"]
    hashed, learned = (fitted(values, encoding="tfidf", **o) for o in ({"buckets": 10_000}, {"min_count": 1}))
    rows = [found.transform(*texts(values)) for found in (hashed, learned)]
    assert [sorted(r.weights[a:b].tolist()) for r in rows[:1] for a, b in pairwise(r.offsets)] == [
        sorted(r.weights[a:b].tolist()) for r in rows[1:] for a, b in pairwise(r.offsets)
    ]


# --- growth and sharing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["mean", "gru", "tfidf"])
def test_growth_leaves_old_codes_and_weights_as_they_were(encoding: str) -> None:
    encoder = fitted(encoding=encoding)
    grown = encoder.grown(*texts(["Inception", "Inception the film", "film", "Dune"]))
    assert grown.tokens() == ["the", "amelie", "matrix", "film", "inception"]
    assert encoder.size == 4
    old = [t for t in TITLES if t != "The Matrix Reloaded"]
    before, after = encoder.transform(*texts(old)), grown.transform(*texts(old))
    assert lists(before) == lists(after)
    if encoding == "tfidf":
        np.testing.assert_array_equal(before.weights, after.weights)
    assert lists(grown.transform(*texts(["inception"]))) == [[5]]


def test_growth_stops_at_max_tokens_and_hashes_do_not_grow() -> None:
    encoder = fitted(max_tokens=4)
    assert encoder.grown(*texts(["x y", "x y", "x"])).tokens() == ["the", "amelie", "matrix", "x"]
    full = fitted(max_tokens=3)
    assert full.grown(*texts(["x", "x"])) is full
    hashed = fitted(buckets=9)
    assert hashed.grown(*texts(["x", "x"])) is hashed


def test_new_tokens_of_more_rows_than_fit_had_still_count_for_something() -> None:
    grown = fitted(["a", "a"], encoding="tfidf").grown(*texts(["new"] * 1000))
    found = grown.transform(*texts(["a new"]))
    assert lists(found) == [[1, 2]]
    assert (found.weights > 0).all()


def test_one_table_for_two_columns() -> None:
    titles, plots = texts(["the cat", None]), texts(["a cat sat", "the mat"])
    encoder = TextEncoder.fit(*frames.join_texts([titles, plots]), Text("title", table="words"))
    other = encoder.shared_with(Text("plot", table="words", encoding="tfidf", min_count=9))
    assert encoder.tokens() == other.tokens() == ["cat", "the"]
    assert lists(other.transform(*plots)) == [[1], [2]]
    hashed = TextEncoder.fit(*titles, Text("title", table="words", buckets=20))
    assert (
        hashed.shared_with(Text("plot", table="words", buckets=20, encoding="tfidf")).transform(*plots).weights
        is not None
    )


def test_a_table_needs_one_way_of_cutting() -> None:
    sentence = (
        "Text('plot'): words is (1, 2), but 'title' of the same table 'words' has (1, 1); "
        "make them alike, or give them tables of their own"
    )
    with pytest.raises(SchemaError, match=f"^{re.escape(sentence)}$"):
        fitted(table="words").shared_with(Text("plot", words=(1, 2), table="words"))


# --- saving -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"encoding": "tfidf"}, {"buckets": 30}, {"buckets": 30, "encoding": "tfidf"}, {"min_count": 99}]
)
def test_an_encoder_comes_back_from_a_file(tmp_path: Path, options: dict[str, Any]) -> None:
    encoder = fitted(**options).grown(*texts(["Dune", "Dune"]))
    meta, arrays = encoder.state()
    persistence.write(tmp_path / "words", "words", meta, arrays)
    _, meta, arrays = persistence.read(tmp_path / "words")
    encoder.transform(*texts(TITLES))
    for back in (
        TextEncoder.from_state(meta, arrays, encoder.column),
        pickle.loads(pickle.dumps(encoder)),
        copy.deepcopy(encoder),
    ):
        assert (back.missing_share, back.note, back.size) == (encoder.missing_share, encoder.note, encoder.size)
        assert back.tokens() == encoder.tokens()
        for mine, theirs in zip(back.transform(*texts(TITLES)), encoder.transform(*texts(TITLES)), strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("lost", ["tokens", "ends", "documents"])
def test_a_file_with_parts_missing_is_refused(lost: str) -> None:
    meta, arrays = fitted().state()
    del arrays[lost]
    with pytest.raises(KeyError):
        TextEncoder.from_state(meta, arrays, Text("title"))


def test_a_file_whose_parts_do_not_fit_is_refused() -> None:
    meta, arrays = fitted().state()
    for name, part in (("ends", arrays["ends"][:-1]), ("documents", arrays["documents"][:-1])):
        with pytest.raises(
            ValueError, match=r"^TextCoder: offsets runs|has 3 counts for 4 codes; save the model again$"
        ):
            TextEncoder.from_state(meta, {**arrays, name: part}, Text("title"))


# --- anything at all --------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.none() | st.text(max_size=12) | st.binary(max_size=8), max_size=12),
    st.sampled_from(["mean", "gru", "tfidf"]),
    st.sampled_from([None, (1, 3)]),
    st.sampled_from([None, 1, 64]),
)
def test_any_text_is_encoded(values: list[Any], encoding: Any, chars: Any, buckets: Any) -> None:
    encoder = fitted(values, encoding=encoding, chars=chars, buckets=buckets, min_count=1)
    found = encoder.transform(*texts(values))
    assert len(found.offsets) == len(values) + 1
    assert (np.diff(found.offsets) >= 1).all()
    assert ((found.codes >= 0) & (found.codes < encoder.size)).all()
    if found.weights is not None:
        squares = np.add.reduceat(found.weights.astype(float) ** 2, found.offsets[:-1]) if values else np.ones(0)
        np.testing.assert_allclose(squares, 1, rtol=1e-6)
    # A row's codes do not depend on its neighbours.
    for row, value in enumerate(values):
        assert lists(encoder.transform(*texts([value]))) == [lists(found)[row]]
