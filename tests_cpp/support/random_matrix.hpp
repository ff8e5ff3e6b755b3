#pragma once
#include "twotower/base/random.hpp"
#include "twotower/base/types.hpp"

namespace twotower::test {

/// Uniform in [-scale, scale); `number` tells one matrix of a test from another. The same numbers for float and double.
template <class Scalar>
Matrix<Scalar> random_matrix(Index rows, Index width, std::uint64_t number, double scale = 1) {
  RandomStream random(number, Purpose::kTest);
  Matrix<Scalar> matrix(rows, width);
  for (Index i = 0; i < rows; ++i)
    for (Index k = 0; k < width; ++k) matrix(i, k) = static_cast<Scalar>(static_cast<float>(scale * (2 * random.uniform() - 1)));
  return matrix;
}

}  // namespace twotower::test
