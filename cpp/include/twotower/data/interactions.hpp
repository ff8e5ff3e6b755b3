#pragma once
// Who met what: the training positives and everything seen, one list a query.
#include <optional>
#include <span>
#include <vector>

#include "twotower/base/types.hpp"

namespace twotower::data {

/// One list of item rows a query: the items of query q are items[offsets[q] .. offsets[q + 1]).
struct Lists {
  std::vector<std::int64_t> offsets;  // (queries + 1)
  std::vector<Row> items;

  std::span<const Row> of(Index query) const {
    const auto begin = offsets[static_cast<std::size_t>(query)], end = offsets[static_cast<std::size_t>(query) + 1];
    return {items.data() + begin, static_cast<std::size_t>(end - begin)};
  }
};

/// Pairs of a query and an item, sorted by query once.
///
/// A pair of weight 0 counts as seen, but is no positive: this is how a low rating stays out of training and out of the lists.
///
/// Shapes      query_rows, item_rows, weights, history_weights, sessions (pairs)
/// Requires    sessions do not fall from one pair of a query to its next
/// Throws      invalid_argument for weights that are negative or not finite; out_of_range for a row outside its table
class Interactions {
 public:
  Interactions(std::span<const Row> query_rows, std::span<const Row> item_rows, std::optional<std::span<const float>> weights,
               Index num_queries, Index num_items, std::optional<std::span<const float>> history_weights = {},
               std::optional<std::span<const Row>> sessions = {});

  Index num_queries() const { return static_cast<Index>(positives_.offsets.size()) - 1; }
  Index num_items() const { return num_items_; }
  Index num_positives() const { return static_cast<Index>(positives_.items.size()); }

  /// In the order in which the pairs came; an item that came twice is here twice.
  const Lists& positives() const { return positives_; }

  /// Weight of each positive, parallel to positives().items; empty where every weight is 1.
  const std::vector<float>& weights() const { return weights_; }

  /// What each positive weighs as a part of its query's history, parallel to positives().items; empty where all weigh 1.
  const std::vector<float>& history_weights() const { return history_weights_; }

  /// Session of each positive, parallel to positives().items: numbers that do not fall within a query; empty where not given.
  const std::vector<Row>& sessions() const { return sessions_; }

  /// Number of the pair that each positive is, as they came, parallel to positives().items.
  const std::vector<Row>& pairs() const { return pairs_; }

  /// Ascending, each item once; the pairs of weight 0 too.
  const Lists& seen() const { return seen_; }

  /// Positives of each item (num_items), repeats counted.
  std::vector<double> item_counts() const;

 private:
  void check_sessions() const;

  Index num_items_;
  Lists positives_, seen_;
  std::vector<float> weights_, history_weights_;
  std::vector<Row> pairs_, sessions_;
};

}  // namespace twotower::data
