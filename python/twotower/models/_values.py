"""Columns of the table of items as codes of their values: what caps and shares are counted by."""

from __future__ import annotations

import numpy as np

from twotower.errors import SchemaError
from twotower.models._catalogue import Catalogue
from twotower.models._options import nearest, quoted
from twotower.vocabulary import Vocabulary

__all__ = ["values_of"]


def values_of(catalogue: Catalogue | None, name: str, what: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Read a column of lists or single values as codes.

    Parameters
    ----------
    catalogue : Catalogue (n items) or None
        None: there was no table of items.
    name : str
        The column.
    what : str
        Start of a message, such as "fit: by".

    Returns
    -------
    offsets : int64 (n + 1,)
        Item i has the codes offsets[i] to offsets[i + 1], none where nothing is there.
    codes : int32
    size : int
        Different values.

    Raises
    ------
    SchemaError
        There is no such column.
    """
    if catalogue is None or not (catalogue.columns or catalogue.left_out):
        raise SchemaError(f"{what} is {name!r}, but there is no table of items with columns; pass items=")
    column = catalogue.columns.get(name)
    if column is None:
        near = nearest(name, catalogue.columns)
        known = f"did you mean {near!r}?" if near else f"there are {quoted(catalogue.columns) or 'none'}"
        raise SchemaError(
            f"{what} is {name!r}, but items has no column of that name with lists or single values; {known}"
        )
    vocabulary = Vocabulary.fit(column.values, missing="skip")
    codes = vocabulary.encode(column.values)
    lengths = np.ones(len(column), dtype=np.int64) if column.offsets is None else np.diff(column.offsets)
    known_places = codes >= 0
    owners = np.repeat(np.arange(len(column)), lengths)[known_places]
    offsets = np.searchsorted(owners, np.arange(len(column) + 1)).astype(np.int64)
    return offsets, codes[known_places].astype(np.int32), vocabulary.size
