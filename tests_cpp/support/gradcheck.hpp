#pragma once
// The one checker of gradients: every layer and every encoder passes through it, and a sabotaged one must not.
#include <algorithm>
#include <cmath>
#include <limits>

#include "support/random_matrix.hpp"
#include "twotower/nn/layer.hpp"

namespace twotower::test {

/// Largest difference between backward and central differences of dot(y, dy), over inputs and parameters, in units of what
/// rounding can explain: below 1 is right, a missing term gives thousands.
///
/// scale       size of the inputs; differences and errors of dx are measured in it
///
/// dparameters starts from ones (backward must add), dx and cache from NaN (backward and forward must write).
template <class Layer>
double gradient_error(const Layer& layer, Index rows, const nn::Pass& pass = {}, double scale = 1) {
  constexpr double kStep = 1e-6, kNaN = std::numeric_limits<double>::quiet_NaN();
  const Index in = layer.in_width(), out = layer.out_width(), count = layer.parameter_count();
  Matrix<double> x = random_matrix<double>(rows, in, 1, scale), parameters = random_matrix<double>(1, count, 2);
  const Matrix<double> dy = random_matrix<double>(rows, out, 3);
  Matrix<double> y(rows, out), above = y, below = y, cache = Matrix<double>::Constant(rows, layer.cache_width(), kNaN);
  Matrix<double> dx = Matrix<double>::Constant(rows, in, kNaN), dparameters = Matrix<double>::Ones(1, count);
  layer.template forward<double>(parameters.data(), x, y, cache, pass);
  layer.template backward<double>(parameters.data(), x, cache, dy, dx, dparameters.data(), pass);
  dparameters.array() -= 1;

  double worst = 0;
  const auto compare = [&](double& value, double analytic, double unit) {
    const double kept = value;
    value = kept + kStep * unit;
    layer.template forward<double>(parameters.data(), x, above, cache, pass);
    value = kept - kStep * unit;
    layer.template forward<double>(parameters.data(), x, below, cache, pass);
    value = kept;
    // Differences of y first: rows that do not change cancel exactly.
    const double numeric = (above - below).cwiseProduct(dy).sum() / (2 * kStep);
    const double error = std::abs(numeric - unit * analytic) / std::max(1.0, std::abs(unit * analytic));
    worst = error <= worst ? worst : error;  // a NaN is the worst
  };
  for (Index k = 0; k < x.size(); ++k) compare(x.data()[k], dx.data()[k], scale);
  for (Index k = 0; k < count; ++k) compare(parameters.data()[k], dparameters.data()[k], 1);
  const double largest = y.size() == 0 ? 0 : y.cwiseAbs().maxCoeff();
  const double rounding = std::numeric_limits<double>::epsilon() / kStep * (1 + largest) * static_cast<double>(rows + in + out);
  return std::isnan(worst) ? std::numeric_limits<double>::infinity() : worst / rounding;
}

/// A layer whose dx is wrong by a hundredth of dy's mean size.
template <class Layer>
struct WrongInputGradient : Layer {
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx,
                Scalar* dparameters, const nn::Pass& pass) const {
    Layer::template backward<Scalar>(parameters, x, cache, dy, dx, dparameters, pass);
    dx.array() += Scalar(0.01) * dy.cwiseAbs().mean();
  }
};

/// A layer whose last parameter's gradient is wrong by a hundredth.
template <class Layer>
struct WrongParameterGradient : Layer {
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx,
                Scalar* dparameters, const nn::Pass& pass) const {
    Layer::template backward<Scalar>(parameters, x, cache, dy, dx, dparameters, pass);
    dparameters[Layer::parameter_count() - 1] += Scalar(0.01);
  }
};

}  // namespace twotower::test
