"""Plain text for a terminal or a file: tables in columns, messages on the other stream."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twotower import frames


def say(text: str) -> None:
    """Write a message for the person who waits, on standard error."""
    print(text, file=sys.stderr, flush=True)


def table(columns: Mapping[str, Sequence[object]]) -> str:
    """Lay out columns with their names above.

    Parameters
    ----------
    columns : mapping of name to values
        All of one length. Numbers are set to the right, fractions with four digits; a missing value is left blank.

    Returns
    -------
    str
        Lines without a newline at the end; no line ends in blanks.

    Examples
    --------
    >>> print(table({"rank": [1, 2], "title": ["Heat", None], "score": [0.5, 12.25]}))
    rank  title    score
       1  Heat    0.5000
       2         12.2500
    """
    cells = {name: [_cell(value) for value in values] for name, values in columns.items()}
    to_right = {name: any(map(_is_number, values)) for name, values in columns.items()}
    widths = {name: max(map(_width, (name, *texts))) for name, texts in cells.items()}
    lines = [[name, *texts] for name, texts in cells.items()]
    return "\n".join(
        "  ".join(_pad(text, widths[name], to_right[name]) for name, text in zip(cells, line, strict=True)).rstrip()
        for line in zip(*lines, strict=True)
    )


def rows_of(native: Any) -> dict[str, list[object]]:
    """Take a frame of any library apart: names to lists of Python values."""
    frame = frames.table(native, "the table")
    return {name: frame.get_column(name).to_list() for name in frame.columns}


def clip(text: str, width: int) -> str:
    """Shorten a text to `width` columns of a terminal."""
    if _width(text) <= width:
        return text
    while text and _width(text) > width - 3:
        text = text[:-1]
    return text.rstrip() + "..."


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, (float, np.floating)):
        return f"{value:.4f}"
    # A line break or a control character in a title would tear the table.
    return "".join(letter if letter.isprintable() else " " for letter in str(value))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 for letter in text)


def _pad(text: str, width: int, to_right: bool) -> str:
    blanks = " " * (width - _width(text))
    return blanks + text if to_right else text + blanks
