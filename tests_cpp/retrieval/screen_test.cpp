#include "twotower/retrieval/screen.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/naive_top_k.hpp"
#include "support/random_matrix.hpp"
#include "twotower/retrieval/top_k.hpp"

using namespace twotower;
using namespace twotower::retrieval;
using twotower::test::naive_top_k;
using twotower::test::random_matrix;
using twotower::test::RankedItems;

namespace {

RankedItems screened(const ScreenedItems& items, ConstRows<float> queries, Index k, const Filters& filters = {},
                     int threads = 1) {
  RankedItems out{Matrix<Row>::Constant(queries.rows(), k, 99), Matrix<float>::Constant(queries.rows(), k, 99)};
  screened_top_k(items, queries, k, filters, Threads(threads), out.rows, out.scores);
  return out;
}

RankedItems packed(const PackedItems& items, ConstRows<float> queries, Index k, const Filters& filters = {}) {
  RankedItems out{Matrix<Row>::Constant(queries.rows(), k, 99), Matrix<float>::Constant(queries.rows(), k, 99)};
  top_k(items, queries, k, filters, Threads(1), out.rows, out.scores);
  return out;
}

// Through ==, minus infinity equals itself; nothing here is NaN, and no zero has a sign.
bool same(const RankedItems& a, const RankedItems& b) { return a.rows == b.rows && a.scores == b.scores; }

Matrix<float> normal_matrix(Index rows, Index width, std::uint64_t number, double spread = 0) {
  RandomStream random(number, Purpose::kTest);
  Matrix<float> matrix(rows, width);
  for (Index i = 0; i < rows; ++i) {
    const double length = std::exp(spread * random.normal());
    for (Index k = 0; k < width; ++k) matrix(i, k) = static_cast<float>(length * random.normal());
  }
  return matrix;
}

struct Lists {
  Lists(Index queries, Index items, double share, std::uint64_t seed, double having = 1) {
    RandomStream random(seed, Purpose::kTest);
    for (Index q = 0; q < queries; ++q) {
      of_query.push_back(random.uniform() < having ? static_cast<Row>(q) : -1);
      for (Index i = 0; i < items; ++i)
        if (random.uniform() < share) rows.push_back(static_cast<Row>(i));
      offsets.push_back(static_cast<std::int64_t>(rows.size()));
    }
  }
  ItemLists view() const { return {of_query, offsets, rows}; }

  std::vector<Row> of_query, rows;
  std::vector<std::int64_t> offsets{0};
};

}  // namespace

TEST_CASE("screened_top_k: agrees with the sort of all scores, over sizes") {
  const Index n = GENERATE(1, 2, 47, 48, 49, 97, 1000), width = GENERATE(1, 2, 3, 4, 5, 16, 63, 64, 65, 130);
  const Matrix<float> vectors = random_matrix<float>(n, width, 1), queries = random_matrix<float>(33, width, 2);
  const ScreenedItems items(vectors, Threads(1));
  const RankedItems expected = naive_top_k(vectors, queries, n + 5);
  for (const Index count : {0, 1, 7, 8, 9, 33})
    for (const Index k : {Index{1}, Index{10}, n, n + 5}) {
      CAPTURE(n, width, count, k);
      const Index shared = std::min(k, n + 5);
      const RankedItems got = screened(items, queries.topRows(count), k);
      CHECK(got.rows.leftCols(shared) == expected.rows.topLeftCorner(count, shared));
      CHECK(got.scores.leftCols(shared) == expected.scores.topLeftCorner(count, shared));
      CHECK((got.rows.rightCols(k - shared).array() == -1).all());
    }
}

TEST_CASE("screened_top_k: the bytes of top_k on vectors of every kind") {
  const Index n = 9001, width = GENERATE(3, 64), count = 70;
  Matrix<float> vectors = normal_matrix(n, width, 3), queries = normal_matrix(count, width, 4);
  const auto kind = GENERATE(as<std::string>(), "normal", "skewed lengths", "skewed far", "low rank and a bias", "coarse",
                             "all equal", "zeros", "denormal", "large", "range within a vector", "one large value", "ascending");
  RandomStream random(5, Purpose::kTest);
  if (kind == "skewed lengths") vectors = normal_matrix(n, width, 3, 2.0);
  if (kind == "skewed far") vectors = normal_matrix(n, width, 3, 12.0).cwiseMax(-1e15f).cwiseMin(1e15f);
  if (kind == "low rank and a bias") {
    const Matrix<float> basis = normal_matrix(2, width, 6);
    vectors = normal_matrix(n, 2, 7) * basis + 0.01f * vectors;
    queries = normal_matrix(count, 2, 8) * basis;
    vectors.col(width - 1) = 30 * normal_matrix(n, 1, 9).array() - 100;
    queries.col(width - 1).setOnes();
  }
  if (kind == "coarse") vectors = vectors.array().round(), queries = queries.array().round();
  if (kind == "all equal") vectors.rowwise() = Matrix<float>(vectors.row(0)).row(0);
  if (kind == "zeros") vectors.bottomRows(n / 2).setZero(), queries.topRows(3).setConstant(-0.0f);
  if (kind == "denormal") vectors *= 1e-39f, queries.topRows(9) *= 1e-39f;
  if (kind == "large") vectors *= 1e17f, queries *= 1e17f;
  if (kind == "range within a vector") {
    for (Index i = 0; i < vectors.size(); ++i) vectors.data()[i] *= static_cast<float>(std::exp(12 * random.normal()));
    for (Index i = 0; i < queries.size(); ++i) queries.data()[i] *= static_cast<float>(std::exp(6 * random.normal()));
  }
  if (kind == "one large value") vectors.col(0).setConstant(1e6f), queries.col(0).setZero();
  if (kind == "ascending")
    for (Index i = 0; i < n; ++i) vectors.row(i) *= 0.001f * static_cast<float>(i);
  const ScreenedItems items(vectors, Threads(2));
  const PackedItems reference(vectors, Threads(1));
  for (const Index k : {1, 10, 150, 3000}) {
    const RankedItems expected = packed(reference, queries, k);
    CAPTURE(kind, width, k);
    CHECK(same(screened(items, queries, k, {}, 2), expected));
    const RankedItems alone = screened(items, queries.row(5), k);
    CHECK(alone.rows == expected.rows.row(5));
    CHECK(alone.scores == expected.scores.row(5));
  }
}

TEST_CASE("screened_top_k: equal scores go by the smaller row, and no zero has a sign") {
  const Index n = GENERATE(5, 48, 500, 9001), k = GENERATE(1, 3, 100);
  const Matrix<float> vectors = normal_matrix(n, 3, 3).array().round(), queries = normal_matrix(20, 3, 4).array().round();
  CHECK(same(screened(ScreenedItems(vectors, Threads(1)), queries, k), naive_top_k(vectors, queries, k)));
  const RankedItems zeros = screened(ScreenedItems(vectors, Threads(1)), Matrix<float>::Constant(2, 3, -0.0f), k);
  for (Index rank = 0; rank < k; ++rank) {
    CHECK(zeros.rows(1, rank) == (rank < n ? rank : -1));
    if (rank < n) CHECK_FALSE(std::signbit(zeros.scores(1, rank)));
  }
}

TEST_CASE("screened_top_k: exact under every filter") {
  const Index n = GENERATE(1, 49, 1000, 30000), k = GENERATE(1, 10, 200), count = std::min<Index>(GENERATE(1, 20), 100000 / n);
  const double share = GENERATE(0.1, 0.97, 1.0);
  const Matrix<float> vectors = normal_matrix(n, 7, 5), queries = normal_matrix(count, 7, 6);
  const ScreenedItems items(vectors, Threads(1));
  const PackedItems reference(vectors, Threads(1));
  const Lists seen(count, n, share, 11), denied(count, n, 0.3, 12, 0.7), listed(count, n, 0.2, 13, 0.5);
  std::vector<std::uint8_t> mask;
  RandomStream random(14, Purpose::kTest);
  for (Index i = 0; i < n; ++i) mask.push_back(random.uniform() < 0.4);
  for (int parts = 0; parts < 16; ++parts) {
    Filters filters;
    if ((parts & 1) != 0) filters.seen = seen.view();
    if ((parts & 2) != 0) filters.denied = denied.view();
    if ((parts & 4) != 0) filters.listed = listed.view();
    if ((parts & 8) != 0) filters.allowed = mask;
    CAPTURE(n, k, count, share, parts);
    CHECK(same(screened(items, queries, k, filters, 1 + parts % 3), packed(reference, queries, k, filters)));
  }
}

TEST_CASE("screened_top_k: lists that repeat a row and lists of nothing") {
  const Matrix<float> vectors = normal_matrix(300, 5, 15), queries = normal_matrix(3, 5, 16);
  const std::vector<Row> of_query{0, 1, -1}, rows{4, 4, 4, 17, 17, 200};
  const std::vector<std::int64_t> offsets{0, 6, 6};
  Filters filters;
  filters.listed = ItemLists{of_query, offsets, rows};
  const RankedItems got = screened(ScreenedItems(vectors, Threads(1)), queries, 5, filters);
  CHECK(same(got, naive_top_k(vectors, queries, 5, filters)));
  CHECK((got.rows.row(1).array() == -1).all());
}

TEST_CASE("screened_top_k: a query alone and in any batch, any number of threads: the same bytes") {
  const Index n = GENERATE(500, 40011), k = GENERATE(1, 30, 700);
  const Matrix<float> vectors = normal_matrix(n, 5, 9), queries = normal_matrix(300, 5, 10);
  const ScreenedItems items(vectors, Threads(2));
  const RankedItems all = screened(items, queries, k);
  CHECK(same(all, packed(PackedItems(vectors, Threads(1)), queries, k)));
  for (const int threads : {2, 7}) CHECK(same(screened(items, queries, k, {}, threads), all));
  for (const Index q : {0, 1, 63, 64, 299})
    for (const int threads : {1, 3}) {
      const RankedItems alone = screened(items, queries.row(q), k, {}, threads);
      CHECK(alone.rows == all.rows.row(q));
      CHECK(alone.scores == all.scores.row(q));
    }
}

TEST_CASE("screened_top_k: grown and changed indexes, and views whose rows are far apart") {
  Matrix<float> vectors = normal_matrix(5000, 6, 17);
  const Matrix<float> wide = normal_matrix(11, 11, 18);
  ScreenedItems items(vectors.topRows(4000), Threads(1));
  items.append(vectors.bottomRows(1000), Threads(2));
  const std::vector<Row> changed{0, 4999, 77};
  vectors.row(0) *= 9, vectors.row(4999).setZero(), vectors.row(77) *= -1;
  Matrix<float> others(3, 6);
  others << vectors.row(0), vectors.row(4999), vectors.row(77);
  items.replace(changed, others, Threads(1));
  Matrix<Row> rows = Matrix<Row>::Constant(11, 7, 55);
  Matrix<float> scores = Matrix<float>::Constant(11, 6, 55);
  screened_top_k(items, wide.middleCols(3, 6), 4, {}, Threads(1), rows.middleCols(1, 4), scores.middleCols(1, 4));
  const RankedItems expected = naive_top_k(vectors, wide.middleCols(3, 6), 4);
  CHECK(rows.middleCols(1, 4) == expected.rows);
  CHECK(scores.middleCols(1, 4) == expected.scores);
  CHECK((rows.col(0).array() == 55).all());
  CHECK((scores.rightCols(1).array() == 55).all());
}

TEST_CASE("screened_top_k: fewer than k left, nothing at all, mistakes") {
  const float none = -std::numeric_limits<float>::infinity();
  const RankedItems nobody = screened(ScreenedItems(Matrix<float>(0, 4), Threads(1)), Matrix<float>::Ones(2, 4), 2);
  CHECK((nobody.rows.array() == -1).all());
  CHECK((nobody.scores.array() == none).all());
  const ScreenedItems items(Matrix<float>::Ones(10, 4), Threads(1));
  Matrix<float> queries = Matrix<float>::Ones(3, 4);
  CHECK_THROWS_WITH(screened(items, queries, 0), "top_k: k is 0, but must be at least 1");
  queries(2, 1) = 3e38f;
  CHECK_THROWS_WITH(screened(items, queries, 2),
                    "top_k: the largest possible score is 1.2e+39, but must be at most 1.70141e+38; scale queries or items down");
}
