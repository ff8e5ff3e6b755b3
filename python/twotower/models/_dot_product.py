"""Recommenders whose score is the dot product of a vector of the user and a vector of the item."""

from __future__ import annotations

from typing import Any

import numpy as np

from twotower._core import core
from twotower.item_lists import Filters
from twotower.models._asked import Asked, Given, pair_passes
from twotower.models._listing import Listing
from twotower.models._options import check_count, named_options
from twotower.models._recommend import USERS_A_PASS, Recommender, users_a_pass


class DotProductRecommender(Recommender):
    """Base of every model whose score is a dot product.

    What a subclass gives, beside `fit` that ends with `self._remember(...)`, and `_state` and `_restore`:

    - `self._item_vectors_`, float32 (items, width), C-contiguous: set in `fit` and in `_restore`;
    - `_user_vectors(asked, num_threads=...)`, float32 (n, width), C-contiguous: a user alone must give the bits that it
      gives in a batch;
    - where some columns are not of the likeness of two items or two users (a bias at the end): `_similarity_width`.

    Packed items are made on first use and kept until the next `fit`; `_append_item_vectors` and `_replace_item_vectors`
    change them in place.
    """

    _item_vectors_: np.ndarray

    def _user_vectors(self, asked: Asked, *, num_threads: int) -> np.ndarray:
        """Vectors of users.

        Parameters
        ----------
        asked : Asked (n)
            At most `USERS_A_PASS`; known ones, unless the model says that it serves others.

        Returns
        -------
        float32 (n, width)
            C-contiguous.
        """
        raise NotImplementedError

    @property
    def _similarity_width(self) -> int:
        """How many leading columns of the vectors enter the cosine of `similar_items` and `similar_users`."""
        return int(self._item_vectors_.shape[1])

    def _search(self, asked: Asked, num_threads: int) -> tuple[core.ItemIndex, np.ndarray]:
        """The index of all items, and the users' vectors, float32 (n, width), that `_top_k` searches it by."""
        index = self._packed("scores", self._item_vectors_, num_threads)
        return index, self._user_vectors(asked, num_threads=num_threads)

    @property
    def _gives_products(self) -> bool:
        """Whether `_top_k` gives what `_search` finds as it is, so that a pipeline may search by itself."""
        return True

    # --- hooks of Recommender -----------------------------------------------------------------------------------------

    def _top_k(
        self, asked: Asked, k: int, *, filter_seen: bool, filters: Filters, num_threads: int
    ) -> tuple[np.ndarray, np.ndarray]:
        index, vectors = self._search(asked, num_threads)
        arguments = self._filter_arguments(asked, filters, filter_seen=filter_seen)
        return index.top_k(vectors, k, num_threads=num_threads, **arguments)

    def _score_pairs(
        self, user_rows: np.ndarray, item_rows: np.ndarray, *, num_threads: int, moments: Given | None = None
    ) -> np.ndarray:
        scores = np.empty(len(user_rows), dtype=np.float32)
        for first, pairs, of_pair in pair_passes(user_rows, moments, USERS_A_PASS):
            given = None if moments is None else moments.take(first)
            asked = Asked.known(self._users, user_rows[first], given)
            vectors = self._user_vectors(asked, num_threads=num_threads)
            scores[pairs] = core.score_pairs(
                vectors, self._item_vectors_, of_pair, item_rows[pairs], num_threads=num_threads
            )
        return scores

    # --- vectors ------------------------------------------------------------------------------------------------------

    @named_options
    def user_embeddings(self, users: Any = None) -> np.ndarray:
        """Get the vectors of users.

        Parameters
        ----------
        users : one id, ids, a frame with the user column, or None
            In this order; None is everyone in `user_ids_`.

        Returns
        -------
        float32 (n, width)
            The dot product of a row with a row of `item_embeddings` is the score. A model with an item bias has it in
            the last columns.

        Raises
        ------
        NotFittedError, UnknownIdError
            Before `fit`; a user is unknown.
        """
        self._check_fitted("user_embeddings")
        rows = self._known_rows("user_embeddings", "users", users, "user")
        return self._all_user_vectors(rows, self._num_threads("user_embeddings"))

    @named_options
    def item_embeddings(self, items: Any = None) -> np.ndarray:
        """Get the vectors of items.

        Parameters
        ----------
        items : one id, ids, a frame with the item column, or None
            In this order; None is every item of `item_ids_`.

        Returns
        -------
        float32 (n, width)
            A copy.

        Raises
        ------
        NotFittedError, UnknownIdError
            Before `fit`; an item is unknown.
        """
        self._check_fitted("item_embeddings")
        vectors: np.ndarray = self._item_vectors_[self._known_rows("item_embeddings", "items", items, "item")]
        return vectors

    # --- neighbors ----------------------------------------------------------------------------------------------------

    @named_options
    def similar_items(self, ids: Any, k: int = 10) -> Any:
        """Find the items whose vectors point the same way.

        Parameters
        ----------
        ids : one id, ids, or a frame with the item column
            Whose neighbors; an item given twice is answered twice.
        k : int, at least 1
            Neighbors an item.

        Returns
        -------
        DataFrame of the kind that `fit` was given
            `item_col`, `similar_` + `item_col`, `score` float32 (cosine, falling; 0 where a vector is zero), `rank`
            int32 (from 1). The item itself is left out; a catalogue of k items or fewer gives fewer rows.

        Raises
        ------
        NotFittedError, UnknownIdError
            Before `fit`; an item is unknown.
        ValueError, TypeError
            `k` is below 1 or not an integer.
        """
        return self._similar("similar_items", ids, k, "item")

    @named_options
    def similar_users(self, ids: Any, k: int = 10) -> Any:
        """Find the users whose vectors point the same way.

        Parameters
        ----------
        ids : one id, ids, or a frame with the user column
            Whose neighbors; a user given twice is answered twice.
        k : int, at least 1
            Neighbors a user.

        Returns
        -------
        DataFrame of the kind that `fit` was given
            `user_col`, `similar_` + `user_col`, `score` float32 (cosine, falling), `rank` int32 (from 1). The user is
            left out.

        Raises
        ------
        NotFittedError, UnknownIdError
            Before `fit`; a user is unknown.
        ValueError, TypeError
            `k` is below 1 or not an integer.
        """
        return self._similar("similar_users", ids, k, "user")

    def _similar(self, where: str, ids: Any, k: int, side: str) -> Any:
        self._check_fitted(where)
        k = check_count(where, "k", k)
        num_threads = self._num_threads(where)
        asked = self._known_rows(where, "ids", ids, side)
        vocabulary, column = (self._items, self.item_col) if side == "item" else (self._users, self.user_col)
        directions = self._directions(side, num_threads)
        packed = self._packed(side, directions, num_threads)
        width = min(k, vocabulary.size)
        listing = Listing(
            (column, vocabulary.decode(asked)), (f"similar_{column}", vocabulary), width, self._frame_kind
        )
        for start in range(0, len(asked), users_a_pass(width)):
            part = asked[start : start + users_a_pass(width)]
            # What a query has "seen" is itself: leaving it out this way is exact, where dropping rank 1 is not under
            # ties.
            rows, scores = packed.top_k(
                directions[part],
                width,
                seen_of_query=np.arange(len(part), dtype=np.int32),
                seen_offsets=np.arange(len(part) + 1, dtype=np.int64),
                seen_items=part,
                allowed=self._available if side == "item" else None,
                num_threads=num_threads,
            )
            listing.add(start, rows, scores)
        return self._build(listing.columns())

    # --- kept until the next fit --------------------------------------------------------------------------------------

    def _all_user_vectors(self, user_rows: np.ndarray, num_threads: int, given: Given | None = None) -> np.ndarray:
        asked = Asked.known(self._users, user_rows, given)
        passes = [
            np.arange(start, min(start + USERS_A_PASS, len(asked))) for start in range(0, len(asked), USERS_A_PASS)
        ]
        parts = [self._user_vectors(asked.take(some), num_threads=num_threads) for some in passes or [np.arange(0)]]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _directions(self, side: str, num_threads: int) -> np.ndarray:
        """Vectors of length 1, float32 (n, _similarity_width); a zero vector stays zero."""
        name = f"{side} directions"
        if name not in self._cache:
            everyone = np.arange(self._users.size, dtype=np.int32)
            vectors = self._item_vectors_ if side == "item" else self._all_user_vectors(everyone, num_threads)
            self._cache[name] = _directions_of(vectors[:, : self._similarity_width])
        directions: np.ndarray = self._cache[name]
        return directions

    def _packed(self, use: str, vectors: np.ndarray, num_threads: int) -> Any:
        name = f"packed for {use}"
        if name not in self._cache:
            self._cache[name] = core.ItemIndex(vectors, num_threads=num_threads)
        return self._cache[name]

    # --- growth -------------------------------------------------------------------------------------------------------

    def _append_item_vectors(self, vectors: np.ndarray, num_threads: int) -> None:
        """Take the vectors, float32 (n, width), of further items; what is packed grows in place."""
        grown = np.concatenate([self._item_vectors_, vectors])
        self._change_packed(None, vectors, num_threads)
        self._item_vectors_ = grown

    def _replace_item_vectors(self, rows: np.ndarray, vectors: np.ndarray, num_threads: int) -> None:
        """Take other vectors, float32 (n, width), for the items of `rows`, int32 (n,), each there once."""
        changed = self._item_vectors_.copy()  # a shallow copy of the model may share the old ones
        changed[rows] = vectors
        self._change_packed(rows, vectors, num_threads)
        self._item_vectors_ = changed

    def _change_packed(self, rows: np.ndarray | None, vectors: np.ndarray, num_threads: int) -> None:
        for use in ("scores", "item"):
            changed = _directions_of(vectors[:, : self._similarity_width]) if use == "item" else vectors
            packed = self._cache.get(f"packed for {use}")
            if packed is not None and rows is None:
                packed.append(changed, num_threads=num_threads)
            elif packed is not None:
                packed.replace(rows, changed, num_threads=num_threads)
            if use == "item" and "item directions" in self._cache:
                directions = self._cache["item directions"]
                if rows is None:
                    self._cache["item directions"] = np.concatenate([directions, changed])
                else:
                    directions[rows] = changed

    def _forget_users(self) -> None:
        """Drop what was made of the users' vectors, where these changed."""
        for name in ("user directions", "packed for user"):
            self._cache.pop(name, None)


def _directions_of(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)
