#include "twotower/data/interactions.hpp"

#include <algorithm>
#include <limits>
#include <string>

#include "twotower/base/check.hpp"
#include "twotower/base/memory.hpp"

namespace twotower::data {
namespace {

constexpr const char* kName = "Interactions";

void check_weights(std::string_view name, const std::optional<std::span<const float>>& weights, std::size_t pairs) {
  if (!weights) return;
  check_size(kName, "size of " + std::string(name), std::ssize(*weights), "size of query_rows", static_cast<Index>(pairs));
  check_finite(kName, name, *weights);
  check_not_negative(kName, name, *weights);
}

std::vector<std::int64_t> running_sum(std::vector<std::int64_t> counts_after_a_zero) {
  for (std::size_t i = 1; i < counts_after_a_zero.size(); ++i) counts_after_a_zero[i] += counts_after_a_zero[i - 1];
  return counts_after_a_zero;
}

}  // namespace

Interactions::Interactions(std::span<const Row> query_rows, std::span<const Row> item_rows,
                           std::optional<std::span<const float>> weights, Index num_queries, Index num_items,
                           std::optional<std::span<const float>> history_weights, std::optional<std::span<const Row>> sessions)
    : num_items_(num_items) {
  check_at_least(kName, "num_queries", num_queries, 1);
  check_at_least(kName, "num_items", num_items, 1);
  check_in_range(kName, "number of pairs", static_cast<double>(query_rows.size()), 0, std::numeric_limits<Row>::max());
  check_size(kName, "size of item_rows", std::ssize(item_rows), "size of query_rows", std::ssize(query_rows));
  check_rows(kName, "query_rows", query_rows, num_queries);
  check_rows(kName, "item_rows", item_rows, num_items);
  check_weights("weights", weights, query_rows.size());
  check_weights("history_weights", history_weights, query_rows.size());
  if (sessions) check_size(kName, "size of sessions", std::ssize(*sessions), "size of query_rows", std::ssize(query_rows));
  const auto weight = [&](std::size_t pair) { return weights ? (*weights)[pair] : 1.0F; };
  const bool weighted = weights && std::any_of(weights->begin(), weights->end(), [](float w) { return w != 0 && w != 1; });

  std::vector<std::int64_t> seen_counts(static_cast<std::size_t>(num_queries) + 1), positive_counts(seen_counts);
  for (std::size_t pair = 0; pair < query_rows.size(); ++pair) {
    const auto after = static_cast<std::size_t>(query_rows[pair]) + 1;
    ++seen_counts[after];
    if (weight(pair) > 0) ++positive_counts[after];
  }
  seen_.offsets = running_sum(std::move(seen_counts));
  positives_.offsets = running_sum(std::move(positive_counts));
  seen_.items.resize(query_rows.size());
  for (std::vector<Row>* places : {&positives_.items, &pairs_}) {  // batches read them here and there
    places->reserve(static_cast<std::size_t>(positives_.offsets.back()));
    prefer_huge_pages(places->data(), places->capacity() * sizeof(Row));
    places->resize(places->capacity());
  }
  if (weighted) weights_.resize(positives_.items.size());
  if (history_weights) history_weights_.resize(positives_.items.size());
  if (sessions) sessions_.resize(positives_.items.size());

  auto next_seen = seen_.offsets, next_positive = positives_.offsets;
  for (std::size_t pair = 0; pair < query_rows.size(); ++pair) {
    const auto query = static_cast<std::size_t>(query_rows[pair]);
    seen_.items[static_cast<std::size_t>(next_seen[query]++)] = item_rows[pair];
    if (weight(pair) > 0) {
      const auto place = static_cast<std::size_t>(next_positive[query]++);
      positives_.items[place] = item_rows[pair];
      pairs_[place] = static_cast<Row>(pair);
      if (weighted) weights_[place] = weight(pair);
      if (history_weights) history_weights_[place] = (*history_weights)[pair];
      if (sessions) sessions_[place] = (*sessions)[pair];
    }
  }

  if (sessions) check_sessions();

  // Sort each list of seen items and close the gaps that repeats leave.
  std::int64_t kept = 0;
  for (std::size_t query = 0; query + 1 < seen_.offsets.size(); ++query) {
    const auto begin = seen_.items.begin() + seen_.offsets[query], end = seen_.items.begin() + seen_.offsets[query + 1];
    std::sort(begin, end);
    const auto last = std::unique(begin, end);
    seen_.offsets[query] = kept;
    kept = std::move(begin, last, seen_.items.begin() + kept) - seen_.items.begin();
  }
  seen_.offsets.back() = kept;
  seen_.items.resize(static_cast<std::size_t>(kept));
  seen_.items.shrink_to_fit();
}

void Interactions::check_sessions() const {
  for (std::size_t query = 0; query + 1 < positives_.offsets.size(); ++query)
    for (auto place = positives_.offsets[query] + 1; place < positives_.offsets[query + 1]; ++place) {
      const auto here = static_cast<std::size_t>(place);
      if (sessions_[here] < sessions_[here - 1])
        fail(kName, "sessions[" + std::to_string(pairs_[here]) + "] is " + std::to_string(sessions_[here]) +
                        ", but must not be below that of the query's positive before it, which is " +
                        std::to_string(sessions_[here - 1]));
    }
}

std::vector<double> Interactions::item_counts() const {
  std::vector<double> counts(static_cast<std::size_t>(num_items_));
  for (const Row item : positives_.items) ++counts[static_cast<std::size_t>(item)];
  return counts;
}

}  // namespace twotower::data
