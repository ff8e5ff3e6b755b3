#include "twotower/data/interactions.hpp"

#include <limits>
#include <set>
#include <vector>

#include "support/catch.hpp"
#include "twotower/base/random.hpp"

using twotower::Index;
using twotower::Row;
using twotower::data::Interactions;
using twotower::data::Lists;

namespace {

using Floats = std::vector<float>;
using RowList = std::vector<Row>;

RowList list_of(const Lists& lists, Index query) {
  const auto items = lists.of(query);
  return {items.begin(), items.end()};
}

/// Random pairs, some of them twice, some of weight 0.
struct Pairs {
  RowList queries, items;
  Floats weights;

  Pairs(Index count, Index num_queries, Index num_items, std::uint64_t seed) {
    twotower::RandomStream random(seed, twotower::Purpose::kTest);
    for (Index k = 0; k < count; ++k) {
      queries.push_back(static_cast<Row>(random.below(num_queries)));
      items.push_back(static_cast<Row>(random.below(num_items)));
      weights.push_back(static_cast<float>(random.below(3)) / 2);
    }
  }
};

}  // namespace

TEST_CASE("Interactions: lists agree with a naive search over all pairs") {
  const Index count = GENERATE(0, 1, 2, 17, 300), num_queries = GENERATE(1, 7, 40), num_items = GENERATE(1, 5, 23);
  const Pairs pairs(count, num_queries, num_items, 5);
  const Interactions weighted(pairs.queries, pairs.items, pairs.weights, num_queries, num_items);
  const Interactions plain(pairs.queries, pairs.items, std::nullopt, num_queries, num_items);
  CHECK(weighted.num_queries() == num_queries);
  CHECK(weighted.num_items() == num_items);
  CHECK(plain.num_positives() == count);
  std::size_t place = 0;
  for (Index query = 0; query < num_queries; ++query) {
    RowList all, positives;
    std::set<Row> seen;
    for (std::size_t k = 0; k < pairs.queries.size(); ++k) {
      if (pairs.queries[k] != query) continue;
      all.push_back(pairs.items[k]);
      seen.insert(pairs.items[k]);
      if (pairs.weights[k] == 0) continue;
      positives.push_back(pairs.items[k]);
      // No array of weights stands for ones.
      REQUIRE((weighted.weights().empty() ? 1.0F : weighted.weights()[place]) == pairs.weights[k]);
      ++place;
    }
    REQUIRE(list_of(plain.positives(), query) == all);
    REQUIRE(list_of(weighted.positives(), query) == positives);
    REQUIRE(list_of(plain.seen(), query) == RowList(seen.begin(), seen.end()));
    REQUIRE(list_of(weighted.seen(), query) == RowList(seen.begin(), seen.end()));
  }
  CHECK(weighted.num_positives() == static_cast<Index>(place));
  CHECK(plain.weights().empty());
}

TEST_CASE("Interactions: a pair of weight 0 is seen, but no positive") {
  const Interactions made(RowList{0, 0, 0}, RowList{2, 1, 0}, Floats{1, 0, -0.0F}, 1, 3);
  CHECK(list_of(made.positives(), 0) == RowList{2});
  CHECK(list_of(made.seen(), 0) == RowList{0, 1, 2});
  CHECK(made.item_counts() == std::vector<double>{0, 0, 1});
  CHECK(made.weights().empty());  // the only positive weighs 1
}

TEST_CASE("Interactions: an item that came twice is two positives, seen once, and keeps both weights in order") {
  const Interactions made(RowList{1, 1, 1, 1}, RowList{4, 2, 4, 4}, Floats{2, 1, 0, 0.5F}, 3, 5);
  CHECK(list_of(made.positives(), 1) == RowList{4, 2, 4});
  CHECK(made.weights() == Floats{2, 1, 0.5F});
  CHECK(list_of(made.seen(), 1) == RowList{2, 4});
  CHECK(made.item_counts() == std::vector<double>{0, 0, 1, 0, 2});
}

TEST_CASE("Interactions: queries without pairs have empty lists, first, between and last") {
  const Interactions made(RowList{3, 1}, RowList{0, 1}, std::nullopt, 5, 2);
  CHECK(made.positives().offsets == std::vector<std::int64_t>{0, 0, 1, 1, 2, 2});
  CHECK(made.seen().offsets == std::vector<std::int64_t>{0, 0, 1, 1, 2, 2});
  CHECK(made.positives().items == RowList{1, 0});
  const Interactions none(RowList{}, RowList{}, Floats{}, 2, 2);
  CHECK(none.num_positives() == 0);
  CHECK(none.seen().offsets == std::vector<std::int64_t>{0, 0, 0});
}

TEST_CASE("Interactions: refuses sizes, weights and rows that do not fit") {
  const RowList queries{0, 1}, items{0, 2};
  const auto make = [&](const Floats& weights) { return Interactions(queries, items, weights, 2, 3); };
  CHECK_THROWS_WITH(Interactions(queries, items, std::nullopt, 0, 3), "Interactions: num_queries is 0, but must be at least 1");
  CHECK_THROWS_WITH(Interactions(queries, items, std::nullopt, 2, 0), "Interactions: num_items is 0, but must be at least 1");
  CHECK_THROWS_WITH(Interactions(queries, RowList{0}, std::nullopt, 2, 3),
                    "Interactions: size of item_rows is 1, but must equal size of query_rows, which is 2");
  CHECK_THROWS_WITH(make({1}), "Interactions: size of weights is 1, but must equal size of query_rows, which is 2");
  CHECK_THROWS_WITH(make({1, -1}), "Interactions: weights[1] is -1, but must not be negative");
  CHECK_THROWS_WITH(make({std::numeric_limits<float>::quiet_NaN(), 1}),
                    "Interactions: weights[0] is nan, but must be a finite number");
  CHECK_THROWS_AS(Interactions(queries, items, std::nullopt, 1, 3), std::out_of_range);
  CHECK_THROWS_WITH(Interactions(queries, items, std::nullopt, 1, 3), "Interactions: query_rows[1] is 1, but must be in [0, 1)");
  CHECK_THROWS_WITH(Interactions(queries, items, std::nullopt, 2, 2), "Interactions: item_rows[1] is 2, but must be in [0, 2)");
}

TEST_CASE("Interactions: sessions belong to positives and do not fall within a query") {
  const std::vector<Row> queries{0, 1, 0, 0}, items{0, 1, 2, 3}, sessions{5, 0, 5, 7}, falling{5, 0, 4, 7};
  const std::vector<float> weights{1, 1, 0, 1};
  CHECK(Interactions(queries, items, weights, 2, 4, std::nullopt, sessions).sessions() == std::vector<Row>{5, 7, 0});
  CHECK(Interactions(queries, items, weights, 2, 4).sessions().empty());
  CHECK_THROWS_WITH(Interactions(queries, items, std::nullopt, 2, 4, std::nullopt, falling),
                    "Interactions: sessions[2] is 4, but must not be below that of the query's positive before it, which is 5");
  CHECK_THROWS_WITH(Interactions(queries, items, std::nullopt, 2, 4, std::nullopt, std::span(sessions).first(3)),
                    "Interactions: size of sessions is 3, but must equal size of query_rows, which is 4");
}
