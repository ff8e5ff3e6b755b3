"""Small helpers that clean a column before a model sees it. Each takes a column, a list or one value, and gives the same."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from twotower.frame_map import mapped

__all__ = ["age_bucket", "clean_text", "split_list", "title_without_year", "year_from_title"]

# "Heat (1995)", "Black Mirror (2011- )", "Death Note (2006-2007)" with either dash, "A Film (1995) (V)".
_YEAR = re.compile(r"\s*\((\d{4})(?:\s*[-\u2013]\s*(?:\d{4})?)?\s*\)(\s*\([A-Z]+\))?\s*$")
_ACCENTS = re.compile("[\u0300-\u036f]")
_SPECIAL = re.compile(r"[^\w\s]|_")


def year_from_title(titles: Any) -> Any:
    """Read the year at the end of titles.

    Parameters
    ----------
    titles : column of text, ndarray (n,), list or str
        A pandas, polars, pyarrow or narwhals column. Missing values are legal.

    Returns
    -------
    the same kind of thing, whole numbers
        Missing where the title is missing or has no year in brackets at its end; the first one of a range. pandas
        columns become Int64.

    Raises
    ------
    SchemaError
        Values that are not text.

    Examples
    --------
    >>> year_from_title("Toy Story (1995)")
    1995
    >>> year_from_title(["Death Note (2006-2007)", "Nothing", None])
    [2006, None, None]
    """
    return mapped(titles, _year, "integer", "year_from_title")


def title_without_year(titles: Any) -> Any:
    """Take the year off the end of titles.

    Parameters
    ----------
    titles : column of text, ndarray (n,), list or str
        A pandas, polars, pyarrow or narwhals column. Missing values are legal.

    Returns
    -------
    the same kind of thing
        Titles without a year stay as they are; missing ones stay missing.

    Raises
    ------
    SchemaError
        Values that are not text.

    Examples
    --------
    >>> title_without_year(["Toy Story (1995)", "1984"])
    ['Toy Story', '1984']
    """
    return mapped(titles, _without_year, "text", "title_without_year")


def split_list(texts: Any, separator: str = "|") -> Any:
    """Split delimited text into lists.

    Parameters
    ----------
    texts : column of text, ndarray (n,), list or str
        A pandas, polars, pyarrow or narwhals column. Missing values are legal.
    separator : str
        Spaces around the parts and empty parts are dropped.

    Returns
    -------
    the same kind of thing, lists of text
        Missing values stay missing. pandas columns hold Python lists.

    Raises
    ------
    SchemaError
        Values that are not text.
    ValueError
        An empty separator.

    Examples
    --------
    >>> split_list("Action| Drama |")
    ['Action', 'Drama']
    >>> split_list(["Drama, Comedy", "", None], ",")
    [['Drama', 'Comedy'], [], None]
    """
    if not separator:
        raise ValueError("split_list: separator is empty, but must be text, such as '|'")
    return mapped(texts, lambda t: [part for p in t.split(separator) if (part := p.strip())], "lists", "split_list")


def clean_text(texts: Any, *, lowercase: bool = False) -> Any:
    r"""Strip accents, turn special characters into spaces, and squeeze spaces.

    Parameters
    ----------
    texts : column of text, ndarray (n,), list or str
        A pandas, polars, pyarrow or narwhals column. Missing values are legal.
    lowercase : bool
        Fold upper and lower case too.

    Returns
    -------
    the same kind of thing
        Letters, digits and single spaces. Missing values stay missing.

    Raises
    ------
    SchemaError
        Values that are not text.

    Notes
    -----
    By Unicode's compatibility decomposition without the combining accents; letters without one, such as the Danish o
    with a stroke, stay, and so do the vowel signs of Indian scripts.

    Examples
    --------
    >>> clean_text("Am\u00e9lie: L'\u00c9t\u00e9!")
    'Amelie L Ete'
    >>> clean_text(["  Star   Wars\tIV ", None], lowercase=True)
    ['star wars iv', None]
    """
    return mapped(texts, lambda text: _clean(text, lowercase), "text", "clean_text")


def age_bucket(ages: Any, edges: Sequence[float] = (18, 25, 35, 45, 50, 56)) -> Any:
    """Name the group that ages fall into.

    Parameters
    ----------
    ages : column of numbers, ndarray (n,), list or number
        A pandas, polars, pyarrow or narwhals column. Missing values are legal.
    edges : sequence of numbers
        Where a group begins, ascending; the groups of MovieLens by default.

    Returns
    -------
    the same kind of thing, text
        Missing values stay missing.

    Raises
    ------
    SchemaError
        Values that are not numbers.
    ValueError
        No edges, or edges that do not ascend.

    Examples
    --------
    >>> age_bucket([7, 18, 24.5, 56, None])
    ['under 18', '18-24', '18-24', '56+', None]
    """
    if not len(edges) or any(not low < high for low, high in pairwise([-math.inf, *edges, math.inf])):
        raise ValueError(f"age_bucket: edges are {tuple(edges)}, but must be ascending numbers, such as (18, 25, 35)")
    names = [f"under {edges[0]:g}", *(_span(low, high) for low, high in pairwise(edges)), f"{edges[-1]:g}+"]
    return mapped(ages, lambda age: names[sum(age >= edge for edge in edges)], "text", "age_bucket", "numbers")


def _year(title: str) -> int | None:
    found = _YEAR.search(title)
    return int(found.group(1)) if found and found.start() else None


def _without_year(title: str) -> str:
    found = _YEAR.search(title)
    return title[: found.start()] + (found.group(2) or "") if found and found.start() else title


def _clean(text: str, lowercase: bool) -> str:
    plain = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFKD", text)))
    words = _SPECIAL.sub(lambda found: found[0] if unicodedata.category(found[0])[0] == "M" else " ", plain)
    return " ".join((words.casefold() if lowercase else words).split())


def _span(low: float, high: float) -> str:
    """Write whole ages as the first and the last, others as from and to."""
    whole = float(low).is_integer() and float(high).is_integer()
    return f"{low:g}-{high - 1:g}" if whole else f"{low:g} to {high:g}"
