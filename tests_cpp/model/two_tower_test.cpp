#include "twotower/model/two_tower.hpp"

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "support/small_towers.hpp"

using namespace twotower;
using model::Join;
using model::TableSpec;
using model::TwoTower;
using model::TwoTowerSpec;
using test::lookup_tower;
using test::mixed_features;
using test::mixed_tower;
using test::same_bits;
using test::usual_layers;

namespace {

constexpr Index kItems = 13, kCodes = 5;

/// Mixed towers of width 5 on both sides, tables 0 and 1 for queries, 2 and 3 for items, and a bias for each code of the items'
/// first column.
TwoTowerSpec mixed_spec(bool item_bias = true) {
  return {mixed_tower(Join::kConcatenate, usual_layers, 5, 0),
          mixed_tower(Join::kSum, usual_layers, 5, 2),
          {{"query codes", 5, 6}, {"query bags", 4, 3}, {"item codes", 5, 6}, {"item bags", 4, 6}},
          0.25,
          item_bias,
          kCodes,
          1,
          3};
}

template <class Scalar>
struct Vectors {
  Matrix<Scalar> queries, items;
};

/// Vectors of all 9 queries and 13 items.
template <class Scalar>
Vectors<Scalar> vectors_of(const TwoTower<Scalar>& model, int num_threads = 1) {
  std::vector<Row> queries(9), items(kItems);
  std::iota(queries.begin(), queries.end(), 0);
  std::iota(items.begin(), items.end(), 0);
  Vectors<Scalar> made{Matrix<Scalar>(9, model.vector_width()), Matrix<Scalar>(kItems, model.vector_width())};
  model.query_vectors(mixed_features(9, 1), queries, made.queries, Threads(num_threads));
  model.item_vectors(mixed_features(kItems, 2), items, made.items, Threads(num_threads));
  return made;
}

}  // namespace

TEMPLATE_TEST_CASE("TwoTower: the vectors' plain dot product is cosine / temperature + bias", "", float, double) {
  const bool item_bias = GENERATE(false, true);
  TwoTower<TestType> model(mixed_spec(item_bias));
  CHECK(model.vector_width() == (item_bias ? 6 : 5));
  CHECK(model.bias_table() == (item_bias ? 4 : -1));
  if (item_bias) model.parameters().tables.back().values = test::random_matrix<TestType>(kCodes, 1, 8);
  const auto vectors = vectors_of(model);
  const Matrix<TestType> scores = vectors.queries * vectors.items.transpose();

  const auto query_features = mixed_features(9, 1), item_features = mixed_features(kItems, 2);
  const auto code_of = [&](Row item) {
    return std::get<data::Codes>(item_features.column(0)).codes[static_cast<std::size_t>(item)];
  };
  Matrix<TestType> u(1, 5), v(1, 5);
  for (Row query = 0; query < 9; ++query)
    for (Row item = 0; item < kItems; ++item) {
      const std::vector<Row> q{query}, i{item};
      model.query().template encode<TestType>(model.parameters(), query_features, q, u, Threads());
      model.item().template encode<TestType>(model.parameters(), item_features, i, v, Threads());
      CHECK(u.norm() == Approx(1).epsilon(1e-5));
      const double bias = item_bias ? static_cast<double>(model.parameters().tables.back().values(code_of(item), 0)) : 0;
      const double wanted = static_cast<double>(u.row(0).dot(v.row(0))) / 0.25 + bias;
      REQUIRE(static_cast<double>(scores(query, item)) == Approx(wanted).margin(16 * std::numeric_limits<TestType>::epsilon()));
    }
}

TEST_CASE("TwoTower: scores on paper") {
  // <(1, 2), (3, 4)> / 0.5 + 7 = 29.
  TwoTower<float> model(
      {lookup_tower(0, 2, 0), lookup_tower(1, 2, 0), {{"queries", 1, 2}, {"items", 1, 2}}, 0.5, true, 1, 0.01, 0});
  model.parameters().tables[0].values << 1, 2;
  model.parameters().tables[1].values << 3, 4;
  model.parameters().tables[2].values << 7;
  data::FeatureTable own(1);
  const std::vector<Row> zero{0};
  own.add_codes(zero, 1);
  Matrix<float> query(1, 3), item(1, 3);
  model.query_vectors(own, zero, query, Threads());
  model.item_vectors(own, zero, item, Threads());
  CHECK(query == (Matrix<float>(1, 3) << 2, 4, 1).finished());
  CHECK(item == (Matrix<float>(1, 3) << 3, 4, 7).finished());
}

TEST_CASE("TwoTower: tables start by seed and number, the bias at zero, the arena by side") {
  const TwoTower<float> model(mixed_spec()), again(mixed_spec());
  const auto& parameters = model.parameters();
  CHECK(same_bits(parameters, again.parameters()));
  REQUIRE(parameters.tables.size() == 5);
  CHECK(std::ssize(parameters.arena) == model.query().parameter_count() + model.item().parameter_count());
  for (std::size_t k = 0; k < 4; ++k) {
    Matrix<float> wanted(parameters.tables[k].values.rows(), parameters.tables[k].values.cols());
    nn::initialize_rows(wanted, 1, 3, k);
    CHECK(parameters.tables[k].values == wanted);
  }
  CHECK(parameters.tables[2].name == "item codes");
  CHECK(parameters.tables[4].name == "item_bias");
  CHECK(parameters.tables[4].values.rows() == kCodes);
  CHECK(parameters.tables[4].values.isZero(0));
  TwoTowerSpec reseeded = mixed_spec();
  reseeded.seed = 4;
  const TwoTower<float> other(reseeded);
  CHECK(other.parameters().arena != parameters.arena);
  CHECK(other.parameters().tables[0].values != parameters.tables[0].values);
}

TEST_CASE("TwoTower: a vector has the same bits alone and in a batch, for 1, 2 and 7 threads") {
  TwoTower<float> model(mixed_spec());
  const auto together = vectors_of(model);
  CHECK(same_bits(vectors_of(model, 2).items, together.items));
  CHECK(same_bits(vectors_of(model, 7).queries, together.queries));
  const auto features = mixed_features(kItems, 2);
  Matrix<float> alone(1, 6);
  for (Row item = 0; item < kItems; ++item) {
    const std::vector<Row> one{item};
    model.item_vectors(features, one, alone, Threads());
    CHECK(same_bits(alone, together.items.row(item)));
  }
}

TEST_CASE("TwoTower: no rows give no vectors") {
  const TwoTower<float> model(mixed_spec());
  Matrix<float> none(0, 6);
  CHECK_NOTHROW(model.query_vectors(mixed_features(9), std::vector<Row>{}, none, Threads()));
  CHECK_NOTHROW(model.item_vectors(mixed_features(9), std::vector<Row>{}, none, Threads()));
}

TEST_CASE("TwoTower: refuses a specification that does not fit together") {
  const auto make = [](const TwoTowerSpec& spec) { return TwoTower<float>(spec); };
  TwoTowerSpec spec = mixed_spec();
  spec.temperature = 0;
  CHECK_THROWS_WITH(make(spec), "TwoTower: temperature is 0, but must be a finite number above 0");
  spec = mixed_spec();
  spec.item = mixed_tower(Join::kSum, usual_layers, 4, 2);
  CHECK_THROWS_WITH(make(spec),
                    "TwoTower: out_width of the query tower is 5, but must equal out_width of the item tower, which is 4");
  spec = mixed_spec();
  spec.tables[1].rows = 0;
  CHECK_THROWS_WITH(make(spec), "TwoTower: rows of table 'query bags' is 0, but must be at least 1");
  spec = mixed_spec();
  spec.tables[1].width = -2;
  CHECK_THROWS_WITH(make(spec), "TwoTower: width of table 'query bags' is -2, but must be at least 1");
  spec = mixed_spec();
  spec.bias_rows = 0;
  CHECK_THROWS_WITH(make(spec), "TwoTower: bias_rows is 0, but must be at least 1");
  spec = mixed_spec();
  std::swap(spec.item.inputs[0], spec.item.inputs[1]);
  CHECK_THROWS_WITH(
      make(spec), "TwoTower: there is an item bias, but the item tower's first input is no embedding; put that of the id first");
  spec.item_bias = false;
  CHECK_NOTHROW(make(spec));
  spec.deviation = -1;
  CHECK_THROWS_WITH(make(spec), "TwoTower: deviation is -1, but must be a finite number of at least 0");
}

TEST_CASE("TwoTower: refuses two tables of one name, the bias included") {
  const auto make = [](const TwoTowerSpec& spec) { return TwoTower<float>(spec); };
  TwoTowerSpec spec = mixed_spec();
  spec.tables[2].name = "query codes";
  CHECK_THROWS_WITH(make(spec), "TwoTower: the name of table 2 is 'query codes', but another table has it; give each its own");
  spec = mixed_spec();
  spec.tables[3].name = "item_bias";
  CHECK_THROWS_WITH(make(spec), "TwoTower: the name of table 4 is 'item_bias', but another table has it; give each its own");
  spec.item_bias = false;
  CHECK_NOTHROW(make(spec));
}

TEST_CASE("TwoTower: refuses outputs, columns, tables and rows that do not fit") {
  const TwoTower<float> model(mixed_spec());
  const std::vector<Row> rows{0, 13};
  Matrix<float> narrow(2, 5), out(2, 6);
  CHECK_THROWS_WITH(model.query_vectors(mixed_features(14), rows, narrow, Threads()),
                    "query_vectors: columns of out is 5, but must equal vector_width, which is 6");
  CHECK_THROWS_WITH(model.item_vectors(mixed_features(14), rows, narrow, Threads()),
                    "item_vectors: columns of out is 5, but must equal vector_width, which is 6");
  CHECK_THROWS_WITH(model.query_vectors(mixed_features(13), rows, out, Threads()),
                    "Tower: rows[1] is 13, but must be in [0, 13)");
  TwoTowerSpec spec = mixed_spec();
  spec.bias_rows = 2;
  const auto features = mixed_features(14, 2);
  std::vector<Row> high;
  for (Row row = 0; row < 14 && high.empty(); ++row)
    if (std::get<data::Codes>(features.column(0)).codes[static_cast<std::size_t>(row)] == 4) high.push_back(row);
  REQUIRE(high.size() == 1);
  Matrix<float> one(1, 6);
  CHECK_THROWS_WITH(TwoTower<float>(spec).item_vectors(features, high, one, Threads()),
                    "item_vectors: codes of the ids[0] is 4, but must be in [0, 2)");
  const data::FeatureTable empty(14);
  CHECK_THROWS_WITH(model.item_vectors(empty, rows, out, Threads()), "Tower: column of an input is 0, but must be in [0, -1]");
}
