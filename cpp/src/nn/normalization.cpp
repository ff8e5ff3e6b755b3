#include "twotower/nn/normalization.hpp"

#include <algorithm>
#include <cmath>

#include "twotower/base/check.hpp"
#include "twotower/nn/ordered_sum.hpp"

namespace twotower::nn {

void LayerNorm::check() const {
  check_at_least(kName, "width", width, 1);
  check_positive(kName, "epsilon", epsilon);
}

template <class Scalar>
void LayerNorm::initialize(Scalar* parameters, RandomStream&) const {
  std::fill_n(parameters, width, Scalar(1));
  std::fill_n(parameters + width, width, Scalar(0));
}

template <class Scalar>
void LayerNorm::forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache, const Pass&) const {
  const Eigen::Map<const RowVector<Scalar>> gain(parameters, width), bias(parameters + width, width);
  const Scalar share = Scalar(1) / static_cast<Scalar>(width);
  for (Index row = 0; row < x.rows(); ++row) {
    const Scalar mean = share * ordered_sum(x.row(row).array());
    const Scalar variance = share * ordered_sum((x.row(row).array() - mean).square());
    const Scalar inverse_deviation = 1 / std::sqrt(variance + static_cast<Scalar>(epsilon));
    y.row(row) = ((x.row(row).array() - mean) * inverse_deviation * gain.array() + bias.array()).matrix();
    cache(row, 0) = mean;
    cache(row, 1) = inverse_deviation;
  }
}

// With z = (x - mean) / deviation and g = gain * dy:  dx = (g - mean(g) - z * mean(g * z)) / deviation.
// The two means are what flows back through the row's mean and through its deviation.
template <class Scalar>
void LayerNorm::backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx,
                         Scalar* dparameters, const Pass&) const {
  const Eigen::Map<const RowVector<Scalar>> gain(parameters, width);
  Eigen::Map<RowVector<Scalar>> dgain(dparameters, width), dbias(dparameters + width, width);
  const Scalar share = Scalar(1) / static_cast<Scalar>(width);
  for (Index row = 0; row < x.rows(); ++row) {
    const Scalar inverse_deviation = cache(row, 1);
    const auto z = (x.row(row).array() - cache(row, 0)) * inverse_deviation;
    const auto g = gain.array() * dy.row(row).array();
    const Scalar mean_g = share * ordered_sum(g), mean_gz = share * ordered_sum(g * z);
    dx.row(row) = ((g - mean_g - z * mean_gz) * inverse_deviation).matrix();
    dgain.array() += dy.row(row).array() * z;
    dbias += dy.row(row);
  }
}

void L2Normalize::check() const {
  check_at_least(kName, "width", width, 1);
  check_positive(kName, "epsilon", epsilon);
}

template <class Scalar>
void L2Normalize::forward(const Scalar*, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache, const Pass&) const {
  for (Index row = 0; row < x.rows(); ++row) {
    const Scalar length = std::sqrt(ordered_sum(x.row(row).array().square()));
    // Not std::max: it would turn the NaN of a broken step into epsilon.
    cache(row, 0) = 1 / (length < static_cast<Scalar>(epsilon) ? static_cast<Scalar>(epsilon) : length);
    y.row(row) = x.row(row) * cache(row, 0);
  }
}

// dx = (dy - y dot(y, dy)) / |x|: what points along y would only change the length, which is fixed. Below epsilon y = x /
// epsilon, the length is free and nothing is taken away.
template <class Scalar>
void L2Normalize::backward(const Scalar*, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx, Scalar*,
                           const Pass&) const {
  const Scalar longest = 1 / static_cast<Scalar>(epsilon);  // computed as in forward, so that equality can be asked for
  for (Index row = 0; row < x.rows(); ++row) {
    const Scalar inverse = cache(row, 0);
    const Scalar along = inverse == longest ? 0 : inverse * inverse * ordered_sum(x.row(row).array() * dy.row(row).array());
    dx.row(row) = (dy.row(row) - x.row(row) * along) * inverse;
  }
}

// float trains, double checks gradients.
template void LayerNorm::initialize<float>(float*, RandomStream&) const;
template void LayerNorm::initialize<double>(double*, RandomStream&) const;
template void LayerNorm::forward<float>(const float*, ConstRows<float>, Rows<float>, Rows<float>, const Pass&) const;
template void LayerNorm::forward<double>(const double*, ConstRows<double>, Rows<double>, Rows<double>, const Pass&) const;
template void LayerNorm::backward<float>(const float*, ConstRows<float>, Rows<float>, ConstRows<float>, Rows<float>, float*,
                                         const Pass&) const;
template void LayerNorm::backward<double>(const double*, ConstRows<double>, Rows<double>, ConstRows<double>, Rows<double>,
                                          double*, const Pass&) const;
template void L2Normalize::forward<float>(const float*, ConstRows<float>, Rows<float>, Rows<float>, const Pass&) const;
template void L2Normalize::forward<double>(const double*, ConstRows<double>, Rows<double>, Rows<double>, const Pass&) const;
template void L2Normalize::backward<float>(const float*, ConstRows<float>, Rows<float>, ConstRows<float>, Rows<float>, float*,
                                           const Pass&) const;
template void L2Normalize::backward<double>(const double*, ConstRows<double>, Rows<double>, ConstRows<double>, Rows<double>,
                                            double*, const Pass&) const;

}  // namespace twotower::nn
