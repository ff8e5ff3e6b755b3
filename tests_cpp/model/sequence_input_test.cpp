#include "twotower/model/sequence_input.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "support/small_towers.hpp"
#include "twotower/model/tower.hpp"

using namespace twotower;
using model::Join;
using model::SequenceSpec;
using model::SideData;
using model::Tower;
using model::TowerRows;
using model::TowerScratch;
using model::TowerSpec;
using test::mixed_features;
using test::same_bits;

namespace {

constexpr Index kWidth = 6, kElements = 7, kEntities = 9;

std::vector<model::SequenceEncoder> encoders() {
  nn::CausalTransformer transformer;
  transformer.width = kWidth;
  transformer.heads = 2;
  transformer.blocks = 1;
  transformer.max_length = 12;
  return {nn::MeanPool{kWidth, 0.8}, nn::AttentionPool{kWidth, 3}, nn::Gru{kWidth}, transformer};
}

/// A history over items with a code, a bag and a number, beside a column of the entity whose lists are made of the same table's
/// codes (column 1 of mixed_features has codes below 4).
TowerSpec spec_with(const model::SequenceEncoder& encoder, Join join) {
  const std::vector<model::Input> item{{0, 0, nn::Embedding{kWidth}}, {1, 1, nn::Bag{kWidth}}, {2, -1, nn::Numeric{kWidth, 0.5}}};
  const std::vector<model::Input> word{{3, 0, nn::Embedding{kWidth}}};
  const Index joined = join == Join::kSum ? kWidth : 3 * kWidth;
  return {{{0, 0, nn::Embedding{kWidth}}},
          join,
          nn::Sequential(joined, {nn::Dense{joined, 4}, nn::L2Normalize{4}}),
          {{SequenceSpec::kHistory, item, encoder}, {1, word, encoder}}};
}

/// Windows with several readers, an empty sequence, one that nobody reads to its end.
data::Histories windows() {
  data::Histories made;
  made.items = {1, 5, 5, 2, 0, 6, 3};
  made.weights = {1, 0.5F, 2, 1, 1, 0, 3};
  made.offsets = {0, 4, 4, 7};
  made.lengths = {0, 4, 2, 0, 3, 1};
  made.readers = {0, 3, 4, 6};
  return made;
}

/// The gradient of a whole table.
Matrix<double> dense_gradient(const Tower& tower, const TowerScratch<double>& scratch, Index table, Index rows) {
  std::vector<nn::RowGradients<double>::Source> sources;
  tower.add_sources<double>(table, scratch, sources);
  nn::RowGradients<double> sums;
  sums.sort(sources, rows);
  Matrix<double> found(std::ssize(sums.rows()), sums.width()), dense = Matrix<double>::Zero(rows, kWidth);
  sums.sum_all(Threads(), found);
  for (Index k = 0; k < found.rows(); ++k) dense.row(sums.rows()[static_cast<std::size_t>(k)]) = found.row(k);
  return dense;
}

struct World {
  data::FeatureTable entities = mixed_features(kEntities), items = mixed_features(kElements, 3), words = mixed_features(4, 4);
  Tower tower;
  nn::Parameters<double> parameters;
  std::vector<Row> rows{4, 4, 0, 8, 2, 1};
  data::Histories histories = windows();
  Matrix<double> dy = test::random_matrix<double>(6, 4, 9);

  World(const model::SequenceEncoder& encoder, Join join) : tower(spec_with(encoder, join), 2) {
    const auto arena = test::random_matrix<double>(1, 2 + tower.parameter_count(), 5);
    parameters.arena.assign(arena.data(), arena.data() + arena.size());
    parameters.tables.push_back({"codes", test::random_matrix<double>(7, kWidth, 6)});
    parameters.tables.push_back({"bags", test::random_matrix<double>(4, kWidth, 7)});
    tower.check<double>(side(), parameters);
  }

  SideData side() const { return {entities, nullptr, {&items, &words}}; }
  TowerRows batch() const { return {rows, {}, &histories}; }

  Matrix<double> forward(const nn::Parameters<double>& at, TowerScratch<double>& scratch, int num_threads = 1) const {
    const nn::Pass pass{true, 1, 1};
    tower.prepare<double>(side(), batch(), pass, scratch);
    tower.forward<double>(at, side(), batch(), scratch, pass, Threads(num_threads));
    return scratch.y;
  }

  /// Gradients of dot(y, dy): the arena's, then the tables'.
  std::pair<std::vector<double>, std::vector<Matrix<double>>> gradients(int num_threads = 1) const {
    TowerScratch<double> scratch;
    forward(parameters, scratch, num_threads);
    scratch.dy = dy;
    std::vector<double> arena(parameters.arena.size(), 0);
    tower.backward<double>(parameters, side(), batch(), scratch, arena, {true, 1, 1}, Threads(num_threads));
    std::vector<Matrix<double>> tables;
    for (std::size_t table = 0; table < 2; ++table)
      tables.push_back(dense_gradient(tower, scratch, static_cast<Index>(table), parameters.tables[table].values.rows()));
    return {arena, tables};
  }
};

}  // namespace

TEST_CASE("SequenceInput: gradients of tables and arena agree with differences through the whole tower") {
  const auto encoder = GENERATE(from_range(encoders()));
  const Join join = GENERATE(Join::kSum, Join::kConcatenate);
  const World world(encoder, join);
  auto parameters = world.parameters;
  const auto [arena, tables] = world.gradients();
  TowerScratch<double> scratch;
  double worst = 0, largest = 1;
  const auto compare = [&](double& value, double analytic) {
    constexpr double kStep = 1e-6;
    const double kept = value;
    value = kept + kStep;
    const Matrix<double> above = world.forward(parameters, scratch);
    value = kept - kStep;
    const Matrix<double> below = world.forward(parameters, scratch);
    value = kept;
    const double numeric = (above - below).cwiseProduct(world.dy).sum() / (2 * kStep);
    largest = std::max(largest, std::abs(numeric));
    worst = std::max(worst, std::abs(numeric - analytic));
  };
  for (std::size_t k = 0; k < parameters.arena.size(); ++k) compare(parameters.arena[k], arena[k]);
  for (std::size_t table = 0; table < 2; ++table)
    for (Index k = 0; k < parameters.tables[table].values.size(); ++k)
      compare(parameters.tables[table].values.data()[k], tables[table].data()[k]);
  CHECK(worst / largest < 1e-6);
}

TEST_CASE("SequenceInput: sums and rows read in place agree with the general way, which a second reader brings") {
  using nn::MeanLength;
  const model::SequenceEncoder encoder =
      nn::MeanPool{kWidth, GENERATE(1.0, 0.8), GENERATE(MeanLength::kMean, MeanLength::kUnit, MeanLength::kRoot)};
  const bool single = GENERATE(false, true);
  const std::vector<model::Input> row{{0, 0, nn::Embedding{kWidth}}};
  const std::vector<model::Input> several{{0, 0, nn::Embedding{kWidth}}, {1, 1, nn::Bag{kWidth}}};
  World world(encoder, Join::kSum);
  auto spec = spec_with(encoder, Join::kSum);
  spec.sequences = {{SequenceSpec::kHistory, single ? row : several, encoder}};
  world.tower = Tower(spec, 2);
  const SideData side(world.entities, nullptr, {&world.items});
  const std::vector<std::uint8_t> trainable{1, 1, 0, 1, 1, 1, 1};
  const auto gradients = [&](bool second_reader) {
    data::Histories histories;
    histories.items = {1, 5, 5, 2, 0, 6, 3, 1};
    histories.weights = {1, 0.5F, 2, 1, 1, 0, 3, 0};
    histories.offsets = {0, 4, 4, 7, 8};
    histories.lengths = {4, 0, 2, 1};
    histories.readers = {0, 1, 2, 3, 4};
    std::vector<Row> rows{4, 4, 0, 8};
    Matrix<double> dy = world.dy.topRows(4);
    if (second_reader) {
      histories.lengths.push_back(0);
      histories.readers.back() = 5;
      rows.push_back(1);
      dy.conservativeResize(5, dy.cols());
      dy.row(4).setZero();
    }
    TowerRows batch(rows, {}, &histories);
    batch.trainable_elements = trainable;
    const nn::Pass pass{true, 1, 1};
    TowerScratch<double> scratch;
    world.tower.prepare<double>(side, batch, pass, scratch);
    CHECK((scratch.sequences[0].summed == !second_reader && scratch.sequences[0].in_place == (!second_reader && single)));
    world.tower.forward<double>(world.parameters, side, batch, scratch, pass, Threads(2));
    scratch.dy = dy;
    std::vector<double> arena(world.parameters.arena.size(), 0);
    world.tower.backward<double>(world.parameters, side, batch, scratch, arena, pass, Threads(2));
    std::vector<Matrix<double>> all{Eigen::Map<Matrix<double>>(arena.data(), 1, std::ssize(arena)), scratch.y.topRows(4)};
    for (std::size_t table = 0; table < 2; ++table)
      all.push_back(
          dense_gradient(world.tower, scratch, static_cast<Index>(table), world.parameters.tables[table].values.rows()));
    return all;
  };
  const auto wanted = gradients(true), got = gradients(false);
  for (std::size_t k = 0; k < wanted.size(); ++k)
    CHECK((got[k] - wanted[k]).cwiseAbs().maxCoeff() <= 1e-6 * (1 + wanted[k].cwiseAbs().maxCoeff()));  // weights are floats
}

TEST_CASE("SequenceInput: the same bytes for 1, 2 and 7 threads") {
  const auto encoder = GENERATE(from_range(encoders()));
  const World world(encoder, Join::kSum);
  const auto wanted = world.gradients();
  for (const int num_threads : {2, 7}) {
    const auto got = world.gradients(num_threads);
    CHECK(got.first == wanted.first);
    for (std::size_t table = 0; table < 2; ++table) CHECK(same_bits(got.second[table], wanted.second[table]));
  }
}

TEST_CASE("SequenceInput: outside training a vector has the same bits alone and in company") {
  const auto encoder = GENERATE(from_range(encoders()));
  World world(encoder, Join::kConcatenate);
  nn::Parameters<float> parameters;
  parameters.arena.assign(world.parameters.arena.begin(), world.parameters.arena.end());
  for (const auto& table : world.parameters.tables) parameters.tables.push_back({table.name, table.values.cast<float>()});
  std::vector<std::int64_t> offsets{0};
  std::vector<Row> items, lists, rows;
  RandomStream random(3, Purpose::kTest);
  for (Row list = 0; list < 75; ++list) {
    for (std::int64_t left = random.below(13); left > 0; --left) items.push_back(static_cast<Row>(random.below(kElements)));
    offsets.push_back(std::ssize(items));
    lists.push_back(list);
    rows.push_back(list % static_cast<Row>(kEntities));
  }
  const auto encode = [&](std::span<const Row> which) {
    data::Histories histories;
    histories.assign({offsets, items, {}}, which, 12);
    std::vector<Row> entities;
    for (const Row list : which) entities.push_back(rows[static_cast<std::size_t>(list)]);
    Matrix<float> y(std::ssize(which), 4);
    world.tower.encode<float>(parameters, world.side(), {entities, {}, &histories}, y, Threads(2));
    return y;
  };
  const Matrix<float> together = encode(lists);
  REQUIRE(together.allFinite());
  for (const Row list : {0, 1, 31, 32, 33, 74}) {
    CHECK(same_bits(encode(std::vector<Row>{list}), together.row(list)));
    CHECK(same_bits(encode(std::vector<Row>{74, list, 5}).row(1), together.row(list)));
  }
}

TEST_CASE("SequenceInput: refuses widths and tables that do not fit") {
  const nn::MeanPool pool{kWidth};
  const std::vector<model::Input> item{{0, 0, nn::Embedding{5}}};
  CHECK_THROWS_WITH(model::SequenceInput({SequenceSpec::kHistory, item, pool}, 0),
                    "SequenceInput: width of the elements is 5, but must equal width of the encoder, which is 6");
  const World world(pool, Join::kSum);
  CHECK_THROWS_WITH(world.tower.check<double>(SideData(world.entities), world.parameters),
                    "Tower: number of element tables is 0, but must equal number of sequences, which is 2");
  Matrix<double> y(6, 4);
  CHECK_THROWS_WITH(world.tower.encode<double>(world.parameters, world.side(), world.rows, y, Threads()),
                    "Tower: number of histories is 0, but must equal number of rows, which is 6");
}
