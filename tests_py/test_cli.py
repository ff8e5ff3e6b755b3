"""The command line, in this process and once as a process of its own: what it prints, where, and how it ends."""

from __future__ import annotations

import csv
import importlib.util
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import twotower as tt
from twotower.cli import _data, _text, main

Run = Callable[..., tuple[int, str, str]]

# So small a model may lose to popularity, of which `fit` warns; that is no failure of the command.
pytestmark = pytest.mark.filterwarnings("default::UserWarning")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; its exit code, what it printed and what it said."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err or "--debug" in words
        return code, out, err

    return run


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ratings, users and items in files of several forms."""
    folder = tmp_path_factory.mktemp("tables")
    data = tt.datasets.synthetic(150, 60, 3_000, kind="pandas")
    data.ratings.to_csv(folder / "ratings.csv", index=False)
    data.ratings.to_csv(folder / "ratings.tsv.gz", index=False, sep="\t")
    data.users.to_csv(folder / "users.csv", index=False)
    data.items.assign(genres=data.items["genres"].str.join("|")).to_csv(folder / "items.csv", index=False)
    words = {
        "customer": "u" + data.ratings["user_id"].astype(str),
        "product": "p" + data.ratings["item_id"].astype(str),
    }
    pd.DataFrame(words).to_csv(folder / "words.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def model(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of all the ratings."""
    path = tmp_path_factory.mktemp("models") / "all.twotower"
    words = ["train", "--data", tables / "ratings.csv", "--output", path, "--dim", 8, "--epochs", 2, "--quiet"]
    assert main([str(word) for word in words]) == 0
    return path


def cells(out: str) -> list[list[str]]:
    """Split a printed table at its columns."""
    return [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]


# --- train ------------------------------------------------------------------------------------------------------------


def test_train_writes_the_model_that_fit_gives(run: Run, tables: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.twotower"
    code, out, err = run(
        "train", "--data", tables / "ratings.csv", "--output", path, "--dim", 8, "--epochs", 2, "--temperature", 0.2,
        "--learning-rate", 0.01, "--batch-size", 64, "--random-state", 3, "--threads", 1,
    )  # fmt: skip
    assert code == 0
    options = {"dim": 8, "epochs": 2, "temperature": 0.2, "learning_rate": 0.01, "batch_size": 64, "random_state": 3}
    expected = tt.TwoTower(**options, verbose=0).fit(pd.read_csv(tables / "ratings.csv"))
    assert tt.load(path).recommend(k=5).equals(expected.recommend(k=5))
    assert re.fullmatch(rf"{re.escape(str(path))}: 150 users, \d+ items, \d\.\d MB, fitted in \d+\.\d s\n", out)
    assert err.startswith("ratings.csv: 3,000 rows; all for training\n")
    assert "epoch 2/2" in err


def test_train_learns_from_the_tables_of_users_and_items(run: Run, tables: Path, tmp_path: Path) -> None:
    words = [
        "train",
        "--data",
        tables / "ratings.csv",
        "--users",
        tables / "users.csv",
        "--items",
        tables / "items.csv",
    ]
    words += ["--dim", 4, "--epochs", 1, "--quiet"]
    assert run(*words, "--output", tmp_path / "with")[0] == 0
    assert run(*words, "--output", tmp_path / "without", "--no-features")[0] == 0
    columns = [{field.column for field in tt.load(tmp_path / name).schema_.fields} for name in ("with", "without")]
    assert {"gender", "age", "occupation", "year"} <= columns[0]
    assert not columns[1] & {"gender", "age", "occupation", "year", "genres"}


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (["--test", 0.2], "test: 20 % of the rows, the newest"),
        (
            ["--test", 0.2, "--valid", 0.125],
            "test: 20 % of the rows, the newest; validation: 12.5 % of the rows, the newest of the others",
        ),
        (["--split", "random", "--test", 0.3], "test: 30 % of the rows, drawn at random"),
        (
            ["--split", "leave_last", "--test", 2, "--valid", 1],
            "test: each user's 2 newest rows; validation: each user's newest row of the others",
        ),
    ],
)
def test_train_measures_on_what_it_held_out(
    run: Run, tables: Path, tmp_path: Path, split: list[Any], said: str
) -> None:
    path = tmp_path / "m.twotower"
    words = ["--data", tables / "ratings.csv", *split]
    code, out, err = run("train", *words, "--output", path, "--dim", 8, "--epochs", 3)
    assert code == 0
    assert err.splitlines()[0] == f"ratings.csv: 3,000 rows; {said}"
    head, popularity, ours, note, last = cells(out)
    assert head == ["model", "recall@10", "ndcg@10", "hit_rate@10", "coverage@10"]
    assert (popularity[0], ours[0]) == ("Popularity", "TwoTower")
    assert all(0 <= float(value) <= 1 for value in popularity[1:] + ours[1:])
    assert re.match(r"\(means over \d+ test users, of \d+ items", note[0])
    assert last[0].startswith(str(path))
    # `evaluate` with the same split prints the same figures.
    repeated = [word for word in words if word != "--valid" and words[words.index(word) - 1] != "--valid"]
    code, again, err = run("evaluate", path, *repeated)
    assert code == 0
    assert "warning" not in err
    assert cells(again)[:3] == [head, popularity, ours]


def test_validation_without_a_test_part(run: Run, tables: Path, tmp_path: Path) -> None:
    words = ["train", "--data", tables / "ratings.csv", "--dim", 4, "--epochs", 2]
    code, _, err = run(*words, "--valid", 0.2, "--output", tmp_path / "m")
    assert code == 0
    assert "ratings.csv: 3,000 rows; validation: 20 % of the rows, the newest\n" in err
    assert "ndcg@10" in err
    assert len(tt.load(tmp_path / "m").history_) == 2_400


def test_min_rating_reaches_the_model(run: Run, tables: Path, tmp_path: Path) -> None:
    words = ["train", "--data", tables / "ratings.csv", "--output", tmp_path / "m", "--dim", 4, "--epochs", 1]
    assert run(*words, "--min-rating", 4, "--test", 0.2)[0] == 0
    model = tt.load(tmp_path / "m")
    assert (model.rating_col, model.min_rating) == ("rating", 4.0)
    code, _, err = run(
        "train", "--data", tables / "words.csv", "--user-col", "customer", "--item-col", "product", "--min-rating", 4,
        "--output", tmp_path / "m",
    )  # fmt: skip
    assert code == 1
    assert err.splitlines()[-1] == (
        "twotower: error: train: --min-rating needs a column of ratings, but words.csv has none; name it with --rating-col"
    )


def test_an_interrupted_fit_is_saved_beside_the_old_model(
    run: Run, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.twotower"
    path.write_bytes(b"the model of yesterday")
    fit = tt.TwoTower.fit

    def interrupted(self: tt.TwoTower, *args: Any, **keywords: Any) -> tt.TwoTower:
        fit(self, *args, **keywords)
        raise KeyboardInterrupt

    monkeypatch.setattr(tt.TwoTower, "fit", interrupted)
    words = ["train", "--data", tables / "ratings.csv", "--output", path, "--dim", 4, "--epochs", 1, "--quiet"]
    code, out, err = run(*words)
    assert (code, out) == (130, "")
    assert err == f"twotower: interrupted; the model as it stood is in {path}.interrupted\n"
    assert path.read_bytes() == b"the model of yesterday"
    assert len(tt.load(f"{path}.interrupted").recommend([1], k=3)) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--test", 1.5],
            "train: --test is 1.5, but must be above 0 and below 1 with --split time, a share of the rows",
        ),
        (
            ["--split", "leave_last", "--valid", 0.5],
            "train: --valid is 0.5, but must be a whole number of at least 1 with --split leave_last, the rows of each user",
        ),
        (
            ["--split", "random", "--test", "nan"],
            "train: --test is nan, but must be above 0 and below 1 with --split random, a share of the rows",
        ),
        (["--test", 0.6, "--valid", 0.6], "split.time: valid and test are 0.6 and 0.6, but must be below 1 together"),
        (["--dim", 0], "fit: dim is 0, but must be at least 1"),
        (
            ["--threads", 0],
            "fit: n_jobs is 0, but must be -1 (every CPU this process may use) or an integer of at least 1",
        ),
        (
            ["--user-col", "usr_id"],
            "--data has no column 'usr_id'; its columns are 'user_id', 'item_id', 'rating', 'timestamp'; "
            "did you mean 'user_id'?",
        ),
        (["--users", "nowhere.csv"], "--users: there is no file 'nowhere.csv'; correct the path"),
        (
            ["--data", "nowhere.zip"],
            "--data: there is no file or folder 'nowhere.zip'; correct the path, "
            "or get a set with 'twotower download ml-latest-small'",
        ),
        (
            ["--output", "nowhere/m.twotower"],
            "--output: there is no folder 'nowhere'; make it first, or write elsewhere",
        ),
        (["--output", "."], "--output: '.' is a folder; name a file in it"),
    ],
)
def test_what_train_refuses(run: Run, tables: Path, tmp_path: Path, words: list[Any], message: str) -> None:
    path = tmp_path / "m.twotower"
    code, out, err = run("train", "--data", tables / "ratings.csv", "--output", path, *words)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == f"twotower: error: {message}"
    assert list(tmp_path.iterdir()) == []


# --- what --data may be -----------------------------------------------------------------------------------------------


def test_tables_of_words_with_columns_of_other_names(run: Run, tables: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.twotower"
    words = ["train", "--data", tables / "words.csv", "--output", path, "--dim", 4, "--epochs", 1]
    code, _, err = run(*words)
    assert code == 1
    assert err == (
        "twotower: error: --data has no column of user ids: its columns are 'customer', 'product', but must have user_id, "
        "userId, user or customer_id; name another with --user-col\n"
    )
    words += ["--user-col", "customer", "--item-col", "product"]
    # Without a column of times, the split is at random, and one by time is refused.
    code, _, err = run(*words, "--test", 0.2)
    assert (code, err.splitlines()[0]) == (0, "words.csv: 3,000 rows; test: 20 % of the rows, drawn at random")
    code, _, err = run(*words, "--test", 0.2, "--split", "time")
    assert code == 1
    assert err == (
        "twotower: error: train: --split time needs a column of times, but words.csv has none; name it with --time-col, "
        "or pass --split random\n"
    )
    code, out, _ = run("recommend", path, "--user", "u1", "-k", 2)
    assert code == 0
    assert cells(out)[0] == ["customer", "rank", "product", "score"]
    assert cells(out)[1][2].startswith("p")
    code, _, err = run("recommend", path, "--user", "1")
    assert code == 1
    assert err == (
        "twotower: error: recommend: user '1' is not in the model, whose ids are string "
        "('u1', 'u10', 'u100', 'u101', 'u102', ...); pass --on-unknown popular to get the most popular items\n"
    )


@pytest.mark.parametrize("form", ["tsv.gz", "parquet"])
def test_other_forms_of_tables(run: Run, tables: Path, tmp_path: Path, model: Path, form: str) -> None:
    path = tables / f"ratings.{form}"
    if form == "parquet":
        pytest.importorskip("pyarrow")
        path = tmp_path / "ratings.parquet"
        pd.read_csv(tables / "ratings.csv").to_parquet(path)
    words = ["--output", tmp_path / "m", "--dim", 8, "--epochs", 2, "--quiet"]
    assert run("train", "--data", path, *words)[0] == 0
    assert (tmp_path / "m").read_bytes() == model.read_bytes()


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize("form", ["csv", "tsv.gz", "parquet"])
def test_whichever_library_is_installed_reads_the_same(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, form: str
) -> None:
    pytest.importorskip(library)
    path = tables / f"ratings.{form}"
    if form == "parquet":
        pytest.importorskip("pyarrow")
        path = tmp_path / "ratings.parquet"
        pd.read_csv(tables / "ratings.csv").to_parquet(path)
    find, hidden = importlib.util.find_spec, {"pandas", "polars", "pyarrow", "fastparquet"} - {library}
    if library == "pandas":
        hidden -= {"pyarrow"}  # with which it reads Parquet
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in hidden else find(name))
    columns = _text.rows_of(_data.read_table(str(path), "--data"))
    expected = pd.read_csv(tables / "ratings.csv")
    assert list(columns) == list(expected.columns)
    for name, values in columns.items():
        np.testing.assert_array_equal(values, expected[name])


def test_files_that_cannot_be_read(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and then nothing")
    words = ["--output", tmp_path / "m"]
    code, _, err = run("train", "--data", broken, *words)
    assert code == 1
    assert re.fullmatch(
        rf"twotower: error: --data: '{re.escape(str(broken))}' cannot be read \(.+\); correct the file\n", err
    )
    other = tmp_path / "ratings.xlsx"
    other.write_bytes(b"")
    code, _, err = run("train", "--data", other, *words)
    assert err == (
        f"twotower: error: --data: '{other}' ends in none of .csv, .tsv, .csv.gz, .tsv.gz, .parquet, .pq; "
        "convert it, or give it its ending\n"
    )
    table = tmp_path / "ratings.csv"
    table.write_text("user_id,item_id\n1,2\n")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, err = run("train", "--data", table, *words)
    assert (code, err) == (
        1,
        "twotower: error: --data: nothing that reads CSV files is installed; run pip install pandas\n",
    )


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_any_one_frame_library_is_enough(tables: Path, model: Path, tmp_path: Path, library: str) -> None:
    pytest.importorskip(library)
    program = (
        "import importlib.util, sys\n"
        "from twotower.cli import main\n"
        "hidden = {'pandas', 'polars', 'pyarrow'} - {sys.argv[1]}\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in hidden:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hide())\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, package=None: None if name in hidden else find(name, package)\n"
        "ratings, titles, path = sys.argv[2:]\n"
        "words = ['--split', 'leave_last', '--test', '1']\n"
        "assert main(['train', '--data', ratings, '--output', path, '--dim', '8', '--epochs', '2', *words]) == 0\n"
        "assert main(['evaluate', path, '--data', ratings, *words]) == 0\n"
        "assert main(['recommend', path, '--user', '1', '-k', '3', '--data', titles]) == 0\n"
        "assert main(['similar', path, '--item', '1', '-k', '3']) == 0\n"
        "assert not hidden & set(sys.modules)\n"
    )
    environment = dict(os.environ, PYTHONPATH=str(Path(tt.__file__).resolve().parents[1]))
    command = [sys.executable, "-c", program, library, tables / "ratings.csv", tables / "items.csv", tmp_path / "m"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    # What comes out does not depend on the library.
    train, _ = tt.split.leave_last(pd.read_csv(tables / "ratings.csv"))
    expected = tt.TwoTower(dim=8, epochs=2, verbose=0).fit(train)
    lists = [line.split()[2] for line in done.stdout.splitlines() if re.match(r"\s*1\s+[123]\s+\d", line)]
    found = [*expected.recommend([1], k=3)["item_id"], *expected.similar_items([1], k=3)["similar_item_id"]]
    assert lists == [str(item) for item in found]


# --- evaluate ---------------------------------------------------------------------------------------------------------


def test_evaluate_tells_of_rows_that_the_model_was_fitted_on(
    run: Run, tables: Path, model: Path, tmp_path: Path
) -> None:
    ratings = ["--data", tables / "ratings.csv"]
    cure = "measure with the --split, --test and --random-state that it was trained with"
    code, out, err = run("evaluate", model, *ratings)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        "twotower: error: evaluate: the model was fitted on all 600 test rows of ratings.csv; "
        f"train with --test, or {cure}"
    )
    part = tmp_path / "part.twotower"
    words = ["--output", part, "--dim", 4, "--epochs", 1, "--quiet"]
    assert run("train", *ratings, *words, "--split", "random", "--test", 0.5)[0] == 0
    code, out, err = run("evaluate", part, *ratings, "--split", "random", "--test", 0.8)
    assert code == 0
    # 0.8 of the rows are the half that was held out and 0.3 of them all.
    assert err.splitlines()[-1] == (
        "twotower: warning: the model was fitted on 900 of the 2,400 test rows (38%), "
        f"which cannot come back in its lists; {cure}"
    )
    assert len(cells(out)) == 4


def test_evaluate_on_a_file_that_was_held_out(run: Run, tables: Path, tmp_path: Path) -> None:
    train, test = tt.split.time(pd.read_csv(tables / "ratings.csv"), test=0.2)
    for name, part in (("train", train), ("test", test)):
        part.to_csv(tmp_path / f"{name}.csv", index=False)
    path = tmp_path / "m.twotower"
    words = ["train", "--data", tmp_path / "train.csv", "--output", path, "--dim", 4, "--epochs", 1, "--quiet"]
    assert run(*words)[0] == 0
    metrics = ["recall@5", "novelty@5"]
    code, out, err = run("evaluate", path, "--data", tmp_path / "test.csv", "--all", "--metrics", *metrics)
    assert (code, err) == (0, "test.csv: 600 rows; all for the test\n")
    assert cells(out)[0] == ["model", *metrics]
    table = tt.evaluate([tt.Popularity().fit(train), tt.load(path)], test, metrics)
    for line, (_, row) in zip(cells(out)[1:3], table.iterrows(), strict=True):
        assert line[1:] == [f"{row[name]:.4f}" for name in metrics]


def test_evaluate_refuses_unknown_metrics(run: Run, tables: Path, model: Path) -> None:
    code, _, err = run("evaluate", model, "--data", tables / "words.csv")
    assert code == 1
    assert "--data has no column 'user_id'; its columns are 'customer', 'product'" in err
    held_out = ["--data", tables / "ratings.csv", "--all"]
    code, _, err = run("evaluate", model, *held_out)
    assert (code, "the model was fitted on all 3,000 test rows" in err) == (1, True)


# --- recommend and similar --------------------------------------------------------------------------------------------


def test_recommend_prints_what_the_model_recommends(run: Run, tables: Path, model: Path) -> None:
    code, out, err = run("recommend", model, "--user", 7, 3, "-k", 4, "--data", tables / "items.csv")
    assert (code, err) == (0, "")
    lists = tt.load(model).recommend([7, 3], k=4)
    items = pd.read_csv(tables / "items.csv").set_index("item_id")
    titles = [f"{items.loc[item, 'title']} ({items.loc[item, 'year']})" for item in lists["item_id"]]
    expected = [
        [str(row.user_id), str(row.rank), str(row.item_id), title, f"{row.score:.4f}"]
        for row, title in zip(lists.itertuples(), titles, strict=True)
    ]
    assert cells(out) == [["user_id", "rank", "item_id", "title", "score"], *expected]
    assert len({len(line) for line in out.splitlines()}) == 1  # the last column is of numbers, set to the right


def test_recommend_narrows_the_lists(run: Run, model: Path) -> None:
    _, plain, _ = run("recommend", model, "--user", 1, "-k", 3)
    best = cells(plain)[1][2]
    code, narrowed, _ = run("recommend", model, "--user", 1, "-k", 3, "--exclude", best, "999999")
    assert code == 0
    assert best not in {line[2] for line in cells(narrowed)}
    _, everything, _ = run("recommend", model, "--user", 1, "-k", 1000, "--include-seen")
    assert len(cells(everything)) == 1 + len(tt.load(model).item_ids_)


@pytest.mark.parametrize("word", ["999999", "-1", str(10**30)])
def test_an_unknown_user_is_named(run: Run, model: Path, word: str) -> None:
    code, out, err = run("recommend", model, "--user", 1, word)
    assert (code, out) == (1, "")
    assert err == (
        f"twotower: error: recommend: user {word} is not in the model, whose ids are int64 (1, 2, 3, 4, 5, ...); "
        "pass --on-unknown popular to get the most popular items\n"
    )
    code, out, _ = run("recommend", model, "--user", "999999", "-k", 2, "--on-unknown", "popular")
    assert code == 0
    assert [line[:2] for line in cells(out)[1:]] == [["999999", "1"], ["999999", "2"]]


def test_ids_that_are_not_written_like_the_models(run: Run, model: Path) -> None:
    code, _, err = run("recommend", model, "--user", "anna")
    assert code == 1
    assert err == (
        "twotower: error: recommend: user 'anna' is not a whole number, but the ids of this model are int64 "
        "(1, 2, 3, 4, 5, ...); write one of them\n"
    )
    code, _, err = run("similar", model, "--item", 999999)
    assert code == 1
    assert "similar: item 999999 is not in the model, whose ids are int64" in err
    assert err.endswith("; ask for one of them\n")
    assert run("recommend", model, "--user", 1, "-k", 0)[::2] == (
        1,
        "twotower: error: recommend: k is 0, but must be at least 1\n",
    )


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (np.array([0.5, 1.5, 2.5]), ["1.5", "0.5"]),
        (np.array(["2024-01-01", "2024-01-02", "2024-02-01"], dtype="datetime64[s]"), ["2024-01-02 00:00:00"]),
    ],
)
def test_ids_of_other_dtypes_are_written_as_they_print(ids: np.ndarray, words: list[str]) -> None:
    known = pd.Series(ids)
    found = _data.ids_of_words(words, known, "recommend: user", "x")
    assert [str(value) for value in found] == words
    with pytest.raises(tt.errors.UnknownIdError, match=r"recommend: user 'no' is not in the model, whose ids are"):
        _data.ids_of_words(["no"], known, "recommend: user", None)


def test_lists_for_everyone_go_to_a_file(run: Run, tables: Path, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "lists.csv"
    words = ["recommend", model, "--everyone", "-k", 2, "--output", path, "--data", tables / "items.csv"]
    code, out, err = run(*words)
    assert (code, out, err) == (0, f"{path}: 300 rows\n", "")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["user_id", "rank", "item_id", "title", "score"]
    assert [int(row["item_id"]) for row in rows] == tt.load(model).recommend(k=2)["item_id"].tolist()
    assert [file.name for file in tmp_path.iterdir()] == ["lists.csv"]
    assert run("recommend", model, "--everyone", "--output", tmp_path / "no" / "lists.csv")[::2] == (
        1,
        f"twotower: error: --output: there is no folder '{tmp_path / 'no'}'; make it first, or write elsewhere\n",
    )


def test_similar_prints_the_neighbors(run: Run, tables: Path, model: Path) -> None:
    code, out, err = run("similar", model, "--item", 5, 2, "-k", 3, "--data", tables / "items.csv")
    assert (code, err) == (0, "")
    lines = cells(out)
    assert lines[0] == ["item_id", "rank", "similar_item_id", "title", "score"]
    expected = tt.load(model).similar_items([5, 2], k=3)
    assert [line[2] for line in lines[1:]] == expected["similar_item_id"].astype(str).tolist()


def test_titles_of_another_column(run: Run, tables: Path, model: Path) -> None:
    words = ["recommend", model, "--user", 1, "-k", 2, "--data", tables / "items.csv"]
    code, out, _ = run(*words, "--title-col", "genres")
    assert code == 0
    assert re.search(r"[A-Z]\w+(\|[A-Z])?", cells(out)[1][3])
    code, _, err = run(*words, "--title-col", "titles")
    assert code == 1
    assert "--data has no column 'titles'" in err
    assert "did you mean 'title'?" in err


# --- info and download ------------------------------------------------------------------------------------------------


def test_info_tells_of_the_machine_and_of_a_model(run: Run, model: Path) -> None:
    code, out, err = run("info")
    assert (code, err) == (0, "")
    assert f"threads   {tt.cpu_info()['threads']}, the CPUs that this process may use" in out
    assert out.startswith(f"twotower  {tt.__version__}\n")
    code, out, err = run("info", model)
    assert (code, err) == (0, "")
    assert "model         TwoTower(dim=8, epochs=2)" in out
    assert "users         150\n" in out
    assert "interactions  3,000 seen pairs" in out
    assert re.search(r"temperature = None: \d\.\d+ chosen", out)
    assert "side " in out  # of the schema
    code, _, err = run("info", "nowhere.twotower")
    assert (code, err.startswith("twotower: error: load: 'nowhere.twotower' is not there")) == (1, True)


def test_a_damaged_model_is_named(run: Run, model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.twotower"
    broken.write_bytes(model.read_bytes()[:1000])
    code, _, err = run("recommend", broken, "--user", 1)
    assert code == 1
    assert str(broken) in err
    assert err.startswith("twotower: error: load: ")


def test_download_fetches_into_a_folder(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "ml-latest-small"
    folder.mkdir()
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,2,3.5,1000\n")
    (folder / "movies.csv").write_text("movieId,title,genres\n2,Heat (1995),Action|Crime\n")
    asked = []

    def fetch(name: str, to: Path | None = None) -> Path:
        asked.append((name, to))
        return folder

    monkeypatch.setattr("twotower.datasets._download.fetch", fetch)
    code, out, _ = run("download", "ml-latest-small", "--to", tmp_path)
    assert code == 0
    assert asked == [("ml-latest-small.zip", tmp_path)]
    assert out.splitlines()[0].startswith("MovieLens ml-latest-small")
    assert out.splitlines()[-1] == str(folder)
    code, _, err = run("download", "ml-10k")
    assert code == 1
    assert err == (
        "twotower: error: download: name is 'ml-10k', but must be one of ml-100k, ml-1m, ml-10m, ml-20m, ml-25m, ml-32m, "
        "ml-latest, ml-latest-small; did you mean 'ml-100k'?\n"
    )


# --- demo -------------------------------------------------------------------------------------------------------------


def check_demo(folder: Path, out: str, users: int) -> None:
    from matplotlib.image import imread

    heads = [line for line, below in zip(out.splitlines(), out.splitlines()[1:], strict=False) if set(below) == {"-"}]
    assert [head.split(",")[0] for head in heads][:4] == [
        "Data",
        "Training",
        "Metrics on the test part",
        "Lists for three users",
    ]
    assert heads[-2].startswith("Most like ")
    assert heads[-1] == "Files"
    assert {file.name for file in folder.iterdir()} == {"curves.png", "recommendations.csv", "model.twotower"}
    assert all(str(folder / name) in out for name in ("curves.png", "recommendations.csv", "model.twotower"))
    picture = imread(folder / "curves.png")
    assert picture.shape[1] > 1_000
    both_halves = np.split(picture[:, : picture.shape[1] // 2 * 2, :3], 2, axis=1)
    for half in both_halves:  # lines are blue and orange, which gray text and grid are not
        colored = (half.max(axis=2) - half.min(axis=2)) > 0.3
        assert np.count_nonzero(colored) > 2_000
    with (folder / "recommendations.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10 * users
    assert len(re.findall(r"^user \d+, \d+ ratings learned from$", out, re.MULTILINE)) == 3


def test_the_demo_on_made_up_data(run: Run, tmp_path: Path) -> None:
    code, out, err = run("demo", "--output", tmp_path / "made" / "here", "--epochs", 6)
    assert code == 0
    assert "warning" not in err
    check_demo(tmp_path / "made" / "here", out, users=2_000)
    figures = {
        line[0]: [float(value) for value in line[1:]] for line in cells(out) if line[0] in ("Popularity", "TwoTower")
    }
    assert all(ours > theirs for ours, theirs in zip(figures["TwoTower"], figures["Popularity"], strict=True))
    # The model of the demo is one that the other commands open.
    assert run("recommend", tmp_path / "made" / "here" / "model.twotower", "--user", 1)[0] == 0


def test_the_demo_on_movielens(run: Run, shared_data: Any, tmp_path: Path) -> None:
    code, out, err = run("demo", "--data", shared_data / "ml-100k.zip", "--output", tmp_path)
    assert code == 0
    assert "warning" not in err
    check_demo(tmp_path, out, users=943)
    assert "Most like Star Wars (1977), which has the most ratings" in out
    recall = {line[0]: float(line[1]) for line in cells(out) if line[0] in ("Popularity", "TwoTower")}
    assert recall["TwoTower"] > 1.2 * recall["Popularity"]


def test_the_demo_on_a_table_without_times_or_titles(run: Run, tables: Path, tmp_path: Path) -> None:
    words = ["demo", "--data", tables / "words.csv", "--user-col", "customer", "--item-col", "product", "--epochs", 2]
    code, out, _ = run(*words, "--output", tmp_path)
    assert code == 0
    assert "There are no times, so the parts are drawn at random. Rows: " in out
    assert re.search(r"^user u\d+, \d+ ratings learned from\n  liked item p\d+; ", out, re.MULTILINE)


def test_the_demo_takes_some_users_of_a_large_set(run: Run, tables: Path, tmp_path: Path) -> None:
    words = ["--data", tables / "ratings.csv", "--users", tables / "users.csv", "--ratings", 2_000, "--epochs", 1]
    code, out, _ = run("demo", *words, "--output", tmp_path)
    assert code == 0
    found = re.search(r"To be short: those of (\d+) of its 150 users, drawn at random, ([\d,]+) ratings", out)
    assert found is not None
    assert 60 < int(found.group(1)) < 140
    assert len(tt.load(tmp_path / "model.twotower").user_ids_) == int(found.group(1))


def test_what_the_demo_refuses(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = tmp_path / "few.csv"
    pd.DataFrame({"user_id": [1, 1, 2], "item_id": [1, 2, 1], "timestamp": [1, 2, 3]}).to_csv(few, index=False)
    code, _, err = run("demo", "--data", few, "--output", tmp_path / "out")
    assert code == 1
    assert err == (
        "twotower: error: demo: no user of few.csv has more than 7 ratings, which leaves nothing to test on; "
        "use 'twotower train'\n"
    )
    code, _, err = run("demo", "--output", few)
    assert code == 1
    assert err == (f"twotower: error: --output: the folder '{few}' cannot be made (File exists); name another one\n")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, out, err = run("demo", "--output", tmp_path / "never")
    assert (code, out) == (1, "")
    assert err == "twotower: error: demo: matplotlib is not installed; run pip install 'twotower[plot]'\n"
    assert not (tmp_path / "never").exists()


# --- help, exits, streams ---------------------------------------------------------------------------------------------

COMMANDS = ("demo", "train", "evaluate", "recommend", "similar", "download", "info")


def test_help_lists_the_commands(run: Run) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\w", out, re.MULTILINE)
    assert run("--version")[:2] == (0, f"twotower {tt.__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(run: Run, command: str) -> None:
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    _, examples = out.split("\nexamples:\n")
    lines = examples.strip().splitlines()
    assert 2 <= len(lines) <= 3
    for line in lines:
        words = line.split()
        assert words[0] == "twotower"
        assert words[1] in COMMANDS
        # The words of an example are ones that the parser knows.
        assert all(word in out for word in words if word.startswith("--"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fit"], "invalid choice: 'fit'"),
        (["train", "--data", "x.csv"], "the following arguments are required: --output"),
        (["recommend", "m.twotower"], "one of the arguments --user --everyone is required"),
        (["recommend", "m.twotower", "--user", "1", "--everyone"], "not allowed with argument"),
        (["recommend", "m.twotower", "--user", "1", "-k", "many"], "argument -k: invalid int value: 'many'"),
        (["train", "--data", "x.csv", "--output", "m", "--split", "half"], "argument --split: invalid choice: 'half'"),
        (["recommend", "m.twotower", "--use", "1"], "one of the arguments --user --everyone is required"),
    ],
)
def test_words_that_are_no_command_end_with_2(run: Run, words: list[str], message: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith("usage: twotower")
    assert message in err


def test_debug_shows_where_it_happened(run: Run) -> None:
    code, _, err = run("info", "nowhere.twotower", "--debug")
    assert code == 1
    assert err.startswith("Traceback (most recent call last):")
    assert err.splitlines()[-1].startswith("twotower: error: load: ")


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "twotower: interrupted\n"),
        (KeyboardInterrupt("stopped; call again"), 130, "twotower: stopped; call again\n"),
        (PermissionError(13, "Permission denied", "m.twotower"), 1, "twotower: error: m.twotower: Permission denied\n"),
        (
            MemoryError(),
            1,
            "twotower: error: the memory is used up; take a smaller part of the data, or a smaller --dim\n",
        ),
        (ValueError("two\n  lines"), 1, "twotower: error: two lines\n"),
        (
            KeyError("x"),
            1,
            "twotower: error: KeyError: 'x'; this is a defect, please report what --debug prints\n",
        ),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
    ],
)
def test_however_it_ends_there_is_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int, said: str
) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr("twotower.cpu.cpu_info", fail)
    monkeypatch.setattr(tt, "cpu_info", fail)
    assert run("info") == (code, "", said)


def test_warnings_are_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn() -> dict[str, Any]:
        warnings.warn("something is\nodd", UserWarning, stacklevel=1)
        return {"name": "x", "level": 3, "isa": "v3", "vnni": False, "threads": 1}

    monkeypatch.setattr(tt, "cpu_info", warn)
    code, out, err = run("info")
    assert (code, err) == (0, "twotower: warning: something is odd\n")
    assert "cpu       x, x86-64-v3\n" in out


def test_as_a_process(model: Path) -> None:
    environment = dict(os.environ, PYTHONPATH=str(Path(tt.__file__).resolve().parents[1]), PYTHONIOENCODING="ascii")
    command = [sys.executable, "-W", "error", "-m", "twotower", "recommend", str(model), "--user"]
    done = subprocess.run([*command, "1"], capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 11
    done = subprocess.run(
        [*command, "999999"], capture_output=True, text=True, timeout=60, env=environment, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "999999" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="pipes end otherwise there")
def test_a_reader_that_leaves_is_no_error(model: Path) -> None:
    environment = dict(os.environ, PYTHONPATH=str(Path(tt.__file__).resolve().parents[1]))
    command = [sys.executable, "-m", "twotower", "recommend", str(model), "--everyone", "-k", "60", "--include-seen"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 141


# --- tables as text ---------------------------------------------------------------------------------------------------


def test_columns_are_aligned() -> None:
    columns = {"n": [1, 1000], "name": ["a", "\u65e5\u672c\u8a9e"], "value": [0.5, None], "yes": [True, False]}
    assert _text.table(columns) == (
        "   n  name     value  yes\n"
        "   1  a       0.5000  True\n"
        "1000  \u65e5\u672c\u8a9e          False"
    )  # fmt: skip
    assert _text.table({"a": [], "long": []}) == "a  long"
    assert _text.table({"t": ["tab\there\nand there"]}) == "t\ntab here and there"


@pytest.mark.parametrize(
    ("text", "width", "clipped"),
    [("short", 5, "short"), ("longer", 5, "lo..."), ("a b c d", 5, "a..."), ("\u65e5\u672c\u8a9e", 5, "\u65e5...")],
)
def test_long_titles_are_clipped(text: str, width: int, clipped: str) -> None:
    assert _text.clip(text, width) == clipped
