"""Blends: the kit, sums on paper, weights found on validation, and what goes wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import twotower as tt
from conformance import RecommenderConformance, exactly, interactions, two_tastes
from twotower.errors import DataError, NotFittedError
from twotower.models.hybrid import Hybrid

QUICK: dict[str, Any] = {"dim": 8, "epochs": 3, "batch_size": 64, "random_state": 0, "verbose": 0}


class TestHybrid(RecommenderConformance):
    needs_two = True

    def make(self, **options: Any) -> Hybrid:
        columns = {name: options.pop(name) for name in ("user_col", "item_col") if name in options}
        return Hybrid([tt.Popularity(**columns), tt.TwoTower(**QUICK, **columns)], **options)

    def test_options_are_given_by_name(self) -> None:
        with pytest.raises(
            TypeError, match=r"^Hybrid: 'rank' was given without a name, but every option must be given by name"
        ):
            Hybrid([tt.Popularity()], "rank")  # type: ignore[misc]

    def test_a_foreign_option_is_answered_with_ours(self) -> None:
        with pytest.raises(TypeError, match=exactly("Hybrid: there is no option 'weight'; did you mean 'weights'?")):
            Hybrid([tt.Popularity()], weight=[1])

    def test_fit_changes_neither_options_nor_data(self, train: pd.DataFrame) -> None:
        model, kept = self.make(), train.copy()
        before = model.get_params()
        assert model.fit(train).get_params() == before
        pd.testing.assert_frame_equal(train, kept)

    def test_params_are_got_and_set(self) -> None:
        assert self.make().set_params(normalize="score", n_jobs=3).n_jobs == 3

    def test_an_option_that_does_not_exist_is_named_and_nothing_is_set(self) -> None:
        with pytest.raises(
            ValueError, match=exactly("set_params: Hybrid has no option 'weigths'; did you mean 'weights'?")
        ):
            self.make().set_params(weigths=[1, 2])

    def test_scikit_learn_clones_it(self, model: Any) -> None:
        copied = __import__("sklearn.base", fromlist=["clone"]).clone(model)
        with pytest.raises(NotFittedError):
            copied.recommend()

    def test_a_file_gives_the_same_lists(self, model: Any, tmp_path: Any) -> None:
        model.save(tmp_path / "blend.tt")
        loaded = tt.load(tmp_path / "blend.tt")
        pd.testing.assert_frame_equal(loaded.recommend(k=20), model.recommend(k=20))
        loaded.save(tmp_path / "again.tt")
        assert (tmp_path / "again.tt").read_bytes() == (tmp_path / "blend.tt").read_bytes()

    def test_repr_shows_what_differs_from_the_defaults(self) -> None:
        assert repr(Hybrid([tt.Popularity()], normalize="score")) == "Hybrid(models=[Popularity()], normalize='score')"

    # What is fitted stays fitted: the next three fit a blend of models that are not.
    def test_a_fit_that_fails_leaves_the_model_as_it_was(self) -> None:  # type: ignore[override]
        model = self.make()
        with pytest.raises(tt.errors.SchemaError):
            model.fit(pd.DataFrame({"user_id": [1]}))
        with pytest.raises(NotFittedError):
            model.recommend()

    def test_a_second_fit_forgets_the_first(self, train: pd.DataFrame) -> None:
        model = self.make().fit(train)
        model.models[0].fit(train[train.user_id > 20])
        model.models[1].fit(train[train.user_id > 20])
        assert 10 not in model.recommend().user_id.tolist()

    def test_a_second_fit_brings_removed_items_back(self, train: pd.DataFrame) -> None:
        model = self.make().fit(train).remove_items([100])
        for part in model.models:
            part.fit(train)
        assert 100 in model.recommend(k=11, filter_seen=False).item_id.tolist()


def fitted(*counts: dict[str, int]) -> list[tt.Popularity]:
    """Models of one user's view: popularity by counts, over the same users and items."""
    models = []
    for count in counts:
        rows = [(user, item) for item, times in count.items() for user in range(times)]
        ids = pd.DataFrame({"user_id": range(9)}), pd.DataFrame({"item_id": list("abc")})
        models.append(
            tt.Popularity().fit(pd.DataFrame(rows, columns=["user_id", "item_id"]), users=ids[0], items=ids[1])
        )
    return models


def test_the_sum_of_reciprocal_ranks_and_of_scaled_scores() -> None:
    models = fitted({"a": 8, "b": 6, "c": 2}, {"c": 8, "b": 7, "a": 4})
    scores = Hybrid(models, weights=[3, 1]).recommend([8], filter_seen=False).set_index("item_id").score
    # a: first and third, of 61 / 61 and 61 / 63.
    assert scores["a"] == pytest.approx(0.75 * 1 + 0.25 * 61 / 63)
    assert scores["b"] == pytest.approx(61 / 62)
    scores = Hybrid(models, normalize="score").recommend([8], filter_seen=False).set_index("item_id").score
    # b: (6 - 2) / (8 - 2) and (7 - 4) / (8 - 4).
    assert scores["b"] == pytest.approx((4 / 6 + 3 / 4) / 2)
    assert scores["a"] == pytest.approx(0.5)


def test_fitted_models_need_no_fit_and_fit_leaves_them() -> None:
    models = fitted({"a": 8, "b": 6, "c": 2}, {"c": 8, "b": 7, "a": 4})
    blend = Hybrid(models)
    assert len(blend.recommend([8], k=2)) == 2
    assert blend.weights_ == [0.5, 0.5]
    assert blend.fit(pd.DataFrame({"user_id": [1], "item_id": ["z"]})).item_ids_.tolist() == ["a", "b", "c"]


def test_weights_are_those_that_are_best_on_validation(tmp_path: Any) -> None:
    train, valid = two_tastes()
    good = tt.TwoTower(**(QUICK | {"epochs": 20})).fit(train)
    bad = tt.Popularity().fit(train)
    blend = Hybrid([bad, good]).fit_weights(valid, metric="ndcg@10")
    table = tt.evaluate([blend, good, bad, Hybrid([bad, good])], valid, "ndcg@10")["ndcg@10"]
    assert table[0] >= table[1:].max() - 1e-12
    assert blend.weights_ == Hybrid([bad, good]).fit_weights(valid).weights_
    # Every step of two models is tried.
    tried = [
        tt.evaluate(Hybrid([bad, good], weights=[1 - share, share]), valid, "ndcg@10")["ndcg@10"][0]
        for share in (0.25, 0.5, 0.75, 0.9)
    ]
    assert table[0] >= max(tried) - 1e-12
    blend.save(tmp_path / "blend.tt")
    assert tt.load(tmp_path / "blend.tt").weights_ == blend.weights_


@pytest.mark.parametrize(
    ("models", "options", "error", "sentence"),
    [
        ([], {}, TypeError, "fit: models is [], but must be a list of at least one recommender"),
        (
            [3],
            {},
            TypeError,
            "fit: models[0] is a int, but must be a recommender of this package, such as Popularity()",
        ),
        (
            [tt.Popularity(), tt.Popularity(item_col="film")],
            {},
            ValueError,
            "fit: item_col is 'item_id' in models[0] and 'film' in models[1], but must be the same",
        ),
        (
            [tt.Popularity()],
            {"weights": [1, 2]},
            ValueError,
            "fit: weights has 2 numbers for 1 model, but must have one a model",
        ),
        ([tt.Popularity()], {"weights": [0]}, ValueError, "fit: weights are all 0, but one at least must be above 0"),
        (
            [tt.Popularity()],
            {"weights": [-1]},
            ValueError,
            "fit: weights[0] is -1, but must be a finite number at least 0",
        ),
        (
            [tt.Popularity()],
            {"normalize": "ranks"},
            ValueError,
            "fit: normalize is 'ranks', but must be one of 'rank', 'score'; did you mean 'rank'?",
        ),
    ],
)
def test_what_cannot_be_blended_is_named(models: Any, options: Any, error: Any, sentence: str) -> None:
    with pytest.raises(error, match=exactly(sentence)):
        Hybrid(models, **options).fit(interactions())


def test_models_of_other_items_are_named() -> None:
    train = interactions()
    one, other = tt.Popularity().fit(train), tt.Popularity().fit(train[train.item_id != 104])
    sentence = (
        "Hybrid: models[0] (Popularity) has 11 items, models[1] (Popularity) has 10, of which 10 are the same; a blend needs the "
        "same items: fit the models on the same interactions, all with items= or all without"
    )
    with pytest.raises(DataError, match=exactly(sentence)):
        Hybrid([one, other]).recommend([10])


def test_what_weights_cannot_be_fitted_on_is_named() -> None:
    train = interactions()
    blend = Hybrid([tt.Popularity().fit(train)])
    with pytest.raises(
        ValueError,
        match=exactly(
            "fit_weights: metric is 'coverage@10', but must be one of a user's list, such as 'ndcg@10' or 'recall@20'"
        ),
    ):
        blend.fit_weights(train, metric="coverage@10")
    with pytest.raises(
        DataError, match=r"^fit_weights: validation has no relevant row of a user that is in the interactions"
    ):
        blend.fit_weights(pd.DataFrame({"user_id": [1], "item_id": [100]}))
    with pytest.raises(NotFittedError):
        Hybrid([tt.Popularity()]).fit_weights(train)
    assert np.isclose(sum(blend.fit_weights(train, filter_seen=False).weights_), 1)
