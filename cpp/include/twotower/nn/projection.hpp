#pragma once
// Encoders of a column of vectors, such as those of a text or image model; nn/embedding.hpp says what an encoder is. A row whose
// first value is NaN is missing, whatever its other values are.
#include <span>

#include "twotower/base/random.hpp"
#include "twotower/base/types.hpp"

namespace twotower::nn {

/// y[i] += x w + b where x = values[rows[i]] is there, y[i] += c where it is missing.
///
/// Shapes      parameters [w (in_width, width), b (width), c (width)]    values (entities, in_width)    rows (n), in [0,
/// entities)
///             y, dy (n, width)
/// Start       w and c normal with `deviation`: a vector of length 1 begins as a row of a table does; b zero
/// Requires    the values of rows that are not missing finite (checked where the column enters the core)
/// Cost        2 n in_width width flops each way, as matrix products over gathered rows
struct Projection {
  Index in_width = 0;
  Index width = 0;
  double deviation = 0.01;

  Index parameter_count() const { return (in_width + 2) * width; }

  template <class Scalar>
  void initialize(Scalar* parameters, RandomStream& random) const;

  /// Adds to y.
  template <class Scalar>
  void forward(const Scalar* parameters, const ConstRowMap<float>& values, std::span<const Row> rows, Rows<Scalar> y) const;

  /// Adds to dparameters.
  template <class Scalar>
  void backward(const ConstRowMap<float>& values, std::span<const Row> rows, ConstRows<Scalar> dy, Scalar* dparameters) const;
};

/// y[i] += values[rows[i]] where the row is there, y[i] += c where it is missing: the vectors as they are.
///
/// Shapes      parameters [c (width)]    values (entities, width)    rows (n), in [0, entities)    y, dy (n, width)
/// Start       c normal with `deviation`
/// Requires    as Projection
struct Given {
  Index width = 0;
  double deviation = 0.01;

  Index parameter_count() const { return width; }

  template <class Scalar>
  void initialize(Scalar* parameters, RandomStream& random) const;

  /// Adds to y.
  template <class Scalar>
  void forward(const Scalar* parameters, const ConstRowMap<float>& values, std::span<const Row> rows, Rows<Scalar> y) const;

  /// Adds to dparameters.
  template <class Scalar>
  void backward(const ConstRowMap<float>& values, std::span<const Row> rows, ConstRows<Scalar> dy, Scalar* dparameters) const;
};

}  // namespace twotower::nn
