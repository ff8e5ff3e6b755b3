#pragma once
// How an epoch's positives become batches of pairs, each with a target: what a ranker is trained on.
#include <optional>
#include <span>
#include <vector>

#include "twotower/data/batch_plan.hpp"

namespace twotower::data {

/// One training step's pairs. Those of row r of `rows` are [offsets[r], offsets[r + 1]): the row's positives, then its negatives.
struct PairBatch {
  Batch rows;                         // queries, histories; its candidates are the distinct items of the pairs
  std::vector<std::int64_t> offsets;  // (rows + 1) into the pairs
  std::vector<Row> user_of_pair;      // (pairs) row
  std::vector<Row> item_of_pair;      // (pairs) place among the candidates
  std::vector<float> targets;         // (pairs)
  std::vector<float> weights;         // (pairs) a negative weighs as the positive it was drawn for
};

struct PairSpec {
  BatchSpec batches;    // its own negatives are for softmax and must be none
  Index negatives = 0;  // a positive
};

/// A BatchPlan whose rows get targets and negatives of their own.
///
/// A negative is drawn uniformly from the query's pool, or without pools from the catalogue, and is nothing the query has seen;
/// a draw that does not find one in kTries is left out (someone who has seen everything has no negatives).
class PairPlan {
 public:
  static constexpr int kTries = 32;

  /// Keeps references to `interactions` and views of the rest.
  ///
  /// targets     (pairs of the interactions) what each is worth; empty: 1. Negatives are worth 0.
  /// pools       a list of items a query, negatives to draw from; null: the catalogue. Weights are not read.
  /// lists       as BatchPlan has them
  /// Throws      invalid_argument and out_of_range where sizes do not fit or a target is not finite
  PairPlan(const Interactions& interactions, const PairSpec& spec, std::uint64_t seed, std::span<const float> targets = {},
           const ItemLists* pools = nullptr, const ItemLists* lists = nullptr);

  Index batches_per_epoch() const { return plan_.batches_per_epoch(); }

  /// As BatchPlan::write.
  void write(Index epoch, Index batch, PairBatch& out);

 private:
  void write_row(std::size_t row, RandomStream& stream, PairBatch& out);
  std::optional<Row> draw(Row query, RandomStream& stream) const;
  Row column_of(Row item, Batch& rows);

  const Interactions& interactions_;
  PairSpec spec_;
  std::uint64_t seed_;
  std::span<const float> targets_;
  const ItemLists* pools_;
  BatchPlan plan_;
  std::vector<Row> column_;  // (items) place in the batch being written, -1 outside
};

}  // namespace twotower::data
