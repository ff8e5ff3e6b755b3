#pragma once
#include "twotower/nn/sequences.hpp"

namespace twotower::nn {

/// The weighted mean of what a reader sees, older elements counting less. For a reader of length m over x_0 ... x_(m-1):
///
///     p = sum_j w_j decay^(m-1-j) x_j / sum_j w_j decay^(m-1-j)
///     y = gain p / max(|p|, 1e-6)  for kUnit, p for kMean, p * root of the divisor for kRoot;  y = empty  if m = 0 or all
///     weights are 0
///
/// Shapes      see sequences.hpp    parameters [empty (width), gain (1), only for kUnit]
/// Start       empty normal with deviation .01 (as the rows of a table), gain 1
/// Source      kRoot as in Koren 2008, "Factorization meets the neighborhood" (SVD++); the mean runs from prefix to prefix as in
/// West 1979, "Updating mean and variance estimates: an improved method", so that nothing
///             under- or overflows however long the sequence
/// Cost        one pass over the elements of a sequence whatever the number of readers, if their lengths ascend; a reader that is
///             shorter than the one before it starts over
enum class MeanLength : std::uint8_t { kMean, kUnit, kRoot };

struct MeanPool {
  static constexpr std::string_view kName = "MeanPool";
  Index width = 0;
  double decay = 1;  ///< weight of an element relative to the one after it, in (0, 1]
  MeanLength length = MeanLength::kUnit;

  Index parameter_count() const { return width + (length == MeanLength::kUnit ? 1 : 0); }
  void check() const;

  template <class Scalar>
  void initialize(Scalar* parameters, RandomStream& random) const;

  /// Writes y.
  template <class Scalar>
  void forward(const Scalar* parameters, ConstRows<Scalar> elements, const Sequences& sequences, Rows<Scalar> y,
               std::vector<Scalar>& cache, const Pass& pass) const;

  /// Writes dpositions; adds to dparameters.
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> elements, const Sequences& sequences, ConstRows<Scalar> dy,
                Rows<Scalar> dpositions, std::vector<Scalar>& cache, Scalar* dparameters, const Pass& pass) const;

  /// Writes weights: w_j decay^(m-1-j) over the divisor, 0 behind what the reader sees and where the mean is not asked for.
  void weigh(const Sequences& sequences, std::span<float> weights) const;

  /// Writes dsums, the gradient of p, 0 where y = empty; adds to dparameters.
  template <class Scalar>
  void backward_to_sums(const Scalar* parameters, const Sequences& sequences, ConstRows<Scalar> dy, Rows<Scalar> dsums,
                        std::vector<Scalar>& cache, Scalar* dparameters) const;
};

}  // namespace twotower::nn
