#include "twotower/retrieval/packed_items.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

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
  CHECK_THROWS_WITH(PackedItems(values, Threads(2)), "ItemIndex: items[2999, 1] is nan, but must be a finite number");
  values(1500, 3) = -infinity;
  CHECK_THROWS_WITH(PackedItems(values, Threads(2)), "ItemIndex: items[1500, 3] is -inf, but must be a finite number");
  values(7, 0) = infinity;
  CHECK_THROWS_WITH(PackedItems(values, Threads(2)), "ItemIndex: items[7, 0] is inf, but must be a finite number");
  CHECK_THROWS_WITH(PackedItems(Matrix<float>(3, 0), Threads(1)), "ItemIndex: items width is 0, but must be at least 1");
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

namespace {

bool same_bytes(const PackedItems& a, const PackedItems& b) {
  const auto size = static_cast<std::size_t>(a.panels() * kPanelWidth * a.width()) * sizeof(float);
  return a.rows() == b.rows() && a.width() == b.width() && a.largest() == b.largest() &&
         std::memcmp(a.panel(0), b.panel(0), size) == 0;
}

}  // namespace

TEST_CASE("PackedItems: grown, the bytes are those of a fresh one") {
  const Index first = GENERATE(0, 1, 47, 48, 49, 500), width = GENERATE(1, 7, 64);
  const std::vector<Index> steps =
      GENERATE(values<std::vector<Index>>({{0}, {1}, {1, 1, 1}, {46, 1, 1, 1}, {48}, {3000, 5}, {7, 0, 997}}));
  Index rows = first;
  for (const Index step : steps) rows += step;
  const Matrix<float> vectors = random_matrix<float>(rows, width, 3);
  PackedItems grown(vectors.topRows(first), Threads(1));
  Index done = first;
  for (const Index step : steps) {
    grown.append(vectors.middleRows(done, step), Threads(GENERATE(1, 3)));
    done += step;
    CHECK(same_bytes(grown, PackedItems(vectors.topRows(done), Threads(2))));
  }
}

TEST_CASE("PackedItems: growing one by one copies the panels a few times, not each time") {
  PackedItems items(Matrix<float>(0, 4), Threads(1));
  Index moves = 0;
  for (Index i = 0; i < 200 * kPanelWidth; ++i) {
    const Index before = items.memory_bytes();
    items.append(Matrix<float>::Constant(1, 4, static_cast<float>(i)), Threads(1));
    moves += items.memory_bytes() != before;
  }
  CHECK(moves < 20);
  CHECK(items.memory_bytes() < 2 * 200 * kPanelWidth * 4 * 4);
  CHECK(items.largest() == static_cast<float>(200 * kPanelWidth - 1));
}

TEST_CASE("PackedItems: changed, the bytes are those of a fresh one") {
  const Index n = GENERATE(1, 48, 49, 1000), width = GENERATE(1, 7, 64);
  Matrix<float> vectors = random_matrix<float>(n, width, 4);
  vectors(n - 1, 0) = 100;  // the largest goes
  PackedItems items(vectors, Threads(1));
  const std::vector<Row> rows{static_cast<Row>(n - 1), 0, static_cast<Row>(n / 2), 0};
  const Matrix<float> others = random_matrix<float>(4, width, 5);
  items.replace(rows, others, Threads(2));
  for (Index i = 0; i < 4; ++i) vectors.row(rows[static_cast<std::size_t>(i)]) = others.row(i);  // of row 0 the later one stays
  CHECK(same_bytes(items, PackedItems(vectors, Threads(1))));
  items.replace({}, Matrix<float>(0, width), Threads(1));
  CHECK(same_bytes(items, PackedItems(vectors, Threads(1))));
}

TEST_CASE("PackedItems: what cannot be added or put in place is named, and nothing changes") {
  const Matrix<float> vectors = random_matrix<float>(50, 3, 6);
  PackedItems items(vectors, Threads(1));
  Matrix<float> more = Matrix<float>::Ones(2, 3);
  const std::vector<Row> rows{3, 50}, one{3};
  CHECK_THROWS_WITH(items.append(more.leftCols(2), Threads(1)),
                    "ItemIndex.append: the width of items is 2, but must equal the width of the packed items, which is 3");
  CHECK_THROWS_WITH(items.replace(one, more.topLeftCorner(1, 2), Threads(1)),
                    "ItemIndex.replace: the width of items is 2, but must equal the width of the packed items, which is 3");
  CHECK_THROWS_WITH(items.replace(one, more, Threads(1)),
                    "ItemIndex.replace: the size of rows is 1, but must equal the number of items, which is 2");
  CHECK_THROWS_WITH(items.replace(rows, more, Threads(1)), "ItemIndex.replace: rows[1] is 50, but must be in [0, 50)");
  CHECK_THROWS_AS(items.replace(rows, more, Threads(1)), std::out_of_range);
  more(1, 2) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(items.append(more, Threads(1)), "ItemIndex.append: items[1, 2] is nan, but must be a finite number");
  const std::vector<Row> two{3, 4};
  CHECK_THROWS_WITH(items.replace(two, more, Threads(1)), "ItemIndex.replace: items[1, 2] is nan, but must be a finite number");
  CHECK(same_bytes(items, PackedItems(vectors, Threads(1))));
}
