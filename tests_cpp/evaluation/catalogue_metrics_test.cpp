#include "twotower/evaluation/catalogue_metrics.hpp"

#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "support/catch.hpp"
#include "twotower/base/random.hpp"

using namespace twotower;
using namespace twotower::evaluation;

namespace {

std::vector<double> run(const Matrix<Row>& ranked, const std::vector<double>& counts, const std::vector<std::string>& names,
                        const std::vector<Index>& cutoffs) {
  std::vector<double> values(names.size(), -1);
  catalogue_metrics(ranked, counts, catalogue_measures(names, cutoffs), values);
  return values;
}

}  // namespace

TEST_CASE("catalogue_metrics: lists done on paper") {
  // Five items with 8, 4, 2, 2 and 0 of 16 positives: 1, 2, 3, 3 and, counted as 1 of 16, 4 bits.
  const std::vector<double> counts{8, 4, 2, 2, 0};
  Matrix<Row> ranked(3, 2);
  ranked << 0, 1, 0, 4, 2, -1;
  const auto values = run(ranked, counts, {"coverage", "coverage", "novelty", "novelty"}, {1, 2, 1, 2});
  CHECK(values[0] == Approx(2.0 / 5));                    // 0 and 2
  CHECK(values[1] == Approx(4.0 / 5));                    // 0, 1, 2 and 4
  CHECK(values[2] == Approx((1 + 1 + 3) / 3.0));          // 0, 0, 2
  CHECK(values[3] == Approx((1 + 1 + 3 + 2 + 4) / 5.0));  // and 1, 4; the third list has one item
}

TEST_CASE("catalogue_metrics: agrees with sets and sums") {
  RandomStream random(1, Purpose::kTest);
  Matrix<Row> ranked(97, 6);
  for (Index i = 0; i < ranked.size(); ++i) ranked.data()[i] = static_cast<Row>(random.below(200));
  ranked.row(5).tail(4).setConstant(-1);
  std::vector<double> counts;
  double total = 0;
  for (int i = 0; i < 200; ++i) total += counts.emplace_back(static_cast<double>(random.below(9)));
  for (const Index k : {1, 4, 6}) {
    std::set<Row> shown;
    double bits = 0, entries = 0;
    for (Index q = 0; q < ranked.rows(); ++q)
      for (Index r = 0; r < k; ++r) {
        if (ranked(q, r) < 0) continue;
        shown.insert(ranked(q, r));
        bits -= std::log2(std::max(1.0, counts[static_cast<std::size_t>(ranked(q, r))]) / total);
        entries += 1;
      }
    const auto values = run(ranked, counts, {"novelty", "coverage"}, {k, k});
    CHECK(values[0] == Approx(bits / entries).epsilon(1e-12));
    CHECK(values[1] == static_cast<double>(shown.size()) / 200);
  }
}

TEST_CASE("catalogue_metrics: nothing shown") {
  for (const Matrix<Row>& ranked : {Matrix<Row>(0, 3), Matrix<Row>(Matrix<Row>::Constant(2, 3, -1))}) {
    const auto values = run(ranked, {1, 2}, {"coverage", "novelty"}, {3, 3});
    CHECK(values[0] == 0);
    CHECK(std::isnan(values[1]));
  }
  CHECK(run(Matrix<Row>(0, 1), {}, {"coverage"}, {1})[0] == 0);
  CHECK(run(Matrix<Row>(0, 0), {}, {}, {}).empty());
}

TEST_CASE("catalogue_metrics: mistakes are named") {
  Matrix<Row> ranked(2, 2);
  ranked << 0, 1, 1, 2;
  CHECK_THROWS_WITH(run(ranked, {1, 1}, {"coverage"}, {2}), "catalogue_metrics: ranked[1][1] is 2, but must be in [0, 2)");
  CHECK_THROWS_AS(run(ranked, {1, 1}, {"coverage"}, {2}), std::out_of_range);
  CHECK_THROWS_WITH(run(ranked, {1, 1, -1}, {"coverage"}, {2}),
                    "catalogue_metrics: item_counts[2] is -1, but must be a finite number, at least 0");
  CHECK_THROWS_WITH(run(ranked, {1, std::nan(""), 1}, {"coverage"}, {2}),
                    "catalogue_metrics: item_counts[1] is nan, but must be a finite number, at least 0");
  CHECK_THROWS_WITH(run(ranked, {0, 0, 0}, {"novelty"}, {2}),
                    "catalogue_metrics: item_counts add up to 0, but novelty needs at least one positive");
  CHECK(run(ranked, {0, 0, 0}, {"coverage"}, {2})[0] == 1);
  CHECK_THROWS_WITH(run(ranked, {1, 1, 1}, {"coverage"}, {3}),
                    "catalogue_metrics: cutoffs[0] is 3, but must be at most 2, the length of the lists; rank more items");
  CHECK_THROWS_WITH(run(ranked, {1, 1, 1}, {"diversity"}, {2}),
                    "catalogue_metrics: metrics[0] is \"diversity\", but must be one of coverage, novelty");
}
