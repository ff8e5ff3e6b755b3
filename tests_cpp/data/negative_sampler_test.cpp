#include "twotower/data/negative_sampler.hpp"

#include <cmath>
#include <vector>

#include "support/catch.hpp"

using twotower::Index;
using twotower::Purpose;
using twotower::RandomStream;
using twotower::Row;
using twotower::data::Interactions;
using twotower::data::NegativeSampler;

namespace {

/// Item 0 is half of the positives, item 1 a quarter, item 2 an eighth, item 3 an eighth, item 4 none (it was only seen).
Interactions skewed() {
  const std::vector<Row> queries{0, 0, 0, 0, 0, 1, 1, 1, 1}, items{0, 0, 1, 2, 4, 0, 0, 1, 3};
  const std::vector<float> weights{1, 1, 1, 1, 0, 1, 1, 1, 1};
  return {queries, items, weights, 2, 5};
}

}  // namespace

TEST_CASE("NegativeSampler: probability on paper") {
  // A quarter of the draws by popularity: 0.25 * 0.5 + 0.75 / 5 = 0.275.
  CHECK(NegativeSampler{1, 0.25}.probability(0.5, 5) == Approx(0.275));
  CHECK(NegativeSampler{1, 0}.probability(0.5, 5) == Approx(0.2));
  CHECK(NegativeSampler{1, 1}.probability(0.5, 5) == 0.5);
  CHECK(NegativeSampler{1, 1}.probability(0, 5) == 0);
}

TEST_CASE("NegativeSampler: draws items as often as probability says") {
  const double popularity_share = GENERATE(0.0, 0.3, 1.0);
  constexpr int kDraws = 20000;
  const Interactions interactions = skewed();
  const NegativeSampler sampler{1, popularity_share};
  std::vector<int> counts(5);
  RandomStream stream(3, Purpose::kTest);
  for (int draw = 0; draw < kDraws; ++draw) ++counts[static_cast<std::size_t>(sampler.draw(interactions, stream))];
  const auto positives = interactions.item_counts();
  for (std::size_t item = 0; item < 5; ++item) {
    const double wanted = sampler.probability(positives[item] / 8, 5);
    const double error = std::sqrt(wanted * (1 - wanted) / kDraws);
    CHECK(std::abs(counts[item] / static_cast<double>(kDraws) - wanted) <= 5 * error);
  }
}

TEST_CASE("NegativeSampler: refuses a count below 0 and shares outside [0, 1]") {
  CHECK_NOTHROW(NegativeSampler{}.check());
  CHECK_THROWS_WITH((NegativeSampler{-1, 0}.check()), "NegativeSampler: count is -1, but must be at least 0");
  CHECK_THROWS_WITH((NegativeSampler{1, 1.5}.check()), "NegativeSampler: popularity_share is 1.5, but must be in [0, 1]");
  CHECK_THROWS_WITH((NegativeSampler{1, -0.5}.check()), "NegativeSampler: popularity_share is -0.5, but must be in [0, 1]");
}
