"""Two stages: the kit, what the second stage learns from, third-party rankers, and what goes wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import twotower as tt
from conformance import RecommenderConformance, exactly, interactions, two_tastes
from twotower import frames
from twotower.errors import DataError, SchemaError, UnknownIdError
from twotower.models._stage_importance import PairStageExam
from twotower.models.two_stage import TwoStage

QUICK: dict[str, Any] = {"dim": 8, "epochs": 10, "batch_size": 64, "random_state": 0, "verbose": 0}


def stages(ranker: Any = None, **options: Any) -> TwoStage:
    columns = {name: options.pop(name) for name in ("user_col", "item_col") if name in options}
    retriever = options.pop("retriever", None) or tt.TwoTower(**QUICK, **columns)
    if ranker is None:
        ranker = tt.Ranker(loss="bpr", hidden=(8,), **QUICK, **columns)
    return TwoStage(retriever=retriever, ranker=ranker, **options)


def pairs(seed: int = 0, users: int = 40, items: int = 25) -> pd.DataFrame:
    """Users of one of two halves of the items, with times."""
    rng = np.random.default_rng(seed)
    rows = [
        (user, (user % 2) * (items // 2) + int(item))
        for user in range(users)
        for item in rng.choice(items // 2, size=8, replace=False)
    ]
    table = pd.DataFrame(rows, columns=["user_id", "item_id"])
    return table.assign(timestamp=rng.permutation(len(table)))


class Counting:
    """A ranker of somebody else: the retriever's score, and what it was shown."""

    def fit(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def predict(self, x: Any) -> Any:
        return x["retriever_score"].to_numpy()


class TestTwoStage(RecommenderConformance):
    def make(self, **options: Any) -> TwoStage:
        return stages(candidates=60, folds=2, **options)

    # Names of columns are options of the stages.
    def test_a_foreign_option_is_answered_with_ours(self) -> None:
        with pytest.raises(
            TypeError, match=exactly("TwoStage: there is no option 'seed'; here it is called 'random_state'")
        ):
            TwoStage(retriever=tt.Popularity(), ranker=tt.Ranker(), seed=1)

    def test_options_are_given_by_name(self) -> None:
        with pytest.raises(
            TypeError, match=r"^TwoStage: .* was given without a name, but every option must be given by name"
        ):
            TwoStage(tt.Popularity(), tt.Ranker())  # type: ignore[misc, call-arg]

    def test_fit_changes_neither_options_nor_data(self, train: pd.DataFrame) -> None:
        model, kept = self.make(), train.copy()
        before = model.get_params(deep=False)
        model.fit(train)
        after = model.get_params(deep=False)
        assert all(after[name] is value for name, value in before.items())
        pd.testing.assert_frame_equal(train, kept)

    def test_params_are_got_and_set(self) -> None:
        model = self.make().set_params(retriever__user_col="person", n_jobs=3)
        assert (model.user_col, model.n_jobs) == ("person", 3)

    def test_an_option_that_does_not_exist_is_named_and_nothing_is_set(self) -> None:
        with pytest.raises(
            ValueError, match=exactly("set_params: TwoStage has no option 'candidate'; did you mean 'candidates'?")
        ):
            self.make().set_params(candidate=3)

    def test_scikit_learn_clones_it(self, model: Any) -> None:
        pytest.importorskip("sklearn")
        copied = __import__("sklearn.base", fromlist=["clone"]).clone(model)
        assert copied.candidates == model.candidates
        with pytest.raises(tt.errors.NotFittedError):
            copied.recommend()

    def test_a_file_gives_the_same_lists(self, model: Any, tmp_path: Any) -> None:
        model.save(tmp_path / "two.tt")
        loaded = tt.load(tmp_path / "two.tt")
        pd.testing.assert_frame_equal(loaded.recommend(k=20), model.recommend(k=20))
        assert (loaded.candidates, loaded.holdout_recall_) == (model.candidates, model.holdout_recall_)
        loaded.save(tmp_path / "again.tt")
        assert (tmp_path / "again.tt").read_bytes() == (tmp_path / "two.tt").read_bytes()

    def test_repr_shows_what_differs_from_the_defaults(self) -> None:
        assert "candidates=60" in repr(self.make())

    def test_one_user_or_one_item_is_enough_or_refused(self) -> None:  # type: ignore[override]
        """What a stage refuses is the stage's to say."""


# --- what the second stage learns from ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["time", "last", "random"])
@pytest.mark.parametrize("folds", [1, 3])
def test_a_ranker_is_shown_candidates_of_retrievers_that_did_not_see_the_positives(way: str, folds: int) -> None:
    table, ranker = pairs(), Counting()
    retriever = tt.Popularity()
    two = stages(
        ranker, retriever=retriever, candidates=10, cross_fit=way, time_col="timestamp", folds=folds, negatives=3
    )
    two.fit(table)
    shown = ranker.x.assign(y=ranker.y)
    assert list(ranker.x.columns) == ["user_id", "item_id", "retriever_score", "retriever_rank"]
    assert shown.retriever_rank.between(1, 10).all()
    # A positive is a pair of the table that its retriever did not have, or it would not have been a candidate.
    known = set(zip(table.user_id, table.item_id, strict=True))
    of_pairs = np.array([pair in known for pair in zip(shown.user_id, shown.item_id, strict=True)])
    np.testing.assert_array_equal(of_pairs, shown.y == 1)
    by_user = shown.groupby("user_id").y.agg(["sum", "size"])
    assert (by_user["sum"] >= 1).all()
    assert (by_user["size"] <= 4 * by_user["sum"]).all()
    assert 0 < two.holdout_recall_ <= 1
    # The retriever that is kept has seen everything.
    assert len(retriever.history_) == len(table.drop_duplicates(["user_id", "item_id"]))


def test_the_ranker_reads_the_scores_and_vectors_of_the_retriever() -> None:
    two = stages(candidates=12, folds=2).fit(pairs())
    assert "given" in two.ranker._architecture.meeting
    width = two.retriever.dim
    np.testing.assert_array_equal(
        two.ranker._sides.items.encoded[-1].values, two.retriever.item_embeddings()[:, :width]
    )
    with pytest.raises(ValueError, match=r"^recommend: this Ranker was fitted inside a pipeline"):
        two.ranker.recommend([1])


def test_two_stages_find_the_taste() -> None:
    train, test = two_tastes()
    two = stages(candidates=30, holdout=0.3, folds=3).fit(train)
    ndcg = tt.evaluate([two, tt.Popularity().fit(train)], test, "ndcg@10")["ndcg@10"]
    assert ndcg[0] > ndcg[1]


def test_tables_are_columns_of_the_frame() -> None:
    table, ranker = pairs(), Counting()
    users = pd.DataFrame({"user_id": np.arange(40)[::-1], "age": np.arange(40)[::-1] + 100})
    items = pd.DataFrame({"item_id": np.arange(25), "age": np.arange(25) + 200})
    two = stages(ranker, retriever=tt.Popularity(), candidates=10).fit(table, users=users, items=items)
    assert list(ranker.x.columns) == ["user_id", "item_id", "age", "item_age", "retriever_score", "retriever_rank"]
    assert (ranker.x.age == ranker.x.user_id + 100).all()
    assert (ranker.x.item_age == ranker.x.item_id + 200).all()
    assert len(two.recommend([3], k=5)) == 5
    with pytest.raises(
        SchemaError,
        match=exactly("fit: items has the column 'retriever_rank', but that is a column of the candidates; rename it"),
    ):
        stages(Counting(), retriever=tt.Popularity()).fit(table, items=items.rename(columns={"age": "retriever_rank"}))


def test_groups_are_told_to_who_asks() -> None:
    class Grouped(Counting):
        def fit(self, x: Any, y: Any, group: Any = None) -> None:
            self.sizes = group
            super().fit(x, y)

    ranker = Grouped()
    stages(ranker, retriever=tt.Popularity(), candidates=10).fit(pairs())
    assert ranker.sizes.sum() == len(ranker.x)
    assert (ranker.x.groupby("user_id", sort=False).size().to_numpy() == ranker.sizes).all()


def test_a_classifier_ranks_by_its_chances_and_predict_gives_what_recommend_gives() -> None:
    class Classifier(Counting):
        def predict_proba(self, x: Any) -> Any:
            chance = 1 / (1 + x["retriever_rank"].to_numpy())
            return np.stack([1 - chance, chance], axis=1)

    two = stages(Classifier(), retriever=tt.Popularity(), candidates=10).fit(pairs())
    lists = two.recommend([1, 2], k=4)
    assert lists.score[0] == pytest.approx(0.5)
    np.testing.assert_array_equal(two.predict(lists), lists.score)


def test_fitted_models_are_put_together_as_they_are(tmp_path: Any) -> None:
    table = pairs()
    retriever, ranker = tt.TwoTower(**QUICK).fit(table), tt.Ranker(loss="bpr", hidden=(8,), **QUICK).fit(table)
    two = TwoStage.of(retriever, ranker, candidates=6)
    candidates = retriever.recommend([1, 2], k=6)
    expected = ranker.rank(candidates[["user_id", "item_id"]], k=3)
    lists = two.recommend([1, 2], k=3)
    assert lists.item_id.tolist() == expected.item_id.tolist()
    two.save(tmp_path / "two.tt")
    pd.testing.assert_frame_equal(tt.load(tmp_path / "two.tt").recommend([1, 2], k=3), lists)


# --- what goes wrong ----------------------------------------------------------------------------------------------------


def test_a_ranker_of_other_ids_is_named() -> None:
    table = pairs()
    ranker = tt.Ranker(loss="bpr", hidden=(8,), **QUICK).fit(table[table.item_id != 3])
    sentence = (
        "TwoStage.of: items of the retriever, asked of the ranker: 1 of 24 ids is unknown (first: 3); fit both stages on the "
        "same interactions and tables"
    )
    with pytest.raises(UnknownIdError, match=exactly(sentence)):
        TwoStage.of(tt.Popularity().fit(table), ranker)


def test_a_retriever_that_was_fitted_again_is_noticed() -> None:
    two = stages(candidates=10).fit(pairs())
    two.retriever.fit(pairs(seed=1))
    with pytest.raises(
        DataError,
        match=exactly("recommend: the retriever was fitted again or has grown since; fit this TwoStage again"),
    ):
        two.recommend([1])


def test_more_than_the_candidates_cannot_be_asked_for() -> None:
    sentence = (
        "recommend: k is 7, but the ranker is given 5 candidates a user; ask for at most that many, or make the TwoStage with "
        "candidates=7"
    )
    two = stages(Counting(), retriever=tt.Popularity(), candidates=5).fit(pairs())
    with pytest.raises(ValueError, match=exactly(sentence)):
        two.recommend([1], k=7)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            lambda x: np.zeros(3),
            "recommend: the ranker Bad gave predictions of shape (3,) for 5 candidates, but must give one number a row, shape "
            "(5,); check its predict",
        ),
        (
            lambda x: np.where(np.arange(len(x)) == 2, np.nan, 1.0),
            "recommend: the ranker Bad gave no finite number for 1 candidate (first rows: 2); fill in missing values before its "
            "predict",
        ),
    ],
)
def test_a_ranker_that_gives_something_else_is_named(given: Any, sentence: str) -> None:
    class Bad:
        def predict(self, x: Any) -> Any:
            return given(x)

    two = stages(Bad(), retriever=tt.Popularity(), candidates=5).fit(pairs())
    with pytest.raises(ValueError, match=exactly(sentence)):
        two.recommend([1], k=2)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"candidates": 0}, ValueError, "fit: candidates is 0, but must be at least 1"),
        ({"holdout": 0.0}, ValueError, "fit: holdout is 0, but must be a finite number above 0 and at most 0.99"),
        ({"folds": 0}, ValueError, "fit: folds is 0, but must be at least 1"),
        (
            {"cross_fit": "times"},
            ValueError,
            "fit: cross_fit is 'times', but must be one of 'time', 'last', 'random'; did you mean 'time'?",
        ),
        (
            {"cross_fit": "last"},
            ValueError,
            'fit: cross_fit is \'last\', but there is no column of times; pass time_col="timestamp", or cross_fit="random"',
        ),
        (
            {"ranker": tt.Ranker(interaction="fm")},
            ValueError,
            "fit: the ranker has interaction 'fm', which has no place for the retriever's score; use 'dcn', 'concat' or "
            "'product'",
        ),
        (
            {"ranker": tt.Ranker(user_features=[tt.History()])},
            ValueError,
            "fit: the ranker has a History among user_features, but sees the held-out rows alone here; give it to the "
            "retriever, whose vectors the ranker reads",
        ),
        (
            {"ranker": 3},
            TypeError,
            "fit: ranker is a int, but must be a model with predict, such as Ranker()",
        ),
        (
            {"ranker": tt.Ranker},
            TypeError,
            "fit: ranker is the class Ranker, but must be a model with predict, such as Ranker()",
        ),
        (
            {"retriever": "popular"},
            TypeError,
            "fit: retriever is a str, but must be a recommender of this package, such as TwoTower()",
        ),
        (
            {"ranker": tt.Ranker(item_col="film")},
            SchemaError,
            "fit: item_col is 'item_id' in the retriever and 'film' in the ranker, but must be the same",
        ),
    ],
)
def test_options_out_of_range_are_named(options: Any, error: Any, sentence: str) -> None:
    with pytest.raises(error, match=exactly(sentence)):
        stages(**options).fit(interactions())


def test_nothing_to_learn_from_is_named() -> None:
    alone = pd.DataFrame({"user_id": np.arange(12), "item_id": np.arange(12) % 3})
    with pytest.raises(
        DataError, match=r"^fit: cross_fit='random' with holdout=0.2 leaves no user with rows on both sides"
    ):
        stages(Counting(), retriever=tt.Popularity()).fit(alone)
    # The positive of each is the last of its candidates, but there is room for one only.
    table = pd.DataFrame(
        [(user, item) for user in range(6) for item in (0, 1, 2, 3, 4) if item != user % 5] + [(9, 7), (9, 0)],
        columns=["user_id", "item_id"],
    ).assign(timestamp=lambda t: (t.item_id == 7).astype(int))
    with pytest.raises(DataError, match=r"^fit: none of the 1 held-out positives is among the candidates of its user"):
        stages(Counting(), retriever=tt.Popularity(), candidates=1, time_col="timestamp", holdout=0.04).fit(table)


def test_a_ranker_of_somebody_else_is_not_saved(tmp_path: Any) -> None:
    two = stages(Counting(), retriever=tt.Popularity(), candidates=5).fit(pairs())
    with pytest.raises(
        DataError,
        match=exactly(
            "save: the ranker is a Counting, which a file of this package cannot hold; save two.retriever, keep the ranker by "
            "its own means, and put both together with TwoStage.of"
        ),
    ):
        two.save(tmp_path / "two.tt")


# --- what the features of the second stage are worth ------------------------------------------------------------------------


def halves() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Users like items of their own half, which columns tell and popularity does not."""
    table = pairs(users=200, items=60).sample(frac=1, random_state=0)
    users = pd.DataFrame({"user_id": np.arange(200), "half": np.arange(200) % 2, "noise": np.arange(200) // 2 % 3})
    items = pd.DataFrame({"item_id": np.arange(60), "group": (np.arange(60) >= 30).astype(int)})
    return table.iloc[:1200], table.iloc[1200:], users, items


COLUMNS: dict[str, Any] = {
    "user_features": [tt.Id("user_id", dropout=1.0), tt.Category("half"), tt.Category("noise")],
    "item_features": [tt.Id("item_id", dropout=1.0), tt.Category("group")],
}


@pytest.fixture(scope="module")
def weighed() -> TwoStage:
    train, _, users, items = halves()
    ranker = tt.Ranker(loss="bpr", hidden=(8,), learning_rate=0.02, patience=None, **QUICK | {"epochs": 30}, **COLUMNS)
    two = stages(ranker, retriever=tt.Popularity(), candidates=60, time_col="timestamp", holdout=0.4)
    return two.fit(train, users=users, items=items)


@pytest.mark.parametrize("method", ["permutation", "ablation"])
def test_features_of_the_ranker_are_weighed_inside_the_candidates(weighed: TwoStage, method: str) -> None:
    test = halves()[1]
    table = weighed.feature_importance(test, method=method)
    assert set(table.feature[:2]) == {"half", "group"}
    assert set(table.feature[2:]) == {"noise", "retriever_score"}
    assert table.importance[1] > 0.07 > table.importance[2:].abs().max()
    assert abs(table.set_index("feature").importance["noise"]) < 0.03
    pd.testing.assert_frame_equal(table, weighed.feature_importance(test, method=method))


def test_the_metric_of_the_lists_is_that_of_evaluate(weighed: TwoStage) -> None:
    exam, _ = weighed._stage_exam(frames.table(halves()[1], "test"))
    second: Any = weighed._second_stage("test")
    measure = PairStageExam(exam, (second.user_rows, second.item_rows), second.scale, None)
    ranker = weighed.ranker
    whole = measure.score(ranker._fitted(), ranker._histories, 1)
    assert (measure.label, measure.rising) == ("ndcg@10", True)
    assert whole == pytest.approx(tt.evaluate(weighed, halves()[1], "ndcg@10")["ndcg@10"][0], abs=1e-12)


def test_what_the_retriever_gives_is_weighed_too() -> None:
    train, test, users, items = halves()
    two = stages(time_col="timestamp", candidates=40).fit(train, users=users, items=items)
    for method in ("permutation", "ablation"):
        table = two.feature_importance(test, method=method)
        assert sorted(zip(table.side, table.feature, strict=True)) == [
            ("item", "group"), ("item", "item_id"), ("item", "retriever's vector"), ("retriever", "retriever_score"),
            ("user", "half"), ("user", "noise"), ("user", "retriever's vector"), ("user", "user_id"),
        ]  # fmt: skip
        assert np.isfinite(table.importance).all()
    crosses = two.feature_importance(method="cross")
    assert crosses.feature.tolist() == [
        "user_id", "half", "noise", "retriever's vector (user)", "item_id", "group", "retriever's vector (item)", "retriever_score",
    ]  # fmt: skip
    norms = crosses[crosses.feature].to_numpy()
    assert norms.min() > 0
    made = two.ranker._architecture
    width = sum(n for side in list(two.ranker._sides)[:2] for *_, n in made.inputs.layout(side, two.ranker._sides)) + 1
    matrix = made.first_cross(two.ranker._parameters["arena"], width)
    assert (norms**2).sum() == pytest.approx((matrix**2).sum())
    assert norms[-1, -1] == pytest.approx(abs(matrix[-1, -1]))
    # By itself the ranker cannot be asked: it reads a score with each pair.
    with pytest.raises(
        ValueError, match=r"^feature_importance: this Ranker was fitted inside a pipeline .* ask the pipeline$"
    ):
        two.ranker.feature_importance(test)


class HalfRanker:
    """A ranker of somebody else that knows what matters, and has no fit."""

    def predict(self, x: Any) -> Any:
        return (x["half"] == x["group"]).to_numpy() + 0.001 * x["retriever_score"].to_numpy()


def test_columns_of_a_ranker_of_somebody_else_are_weighed_by_permutation() -> None:
    train, test, users, items = halves()
    two = stages(HalfRanker(), retriever=tt.Popularity(), candidates=60, time_col="timestamp")
    two.fit(train, users=users, items=items)
    table = two.feature_importance(test)
    found = table.set_index(["side", "feature"]).importance
    assert list(found.index[:2]) in [[("item", "group"), ("user", "half")], [("user", "half"), ("item", "group")]]
    assert found["user", "half"] > 0.06
    nothing = [("user", "noise"), ("user", "user_id"), ("item", "item_id"), ("retriever", "retriever_rank")]
    assert [found[name] for name in nothing] == [0, 0, 0, 0]
    assert abs(found["retriever", "retriever_score"]) > 0
    sentence = (
        "feature_importance: method is 'ablation', but the ranker is a HalfRanker, of which is known what it is given and not what "
        'it makes of missing values; pass method="permutation"'
    )
    with pytest.raises(ValueError, match=exactly(sentence)):
        two.feature_importance(test, method="ablation")


def test_a_ranker_that_is_no_second_stage_is_asked_itself() -> None:
    train, test, _, _ = halves()
    popular = tt.Popularity().fit(train)
    two = TwoStage.of(popular, tt.TwoTower(**QUICK).fit(train))
    sentence = (
        "feature_importance: the ranker is a TwoTower, which scores candidates as it scores everything; ask it by "
        "two.ranker.feature_importance(test)"
    )
    with pytest.raises(TypeError, match=exactly(sentence)):
        two.feature_importance(test)
    sentence = "feature_importance: the ranker is a ItemKNN, which has no features to weigh; use a Ranker"
    with pytest.raises(TypeError, match=exactly(sentence)):
        TwoStage.of(popular, tt.ItemKNN().fit(train)).feature_importance(test)
    with pytest.raises(
        TypeError, match=r"^feature_importance: test is None, but method='permutation' measures the model on it"
    ):
        two.feature_importance()


def test_the_context_of_the_ranker_is_weighed() -> None:
    table = pairs(users=80, items=40)
    rng = np.random.default_rng(0)
    home = rng.random(len(table)) < 0.5
    table = table.assign(place=np.where(home, "home", "work"), item_id=2 * rng.integers(0, 20, len(table)) + ~home)
    table = table.drop_duplicates(["user_id", "item_id"])
    test = table.drop_duplicates("user_id", keep="last")
    options = QUICK | {"epochs": 40, "learning_rate": 0.02, "patience": None}
    ranker = tt.Ranker(loss="bpr", hidden=(8,), context_features=["place"], **options)
    two = stages(ranker, retriever=tt.Popularity(), candidates=40, time_col="timestamp", holdout=0.5)
    two.fit(table.drop(test.index))
    found = two.feature_importance(test)
    assert found.feature[0] in ("place", "item_id")
    assert found.set_index("feature").importance["place"] > 0.05
