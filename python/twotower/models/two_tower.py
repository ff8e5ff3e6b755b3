"""The two-tower model: a tower a side, a dot product between them, in-batch softmax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from twotower import frames
from twotower.interactions import check_learnable
from twotower.models._asked import Asked
from twotower.models._choices import architecture, check_options, choose
from twotower.models._columns import history_of, read_histories, read_sides
from twotower.models._estimator import State
from twotower.models._explain import Explaining
from twotower.models._fitted import Fitted
from twotower.models._given import UsersGiven
from twotower.models._growth import Growing
from twotower.models._importance import Weighing
from twotower.models._inputs import Entry
from twotower.models._lesson import Exam, Lesson, read_exam, teach
from twotower.models._options import named_options
from twotower.models._reading import read
from twotower.models._towers import Architecture

_CHOSEN = ("temperature", "epochs", "batch_size", "group_size", "negatives", "learning_rate", "random_state")


class TwoTower(Growing, Explaining, Weighing, kind="two_tower"):
    """Retrieve items for users with a tower a side that meet in a dot product.

    Each side is an embedding of the id and of every feature (and, of a user, of the history and the context), summed (or
    joined and passed through cross and hidden layers) and normalized; the score is their product over a temperature plus a
    learned bias of the item. Trained by softmax over the batch's own items and some drawn ones, corrected for how often each
    is there.

    Parameters
    ----------
    user_col, item_col : str
        Columns of the ids.
    rating_col : str, optional
        Column of ratings. Alone it is only checked; with `min_rating` it tells which rows are positives.
    min_rating : float, optional
        Rows rated below it count as seen, but are not trained on.
    weight_col : str, optional
        Column of example weights, at least 0; rows of weight 0 count as seen, but are not trained on.
    time_col : str, optional
        Column of times: the order of histories. Without it histories are in the order of the table, and training leaves out
        of one only what the row itself is asked for.
    user_features, item_features : list of column names or column kinds, optional
        Which columns of `users` and `items` to use, and as what: `["gender", Numeric("age")]`. None infers all of them from
        their dtypes; an empty list uses none. `Id(user_col, min_count=, dropout=)` says how ids are used; of the users,
        `History()` adds what they had before (see Notes).
    context_features : list of column names or column kinds, optional
        Columns of the interactions that belong to the moment and enter on the side of the user, such as
        `[Timestamp("timestamp", parts=("hour",))]`. At `recommend` they are taken from the frame of users, at `predict` from that
        of pairs, where it has them; otherwise a Timestamp is now and everything else is missing.
    dim : int, at least 1
        Width of the vectors.
    hidden : tuple of int
        Widths of hidden layers of both towers; none by default.
    activation : {"relu", "gelu"}
    layer_norm : bool
        Normalize each hidden layer before its activation.
    dropout : float in [0, 1)
        Share of each hidden layer (of the joined vector, without hidden layers) that training drops.
    residual : bool
        Add to a hidden layer of the same width as the one before it what went into it.
    cross_layers : int, at least 0
        Cross layers of DCN-v2 over the joined vector x: each is x * (W y + b) + y of the one before it, y.
    cross_rank : int, optional
        Rank of W as a product of two matrices; None is a whole one.
    cross : {"stacked", "parallel"}
        Whether hidden layers come behind the cross layers or beside them.
    similarity : {"cosine", "dot"}
        Whether the towers' vectors are brought to length 1.
    item_bias : bool
        Learn a number an item that is added to its scores: its popularity, which cosine cannot express.
    temperature : float above 0, optional
        What products are divided by. None takes 1 / (1.35 ln(items / mean positives a user)), kept in [0.1, 0.3] (1 with
        similarity "dot").
    epochs : int, optional
        None takes 15 below 200,000 positives, 20 below 5 million, else 10.
    batch_size : int, optional
        Positives a step. None takes 4096 from 200,000 positives on and 1024 below (fewer for very small data).
    group_size : int, optional
        At most so many positives of one user share a row of the batch; 1 is the plain batch of pairs. None takes 16, and 1
        with context features or a history by "gru" or "transformer", where nothing else is possible.
    negatives : int, optional
        Items drawn for each batch beside its own. None takes half the catalogue, at most 2048.
    popular_negatives : float in [0, 1]
        Share of them drawn by popularity instead of uniformly.
    logq : float in [0, 1]
        Strength of the correction for how often an item is in a batch.
    user_balance : float in [0, 1]
        A positive of a user with n of them weighs n ** -user_balance; where a history goes by sessions, n is of the session.
    optimizer : {"adam", "lazy_adam", "adagrad", "rowwise_adagrad", "sgd"}
        "adam" moves every row at every step, as the paper has it, at the cost of the rows that are touched; "lazy_adam"
        moves those only.
    learning_rate : float above 0, optional
        Of the first step after the warm-up. None takes 0.01 for batches from 4096 on, else 0.003.
    schedule : {"linear", "cosine", "constant"}
        How it falls, to 2 % at the last step.
    warmup : float in [0, 1)
        Share of the steps over which it rises first.
    weight_decay : float, at least 0
        AdamW's.
    eval_metric : str
        Metric of the validation, such as "ndcg@10".
    patience : int, optional
        Stop when the validation has not risen for so many epochs; None never stops. The best epoch's model is kept.
    random_state : int or None
        Seed; None draws one, which `random_state_` then holds.
    n_jobs : int
        Threads; -1 is every CPU this process may use. Results do not depend on it.
    verbose : {0, 1, 2}
        Nothing; a progress bar, or a line an epoch where nobody watches; always lines.

    Attributes
    ----------
    user_ids_, item_ids_ : Series
        The known users and items in the order of the model's rows.
    history_ : DataFrame
        The (user, item) pairs that were seen.
    schema_ : Schema
        What became of each column, its width and memory; prints as a table.
    learning_curve_ : DataFrame
        One row an epoch: epoch, loss and, with an `eval_set`, the metric.
    best_epoch_ : int
        The epoch whose parameters were kept.
    temperature_, epochs_, batch_size_, group_size_, negatives_, learning_rate_, random_state_
        What was used where an option was None.

    Notes
    -----
    Loss, correction and the arrangement of batches by user: Covington et al. 2016; Yi et al. 2019, "Sampling-bias-corrected
    neural modeling for large corpus item recommendations"; the probability of a *distinct* candidate takes the place of
    the expected count. Cross layers: Wang et al. 2021, "DCN V2". The same seed gives the same bytes for any number of
    threads. Cost of an epoch: 6 x rows x candidates x dim flops a batch; memory: parameters and twice as much for Adam, which
    stays with the model for `partial_fit` but not in its file.

    Widths: without hidden and cross layers every input has `dim` columns. With them, ids and histories have `dim`, numbers 8,
    given vectors their own length and categories 1.6 n ** 0.56 for n values, each at most `dim`, or what the column says;
    features of items have `dim` where a history reads them too.

    Ids: one that has no positive in training (fewer than `Id(min_count=)`) shares a vector with everyone unknown. Where a
    side has features or a history, a tenth of its ids is taken for unknown in each batch (`Id(dropout=)`, 1 uses no ids at
    all), so that features learn to stand alone and people and items that were never seen can be placed.

    Histories: the newest `max_length` positives of a known user, from `fit` and `partial_fit`; or the lists of item ids in
    the column of that name, where `users` of `fit` has it. In training a row never sees what it is asked for: with `time_col`
    it sees what came before its session (a session ends with a pause of `History(session_gap=12)` hours; in the first one
    it sees the session's other positives), with "gru" and "transformer" what stands before it, otherwise the user's other
    positives. A
    frame of users at `recommend` may bring lists of its own: they go before what the model has, their items are not
    recommended, their items weigh the same, and a missing list leaves what the model has. Items that the model does not know
    are dropped with a warning.

    Examples
    --------
    >>> import twotower as tt
    >>> data = tt.datasets.synthetic(num_users=200, num_items=80, num_interactions=4000)
    >>> model = tt.TwoTower(epochs=2, random_state=0, verbose=0).fit(data.ratings)
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
        time_col: str | None = None,
        user_features: Sequence[Any] | None = None,
        item_features: Sequence[Any] | None = None,
        context_features: Sequence[Any] | None = None,
        dim: int = 64,
        hidden: Sequence[int] = (),
        activation: str = "relu",
        layer_norm: bool = False,
        dropout: float = 0.0,
        residual: bool = False,
        cross_layers: int = 0,
        cross_rank: int | None = None,
        cross: str = "stacked",
        similarity: str = "cosine",
        item_bias: bool = True,
        temperature: float | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        group_size: int | None = None,
        negatives: int | None = None,
        popular_negatives: float = 0.0,
        logq: float = 1.0,
        user_balance: float = 0.0,
        optimizer: str = "adam",
        learning_rate: float | None = None,
        schedule: str = "linear",
        warmup: float = 0.0,
        weight_decay: float = 0.0,
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
        self.user_features = user_features
        self.item_features = item_features
        self.context_features = context_features
        self.dim = dim
        self.hidden = hidden
        self.activation = activation
        self.layer_norm = layer_norm
        self.dropout = dropout
        self.residual = residual
        self.cross_layers = cross_layers
        self.cross_rank = cross_rank
        self.cross = cross
        self.similarity = similarity
        self.item_bias = item_bias
        self.temperature = temperature
        self.epochs = epochs
        self.batch_size = batch_size
        self.group_size = group_size
        self.negatives = negatives
        self.popular_negatives = popular_negatives
        self.logq = logq
        self.user_balance = user_balance
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.eval_metric = eval_metric
        self.patience = patience
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @named_options
    def fit(self, interactions: Any, users: Any = None, items: Any = None, *, eval_set: Any = None) -> TwoTower:
        """Learn from interactions.

        Parameters
        ----------
        interactions : DataFrame
            pandas, polars or pyarrow; one row an interaction, in any order (that of time for histories without `time_col`).
        users, items : DataFrame, optional
            One row a user or an item, with the id column and features; every id of the interactions must be there, further
            ones become known too. Without a table a side has its ids alone.
        eval_set : DataFrame, optional
            Interactions to validate on after each epoch: `eval_metric` over its users, seen items left out. Rows of users that
            the model does not know are left out. The context is that of a user's first row.

        Returns
        -------
        self

        Raises
        ------
        SchemaError, DataError
            A table lacks a column, has it twice or with a dtype that does not fit; has no rows, missing ids, repeated ids,
            ids without a row; ratings or weights that are not finite; nothing to learn from.
        NumericalError
            The loss is no finite number; the message says at which step and what to try. The model is as it was before.
        ValueError, TypeError
            An option is out of range or of the wrong kind.

        Notes
        -----
        Ctrl-C ends the training, keeps what was learned (of the best epoch with an `eval_set`) and raises
        KeyboardInterrupt; the model is fitted then.
        """
        check_options(self)
        history = history_of(self.user_features)
        reading = read(self, interactions, users, items, history=history)
        pairs, lists = reading.pairs, reading.lists
        check_learnable(pairs)
        sides = read_sides(self, reading)
        past = read_histories(reading, sides.history)
        chosen = choose(self, lists, sides)
        fitted = Fitted.build(architecture(self, chosen), sides)
        seen = (lists.seen_offsets, lists.seen_items)
        exam = (
            None
            if eval_set is None
            else read_exam(
                self,
                self.eval_metric,
                frames.table(eval_set, "fit: eval_set"),
                pairs.users,
                pairs.items,
                sides,
                seen,
                "fit: eval_set",
            )
        )
        contexts = None if sides.contexts is None else sides.contexts.feature_table()
        lesson = Lesson(
            lists,
            fitted.user_data(contexts=contexts),
            fitted.item_data(),
            past.mode,
            1 if sides.history is None else sides.history.max_length,
            past.lists,
            first_session_weight=1.0 if sides.history is None else sides.history.first_session,
        )
        outcome = teach(self, fitted, lesson, chosen, exam, past.stored, lists.item_counts, "fit")
        fitted.model.set_parameters(outcome.parameters)
        fitted = fitted.with_sides(sides.without_training_rows())
        item_vectors = fitted.item_vectors(self._num_threads("fit"))

        # Nothing can fail from here on: a fit that fails leaves the model as it was.
        for name, value in chosen.items():
            setattr(self, f"{name}_", value)
        self._set_learned(fitted, outcome, past.stored, given=past.lists is not None)
        self._user_counts = lists.user_counts
        self._remember(**reading.remembered)
        self._cache["fitted"] = fitted
        self._item_vectors_ = item_vectors
        if outcome.interrupted:
            raise KeyboardInterrupt
        return self

    # --- hooks --------------------------------------------------------------------------------------------------------

    def _user_vectors(self, asked: Asked, *, num_threads: int) -> np.ndarray:
        given = asked.given if isinstance(asked.given, UsersGiven) else None
        return self._fitted().user_vectors(asked.rows, num_threads, given=given, stored=self._histories)

    @property
    def _similarity_width(self) -> int:
        return int(self._architecture.dim)

    # --- features -----------------------------------------------------------------------------------------------------

    def _measure(self, test: frames.Frame, where: str) -> Exam:
        ids, what = (self._users, self._items), f"{where}: test"
        return read_exam(self, self.eval_metric, test, *ids, self._sides, self._seen, what, self._available)

    def _first_crosses(self) -> list[tuple[list[Entry], np.ndarray]]:
        if not self._architecture.cross_layers:
            if "cross_layers" not in self._defaults():
                return super()._first_crosses()
            raise ValueError(
                "feature_importance: method is 'cross', but this TwoTower has cross_layers=0; fit it with cross_layers=1, or use "
                'method="permutation"'
            )
        sides = (self._sides.users, self._sides.items)
        layouts = [self._architecture.inputs.layout(side, self._sides) for side in sides]
        matrices = self._architecture.first_crosses(self._parameters["arena"], self._sides)
        return list(zip(layouts, matrices, strict=True))

    # --- one file -----------------------------------------------------------------------------------------------------

    def _state(self) -> State:
        meta, arrays = self._learned_state()
        meta["architecture"] = asdict(self._architecture)
        meta["chosen"] = {name: getattr(self, f"{name}_") for name in _CHOSEN}
        return meta, arrays | {"user_counts": self._user_counts}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        if "sides" not in meta:
            raise ValueError("it was written before this version's towers; fit the model again")
        self._architecture = Architecture(**(meta["architecture"] | {"hidden": tuple(meta["architecture"]["hidden"])}))
        self._restore_learned(meta, arrays)
        self._user_counts = arrays["user_counts"]
        self._optimizer_state = None
        for name in _CHOSEN:
            setattr(self, f"{name}_", meta["chosen"][name])
        self._item_vectors_ = self._fitted().item_vectors(self._num_threads("load"))
