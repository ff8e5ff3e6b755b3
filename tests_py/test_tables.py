"""Tables of every kind of column in every kind of frame."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from twotower.datasets import _tables


def columns(count: int) -> dict[str, _tables.Column]:
    return {
        "id": np.arange(count),
        "score": np.arange(count) / 2,
        "year": np.ma.MaskedArray(np.arange(count), np.arange(count) % 2 == 1),
        "title": [f"t{row}" for row in range(count)],
        "genres": _tables.Lists([["g"] * row for row in range(count)]),
    }


@pytest.mark.parametrize("count", [0, 1, 3])
def test_columns_keep_their_types(count: int) -> None:
    frame = _tables.build("pandas", columns(count))
    assert isinstance(frame, pd.DataFrame)
    assert frame.dtypes.tolist() == ["int64", "float64", "Int64", pd.Series(["t"], dtype=str).dtype, "object"]
    frame = _tables.build("polars", columns(count))
    assert frame.schema == {
        "id": pl.Int64,
        "score": pl.Float64,
        "year": pl.Int64,
        "title": pl.String,
        "genres": pl.List(pl.String),
    }
    table = _tables.build("pyarrow", columns(count))
    assert table.schema.types == [pa.int64(), pa.float64(), pa.int64(), pa.string(), pa.list_(pa.string())]
    rows = [
        {"id": row, "score": row / 2, "year": None if row % 2 else row, "title": f"t{row}", "genres": ["g"] * row}
        for row in range(count)
    ]
    assert table.to_pylist() == frame.to_dicts() == rows


def test_large_columns_are_not_copied_into_pandas() -> None:
    ids = np.arange(1000)
    assert np.shares_memory(_tables.build("pandas", {"id": ids})["id"].to_numpy(), ids)


def test_describe_leaves_out_absent_tables() -> None:
    frame = _tables.build("polars", columns(3))
    assert _tables.describe("Set", "polars", {"items": frame, "tags": None}) == (
        "Set (polars)\n  items            3 rows  id, score, year, title, genres"
    )
