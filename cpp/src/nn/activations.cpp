#include "twotower/nn/activations.hpp"

#include <cmath>
#include <numbers>

#include "twotower/base/check.hpp"

namespace twotower::nn {
namespace {

const double kGeluSlope = std::sqrt(2 / std::numbers::pi);
constexpr double kGeluCubic = 0.044715;

}  // namespace

void Relu::check() const { check_at_least(kName, "width", width, 1); }

template <class Scalar>
void Relu::forward(const Scalar*, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar>, const Pass&) const {
  y = x.template cwiseMax<Eigen::PropagateNaN>(Scalar(0));
}

template <class Scalar>
void Relu::backward(const Scalar*, ConstRows<Scalar> x, Rows<Scalar>, ConstRows<Scalar> dy, Rows<Scalar> dx, Scalar*,
                    const Pass&) const {
  dx = (x.array() > 0).select(dy, Scalar(0));
}

void Gelu::check() const { check_at_least(kName, "width", width, 1); }

template <class Scalar>
void Gelu::forward(const Scalar*, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache, const Pass&) const {
  const Scalar slope = static_cast<Scalar>(kGeluSlope), cubic = static_cast<Scalar>(kGeluSlope * kGeluCubic);
  cache = (x.array() * (slope + cubic * x.array().square())).tanh().matrix();
  y = (Scalar(0.5) * x.array() * (1 + cache.array())).matrix();
}

// With u = sqrt(2 / pi) (x + 0.044715 x^3) and t = tanh(u):  dy/dx = (1 + t) / 2 + x / 2 (1 - t^2) du/dx.
template <class Scalar>
void Gelu::backward(const Scalar*, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx, Scalar*,
                    const Pass&) const {
  const Scalar slope = static_cast<Scalar>(kGeluSlope), cubic = static_cast<Scalar>(3 * kGeluSlope * kGeluCubic);
  const auto t = cache.array();
  const auto du = slope + cubic * x.array().square();
  dx = (dy.array() * Scalar(0.5) * (1 + t + x.array() * (1 - t.square()) * du)).matrix();
}

// float trains, double checks gradients.
template void Relu::forward<float>(const float*, ConstRows<float>, Rows<float>, Rows<float>, const Pass&) const;
template void Relu::forward<double>(const double*, ConstRows<double>, Rows<double>, Rows<double>, const Pass&) const;
template void Relu::backward<float>(const float*, ConstRows<float>, Rows<float>, ConstRows<float>, Rows<float>, float*,
                                    const Pass&) const;
template void Relu::backward<double>(const double*, ConstRows<double>, Rows<double>, ConstRows<double>, Rows<double>, double*,
                                     const Pass&) const;
template void Gelu::forward<float>(const float*, ConstRows<float>, Rows<float>, Rows<float>, const Pass&) const;
template void Gelu::forward<double>(const double*, ConstRows<double>, Rows<double>, Rows<double>, const Pass&) const;
template void Gelu::backward<float>(const float*, ConstRows<float>, Rows<float>, ConstRows<float>, Rows<float>, float*,
                                    const Pass&) const;
template void Gelu::backward<double>(const double*, ConstRows<double>, Rows<double>, ConstRows<double>, Rows<double>, double*,
                                     const Pass&) const;

}  // namespace twotower::nn
