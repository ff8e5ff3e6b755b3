"""Files of a data set, wherever they lie: in a folder, in its sub-folders or in a zip archive."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from twotower.errors import DataError


class Folder:
    """The files of one folder, opened by name.

    Attributes
    ----------
    path : Path
        Folder or archive that the caller gave.
    name : str
        Own name of the folder; the archive's top level has an empty one.
    files : dict
        By file name, what opens it for reading bytes.
    """

    def __init__(self, path: Path, name: str, files: dict[str, Callable[[], BinaryIO]]) -> None:
        self.path = path
        self.name = name
        self.files = files

    def open(self, file: str) -> BinaryIO:
        """Open a file for reading bytes."""
        return self.files[file]()

    def lines(self, file: str, encoding: str, separator: str, fields: int) -> Iterator[tuple[int, list[str]]]:
        """Give the line number and the fields of each line that is not blank.

        A comma means csv: quotes count, and the first line, the header, is left out. Otherwise, should a longer
        separator than one character occur too often, the surplus is part of the last field but one (a title or tag).
        """
        with io.TextIOWrapper(self.open(file), encoding=encoding, newline="" if separator == "," else "\n") as text:
            try:
                if separator == ",":
                    reader = csv.reader(text)
                    next(reader, None)
                    yield from ((reader.line_num, row) for row in reader if row)
                    return
                for number, line in enumerate(text, 1):
                    row = line.rstrip("\r\n").split(separator)
                    surplus = len(row) - fields
                    if surplus > 0 and len(separator) > 1:
                        last = fields - 1 + surplus
                        row[fields - 2 : last] = [separator.join(row[fields - 2 : last])]
                    if any(row):
                        yield number, row
            except UnicodeDecodeError as error:
                raise DataError(
                    f"movielens: {file} is not {encoding} text ({error.reason}); take the original file"
                ) from error
            except csv.Error as error:
                raise DataError(
                    f"movielens: {file}, line {reader.line_num} is not csv ({error}); take the original file"
                ) from error


class Source:
    """What a path holds, by folders. A context manager that closes the archive."""

    def __init__(self, path: Path, archive: zipfile.ZipFile | None = None) -> None:
        self.path = path
        self.folders: list[Folder] = []
        self._archive = archive

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._archive is not None:
            self._archive.close()


def open_source(path: Path) -> Source:
    """Look into a folder (itself and the folders directly in it) or a zip archive (at any depth).

    Raises
    ------
    DataError
        There is nothing at `path`, or it is no whole archive.
    """
    if path.is_dir():
        source = Source(path)
        for folder in [path, *sorted(inner for inner in path.iterdir() if inner.is_dir())]:
            files = {file.name: _opener(file) for file in folder.iterdir() if file.is_file()}
            source.folders.append(Folder(path, folder.resolve().name, files))
        return source
    if not path.exists():
        raise DataError(
            f"movielens: path is {str(path)!r}, but there is no such folder or file; "
            "correct it, or leave path out to download the set"
        )
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(
            f"movielens: {path} is not a whole zip archive ({error}); it may be truncated: delete it and get it again"
        ) from error
    members: dict[str, dict[str, Callable[[], BinaryIO]]] = {}
    for member in archive.infolist():
        inner = PurePosixPath(member.filename)
        if not member.is_dir() and inner.parts[0] != "__MACOSX":
            members.setdefault(str(inner.parent), {})[inner.name] = _member_opener(archive, member)
    source = Source(path, archive)
    source.folders = [Folder(path, PurePosixPath(inner).name, files) for inner, files in members.items()]
    return source


def _opener(file: Path) -> Callable[[], BinaryIO]:
    return lambda: open(file, "rb")


def _member_opener(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Callable[[], BinaryIO]:
    def opener() -> BinaryIO:
        try:
            return cast(BinaryIO, archive.open(member.filename))
        except RuntimeError as error:  # encrypted, or compressed in a way that this Python lacks
            raise DataError(
                f"movielens: {member.filename} in {archive.filename} cannot be unpacked ({error}); "
                "unpack the archive and give the folder as path="
            ) from error

    return opener
