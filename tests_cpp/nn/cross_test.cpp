#include "twotower/nn/cross.hpp"

#include "support/catch.hpp"
#include "support/layer_kit.hpp"
#include "support/naive.hpp"

using twotower::Index;
using twotower::Matrix;
using twotower::RowVector;
using twotower::nn::CrossNetwork;
using twotower::test::LayerRun;
using twotower::test::random_matrix;

namespace {

/// Parameters [W, b] of one layer out of an array; W = u v where there is a rank.
std::pair<Matrix<double>, RowVector<double>> parts_of(const CrossNetwork& layer, const double* parameters, Index l) {
  using Values = Eigen::Map<const Matrix<double>>;
  const double* begin = parameters + l * layer.layer_size();
  const RowVector<double> b = Eigen::Map<const RowVector<double>>(begin + layer.layer_size() - layer.width, layer.width);
  if (layer.rank == 0) return {Values(begin, layer.width, layer.width), b};
  const Index thin = layer.width * layer.rank;
  return {Values(begin, layer.width, layer.rank) * Values(begin + thin, layer.rank, layer.width), b};
}

}  // namespace

TEST_CASE("CrossNetwork: does what every layer must") {
  const auto [width, depth, rank] =
      GENERATE(std::tuple<Index, Index, Index>{1, 1, 0}, std::tuple<Index, Index, Index>{1, 3, 1},
               std::tuple<Index, Index, Index>{2, 3, 0}, std::tuple<Index, Index, Index>{3, 2, 2},
               std::tuple<Index, Index, Index>{16, 1, 0}, std::tuple<Index, Index, Index>{17, 2, 0},
               std::tuple<Index, Index, Index>{17, 2, 3}, std::tuple<Index, Index, Index>{33, 1, 16},
               std::tuple<Index, Index, Index>{64, 1, 0}, std::tuple<Index, Index, Index>{64, 1, 17});
  const Index rows = GENERATE(0, 1, 5, 33);
  twotower::test::check_layer(CrossNetwork{width, depth, rank}, rows, {}, 10);
}

TEST_CASE("CrossNetwork: a row done on paper") {
  // x W + b = (2, 3) (1 2; 3 4) + (10, 20) = (2 + 9 + 10, 4 + 12 + 20) = (21, 36); y = (2 21 + 2, 3 36 + 3) = (44, 111).
  // dy = (1, 10): d(x W + b) = dy x = (2, 30); dW = x^T (2, 30) = (4 60; 6 90); db = (2, 30).
  // dx = dy + dy (21, 36) + (2, 30) W^T = (1 + 21 + 2 + 60, 10 + 360 + 6 + 120) = (84, 496).
  const std::vector<double> parameters{1, 2, 3, 4, 10, 20};
  std::vector<double> dparameters(6, 100);
  const CrossNetwork layer{2, 1, 0};
  Matrix<double> x(1, 2), y(1, 2), cache(1, layer.cache_width()), dy(1, 2), dx(1, 2);
  x << 2, 3;
  dy << 1, 10;
  layer.forward<double>(parameters.data(), x, y, cache, {});
  layer.backward<double>(parameters.data(), x, cache, dy, dx, dparameters.data(), {});
  CHECK(y == (Matrix<double>(1, 2) << 44, 111).finished());
  CHECK(dx == (Matrix<double>(1, 2) << 84, 496).finished());
  CHECK(dparameters == std::vector<double>{104, 160, 106, 190, 102, 130});
}

TEST_CASE("CrossNetwork: every layer raises the degree by one, and x_0 stays the factor") {
  // Width 1, W = 1, b = 0: x_{l+1} = x x_l + x_l, so y = x (1 + x)^depth; dy/dx = (1 + x)^depth + depth x (1 + x)^(depth - 1).
  const Index depth = GENERATE(1, 2, 3, 5);
  const CrossNetwork layer{1, depth, 0};
  std::vector<double> parameters, dparameters(static_cast<std::size_t>(2 * depth));
  for (Index l = 0; l < depth; ++l) parameters.insert(parameters.end(), {1, 0});
  Matrix<double> x(1, 1), y(1, 1), cache(1, layer.cache_width()), dy(1, 1), dx(1, 1);
  x << 2;
  dy << 1;
  layer.forward<double>(parameters.data(), x, y, cache, {});
  layer.backward<double>(parameters.data(), x, cache, dy, dx, dparameters.data(), {});
  const auto power = [](Index n) { return std::pow(3.0, static_cast<double>(n)); };
  CHECK(y(0, 0) == 2 * power(depth));
  CHECK(dx(0, 0) == power(depth) + static_cast<double>(depth) * 2 * power(depth - 1));
}

TEST_CASE("CrossNetwork: agrees with plain loops") {
  const Index width = GENERATE(1, 3, 17, 64), depth = GENERATE(1, 2, 4), rows = GENERATE(1, 5, 129), rank = GENERATE(0, 1, 2);
  const CrossNetwork layer{width, depth, std::min(rank, width)};
  LayerRun<double> run(layer, rows);
  run.step(layer, {});
  Matrix<double> wanted = run.x;
  for (Index l = 0; l < depth; ++l) {
    const auto [w, b] = parts_of(layer, run.parameters.data(), l);
    wanted = twotower::test::naive::cross(w, b, run.x, wanted);
  }
  CHECK(twotower::test::distance(run.y, wanted) < 1e-14 * static_cast<double>((4 + width) * depth));
}

TEST_CASE("CrossNetwork: with a rank it is the full form with W = u v, forward and backward") {
  const Index width = GENERATE(1, 3, 17), depth = GENERATE(1, 3);
  for (const Index rank : {Index{1}, (width + 1) / 2, width}) {
    const CrossNetwork thin{width, depth, rank}, full{width, depth, 0};
    LayerRun<double> a(thin, 5), b(full, 5);
    for (Index l = 0; l < depth; ++l) {
      const auto [w, bias] = parts_of(thin, a.parameters.data(), l);
      double* begin = b.parameters.data() + l * full.layer_size();
      Eigen::Map<Matrix<double>>(begin, width, width) = w;
      Eigen::Map<RowVector<double>>(begin + width * width, width) = bias;
    }
    a.step(thin, {});
    b.step(full, {});
    const double tolerance = 1e-12 * static_cast<double>(width);
    CHECK(twotower::test::distance(a.y, b.y) < tolerance);
    CHECK(twotower::test::distance(a.dx, b.dx) < tolerance);
    for (Index l = 0; l < depth; ++l) {
      // W = u v: du = dW v^T and dv = u^T dW.
      using Values = Eigen::Map<const Matrix<double>>;
      const double *values = a.parameters.data() + l * thin.layer_size(), *got = a.dparameters.data() + l * thin.layer_size();
      const Values u(values, width, rank), v(values + u.size(), rank, width), du(got, width, rank),
          dv(got + u.size(), rank, width);
      const auto [dw, db] = parts_of(full, b.dparameters.data(), l);
      CHECK(twotower::test::distance<double, double>(du, dw * v.transpose()) < tolerance);
      CHECK(twotower::test::distance<double, double>(dv, u.transpose() * dw) < tolerance);
      CHECK(twotower::test::distance<double, double>(Values(got + 2 * u.size(), 1, width), db) < tolerance);
    }
  }
}

TEST_CASE("CrossNetwork: without weights and biases the identity") {
  const CrossNetwork layer{17, 3, GENERATE(0, 4)};
  LayerRun<double> run(layer, 5);
  run.parameters.setZero();
  run.step(layer, {});
  CHECK(run.y == run.x);
  CHECK(run.dx == run.dy);
}

TEST_CASE("CrossNetwork: starts within Glorot's limit, at zero bias, the same for float and double") {
  const CrossNetwork layer{30, 2, GENERATE(0, 10)};
  const Index size = layer.layer_size(), weights = size - 30;
  std::vector<double> parameters(static_cast<std::size_t>(2 * size), 9);
  std::vector<float> single(parameters.size(), 9);
  twotower::RandomStream random(3, twotower::Purpose::kInitialize), again = random;
  layer.initialize(parameters.data(), random);
  layer.initialize(single.data(), again);
  const double limit = std::sqrt(6.0 / (layer.rank == 0 ? 60 : 40));
  double square = 0;
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    const bool bias = static_cast<Index>(k) % size >= weights;
    CHECK((bias ? parameters[k] == 0 : std::abs(parameters[k]) <= limit));
    CHECK(single[k] == static_cast<float>(parameters[k]));
    square += parameters[k] * parameters[k] / static_cast<double>(2 * weights);
  }
  CHECK(square == Approx(limit * limit / 3).epsilon(0.13));  // 1200 draws or more: standard error 2.6 %
}

TEST_CASE("CrossNetwork: what it learns and remembers") {
  CHECK(CrossNetwork{17, 3, 0}.parameter_count() == 3 * (17 * 17 + 17));
  CHECK(CrossNetwork{17, 3, 4}.parameter_count() == 3 * (2 * 17 * 4 + 17));
  CHECK(CrossNetwork{17, 3, 0}.cache_width() == 3 * (32 + 32));
  CHECK(CrossNetwork{17, 3, 4}.cache_width() == 3 * (32 + 32 + 16));
}

TEST_CASE("CrossNetwork: refuses widths and depths below one, and a rank beyond the width") {
  CHECK_THROWS_WITH((CrossNetwork{0, 1, 0}.check()), "CrossNetwork: width is 0, but must be at least 1");
  CHECK_THROWS_WITH((CrossNetwork{4, 0, 0}.check()), "CrossNetwork: depth is 0, but must be at least 1");
  CHECK_THROWS_WITH((CrossNetwork{4, 1, -1}.check()), "CrossNetwork: rank is -1, but must be at least 0");
  CHECK_THROWS_WITH((CrossNetwork{4, 1, 5}.check()),
                    "CrossNetwork: rank is 5, but must be at most width, which is 4; 0 means full matrices");
  CHECK_NOTHROW((CrossNetwork{4, 1, 4}.check()));
}
