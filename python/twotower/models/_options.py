"""Options by name: checked in one sentence each, and foreign names answered with ours."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import numbers
import operator
from collections.abc import Callable, Collection, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

# What other libraries call it -> what it is called here, the likeliest first.
FOREIGN_NAMES: dict[str, tuple[str, ...]] = {
    foreign: ours
    for ours, names in {
        ("dim",): "factors n_factors num_factors no_components n_components embedding_dim embedding_size embed_size d",
        ("epochs",): "iterations n_iter num_iterations n_epochs num_epochs max_iter",
        ("random_state",): "seed random_seed rng",
        ("n_jobs",): "num_threads n_threads nthreads threads num_workers workers",
        ("verbose",): "show_progress progress progress_bar",
        ("learning_rate",): "lr step_size",
        ("k",): "N n n_rec topk top_k num_items n_items",
        (
            "filter_seen",
        ): "filter_viewed filter_consumed filter_already_liked_items filter_already_liked filter_previous "
        "remove_seen exclude_seen mask_seen",
        ("items",): "items_to_recommend item_ids candidates allow allowed",
        ("exclude",): "filter_items items_to_exclude exclude_items deny denied",
        ("where",): "query condition predicate item_filter",
        ("on_unknown",): "cold_start on_unsupported_targets unknown",
        ("users", "user_col"): "user_ids user userid userId target_users",
        ("user_col",): "user_column user_key user_field",
        ("item_col",): "item item_column item_key item_field itemId",
        ("rating_col",): "rating_column label_col",
        ("weight_col",): "weight sample_weight weights",
        ("eval_set",): "eval_data validation_data valid valid_set",
        ("interactions",): "dataset ratings train X",
    }.items()
    for foreign in names.split()
}


def nearest(name: str, names: Collection[str]) -> str | None:
    """Find the one of `names` that `name` was most likely meant to be; None when nothing is near."""
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return found[0] if found else None


def quoted(names: Collection[str]) -> str:
    return ", ".join(repr(name) for name in names)


def named_options(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Answer an unknown keyword with the right one; every constructor and every public method with options wears this.

    Raises
    ------
    TypeError
        From the decorated function: "recommend: there is no option 'filter_viewed'; here it is called 'filter_seen'".
    """
    signature = inspect.signature(function)
    options = [name for name in signature.parameters if name != "self"]
    is_constructor = function.__name__ == "__init__"
    by_place = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in signature.parameters.values())

    @functools.wraps(function)
    def checked(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        where = type(args[0]).__name__ if is_constructor else function.__name__
        for name in kwargs:
            if name not in options:
                raise TypeError(f"{where}: there is no option {name!r}; {_right_name(name, options)}")
        if is_constructor and len(args) > by_place:
            raise TypeError(
                f"{where}: {args[by_place]!r} was given without a name, but every option must be given by name; "
                f"the options are {', '.join(options)}"
            )
        return function(*args, **kwargs)

    return checked


def _right_name(name: str, options: Sequence[str]) -> str:
    for ours in FOREIGN_NAMES.get(name, ()):
        if ours in options:
            return f"here it is called {ours!r}"
    near = nearest(name, options)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"the options are {', '.join(options)}"


class NotOffered:
    """A public method that a model has not got: for `hasattr` it is not there, and who asks for it is told what to do.

    Parameters
    ----------
    reason : str
        What follows "feature_importance: this Popularity ".
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        name = (type(instance) if owner is None else owner).__name__
        raise AttributeError(f"{self._name}: this {name} {self._reason}")


def check_count(where: str, name: str, value: object, *, minimum: int = 1) -> int:
    """`value` as an int of at least `minimum`; NumPy integers are fine."""
    try:
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{where}: {name} is {value!r}, but must be an integer of at least {minimum}") from None
    if count < minimum:
        raise ValueError(f"{where}: {name} is {count}, but must be at least {minimum}")
    return count


def check_number(
    where: str,
    name: str,
    value: object,
    *,
    above: float | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
) -> float:
    """`value` as a finite float that is above `above`, at least `minimum` and at most `maximum`."""
    limits = [
        f"{words} {limit:g}"
        for words, limit in (("above", above), ("at least", minimum), ("at most", maximum))
        if limit is not None
    ]
    wanted = " ".join(["a finite number", " and ".join(limits)]).strip()
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{where}: {name} is {value!r}, but must be {wanted}")
    number = float(value)
    inside = (
        (above is None or number > above)
        and (minimum is None or number >= minimum)
        and (maximum is None or number <= maximum)
    )
    if not math.isfinite(number) or not inside:
        raise ValueError(f"{where}: {name} is {number:g}, but must be {wanted}")
    return number


def check_choice(where: str, name: str, value: object, choices: Sequence[str]) -> str:
    if isinstance(value, str) and value in choices:
        return value
    near = nearest(value, choices) if isinstance(value, str) else None
    cure = "" if near is None else f"; did you mean {near!r}?"
    raise ValueError(f"{where}: {name} is {value!r}, but must be one of {quoted(choices)}{cure}")


def check_flag(where: str, name: str, value: object) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{where}: {name} is {value!r}, but must be True or False")
    return bool(value)


def check_column_name(where: str, name: str, value: object, *, optional: bool = False) -> Any:
    """`value` as a column's name; None passes where the column is optional."""
    if (optional and value is None) or (isinstance(value, str) and value):
        return value
    raise TypeError(f"{where}: {name} is {value!r}, but must be the name of a column{' or None' if optional else ''}")


def check_n_jobs(where: str, value: object) -> int:
    """Give the core's `num_threads`: -1 for every CPU this process may use, or a count."""
    try:
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if count != -1 and count < 1:
        raise ValueError(
            f"{where}: n_jobs is {value!r}, but must be -1 (every CPU this process may use) or an integer of at least 1"
        )
    return count
