"""The linear model of items in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twotower._core import core
from twotower.errors import DataError
from twotower.models._options import check_count, check_number, named_options
from twotower.models._reading import read
from twotower.models.baselines._profiles import ProfileRecommender, Profiles
from twotower.models.baselines._sparse import Sparse, positives

if TYPE_CHECKING:
    from typing_extensions import Self


class EASE(ProfileRecommender, kind="ease"):
    """Rank items by a linear model that tells each item from all others, solved exactly; strong on small catalogues.

    Parameters
    ----------
    user_col, item_col : str
        Columns of the interactions that hold the ids.
    regularization : float, above 0
        Weight of the squared length of the model.
    max_items : int, at least 1
        A larger catalogue is refused: time grows with its cube, memory with its square.
    rating_col : str, optional
        Column of ratings; looked at only with `min_rating`.
    min_rating : float, optional
        Rows rated below are no positives; they are seen all the same.
    weight_col : str, optional
        Column of weights, at least 0; without it every row counts 1.
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

    Notes
    -----
    The score is the sum, over the user's positives, of their weight times what they say for the item: the matrix B of
    zero diagonal with the smallest |X - X B|^2 + regularization |B|^2 (Steck 2019, equation 8), in double. Cost of `fit`:
    items^3 multiplications and 12 items^2 bytes; the fitted model has 4 items^2 bytes.


    Examples
    --------
    >>> import pandas as pd, twotower as tt
    >>> met = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": ["a", "b", "a", "b", "a"]})
    >>> tt.EASE(regularization=1, n_jobs=1).fit(met).recommend([3], k=1)
       user_id item_id  score  rank
    0        3       b    0.5     1
    """

    @named_options
    def __init__(
        self,
        *,
        user_col: str = "user_id",
        item_col: str = "item_id",
        regularization: float = 500.0,
        max_items: int = 20_000,
        rating_col: str | None = None,
        min_rating: float | None = None,
        weight_col: str | None = None,
        n_jobs: int = -1,
        verbose: int = 1,
    ) -> None:
        self.user_col = user_col
        self.item_col = item_col
        self.regularization = regularization
        self.max_items = max_items
        self.rating_col = rating_col
        self.min_rating = min_rating
        self.weight_col = weight_col
        self.n_jobs = n_jobs
        self.verbose = verbose

    @named_options
    def fit(self, interactions: Any, users: Any = None, items: Any = None, *, eval_set: Any = None) -> Self:
        """Solve for the model.

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
        DataError
            There are more than `max_items` items.
        SchemaError, DataError
            A column is missing or comes twice; there is no row; an id is missing, or not in the table of its side; a
            weight or a rating is not a finite number, or a weight is negative.
        ValueError, TypeError
            An option is out of range or of the wrong kind.
        """
        self._check_columns("fit")
        regularization = check_number("fit", "regularization", self.regularization, above=0)
        max_items = check_count("fit", "max_items", self.max_items)
        reading = read(self, interactions, users, items)
        size = reading.pairs.items.size
        if size > max_items:
            raise DataError(
                f"fit: there are {size} items, but EASE takes at most max_items={max_items} (its model of these takes "
                f"{12 * size**2 / 2**30:.1f} GiB to fit); keep the items with the most interactions, raise max_items, "
                "or use ItemKNN or ImplicitALS"
            )
        met = positives(reading.pairs)
        weights = core.ease(met, regularization=regularization, num_threads=self._num_threads("fit"))
        self._profiles = Profiles(Sparse.of(met), weights)
        self._remember(**reading.remembered)
        return self
