"""What travels through the hooks of a recommender: users picked by position, with what was given of them."""

from __future__ import annotations

import numpy as np

from twotower import frames
from twotower.models._asked import Asked
from twotower.vocabulary import Vocabulary


class Numbers:
    """Something given: a number a row."""

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers = numbers
        self.seen = None

    def take(self, positions: np.ndarray) -> Numbers:
        return Numbers(self.numbers[positions])


def test_users_are_picked_with_what_was_given_of_them() -> None:
    asked = Asked(
        frames.ids(["a", "b", "c"], "ids"), np.array([2, -1, 0], dtype=np.int32), Numbers(np.array([7, 8, 9]))
    )
    some = asked.take(np.array([2, 0, 2]))
    assert (len(asked), len(some)) == (3, 3)
    assert some.ids.tolist() == ["c", "a", "c"]
    assert some.rows.tolist() == [0, 2, 0]
    assert isinstance(some.given, Numbers)
    assert some.given.numbers.tolist() == [9, 7, 9]
    known = Asked.known(Vocabulary.fit(["x", "y"]), np.array([1, 0], dtype=np.int32))
    assert known.ids.tolist() == ["y", "x"]
    assert known.given is None
    assert known.take(np.array([1])).ids.tolist() == ["x"]
