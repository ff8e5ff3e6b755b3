#include "twotower/nn/gather.hpp"

#include <vector>

#include "support/catch.hpp"
#include "support/layer_kit.hpp"

using twotower::Index;
using twotower::Matrix;
using twotower::Row;
using twotower::nn::for_columns;
using twotower::nn::Gather;
using twotower::nn::weighted_sum;

TEST_CASE("for_columns: blocks cover every column once, in order") {
  const Index width = GENERATE(0, 1, 3, 4, 16, 17, 64, 85, 128, 151);
  Index next = 0;
  for_columns(width, [&]<int n>(Index k) {
    CHECK(k == next);
    next += n;
  });
  CHECK(next == width);
}

TEST_CASE("weighted_sum: agrees with plain loops, whatever lies between the rows") {
  const Index width = GENERATE(1, 5, 64, 85), count = GENERATE(0, 1, 7, 40);
  const Matrix<double> whole = twotower::test::random_matrix<double>(9, width + 3, 1);
  const Matrix<double> factors = twotower::test::random_matrix<double>(1, count, 2);
  std::vector<Row> codes;
  for (Index j = 0; j < count; ++j) codes.push_back(static_cast<Row>(j * 5 % 9));
  const Gather<double> gather{whole.data(), width + 3, width, codes.data(), codes.data() + codes.size()};
  Matrix<double> sum = Matrix<double>::Constant(1, width, 9), wanted = Matrix<double>::Zero(1, width);
  for (Index j = 0; j < count; ++j) {
    gather.prefetch(j);  // looks at no code behind the last
    for (Index k = 0; k < width; ++k) wanted(0, k) += factors(0, j) * whole(codes[static_cast<std::size_t>(j)], k);
  }
  weighted_sum(gather, factors.data(), count, sum.data());
  CHECK(twotower::test::distance(sum, wanted) < 1e-15 * static_cast<double>(4 + count));
}
