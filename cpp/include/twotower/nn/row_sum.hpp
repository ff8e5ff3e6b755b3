#pragma once
#include "twotower/nn/layer.hpp"

namespace twotower::nn {

/// y = the sum of the columns of x: parts of a score that stand beside each other become one number, none of them weighted.
///
/// Shapes      x, dx (n, width)    y, dy (n, 1)    no parameters, no cache
struct RowSum {
  static constexpr std::string_view kName = "RowSum";
  Index width = 0;

  Index in_width() const { return width; }
  Index out_width() const { return 1; }
  Index parameter_count() const { return 0; }
  Index cache_width() const { return 0; }
  void check() const;

  template <class Scalar>
  void initialize(Scalar*, RandomStream&) const {}

  /// Writes y.
  template <class Scalar>
  void forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache, const Pass& pass) const;

  /// Writes dx: dy in every column.
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx,
                Scalar* dparameters, const Pass& pass) const;
};

}  // namespace twotower::nn
