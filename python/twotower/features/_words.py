"""Text columns: the seam between the tokens of `_text` and the encoders of columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from twotower import frames
from twotower.features._column import ColumnEncoder, Seen, Shared
from twotower.features._encoded import Encoded, EncodedBags, Part
from twotower.features._text import TextEncoder
from twotower.ids import Array
from twotower.schema import Text

__all__ = ["WordEncoder", "texts_of"]


@dataclass(frozen=True, eq=False)
class WordEncoder(ColumnEncoder):
    """A column of texts.

    Parameters
    ----------
    column : Text
    seen : Seen
    encoder : TextEncoder
        Its tokens.
    """

    ACCEPTS = frozenset({"string", "categorical", "bytes"})

    column: Text
    seen: Seen
    encoder: TextEncoder

    @classmethod
    def fit(cls, frame: frames.Frame, column: Text, what: str, shared: Shared) -> WordEncoder:
        """Learn the tokens of a table, or take those of a shared table."""
        texts = texts_of(frame, column, what)
        if column.table is None:
            encoder = TextEncoder.fit(*texts, column)
        else:
            encoder = cast("TextEncoder", shared[column.table]).shared_with(column)
        missing = 0 if texts.missing is None else int(texts.missing.sum())
        return cls(column, Seen.of(frames.column(frame, column.column, what), missing), encoder)

    @property
    def parts(self) -> tuple[Part, ...]:
        """One."""
        column, size = self.column, self.encoder.size
        options: dict[str, Any] = {"table": column.table, "width": column.width}
        if column.encoding == "gru":
            return (Part(column.column, column, "tokens", size, **options),)
        pooling: Literal["mean", "sum", "sqrt"] = "sum" if column.encoding == "tfidf" else column.encoding
        return (Part(column.column, column, "bags", size, pooling=pooling, **options),)

    @property
    def notes(self) -> list[str]:
        """What was left out."""
        return [self.encoder.note]

    def encode_series(self, series: frames.Series, frame: frames.Frame, place: str) -> list[Encoded]:
        """Find the codes of the tokens."""
        found = self.encoder.transform(*frames.texts(series, place))
        return [EncodedBags(found.offsets, found.codes, self.encoder.size, found.weights)]

    def grown(self, frame: frames.Frame, what: str, shared: Shared) -> WordEncoder:
        """Learn the new tokens of a table."""
        if self.column.table is not None:
            encoder = cast("TextEncoder", shared[self.column.table]).shared_with(self.column)
        else:
            encoder = self.encoder.grown(*texts_of(frame, self.column, what))
        return replace(self, encoder=encoder)

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The tokens."""
        return self.encoder.state()

    @classmethod
    def from_state(cls, column: Text, seen: Seen, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> WordEncoder:
        """Undo `state`."""
        return cls(column, seen, TextEncoder.from_state(meta, arrays, column))


def texts_of(frame: frames.Frame, column: Text, what: str) -> frames.Texts:
    """Read a column of texts."""
    return frames.texts(frames.column(frame, column.column, what), f"{what}: column {column.column!r}")
