#include "twotower/retrieval/top_k_of_lists.hpp"

#include <cstdint>
#include <vector>

#include "support/catch.hpp"
#include "support/naive_top_k.hpp"
#include "support/random_matrix.hpp"

using namespace twotower;
using namespace twotower::retrieval;
using twotower::test::naive_top_k;
using twotower::test::random_matrix;
using twotower::test::RankedItems;

// What top_k makes of it, with every other filter and any number of threads, is in top_k_test.

TEST_CASE("top_k_of_lists: the named queries are written, the others are not") {
  const Index n = 200, k = 3;
  const Matrix<float> vectors = random_matrix<float>(n, 5, 1), queries = random_matrix<float>(4, 5, 2);
  const PackedItems items(vectors, Threads(1));
  // Query 0 has an empty list, 1 none, 2 and 3 share one that names a row twice and crosses panels.
  const std::vector<Row> of_query{0, -1, 1, 1}, rows{3, 46, 47, 47, 48, 199};
  const std::vector<std::int64_t> offsets{0, 0, 6};
  Filters filters;
  filters.listed = ItemLists{of_query, offsets, rows};
  const RankedItems expected = naive_top_k(vectors, queries, k, filters);
  RankedItems got{Matrix<Row>::Constant(4, k, 55), Matrix<float>::Constant(4, k, 55)};
  const std::vector<Index> of{3, 0};
  top_k_of_lists(items, queries, of, k, filters, Threads(2), got.rows, got.scores);
  for (const Index query : of) {
    CHECK(got.rows.row(query) == expected.rows.row(query));
    CHECK(got.scores.row(query) == expected.scores.row(query));
  }
  CHECK((got.rows.row(0).array() == -1).all());
  for (const Index query : {1, 2}) CHECK((got.rows.row(query).array() == 55).all());
  top_k_of_lists(items, queries, {}, k, filters, Threads(2), got.rows, got.scores);
  CHECK((got.rows.row(1).array() == 55).all());
}
