#include "twotower/nn/dense.hpp"

#include <cmath>

#include "twotower/base/check.hpp"

namespace twotower::nn {

void Dense::check() const {
  check_at_least(kName, "in", in, 1);
  check_at_least(kName, "out", out, 1);
}

template <class Scalar>
void Dense::initialize(Scalar* parameters, RandomStream& random) const {
  const double limit = std::sqrt(6.0 / static_cast<double>(in + out));
  for (Index k = 0; k < in * out; ++k) parameters[k] = static_cast<Scalar>(limit * (2 * random.uniform() - 1));
  for (Index k = 0; k < out; ++k) parameters[in * out + k] = 0;
}

template <class Scalar>
void Dense::forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar>, const Pass&) const {
  const Eigen::Map<const Matrix<Scalar>> w(parameters, in, out);
  const Eigen::Map<const RowVector<Scalar>> b(parameters + in * out, out);
  y.rowwise() = b;  // the product adds to its target anyway: starting from b instead of 0 saves a pass
  y.noalias() += x * w;
}

template <class Scalar>
void Dense::backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar>, ConstRows<Scalar> dy, Rows<Scalar> dx,
                     Scalar* dparameters, const Pass&) const {
  const Eigen::Map<const Matrix<Scalar>> w(parameters, in, out);
  Eigen::Map<Matrix<Scalar>> dw(dparameters, in, out);
  Eigen::Map<RowVector<Scalar>> db(dparameters + in * out, out);
  dx.noalias() = dy * w.transpose();
  dw.noalias() += x.transpose() * dy;
  for (Index row = 0; row < dy.rows(); ++row) db += dy.row(row);  // colwise().sum() would walk down columns
}

// float trains, double checks gradients.
template void Dense::initialize<float>(float*, RandomStream&) const;
template void Dense::initialize<double>(double*, RandomStream&) const;
template void Dense::forward<float>(const float*, ConstRows<float>, Rows<float>, Rows<float>, const Pass&) const;
template void Dense::forward<double>(const double*, ConstRows<double>, Rows<double>, Rows<double>, const Pass&) const;
template void Dense::backward<float>(const float*, ConstRows<float>, Rows<float>, ConstRows<float>, Rows<float>, float*,
                                     const Pass&) const;
template void Dense::backward<double>(const double*, ConstRows<double>, Rows<double>, ConstRows<double>, Rows<double>, double*,
                                      const Pass&) const;

}  // namespace twotower::nn
