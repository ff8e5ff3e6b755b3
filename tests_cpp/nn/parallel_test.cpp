#include "twotower/nn/parallel.hpp"

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

/// The two paths of DCN-v2: products of features beside a plain network.
Parallel two_paths(Index width, Index hidden, Index out) {
  return Parallel(Sequential(width, {CrossNetwork{width, 2, 1}}),
                  Sequential(width, {Dense{width, hidden}, Gelu{hidden}, Dropout{hidden, 0.7, 3}, Dense{hidden, out}}));
}

}  // namespace

TEST_CASE("Parallel: does what every layer must") {
  const Index rows = GENERATE(0, 1, 5, 33);
  const auto [width, hidden, out] = GENERATE(std::tuple<Index, Index, Index>{1, 2, 3}, std::tuple<Index, Index, Index>{3, 17, 1},
                                             std::tuple<Index, Index, Index>{17, 16, 8});
  twotower::test::check_layer(two_paths(width, hidden, out), rows, {}, 100);
  twotower::test::check_layer(two_paths(width, hidden, out), rows, kTraining, 100);
}

TEST_CASE("Parallel: one side, or both, may be without layers") {
  const Index rows = GENERATE(0, 1, 5);
  const Sequential empty(3), dense(3, {Dense{3, 17}});
  twotower::test::check_layer(Parallel(empty, dense), rows);
  twotower::test::check_layer(Parallel(dense, empty), rows);
  const Parallel twice(empty, empty);
  twotower::test::check_layer(twice, rows);
  LayerRun<double> run(twice, rows);
  run.step(twice, {});
  CHECK(run.y.leftCols(3) == run.x);
  CHECK(run.y.rightCols(3) == run.x);
  CHECK(run.dx == run.dy.leftCols(3) + run.dy.rightCols(3));
}

TEST_CASE("Parallel: a row done on paper") {
  // left: x (1; 2) + 10; right: x. (3, 4) -> (3 + 8 + 10, 3, 4). dy = (5, 1, 2): dx = (5 + 1, 10 + 2), dw = (15, 20), db = 5.
  const Parallel layer(Sequential(2, {Dense{2, 1}}), Sequential(2));
  const std::vector<double> parameters{1, 2, 10};
  std::vector<double> dparameters(3, 100);
  Matrix<double> x(1, 2), y(1, 3), cache(1, layer.cache_width()), dy(1, 3), dx(1, 2);
  x << 3, 4;
  dy << 5, 1, 2;
  layer.forward<double>(parameters.data(), x, y, cache, {});
  layer.backward<double>(parameters.data(), x, cache, dy, dx, dparameters.data(), {});
  CHECK(y == (Matrix<double>(1, 3) << 21, 3, 4).finished());
  CHECK(dx == (Matrix<double>(1, 2) << 6, 12).finished());
  CHECK(dparameters == std::vector<double>{115, 120, 105});
}

TEST_CASE("Parallel: gives what its sides give alone") {
  const Parallel layer = two_paths(17, 32, 8);
  const Sequential &left = layer.left(), &right = layer.right();
  LayerRun<float> run(layer, 33), a(left, 33), b(right, 33);
  a.x = b.x = run.x;
  a.parameters = run.parameters.leftCols(left.parameter_count());
  b.parameters = run.parameters.rightCols(right.parameter_count());
  a.dy = run.dy.leftCols(17);
  b.dy = run.dy.rightCols(8);
  run.step(layer, kTraining);
  a.step(left, kTraining);
  b.step(right, kTraining);
  CHECK(same_bytes<float>(run.y.leftCols(17), a.y));
  CHECK(same_bytes<float>(run.y.rightCols(8), b.y));
  CHECK(same_bytes<float>(run.dx, a.dx + b.dx));
  CHECK(same_bytes<float>(run.dparameters.leftCols(left.parameter_count()), a.dparameters));
  CHECK(same_bytes<float>(run.dparameters.rightCols(right.parameter_count()), b.dparameters));
}

TEST_CASE("Parallel: in a Sequential, and in another Parallel") {
  const Parallel inner = two_paths(3, 5, 2);
  const Parallel outer(Sequential(3, {LayerNorm{3}, inner}), Sequential(3));
  const Sequential all(4, {Dense{4, 3}, outer, Dense{8, 5}});
  CHECK(outer.out_width() == 8);
  twotower::test::check_layer(all, 33, kTraining, 1000);
}

TEST_CASE("Parallel: initializes left, then right") {
  const Parallel layer = two_paths(3, 5, 2);
  std::vector<float> parameters(static_cast<std::size_t>(layer.parameter_count())), wanted = parameters;
  twotower::RandomStream random(1, twotower::Purpose::kInitialize), again = random;
  layer.initialize(parameters.data(), random);
  layer.left().initialize(wanted.data(), again);
  layer.right().initialize(wanted.data() + layer.left().parameter_count(), again);
  CHECK(parameters == wanted);
}

TEST_CASE("Parallel: a copy works when the original is gone") {
  auto original = std::make_unique<Parallel>(two_paths(3, 5, 2));
  LayerRun<float> a(*original, 5);
  a.step(*original, kTraining);
  const Parallel copy = *original;
  original.reset();
  LayerRun<float> b(copy, 5);
  b.step(copy, kTraining);
  CHECK(same_bytes(a.y, b.y));
}

TEST_CASE("Parallel: the cache holds both sides' and one gradient") {
  const Parallel layer = two_paths(17, 32, 8);
  CHECK(layer.cache_width() == layer.left().cache_width() + layer.right().cache_width() + 32);
  CHECK(Parallel(Sequential(3), Sequential(3)).cache_width() == 16);
}

TEST_CASE("Parallel: refuses sides that start from different widths") {
  const Parallel layer(Sequential(3), Sequential(4));
  const char* sentence = "Parallel: in_width of right is 4, but must equal in_width of left, which is 3";
  CHECK_THROWS_WITH(layer.check(), sentence);
  CHECK_THROWS_WITH(Sequential(3, {layer}), sentence);
}
