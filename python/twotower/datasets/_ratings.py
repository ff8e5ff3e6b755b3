"""Parse lines of user, item, rating and time at memory speed, with NumPy alone.

A block of whole lines is looked at as bytes: the places of everything that is no digit give all fields at once, and
each field is added up digit by digit over all rows. Lines that are not of the plain form go to a slow parser, which
either understands them or names the line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from twotower.errors import DataError

_BLOCK_BYTES = 1 << 22
_MOST_DIGITS = 18  # what int64 holds for certain

Columns = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]


def parse(stream: BinaryIO, file: str, separator: str, *, header: str | None = None) -> Columns:
    """Read all lines of a ratings file.

    Parameters
    ----------
    stream : binary file
        Read to its end in blocks of 4 MB.
    file : str
        Name of the file, for errors.
    separator : str
        What stands between two fields, ASCII.
    header : str, optional
        What the first line must be.

    Returns
    -------
    user_ids, item_ids : int64 (n,)
    ratings : float64 (n,)
    timestamps : int64 (n,)
        Seconds since 1970-01-01 UTC.

    Raises
    ------
    DataError
        A line is malformed, or the header is another one.

    Notes
    -----
    About 4 million lines a second of one core for the plain form (digits, and a rating of one digit or like 3.5), which
    is as fast as the archive is unpacked. Memory: 32 bytes a row, and half a column more while it grows.
    """
    columns = (_Growing(np.int64), _Growing(np.int64), _Growing(np.float64), _Growing(np.int64))
    for first_line, block in _blocks(stream, file, header):
        plain = block.replace(b"\r\n", b"\n")
        mark = separator.encode("ascii")
        if len(mark) > 1:
            plain, mark = plain.replace(mark, b"\t"), b"\t"
        pieces = _parse_plain(plain, mark) or _parse_any(block, file, separator, first_line)
        for column, piece in zip(columns, pieces, strict=True):
            column.extend(piece)
    users, items, ratings, timestamps = (column.finish() for column in columns)
    return users, items, ratings, timestamps


class _Growing:
    """An array that grows. Joining thousands of pieces at the end would need the memory twice: measured."""

    def __init__(self, dtype: type) -> None:
        self._values: NDArray[Any] = np.empty(1 << 16, dtype)
        self._size = 0

    def extend(self, piece: NDArray[Any]) -> None:
        size = self._size + len(piece)
        if size > len(self._values):
            longer = np.empty(max(size, 2 * len(self._values)), self._values.dtype)  # untouched pages take no memory
            longer[: self._size] = self._values[: self._size]
            self._values = longer
        self._values[self._size : size] = piece
        self._size = size

    def finish(self) -> NDArray[Any]:
        self._values.resize(self._size, refcheck=False)
        return self._values


def _blocks(stream: BinaryIO, file: str, header: str | None) -> Iterator[tuple[int, bytes]]:
    """Give the number of its first line and the bytes of each run of whole lines."""
    line, rest = 1, b""
    if header is not None:
        found = stream.readline(_BLOCK_BYTES).decode("utf-8-sig", "replace").strip()
        if found != header:
            raise DataError(
                f"movielens: {file}, line 1 is {found[:80]!r}, but must be {header!r}; take the original file"
            )
        line = 2
    while block := stream.read(_BLOCK_BYTES):
        block = rest + block
        cut = block.rfind(b"\n") + 1
        if not cut and len(block) > _BLOCK_BYTES:
            raise DataError(
                f"movielens: {file}, line {line} has no end, but a line must be short; take the original file"
            )
        rest = block[cut:]
        if cut:
            yield line, block[:cut]
            line += block.count(b"\n", 0, cut)
    if rest:
        yield line, rest + b"\n"


def _parse_plain(block: bytes, separator: bytes) -> Columns | None:
    """Parse lines of the plain form; None if any line is not."""
    text = np.frombuffer(block, np.uint8)
    digits = text - np.uint8(ord("0"))  # anything else wraps round to more than 9
    is_dot = text == ord(".")
    places = np.flatnonzero((digits > 9) & ~is_dot)
    if len(places) % 4:
        return None
    starts = np.concatenate([[0], places[:-1] + 1]).reshape(-1, 4)
    ends = places.reshape(-1, 4)
    marks = np.frombuffer(3 * separator + b"\n", np.uint8)
    lengths = ends - starts
    if (text[ends] != marks).any() or lengths.min(initial=1) < 1 or lengths.max(initial=0) > _MOST_DIGITS:
        return None
    halves = (lengths[:, 2] == 3) & is_dot[starts[:, 2] + np.minimum(1, lengths[:, 2] - 1)]
    if np.count_nonzero(is_dot) != np.count_nonzero(halves) or not np.all(halves | (lengths[:, 2] == 1)):
        return None  # a dot outside a rating, or a rating such as 10 or 3.25
    ratings = np.where(halves, 10 * digits[starts[:, 2]] + digits[ends[:, 2] - 1], 10 * digits[starts[:, 2]]) / 10
    users, items, timestamps = (_integers(digits, ends[:, column], lengths[:, column]) for column in (0, 1, 3))
    return users, items, ratings, timestamps


def _integers(digits: NDArray[np.uint8], ends: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add up fields, each of `lengths` digits up to `ends`, from their last digit on."""
    total = digits[ends - 1].astype(np.int64)
    for place in range(1, int(lengths.max(initial=1))):
        digit = digits[ends - 1 - place].astype(np.int64)  # before a short field: any byte, taken out in the next line
        digit[lengths <= place] = 0
        total += digit * 10**place
    return total


def _parse_any(block: bytes, file: str, separator: str, first_line: int) -> Columns:
    """Parse line by line; blank lines are left out, a malformed one is named."""
    rows: list[tuple[int, int, float, int]] = []
    for number, line in enumerate(block.split(b"\n"), first_line):
        if not line.strip():
            continue
        try:
            user, item, rating, timestamp = line.decode("ascii").split(separator)
            row = (int(user), int(item), float(rating), int(timestamp))
        except ValueError:
            row = (0, 0, math.nan, 0)
        if not math.isfinite(row[2]) or max(abs(row[0]), abs(row[1]), abs(row[3])) >= 10**_MOST_DIGITS:
            raise DataError(
                f"movielens: {file}, line {number} is {line.decode('latin-1')[:80]!r}, but must be four numbers with "
                f"{separator!r} between them (user, item, rating, timestamp); correct it, or take the original file"
            )
        rows.append(row)
    users, items, ratings, timestamps = zip(*rows, strict=True) if rows else ((), (), (), ())
    return (
        np.array(users, np.int64),
        np.array(items, np.int64),
        np.array(ratings, np.float64),
        np.array(timestamps, np.int64),
    )
