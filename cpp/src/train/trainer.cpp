#include "twotower/train/trainer.hpp"

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
      course_("Trainer", model.parameters(), {spec.optimizer, spec.schedule, spec.epochs}, plan_.batches_per_epoch()),
      loss_(model.temperature()) {
  for (Slot& slot : slots_) slot.row_gradients.resize(model.parameters().tables.size());
  check(interactions);
}

void Trainer::check(const data::Interactions& interactions) const {
  check_sides("Trainer", "query", "queries", model_.query(), queries_, items_, interactions, spec_.batches);
  if (!spec_.trainable_items.empty())
    check_size("Trainer", "size of trainable_items", std::ssize(spec_.trainable_items), "num_items of the interactions",
               interactions.num_items());
  model_.query().check(queries_, model_.parameters());
  model_.item().check(items_, model_.parameters());
  if (model_.bias_table() >= 0)
    check_at_least("Trainer", "rows of the item bias", model_.parameters().tables.back().values.rows(),
                   std::get<data::Codes>(items_.entities->column(model_.item().inputs().list()[0].column)).vocabulary);
}

Progress Trainer::run_steps(Index count, const Threads& threads) {
  return course_.run(count, threads, [&] {
    const Slot& slot = slot_of(step());
    const double loss = run_step(threads);
    return Course::Step{loss, std::ssize(slot.batch.positive_columns)};
  });
}

double Trainer::run_step(const Threads& threads) {
  const Index next = step() + 1;
  Slot& slot = slot_of(step());
  make_ready(slot, step(), threads);
  forward(slot, threads);
  double loss = 0;
  threads.together([&] { loss = loss_and_gradients(slot, threads); },
                   [&] {
                     if (next < total_steps()) make_ready(slot_of(next), next, threads);
                   });
  if (!std::isfinite(loss)) explain_failure(slot, loss);
  backward(slot, threads);
  course_.update(slot.row_gradients, darena_, threads);
  return loss;
}

nn::Pass Trainer::pass_of(Index step) const { return {true, spec_.seed, static_cast<std::uint64_t>(step), 0}; }

model::TowerRows Trainer::query_rows(const data::Batch& batch) const {
  model::TowerRows rows(batch.queries, {}, &batch.histories);
  if (queries_.contexts) rows.contexts = batch.pairs;
  rows.trainable_elements = spec_.trainable_items;
  return rows;
}

model::TowerRows Trainer::item_rows(const data::Batch& batch) const {
  model::TowerRows rows(batch.candidates);
  rows.trainable_entities = spec_.trainable_items;
  return rows;
}

void Trainer::make_ready(Slot& slot, Index step, const Threads& threads) {
  if (slot.step == step) return;
  slot.step = -1;
  plan_.write(step / steps_per_epoch(), step % steps_per_epoch(), slot.batch, threads);
  threads.together([&] { model_.query().prepare<float>(queries_, query_rows(slot.batch), pass_of(step), slot.query); },
                   [&] { model_.item().prepare<float>(items_, item_rows(slot.batch), pass_of(step), slot.item); });
  sort_touches(slot, threads);
  slot.step = step;
}

// Which rows of which table this batch reads, and where their gradients will be.
void Trainer::sort_touches(Slot& slot, const Threads& threads) {
  const auto& tables = model_.parameters().tables;
  slot.dbias.resize(slot.batch.candidates.size());
  threads.for_blocks(std::ssize(tables), 1, [&](Index table, Index, Index) {
    std::vector<nn::RowGradients<float>::Source> sources;
    model_.query().add_sources<float>(table, slot.query, sources);
    model_.item().add_sources<float>(table, slot.item, sources);
    if (table == model_.bias_table()) {
      slot.bias_touches.clear();
      const auto& codes = slot.item.inputs.codes[0];
      for (std::size_t c = 0; c < codes.size(); ++c)
        if (spec_.trainable_items.empty() || spec_.trainable_items[static_cast<std::size_t>(slot.batch.candidates[c])] != 0)
          slot.bias_touches.push_back({codes[c], static_cast<Row>(c), 1.0F});
      sources.push_back({slot.bias_touches, {slot.dbias.data(), std::ssize(slot.dbias), 1, Eigen::OuterStride<>(1)}});
    }
    slot.row_gradients[static_cast<std::size_t>(table)].sort(sources, tables[static_cast<std::size_t>(table)].values.rows());
  });
}

void Trainer::forward(Slot& slot, const Threads& threads) {
  const auto& parameters = model_.parameters();
  const nn::Pass pass = pass_of(slot.step);
  course_.catch_up(slot.row_gradients, threads);
  threads.together(
      [&] { model_.query().forward<float>(parameters, queries_, query_rows(slot.batch), slot.query, pass, threads); },
      [&] { model_.item().forward<float>(parameters, items_, item_rows(slot.batch), slot.item, pass, threads); });
}

double Trainer::loss_and_gradients(Slot& slot, const Threads& threads) {
  bias_.clear();
  if (model_.bias_table() >= 0) {
    const auto& bias = model_.parameters().tables[static_cast<std::size_t>(model_.bias_table())].values;
    for (const Row code : slot.item.inputs.codes[0]) bias_.push_back(bias(code, 0));
  }
  const data::Batch& batch = slot.batch;
  return loss_(slot.query.y, slot.item.y, bias_,
               {batch.offsets, batch.positive_columns, batch.positive_weights, batch.log_weights}, slot.query.dy, slot.item.dy,
               slot.dbias, threads);
}

void Trainer::backward(Slot& slot, const Threads& threads) {
  const auto& parameters = model_.parameters();
  const nn::Pass pass = pass_of(slot.step);
  darena_.assign(parameters.arena.size(), 0.0F);
  // Each tower's parameters are a stretch of the arena of its own.
  threads.together(
      [&] { model_.query().backward<float>(parameters, queries_, query_rows(slot.batch), slot.query, darena_, pass, threads); },
      [&] { model_.item().backward<float>(parameters, items_, item_rows(slot.batch), slot.item, darena_, pass, threads); });
}

void Trainer::explain_failure(const Slot& slot, double loss) const {
  const char* culprit = !slot.query.y.allFinite()  ? "the query tower's vectors are not finite"
                        : !slot.item.y.allFinite() ? "the item tower's vectors are not finite"
                                                   : "both towers' vectors are finite, their scores are not";
  course_.give_up(loss, culprit, "a smaller learning rate, a larger temperature or fewer extreme feature values");
}

}  // namespace twotower::train
