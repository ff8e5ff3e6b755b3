#pragma once
// Encoders: feature columns in, vectors out. A column holds the values of ALL entities of a side; `rows` says which entities
// stand in the block. Encoders ADD to y, so that several can be summed into one vector, or each be given its own slice of a
// joined one. Tables are not changed here: touches() tells which table row gets which gradient, and RowGradients sums them.
#include <cstdint>
#include <span>
#include <vector>

#include "twotower/base/random.hpp"
#include "twotower/base/types.hpp"
#include "twotower/nn/row_gradients.hpp"

namespace twotower::nn {

/// y[i] += table[codes[i]]. A negative code adds nothing: the row has no vector of its own.
///
/// Shapes      table (any, width)    codes (n): of the block's rows    y (n, width)
/// Requires    codes below the table's rows (checked where the column enters the core)
struct Embedding {
  Index width = 0;

  /// Adds to y.
  template <class Scalar>
  void forward(const ConstRowMap<Scalar>& table, std::span<const Row> codes, Rows<Scalar> y) const;

  /// Appends a touch for every i with a code, in the order of i; its position is i.
  void touches(std::span<const Row> codes, std::vector<RowTouch>& out) const;
};

/// Lists of codes: entity e has codes[offsets[e]] ... codes[offsets[e + 1] - 1]. No weights at all means 1 each.
struct Lists {
  std::span<const std::int64_t> offsets;
  std::span<const Row> codes;
  std::span<const float> weights;
};

/// What the weighted sum of a list's vectors is divided by: sum of weights, 1, root of the sum of squared weights.
enum class Pooling : std::uint8_t { kMean, kSum, kSqrtN };

/// y[i] += sum over the list of entity rows[i] of scale_j * table[code_j], where scale_j = weight_j / divisor. An empty list, or
/// one whose divisor is 0, adds nothing.
///
/// Shapes      table (any, width)    lists: offsets (entities + 1), codes, weights    rows (n)    y (n, width)
/// Requires    codes in [0, rows of the table), weights finite and not negative (checked where the column enters the core)
/// Ensures     scales are float in both directions, so that the touches are the exact gradient of what forward computed
struct Bag {
  Index width = 0;
  Pooling pooling = Pooling::kMean;

  /// Adds to y.
  template <class Scalar>
  void forward(const ConstRowMap<Scalar>& table, const Lists& lists, std::span<const Row> rows, Rows<Scalar> y) const;

  /// Appends a touch for every code of every list, in the order of i; its position is i.
  void touches(const Lists& lists, std::span<const Row> rows, std::vector<RowTouch>& out) const;
};

/// y[i] += a v + b where v = values[rows[i]] is a number, y[i] += c where it is NaN, that is missing.
///
/// Shapes      parameters [a (width), b (width), c (width)]    values (entities)    rows (n)    y, dy (n, width)
/// Start       a and c normal with `deviation` (as the rows of a table), b zero
struct Numeric {
  Index width = 0;
  double deviation = 0.01;

  Index parameter_count() const { return 3 * width; }

  template <class Scalar>
  void initialize(Scalar* parameters, RandomStream& random) const;

  /// Adds to y.
  template <class Scalar>
  void forward(const Scalar* parameters, std::span<const float> values, std::span<const Row> rows, Rows<Scalar> y) const;

  /// Adds to dparameters.
  template <class Scalar>
  void backward(std::span<const float> values, std::span<const Row> rows, ConstRows<Scalar> dy, Scalar* dparameters) const;
};

}  // namespace twotower::nn
