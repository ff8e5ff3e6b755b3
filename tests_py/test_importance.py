"""What each feature is worth: the feature that decides comes first, noise is worth nothing, crosses have their blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import twotower as tt
from conformance import exactly
from twotower import frames
from twotower.errors import DataError, NotFittedError, SchemaError
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
    assert table.feature.tolist() == names == list(table.columns[2:])
    assert table.side.tolist() == ["user", "user", "item", "item"]
    made, arena = model._architecture, model._parameters["arena"]
    width = sum(
        n for side in (model._sides.users, model._sides.items) for *_, n in made.inputs.layout(side, model._sides)
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


# --- two towers ---------------------------------------------------------------------------------------------------------

TOWERS: dict[str, Any] = {"dim": 8, "epochs": 10, "batch_size": 64, "learning_rate": 0.02, "verbose": 0}


def liked(**options: Any) -> tt.TwoTower:
    """Make a two-tower model of who likes what: of their own half, which a column of both sides tells."""
    return tt.TwoTower(**TOWERS | options).fit(*halves()[:1], users=HALF_USERS, items=HALF_ITEMS)


def halves() -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(3)
    users = np.repeat(np.arange(60), 16)
    items = 2 * rng.integers(0, 30, len(users)) + users % 2
    times = rng.integers(0, 1000, len(users))
    table = pd.DataFrame({"user_id": users, "item_id": items, "timestamp": times}).drop_duplicates(
        ["user_id", "item_id"]
    )
    return table.iloc[::2], table.iloc[1::2]


HALF_USERS = pd.DataFrame({"user_id": np.arange(60), "half": np.arange(60) % 2, "noise": np.arange(60) // 2 % 3})
HALF_ITEMS = pd.DataFrame({"item_id": np.arange(60), "half": np.arange(60) % 2, "size": np.arange(60) / 60})
IDS_APART: dict[str, Any] = {
    "user_features": [tt.Id("user_id", dropout=1.0), tt.Category("half"), tt.Category("noise")],
    "item_features": [tt.Id("item_id", dropout=1.0), tt.Category("half"), tt.Numeric("size")],
}


@pytest.mark.parametrize("method", ["permutation", "ablation"])
@pytest.mark.parametrize("options", [{}, {"hidden": (16,)}], ids=str)
def test_features_of_two_towers_are_weighed_by_their_lists(method: str, options: dict[str, Any]) -> None:
    model, test = liked(**IDS_APART, **options), halves()[1]
    table = model.feature_importance(test, method=method)
    ranked = list(zip(table.side, table.feature, strict=True))
    assert set(ranked[:2]) == {("user", "half"), ("item", "half")}
    assert set(ranked[2:]) == {("user", "noise"), ("item", "size")}
    assert table.importance[1] > 0.1 > 2 * table.importance[2:].abs().max()
    pd.testing.assert_frame_equal(table, model.feature_importance(test, method=method))


def test_the_metric_is_that_of_evaluate_and_removed_items_are_in_no_list() -> None:
    model, test = liked(**IDS_APART, eval_metric="recall@5"), halves()[1]
    for removed in ([], list(range(0, 60, 3))):
        if removed:
            model.remove_items(removed)
        measure = model._measure(frames.table(test, "test"), "feature_importance")
        assert (measure.label, measure.rising) == ("recall@5", True)
        whole = measure.score(model._fitted(), None, 1)
        assert whole == pytest.approx(tt.evaluate(model, test, "recall@5")["recall@5"][0], abs=1e-12)
    ranker = Ranker(loss="bpr", **QUICK | {"epochs": 2}).fit(halves()[0]).remove_items([0, 1, 2])
    whole = ranker._measure(frames.table(test, "test"), "feature_importance").score(ranker._fitted(), None, 1)
    assert whole == pytest.approx(tt.evaluate(ranker, test, "ndcg@10")["ndcg@10"][0], abs=1e-12)


def test_a_transformer_has_its_history_and_its_items() -> None:
    train, test = halves()
    model = tt.TransformerRecommender(dim=8, epochs=40, max_length=8, time_col="timestamp", verbose=0).fit(train)
    table = model.feature_importance(test)
    assert set(table.feature) == {"item_id", "history"}
    assert table.importance.min() > 0.05


def test_every_model_of_towers_is_weighed() -> None:
    train, test = (part.assign(rating=part.item_id % 5 + 1.0) for part in halves())
    both = tt.MultiTask(dim=8, epochs=4, verbose=0).fit(train, users=HALF_USERS, items=HALF_ITEMS)
    assert set(both.feature_importance(test, repeats=1).feature) == {"user_id", "half", "noise", "item_id", "size"}
    stars = tt.MultiTask(dim=8, epochs=4, verbose=0, eval_metric="rmse").fit(train)
    assert stars.feature_importance(test).feature[0] == "item_id"
    assert set(tt.NeuMF(epochs=1, verbose=0).fit(train).feature_importance(test).feature) == {"user_id", "item_id"}


@pytest.mark.parametrize("kind", ["polars", "pyarrow"])
def test_the_table_is_of_the_kind_of_the_data(kind: str) -> None:
    make: Callable[[pd.DataFrame], Any] = pl.from_pandas if kind == "polars" else pa.Table.from_pandas
    model = tt.TwoTower(**TOWERS | {"epochs": 2, "cross_layers": 1}).fit(make(halves()[0]), users=make(HALF_USERS))
    assert type(model.feature_importance(make(halves()[1]))) is type(make(HALF_USERS))
    assert type(model.feature_importance(method="cross")) is type(make(HALF_USERS))


# --- the context ----------------------------------------------------------------------------------------------------------


def by_place() -> pd.DataFrame:
    """Interactions of anybody with items whose number is even at home and odd at work; the weather is noise."""
    rng = np.random.default_rng(5)
    home = rng.random(1200) < 0.5
    return pd.DataFrame(
        {
            "user_id": rng.integers(0, 80, 1200),
            "item_id": 2 * rng.integers(0, 20, 1200) + ~home,
            "place": np.where(home, "home", "work"),
            "weather": rng.choice(["sun", "rain"], 1200),
        }
    ).drop_duplicates(["user_id", "item_id"])


@pytest.mark.parametrize("method", ["permutation", "ablation"])
def test_features_of_the_context_are_weighed_where_the_test_has_them(method: str) -> None:
    table = by_place()
    test = table.drop_duplicates("user_id", keep="last")
    train = table.drop(test.index)
    context: dict[str, Any] = {"context_features": ["place", "weather"]}
    model = tt.TwoTower(**TOWERS, **context).fit(train)
    found = model.feature_importance(test, method=method).set_index(["side", "feature"]).importance
    assert found.index[0] in [("context", "place"), ("item", "item_id")]
    assert found["context", "place"] > 0.06 > abs(found["context", "weather"])
    found = model.feature_importance(test.drop(columns="weather"), method=method, repeats=1)
    assert ("context", "weather") not in set(zip(found.side, found.feature, strict=True))
    assert "context" not in set(model.feature_importance(test[["user_id", "item_id"]], repeats=1).side)


@pytest.mark.parametrize("method", ["permutation", "ablation"])
def test_features_of_the_context_are_weighed_row_by_row_of_ratings(method: str) -> None:
    table = by_place()
    # What is good at home is bad at work, for half of the items; who asks does not matter.
    items = np.random.default_rng(6).integers(0, 40, len(table))
    ratings = np.where((table.place == "home") == (items < 20), 4.0, 2.0)
    table = table.assign(item_id=items, rating=ratings).drop_duplicates(["user_id", "item_id"])
    model = Ranker(target="rating", context_features=["place", "weather"], **QUICK).fit(table.iloc[:600])
    found = model.feature_importance(table.iloc[600:], method=method).set_index(["side", "feature"]).importance
    assert found["context", "place"] > 0.5 > 5 * abs(found["context", "weather"])


# --- crosses of two towers ------------------------------------------------------------------------------------------------


def with_everything(**options: Any) -> tt.TwoTower:
    """Make a model whose arena holds numbers, vectors, texts and histories read in order, before and behind the layers."""
    rng = np.random.default_rng(0)
    users = HALF_USERS.assign(
        age=rng.normal(size=60), face=list(rng.normal(size=(60, 5))), bio=rng.choice(["a b", "b c", "c"], 60)
    )
    items = HALF_ITEMS.assign(cover=list(rng.normal(size=(60, 3))), title=rng.choice(["x y", "y z", "z"], 60))
    model = tt.TwoTower(
        user_features=[
            tt.Numeric("age"), tt.Category("half"), tt.Vector("face"), tt.Text("bio", encoding="gru", min_count=1),
            tt.History(encoder="gru"),
        ],
        item_features=[
            tt.Numeric("size"), tt.Category("half"), tt.Vector("cover", project=False),
            tt.Text("title", encoding="gru", min_count=1),
        ],
        context_features=[tt.Timestamp("timestamp", parts=("hour",))],
        time_col="timestamp",
        similarity="dot",
        item_bias=False,
        **TOWERS | {"epochs": 1, "cross_layers": 1, "dropout": 0.1} | options,
    )  # fmt: skip
    return model.fit(halves()[0], users=users, items=items)


@pytest.mark.parametrize(
    "options", [{}, {"cross_rank": 3}, {"cross": "parallel", "hidden": (6,)}, {"cross_layers": 2}], ids=str
)
@pytest.mark.parametrize("tower", ["user", "item"])
def test_the_matrix_of_a_tower_is_what_multiplies_its_features(options: dict[str, Any], tower: str) -> None:
    model = with_everything(**options)
    made, sides = model._architecture, model._sides
    side, number = (sides.users, 0) if tower == "user" else (sides.items, 1)
    layout = made.inputs.layout(side, sides)
    width, names = sum(n for *_, n in layout), [name for _, name, _ in layout]
    # A network of additions but for one block: that of the number and the category.
    arena = model._parameters["arena"].copy()
    begin = number * made._arena_of(sides.users, sides) + made.inputs.arena_of_inputs(side, sides)
    rank = made.cross_rank or 0
    size = 2 * width * rank if rank else width * width
    layers = arena[begin : begin + made.cross_layers * (size + width) + (width * 6 if made.hidden else 0)]
    layers[:] = 0
    edges = np.concatenate([[0], np.cumsum([n for *_, n in layout])])
    one, other = (names.index(name) for name in ({"user": "age", "item": "size"}[tower], "half"))
    rows, columns = slice(edges[one], edges[one + 1]), slice(edges[other], edges[other + 1])
    if rank:
        layers[: width * rank].reshape(width, rank)[rows] = 1
        layers[width * rank : size].reshape(rank, width)[:, columns] = 1
    else:
        layers[: width * width].reshape(width, width)[rows, columns] = 1
    matrix = made.first_crosses(arena, sides)[number]
    assert matrix[rows, columns].min() >= 1
    assert np.count_nonzero(matrix) == (edges[one + 1] - edges[one]) * (edges[other + 1] - edges[other])

    fitted = model._fitted()
    fitted.model.set_parameters(model._parameters | {"arena": arena})
    order = np.random.default_rng(0).permutation(60)

    def vectors(*moved: str) -> np.ndarray:
        """Of entities whose columns have changed places."""
        changed = side
        for column in moved:
            if column.endswith("_id"):
                changed = replace(changed, codes=changed.codes[order])
            else:
                changed = replace(changed, encoded=changed.without(column, changed.encoded, 60, order))
        towers = fitted.with_sides(replace(sides, **{f"{tower}s": changed}))
        everyone = np.arange(60, dtype=np.int32)
        return (
            towers.item_vectors(1)
            if tower == "item"
            else towers.user_vectors(everyone, 1, given=None, stored=model._histories)
        ).astype(np.float64)

    def together(a: str, b: str) -> float:
        """How far both changes are from the sum of each."""
        both: np.ndarray = vectors(a, b) - vectors(a) - vectors(b) + vectors()
        return float(np.abs(both).max())

    assert together(names[one], "half") > 1e-3
    for pair in ((f"{tower}_id", names[one]), (f"{tower}_id", "half")):
        assert together(*pair) < 1e-5


def test_crosses_of_two_towers_have_nothing_between_them() -> None:
    model = with_everything()
    table = model.feature_importance(method="cross")
    users = [
        "user_id",
        "age",
        "half (user)",
        "face",
        "timestamp.hour",
        "timestamp.cycle",
        "timestamp.scaled",
        "bio",
        "history",
    ]
    items = ["item_id", "size", "half (item)", "cover", "title"]
    names = [name for name in users if name in set(table.feature)] + items
    assert table.feature.tolist() == names == list(table.columns[2:])
    assert set(table.side[: len(names) - 5]) == {"user", "context"}
    assert set(table.side[-5:]) == {"item"}
    norms = table[names].to_numpy()
    between = np.zeros(norms.shape, dtype=bool)
    between[-5:, :-5] = between[:-5, -5:] = True
    assert (np.isnan(norms) == between).all()
    matrices = model._architecture.first_crosses(model._parameters["arena"], model._sides)
    assert (norms[:-5, :-5] ** 2).sum() == pytest.approx((matrices[0] ** 2).sum())
    assert (norms[-5:, -5:] ** 2).sum() == pytest.approx((matrices[1] ** 2).sum())
    assert norms[~between].min() > 0


def test_names_that_two_sides_share_are_told_apart() -> None:
    items = HALF_ITEMS.rename(columns={"size": "feature"})
    model = Ranker(loss="bpr", **QUICK | {"epochs": 1}).fit(halves()[0], users=HALF_USERS, items=items)
    table = model.feature_importance(method="cross")
    names = ["user_id", "half (user)", "noise", "item_id", "half (item)", "feature (item)"]
    assert table.feature.tolist() == list(table.columns[2:]) == names


# --- bad input ------------------------------------------------------------------------------------------------------------


def test_a_test_that_cannot_be_measured_is_named(model: Ranker) -> None:
    towers = tt.TwoTower(**TOWERS | {"epochs": 1}).fit(halves()[0])
    strangers = pd.DataFrame({"user_id": [999], "item_id": [1], "rating": [3.0]})
    sentence = "feature_importance: test has no relevant row of a user that is in the interactions; split so that users are in both parts"
    with pytest.raises(DataError, match=exactly(sentence)):
        towers.feature_importance(strangers)
    sentence = "feature_importance: test has no row whose user and item are in the interactions of fit; split by rows"
    with pytest.raises(DataError, match=exactly(sentence)):
        model.feature_importance(strangers)
    with pytest.raises(SchemaError, match=r"^feature_importance: test: interactions has no column 'item_id'"):
        towers.feature_importance(strangers.drop(columns="item_id"))


def test_models_without_features_say_what_to_do() -> None:
    train = halves()[0]
    fitted = tt.Popularity().fit(train)
    for other, sentence in (
        (
            fitted,
            "feature_importance: this Popularity learns from the interactions alone and has no features to weigh; use a TwoTower "
            "or a Ranker",
        ),
        (
            tt.ContentBased(),
            "feature_importance: this ContentBased adds its columns up as they are; fit it again without one, features=[...], and "
            "compare with tt.evaluate",
        ),
        (
            tt.Hybrid([fitted]),
            "feature_importance: this Hybrid has no features of its own; ask its models, as in "
            "blend.models[0].feature_importance(test)",
        ),
    ):
        assert not hasattr(other, "feature_importance")
        with pytest.raises(AttributeError, match=exactly(sentence)):
            other.feature_importance(train)
    sentence = (
        "feature_importance: method is 'cross', but this TwoTower has cross_layers=0; fit it with cross_layers=1, or use "
        'method="permutation"'
    )
    with pytest.raises(ValueError, match=exactly(sentence)):
        tt.TwoTower(**TOWERS | {"epochs": 1}).fit(train).feature_importance(method="cross")
    with pytest.raises(
        ValueError, match=r"^feature_importance: method is 'cross', but this TransformerRecommender has no cross"
    ):
        tt.TransformerRecommender(dim=8, epochs=1, verbose=0).fit(train).feature_importance(method="cross")


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
