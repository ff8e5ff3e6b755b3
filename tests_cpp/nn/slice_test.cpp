#include "twotower/nn/slice.hpp"

#include "support/catch.hpp"
#include "support/layer_kit.hpp"

using twotower::Index;
using namespace twotower::nn;

TEST_CASE("Slice: does what every layer must") {
  const Index rows = GENERATE(0, 1, 5, 33);
  const auto [inputs, begin, width] = GENERATE(std::tuple<Index, Index, Index>{1, 0, 1}, std::tuple<Index, Index, Index>{7, 2, 3},
                                               std::tuple<Index, Index, Index>{33, 16, 17});
  twotower::test::check_layer(Slice{inputs, begin, width}, rows);
}

TEST_CASE("Slice: refuses what does not lie in its input") {
  CHECK_THROWS_WITH((Slice{4, 2, 3}.check()), "Slice: in_width is 4, but must be at least 5");
  CHECK_THROWS_WITH((Slice{4, -1, 3}.check()), "Slice: begin is -1, but must be at least 0");
  CHECK_THROWS_WITH((Slice{4, 0, 0}.check()), "Slice: width is 0, but must be at least 1");
}
