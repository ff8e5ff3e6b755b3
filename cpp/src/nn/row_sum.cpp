#include "twotower/nn/row_sum.hpp"

#include "twotower/base/check.hpp"

namespace twotower::nn {

void RowSum::check() const { check_at_least(kName, "width", width, 1); }

template <class Scalar>
void RowSum::forward(const Scalar*, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar>, const Pass&) const {
  // Column after column, so that a row's sum does not depend on how many rows stand beside it.
  y.col(0) = x.col(0);
  for (Index k = 1; k < width; ++k) y.col(0) += x.col(k);
}

template <class Scalar>
void RowSum::backward(const Scalar*, ConstRows<Scalar>, Rows<Scalar>, ConstRows<Scalar> dy, Rows<Scalar> dx, Scalar*,
                      const Pass&) const {
  for (Index k = 0; k < width; ++k) dx.col(k) = dy.col(0);
}

// float trains, double checks gradients.
template void RowSum::forward<float>(const float*, ConstRows<float>, Rows<float>, Rows<float>, const Pass&) const;
template void RowSum::forward<double>(const double*, ConstRows<double>, Rows<double>, Rows<double>, const Pass&) const;
template void RowSum::backward<float>(const float*, ConstRows<float>, Rows<float>, ConstRows<float>, Rows<float>, float*,
                                      const Pass&) const;
template void RowSum::backward<double>(const double*, ConstRows<double>, Rows<double>, ConstRows<double>, Rows<double>, double*,
                                       const Pass&) const;

}  // namespace twotower::nn
