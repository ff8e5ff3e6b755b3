#pragma once
// The container of a scan: takes whole registers of scores, keeps the best.
#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <span>

#include "twotower/base/types.hpp"
#include "twotower/retrieval/exclusions.hpp"
#include "twotower/retrieval/keeper.hpp"
#include "twotower/retrieval/lanes.hpp"

namespace twotower::retrieval {

/// The `k` best of the scores of a query, offered panel by panel, in a buffer of the caller's: filled up, then cut down to the
/// best k, and so on. The order is that of Key; what is kept depends on the scores alone.
///
/// A score goes in with a compare and a compress, without a branch of its own; exclusions are looked at when the buffer is cut,
/// in one walk over many rows.
class Reservoir {
 public:
  /// Words of the buffer for the k best of at most `offers` offers.
  static Index words(Index k, Index offers) { return 2 * (capacity(k, offers) + kLanes); }

  Reservoir() = default;

  /// Requires    k >= 1; `words` as many as words(k, offers)
  Reservoir(std::int32_t* words, Index k, Index offers)
      : capacity_(capacity(k, offers)), k_(k), scores_(words), rows_(words + capacity_ + kLanes) {}

  /// What must not be kept. Before the first offer.
  void leave_out(const Exclusions& exclusions) {
    exclusions_ = exclusions;
    excluding_ = true;
  }

  const Exclusions& exclusions() const { return exclusions_; }

  /// Keeps only scores above `bound`, as if it were sure that k of them come. Before the first offer.
  void expect_above(float bound) { bound_ = bound; }

  /// Only scores above it can be among the best any more: those at it have come, in smaller rows.
  float bound() const { return bound_; }

  /// Takes the scores above the bound of the items first_row + lane whose bit is set.
  ///
  /// Shapes      scores (kPanelWidth), 64-byte aligned
  /// Requires    rows ascend from call to call
  void offer(const float* scores, Row first_row, std::uint64_t mask) {
    const Lanes bound = broadcast(bound_);
    for (unsigned v = 0; v < kPanelVectors; ++v) {
      const Lanes lanes = load(scores + v * kLanes);
      const std::uint64_t above = lanes_above(lanes, bound) & (mask >> (v * kLanes));
      if (!kCompresses && above == 0) continue;
      compress(ordered_lanes(lanes), above, scores_ + count_);
      compress(ascending_from(first_row + static_cast<Row>(v * kLanes)), above, rows_ + count_);
      count_ += std::popcount(above);
    }
    if (count_ > capacity_ - kPanelWidth) [[unlikely]]
      cut();
  }

  /// Writes the kept keys to `out`, best first, and tells how many: fewer than k if fewer were offered.
  ///
  /// Shapes      out (k)
  Index best(std::span<Key> out);

 private:
  static constexpr Index kSlackShare = 3, kSlack = 128;
  static Index capacity(Index k, Index offers) {
    return std::min(k + std::max<Index>(kSlackShare * k, kSlack), offers) + kPanelWidth;
  }

  void cut();
  void drop_excluded();
  void select(Index slack);

  Index count_ = 0, passed_ = 0, capacity_ = 0, k_ = 0;
  std::int32_t *scores_ = nullptr, *rows_ = nullptr;  // ordered_lanes of the scores, and their rows, ascending
  float bound_ = -std::numeric_limits<float>::infinity();
  bool excluding_ = false;
  Exclusions exclusions_;
};

}  // namespace twotower::retrieval
