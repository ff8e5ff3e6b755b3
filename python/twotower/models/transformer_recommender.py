"""The sequence model: a person is what he or she had, read in order by a causal transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twotower.models._options import check_count, check_number, named_options
from twotower.models.two_tower import TwoTower
from twotower.schema import History, Id


class TransformerRecommender(TwoTower, kind="transformer_recommender"):
    """Recommend what comes next: a causal transformer over the history, against the items' vectors.

    A `TwoTower` whose side of the user is `History(encoder="transformer")` and nothing else: users have no vectors of their
    own, so that anyone with a history is served, and items no features.

    Parameters
    ----------
    user_col, item_col, rating_col, min_rating, weight_col
        See `TwoTower`.
    time_col : str, optional
        Column of times: the order of histories. Without it histories are in the order of the table.
    dim : int, at least 1
        Width of the vectors; a multiple of `heads`.
    blocks : int, at least 1
        Transformer blocks.
    heads : int, at least 1
        Of the attention.
    max_length : int, at least 1
        Items of a history that are read, the newest.
    dropout : float in [0, 1)
        Share that training drops in the transformer.
    temperature, epochs, batch_size, negatives, learning_rate, eval_metric, patience, random_state, n_jobs, verbose
        See `TwoTower`.

    Attributes
    ----------
    user_ids_, item_ids_, history_, schema_, learning_curve_, best_epoch_
        See `TwoTower`.

    Notes
    -----
    Kang and McAuley 2018, "Self-attentive sequential recommendation", with the sampled softmax of `TwoTower` in place of its
    loss: each position of a window of the history predicts what follows. Everything that `TwoTower` does it does too.

    Examples
    --------
    >>> import twotower as tt
    >>> data = tt.datasets.synthetic(num_users=200, num_items=80, num_interactions=4000)
    >>> model = tt.TransformerRecommender(dim=16, epochs=1, random_state=0, verbose=0).fit(data.ratings)
    >>> model.recommend([1], k=3)["rank"].tolist()
    [1, 2, 3]
    """

    # Options of TwoTower that are settled here.
    item_features = ()
    context_features = ()
    hidden = ()
    activation = "relu"
    layer_norm = False
    residual = False
    cross_layers = 0
    cross_rank = None
    cross = "stacked"
    similarity = "cosine"
    item_bias = True
    group_size = None
    popular_negatives = 0.0
    logq = 1.0
    user_balance = 0.0
    optimizer = "adam"
    schedule = "linear"
    warmup = 0.0
    weight_decay = 0.0

    @named_options
    def __init__(
        self,
        *,
        user_col: str = "user_id",
        item_col: str = "item_id",
        rating_col: str | None = None,
        min_rating: float | None = None,
        weight_col: str | None = None,
        time_col: str | None = None,
        dim: int = 64,
        blocks: int = 1,
        heads: int = 1,
        max_length: int = 50,
        dropout: float = 0.2,
        temperature: float | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        negatives: int | None = None,
        learning_rate: float | None = None,
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
        self.time_col = time_col
        self.dim = dim
        self.blocks = blocks
        self.heads = heads
        self.max_length = max_length
        self.dropout = dropout
        self.temperature = temperature
        self.epochs = epochs
        self.batch_size = batch_size
        self.negatives = negatives
        self.learning_rate = learning_rate
        self.eval_metric = eval_metric
        self.patience = patience
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @property
    def user_features(self) -> Sequence[Any]:  # type: ignore[override]
        """The history, and no vectors of ids; checks what it is made of."""
        for option in ("blocks", "heads", "max_length"):
            check_count("fit", option, getattr(self, option))
        check_number("fit", "dropout", self.dropout, minimum=0, maximum=0.99)
        history = History(
            encoder="transformer",
            max_length=self.max_length,
            heads=self.heads,
            blocks=self.blocks,
            dropout=self.dropout,
            features=False,
        )
        return [Id(self.user_col, dropout=1), history]
