"""Files in folders and archives, and their lines."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from twotower.datasets._sources import Source, open_source
from twotower.errors import DataError


def folders(source: Source) -> dict[str, list[str]]:
    return {folder.name: sorted(folder.files) for folder in source.folders}


def test_a_folder_and_what_lies_directly_below(tmp_path: Path) -> None:
    (tmp_path / "one" / "deeper").mkdir(parents=True)
    for name in ("a", "one/b", "one/c", "one/deeper/d"):
        (tmp_path / name).write_bytes(name.encode())
    with open_source(tmp_path) as source:
        assert folders(source) == {tmp_path.name: ["a"], "one": ["b", "c"]}
        with source.folders[1].open("c") as file:
            assert file.read() == b"one/c"


def test_an_archive_at_any_depth(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("empty/", b"")
        for name in ("a", "one/b", "one/two/c", "__MACOSX/one/b"):
            archive.writestr(name, name)
    with open_source(path) as source:
        assert folders(source) == {"": ["a"], "one": ["b"], "two": ["c"]}
        with source.folders[2].open("c") as file:
            assert file.read() == b"one/two/c"
    path.unlink()


def test_an_empty_archive_holds_nothing(tmp_path: Path) -> None:
    zipfile.ZipFile(tmp_path / "set.zip", "w").close()
    with open_source(tmp_path / "set.zip") as source:
        assert source.folders == []


@pytest.mark.parametrize(
    ("content", "separator", "fields", "lines"),
    [
        (b"", "::", 3, []),
        (b"1::a::b\n\n2::c::d", "::", 3, [(1, ["1", "a", "b"]), (3, ["2", "c", "d"])]),
        (b"1::a::b::c::d\r\n", "::", 3, [(1, ["1", "a::b::c", "d"])]),
        (b"1::a::b::c::d\r\n", "::", 4, [(1, ["1", "a", "b::c", "d"])]),
        (b"1::a\n", "::", 3, [(1, ["1", "a"])]),
        (b"1|a|b|c\n", "|", 3, [(1, ["1", "a", "b", "c"])]),
        (b"1|a\x85b|c\rd\n", "|", 3, [(1, ["1", "a\x85b", "c\rd"])]),  # no end of a line but \n
        (
            b'head\r\n1,"a ""b"", c",d\r\n\r\n2,"x\ny",z\r\n',
            ",",
            3,
            [(2, ["1", 'a "b", c', "d"]), (5, ["2", "x\ny", "z"])],
        ),
        (b"head\n", ",", 3, []),
    ],
)
def test_lines(tmp_path: Path, content: bytes, separator: str, fields: int, lines: list[tuple[int, list[str]]]) -> None:
    (tmp_path / "file").write_bytes(content)
    with open_source(tmp_path) as source:
        assert list(source.folders[0].lines("file", "latin-1", separator, fields)) == lines


def test_text_of_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes("café noir\n".encode("latin-1"))
    with open_source(tmp_path) as source, pytest.raises(DataError) as caught:
        list(source.folders[0].lines("file", "utf-8", "|", 1))
    assert str(caught.value) == (
        "movielens: file is not utf-8 text (invalid continuation byte); take the original file"
    )


def test_a_quote_that_never_ends(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b'head\n1,"' + b"x" * 200_000)
    with open_source(tmp_path) as source, pytest.raises(DataError) as caught:
        list(source.folders[0].lines("file", "utf-8", ",", 2))
    assert str(caught.value) == (
        "movielens: file, line 2 is not csv (field larger than field limit (131072)); take the original file"
    )


def test_a_member_that_cannot_be_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("file", b"secret")
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1  # the flag of encryption
    path.write_bytes(content)
    with open_source(path) as source, pytest.raises(DataError) as caught:
        source.folders[0].open("file")
    assert str(caught.value) == (
        f"movielens: file in {path} cannot be unpacked (File 'file' is encrypted, password required for extraction); "
        "unpack the archive and give the folder as path="
    )
