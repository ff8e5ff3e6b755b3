#include "twotower/nn/slice.hpp"

#include "twotower/base/check.hpp"

namespace twotower::nn {

void Slice::check() const {
  check_at_least(kName, "in_width", inputs, 1);
  check_at_least(kName, "begin", begin, 0);
  check_at_least(kName, "width", width, 1);
  check_at_least(kName, "in_width", inputs, begin + width);
}

template <class Scalar>
void Slice::forward(const Scalar*, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar>, const Pass&) const {
  y = x.middleCols(begin, width);
}

template <class Scalar>
void Slice::backward(const Scalar*, ConstRows<Scalar>, Rows<Scalar>, ConstRows<Scalar> dy, Rows<Scalar> dx, Scalar*,
                     const Pass&) const {
  dx.setZero();
  dx.middleCols(begin, width) = dy;
}

// float trains, double checks gradients.
template void Slice::forward<float>(const float*, ConstRows<float>, Rows<float>, Rows<float>, const Pass&) const;
template void Slice::forward<double>(const double*, ConstRows<double>, Rows<double>, Rows<double>, const Pass&) const;
template void Slice::backward<float>(const float*, ConstRows<float>, Rows<float>, ConstRows<float>, Rows<float>, float*,
                                     const Pass&) const;
template void Slice::backward<double>(const double*, ConstRows<double>, Rows<double>, ConstRows<double>, Rows<double>, double*,
                                      const Pass&) const;

}  // namespace twotower::nn
