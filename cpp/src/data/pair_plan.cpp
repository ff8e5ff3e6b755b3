#include "twotower/data/pair_plan.hpp"

#include <algorithm>

#include "twotower/base/check.hpp"

namespace twotower::data {

PairPlan::PairPlan(const Interactions& interactions, const PairSpec& spec, std::uint64_t seed, std::span<const float> targets,
                   const ItemLists* pools, const ItemLists* lists)
    : interactions_(interactions),
      spec_(spec),
      seed_(seed),
      targets_(targets),
      pools_(pools),
      plan_(interactions, spec.batches, seed, lists),
      column_(static_cast<std::size_t>(interactions.num_items()), -1) {
  constexpr const char* kName = "PairPlan";
  check_at_least(kName, "negatives", spec.negatives, 0);
  check_size(kName, "negatives of the batches", spec.batches.negatives.count, "none", 0);
  if (pools) {
    check_size(kName, "size of pool offsets", std::ssize(pools->offsets), "num_queries of the interactions + 1",
               interactions.num_queries() + 1);
    check_offsets(kName, "pool offsets", pools->offsets, std::ssize(pools->items));
    check_rows(kName, "pool items", pools->items, interactions.num_items());
  }
  if (targets.empty()) return;
  const auto& pairs = interactions.pairs();
  check_at_least(kName, "size of targets", std::ssize(targets), Index{*std::max_element(pairs.begin(), pairs.end())} + 1);
  check_finite(kName, "targets", targets);
}

void PairPlan::write(Index epoch, Index batch, PairBatch& out) {
  plan_.write(epoch, batch, out.rows);
  for (std::size_t c = 0; c < out.rows.candidates.size(); ++c)
    column_[static_cast<std::size_t>(out.rows.candidates[c])] = static_cast<Row>(c);
  out.offsets.assign(1, 0);
  out.user_of_pair.clear();
  out.item_of_pair.clear();
  out.targets.clear();
  out.weights.clear();
  RandomStream stream(seed_, Purpose::kNegative, static_cast<std::uint64_t>(epoch), static_cast<std::uint64_t>(batch));
  for (std::size_t row = 0; row < out.rows.queries.size(); ++row) {
    write_row(row, stream, out);
    out.user_of_pair.resize(out.item_of_pair.size(), static_cast<Row>(row));
    out.offsets.push_back(std::ssize(out.item_of_pair));
  }
  for (const Row item : out.rows.candidates) column_[static_cast<std::size_t>(item)] = -1;
}

void PairPlan::write_row(std::size_t row, RandomStream& stream, PairBatch& out) {
  const auto first = static_cast<std::size_t>(out.rows.offsets[row]), last = static_cast<std::size_t>(out.rows.offsets[row + 1]);
  for (std::size_t p = first; p < last; ++p) {
    out.item_of_pair.push_back(out.rows.positive_columns[p]);
    out.targets.push_back(targets_.empty() ? 1.0F : targets_[static_cast<std::size_t>(out.rows.positive_pairs[p])]);
    out.weights.push_back(out.rows.positive_weights[p]);
  }
  for (std::size_t p = first; p < last; ++p)
    for (Index k = 0; k < spec_.negatives; ++k) {
      const std::optional<Row> item = draw(out.rows.queries[row], stream);
      if (!item) continue;
      out.item_of_pair.push_back(column_of(*item, out.rows));
      out.targets.push_back(0);
      out.weights.push_back(out.rows.positive_weights[p]);
    }
}

std::optional<Row> PairPlan::draw(Row query, RandomStream& stream) const {
  const std::span<const Row> seen = interactions_.seen().of(query);
  std::span<const Row> pool;
  if (pools_) {
    const auto begin = pools_->offsets[static_cast<std::size_t>(query)],
               end = pools_->offsets[static_cast<std::size_t>(query) + 1];
    pool = pools_->items.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    if (pool.empty()) return std::nullopt;
  }
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const Row item = pools_ ? pool[static_cast<std::size_t>(stream.below(std::ssize(pool)))]
                            : static_cast<Row>(stream.below(interactions_.num_items()));
    if (!std::binary_search(seen.begin(), seen.end(), item)) return item;
  }
  return std::nullopt;
}

Row PairPlan::column_of(Row item, Batch& rows) {
  Row& column = column_[static_cast<std::size_t>(item)];
  if (column < 0) {
    column = static_cast<Row>(rows.candidates.size());
    rows.candidates.push_back(item);
  }
  return column;
}

}  // namespace twotower::data
