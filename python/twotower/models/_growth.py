"""A fitted model that grows: new items and people without training, and training on from where it ended."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower import frames
from twotower.errors import DataError, count_of, first_five
from twotower.interactions import catalogue_vocabulary
from twotower.models._choices import check_options, usual_batch
from twotower.models._fitted import Fitted
from twotower.models._histories import Histories, read_lists
from twotower.models._learned import Learned
from twotower.models._lesson import read_exam, teach
from twotower.models._news import News, new_positions, padded, side_with, with_new_ids
from twotower.models._options import check_count, named_options

if TYPE_CHECKING:
    from typing_extensions import Self

Array = np.ndarray
# Of the learning rate of fit: enough to learn from the new rows, little enough to keep what was learned from the old ones.
RATE_SHARE = 0.5


class Growing(Learned):
    """`add_items`, `add_users` and `partial_fit` of the two-tower model."""

    # --- without training ---------------------------------------------------------------------------------------------

    @named_options
    def add_items(self, items: Any) -> Self:
        """Take items that were not there in `fit`, without training: the item tower places them by their features.

        Parameters
        ----------
        items : DataFrame
            One row an item, with the item column and all feature columns of `fit`. Items that were removed come back, with
            these features.

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            The model has no features of items, so that all new ones would be the same to it.
        SchemaError, DataError
            A column is missing or of another type than in `fit`; an id is missing or repeated; an item is there already.
            Nothing is added then.

        Notes
        -----
        Their ids are unknown to the towers until `partial_fit` sees positives of them. They can be recommended at once, are
        appended to `item_ids_`, and are in the file. Feature values that `fit` did not see count as missing. Cost: the
        item tower for the new rows; packed indexes grow in place.
        """
        self._check_fitted("add_items")
        side = self._sides.items
        if not (side.tells_strangers or side.unknown_share > 0):
            raise ValueError(
                "add_items: the model was fitted without features of items, so that all new items would be the same to it; "
                "pass items= to fit, or use partial_fit with their interactions"
            )
        where = "add_items: items"
        table = frames.table(items, where)
        ids = catalogue_vocabulary(table, self.item_col, side="items", what="add_items").ids
        known = self._items.encode(ids)
        removed = np.zeros(self._items.size, dtype=np.bool_) if self._available is None else self._available == 0
        self._refuse_known("add_items", "item", known[known >= 0][~removed[known[known >= 0]]])
        vocabulary = self._items.extended(ids, f"add_items: column {self.item_col!r}")
        grown, rows = side_with(side, table, vocabulary, self.item_col, where)
        fitted = self._fitted().with_sides(replace(self._sides, items=grown))
        num_threads = self._num_threads("add_items")
        back = np.flatnonzero(rows < self._items.size)
        new = np.arange(self._items.size, vocabulary.size, dtype=np.int32)
        vectors = fitted.item_vectors(num_threads, new)
        back_vectors = fitted.item_vectors(num_threads, rows[back])
        catalogue = self._catalogue
        if back.size:
            catalogue = catalogue.replaced(rows[back], frames.take(table, back), where, self.item_col)
        further = frames.take(table, new_positions(rows, self._items.size))
        catalogue.extended(further, len(new), where, self.item_col)  # raises on columns of another type

        self._catalogue = catalogue
        self._append_items(vocabulary, further, where)
        self._append_item_vectors(vectors, num_threads)
        if back.size:
            self._replace_item_vectors(rows[back], back_vectors, num_threads)
            self._bring_back(rows[back])
        self._sides = fitted.sides
        self._cache["fitted"] = fitted
        return self

    @named_options
    def add_users(self, users: Any) -> Self:
        """Take users who were not there in `fit`, without training: the tower places them by features and history.

        Parameters
        ----------
        users : DataFrame
            One row a user, with the user column and all feature columns of `fit`; where the model has a `History`, a column
            of that name may hold lists of item ids, oldest first: they count as seen.

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            The model has neither features nor a history of users.
        SchemaError, DataError
            A column is missing or of another type than in `fit`; an id is missing or repeated; a user is there already.
            Nothing is added then.

        Notes
        -----
        Their ids are unknown to the towers until `partial_fit` sees positives of them. To serve people without keeping them
        pass the frame to `recommend(..., on_unknown="features")`.
        """
        self._check_fitted("add_users")
        side = self._sides.users
        if not (side.tells_strangers or side.unknown_share > 0):
            raise ValueError(
                "add_users: the model was fitted without features or a history of users, so that all new users would be the "
                "same to it; pass users= to fit, or use partial_fit with their interactions"
            )
        where = "add_users: users"
        table = frames.table(users, where)
        ids = catalogue_vocabulary(table, self.user_col, side="users", what="add_users").ids
        known = self._users.encode(ids)
        self._refuse_known("add_users", "user", known[known >= 0])
        vocabulary = self._users.extended(ids, f"add_users: column {self.user_col!r}")
        grown, rows = side_with(side, table, vocabulary, self.user_col, where)
        lists = Histories.empty(len(rows))
        history = self._sides.history
        if history is not None and history.column in table.columns:
            # The caller's line: above are add_users and its check of names.
            lists, _ = read_lists(table, history, self._items, where, stacklevel=4)

        pairs = (np.repeat(rows, np.diff(lists.offsets)), lists.items)
        if self._histories is not None and history is not None:
            longer = self._histories.appended(Histories.empty(vocabulary.size - self._users.size))
            self._histories = longer.replaced(rows, lists.newest(history.max_length))
        self._user_counts = padded(self._user_counts, vocabulary.size)
        self._append_users(vocabulary)
        self._append_seen(*pairs, np.zeros(self._items.size))
        self._forget_users()
        self._cache["fitted"] = self._fitted().with_sides(replace(self._sides, users=grown))
        self._sides = self._cache["fitted"].sides
        return self

    def _refuse_known(self, where: str, one: str, rows: Array) -> None:
        if rows.size:
            vocabulary = self._items if one == "item" else self._users
            raise DataError(
                f"{where}: {count_of(rows.size, one)} {'is' if rows.size == 1 else 'are'} there already "
                f"(first: {first_five(vocabulary.decode(np.sort(rows)[:5]).tolist())}); leave them out, or pass them to "
                "partial_fit with their new features"
            )

    # --- with training ------------------------------------------------------------------------------------------------

    @named_options
    def partial_fit(
        self,
        interactions: Any,
        users: Any = None,
        items: Any = None,
        *,
        epochs: int | None = None,
        eval_set: Any = None,
    ) -> Self:
        """Learn from further interactions, where the last training ended; ids and feature values that are new are taken in.

        Parameters
        ----------
        interactions : DataFrame
            Only the rows that are new, with the columns of `fit`.
        users, items : DataFrame, optional
            Rows of new users and items, with all feature columns; rows of known ones replace their features. An id of the
            interactions that is new must have a row where its side has features.
        epochs : int, optional
            Over the new rows. None takes a third of those of `fit`.
        eval_set : DataFrame, optional
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            Before `fit`.
        SchemaError, DataError, NumericalError, ValueError, TypeError
            As `fit`; the model is as it was before.

        Notes
        -----
        What changes: embeddings of the ids in the new rows (positives), of feature values of those, the unknown's, and the
        layers. The embedding of every other id keeps its bits: rows that no example touches are not moved ("lazy_adam"
        stands in for "adam"), and items that are only drawn as negatives, or only read in a history, stay as they are.
        A new id begins at the vector of the unknown. Vectors of users and items may all change, since layers and features
        are shared. The learning rate is half of that of `fit`. With `time_col` the history of a row is what came before it,
        old and new; the new rows are taken to be later than all old ones.

        Seen pairs, counts and histories grow; `learning_curve_` and `best_epoch_` are those of the new rows. Removed items stay
        removed. The state of the optimizer is that of the last
        training, where the model was not loaded from a file (which does not hold it): a new start costs little, since the
        learning rate ends near zero. Ctrl-C keeps what was learned, as in `fit`. Cost: an epoch over the new rows, and the item
        tower once over all items.
        """
        self._check_fitted("partial_fit")
        model: Any = self
        check_options(model)
        if epochs is not None:
            check_count("partial_fit", "epochs", epochs)
        news = News.read(model, interactions, users, items)
        fitted = Fitted.build(self._architecture, news.sides)
        fitted.model.set_parameters(with_new_ids(self._parameters, self._sides, news.sides), grow=True)
        seen = news.seen(self._seen)
        exam = None
        if eval_set is not None:
            what = "partial_fit: eval_set"
            table = frames.table(eval_set, what)
            exam = read_exam(model, model.eval_metric, table, news.users, news.items, news.sides, seen, what)
        lesson = news.lesson(fitted, model.user_balance, self._optimizer_state)
        chosen = self._chosen_again(news, epochs)
        counts = padded(self._item_counts, news.items.size) + news.item_counts
        outcome = teach(model, fitted, lesson, chosen, exam, news.stored, counts, "partial_fit")
        fitted.model.set_parameters(outcome.parameters)
        fitted = fitted.with_sides(news.sides.without_training_rows())
        item_vectors = fitted.item_vectors(self._num_threads("partial_fit"))

        # Nothing can fail from here on.
        self._catalogue = news.catalogue
        self._append_items(news.items, news.new_items, "partial_fit: items")
        self._append_users(news.users)
        self._append_seen(news.pairs.user_rows, news.pairs.item_rows, news.item_counts)
        self._set_learned(fitted, outcome, news.stored, given=self._histories_given)
        self._user_counts = padded(self._user_counts, news.users.size) + news.user_counts
        self._cache = {"fitted": fitted}
        self._item_vectors_ = item_vectors
        if outcome.interrupted:
            raise KeyboardInterrupt
        return self

    def _chosen_again(self, news: News, epochs: int | None) -> dict[str, Any]:
        model: Any = self
        batch = min(model.batch_size_, usual_batch(news.positives))
        return {
            "epochs": epochs or max(1, model.epochs_ // 3),
            "batch_size": batch,
            "group_size": model.group_size_,
            "negatives": min(model.negatives_, news.items.size // 2) if model.negatives is None else model.negatives,
            "learning_rate": RATE_SHARE * model.learning_rate_,
            "random_state": (model.random_state_ + len(self._seen[1])) % 2**63,
            "optimizer": "lazy_adam" if model.optimizer == "adam" else model.optimizer,
        }
