#include "twotower/nn/parallel.hpp"

#include <utility>

#include "twotower/base/check.hpp"
#include "twotower/nn/columns.hpp"
#include "twotower/nn/sequential.hpp"

namespace twotower::nn {
namespace {

/// The slices of the cache: left's, right's, the gradient of x that comes through right.
template <class Scalar>
struct Slices {
  RowMap<Scalar> left, right, dx;

  Slices(const Sequential& f, const Sequential& g, Rows<Scalar>& cache)
      : left(slice<RowMap<Scalar>>(cache, 0, f.cache_width())),
        right(slice<RowMap<Scalar>>(cache, whole_lines(f.cache_width()), g.cache_width())),
        dx(slice<RowMap<Scalar>>(cache, whole_lines(f.cache_width()) + whole_lines(g.cache_width()), g.in_width())) {}
};

}  // namespace

Parallel::Parallel(Sequential left, Sequential right)
    : left_(std::make_shared<const Sequential>(std::move(left))), right_(std::make_shared<const Sequential>(std::move(right))) {}

Index Parallel::in_width() const { return left_->in_width(); }
Index Parallel::out_width() const { return left_->out_width() + right_->out_width(); }
Index Parallel::parameter_count() const { return left_->parameter_count() + right_->parameter_count(); }
Index Parallel::cache_width() const {
  return whole_lines(left_->cache_width()) + whole_lines(right_->cache_width()) + whole_lines(in_width());
}

void Parallel::check() const {
  check_size(kName, "in_width of right", right_->in_width(), "in_width of left", left_->in_width());
}

template <class Scalar>
void Parallel::initialize(Scalar* parameters, RandomStream& random) const {
  left_->initialize(parameters, random);
  right_->initialize(parameters + left_->parameter_count(), random);
}

template <class Scalar>
void Parallel::forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache,
                       const Pass& pass) const {
  const Index split = left_->out_width();
  Slices<Scalar> slices(*left_, *right_, cache);
  left_->forward<Scalar>(parameters, x, slice<RowMap<Scalar>>(y, 0, split), slices.left, pass);
  right_->forward<Scalar>(parameters + left_->parameter_count(), x, slice<RowMap<Scalar>>(y, split, right_->out_width()),
                          slices.right, pass);
}

template <class Scalar>
void Parallel::backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx,
                        Scalar* dparameters, const Pass& pass) const {
  const Index split = left_->out_width(), second = left_->parameter_count();
  Slices<Scalar> slices(*left_, *right_, cache);
  left_->backward<Scalar>(parameters, x, slices.left, slice<ConstRowMap<Scalar>>(dy, 0, split), dx, dparameters, pass);
  right_->backward<Scalar>(parameters + second, x, slices.right, slice<ConstRowMap<Scalar>>(dy, split, right_->out_width()),
                           slices.dx, dparameters + second, pass);
  dx += slices.dx;
}

// float trains, double checks gradients.
template void Parallel::initialize<float>(float*, RandomStream&) const;
template void Parallel::initialize<double>(double*, RandomStream&) const;
template void Parallel::forward<float>(const float*, ConstRows<float>, Rows<float>, Rows<float>, const Pass&) const;
template void Parallel::forward<double>(const double*, ConstRows<double>, Rows<double>, Rows<double>, const Pass&) const;
template void Parallel::backward<float>(const float*, ConstRows<float>, Rows<float>, ConstRows<float>, Rows<float>, float*,
                                        const Pass&) const;
template void Parallel::backward<double>(const double*, ConstRows<double>, Rows<double>, ConstRows<double>, Rows<double>, double*,
                                         const Pass&) const;

}  // namespace twotower::nn
