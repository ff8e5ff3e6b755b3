#include "twotower/retrieval/top_k.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <memory>
#include <sstream>
#include <vector>

#include "twotower/base/check.hpp"
#include "twotower/retrieval/keeper.hpp"
#include "twotower/retrieval/score_panel.hpp"
#include "twotower/retrieval/top_k_of_lists.hpp"

namespace twotower::retrieval {
namespace {

constexpr Index kBlockQueries = 256;                   // queries that share one pass over the panels: their pack stays in L2
constexpr Index kBlockBytes = Index{4} * 1024 * 1024;  // what the buffers of a block's keepers may take
constexpr Index kTasks = 16;                           // with fewer blocks of queries than this the panels are split too
constexpr Index kRangeItems = 3072;                    // items that a range of panels has at least

Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

/// How a call is cut into tasks: blocks of queries times ranges of panels. Follows from the sizes of the problem alone.
struct Plan {
  Plan(const PackedItems& items, Index queries, Index k) : kept(std::min(k, items.rows())) {
    const Index bytes = Keeper::capacity(kept, items.rows()) * static_cast<Index>(sizeof(Key));
    const Index most = std::clamp<Index>(kBlockBytes / bytes, kQueryTile, kBlockQueries);
    // Blocks of equal size, each a whole number of tiles.
    block_queries = ceil_div(ceil_div(queries, ceil_div(queries, most)), kQueryTile) * kQueryTile;
    blocks = ceil_div(queries, block_queries);
    // Each range keeps a list of its own, so it must be much longer than the list.
    const Index most_ranges = std::max<Index>(1, items.rows() / std::max(kRangeItems, 16 * kept));
    range_panels = ceil_div(items.panels(), std::min(ceil_div(kTasks, blocks), most_ranges));
    ranges = ceil_div(items.panels(), range_panels);
  }

  Index kept;  // results a query at most
  Index block_queries, blocks;
  Index range_panels, ranges;
};

/// Bit i of mask p: item i of panel p exists and is allowed.
std::vector<std::uint64_t> panel_masks(const PackedItems& items, const std::optional<std::span<const std::uint8_t>>& allowed) {
  std::vector<std::uint64_t> masks(static_cast<std::size_t>(items.panels()));
  for (Index p = 0; p < items.panels(); ++p) {
    const Index first = p * kPanelWidth, count = std::min<Index>(kPanelWidth, items.rows() - first);
    std::uint64_t mask = ~std::uint64_t{0} >> static_cast<unsigned>(64 - count);
    if (allowed)
      for (Index lane = 0; lane < count; ++lane)
        if ((*allowed)[static_cast<std::size_t>(first + lane)] == 0) mask &= ~(std::uint64_t{1} << static_cast<unsigned>(lane));
    masks[static_cast<std::size_t>(p)] = mask;
  }
  return masks;
}

/// One block of queries against one range of panels.
class Scan {
 public:
  Scan(const PackedItems& items, ConstRows<float> queries, std::span<const Index> of, Index kept, Index offers)
      : items_(items), queries_(static_cast<Index>(of.size())), tiles_(ceil_div(queries_, kQueryTile)) {
    const Index capacity = Keeper::capacity(kept, offers);
    keys_ = std::make_unique_for_overwrite<Key[]>(static_cast<std::size_t>(capacity * queries_));
    kept_.resize(static_cast<std::size_t>(queries_));
    for (Index q = 0; q < queries_; ++q)
      kept_[static_cast<std::size_t>(q)].keeper = Keeper({keys_.get() + q * capacity, static_cast<std::size_t>(capacity)}, kept);
    pack(queries, of);
  }

  /// What query q must not get beside what the masks say.
  void leave_out(Index q, const Exclusions& exclusions) { kept_[static_cast<std::size_t>(q)].exclusions = exclusions; }

  void run(Index first_panel, Index last_panel, std::span<const std::uint64_t> masks) {
    for (Index p = first_panel; p < last_panel; ++p) {
      const std::uint64_t mask = masks[static_cast<std::size_t>(p)];
      if (mask == 0) continue;
      for (Index tile = 0; tile < tiles_; ++tile) {
        const Index first = tile * kQueryTile, count = std::min<Index>(kQueryTile, queries_ - first);
        score_panel(items_.panel(p), packed_.get() + first * items_.width(), items_.width(), count, scores_);
        for (unsigned hits = hits_of(first, static_cast<unsigned>(count)); hits != 0; hits &= hits - 1) {
          const int q = std::countr_zero(hits);
          collect(kept_[static_cast<std::size_t>(first + q)], scores_ + q * kPanelWidth, static_cast<Row>(p * kPanelWidth), mask);
        }
      }
    }
  }

  std::span<const Key> best(Index q) { return kept_[static_cast<std::size_t>(q)].keeper.best(); }

 private:
  struct Kept {
    Keeper keeper;
    Exclusions exclusions;
  };

  // Tile t is k-major: value k of its queries side by side, as the micro-kernel reads them. Missing queries of the last tile are
  // never read.
  void pack(ConstRows<float> queries, std::span<const Index> of) {
    const Index width = items_.width();
    packed_ = aligned_floats(tiles_ * kQueryTile * width);
    for (Index q = 0; q < queries_; ++q) {
      const float* query = queries.row(of[static_cast<std::size_t>(q)]).data();
      float* out = packed_.get() + q / kQueryTile * kQueryTile * width + q % kQueryTile;
      for (Index k = 0; k < width; ++k) out[k * kQueryTile] = query[k];
    }
  }

  // Bit q: some score of query first + q is above its bound.
  unsigned hits_of(Index first, unsigned count) const {
    unsigned hits = 0;
    for (unsigned q = 0; q < count; ++q) {
      const float* scores = scores_ + q * kPanelWidth;
      Lanes best = load(scores);
      for (int v = 1; v < kPanelVectors; ++v) best = larger(best, load(scores + v * kLanes));
      const Lanes bound = broadcast(kept_[static_cast<std::size_t>(first + q)].keeper.bound());
      hits |= static_cast<unsigned>(lanes_above(best, bound) != 0) << q;
    }
    return hits;
  }

  static void collect(Kept& kept, const float* scores, Row first_row, std::uint64_t mask) {
    const Lanes bound = broadcast(kept.keeper.bound());
    std::uint64_t above = 0;
    for (unsigned v = 0; v < kPanelVectors; ++v) above |= lanes_above(load(scores + v * kLanes), bound) << (v * kLanes);
    for (above &= mask; above != 0; above &= above - 1) {
      const int lane = std::countr_zero(above);
      const Row row = first_row + lane;
      if (kept.exclusions.pass(row)) kept.keeper.offer(key_of(scores[lane], row));
    }
  }

  const PackedItems& items_;
  Index queries_, tiles_;
  AlignedFloats packed_;
  std::unique_ptr<Key[]> keys_;
  std::vector<Kept> kept_;
  alignas(64) float scores_[kQueryTile * kPanelWidth] = {};
};

// With finite vectors a score can only be infinite or NaN if a partial sum overflows; rounding adds far less than the factor of
// two.
void check_overflow(const PackedItems& items, float largest_query) {
  const double most = static_cast<double>(items.width()) * items.largest() * largest_query;
  const double limit = std::numeric_limits<float>::max() / 2;
  if (most <= limit) [[likely]]
    return;
  std::ostringstream message;
  message << "the largest possible score is " << most << ", but must be at most " << limit << "; scale queries or items down";
  fail("top_k", message.str());
}

void check(const PackedItems& items, ConstRows<float> queries, Index k, const Filters& filters, const Threads& threads,
           const Rows<Row>& rows, const Rows<float>& scores) {
  check_at_least("top_k", "k", k, 1);
  check_size("top_k", "the width of queries", queries.cols(), "the width of the items", items.width());
  check_size("top_k", "the number of result rows", rows.rows(), "the number of queries", queries.rows());
  check_size("top_k", "the number of result scores", scores.rows(), "the number of queries", queries.rows());
  check_size("top_k", "the width of the result rows", rows.cols(), "k", k);
  check_size("top_k", "the width of the result scores", scores.cols(), "k", k);
  check_filters("top_k", filters, queries.rows(), items.rows(), threads);
  check_overflow(items, check_vectors("top_k", "queries", queries, threads));
}

/// The queries of `of` against all panels: those that have no list of their own.
void top_k_of_all(const PackedItems& items, ConstRows<float> queries, std::span<const Index> of, Index k, const Filters& filters,
                  const Threads& threads, Rows<Row> rows, Rows<float> scores) {
  const auto count = static_cast<Index>(of.size());
  const Plan plan(items, count, k);
  const std::vector<std::uint64_t> masks = panel_masks(items, filters.allowed);
  // With several ranges: the best of each, range after range for every query; the rest 0.
  const bool split = plan.ranges > 1;
  std::vector<Key> parts(split ? static_cast<std::size_t>(count * plan.ranges * plan.kept) : 0, 0);

  threads.for_blocks(plan.blocks * plan.ranges, 1, [&](Index task, Index, Index) {
    const Index begin = task / plan.ranges * plan.block_queries, end = std::min(count, begin + plan.block_queries);
    const Index range = task % plan.ranges, first_panel = range * plan.range_panels;
    const Index last_panel = std::min(items.panels(), first_panel + plan.range_panels);
    const Index range_items = std::min(items.rows(), last_panel * kPanelWidth) - first_panel * kPanelWidth;
    const std::span<const Index> block = of.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    Scan scan(items, queries, block, std::min(plan.kept, range_items), range_items);
    for (std::size_t q = 0; q < block.size(); ++q)
      scan.leave_out(static_cast<Index>(q), Exclusions(filters, block[q], static_cast<Row>(first_panel * kPanelWidth)));
    scan.run(first_panel, last_panel, masks);
    for (std::size_t q = 0; q < block.size(); ++q) {
      const std::span<const Key> best = scan.best(static_cast<Index>(q));
      if (split)
        std::copy(best.begin(), best.end(), parts.begin() + ((begin + static_cast<Index>(q)) * plan.ranges + range) * plan.kept);
      else
        write_best(best, block[q], rows, scores);
    }
  });
  if (!split) return;

  threads.for_blocks(count, kQueryTile, [&](Index begin, Index end, Index) {
    const Index size = plan.ranges * plan.kept;
    for (Index q = begin; q < end; ++q) {
      Key* keys = parts.data() + q * size;
      std::partial_sort(keys, keys + plan.kept, keys + size, std::greater<>());
      const Key* last = std::find(keys, keys + plan.kept, Key{0});
      write_best({keys, static_cast<std::size_t>(last - keys)}, of[static_cast<std::size_t>(q)], rows, scores);
    }
  });
}

}  // namespace

void top_k(const PackedItems& items, ConstRows<float> queries, Index k, const Filters& filters, const Threads& threads,
           Rows<Row> rows, Rows<float> scores) {
  check(items, queries, k, filters, threads, rows, scores);
  if (items.rows() == 0) {
    for (Index query = 0; query < queries.rows(); ++query) write_best({}, query, rows, scores);
    return;
  }
  std::vector<Index> free, listed;
  for (Index query = 0; query < queries.rows(); ++query)
    (filters.listed && filters.listed->has(query) ? listed : free).push_back(query);
  if (!free.empty()) top_k_of_all(items, queries, free, k, filters, threads, rows, scores);
  if (!listed.empty()) top_k_of_lists(items, queries, listed, k, filters, threads, rows, scores);
}

}  // namespace twotower::retrieval
