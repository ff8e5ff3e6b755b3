#include "twotower/train/multi_task_trainer.hpp"

#include <numeric>

#include "support/catch.hpp"
#include "support/small_towers.hpp"
#include "twotower/train/pair_trainer.hpp"
#include "twotower/train/trainer.hpp"

namespace twotower::train {
namespace {

constexpr Index kUsers = 30, kItems = 40, kWidth = 6;

/// Everybody has a third of the items; what each is worth follows from both.
struct Small {
  data::FeatureTable users = test::mixed_features(kUsers, 1), items = test::mixed_features(kItems, 2);
  std::vector<Row> user_of_pair, item_of_pair;
  std::vector<float> targets;
  data::Interactions interactions = made();

  data::Interactions made() {
    for (Row user = 0; user < kUsers; ++user)
      for (Row item = 0; item < kItems; ++item)
        if ((user + 2 * item) % 3 == 0) {
          user_of_pair.push_back(user);
          item_of_pair.push_back(item);
          targets.push_back(static_cast<float>(1 + (user * item) % 5));
        }
    return {user_of_pair, item_of_pair, std::nullopt, kUsers, kItems};
  }
};

/// Lookups of length 1 on both sides; the item's table of retrieval biases last.
model::PairScorerSpec pair_spec(bool biased = true) {
  const auto side = [](Index table) {
    auto tower = test::lookup_tower(table, kWidth);
    tower.layers = nn::Sequential(kWidth, {nn::L2Normalize{kWidth}});
    return tower;
  };
  const nn::Sequential head(3 * kWidth, {nn::Dense{3 * kWidth, 5}, nn::Gelu{5}, nn::Dense{5, 1}});
  model::PairScorerSpec spec{side(0), side(1), std::nullopt, std::nullopt, {true, true, false, false}, head, {}};
  spec.tables = {{"users", kUsers, kWidth}, {"items", kItems, kWidth}};
  if (biased) spec.tables.push_back({"retrieval_bias", kItems, 1});
  spec.offset = 3;
  spec.deviation = 0.3;
  spec.seed = 5;
  return spec;
}

MultiTaskSpec task_spec(double retrieval, double rating) {
  MultiTaskSpec spec;
  spec.batches.batch_size = 64;
  spec.batches.group_size = 4;
  spec.retrieval_weight = retrieval;
  spec.rating_weight = rating;
  spec.temperature = 0.3;
  spec.rating.kind = ListLossKind::kSquared;
  spec.schedule.peak = 0.01;
  spec.epochs = 3;
  spec.seed = 9;
  return spec;
}

nn::Parameters<float> trained(const Small& small, const MultiTaskSpec& spec, int threads, bool biased = true) {
  model::PairScorer<float> model(pair_spec(biased));
  MultiTaskTrainer trainer(model, small.users, small.items, small.interactions, spec, small.targets);
  trainer.run_steps(trainer.total_steps(), Threads(threads));
  trainer.finish(Threads(threads));
  return model.parameters();
}

}  // namespace

TEST_CASE("two tasks at once give the same bytes for any number of threads", "[multi_task_trainer]") {
  const Small small;
  MultiTaskSpec spec = task_spec(1, 0.5);
  spec.bias_table = 2;
  spec.batches.negatives.count = 7;
  const auto one = trained(small, spec, 1);
  CHECK(test::same_bits(one, trained(small, spec, 2)));
  CHECK(test::same_bits(one, trained(small, spec, 7)));
}

TEST_CASE("without retrieval a step is a PairTrainer's", "[multi_task_trainer]") {
  const Small small;
  const MultiTaskSpec spec = task_spec(0, 1);
  model::PairScorer<float> model(pair_spec());
  PairTrainerSpec alone;
  alone.pairs.batches = spec.batches;
  alone.loss = spec.rating;
  alone.schedule = spec.schedule;
  alone.epochs = spec.epochs;
  alone.seed = spec.seed;
  PairExtras extras;
  extras.targets = small.targets;
  PairTrainer trainer(model, small.users, small.items, small.interactions, alone, extras);
  trainer.run_steps(trainer.total_steps(), Threads(2));
  trainer.finish(Threads(2));
  CHECK(test::same_bits(model.parameters(), trained(small, spec, 2)));
}

TEST_CASE("without ratings a step is a Trainer's", "[multi_task_trainer]") {
  const Small small;
  MultiTaskSpec spec = task_spec(1, 0);
  spec.batches.negatives.count = 7;
  const model::PairScorerSpec pairs = pair_spec(false);
  model::TwoTowerSpec towers{pairs.user, pairs.item, pairs.tables};
  towers.temperature = spec.temperature;
  towers.item_bias = false;
  towers.deviation = pairs.deviation;
  towers.seed = pairs.seed;
  model::TwoTower<float> model(towers);
  TrainerSpec alone;
  alone.batches = spec.batches;
  alone.schedule = spec.schedule;
  alone.epochs = spec.epochs;
  alone.seed = spec.seed;
  Trainer trainer(model, small.users, small.items, small.interactions, alone);
  trainer.run_steps(trainer.total_steps(), Threads(2));
  trainer.finish(Threads(2));
  const auto both = trained(small, spec, 2, false);
  for (std::size_t table = 0; table < 2; ++table)
    CHECK(test::same_bits(model.parameters().tables[table].values, both.tables[table].values));
}

TEST_CASE("both losses fall", "[multi_task_trainer]") {
  const Small small;
  MultiTaskSpec spec = task_spec(1, 1);
  spec.bias_table = 2;
  spec.epochs = 20;
  model::PairScorer<float> model(pair_spec());
  MultiTaskTrainer trainer(model, small.users, small.items, small.interactions, spec, small.targets);
  const Progress first = trainer.run_steps(trainer.steps_per_epoch(), Threads(2));
  CHECK(first.examples == std::ssize(small.targets));
  trainer.run_steps(18 * trainer.steps_per_epoch(), Threads(2));
  CHECK(trainer.run_steps(trainer.steps_per_epoch(), Threads(2)).loss < 0.9 * first.loss);
}

TEST_CASE("MultiTaskTrainer says what does not fit", "[multi_task_trainer]") {
  const Small small;
  model::PairScorer<float> model(pair_spec());
  const auto make = [&](const MultiTaskSpec& spec, std::span<const float> targets) {
    MultiTaskTrainer(model, small.users, small.items, small.interactions, spec, targets);
  };
  CHECK_THROWS_WITH(make(task_spec(0, 0), small.targets),
                    "MultiTaskTrainer: retrieval_weight and rating_weight are both 0, so that there is nothing to learn; give "
                    "one of them a weight");
  MultiTaskSpec spec = task_spec(1, 1);
  spec.rating.kind = ListLossKind::kBpr;
  CHECK_THROWS_WITH(make(spec, small.targets),
                    "MultiTaskTrainer: the rating loss compares the pairs of a list, but must look at each by itself");
  spec = task_spec(1, 1);
  spec.bias_table = 0;
  CHECK_THROWS_WITH(make(spec, small.targets),
                    "MultiTaskTrainer: width of the bias table is 6, but must equal the width of a score, which is 1");
  spec.bias_table = 3;
  CHECK_THROWS_WITH(make(spec, small.targets), "MultiTaskTrainer: bias_table is 3, but must be in [0, 2]");
  spec = task_spec(1, 1);
  spec.batches.history = data::HistoryMode::kOthers;
  CHECK_THROWS_WITH(make(spec, small.targets), "MultiTaskTrainer: histories are made, but the user tower reads none");
  std::vector<float> few(small.targets.begin(), small.targets.end() - 1);
  CHECK_THROWS_AS(make(task_spec(1, 1), few), std::out_of_range);
  few = small.targets;
  few[3] = std::nanf("");
  CHECK_THROWS_AS(make(task_spec(1, 1), few), std::invalid_argument);
}

}  // namespace twotower::train
