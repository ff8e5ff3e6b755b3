"""Lists as they are made: columns filled pass by pass, tables in chunks, a Parquet file, the bar."""

from __future__ import annotations

import datetime as dt
import importlib
import io
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance import exactly, interactions, rows
from twotower import frame_parquet, frames
from twotower.errors import DataError
from twotower.models import Popularity, _progress, _recommend
from twotower.models._listing import Listing
from twotower.models._progress import Bar
from twotower.vocabulary import Vocabulary


@settings(deadline=None)
@given(st.data())
def test_a_listing_is_its_lists_one_after_the_other(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["pandas", "polars", "pyarrow"]))
    lengths = data.draw(st.lists(st.integers(0, 3), max_size=6))
    owners = data.draw(st.sampled_from([["b", "a", None, "b", "c", "d"], [5, 3, 5, 1, 0, 2], [1, None, 2, 3, 4, 5]]))
    names = data.draw(st.sampled_from([["x", "y", "z"], [7, 8, 9]]))
    lists = np.full((len(lengths), 3), -1, dtype=np.int32)
    for row, length in enumerate(lengths):
        lists[row, :length] = data.draw(st.permutations([0, 1, 2]))[:length]
    scores = np.where(lists < 0, -np.inf, lists * 0.5).astype(np.float32)
    listing = Listing(("owner", frames.ids(owners[: len(lengths)], "ids")), ("name", Vocabulary.fit(names)), 3, kind)
    cut = data.draw(st.integers(0, len(lengths)))
    for part in (slice(0, cut), slice(cut, None)):
        listing.add(part.start, lists[part], scores[part])
    expected = [
        (owners[row], names[item], float(scores[row, rank]), rank + 1)
        for row in range(len(lengths))
        for rank, item in enumerate(lists[row].tolist())
        if item >= 0
    ]
    found = rows(frames.build(kind, listing.columns()))
    assert [(None if pd.isna(row[0]) else row[0], *row[1:]) for row in found] == expected


def fitted(**columns: Any) -> Popularity:
    frame = interactions().head(4).reset_index(drop=True)
    return Popularity().fit(pd.DataFrame(columns) if columns else frame)


COLUMNS = {
    "category": pd.Series(["b", "a", "b", "c"], dtype="category"),
    "nullable": pd.Series([3, 1, 3, 2], dtype="Int32"),
    "objects": pd.Series([3, 1, 3, 2], dtype=object),
    "arrow": pd.Series(["x", "y", "x", "z"], dtype=pd.ArrowDtype(pa.string())),
    "dates": pd.Series([dt.date(2020, 1, day) for day in (3, 1, 3, 2)], dtype=object),
    "times": pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-01", "2020-01-03"])).dt.tz_localize("UTC"),
    "decimals": pd.Series([Decimal("1.50"), Decimal("2.25"), Decimal("1.50"), Decimal("3.00")], dtype=object),
    "small": pd.Series([3, 1, 3, 2], dtype="uint8"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_file_keeps_the_dtypes_of_pandas(name: str, tmp_path: Path) -> None:
    model = fitted(user_id=[1, 2, 3, 4], item_id=COLUMNS[name])
    expected = model.recommend(k=3)
    back = pd.read_parquet(model.recommend(k=3, to=tmp_path / "lists.parquet"))
    # What pandas keeps of its own dtypes in a file.
    expected.to_parquet(tmp_path / "pandas.parquet", index=False)
    pd.testing.assert_frame_equal(back, pd.read_parquet(tmp_path / "pandas.parquet"), check_categorical=False)
    if name not in ("objects", "arrow"):  # of these pandas itself does not keep the dtype
        pd.testing.assert_frame_equal(back, expected, check_categorical=False)


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["c", "b", "a", "d"]), pl.String])
def test_a_file_keeps_the_dtypes_of_polars(dtype: Any, tmp_path: Path) -> None:
    items = pl.Series(["b", "a", "b", "c"], dtype=dtype)
    model = Popularity().fit(pl.DataFrame({"user_id": [1, 2, 3, 4], "item_id": items}))
    back = pl.read_parquet(model.recommend(k=3, to=tmp_path / "lists.parquet"))
    assert back.equals(model.recommend(k=3))
    assert back.schema == model.recommend(k=3).schema


def test_a_file_of_a_model_of_arrow_tables_has_its_types(tmp_path: Path) -> None:
    items = pa.array(["b", "a", "b", "c"], type=pa.large_string())
    model = Popularity().fit(pa.table({"user_id": pa.array([1, 2, 3, 4], type=pa.int16()), "item_id": items}))
    back = pq.read_table(model.recommend(k=3, to=tmp_path / "lists.parquet", chunk_size=2))
    assert back.equals(model.recommend(k=3).combine_chunks())
    assert pq.ParquetFile(tmp_path / "lists.parquet").num_row_groups == 2


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, target = fitted(), tmp_path / "lists.parquet"
    model.recommend(k=2, to=target)
    before, right = target.read_bytes(), Popularity._top_k

    def fails(self: Any, asked: Any, *args: Any, **options: Any) -> Any:
        if asked.ids.tolist() == [model.user_ids_.tolist()[1]]:
            raise KeyboardInterrupt
        return right(self, asked, *args, **options)

    monkeypatch.setattr(Popularity, "_top_k", fails)
    with pytest.raises(KeyboardInterrupt):
        model.recommend(k=2, to=target, chunk_size=1)
    assert target.read_bytes() == before
    assert os.listdir(tmp_path) == ["lists.parquet"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    target = tmp_path / "no" / "lists.parquet"
    sentence = f"recommend: to: cannot write {str(target)!r}: No such file or directory; make its folder first"
    with pytest.raises(DataError, match=exactly(sentence)):
        fitted().recommend(to=target)


def test_without_pyarrow_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.import_module

    def absent(name: str) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return find(name)

    monkeypatch.setattr(frame_parquet.importlib, "import_module", absent)
    sentence = (
        "recommend: to needs pyarrow to write Parquet, but it is not installed here; "
        "install it (pip install 'twotower[parquet]')"
    )
    with pytest.raises(ImportError, match=exactly(sentence)):
        fitted().recommend(to=tmp_path / "lists.parquet")
    assert os.listdir(tmp_path) == []


def test_chunks_are_made_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    right = Popularity._top_k

    def counted(self: Any, asked: Any, *args: Any, **options: Any) -> Any:
        calls.append(len(asked))
        return right(self, asked, *args, **options)

    monkeypatch.setattr(Popularity, "_top_k", counted)
    tables = Popularity().fit(interactions()).recommend(k=2, chunk_size=3)
    assert calls == []
    next(tables)
    assert calls == [3]
    monkeypatch.setattr(_recommend, "USERS_A_PASS", 2)
    assert len(list(tables)) == 2
    assert calls == [3, 2, 1, 1]


def test_long_lists_are_made_for_fewer_users_at_a_time() -> None:
    assert [_recommend.users_a_pass(k) for k in (1, 512, 1024, 10**9)] == [8192, 8192, 4096, 1]


@pytest.mark.parametrize(("verbose", "reader", "shown"), [(1, True, True), (1, False, False), (0, True, False)])
def test_a_bar_where_somebody_watches_and_it_lasts(
    monkeypatch: pytest.MonkeyPatch, *, verbose: int, reader: bool, shown: bool
) -> None:
    terminal, make = io.StringIO(), _progress._new_bar
    monkeypatch.setattr(_progress, "_has_reader", lambda: reader)
    monkeypatch.setattr("sys.stderr", terminal)
    model = Popularity(verbose=verbose).fit(interactions())
    monkeypatch.setattr(_recommend, "USERS_A_PASS", 2)
    model.recommend(k=2)
    assert terminal.getvalue() == ""  # done within a second
    monkeypatch.setattr(_progress, "_new_bar", lambda **options: make(**(options | {"delay": 0})))
    for _ in model.recommend(k=2, chunk_size=3):
        pass
    assert ("recommend: 100%" in terminal.getvalue()) is shown
    assert ("7/7" in terminal.getvalue()) is shown


def test_a_bar_that_is_not_shown_counts_nothing() -> None:
    with Bar("recommend", total=3, unit="user", verbose=2) as bar:
        bar.add(3)
