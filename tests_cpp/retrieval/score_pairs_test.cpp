#include "twotower/retrieval/score_pairs.hpp"

#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/naive_top_k.hpp"
#include "support/random_matrix.hpp"
#include "twotower/retrieval/top_k.hpp"

using namespace twotower;
using namespace twotower::retrieval;
using twotower::test::naive_score;
using twotower::test::random_matrix;

TEST_CASE("score_pairs: the bits of the naive chain, over sizes and threads") {
  const Index width = GENERATE(0, 1, 3, 16, 65), pairs = GENERATE(0, 1, 7, 8, 9, 5003);
  const Matrix<float> queries = random_matrix<float>(13, width, 1), items = random_matrix<float>(29, width, 2);
  std::vector<Row> query_rows, item_rows;
  std::vector<float> expected;
  RandomStream random(3, Purpose::kTest);
  for (Index i = 0; i < pairs; ++i) {
    query_rows.push_back(static_cast<Row>(random.below(13)));
    item_rows.push_back(static_cast<Row>(random.below(29)));
    expected.push_back(naive_score(queries.row(query_rows.back()).data(), items.row(item_rows.back()).data(), width));
  }
  for (const int threads : {1, 2, 7}) {
    std::vector<float> scores(static_cast<std::size_t>(pairs), -1);
    score_pairs(queries, items, query_rows, item_rows, Threads(threads), scores);
    CHECK(scores == expected);
  }
}

TEST_CASE("score_pairs: the bits that top_k gives") {
  const Matrix<float> queries = random_matrix<float>(9, 33, 4), items = random_matrix<float>(200, 33, 5);
  Matrix<Row> rows(9, 20);
  Matrix<float> scores(9, 20);
  top_k(PackedItems(items, Threads(1)), queries, 20, {}, Threads(1), rows, scores);
  std::vector<Row> query_rows;
  for (Index i = 0; i < rows.size(); ++i) query_rows.push_back(static_cast<Row>(i / 20));
  std::vector<float> pairs(query_rows.size());
  score_pairs(queries, items, query_rows, {rows.data(), query_rows.size()}, Threads(1), pairs);
  CHECK(std::equal(pairs.begin(), pairs.end(), scores.data()));
}

TEST_CASE("score_pairs: mistakes are named") {
  Matrix<float> queries = Matrix<float>::Ones(2, 3), items = Matrix<float>::Ones(4, 3);
  const std::vector<Row> query_rows{0, 1}, item_rows{3, 2};
  std::vector<float> scores(2);
  const auto run = [&](std::span<const Row> q, std::span<const Row> i) { score_pairs(queries, items, q, i, Threads(1), scores); };
  CHECK_NOTHROW(run(query_rows, item_rows));
  CHECK_THROWS_WITH(run(query_rows, std::vector<Row>{3}),
                    "score_pairs: the size of item_rows is 1, but must equal the size of query_rows, which is 2");
  CHECK_THROWS_WITH(run(std::vector<Row>{0, 2}, item_rows), "score_pairs: query_rows[1] is 2, but must be in [0, 2)");
  CHECK_THROWS_AS(run(query_rows, std::vector<Row>{-1, 0}), std::out_of_range);
  items(2, 1) = std::numeric_limits<float>::infinity();
  CHECK_THROWS_WITH(run(query_rows, item_rows),
                    "score_pairs: scores[1] (queries[1] with items[2]) is inf, but must be a finite number; look "
                    "for one of these in both vectors");
  queries.resize(2, 4);
  CHECK_THROWS_WITH(run(query_rows, item_rows),
                    "score_pairs: the width of queries is 4, but must equal the width of items, which is 3");
}
