"""TwoTower: the kit, features, validation, interruption, bytes, bad input."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import twotower as tt
from conformance import DotProductConformance, exactly, two_tastes
from twotower.errors import DataError, NumericalError, SchemaError
from twotower.models import _training


class TestTwoTower(DotProductConformance):
    needs_two = True
    beats_popularity = True

    def make(self, **options: Any) -> tt.TwoTower:
        return tt.TwoTower(**({"epochs": 3, "verbose": 0} | options))


@pytest.fixture(scope="module")
def data() -> Any:
    return tt.datasets.synthetic(num_users=300, num_items=120, num_interactions=8000, random_state=1, kind="pandas")


def quick(**options: Any) -> tt.TwoTower:
    return tt.TwoTower(**({"dim": 8, "epochs": 2, "verbose": 0, "n_jobs": 1} | options))


# --- does it learn ----------------------------------------------------------------------------------------------------


def test_it_finds_the_two_tastes() -> None:
    train, test = two_tastes()
    model = tt.TwoTower(epochs=40, verbose=0, temperature=0.2).fit(train)
    lists = model.recommend(k=5)
    own_taste = (lists.item_id >= 30) == (lists.user_id % 2 == 1)
    assert own_taste.mean() > 0.8
    table = tt.evaluate([tt.Popularity().fit(train), model], test, ["recall@10"])
    assert table["recall@10"][1] > 1.3 * table["recall@10"][0]


@pytest.mark.parametrize("options", [{}, {"hidden": (16,)}, {"similarity": "dot", "learning_rate": 0.01}], ids=str)
def test_features_place_an_item_that_nobody_has_seen(options: dict[str, Any]) -> None:
    train, _ = two_tastes()
    items = pd.DataFrame({"item_id": range(62), "taste": ["a"] * 30 + ["b"] * 30 + ["a", "b"]})
    # Without drawn negatives nothing moves the vector of an unseen item's id, so that only its taste speaks.
    model = tt.TwoTower(epochs=40, verbose=0, negatives=0, **options).fit(train, items=items)
    scores = model.predict(pd.DataFrame({"user_id": np.repeat(np.arange(80), 2), "item_id": [60, 61] * 80})).reshape(
        80, 2
    )
    prefers_b = scores[:, 1] > scores[:, 0]
    assert (prefers_b == (np.arange(80) % 2 == 1)).mean() > 0.9


def test_it_beats_popularity_on_ml_100k(shared_data: Any) -> None:
    # The protocol of the TFRS tutorials with the training part masked; one of the three seeds of the benchmark.
    ratings = tt.datasets.movielens("ml-100k", path=shared_data / "ml-100k.zip").ratings
    train, test = tt.split.random(ratings, test=0.2, random_state=0)
    models = [tt.Popularity().fit(train), tt.TwoTower(verbose=0).fit(train)]
    table = tt.evaluate(models, test, ["micro_recall@10", "micro_recall@100"])
    assert table["micro_recall@10"][0] == pytest.approx(0.089, abs=0.003)
    assert table["micro_recall@10"][1] > 0.165
    assert table["micro_recall@100"][1] > 0.61


@pytest.mark.parametrize("optimizer", ["adam", "lazy_adam", "adagrad", "rowwise_adagrad", "sgd"])
@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_every_optimizer_lowers_the_loss(data: Any, optimizer: str, schedule: str) -> None:
    rate = {"sgd": 20.0, "adagrad": 0.1, "rowwise_adagrad": 0.1}.get(optimizer, 0.01)
    model = quick(optimizer=optimizer, schedule=schedule, learning_rate=rate, epochs=4, warmup=0.1).fit(data.ratings)
    loss = model.learning_curve_["loss"]
    assert loss.iloc[-1] < loss.iloc[0] - 0.02


# --- bytes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"hidden": (12,), "dropout": 0.2, "layer_norm": True}], ids=["sum", "hidden"])
def test_one_seed_gives_the_same_file_for_any_number_of_threads(
    data: Any, options: dict[str, Any], tmp_path: Any
) -> None:
    files = []
    for number, n_jobs in enumerate((1, 2, 7, 1)):
        model = quick(n_jobs=n_jobs, verbose=0, random_state=5, **options)
        model.fit(data.ratings, users=data.users, items=data.items, eval_set=data.ratings.tail(500))
        model.save(tmp_path / f"{number}.twotower")
        files.append((tmp_path / f"{number}.twotower").read_bytes())
    assert files[1:] == files[:1] * 3


def test_another_seed_gives_another_model_and_none_draws_one(data: Any) -> None:
    one, two = (quick(random_state=seed).fit(data.ratings) for seed in (1, 2))
    assert not np.array_equal(one.item_embeddings(), two.item_embeddings())
    drawn = quick(random_state=None).fit(data.ratings)
    again = quick(random_state=drawn.random_state_).fit(data.ratings)
    assert np.array_equal(drawn.item_embeddings(), again.item_embeddings())


def test_the_order_of_the_tables_does_not_matter(data: Any) -> None:
    straight = quick().fit(data.ratings, users=data.users, items=data.items)
    turned = quick().fit(data.ratings, users=data.users.iloc[::-1], items=data.items.sample(frac=1, random_state=0))
    assert straight.recommend(k=5).equals(turned.recommend(k=5))


# --- options chosen from the data -------------------------------------------------------------------------------------


def test_what_is_none_is_chosen_and_shown(data: Any) -> None:
    model = tt.TwoTower(verbose=0, n_jobs=1).fit(data.ratings)
    assert (model.epochs_, model.batch_size_, model.negatives_, model.learning_rate_) == (15, 256, 60, 0.003)
    # 1 / (1.35 ln(120 items / (8000 / 300) positives a user)) = 0.49, kept at 0.3.
    assert model.temperature_ == 0.3
    assert model.epochs is None
    assert model.batch_size is None


def test_a_rating_below_min_rating_is_seen_but_not_learned(data: Any) -> None:
    liked = data.ratings[data.ratings.rating >= 4]
    model = quick(rating_col="rating", min_rating=4).fit(data.ratings)
    assert len(model.history_) == len(data.ratings.drop_duplicates(["user_id", "item_id"]))
    seen = set(zip(data.ratings.user_id, data.ratings.item_id, strict=True))
    lists = model.recommend(k=5)
    assert not seen & set(zip(lists.user_id, lists.item_id, strict=True))
    assert model._item_counts.sum() == len(liked)


# --- features ---------------------------------------------------------------------------------------------------------


def test_the_schema_shows_every_column(data: Any) -> None:
    model = quick(item_features=["genres", tt.Numeric("year")]).fit(data.ratings, users=data.users, items=data.items)
    kinds = {(field.side, field.column): field.kind for field in model.schema_.fields}
    assert kinds == {
        ("users", "user_id"): "Id",
        ("users", "gender"): "Category",
        ("users", "age"): "Numeric",
        ("users", "occupation"): "Category",
        ("items", "item_id"): "Id",
        ("items", "genres"): "Categories",
        ("items", "year"): "Numeric",
        ("items", "title"): "left out",
    }


def test_a_width_of_its_own_needs_hidden_layers(data: Any) -> None:
    gender = tt.Category("gender", width=3)
    sentence = (
        "fit: column 'gender' has width 3, but must have 8 (dim), since columns are summed without hidden layers; "
        "leave width out or pass hidden=(128,)"
    )
    with pytest.raises(SchemaError, match=exactly(sentence)):
        quick(user_features=[gender]).fit(data.ratings, users=data.users)
    assert quick(user_features=[gender], hidden=(8,)).fit(data.ratings, users=data.users).recommend([1]).shape[0] == 10


def test_tables_may_be_of_another_library_than_the_interactions(data: Any) -> None:
    users, items = pl.from_pandas(data.users), pl.from_pandas(data.items)
    mixed = quick().fit(data.ratings, users=users, items=items)
    assert mixed.recommend(k=3).equals(quick().fit(data.ratings, users=data.users, items=data.items).recommend(k=3))


# --- validation and interruption --------------------------------------------------------------------------------------


def test_validation_keeps_the_best_epoch(data: Any) -> None:
    train, valid, _ = tt.split.leave_last(data.ratings, 2, valid=2)
    model = quick(epochs=6, patience=None).fit(train, eval_set=valid)
    curve = model.learning_curve_
    assert list(curve.columns) == ["epoch", "loss", "ndcg@10"]
    assert curve["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert model.best_epoch_ == curve["ndcg@10"].to_numpy().argmax() + 1
    best = tt.evaluate(model, valid, ["ndcg@10"])["ndcg@10"][0]
    assert best == pytest.approx(curve["ndcg@10"].max(), rel=1e-12)


def test_patience_stops_early(data: Any, capsys: pytest.CaptureFixture[str]) -> None:
    train, valid, _ = tt.split.leave_last(data.ratings, 2, valid=2)
    model = quick(epochs=400, learning_rate=0.1, patience=2, verbose=2).fit(train, eval_set=valid)
    epochs = len(model.learning_curve_)
    assert epochs == model.best_epoch_ + 2 < 400
    said = capsys.readouterr().err
    assert f"stopped early: ndcg@10 has not risen for 2 epochs; the best was epoch {model.best_epoch_}" in said
    assert re.search(r"TwoTower: epoch 1/400  loss \d+\.\d{4}  examples/s [\d,]+  ndcg@10 0\.\d{4}", said)


def test_it_warns_when_it_loses_to_popularity(data: Any) -> None:
    train, valid, _ = tt.split.leave_last(data.ratings, 2, valid=2)
    with pytest.warns(
        UserWarning, match=r"fit: the best ndcg@10 on eval_set is 0\.\d{4}, below 0\.\d{4} of the popularity list"
    ):
        quick(epochs=1, optimizer="sgd", learning_rate=1e-6, item_bias=False).fit(train, eval_set=valid)


def test_an_eval_set_without_a_known_user_is_refused(data: Any) -> None:
    strangers = data.ratings.assign(user_id=data.ratings.user_id + 10_000)
    sentence = (
        "fit: eval_set has no relevant row of a user that is in the interactions; split so that users are in both parts"
    )
    with pytest.raises(DataError, match=exactly(sentence)):
        quick().fit(data.ratings, eval_set=strangers)


@pytest.mark.filterwarnings("ignore:fit. the best ndcg@10 on eval_set")
def test_validation_on_many_users_is_a_sample_and_says_so(
    data: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(_training, "USERS_TO_VALIDATE", 50)
    train, valid, _ = tt.split.leave_last(data.ratings, 2, valid=2)
    quick(verbose=2).fit(train, eval_set=valid)
    assert re.search(
        r"validating on a sample of 50 of \d+ users, popularity has ndcg@10 0\.\d{4}", capsys.readouterr().err
    )


@pytest.mark.parametrize("with_validation", [False, True])
def test_ctrl_c_leaves_a_usable_model(data: Any, monkeypatch: pytest.MonkeyPatch, with_validation: bool) -> None:
    train, valid, _ = tt.split.leave_last(data.ratings, 2, valid=2)
    run_epoch, calls = _training._run_epoch, []

    def interrupted(*args: Any) -> float:
        calls.append(args)
        if len(calls) == 3:
            args[0].run_steps(1, 1)
            raise KeyboardInterrupt
        return run_epoch(*args)

    monkeypatch.setattr(_training, "_run_epoch", interrupted)
    model = quick(epochs=9)
    with pytest.raises(KeyboardInterrupt):
        model.fit(train, eval_set=valid if with_validation else None)
    assert len(model.learning_curve_) == 2
    assert len(model.recommend(k=3)) == 3 * train.user_id.nunique()
    assert np.isfinite(model.item_embeddings()).all()


# --- bad input --------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_says_what_to_try(data: Any) -> None:
    model = quick(similarity="dot", optimizer="sgd", learning_rate=1e30)
    with pytest.raises(
        NumericalError,
        match=r"Trainer: the loss is -?nan at step \d+ \(epoch 1, learning rate .*try a smaller learning rate",
    ):
        model.fit(data.ratings)
    with pytest.raises(AttributeError):
        model.recommend()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"dim": 0}, "fit: dim is 0, but must be at least 1"),
        ({"dim": 2.5}, "fit: dim is 2.5, but must be an integer of at least 1"),
        ({"epochs": 0}, "fit: epochs is 0, but must be at least 1"),
        ({"hidden": 64}, "fit: hidden is 64, but must be a tuple of widths, such as (128,), or ()"),
        ({"hidden": (64, 0)}, "fit: hidden[1] is 0, but must be at least 1"),
        ({"activation": "tanh"}, "fit: activation is 'tanh', but must be one of 'relu', 'gelu'"),
        (
            {"similarity": "cosin"},
            "fit: similarity is 'cosin', but must be one of 'cosine', 'dot'; did you mean 'cosine'?",
        ),
        ({"temperature": 0}, "fit: temperature is 0, but must be a finite number above 0"),
        ({"learning_rate": float("nan")}, "fit: learning_rate is nan, but must be a finite number above 0"),
        ({"dropout": 1.0}, "fit: dropout is 1, but must be a finite number at least 0 and at most 0.99"),
        ({"logq": 2}, "fit: logq is 2, but must be a finite number at least 0 and at most 1"),
        ({"negatives": -1}, "fit: negatives is -1, but must be at least 0"),
        ({"random_state": -1}, "fit: random_state is -1, but must be at least 0"),
        ({"item_bias": "yes"}, "fit: item_bias is 'yes', but must be True or False"),
        (
            {"eval_metric": "coverage@10"},
            "fit: eval_metric is 'coverage@10', but must be a metric of single users, such as 'ndcg@10'",
        ),
        (
            {"n_jobs": 0},
            "fit: n_jobs is 0, but must be -1 (every CPU this process may use) or an integer of at least 1",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_options_out_of_range_are_named(data: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises((ValueError, TypeError), match=exactly(sentence)):
        quick(**options).fit(data.ratings)


def _with(frame: pd.DataFrame, column: str, value: Any) -> pd.DataFrame:
    changed = frame.copy()
    changed[column] = changed[column].astype("float64")
    changed.loc[changed.index[3], column] = value
    return changed


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (
            lambda d: {"interactions": _with(d.ratings, "rating", np.nan)},
            {"rating_col": "rating"},
            "fit: column 'rating' is missing or infinite in 1 row (first: 3); drop these rows or fill them in",
        ),
        (
            lambda d: {"interactions": _with(d.ratings, "rating", np.inf)},
            {"weight_col": "rating"},
            "fit: column 'rating' is missing or infinite in 1 row (first: 3); drop these rows or fill them in",
        ),
        (
            lambda d: {"interactions": _with(d.ratings, "rating", -1)},
            {"weight_col": "rating"},
            "fit: column 'rating' is negative in 1 row (first: 3); a weight is 0 or more, and 0 means seen but not liked",
        ),
        (
            lambda d: {"interactions": d.ratings[d.ratings.user_id == d.ratings.user_id.iloc[0]]},
            {},
            "fit: all positive examples are of one user, but there must be at least 2 users to tell apart; "
            "add interactions, or use Popularity",
        ),
        (
            lambda d: {"interactions": d.ratings[d.ratings.item_id == d.ratings.item_id.iloc[0]]},
            {},
            "fit: all positive examples are of one item, but there must be at least 2 items to tell apart; "
            "add interactions, or use Popularity",
        ),
        (
            lambda d: {"users": d.users[d.users.user_id > 2]},
            {},
            "fit: 2 ids of column 'user_id' are in the interactions but not in users (first: {users}); "
            "add their rows to users, or drop these interactions",
        ),
        (
            lambda d: {"items": d.items[d.items.item_id != 7]},
            {},
            "fit: 1 id of column 'item_id' is in the interactions but not in items (first: 7); "
            "add their rows to items, or drop these interactions",
        ),
        (
            lambda d: {"users": pd.concat([d.users, d.users.head(2)])},
            {},
            "fit: column 'user_id' of users has 2 ids in more than one row (first: 1, 2); keep one row an id",
        ),
        (
            lambda d: {"users": d.users.assign(age=np.inf)},
            {"user_features": ["age"]},
            "fit: users: column 'age' is infinite in 300 rows (first: 0, 1, 2, 3, 4); make these values finite or missing",
        ),
        (
            lambda d: {"items": d.items},
            {"item_features": [tt.Category("genres")]},
            None,
        ),
        (
            lambda d: {"users": d.users},
            {"user_features": ["agee"]},
            "fit: users has no column 'agee'; its columns are 'user_id', 'gender', 'age', 'occupation'; did you mean 'age'?",
        ),
        (
            lambda d: {},
            {"user_features": ["age"]},
            "fit: user_features names 'age', but fit got no users table; pass users=",
        ),
    ],
    ids=[
        "nan-rating", "infinite-weight", "negative-weight", "one-user", "one-item", "user-without-features", "item-not-in-items",
        "user-twice", "infinite-feature", "list-as-category", "column-misspelt", "no-table",
    ],
)  # fmt: skip
def test_bad_tables_are_named(data: Any, change: Any, options: dict[str, Any], sentence: str | None) -> None:
    tables = {"interactions": data.ratings} | change(data)
    with pytest.raises((DataError, SchemaError)) as caught:
        quick(**options).fit(**tables)
    if sentence is None:
        assert "Category needs one value a row; use Categories for lists" in str(caught.value)
    else:
        order = [u for u in dict.fromkeys(data.ratings.user_id) if u <= 2]
        assert str(caught.value) == sentence.replace("{users}", ", ".join(map(str, order)))
