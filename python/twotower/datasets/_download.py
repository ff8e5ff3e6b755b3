"""Fetch one published file into a cache folder: resumed, checked, and never half-written under its final name."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twotower.errors import DataError

BASE_URL = "https://files.grouplens.org/datasets/movielens/"

#: md5 of the archives that never change; the others publish theirs beside the file, as NAME.md5.
CHECKSUMS = {
    "ml-100k.zip": "0e33842e24a9c977be4e0107933c0723",
    "ml-1m.zip": "c4d9eecfca2ab87c1945afe126590906",
    "ml-10m.zip": "ce571fd55effeba0271552578f2648bd",
    "ml-20m.zip": "cd245b17a1ae2cc31bb14903e1204af3",
    "ml-25m.zip": "6b51fb2759a8657d3bfcbfc42b592ada",
}

_TIMEOUT_S = 30.0
_BLOCK_BYTES = 1 << 18
_ABANDONED_S = 600.0  # a transfer writes, or times out, far more often than this: an older work file has no owner


class _BrokenError(Exception):
    """The transfer stopped for a reason that another attempt may cure."""


@dataclass(frozen=True)
class _Job:
    """One file on its way: from `url` into `work`, which becomes `final`, or `part` when the transfer stops early."""

    url: str
    final: Path
    checksum: str | None

    @property
    def part(self) -> Path:
        return self.final.with_name(self.final.name + ".part")

    @property
    def work(self) -> Path:
        return self.final.with_name(f"{self.final.name}.part-{os.getpid()}")

    @property
    def held(self) -> int:
        """Bytes that have arrived."""
        return self.work.stat().st_size if self.work.exists() else 0

    @property
    def cure(self) -> str:
        """What a caller can do after the transfer has stopped early."""
        if self.checksum and self.held:
            return f"{self.held / 1e6:.1f} MB are kept in {self.part}: call again to resume"
        return "nothing is kept: call again to start over"


def cache_folder() -> Path:
    """Return the folder that downloads go to: $TWOTOWER_DATA, or the platform's place for caches."""
    chosen = os.environ.get("TWOTOWER_DATA")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "twotower" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "twotower"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "twotower"


def fetch(
    name: str,
    folder: Path | None = None,
    *,
    base_url: str | None = None,
    progress: bool = True,
    attempts: int = 5,
    wait_s: float = 1.0,
) -> Path:
    """Download a file unless it is there already.

    Parameters
    ----------
    name : str
        File name below `base_url`, for instance ``"ml-100k.zip"``.
    folder : Path, optional
        Where the file goes; made if missing. Default: `cache_folder()`.
    base_url : str, optional
        Address of the folder on the server, with its closing slash. Default: `BASE_URL`.
    progress : bool
        Show a bar on standard error.
    attempts : int, at least 1
        Broken attempts in a row after which it gives up; one that gets farther than all before is counted as the first.
    wait_s : float
        Pause after the first broken attempt, in seconds; doubled after each further one.

    Returns
    -------
    Path
        ``folder / name``, complete and checked.

    Raises
    ------
    DataError
        The server cannot be reached, refuses, keeps breaking off or sends a file with another checksum; the folder
        cannot be written.
    KeyboardInterrupt
        As it came, with a message that says where the part is and how to go on.

    Notes
    -----
    While it runs, the data lies in a work file of this process, beside the final name. It becomes ``name + ".part"``
    when the transfer stops early, and the next call claims that part by renaming it, so that two processes never write
    to one file and need no lock. A part of an earlier call is used only where a checksum can tell that the file has
    not changed on the server since; if it has, the transfer starts over once. A file without a known or published
    checksum is only tested for being a whole zip archive.
    """
    folder = cache_folder() if folder is None else Path(folder)
    final = folder / name
    if final.exists():
        return final
    url = (BASE_URL if base_url is None else base_url) + name
    job = _Job(url, final, CHECKSUMS.get(name) or _published_checksum(url))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        resumed = _claim(job)
        _transfer(job, progress, attempts, wait_s)
        problem = _problem(job)
        if problem and resumed:
            job.work.unlink()
            _transfer(job, progress, attempts, wait_s)
            problem = _problem(job)
        if problem:
            job.work.unlink()
            raise DataError(
                f"movielens: {url} {problem}; the file was removed: "
                f"call again, or get {name} another way and give path="
            )
        os.replace(job.work, final)
        job.part.unlink(missing_ok=True)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"movielens: the download of {url} was interrupted; {job.cure}") from None
    except OSError as error:
        raise DataError(
            f"movielens: {folder} cannot be written ({error.strerror or error}); "
            "set the environment variable TWOTOWER_DATA to a folder with room, or download the file and give path="
        ) from error
    finally:
        if job.work.exists():
            os.replace(job.work, job.part)
    return final


def _claim(job: _Job) -> bool:
    """Take over the part of an earlier call, if there is one; a rename succeeds for one process only."""
    if job.checksum is None:
        return False
    stale = time.time() - _ABANDONED_S
    orphans = [path for path in job.part.parent.glob(job.part.name + "-*") if path.stat().st_mtime < stale]
    for candidate in [job.part, *orphans]:
        try:
            os.rename(candidate, job.work)
        except OSError:
            continue
        return True
    return False


def _published_checksum(url: str) -> str | None:
    """Return the md5 that the server publishes beside a file, None where it has none."""
    try:
        with urllib.request.urlopen(_request(url + ".md5"), timeout=_TIMEOUT_S) as response:
            found = re.search(r"\b[0-9a-f]{32}\b", response.read(4096).decode("latin-1").lower())
    except (OSError, http.client.HTTPException):
        return None  # the transfer itself will say what is wrong with the connection
    return found.group() if found else None


def _problem(job: _Job) -> str | None:
    """Say what is wrong with a file that has arrived, None if nothing is."""
    if job.checksum is None:
        return None if zipfile.is_zipfile(job.work) else "did not send a whole zip file"
    digest = hashlib.md5(usedforsecurity=False)
    with open(job.work, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    found = digest.hexdigest()
    return None if found == job.checksum else f"sent a file with the md5 {found}, but it must be {job.checksum}"


def _transfer(job: _Job, progress: bool, attempts: int, wait_s: float) -> None:
    """Complete the work file, going on after broken connections."""
    from tqdm.auto import tqdm

    failures, farthest, validator = 0, job.held, None
    with tqdm(desc=job.final.name, unit="B", unit_scale=True, disable=not progress) as bar:
        while True:
            try:
                response = _open(job, validator)
                if response is None:
                    return
                with response:
                    validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
                    _receive(job, response, bar)
                return
            except _BrokenError as broken:
                failures = 1 if job.held > farthest else failures + 1
                farthest = max(farthest, job.held)
                if failures >= attempts:
                    raise DataError(
                        f"movielens: {job.url} broke off {failures} times in a row ({broken}); "
                        f"{job.cure}, or get the file another way and give path="
                    ) from broken
                time.sleep(wait_s * 2 ** (failures - 1))


def _open(job: _Job, validator: str | None) -> http.client.HTTPResponse | None:
    """Ask for what the work file does not hold yet; None if it holds everything."""
    held = job.held
    request = _request(job.url)
    if held:
        request.add_header("Range", f"bytes={held}-")
        if validator and not validator.startswith("W/"):  # a weak tag cannot vouch for bytes (RFC 9110, 13.1.5)
            request.add_header("If-Range", validator)
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
        return response
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and held:
                if error.headers.get("Content-Range", "").endswith(f"*/{held}"):
                    return None
                job.work.unlink()  # longer than the file on the server: of another version
                raise _BrokenError("the file on the server has changed") from error
            if error.code >= 500 or error.code == 429:
                raise _BrokenError(f"the server answered {error.code} {error.reason}") from error
            raise DataError(
                f"movielens: {job.url} answered {error.code} {error.reason}; "
                "look the file up at grouplens.org/datasets/movielens, download it and give path="
            ) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, (socket.gaierror, ssl.SSLCertVerificationError)):
            raise DataError(
                f"movielens: {job.url} cannot be reached ({error.reason}); without a connection, "
                "download the file on another machine and give path="
            ) from error
        raise _BrokenError(str(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(str(error) or type(error).__name__) from error


def _receive(job: _Job, response: http.client.HTTPResponse, bar: Any) -> None:
    """Write an answer to the end of the work file, or in its place where the server sends everything from the start."""
    held = 0
    if response.status == 206:
        held = job.held
        if not response.headers.get("Content-Range", "").startswith(f"bytes {held}-"):
            job.work.unlink()
            raise _BrokenError("the server sent another range than it was asked for")
    length = response.headers.get("Content-Length")
    total = None if length is None else held + int(length)
    bar.total, bar.n = total, held
    bar.refresh()
    with open(job.work, "ab" if held else "wb") as file:
        while True:
            try:
                block = response.read(_BLOCK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise _BrokenError(str(error) or type(error).__name__) from error
            if not block:
                break
            file.write(block)
            bar.update(len(block))
    if total is not None and job.held < total:
        raise _BrokenError(f"the connection ended after {job.held} of {total} bytes")


def _request(url: str) -> urllib.request.Request:
    return urllib.request.Request(url, headers={"User-Agent": "twotower", "Accept-Encoding": "identity"})
