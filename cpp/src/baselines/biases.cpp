#include "twotower/baselines/biases.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "twotower/base/check.hpp"

namespace twotower::baselines {
namespace {

constexpr const char* kName = "fit_biases";
constexpr Index kRowBlock = 256;
constexpr int kMostTurns = 200;
constexpr double kStill = 1e-9;  // of the largest deviation of a rating: a smaller change is none

/// The best bias of every row while those of the columns stay; gives the largest change.
double turn(const SparseRows& ratings, double mean, const std::vector<double>& of_column, double shrink, const Threads& threads,
            std::vector<double>& of_row) {
  std::vector<double> changes(of_row.size());
  threads.for_blocks(ratings.rows(), kRowBlock, [&](Index begin, Index end, Index) {
    for (Index row = begin; row < end; ++row) {
      const std::span<const Row> columns = ratings.columns_of(row);
      const std::span<const float> values = ratings.values_of(row);
      if (columns.empty()) continue;
      double sum = 0;
      for (std::size_t k = 0; k < columns.size(); ++k)
        sum += static_cast<double>(values[k]) - mean - of_column[static_cast<std::size_t>(columns[k])];
      const double bias = sum / (static_cast<double>(columns.size()) + shrink);
      changes[static_cast<std::size_t>(row)] = std::abs(bias - of_row[static_cast<std::size_t>(row)]);
      of_row[static_cast<std::size_t>(row)] = bias;
    }
  });
  return changes.empty() ? 0.0 : *std::max_element(changes.begin(), changes.end());
}

}  // namespace

Biases fit_biases(const SparseRows& ratings, double query_shrink, double item_shrink, const Threads& threads) {
  check_at_least(kName, "the number of ratings", std::ssize(ratings.values()), 1);
  check_in_range(kName, "query_shrink", query_shrink, 0, std::numeric_limits<double>::max());
  check_in_range(kName, "item_shrink", item_shrink, 0, std::numeric_limits<double>::max());
  double sum = 0, largest = 0;
  for (const float value : ratings.values()) sum += static_cast<double>(value);
  const double mean = sum / static_cast<double>(ratings.values().size());
  for (const float value : ratings.values()) largest = std::max(largest, std::abs(static_cast<double>(value) - mean));
  const SparseRows of_item = ratings.transposed();
  std::vector<double> queries(static_cast<std::size_t>(ratings.rows())), items(static_cast<std::size_t>(of_item.rows()));
  for (int turns = 0; turns < kMostTurns; ++turns) {
    const double change = std::max(turn(of_item, mean, queries, item_shrink, threads, items),
                                   turn(ratings, mean, items, query_shrink, threads, queries));
    if (change <= kStill * largest) break;
  }
  return {mean, {queries.begin(), queries.end()}, {items.begin(), items.end()}};
}

}  // namespace twotower::baselines
