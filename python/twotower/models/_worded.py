"""Encoded values as text again, for a person to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from twotower.features import Encoded, EncodedBags, EncodedCodes, EncodedNumbers, EncodedVectors, FeatureEncoder, Part

MISSING = "missing"
# Tokens of a text or values of a list that are named.
MOST_NAMES = 8


def worded(encoder: FeatureEncoder, encoded: Sequence[Encoded], row: int) -> list[str]:
    """Word what a row has in each part of its columns.

    Parameters
    ----------
    encoder : FeatureEncoder
    encoded : sequence of Encoded
        In the order of `encoder.parts`.
    row : int

    Returns
    -------
    list of str
        "missing" for what is missing or was not known to `fit`.
    """
    words, left = [], iter(encoded)
    for column in encoder.encoders:
        words += [_word(column, part, next(left), row) for part in column.parts]
    return words


def _word(column: Any, part: Part, encoded: Encoded, row: int) -> str:
    if isinstance(encoded, EncodedVectors):
        return MISSING if np.isnan(encoded.values[row]).any() else f"{encoded.values.shape[1]} numbers"
    if isinstance(encoded, EncodedNumbers):
        return MISSING if np.isnan(encoded.values[row]) else _number(column, float(encoded.values[row]))
    if isinstance(encoded, EncodedBags):
        codes = encoded.codes[encoded.offsets[row] : encoded.offsets[row + 1]]
    else:
        assert isinstance(encoded, EncodedCodes)
        codes = encoded.codes[row : row + 1]
    known = codes[codes > 0]
    names = [_name(column, part, int(code)) for code in known[:MOST_NAMES]]
    more = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
    return ", ".join(names) + more if names else MISSING


def _name(column: Any, part: Part, code: int) -> str:
    """The value of a code above 0."""
    if hasattr(column, "vocabulary"):
        return str(column.vocabulary.decode([code - 1]).tolist()[0])
    if hasattr(column, "encoder"):
        tokens = column.encoder.tokens()
        return str(tokens[code - 1]) if tokens else f"token {code}"
    edges = getattr(column, "edges", None)
    is_time = hasattr(column, "years")
    if edges is not None and (not is_time or part.name.endswith(".bucket")):
        ends = [str(np.datetime64(int(e), "s").astype("datetime64[D]")) if is_time else f"{e:.6g}" for e in edges]
        return f"below {ends[0]}" if code == 1 and ends else f"from {ends[code - 2]}" if ends else "any"
    if part.name.endswith(".year"):
        return str(column.years[code - 1])
    # Hours begin at 0; months, days and weekdays (Monday) at 1.
    return str(code - 1) if part.name.endswith(".hour") else str(code)


def _number(column: Any, value: float) -> str:
    value = value * column.deviation + column.mean
    if hasattr(column, "bounds"):
        return str(np.datetime64(int(column.bounds[0] + value), "s").astype("datetime64[D]"))
    if column.column.scale == "log":
        value = float(np.sign(value) * np.expm1(abs(value)))
    return f"{value:.6g}"
