"""What cold_start.py, feature_ablation.py and sequences.py share: figures of ranked lists, and tables of means over seeds."""

from __future__ import annotations

import argparse
import ast
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import _common as common
import _readers as readers

DEPTH = 100  # places of a list that are looked at


@dataclass(frozen=True)
class Truth:
    """Relevant items of the measured users, as positions in a sorted array of item ids.

    Attributes
    ----------
    users : ids (n,)
        Measured users, sorted; every one has at least one relevant item.
    items : ids (m,)
        The catalogue, sorted.
    relevant : bool (n, m)
    """

    users: np.ndarray
    items: np.ndarray
    relevant: np.ndarray

    @classmethod
    def of(cls, pairs: Any, items: np.ndarray) -> Truth:
        users = np.unique(pairs["user_id"].to_numpy())
        return cls(users, items, dense(pairs, users, items))

    def lists(self, model: Any, users: Any = None, **options: Any) -> np.ndarray:
        """Lists of a fitted model for the measured users, as positions (n, DEPTH), -1 where there are fewer items.

        `users` is what `recommend` is asked for, one row a measured user in their order; their ids where it is None.
        """
        asked = self.users.tolist() if users is None else users
        rows, _ = model.recommend(asked, k=DEPTH, as_arrays=True, **options)
        places = np.searchsorted(self.items, np.asarray(model.item_ids_))
        return np.where(rows >= 0, places[rows], -1)

    def figures(self, lists: np.ndarray, metrics: Sequence[str]) -> list[float]:
        """Means over the users of recall@k (hits / relevant items) and ndcg@k (binary gains)."""
        hits = np.take_along_axis(self.relevant, np.maximum(lists, 0), axis=1) & (lists >= 0)
        counts = np.count_nonzero(self.relevant, axis=1)
        return [float(np.mean(_of_user(metric, hits, counts))) for metric in metrics]


def dense(pairs: Any, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Bool (users, items): which pairs are there; rows of other users are passed over."""
    pairs = pairs[pairs["user_id"].isin(users)]
    matrix = np.zeros((len(users), len(items)), dtype=bool)
    matrix[np.searchsorted(users, pairs["user_id"].to_numpy()), np.searchsorted(items, pairs["item_id"].to_numpy())] = (
        True
    )
    return matrix


def best(scores: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """Positions (n, DEPTH) of the largest scores (n, m), equal ones in a drawn order; -1 where nothing is left.

    Not by the smaller position: many data sets number their items as they appear, the popular ones first, and a rule that
    scores all hidden items alike would profit.
    """
    order = np.random.default_rng(0).permutation(scores.shape[1])
    scores = np.where(left_out, -np.inf, scores)
    lists = order[np.argsort(-scores[:, order], axis=1, kind="stable")[:, :DEPTH]]
    return np.where(np.isfinite(np.take_along_axis(scores, lists, axis=1)), lists, -1)


def _of_user(metric: str, hits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    name, _, cutoff = metric.partition("@")
    hits = hits[:, : int(cutoff)]
    if name == "recall":
        return hits.sum(axis=1) / counts
    if name == "ndcg":
        gains = 1 / np.log2(np.arange(int(cutoff)) + 2)
        return hits @ gains[: hits.shape[1]] / np.cumsum(gains)[np.minimum(counts, int(cutoff)) - 1]
    raise ValueError(f"_of_user: metric is {metric!r}, but must be recall@k or ndcg@k")


# --- linear models ----------------------------------------------------------------------------------------------------


def ease_weights(positives: np.ndarray, penalty: float) -> np.ndarray:
    """EASE (Steck 2019, equation 8) of positives (users, items): float32 (items, items) with a zero diagonal."""
    x = positives.astype(np.float32)
    gram = (x.T @ x).astype(np.float64)
    gram[np.diag_indices_from(gram)] += penalty
    inverse = np.linalg.inv(gram)
    weights = (-inverse / np.diag(inverse)).astype(np.float32)
    np.fill_diagonal(weights, 0)
    return weights


# --- tables over seeds ------------------------------------------------------------------------------------------------


@dataclass
class Results:
    """Figures by contestant, one list a seed, in the order in which the contestants came."""

    columns: Sequence[str]
    figures: dict[str, list[list[float]]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, figures: Sequence[float], seconds: float | None = None) -> None:
        self.figures.setdefault(name, []).append(list(figures))
        if seconds is not None:
            self.seconds.setdefault(name, []).append(seconds)

    def table(self, title: str) -> common.Table:
        """Means, with the largest less the smallest in brackets where there are several seeds."""
        timed = bool(self.seconds)
        table = common.Table(title, ["", *self.columns, *(["fit, s"] if timed else [])])
        for name, runs in self.figures.items():
            cells = [mean_and_spread(values) for values in zip(*runs, strict=True)]
            seconds = self.seconds.get(name)
            table.add(name, *cells, *([f"{np.mean(seconds):.1f}" if seconds else "-"] if timed else []))
        return table


def mean_and_spread(values: Sequence[float]) -> str:
    if np.isnan(values).any():
        return "-"
    mean = f"{np.mean(values):.4f}".removeprefix("0")
    return mean if len(values) == 1 else f"{mean} ({max(values) - min(values):.4f})".replace("(0.", "(.")


def timed(fit: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return fit(), time.perf_counter() - start


# --- the programs -----------------------------------------------------------------------------------------------------


def argument_parser(description: str | None, parts: Sequence[str] = ("test", "valid")) -> argparse.ArgumentParser:
    """The options that these programs have; the first of the parts is measured unless another is asked for."""
    parser = common.argument_parser(description)
    parser.add_argument("--data", type=Path, default=readers.data_folder(), help="folder of the archives")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED")
    parser.add_argument(
        "--part", choices=parts, default=parts[0], help="what to measure on: all but the first are to choose settings"
    )
    parser.add_argument("--only", nargs="+", metavar="WORD", help="contestants whose name has one of these words")
    parser.add_argument(
        "--set",
        dest="settings",
        type=_setting,
        action=_Collect,
        default={},
        metavar="NAME=VALUE",
        help="an option of TwoTower other than the program's",
    )
    return parser


class _Collect(argparse.Action):
    """Gather the pairs of repeated options in a dict."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, {**getattr(namespace, self.dest), values[0]: values[1]})


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=value")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def wanted(name: str, options: argparse.Namespace) -> bool:
    return not options.only or any(word in name for word in options.only)


def settings_text(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in settings.items()) or "the defaults"
