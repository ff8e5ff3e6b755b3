#include "twotower/train/multi_task_trainer.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "twotower/base/check.hpp"

namespace twotower::train {
namespace {

constexpr const char* kName = "MultiTaskTrainer";

}  // namespace

MultiTaskTrainer::MultiTaskTrainer(model::PairScorer<float>& model, const model::SideData& users, const model::SideData& items,
                                   const data::Interactions& interactions, const MultiTaskSpec& spec,
                                   std::span<const float> targets, const data::ItemLists* lists)
    : model_(model),
      users_(users),
      items_(items),
      spec_(spec),
      targets_(targets),
      plan_(interactions, spec.batches, spec.seed, lists),
      course_(kName, model.parameters(), {spec.optimizer, spec.schedule, spec.epochs}, plan_.batches_per_epoch()),
      softmax_(spec.temperature),
      row_gradients_(model.parameters().tables.size()),
      darena_(model.parameters().arena.size()) {
  check(interactions);
}

void MultiTaskTrainer::check(const data::Interactions& interactions) const {
  check_in_range(kName, "retrieval_weight", spec_.retrieval_weight, 0, 1e6);
  check_in_range(kName, "rating_weight", spec_.rating_weight, 0, 1e6);
  if (!(spec_.retrieval_weight > 0 || spec_.rating_weight > 0))
    fail(kName, "retrieval_weight and rating_weight are both 0, so that there is nothing to learn; give one of them a weight");
  check_in_range(kName, "shrink", spec_.shrink, 0, 1e6);
  check_in_range(kName, "bias_shrink", spec_.bias_shrink, 0, 1e6);
  spec_.rating.check();
  if (!spec_.rating.is_pointwise()) fail(kName, "the rating loss compares the pairs of a list, but must look at each by itself");
  if (model_.meeting().given) fail(kName, "the model reads a number that comes with each pair, but pairs come without here");
  check_sides(kName, "user", "users", model_.user(), users_, items_, interactions, spec_.batches);
  check_size(kName, "out_width of the user tower", model_.user().out_width(), "out_width of the item tower",
             model_.item().out_width());
  model_.check(users_, items_);
  const auto& pairs = interactions.pairs();
  check_rows(kName, "numbers of pairs", pairs, std::ssize(targets_));
  check_finite(kName, "targets", targets_);
  if (spec_.bias_table >= 0) {
    const auto& tables = model_.parameters().tables;
    check_in_range(kName, "bias_table", static_cast<double>(spec_.bias_table), 0, static_cast<double>(std::ssize(tables) - 1));
    const auto& values = tables[static_cast<std::size_t>(spec_.bias_table)].values;
    check_size(kName, "width of the bias table", values.cols(), "the width of a score", 1);
    const auto& first = model_.item().inputs().list().at(0);
    if (!std::holds_alternative<nn::Embedding>(first.encoder))
      fail(kName, "there is a bias table, but the item tower's first input is no embedding; put that of the id first");
    check_at_least(kName, "rows of the bias table", values.rows(),
                   std::get<data::Codes>(items_.entities->column(first.column)).vocabulary);
  }
}

Progress MultiTaskTrainer::run_steps(Index count, const Threads& threads) {
  return course_.run(count, threads, [&] { return Course::Step{run_step(threads), std::ssize(ratings_)}; });
}

double MultiTaskTrainer::run_step(const Threads& threads) {
  write_batch();
  const nn::Pass pass{true, spec_.seed, static_cast<std::uint64_t>(step()), 0};
  const model::PairRows pairs = rows();
  model_.prepare(users_, items_, pairs, pass, scratch_);
  sort_touches(threads);
  course_.catch_up(row_gradients_, threads);

  model_.forward(users_, items_, pairs, scratch_, pass, threads);
  const double rating = rate(threads), retrieval = retrieve(threads), loss = rating + retrieval;
  if (!std::isfinite(loss)) explain_failure(loss);

  std::fill(darena_.begin(), darena_.end(), 0.0F);
  model_.backward_head(pairs, scratch_, darena_, spec_.shrink, spec_.bias_shrink, pass, threads);
  if (spec_.retrieval_weight > 0) {
    const auto weight = static_cast<float>(spec_.retrieval_weight);
    scratch_.user.dy += weight * dusers_;
    scratch_.item.dy += weight * ditems_;
  }
  model_.backward_towers(users_, items_, pairs, scratch_, darena_, pass, threads);
  course_.update(row_gradients_, darena_, threads);
  return loss;
}

void MultiTaskTrainer::write_batch() {
  plan_.write(step() / steps_per_epoch(), step() % steps_per_epoch(), batch_);
  user_of_pair_.resize(batch_.positive_pairs.size());
  for (std::size_t row = 0; row < batch_.queries.size(); ++row)
    std::fill(user_of_pair_.begin() + batch_.offsets[row], user_of_pair_.begin() + batch_.offsets[row + 1],
              static_cast<Row>(row));
  ratings_.clear();
  for (const Row pair : batch_.positive_pairs) ratings_.push_back(targets_[static_cast<std::size_t>(pair)]);
}

model::PairRows MultiTaskTrainer::rows() const {
  model::TowerRows users(batch_.queries, {}, &batch_.histories);
  if (users_.contexts) users.contexts = batch_.pairs;
  return {users, model::TowerRows(batch_.candidates), user_of_pair_, batch_.positive_columns, {}};
}

// Writes scratch_.dscores; the weighted loss.
double MultiTaskTrainer::rate(const Threads& threads) {
  if (!(spec_.rating_weight > 0)) {
    std::fill(scratch_.dscores.begin(), scratch_.dscores.end(), 0.0F);
    return 0;
  }
  const double loss = spec_.rating.operator()<float>(batch_.offsets, scratch_.scores, ratings_, batch_.positive_weights,
                                                     scratch_.dscores, threads);
  const auto weight = static_cast<float>(spec_.rating_weight);
  for (float& slope : scratch_.dscores) slope *= weight;
  return spec_.rating_weight * loss;
}

// Writes dusers_, ditems_ and dbias_, the last with its weight; the weighted loss.
double MultiTaskTrainer::retrieve(const Threads& threads) {
  std::fill(dbias_.begin(), dbias_.end(), 0.0F);
  if (!(spec_.retrieval_weight > 0)) return 0;
  bias_.clear();
  if (spec_.bias_table >= 0) {
    const auto& values = model_.parameters().tables[static_cast<std::size_t>(spec_.bias_table)].values;
    for (const Row code : scratch_.item.inputs.codes[0]) bias_.push_back(values(code, 0));
  }
  dusers_.resize(scratch_.user.y.rows(), scratch_.user.y.cols());
  ditems_.resize(scratch_.item.y.rows(), scratch_.item.y.cols());
  const SoftmaxTargets targets{batch_.offsets, batch_.positive_columns, batch_.positive_weights, batch_.log_weights};
  const double loss = softmax_(scratch_.user.y, scratch_.item.y, bias_, targets, dusers_, ditems_, dbias_, threads);
  const auto weight = static_cast<float>(spec_.retrieval_weight);
  for (float& slope : dbias_) slope *= weight;
  return spec_.retrieval_weight * loss;
}

void MultiTaskTrainer::sort_touches(const Threads& threads) {
  const auto& tables = model_.parameters().tables;
  dbias_.resize(spec_.bias_table < 0 ? 0 : batch_.candidates.size());
  threads.for_blocks(std::ssize(tables), 1, [&](Index table, Index, Index) {
    std::vector<nn::RowGradients<float>::Source> sources;
    model_.add_sources(table, scratch_, sources);
    if (table == spec_.bias_table) {
      bias_touches_.clear();
      const auto& codes = scratch_.item.inputs.codes[0];
      for (std::size_t c = 0; c < codes.size(); ++c) bias_touches_.push_back({codes[c], static_cast<Row>(c), 1.0F});
      sources.push_back({bias_touches_, {dbias_.data(), std::ssize(dbias_), 1, Eigen::OuterStride<>(1)}});
    }
    row_gradients_[static_cast<std::size_t>(table)].sort(sources, tables[static_cast<std::size_t>(table)].values.rows());
  });
}

void MultiTaskTrainer::explain_failure(double loss) const {
  const char* culprit = !scratch_.user.y.allFinite()   ? "the user tower's vectors are not finite"
                        : !scratch_.item.y.allFinite() ? "the item tower's vectors are not finite"
                                                       : "both towers' vectors are finite, the scores are not";
  course_.give_up(loss, culprit, "a smaller learning rate or a larger temperature");
}

}  // namespace twotower::train
