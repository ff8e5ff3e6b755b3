"""Metrics of one or several models on the same test: of lists over the whole catalogue, and of predicted ratings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower import frames
from twotower._core import core
from twotower.errors import DataError, UnknownIdError, first_five
from twotower.evaluation._among import measure_among
from twotower.evaluation._metrics import OF_CATALOGUE, PER_USER, RATING, Metric, MetricFunction, of_candidates, parse
from twotower.evaluation._ratings import measure_ratings
from twotower.ids import IdColumn
from twotower.item_lists import Filters, lists_of_pairs
from twotower.models._asked import Asked, Given
from twotower.models._contexts import first_rows
from twotower.vocabulary import Vocabulary

if TYPE_CHECKING:
    from twotower.models._recommend import Recommender

_USERS_A_PASS = 8192
# List places a pass, for cut-offs in the thousands: a quarter of a gigabyte of rows.
_PLACES_A_PASS = 2**26


def evaluate(
    models: Recommender | Sequence[Recommender] | Mapping[str, Recommender],
    test: Any,
    metrics: str | MetricFunction | Iterable[str | MetricFunction] = ("recall@10", "ndcg@10"),
    *,
    filter_seen: bool = True,
    on_unknown: str = "skip",
    n_jobs: int = -1,
) -> Any:
    """Measure the lists and the predicted ratings of fitted models against interactions they have not seen.

    Parameters
    ----------
    models : model, list of models, or dict of name to model
        Fitted, with the same user and item columns. All are measured on the same users, so that rows compare.
    test : DataFrame
        One row an interaction, with the models' user and item columns. A pair counts once. Where the models were given
        a `min_rating` and `test` has their `rating_col`, rows below it are not relevant; otherwise every row is.
    metrics : names or functions
        Names are `metric@k` for lists, and "rmse", "mae" and "mse" for ratings (see Notes). A function `f(ranked, relevant)` is given `ranked`, int32 (users, K), rows of
        the model's `item_ids_`, best first, padded with -1, where K is the largest cut-off among the names (10 without
        one), and `relevant`, a list of sorted int32 arrays, one a user, without the items that the model does not know;
        it returns one number a user, of which the mean is reported under the function's name.
    filter_seen : bool
        Leave out of the lists what the user has in the interactions of `fit`.
    on_unknown : {"skip", "popular", "raise"}
        Test users that at least one of the models does not know: left out for all the models, measured with the
        popularity list of the model that does not know them, or an error.
    n_jobs : int
        Threads; -1 is every CPU this process may use. The numbers do not depend on it.

    Returns
    -------
    DataFrame of the kind of `test`
        One row a model, in order: `model` (the key, or the class, with a number where a class comes again), one float64
        column a metric, and the int64 counts

        - `users`: test users that are measured, the ones averaged over;
        - `users_without_test_items`: users that every model knows and that have no relevant row in `test`; they are
          left out of the averages, not counted as zero;
        - `unknown_users`: test users with relevant rows that at least one of the models does not know; with "skip",
          `users` and `unknown_users` together are all users with relevant rows;
        - with a metric of ratings: `ratings`, rows whose rating was predicted, and `unknown_ratings`, rows whose user or item at
          least one of the models that predict ratings does not know; they are left out for all of them.

        A model that predicts no ratings has NaN in the columns of their metrics.

    Raises
    ------
    NotFittedError, SchemaError
        A model is not fitted; `test` lacks a column.
    UnknownIdError
        A test user is unknown and `on_unknown` is "raise"; with a metric of ratings an item too.
    DataError
        `test` is empty, or has no user or no rating that can be measured.
    ValueError, TypeError
        A metric's name is unknown, models do not go together, no model predicts ratings, an option is out of range.

    Notes
    -----
    For one user let R be the relevant items, n their number, and h(i) 1 where the item at rank i (from 1) is relevant.
    Items of `test` that a model does not know stay in R: they cannot be hit, and n counts them. So do pairs that were
    also in the interactions of `fit`, although `filter_seen` keeps them out of the lists: a figure never rises by
    taking something out of the truth. (Drop repeated pairs from `test` where only discovery counts.)

    A model with features of the context is asked for lists at the moment of the user's first row that counts: the earliest,
    where `test` has the model's time column. A rating is predicted at the moment of its own row.

    ================ =======================================================================================
    recall@k         hits among the first k / n
    capped_recall@k  hits / min(k, n), the recall of the Mult-VAE papers
    precision@k      hits / k, also where fewer than k items are left
    ndcg@k           sum of h(i) / log2(i + 1) over i <= k, divided by its best value for min(k, n) relevant items
    hit_rate@k       1 where there is a hit
    mrr@k            1 / rank of the first hit, 0 where there is none
    map@k            mean over min(k, n) of the precision at the rank of each hit
    micro_recall@k   sum of hits of all users / sum of n: the share of test pairs found, as in the TFRS tutorials
    coverage@k       share of the model's items that are in somebody's first k
    novelty@k        mean over all list places of -log2(share of the item among the positives of `fit`); an item without
                     any counts as having one
    rmse, mae, mse   root mean squared, mean absolute and mean squared difference of `predict` and the column that the model
                     predicts, over all rows of `test` together
    ...@k|candidates the same as the metric before the bar, for a model of two stages, among the candidates that its first stage
                     gave to the second: other relevant items count neither as missed nor in n, and users without a relevant
                     candidate are left out
    recall@candidates share of the relevant items that are among the candidates; stands beside every figure with a bar
    ================ =======================================================================================

    A figure among candidates says how well the second stage sorts what it is given, not how good the lists are: whatever the
    first stage has lost is not in it, most of what is relevant as a rule. Many published figures of two-stage systems are of
    this kind without saying so, and so look several times as good as those of any single model on the same data. The same
    metric without the bar divides by all relevant items. A model without candidates has NaN there.

    The first seven are averaged over users with equal weight; a `min_rating` does not touch the last three. Every item the model knows is ranked (nothing is
    sampled); equal scores are ranked by the smaller row of `item_ids_`. Cost: that of `recommend` for the test users;
    memory for 8192 users at a time, one float64 a user and metric, and for coverage and novelty the lists of all users
    (int32).

    Examples
    --------
    >>> import pandas as pd, twotower as tt
    >>> train = pd.DataFrame({"user_id": [1, 1, 2, 3], "item_id": ["a", "b", "a", "c"]})
    >>> test = pd.DataFrame({"user_id": [2, 3, 9], "item_id": ["b", "b", "a"]})
    >>> table = tt.evaluate(tt.Popularity(n_jobs=1).fit(train), test, "recall@1")
    >>> table.to_dict("records")  # doctest: +NORMALIZE_WHITESPACE
    [{'model': 'Popularity', 'recall@1': 0.5, 'users': 2, 'users_without_test_items': 1, 'unknown_users': 1}]
    """
    named = _named(models)
    columns = parse(metrics)
    of_ratings = [metric for metric in columns if metric.name in RATING and metric.function is None]
    among = of_candidates(columns)
    if on_unknown not in ("skip", "popular", "raise"):
        raise ValueError(f"evaluate: on_unknown is {on_unknown!r}, but must be one of 'skip', 'popular', 'raise'")
    # Read once: a lazy frame is collected here.
    table = frames.table(test, "evaluate: test")
    errors, rating_counts = measure_ratings(named, table, of_ratings, on_unknown=on_unknown, num_threads=n_jobs)
    truth = _Truth.read(table, named)
    user_rows = {name: model._users.encode(truth.users) for name, model in named.items()}
    # The row where every model knows the user, -1 elsewhere.
    known = np.minimum.reduce(list(user_rows.values()))
    unknown = int(np.count_nonzero(known < 0))
    if unknown and on_unknown == "raise":
        text = next(iter(named.values()))._users.unknown_text(truth.users, known, "evaluate: users of test")
        raise UnknownIdError(f"{text}; leave them out, or pass on_unknown='skip' or 'popular'")
    users = np.arange(len(known)) if on_unknown == "popular" else np.flatnonzero(known >= 0)
    if not users.size:
        first = truth.users.take(np.arange(min(5, len(known)))).tolist()
        raise DataError(
            f"evaluate: none of the {len(known)} test users was there in fit (first: {first_five(first)}); "
            "test on users of the training part, or pass on_unknown='popular'"
        )
    counts = {
        "users": len(users),
        "users_without_test_items": _known_to_all(named) - (len(known) - unknown),
        "unknown_users": unknown,
    }
    values = []
    for name, model in named.items():
        relevant = truth.relevant(users, model._items.encode(truth.items))
        asked = Asked(truth.users.take(users), user_rows[name][users], truth.moments(model, table, users))
        of_lists = [metric for metric in columns if metric not in (*of_ratings, *among)]
        measured = _measure(model, asked, relevant, of_lists, filter_seen=filter_seen, num_threads=n_jobs)
        measured |= measure_among(model, asked, relevant, among, filter_seen=filter_seen, num_threads=n_jobs)
        values.append([(measured | errors[name])[metric.label] for metric in columns])
    result: dict[str, Any] = {"model": frames.ids(list(named), "evaluate: models")}
    for metric, column in zip(columns, zip(*values, strict=True), strict=True):
        result[metric.label] = np.array(column, dtype=np.float64)
    result.update(
        {name: np.full(len(named), count, dtype=np.int64) for name, count in (counts | rating_counts).items()}
    )
    return frames.build(table, result)


def _known_to_all(named: Mapping[str, Recommender]) -> int:
    """How many users every model knows."""
    first, *others = named.values()
    users = first._users.ids
    known = np.ones(len(users), dtype=np.bool_)
    for other in others:
        known &= other._users.encode(users) >= 0
    return int(np.count_nonzero(known))


def _named(models: Any) -> dict[str, Recommender]:
    if isinstance(models, Mapping):
        named = {str(name): model for name, model in models.items()}
    else:
        listed = list(models) if isinstance(models, (list, tuple)) else [models]
        named = {}
        for model in listed:
            name = type(model).__name__
            again = sum(type(other) is type(model) for other in named.values())
            named[f"{name} {again + 1}" if again else name] = model
    if not named:
        raise ValueError("evaluate: models is empty, but must have at least one fitted model")
    for name, model in named.items():
        if not hasattr(model, "_ranked"):
            raise TypeError(
                f"evaluate: {name!r} is a {type(model).__name__}, but must be a recommender of this package"
            )
        model._check_fitted("evaluate")
    return named


def _agreed(named: Mapping[str, Recommender], option: str, cure: str) -> Any:
    """Get an option that must be the same in all models."""
    values = {name: getattr(model, option, None) for name, model in named.items()}
    first, *others = values
    for other in others:
        if values[other] != values[first]:
            raise ValueError(
                f"evaluate: {option} is {values[first]!r} in {first} and {values[other]!r} in {other}, "
                f"but must be the same in all models{cure}"
            )
    return values[first]


@dataclass(frozen=True)
class _Truth:
    """The relevant pairs of a test table, each once, in codes of its own users and items.

    The items of user u are `item_codes[offsets[u]:offsets[u + 1]]`; every user has at least one. `rows` are the rows of the
    table that count, `owners` their users.
    """

    users: IdColumn
    items: IdColumn
    offsets: np.ndarray
    item_codes: np.ndarray
    rows: np.ndarray
    owners: np.ndarray

    @classmethod
    def read(cls, table: frames.Frame, named: Mapping[str, Recommender]) -> _Truth:
        columns = [
            _agreed(named, option, "; fit them on tables with the same columns") for option in ("user_col", "item_col")
        ]
        why = ", since it tells which test rows are relevant; fit them with the same"
        rating_col = min_rating = None
        if any(getattr(model, "min_rating", None) is not None for model in named.values()):
            rating_col, min_rating = (_agreed(named, option, why) for option in ("rating_col", "min_rating"))
        relevant = np.ones(len(table), dtype=np.bool_)
        if min_rating is not None and rating_col in table.columns:
            ratings = frames.numbers(
                frames.column(table, rating_col, "evaluate: test"), f"evaluate: column {rating_col!r} of test"
            )
            relevant = ratings >= min_rating
        if not relevant.any():
            raise DataError("evaluate: test has no relevant rows; give a table of interactions that fit has not seen")
        codes, ids = [], []
        for column in columns:
            what = f"evaluate: column {column!r} of test"
            values = frames.ids(frames.column(table, column, "evaluate: test"), what)
            vocabulary = Vocabulary.fit(values, what)
            rows = vocabulary.encode(values)[relevant]
            # Counted, not sorted as numpy.unique does it: the rows are dense.
            there = np.bincount(rows, minlength=vocabulary.size) > 0
            codes.append((np.cumsum(there) - 1)[rows])
            ids.append(vocabulary.decode(np.flatnonzero(there)))
        users, items = ids
        pairs = lists_of_pairs(codes[0], codes[1], len(users), len(items))
        return cls(users, items, pairs.offsets, pairs.items, np.flatnonzero(relevant), codes[0])

    def moments(self, model: Recommender, table: frames.Frame, users: np.ndarray) -> Given | None:
        """Read when some users are asked, for models with a context: at their first row, the earliest where times are known."""
        if not model._has_context:
            return None
        time_col, times = model._time_column, None
        if time_col is not None and time_col in table.columns:
            place = f"evaluate: column {time_col!r}"
            times = frames.times(frames.column(table, time_col, "evaluate: test"), place)[self.rows]
        _, first = first_rows(self.owners, times)
        return model._read_moments(frames.take(table, self.rows[first[users]]), "evaluate: test")

    def relevant(self, users: np.ndarray, item_rows: np.ndarray) -> _Relevant:
        """Word the truth of some users in a model's rows; `item_rows` has those of `items`, -1 where unknown."""
        counts = np.diff(self.offsets)
        owner = np.full(len(counts), -1)
        owner[users] = np.arange(len(users))
        owners = np.repeat(owner, counts)
        listed = item_rows[self.item_codes]
        kept = (owners >= 0) & (listed >= 0)
        lists = lists_of_pairs(owners[kept], listed[kept], len(users), int(listed.max(initial=0)) + 1)
        return _Relevant(lists.offsets, lists.items, counts[users].astype(np.int64))


@dataclass(frozen=True)
class _Relevant:
    """What `core.ranking_metrics` reads: sorted item rows a user, and the number of relevant items in all."""

    offsets: np.ndarray
    items: np.ndarray
    counts: np.ndarray

    def part(self, start: int, end: int) -> _Relevant:
        offsets = self.offsets[start : end + 1]
        return _Relevant(offsets - offsets[0], self.items[offsets[0] : offsets[-1]], self.counts[start:end])


def _measure(
    model: Recommender,
    asked: Asked,
    relevant: _Relevant,
    metrics: Sequence[Metric],
    *,
    filter_seen: bool,
    num_threads: int,
) -> dict[str, float]:
    """Compute each metric of lists by its label; the lists of a pass are gone before those of the next are made."""
    if not metrics:
        return {}
    depth = max(metric.cutoff for metric in metrics)
    per_user = [metric for metric in metrics if metric.name in PER_USER and metric.function is None]
    of_catalogue = [metric for metric in metrics if metric.name in OF_CATALOGUE and metric.function is None]
    functions = [metric for metric in metrics if metric.function is not None]
    values = {metric.label: np.empty(len(asked)) for metric in (*per_user, *functions)}
    shown = np.empty((len(asked), max((metric.cutoff for metric in of_catalogue), default=0)), dtype=np.int32)
    users_a_pass = max(1, min(_USERS_A_PASS, _PLACES_A_PASS // depth))
    for start in range(0, len(asked), users_a_pass):
        end = min(start + users_a_pass, len(asked))
        ranked, _ = model._ranked(
            asked.take(np.arange(start, end)),
            min(depth, model._items.size),
            filter_seen=filter_seen,
            filters=Filters(allowed=model._available),
            on_unknown="popular",
            num_threads=num_threads,
        )
        ranked = np.pad(ranked, ((0, 0), (0, depth - ranked.shape[1])), constant_values=-1)
        truth = relevant.part(start, end)
        if per_user:
            names, cutoffs = [PER_USER[metric.name] for metric in per_user], [metric.cutoff for metric in per_user]
            found = core.ranking_metrics(
                ranked, truth.offsets, truth.items, truth.counts, names, cutoffs, num_threads=num_threads
            )
            for metric, row in zip(per_user, found, strict=True):
                values[metric.label][start:end] = row
        for metric in functions:
            values[metric.label][start:end] = _call(metric, ranked, truth)
        shown[start:end] = ranked[:, : shown.shape[1]]
    means = {
        metric.label: values[metric.label].sum() / relevant.counts.sum()
        if metric.name == "micro_recall"
        else values[metric.label].mean()
        for metric in (*per_user, *functions)
    }
    if of_catalogue:
        names, cutoffs = [metric.name for metric in of_catalogue], [metric.cutoff for metric in of_catalogue]
        whole = core.catalogue_metrics(shown, model._item_counts, names, cutoffs)
        means.update(zip((metric.label for metric in of_catalogue), whole, strict=True))
    return {label: float(mean) for label, mean in means.items()}


def _call(metric: Metric, ranked: np.ndarray, truth: _Relevant) -> np.ndarray:
    assert metric.function is not None
    relevant = np.split(truth.items, truth.offsets[1:-1])
    values = np.asarray(metric.function(ranked[:, : metric.cutoff], relevant), dtype=np.float64)
    if values.shape != (len(ranked),):
        raise ValueError(
            f"evaluate: the function {metric.label!r} gave values of shape {values.shape}, "
            f"but must give one number a user, shape {(len(ranked),)}"
        )
    return values
