"""Two stages on ml-1m by time, in the shape of a public two-stage project on MovieLens-32M, with all relevant items counted.

What is measured
    The newest 10 % of the rows are the test, the 10 % before them validation, the first 80 % training; ratings from 4 are positives.
    Training is cut down to its 20-core (users and items with at least 20 rows, again and again until all have them); measured
    are users of it with at least 10 positives in the measured part. Their training rows of any rating are left out of the lists,
    every item of the 20-core is ranked, and positives outside of it stay in the denominators.

    One table: popularity; matrix factorization and NeuMF, where this version has them; the two-tower alone (ids, its defaults); the
    ranker over the most popular items in place of the two-tower's; two stages.
    Retrieval is judged by recall at 50 to 1000, lists by ndcg@10, always over all relevant items. Beside them stands what is often
    printed for two stages: ndcg@10 among the 500 candidates, whose denominator leaves out what retrieval has lost, and how much
    of the truth reached the candidates at all.

    The ranker learns on the newest 20 % of the training rows, inside the candidates of a two-tower that has seen the other 80 %
    alone. It reads that one's scores and vectors, and has vectors of items of its own.

    The 2,896 items of the 20-core leave no room for recall at 500 to be twice popularity's, which finds two thirds of the validation's
    positives there.

    Chosen with --part valid, seed 0: the two-tower of ids rather than that of feature_ablation.py, whose weights by session are for
    the recall of all users and cost users with many positives; loss softmax or bpr; weights by session or none. None was chosen on
    test.

How to run
    python benchmarks/two_stage.py
    python benchmarks/two_stage.py --part valid --seeds 0             choose settings here
    python benchmarks/two_stage.py --only stages --ranker loss=bpr --ranker negatives=4
    python benchmarks/two_stage.py --quick                            one seed, one epoch
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import _common as common
import _lists as lists
import _readers as readers
import twotower as tt
from _lists import Results, wanted

CANDIDATES, TRAIN_CORE, MEASURED_CORE = 500, 20, 10
CUTOFFS = (50, 100, 200, 500, 1000)
LISTS = ("ndcg@10", "recall@10", *(f"recall@{cutoff}" for cutoff in CUTOFFS))
AMONG = ("ndcg@10|candidates", f"recall@{CANDIDATES} (candidates)")

POSITIVES: dict[str, Any] = {"rating_col": "rating", "min_rating": 4}
RETRIEVER: dict[str, Any] = {"user_features": [], "item_features": []}
RANKER = {
    "loss": "softmax",
    "interaction": "product",
    "user_features": [tt.Id("user_id", dropout=1.0)],
    "item_features": [],
    "dim": 32,
    "hidden": (64,),
    "negatives": 20,
    "epochs": 5,
    "batch_size": 1024,
}
CROSS_FIT = {"cross_fit": "time", "holdout": 0.2, "time_col": "timestamp"}


def core(rows: Any, least: int) -> Any:
    """The rows whose user and item both have at least so many of them."""
    while True:
        kept = np.logical_and.reduce(
            [rows.groupby(column)[column].transform("size") >= least for column in ("user_id", "item_id")]
        )
        if kept.all():
            return rows
        rows = rows[kept]


def read(options: Any) -> Any:
    """Training rows, measured positives, tables of the core's users and items."""
    data = readers.movielens_1m(options.data)
    train, valid, test = tt.split.time(data.interactions, valid=0.1, test=0.1)
    train = core(train, TRAIN_CORE)
    measured = valid if options.part == "valid" else test
    measured = measured[(measured["rating"] >= POSITIVES["min_rating"]) & measured["user_id"].isin(train["user_id"])]
    measured = measured[measured.groupby("user_id")["user_id"].transform("size") >= MEASURED_CORE]
    users = data.users[data.users["user_id"].isin(train["user_id"])]
    items = data.items[data.items["item_id"].isin(train["item_id"])]
    return train, measured, {"users": users, "items": items}


def contestants(seed: int, options: Any) -> dict[str, Any]:
    """Unfitted models by name; None where this version has no such model."""
    positives = POSITIVES
    common_options = {"random_state": seed, "verbose": 0}

    def other(name: str, **settings: Any) -> Any:
        found = getattr(tt, name, None) if name in dir(tt) else None
        if found is None:
            return None
        known = found().get_params(deep=False)
        settings = {**positives, **common_options, **settings}
        return found(**{option: value for option, value in settings.items() if option in known})

    def tower() -> Any:
        return tt.TwoTower(**positives, **common_options, **{**RETRIEVER, **options.settings})

    def ranker() -> Any:
        return tt.Ranker(**{**RANKER, **options.ranker}, **common_options)

    def stages(retriever: Any) -> Any:
        cross_fit = {**CROSS_FIT, **options.stages}
        return tt.TwoStage(retriever=retriever, ranker=ranker(), candidates=CANDIDATES, **cross_fit, **common_options)

    return {
        "popularity": tt.Popularity(**positives),
        "MF": other("MatrixFactorization"),
        "NeuMF": other("NeuMF"),
        "two-tower": tower(),
        "ranker over popularity's candidates": stages(tt.Popularity(**positives)),
        "two stages": stages(tower()),
    }


def measure(model: Any, test: Any) -> list[float]:
    """Figures in the order of the table's columns; NaN for places that a list of two stages does not have."""
    is_two = isinstance(model, tt.TwoStage)
    names = [name for name in LISTS if not is_two or int(name.partition("@")[2]) <= CANDIDATES]
    table = tt.evaluate(model, test, [*names, "ndcg@10|candidates"])
    row = {name: float(table[name].iloc[0]) for name in table.columns if "@" in name}
    return [row.get(name, np.nan) for name in (*LISTS, "ndcg@10|candidates", "recall@candidates")]


def main() -> None:
    parser = lists.argument_parser(__doc__)
    for name, what in (("ranker", "Ranker"), ("stages", "TwoStage")):
        parser.add_argument(
            f"--{name}",
            type=lists._setting,
            action=lists._Collect,
            default={},
            metavar="NAME=VALUE",
            help=f"an option of {what} other than the program's",
        )
    options = parser.parse_args()
    if options.quick:
        options.seeds = [0]
        options.settings["epochs"], options.ranker["epochs"] = 1, 1

    report = common.Report("Two stages", options.markdown)
    report.machine(common.machine(["pandas"]))
    train, test, tables = read(options)
    results = Results([*LISTS, *AMONG])
    for seed in options.seeds:
        for name, model in contestants(seed, options).items():
            if not wanted(name, options) or (name == "popularity" and seed != options.seeds[0]):
                continue
            if model is None:
                if seed == options.seeds[0]:
                    report.note(f"{name}: skipped, since this version of twotower has no such model.")
                continue
            start = time.perf_counter()
            model.fit(train, **tables)
            seconds = time.perf_counter() - start
            results.add(name, measure(model, test), seconds)
    report.table(
        results.table(
            f"ml-1m by global time, {TRAIN_CORE}-core: {len(train):,} training rows, {test['user_id'].nunique():,} users with "
            f"{len(test):,} positives of the {options.part} part, seeds {options.seeds}"
        )
    )


if __name__ == "__main__":
    main()
