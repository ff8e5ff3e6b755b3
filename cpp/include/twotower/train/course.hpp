#pragma once
// The course of a training: what every trainer does around its model's forward and backward.
#include <span>
#include <string_view>

#include "twotower/base/check.hpp"
#include "twotower/data/batch_plan.hpp"
#include "twotower/model/tower.hpp"
#include "twotower/train/optimizer.hpp"
#include "twotower/train/schedule.hpp"

namespace twotower::train {

/// Checks that both sides' tables fit the interactions, that the tower of the asking side reads histories if there are some, and
/// that rows with contexts stand alone. `side` and `sides` are that side's names in the sentences: "user" and "users".
void check_sides(const char* name, std::string_view side, std::string_view sides, const model::Tower& tower,
                 const model::SideData& asking, const model::SideData& items, const data::Interactions& interactions,
                 const data::BatchSpec& batches);

struct CourseSpec {
  OptimizerSpec optimizer;
  Schedule schedule;
  Index epochs = 20;  // what the schedule counts on
};

/// Counts steps, sets the learning rate of each and turns gradients into parameters.
///
///   course.run(count, threads, [&] {
///     ... which rows of which table this batch reads: gradients[table].sort()
///     course.catch_up(gradients, threads);
///     ... forward, loss, perhaps course.give_up(), backward
///     course.update(gradients, darena, threads);
///     return Course::Step{loss, examples};
///   });
class Course {
 public:
  /// What one step did.
  struct Step {
    double loss;
    Index examples;
  };

  /// Keeps a reference to the parameters, and `name`, the trainer's, for its sentences. Throws invalid_argument where the
  /// specification is out of range.
  Course(const char* name, nn::Parameters<float>& parameters, const CourseSpec& spec, Index steps_per_epoch);

  Index steps_per_epoch() const { return steps_per_epoch_; }
  Index total_steps() const { return spec_.epochs * steps_per_epoch_; }
  Index step() const { return step_; }
  double learning_rate() const;

  /// Runs up to `count` steps, fewer where total_steps() is reached. Throws invalid_argument for a count below 1.
  template <class Body>
  Progress run(Index count, const Threads& threads, const Body& take_step) {
    check_at_least(name_, "number of steps", count, 1);
    Progress progress;
    threads.inside([&] {
      for (; progress.steps < count && step_ < total_steps(); ++progress.steps) {
        const Step step = take_step();
        progress.loss += step.loss;
        progress.examples += step.examples;
      }
    });
    if (progress.steps > 0) progress.loss /= static_cast<double>(progress.steps);
    return progress;
  }

  /// Brings the rows that a step is about to read to the state of the last step; one list of gradients a table, sorted.
  void catch_up(std::span<const nn::RowGradients<float>> gradients, const Threads& threads);

  /// Ends the step: the arena's gradient and those of the tables' rows become new parameters.
  void update(std::span<const nn::RowGradients<float>> gradients, std::span<const float> darena, const Threads& threads);

  /// Brings all parameters up to the last step; training may go on after it.
  void finish(const Threads& threads) { optimizer_.finish(parameters_, threads); }

  /// Throws NumericalError for a loss that is no finite number: "PairTrainer: the loss is nan at step 1 (epoch 1, learning rate
  /// 1e+30): `culprit`; try `cure`".
  [[noreturn]] void give_up(double loss, std::string_view culprit, std::string_view cure) const;

  Optimizer<float>& optimizer() { return optimizer_; }

 private:
  const char* name_;
  nn::Parameters<float>& parameters_;
  CourseSpec spec_;
  Index steps_per_epoch_;
  Optimizer<float> optimizer_;
  Index step_ = 0;
};

}  // namespace twotower::train
