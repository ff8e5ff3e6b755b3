#include "twotower/retrieval/coded_queries.hpp"

#include <limits>
#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "support/naive_top_k.hpp"
#include "support/random_matrix.hpp"

using namespace twotower;
using namespace twotower::retrieval;
using twotower::test::naive_score;
using twotower::test::random_matrix;

TEST_CASE("CodedQueries: every item that reaches the bound has a sum that reaches its start") {
  const Index width = GENERATE(1, 3, 64, 130), n = 100, count = 11;
  const double size = GENERATE(1e-25, 1.0, 1e12);
  const Matrix<float> vectors = random_matrix<float>(n, width, 1, size), queries = random_matrix<float>(count, width, 2);
  const ScreenedItems items(vectors, Threads(1));
  std::vector<Index> of(count);
  std::iota(of.begin(), of.end(), Index{0});
  CodedQueries coded(queries, of, width);
  CHECK(coded.tiles() == 2);
  int missed = 0, spared = 0;
  for (Index rival = 0; rival < n; rival += 9) {
    for (Index q = 0; q < count; ++q) coded.set_bound(q, naive_score(queries.row(q).data(), vectors.row(rival).data(), width));
    for (Index t = 0; t < coded.tiles(); ++t)
      for (Index p = 0; p < items.panels(); ++p) {
        alignas(64) std::int32_t starts[kScreenTile];
        std::uint64_t hits[kScreenTile] = {};
        const Index in_tile = std::min<Index>(kScreenTile, count - t * kScreenTile);
        const bool may = coded.starts(t, items.bounds(p), starts) &&
                         screen_tile(in_tile)(items.panel(p), coded.tile(t), items.words(), starts, hits);
        for (Index q = 0; q < in_tile; ++q)
          for (Index i = p * kScreenWidth; i < std::min(n, (p + 1) * kScreenWidth); ++i) {
            const float* query = queries.row(t * kScreenTile + q).data();
            const bool wanted =
                naive_score(query, vectors.row(i).data(), width) >= naive_score(query, vectors.row(rival).data(), width);
            const bool found = may && (hits[q] >> (i % kScreenWidth) & 1) != 0;
            missed += wanted && !found;
            spared += !found;
          }
      }
  }
  CHECK(missed == 0);
  CHECK(spared > 0);
}

TEST_CASE("CodedQueries: before there is a bound everything may come, and of long bounds nothing") {
  const Matrix<float> vectors = random_matrix<float>(60, 5, 3), queries = random_matrix<float>(1, 5, 4);
  const ScreenedItems items(vectors, Threads(1));
  const std::vector<Index> of{0};
  CodedQueries coded(queries, of, 5);
  alignas(64) std::int32_t starts[kScreenTile];
  std::uint64_t hits[kScreenTile];
  CHECK(coded.starts(0, items.bounds(0), starts));
  CHECK(screen_tile(1)(items.panel(0), coded.tile(0), items.words(), starts, hits));
  CHECK(hits[0] == ~std::uint64_t{0} >> (64 - kScreenWidth));
  coded.set_bound(0, 1000);
  CHECK_FALSE(coded.starts(0, items.bounds(0), starts));
}
