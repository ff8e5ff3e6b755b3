#pragma once
// Streaming: a block of queries against panels, one panel after the other.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "twotower/base/memory.hpp"
#include "twotower/base/types.hpp"
#include "twotower/retrieval/exclusions.hpp"
#include "twotower/retrieval/keeper.hpp"
#include "twotower/retrieval/panels.hpp"
#include "twotower/retrieval/reservoir.hpp"
#include "twotower/retrieval/sample.hpp"

namespace twotower::retrieval {

/// Keeps the k best of every query of a block over all the panels that pass by.
class Scan {
 public:
  /// The queries `of` of the table, for the `k` best of at most `offers` items.
  ///
  /// Requires    k >= 1, finite queries, scores that cannot overflow
  Scan(ConstRows<float> queries, std::span<const Index> of, Index k, Index offers);

  /// What query q of the block must not get. Before run.
  void leave_out(Index q, const Exclusions& exclusions);

  /// Looks at a sample first and then keeps only what most likely will do: a query whose best are fewer than k in the end must
  /// be scanned again without. For one run over the whole of a small catalogue, see Sample::pays; after leave_out.
  void run_sampled(const PanelRun& panels);

  /// Requires    rows ascend from call to call; panels of the queries' width
  /// Cost        2 * width * panels * kPanelWidth * queries flops
  void run(const PanelRun& panels);

  /// The best keys of query q so far, best first; good until the next call.
  std::span<const Key> best(Index q);

 private:
  void pack(ConstRows<float> queries, std::span<const Index> of);
  void run(const PanelRun& panels, const Sample* sample);
  void offer(Index first, unsigned hits, const float* scores, Row first_row, std::uint64_t mask);

  Index queries_, width_, k_, tiles_;
  AlignedFloats packed_;  // (tiles, width, kQueryTile): as the micro-kernel reads them
  AlignedArray<std::int32_t> words_;
  std::vector<Reservoir> kept_;
  std::vector<float> bounds_;  // of the reservoirs, side by side
  std::vector<Key> best_;
  alignas(64) float scores_[kQueryTile * kPanelWidth];
};

}  // namespace twotower::retrieval
