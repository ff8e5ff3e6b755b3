"""A file that appears whole, under its name, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from typing import IO

from twotower.errors import DataError

__all__ = ["cure", "whole"]


@contextlib.contextmanager
def whole(path: str | os.PathLike[str], where: str) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes the place of another only when everything is in it.

    Parameters
    ----------
    path : path
        An existing file is replaced at the end in one step; until then, and after any exception, it stays as it is.
    where : str
        Start of messages, such as "save".

    Raises
    ------
    DataError
        The place cannot be written (no such folder, read-only, full disk, a folder of this name).

    Notes
    -----
    Written under another name in the same folder, forced to the disk and renamed.
    """
    try:
        with _replacing(os.path.realpath(os.fspath(path))) as file:
            yield file
    except OSError as error:
        raise DataError(
            f"{where}: cannot write {os.fspath(path)!r}: {error.strerror or error}; {cure(error)}"
        ) from error


def cure(error: OSError) -> str:
    """Say what to do about a file that cannot be written or read."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "make its folder first"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space; nothing was changed"
    if error.errno == errno.EISDIR:
        return "name a file in it"
    return "choose a place that you may use"


@contextlib.contextmanager
def _replacing(target: str) -> Iterator[IO[bytes]]:
    folder, base = os.path.split(target)
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, "a folder has this name")
    temporary = os.path.join(folder, f".{base[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        # Not tempfile: its files are closed to other users, and the mode would stay after the renaming.
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Make the renaming last through a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
