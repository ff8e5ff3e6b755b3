"""Check that extension modules of different x86-64 levels can lie in one process and run where they say.

    python cmake/check_modules.py build/dev/_c*.so

A module must show nothing but its `PyInit_` symbol: a weak inline function that two modules show could be taken from the one
with the wider instructions. And it must hold no instruction beyond its level, which is in its name (`_core_v3`), except in
functions that are named after the feature they use (`vnni_tile`): those are called behind a question to the CPU. Needs `nm` and
`objdump` of binutils. Exits with 1 and says what was found, module by module.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

# Letters of `nm` for symbols that the loader may take from another library.
SHARED = {"W": "weak", "V": "weak", "u": "unique"}
# What no level has, by the names of instructions. F16C's vcvtph2ps and vcvtps2ph belong to v3.
FEATURES = {
    "vnni": r"vpdp(busd|wssd)s?",
    "bf16": r"vdpbf16ps|vcvtne2?ps2bf16[xy]?",
    "fp16": r"v(add|sub|mul|div|min|max|sqrt|cmp|ucomi|comi|mov|rcp|rsqrt|fn?m(add|sub)\w*|fc?m\w*)(ph|sh)",
    "vbmi": r"vperm([it]2)?b|vpmultishiftqb|vpcompress[bw]|vpexpand[bw]|vpsh[lr]dv?[wdq]",
    "ifma": r"vpmadd52[lh]uq",
    "bitalg": r"vpopcnt[bwdq]|vpshufbitqmb",
    "amx": r"t(dp\w+|ileloaddt?1?|ilestored|ilezero|ilerelease)",
}
FEATURE = re.compile("|".join(f"(?P<{name}>{pattern})$" for name, pattern in FEATURES.items()))
GATED = re.compile("|".join(FEATURES))
FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
PREFIX = re.compile(r"^(?:(?:lock|repn?z?|repe|data16|notrack|bnd|cs|\{\w+\})\s+)*")
# Masks, and the registers that only EVEX can name.
EVEX = re.compile(r"%zmm|%k[0-7]|%[xy]mm(1[6-9]|2\d|3[01])")
# tzcnt is left out: on older CPUs it is bsf, and compilers use it as such.
BMI = re.compile(r"(andn|bextr|blsi|blsmsk|blsr|bzhi|lzcnt|mulx|pdep|pext|rorx|sarx|shlx|shrx|movbe)[lq]?$")


def needs(mnemonic: str, operands: str) -> tuple[int, str | None]:
    """Tell the x86-64 level of an instruction as `objdump` prints it, and the feature beyond v4, if it needs one."""
    feature = FEATURE.match(mnemonic)
    if feature:
        return 5, feature.lastgroup
    if EVEX.search(operands):
        return 4, None
    vex = mnemonic.startswith("v") and ("mm" in operands or mnemonic.startswith("vzero"))
    return (3 if vex or BMI.match(mnemonic) else 2), None


def level_of(module: Path) -> int:
    """Read the level that a module promises in its name; `_cpu` is for every CPU, whose code is not told from v2's here."""
    found = re.match(r"_core_v(\d)", module.name)
    if found is None and not module.name.startswith("_cpu"):
        raise SystemExit(f"check_modules: {module} is neither a _core_v module nor _cpu; its level is unknown")
    return int(found[1]) if found else 2


def _lines(*command: object) -> Iterator[str]:
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield from process.stdout
    if process.returncode:
        raise SystemExit(f"check_modules: {command[0]} failed with {process.returncode}")


def wrong_symbols(module: Path) -> Iterator[str]:
    """Say which symbols a module shows beside its entry."""
    entry = f"PyInit_{module.name.split('.')[0]}"
    shown = [line.split() for line in _lines("nm", "-D", "-P", "--defined-only", module)]
    for name, letter, *_ in shown:
        if name != entry:
            yield f"shows the {SHARED.get(letter, 'symbol')} {name}, but must show {entry} alone"
    if not any(name == entry for name, *_ in shown):
        yield f"does not show {entry}, without which Python cannot load it"


def wrong_instructions(module: Path, level: int) -> Iterator[str]:
    """Say which instructions of a module are beyond its level, a line a function."""
    named = any(_lines("nm", module))
    found: Counter[tuple[str, str]] = Counter()
    function = "?"
    for line in _lines("objdump", "-d", "--no-show-raw-insn", module):
        header = FUNCTION.match(line)
        if header:
            function = header[1]
            continue
        _, tab, text = line.partition("\t")
        mnemonic, _, operands = PREFIX.sub("", text.strip()).partition(" ")
        if not tab or (named and GATED.search(function)):
            continue
        needed, feature = needs(mnemonic, operands)
        # Without names of functions nothing tells which are gated.
        if needed > level and (feature is None or named):
            found[function, feature or f"v{needed}"] += 1
    for (name, need), count in found.items():
        yield f"is v{level}, but {name} has {count} instruction{'s' * (count > 1)} of {need}"


def main(paths: Iterable[str]) -> int:
    modules = [Path(path) for path in paths]
    if not modules:
        raise SystemExit(__doc__)
    failed = False
    levels = [level_of(module) for module in modules]
    for module, level in zip(modules, levels, strict=True):
        wrong = [*wrong_symbols(module), *wrong_instructions(module, level)]
        print(f"{module.name}: {'wrong' if wrong else 'shows its entry alone, and keeps to its level'}")
        for sentence in wrong:
            print(f"  {module.name} {sentence}")
        failed |= bool(wrong)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
