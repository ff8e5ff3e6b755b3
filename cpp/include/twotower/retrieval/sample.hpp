#pragma once
// A first look at a catalogue: the scores of some of its panels tell about where the best k begin.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "twotower/base/memory.hpp"
#include "twotower/base/types.hpp"
#include "twotower/retrieval/panels.hpp"

namespace twotower::retrieval {

/// Scores of a block of queries with one panel in many, evenly spread. The scan takes them from here instead of computing them
/// again.
class Sample {
 public:
  /// Whether the scan of so many items for their best k has fewer scores to keep with a guess than without.
  static bool pays(Index items, Index k);

  /// Shapes      packed (tiles, width, kQueryTile)
  Sample(const PanelRun& panels, const float* packed, Index queries, Index width);

  bool has(Index panel) const { return panel % stride_ == stride_ / 2 && panel / stride_ < panels_; }

  /// Scores of a tile of queries with a panel of the sample: (kQueryTile, kPanelWidth).
  float* tile(Index tile, Index panel) const {
    return scores_.get() + (tile * panels_ + panel / stride_) * kQueryTile * kPanelWidth;
  }

  /// Takes item `lane` of a panel away from a query: its score becomes minus infinity.
  void leave_out(Index query, Index panel, Index lane) {
    tile(query / kQueryTile, panel)[query % kQueryTile * kPanelWidth + lane] = -std::numeric_limits<float>::infinity();
  }

  /// A score that most likely at least k items of the whole catalogue are above; minus infinity where there is none to tell.
  ///
  /// Source      the number of items above the r-th best of one item in s is about s times a gamma variable of shape r: r three
  ///             standard deviations and three above k / s leaves fewer than k in a few of ten thousand queries
  float guess(Index query, Index k) const;

 private:
  Index stride_, panels_;  // every stride_-th panel, of which there are panels_
  AlignedFloats scores_;   // (tiles, panels_, kQueryTile, kPanelWidth)
};

}  // namespace twotower::retrieval
