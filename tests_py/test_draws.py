"""Draws without replacement against exact probabilities."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from twotower.datasets import _draws


def test_draws_have_the_distribution_they_claim() -> None:
    # One user, drawn many times: 3 of 5 items in 2 periods, item 4 out in the second only.
    # The exact probability of an ordered triple is a product of w / (what is left of w), Plackett 1975.
    copies = 40_000
    log_popularity = np.log([[5.0, 2, 1, 1, 1], [1, 1, 3, 1, 6]])
    log_popularity[0, 4] = -np.inf
    catalogue = _draws.Catalogue(
        np.array([[0.5], [-0.5]]), np.array([0, 1, 1, 0, 1]), np.array([0, 0, 0, 0, 1]), log_popularity
    )
    users, periods = np.repeat(np.arange(copies), 3), np.tile([0, 1, 1], copies)
    drawn = _draws.draw_items(catalogue, np.ones((copies, 1)), users, periods, np.random.default_rng(0)).reshape(-1, 3)
    weights = np.exp(log_popularity + np.array([0.5, -0.5])[catalogue.kind_of_item])
    found = dict.fromkeys(itertools.permutations(range(5), 3), 0)
    for triple in drawn.tolist():
        found[tuple(triple)] += 1
    for triple, count in found.items():
        probability, left = 1.0, np.ones(5)
        for period, item in zip([0, 1, 1], triple, strict=True):
            probability *= weights[period, item] / (weights[period] * left).sum()
            left[item] = 0
        deviation = np.sqrt(copies * probability * (1 - probability))
        assert abs(count - copies * probability) <= 4.5 * deviation


def test_settling_has_the_same_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two of two items: with one round only, whatever collides is settled one by one.
    monkeypatch.setattr(_draws, "_ROUNDS", 1)
    copies = 5000
    catalogue = _draws.Catalogue(np.zeros((1, 1)), np.zeros(3, int), np.zeros(3, int), np.log([[6.0, 3.0, 1.0]]))
    users = np.repeat(np.arange(copies), 3)
    drawn = _draws.draw_items(
        catalogue, np.ones((copies, 1)), users, np.zeros(3 * copies, int), np.random.default_rng(0)
    )
    drawn = drawn.reshape(-1, 3)
    assert (np.sort(drawn, axis=1) == [0, 1, 2]).all()
    # P(0 first) = .6; P(2 last) = .6 * 3/4 + .3 * 6/7 = .7071
    assert np.mean(drawn[:, 0] == 0) == pytest.approx(0.6, abs=0.03)
    assert np.mean(drawn[:, 2] == 2) == pytest.approx(0.7071, abs=0.03)


@pytest.mark.parametrize("users_in_block", [1, 3, 100])
def test_any_block_gives_distinct_items_that_are_out(users_in_block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    kinds, items, periods = 7, 60, 5
    births = np.where(np.arange(items) < 40, 0, random.integers(0, periods, items))
    log_popularity = random.standard_normal((periods, items)) * 3
    log_popularity[np.arange(periods)[:, None] < births] = -np.inf
    catalogue = _draws.Catalogue(random.standard_normal((kinds, 4)), np.arange(items) % kinds, births, log_popularity)
    counts = np.array([0, 1, 30, 5, 0, 17, 30, 2, 0])
    users = np.repeat(np.arange(len(counts)), counts)
    when = np.concatenate([np.sort(random.integers(0, periods, count)) for count in counts])
    monkeypatch.setattr(_draws, "_BLOCK_CELLS", users_in_block * 4 * kinds)
    drawn = _draws.draw_items(catalogue, random.standard_normal((len(counts), 4)), users, when, random)
    assert len(np.unique(users * items + drawn)) == len(users)
    assert (births[drawn] <= when).all()
