#include "twotower/base/exponential.hpp"

#include <cmath>
#include <limits>

#include "support/catch.hpp"

using twotower::exponential;
using twotower::Register;

namespace {

float one(float x) { return exponential(Register<float>{} + x)[0]; }

}  // namespace

TEST_CASE("exponential: within two units in the last place of the C library") {
  double worst = 0;
  for (float x = -87.3F; x < 88; x += 0.0137F) {
    const double wanted = std::exp(static_cast<double>(x));
    worst = std::max(worst, std::abs(static_cast<double>(one(x)) - wanted) / wanted);
  }
  CHECK(worst < 2 * std::numeric_limits<float>::epsilon());
  CHECK(one(0) == 1);
}

TEST_CASE("exponential: far below zero it vanishes, what is missing stays so") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float x : {-88.1F, -1e4F, -3e38F, -kInfinity}) CHECK(one(x) < std::numeric_limits<float>::min());
  CHECK(std::isnan(one(std::numeric_limits<float>::quiet_NaN())));
  CHECK(!std::isfinite(one(kInfinity)));
}
