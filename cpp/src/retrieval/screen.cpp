#include "twotower/retrieval/screen.hpp"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "twotower/retrieval/check_top_k.hpp"
#include "twotower/retrieval/coded_queries.hpp"
#include "twotower/retrieval/keeper.hpp"
#include "twotower/retrieval/row_scores.hpp"
#include "twotower/retrieval/score_panel.hpp"
#include "twotower/retrieval/shared_keeper.hpp"

namespace twotower::retrieval {
namespace {

constexpr Index kFewQueries = 64, kManyQueries = 256;  // of a block: enough to wait for no memory, few enough for the cache
constexpr Index kCodeBytes = Index{256} * 1024;        // what the codes of a block's queries may take
constexpr Index kKeptBytes = Index{4} * 1024 * 1024;   // what the buffers of a block's keepers may take
constexpr Index kTasks = 16;                           // with fewer blocks of queries than this the panels are split too
constexpr Index kRangePanels = 256;                    // panels that a range has at least
constexpr Index kStretch = 32;                         // panels between two looks at how well the screen does
constexpr Index kLongestRest = 8;                      // stretches without the screen before it gets another chance
constexpr Index kTogether = 64;                        // items that wait for their float32 scores, and for their cache lines
constexpr Index kLineFloats = 16;                      // of a cache line
constexpr Index kListBlock = 32;                       // queries with lists of their own a task has

static_assert(kScreenWidth % kPanelWidth == 0);

Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }
Index whole_tiles(Index queries) { return ceil_div(queries, kScreenTile) * kScreenTile; }

/// How a call is cut into tasks: blocks of queries times ranges of panels. Follows from the sizes of the problem alone.
struct Plan {
  Plan(const ScreenedItems& items, Index queries, Index k) : kept(std::min(k, items.rows())) {
    const Index keeper_bytes = kept * static_cast<Index>(sizeof(Key));
    const Index most = std::clamp<Index>(std::min(kKeptBytes / keeper_bytes, kCodeBytes / (items.words() * kWordCodes)),
                                         kScreenTile, kManyQueries);
    const Index wanted = std::clamp(ceil_div(queries, kTasks), std::min(kFewQueries, most), most);
    block_queries = whole_tiles(ceil_div(queries, ceil_div(queries, wanted)));
    blocks = ceil_div(queries, block_queries);
    // Each range keeps a list of its own, so it must be much longer than the list.
    const Index most_ranges = std::max<Index>(1, items.panels() / std::max(kRangePanels, ceil_div(16 * kept, kScreenWidth)));
    range_panels = ceil_div(items.panels(), std::min(ceil_div(kTasks, blocks), most_ranges));
    ranges = ceil_div(items.panels(), range_panels);
    const auto most_leaders = static_cast<Index>(items.leaders().size());
    leaders = std::min(most_leaders, std::max<Index>(64, ceil_div(32 * kept, kScreenWidth)));
  }

  Index kept;  // results a query at most
  Index block_queries, blocks;
  Index range_panels, ranges;
  Index leaders;  // panels that come first
};

/// Bit i of mask p: item i of panel p exists and is allowed.
std::vector<std::uint64_t> panel_masks(const ScreenedItems& items, const std::optional<std::span<const std::uint8_t>>& allowed) {
  std::vector<std::uint64_t> masks(static_cast<std::size_t>(items.panels()));
  for (Index p = 0; p < items.panels(); ++p) {
    const Index first = p * kScreenWidth, count = std::min<Index>(kScreenWidth, items.rows() - first);
    std::uint64_t mask = ~std::uint64_t{0} >> static_cast<unsigned>(64 - count);
    if (allowed)
      for (Index lane = 0; lane < count; ++lane)
        if ((*allowed)[static_cast<std::size_t>(first + lane)] == 0) mask &= ~(std::uint64_t{1} << static_cast<unsigned>(lane));
    masks[static_cast<std::size_t>(p)] = mask;
  }
  return masks;
}

/// Panels in float32 for a block of queries, made from the rows as they are needed.
class PanelScores {
 public:
  PanelScores(const ScreenedItems& items, ConstRows<float> queries, std::span<const Index> of)
      : items_(items),
        packed_(aligned_floats(ceil_div(static_cast<Index>(of.size()), kQueryTile) * kQueryTile * items.width())),
        panel_(aligned_floats(kPanelWidth * items.width())) {
    const Index width = items.width();
    for (std::size_t i = 0; i < of.size(); ++i) {
      const auto q = static_cast<Index>(i);
      const float* query = queries.row(of[i]).data();
      float* out = packed_.get() + q / kQueryTile * kQueryTile * width + q % kQueryTile;
      for (Index k = 0; k < width; ++k) out[k * kQueryTile] = query[k];
    }
  }

  /// Offers the items `first` + i where bit i of `mask` is set, i below kPanelWidth.
  void offer(Index first, std::uint64_t mask, Kept& kept) {
    pack(first);
    for (Index q = 0; q < kept.queries(); q += kQueryTile) {
      const Index count = std::min<Index>(kQueryTile, kept.queries() - q);
      score_panel(panel_.get(), packed_.get() + q * items_.width(), items_.width(), count, scores_);
      for (Index i = 0; i < count; ++i) {
        const float* scores = scores_ + i * kPanelWidth;
        const Lanes bound = broadcast(kept.bound(q + i));
        std::uint64_t below = 0;
        for (unsigned v = 0; v < kPanelVectors; ++v) below |= lanes_above(bound, load(scores + v * kLanes)) << (v * kLanes);
        for (std::uint64_t left = ~below & mask; left != 0; left &= left - 1) {
          const int lane = std::countr_zero(left);
          kept.offer(q + i, scores[lane], static_cast<Row>(first + lane));
        }
      }
    }
  }

 private:
  void pack(Index first) {
    const Index width = items_.width(), count = std::min<Index>(kPanelWidth, items_.rows() - first);
    for (Index lane = 0; lane < count; ++lane) {
      const float* item = items_.item(first + lane);
      for (Index k = 0; k < width; ++k) panel_[static_cast<std::size_t>(k * kPanelWidth + lane)] = item[k];
    }
    for (Index lane = count; lane < kPanelWidth; ++lane)
      for (Index k = 0; k < width; ++k) panel_[static_cast<std::size_t>(k * kPanelWidth + lane)] = 0;
  }

  const ScreenedItems& items_;
  AlignedFloats packed_, panel_;
  alignas(64) float scores_[kQueryTile * kPanelWidth] = {};
};

/// One block of queries against panels, by the screen or in float32 as it pays.
class ScreenScan {
 public:
  /// The block's queries are `of`, the first of them number `first` of the call.
  ScreenScan(const ScreenedItems& items, ConstRows<float> queries, std::span<const Index> of, const Filters& filters,
             std::span<const std::uint64_t> masks, Index kept, Floors& floors, Index first)
      : items_(items),
        queries_(queries),
        of_(of),
        masks_(masks),
        kept_(of, filters, kept, floors, first),
        coded_(queries, of, items.width()),
        full_(screen_tile(kScreenTile)),
        last_(screen_tile((kept_.queries() - 1) % kScreenTile + 1)) {
    set_bounds();
    // Before there are bounds every item matters.
    if (kept_.bound(0) == -std::numeric_limits<float>::infinity() &&
        too_many(kStretch * kScreenWidth * kept_.queries(), kStretch))
      rest_ = 1;
  }

  void panel(Index p) {
    const std::uint64_t mask = masks_[static_cast<std::size_t>(p)];
    if (mask != 0) {
      if (rest_ > 0)
        score(p, mask);
      else
        screen(p, mask);
    }
    if (++panels_ == kStretch) look_back();
  }

  Kept& finish() {
    rank();
    return kept_;
  }

 private:
  struct Candidate {
    const float* item;
    Index query;
    Row row;
  };

  // A float32 score on its own costs as much as about 50 in a panel, and a panel must be made; in units of a score in a panel.
  bool too_many(Index candidates, Index panels) const { return candidates * 48 > panels * kScreenWidth * (kept_.queries() + 48); }

  void look_back() {
    if (rest_ > 0) {
      --rest_;
    } else if (too_many(found_, panels_)) {
      rest_ = next_rest_;
      next_rest_ = std::min(2 * next_rest_, kLongestRest);
    } else {
      next_rest_ = 1;
    }
    panels_ = found_ = 0;
    kept_.share_floors();
    set_bounds();
  }

  void set_bounds() {
    for (Index q = 0; q < kept_.queries(); ++q) coded_.set_bound(q, kept_.bound(q));
  }

  void screen(Index p, std::uint64_t mask) {
    alignas(64) std::int32_t starts[kScreenTile];
    std::uint64_t hits[kScreenTile];
    const ScreenedItems::Bounds& bounds = items_.bounds(p);
    for (Index t = 0; t < coded_.tiles(); ++t) {
      if (!coded_.starts(t, bounds, starts)) continue;
      const bool is_last = t + 1 == coded_.tiles();
      if (!(is_last ? last_ : full_)(items_.panel(p), coded_.tile(t), items_.words(), starts, hits)) continue;
      const Index first = t * kScreenTile, count = std::min<Index>(kScreenTile, kept_.queries() - first);
      for (Index q = 0; q < count; ++q)
        for (std::uint64_t left = hits[q] & mask; left != 0; left &= left - 1)
          add(first + q, static_cast<Row>(p * kScreenWidth + std::countr_zero(left)));
    }
  }

  void add(Index query, Row row) {
    const float* item = items_.item(row);
    for (Index k = 0; k < items_.width(); k += kLineFloats) __builtin_prefetch(item + k);
    candidates_[count_++] = {item, query, row};
    ++found_;
    if (count_ == kTogether) rank();
  }

  /// Scores what waits, in float32.
  void rank() {
    const float *items[kRowScores], *queries[kRowScores];
    float scores[kRowScores];
    for (Index first = 0; first < count_; first += kRowScores) {
      const Index count = std::min<Index>(kRowScores, count_ - first);
      for (Index i = 0; i < kRowScores; ++i) {
        const Candidate& candidate = candidates_[first + (i < count ? i : 0)];
        items[i] = candidate.item;
        queries[i] = queries_.row(of_[static_cast<std::size_t>(candidate.query)]).data();
      }
      row_scores(queries, items, items_.width(), scores);
      for (Index i = 0; i < count; ++i) {
        const Index q = candidates_[first + i].query;
        const float before = kept_.bound(q);
        kept_.offer(q, scores[i], candidates_[first + i].row);
        if (kept_.bound(q) != before) coded_.set_bound(q, kept_.bound(q));
      }
    }
    count_ = 0;
  }

  void score(Index p, std::uint64_t mask) {
    if (!panels_in_float_) panels_in_float_ = std::make_unique<PanelScores>(items_, queries_, of_);
    for (Index lane = 0; lane < kScreenWidth; lane += kPanelWidth) {
      const std::uint64_t part = mask >> static_cast<unsigned>(lane) & ~std::uint64_t{0} >> (64 - kPanelWidth);
      if (part != 0) panels_in_float_->offer(p * kScreenWidth + lane, part, kept_);
    }
  }

  const ScreenedItems& items_;
  ConstRows<float> queries_;
  std::span<const Index> of_;
  std::span<const std::uint64_t> masks_;
  Kept kept_;
  CodedQueries coded_;
  ScreenTile full_, last_;
  std::unique_ptr<PanelScores> panels_in_float_;
  Candidate candidates_[kTogether];
  Index count_ = 0;                 // of candidates_
  Index panels_ = 0, found_ = 0;    // of this stretch
  Index rest_ = 0, next_rest_ = 1;  // stretches without the screen: left of this rest, and of the next one
};

/// The queries of `of` against all panels: those that have no list of their own.
void screen_all(const ScreenedItems& items, ConstRows<float> queries, std::span<const Index> of, Index k, const Filters& filters,
                const Threads& threads, Rows<Row> rows, Rows<float> scores) {
  const auto count = static_cast<Index>(of.size());
  const Plan plan(items, count, k);
  const std::vector<std::uint64_t> masks = panel_masks(items, filters.allowed);
  const auto leaders = items.leaders().first(static_cast<std::size_t>(plan.leaders));
  const auto block_of = [&](Index block) {
    const Index begin = block * plan.block_queries, end = std::min(count, begin + plan.block_queries);
    return of.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  };
  const auto scan_rest = [&](ScreenScan& scan, Index first, Index last) {
    for (Index p = first; p < last; ++p)
      if (items.bounds(p).rank >= plan.leaders) scan.panel(p);
  };

  Floors floors(of.size());

  if (plan.ranges == 1) {
    threads.for_blocks(plan.blocks, 1, [&](Index block, Index, Index) {
      ScreenScan scan(items, queries, block_of(block), filters, masks, plan.kept, floors, block * plan.block_queries);
      for (const Row p : leaders) scan.panel(p);
      scan_rest(scan, 0, items.panels());
      Kept& kept = scan.finish();
      for (Index q = 0; q < kept.queries(); ++q)
        write_best(kept.best(q), block_of(block)[static_cast<std::size_t>(q)], rows, scores);
    });
    return;
  }

  // The best of the leaders and of each range, one after the other for every query; the rest 0.
  const Index parts = plan.ranges + 1;
  std::vector<Key> keys(static_cast<std::size_t>(count * parts * plan.kept), 0);
  const auto keep_part = [&](Index block, Index part, Kept& kept) {
    for (Index q = 0; q < kept.queries(); ++q) {
      const std::span<const Key> best = kept.best(q);
      const Index query = block * plan.block_queries + q;
      std::copy(best.begin(), best.end(), keys.begin() + (query * parts + part) * plan.kept);
      if (static_cast<Index>(best.size()) == plan.kept) floors.raise(static_cast<std::size_t>(query), best.back());
    }
  };
  threads.for_blocks(plan.blocks, 1, [&](Index block, Index, Index) {
    ScreenScan scan(items, queries, block_of(block), filters, masks, plan.kept, floors, block * plan.block_queries);
    for (const Row p : leaders) scan.panel(p);
    keep_part(block, plan.ranges, scan.finish());
  });
  threads.for_blocks(plan.blocks * plan.ranges, 1, [&](Index task, Index, Index) {
    const Index block = task / plan.ranges, range = task % plan.ranges, first = range * plan.range_panels;
    ScreenScan scan(items, queries, block_of(block), filters, masks, plan.kept, floors, block * plan.block_queries);
    scan_rest(scan, first, std::min(items.panels(), first + plan.range_panels));
    keep_part(block, range, scan.finish());
  });
  threads.for_blocks(count, kScreenTile, [&](Index begin, Index end, Index) {
    const Index size = parts * plan.kept;
    for (Index q = begin; q < end; ++q) {
      Key* own = keys.data() + q * size;
      std::partial_sort(own, own + plan.kept, own + size, std::greater<>());
      const Key* last = std::find(own, own + plan.kept, Key{0});
      write_best({own, static_cast<std::size_t>(last - own)}, of[static_cast<std::size_t>(q)], rows, scores);
    }
  });
}

/// The queries of `of`, each with a list of its own: nothing but the list is scored.
void rank_lists(const ScreenedItems& items, ConstRows<float> queries, std::span<const Index> of, Index k, const Filters& filters,
                const Threads& threads, Rows<Row> rows, Rows<float> scores) {
  threads.for_blocks(static_cast<Index>(of.size()), kListBlock, [&](Index begin, Index end, Index) {
    std::vector<Key> keys;
    const float *vectors[kRowScores], *listed[kRowScores];
    Row waiting[kRowScores];
    float found[kRowScores];
    for (Index i = begin; i < end; ++i) {
      const Index query = of[static_cast<std::size_t>(i)];
      const std::span<const Row> list = filters.listed->of(query);
      Exclusions exclusions(filters, query, list.empty() ? 0 : list.front());
      keys.clear();
      std::fill(vectors, vectors + kRowScores, queries.row(query).data());
      int count = 0;
      const auto score = [&] {
        std::fill(listed + count, listed + kRowScores, listed[0]);
        row_scores(vectors, listed, items.width(), found);
        for (int j = 0; j < count; ++j) keys.push_back(key_of(found[j], waiting[j]));
        count = 0;
      };
      Row last = -1;  // lists may repeat a row
      for (const Row row : list) {
        if (row == last || (filters.allowed && (*filters.allowed)[static_cast<std::size_t>(row)] == 0)) continue;
        last = row;
        if (!exclusions.pass(row)) continue;
        waiting[count] = row;
        listed[count++] = items.item(row);
        if (count == kRowScores) score();
      }
      if (count > 0) score();
      const auto kept = std::min<std::size_t>(keys.size(), static_cast<std::size_t>(k));
      std::partial_sort(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(kept), keys.end(), std::greater<>());
      write_best({keys.data(), kept}, query, rows, scores);
    }
  });
}

}  // namespace

void screened_top_k(const ScreenedItems& items, ConstRows<float> queries, Index k, const Filters& filters, const Threads& threads,
                    Rows<Row> rows, Rows<float> scores) {
  check_top_k(items.rows(), items.width(), items.largest(), queries, k, filters, threads, rows, scores);
  if (items.rows() == 0) {
    for (Index query = 0; query < queries.rows(); ++query) write_best({}, query, rows, scores);
    return;
  }
  std::vector<Index> free, listed;
  for (Index query = 0; query < queries.rows(); ++query)
    (filters.listed && filters.listed->has(query) ? listed : free).push_back(query);
  if (!free.empty()) screen_all(items, queries, free, k, filters, threads, rows, scores);
  if (!listed.empty()) rank_lists(items, queries, listed, k, filters, threads, rows, scores);
}

}  // namespace twotower::retrieval
