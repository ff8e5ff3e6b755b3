"""Tables written to a Parquet file one after the other, as they come."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator, Mapping
from typing import IO, Any

from twotower import files, frames
from twotower.ids import Array, IdColumn

__all__ = ["ParquetWriter", "writing"]

Columns = Mapping[str, "Array | IdColumn"]


class ParquetWriter:
    """Takes the columns of tables that are alike; each becomes a row group of the file. Made by `writing`."""

    def __init__(self, file: IO[bytes], like: str, sample: Columns) -> None:
        self._file, self._like, self._sample = file, like, sample
        self._writer: Any = None

    def write(self, columns: Columns) -> None:
        """Write the rows of a table.

        Parameters
        ----------
        columns : mapping of name to ndarray or IdColumn
            As for `frames.build`; the names and dtypes of every call are those of the first.
        """
        table = frames.build("pyarrow", columns)
        if self._writer is None:
            # Floats hardly ever come again, so that a dictionary of them is work for nothing.
            words = [field.name for field in table.schema if not str(field.type).startswith("float")]
            self._writer = importlib.import_module("pyarrow.parquet").ParquetWriter(
                self._file, _labelled(table.schema, self._sample, self._like), use_dictionary=words
            )
        self._writer.write_table(table.cast(self._writer.schema))

    def close(self) -> None:
        """Write the end of the file."""
        if self._writer is not None:
            self._writer.close()


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], where: str, like: str, sample: Columns) -> Iterator[ParquetWriter]:
    """Open a Parquet file for writing, which appears under its name when it is whole.

    Parameters
    ----------
    path : path
        An existing file is replaced at the end; until then, and after any exception, it stays as it is.
    where : str
        Start of messages, such as "recommend: to".
    like : {"pandas", "polars", "pyarrow"}
        The library that shall read the columns in the dtypes that `frames.build` gives them there.
    sample : mapping of name to ndarray or IdColumn
        The columns as they would be built in that library, a row of them; tells their dtypes.

    Raises
    ------
    ImportError
        pyarrow is not installed.
    DataError
        The place cannot be written.
    """
    try:
        importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ImportError(
            f"{where} needs pyarrow to write Parquet, but it is not installed here; install it (pip install "
            "'twotower[parquet]')"
        ) from error
    with files.whole(path, where) as file:
        writer = ParquetWriter(file, like, sample)
        try:
            yield writer
        finally:
            writer.close()


def _labelled(schema: Any, sample: Columns, like: str) -> Any:
    """Add what a library notes about its own dtypes (categories, nullable numbers)."""
    try:
        table = frames.build(like, sample)
    except ModuleNotFoundError:  # fitted on frames of a library that is not here
        return schema
    if like == "pandas":
        noted = importlib.import_module("pyarrow").Schema.from_pandas(table, preserve_index=False)
        return schema.with_metadata(noted.metadata)
    if like == "polars":
        noted = table.to_arrow().schema
        for number, field in enumerate(schema):
            schema = schema.set(number, field.with_metadata(noted.field(field.name).metadata))
    return schema
