#include "twotower/model/inputs.hpp"

#include <vector>

#include "support/catch.hpp"
#include "support/small_towers.hpp"

using namespace twotower;
using model::Input;
using model::Inputs;
using model::InputScratch;
using model::Join;
using test::mixed_features;

namespace {

/// mixed_features and, as column 4, vectors of 3 with every fourth row missing.
data::FeatureTable with_vectors(Index rows) {
  data::FeatureTable table = mixed_features(rows);
  Matrix<float> values = test::random_matrix<float>(rows, 3, 4);
  for (Index row = 3; row < rows; row += 4) values(row, 1) = std::nanf("");
  table.add_vectors({values.data(), rows, 3, Eigen::OuterStride<>(3)});
  return table;
}

std::vector<Input> every_kind() {
  return {{0, 0, nn::Embedding{6}, false, 0.4}, {1, 1, nn::Bag{3}},         {2, -1, nn::Numeric{2, 0.5}},
          {4, -1, nn::Projection{3, 5, 0.5}},   {4, -1, nn::Given{3, 0.5}}, {3, 2, nn::Embedding{4}, true}};
}

nn::Parameters<double> parameters_for(const Inputs& inputs) {
  nn::Parameters<double> made;
  const auto arena = test::random_matrix<double>(1, 3 + inputs.parameter_count(), 5);
  made.arena.assign(arena.data(), arena.data() + arena.size());
  for (const auto& [rows, width] : {std::pair<Index, Index>{5, 6}, {4, 3}, {9, 4}})
    made.tables.push_back({"table", test::random_matrix<double>(rows, width, static_cast<std::uint64_t>(rows))});
  return made;
}

}  // namespace

TEST_CASE("Inputs: every kind of column has its slice, of entities and of contexts") {
  const Inputs inputs(every_kind(), Join::kConcatenate, 3);
  CHECK(inputs.width() == 6 + 3 + 2 + 5 + 3 + 4);
  CHECK(inputs.parameter_count() == 3 * 2 + (3 + 2) * 5 + 3);
  const auto entities = with_vectors(9), contexts = mixed_features(9, 8);
  const model::Tables tables{&entities, &contexts};
  const auto parameters = parameters_for(inputs);
  CHECK_NOTHROW(inputs.check("Inputs", tables, parameters));
  const std::vector<Row> rows{2, 3, 0}, pairs{8, 1, 1};
  InputScratch scratch;
  inputs.prepare(tables, {rows, pairs}, {}, scratch);
  Matrix<double> joined = Matrix<double>::Zero(3, inputs.width());
  inputs.forward<double>(parameters, tables, {rows, pairs}, scratch, 0, joined);
  const double* arena = parameters.arena.data() + 3;
  for (Index i = 0; i < 3; ++i) {
    const Row row = rows[static_cast<std::size_t>(i)];
    const Row code = std::get<data::Codes>(entities.column(0)).codes[static_cast<std::size_t>(row)];
    CHECK(joined.row(i).head(6) == parameters.tables[0].values.row(code));
    CHECK(joined.row(i).tail(4) == parameters.tables[2].values.row(pairs[static_cast<std::size_t>(i)]));
    const Eigen::Map<const RowVector<double>> missing_projected(arena + 6 + 20, 5), missing_given(arena + 6 + 25, 3);
    CHECK((joined.row(i).segment(11, 5) == missing_projected) == (row == 3));
    CHECK((joined.row(i).segment(16, 3) == missing_given) == (row == 3));
  }
}

TEST_CASE("Inputs: in training, and only then, a share of the codes is unknown, by seed and step") {
  const Inputs inputs({{3, 0, nn::Embedding{2}, false, 0.25}}, Join::kSum, 0);
  const auto features = mixed_features(2000);
  std::vector<Row> rows;
  for (Row row = 1; row < 2000; ++row) rows.push_back(row);
  const auto codes_of = [&](const nn::Pass& pass) {
    InputScratch scratch;
    inputs.prepare({&features}, {rows, {}}, pass, scratch);
    if (pass.training)
      for (std::size_t k = 0; k < rows.size(); ++k) REQUIRE(scratch.touches[0][k].row == scratch.codes[0][k]);
    else
      REQUIRE(scratch.touches[0].empty());
    return scratch.codes[0];
  };
  CHECK(codes_of({}) == rows);
  const auto dropped = codes_of({true, 1, 1});
  CHECK(codes_of({true, 1, 1}) == dropped);
  CHECK(codes_of({true, 1, 2}) != dropped);
  CHECK(codes_of({true, 2, 1}) != dropped);
  Index unknown = 0;
  for (std::size_t k = 0; k < rows.size(); ++k) {
    unknown += dropped[k] == 0;
    REQUIRE((dropped[k] == 0 || dropped[k] == rows[k]));
  }
  CHECK(static_cast<double>(unknown) / 1999 == Approx(0.25).margin(0.04));  // four deviations
}

TEST_CASE("Inputs: entities that may not learn touch nothing") {
  const Inputs inputs({{0, 0, nn::Embedding{6}}, {1, 1, nn::Bag{6}}}, Join::kSum, 0);
  const auto features = mixed_features(9);
  const std::vector<Row> rows{0, 4, 8, 4};
  std::vector<std::uint8_t> trainable(9, 1);
  trainable[4] = 0;
  InputScratch scratch;
  inputs.prepare({&features}, {rows, {}, trainable}, {true}, scratch);
  for (const auto& touches : scratch.touches)
    for (const nn::RowTouch& touch : touches) CHECK((touch.position == 0 || touch.position == 2));
  CHECK(scratch.touches[0].size() == 2);
}

TEST_CASE("Inputs: refuse what does not fit") {
  const auto features = with_vectors(9);
  const auto check = [&](const Input& input, const data::FeatureTable* contexts = nullptr) {
    const Inputs inputs({input}, Join::kSum, 0);
    inputs.check("Tower", {&features, contexts}, parameters_for(inputs));
  };
  CHECK_THROWS_WITH(check({4, -1, nn::Projection{4, 2}}),
                    "Tower: width of column 4 is 3, but must equal in_width of its encoder, which is 4");
  CHECK_THROWS_WITH(check({4, -1, nn::Given{2}}),
                    "Tower: width of column 4 is 3, but must equal in_width of its encoder, which is 2");
  CHECK_THROWS_WITH(check({2, -1, nn::Given{2}}), "Tower: column 2 is of another kind than its encoder");
  CHECK_THROWS_WITH(check({0, 0, nn::Embedding{6}, true}),
                    "Tower: an input is of the context, but there is no table of contexts");
  CHECK_NOTHROW(check({0, 0, nn::Embedding{6}, true}, &features));
  CHECK_THROWS_WITH(Inputs({{0, 0, nn::Embedding{6}, false, 1.5}}, Join::kSum, 0),
                    "Inputs: unknown_share is 1.5, but must be in [0, 1]");
}
