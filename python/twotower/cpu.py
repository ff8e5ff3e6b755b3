"""What this machine is, and which of the compiled cores runs on it."""

from __future__ import annotations

from typing import Any

__all__ = ["cpu_info"]


def cpu_info() -> dict[str, Any]:
    """Tell which CPU this is and how the core uses it.

    Returns
    -------
    dict
        `name` (as the CPU says it), `level` (highest x86-64 level that CPU and operating system support, 1 to 4), `isa` (level
        of the core that was loaded, such as "v3"; the environment variable TWOTOWER_ISA forces one), `vnni`, `bf16`,
        `fp16` (whether CPU and operating system support AVX512_VNNI, AVX512_BF16 and AVX512_FP16), `threads` (CPUs that
        this process may use: what `n_jobs=-1` means).

    Examples
    --------
    >>> import twotower as tt
    >>> sorted(tt.cpu_info())
    ['bf16', 'fp16', 'isa', 'level', 'name', 'threads', 'vnni']
    """
    from twotower._core import _cpu, core

    return {
        "name": _cpu.name(),
        "level": _cpu.level(),
        "isa": core.isa,
        "vnni": _cpu.has_vnni(),
        "bf16": _cpu.has_bf16(),
        "fp16": _cpu.has_fp16(),
        "threads": core.available_threads(),
    }
