"""Columns of text of every library and dtype become the same buffer; what is no text is refused by name."""

from __future__ import annotations

import datetime as dt
import re
from itertools import pairwise
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower import frame_texts, frames
from twotower.errors import SchemaError

PLACE = "fit: column 'title' of items "
ARROW_TEXT = [pa.string(), pa.large_string(), pa.string_view()]
MAKERS: dict[str, Any] = {
    "pandas object": lambda v: pd.Series(v, dtype=object),
    "pandas default": pd.Series,
    "pandas string, python": lambda v: pd.Series(v, dtype="string[python]"),
    "pandas string, pyarrow": lambda v: pd.Series(v, dtype="string[pyarrow]"),
    "pandas category": lambda v: pd.Series(v, dtype="category"),
    **{f"pandas arrow {t}": lambda v, t=t: pd.Series(v, dtype=pd.ArrowDtype(t)) for t in ARROW_TEXT},
    "polars": lambda v: pl.Series(v, dtype=pl.String),
    "polars categorical": lambda v: pl.Series(v, dtype=pl.Categorical),
    "polars object": lambda v: pl.Series(v, dtype=pl.Object),
    "polars bytes": lambda v: pl.Series(v, dtype=pl.String).cast(pl.Binary),
    **{f"pyarrow {t}": lambda v, t=t: pa.chunked_array([pa.array(v, type=t)]) for t in ARROW_TEXT},
    "pyarrow bytes": lambda v: pa.chunked_array(
        [pa.array([None if t is None else t.encode() for t in v], pa.binary())]
    ),
    "pyarrow chunks": lambda v: pa.chunked_array([pa.array([t], pa.string()) for t in v], pa.string()),
    "pyarrow dictionary": lambda v: pa.chunked_array([pa.array(v, pa.string()).dictionary_encode()]),
    "pyarrow slice": lambda v: pa.chunked_array([pa.array(["first", *v, "last"], pa.string())[1:-1]]),
}


def read(native: Any) -> frames.Texts:
    found = frames.texts(nw.from_native(native, series_only=True), PLACE.strip())
    assert (found.buffer.dtype, found.offsets.dtype) == (np.uint8, np.int64)
    assert found.buffer.flags.c_contiguous
    assert found.offsets.flags.c_contiguous
    assert found.offsets[0] == 0
    assert found.offsets[-1] == len(found.buffer)
    if found.missing is not None:
        assert found.missing.dtype == np.bool_
        assert found.missing.any()
        assert (np.diff(found.offsets)[found.missing] == 0).all()
    return found


def texts_of(found: frames.Texts) -> list[str | None]:
    whole, ends = found.buffer.tobytes(), found.offsets.tolist()
    texts = [whole[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(ends)]
    return texts if found.missing is None else [None if m else t for t, m in zip(texts, found.missing, strict=True)]


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
@pytest.mark.parametrize(
    "values",
    [
        ["The Matrix", "Amélie", "", "東京物語 \U0001f600", "a\0b", "The Matrix"],
        ["plain", "ascii", "only"],
        [None, "Amélie", None, ""],
        [None, None],
        [],
    ],
    ids=["full", "ascii", "holes", "nothing", "empty"],
)
def test_every_dtype_gives_the_same_texts(make: Any, values: list[str | None]) -> None:
    assert texts_of(read(make(values))) == values


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.text(max_size=8), max_size=12))
def test_any_text_comes_through(values: list[str | None]) -> None:
    for make in (MAKERS["pandas object"], MAKERS["polars"], MAKERS["pyarrow string"]):
        assert texts_of(read(make(values))) == values


def test_blocks_of_texts_are_joined_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_texts, "_BLOCK", 3)
    values = ["a", "bc", "é", "d", "e", "f", "ü"]
    assert texts_of(read(pd.Series(values, dtype=object))) == values


def test_missing_has_many_names_in_pandas() -> None:
    found = read(pd.Series(["a", None, float("nan"), pd.NA, pd.NaT, "b"], dtype=object))
    assert texts_of(found) == ["a", None, None, None, None, "b"]


def test_subclasses_of_str_are_text() -> None:
    class Title(str):
        def encode(self, *_: Any) -> bytes:
            raise AssertionError("not asked")

    values = [Title("a"), np.str_("b"), Title("é")]
    assert texts_of(read(pd.Series(values, dtype=object))) == ["a", "b", "é"]


def test_bytes_are_taken_as_they_are() -> None:
    for native in (
        pd.Series(["é", b"caf\xe9", b"x"], dtype=object),
        pl.Series(["é".encode(), b"caf\xe9", b"x"]),
        pa.chunked_array([pa.array(["é".encode(), b"caf\xe9", b"x"])]),
    ):
        assert read(native).buffer.tobytes() == b"\xc3\xa9caf\xe9x"


def test_a_lone_surrogate_is_passed_on() -> None:
    assert texts_of(read(pd.Series(["a\ud800", "b"], dtype=object))) == ["a\ud800", "b"]


def test_missing_arrow_texts_may_hide_bytes() -> None:
    buffers = [pa.py_buffer(b"\x05"), pa.py_buffer(np.array([0, 1, 3, 4], np.int32)), pa.py_buffer(b"abbc")]
    hidden = pa.Array.from_buffers(pa.string(), 3, buffers)
    assert hidden.to_pylist() == ["a", None, "c"]
    assert texts_of(read(pa.chunked_array([hidden]))) == ["a", None, "c"]


def test_columns_are_put_below_each_other() -> None:
    parts = [read(pd.Series(v, dtype=object)) for v in (["a", None], [], ["bc"])]
    joined = frames.join_texts(parts)
    assert texts_of(joined) == ["a", None, "bc"]
    assert frames.join_texts(parts[2:]).missing is None
    assert texts_of(frames.join_texts([])) == []


@pytest.mark.parametrize(
    ("native", "sentence"),
    [
        (pd.Series([1, 2]), "holds numbers (Int64), but must hold text; use another kind, or make it text"),
        (pl.Series([1.5, None]), "holds numbers (Float64), but must hold text; use another kind, or make it text"),
        (
            pl.Series([dt.date(2020, 1, 1)]),
            "holds dates (Date), but must hold text; use another kind, or make it text",
        ),
        (
            pd.Series([["a"], ["b"]]),
            "holds lists (Object), but must hold text; use Categories, or join their words",
        ),
        (
            pa.chunked_array([pa.array([["a"]])]),
            "holds lists (List(String)), but must hold text; use Categories, or join their words",
        ),
        (pd.Series([3, 4], dtype="category"), "holds categories (Categorical), but must hold text; use another kind, or make it text"),
        (pd.Series([1, None, 2], dtype=object), "holds numbers (Object), but must hold text; use another kind, or make it text"),
        (pd.Series(["a", None, 3], dtype=object), "holds int 3 in row 2 among text; make every value text"),
        (pd.Series(["a", 3], dtype="category"), "holds int 3 in row 1 among text; make every value text"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_refused(native: Any, sentence: str) -> None:
    with pytest.raises(SchemaError, match=f"^{re.escape(PLACE + sentence)}$"):
        read(native)
