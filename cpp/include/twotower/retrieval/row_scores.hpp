#pragma once
// Scores of single pairs of rows, several at a time.
#include "twotower/base/types.hpp"
#include "twotower/retrieval/lanes.hpp"

namespace twotower::retrieval {

/// Pairs whose chains run side by side: one alone would wait for its own sums.
inline constexpr int kRowScores = 16;

/// scores[i] = <queries[i], items[i]>, with the bits that a panel gives.
///
/// Shapes      queries, items (kRowScores) pointers to `width` values    scores (kRowScores)
inline void row_scores(const float* const* queries, const float* const* items, Index width, float* scores) {
  for (int half = 0; half < kRowScores; half += 8) {
    float sums[8] = {};
    for (Index k = 0; k < width; ++k)
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) sums[i] = multiply_add(queries[half + i][k], items[half + i][k], sums[i]);
    for (int i = 0; i < 8; ++i) scores[half + i] = sums[i];
  }
}

}  // namespace twotower::retrieval
