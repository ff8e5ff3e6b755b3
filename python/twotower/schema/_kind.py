"""What the kinds of columns share: how they are shown, and how their options are checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields

from twotower.errors import SchemaError

__all__ = ["Kind"]


class Kind:
    """What all kinds share: `kind` is the name of the class; shown as it was written, without what is left at its default."""

    column: str

    @property
    def kind(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        shown = [repr(self.column)]
        for option in fields(self)[1:]:  # type: ignore[arg-type]
            value = getattr(self, option.name)
            if option.default is MISSING or value != option.default:
                shown.append(f"{option.name}={value!r}")
        return f"{self.kind}({', '.join(shown)})"

    def _refuse(self, option: str, wanted: str) -> SchemaError:
        return SchemaError(f"{self.kind}({self.column!r}): {option} is {getattr(self, option)!r}, but must be {wanted}")

    def _check_counts(self, *options: str) -> None:
        for option in options:
            value = getattr(self, option)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise self._refuse(option, "a whole number of at least 1")

    def _check_choice(self, option: str, choices: Sequence[str]) -> None:
        if getattr(self, option) not in choices:
            named = [f'"{choice}"' for choice in choices]
            raise self._refuse(option, f"{', '.join(named[:-1])} or {named[-1]}")

    def _check_flags(self, *options: str) -> None:
        for option in options:
            if not isinstance(getattr(self, option), bool):
                raise self._refuse(option, "True or False")

    def _check_names(self, *options: str) -> None:
        for option in options:
            value = getattr(self, option)
            if value is not None and (not isinstance(value, str) or not value):
                raise self._refuse(option, "a name or None")

    def _check_share(self, option: str, *, whole: bool = False) -> None:
        """Check a number from 0 to 1; 1 itself counts only with `whole`."""
        value = getattr(self, option)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 <= value <= 1 or (value == 1 and not whole):
            raise self._refuse(option, "a number from 0 to 1" if whole else "a number from 0 to below 1")

    def _check_span(self, option: str, most: int) -> None:
        """Check a pair (shortest, longest), which JSON brings as a list."""
        value = getattr(self, option)
        if value is None:
            return
        if isinstance(value, Sequence) and not isinstance(value, str):
            value = tuple(value)
            object.__setattr__(self, option, value)
        whole = isinstance(value, tuple) and len(value) == 2 and all(type(n) is int for n in value)
        if not whole or not 1 <= value[0] <= value[1] <= most:
            raise self._refuse(option, f"a pair (shortest, longest) from 1 to {most}, such as (1, 2), or None")
