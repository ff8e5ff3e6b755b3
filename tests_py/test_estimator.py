"""The grammar of estimators, on classes made for the purpose: no data, no core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from conformance import exactly
from twotower import schema
from twotower.errors import DataError, NotFittedError
from twotower.models import _options, load
from twotower.models._estimator import _KINDS, Estimator
from twotower.models._options import named_options


class Counter(Estimator, kind="test counter"):
    @named_options
    def __init__(
        self, *, dim: Any = 3, columns: Any = None, inner: Any = None, n_jobs: int = -1, verbose: int = 1
    ) -> None:
        self.dim = dim
        self.columns = columns
        self.inner = inner
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, values: list[int]) -> Counter:
        self.total_ = np.array([sum(values)])
        self._cache = {"built": object()}
        return self

    @named_options
    def ask(self, k: int = 10, *, filter_seen: bool = True) -> tuple[int, bool]:
        self._check_fitted("ask")
        return k, filter_seen

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "total_")

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"note": "counted"}, {"total": self.total_}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        assert meta["note"] == "counted"
        self.total_ = arrays["total"]


# --- options by name --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"factors": 8}, "Counter: there is no option 'factors'; here it is called 'dim'"),
        ({"no_components": 8}, "Counter: there is no option 'no_components'; here it is called 'dim'"),
        ({"num_threads": 8}, "Counter: there is no option 'num_threads'; here it is called 'n_jobs'"),
        ({"show_progress": True}, "Counter: there is no option 'show_progress'; here it is called 'verbose'"),
        ({"column": 8}, "Counter: there is no option 'column'; did you mean 'columns'?"),
        # A foreign name whose counterpart this class does not have.
        (
            {"iterations": 8},
            "Counter: there is no option 'iterations'; the options are dim, columns, inner, n_jobs, verbose",
        ),
    ],
)
def test_unknown_options_are_answered_with_the_right_one(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TypeError) as caught:
        Counter(**given)
    assert str(caught.value) == sentence


def test_options_without_a_name_are_refused() -> None:
    with pytest.raises(TypeError) as caught:
        Counter(8)  # type: ignore[misc]
    assert str(caught.value) == (
        "Counter: 8 was given without a name, but every option must be given by name; "
        "the options are dim, columns, inner, n_jobs, verbose"
    )


def test_methods_answer_foreign_names_too() -> None:
    model = Counter().fit([1])
    assert model.ask(3, filter_seen=False) == (3, False)
    with pytest.raises(TypeError) as caught:
        model.ask(topk=3)  # type: ignore[call-arg]
    assert str(caught.value) == "ask: there is no option 'topk'; here it is called 'k'"


def test_every_foreign_name_leads_to_names_of_ours() -> None:
    ours = {name for names in _options.FOREIGN_NAMES.values() for name in names}
    assert not ours & set(_options.FOREIGN_NAMES)
    assert all(name.isidentifier() for name in ours)


# --- parameters -------------------------------------------------------------------------------------------------------


def test_get_params_reaches_into_estimators_among_the_options() -> None:
    inner = Counter(dim=5)
    model = Counter(inner=inner)
    assert model.get_params(deep=False) == {"dim": 3, "columns": None, "inner": inner, "n_jobs": -1, "verbose": 1}
    assert model.get_params()["inner__dim"] == 5
    assert model.set_params(inner__dim=7, dim=1) is model
    assert (model.dim, inner.dim) == (1, 7)
    fresh = Counter(dim=9)
    model.set_params(inner=fresh, inner__dim=11)
    assert (model.inner, fresh.dim, inner.dim) == (fresh, 11, 7)
    # The new one decides what is an option, and is not touched by a mistake.
    with pytest.raises(
        ValueError, match=exactly("set_params: inner is 'none', but must be an estimator to have 'dim'")
    ):
        model.set_params(inner="none", inner__dim=13)
    assert (model.inner, fresh.dim) == (fresh, 11)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"dimm": 4}, "set_params: Counter has no option 'dimm'; did you mean 'dim'?"),
        ({"xyz": 4}, "set_params: Counter has no option 'xyz'; the options are dim, columns, inner, n_jobs, verbose"),
        ({"inner__dimm": 4}, "set_params: Counter has no option 'dimm'; did you mean 'dim'?"),
        ({"dim__x": 4}, "set_params: dim is 3, but must be an estimator to have 'x'"),
    ],
)
def test_set_params_names_the_bad_key_and_sets_nothing(given: dict[str, Any], sentence: str) -> None:
    model = Counter(inner=Counter())
    before = model.get_params()
    with pytest.raises(ValueError, match=exactly(sentence)):
        model.set_params(verbose=0, **given)
    assert model.get_params() == before


def test_repr_shows_what_was_changed() -> None:
    assert repr(Counter()) == "Counter()"
    assert repr(Counter(dim=3, verbose=True)) == "Counter(verbose=True)"
    assert repr(Counter(columns=["a"], inner=Counter(dim=4))) == "Counter(columns=['a'], inner=Counter(dim=4))"
    assert repr(Counter(columns=np.array([1, 2]))) == "Counter(columns=array([1, 2]))"


def test_clone_copies_options_and_not_what_was_learned() -> None:
    model = Counter(dim=4, columns=[schema.Category("a")], inner=Counter(dim=5)).fit([1, 2])
    copied = clone(model)
    assert repr(copied) == repr(model)
    assert copied.inner is not model.inner
    with pytest.raises(NotFittedError, match=r"^ask: this Counter is not fitted yet; call fit\(interactions\) first$"):
        copied.ask()


# --- one file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "columns",
    [
        None,
        True,
        2.5,
        float("inf"),
        np.float32(0.5),
        "text",
        (),
        (1, (2, "b"), [3]),
        {"tuple": (1,), "deeper": {"x": None}},
        [schema.Category("color"), schema.Categories("genres"), schema.Numeric("age"), schema.Id("item_id")],
    ],
    ids=repr,
)
def test_options_come_back_from_a_file_as_they_were(columns: Any, tmp_path: Any) -> None:
    Counter(columns=columns).fit([1, 2]).save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.columns == columns
    assert isinstance(again.columns, type(columns)) or isinstance(columns, np.generic)
    assert again.total_.tolist() == [3]


def test_a_file_leaves_the_machine_out(tmp_path: Any) -> None:
    Counter(n_jobs=1, verbose=0).fit([1]).save(tmp_path / "one")
    Counter(n_jobs=7, verbose=2).fit([1]).save(tmp_path / "seven")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "seven").read_bytes()
    assert load(tmp_path / "one").n_jobs == -1


@pytest.mark.parametrize(
    "value", [object(), {1: 2}, np.zeros(3), np.random.default_rng], ids=lambda value: type(value).__name__
)
def test_an_option_that_a_file_cannot_hold_is_named(value: Any, tmp_path: Any) -> None:
    with pytest.raises(DataError) as caught:
        Counter(columns=value).fit([1]).save(tmp_path / "model")
    assert (
        str(caught.value)
        == f"save: columns is {value!r}, which a file cannot hold; use numbers, strings, lists and column kinds"
    )
    assert not (tmp_path / "model").exists()


def test_a_kind_that_is_not_defined_here_is_named(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Counter().fit([1]).save(tmp_path / "model")
    monkeypatch.delitem(_KINDS, "test counter")
    with pytest.raises(
        DataError, match=r"holds a model of kind 'test counter', but the kinds known here are .*; import the module"
    ):
        load(tmp_path / "model")


def test_a_file_that_does_not_hold_the_whole_model_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counter, "_state", lambda self: ({"note": "counted"}, {}))
    Counter().fit([1]).save(tmp_path / "model")
    with pytest.raises(DataError, match=r"does not hold a whole Counter \('total'\); save the model again$"):
        load(tmp_path / "model")


def test_a_subclass_does_not_pass_for_its_base(tmp_path: Any) -> None:
    class Special(Counter):
        pass

    with pytest.raises(TypeError) as caught:
        Special().fit([1]).save(tmp_path / "model")
    assert (
        str(caught.value)
        == 'save: Special has no kind of its own; define it as class Special(..., kind="...") to give it one'
    )


def test_two_classes_cannot_share_a_kind() -> None:
    with pytest.raises(TypeError) as caught:

        class Other(Estimator, kind="test counter"):
            pass

    assert str(caught.value) == "Other: kind is 'test counter', but that is the kind of Counter already; choose another"
    assert _KINDS["test counter"] is Counter


# --- checks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        (lambda: _options.check_count("fit", "dim", 0), "fit: dim is 0, but must be at least 1"),
        (lambda: _options.check_count("fit", "dim", -1, minimum=0), "fit: dim is -1, but must be at least 0"),
        (lambda: _options.check_count("fit", "dim", 1.0), "fit: dim is 1.0, but must be an integer of at least 1"),
        (
            lambda: _options.check_number("fit", "rate", 0, above=0),
            "fit: rate is 0, but must be a finite number above 0",
        ),
        (
            lambda: _options.check_number("fit", "rate", 1.5, minimum=0, maximum=1),
            "fit: rate is 1.5, but must be a finite number at least 0 and at most 1",
        ),
        (lambda: _options.check_number("fit", "rate", float("nan")), "fit: rate is nan, but must be a finite number"),
        (lambda: _options.check_number("fit", "rate", "1"), "fit: rate is '1', but must be a finite number"),
        (lambda: _options.check_number("fit", "rate", True), "fit: rate is True, but must be a finite number"),
        (
            lambda: _options.check_choice("fit", "loss", "sotmax", ("softmax", "bpr")),
            "fit: loss is 'sotmax', but must be one of 'softmax', 'bpr'; did you mean 'softmax'?",
        ),
        (
            lambda: _options.check_choice("fit", "loss", None, ("softmax", "bpr")),
            "fit: loss is None, but must be one of 'softmax', 'bpr'",
        ),
        (
            lambda: _options.check_flag("recommend", "filter_seen", 1),
            "recommend: filter_seen is 1, but must be True or False",
        ),
        (
            lambda: _options.check_column_name("fit", "user_col", None),
            "fit: user_col is None, but must be the name of a column",
        ),
        (
            lambda: _options.check_column_name("fit", "time_col", 3, optional=True),
            "fit: time_col is 3, but must be the name of a column or None",
        ),
    ],
)
def test_checks_say_what_was_got_and_what_is_wanted(check: Any, sentence: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        check()
    assert str(caught.value) == sentence


def test_checks_let_numpy_values_pass() -> None:
    assert _options.check_count("fit", "dim", np.int32(4)) == 4
    assert type(_options.check_count("fit", "dim", np.int32(4))) is int
    assert _options.check_number("fit", "rate", np.float32(0.5)) == 0.5
    assert _options.check_flag("fit", "flag", np.bool_(True)) is True
    assert _options.check_column_name("fit", "time_col", None, optional=True) is None
    assert [_options.check_n_jobs("fit", n_jobs) for n_jobs in (-1, 1, np.int64(7))] == [-1, 1, 7]
