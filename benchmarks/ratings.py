"""Rating prediction on the data sets' published protocols: RMSE of biases, Bayesian matrix factorization and RatingModel.

What is measured
    - folds     ml-100k, the five folds u1 to u5 that come with it;
    - random    ml-100k, a random fifth held out, seeds 0, 1, 2;
    - million   ml-1m, a random tenth held out, seeds 0, 1, 2.

    RatingModel has the features of users and films and the history of each user. Its settings were chosen on a slice of training
    rows: for the folds on a tenth of u1.base (which holds test rows of the other folds: settings have seen those, no fit
    has), for ml-1m on a tenth of the training part of seed 0. The random fifth of ml-100k has the package's defaults.
    A pair whose film is unknown gets the mean of the training ratings.

How to run
    python benchmarks/ratings.py                       everything, about 12 minutes on two cores
    python benchmarks/ratings.py --only folds random   a part
    python benchmarks/ratings.py --quick               one fold or seed each, few epochs: does it run

    The archives are read from ../shared/data, or the folder named by --data.
"""

from __future__ import annotations

import argparse
import statistics
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import _common as common
import twotower as tt

SEEDS = (0, 1, 2)
Pair = tuple[Any, Any]  # training and test rows


# --- protocols --------------------------------------------------------------------------------------------------------


def folds(path: Path, data: Any) -> Iterator[Pair]:
    """Pairs of the five folds."""
    columns = ["user_id", "item_id", "rating", "timestamp"]
    with zipfile.ZipFile(path) as archive:
        names = {Path(name).name: name for name in archive.namelist()}
        for fold in range(1, 6):
            base, test = (
                pd.read_csv(archive.open(names[f"u{fold}.{part}"]), sep="\t", names=columns)
                for part in ("base", "test")
            )
            yield base, test


def shares(test: float) -> Callable[[Path, Any], Iterator[Pair]]:
    """Make a protocol of random splits."""

    def splits(path: Path, data: Any) -> Iterator[Pair]:
        for seed in SEEDS:
            yield tt.split.random(data.ratings, test=test, random_state=seed)

    return splits


HUNDRED = {"user_features": ["gender", tt.Numeric("age"), "occupation"], "item_features": ["year", "genres"]}
MILLION = {"user_features": ["gender", tt.Category("age"), "occupation"], "item_features": ["year", "genres"]}
PROTOCOLS: dict[
    str, tuple[str, tuple[str, ...], Callable[[Path, Any], Iterator[Pair]], dict[str, Any], dict[str, Any]]
] = {
    "folds": (
        "ml-100k, folds u1 to u5",
        ("ml-100k.zip",),
        folds,
        HUNDRED | {"dim": 128, "dropout": 0.4, "weight_decay": 1.4, "group_size": 16},
        {"dim": 20, "burn_in": 20, "samples": 120},
    ),
    "random": (
        "ml-100k, a random fifth",
        ("ml-100k.zip",),
        shares(0.2),
        dict(HUNDRED),
        {"dim": 20, "burn_in": 20, "samples": 120},
    ),
    "million": (
        "ml-1m, a random tenth",
        ("ml-1m.zip", "ml-1m-rebuilt.zip"),
        shares(0.1),
        MILLION | {"dim": 64, "dropout": 0.3, "weight_decay": 0.2, "batch_size": 8192, "epochs": 12},
        {"dim": 32, "burn_in": 15, "samples": 60},
    ),
}


# --- models -----------------------------------------------------------------------------------------------------------


def rmse(model: Any, train: Any, test: Any) -> float:
    guess = model.predict(test[["user_id", "item_id"]], on_unknown="nan")
    guess = np.where(np.isnan(guess), train["rating"].mean(), guess)
    return float(np.sqrt(np.mean((guess - test["rating"].to_numpy()) ** 2)))


def run(name: str, folder: Path, *, quick: bool) -> common.Table:
    title, archives, protocol, settings, bayesian = PROTOCOLS[name]
    path = next((folder / archive for archive in archives if (folder / archive).exists()), folder / archives[0])
    data = tt.datasets.movielens("ml-1m" if name == "million" else "ml-100k", path=path)
    if quick:
        settings, bayesian = settings | {"epochs": 2}, {"dim": 4, "burn_in": 2, "samples": 2}
    makers = {
        "BiasModel": lambda seed: tt.BiasModel(),
        "BayesianMF": lambda seed: tt.BayesianMF(random_state=seed, verbose=0, **bayesian),
        "RatingModel": lambda seed: tt.RatingModel(random_state=seed, verbose=0, **settings),
    }
    found: dict[str, list[float]] = {model: [] for model in makers}
    seconds = dict.fromkeys(makers, 0.0)
    for seed, (train, test) in enumerate(protocol(path, data)):
        for model, make in makers.items():
            started = time.perf_counter()
            fitted = make(0 if name == "folds" else seed).fit(train, users=data.users, items=data.items)
            seconds[model] += time.perf_counter() - started
            found[model].append(rmse(fitted, train, test))
        if quick:
            break
    table = common.Table(title, ["model", "RMSE, mean", "each", "fit, s"])
    for model, values in found.items():
        table.add(
            model,
            f"{statistics.fmean(values):.4f}",
            " ".join(f"{value:.4f}" for value in values),
            f"{seconds[model] / len(values):.1f}",
        )
    return table


def main() -> None:
    parser = common.argument_parser(__doc__)
    parser.add_argument("--data", type=Path, default=common.DATA, help="folder of the archives")
    parser.add_argument("--only", nargs="+", choices=list(PROTOCOLS), default=list(PROTOCOLS))
    options: argparse.Namespace = parser.parse_args()
    report = common.Report("Rating prediction", options.markdown)
    report.machine(common.machine())
    for name in options.only:
        report.table(run(name, options.data, quick=options.quick))


if __name__ == "__main__":
    main()
