"""The bindings of texts: tokens against a plain Python reading of the rules, Unicode against Python's own tables."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower._core import core

# The core's tables are of Unicode 15.1; in a newer Python some code points have got a category, or a case, since.
NEWER = tuple(map(int, unicodedata.unidata_version.split("."))) > (15, 1, 0)
IGNORED = {0xAD, 0x34F, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
SPECIAL = str.maketrans(
    {
        "Æ": "AE",
        "æ": "ae",
        "Œ": "OE",
        "œ": "oe",
        "ẞ": "SS",
        "ß": "ss",
        "Þ": "TH",
        "þ": "th",
        "Ø": "O",
        "ø": "o",
        "Đ": "D",
    }
    | {"\u212a": "K", "đ": "d", "Ħ": "H", "ħ": "h", "Ł": "L", "ł": "l", "Ŧ": "T", "ŧ": "t", "\u0131": "i"}
)


def refuses(error, sentence):
    return pytest.raises(error, match=f"^{re.escape(sentence)}$")


def column(texts):
    rows = [text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass") for text in texts]
    return np.frombuffer(b"".join(rows), np.uint8), np.cumsum([0, *map(len, rows)])


def coder(words=(1, 1), chars=(0, 0), *, fold_case=True, strip_accents=False, **options):
    return core.TextCoder(words=words, chars=chars, fold_case=fold_case, strip_accents=strip_accents, **options)


def strings(written, ends):
    written = written.tobytes()
    return [written[a:b].decode() for a, b in itertools.pairwise(ends.tolist())]


def split(made, texts):
    text_ends, written, ends = made.split(*column(texts))
    tokens = strings(written, ends)
    return [tokens[a:b] for a, b in itertools.pairwise([0, *text_ends])]


# --- the oracle: the rules, read plainly ------------------------------------------------------------------------------


def fold(point):
    folded = point.casefold()
    if len(folded) == 1:
        return folded
    lower = point.lower()
    return lower if len(lower) == 1 else point


def strip(point):
    if "\u0300" <= point <= "\u036f":
        return ""
    base, *marks = unicodedata.normalize("NFD", point)
    if not marks:
        return point.translate(SPECIAL)
    if ord(base) > 0x4FF or not base.isalpha() or any(not "\u0300" <= mark <= "\u036f" for mark in marks):
        return point
    return base.translate(SPECIAL)


def is_word(point):
    return ord(point) not in IGNORED and unicodedata.category(point)[0] in "LMN"


def words_of(text, *, fold_case=True, strip_accents=False):
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    words = [""]
    for point in text:
        if ord(point) in IGNORED:
            continue
        if not is_word(point):
            words.append("")
            continue
        for letter in strip(point) if strip_accents else point:
            words[-1] += fold(letter) if fold_case else letter
    return [word for word in words if word]


def tokens_of(text, words, chars, **options):
    found, tokens = words_of(text, **options), []
    for first, word in enumerate(found):
        counts = [count for count in range(max(words[0], 1), words[1] + 1) if first + count <= len(found)]
        tokens += [" ".join(found[first : first + count]) for count in counts]
        if chars[1]:
            bordered = f"<{word}>"
            shortest = min(chars[0], len(bordered))
            tokens += [
                "#" + bordered[begin : begin + count]
                for begin in range(len(bordered))
                for count in range(shortest, chars[1] + 1)
                if begin + count <= len(bordered)
            ]
    return tokens


def hash_of(token, buckets):
    value = 0xCBF29CE484222325
    for byte in token.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return 1 + ((value ^ (value >> 31)) * buckets >> 64)


# --- Unicode ----------------------------------------------------------------------------------------------------------


def assigned():
    """Every assigned code point but for most of those for private use."""
    points = map(chr, itertools.chain(range(0xD800), range(0xF8F0, 0xF0010), range(0x10FFF0, 0x110000)))
    return [point for point in points if unicodedata.category(point) != "Cn"]


@pytest.mark.skipif(NEWER, reason="this Python knows a newer Unicode than the core")
@pytest.mark.parametrize("fold_case", [True, False])
def test_every_code_point_is_a_word_and_folds_as_python_says(fold_case):
    points = assigned()
    got = split(coder(fold_case=fold_case), points)
    wrong = [p for p, words in zip(points, got, strict=True) if words != words_of(p, fold_case=fold_case)]
    assert [f"U+{ord(p):04X}" for p in wrong] == []


def test_every_latin_greek_and_cyrillic_letter_loses_its_accents_as_python_decomposes_it():
    points = [p for p in assigned() if is_word(p)]
    got = split(coder(fold_case=False, strip_accents=True), points)
    wrong = [
        p for p, words in zip(points, got, strict=True) if words != words_of(p, fold_case=False, strip_accents=True)
    ]
    if NEWER:
        wrong = [p for p in wrong if unicodedata.ucd_3_2_0.category(p) != "Cn"]
    assert [f"U+{ord(p):04X}" for p in wrong] == []


def test_accents_do_not_tell_texts_apart():
    made = coder(strip_accents=True)
    texts = ["Amélie à l'œuvre", "AME\u0301LIE A\u0300 L'OEUVRE", "amelie a l oeuvre"]
    assert split(made, texts) == [["amelie", "a", "l", "oeuvre"]] * 3


# --- tokens -----------------------------------------------------------------------------------------------------------

LETTERS = st.sampled_from("abAB1 .-_'éÉßŒøІЙё中文\u0301\u093e\u00ad\u200d\ufffd\U0001f600\0\n")
TEXTS = st.one_of(st.text(LETTERS, max_size=20), st.text(max_size=20), st.binary(max_size=12))
SPANS = st.sampled_from([(0, 0), (1, 1), (1, 3), (2, 2), (3, 5)])


@pytest.mark.skipif(NEWER, reason="this Python knows a newer Unicode than the core")
@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, max_size=5), SPANS, SPANS, st.booleans(), st.booleans())
def test_tokens_agree_with_plain_python(texts, words, chars, fold_case, strip_accents):
    if words == chars == (0, 0):
        words = (1, 1)
    known = unicodedata.category("\U000323b0") == "Cn"
    texts = [
        t if isinstance(t, bytes) else "".join(p for p in t if not known or unicodedata.category(p) != "Cn")
        for t in texts
    ]
    texts = [
        t
        for t in texts
        if not isinstance(t, bytes) or all(unicodedata.category(p) != "Cn" for p in t.decode(errors="replace"))
    ]
    options = {"fold_case": fold_case, "strip_accents": strip_accents}
    expected = [tokens_of(text, words, chars, **options) for text in texts]
    assert split(coder(words, chars, **options), texts) == expected
    buckets = 1000
    offsets, codes = coder(words, chars, buckets=buckets, **options).encode(*column(texts), keep_unknown=False)
    rows = [[hash_of(token, buckets) for token in tokens] or [0] for tokens in expected]
    assert [codes[a:b].tolist() for a, b in itertools.pairwise(offsets)] == rows


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, max_size=30), st.integers(1, 3), st.integers(0, 8))
def test_the_vocabulary_agrees_with_counting(texts, min_count, max_tokens):
    made = coder(words=(1, 2))
    rows = split(made, texts)
    counts = Counter(token for tokens in rows for token in set(tokens))
    ranked = sorted((t for t in counts if counts[t] >= min_count), key=lambda t: (-counts[t], t.encode()))
    learned, ends, documents, rare, beyond = made.learn(*column(texts), min_count=min_count, max_tokens=max_tokens)
    assert strings(learned, ends) == ranked[:max_tokens]
    assert documents.tolist() == [counts[token] for token in ranked[:max_tokens]]
    assert (rare, beyond) == (len(counts) - len(ranked), max(len(ranked) - max_tokens, 0))
    place = {token: code for code, token in enumerate(ranked[:max_tokens], 1)}
    knowing = coder(words=(1, 2), tokens=(learned, ends))
    assert knowing.size == 1 + len(place)
    offsets, codes = knowing.encode(*column(texts), keep_unknown=True, max_length=4)
    expected = [[place.get(token, 0) for token in tokens[:4]] or [0] for tokens in rows]
    assert [codes[a:b].tolist() for a, b in itertools.pairwise(offsets)] == expected


def test_hashed_codes_are_the_same_for_ever():
    _, codes = coder(buckets=1_000_000, chars=(3, 3)).encode(*column(["Star Wars", "東京"]), keep_unknown=False)
    assert codes.tolist() == [
        809801, 28677, 867316, 502299, 700773, 568155, 436620, 832844, 251937, 749959, 910287, 661409, 155925,
    ]  # fmt: skip


def test_the_number_of_threads_changes_nothing():
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{k}" for k in rng.integers(0, 3000, count)) for count in rng.integers(0, 9, 30_000)]
    made, given_texts = coder(words=(1, 2), chars=(3, 4)), column(texts)
    results = []
    for threads in (1, 2, 7):
        learned = made.learn(*given_texts, min_count=2, max_tokens=5000, num_threads=threads)
        found = coder((1, 2), (3, 4), tokens=learned[:2]).encode(*given_texts, keep_unknown=False, num_threads=threads)
        weighed = core.tf_idf(*found, np.linspace(1, 5, 5001), num_threads=threads)
        results.append([np.asarray(part).tobytes() for part in (*learned, *found, *weighed)])
    assert results[0] == results[1] == results[2]


def test_strange_texts_do_no_harm():
    huge = "Größe " * 1_800_000
    texts = ["", "\0", "a\0b", "\u0301", "\ud800x", b"\xff\xfe\xfd", b"caf\xe9 au lait", huge, "é" * 300_000]
    made = coder(strip_accents=True)
    rows = split(made, texts)
    assert rows[:7] == [[], [], ["a", "b"], [], ["x"], [], ["caf", "au", "lait"]]
    assert rows[7] == ["grosse"] * 1_800_000
    assert rows[8] == ["e" * 300_000]


def test_arrays_have_the_promised_dtypes_and_can_be_written_to():
    learned, ends, documents, _, _ = coder().learn(*column(["a b"]), min_count=1, max_tokens=9)
    offsets, codes = coder().encode(*column(["a b"]), keep_unknown=True)
    weighed = core.tf_idf(offsets, codes, np.ones(1))
    counts = core.document_counts(offsets, codes, 1)
    dtypes = [a.dtype for a in (learned, ends, documents, offsets, codes, *weighed, counts)]
    assert dtypes == ["uint8", "int64", "int64", "int64", "int32", "int64", "int32", "float32", "int64"]
    assert all(a.flags.writeable and a.flags.c_contiguous for a in (learned, ends, documents, offsets, codes, *weighed))


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: coder(words=(2, 1)), ValueError, "TextCoder: max_words is 1, but must be at least 2"),
        (
            lambda: coder(words=(0, 0)),
            ValueError,
            "TextCoder: max_words and max_chars are 0, but one of them must be at least 1",
        ),
        (lambda: coder(buckets=-1), ValueError, "TextCoder: buckets is -1, but must be at least 0"),
        (
            lambda: coder(tokens=column(["a", "a"])),
            ValueError,
            "TextCoder: tokens[1] is 'a' a second time; keep one of them",
        ),
        (
            lambda: coder().encode(*column(["a"])[::-1], keep_unknown=True),
            TypeError,
            "TextCoder: buffer is a C-contiguous int64 array of shape (2,), but must be a C-contiguous uint8 array of 1 dimension",
        ),
        (
            lambda: coder().encode(column(["abc"])[0], np.array([0, 2]), keep_unknown=True),
            ValueError,
            "TextCoder: offsets runs from 0 to 2, but must run from 0 to 3",
        ),
        (
            lambda: coder().learn(*column(["abc"]), min_count=0, max_tokens=1),
            ValueError,
            "TextCoder: min_count is 0, but must be at least 1",
        ),
        (
            lambda: coder(buckets=5).learn(*column(["abc"]), min_count=1, max_tokens=1),
            ValueError,
            "TextCoder: tokens are hashed into 5 buckets, there is nothing to learn",
        ),
        (
            lambda: core.tf_idf(np.array([0, 1]), np.array([3], np.int32), np.ones(3)),
            IndexError,
            "tf_idf: codes[0] is 3, but must be in [0, 3)",
        ),
        (
            lambda: core.document_counts(np.array([0, 1]), np.array([3], np.int32), 3),
            IndexError,
            "document_counts: codes[0] is 3, but must be in [0, 3)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, error, sentence):
    with refuses(error, sentence):
        call()
