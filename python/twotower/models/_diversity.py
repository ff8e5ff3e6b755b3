"""Lists with less of the same: maximal marginal relevance and caps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from twotower import frames
from twotower._core import core
from twotower.errors import DataError, SchemaError, count_of
from twotower.interactions import align
from twotower.models._catalogue import Catalogue
from twotower.models._dot_product import DotProductRecommender
from twotower.models._options import (
    check_choice,
    check_column_name,
    check_count,
    check_n_jobs,
    check_number,
    named_options,
)
from twotower.models._recommend import Recommender
from twotower.models._values import values_of
from twotower.vocabulary import Vocabulary

__all__ = ["diversify"]


@named_options
def diversify(
    lists: Any,
    vectors_or_model: Any = None,
    k: int = 10,
    *,
    method: str = "mmr",
    trade_off: float = 0.7,
    max_per: Mapping[str, int] | None = None,
    items: Any = None,
    user_col: str = "user_id",
    item_col: str = "item_id",
    n_jobs: int = -1,
) -> Any:
    """Pick a shorter, more varied list out of each user's candidates.

    Parameters
    ----------
    lists : DataFrame
        What `recommend` gives, with more candidates than are wanted: `user_col`, `item_col` and `score`, the rows of a
        user in any order.
    vectors_or_model : model with item vectors, (ids, vectors), or None
        What makes two items alike: the cosine of their vectors. A fitted model such as `TwoTower` or `ImplicitALS`, or
        ids and float32 (n, width). None, and a model without vectors: nothing is alike, and only caps count.
    k : int, at least 1
        Items a user.
    method : {"mmr"}
        Maximal marginal relevance.
    trade_off : float, from 0 to 1
        1 goes by score alone, 0 takes what is least like the items before it.
    max_per : mapping of column to int, optional
        At most so many items of a list have the same value in this column of the table of items, as in `{"genres": 3}`;
        of lists, every value counts.
    items : DataFrame, optional
        The table of items with the columns of `max_per`; None takes the one that the model was fitted with.
    user_col, item_col : str
    n_jobs : int
        Threads; -1 is every CPU this process may use.

    Returns
    -------
    DataFrame of the kind of `lists`
        The picked rows, users in the order of their first row, best first; all columns of `lists`, and `rank` int32 from
        1. A user for whom caps leave fewer than k items has fewer rows.

    Raises
    ------
    SchemaError, DataError
        A column is missing; a score is not finite; an item has no vector, or no row in `items`.
    ValueError, TypeError
        An option is out of range or of the wrong kind.

    Notes
    -----
    Place by place the item of the largest `trade_off` * relevance - (1 - `trade_off`) * (largest cosine with the items
    before it), the relevance being the score brought to [0, 1] within the list (Carbonell, Goldstein 1998); exact, equal
    ones by the larger score, then by the earlier row. Cost: k x candidates x width multiplications a user.

    Examples
    --------
    >>> import numpy as np, pandas as pd, twotower as tt
    >>> lists = pd.DataFrame({"user_id": 1, "item_id": ["a", "b", "c"], "score": [3.0, 2.9, 2.0]})
    >>> vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    >>> tt.diversify(lists, (["a", "b", "c"], vectors), k=2, trade_off=0.5).item_id.tolist()
    ['a', 'c']
    """
    where = "diversify"
    check_choice(where, "method", method, ("mmr",))
    k = check_count(where, "k", k)
    trade_off = check_number(where, "trade_off", trade_off, minimum=0, maximum=1)
    for option, column in (("user_col", user_col), ("item_col", item_col)):
        check_column_name(where, option, column)
    num_threads = check_n_jobs(where, n_jobs)
    limits = _limits(max_per)
    table = frames.table(lists, f"{where}: lists")
    users, listed = (_codes(table, column) for column in (user_col, item_col))
    scores = frames.numbers(frames.column(table, "score", f"{where}: lists"), f"{where}: column 'score'")
    if not np.isfinite(scores).all():
        raise DataError(f"{where}: column 'score' has values that are missing or infinite; drop these rows")
    vectors = _vectors(vectors_or_model, listed[0])
    caps = _caps(vectors_or_model, items, item_col, listed[0], limits)

    # Users in the order of their first row; their rows by falling score.
    _, first = np.unique(users[1], return_index=True)
    place = np.empty(users[0].size, dtype=np.int64)
    place[users[1][np.sort(first)]] = np.arange(len(first))
    order = np.lexsort((-scores, place[users[1]]))
    offsets = np.searchsorted(place[users[1]][order], np.arange(len(first) + 1)).astype(np.int64)
    picked = core.diversify(
        offsets,
        listed[1][order],
        scores[order].astype(np.float32),
        vectors,
        caps,
        k=k,
        trade_off=trade_off,
        num_threads=num_threads,
    )
    there = picked >= 0
    rows = order[(picked + offsets[:-1, None])[there]]
    ranks = np.broadcast_to(np.arange(1, k + 1, dtype=np.int32), picked.shape)[there]
    found = frames.take(table, rows)
    columns = {name: ranks if name == "rank" else found.get_column(name) for name in table.columns}
    return frames.build(frames.frame_kind(lists), columns | {"rank": ranks})


def _limits(max_per: Mapping[str, int] | None) -> dict[str, int]:
    if max_per is not None and not isinstance(max_per, Mapping):
        raise TypeError(f"diversify: max_per is {max_per!r}, but must be a mapping such as {{'genres': 3}}")
    return {name: check_count("diversify", f"max_per[{name!r}]", limit) for name, limit in (max_per or {}).items()}


def _codes(table: frames.Frame, column: str) -> tuple[Vocabulary, np.ndarray]:
    what = f"diversify: column {column!r} of lists"
    ids = frames.ids(frames.column(table, column, "diversify: lists"), what)
    vocabulary = Vocabulary.fit(ids, what)
    return vocabulary, vocabulary.encode(ids)


def _vectors(source: Any, listed: Vocabulary) -> np.ndarray:
    """Unit vectors, float32 (listed items, width); width 0 where nothing is alike."""
    if isinstance(source, DotProductRecommender):
        vectors = source._item_vectors_[_model_rows(source, listed)][:, : source._similarity_width]
    elif source is None or isinstance(source, Recommender):
        return np.zeros((listed.size, 0), dtype=np.float32)
    elif isinstance(source, tuple) and len(source) == 2:
        ids = frames.ids(source[0], "diversify: ids of the vectors")
        given = np.asarray(source[1], dtype=np.float32)
        if given.ndim != 2 or len(given) != len(ids):
            raise ValueError(
                f"diversify: vectors have the shape {given.shape}, but must have one row for each of {len(ids)} ids"
            )
        known = Vocabulary.fit(ids, "diversify: ids of the vectors")
        rows = np.empty(known.size, dtype=np.int64)
        rows[known.encode(ids)] = np.arange(len(ids))
        wanted = listed.decode(np.arange(listed.size, dtype=np.int32))
        cure = "leave these rows out, or give their vectors"
        vectors = given[rows[known.encode_known(wanted, "diversify: items of lists", cure)]]
    else:
        raise TypeError(
            f"diversify: vectors_or_model is a {type(source).__name__}, but must be a fitted model, (ids, vectors) or None"
        )
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def _model_rows(model: Recommender, listed: Vocabulary) -> np.ndarray:
    """Rows of the listed items in a model."""
    model._check_fitted("diversify")
    ids = listed.decode(np.arange(listed.size, dtype=np.int32))
    return model._known_items(
        ids, "diversify: items of lists", "leave these rows out, or pass the model they came from"
    )


def _caps(
    source: Any, items: Any, item_col: str, listed: Vocabulary, limits: dict[str, int]
) -> list[tuple[np.ndarray, np.ndarray, int, int]]:
    if not limits:
        return []
    rows = np.arange(listed.size, dtype=np.int32)
    if items is not None:
        what = "diversify: items"
        catalogue = Catalogue.read(align(items, item_col, listed, side="items", what="diversify"), item_col, what)
    elif isinstance(source, Recommender):
        rows = _model_rows(source, listed)
        catalogue = source._catalogue
    else:
        raise SchemaError(
            f"diversify: max_per names {count_of(len(limits), 'column')}, but there is no table of items; pass items=, or "
            "a model that was fitted with one"
        )
    caps = []
    for name, limit in limits.items():
        offsets, codes, size = values_of(catalogue, name, "diversify: max_per")
        counts = np.diff(offsets)[rows]
        ends = np.cumsum(counts)
        places = np.repeat(offsets[:-1][rows] - (ends - counts), counts) + np.arange(int(counts.sum()))
        caps.append((np.concatenate([[0], ends]).astype(np.int64), codes[places], size, limit))
    return caps
