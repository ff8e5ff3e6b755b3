#include "twotower/retrieval/top_k_of_profiles.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "twotower/base/check.hpp"
#include "twotower/retrieval/keeper.hpp"

namespace twotower::retrieval {
namespace {

constexpr const char* kName = "top_k_of_profiles";
constexpr const char* kPairs = "score_profile_pairs";
constexpr Index kQueryBlock = 16;  // queries a task, which share scratch
constexpr Index kScanItems = 64;   // scores that are compared with the bound together

struct SparsePostings {
  const SparseRows& table;

  Index features() const { return table.rows(); }
  Index items() const { return table.num_columns(); }

  void add(Index feature, float weight, float* scores) const {
    const std::span<const Row> items = table.columns_of(feature);
    const std::span<const float> values = table.values_of(feature);
    for (std::size_t k = 0; k < items.size(); ++k) scores[items[k]] += weight * values[k];
  }
};

struct DensePostings {
  ConstRows<float> table;

  Index features() const { return table.rows(); }
  Index items() const { return table.cols(); }

  void add(Index feature, float weight, float* scores) const {
    const float* values = table.row(feature).data();
    for (Index item = 0; item < table.cols(); ++item) scores[item] += weight * values[item];
  }
};

/// Scores of every item for one profile after the other, in scratch of its own.
template <class Postings>
class Scores {
 public:
  Scores(const SparseRows& profiles, const Postings& postings)
      : profiles_(profiles), postings_(postings), scores_(static_cast<std::size_t>(postings.items())) {}

  const std::vector<float>& of(Index profile) {
    std::fill(scores_.begin(), scores_.end(), 0.0F);
    const std::span<const Row> features = profiles_.columns_of(profile);
    const std::span<const float> weights = profiles_.values_of(profile);
    for (std::size_t k = 0; k < features.size(); ++k) postings_.add(features[k], weights[k], scores_.data());
    return scores_;
  }

 private:
  const SparseRows& profiles_;
  const Postings& postings_;
  std::vector<float> scores_;
};

/// Offers the items [begin, end) that may come and can still be among the best.
class Offers {
 public:
  Offers(const std::vector<float>& scores, const Filters& filters, Index query, Keeper& keeper)
      : scores_(scores), filters_(filters), exclusions_(filters, query, 0), keeper_(keeper) {}

  void every_item() {
    const Index items = std::ssize(scores_);
    for (Index begin = 0; begin < items; begin += kScanItems) {
      const Index end = std::min(items, begin + kScanItems);
      float largest = scores_[static_cast<std::size_t>(begin)];
      for (Index item = begin; item < end; ++item) largest = std::max(largest, scores_[static_cast<std::size_t>(item)]);
      if (largest <= keeper_.bound()) continue;
      for (Index item = begin; item < end; ++item) one(static_cast<Row>(item));
    }
  }

  // Rows ascend in a list too; one that comes again is the same item.
  void listed(std::span<const Row> list) {
    for (std::size_t k = 0; k < list.size(); ++k)
      if (k == 0 || list[k] != list[k - 1]) one(list[k]);
  }

 private:
  void one(Row item) {
    const float score = scores_[static_cast<std::size_t>(item)];
    if (score <= keeper_.bound()) return;
    if (filters_.allowed && (*filters_.allowed)[static_cast<std::size_t>(item)] == 0) return;
    if (exclusions_.pass(item)) keeper_.offer(key_of(score, item));
  }

  const std::vector<float>& scores_;
  const Filters& filters_;
  Exclusions exclusions_;
  Keeper& keeper_;
};

template <class Postings>
void top_k(const SparseRows& profiles, const Postings& postings, std::span<const Row> queries, Index k, const Filters& filters,
           const Threads& threads, Rows<Row> rows, Rows<float> scores) {
  const Index count = std::ssize(queries), items = postings.items();
  check_at_least(kName, "k", k, 1);
  check_size(kName, "the number of features of the profiles", profiles.num_columns(), "that of the postings",
             postings.features());
  check_rows(kName, "queries", queries, profiles.rows());
  check_size(kName, "the number of result rows", rows.rows(), "the number of queries", count);
  check_size(kName, "the number of result scores", scores.rows(), "the number of queries", count);
  check_size(kName, "the width of the result rows", rows.cols(), "k", k);
  check_size(kName, "the width of the result scores", scores.cols(), "k", k);
  check_filters(kName, filters, count, items, threads);
  const Index kept = std::min(k, items);
  threads.for_blocks(count, kQueryBlock, [&](Index begin, Index end, Index) {
    Scores<Postings> all(profiles, postings);
    std::vector<Key> keys(static_cast<std::size_t>(Keeper::capacity(kept, items)));
    for (Index query = begin; query < end; ++query) {
      if (kept == 0) {
        write_best({}, query, rows, scores);
        continue;
      }
      Keeper keeper(keys, kept);
      Offers offers(all.of(queries[static_cast<std::size_t>(query)]), filters, query, keeper);
      if (filters.listed && filters.listed->has(query))
        offers.listed(filters.listed->of(query));
      else
        offers.every_item();
      write_best(keeper.best(), query, rows, scores);
    }
  });
}

template <class Postings>
void score_pairs(const SparseRows& profiles, const Postings& postings, std::span<const Row> queries, std::span<const Row> items,
                 const Threads& threads, std::span<float> scores) {
  check_size(kPairs, "the number of items", std::ssize(items), "the number of queries", std::ssize(queries));
  check_size(kPairs, "the number of scores", std::ssize(scores), "the number of queries", std::ssize(queries));
  check_size(kPairs, "the number of features of the profiles", profiles.num_columns(), "that of the postings",
             postings.features());
  check_rows(kPairs, "queries", queries, profiles.rows());
  check_rows(kPairs, "items", items, postings.items());
  // Pairs of one query side by side, so that its scores are made once.
  std::vector<Index> order(queries.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](Index a, Index b) { return queries[static_cast<std::size_t>(a)] < queries[static_cast<std::size_t>(b)]; });
  std::vector<std::size_t> starts;
  for (std::size_t k = 0; k < order.size(); ++k)
    if (k == 0 || queries[static_cast<std::size_t>(order[k])] != queries[static_cast<std::size_t>(order[k - 1])])
      starts.push_back(k);
  starts.push_back(order.size());
  threads.for_blocks(std::ssize(starts) - 1, kQueryBlock, [&](Index begin, Index end, Index) {
    Scores<Postings> all(profiles, postings);
    for (Index group = begin; group < end; ++group) {
      const std::size_t first = starts[static_cast<std::size_t>(group)], last = starts[static_cast<std::size_t>(group) + 1];
      const std::vector<float>& found = all.of(queries[static_cast<std::size_t>(order[first])]);
      for (std::size_t k = first; k < last; ++k) {
        const auto pair = static_cast<std::size_t>(order[k]);
        scores[pair] = found[static_cast<std::size_t>(items[pair])] + 0.0F;  // -0 becomes 0, as in a key
      }
    }
  });
}

}  // namespace

void top_k_of_profiles(const SparseRows& profiles, const SparseRows& postings, std::span<const Row> queries, Index k,
                       const Filters& filters, const Threads& threads, Rows<Row> rows, Rows<float> scores) {
  top_k(profiles, SparsePostings{postings}, queries, k, filters, threads, rows, scores);
}

void top_k_of_profiles(const SparseRows& profiles, ConstRows<float> postings, std::span<const Row> queries, Index k,
                       const Filters& filters, const Threads& threads, Rows<Row> rows, Rows<float> scores) {
  top_k(profiles, DensePostings{postings}, queries, k, filters, threads, rows, scores);
}

void score_profile_pairs(const SparseRows& profiles, const SparseRows& postings, std::span<const Row> queries,
                         std::span<const Row> items, const Threads& threads, std::span<float> scores) {
  score_pairs(profiles, SparsePostings{postings}, queries, items, threads, scores);
}

void score_profile_pairs(const SparseRows& profiles, ConstRows<float> postings, std::span<const Row> queries,
                         std::span<const Row> items, const Threads& threads, std::span<float> scores) {
  score_pairs(profiles, DensePostings{postings}, queries, items, threads, scores);
}

}  // namespace twotower::retrieval
