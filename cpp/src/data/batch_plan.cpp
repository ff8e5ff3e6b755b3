#include "twotower/data/batch_plan.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "twotower/base/check.hpp"

namespace twotower::data {

void BatchSpec::check() const {
  check_at_least("BatchPlan", "batch_size", batch_size, 1);
  check_at_least("BatchPlan", "group_size", group_size, 1);
  check_in_range("BatchPlan", "logq_strength", logq_strength, 0, 1);
  check_in_range("BatchPlan", "query_balance", query_balance, 0, 1);
  negatives.check();
}

BatchPlan::BatchPlan(const Interactions& interactions, const BatchSpec& spec, std::uint64_t seed)
    : interactions_(interactions), spec_(spec), seed_(seed) {
  spec.check();
  const Index positives = interactions.num_positives();
  check_at_least("BatchPlan", "number of positives", positives, 1);

  std::int64_t groups = 0;
  for (Index query = 0; query < interactions.num_queries(); ++query)
    groups += (std::ssize(interactions.positives().of(query)) + spec.group_size - 1) / spec.group_size;
  groups_.reserve(static_cast<std::size_t>(groups));
  batches_ = std::min<Index>((positives + spec.batch_size - 1) / spec.batch_size, groups);

  const double log_elsewhere = std::log1p(-1 / static_cast<double>(batches_));  // of one positive; -inf with a single batch
  const auto counts = interactions.item_counts();
  log_weight_.resize(counts.size());
  for (std::size_t item = 0; item < counts.size(); ++item) {
    const double share = counts[item] / static_cast<double>(positives);
    const double draw = spec.negatives.probability(share, interactions.num_items());
    const double undrawn = spec.negatives.count > 0 ? static_cast<double>(spec.negatives.count) * std::log1p(-draw) : 0;
    const double log_absent = (counts[item] > 0 ? counts[item] * log_elsewhere : 0) + undrawn;
    // An item that cannot be drawn never is a candidate; its weight does not matter, but must be finite.
    log_weight_[item] = log_absent < 0 ? static_cast<float>(-spec.logq_strength * std::log(-std::expm1(log_absent))) : 0;
  }
  column_.assign(counts.size(), -1);
  shuffled_.resize(static_cast<std::size_t>(positives));
}

void BatchPlan::arrange(Index epoch) {
  const auto& offsets = interactions_.positives().offsets;
  std::iota(shuffled_.begin(), shuffled_.end(), std::int64_t{0});
  groups_.clear();
  for (Index query = 0; query < interactions_.num_queries(); ++query) {
    const auto begin = offsets[static_cast<std::size_t>(query)], end = offsets[static_cast<std::size_t>(query) + 1];
    RandomStream stream(seed_, Purpose::kGroup, static_cast<std::uint64_t>(epoch), static_cast<std::uint64_t>(query));
    stream.shuffle(std::span(shuffled_).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
    for (auto first = begin; first < end; first += spec_.group_size)
      groups_.push_back({static_cast<Row>(query), first, std::min<std::int64_t>(end, first + spec_.group_size)});
  }
  RandomStream(seed_, Purpose::kOrder, static_cast<std::uint64_t>(epoch)).shuffle(std::span(groups_));
  epoch_ = epoch;
}

void BatchPlan::write(Index epoch, Index batch, Batch& out) {
  if (batch < 0 || batch >= batches_)
    fail("BatchPlan", "batch is " + std::to_string(batch) + ", but must be in [0, " + std::to_string(batches_) + ")");
  if (epoch != epoch_) arrange(epoch);
  const auto groups = static_cast<Index>(groups_.size());
  const auto first = static_cast<std::size_t>(groups * batch / batches_),
             last = static_cast<std::size_t>(groups * (batch + 1) / batches_);

  out.queries.clear();
  out.offsets.assign(1, 0);
  out.positive_columns.clear();
  out.positive_weights.clear();
  out.candidates.clear();
  double total = 0;
  for (std::size_t g = first; g < last; ++g) {
    const Group& group = groups_[g];
    const auto positives_of_query = static_cast<double>(interactions_.positives().of(group.query).size());
    const double balance = spec_.query_balance > 0 ? std::pow(positives_of_query, -spec_.query_balance) : 1;
    out.queries.push_back(group.query);
    for (auto place = group.begin; place < group.end; ++place) {
      const auto positive = static_cast<std::size_t>(shuffled_[static_cast<std::size_t>(place)]);
      const Row item = interactions_.positives().items[positive];
      const double weight =
          balance * (interactions_.weights().empty() ? 1.0 : static_cast<double>(interactions_.weights()[positive]));
      Row& column = column_[static_cast<std::size_t>(item)];
      if (column < 0) {
        column = static_cast<Row>(out.candidates.size());
        out.candidates.push_back(item);
      }
      out.positive_columns.push_back(column);
      out.positive_weights.push_back(static_cast<float>(weight));
      total += weight;
    }
    out.offsets.push_back(std::ssize(out.positive_columns));
  }
  for (float& weight : out.positive_weights) weight = static_cast<float>(weight / total);
  collect_candidates(epoch, batch, out);
}

/// Adds the drawn items, weighs all, and leaves column_ as it was.
void BatchPlan::collect_candidates(Index epoch, Index batch, Batch& out) {
  RandomStream stream(seed_, Purpose::kNegative, static_cast<std::uint64_t>(epoch), static_cast<std::uint64_t>(batch));
  for (Index draw = 0; draw < spec_.negatives.count; ++draw) {
    const Row item = spec_.negatives.draw(interactions_, stream);
    Row& column = column_[static_cast<std::size_t>(item)];
    if (column >= 0) continue;
    column = static_cast<Row>(out.candidates.size());
    out.candidates.push_back(item);
  }
  out.log_weights.clear();
  for (const Row item : out.candidates) {
    out.log_weights.push_back(log_weight_[static_cast<std::size_t>(item)]);
    column_[static_cast<std::size_t>(item)] = -1;
  }
}

}  // namespace twotower::data
