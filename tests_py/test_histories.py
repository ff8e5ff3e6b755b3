"""Histories: where they come from, that no row sees its own answer, frames that bring lists, all encoders."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import twotower as tt
from conformance import exactly
from twotower.errors import DataError, SchemaError
from twotower.models._histories import Histories, cut_into_groups, sessions_of

ENCODERS = ["mean", "decay", "attention", "gru", "transformer"]


@pytest.fixture(scope="module")
def data() -> Any:
    return tt.datasets.synthetic(num_users=300, num_items=120, num_interactions=8000, random_state=1, kind="pandas")


def quick(**options: Any) -> tt.TwoTower:
    return tt.TwoTower(**({"dim": 8, "epochs": 2, "verbose": 0, "n_jobs": 1, "time_col": "timestamp"} | options))


def lists_of(*lists: list[int], weights: list[float] | None = None) -> Histories:
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64)
    items = np.array([item for one in lists for item in one], dtype=np.int32)
    return Histories(offsets, items, None if weights is None else np.array(weights, dtype=np.float32))


def plain(histories: Histories) -> list[list[int]]:
    return [part.tolist() for part in np.split(histories.items, histories.offsets[1:-1])] if len(histories) else []


# --- lists ------------------------------------------------------------------------------------------------------------


def test_lists_are_taken_cut_joined_and_replaced() -> None:
    lists = lists_of([1, 2, 3], [], [4], [5, 6])
    assert plain(lists.take(np.array([3, -1, 0, 0]))) == [[5, 6], [], [1, 2, 3], [1, 2, 3]]
    assert plain(lists.newest(2)) == [[2, 3], [], [4], [5, 6]]
    assert plain(lists.appended(lists_of([7], []))) == [[1, 2, 3], [], [4], [5, 6], [7], []]
    assert plain(lists.extended(lists_of([7], [8], [], [9]))) == [[1, 2, 3, 7], [8], [4], [5, 6, 9]]
    assert plain(lists.replaced(np.array([2, 0]), lists_of([8], []))) == [[], [], [8], [5, 6]]
    assert plain(Histories.empty(3)) == [[], [], []]
    assert plain(Histories.empty(0).take(np.array([-1, -1]))) == [[], []]
    offsets, items = lists_of([3, 1, 3], [], [0]).seen()
    assert (offsets.tolist(), items.tolist()) == ([0, 2, 2, 3], [1, 3, 0])


def test_weights_go_with_their_items() -> None:
    lists = lists_of([1, 2], [3], weights=[0.5, 2, 3])
    joined = lists.extended(lists_of([4], []))
    assert (plain(joined), joined.weights.tolist()) == ([[1, 2, 4], [3]], [0.5, 2, 1, 3])
    assert lists.take(np.array([1, 0])).weights.tolist() == [3, 0.5, 2]


def test_sessions_end_with_a_pause_of_their_user() -> None:
    users = np.array([0, 1, 0, 1, 0, 0], dtype=np.int32)
    seconds = np.array([0, 0, 3599, 3601, 7199, 10_800])
    numbers = sessions_of(users, seconds, 1.0)
    assert numbers.dtype == np.int32
    assert numbers[users == 0].tolist() == [0, 0, 0, 1]  # a pause of an hour is none yet, one second more is
    assert np.diff(numbers[users == 1]).tolist() == [1]
    assert sessions_of(users[:0], seconds[:0], 1.0).size == 0


def test_training_goes_by_sessions_where_time_is_known_and_by_less_where_it_is_not(data: Any) -> None:
    def loss(time_col: str | None, **options: Any) -> float:
        model = quick(user_features=[tt.History(**options)], item_features=[], time_col=time_col)
        return float(model.fit(data.ratings).learning_curve_["loss"].iloc[-1])

    sessions, others = loss("timestamp"), loss(None)
    assert sessions != loss("timestamp", session_gap=None)
    assert sessions != others
    # One endless session is the user's other positives, in the order of time.
    endless = loss("timestamp", session_gap=1e9)
    by_time = data.ratings.sort_values("timestamp", kind="stable")
    model = quick(user_features=[tt.History()], item_features=[], time_col=None).fit(by_time)
    assert endless == pytest.approx(float(model.learning_curve_["loss"].iloc[-1]), rel=1e-4)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_group_sees_what_came_before_it_and_nothing_else(size: int) -> None:
    rng = np.random.default_rng(size)
    before = [rng.integers(0, 9, rng.integers(0, 4)).tolist() for _ in range(5)]
    users, items = rng.integers(0, 5, 40).astype(np.int32), np.arange(100, 140, dtype=np.int32)
    group_of_pair, user_of_group, groups = cut_into_groups(lists_of(*before), users, items, None, size, 6)
    found = plain(groups)
    assert (user_of_group[group_of_pair] == users).all()
    past = [list(one) for one in before]
    counts = [0] * 5
    for pair, (user, item) in enumerate(zip(users, items, strict=True)):
        own = found[group_of_pair[pair]]
        whole = past[user][: len(past[user]) - counts[user] % size]
        assert own == whole[-6:]
        past[user].append(int(item))
        counts[user] += 1
    assert len(found) == sum(-(-count // size) for count in counts)


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("time_col", [None, "timestamp"])
def test_every_encoder_learns_from_the_history(data: Any, encoder: str, time_col: str | None) -> None:
    features = [tt.Id("user_id", dropout=1.0), tt.History(encoder=encoder, max_length=20)]
    model = quick(user_features=features, time_col=time_col, epochs=6, learning_rate=0.01).fit(data.ratings)
    loss = model.learning_curve_["loss"]
    assert loss.iloc[-1] < loss.iloc[0] - 0.05
    # The history alone tells people apart here.
    vectors = model.user_embeddings()
    assert len(np.unique(vectors.round(5), axis=0)) > 250


@pytest.mark.parametrize("encoder", ENCODERS)
def test_one_seed_gives_the_same_file_for_any_number_of_threads(data: Any, encoder: str, tmp_path: Any) -> None:
    features = [tt.History(encoder=encoder, max_length=7, dropout=0.1 if encoder == "transformer" else 0.0)]
    files = []
    for n_jobs in (1, 2, 7):
        model = quick(n_jobs=n_jobs, user_features=features)
        model.fit(data.ratings, items=data.items, eval_set=data.ratings.tail(300)).save(tmp_path / "model")
        files.append((tmp_path / "model").read_bytes())
    assert files[1:] == files[:1] * 2


def chains() -> pd.DataFrame:
    """Everyone walks round a ring of 40 items from a start of their own: the next item follows from the last one alone."""
    rng = np.random.default_rng(0)
    starts, steps = rng.integers(0, 40, 400), np.arange(12)
    items = (starts[:, None] + steps) % 40
    users = np.broadcast_to(np.arange(400)[:, None], items.shape)
    table = pd.DataFrame({"user_id": users.ravel(), "item_id": items.ravel(), "timestamp": np.tile(steps, 400)})
    return table.sample(frac=1, random_state=0)


@pytest.mark.parametrize("encoder", ["gru", "transformer"])
def test_sequence_encoders_find_what_comes_next(encoder: str) -> None:
    model = tt.TwoTower(
        user_features=[tt.Id("user_id", dropout=1.0), tt.History(encoder=encoder, max_length=8)],
        time_col="timestamp", dim=32, epochs=40, learning_rate=0.01, verbose=0, temperature=0.2,
    ).fit(chains())  # fmt: skip
    new = pd.DataFrame({"user_id": [-1, -2, -3], "history": [[3, 4, 5], [20, 21, 22, 23], [38, 39, 0]]})
    lists = model.recommend(new, k=1, on_unknown="features")
    assert lists.item_id.tolist() == [6, 24, 1]


def test_nobody_sees_the_answer_in_training() -> None:
    # Random pairs, a row a positive: whoever saw its own item, or with times a later one, would get below the entropy.
    rng = np.random.default_rng(3)
    pairs = pd.DataFrame({"user_id": rng.integers(0, 300, 3000), "item_id": rng.integers(0, 50, 3000)})
    pairs = pairs.drop_duplicates().assign(timestamp=lambda d: np.arange(len(d)))
    for encoder in ENCODERS:
        for time_col in (None, "timestamp"):
            model = tt.TwoTower(
                user_features=[tt.Id("user_id", dropout=1.0), tt.History(encoder=encoder, max_length=50)],
                time_col=time_col, dim=16, epochs=8, verbose=0, negatives=50, similarity="dot", learning_rate=0.003,
            ).fit(pairs)  # fmt: skip
            assert model.learning_curve_["loss"].iloc[-1] > np.log(50) - 0.25, (encoder, time_col)


def test_the_order_of_the_table_does_not_matter_where_time_is_known(data: Any) -> None:
    ratings = data.ratings.assign(timestamp=np.arange(len(data.ratings)))
    one = quick(user_features=[tt.History()]).fit(ratings)
    two = quick(user_features=[tt.History()]).fit(ratings.sample(frac=1, random_state=2))
    assert one.recommend(k=5).equals(two.recommend(k=5))


def test_ratings_weigh_the_items(data: Any) -> None:
    models = [
        quick(user_features=[tt.History(weight_by=by)], rating_col="rating").fit(data.ratings)
        for by in (None, "rating")
    ]
    assert not np.array_equal(models[0].user_embeddings(), models[1].user_embeddings())
    assert set(np.unique(models[1]._histories.weights)) <= set(data.ratings.rating.unique())


# --- lists of a column ------------------------------------------------------------------------------------------------


def test_lists_of_the_table_of_users_take_the_place_of_the_interactions(data: Any) -> None:
    users = data.users.assign(history=[[1, 2, 3] if n % 2 else [4] for n in range(len(data.users))])
    model = quick(user_features=[tt.Id("user_id", dropout=1.0), tt.History()]).fit(data.ratings, users=users)
    assert len(np.unique(model.user_embeddings(), axis=0)) == 2
    assert [f.kind for f in model.schema_.users if f.column == "history"] == ["History"]


@pytest.fixture(scope="module")
def model(data: Any) -> tt.TwoTower:
    return quick(user_features=["gender", tt.History(max_length=5)], epochs=3).fit(data.ratings, users=data.users)


def test_strangers_are_served_by_the_lists_they_bring(data: Any, model: tt.TwoTower) -> None:
    frame = pd.DataFrame(
        {"user_id": [-1, -2, -3, 1], "gender": ["F", "F", None, "M"], "history": [[1, 2, 3], [], None, [7, 8]]}
    )
    lists = model.recommend(frame, k=20, on_unknown="features")
    assert lists.user_id.value_counts().to_dict() == {-1: 20, -2: 20, -3: 20, 1: 20}
    assert not set(lists[lists.user_id == -1].item_id) & {1, 2, 3}
    seen = set(data.ratings[data.ratings.user_id == 1].item_id)
    assert not set(lists[lists.user_id == 1].item_id) & (seen | {7, 8})
    unfiltered = model.recommend(frame, k=120, on_unknown="features", filter_seen=False)
    assert {1, 2, 3} <= set(unfiltered[unfiltered.user_id == -1].item_id)
    # Only what is given counts, and a user alone gets what a user among many gets.
    alone = model.recommend(frame.tail(1), k=20, on_unknown="features")
    assert alone.score.tolist() == lists[lists.user_id == 1].score.tolist()
    other = model.recommend([1], k=20)
    assert other.score.tolist() != alone.score.tolist()


def test_a_known_user_without_a_list_keeps_the_stored_history(model: tt.TwoTower) -> None:
    frame = pd.DataFrame({"user_id": [1, 2], "history": [None, [3]]})
    with_none = model.recommend(frame, k=5)
    assert with_none[with_none.user_id == 1].score.tolist() == model.recommend([1], k=5).score.tolist()
    assert with_none[with_none.user_id == 2].score.tolist() != model.recommend([2], k=5).score.tolist()


def test_only_the_newest_items_are_read_but_all_are_seen(model: tt.TwoTower) -> None:
    frame = pd.DataFrame(
        {"user_id": [-1, -2], "gender": ["F", "F"], "history": [[9, 10, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]}
    )
    scores = model.recommend(frame, k=120, on_unknown="features", filter_seen=False).score.to_numpy().reshape(2, -1)
    assert np.array_equal(scores[0], scores[1])
    lists = model.recommend(frame, k=120, on_unknown="features")
    assert not {9, 10} & set(lists[lists.user_id == -1].item_id)


def test_lists_of_polars_and_arrays_are_the_same(model: tt.TwoTower) -> None:
    rows = {"user_id": [-1, -2], "gender": ["F", "M"], "history": [[1, 2, 3], None]}
    pandas_lists = model.recommend(pd.DataFrame(rows), k=5, on_unknown="features")
    polars_lists = model.recommend(pl.DataFrame(rows), k=5, on_unknown="features")
    assert pandas_lists.score.tolist() == polars_lists["score"].to_list()
    arrays = pd.DataFrame(rows | {"history": [np.array([1, 2, 3]), None]})
    assert model.recommend(arrays, k=5, on_unknown="features").equals(pandas_lists)


def test_unknown_items_are_dropped_with_one_warning(model: tt.TwoTower) -> None:
    known = pd.DataFrame({"user_id": [-1, -2], "gender": ["F", "F"], "history": [[1, 2], []]})
    frame = known.assign(history=[[901, 1, 902, 2], [903, 904, 905, 906]])
    with pytest.warns(
        UserWarning,
        match=exactly(
            "recommend: users: column 'history': 6 of 8 ids are unknown (first: 901, 902, 903, 904, 905); they are left out of "
            "the histories"
        ),
    ) as caught:
        lists = model.recommend(frame, k=5, on_unknown="features")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert lists.score.tolist() == model.recommend(known, k=5, on_unknown="features").score.tolist()


def test_ids_of_another_type_are_unknown_and_the_warning_says_so(model: tt.TwoTower) -> None:
    frame = pd.DataFrame({"user_id": [-1], "gender": ["F"], "history": [["1", "2"]]})
    with pytest.warns(UserWarning, match="the fitted ids are int64, these are string"):
        assert len(model.recommend(frame, k=5, on_unknown="features")) == 5


def test_none_within_a_list_is_passed_over(model: tt.TwoTower) -> None:
    frame = pd.DataFrame({"user_id": [-1, -2], "gender": ["F", "F"], "history": [[1, None, 2], [1, 2]]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = model.recommend(frame, k=5, on_unknown="features").score.to_numpy().reshape(2, -1)
    assert np.array_equal(scores[0], scores[1])


def test_a_column_that_holds_no_lists_is_refused(model: tt.TwoTower) -> None:
    frame = pd.DataFrame({"user_id": [-1], "gender": ["F"], "history": ["1,2"]})
    with pytest.raises(
        SchemaError, match=r"^recommend: users: column 'history' holds text \(.*\), but must hold lists"
    ):
        model.recommend(frame, on_unknown="features")


def test_a_history_survives_the_file(model: tt.TwoTower, tmp_path: Any) -> None:
    model.save(tmp_path / "model")
    loaded = tt.load(tmp_path / "model")
    assert loaded.recommend(k=5).equals(model.recommend(k=5))
    frame = pd.DataFrame({"user_id": [-1], "gender": ["F"], "history": [[1, 2]]})
    assert loaded.recommend(frame, on_unknown="features").equals(model.recommend(frame, on_unknown="features"))
    assert loaded.get_params()["user_features"] == model.user_features


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"user_features": [tt.History(weight_by="rating")]},
            'fit: History(\'history\', weight_by=\'rating\') weights items by their ratings, but rating_col is None; pass rating_col="rating"',
        ),
        (
            {"user_features": [tt.History(width=3)]},
            "fit: History('history', width=3) has width 3, but must have 8 (dim), since it shares the items' vectors; "
            "leave width out or change dim",
        ),
        (
            {"user_features": [tt.History(encoder="transformer", heads=3)]},
            "fit: History('history', encoder='transformer', heads=3) has 3 heads, but dim is 8, which they must divide; "
            "change heads or dim",
        ),
        (
            {"user_features": [tt.History(encoder="gru")], "group_size": 4},
            'fit: group_size is 4, but must be 1 with encoder="gru", where every positive has a row of its own; '
            "leave group_size out",
        ),
        (
            {"user_features": [tt.History()], "item_features": [tt.Id("item_id", dropout=1.0)]},
            "fit: History('history') has nothing to read: items have neither ids nor features of width 8 (dim); "
            "leave the widths out, or give items features",
        ),
    ],
)  # fmt: skip
def test_what_a_history_cannot_be(data: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises((SchemaError, ValueError), match=exactly(sentence)):
        quick(**options).fit(data.ratings)


def test_negative_ratings_cannot_weigh(data: Any) -> None:
    ratings = data.ratings.assign(rating=data.ratings.rating.where(data.ratings.index != 3, -1.0))
    sentence = (
        "fit: column 'rating' is negative in 1 row (first: 3), but History('history', weight_by='rating') weights items by it; "
        "shift the ratings, drop these rows, or leave weight_by out"
    )
    with pytest.raises(DataError, match=exactly(sentence)):
        quick(user_features=[tt.History(weight_by="rating")], rating_col="rating").fit(ratings)
