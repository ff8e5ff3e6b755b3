#include "twotower/nn/normalization.hpp"

#include <limits>

#include "support/catch.hpp"
#include "support/layer_kit.hpp"
#include "support/naive.hpp"

using twotower::Index;
using twotower::Matrix;
using twotower::nn::L2Normalize;
using twotower::nn::LayerNorm;
using twotower::test::random_matrix;

TEST_CASE("LayerNorm: does what every layer must") {
  const Index width = GENERATE(1, 2, 3, 17, 64), rows = GENERATE(0, 1, 5, 33);
  // Dividing by the deviation, here down to a hundredth, enlarges what rounding did before.
  twotower::test::check_layer(LayerNorm{width}, rows, {}, 300);
}

TEST_CASE("L2Normalize: does what every layer must") {
  const Index width = GENERATE(1, 2, 3, 17, 64), rows = GENERATE(0, 1, 5, 33);
  twotower::test::check_layer(L2Normalize{width}, rows, {}, 100);
}

TEST_CASE("LayerNorm: a row done on paper") {
  // x = (1, 3): mean 2, variance 1, so z = (-1, 1); gain (2, 2), bias (0, 10) give y = (-2, 12).
  const std::vector<double> parameters{2, 2, 0, 10};
  Matrix<double> x(1, 2), y(1, 2), cache(1, 2);
  x << 1, 3;
  LayerNorm{2, 0.0}.forward<double>(parameters.data(), x, y, cache, {});
  CHECK(y(0, 0) == Approx(-2));
  CHECK(y(0, 1) == Approx(12));
}

TEST_CASE("LayerNorm: starts as the plain normalization, which plain loops confirm") {
  const Index width = GENERATE(2, 17, 64), rows = 9;
  std::vector<double> parameters(static_cast<std::size_t>(2 * width), 9);
  twotower::RandomStream random(1, twotower::Purpose::kInitialize);
  LayerNorm{width}.initialize(parameters.data(), random);
  const Matrix<double> x = random_matrix<double>(rows, width, 5);
  Matrix<double> y(rows, width), cache(rows, 2);
  LayerNorm{width}.forward<double>(parameters.data(), x, y, cache, {});
  CHECK(twotower::test::distance(y, twotower::test::naive::layer_norm(x, 1e-5)) < 1e-13);
}

TEST_CASE("LayerNorm: a constant row gives its bias, and a large mean costs no accuracy") {
  const std::vector<float> parameters{1, 1, 1, 1, 5, 6, 7, 8};
  Matrix<float> x(2, 4), y(2, 4), cache(2, 2);
  x << 3, 3, 3, 3, 1001, 1002, 1003, 1004;
  LayerNorm{4}.forward<float>(parameters.data(), x, y, cache, {});
  CHECK(y.row(0) == (Matrix<float>(1, 4) << 5, 6, 7, 8).finished());
  // mean 1002.5, variance (2.25 + .25 + .25 + 2.25) / 4 = 1.25; the mean of squares minus the square of the mean would lose it.
  CHECK(y(1, 0) == Approx(5 - 1.5 / std::sqrt(1.25 + 1e-5)).epsilon(1e-6));
}

TEST_CASE("L2Normalize: rows done on paper") {
  // (3, 4) has length 5. dy = (1, 0): y = (.6, .8), dot(y, dy) = .6, dx = ((1, 0) - .6 (.6, .8)) / 5 = (.128, -.096).
  Matrix<double> x(1, 2), y(1, 2), cache(1, 1), dy(1, 2), dx(1, 2);
  x << 3, 4;
  dy << 1, 0;
  const L2Normalize layer{2};
  layer.forward<double>(nullptr, x, y, cache, {});
  layer.backward<double>(nullptr, x, cache, dy, dx, nullptr, {});
  CHECK(y(0, 0) == Approx(0.6));
  CHECK(y(0, 1) == Approx(0.8));
  CHECK(dx(0, 0) == Approx(0.128));
  CHECK(dx(0, 1) == Approx(-0.096));
}

TEST_CASE("L2Normalize: agrees with plain loops") {
  const Index width = GENERATE(1, 3, 17, 64);
  const Matrix<double> x = random_matrix<double>(9, width, 5);
  Matrix<double> y(9, width), cache(9, 1);
  L2Normalize{width}.forward<double>(nullptr, x, y, cache, {});
  CHECK(twotower::test::distance(y, twotower::test::naive::l2_normalize(x, 1e-6)) < 1e-14);
}

TEST_CASE("L2Normalize: rows shorter than epsilon are divided by epsilon, gradient included") {
  const Index width = GENERATE(1, 2, 3, 17, 64);
  const double scale = GENERATE(1e-7, 1e-12);  // just below epsilon in 64 columns, and far below
  const L2Normalize layer{width};
  CHECK(twotower::test::gradient_error(layer, 5, {}, scale) < 1);
  Matrix<double> x = random_matrix<double>(5, width, 1, scale), y(5, width), cache(5, 1);
  layer.forward<double>(nullptr, x, y, cache, {});
  CHECK(twotower::test::distance(y, Matrix<double>(x / 1e-6)) < 1e-15);
}

TEMPLATE_TEST_CASE("L2Normalize: a row of zeros gives zeros and a finite gradient", "", float, double) {
  Matrix<TestType> x = Matrix<TestType>::Zero(1, 3), y(1, 3), cache(1, 1), dy = Matrix<TestType>::Constant(1, 3, 2), dx(1, 3);
  const L2Normalize layer{3, 0.5};
  layer.forward<TestType>(nullptr, x, y, cache, {});
  layer.backward<TestType>(nullptr, x, cache, dy, dx, nullptr, {});
  CHECK((y.array() == 0).all());
  CHECK((dx.array() == 4).all());  // 2 / .5
}

TEST_CASE("LayerNorm, L2Normalize: a NaN spoils its own row only, and visibly") {
  Matrix<double> x = Matrix<double>::Ones(2, 3), y(2, 3), cache(2, 2);
  x(0, 1) = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> parameters{1, 1, 1, 0, 0, 0};
  LayerNorm{3}.forward<double>(parameters.data(), x, y, cache, {});
  CHECK(y.row(0).array().isNaN().all());
  CHECK(y.row(1).array().isFinite().all());
  L2Normalize{3}.forward<double>(nullptr, x, y, cache.leftCols(1), {});
  CHECK(y.row(0).array().isNaN().all());
  CHECK(y.row(1).array().isFinite().all());
}

TEST_CASE("LayerNorm, L2Normalize: refuse widths below one and epsilons that are not above zero") {
  CHECK_THROWS_WITH(LayerNorm{0}.check(), "LayerNorm: width is 0, but must be at least 1");
  CHECK_THROWS_WITH((LayerNorm{3, 0.0}.check()), "LayerNorm: epsilon is 0, but must be a finite number above 0");
  CHECK_THROWS_WITH(L2Normalize{-1}.check(), "L2Normalize: width is -1, but must be at least 1");
  CHECK_THROWS_WITH((L2Normalize{3, -1.0}.check()), "L2Normalize: epsilon is -1, but must be a finite number above 0");
}
