"""The protocol of "Neural collaborative filtering" on MovieLens 1M: one test item a user among 99 given ones.

What is measured
    Every rating is a positive; a user's newest row is the test. HR@10 and NDCG@10 of the test item among it and 99 given items that
    the user did not rate, by the predicted scores. A sampled protocol: never to be compared with full rankings. Where the test item
    is among the given ones too (156 users) that one is left out. Equal scores count against the test item; the last two columns
    have them in its favour, as naive code does: a model whose two figures differ has collapsed scores.

    Settings are chosen on `--part valid`: the newest training row of each user among 100 items drawn from what the user did not
    rate, trained on the rest; the test is not looked at.

How to run
    python benchmarks/ncf.py                              3 seeds, minutes
    python benchmarks/ncf.py --quick                      popularity and matrix factorization, 2 epochs
    python benchmarks/ncf.py --part valid --models NeuMF --set epochs=6 --set shrink=0.005

    The archive ncf-ml-1m.zip is read from ../shared/data, or the folder named by --data.
"""

from __future__ import annotations

import argparse
import ast
import io
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import _common as common
import twotower as tt
from _readers import archive

pd = common.optional_module("pandas")

PUBLISHED = (
    ("NeuMF, published by its paper", ".7093", ".4349"),
    ("NeuMF, rerun by Dacrema et al. 2019", ".6725", ".4011"),
    ("EASE, lambda 1000, our numpy", ".7182", ".4511"),
    ("MF with logistic loss, published by Rendle et al. 2020", ".7294", ".4523"),
)


# Chosen on --part valid, seed 0.
FACTORS: dict[str, Any] = {"dim": 128, "negatives": 8, "epochs": 20, "shrink": 0.003}
NETWORK: dict[str, Any] = {
    "factors": 128, "dim": 8, "hidden": (16, 8), "negatives": 8, "epochs": 10, "shrink": 0.004, "weight_decay": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Cut:
    """Training rows in the order of time, and for each user the item asked for (n) among others (n, m)."""

    train: Any
    users: np.ndarray
    asked: np.ndarray
    others: np.ndarray


def read(path: Path, part: str) -> Cut:
    with zipfile.ZipFile(path) as folder:
        texts = {
            name: folder.read(f"Data/ml-1m.{name}").decode()
            for name in ("train.rating", "test.rating", "test.negative")
        }
    rows, test = (np.loadtxt(io.StringIO(texts[name]), dtype=np.int64) for name in ("train.rating", "test.rating"))
    rows = rows[np.argsort(rows[:, 3], kind="stable")]
    others = np.array([line.split("\t")[1:100] for line in texts["test.negative"].splitlines()], dtype=np.int64)
    if part == "test":
        return Cut(_frame(rows), test[:, 0], test[:, 1], others)
    newest = len(rows) - 1 - np.unique(rows[::-1, 0], return_index=True)[1]
    kept = np.ones(len(rows), dtype=np.bool_)
    kept[newest] = False
    return Cut(_frame(rows[kept]), rows[newest, 0], rows[newest, 1], _drawn(rows, rows[newest, 0]))


def _frame(rows: np.ndarray) -> Any:
    return pd.DataFrame({"user_id": rows[:, 0], "item_id": rows[:, 1]})


def _drawn(rows: np.ndarray, users: np.ndarray, count: int = 100) -> np.ndarray:
    random, items = np.random.default_rng(1), int(rows[:, 1].max()) + 1
    seen = np.zeros((int(rows[:, 0].max()) + 1, items), dtype=np.bool_)
    seen[rows[:, 0], rows[:, 1]] = True
    return np.stack([random.choice(np.flatnonzero(~seen[user]), count) for user in users])


def measure(model: Any, cut: Cut) -> list[float]:
    """HR@10 and NDCG@10, with equal scores against the item asked for, then in its favour."""
    listed = np.column_stack([cut.asked, cut.others])
    pairs = pd.DataFrame({"user_id": np.repeat(cut.users, listed.shape[1]), "item_id": listed.ravel()})
    known = pairs["item_id"].isin(model.item_ids_).to_numpy()
    scores = np.full(len(pairs), -np.inf, dtype=np.float32)  # an item that training lacks is last
    scores[known] = model.predict(pairs[known])
    scores = scores.reshape(listed.shape)
    own, rest = scores[:, :1], np.where(cut.others == cut.asked[:, None], -np.inf, scores[:, 1:])
    figures = []
    for better in (rest >= own, rest > own):
        place = (better & (cut.others != cut.asked[:, None])).sum(axis=1)
        hit = place < 10
        figures += [float(hit.mean()), float(np.where(hit, np.log(2) / np.log(place + 2.0), 0).mean())]
    return figures


def models(quick: bool) -> dict[str, Callable[..., Any]]:
    """By name, the models with the settings of this table; each takes a seed and further options."""
    few: dict[str, Any] = {"epochs": 2} if quick else {}
    found: dict[str, Callable[..., Any]] = {
        "Popularity": lambda seed, **options: tt.Popularity(**options),
        "MatrixFactorization": lambda seed, **options: tt.MatrixFactorization(
            random_state=seed, **(FACTORS | few | options)
        ),
    }
    if quick:
        return found
    if hasattr(tt, "EASE"):
        found["EASE"] = lambda seed, **options: tt.EASE(**options)
    return found | {
        "NeuMF": lambda seed, **options: tt.NeuMF(random_state=seed, **(NETWORK | options)),
        "DeepNCF": lambda seed, **options: tt.DeepNCF(random_state=seed, **options),
        "TwoTower": lambda seed, **options: tt.TwoTower(
            random_state=seed, **({"dim": 128, "temperature": 0.13, "negatives": 0} | options)
        ),
    }


def setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=value")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def main() -> None:
    parser = common.argument_parser(__doc__)
    parser.add_argument(
        "--data", type=Path, default=common.DATA, help="folder of the archive (default: ../shared/data)"
    )
    parser.add_argument("--part", choices=["test", "valid"], default="test", help="default %(default)s")
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="some of the table's (default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED")
    parser.add_argument(
        "--set", dest="settings", type=setting, action="append", default=[], metavar="NAME=VALUE", help="options"
    )
    options = parser.parse_args()
    known = models(options.quick)
    unknown = set(options.models or []) - set(known)
    if unknown:
        parser.error(f"--models: there is no {', '.join(sorted(unknown))}; the models are {', '.join(known)}")
    cut = read(archive(options.data, "ncf-ml-1m.zip"), options.part)

    report = common.Report("NCF protocol", options.markdown)
    report.machine(common.machine(["pandas"]))
    table = common.Table(
        f"ml-1m, {len(cut.users):,} users, 1 + {cut.others.shape[1]} items each, {options.part}",
        ["model", "seed", "HR@10", "NDCG@10", "fit, s", "HR@10, ties for", "NDCG@10, ties for"],
    )
    for name in options.models or known:
        seeds = options.seeds if name not in ("Popularity", "EASE") and not options.quick else options.seeds[:1]
        runs = []
        for seed in seeds:
            model = known[name](seed, verbose=0, **dict(options.settings))
            started = time.perf_counter()
            model.fit(cut.train)
            seconds = time.perf_counter() - started
            runs.append(measure(model, cut))
            cells = [f"{figure:.4f}".removeprefix("0") for figure in runs[-1]]
            table.add(name, seed, *cells[:2], f"{seconds:.1f}", *cells[2:])
        if len(runs) > 1:
            cells = [f"{figure:.4f}".removeprefix("0") for figure in np.mean(runs, axis=0)]
            table.add(name, "mean", *cells[:2], "-", *cells[2:])
    if options.part == "test":
        for published in PUBLISHED:
            table.add(published[0], "-", *published[1:], "-", "-", "-")
        table.notes.append("aim: NeuMF HR@10 .7093 and NDCG@10 .4349")
    report.table(table)


if __name__ == "__main__":
    main()
