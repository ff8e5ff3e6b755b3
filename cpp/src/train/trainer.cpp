#include "twotower/train/trainer.hpp"

#include <algorithm>
#include <cmath>

#include "twotower/base/check.hpp"

namespace twotower::train {

Trainer::Trainer(model::TwoTower<float>& model, const model::SideData& queries, const model::SideData& items,
                 const data::Interactions& interactions, const TrainerSpec& spec, const data::ItemLists* lists)
    : model_(model),
      queries_(queries),
      items_(items),
      spec_(spec),
      plan_(interactions, spec.batches, spec.seed, lists),
      optimizer_(spec.optimizer, model.parameters()),
      loss_(model.temperature()),
      row_gradients_(model.parameters().tables.size()),
      darena_(model.parameters().arena.size()) {
  check_at_least("Trainer", "epochs", spec.epochs, 1);
  spec.schedule.check();
  check_sides(interactions);
}

void Trainer::check_sides(const data::Interactions& interactions) const {
  check_size("Trainer", "rows of the query features", queries_.entities->rows(), "num_queries of the interactions",
             interactions.num_queries());
  check_size("Trainer", "rows of the item features", items_.entities->rows(), "num_items of the interactions",
             interactions.num_items());
  if (!spec_.trainable_items.empty())
    check_size("Trainer", "size of trainable_items", std::ssize(spec_.trainable_items), "num_items of the interactions",
               interactions.num_items());
  model_.query().check(queries_, model_.parameters());
  model_.item().check(items_, model_.parameters());
  if (model_.bias_table() >= 0)
    check_at_least("Trainer", "rows of the item bias", model_.parameters().tables.back().values.rows(),
                   std::get<data::Codes>(items_.entities->column(model_.item().inputs().list()[0].column)).vocabulary);
  if (model_.query().reads_history() == (spec_.batches.history == data::HistoryMode::kNone))
    fail("Trainer", model_.query().reads_history() ? "the query tower reads a history, but histories are of mode None"
                                                   : "histories are made, but the query tower reads none");
  if (!queries_.contexts) return;
  if (spec_.batches.group_size != 1)
    fail("Trainer", "group_size is " + std::to_string(spec_.batches.group_size) +
                        ", but must be 1 where queries have contexts: each pair has its own");
  const auto& pairs = interactions.pairs();
  check_rows("Trainer", "numbers of pairs", pairs, queries_.contexts->rows());
}

double Trainer::learning_rate() const { return spec_.schedule.learning_rate(std::min(step_, total_steps() - 1), total_steps()); }

Progress Trainer::run_steps(Index count, const Threads& threads) {
  check_at_least("Trainer", "number of steps", count, 1);
  Progress progress;
  for (; progress.steps < count && step_ < total_steps(); ++progress.steps) {
    progress.loss += run_step(threads);
    progress.examples += std::ssize(batch_.positive_columns);
  }
  if (progress.steps > 0) progress.loss /= static_cast<double>(progress.steps);
  return progress;
}

double Trainer::run_step(const Threads& threads) {
  plan_.write(step_ / steps_per_epoch(), step_ % steps_per_epoch(), batch_);
  auto& parameters = model_.parameters();
  const nn::Pass pass{true, spec_.seed, static_cast<std::uint64_t>(step_), 0};
  const model::TowerRows queries = query_rows(), items = item_rows();
  model_.query().prepare<float>(queries_, queries, pass, query_);
  model_.item().prepare<float>(items_, items, pass, item_);
  sort_touches(threads);

  for (std::size_t table = 0; table < row_gradients_.size(); ++table)
    optimizer_.catch_up(parameters, static_cast<Index>(table), row_gradients_[table].rows(), threads);
  model_.query().forward<float>(parameters, queries_, queries, query_, pass, threads);
  model_.item().forward<float>(parameters, items_, items, item_, pass, threads);
  const double loss = loss_and_gradients(threads);
  if (!std::isfinite(loss)) explain_failure(loss);

  std::fill(darena_.begin(), darena_.end(), 0.0F);
  model_.query().backward<float>(parameters, queries_, queries, query_, darena_, pass, threads);
  model_.item().backward<float>(parameters, items_, items, item_, darena_, pass, threads);
  optimizer_.begin_step(learning_rate());
  for (std::size_t table = 0; table < row_gradients_.size(); ++table)
    optimizer_.update_rows(parameters, static_cast<Index>(table), row_gradients_[table], threads);
  optimizer_.update_arena(parameters, darena_);
  ++step_;
  return loss;
}

model::TowerRows Trainer::query_rows() const {
  model::TowerRows rows(batch_.queries, {}, &batch_.histories);
  if (queries_.contexts) rows.contexts = batch_.pairs;
  rows.trainable_elements = spec_.trainable_items;
  return rows;
}

model::TowerRows Trainer::item_rows() const {
  model::TowerRows rows(batch_.candidates);
  rows.trainable_entities = spec_.trainable_items;
  return rows;
}

// Which rows of which table this batch reads, and where their gradients will be.
void Trainer::sort_touches(const Threads& threads) {
  const auto& tables = model_.parameters().tables;
  dbias_.resize(batch_.candidates.size());
  threads.for_blocks(std::ssize(tables), 1, [&](Index table, Index, Index) {
    std::vector<nn::RowGradients<float>::Source> sources;
    model_.query().add_sources<float>(table, query_, sources);
    model_.item().add_sources<float>(table, item_, sources);
    if (table == model_.bias_table()) {
      bias_touches_.clear();
      const auto& codes = item_.inputs.codes[0];
      for (std::size_t c = 0; c < codes.size(); ++c)
        if (spec_.trainable_items.empty() || spec_.trainable_items[static_cast<std::size_t>(batch_.candidates[c])] != 0)
          bias_touches_.push_back({codes[c], static_cast<Row>(c), 1.0F});
      sources.push_back({bias_touches_, {dbias_.data(), std::ssize(dbias_), 1, Eigen::OuterStride<>(1)}});
    }
    row_gradients_[static_cast<std::size_t>(table)].sort(sources, tables[static_cast<std::size_t>(table)].values.rows());
  });
}

double Trainer::loss_and_gradients(const Threads& threads) {
  bias_.clear();
  if (model_.bias_table() >= 0) {
    const auto& bias = model_.parameters().tables[static_cast<std::size_t>(model_.bias_table())].values;
    for (const Row code : item_.inputs.codes[0]) bias_.push_back(bias(code, 0));
  }
  return loss_(query_.y, item_.y, bias_, {batch_.offsets, batch_.positive_columns, batch_.positive_weights, batch_.log_weights},
               query_.dy, item_.dy, dbias_, threads);
}

void Trainer::explain_failure(double loss) const {
  const std::string culprit = !query_.y.allFinite()  ? "the query tower's vectors are not finite"
                              : !item_.y.allFinite() ? "the item tower's vectors are not finite"
                                                     : "both towers' vectors are finite, their scores are not";
  fail_numerically("Trainer", "the loss is " + shown(loss) + " at step " + std::to_string(step_) + " (epoch " +
                                  std::to_string(step_ / steps_per_epoch() + 1) + ", learning rate " + shown(learning_rate()) +
                                  "): " + culprit +
                                  "; try a smaller learning rate, a larger temperature or fewer extreme feature values");
}

}  // namespace twotower::train
