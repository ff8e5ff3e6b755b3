#include "twotower/train/trainer.hpp"

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
using model::TwoTower;
using model::TwoTowerSpec;
using test::lookup_tower;
using test::mixed_features;
using test::mixed_tower;
using test::same_bits;
using train::OptimizerKind;
using train::Progress;
using train::ScheduleKind;
using train::Trainer;
using train::TrainerSpec;

namespace {

constexpr Index kQueries = 40, kItems = 30;

/// Queries and items of two kinds, even and odd; every query met eight items of its own kind.
data::Interactions planted_blocks() {
  RandomStream random(31, Purpose::kTest);
  std::vector<Row> queries, items;
  for (Row query = 0; query < kQueries; ++query) {
    std::vector<Row> own(kItems / 2);
    for (std::size_t k = 0; k < own.size(); ++k) own[k] = static_cast<Row>(2 * k) + query % 2;
    random.shuffle(std::span(own));
    for (std::size_t k = 0; k < 8; ++k) {
      queries.push_back(query);
      items.push_back(own[k]);
    }
  }
  return {queries, items, std::nullopt, kQueries, kItems};
}

nn::Sequential layers_with_dropout(Index in, Index out) {
  return nn::Sequential(in,
                        {nn::Dense{in, out}, nn::Gelu{out}, nn::Dropout{out, 0.8, 1}, nn::Dense{out, out}, nn::L2Normalize{out}});
}

/// Every row has a vector of its own; the mean of <u, v> / temperature starts near 0.
TwoTowerSpec lookup_spec() {
  return {lookup_tower(0, 8), lookup_tower(1, 8), {{"queries", kQueries, 8}, {"items", kItems, 8}}, 0.5, true, kItems, 0.1, 3};
}

/// Embeddings, bags and numbers under layers with dropout.
TwoTowerSpec mixed_spec() {
  return {mixed_tower(Join::kConcatenate, layers_with_dropout, 5, 0),
          mixed_tower(Join::kSum, layers_with_dropout, 5, 2),
          {{"query codes", 5, 6}, {"query bags", 4, 3}, {"item codes", 5, 6}, {"item bags", 4, 6}},
          0.25,
          true,
          5,
          0.5,
          3};
}

TrainerSpec trainer_spec(OptimizerKind kind = OptimizerKind::kAdam, double peak = 0.05) {
  return {{64, 4, 1, 0.3, {10, 0.2}}, {kind}, {ScheduleKind::kLinear, peak}, 20, 7};
}

/// A model, its data and a trainer.
struct Run {
  data::FeatureTable queries = mixed_features(kQueries, 1), items = mixed_features(kItems, 2);
  data::Interactions interactions = planted_blocks();
  TwoTower<float> model;
  std::unique_ptr<Trainer> trainer;

  explicit Run(const TwoTowerSpec& spec, const TrainerSpec& how = trainer_spec()) : model(spec) { restart(how); }

  void restart(const TrainerSpec& how) { trainer = std::make_unique<Trainer>(model, queries, items, interactions, how); }

  Progress steps(Index count, int num_threads = 1) { return trainer->run_steps(count, Threads(num_threads)); }

  const nn::Parameters<float>& finished() {
    trainer->finish(Threads());
    return model.parameters();
  }

  Matrix<float> scores() {
    Matrix<float> u(kQueries, model.vector_width()), v(kItems, model.vector_width());
    std::vector<Row> rows(kQueries);
    std::iota(rows.begin(), rows.end(), 0);
    model.query_vectors(queries, rows, u, Threads());
    model.item_vectors(items, std::span(rows).first(kItems), v, Threads());
    return u * v.transpose();
  }
};

/// Towers that put a number through, width 1: scores are products of slopes and numbers.
TwoTowerSpec numeric_spec() {
  const model::TowerSpec tower{{{0, -1, nn::Numeric{1, 1}}}, Join::kSum, nn::Sequential(1)};
  return {tower, tower, {}, 0.5, false, 0, 0.1, 3};
}

data::FeatureTable numbers(const std::vector<float>& values) {
  data::FeatureTable made(std::ssize(values));
  made.add_numbers(values);
  return made;
}

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const NumericalError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST_CASE("Trainer: recovers planted blocks, with every optimizer, and the loss falls") {
  const auto [kind, peak] = GENERATE(std::pair{OptimizerKind::kAdam, 0.05}, std::pair{OptimizerKind::kLazyAdam, 0.05},
                                     std::pair{OptimizerKind::kAdagrad, 0.2}, std::pair{OptimizerKind::kRowwiseAdagrad, 0.2},
                                     std::pair{OptimizerKind::kSgd, 4.0});
  INFO("kind " << static_cast<int>(kind));
  Run run(lookup_spec(), trainer_spec(kind, peak));
  const double before = run.steps(run.trainer->steps_per_epoch()).loss;
  run.steps(run.trainer->total_steps() - 2 * run.trainer->steps_per_epoch());
  const double after = run.steps(run.trainer->steps_per_epoch()).loss;
  CHECK(after < before - 0.3);  // half of the items are ruled out: log 2 = 0.69 less
  run.finished();
  const Matrix<float> scores = run.scores();
  for (Index query = 0; query < kQueries; ++query) {
    double own = 0, other = 0;
    for (Index item = 0; item < kItems; ++item) (item % 2 == query % 2 ? own : other) += static_cast<double>(scores(query, item));
    CHECK(own > other + 15);  // a mean difference of 1
  }
}

TEST_CASE("Trainer: learns through layers, bags, numbers and dropout") {
  Run run(mixed_spec(), trainer_spec(OptimizerKind::kAdam, 0.01));
  const Index epoch = run.trainer->steps_per_epoch();
  const double before = run.steps(epoch).loss;
  run.steps(18 * epoch);
  CHECK(run.steps(epoch).loss < before);
}

TEST_CASE("Trainer: one step of SGD follows the gradient of the loss that it reports, in every parameter") {
  // Both sides share table 0: a query's bag of item codes and the item's own vector.
  const model::TowerSpec query{
      {{1, 0, nn::Bag{3}}, {2, -1, nn::Numeric{3, 0.5}}}, Join::kSum, nn::Sequential(3, {nn::Dense{3, 3}})};
  const model::TowerSpec item{{{0, 0, nn::Embedding{3}}}, Join::kSum, nn::Sequential(3)};
  const TwoTowerSpec spec{query, item, {{"shared", 5, 3}}, 0.5, true, 5, 0.5, 3};
  TrainerSpec how = trainer_spec(OptimizerKind::kSgd, 0.5);
  how.schedule.kind = ScheduleKind::kConstant;
  const TwoTower<float> start(spec);
  const auto loss_at = [&](const std::function<void(nn::Parameters<float>&)>& change) {
    Run run(spec, how);
    change(run.model.parameters());
    return run.steps(1).loss;
  };
  Run stepped(spec, how);
  stepped.steps(1);

  const auto compare = [&](const auto& value_of) {
    // Float losses have an error near 1e-6, third derivatives a size of about 10: differences with 0.02 are good to 1e-3.
    constexpr float kStep = 0.02F;
    const double above = loss_at([&](auto& parameters) { value_of(parameters) += kStep; });
    const double below = loss_at([&](auto& parameters) { value_of(parameters) -= kStep; });
    auto from = start.parameters();
    const double moved = static_cast<double>(value_of(stepped.model.parameters()) - value_of(from));
    CHECK(-moved / 0.5 == Approx((above - below) / (2 * kStep)).margin(2e-3));
  };
  for (std::size_t k = 0; k < start.parameters().arena.size(); ++k)
    compare([k](auto& parameters) -> float& { return parameters.arena[k]; });
  for (std::size_t table = 0; table < 2; ++table)
    for (Index k = 0; k < start.parameters().tables[table].values.size(); ++k)
      compare([table, k](auto& parameters) -> float& { return parameters.tables[table].values.data()[k]; });
}

TEST_CASE("Trainer: the same parameters, to the byte, for 1, 2 and 7 threads") {
  const OptimizerKind kind = GENERATE(OptimizerKind::kAdam, OptimizerKind::kRowwiseAdagrad);
  TrainerSpec how = trainer_spec(kind, 0.02);
  how.batches = {300, GENERATE(1, 4), 1, 0.3, {10, 0.2}};  // 160 rows: two blocks of a tower, three panels of the loss
  const auto parameters_with = [&](int num_threads) {
    Run run(mixed_spec(), how);
    run.steps(20, num_threads);
    return run.finished();
  };
  const auto wanted = parameters_with(1);
  CHECK(same_bits(parameters_with(2), wanted));
  CHECK(same_bits(parameters_with(7), wanted));
}

TEST_CASE("Trainer: steps one by one are the same as many at once, and to rounding with finish in between") {
  const OptimizerKind kind = GENERATE(OptimizerKind::kAdam, OptimizerKind::kLazyAdam, OptimizerKind::kAdagrad);
  Run at_once(lookup_spec(), trainer_spec(kind)), one_by_one(lookup_spec(), trainer_spec(kind)),
      finishing(lookup_spec(), trainer_spec(kind));
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
    CHECK((finishing.finished().tables[table].values - wanted.tables[table].values).cwiseAbs().maxCoeff() < 1e-4F);
}

TEST_CASE("Trainer: another seed, another order") {
  TrainerSpec reseeded = trainer_spec();
  reseeded.seed = 8;
  Run run(lookup_spec()), again(lookup_spec()), other(lookup_spec(), reseeded);
  run.steps(5);
  again.steps(5);
  other.steps(5);
  const auto wanted = run.finished();
  CHECK(same_bits(again.finished(), wanted));
  CHECK(!same_bits(other.finished(), wanted));
}

TEST_CASE("Trainer: counts steps and examples, follows the schedule and stops at the end") {
  Run run(lookup_spec());
  const Index epoch = run.trainer->steps_per_epoch(), total = run.trainer->total_steps();
  CHECK(epoch == 5);  // 320 positives in batches of about 64
  CHECK(total == 100);
  CHECK(run.trainer->learning_rate() == 0.05);
  const Progress first = run.steps(epoch);
  CHECK(first.steps == 5);
  CHECK(first.examples == 320);
  CHECK(run.trainer->step() == 5);
  CHECK(run.trainer->learning_rate() == Approx(0.05 * (1 - 0.98 * 5 / 99)));
  CHECK(run.steps(1000).steps == 95);
  CHECK(run.trainer->learning_rate() == Approx(0.05 * 0.02));
  const Progress none = run.steps(1);
  CHECK(none.steps == 0);
  CHECK(none.examples == 0);
  CHECK(none.loss == 0);
}

TEST_CASE("Trainer: a loss that is no number stops the run with a sentence and leaves the model as it was") {
  const OptimizerKind kind = GENERATE(OptimizerKind::kAdam, OptimizerKind::kSgd);
  TrainerSpec how = trainer_spec(kind, 1e30);
  how.schedule.kind = ScheduleKind::kConstant;
  Run run(lookup_spec(), how);
  run.steps(1);
  const auto before = run.finished();
  const std::string sentence =
      "Trainer: the loss is nan at step 1 (epoch 1, learning rate 1e+30): both towers' vectors are finite, their scores are not; "
      "try a smaller learning rate, a larger temperature or fewer extreme feature values";
  CHECK(message_of([&] { run.steps(3); }) == sentence);
  CHECK(run.trainer->step() == 1);
  CHECK(same_bits(run.finished(), before));
  // Asked again it fails again, and still nothing moves.
  CHECK(message_of([&] { run.steps(1, 2); }) == sentence);
  CHECK(same_bits(run.finished(), before));
}

TEST_CASE("Trainer: the sentence names the tower whose vectors are not finite") {
  const bool queries_overflow = GENERATE(true, false);
  const std::vector<float> huge{3e38F, -3e38F, 3e38F, -3e38F}, small{1, 2, 3, 4};
  const auto queries = numbers(queries_overflow ? huge : small), items = numbers(queries_overflow ? small : huge);
  const std::vector<Row> rows{0, 1, 2, 3};
  const data::Interactions interactions(rows, rows, std::nullopt, 4, 4);
  TwoTower<float> model(numeric_spec());
  std::fill(model.parameters().arena.begin(), model.parameters().arena.end(), 3.0F);
  const auto before = model.parameters();
  Trainer trainer(model, queries, items, interactions, trainer_spec());
  CHECK(message_of([&] { trainer.run_steps(1, Threads()); }) ==
        std::string("Trainer: the loss is nan at step 0 (epoch 1, learning rate 0.05): the ") +
            (queries_overflow ? "query" : "item") +
            " tower's vectors are not finite; try a smaller learning rate, a larger temperature or fewer extreme feature values");
  CHECK(same_bits(model.parameters(), before));
}

TEST_CASE("Trainer: refuses sizes that do not fit together") {
  Run run(lookup_spec());
  const auto make = [&](const data::FeatureTable& queries, const data::FeatureTable& items, const TrainerSpec& how) {
    return Trainer(run.model, queries, items, run.interactions, how);
  };
  CHECK_THROWS_WITH(make(run.items, run.items, trainer_spec()),
                    "Trainer: rows of the query features is 30, but must equal num_queries of the interactions, which is 40");
  CHECK_THROWS_WITH(make(run.queries, run.queries, trainer_spec()),
                    "Trainer: rows of the item features is 40, but must equal num_items of the interactions, which is 30");
  TrainerSpec how = trainer_spec();
  how.epochs = 0;
  CHECK_THROWS_WITH(make(run.queries, run.items, how), "Trainer: epochs is 0, but must be at least 1");
  how = trainer_spec(OptimizerKind::kAdam, -1);
  CHECK_THROWS_WITH(make(run.queries, run.items, how), "Schedule: peak is -1, but must be a finite number above 0");
  CHECK_THROWS_WITH(run.steps(0), "Trainer: number of steps is 0, but must be at least 1");
  TwoTowerSpec few = lookup_spec();
  few.bias_rows = kItems - 1;
  CHECK_THROWS_WITH(Run(few), "Trainer: rows of the item bias is 29, but must be at least 30");
  few = lookup_spec();
  few.tables[0].rows = kQueries - 1;
  CHECK_THROWS_WITH(Run(few), "Tower: rows of table 0 is 39, but must be at least 40");
}

// --- histories, contexts, unknown ids, rows that stay --------------------------------------------------------------------

namespace {

/// The query's vector is made of its history alone, over the items' own table.
TwoTowerSpec history_spec(const model::SequenceEncoder& encoder) {
  TwoTowerSpec spec{
      lookup_tower(0, 8), lookup_tower(1, 8), {{"queries", kQueries, 8}, {"items", kItems, 8}}, 0.5, true, kItems, 0.1, 3};
  spec.query.sequences = {{model::SequenceSpec::kHistory, {{3, 1, nn::Embedding{8}}}, encoder}};
  return spec;
}

TrainerSpec history_trainer(data::HistoryMode mode) {
  TrainerSpec how = trainer_spec();
  how.batches.history = mode;
  how.batches.group_size = mode == data::HistoryMode::kWindows ? 1 : 4;
  how.batches.max_length = 5;
  return how;
}

struct HistoryRun {
  data::FeatureTable queries = mixed_features(kQueries, 1), items = mixed_features(kItems, 2);
  data::Interactions interactions = planted_blocks();
  TwoTower<float> model;
  Trainer trainer;

  HistoryRun(const TwoTowerSpec& spec, const TrainerSpec& how)
      : model(spec), trainer(model, model::SideData(queries, nullptr, {&items}), items, interactions, how) {}
};

}  // namespace

TEST_CASE("Trainer: learns from histories in every mode, with every encoder, the same bytes for 1, 2 and 7 threads") {
  const auto mode = GENERATE(data::HistoryMode::kOthers, data::HistoryMode::kBefore, data::HistoryMode::kWindows);
  nn::CausalTransformer transformer;
  transformer.width = 8;
  transformer.heads = 2;
  transformer.blocks = 1;
  transformer.max_length = 5;
  transformer.keep_probability = 0.9;
  const model::SequenceEncoder encoder =
      GENERATE_COPY(model::SequenceEncoder(nn::MeanPool{8}), model::SequenceEncoder(nn::AttentionPool{8, 5}),
                    model::SequenceEncoder(nn::Gru{8}), model::SequenceEncoder(transformer));
  const auto parameters_with = [&](int num_threads) {
    HistoryRun run(history_spec(encoder), history_trainer(mode));
    const Index epoch = run.trainer.steps_per_epoch();
    const double before = run.trainer.run_steps(epoch, Threads(num_threads)).loss;
    run.trainer.run_steps(18 * epoch, Threads(num_threads));
    CHECK(run.trainer.run_steps(epoch, Threads(num_threads)).loss < before - 0.2);
    run.trainer.finish(Threads());
    return run.model.parameters();
  };
  const auto wanted = parameters_with(1);
  CHECK(same_bits(parameters_with(2), wanted));
  CHECK(same_bits(parameters_with(7), wanted));
}

TEST_CASE("Trainer: rows of items that may not learn stay as they are, those of the others do not") {
  TrainerSpec how = history_trainer(data::HistoryMode::kOthers);
  how.trainable_items.assign(kItems, 0);
  for (const std::size_t item : {0, 7, 29}) how.trainable_items[item] = 1;
  HistoryRun run(history_spec(nn::MeanPool{8}), how);
  const auto before = run.model.parameters();
  run.trainer.run_steps(10, Threads());
  run.trainer.finish(Threads());
  for (Index item = 0; item < kItems; ++item) {
    const bool same = run.model.parameters().tables[1].values.row(item) == before.tables[1].values.row(item);
    CHECK(same == (how.trainable_items[static_cast<std::size_t>(item)] == 0));
    if (same) CHECK(run.model.parameters().tables[2].values(item, 0) == before.tables[2].values(item, 0));
  }
}

TEST_CASE("Trainer: contexts are those of the row's own pair") {
  // The pair's number is all that the query tower sees: each pair learns a vector of its own.
  const auto interactions = planted_blocks();
  const auto pairs = static_cast<Index>(interactions.pairs().size());
  data::FeatureTable contexts(pairs);
  std::vector<Row> own(static_cast<std::size_t>(pairs));
  std::iota(own.begin(), own.end(), 0);
  contexts.add_codes(own, pairs);
  const auto queries = mixed_features(kQueries, 1), items = mixed_features(kItems, 2);
  TwoTowerSpec spec = lookup_spec();
  spec.query.inputs = {{0, 0, nn::Embedding{8}, true}};
  spec.tables[0].rows = pairs;
  TwoTower<float> model(spec);
  TrainerSpec how = trainer_spec();
  how.batches.group_size = 1;
  Trainer trainer(model, model::SideData(queries, &contexts), items, interactions, how);
  trainer.run_steps(trainer.total_steps(), Threads());
  trainer.finish(Threads());
  Matrix<float> u(pairs, 9), v(kItems, 9);
  const std::vector<Row> anybody(static_cast<std::size_t>(pairs), 0);
  std::vector<Row> item_rows(kItems);
  std::iota(item_rows.begin(), item_rows.end(), 0);
  model.query_vectors(model::SideData(queries, &contexts), {anybody, own}, u, Threads());
  model.item_vectors(items, item_rows, v, Threads());
  Index best = 0;
  for (std::size_t place = 0; place < interactions.pairs().size(); ++place) {
    Index found = 0;
    (u.row(interactions.pairs()[place]) * v.transpose()).maxCoeff(&found);
    best += found == interactions.positives().items[place];
  }
  CHECK(best == pairs);
  how.batches.group_size = 4;
  CHECK_THROWS_WITH(Trainer(model, model::SideData(queries, &contexts), items, interactions, how),
                    "Trainer: group_size is 4, but must be 1 where queries have contexts: each pair has its own");
}

TEST_CASE("Trainer: unknown_share trains row 0 and, at 1, nothing else") {
  TwoTowerSpec spec = lookup_spec();
  spec.query.inputs[0].unknown_share = 1;
  Run run(spec);
  const auto before = run.model.parameters();
  run.steps(20);
  const auto& after = run.finished();
  CHECK(after.tables[0].values.row(0) != before.tables[0].values.row(0));
  CHECK(after.tables[0].values.bottomRows(kQueries - 1) == before.tables[0].values.bottomRows(kQueries - 1));
  CHECK(after.tables[1].values.bottomRows(kItems - 1) != before.tables[1].values.bottomRows(kItems - 1));
}

TEST_CASE("Trainer: refuses a history without a reader, and a reader without a history") {
  CHECK_THROWS_WITH(Run(lookup_spec(), history_trainer(data::HistoryMode::kOthers)),
                    "Trainer: histories are made, but the query tower reads none");
  CHECK_THROWS_WITH(HistoryRun(history_spec(nn::MeanPool{8}), trainer_spec()),
                    "Trainer: the query tower reads a history, but histories are of mode None");
  TrainerSpec how = history_trainer(data::HistoryMode::kBefore);
  how.trainable_items.assign(3, 1);
  CHECK_THROWS_WITH(HistoryRun(history_spec(nn::MeanPool{8}), how),
                    "Trainer: size of trainable_items is 3, but must equal num_items of the interactions, which is 30");
}
