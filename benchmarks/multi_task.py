"""Two tasks at once on ml-100k: lists and ratings of one pair of towers, beside a model for each task alone.

What is measured
    A random fifth of the ratings is held out, as in the tutorials of TensorFlow Recommenders; every row is a positive of retrieval,
    whatever its rating. recall@10 and @100 (training items left out) and the RMSE of the held-out rows.

    MultiTask with the weights 1 and 0 (lists alone), 0 and 1 (ratings alone) and its own (1 and .5), with the package's defaults;
    TwoTower and RatingModel, which are for one of the tasks each, with theirs. With the rating's weight 0 nothing is predicted, and with
    the retrieval's 0 lists are ranked by predicted rating.

    The aim: both figures of the mixed model at most 2 % worse than those of the two models with one weight 0.

How to run
    python benchmarks/multi_task.py            3 seeds, 2 minutes on two cores
    python benchmarks/multi_task.py --quick    one seed, one epoch
"""

from __future__ import annotations

import time
from typing import Any

import _common as common
import _lists as lists
import twotower as tt
from _lists import Results
from _readers import archive

METRICS = ("recall@10", "recall@100", "rmse")


def contestants(seed: int, *, quick: bool) -> dict[str, Any]:
    """Unfitted models by name; what ends in "lists alone" predicts no ratings."""
    options: dict[str, Any] = {"random_state": seed, "verbose": 0} | ({"epochs": 1} if quick else {})
    return {
        "MultiTask, lists alone": tt.MultiTask(retrieval_weight=1.0, rating_weight=0.0, **options),
        "MultiTask, ratings alone": tt.MultiTask(retrieval_weight=0.0, rating_weight=1.0, **options),
        "MultiTask": tt.MultiTask(**options),
        "TwoTower, lists alone": tt.TwoTower(**options),
        "RatingModel, ratings alone": tt.RatingModel(**options),
    }


def main() -> None:
    options = lists.argument_parser(__doc__, ("test", "valid")).parse_args()
    if options.quick:
        options.seeds = [0]
    data = tt.datasets.movielens("ml-100k", path=archive(options.data, "ml-100k.zip"))
    results = Results(METRICS)
    for seed in options.seeds:
        train, test = tt.split.random(data.ratings, test=0.2, random_state=seed)
        if options.part == "valid":
            train, test = tt.split.random(train, test=0.1, random_state=seed)
        for name, model in contestants(seed, quick=options.quick).items():
            started = time.perf_counter()
            model.fit(train, users=data.users, items=data.items)
            seconds = time.perf_counter() - started
            asked = METRICS[:-1] if name.endswith("lists alone") else METRICS
            table = tt.evaluate(model, test, asked)
            figures = {metric: float(table[metric].iloc[0]) for metric in asked}
            results.add(name, [figures.get(metric, float("nan")) for metric in METRICS], seconds)
    report = common.Report("Two tasks at once", options.markdown)
    report.machine(common.machine(["pandas"]))
    report.table(results.table(f"ml-100k, a random fifth ({options.part}), seeds {options.seeds}"))


if __name__ == "__main__":
    main()
