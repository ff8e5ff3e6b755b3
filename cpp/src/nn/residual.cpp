#include "twotower/nn/residual.hpp"

#include <utility>

#include "twotower/base/check.hpp"
#include "twotower/nn/sequential.hpp"

namespace twotower::nn {

Residual::Residual(Sequential layers) : layers_(std::make_shared<const Sequential>(std::move(layers))) {}

Index Residual::in_width() const { return layers_->in_width(); }
Index Residual::out_width() const { return layers_->in_width(); }
Index Residual::parameter_count() const { return layers_->parameter_count(); }
Index Residual::cache_width() const { return layers_->cache_width(); }

void Residual::check() const {
  check_size(kName, "out_width of its layers", layers_->out_width(), "their in_width", layers_->in_width());
}

template <class Scalar>
void Residual::initialize(Scalar* parameters, RandomStream& random) const {
  layers_->initialize(parameters, random);
}

template <class Scalar>
void Residual::forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache,
                       const Pass& pass) const {
  layers_->forward<Scalar>(parameters, x, y, cache, pass);
  y += x;
}

template <class Scalar>
void Residual::backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx,
                        Scalar* dparameters, const Pass& pass) const {
  layers_->backward<Scalar>(parameters, x, cache, dy, dx, dparameters, pass);
  dx += dy;
}

// float trains, double checks gradients.
template void Residual::initialize<float>(float*, RandomStream&) const;
template void Residual::initialize<double>(double*, RandomStream&) const;
template void Residual::forward<float>(const float*, ConstRows<float>, Rows<float>, Rows<float>, const Pass&) const;
template void Residual::forward<double>(const double*, ConstRows<double>, Rows<double>, Rows<double>, const Pass&) const;
template void Residual::backward<float>(const float*, ConstRows<float>, Rows<float>, ConstRows<float>, Rows<float>, float*,
                                        const Pass&) const;
template void Residual::backward<double>(const double*, ConstRows<double>, Rows<double>, ConstRows<double>, Rows<double>, double*,
                                         const Pass&) const;

}  // namespace twotower::nn
