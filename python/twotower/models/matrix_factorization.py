"""Matrix factorization: the dot product of a user's and an item's vector, from ids alone."""

from __future__ import annotations

from twotower.models._of_ids import OfIds
from twotower.models._options import named_options
from twotower.models._pair_model import DotPairModel
from twotower.models._pair_towers import PairArchitecture


class MatrixFactorization(DotPairModel, OfIds, kind="matrix_factorization"):
    """Rank items by the dot product of a user's and an item's vector, learned from positives against drawn items.

    Parameters
    ----------
    user_col, item_col : str
        Columns of the ids.
    rating_col : str, optional
        Column of ratings; looked at only with `min_rating`.
    min_rating : float, optional
        Rows rated below it count as seen, but are not trained on.
    weight_col : str, optional
        Column of example weights, at least 0; rows of weight 0 count as seen, but are not trained on.
    loss : {"logistic", "bpr", "softmax"}
        "logistic": each positive is a yes and each drawn item a no; "bpr": each positive before the drawn ones; "softmax":
        the user's positives of the batch out of them and the drawn ones.
    dim : int, at least 1
        Width of the vectors.
    dropout : float in [0, 1)
        Share of both vectors that training drops.
    negatives : int, at least 1
        Items drawn for each positive: uniformly, and nothing the user has seen.
    epochs : int
    batch_size : int, optional
        Positives a step; None takes 4096 from 200,000 positives on and 1024 below (fewer for very small data).
    learning_rate : float above 0
        Of Adam at the first step; it falls in a line to 2 %.
    shrink, bias_shrink : float, at least 0
        L2 of both vectors and of both biases of each pair.
    eval_metric : str
        Metric of the validation, such as "ndcg@10".
    patience : int, optional
        Stop when the validation has not risen for so many epochs; None never stops.
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
    batch_size_, random_state_
        What was used where an option was None.

    Notes
    -----
    Score: `b_u + b_i + <p_u, q_i>`. Rendle et al. 2020, "Neural collaborative filtering vs. matrix factorization revisited"
    (logistic); Rendle et al. 2009, "BPR". Columns of features are not looked at; `TwoTower` reads them.

    Examples
    --------
    >>> import twotower as tt
    >>> data = tt.datasets.synthetic(num_users=200, num_items=80, num_interactions=4000)
    >>> model = tt.MatrixFactorization(epochs=2, verbose=0).fit(data.ratings)
    >>> model.recommend([1], k=3)["rank"].tolist()
    [1, 2, 3]
    """

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
        dim: int = 64,
        dropout: float = 0.0,
        negatives: int = 4,
        epochs: int = 12,
        batch_size: int | None = None,
        learning_rate: float = 0.005,
        shrink: float = 0.003,
        bias_shrink: float = 0.0,
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
        self.dropout = dropout
        self.negatives = negatives
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.shrink = shrink
        self.bias_shrink = bias_shrink
        self.eval_metric = eval_metric
        self.patience = patience
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _make(self, seed: int, offset: float) -> PairArchitecture:
        return PairArchitecture(dim=self.dim, seed=seed, dropout=self.dropout, offset=offset, deviation=0.1)
