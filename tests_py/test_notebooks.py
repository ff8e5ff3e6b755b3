"""Every notebook runs from top to bottom, keeps no outputs and calls nothing that is private."""

from __future__ import annotations

import ast
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

import twotower

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NAMES = [path.name for path in NOTEBOOKS]


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def code_of(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in read(path)["cells"] if cell["cell_type"] == "code"]


def run(path: Path, data_folder: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Run a notebook; the outputs of its cells, in order."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient, which runs notebooks, is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat, which reads notebooks, is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel, in which notebooks run, is not installed")
    # Nothing of it belongs in the home of whoever runs the tests.
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(scratch / name.lower()))
    monkeypatch.setenv("TWOTOWER_SHARED_DATA", str(data_folder))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.delenv("MPLBACKEND", raising=False)
    # The package under test, from wherever it was imported here.
    monkeypatch.setenv("PYTHONPATH", str(Path(twotower.__file__).resolve().parents[1]), prepend=os.pathsep)
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    place = {"metadata": {"path": str(scratch)}}
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=place).execute()
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def words_of(outputs: list[dict[str, Any]]) -> str:
    return "\n".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs)


def test_there_is_a_notebook() -> None:
    assert "1_quickstart.ipynb" in NAMES


# The client of the notebook is not ours: what it warns of is no failure of a notebook.
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_it_runs_on_made_up_data(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = run(path, tmp_path / "nothing", tmp_path, monkeypatch)
    assert "Synthetic (pandas)" in words_of(outputs)
    assert not [output for output in outputs if output.get("name") == "stderr"]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 2


@pytest.mark.filterwarnings("default")
def test_the_quickstart_runs_on_movielens(shared_data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = shared_data / "ml-100k.zip"
    outputs = run(FOLDER / "1_quickstart.ipynb", archive.parent, tmp_path, monkeypatch)
    words = words_of(outputs)
    assert "MovieLens ml-100k (pandas)" in words
    assert "Return of the Jedi" in words  # is like Star Wars, which has the most ratings
    popularity, model = (
        float(re.search(rf"{name}\s+(\d\.\d+)", words).group(1))  # type: ignore[union-attr]
        for name in ("Popularity", "TwoTower")
    )
    assert model > 1.2 * popularity
    assert not [output for output in outputs if output.get("name") == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_it_is_kept_clean(path: Path) -> None:
    notebook = read(path)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info"}
    assert "/home/" not in path.read_text(encoding="utf-8")
    assert notebook["cells"][0]["cell_type"] == "markdown"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_it_calls_public_names_and_holds_no_algorithm(path: Path) -> None:
    for source in code_of(path):
        tree = ast.parse(source)
        for node in ast.walk(tree):
            assert not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.For, ast.While)), source
            if isinstance(node, ast.Attribute):
                assert not node.attr.startswith("_") or node.attr == "__version__", source
            if isinstance(node, ast.ImportFrom):
                assert not any(part.startswith("_") for part in (node.module or "").split(".")), source
            if isinstance(node, ast.Import):
                assert not any(part.startswith("_") for alias in node.names for part in alias.name.split(".")), source


def test_the_shared_folder_is_the_one_of_the_tests() -> None:
    """The notebook and the fixture look in the same place."""
    assert 'os.environ.get("TWOTOWER_SHARED_DATA", "../../shared/data")' in code_of(FOLDER / "1_quickstart.ipynb")[1]
    assert os.path.normpath(FOLDER / "../../shared/data") == str(FOLDER.parents[1] / "shared" / "data")
