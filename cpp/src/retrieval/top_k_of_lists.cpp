#include "twotower/retrieval/top_k_of_lists.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "twotower/retrieval/keeper.hpp"
#include "twotower/retrieval/score_panel.hpp"

namespace twotower::retrieval {
namespace {

constexpr Index kQueryBlock = 32;  // queries a task: few enough for every thread to have some, scratch is made once for them
constexpr int kTogether = 8;       // chains that run side by side: one alone would wait for its own sums
constexpr int kDense = 4;          // items of a panel from which on the whole panel is scored

/// Ranks one list after the other, in scratch of its own.
class ListScan {
 public:
  ListScan(const PackedItems& items, Index k, const Filters& filters)
      : items_(items), k_(k), filters_(filters), query_(aligned_floats(items.width() * kQueryTile)) {}

  /// The best of the query's list, best first; good until the next call.
  std::span<const Key> best(const float* vector, Index query) {
    // As the micro-kernel reads a tile of which it uses the first query alone.
    for (Index k = 0; k < items_.width(); ++k) query_[static_cast<std::size_t>(k * kQueryTile)] = vector[k];
    const std::span<const Row> list = filters_.listed->of(query);
    const auto length = static_cast<Index>(list.size()), kept = std::min(k_, length);
    if (kept == 0) return {};
    keys_.resize(static_cast<std::size_t>(Keeper::capacity(kept, length)));
    keeper_ = Keeper(keys_, kept);
    Exclusions exclusions(filters_, query, list.front());
    for (auto at = list.begin(); at != list.end();) {
      const Index panel = *at / kPanelWidth, first = panel * kPanelWidth;
      std::uint64_t lanes = 0;
      for (; at != list.end() && *at < first + kPanelWidth; ++at)
        if (may_come(*at, exclusions)) lanes |= std::uint64_t{1} << static_cast<unsigned>(*at - first);
      if (std::popcount(lanes) >= kDense)
        score_dense(panel, lanes);
      else
        for (; lanes != 0; lanes &= lanes - 1) add_sparse(vector, static_cast<Row>(first + std::countr_zero(lanes)));
    }
    score_sparse(vector);
    return keeper_.best();
  }

 private:
  bool may_come(Row row, Exclusions& exclusions) const {
    return (!filters_.allowed || (*filters_.allowed)[static_cast<std::size_t>(row)] != 0) && exclusions.pass(row);
  }

  // Rows are not offered in ascending order here, so only scores below the bound are sure to be no use.
  void offer(float score, Row row) {
    if (score >= keeper_.bound()) keeper_.offer(key_of(score, row));
  }

  void score_dense(Index panel, std::uint64_t lanes) {
    score_panel(items_.panel(panel), query_.get(), items_.width(), 1, scores_);
    for (; lanes != 0; lanes &= lanes - 1) {
      const int lane = std::countr_zero(lanes);
      offer(scores_[lane], static_cast<Row>(panel * kPanelWidth + lane));
    }
  }

  void add_sparse(const float* vector, Row row) {
    sparse_[sparse_count_++] = row;
    if (sparse_count_ == kTogether) score_sparse(vector);
  }

  // The chain of the micro-kernel, for items of any panels.
  void score_sparse(const float* vector) {
    const float* columns[kTogether];
    float sums[kTogether] = {};
    for (int i = 0; i < kTogether; ++i) {
      const Row row = sparse_[i < sparse_count_ ? i : 0];
      columns[i] = items_.panel(row / kPanelWidth) + row % kPanelWidth;
    }
    for (Index k = 0; k < items_.width(); ++k)
      for (int i = 0; i < kTogether; ++i) sums[i] = multiply_add(vector[k], columns[i][k * kPanelWidth], sums[i]);
    for (int i = 0; i < sparse_count_; ++i) offer(sums[i], sparse_[i]);
    sparse_count_ = 0;
  }

  const PackedItems& items_;
  Index k_;
  const Filters& filters_;
  AlignedFloats query_;
  std::vector<Key> keys_;
  Keeper keeper_;
  Row sparse_[kTogether] = {};
  int sparse_count_ = 0;
  alignas(64) float scores_[kQueryTile * kPanelWidth] = {};
};

}  // namespace

void top_k_of_lists(const PackedItems& items, ConstRows<float> queries, std::span<const Index> of, Index k,
                    const Filters& filters, const Threads& threads, Rows<Row> rows, Rows<float> scores) {
  threads.for_blocks(static_cast<Index>(of.size()), kQueryBlock, [&](Index begin, Index end, Index) {
    ListScan scan(items, k, filters);
    for (Index i = begin; i < end; ++i) {
      const Index query = of[static_cast<std::size_t>(i)];
      write_best(scan.best(queries.row(query).data(), query), query, rows, scores);
    }
  });
}

}  // namespace twotower::retrieval
