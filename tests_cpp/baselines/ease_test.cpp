#include "twotower/baselines/ease.hpp"

#include <Eigen/LU>

#include "support/catch.hpp"
#include "support/sparse.hpp"

using namespace twotower;

TEST_CASE("ease: agrees with the formula, for any number of threads") {
  const Index items = GENERATE(1, 31, 140);
  const SparseRows met = test::random_sparse(90, items, 0.1, 1);
  const Matrix<double> table = test::dense(met).cast<double>();
  const Matrix<double> inverse = (table.transpose() * table + 7 * Matrix<double>::Identity(items, items)).inverse();
  Matrix<double> expected = -inverse * inverse.diagonal().cwiseInverse().asDiagonal();
  expected.diagonal().setZero();
  Matrix<float> one(items, items);
  baselines::ease(met, 7, Threads(1), one);
  CHECK((one.cast<double>() - expected).cwiseAbs().maxCoeff() < 1e-6);
  CHECK(one.diagonal().isZero());
  for (const int threads : {2, 7}) {
    Matrix<float> other(items, items);
    baselines::ease(met, 7, Threads(threads), other);
    CHECK(other == one);
  }
}

TEST_CASE("ease: refuses what does not fit") {
  Matrix<float> weights(2, 2);
  const SparseRows met = test::random_sparse(4, 3, 0.5, 1);
  CHECK_THROWS_WITH(baselines::ease(met, 0, Threads(1), weights),
                    "ease: regularization is 0, but must be a finite number above 0");
  CHECK_THROWS_WITH(baselines::ease(met, 1, Threads(1), weights),
                    "ease: the number of rows is 2, but must equal the number of items, which is 3");
}
