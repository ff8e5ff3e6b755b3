#include "twotower/nn/ordered_sum.hpp"

#include <vector>

#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using twotower::Index;
using twotower::Matrix;
using twotower::nn::ordered_sum;

namespace {

/// The definition, lane by lane.
float lane_sum(const std::vector<float>& values) {
  float lanes[16] = {};
  for (std::size_t k = 0; k < values.size(); ++k) lanes[k % 16] += values[k];
  for (int half = 8; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) lanes[k] += lanes[k + half];
  return lanes[0];
}

}  // namespace

TEST_CASE("ordered_sum: follows its definition to the bit, wherever the values lie") {
  const Index width = GENERATE(0, 1, 2, 3, 15, 16, 17, 31, 32, 64, 257);
  const Matrix<float> values = twotower::test::random_matrix<float>(1, width, 1);
  const float wanted = lane_sum({values.data(), values.data() + width});
  for (Index shift = 0; shift < 17; ++shift) {
    Matrix<float> wide(3, width + 17);
    wide.setConstant(1e30F);
    wide.block(1, shift, 1, width) = values;
    CHECK(ordered_sum(wide.row(1).segment(shift, width).array()) == wanted);
  }
}

TEST_CASE("ordered_sum: takes expressions") {
  Matrix<double> row(1, 20);
  for (Index k = 0; k < 20; ++k) row(0, k) = static_cast<double>(k);
  CHECK(ordered_sum(row.row(0).array()) == 190);            // 19 * 20 / 2
  CHECK(ordered_sum(row.row(0).array().square()) == 2470);  // 19 * 20 * 39 / 6
  CHECK(ordered_sum((row.row(0).array() - 9.5) * 2) == 0);
}
