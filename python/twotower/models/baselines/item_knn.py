"""Neighbors of items by who met both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twotower._core import core
from twotower.models._options import check_choice, check_count, check_number, named_options
from twotower.models._reading import read
from twotower.models.baselines._profiles import ProfileRecommender, Profiles
from twotower.models.baselines._sparse import Sparse, positives

if TYPE_CHECKING:
    from typing_extensions import Self


class ItemKNN(ProfileRecommender, kind="item knn"):
    """Rank items by how alike they are to those a user has met: collaborative filtering by neighbors.

    Parameters
    ----------
    user_col, item_col : str
        Columns of the interactions that hold the ids.
    neighbors : int, at least 1
        How many of the items most like each item are kept.
    similarity : {"cosine", "jaccard", "tfidf"}
        How alike two items are: by the weights of the users who met them; by the share of users who met both among those
        who met either; as "cosine", users who met few items counting more.
    shrink : float, at least 0
        Added to the divisor: items that few users met are less alike.
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
    The score is the sum, over the user's positives, of their weight times the similarity of the item to them, where the
    item is among their neighbors; an item that is near none has score 0. Sarwar et al. 2001; Deshpande, Karypis 2004.
    Cost of `fit`: additions, the square of each user's positives; memory: 8 bytes a neighbor.


    Examples
    --------
    >>> import pandas as pd, twotower as tt
    >>> met = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": ["a", "b", "a", "b", "a"]})
    >>> tt.ItemKNN(n_jobs=1).fit(met).recommend([3], k=1)
       user_id item_id     score  rank
    0        3       b  0.816497     1
    """

    @named_options
    def __init__(
        self,
        *,
        user_col: str = "user_id",
        item_col: str = "item_id",
        neighbors: int = 100,
        similarity: str = "cosine",
        shrink: float = 0.0,
        rating_col: str | None = None,
        min_rating: float | None = None,
        weight_col: str | None = None,
        n_jobs: int = -1,
        verbose: int = 1,
    ) -> None:
        self.user_col = user_col
        self.item_col = item_col
        self.neighbors = neighbors
        self.similarity = similarity
        self.shrink = shrink
        self.rating_col = rating_col
        self.min_rating = min_rating
        self.weight_col = weight_col
        self.n_jobs = n_jobs
        self.verbose = verbose

    @named_options
    def fit(self, interactions: Any, users: Any = None, items: Any = None, *, eval_set: Any = None) -> Self:
        """Find the neighbors.

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
        """
        self._check_columns("fit")
        neighbors = check_count("fit", "neighbors", self.neighbors)
        similarity = check_choice("fit", "similarity", self.similarity, ("cosine", "jaccard", "tfidf"))
        shrink = check_number("fit", "shrink", self.shrink, minimum=0)
        reading = read(self, interactions, users, items)
        met = positives(reading.pairs)
        found = core.item_neighbors(
            met, neighbors=neighbors, likeness=similarity, shrink=shrink, num_threads=self._num_threads("fit")
        )
        self._profiles = Profiles(Sparse.of(met), Sparse.of(found))
        self._remember(**reading.remembered)
        return self
