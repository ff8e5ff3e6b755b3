#include "twotower/nn/factorization_machine.hpp"

#include "support/catch.hpp"
#include "support/layer_kit.hpp"

using twotower::Index;
using twotower::Matrix;
using namespace twotower::nn;

TEST_CASE("FactorizationMachine: does what every layer must") {
  const Index rows = GENERATE(0, 1, 5, 33);
  const auto [fields, width] =
      GENERATE(std::pair<Index, Index>{2, 1}, std::pair<Index, Index>{3, 17}, std::pair<Index, Index>{7, 16});
  twotower::test::check_layer(FactorizationMachine{fields, width}, rows, {}, 10);
}

TEST_CASE("FactorizationMachine: every pair of fields once") {
  // Fields (1, 2), (3, 4), (5, 6): 1 3 + 1 5 + 3 5 = 23 and 2 4 + 2 6 + 4 6 = 44. dy = (1, 10): dx_1 = (3 + 5, 10 (4 + 6)).
  const FactorizationMachine layer{3, 2};
  Matrix<double> x(1, 6), y(1, 2), cache(1, 2), dy(1, 2), dx(1, 6);
  x << 1, 2, 3, 4, 5, 6;
  dy << 1, 10;
  layer.forward<double>(nullptr, x, y, cache, {});
  layer.backward<double>(nullptr, x, cache, dy, dx, nullptr, {});
  CHECK(y == (Matrix<double>(1, 2) << 23, 44).finished());
  CHECK(dx == (Matrix<double>(1, 6) << 8, 100, 6, 80, 4, 60).finished());
}

TEST_CASE("FactorizationMachine: one field has nothing to multiply with") {
  const FactorizationMachine layer{1, 3};
  Matrix<double> x = Matrix<double>::Ones(2, 3), y(2, 3), cache(2, 3);
  layer.forward<double>(nullptr, x, y, cache, {});
  CHECK(y.isZero(0));
}

TEST_CASE("FactorizationMachine: refuses a specification without sense") {
  CHECK_THROWS_WITH((FactorizationMachine{0, 3}.check()), "FactorizationMachine: fields is 0, but must be at least 1");
  CHECK_THROWS_WITH((FactorizationMachine{2, 0}.check()), "FactorizationMachine: width is 0, but must be at least 1");
}
