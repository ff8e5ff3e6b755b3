#include "twotower/retrieval/top_k.hpp"

#include <algorithm>
#include <functional>
#include <vector>

#include "twotower/retrieval/check_top_k.hpp"
#include "twotower/retrieval/keeper.hpp"
#include "twotower/retrieval/sample.hpp"
#include "twotower/retrieval/scan.hpp"
#include "twotower/retrieval/top_k_of_lists.hpp"

namespace twotower::retrieval {
namespace {

constexpr Index kBlockQueries = 128;                   // queries that share one pass over the panels: all they need stays in L2
constexpr Index kLeastBlockQueries = 64;               // fewer would wait for the panels
constexpr Index kBlockBytes = Index{4} * 1024 * 1024;  // what the reservoirs of a block may take
constexpr Index kTasks = 16;                           // with fewer blocks of queries than this the panels are split too
constexpr Index kRangeItems = 3072;                    // items that a range of panels has at least

Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

/// How a call is cut into tasks: blocks of queries times ranges of panels. Follows from the sizes of the problem alone.
struct Plan {
  Plan(const PackedItems& items, Index queries, Index k) : kept(std::min(k, items.rows())) {
    const Index bytes = Reservoir::words(kept, items.rows()) * static_cast<Index>(sizeof(std::int32_t));
    const Index shared = std::clamp<Index>(ceil_div(queries, kTasks), kLeastBlockQueries, kBlockQueries);
    const Index most = std::clamp<Index>(kBlockBytes / bytes, kQueryTile, shared);
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

/// take(query, best keys) for the k best that each of the queries has in a run of panels.
template <class Take>
void scan_run(const PanelRun& panels, ConstRows<float> queries, std::span<const Index> of, Index k, const Filters& filters,
              bool sampled, const Take& take) {
  Scan scan(queries, of, k, panels.rows);
  if (filters.seen || filters.denied)
    for (std::size_t q = 0; q < of.size(); ++q)
      scan.leave_out(static_cast<Index>(q), Exclusions(filters, of[q], panels.first_row));
  if (sampled)
    scan.run_sampled(panels);
  else
    scan.run(panels);
  std::vector<Index> again;
  for (std::size_t q = 0; q < of.size(); ++q) {
    const std::span<const Key> best = scan.best(static_cast<Index>(q));
    if (sampled && static_cast<Index>(best.size()) < k)
      again.push_back(of[q]);
    else
      take(of[q], best);
  }
  if (!again.empty()) scan_run(panels, queries, again, k, filters, false, take);
}

/// The queries of `of` against all panels: those that have no list of their own.
void top_k_of_all(const PackedItems& items, ConstRows<float> queries, std::span<const Index> of, Index k, const Filters& filters,
                  const Threads& threads, Rows<Row> rows, Rows<float> scores) {
  const auto count = static_cast<Index>(of.size());
  const Plan plan(items, count, k);
  // With several ranges: the best of each, range after range for every query; the rest 0.
  const bool split = plan.ranges > 1;
  std::vector<Key> parts(split ? static_cast<std::size_t>(queries.rows() * plan.ranges * plan.kept) : 0, 0);

  threads.for_blocks(plan.blocks * plan.ranges, 1, [&](Index task, Index, Index) {
    const Index begin = task / plan.ranges * plan.block_queries, end = std::min(count, begin + plan.block_queries);
    const Index range = task % plan.ranges, first_panel = range * plan.range_panels;
    const Index last_panel = std::min(items.panels(), first_panel + plan.range_panels);
    const Index range_items = std::min(items.rows(), last_panel * kPanelWidth) - first_panel * kPanelWidth;
    const std::span<const Index> block = of.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    const Index kept = std::min(plan.kept, range_items);
    const PanelRun panels{items.panel(first_panel), static_cast<Row>(first_panel * kPanelWidth), range_items, filters.allowed};
    scan_run(panels, queries, block, kept, filters, Sample::pays(range_items, kept), [&](Index query, std::span<const Key> best) {
      if (split)
        std::copy(best.begin(), best.end(), parts.begin() + (query * plan.ranges + range) * plan.kept);
      else
        write_best(best, query, rows, scores);
    });
  });
  if (!split) return;

  threads.for_blocks(count, kQueryTile, [&](Index begin, Index end, Index) {
    const Index size = plan.ranges * plan.kept;
    for (Index i = begin; i < end; ++i) {
      const Index query = of[static_cast<std::size_t>(i)];
      Key* keys = parts.data() + query * size;
      std::partial_sort(keys, keys + plan.kept, keys + size, std::greater<>());
      const Key* last = std::find(keys, keys + plan.kept, Key{0});
      write_best({keys, static_cast<std::size_t>(last - keys)}, query, rows, scores);
    }
  });
}

}  // namespace

void top_k(const PackedItems& items, ConstRows<float> queries, Index k, const Filters& filters, const Threads& threads,
           Rows<Row> rows, Rows<float> scores) {
  check_top_k(items.rows(), items.width(), items.largest(), queries, k, filters, threads, rows, scores);
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
