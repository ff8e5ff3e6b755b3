"""The check of the compiled modules: what is installed passes, what is wrong in a made module is found."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from twotower import _core

SCRIPT = Path(__file__).resolve().parents[1] / "cmake" / "check_modules.py"

pytestmark = [
    pytest.mark.skipif(not SCRIPT.is_file(), reason="needs the source tree"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the levels are those of x86-64"),
    pytest.mark.skipif(shutil.which("nm") is None or shutil.which("objdump") is None, reason="needs binutils"),
]
needs_gcc = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


def check(*modules: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *modules], capture_output=True, text=True, check=False)


def made(folder: Path, name: str, source: str, *flags: str) -> Path:
    """A library of one source file, compiled for x86-64-v2 and `flags`."""
    (folder / "made.cpp").write_text(source)
    module = folder / f"{name}.so"
    command = ["g++", "-std=c++20", "-O1", "-shared", "-fPIC", "-march=x86-64-v2", *flags, "made.cpp", "-o", module]
    subprocess.run(command, cwd=folder, check=True)
    return module


def test_the_installed_modules_share_nothing_and_keep_to_their_levels() -> None:
    folder = Path(_core.__file__).parent
    modules = [*folder.glob("_core_v*.so"), *folder.glob("_cpu*.so")]
    assert len(modules) >= 2
    done = check(*modules)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [f"{m.name}: shows its entry alone, and keeps to its level" for m in modules]


ENTRY = 'extern "C" __attribute__((visibility("default"))) void* PyInit__core_v2() { return nullptr; }\n'
HIDDEN = ("-fvisibility=hidden", "-fno-gnu-unique")
ADDS = "void add(float* x, const float* y) {{ for (int i = 0; i < {}; ++i) x[i] += y[i]; }}\n"


@needs_gcc
def test_a_module_that_shows_its_entry_alone_passes(tmp_path: Path) -> None:
    done = check(made(tmp_path, "_core_v2", ENTRY + ADDS.format(64), *HIDDEN))
    assert (done.returncode, done.stdout) == (0, "_core_v2.so: shows its entry alone, and keeps to its level\n")


@needs_gcc
def test_shared_symbols_are_found(tmp_path: Path) -> None:
    source = """
        template <class T> struct One { static int count; };
        template <class T> int One<T>::count = 0;
        inline int weak(int x) { return x + One<int>::count++; }
        int (*taken)(int) = &weak;
    """
    done = check(made(tmp_path, "_core_v2", ENTRY + source))
    assert done.returncode == 1
    assert "_core_v2.so shows the weak _Z4weaki, but must show PyInit__core_v2 alone" in done.stdout
    assert "_core_v2.so shows the unique _ZN3OneIiE5countE, but must show PyInit__core_v2 alone" in done.stdout
    assert "_core_v2.so shows the symbol taken, but must show PyInit__core_v2 alone" in done.stdout


@needs_gcc
def test_a_module_without_its_entry_is_found(tmp_path: Path) -> None:
    done = check(made(tmp_path, "_core_v3", ENTRY, *HIDDEN))
    assert done.returncode == 1
    assert "_core_v3.so does not show PyInit__core_v3, without which Python cannot load it" in done.stdout


@needs_gcc
@pytest.mark.parametrize(("target", "needed"), [("avx", "v3"), ("avx512f", "v4")])
def test_instructions_beyond_the_level_are_found(tmp_path: Path, target: str, needed: str) -> None:
    wide = f'__attribute__((target("{target}"), optimize("O3"))) ' + ADDS.format(64)
    done = check(made(tmp_path, "_core_v2", ENTRY + wide, *HIDDEN))
    assert done.returncode == 1
    assert "_core_v2.so is v2, but _Z3addPfPKf has " in done.stdout
    assert f"of {needed}" in done.stdout


@needs_gcc
def test_a_module_compiled_for_a_higher_level_is_found(tmp_path: Path) -> None:
    done = check(made(tmp_path, "_core_v2", ENTRY + ADDS.format(64), *HIDDEN, "-march=x86-64-v3", "-O3"))
    assert done.returncode == 1
    assert "of v3" in done.stdout


@needs_gcc
def test_vnni_outside_a_function_of_its_name_is_found(tmp_path: Path) -> None:
    source = """
        #include <immintrin.h>
        [[gnu::target("avx512vnni")]] __m512i {}(__m512i s, __m512i a, __m512i b) {{ return _mm512_dpbusd_epi32(s, a, b); }}
    """
    entry = ENTRY.replace("v2", "v4")
    flags = ("-march=x86-64-v4", *HIDDEN)
    done = check(made(tmp_path, "_core_v4", entry + source.format("vnni_sum"), *flags))
    assert done.returncode == 0, done.stdout
    done = check(made(tmp_path, "_core_v4", entry + source.format("sum"), *flags))
    assert done.returncode == 1
    assert "_core_v4.so is v4, but _Z3sumDv8_xS_S_ has 1 instruction of vnni" in done.stdout


def test_a_file_of_unknown_level_is_refused(tmp_path: Path) -> None:
    done = check(tmp_path / "other.so")
    assert done.returncode == 1
    assert "other.so is neither a _core_v module nor _cpu; its level is unknown" in done.stderr
