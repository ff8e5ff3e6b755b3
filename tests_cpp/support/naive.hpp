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

}  // namespace twotower::test::naive
