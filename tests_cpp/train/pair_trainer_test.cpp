#include "twotower/train/pair_trainer.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "support/small_towers.hpp"
#include "twotower/base/check.hpp"

using namespace twotower;
using model::Join;
using model::PairScorer;
using model::PairScorerSpec;
using test::lookup_tower;
using test::mixed_features;
using test::same_bits;
using train::ListLoss;
using train::ListLossKind;
using train::OptimizerKind;
using train::PairExtras;
using train::PairTrainer;
using train::PairTrainerSpec;
using train::Progress;
using train::ScheduleKind;

namespace {

constexpr Index kUsers = 40, kItems = 30;

bool alike(Row user, Row item) { return user % 2 == item % 2; }

/// Users and items of two kinds, even and odd. Every user met ten items: `rated` some of both kinds, each worth 1 where they are
/// alike and 0 where not, else only those of the own kind.
struct Planted {
  std::vector<Row> users, items;
  std::vector<float> targets;

  explicit Planted(bool rated) {
    RandomStream random(31, Purpose::kTest);
    for (Row user = 0; user < kUsers; ++user) {
      std::vector<Row> all;
      for (Row item = 0; item < kItems; ++item)
        if (rated || alike(user, item)) all.push_back(item);
      random.shuffle(std::span(all));
      for (std::size_t k = 0; k < 10; ++k) {
        users.push_back(user);
        items.push_back(all[k]);
        targets.push_back(alike(user, all[k]) ? 1.0F : 0.0F);
      }
    }
  }

  data::Interactions interactions() const { return {users, items, std::nullopt, kUsers, kItems}; }
};

/// Vectors of 8 that multiply, and biases.
PairScorerSpec dot_spec() {
  return {lookup_tower(0, 8),
          lookup_tower(1, 8),
          lookup_tower(2, 1),
          lookup_tower(3, 1),
          {false, false, true, false},
          nn::Sequential(1),
          {{"users", kUsers, 8}, {"items", kItems, 8}, {"user biases", kUsers, 1}, {"item biases", kItems, 1}},
          0,
          0.1,
          3};
}

nn::Sequential perceptron(Index width) {
  return nn::Sequential(width, {nn::Dense{width, 8}, nn::Gelu{8}, nn::Dropout{8, 0.8, 1}, nn::Dense{8, 1}});
}

/// Towers of codes and numbers that meet in a perceptron with dropout.
PairScorerSpec deep_spec() {
  const auto layers = [](Index in, Index out) { return nn::Sequential(in, {nn::Dense{in, out}, nn::Gelu{out}}); };
  return {test::mixed_tower(Join::kConcatenate, layers, 5),
          test::mixed_tower(Join::kSum, layers, 5, 2),
          lookup_tower(4, 1),
          {},
          {true, true, true, false},
          perceptron(16),
          {{"user codes", 5, 6}, {"user bags", 4, 3}, {"item codes", 5, 6}, {"item bags", 4, 6}, {"user biases", kUsers, 1}},
          0.5,
          0.5,
          3};
}

PairTrainerSpec trainer_spec(const ListLoss& loss = {}, Index negatives = 0, OptimizerKind kind = OptimizerKind::kAdam,
                             double peak = 0.05) {
  PairTrainerSpec spec;
  spec.pairs.batches.batch_size = 64;
  spec.pairs.batches.group_size = 5;
  spec.pairs.negatives = negatives;
  spec.loss = loss;
  spec.optimizer.kind = kind;
  spec.schedule = {ScheduleKind::kLinear, peak};
  spec.seed = 7;
  return spec;
}

/// A model, its data and a trainer.
struct Run {
  data::FeatureTable users = mixed_features(kUsers, 1), items = mixed_features(kItems, 2);
  Planted planted;
  data::Interactions interactions;
  PairScorer<float> model;
  std::unique_ptr<PairTrainer> trainer;

  explicit Run(const PairScorerSpec& spec, const PairTrainerSpec& how = trainer_spec(), bool rated = true)
      : planted(rated), interactions(planted.interactions()), model(spec) {
    PairExtras extras;
    if (rated) extras.targets = planted.targets;
    restart(how, extras);
  }

  void restart(const PairTrainerSpec& how, const PairExtras& extras) {
    const model::SideData user_side(users, nullptr,
                                    model.user().sequences().empty() ? std::vector<const data::FeatureTable*>{}
                                                                     : std::vector<const data::FeatureTable*>{&items});
    trainer = std::make_unique<PairTrainer>(model, user_side, items, interactions, how, extras);
  }

  Progress steps(Index count, int num_threads = 1) { return trainer->run_steps(count, Threads(num_threads)); }

  const nn::Parameters<float>& finished() {
    trainer->finish(Threads());
    return model.parameters();
  }

  /// Share of all pairs of an alike and another item, of all users, that are in the right order.
  double accuracy() {
    finished();
    std::vector<Row> all(kUsers), left, right;
    std::iota(all.begin(), all.end(), 0);
    Matrix<float> u(kUsers, model.user_vector_width()), v(kItems, model.item_vector_width());
    model.user_vectors(users, all, u, Threads());
    model.item_vectors(items, std::span(all).first(kItems), v, Threads());
    for (Row user = 0; user < kUsers; ++user)
      for (Row item = 0; item < kItems; ++item) {
        left.push_back(user);
        right.push_back(item);
      }
    std::vector<float> scores(left.size());
    model.score(u, v, left, right, {}, scores, Threads());
    double hits = 0, count = 0;
    for (Row user = 0; user < kUsers; ++user)
      for (Row good = 0; good < kItems; ++good)
        for (Row bad = 0; bad < kItems; ++bad)
          if (alike(user, good) && !alike(user, bad)) {
            hits +=
                scores[static_cast<std::size_t>(user * kItems + good)] > scores[static_cast<std::size_t>(user * kItems + bad)];
            ++count;
          }
    return hits / count;
  }
};

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const NumericalError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST_CASE("PairTrainer: recovers planted blocks from targets, with every loss") {
  const ListLoss loss = GENERATE(ListLoss{ListLossKind::kSquared}, ListLoss{ListLossKind::kHuber, 0.3},
                                 ListLoss{ListLossKind::kLogistic}, ListLoss{ListLossKind::kOrdinal, 1, 10, {0}},
                                 ListLoss{ListLossKind::kBpr}, ListLoss{ListLossKind::kLambda}, ListLoss{ListLossKind::kSoftmax});
  INFO("kind " << static_cast<int>(loss.kind));
  Run run(dot_spec(), trainer_spec(loss));
  const Index epoch = run.trainer->steps_per_epoch();
  const double before = run.steps(epoch).loss;
  run.steps(18 * epoch);
  CHECK(run.steps(epoch).loss < 0.7 * before);
  CHECK(run.accuracy() > 0.9);
}

TEST_CASE("PairTrainer: recovers planted blocks from positives and drawn negatives") {
  const ListLoss loss = GENERATE(ListLoss{ListLossKind::kLogistic}, ListLoss{ListLossKind::kBpr}, ListLoss{ListLossKind::kLambda},
                                 ListLoss{ListLossKind::kSoftmax});
  INFO("kind " << static_cast<int>(loss.kind));
  Run run(dot_spec(), trainer_spec(loss, 3), false);
  const Index epoch = run.trainer->steps_per_epoch();
  const double before = run.steps(epoch).loss;
  run.steps(18 * epoch);
  CHECK(run.steps(epoch).loss < 0.8 * before);
  CHECK(run.accuracy() > 0.9);
}

TEST_CASE("PairTrainer: learns through towers, a head and dropout, with every optimizer") {
  const auto [kind, peak] = GENERATE(std::pair{OptimizerKind::kAdam, 0.01}, std::pair{OptimizerKind::kLazyAdam, 0.01},
                                     std::pair{OptimizerKind::kAdagrad, 0.05}, std::pair{OptimizerKind::kRowwiseAdagrad, 0.05},
                                     std::pair{OptimizerKind::kSgd, 0.1});
  INFO("kind " << static_cast<int>(kind));
  Run run(deep_spec(), trainer_spec({ListLossKind::kSquared}, 0, kind, peak));
  const Index epoch = run.trainer->steps_per_epoch();
  const double before = run.steps(epoch).loss;
  run.steps(18 * epoch);
  CHECK(run.steps(epoch).loss < before);
}

TEST_CASE("PairTrainer: one step of SGD follows the gradient of the loss that it reports, in every parameter") {
  const ListLoss loss = GENERATE(ListLoss{ListLossKind::kLogistic}, ListLoss{ListLossKind::kBpr});
  // Both sides share table 0: a user's bag of item codes and the item's own vector.
  const model::TowerSpec user{{{1, 0, nn::Bag{3}}, {2, -1, nn::Numeric{3, 0.5}}}, Join::kSum, nn::Sequential(3)};
  const model::TowerSpec item{{{0, 0, nn::Embedding{3}}}, Join::kSum, nn::Sequential(3)};
  const PairScorerSpec spec{user,
                            item,
                            {},
                            model::TowerSpec{{{0, 1, nn::Embedding{1}}}, Join::kSum, nn::Sequential(1)},
                            {true, true, false, false},
                            nn::Sequential(9, {nn::Dense{9, 2}, nn::Gelu{2}, nn::Dense{2, 1}}),
                            {{"shared", 5, 3}, {"bias", 5, 1}},
                            0.1,
                            0.5,
                            3};
  PairTrainerSpec how = trainer_spec(loss, 2, OptimizerKind::kSgd, 0.5);
  how.schedule.kind = ScheduleKind::kConstant;
  const PairScorer<float> start(spec);
  const auto loss_at = [&](const std::function<void(nn::Parameters<float>&)>& change) {
    Run run(spec, how);
    change(run.model.parameters());
    return run.steps(1).loss;
  };
  Run stepped(spec, how);
  stepped.steps(1);
  const auto compare = [&](const auto& value_of) {
    // Float losses have an error near 1e-6: differences with 0.02 are good to about 1e-3.
    constexpr float kStep = 0.02F;
    const double above = loss_at([&](auto& parameters) { value_of(parameters) += kStep; });
    const double below = loss_at([&](auto& parameters) { value_of(parameters) -= kStep; });
    auto from = start.parameters();
    const double moved = static_cast<double>(value_of(stepped.model.parameters()) - value_of(from));
    CHECK(moved == Approx(-0.5 * (above - below) / (2 * static_cast<double>(kStep))).margin(2e-3));
  };
  for (std::size_t k = 0; k < start.parameters().arena.size(); ++k)
    compare([k](auto& parameters) -> float& { return parameters.arena[k]; });
  for (std::size_t table = 0; table < 2; ++table)
    for (Index k = 0; k < start.parameters().tables[table].values.size(); ++k)
      compare([table, k](auto& parameters) -> float& { return parameters.tables[table].values.data()[k]; });
}

TEST_CASE("PairTrainer: the same parameters, to the byte, for 1, 2 and 7 threads") {
  PairTrainerSpec how =
      trainer_spec({ListLossKind::kLambda}, 2, GENERATE(OptimizerKind::kAdam, OptimizerKind::kRowwiseAdagrad), 0.02);
  how.pairs.batches.batch_size = 200;  // 600 pairs: five blocks of the head
  how.shrink = 0.01;
  how.bias_shrink = 0.02;
  const auto parameters_with = [&](int num_threads) {
    Run run(deep_spec(), how);
    run.steps(20, num_threads);
    return run.finished();
  };
  const auto wanted = parameters_with(1);
  CHECK(same_bits(parameters_with(2), wanted));
  CHECK(same_bits(parameters_with(7), wanted));
}

TEST_CASE("PairTrainer: steps one by one are the same as many at once, and to rounding with finish in between") {
  const OptimizerKind kind = GENERATE(OptimizerKind::kAdam, OptimizerKind::kAdagrad);
  const PairTrainerSpec how = trainer_spec({ListLossKind::kLogistic}, 2, kind);
  Run at_once(dot_spec(), how), one_by_one(dot_spec(), how), finishing(dot_spec(), how);
  const Progress progress = at_once.steps(40);
  double loss = 0;
  Index examples = 0;
  for (int s = 0; s < 40; ++s) {
    const Progress one = one_by_one.steps(1);
    CHECK(one.steps == 1);
    loss += one.loss / 40;
    examples += one.examples;
    finishing.steps(1);
    finishing.trainer->finish(Threads());
  }
  CHECK(progress.loss == Approx(loss).epsilon(1e-14));
  CHECK(progress.examples == examples);
  const auto wanted = at_once.finished();
  CHECK(same_bits(one_by_one.finished(), wanted));
  // Adam sums up the missed moves of a row; finish cuts the sum.
  if (kind != OptimizerKind::kAdam) CHECK(same_bits(finishing.finished(), wanted));
  for (std::size_t table = 0; table < wanted.tables.size(); ++table)
    CHECK((finishing.finished().tables[table].values - wanted.tables[table].values).cwiseAbs().maxCoeff() < 1e-3F);
}

TEST_CASE("PairTrainer: counts steps and pairs, negatives too, follows the schedule and stops at the end") {
  Run run(dot_spec(), trainer_spec({}, 2));
  const Index epoch = run.trainer->steps_per_epoch(), total = run.trainer->total_steps();
  CHECK(epoch == 7);  // 400 positives in batches of about 64
  CHECK(total == 140);
  CHECK(run.trainer->learning_rate() == 0.05);
  const Progress first = run.steps(epoch);
  CHECK(first.steps == 7);
  CHECK(first.examples == 1200);
  CHECK(run.trainer->step() == 7);
  CHECK(run.trainer->learning_rate() == Approx(0.05 * (1 - 0.98 * 7 / 139)));
  CHECK(run.steps(1000).steps == 133);
  CHECK(run.trainer->learning_rate() == Approx(0.05 * 0.02));
  const Progress none = run.steps(1);
  CHECK((none.steps == 0 && none.examples == 0 && none.loss == 0));
}

TEST_CASE("PairTrainer: shrinkage keeps vectors small") {
  const auto size_with = [](double shrink) {
    PairTrainerSpec how = trainer_spec();
    how.shrink = shrink;
    Run run(dot_spec(), how);
    run.steps(1000);
    return run.finished().tables[0].values.norm();
  };
  CHECK(size_with(0.3) < 0.5F * size_with(0));
}

TEST_CASE("PairTrainer: rows that no pair touches stay as they are; negatives come from the pools") {
  const bool pooled = GENERATE(false, true);
  std::vector<std::int64_t> offsets(kUsers + 1);
  std::iota(offsets.begin(), offsets.end(), 0);
  const std::vector<Row> pool(kUsers, 29);
  const data::ItemLists pools{offsets, pool, {}};
  const std::vector<Row> users{0, 1, 2}, items{3, 4, 5};
  const data::Interactions interactions(users, items, std::nullopt, kUsers, kItems);
  const auto user_features = mixed_features(kUsers, 1), item_features = mixed_features(kItems, 2);
  PairScorer<float> model(dot_spec());
  const auto before = model.parameters();
  PairExtras extras;
  if (pooled) extras.pools = &pools;
  PairTrainer trainer(model, user_features, item_features, interactions, trainer_spec({ListLossKind::kBpr}, 1), extras);
  trainer.run_steps(5, Threads());
  trainer.finish(Threads());
  const auto moved = [&](std::size_t table, Row row) {
    return model.parameters().tables[table].values.row(row) != before.tables[table].values.row(row);
  };
  for (Row user = 0; user < kUsers; ++user) CHECK(moved(0, user) == (user < 3));
  for (Row item = 0; item < kItems; ++item)
    if (pooled) CHECK(moved(1, item) == ((item >= 3 && item <= 5) || item == 29));
}

TEST_CASE("PairTrainer: a number given with each pair is the product of its vectors") {
  // The head sees nothing else: it finds target = 2 given + 1.
  PairScorerSpec spec = dot_spec();
  spec.user_bias.reset();
  spec.item_bias.reset();
  spec.meeting = {false, false, false, true};
  spec.head = nn::Sequential(1, {nn::Dense{1, 1}});
  const auto given_users = test::random_matrix<float>(kUsers, 6, 1), given_items = test::random_matrix<float>(kItems, 6, 2);
  Run run(dot_spec());
  std::vector<float> targets;
  for (std::size_t pair = 0; pair < run.planted.users.size(); ++pair)
    targets.push_back(1 + 2 * given_users.row(run.planted.users[pair]).dot(given_items.row(run.planted.items[pair])));
  PairScorer<float> model(spec);
  PairExtras extras;
  extras.targets = targets;
  extras.given_users.emplace(given_users.data(), kUsers, 6, Eigen::OuterStride<>(6));
  extras.given_items.emplace(given_items.data(), kItems, 6, Eigen::OuterStride<>(6));
  PairTrainer trainer(model, run.users, run.items, run.interactions, trainer_spec({}, 0, OptimizerKind::kAdam, 0.2), extras);
  trainer.run_steps(1000, Threads());
  CHECK(model.parameters().arena[0] == Approx(2).epsilon(0.02));
  CHECK(model.parameters().arena[1] == Approx(1).epsilon(0.02));
}

TEST_CASE("PairTrainer: learns from histories, the same bytes for 1, 2 and 7 threads") {
  const auto mode = GENERATE(data::HistoryMode::kOthers, data::HistoryMode::kBefore, data::HistoryMode::kWindows);
  PairScorerSpec spec = dot_spec();
  spec.user.sequences = {{model::SequenceSpec::kHistory, {{3, 1, nn::Embedding{8}}}, nn::MeanPool{8, 1, nn::MeanLength::kRoot}}};
  PairTrainerSpec how = trainer_spec({ListLossKind::kLogistic}, 2);
  how.pairs.batches.history = mode;
  how.pairs.batches.group_size = mode == data::HistoryMode::kWindows ? 1 : 4;
  how.pairs.batches.max_length = 5;
  const auto parameters_with = [&](int num_threads) {
    Run run(spec, how, false);
    const Index epoch = run.trainer->steps_per_epoch();
    const double before = run.steps(epoch, num_threads).loss;
    run.steps(8 * epoch, num_threads);
    CHECK(run.steps(epoch, num_threads).loss < 0.9 * before);
    return run.finished();
  };
  const auto wanted = parameters_with(1);
  CHECK(same_bits(parameters_with(2), wanted));
  CHECK(same_bits(parameters_with(7), wanted));
}

TEST_CASE("PairTrainer: contexts are those of the row's own pair") {
  // The pair's number is all that the user tower sees: each pair learns its own target.
  Run run(dot_spec());
  const Index pairs = std::ssize(run.planted.users);
  data::FeatureTable contexts(pairs);
  std::vector<Row> own(static_cast<std::size_t>(pairs));
  std::iota(own.begin(), own.end(), 0);
  contexts.add_codes(own, pairs);
  PairScorerSpec spec = dot_spec();
  spec.user.inputs = {{0, 0, nn::Embedding{8}, true}};
  spec.user_bias = model::TowerSpec{{{0, 2, nn::Embedding{1}, true}}, Join::kSum, nn::Sequential(1)};
  spec.tables[0].rows = spec.tables[2].rows = pairs;
  PairScorer<float> model(spec);
  PairTrainerSpec how = trainer_spec();
  how.pairs.batches.group_size = 1;
  PairExtras extras;
  extras.targets = run.planted.targets;
  PairTrainer trainer(model, model::SideData(run.users, &contexts), run.items, run.interactions, how, extras);
  CHECK(trainer.run_steps(1000, Threads()).steps == 140);
  trainer.finish(Threads());
  Matrix<float> u(pairs, 9), v(kItems, 9);
  std::vector<Row> all_items(kItems);
  std::iota(all_items.begin(), all_items.end(), 0);
  model.user_vectors(model::SideData(run.users, &contexts), {run.planted.users, own}, u, Threads());
  model.item_vectors(run.items, all_items, v, Threads());
  std::vector<float> scores(own.size());
  model.score(u, v, own, run.planted.items, {}, scores, Threads());
  for (std::size_t pair = 0; pair < own.size(); ++pair) CHECK(std::abs(scores[pair] - run.planted.targets[pair]) < 0.4F);
  how.pairs.batches.group_size = 4;
  CHECK_THROWS_WITH(PairTrainer(model, model::SideData(run.users, &contexts), run.items, run.interactions, how, extras),
                    "PairTrainer: group_size is 4, but must be 1 where users have contexts: each pair has its own");
}

TEST_CASE("PairTrainer: a loss that is no number stops the run with a sentence and leaves the model as it was") {
  PairTrainerSpec how = trainer_spec({}, 0, OptimizerKind::kSgd, 1e30);
  how.schedule.kind = ScheduleKind::kConstant;
  Run run(dot_spec(), how);
  run.steps(1);
  const auto before = run.finished();
  const std::string sentence =
      "PairTrainer: the loss is nan at step 1 (epoch 1, learning rate 1e+30): both towers' vectors are finite, the scores are "
      "not; try a smaller learning rate, more shrinkage or fewer extreme feature values";
  CHECK(message_of([&] { run.steps(3); }) == sentence);
  CHECK(run.trainer->step() == 1);
  CHECK(same_bits(run.finished(), before));
  // Asked again it fails again, and still nothing moves.
  CHECK(message_of([&] { run.steps(1, 2); }) == sentence);
  CHECK(same_bits(run.finished(), before));
}

TEST_CASE("PairTrainer: the sentence names the tower whose vectors are not finite") {
  const bool users = GENERATE(true, false);
  Run run(dot_spec());
  run.model.parameters().tables[users ? 0 : 1].values.setConstant(std::nanf(""));
  CHECK(message_of([&] { run.steps(1); }) ==
        std::string("PairTrainer: the loss is nan at step 0 (epoch 1, learning rate 0.05): the ") + (users ? "user" : "item") +
            " tower's vectors are not finite; try a smaller learning rate, more shrinkage or "
            "fewer extreme feature values");
}

TEST_CASE("PairTrainer: refuses what does not fit together") {
  Run run(dot_spec());
  const auto make = [&](const data::FeatureTable& users, const data::FeatureTable& items, const PairTrainerSpec& how,
                        const PairExtras& extras = {}) {
    return PairTrainer(run.model, users, items, run.interactions, how, extras);
  };
  CHECK_THROWS_WITH(make(run.items, run.items, trainer_spec()),
                    "PairTrainer: rows of the user features is 30, but must equal num_queries of the interactions, which is 40");
  CHECK_THROWS_WITH(make(run.users, run.users, trainer_spec()),
                    "PairTrainer: rows of the item features is 40, but must equal num_items of the interactions, which is 30");
  PairTrainerSpec how = trainer_spec();
  how.epochs = 0;
  CHECK_THROWS_WITH(make(run.users, run.items, how), "PairTrainer: epochs is 0, but must be at least 1");
  how = trainer_spec();
  how.shrink = -1;
  CHECK_THROWS_WITH(make(run.users, run.items, how), "PairTrainer: shrink is -1, but must be in [0, 1e+06]");
  how = trainer_spec();
  how.bias_shrink = std::nan("");
  CHECK_THROWS_WITH(make(run.users, run.items, how), "PairTrainer: bias_shrink is nan, but must be in [0, 1e+06]");
  CHECK_THROWS_WITH(make(run.users, run.items, trainer_spec({}, 0, OptimizerKind::kAdam, -1)),
                    "Schedule: peak is -1, but must be a finite number above 0");
  CHECK_THROWS_WITH(make(run.users, run.items, trainer_spec({ListLossKind::kHuber, 0})),
                    "ListLoss: delta is 0, but must be a finite number above 0");
  CHECK_THROWS_WITH(
      make(run.users, run.items, trainer_spec({ListLossKind::kBpr})),
      "PairTrainer: the loss compares the pairs of a list, but there are neither targets nor negatives to compare with");
  const std::vector<float> ratings(400, 5.0F);
  PairExtras extras;
  extras.targets = ratings;
  CHECK_THROWS_WITH(make(run.users, run.items, trainer_spec({ListLossKind::kLogistic}), extras),
                    "PairTrainer: targets[0] is 5, but must be in [0, 1] with the logistic loss");
  CHECK_THROWS_WITH(make(run.users, run.items, trainer_spec({ListLossKind::kOrdinal, 1, 10, {0, 1}}), extras),
                    "PairTrainer: targets[0] is 5, but must be a level, a whole number in [0, 2]");
  CHECK_THROWS_WITH(run.steps(0), "PairTrainer: number of steps is 0, but must be at least 1");
  how = trainer_spec();
  how.pairs.batches.history = data::HistoryMode::kOthers;
  CHECK_THROWS_WITH(make(run.users, run.items, how), "PairTrainer: histories are made, but the user tower reads none");

  const auto given = test::random_matrix<float>(kUsers, 6, 1);
  const auto view = [&](Index rows, Index width) {
    return ConstRowMap<float>(given.data(), rows, width, Eigen::OuterStride<>(width));
  };
  PairExtras both;
  both.given_users.emplace(view(kUsers, 6));
  both.given_items.emplace(view(kItems, 6));
  const std::string together =
      "PairTrainer: the model reads a number that comes with each pair, and given_users and given_items make it; give both or "
      "none";
  CHECK_THROWS_WITH(make(run.users, run.items, trainer_spec(), both), together);
  PairScorerSpec spec = dot_spec();
  spec.meeting.given = true;
  spec.head = nn::Sequential(2, {nn::Dense{2, 1}});
  PairScorer<float> reads(spec);
  const auto with = [&](Index users, Index items, Index width) {
    PairExtras sized;
    sized.given_users.emplace(view(users, 6));
    sized.given_items.emplace(view(items, width));
    return PairTrainer(reads, run.users, run.items, run.interactions, trainer_spec(), sized);
  };
  CHECK_NOTHROW(with(kUsers, kItems, 6));
  CHECK_THROWS_WITH(PairTrainer(reads, run.users, run.items, run.interactions, trainer_spec()), together);
  CHECK_THROWS_WITH(with(7, kItems, 6),
                    "PairTrainer: rows of given_users is 7, but must equal num_queries of the interactions, which is 40");
  CHECK_THROWS_WITH(with(kUsers, 7, 6),
                    "PairTrainer: rows of given_items is 7, but must equal num_items of the interactions, which is 30");
  CHECK_THROWS_WITH(with(kUsers, kItems, 5),
                    "PairTrainer: width of given_users is 6, but must equal width of given_items, which is 5");
}
