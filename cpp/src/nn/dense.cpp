#include "twotower/nn/dense.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "twotower/base/check.hpp"
#include "twotower/nn/ordered_product.hpp"

namespace twotower::nn {
namespace {

/// A matrix in panels, and sums or starts; every thread's own, grown once.
template <class Scalar>
struct Scratch {
  std::vector<Scalar> panels, others;
};

template <class Scalar>
Scratch<Scalar>& scratch() {
  thread_local Scratch<Scalar> own;
  return own;
}

}  // namespace

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
  const Scalar *w = parameters, *b = parameters + in * out;
  if (out == in_registers<Scalar>(out)) {
    ordered_product_in_place(x.data(), x.outerStride(), Index{1}, x.rows(), w, out, in, out, y.data(), y.outerStride(), {b});
    return;
  }
  auto& [packed, starts] = scratch<Scalar>();
  packed.resize(static_cast<std::size_t>(packed_size(in, out)));
  pack(w, out, Index{1}, in, out, packed.data());
  starts.assign(static_cast<std::size_t>(in_panels(out)), Scalar{0});
  std::copy_n(b, out, starts.begin());
  ordered_product(x.data(), x.outerStride(), Index{1}, x.rows(), packed.data(), in, Index{0}, in, out, y.data(), y.outerStride(),
                  {starts.data()});
}

template <class Scalar>
void Dense::backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar>, ConstRows<Scalar> dy, Rows<Scalar> dx,
                     Scalar* dparameters, const Pass&) const {
  Scalar* dw = dparameters;
  Eigen::Map<RowVector<Scalar>> db(dparameters + in * out, out);
  const Index n = x.rows();
  auto& [packed, sums] = scratch<Scalar>();
  packed.resize(static_cast<std::size_t>(std::max(packed_size(out, in), packed_size(n, out))));
  pack(parameters, Index{1}, out, out, in, packed.data());  // w transposed
  ordered_product(dy.data(), dy.outerStride(), Index{1}, n, packed.data(), out, Index{0}, out, in, dx.data(), dx.outerStride());
  if (out == in_registers<Scalar>(out)) {
    ordered_product_in_place(x.data(), Index{1}, x.outerStride(), in, dy.data(), dy.outerStride(), n, out, dw, out, {dw, out});
  } else {
    // Registers would reach beyond the last row of dy and of dw.
    pack(dy.data(), dy.outerStride(), Index{1}, n, out, packed.data());
    sums.resize(static_cast<std::size_t>(in * out));
    ordered_product(x.data(), Index{1}, x.outerStride(), in, packed.data(), n, Index{0}, n, out, sums.data(), out);
    for (std::size_t k = 0; k < sums.size(); ++k) dw[k] += sums[k];
  }
  for (Index row = 0; row < n; ++row) db += dy.row(row);  // colwise().sum() would walk down columns
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
