"""People and items that were never seen: a tenth of them is hidden from training, then served from features or a short history.

What is measured
    Items     A tenth of the items with positives is drawn and every row of theirs taken away. The model is fitted on the rest,
              with the table of the rest; then `add_items` brings the hidden ones, of which it knows the features alone. Measured
              users: those with positives among the hidden items and among the others. Their lists are ranked (a) over all items,
              where an unseen one stands against the favorites of years, and (b) over the hidden ones; relevant are the hidden
              positives; what the user has in training is left out.
    Users     A tenth of the users is drawn and every row of theirs taken away. Then they come as a frame: with their
              demographics alone, or with their first 1, 3, 5, 10 positives as `history` too. Measured are those with more than 10
              positives. In every column the first 10 are left out of the lists and the later ones are relevant, so that columns
              compare with each other.

    ml-1m     ratings from 4 are positives, the others count as seen; films have title, year, genres; people gender, age,
              occupation. The history is in the order of time.
    anime     every row is a positive; items have name, genre, type, episodes (the site's own `rating` and `members` are made of
              interactions, so they are not used); of people nothing is known. There are no times: the history is drawn.

    Rules to compare with, for items: `random`; `popularity` (positives in training; none for a hidden item); `genre popularity`,
    the mean or the sum over an item's genres of the genre's popularity, which is the mean over its items of training; `genre
    popularity x own shares`, the sum with each genre weighted by its share among the user's training positives; `genre lift`, a
    naive Bayes rule: how much more often than the catalogue the user's positives have each genre of the item, and lack the others.
    For users: `popularity`, and EASE, whose penalty was chosen on validation, with the history folded in. Equal scores are ranked
    in a drawn order, since both data sets number popular items first. A figure is the mean over seeds 0, 1, 2, largest less
    smallest in brackets; the seed draws what is hidden, and is the model's `random_state`.

    Settings stand in CASES; all were chosen with --part valid, which never looks at the hidden tenth of the test: it takes
    them away, hides another tenth of the rest and measures on that.

How to run
    python benchmarks/cold_start.py                         both data sets, items and users
    python benchmarks/cold_start.py --cases ml-1m-items     one of ml-1m-items, anime-items, ml-1m-users, anime-users
    python benchmarks/cold_start.py --quick                 ml-1m, one seed, one epoch
    python benchmarks/cold_start.py --part valid            choose settings here
    python benchmarks/cold_start.py --only popularity EASE  rules alone
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import _common as common
import _lists as lists
import _readers as readers
import twotower as tt
from _lists import Results, Truth, best, dense, ease_weights, timed, wanted

METRICS = ("recall@10", "recall@100", "ndcg@10")
HIDDEN_SHARE = 0.1
HISTORIES = (0, 1, 3, 5, 10)


@dataclass(frozen=True)
class Case:
    """A data set, its columns and the settings of the model; features are given by what they are called in the table."""

    title: str
    read: Callable[[Any], readers.Tables]
    positives: Mapping[str, Any]  # options of every model that say which rows are positives
    genre_col: str
    item_features: Sequence[Any]
    user_features: Sequence[Any]
    ease_penalty: float
    item_settings: Mapping[str, Any]
    user_settings: Mapping[str, Any]
    max_history: int
    id_dropout: float  # of the items: the share that training takes for unknown, so that features learn to stand alone


# What was tried on validation: Id dropout 0 to 1, temperature .07 to .3 and the model's own, 2 to 15 epochs, learning rate .003
# and .01, user_balance 0 to 1, dim 32 to 128, hidden and cross layers, the dot product; genres by mean, sum and sqrt, titles
# by words, by characters and by both; on one draw, the Id dropout of ml-1m in the end on three. What mattered: runs of characters
# in the title, genres summed, a low temperature, few epochs.
_ITEMS = {"temperature": 0.1, "learning_rate": 0.003, "user_balance": 0.5}
# Tried: histories of 10 to 200, temperature .2 to .4, 5 to 20 epochs, the other encoders, features of the items, group_size 1 to
# 16. A smaller temperature is better for 10 items and worse than popularity for one.
_USERS = {"temperature": 0.3, "epochs": 5}

CASES = {
    "ml-1m": Case(
        "ml-1m",
        readers.movielens_1m,
        {"rating_col": "rating", "min_rating": 4},
        "genres",
        (
            tt.Categories("genres", pooling="sum"),
            tt.Numeric("year", buckets=16),
            tt.Text("title", words=(1, 1), chars=(3, 5)),
        ),
        (tt.Category("gender"), tt.Numeric("age", buckets=7), tt.Category("occupation")),
        5000,
        {**_ITEMS, "epochs": 5},
        _USERS,
        30,
        0.1,
    ),
    "anime": Case(
        "anime",
        readers.anime,
        {},
        "genre",
        (
            tt.Categories("genre", separator=", ", pooling="sum"),
            tt.Category("type"),
            tt.Numeric("episodes", buckets=16),
            tt.Text("name", words=(1, 1), chars=(3, 5)),
        ),
        (),
        2000,
        {**_ITEMS, "epochs": 8},
        {},
        20,
        0.3,
    ),
}
USER_ID = tt.Id("user_id", dropout=1.0)  # nobody has a vector of one's own


def _hide(ids: np.ndarray, seed: int, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Ids to hide and measure, and ids that are not looked at at all (for validation, those of the test)."""
    order = np.random.default_rng(seed).permutation(ids)
    tenth = round(HIDDEN_SHARE * len(order))
    return (order[:tenth], order[:0]) if part == "test" else (order[tenth : 2 * tenth], order[:tenth])


def _is_positive(case: Case, rows: Any) -> Any:
    if not case.positives:
        return np.ones(len(rows), dtype=bool)
    return (rows[case.positives["rating_col"]] >= case.positives["min_rating"]).to_numpy()


# --- items ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ItemSplit:
    """Training rows and table without the hidden items; what is measured, over all items and over the hidden ones."""

    train: Any
    warm: Any
    cold: Any
    users: Any
    everything: Truth
    hidden: Truth
    seen: np.ndarray  # bool (users, items) in training, by the positions of `everything`
    liked: np.ndarray  # of them, the positives

    @classmethod
    def draw(cls, case: Case, data: readers.Tables, seed: int, part: str) -> ItemSplit:
        rows = data.interactions
        positive = rows[_is_positive(case, rows)]
        cold, dropped = _hide(np.unique(positive["item_id"]), seed, part)
        rows = rows[~rows["item_id"].isin(dropped)]
        items = data.items[~data.items["item_id"].isin(dropped)]
        train = rows[~rows["item_id"].isin(cold)]
        known = train[_is_positive(case, train)]["user_id"].unique()
        measured = positive[positive["item_id"].isin(cold) & positive["user_id"].isin(known)]
        everything = Truth.of(measured, np.sort(items["item_id"].to_numpy()))
        is_cold = items["item_id"].isin(cold)
        return cls(
            train,
            items[~is_cold],
            items[is_cold],
            data.users,
            everything,
            Truth.of(measured, np.sort(cold)),
            dense(train, everything.users, everything.items),
            dense(train[_is_positive(case, train)], everything.users, everything.items),
        )

    def measure_scores(self, scores: np.ndarray) -> list[float]:
        """Figures (a) and (b) of scores (users, items)."""
        over_all = self.everything.figures(best(scores, self.seen), METRICS)
        places = np.searchsorted(self.everything.items, self.hidden.items)
        scores = np.ascontiguousarray(scores[:, places])
        return over_all + self.hidden.figures(best(scores, np.zeros_like(scores, dtype=bool)), METRICS)

    def measure_model(self, model: Any) -> list[float]:
        over_all = self.everything.figures(self.everything.lists(model), METRICS)
        return over_all + self.hidden.figures(self.hidden.lists(model, items=self.hidden.items.tolist()), METRICS)


def genre_matrix(case: Case, tables: Sequence[Any], items: np.ndarray) -> np.ndarray:
    """Bool (items, genres)."""
    lists_of_genres = [
        value if isinstance(value, (list, np.ndarray)) else value.split(", ") if isinstance(value, str) else []
        for table in tables
        for value in table[case.genre_col]
    ]
    ids = np.concatenate([table["item_id"].to_numpy() for table in tables])
    names = sorted({name for genres in lists_of_genres for name in genres})
    matrix = np.zeros((len(items), len(names)), dtype=bool)
    for place, genres in zip(np.searchsorted(items, ids), lists_of_genres, strict=True):
        matrix[place, [names.index(name) for name in genres]] = True
    return matrix


def item_rules(case: Case, split: ItemSplit, seed: int) -> dict[str, np.ndarray]:
    """Scores (users, items) of the rules."""
    num_users, num_items = split.seen.shape
    counts = np.zeros(num_items)
    positive = split.train[_is_positive(case, split.train)]
    np.add.at(counts, np.searchsorted(split.everything.items, positive["item_id"].to_numpy()), 1)
    warm = np.isin(split.everything.items, split.warm["item_id"])
    genres = genre_matrix(case, [split.warm, split.cold], split.everything.items).astype(float)
    popularity = (counts * warm) @ genres / np.maximum(warm @ genres, 1)
    likes = split.liked.astype(float) @ genres
    shares = likes / np.maximum(likes.sum(axis=1, keepdims=True), 1)
    # Logarithms of how much more often than the catalogue the user's items have a genre, and lack it.
    has, among = likes / split.liked.sum(axis=1, keepdims=True), warm @ genres / np.count_nonzero(warm)
    lift = [np.log((mine + 0.02) / (all_items + 0.02)) for mine, all_items in ((has, among), (1 - has, 1 - among))]
    everybody = np.ones((num_users, 1))
    return {
        "random": np.random.default_rng(seed).random((num_users, num_items)),
        "popularity": everybody * counts,
        "genre popularity, mean": everybody * (genres @ popularity / np.maximum(genres.sum(axis=1), 1)),
        "genre popularity, sum": everybody * (genres @ popularity),
        "genre popularity x own shares": (shares * popularity) @ genres.T,
        "genre lift": lift[0] @ genres.T + lift[1] @ (1 - genres).T,
    }


def run_items(case: Case, data: readers.Tables, options: argparse.Namespace) -> common.Table:
    columns = [f"{metric}, {where}" for where in ("all", "hidden") for metric in METRICS]
    results = Results(columns)
    for seed in options.seeds:
        split = ItemSplit.draw(case, data, seed, options.part)
        for name, scores in item_rules(case, split, seed).items():
            if wanted(name, options):
                results.add(name, split.measure_scores(scores))
        for name, features in (("TwoTower, genres", case.item_features[:1]), ("TwoTower, all", case.item_features)):
            if not wanted(name, options):
                continue
            model = tt.TwoTower(
                item_features=[tt.Id("item_id", dropout=case.id_dropout), *features],
                user_features=[],
                random_state=seed,
                verbose=0,
                **case.positives,
                **{**case.item_settings, **options.settings},
            )
            _, seconds = timed(lambda model=model, split=split: model.fit(split.train, items=split.warm))
            model.add_items(split.cold)
            results.add(name, split.measure_model(model), seconds)
    table = results.table(
        f"{case.title}, {len(split.cold):,} items hidden of {len(split.everything.items):,}: "
        f"{len(split.everything.users):,} users, {options.part} part, seeds {options.seeds}"
    )
    table.notes.append(f"TwoTower with {lists.settings_text({**case.item_settings, **options.settings})}")
    return table


# --- users ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UserSplit:
    """Training rows of the others; the measured users' first positives, and the later ones as truth."""

    train: Any
    users: Any
    strangers: Any  # table of the measured users, in the order of `truth.users`; None where there is no table
    first: list[list[int]]  # the first ten positives of each
    truth: Truth

    @classmethod
    def draw(cls, case: Case, data: readers.Tables, seed: int, part: str) -> UserSplit:
        rows = data.interactions
        has_times = "timestamp" in rows.columns
        rows = rows.sort_values("timestamp", kind="stable") if has_times else rows.sample(frac=1, random_state=seed)
        hidden, dropped = _hide(np.unique(rows["user_id"]), seed, part)
        train = rows[~rows["user_id"].isin(hidden) & ~rows["user_id"].isin(dropped)]
        theirs = rows[rows["user_id"].isin(hidden) & _is_positive(case, rows)]
        theirs = theirs[theirs["item_id"].isin(train["item_id"].unique())]
        place = theirs.groupby("user_id").cumcount()
        truth = Truth.of(theirs[place >= max(HISTORIES)], np.unique(train["item_id"]))
        first = theirs[place < max(HISTORIES)].groupby("user_id")["item_id"].agg(list)
        users = strangers = None
        if data.users is not None:
            users = data.users[data.users["user_id"].isin(train["user_id"].unique())]
            strangers = data.users.set_index("user_id").loc[truth.users].reset_index()
        return cls(train, users, strangers, first.loc[truth.users].tolist(), truth)

    def history(self, length: int) -> list[list[int]]:
        return [items[:length] for items in self.first]

    def left_out(self) -> np.ndarray:
        """Bool (users, items): the first ten."""
        return self._matrix(max(HISTORIES))

    def _matrix(self, length: int) -> np.ndarray:
        matrix = np.zeros(self.truth.relevant.shape, dtype=bool)
        for row, items in enumerate(self.history(length)):
            matrix[row, np.searchsorted(self.truth.items, items)] = True
        return matrix

    def measure_rule(self, scores_of: Callable[[np.ndarray], np.ndarray]) -> list[list[float]]:
        """Figures by length of history of scores (users, items) made of a history bool (users, items)."""
        left_out = self.left_out()
        return [self.truth.figures(best(scores_of(self._matrix(length)), left_out), METRICS) for length in HISTORIES]

    def measure_model(self, model: Any, lengths: Sequence[int]) -> list[list[float]]:
        """Figures by length; NaN for those that are not asked for."""
        ids = self.truth.users
        frame = readers.pd.DataFrame({"user_id": ids}) if self.strangers is None else self.strangers
        exclude = readers.pd.DataFrame({"user_id": ids, "item_id": self.first}).explode("item_id")
        exclude["item_id"] = exclude["item_id"].astype("int64")
        figures = []
        for length in HISTORIES:
            if length not in lengths:
                figures.append([float("nan")] * len(METRICS))
                continue
            asked = frame.assign(history=self.history(length))
            found = self.truth.lists(model, asked, on_unknown="features", exclude=exclude)
            figures.append(self.truth.figures(found, METRICS))
        return figures


def run_users(case: Case, data: readers.Tables, options: argparse.Namespace) -> list[common.Table]:
    results = {metric: Results([f"{length} items" for length in HISTORIES]) for metric in METRICS}

    def add(name: str, figures: list[list[float]], seconds: float | None = None) -> None:
        for place, metric in enumerate(METRICS):
            results[metric].add(name, [row[place] for row in figures], seconds)

    for seed in options.seeds:
        split = UserSplit.draw(case, data, seed, options.part)
        positive = split.train[_is_positive(case, split.train)]
        counts = positive["item_id"].value_counts().reindex(split.truth.items, fill_value=0).to_numpy(float)
        if wanted("popularity", options):
            add("popularity", split.measure_rule(lambda history, counts=counts: np.tile(counts, (len(history), 1))))
        name = f"EASE, lambda {case.ease_penalty:g}, history folded in"
        if wanted(name, options):
            known = dense(positive, np.unique(positive["user_id"]), split.truth.items)
            weights = ease_weights(known, case.ease_penalty)
            # Without a history EASE has no opinion, and popularity stands in.
            add(name, split.measure_rule(lambda history, w=weights, c=counts: history @ w + c * 1e-9))
        for name, features, lengths in _user_models(case):
            if not wanted(name, options):
                continue
            settings = {**case.user_settings, **options.settings}
            model = tt.TwoTower(
                user_features=features, item_features=[], random_state=seed, verbose=0, **case.positives, **settings
            )
            _, seconds = timed(lambda model=model, split=split: model.fit(split.train, users=split.users))
            add(name, split.measure_model(model, lengths), seconds)
    title = f"{case.title}, {HIDDEN_SHARE:.0%} of the users hidden, {len(split.truth.users):,} measured, served by a history of"
    tables = [
        result.table(f"{title} ..., {metric}, {options.part} part, seeds {options.seeds}")
        for metric, result in results.items()
    ]
    tables[-1].notes.append(f"TwoTower with {lists.settings_text({**case.user_settings, **options.settings})}")
    return tables


def _user_models(case: Case) -> list[tuple[str, list[Any], Sequence[int]]]:
    """Name, features, and the lengths of history that the model can be asked with."""
    history = tt.History(encoder="mean", max_length=case.max_history)
    models = [("TwoTower, history", [USER_ID, history], HISTORIES[1:])]
    if case.user_features:
        models.append(("TwoTower, demographics", [USER_ID, *case.user_features], HISTORIES[:1]))
        models.append(("TwoTower, demographics and history", [USER_ID, *case.user_features, history], HISTORIES))
    return models


# --- the program ------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = lists.argument_parser(__doc__)
    names = [f"{name}-{what}" for what in ("items", "users") for name in CASES]
    parser.add_argument("--cases", nargs="+", choices=names, default=names, metavar="CASE", help=", ".join(names))
    options = parser.parse_args()
    if options.quick:
        options.cases, options.seeds = ["ml-1m-items", "ml-1m-users"], [0]
        options.settings["epochs"] = 1

    report = common.Report("Unseen items and unseen people", options.markdown)
    report.machine(common.machine(["pandas"]))
    for name in options.cases:
        case, what = CASES[name.rpartition("-")[0]], name.rpartition("-")[2]
        data = case.read(options.data)
        tables = [run_items(case, data, options)] if what == "items" else run_users(case, data, options)
        for table in tables:
            report.table(table)


if __name__ == "__main__":
    main()
