#pragma once
#include "twotower/nn/layer.hpp"

namespace twotower::nn {

/// In training y = x * mask, where each value of the mask is 1 / keep_probability with that probability and otherwise 0; outside
/// training y = x. So the mean of y is x in both.
///
/// A row's mask depends on (seed, step, position in the batch, stream) alone, hence neither on blocks nor on threads. Give each
/// Dropout of a model its own `stream`, in [0, 2^24); two with the same one drop the same columns.
///
/// Shapes      x, y, dx, dy (n, width)    no parameters    cache (n, width): mask, only in training
/// Source      Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting", section 10, the form
///             that scales in training
struct Dropout {
  static constexpr std::string_view kName = "Dropout";
  Index width = 0;
  double keep_probability = 1;  ///< in (0, 1]
  std::uint64_t stream = 0;

  Index in_width() const { return width; }
  Index out_width() const { return width; }
  Index parameter_count() const { return 0; }
  Index cache_width() const { return width; }
  void check() const;

  template <class Scalar>
  void initialize(Scalar*, RandomStream&) const {}

  /// Writes y and, in training, cache.
  template <class Scalar>
  void forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache, const Pass& pass) const;

  /// Writes dx.
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx,
                Scalar* dparameters, const Pass& pass) const;
};

}  // namespace twotower::nn
