#include "twotower/model/explain.hpp"

#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "support/small_towers.hpp"

using namespace twotower;
using model::Join;
using model::TwoTower;
using model::TwoTowerSpec;
using test::mixed_features;
using test::mixed_tower;

namespace {

nn::Sequential normalized(Index in, Index) { return nn::Sequential(in, {nn::Dropout{in, 0.5}, nn::L2Normalize{in}}); }

TwoTowerSpec spec_of(Join join, nn::Sequential (*layers)(Index, Index)) {
  return {
      mixed_tower(join, layers, 6, 0),
      mixed_tower(Join::kSum, normalized, 6, 2),
      {{"query codes", 5, 6}, {"query bags", 4, join == Join::kSum ? Index{6} : 3}, {"item codes", 5, 6}, {"item bags", 4, 6}},
      0.25,
      true,
      5,
      1,
      3};
}

double score(const TwoTower<double>& model, const data::FeatureTable& queries, Row query, const data::FeatureTable& items,
             Row item) {
  Matrix<double> u(1, model.vector_width()), v(1, model.vector_width());
  model.query_vectors(queries, std::vector<Row>{query}, u, Threads());
  model.item_vectors(items, std::vector<Row>{item}, v, Threads());
  return u.row(0).dot(v.row(0));
}

}  // namespace

TEST_CASE("explain: exact shares of both sides add up to the score less the bias") {
  TwoTower<double> model(spec_of(Join::kSum, normalized));
  model.parameters().tables.back().values = test::random_matrix<double>(5, 1, 8);
  const auto queries = mixed_features(9, 1), items = mixed_features(13, 2);
  for (const Row query : {0, 3, 8})
    for (const Row item : {1, 12}) {
      const auto found = explain(model, queries, std::vector<Row>{query}, items, std::vector<Row>{item});
      CHECK(found.query_exact);
      CHECK(found.item_exact);
      REQUIRE(found.query.size() == 3);
      const double wanted = score(model, queries, query, items, item);
      CHECK(std::accumulate(found.query.begin(), found.query.end(), found.bias) == Approx(wanted));
      CHECK(std::accumulate(found.item.begin(), found.item.end(), found.bias) == Approx(wanted));
    }
}

TEST_CASE("explain: behind hidden layers, what the score loses without a part") {
  const TwoTower<double> model(spec_of(Join::kConcatenate, test::usual_layers));
  const auto queries = mixed_features(9, 1), items = mixed_features(13, 2);
  const auto found = explain(model, queries, std::vector<Row>{0}, items, std::vector<Row>{1});
  CHECK(!found.query_exact);
  CHECK(found.item_exact);
  // Without its code: the same row of a model whose table of codes is zero.
  TwoTower<double> without = model;
  without.parameters().tables[0].values.setZero();
  CHECK(found.query[0] == Approx(score(model, queries, 0, items, 1) - score(without, queries, 0, items, 1)));
}

TEST_CASE("explain: takes one row a side, of those that are there") {
  const TwoTower<double> model(spec_of(Join::kSum, normalized));
  const auto queries = mixed_features(9, 1), items = mixed_features(13, 2);
  CHECK_THROWS_WITH(explain(model, queries, std::vector<Row>{0, 1}, items, std::vector<Row>{1}),
                    "explain: number of query rows is 2, but must equal what is explained at once, which is 1");
  CHECK_THROWS_WITH(explain(model, queries, std::vector<Row>{9}, items, std::vector<Row>{1}),
                    "explain: query row[0] is 9, but must be in [0, 9)");
}
