"""Tags that people gave items, as a column of the items."""

from __future__ import annotations

from typing import Any

import numpy as np

from twotower import frames
from twotower.errors import SchemaError, count_of
from twotower.vocabulary import Vocabulary

Array = np.ndarray


def with_tags(
    items: Any,
    tags: Any,
    *,
    item_col: str = "item_id",
    tag_col: str = "tag",
    user_col: str = "user_id",
    column: str = "tags",
    min_users: int = 1,
    max_tags: int | None = None,
) -> Any:
    """Give items a column with the tags that people gave them.

    Parameters
    ----------
    items : DataFrame
        pandas, polars or pyarrow, a row an item.
    tags : DataFrame
        A row a tag that somebody gave an item, as MovieLens' `tags.csv`; the same kind of ids as `items`. Rows of items that
        are not in `items`, and rows without a tag, are passed over.
    item_col, tag_col, user_col : str
        Columns of `tags`; `user_col` may be absent, then every row is a person.
    column : str
        Name of the new column.
    min_users : int, at least 1
        An item gets a tag that at least so many people gave it.
    max_tags : int, at least 1, optional
        An item gets its most given tags only.

    Returns
    -------
    DataFrame of the kind of `items`
        With a column of lists of text, empty where an item has no tags: lower case, without blanks around, each once, those
        that most people gave first and equal ones by alphabet. `Categories(column)` has a vector for each, `Text(column)`
        for each word.

    Raises
    ------
    SchemaError
        A column is missing, or `items` has one of that name already.
    ValueError
        An option is below 1.

    Notes
    -----
    Tags say something of the time in which they were given: for a split by time give those from before it.

    Examples
    --------
    >>> import pandas as pd
    >>> from twotower.features import with_tags
    >>> items = pd.DataFrame({"item_id": [1, 2]})
    >>> tags = pd.DataFrame({"user_id": [7, 8, 7], "item_id": [1, 1, 1], "tag": ["Noir", "noir ", "slow"]})
    >>> with_tags(items, tags).tags.tolist()
    [['noir', 'slow'], []]
    """
    for option, value in (("min_users", min_users), ("max_tags", max_tags)):
        if value is not None and value < 1:
            raise ValueError(f"with_tags: {option} is {value}, but must be at least 1")
    table, given = frames.table(items, "with_tags: items"), frames.table(tags, "with_tags: tags")
    if column in table.columns:
        raise SchemaError(f"with_tags: items has a column {column!r} already; pass column= to name the new one")
    listed = frames.ids(frames.column(table, item_col, "with_tags: items"), f"with_tags: column {item_col!r} of items")
    vocabulary = Vocabulary.fit(listed, "with_tags: items", missing="skip")
    place = f"with_tags: column {item_col!r} of tags"
    item_rows = vocabulary.encode(frames.ids(frames.column(given, item_col, "with_tags: tags"), place), place)
    words = _words(frames.column(given, tag_col, "with_tags: tags"), tag_col)
    names, word_rows = np.unique(np.array(words, dtype=object).astype(str), return_inverse=True)
    kept = (item_rows >= 0) & (names != "")[word_rows] if len(words) else np.zeros(0, dtype=np.bool_)
    pairs = item_rows[kept].astype(np.int64) * max(len(names), 1) + word_rows[kept]
    if user_col in given.columns:
        users = frames.ids(frames.column(given, user_col, "with_tags: tags"), f"with_tags: column {user_col!r} of tags")
        people = Vocabulary.fit(users, "with_tags: tags", missing="skip").encode(users)[kept]
        pairs = np.unique(np.stack([pairs, people]), axis=1)[0]
    pairs, counts = np.unique(pairs, return_counts=True)
    pairs, counts = pairs[counts >= min_users], counts[counts >= min_users]
    found = _lists(pairs, counts, names, vocabulary.size, max_tags)
    codes = vocabulary.encode(listed)
    return frames.with_lists(table, column, [found[code] if code >= 0 else [] for code in codes.tolist()])


def _words(series: frames.Series, name: str) -> list[str]:
    """Tags in lower case, "" where one is missing."""
    values = series.to_list()
    wrong = [value for value in values if not isinstance(value, str) and value is not None and value == value]
    if wrong:
        raise SchemaError(
            f"with_tags: column {name!r} of tags has {count_of(len(wrong), 'value')} that are no text (first: {wrong[0]!r}); "
            "turn them into text"
        )
    return [value.strip().lower() if isinstance(value, str) else "" for value in values]


def _lists(pairs: Array, counts: Array, names: Array, num_items: int, max_tags: int | None) -> list[list[str]]:
    """The tags of each item, those with the largest counts first."""
    width = max(len(names), 1)
    order = np.lexsort((pairs % width, -counts, pairs // width))
    owners, words = pairs[order] // width, names[pairs[order] % width].tolist() if len(pairs) else []
    starts = np.searchsorted(owners, np.arange(num_items + 1))
    return [words[start:end][:max_tags] for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)]
