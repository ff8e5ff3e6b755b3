#pragma once
// The layers once more, as loops that can be checked by eye. Slow on purpose; kept as the oracle for every faster form.
#include <cmath>
#include <numbers>

#include "twotower/base/types.hpp"

namespace twotower::test::naive {

inline Matrix<double> dense(const Matrix<double>& w, const RowVector<double>& b, const Matrix<double>& x) {
  Matrix<double> y(x.rows(), w.cols());
  for (Index i = 0; i < x.rows(); ++i)
    for (Index j = 0; j < w.cols(); ++j) {
      y(i, j) = b[j];
      for (Index k = 0; k < x.cols(); ++k) y(i, j) += x(i, k) * w(k, j);
    }
  return y;
}

/// x Phi(x): what the tanh form of Gelu approximates.
inline double exact_gelu(double x) { return x / 2 * (1 + std::erf(x / std::numbers::sqrt2)); }

inline double tanh_gelu(double x) {
  return x / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}

inline Matrix<double> layer_norm(const Matrix<double>& x, double epsilon) {
  Matrix<double> y = x;
  for (Index i = 0; i < x.rows(); ++i) {
    double mean = 0, variance = 0;
    for (Index k = 0; k < x.cols(); ++k) mean += x(i, k) / static_cast<double>(x.cols());
    for (Index k = 0; k < x.cols(); ++k) variance += (x(i, k) - mean) * (x(i, k) - mean) / static_cast<double>(x.cols());
    for (Index k = 0; k < x.cols(); ++k) y(i, k) = (x(i, k) - mean) / std::sqrt(variance + epsilon);
  }
  return y;
}

inline Matrix<double> l2_normalize(const Matrix<double>& x, double epsilon) {
  Matrix<double> y = x;
  for (Index i = 0; i < x.rows(); ++i) {
    double square = 0;
    for (Index k = 0; k < x.cols(); ++k) square += x(i, k) * x(i, k);
    for (Index k = 0; k < x.cols(); ++k) y(i, k) = x(i, k) / std::max(std::sqrt(square), epsilon);
  }
  return y;
}

/// One layer of a CrossNetwork: x0 * (x w + b) + x.
inline Matrix<double> cross(const Matrix<double>& w, const RowVector<double>& b, const Matrix<double>& x0,
                            const Matrix<double>& x) {
  Matrix<double> y = x;
  for (Index i = 0; i < x.rows(); ++i)
    for (Index j = 0; j < x.cols(); ++j) {
      double product = b[j];
      for (Index k = 0; k < x.cols(); ++k) product += x(i, k) * w(k, j);
      y(i, j) = x0(i, j) * product + x(i, j);
    }
  return y;
}

/// x w + start for a row of values that is there, otherwise `missing`.
inline Matrix<double> projection(const Matrix<double>& w, const RowVector<double>& start, const RowVector<double>& missing,
                                 const Matrix<float>& values, std::span<const Row> rows) {
  Matrix<double> y(std::ssize(rows), w.cols());
  for (Index i = 0; i < y.rows(); ++i)
    for (Index j = 0; j < y.cols(); ++j) {
      const Row row = rows[static_cast<std::size_t>(i)];
      y(i, j) = std::isnan(values(row, 0)) ? missing[j] : start[j];
      for (Index k = 0; k < w.rows() && !std::isnan(values(row, 0)); ++k) y(i, j) += double{values(row, k)} * w(k, j);
    }
  return y;
}

}  // namespace twotower::test::naive
