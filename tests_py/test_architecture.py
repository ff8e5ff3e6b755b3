"""The laws of the tree: arrows between parts, a test for every file, stubs that tell the truth, nothing of one machine."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CPP, PACKAGE = ROOT / "cpp" / "include" / "twotower", ROOT / "python" / "twotower"

# What a part of the core may include, beside itself.
CPP_ARROWS = {
    "base": set(),
    "data": {"base"},
    "nn": {"base", "data"},
    "model": {"base", "data", "nn"},
    "train": {"base", "data", "nn", "model"},
    "retrieval": {"base"},
    "ranking": {"base", "data", "nn", "model", "retrieval"},
    "evaluation": {"base"},
    "baselines": {"base"},
    "reranking": {"base"},
}
# Modules of the package from the bottom to the top; a module imports only from below, or from its own group.
PYTHON_LEVELS = [
    {"errors", "_core", "cpu", "files", "item_lists"},
    {"ids"},
    {"frame_ids", "frame_lists", "frame_map", "frame_parquet", "frame_texts", "frames", "id_lookup"},
    {"persistence", "schema", "vocabulary", "features", "interactions"},
    {"datasets", "evaluation", "item_index", "models"},
    {"plotting"},
    {"cli", "__main__"},
]

pytestmark = pytest.mark.skipif(not CPP.is_dir(), reason="needs the source tree")


def tracked(*patterns: str) -> list[Path]:
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git, and a checkout that it trusts")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def includes(path: Path) -> list[str]:
    return re.findall(r'#include\s+[<"]([^">]+)[">]', path.read_text())


def cpp_files() -> list[Path]:
    return [*CPP.rglob("*.hpp"), *(ROOT / "cpp" / "src").rglob("*.cpp")]


@pytest.mark.parametrize("path", cpp_files(), ids=lambda path: str(path.relative_to(ROOT / "cpp")))
def test_the_core_includes_only_what_lies_below(path: Path) -> None:
    part = path.parent.name
    for include in includes(path):
        if include.startswith("twotower/"):
            other = include.split("/")[1]
            assert other == part or other in CPP_ARROWS[part], f"{path.name} of {part} includes {include}"
        assert not include.startswith(("pybind11", "Python.h")), (
            f"{path.name} includes {include}, but nothing in cpp/ knows Python"
        )
        if include.startswith(("tbb/", "oneapi/")):
            assert path.name == "parallel.cpp", f"{path.name} includes {include}; only base/parallel.cpp knows oneTBB"
        if include.startswith(("xtensor", "xtl")):
            assert path.name == "xtensor.hpp", (
                f"{path.name} includes {include}; include twotower/evaluation/xtensor.hpp"
            )


@pytest.mark.parametrize("path", cpp_files(), ids=lambda path: str(path.relative_to(ROOT / "cpp")))
def test_only_check_throws_and_only_random_draws(path: Path) -> None:
    text = path.read_text()
    if path.name not in ("check.cpp", "check.hpp"):
        assert not re.search(r"\bthrow\b(?!s)\s+\w", re.sub(r"//.*", "", text)), (
            f"{path.name} throws; add a verb to base/check"
        )
    assert not re.search(r"std::(mt19937|\w*_distribution|rand\b|shuffle)", text), (
        f"{path.name} draws from the standard library"
    )
    assert "std::thread" not in text


def test_layers_do_not_know_each_other() -> None:
    plain = {"dense", "activations", "normalization", "dropout", "cross"}
    nested = {"residual", "parallel"}  # these hold layers, and know Sequential, which knows them all
    for name in plain | nested:
        for folder, suffix in ((CPP, "hpp"), (ROOT / "cpp" / "src", "cpp")):
            used = {Path(include).stem for include in includes(folder / "nn" / f"{name}.{suffix}")}
            others = plain | nested | ({"sequential"} if name in plain or suffix == "hpp" else set())
            assert not (used & others) - {name}


def test_every_header_has_a_test_of_its_name() -> None:
    headers = {path.relative_to(CPP).with_suffix("") for path in CPP.rglob("*.hpp")}
    tests = {
        Path(str(path.relative_to(ROOT / "tests_cpp")).removesuffix("_test.cpp"))
        for path in (ROOT / "tests_cpp").rglob("*_test.cpp")
    }
    assert headers - tests == set()


def modules() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if "_core" not in path.parts]


def imported(path: Path) -> set[str]:
    """First names below `twotower` that a module imports, wherever in the file; those for type checkers only are left out."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "twotower":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("twotower."):
            found.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("twotower.")}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_python_imports_only_what_lies_below(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    level = next(number for number, names in enumerate(PYTHON_LEVELS) if own in names)
    below = set().union(*PYTHON_LEVELS[: level + 1])
    public = (
        {"TwoTower", "Popularity", "load", "evaluate", "split", "cpu_info", "__version__", "version"}
        if own in ("cli", "plotting")
        else set()
    )
    assert imported(path) - below - public == set()


def test_only_frames_knows_a_frame_library() -> None:
    at_home = {"frames.py", "frame_ids.py", "frame_lists.py", "frame_map.py", "frame_parquet.py", "frame_texts.py"}
    readers = {
        "datasets/_tables.py",
        "cli/_data.py",
    }  # make frames of the caller's library from files, through its own calls
    for path in modules():
        name = str(path.relative_to(PACKAGE))
        found = re.findall(
            r"^\s*(?:import|from)\s+(narwhals|pandas|polars|pyarrow)\b",
            re.sub(r'"""[\s\S]*?"""', "", path.read_text()),
            re.MULTILINE,
        )
        if "narwhals" in found:
            assert name in at_home, f"{name} imports narwhals"
        elif found:
            assert name in at_home | readers, f"{name} imports {found[0]}"


def test_every_module_has_a_test_file() -> None:
    # Parts of a package that only its own front uses are tested through it.
    through = {
        "ids": "frames", "frame_ids": "frames", "frame_lists": "frames", "frame_map": "cleaning", "frame_parquet": "lists", "frame_texts": "text",
        "files": "persistence", "models/_listing": "lists",
        "id_lookup": "vocabulary", "__main__": "cli", "cpu": "public",
        "features/_column": "features", "features/_encoded": "features", "features/_encoder": "features",
        "schema/_kind": "schema", "schema/kinds": "schema", "schema/infer": "schema", "schema/resolve": "schema", "schema/shown": "schema",
        "models/_estimator": "estimator", "models/_options": "estimator", "models/_recommend": "estimator",
        "models/_dot_product": "dot_product", "models/_learned": "two_tower", "models/_towers": "two_tower", "models/_training": "two_tower",
        "models/_progress": "progress", "models/_reading": "baselines", "evaluation/_metrics": "evaluate",
        "models/_remembered": "dot_product", "models/_where_text": "where",
        "models/_sides": "two_tower", "models/_rows": "two_tower", "models/_columns": "two_tower", "models/_choices": "two_tower",
        "models/_fitted": "two_tower", "models/_lesson": "two_tower", "models/_given": "histories", "models/_news": "growth",
        "models/_worded": "explain", "models/_values": "diversify", "models/_diversity": "diversify",
        "models/baselines/popularity": "baselines", "models/baselines/_popular": "baselines",
        "models/baselines/_sparse": "item_knn", "models/baselines/_profiles": "item_knn",
        "models/baselines/_words": "content_based", "models/baselines/_ratings": "bias_model",
        "models/baselines/_seeds": "implicit_als",
        "models/_neural_towers": "neural", "models/_of_ids": "neural", "models/_inputs": "two_tower", "models/_pair_towers": "ranker", "models/_pair_fitted": "ranker", "models/_pair_lesson": "ranker",
        "models/_first_stage": "two_stage", "models/_frame_ranker": "two_stage", "models/_stage_importance": "two_stage", "models/_pair_model": "ranker", "models/_candidates": "ranker", "models/_targets": "ranker", "evaluation/_ratings": "evaluate",
    }  # fmt: skip
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests_py").rglob("test_*.py")}
    for path in modules():
        name = str(path.relative_to(PACKAGE).with_suffix(""))
        if path.name == "__init__.py":
            continue
        wanted = "cli" if name.startswith("cli/") else through.get(name, Path(name).name.lstrip("_"))
        assert wanted in tests, f"tests_py/test_{wanted}.py for {name}"


def test_the_stub_has_what_the_core_has() -> None:
    from twotower._core import core

    tree = ast.parse((PACKAGE / "_core" / "_native.pyi").read_text())
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    values = {
        node.target.id for node in tree.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    assert classes.keys() | functions | values == {name for name in dir(core) if not name.startswith("_")}
    for name, node in classes.items():
        stubbed = {item.name for item in node.body if isinstance(item, ast.FunctionDef)} - {"__init__"}
        assert stubbed == {item for item in vars(getattr(core, name)) if not item.startswith("_")}, name


def test_files_stay_short_enough_to_read() -> None:
    limits = {".hpp": 220, ".cpp": 450, ".py": 450}
    long = [
        f"{path.relative_to(ROOT)}: {count}"
        for path in tracked("cpp/*", "bindings/*", "python/*")
        if (count := len(path.read_bytes().splitlines())) > limits.get(path.suffix, 10**9)
    ]
    assert len(long) <= 6, long


def test_nothing_of_one_machine_is_in_the_repository() -> None:
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        if path == Path(__file__).resolve():
            continue
        assert not re.search(r"(/home/\w+/|/root/|/tmp/|-march=native)", text), path
