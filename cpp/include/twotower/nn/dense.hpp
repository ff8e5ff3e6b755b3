#pragma once
#include "twotower/nn/layer.hpp"

namespace twotower::nn {

/// y = x w + b.
///
/// Shapes      x, dx (n, in)    y, dy (n, out)    parameters [w (in, out), b (out)]    no cache
/// Start       w uniform in +-sqrt(6 / (in + out)), b zero: Glorot, Bengio 2010, "Understanding the difficulty of training deep
///             feedforward neural networks", equation 16. Not He 2015 (arXiv:1502.01852, twice the variance, right before a
///             Relu): towers are shallow and their last Dense has no activation behind it.
/// Cost        2 n in out flops forward, twice that backward, by the products of ordered_product.hpp
struct Dense {
  static constexpr std::string_view kName = "Dense";
  Index in = 0;
  Index out = 0;

  Index in_width() const { return in; }
  Index out_width() const { return out; }
  Index parameter_count() const { return in * out + out; }
  Index cache_width() const { return 0; }
  void check() const;

  template <class Scalar>
  void initialize(Scalar* parameters, RandomStream& random) const;

  /// Writes y.
  template <class Scalar>
  void forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache, const Pass& pass) const;

  /// Writes dx; adds to dparameters.
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx,
                Scalar* dparameters, const Pass& pass) const;
};

}  // namespace twotower::nn
