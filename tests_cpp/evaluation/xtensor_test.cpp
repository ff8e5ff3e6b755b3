#include "twotower/evaluation/xtensor.hpp"

#include <array>

#include "support/catch.hpp"

TEST_CASE("xtensor: the pieces that we lean on, in whatever release was found") {
  const xt::xtensor<double, 2> hits{{0, 1, 1}, {1, 0, 0}};
  const xt::xtensor<double, 1> rank = xt::arange<double>(1, 4);
  const xt::xtensor<double, 2> sums = xt::cumsum(hits * rank, 1);
  CHECK(sums == xt::xtensor<double, 2>{{0, 2, 5}, {1, 1, 1}});
  std::array<double, 2> out{};
  xt::noalias(xt::adapt(out.data(), 2, xt::no_ownership(), std::array<std::size_t, 1>{2})) = xt::view(sums, xt::all(), 2) / 2;
  CHECK(out == std::array{2.5, 0.5});
}
