#include "twotower/train/pair_trainer.hpp"

#include <cmath>
#include <numeric>
#include <string>

#include "twotower/base/check.hpp"

namespace twotower::train {
namespace {

constexpr const char* kName = "PairTrainer";

}  // namespace

PairTrainer::PairTrainer(model::PairScorer<float>& model, const model::SideData& users, const model::SideData& items,
                         const data::Interactions& interactions, const PairTrainerSpec& spec, const PairExtras& extras)
    : model_(model),
      users_(users),
      items_(items),
      spec_(spec),
      extras_(extras),
      plan_(interactions, spec.pairs, spec.seed, extras.targets, extras.pools, extras.lists),
      course_(kName, model.parameters(), {spec.optimizer, spec.schedule, spec.epochs}, plan_.batches_per_epoch()),
      row_gradients_(model.parameters().tables.size()) {
  check_in_range(kName, "shrink", spec.shrink, 0, 1e6);
  check_in_range(kName, "bias_shrink", spec.bias_shrink, 0, 1e6);
  spec.loss.check();
  spec.loss.check_targets(kName, extras.targets);
  check_sides(kName, "user", "users", model.user(), users, items, interactions, spec.pairs.batches);
  model.check(users, items);
  if (!spec.loss.is_pointwise() && spec.pairs.negatives == 0 && extras.targets.empty())
    fail(kName, "the loss compares the pairs of a list, but there are neither targets nor negatives to compare with");
  if (model.meeting().given != (extras.given_users && extras.given_items))
    fail(kName, "the model reads a number that comes with each pair, and given_users and given_items make it; give both or none");
  if (!extras.given_users || !extras.given_items) return;
  check_size(kName, "rows of given_users", extras.given_users->rows(), "num_queries of the interactions",
             interactions.num_queries());
  check_size(kName, "rows of given_items", extras.given_items->rows(), "num_items of the interactions", interactions.num_items());
  check_size(kName, "width of given_users", extras.given_users->cols(), "width of given_items", extras.given_items->cols());
}

Progress PairTrainer::run_steps(Index count, const Threads& threads) {
  return course_.run(count, threads, [&] { return Course::Step{run_step(threads), std::ssize(batch_.targets)}; });
}

double PairTrainer::run_step(const Threads& threads) {
  const Index step = course_.step();
  plan_.write(step / steps_per_epoch(), step % steps_per_epoch(), batch_);
  if (extras_.given_users) write_given(threads);
  const nn::Pass pass{true, spec_.seed, static_cast<std::uint64_t>(step), 0};
  const model::PairRows pairs = rows();
  model_.prepare(users_, items_, pairs, pass, scratch_);
  sort_touches(threads);
  course_.catch_up(row_gradients_, threads);

  darena_.assign(model_.parameters().arena.size(), 0.0F);
  const double loss = spec_.loss.is_pointwise() ? pair_by_pair(pairs, pass, threads) : list_by_list(pairs, pass, threads);
  if (!std::isfinite(loss)) explain_failure(loss);
  model_.backward_towers(users_, items_, pairs, scratch_, darena_, pass, threads);
  course_.update(row_gradients_, darena_, threads);
  return loss;
}

double PairTrainer::list_by_list(const model::PairRows& pairs, const nn::Pass& pass, const Threads& threads) {
  model_.forward(users_, items_, pairs, scratch_, pass, threads);
  const double loss =
      spec_.loss.operator()<float>(batch_.offsets, scratch_.scores, batch_.targets, batch_.weights, scratch_.dscores, threads);
  if (std::isfinite(loss)) model_.backward_head(pairs, scratch_, darena_, spec_.shrink, spec_.bias_shrink, pass, threads);
  return loss;
}

double PairTrainer::pair_by_pair(const model::PairRows& pairs, const nn::Pass& pass, const Threads& threads) {
  constexpr Index kBlock = model::PairScorer<float>::kBlock;
  const double total = std::accumulate(batch_.weights.begin(), batch_.weights.end(), 0.0);
  losses_.assign(batch_.targets.size() / kBlock + 1, 0);
  model_.forward_towers(users_, items_, pairs, scratch_, pass, threads);
  model_.backward_head(pairs, scratch_, darena_, spec_.shrink, spec_.bias_shrink, pass, threads, [&](Index first, Index last) {
    const auto begin = static_cast<std::size_t>(first), size = static_cast<std::size_t>(last - first);
    const std::span<const float> targets(batch_.targets), weights(batch_.weights), scores(scratch_.scores);
    losses_[begin / kBlock] =
        spec_.loss.pointwise(total, scores.subspan(begin, size), targets.subspan(begin, size), weights.subspan(begin, size),
                             std::span(scratch_.dscores).subspan(begin, size));
  });
  return std::accumulate(losses_.begin(), losses_.end(), 0.0);
}

model::PairRows PairTrainer::rows() const {
  model::TowerRows users(batch_.rows.queries, {}, &batch_.rows.histories);
  if (users_.contexts) users.contexts = batch_.rows.pairs;
  return {users, model::TowerRows(batch_.rows.candidates), batch_.user_of_pair, batch_.item_of_pair, given_};
}

void PairTrainer::write_given(const Threads& threads) {
  given_.resize(batch_.targets.size());
  threads.for_blocks(std::ssize(given_), 256, [&](Index begin, Index end, Index) {
    for (auto pair = static_cast<std::size_t>(begin); pair < static_cast<std::size_t>(end); ++pair) {
      const Row user = batch_.rows.queries[static_cast<std::size_t>(batch_.user_of_pair[pair])];
      const Row item = batch_.rows.candidates[static_cast<std::size_t>(batch_.item_of_pair[pair])];
      given_[pair] = extras_.given_users->row(user).dot(extras_.given_items->row(item));
    }
  });
}

void PairTrainer::sort_touches(const Threads& threads) {
  const auto& tables = model_.parameters().tables;
  threads.for_blocks(std::ssize(tables), 1, [&](Index table, Index, Index) {
    std::vector<nn::RowGradients<float>::Source> sources;
    model_.add_sources(table, scratch_, sources);
    row_gradients_[static_cast<std::size_t>(table)].sort(sources, tables[static_cast<std::size_t>(table)].values.rows());
  });
}

void PairTrainer::explain_failure(double loss) const {
  const char* culprit = !scratch_.user.y.allFinite()   ? "the user tower's vectors are not finite"
                        : !scratch_.item.y.allFinite() ? "the item tower's vectors are not finite"
                                                       : "both towers' vectors are finite, the scores are not";
  course_.give_up(loss, culprit, "a smaller learning rate, more shrinkage or fewer extreme feature values");
}

}  // namespace twotower::train
