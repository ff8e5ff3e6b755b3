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

bool cpu_has_vnni();

/// "AMD EPYC ..." as the CPU says it.
std::string cpu_name();

}  // namespace twotower
