#pragma once
#include <Eigen/Core>

#include "twotower/base/types.hpp"

namespace twotower::nn {

/// The sum of a row of values, in an order that the number of values alone decides.
///
/// Eigen's own .sum() starts its vector loop at the first aligned address, so the same numbers elsewhere in memory may give other
/// bits. Here value k always goes to lane k % 16, and lanes are added up in halves.
///
/// terms       a row expression, for instance x.row(i).array().square()
template <class Terms>
Terms::Scalar ordered_sum(const Eigen::ArrayBase<Terms>& terms) {
  static_assert(Terms::RowsAtCompileTime == 1);
  constexpr int kLanes = 16;
  using Lanes = Eigen::Array<typename Terms::Scalar, 1, kLanes>;
  const Index whole = terms.cols() / kLanes * kLanes;
  Lanes lanes = Lanes::Zero();
  for (Index k = 0; k < whole; k += kLanes) lanes += terms.template middleCols<kLanes>(k);
  for (Index k = whole; k < terms.cols(); ++k) lanes[k - whole] += terms.derived().coeff(0, k);
  using Scalar = Terms::Scalar;
  const Eigen::Array<Scalar, 1, 8> eight = lanes.template head<8>() + lanes.template tail<8>();
  const Eigen::Array<Scalar, 1, 4> four = eight.template head<4>() + eight.template tail<4>();
  return (four[0] + four[2]) + (four[1] + four[3]);
}

}  // namespace twotower::nn
