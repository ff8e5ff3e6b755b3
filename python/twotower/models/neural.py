"""Collaborative filtering from ids alone by networks that stand in for the dot product of matrix factorization."""

from __future__ import annotations

from collections.abc import Sequence

from twotower.models._neural_towers import NeuMFArchitecture, SumArchitecture
from twotower.models._of_ids import OfIds
from twotower.models._options import check_choice, check_count, named_options
from twotower.models._pair_lesson import PairPlan
from twotower.models._pair_towers import PairArchitecture
from twotower.models._reading import Reading
from twotower.models._sides import Sides
from twotower.models._targets import check_range, read_targets


class NeuMF(OfIds, kind="neumf"):
    """Rank items by a product of vectors and a network over other vectors, read together: neural matrix factorization.

    Parameters
    ----------
    user_col, item_col, rating_col, min_rating, weight_col, loss, negatives
        See `MatrixFactorization`.
    factors : int, at least 1
        Width of the vectors that are multiplied.
    dim : int, at least 1
        Width of the vectors that the network reads.
    hidden : tuple of int, at least one
        Widths of the network's layers.
    activation : {"relu", "gelu"}
    dropout : float in [0, 1)
        Share of all vectors that training drops.
    hidden_dropout : float in [0, 1)
        Share of each hidden layer that training drops.
    epochs, batch_size, learning_rate, shrink, bias_shrink, eval_metric, patience, random_state, n_jobs, verbose
        See `MatrixFactorization`; `shrink` is of what the towers give: the multiplied vectors and each side's half of the
        network's first layer.
    weight_decay : float, at least 0
        AdamW's, of everything. Without it the network overfits, however short the vectors are held: its own weights make up for
        that.

    Attributes
    ----------
    user_ids_, item_ids_, history_, schema_, learning_curve_, best_epoch_, batch_size_, random_state_
        See `MatrixFactorization`.

    Notes
    -----
    He et al. 2017, "Neural collaborative filtering", section 3.4, with biases and without pretraining: score
    `b_u + b_i + <p_u, q_i> + mlp([m_u, n_i])`. The paper's weights of the products are left to the vectors, which can say the
    same. Lists of the whole catalogue pass the network once an item.

    Examples
    --------
    >>> import twotower as tt
    >>> data = tt.datasets.synthetic(num_users=200, num_items=80, num_interactions=4000)
    >>> model = tt.NeuMF(epochs=2, verbose=0).fit(data.ratings)
    >>> model.recommend([1], k=3)["rank"].tolist()
    [1, 2, 3]
    """

    _architecture_type = NeuMFArchitecture
    _least_hidden = 1

    @named_options
    def __init__(
        self,
        *,
        user_col: str = "user_id",
        item_col: str = "item_id",
        rating_col: str | None = None,
        min_rating: float | None = None,
        weight_col: str | None = None,
        loss: str = "logistic",
        factors: int = 64,
        dim: int = 16,
        hidden: Sequence[int] = (32, 16),
        activation: str = "relu",
        dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        negatives: int = 8,
        epochs: int = 10,
        batch_size: int | None = None,
        learning_rate: float = 0.005,
        shrink: float = 0.0,
        bias_shrink: float = 0.0,
        weight_decay: float = 0.2,
        eval_metric: str = "ndcg@10",
        patience: int | None = 5,
        random_state: int | None = 0,
        n_jobs: int = -1,
        verbose: int = 1,
    ) -> None:
        self.user_col = user_col
        self.item_col = item_col
        self.rating_col = rating_col
        self.min_rating = min_rating
        self.weight_col = weight_col
        self.loss = loss
        self.factors = factors
        self.dim = dim
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.hidden_dropout = hidden_dropout
        self.negatives = negatives
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.shrink = shrink
        self.bias_shrink = bias_shrink
        self.weight_decay = weight_decay
        self.eval_metric = eval_metric
        self.patience = patience
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _check_options(self) -> None:
        super()._check_options()
        check_count("fit", "factors", self.factors)
        check_choice("fit", "activation", self.activation, ("relu", "gelu"))

    def _make(self, seed: int, offset: float) -> PairArchitecture:
        return NeuMFArchitecture(
            dim=self.factors + self.dim,
            factors=self.factors,
            seed=seed,
            meeting=("dot", "sum"),
            hidden=tuple(self.hidden),
            activation=self.activation,
            dropout=self.dropout,
            hidden_dropout=self.hidden_dropout,
            offset=offset,
            deviation=0.1,
        )


class DeepNCF(OfIds, kind="deep_ncf"):
    """Rank items by a network over the user's and the item's vector: deep neural collaborative filtering.

    Parameters
    ----------
    user_col, item_col, rating_col, min_rating, weight_col, loss, dim, negatives
        See `MatrixFactorization`.
    hidden, activation, dropout, hidden_dropout
        See `NeuMF`.
    epochs, batch_size, learning_rate, shrink, bias_shrink, eval_metric, patience, random_state, n_jobs, verbose
        See `MatrixFactorization`.
    weight_decay : float, at least 0
        See `NeuMF`.

    Attributes
    ----------
    user_ids_, item_ids_, history_, schema_, learning_curve_, best_epoch_, batch_size_, random_state_
        See `MatrixFactorization`.

    Notes
    -----
    He et al. 2017, "Neural collaborative filtering", section 3.3, with biases: score `b_u + b_i + mlp([p_u, q_i])`.

    Examples
    --------
    >>> import twotower as tt
    >>> data = tt.datasets.synthetic(num_users=200, num_items=80, num_interactions=4000)
    >>> model = tt.DeepNCF(epochs=2, verbose=0).fit(data.ratings)
    >>> model.recommend([1], k=3)["rank"].tolist()
    [1, 2, 3]
    """

    _architecture_type = SumArchitecture
    _least_hidden = 1

    @named_options
    def __init__(
        self,
        *,
        user_col: str = "user_id",
        item_col: str = "item_id",
        rating_col: str | None = None,
        min_rating: float | None = None,
        weight_col: str | None = None,
        loss: str = "logistic",
        dim: int = 32,
        hidden: Sequence[int] = (64, 32, 16),
        activation: str = "relu",
        dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        negatives: int = 8,
        epochs: int = 10,
        batch_size: int | None = None,
        learning_rate: float = 0.005,
        shrink: float = 0.003,
        bias_shrink: float = 0.0,
        weight_decay: float = 0.2,
        eval_metric: str = "ndcg@10",
        patience: int | None = 5,
        random_state: int | None = 0,
        n_jobs: int = -1,
        verbose: int = 1,
    ) -> None:
        self.user_col = user_col
        self.item_col = item_col
        self.rating_col = rating_col
        self.min_rating = min_rating
        self.weight_col = weight_col
        self.loss = loss
        self.dim = dim
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.hidden_dropout = hidden_dropout
        self.negatives = negatives
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.shrink = shrink
        self.bias_shrink = bias_shrink
        self.weight_decay = weight_decay
        self.eval_metric = eval_metric
        self.patience = patience
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _check_options(self) -> None:
        super()._check_options()
        check_choice("fit", "activation", self.activation, ("relu", "gelu"))

    def _make(self, seed: int, offset: float) -> PairArchitecture:
        return SumArchitecture(
            dim=self.dim,
            seed=seed,
            meeting=("sum",),
            hidden=tuple(self.hidden),
            activation=self.activation,
            dropout=self.dropout,
            hidden_dropout=self.hidden_dropout,
            offset=offset,
            deviation=0.1,
        )


class CFNN(DeepNCF, kind="cfnn"):
    """Predict ratings by a network over the user's and the item's vector: a collaborative filtering neural network.

    Parameters
    ----------
    user_col, item_col, weight_col
        See `MatrixFactorization`.
    rating_col : str, optional
        Column of ratings, which are predicted. Without it the rows are positives, as `DeepNCF` has them.
    min_rating : float, optional
        With `rating_col`: rows rated below it count as seen, the others are positives, and no rating is predicted.
    rating_range : (low, high), optional
        What predicted ratings are cut off at. None takes what was seen.
    loss, negatives
        See `MatrixFactorization`; of positives. Ratings are learned by squared error.
    dim, hidden, activation, dropout, hidden_dropout
        See `NeuMF`.
    epochs, batch_size, learning_rate, shrink, bias_shrink, eval_metric, patience, random_state, n_jobs, verbose
        See `MatrixFactorization`; where ratings are predicted an `eval_metric` of None is "rmse", else "ndcg@10".
    weight_decay : float, at least 0
        See `NeuMF`.

    Attributes
    ----------
    user_ids_, item_ids_, history_, schema_, learning_curve_, best_epoch_, batch_size_, random_state_
        See `MatrixFactorization`.

    Notes
    -----
    Rating: mean + b_u + b_i + mlp([p_u, q_i]), kept in the range.

    Examples
    --------
    >>> import twotower as tt
    >>> data = tt.datasets.synthetic(num_users=200, num_items=80, num_interactions=4000)
    >>> ratings = data.ratings.assign(rating=data.ratings.item_id % 5 + 1.0)
    >>> model = tt.CFNN(rating_col="rating", epochs=2, verbose=0).fit(ratings)
    >>> bool((model.predict(ratings.head(3)) <= 5).all())
    True
    """

    @named_options
    def __init__(
        self,
        *,
        user_col: str = "user_id",
        item_col: str = "item_id",
        rating_col: str | None = None,
        min_rating: float | None = None,
        rating_range: tuple[float, float] | None = None,
        weight_col: str | None = None,
        loss: str = "logistic",
        dim: int = 32,
        hidden: Sequence[int] = (64, 32, 16),
        activation: str = "relu",
        dropout: float = 0.3,
        hidden_dropout: float = 0.0,
        negatives: int = 4,
        epochs: int = 20,
        batch_size: int | None = None,
        learning_rate: float = 0.003,
        shrink: float = 0.02,
        bias_shrink: float = 0.005,
        weight_decay: float = 1.0,
        eval_metric: str | None = None,
        patience: int | None = 5,
        random_state: int | None = 0,
        n_jobs: int = -1,
        verbose: int = 1,
    ) -> None:
        self.user_col = user_col
        self.item_col = item_col
        self.rating_col = rating_col
        self.min_rating = min_rating
        self.rating_range = rating_range
        self.weight_col = weight_col
        self.loss = loss
        self.dim = dim
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.hidden_dropout = hidden_dropout
        self.negatives = negatives
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.shrink = shrink
        self.bias_shrink = bias_shrink
        self.weight_decay = weight_decay
        self.eval_metric = eval_metric
        self.patience = patience
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _check_options(self) -> None:
        super()._check_options()
        if check_range(self.rating_range) is not None and self._predicts is None:
            raise ValueError(
                f"fit: rating_range is {self.rating_range!r}, but no ratings are predicted; pass rating_col= without "
                "min_rating, or leave rating_range out"
            )

    @property
    def _predicts(self) -> str | None:
        return self.rating_col if self.min_rating is None else None

    def _plan(self, reading: Reading, sides: Sides) -> PairPlan:
        if self._predicts is None:
            return super()._plan(reading, sides)
        limits = check_range(self.rating_range)
        targets = read_targets(reading.pairs.ratings, self._predicts, "mse", limits)
        return self._settle(reading, targets, "squared", 0)

    @property
    def _measured_by(self) -> str:
        return self.eval_metric or ("ndcg@10" if self._predicts is None else "rmse")
