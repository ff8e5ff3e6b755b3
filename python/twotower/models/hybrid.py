"""A blend of several recommenders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower import frames
from twotower.errors import DataError, count_of
from twotower.evaluation._metrics import PER_USER, parse
from twotower.item_lists import Filters, Lists
from twotower.models._asked import Asked, Given, GivenToEach, pair_passes
from twotower.models._estimator import State
from twotower.models._lesson import read_validation
from twotower.models._options import NotOffered, check_choice, check_number, named_options
from twotower.models._recommend import Recommender
from twotower.models._score_tables import top_k_of_table

if TYPE_CHECKING:
    from typing_extensions import Self

Array = np.ndarray

# Of the reciprocal rank; Cormack et al. 2009 found little difference between values around it.
_RANK_OFFSET = 60
# Weights that are tried in turn, as shares of the whole.
_SHARES = np.linspace(0.0, 1.0, 21)
_MAX_ROUNDS = 10
# Scores of a pass, and of all users that weights are fitted on: 32 MiB a model, 1 GiB.
_SCORES_A_PASS, _SCORES_TO_FIT = 2**23, 2**28


class Hybrid(Recommender, kind="hybrid"):
    """Blend recommenders: the weighted sum of what each of them makes of every item.

    Parameters
    ----------
    models : list of recommenders of this package
        Fitted or not; `fit` fits those that are not. All with the same columns, users and items.
    weights : list of float, optional
        One a model, at least 0. None takes the same for all, until `fit_weights` has found others.
    normalize : {"rank", "score"}
        What is added up of a model for a user, over the whole catalogue: "rank" 61 / (60 + rank), "score" its scores with the
        user's largest taken to 1 and the smallest to 0. Scores of several models cannot be added as they are: counts, log
        odds and cosines have no common unit. Ranks need no unit and no outlier moves them, so they are the default; scores
        keep how sure a model is, and are better where the models are of one kind.
    n_jobs : int
        Threads; -1 is every CPU this process may use.
    verbose : int
        0: no bar in `recommend`.

    Attributes
    ----------
    user_ids_, item_ids_, history_
        Those of the first model.
    weights_ : list of float
        What is used, of sum 1.

    Notes
    -----
    Reciprocal ranks: Cormack et al. 2009, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods".
    Every model ranks the whole catalogue for a user, so a score does not depend on filters. Cost: models x items log items a
    user; for large catalogues blend inside `TwoStage`.

    Examples
    --------
    >>> import twotower as tt
    >>> data = tt.datasets.synthetic(num_users=200, num_items=80, num_interactions=4000)
    >>> train, valid = tt.split.random(data.ratings, test=0.2)
    >>> blend = tt.Hybrid([tt.Popularity(), tt.TwoTower(epochs=2, random_state=0, verbose=0)]).fit(train)
    >>> len(blend.fit_weights(valid).weights_)
    2
    """

    @named_options
    def __init__(
        self,
        models: Any,
        *,
        weights: Sequence[float] | None = None,
        normalize: str = "rank",
        n_jobs: int = -1,
        verbose: int = 1,
    ) -> None:
        self.models = models
        self.weights = weights
        self.normalize = normalize
        self.n_jobs = n_jobs
        self.verbose = verbose

    feature_importance = NotOffered(
        "has no features of its own; ask its models, as in blend.models[0].feature_importance(test)"
    )

    # --- what is the models' ------------------------------------------------------------------------------------------

    def _common(self, option: str) -> Any:
        return getattr(self.models[0], option, None)

    @property
    def user_col(self) -> str:  # type: ignore[override]
        """That of the models."""
        return self._common("user_col")  # type: ignore[no-any-return]

    @property
    def item_col(self) -> str:  # type: ignore[override]
        """That of the models."""
        return self._common("item_col")  # type: ignore[no-any-return]

    @property
    def rating_col(self) -> str | None:
        """The first model's."""
        return self._common("rating_col")  # type: ignore[no-any-return]

    @property
    def min_rating(self) -> float | None:
        """The first model's."""
        return self._common("min_rating")  # type: ignore[no-any-return]

    @property
    def _has_context(self) -> bool:
        return any(model._has_context for model in self.models)

    @property
    def _time_column(self) -> str | None:
        return next((model._time_column for model in self.models if model._has_context), None)

    def _read_users(self, frame: frames.Frame, rows: Array, where: str) -> Given | None:
        # Histories that a frame brings are in rows of each model's own: of a blend's users it is the moment that counts.
        return self._read_moments(frame, where)

    def _read_moments(self, frame: frames.Frame, where: str) -> Given | None:
        return GivenToEach.to_each(*(model._read_moments(frame, where) for model in self.models))

    # --- fit ----------------------------------------------------------------------------------------------------------

    @named_options
    def fit(self, interactions: Any, users: Any = None, items: Any = None, *, eval_set: Any = None) -> Self:
        """Fit the models that are not fitted yet.

        Parameters
        ----------
        interactions : DataFrame
        users, items : DataFrame, optional
        eval_set : DataFrame, optional
            For the models; `fit_weights` is what chooses weights.

        Returns
        -------
        self

        Raises
        ------
        SchemaError, DataError
            What a model raises; the models have different users or items.
        ValueError, TypeError
            An option is out of range or of the wrong kind.
        """
        self._check_options("fit")
        for model in self.models:
            if not model.__sklearn_is_fitted__():
                model.fit(interactions, users=users, items=items, eval_set=eval_set)
        self._join("fit")
        return self

    def _check_options(self, where: str) -> None:
        if isinstance(self.models, (str, bytes)) or not isinstance(self.models, (list, tuple)) or not self.models:
            raise TypeError(f"{where}: models is {self.models!r}, but must be a list of at least one recommender")
        for place, model in enumerate(self.models):
            if not isinstance(model, Recommender):
                raise TypeError(
                    f"{where}: models[{place}] is a {type(model).__name__}, but must be a recommender of this package, such as "
                    "Popularity()"
                )
            if any(model is other for other in self.models[:place]):
                raise ValueError(f"{where}: models[{place}] is there twice; give it more weight instead")
            for option in ("user_col", "item_col"):
                first, other = getattr(self.models[0], option), getattr(model, option)
                if first != other:
                    raise ValueError(
                        f"{where}: {option} is {first!r} in models[0] and {other!r} in models[{place}], but must be the same"
                    )
        check_choice(where, "normalize", self.normalize, ("rank", "score"))
        if self.weights is not None:
            _check_weights(where, self.weights, len(self.models))
        self._num_threads(where)

    def __sklearn_is_fitted__(self) -> bool:
        # A blend of fitted models needs no fit: it is put together when it is first asked.
        if "_joined" in self.__dict__ and self._is_in_step():
            return True
        models = self.models if isinstance(self.models, (list, tuple)) else ()
        if not models or not all(isinstance(model, Recommender) and model.__sklearn_is_fitted__() for model in models):
            return False
        self._check_options("Hybrid")
        self._join("Hybrid")
        return True

    def _is_in_step(self) -> bool:
        """Whether no model was fitted again or has grown."""
        return len(self._joined) == len(self.models) and all(
            model._users is users and model._items is items
            for model, (users, items) in zip(self.models, self._joined, strict=True)
        )

    def _join(self, where: str) -> None:
        """Take the first model's rows, and find every model's."""
        first: Recommender = self.models[0]
        rows = []
        for place, model in enumerate(self.models):
            found = []
            for side in ("users", "items"):
                own, other = getattr(first, f"_{side}"), getattr(model, f"_{side}")
                there = other.encode(own.ids)
                if other.size != own.size or (there < 0).any():
                    raise DataError(
                        f"{where}: models[0] ({type(first).__name__}) has {count_of(own.size, side[:-1])}, models[{place}] "
                        f"({type(model).__name__}) has {other.size}, of which {int(np.count_nonzero(there >= 0))} are the "
                        f"same; a blend needs the same {side}: fit the models on the same interactions, all with {side}= or all "
                        "without"
                    )
                found.append(there.astype(np.int32))
            rows.append((found[0], found[1]))
        kept = self._chosen_weights if "_joined" in self.__dict__ and self._is_in_step() else None
        self._remember(
            users=first._users,
            items=first._items,
            seen_offsets=first._seen[0],
            seen_items=first._seen[1],
            item_counts=first._item_counts,
            frame_kind=first._frame_kind,
            catalogue=first._catalogue,
        )
        masks = [
            model._available[items]
            for model, (_, items) in zip(self.models, rows, strict=True)
            if model._available is not None
        ]
        self._available = np.minimum.reduce(masks) if masks else None
        self._rows = rows
        self._joined = [(model._users, model._items) for model in self.models]
        self._chosen_weights: list[float] | None = kept

    # --- weights ------------------------------------------------------------------------------------------------------

    @property
    def weights_(self) -> list[float]:
        """What is used: found by `fit_weights`, or given, or the same for all; of sum 1."""
        self._check_fitted("weights_")
        if self._chosen_weights is not None:
            return list(self._chosen_weights)
        weights = np.asarray([1.0] * len(self.models) if self.weights is None else self.weights, dtype=np.float64)
        return [float(weight) for weight in weights / weights.sum()]

    @named_options
    def fit_weights(self, validation: Any, *, metric: str = "ndcg@10", filter_seen: bool = True) -> Self:
        """Choose the weights that are best on interactions that no model was fitted on.

        Parameters
        ----------
        validation : DataFrame
            As `tt.evaluate` takes a test, and at the moments at which that asks. Users that the models do not know are passed
            over.
        metric : str
            A metric of a user's list, such as "ndcg@10" or "recall@20".
        filter_seen : bool
            Leave out of the lists what a user has in the interactions of `fit`.

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            A model is not fitted.
        DataError
            No user of `validation` can be measured.
        ValueError, TypeError
            The metric is unknown, or none of a user's list.

        Notes
        -----
        Starts with the best single model, and in turn gives each model the share of the whole, in steps of a twentieth, that is
        best while the others keep their proportions; ends when a round changes nothing. For two models every step is tried.
        No chance in it: the same data give the same weights. Where users times items times models are above 2**28 an evenly
        spaced part of the users is taken.
        """
        self._check_fitted("fit_weights")
        self._check_options("fit_weights")
        score = self._judge(validation, metric, filter_seen)
        count = len(self.models)
        trials = [(np.eye(count)[place], score(np.eye(count)[place])) for place in range(count)]
        weights, best = max(trials, key=lambda trial: trial[1])
        for _ in range(_MAX_ROUNDS if count > 1 else 0):
            before = best
            for place in range(count):
                rest = weights.copy()
                rest[place] = 0
                # What the others share where one has everything: the same each.
                rest = rest / rest.sum() if rest.sum() > 0 else (np.arange(count) != place) / (count - 1)
                for share in _SHARES:
                    trial = (1 - share) * rest
                    trial[place] = share
                    value = score(trial)
                    if value > best:
                        weights, best = trial, value
            if best == before:
                break
        self._chosen_weights = [float(weight) for weight in weights / weights.sum()]
        return self

    def _judge(self, validation: Any, metric: str, filter_seen: bool) -> Callable[[Array], float]:
        """The metric as a function of the weights."""
        (wanted,) = parse(metric)[:1]
        if wanted.name not in PER_USER:
            raise ValueError(
                f"fit_weights: metric is {metric!r}, but must be one of a user's list, such as 'ndcg@10' or 'recall@20'"
            )
        what = "fit_weights: validation"
        table = frames.table(validation, what)
        exam, first = read_validation(
            self,
            metric,
            table,
            self._users,
            self._items,
            self._seen,
            what,
            self._time_column,
            most=max(1, _SCORES_TO_FIT // (self._items.size * len(self.models))),
        )
        num_threads = self._num_threads("fit_weights")
        # As `tt.evaluate` asks: each user at the moment of the first row.
        asked = Asked.known(self._users, exam.users, self._read_moments(frames.take(table, first), what))
        passes = [self._parts(asked.take(places), num_threads) for places in self._passes_of(len(asked))]
        parts = [np.concatenate(of_model) for of_model in zip(*passes, strict=True)]
        depth = min(wanted.cutoff, self._items.size)

        def score(weights: Array) -> float:
            def ranked(places: Array, seen: Lists) -> Array:
                rows = np.empty((len(places), depth), dtype=np.int32)
                for some in self._passes_of(len(places)):
                    table = _blended([part[places[some]] for part in parts], weights)
                    left_out = seen.take(some) if filter_seen else None
                    rows[some] = top_k_of_table(table, depth, left_out, Filters(allowed=self._available))[0]
                return rows

            return exam.score_lists(ranked, num_threads)

        return score

    # --- lists --------------------------------------------------------------------------------------------------------

    def _passes_of(self, count: int) -> list[Array]:
        step = max(1, _SCORES_A_PASS // max(self._items.size, 1))
        return [np.arange(start, min(start + step, count)) for start in range(0, count, step)]

    def _parts(self, asked: Asked, num_threads: int) -> list[Array]:
        """What each model makes of every item for some users, float32 (n, items) in the rows of the blend."""
        size, found = self._items.size, []
        for place, (model, (users, items)) in enumerate(zip(self.models, self._rows, strict=True)):
            own = Asked.known(model._users, users[asked.rows], GivenToEach.part_of(asked.given, place))
            # TwoStage and the like have no more than their candidates: the rest stays 0.
            depth = min(getattr(model, "candidates", size), size)
            rows, scores = model._top_k(own, depth, filter_seen=False, filters=Filters(), num_threads=num_threads)
            values = _of_ranks(rows) if self.normalize == "rank" else _of_scores(rows, scores)
            table = np.zeros((len(asked), size + 1), dtype=np.float32)
            np.put_along_axis(table, np.where(rows >= 0, rows, size), values, axis=1)
            found.append(table[:, items])
        return found

    def _top_k(
        self, asked: Asked, k: int, *, filter_seen: bool, filters: Filters, num_threads: int
    ) -> tuple[Array, Array]:
        rows, scores = np.empty((len(asked), k), dtype=np.int32), np.empty((len(asked), k), dtype=np.float32)
        weights = np.asarray(self.weights_)
        for part in self._passes_of(len(asked)):
            some = asked.take(part)
            seen = Lists(some.rows, *self._seen) if filter_seen else None
            table = _blended(self._parts(some, num_threads), weights)
            rows[part], scores[part] = top_k_of_table(table, k, seen, filters.take(part))
        return rows, scores

    def _score_pairs(
        self, user_rows: Array, item_rows: Array, *, num_threads: int, moments: Given | None = None
    ) -> Array:
        scores, weights = np.empty(len(user_rows), dtype=np.float32), np.asarray(self.weights_)
        most = max(1, _SCORES_A_PASS // max(self._items.size, 1))
        for first, pairs, of_pair in pair_passes(user_rows, moments, most):
            given = None if moments is None else moments.take(first)
            table = _blended(self._parts(Asked.known(self._users, user_rows[first], given), num_threads), weights)
            scores[pairs] = table[of_pair, item_rows[pairs]]
        return scores

    # --- one file -----------------------------------------------------------------------------------------------------

    def _shared_state(self) -> State:
        # The first model's file has it all.
        return {}, {} if self._available is None else {"available": self._available}

    def _restore_shared(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self._join("load")
        self._available = arrays.get("available")

    def _state(self) -> State:
        return {"weights": self._chosen_weights}, {}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self._chosen_weights = meta["weights"]


def _of_ranks(rows: Array) -> Array:
    ranks = np.arange(1, rows.shape[1] + 1)
    return np.broadcast_to(((_RANK_OFFSET + 1) / (_RANK_OFFSET + ranks)).astype(np.float32), rows.shape)


def _of_scores(rows: Array, scores: Array) -> Array:
    """Scores from 1 at the top to 0 at the end of a list; the same score all along is 1."""
    there = rows >= 0
    high = scores[:, :1]
    low = np.min(np.where(there, scores, np.inf), axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        shares = np.where(high > low, (scores - low) / np.where(high > low, high - low, 1), 1)
    return np.where(there, shares, 0).astype(np.float32)


def _blended(parts: Sequence[Array], weights: Array) -> Array:
    """The weighted sum, float32 (n, items), in the order of the models."""
    total = np.zeros(parts[0].shape, dtype=np.float32)
    for part, weight in zip(parts, weights, strict=True):
        total += np.float32(weight) * part
    return total


def _check_weights(where: str, weights: Any, count: int) -> None:
    if isinstance(weights, (str, bytes)) or not isinstance(weights, (list, tuple, np.ndarray)):
        raise TypeError(f"{where}: weights is {weights!r}, but must be a list of numbers, one a model")
    if len(weights) != count:
        raise ValueError(
            f"{where}: weights has {len(weights)} numbers for {count_of(count, 'model')}, but must have one a model"
        )
    for place, weight in enumerate(weights):
        check_number(where, f"weights[{place}]", weight, minimum=0)
    if not sum(weights) > 0:
        raise ValueError(f"{where}: weights are all 0, but one at least must be above 0")
