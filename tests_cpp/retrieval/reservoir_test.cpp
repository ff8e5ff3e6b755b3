#include "twotower/retrieval/reservoir.hpp"

#include <algorithm>
#include <functional>
#include <vector>

#include "support/catch.hpp"
#include "twotower/base/memory.hpp"
#include "twotower/base/random.hpp"

using namespace twotower;
using namespace twotower::retrieval;

namespace {

std::vector<Key> best_of(Reservoir& reservoir, Index k) {
  std::vector<Key> keys(static_cast<std::size_t>(k));
  keys.resize(static_cast<std::size_t>(reservoir.best(keys)));
  return keys;
}

}  // namespace

TEST_CASE("Reservoir: the k largest keys of the lanes that are offered, best first") {
  const Index k = GENERATE(1, 10, 63, 64, 128, 129, 300), panels = GENERATE(0, 1, 2, 7, 100);
  const Index different = GENERATE(1, 3, 1000000);  // few: many equal scores
  RandomStream random(7, Purpose::kTest);
  std::vector<std::int32_t> words(static_cast<std::size_t>(Reservoir::words(k, panels * kPanelWidth)));
  Reservoir reservoir(words.data(), k, panels * kPanelWidth);
  alignas(64) float scores[kPanelWidth];
  std::vector<Key> keys;
  for (Index p = 0; p < panels; ++p) {
    std::uint64_t mask = 0;
    for (Index lane = 0; lane < kPanelWidth; ++lane) {
      scores[lane] = static_cast<float>(random.below(static_cast<std::uint64_t>(different))) - 1;
      if (random.uniform() < 0.9) continue;
      mask |= std::uint64_t{1} << static_cast<unsigned>(lane);
      keys.push_back(key_of(scores[lane], static_cast<Row>(p * kPanelWidth + lane)));
    }
    if (p % 2 == 0) {
      for (Index lane = 0; lane < kPanelWidth; ++lane)
        if ((mask >> static_cast<unsigned>(lane) & 1) == 0)
          keys.push_back(key_of(scores[lane], static_cast<Row>(p * kPanelWidth + lane)));
      mask = ~std::uint64_t{0} >> static_cast<unsigned>(64 - kPanelWidth);
    }
    reservoir.offer(scores, static_cast<Row>(p * kPanelWidth), mask);
  }
  std::sort(keys.begin(), keys.end(), std::greater<>());
  keys.resize(std::min(keys.size(), static_cast<std::size_t>(k)));
  CHECK(best_of(reservoir, k) == keys);
}

TEST_CASE("Reservoir: what is left out neither comes back nor raises the bound") {
  const Index k = 20, panels = 60;
  std::vector<Row> list_of_query{0}, rows;
  for (Row row = 0; row < panels * kPanelWidth; row += 3) rows.push_back(row);
  const std::vector<std::int64_t> offsets{0, static_cast<std::int64_t>(rows.size())};
  Filters filters;
  filters.seen = ItemLists{list_of_query, offsets, rows};
  std::vector<std::int32_t> words(static_cast<std::size_t>(Reservoir::words(k, panels * kPanelWidth)));
  Reservoir reservoir(words.data(), k, panels * kPanelWidth);
  reservoir.leave_out(Exclusions(filters, 0, 0));
  // Every third score is the largest, and ascends; the others descend.
  alignas(64) float scores[kPanelWidth];
  for (Row row = 0; row < panels * kPanelWidth; ++row) {
    scores[row % kPanelWidth] = row % 3 == 0 ? 1e6f + static_cast<float>(row) : -static_cast<float>(row);
    if ((row + 1) % kPanelWidth == 0) reservoir.offer(scores, row + 1 - kPanelWidth, ~std::uint64_t{0} >> (64 - kPanelWidth));
  }
  CHECK(reservoir.bound() < 0);
  const std::vector<Key> best = best_of(reservoir, k);
  REQUIRE(best.size() == 20);
  for (Index rank = 0; rank < k; ++rank) CHECK(row_of(best[static_cast<std::size_t>(rank)]) == rank / 2 * 3 + rank % 2 + 1);
}

TEST_CASE("Reservoir: told to expect more, it keeps nothing at or below") {
  std::vector<std::int32_t> words(static_cast<std::size_t>(Reservoir::words(4, kPanelWidth)));
  Reservoir reservoir(words.data(), 4, kPanelWidth);
  reservoir.expect_above(2);
  alignas(64) float scores[kPanelWidth] = {1, 3, 2, 4};
  reservoir.offer(scores, 10, ~std::uint64_t{0} >> (64 - kPanelWidth));
  CHECK(best_of(reservoir, 4) == std::vector<Key>{key_of(4, 13), key_of(3, 11)});
}
