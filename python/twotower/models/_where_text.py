"""The text of a condition: what Python's grammar lacks (names in backticks, `contains`) put into it, and back for messages."""

from __future__ import annotations

import ast
import re
import warnings

__all__ = ["parsed", "shown"]

# Far beyond any condition that a person writes, far below what parsing would choke on.
_LONGEST = 10_000
_EXAMPLE = "write it as in year >= 1990 and 'Drama' in genres"
# Text in quotes, a name in backticks, the word `contains`: what is found first wins, so that text stays as it is.
_PIECES = re.compile(r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|`([^`]*)`|\b(contains)\b|(<<)""", re.DOTALL)


def parsed(text: str, names: dict[str, str], what: str) -> ast.expr:
    """Parse a condition into an expression of Python's grammar, whatever that may be.

    Parameters
    ----------
    text : str
    names : dict
        Filled: the name that stands in the expression for a name in backticks -> that name.
    what : str
        Start of messages.

    Raises
    ------
    ValueError
        The text is no expression.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"{what} has {len(text)} characters, but must have at most {_LONGEST}; give a mask instead")

    def plain(match: re.Match[str]) -> str:
        quoted_text, name, contains, shift = match.groups()
        if shift is not None:
            raise ValueError(f"{what}: << is not accepted; {_EXAMPLE}")
        if name is not None:
            placeholder = next((key for key, other in names.items() if other == name), f"_column_{len(names)}_")
            names[placeholder] = name
            return placeholder
        if contains is not None:
            # An operator where something to contain stands before it; binds more tightly than comparisons do.
            before = match.string[: match.start()].rstrip()
            is_operator = bool(re.search(r"[\w'\"`)\]]$", before)) and not re.search(r"\b(and|or|not|in|is)$", before)
            return "<<" if is_operator else contains
        return quoted_text

    replaced = _PIECES.sub(plain, text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(replaced.strip(), mode="eval").body
    except SyntaxError as error:
        found = "= where == is meant" if re.search(r"(?<![=<>!:])=(?!=)", replaced) else error.msg
        raise ValueError(f"{what} is {text!r}, which is no condition ({found}); {_EXAMPLE}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{what} is {text[:80]!r}, which is no condition ({error}); {_EXAMPLE}") from None


def shown(node: ast.expr, names: dict[str, str]) -> str:
    """Write a node as the caller did, but for spaces and brackets."""
    text = ast.unparse(node)
    for placeholder, name in names.items():
        text = text.replace(placeholder, f"`{name}`")
    return text.replace(" << ", " contains ")
