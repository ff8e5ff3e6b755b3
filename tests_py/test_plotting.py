"""What the pictures say, read from the axes, and that drawing leaves matplotlib as it was."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import twotower as tt
from twotower.errors import DataError, NotFittedError, SchemaError

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.figure import Figure  # noqa: E402

MAKERS = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any, Any]:
    train, valid, test = tt.split.random(tt.datasets.synthetic(120, 60, 2_000).ratings, valid=0.1, test=0.2)
    return train, valid, test


@pytest.fixture(scope="module")
def model(parts: tuple[Any, Any, Any]) -> tt.TwoTower:
    train, valid, _ = parts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so small a model says that popularity is better
        return tt.TwoTower(dim=8, epochs=4, patience=None, verbose=0).fit(train, eval_set=valid)


def png(ax: Any) -> bytes:
    file = io.BytesIO()
    ax.figure.savefig(file, format="png")
    return file.getvalue()


def inks(ax: Any) -> int:
    """How many pixels of the picture are not white."""
    from matplotlib.image import imread

    return int(np.count_nonzero(imread(io.BytesIO(png(ax)))[..., :3].min(axis=2) < 0.9))


def texts(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


# --- learning curve ---------------------------------------------------------------------------------------------------


def test_the_learning_curve_has_the_losses_and_the_metric(model: tt.TwoTower) -> None:
    ax = tt.plotting.learning_curve(model)
    (loss,) = ax.lines
    np.testing.assert_array_equal(loss.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_array_equal(loss.get_ydata(), model.learning_curve_["loss"])
    _, right = ax.figure.axes
    metric, best = right.lines
    np.testing.assert_array_equal(metric.get_ydata(), model.learning_curve_["ndcg@10"])
    assert best.get_xdata() == [model.best_epoch_]
    assert texts(right) == ["loss", f"ndcg@10 on the validation set (best: epoch {model.best_epoch_})"]
    assert (ax.get_xlabel(), ax.get_ylabel(), right.get_ylabel()) == ("epoch", "loss", "ndcg@10")
    assert inks(ax) > 2_000


def test_without_an_eval_set_there_is_the_loss_alone(parts: tuple[Any, Any, Any]) -> None:
    ax = tt.plotting.learning_curve(tt.TwoTower(dim=4, epochs=1, verbose=0).fit(parts[0]))
    assert len(ax.figure.axes) == 1
    (loss,) = ax.lines
    assert loss.get_marker() == "o"  # one epoch is one point, which has no line


def test_a_learning_curve_needs_a_model_that_has_one(parts: tuple[Any, Any, Any]) -> None:
    with pytest.raises(TypeError) as caught:
        tt.plotting.learning_curve(tt.Popularity().fit(parts[0]))
    assert str(caught.value) == (
        "learning_curve: model is a Popularity, which has no learning curve; give a fitted TwoTower"
    )
    with pytest.raises((NotFittedError, TypeError)):
        tt.plotting.learning_curve(tt.TwoTower())


# --- recall curves ----------------------------------------------------------------------------------------------------


def test_recall_curves_are_what_evaluate_says(parts: tuple[Any, Any, Any], model: tt.TwoTower) -> None:
    train, _, test = parts
    popularity = tt.Popularity().fit(train)
    ax = tt.plotting.recall_curves({"ours": model, "bar": popularity}, test, ks=[20, 1, 5, 5])
    table = tt.evaluate([model, popularity], test, ["recall@1", "recall@5", "recall@20"])
    for line, (_, row) in zip(ax.lines, table.iterrows(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [1, 5, 20])
        np.testing.assert_array_equal(line.get_ydata(), row[["recall@1", "recall@5", "recall@20"]].astype(float))
        assert (np.diff(line.get_ydata()) >= 0).all()
    assert texts(ax) == ["ours", "bar"]
    assert ax.get_title(loc="left") == f"recall@k, mean of {table['users'][0]} test users"
    assert ax.get_xlim() == (0, 20)
    assert ax.get_ylim()[0] == 0
    # Told apart without color too.
    assert len({line.get_linestyle() for line in ax.lines}) == 2
    assert inks(ax) > 2_000


@pytest.mark.parametrize(("metric", "ks"), [("ndcg", [3]), ("hit_rate", range(1, 8)), ("coverage", [10, 100])])
def test_other_metrics_and_lengths(parts: tuple[Any, Any, Any], model: tt.TwoTower, metric: str, ks: Any) -> None:
    ax = tt.plotting.recall_curves(model, parts[2], ks=ks, metric=metric)
    (line,) = ax.lines
    assert line.get_xdata().tolist() == list(ks)
    assert ax.get_ylabel() == f"{metric}@k"
    assert inks(ax) > 500


def test_recall_curves_refuse_no_lengths_and_unknown_metrics(parts: tuple[Any, Any, Any], model: tt.TwoTower) -> None:
    with pytest.raises(ValueError, match="ks is empty") as caught:
        tt.plotting.recall_curves(model, parts[2], ks=[])
    assert str(caught.value) == "recall_curves: ks is empty, but must have at least one length of list, such as 10"
    with pytest.raises(ValueError, match="did you mean 'recall@5'"):
        tt.plotting.recall_curves(model, parts[2], ks=[5], metric="recalls")


# --- long tail --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MAKERS)
def test_the_long_tail_counts_items(kind: str) -> None:
    # Ten items: "a" six times, "b" three times, eight others once: 17 rows, of which the top tenth, "a", has 6.
    items = ["a"] * 6 + ["b"] * 3 + list("cdefghij")
    ax = tt.plotting.long_tail(MAKERS[kind]({"film": items}), item_col="film")
    (line,) = ax.lines
    assert line.get_xdata().tolist() == list(range(1, 11))
    assert line.get_ydata().tolist() == [6, 3, 1, 1, 1, 1, 1, 1, 1, 1]
    assert ax.get_title(loc="left") == "Long tail: the top 1 of 10 items have 35% of the interactions"  # 6 / 17 = .353
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert inks(ax) > 2_000


def test_the_long_tail_of_one_item_is_a_point() -> None:
    ax = tt.plotting.long_tail(pd.DataFrame({"item_id": [7, 7]}))
    assert ax.lines[0].get_marker() == "o"
    assert inks(ax) > 200


def test_the_long_tail_passes_over_missing_items_and_refuses_none() -> None:
    ax = tt.plotting.long_tail(pl.DataFrame({"item_id": [1, None, 1]}))
    assert ax.lines[0].get_ydata().tolist() == [2]
    with pytest.raises(DataError) as caught:
        tt.plotting.long_tail(pd.DataFrame({"item_id": pd.Series([], dtype="int64")}))
    assert str(caught.value) == "long_tail: interactions has no row with an item, but must have at least one"
    with pytest.raises(SchemaError, match="did you mean 'item_id'"):
        tt.plotting.long_tail(pd.DataFrame({"item_id": [1]}), item_col="itemid")


# --- all of them ------------------------------------------------------------------------------------------------------


def test_they_draw_where_they_are_told(parts: tuple[Any, Any, Any], model: tt.TwoTower) -> None:
    axes = Figure().subplots(1, 3)
    assert tt.plotting.learning_curve(model, ax=axes[0]) is axes[0]
    assert tt.plotting.recall_curves(model, parts[2], ks=[1, 2], ax=axes[1]) is axes[1]
    assert tt.plotting.long_tail(parts[0], ax=axes[2]) is axes[2]


def test_they_touch_no_global_state() -> None:
    program = (
        "import sys, matplotlib, twotower as tt\n"
        "def settings():  # without those that pick a window system when they are looked at\n"
        "    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if 'backend' not in name}\n"
        "before = settings()\n"
        "ratings = tt.datasets.synthetic(60, 30, 600).ratings\n"
        "model = tt.TwoTower(dim=4, epochs=2, verbose=0).fit(ratings)\n"
        "for ax in (tt.plotting.learning_curve(model), tt.plotting.long_tail(ratings)):\n"
        "    ax.figure.savefig(sys.argv[1])\n"
        "assert settings() == before\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program, "/dev/null"], check=True, timeout=120, env=None)


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, model: tt.TwoTower) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError) as caught:
        tt.plotting.learning_curve(model)
    assert str(caught.value) == "learning_curve: matplotlib is not installed; run pip install 'twotower[plot]'"


# --- feature crosses --------------------------------------------------------------------------------------------------


def test_feature_crosses_have_a_cell_a_pair(parts: tuple[Any, Any, Any]) -> None:
    ranker = tt.Ranker(loss="bpr", dim=4, epochs=1, verbose=0).fit(parts[0])
    ax = tt.plotting.feature_crosses(ranker)
    (image,) = ax.images
    table = ranker.feature_importance(method="cross")
    np.testing.assert_array_equal(image.get_array(), table[["user_id", "item_id"]])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["user_id", "item_id"]
    assert inks(ax) > 0
    with pytest.raises(TypeError, match=r"^feature_crosses: model is a Popularity, which has no features to weigh"):
        tt.plotting.feature_crosses(tt.Popularity())


def test_crosses_of_two_towers_are_two_blocks(parts: tuple[Any, Any, Any]) -> None:
    model = tt.TwoTower(dim=4, epochs=1, cross_layers=1, verbose=0).fit(parts[0])
    ax = tt.plotting.feature_crosses(model)
    (image,) = ax.images
    assert np.ma.getmaskarray(image.get_array()).tolist() == [[False, True], [True, False]]
    assert inks(ax) > 500
    sentence = r"^feature_importance: method is 'cross', but this TwoTower has cross_layers=0"
    with pytest.raises(ValueError, match=sentence):
        tt.plotting.feature_crosses(tt.TwoTower(dim=4, epochs=1, verbose=0).fit(parts[0]))


# --- feature importance -----------------------------------------------------------------------------------------------


IMPORTANCE = {
    "side": ["item", "user", "context", "user", "item"],
    "feature": ["genre", "age", "hour", "name", "name"],
    "importance": [0.5, 0.25, 0.1, 0.0, -0.05],
}


@pytest.mark.parametrize("kind", MAKERS)
def test_importance_has_a_bar_a_feature_the_largest_on_top(kind: str) -> None:
    ax = tt.plotting.feature_importance(MAKERS[kind](IMPORTANCE))
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "genre",
        "age",
        "hour",
        "name (user)",
        "name (item)",
    ]
    bars = {round(bar.get_y() + bar.get_height() / 2): bar for bar in ax.patches}
    assert [bars[place].get_width() for place in range(5)] == IMPORTANCE["importance"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # downwards
    # A color a side, in the same order in every picture.
    assert texts(ax) == ["user", "item", "context"]
    assert bars[0].get_facecolor() == bars[4].get_facecolor() != bars[1].get_facecolor() == bars[3].get_facecolor()
    assert inks(ax) > 2_000
    assert len(tt.plotting.feature_importance(MAKERS[kind](IMPORTANCE), k=2).patches) == 2


def test_importance_of_a_model_is_drawn(parts: tuple[Any, Any, Any], model: tt.TwoTower) -> None:
    table = model.feature_importance(parts[2], repeats=1)
    ax = Figure().subplots()
    assert tt.plotting.feature_importance(table, ax=ax) is ax
    assert [label.get_text() for label in ax.get_yticklabels()] == table.feature.tolist()


def test_what_is_no_table_of_importance_is_named(parts: tuple[Any, Any, Any], model: tt.TwoTower) -> None:
    with pytest.raises(TypeError) as caught:
        tt.plotting.feature_importance(model)
    assert str(caught.value) == (
        "feature_importance: table is a TwoTower, but must be a table; give what model.feature_importance(test) returned"
    )
    crosses = tt.Ranker(loss="bpr", dim=4, epochs=1, verbose=0).fit(parts[0]).feature_importance(method="cross")
    with pytest.raises(SchemaError) as other:
        tt.plotting.feature_importance(crosses)
    assert str(other.value) == (
        "feature_importance: table has no column 'importance'; draw what method='cross' returns with feature_crosses(model)"
    )
    with pytest.raises(SchemaError, match=r"; give what model\.feature_importance\(test\) returned$"):
        tt.plotting.feature_importance(parts[0])
    with pytest.raises(ValueError, match=r"^feature_importance: k is 0, but must be an integer of at least 1$"):
        tt.plotting.feature_importance(pd.DataFrame(IMPORTANCE), k=0)


def test_the_best_epoch_of_an_error_is_the_lowest(parts: tuple[Any, Any, Any]) -> None:
    train, valid = (part.assign(rating=part.item_id % 5 + 1.0) for part in parts[:2])
    ratings = tt.RatingModel(dim=4, epochs=4, patience=None, verbose=0).fit(train, eval_set=valid)
    ax = tt.plotting.learning_curve(ratings)
    (right,) = [other for other in ax.figure.axes if other is not ax]
    assert right.lines[-1].get_xdata()[0] == ratings.best_epoch_
