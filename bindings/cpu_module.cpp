// A tiny module for the oldest CPU that Python runs on: it tells which of the real modules this machine can load.
#include <pybind11/pybind11.h>

#include "twotower/base/cpu.hpp"

PYBIND11_MODULE(_cpu, m) {
  m.doc() = "CPU information, compiled for the baseline instruction set";
  m.def("level", &twotower::cpu_level, "Highest x86-64 level (1 to 4) of this CPU and operating system.");
  m.def("has_vnni", &twotower::cpu_has_vnni, "Whether the CPU has AVX512_VNNI.");
  m.def("has_bf16", &twotower::cpu_has_bf16, "Whether the CPU has AVX512_BF16.");
  m.def("has_fp16", &twotower::cpu_has_fp16, "Whether the CPU has AVX512_FP16.");
  m.def("name", &twotower::cpu_name, "The CPU's own name.");
}
