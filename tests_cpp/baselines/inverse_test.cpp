#include "twotower/baselines/inverse.hpp"

#include <Eigen/LU>

#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace twotower;

TEST_CASE("inverse: agrees with elimination, for any number of threads") {
  const Index n = GENERATE(0, 1, 2, 127, 128, 129, 300);
  const Matrix<double> root = test::random_matrix<double>(n, n + 5, 1);
  const Matrix<double> matrix = root * root.transpose() + Matrix<double>::Identity(n, n);
  const Matrix<double> expected = n == 0 ? matrix : Matrix<double>(matrix.inverse());
  Matrix<double> one = matrix;
  // The upper triangle is not read.
  one.triangularView<Eigen::StrictlyUpper>().setConstant(1e9);
  baselines::invert_positive_definite(Threads(1), one);
  const Matrix<double> lower = one.triangularView<Eigen::Lower>();
  const Matrix<double> wanted = expected.triangularView<Eigen::Lower>();
  if (n > 0) CHECK((lower - wanted).cwiseAbs().maxCoeff() < 1e-10);
  for (const int threads : {2, 7}) {
    Matrix<double> other = matrix;
    baselines::invert_positive_definite(Threads(threads), other);
    CHECK(Matrix<double>(other.triangularView<Eigen::Lower>()) == lower);
  }
}

TEST_CASE("inverse: refuses what has none") {
  Matrix<double> matrix = Matrix<double>::Identity(200, 200);
  matrix(150, 150) = -1;
  CHECK_THROWS_WITH(baselines::invert_positive_definite(Threads(1), matrix),
                    "invert_positive_definite: the matrix is not positive definite at row 128 or below");
}
