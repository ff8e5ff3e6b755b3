"""Two tasks, one pair of towers: what a person takes next, and how he or she rates it."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from twotower._core import core
from twotower.item_lists import Filters
from twotower.models._asked import Asked, Given
from twotower.models._choices import group_size, usual_batch, usual_rate
from twotower.models._columns import Past
from twotower.models._options import check_column_name, check_number, named_options
from twotower.models._pair_fitted import FittedPairs
from twotower.models._pair_lesson import PairExtras, PairPlan
from twotower.models._pair_model import DotPairModel, PairModel
from twotower.models._pair_towers import PairArchitecture
from twotower.models._reading import Reading
from twotower.models._sides import Sides
from twotower.models._targets import check_range, read_targets

Array = np.ndarray

_RETRIEVAL_BIAS = "retrieval_bias"
_FINAL_SHARE = 0.02  # of the peak learning rate, at the last step


@dataclass(frozen=True)
class MultiTaskArchitecture(PairArchitecture):
    """Towers whose vectors have length 1, a head that rates what meets, and a bias of each item for retrieval.

    Attributes
    ----------
    temperature : float
        What products are divided by for retrieval.
    retrieves : bool
        Whether lists are made by retrieval, or by predicted ratings.
    """

    temperature: float = 0.2
    retrieves: bool = True

    @property
    def is_dot(self) -> bool:
        """Lists come from an index of the items' vectors."""
        return self.retrieves

    def tower_layers(self, width: int, streams: Any) -> list[core.Layer]:
        return [*super().tower_layers(width, streams), core.Layer.l2_normalize(width)]

    def more_tables(self, sides: Sides) -> list[tuple[str, int, int]]:
        return [(_RETRIEVAL_BIAS, sides.items.id_rows, 1)]


class FittedTasks(FittedPairs):
    """Towers and a head: retrieval by the vectors, ratings by the head."""

    architecture: MultiTaskArchitecture

    def queries(self, users: Array) -> Array:
        scaled = users[:, :-1] / np.float32(self.architecture.temperature)
        return np.concatenate([scaled, np.ones((len(users), 1), dtype=np.float32)], axis=1)

    def indexed(self, items: Array) -> Array:  # type: ignore[override]
        bias = self.model.parameters()[f"table.{_RETRIEVAL_BIAS}"][self.sides.items.codes]
        return np.concatenate([items[:, :-1], bias], axis=1)

    @property
    def scores_by_head(self) -> bool:
        return True


class MultiTask(DotPairModel, kind="multi_task"):
    """Retrieve items and predict ratings with one pair of towers, trained for both at once.

    `recommend` ranks by retrieval, `predict` gives ratings. With `retrieval_weight=0` lists are ranked by predicted rating, with
    `rating_weight=0` `predict` gives the scores of the lists.

    Parameters
    ----------
    user_col, item_col : str
        Columns of the ids.
    target : str, optional
        Column of the ratings; every row is a positive of retrieval, whatever its rating. None is for `rating_weight=0`.
    rating_range : (low, high), optional
        What predicted ratings are cut off at. None takes what was seen.
    weight_col : str, optional
        Column of example weights, at least 0; rows of weight 0 count as seen, but are not trained on.
    user_features, item_features : list of column names or column kinds, optional
        See `TwoTower`; None infers them.
    retrieval_weight, rating_weight : float, at least 0
        Of the two losses; not both 0.
    dim : int, at least 1
        Width of the vectors.
    hidden : tuple of int
        Widths of the layers between the vectors and the rating.
    dropout, hidden_dropout : float in [0, 1)
        Share of both towers' vectors, and of each hidden layer, that training drops.
    temperature : float above 0, optional
        What products are divided by; None takes what `TwoTower` takes.
    negatives : int, optional
        Items drawn for each batch beside its own. None takes half the catalogue, at most 2048.
    epochs, batch_size, group_size, learning_rate
        See `TwoTower`.
    bias_shrink : float, at least 0
        L2 of the biases of each rating.
    eval_metric : str, optional
        "rmse", "mae" or "mse", or a metric of lists. None takes "ndcg@10", with `retrieval_weight=0` "rmse".
    patience : int, optional
        Stop when the validation has not become better for so many epochs; None never stops.
    random_state : int or None
        Seed; None draws one, which `random_state_` then holds.
    n_jobs : int
        Threads; -1 is every CPU this process may use. Results do not depend on it.
    verbose : {0, 1, 2}
        Nothing; a progress bar, or a line an epoch where nobody watches; always lines.

    Attributes
    ----------
    user_ids_, item_ids_, history_, schema_, learning_curve_, best_epoch_
        See `TwoTower`; the loss of the curve is the weighted sum.
    temperature_, epochs_, batch_size_, group_size_, negatives_, learning_rate_, random_state_
        What was used where an option was None.

    Notes
    -----
    Vectors u and v of length 1. Retrieval: the loss of `TwoTower` on `<u, v> / temperature + b`. Rating: squared error of
    `mean + b_u + b_i + mlp([u, v, u * v])`, whose biases are of ids and features. The gradients of both, weighted, are added
    where they meet, at the towers' vectors. Retrieval keeps the ratings from overfitting: with `retrieval_weight=0` they do, and
    `RatingModel` is the better model of ratings alone.

    Examples
    --------
    >>> import twotower as tt
    >>> data = tt.datasets.synthetic(num_users=200, num_items=80, num_interactions=4000)
    >>> ratings = data.ratings.assign(rating=data.ratings.item_id % 5 + 1.0)
    >>> model = tt.MultiTask(epochs=2, verbose=0).fit(ratings)
    >>> model.recommend([1], k=3)["rank"].tolist(), bool((model.predict(ratings.head(3)) <= 5).all())
    ([1, 2, 3], True)
    """

    _architecture_type = MultiTaskArchitecture
    _fitted_type = FittedTasks

    @named_options
    def __init__(
        self,
        *,
        user_col: str = "user_id",
        item_col: str = "item_id",
        target: str | None = "rating",
        rating_range: tuple[float, float] | None = None,
        weight_col: str | None = None,
        user_features: Sequence[Any] | None = None,
        item_features: Sequence[Any] | None = None,
        retrieval_weight: float = 1.0,
        rating_weight: float = 0.5,
        dim: int = 64,
        hidden: Sequence[int] = (64,),
        dropout: float = 0.0,
        hidden_dropout: float = 0.2,
        temperature: float | None = None,
        negatives: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        group_size: int | None = None,
        learning_rate: float | None = None,
        bias_shrink: float = 0.01,
        eval_metric: str | None = None,
        patience: int | None = 5,
        random_state: int | None = 0,
        n_jobs: int = -1,
        verbose: int = 1,
    ) -> None:
        self.user_col = user_col
        self.item_col = item_col
        self.target = target
        self.rating_range = rating_range
        self.weight_col = weight_col
        self.user_features = user_features
        self.item_features = item_features
        self.retrieval_weight = retrieval_weight
        self.rating_weight = rating_weight
        self.dim = dim
        self.hidden = hidden
        self.dropout = dropout
        self.hidden_dropout = hidden_dropout
        self.temperature = temperature
        self.negatives = negatives
        self.epochs = epochs
        self.batch_size = batch_size
        self.group_size = group_size
        self.learning_rate = learning_rate
        self.bias_shrink = bias_shrink
        self.eval_metric = eval_metric
        self.patience = patience
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    # --- what is built and how it is trained ----------------------------------------------------------------------------

    @property
    def _predicts(self) -> str | None:
        return self.target if self.rating_weight > 0 else None

    def _check_options(self) -> None:
        super()._check_options()
        check_column_name("fit", "target", self.target, optional=True)
        for option in ("retrieval_weight", "rating_weight"):
            check_number("fit", option, getattr(self, option), minimum=0)
        if self.temperature is not None:
            check_number("fit", "temperature", self.temperature, above=0)
        check_range(self.rating_range)
        if not (self.retrieval_weight > 0 or self.rating_weight > 0):
            raise ValueError(
                "fit: retrieval_weight and rating_weight are both 0, so that there is nothing to learn; give one of them a weight"
            )
        if self.rating_weight > 0 and self.target is None:
            raise ValueError(
                f"fit: rating_weight is {self.rating_weight:g}, but target is None, and ratings are a column; pass "
                'target="rating", or rating_weight=0'
            )

    def _plan(self, reading: Reading, sides: Sides) -> PairPlan:
        targets = read_targets(
            None if self._predicts is None else reading.pairs.ratings,
            self._predicts,
            "mse",
            check_range(self.rating_range),
        )
        seed = secrets.randbits(48) if self.random_state is None else int(self.random_state)
        positives, items = reading.lists.num_positives, reading.lists.num_items
        active = int(np.count_nonzero(reading.lists.user_counts))
        sharpness = 1.35 * math.log(max(items * active / positives, 1.0))
        batch = self.batch_size or usual_batch(positives)
        chosen: dict[str, Any] = {
            "temperature": float(self.temperature or min(max(1 / max(sharpness, 1e-9), 0.1), 0.3)),
            "epochs": self.epochs or 15,
            "batch_size": batch,
            "group_size": group_size(self, sides),
            "negatives": min(2048, items // 2) if self.negatives is None else self.negatives,
            "learning_rate": float(self.learning_rate or usual_rate(batch)),
            "random_state": seed,
        }
        architecture = MultiTaskArchitecture(
            dim=self.dim,
            seed=seed,
            meeting=("vectors", "product"),
            dropout=self.dropout,
            hidden=tuple(self.hidden),
            hidden_dropout=self.hidden_dropout,
            offset=targets.offset,
            temperature=chosen["temperature"],
            retrieves=self.retrieval_weight > 0,
        )
        metric = self.eval_metric or ("ndcg@10" if self.retrieval_weight > 0 else "rmse")
        return PairPlan(
            architecture,
            "squared",
            targets.values,
            link=targets.link,
            eval_metric=metric,
            patience=self.patience,
            bias_shrink=self.bias_shrink,
            **{name: chosen[name] for name in ("negatives", "epochs", "batch_size", "group_size", "learning_rate")},
            chosen=chosen,
        )

    def _trainer(self, fitted: FittedPairs, plan: PairPlan, reading: Reading, past: Past, extras: PairExtras) -> Any:
        history = fitted.sides.history
        tables = sum(name.startswith("table.") for name in fitted.model.parameters())
        no_ratings = np.zeros(len(reading.pairs.user_rows), dtype=np.float32)
        return core.MultiTaskTrainer(
            fitted.model,
            fitted.user_data(),
            fitted.item_data(),
            reading.lists,
            targets=no_ratings if plan.targets is None else plan.targets,
            retrieval_weight=self.retrieval_weight,
            rating_weight=self.rating_weight,
            temperature=plan.chosen["temperature"],
            bias_table=tables - 1,
            batch_size=plan.batch_size,
            group_size=plan.group_size,
            negatives=plan.negatives,
            optimizer=plan.optimizer,
            schedule=plan.schedule,
            learning_rate=plan.learning_rate,
            final_share=_FINAL_SHARE,
            epochs=plan.epochs,
            bias_shrink=plan.bias_shrink if self.rating_weight > 0 else 0.0,
            seed=plan.architecture.seed,
            history=past.mode,
            max_length=1 if history is None else history.max_length,
            first_session_weight=1.0 if history is None else history.first_session,
            lists=None if past.lists is None else past.lists.core,
        )

    # --- lists by retrieval, scores by the task -------------------------------------------------------------------------

    @property
    def _gives_products(self) -> bool:
        return self._architecture.is_dot

    def _top_k(
        self, asked: Asked, k: int, *, filter_seen: bool, filters: Filters, num_threads: int
    ) -> tuple[Array, Array]:
        if self._architecture.is_dot:
            return super(PairModel, self)._top_k(
                asked, k, filter_seen=filter_seen, filters=filters, num_threads=num_threads
            )
        return super()._top_k(asked, k, filter_seen=filter_seen, filters=filters, num_threads=num_threads)

    def _score_pairs(
        self, user_rows: Array, item_rows: Array, *, num_threads: int, moments: Given | None = None
    ) -> Array:
        scored = super(PairModel, self)._score_pairs if self._predicts is None else super()._score_pairs
        return scored(user_rows, item_rows, num_threads=num_threads, moments=moments)
