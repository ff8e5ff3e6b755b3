#include "twotower/retrieval/screened_items.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace twotower;
using namespace twotower::retrieval;
using twotower::test::random_matrix;

TEST_CASE("Coder: codes are the nearest whole numbers, and the lengths are not below the true ones") {
  const Index width = GENERATE(1, 3, 64, 129);
  const double size = GENERATE(1e-30, 1.0, 1e30);
  const Matrix<float> vectors = random_matrix<float>(20, width, 1, size);
  for (Index i = 0; i < vectors.rows(); ++i) {
    Coder coder(width);
    const double scale = Coder::scale_for(vectors.row(i).cwiseAbs().maxCoeff());
    coder.code(vectors.row(i).data(), scale);
    double length = 0, codes = 0, residual = 0;
    int largest = 0;
    for (Index k = 0; k < width; ++k) {
      const double scaled = scale * static_cast<double>(vectors(i, k));
      CHECK(std::abs(scaled - coder[k]) <= 0.5 + 1e-9);
      largest = std::max(largest, std::abs(coder[k]));
      length += scaled * scaled;
      codes += coder[k] * coder[k];
      residual += (scaled - coder[k]) * (scaled - coder[k]);
    }
    CHECK(largest == 127);
    CHECK(coder.length() >= std::sqrt(length));
    CHECK(coder.length() <= std::sqrt(length) * (1 + 1e-6));
    CHECK(coder.code_length() >= std::sqrt(codes));
    CHECK(coder.residual_length() >= std::sqrt(residual));
    CHECK(coder.residual_length() <= std::sqrt(residual) + 1e-6);
  }
}

TEST_CASE("Coder: zeros and values below the smallest normal number") {
  CHECK(Coder::scale_for(0) == 1);
  CHECK(Coder::scale_for(1e-40f) == 1);
  CHECK(std::isfinite(Coder::scale_for(std::numeric_limits<float>::min())));
  Coder coder(3);
  const float tiny[3] = {1e-40f, -1e-45f, 0};
  coder.code(tiny, Coder::scale_for(1e-40f));
  CHECK((coder[0] == 0 && coder[1] == 0 && coder[2] == 0));
}

TEST_CASE("ScreenedItems: rows as given, codes where the micro-kernel reads them, bounds that hold") {
  const Index n = GENERATE(0, 1, 47, 48, 49, 97, 3001), width = GENERATE(1, 3, 64, 65);
  const Matrix<float> values = random_matrix<float>(n, width, 1);
  const ScreenedItems items(values, Threads(GENERATE(1, 2)));
  CHECK(items.rows() == n);
  CHECK(items.width() == width);
  CHECK(items.words() == (width + 3) / 4);
  CHECK(items.panels() == (n + 47) / 48);
  CHECK(items.memory_bytes() >= items.panels() * 48 * (width * 4 + items.words() * 4));
  CHECK(items.largest() == (n == 0 ? 0.0f : values.cwiseAbs().maxCoeff()));
  int wrong = 0;
  for (Index i = 0; i < n; ++i)
    wrong += std::memcmp(items.item(i), values.row(i).data(), static_cast<std::size_t>(width) * 4) != 0;
  Coder coder(width);
  for (Index p = 0; p < items.panels(); ++p) {
    const ScreenedItems::Bounds& bounds = items.bounds(p);
    const auto* codes = reinterpret_cast<const std::uint8_t*>(items.panel(p));
    for (Index lane = 0; lane < kScreenWidth; ++lane) {
      const Index i = p * kScreenWidth + lane;
      if (i < n) coder.code(values.row(i).data(), bounds.scale);
      for (Index k = 0; k < items.words() * kWordCodes; ++k)
        wrong += codes[(k / 4 * kScreenWidth + lane) * 4 + k % 4] != (i < n && k < width ? coder[k] + 128 : 128);
      if (i >= n) continue;
      wrong += coder.code_length() > bounds.codes;
      wrong += coder.residual_length() > bounds.residual;
      wrong += values.row(i).norm() > bounds.longest * 1.0001f;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("ScreenedItems: the leaders are the panels of the longest vectors") {
  Matrix<float> values = Matrix<float>::Constant(48 * 2000, 2, 0.5f);
  values.row(48 * 700).setConstant(3);
  values.row(48 * 1999 + 47).setConstant(-4);
  const ScreenedItems items(values, Threads(2));
  REQUIRE(items.leaders().size() == 2000 / 16);
  CHECK(items.leaders()[0] == 1999);
  CHECK(items.leaders()[1] == 700);
  CHECK(items.leaders()[2] == 0);  // equal ones by the smaller number
  for (std::size_t i = 0; i < items.leaders().size(); ++i) CHECK(items.bounds(items.leaders()[i]).rank == static_cast<Row>(i));
  CHECK(items.bounds(1000).rank == 2000 / 16);
}

namespace {

bool same_bytes(const ScreenedItems& a, const ScreenedItems& b) {
  if (a.rows() != b.rows() || a.width() != b.width() || a.largest() != b.largest()) return false;
  const auto values = static_cast<std::size_t>(a.rows() * a.width()) * sizeof(float);
  const auto codes = static_cast<std::size_t>(a.panels() * a.words() * kScreenWidth) * sizeof(float);
  bool same = std::memcmp(a.item(0), b.item(0), values) == 0 && std::memcmp(a.panel(0), b.panel(0), codes) == 0;
  for (Index p = 0; p < a.panels(); ++p) {
    const ScreenedItems::Bounds &x = a.bounds(p), &y = b.bounds(p);
    same &= x.scale == y.scale && x.codes == y.codes && x.residual == y.residual && x.longest == y.longest && x.rank == y.rank;
  }
  return same && std::equal(a.leaders().begin(), a.leaders().end(), b.leaders().begin(), b.leaders().end());
}

}  // namespace

TEST_CASE("ScreenedItems: grown, the bytes are those of a fresh one") {
  const Index first = GENERATE(0, 1, 47, 48, 49, 500), width = GENERATE(1, 7, 64);
  const std::vector<Index> steps =
      GENERATE(values<std::vector<Index>>({{0}, {1, 1, 1}, {46, 1, 1, 1}, {48}, {3000, 5}, {7, 0, 997}}));
  Index rows = first;
  for (const Index step : steps) rows += step;
  const Matrix<float> vectors = random_matrix<float>(rows, width, 3);
  ScreenedItems grown(vectors.topRows(first), Threads(1));
  Index done = first;
  for (const Index step : steps) {
    grown.append(vectors.middleRows(done, step), Threads(GENERATE(1, 3)));
    done += step;
    CHECK(same_bytes(grown, ScreenedItems(vectors.topRows(done), Threads(2))));
  }
}

TEST_CASE("ScreenedItems: changed, the bytes are those of a fresh one") {
  const Index n = GENERATE(1, 48, 49, 1000), width = GENERATE(1, 7, 64);
  Matrix<float> vectors = random_matrix<float>(n, width, 4);
  vectors(n - 1, 0) = 100;  // the largest goes
  ScreenedItems items(vectors, Threads(1));
  const std::vector<Row> rows{static_cast<Row>(n - 1), 0, static_cast<Row>(n / 2), 0};
  const Matrix<float> others = random_matrix<float>(4, width, 5);
  items.replace(rows, others, Threads(2));
  for (Index i = 0; i < 4; ++i) vectors.row(rows[static_cast<std::size_t>(i)]) = others.row(i);  // of row 0 the later one stays
  CHECK(same_bytes(items, ScreenedItems(vectors, Threads(1))));
  items.replace({}, Matrix<float>(0, width), Threads(1));
  CHECK(same_bytes(items, ScreenedItems(vectors, Threads(1))));
}

TEST_CASE("ScreenedItems: mistakes are named, and nothing changes") {
  const Matrix<float> vectors = random_matrix<float>(50, 3, 6);
  ScreenedItems items(vectors, Threads(1));
  Matrix<float> more = Matrix<float>::Ones(2, 3);
  const std::vector<Row> rows{3, 50}, two{3, 4};
  CHECK_THROWS_WITH(items.append(more.leftCols(2), Threads(1)),
                    "ItemIndex.append: the width of items is 2, but must equal the width of the packed items, which is 3");
  CHECK_THROWS_WITH(items.replace(rows, more, Threads(1)), "ItemIndex.replace: rows[1] is 50, but must be in [0, 50)");
  CHECK_THROWS_AS(items.replace(rows, more, Threads(1)), std::out_of_range);
  more(1, 2) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(items.append(more, Threads(1)), "ItemIndex.append: items[1, 2] is nan, but must be a finite number");
  CHECK_THROWS_WITH(items.replace(two, more, Threads(1)), "ItemIndex.replace: items[1, 2] is nan, but must be a finite number");
  CHECK_THROWS_WITH(ScreenedItems(more, Threads(1)), "ItemIndex: items[1, 2] is nan, but must be a finite number");
  CHECK_THROWS_WITH(ScreenedItems(Matrix<float>(3, 0), Threads(1)), "ItemIndex: items width is 0, but must be at least 1");
  CHECK_THROWS_WITH(ScreenedItems(Matrix<float>(0, 32769), Threads(1)),
                    "ItemIndex: items width is 32769, but must be at most 32768 with screen=True");
  CHECK(same_bytes(items, ScreenedItems(vectors, Threads(1))));
}
