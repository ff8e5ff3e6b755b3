"""The two-tower model: a tower a side, a dot product between them, in-batch softmax."""

from __future__ import annotations

import math
import secrets
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from twotower import schema
from twotower._core import core
from twotower.errors import DataError
from twotower.evaluation._metrics import PER_USER, parse
from twotower.interactions import Encoded as Pairs
from twotower.interactions import check_learnable, encode_interactions
from twotower.models._dot_product import DotProductRecommender
from twotower.models._estimator import State
from twotower.models._options import (
    check_choice,
    check_count,
    check_flag,
    check_number,
    named_options,
)
from twotower.models._progress import Progress
from twotower.models._reading import column_options, read
from twotower.models._towers import Architecture, Side
from twotower.models._training import Outcome, Validation, train
from twotower.persistence import prefix, unprefix

_OPTIMIZERS = ("adam", "lazy_adam", "adagrad", "rowwise_adagrad", "sgd")
_SCHEDULES = ("linear", "cosine", "constant")
_FINAL_SHARE = 0.02  # of the peak learning rate, at the last step
_CHOSEN = ("temperature", "epochs", "batch_size", "negatives", "learning_rate", "random_state")


class TwoTower(DotProductRecommender, kind="two_tower"):
    """Retrieve items for users with a tower a side that meet in a dot product.

    Each side is an embedding of the id and of every feature, summed (or joined and passed through hidden layers) and
    normalized; the score is their product over a temperature plus a learned bias of the item. Trained by softmax over the
    batch's own items and some drawn ones, corrected for how often each is there.

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
        Column of times; checked and left for later use.
    user_features, item_features : list of column names or column kinds, optional
        Which columns of `users` and `items` to use, and as what: `["gender", Numeric("age")]`. None infers all of them from
        their dtypes; an empty list uses none.
    dim : int, at least 1
        Width of the vectors.
    hidden : tuple of int
        Widths of hidden layers of both towers; none by default.
    activation : {"relu", "gelu"}
    layer_norm : bool
        Normalize each hidden layer before its activation.
    dropout : float in [0, 1)
        Share of each hidden layer (of the joined vector, without hidden layers) that training drops.
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
    group_size : int, at least 1
        At most so many positives of one user share a row of the batch; 1 is the plain batch of pairs.
    negatives : int, optional
        Items drawn for each batch beside its own. None takes half the catalogue, at most 2048.
    popular_negatives : float in [0, 1]
        Share of them drawn by popularity instead of uniformly.
    logq : float in [0, 1]
        Strength of the correction for how often an item is in a batch.
    user_balance : float in [0, 1]
        A positive of a user with n of them weighs n ** -user_balance.
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
        What became of each column of `users` and `items`; prints as a table.
    learning_curve_ : DataFrame
        One row an epoch: epoch, loss and, with an `eval_set`, the metric.
    best_epoch_ : int
        The epoch whose parameters were kept.
    temperature_, epochs_, batch_size_, negatives_, learning_rate_, random_state_
        What was used where an option was None.

    Notes
    -----
    Loss, correction and the arrangement of batches by user: Covington et al. 2016; Yi et al. 2019, "Sampling-bias-corrected
    neural modeling for large corpus item recommendations"; the probability of a *distinct* candidate takes the place of
    the expected count. The same seed gives the same bytes for any number of threads. Cost of an epoch: 6 x rows x
    candidates x dim flops a batch; memory: parameters and twice as much for Adam.

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
        dim: int = 64,
        hidden: Sequence[int] = (),
        activation: str = "relu",
        layer_norm: bool = False,
        dropout: float = 0.0,
        similarity: str = "cosine",
        item_bias: bool = True,
        temperature: float | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        group_size: int = 16,
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
        self.dim = dim
        self.hidden = hidden
        self.activation = activation
        self.layer_norm = layer_norm
        self.dropout = dropout
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
            pandas, polars or pyarrow; one row an interaction, in any order.
        users, items : DataFrame, optional
            One row a user or an item, with the id column and features; every id of the interactions must be there, further
            ones become known too. Without a table a side has its ids alone.
        eval_set : DataFrame, optional
            Interactions to validate on after each epoch: `eval_metric` over its users, seen items left out. Rows of users that
            the model does not know are left out.

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
        self._check_options()
        reading = read(self, interactions, users, items)
        pairs, lists = reading.pairs, reading.lists
        check_learnable(pairs)
        chosen = self._choose(lists)
        fitted = _Fitted.build(
            self._architecture(chosen),
            Side.read("user", users, self.user_features, self.user_col, pairs.users),
            Side.read("item", items, self.item_features, self.item_col, pairs.items),
        )
        validation = None if eval_set is None else self._read_validation(eval_set, pairs, lists)
        outcome = self._train(fitted, lists, chosen, validation)
        fitted.model.set_parameters(outcome.parameters)
        item_vectors = fitted.item_vectors(self._num_threads("fit"))

        # Nothing can fail from here on: a fit that fails leaves the model as it was.
        for name, value in chosen.items():
            setattr(self, f"{name}_", value)
        self.best_epoch_ = outcome.best_epoch
        self._curve = outcome.curve
        self._parts = fitted.parts
        self._parameters = outcome.parameters
        self._remember(**reading.remembered)
        self._cache["fitted"] = fitted
        self._item_vectors_ = item_vectors
        if outcome.interrupted:
            raise KeyboardInterrupt
        return self

    # --- steps of fit -------------------------------------------------------------------------------------------------

    def _check_options(self) -> None:
        self._check_columns("fit")
        for option in ("dim", "group_size"):
            check_count("fit", option, getattr(self, option))
        for option in ("epochs", "batch_size", "patience"):
            if getattr(self, option) is not None:
                check_count("fit", option, getattr(self, option))
        for option in ("negatives", "random_state"):
            if getattr(self, option) is not None:
                check_count("fit", option, getattr(self, option), minimum=0)
        if isinstance(self.hidden, (str, bytes)) or not isinstance(self.hidden, Sequence):
            raise TypeError(f"fit: hidden is {self.hidden!r}, but must be a tuple of widths, such as (128,), or ()")
        for number, width in enumerate(self.hidden):
            check_count("fit", f"hidden[{number}]", width)
        check_choice("fit", "activation", self.activation, ("relu", "gelu"))
        check_choice("fit", "similarity", self.similarity, ("cosine", "dot"))
        check_choice("fit", "optimizer", self.optimizer, _OPTIMIZERS)
        check_choice("fit", "schedule", self.schedule, _SCHEDULES)
        for option in ("layer_norm", "item_bias"):
            check_flag("fit", option, getattr(self, option))
        check_number("fit", "dropout", self.dropout, minimum=0, maximum=0.99)
        check_number("fit", "warmup", self.warmup, minimum=0, maximum=0.99)
        check_number("fit", "weight_decay", self.weight_decay, minimum=0)
        for option in ("popular_negatives", "logq", "user_balance"):
            check_number("fit", option, getattr(self, option), minimum=0, maximum=1)
        for option in ("temperature", "learning_rate"):
            if getattr(self, option) is not None:
                check_number("fit", option, getattr(self, option), above=0)
        check_count("fit", "verbose", self.verbose, minimum=0)
        metric = parse(self.eval_metric)[0]
        if metric.name not in PER_USER:
            raise ValueError(
                f"fit: eval_metric is {self.eval_metric!r}, but must be a metric of single users, such as 'ndcg@10'"
            )

    def _choose(self, lists: core.Interactions) -> dict[str, Any]:
        """Settle the options that are None from the size of the data.

        Rules of thumb from runs on ml-100k, Movielens1M_m1 and Gowalla; that of the temperature is a curve through the
        best values found there, so a validation over {0.1, 0.15, 0.2, 0.3} can do better.
        """
        positives, items = lists.num_positives, lists.num_items
        active_users = int(np.count_nonzero(lists.user_counts))
        batch = self.batch_size or _usual_batch(positives)
        sharpness = 1.35 * math.log(max(items * active_users / positives, 1.0))
        temperature = 1.0 if self.similarity == "dot" else min(max(1 / max(sharpness, 1e-9), 0.1), 0.3)
        return {
            "temperature": float(self.temperature or temperature),
            "epochs": self.epochs or (15 if positives < 200_000 else 20 if positives < 5_000_000 else 10),
            "batch_size": batch,
            "negatives": min(2048, items // 2) if self.negatives is None else self.negatives,
            "learning_rate": float(self.learning_rate or (0.01 if batch >= 4096 else 0.003)),
            "random_state": secrets.randbits(48) if self.random_state is None else int(self.random_state),
        }

    def _architecture(self, chosen: Mapping[str, Any]) -> Architecture:
        return Architecture(
            dim=self.dim,
            hidden=tuple(self.hidden),
            activation=self.activation,
            layer_norm=self.layer_norm,
            dropout=self.dropout,
            normalize=self.similarity == "cosine",
            item_bias=self.item_bias,
            temperature=chosen["temperature"],
            seed=chosen["random_state"],
        )

    def _read_validation(self, eval_set: Any, pairs: Pairs, lists: core.Interactions) -> Validation:
        held_out = encode_interactions(
            eval_set,
            **column_options(self),
            users=pairs.users,
            items=pairs.items,
            on_unknown="mark",
            what="fit: eval_set",
        )
        counted = held_out.user_rows >= 0
        if held_out.weights is not None:
            counted &= held_out.weights > 0
        metric = parse(self.eval_metric)[0]
        validation = Validation.read(
            held_out.user_rows[counted],
            held_out.item_rows[counted],
            sizes=(pairs.users.size, pairs.items.size),
            metric=PER_USER[metric.name],
            label=metric.label,
            cutoff=metric.cutoff,
            seen=(lists.seen_offsets, lists.seen_items),
        )
        if not len(validation.users):
            raise DataError(
                "fit: eval_set has no relevant row of a user that is in the interactions; split so that users are in both parts"
            )
        return validation

    def _train(
        self, fitted: _Fitted, lists: core.Interactions, chosen: Mapping[str, Any], validation: Validation | None
    ) -> Outcome:
        num_threads = self._num_threads("fit")
        trainer = core.Trainer(
            fitted.model,
            fitted.users,
            fitted.items,
            lists,
            batch_size=chosen["batch_size"],
            group_size=self.group_size,
            logq_strength=self.logq,
            user_balance=self.user_balance,
            negatives=chosen["negatives"],
            popularity_share=self.popular_negatives,
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            learning_rate=chosen["learning_rate"],
            warmup_share=self.warmup,
            final_share=_FINAL_SHARE,
            epochs=chosen["epochs"],
            seed=chosen["random_state"],
        )

        def score() -> float:
            assert validation is not None
            return validation.score(
                lambda rows: fitted.user_vectors(rows, num_threads), fitted.item_vectors(num_threads), num_threads
            )

        popular = (
            None
            if validation is None
            else validation.score(_ones, lists.item_counts.astype(np.float32)[:, None], num_threads)
        )
        with Progress(
            "TwoTower", total_steps=trainer.total_steps, total_epochs=chosen["epochs"], verbose=self.verbose
        ) as progress:
            progress.say(fitted.describe(lists, validation, popular))
            outcome = train(
                trainer,
                fitted.model,
                validation=validation,
                score=score,
                patience=self.patience,
                progress=progress,
                num_threads=num_threads,
            )
        if validation is not None and popular is not None and not outcome.interrupted:
            best = max(outcome.curve[validation.label])
            if best < popular:
                warnings.warn(
                    f"fit: the best {validation.label} on eval_set is {best:.4f}, below {popular:.4f} of the popularity list; try more "
                    "epochs, another temperature, or fewer features, or use Popularity",
                    stacklevel=4,
                )
        return outcome

    # --- what was learned ---------------------------------------------------------------------------------------------

    @property
    def schema_(self) -> schema.Schema:
        """What became of each column of `users` and `items`; prints as a table."""
        self._check_fitted("schema_")
        return schema.Schema(tuple(field for side in self._parts[1:] for field in side.fields))

    @property
    def learning_curve_(self) -> Any:
        """One row an epoch: `epoch`, the mean `loss`, and the validation metric where there was an `eval_set`."""
        self._check_fitted("learning_curve_")
        columns = {
            name: np.array(values, dtype=np.int64 if name == "epoch" else np.float64)
            for name, values in self._curve.items()
        }
        return self._build(columns)

    def _fitted(self) -> _Fitted:
        """The core's objects, made again where a copy or a file left them out."""
        if "fitted" not in self._cache:
            fitted = _Fitted.build(*self._parts)
            fitted.model.set_parameters(self._parameters)
            self._cache["fitted"] = fitted
        fitted_again: _Fitted = self._cache["fitted"]
        return fitted_again

    def _user_vectors(self, user_rows: np.ndarray, *, num_threads: int) -> np.ndarray:
        return self._fitted().user_vectors(user_rows, num_threads)

    @property
    def _similarity_width(self) -> int:
        return self._parts[0].dim

    # --- one file -----------------------------------------------------------------------------------------------------

    def _state(self) -> State:
        architecture, users, items = self._parts
        meta: dict[str, Any] = {
            "architecture": asdict(architecture),
            "chosen": {name: getattr(self, f"{name}_") for name in _CHOSEN},
            "best_epoch": self.best_epoch_,
            "curve": self._curve,
        }
        arrays = prefix("parameters", self._parameters)
        for side in (users, items):
            meta[side.name], side_arrays = side.state()
            arrays |= prefix(side.name, side_arrays)
        return meta, arrays

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        architecture = Architecture(**(meta["architecture"] | {"hidden": tuple(meta["architecture"]["hidden"])}))
        users = Side.from_state("user", meta["user"], unprefix("user", arrays))
        items = Side.from_state("item", meta["item"], unprefix("item", arrays))
        self._parts = (architecture, users, items)
        self._parameters = unprefix("parameters", arrays)
        for name in _CHOSEN:
            setattr(self, f"{name}_", meta["chosen"][name])
        self.best_epoch_, self._curve = meta["best_epoch"], meta["curve"]
        self._item_vectors_ = self._fitted().item_vectors(self._num_threads("load"))


def _usual_batch(positives: int) -> int:
    if positives >= 200_000:
        return 4096
    if positives >= 16_384:
        return 1024
    # Very small data would be a handful of steps at the usual batch.
    return int(max(32, 2 ** math.floor(math.log2(max(positives / 16, 32)))))


def _ones(rows: np.ndarray) -> np.ndarray:
    return np.ones((len(rows), 1), dtype=np.float32)


class _Fitted:
    """The core's objects of one model: towers with parameters, and the features of both sides."""

    def __init__(self, parts: _Parts, model: core.TwoTower, users: core.FeatureTable, items: core.FeatureTable) -> None:
        self.parts, self.model, self.users, self.items = parts, model, users, items

    @classmethod
    def build(cls, architecture: Architecture, users: Side, items: Side) -> _Fitted:
        return cls(
            (architecture, users, items), architecture.build(users, items), users.feature_table(), items.feature_table()
        )

    def user_vectors(self, rows: np.ndarray, num_threads: int) -> np.ndarray:
        return self.model.query_vectors(self.users, rows, num_threads)

    def item_vectors(self, num_threads: int) -> np.ndarray:
        return self.model.item_vectors(self.items, np.arange(self.items.rows, dtype=np.int32), num_threads)

    def describe(self, lists: core.Interactions, validation: Validation | None, popular: float | None) -> str:
        """One sentence before training starts: sizes, and what they cost."""
        numbers = sum(array.size for array in self.model.parameters().values())
        text = (
            f"TwoTower: {lists.num_users:,} users, {lists.num_items:,} items, {lists.num_positives:,} positives; "
            f"{numbers:,} parameters, about {max(numbers * 12 // 2**20, 1):,} MiB with Adam's state"
        )
        if validation is None or popular is None:
            return text
        return f"{text}; validating on {validation.sample_text}, popularity has {validation.label} {popular:.4f}"


_Parts = tuple[Architecture, Side, Side]
