"""ImplicitALS: the kit, seeds and options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance import DotProductConformance, exactly, interactions
from twotower.models import ImplicitALS


class TestImplicitALS(DotProductConformance):
    beats_popularity = True

    def make(self, **options: Any) -> ImplicitALS:
        return ImplicitALS(**{"dim": 8, "epochs": 5} | options)


def test_the_seed_decides_and_none_draws_one() -> None:
    one, same, other = (ImplicitALS(dim=4, random_state=seed).fit(interactions()) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.item_embeddings(), same.item_embeddings())
    assert (one.item_embeddings() != other.item_embeddings()).any()
    drawn = ImplicitALS(dim=4, random_state=None).fit(interactions())
    again = ImplicitALS(dim=4, random_state=drawn.random_state_).fit(interactions())
    np.testing.assert_array_equal(drawn.item_embeddings(), again.item_embeddings())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"dim": 0}, "fit: dim is 0, but must be at least 1"),
        ({"regularization": 0.0}, "fit: regularization is 0, but must be a finite number above 0"),
        (
            {"frequency_exponent": 2},
            "fit: frequency_exponent is 2, but must be a finite number at least 0 and at most 1",
        ),
        ({"random_state": -1}, "fit: random_state is -1, but must be at least 0"),
    ],
)
def test_options_are_checked_in_fit(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=exactly(sentence)):
        ImplicitALS(**options).fit(interactions())
