#pragma once
// Which items join a batch as negatives that nobody in it chose.
#include <span>

#include "twotower/base/random.hpp"
#include "twotower/data/interactions.hpp"

namespace twotower::data {

/// Draws items with replacement: with probability `popularity_share` as often as they are positives, else all alike.
struct NegativeSampler {
  Index count = 0;              // draws a batch
  double popularity_share = 0;  // in [0, 1]

  /// Throws invalid_argument where a field is out of its range.
  void check() const;

  /// Probability of an item in one draw, whose share of the positives is `share`.
  double probability(double share, Index num_items) const {
    return popularity_share * share + (1 - popularity_share) / static_cast<double>(num_items);
  }

  Row draw(const Interactions& interactions, RandomStream& stream) const;
};

}  // namespace twotower::data
