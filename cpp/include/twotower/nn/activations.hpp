#pragma once
#include "twotower/nn/layer.hpp"

namespace twotower::nn {

/// y = max(x, 0), value by value; the gradient at 0 is 0. A NaN stays one, so that a broken step is noticed.
///
/// Shapes      x, y, dx, dy (n, width)    no parameters    no cache
struct Relu {
  static constexpr std::string_view kName = "Relu";
  Index width = 0;

  Index in_width() const { return width; }
  Index out_width() const { return width; }
  Index parameter_count() const { return 0; }
  Index cache_width() const { return 0; }
  void check() const;

  template <class Scalar>
  void initialize(Scalar*, RandomStream&) const {}

  /// Writes y.
  template <class Scalar>
  void forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache, const Pass& pass) const;

  /// Writes dx.
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx,
                Scalar* dparameters, const Pass& pass) const;
};

/// y = x / 2 (1 + t), t = tanh(sqrt(2 / pi) (x + 0.044715 x^3)), value by value.
///
/// Shapes      x, y, dx, dy (n, width)    no parameters    cache (n, width): t
/// Source      Hendrycks, Gimpel 2016, arXiv:1606.08415, section 2, the tanh form. It differs from x Phi(x) by less than 5e-4
/// and,
///             unlike erf, tanh runs in vector registers.
struct Gelu {
  static constexpr std::string_view kName = "Gelu";
  Index width = 0;

  Index in_width() const { return width; }
  Index out_width() const { return width; }
  Index parameter_count() const { return 0; }
  Index cache_width() const { return width; }
  void check() const;

  template <class Scalar>
  void initialize(Scalar*, RandomStream&) const {}

  /// Writes y and cache.
  template <class Scalar>
  void forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache, const Pass& pass) const;

  /// Writes dx.
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx,
                Scalar* dparameters, const Pass& pass) const;
};

}  // namespace twotower::nn
