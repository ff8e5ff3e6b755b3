"""The grammar of every estimator: options by name, no work before `fit`, copies by parameters, one file to keep."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from twotower import persistence, schema
from twotower.errors import DataError, NotFittedError
from twotower.models._options import nearest, quoted

if TYPE_CHECKING:
    from typing_extensions import Self

State = tuple[dict[str, Any], dict[str, np.ndarray]]

# Kind in a file -> class. Filled where a class is defined; `load` looks here and nowhere else, so a file cannot name
# code.
_KINDS: dict[str, type[Estimator]] = {}
# Options of the machine and not of the model: a file is the same bytes whatever they are.
_MACHINE_OPTIONS = frozenset({"n_jobs", "verbose"})


class Estimator:
    """Base of everything that has `fit`.

    A subclass

    - is defined with its kind, the name it has in files: `class Popularity(Recommender, kind="popularity")`;
    - writes its own `__init__` with keyword-only options under `@named_options`, which stores each under its own name,
      unchanged, and does nothing else;
    - checks options in `fit` with the `check_*` verbs of `_options`, and sets what it learned at the very end of `fit`,
      so that a `fit` that fails leaves the model as it was;
    - returns what it learned from `_state` and takes it back in `_restore`;
    - keeps what can be built again (an index) in `self._cache`, which copies and files leave out.
    """

    _kind: ClassVar[str | None] = None
    _cache: dict[str, Any]

    def __init_subclass__(cls, *, kind: str | None = None, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        # Never inherited: a file of a subclass must not open as its base.
        cls._kind = kind
        if kind is None:
            return
        known = _KINDS.get(kind)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(
                f"{cls.__name__}: kind is {kind!r}, but that is the kind of {known.__name__} already; choose another"
            )
        _KINDS[kind] = cls

    # --- parameters ---------------------------------------------------------------------------------------------------

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in parameters}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the options, as scikit-learn does.

        Parameters
        ----------
        deep : bool
            Add the options of estimators among the options, as `option__name`.

        Returns
        -------
        dict
            Name to value, the values themselves and not copies.
        """
        params = {name: getattr(self, name) for name in self._defaults()}
        if deep:
            for name, value in list(params.items()):
                if isinstance(value, Estimator):
                    params.update({f"{name}__{inner}": option for inner, option in value.get_params().items()})
        return params

    def set_params(self, **params: Any) -> Self:
        """Set options, as scikit-learn does; they count from the next `fit` on.

        Parameters
        ----------
        **params
            Name to value; `option__name` reaches into an estimator among the options.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A name is not an option; nothing is set then.
        """
        nested: dict[str, dict[str, Any]] = {}
        own = {}
        for name, value in params.items():
            head, separator, rest = name.partition("__")
            self._check_option(head)
            if separator:
                nested.setdefault(head, {})[rest] = value
            else:
                own[name] = value
        for head, inner in nested.items():
            target = own.get(head, getattr(self, head))
            if not isinstance(target, Estimator):
                raise ValueError(f"set_params: {head} is {target!r}, but must be an estimator to have {quoted(inner)}")
            for name in inner:
                target._check_option(name.partition("__")[0])
        for name, value in own.items():
            setattr(self, name, value)
        for head, inner in nested.items():
            getattr(self, head).set_params(**inner)
        return self

    def _check_option(self, name: str) -> None:
        options = self._defaults()
        if name not in options:
            near = nearest(name, options)
            cure = f"did you mean {near!r}?" if near is not None else f"the options are {', '.join(options)}"
            raise ValueError(f"set_params: {type(self).__name__} has no option {name!r}; {cure}")

    def __repr__(self) -> str:
        defaults = self._defaults()
        changed = (
            (name, value) for name, value in self.get_params(deep=False).items() if not _same(value, defaults[name])
        )
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in changed)})"

    # --- fitted or not ------------------------------------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        raise NotImplementedError

    def _check_fitted(self, where: str) -> None:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(f"{where}: this {type(self).__name__} is not fitted yet; call fit(interactions) first")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_cache"} | {"_cache": {}}

    # --- one file -----------------------------------------------------------------------------------------------------

    def _state(self) -> State:
        """Give what this class learned: what JSON can hold, and arrays by name."""
        raise NotImplementedError

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `_state` gave; raises KeyError or ValueError where something is missing or does not fit."""
        raise NotImplementedError

    def _shared_state(self) -> State:
        """Give what the base classes learned; apart, so that a subclass names its own parts as it likes."""
        return {}, {}

    def _restore_shared(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `_shared_state` gave; called before `_restore`."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file, which `twotower.load` opens without the training data.

        Parameters
        ----------
        path : str or path
            The file; one that exists is replaced, in one step, at the end.

        Raises
        ------
        NotFittedError
            Before `fit`.
        DataError
            The file cannot be written, or an option is something that a file cannot hold.

        Notes
        -----
        Weights, ids, seen lists, schema and options, but not `n_jobs` and `verbose`, which are of the machine: the same
        model is the same bytes whichever machine fitted it. Nothing in the file is code.
        """
        self._check_fitted("save")
        persistence.write(path, *_content(self))


def _content(model: Estimator) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Kind, description and arrays of a fitted model, those of the models among its options included."""
    name = type(model).__name__
    if model._kind is None:
        raise TypeError(
            f'save: {name} has no kind of its own; define it as class {name}(..., kind="...") to give it one'
        )
    arrays: dict[str, np.ndarray] = {}
    params = {
        option: _to_json(option, value, arrays)
        for option, value in model.get_params(deep=False).items()
        if option not in _MACHINE_OPTIONS
    }
    meta: dict[str, Any] = {"params": params}
    for part, (part_meta, part_arrays) in (("shared", model._shared_state()), ("state", model._state())):
        meta[part] = part_meta
        arrays.update(persistence.prefix(part, part_arrays))
    return model._kind, meta, arrays


def fresh(model: Any) -> Any:
    """An unfitted model with the same options."""
    return type(model)(**model.get_params(deep=False))


def load(path: str | os.PathLike[str]) -> Any:
    """Open a model that `save` wrote.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    model
        Of the class that was saved, fitted, with its options; `n_jobs` and `verbose` have their defaults.

    Raises
    ------
    DataError
        There is no such file, it is damaged, it is not ours, a newer version wrote it, or it holds a kind of model that
        is not defined in this process.
    """
    kind, meta, arrays = persistence.read(path)
    return _from_content(f"load: {os.fspath(path)!r}", kind, meta, arrays)


def _from_content(what: str, kind: str, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    """Undo `_content`."""
    cls = _KINDS.get(kind)
    if cls is None:
        raise DataError(
            f"{what} holds a model of kind {kind!r}, but the kinds known here are "
            f"{quoted(sorted(_KINDS))}; import the module that defines it first"
        )
    try:
        params = {option: _from_json(value, what, arrays) for option, value in meta["params"].items()}
        model = cls(**params)
        model._restore_shared(meta["shared"], persistence.unprefix("shared", arrays))
        model._restore(meta["state"], persistence.unprefix("state", arrays))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{what} does not hold a whole {cls.__name__} ({error}); save the model again") from error
    return model


def _same(value: Any, default: Any) -> bool:
    if value is default:
        return True
    try:
        return type(value) is type(default) and bool(value == default)
    except (TypeError, ValueError):
        return False


def _to_json(option: str, value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """`value` in what JSON has; what JSON lacks becomes an object of one key, which says what it is.

    The arrays of a model go into `arrays`, under its option's name.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [_to_json(f"{option}.{place}", item, arrays) for place, item in enumerate(value)]
    if isinstance(value, tuple):
        return {"tuple": [_to_json(f"{option}.{place}", item, arrays) for place, item in enumerate(value)]}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _to_json(f"{option}.{key}", item, arrays) for key, item in value.items()}}
    if type(value) in schema.KINDS.values():
        return {"column": schema.column_to_meta(value)}
    if isinstance(value, Estimator) and value.__sklearn_is_fitted__():
        kind, meta, own = _content(value)
        arrays.update(persistence.prefix(option, own))
        return {"model": {"option": option, "kind": kind, "meta": meta}}
    raise DataError(
        f"save: {option.partition('.')[0]} is {value!r}, which a file cannot hold; use numbers, strings, lists and column "
        "kinds"
    )


def _from_json(value: Any, what: str, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_from_json(item, what, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tuple":
        return tuple(_from_json(item, what, arrays) for item in content)
    if kind == "float":
        return float(content)
    if kind == "column":
        return schema.column_from_meta(content)
    if kind == "model":
        own = persistence.unprefix(content["option"], arrays)
        return _from_content(what, content["kind"], content["meta"], own)
    return {key: _from_json(item, what, arrays) for key, item in content.items()}
