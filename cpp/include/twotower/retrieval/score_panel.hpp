#pragma once
// The micro-kernel: scores of one panel of items for a few queries.
//
// Every score is one chain of multiply_add in ascending k, whatever the tile, so its bits depend on the query and the item alone:
// not on the other queries of the batch, the threads or the width of the registers.
#include <type_traits>

#include "twotower/base/types.hpp"
#include "twotower/retrieval/lanes.hpp"

namespace twotower::retrieval {

/// The accumulators of a tile: sums[q][v] holds kLanes items of the panel for query q.
template <int kQueries>
struct Tile {
  static_assert(kQueries >= 1 && kQueries <= kQueryTile);

  // Inlined wherever it is used: the sums are registers, not memory.
  [[gnu::always_inline]] Tile(const float* panel, const float* queries, Index width) {
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
  }

  [[gnu::always_inline]] void write(float* scores) const {
#pragma GCC unroll 8
    for (int q = 0; q < kQueries; ++q)
#pragma GCC unroll 4
      for (int v = 0; v < kPanelVectors; ++v) store(scores + q * kPanelWidth + v * kLanes, sums[q][v]);
  }

  /// Bit q: some score of query q is above bounds[q].
  [[gnu::always_inline]] unsigned above(const float* bounds) const {
    unsigned hits = 0;
#pragma GCC unroll 8
    for (int q = 0; q < kQueries; ++q) {
      Lanes best = sums[q][0];
#pragma GCC unroll 4
      for (int v = 1; v < kPanelVectors; ++v) best = larger(best, sums[q][v]);
      hits |= static_cast<unsigned>(lanes_above(best, broadcast(bounds[q])) != 0) << q;
    }
    return hits;
  }

  Lanes sums[kQueries][kPanelVectors] = {};
};

/// scores = queries . panel for exactly kQueries queries, kQueries in [1, kQueryTile].
///
/// Shapes      panel (width, kPanelWidth), 64-byte aligned    queries (width, kQueryTile): one column a query, kQueries of them
/// read
///             scores (kQueryTile, kPanelWidth), 64-byte aligned; kQueries rows written
/// Requires    no aliasing
/// Cost        2 * width * kPanelWidth * kQueries flops
template <int kQueries>
[[gnu::noinline]] void score_tile(const float* panel, const float* queries, Index width, float* scores) {
  Tile<kQueries>(panel, queries, width).write(scores);
}

/// Bit q of the result: query q has a score above bounds[q]. Scores are written only where some query has, see score_tile.
///
/// Shapes      bounds (kQueries)
template <int kQueries>
[[gnu::noinline]] unsigned filter_tile(const float* panel, const float* queries, Index width, const float* bounds,
                                       float* scores) {
  const Tile<kQueries> tile(panel, queries, width);
  const unsigned hits = tile.above(bounds);
  if (hits != 0) tile.write(scores);
  return hits;
}

/// body(std::integral_constant<int, count>), count in [1, kQueryTile].
template <class Body>
decltype(auto) with_query_count(Index count, const Body& body) {
  const auto fewer = [&]<int kQueries>(const auto& self, std::integral_constant<int, kQueries> queries) -> decltype(auto) {
    if constexpr (kQueries > 1)
      if (count < kQueries) return self(self, std::integral_constant<int, kQueries - 1>());
    return body(queries);
  };
  return fewer(fewer, std::integral_constant<int, kQueryTile>());
}

/// score_tile for `count` queries.
inline void score_panel(const float* panel, const float* queries, Index width, Index count, float* scores) {
  with_query_count(count, [&](auto queries_count) { score_tile<queries_count>(panel, queries, width, scores); });
}

/// filter_tile for `count` queries.
inline unsigned filter_panel(const float* panel, const float* queries, Index width, Index count, const float* bounds,
                             float* scores) {
  return with_query_count(count,
                          [&](auto queries_count) { return filter_tile<queries_count>(panel, queries, width, bounds, scores); });
}

/// The score of one query and one item, with the bits that a panel gives.
inline float dot_chain(const float* query, const float* item, Index width) {
  float sum = 0;
  for (Index k = 0; k < width; ++k) sum = multiply_add(query[k], item[k], sum);
  return sum;
}

}  // namespace twotower::retrieval
