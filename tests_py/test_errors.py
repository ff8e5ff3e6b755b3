from __future__ import annotations

import datetime as dt
import decimal

import numpy as np
import pytest

from twotower import errors


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ""),
        ([1], "1"),
        ([1, 2, 3, 4, 5, 6], "1, 2, 3, 4, 5"),
        (["a", "b'c"], "'a', \"b'c\""),
        (np.arange(3, dtype=np.int32), "0, 1, 2"),
        (np.array([0.5, 2.0]), "0.5, 2.0"),
        (np.array(["2020-01-02T03:04:05.123456789"], dtype="datetime64[ns]"), "2020-01-02T03:04:05.123456789"),
        ([dt.date(2020, 1, 2), decimal.Decimal("1.20"), None], "2020-01-02, 1.20, None"),
        ((n for n in range(10**9)), "0, 1, 2, 3, 4"),
        (["x" * 100, "y" * 10_000_000], f"{'x' * 100!r}, {'y' * 100!r}... (10000000 characters)"),
    ],
)
def test_first_five(values: object, expected: str) -> None:
    assert errors.first_five(values) == expected  # type: ignore[arg-type]


def test_count_of() -> None:
    assert [errors.count_of(n, "row") for n in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
    assert errors.count_of(2, "entry", "entries") == "2 entries"


@pytest.mark.parametrize("name", ["SchemaError", "DataError", "UnknownIdError", "NotFittedError"])
def test_errors_about_the_caller_s_input_are_value_errors(name: str) -> None:
    assert issubclass(getattr(errors, name), (errors.TwoTowerError, ValueError))
    assert issubclass(getattr(errors, name), ValueError)


def test_not_fitted_is_an_attribute_error_too() -> None:
    assert issubclass(errors.NotFittedError, AttributeError)


def test_numerical_error_is_a_runtime_error() -> None:
    assert issubclass(errors.NumericalError, RuntimeError)
    assert issubclass(errors.NumericalError, errors.TwoTowerError)
