#include "twotower/retrieval/reservoir.hpp"

#include <algorithm>
#include <functional>

#include "twotower/retrieval/selection.hpp"

namespace twotower::retrieval {
namespace {

constexpr Index kCountedSort = 128;  // up to here every key counts its betters, which costs no branches

}  // namespace

void Reservoir::drop_excluded() {
  if (!excluding_) return;
  Index kept = passed_;
  for (Index i = passed_; i < count_; ++i) {
    scores_[kept] = scores_[i];
    rows_[kept] = rows_[i];
    kept += exclusions_.pass(rows_[i]);
  }
  count_ = passed_ = kept;
}

// Keeps the k best and up to `slack` more, in their order, and raises the bound to the least of them. Requires more than k of
// them.
void Reservoir::select(Index slack) {
  const BestFrom best = best_from(scores_, count_, k_, slack, ordered_score(bound_));
  const std::int32_t least = best.least;
  // Of equal scores at the end the smaller rows stay: they come first.
  Index kept = 0, equal = best.found <= k_ + slack ? count_ : k_ - count_from(scores_, count_, least + 1);
  for (Index i = 0; i < count_; ++i) {
    const std::int32_t score = scores_[i];
    const bool at = score == least;
    scores_[kept] = score;
    rows_[kept] = rows_[i];
    kept += score > least || (at && equal > 0);
    equal -= at;
  }
  count_ = passed_ = kept;
  bound_ = score_of_ordered(least);
}

void Reservoir::cut() {
  drop_excluded();
  if (count_ > k_) select(std::max<Index>(k_, kSlack) / 4);
}

Index Reservoir::best(std::span<Key> out) {
  drop_excluded();
  if (count_ > k_) select(0);
  const auto key = [&](Index i) {
    return Key{static_cast<std::uint32_t>(scores_[i]) ^ kSign} << 32u | ~static_cast<std::uint32_t>(rows_[i]);
  };
  if (count_ > kCountedSort) {
    for (Index i = 0; i < count_; ++i) out[static_cast<std::size_t>(i)] = key(i);
    std::sort(out.begin(), out.begin() + count_, std::greater<>());
    return count_;
  }
  Key keys[kCountedSort];
  for (Index i = 0; i < count_; ++i) keys[i] = key(i);
  for (Index i = 0; i < count_; ++i) {
    std::uint64_t better = 0;
    for (Index j = 0; j < count_; ++j) better += keys[j] > keys[i];
    out[better] = keys[i];
  }
  return count_;
}

}  // namespace twotower::retrieval
