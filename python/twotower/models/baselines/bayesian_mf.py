"""Bayesian matrix factorization of ratings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower._core import core
from twotower.models._asked import Asked
from twotower.models._dot_product import DotProductRecommender
from twotower.models._estimator import State
from twotower.models._options import check_count, named_options
from twotower.models.baselines._ratings import read_ratings
from twotower.models.baselines._seeds import drawn_seed

if TYPE_CHECKING:
    from typing_extensions import Self


class BayesianMF(DotProductRecommender, kind="bayesian mf"):
    """Predict ratings by the mean over many matrix factorizations, drawn from their posterior; nothing to tune.

    Parameters
    ----------
    user_col, item_col : str
        Columns of the interactions that hold the ids.
    rating_col : str
        Column of ratings.
    dim : int, at least 1
        Length of the vectors of one factorization.
    burn_in : int, at least 0
        Sweeps before the first factorization that counts.
    samples : int, at least 1
        Factorizations that are kept, one a sweep.
    random_state : int or None
        Seed; None draws one, which `random_state_` then holds.
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
    Gibbs sampling of Salakhutdinov, Mnih 2008: normal factors and noise, normal-Wishart priors, the precision of the noise
    drawn too. The prediction is the mean over the samples, which is one dot product: the vectors of a user and of an item
    are those of all samples side by side, divided by the root of their number, and a last value for the mean rating. So
    the model has 4 (samples dim + 1) bytes a user and an item. Cost of a sweep: 2 dim^2 multiplications a rating, and
    dim^3 / 3 a user and an item. Every row's draw has a random stream of its own: the same bytes for any `n_jobs`.


    Examples
    --------
    >>> import twotower as tt
    >>> data = tt.datasets.synthetic(num_users=200, num_items=80, num_interactions=4000)
    >>> model = tt.BayesianMF(dim=4, burn_in=2, samples=3, random_state=0).fit(data.ratings)
    >>> model.item_embeddings().shape
    (80, 13)
    """

    @named_options
    def __init__(
        self,
        *,
        user_col: str = "user_id",
        item_col: str = "item_id",
        rating_col: str = "rating",
        dim: int = 20,
        burn_in: int = 20,
        samples: int = 100,
        random_state: int | None = 0,
        n_jobs: int = -1,
        verbose: int = 1,
    ) -> None:
        self.user_col = user_col
        self.item_col = item_col
        self.rating_col = rating_col
        self.dim = dim
        self.burn_in = burn_in
        self.samples = samples
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @named_options
    def fit(self, interactions: Any, users: Any = None, items: Any = None, *, eval_set: Any = None) -> Self:
        """Draw the factorizations.

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
            rating is not a finite number; all ratings are equal.
        ValueError, TypeError
            An option is out of range or of the wrong kind.
        """
        self._check_columns("fit")
        dim = check_count("fit", "dim", self.dim)
        burn_in = check_count("fit", "burn_in", self.burn_in, minimum=0)
        samples = check_count("fit", "samples", self.samples)
        num_threads, seed = self._num_threads("fit"), drawn_seed("fit", self.random_state)
        reading, ratings = read_ratings(self, interactions, users, items)
        sampler = core.GibbsSampler(ratings, dim=dim, seed=seed)
        user_vectors, item_vectors = (
            np.empty((rows, samples * dim + 1), dtype=np.float32) for rows in (ratings.rows, ratings.num_columns)
        )
        for sweep in range(burn_in + samples):
            sampler.sweep(num_threads=num_threads)
            if sweep >= burn_in:
                place = slice((sweep - burn_in) * dim, (sweep - burn_in + 1) * dim)
                user_vectors[:, place] = sampler.users
                item_vectors[:, place] = sampler.items
        for vectors in (user_vectors, item_vectors):
            vectors /= np.float32(np.sqrt(samples))
        user_vectors[:, -1], item_vectors[:, -1] = 1, sampler.mean
        self._user_vectors_, self._item_vectors_, self.random_state_ = user_vectors, item_vectors, seed
        self._remember(**reading.remembered)
        return self

    @property
    def _similarity_width(self) -> int:
        return int(self._item_vectors_.shape[1]) - 1

    @property
    def _predicts(self) -> str:
        return self.rating_col

    def _user_vectors(self, asked: Asked, *, num_threads: int) -> np.ndarray:
        vectors: np.ndarray = self._user_vectors_[asked.rows]
        return vectors

    def _state(self) -> State:
        return {"seed": self.random_state_}, {"users": self._user_vectors_, "items": self._item_vectors_}

    def _restore(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.random_state_ = int(meta["seed"])
        self._user_vectors_, self._item_vectors_ = arrays["users"], arrays["items"]
