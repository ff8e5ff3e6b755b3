#include "twotower/baselines/biases.hpp"

#include <Eigen/LU>

#include "support/catch.hpp"
#include "support/sparse.hpp"

using namespace twotower;

TEST_CASE("biases: agree with the normal equations, for any number of threads") {
  const Index queries = 23, items = 17;
  const double query_shrink = GENERATE(0.5, 5.0), item_shrink = 2;
  const SparseRows ratings = test::random_sparse(queries, items, 0.3, 1);
  double mean = 0;
  for (const float value : ratings.values()) mean += static_cast<double>(value);
  mean /= static_cast<double>(ratings.values().size());
  Matrix<double> system = Matrix<double>::Zero(queries + items, queries + items);
  Eigen::VectorXd right = Eigen::VectorXd::Zero(queries + items);
  system.diagonal().head(queries).setConstant(query_shrink);
  system.diagonal().tail(items).setConstant(item_shrink);
  for (Index q = 0; q < queries; ++q)
    for (std::size_t k = 0; k < ratings.columns_of(q).size(); ++k) {
      const Index i = queries + ratings.columns_of(q)[k];
      const double rest = static_cast<double>(ratings.values_of(q)[k]) - mean;
      system(q, q) += 1;
      system(i, i) += 1;
      system(q, i) += 1;
      system(i, q) += 1;
      right[q] += rest;
      right[i] += rest;
    }
  const Eigen::VectorXd expected = system.inverse() * right;
  const baselines::Biases one = baselines::fit_biases(ratings, query_shrink, item_shrink, Threads(1));
  CHECK(one.mean == Approx(mean));
  for (Index q = 0; q < queries; ++q) CHECK(one.of_query[static_cast<std::size_t>(q)] == Approx(expected[q]).margin(1e-6));
  for (Index i = 0; i < items; ++i) CHECK(one.of_item[static_cast<std::size_t>(i)] == Approx(expected[queries + i]).margin(1e-6));
  for (const int threads : {2, 7}) {
    const baselines::Biases other = baselines::fit_biases(ratings, query_shrink, item_shrink, Threads(threads));
    CHECK(other.of_query == one.of_query);
    CHECK(other.of_item == one.of_item);
  }
}

TEST_CASE("biases: who has no rating has none, and nothing is refused by name") {
  const SparseRows ratings("ratings", {0, 0, 1}, {1}, {4}, 3);
  const baselines::Biases found = baselines::fit_biases(ratings, 0, 0, Threads(1));
  CHECK(found.mean == 4);
  CHECK(found.of_query == std::vector<float>{0, 0});
  CHECK(found.of_item == std::vector<float>{0, 0, 0});
  CHECK_THROWS_WITH(baselines::fit_biases(SparseRows(), 0, 0, Threads(1)),
                    "fit_biases: the number of ratings is 0, but must be at least 1");
  CHECK_THROWS_WITH(baselines::fit_biases(ratings, -1, 0, Threads(1)),
                    "fit_biases: query_shrink is -1, but must be in [0, 1.79769e+308]");
}
