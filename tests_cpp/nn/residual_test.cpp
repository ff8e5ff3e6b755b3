#include "twotower/nn/residual.hpp"

#include "support/catch.hpp"
#include "support/layer_kit.hpp"
#include "twotower/nn/sequential.hpp"

using twotower::Index;
using twotower::Matrix;
using twotower::test::LayerRun;
using twotower::test::same_bytes;
using namespace twotower::nn;

namespace {

constexpr Pass kTraining{true, 5, 17, 100};

Sequential bottleneck(Index width, Index hidden) {
  return Sequential(width, {LayerNorm{width}, Dense{width, hidden}, Gelu{hidden}, Dropout{hidden, 0.7, 3}, Dense{hidden, width}});
}

}  // namespace

TEST_CASE("Residual: does what every layer must") {
  const Index rows = GENERATE(0, 1, 5, 33);
  const auto [width, hidden] = GENERATE(std::pair<Index, Index>{1, 2}, std::pair<Index, Index>{3, 17},
                                        std::pair<Index, Index>{17, 5}, std::pair<Index, Index>{32, 16});
  twotower::test::check_layer(Residual(Sequential(width, {Dense{width, hidden}, Gelu{hidden}, Dense{hidden, width}})), rows, {},
                              10);
  twotower::test::check_layer(Residual(bottleneck(width, hidden)), rows, kTraining, 10000);
}

TEST_CASE("Residual: a row done on paper") {
  // f(x) = x (1 2; 3 4) + (10, 20): (2, 3) -> (21, 36), so y = (23, 39). dy = (1, 10): dx = dy + dy W^T = (1 + 21, 10 + 43).
  const Residual layer(Sequential(2, {Dense{2, 2}}));
  const std::vector<double> parameters{1, 2, 3, 4, 10, 20};
  std::vector<double> dparameters(6, 100);
  Matrix<double> x(1, 2), y(1, 2), cache(1, layer.cache_width()), dy(1, 2), dx(1, 2);
  x << 2, 3;
  dy << 1, 10;
  layer.forward<double>(parameters.data(), x, y, cache, {});
  layer.backward<double>(parameters.data(), x, cache, dy, dx, dparameters.data(), {});
  CHECK(y == (Matrix<double>(1, 2) << 23, 39).finished());
  CHECK(dx == (Matrix<double>(1, 2) << 22, 53).finished());
  CHECK(dparameters == std::vector<double>{102, 120, 103, 130, 101, 110});
}

TEST_CASE("Residual: gives the bytes of its layers, and x on top") {
  const Sequential layers = bottleneck(17, 32);
  const Residual layer(layers);
  const Index rows = GENERATE(1, 33);
  LayerRun<float> run(layer, rows), plain(layers, rows);
  run.step(layer, kTraining);
  plain.step(layers, kTraining);
  CHECK(same_bytes<float>(run.y, plain.y + plain.x));
  CHECK(same_bytes<float>(run.dx, plain.dx + plain.dy));
  CHECK(same_bytes(run.dparameters, plain.dparameters));
}

TEST_CASE("Residual: without layers twice x") {
  const Residual layer(Sequential(4));
  LayerRun<double> run(layer, 5);
  run.step(layer, {});
  CHECK(run.y == 2 * run.x);
  CHECK(run.dx == 2 * run.dy);
}

TEST_CASE("Residual: in a Sequential, and in another Residual") {
  const Residual inner(Sequential(3, {Dense{3, 5}, Gelu{5}, Dense{5, 3}}));
  const Residual outer(Sequential(3, {LayerNorm{3}, inner, Dense{3, 3}}));
  const Sequential all(4, {Dense{4, 3}, outer, inner, L2Normalize{3}});
  CHECK(all.parameter_count() == 15 + (6 + 38 + 12) + 38);
  twotower::test::check_layer(all, 33, {}, 1000);
}

TEST_CASE("Residual: initializes as its layers do") {
  const Sequential layers = bottleneck(3, 5);
  std::vector<float> parameters(static_cast<std::size_t>(layers.parameter_count())), wanted = parameters;
  twotower::RandomStream random(1, twotower::Purpose::kInitialize), again = random;
  Residual(layers).initialize(parameters.data(), random);
  layers.initialize(wanted.data(), again);
  CHECK(parameters == wanted);
}

TEST_CASE("Residual: a copy works when the original is gone") {
  auto original = std::make_unique<Residual>(bottleneck(3, 5));
  LayerRun<float> a(*original, 5);
  a.step(*original, kTraining);
  const Residual copy = *original;
  original.reset();
  LayerRun<float> b(copy, 5);
  b.step(copy, kTraining);
  CHECK(same_bytes(a.y, b.y));
  CHECK(copy.layers().layers().size() == 5);
}

TEST_CASE("Residual: refuses layers that do not end at the width they start from") {
  const Residual layer(Sequential(3, {Dense{3, 5}}));
  const char* sentence = "Residual: out_width of its layers is 5, but must equal their in_width, which is 3";
  CHECK_THROWS_WITH(layer.check(), sentence);
  CHECK_THROWS_WITH(Sequential(3, {layer}), sentence);
}
