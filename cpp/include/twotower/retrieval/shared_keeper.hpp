#pragma once
// The best items of a block of queries, offered in any order, with floors that tasks share.
#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "twotower/base/types.hpp"
#include "twotower/retrieval/exclusions.hpp"
#include "twotower/retrieval/keeper.hpp"

namespace twotower::retrieval {

/// The k best keys of those offered in any order: a heap with the worst on top, so that the floor is never behind. An item that
/// need not have been looked at costs more here than keeping the order.
class TightKeeper {
 public:
  TightKeeper() = default;

  /// `buffer` has room for k keys, k >= 1.
  TightKeeper(Key* buffer, Index k) : buffer_(buffer), k_(k) {}

  /// Keys up to this one cannot be among the best any more; 0 while any may.
  Key floor() const { return floor_; }

  /// The same is known from elsewhere.
  void raise(Key floor) { floor_ = std::max(floor_, floor); }

  /// Requires    key > floor()
  void offer(Key key) {
    if (count_ < k_) {
      buffer_[count_++] = key;
      if (count_ < k_) return;
      std::make_heap(buffer_, buffer_ + k_, std::greater<>());
    } else {
      replace_worst(key);
    }
    raise(buffer_[0]);
  }

  /// The kept keys, best first.
  std::span<const Key> best() {
    std::sort(buffer_, buffer_ + count_, std::greater<>());
    return {buffer_, static_cast<std::size_t>(count_)};
  }

 private:
  void replace_worst(Key key) {
    Index hole = 0;
    for (Index child = 1; child < k_; child = 2 * hole + 1) {
      child += static_cast<Index>(child + 1 < k_ && buffer_[child + 1] < buffer_[child]);
      if (buffer_[child] >= key) break;
      buffer_[hole] = buffer_[child];
      hole = child;
    }
    buffer_[hole] = key;
  }

  Key* buffer_ = nullptr;
  Index count_ = 0, k_ = 0;
  Key floor_ = 0;
};

/// Whether an item may come back for a query, asked in any order.
class Excluded {
 public:
  explicit Excluded(const Filters& filters, Index query) {
    if (filters.seen) seen_ = filters.seen->of(query);
    if (filters.denied) denied_ = filters.denied->of(query);
  }
  bool has(Row row) const {
    return std::binary_search(seen_.begin(), seen_.end(), row) || std::binary_search(denied_.begin(), denied_.end(), row);
  }

 private:
  std::span<const Row> seen_, denied_;
};

/// Floors that the ranges of a call share: the k-th best key of one range is a floor for all. When a range learns of it depends
/// on the threads, and so does what it need not look at; what is found does not.
class Floors {
 public:
  explicit Floors(std::size_t queries) : floors_(queries) {}

  Key get(std::size_t query) const { return floors_[query].load(std::memory_order_relaxed); }

  void raise(std::size_t query, Key floor) {
    Key now = get(query);
    while (now < floor && !floors_[query].compare_exchange_weak(now, floor, std::memory_order_relaxed)) {
    }
  }

 private:
  std::vector<std::atomic<Key>> floors_;
};

/// What is kept for the queries of a block; whoever scores an item offers it here.
class Kept {
 public:
  /// `floors` are those of the queries from number `first` on.
  Kept(std::span<const Index> of, const Filters& filters, Index kept, Floors& floors, Index first)
      : buffer_(std::make_unique_for_overwrite<Key[]>(of.size() * static_cast<std::size_t>(kept))),
        bounds_(of.size()),
        floors_(floors),
        first_(static_cast<std::size_t>(first)) {
    for (std::size_t q = 0; q < of.size(); ++q) {
      keepers_.emplace_back(buffer_.get() + q * static_cast<std::size_t>(kept), kept);
      excluded_.emplace_back(filters, of[q]);
    }
    share_floors();
  }

  Index queries() const { return static_cast<Index>(keepers_.size()); }

  /// Scores of query q below this are no use.
  float bound(Index q) const { return bounds_[static_cast<std::size_t>(q)]; }

  void offer(Index query, float score, Row row) {
    const auto q = static_cast<std::size_t>(query);
    const Key key = key_of(score, row), floor = keepers_[q].floor();
    if (key <= floor || excluded_[q].has(row)) return;
    keepers_[q].offer(key);
    if (keepers_[q].floor() == floor) return;
    bounds_[q] = score_of(keepers_[q].floor());
  }

  /// Tells other ranges and hears from them.
  void share_floors() {
    for (std::size_t q = 0; q < keepers_.size(); ++q) {
      floors_.raise(first_ + q, keepers_[q].floor());
      keepers_[q].raise(floors_.get(first_ + q));
      const Key floor = keepers_[q].floor();
      bounds_[q] = floor == 0 ? -std::numeric_limits<float>::infinity() : score_of(floor);
    }
  }

  std::span<const Key> best(Index q) { return keepers_[static_cast<std::size_t>(q)].best(); }

 private:
  std::unique_ptr<Key[]> buffer_;
  std::vector<TightKeeper> keepers_;
  std::vector<Excluded> excluded_;
  std::vector<float> bounds_;
  Floors& floors_;
  std::size_t first_;
};

}  // namespace twotower::retrieval
