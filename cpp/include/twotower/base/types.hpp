#pragma once
// Row-major matrices and views of them. Everything in the core speaks these and nothing else.
#include <Eigen/Core>

#include <cstdint>
#include <span>

namespace twotower {

using Index = Eigen::Index;

template <class Scalar>
using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A view of n rows; the rows may be farther apart than their width.
template <class Scalar>
using Rows = Eigen::Ref<Matrix<Scalar>, 0, Eigen::OuterStride<>>;

template <class Scalar>
using ConstRows = const Eigen::Ref<const Matrix<Scalar>, 0, Eigen::OuterStride<>>&;

template <class Scalar>
using RowVector = Eigen::Matrix<Scalar, 1, Eigen::Dynamic>;

/// A view of `rows` rows of `width` values that lie `stride` values apart, starting at `values`.
template <class Scalar>
using RowMap = Eigen::Map<Matrix<Scalar>, 0, Eigen::OuterStride<>>;

template <class Scalar>
using ConstRowMap = Eigen::Map<const Matrix<Scalar>, 0, Eigen::OuterStride<>>;

/// Position of an entity in its table. The caller's ids never reach the core.
using Row = std::int32_t;

}  // namespace twotower
