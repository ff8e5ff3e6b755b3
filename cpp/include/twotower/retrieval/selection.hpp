#pragma once
// The k-th largest of many numbers by halving an interval: every step counts, and counting runs in whole registers.
#include <algorithm>
#include <cstdint>

#include "twotower/base/types.hpp"

namespace twotower::retrieval {

inline Index count_from(const std::int32_t* values, Index count, std::int32_t least) {
  std::int32_t found = 0;
  for (Index i = 0; i < count; ++i) found += values[i] >= least;
  return found;
}

/// Where the best k of some numbers begin: at least k of them are `least` or more, `found` as many as are.
struct BestFrom {
  std::int32_t least;
  Index found;
};

/// `found` is at most k + slack unless equal numbers forbid it; then `least` is the k-th largest.
///
/// Shapes      values (count)
/// Requires    1 <= k <= count; no value below `low`; count below 2^31
/// Cost        count a step, at most 33 steps
inline BestFrom best_from(const std::int32_t* values, Index count, Index k, Index slack, std::int32_t low) {
  BestFrom best{low, count};
  std::int64_t high = std::int64_t{*std::max_element(values, values + count)} + 1;  // fewer than k from there on
  while (best.found > k + slack && high - best.least > 1) {
    const auto middle = static_cast<std::int32_t>((best.least + high) >> 1);
    const Index found = count_from(values, count, middle);
    if (found >= k)
      best = {middle, found};
    else
      high = middle;
  }
  return best;
}

}  // namespace twotower::retrieval
