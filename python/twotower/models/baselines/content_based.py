"""Items like those a user liked, by what the table of items says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twotower.errors import SchemaError
from twotower.models._options import NotOffered, named_options
from twotower.models._reading import read
from twotower.models.baselines._profiles import ProfileRecommender, Profiles
from twotower.models.baselines._sparse import Sparse, positives
from twotower.models.baselines._words import item_words
from twotower.schema import Categories, Category, Column, Text

if TYPE_CHECKING:
    from typing_extensions import Self


class ContentBased(ProfileRecommender, kind="content"):
    """Rank items by how much their words, genres, tags and categories are like those of what a user liked.

    Parameters
    ----------
    user_col, item_col : str
        Columns of the interactions that hold the ids.
    features : list of str, Text, Categories or Category, optional
        Columns of the table of items. None takes every column of words, lists of values or categories.
    rating_col : str, optional
        Column of ratings: a positive weighs as much as its rating.
    min_rating : float, optional
        Rows rated below are no positives; they are seen all the same.
    weight_col : str, optional
        Column of weights, at least 0, of positives; without it every row counts 1.
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
    An item is a vector of its words and values by TF-IDF (number times ln((1 + n) / (1 + items with it)) + 1), every column
    brought to length 1. A user is the weighted mean of the items liked. The score is the cosine: 0 for an item that has
    nothing in common with them, and for all where a user liked nothing. Salton, Buckley 1988; Lops et al. 2011.
    Numbers, times and vectors of the table are not looked at.


    Examples
    --------
    >>> import pandas as pd, twotower as tt
    >>> films = pd.DataFrame({"item_id": [1, 2, 3], "genres": [["war", "sea"], ["sea"], ["love"]]})
    >>> seen = pd.DataFrame({"user_id": [7, 8], "item_id": [1, 3]})
    >>> tt.ContentBased(features=["genres"], n_jobs=1).fit(seen, items=films).recommend([7], k=1).item_id.tolist()
    [2]
    """

    feature_importance = NotOffered(
        "adds its columns up as they are; fit it again without one, features=[...], and compare with tt.evaluate"
    )

    @named_options
    def __init__(
        self,
        *,
        user_col: str = "user_id",
        item_col: str = "item_id",
        features: Sequence[str | Column] | None = None,
        rating_col: str | None = None,
        min_rating: float | None = None,
        weight_col: str | None = None,
        n_jobs: int = -1,
        verbose: int = 1,
    ) -> None:
        self.user_col = user_col
        self.item_col = item_col
        self.features = features
        self.rating_col = rating_col
        self.min_rating = min_rating
        self.weight_col = weight_col
        self.n_jobs = n_jobs
        self.verbose = verbose

    @named_options
    def fit(self, interactions: Any, users: Any = None, items: Any = None, *, eval_set: Any = None) -> Self:
        """Count words.

        Parameters
        ----------
        interactions : DataFrame
            pandas, polars or pyarrow; one row an interaction, in any order.
        users : DataFrame, optional
            With the user column, a row each; what it has beyond the interactions becomes known.
        items : DataFrame
            With the item column and the features, a row each; items beyond the interactions become known.
        eval_set : DataFrame, optional
            Not used; here so that models can be exchanged.

        Returns
        -------
        self

        Raises
        ------
        SchemaError
            There is no table of items, or no column of it can be used.
        SchemaError, DataError
            A column is missing or comes twice; there is no row; an id is missing, or not in the table of its side; a
            weight or a rating is not a finite number, or a weight is negative.
        ValueError, TypeError
            An option is out of range or of the wrong kind.
        """
        self._check_columns("fit")
        features = _check_features(self.features)
        if items is None:
            raise SchemaError(
                "fit: items is None, but ContentBased needs the table of items, whose words it compares; pass items=, or "
                "use ItemKNN, which needs none"
            )
        reading = read(self, interactions, users, items)
        assert reading.items is not None
        words = item_words(reading.items, self.item_col, features, num_threads=self._num_threads("fit"))
        liked = positives(reading.pairs, reading.pairs.ratings)
        users_words = liked.times(words, num_threads=self._num_threads("fit")).unit_rows()
        self._profiles = Profiles(Sparse.of(users_words), Sparse.of(words.transposed()))
        self._remember(**reading.remembered)
        return self


def _check_features(features: Any) -> Sequence[str | Column] | None:
    if features is None:
        return None
    if isinstance(features, str) or not isinstance(features, Sequence) or not features:
        raise TypeError(
            f"fit: features is {features!r}, but must be a list of at least one column of items, or None for all"
        )
    for column in features:
        if not isinstance(column, (str, Text, Categories, Category)):
            raise TypeError(
                f"fit: features has {column!r}, but ContentBased takes names of columns, Text, Categories and Category"
            )
    return features
