#include "twotower/retrieval/sample.hpp"

#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/naive_top_k.hpp"
#include "support/random_matrix.hpp"
#include "twotower/retrieval/packed_items.hpp"

using namespace twotower;
using namespace twotower::retrieval;
using twotower::test::naive_score;
using twotower::test::random_matrix;

namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

AlignedFloats packed(const Matrix<float>& queries) {
  const Index tiles = (queries.rows() + kQueryTile - 1) / kQueryTile;
  AlignedFloats out = aligned_floats(tiles * queries.cols() * kQueryTile);
  for (Index q = 0; q < queries.rows(); ++q)
    for (Index k = 0; k < queries.cols(); ++k)
      out[static_cast<std::size_t>((q / kQueryTile * queries.cols() + k) * kQueryTile + q % kQueryTile)] = queries(q, k);
  return out;
}

}  // namespace

TEST_CASE("Sample: holds the scores of its panels, guesses below many items and above most") {
  const Index n = 5003, width = 8, count = kQueryTile + 1, k = GENERATE(1, 10, 100);
  const Matrix<float> vectors = random_matrix<float>(n, width, 1), queries = random_matrix<float>(count, width, 2);
  const PackedItems items(vectors, Threads(1));
  const PanelRun run{items.panel(0), 0, n, std::nullopt};
  const Sample sample(run, packed(queries).get(), count, width);
  Index panels = 0;
  for (Index p = 0; p < run.panels(); ++p) {
    if (!sample.has(p)) continue;
    ++panels;
    for (Index q = 0; q < count; ++q)
      for (Index lane = 0; lane < kPanelWidth && p * kPanelWidth + lane < n; ++lane)
        CHECK(sample.tile(q / kQueryTile, p)[q % kQueryTile * kPanelWidth + lane] ==
              naive_score(queries.row(q).data(), vectors.row(p * kPanelWidth + lane).data(), width));
  }
  CHECK(panels == run.panels() / 16);
  for (Index q = 0; q < count; ++q) {
    const float guess = sample.guess(q, k);
    Index above = 0;
    for (Index i = 0; i < n; ++i) above += naive_score(queries.row(q).data(), vectors.row(i).data(), width) > guess;
    CHECK(above >= k);
    CHECK(above < 6 * k + 300);
  }
}

TEST_CASE("Sample: what is not allowed or left out does not count") {
  const Index n = 4096, width = 3;
  const Matrix<float> vectors = random_matrix<float>(n, width, 3), queries = random_matrix<float>(1, width, 4);
  const PackedItems items(vectors, Threads(1));
  std::vector<std::uint8_t> allowed(static_cast<std::size_t>(n), 0);
  Sample nothing({items.panel(0), 0, n, allowed}, packed(queries).get(), 1, width);
  CHECK(nothing.guess(0, 1) == kNone);
  Sample sample({items.panel(0), 0, n, std::nullopt}, packed(queries).get(), 1, width);
  CHECK(sample.guess(0, 1) > kNone);
  for (Index row = 0; row < n; ++row)
    if (sample.has(row / kPanelWidth)) sample.leave_out(0, row / kPanelWidth, row % kPanelWidth);
  CHECK(sample.guess(0, 1) == kNone);
}

TEST_CASE("Sample: pays for catalogues in between, and lists much shorter than they") {
  CHECK_FALSE(Sample::pays(1000, 1));
  CHECK(Sample::pays(26744, 10));
  CHECK(Sample::pays(26744, 1000));
  CHECK_FALSE(Sample::pays(26744, 10000));
  CHECK_FALSE(Sample::pays(10000000, 10));
}
