"""Explicit ratings: biases, factors with features, and what a user rated at all."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from twotower.errors import SchemaError
from twotower.models._columns import history_of
from twotower.models._options import check_column_name, check_flag, named_options
from twotower.models._pair_lesson import PairPlan, training_options
from twotower.models._pair_model import DotPairModel
from twotower.models._pair_towers import PairArchitecture
from twotower.models._reading import Reading
from twotower.models._sides import Sides
from twotower.models._targets import check_range, read_targets
from twotower.schema import History

# Chosen on a tenth of the training rows of u1 of ml-100k.
_DECAY_AN_EPOCH = 0.25
# Beyond this many ratings of one user the sum over them hardly changes.
_HISTORY = 2000


class RatingModel(DotPairModel, kind="rating_model"):
    """Predict explicit ratings: biased matrix factorization with features and implicit history.

    A rating is the mean, plus a bias for each id and each value of a feature, plus the product of a vector of the user and one of
    the item, which are sums of a vector for the id and one for each value of a feature; to the user's is added what he or she
    rated at all, whatever the rating.

    Parameters
    ----------
    user_col, item_col : str
        Columns of the ids.
    target : str
        Column of the ratings.
    rating_range : (low, high), optional
        What predictions are cut off at. None takes what was seen.
    weight_col : str, optional
        Column of example weights, at least 0.
    user_features, item_features : list of column names or column kinds, optional
        See `TwoTower`; None infers them.
    implicit_history : bool
        Whether what a user rated enters.
    dim : int, at least 1
        Width of the vectors.
    dropout : float in [0, 1)
        Share of both vectors that training drops.
    shrink, bias_shrink : float, at least 0
        L2 of both vectors and of the biases of each rating.
    weight_decay : float, at least 0, optional
        AdamW's, of everything. None takes what an epoch shrinks the parameters by: about a quarter, whatever its steps.
    epochs, batch_size, learning_rate
        See `TwoTower`.
    group_size : int
        At most so many ratings of one user share a place in the batch; they leave each other out of the history. More is faster,
        fewer tell more of users with few ratings.
    eval_metric : {"rmse", "mae", "mse"}, or a metric of lists
        Of the validation.
    patience : int, optional
        Stop when it has not become better for so many epochs; None never stops.
    random_state : int or None
        Seed; None draws one, which `random_state_` then holds.
    n_jobs : int
        Threads; -1 is every CPU this process may use. Results do not depend on it.
    verbose : {0, 1, 2}
        Nothing; a progress bar, or a line an epoch where nobody watches; always lines.

    Attributes
    ----------
    user_ids_, item_ids_, history_, schema_, learning_curve_, best_epoch_
        See `TwoTower`.
    weight_decay_, random_state_
        What was used where an option was None.

    Notes
    -----
    Koren 2008, "Factorization meets the neighborhood", equation 15 (SVD++), with the user's rating that is to be predicted left out
    of the history: `r = mean + b_u + b_i + (p_u + f_u + |N|^-1/2 sum of y_j) . (q_i + f_i)`, N what the user rated besides.

    Examples
    --------
    >>> import twotower as tt
    >>> data = tt.datasets.synthetic(num_users=200, num_items=80, num_interactions=4000)
    >>> ratings = data.ratings.assign(rating=data.ratings.item_id % 5 + 1.0)
    >>> model = tt.RatingModel(epochs=2, verbose=0).fit(ratings)
    >>> bool((model.predict(ratings.head(3)) <= 5).all())
    True
    """

    @named_options
    def __init__(
        self,
        *,
        user_col: str = "user_id",
        item_col: str = "item_id",
        target: str = "rating",
        rating_range: tuple[float, float] | None = None,
        weight_col: str | None = None,
        user_features: Sequence[Any] | None = None,
        item_features: Sequence[Any] | None = None,
        implicit_history: bool = True,
        dim: int = 128,
        dropout: float = 0.4,
        shrink: float = 0.005,
        bias_shrink: float = 0.005,
        weight_decay: float | None = None,
        epochs: int = 30,
        batch_size: int = 4096,
        group_size: int = 8,
        learning_rate: float = 0.01,
        eval_metric: str = "rmse",
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
        self.implicit_history = implicit_history
        self.dim = dim
        self.dropout = dropout
        self.shrink = shrink
        self.bias_shrink = bias_shrink
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.group_size = group_size
        self.learning_rate = learning_rate
        self.eval_metric = eval_metric
        self.patience = patience
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @property
    def _predicts(self) -> str | None:
        return self.target

    def _check_options(self) -> None:
        super()._check_options()
        check_column_name("fit", "target", self.target)
        check_flag("fit", "implicit_history", self.implicit_history)
        check_range(self.rating_range)
        if history_of(self.user_features) is not None:
            raise SchemaError(
                "fit: user_features has a History, but this model has one of its own; leave it out, or use Ranker"
            )

    def _history(self) -> History | None:
        return History(max_length=_HISTORY, features=False) if self.implicit_history else None

    def _plan(self, reading: Reading, sides: Sides) -> PairPlan:
        targets = read_targets(reading.pairs.ratings, self.target, "mse", check_range(self.rating_range))
        seed = secrets.randbits(48) if self.random_state is None else int(self.random_state)
        steps = reading.lists.num_positives / self.batch_size
        decay = (
            _DECAY_AN_EPOCH / (max(steps, 1) * self.learning_rate) if self.weight_decay is None else self.weight_decay
        )
        chosen: dict[str, Any] = {"random_state": seed, "weight_decay": decay}
        architecture = PairArchitecture(
            dim=self.dim,
            seed=seed,
            own_history=True,
            dropout=self.dropout,
            offset=targets.offset,
            deviation=0.02,
            cure="Ranker",
        )
        return PairPlan(
            architecture,
            "squared",
            targets.values,
            negatives=0,
            epochs=self.epochs,
            batch_size=self.batch_size,
            group_size=self.group_size,
            learning_rate=self.learning_rate,
            link=targets.link,
            eval_metric=self.eval_metric,
            chosen=chosen,
            **training_options(self) | {"weight_decay": decay},
        )
