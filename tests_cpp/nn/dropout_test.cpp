#include "twotower/nn/dropout.hpp"

#include "support/catch.hpp"
#include "support/layer_kit.hpp"

using twotower::Index;
using twotower::Matrix;
using twotower::nn::Dropout;
using twotower::nn::Pass;
using twotower::test::random_matrix;

namespace {

/// What the layer makes of ones: its mask.
Matrix<double> mask_of(const Dropout& layer, Index rows, const Pass& pass) {
  const Matrix<double> ones = Matrix<double>::Ones(rows, layer.width);
  Matrix<double> y(rows, layer.width), cache(rows, layer.cache_width());
  layer.forward<double>(nullptr, ones, y, cache, pass);
  return y;
}

constexpr Pass kTraining{true, 5, 17, 100};

}  // namespace

TEST_CASE("Dropout: does what every layer must, in training and outside") {
  const Index width = GENERATE(1, 2, 3, 17, 64), rows = GENERATE(0, 1, 5, 33);
  twotower::test::check_layer(Dropout{width, 0.7}, rows, kTraining);
  twotower::test::check_layer(Dropout{width, 0.7}, rows, {});
}

TEST_CASE("Dropout: outside training, or keeping all, it is the identity both ways") {
  const auto [keep, training] = GENERATE(std::pair{0.3, false}, std::pair{1.0, true});
  const Matrix<double> x = random_matrix<double>(5, 17, 1), dy = random_matrix<double>(5, 17, 2);
  Matrix<double> y(5, 17), dx(5, 17), cache(5, 17);
  const Dropout layer{17, keep};
  layer.forward<double>(nullptr, x, y, cache, {training, 1, 2, 3});
  layer.backward<double>(nullptr, x, cache, dy, dx, nullptr, {training, 1, 2, 3});
  CHECK(y == x);
  CHECK(dx == dy);
}

TEST_CASE("Dropout: the mask is 0 or 1 / keep_probability, with that mean") {
  const double keep = GENERATE(0.1, 0.5, 0.9, 0.999);
  const Matrix<double> mask = mask_of({101, keep}, 1000, kTraining);
  const auto count = static_cast<double>(mask.size());
  CHECK((mask.array() == 0 || mask.array() == 1 / keep).all());
  CHECK(std::abs(mask.mean() - 1) < 5 * std::sqrt((1 - keep) / keep / count));  // five standard errors
  // Both halves of a draw: even and odd columns each keep their mean.
  for (Index first : {0, 1}) {
    const double half = mask(Eigen::all, Eigen::seq(first, Eigen::last, 2)).mean();
    CHECK(std::abs(half - 1) < 7 * std::sqrt((1 - keep) / keep / count));
  }
}

TEST_CASE("Dropout: a row's mask does not depend on the borders of blocks, nor on the scalar") {
  const Dropout layer{17, 0.5, 3};
  const Matrix<double> whole = mask_of(layer, 40, kTraining);
  for (const Index block : {1, 7, 16, 39}) {
    Matrix<double> parts(40, 17);
    for (Index begin = 0; begin < 40; begin += block) {
      const Index count = std::min(block, 40 - begin);
      parts.middleRows(begin, count) = mask_of(layer, count, {true, 5, 17, 100 + begin});
    }
    CHECK(parts == whole);
  }
  const Matrix<float> ones = Matrix<float>::Ones(40, 17);
  Matrix<float> y(40, 17), cache(40, 17);
  layer.forward<float>(nullptr, ones, y, cache, kTraining);
  CHECK(y.cast<double>() == whole);
}

TEST_CASE("Dropout: seed, step, row and stream each give another mask") {
  const Matrix<double> mask = mask_of({64, 0.5, 0}, 1, kTraining);
  CHECK(mask == mask_of({64, 0.5, 0}, 1, kTraining));
  CHECK(mask != mask_of({64, 0.5, 1}, 1, kTraining));
  CHECK(mask != mask_of({64, 0.5, 0}, 1, {true, 6, 17, 100}));
  CHECK(mask != mask_of({64, 0.5, 0}, 1, {true, 5, 18, 100}));
  CHECK(mask != mask_of({64, 0.5, 0}, 1, {true, 5, 17, 101}));
}

TEST_CASE("Dropout: refuses a probability outside (0, 1] and a stream above its range") {
  CHECK_THROWS_WITH((Dropout{0, 0.5}.check()), "Dropout: width is 0, but must be at least 1");
  CHECK_THROWS_WITH((Dropout{3, 0}.check()), "Dropout: keep_probability is 0, but must be a finite number above 0");
  CHECK_THROWS_WITH((Dropout{3, 1.5}.check()), "Dropout: keep_probability is 1.5, but must be in [0, 1]");
  CHECK_THROWS_WITH((Dropout{3, 0.5, 1U << 24}.check()), "Dropout: stream is 16777216, but must be below 16777216");
}
