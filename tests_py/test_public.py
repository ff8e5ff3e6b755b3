"""The front of the package: names, import time, the loader of the core, what it says of the CPU."""

from __future__ import annotations

import subprocess
import sys

import pytest

import twotower as tt
from twotower import _core


def test_every_public_name_is_there() -> None:
    for name in tt.__all__:
        assert getattr(tt, name) is not None
    assert set(dir(tt)) == set(tt.__all__)


def test_an_unknown_name_lists_the_public_ones() -> None:
    with pytest.raises(
        AttributeError, match=r"module 'twotower' has no attribute 'TwoTowers'; the public names are .*TwoTower"
    ):
        tt.TwoTowers


HEAVY = {"pandas", "polars", "pyarrow", "matplotlib", "IPython", "tqdm", "sklearn", "scipy", "torch"}


@pytest.mark.parametrize(
    ("asked", "absent"),
    [
        # What is imported decides how long it takes; time itself would depend on the machine.
        ("twotower", {*HEAVY, "numpy", "narwhals", "importlib.metadata", "safetensors"}),
        ("twotower.TwoTower, twotower.Popularity, twotower.load, twotower.evaluate, twotower.split", HEAVY),
    ],
)
def test_import_is_quick_and_draws_in_nothing_heavy(asked: str, absent: set[str]) -> None:
    # In an environment of its own start-up files (.pth) may have imported something before.
    script = f"import sys; before = set(sys.modules); import twotower; {asked}; print(*sorted({absent!r} & (set(sys.modules) - before)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_version_is_that_of_the_installed_package() -> None:
    assert tt.__version__[0].isdigit()


def test_cpu_info() -> None:
    info = tt.cpu_info()
    assert info["isa"] in ("v2", "v3", "v4")
    assert int(info["isa"][1]) <= info["level"]
    assert info["threads"] >= 1
    assert isinstance(info["name"], str)
    # No feature beyond v4 is told of a CPU that has not even that.
    assert info["level"] == 4 or not (info["vnni"] or info["bf16"] or info["fp16"])


@pytest.mark.parametrize(
    ("level", "installed", "forced", "chosen"),
    [
        (4, [4, 3, 2], None, 4),
        (3, [4, 3, 2], None, 3),
        (2, [4, 3, 2], None, 2),
        (4, [2], None, 2),
        (4, [4, 3], "v3", 3),
    ],
)
def test_the_loader_takes_the_best_module_that_runs(
    level: int, installed: list[int], forced: str | None, chosen: int
) -> None:
    assert _core._choose(level, installed, forced) == chosen


@pytest.mark.parametrize(
    ("level", "installed", "forced", "sentence"),
    [
        (
            4,
            [],
            None,
            "twotower: the package has no compiled core; install it with 'pip install .' from its source folder",
        ),
        (
            2,
            [3],
            None,
            "twotower: the installed core needs x86-64-v3, but this CPU supports at most v2; reinstall it on this machine",
        ),
        (
            4,
            [4],
            "v3",
            "TWOTOWER_ISA is 'v3', but must be one of v4, which are the levels that are installed; unset it",
        ),
        (
            4,
            [4],
            "avx",
            "TWOTOWER_ISA is 'avx', but must be one of v4, which are the levels that are installed; unset it",
        ),
        (3, [4, 3], "v4", "TWOTOWER_ISA is 'v4', but this CPU supports at most v3; unset it to let the CPU choose"),
    ],
)
def test_the_loader_says_what_is_missing(level: int, installed: list[int], forced: str | None, sentence: str) -> None:
    with pytest.raises(ImportError) as caught:
        _core._choose(level, installed, forced)
    assert str(caught.value).startswith(sentence)


def test_no_notebook_or_terminal_means_lines(capsys: pytest.CaptureFixture[str]) -> None:
    data = tt.datasets.synthetic(num_users=60, num_items=40, num_interactions=900, kind="pandas")
    tt.TwoTower(dim=4, epochs=2).fit(data.ratings)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("TwoTower: 60 users, 40 items, ")
    assert [line.split("  ")[0] for line in said[1:]] == ["TwoTower: epoch 1/2", "TwoTower: epoch 2/2"]
