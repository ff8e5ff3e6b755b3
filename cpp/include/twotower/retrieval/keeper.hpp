#pragma once
// The one order of retrieval results and the container that keeps the best of them.
#include <algorithm>
#include <bit>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>

#include "twotower/base/types.hpp"

namespace twotower::retrieval {

/// A score and a row in one number: the larger key is the better result. Scores first, then the smaller row.
///
/// High half: the score's bits, turned so that they order as the scores do. Low half: the inverted row. 0 is no result: no finite
/// score gives it.
using Key = std::uint64_t;

inline constexpr std::uint32_t kSign = 0x80000000u;

/// The score is not NaN; -0 counts as 0.
inline Key key_of(float score, Row row) {
  const auto bits = std::bit_cast<std::uint32_t>(score + 0.0f);  // -0 + 0 is 0
  const std::uint32_t ordered = bits ^ ((bits & kSign) != 0 ? ~0u : kSign);
  return Key{ordered} << 32u | ~static_cast<std::uint32_t>(row);
}

inline float score_of(Key key) {
  const auto ordered = static_cast<std::uint32_t>(key >> 32u);
  return std::bit_cast<float>(ordered ^ ((ordered & kSign) != 0 ? kSign : ~0u));
}

inline Row row_of(Key key) { return static_cast<Row>(~static_cast<std::uint32_t>(key)); }

/// The `k` best of the keys offered, in a buffer of the caller's: filled up, then cut down to the best k, and so on.
///
/// The kept set depends on the keys alone. A buffer twice as long as k cuts once in k offers, so an offer costs a few
/// instructions.
class Keeper {
 public:
  /// Keys of buffer for the k best of at most `offers` offers.
  static Index capacity(Index k, Index offers) { return std::min(k + std::max<Index>(k, kSlack), offers); }

  Keeper() = default;

  /// Requires    k >= 1; `buffer` as long as capacity() says
  Keeper(std::span<Key> buffer, Index k) : buffer_(buffer.data()), capacity_(static_cast<Index>(buffer.size())), k_(k) {}

  /// Rows offered in ascending order with a score at or below the bound cannot be among the best any more.
  float bound() const { return bound_; }

  void offer(Key key) {
    if (count_ == capacity_) [[unlikely]]
      cut();
    buffer_[count_++] = key;
  }

  /// The kept keys, best first; fewer than k if fewer were offered.
  std::span<const Key> best() {
    if (count_ > k_) cut();
    std::sort(buffer_, buffer_ + count_, std::greater<>());
    return {buffer_, static_cast<std::size_t>(count_)};
  }

 private:
  static constexpr Index kSlack = 64;

  void cut() {
    std::nth_element(buffer_, buffer_ + k_ - 1, buffer_ + count_, std::greater<>());
    count_ = k_;
    bound_ = score_of(buffer_[k_ - 1]);
  }

  Key* buffer_ = nullptr;
  Index count_ = 0, capacity_ = 0, k_ = 0;
  float bound_ = -std::numeric_limits<float>::infinity();
};

/// Writes the keys, best first, as the list of a query; the rest of the list becomes row -1 and score minus infinity.
///
/// Shapes      rows, scores (queries, k)
/// Requires    at most k keys
inline void write_best(std::span<const Key> keys, Index query, Rows<Row> rows, Rows<float> scores) {
  const auto found = static_cast<Index>(keys.size());
  for (Index rank = 0; rank < found; ++rank) {
    rows(query, rank) = row_of(keys[static_cast<std::size_t>(rank)]);
    scores(query, rank) = score_of(keys[static_cast<std::size_t>(rank)]);
  }
  rows.row(query).tail(rows.cols() - found).setConstant(-1);
  scores.row(query).tail(scores.cols() - found).setConstant(-std::numeric_limits<float>::infinity());
}

}  // namespace twotower::retrieval
