#include "twotower/retrieval/item_index.hpp"

#include <optional>
#include <vector>

#include "support/catch.hpp"
#include "support/naive_top_k.hpp"
#include "support/random_matrix.hpp"
#include "twotower/retrieval/screen_tile.hpp"

using namespace twotower;
using namespace twotower::retrieval;
using twotower::test::naive_top_k;
using twotower::test::random_matrix;
using twotower::test::RankedItems;

TEST_CASE("ItemIndex: both forms give the same lists, fresh, grown and changed") {
  if (!has_screen()) return;
  const bool screen = GENERATE(false, true);
  Matrix<float> vectors = random_matrix<float>(700, 9, 1);
  const Matrix<float> queries = random_matrix<float>(20, 9, 2);
  ItemIndex index(vectors.topRows(600), Threads(1), screen);
  index.append(vectors.bottomRows(100), Threads(1));
  const std::vector<Row> rows{5, 699};
  vectors.row(5) *= 3, vectors.row(699) *= -2;
  Matrix<float> others(2, 9);
  others << vectors.row(5), vectors.row(699);
  index.replace(rows, others, Threads(1));
  CHECK(index.screened() == screen);
  CHECK(index.rows() == 700);
  CHECK(index.width() == 9);
  CHECK(index.memory_bytes() >= 700 * 9 * (screen ? 5 : 4));
  RankedItems got{Matrix<Row>(20, 10), Matrix<float>(20, 10)};
  index.top_k(queries, 10, {}, Threads(2), got.rows, got.scores);
  const RankedItems expected = naive_top_k(vectors, queries, 10);
  CHECK(got.rows == expected.rows);
  CHECK(got.scores == expected.scores);
}

TEST_CASE("ItemIndex: a screen where it pays and may be had, no screen elsewhere") {
  const Threads threads(2);
  CHECK_FALSE(ItemIndex(Matrix<float>::Ones(1000, 4), threads).screened());
  CHECK(ItemIndex(Matrix<float>::Ones(200000, 4), threads).screened() == has_screen());
  CHECK_FALSE(ItemIndex(Matrix<float>::Ones(200000, 4), threads, false).screened());
  if (has_screen()) {
    CHECK(ItemIndex(Matrix<float>::Ones(10, 4), threads, true).screened());
    CHECK_FALSE(ItemIndex(Matrix<float>(0, 40000), threads).screened());
  } else {
    CHECK_THROWS_WITH(
        ItemIndex(Matrix<float>::Ones(10, 4), threads, true),
        "ItemIndex: screen is True, but this CPU or the module in use has no 8-bit products of 512 bits (AVX-512 with "
        "VNNI); give None or False");
  }
}
