#pragma once
#include "twotower/nn/layer.hpp"

namespace twotower::nn {

/// y = gain * (x - mean) / sqrt(variance + epsilon) + bias, for every row on its own.
///
/// Shapes      x, y, dx, dy (n, width)    parameters [gain (width), bias (width)]    cache (n, 2): mean, 1 / deviation
/// Start       gain 1, bias 0
/// Source      Ba, Kiros, Hinton 2016, arXiv:1607.06450, equations 3 and 4
struct LayerNorm {
  static constexpr std::string_view kName = "LayerNorm";
  Index width = 0;
  double epsilon = 1e-5;

  Index in_width() const { return width; }
  Index out_width() const { return width; }
  Index parameter_count() const { return 2 * width; }
  Index cache_width() const { return 2; }
  void check() const;

  template <class Scalar>
  void initialize(Scalar* parameters, RandomStream& random) const;

  /// Writes y and cache.
  template <class Scalar>
  void forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar> cache, const Pass& pass) const;

  /// Writes dx; adds to dparameters.
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> cache, ConstRows<Scalar> dy, Rows<Scalar> dx,
                Scalar* dparameters, const Pass& pass) const;
};

/// y = x / max(|x|, epsilon), for every row on its own: length 1, or x / epsilon where the row is shorter than epsilon. A row of
/// zeros gives zeros, and its gradient is finite.
///
/// Shapes      x, y, dx, dy (n, width)    no parameters    cache (n, 1): 1 / max(|x|, epsilon)
/// Requires    |x|^2 must not overflow: in float rows shorter than 1e19
struct L2Normalize {
  static constexpr std::string_view kName = "L2Normalize";
  Index width = 0;
  double epsilon = 1e-6;

  Index in_width() const { return width; }
  Index out_width() const { return width; }
  Index parameter_count() const { return 0; }
  Index cache_width() const { return 1; }
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
