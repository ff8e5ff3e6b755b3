#include "twotower/nn/dense.hpp"

#include "support/catch.hpp"
#include "support/layer_kit.hpp"
#include "support/naive.hpp"

using twotower::Index;
using twotower::Matrix;
using twotower::nn::Dense;
using twotower::test::random_matrix;

TEST_CASE("Dense: does what every layer must") {
  const auto [in, out] = GENERATE(std::pair<Index, Index>{1, 1}, std::pair<Index, Index>{2, 3}, std::pair<Index, Index>{3, 17},
                                  std::pair<Index, Index>{17, 2}, std::pair<Index, Index>{64, 64});
  const Index rows = GENERATE(0, 1, 5, 33);
  twotower::test::check_layer(Dense{in, out}, rows);
}

TEST_CASE("Dense: a row done on paper") {
  // y = (1, 2) (3 4 5; 6 7 8) + (10, 20, 30) = (3 + 12, 4 + 14, 5 + 16) + (10, 20, 30) = (25, 38, 51).
  // dy = (1, 0, 2): dx = dy w^T = (3 + 10, 6 + 16) = (13, 22); dw = x^T dy = (1 0 2; 2 0 4); db = dy.
  const std::vector<double> parameters{3, 4, 5, 6, 7, 8, 10, 20, 30};
  std::vector<double> dparameters(9, 100);
  Matrix<double> x(1, 2), y(1, 3), cache(1, 0), dy(1, 3), dx(1, 2);
  x << 1, 2;
  dy << 1, 0, 2;
  const Dense layer{2, 3};
  layer.forward<double>(parameters.data(), x, y, cache, {});
  layer.backward<double>(parameters.data(), x, cache, dy, dx, dparameters.data(), {});
  CHECK(y == (Matrix<double>(1, 3) << 25, 38, 51).finished());
  CHECK(dx == (Matrix<double>(1, 2) << 13, 22).finished());
  CHECK(dparameters == std::vector<double>{101, 100, 102, 102, 100, 104, 101, 100, 102});
}

TEST_CASE("Dense: agrees with plain loops") {
  const Index in = GENERATE(1, 3, 64), out = GENERATE(2, 17, 128), rows = GENERATE(1, 5, 33, 256);
  const auto parameters = random_matrix<double>(1, in * out + out, 1), x = random_matrix<double>(rows, in, 2);
  const Matrix<double> w = parameters.leftCols(in * out).reshaped<Eigen::RowMajor>(in, out);
  Matrix<double> y(rows, out), cache(rows, 0);
  Dense{in, out}.forward<double>(parameters.data(), x, y, cache, {});
  CHECK(twotower::test::distance(y, twotower::test::naive::dense(w, parameters.rightCols(out), x)) <
        1e-15 * static_cast<double>(4 + in));
}

TEST_CASE("Dense: starts within Glorot's limit, at zero bias, the same for float and double") {
  const Dense layer{30, 20};
  std::vector<double> parameters(620, 9);
  std::vector<float> single(620, 9);
  twotower::RandomStream random(3, twotower::Purpose::kInitialize), again = random;
  layer.initialize(parameters.data(), random);
  layer.initialize(single.data(), again);
  const double limit = std::sqrt(6.0 / 50);
  double square = 0;
  for (std::size_t k = 0; k < 600; ++k) {
    CHECK(std::abs(parameters[k]) <= limit);
    CHECK(single[k] == static_cast<float>(parameters[k]));
    square += parameters[k] * parameters[k] / 600;
  }
  CHECK(square == Approx(limit * limit / 3).epsilon(0.15));  // 600 draws: standard error 3.7 %
  CHECK(std::all_of(parameters.begin() + 600, parameters.end(), [](double b) { return b == 0; }));
}

TEST_CASE("Dense: refuses widths below one") {
  CHECK_THROWS_WITH((Dense{0, 3}.check()), "Dense: in is 0, but must be at least 1");
  CHECK_THROWS_WITH((Dense{3, -1}.check()), "Dense: out is -1, but must be at least 1");
}
