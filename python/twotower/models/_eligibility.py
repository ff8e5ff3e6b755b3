"""Which items may be in whose list: what `recommend` is given as `items`, `exclude` and `where`, read into filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from twotower import frames
from twotower.errors import DataError, SchemaError, count_of, first_five
from twotower.ids import IdColumn
from twotower.item_lists import Filters, Lists, lists_of_pairs
from twotower.models import _where
from twotower.models._asked import Asked
from twotower.vocabulary import Vocabulary

if TYPE_CHECKING:
    from twotower.models._recommend import Recommender

__all__ = ["read"]


def read(model: Recommender, asked: Asked, *, items: Any, exclude: Any, where: Any) -> Filters:
    """Read the filters of one call; removed items are among what is left out.

    Parameters
    ----------
    model : Recommender
        Fitted.
    asked : Asked (n)
        Lists of single users are about these.
    items, exclude, where
        As `Recommender.recommend` is given them.

    Raises
    ------
    SchemaError, DataError, UnknownIdError, ValueError, TypeError
        See `Recommender.recommend`.

    Notes
    -----
    Cost: a sort of the pairs that are about users who are asked for.
    """
    masks = [] if model._available is None else [model._available != 0]
    allow = deny = None
    if items is not None:
        if _is_of_pairs(model, items):
            allow = _read_pairs(model, "items", items, asked)
        else:
            allowed = np.zeros(model._items.size, dtype=np.bool_)
            allowed[model._known_rows("recommend", "items", items, "item")] = True
            masks.append(allowed)
    if exclude is not None:
        if _is_of_pairs(model, exclude):
            deny = _read_pairs(model, "exclude", exclude, asked)
        else:
            denied = model._items.encode(model._given("recommend", "exclude", exclude, "item"), "recommend: exclude")
            masks.append(~np.bincount(denied[denied >= 0], minlength=model._items.size).astype(np.bool_))
    if where is not None:
        masks.append(_read_where(model, where))
    return Filters(np.logical_and.reduce(masks).astype(np.uint8) if masks else None, allow, deny)


def _is_of_pairs(model: Recommender, values: Any) -> bool:
    return frames.is_table(values) and model.user_col in frames.table(values, "recommend: items").columns


def _read_pairs(model: Recommender, name: str, values: Any, asked: Asked) -> Lists:
    """Read a frame of users and items as a list for each of the users who are asked for."""
    table = frames.table(values, f"recommend: {name}")
    what = [f"recommend: column {column!r} of {name}" for column in (model.user_col, model.item_col)]
    users, items = (
        _ids(table, column, f"recommend: {name}", place)
        for column, place in zip((model.user_col, model.item_col), what, strict=True)
    )
    if name == "items":
        item_rows = model._known_items(items, what[1], "leave them out, or fit with these items")
    else:
        item_rows = model._items.encode(items, what[1])
    # Users are told apart by the model's rows, or by their ids where some are not there in the model.
    everyone = model._users if (asked.rows >= 0).all() else Vocabulary.fit(asked.ids, missing="skip")
    codes = asked.rows if everyone is model._users else everyone.encode(asked.ids)
    owners = everyone.encode(users)
    wanted = np.zeros(everyone.size + 1, dtype=np.bool_)
    wanted[codes] = True
    wanted[-1] = False  # of code -1: a user without an id
    if len(users) and len(asked) and not (owners >= 0).any() and _family(users) != _family(asked.ids):
        raise SchemaError(
            f"{what[0]} holds {users.dtype.label} ids, but the users asked for are {asked.ids.dtype.label}; "
            "convert the column"
        )
    kept = np.flatnonzero(wanted[owners] & (item_rows >= 0))
    # One list more, which stays empty, for users without an id: -1 would be no list at all.
    lists = lists_of_pairs(owners[kept], item_rows[kept], everyone.size + 1, model._items.size)
    return Lists(np.where(codes < 0, everyone.size, codes).astype(np.int32), lists.offsets, lists.items)


def _ids(table: frames.Frame, column: str, where: str, what: str) -> IdColumn:
    ids = frames.ids(frames.column(table, column, where), what)
    gone = ids.missing_rows()
    if gone.size:
        raise DataError(
            f"{what} has no id in {count_of(gone.size, 'row')} (first: {first_five(gone.tolist())}); "
            "drop these rows or give them an id"
        )
    return ids


def _family(ids: IdColumn) -> str:
    return "number" if ids.dtype.kind in ("integer", "float") else ids.dtype.kind


def _read_where(model: Recommender, where: Any) -> np.ndarray:
    """Read a condition or a mask as bool (items,)."""
    what, size = "recommend: where", model._items.size
    if isinstance(where, str):
        return _where.mask_of(where, model._catalogue, (model.item_col, model._items.ids), what)
    mask = None if isinstance(where, bytes) or callable(where) or frames.is_table(where) else frames.ids(where, what)
    if mask is None or (mask.dtype.kind != "boolean" and len(mask)):
        got = type(where).__name__ if mask is None else f"{mask.dtype.label} {type(where).__name__}"
        raise TypeError(
            f'{what} is a {got}, but must be a condition such as "year >= 1990", or True and False for each of '
            "item_ids_"
        )
    if len(mask) != size:
        raise ValueError(
            f"{what} has {count_of(len(mask), 'entry', 'entries')}, but must have {size}: one for each of item_ids_"
        )
    found = (mask.values if mask.rows is None else np.append(mask.values, False)[mask.rows]).astype(np.bool_)
    found[mask.missing_rows()] = False
    return found
