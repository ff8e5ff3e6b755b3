"""Rankers: any features of a user, an item and a moment, crossed in a network, for ratings or for order."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twotower.models._choices import group_size, usual_batch, usual_rate
from twotower.models._options import check_choice, check_column_name, check_count, named_options
from twotower.models._pair_lesson import PairPlan, training_options
from twotower.models._pair_model import PairModel
from twotower.models._pair_towers import PairArchitecture
from twotower.models._reading import Reading
from twotower.models._sides import Sides
from twotower.models._targets import OF_VALUES, check_range, read_targets

Array = np.ndarray

# Name here -> name in the core.
LOSSES = {
    "mse": "squared",
    "huber": "huber",
    "ordinal": "ordinal",
    "logistic": "logistic",
    "bpr": "bpr",
    "softmax": "softmax",
    "lambda": "lambda",
}
# Of the architecture, by interaction.
INTERACTIONS: Mapping[str, Mapping[str, Any]] = {
    "dcn": {"meeting": ("vectors",), "concatenates": True},
    "concat": {"meeting": ("vectors",), "concatenates": True},
    "product": {"meeting": ("vectors", "product")},
    "dot": {"meeting": ("dot",)},
    "fm": {"meeting": ("vectors",), "concatenates": True, "even": True, "fields": True},
}


class Ranker(PairModel, kind="ranker"):
    """Predict ratings, or put candidates in order, from all that is known of a user, an item and a moment.

    Each id and feature becomes a vector; `interaction` says how those of a user and an item meet, `hidden` what stands on that;
    a number for every id and every value of a feature is added. What retrieves candidates has to be fast over the whole
    catalogue, this has to be right about a few hundred.

    Parameters
    ----------
    user_col, item_col : str
        Columns of the ids.
    target : str, optional
        Column of what is predicted, such as "rating". None learns from the pairs alone: a row is a positive example, and items
        drawn at random that the user has not seen are negative ones.
    loss : str, optional
        For values of the target: "mse"; "huber", less moved by outliers; "ordinal", for a few levels whose distances are
        unknown; "logistic", for a target in 0 to 1 or without one. For order: "bpr" (pairs), "softmax" (lists) or "lambda"
        (pairs by what they change in NDCG), by the values of the target within a user, or of positives over negatives.
        None takes "mse" with a target, "logistic" without.
    interaction : {"dcn", "concat", "product", "dot", "fm"}
        "dcn": cross layers over all vectors side by side, then hidden ones; "concat": hidden layers alone; "product": sums u
        and v of each side's vectors, hidden layers over u, v and u * v; "dot": <u, v>, no layers; "fm": products of any two
        vectors, beside the hidden layers.
    rating_col : str, optional
        Column of ratings, where they are no target: with `min_rating`, or for a history that is weighted by them.
    min_rating : float, optional
        Without a target: rows rated below it count as seen, but are not trained on.
    rating_range : (low, high), optional
        What predictions for "mse" and "huber" are cut off at. None takes what was seen.
    weight_col : str, optional
        Column of example weights, at least 0.
    time_col : str, optional
        Column of times: the order of histories.
    user_features, item_features, context_features : list of column names or column kinds, optional
        See `TwoTower`.
    dim : int, at least 1
        Width of the vectors.
    hidden : tuple of int
        Widths of the hidden layers.
    cross_layers : int, at least 1
        With "dcn".
    cross_rank : int, optional
        Rank of a cross layer's matrix; None is a whole one.
    activation : {"relu", "gelu"}
    layer_norm : bool
        Normalize each hidden layer before its activation.
    dropout : float in [0, 1)
        Share of each side's vector that training drops.
    hidden_dropout : float in [0, 1)
        Share of each hidden layer that training drops.
    negatives : int, optional
        Items drawn for each positive, of value 0. None takes 4 without a target, else 0.
    epochs : int, optional
    batch_size : int, optional
        Positives a step.
    group_size : int, optional
        At most so many rows of a user share a place in the batch, and a list for the losses of order. None takes 16, and 1 with
        context features.
    optimizer, learning_rate, schedule, warmup, weight_decay
        See `TwoTower`.
    shrink, bias_shrink : float, at least 0
        L2 of both vectors and of the biases of each example.
    eval_metric : str, optional
        None takes "rmse" where ratings are predicted, else "ndcg@10".
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
        See `TwoTower`.
    loss_, epochs_, batch_size_, group_size_, negatives_, learning_rate_, random_state_
        What was used where an option was None.

    Notes
    -----
    "dcn": Wang et al. 2021, "DCN V2". "fm": Rendle 2010, "Factorization machines", and under layers Guo et al. 2017, "DeepFM".
    "ordinal" has the cuts between levels where the shares of the ratings put them, and predicts the expected rating. "logistic"
    with a target predicts its mean. `recommend` gives the values that `predict` gives; where these are cut off, lists keep the
    order of what was not. Scores of `recommend` for a whole catalogue pass the head once an item: for large ones retrieve first.

    Examples
    --------
    >>> import twotower as tt
    >>> data = tt.datasets.synthetic(num_users=200, num_items=80, num_interactions=4000)
    >>> model = tt.Ranker(loss="bpr", epochs=2, verbose=0).fit(data.ratings)
    >>> candidates = data.ratings[["user_id", "item_id"]].drop_duplicates().head(5)
    >>> list(model.rank(candidates).columns)
    ['user_id', 'item_id', 'score', 'rank']
    """

    @named_options
    def __init__(
        self,
        *,
        user_col: str = "user_id",
        item_col: str = "item_id",
        target: str | None = None,
        loss: str | None = None,
        interaction: str = "dcn",
        rating_col: str | None = None,
        min_rating: float | None = None,
        rating_range: tuple[float, float] | None = None,
        weight_col: str | None = None,
        time_col: str | None = None,
        user_features: Sequence[Any] | None = None,
        item_features: Sequence[Any] | None = None,
        context_features: Sequence[Any] | None = None,
        dim: int = 32,
        hidden: Sequence[int] = (64, 32),
        cross_layers: int = 2,
        cross_rank: int | None = None,
        activation: str = "relu",
        layer_norm: bool = False,
        dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        negatives: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        group_size: int | None = None,
        optimizer: str = "adam",
        learning_rate: float | None = None,
        schedule: str = "linear",
        warmup: float = 0.0,
        weight_decay: float = 0.0,
        shrink: float = 0.0,
        bias_shrink: float = 0.0,
        eval_metric: str | None = None,
        patience: int | None = 5,
        random_state: int | None = 0,
        n_jobs: int = -1,
        verbose: int = 1,
    ) -> None:
        self.user_col = user_col
        self.item_col = item_col
        self.target = target
        self.loss = loss
        self.interaction = interaction
        self.rating_col = rating_col
        self.min_rating = min_rating
        self.rating_range = rating_range
        self.weight_col = weight_col
        self.time_col = time_col
        self.user_features = user_features
        self.item_features = item_features
        self.context_features = context_features
        self.dim = dim
        self.hidden = hidden
        self.cross_layers = cross_layers
        self.cross_rank = cross_rank
        self.activation = activation
        self.layer_norm = layer_norm
        self.dropout = dropout
        self.hidden_dropout = hidden_dropout
        self.negatives = negatives
        self.epochs = epochs
        self.batch_size = batch_size
        self.group_size = group_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.shrink = shrink
        self.bias_shrink = bias_shrink
        self.eval_metric = eval_metric
        self.patience = patience
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @property
    def _loss(self) -> str:
        return self.loss or ("logistic" if self.target is None else "mse")

    @property
    def _predicts(self) -> str | None:
        return self.target if self._loss in OF_VALUES else None

    def _check_options(self) -> None:
        super()._check_options()
        check_column_name("fit", "target", self.target, optional=True)
        loss = check_choice("fit", "loss", self._loss, tuple(LOSSES))
        check_choice("fit", "interaction", self.interaction, tuple(INTERACTIONS))
        check_range(self.rating_range)
        check_count("fit", "cross_layers", self.cross_layers)
        if self.cross_rank is not None:
            check_count("fit", "cross_rank", self.cross_rank)
        if self.target is None and loss in ("mse", "huber", "ordinal"):
            raise ValueError(
                f'fit: loss is {loss!r}, but target is None, and it predicts a column; pass target="rating", or a loss that '
                'learns from pairs alone, such as loss="bpr"'
            )
        if self.target is not None and self.min_rating is not None:
            raise ValueError(
                f"fit: min_rating is {self.min_rating:g}, but the target is {self.target!r}, which is predicted for every row; "
                "leave one of them out"
            )
        if self.target is None and self._negatives == 0:
            raise ValueError(
                "fit: negatives is 0, but target is None, and positives alone teach nothing; leave negatives out, or pass "
                "target="
            )

    @property
    def _negatives(self) -> int:
        return (4 if self.target is None else 0) if self.negatives is None else self.negatives

    def _plan(self, reading: Reading, sides: Sides) -> PairPlan:
        loss = self._loss
        values = None if self.target is None else reading.pairs.ratings
        targets = read_targets(values, self.target, loss, check_range(self.rating_range))
        batch = self.batch_size or usual_batch(reading.lists.num_positives)
        group = group_size(self, sides)
        if group + self._negatives < 2 and loss not in OF_VALUES:
            raise ValueError(
                f"fit: loss is {loss!r}, but a list has one row where group_size is 1 and negatives is 0; pass negatives=4"
            )
        seed = secrets.randbits(48) if self.random_state is None else int(self.random_state)
        chosen: dict[str, Any] = {
            "loss": loss,
            "epochs": self.epochs or 10,
            "batch_size": batch,
            "group_size": group,
            "negatives": self._negatives,
            "learning_rate": float(self.learning_rate or usual_rate(batch)),
            "random_state": seed,
        }
        architecture = PairArchitecture(
            dim=self.dim,
            seed=seed,
            hidden=() if self.interaction == "dot" else tuple(self.hidden),
            cross_layers=self.cross_layers if self.interaction == "dcn" else 0,
            cross_rank=self.cross_rank if self.interaction == "dcn" else None,
            activation=self.activation,
            layer_norm=self.layer_norm,
            dropout=self.dropout,
            hidden_dropout=self.hidden_dropout,
            offset=targets.offset,
            **INTERACTIONS[self.interaction],
        )
        return PairPlan(
            architecture,
            LOSSES[loss],
            targets.values,
            link=targets.link,
            eval_metric=self.eval_metric or ("ndcg@10" if self._predicts is None else "rmse"),
            **{name: chosen[name] for name in ("negatives", "epochs", "batch_size", "group_size", "learning_rate")},
            **training_options(self),
            chosen=chosen,
        )
