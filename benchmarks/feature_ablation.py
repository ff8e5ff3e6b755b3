"""What features, histories and the moment bring: ml-1m by global time, one step after the other.

What is measured
    The newest 10 % of the rows of ml-1m are the test, the 10 % before them validation, the first 80 % training; ratings from 4 are
    positives. Measured users have at least 5 training rows; their training rows of any rating are left out of their lists. Every
    item is ranked. A figure is the mean over seeds 0, 1, 2, largest less smallest in brackets.

    The rows of the table add up: ids only; with genres and title of the films; with gender, age and occupation of the people; with
    the mean of a user's past positives in the place of the user's own vector; with the moment of the rating, a column of the
    interactions. In the test, a user's moment is that of the user's first measured row.

    The measured users all return, while most training rows are those of a first visit, so the training rows are weighted: each
    session of a user (rows less than 12 hours apart) weighs the same, whatever its length, and a first session a tenth. All steps have
    these weights, by `weight_col`. A plain count with the same weights stands in the table, since it alone is far above
    popularity: what a model knows beyond that is its own. Beside it: popularity; a count over returning users (positives
    given more than 30 days after the user's first rating); EASE, with the penalty that is best on validation.

    Settings were chosen with --part valid among: temperature .3 to .6, 3 to 20 epochs, learning rate .003 and .01, with and without
    the year of the film (which costs .015 of recall@10 there: what is new changes), with and without features in the history,
    history before the row or all other positives, time as buckets alone or with weekday and hour. None was chosen on test.

How to run
    python benchmarks/feature_ablation.py
    python benchmarks/feature_ablation.py --part valid            choose settings here
    python benchmarks/feature_ablation.py --quick                 one seed, one epoch
    python benchmarks/feature_ablation.py --only history          steps whose name has the word
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import _common as common
import _lists as lists
import _readers as readers
import twotower as tt
from _lists import Results, timed, wanted
from _reference import Measure, Reference, Split, ease, popularity

METRICS = ("recall@10", "recall@100")
MEASURES = [Measure(metric, metric) for metric in METRICS]
POSITIVES = {"rating_col": "rating", "min_rating": 4}
SETTINGS = {"weight_col": "weight", "time_col": "timestamp", "temperature": 0.5, "epochs": 5}
EASE_PENALTY = 500
HOUR_S = 60 * 60
SESSION_GAP_HOURS, FIRST_SESSION_WEIGHT = 12, 0.1
RETURNING_DAYS = 30

ITEM_FEATURES = [tt.Categories("genres"), tt.Text("title")]
DEMOGRAPHICS = [tt.Category("gender"), tt.Numeric("age", buckets=7), tt.Category("occupation")]
# No vectors of users, so that all that is known of somebody is in the history.
HISTORY = [tt.Id("user_id", dropout=1.0), tt.History(encoder="mean", max_length=500, features=False)]
MOMENT = [tt.Timestamp("timestamp", cyclic=False, normalize=False, buckets=16)]
STEPS: dict[str, Mapping[str, list[Any]]] = {
    "ids only": {"user_features": [], "item_features": []},
    "+ item features": {"user_features": [], "item_features": ITEM_FEATURES},
    "+ user features": {"user_features": DEMOGRAPHICS, "item_features": ITEM_FEATURES},
    "+ history": {"user_features": [*HISTORY, *DEMOGRAPHICS], "item_features": ITEM_FEATURES},
    "+ time": {
        "user_features": [*HISTORY, *DEMOGRAPHICS],
        "item_features": ITEM_FEATURES,
        "context_features": MOMENT,
    },
}


def read(options: Any) -> Split:
    """Cut by time and weigh the training rows."""
    data = readers.movielens_1m(options.data)
    train, valid, test = tt.split.time(data.interactions, valid=0.1, test=0.1)
    rows = train["user_id"].value_counts()
    measured = valid if options.part == "valid" else test
    measured = measured[measured["user_id"].isin(rows.index[rows >= 5]) & (measured["rating"] >= 4)]
    return Split(weighted(train), measured, POSITIVES, data.users, data.items)


def weighted(rows: Any) -> Any:
    """Rows in the order of time, with a `weight`: one over the positives of the session, less in a user's first; 1 on average."""
    rows = rows.sort_values("timestamp", kind="stable")
    pause = rows.groupby("user_id")["timestamp"].diff()
    session = (pause > SESSION_GAP_HOURS * HOUR_S).groupby(rows["user_id"]).cumsum()
    positive = rows["rating"] >= POSITIVES["min_rating"]
    positives = positive.groupby([rows["user_id"], session]).transform("sum")
    weight = np.where(session == 0, FIRST_SESSION_WEIGHT, 1.0) / np.maximum(positives, 1)
    return rows.assign(weight=weight / weight[positive].mean())


def count(split: Split, weight: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Popularity of the items among the positives, each with a weight (training rows,)."""
    positive = split.train["rating"] >= POSITIVES["min_rating"]
    items, places = np.unique(split.train["item_id"], return_inverse=True)
    counts = np.bincount(places[positive], weights=np.asarray(weight, dtype=float)[positive], minlength=len(items))
    return lambda users: np.tile(counts, (len(users), 1))


def returned(split: Split) -> Any:
    """Which training rows are of users who had come back."""
    times = split.train["timestamp"]
    return times - times.groupby(split.train["user_id"]).transform("min") > RETURNING_DAYS * 24 * HOUR_S


def measure(model: Any, split: Split) -> list[float]:
    table = tt.evaluate(model, split.test, METRICS)
    return [float(table[metric].iloc[0]) for metric in METRICS]


def main() -> None:
    parser = lists.argument_parser(__doc__)
    options = parser.parse_args()
    if options.quick:
        options.seeds = [0]
        options.settings["epochs"] = 1

    report = common.Report("Ablation of features", options.markdown)
    report.machine(common.machine(["pandas", "scipy"]))
    split = read(options)
    results = Results(METRICS)
    reference = Reference(split)
    rules = {
        "popularity": lambda: popularity(reference),
        f"count over returning users, {RETURNING_DAYS} days": lambda: count(split, returned(split)),
        "count with the weights of the models": lambda: count(split, split.train["weight"]),
        f"EASE, lambda {EASE_PENALTY}": lambda: ease(reference, EASE_PENALTY),
    }
    for name, rule in rules.items():
        if wanted(name, options):
            scores_of, seconds = timed(rule)
            results.add(name, reference.measure(scores_of, MEASURES), seconds)
    settings = {**SETTINGS, **options.settings}
    for name, features in STEPS.items():
        for seed in options.seeds if wanted(name, options) else []:
            model = tt.TwoTower(random_state=seed, verbose=0, **POSITIVES, **features, **settings)
            tables = {"users": split.users, "items": split.items}
            _, seconds = timed(lambda model=model, tables=tables: model.fit(split.train, **tables))
            results.add(name, measure(model, split), seconds)
    table = results.table(
        f"ml-1m by global time, ratings from 4: {split.test['user_id'].nunique():,} users, {options.part} part, "
        f"seeds {options.seeds}"
    )
    table.notes.append(f"TwoTower with {lists.settings_text(settings)}")
    report.table(table)


if __name__ == "__main__":
    main()
