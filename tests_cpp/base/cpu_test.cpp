#include "twotower/base/cpu.hpp"

#include <fstream>
#include <sstream>

#include "support/catch.hpp"

namespace {

/// What Linux says about the first CPU, or nothing on another system.
std::string cpuinfo() {
  std::ifstream file("/proc/cpuinfo");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

bool has_flag(const std::string& info, const std::string& flag) {
  return (info + " ").find(" " + flag + " ") != std::string::npos;
}

}  // namespace

TEST_CASE("cpu: this machine can run what was compiled for it") {
  CHECK(twotower::compiled_level() >= 1);
  CHECK(twotower::compiled_level() <= twotower::cpu_level());
  CHECK(twotower::cpu_level() <= 4);
}

TEST_CASE("cpu: level and features agree with the flags that the kernel lists") {
  const std::string info = cpuinfo();
  if (info.find("\nflags") == std::string::npos) return;
  const bool v2 = has_flag(info, "sse4_2") && has_flag(info, "popcnt");
  const bool v3 = v2 && has_flag(info, "avx2") && has_flag(info, "bmi2") && has_flag(info, "fma");
  const bool v4 = v3 && has_flag(info, "avx512f") && has_flag(info, "avx512bw") && has_flag(info, "avx512vl");
  CHECK(twotower::cpu_level() == (v4 ? 4 : v3 ? 3 : v2 ? 2 : 1));
  CHECK(twotower::cpu_has_vnni() == has_flag(info, "avx512_vnni"));
  CHECK(twotower::cpu_has_bf16() == has_flag(info, "avx512_bf16"));
  CHECK(twotower::cpu_has_fp16() == has_flag(info, "avx512_fp16"));
}

TEST_CASE("cpu: has a name without blanks around it") {
  const std::string name = twotower::cpu_name();
  REQUIRE(!name.empty());
  CHECK(name.front() != ' ');
  CHECK(name.back() != ' ');
}
