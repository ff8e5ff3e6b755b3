"""Matrix factorization of implicit feedback by alternating least squares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower._core import core
from twotower.models._asked import Asked
from twotower.models._dot_product import DotProductRecommender
from twotower.models._estimator import State
from twotower.models._options import check_count, check_number, named_options
from twotower.models._reading import read
from twotower.models.baselines._seeds import drawn_seed
from twotower.models.baselines._sparse import positives

if TYPE_CHECKING:
    from typing_extensions import Self

# Length of the first vectors of items, on average (Rendle et al. 2021).
_DEVIATION = 0.1


class ImplicitALS(DotProductRecommender, kind="implicit als"):
    """Factorize who met what, every pair that did not meet counting a little: alternating least squares, each step exact.

    Parameters
    ----------
    user_col, item_col : str
        Columns of the interactions that hold the ids.
    dim : int, at least 1
        Length of the vectors.
    epochs : int, at least 1
        Times that all users and then all items are solved for.
    regularization : float, above 0
        Weight of the squared length of a vector.
    unobserved_weight : float, above 0
        What a pair that did not meet weighs, where a positive weighs 1 (or its `weight_col`).
    frequency_exponent : float, from 0 to 1
        The regularization of a row is multiplied by its frequency (the weights of its positives and of its unobserved
        pairs) to this power: 0 treats all rows alike, 1 keeps frequent ones short too.
    rating_col : str, optional
        Column of ratings; looked at only with `min_rating`.
    min_rating : float, optional
        Rows rated below are no positives; they are seen all the same.
    weight_col : str, optional
        Column of weights, at least 0; without it every row counts 1.
    random_state : int or None
        Seed of the first vectors of items; None draws one, which `random_state_` then holds.
    n_jobs : int
        Threads; -1 is every CPU this process may use. Results are the same bytes for any number.
    verbose : int
        Not used; here so that models can be exchanged.

    Attributes
    ----------
    user_ids_, item_ids_ : Series of the kind that `fit` was given
        The users and the items the model knows.
    history_ : DataFrame of the kind that `fit` was given
        The (user, item) pairs that were seen, each once.
    random_state_ : int
        The seed that was used.

    Notes
    -----
    Loss: weights of positives times (1 - u.v)^2, plus `unobserved_weight` times the sum of (u.v)^2 over all pairs, plus the
    regularization. Hu, Koren, Volinsky 2008, in the form of Rendle et al. 2021 (iALS). Every row's system is solved by
    Cholesky in float32, its constant part summed up in double. Cost of an epoch: 2 dim^2 multiplications a positive and
    dim^3 / 3 a row.


    Examples
    --------
    >>> import twotower as tt
    >>> data = tt.datasets.synthetic(num_users=200, num_items=80, num_interactions=4000)
    >>> model = tt.ImplicitALS(dim=16, random_state=0).fit(data.ratings)
    >>> model.user_embeddings([1]).shape
    (1, 16)
    """

    @named_options
    def __init__(
        self,
        *,
        user_col: str = "user_id",
        item_col: str = "item_id",
        dim: int = 64,
        epochs: int = 12,
        regularization: float = 0.01,
        unobserved_weight: float = 0.3,
        frequency_exponent: float = 1.0,
        rating_col: str | None = None,
        min_rating: float | None = None,
        weight_col: str | None = None,
        random_state: int | None = 0,
        n_jobs: int = -1,
        verbose: int = 1,
    ) -> None:
        self.user_col = user_col
        self.item_col = item_col
        self.dim = dim
        self.epochs = epochs
        self.regularization = regularization
        self.unobserved_weight = unobserved_weight
        self.frequency_exponent = frequency_exponent
        self.rating_col = rating_col
        self.min_rating = min_rating
        self.weight_col = weight_col
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @named_options
    def fit(self, interactions: Any, users: Any = None, items: Any = None, *, eval_set: Any = None) -> Self:
        """Find the vectors.

        Parameters
        ----------
        interactions : DataFrame
            pandas, polars or pyarrow; one row an interaction, in any order.
        users, items : DataFrame, optional
            Tables with the user or the item column, a row each: what they have beyond the interactions becomes known.
            Other columns of `items` are kept for `where` of `recommend`; those of `users` are not looked at.
        eval_set : DataFrame, optional
            Not used; here so that models can be exchanged.

        Returns
        -------
        self

        Raises
        ------
        SchemaError, DataError
            A column is missing or comes twice; there is no row; an id is missing, or not in the table of its side; a
            weight or a rating is not a finite number, or a weight is negative.
        ValueError, TypeError
            An option is out of range or of the wrong kind.
        NumericalError
            The regularization is too small for float32.
        """
        self._check_columns("fit")
        dim = check_count("fit", "dim", self.dim)
        options = {
            "regularization": check_number("fit", "regularization", self.regularization, above=0),
            "unobserved_weight": check_number("fit", "unobserved_weight", self.unobserved_weight, above=0),
            "frequency_exponent": check_number(
                "fit", "frequency_exponent", self.frequency_exponent, minimum=0, maximum=1
            ),
        }
        epochs = check_count("fit", "epochs", self.epochs)
        seed = drawn_seed("fit", self.random_state)
        reading = read(self, interactions, users, items)
        factors = core.ImplicitAls(positives(reading.pairs), dim=dim, **options, deviation=_DEVIATION, seed=seed)
        for _ in range(epochs):
            factors.sweep(num_threads=self._num_threads("fit"))
        self._user_vectors_, self._item_vectors_, self.random_state_ = factors.users, factors.items, seed
        self._remember(**reading.remembered)
        return self

    def _user_vectors(self, asked: Asked, *, num_threads: int) -> np.ndarray:
        vectors: np.ndarray = self._user_vectors_[asked.rows]
        return vectors

    def _state(self) -> State:
        return {"seed": self.random_state_}, {"users": self._user_vectors_, "items": self._item_vectors_}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.random_state_ = int(meta["seed"])
        self._user_vectors_, self._item_vectors_ = arrays["users"], arrays["items"]
