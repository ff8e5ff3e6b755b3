#pragma once
// Trains a PairScorer for two tasks at once: its towers' vectors retrieve, its head predicts ratings.
#include <span>
#include <vector>

#include "twotower/data/batch_plan.hpp"
#include "twotower/model/pair_scorer.hpp"
#include "twotower/train/course.hpp"
#include "twotower/train/list_loss.hpp"
#include "twotower/train/softmax_loss.hpp"

namespace twotower::train {

struct MultiTaskSpec {
  data::BatchSpec batches;
  double retrieval_weight = 1;  // of the softmax loss; 0 leaves it out
  double rating_weight = 1;     // of the rating loss; 0 leaves it out
  double temperature = 0.2;     // of the softmax loss
  Index bias_table = -1;  // number of a table of one column, a retrieval bias for each code of the items' first input; or none
  ListLoss rating;        // pointwise
  OptimizerSpec optimizer;
  Schedule schedule;
  Index epochs = 20;  // what the schedule counts on
  double shrink = 0;  // see PairScorer::backward
  double bias_shrink = 0;
  std::uint64_t seed = 0;
};

/// One step: the towers forward once; softmax over the batch's candidates, and the rating loss on its positive pairs; the
/// weighted gradients of both added; the towers backward once.
///
/// With retrieval_weight 0 (and no drawn negatives) a step is that of a PairTrainer without negatives, with rating_weight 0 that
/// of a Trainer on the same towers: the same bytes.
///
/// Ensures     as PairTrainer
/// Throws      as PairTrainer
class MultiTaskTrainer {
 public:
  /// Keeps references to the model, the tables behind the sides and the interactions, and views of `targets` and `lists`.
  ///
  /// targets     (pairs of the interactions) the ratings
  /// lists       as BatchPlan has them
  MultiTaskTrainer(model::PairScorer<float>& model, const model::SideData& users, const model::SideData& items,
                   const data::Interactions& interactions, const MultiTaskSpec& spec, std::span<const float> targets,
                   const data::ItemLists* lists = nullptr);

  Index steps_per_epoch() const { return course_.steps_per_epoch(); }
  Index total_steps() const { return course_.total_steps(); }
  Index step() const { return course_.step(); }
  double learning_rate() const { return course_.learning_rate(); }

  /// Runs up to `count` steps, fewer where total_steps() is reached; the loss is the weighted sum of both.
  Progress run_steps(Index count, const Threads& threads);

  void finish(const Threads& threads) { course_.finish(threads); }

 private:
  void check(const data::Interactions& interactions) const;
  void write_batch();
  model::PairRows rows() const;
  void sort_touches(const Threads& threads);
  double run_step(const Threads& threads);
  double rate(const Threads& threads);
  double retrieve(const Threads& threads);
  [[noreturn]] void explain_failure(double loss) const;

  model::PairScorer<float>& model_;
  model::SideData users_, items_;
  MultiTaskSpec spec_;
  std::span<const float> targets_;
  data::BatchPlan plan_;
  Course course_;
  SoftmaxLoss<float> softmax_;

  // Scratch of a step.
  data::Batch batch_;
  std::vector<Row> user_of_pair_;
  std::vector<float> ratings_;
  model::PairScratch<float> scratch_;
  Matrix<float> dusers_, ditems_;  // of the softmax loss
  std::vector<nn::RowTouch> bias_touches_;
  std::vector<float> bias_, dbias_;
  std::vector<nn::RowGradients<float>> row_gradients_;  // one a table
  std::vector<float> darena_;
};

}  // namespace twotower::train
