"""Which column means what: the kinds a column can have, how they are guessed from the dtypes, and how they are shown.

One frozen class a kind. A class says what a column is and how it may be treated, and does nothing: `features` turns the
columns into arrays, the core turns the arrays into vectors.
"""

from twotower.schema.infer import LeftOut, infer
from twotower.schema.kinds import (
    KINDS,
    Categories,
    Category,
    Column,
    History,
    Id,
    Numeric,
    Text,
    Timestamp,
    Vector,
    column_from_meta,
    column_to_meta,
)
from twotower.schema.resolve import Resolved, resolve
from twotower.schema.shown import Field, Schema, Side

__all__ = [
    "KINDS",
    "Categories",
    "Category",
    "Column",
    "Field",
    "History",
    "Id",
    "LeftOut",
    "Numeric",
    "Resolved",
    "Schema",
    "Side",
    "Text",
    "Timestamp",
    "Vector",
    "column_from_meta",
    "column_to_meta",
    "infer",
    "resolve",
]
