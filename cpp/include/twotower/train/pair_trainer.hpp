#pragma once
// Trains a PairScorer: order of a step, batches, workspaces. What Trainer is for two towers.
#include <optional>
#include <span>
#include <vector>

#include "twotower/data/pair_plan.hpp"
#include "twotower/model/pair_scorer.hpp"
#include "twotower/train/course.hpp"
#include "twotower/train/list_loss.hpp"

namespace twotower::train {

struct PairTrainerSpec {
  data::PairSpec pairs;
  ListLoss loss;
  OptimizerSpec optimizer;
  Schedule schedule;
  Index epochs = 20;       // what the schedule counts on
  double shrink = 0;       // L2 of the towers' vectors, see PairScorer::backward
  double bias_shrink = 0;  // of the biases
  std::uint64_t seed = 0;
};

/// What comes with the pairs beside the towers' data; views.
struct PairExtras {
  std::span<const float> targets;          // see PairPlan
  const data::ItemLists* pools = nullptr;  // see PairPlan
  const data::ItemLists* lists = nullptr;  // see BatchPlan
  // With Meeting::given: vectors whose dot product is the number that comes with a pair, a retriever's score.
  std::optional<ConstRowMap<float>> given_users, given_items;  // (queries, width), (items, width)
};

/// Trains some steps at a time.
///
/// Ensures     between calls of run_steps the model holds the parameters of the last finished step, up to rows that Adam has not
///             caught up; finish() does that, and training may go on after it
/// Throws      NumericalError where the loss is no finite number; the parameters are those of the step before
class PairTrainer {
 public:
  /// Keeps references to the model, the tables behind the sides and the interactions, and the views of `extras`.
  PairTrainer(model::PairScorer<float>& model, const model::SideData& users, const model::SideData& items,
              const data::Interactions& interactions, const PairTrainerSpec& spec, const PairExtras& extras = {});

  Index steps_per_epoch() const { return course_.steps_per_epoch(); }
  Index total_steps() const { return course_.total_steps(); }
  Index step() const { return course_.step(); }
  double learning_rate() const { return course_.learning_rate(); }

  /// Runs up to `count` steps, fewer where total_steps() is reached; examples are pairs, negatives counted.
  Progress run_steps(Index count, const Threads& threads);

  void finish(const Threads& threads) { course_.finish(threads); }

 private:
  double run_step(const Threads& threads);
  // Scores, loss and what it makes of the head's parameters and of the towers' vectors.
  double list_by_list(const model::PairRows& pairs, const nn::Pass& pass, const Threads& threads);
  double pair_by_pair(const model::PairRows& pairs, const nn::Pass& pass, const Threads& threads);
  void write_given(const Threads& threads);
  void sort_touches(const Threads& threads);
  [[noreturn]] void explain_failure(double loss) const;
  model::PairRows rows() const;

  model::PairScorer<float>& model_;
  model::SideData users_, items_;
  PairTrainerSpec spec_;
  PairExtras extras_;
  data::PairPlan plan_;
  Course course_;

  // Scratch of a step.
  data::PairBatch batch_;
  std::vector<float> given_;
  std::vector<double> losses_;  // one a block of pairs
  model::PairScratch<float> scratch_;
  std::vector<nn::RowGradients<float>> row_gradients_;  // one a table
  std::vector<float> darena_;
};

}  // namespace twotower::train
