#pragma once
// What this CPU can do, and for which CPU this module was compiled.
#include <string>

namespace twotower {

/// The highest level of x86-64 (1 to 4, as the psABI defines them) that both the CPU and the operating system support.
///
/// Source      x86-64 psABI, section "Micro-architecture levels"; XGETBV tells whether the system saves the wide registers
int cpu_level();

/// The level this file was compiled for: the CPU must support it before anything else of the module runs.
int compiled_level();

/// What no level of x86-64 contains, each asked by itself, for no two come together on every CPU (Zen 4 has the first two alone):
/// AVX512_VNNI (sums of int8 products), AVX512_BF16 (sums of bfloat16 products), AVX512_FP16 (arithmetic in half precision).
///
/// Source      Intel 64 and IA-32 manual, volume 2A, CPUID, leaf 7
bool cpu_has_vnni();
bool cpu_has_bf16();
bool cpu_has_fp16();

/// "AMD EPYC ..." as the CPU says it.
std::string cpu_name();

}  // namespace twotower
