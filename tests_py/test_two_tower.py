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


def test_vectors_as_they_are_must_fit_where_columns_are_summed(data: Any) -> None:
    items = data.items.assign(vector=list(np.ones((len(data.items), 5), dtype="float32")))
    sentence = (
        "fit: column 'vector' holds vectors of 5 numbers, but without project=True they must have 8 (dim), since columns are "
        "summed without hidden layers; leave project out, or pass hidden=(128,)"
    )
    given = [tt.Vector("vector", project=False)]
    with pytest.raises(SchemaError, match=exactly(sentence)):
        quick(item_features=given).fit(data.ratings, items=items)
    assert len(quick(item_features=given, hidden=(8,)).fit(data.ratings, items=items).recommend([1], k=3)) == 3
    assert len(quick(item_features=given, dim=5).fit(data.ratings, items=items).recommend([1], k=3)) == 3


def test_columns_of_one_table_have_one_width(data: Any) -> None:
    items = data.items.assign(first=[genres[0] for genres in data.items.genres])
    features = [tt.Category("first", table="genre", width=4), tt.Categories("genres", table="genre", width=6)]
    sentence = (
        "fit: column 'genres' has width 6 in the table 'genre', but a column before it has 4; give all columns of a table the "
        "same width"
    )
    with pytest.raises(SchemaError, match=exactly(sentence)):
        quick(item_features=features, hidden=(8,)).fit(data.ratings, items=items)


def test_a_file_from_before_these_towers_is_refused(data: Any, tmp_path: Any) -> None:
    model = quick().fit(data.ratings)
    state = model._state
    model._state = lambda: ({name: part for name, part in state()[0].items() if name != "sides"}, state()[1])  # type: ignore[method-assign]
    model.save(tmp_path / "old")
    with pytest.raises(
        DataError, match=r"does not hold a whole TwoTower \(it was written before this version's towers; fit"
    ):
        tt.load(tmp_path / "old")


def test_tables_may_be_of_another_library_than_the_interactions(data: Any) -> None:
    users, items = pl.from_pandas(data.users), pl.from_pandas(data.items)
    mixed = quick().fit(data.ratings, users=users, items=items)
    assert mixed.recommend(k=3).equals(quick().fit(data.ratings, users=data.users, items=data.items).recommend(k=3))


# --- layers -----------------------------------------------------------------------------------------------------------

LAYERS: list[dict[str, Any]] = [
    {"cross_layers": 2},
    {"cross_layers": 1, "cross_rank": 3},
    {"cross_layers": 2, "hidden": (16, 16), "residual": True, "layer_norm": True},
    {"cross_layers": 2, "hidden": (12,), "cross": "parallel", "dropout": 0.1, "activation": "gelu"},
    {"hidden": (12, 12, 12), "residual": True, "dropout": 0.2},
]


@pytest.mark.parametrize("options", LAYERS, ids=lambda options: "-".join(map(str, options)))
def test_every_kind_of_layers_learns_and_keeps_its_bytes(data: Any, options: dict[str, Any], tmp_path: Any) -> None:
    files = []
    for number, n_jobs in enumerate((1, 2, 7)):
        model = quick(n_jobs=n_jobs, epochs=4, **options).fit(data.ratings, users=data.users, items=data.items)
        model.save(tmp_path / f"{number}.twotower")
        files.append((tmp_path / f"{number}.twotower").read_bytes())
    assert files[1:] == files[:1] * 2
    loss = model.learning_curve_["loss"]
    assert loss.iloc[-1] < loss.iloc[0] - 0.05
    loaded = tt.load(tmp_path / "0.twotower")
    assert loaded.recommend(k=5).equals(model.recommend(k=5))
    assert loaded.get_params()["cross_layers"] == model.cross_layers


def test_widths_follow_the_number_of_values_under_layers(data: Any) -> None:
    options: dict[str, Any] = {
        "dim": 32,
        "hidden": (16,),
        "user_features": ["gender", tt.Category("occupation", width=6), "age"],
    }
    model = quick(**options).fit(data.ratings, users=data.users)
    widths = {field.column: field.width for field in model.schema_.users}
    assert widths == {"user_id": 32, "gender": 4, "occupation": 6, "age": 8}
    summed = quick(dim=32, user_features=["gender", "age"]).fit(data.ratings, users=data.users)
    assert {field.width for field in summed.schema_.users if field.kind != "left out"} == {32}
    gender = next(field for field in summed.schema_.users if field.column == "gender")
    assert gender.memory == 4 * 32 * (gender.values + 1)


# --- ids --------------------------------------------------------------------------------------------------------------


def test_without_ids_the_features_are_all_there_is(data: Any) -> None:
    options = {"user_features": [tt.Id("user_id", dropout=1.0), tt.Category("gender")], "item_features": []}
    model = quick(**options).fit(data.ratings, users=data.users)
    vectors = model.user_embeddings()
    assert len(np.unique(vectors, axis=0)) == data.users.gender.nunique()
    assert model._parameters["table.user_id"].shape == (1, 8)


def test_rare_ids_share_the_vector_of_the_unknown(data: Any) -> None:
    counts = data.ratings.item_id.value_counts()
    limit = int(counts.median())
    model = quick(item_features=[tt.Id("item_id", min_count=limit)]).fit(data.ratings)
    vectors = {item: vector.tobytes() for item, vector in zip(model.item_ids_, model.item_embeddings(), strict=True)}
    rare = {vectors[item] for item in counts.index[counts < limit]}
    assert len(rare) == 1
    assert len(set(vectors.values())) == (counts >= limit).sum() + 1
    line = next(field for field in model.schema_.items if field.kind == "Id")
    assert line.note == f"{(counts < limit).sum()} share the vector of the unknown"


def test_the_unknown_is_trained_where_there_are_features(data: Any) -> None:
    tables = {"users": data.users, "items": data.items}
    first = quick(epochs=1, learning_rate=1e-9).fit(data.ratings, **tables)._parameters["table.user_id"][0]
    assert not np.allclose(quick().fit(data.ratings, **tables)._parameters["table.user_id"][0], first, atol=1e-3)
    own = [tt.Id("user_id", dropout=0.0), "gender"]
    assert np.allclose(
        quick(user_features=own).fit(data.ratings, **tables)._parameters["table.user_id"][0], first, atol=1e-3
    )
    ids_only = quick().fit(data.ratings)
    assert ids_only._sides.users.unknown_share == ids_only._sides.items.unknown_share == 0
    assert not ids_only._serves_unknown


def test_columns_of_one_table_share_their_vectors(data: Any) -> None:
    items = data.items.assign(first=[genres[0] for genres in data.items.genres])
    users = data.users.assign(favourite=[data.items.genres.iloc[n % 100][0] for n in range(len(data.users))])
    model = quick(
        user_features=[tt.Category("favourite", table="genre")],
        item_features=[tt.Category("first", table="genre"), tt.Categories("genres", table="genre")],
    ).fit(data.ratings, users=users, items=items)
    tables = [name for name in model._parameters if name.startswith("table.")]
    assert sorted(tables) == ["table.item_bias", "table.item_id", "table.shared.genre", "table.user_id"]
    likes = data.ratings.drop_duplicates("user_id").assign(item_id=1)[["user_id", "item_id"]]
    assert np.isfinite(model.predict(likes)).all()


def test_a_column_of_items_shares_the_vectors_of_the_ids(data: Any) -> None:
    items = data.items.assign(like=[[1 + n % 120, 1 + (n + 1) % 120] for n in range(len(data.items))])
    model = quick(
        item_features=[tt.Id("item_id", table="items"), tt.Categories("like", table="items")],
        user_features=[tt.History()],
    ).fit(data.ratings, items=items)
    assert model._parameters["table.shared.items"].shape == (121, 8)
    more = items.head(1).assign(item_id=900)
    new = pd.DataFrame({"user_id": [1], "item_id": [900]})
    model.partial_fit(new, items=more, epochs=1)
    assert model._parameters["table.shared.items"].shape == (122, 8)


# --- every kind of column ---------------------------------------------------------------------------------------------


def all_kinds(data: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(0)
    users = data.users.assign(joined=pd.to_datetime(1_500_000_000 + 86_400 * data.users.user_id, unit="s"))
    vectors = [None if n % 7 == 3 else rng.normal(size=5).astype("float32") for n in range(len(data.items))]
    return users, data.items.assign(vector=vectors, price=rng.lognormal(size=len(data.items)))


KINDS: dict[str, Any] = {
    "user_features": [
        tt.Id("user_id", dropout=0.2), tt.Category("gender"), tt.Numeric("age", buckets=5), tt.Timestamp("joined", parts=("year",)),
        tt.Category("occupation", min_count=2), tt.History(max_length=10),
    ],
    "item_features": [
        tt.Id("item_id", min_count=2), tt.Text("title", chars=(3, 4), words=None), tt.Categories("genres", pooling="sqrt"),
        tt.Numeric("price", scale="log"), tt.Vector("vector"), "year",
    ],
    "context_features": [tt.Timestamp("timestamp", parts=("weekday",), buckets=8)],
    "time_col": "timestamp",
}  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"hidden": (16,)}, {"cross_layers": 1}], ids=str)
@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_all_kinds_in_one_model(data: Any, options: dict[str, Any], kind: str, tmp_path: Any) -> None:
    users, items = all_kinds(data)
    strangers = users.head(5).assign(user_id=range(-5, 0), history=[[1, 2], [], None, [5], [7, 8, 9]], timestamp=1.6e9)
    tables = [data.ratings, users, items, strangers]
    if kind == "polars":
        tables = [pl.from_pandas(table) for table in tables]
    ratings, users, items, strangers = tables
    model = quick(**KINDS, **options).fit(ratings, users=users, items=items)
    lists = model.recommend(strangers, k=6, on_unknown="features")
    assert type(lists) is type(ratings)
    assert len(lists) == 30
    model.save(tmp_path / "model")
    loaded = tt.load(tmp_path / "model")
    assert loaded.recommend(strangers, k=6, on_unknown="features").equals(lists)
    assert repr(loaded.schema_) == repr(model.schema_)
    assert loaded.get_params() | {"n_jobs": 1, "verbose": 0} == model.get_params()
    # A row alone and all kinds of companions: the same bits.
    alone = model.recommend(strangers[2:3], k=6, on_unknown="features")
    assert np.array_equal(np.asarray(alone["score"]), np.asarray(lists["score"])[12:18])


def test_known_and_unknown_people_in_one_frame(data: Any) -> None:
    model = quick(user_features=["gender", "age"]).fit(data.ratings, users=data.users)
    frame = pd.concat([data.users.head(3), data.users.head(2).assign(user_id=[-1, -2], age=[20, None])])
    lists = model.recommend(frame, k=4, on_unknown="features")
    assert lists.user_id.tolist() == np.repeat(frame.user_id.to_numpy(), 4).tolist()
    known = model.recommend(data.users.user_id.head(3).tolist(), k=4)
    assert lists.head(12).reset_index(drop=True).equals(known)
    # Known people need no features, whatever the frame says of them.
    assert model.recommend(pd.DataFrame({"user_id": [1, 2], "age": ["x", "y"]}), k=4).equals(
        model.recommend([1, 2], k=4)
    )
    # Ids alone: nothing is known of them.
    assert len(model.recommend([-7], k=4, on_unknown="features")) == 4
    popular = model.recommend(pd.DataFrame({"user_id": [1, -9]}), k=4, on_unknown="popular")
    assert len(popular) == 8


def test_many_strangers_at_once(data: Any) -> None:
    model = quick(user_features=["gender", "age", tt.History()], n_jobs=-1).fit(data.ratings, users=data.users)
    frame = pd.concat([data.users] * 70, ignore_index=True)
    frame = frame.assign(user_id=-1 - np.arange(len(frame)), history=[[1 + n % 100, 5] for n in range(len(frame))])
    lists = model.recommend(frame, k=3, on_unknown="features")
    assert len(lists) == 3 * len(frame)
    again = model.recommend(frame.iloc[8190:8194], k=3, on_unknown="features")
    assert again.score.tolist() == lists.score.iloc[3 * 8190 : 3 * 8194].tolist()


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
        ({"residual": 1}, "fit: residual is 1, but must be True or False"),
        ({"cross_layers": -1}, "fit: cross_layers is -1, but must be at least 0"),
        ({"cross": "beside"}, "fit: cross is 'beside', but must be one of 'stacked', 'parallel'"),
        ({"cross_rank": 0}, "fit: cross_rank is 0, but must be at least 1"),
        ({"group_size": 0}, "fit: group_size is 0, but must be at least 1"),
        (
            {"cross_rank": 8},
            "fit: cross_rank is 8, but cross_layers is 0; pass cross_layers= too, or leave cross_rank out",
        ),
        (
            {"cross": "parallel", "cross_layers": 2},
            "fit: cross is 'parallel', but cross_layers is 2 and hidden is (); pass both, or leave cross out",
        ),
        (
            {"residual": True, "hidden": (32, 16)},
            "fit: residual is True, but hidden is (32, 16), where no layer has the width of the one before it; "
            "pass hidden=(128, 128), or leave residual out",
        ),
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
