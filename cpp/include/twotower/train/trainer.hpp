#pragma once
// The only file that knows model, loss and optimizer together: order of a step, batches, workspaces.
#include <array>
#include <vector>

#include "twotower/data/batch_plan.hpp"
#include "twotower/model/two_tower.hpp"
#include "twotower/train/course.hpp"
#include "twotower/train/softmax_loss.hpp"

namespace twotower::train {

struct TrainerSpec {
  data::BatchSpec batches;
  OptimizerSpec optimizer;
  Schedule schedule;
  Index epochs = 20;  // what the schedule counts on
  std::uint64_t seed = 0;
  std::vector<std::uint8_t> trainable_items = {};  // (items) 0: the rows of this item's tables stay as they are; empty: all learn
};

/// Trains a two-tower model by in-batch sampled softmax, some steps at a time.
///
/// Ensures     between calls of run_steps the model holds the parameters of the last finished step, up to rows that Adam has not
///             caught up; finish() does that, and training may go on after it
/// Throws      NumericalError where the loss is no finite number; the parameters are those of the step before
class Trainer {
 public:
  /// Keeps references to the model, the tables behind the sides and the interactions, and views of `lists` (see BatchPlan). Rows
  /// of the queries' contexts are numbers of the interactions' pairs.
  Trainer(model::TwoTower<float>& model, const model::SideData& queries, const model::SideData& items,
          const data::Interactions& interactions, const TrainerSpec& spec, const data::ItemLists* lists = nullptr);

  Index steps_per_epoch() const { return course_.steps_per_epoch(); }
  Index total_steps() const { return course_.total_steps(); }
  Index step() const { return course_.step(); }
  double learning_rate() const { return course_.learning_rate(); }

  /// Runs up to `count` steps, fewer where total_steps() is reached.
  Progress run_steps(Index count, const Threads& threads);

  void finish(const Threads& threads) { course_.finish(threads); }

  /// To be taken after finish(), and given to the trainer of a grown model before its first step.
  Optimizer<float>& optimizer() { return course_.optimizer(); }

 private:
  /// A batch and what belongs to it alone. While one is learned from, the next is made ready: that reads no parameter.
  struct Slot {
    Index step = -1;  // the step that it is ready for
    data::Batch batch;
    model::TowerScratch<float> query, item;
    std::vector<nn::RowTouch> bias_touches;
    std::vector<float> dbias;
    std::vector<nn::RowGradients<float>> row_gradients;  // one a table
  };

  void check(const data::Interactions& interactions) const;
  nn::Pass pass_of(Index step) const;
  model::TowerRows query_rows(const data::Batch& batch) const;
  model::TowerRows item_rows(const data::Batch& batch) const;
  Slot& slot_of(Index step) { return slots_[static_cast<std::size_t>(step % 2)]; }
  void make_ready(Slot& slot, Index step, const Threads& threads);
  void sort_touches(Slot& slot, const Threads& threads);
  double run_step(const Threads& threads);
  void forward(Slot& slot, const Threads& threads);
  double loss_and_gradients(Slot& slot, const Threads& threads);
  void backward(Slot& slot, const Threads& threads);
  [[noreturn]] void explain_failure(const Slot& slot, double loss) const;

  model::TwoTower<float>& model_;
  model::SideData queries_, items_;
  TrainerSpec spec_;
  data::BatchPlan plan_;
  Course course_;
  SoftmaxLoss<float> loss_;

  std::array<Slot, 2> slots_;  // of this step and the next, by turns
  std::vector<float> bias_, darena_;
};

}  // namespace twotower::train
