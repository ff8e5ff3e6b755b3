"""Made-up titles."""

from __future__ import annotations

import numpy as np
import pytest

from twotower.datasets import _titles


@pytest.mark.parametrize("count", [0, 1, 7, 20_000])
def test_titles_are_unique_and_depend_on_the_stream_only(count: int) -> None:
    genres = [_titles.GENRES[row % len(_titles.GENRES)] for row in range(count)]
    titles = _titles.make_titles(genres, np.random.default_rng(3))
    assert len(set(titles)) == len(titles) == count
    assert titles == _titles.make_titles(genres, np.random.default_rng(3))


def test_words_go_with_the_genre() -> None:
    titles = _titles.make_titles(["Horror"] * 200, np.random.default_rng(0))
    assert all(
        any(word in title for word in ("Attic", "Cellar", "Crypt", "Grave", "Mask", "Scream")) for title in titles
    )


def test_a_title_that_comes_again_is_a_sequel() -> None:
    class Same:
        def random(self, shape: tuple[int, int]) -> np.ndarray:
            return np.zeros(shape)

    assert _titles.make_titles(["War"] * 3, Same()) == [  # type: ignore[arg-type]
        "The Amber Battalion",
        "The Amber Battalion 2",
        "The Amber Battalion 3",
    ]


def test_every_genre_has_a_weight() -> None:
    assert len(_titles.GENRE_WEIGHTS) == len(_titles.GENRES) == 18
