#pragma once
// The micro-kernel: scores of one panel of items for a few queries.
//
// Every score is one chain of multiply_add in ascending k, whatever the tile, so its bits depend on the query and the item alone:
// not on the other queries of the batch, the threads or the width of the registers.
#include "twotower/base/types.hpp"
#include "twotower/retrieval/lanes.hpp"

namespace twotower::retrieval {

/// scores = queries . panel for exactly kQueries queries, kQueries in [1, kQueryTile].
///
/// Shapes      panel (width, kPanelWidth), 64-byte aligned    queries (width, kQueryTile): one column a query, kQueries of them
/// read
///             scores (kQueryTile, kPanelWidth), 64-byte aligned; kQueries rows written
/// Requires    no aliasing
/// Cost        2 * width * kPanelWidth * kQueries flops. Kept out of line and free of comparisons: with the filter inside, GCC 12
///             spills accumulators.
template <int kQueries>
[[gnu::noinline]] void score_tile(const float* panel, const float* queries, Index width, float* scores) {
  static_assert(kQueries >= 1 && kQueries <= kQueryTile);
  Lanes sums[kQueries][kPanelVectors] = {};
  for (Index k = 0; k < width; ++k, panel += kPanelWidth, queries += kQueryTile) {
    Lanes items[kPanelVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kPanelVectors; ++v) items[v] = load(panel + v * kLanes);
#pragma GCC unroll 8
    for (int q = 0; q < kQueries; ++q) {
      const Lanes query = broadcast(queries[q]);
#pragma GCC unroll 4
      for (int v = 0; v < kPanelVectors; ++v) sums[q][v] = multiply_add(query, items[v], sums[q][v]);
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q)
#pragma GCC unroll 4
    for (int v = 0; v < kPanelVectors; ++v) store(scores + q * kPanelWidth + v * kLanes, sums[q][v]);
}

/// The same for `count` queries, count in [1, kQueryTile].
inline void score_panel(const float* panel, const float* queries, Index width, Index count, float* scores) {
  const auto score_fewer = [&]<int kQueries>(const auto& self) {
    if constexpr (kQueries >= 1) {
      if (count == kQueries) return score_tile<kQueries>(panel, queries, width, scores);
      self.template operator()<kQueries - 1>(self);
    }
  };
  score_fewer.template operator()<kQueryTile>(score_fewer);
}

/// The score of one query and one item, with the bits that a panel gives.
inline float dot_chain(const float* query, const float* item, Index width) {
  float sum = 0;
  for (Index k = 0; k < width; ++k) sum = multiply_add(query[k], item[k], sum);
  return sum;
}

}  // namespace twotower::retrieval
