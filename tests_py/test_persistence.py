from __future__ import annotations

import datetime as dt
import decimal
import json
import os
import stat
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from twotower import ids, persistence
from twotower.errors import DataError
from twotower.persistence import ids_from_state, ids_to_state, read, write

META = {"params": {"dim": 64, "name": "ü"}, "list": [1, 2.5, None, True]}
ARRAYS = {
    "weights": np.arange(12, dtype=np.float32).reshape(3, 4),
    "rows": np.array([3, 1], dtype=np.int32),
    "empty": np.empty((0, 5), dtype=np.float64),
    "flag": np.array([True, False]),
    "one": np.array(7, dtype=np.uint64),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.twotower"


def assert_equal(arrays: dict[str, Any], expected: dict[str, Any]) -> None:
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        assert array.dtype == expected[name].dtype
        assert array.shape == expected[name].shape
        np.testing.assert_array_equal(array, expected[name])


# --- whole files ------------------------------------------------------------------------------------------------------


def test_there_and_back(path: Path) -> None:
    write(path, "TwoTower", META, ARRAYS)
    kind, meta, arrays = read(path)
    assert (kind, meta) == ("TwoTower", META)
    assert_equal(arrays, ARRAYS)
    arrays["weights"][0, 0] = 5  # fresh and writable


@pytest.mark.parametrize("arrays", [{}, {"x": np.empty(0, dtype=np.int8)}])
def test_nothing_in_it(path: Path, arrays: dict[str, Any]) -> None:
    write(os.fspath(path), "Nothing", {}, arrays)
    kind, meta, found = read(os.fspath(path))
    assert (kind, meta) == ("Nothing", {})
    assert_equal(found, arrays)


def test_same_content_same_bytes(path: Path) -> None:
    write(path, "TwoTower", META, ARRAYS)
    first = path.read_bytes()
    write(path, "TwoTower", dict(reversed(META.items())), dict(reversed(ARRAYS.items())))
    assert path.read_bytes() == first


def test_layout_and_byte_order_do_not_matter(path: Path, tmp_path: Path) -> None:
    square = np.arange(6, dtype=np.int32).reshape(2, 3)
    write(path, "x", {}, {"a": square})
    for number, other in enumerate(
        [np.asfortranarray(square), square.astype(">i4"), np.repeat(square, 2, axis=1)[:, ::2]]
    ):
        write(tmp_path / str(number), "x", {}, {"a": other})
        assert (tmp_path / str(number)).read_bytes() == path.read_bytes()


def test_it_is_a_safetensors_file_with_one_key(path: Path) -> None:
    write(path, "TwoTower", META, ARRAYS)
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert list(header["__metadata__"]) == ["twotower"]
    assert json.loads(header["__metadata__"]["twotower"])["format"] == persistence.FORMAT == 2


@pytest.mark.parametrize(
    "array", [np.array(["a"]), np.array([None]), np.zeros(2, dtype=complex), np.zeros(2, dtype="M8[s]")]
)
def test_arrays_that_have_no_place(path: Path, array: Any) -> None:
    with pytest.raises(TypeError) as caught:
        write(path, "x", {}, {"a": array})
    assert str(caught.value) == (
        f"save: array 'a' has dtype {array.dtype}, but must be bool, an integer or a float of up to 64 bits"
    )
    assert not path.exists()


@pytest.mark.parametrize("meta", [{"a": float("nan")}, {"a": np.int64(3)}, {"a": object()}])
def test_descriptions_that_are_not_json(path: Path, meta: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        write(path, "x", meta, {})
    assert not path.exists()


def test_prefixes() -> None:
    arrays = {"a": np.zeros(1), "b.c": np.ones(1)}
    named = persistence.prefix("users", arrays)
    assert list(named) == ["users.a", "users.b.c"]
    assert persistence.unprefix("users", {**named, "users2.a": np.zeros(1)}).keys() == arrays.keys()


# --- damaged files ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sound") / "model"
    write(path, "TwoTower", META, ARRAYS)
    return path.read_bytes()


def test_cut_off_anywhere(path: Path, sound: bytes) -> None:
    for length in range(len(sound)):
        path.write_bytes(sound[:length])
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(caught.value).startswith(f"load: {str(path)!r} is no whole twotower file (")
        assert str(caught.value).endswith("; copy it again from its source, or save the model again")


def test_any_byte_changed(path: Path, sound: bytes) -> None:
    for place in range(len(sound)):
        change = (0x01, 0x20, 0x80, 0xFF)[place % 4]
        path.write_bytes(sound[:place] + bytes([sound[place] ^ change]) + sound[place + 1 :])
        try:
            found = read(path)
        except DataError:
            continue
        # Another way to write the same: white space of the header, capitals in the number of a character.
        assert found[:2] == ("TwoTower", META)
        assert_equal(found[2], ARRAYS)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_several_bytes_changed(data: st.DataObject, sound: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = bytearray(sound)
    for place in data.draw(st.lists(st.integers(0, len(sound) - 1), min_size=1, max_size=6)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "changed"
    path.write_bytes(bytes(content))
    try:
        kind, meta, _ = read(path)
    except DataError:
        return
    assert (kind, meta) == ("TwoTower", META)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 100,
        b"\xff" * 100,
        (2**62).to_bytes(8, "little") + b"{}",
        (100_000_001).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"{}",
        b"PK\x03\x04 a zip file",
        os.urandom(500),
    ],
)
def test_other_files(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"^load: .*(is no whole twotower file|not of twotower)"):
        read(path)


def test_a_safetensors_file_of_somebody_else(path: Path) -> None:
    for metadata in (None, {"format": "pt"}):
        path.write_bytes(save({"a": np.zeros(3)}, metadata))
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(caught.value) == (
            f"load: {str(path)!r} is a safetensors file, but not of twotower; name a file that save() wrote"
        )


def test_a_newer_file(path: Path) -> None:
    path.write_bytes(save({"a": np.zeros(3)}, {"twotower": json.dumps({"format": 3, "other": []})}))
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value) == (
        f"load: {str(path)!r} was written by a newer twotower (file format 3, this one reads up to 2); upgrade twotower"
    )


@pytest.mark.parametrize(
    "head",
    [
        "",
        "[]",
        "3",
        "{}",
        '{"format":"1"}',
        '{"format":1}',
        '{"format":1,"kind":"x"}',
        '{"format":1,"kind":"x","meta":[]}',
    ],
)
def test_incomplete_descriptions(path: Path, head: str) -> None:
    path.write_bytes(save({"a": np.zeros(3)}, {"twotower": head}))
    with pytest.raises(DataError, match="is no whole twotower file"):
        read(path)


def test_a_description_without_a_digest(path: Path) -> None:
    path.write_bytes(save({"a": np.zeros(3)}, {"twotower": '{"format":1,"kind":"x","meta":{}}'}))
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value) == (
        f"load: {str(path)!r} is damaged (its content does not match its digest); "
        "copy it again from its source, or save the model again"
    )


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path / "none")
    assert str(caught.value) == f"load: {str(tmp_path / 'none')!r} is not there; name a file that save() wrote"
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert str(caught.value) == f"load: {str(tmp_path)!r} is a folder; name a file that save() wrote"


# --- writing that fails -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_the_old_file_stays_when_writing_fails(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    write(path, "Old", {}, {})
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(persistence.os, step, fail)
    with pytest.raises((DataError, KeyboardInterrupt)) as caught:
        write(path, "New", META, ARRAYS)
    if isinstance(error, OSError):
        assert str(caught.value) == (
            f"save: cannot write {str(path)!r}: No space left on device; free some space; nothing was changed"
        )
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_places_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "no" / "model"
    with pytest.raises(DataError) as caught:
        write(gone, "x", {}, {})
    assert str(caught.value) == f"save: cannot write {str(gone)!r}: No such file or directory; make its folder first"
    with pytest.raises(DataError) as caught:
        write(tmp_path, "x", {}, {})
    assert str(caught.value) == f"save: cannot write {str(tmp_path)!r}: a folder has this name; name a file in it"

    def read_only(*_: object, **__: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(persistence.os, "open", read_only)
    with pytest.raises(DataError) as caught:
        write(tmp_path / "model", "x", {}, {})
    assert str(caught.value) == (
        f"save: cannot write {str(tmp_path / 'model')!r}: Read-only file system; choose a place that you may use"
    )
    assert os.listdir(tmp_path) == []


def test_a_file_that_cannot_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, "x", {}, {})
    if os.geteuid() == 0:
        import safetensors

        def forbidden(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(safetensors, "safe_open", forbidden)
    else:
        path.chmod(0)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value) == f"load: cannot read {str(path)!r}: Permission denied; choose a place that you may use"


def test_links_are_followed_and_the_mode_is_an_ordinary_one(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write(tmp_path / "link", "x", {}, {})
    assert (tmp_path / "link").is_symlink()
    assert read(tmp_path / "target")[0] == "x"
    (tmp_path / "plain").write_bytes(b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("target", "plain")}
    assert len(modes) == 1


# --- ids --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        [],
        [1, -5],
        [2**64 - 1],
        [2**70, -(2**70)],
        [0.5, -0.0, 1e300],
        [True, False],
        ["", "a", "ü\x00b", "\ud800"],
        [b"", b"\x00\xff"],
        [dt.date(1, 1, 1), dt.date(9999, 12, 31)],
        [dt.datetime(2020, 1, 2, 3, 4, 5, 6)],
        [dt.datetime(2020, 1, 2, tzinfo=dt.timezone.utc)],
        [decimal.Decimal("1.50"), decimal.Decimal("-1E+10")],
        [uuid.UUID(int=5)],
        [(1, ("a", None)), ()],
        [frozenset(["b", "a", 1])],
        [
            "a",
            1,
            2.5,
            b"c",
            dt.date(2020, 1, 1),
            dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc),
            decimal.Decimal("7.5"),
        ],
    ],
)
def test_ids_there_and_back(path: Path, values: list[Any]) -> None:
    column = ids.from_objects(values)
    meta, arrays = ids_to_state(ids.IdColumn(column.values, column.dtype))
    write(path, "ids", meta, arrays)
    _, meta, arrays = read(path)
    back = ids_from_state(meta, arrays)
    assert back.dtype == column.dtype
    assert back.tolist() == values
    assert list(map(type, back.tolist())) == list(map(type, values))


def test_ids_without_a_plain_form() -> None:
    column = ids.from_objects([complex(1, 2)])
    with pytest.raises(DataError) as caught:
        ids_to_state(column)
    assert str(caught.value) == "save: ids of type complex have no plain form ((1+2j)); turn them into text before fit"


@pytest.mark.parametrize(
    ("change", "drop"),
    [({"kind": "planet"}, None), ({"name": "planet"}, "values"), ({"extra": 1}, None), ({}, "ends"), ({}, "bytes")],
)
def test_ids_that_do_not_fit_together(change: dict[str, Any], drop: str | None) -> None:
    meta, arrays = ids_to_state(ids.from_objects(["a", "b"]))
    arrays.pop(drop or "", None)
    with pytest.raises(DataError, match=r"^load: the ids in the file do not fit together .*; save the model again$"):
        ids_from_state({**meta, **change, **({"kind": "integer"} if drop == "values" else {})}, arrays)
