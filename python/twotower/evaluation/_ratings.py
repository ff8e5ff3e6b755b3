"""Metrics of predicted ratings, over the rows of a test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from twotower import frames
from twotower.errors import DataError, count_of, first_five
from twotower.evaluation._metrics import RATING, Metric

if TYPE_CHECKING:
    from twotower.models._recommend import Recommender

Errors = dict[str, dict[str, float]]


def measure_ratings(
    named: Mapping[str, Recommender],
    table: frames.Frame,
    metrics: Sequence[Metric],
    *,
    on_unknown: str,
    num_threads: int,
) -> tuple[Errors, dict[str, int]]:
    """Compute metrics of ratings.

    Parameters
    ----------
    named : dict of name to model
        Fitted; those that predict no ratings are passed over.
    table : narwhals.DataFrame
        The test.
    metrics : list of Metric
        None or several of `RATING`.
    on_unknown : {"skip", "popular", "raise"}
        Rows whose user or item a model does not know: left out with the first two.
    num_threads : int

    Returns
    -------
    values : dict of name to dict of label to float
        NaN for models that predict no ratings.
    counts : dict
        `ratings` and `unknown_ratings`; empty without metrics.
    """
    if not metrics:
        return {name: {} for name in named}, {}
    models = {name: model for name, model in named.items() if model._predicts is not None}
    column = _column(named, models, metrics[0].label)
    what = f"evaluate: column {column!r} of test"
    true = frames.numbers(frames.column(table, column, "evaluate: test"), what)
    gone = np.flatnonzero(~np.isfinite(true))
    if gone.size:
        raise DataError(
            f"{what} is missing or infinite in {count_of(gone.size, 'row')} (first: {first_five(gone.tolist())}); drop "
            "these rows"
        )
    cure = "leave them out, or pass on_unknown='skip'" if on_unknown == "raise" else None
    rows = {name: model._pair_rows(table, "evaluate", "test", cure) for name, model in models.items()}
    known = np.logical_and.reduce([(users >= 0) & (items >= 0) for users, items in rows.values()])
    if not known.any():
        raise DataError(
            f"evaluate: none of the {count_of(len(true), 'row')} of test has a user and an item that the models know; test on "
            "users and items of the training part"
        )
    values: Errors = {}
    for name in named:
        values[name] = {metric.label: math.nan for metric in metrics}
        if name in models:
            users, items = (part[known] for part in rows[name])
            moments = models[name]._read_moments(table, "evaluate: test")
            at = None if moments is None else moments.take(np.flatnonzero(known))
            predicted = models[name]._score_pairs(users, items, num_threads=num_threads, moments=at)
            values[name] = {metric.label: RATING[metric.name](predicted, true[known]) for metric in metrics}
    return values, {"ratings": int(np.count_nonzero(known)), "unknown_ratings": int(np.count_nonzero(~known))}


def _column(named: Mapping[str, Recommender], models: Mapping[str, Recommender], metric: str) -> str:
    """The column that all models predict which predict one."""
    predicted = {name: str(model._predicts) for name, model in models.items()}
    if not predicted:
        raise ValueError(
            f"evaluate: {metric!r} is of predicted ratings, but {', '.join(named)} only "
            f"{'ranks' if len(named) == 1 else 'rank'}; give a model of ratings, such as RatingModel or "
            "Ranker(target=\"rating\"), or metrics such as 'ndcg@10'"
        )
    first, *others = predicted
    for other in others:
        if predicted[other] != predicted[first]:
            raise ValueError(
                f"evaluate: {first} predicts {predicted[first]!r} and {other} predicts {predicted[other]!r}, but "
                f"{metric!r} compares predictions of one column; evaluate them apart"
            )
    return predicted[first]
