#pragma once
#include "twotower/nn/layer.hpp"

namespace twotower::nn {

/// y = the columns [begin, begin + width) of x: how one half of a Parallel reads a part of its input.
///
/// Shapes      x, dx (n, inputs)    y, dy (n, width)    no parameters, no cache
struct Slice {
  static constexpr std::string_view kName = "Slice";
  Index inputs = 0;
  Index begin = 0;
  Index width = 0;

  Index in_width() const { return inputs; }
  Index out_width() const { return width; }
  Index parameter_count() const { return 0; }
  Index cache_width() const { return 0; }
  void check() const;

  template <class Scalar>
  void initialize(Scalar*, RandomStream&) const {}

  /// Writes y.
  template <class Scalar>
  void forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache, const Pass& pass) const;

  /// Writes dx, zeros outside the slice.
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx,
                Scalar* dparameters, const Pass& pass) const;
};

}  // namespace twotower::nn
