#include "twotower/model/tower.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "support/small_towers.hpp"

using namespace twotower;
using model::Join;
using model::Tower;
using model::TowerScratch;
using model::TowerSpec;
using test::mixed_features;
using test::mixed_tower;
using test::random_rows;
using test::same_bits;
using test::usual_layers;

namespace {

/// Random parameters for a tower over the tables of mixed_tables; the arena starts with three numbers of somebody else.
constexpr Index kArenaBegin = 3;

template <class Scalar>
nn::Parameters<Scalar> random_parameters(const Tower& tower, Join join) {
  nn::Parameters<Scalar> made;
  const auto arena = test::random_matrix<Scalar>(1, kArenaBegin + tower.parameter_count(), 5);
  made.arena.assign(arena.data(), arena.data() + arena.size());
  std::uint64_t number = 6;
  for (const auto& [name, rows, width] : test::mixed_tables(join))
    made.tables.push_back({name, test::random_matrix<Scalar>(rows, width, number++)});
  return made;
}

template <class Scalar>
struct Gradients {
  Matrix<Scalar> y;
  std::vector<Scalar> arena;
  std::vector<Matrix<Scalar>> tables;
};

/// One forward and backward; the gradients of dot(y, dy).
template <class Scalar>
Gradients<Scalar> gradients_of(const Tower& tower, const nn::Parameters<Scalar>& parameters, const data::FeatureTable& features,
                               std::span<const Row> rows, const Matrix<Scalar>& dy, int num_threads = 1) {
  const Threads threads(num_threads);
  Gradients<Scalar> made;
  made.arena.assign(parameters.arena.size(), 1);  // backward must add
  TowerScratch<Scalar> scratch;
  const nn::Pass pass{true};
  tower.prepare<Scalar>(features, rows, pass, scratch);
  tower.forward<Scalar>(parameters, features, rows, scratch, pass, threads);
  made.y = scratch.y;
  scratch.dy = dy;
  tower.backward<Scalar>(parameters, features, rows, scratch, made.arena, pass, threads);
  for (Scalar& value : made.arena) value -= 1;
  for (std::size_t table = 0; table < parameters.tables.size(); ++table) {
    const auto& values = parameters.tables[table].values;
    std::vector<typename nn::RowGradients<Scalar>::Source> sources;
    tower.add_sources(static_cast<Index>(table), scratch, sources);
    nn::RowGradients<Scalar> sums;
    sums.sort(sources, values.rows());
    Matrix<Scalar> dense = Matrix<Scalar>::Zero(values.rows(), values.cols());
    Matrix<Scalar> found(std::ssize(sums.rows()), values.cols());
    if (found.size() > 0) sums.sum_all(Threads(1), found);
    for (Index k = 0; k < found.rows(); ++k) dense.row(sums.rows()[static_cast<std::size_t>(k)]) = found.row(k);
    made.tables.push_back(dense);
  }
  return made;
}

/// Largest difference between these gradients and central differences of dot(y, dy), relative to the largest gradient.
double gradient_error(const Tower& tower, nn::Parameters<double> parameters, const data::FeatureTable& features,
                      std::span<const Row> rows, const Matrix<double>& dy, const Gradients<double>& gradients) {
  constexpr double kStep = 1e-6;
  double worst = 0, largest = 1;
  const auto compare = [&](double& value, double analytic) {
    const double kept = value;
    const auto y_at = [&](double moved) {
      value = moved;
      Matrix<double> y(std::ssize(rows), tower.out_width());
      tower.encode<double>(parameters, features, rows, y, Threads());
      return y;
    };
    const double numeric = (y_at(kept + kStep) - y_at(kept - kStep)).cwiseProduct(dy).sum() / (2 * kStep);
    value = kept;
    largest = std::max(largest, std::abs(numeric));
    worst = std::max(worst, std::abs(numeric - analytic));
  };
  for (std::size_t k = 0; k < parameters.arena.size(); ++k) compare(parameters.arena[k], gradients.arena[k]);
  for (std::size_t table = 0; table < parameters.tables.size(); ++table)
    for (Index k = 0; k < parameters.tables[table].values.size(); ++k)
      compare(parameters.tables[table].values.data()[k], gradients.tables[table].data()[k]);
  return worst / largest;
}

Join any_join() { return GENERATE(Join::kSum, Join::kConcatenate); }

}  // namespace

TEST_CASE("Tower: gradients of tables and arena agree with differences, sabotaged ones do not") {
  const Join join = any_join();
  const Index count = GENERATE(1, 2, 300);  // 300 rows are three blocks
  const Tower tower(mixed_tower(join, usual_layers, 5), kArenaBegin);
  const auto features = mixed_features(9);
  const auto rows = random_rows(count, 9);
  const auto parameters = random_parameters<double>(tower, join);
  const auto dy = test::random_matrix<double>(count, 5, 9);
  const auto gradients = gradients_of(tower, parameters, features, rows, dy);
  const auto error = [&](const Gradients<double>& of) { return gradient_error(tower, parameters, features, rows, dy, of); };
  CHECK(error(gradients) < 1e-7);
  CHECK(std::all_of(gradients.arena.begin(), gradients.arena.begin() + kArenaBegin, [](double g) { return g == 0; }));

  auto wrong = gradients;
  wrong.tables[1] *= 0.99;
  if (gradients.tables[1].cwiseAbs().maxCoeff() > 0.1) CHECK(error(wrong) > 1e-4);
  wrong = gradients;
  wrong.arena.back() += 0.01;
  CHECK(error(wrong) > 1e-6);
  CHECK(error(gradients_of<double>(tower, parameters, features, rows, dy * 1.001)) > 1e-6);
}

TEST_CASE("Tower: two inputs may share a table") {
  const TowerSpec spec{{{0, 0, nn::Embedding{6}}, {1, 0, nn::Bag{6}}}, Join::kSum, usual_layers(6, 3)};
  const Tower tower(spec, kArenaBegin);
  const auto features = mixed_features(9);
  const auto rows = random_rows(40, 9);
  auto parameters = random_parameters<double>(tower, Join::kSum);
  const auto dy = test::random_matrix<double>(40, 3, 9);
  const auto gradients = gradients_of(tower, parameters, features, rows, dy);
  CHECK(gradients.tables[1].isZero(0));
  CHECK(gradient_error(tower, parameters, features, rows, dy, gradients) < 1e-7);
}

TEST_CASE("Tower: without layers a lookup, done on paper") {
  // Row 2's own vector is (5, 6); the second tower adds 0.5 * ((1, 2) + (3, 4)) of a mean over rows 0 and 1.
  data::FeatureTable features(1);
  features.add_codes(std::vector<Row>{2}, 3);
  features.add_bags(std::vector<std::int64_t>{0, 2}, std::vector<Row>{0, 1}, std::nullopt, 3);
  nn::Parameters<float> parameters{{}, {{"table", (Matrix<float>(3, 2) << 1, 2, 3, 4, 5, 6).finished()}}};
  const std::vector<Row> rows{0};
  const auto vector_of = [&](const TowerSpec& spec) {
    const Tower tower(spec, 0);
    Matrix<float> y(1, tower.out_width());
    tower.encode<float>(parameters, features, rows, y, Threads());
    return y;
  };
  const model::Input own{0, 0, nn::Embedding{2}}, bag{1, 0, nn::Bag{2, nn::Pooling::kMean}};
  CHECK(vector_of({{own}, Join::kSum, nn::Sequential(2)}) == (Matrix<float>(1, 2) << 5, 6).finished());
  CHECK(vector_of({{own, bag}, Join::kSum, nn::Sequential(2)}) == (Matrix<float>(1, 2) << 7, 9).finished());
  CHECK(vector_of({{bag, own}, Join::kConcatenate, nn::Sequential(4)}) == (Matrix<float>(1, 4) << 2, 3, 5, 6).finished());
}

TEST_CASE("Tower: a vector does not depend on its batch, to the bit, for every batch size") {
  const Join join = any_join();
  const Index out = GENERATE(1, 5, 16, 33);
  const Tower tower(mixed_tower(join, usual_layers, out), kArenaBegin);
  const auto parameters = random_parameters<float>(tower, join);
  const auto features = mixed_features(71);
  Matrix<float> alone(71, out);
  for (Row row = 0; row < 71; ++row) {
    const std::vector<Row> one{row};
    tower.encode<float>(parameters, features, one, alone.middleRows(row, 1), Threads());
  }
  REQUIRE(alone.allFinite());
  for (Index count = 1; count <= 70; ++count) {
    std::vector<Row> rows(static_cast<std::size_t>(count));
    for (Index k = 0; k < count; ++k) rows[static_cast<std::size_t>(k)] = static_cast<Row>((7 * k + count) % 71);
    Matrix<float> together(count, out);
    tower.encode<float>(parameters, features, rows, together, Threads());
    REQUIRE(same_bits(together, alone(rows, Eigen::all)));
  }
}

TEST_CASE("Tower: many blocks and threads give the bits of rows alone") {
  const int num_threads = GENERATE(1, 2, 7);
  const Tower tower(mixed_tower(Join::kConcatenate, usual_layers, 7), kArenaBegin);
  const auto parameters = random_parameters<float>(tower, Join::kConcatenate);
  const auto features = mixed_features(500);
  std::vector<Row> rows(500);
  std::iota(rows.rbegin(), rows.rend(), 0);
  Matrix<float> together(500, 7), alone(1, 7);
  tower.encode<float>(parameters, features, rows, together, Threads(num_threads));
  for (const Row row : {0, 1, 127, 128, 255, 371, 372, 499}) {
    const std::vector<Row> one{row};
    tower.encode<float>(parameters, features, one, alone, Threads());
    CHECK(same_bits(alone, together.row(499 - row)));
  }
}

TEST_CASE("Tower: forward gives what encode gives, gradients have the same bits for 1, 2 and 7 threads") {
  const Join join = any_join();
  const Index count = GENERATE(1, 127, 128, 129, 1500);
  const Tower tower(mixed_tower(join, usual_layers, 5), kArenaBegin);
  const auto parameters = random_parameters<float>(tower, join);
  const auto features = mixed_features(50);
  const auto rows = random_rows(count, 50);
  const auto dy = test::random_matrix<float>(count, 5, 9);
  const auto wanted = gradients_of(tower, parameters, features, rows, dy);
  Matrix<float> encoded(count, 5);
  tower.encode<float>(parameters, features, rows, encoded, Threads());
  CHECK((wanted.y - encoded).cwiseAbs().maxCoeff() < 1e-5);
  for (const int num_threads : {2, 7}) {
    const auto got = gradients_of(tower, parameters, features, rows, dy, num_threads);
    CHECK(same_bits(got.y, wanted.y));
    CHECK(got.arena == wanted.arena);
    for (std::size_t table = 0; table < 2; ++table) CHECK(same_bits(got.tables[table], wanted.tables[table]));
  }
}

TEST_CASE("Tower: no rows are nothing to do") {
  const Tower tower(mixed_tower(Join::kSum, usual_layers, 5), kArenaBegin);
  const auto parameters = random_parameters<float>(tower, Join::kSum);
  const auto gradients = gradients_of<float>(tower, parameters, mixed_features(9), {}, Matrix<float>(0, 5));
  CHECK(gradients.y.rows() == 0);
  CHECK(std::all_of(gradients.arena.begin(), gradients.arena.end(), [](float g) { return g == 0; }));
}

TEST_CASE("Tower: initialize writes its own part of the arena, by seed and side") {
  const Tower tower(mixed_tower(Join::kSum, usual_layers, 5), kArenaBegin);
  const auto initialized = [&](std::uint64_t seed, std::uint64_t side) {
    nn::Parameters<float> parameters{std::vector<float>(static_cast<std::size_t>(kArenaBegin + tower.parameter_count()), 9), {}};
    tower.initialize(parameters, seed, side);
    return parameters.arena;
  };
  const auto arena = initialized(1, 0);
  CHECK(std::count(arena.begin(), arena.end(), 9) == kArenaBegin);
  CHECK(arena == initialized(1, 0));
  CHECK(arena != initialized(2, 0));
  CHECK(arena != initialized(1, 1));
}

TEST_CASE("Tower: refuses widths that do not fit") {
  const auto make = [](const TowerSpec& spec) { return Tower(spec, 0); };
  const model::Input six{0, 0, nn::Embedding{6}}, three{1, 1, nn::Bag{3}}, none{0, 0, nn::Embedding{0}};
  CHECK_THROWS_WITH(make({{}, Join::kSum, nn::Sequential(6)}), "Inputs: number of inputs is 0, but must be at least 1");
  CHECK_THROWS_WITH(make({{none}, Join::kSum, nn::Sequential(6)}), "Inputs: width of an input is 0, but must be at least 1");
  CHECK_THROWS_WITH(make({{six, three}, Join::kSum, nn::Sequential(6)}),
                    "Inputs: width of an input is 3, but must equal width of the first input, which is 6");
  CHECK_THROWS_WITH(make({{six, three}, Join::kConcatenate, nn::Sequential(6)}),
                    "Tower: width of all inputs is 9, but must equal width of the first layer, which is 6");
}

TEST_CASE("Tower: refuses columns and tables that do not fit, before a pass reads them") {
  const auto features = mixed_features(9);
  const auto check = [&](const model::Input& input) {
    const Tower tower({{input}, Join::kSum, nn::Sequential(6)}, 0);
    nn::Parameters<float> parameters{std::vector<float>(18), {{"codes", Matrix<float>(5, 6)}, {"few", Matrix<float>(3, 6)}}};
    tower.check<float>(features, parameters);
  };
  CHECK_NOTHROW(check({0, 0, nn::Embedding{6}}));
  CHECK_NOTHROW(check({1, 0, nn::Bag{6}}));
  CHECK_NOTHROW(check({2, -1, nn::Numeric{6}}));
  CHECK_THROWS_WITH(check({4, 0, nn::Embedding{6}}), "Tower: column of an input is 4, but must be in [0, 3]");
  CHECK_THROWS_WITH(check({-1, 0, nn::Embedding{6}}), "Tower: column of an input is -1, but must be in [0, 3]");
  CHECK_THROWS_WITH(check({1, 0, nn::Embedding{6}}), "Tower: column 1 is of another kind than its encoder");
  CHECK_THROWS_WITH(check({2, 0, nn::Bag{6}}), "Tower: column 2 is of another kind than its encoder");
  CHECK_THROWS_WITH(check({0, -1, nn::Numeric{6}}), "Tower: column 0 is of another kind than its encoder");
  CHECK_THROWS_WITH(check({0, -1, nn::Embedding{6}}), "Tower: table of an input is -1, but must be in [0, 1]");
  CHECK_THROWS_WITH(check({0, 2, nn::Embedding{6}}), "Tower: table of an input is 2, but must be in [0, 1]");
  CHECK_THROWS_WITH(check({0, 1, nn::Embedding{6}}), "Tower: rows of table 1 is 3, but must be at least 5");
  CHECK_THROWS_WITH(check({1, 1, nn::Bag{6}}), "Tower: rows of table 1 is 3, but must be at least 4");

  const Tower narrow({{{0, 0, nn::Embedding{3}}}, Join::kSum, nn::Sequential(3)}, 0);
  const nn::Parameters<float> parameters{{}, {{"codes", Matrix<float>(5, 6)}}};
  CHECK_THROWS_WITH(narrow.check<float>(features, parameters),
                    "Tower: width of table 0 is 6, but must equal width of its encoder, which is 3");
  const Tower numeric({{{2, -1, nn::Numeric{6}}}, Join::kSum, nn::Sequential(6)}, 2);
  CHECK_THROWS_WITH(numeric.check<float>(features, parameters), "Tower: size of the arena is 0, but must be at least 20");
}

TEST_CASE("Tower: encode refuses rows outside the table and outputs of another size") {
  const Tower tower(mixed_tower(Join::kSum, usual_layers, 5), kArenaBegin);
  const auto parameters = random_parameters<float>(tower, Join::kSum);
  const auto features = mixed_features(9);
  Matrix<float> y(2, 5);
  const auto encode = [&](const std::vector<Row>& rows) { tower.encode<float>(parameters, features, rows, y, Threads()); };
  CHECK_THROWS_WITH(encode({0, 9}), "Tower: rows[1] is 9, but must be in [0, 9)");
  CHECK_THROWS_WITH(encode({0}), "Tower: rows of y is 2, but must equal number of rows, which is 1");
  Matrix<float> wide(2, 6);
  CHECK_THROWS_WITH(tower.encode<float>(parameters, features, random_rows(2, 9), wide, Threads()),
                    "Tower: width of y is 6, but must equal out_width, which is 5");
}
