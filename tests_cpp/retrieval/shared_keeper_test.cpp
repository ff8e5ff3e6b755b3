#include "twotower/retrieval/shared_keeper.hpp"

#include <algorithm>
#include <functional>
#include <vector>

#include "support/catch.hpp"
#include "twotower/base/random.hpp"

using namespace twotower;
using namespace twotower::retrieval;

TEST_CASE("TightKeeper: the best of any order of offers, and a floor that is the k-th best so far") {
  const Index k = GENERATE(1, 2, 3, 10, 100), offers = GENERATE(0, 1, 9, 10, 11, 1000);
  RandomStream random(1, Purpose::kTest);
  std::vector<Key> buffer(static_cast<std::size_t>(k)), all;
  TightKeeper keeper(buffer.data(), k);
  for (Index i = 0; i < offers; ++i) {
    const Key key = key_of(static_cast<float>(random.below(50)), static_cast<Row>(i));
    all.push_back(key);
    if (key > keeper.floor()) keeper.offer(key);
    std::sort(all.begin(), all.end(), std::greater<>());
    CHECK(keeper.floor() == (i + 1 < k ? 0 : all[static_cast<std::size_t>(k - 1)]));
  }
  all.resize(static_cast<std::size_t>(std::min(k, offers)));
  const std::span<const Key> best = keeper.best();
  CHECK(std::equal(best.begin(), best.end(), all.begin(), all.end()));
}

TEST_CASE("TightKeeper: a floor from elsewhere only rises") {
  std::vector<Key> buffer(2);
  TightKeeper keeper(buffer.data(), 2);
  keeper.raise(7);
  keeper.raise(3);
  CHECK(keeper.floor() == 7);
  keeper.offer(9);
  keeper.offer(8);
  CHECK(keeper.floor() == 8);
}

TEST_CASE("Kept: shares floors, and leaves out what a query must not get") {
  const std::vector<Index> of{4, 2};
  const std::vector<Row> list_of_query{-1, -1, 0, -1, -1}, rows{10, 30};
  const std::vector<std::int64_t> offsets{0, 2};
  Filters filters;
  filters.seen = ItemLists{list_of_query, offsets, rows};
  Floors floors(2);
  Kept one(of, filters, 1, floors, 0), other(of, filters, 1, floors, 0);
  one.offer(1, 9, 10);  // query 2 has seen it
  one.offer(1, 5, 11);
  one.offer(1, 6, 12);
  one.offer(0, 3, 10);
  CHECK(one.bound(1) == 6);
  CHECK(other.bound(1) < 0);
  one.share_floors();
  other.share_floors();
  CHECK(other.bound(1) == 6);
  CHECK(other.bound(0) == 3);
  other.offer(1, 6, 13);  // equal, and a larger row
  CHECK(other.best(1).empty());
  REQUIRE(one.best(1).size() == 1);
  CHECK(row_of(one.best(1)[0]) == 12);
  CHECK(Kept(of, filters, 1, floors, 0).bound(1) == 6);
}
