#pragma once
// Ratings by a mean and what each query and each item adds to it.
#include <vector>

#include "twotower/base/parallel.hpp"
#include "twotower/base/sparse_rows.hpp"

namespace twotower::baselines {

struct Biases {
  double mean;
  std::vector<float> of_query, of_item;
};

/// The mean of the ratings, and the biases that make
///
///     sum (rating - mean - of_query - of_item)^2 + query_shrink sum of_query^2 + item_shrink sum of_item^2
///
/// smallest: ridge regression on who and what, by turns, each in closed form, until nothing changes any more. In double.
///
/// Shapes      ratings (queries, items); a pair that comes twice counts twice
/// Ensures     who has no rating has bias 0
/// Throws      invalid_argument without a rating and for a shrink that is below 0 or not finite
/// Source      Koren 2010, "Factor in the neighbors: scalable and accurate collaborative filtering", section 2.1
/// Cost        a pass over the ratings a turn, 200 turns at most
Biases fit_biases(const SparseRows& ratings, double query_shrink, double item_shrink, const Threads& threads);

}  // namespace twotower::baselines
