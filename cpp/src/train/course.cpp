#include "twotower/train/course.hpp"

#include <algorithm>
#include <string>

namespace twotower::train {

void check_sides(const char* name, std::string_view side, std::string_view sides, const model::Tower& tower,
                 const model::SideData& asking, const model::SideData& items, const data::Interactions& interactions,
                 const data::BatchSpec& batches) {
  const std::string one(side);
  check_size(name, "rows of the " + one + " features", asking.entities->rows(), "num_queries of the interactions",
             interactions.num_queries());
  check_size(name, "rows of the item features", items.entities->rows(), "num_items of the interactions",
             interactions.num_items());
  if (tower.reads_history() == (batches.history == data::HistoryMode::kNone))
    fail(name, tower.reads_history() ? "the " + one + " tower reads a history, but histories are of mode None"
                                     : "histories are made, but the " + one + " tower reads none");
  if (!asking.contexts) return;
  if (batches.group_size != 1)
    fail(name, "group_size is " + std::to_string(batches.group_size) + ", but must be 1 where " + std::string(sides) +
                   " have contexts: each pair has its own");
  check_rows(name, "numbers of pairs", interactions.pairs(), asking.contexts->rows());
}

Course::Course(const char* name, nn::Parameters<float>& parameters, const CourseSpec& spec, Index steps_per_epoch)
    : name_(name),
      parameters_(parameters),
      spec_(spec),
      steps_per_epoch_(steps_per_epoch),
      optimizer_(spec.optimizer, parameters) {
  check_at_least(name, "epochs", spec.epochs, 1);
  spec.schedule.check();
}

double Course::learning_rate() const { return spec_.schedule.learning_rate(std::min(step_, total_steps() - 1), total_steps()); }

void Course::catch_up(std::span<const nn::RowGradients<float>> gradients, const Threads& threads) {
  threads.for_blocks(std::ssize(gradients), 1, [&](Index table, Index, Index) {
    optimizer_.catch_up(parameters_, table, gradients[static_cast<std::size_t>(table)].rows(), threads);
  });
}

void Course::update(std::span<const nn::RowGradients<float>> gradients, std::span<const float> darena, const Threads& threads) {
  optimizer_.begin_step(learning_rate());
  threads.together([&] { optimizer_.update_arena(parameters_, darena); },
                   [&] {
                     threads.for_blocks(std::ssize(gradients), 1, [&](Index table, Index, Index) {
                       optimizer_.update_rows(parameters_, table, gradients[static_cast<std::size_t>(table)], threads);
                     });
                   });
  ++step_;
}

void Course::give_up(double loss, std::string_view culprit, std::string_view cure) const {
  fail_numerically(name_, "the loss is " + shown(loss) + " at step " + std::to_string(step_) + " (epoch " +
                              std::to_string(step_ / steps_per_epoch_ + 1) + ", learning rate " + shown(learning_rate()) +
                              "): " + std::string(culprit) + "; try " + std::string(cure));
}

}  // namespace twotower::train
