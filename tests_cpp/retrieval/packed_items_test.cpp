#include "twotower/retrieval/packed_items.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace twotower;
using namespace twotower::retrieval;
using twotower::test::random_matrix;

TEST_CASE("PackedItems: value k of item i lies where the micro-kernel reads it, padding is zero") {
  const Index n = GENERATE(0, 1, 7, 8, 9, 15, 16, 17, 47, 48, 49, 97, 3001), width = GENERATE(1, 3, 64, 65);
  const Matrix<float> values = random_matrix<float>(n, width, 1);
  const PackedItems items(values, Threads(GENERATE(1, 2)));
  CHECK(items.rows() == n);
  CHECK(items.width() == width);
  CHECK(items.panels() == (n + kPanelWidth - 1) / kPanelWidth);
  CHECK(items.memory_bytes() == items.panels() * kPanelWidth * width * 4);
  float largest = 0;
  for (Index i = 0; i < values.size(); ++i) largest = std::max(largest, std::abs(values.data()[i]));
  CHECK(items.largest() == largest);
  int wrong = 0;
  for (Index p = 0; p < items.panels(); ++p) {
    wrong += reinterpret_cast<std::uintptr_t>(items.panel(p)) % (kLanes * sizeof(float)) != 0;
    for (Index lane = 0; lane < kPanelWidth; ++lane)
      for (Index k = 0; k < width; ++k) {
        const Index i = p * kPanelWidth + lane;
        wrong += items.panel(p)[k * kPanelWidth + lane] != (i < n ? values(i, k) : 0.0f);
      }
  }
  CHECK(wrong == 0);
}

TEST_CASE("PackedItems: rows farther apart than their width") {
  const Matrix<float> wide = random_matrix<float>(50, 10, 2);
  const Matrix<float> narrow = wide.middleCols(3, 5);
  const PackedItems one(wide.middleCols(3, 5), Threads(1)), two(narrow, Threads(1));
  CHECK(std::equal(one.panel(0), one.panel(0) + one.memory_bytes() / 4, two.panel(0)));
}

TEST_CASE("PackedItems: refuses what is not finite, and no columns") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  Matrix<float> values = Matrix<float>::Ones(3000, 4);
  values(2999, 1) = nan;
  CHECK_THROWS_WITH(PackedItems(values, Threads(2)), "PackedItems: items[2999, 1] is nan, but must be a finite number");
  values(1500, 3) = -infinity;
  CHECK_THROWS_WITH(PackedItems(values, Threads(2)), "PackedItems: items[1500, 3] is -inf, but must be a finite number");
  values(7, 0) = infinity;
  CHECK_THROWS_WITH(PackedItems(values, Threads(2)), "PackedItems: items[7, 0] is inf, but must be a finite number");
  CHECK_THROWS_WITH(PackedItems(Matrix<float>(3, 0), Threads(1)), "PackedItems: items width is 0, but must be at least 1");
}

TEST_CASE("check_vectors: the largest magnitude, negative and denormal values counted") {
  Matrix<float> values(2, 2);
  values << 1, -3, 0, 2;
  CHECK(check_vectors("f", "x", values, Threads(1)) == 3);
  values << 0, -0.0f, 1e-40f, 0;
  CHECK(check_vectors("f", "x", values, Threads(1)) == 1e-40f);
  CHECK(check_vectors("f", "x", Matrix<float>(0, 3), Threads(1)) == 0);
  values(1, 0) = std::numeric_limits<float>::max();
  CHECK(check_vectors("f", "x", values, Threads(1)) == std::numeric_limits<float>::max());
}
