#include "twotower/retrieval/lanes.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/catch.hpp"

using namespace twotower::retrieval;

namespace {

struct Register {
  alignas(64) float values[kLanes];
  Register() { std::fill_n(values, kLanes, 0.0f); }
};

}  // namespace

TEST_CASE("lanes: load, store and broadcast keep every bit") {
  Register in, out;
  for (int lane = 0; lane < kLanes; ++lane) in.values[lane] = static_cast<float>(lane) - 1.5f;
  store(out.values, load(in.values));
  CHECK(std::equal(in.values, in.values + kLanes, out.values));
  for (const float value : {0.0f, -0.0f, 1.0f, -3.25f, std::numeric_limits<float>::infinity()}) {
    store(out.values, broadcast(value));
    for (const float lane : out.values) {
      CHECK(lane == value);
      CHECK(std::signbit(lane) == std::signbit(value));
    }
  }
}

TEST_CASE("lanes: multiply_add rounds alike in registers and scalars") {
  Register a, b, sum, out;
  for (int lane = 0; lane < kLanes; ++lane) {
    a.values[lane] = 1 + std::ldexp(static_cast<float>(lane + 1), -20);
    b.values[lane] = 1 - std::ldexp(static_cast<float>(2 * lane + 1), -21);
    sum.values[lane] = -1 - std::ldexp(static_cast<float>(lane), -22);
  }
  store(out.values, multiply_add(load(a.values), load(b.values), load(sum.values)));
  for (int lane = 0; lane < kLanes; ++lane)
    CHECK(out.values[lane] == multiply_add(a.values[lane], b.values[lane], sum.values[lane]));
}

TEST_CASE("lanes: comparisons lane by lane, equal is not above, NaN is not above") {
  Register a, b, out;
  for (int lane = 0; lane < kLanes; ++lane) a.values[lane] = static_cast<float>(lane % 3), b.values[lane] = 1;
  std::uint64_t expected = 0;
  for (int lane = 0; lane < kLanes; ++lane)
    if (lane % 3 == 2) expected |= std::uint64_t{1} << lane;
  CHECK(lanes_above(load(a.values), load(b.values)) == expected);
  store(out.values, larger(load(a.values), load(b.values)));
  for (int lane = 0; lane < kLanes; ++lane) CHECK(out.values[lane] == std::max(a.values[lane], b.values[lane]));
  a.values[2] = std::numeric_limits<float>::quiet_NaN();
  CHECK((lanes_above(load(a.values), load(b.values)) >> 2 & 1) == 0);
}
