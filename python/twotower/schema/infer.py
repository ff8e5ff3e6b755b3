"""Guessing the kinds of a table's columns from their dtypes, names and values."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from twotower import frames
from twotower.errors import SchemaError
from twotower.ids import Array, IdColumn
from twotower.schema.kinds import Categories, Category, Column, Numeric, Text, Timestamp, Vector

__all__ = ["LeftOut", "infer", "kind_of_named"]

# A whole-number column with at most this many different values is taken for codes, not for a quantity.
FEW_VALUES = 32
# A column of text with more than FEW_WORDS different values, nearly every one in a row of its own, names its rows.
FEW_WORDS = 20
OWN_VALUE_SHARE = 0.9
# It can be read as words where so many values have at least two of them; codes and addresses have one.
SPACED_SHARE = 0.3
# Text of this many words on average is no name of a category, even where a value comes again now and then.
MANY_WORDS = 4.0
# No more different texts than this are read, evenly spaced ones: a million long descriptions need not be.
MOST_TEXTS = 20_000
# Whole numbers of at least this many seconds since 1970 (1973) are times where the name says so.
EARLIEST_EPOCH = 1e8


@dataclass(frozen=True)
class LeftOut:
    """A column that takes no part, and why."""

    column: str
    reason: str


def infer(frame: frames.Frame, id_col: str) -> tuple[list[Column], list[LeftOut]]:
    """Guess the kinds of a table's columns.

    Parameters
    ----------
    frame : narwhals.DataFrame
    id_col : str
        Passed over.

    Returns
    -------
    columns : list of columns
        In the order of the table.
    left_out : list of LeftOut
        The columns without a use, each with the reason.

    Notes
    -----
    - true and false, text, categoricals: Category. Where there are more than 20 values and nearly one for every row
      (over 90 %), text of several words is Text (titles) and the rest is left out (addresses, serial numbers); so is
      text of four words or more with a value of its own in half of the rows.
    - text that lists: Categories, split at `|`, `;` or `,`, where the parts come again far more often than the whole
      values do, and the separator is in half of the rows (a comma) or in one of twenty (the others).
    - lists of text or whole numbers: Categories. Lists of broken numbers: Vector where all have one length.
    - dates and datetimes: Timestamp; whole numbers too where the name says so and they are from 1973 or later.
    - broken numbers: Numeric, unless the name says that they are codes.
    - whole numbers: by the name first. `id`, `code`, `zip`, `type` and the like make a Category (left out when nearly
      every row has its own), `year`, `age`, `price`, `count` and the like make a Numeric. Otherwise a Category when
      there are at most 32 values, on average in two rows or more, or just two values; else Numeric.
    - durations, times of day, structs, bytes and mixtures are left out, and so is a column with one value or none.
    """
    columns: list[Column] = []
    left_out: list[LeftOut] = []
    for name in frame.columns:
        if name == id_col:
            continue
        found = _guess(frame.get_column(name), name)
        if isinstance(found, LeftOut):
            left_out.append(found)
        else:
            columns.append(found)
    return columns, left_out


def kind_of_named(series: frames.Series, name: str, table: str) -> Column:
    """Find the kind of a column asked for by name: the best its dtype allows, however many values it has.

    Raises
    ------
    SchemaError
        No kind takes this dtype.
    """
    kind = frames.kind_of(series)
    guess = _guess(series, name)
    if not isinstance(guess, LeftOut):
        return guess
    if kind in ("date", "datetime"):
        return Timestamp(name)
    if kind in ("boolean", "string", "categorical", "integer", "float", "empty"):
        return Numeric(name) if kind == "float" else Category(name)
    raise SchemaError(
        f"fit: column {name!r} of {table} cannot be a feature: {guess.reason}; leave it out or convert it"
    )


_CODES = re.compile(
    r"(^|_)(id|ids|code|codes|zip|zipcode|postcode|postal|type|kind|class|group|cluster|category|genre|region|flag|isbn|url)($|_)"
)
_QUANTITIES = re.compile(
    r"(^|_)(year|age|price|cost|amount|budget|revenue|income|salary|count|counts|num|number|n|total|size|length|width|height"
    r"|weight|duration|runtime|minutes|seconds|hours|days|score|rating|ratings|votes|rank|pages|population|popularity|latitude"
    r"|longitude)($|_)"
)
_TIMES = re.compile(r"(^|_)(timestamp|timestamps|time|date|datetime|epoch|unix|unixtime|at|ts)($|_)")
_NO_KIND = {
    "duration": "durations are not used; turn them into numbers",
    "time": "times of day are not used; turn them into numbers",
    "struct": "structs are not used; take their fields out",
    "bytes": "bytes are not used; decode them",
    "object": "values of several types; make them one type",
    "empty": "every value is missing",
}
_ONE_VALUE = "one value in every row"
# A separator, the least share of rows that must have it, how often its parts must come on average, and how many times as
# often as the whole values. A bar is hardly ever anything else; "Last, First" has a comma in every row.
_SEPARATORS = (("|", 0.05, 1.5, 0.0), (";", 0.05, 1.5, 1.5), (",", 0.5, 4.0, 1.5))


def _guess(series: frames.Series, name: str) -> Column | LeftOut:
    kind = frames.kind_of(series)
    if kind in _NO_KIND:
        return LeftOut(name, _NO_KIND[kind])
    if kind == "list":
        return _guess_list(series, name)
    if kind == "decimal":
        return Numeric(name)
    found = frames.ids(series, "schema")
    present = len(found) - found.missing_rows().size
    distinct = _distinct(found)
    values = len(distinct)
    if values == 0:
        return LeftOut(name, _NO_KIND["empty"])
    if values == 1 and present == len(series):
        return LeftOut(name, _ONE_VALUE)
    if kind in ("date", "datetime"):
        return Timestamp(name)
    words = _words_of(name)
    code = bool(_CODES.search(words))
    if kind in ("integer", "float") and not code:
        return _guess_number(distinct, present, name, words, whole=kind == "integer")
    if kind == "float" and not bool((np.floor(distinct) == distinct).all()):
        return Numeric(name)
    if kind in ("string", "categorical") and found.dtype.kind == "string":
        return _guess_text(found, distinct, present, name, code=code)
    if values > FEW_WORDS and values > OWN_VALUE_SHARE * present:
        return LeftOut(name, _names_rows(values, present))
    return Category(name)


def _guess_number(distinct: Array, present: int, name: str, words: str, *, whole: bool) -> Column:
    if not whole:
        return Numeric(name)
    if _TIMES.search(words) and int(distinct.min()) >= EARLIEST_EPOCH:
        return Timestamp(name)
    few = len(distinct) <= 2 or (len(distinct) <= FEW_VALUES and present >= 2 * len(distinct))
    return Category(name) if few and not _QUANTITIES.search(words) else Numeric(name)


def _guess_text(found: IdColumn, distinct: Array, present: int, name: str, *, code: bool) -> Column | LeftOut:
    values, step = len(distinct), -(-len(distinct) // MOST_TEXTS)
    texts = distinct[::step].tolist()
    separator = _separator_of(texts, _counts(found)[::step])
    if separator is not None:
        return Categories(name, separator=separator)
    spaced = np.fromiter((text.strip().count(" ") for text in texts), dtype=np.int64, count=len(texts))
    readable = not code and float((spaced > 0).mean()) >= SPACED_SHARE
    if values > FEW_WORDS and values > OWN_VALUE_SHARE * present:
        return Text(name) if readable else LeftOut(name, _names_rows(values, present))
    if values > FEW_WORDS and readable and values > 0.5 * present and float(spaced.mean()) + 1 >= MANY_WORDS:
        return Text(name)
    return Category(name)


def _separator_of(texts: list[str], counts: Array) -> str | None:
    """Find the separator of text that lists: its parts come again more often than the whole values."""
    rows = int(counts.sum())
    for separator, share, often, oftener in _SEPARATORS:
        has = np.fromiter((separator in text for text in texts), dtype=np.bool_, count=len(texts))
        if not has.any() or counts[has].sum() < share * rows:
            continue
        parts = [[part for p in text.split(separator) if (part := p.strip())] for text in texts]
        lengths = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))
        different = len({part for row in parts for part in row})
        total = int((lengths * counts).sum())
        if different and total >= often * different and total * len(texts) >= oftener * rows * different:
            return separator
    return None


def _guess_list(series: frames.Series, name: str) -> Column | LeftOut:
    try:
        offsets, elements = frames.lists(series, name)
    except SchemaError:
        return LeftOut(name, "lists of lists or of objects are not used")
    if len(elements) == 0:
        return LeftOut(name, "every list is empty")
    if elements.dtype.kind in ("string", "integer", "boolean", "bytes"):
        return Categories(name)
    if elements.dtype.kind != "float":
        return LeftOut(name, f"lists of {elements.dtype.label} are not used; turn them into text or numbers")
    lengths = np.diff(offsets)
    if np.unique(lengths[lengths > 0]).size > 1:
        return LeftOut(name, f"lists of {elements.dtype.label} of several lengths; a Vector has one length")
    return Vector(name)


def _names_rows(values: int, present: int) -> str:
    return f"{values} values in {present} rows: names a row, does not describe it"


def _distinct(found: IdColumn) -> Array:
    if found.rows is not None:
        return found.values[np.unique(found.rows[found.rows >= 0])]
    return np.unique(found.values if found.missing is None else found.values[~found.missing])


def _counts(found: IdColumn) -> Array:
    """Rows of each value that `_distinct` gives, for columns with `rows`."""
    assert found.rows is not None
    counts = np.bincount(found.rows[found.rows >= 0], minlength=len(found.values))
    return counts[counts > 0]


def _words_of(name: object) -> str:
    """`zipCode`, `zip code` and `ZIP_CODE` as `zip_code`."""
    apart = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", str(name))
    return re.sub(r"[^a-z0-9]+", "_", apart.lower())
