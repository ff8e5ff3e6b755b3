"""What each feature is worth: the feature that decides comes first, noise is worth nothing, crosses have their blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import twotower as tt
from conformance import exactly
from twotower.errors import NotFittedError
from twotower.models import Ranker, RatingModel
from twotower.models._pair_towers import PairArchitecture

QUICK: dict[str, Any] = {
    "dim": 8,
    "hidden": (16,),
    "epochs": 15,
    "batch_size": 128,
    "learning_rate": 0.01,
    "verbose": 0,
}


def rated() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Ratings by the genre alone; users' kinds are noise."""
    rng = np.random.default_rng(0)
    users = pd.DataFrame({"user_id": np.arange(60), "kind": rng.choice(["a", "b"], 60)})
    items = pd.DataFrame({"item_id": np.arange(40), "genre": np.where(np.arange(40) % 2, "good", "bad")})
    pairs = pd.DataFrame(
        {"user_id": rng.integers(0, 60, 2_500), "item_id": rng.integers(0, 40, 2_500)}
    ).drop_duplicates()
    pairs["rating"] = 3.0 + np.where(pairs.item_id % 2, 1, -1) + rng.normal(0, 0.1, len(pairs))
    return pairs, users, items


PAIRS, USERS, ITEMS = rated()
TRAIN, TEST = PAIRS.iloc[:1000], PAIRS.iloc[1000:]
# Ids would say the same as the genre: they are left out.
FEATURES: dict[str, Any] = {"item_features": [tt.Id("item_id", dropout=1.0), "genre"]}


@pytest.fixture(scope="module")
def model() -> Ranker:
    return Ranker(target="rating", **FEATURES, **QUICK).fit(TRAIN, users=USERS, items=ITEMS)


@pytest.mark.parametrize("method", ["permutation", "ablation"])
def test_what_decides_comes_first(model: Ranker, method: str) -> None:
    table = model.feature_importance(TEST, method=method)
    assert list(table.columns) == ["side", "feature", "importance"]
    assert table.feature.tolist()[0] == "genre"
    assert sorted(table.feature) == ["genre", "kind", "user_id"]
    assert table.importance.is_monotonic_decreasing
    assert table.importance[0] > 0.5
    assert table.importance[1:].abs().max() < 0.05


def test_the_same_seed_gives_the_same_figures(model: Ranker) -> None:
    pd.testing.assert_frame_equal(model.feature_importance(TEST), model.feature_importance(TEST))


def test_a_ranker_of_order_is_weighed_by_its_lists() -> None:
    liked = TRAIN[TRAIN.rating > 3]
    features = [*FEATURES["item_features"]]
    model = Ranker(loss="bpr", item_features=features, **QUICK).fit(liked, users=USERS, items=ITEMS)
    table = model.feature_importance(TEST[TEST.rating > 3], repeats=1)
    assert (table.feature[0], table.importance[0] > 0.1) == ("genre", True)


def test_a_history_is_weighed_too() -> None:
    model = RatingModel(dim=8, epochs=2, verbose=0).fit(TRAIN)
    assert set(model.feature_importance(TEST).feature) == {"user_id", "item_id", "history"}


@pytest.mark.parametrize("options", [{}, {"cross_rank": 2, "layer_norm": True, "hidden": (16, 8)}, {"hidden": ()}])
def test_crosses_are_the_norms_of_the_blocks_of_the_matrix(options: dict[str, Any]) -> None:
    model = Ranker(target="rating", **QUICK | {"epochs": 1, "learning_rate": 1e-9} | options).fit(
        TRAIN, users=USERS, items=ITEMS
    )
    table = model.feature_importance(method="cross")
    names = ["user_id", "kind", "item_id", "genre"]
    assert table.feature.tolist() == names == list(table.columns[1:])
    made, arena = model._architecture, model._parameters["arena"]
    width = sum(
        n for side in (model._sides.users, model._sides.items) for _, n in made.inputs.layout(side, model._sides)
    )
    matrix = made.first_cross(arena, width)
    assert (table[names].to_numpy() ** 2).sum() == pytest.approx((matrix**2).sum())
    # Behind the matrix, or its two factors, lies the layer's bias, which begins at 0.
    rank = made.cross_rank or 0
    size = 2 * width * rank if rank else width * width
    (start,) = [i for i in range(arena.size - size) if arena[i] == np.float32(_first(matrix, arena, made))][:1]
    assert np.abs(arena[start + size : start + size + width]).max() < 1e-6
    assert np.abs(arena[start : start + size]).min() > 0


def _first(matrix: np.ndarray, arena: np.ndarray, made: PairArchitecture) -> float:
    """The first number of the layer in the arena."""
    if not made.cross_rank:
        return float(matrix[0, 0])
    count, end = made.cross_layers * ((2 * made.cross_rank) * len(matrix) + len(matrix)), len(matrix)
    for hidden in made.hidden:
        count, end = count + end * hidden + hidden + 2 * hidden * made.layer_norm, hidden
    return float(arena[arena.size - count - end - 1])


def test_what_cannot_be_weighed_is_named(model: Ranker) -> None:
    with pytest.raises(NotFittedError, match=r"^feature_importance: this Ranker is not fitted yet"):
        Ranker().feature_importance(TEST)
    sentence = (
        "feature_importance: test is None, but method='permutation' measures the model on it; give interactions that fit has not "
        "seen"
    )
    with pytest.raises(TypeError, match=exactly(sentence)):
        model.feature_importance()
    sentence = (
        "feature_importance: method is 'cross', but this RatingModel has no cross layers over both sides; use "
        'Ranker(interaction="dcn"), or method="permutation"'
    )
    with pytest.raises(ValueError, match=exactly(sentence)):
        RatingModel(dim=4, epochs=1, verbose=0).fit(TRAIN).feature_importance(method="cross")
    with pytest.raises(
        ValueError,
        match=r"^feature_importance: method is 'permute', but must be one of .* did you mean 'permutation'\?$",
    ):
        model.feature_importance(TEST, method="permute")
