"""The names of metrics: `ndcg@10`, `rmse` or a function."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

MetricFunction = Callable[[np.ndarray, list[np.ndarray]], Any]

# Per user, from the core: name here -> name there.
PER_USER = {
    "recall": "recall",
    "capped_recall": "capped_recall",
    "precision": "precision",
    "ndcg": "ndcg",
    "hit_rate": "hit_rate",
    "mrr": "mrr",
    "map": "map",
    "micro_recall": "hits",
}
# Of a second stage's lists, among its candidates alone: name here -> name in the core. And what reaches these at all.
AMONG = {f"{name}|candidates": theirs for name, theirs in PER_USER.items()}
LET_THROUGH = "recall@candidates"
# Of all the lists together, from the core.
OF_CATALOGUE = ("coverage", "novelty")


def _mse(predicted: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean(np.square(predicted.astype(np.float64) - true.astype(np.float64))))


# Of predicted ratings, over all rows of a test together; less is better.
RATING: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "rmse": lambda predicted, true: math.sqrt(_mse(predicted, true)),
    "mae": lambda predicted, true: float(np.mean(np.abs(predicted.astype(np.float64) - true.astype(np.float64)))),
    "mse": _mse,
}
NAMES = (*PER_USER, *OF_CATALOGUE, *RATING)
# What other libraries call them.
_FOREIGN = {
    "hr": "hit_rate",
    "hit": "hit_rate",
    "hits": "hit_rate",
    "hitrate": "hit_rate",
    "hit_ratio": "hit_rate",
    "p": "precision",
    "r": "recall",
    "rec": "recall",
    "prec": "precision",
    "mean_reciprocal_rank": "mrr",
    "mean_average_precision": "map",
    "normalized_discounted_cumulative_gain": "ndcg",
    "dcg": "ndcg",
    "item_coverage": "coverage",
    "catalog_coverage": "coverage",
    "root_mean_squared_error": "rmse",
    "mean_absolute_error": "mae",
    "mean_squared_error": "mse",
    "top_k_categorical_accuracy": "micro_recall",
    "factorized_top_k": "micro_recall",
}


@dataclass(frozen=True)
class Metric:
    """One column of the table.

    `function` is None for the metrics of this package; a function is given lists of `cutoff` items. Metrics of ratings have the
    cut-off 0.
    """

    label: str
    name: str
    cutoff: int
    function: MetricFunction | None = None


def parse(metrics: object) -> list[Metric]:
    """Read what a caller gave as metrics; every label once, in the order given.

    Raises
    ------
    ValueError, TypeError
        A name is unknown (the nearest is given), has no cut-off, a cut-off below 1, or there is no metric at all.
    """
    if isinstance(metrics, str) or callable(metrics):
        given: list[object] = [metrics]
    elif isinstance(metrics, Iterable):
        given = list(metrics)
    else:
        raise TypeError(f"evaluate: metrics is {metrics!r}, but must be names such as 'recall@10', or functions")
    if not given:
        raise ValueError("evaluate: metrics is empty, but must have at least one, such as 'recall@10'")
    named = [_parse_name(metric) for metric in given if isinstance(metric, str)]
    depth = max((metric.cutoff for metric in named if metric.name not in AMONG), default=0) or 10
    parsed: dict[str, Metric] = {}
    for metric in given:
        if isinstance(metric, str):
            entry = _parse_name(metric)
        elif callable(metric):
            label = getattr(metric, "__name__", type(metric).__name__)
            entry = Metric(label, label, depth, metric)
        else:
            raise TypeError(
                f"evaluate: metric {metric!r} is a {type(metric).__name__}, "
                "but must be a name such as 'recall@10' or a function"
            )
        if parsed.setdefault(entry.label, entry) != entry:
            raise ValueError(
                f"evaluate: two metrics are named {entry.label!r}, but every column needs a name of its own; "
                "rename a function"
            )
    through = Metric(LET_THROUGH, LET_THROUGH, 0)
    if any(entry.name in AMONG for entry in parsed.values()):
        parsed.setdefault(LET_THROUGH, through)
    return list(parsed.values())


def of_candidates(metrics: list[Metric]) -> list[Metric]:
    """Those of a second stage's candidates; what the first stage lets through always stands beside them."""
    return [
        metric
        for metric in metrics
        if metric.function is None and (metric.name in AMONG or metric.label == LET_THROUGH)
    ]


def _parse_name(metric: str) -> Metric:
    if metric == LET_THROUGH:
        return Metric(LET_THROUGH, LET_THROUGH, 0)
    if metric.endswith("|candidates"):
        whole = _parse_name(metric.removesuffix("|candidates"))
        if whole.name not in PER_USER:
            raise ValueError(
                f"evaluate: metric {metric!r} is not there among candidates, where it must be one of {', '.join(PER_USER)}, as in "
                "'ndcg@10|candidates'"
            )
        return Metric(f"{whole.label}|candidates", f"{whole.name}|candidates", whole.cutoff)
    name, at, cutoff = metric.partition("@")
    if name in RATING:
        if at:
            raise ValueError(f"evaluate: metric {metric!r} has a cut-off, but is of single ratings; write {name!r}")
        return Metric(name, name, 0)
    if name not in NAMES:
        lower = name.lower()
        near = _FOREIGN.get(lower) or next(iter(difflib.get_close_matches(lower, NAMES, n=1)), None)
        right = near if near in RATING else f"{near}@{cutoff or 10}"
        cure = "" if near is None else f"; did you mean {right!r}?"
        raise ValueError(
            f"evaluate: metric {metric!r} is unknown, but must be one of {', '.join(NAMES)}, as in 'recall@10'{cure}"
        )
    if not (at and cutoff.isascii() and cutoff.isdigit() and int(cutoff) >= 1):
        raise ValueError(f"evaluate: metric {metric!r} needs a cut-off of at least 1; write {f'{name}@10'!r}")
    return Metric(f"{name}@{int(cutoff)}", name, int(cutoff))
