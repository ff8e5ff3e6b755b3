#include "twotower/data/negative_sampler.hpp"

#include "twotower/base/check.hpp"

namespace twotower::data {

void NegativeSampler::check() const {
  check_at_least("NegativeSampler", "count", count, 0);
  check_in_range("NegativeSampler", "popularity_share", popularity_share, 0, 1);
}

Row NegativeSampler::draw(const Interactions& interactions, RandomStream& stream) const {
  if (popularity_share > 0 && stream.uniform() < popularity_share)
    // The item of a random positive: exactly its share, without a table of cumulated counts.
    return interactions.positives().items[static_cast<std::size_t>(stream.below(interactions.num_positives()))];
  return static_cast<Row>(stream.below(interactions.num_items()));
}

}  // namespace twotower::data
