"""The fast parser of ratings against a slow one, at sizes around its blocks."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotower.datasets import _ratings
from twotower.errors import DataError

Row = tuple[int, int, float, int]

big = st.integers(0, 10**18 - 1)
stars = st.sampled_from([0.5, 1.0, 2.0, 3.5, 5.0])


def text(rows: list[Row], separator: str, end: str) -> bytes:
    return "".join(separator.join((str(u), str(i), f"{r:g}", str(t))) + end for u, i, r, t in rows).encode()


def parsed(content: bytes, separator: str = ",", header: str | None = None) -> list[Row]:
    columns = _ratings.parse(io.BytesIO(content), "file", separator, header=header)
    assert [column.dtype for column in columns] == [np.int64, np.int64, np.float64, np.int64]
    return list(zip(*(column.tolist() for column in columns), strict=True))


@given(
    st.lists(st.tuples(big, big, stars, big), max_size=20),
    st.sampled_from(["\t", ",", "::"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_is_written_is_read(rows: list[Row], separator: str, end: str) -> None:
    assert parsed(text(rows, separator, end), separator) == rows


@given(st.lists(st.tuples(big, big, stars, big), min_size=1, max_size=5), st.sampled_from([80, 81, 87, 120]))
def test_blocks_may_end_anywhere(rows: list[Row], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_ratings, "_BLOCK_BYTES", size)  # above the longest line
        assert parsed(text(rows * 7, "::", "\n"), "::") == rows * 7


@pytest.mark.parametrize("count", [0, 1, 2, 101])
def test_the_last_line_may_lack_its_end(count: int) -> None:
    rows = [(row, 7 * row, 3.0, 10**9) for row in range(count)]
    assert parsed(text(rows, "\t", "\n").rstrip(b"\n"), "\t") == rows


def test_what_is_not_plain_is_read_too() -> None:
    assert parsed(b"1,2,10,4\n") == [(1, 2, 10.0, 4)]
    assert parsed(b"1,2,3.25,4\n") == [(1, 2, 3.25, 4)]
    assert parsed(b"1,2,3,-4\n") == [(1, 2, 3.0, -4)]
    assert parsed(b" 1, 2 ,3,4\n\n  \n5,6,1e0,8\n") == [(1, 2, 3.0, 4), (5, 6, 1.0, 8)]


def test_the_header_may_have_a_byte_order_mark() -> None:
    assert parsed(b"\xef\xbb\xbfa,b\r\n1,2,3,4\r\n", header="a,b") == [(1, 2, 3.0, 4)]


@pytest.mark.parametrize(
    "line",
    ["1,2,3", "1,2,3,4,5", "1,2,3,", ",2,3,4", "1,2,.,4", "1.5,2,3,4", "1,2,3,4.0", "1,2,inf,4", "a,2,3,4", "1;2;3;4"],
)
def test_a_malformed_line_is_named(line: str) -> None:
    content = b"1,2,3,4\n" * 3 + line.encode() + b"\n" + b"1,2,3,4\n"
    with pytest.raises(DataError) as caught:
        parsed(content)
    assert str(caught.value) == (
        f"movielens: file, line 4 is {line!r}, but must be four numbers with ',' between them "
        "(user, item, rating, timestamp); correct it, or take the original file"
    )


def test_the_line_number_counts_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ratings, "_BLOCK_BYTES", 100)
    with pytest.raises(DataError, match="line 1002 is 'oops'"):
        parsed(b"a\n" + b"1,2,3,4\n" * 1000 + b"oops\n", header="a")


def test_numbers_beyond_64_bits_are_refused() -> None:
    with pytest.raises(DataError, match=f"line 1 is '1,2,3,{10**18}'"):
        parsed(f"1,2,3,{10**18}\n".encode())


def test_a_file_without_lines_is_not_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ratings, "_BLOCK_BYTES", 100)
    with pytest.raises(DataError) as caught:
        parsed(b"x" * 1000)
    assert str(caught.value) == ("movielens: file, line 1 has no end, but a line must be short; take the original file")
