"""From what a model was told about its columns to the columns that take part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twotower import frames
from twotower.errors import SchemaError
from twotower.schema._kind import Kind
from twotower.schema.infer import LeftOut, infer, kind_of_named
from twotower.schema.kinds import KINDS, Categories, Column, History, Id
from twotower.schema.shown import Side

__all__ = ["Resolved", "resolve"]


@dataclass(frozen=True)
class Resolved:
    """What one side is made of.

    Parameters
    ----------
    id : Id
        Its id column with the options that were given for it.
    columns : tuple of columns
        Its features, in order.
    left_out : tuple of LeftOut
        The columns of the table that take no part.
    history : History, optional
        Only of the users.
    """

    id: Id
    columns: tuple[Column, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    history: History | None = None


def resolve(
    features: Sequence[Column | Id | History | str] | None,
    frame: frames.Frame | None,
    id_col: str,
    *,
    side: Side,
    reserved: Sequence[str | None] = (),
) -> Resolved:
    """Decide which columns of a side take part.

    Parameters
    ----------
    features : sequence of columns or names, or None
        None takes every column of the table that `infer` has a use for (of the interactions: none), an empty list none.
        A name alone leaves only the kind to be guessed. The id column always takes part, named or not.
    frame : narwhals.DataFrame or None
        The table of the side, if there is one; for the context the interactions.
    id_col : str
        Its id column; for the context that of the users.
    side : {"users", "items", "context"}
    reserved : sequence of str or None
        Columns of the interactions that cannot be context: the other ids, ratings and weights. None entries are passed
        over.

    Returns
    -------
    Resolved
        A History needs no column of its name; where there is one it belongs to the history.

    Raises
    ------
    SchemaError
        A column that is not there or named twice, a feature without a table, a name whose dtype has no kind, a history
        of items or of the context, a context of ids, ratings or weights.
    TypeError
        Something that is neither a column nor a name.
    """
    option = "context_features" if side == "context" else f"{side[:-1]}_features"
    if features is None:
        if frame is None or side == "context":
            return Resolved(Id(id_col))
        columns, left_out = infer(frame, id_col)
        return Resolved(Id(id_col), tuple(columns), tuple(left_out))
    if isinstance(features, (str, Kind)) or not isinstance(features, Sequence):
        raise TypeError(f"fit: {option} is {features!r}, but must be a list of columns; write [{features!r}]")
    table = "interactions" if side == "context" else side
    own, history = Id(id_col), None
    chosen: list[Column] = []
    for feature in features:
        if not isinstance(feature, (str, *KINDS.values())):
            kinds = ", ".join(kind for kind in KINDS if kind not in ("Id", "History"))
            raise TypeError(f"fit: {option} holds {feature!r}, but must hold {kinds} or names of columns")
        name = feature if isinstance(feature, str) else feature.column
        if side == "context" and (name == id_col or name in reserved or isinstance(feature, Id)):
            raise SchemaError(
                f"fit: context_features holds {feature!r}, but ids, ratings and weights are not known when lists are "
                "asked for; leave it out"
            )
        if isinstance(feature, History):
            if side != "users":
                raise SchemaError(f"fit: {option} holds {feature!r}, but only users have one; move it to user_features")
            if history is not None:
                raise SchemaError(f"fit: {option} has more than one History; keep one of them")
            history = feature
            continue
        if isinstance(feature, Id) or name == id_col:
            if name != id_col or not isinstance(feature, (Id, str)):
                raise SchemaError(
                    f"fit: {option} holds {feature!r}, but the ids of {side} are in {id_col!r}; use Id({id_col!r})"
                )
            own = feature if isinstance(feature, Id) else own
            continue
        if frame is None:
            raise SchemaError(f"fit: {option} names {name!r}, but fit got no {table} table; pass {table}=")
        if any(name == c.column for c in chosen):
            raise SchemaError(f"fit: {option} names {name!r} more than once; keep one of them")
        series = frames.column(frame, name, f"fit: {table}")
        chosen.append(kind_of_named(series, name, table) if isinstance(feature, str) else feature)
    taken = {id_col, *(c.column for c in chosen), *(c.weights for c in chosen if isinstance(c, Categories))}
    taken |= {history.column} if history else set()
    rest = [] if frame is None or side == "context" else [c for c in frame.columns if c not in taken]
    return Resolved(own, tuple(chosen), tuple(LeftOut(c, f"not in {option}") for c in rest), history)
