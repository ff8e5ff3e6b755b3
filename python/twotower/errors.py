"""Every exception of the package that a caller may want to catch, and how lists of ids are worded in them.

The grammar of a message: where, what, what was found, what is required, and the cure. For tables: the column, how many
rows or ids are at fault, the first five of them, and the option that would accept them.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

__all__ = [
    "DataError",
    "NotFittedError",
    "NumericalError",
    "SchemaError",
    "TwoTowerError",
    "UnknownIdError",
    "count_of",
    "first_five",
]

# Longer text is cut in a message.
LONGEST = 100


class TwoTowerError(Exception):
    """Base of all exceptions of this package."""


class SchemaError(TwoTowerError, ValueError):
    """A table has not the columns or the dtypes that were asked for."""


class DataError(TwoTowerError, ValueError):
    """A table or a file has the right form, but holds values that cannot be used."""


class UnknownIdError(TwoTowerError, ValueError):
    """Users or items that were not there in `fit`."""


class NotFittedError(TwoTowerError, ValueError, AttributeError):
    """A method needs `fit` first. Also an `AttributeError`, as scikit-learn's exception of this name is."""


class NumericalError(TwoTowerError, RuntimeError):
    """Training left the finite numbers. Raised by the core; the message says at which step and what to try."""


def first_five(values: Iterable[object]) -> str:
    """Word the first five values for a message.

    Parameters
    ----------
    values : iterable
        Ids, row numbers or names; NumPy scalars are shown as plain numbers. At most five are drawn from it.

    Returns
    -------
    str
        Separated by commas, strings in quotation marks; empty for no values.

    Examples
    --------
    >>> first_five(range(1, 9))
    '1, 2, 3, 4, 5'
    >>> first_five(["a", "b"])
    "'a', 'b'"
    """
    return ", ".join(_word(value) for value in islice(values, 5))


def count_of(number: int, one: str, many: str | None = None) -> str:
    """Word a number of things: `1 row`, `3 rows`.

    Parameters
    ----------
    number : int
        How many.
    one, many : str
        The noun; `many` defaults to `one` with an s.

    Examples
    --------
    >>> count_of(1, "row"), count_of(1200, "entry", "entries")
    ('1 row', '1200 entries')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def _word(value: object) -> str:
    # NumPy 2 writes np.int64(3); a datetime64 of nanoseconds would become a bare integer through item().
    if type(value).__module__ == "numpy":
        dtype = getattr(value, "dtype", None)
        return str(value) if getattr(dtype, "kind", "") in "Mm" else repr(value.item())  # type: ignore[attr-defined]
    if type(value).__module__ in ("datetime", "decimal"):
        return str(value)
    if isinstance(value, (str, bytes)) and len(value) > LONGEST:
        return f"{value[:LONGEST]!r}... ({count_of(len(value), 'character')})"
    return repr(value)
