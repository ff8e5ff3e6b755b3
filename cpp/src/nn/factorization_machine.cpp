#include "twotower/nn/factorization_machine.hpp"

#include "twotower/base/check.hpp"

namespace twotower::nn {

void FactorizationMachine::check() const {
  check_at_least(kName, "fields", fields, 1);
  check_at_least(kName, "width", width, 1);
}

template <class Scalar>
void FactorizationMachine::forward(const Scalar*, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache, const Pass&) const {
  cache.setZero();
  y.setZero();
  for (Index field = 0; field < fields; ++field) {
    const auto e = x.middleCols(field * width, width);
    y += cache.cwiseProduct(e);  // the products with the fields before it: exact where the difference of squares is not
    cache += e;
  }
}

// dy / de_f = the sum of the other fields.
template <class Scalar>
void FactorizationMachine::backward(const Scalar*, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx,
                                    Scalar*, const Pass&) const {
  for (Index field = 0; field < fields; ++field)
    dx.middleCols(field * width, width) = (cache - x.middleCols(field * width, width)).cwiseProduct(dy);
}

// float trains, double checks gradients.
template void FactorizationMachine::forward<float>(const float*, ConstRows<float>, Rows<float>, Rows<float>, const Pass&) const;
template void FactorizationMachine::forward<double>(const double*, ConstRows<double>, Rows<double>, Rows<double>,
                                                    const Pass&) const;
template void FactorizationMachine::backward<float>(const float*, ConstRows<float>, Rows<float>, ConstRows<float>, Rows<float>,
                                                    float*, const Pass&) const;
template void FactorizationMachine::backward<double>(const double*, ConstRows<double>, Rows<double>, ConstRows<double>,
                                                     Rows<double>, double*, const Pass&) const;

}  // namespace twotower::nn
