#include "twotower/base/registers.hpp"

#include <cstdint>

#include "support/catch.hpp"

using namespace twotower;

TEST_CASE("Register: as wide as the module's registers, whatever the scalar") {
  CHECK(sizeof(Register<float>) == sizeof(Register<double>));
  CHECK(kRegisterLanes<float> * sizeof(float) == sizeof(Register<float>));
  CHECK(kRegisterLanes<double> * sizeof(double) == sizeof(Register<double>));
}

TEST_CASE("Register: lanes are values side by side") {
  alignas(64) float values[64];
  for (int i = 0; i < 64; ++i) values[i] = static_cast<float>(i);
  const auto& lanes = *reinterpret_cast<const Register<float>*>(values);
  const Register<float> twice = lanes + lanes;
  for (int i = 0; i < kRegisterLanes<float>; ++i) CHECK(twice[i] == 2.0F * static_cast<float>(i));
}
