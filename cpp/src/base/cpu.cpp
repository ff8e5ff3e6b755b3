#include "twotower/base/cpu.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <array>
#include <cstring>

namespace twotower {

int compiled_level() {
#if defined(__AVX512F__)
  return 4;
#elif defined(__AVX2__) && defined(__FMA__)
  return 3;
#elif defined(__SSE4_2__)
  return 2;
#else
  return 1;
#endif
}

#if defined(__x86_64__)

namespace {

/// EAX, EBX, ECX, EDX of CPUID leaf 7, which lists what came after AVX; zeros where the CPU has no such part.
std::array<unsigned, 4> features(unsigned part) {
  std::array<unsigned, 4> words{};
  // Part 0 says in EAX which is the last.
  if (__get_cpuid_count(7, 0, words.data(), words.data() + 1, words.data() + 2, words.data() + 3) == 0 || words[0] < part)
    return {};
  if (part > 0) __get_cpuid_count(7, part, words.data(), words.data() + 1, words.data() + 2, words.data() + 3);
  return words;
}

}  // namespace

// GCC's own test asks CPUID and XGETBV.
int cpu_level() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return 4;
  if (__builtin_cpu_supports("x86-64-v3")) return 3;
  return __builtin_cpu_supports("x86-64-v2") ? 2 : 1;
}

// GCC 11 does not know the last of the three by name, so all are read from CPUID; v4 tells that the system saves their registers.
bool cpu_has_vnni() { return cpu_level() >= 4 && (features(0)[2] >> 11 & 1) != 0; }
bool cpu_has_bf16() { return cpu_level() >= 4 && (features(1)[0] >> 5 & 1) != 0; }
bool cpu_has_fp16() { return cpu_level() >= 4 && (features(0)[3] >> 23 & 1) != 0; }

std::string cpu_name() {
  std::array<unsigned, 12> words{};
  unsigned highest = 0, unused = 0;
  if (!__get_cpuid(0x80000000, &highest, &unused, &unused, &unused) || highest < 0x80000004) return "unknown";
  for (unsigned leaf = 0; leaf < 3; ++leaf) {
    unsigned* out = words.data() + std::size_t{4} * leaf;
    __get_cpuid(0x80000002 + leaf, out, out + 1, out + 2, out + 3);
  }
  std::array<char, 49> text{};
  std::memcpy(text.data(), words.data(), 48);
  const std::string name(text.data());
  const auto first = name.find_first_not_of(' ');
  return first == std::string::npos ? "unknown" : name.substr(first, name.find_last_not_of(' ') - first + 1);
}

#else

int cpu_level() { return 1; }
bool cpu_has_vnni() { return false; }
bool cpu_has_bf16() { return false; }
bool cpu_has_fp16() { return false; }
std::string cpu_name() { return "unknown"; }

#endif

}  // namespace twotower
