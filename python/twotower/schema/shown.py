"""What became of the columns of a fitted model, printed as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Field", "Schema", "Side"]

Side: TypeAlias = Literal["users", "items", "context"]


@dataclass(frozen=True)
class Field:
    """One line of a schema.

    Parameters
    ----------
    kind : str
        Name of the kind, or "left out".
    side : {"users", "items", "context"}
    column : str
        The column; for one that is used in several ways with the way, as in "timestamp.hour".
    values : int or None
        Number of different values that have a code of their own; None for quantities.
    missing : float or None, 0 to 1
        Share of the rows without a value.
    note : str
        Anything worth knowing: the range of a quantity, why a column was left out.
    width : int or None
        Length of the vector that the column becomes.
    memory : int or None, bytes
        Of the learned numbers that turn the column into vectors.
    """

    kind: str
    side: Side
    column: str
    values: int | None = None
    missing: float | None = None
    note: str = ""
    width: int | None = None
    memory: int | None = None


@dataclass(frozen=True, repr=False)
class Schema:
    """What a fitted model made of the columns; printed as a table.

    Parameters
    ----------
    fields : tuple of Field

    Examples
    --------
    >>> Schema((Field("Id", "users", "user_id", 943, 0.0, "", 64, 241_664), Field("Numeric", "users", "age", None, 0.021)))
    side   column   kind     values  missing  width   memory  note
    users  user_id  Id          943       0%     64  236 KiB
    users  age      Numeric       -     2.1%      -        -
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

    @property
    def context(self) -> tuple[Field, ...]:
        """The lines of the interactions' own columns."""
        return tuple(f for f in self.fields if f.side == "context")

    def __repr__(self) -> str:
        rows = [_HEAD, *map(_cells, self.fields)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
        lines = (
            "  ".join(c.rjust(w) if i in _RIGHT else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True)))
            for r in rows
        )
        return "\n".join(line.rstrip() for line in lines)


_HEAD = ("side", "column", "kind", "values", "missing", "width", "memory", "note")
_RIGHT = (3, 4, 5, 6)


def _cells(field: Field) -> tuple[str, ...]:
    missing = "-" if field.missing is None else _percent(field.missing)
    memory = "-" if field.memory is None else _bytes(field.memory)
    return (
        field.side,
        str(field.column),
        field.kind,
        _count(field.values),
        missing,
        _count(field.width),
        memory,
        field.note,
    )


def _count(number: int | None) -> str:
    return "-" if number is None else str(number)


def _percent(share: float) -> str:
    """Write a share in percent with one digit, never rounded to none or all when it is not."""
    if share in (0.0, 1.0):
        return f"{share:.0%}"
    return f"{min(max(share, 0.001), 0.999):.1%}"


def _bytes(count: int) -> str:
    """Write a size with three digits or so: 512 B, 236 KiB, 1.5 MiB."""
    size, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1023.5 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" or size >= 9.95 else f"{size:.1f} {unit}"
