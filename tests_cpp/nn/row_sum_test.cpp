#include "twotower/nn/row_sum.hpp"

#include "support/catch.hpp"
#include "support/layer_kit.hpp"

using twotower::Index;
using namespace twotower::nn;

TEST_CASE("RowSum: does what every layer must") {
  const Index rows = GENERATE(0, 1, 5, 33), width = GENERATE(1, 2, 17);
  twotower::test::check_layer(RowSum{width}, rows);
}

TEST_CASE("RowSum: refuses what has no column") {
  CHECK_THROWS_WITH((RowSum{0}.check()), "RowSum: width is 0, but must be at least 1");
}
