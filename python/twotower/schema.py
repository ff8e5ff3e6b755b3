"""Which column means what: the kinds a column can have, how they are guessed from the dtypes, and how they are shown.

One frozen class a kind. A class says what a column is and how it may be treated, and does nothing: `features.py` turns
the columns into arrays, the core turns the arrays into vectors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, fields
from typing import Any, Literal, TypeAlias

import numpy as np

from twotower import frames
from twotower.errors import SchemaError

__all__ = [
    "Categories",
    "Category",
    "Column",
    "Field",
    "Id",
    "LeftOut",
    "Numeric",
    "Resolved",
    "Schema",
    "Side",
    "column_from_meta",
    "column_to_meta",
    "infer",
    "resolve",
]

Side: TypeAlias = Literal["users", "items"]

# A whole-number column with at most this many different values is taken for codes, not for a quantity.
FEW_VALUES = 32
# A column of words with more than FEW_WORDS of them, nearly every one in a row of its own, identifies and does not
# describe.
FEW_WORDS = 20
OWN_VALUE_SHARE = 0.9


class _Kind:
    """What all kinds share: `kind` is the name of the class."""

    @property
    def kind(self) -> str:
        return type(self).__name__


@dataclass(frozen=True)
class Id(_Kind):
    """The column that names the user or the item; one learned vector an id.

    Parameters
    ----------
    column : str
        Name of the column, in the interactions and in the table of the side.
    """

    column: str


@dataclass(frozen=True)
class Category(_Kind):
    """A column with one value a row out of a limited set: text, codes, true and false, categoricals.

    Parameters
    ----------
    column : str
        Name of the column.
    width : int, at least 1, optional
        Length of the learned vector of a value. None leaves it to the model.
    min_count : int, at least 1
        Values in fewer rows of the table than this are treated as unknown.

    Notes
    -----
    Code 0 stands for missing, unknown and rare values together, so a row never seen in `fit` can be encoded.
    """

    column: str
    _: KW_ONLY
    width: int | None = None
    min_count: int = 1

    def __post_init__(self) -> None:
        _check_at_least_one(self, "width", "min_count")


@dataclass(frozen=True)
class Categories(_Kind):
    """A column with any number of values a row: lists, or text to be split.

    Parameters
    ----------
    column : str
        Name of the column.
    width : int, at least 1, optional
        Length of the learned vector of a value. None leaves it to the model.
    min_count : int, at least 1
        Values that occur fewer times than this are left out.
    pooling : {"mean", "sum", "sqrt"}
        How the vectors of a row's values become one: their mean, their sum, or their sum over the root of their number.
    separator : str, optional
        Splits text, as in "Comedy|Drama".

    Notes
    -----
    Values unknown to `fit` are left out of a row. A row with nothing left, an empty or a missing list holds code 0
    alone. A value that stands twice in a list counts twice.
    """

    column: str
    _: KW_ONLY
    width: int | None = None
    min_count: int = 1
    pooling: Literal["mean", "sum", "sqrt"] = "mean"
    separator: str | None = None

    def __post_init__(self) -> None:
        _check_at_least_one(self, "width", "min_count")
        if self.pooling not in ("mean", "sum", "sqrt"):
            raise SchemaError(
                f'Categories({self.column!r}): pooling is {self.pooling!r}, but must be "mean", "sum" or "sqrt"'
            )
        if self.separator == "":
            raise SchemaError(
                f"Categories({self.column!r}): separator is empty, but must be text or None; leave it out for lists"
            )


@dataclass(frozen=True)
class Numeric(_Kind):
    """A column of quantities; missing values are legal.

    Parameters
    ----------
    column : str
        Name of the column.
    scale : {"standard", "none"}
        `standard` takes off the mean of the table's rows and divides by their standard deviation (a column of one value
        becomes zeros); `none` leaves the values as they are.
    """

    column: str
    _: KW_ONLY
    scale: Literal["standard", "none"] = "standard"

    def __post_init__(self) -> None:
        if self.scale not in ("standard", "none"):
            raise SchemaError(f'Numeric({self.column!r}): scale is {self.scale!r}, but must be "standard" or "none"')


Column: TypeAlias = Category | Categories | Numeric
_KINDS: dict[str, type[Any]] = {c.__name__: c for c in (Id, Category, Categories, Numeric)}


@dataclass(frozen=True)
class LeftOut:
    """A column that takes no part, and why."""

    column: str
    reason: str


@dataclass(frozen=True)
class Resolved:
    """What one side is made of: its id column, its feature columns in order, and the columns left out."""

    id: Id
    columns: tuple[Column, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class Field:
    """One line of a schema.

    Parameters
    ----------
    kind : str
        Name of the kind, or "left out".
    side : {"users", "items"}
    column : str
    values : int or None
        Number of different values that have a code of their own; None for quantities.
    missing : float or None, 0 to 1
        Share of the rows without a value.
    note : str
        Anything worth knowing: the range of a quantity, why a column was left out.
    """

    kind: str
    side: Side
    column: str
    values: int | None = None
    missing: float | None = None
    note: str = ""


@dataclass(frozen=True, repr=False)
class Schema:
    """What a fitted model made of the columns; printed as a table.

    Parameters
    ----------
    fields : tuple of Field

    Examples
    --------
    >>> Schema((Field("Id", "users", "user_id", 943, 0.0), Field("Numeric", "users", "age", None, 0.021, "7 to 73")))
    side   column   kind     values  missing  note
    users  user_id  Id          943       0%
    users  age      Numeric       -     2.1%  7 to 73
    """

    fields: tuple[Field, ...]

    @property
    def users(self) -> tuple[Field, ...]:
        """The lines of the users."""
        return tuple(f for f in self.fields if f.side == "users")

    @property
    def items(self) -> tuple[Field, ...]:
        """The lines of the items."""
        return tuple(f for f in self.fields if f.side == "items")

    def __repr__(self) -> str:
        rows = [("side", "column", "kind", "values", "missing", "note"), *map(_cells, self.fields)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        right = (3, 4)
        lines = (
            "  ".join(c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True)))
            for r in rows
        )
        return "\n".join(line.rstrip() for line in lines)

    def to_meta(self) -> list[dict[str, Any]]:
        """Plain lists and dicts, for JSON."""
        return [asdict(f) for f in self.fields]

    @classmethod
    def from_meta(cls, meta: Sequence[Mapping[str, Any]]) -> Schema:
        """Undo `to_meta`."""
        return cls(tuple(Field(**f) for f in meta))


def column_to_meta(column: Column | Id) -> dict[str, Any]:
    """Write a column as a plain dict with its kind, for JSON.

    Examples
    --------
    >>> column_to_meta(Numeric("age"))
    {'kind': 'Numeric', 'column': 'age', 'scale': 'standard'}
    """
    return {"kind": column.kind, **{f.name: getattr(column, f.name) for f in fields(column)}}


def column_from_meta(meta: Mapping[str, Any]) -> Any:
    """Undo `column_to_meta`; raises KeyError or TypeError for what it did not write."""
    options = dict(meta)
    return _KINDS[options.pop("kind")](**options)


def resolve(
    features: Sequence[Column | Id | str] | None, frame: frames.Frame | None, id_col: str, *, side: Side
) -> Resolved:
    """Decide which columns of a side take part.

    Parameters
    ----------
    features : sequence of columns or names, or None
        None takes every column of the table that `infer` has a use for, an empty list none. A name alone leaves only
        the kind to be guessed. The id column always takes part, named or not.
    frame : narwhals.DataFrame or None
        The table of the side, if there is one.
    id_col : str
        Its id column.
    side : {"users", "items"}

    Raises
    ------
    SchemaError
        A column that is not there or named twice, a feature without a table, a name whose dtype has no kind.
    TypeError
        Something that is neither a column nor a name.
    """
    option = f"{side[:-1]}_features"
    if features is None:
        if frame is None:
            return Resolved(Id(id_col))
        columns, left_out = infer(frame, id_col)
        return Resolved(Id(id_col), tuple(columns), tuple(left_out))
    if isinstance(features, (str, _Kind)) or not isinstance(features, Sequence):
        raise TypeError(f"fit: {option} is {features!r}, but must be a list of columns; write [{features!r}]")
    chosen: list[Column] = []
    for feature in features:
        if not isinstance(feature, (str, *_KINDS.values())):
            raise TypeError(
                f"fit: {option} holds {feature!r}, but must hold Category, Categories, Numeric or names of columns"
            )
        name = feature if isinstance(feature, str) else feature.column
        if isinstance(feature, Id) or name == id_col:
            if name != id_col or not isinstance(feature, (Id, str)):
                raise SchemaError(
                    f"fit: {option} holds {feature!r}, but the ids of {side} are in {id_col!r}; use Id({id_col!r})"
                )
            continue
        if frame is None:
            raise SchemaError(f"fit: {option} names {name!r}, but fit got no {side} table; pass {side}=")
        if any(name == c.column for c in chosen):
            raise SchemaError(f"fit: {option} names {name!r} more than once; keep one of them")
        series = frames.column(frame, name, f"fit: {side}")
        chosen.append(_named(series, name, side) if isinstance(feature, str) else feature)
    taken = {id_col, *(c.column for c in chosen)}
    rest = [] if frame is None else [LeftOut(c, f"not in {option}") for c in frame.columns if c not in taken]
    return Resolved(Id(id_col), tuple(chosen), tuple(rest))


def infer(frame: frames.Frame, id_col: str) -> tuple[list[Column], list[LeftOut]]:
    """Guess the kinds of a table's columns from their dtypes and values.

    Parameters
    ----------
    frame : narwhals.DataFrame
    id_col : str
        Passed over.

    Returns
    -------
    columns : list of Category, Categories or Numeric
        In the order of the table.
    left_out : list of LeftOut
        The columns without a use, each with the reason.

    Notes
    -----
    - true and false, text, categoricals: Category. Left out when there are more than 20 values and nearly one for
      every row (over 90 %: titles, addresses).
    - lists of text or whole numbers: Categories. Lists of broken numbers are left out.
    - broken numbers: Numeric, unless the name says that they are codes.
    - whole numbers: by the name first. `id`, `code`, `zip`, `type` and the like make a Category (left out when nearly
      every row has its own), `year`, `age`, `price`, `count` and the like make a Numeric. Otherwise a Category when
      there are at most 32 values, on average in two rows or more, or just two values; else Numeric.
    - dates, times, durations, structs, bytes and mixtures are left out, and so is a column with one value or none.
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


_CODES = re.compile(
    r"(^|_)(id|ids|code|codes|zip|zipcode|postcode|postal|type|kind|class|group|cluster|category|genre|region|flag)($|_)"
)
_QUANTITIES = re.compile(
    r"(^|_)(year|age|price|cost|amount|budget|revenue|income|salary|count|counts|num|number|n|total|size|length|width|height"
    r"|weight|duration|runtime|minutes|seconds|hours|days|score|rating|ratings|votes|rank|pages|population|popularity|latitude"
    r"|longitude)($|_)"
)
_NO_KIND = {
    "date": "dates are not used by this version",
    "datetime": "times are not used by this version",
    "duration": "durations are not used; turn them into numbers",
    "time": "times of day are not used; turn them into numbers",
    "struct": "structs are not used; take their fields out",
    "bytes": "bytes are not used",
    "object": "values of several types; make them one type",
    "empty": "every value is missing",
}


def _guess(series: frames.Series, name: str) -> Column | LeftOut:
    kind = frames.kind_of(series)
    if kind in _NO_KIND:
        return LeftOut(name, _NO_KIND[kind])
    if kind == "list":
        return _guess_list(series, name)
    if kind == "decimal":
        return Numeric(name)
    present, values, whole = _distinct(series)
    if values == 0:
        return LeftOut(name, _NO_KIND["empty"])
    if values == 1 and present == len(series):
        return LeftOut(name, "one value in every row")
    words = _words_of(name)
    code = bool(_CODES.search(words))
    if kind == "float" and not (code and whole):
        return Numeric(name)
    if kind in ("integer", "float") and not code:
        few = values <= 2 or (values <= FEW_VALUES and present >= 2 * values)
        return Category(name) if few and not _QUANTITIES.search(words) else Numeric(name)
    if values > FEW_WORDS and values > OWN_VALUE_SHARE * present:
        return LeftOut(name, f"{values} values in {present} rows: names a row, does not describe it")
    return Category(name)


def _guess_list(series: frames.Series, name: str) -> Column | LeftOut:
    try:
        _, elements = frames.lists(series, name)
    except SchemaError:
        return LeftOut(name, "lists of lists or of objects are not used")
    if len(elements) == 0:
        return LeftOut(name, "every list is empty")
    if elements.dtype.kind in ("string", "integer", "boolean", "bytes"):
        return Categories(name)
    return LeftOut(name, f"lists of {elements.dtype.label} are not used by this version")


def _named(series: frames.Series, name: str, side: Side) -> Column:
    """Find the kind of a column asked for by name: the best its dtype allows, however many values it has."""
    kind = frames.kind_of(series)
    guess = _guess(series, name)
    if not isinstance(guess, LeftOut):
        return guess
    if kind in ("boolean", "string", "categorical", "integer", "float", "empty"):
        return Numeric(name) if kind == "float" else Category(name)
    raise SchemaError(f"fit: column {name!r} of {side} cannot be a feature: {guess.reason}; leave it out or convert it")


def _distinct(series: frames.Series) -> tuple[int, int, bool]:
    """Rows with a value, different values, and whether all of them are whole numbers."""
    found = frames.ids(series, "schema")
    present = len(found) - found.missing_rows().size
    if found.rows is not None:
        return present, int(np.unique(found.rows[found.rows >= 0]).size), False
    values = found.values if found.missing is None else found.values[~found.missing]
    whole = values.dtype.kind in "iu" or (values.dtype.kind == "f" and bool((np.floor(values) == values).all()))
    return present, int(np.unique(values).size), whole


def _words_of(name: object) -> str:
    """`zipCode`, `zip code` and `ZIP_CODE` as `zip_code`."""
    apart = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", str(name))
    return re.sub(r"[^a-z0-9]+", "_", apart.lower())


def _cells(field: Field) -> tuple[str, ...]:
    values = "-" if field.values is None else str(field.values)
    missing = "-" if field.missing is None else _percent(field.missing)
    return field.side, str(field.column), field.kind, values, missing, field.note


def _percent(share: float) -> str:
    """Write a share in percent with one digit, never rounded to none or all when it is not."""
    if share in (0.0, 1.0):
        return f"{share:.0%}"
    return f"{min(max(share, 0.001), 0.999):.1%}"


def _check_at_least_one(column: Any, *names: str) -> None:
    for name in names:
        value = getattr(column, name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise SchemaError(
                f"{column.kind}({column.column!r}): {name} is {value!r}, but must be a whole number of at least 1"
            )
