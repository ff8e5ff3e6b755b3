"""Conditions over the columns of the items: `year >= 1990 and 'Drama' in genres`.

A text is parsed with Python's own grammar, of which only what `Recommender.recommend` lists is accepted; nothing is
ever run: every node is computed here, over whole columns. What is missing makes every comparison false.
"""

from __future__ import annotations

import ast
import datetime as dt
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from twotower.errors import SchemaError
from twotower.ids import Array, IdColumn
from twotower.models._catalogue import Catalogue, Column, kind_word
from twotower.models._options import nearest, quoted
from twotower.models._where_text import parsed, shown

__all__ = ["mask_of"]


def mask_of(text: str, catalogue: Catalogue, ids: tuple[str, IdColumn], what: str) -> Array:
    """Compute a condition for every item.

    Parameters
    ----------
    text : str
        See the notes of `Recommender.recommend`.
    catalogue : Catalogue
    ids : (str, IdColumn)
        The item column and the ids, which are a column too.
    what : str
        Start of messages, such as "recommend: where".

    Returns
    -------
    bool ndarray (items,)

    Raises
    ------
    ValueError
        The text is no condition, or has something that is not accepted (calls, attributes).
    SchemaError
        A column does not exist or is not kept; values that cannot be compared.
    """
    names: dict[str, str] = {}
    tree = parsed(text, names, what)
    try:
        return _Condition(catalogue, ids, names, what).condition(tree)
    except RecursionError:
        raise ValueError(f"{what} is {text[:80]!r} and more, nested too deeply; give where as a mask") from None


@dataclass(frozen=True, eq=False)
class _Value:
    """Something computed: a constant, or an entry an item.

    `data` of constants is a plain value; of columns an array: numbers, booleans, datetime64 in UTC or text as objects
    that `rows` picks from (None: one an item). Lists have `offsets` too.
    """

    kind: str  # number, boolean, time, text, list, empty; constants too: tuple, none
    data: Any
    missing: Array | None = None
    rows: Array | None = None
    offsets: Array | None = None
    zone: str = ""

    @property
    def is_constant(self) -> bool:
        return not isinstance(self.data, np.ndarray)

    def spread(self) -> Any:
        """One entry an item; the plain value of a constant."""
        if self.rows is None:
            return self.data
        # Without any value every entry is missing, and what stands there is never looked at.
        return self.data[self.rows] if len(self.data) else np.full(len(self.rows), "" if self.kind == "text" else 0)


_COMPARISONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide, ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod, ast.Pow: np.power,
}  # fmt: skip
_SHOWN = {"number": "a number", "boolean": "a boolean", "time": "a time", "text": "text", "list": "a list",
          "empty": "missing everywhere", "tuple": "a list of constants", "none": "None"}  # fmt: skip


class _Condition:
    """The walk over one parsed text."""

    def __init__(self, catalogue: Catalogue, ids: tuple[str, IdColumn], names: dict[str, str], what: str) -> None:
        self.catalogue, self.ids, self.names, self.what = catalogue, ids, names, what
        self.size = catalogue.size

    def condition(self, node: ast.expr) -> Array:
        """Compute a node that must be true or false, bool (items,)."""
        if isinstance(node, ast.BoolOp):
            parts = [self.condition(value) for value in node.values]
            together: Array = (np.logical_and if isinstance(node.op, ast.And) else np.logical_or).reduce(parts)
            return together
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.condition(node.operand)
        value = self.value(node)
        if value.kind == "empty":
            return np.zeros(self.size, dtype=np.bool_)
        if value.kind != "boolean":
            raise self._refusal(
                f"{self._shown(node)} is {_SHOWN[value.kind]}, but must be true or false; compare it, as in year >= 1990",
                SchemaError,
            )
        found = np.broadcast_to(np.asarray(value.spread(), dtype=np.bool_), (self.size,)).copy()
        if value.missing is not None:
            found[value.missing] = False
        return found

    def value(self, node: ast.expr) -> _Value:
        """Compute any node."""
        if isinstance(node, ast.Name):
            return self._column(self.names.get(node.id, node.id))
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            return _Value("tuple", tuple(self._listed(element) for element in node.elts))
        if isinstance(node, ast.Compare):
            return _Value("boolean", self._compared(node))
        if isinstance(node, ast.BoolOp) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)):
            return _Value("boolean", self.condition(node))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            return self._computed(np.negative if isinstance(node.op, ast.USub) else np.positive, node.operand)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift):
            return _Value("boolean", self._contained(node.right, node.left))
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            return self._computed(_ARITHMETIC[type(node.op)], node.left, node.right)
        raise self._refusal_of(node)

    # --- leaves -------------------------------------------------------------------------------------------------------

    def _column(self, name: str) -> _Value:
        column = self.catalogue.columns.get(name)
        if column is None and name == self.ids[0] and self.ids[1].dtype.kind not in ("object", "bytes", "decimal"):
            column = Column(self.ids[1])
        if column is not None:
            missing = column.missing
            values = column.values
            return _Value(
                column.kind, values.values, missing if missing.any() else None, values.rows, column.offsets,
                values.dtype.zone,
            )  # fmt: skip
        left_out = self.catalogue.left_out.get(name)
        if left_out is not None:
            raise self._refusal(
                f"column {name!r} of the items holds {kind_word(left_out)}, which are not kept; "
                "give where as a mask over item_ids_",
                SchemaError,
            )
        if not self.catalogue.columns and name != self.ids[0]:
            raise self._refusal(
                f"there is no column {name!r}, since the model was fitted without a table of items that has columns; "
                "pass items= to fit, or give where as a mask over item_ids_",
                SchemaError,
            )
        known = [*self.catalogue.columns, self.ids[0]]
        near = nearest(name, known)
        cure = f"did you mean {near!r}?" if near is not None else f"the columns are {quoted(known[:20])}"
        raise self._refusal(f"there is no column {name!r} among the items; {cure}", SchemaError)

    def _constant(self, node: ast.Constant) -> _Value:
        value = node.value
        if value is None:
            return _Value("none", None)
        if isinstance(value, bool):
            return _Value("boolean", value)
        if isinstance(value, int):
            # NumPy compares its integers with any of Python's, floats with those that fit one.
            return _Value("number", value if abs(value) < 2**63 else float(np.inf if value > 0 else -np.inf))
        if isinstance(value, float):
            return _Value("number", value)
        if isinstance(value, str):
            return _Value("text", value)
        raise self._refusal_of(node)

    def _listed(self, node: ast.expr) -> _Value:
        value = self.value(node)
        if not value.is_constant or value.kind == "tuple":
            raise self._refusal(f"{self._shown(node)} stands in a list, where only constants are accepted; use or")
        return value

    # --- operators ----------------------------------------------------------------------------------------------------

    def _computed(self, function: Callable[..., Any], *nodes: ast.expr) -> _Value:
        numbers, missing = [], np.zeros(self.size, dtype=np.bool_)
        for node in nodes:
            value = self.value(node)
            if value.kind not in ("number", "boolean", "empty"):
                raise self._refusal(
                    f"{self._shown(node)} is {_SHOWN[value.kind]}, but arithmetic needs numbers", SchemaError
                )
            if value.missing is not None:
                missing |= value.missing
            numbers.append(
                np.float64(value.data)
                if value.is_constant
                else np.full(self.size, np.nan)
                if value.kind == "empty"
                else value.spread().astype(np.float64)
            )
        with np.errstate(all="ignore"):
            found = function(*numbers)
        if not isinstance(found, np.ndarray):
            return _Value("number", float(found))
        missing |= np.isnan(found)
        return _Value("number", found, missing if missing.any() else None)

    def _compared(self, node: ast.Compare) -> Array:
        found = np.ones(self.size, dtype=np.bool_)
        nodes = [node.left, *node.comparators]
        for sign, left, right in zip(node.ops, nodes, nodes[1:], strict=False):
            if isinstance(sign, (ast.In, ast.NotIn)):
                found &= self._contained(left, right, negated=isinstance(sign, ast.NotIn))
            else:
                found &= self._pair(sign, left, right)
        return found

    def _pair(self, sign: ast.cmpop, left: ast.expr, right: ast.expr) -> Array:
        one, other = self.value(left), self.value(right)
        if "none" in (one.kind, other.kind):
            return self._is_none(sign, left if other.kind == "none" else right)
        if isinstance(sign, (ast.Is, ast.IsNot)):
            raise self._refusal("is and is not are for None only; write == or !=")
        if "empty" in (one.kind, other.kind):
            return np.zeros(self.size, dtype=np.bool_)
        if one.kind == "time" and other.kind == "text":
            other = self._time(other, right, one)
        elif one.kind == "text" and other.kind == "time":
            one = self._time(one, left, other)
        kinds = {value.kind.replace("boolean", "number") for value in (one, other)}
        if len(kinds) > 1 or kinds & {"list", "tuple"}:
            raise self._refusal(
                f"{self._shown(left)} is {_SHOWN[one.kind]} and {self._shown(right)} is {_SHOWN[other.kind]}, "
                f"which cannot be compared; {_cure(one, other)}",
                SchemaError,
            )
        return self._present(_compare(_COMPARISONS[type(sign)], one, other), one, other)

    def _is_none(self, sign: ast.cmpop, node: ast.expr) -> Array:
        if not isinstance(sign, (ast.Is, ast.IsNot, ast.Eq, ast.NotEq)):
            raise self._refusal(f"{self._shown(node)} is compared with None by size; write is None or is not None")
        value = self.value(node)
        missing = np.zeros(self.size, dtype=np.bool_) if value.missing is None else value.missing
        if value.kind in ("empty", "none"):
            missing = np.ones(self.size, dtype=np.bool_)
        return missing if isinstance(sign, (ast.Is, ast.Eq)) else ~missing

    def _contained(self, left: ast.expr, right: ast.expr, *, negated: bool = False) -> Array:
        one, other = self.value(left), self.value(right)
        if "empty" in (one.kind, other.kind):
            return np.zeros(self.size, dtype=np.bool_) if other.kind != "empty" else np.full(self.size, negated)
        if other.kind == "list" and one.is_constant and one.kind not in ("tuple", "none"):
            return self._in_lists(one, left, other, right) ^ negated
        if other.kind == "tuple" and one.kind in ("number", "boolean", "text", "time"):
            found = np.zeros(self.size, dtype=np.bool_)
            for value in other.data:
                if value.kind == "none":
                    continue
                constant = self._time(value, right, one) if (one.kind, value.kind) == ("time", "text") else value
                if constant.kind.replace("boolean", "number") == one.kind.replace("boolean", "number"):
                    found |= np.asarray(_compare(operator.eq, one, constant))
            return self._present(found ^ negated, one)
        if other.kind == "text" and one.kind == "text" and one.is_constant:
            found = _of_distinct(other, lambda text: one.data in text)
            return self._present(np.asarray(found) ^ negated, other)
        raise self._refusal(
            f"{self._shown(left)} is {_SHOWN[one.kind]} and {self._shown(right)} is {_SHOWN[other.kind]}, but in needs "
            "a constant in a column of lists, a column in a list of constants, or text in text",
            SchemaError,
        )

    def _in_lists(self, one: _Value, left: ast.expr, other: _Value, right: ast.expr) -> Array:
        assert other.offsets is not None
        if not len(other.data):
            return np.zeros(self.size, dtype=np.bool_)
        elements = {"O": "text", "b": "boolean", "M": "time"}.get(other.data.dtype.kind, "number")
        if elements == "time" and one.kind == "text":
            one = self._time(one, left, other)
        if elements.replace("boolean", "number") != one.kind.replace("boolean", "number"):
            raise self._refusal(
                f"{self._shown(left)} is {_SHOWN[one.kind]}, but the lists of {self._shown(right)} hold "
                f"{kind_word(elements)}",
                SchemaError,
            )
        hits = np.asarray(other.data == one.data)
        if other.rows is not None:
            hits = hits[other.rows]
        running = np.concatenate([[0], np.cumsum(hits)])
        return running[other.offsets[1:]] > running[other.offsets[:-1]]

    def _present(self, found: Any, *values: _Value) -> Array:
        """Spread over the items, and false where one of the values is missing."""
        result = np.broadcast_to(np.asarray(found, dtype=np.bool_), (self.size,)).copy()
        for value in values:
            if value.missing is not None:
                result[value.missing] = False
        return result

    def _time(self, text: _Value, node: ast.expr, beside: _Value) -> _Value:
        """Read text beside a time as a time: in UTC, as the column is kept."""
        if not text.is_constant:
            raise self._refusal(
                f"{self._shown(node)} is text and stands beside a time; convert the column", SchemaError
            )
        written = text.data.strip()
        try:
            if re.fullmatch(r"\d{4}(-\d\d)?", written):  # a year or a month: its first day
                return _Value("time", np.datetime64(written, "D"))
            moment = dt.datetime.fromisoformat(written)
        except ValueError:
            message = f"{text.data!r} is no time; write it as in '1999-12-31' or '1999-12-31 23:59:00'"
            raise self._refusal(message) from None
        if moment.tzinfo is not None:
            moment = moment.astimezone(dt.timezone.utc).replace(tzinfo=None)
        return _Value("time", np.datetime64(moment, "us"))

    # --- sentences ----------------------------------------------------------------------------------------------------

    def _shown(self, node: ast.expr) -> str:
        return shown(node, self.names)

    def _refusal(self, message: str, error: type[Exception] = ValueError) -> Exception:
        return error(f"{self.what}: {message}")

    def _refusal_of(self, node: ast.expr) -> Exception:
        cures: dict[Any, str] = {ast.BitAnd: "and", ast.BitOr: "or", ast.Invert: "not"}
        cure = cures.get(type(getattr(node, "op", None)))
        if cure is not None:
            return self._refusal(f"{self._shown(node)} has &, | or ~, which are not accepted; write {cure} instead")
        word = {
            ast.Call: "a call", ast.Attribute: "an attribute", ast.Subscript: "a subscript", ast.Lambda: "a function",
            ast.IfExp: "an if", ast.JoinedStr: "a formatted text",
        }.get(type(node), "something else")  # fmt: skip
        return self._refusal(
            f"{self._shown(node)} is {word}, which is not accepted; a condition has columns, constants, comparisons, "
            "and, or, not, in, is None and arithmetic"
        )


def _compare(function: Callable[[Any, Any], Any], one: _Value, other: _Value) -> Any:
    if one.kind == "text" and (one.is_constant or other.is_constant) and not (one.is_constant and other.is_constant):
        column, constant = (other, one.data) if one.is_constant else (one, other.data)
        compare = (lambda v: function(constant, v)) if one.is_constant else (lambda v: function(v, constant))
        return _of_distinct(column, compare)
    a, b = one.spread(), other.spread()
    if one.kind == "text" and not one.is_constant:
        # Missing entries have other texts' places; what comes out for them is passed over.
        return np.fromiter(map(function, a.tolist(), b.tolist()), dtype=np.bool_, count=len(a))
    with np.errstate(all="ignore"):
        return function(a, b)


def _of_distinct(column: _Value, function: Callable[[Any], bool]) -> Any:
    """Ask something of every text: of each distinct one once."""
    if column.is_constant:
        return function(column.data)
    found = np.fromiter(map(function, column.data.tolist()), dtype=np.bool_, count=len(column.data))
    # The last entry answers -1, a missing row.
    return found if column.rows is None else np.append(found, False)[column.rows]


def _cure(one: _Value, other: _Value) -> str:
    kinds = {one.kind, other.kind}
    if "list" in kinds:
        return "write 'Drama' in genres to look into lists"
    if "tuple" in kinds:
        return "write in"
    if "time" in kinds:
        return "write times as text, such as '1999-12-31'"
    return "write numbers without quotes and text with them"
