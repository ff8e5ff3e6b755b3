#include "twotower/baselines/gram.hpp"

#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace twotower;

TEST_CASE("gram: agrees with a product in double, for any number of threads") {
  const Index rows = GENERATE(0, 1, 63, 1025, 3000), width = GENERATE(1, 17);
  const Matrix<float> table = test::random_matrix<float>(rows, width, 1);
  const Matrix<double> wide = table.cast<double>();
  const Eigen::MatrixXd expected = (wide.transpose() * wide).triangularView<Eigen::Lower>();
  const Eigen::MatrixXd one = baselines::gram(table, Threads(1));
  CHECK((one - expected).cwiseAbs().maxCoeff() <= 1e-12 * static_cast<double>(rows + 1));
  for (const int threads : {2, 7}) CHECK(baselines::gram(table, Threads(threads)) == one);
  const Eigen::VectorXd sums = baselines::column_sums(table);
  CHECK((sums - wide.colwise().sum().transpose()).cwiseAbs().maxCoeff() <= 1e-12 * static_cast<double>(rows + 1));
}
