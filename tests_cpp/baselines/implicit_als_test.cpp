#include "twotower/baselines/implicit_als.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/random_matrix.hpp"
#include "support/sparse.hpp"

using namespace twotower;
using baselines::AlsSpec;

namespace {

/// The loss as it is written, pair by pair.
double loss(const Matrix<float>& positives, const Matrix<float>& queries, const Matrix<float>& items, const AlsSpec& spec) {
  double sum = 0;
  for (Index q = 0; q < queries.rows(); ++q)
    for (Index i = 0; i < items.rows(); ++i) {
      const double score = queries.row(q).cast<double>().dot(items.row(i).cast<double>());
      sum += static_cast<double>(positives(q, i)) * (1 - score) * (1 - score) + spec.unobserved_weight * score * score;
    }
  for (Index q = 0; q < queries.rows(); ++q) {
    const double n = static_cast<double>(positives.row(q).sum()) + spec.unobserved_weight * static_cast<double>(items.rows());
    sum += spec.regularization * std::pow(n, spec.frequency_exponent) * queries.row(q).cast<double>().squaredNorm();
  }
  return sum;
}

}  // namespace

TEST_CASE("implicit_als: solved rows have the smallest loss") {
  const AlsSpec spec{0.05, 0.3, GENERATE(0.0, 0.5, 1.0)};
  const Index width = GENERATE(1, 5, 16), queries = 7, items = 300;
  // The densest rows have more positives than enter a system together.
  const SparseRows positives = test::random_sparse(queries, items, GENERATE(0.02, 0.95), 1);
  const Matrix<float> table = test::dense(positives), fixed = test::random_matrix<float>(items, width, 2);
  Matrix<float> solved(queries, width);
  baselines::solve_rows(positives, fixed, spec, Threads(1), solved);
  const double best = loss(table, solved, fixed, spec);
  for (Index k = 0; k < width; ++k)
    for (const float step : {-0.01F, 0.01F}) {
      Matrix<float> moved = solved;
      moved.col(k).array() += step;
      CHECK(loss(table, moved, fixed, spec) > best);
    }
}

TEST_CASE("implicit_als: a row without positives is zero, and threads change nothing") {
  const AlsSpec spec{0.01, 0.1, 1};
  const SparseRows positives = test::random_sparse(150, 40, 0.03, 3);
  std::vector<Matrix<float>> found;
  for (const int threads : {1, 2, 7}) {
    baselines::ImplicitAls als(positives, 8, 0.1, spec, 5);
    for (int sweep = 0; sweep < 3; ++sweep) als.sweep(Threads(threads));
    for (Index row = 0; row < positives.rows(); ++row)
      if (positives.size_of(row) == 0) CHECK(als.queries().row(row).isZero());
    found.push_back(als.queries());
    found.push_back(als.items());
  }
  for (std::size_t k = 2; k < found.size(); ++k) CHECK(found[k] == found[k % 2]);
}

TEST_CASE("implicit_als: every sweep lowers the loss of both sides together") {
  // Exponent 0: the regularization of the items is the same sum as that of the queries.
  const AlsSpec spec{0.1, 0.2, 0};
  const SparseRows positives = test::random_sparse(30, 25, 0.2, 4);
  const Matrix<float> table = test::dense(positives);
  baselines::ImplicitAls als(positives, 4, 1, spec, 6);
  double before = std::numeric_limits<double>::infinity();
  for (int sweep = 0; sweep < 6; ++sweep) {
    als.sweep(Threads(1));
    const double now =
        loss(table, als.queries(), als.items(), spec) + spec.regularization * als.items().cast<double>().squaredNorm();
    CHECK(now < before);
    before = now;
  }
}

TEST_CASE("implicit_als: refuses what does not fit") {
  const SparseRows positives = test::random_sparse(2, 3, 1, 1);
  Matrix<float> fixed = Matrix<float>::Ones(3, 2), solved(2, 2);
  const Threads threads(1);
  CHECK_THROWS_WITH(baselines::solve_rows(positives, fixed, {0, 1, 1}, threads, solved),
                    "solve_rows: regularization is 0, but must be a finite number above 0");
  CHECK_THROWS_WITH(baselines::solve_rows(positives, fixed, {1, -1, 1}, threads, solved),
                    "solve_rows: unobserved_weight is -1, but must be a finite number above 0");
  CHECK_THROWS_WITH(
      baselines::solve_rows(positives, fixed.topRows(2), {1, 1, 1}, threads, solved),
      "solve_rows: the number of columns of the positives is 3, but must equal the number of fixed rows, which is 2");
  fixed.setConstant(1e10F);
  CHECK_THROWS_WITH(baselines::solve_rows(positives, fixed, {1e-20, 1, 0}, threads, solved),
                    "solve_rows: the system of row 0 has no solution; raise regularization, which is 1e-20");
}
