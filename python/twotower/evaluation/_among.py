"""What a second stage does among its own candidates, and what the first stage lets through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower._core import core
from twotower.evaluation._metrics import AMONG, LET_THROUGH, Metric
from twotower.item_lists import Filters

if TYPE_CHECKING:
    from twotower.models._asked import Asked

_USERS_A_PASS = 8192


def measure_among(
    model: Any, asked: Asked, relevant: Any, metrics: Sequence[Metric], *, filter_seen: bool, num_threads: int
) -> dict[str, float]:
    """Compute metrics of candidates by label; NaN for a model that has none.

    Parameters
    ----------
    model : Recommender
        With `_among(asked, k, filter_seen=, filters=, num_threads=)` where it has candidates.
    asked : Asked (n)
    relevant : offsets, items and counts of the n users, as `core.ranking_metrics` takes them
    metrics : sequence of Metric
    filter_seen : bool
    num_threads : int
    """
    if not metrics:
        return {}
    if not hasattr(model, "_among"):
        return {metric.label: float("nan") for metric in metrics}
    per_user = [metric for metric in metrics if metric.name in AMONG]
    depth = max((metric.cutoff for metric in per_user), default=1)
    found = {metric.label: np.full(len(asked), np.nan) for metric in per_user}
    through, there = np.zeros(len(asked)), np.zeros(len(asked), dtype=np.int64)
    for start in range(0, len(asked), _USERS_A_PASS):
        part = slice(start, min(start + _USERS_A_PASS, len(asked)))
        truth = relevant.part(part.start, part.stop)
        candidates, ranked = model._among(
            asked.take(np.arange(part.start, part.stop)),
            depth,
            filter_seen=filter_seen,
            filters=Filters(allowed=model._available),
            num_threads=num_threads,
        )
        # The truth that is left: what is among the candidates.
        size = max(model._items.size, 1)
        owners = np.repeat(np.arange(len(candidates)), np.diff(truth.offsets))
        listed = (np.arange(len(candidates))[:, None] * size + candidates)[candidates >= 0]
        kept = np.isin(owners * size + truth.items, listed)
        counts = np.bincount(owners[kept], minlength=len(candidates))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        there[part], through[part] = counts, counts / truth.counts
        if per_user:
            rows = core.ranking_metrics(
                ranked,
                offsets,
                truth.items[kept],
                np.maximum(counts, 1).astype(np.int64),  # who has none is left out below
                [AMONG[metric.name] for metric in per_user],
                [metric.cutoff for metric in per_user],
                num_threads=num_threads,
            )
            for metric, row in zip(per_user, rows, strict=True):
                found[metric.label][part] = row
    some = there > 0
    values = {metric.label: float(found[metric.label][some].mean()) if some.any() else 0.0 for metric in per_user}
    for metric in per_user:
        if AMONG[metric.name] == "hits":
            values[metric.label] = float(found[metric.label][some].sum() / max(there.sum(), 1))
    return values | {LET_THROUGH: float(through.mean())}
