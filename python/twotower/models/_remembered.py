"""What every recommender keeps of `fit`: ids and their rows, seen pairs, counts, the columns of the items, what was removed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower import frames
from twotower.errors import UnknownIdError, count_of, first_five
from twotower.ids import IdColumn, IdType, comparable
from twotower.item_lists import lists_of_pairs
from twotower.models._catalogue import Catalogue
from twotower.models._estimator import Estimator, State
from twotower.models._options import named_options
from twotower.persistence import prefix, unprefix
from twotower.vocabulary import Vocabulary

if TYPE_CHECKING:
    from typing_extensions import Self


class Remembering(Estimator):
    """Base of `Recommender`: the rows of users and items. Rows never shift: growth appends, removal masks.

    Attributes
    ----------
    user_ids_, item_ids_ : Series of the kind that `fit` was given
        The users and the items the model knows, in the order of its rows; removed items keep their places.
    history_ : DataFrame of the kind that `fit` was given
        The (user, item) pairs that were seen, each once; what `filter_seen` leaves out.
    """

    user_col: str
    item_col: str
    n_jobs: int
    verbose: int

    _users: Vocabulary
    _items: Vocabulary
    _seen: tuple[np.ndarray, np.ndarray]
    _item_counts: np.ndarray
    _frame_kind: str
    _catalogue: Catalogue
    # uint8 (items,), 0 where an item was removed; None while none was.
    _available: np.ndarray | None

    def _remember(
        self,
        *,
        users: Vocabulary,
        items: Vocabulary,
        seen_offsets: np.ndarray,
        seen_items: np.ndarray,
        item_counts: np.ndarray,
        frame_kind: str,
        catalogue: Catalogue | None = None,
    ) -> None:
        """Keep what every recommender keeps of `fit`; call it last, when nothing can fail any more.

        Parameters
        ----------
        users, items : Vocabulary
            Ids to rows.
        seen_offsets, seen_items : int64 (users + 1,), int32
            Rows of the items that a user has seen, sorted, each once.
        item_counts : float64 (items,)
            Positive interactions an item has; the popularity list is their order.
        frame_kind : "pandas", "polars" or "pyarrow"
            What lists come back as.
        catalogue : Catalogue, optional
            The plain columns of the table of items, for `where`.
        """
        self._users, self._items = users, items
        self._seen = (seen_offsets, seen_items)
        self._item_counts = item_counts
        self._frame_kind = frame_kind
        self._catalogue = Catalogue.empty(items.size) if catalogue is None else catalogue
        self._available = None
        self._cache = {}

    def __sklearn_is_fitted__(self) -> bool:
        return "_users" in self.__dict__

    # --- what was fitted ----------------------------------------------------------------------------------------------

    @property
    def user_ids_(self) -> Any:
        return self._all_ids("user_ids_", "user")

    @property
    def item_ids_(self) -> Any:
        return self._all_ids("item_ids_", "item")

    @property
    def history_(self) -> Any:
        self._check_fitted("history_")
        offsets, items = self._seen
        users = np.repeat(np.arange(self._users.size, dtype=np.int32), np.diff(offsets))
        return self._build({self.user_col: self._users.decode(users), self.item_col: self._items.decode(items)})

    def _all_ids(self, where: str, side: str) -> Any:
        self._check_fitted(where)
        column, vocabulary = (self.user_col, self._users) if side == "user" else (self.item_col, self._items)
        return self._build({column: vocabulary.decode(np.arange(vocabulary.size, dtype=np.int32))})[column]

    def _build(self, columns: Mapping[str, Any]) -> Any:
        try:
            return frames.build(self._frame_kind, columns)
        except ModuleNotFoundError as error:
            raise ImportError(
                f"{type(self).__name__}: the model was fitted on a {self._frame_kind} table, but {error.name} is not "
                f"installed here; install it (pip install {error.name}), or call recommend with as_arrays=True"
            ) from error

    # --- ids to rows --------------------------------------------------------------------------------------------------

    def _given(self, where: str, name: str, values: Any, side: str) -> IdColumn:
        """Read what a caller gave: one id, a list, an array, a Series, or a table with the column of that side."""
        what = f"{where}: {name}"
        if frames.is_table(values):
            values = frames.column(frames.table(values, what), self.user_col if side == "user" else self.item_col, what)
        elif isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
            values = [values]
        return frames.ids(values, what)

    def _known_rows(self, where: str, name: str, values: Any, side: str) -> np.ndarray:
        """Find the rows, int32, of ids that must all be known; None is everything, removed items too."""
        vocabulary = self._users if side == "user" else self._items
        if values is None:
            return np.arange(vocabulary.size, dtype=np.int32)
        ids, what = self._given(where, name, values, side), f"{where}: {name}"
        cure = f"leave them out, or fit with these {side}s"
        return vocabulary.encode_known(ids, what, cure) if side == "user" else self._known_items(ids, what, cure)

    def _pair_rows(self, table: frames.Frame, where: str, name: str, cure: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Find the rows, int32 (n,) each, of the users and the items of a frame of pairs.

        Parameters
        ----------
        table : narwhals.DataFrame (n rows)
        where, name : str
            The method and its argument, for messages.
        cure : str or None
            What helps where an id is unknown or an item was removed, which is an error then; None: its row is -1.
        """
        what = [f"{where}: column {column!r} of {name}" for column in (self.user_col, self.item_col)]
        users, items = (
            frames.ids(frames.column(table, column, f"{where}: {name}"), place)
            for column, place in zip((self.user_col, self.item_col), what, strict=True)
        )
        if cure is None:
            return self._users.encode(users, what[0]), self._item_rows(items, what[1])
        return self._users.encode_known(users, what[0], cure), self._known_items(items, what[1], cure)

    def _item_rows(self, ids: IdColumn, what: str) -> np.ndarray:
        """Find the rows, int32, of items; -1 where an item is unknown or was removed."""
        rows = self._items.encode(ids, what)
        if self._available is not None:
            rows[(rows >= 0) & (self._available[rows] == 0)] = -1
        return rows

    def _known_items(self, ids: IdColumn, what: str, cure: str) -> np.ndarray:
        """Find the rows, int32, of items that must all be known and not removed."""
        rows = self._item_rows(ids, what)
        if (rows < 0).any():
            removed = int(np.count_nonzero(self._items.encode(ids) >= 0) - np.count_nonzero(rows >= 0))
            were = f" ({removed} of them {'was' if removed == 1 else 'were'} removed)" if removed else ""
            raise UnknownIdError(f"{self._items.unknown_text(ids, rows, what)}{were}; {cure}")
        return rows

    # --- growth and removal -------------------------------------------------------------------------------------------

    @named_options
    def remove_items(self, ids: Any) -> Self:
        """Take items out of every list from now on, without fitting again.

        Parameters
        ----------
        ids : one id, ids, or a frame with the item column
            Items that are there; an id given twice in one call is removed once.

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            Before `fit`.
        UnknownIdError
            An id is unknown, or was removed before; nothing is removed then.

        Notes
        -----
        The items are in no list, not in popularity lists and not among similar items, and count as unknown wherever ids
        are given (`items=`, `predict`). They stay in `item_ids_` and `history_`, so that rows keep their meaning, and
        what was learned from them stays learned. Saved with the model. Cost: one byte an item.
        """
        self._check_fitted("remove_items")
        column = self._given("remove_items", "ids", ids, "item")
        rows = self._items.encode_known(column, "remove_items: ids", "leave them out")
        available = np.ones(self._items.size, dtype=np.uint8) if self._available is None else self._available.copy()
        gone = np.unique(rows[available[rows] == 0])
        if gone.size:
            raise UnknownIdError(
                f"remove_items: {count_of(gone.size, 'item')} {'is' if gone.size == 1 else 'are'} not there any more "
                f"(first: {first_five(self._items.decode(gone[:5]).tolist())}); leave out what was removed before"
            )
        available[rows] = 0
        self._available = available if rows.size or self._available is not None else None
        return self

    def _bring_back(self, rows: np.ndarray) -> None:
        """Let removed items appear again."""
        if self._available is not None:
            available = self._available.copy()
            available[rows] = 1
            self._available = None if available.all() else available

    def _append_items(self, items: Vocabulary, table: frames.Frame | None, where: str) -> None:
        """Take `items`, the vocabulary with further ids at its end, and their table (a row each, in that order)."""
        new = items.size - self._items.size
        catalogue = self._catalogue.extended(table, new, where, self.item_col)
        self._items, self._catalogue = items, catalogue
        self._item_counts = np.concatenate([self._item_counts, np.zeros(new)])
        if self._available is not None:
            self._available = np.concatenate([self._available, np.ones(new, dtype=np.uint8)])
        self._cache.pop("popular", None)

    def _append_users(self, users: Vocabulary) -> None:
        """Take `users`, the vocabulary with further ids at its end, who have seen nothing."""
        offsets, items = self._seen
        self._seen = (np.concatenate([offsets, np.full(users.size - self._users.size, offsets[-1])]), items)
        self._users = users

    def _append_seen(self, user_rows: np.ndarray, item_rows: np.ndarray, counts: np.ndarray) -> None:
        """Add pairs to the seen lists, and positive interactions, float64 (items,), to the counts."""
        offsets, items = self._seen
        users = np.repeat(np.arange(self._users.size), np.diff(offsets))
        pairs = (np.concatenate([users, user_rows]), np.concatenate([items, item_rows]))
        lists = lists_of_pairs(*pairs, self._users.size, self._items.size)
        self._seen = (lists.offsets, lists.items)
        self._item_counts = self._item_counts + counts
        self._cache.pop("popular", None)

    # --- one file -----------------------------------------------------------------------------------------------------

    def _shared_state(self) -> State:
        meta: dict[str, Any] = {"frame": self._frame_kind}
        arrays = {"seen_offsets": self._seen[0], "seen_items": self._seen[1], "item_counts": self._item_counts}
        if self._available is not None:
            arrays["available"] = self._available
        parts = {"users": self._users.state(), "items": self._items.state(), "catalogue": self._catalogue.state()}
        for name, (part_meta, part_arrays) in parts.items():
            meta[name] = part_meta
            arrays.update(prefix(name, part_arrays))
        return meta, arrays

    def _restore_shared(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        items = Vocabulary.from_state(meta["items"], unprefix("items", arrays))
        self._remember(
            users=Vocabulary.from_state(meta["users"], unprefix("users", arrays)),
            items=items,
            seen_offsets=arrays["seen_offsets"],
            seen_items=arrays["seen_items"],
            item_counts=arrays["item_counts"],
            frame_kind=meta["frame"],
            # Files from before there was one have none.
            catalogue=Catalogue.from_state(meta.get("catalogue", {}), unprefix("catalogue", arrays), items.size),
        )
        self._available = arrays.get("available")


def as_fitted(ids: IdColumn, fitted: IdType) -> IdColumn:
    """Bring ids that were not there in `fit` to its dtype, where that can hold them."""
    if ids.dtype.kind != fitted.kind or fitted.levels:
        return ids
    # As distinct values and rows: what a categorical column is made of.
    asked = Vocabulary.fit(ids, missing="skip")
    ids = replace(asked.ids, rows=asked.encode(ids))
    if ids.values.dtype == object:
        return replace(ids, dtype=fitted)
    wanted = f"datetime64[{fitted.name}]" if fitted.kind == "datetime" else fitted.name or ids.values.dtype
    values, same = comparable(ids.values, np.dtype(wanted))
    return ids if same is not None and not same.all() else replace(ids, values=values, dtype=fitted)
