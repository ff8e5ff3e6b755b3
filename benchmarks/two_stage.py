"""Two stages on ml-1m by time, in the shape of a public two-stage project on MovieLens-32M, with all relevant items counted.

What is measured
    The newest 10 % of the rows are the test, the 10 % before them validation, the first 80 % training; ratings from 4 are positives.
    A second validation ("early") trains on the first 70 % and measures on the 10 % behind them. Training is cut down to its 20-core
    (users and items with at least 20 rows, again and again until all have them); measured are users of it with at least 10
    positives in the measured part. Their training rows of any rating are left out of the lists, every item of the 20-core is ranked,
    and positives outside of it stay in the denominators.

    One table: popularity; matrix factorization; NeuMF; a two-tower of ids whose temperature is chosen for ndcg@10, and one whose is
    chosen for recall@500, which is what a first stage is for. Over the candidates of the second: a Ranker that learns inside them,
    and a blend of item neighbors and the first two-tower. And the Ranker over the most popular items in place of them.
    Retrieval is judged by recall at 50 to 1000, lists by ndcg@10, always over all relevant items. Beside them stands what is often
    printed for two stages: ndcg@10 among the 500 candidates, whose denominator leaves out what retrieval has lost, and how much
    of the truth reached the candidates at all.

    The ranker learns on the newest 20 % of the training rows, inside the candidates of a two-tower that has seen the other 80 %
    alone. It reads that one's score and vectors, has a vector of its own for each item, and adds what it learns to the score.

    The 2,896 items of the 20-core leave no room for recall at 500 to be twice popularity's, which finds two thirds of the validation's
    positives there.

    Chosen by the mean over the users of --part early (169) and --part valid (200), seed 0, some with seed 1: the temperatures, out of
    .24 (the default), .35, .5, .7 and 1; L2, width, epochs and drawn items of MF; L2 or weight decay, width, epochs, dropout and
    loss of NeuMF; interaction, width, layers, loss and epochs of the ranker, share and way of holding out; blends by rank or score,
    with and without MF. Smooth models win here: what comes next month is less like the past than a random part of it is. Nothing
    was chosen on test, though test figures of earlier settings had been seen.

How to run
    python benchmarks/two_stage.py
    python benchmarks/two_stage.py --part valid --seeds 0             choose settings here, and with --part early
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
FACTORS: dict[str, Any] = {"dim": 64, "negatives": 8, "epochs": 10, "shrink": 0.012}
NETWORK: dict[str, Any] = {"factors": 64, "negatives": 8, "epochs": 10, "shrink": 0.0, "weight_decay": 2.0}
RETRIEVER: dict[str, Any] = {"user_features": [], "item_features": [], "temperature": 0.7}
FINDER: dict[str, Any] = {"temperature": 0.35}
RANKER: dict[str, Any] = {
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
    if options.part == "early":
        train, valid = tt.split.time(train, test=0.125)
    train = core(train, TRAIN_CORE)
    measured = test if options.part == "test" else valid
    measured = measured[(measured["rating"] >= POSITIVES["min_rating"]) & measured["user_id"].isin(train["user_id"])]
    measured = measured[measured.groupby("user_id")["user_id"].transform("size") >= MEASURED_CORE]
    users = data.users[data.users["user_id"].isin(train["user_id"])]
    items = data.items[data.items["item_id"].isin(train["item_id"])]
    return train, measured, {"users": users, "items": items}


def contestants(seed: int, options: Any) -> dict[str, Any]:
    """Unfitted models by name."""
    common_options = {"random_state": seed, "verbose": 0}

    def tower(**more: Any) -> Any:
        return tt.TwoTower(**POSITIVES, **common_options, **{**RETRIEVER, **more, **options.settings})

    def ranker() -> Any:
        return tt.Ranker(**{**RANKER, **options.ranker}, **common_options)

    def blend() -> Any:
        return tt.Hybrid([tt.ItemKNN(**POSITIVES), tower()], verbose=0)

    def stages(retriever: Any, second: Any) -> Any:
        cross_fit = {**CROSS_FIT, **options.stages}
        return tt.TwoStage(retriever=retriever, ranker=second, candidates=CANDIDATES, **cross_fit, **common_options)

    return {
        "popularity": tt.Popularity(**POSITIVES),
        "MF": tt.MatrixFactorization(**POSITIVES, **common_options, **{**FACTORS, **options.mf}),
        "NeuMF": tt.NeuMF(**POSITIVES, **common_options, **{**NETWORK, **options.neumf}),
        "two-tower": tower(),
        "two-tower for recall": tower(**FINDER),
        "Ranker over popularity's candidates": stages(tt.Popularity(**POSITIVES), ranker()),
        "two stages, Ranker": stages(tower(**FINDER), ranker()),
        "two stages, blend": stages(tower(**FINDER), blend()),
    }


def measure(model: Any, test: Any) -> list[float]:
    """Figures in the order of the table's columns; NaN for places that a list of two stages does not have."""
    is_two = isinstance(model, tt.TwoStage)
    names = [name for name in LISTS if not is_two or int(name.partition("@")[2]) <= CANDIDATES]
    table = tt.evaluate(model, test, [*names, "ndcg@10|candidates"])
    row = {name: float(table[name].iloc[0]) for name in table.columns if "@" in name}
    return [row.get(name, np.nan) for name in (*LISTS, "ndcg@10|candidates", "recall@candidates")]


def main() -> None:
    parser = lists.argument_parser(__doc__, ("test", "valid", "early"))
    for name, what in (("ranker", "Ranker"), ("stages", "TwoStage"), ("mf", "MatrixFactorization"), ("neumf", "NeuMF")):
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
        for settings in (options.settings, options.ranker, options.mf, options.neumf):
            settings["epochs"] = 1

    report = common.Report("Two stages", options.markdown)
    report.machine(common.machine(["pandas"]))
    train, test, tables = read(options)
    results = Results([*LISTS, *AMONG])
    for seed in options.seeds:
        for name, model in contestants(seed, options).items():
            if not wanted(name, options) or (name == "popularity" and seed != options.seeds[0]):
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
