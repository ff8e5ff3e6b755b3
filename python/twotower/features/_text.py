"""Columns of text: which tokens there are, and texts as lists of their codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from twotower._core import core
from twotower.errors import DataError, SchemaError, count_of
from twotower.ids import Array
from twotower.schema import Text

__all__ = ["TextBags", "TextEncoder"]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Missing = npt.NDArray[np.bool_] | None


class TextBags(NamedTuple):
    """One list of codes a row, at least one code.

    Parameters
    ----------
    offsets : int64 ndarray (n + 1,)
        Row i has codes[offsets[i]:offsets[i + 1]].
    codes : int32 ndarray (offsets[n],)
    weights : float32 ndarray (offsets[n],) or None
        None: 1 each.
    """

    offsets: Offsets
    codes: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32] | None


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """The tokens of a column of texts.

    Made by `fit`, `grown`, `shared_with` or `from_state`; does not change afterwards.

    Parameters
    ----------
    column : Text
        What a token is, which of them get a code, and what `transform` makes of them.
    missing_share : float, 0 to 1
        Share of the rows of `fit` without a text. An empty text is not missing.
    note : str
        How many tokens were left out, for the schema.

    Notes
    -----
    A word is a maximal run of letters, marks and digits in the sense of Unicode 15.1; everything else separates words,
    also the apostrophe and the underscore, while joiners, soft hyphens and variation selectors are as if they were not
    there. Scripts without spaces (Chinese, Japanese, Thai) have whole phrases for words: `chars` suits them better.
    Case is folded code point by code point; accents come off Latin, Greek and Cyrillic letters (`é` is `e`, `ø` is `o`,
    `ß` is `ss`). Ill-formed UTF-8 becomes U+FFFD, which separates.

    A run of words is a token by its words with a space between two. A run of characters is taken from its word between
    `<` and `>`, which count, and is written with a `#` in front, so that `#the` is not the word `the`; a word too short
    for the shortest run is one by itself. Tokens come in the order of the words that they begin with.

    Hashed tokens: FNV-1a of 64 bits over the UTF-8 of the token as it is written, spread by the last step of
    SplitMix64, times `buckets`, divided by 2**64, plus 1. This never changes.

    Examples
    --------
    >>> titles = np.frombuffer(b"The HobbitThe Hobbits", np.uint8), np.array([0, 10, 21]), None
    >>> encoder = TextEncoder.fit(*titles, Text("title", min_count=1))
    >>> encoder.tokens(), encoder.transform(*titles).codes.tolist()
    (['the', 'hobbit', 'hobbits'], [1, 2, 1, 3])
    """

    column: Text
    missing_share: float
    note: str
    _rows: int
    _tokens: tuple[Bytes, Offsets] | None  # as they are written, of the codes 1, 2 ...; None where they are hashed
    _documents: Offsets | None  # rows of `fit` that hold each code, 0 for code 0

    @classmethod
    def fit(cls, buffer: Bytes, offsets: Offsets, missing: Missing, column: Text) -> TextEncoder:
        """Learn the tokens.

        Parameters
        ----------
        buffer, offsets, missing
            What `frames.texts` makes of a column.
        column : Text

        Notes
        -----
        The tokens of at least `min_count` rows, at most the `max_tokens` of most rows, most frequent first; equally
        frequent ones by their bytes. With `buckets` only the rows of each bucket are counted, and only for "tfidf" and
        for shared tables, where another column may be "tfidf".
        """
        rows = len(offsets) - 1
        share = 0.0 if missing is None else float(missing.mean())
        if column.buckets is not None:
            made = cls(column, share, f"hashed into {count_of(column.buckets, 'bucket')}", rows, None, None)
            if column.encoding != "tfidf" and column.table is None:
                return made
            found = made._coder.encode(buffer, offsets, keep_unknown=False)
            return replace(made, _documents=core.document_counts(*found, made.size))
        learned, ends, documents, rare, beyond = _coder(column).learn(
            buffer, offsets, min_count=column.min_count, max_tokens=column.max_tokens
        )
        left_out = [f"{count_of(rare, 'token')} in fewer than {column.min_count} rows"] if rare else []
        left_out += [f"{count_of(beyond, 'token')} beyond max_tokens"] if beyond else []
        note = " and ".join(left_out) + " taken as unknown" if left_out else ""
        return cls(column, share, note, rows, (learned, ends), np.append(np.int64(0), documents))

    @property
    def size(self) -> int:
        """Number of codes, with code 0."""
        return int(self._coder.size)

    def tokens(self) -> list[str]:
        """Write the tokens of the codes 1, 2 and so on; empty where they are hashed."""
        if self._tokens is None:
            return []
        written, ends = self._tokens[0].tobytes(), self._tokens[1].tolist()
        return [written[a:b].decode() for a, b in pairwise(ends)]

    def transform(self, buffer: Bytes, offsets: Offsets, missing: Missing) -> TextBags:
        """Encode texts, also such as `fit` never saw.

        Parameters
        ----------
        buffer, offsets, missing
            What `frames.texts` makes of a column; a missing text is like an empty one.

        Returns
        -------
        TextBags
            A row without a known token is code 0 alone. "mean", "sum", "sqrt": the known tokens in their order. "gru":
            all of the first `max_length`, code 0 for unknown ones. "tfidf": the known ones, each once, ascending, with
            weights: the number in the row times idf, divided by the length of the row's weights.

        Notes
        -----
        idf = ln((1 + n) / (1 + df)) + 1 over the n rows of `fit`, df of which hold the token.
        """
        reads = self.column.encoding == "gru"
        length = self.column.max_length if reads else 0
        found = self._coder.encode(buffer, offsets, keep_unknown=reads, max_length=length)
        if self.column.encoding != "tfidf":
            return TextBags(*found, None)
        assert self._documents is not None
        idf = np.log((1.0 + self._rows) / (1.0 + np.minimum(self._documents, self._rows))) + 1.0
        return TextBags(*core.tf_idf(*found, idf))

    def grown(self, buffer: Bytes, offsets: Offsets, missing: Missing) -> TextEncoder:
        """Give codes to tokens of further texts, after those there are.

        Parameters
        ----------
        buffer, offsets, missing
            What `frames.texts` makes of a column.

        Returns
        -------
        TextEncoder
            Old codes stay, and so does the idf of theirs: nothing changes for texts that could be encoded before. The
            new tokens are those of at least `min_count` of the further rows, until there are `max_tokens` in all.
        """
        if self._tokens is None or self._documents is None:
            return self
        room = max(self.column.max_tokens - (self.size - 1), 0)
        learned, ends, documents, _, _ = self._coder.learn(
            buffer, offsets, min_count=self.column.min_count, max_tokens=room
        )
        if len(documents) == 0:
            return self
        joined = (
            np.concatenate([self._tokens[0], learned]),
            np.append(self._tokens[1], self._tokens[1][-1] + ends[1:]),
        )
        return replace(self, _tokens=joined, _documents=np.append(self._documents, documents))

    def shared_with(self, column: Text) -> TextEncoder:
        """Use the tokens for another column.

        Parameters
        ----------
        column : Text
            Must cut its texts as this one's column does.

        Raises
        ------
        SchemaError
            It does not.
        """
        for option in ("words", "chars", "lowercase", "accents", "buckets"):
            mine, theirs = getattr(self.column, option), getattr(column, option)
            if mine != theirs:
                raise SchemaError(
                    f"Text({column.column!r}): {option} is {theirs!r}, but {self.column.column!r} of the same table "
                    f"{column.table!r} has {mine!r}; make them alike, or give them tables of their own"
                )
        return replace(self, column=column)

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Plain JSON and arrays, for `persistence.write`; without the column."""
        arrays: dict[str, Array] = {}
        if self._tokens is not None:
            arrays |= {"tokens": self._tokens[0], "ends": self._tokens[1]}
        if self._documents is not None:
            arrays["documents"] = self._documents
        return {"missing": self.missing_share, "note": self.note, "rows": self._rows}, arrays

    @classmethod
    def from_state(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array], column: Text) -> TextEncoder:
        """Undo `state`; KeyError, TypeError or ValueError (DataError is one) where the parts do not fit together."""
        tokens = None if column.buckets is not None else (arrays["tokens"], arrays["ends"])
        documents = arrays.get("documents")
        made = cls(column, float(meta["missing"]), str(meta["note"]), int(meta["rows"]), tokens, documents)
        if documents is None and (tokens is not None or column.encoding == "tfidf"):
            raise KeyError("documents")
        if documents is not None and documents.shape != (made.size,):
            raise DataError(
                f"load: column {column.column!r} has {documents.size} counts for {count_of(made.size, 'code')}; "
                "save the model again"
            )
        return made

    @cached_property
    def _coder(self) -> core.TextCoder:
        return _coder(self.column, self._tokens)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the core's coder, which is made again from the tokens."""
        return {name: value for name, value in self.__dict__.items() if name != "_coder"}


def _coder(column: Text, tokens: tuple[Bytes, Offsets] | None = None) -> core.TextCoder:
    return core.TextCoder(
        fold_case=column.lowercase,
        strip_accents=column.accents == "strip",
        words=_span(column.words),
        chars=_span(column.chars),
        buckets=column.buckets or 0,
        tokens=tokens,
    )


def _span(lengths: tuple[int, int] | None) -> tuple[int, int]:
    return (0, 0) if lengths is None else (lengths[0], lengths[1])
