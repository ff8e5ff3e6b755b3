#include "twotower/retrieval/top_k_of_profiles.hpp"

#include "support/catch.hpp"
#include "support/naive_top_k.hpp"
#include "support/sparse.hpp"

using namespace twotower;
using retrieval::Filters;
using retrieval::ItemLists;

namespace {

using RowList = std::vector<Row>;

RowList everyone(Index count) {
  RowList rows;
  for (Row row = 0; row < count; ++row) rows.push_back(row);
  return rows;
}

struct Found {
  Matrix<Row> rows;
  Matrix<float> scores;
};

template <class Postings>
Found found(const SparseRows& profiles, const Postings& postings, const RowList& queries, Index k, const Filters& filters,
            int threads) {
  Found out{Matrix<Row>(std::ssize(queries), k), Matrix<float>(std::ssize(queries), k)};
  retrieval::top_k_of_profiles(profiles, postings, queries, k, filters, Threads(threads), out.rows, out.scores);
  return out;
}

}  // namespace

TEST_CASE("top_k_of_profiles: agrees with every score sorted, sparse and dense, for any number of threads") {
  const Index items = GENERATE(1, 63, 64, 65, 301), features = 23, users = 37;
  const SparseRows profiles = test::random_sparse(users, features, 0.2, 1),
                   postings = test::random_sparse(features, items, 0.2, 2);
  const Matrix<float> table = test::dense(postings), transposed = table.transpose(), queries = test::dense(profiles);
  for (const Index k : {Index{1}, Index{10}, items, items + 3}) {
    const test::RankedItems expected = test::naive_top_k(transposed, queries, k);
    for (const int threads : {1, 2, 7}) {
      const Found sparse = found(profiles, postings, everyone(users), k, {}, threads);
      CHECK(sparse.rows == expected.rows);
      CHECK(sparse.scores == expected.scores);
      const Found full = found(profiles, ConstRowMap<float>(table.data(), features, items, Eigen::OuterStride<>(items)),
                               everyone(users), k, {}, threads);
      CHECK(full.rows == expected.rows);
      CHECK(full.scores == expected.scores);
    }
  }
}

TEST_CASE("top_k_of_profiles: filters cut the full ranking") {
  const Index items = 150, users = 5;
  const SparseRows profiles = test::random_sparse(users, 9, 0.4, 3), postings = test::random_sparse(9, items, 0.3, 4);
  const Matrix<float> transposed = test::dense(postings).transpose(), queries = test::dense(profiles);
  const RowList lists_of{0, -1, 1, 0, 1}, seen_items{0, 3, 149, 7, 8}, listed_of{-1, -1, 0, 1, -1}, listed_items{2, 7, 7, 100};
  const std::vector<std::int64_t> seen_offsets{0, 3, 5}, listed_offsets{0, 4, 4};
  std::vector<std::uint8_t> allowed(static_cast<std::size_t>(items), 1);
  allowed[2] = allowed[20] = 0;
  Filters filters;
  filters.seen = ItemLists{lists_of, seen_offsets, seen_items};
  filters.listed = ItemLists{listed_of, listed_offsets, listed_items};
  filters.allowed = allowed;
  const test::RankedItems expected = test::naive_top_k(transposed, queries, 12, filters);
  const Found all = found(profiles, postings, everyone(users), 12, filters, 2);
  CHECK(all.rows == expected.rows);
  CHECK(all.scores == expected.scores);
}

TEST_CASE("top_k_of_profiles: queries may share a profile, and pairs have the bits of lists") {
  const SparseRows profiles = test::random_sparse(4, 9, 0.4, 5), postings = test::random_sparse(9, 70, 0.3, 6);
  const RowList asked{3, 0, 3};
  const Found lists = found(profiles, postings, asked, 70, {}, 1);
  CHECK(lists.rows.row(0) == lists.rows.row(2));
  RowList queries, items;
  for (Index q = 0; q < 3; ++q)
    for (Index rank = 0; rank < 70; ++rank) {
      queries.push_back(asked[static_cast<std::size_t>(q)]);
      items.push_back(lists.rows(q, rank));
    }
  std::vector<float> scores(queries.size());
  retrieval::score_profile_pairs(profiles, postings, queries, items, Threads(2), scores);
  for (std::size_t pair = 0; pair < scores.size(); ++pair)
    CHECK(scores[pair] == lists.scores(static_cast<Index>(pair) / 70, static_cast<Index>(pair) % 70));
  const Found none = found(profiles, SparseRows("postings", {0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {}, {}, 0), asked, 2, {}, 1);
  CHECK((none.rows.array() == -1).all());
}

TEST_CASE("top_k_of_profiles: refuses what does not fit") {
  const SparseRows profiles = test::random_sparse(2, 9, 0.4, 7), postings = test::random_sparse(8, 5, 0.3, 8);
  CHECK_THROWS_WITH(
      found(profiles, postings, {0}, 1, {}, 1),
      "top_k_of_profiles: the number of features of the profiles is 9, but must equal that of the postings, which is 8");
  const SparseRows right = test::random_sparse(9, 5, 0.3, 8);
  CHECK_THROWS_WITH(found(profiles, right, {2}, 1, {}, 1), "top_k_of_profiles: queries[0] is 2, but must be in [0, 2)");
  CHECK_THROWS_WITH(found(profiles, right, {0}, 0, {}, 1), "top_k_of_profiles: k is 0, but must be at least 1");
  std::vector<float> score(1);
  CHECK_THROWS_WITH(retrieval::score_profile_pairs(profiles, right, RowList{0}, RowList{5}, Threads(1), score),
                    "score_profile_pairs: items[0] is 5, but must be in [0, 5)");
}
