"""Why a score is what it is: what each feature and each item of the history adds to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from twotower import frames
from twotower._core import core
from twotower.errors import count_of
from twotower.models._contexts import encode_now
from twotower.models._fitted import Fitted
from twotower.models._learned import Learned
from twotower.models._options import named_options
from twotower.models._sides import Side
from twotower.models._worded import worded

if TYPE_CHECKING:
    from twotower.models._histories import Histories

Array = np.ndarray
Part = tuple[str, str, str]  # side, feature, value
EXACT, LEFT_OUT = "exact", "leave one out"


class Explaining(Learned):
    """`explain` of the two-tower model."""

    @named_options
    def explain(self, user: Any, item: Any) -> Any:
        """Take the score of one user and one item apart.

        Parameters
        ----------
        user, item : id
            That the model knows.

        Returns
        -------
        DataFrame of the kind that `fit` was given
            One row a part of the score:

            - `side`: "user", "item", "context" or "history";
            - `feature`: the column, or the column and what was made of it; "bias" is the item's popularity;
            - `value`: as text, what the entity has there;
            - `contribution`: float64, in units of the score;
            - `method`: "exact" or "leave one out".

            First the parts of the towers, those of the user before those of the item, then (side "history") the items of
            the user's history, newest first.

        Raises
        ------
        NotFittedError, UnknownIdError
            Before `fit`; the user or the item is unknown.

        Notes
        -----
        "exact", where a tower sums its inputs: the score is a sum of products of a part of the user's and a part of the
        item's vector (of their final length) plus the bias, and each product is shared equally between its two parts (its
        Shapley value). The rows of user, context and item together sum to the score, as `predict` gives it, up to rounding.

        "leave one out", for towers with cross or hidden layers and for items of a history: what the score would lose
        without the part (a zero vector in its place) or the item. These do not sum to anything.

        A Timestamp of the context is now. Cost: one pass of the user's tower over as many copies as the history has items.
        """
        self._check_fitted("explain")
        user_row = int(self._known_rows("explain", "user", [user], "user")[0])
        item_row = int(self._known_rows("explain", "item", [item], "item")[0])
        fitted = self._fitted()
        num_threads = self._num_threads("explain")
        now = fitted.now()
        data, items = fitted.user_data(contexts=now), fitted.item_data()
        row = np.array([user_row], dtype=np.int32)
        lists = None if self._histories is None else self._histories.take(row)
        user_parts, item_parts, bias, exact = core.explain(
            fitted.model,
            data,
            user_row,
            items,
            item_row,
            context=None if now is None else 0,
            history=None if lists is None else (lists.items, lists.weights),
        )
        share = 0.5 if exact else 1.0
        inputs, sequences = _side_parts(self._sides.items, item_row)
        rows = [
            *zip(_query_parts(fitted, user_row, lists), share * user_parts, strict=True),
            *zip(inputs + sequences, share * item_parts, strict=True),
        ]
        table = [(*part, contribution, EXACT if exact else LEFT_OUT) for part, contribution in rows]
        if self._item_vectors_.shape[1] > self._similarity_width:
            table.append(("item", "bias", "", bias, EXACT))
        if lists is not None and len(lists.items):
            lost = self._without_each(fitted, data, row, lists, item_row, num_threads)
            names = [str(name) for name in self._items.decode(lists.items).tolist()]
            column = "" if self._sides.history is None else self._sides.history.column
            table += [("history", column, names[k], lost[k], LEFT_OUT) for k in reversed(range(len(names)))]
        return self._as_frame(table)

    def _without_each(
        self, fitted: Fitted, data: core.SideData, row: Array, lists: Histories, item_row: int, num_threads: int
    ) -> Array:
        """What the score loses without each item of the history: one call, the whole history first."""
        length = len(lists.items)
        mask = ~np.eye(length, dtype=np.bool_)
        kept = np.concatenate([np.arange(length), np.nonzero(mask)[1]])
        offsets = np.concatenate([[0], length + (length - 1) * np.arange(length + 1)]).astype(np.int64)
        weights = None if lists.weights is None else lists.weights[kept]
        rows = np.repeat(row, length + 1)
        vectors = fitted.model.query_vectors(
            data,
            rows,
            contexts=None if self._sides.contexts is None else np.zeros(length + 1, dtype=np.int32),
            history=(offsets, lists.items[kept], weights),
            num_threads=num_threads,
        )
        scores: Array = vectors.astype(np.float64) @ self._item_vectors_[item_row].astype(np.float64)
        lost: Array = scores[0] - scores[1:]
        return lost

    def _as_frame(self, table: list[tuple[str, str, str, float, str]]) -> Any:
        side, feature, value, contribution, method = zip(*table, strict=True)
        columns: dict[str, Any] = {
            name: frames.ids(list(values), "explain")
            for name, values in (("side", side), ("feature", feature), ("value", value))
        }
        columns["contribution"] = np.array(contribution, dtype=np.float64)
        columns["method"] = frames.ids(list(method), "explain")
        return self._build(columns)


def _query_parts(fitted: Fitted, row: int, lists: Histories | None) -> list[Part]:
    """Side, feature and value of the query tower's parts, in its order: inputs, then sequences."""
    sides = fitted.sides
    inputs, sequences = _side_parts(sides.users, row)
    if sides.contexts is not None:
        words = worded(sides.contexts.encoder, encode_now(sides.contexts), 0)
        inputs += [("context", part.name, word) for part, word in zip(sides.contexts.encoder.parts, words, strict=True)]
    if sides.history is not None and lists is not None:
        sequences.append(("user", sides.history.column, count_of(len(lists.items), "item")))
    return inputs + sequences


def _side_parts(side: Side, row: int) -> tuple[list[Part], list[Part]]:
    """The inputs of a side, the id first, and the texts that are read in order."""
    assert side.id is not None
    inputs: list[Part] = [(side.name, side.id.column, "known" if side.codes[row] else "unknown")]
    sequences: list[Part] = []
    for part, word in zip(side.encoder.parts, worded(side.encoder, side.encoded, row), strict=True):
        (sequences if part.kind == "tokens" else inputs).append((side.name, part.name, word))
    return inputs, sequences
