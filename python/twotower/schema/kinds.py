"""The kinds a column can be of. A class says what a column is and how it may be treated, and does nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, Literal, TypeAlias

from twotower.errors import SchemaError
from twotower.schema._kind import Kind

__all__ = [
    "Categories",
    "Category",
    "Column",
    "History",
    "Id",
    "Numeric",
    "Text",
    "Timestamp",
    "Vector",
    "column_from_meta",
    "column_to_meta",
]

# Parts of a time that get a learned vector for each of their values.
TIME_PARTS = ("year", "month", "weekday", "day", "hour", "dayofyear")
# Longest runs that make sense as tokens; longer ones are nearly all different.
MOST_WORDS, MOST_CHARS = 8, 16


@dataclass(frozen=True, repr=False)
class Id(Kind):
    """The column that names the user or the item; one learned vector an id.

    Parameters
    ----------
    column : str
        Name of the column, in the interactions and in the table of the side.
    width : int, at least 1, optional
        Length of the learned vector of an id. None leaves it to the model.
    min_count : int, at least 1
        Ids with fewer positive interactions in training than this share the vector of the unknown.
    dropout : float from 0 to 1, optional
        Share of the ids that training replaces by the unknown one, so that its vector and the features learn to stand
        alone; with 1 the ids are never used. None leaves it to the model.
    table : str, optional
        Columns of one table name share their vectors, also between users and items.
    """

    column: str
    _: KW_ONLY
    width: int | None = None
    min_count: int = 1
    dropout: float | None = None
    table: str | None = None

    def __post_init__(self) -> None:
        self._check_counts("width", "min_count")
        self._check_names("table")
        if self.dropout is not None:
            self._check_share("dropout", whole=True)


@dataclass(frozen=True, repr=False)
class Category(Kind):
    """A column with one value a row out of a limited set: text, codes, true and false, categoricals.

    Parameters
    ----------
    column : str
        Name of the column.
    width : int, at least 1, optional
        Length of the learned vector of a value. None leaves it to the model.
    min_count : int, at least 1
        Values in fewer rows of the table than this are treated as unknown.
    table : str, optional
        Columns of one table name share their values and vectors, also between users and items.

    Notes
    -----
    Code 0 stands for missing, unknown and rare values together, so a row never seen in `fit` can be encoded. Empty text
    is a value like any other.
    """

    column: str
    _: KW_ONLY
    width: int | None = None
    min_count: int = 1
    table: str | None = None

    def __post_init__(self) -> None:
        self._check_counts("width", "min_count")
        self._check_names("table")


@dataclass(frozen=True, repr=False)
class Categories(Kind):
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
    weights : str, optional
        Name of a column with a list of numbers a row, one for each of the row's values, at least 0: how much it counts.
    table : str, optional
        Columns of one table name share their values and vectors, also between users and items.

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
    weights: str | None = None
    table: str | None = None

    def __post_init__(self) -> None:
        self._check_counts("width", "min_count")
        self._check_choice("pooling", ("mean", "sum", "sqrt"))
        self._check_names("weights", "table")
        if self.separator is not None and (not isinstance(self.separator, str) or not self.separator):
            found = "empty" if self.separator == "" else repr(self.separator)
            raise SchemaError(
                f"Categories({self.column!r}): separator is {found}, but must be text or None; leave it out for lists"
            )


@dataclass(frozen=True, repr=False)
class Numeric(Kind):
    """A column of quantities; missing values are legal and have a learned vector of their own.

    Parameters
    ----------
    column : str
        Name of the column.
    scale : {"standard", "log", "none"}
        `standard` takes off the mean of the table's rows and divides by their standard deviation (a column of one value
        becomes zeros); `log` does so with sign(x) log(1 + abs(x)), for counts and prices; `none` leaves the values as
        they are.
    buckets : int, at least 1, optional
        Cut at the quantiles of the table's rows into so many parts (fewer where values repeat), each with a learned
        vector; `scale` plays no part then.
    width : int, at least 1, optional
        Length of the vector. None leaves it to the model.
    """

    column: str
    _: KW_ONLY
    scale: Literal["standard", "log", "none"] = "standard"
    buckets: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        self._check_choice("scale", ("standard", "log", "none"))
        self._check_counts("buckets", "width")


@dataclass(frozen=True, repr=False)
class Timestamp(Kind):
    """A column of points in time: any datetime dtype, dates, or seconds, ms, us or ns since 1970.

    Parameters
    ----------
    column : str
        Name of the column.
    parts : sequence of {"year", "month", "weekday", "day", "hour", "dayofyear"}
        Each becomes a category with a learned vector a value.
    cyclic : bool
        Sine and cosine of the time of day, the weekday, the month and the day of the year: 8 numbers, so that midnight
        is near 23:59 and December near January.
    buckets : int, at least 1, optional
        Cut at the quantiles of the table's rows into so many spans, each with a learned vector.
    normalize : bool
        The time itself as one number, scaled to mean 0 and deviation 1; times beyond those of `fit` count as the first
        or the last of them, so that nothing is extrapolated.
    width : int, at least 1, optional
        Length of each vector. None leaves it to the model.
    unit : {"auto", "s", "ms", "us", "ns"}
        Of whole or broken numbers. `auto` goes by the median of their absolute values: below 1e11 seconds (until the
        year 5138), below 1e14 milliseconds, below 1e17 microseconds, else nanoseconds.

    Notes
    -----
    Calendar fields are those of UTC; times without a zone are taken as they are. Fractions of seconds are dropped.
    """

    column: str
    _: KW_ONLY
    parts: Sequence[str] = ()
    cyclic: bool = True
    buckets: int | None = None
    normalize: bool = True
    width: int | None = None
    unit: Literal["auto", "s", "ms", "us", "ns"] = "auto"

    def __post_init__(self) -> None:
        if isinstance(self.parts, Sequence) and not isinstance(self.parts, str):
            object.__setattr__(self, "parts", tuple(self.parts))
        known = isinstance(self.parts, tuple) and all(part in TIME_PARTS for part in self.parts)
        if not known or len(set(self.parts)) < len(self.parts):
            raise self._refuse("parts", f"some of {', '.join(TIME_PARTS)}, each once; write them as a tuple")
        self._check_flags("cyclic", "normalize")
        self._check_counts("buckets", "width")
        self._check_choice("unit", ("auto", "s", "ms", "us", "ns"))
        if not (self.parts or self.cyclic or self.buckets or self.normalize):
            raise SchemaError(
                f"Timestamp({self.column!r}): parts, cyclic, buckets and normalize are all off, but one must be on; "
                "leave the column out instead"
            )


@dataclass(frozen=True, repr=False)
class Text(Kind):
    """A column of words, such as titles and descriptions: tokens with a learned vector each.

    Parameters
    ----------
    column : str
        Name of the column.
    encoding : {"mean", "sum", "sqrt", "gru", "tfidf"}
        How the vectors of a text's tokens become one: as those of `Categories`, read in order by a gated recurrent
        unit, or weighted by how rare the token is (to length 1).
    words : (int, int) or None
        Shortest and longest run of words that is a token, up to 8.
    chars : (int, int) or None
        Shortest and longest run of characters inside a word that is a token, up to 16.
    min_count : int, at least 1
        Tokens in fewer rows than this are unknown. Plays no part with `buckets`.
    max_tokens : int, at least 1
        The most frequent ones are kept. Plays no part with `buckets`.
    buckets : int, at least 1, optional
        Hash the tokens into so many instead of learning which there are.
    lowercase : bool
        Fold upper and lower case, by Unicode's rules.
    accents : {"strip", "keep"}
    max_length : int, at least 1
        Tokens of a text that `gru` reads: the first ones.
    width : int, at least 1, optional
        Length of the learned vectors. None leaves it to the model.
    table : str, optional
        Columns of one table name share their tokens and vectors, also between users and items.
    """

    column: str
    _: KW_ONLY
    encoding: Literal["mean", "sum", "sqrt", "gru", "tfidf"] = "mean"
    words: tuple[int, int] | None = (1, 1)
    chars: tuple[int, int] | None = None
    min_count: int = 2
    max_tokens: int = 50_000
    buckets: int | None = None
    lowercase: bool = True
    accents: Literal["strip", "keep"] = "strip"
    max_length: int = 64
    width: int | None = None
    table: str | None = None

    def __post_init__(self) -> None:
        self._check_choice("encoding", ("mean", "sum", "sqrt", "gru", "tfidf"))
        self._check_span("words", MOST_WORDS)
        self._check_span("chars", MOST_CHARS)
        if self.words is None and self.chars is None:
            raise SchemaError(
                f"Text({self.column!r}): words and chars are both None, but one must be a pair; leave words out"
            )
        for option in ("min_count", "max_tokens", "max_length"):
            if getattr(self, option) is None:
                raise self._refuse(option, "a whole number of at least 1")
        self._check_counts("min_count", "max_tokens", "buckets", "max_length", "width")
        self._check_flags("lowercase")
        self._check_choice("accents", ("strip", "keep"))
        self._check_names("table")


@dataclass(frozen=True, repr=False)
class Vector(Kind):
    """A column of float vectors from elsewhere, such as embeddings of sentences or images; all of one length.

    Parameters
    ----------
    column : str
        Name of the column.
    project : bool
        Through a learned matrix, or as they are (their length must then be that of the model's vectors where columns
        are summed).
    width : int, at least 1, optional
        Length after the projection. None leaves it to the model.

    Notes
    -----
    The vectors themselves are never trained. A missing vector, or one of NaN alone, has a learned one in its place.
    """

    column: str
    _: KW_ONLY
    project: bool = True
    width: int | None = None

    def __post_init__(self) -> None:
        self._check_flags("project")
        self._check_counts("width")
        if not self.project and self.width is not None:
            raise SchemaError(
                f"Vector({self.column!r}): width is {self.width}, but without project the vectors keep their length; "
                "leave width out"
            )


@dataclass(frozen=True, repr=False)
class History(Kind):
    """The query's past items, oldest first: from the interactions, or from a column of lists of item ids.

    Parameters
    ----------
    column : str
        Name of the column of lists, where the table of users has it; without it the interactions are the history.
    encoder : {"mean", "decay", "attention", "gru", "transformer"}
        How the items' vectors become one: their mean; a mean in which items count less the older they are; an
        attention whose query is learned and does not know the target; a gated recurrent unit; a causal transformer.
    max_length : int, at least 1
        The newest items that are read.
    half_life : float above 0
        `decay`: an item counts half as much as one that is so many places newer.
    heads, blocks : int, at least 1
        `transformer`: attention heads, and blocks one after the other.
    dropout : float from 0 to below 1
        `transformer`: share of the numbers that training drops.
    features : bool
        Whether an item is read with its features, or by its id alone. Both share their vectors with the item tower.
    session_gap : float above 0, optional
        Hours without an interaction after which a new session begins, for `mean`, `decay` and `attention` where time is
        known. Training then sees what came before the session of its example, whole sessions at a time: within one the
        order often tells nothing but how the items were shown. None takes every earlier interaction.
    first_session : float above 0
        Weight of the examples of a user's first session, which have no past to be told from, beside 1 for the others.
    weight_by : {"rating"}, optional
        Items count by the model's rating column. For `mean`, `decay` and `attention`.
    normalize : bool
        `mean` and `decay`: bring the mean to one learned length.
    width : int, at least 1, optional
        Length of the vector. None leaves it to the model.

    Notes
    -----
    In training the item to be predicted is left out of the history, and so is everything after it where time is known; in
    a user's first session the history is the session's other items.
    """

    column: str = "history"
    _: KW_ONLY
    encoder: Literal["mean", "decay", "attention", "gru", "transformer"] = "mean"
    max_length: int = 50
    half_life: float = 10.0
    heads: int = 1
    blocks: int = 1
    dropout: float = 0.0
    features: bool = True
    session_gap: float | None = 12.0
    first_session: float = 1.0
    weight_by: Literal["rating"] | None = None
    normalize: bool = True
    width: int | None = None

    def __post_init__(self) -> None:
        self._check_choice("encoder", ("mean", "decay", "attention", "gru", "transformer"))
        for option in ("max_length", "heads", "blocks"):
            if getattr(self, option) is None:
                raise self._refuse(option, "a whole number of at least 1")
        self._check_counts("max_length", "heads", "blocks", "width")
        half_life = self.half_life
        if isinstance(half_life, bool) or not isinstance(half_life, (int, float)) or not 0 < half_life < float("inf"):
            raise self._refuse("half_life", "a finite number above 0")
        gap = self.session_gap
        if gap is not None and (
            isinstance(gap, bool) or not isinstance(gap, (int, float)) or not 0 < gap < float("inf")
        ):
            raise self._refuse("session_gap", "a finite number above 0 or None")
        first = self.first_session
        if isinstance(first, bool) or not isinstance(first, (int, float)) or not 0 < first < float("inf"):
            raise self._refuse("first_session", "a finite number above 0")
        self._check_share("dropout")
        self._check_flags("features", "normalize")
        if self.weight_by not in (None, "rating"):
            raise self._refuse("weight_by", '"rating" or None')
        if self.weight_by and self.encoder in ("gru", "transformer"):
            raise SchemaError(
                f'History({self.column!r}): weight_by is "rating", but encoder "{self.encoder}" has no weights; '
                'use "mean", "decay" or "attention"'
            )

    @property
    def in_order(self) -> bool:
        """Whether the encoder reads one item after the other."""
        return self.encoder in ("gru", "transformer")


Column: TypeAlias = Category | Categories | Numeric | Timestamp | Text | Vector
KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Id, Category, Categories, Numeric, Timestamp, Text, Vector, History)
}


def column_to_meta(column: Column | Id | History) -> dict[str, Any]:
    """Write a column as a plain dict with its kind, for JSON.

    Examples
    --------
    >>> column_to_meta(Numeric("age"))
    {'kind': 'Numeric', 'column': 'age', 'scale': 'standard', 'buckets': None, 'width': None}
    """
    return {"kind": column.kind, **{f.name: getattr(column, f.name) for f in fields(column)}}


def column_from_meta(meta: Mapping[str, Any]) -> Any:
    """Undo `column_to_meta`; raises KeyError or TypeError for what it did not write."""
    options = dict(meta)
    return KINDS[options.pop("kind")](**options)
