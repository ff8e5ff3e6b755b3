#include "twotower/retrieval/scan.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "support/naive_top_k.hpp"
#include "support/random_matrix.hpp"
#include "twotower/retrieval/packed_items.hpp"

using namespace twotower;
using namespace twotower::retrieval;
using twotower::test::naive_top_k;
using twotower::test::random_matrix;
using twotower::test::RankedItems;

namespace {

void check_lists(Scan& scan, const std::vector<Index>& of, const RankedItems& expected) {
  for (std::size_t q = 0; q < of.size(); ++q) {
    const std::span<const Key> best = scan.best(static_cast<Index>(q));
    for (Index rank = 0; rank < expected.rows.cols(); ++rank) {
      const bool found = rank < static_cast<Index>(best.size());
      CHECK((found ? row_of(best[static_cast<std::size_t>(rank)]) : -1) == expected.rows(of[q], rank));
      if (found) CHECK(score_of(best[static_cast<std::size_t>(rank)]) == expected.scores(of[q], rank));
    }
  }
}

}  // namespace

TEST_CASE("Scan: panels one run after the other, with rows that start anywhere") {
  const Index n = GENERATE(1, 47, 49, 1000), k = GENERATE(1, 70), count = GENERATE(1, 8, 19), width = 5, before = 7;
  const Matrix<float> vectors = random_matrix<float>(before + n, width, 1), queries = random_matrix<float>(count, width, 2);
  const Index cut = n / 2 / kPanelWidth * kPanelWidth;
  const PackedItems first(vectors.middleRows(before, cut), Threads(1)), second(vectors.bottomRows(n - cut), Threads(1));
  std::vector<std::uint8_t> allowed(static_cast<std::size_t>(before + n), 1);
  std::fill_n(allowed.begin(), before, std::uint8_t{0});
  Filters filters;
  filters.allowed = allowed;
  std::vector<Index> of(static_cast<std::size_t>(count));
  std::iota(of.rbegin(), of.rend(), Index{0});
  Scan scan(queries, of, k, n);
  scan.run({first.panel(0), static_cast<Row>(before), cut, std::nullopt});
  scan.run({second.panel(0), static_cast<Row>(before + cut), n - cut, std::nullopt});
  check_lists(scan, of, naive_top_k(vectors, queries, k, filters));
}

TEST_CASE("Scan: sampled, a list that is full is the list") {
  const Index n = 6001, width = 6, count = 20, k = GENERATE(1, 10, 100);
  const Matrix<float> vectors = random_matrix<float>(n, width, 3), queries = random_matrix<float>(count, width, 4);
  const PackedItems items(vectors, Threads(1));
  std::vector<Index> of(static_cast<std::size_t>(count));
  std::iota(of.begin(), of.end(), Index{0});
  Scan scan(queries, of, k, n);
  scan.run_sampled({items.panel(0), 0, n, std::nullopt});
  check_lists(scan, of, naive_top_k(vectors, queries, k));
}
