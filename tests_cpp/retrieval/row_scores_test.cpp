#include "twotower/retrieval/row_scores.hpp"

#include "support/catch.hpp"
#include "support/naive_top_k.hpp"
#include "support/random_matrix.hpp"

using namespace twotower;
using namespace twotower::retrieval;
using twotower::test::random_matrix;

TEST_CASE("row_scores: the bits of single chains, at any width and alignment") {
  const Index width = GENERATE(1, 2, 7, 15, 16, 17, 31, 33, 64, 130);
  const Matrix<float> queries = random_matrix<float>(kRowScores, width + 3, 1),
                      items = random_matrix<float>(kRowScores, width + 5, 2);
  for (const Index skip : {0, 1, 3}) {
    const float *query_rows[kRowScores], *item_rows[kRowScores];
    float scores[kRowScores];
    for (int i = 0; i < kRowScores; ++i) {
      query_rows[i] = queries.row(i / 2).data() + skip;  // queries may repeat
      item_rows[i] = items.row(i).data() + skip;
    }
    row_scores(query_rows, item_rows, width, scores);
    for (int i = 0; i < kRowScores; ++i) CHECK(scores[i] == twotower::test::naive_score(query_rows[i], item_rows[i], width));
  }
}
