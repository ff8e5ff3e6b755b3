"""Pick the extension module that was compiled for this CPU.

Each `_core_v*` is the complete core, compiled for one level of x86-64. A source install has one of them, a wheel has all.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from types import ModuleType

_LEVELS = (4, 3, 2)


def _installed() -> list[int]:
    return [level for level in _LEVELS if importlib.util.find_spec(f"twotower._core._core_v{level}") is not None]


def _choose(cpu_level: int, installed: list[int], forced: str | None) -> int:
    if not installed:
        raise ImportError(
            "twotower: the package has no compiled core; install it with 'pip install .' from its source folder"
        )
    if forced is not None:
        wanted = int(forced[1:]) if forced[:1] == "v" and forced[1:].isdigit() else None
        if wanted not in installed:
            raise ImportError(
                f"TWOTOWER_ISA is {forced!r}, but must be one of {', '.join(f'v{level}' for level in installed)}, "
                "which are the levels that are installed; unset it to let the CPU choose"
            )
        if wanted > cpu_level:
            raise ImportError(
                f"TWOTOWER_ISA is {forced!r}, but this CPU supports at most v{cpu_level}; unset it to let the CPU choose"
            )
        return wanted
    usable = [level for level in installed if level <= cpu_level]
    if not usable:
        raise ImportError(
            f"twotower: the installed core needs x86-64-v{min(installed)}, but this CPU supports at most v{cpu_level}; "
            "reinstall it on this machine with 'pip install --force-reinstall --no-binary twotower twotower'"
        )
    return max(usable)


def _load() -> ModuleType:
    installed = _installed()
    if not installed:
        _choose(0, installed, None)
    from twotower._core import _cpu  # compiled for the oldest CPU: it may ask any

    level = _choose(_cpu.level(), installed, os.environ.get("TWOTOWER_ISA"))
    return importlib.import_module(f"twotower._core._core_v{level}")


core = _load()
