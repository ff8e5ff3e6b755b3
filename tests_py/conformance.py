"""One kit that judges every recommender.

Subclass `RecommenderConformance` (or `DotProductConformance`) in a test file, give `make`, and pytest collects the
rest::

    class TestPopularity(RecommenderConformance):
        def make(self, **options):
            return Popularity(**options)

The kit knows the public surface only. The data are small and their right answers known: see `interactions` and
`two_tastes`.
"""

from __future__ import annotations

import copy
import itertools
import operator
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from twotower.errors import DataError, NotFittedError, SchemaError, UnknownIdError
from twotower.models import Popularity, load

KINDS: dict[str, Any] = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}
NUM_ITEMS = 11


def interactions() -> pd.DataFrame:
    """Make 7 users, 10 to 70, and 11 items, 100 to 110; a later user has seen more, item 100 is the most popular."""
    pairs = [
        (10 * (user + 1), 100 + (item * (1 + user % 2)) % NUM_ITEMS) for user in range(7) for item in range(user + 1)
    ]
    pairs += [(70, 100 + item) for item in range(NUM_ITEMS) if item % 3 == 1]
    pairs += [(60, 109), (60, 110)]
    pairs = list(dict.fromkeys(pairs))
    order = np.random.default_rng(0).permutation(len(pairs))
    return pd.DataFrame([pairs[i] for i in order], columns=["user_id", "item_id"])


def two_tastes(seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and test of users with one of two tastes.

    Items 0-29 are of taste 0, 30-59 of taste 1, the first ones of each the more popular. 80 users have 9 items of their
    taste each, of which 2 are the test, and one of the other. So a right list has the popular unseen items of the
    user's taste.
    """
    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, 31) ** 0.7
    popularity /= popularity.sum()
    train, test = [], []
    for user in range(80):
        taste = user % 2
        own = 30 * taste + rng.choice(30, size=9, replace=False, p=popularity)
        other = 30 * (1 - taste) + rng.choice(30, p=popularity)
        train += [(user, item) for item in own[2:]] + [(user, other)]
        test += [(user, item) for item in own[:2]]
    columns = ["user_id", "item_id"]
    return pd.DataFrame(train, columns=columns), pd.DataFrame(test, columns=columns)


def rows(frame: Any) -> list[tuple[Any, ...]]:
    """Read a table of any kind as plain rows."""
    return list(nw.from_native(frame, eager_only=True).rows())


def lists(frame: Any) -> dict[Any, list[tuple[Any, float]]]:
    """Read lists as user -> [(item, score), ...], in the order of the table."""
    found: dict[Any, list[tuple[Any, float]]] = {}
    for user, item, score, _ in rows(frame):
        found.setdefault(user, []).append((item, score))
    return found


def hits(table: pd.DataFrame, test: pd.DataFrame) -> int:
    """Count the pairs of a test that are in the lists."""
    return len(set(rows(test)) & set(rows(table[["user_id", "item_id"]])))


def exactly(sentence: str) -> str:
    """Make the pattern that matches this sentence and no other."""
    return f"^{re.escape(sentence)}$"


class RecommenderConformance:
    """What every recommender must do. `make(**options)` gives an unfitted one that is quick to fit."""

    # How much better than a random list on `two_tastes`.
    times_better_than_random = 1.5
    # Whether the model learns taste, and so must beat a count of interactions there.
    beats_popularity = False
    # Whether the model learns by telling apart, and so refuses interactions of one user or of one item.
    needs_two = False
    # Whether the model has lists of its own for users that were not there in fit.
    serves_unknown = False
    # Whether fit takes tables of users and items.
    takes_tables = True

    def make(self, **options: Any) -> Any:
        raise NotImplementedError

    @classmethod
    def once(cls, name: str, make: Callable[[], Any]) -> Any:
        """Make what a class needs often and never changes for the first test that asks."""
        if name not in cls.__dict__:
            setattr(cls, name, make())
        return cls.__dict__[name]

    @pytest.fixture
    def train(self) -> pd.DataFrame:
        return interactions()

    @classmethod
    def shared_model(cls) -> Any:
        return cls.once("_model", lambda: cls().make().fit(interactions()))

    @classmethod
    def full_ranking(cls) -> dict[Any, list[tuple[Any, float]]]:
        """Every item ranked for everyone: what the filters must be cuts of."""
        full: dict[Any, list[tuple[Any, float]]] = cls.once(
            "_full", lambda: lists(cls.shared_model().recommend(k=NUM_ITEMS, filter_seen=False))
        )
        return full

    @pytest.fixture
    def model(self) -> Any:
        return self.shared_model()

    @pytest.fixture
    def full(self) -> dict[Any, list[tuple[Any, float]]]:
        return self.full_ranking()

    @property
    def unknown_cure(self) -> str:
        others = "'warn', 'popular' or 'features'" if self.serves_unknown else "'warn' or 'popular'"
        return f"leave them out, or pass on_unknown={others}"

    @pytest.fixture
    def seen(self, train: pd.DataFrame) -> set[tuple[int, int]]:
        return set(rows(train))

    # --- the estimator's grammar --------------------------------------------------------------------------------------

    def test_the_constructor_stores_its_options_and_does_nothing_else(self) -> None:
        nonsense = object()
        model = self.make(user_col=nonsense, n_jobs=nonsense)
        assert vars(model) == model.get_params(deep=False)
        assert model.user_col is nonsense

    def test_options_are_given_by_name(self) -> None:
        cls = type(self.make())
        with pytest.raises(
            TypeError,
            match=f"^{cls.__name__}: 'user' was given without a name, but every option must be given by name; ",
        ):
            cls("user")

    def test_a_foreign_option_is_answered_with_ours(self) -> None:
        cls = type(self.make())
        with pytest.raises(
            TypeError, match=f"^{cls.__name__}: there is no option 'num_threads'; here it is called 'n_jobs'$"
        ):
            cls(num_threads=2)
        with pytest.raises(
            TypeError, match=f"^{cls.__name__}: there is no option 'usercol'; did you mean 'user_col'\\?$"
        ):
            cls(usercol="u")

    def test_fit_returns_the_model(self, train: pd.DataFrame) -> None:
        model = self.make()
        assert model.fit(train) is model

    def test_fit_changes_neither_options_nor_data(self, train: pd.DataFrame) -> None:
        model, kept = self.make(), train.copy()
        before = model.get_params()
        model.fit(train)
        assert model.get_params() == before
        pd.testing.assert_frame_equal(train, kept)

    def test_params_are_got_and_set(self) -> None:
        model = self.make()
        assert model.set_params(user_col="person", n_jobs=3) is model
        assert model.get_params()["user_col"] == "person"
        assert model.n_jobs == 3

    def test_an_option_that_does_not_exist_is_named_and_nothing_is_set(self) -> None:
        model = self.make()
        with pytest.raises(
            ValueError,
            match=rf"^set_params: {type(model).__name__} has no option 'item_cols'; did you mean 'item_col'\?$",
        ):
            model.set_params(n_jobs=3, item_cols="film")
        assert model.get_params() == self.make().get_params()

    def test_scikit_learn_clones_it(self, model: Any) -> None:
        copied = clone(model)
        assert copied.get_params() == model.get_params()
        with pytest.raises(NotFittedError):
            copied.recommend()

    def test_repr_shows_what_differs_from_the_defaults(self) -> None:
        name = type(self.make()).__name__
        assert repr(type(self.make())()) == f"{name}()"
        assert repr(type(self.make())(user_col="person")) == f"{name}(user_col='person')"

    # Attributes and methods, with the arguments of the latter.
    before_fit: ClassVar[dict[str, tuple[Any, ...]]] = {
        "recommend": (),
        "predict": (None,),
        "remove_items": (None,),
        "save": ("nowhere",),
        "history_": (),
        "user_ids_": (),
        "item_ids_": (),
    }

    def test_before_fit_it_says_so(self) -> None:
        model = self.make()
        for name, arguments in self.before_fit.items():
            sentence = f"{name}: this {type(model).__name__} is not fitted yet; call fit(interactions) first"
            with pytest.raises(NotFittedError, match=exactly(sentence)):
                operator.methodcaller(name, *arguments)(model)

    def test_copies_work_on_their_own(self, model: Any) -> None:
        expected = model.recommend(k=3)
        for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            pd.testing.assert_frame_equal(copied.recommend(k=3), expected)

    def test_a_fit_that_fails_leaves_the_model_as_it_was(self, train: pd.DataFrame) -> None:
        model = self.make().fit(train)
        expected = model.recommend(k=3)
        with pytest.raises(SchemaError):
            model.fit(train.rename(columns={"item_id": "film"}))
        pd.testing.assert_frame_equal(model.recommend(k=3), expected)

    def test_a_second_fit_forgets_the_first(self, train: pd.DataFrame) -> None:
        model = self.make().fit(train)
        model.recommend(k=3)
        other = train.assign(item_id=train.item_id + 1000)
        assert set(model.fit(other).recommend(k=50, filter_seen=False).item_id) == set(other.item_id)

    # --- lists --------------------------------------------------------------------------------------------------------

    def test_one_table_ranked_from_one(self, model: Any) -> None:
        table = model.recommend(k=4, filter_seen=False)
        assert list(table.columns) == ["user_id", "item_id", "score", "rank"]
        assert table.user_id.tolist() == list(itertools.chain.from_iterable([user] * 4 for user in model.user_ids_))
        assert table["rank"].tolist() == [1, 2, 3, 4] * 7
        assert table.score.dtype == np.float32
        assert table["rank"].dtype == np.int32
        assert np.isfinite(table.score).all()
        assert all(block.is_monotonic_decreasing for _, block in table.groupby("user_id").score)
        assert not table.duplicated(["user_id", "item_id"]).any()

    def test_equal_scores_are_ranked_by_the_smaller_row(self, model: Any, full: dict[Any, Any]) -> None:
        row = {item: position for position, item in enumerate(model.item_ids_)}
        for ranked in full.values():
            assert ranked == sorted(ranked, key=lambda pair: (-pair[1], row[pair[0]]))

    def test_a_list_is_the_same_alone_and_in_a_batch(self, model: Any) -> None:
        batch = rows(model.recommend(k=5))
        alone = [row for user in model.user_ids_ for row in rows(model.recommend([user], k=5))]
        assert alone == batch

    def test_users_come_in_the_order_asked_and_as_often(self, model: Any) -> None:
        asked = [50, 10, 70, 10]
        table = model.recommend(asked, k=2, filter_seen=False)
        assert table.user_id.tolist() == [50, 50, 10, 10, 70, 70, 10, 10]
        first, again = table.iloc[2:4], table.iloc[6:8]
        assert rows(first) == rows(again)

    @pytest.mark.parametrize(
        "asked",
        [
            [30, 20],
            (30, 20),
            np.array([30, 20]),
            np.array([30, 20], dtype=np.int16),
            pd.Series([30, 20], index=[5, 5]),
            pl.Series([30, 20]),
            pa.array([30, 20]),
            pd.DataFrame({"age": [1, 2], "user_id": [30, 20]}),
            pl.DataFrame({"user_id": [30, 20]}),
            pa.table({"user_id": [30, 20]}),
        ],
        ids=lambda asked: f"{type(asked).__module__.split('.')[0]}.{type(asked).__name__}",
    )
    def test_users_may_be_any_list(self, model: Any, asked: Any) -> None:
        assert rows(model.recommend(asked, k=2)) == rows(model.recommend(30, k=2)) + rows(model.recommend(20, k=2))

    def test_one_id_is_a_list_of_one(self, model: Any) -> None:
        assert (
            rows(model.recommend(30, k=2))
            == rows(model.recommend(np.int64(30), k=2))
            == rows(model.recommend([30], k=2))
        )

    def test_nobody_asked_gives_an_empty_table(self, model: Any, train: pd.DataFrame) -> None:
        table = model.recommend([], k=2)
        assert table.shape == (0, 4)
        assert table.dtypes.astype(str).to_dict() == model.recommend(k=2).dtypes.astype(str).to_dict()
        assert table.user_id.dtype == train.user_id.dtype

    @pytest.mark.parametrize("k", [1, 2, 3, NUM_ITEMS - 1, NUM_ITEMS, NUM_ITEMS + 1, 50, np.int32(3)])
    def test_k_cuts_the_full_ranking(self, model: Any, full: dict[Any, Any], k: int) -> None:
        assert lists(model.recommend(k=k, filter_seen=False)) == {user: ranked[:k] for user, ranked in full.items()}

    @pytest.mark.parametrize(
        ("k", "error", "got"), [(0, ValueError, "0, but must be"), (-1, ValueError, "-1, but must be")]
    )
    def test_k_must_be_one_at_least(self, model: Any, k: int, error: type[Exception], got: str) -> None:
        with pytest.raises(error, match=f"^recommend: k is {got} at least 1$"):
            model.recommend(k=k)

    @pytest.mark.parametrize("k", [2.0, "3", None])
    def test_k_must_be_an_integer(self, model: Any, k: Any) -> None:
        with pytest.raises(TypeError, match=f"^recommend: k is {k!r}, but must be an integer of at least 1$"):
            model.recommend(k=k)

    def test_foreign_names_of_recommend_are_answered_with_ours(self, model: Any) -> None:
        for foreign, ours in {
            "N": "k",
            "n_rec": "k",
            "filter_viewed": "filter_seen",
            "filter_already_liked_items": "filter_seen",
            "items_to_recommend": "items",
            "filter_items": "exclude",
            "predicate": "where",
            "cold_start": "on_unknown",
        }.items():
            with pytest.raises(
                TypeError, match=f"^recommend: there is no option '{foreign}'; here it is called '{ours}'$"
            ):
                model.recommend(**{foreign: 5})

    # --- filters ------------------------------------------------------------------------------------------------------

    def test_seen_items_are_left_out_and_nothing_else(
        self, model: Any, full: dict[Any, Any], seen: set[tuple[int, int]]
    ) -> None:
        expected = {user: [pair for pair in ranked if (user, pair[0]) not in seen] for user, ranked in full.items()}
        for k in (1, 4, NUM_ITEMS):
            assert lists(model.recommend(k=k)) == {user: ranked[:k] for user, ranked in expected.items() if ranked}

    @pytest.mark.parametrize("filter_seen", [False, True])
    @pytest.mark.parametrize("allow", [None, [103], [100, 110, 105, 104], [104, 104]])
    @pytest.mark.parametrize("deny", [None, [], [104], [100, 101, 102, 103, 105], [999]])
    def test_filters_together_are_cuts_of_the_full_ranking(
        self, model: Any, full: dict[Any, Any], seen: set[tuple[int, int]], *, filter_seen: bool, allow: Any, deny: Any
    ) -> None:
        expected = {}
        for user, ranked in full.items():
            left = [
                (item, score)
                for item, score in ranked
                if (allow is None or item in allow)
                and (deny is None or item not in deny)
                and not (filter_seen and (user, item) in seen)
            ]
            if left:
                expected[user] = left[:3]
        assert lists(model.recommend(k=3, filter_seen=filter_seen, items=allow, exclude=deny)) == expected

    def test_lists_of_items_may_be_tables(self, model: Any) -> None:
        for kind in KINDS.values():
            allowed = model.recommend(
                k=5, items=kind({"item_id": [103, 105]}), exclude=kind({"item_id": [105]}), filter_seen=False
            )
            assert allowed.item_id.tolist() == [103] * 7

    @pytest.mark.parametrize("kind", KINDS)
    def test_each_user_may_have_an_allow_list(self, model: Any, full: dict[Any, Any], kind: str) -> None:
        # 10 twice, 30 with an id that comes twice, 20 without a row; 40 is not asked, 999 is nobody.
        pairs = [(10, 100), (30, 105), (10, 109), (30, 105), (40, 101), (999, 102)]
        frame = KINDS[kind]({"user_id": [u for u, _ in pairs], "item_id": [i for _, i in pairs], "why": list("abcdef")})
        table = model.recommend([30, 20, 10, 10], k=5, items=frame, filter_seen=False)
        of_ten = [pair for pair in full[10] if pair[0] in (100, 109)]
        assert lists(table) == {30: [pair for pair in full[30] if pair[0] == 105], 10: of_ten + of_ten}
        assert table["rank"].tolist() == [1, 1, 2, 1, 2]
        assert model.recommend([20], items=frame).empty
        assert lists(model.recommend(items=frame, filter_seen=False)).keys() == {10, 30, 40}

    @pytest.mark.parametrize("kind", KINDS)
    def test_each_user_may_have_a_deny_list(self, model: Any, full: dict[Any, Any], kind: str) -> None:
        pairs = [(10, full[10][0][0]), (30, 105), (40, 101), (10, 12345), (999, 102)]
        frame = KINDS[kind]({"item_id": [i for _, i in pairs], "user_id": [u for u, _ in pairs]})
        table = model.recommend([30, 20, 10], k=NUM_ITEMS, exclude=frame, filter_seen=False)
        assert lists(table) == {
            30: [pair for pair in full[30] if pair[0] != 105],
            20: full[20],
            10: full[10][1:],
        }

    def test_lists_of_users_are_for_users_of_the_popularity_list_too(self, model: Any) -> None:
        allow = pd.DataFrame({"user_id": [999, 999, 10], "item_id": [104, 110, 103]})
        deny = pd.DataFrame({"user_id": [998], "item_id": [100]})
        asked = {"users": [999, 10, 998], "k": NUM_ITEMS, "on_unknown": "popular", "filter_seen": False}
        assert {user: {item for item, _ in ranked} for user, ranked in lists(model.recommend(**asked, items=allow)).items()} == {
            999: {104, 110}, 10: {103}
        }  # fmt: skip
        found = lists(model.recommend(**asked, exclude=deny))
        assert found[998] == [pair for pair in found[999] if pair[0] != 100]
        assert len(found[999]) == NUM_ITEMS

    def test_what_a_frame_of_pairs_gets_wrong_is_named(self, model: Any) -> None:
        sentence = "recommend: column 'item_id' of items: 1 of 2 ids is unknown (first: 999); leave them out, or fit with these items"
        with pytest.raises(UnknownIdError, match=exactly(sentence)):
            model.recommend(items=pd.DataFrame({"user_id": [10, 10], "item_id": [100, 999]}))
        sentence = "recommend: column 'user_id' of exclude holds string ids, but the users asked for are int64; convert the column"
        with pytest.raises(SchemaError, match=exactly(sentence)):
            model.recommend(exclude=pd.DataFrame({"user_id": ["10"], "item_id": [100]}))
        sentence = (
            "recommend: column 'user_id' of items has no id in 1 row (first: 1); drop these rows or give them an id"
        )
        with pytest.raises(DataError, match=exactly(sentence)):
            model.recommend(items=pl.DataFrame({"user_id": [10, None], "item_id": [100, 100]}))
        with pytest.raises(
            SchemaError, match=r"^recommend: items has no column 'item_id'; its columns are 'user_id'; "
        ):
            model.recommend(items=pd.DataFrame({"user_id": [10]}))
        assert model.recommend(items=pd.DataFrame({"user_id": [10], "item_id": [100]}).head(0)).empty

    @pytest.mark.parametrize(
        "mask",
        [
            [item % 2 == 0 for item in range(100, 111)],
            np.arange(11) % 2 == 0,
            pd.Series(np.arange(11) % 2 == 0, index=range(50, 61)),
            pd.array([True, None] * 5 + [True], dtype="boolean"),
            pl.Series([True, False] * 5 + [True]),
            pa.array([True, None] * 5 + [True]),
            "item_id % 2 == 0",
        ],
        ids=lambda mask: type(mask).__name__,
    )
    def test_where_may_be_a_mask_or_a_condition(self, model: Any, full: dict[Any, Any], mask: Any) -> None:
        expected = {user: [pair for pair in ranked if pair[0] % 2 == 0] for user, ranked in full.items()}
        assert lists(model.recommend(k=NUM_ITEMS, where=mask, filter_seen=False)) == expected

    @pytest.mark.parametrize(
        ("where", "error", "sentence"),
        [
            ([True] * 10, ValueError, "has 10 entries, but must have 11: one for each of item_ids_"),
            ([], ValueError, "has 0 entries, but must have 11: one for each of item_ids_"),
            (
                np.ones(11, dtype=np.int64),
                TypeError,
                'is a int64 ndarray, but must be a condition such as "year >= 1990", or True and False for each of item_ids_',
            ),
            (
                lambda items: items,
                TypeError,
                'is a function, but must be a condition such as "year >= 1990", or True and False for each of item_ids_',
            ),
            ("item_ids > 100", SchemaError, None),
        ],
    )
    def test_a_where_that_means_nothing_is_refused(
        self, model: Any, where: Any, error: Any, sentence: str | None
    ) -> None:
        with pytest.raises(
            error, match="recommend: where" if sentence is None else exactly(f"recommend: where {sentence}")
        ):
            model.recommend(where=where)

    def test_where_looks_at_the_columns_of_the_items(self, train: pd.DataFrame, tmp_path: Any) -> None:
        if not self.takes_tables:
            pytest.skip("takes no table of items")
        items = pd.DataFrame(
            {
                "year": [1990 + item for item in range(12)],
                "item_id": range(110, 98, -1),
                "genres": [["Drama", "Crime"], [], ["Drama"], ["Comedy"]] * 3,
            }
        )
        wanted = {item for item, year, genres in zip(items.item_id, items.year, items.genres, strict=True)
                  if year >= 1994 and "Drama" in genres}  # fmt: skip
        for kind in KINDS.values():
            model = self.make().fit(kind(train.to_dict("list")), items=kind(items.to_dict("list")))
            full = lists(model.recommend(k=12, filter_seen=False))
            expected = {user: [pair for pair in ranked if pair[0] in wanted] for user, ranked in full.items()}
            condition = "year >= 1994 and genres contains 'Drama'"
            assert lists(model.recommend(k=12, where=condition, filter_seen=False)) == expected
            model.save(tmp_path / "model")
            assert lists(load(tmp_path / "model").recommend(k=12, where=condition, filter_seen=False)) == expected
            popular = lists(model.recommend([999], k=12, where=condition, on_unknown="popular"))
            assert {item for item, _ in popular[999]} == wanted
        sentence = "recommend: where: there is no column 'yaer' among the items; did you mean 'year'?"
        with pytest.raises(SchemaError, match=exactly(sentence)):
            model.recommend(where="yaer > 3")

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[
            HealthCheck.differing_executors,
            HealthCheck.too_slow,
            HealthCheck.function_scoped_fixture,
        ],
    )
    @given(data=st.data())
    def test_any_filters_together_are_cuts_of_the_full_ranking(self, data: st.DataObject) -> None:
        full, seen = self.full_ranking(), set(rows(interactions()))
        users, items = st.sampled_from([10, 20, 30, 40, 50, 60, 70]), st.integers(100, 110)
        pairs = st.lists(st.tuples(st.sampled_from([10, 20, 30, 70, 999]), items), max_size=40)
        asked = data.draw(st.none() | st.lists(users, max_size=6))
        allow, deny = (data.draw(st.none() | st.lists(items, max_size=12) | pairs.map(dict.fromkeys)) for _ in range(2))
        mask = data.draw(st.none() | st.lists(st.booleans(), min_size=NUM_ITEMS, max_size=NUM_ITEMS))
        removed = data.draw(st.sets(items, max_size=4)) - set(allow or () if isinstance(allow, list) else
                                                              {item for _, item in allow or ()})  # fmt: skip
        filter_seen, k = data.draw(st.booleans()), data.draw(st.integers(1, NUM_ITEMS + 1))

        def lets(user: int, item: int) -> bool:
            return (
                item not in removed
                and (allow is None or (item if isinstance(allow, list) else (user, item)) in allow)
                and (deny is None or (item if isinstance(deny, list) else (user, item)) not in deny)
                and (mask is None or mask[item - 100])
                and not (filter_seen and (user, item) in seen)
            )

        def given_as(values: Any) -> Any:
            if not isinstance(values, dict):
                return values
            kind = KINDS[data.draw(st.sampled_from(sorted(KINDS)))]
            columns = np.array(list(values), dtype=np.int64).reshape(-1, 2)
            return kind({"user_id": columns[:, 0], "item_id": columns[:, 1]})

        model = copy.copy(self.shared_model())
        if removed:
            model.remove_items(sorted(removed))
        table = model.recommend(
            asked, k, filter_seen=filter_seen, items=given_as(allow), exclude=given_as(deny), where=mask
        )
        expected = [
            (user, *pair, rank)
            for user in (full if asked is None else asked)
            for rank, pair in enumerate([pair for pair in full[user] if lets(user, pair[0])][:k], start=1)
        ]
        assert rows(table) == expected

    @pytest.mark.parametrize(
        "nothing", [{"items": []}, {"exclude": list(range(100, 111))}, {"items": [104], "exclude": [104]}]
    )
    def test_everything_filtered_gives_an_empty_table_of_the_same_columns(
        self, model: Any, nothing: dict[str, Any]
    ) -> None:
        table = model.recommend(k=3, **nothing)
        assert table.shape == (0, 4)
        assert table.dtypes.astype(str).to_dict() == model.recommend(k=3).dtypes.astype(str).to_dict()

    def test_an_unknown_item_in_the_allow_list_is_named(self, model: Any) -> None:
        sentence = "recommend: items: 2 of 3 ids are unknown (first: 999, 998); leave them out, or fit with these items"
        with pytest.raises(UnknownIdError, match=exactly(sentence)):
            model.recommend(items=[100, 999, 998])

    def test_ids_of_another_type_are_unknown_and_the_types_are_named(self, model: Any) -> None:
        sentence = (
            "recommend: users: 2 of 2 ids are unknown (first: '10', '20'); the fitted ids are int64, these are string; "
            f"{self.unknown_cure}"
        )
        with pytest.raises(UnknownIdError, match=exactly(sentence)):
            model.recommend(["10", "20"])

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("ids", ["int64", "int32", "str"])
    def test_chunks_and_a_file_are_the_whole_table(
        self, train: pd.DataFrame, kind: str, ids: str, tmp_path: Any
    ) -> None:
        columns = {
            column: [f"{column}:{value}" for value in train[column]] if ids == "str" else train[column].to_numpy(ids)
            for column in train
        }
        model = self.make().fit(KINDS[kind](columns))
        join: Any = {"pandas": pd.concat, "polars": pl.concat, "pyarrow": pa.concat_tables}[kind]
        read: Any = {"pandas": pd.read_parquet, "polars": pl.read_parquet, "pyarrow": pa.parquet.read_table}[kind]
        asked = list(dict.fromkeys(columns["user_id"]))
        unknown = "nobody" if ids == "str" else 99
        for options in (
            {"k": 4},
            {"k": NUM_ITEMS + 1, "filter_seen": False},
            {"users": [asked[2], unknown, asked[0], asked[2]], "k": 3, "on_unknown": "popular"},
            {"users": [], "k": 3},
            {"items": []},
        ):
            expected = model.recommend(**options)
            schema = nw.from_native(expected, eager_only=True).schema
            for size in (1, 3, 7, 8):
                tables = model.recommend(**options, chunk_size=size)
                assert iter(tables) is tables
                made = list(tables)
                assert {type(table) for table in made} == {type(expected)}
                assert all(nw.from_native(table, eager_only=True).schema == schema for table in made)
                num_users = len(options.get("users", asked))
                assert len(made) == max(1, -(-num_users // size))
                assert rows(join(made)) == rows(expected)
                target = tmp_path / f"{size}.parquet"
                assert model.recommend(**options, chunk_size=size, to=target) is target
                again = read(target)
                assert nw.from_native(again, eager_only=True).schema == schema
                assert rows(again) == rows(expected)
            assert rows(read(model.recommend(**options, to=str(target)))) == rows(expected)
        assert sorted(path.name for path in tmp_path.iterdir()) == [f"{size}.parquet" for size in (1, 3, 7, 8)]

    def test_chunks_are_whole_users(self, model: Any) -> None:
        users = [table.user_id.unique().tolist() for table in model.recommend(k=2, filter_seen=False, chunk_size=3)]
        assert users == [[10, 20, 30], [40, 50, 60], [70]]

    @pytest.mark.parametrize(
        ("options", "error", "sentence"),
        [
            ({"chunk_size": 0}, ValueError, "chunk_size is 0, but must be at least 1"),
            ({"chunk_size": 2.5}, TypeError, "chunk_size is 2.5, but must be an integer of at least 1"),
            (
                {"chunk_size": 2, "as_arrays": True},
                ValueError,
                "as_arrays is True and chunk_size is given, but arrays come in one piece; leave one of them out",
            ),
            (
                {"to": "lists.parquet", "as_arrays": True},
                ValueError,
                "as_arrays is True and to is given, but arrays come in one piece; leave one of them out",
            ),
            (
                {"to": "lists.csv"},
                ValueError,
                "to is 'lists.csv', but must be the path of a Parquet file, such as 'lists.parquet'",
            ),
            ({"to": 3}, TypeError, "to is 3, but must be the path of a Parquet file, such as 'lists.parquet'"),
        ],
    )
    def test_a_form_that_cannot_be_is_named(self, model: Any, options: Any, error: Any, sentence: str) -> None:
        with pytest.raises(error, match=exactly(f"recommend: {sentence}")):
            model.recommend(**options)

    def test_as_arrays_gives_padded_rows(self, model: Any) -> None:
        item_rows, scores = model.recommend(k=NUM_ITEMS + 2, as_arrays=True)
        assert item_rows.shape == scores.shape == (7, NUM_ITEMS + 2)
        assert (item_rows.dtype, scores.dtype) == (np.int32, np.float32)
        assert ((item_rows == -1) == np.isneginf(scores)).all()
        items = np.asarray(model.item_ids_)
        flat = [(item, score) for ranked in lists(model.recommend(k=NUM_ITEMS + 2)).values() for item, score in ranked]
        assert flat == list(
            zip(items[item_rows[item_rows >= 0]].tolist(), scores[item_rows >= 0].tolist(), strict=True)
        )

    # --- unknown users ------------------------------------------------------------------------------------------------

    def test_unknown_users_are_named(self, model: Any) -> None:
        sentence = f"recommend: users: 6 of 7 ids are unknown (first: 1, 2, 3, 4, 5); {self.unknown_cure}"
        with pytest.raises(UnknownIdError, match=exactly(sentence)):
            model.recommend([1, 2, 10, 3, 4, 5, 6])

    def test_unknown_users_may_be_left_out_with_a_warning(self, model: Any) -> None:
        sentence = "recommend: users: 2 of 4 ids are unknown (first: 1, 2); they get no list"
        with pytest.warns(UserWarning, match=exactly(sentence)) as caught:
            table = model.recommend([1, 30, 2, 20], k=2, on_unknown="warn")
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert rows(table) == rows(model.recommend([30, 20], k=2))

    def test_known_users_alone_do_not_warn(self, model: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.recommend([30], on_unknown="warn")

    def test_unknown_users_may_have_the_popularity_list(self, model: Any, train: pd.DataFrame) -> None:
        table = lists(
            model.recommend([999, 30, 998], k=4, items=[100, 102, 104, 106], exclude=[102], on_unknown="popular")
        )
        counts = train.item_id.value_counts()
        expected = sorted(
            ((item, float(counts[item])) for item in (100, 104, 106)), key=lambda pair: (-pair[1], pair[0])
        )
        assert table[999] == table[998] == expected
        assert table.get(30, []) == lists(model.recommend([30], k=4, items=[100, 104, 106])).get(30, [])

    def test_unknown_users_are_served_by_the_model_or_refused(self, model: Any) -> None:
        strangers = pd.DataFrame({"user_id": [999, 30, 999, 998]})
        if not self.serves_unknown:
            sentence = (
                f"recommend: on_unknown is 'features', but this {type(model).__name__} has no features of users to go by; "
                "pass 'popular', or fit with these users"
            )
            with pytest.raises(ValueError, match=exactly(sentence)):
                model.recommend(strangers, on_unknown="features")
            return
        table = model.recommend(strangers, k=4, on_unknown="features")
        assert table.user_id.dtype == np.int64
        assert list(dict.fromkeys(table.user_id)) == [999, 30, 998]
        first, again = (rows(table[table.user_id == 999])[start : start + 4] for start in (0, 4))
        assert first == again
        assert lists(table)[30] == lists(model.recommend([30], k=4))[30]
        assert lists(model.recommend([998], k=4, on_unknown="features"))[998] == lists(table)[998]

    def test_a_way_with_unknown_users_that_is_not_there_is_named(self, model: Any) -> None:
        sentence = (
            "recommend: on_unknown is 'rais', but must be one of 'raise', 'warn', 'popular', 'features'; "
            "did you mean 'raise'?"
        )
        with pytest.raises(ValueError, match=exactly(sentence)):
            model.recommend([999], on_unknown="rais")

    # --- removed items ------------------------------------------------------------------------------------------------

    def test_removed_items_are_gone_everywhere(
        self, model: Any, full: dict[Any, Any], train: pd.DataFrame, tmp_path: Any
    ) -> None:
        smaller = copy.deepcopy(model)
        assert smaller.remove_items([100, 105, 100]) is smaller
        smaller.remove_items(pd.DataFrame({"item_id": [103]}))
        gone = {100, 105, 103}
        expected = {user: [pair for pair in ranked if pair[0] not in gone] for user, ranked in full.items()}
        smaller.save(tmp_path / "model")
        for again in (smaller, copy.deepcopy(smaller), load(tmp_path / "model")):
            assert lists(again.recommend(k=NUM_ITEMS, filter_seen=False)) == expected
            popular = lists(again.recommend([999], k=NUM_ITEMS, on_unknown="popular"))[999]
            assert {item for item, _ in popular} == set(range(100, 111)) - gone
            assert list(again.item_ids_) == list(model.item_ids_)
            pairs = pd.DataFrame({"user_id": [10, 10], "item_id": [100, 101]})
            assert np.isnan(again.predict(pairs, on_unknown="nan")).tolist() == [True, False]
            sentence = (
                "predict: column 'item_id' of pairs: 1 of 2 ids is unknown (first: 100) (1 of them was removed); "
                "leave these pairs out, or pass on_unknown='nan'"
            )
            with pytest.raises(UnknownIdError, match=exactly(sentence)):
                again.predict(pairs)
            sentence = (
                "recommend: items: 3 of 4 ids are unknown (first: 103, 999, 100) (2 of them were removed); "
                "leave them out, or fit with these items"
            )
            with pytest.raises(UnknownIdError, match=exactly(sentence)):
                again.recommend(items=[103, 101, 999, 100])
            assert again.recommend([10], k=1, exclude=[103], items=[101], filter_seen=False).item_id.tolist() == [101]
        assert lists(model.recommend(k=NUM_ITEMS, filter_seen=False)) == full

    def test_what_cannot_be_removed_is_named_and_nothing_is_removed(self, model: Any) -> None:
        smaller = copy.deepcopy(model).remove_items([107, 101])
        left = rows(smaller.recommend(k=NUM_ITEMS))
        sentence = "remove_items: 1 item is not there any more (first: 107); leave out what was removed before"
        with pytest.raises(UnknownIdError, match=exactly(sentence)):
            smaller.remove_items([107, 108])
        sentence = "remove_items: 2 items are not there any more (first: 101, 107); leave out what was removed before"
        with pytest.raises(UnknownIdError, match=exactly(sentence)):
            smaller.remove_items([107, 101])
        sentence = "remove_items: ids: 1 of 2 ids is unknown (first: 999); leave them out"
        with pytest.raises(UnknownIdError, match=exactly(sentence)):
            smaller.remove_items([999, 108])
        assert rows(smaller.recommend(k=NUM_ITEMS)) == left
        assert rows(smaller.remove_items([]).recommend(k=NUM_ITEMS)) == left

    def test_everything_may_be_removed(self, model: Any) -> None:
        nothing = copy.deepcopy(model).remove_items(model.item_ids_)
        assert nothing.recommend(k=3, filter_seen=False).empty
        assert nothing.recommend([999], k=3, on_unknown="popular").empty

    def test_a_second_fit_brings_removed_items_back(self, train: pd.DataFrame) -> None:
        model = self.make().fit(train).remove_items([104])
        assert 104 in set(model.fit(train).recommend(k=50, filter_seen=False).item_id)

    # --- ids and frames -----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("ids", ["int64", "int32", "str"])
    def test_the_same_kind_of_table_and_ids_come_back(
        self, train: pd.DataFrame, kind: str, ids: str, tmp_path: Any
    ) -> None:
        columns = {
            column: [f"{column}:{value}" for value in train[column]] if ids == "str" else train[column].to_numpy(ids)
            for column in train
        }
        frame = KINDS[kind](columns)
        model = self.make().fit(frame)
        table = model.recommend(k=3)
        assert type(table) is type(frame)
        given, back = nw.from_native(frame, eager_only=True), nw.from_native(table, eager_only=True)
        assert {column: back.schema[column] for column in given.columns} == dict(given.schema)
        known = {column: set(given[column].to_list()) for column in given.columns}
        assert all(set(back[column].to_list()) <= known[column] for column in given.columns)
        if kind == "pandas":
            assert isinstance(table.index, pd.RangeIndex)
            assert table[given.columns].dtypes.equals(frame.dtypes)
        user = given["user_id"][0]
        assert rows(model.recommend([user], k=3)) == [row for row in rows(table) if row[0] == user]
        model.save(tmp_path / "model")
        assert rows(load(tmp_path / "model").recommend(k=3)) == rows(table)
        assert type(load(tmp_path / "model").recommend(k=3)) is type(frame)

    @pytest.mark.parametrize("dtype", ["int8", "uint64", "float32", "str", "category", "datetime64[s]", "Int64"])
    def test_unknown_users_do_not_change_the_dtype_of_the_ids(self, train: pd.DataFrame, dtype: str) -> None:
        frame = train.assign(user_id=train.user_id.astype(dtype))
        model = self.make().fit(frame)
        known = list(model.user_ids_)
        unknown = {"str": "who", "category": 99, "datetime64[s]": pd.Timestamp("2020-01-01")}.get(dtype, 99)
        table = model.recommend([known[1], unknown], k=2, filter_seen=False, on_unknown="popular")
        assert table.user_id.tolist() == [known[1], known[1], unknown, unknown]
        assert table.user_id.dtype.kind == frame.user_id.dtype.kind
        if dtype != "category":
            assert table.user_id.dtype == frame.user_id.dtype

    def test_the_kind_of_table_does_not_change_the_lists(self, train: pd.DataFrame) -> None:
        found = [rows(self.make().fit(kind(train.to_dict("list"))).recommend(k=5)) for kind in KINDS.values()]
        assert found[0] == found[1] == found[2]

    def test_columns_keep_the_names_of_the_caller(self, train: pd.DataFrame, model: Any) -> None:
        named = train.rename(columns={"user_id": "userId", "item_id": "movieId"})
        table = self.make(user_col="userId", item_col="movieId").fit(named).recommend(k=3)
        assert list(table.columns) == ["userId", "movieId", "score", "rank"]
        assert rows(table) == rows(model.recommend(k=3))

    @pytest.mark.parametrize("taken", ["score", "rank"])
    def test_a_name_that_the_lists_use_is_refused(self, train: pd.DataFrame, taken: str) -> None:
        with pytest.raises(
            ValueError, match=f"^fit: user_col is '{taken}', but that is a column of the lists; rename it in the table$"
        ):
            self.make(user_col=taken).fit(train.rename(columns={"user_id": taken}))

    def test_ids_and_history_are_what_was_fitted(self, model: Any, train: pd.DataFrame) -> None:
        assert set(model.user_ids_) == set(train.user_id)
        assert set(model.item_ids_) == set(train.item_id)
        assert list(model.history_.columns) == ["user_id", "item_id"]
        assert sorted(rows(model.history_)) == sorted(rows(train))

    # --- predict ------------------------------------------------------------------------------------------------------

    def test_predict_gives_the_bits_of_recommend(self, model: Any) -> None:
        table = model.recommend(k=NUM_ITEMS, filter_seen=False)
        order = np.random.default_rng(1).permutation(len(table))
        shuffled = table.iloc[order]
        scores = model.predict(shuffled[["item_id", "user_id"]])
        assert scores.dtype == np.float32
        np.testing.assert_array_equal(scores, shuffled.score.to_numpy())
        assert model.predict(table.head(0)).shape == (0,)

    def test_predict_names_unknown_ids_or_gives_nan(self, model: Any) -> None:
        pairs = pd.DataFrame({"user_id": [10, 999, 10], "item_id": [100, 100, 1]})
        sentence = (
            "predict: column 'user_id' of pairs: 1 of 3 ids is unknown (first: 999); "
            "leave these pairs out, or pass on_unknown='nan'"
        )
        with pytest.raises(UnknownIdError, match=exactly(sentence)):
            model.predict(pairs)
        scores = model.predict(pairs, on_unknown="nan")
        assert np.isnan(scores).tolist() == [False, True, True]

    def test_predict_names_a_column_that_is_missing(self, model: Any) -> None:
        with pytest.raises(SchemaError, match="item_id"):
            model.predict(pd.DataFrame({"user_id": [10]}))

    # --- one file, any number of threads ------------------------------------------------------------------------------

    def test_a_file_gives_the_same_lists(self, model: Any, tmp_path: Any) -> None:
        model.save(tmp_path / "model.twotower")
        again = load(tmp_path / "model.twotower")
        assert type(again) is type(model)
        options = model.get_params()
        loaded = again.get_params()
        assert {name: loaded[name] for name in loaded if name not in ("n_jobs", "verbose")} == {
            name: options[name] for name in options if name not in ("n_jobs", "verbose")
        }
        pd.testing.assert_frame_equal(again.recommend(k=5), model.recommend(k=5))
        pd.testing.assert_frame_equal(again.history_, model.history_)
        assert lists(again.recommend([999], k=3, on_unknown="popular")) == lists(
            model.recommend([999], k=3, on_unknown="popular")
        )
        again.save(tmp_path / "again.twotower")
        assert (tmp_path / "again.twotower").read_bytes() == (tmp_path / "model.twotower").read_bytes()

    def test_a_file_opens_in_a_fresh_process(self, model: Any, tmp_path: Any) -> None:
        model.save(tmp_path / "model.twotower")
        program = (
            "import sys; from twotower.models import load; "
            "table = load(sys.argv[1]).recommend(k=5); table.to_pickle(sys.argv[2])"
        )
        subprocess.run(
            [sys.executable, "-c", program, tmp_path / "model.twotower", tmp_path / "table"], check=True, timeout=120
        )
        pd.testing.assert_frame_equal(pd.read_pickle(tmp_path / "table"), model.recommend(k=5))

    def test_the_same_bytes_for_any_number_of_threads(self, tmp_path: Any) -> None:
        train, _ = two_tastes()
        files, tables = [], []
        for n_jobs in (1, 2, 7, 1):
            model = self.make(n_jobs=n_jobs).fit(train)
            model.save(tmp_path / "model")
            files.append((tmp_path / "model").read_bytes())
            tables.append(model.recommend(k=20))
        assert all(file == files[0] for file in files)
        for table in tables:
            pd.testing.assert_frame_equal(table, tables[0])

    @pytest.mark.parametrize("n_jobs", [0, -2, 1.5, "all"])
    def test_n_jobs_is_checked_in_fit(self, train: pd.DataFrame, n_jobs: Any) -> None:
        sentence = (
            f"fit: n_jobs is {n_jobs!r}, but must be -1 (every CPU this process may use) or an integer of at least 1"
        )
        with pytest.raises(ValueError, match=exactly(sentence)):
            self.make(n_jobs=n_jobs).fit(train)

    # --- a right answer -----------------------------------------------------------------------------------------------

    def test_lists_find_more_than_chance(self) -> None:
        train, test = two_tastes()
        table = self.make().fit(train).recommend(test.user_id.unique(), k=10)
        found = hits(table, test)
        by_chance = 10 / (60 - 8)
        assert found > self.times_better_than_random * by_chance * len(test)
        if self.beats_popularity:
            assert found > hits(Popularity().fit(train).recommend(test.user_id.unique(), k=10), test)

    # --- tables of users and items ------------------------------------------------------------------------------------

    def test_tables_of_users_and_items_widen_who_is_known(self, train: pd.DataFrame, tmp_path: Any) -> None:
        users = pd.DataFrame({"user_id": [80, 70, 60, 50, 40, 30, 20, 10], "group": list("aabbabab")})
        items = pd.DataFrame({"price": np.linspace(1, 2, 12), "item_id": range(99, 111)})
        for kind in KINDS.values():
            model = self.make().fit(
                kind(train.to_dict("list")), users=kind(users.to_dict("list")), items=kind(items.to_dict("list"))
            )
            assert list(model.user_ids_.to_pylist() if kind is pa.table else model.user_ids_) == sorted(users.user_id)
            assert {item for _, item, _, _ in rows(model.recommend([80], k=12))} == set(items.item_id)
            model.save(tmp_path / "model")
            assert rows(load(tmp_path / "model").recommend(k=12)) == rows(model.recommend(k=12))

    def test_an_item_that_its_table_does_not_have_is_named(self, train: pd.DataFrame) -> None:
        items = pd.DataFrame({"item_id": sorted(set(train.item_id) - {105, 107})})
        with pytest.raises(
            DataError, match=r"^fit: 2 ids of column 'item_id' are in the interactions but not in items \(first: 10"
        ):
            self.make().fit(train, items=items)

    # --- bad tables ---------------------------------------------------------------------------------------------------

    def test_an_empty_table_is_refused(self, train: pd.DataFrame) -> None:
        with pytest.raises(DataError, match="interactions"):
            self.make().fit(train.head(0))

    def test_a_missing_column_is_named(self, train: pd.DataFrame) -> None:
        with pytest.raises(SchemaError, match="item_id"):
            self.make().fit(train.rename(columns={"item_id": "itemid"}))

    def test_a_missing_id_is_named(self, train: pd.DataFrame) -> None:
        for kind in KINDS.values():
            with pytest.raises(DataError, match="user_id"):
                self.make().fit(kind({"user_id": [1.0, None, 2.0], "item_id": [1, 2, 3]}))

    def test_a_column_that_comes_twice_is_named(self, train: pd.DataFrame) -> None:
        with pytest.raises(SchemaError, match="item_id"):
            self.make().fit(pd.concat([train, train[["item_id"]]], axis=1))

    def test_what_is_no_table_is_refused(self, train: pd.DataFrame) -> None:
        with pytest.raises(TypeError, match="interactions"):
            self.make().fit(train.to_numpy())

    @pytest.mark.parametrize("pairs", [[(1, 5)], [(1, 5), (1, 6)], [(1, 5), (2, 5)]])
    def test_one_user_or_one_item_is_enough_or_refused(self, pairs: list[tuple[int, int]]) -> None:
        frame = pd.DataFrame(pairs, columns=["user_id", "item_id"])
        if self.needs_two:
            with pytest.raises(DataError, match=r"^fit: all positive examples are of one (user|item), "):
                self.make().fit(frame)
            return
        model = self.make().fit(frame)
        assert model.recommend(k=5).empty
        everything = model.recommend(k=5, filter_seen=False)
        assert set(rows(everything[["user_id", "item_id"]])) == set(
            itertools.product({u for u, _ in pairs}, {i for _, i in pairs})
        )


class DotProductConformance(RecommenderConformance):
    """What a recommender must do beside, when its score is a dot product of two vectors."""

    before_fit = RecommenderConformance.before_fit | {
        "similar_items": ([1],),
        "similar_users": ([1],),
        "user_embeddings": (),
        "item_embeddings": (),
    }

    def test_the_dot_product_of_the_embeddings_is_the_score(self, model: Any) -> None:
        users, items = model.user_embeddings(), model.item_embeddings()
        assert users.dtype == items.dtype == np.float32
        assert (len(users), len(items)) == (7, NUM_ITEMS)
        table = model.recommend(k=NUM_ITEMS, filter_seen=False)
        pairs = pd.MultiIndex.from_product([list(model.user_ids_), list(model.item_ids_)])
        scores = table.set_index(["user_id", "item_id"]).score.loc[pairs].to_numpy().reshape(7, NUM_ITEMS)
        bound = 4 * users.shape[1] * np.finfo(np.float32).eps * (np.abs(users) @ np.abs(items).T)
        assert (np.abs(users @ items.T - scores) <= bound).all()

    def test_embeddings_come_in_the_order_asked(self, model: Any) -> None:
        np.testing.assert_array_equal(model.user_embeddings([50, 10, 50]), model.user_embeddings()[[4, 0, 4]])
        np.testing.assert_array_equal(model.item_embeddings([110, 100]), model.item_embeddings()[[10, 0]])
        assert model.item_embeddings([]).shape == (0, model.item_embeddings().shape[1])
        sentence = "user_embeddings: users: 1 of 2 ids is unknown (first: 9); leave them out, or fit with these users"
        with pytest.raises(UnknownIdError, match=exactly(sentence)):
            model.user_embeddings([10, 9])

    def test_embeddings_are_copies(self, model: Any) -> None:
        before = model.recommend(k=3)
        model.item_embeddings()[:] = 0
        model.user_embeddings()[:] = 0
        pd.testing.assert_frame_equal(model.recommend(k=3), before)

    @pytest.mark.parametrize("side", ["user", "item"])
    def test_neighbors_are_everyone_else_by_cosine(self, model: Any, side: str) -> None:
        ids = list(getattr(model, f"{side}_ids_"))
        similar = getattr(model, f"similar_{side}s")
        table = similar(ids, k=50)
        assert list(table.columns) == [f"{side}_id", f"similar_{side}_id", "score", "rank"]
        found = lists(table)
        assert all({other for other, _ in found[one]} == set(ids) - {one} for one in ids)
        scores = {(one, other): score for one in ids for other, score in found[one]}
        assert all(abs(score) <= 1 + 1e-5 for score in scores.values())
        assert all(scores[one, other] == pytest.approx(scores[other, one], abs=1e-5) for one, other in scores)
        asked = [ids[3], ids[0], ids[3]]
        expected = [(one, *pair, rank) for one in asked for rank, pair in enumerate(found[one][:2], start=1)]
        assert rows(similar(asked, k=2)) == expected

    def test_neighbors_of_unknown_ids_and_no_k_are_refused(self, model: Any) -> None:
        sentence = "similar_items: ids: 1 of 2 ids is unknown (first: 999); leave them out, or fit with these items"
        with pytest.raises(UnknownIdError, match=exactly(sentence)):
            model.similar_items([100, 999])
        with pytest.raises(ValueError, match=exactly("similar_users: k is 0, but must be at least 1")):
            model.similar_users([10], k=0)
        with pytest.raises(TypeError, match=exactly("similar_items: there is no option 'N'; here it is called 'k'")):
            model.similar_items([100], N=5)
        assert model.similar_items([], k=3).shape == (0, 4)

    def test_removed_items_are_like_nothing(self, model: Any) -> None:
        smaller = copy.deepcopy(model).remove_items([104, 106])
        left = [item for item in model.item_ids_ if item not in (104, 106)]
        expected = {
            item: [pair for pair in ranked if pair[0] in left]
            for item, ranked in lists(model.similar_items(left, k=50)).items()
        }
        assert lists(smaller.similar_items(left, k=50)) == expected
        for name, values in (
            ("similar_items: ids", smaller.similar_items),
            ("item_embeddings: items", smaller.item_embeddings),
        ):
            sentence = f"{name}: 1 of 2 ids is unknown (first: 104) (1 of them was removed); leave them out, or fit with these items"
            with pytest.raises(UnknownIdError, match=exactly(sentence)):
                values([100, 104])
        # Everything is everything that has a row.
        np.testing.assert_array_equal(smaller.item_embeddings(), model.item_embeddings())
