#include "twotower/retrieval/score_panel.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/naive_top_k.hpp"
#include "support/random_matrix.hpp"
#include "twotower/retrieval/packed_items.hpp"

using namespace twotower;
using namespace twotower::retrieval;
using twotower::test::naive_score;
using twotower::test::random_matrix;

TEST_CASE("score_panel: every score has the bits of its own chain, for every number of queries") {
  const Index width = GENERATE(1, 2, 3, 16, 64, 65);
  const Index count = GENERATE(range(1, kQueryTile + 1));
  const Matrix<float> items = random_matrix<float>(kPanelWidth, width, 1), queries = random_matrix<float>(kQueryTile, width, 2);
  const AlignedFloats panel = aligned_floats(width * kPanelWidth), tile = aligned_floats(width * kQueryTile),
                      scores = aligned_floats(kQueryTile * kPanelWidth);
  for (Index k = 0; k < width; ++k) {
    for (Index i = 0; i < kPanelWidth; ++i) panel[static_cast<std::size_t>(k * kPanelWidth + i)] = items(i, k);
    // What lies beyond the last query must not matter.
    for (Index q = 0; q < kQueryTile; ++q) tile[static_cast<std::size_t>(k * kQueryTile + q)] = q < count ? queries(q, k) : NAN;
  }
  const float untouched = -77;
  std::fill_n(scores.get(), kQueryTile * kPanelWidth, untouched);
  score_panel(panel.get(), tile.get(), width, count, scores.get());
  int wrong = 0;
  for (Index q = 0; q < kQueryTile; ++q)
    for (Index i = 0; i < kPanelWidth; ++i) {
      const float expected = q < count ? naive_score(queries.row(q).data(), items.row(i).data(), width) : untouched;
      wrong += scores[static_cast<std::size_t>(q * kPanelWidth + i)] != expected;
      if (q < count) wrong += dot_chain(queries.row(q).data(), items.row(i).data(), width) != expected;
    }
  CHECK(wrong == 0);
}

TEST_CASE("dot_chain: near the sum in double, and 0 without values") {
  const Matrix<float> a = random_matrix<float>(1, 1000, 3), b = random_matrix<float>(1, 1000, 4);
  const double exact = a.cast<double>().row(0).dot(b.cast<double>().row(0));
  const double magnitudes = a.cwiseAbs().cast<double>().row(0).dot(b.cwiseAbs().cast<double>().row(0));
  CHECK(std::abs(dot_chain(a.data(), b.data(), 1000) - exact) <= 1000 * std::ldexp(1.0, -24) * magnitudes);
  CHECK(dot_chain(a.data(), b.data(), 0) == 0);
}
