"""MovieLens in its four formats: the real sets where they lie beside the repository, the others written here."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from twotower import datasets
from twotower.datasets import movielens
from twotower.errors import DataError

FILES_100K = {
    "u.data": b"196\t242\t3\t881250949\n186\t302\t1\t891717742\n",
    "u.item": (
        "242|Kolya (1996)|24-Jan-1997||http://x|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
        "302|Café, The (1997) (V)|01-Jan-1997||http://y|0|0|0|0|0|0|1|0|0|0|1|0|0|1|0|0|1|0|0\n"
        "267|unknown|||http://z|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
    ).encode("latin-1"),
    "u.user": b"186|39|F|executive|00000\n196|49|M|writer|T8H1N\n",
}
FILES_1M = {
    "ratings.dat": b"1::1193::5::978300760\n2::661::3::978302109\n",
    "movies.dat": "1193::One Flew: the Café :: Part (1975)::Drama|Children's\n661::Plain::Comedy\n".encode("latin-1"),
    "users.dat": b"1::F::1::10::48067\n2::M::56::0::70072-1234\n",
}
FILES_10M = {
    "ratings.dat": b"1::122::5::838985046\n1::185::4.5::838983525\n71567::2107::0.5::1231131\n",
    "movies.dat": ("122::Boomerang (1992)::Comedy|Romance\n185::Café (a.k.a. X) (1995)::(no genres listed)\n").encode(),
    "tags.dat": "15::4973::excellent!::1215184630\n20::1747::a::b café::1188263867\n".encode(),
}
FILES_CSV = {
    "ratings.csv": b"userId,movieId,rating,timestamp\r\n1,2,3.5,1112486027\r\n138493,71619,5.0,1255811136\r\n",
    "movies.csv": (
        "movieId,title,genres\r\n"
        '2,"American President, The (1995)",Comedy|Drama\r\n'
        '71619,"Say ""Ahoj"" (Café) (2006\u20132007) ",(no genres listed)\r\n'
        "9,Babylon 5,Sci-Fi\r\n10,Series (2011- ),Drama\r\n11,(1999),Drama\r\n"
    ).encode(),
    "tags.csv": b'userId,movieId,tag,timestamp\r\n18,4141,"a, b",1240597180\r\n',
    "links.csv": b"movieId,imdbId,tmdbId\r\n1,0114709,862\r\n791,0113610,\r\n",
}


def write(folder: Path, files: dict[str, bytes], **changed: bytes | None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**files, **{name.replace("_", "."): content for name, content in changed.items()}}.items():
        if content is not None:
            (folder / name).write_bytes(content)
    return folder


def write_zip(path: Path, inner: str, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(inner + name, content)
    return path


def rows(frame: Any) -> list[tuple[Any, ...]]:
    """Rows of any frame as plain Python values, None where missing."""
    if isinstance(frame, pa.Table):
        return [tuple(row.values()) for row in frame.to_pylist()]
    if isinstance(frame, pl.DataFrame):
        return frame.rows()
    return [tuple(None if value is pd.NA else value for value in row) for row in frame.itertuples(index=False)]


def names(frame: Any) -> list[str]:
    return list(frame.column_names if isinstance(frame, pa.Table) else frame.columns)


# --- the real sets ----------------------------------------------------------------------------------------------------


def test_ml_100k(shared_data: Any) -> None:
    data = movielens("ml-100k", path=shared_data / "ml-100k.zip", kind="pandas")
    assert repr(data) == (
        "MovieLens ml-100k (pandas)\n"
        "  ratings     100000 rows  user_id, item_id, rating, timestamp\n"
        "  users          943 rows  user_id, gender, age, occupation, zip_code\n"
        "  items         1682 rows  item_id, title, year, genres"
    )
    assert data.ratings.dtypes.astype(str).to_dict() == {
        "user_id": "int64",
        "item_id": "int64",
        "rating": "float64",
        "timestamp": "int64",
    }
    assert data.ratings.iloc[0].tolist() == [196, 242, 3, 881250949]
    assert (data.ratings.user_id.nunique(), data.ratings.item_id.nunique()) == (943, 1682)
    assert data.ratings.rating.value_counts().sort_index().tolist() == [6110, 11370, 27145, 34174, 21201]
    with zipfile.ZipFile(shared_data / "ml-100k.zip") as archive:
        lines = archive.read("ml-100k/u.data").split()
    assert data.ratings.to_numpy().astype(np.int64).ravel().tolist() == [int(field) for field in lines]
    assert rows(data.users)[0] == (1, "M", 24, "technician", "85711")
    assert (data.users.occupation.nunique(), data.users.age.min(), data.users.age.max()) == (21, 7, 73)
    items = data.items.set_index("item_id")
    assert items.loc[1].tolist() == ["Toy Story", 1995, ["Animation", "Children's", "Comedy"]]
    assert items.loc[267].tolist() == ["unknown", pd.NA, ["unknown"]]
    assert items.year.isna().sum() == 1
    assert len({genre for genres in items.genres for genre in genres}) == 19
    assert "Misérables, Les" in set(items.title)
    assert data.tags is None
    assert data.links is None


def test_ml_1m(shared_data: Any) -> None:
    data = movielens(path=shared_data / "ml-1m-rebuilt.zip", kind="pandas")
    assert data.name == "ml-1m"
    assert (len(data.ratings), len(data.users), len(data.items)) == (1_000_209, 6_040, 3_883)
    assert data.ratings.rating.value_counts().sort_index().tolist() == [56174, 107557, 261197, 348971, 226310]
    assert (data.ratings.user_id.nunique(), data.ratings.item_id.nunique()) == (6040, 3706)
    assert data.ratings.iloc[[0, -1]].to_numpy().tolist() == [[1, 1193, 5, 978300760], [6040, 1097, 4, 956715569]]
    assert rows(data.users)[0] == (1, "F", 1, "K-12 student", "48067")
    assert sorted(data.users.age.unique()) == [1, 18, 25, 35, 45, 50, 56]
    assert data.users.occupation.nunique() == 21
    assert data.items.year.notna().all()
    assert rows(data.items)[0] == (1, "Toy Story", 1995, ["Animation", "Children's", "Comedy"])
    assert data.tags is None


def test_ml_latest_small(shared_data: Any) -> None:
    data = movielens("ml-latest-small", path=shared_data / "ml-latest-small.zip", kind="pandas")
    assert (len(data.ratings), len(data.items), len(data.tags), len(data.links)) == (100_836, 9_742, 3_683, 9_742)
    assert data.users is None
    assert (data.ratings.user_id.nunique(), data.ratings.item_id.nunique()) == (610, 9724)
    assert sorted(data.ratings.rating.unique()) == [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5]
    items = data.items.set_index("item_id")
    assert items.loc[171749].tolist() == ["Death Note: Desu nôto", 2006, []]
    assert (items.genres.map(len) == 0).sum() == 34
    assert items.year.isna().sum() == 12
    assert rows(data.links)[0] == (1, "0114709", 862)
    assert data.links.tmdb_id.isna().sum() == 8
    assert rows(data.tags)[1] == (2, 60756, "Highly quotable", 1445714996)


# --- the formats, in files written here -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_100k_format(tmp_path: Path, kind: str) -> None:
    data = movielens("ml-100k", write(tmp_path, FILES_100K), kind=kind)
    assert data.kind == kind
    assert rows(data.ratings) == [(196, 242, 3.0, 881250949), (186, 302, 1.0, 891717742)]
    assert names(data.users) == ["user_id", "gender", "age", "occupation", "zip_code"]
    assert rows(data.users) == [(186, "F", 39, "executive", "00000"), (196, "M", 49, "writer", "T8H1N")]
    assert names(data.items) == ["item_id", "title", "year", "genres"]
    assert rows(data.items) == [
        (242, "Kolya", 1996, ["Comedy"]),
        (302, "Café, The (V)", 1997, ["Crime", "Film-Noir", "Mystery", "Thriller"]),
        (267, "unknown", None, ["unknown"]),
    ]


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_1m_format(tmp_path: Path, kind: str) -> None:
    data = movielens("ml-1m", write(tmp_path, FILES_1M), kind=kind)
    assert rows(data.ratings) == [(1, 1193, 5.0, 978300760), (2, 661, 3.0, 978302109)]
    assert rows(data.users) == [(1, "F", 1, "K-12 student", "48067"), (2, "M", 56, "other", "70072-1234")]
    assert rows(data.items) == [
        (1193, "One Flew: the Café :: Part", 1975, ["Drama", "Children's"]),
        (661, "Plain", None, ["Comedy"]),
    ]


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_10m_format(tmp_path: Path, kind: str) -> None:
    data = movielens("ml-10m", write(tmp_path / "ml-10M100K", FILES_10M).parent, kind=kind)
    assert rows(data.ratings) == [(1, 122, 5.0, 838985046), (1, 185, 4.5, 838983525), (71567, 2107, 0.5, 1231131)]
    assert rows(data.items) == [(122, "Boomerang", 1992, ["Comedy", "Romance"]), (185, "Café (a.k.a. X)", 1995, [])]
    assert names(data.tags) == ["user_id", "item_id", "tag", "timestamp"]
    assert rows(data.tags) == [(15, 4973, "excellent!", 1215184630), (20, 1747, "a::b café", 1188263867)]
    assert data.users is None
    assert data.links is None


@pytest.mark.parametrize("name", ["ml-20m", "ml-25m", "ml-32m", "ml-latest", "ml-latest-small"])
@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_csv_format(tmp_path: Path, name: str, kind: str) -> None:
    data = movielens(name, write_zip(tmp_path / "set.zip", f"{name}/", FILES_CSV), kind=kind)
    assert data.name == name
    assert rows(data.ratings) == [(1, 2, 3.5, 1112486027), (138493, 71619, 5.0, 1255811136)]
    assert rows(data.items) == [
        (2, "American President, The", 1995, ["Comedy", "Drama"]),
        (71619, 'Say "Ahoj" (Café)', 2006, []),
        (9, "Babylon 5", None, ["Sci-Fi"]),
        (10, "Series", 2011, ["Drama"]),
        (11, "(1999)", None, ["Drama"]),
    ]
    assert rows(data.tags) == [(18, 4141, "a, b", 1240597180)]
    assert names(data.links) == ["item_id", "imdb_id", "tmdb_id"]
    assert rows(data.links) == [(1, "0114709", 862), (791, "0113610", None)]
    assert data.users is None


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_tables_without_rows_keep_their_types(tmp_path: Path, kind: str) -> None:
    headers = {name: content[: content.index(b"\n") + 1] for name, content in FILES_CSV.items()}
    full = movielens(path=write(tmp_path / "full", FILES_CSV), kind=kind)
    empty = movielens(path=write(tmp_path / "empty", headers), kind=kind)
    for name in ("ratings", "items", "tags", "links"):
        table, other = getattr(empty, name), getattr(full, name)
        assert rows(table) == []
        assert names(table) == names(other)
        if kind == "pandas":
            assert table.dtypes.tolist() == other.dtypes.tolist()
        else:
            assert table.schema == other.schema


def test_tags_and_links_may_be_left_out(tmp_path: Path) -> None:
    data = movielens("ml-25m", write(tmp_path, FILES_CSV, tags_csv=None, links_csv=None))
    assert data.tags is None
    assert data.links is None


def test_the_genre_names_come_from_their_file_where_it_is_there(tmp_path: Path) -> None:
    genres = b"".join(b"G%d|%d\n" % (row, row) for row in reversed(range(19))) + b"\n"
    data = movielens(path=write(tmp_path, FILES_100K, u_genre=genres), kind="polars")
    assert data.items["genres"].to_list() == [["G5"], ["G6", "G10", "G13", "G16"], ["G0"]]


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_kind_defaults_to_the_first_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    find = datasets._tables.importlib.util.find_spec
    later = datasets._tables.KINDS[datasets._tables.KINDS.index(library) :]
    monkeypatch.setattr(
        datasets._tables.importlib.util, "find_spec", lambda name: find(name) if name in later else None
    )
    assert movielens(path=write(tmp_path, FILES_1M)).kind == library


# --- which set a path holds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "inner", "name"),
    [
        (FILES_100K, "", "ml-100k"),
        (FILES_100K, "ml-100k/", "ml-100k"),
        (FILES_1M, "", "ml-1m"),
        (FILES_10M, "ml-10M100K/", "ml-10m"),
        (FILES_CSV, "ml-25m/", "ml-25m"),
        (FILES_CSV, "a/b/ml-latest-small/", "ml-latest-small"),
        (FILES_CSV, "ml-latest/", "ml-latest"),
        (FILES_CSV, "", "ml-latest"),
        (FILES_CSV, "ml-1m/", "ml-latest"),  # no name of a set in this format
    ],
)
def test_the_name_is_inferred(tmp_path: Path, files: dict[str, bytes], inner: str, name: str) -> None:
    assert movielens(path=write_zip(tmp_path / "set.zip", inner, files)).name == name
    if inner.count("/") < 2:
        write(tmp_path / "folder" / inner, files)
        assert movielens(path=tmp_path / "folder").name == name


def test_the_name_of_an_archive_counts_if_nothing_else_tells(tmp_path: Path) -> None:
    assert movielens(path=write_zip(tmp_path / "my-ml-20m-copy.zip", "", FILES_CSV)).name == "ml-20m"
    assert movielens("ml-32m", path=write_zip(tmp_path / "ml-20m.zip", "", FILES_CSV)).name == "ml-32m"


def test_a_folder_of_several_sets_needs_a_name(tmp_path: Path) -> None:
    write(tmp_path / "ml-20m", FILES_CSV)
    write(tmp_path / "ml-25m", FILES_CSV)
    write(tmp_path / "other", FILES_1M)
    assert movielens("ml-25m", tmp_path).name == "ml-25m"
    assert movielens("ml-1m", str(tmp_path)).name == "ml-1m"
    with pytest.raises(DataError) as caught:
        movielens(path=tmp_path)
    assert str(caught.value) == (
        f"movielens: {tmp_path} holds several sets (ml-20m, ml-25m, other); give the name or the folder of one"
    )


def test_what_macos_adds_to_archives_is_passed_over(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", "ml-1m/", FILES_1M)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/ml-1m/ratings.dat", b"\x00")
    assert movielens(path=path).name == "ml-1m"


# --- bad input, each with its sentence --------------------------------------------------------------------------------


def sentence(*arguments: Any, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        movielens(*arguments, **options)
    return str(caught.value)


def test_unknown_names(tmp_path: Path) -> None:
    listed = "ml-100k, ml-1m, ml-10m, ml-20m, ml-25m, ml-32m, ml-latest, ml-latest-small"
    with pytest.raises(ValueError, match="movielens") as caught:
        movielens("ml100k")
    assert str(caught.value) == (f"movielens: name is 'ml100k', but must be one of {listed}; did you mean 'ml-100k'?")
    with pytest.raises(ValueError, match="movielens") as caught:
        movielens("xyz", tmp_path)
    assert str(caught.value) == f"movielens: name is 'xyz', but must be one of {listed}"
    with pytest.raises(ValueError, match="movielens") as caught:
        movielens()
    assert str(caught.value) == (
        "movielens: name and path are None, but one must be given; movielens('ml-100k') downloads a set"
    )


def test_unknown_and_absent_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="movielens") as caught:
        movielens("ml-100k", tmp_path, kind="arrow")
    assert str(caught.value) == (
        "movielens: kind is 'arrow', but must be one of 'pandas', 'polars', 'pyarrow', or None"
    )
    monkeypatch.setattr(datasets._tables.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError) as absent:
        movielens("ml-100k", tmp_path, kind="polars")
    assert str(absent.value) == "movielens: polars is not installed; run pip install polars"
    with pytest.raises(ImportError) as absent:
        movielens("ml-100k", tmp_path)
    assert str(absent.value) == "movielens: pandas, polars or pyarrow is not installed; run pip install pandas"


def test_nothing_at_the_path(tmp_path: Path) -> None:
    assert sentence("ml-1m", tmp_path / "no.zip") == (
        f"movielens: path is '{tmp_path / 'no.zip'}', but there is no such folder or file; "
        "correct it, or leave path out to download the set"
    )


def test_no_movielens_files(tmp_path: Path) -> None:
    wanted = (
        "holds no MovieLens files; looked for u.data (ml-100k), ratings.dat (ml-1m, ml-10m) and ratings.csv "
        "(ml-20m and later), there and in its sub-folders"
    )
    path = write_zip(tmp_path / "set.zip", "", {"readme.txt": b"hello"})
    assert sentence("ml-1m", path) == f"movielens: {path} {wanted}"
    assert sentence(path=write(tmp_path / "empty", {})) == f"movielens: {tmp_path / 'empty'} {wanted}"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_archive(tmp_path: Path, share: float) -> None:
    path = write_zip(tmp_path / "set.zip", "ml-1m/", FILES_1M)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert sentence("ml-1m", path) == (
        f"movielens: {path} is not a whole zip archive (File is not a zip file); "
        "it may be truncated: delete it and get it again"
    )


def test_a_damaged_member(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in FILES_1M.items():
            archive.writestr("ml-1m/" + name, content)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"1::1193::5", b"1::1193::4"))
    assert sentence("ml-1m", path) == (
        f"movielens: {path} is damaged (Bad CRC-32 for file 'ml-1m/ratings.dat'); delete it and get it again"
    )


@pytest.mark.parametrize(
    ("name", "inner", "files", "there"),
    [
        ("ml-1m", "", FILES_100K, "ml-100k"),
        ("ml-100k", "", FILES_1M, "ml-1m"),
        ("ml-1m", "ml-10M100K/", FILES_10M, "ml-10m"),
        ("ml-10m", "", FILES_CSV, "a set of ml-20m or later"),
        ("ml-20m", "ml-25m/", FILES_CSV, "ml-25m"),
        ("ml-latest", "ml-latest-small/", FILES_CSV, "ml-latest-small"),
    ],
)
def test_a_name_that_does_not_match(tmp_path: Path, name: str, inner: str, files: dict[str, bytes], there: str) -> None:
    path = write_zip(tmp_path / "set.zip", inner, files)
    assert sentence(name, path) == (
        f"movielens: name is '{name}', but {path} holds {there}; correct it, or leave name out"
    )


def test_half_a_set(tmp_path: Path) -> None:
    write(tmp_path, FILES_100K)
    (tmp_path / "u.item").unlink()
    (tmp_path / "u.user").unlink()
    assert sentence("ml-100k", tmp_path) == (
        f"movielens: {tmp_path} holds u.data but not u.item and u.user, which ml-100k has too; take the whole set"
    )


@pytest.mark.parametrize(
    ("files", "file", "content", "message"),
    [
        (
            FILES_100K,
            "u.data",
            b"1\t2\t3\t4\n1\t2\t3\n",
            "u.data, line 2 is '1\\t2\\t3', but must be four numbers with '\\t' between them "
            "(user, item, rating, timestamp); correct it, or take the original file",
        ),
        (
            FILES_1M,
            "ratings.dat",
            b"1::2::good::4",
            "ratings.dat, line 1 is '1::2::good::4', but must be four numbers with '::' between them "
            "(user, item, rating, timestamp); correct it, or take the original file",
        ),
        (
            FILES_CSV,
            "ratings.csv",
            b"userId,movieId,rating,timestamp\n1,2,3,4\n\n1,2,nan,4\n",
            "ratings.csv, line 4 is '1,2,nan,4', but must be four numbers with ',' between them "
            "(user, item, rating, timestamp); correct it, or take the original file",
        ),
        (
            FILES_CSV,
            "ratings.csv",
            b"user,movie,rating,timestamp\n1,2,3,4\n",
            "ratings.csv, line 1 is 'user,movie,rating,timestamp', but must be 'userId,movieId,rating,timestamp'; "
            "take the original file",
        ),
        (
            FILES_100K,
            "u.item",
            b"1|A (1999)|||x" + b"|0" * 18 + b"|2\n",
            "u.item, line 1 is '1|A (1999)|||x" + "|0" * 18 + "|2', but must be 5 fields and 19 genre flags (0 or 1) "
            "with | between; correct it, or take the original file",
        ),
        (
            FILES_100K,
            "u.user",
            b"1|24|M|technician|85711\n2|x|F|other|94043\n",
            "u.user, line 2 is '2|x|F|other|94043', but must be user id|age|gender|occupation|zip code; "
            "correct it, or take the original file",
        ),
        (
            FILES_100K,
            "u.genre",
            b"Action|one\n",
            "u.genre, line 1 is 'Action|one', but must be genre|number of its flag; "
            "correct it, or take the original file",
        ),
        (
            FILES_1M,
            "users.dat",
            b"1::F::1::21::48067\n",
            "users.dat, line 1 is '1::F::1::21::48067', but must be user id::gender::age::occupation (0 to 20)::zip "
            "code; correct it, or take the original file",
        ),
        (
            FILES_10M,
            "movies.dat",
            b"122::Boomerang (1992)\n",
            "movies.dat, line 1 is '122::Boomerang (1992)', but must be item id::title::genres; "
            "correct it, or take the original file",
        ),
        (
            FILES_10M,
            "movies.dat",
            "122::Café::Drama\n".encode("latin-1"),
            "movies.dat is not utf-8 text (invalid continuation byte); take the original file",
        ),
        (
            FILES_CSV,
            "movies.csv",
            b'movieId,title,genres\n1,"a,\nb",Drama\n2,a,b,Drama\n',
            "movies.csv, line 4 is '2,a,b,Drama', but must be item id,title,genres; "
            "correct it, or take the original file",
        ),
        (
            FILES_CSV,
            "links.csv",
            b"movieId,imdbId,tmdbId\n1,0114709,tt\n",
            "links.csv, line 2 is '1,0114709,tt', but must be item id,imdb id,tmdb id or nothing; "
            "correct it, or take the original file",
        ),
        (
            FILES_CSV,
            "tags.csv",
            b"userId,movieId,tag,timestamp\n1,2,tag,late\n",
            "tags.csv, line 2 is '1,2,tag,late', but must be user id,item id,tag,timestamp; "
            "correct it, or take the original file",
        ),
    ],
)
def test_malformed_lines(tmp_path: Path, files: dict[str, bytes], file: str, content: bytes, message: str) -> None:
    assert sentence(path=write(tmp_path, {**files, file: content})) == f"movielens: {message}"
