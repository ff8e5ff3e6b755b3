#include "twotower/retrieval/top_k.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "support/catch.hpp"
#include "support/naive_top_k.hpp"
#include "support/random_matrix.hpp"

using namespace twotower;
using namespace twotower::retrieval;
using twotower::test::naive_top_k;
using twotower::test::random_matrix;
using twotower::test::RankedItems;

namespace {

RankedItems run(const PackedItems& items, ConstRows<float> queries, Index k, const Filters& filters = {}, int threads = 1) {
  RankedItems out{Matrix<Row>::Constant(queries.rows(), k, 99), Matrix<float>::Constant(queries.rows(), k, 99)};
  top_k(items, queries, k, filters, Threads(threads), out.rows, out.scores);
  return out;
}

// Through ==, minus infinity equals itself; nothing here is NaN.
bool same(const RankedItems& a, const RankedItems& b) { return a.rows == b.rows && a.scores == b.scores; }

/// Values -1, 0 and 1: scores are small whole numbers, so many of them are equal.
Matrix<float> coarse_matrix(Index rows, Index width, std::uint64_t number) {
  return random_matrix<float>(rows, width, number).unaryExpr([](float value) { return std::round(1.5f * value); });
}

/// Each query's own list; `share` of the catalogue is in it.
struct OwnedLists {
  OwnedLists(Index queries, Index items, double share, std::uint64_t seed = 11, double listed = 1) {
    RandomStream random(seed, Purpose::kTest);
    for (Index q = 0; q < queries; ++q) {
      list_of_query.push_back(random.uniform() < listed ? static_cast<Row>(q) : -1);
      for (Index i = 0; i < items; ++i)
        if (random.uniform() < share) rows.push_back(static_cast<Row>(i));
      offsets.push_back(static_cast<std::int64_t>(rows.size()));
    }
  }
  ItemLists view() const { return {list_of_query, offsets, rows}; }

  std::vector<Row> list_of_query, rows;
  std::vector<std::int64_t> offsets{0};
};

std::vector<std::uint8_t> random_mask(Index items, double share) {
  RandomStream random(12, Purpose::kTest);
  std::vector<std::uint8_t> mask;
  for (Index i = 0; i < items; ++i) mask.push_back(random.uniform() < share);
  return mask;
}

}  // namespace

TEST_CASE("top_k: agrees with the sort of all scores, over sizes") {
  const Index n = GENERATE(1, 2, 47, 48, 49, 97, 1000), width = GENERATE(1, 3, 16, 64, 65);
  const Matrix<float> vectors = random_matrix<float>(n, width, 1), queries = random_matrix<float>(100, width, 2);
  const PackedItems items(vectors, Threads(1));
  const RankedItems expected = naive_top_k(vectors, queries, n + 5);
  for (const Index count : {0, 1, 7, 8, 9, 100})
    for (const Index k : {Index{1}, Index{2}, Index{10}, n, n + 5}) {
      CAPTURE(n, width, count, k);
      const Index shared = std::min(k, n + 5);
      const RankedItems got = run(items, queries.topRows(count), k);
      CHECK(got.rows.leftCols(shared) == expected.rows.topLeftCorner(count, shared));
      CHECK(got.scores.leftCols(shared) == expected.scores.topLeftCorner(count, shared));
      CHECK((got.rows.rightCols(k - shared).array() == -1).all());
    }
}

TEST_CASE("top_k: equal scores go by the smaller row") {
  const Index n = GENERATE(5, 48, 500, 9001), k = GENERATE(1, 3, 100);
  const Matrix<float> vectors = coarse_matrix(n, 3, 3), queries = coarse_matrix(20, 3, 4);
  const PackedItems items(vectors, Threads(1));
  CHECK(same(run(items, queries, k), naive_top_k(vectors, queries, k)));
  // All scores 0, some of them -0.
  const RankedItems zeros = run(items, Matrix<float>::Constant(2, 3, -0.0f), k);
  for (Index rank = 0; rank < k; ++rank) {
    CHECK(zeros.rows(1, rank) == (rank < n ? rank : -1));
    if (rank < n) CHECK_FALSE(std::signbit(zeros.scores(1, rank)));
  }
}

TEST_CASE("top_k: exact under seen lists and an allow list") {
  // 7000 items are split into ranges; the oracle is slow there.
  const Index n = GENERATE(1, 48, 97, 1000, 7000), k = GENERATE(1, 10, 200),
              queries = std::min<Index>(GENERATE(1, 9, 20), 20000 / n);
  const double seen_share = GENERATE(0.0, 0.1, 0.97, 1.0), allowed_share = GENERATE(0.03, 1.0);
  const Matrix<float> vectors = coarse_matrix(n, 7, 5), users = random_matrix<float>(queries, 7, 6);
  const OwnedLists seen(queries, n, seen_share);
  const std::vector<std::uint8_t> mask = random_mask(n, allowed_share);
  Filters filters;
  filters.seen = seen.view();
  const PackedItems items(vectors, Threads(1));
  CHECK(same(run(items, users, k, filters), naive_top_k(vectors, users, k, filters)));
  filters.allowed = mask;
  CHECK(same(run(items, users, k, filters), naive_top_k(vectors, users, k, filters)));
  filters.seen.reset();
  CHECK(same(run(items, users, k, filters), naive_top_k(vectors, users, k, filters)));
}

TEST_CASE("top_k: exact under lists of each query's own, with everything else") {
  const Index n = GENERATE(1, 48, 49, 500), k = GENERATE(1, 10, 600), queries = GENERATE(1, 40);
  const double share = GENERATE(0.0, 0.02, 0.5, 1.0), having = GENERATE(0.5, 1.0);
  const Matrix<float> vectors = coarse_matrix(n, 7, 15), users = coarse_matrix(queries, 7, 16);
  const OwnedLists listed(queries, n, share, 21, having), denied(queries, n, 0.3, 22, 0.7), seen(queries, n, 0.3, 23, 0.7);
  const std::vector<std::uint8_t> mask = random_mask(n, 0.6);
  const PackedItems items(vectors, Threads(1));
  for (int parts = 0; parts < 8; ++parts) {
    Filters filters;
    filters.listed = listed.view();
    if ((parts & 1) != 0) filters.denied = denied.view();
    if ((parts & 2) != 0) filters.seen = seen.view();
    if ((parts & 4) != 0) filters.allowed = mask;
    CAPTURE(n, k, queries, share, parts);
    const RankedItems expected = naive_top_k(vectors, users, k, filters);
    for (const int threads : {1, 2, 7}) CHECK(same(run(items, users, k, filters, threads), expected));
    filters.listed.reset();
    CHECK(same(run(items, users, k, filters), naive_top_k(vectors, users, k, filters)));
  }
}

TEST_CASE("top_k: a list of everything gives the bytes of no list") {
  const Index n = GENERATE(97, 7001), k = GENERATE(1, 10, 300);
  const Matrix<float> vectors = random_matrix<float>(n, 33, 17), users = random_matrix<float>(65, 33, 18);
  const PackedItems items(vectors, Threads(1));
  const OwnedLists everything(65, n, 1.0), half(65, n, 1.0, 24, 0.5);
  const RankedItems expected = run(items, users, k);
  for (const OwnedLists* lists : {&everything, &half}) {
    Filters filters;
    filters.listed = lists->view();
    CHECK(same(run(items, users, k, filters, 2), expected));
  }
}

TEST_CASE("top_k: where fewer than k items are left, the list ends with row -1 and score minus infinity") {
  const Matrix<float> vectors = random_matrix<float>(60, 4, 7), queries = random_matrix<float>(3, 4, 8);
  const PackedItems items(vectors, Threads(1));
  const float none = -std::numeric_limits<float>::infinity();
  Filters filters;
  const std::vector<std::uint8_t> nothing(60, 0);
  filters.allowed = nothing;
  const RankedItems empty = run(items, queries, 5, filters);
  CHECK((empty.rows.array() == -1).all());
  CHECK((empty.scores.array() == none).all());

  std::vector<std::uint8_t> two(60, 0);
  two[3] = two[59] = 255;  // any number but 0 allows
  filters.allowed = two;
  const RankedItems pair = run(items, queries, 5, filters);
  CHECK(pair.rows.col(0) != pair.rows.col(1));
  CHECK((pair.rows.col(0).array() + pair.rows.col(1).array() == 62).all());
  CHECK((pair.rows.rightCols(3).array() == -1).all());
  CHECK((pair.scores.rightCols(3).array() == none).all());

  const RankedItems nobody = run(PackedItems(Matrix<float>(0, 4), Threads(1)), queries, 2);
  CHECK((nobody.rows.array() == -1).all());
  CHECK((nobody.scores.array() == none).all());
}

TEST_CASE("top_k: a query alone and in any batch, any number of threads: the same bytes") {
  const Index n = GENERATE(500, 20011), k = GENERATE(1, 30, 700);
  const Matrix<float> vectors = random_matrix<float>(n, 5, 9), queries = random_matrix<float>(600, 5, 10);
  const PackedItems items(vectors, Threads(2));
  const OwnedLists seen(600, n, 0.02);
  Filters filters;
  filters.seen = seen.view();
  const RankedItems all = run(items, queries, k, filters, 1);
  for (const int threads : {2, 7}) CHECK(same(run(items, queries, k, filters, threads), all));
  for (const Index q : {0, 1, 255, 256, 599}) {
    Filters own;
    own.seen = ItemLists{filters.seen->list_of_query.subspan(static_cast<std::size_t>(q), 1), seen.offsets, seen.rows};
    for (const int threads : {1, 3}) {
      const RankedItems alone = run(items, queries.row(q), k, own, threads);
      CHECK(alone.rows == all.rows.row(q));
      CHECK(alone.scores == all.scores.row(q));
    }
  }
  const RankedItems some = run(items, queries.topRows(3), k);
  CHECK(same(some, naive_top_k(vectors, queries.topRows(3), k)));
}

TEST_CASE("top_k: views whose rows are far apart and not aligned") {
  const Index width = 6, k = 4, count = 11;
  const Matrix<float> vectors = random_matrix<float>(100, width, 13), wide = random_matrix<float>(count, width + 5, 14);
  const PackedItems items(vectors, Threads(1));
  Matrix<Row> rows = Matrix<Row>::Constant(count, k + 3, 55);
  Matrix<float> scores = Matrix<float>::Constant(count, k + 2, 55);
  top_k(items, wide.middleCols(3, width), k, {}, Threads(1), rows.middleCols(1, k), scores.middleCols(1, k));
  const RankedItems expected = naive_top_k(vectors, wide.middleCols(3, width), k);
  CHECK(rows.middleCols(1, k) == expected.rows);
  CHECK(scores.middleCols(1, k) == expected.scores);
  CHECK((rows.col(0).array() == 55).all());
  CHECK((rows.rightCols(2).array() == 55).all());
  CHECK((scores.col(0).array() == 55).all());
  CHECK((scores.rightCols(1).array() == 55).all());
}

TEST_CASE("top_k: mistakes are named and nothing is written") {
  const PackedItems items(Matrix<float>::Ones(10, 4), Threads(1));
  Matrix<float> queries = Matrix<float>::Ones(3, 4);
  CHECK_THROWS_WITH(run(items, queries, 0), "top_k: k is 0, but must be at least 1");
  CHECK_THROWS_WITH(run(items, queries.leftCols(3), 2),
                    "top_k: the width of queries is 3, but must equal the width of the items, which is 4");

  Filters filters;
  const std::vector<std::uint8_t> mask(9, 1);
  filters.allowed = mask;
  CHECK_THROWS_WITH(run(items, queries, 2, filters),
                    "top_k: the size of allowed is 9, but must equal the number of items, which is 10");
  filters = {};
  const std::vector<Row> lists{0, 0, 0}, unsorted{5, 3};
  const std::vector<std::int64_t> offsets{0, 2};
  filters.seen = ItemLists{lists, offsets, unsorted};
  CHECK_THROWS_WITH(run(items, queries, 2, filters),
                    "top_k: seen_items[1] is 3, but must not be below seen_items[0], which is 5; sort each list");
  filters = {};
  filters.listed = ItemLists{lists, offsets, unsorted};
  CHECK_THROWS_WITH(run(items, queries, 2, filters),
                    "top_k: allowed_items[1] is 3, but must not be below allowed_items[0], which is 5; sort each list");

  Matrix<Row> rows = Matrix<Row>::Constant(3, 2, 55);
  Matrix<float> scores(3, 2), narrow(3, 1);
  CHECK_THROWS_WITH(top_k(items, queries, 2, {}, Threads(1), rows, narrow),
                    "top_k: the width of the result scores is 1, but must equal k, which is 2");
  queries(2, 1) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(top_k(items, queries, 2, {}, Threads(1), rows, scores),
                    "top_k: queries[2, 1] is nan, but must be a finite number");
  queries(2, 1) = 3e38f;
  CHECK_THROWS_WITH(top_k(items, queries, 2, {}, Threads(1), rows, scores),
                    "top_k: the largest possible score is 1.2e+39, but must be at most 1.70141e+38; scale queries or items down");
  CHECK((rows.array() == 55).all());
}
