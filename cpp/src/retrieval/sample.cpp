#include "twotower/retrieval/sample.hpp"

#include <bit>
#include <cmath>
#include <limits>

#include "twotower/retrieval/reservoir.hpp"
#include "twotower/retrieval/score_panel.hpp"
#include "twotower/retrieval/selection.hpp"

namespace twotower::retrieval {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();
constexpr Index kLeastItems = 4096, kMostItems = Index{1} << 21;
constexpr Index kGroups = 4;  // groups of scores, of which the best is looked at, for each place of the sample that is asked for

// The place in the sample whose score is the guess.
Index place(Index k, Index stride) {
  const double mean = static_cast<double>(k) / static_cast<double>(stride);
  return static_cast<Index>(mean + 3 * std::sqrt(mean) + 3);
}

// Few thousand items tell enough, and their scores stay near; of a larger catalogue one panel in many is quick to see.
Index stride_of(Index items) {
  return static_cast<Index>(std::clamp<std::uint64_t>(std::bit_ceil(static_cast<std::uint64_t>(items) / 4096), 16, 128));
}

}  // namespace

bool Sample::pays(Index items, Index k) {
  if (items < kLeastItems || items > kMostItems) return false;
  const Index stride = stride_of(items), wanted = place(k, stride);
  // In random order k / i of the i-th scores are among the best k so far: k (ln(n / k) + 1) in all, and half as many again
  // because a reservoir raises its bound late.
  const double without = 1.5 * static_cast<double>(k) * (std::log(static_cast<double>(items) / static_cast<double>(k)) + 1);
  return wanted * 4 <= items / stride && static_cast<double>(wanted * stride) < without;
}

Sample::Sample(const PanelRun& panels, const float* packed, Index queries, Index width)
    : stride_(stride_of(panels.rows)),
      panels_(panels.panels() / stride_),
      scores_(aligned_floats((queries + kQueryTile - 1) / kQueryTile * panels_ * kQueryTile * kPanelWidth)) {
  for (Index s = 0; s < panels_; ++s) {
    const Index p = s * stride_ + stride_ / 2;
    for (Index first = 0; first < queries; first += kQueryTile)
      score_panel(panels.values + p * width * kPanelWidth, packed + first * width, width,
                  std::min<Index>(kQueryTile, queries - first), tile(first / kQueryTile, p));
    const std::uint64_t mask = panels.mask(p);
    for (Index lane = 0; lane < kPanelWidth; ++lane)
      if ((mask >> static_cast<unsigned>(lane) & 1) == 0)
        for (Index q = 0; q < queries; ++q) leave_out(q, p, lane);
  }
}

float Sample::guess(Index query, Index k) const {
  const Index wanted = place(k, stride_), vectors = panels_ * kPanelVectors;
  // The best of each group in place of all: the wanted place of those is at most that of all, and a little below it.
  const Index groups = std::min(vectors, (kGroups * wanted + kLanes - 1) / kLanes);
  std::vector<std::int32_t> best(static_cast<std::size_t>(groups * kLanes), ordered_score(kNone));
  for (Index s = 0, group = 0; s < panels_; ++s) {
    const float* scores = tile(query / kQueryTile, s * stride_) + query % kQueryTile * kPanelWidth;
    for (Index v = 0; v < kPanelVectors; ++v) {
      std::int32_t* out = best.data() + group * kLanes;
      const IntLanes lanes = ordered_lanes(load(scores + v * kLanes));
      for (int lane = 0; lane < kLanes; ++lane) out[lane] = std::max(out[lane], lanes[lane]);
      group = group + 1 == groups ? 0 : group + 1;
    }
  }
  const BestFrom from = best_from(best.data(), static_cast<Index>(best.size()), wanted, wanted / 4, ordered_score(kNone));
  return from.least == ordered_score(kNone) ? kNone : score_of_ordered(from.least - 1);
}

}  // namespace twotower::retrieval
