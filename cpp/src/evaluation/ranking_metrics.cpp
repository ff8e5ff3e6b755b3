#include "twotower/evaluation/ranking_metrics.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>

#include "twotower/base/check.hpp"
#include "twotower/evaluation/xtensor.hpp"

namespace twotower::evaluation {
namespace {

constexpr Index kQueryBlock =
    64;  // grids of a block come from the heap; larger ones, mapped anew each time, cost 1.6x at 100 ranks

using Values = xt::xtensor<double, 1>;
using Grid = xt::xtensor<double, 2>;  // (queries of a block, ranks)

constexpr std::array<Named<RankingMetric>, 8> kNames{{{"hits", RankingMetric::kHits},
                                                      {"hit_rate", RankingMetric::kHitRate},
                                                      {"recall", RankingMetric::kRecall},
                                                      {"capped_recall", RankingMetric::kCappedRecall},
                                                      {"precision", RankingMetric::kPrecision},
                                                      {"ndcg", RankingMetric::kNdcg},
                                                      {"mrr", RankingMetric::kMrr},
                                                      {"map", RankingMetric::kMap}}};

/// What belongs to a rank, whatever the query.
struct Ranks {
  explicit Ranks(Index count)
      : rank(xt::arange<double>(1, static_cast<double>(count) + 1)),
        discount(1 / xt::log2(rank + 1)),
        ideal(xt::cumsum(discount, 0)) {}

  Values rank;      // 1, 2, 3 ...
  Values discount;  // what a hit at the rank gains
  Values ideal;     // what a list of hits down to the rank gains
};

/// Sums down the lists of a block: value (u, r) is that of list u cut after rank r + 1, so a cut-off is a column. Each is made
/// when the first measure asks for it.
class Curves {
 public:
  Curves(Grid hits, const Ranks& ranks) : hits_(std::move(hits)), ranks_(ranks), found_(xt::cumsum(hits_, 1)) {}

  const Grid& found() const { return found_; }

  const Grid& gain() {
    if (!gain_) gain_ = xt::cumsum(hits_ * ranks_.discount, 1);
    return *gain_;
  }

  const Grid& precision_at_hits() {
    if (!precision_at_hits_) precision_at_hits_ = xt::cumsum(hits_ * found_ / ranks_.rank, 1);
    return *precision_at_hits_;
  }

  const Grid& reciprocal_rank() {
    if (!reciprocal_rank_) reciprocal_rank_ = xt::cumsum(xt::where(xt::equal(hits_ * found_, 1.0), 1 / ranks_.rank, 0.0), 1);
    return *reciprocal_rank_;
  }

 private:
  Grid hits_;
  const Ranks& ranks_;
  Grid found_;
  std::optional<Grid> gain_, precision_at_hits_, reciprocal_rank_;
};

/// out (queries of the block) = one measure. `counts`: relevant items of each query.
template <class Out>
void write_measure(const RankingMeasure& measure, Curves& curves, const Ranks& ranks, const Values& counts, Out out) {
  const auto k = static_cast<double>(measure.cutoff);
  const auto at_cutoff = [&](const Grid& curve) { return xt::view(curve, xt::all(), measure.cutoff - 1); };
  switch (measure.metric) {
    case RankingMetric::kHits: xt::noalias(out) = at_cutoff(curves.found()); break;
    case RankingMetric::kHitRate: xt::noalias(out) = xt::minimum(at_cutoff(curves.found()), 1.0); break;
    case RankingMetric::kRecall: xt::noalias(out) = at_cutoff(curves.found()) / counts; break;
    case RankingMetric::kCappedRecall: xt::noalias(out) = at_cutoff(curves.found()) / xt::minimum(counts, k); break;
    case RankingMetric::kPrecision: xt::noalias(out) = at_cutoff(curves.found()) / k; break;
    case RankingMetric::kMrr: xt::noalias(out) = at_cutoff(curves.reciprocal_rank()); break;
    case RankingMetric::kMap: xt::noalias(out) = at_cutoff(curves.precision_at_hits()) / xt::minimum(counts, k); break;
    case RankingMetric::kNdcg: {
      Values ideal = xt::empty_like(counts);
      for (std::size_t u = 0; u < counts.size(); ++u)
        ideal(u) = ranks.ideal(static_cast<std::size_t>(std::min(counts(u), k)) - 1);
      xt::noalias(out) = at_cutoff(curves.gain()) / ideal;
      break;
    }
  }
}

std::span<const Row> relevant_of(const RelevantItems& relevant, Index query) {
  const auto begin = static_cast<std::size_t>(relevant.offsets[static_cast<std::size_t>(query)]);
  return relevant.items.subspan(begin, static_cast<std::size_t>(relevant.offsets[static_cast<std::size_t>(query) + 1]) - begin);
}

/// Tells of most items at once that they are not in a list: one bit for each remainder of a row.
class Sieve {
 public:
  void fill(std::span<const Row> items) {
    bits_.fill(0);
    for (const Row item : items) bits_[word_of(item)] |= bit_of(item);
  }

  bool may_hold(Row item) const { return (bits_[word_of(item)] & bit_of(item)) != 0; }

 private:
  static constexpr std::size_t kWords = 64;  // 4,096 bits: with 40 relevant items one search in a hundred is for nothing
  static std::size_t word_of(Row item) { return (static_cast<std::uint32_t>(item) / 64) % kWords; }
  static std::uint64_t bit_of(Row item) { return std::uint64_t{1} << (static_cast<std::uint32_t>(item) % 64); }

  std::array<std::uint64_t, kWords> bits_{};
};

/// What the lists of a block share while their hits are marked.
struct Scratch {
  Sieve sieve;
  std::vector<bool> taken;  // relevant items that were met
};

/// Marks the hits of one list, hits (ranks); false if an item is hit twice.
bool mark_hits(const Row* ranked, std::span<const Row> relevant, std::span<double> hits, Scratch& scratch) {
  auto& [sieve, taken] = scratch;
  sieve.fill(relevant);
  taken.assign(relevant.size(), false);
  std::fill(hits.begin(), hits.end(), 0.0);
  for (std::size_t rank = 0; rank < hits.size(); ++rank) {
    if (!sieve.may_hold(ranked[rank])) continue;
    const auto place = std::lower_bound(relevant.begin(), relevant.end(), ranked[rank]);
    if (place == relevant.end() || *place != ranked[rank]) continue;
    const auto position = static_cast<std::size_t>(place - relevant.begin());
    if (taken[position]) [[unlikely]]
      return false;
    taken[position] = true;
    hits[rank] = 1;
  }
  return true;
}

void check_relevant(const RelevantItems& relevant, Index queries) {
  constexpr auto kFunction = "ranking_metrics";
  check_size(kFunction, "the size of relevant_counts", static_cast<Index>(relevant.counts.size()), "the number of lists",
             queries);
  check_size(kFunction, "the size of relevant_offsets", static_cast<Index>(relevant.offsets.size()), "the number of lists plus 1",
             queries + 1);
  check_offsets(kFunction, "relevant_offsets", relevant.offsets, static_cast<Index>(relevant.items.size()));
  for (Index query = 0; query < queries; ++query) {
    const std::span<const Row> items = relevant_of(relevant, query);
    const std::int64_t count = relevant.counts[static_cast<std::size_t>(query)];
    const std::string name = "query " + std::to_string(query);
    if (count < static_cast<std::int64_t>(items.size()))
      fail(kFunction, "relevant_counts[" + std::to_string(query) + "] is " + std::to_string(count) + ", but must be at least " +
                          std::to_string(items.size()) + ", the number of relevant items listed");
    if (count < 1) fail(kFunction, name + " has no relevant items, so it has no metrics; leave it out");
    if (!items.empty() && items.front() < 0)
      fail(kFunction, "relevant_items of " + name + " start with " + std::to_string(items.front()) + ", but must be item rows");
    if (std::adjacent_find(items.begin(), items.end(), std::greater_equal<>()) != items.end())
      fail(kFunction, "relevant_items of " + name + " do not ascend; sort each query's items and drop repeats");
  }
}

}  // namespace

std::vector<RankingMeasure> ranking_measures(std::span<const std::string> names, std::span<const Index> cutoffs) {
  return measures_of<RankingMetric>("ranking_metrics", kNames, names, cutoffs);
}

void ranking_metrics(ConstRows<Row> ranked, const RelevantItems& relevant, std::span<const RankingMeasure> measures,
                     const Threads& threads, Rows<double> values) {
  const Index queries = ranked.rows(), length = largest_cutoff("ranking_metrics", measures, ranked.cols());
  check_size("ranking_metrics", "the number of value rows", values.rows(), "the number of metrics",
             static_cast<Index>(measures.size()));
  check_size("ranking_metrics", "the width of the values", values.cols(), "the number of lists", queries);
  check_ranked("ranking_metrics", ranked);
  check_relevant(relevant, queries);
  const Ranks ranks(length);
  std::vector<Index> repeating(static_cast<std::size_t>((queries + kQueryBlock - 1) / kQueryBlock), -1);

  threads.for_blocks(queries, kQueryBlock, [&](Index begin, Index end, Index block) {
    const auto size = static_cast<std::size_t>(end - begin), depth = static_cast<std::size_t>(length);
    Grid hits(std::array<std::size_t, 2>{size, depth});
    Values counts(std::array<std::size_t, 1>{size});
    Scratch scratch;
    for (Index query = begin; query < end; ++query) {
      const auto u = static_cast<std::size_t>(query - begin);
      counts(u) = static_cast<double>(relevant.counts[static_cast<std::size_t>(query)]);
      if (!mark_hits(ranked.row(query).data(), relevant_of(relevant, query), {hits.data() + u * depth, depth}, scratch)) {
        repeating[static_cast<std::size_t>(block)] = query;
        return;
      }
    }
    Curves curves(std::move(hits), ranks);
    for (std::size_t m = 0; m < measures.size(); ++m)
      write_measure(measures[m], curves, ranks, counts,
                    xt::adapt(&values(static_cast<Index>(m), begin), size, xt::no_ownership(), std::array<std::size_t, 1>{size}));
  });
  for (const Index query : repeating)
    if (query >= 0) [[unlikely]]
      fail("ranking_metrics",
           "ranked holds a relevant item of query " + std::to_string(query) + " twice, but items must not repeat");
}

}  // namespace twotower::evaluation
