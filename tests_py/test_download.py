"""Downloads against a server in this process: whole, broken, resumed, refused and wrong."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import re
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from twotower.datasets import _download, movielens
from twotower.errors import DataError


def archive(size: int = 700_000) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        # A given date: the present moment would make two archives differ.
        file.writestr(zipfile.ZipInfo("noise", (2026, 1, 1, 0, 0, 0)), bytes(range(256)) * (size // 256))
    return buffer.getvalue()


class Server(http.server.ThreadingHTTPServer):
    """A file server whose faults a test can choose."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.knows_ranges = True
        self.tag: str | None = '"one"'
        self.break_after: list[int] = []  # body bytes after which the next answers break off
        self.status: list[int] = []  # what the next answers are instead
        self.shift = 0  # how far ranges start from where they were asked for
        self.log: list[tuple[str, str | None, str | None]] = []  # path, Range, If-Range

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/sets/"

    def publish(self, name: str, content: bytes, *, checksum: bool = True) -> None:
        self.files[name] = content
        if checksum:
            self.files[name + ".md5"] = f"MD5 ({name}) = {hashlib.md5(content).hexdigest()}\n".encode()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[1]
        asked = self.headers.get("Range")
        if not name.endswith(".md5"):
            self.server.log.append((name, asked, self.headers.get("If-Range")))
            if self.server.status:
                self.send_error(self.server.status.pop(0))
                return
        if name not in self.server.files:
            self.send_error(404)
            return
        content, start = self.server.files[name], 0
        unchanged = self.headers.get("If-Range") in (None, self.server.tag)
        if asked and self.server.knows_ranges and unchanged:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked).group(1)) + self.server.shift
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        if self.server.tag:
            self.send_header("ETag", self.server.tag)
        self.end_headers()
        body = content[start:]
        if not name.endswith(".md5") and self.server.break_after:
            body = body[: self.server.break_after.pop(0)]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def fetch(server: Server, folder: Path, name: str = "ml-new.zip", **options: object) -> Path:
    return _download.fetch(name, folder, base_url=server.url, progress=False, **{"wait_s": 0.0, **options})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file_arrives_once(server: Server, tmp_path: Path) -> None:
    server.publish("ml-new.zip", archive())
    folder = tmp_path / "made" / "here"
    path = fetch(server, folder)
    assert path == folder / "ml-new.zip"
    assert path.read_bytes() == archive()
    assert names(folder) == ["ml-new.zip"]
    assert fetch(server, folder) == path
    assert server.log == [("ml-new.zip", None, None)]


@pytest.mark.parametrize("size", [0, 1, 262_144, 262_145])
def test_sizes_around_a_block(server: Server, tmp_path: Path, size: int) -> None:
    server.publish("ml-new.zip", b"x" * size)
    assert fetch(server, tmp_path).read_bytes() == b"x" * size


def test_broken_connections_are_taken_up_where_they_stopped(server: Server, tmp_path: Path) -> None:
    content = archive()
    server.publish("ml-new.zip", content)
    server.break_after = [300_000, 1, 0, 0, 200_000]
    assert fetch(server, tmp_path, attempts=4).read_bytes() == content
    assert [asked for _, asked, _ in server.log] == [
        None,
        "bytes=300000-",
        "bytes=300001-",
        "bytes=300001-",
        "bytes=300001-",
        "bytes=500001-",
    ]
    assert {condition for _, _, condition in server.log[1:]} == {'"one"'}


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.publish("ml-new.zip", archive())
    server.knows_ranges = False
    server.break_after = [500_000, 400_000]
    assert fetch(server, tmp_path, attempts=3).read_bytes() == archive()
    assert len(server.log) == 3


def test_a_file_that_changes_between_two_attempts_starts_over(server: Server, tmp_path: Path) -> None:
    old, new = archive(), archive()[::-1]
    server.publish("ml-new.zip", new)
    server.files["ml-new.zip"] = old
    server.break_after = [300_000]

    def change(seconds: float) -> None:
        server.files["ml-new.zip"], server.tag = new, '"two"'

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_download.time, "sleep", change)
        assert fetch(server, tmp_path).read_bytes() == new
    assert server.log[1] == ("ml-new.zip", "bytes=300000-", '"one"')


def test_a_weak_tag_is_not_sent_back(server: Server, tmp_path: Path) -> None:
    server.publish("ml-new.zip", archive())
    server.tag = 'W/"one"'
    server.break_after = [300_000]
    assert fetch(server, tmp_path).read_bytes() == archive()
    assert server.log[1] == ("ml-new.zip", "bytes=300000-", None)


def test_too_many_breaks_keep_the_part_and_the_next_call_resumes(server: Server, tmp_path: Path) -> None:
    server.publish("ml-new.zip", archive())
    server.break_after = [300_000, 0, 0]
    with pytest.raises(DataError) as caught:
        fetch(server, tmp_path, attempts=2)
    assert str(caught.value) == (
        f"movielens: {server.url}ml-new.zip broke off 2 times in a row (the connection ended after 300000 of "
        f"{len(archive())} bytes); 0.3 MB are kept in {tmp_path / 'ml-new.zip.part'}: call again to resume, "
        "or get the file another way and give path="
    )
    assert names(tmp_path) == ["ml-new.zip.part"]
    server.break_after = []
    assert fetch(server, tmp_path).read_bytes() == archive()
    assert server.log[-1] == ("ml-new.zip", "bytes=300000-", None)
    assert names(tmp_path) == ["ml-new.zip"]


def test_nothing_kept_says_so(server: Server, tmp_path: Path) -> None:
    server.publish("ml-new.zip", archive())
    server.status = [503, 429]
    with pytest.raises(DataError) as caught:
        fetch(server, tmp_path, attempts=2)
    assert str(caught.value) == (
        f"movielens: {server.url}ml-new.zip broke off 2 times in a row (the server answered 429 Too Many Requests); "
        "nothing is kept: call again to start over, or get the file another way and give path="
    )
    assert names(tmp_path) == []


def test_a_busy_server_is_asked_again_and_waited_for_twice_as_long(server: Server, tmp_path: Path) -> None:
    server.publish("ml-new.zip", archive())
    server.status = [500, 502, 503]
    pauses: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_download.time, "sleep", pauses.append)
        assert fetch(server, tmp_path, wait_s=0.5).read_bytes() == archive()
    assert pauses == [0.5, 1.0, 2.0]


def test_a_missing_file_is_not_asked_for_twice(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch(server, tmp_path)
    assert str(caught.value) == (
        f"movielens: {server.url}ml-new.zip answered 404 Not Found; "
        "look the file up at grouplens.org/datasets/movielens, download it and give path="
    )
    assert len(server.log) == 1
    assert names(tmp_path) == []


def test_a_wrong_checksum_removes_the_file(server: Server, tmp_path: Path) -> None:
    server.publish("ml-new.zip", archive())
    server.files["ml-new.zip"] = bad = archive()[:-1] + b"?"
    with pytest.raises(DataError) as caught:
        fetch(server, tmp_path)
    assert str(caught.value) == (
        f"movielens: {server.url}ml-new.zip sent a file with the md5 {hashlib.md5(bad).hexdigest()}, but it must be "
        f"{hashlib.md5(archive()).hexdigest()}; the file was removed: call again, or get ml-new.zip another way and "
        "give path="
    )
    assert names(tmp_path) == []
    assert len(server.log) == 1


def test_the_known_checksums_are_used(server: Server, tmp_path: Path) -> None:
    server.publish("ml-100k.zip", archive())  # its own .md5 agrees, the known constant does not
    with pytest.raises(DataError, match="but it must be 0e33842e24a9c977be4e0107933c0723; the file was removed"):
        fetch(server, tmp_path, "ml-100k.zip")
    assert set(_download.CHECKSUMS) == {f"ml-{size}.zip" for size in ("100k", "1m", "10m", "20m", "25m")}
    assert all(re.fullmatch("[0-9a-f]{32}", checksum) for checksum in _download.CHECKSUMS.values())


def test_a_part_of_another_version_starts_over_by_itself(server: Server, tmp_path: Path) -> None:
    server.publish("ml-new.zip", archive())
    (tmp_path / "ml-new.zip.part").write_bytes(b"?" * 1000)
    assert fetch(server, tmp_path).read_bytes() == archive()
    assert [asked for _, asked, _ in server.log] == ["bytes=1000-", None]
    assert names(tmp_path) == ["ml-new.zip"]


def test_a_part_that_is_whole_is_only_checked(server: Server, tmp_path: Path) -> None:
    server.publish("ml-new.zip", archive())
    (tmp_path / "ml-new.zip.part").write_bytes(archive())
    assert fetch(server, tmp_path).read_bytes() == archive()
    assert [asked for _, asked, _ in server.log] == [f"bytes={len(archive())}-"]


def test_a_part_longer_than_the_file_starts_over(server: Server, tmp_path: Path) -> None:
    server.publish("ml-new.zip", archive())
    (tmp_path / "ml-new.zip.part").write_bytes(archive() + b"more")
    assert fetch(server, tmp_path).read_bytes() == archive()
    assert [asked for _, asked, _ in server.log] == [f"bytes={len(archive()) + 4}-", None]


def test_a_range_that_starts_elsewhere_is_not_appended(server: Server, tmp_path: Path) -> None:
    server.publish("ml-new.zip", archive())
    server.break_after = [1000]
    server.shift = 3
    assert fetch(server, tmp_path).read_bytes() == archive()
    assert [asked for _, asked, _ in server.log] == [None, "bytes=1000-", None]


def test_without_a_checksum_a_part_is_not_trusted_and_a_zip_is_wanted(server: Server, tmp_path: Path) -> None:
    server.publish("ml-new.zip", archive(), checksum=False)
    (tmp_path / "ml-new.zip.part").write_bytes(b"?" * 1000)
    assert fetch(server, tmp_path).read_bytes() == archive()
    assert names(tmp_path) == ["ml-new.zip"]
    assert server.log == [("ml-new.zip", None, None)]

    server.publish("ml-page.zip", b"<html>please log in</html>", checksum=False)
    with pytest.raises(DataError) as caught:
        fetch(server, tmp_path, "ml-page.zip")
    assert str(caught.value) == (
        f"movielens: {server.url}ml-page.zip did not send a whole zip file; "
        "the file was removed: call again, or get ml-page.zip another way and give path="
    )


def test_ctrl_c_keeps_the_part_and_says_how_to_go_on(server: Server, tmp_path: Path) -> None:
    content = archive(3_000_000)
    server.publish("ml-new.zip", content)
    blocks = 0
    receive = _download._receive

    class Bar:
        total = n = 0

        def refresh(self) -> None:
            pass

        def update(self, size: int) -> None:
            nonlocal blocks
            blocks += 1
            if blocks == 2:
                raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_download, "_receive", lambda job, response, bar: receive(job, response, Bar()))
        with pytest.raises(KeyboardInterrupt) as caught:
            fetch(server, tmp_path)
    part = tmp_path / "ml-new.zip.part"
    assert str(caught.value) == (
        f"movielens: the download of {server.url}ml-new.zip was interrupted; 0.5 MB are kept in {part}: "
        "call again to resume"
    )
    assert names(tmp_path) == ["ml-new.zip.part"]
    assert content.startswith(part.read_bytes())
    assert fetch(server, tmp_path).read_bytes() == content
    assert server.log[-1][1] == "bytes=524288-"


def test_any_other_exception_keeps_the_part_too(server: Server, tmp_path: Path) -> None:
    server.publish("ml-new.zip", archive())
    server.break_after = [300_000]

    def fail(seconds: float) -> None:
        raise MemoryError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_download.time, "sleep", fail)
        with pytest.raises(MemoryError):
            fetch(server, tmp_path)
    assert names(tmp_path) == ["ml-new.zip.part"]


def test_two_processes_do_not_share_a_part_and_an_abandoned_one_is_adopted(server: Server, tmp_path: Path) -> None:
    server.publish("ml-new.zip", archive())
    other = tmp_path / f"ml-new.zip.part-{os.getpid() + 1}"
    other.write_bytes(archive()[:5000])
    assert fetch(server, tmp_path).read_bytes() == archive()
    assert server.log == [("ml-new.zip", None, None)]
    assert names(tmp_path) == ["ml-new.zip", other.name]

    (tmp_path / "ml-new.zip").unlink()
    long_ago = time.time() - 3600
    os.utime(other, (long_ago, long_ago))
    assert fetch(server, tmp_path).read_bytes() == archive()
    assert server.log[-1] == ("ml-new.zip", "bytes=5000-", None)
    assert names(tmp_path) == ["ml-new.zip"]


def test_a_refused_connection_is_tried_again_and_named(tmp_path: Path) -> None:
    with Server() as gone:
        url = gone.url
    with pytest.raises(DataError) as caught:
        _download.fetch("ml-100k.zip", tmp_path, base_url=url, progress=False, attempts=2, wait_s=0.0)
    assert str(caught.value) == (
        f"movielens: {url}ml-100k.zip broke off 2 times in a row ([Errno 111] Connection refused); "
        "nothing is kept: call again to start over, or get the file another way and give path="
    )


def test_an_offline_machine_learns_of_path_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_name(*arguments: object, **options: object) -> None:
        raise _download.urllib.error.URLError(_download.socket.gaierror(-2, "Name or service not known"))

    monkeypatch.setattr(_download.urllib.request, "urlopen", no_name)
    monkeypatch.setattr(_download.time, "sleep", lambda seconds: pytest.fail("waited"))
    with pytest.raises(DataError) as caught:
        _download.fetch("ml-100k.zip", tmp_path, progress=False)
    assert str(caught.value) == (
        "movielens: https://files.grouplens.org/datasets/movielens/ml-100k.zip cannot be reached ([Errno -2] Name or "
        "service not known); without a connection, download the file on another machine and give path="
    )


def test_a_folder_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    server.publish("ml-new.zip", archive())
    with pytest.raises(DataError) as caught:
        fetch(server, tmp_path / "file" / "folder")
    assert str(caught.value) == (
        f"movielens: {tmp_path / 'file' / 'folder'} cannot be written (Not a directory); "
        "set the environment variable TWOTOWER_DATA to a folder with room, or download the file and give path="
    )


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TWOTOWER_DATA", str(tmp_path / "mine"))
    assert _download.cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("TWOTOWER_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert _download.cache_folder() == tmp_path / "caches" / "twotower"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert _download.cache_folder() == Path.home() / ".cache" / "twotower"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert _download.cache_folder() == Path.home() / "Library" / "Caches" / "twotower"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert _download.cache_folder() == tmp_path / "local" / "twotower" / "Cache"


def test_movielens_downloads_into_the_cache(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("ml-latest-small/ratings.csv", "userId,movieId,rating,timestamp\r\n1,2,3.5,4\r\n")
        file.writestr("ml-latest-small/movies.csv", "movieId,title,genres\r\n2,Jumanji (1995),Adventure\r\n")
    server.publish("ml-latest-small.zip", buffer.getvalue())
    monkeypatch.setenv("TWOTOWER_DATA", str(tmp_path))
    monkeypatch.setattr(_download, "BASE_URL", server.url)
    data = movielens("ml-latest-small", kind="pandas")
    assert data.ratings.to_numpy().tolist() == [[1, 2, 3.5, 4]]
    assert names(tmp_path) == ["ml-latest-small.zip"]
    assert "ml-latest-small.zip: 100%" in capfd.readouterr().err
    assert movielens("ml-latest-small", kind="pandas", progress=False).items.title.tolist() == ["Jumanji"]
    assert capfd.readouterr().err == ""
    assert len(server.log) == 1
